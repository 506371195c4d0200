#!/usr/bin/perl

# /debug/pprof/: what is configured for the pages of a site does not touch
# profiles, and profiles do not touch the traffic.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw/ sleep time /;
use Compress::Zlib ();

use Debug::Nginx;

need_bin('curl');

my $t = Debug::Nginx->new(user => 'root');

# bytes that filters would like: text, gzip and all of it

my $text = join '', map { "peer $_ of FOO text <!--#echo var=x --></body>\n" }
                    1 .. 2000;
my $gz = Compress::Zlib::memGzip($text);
my $big = join '', map { pack 'N', $_ * 2654435761 % 2**32 } 1 .. 2_000_000;

my $n = 0;
my $app = sub {
    my ($req, $c) = @_;

    if ($req->{uri} =~ m!/heap!) {
        return $c->reply(200, $text, 'Content-Type' => 'text/html+xml',
                         'X-Accel-Expires' => 100, 'Accept-Ranges' => 'bytes',
                         'X-Go-Pprof' => 1);
    }

    if ($req->{uri} =~ m!/allocs!) {
        return $c->reply(200, $gz, 'X-Pprof-Pid' => 7, 'Content-Type' =>
                         'application/octet-stream');
    }

    if ($req->{uri} =~ m!/growth!) {
        return $c->reply(200, $big, 'X-Pprof-Pid' => 7, 'Content-Type' =>
                         'application/octet-stream', 'Content-Length' => undef,
                         'Transfer-Encoding' => undef);
    }

    if ($req->{uri} =~ m!/profile\?seconds=(\d+)!) {
        $c->delay($1) or return;
        return $c->reply(200, "profile of $1 s", 'X-Pprof-Pid' => 7);
    }

    return $c->reply(500, "failed\n", 'X-Go-Pprof' => 1,
                     'Content-Type' => 'text/plain')
        if $req->{uri} =~ m!/mutex!;

    if ($req->{uri} =~ m!/hang!) {
        $c->hang();
        return;
    }

    return $c->reply(200, 'app', 'X-Pprof-Pid' => 7);
};

my @b = map { backend($app) } 1 .. 2;

my $filters = $t->has(qr/--with-http_sub_module/)
    ? "sub_filter FOO BAR; sub_filter_once off; sub_filter_types *;" : '';
$filters .= " add_before_body /before; add_after_body /before;"
            . " addition_types *;" if $t->has(qr/--with-http_addition_module/);

my $h2 = $t->has(qr!nginx/1\.(?:[0-9]|1[0-9]|2[0-4])\.!)
         ? 'listen 127.0.0.1:%%PORT_1%% http2;'
         : 'listen 127.0.0.1:%%PORT_1%%; http2 on;';

$t->write_conf(<<"EOC")->run();
%%TEST_GLOBALS%%
worker_processes 2;
events { }
http {
    %%TEST_GLOBALS_HTTP%%

    proxy_cache_path %%DIR%%/cache keys_zone=c:1m;
    proxy_cache c;
    proxy_cache_valid any 10m;
    proxy_intercept_errors on;
    proxy_buffering on;
    proxy_buffers 4 4k;
    proxy_read_timeout 3s;
    proxy_ignore_client_abort on;
    proxy_next_upstream error timeout http_500 http_502 http_504;
    send_timeout 1s;
    client_max_body_size 1k;
    client_body_buffer_size 1k;
    client_body_in_file_only clean;

    gzip on;
    gzip_types *;
    gzip_min_length 1;
    gzip_proxied any;
    ssi on;
    ssi_types *;
    charset koi8-r;
    charset_types *;
    expires 1h;
    etag on;
    add_header X-Site yes always;
    userid on;
    $filters
    error_page 400 401 403 404 405 413 500 502 503 504 = /error.html;

    log_format debug '\$uri|\$status|\$upstream_addr|\$upstream_status';
    access_log %%DIR%%/debug.log debug;

    limit_req_zone \$arg_limit zone=l:1m rate=1r/m;

    upstream acs {
        server @{[ $b[0]->addr() ]} max_fails=1 fail_timeout=30s;
        server @{[ $b[1]->addr() ]} max_fails=1 fail_timeout=30s;
    }

    server {
        listen 127.0.0.1:%%PORT_0%%;
        $h2

        location / { proxy_pass http://acs; }
        location = /before { proxy_cache off; return 200 before; }
        location /debug/ { debug; }
        location /limited/ { debug; limit_req zone=l; }
        location /auth/ { debug; auth_request /no; }
        location = /no { internal; error_page 599 /; return 403; }
        location /basic/ {
            debug;
            auth_basic site;
            auth_basic_user_file %%DIR%%/users;
        }
        location /short/ { debug; debug_write_timeout 4s; }
        location /ssi { ssi_types text/plain; default_type text/html; }
    }
}
EOC

$t->write('users', "me:{PLAIN}secret\n");
$t->write('html/error.html', '<html>error page</html>');
$t->write('html/ssi', '<!--#include virtual="/debug/pprof/heap" -->');

my $p = '/debug/pprof';
my $r;

# filters

my %browser = (Accept => '*/*', 'Accept-Encoding' => 'gzip', Cookie => 'x=y');

$r = http_get("$p/heap", headers => { %browser });
ok($r->{body} eq $text, 'text is not touched');
is($r->{headers}{'content-length'}, length $text, 'nor is its length');
is($r->{headers}{'content-type'}, 'text/html+xml', 'nor its type');
is($r->{headers}{$_}, undef, "no $_")
    for qw/ content-encoding x-site set-cookie expires etag vary
            accept-ranges transfer-encoding /;
is($r->{headers}{'cache-control'}, 'no-store', 'Cache-Control');

$r = http_get("$p/heap", headers => { Range => 'bytes=0-9' });
is($r->{status}, 200, 'Range');
ok($r->{body} eq $text, 'the whole');

$r = http_get("$p/allocs", headers => { %browser });
ok($r->{body} eq $gz, 'gzip is not compressed again');
is($r->{headers}{'content-encoding'}, undef, 'nor called so');

$r = http_get("$p/mutex");
is($r->{status}, 500, 'error of the peer');
is($r->{body}, "failed\n", 'its sentence, no page');
is($r->{headers}{'x-go-pprof'}, 1, 'its X-Go-Pprof');

$r = http_get("$p/nothere", headers => { %browser });
is($r->{body}, "Unknown profile\n", 'our own sentence, no page');

my $addr = join '+', map { sprintf '0x%x', $_ } 1 .. 2000;
is(http_get("$p/symbol", method => 'POST', body => $addr)->{body}, 'app',
   'POST beyond client_max_body_size');

# cache, disk

is(http_get("$p/acs/0/heap")->{status}, 200, 'asked again');
cmp_ok(scalar(grep { $_->{uri} =~ /heap/ } $b[0]->received()), '==', 3,
       'no answer is from a cache');

# a body of 8 MB to a slow reader: nothing on disk, and nothing is lost

my $got = 0;
$r = http_get("$p/growth", timeout => 30, recv => sub {
    sleep 0.1 if ($got += length $_[0]) < 1_000_000;
});
ok($r->{body} eq $big, 'large body, slow reader');
is($r->{headers}{'transfer-encoding'}, 'chunked', 'in chunks');
unlike($t->error_log(), qr/temporary file/, 'nothing on disk');

$r = http_get("$p/growth", timeout => 30, version => '1.0');
ok($r->{body} eq $big, 'large body, HTTP/1.0');

# a reader that stands still is cut by the whole answer's deadline, neither
# earlier nor by send_timeout

my $s = http_open();
my $start = time();
my $paused;
$r = http_request("GET /short/pprof/growth HTTP/1.1\r\nHost: localhost\r\n\r\n",
                  sock => $s, timeout => 20,
                  recv => sub { $paused++ or sleep 1.4 });
ok($r->{complete}, 'a pause longer than send_timeout');

$s = http_open();
$paused = 0;
$r = http_request("GET /short/pprof/growth HTTP/1.1\r\nHost: localhost\r\n\r\n",
                  sock => $s, timeout => 20,
                  recv => sub { $paused++ or sleep 6 });
ok(!$r->{complete} && $r->{closed}, 'cut by debug_write_timeout');
like($t->error_log(), qr/is cut by debug_write_timeout/, 'the log says so');

# long profiles, while other requests time out

$start = time();
$r = http_get("$p/profile?seconds=8", timeout => 30);
is($r->{body}, 'profile of 8 s', 'longer than proxy_read_timeout');
cmp_ok(time() - $start, '<', 12, 'and not much longer than that');

my $head = http_get("$p/refuse", timeout => 1)->{status};
is($head, 404, 'traffic meanwhile');

is(http_get("/app$_")->{body} =~ /app/ ? 1 : 0, 1, "traffic $_") for 1 .. 6;

my @seen = grep { /profile/ } split /\n/, $t->read('debug.log');
is(@seen, 1, 'one line in the log');
is($seen[0], "$p/profile|200|" . $b[0]->addr() . '|200', 'one peer in it');
unlike($t->error_log(), qr/temporarily disabled/, 'no peer is disabled');

# what ends a profile

$b[0]->clear();
http_get("$p/profile?seconds=30", abort => 0.5);
ok(wait_for(sub { (($b[0]->received())[0] // {})->{gone} }, 5),
   'client left, HTTP/1.1');

SKIP: {
    skip 'curl without HTTP/2', 6
        unless run_cmd(['curl', '-V'])->{out} =~ /HTTP2/;

    my $url = 'http://127.0.0.1:' . $t->port(1);
    my @curl = qw/ curl -s --http2-prior-knowledge --max-time 10 -i /;

    $r = run_cmd([@curl, "$url$p/heap"]);
    like($r->{out}, qr!^HTTP/2 200!, 'HTTP/2');
    like($r->{out}, qr!\Q$text\E\z!, 'HTTP/2, body');
    like($r->{out}, qr!^content-type: text/html\+xml\r$!m, 'HTTP/2, type');
    unlike($r->{out}, qr!^(?:x-site|content-encoding)!m, 'HTTP/2, no filter');

    $r = run_cmd([@curl[0 .. 4], "$url$p/growth"]);
    ok($r->{out} eq $big, 'HTTP/2, large body') or diag($r->{exit});

    $r = run_cmd([@curl, "$url/short/pprof/profile?seconds=30"]);
    like($r->{out}, qr!^HTTP/2 400!, 'HTTP/2, refused');

    $b[0]->clear();
    $r = run_cmd([qw/ curl -s --http2-prior-knowledge --max-time 1 /,
                  "$url$p/profile?seconds=30"]);
    ok(wait_for(sub { (($b[0]->received())[0] // {})->{gone} }, 5),
       'client left, HTTP/2');
}

# auth and limits go on working

$b[0]->clear();
sub heaps { scalar grep { $_->{uri} =~ /heap/ } $b[0]->received() }

is(http_get("/limited/pprof/heap?limit=1")->{body}, $text,
   'limit_req, first');
isnt(http_get("/limited/pprof/heap?limit=1")->{body}, $text,
     'limit_req, second');
is(heaps(), 1, 'one of them reached the peer');

http_get('/auth/pprof/heap');
http_get('/basic/pprof/heap');
is(heaps(), 1, 'refused ones did not');

is(http_get('/basic/pprof/heap',
            headers => { Authorization => 'Basic bWU6c2VjcmV0' })->{status},
   200, 'with a password');

# a page cannot make nginx profile anybody

http_get('/ssi');
is(heaps(), 2, 'no profile in a page');

# reload: what is under way finishes on the old worker

my $pid = fork() // die;

if ($pid == 0) {
    my $r = http_get("$p/profile?seconds=2");
    Debug::Nginx::write_file($t->dir() . '/answer', $r->{body});
    POSIX::_exit(0);
}

wait_for(sub { grep { $_->{uri} =~ /seconds=2/ } $b[0]->received() });
ok($t->reload(wait_old => 0), 'reload');
is(http_get("$p/allocs")->{status}, 200, 'new worker answers');
waitpid $pid, 0;
is($t->read('answer'), 'profile of 2 s', 'the old one finished');

done_testing();
