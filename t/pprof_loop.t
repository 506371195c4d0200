#!/usr/bin/perl

# A debug location that is its own peer, by itself or through another nginx:
# whatever asks a peer, the question that comes back is refused in words.
#
# "cmdline" asked itself until there were no connections left: 1024 worker_
# connections are not enough, and every client got 500.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Debug::Nginx;

my $t = Debug::Nginx->new();
my $other = Debug::Nginx->new();

# what comes of a question, to see the header
my $b = backend(sub { $_[1]->reply(200, 'true', 'X-Pprof-Pid' => 7) });

my ($here, $there) = ($t->port(0), $other->port(0));

my $conf = <<"EOC";
%%TEST_GLOBALS%%
worker_processes 2;
events { worker_connections 64; }
http {
    %%TEST_GLOBALS_HTTP%%
    debug_access all;
    debug_write_timeout 60s;
    upstream itself { server 127.0.0.1:$here; }
    upstream proxied { server 127.0.0.1:%%PORT_1%%; }
    upstream circle { server 127.0.0.1:$there; }
    upstream app { server @{[ $b->addr() ]}; }
    server {
        listen 127.0.0.1:$here;
        location /debug/ { debug; debug_pprof_pass itself; }
        location /pprof/ { debug legacy; debug_pprof_pass itself; }
    }
    # a proxy leads back
    server {
        listen 127.0.0.1:%%PORT_1%%;
        location / { proxy_pass http://127.0.0.1:%%PORT_2%%; }
    }
    server {
        listen 127.0.0.1:%%PORT_2%%;
        location /debug/ { debug; debug_pprof_pass proxied; }
        location /pprof/ { debug legacy; debug_pprof_pass proxied; }
    }
    # another nginx, which asks this one
    server {
        listen 127.0.0.1:%%PORT_3%%;
        location /debug/ { debug; debug_pprof_pass circle; }
        location /pprof/ { debug legacy; debug_pprof_pass circle; }
    }
    # no circle, but one after the other
    server {
        listen 127.0.0.1:%%PORT_4%%;
        location /debug/ { debug; debug_pprof_pass app; }
    }
}
EOC

$other->run(<<"EOC");
%%TEST_GLOBALS%%
worker_processes 1;
events { worker_connections 64; }
http {
    %%TEST_GLOBALS_HTTP%%
    debug_access all;
    upstream back { server 127.0.0.1:@{[ $t->port(3) ]}; }
    upstream on { server 127.0.0.1:@{[ $t->port(4) ]}; }
    server {
        listen 127.0.0.1:$there;
        location /debug/ { debug; debug_pprof_pass back; }
        location /pprof/ { debug legacy; debug_pprof_pass back; }
    }
    server {
        listen 127.0.0.1:%%PORT_1%%;
        location /debug/ { debug; debug_pprof_pass on; }
    }
}
EOC

$t->run($conf);

# the master makes a name; what a reload loads has the same
$t->reload();


# -- each way to ask a peer, each way round

my %group = (0 => 'itself', 2 => 'proxied', 3 => 'circle');

for my $n (0, 2, 3) {
    my $name = $group{$n};
    my @to = (port => $t->port($n), timeout => 20);

    for my $path ('/debug/pprof/cmdline', '/debug/pprof/profile?seconds=1',
                  '/debug/pprof/heap', "/debug/pprof/$name/0/goroutine",
                  '/debug/pprof/symbol?0x1', '/pprof/profile?seconds=1',
                  '/pprof/cmdline', '/pprof/heap')
    {
        my $r = http_get($path, @to);

        is($r->{status}, 508, "$name: $path") or diag($r->{raw});
        like($r->{body}, qr/^this nginx asked itself/, "$name: in words");
        is($r->{headers}{'x-go-pprof'}, 1, "$name: that pprof shows");
        cmp_ok($r->{time}, '<', 5, "$name: at once");
    }

    my $r = http_get('/debug/pprof/symbol', @to, method => 'POST',
                     body => '0x1+0x2');
    is($r->{status}, 508, "$name: POST symbol");

    # a process is asked for its seconds where nginx has its own
    $r = http_get("/debug/charts/$name/0/data", @to);

    # the other one of a circle has an answer of its own
    is($r->{status}, $name eq 'circle' ? 200 : 508, "$name: a process");

    # the page asks each peer
    $r = http_get('/debug/pprof/', @to, headers => { Accept => '*/*' });
    is($r->{status}, 200, "$name: the page");
    like($r->{body}, qr/508, it leads back to this nginx/,
         "$name: says so of the peer");
}

# -- one after the other is no circle

my $r = http_get('/debug/pprof/cmdline', port => $other->port(1));
is($r->{status}, 200, 'two nginx, one after the other');
is($r->{body}, 'true', 'the answer of the peer');

my ($asked) = grep { ($_->{method} // '') eq 'GET' } $b->received();
like($asked->{headers}{'x-debug-via'}, qr/^[0-9a-f]{16}, [0-9a-f]{16}$/,
     'which sees both');

# but not without an end, where the names are of no help

$other->stop();

$r = http_get('/debug/pprof/cmdline', port => $t->port(4),
              headers => { 'X-Debug-Via' =>
                           join ', ', map { sprintf '%016x', $_ } 1 .. 8 });
is($r->{status}, 508, 'after eight');
like($r->{body}, qr/passed on by 8 debug locations/, 'in words');

$r = http_get('/debug/pprof/cmdline', port => $t->port(4),
              headers => { 'X-Debug-Via' =>
                           join ', ', map { sprintf '%016x', $_ } 1 .. 7 });
is($r->{status}, 200, 'after seven');

# -- what a client makes up

for my $value ('', 'x', 'x' x 16, '0' x 15, '0' x 17, 'A' x 16,
               join(', ', ('0' x 16) x 9), '0' x 4000,
               '0123456789abcdef,0123456789abcdef',
               '0123456789abcdef, ', "0123456789abcdef, \t123456789abcdef")
{
    $b->clear();
    $r = http_get('/debug/pprof/cmdline', port => $t->port(4),
                  headers => { 'X-Debug-Via' => $value });
    is($r->{status}, 200, 'a header that nobody wrote: '
                          . substr($value, 0, 40));
    my ($got) = grep { defined $_->{method} } $b->received();
    like($got->{headers}{'x-debug-via'}, qr/^[0-9a-f]{16}$/,
         'goes no further');
}

# -- snapshots have no client

my $kept = Debug::Nginx->new();

$kept->run(<<"EOC");
%%TEST_GLOBALS%%
worker_processes 1;
events { worker_connections 64; }
http {
    %%TEST_GLOBALS_HTTP%%
    debug_access all;
    debug_snapshots path=%%DIR%%/kept every=1s kinds=heap;
    upstream itself { server 127.0.0.1:%%PORT_0%%; }
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location /debug/ { debug; }
    }
}
EOC

$r = http_get('/debug/pprof/kept/', method => 'POST',
              body => 'group=itself&peer=0&kind=heap');
is($r->{status}, 502, 'a snapshot by hand');
like($r->{body}, qr/leads back to this nginx/, 'in words');

my $said = wait_for(sub {
    $kept->error_log() =~ /(leads back to this nginx)/;
}, 10);
ok($said, 'a snapshot by the timer');

$r = http_get('/debug/stats');
is($r->{status}, 200, 'there are connections left');

$kept->stop();

done_testing();
