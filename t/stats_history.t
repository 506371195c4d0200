#!/usr/bin/perl

# The per-second history in /debug/charts/data: every request in its second,
# over reloads and killed workers; what was not filled is null.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin;
use lib "$FindBin::Bin/lib";

use List::Util qw/ sum0 max /;
use Time::HiRes qw/ sleep time /;

use Debug::Nginx;

###############################################################################

need_bin('nginx');

my $backend = backend(sub {
    my ($req, $c) = @_;
    $c->delay(0.05) if $req->{uri} =~ /slow/;
    $c->reply($req->{uri} =~ /(\d{3})/ ? $1 : 200, "ok\n");
});

my $t = Debug::Nginx->new();

$t->write_conf(<<"EOC")->run();
%%TEST_GLOBALS%%
worker_processes 2;
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    upstream u { server @{[ $backend->addr() ]}; }
    upstream dead { server 127.0.0.1:@{[ free_port() ]}; }
    server {
        listen 127.0.0.1:%%PORT_0%%;
        server_name s;
        location / { proxy_pass http://u; }
        location /dead { proxy_pass http://dead; }
        location /debug/ { debug; }
    }
}
EOC

sub data {
    my ($query) = @_;
    my $r = http_get("/debug/charts/data?$query");
    is($r->{status}, 200, "?$query");
    return decode_json($r->{body});
}


# One series' values; nulls are left out.
sub values_of {
    my ($d, $name) = @_;
    my ($s) = @{ $d->{series} };
    return grep { defined } @{ $s->{$name} // [] };
}


# -- shape

my $began = time();

# until the first second is whole
ok(wait_for(sub {
    my $d = decode_json(http_get('/debug/charts/data?upstream=u')->{body});
    return (values_of($d, '2xx')) > 0;
}, 5), 'it fills');

my $d = data('n=20&upstream=u');

is($d->{v}, 1, 'version');
is($d->{step}, 1, 'step');
is(@{ $d->{t} }, 20, 'points');
cmp_ok(abs($d->{now} / 1000 - time()), '<', 2, 'now');
cmp_ok(abs($d->{t}[-1] - time()), '<', 3, 'the last point is the last second');
is_deeply([map { $d->{t}[$_] - $d->{t}[$_ - 1] } 1 .. 19], [(1) x 19],
          'a point a second');
is_deeply([map { $_->{kind} } @{ $d->{series} }], [qw/ upstream peer /],
          'the group and its peer');
is(@{ $d->{series}[0]{$_} }, 20, "$_: as many values") for '2xx', 'p99';
ok(!defined $d->{series}[0]{'2xx'}[0], 'null before it began');
is($d->{marks}[0][1], 'start', 'the start is marked');
is($d->{left_out}, 0, 'nothing left out');

# -- every request once, over reloads and a killed worker

my %want = ('2xx' => 0, '4xx' => 0, '5xx' => 0, failed => 0);

for my $i (1 .. 60) {
    http_get('/200');
    $want{'2xx'}++;

    if ($i % 3 == 0) {
        http_get('/404');
        $want{'4xx'}++;
    }

    if ($i % 6 == 0) {
        http_get('/500');
        $want{'5xx'}++;
    }

    $t->reload() if $i == 20;
    $t->kill_worker() if $i == 40;

    sleep 0.05;
}

http_get('/slow') for 1 .. 3;
$want{'2xx'} += 3;

sub all_there {
    my ($query) = @_;
    return wait_for(sub {
        my $d = decode_json(http_get("/debug/charts/data?$query")->{body});
        return sum0(values_of($d, '2xx')) >= $want{'2xx'};
    }, 25);
}

ok(all_there('n=100&upstream=u'), 'all in the seconds');

$d = data('n=100&upstream=u');
is(sum0(values_of($d, $_)), $want{$_}, "$_: sum") for sort keys %want;
cmp_ok(max(values_of($d, 'p99')), '>', 48_000, 'p99 of a slow second, us');
cmp_ok(max(values_of($d, 'p99')), '<', 2_000_000, 'and not beyond');
ok((grep { $_->[1] eq 'reload' } @{ $d->{marks} }), 'the reload is marked');

my @seen = @{ $d->{series}[0]{'2xx'} };
shift @seen until defined $seen[0];
ok(!(grep { !defined } @seen), 'no gap, whoever died');

my $p = data('n=100&upstream=u&peer=' . $backend->addr());
is(@{ $p->{series} }, 1, 'one peer');
is(sum0(values_of($p, '2xx')), $want{'2xx'}, 'the same at the peer');

my $s = data('n=100&server=s');
is($s->{series}[0]{kind}, 'server', 'a server');
is(sum0(values_of($s, '2xx')), $want{'2xx'}, 'the same at the server');

# -- failures

http_get('/dead');
ok(wait_for(sub {
    my $d = decode_json(http_get('/debug/charts/data?upstream=dead')->{body});
    return sum0(values_of($d, 'failed')) == 1;
}, 5), 'a failure');

# -- coarse points

ok(all_there('step=10&n=30&upstream=u'), 'all in the tens of seconds');

$d = data('step=10&n=30&upstream=u');
is($d->{step}, 10, 'step');
is(sum0(values_of($d, $_)), $want{$_}, "$_: sum, 10 s") for sort keys %want;
cmp_ok(max(values_of($d, 'count_max')), '<', sum0(values_of($d, '2xx')),
       'the busiest second is less than all');
cmp_ok(max(values_of($d, 'p99_max')), '>', 48_000, 'p99_max keeps the spike');

# -- since

my $since = $d->{t}[-3] * 1000;
my $later = data("step=10&since=$since&upstream=u");
cmp_ok($later->{t}[0], '>', $since / 1000, 'since: only later ones');
cmp_ok(scalar @{ $later->{t} }, '<=', 4, 'since: few');

# -- bad input

for my $q ('n=0', 'n=x', 'n=-1', 'since=x', 'step=7', 'step=', 'n=') {
    my $r = http_get("/debug/charts/data?$q");
    is($r->{status}, 400, "?$q is refused");
    like($r->{body}, qr/^"since" takes/, "?$q: why");
}

is(http_get('/debug/charts/data', method => 'POST')->{status}, 405, 'POST');
is(scalar @{ data('upstream=nobody')->{series} }, 0, 'unknown: nothing');

# what the rings hold: a quarter of an hour, two hours, a day

for ([1, 900], [10, 720], [60, 1440]) {
    my ($step, $n) = @$_;
    my $d = data("step=$step&n=99999999999");

    # they count the seconds since the machine was started

    my $most = int((split ' ', read_file('/proc/uptime'))[0] / $step);
    $n = $most if $most < $n;

    cmp_ok(abs(@{ $d->{t} } - $n), '<=', $n < $most ? 0 : 1,
           "step $step: n is bounded by the ring, $n");
    is($d->{t}[-1] - $d->{t}[0], $#{ $d->{t} } * $step,
       "step $step: its length");
}

done_testing();

###############################################################################
