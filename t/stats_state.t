#!/usr/bin/perl

# The state of each peer, and why, in all faces: stats, metrics, the overview
# and charts/data.  A peer that hung was "up", then "idle".

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ sleep time /;

use lib "$FindBin::Bin/lib";
use Debug::Nginx;

my $t = Debug::Nginx->new(level => 'crit');

my %b = (
    good => backend(Debug::Backend::answer(200, "ok\n")),
    hung => backend(Debug::Backend::hang(60)),
    timeout => backend(Debug::Backend::hang(60)),
    errors => backend(sub { my ($req, $c) = @_;
        $c->reply($req->{uri} =~ /bad/ ? 500 : 200, "x\n") }),
    late => backend(sub { my ($req, $c) = @_;
        sleep 0.1; $c->reply(200, "late\n") }),
    socket => backend(sub { my ($req, $c) = @_;
        $c->send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                 . "Upgrade: websocket\r\n\r\n");
        $c->hang(60); }),
    idle => backend(Debug::Backend::answer(200, "ok\n")),
    marked => backend(Debug::Backend::answer(200, "ok\n")),
);

my $refused = free_port();
my %at = (map({ $_ => $b{$_}->addr() } keys %b), down => "127.0.0.1:$refused");
my %name = reverse %at;

sub conf {
    my ($more) = @_;

    return <<"EOC";
%%TEST_GLOBALS%%
worker_processes 2;
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    proxy_next_upstream off;
    proxy_http_version 1.1;

    upstream down { server $at{down} max_fails=0; }
    upstream hung { server $at{hung}; }
    upstream timeout { server $at{timeout} max_fails=0; }
    upstream errors { server $at{errors}; }
    # in a zone, so that the workers take turns together
    upstream sisters {
        zone sisters 64k;
        server $at{good} weight=3;
        server $at{late};
    }
    upstream socket { server $at{socket}; }
    upstream idle { server $at{idle}; server $at{marked} down; }

    server {
        listen 127.0.0.1:%%PORT_0%%;
        server_name main;
        location /debug/ { debug; }
        location /down { proxy_pass http://down; }
        location /hung { proxy_pass http://hung; }
        location /timeout {
            proxy_read_timeout 100ms;
            proxy_pass http://timeout;
        }
        location /errors { proxy_pass http://errors; }
        location /sisters { proxy_pass http://sisters; }
        location /socket {
            proxy_set_header Upgrade websocket;
            proxy_set_header Connection upgrade;
            proxy_pass http://socket;
        }
        $more
    }
}
EOC
}

$t->run(conf(''));


# What each face says of each peer: name => [state, reason].

sub in_stats {
    my $s = decode_json(http_get('/debug/stats')->{body});
    my %is;

    for my $g (values %{ $s->{upstreams} }) {
        for my $p (keys %{ $g->{peers} }) {
            $is{$name{$p}} = $g->{peers}{$p};
        }
    }

    return \%is;
}


sub in_metrics {
    my %is;
    my $text = http_get('/debug/metrics')->{body};

    while ($text =~ /^nginx_debug_peer_(state|up|weight|configured)\{
                     upstream="\w+",peer="([^"]+)"(?:,state="(\w+)")?\}
                     \ (\d+)$/xmg)
    {
        $is{$name{$2}}{$1} = $3 // $4;
    }

    return \%is;
}


sub in_page {
    my %is;
    my $html = http_get('/debug/')->{body};

    while ($html =~ m!scope="row">([^<]+)</th><td\ class="l">\w+</td><td\ class="l">
                      <span\ class="state\ (\w+)">(\w+)</span></td>
                      <td\ class="l\ why">([^<]+)</td>!xg)
    {
        my ($peer, $class, $state, $reason) = ($1, $2, $3, $4);
        $reason =~ s/&quot;/"/g;
        push @{ $is{order} }, $state;
        $is{$name{$peer}} = { state => $state, reason => $reason }
            if $class eq $state;
    }

    return \%is;
}


sub in_charts {
    my %is;
    my $s = decode_json(http_get('/debug/charts/data?n=1')->{body});

    for (@{ $s->{series} }) {
        $is{$name{$_->{peer}}} = $_ if $_->{kind} eq 'peer';
    }

    return \%is;
}


# -- each of them, at once and after a while

# they stay for as long as the test does
my $since = time();
my @open = map { my $uri = $_; map {
    my $s = http_open();
    print $s "GET /$uri HTTP/1.1\r\nHost: a\r\n\r\n";
    $s
} 1 .. 20 } qw/ hung socket /;

http_get('/down') for 1 .. 3;
http_get('/timeout') for 1 .. 2;
http_get('/errors' . ($_ == 5 ? '/bad' : '')) for 1 .. 20;
http_get('/sisters') for 1 .. 40;

my $s = in_stats();

is($s->{down}{state}, 'down', 'refused: down, at once');
is($s->{timeout}{state}, 'failing', 'timed out: failing');
is($s->{errors}{state}, 'failing', 'one 5xx of twenty: failing');
is($s->{good}{state}, 'up', 'answered: up');

SKIP: {
    skip 'busy machine: that took ten seconds', 1 if time() - $since > 9;
    is($s->{hung}{state}, 'up', 'under way for a moment: up');
}

is($s->{idle}{state}, 'idle', 'never asked: idle');

ok(wait_for(sub { in_stats()->{hung}{state} eq 'hanging' }, 20),
   'none answered for ten seconds: hanging');

$s = in_stats();

my %expect = (
    down => ['down', qr/^refused the last connection, 3 in the last minute$/],
    hung => ['hanging', qr/^20 under way, none answered for \d\d s$/],
    timeout => ['failing',
                qr/^of 2 .* 2 got no answer \(2 timed out, 0 refused\)$/],
    errors => ['failing', qr/^of 20 in the last minute 1 were 5xx$/],
    late => ['slow', qr/^1\d\d ms on average .*, its sisters \d+ ms$/],
    good => ['up', qr/^30 of 30 answered in the last minute$/],
    socket => ['up', qr/, 20 under way$/],
    idle => ['idle', qr/^not asked in the last minute$/],
    marked => ['idle', qr/^marked "down" in the configuration$/],
);


my ($m, $page, $charts) = (in_metrics(), in_page(), in_charts());

for my $peer (sort keys %expect) {
    my ($state, $reason) = @{ $expect{$peer} };

    is($s->{$peer}{state}, $state, "$peer: $state");
    like($s->{$peer}{reason}, $reason, "$peer: in words");
    is($m->{$peer}{state}, $state, "$peer: in metrics");
    is($page->{$peer}{state}, $state, "$peer: on the overview");
    like($page->{$peer}{reason}, $reason, "$peer: and in words");
    is($charts->{$peer}{state}, $state, "$peer: in the charts' data");
    like($charts->{$peer}{reason}, $reason, "$peer: and in words");

    my $up = $peer eq 'marked' ? undef : $state =~ /down|hanging/ ? 0 : 1;

    is($m->{$peer}{up}, $up, "$peer: up");
    is(defined $s->{$peer}{up} ? $s->{$peer}{up} + 0 : undef, $up,
       "$peer: in stats, too");
    is($m->{$peer}{configured}, 1, "$peer: configured");
    is($m->{$peer}{weight}, $peer eq 'good' ? 3 : 1, "$peer: weight");
}

my @order = qw/ down hanging failing slow up idle removed /;
my %rank = map { $order[$_] => $_ } 0 .. $#order;

is_deeply($page->{order},
          [sort { $rank{$a} <=> $rank{$b} } @{ $page->{order} }],
          'the worst first');

# -- it answers again

my $again = backend(Debug::Backend::answer(200, "back\n"), port => $refused);

http_get('/down');
$s = in_stats();
is($s->{down}{state}, 'failing', 'who answers again is not down');
like($s->{down}{reason}, qr/^of 4 in .* 3 got no answer/, 'but did fail');

# -- removed

# the backends have copies of them
shutdown $_, 2 for @open;

$t->write_conf(conf('') =~ s/server \Q$at{late}\E;//r
                        =~ s/server \Q$at{marked}\E down;//r);
$t->reload();
http_get('/sisters') for 1 .. 4;

ok(wait_for(sub { in_stats()->{late}{state} eq 'removed' }),
   'who is not in the configuration is removed');
$s = in_stats();
$m = in_metrics();
is($s->{late}{reason}, 'no longer in the configuration', 'it says so');
is($s->{late}{total_count}, 10, 'its counts stay');
is($m->{late}{configured}, 0, 'it is not configured');
is($m->{late}{up}, undef, 'nor to be asked');
is(in_page()->{order}[-1], 'removed', 'it is the last');
is($s->{good}{state}, 'up', 'its sister is not');

$t->write_conf(conf(''));
$t->reload();
is(in_stats()->{late}{state}, 'slow', 'who comes back is what it was');
is(in_stats()->{late}{total_count}, 10, 'with its counts');

done_testing();
