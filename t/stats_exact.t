#!/usr/bin/perl

# Every request is counted, and counted once: four workers, reloads every 200
# ms, answers, retries, failures and timeouts side by side.  Then the same
# with a worker killed in between, where what it had in flight is the only
# difference, and is counted, too.
#
# 20,000 requests; TEST_LONG=1 makes it 200,000.

use strict;
use warnings;

use FindBin;
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw/ sleep time /;

use lib "$FindBin::Bin/lib";
use Debug::App;
use Debug::Nginx;

my $TOTAL = $ENV{TEST_LONG} ? 200_000 : 20_000;
my $CLIENTS = 6;

my $build = $ENV{DEBUG_BUILD} // 'build';

plan(skip_all => "no $build/t/app/upstream")
    unless -x "$build/t/app/upstream";

my $t = Debug::Nginx->new(level => 'warn');

my $up = free_port();
my $dead = free_port();

my $app = Debug::App->start(cmd => ["$build/t/app/upstream", '-p', $up],
                            ready => { port => $up });

$t->run(<<"EOC");
%%TEST_GLOBALS%%
worker_processes 4;
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    access_log off;
    proxy_http_version 1.1;
    proxy_set_header Connection "";

    upstream ok { server 127.0.0.1:$up; keepalive 16; }
    upstream retry {
        server 127.0.0.1:$dead max_fails=0;
        server 127.0.0.1:$up backup;
        keepalive 16;
    }
    upstream bad { server 127.0.0.1:$up max_fails=0; }
    upstream slow { server 127.0.0.1:$up max_fails=0; }

    server {
        listen 127.0.0.1:%%PORT_0%% backlog=4096;
        server_name main;
        location /debug/ { debug; }
        location /ok { proxy_pass http://ok; }
        location /missing { proxy_pass http://ok/?code=404; }
        location /retry { proxy_pass http://retry; }
        location /bad { proxy_pass http://bad/?close; }
        location /slow {
            proxy_read_timeout 40ms;
            proxy_pass http://slow/?us=3000000;
        }
        location /own { return 204; }
    }
}
EOC


sub stats { return decode_json(http_get('/debug/stats')->{body}) }


# What the I-th request of a client asks for, and which status that has.

my %STATUS = (ok => 200, missing => 404, retry => 200, bad => 502,
              slow => 504, own => 204);

sub kind {
    my ($i) = @_;

    return 'slow' if $i % 200 == 199;
    return (qw/ ok retry bad ok missing own ok retry /)[$i % 8];
}


# One client: N requests, some on each connection.  A connection that nginx
# closes before the answer begins had not been read: the request goes again.
# With KILLED, a request on it may have been lost.

sub client {
    my ($n, $killed) = @_;
    my %seen;
    my ($s, $left);

    for my $i (0 .. $n - 1) {
        my $kind = kind($i);

        for (my $try = 0; ; $try++) {

            if (!$s || $left <= 0) {
                $s = IO::Socket::INET->new(Proto => 'tcp',
                                           PeerAddr => '127.0.0.1',
                                           PeerPort => port(0));
                $left = 20 + $i % 31;
            }

            if (!$s || $try > 20) {
                $seen{unanswered}++;
                last;
            }

            my $fresh = $left == 20 + $i % 31;
            my $last = --$left == 0;
            my $conn = $last ? 'close' : 'keep-alive';
            my $buf = '';

            syswrite $s, "GET /$kind HTTP/1.1\r\nHost: a\r\n"
                         . "Connection: $conn\r\n\r\n";

            while (sysread($s, $buf, 16384, length $buf)) {
                last if $buf =~ /\r\n\r\n/
                        && length($buf) - $+[0]
                           >= ($buf =~ /^Content-Length: (\d+)/mi ? $1 : 0);
            }

            if ($buf !~ m!^HTTP/1.1 (\d+) .*?\r\n\r\n!s) {
                undef $s;
                $seen{broken}++ if $fresh || $buf ne '' || $killed;
                next;
            }

            $seen{"$kind $1"}++;

            if ($last || $buf =~ /^Connection: close/mi) {
                close $s;
                undef $s;
            }

            last;
        }
    }

    return \%seen;
}


# TOTAL requests by CLIENTS at once, while SUB runs again and again.  The sum
# of what they saw.

sub load {
    my ($total, $killed, $sub) = @_;
    my (@out, %sum, %pid);

    for my $c (1 .. $CLIENTS) {
        my $file = temp_dir('c') . '/seen';
        my $pid = fork() // die "fork: $!\n";

        if ($pid == 0) {
            my $seen = client(int($total / $CLIENTS), $killed);
            write_file($file, encode_json($seen));
            POSIX::_exit(0);
        }

        $pid{$pid} = 1;
        push @out, $file;
    }

    while (%pid) {
        $sub->();

        for my $pid (keys %pid) {
            delete $pid{$pid} if waitpid($pid, POSIX::WNOHANG()) == $pid;
        }
    }

    for my $file (@out) {
        my $seen = decode_json(read_file($file));
        $sum{$_} += $seen->{$_} for keys %$seen;
    }

    return \%sum;
}


sub settled {
    my $s = stats();

    return 0 if $s->{servers}{main}{active};

    for my $g (values %{ $s->{upstreams} }) {
        return 0 if grep { $_->{active} } $g, values %{ $g->{peers} };
    }

    return $s;
}


sub sum_of {
    my ($peers, $key) = @_;
    my $n = 0;

    $n += $_->{$key} for values %$peers;
    return $n;
}


sub by_kind { my ($seen, $kind) = @_; return $seen->{"$kind $STATUS{$kind}"} // 0 }


# -- reloads

my $generation = stats()->{generation};
my $master = $t->master_pid();
my $start = time();

my $seen = load($TOTAL, 0, sub {
    kill 'HUP', $master;
    sleep 0.2;
});

my $took = time() - $start;
my $s;

ok(wait_for(sub { $s = settled() }, 20), 'nothing is left under way');
wait_for(sub { $t->worker_pids() == 4 }, 10);
$s = wait_for(\&settled, 20) // stats();

my $n = int($TOTAL / $CLIENTS) * $CLIENTS;
my $reloads = $s->{generation} - $generation;

diag(sprintf '%d requests, %d reloads, %.1f s', $n, $reloads, $took);
cmp_ok($reloads, '>=', 5, 'there were reloads');

is($seen->{unanswered} // 0, 0, 'each request was answered');
is($seen->{broken} // 0, 0, 'none broke off');

my %expected;
$expected{(split / /)[1]} += $seen->{$_} for grep { / / } keys %$seen;
is_deeply($s->{servers}{main}{total_status_code_count}, \%expected,
          'the server: every code equals what the clients saw')
    or diag(explain($seen));
is($s->{total_count}, $n, 'and their sum is what was sent');

my $u = $s->{upstreams};
my $peer = "127.0.0.1:$up";

is_deeply($u->{ok}{total_status_code_count},
          { 200 => by_kind($seen, 'ok'), 404 => by_kind($seen, 'missing') },
          'group ok');
is_deeply($u->{ok}{peers}{$peer}{total_status_code_count},
          $u->{ok}{total_status_code_count}, 'and its peer');
is_deeply($u->{retry}{total_status_code_count},
          { 200 => by_kind($seen, 'retry') }, 'group retry');
is($u->{retry}{retries}, by_kind($seen, 'retry'), 'each was a retry');
is($u->{retry}{tries}, 2 * by_kind($seen, 'retry'), 'of two tries');
is($u->{retry}{peers}{"127.0.0.1:$dead"}{failures}{connect},
   by_kind($seen, 'retry'), 'of which the first was refused');
is($u->{retry}{peers}{$peer}{total_count}, by_kind($seen, 'retry'),
   'and the second answered');
is($u->{bad}{failures}{invalid}, by_kind($seen, 'bad'), 'group bad');
is($u->{bad}{peers}{$peer}{failures}{invalid}, by_kind($seen, 'bad'),
   'and its peer');
is($u->{bad}{total_count}, 0, 'no answer of which is counted');
is($u->{slow}{failures}{timeout}, by_kind($seen, 'slow'), 'group slow');
is($u->{slow}{peers}{$peer}{failures}{timeout}, by_kind($seen, 'slow'),
   'and its peer');

my $lost = 0;

for my $row ($s->{servers}{main},
             map { $_, values %{ $_->{peers} } } values %$u)
{
    $lost += $row->{failures}{lost};
    $lost += $row->{failures}{$_} // 0 for qw/ other stale abort /;
}

is($lost, 0, 'nothing is lost, aborted, stale or other');

# -- and a killed worker

my $before = $s;
my $killed = 0;
my $turn = 0;

$seen = load($TOTAL / 4, 1, sub {
    if (++$turn % 2 == 0 && $killed < 3) {
        my @workers = $t->worker_pids();

        # wait_for() would let the reloads rest
        $t->allow(qr/process $workers[0] exited on signal 9/, 'killed');
        $killed += kill 'KILL', $workers[0];

    } else {
        kill 'HUP', $master;
    }

    sleep 0.2;
});

ok(wait_for(sub { $t->worker_pids() == 4 }, 10), 'successors');
ok(wait_for(sub { $s = settled() }, 20),
   'nothing is under way that is not') or diag(explain(stats()));
$s = stats();

cmp_ok($killed, '>=', 1, 'workers were killed');
is($seen->{unanswered} // 0, 0, 'each request was answered at last');

$lost = $s->{servers}{main}{failures}{lost};
my $answered = 0;
$answered += by_kind($seen, $_) for keys %STATUS;
my $counted = $s->{total_count} - $before->{total_count};

diag(sprintf '%d answered, %d counted, %d broke off, %d lost', $answered,
     $counted, $seen->{broken} // 0, $lost);

# A request whose answer was out is lost if it was killed before its record;
# one that broke off is lost if it had begun.

cmp_ok($counted, '<=', $answered, 'no request is counted twice');
cmp_ok($answered - $counted, '<=', $lost,
       'what was answered and not counted is counted as lost');
cmp_ok($lost, '<=', $killed * $CLIENTS, 'lost is what could be in flight');
cmp_ok($lost, '<=', $answered - $counted + ($seen->{broken} // 0),
       'and nothing else');

for my $g (sort keys %{ $s->{upstreams} }) {
    my $row = $s->{upstreams}{$g};
    my ($tries, $gone) = (0, 0);

    for my $p (values %{ $row->{peers} }) {
        $tries += $p->{total_count};
        $tries += $p->{failures}{$_} for keys %{ $p->{failures} };
        $gone += $p->{failures}{lost};
    }

    # a worker may have been killed between two counters
    cmp_ok(abs($tries - $row->{tries}), '<=', $killed, "$g: tries");
    is(sum_of($row->{peers}, 'received_bytes'), $row->{received_bytes},
       "$g: bytes are those of the peers") if $g !~ /retry/;
    cmp_ok($row->{failures}{lost}, '<=', $lost, "$g: lost at the server, too");
    cmp_ok($gone, '<=', $row->{failures}{lost}, "$g: and its peers");
}

$app->stop();

done_testing();
