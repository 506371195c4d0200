#!/usr/bin/perl

# What a peer's answer does to nginx's site: nothing.  The headers that pass
# are those that say what the answer is; what a browser shows of it runs no
# script, and is no part of the site.

use strict;
use warnings;

use Test::More;

use FindBin;
use lib "$FindBin::Bin/lib";
use Debug::Nginx;

need_bin('curl', 'openssl');

my $t = Debug::Nginx->new();

# of each a value that would do something

my %hostile = (
    'Set-Cookie' => 'session=stolen; Path=/',
    'Set-Cookie2' => 'a=b',
    'Clear-Site-Data' => '"*"',
    'Strict-Transport-Security' => 'max-age=31536000; includeSubDomains',
    'Public-Key-Pins' => 'pin-sha256="x"; max-age=1',
    'Expect-CT' => 'max-age=1, enforce',
    'Access-Control-Allow-Origin' => '*',
    'Access-Control-Allow-Credentials' => 'true',
    'Access-Control-Expose-Headers' => '*',
    'Timing-Allow-Origin' => '*',
    'Cross-Origin-Resource-Policy' => 'cross-origin',
    'Cross-Origin-Opener-Policy' => 'unsafe-none',
    'Alt-Svc' => 'h3="evil.example:443"; ma=86400',
    'Refresh' => '0; url=http://evil.example/',
    'Link' => '<http://evil.example/x.js>; rel=preload; as=script',
    'Location' => 'http://evil.example/',
    'Content-Location' => 'http://evil.example/',
    'WWW-Authenticate' => 'Basic realm="your password, please"',
    'Proxy-Authenticate' => 'Basic realm="and this one"',
    'Authentication-Info' => 'x',
    'Service-Worker-Allowed' => '/',
    'SourceMap' => 'http://evil.example/map',
    'Report-To' => '{"endpoints":[{"url":"https://evil.example/"}]}',
    'Reporting-Endpoints' => 'x="https://evil.example/"',
    'NEL' => '{"report_to":"x","max_age":1}',
    'Accept-CH' => 'DPR',
    'Permissions-Policy' => 'camera=*',
    'Referrer-Policy' => 'unsafe-url',
    'Content-Security-Policy' => "script-src 'unsafe-inline'",
    'Content-Security-Policy-Report-Only' => 'default-src *',
    'X-Frame-Options' => 'ALLOWALL',
    'X-XSS-Protection' => '0',
    'X-DNS-Prefetch-Control' => 'on',
    'X-Content-Type-Options' => 'sniff',
    'X-Robots-Tag' => 'all',
    'X-Accel-Redirect' => '/',
    'X-Accel-Buffering' => 'yes',
    'X-Sendfile' => '/etc/passwd',
    'X-Debug-Peer' => 'another',
    'X-Debug-Upstream' => 'another',
    'Speculation-Rules' => '"/rules"',
    'Set-Login' => 'logged-in',
    'Origin-Trial' => 'x',
    'Cache-Control' => 'public, max-age=31536000',
    'Expires' => 'Thu, 31 Dec 2037 23:55:55 GMT',
    'ETag' => '"x"',
    'Age' => '1',
    'Vary' => '*',
    'Server' => 'evil',
    'Upgrade' => 'h2c',
    'Keep-Alive' => 'timeout=9999',
    'Trailer' => 'X',
    'Via' => '1.1 evil',
    'X-Own' => 'x',
);

my %good = (
    'Content-Type' => 'text/html; charset=utf-8',
    'Content-Disposition' => 'attachment; filename="profile"',
    'Content-Encoding' => 'identity',
    'Retry-After' => 7,
    'X-Go-Pprof' => 1,
    'X-Pprof-Pid' => 4711,
    'X-Pprof-Build-Id' => 'abc',
);

my $page = '<!doctype html><script>document.title = "ran"</script>';

my $peer = backend(sub {
    my ($req, $c) = @_;
    my ($status) = $req->{uri} =~ /[?&]status=(\d+)/;

    $c->delay($1) or return if $req->{uri} =~ /seconds=(\d+)/;

    return $c->send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
                    . "X-Pprof-Pid: 1\r\nContent-Type: text/plain\r\n"
                    . "Content-Type: text/html\r\n"
                    . "content-type: text/xml\r\n\r\nhi")
        if $req->{uri} =~ /twice/;

    $c->reply($status // 200, $page, %good, %hostile);
});

my $made = run_cmd([qw/ openssl req -x509 -newkey rsa:2048 -nodes -days 3
                        -keyout key.pem -out cert.pem -subj \/CN=localhost /],
                   cwd => $t->dir());
die $made->{err} if $made->{exit};

my $h2 = $t->has(qr!nginx/1\.(?:[0-9]|1[0-9]|2[0-4])\.!)
         ? 'listen 127.0.0.1:%%PORT_1%% ssl http2;'
         : 'listen 127.0.0.1:%%PORT_1%% ssl; http2 on;';

$t->write_conf(<<"EOC")->run();
%%TEST_GLOBALS%%
worker_processes 2;
events { }
http {
    %%TEST_GLOBALS_HTTP%%

    debug_snapshots path=%%DIR%%/kept every=1h;

    upstream acs { server @{[ $peer->addr() ]}; }

    server {
        listen 127.0.0.1:%%PORT_0%% reuseport;
        $h2
        ssl_certificate %%DIR%%/cert.pem;
        ssl_certificate_key %%DIR%%/key.pem;

        location / { proxy_pass http://acs; }
        location /debug/ { debug; debug_pprof_busy share; debug_pprof_max 9; }
        location /early/ { debug; debug_pprof_keepalive 200ms; }
        location /legacy/ { debug legacy; }
    }
}
EOC

# what nginx itself says, with what the peer may not

my %own = (
    'cache-control' => 'no-store',
    'x-content-type-options' => 'nosniff',
    'content-security-policy' => 'sandbox',
    'x-debug-peer' => $peer->addr(),
    'x-debug-upstream' => 'acs',
);

sub harmless {
    my ($h, $name, %o) = @_;

    subtest $name => sub {
        for my $key (sort keys %hostile) {
            next if defined $own{lc $key};

            my $v = $h->{lc $key};
            ok(!defined $v || $v ne $hostile{$key}, "no $key");
        }

        is($h->{$_}, $own{$_}, $_) for sort keys %own;
        is($h->{lc $_}, $good{$_}, $_) for @{ $o{good} // [] };
    };
}

my @good = sort keys %good;

harmless(http_get($_)->{headers}, $_, good => \@good)
    for '/debug/pprof/heap', '/debug/pprof/acs/0/profile?seconds=0',
        '/debug/pprof/cmdline', '/debug/pprof/symbol', '/legacy/heap',
        '/debug/charts/acs/0/data', '/debug/pprof/heap?status=503',
        '/debug/pprof/heap?status=401', '/debug/pprof/heap?status=404';

harmless(http_get('/debug/pprof/symbol', method => 'POST', body => '0x1')
             ->{headers}, 'POST symbol', good => \@good);

# over HTTP/2

my $r = run_cmd(['curl', '-sik', '--http2', 'https://127.0.0.1:'
                 . $t->port(1) . '/debug/pprof/heap']);
my %h2 = map { /^([^:]+): (.*?)\r?$/ ? (lc $1 => $2) : () }
         split /\n/, $r->{out};
harmless(\%h2, 'HTTP/2', good => \@good);

# a header before the answer

$r = http_get('/early/pprof/profile?seconds=1', timeout => 20);
harmless($r->{headers}, 'debug_pprof_keepalive');
is($r->{headers}{'content-type'}, 'application/octet-stream', 'its type');

# who joined gets the same

my @pid = map {
    my $pid = fork() // die;

    if ($pid == 0) {
        my $r = http_get('/debug/pprof/profile?seconds=2', timeout => 20);
        write_file($t->dir() . "/joined$_", encode_json($r->{headers}));
        POSIX::_exit(0);
    }

    $pid;
} 1 .. 3;

waitpid $_, 0 for @pid;
harmless(decode_json($t->read("joined$_")), "shared, $_", good => \@good)
    for 1 .. 3;

# an answer that is elsewhere is none

for my $status (300 .. 304, 307, 308) {
    $r = http_get("/debug/pprof/heap?status=$status");
    is($r->{status}, 502, "a $status");
    like($r->{body}, qr/has no profile at .* \(it answered $status\)/,
         'in a sentence');
    is($r->{headers}{location}, undef, 'and nowhere to go');
}

# of two alike the first

$r = http_get('/debug/pprof/heap?twice');
is($r->{headers}{'content-type'}, 'text/plain', 'one type');

# a snapshot is a peer's too

$peer->stop();
my $gz = backend(Debug::Backend::answer(200, "\x1f\x8bx", %hostile,
                 'Content-Type' => 'text/html', 'X-Go-Pprof' => 1),
                 port => $peer->port());

$r = http_get('/debug/pprof/kept/', method => 'POST',
              body => 'group=acs&peer=0&kind=heap');
is($r->{status}, 201, 'kept');
$r = http_get("/debug/pprof/kept/$r->{headers}{location}");
is($r->{headers}{'content-security-policy'}, 'sandbox', 'a snapshot, sandbox');
is($r->{headers}{'content-type'}, 'application/octet-stream', 'its type');

done_testing();
