#!/usr/bin/perl

# A reload and a QUIT while answers of every sort are under way: each client
# gets the whole of what it asked for, from the worker that it asked, and
# that worker then leaves without a word.
#
# The bug looked like this: an exiting worker that waited for nothing but a
# client's socket left at once, "open socket #12 left in connection 4" stood
# in the log as [alert], and the client had half an answer.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw/ sleep time /;

use Debug::Nginx;

my $big = "\x1f\x8b" . join '', map { pack 'N', $_ * 2654435761 % 2**32 }
                               1 .. 2_000_000;

my $app = sub {
    my ($req, $c) = @_;

    if ($req->{uri} =~ /seconds=(\d+)/) {
        $c->delay($1) or return;
        return $c->reply(200, "\x1f\x8bprofile of $1 s",
                         'Content-Type' => 'application/octet-stream');
    }

    return $c->reply(200, $big) if $req->{uri} =~ /growth/;

    if ($req->{uri} =~ /heap/) {
        $c->delay(2) or return;
        return $c->reply(200, "\x1f\x8bheap");
    }

    return $c->hang() if $req->{uri} =~ /hang|cmdline/;
    $c->reply(200, "app\n", 'Content-Type' => 'text/plain',
              'X-Go-Pprof' => 1);
};

# for each client a peer of its own: CPU profiles are one at a time
my @b = map { backend($app) } 1 .. 4;

my $t = Debug::Nginx->new(user => 'root');
my $dir = $t->dir();

my $many = join '', map { "server 127.0.0.1:$_;" } 10001 .. 10200;
my $h2 = $t->has(qr!nginx/1\.(?:[0-9]|1[0-9]|2[0-4])\.!)
         ? 'listen 127.0.0.1:%%PORT_1%% http2;'
         : 'listen 127.0.0.1:%%PORT_1%%; http2 on;';

my $conf = <<"EOC";
%%TEST_GLOBALS%%
worker_processes 2;
%%SHUTDOWN%%
events { }
http {
    %%TEST_GLOBALS_HTTP%%

    debug_zone 64m;
    debug_snapshots path=%%DIR%%/kept every=1d;

    upstream acs { @{[ map { 'server ' . $_->addr() . ';' } @b ]} }
    upstream many { $many }

    server {
        listen 127.0.0.1:%%PORT_0%% sndbuf=16k;
        $h2
        location / { proxy_pass http://acs; }
        location /debug/ {
            debug; debug_pprof_max 64; debug_pprof_pass acs;
        }
        location /share/ {
            debug; debug_pprof_max 64; debug_pprof_pass acs;
            debug_pprof_busy share; debug_pprof_keepalive 500ms;
        }
    }
}
EOC

sub conf {
    my ($shutdown) = @_;
    return $conf =~ s/%%SHUTDOWN%%/$shutdown/r;
}

$t->run(conf(''));

my ($port, $port2) = map { $t->port($_) } 0, 1;

# clients, each in a process of its own; true: it got what it asked for

my $slowly = sub { my $got = 0; sub { sleep 0.05 if ($got += length $_[0])
                                      < 700_000 } };

my %client = (
    # longer than all others, so that nothing else keeps its worker
    'big answer, a reader that pauses' => sub {
        my $paused;
        my $r = http_get('/debug/pprof/acs/0/growth', timeout => 100,
                         port => $port, recv => sub { $paused++ or sleep 7 });
        return ($r->{complete} && $r->{body} eq $big, $r);
    },
    'big answer, slow reader' => sub {
        my $r = http_get('/debug/pprof/acs/0/growth', timeout => 100,
                         port => $port, recv => $slowly->());
        return ($r->{complete} && $r->{body} eq $big, $r);
    },
    'profile' => sub {
        my $r = http_get('/debug/pprof/acs/1/profile?seconds=3',
                         port => $port, timeout => 100);
        return ($r->{complete} && $r->{body} =~ /profile of 3 s/, $r);
    },
    'shared, who began and leaves' => sub {
        http_get('/share/pprof/acs/2/profile?seconds=3', port => $port,
                 timeout => 100, abort => 1.5);
        return 1;
    },
    'shared, joined' => sub {
        sleep 0.3;
        my $r = http_get('/share/pprof/acs/2/profile?seconds=3',
                         port => $port, timeout => 100);
        return ($r->{complete} && $r->{body} =~ /profile of 3 s/, $r);
    },
    'kept alive' => sub {
        my $r = http_get('/share/pprof/acs/3/profile?seconds=3',
                         port => $port, timeout => 100);
        return ($r->{complete} && $r->{body} =~ /profile of 3 s/
               && length $r->{body} > 50, $r);
    },
    'snapshot' => sub {
        my $r = http_get('/debug/pprof/kept/', method => 'POST', port => $port,
                         timeout => 100, body => 'group=acs&kind=heap&peer=' . $b[0]->addr());
        return ($r->{complete} && $r->{status} == 201, $r);
    },
    'page with silent peers' => sub {
        my $r = http_get('/debug/pprof/', port => $port, timeout => 100);
        return ($r->{complete} && $r->{body} =~ /nothing within 1 s/, $r);
    },
    'stats, slow reader' => sub {
        my $r = http_get('/debug/stats', port => $port, timeout => 100,
                         recv => $slowly->());
        return ($r->{complete} && decode_json($r->{body})->{upstreams}{many},
                $r);
    },
    'symbol, slow writer' => sub {
        my $s = http_open(port => $port, timeout => 100);
        my $r = http_request(["POST /debug/pprof/acs/0/symbol HTTP/1.1\r\n"
            . "Host: localhost\r\nConnection: close\r\nContent-Length: 30\r\n\r\n",
            map { ("0x1234567+", \0.8) } 1 .. 3],
            sock => $s, timeout => 100);
        return ($r->{complete} && $r->{body} eq "app\n", $r);
    },
    'HTTP/2' => sub {
        return 1 unless have_bin('curl');
        my $out = `curl -s --http2-prior-knowledge --limit-rate 3M \\
                   http://127.0.0.1:$port2/debug/pprof/acs/0/growth`;
        return ($out eq $big, { exit => $?, length => length $out });
    },
);

sub why { return "$dir/why." . $_[0] =~ s/\W/_/gr }

sub start {
    my %pid;

    for my $name (sort keys %client) {
        my $pid = fork() // die;

        if ($pid == 0) {
            srand;
            my ($ok, $r) = eval { $client{$name}->() };
            write_file(why($name), join ' ', $@, map { "$_=" . substr
                ($r->{$_} // '', 0, 200) } sort keys %$r) if !$ok;
            POSIX::_exit($ok ? 0 : 1);
        }

        $pid{$name} = $pid;
    }

    sleep 0.8;
    return \%pid;
}

# A peer that has no processor for ten seconds more than it was asked for is
# given up, and nginx says so: on such a machine that client shows nothing.

sub finish {
    my ($pid, $when) = @_;

    for my $name (sort keys %$pid) {
        waitpid $pid->{$name}, 0;
        my ($status, $why) = ($?, read_file(why($name)));

        SKIP: {
            skip "$when: $name: the machine is too busy for its peer", 1
                if $status && $why =~ /closed=1 complete=0/
                && $t->error_log() =~ /answered nothing in time/;

            is($status, 0, "$when: $name") or diag($why);
        }
    }
}

sub old { grep { Debug::Nginx::title($_) =~ /shutting down/ }
          children_of($t->master_pid()) }

# reload, and again before the first has ended

my $pid = start();
ok($t->reload(wait_old => 0), 'reload');
ok(scalar(old()), 'an old worker has things to do');
ok($t->reload(wait_old => 0), 'and again');
is(http_get('/debug/pprof/acs/3/allocs')->{body}, "app\n",
   'new requests go to new workers');
finish($pid, 'reload');
ok(wait_for(sub { !old() }, 10), 'old workers are gone');

# worker_shutdown_timeout cuts what lasts longer, and leaves no run behind

$t->write_conf(conf('worker_shutdown_timeout 1s;'));
$t->reload();
$pid = start();
ok($t->reload(wait_old => 0), 'worker_shutdown_timeout');
ok(wait_for(sub { !old() }, 5), 'old workers are gone by then');
waitpid $_, 0 for values %$pid;
is(http_get('/debug/pprof/acs/1/profile?seconds=1')->{status}, 200,
   'the peer is free');

# QUIT of the whole

$t->write_conf(conf(''));
$t->reload();
$pid = start();
my $master = $t->master_pid();
kill 'QUIT', $master;
finish($pid, 'QUIT');
ok(wait_for(sub { !Debug::Nginx::pid_alive($master) }, 10), 'nginx is gone');

unlike($t->error_log(), qr/\[(?:alert|crit|emerg)\]|open socket/,
       'and nothing in its log');

done_testing();
