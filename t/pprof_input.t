#!/usr/bin/perl

# /debug/pprof/: bad questions and bad answers.  Each gets one clear sentence,
# and what is broken does not look whole.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw/ sleep time /;

use Debug::Nginx;

my $t = Debug::Nginx->new();

my $ok = backend(Debug::Backend::answer(200, 'fine', 'X-Pprof-Pid' => 7));

my %peer = (
    garbage => backend(Debug::Backend::garbage()),
    binary => backend(Debug::Backend::garbage("\0\0\0\0\r\n\r\n")),
    half_header => backend(Debug::Backend::half_header()),
    half_body => backend(Debug::Backend::half_body()),
    slam => backend(Debug::Backend::slam()),
    nothing => backend(sub { $_[1]->close() }),
    hang => backend(Debug::Backend::hang()),
    silent => backend(Debug::Backend::hang()),
    hang_body => backend(Debug::Backend::half_body(Debug::Backend::hang())),

    half_chunks => backend(sub {
        $_[1]->send("HTTP/1.1 200 OK\r\nX-Pprof-Pid: 7\r\nTransfer-Encoding: chunked\r\n\r\n"
                    . "5\r\nhello\r\n5\r\nhel");
        $_[1]->close();
    }),
    no_last_chunk => backend(sub {
        $_[1]->send("HTTP/1.1 200 OK\r\nX-Pprof-Pid: 7\r\nTransfer-Encoding: chunked\r\n\r\n"
                    . "5\r\nhello\r\n");
        $_[1]->close();
    }),
    bad_chunk => backend(sub {
        $_[1]->send("HTTP/1.1 200 OK\r\nX-Pprof-Pid: 7\r\nTransfer-Encoding: chunked\r\n\r\n"
                    . "5\r\nhello\r\nzz\r\n");
        $_[1]->close();
    }),
    reset_body => backend(Debug::Backend::half_body(
        sub { sleep 0.1; $_[1]->close(reset => 1) })),
    reset_to_end => backend(sub {
        $_[1]->send("HTTP/1.1 200 OK\r\nX-Pprof-Pid: 7\r\n\r\nhello");
        sleep 0.1;
        $_[1]->close(reset => 1);
    }),

    two_lengths => backend(sub {
        $_[1]->send("HTTP/1.1 200 OK\r\nX-Pprof-Pid: 7\r\nContent-Length: 5\r\n"
                    . "Content-Length: 6\r\n\r\nhello");
        $_[1]->close();
    }),
    bad_length => backend(sub {
        $_[1]->send("HTTP/1.1 200 OK\r\nX-Pprof-Pid: 7\r\nContent-Length: -5\r\n\r\nhello");
        $_[1]->close();
    }),
    both => backend(sub {
        $_[1]->send("HTTP/1.1 200 OK\r\nX-Pprof-Pid: 7\r\nContent-Length: 5\r\n"
                    . "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        $_[1]->close();
    }),
    coding => backend(sub {
        $_[1]->send("HTTP/1.1 200 OK\r\nX-Pprof-Pid: 7\r\nTransfer-Encoding: gzip\r\n\r\nhello");
        $_[1]->close();
    }),
    upgrade => backend(sub {
        $_[1]->send("HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\nhello");
        $_[1]->close();
    }),
    big_header => backend(sub {
        $_[1]->send("HTTP/1.1 200 OK\r\nX-Pprof-Pid: 7\r\nX-Big: " . 'x' x 65536 . "\r\n\r\nhi");
        $_[1]->close();
    }),

    # not broken, though rare

    to_end => backend(sub {
        $_[1]->send("HTTP/1.0 200 OK\r\nX-Pprof-Pid: 1\r\n"
                    . "Content-Type: text/plain\r\n\r\nhello");
        $_[1]->close();
    }),
    interim => backend(sub {
        $_[1]->send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\n"
                    . "Link: <x>\r\n\r\n"
                    . "HTTP/1.1 200 OK\r\nX-Pprof-Pid: 7\r\nContent-Length: 5\r\n\r\nhello");
        $_[1]->close();
    }),
    drops => backend(sub {
        for my $byte (split //, "HTTP/1.1 200 OK\r\nX-Pprof-Pid:  7 \r\n"
                      . "Transfer-Encoding: Chunked\r\n\r\n"
                      . "2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nX-T: 1\r\n\r\n")
        {
            $_[1]->send($byte);
            sleep 0.002;
        }
        $_[1]->close();
    }),
    extra => backend(sub {
        $_[1]->send("HTTP/1.1 200 OK\r\nX-Pprof-Pid: 7\r\nContent-Length: 5\r\n\r\nhello, more");
        $_[1]->close();
    }),
    empty => backend(sub { $_[1]->reply(200, '', 'X-Pprof-Pid' => 7) }),
    no_content => backend(sub {
        $_[1]->send("HTTP/1.1 204 No Content\r\n\r\n"); $_[1]->close();
    }),
    early => backend(sub {
        $_[1]->send("HTTP/1.1 500 No\r\nContent-Length: 5\r\n"
                    . "Content-Type: text/plain\r\nX-Go-Pprof: 1\r\n\r\nhello");
        $_[1]->close();
    }, raw => 1),

    page => backend(Debug::Backend::answer(200, '<html>', 'Content-Type' =>
                                           'text/html; charset=utf-8')),
    unknown => backend(Debug::Backend::answer(404, '404 page not found',
                                              'Content-Type' => 'text/plain')),
    denied => backend(Debug::Backend::answer(403, '<h1>no</h1>',
                                             'Content-Type' => 'text/html')),
    go404 => backend(Debug::Backend::answer(404, "Unknown profile\n",
                                            'Content-Type' => 'text/plain',
                                            'X-Go-Pprof' => 1)),
    busy => backend(Debug::Backend::answer(503, "busy\n",
                                           'Content-Type' => 'text/plain',
                                           'Retry-After' => 7)),
);

my $groups = join '', map {
    "upstream $_ { server @{[ $peer{$_}->addr() ]}; }\n"
} sort keys %peer;

my $dead = free_port();

$t->write_conf(<<"EOC")->run();
%%TEST_GLOBALS%%
worker_processes 2;
events { }
http {
    %%TEST_GLOBALS_HTTP%%

    upstream ok { server @{[ $ok->addr() ]}; }
    upstream refused { server 127.0.0.1:$dead; }
    upstream missing { server unix:%%DIR%%/missing.sock; }
    $groups

    proxy_intercept_errors on;
    error_page 400 404 405 413 500 502 503 504 /error.html;

    server {
        listen 127.0.0.1:%%PORT_0%%;
        debug_write_timeout 60s;

        location / { }
        location /debug/ { debug; }
        location /denied/ { debug; debug_access 10.0.0.0/8; }

        location /short/ { debug; debug_write_timeout 1s; }
        location /thirty/ { debug; debug_write_timeout 30s; }
    }
}
EOC

$t->write('html/error.html', '<html>error page</html>');

my $p = '/debug/pprof';
my $r;

# an error: status, one sentence in plain text, for pprof to show

sub error {
    my ($path, $status, $re, $name, %o) = @_;
    my $r = http_get($path, %o);

    subtest $name => sub {
        is($r->{status}, $status, 'status');
        like($r->{body}, $re, 'sentence') unless ($o{method} // '') eq 'HEAD';
        like($r->{body}, qr/\A[^\n]*\n?\z/, 'one line');
        unlike($r->{body}, qr/<\w/, 'no HTML');
        like($r->{headers}{'content-type'}, qr!^text/plain!, 'type');
        is($r->{headers}{'x-go-pprof'}, 1, 'X-Go-Pprof');
        is($r->{headers}{'cache-control'}, 'no-store', 'no-store');
        ok($r->{complete}, 'complete');
    };

    return $r;
}

# a peer that is silent for longer than what it was asked for, half as long
# again, and ten seconds: long before debug_write_timeout; looked at below

my $silent_file = $t->dir() . '/silent';
my $silent = fork() // die;

if ($silent == 0) {
    my $r = http_get("$p/silent/0/profile?seconds=1", timeout => 30);
    write_file($silent_file, encode_json({ map { $_ => $r->{$_} }
                                           qw/ status body time / }));
    POSIX::_exit(0);
}

# seconds

my $long = qr/^profile duration exceeds server's WriteTimeout\n\z/;

error("$p/profile?seconds=60", 400, $long, 'seconds = write timeout');
error("$p/profile?seconds=61", 400, $long, 'seconds > write timeout');
error("$p/profile?seconds=9223372036854775807", 400, $long, 'largest');
error("$p/profile?seconds=9223372036854775808", 400, $long, 'overflow');
error("$p/profile?seconds=" . '9' x 300, 400, $long, 'long overflow');
error("$p/profile?seconds=60&seconds=1", 400, $long, 'first of two');
error("$p/profile?s%65conds=%36%30", 400, $long, 'escaped');
error("$p/profile?seconds=%2B60", 400, $long, 'with a plus');
error("$p/heap?seconds=60", 400, $long, 'delta');
error("$p/trace?seconds=60", 400, $long, 'trace');
error("$p/trace?seconds=60.5", 400, $long, 'trace, fraction');
error("/thirty/pprof/profile", 400, $long, 'default of 30');
error("/thirty/pprof/profile?seconds=$_", 400, $long,
      "seconds=$_ is the default")
    for '', 'abc', '0', '-5', '1.5', '1e1', '+5', '0x1', '%205', '5%25', '5+';
error("/thirty/pprof/profile?seconds;&seconds=5;&seconds=%zz&second=5",
      400, $long, 'pairs that Go drops');

is($ok->count(), 0, 'no backend heard of these');

is(http_get("$p/ok/0/profile?$_")->{body}, 'fine', $_)
    for 'seconds=59', 'seconds=1&seconds=60', 'seconds=1&seconds=', '%73econds=5',
        'seconds=abc', 'seconds=-99999999999999999999';
is(http_get("/thirty/pprof/ok/0/$_")->{body}, 'fine', $_)
    for 'profile?seconds=29', 'heap?seconds=29', 'heap', 'heap?seconds=abc',
        'trace', 'trace?seconds=abc', 'trace?seconds=1.5', 'symbol?seconds=99',
        'profile?;seconds=60&seconds=5';

# what there is not

error("$p/nothere", 404, qr/^Unknown profile\n\z/, 'kind');
error("$p/Heap", 404, qr/^Unknown profile/, 'case matters');
error("$p/ok/0/nothere", 404, qr/^Unknown profile/, 'kind of a peer');
error("$p/no/0/heap", 404, qr/no such upstream group/, 'group');
error("$p/ok/1/heap", 404, qr/no such peer/, 'peer by number');
error("$p/ok/99999999999999999999/heap", 404, qr/no such peer/, 'huge number');
error("$p/ok/-1/heap", 404, qr/no such peer/, 'negative number');
error("$p/ok/10.0.0.1:80/heap", 404, qr/no such peer/, 'peer by address');
error("$p/ok/0/heap/", 404, qr/^Unknown profile/, 'too deep');
error("$p/ok/0/../../heap/x", 404, qr/no such/, 'dots');

# methods

for my $method (qw/ PUT DELETE PATCH OPTIONS TRACE POST /) {
    next if $method eq 'TRACE';     # nginx itself says 405
    $r = error("$p/heap", 405, qr/^heap takes GET, HEAD\n\z/, $method,
               method => $method);
    is($r->{headers}{allow}, 'GET, HEAD', "$method, Allow");
}

$r = error("$p/symbol", 405, qr/takes/, 'PUT', method => 'PUT', body => 'x');
is($r->{headers}{allow}, 'GET, HEAD, POST', 'Allow of symbol');
error("$p/", 405, qr/^only GET and HEAD/, 'POST to the page', method => 'POST');

# who asks

error("$p/heap", 403, qr/another site/, 'another site',
      headers => { 'Sec-Fetch-Site' => 'cross-site' });
is(http_get("$p/ok/0/heap", headers => { 'Sec-Fetch-Site' => $_ })->{status},
   200, "Sec-Fetch-Site: $_") for qw/ same-origin none /;
$ok->clear();
error("/debug/charts/ok/0/data", 403, qr/another site/, "a process's charts too",
      headers => { 'Sec-Fetch-Site' => 'cross-site' });
is($ok->count(), 0, 'which asks nobody');
error('/denied/pprof/ok/0/heap', 403, qr/access denied/, 'denied client');

# paths that mean the same, and one that does not

for my $path ("//debug//pprof//ok//0//heap", '/debug/./pprof/ok/0/heap',
              '/debug/pprof/ok/0/%68eap', '/debug%2fpprof/ok/0/heap',
              '/x/../debug/pprof/ok/0/heap')
{
    is(http_get($path)->{body}, 'fine', $path);
    is(http_get($path =~ s/debug/denied/r)->{status}, 403, "$path, denied");
}

$r = http_get("$p/heap", headers => { 'X-Big' => 'x' x 65536 });
is($r->{status}, 400, '64 KB of header');

# peers that are not there, or no HTTP servers

error("$p/refused/0/heap", 502,
      qr/^127\.0\.0\.1:$dead answered nothing: connection refused; .*debug_pprof_pass/,
      'connection refused');
error("$p/missing/0/heap", 502,
      qr/^unix:\S+missing\.sock answered nothing: no such file or directory; /,
      'no socket file');

my %sentence = (
    garbage => qr/something that is not HTTP/,
    binary => qr/something that is not HTTP/,
    half_header => qr/broke off in the middle of its header/,
    slam => qr/closed the connection without an answer/,
    nothing => qr/closed the connection without an answer/,
    two_lengths => qr/something that is not HTTP/,
    bad_length => qr/something that is not HTTP/,
    both => qr/something that is not HTTP/,
    coding => qr/something that is not HTTP/,
    upgrade => qr/something that is not HTTP/,
    bad_chunk => qr/something that is not HTTP/,
    big_header => qr/too large a header/,
    page => qr!has no profile at /debug/pprof/heap \(it answered 200\)!,
);

for my $name (sort keys %sentence) {
    my $addr = $peer{$name}->addr();
    $r = error("$p/$name/0/heap", 502, qr/^\Q$addr\E .*$sentence{$name}/, $name);
    is($r->{headers}{'x-debug-peer'}, $addr, "$name, X-Debug-Peer");
    is($peer{$name}->count(), 1, "$name, asked once");
}

error("$p/unknown/0/heap", 404, qr/has no profile at .* libpprof/, 'a 404');
error("$p/denied/0/heap", 403, qr/has no profile at .*answered 403/, 'a 403');
error("$p/go404/0/heap", 404, qr/^Unknown profile\n\z/, "profiler's own 404");

$r = http_get("$p/busy/0/profile?seconds=1");
is($r->{status}, 503, "profiler's own 503");
is($r->{body}, "busy\n", 'its body');
is($r->{headers}{'retry-after'}, 7, 'its Retry-After');

my $start = time();
error('/short/pprof/hang/0/heap', 504,
      qr/answered nothing within the 1000 ms of debug_write_timeout/, 'silence');
cmp_ok(time() - $start, '<', 2, 'for no longer than that');
ok(wait_for(sub { ($peer{hang}->received())[0]{left} }),
   'its connection is closed');

# what breaks off does not look whole

for my $version ('1.1', '1.0') {
    for my $name (qw/ half_body half_chunks no_last_chunk reset_body
                      reset_to_end /)
    {
        $r = http_get("$p/$name/0/heap", version => $version);
        is($r->{status}, 200, "$name, HTTP/$version");
        ok(!$r->{complete}, "$name, HTTP/$version: incomplete")
            or diag($r->{raw});
        ok($r->{closed}, "$name, HTTP/$version: closed");
    }
}

$r = http_get('/short/pprof/hang_body/0/heap', timeout => 5);
is($r->{status}, 200, 'silence in the middle');
ok(!$r->{complete} && $r->{closed}, 'cut');

# what is whole looks so

for my $name (qw/ to_end interim drops extra /) {
    for my $version ('1.1', '1.0') {
        $r = http_get("$p/$name/0/heap", version => $version);
        is($r->{body}, 'hello', "$name, HTTP/$version");
        ok($r->{complete}, "$name, HTTP/$version: complete");
    }
}

is(http_get("$p/interim/0/heap")->{headers}{link}, undef,
   'headers of an interim answer are not the answer');
is(http_get("$p/drops/0/heap")->{headers}{'x-pprof-pid'}, 7,
   'trimmed header');

$r = http_get("$p/empty/0/heap", keepalive => 1);
is($r->{status}, 200, 'empty');
ok($r->{complete}, 'empty, complete');
ok($r->{sock}, 'empty, connection kept');
is(http_get("$p/no_content/0/heap")->{status}, 204, 'a 204');

$r = http_get("$p/early/0/symbol", method => 'POST', body => 'x' x 1000);
is($r->{status}, 500, 'answer before the request was read');
is($r->{body}, 'hello', 'its body');

# a client that leaves ends the profile; nothing lingers

$peer{hang}->clear();
http_get("$p/hang/0/profile?seconds=30", abort => 0.5);
ok(wait_for(sub { (($peer{hang}->received())[0] // {})->{left} }, 2),
   'client left');

# the peer that was silent

waitpid $silent, 0;
$r = decode_json(read_file($silent_file));
is($r->{status}, 504, 'silence for too long');
like($r->{body}, qr/answered nothing in time/, 'in a sentence');
cmp_ok($r->{time}, '>', 11, 'not before 1.5 x 1 s + 10 s');
cmp_ok($r->{time}, '<', 15, 'and not long after');

# and traffic goes on

is(http_get('/')->{body}, "index\n", 'traffic goes on');
unlike($t->error_log(), qr/temporarily disabled|header already sent/, 'log');

done_testing();
