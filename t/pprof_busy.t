#!/usr/bin/perl

# /debug/pprof/: several people at once, of several workers.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw/ sleep time /;

use Debug::Nginx;

need_bin('curl', 'openssl');

my $t = Debug::Nginx->new();

my $app = sub {
    my ($req, $c) = @_;

    if ($req->{uri} =~ m!/profile(?:\?seconds=(\d+))?!) {
        $c->delay($1 // 30) or return;
        return $c->reply(200, "\x1f\x8bprofile " . time(),
                         'Content-Type' => 'application/octet-stream',
                         'Content-Disposition' =>
                             'attachment; filename="profile"');
    }

    return $c->delay(30) if $req->{uri} =~ /allocs/;
    return $c->reply(200, "fine", 'X-Pprof-Pid' => 7);
};

my @b = map { backend($app) } 1 .. 3;
my $bad = backend(sub {
    $_[1]->delay(1);
    $_[1]->reply(500, "no\n", 'X-Go-Pprof' => 1, 'Content-Type' => 'text/plain');
});

$t->write('users', "me:{PLAIN}secret\ne\e[2Jvil:{PLAIN}secret\n");

my $made = run_cmd([qw/ openssl req -x509 -newkey rsa:2048 -nodes -days 3
                        -keyout key.pem -out cert.pem -subj \/CN=localhost /],
                   cwd => $t->dir());
die $made->{err} if $made->{exit};

my $h2 = $t->has(qr!nginx/1\.(?:[0-9]|1[0-9]|2[0-4])\.!)
         ? 'listen 127.0.0.1:%%PORT_1%% ssl http2;'
         : 'listen 127.0.0.1:%%PORT_1%% ssl; http2 on;';

$t->write_conf(<<"EOC")->run();
%%TEST_GLOBALS%%
worker_processes 4;
events { }
http {
    %%TEST_GLOBALS_HTTP%%

    upstream acs { server @{[ $b[0]->addr() ]}; server @{[ $b[1]->addr() ]}; }
    upstream same { server @{[ $b[0]->addr() ]}; }
    upstream third { server @{[ $b[2]->addr() ]}; }
    upstream bad { server @{[ $bad->addr() ]}; }

    server {
        listen 127.0.0.1:%%PORT_0%% reuseport;
        $h2
        ssl_certificate %%DIR%%/cert.pem;
        ssl_certificate_key %%DIR%%/key.pem;

        location / { proxy_pass http://acs; }
        location /debug/ { debug; debug_pprof_max 20; }
        location /share/ {
            debug; debug_pprof_max 20; debug_pprof_busy share;
        }
        location /legacy/ {
            debug legacy; debug_pprof_max 20; debug_pprof_busy share;
        }
        location /max/ { debug; }
        location /basic/ {
            debug;
            auth_basic site;
            auth_basic_user_file %%DIR%%/users;
        }
    }
}
EOC

my $p = '/debug/pprof';

# asks in a process of its own; finish() returns the answer

sub begin {
    my ($path, %o) = @_;
    my $file = temp_dir('r') . '/r';
    my $pid = fork() // die;

    if ($pid == 0) {
        my $r = http_get($path, timeout => 20, %o);
        delete $r->{sock};
        $r->{body} = unpack 'H*', $r->{body};
        delete $r->{raw};
        write_file($file, encode_json($r));
        POSIX::_exit(0);
    }

    return [$pid, $file];
}

sub finish {
    my ($b) = @_;

    waitpid $b->[0], 0;
    my $r = decode_json(read_file($b->[1]));
    $r->{body} = pack 'H*', $r->{body};
    return $r;
}

sub started { my ($b, $n) = @_; wait_for(sub { $b->count() >= $n }) }

# refuse

my $first = begin("$p/profile?seconds=3");
ok(started($b[0], 1), 'first CPU profile');

for my $path ("$p/profile?seconds=1", "$p/same/0/profile", '/max/pprof/profile')
{
    my $start = time();
    my $r = http_get($path);
    is($r->{status}, 503, "$path, second of the same peer");
    like($r->{body}, qr/^a CPU profile of \S+ is under way for another [23] s, started by 127\.0\.0\.1; ask again then\n\z/,
         'in a sentence');
    like($r->{headers}{'retry-after'}, qr/^[23]$/, 'Retry-After');
    is($r->{headers}{'x-go-pprof'}, 1, 'X-Go-Pprof');
    cmp_ok(time() - $start, '<', 0.5, 'at once');
}

is($b[0]->count(), 1, 'the peer heard of none');
is(http_get("$p/heap")->{body}, 'fine', 'heap does not wait for it');
is(http_get("$p/symbol")->{body}, 'fine', 'nor symbol');
is(http_get("$p/acs/1/profile?seconds=1")->{status}, 200,
   'nor the CPU profile of another peer');

like(finish($first)->{body}, qr/profile/, 'first is done');
is(http_get("$p/profile?seconds=1")->{status}, 200, 'and the next may begin');

# who

$b[0]->clear();
$first = begin('/basic/pprof/profile?seconds=1',
               headers => { Authorization => 'Basic bWU6c2VjcmV0' });
started($b[0], 1);
like(http_get("$p/profile")->{body}, qr/started by me at 127\.0\.0\.1/,
     'by whom');
finish($first);

$b[0]->clear();
$first = begin('/basic/pprof/profile?seconds=1',
               headers => { Authorization => 'Basic ZRtbMkp2aWw6c2VjcmV0' });
started($b[0], 1);
like(http_get("$p/profile")->{body}, qr/started by e\?\[2Jvil at 127\.0\.0\.1/,
     'whose name does nothing to a terminal');
finish($first);

# one that leaves makes room

$b[0]->clear();
http_get("$p/profile?seconds=20", abort => 0.3);
my $next = wait_for(sub {
    my $r = http_get("$p/profile?seconds=1");
    $r->{status} == 200 && $r;
}, 2);
ok($next, 'room after a client left');

# a worker that dies leaves no run behind

$b[0]->clear();
$first = begin("$p/profile?seconds=20");
started($b[0], 1);
$t->kill_worker('KILL', $_) for $t->worker_pids();
waitpid $first->[0], 0;
ok(wait_for(sub { http_get("$p/profile?seconds=1")->{status} == 200 }, 3),
   'room after a worker died');

# share

$_->clear() for @b;

my @shared = begin('/share/pprof/profile?seconds=2');
started($b[0], 1);
push @shared, map { begin('/share/pprof/profile?seconds=1') } 1 .. 6;
sleep 0.5;

is(http_get('/legacy/profile?seconds=1')->{status}, 503,
   'another format cannot join');
is(http_get('/share/pprof/profile?seconds=1&debug=1')->{status}, 503,
   'nor another question');

my @r = map { finish($_) } @shared;
is($_->{status}, 200, 'shared') for @r;
is($b[0]->count(), 1, 'one profile');
is($_->{body}, $r[0]{body}, 'the same bytes') for @r[1 .. $#r];
is($_->{headers}{'content-disposition'}, 'attachment; filename="profile"',
   'the same headers') for @r;
is($_->{headers}{'content-length'}, length $r[0]{body}, 'length') for @r;
is($_->{headers}{'x-debug-peer'}, $b[0]->addr(), 'peer') for @r;

# who began it leaves: the others get it all the same

$b[0]->clear();
$first = begin('/share/pprof/profile?seconds=2', abort => 1);
started($b[0], 1);
my $joined = begin('/share/pprof/profile?seconds=2');
waitpid $first->[0], 0;
my $r = finish($joined);
like($r->{body}, qr/profile/, 'its owner left');
is($b[0]->count(), 1, 'one profile');
ok(!(grep { $_->{gone} } $b[0]->received()), 'to its end');

# the same over TLS, where a goodbye is not the end of what can be read, and
# over HTTP/2

for my $client (['TLS', '--http1.1'], ['HTTP/2', '--http2']) {
    my ($name, @args) = @$client;

    $b[0]->clear();
    my $curl = fork() // die;

    if ($curl == 0) {
        exec('curl', '-sk', '-o', '/dev/null', @args, '--max-time', 1,
             'https://127.0.0.1:' . $t->port(1)
             . '/share/pprof/profile?seconds=2') or POSIX::_exit(1);
    }

    started($b[0], 1);
    $joined = begin('/share/pprof/profile?seconds=2');
    waitpid $curl, 0;
    $r = finish($joined);
    is($r->{status}, 200, "$name: its owner left") or diag($r->{body});
    ok(!(grep { $_->{gone} } $b[0]->received()), "$name: to its end");
}

# who began it leaves, and then the last of the others

$b[0]->clear();
$first = begin('/share/pprof/profile?seconds=20', abort => 0.5);
started($b[0], 1);
$joined = begin('/share/pprof/profile?seconds=20', abort => 1);
waitpid $_->[0], 0 for $first, $joined;
ok(wait_for(sub { grep { $_->{gone} } $b[0]->received() }, 3),
   'all left: the profile ends');

# a joined one that fails

$first = begin('/share/pprof/bad/0/profile?seconds=1');
started($bad, 1);
$joined = begin('/share/pprof/bad/0/profile?seconds=1');
is(finish($first)->{body}, "no\n", "the peer's sentence");
$r = finish($joined);
is($r->{status}, 500, 'and for who joined');
is($r->{body}, "no\n", 'the same');

$b[2]->clear();
$first = begin('/share/pprof/third/0/profile?seconds=20');
started($b[2], 1);
$joined = begin('/share/pprof/third/0/profile?seconds=20');
sleep 0.3;
$b[2]->stop();
is(finish($first)->{status}, 502, 'peer died');
$r = finish($joined);
is($r->{status}, 502, 'for who joined too');
like($r->{body}, qr/came to nothing; ask again/, 'in a sentence');

# debug_pprof_max

$_->clear() for @b[0, 1];
my @many = map { begin("/max/pprof/acs/$_/allocs", timeout => 3) }
           0, 1, 0, 1;
ok(wait_for(sub { $b[0]->count() + $b[1]->count() == 4 }), 'four');
$r = http_get('/max/pprof/heap');
is($r->{status}, 503, 'not a fifth');
like($r->{body}, qr/^4 profile requests are under way, .* debug_pprof_max/,
     'in a sentence');
ok($r->{headers}{'retry-after'}, 'Retry-After');
is(http_get('/max/pprof/symbol')->{status}, 200, 'symbol is not one');
is(http_get("$p/heap")->{status}, 200, 'another bound elsewhere');
finish($_) for @many;
ok(wait_for(sub { http_get('/max/pprof/heap')->{status} == 200 }),
   'room again');

# the default peer stays the same one while it lives

$b[0]->stop();
is(http_get("$p/heap")->{status}, 502, 'default peer is dead');
is(http_get("$p/heap")->{headers}{'x-debug-peer'}, $b[1]->addr(),
   'then it is the next one') for 1 .. 4;

my $again = backend($app, port => $b[0]->port());
is(http_get("$p/acs/0/heap")->{status}, 200, 'the first is back');
is(http_get("$p/heap")->{headers}{'x-debug-peer'}, $b[1]->addr(),
   'the default stays') for 1 .. 4;

$b[1]->stop();
http_get("$p/heap");
is(http_get("$p/heap")->{headers}{'x-debug-peer'}, $again->addr(),
   'until it dies');

ok($t->reload(), 'reload');
is(http_get("$p/heap")->{headers}{'x-debug-peer'}, $again->addr(),
   'and over a reload');

done_testing();
