#!/usr/bin/perl

# More processes than 64: 48 workers, and those of two reloads before, which
# still have requests.  What is under way and what is lost is what it is; it was
# told wrong once two processes shared a place.

use strict;
use warnings;

use FindBin;
use IO::Select;
use Test::More;
use Time::HiRes qw/ sleep /;

use lib "$FindBin::Bin/lib";
use Debug::App;
use Debug::Nginx;

my $WORKERS = 48;
my $HELD = 96;          # of each generation

my $build = $ENV{DEBUG_BUILD} // 'build';

plan(skip_all => "no $build/t/app/upstream")
    unless -x "$build/t/app/upstream";

my $up = free_port();
my $app = Debug::App->start(cmd => ["$build/t/app/upstream", '-p', $up],
                            ready => { port => $up });
my $t = Debug::Nginx->new(level => 'crit');

$t->run(<<"EOC");
%%TEST_GLOBALS%%
worker_processes $WORKERS;
events { worker_connections 256; }
http {
    %%TEST_GLOBALS_HTTP%%
    access_log off;
    upstream u { server 127.0.0.1:$up max_fails=0; }
    server {
        listen 127.0.0.1:%%PORT_0%% reuseport;
        server_name main;
        location /debug/ { debug; }
        location /held { proxy_pass http://u/?us=600000000; }
        location / { proxy_pass http://u/; }
    }
}
EOC

sub stats { return decode_json(http_get('/debug/stats')->{body}) }

# [under way, lost, answered] of the server, the group and the peer

sub row {
    my $s = stats();
    my $u = $s->{upstreams}{u};

    return map { [$_->{active}, $_->{failures}{lost}, $_->{total_count}] }
               $s->{servers}{main}, $u, values %{ $u->{peers} };
}


sub all_are {
    my ($expected, $name) = @_;
    my @got;

    wait_for(sub { @got = row();
                   !grep { "@$_" ne "@$expected" } @got }, 20);
    is_deeply(\@got, [($expected) x 3], $name);
}


my $master = $t->master_pid();
my (@held, $answers);

for my $generation (1 .. 3) {

    for (1 .. $HELD) {
        my $s = http_open();
        print $s "GET /held HTTP/1.1\r\nHost: a\r\n\r\n";
        push @held, $s;
    }

    for (1 .. 50) {
        $answers++ if http_get('/')->{status} == 200;
    }

    all_are([$generation * $HELD, 0, 50 * $generation],
            "generation $generation: under way, none lost");

    next if $generation == 3;

    my %was = map { $_ => 1 } children_of($master);

    kill 'HUP', $master;
    wait_for(sub { $WORKERS <= grep { !$was{$_} } children_of($master) }, 20);

    # the sockets of reuseport are new: what comes goes to new workers
    wait_for(sub { stats()->{generation} == $generation + 1 }, 10);
}

is($answers, 150, 'each was answered');

my @all = children_of($master);
diag(scalar(@all) . ' worker processes');
cmp_ok(scalar @all, '>', 64, 'more than 64 processes');

# -- some of each generation are killed

$t->allow(qr/exited on signal 9/, 'killed here');
kill 'KILL', @all[map { $_ * 7 } 0 .. int($#all / 7)];

my $gone = 0;

wait_for(sub {
    my $s = stats()->{servers}{main};
    return $s->{failures}{lost} && $s->{active} + $s->{failures}{lost}
                                   == 3 * $HELD;
}, 20);
sleep 1.5;

for my $s (IO::Select->new(@held)->can_read(0.5)) {
    $gone++ if !sysread $s, my $buf, 1;
}

diag("$gone connections were cut");
cmp_ok($gone, '>', 0, 'some were cut');
all_are([3 * $HELD - $gone, $gone, 150], 'exactly these are lost');

# -- and the rest ends

shutdown $_, 2 for @held;
ok(wait_for(sub {
    my @row = row();
    return !grep { $_->[0] || $_->[1] != $gone } @row;
}, 20), 'nothing is under way any more') or diag(explain([row()]));

$app->stop();

done_testing();
