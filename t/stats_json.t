#!/usr/bin/perl

# /debug/stats as its readers see it: the fields of Go's thoas/stats, byte for
# byte, what counts and what does not, and what a reload leaves.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ sleep time /;

use lib "$FindBin::Bin/lib";
use Debug::Nginx;

my @FIELDS = qw/
    pid uptime uptime_sec time unixtime status_code_count
    total_status_code_count count total_count total_response_time
    total_response_time_sec average_response_time average_response_time_sec
/;

my $t = Debug::Nginx->new();

my $ok = backend(Debug::Backend::answer(200, 'ok'));
my $missing = backend(Debug::Backend::answer(404, 'no'));
my $ws = backend(sub {
    my ($req, $c) = @_;
    $c->send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
             . "Connection: Upgrade\r\n\r\n");
    $c->delay(0.3);
    $c->send('bye');
    $c->close();
});

my $slow_one = backend(sub {
    my ($req, $c) = @_;
    $c->delay(5);
    $c->reply(200, 'slow');
});

my $any_code = backend(sub {
    my ($req, $c) = @_;
    my ($code) = $req->{uri} =~ m!/(\d+)$!;

    # these have no body
    $code == 204 || $code == 205
        ? $c->send("HTTP/1.1 $code None\r\nContent-Length: 0\r\n\r\n")
        : $c->reply($code, 'x');
});

my %group = (ok => $ok, missing => $missing, ws => $ws, slow => $slow_one,
             codes => $any_code);

# what breaks readers that trust names
my $ODD = "q\"b\\\xff\xc3(\n\x01";
my $ODD_CONF = '"q\\"b\\\\' . "\xff\xc3(" . '\\n' . "\x01\"";
my $ODD_JSON = "q\"b\\\x{fffd}\x{fffd}(\n\x01";

sub conf {
    my (%o) = @_;
    my $workers = $o{workers} // 2;
    my $zone = $o{zone} ? "debug_zone $o{zone};" : '';
    my $missing_location = $group{missing}
        ? 'location /missing { proxy_pass http://missing; }' : '';
    my $upstreams = join '', map {
        "upstream $_ { server " . $group{$_}->addr() . "; }\n"
    } sort keys %group;

    my $odd = $o{odd} ? <<"EOC" : '';
    upstream $ODD_CONF { server @{[ $ok->addr() ]}; }
    server {
        listen 127.0.0.1:%%PORT_2%%;
        server_name $ODD_CONF;
        location / { set \$g $ODD_CONF; proxy_pass http://\$g; }
    }
EOC

    return <<"EOC";
%%TEST_GLOBALS%%
worker_processes $workers;
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    $zone
    $upstreams
    proxy_http_version 1.1;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        server_name main;
        location / { }
        location /ok { proxy_pass http://ok; }
        $missing_location
        location /ws {
            proxy_pass http://ws;
            proxy_set_header Upgrade \$http_upgrade;
            proxy_set_header Connection upgrade;
        }
        location /slow { proxy_pass http://slow; }
        location /code/ { proxy_pass http://codes; }
        location /204 { return 204; }
        location /off { debug_record off; proxy_pass http://ok; }
        location /debug/ { debug; }
        location /other/ { debug stats; }
        location /pages/ { debug charts; }
    }
    server {
        listen 127.0.0.1:%%PORT_1%%;
        return 418;
    }
    $odd
}
EOC
}

$t->run(conf());


sub raw { return http_get('/debug/stats' . ($_[0] // ''))->{body} }
sub stats { return decode_json(raw(@_)) }

# A request is recorded when its answer is out already: wait for it.

sub total_is {
    my ($n, $name) = @_;
    my $s;

    wait_for(sub { $s = stats(); $s->{total_count} == $n });
    is($s->{total_count}, $n, $name);

    return $s;
}


# Go's Duration.String(), a second time and differently

sub go_duration {
    my ($ns) = @_;
    my $trim = sub { $_[0] =~ s/(\.\d*?)0+$/$1/r =~ s/\.$//r };

    return '0s' if $ns == 0;
    return "${ns}ns" if $ns < 1000;
    return $trim->(sprintf '%d.%03d', $ns / 1000, $ns % 1000) . "\xb5s"
        if $ns < 1_000_000;
    return $trim->(sprintf '%d.%06d', $ns / 1_000_000, $ns % 1_000_000) . 'ms'
        if $ns < 1_000_000_000;

    my $s = int($ns / 1_000_000_000);
    my $text = $trim->(sprintf '%d.%09d', $s % 60, $ns % 1_000_000_000) . 's';

    $text = int($s / 60) % 60 . "m$text" if $s >= 60;
    $text = int($s / 3600) . "h$text" if $s >= 3600;

    return $text;
}


sub ns {
    my ($text) = @_;

    return $1 if $text =~ /^(\d)e-9$/;
    return $1 * 10 ** (9 - $3) + ($2 // 0) * 10 ** (9 - $3 - length($2 // ''))
        if $text =~ /^(\d)(?:\.(\d+))?e-(\d)$/;
    return $1 * 1_000_000_000 + substr(($2 // '') . '0' x 9, 0, 9)
        if $text =~ /^(\d+)(?:\.(\d+))?$/;
    return;
}


# -- nothing has happened

my $r = http_get('/debug/stats');
is($r->{status}, 200, 'stats');
is($r->{headers}{'content-type'}, 'application/json', 'is JSON');
is($r->{headers}{'cache-control'}, 'no-store', 'is not to be stored');
ok($r->{complete}, 'complete');

my $dur = qr/"(?:\d+h)?(?:\d+m)?[\d.]+(?:ns|\xc2\xb5s|ms|s)"/;
my $sec = qr/\d+(?:\.\d*[1-9])?|\d(?:\.\d*[1-9])?e-[789]/;
my $codes = qr/\{(?:"\w+":\d+(?:,"\w+":\d+)*)?\}/;

my $fields = qr/"pid":\d+,"uptime":$dur,"uptime_sec":$sec,
    "time":"\d{4}-\d\d-\d\d\ \d\d:\d\d:\d\d(?:\.\d*[1-9])?
           \ [+-]\d{4}\ \S+\ m=\+\d+\.\d{9}",
    "unixtime":\d+,
    "status_code_count":$codes,"total_status_code_count":$codes,
    "count":\d+,"total_count":\d+,
    "total_response_time":$dur,"total_response_time_sec":$sec,
    "average_response_time":$dur,"average_response_time_sec":$sec/x;

like($r->{body}, qr/^\{$fields,/, 'the 13 fields come first, in their order');

my $s = decode_json($r->{body});
is(scalar(grep { exists $s->{$_} } @FIELDS), 13, 'all of them');
is($s->{pid}, $t->master_pid(), 'pid is the master\'s');
is_deeply($s->{status_code_count}, {}, 'no codes: {}');
like($r->{body}, qr/"total_status_code_count":\{\},"count":0,"total_count":0,
                    "total_response_time":"0s","total_response_time_sec":0,
                    "average_response_time":"0s",
                    "average_response_time_sec":0[,}]/x, 'zero is 0s and 0');
cmp_ok(abs($s->{unixtime} - time()), '<', 2, 'unixtime');
like($s->{time}, qr/^\Q@{[ POSIX::strftime('%Y-%m-%d', localtime) ]}\E/,
     'time is local');

is_deeply([sort keys %{ $s->{servers} }],
          [sort 'main', '127.0.0.1:' . port(1)],
          'servers by name, or by where they listen');
is_deeply([sort keys %{ $s->{upstreams} }], [qw/ codes missing ok slow ws /],
          'groups are there before their first request');
is_deeply([keys %{ $s->{upstreams}{ok}{peers} }], [$ok->addr()],
          'and so are their peers');

my ($pa) = raw() =~ /"uptime_sec":([\d.e-]+)/;
sleep 0.02;
my ($pb) = raw() =~ /"uptime_sec":([\d.e-]+)/;
cmp_ok(ns($pb) - ns($pa), '>=', 20_000_000, 'uptime grows');

is(stats()->{total_count}, 0, 'these requests do not count');
http_get('/other/stats');
http_get('/debug/nothing');
http_get('/debug/stats', method => 'POST');
http_get('/pages/stats');
is(stats()->{total_count}, 0, 'nor any other on these routes');
is(stats()->{servers}{main}{active}, 0, 'and none of them is under way');

# -- methods and ways

$r = http_get('/debug/stats', method => 'HEAD');
is($r->{status}, 200, 'HEAD');
cmp_ok($r->{headers}{'content-length'}, '>', 1000, 'HEAD has the length');

for my $method (qw/ POST PUT DELETE OPTIONS /) {
    $r = http_get('/debug/stats', method => $method);
    is($r->{status}, 405, $method);
    is($r->{headers}{allow}, 'GET, HEAD', "$method: told what is allowed");
    like($r->{body}, qr/^only GET and HEAD are allowed\n?$/,
         "$method: in a sentence");
}

is(http_get('/debug/stats/')->{status}, 404, 'stats/');
is(http_get('/debug/statsx')->{status}, 404, 'statsx');
is(http_get('/pages/stats')->{status}, 404, 'where stats is not served');
is(http_get('/other/stats')->{status}, 200, 'where stats alone is');

# -- numbers

http_get('/ok') for 1 .. 3;
http_get('/missing') for 1 .. 2;
http_get('/204');
http_get('/nothing');

$s = total_is(7, 'seven requests');
is_deeply($s->{total_status_code_count},
          { 200 => 3, 204 => 1, 404 => 3 }, 'by code');
is($s->{upstreams}{ok}{total_count}, 3, 'group');
is($s->{upstreams}{ok}{peers}{$ok->addr()}{total_count}, 3, 'peer');
is_deeply($s->{upstreams}{missing}{total_status_code_count}, { 404 => 2 },
          'group, by code');
is($s->{upstreams}{ok}{tries}, 3, 'tries');
is($s->{upstreams}{ok}{retries}, 0, 'no retries');
is($s->{upstreams}{ok}{active}, 0, 'none active');
is($s->{upstreams}{ok}{last_failure}, undef, 'no failure');
cmp_ok($s->{upstreams}{ok}{received_bytes}, '>', 3 * 40, 'bytes from it');
cmp_ok($s->{upstreams}{ok}{sent_bytes}, '>', 3 * 20, 'bytes to it');

my $raw = raw();
like($raw, qr/"total_status_code_count":\{"200":3,"204":1,"404":3\}/,
     'codes are sorted');
like($raw, qr/^\{$fields,/, 'fields with numbers in them');

for my $key (qw/ servers upstreams /) {
    my $text = substr $raw, index $raw, "\"$key\":{";
    my $n = () = $text =~
                  /"status_code_count":$codes,"total_status_code_count":$codes,
                   "count":\d+,"total_count":\d+,
                   "total_response_time":$dur,
                   "total_response_time_sec":$sec,
                   "average_response_time":$dur,
                   "average_response_time_sec":$sec,"response_time_sec"/gx;
    # 2 servers, 5 groups, 5 peers
    is($n, $key eq 'servers' ? 12 : 10, "$key have the count and time fields");
}

my $rows = 0;

while ($raw =~ /"total_count":(\d+),"total_response_time":"([^"]+)",
                "total_response_time_sec":($sec),
                "average_response_time":"([^"]+)",
                "average_response_time_sec":($sec)/gx)
{
    my ($count, $d, $total, $ad, $average) = ($1, $2, $3, $4, $5);

    s/\xc2\xb5/\xb5/ for $d, $ad;

    is($d, go_duration(ns($total)), "row $rows: two forms of the total");
    is(ns($average), $count ? int(ns($total) / $count) : 0,
       "row $rows: the average is divided as integers");
    is($ad, go_duration(ns($average)), "row $rows: two forms of the average");
    $rows++;
}

is($rows, 13, 'in each row');

my $p = $s->{upstreams}{ok}{peers}{$ok->addr()}{response_time_sec};
is_deeply([sort keys %$p], [sort qw/ min p50 p90 p99 p99.9 max /],
          'percentiles');
ok($p->{min} > 0 && $p->{min} <= $p->{p50} && $p->{p50} <= $p->{p90}
   && $p->{p90} <= $p->{p99} && $p->{p99} <= $p->{'p99.9'}
   && $p->{'p99.9'} <= $p->{max}, 'rise')
    or diag(explain($p));
is($s->{upstreams}{ws}{response_time_sec}{p50}, undef,
   'null where there is none');

# the current second: it comes, and it goes

my $seen = wait_for(sub {
    http_get('/ok');
    my $n = stats();
    return $n->{count} ? $n : 0;
});
my $sum = 0;
$sum += $_ for values %{ $seen->{status_code_count} };
ok($seen->{status_code_count}{200} && $sum == $seen->{count},
   'the current second has what came in it') or diag(explain($seen));
ok(wait_for(sub { stats()->{count} == 0 }, 3), 'and is over in a second');

# the last second slides: it is there when the current one has just begun

my @last;
my $begin = time();
while (time() < $begin + 3.5) {
    http_get('/ok');
    my $n = stats();
    push @last, $n->{servers}{main}{last_second} if time() > $begin + 1.2;
    sleep 0.05;
}
my ($low) = sort { $a <=> $b } @last;
cmp_ok($low, '>', 0, 'the last second is never empty')
    or diag("@last");
ok(wait_for(sub {
       my $n = stats();
       return $n->{servers}{main}{last_second} == 0
              && $n->{upstreams}{ok}{last_second} == 0;
   }, 4), 'and it ends, too');

# -- filters

$s = stats('?upstream=ok');
is_deeply([keys %{ $s->{upstreams} }], ['ok'], '?upstream=');
is_deeply($s->{servers}, {}, '?upstream= shows no servers');
is(scalar keys %{ $s->{upstreams}{ok}{peers} }, 1, '?upstream= has its peers');

$s = stats('?peer=' . $missing->addr());
is_deeply([keys %{ $s->{upstreams} }], ['missing'],
          '?peer= shows the groups that have it');
is_deeply([keys %{ $s->{upstreams}{missing}{peers} }], [$missing->addr()],
          '?peer=');
is_deeply(stats('?peer=' . $missing->addr() =~ s/:/%3a/r)->{upstreams},
          $s->{upstreams}, '?peer= escaped');
is_deeply(stats('?upstream=ok&peer=' . $missing->addr())->{upstreams}, {},
          '?upstream= and ?peer= that do not meet');

$s = stats('?server=main');
is_deeply([keys %{ $s->{servers} }], ['main'], '?server=');
is_deeply($s->{upstreams}, {}, '?server= shows no groups');

$s = stats('?upstream=nobody');
is_deeply($s->{upstreams}, {}, '?upstream= of nobody: {}');
cmp_ok($s->{total_count}, '>', 0, 'the head is there all the same');

# -- what does not count

my $n = stats()->{total_count};
http_get('/off');
http_get('/off');
http_get('/204');
$s = total_is($n + 1, 'debug_record off');
is($s->{upstreams}{ok}{total_count}, $s->{upstreams}{ok}{tries},
   'nor does its upstream');
is($s->{servers}{main}{active}, 0, 'nothing is left under way');

my $time = $s->{upstreams}{ws}{total_response_time};
$r = http_request("GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
                  . "Connection: Upgrade\r\n\r\n");
like($r->{raw}, qr/^HTTP\/1.1 101 .*bye$/s, 'an upgraded connection');
ok(wait_for(sub { stats()->{upstreams}{ws}{upgrades} == 1 }),
   'is counted apart');
$s = total_is($n + 1, 'and not as a request');
is($s->{servers}{main}{upgrades}, 1, 'at the server either');
is($s->{upstreams}{ws}{total_count}, 0, 'nor at the group');
is($s->{upstreams}{ws}{total_response_time}, $time, 'nor is its time');
is($s->{upstreams}{ws}{truncated}, 0, 'its end is no truncation');
is($s->{upstreams}{ws}{active}, 0, 'it is over');
is($s->{upstreams}{ws}{peers}{$ws->addr()}{upgrades}, 1, 'at the peer');

http_get('/', port => port(1));
$s = total_is($n + 2, 'the other server');
is_deeply($s->{servers}{'127.0.0.1:' . port(1)}{total_status_code_count},
          { 418 => 1 }, 'has a count of its own');

# a request that is none
http_request("oops\r\n\r\n");
$s = total_is($n + 3, 'nonsense counts');
is($s->{total_status_code_count}{400}, 1, 'as 400');

# -- more codes than have room: the rest is counted by class

my %many;

# by one worker

my $kept = http_open();

for my $code (200 .. 216, 400 .. 416, 500 .. 505) {
    $kept = http_get("/code/$code", sock => $kept, keepalive => 1)->{sock};
    $many{$code}++;
}

close $kept;

$s = wait_for(sub {
    my $now = stats();
    return $now->{upstreams}{codes}{total_count} == keys %many ? $now : 0;
}) // stats();

my $got = $s->{upstreams}{codes}{total_status_code_count};
my %class;
$class{substr $_, 0, 1} += $got->{$_} for keys %$got;

is($s->{upstreams}{codes}{total_count}, scalar keys %many,
   'forty codes: all are counted');
is_deeply(\%class, { 2 => 17, 4 => 17, 5 => 6 }, 'each in its class');
ok((grep { /^\dxx$/ } keys %$got), 'some by their class alone')
    or diag(explain($got));
$s = stats();

# -- reloads

sub same_after {
    my ($what) = @_;
    my $after;

    wait_for(sub {
        $after = stats();
        $after->{total_count} == $s->{total_count}
    });

    is_deeply($after->{total_status_code_count},
              $s->{total_status_code_count}, "$what: codes");
    is($after->{total_response_time}, $s->{total_response_time},
       "$what: time");
    is($after->{upstreams}{ok}{received_bytes},
       $s->{upstreams}{ok}{received_bytes}, "$what: bytes");
    is_deeply($after->{upstreams}{missing}{peers}{$missing->addr()}
                  {response_time_sec},
              $s->{upstreams}{missing}{peers}{$missing->addr()}
                  {response_time_sec}, "$what: percentiles");
    cmp_ok($after->{uptime_sec}, '>', $s->{uptime_sec}, "$what: uptime");
    is($after->{pid}, $s->{pid}, "$what: pid");

    return $after;
}

my $generation = stats()->{generation};

$t->reload();
$s = same_after('reload');
is($s->{generation}, $generation + 1, 'another generation');

$t->reload();
$t->reload();
$s = same_after('two more');

for my $zone (1, 16, 2) {
    $t->write_conf(conf(zone => "${zone}m"));
    $t->reload();
    $s = same_after("debug_zone ${zone}m");
    is($s->{zone}{size}, $zone * 1024 * 1024, 'which is in force');
}

# to the most there can be, while an old worker has a request under way

my $slow = http_open();
syswrite $slow, "GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
ok(wait_for(sub { stats()->{upstreams}{slow}{active} == 1 }), 'under way');

$generation = stats()->{generation};
$t->write_conf(conf(zone => '1024m', workers => 1));
kill 'HUP', $t->master_pid();
ok(wait_for(sub { stats()->{generation} > $generation }), 'reloaded');
$s = same_after('debug_zone 1024m');
is($s->{zone}{size}, 1024 * 1024 * 1024, 'which is in force');
is($s->{upstreams}{slow}{active}, 1, 'the old worker is not done');

{ local $/; like(readline($slow), qr/slow\z/, 'its client gets the answer') }
$s = total_is($s->{total_count} + 1, 'which counts');
is($s->{upstreams}{slow}{total_count}, 1, 'at the group, too');

http_get('/204');
$s = total_is($s->{total_count} + 1, 'the new one counts there, too');

$t->write_conf(conf(zone => '2m', workers => 4));
$t->reload();
$s = same_after('and back, with more workers');
http_get('/204') for 1 .. 8;
$s = total_is($s->{total_count} + 8, 'four workers count');

# a server and a group that are gone keep their numbers

delete $group{missing};
$t->write_conf(conf());
$t->reload();
$s = same_after('a group less');

# -- names

$t->write_conf(conf(odd => 1));
$t->reload();
$r = http_get('/', port => port(2));
is($r->{body}, 'ok', 'a group with a terrible name works');

$s = wait_for(sub {
    my $now = stats();
    return ($now->{servers}{$ODD_JSON}{total_count} // 0) == 1 ? $now : 0;
});
ok($s, 'such a server is valid JSON');
is($s->{upstreams}{$ODD_JSON}{total_count}, 1, 'and so is the group');
ok(eval { raw() =~ /^\{.*\}\n$/s && utf8::decode(my $copy = raw()) },
   'valid UTF-8');

my $arg = join '', map { sprintf '%%%02x', ord } split //, $ODD;
ok(eq_array([keys %{ stats("?upstream=$arg")->{upstreams} }], [$ODD_JSON]),
   'it can be asked for');

# -- one process

$t->stop();
$t->run(conf(workers => 1));
is(stats()->{total_count}, 0, 'a new nginx starts anew');

done_testing();
