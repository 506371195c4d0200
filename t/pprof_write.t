#!/usr/bin/perl

# A write event with nothing to write, while a profile waits for its peer: it
# comes with whatever else happens to a connection whose client was slow once,
# as a request that is sent beside it.
#
# The profile was cut, and the log said "the http output chain is empty".

use strict;
use warnings;

use FindBin;
use Socket qw/ SOL_SOCKET SO_RCVBUF /;
use Test::More;
use Time::HiRes qw/ sleep time /;

use lib "$FindBin::Bin/lib";
use Debug::Nginx;

my $size = 1_000_000;
my $go = temp_dir('go') . '/go';

# a part that fills all buffers, the rest when a file is there
my $b = backend(sub {
    my ($req, $c) = @_;

    return $c->reply(200, 'x') if $req->{uri} =~ /cmdline/;

    my $chunked = $req->{uri} =~ /x=chunked/;
    my $framing = $chunked ? 'Transfer-Encoding: chunked'
                  : $req->{uri} =~ /x=close/ ? 'X: y'
                  : 'Content-Length: ' . ($size + 1000);

    $c->send("HTTP/1.1 200 OK\r\nX-Pprof-Pid: 7\r\n$framing\r\n\r\n");

    for my $data ("\x1f" . 'x' x ($size - 1), 'y' x 1000) {
        wait_for(sub { -e $go }, 60) if $data =~ /^y/;

        $c->send($chunked ? sprintf("%x\r\n%s\r\n", length $data, $data)
                          : $data);
    }

    $c->send("0\r\n\r\n") if $chunked;
    $c->close();
});

sub conf {
    my ($events) = @_;

    return <<"EOC";
%%TEST_GLOBALS%%
worker_processes 1;
events { $events }
http {
    %%TEST_GLOBALS_HTTP%%
    upstream app { server @{[ $b->addr() ]}; }
    server {
        listen 127.0.0.1:%%PORT_0%% sndbuf=8k;
        location /debug/ { debug; }
        location /keep/ { debug; debug_pprof_keepalive 100ms; }
    }
}
EOC
}


# Ticks of the worker.

sub ticks {
    my ($pid) = @_;
    my @field = split ' ', read_file("/proc/$pid/stat") =~ s/.*\)//sr;

    return $field[11] + $field[12];
}


# What comes until RE matches; at most 20 s.

sub read_until {
    my ($s, $re) = @_;
    my $got = '';
    my $end = time() + 20;

    while ($got !~ $re && time() < $end) {
        my $rv = '';
        vec($rv, fileno $s, 1) = 1;

        select($rv, undef, undef, 1) or next;
        sysread $s, $got, 65536, length $got or last;
    }

    return $got;
}


my @events = ('use epoll;');
push @events, map { "use $_;" }
              grep { Debug::Nginx->new()->has(qr/with-${_}_module/) }
                   qw/ poll select /;

for my $events (@events) {
    my $t = Debug::Nginx->new();

    $t->run(conf($events));

    for my $path ('/debug/pprof/profile?seconds=20',
                  '/debug/pprof/profile?seconds=20&x=chunked',
                  '/debug/pprof/heap?x=close',
                  '/keep/pprof/profile?seconds=20')
    {
        my $name = "$events $path";
        my ($pid) = $t->worker_pids();

        unlink $go;

        my $s = http_open(port => $t->port(0));
        setsockopt $s, SOL_SOCKET, SO_RCVBUF, 16384;
        syswrite $s, "GET $path HTTP/1.1\r\nHost: localhost\r\n\r\n";

        # slow at first: the worker has to wait until it can write
        sleep 0.3;

        my $got = '';

        while (($got =~ tr!x!!) < $size - 1) {
            my $more = read_until($s, qr/./s);
            last if $more eq '';
            $got .= $more;
        }

        # all that there is has come; now something comes beside it
        my $used = ticks($pid);

        for my $part ("GET /debug/pprof/cmdline ", "HTTP/1.1\r\n",
                      "Host: localhost\r\n")
        {
            syswrite $s, $part;
            sleep 0.2;
        }

        cmp_ok(ticks($pid) - $used, '<', 30, "$name: no busy loop");

        write_file($go, '');

        my $rest = read_until($s, qr/y{1000}/);
        ok($rest =~ /y{1000}/, "$name: the rest of it comes");

        next if $path =~ /close/;

        # and what came beside it is a request
        syswrite $s, "Connection: close\r\n\r\n";
        $rest .= read_until($s, qr/x\z/);
        ok($rest =~ m!y(?:\r\n0\r\n\r\n)?HTTP/1\.1 200 OK\r\n!,
           "$name: the next one is answered");
    }

    is(join("\n", $t->error_lines('output chain is empty')), '',
       "$events no alert");

    ok($t->stop(), "$events stopped");
}

done_testing();
