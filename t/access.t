#!/usr/bin/perl

# Who may ask: this machine and not whoever a proxy on it speaks for, nor a
# page of somebody else's in a browser on it.

use strict;
use warnings;

use Test::More;

use Debug::Nginx;

need_bin('curl');

my $t = Debug::Nginx->new();
my $app = backend(Debug::Backend::answer(200, 'fine', 'X-Pprof-Pid' => 7));
my $A = $app->addr();

my $six = IO::Socket::INET->can('new') && -e '/proc/net/if_inet6'
          && read_file('/proc/net/if_inet6') =~ /^0{31}1 /m;
my $realip = $t->has(qr/--with-http_realip_module/);
my $h2 = $t->has(qr!nginx/1\.(?:[0-9]|1[0-9]|2[0-4])\.!)
         ? 'listen 127.0.0.1:%%PORT_4%% http2;'
         : 'listen 127.0.0.1:%%PORT_4%%; http2 on;';

my $listen6 = $six ? 'listen [::1]:%%PORT_1%%; listen [::]:%%PORT_5%%'
                     . ' ipv6only=off;' : '';
my $resolved = !$realip ? '' : <<'EOC';
    server {
        listen 127.0.0.1:%%PORT_3%%;
        listen unix:%%DIR%%/resolved.sock;
        set_real_ip_from 127.0.0.1;
        set_real_ip_from unix:;
        real_ip_header X-Forwarded-For;
        location /debug/ { debug; }
        location /ten/ { debug; debug_access 10.0.0.0/8; }
        location /recursive/ { debug; real_ip_recursive on; }
    }

    server {
        listen 127.0.0.1:%%PORT_6%% proxy_protocol;
        set_real_ip_from 127.0.0.1;
        real_ip_header proxy_protocol;
        location /debug/ { debug; }
        location /ten/ { debug; debug_access 10.0.0.0/8; }
    }
EOC

$t->write_conf(<<"EOC")->run();
%%TEST_GLOBALS%%
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    underscores_in_headers on;
    server_names_hash_bucket_size 128;

    upstream acs { server $A; }

    server {
        listen 127.0.0.1:%%PORT_0%% default_server;
        $listen6
        listen unix:%%DIR%%/plain.sock;
        $h2
        server_name _;
        location / { }
        location /debug/ { debug; }
        location /all/ { debug; debug_access all; }
        location /named/ { debug; debug_access 127.0.0.0/8; }
        location /both/ { debug; debug_access loopback 10.0.0.0/8; }
        location /ten/ { debug; debug_access 10.0.0.0/8; }
        location /unix/ { debug; debug_access unix:; }
        location /legacy/ { debug legacy; }

        location = /page { ssi on; ssi_types *; default_type text/plain; }
    }

    server {
        listen 127.0.0.1:%%PORT_0%%;
        server_name Own.Example.com .two.example *.three.example
                    four.example.*  ~^app\\d+\\.five\\.example\$;
        location /debug/ { debug; }
    }

    server {
        listen 127.0.0.1:%%PORT_7%%;
        server_name "~^(?<any>.+)\$" "";
        location /debug/ { debug; }
    }

    server {
        listen 127.0.0.1:%%PORT_2%% proxy_protocol;
        location /debug/ { debug; }
        location /all/ { debug; debug_access all; }
        location /ten/ { debug; debug_access 10.0.0.0/8; }
        location /named/ { debug; debug_access 127.0.0.0/8; }
    }

    $resolved
}
EOC

my $u = '/debug/stats';

sub asks {
    my ($want, $name, $path, %o) = @_;
    my $r = ref $path ? $path : http_get($path, %o);

    if ($want eq 'yes') {
        is($r->{status}, 200, $name) or diag($r->{body});
        return;
    }

    subtest $name => sub {
        is($r->{status}, 403, 'status');
        like($r->{body}, qr/\A[^\n]+\n\z/, 'one sentence');
        like($r->{body}, $want, 'that says what to do');
        like($r->{headers}{'content-type'}, qr!^text/plain!, 'plain');
        is($r->{headers}{'x-go-pprof'}, 1, 'X-Go-Pprof');
    };
}

my $proxied = qr/passed on by a proxy.*ask nginx directly, or name/;
my $host = qr/neither an IP address nor localhost nor a server_name.*add it/;
my $source = qr/not among whom it lets in.*127\.0\.0\.1 or.*name the address/;

# by which name nginx is asked

my $port = $t->port(0);

asks('yes', "Host: $_", $u, headers => { Host => $_ })
    for 'localhost', 'LOCALHOST', "localhost:$port", 'localhost.',
        "LocalHost.:$port", '127.0.0.1', "127.0.0.1:$port", '127.9.8.7',
        '10.1.2.3', '[::1]', "[::1]:$port", '[::ffff:127.0.0.1]';

asks($host, "Host: $_", $u, headers => { Host => $_ })
    for 'evil.example', "evil.example:$port", 'localhost.evil.example',
        '127.0.0.1.evil.example', 'xlocalhost', 'localhos', '127.1',
        '2130706433', '0x7f000001', '[evil]', 'evil.localhost';

asks('yes', 'HTTP/1.0 without Host', $u, version => '1.0',
     headers => { Host => undef });
asks($host, 'HTTP/1.0 with one', $u, version => '1.0',
     headers => { Host => 'evil.example' });

asks($host, 'absolute URI', "http://evil.example$u",
     headers => { Host => '127.0.0.1' });
asks('yes', 'absolute URI of ours', "http://127.0.0.1:$port$u",
     headers => { Host => '127.0.0.1' });

# server names

asks('yes', "server_name $_", $u, headers => { Host => $_ })
    for qw/ own.example.com OWN.example.com own.example.com.
            own.example.com:8080 two.example a.two.example a.b.two.example
            a.three.example four.example.com app1.five.example /;

asks($host, "no server_name: $_", $u, headers => { Host => $_ })
    for qw/ xtwo.example three.example xthree.example app.five.example
            app1.five.example.evil evil.own.example.com /;

asks($host, 'a regex that takes any name is none', $u, port => $t->port(7),
     headers => { Host => 'evil.example' });
asks('yes', 'and takes no other away', $u, port => $t->port(7));

# what the configuration was read with is gone, here and after a reload

ok($t->reload(), 'reload');
asks('yes', 'server_name, after a reload', $u,
     headers => { Host => 'a.three.example' });
asks($host, 'and another', $u, headers => { Host => 'evil.example' });

# legacy trees, pages, profiles: the same door

asks($host, $_, $_, headers => { Host => 'evil.example' })
    for '/debug/', '/debug/pprof/', '/debug/pprof/heap', '/debug/metrics',
        '/debug/charts/', '/debug/assets/app.js', '/legacy/heap',
        '/debug/pprof/kept/';
is($app->count(), 0, 'no peer was asked');

# who says that he may be asked by anybody

asks('yes', 'all', '/all/stats', headers => { Host => 'evil.example',
     Via => '1.1 x', 'X-Forwarded-For' => '203.0.113.1' });
asks('yes', 'loopback, named', '/named/stats',
     headers => { Host => 'evil.example' });

# a proxy passed it on

for my $h (qw/ Via X-Forwarded-For Forwarded X-Real-IP X-Forwarded-Host
               X-Forwarded-Proto X-Forwarded-Server X-Forwarded
               Forwarded-For True-Client-IP Fastly-Client-IP Fly-Client-IP
               X-Client-IP Client-IP X-Cluster-Client-IP X-Azure-ClientIP
               CF-Connecting-IP CF-Connecting-IPv6 CF-Ray CF-Visitor CDN-Loop
               X-Original-Forwarded-For X-Envoy-External-Address
               X-Envoy-Attempt-Count X-Envoy-Expected-Rq-Timeout-Ms
               X-ARR-SSL X-Varnish Ali-CDN-Real-IP
               Tailscale-User-Login x_forwarded_for X_Real_IP via /)
{
    asks($proxied, $h, $u, headers => { $h => '127.0.0.1' });
    asks($proxied, "$h, and more", '/both/stats',
         headers => { $h => '10.0.0.1' });
}

asks('yes', $_, $u, headers => { $_ => 'x' })
    for qw/ Viable X-Real-IPs Forward CF User-Agent Referer X-Request-Id
            X-Prometheus-Scrape-Timeout-Seconds Accept /,
        # tracing, which a client on this machine has a right to
        qw/ Traceparent Tracestate Baggage X-Amzn-Trace-Id B3 X-B3-TraceId
            X-Cloud-Trace-Context Uber-Trace-Id X-Datadog-Trace-Id
            Sentry-Trace X-Envoy-Force-Trace X-Correlation-Id /;

# unix domain sockets, IPv6

my $sock = $t->dir() . '/plain.sock';
asks('yes', 'unix', $u, unix => $sock, headers => { Host => 'whatever' });
asks($proxied, 'unix, passed on', $u, unix => $sock,
     headers => { 'X-Forwarded-For' => '127.0.0.1' });
asks('yes', 'unix: is named', '/unix/stats', unix => $sock);
asks(qr/not among whom it lets in$/, 'unix: is named, and no address',
     '/unix/stats');
asks(qr/unix: is not among whom it lets in$/, 'an address, and not unix:',
     '/ten/stats', unix => $sock);

SKIP: {
    skip 'no IPv6 here', 4 unless $six;

    my $curl = sub {
        my $r = run_cmd(['curl', '-sg', '-o', '/dev/null', '-w',
                         '%{http_code}', @_]);
        return $r->{out};
    };

    is($curl->("http://[::1]:@{[ $t->port(1) ]}$u"), 200, '::1');
    is($curl->("http://127.0.0.1:@{[ $t->port(5) ]}$u"), 200,
       '::ffff:127.0.0.1');
    is($curl->('-H', 'Host: evil.example',
               "http://[::1]:@{[ $t->port(1) ]}$u"), 403, '::1 by another name');
    is($curl->('-H', 'Via: 1.1 x', "http://127.0.0.1:@{[ $t->port(5) ]}$u"),
       403, '::ffff:127.0.0.1 for somebody else');
}

# HTTP/2, by its authority

SKIP: {
    skip 'no HTTP/2 in this curl', 3
        unless run_cmd(['curl', '-V'])->{out} =~ /HTTP2/;

    my $curl = sub {
        my $r = run_cmd(['curl', '-s', '--http2-prior-knowledge', '-o',
                         '/dev/null', '-w', '%{http_code} %{http_version}',
                         @_, 'http://127.0.0.1:' . $t->port(4) . $u]);
        return $r->{out};
    };

    is($curl->(), '200 2', 'HTTP/2');
    is($curl->('-H', 'Host: evil.example'), '403 2', 'HTTP/2, :authority');
    is($curl->('-H', 'Via: 2 x'), '403 2', 'HTTP/2, via');
}

# the PROXY protocol names who asks

sub told {
    my ($line, $path, %h) = @_;
    my %all = (Host => 'localhost', Connection => 'close', %h);
    my $n = $line =~ /\A\r\n\r\n\0/ ? '' : "\r\n";

    return http_request($line . $n . "GET $path HTTP/1.1\r\n"
                        . join('', map { "$_: $all{$_}\r\n" } sort keys %all)
                        . "\r\n", port => $t->port($h{port} // 2));
}

sub v1 { "PROXY TCP4 $_[0] 127.0.0.1 4711 80" }

my $v2 = "\r\n\r\n\0\r\nQUIT\n";
my $v2_local = $v2 . "\x20\x00\x00\x00";
my $v2_of = sub { $v2 . "\x21\x11" . pack('n', 12)
                  . join('', map { pack 'C4', split /\./ } @_)
                  . pack('nn', 4711, 80) };

asks($source, 'PROXY, a stranger', told(v1('203.0.113.1'), $u));
asks($source, 'PROXY, a stranger by IPv6',
     told('PROXY TCP6 2001:db8::1 ::1 4711 80', $u));
asks($source, 'PROXY, version 2', told($v2_of->('203.0.113.1', '127.0.0.1'),
                                       $u));
asks('yes', 'PROXY, this machine', told(v1('127.0.0.1'), $u));
asks('yes', 'PROXY, this machine by IPv6',
     told('PROXY TCP6 ::1 ::1 4711 80', $u));
asks('yes', 'PROXY, version 2, this machine',
     told($v2_of->('127.0.0.1', '127.0.0.1'), $u));
asks(qr/does not say who asks; ask nginx/, 'PROXY, nobody knows',
     told('PROXY UNKNOWN', $u));
asks(qr/does not say who asks; ask nginx/, 'PROXY, version 2, nobody said',
     told($v2_local, $u));
asks($host, 'PROXY, this machine by another name',
     told(v1('127.0.0.1'), $u, Host => 'evil.example'));
asks($proxied, 'PROXY, this machine, and passed on',
     told(v1('127.0.0.1'), $u, 'X-Forwarded-For' => '127.0.0.1'));
asks('yes', 'PROXY, all', told(v1('203.0.113.1'), '/all/stats'));
asks('yes', 'PROXY, named', told(v1('10.1.2.3'), '/ten/stats'));
asks(qr/203\.0\.113\.1 is not among/, 'PROXY, not named',
     told(v1('203.0.113.1'), '/ten/stats'));
asks(qr/203\.0\.113\.1 is not among/, 'PROXY, its proxy is named',
     told(v1('203.0.113.1'), '/named/stats'));

# real_ip_header says whom a proxy is to be believed

SKIP: {
    skip 'no realip module', 14 unless $realip;

    my %from = (port => $t->port(3));

    asks('yes', 'real_ip: this machine', $u, %from,
         headers => { 'X-Forwarded-For' => '127.0.0.1' });
    asks('yes', 'real_ip: this machine, with more of it', $u, %from,
         headers => { 'X-Forwarded-For' => '::1, 127.0.0.1', Via => '1.1 x',
                      'X-Forwarded-Proto' => 'https',
                      Forwarded => 'for="[::1]:4711";proto=http' });
    asks($source, 'real_ip: a stranger', $u, %from,
         headers => { 'X-Forwarded-For' => '203.0.113.1' });
    asks($proxied, 'real_ip: a stranger behind two proxies', $u, %from,
         headers => { 'X-Forwarded-For' => '203.0.113.1, 127.0.0.1' });
    asks($proxied, "real_ip: a stranger in $_->[0]", $u, %from,
         headers => { 'X-Forwarded-For' => '127.0.0.1', @$_ })
        for ['X-Real-IP', '203.0.113.1'], ['CF-Connecting-IP', '203.0.113.1'],
            ['Forwarded', 'for=203.0.113.1'], ['Forwarded', 'proto=http'],
            ['Forwarded', 'for=127.0.0.1, for=unknown'];
    asks($proxied, 'real_ip: a proxy that it does not know', $u, %from,
         headers => { Via => '1.1 x' });
    asks('yes', 'real_ip: nobody between', $u, %from);
    asks($host, 'real_ip: this machine by another name', $u, %from,
         headers => { 'X-Forwarded-For' => '127.0.0.1',
                      Host => 'evil.example' });
    asks('yes', 'real_ip: named', '/ten/stats', %from,
         headers => { 'X-Forwarded-For' => '10.1.2.3' });
    asks('yes', 'real_ip: unix', $u, unix => $t->dir() . '/resolved.sock',
         headers => { 'X-Forwarded-For' => '127.0.0.1' });
    asks($source, 'real_ip: unix, a stranger', $u,
         unix => $t->dir() . '/resolved.sock',
         headers => { 'X-Forwarded-For' => '203.0.113.1' });

    asks('yes', 'real_ip, PROXY: this machine',
         told(v1('127.0.0.1'), $u, port => 6));
    asks($source, 'real_ip, PROXY: a stranger',
         told(v1('203.0.113.1'), $u, port => 6));
    asks('yes', 'real_ip, PROXY: named',
         told(v1('10.1.2.3'), '/ten/stats', port => 6));
}

# sub-requests come through the same door

$t->write('html/page', '[<!--#include virtual="/debug/stats" -->]');
like(http_get('/page')->{body}, qr/^\[.*"total_count"/s, 'a page of ours');
unlike(http_get('/page', headers => { Host => 'evil.example' })->{body},
       qr/total_count/, 'a page of ours for somebody else');

# what costs a peer something is not for another site's page

my @costs = ('/debug/pprof/heap', '/debug/pprof/acs/0/symbol',
             '/debug/pprof/acs/0/cmdline', '/legacy/heap',
             '/debug/charts/acs/0/data');
my $site = qr/another site's page asks/;

$app->clear();

for my $path (@costs) {
    asks($site, "$path, Sec-Fetch-Site: $_", $path,
         headers => { 'Sec-Fetch-Site' => $_ })
        for qw/ cross-site same-site other /, '';
    asks($site, "$path, Origin: $_", $path, headers => { Origin => $_ })
        for 'http://evil.example', 'null', 'http://localhost:1', 'localhost',
            'http://localhost.evil.example';
}

asks($site, 'Sec-Fetch-Site before Origin', $costs[0],
     headers => { 'Sec-Fetch-Site' => 'cross-site',
                  Origin => 'http://localhost' });
is($app->count(), 0, 'no peer was asked');

for my $path (@costs) {
    asks('yes', "$path, nothing said", $path);
    asks('yes', "$path, Sec-Fetch-Site: $_", $path,
         headers => { 'Sec-Fetch-Site' => $_ })
        for qw/ same-origin none Same-Origin /;
    asks('yes', "$path, own Origin", $path,
         headers => { Origin => 'http://localhost' });
}

asks('yes', 'own Origin, with its port', $costs[0],
     headers => { Origin => "http://LOCALHOST:$port",
                  Host => "localhost:$port" });

# the page is shown, and asks nobody

$app->clear();
is(http_get('/debug/pprof/', headers => { 'Sec-Fetch-Site' => $_ })->{status},
   200, "page, Sec-Fetch-Site: $_") for qw/ cross-site same-site /;
is(http_get('/debug/pprof/', headers => { Origin => 'http://evil.example' })
       ->{status}, 200, 'page, Origin');
is($app->count(), 0, 'and no peer was asked');

done_testing();
