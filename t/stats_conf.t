#!/usr/bin/perl

# What nginx -t says of a wrong configuration, always with its place; and what
# becomes of input that is too long or too much.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ sleep time /;

use lib "$FindBin::Bin/lib";
use Debug::Nginx;

my $t = Debug::Nginx->new();

sub conf {
    my ($http, $location) = @_;
    $http //= '';
    $location //= 'location /debug/ { debug; }';

    return <<"EOC";
%%TEST_GLOBALS%%
worker_processes 1;
events { }
http {
    %%TEST_GLOBALS_HTTP%%
# here
$http
server {
    listen 127.0.0.1:%%PORT_0%%;
$location
}
}
EOC
}


sub line_of {
    my ($text, $re) = @_;
    my @lines = split /\n/, $t->expand($text);

    for my $n (0 .. $#lines) {
        return $n + 1 if $lines[$n] =~ $re;
    }
}


# The configuration is refused, with MESSAGE, at the line that holds the
# directive.

sub refused {
    my ($name, $message, $at, @conf) = @_;
    my $text = conf(@conf);
    my $line = line_of($text, $at);
    my ($exit, $out) = $t->test_config($text);

    is($exit, 1, "$name: refused");
    like($out, qr/\[emerg\] .*$message.* in \S+\.conf:$line\b/,
         "$name: says what and where");
    is(() = $out =~ /\[emerg\]/g, 1, "$name: says it once");
}


sub accepted {
    my ($name, @conf) = @_;
    my ($exit, $out) = $t->test_config(conf(@conf));

    is($exit, 0, "$name: accepted") or diag($out);
    unlike($out, qr/\[(?:warn|error)\]/, "$name: in silence");
}


accepted('all defaults');

# -- debug_zone

for my $bad ('x', '0', '-1', '1q', '""', '1.5m', '99999999999999999999m') {
    refused("debug_zone $bad",
            $bad eq '0' ? qr/zone size "0" is too small/
                        : qr/invalid zone size "\Q@{[ $bad =~ s!"!!gr ]}\E"/,
            qr/debug_zone/, "debug_zone $bad;");
}

for my $small ('1', '1k', '1023k') {
    refused("debug_zone $small",
            qr/zone size "$small" is too small, at least 1024k/,
            qr/debug_zone/, "debug_zone $small;");
}

accepted('debug_zone 1m', 'debug_zone 1m;');
accepted('debug_zone 1048576', 'debug_zone 1048576;');
accepted('debug_zone 1024m', 'debug_zone 1024m;');

for my $large ('1025m', '1048577k', '999999m') {
    refused("debug_zone $large",
            qr/zone size "$large" is too large, at most 1024m/,
            qr/debug_zone/, "debug_zone $large;");
}

refused('debug_zone twice', qr/"debug_zone" directive is duplicate/,
        qr/debug_zone 3m/, "debug_zone 2m;\ndebug_zone 3m;");
refused('debug_zone without a size',
        qr/invalid number of arguments in "debug_zone"/, qr/debug_zone/,
        'debug_zone;');
refused('debug_zone with more',
        qr/invalid number of arguments in "debug_zone"/, qr/debug_zone/,
        'debug_zone 1m 2m;');
refused('debug_zone in a location',
        qr/"debug_zone" directive is not allowed here/, qr/debug_zone/,
        '', 'location / { debug_zone 1m; }');

# what the configuration names must fit

my $many = "upstream many {\n" . join('', map {
    sprintf "server 127.%d.%d.%d:80;\n", 1 + $_ / 62500, $_ / 250 % 250,
            1 + $_ % 250
} 0 .. 1999) . '}';

my $need;

{
    my $text = conf("debug_zone 1m;\n$many");
    my ($exit, $out) = $t->test_config($text);
    my $line = line_of($text, qr/debug_zone/);

    is($exit, 1, '2000 servers in 1m: refused');
    like($out, qr/\[emerg\].*zone\ "ngx_http_debug"\ is\ too\ small:
                  .*\ servers,\ groups\ and\ peers.*\ with\ 1\ worker
                  .*debug_zone\ is\ 1024k\ in\ \S+\.conf:$line$/xm,
         '2000 servers in 1m: says so');
    ($need) = $out =~ /too small: (\d+)k are needed/;
    cmp_ok($need, '>', 5000, 'says how much it needs');

    # that is enough for the counters; history wants more, and says so

    ($exit, $out) = $t->test_config(conf("debug_zone ${need}k;\n$many"));
    is($exit, 0, "as much as it says, ${need}k");
    is(() = $out =~ /\[(?:warn|error)\]/g, 1, 'with one warning');
    like($out, qr/\[warn\].*no\ room\ for\ the\ history\ of\ \d+\ of\ the
                  \ 200\d\ servers,\ groups\ and\ peers:
                  \ debug_zone\ is\ ${need}k\ in\ \S+\.conf:\d+,
                  \ (\d+)k\ are\ needed\ for\ all$/xm, 'that says of what');
    my ($all) = $out =~ /(\d+)k are needed for all/;
    accepted("as much as it says then, ${all}k",
             "debug_zone ${all}k;\n$many");
    my $less = $need - 1;
    ($exit, $out) = $t->test_config(conf("debug_zone ${less}k;\n$many"));
    is($exit, 1, "${less}k is too little");

    # the default is what the configuration needs
    ($exit, $out) = $t->test_config(
        conf($many) =~ s/worker_processes 1/worker_processes 4/r);
    is($exit, 0, '2000 servers, 4 workers, default size') or diag($out);
    unlike($out, qr/\[warn\]/, 'in silence');

    # which may be more than can be

    my $more = join '', map { my $g = $_; $many =~ s/many/many$g/r . "\n" }
                        1 .. 5;

    ($exit, $out) = $t->test_config(
        conf($more) =~ s/worker_processes 1/worker_processes 16/r);
    is($exit, 0, '10,000 servers, 16 workers') or diag($out);
    like($out, qr/\[warn\].*no room for the history of \d+ of the 100\d\d /,
         'cannot have all of their history');

    $more = join '', map { my $g = $_; $many =~ s/many/many$g/r . "\n" }
                     1 .. 12;

    ($exit, $out) = $t->test_config(
        conf($more) =~ s/worker_processes 1/worker_processes 16/r);
    is($exit, 1, '24,000 servers, 16 workers: refused');
    like($out, qr/too\ small:\ \d+k\ .*with\ 16\ worker\ processes.*is
                  \ 1048576k,\ the\ most/x, 'in the same words');
}

# -- debug

my $prefix = qr/"debug" directive needs a location that is given by a prefix/;

# -- debug_route

for my $good ('on', 'off', 'on show', 'a/name', '"a name" show', 'x' x 48,
              "\xc3\xa9t\xc3\xa9")
{
    accepted("debug_route $good", "debug_route $good;");
}

for (['""', 'it is empty'], ['x' x 49, 'it has more than 48 bytes'],
     ['a,b', 'it has a "," or a ";"'], ['"a;b"', 'it has a "," or a ";"'],
     ["\"a\tb\"", 'it has a control character'],
     ["a\x7f", 'it has a control character'],
     ['" a"', 'it begins or ends with a blank'],
     ['"a "', 'it begins or ends with a blank'],
     ['-', 'profiles call by it what has no route of its own'],
     ['other', 'profiles call by it what has no route of its own'],
     ['show', '"show" stands behind "on" or a name'])
{
    my ($name, $why) = @$_;
    refused("debug_route $name", qr/invalid route ".*" in "debug_route" directive: \Q$why\E/,
            qr/debug_route/, "debug_route $name;");
    refused("debug_route $name in a location",
            qr/invalid route ".*" in "debug_route" directive: \Q$why\E/, qr/debug_route/, '',
            "location / { debug_route $name; }");
}

refused('debug_route with nonsense', qr/invalid parameter "shown"/,
        qr/debug_route/, 'debug_route on shown;');
refused('debug_route off show', qr/"debug_route" directive has no id to show/,
        qr/debug_route/, 'debug_route off show;');
refused('debug_route twice', qr/"debug_route" directive is duplicate/,
        qr/debug_route x/, "debug_route on;\ndebug_route x;");
refused('debug_route without a word',
        qr/invalid number of arguments in "debug_route"/, qr/debug_route/,
        'debug_route;');
refused('debug_route with three',
        qr/invalid number of arguments in "debug_route"/, qr/debug_route/,
        'debug_route a show b;');

# -- debug

refused('debug in a regex location', $prefix, qr/location/, '',
        'location ~ ^/debug/ { debug; }') if $t->has(qr/pcre|PCRE/);
refused('debug in a named location', $prefix, qr/location/, '',
        'location @debug { debug; }');
refused('debug in a nested regex location', $prefix, qr/~/, '',
        "location /d/ {\nlocation ~ x { debug; } }")
    if $t->has(qr/pcre|PCRE/);
refused('debug outside a location',
        qr/"debug" directive is not allowed here/, qr/^debug;/, 'debug;');
refused('debug in server', qr/"debug" directive is not allowed here/,
        qr/^debug;/, '', 'debug;');
refused('debug in an if', qr/"debug" directive is not allowed here/,
        qr/\bif\b/, '', 'location /d/ { if ($arg_x) { debug; } }');
refused('debug twice', qr/"debug" directive is duplicate/, qr/debug stats/,
        '', "location /debug/ {\ndebug;\ndebug stats;\n}");
refused('debug with nonsense', qr/invalid parameter "nonsense"/, qr/nonsense/,
        '', 'location /debug/ { debug stats nonsense; }');
refused('debug with an empty parameter', qr/invalid parameter ""/,
        qr/debug ""/, '', 'location /debug/ { debug ""; }');
refused('debug with a parameter twice', qr/duplicate parameter "stats"/,
        qr/stats stats/, '', 'location /debug/ { debug stats stats; }');
refused('legacy and others', qr/"debug" directive takes "legacy" alone/,
        qr/legacy/, '', 'location /debug/ { debug legacy stats; }');
refused('others and legacy', qr/"debug" directive takes "legacy" alone/,
        qr/legacy/, '', 'location /debug/ { debug stats legacy; }');
refused('the same location twice', qr/duplicate location "\/debug\/"/,
        qr/debug stats/, '',
        "location /debug/ { debug; }\nlocation /debug/ { debug stats; }");

accepted('each route', '', join "\n", map {
    "location /$_/ { debug $_; }"
} qw/ stats pprof charts legacy /);
accepted('three of them', '',
         'location /debug/ { debug charts stats pprof; }');
accepted('a ^~ location', '', 'location ^~ /debug/ { debug; }');
accepted('the root', '', 'location / { debug; }');
accepted('no debug at all', '', 'location / { }');
accepted('a nested location', '',
         'location /a/ { location /a/debug/ { debug; } }');
accepted('several servers', 'server { listen 127.0.0.1:%%PORT_1%%; '
                            . 'location /debug/ { debug; } }');

# -- debug_access

for my $bad ('nonsense', '10.0.0.0/33', '10.0.0', '300.1.1.1', '""',
             'fe80::1/129', '127.0.0.1:80', 'loopbackx', '10.0.0.1/')
{
    refused("debug_access $bad",
            qr/invalid parameter "\Q@{[ $bad =~ s!"!!gr ]}\E"/,
            qr/debug_access/, '',
            "location /debug/ { debug; debug_access $bad; }");
}

refused('debug_access without a value',
        qr/invalid number of arguments in "debug_access"/, qr/debug_access/,
        'debug_access;');
refused('debug_access twice', qr/"debug_access" directive is duplicate/,
        qr/debug_access 10/, "debug_access all;\ndebug_access 10.0.0.1;");
refused('all and more', qr/"debug_access" directive takes "all" alone/,
        qr/debug_access/, 'debug_access all 10.0.0.1;');
refused('more and all', qr/"debug_access" directive takes "all" alone/,
        qr/debug_access/, 'debug_access 10.0.0.1 all;');

accepted("debug_access $_", "debug_access $_;")
    for 'loopback', 'all', '10.0.0.0/8 192.168.0.0/16 loopback',
        '2001:db8::/32';

{
    my ($exit, $out) = $t->test_config(conf('debug_access 10.0.0.1/8;'));
    is($exit, 0, 'low bits: accepted');
    like($out, qr/\[warn\].*low\ address\ bits\ of\ 10\.0\.0\.1\/8\ are
                  \ meaningless\ in\ \S+:\d+/x, 'low bits: warned');
}

# -- debug_record

refused('debug_record nonsense',
        qr/invalid value "nonsense" in "debug_record" directive/,
        qr/debug_record/, 'debug_record nonsense;');
refused('debug_record twice', qr/"debug_record" directive is duplicate/,
        qr/debug_record off/, "debug_record on;\ndebug_record off;");
accepted('debug_record, inner and outer', 'debug_record off;',
         'location / { debug_record on; }');

# -- names of 4 KB

my $long = 'n' x 4000;
my $b = backend(Debug::Backend::answer(200, 'ok'));

$t->run(<<"EOC");
%%TEST_GLOBALS%%
worker_processes 2;
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    debug_zone 16m;
    server_names_hash_max_size 65536;
    server_names_hash_bucket_size 8192;
    server_tokens off;
    client_header_buffer_size 8k;
    large_client_header_buffers 4 16k;
    upstream $long { server @{[ $b->addr() ]}; }
    server {
        listen 127.0.0.1:%%PORT_0%%;
        server_name main;
        location /debug/ { debug; }
        location /var {
            set \$to \$arg_to;
            proxy_connect_timeout 1s;
            proxy_pass http://\$to;
        }
    }
    server {
        listen 127.0.0.1:%%PORT_0%%;
        server_name $long;
        location / { proxy_pass http://$long; }
    }
}
EOC

sub stats {
    return decode_json(http_get('/debug/stats' . ($_[0] // ''),
                                timeout => 20)->{body});
}

is(http_get('/', headers => { Host => $long })->{body}, 'ok', 'names of 4 KB');

ok(wait_for(sub {
       my $s = stats("?upstream=$long");
       my $g = $s->{upstreams}{$long} or return 0;
       return $g->{total_count} == 1;
   }), 'the group has its count');
is(stats("?server=$long")->{servers}{$long}{total_count}, 1,
   'and so has the server');

# a name of 8 KB that a client chose: nginx has no such host
http_get("/var?to=$long.$long");
ok(wait_for(sub { stats()->{zone}{dropped} == 1 }),
   'a name longer than any host has takes no place');
is(stats()->{upstreams}{overflow}{failures}{no_live}, 1,
   'and is counted as overflow');

# -- 10,000 hosts, made up by clients

my $s = http_open();
my $n = 0;
my $names = stats()->{zone}{names};

for my $i (1 .. 10_000) {
    my $to = sprintf '127.%d.%d.%d:1', 2 + $i / 62500, $i / 250 % 250,
                     1 + $i % 250;
    my $r = http_get("/var?to=$to", sock => $s, keepalive => 1);

    $n++ if $r->{status} == 502;
    $s = $r->{sock} // http_open();
}

is($n, 10_000, '10,000 hosts: each is answered');

# a connection without a request keeps an old worker, in any nginx
close $s;

my $st;
# with the one above
wait_for(sub {
    $st = stats();
    return ($st->{servers}{main}{total_status_code_count}{502} // 0)
           >= 10_001;
});

cmp_ok(scalar(keys %{ $st->{upstreams} }), '<=', 256 + 3,
       '256 of them are told apart');
is($st->{upstreams}{overflow}{failures}{connect}, 10_000 - 256,
   'the others are counted together');

my $sum = 0;
$sum += $_->{failures}{connect} for values %{ $st->{upstreams} };
is($sum, 10_000, 'none is lost');
cmp_ok($st->{zone}{used}, '<=', $st->{zone}{size}, 'the zone is not overrun');

my @warned = grep { /\[warn\]/ } $t->error_lines('no room for');
is(scalar @warned, 1, 'one warning');

$t->reload();
http_get('/var?to=127.99.0.1:1');
http_get('/var?to=127.99.0.2:1');
ok(wait_for(sub {
       @warned = grep { /\[warn\]/ } $t->error_lines('no room for');
       return @warned == 2;
   }), 'and one more after a reload');

# a name that is too long for any buffer of ours
http_get('/var?to=' . '9' x 3000 . ':1');
is(http_get('/debug/stats')->{status}, 200, 'nginx lives');

done_testing();
