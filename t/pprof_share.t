#!/usr/bin/perl

# debug_pprof_busy share: who joins counts, waits for nobody's slow line, and
# sends the one copy that there is.

use strict;
use warnings;

use Digest::MD5 qw/ md5_hex /;
use POSIX ();
use Test::More;
use Time::HiRes qw/ sleep time /;

use Debug::Nginx;

my $t = Debug::Nginx->new();
my $MB = 1024 * 1024;

# bytes that tell where they stand
my $big = "\x1f\x8b" . join '', map { pack('N', $_) x 256 } 1 .. 16 * 1024;

my $peer = backend(sub {
    my ($req, $c) = @_;
    my ($seconds) = $req->{uri} =~ /seconds=(\d+)/;

    return $c->reply(200, "\x1f\x8bother") unless $req->{uri} =~ /profile/;

    $c->delay($seconds) or return;

    return $c->reply(200, $big, 'X-Pprof-Pid' => 4711) if $seconds == 2;
    return $c->reply(200, "\x1f\x8b$seconds") if $seconds != 3;

    # too much to be shared, and then silence
    $c->send("HTTP/1.1 200 OK\r\nX-Pprof-Pid: 7\r\nContent-Length: " . (30 * $MB)
             . "\r\n\r\n" . "\x1f" x (30 * $MB - 1)) or return;

    $c->delay(4) or return;
    $c->send('x');
});

$t->write_conf(<<"EOC")->run();
%%TEST_GLOBALS%%
worker_processes 4;
events { }
http {
    %%TEST_GLOBALS_HTTP%%

    upstream acs { server @{[ $peer->addr() ]}; }
    debug_pprof_busy share;

    server {
        listen 127.0.0.1:%%PORT_0%% reuseport sndbuf=64k;
        location / { proxy_pass http://acs; }
        location /debug/ { debug; debug_pprof_max 20; }
        location /three/ { debug; debug_pprof_max 3; }
    }
}
EOC

my $p = '/debug/pprof';

# asks in a process of its own; a reader that waits so long after its first
# bytes is slow

sub begin {
    my ($path, %o) = @_;
    my $file = temp_dir('r') . '/r';
    my $pid = fork() // die;
    my $slow = delete $o{slow};
    my $paused = 0;

    if ($pid == 0) {
        $o{recv} = sub { $paused++ or sleep $slow } if $slow;

        my $r;

        # our own looks whether there is room may be in the way
        while (1) {
            $r = http_get($path, timeout => 80, %o);
            last unless $r->{status} == 503;
            sleep 0.02;
        }

        write_file($file, encode_json({
            status => $r->{status}, complete => $r->{complete},
            time => $r->{time}, size => length $r->{body},
            md5 => md5_hex($r->{body}), headers => $r->{headers},
            body => substr($r->{body}, 0, 200) =~ s/[^ -~\n]/?/gr }));
        POSIX::_exit(0);
    }

    return [$pid, $file];
}

sub finish {
    my ($b) = @_;

    waitpid $b->[0], 0;
    return decode_json(read_file($b->[1]));
}

sub anon {
    my $n = 0;

    for ($t->worker_pids()) {
        $n += $1 if read_file("/proc/$_/status") =~ /^RssAnon:\s+(\d+)/m;
    }

    return $n / 1024;
}

sub full {
    return wait_for(sub { http_get('/three/pprof/heap')->{status} == 503 }, 4);
}

# each of them is a request under way

my @all = begin('/three/pprof/profile?seconds=4');
wait_for(sub { $peer->count() == 1 });
push @all, map { begin('/three/pprof/profile?seconds=4') } 1, 2;
ok(full(), 'three');

my $r = http_get('/three/pprof/profile?seconds=4');
is($r->{status}, 503, 'one more than debug_pprof_max');
like($r->{body}, qr/^3 profile requests are under way, .*debug_pprof_max/,
     'in a sentence');
is(http_get('/three/pprof/heap')->{status}, 503, 'another kind, too');
is(http_get("$p/heap")->{status}, 200, 'where there may be more there is room');
is(finish($_)->{status}, 200, 'those that were let in') for @all;
is(http_get('/three/pprof/heap')->{status}, 200, 'and then there is room');

# who joined and leaves makes room; so does one whose worker dies

$peer->clear();
@all = begin('/three/pprof/profile?seconds=15');
wait_for(sub { $peer->count() == 1 });
push @all, map { begin('/three/pprof/profile?seconds=15', abort => 2) } 1, 2;
ok(full(), 'three');
waitpid $_->[0], 0 for @all[1, 2];
ok(wait_for(sub { http_get('/three/pprof/heap')->{status} == 200 }, 2),
   'two of them left');

push @all, map { begin('/three/pprof/profile?seconds=15') } 1, 2;
ok(full(), 'three again');
$t->kill_worker(pid => $_) for $t->worker_pids();
waitpid $_->[0], 0 for @all[0, 3, 4];
ok(wait_for(sub { http_get('/three/pprof/heap')->{status} == 200 }, 5),
   'all of them died');

# nobody waits for who began it, and there is one copy

$peer->clear();
my $before = anon();

@all = begin("$p/profile?seconds=2", slow => 6);
wait_for(sub { $peer->count() == 1 });
push @all, map { begin("$p/profile?seconds=2", slow => 5) } 1 .. 8;
my $quick = begin("$p/profile?seconds=2");

$r = finish($quick);
is($r->{status}, 200, 'one that is quick');
is($r->{md5}, md5_hex($big), 'has all of it');
is(scalar(grep { waitpid $_->[0], POSIX::WNOHANG() } @all), 0,
   'while the others stand');

SKIP: {
    skip 'a sanitizer keeps memory of its own', 2
        if $ENV{TEST_NGINX_PRELOAD};

    my $grown = anon() - $before;

    cmp_ok($grown, '<', 60, 'nine slow ones: no copy for each of them')
        or diag("$grown MB of 16");
    cmp_ok($grown, '>', 8, 'but one for who began it') or diag("$grown MB");
}

for (@all) {
    $r = finish($_);
    is($r->{md5}, md5_hex($big), 'a slow one has all of it, too')
        or diag("$r->{status}, $r->{size} bytes in $r->{time} s");
    is($r->{headers}{'x-pprof-pid'}, 4711, 'with its headers');
}

is($peer->count(), 1, 'of one profile');

# the zone has room for one of these: it is given back each time

for my $turn (1, 2) {
    $peer->clear();
    my $first = begin("$p/profile?seconds=2");
    wait_for(sub { $peer->count() == 1 });
    my $second = begin("$p/profile?seconds=2");
    is(finish($_)->{md5}, md5_hex($big), "turn $turn") for $first, $second;
}

# one that is too much to be shared

$peer->clear();
my $first = begin("$p/profile?seconds=3");
wait_for(sub { $peer->count() == 1 });
my $second = begin("$p/profile?seconds=3");

$r = finish($second);
is($r->{status}, 502, 'too large to be shared');
like($r->{body}, qr/came to nothing; ask again/, 'in a sentence');
is(waitpid($first->[0], POSIX::WNOHANG()), 0, 'before it ends');
$r = finish($first);
is($r->{size}, 30 * $MB, 'who began it has it');
ok($r->{complete}, 'complete');

# and when nobody is there to get it, it ends

$peer->clear();
$first = begin("$p/profile?seconds=3", abort => 1);
wait_for(sub { $peer->count() == 1 });
$second = begin("$p/profile?seconds=3");
finish($_) for $first, $second;
ok(wait_for(sub { grep { $_->{gone} } $peer->received() }, 3),
   'too large, and its owner left');

done_testing();
