#!/usr/bin/perl

# debug_pprof_keepalive: something to read for proxies that cut idle
# connections, which is nothing to who reads profiles.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw/ time /;
use Compress::Zlib ();
use IO::Uncompress::Gunzip qw/ gunzip $GunzipError /;

use Debug::Nginx;

need_bin('go');

my $t = Debug::Nginx->new();

# a real profile, as small as they come

my $proto = "\x0a\x04\x08\x01\x10\x02" . "\x12\x06\x0a\x01\x01\x12\x01\x07"
            . "\x22\x02\x08\x01" . join '', map { "\x32" . chr(length) . $_ }
            '', 'cpu', 'count';
my $gz = Compress::Zlib::memGzip($proto);

my $app = backend(sub {
    my ($req, $c) = @_;

    if ($req->{uri} =~ /seconds=(\d+)/) {
        $c->delay($1) or return;
    }

    return $c->reply(500, "failed\n", 'X-Go-Pprof' => 1)
        if $req->{uri} =~ /fail/;
    return $c->reply(200, "text\n", 'X-Pprof-Pid' => 7) if $req->{uri} =~ /plain/;
    return $c->reply(200, '') if $req->{uri} =~ /empty/;
    return $c->close() if $req->{uri} =~ /close/;

    if ($req->{uri} =~ /half/) {
        $c->send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n$gz");
        return $c->close();
    }

    $c->reply(200, $gz, 'Content-Type' => 'application/octet-stream');
});

$t->write_conf(<<"EOC")->run();
%%TEST_GLOBALS%%
worker_processes 2;
events { }
http {
    %%TEST_GLOBALS_HTTP%%

    upstream acs { server @{[ $app->addr() ]}; }

    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { proxy_pass http://acs; }
        location /debug/ { debug; debug_pprof_keepalive 300ms; }
        location /share/ {
            debug; debug_pprof_keepalive 300ms; debug_pprof_busy share;
        }
        location /pprof/ { debug legacy; debug_pprof_keepalive 300ms; }

        # a proxy in front that cuts what is idle
        location /front/ {
            proxy_pass http://127.0.0.1:%%PORT_0%%/debug/;
            proxy_read_timeout 1s;
            proxy_http_version 1.1;
            proxy_buffering off;
        }
        location /off/ { debug; }
        location /front_off/ {
            proxy_pass http://127.0.0.1:%%PORT_0%%/off/;
            proxy_read_timeout 1s;
        }
    }
}
EOC

my $p = '/debug/pprof';
my $r;

is(http_get('/front_off/pprof/profile?seconds=2')->{status}, 504,
   'without it, a proxy in front gives up');

# and leaves, which ends the profile and makes room for the next one
wait_for(sub { ($app->received())[0]{gone} });

my @pieces;
$r = http_get('/front/pprof/profile?seconds=2', timeout => 10,
              recv => sub { push @pieces, time() });
is($r->{status}, 200, 'with it, it does not');
ok($r->{complete}, 'complete');
cmp_ok(@pieces, '>=', 4, 'something to read all the time');
cmp_ok(length $r->{body}, '>', length $gz, 'empty members came first');

gunzip(\$r->{body}, \my $out, MultiStream => 1) or diag($GunzipError);
ok($out eq $proto, 'and amount to nothing');

write_file($t->dir() . '/p.pb.gz', $r->{body});
is(go_pprof('-raw', $t->dir() . '/p.pb.gz')->{exit}, 0, 'pprof reads the file');

my $url = '127.0.0.1:' . $t->port(0);
my $raw = go_pprof('-raw', '-seconds', 2, "http://$url/front/pprof/profile");
is($raw->{exit}, 0, 'pprof reads the answer') or diag($raw->{err});
like($raw->{out}, qr{cpu/count}, 'all of it');

is($r->{headers}{'content-disposition'}, 'attachment; filename="profile"',
   'Content-Disposition');
is($r->{headers}{'cache-control'}, 'no-store', 'Cache-Control');

is(http_get("$p/heap?seconds=1")->{headers}{'transfer-encoding'}, 'chunked',
   'a delta too');

# where it does not belong

for my $path ("$p/heap", "$p/profile?seconds=1&debug=1", "$p/trace?seconds=1",
              "$p/profile?seconds=1&format=folded", '/pprof/profile?seconds=1',
              '/off/pprof/profile?seconds=1')
{
    is(http_get($path)->{body}, $gz, "$path: untouched");
}

is(http_get("$p/profile?seconds=1", method => 'HEAD')->{body}, '', 'HEAD');

# an error before the first interval is told, a later one cuts

my @bad = map { ("$p/heap?seconds=1&x=$_", "$p/profile?seconds=1&x=$_") }
          qw/ fail plain empty close half /;

for my $path (@bad) {
    $r = http_get($path);
    is($r->{status}, 200, "$path: began");
    ok(!$r->{complete} && $r->{closed}, "$path: cut");
}

is(http_get("$p/profile?seconds=0&x=fail", timeout => 1)->{status}, 500,
   'an early error is told');

# who joins is kept alive too

my $pid = fork() // die;

if ($pid == 0) {
    http_get('/share/pprof/profile?seconds=2');
    POSIX::_exit(0);
}

wait_for(sub { grep { $_->{uri} eq '/debug/pprof/profile?seconds=2' }
               ($app->received())[-1] });
$r = http_get('/share/pprof/profile?seconds=2');
waitpid $pid, 0;
is($r->{headers}{'transfer-encoding'}, 'chunked', 'joined, kept alive');
gunzip(\$r->{body}, \$out, MultiStream => 1);
ok($out eq $proto, 'joined, the profile');

# a client that leaves

$app->clear();
http_get("$p/profile?seconds=20", abort => 1);
ok(wait_for(sub { ($app->received())[0]{gone} }, 2), 'client left');

done_testing();
