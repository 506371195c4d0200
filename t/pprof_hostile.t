#!/usr/bin/perl

# Peers that answer with anything but a profile, and clients over HTTP, TLS
# and HTTP/2: each gets the whole of an answer, a sentence, or a cut; the same
# whichever way he came; and nginx goes on.  "./build.sh asan" runs it too.

use strict;
use warnings;

use POSIX ();
use Test::More;

use Debug::App;
use Debug::Nginx;

need_bin('curl', 'openssl', 'python3');

plan(skip_all => 'no HTTP/2 in this curl')
    unless run_cmd(['curl', '-V'])->{out} =~ /HTTP2/;

# The answers: name, what the client is to see, and what is sent.  What he
# sees is "sentence", "cut", or the body of a whole one.  What is sent is bytes,
# numbers as references (pauses, seconds), and the words of a connection: reset,
# hang, or endless: bytes again and again.

my $ok = "HTTP/1.1 200 OK\r\nX-Pprof-Pid: 7\r\n";
my $type = "Content-Type: application/octet-stream\r\n";
my $html = "Content-Type: text/html\r\n";
my $len = "Content-Length: 5\r\n";
my $te = "Transfer-Encoding: chunked\r\n";
my $hi = "\r\nhello";
my $K = 1024;

my @answers = (
    # no status line
    ['nothing', 'sentence'],
    ['a line feed', 'sentence', "\n"],
    ['garbage', 'sentence', join('', map { chr(($_ * 167 + 13) % 256) }
                                     0 .. 999)],
    ['zeros', 'sentence', "\0" x 100],
    ['another protocol', 'sentence', "SSH-2.0-OpenSSH_9.2\r\n"],
    ['TLS alert', 'sentence', "\x15\x03\x01\0\x02\x02\x46"],
    ['HTTP/2 frame', 'sentence', "\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64"],
    ['no version', 'sentence', "HTTP 200 OK\r\n$len$hi"],
    ['a version in letters', 'sentence', "HTTP/one.1 200 OK\r\n$len$hi"],
    ['status of two digits', 'sentence', "HTTP/1.1 20 OK\r\n$len$hi"],
    ['status of four digits', 'sentence', "HTTP/1.1 2000 OK\r\n$len$hi"],
    ['status 000', 'sentence', "HTTP/1.1 000 OK\r\n$len$hi"],
    ['status 099', 'sentence', "HTTP/1.1 099 OK\r\n$len$hi"],
    ['status 600', 'sentence', "HTTP/1.1 600 OK\r\n$len$hi"],
    ['status -200', 'sentence', "HTTP/1.1 -200 OK\r\n$len$hi"],
    ['a zero in the status', 'sentence', "HTTP/1.1 2\0000 OK\r\n$len$hi"],
    ['64 KB of reason', 'sentence', 'HTTP/1.1 200 ' . 'x' x 65536
                                    . "\r\n$len$hi"],
    ['half a status line', 'sentence', 'HTTP/1.1 20'],

    # what comes before the answer
    ['endless 100', 'sentence', ["HTTP/1.1 100 Continue\r\n\r\n", 'endless']],
    ['endless 103', 'sentence', ["HTTP/1.1 103 Early\r\nLink: <x>\r\n\r\n",
                                 'endless']],
    ['a 101', 'sentence', "HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\n$hi"],
    ['103 and no more', 'sentence', "HTTP/1.1 103 Early\r\n\r\n"],

    # headers
    ['no colon', undef, "${ok}Nonsense\r\n$len$hi"],
    ['no name', undef, "$ok: x\r\n$len$hi"],
    ['a space in a name', undef, "${ok}A B: x\r\n$len$hi"],
    ['a zero in a value', undef, "${ok}X-Go-Pprof: 1\0002\r\n$len$hi"],
    ['a zero in a name', undef, "${ok}X\0Y: 1\r\n$len$hi"],
    ['CR in a value', undef, "${ok}X-Pprof-Pid: 1\rSet-Cookie: a=b\r\n$len$hi"],
    ['folded', undef, "${ok}Content-Disposition: a\r\n Set-Cookie: a=b\r\n"
                      . "$len$hi"],
    ['line feeds alone', undef, "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello"],
    ['bytes beyond ASCII', 'hello', "${ok}Content-Disposition: \xff\xfe\x80\r\n"
                                    . "$len$hi"],
    ['escapes for a terminal', 'sentence',
     [$ok . "Content-Type: text/html\e[2J\e]0;x\x07\r\n\r\n", 'x', 'endless']],
    ['20 KB of type', 'hello', "${ok}Content-Type: a/" . 'b' x 20000
                               . "\r\n$len$hi"],
    ['64 KB of a header', 'sentence', "${ok}X: " . 'x' x 65536 . "\r\n$hi"],
    ['10,000 headers', 'sentence', $ok . "A: b\r\n" x 10000 . "$len$hi"],
    ['endless header', 'sentence', [$ok, "A: b\r\n", 'endless']],
    ['half a header', 'sentence', "${ok}Content-Le"],
    ['100 cookies', 'hello', $ok . "Set-Cookie: a=b\r\n" x 100 . "$len$hi"],

    # lengths
    ['two lengths', 'sentence', "${ok}${len}Content-Length: 6\r\n$hi"],
    ['the same length twice', 'sentence', "$ok$len$len$hi"],
    ['-5', 'sentence', "${ok}Content-Length: -5\r\n$hi"],
    ['+5', 'sentence', "${ok}Content-Length: +5\r\n$hi"],
    ['0x5', 'sentence', "${ok}Content-Length: 0x5\r\n$hi"],
    ['5, 5', 'sentence', "${ok}Content-Length: 5, 5\r\n$hi"],
    ['no number', 'sentence', "${ok}Content-Length: \r\n$hi"],
    ['a length beyond numbers', 'sentence',
     "${ok}Content-Length: 99999999999999999999\r\n$hi"],
    ['a length of exabytes', 'cut',
     "${ok}Content-Length: 9223372036854775807\r\n$hi"],
    ['length and chunks', 'sentence', "$ok$len$te\r\n5\r\nhello\r\n0\r\n\r\n"],
    ['gzip, chunked', 'sentence', "${ok}Transfer-Encoding: gzip, chunked\r\n"
                                  . $hi],
    ['chunked twice', 'sentence', "$ok$te$te\r\n5\r\nhello\r\n0\r\n\r\n"],
    ['identity', 'sentence', "${ok}Transfer-Encoding: identity\r\n$hi"],
    ['shorter than it says', 'cut', "${ok}Content-Length: 6\r\n$hi"],
    ['longer than it says', 'hello', "$ok$len$hi, and HTTP/1.1 200 OK\r\n"],

    # chunks
    ['no chunk', 'sentence', "$ok$te\r\n"],
    ['bad size', undef, "$ok$te\r\nzz\r\nhello\r\n0\r\n\r\n"],
    ['size beyond numbers', undef, "$ok$te\r\nfffffffffffffffff\r\nhello"],
    ['size of exabytes', undef, "$ok$te\r\n7fffffffffffffff\r\nhello"],
    ['size -1', undef, "$ok$te\r\n-1\r\nhello\r\n0\r\n\r\n"],
    ['no end of a chunk', undef, "$ok$te\r\n5\r\nhello0\r\n\r\n"],
    ['no last chunk', 'cut', "$ok$te\r\n5\r\nhello\r\n"],
    ['half a last chunk', 'cut', "$ok$te\r\n5\r\nhello\r\n0\r\n"],
    ['endless extension', 'cut', ["$ok$te\r\n5\r\nhello\r\n1;", 'x' x $K,
                                  'endless']],
    ['endless trailers', 'cut', ["$ok$te\r\n5\r\nhello\r\n0\r\n",
                                 "A: b\r\n" x 100, 'endless']],
    ['more than the last chunk', 'hello', "$ok$te\r\n5\r\nhello\r\n0\r\n\r\n"
                                          . "HTTP/1.1 200 OK\r\n\r\n"],
    ['chunks of a byte', 'x' x 3000, $ok . $te . "\r\n" . "1\r\nx\r\n" x 3000
                                     . "0\r\n\r\n"],

    # bodies where there is none, and none where there is one
    ['a 204 with a body', '', "HTTP/1.1 204 No\r\n$len$hi"],
    ['a 304 with a body', 'sentence', "HTTP/1.1 304 No\r\n$len$hi"],
    ['a redirect', 'sentence', "HTTP/1.1 302 No\r\nLocation: //evil/\r\n"
                               . "Content-Length: 0\r\n\r\n"],
    ['an empty one', '', "${ok}Content-Length: 0\r\n\r\n"],
    ['a page', 'sentence', "$ok$html$len$hi"],

    # without end
    ['endless bytes', 'cut', ["$ok$type\r\n", 'x' x (64 * $K), 'endless']],
    ['endless chunks', 'cut', ["$ok$type$te\r\n",
                               sprintf("%x\r\n%s\r\n", 64 * $K, 'x' x (64 * $K)),
                               'endless']],
    ['endless page', 'sentence', ["$ok$html\r\n", 'x' x (64 * $K), 'endless']],
    ['endless 404', 'sentence', ["HTTP/1.1 404 No\r\n\r\n", 'x' x $K,
                                 'endless']],
    ['endless redirect', 'sentence', ["HTTP/1.1 301 No\r\n\r\n", 'x' x $K,
                                      'endless']],
    ['a page, a byte at a time', 'sentence',
     ["$ok$html\r\n", map { ('x', \0.2) } 1 .. 60]],
    ['a page, then silence', 'sentence', ["$ok$html\r\nx", 'hang']],
    ['silence', 'sentence', ['hang']],
    ['a header, then silence', 'cut', ["$ok$type\r\nx", 'hang']],

    # connections that end
    ['reset at once', 'sentence', ['reset']],
    ['reset after the header', 'sentence', ["$ok$type$len\r\n", \0.1, 'reset']],
    ['reset in the body', 'cut', ["$ok$type\r\nhel", \0.1, 'reset']],
);

cmp_ok(scalar(@answers), '>=', 70, 'hostile answers');

my $peer = backend(sub {
    my ($req, $c) = @_;
    my ($n) = $req->{uri} =~ /[?&]n=(\d+)/;
    return $c->reply(404, "none") unless defined $n;

    my (undef, undef, $sent) = @{ $answers[$n] };
    my @sent = ref $sent ? @$sent : $sent // ();
    my $last = '';

    for my $what (@sent) {
        if (ref $what) {
            $c->delay($$what) or return;

        } elsif ($what eq 'reset') {
            return $c->close(reset => 1);

        } elsif ($what eq 'hang') {
            return $c->hang(30);

        } elsif ($what eq 'endless') {
            # in some pieces of a moderate size
            $last x= 1 + int(16384 / length $last);
            while ($c->send($last)) { }
            return;

        } else {
            $last = $what;
            $c->send($what) or return;
        }
    }

    $c->close();
});

my $t = Debug::Nginx->new();

my $made = run_cmd([qw/ openssl req -x509 -newkey rsa:2048 -nodes -days 3
                        -keyout key.pem -out cert.pem -subj \/CN=localhost /],
                   cwd => $t->dir());
die $made->{err} if $made->{exit};

# TLS peers, which Perl's own modules cannot be

my %tls = (
    whole => ['hello', 'Content-Length: 5\r\n\r\nhello', 'unwrap'],
    length_cut => ['hello', 'Content-Length: 5\r\n\r\nhello', 'close'],
    chunks_cut => ['hello', 'Transfer-Encoding: chunked\r\n\r\n5\r\nhello'
                            . '\r\n0\r\n\r\n', 'close'],
    to_end => ['hello', '\r\nhello', 'unwrap'],
    to_end_cut => ['cut', '\r\nhello', 'close'],
    to_end_reset => ['cut', '\r\nhello', 'reset'],
    short => ['cut', 'Content-Length: 6\r\n\r\nhello', 'unwrap'],
    header => ['sentence', 'Content-Le', 'unwrap'],
    header_cut => ['sentence', 'Content-Le', 'close'],
    garbage => ['sentence', undef, ''],
);

my @tls = sort keys %tls;
my %port = map { $_ => free_port() } @tls;

$t->write('tls.py', <<'EOP');
import socket, ssl, struct, sys, threading, time

dir = sys.argv[1]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(dir + '/cert.pem', dir + '/key.pem')

def serve(listener, body, how):
    while True:
        s, _ = listener.accept()
        threading.Thread(target=answer, args=(s, body, how)).start()

def answer(s, body, how):
    try:
        s.settimeout(10)
        if body == '-':
            s.recv(65536)
            s.sendall(b'no TLS is spoken here\r\n' * 20)
            s.close()
            return
        c = context.wrap_socket(s, server_side=True)
        while b'\r\n\r\n' not in c.recv(65536):
            pass
        c.sendall(b'HTTP/1.1 200 OK\r\nX-Pprof-Pid: 7\r\n'
                  + body.encode().decode('unicode_escape').encode())
        time.sleep(0.05)
        if how == 'unwrap':
            c.unwrap()
        if how == 'reset':
            c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                         struct.pack('ii', 1, 0))
        c.close()
    except (OSError, ValueError):
        s.close()

for port, body, how in zip(*[iter(sys.argv[2:])] * 3):
    l = socket.socket()
    l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    l.bind(('127.0.0.1', int(port)))
    l.listen(64)
    threading.Thread(target=serve, args=(l, body, how)).start()
EOP

my $tls = Debug::App->start(
    cmd => ['python3', $t->dir() . '/tls.py', $t->dir(),
            map { ($port{$_}, $tls{$_}[1] // '-', $tls{$_}[2] || '-') } @tls],
    ready => { port => $port{$tls[-1]} });

my $groups = join '', map {
    "upstream tls_$_ { server 127.0.0.1:$port{$_}; }\n" } @tls;

my $h2 = $t->has(qr!nginx/1\.(?:[0-9]|1[0-9]|2[0-4])\.!)
         ? 'listen 127.0.0.1:%%PORT_1%% ssl http2;'
         : 'listen 127.0.0.1:%%PORT_1%% ssl; http2 on;';

$t->write_conf(<<"EOC")->run();
%%TEST_GLOBALS%%
worker_processes 2;
events { }
http {
    %%TEST_GLOBALS_HTTP%%

    upstream acs { server @{[ $peer->addr() ]}; }
    $groups

    debug_snapshots path=%%DIR%%/kept every=1s;

    debug_pprof_max 100;
    debug_write_timeout 5s;

    server {
        listen 127.0.0.1:%%PORT_0%%;
        $h2
        ssl_certificate %%DIR%%/cert.pem;
        ssl_certificate_key %%DIR%%/key.pem;

        location / { }
        location /debug/ { debug; debug_pprof_pass acs; }
        location /share/ {
            debug; debug_pprof_pass acs; debug_pprof_busy share;
        }
        location /early/ {
            debug; debug_pprof_pass acs; debug_pprof_keepalive 100ms;
        }
        location /tls/ {
            debug; debug_pprof_ssl on;
            @{[ join ' ', map { "debug_pprof_pass tls_$_;" } @tls ]}
        }
    }
}
EOC

# asks everything, some at a time, and returns what each client saw

my @clients = (
    ['HTTP', '--http1.1', 'http://127.0.0.1:' . $t->port(0)],
    ['TLS', '--http1.1', 'https://127.0.0.1:' . $t->port(1)],
    ['HTTP/2', '--http2', 'https://127.0.0.1:' . $t->port(1)],
);

sub ask_all {
    my (@paths) = @_;
    my (%pid, @seen);
    my $dir = temp_dir('seen');

    my @todo = map { my $n = $_; map { [$n, $_] } 0 .. $#clients } 0 .. $#paths;

    while (@todo || %pid) {
        while (@todo && keys %pid < 12) {
            my ($n, $c) = @{ shift @todo };
            my (undef, $how, $url) = @{ $clients[$c] };
            my $pid = fork() // die;

            if ($pid == 0) {
                open STDOUT, '>', "$dir/$n-$c.w";
                open STDERR, '>', '/dev/null';
                exec 'curl', '-sk', $how, '--max-time', 20, '-o',
                     "$dir/$n-$c.body", '-D', "$dir/$n-$c.head", '-w',
                     '%{http_code}', '--max-filesize', 3_000_000_000,
                     $url . $paths[$n] or POSIX::_exit(127);
            }

            $pid{$pid} = [$n, $c];
        }

        my $pid = waitpid -1, 0;
        my $of = delete $pid{$pid} or next;
        my ($n, $c) = @$of;

        my $size = -s "$dir/$n-$c.body" // 0;

        $seen[$n][$c] = {
            exit => $? >> 8,
            status => read_file("$dir/$n-$c.w"),
            head => read_file("$dir/$n-$c.head"),
            body => $size > 1_000_000 ? "$size bytes"
                                      : read_file("$dir/$n-$c.body"),
        };
        unlink glob "$dir/$n-$c.*";
    }

    return @seen;
}

my %passes = map { $_ => 1 } qw/
    server date connection transfer-encoding content-length content-type
    content-disposition content-encoding allow retry-after x-go-pprof
    x-pprof-pid x-pprof-build-id cache-control x-content-type-options
    content-security-policy x-debug-upstream x-debug-peer /;

sub kind {
    my ($r) = @_;

    return "curl $r->{exit}, no answer" if $r->{status} eq '000';
    return 'late' if $r->{exit} == 28;
    return 'cut' if $r->{exit};
    return 'sentence' if $r->{status} >= 400 && $r->{head} =~ /^x-go-pprof: 1/mi
                         && $r->{body} =~ /\A[ -~]+\n\z/;
    return "whole: $r->{body}";
}

sub judge {
    my ($name, $want, $seen) = @_;
    my @kinds = map { kind($_) } @$seen;

    subtest $name => sub {
        for my $c (0 .. $#clients) {
            my ($r, $how) = ($seen->[$c], $clients[$c][0]);

            my @more = grep { !$passes{lc $_} } $r->{head} =~ /^([\w-]+):/mg;
            is("@more", '', "$how, no header that does anything");

            if (defined $want) {
                # a machine that is so slow that nothing came at all
                next if $want eq 'cut' && $kinds[$c] eq 'sentence'
                        && $r->{body} =~ /nothing within the 5000 ms/;

                is($kinds[$c], $want =~ /^(?:cut|sentence)$/ ? $want
                                                             : "whole: $want",
                   $how) or diag("$name: $r->{head}$r->{body}");
            } else {
                is($kinds[$c], $kinds[0], "$how, as $clients[0][0]");
                unlike($kinds[$c], qr/^late|^curl/, "$how, in time");
            }
        }
    };
}

my @workers = $t->worker_pids();
sub descriptors {
    my $n = 0;
    $n += () = glob "/proc/$_/fd/*" for @workers;
    return $n;
}

http_get('/');
my $before = descriptors();

# the bounded part is all of them, once; TEST_LONG has more ways to ask

my @seen = ask_all(map { "/debug/pprof/heap?n=$_" } 0 .. $#answers);
judge(@{ $answers[$_] }[0, 1], $seen[$_]) for 0 .. $#answers;

my ($n) = grep { $answers[$_][0] eq 'endless page' } 0 .. $#answers;
like($seen[$n][0]{body}, qr!answered 200 and text/html without end, left after!,
     'what has no end is told');
($n) = grep { $answers[$_][0] =~ /terminal/ } 0 .. $#answers;
like($seen[$n][0]{body}, qr!text/html\?\[2J\?\]0;x\? without end!,
     'and shows nothing that a terminal would do');

my @ways = '/debug/charts/acs/0/data?n=';
push @ways, map { "/debug/pprof/$_" } 'symbol?n=', 'cmdline?n=',
                                      'trace?seconds=1&n='
    if $ENV{TEST_LONG};

for my $way (@ways) {
    @seen = ask_all(map { $way . $_ } 0 .. $#answers);

    for my $n (0 .. $#answers) {
        my @kinds = map { kind($_) } @{ $seen[$n] };
        ok(!(grep { /^late|^curl/ } @kinds), "$way: $answers[$n][0]")
            or diag("@kinds");
    }
}

# a header that went out early, and an answer that others wait for: all that is
# left is to cut it, and to end

for my $way ('/early/pprof/profile?seconds=1&n=',
             '/share/pprof/profile?seconds=1&n=')
{
    my @some = $ENV{TEST_LONG} ? 0 .. $#answers
                               : grep { $_ % 3 == 0 } 0 .. $#answers;

    @seen = ask_all(map { $way . $_ } @some);

    for my $i (0 .. $#some) {
        my @kinds = map { kind($_) } @{ $seen[$i] };
        ok(!(grep { /^late|^curl/ } @kinds), "$way: $answers[$some[$i]][0]")
            or diag("@kinds");
    }
}

# TLS: an end that nobody said is none

@seen = ask_all(map { "/tls/pprof/tls_$_/0/heap" } @tls);
judge("TLS peer, $tls[$_]", $tls{$tls[$_]}[0], $seen[$_]) for 0 .. $#tls;

# of a peer that talks nonsense the log says so in our words, and of one that
# is asked again and again for snapshots once

my $log = sub { scalar(() = $t->error_log() =~ /$_[0]/g) };

ok(wait_for(sub {
    $log->(qr/no snapshot was taken: 127\.0\.0\.1:$port{garbage} /) >= 4
}, 30), 'snapshots of it, again and again');

my $said = qr/\[error\] [^\n]*127\.0\.0\.1:$port{garbage} was refused: its TLS/;
is($log->(qr/$said[^\n]*\(SSL: error:\S+:SSL routines:/), $log->($said),
   "with OpenSSL's words");
is(scalar(grep { /$said/ && !/client:/ } $t->error_lines('its TLS')), 1,
   'an error once');
unlike($t->error_log(), qr/\[crit\]/, 'and no [crit]');

# nothing of it is left

is_deeply([$t->worker_pids()], \@workers, 'no worker died');
is(http_get('/')->{body}, "index\n", 'traffic goes on');
ok(wait_for(sub { descriptors() <= $before + 2 }, 15),
   'no connection is left open')
    or diag(descriptors() . " of $before");
is(scalar(glob($t->dir() . '/kept/.tmp*') // 0), 0, 'no file either');
unlike($t->error_log(), qr/header already sent|http output chain is empty/,
       'log');

done_testing();
