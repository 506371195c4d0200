#!/usr/bin/perl

# One name for each thing, the same in stats, metrics, charts and profiles, and
# one thing for each name.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Debug::Nginx;

my $t = Debug::Nginx->new(level => 'crit');

# a profiler, whoever asks
my $say = sub {
    my ($req, $c) = @_;
    $c->reply(200, "prog\0", 'X-Go-Pprof' => 1, 'Content-Type' => 'text/plain');
};
my $tcp = backend($say);
my $unix = backend($say, unix => 1);
my $var = backend($say);

my ($p, $v) = ($tcp->port(), $var->port());
my $path = $unix->path();

$t->run(<<"EOC");
%%TEST_GLOBALS%%
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    upstream overflow { server 127.0.0.1:$p; }

    server {
        listen 127.0.0.1:%%PORT_0%%;
        server_name main;
        location /debug/ { debug; }
        location /some/ {
            debug;
            debug_pprof_pass localhost:$p;
            debug_pprof_pass unix:$path;
        }
        location /name { proxy_pass http://localhost:$p; }
        location /unix { proxy_pass http://unix:$path; }
        location /uri { proxy_pass http://unix:$path:/x; }
        location /overflow { proxy_pass http://overflow; }
        location /var {
            set \$to 127.0.0.1:\$arg_port;
            proxy_pass http://\$to;
        }
        location /unix_var {
            set \$to unix:$path\$arg_no;
            proxy_pass http://\$to:/y;
        }
    }

    server { listen 127.0.0.1:%%PORT_1%%; server_name one two;
             location / { return 204; } }
    server { listen 127.0.0.1:%%PORT_2%%; server_name one;
             location / { return 201 x; } }
    server { listen 127.0.0.2:%%PORT_2%%; server_name one;
             location / { return 202 x; } }
    server { listen 127.0.0.1:%%PORT_3%%;
             location / { return 203 x; } }
    server { listen 127.0.0.1:%%PORT_3%%;
             location / { return 500; } }
    server { listen unix:%%DIR%%/one; server_name one;
             location / { return 205 x; } }
}
EOC

http_get($_) for '/name', '/unix', '/uri', "/var?port=$p", "/var?port=$v",
                 "/var?port=$v", '/unix_var?no=', '/overflow';
http_get('/', port => port($_)) for 1 .. 3;
http_get('/', host => '127.0.0.2', port => port(2));
http_get('/', unix => $t->dir() . '/one');

my $s = decode_json(http_get('/debug/stats')->{body});
my $text = http_get('/debug/metrics')->{body};

# -- groups

my %count = ("localhost:$p" => 1, "unix:$path" => 3, "127.0.0.1:$p" => 1,
             "127.0.0.1:$v" => 2, overflow => 1);

is_deeply({ map { $_ => $s->{upstreams}{$_}{total_count} }
            keys %{ $s->{upstreams} } }, \%count,
          'groups by one name each, with their ports');

my %metrics;
$metrics{$1} = $2 while $text =~ /^nginx_debug_upstream_headers_total\{
                                   upstream="([^"]+)"[^}]*\}\ (\d+)$/xmg;
is_deeply(\%metrics, \%count, 'in metrics, too');

my $charts = decode_json(http_get('/debug/charts/data?n=1')->{body});
is_deeply({ map { $_->{upstream} => 1 } grep { $_->{kind} eq 'upstream' }
            @{ $charts->{series} } }, { map { $_ => 1 } keys %count },
          'and in charts');

# -- and their profiles

my $index = http_get('/debug/pprof/', headers => { Accept => 'text/plain' });

for my $group ("localhost:$p", "unix:$path") {
    (my $uri = $group) =~ s!/!%2F!g;
    my ($peer) = sort keys %{ $s->{upstreams}{$group}{peers} };
    (my $peer_uri = $peer) =~ s!/!%2F!g;

    like($index->{body}, qr/\Q$group\E/, "$group: in the index");

    for my $at ('/debug', '/some') {
        is(http_get("$at/pprof/$uri/$peer_uri/cmdline")->{body}, "prog\0",
           "$group: profiled below $at");
        is(http_get("$at/pprof/$uri/0/cmdline")->{body}, "prog\0",
           "$group: by its number");
    }
}

is(http_get("/some/pprof/overflow/0/cmdline")->{status}, 404,
   'and no other where they are named');

# -- servers

my ($p1, $p2, $p3) = map { port($_) } 1 .. 3;

is_deeply({ map { $_ => $s->{servers}{$_}{total_status_code_count} }
            keys %{ $s->{servers} } },
          { main => { 200 => 8 },
            "one:$p1" => { 204 => 1 },
            "one 127.0.0.1:$p2" => { 201 => 1 },
            "one 127.0.0.2:$p2" => { 202 => 1 },
            "127.0.0.1:$p3" => { 203 => 1 },
            "127.0.0.1:$p3 #2" => {},
            'one unix:' . $t->dir() . '/one' => { 205 => 1 } },
          'servers of one name do not share a row');

my @rows = $text =~ /^nginx_debug_server_active\{server="([^"]+)"\}/mg;
is_deeply([sort @rows], [sort keys %{ $s->{servers} }], 'in metrics, too');

# -- the same in a directive that is wrong

my ($exit, $out) = $t->test_config(<<"EOC");
%%TEST_GLOBALS%%
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location /debug/ {
            debug;
            debug_pprof_pass localhost:1;
        }
        location / { proxy_pass http://localhost:2; }
    }
}
EOC

is($exit, 1, 'a group that nobody passes to');
like($out, qr/upstream "localhost:1" of "debug_pprof_pass" not found in/,
     'is refused in words');

done_testing();
