#!/usr/bin/perl

# Workers that are killed, one after the other, under load and with profiles
# under way: the counters are what the clients saw, but for what was in
# flight, nothing stays under way, and no profiler stays busy.
#
# TEST_LONG=1 kills 200 of them.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ sleep time /;

use lib "$FindBin::Bin/lib";
use Debug::Nginx;

my $kills = $ENV{TEST_LONG} ? 200 : 25;
my $clients = 6;

my $t = Debug::Nginx->new();

my $gz = "\x1f\x8b\x08\0" . "\0" x 200;

my $b = backend(sub {
    my ($req, $c) = @_;

    if ($req->{uri} !~ m!/debug/pprof/!) {
        $c->delay(0.02);
        return $c->reply(200, 'x' x 500);
    }

    $c->delay(0.5) if $req->{uri} =~ /profile/;
    $c->reply(200, $gz);
});

$t->run(<<"EOC");
%%TEST_GLOBALS%%
worker_processes 2;
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    upstream app { server @{[ $b->addr() ]}; keepalive 4; }
    upstream dead { server 127.0.0.1:1 max_fails=0;
                    server @{[ $b->addr() ]} backup; }
    server {
        listen 127.0.0.1:%%PORT_0%%;
        server_name main;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        location / { proxy_pass http://app; }
        location /retry { proxy_pass http://dead; }
        location /var { set \$to @{[ $b->addr() ]}; proxy_pass http://\$to; }
        location /debug/ { debug; }
    }
}
EOC


# -- clients, each of which counts for itself

my $dir = temp_dir('count');
my %path = (app => '/', dead => '/retry', $b->addr() => '/var');
my @pid;

# each answer is told by its group's place, so that there is some between two
# deaths however little time the machine has
my @groups = sort keys %path;

pipe my $told, my $tell or die "pipe: $!\n";
$told->blocking(0);

sub wait_for_load {
    my %seen;

    wait_for(sub {
        sysread $told, my $some, 65536;
        $seen{$_} = 1 for split //, $some // '';
        return keys %seen == @groups;
    }, 60);
}

sub child {
    my ($sub) = @_;
    my $pid = fork() // die "fork: $!\n";

    return push @pid, $pid if $pid;

    my $end = 0;
    local $SIG{TERM} = sub { $end = 1 };

    $sub->(sub { $end });
    POSIX::_exit(0);
}

for my $n (1 .. $clients) {
    child(sub {
        my ($ended) = @_;
        my (%good, %broken, $sock);

        until ($ended->()) {
            for my $n (0 .. $#groups) {
                my $group = $groups[$n];
                my $r = http_get($path{$group}, port => $t->port(0),
                                 keepalive => 1,
                                 defined $sock ? (sock => $sock) : ());

                # a kept connection whose worker was killed took nothing
                if ($r->{status} == 200 && $r->{complete}) {
                    $good{$group}++;
                    syswrite $tell, $n;
                } else {
                    $broken{$group}++;
                }

                $sock = $r->{sock};
            }
        }

        write_file("$dir/$n", encode_json({ good => \%good,
                                            broken => \%broken }));
    });
}

for my $n (1 .. 2) {
    child(sub {
        my ($ended) = @_;
        my %seen = (0 => 0, 200 => 0, 503 => 0);

        until ($ended->()) {
            my $r = http_get('/debug/pprof/app/0/profile?seconds=1',
                             port => $t->port(0));
            $seen{ $r->{complete} ? $r->{status} : 0 }++;
            sleep 0.05 if $r->{status} != 200;
        }

        write_file("$dir/profiles$n", encode_json(\%seen));
    });
}

my $start = time();

for my $n (1 .. $kills) {
    my @worker = $t->worker_pids();

    wait_for_load();
    $t->kill_worker(pid => $worker[$n % @worker]);
    sleep 0.1 + $n % 7 * 0.01;
}

diag(sprintf '%d workers killed in %.1f s', $kills, time() - $start);

kill 'TERM', @pid;
waitpid $_, 0 for @pid;


# -- what they saw, and what was counted
#
# A worker counts when it has sent.  One that is killed in between leaves what
# its client saw as lost: one answer each, since it does one thing at a time.

my (%good, %broken);

for my $n (1 .. $clients) {
    my $c = decode_json(read_file("$dir/$n"));

    $good{$_} += $c->{good}{$_} // 0 for keys %path;
    $broken{$_} += $c->{broken}{$_} // 0 for keys %path;
}

my $s;

wait_for(sub {
    $s = decode_json(http_get('/debug/stats')->{body});
    return !grep { $_->{active} } values %{ $s->{upstreams} },
                                  values %{ $s->{servers} };
}, 5);

my ($all_good, $all_broken, $all_lost) = (0, 0, 0);

for my $group (sort keys %path) {
    my $u = $s->{upstreams}{$group};
    my $counted = $u->{total_status_code_count}{200} // 0;
    my $lost = $u->{failures}{lost};
    my ($good, $broken) = ($good{$group}, $broken{$group});

    $all_lost += $lost;

    $all_good += $good;
    $all_broken += $broken;

    diag("$group: $good answers and $broken broken off; counted $counted,"
         . " lost $lost");

    cmp_ok($good, '>', 0, "$group: there was a load");
    cmp_ok($counted + $lost, '>=', $good, "$group: each answer is counted");
    cmp_ok($counted, '>=', $good - $kills,
           "$group: or sent by a worker's last breath");
    cmp_ok($counted + $lost, '<=', $good + $broken,
           "$group: and none twice");
    is($u->{active}, 0, "$group: nothing stays under way");

    my %sum;

    for my $p (values %{ $u->{peers} }) {
        $sum{200} += $p->{total_status_code_count}{200} // 0;
        $sum{active} += $p->{active};
        $sum{connect} += $p->{failures}{connect};
    }

    is($sum{200}, $counted, "$group: as its peers say");
    is($sum{active}, 0, "$group: nor at a peer");

    next if $group ne 'dead';

    cmp_ok($sum{connect}, '>=', $counted, "$group: a retry for each");
    cmp_ok($sum{connect}, '<=', $counted + $broken,
           "$group: but for what was in flight");
}

cmp_ok($all_lost, '>', 0, 'some were in flight, and are known as lost');

my $server = $s->{servers}{main};

cmp_ok($server->{total_count} + $server->{failures}{lost}, '>=', $all_good,
       'the server: each answer');
cmp_ok($server->{total_count}, '>=', $all_good - $kills,
       "the server: or a worker's last breath");
cmp_ok($server->{total_count} + $server->{failures}{lost}, '<=',
       $all_good + $all_broken, 'the server: none twice');
is($server->{active}, 0, 'the server: nothing under way');

# -- and the profiler is free

my %profiles;

for my $n (1 .. 2) {
    my $c = decode_json(read_file("$dir/profiles$n"));
    $profiles{$_} += $c->{$_} for keys %$c;
}

diag(join ', ', map { "$profiles{$_} profiles ended with $_" }
                sort keys %profiles);
cmp_ok($profiles{200} + $profiles{0}, '>', 0, 'profiles were under way');

my $r = wait_for(sub {
    my $r = http_get('/debug/pprof/app/0/profile?seconds=1');
    return $r->{status} == 200 ? $r : 0;
}, 5);
ok($r, 'the profiler is free');

is(scalar(() = $t->error_log() =~ /exited on signal 9/g), $kills,
   'as many died as were killed');
unlike($t->error_log(), qr/exited on signal (?!9\b)/, 'and no other');

done_testing();
