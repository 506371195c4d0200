#!/usr/bin/perl

# /debug/pprof/: which peer is asked, what it is asked, what comes back.

use strict;
use warnings;

use Test::More;

use Debug::Nginx;

my $t = Debug::Nginx->new();

sub peer {
    my ($name) = @_;

    return backend(sub {
        my ($req, $c) = @_;

        $c->reply(200, "$name $req->{method} $req->{uri} $req->{body}",
                  'Content-Type' => 'application/octet-stream',
                  'Content-Disposition' => 'attachment; filename="x"',
                  'X-Pprof-Pid' => $name, 'Set-Cookie' => 'a=b', 'ETag' => '"1"',
                  'Cache-Control' => 'max-age=60', 'Server' => 'peer',
                  'Last-Modified' => 'Mon, 01 Jan 2024 00:00:00 GMT');
    }, @_[1 .. $#_]);
}

my ($a, $b, $u) = (peer('a'), peer('b'), peer('u', unix => 1));
my $listener = peer('listener', unix => 1);
my $raw = peer('raw');

$t->write_conf(<<"EOC")->run();
%%TEST_GLOBALS%%
worker_processes 2;
events { }
http {
    %%TEST_GLOBALS_HTTP%%

    log_format debug '\$debug_upstream|\$debug_peer|\$debug_kind|\$debug_seconds'
                     '|\$upstream_addr|\$upstream_status|\$status';
    access_log %%DIR%%/debug.log debug;

    upstream acs {
        server @{[ $a->addr() ]};
        server @{[ $b->addr() ]};
        server @{[ $a->addr() ]};
        server 127.0.0.1:1 down;
    }

    upstream "sl/ash" { server @{[ $u->addr() ]}; }
    upstream heap { server @{[ $b->addr() ]} backup; server @{[ $a->addr() ]}; }
    upstream first_down { server 127.0.0.1:1 down; server @{[ $b->addr() ]}; }
    upstream own { server @{[ $a->addr() ]}; }
    upstream listeners { server @{[ $listener->addr() ]}; }

    server {
        listen 127.0.0.1:%%PORT_0%%;

        location / { proxy_pass http://acs; }
        location /raw { proxy_pass http://@{[ $raw->addr() ]}; }

        location /debug/ { debug; }
        location /app1/debug/ { debug pprof; }
        location /pprof/ { debug legacy; }
        location /bare { debug pprof; }
        location /down/ { debug pprof; debug_pprof_pass first_down; }
        location /own/ {
            debug pprof;
            debug_pprof_pass own listeners;
            debug_pprof_pass acs;
        }
        location /kinds/ { debug pprof; debug_pprof_kinds heap fgprof; }
        location /if/ { debug pprof; if (\$arg_x) { set \$y 1; } }
        location /limit/ { debug pprof; limit_except GET { allow all; } }
    }
}
EOC

my $p = '/debug/pprof';
my ($A, $B) = ($a->addr(), $b->addr());
my $r;

# whose it is

$r = http_get("$p/heap?gc=1");
is($r->{status}, 200, 'default peer');
is($r->{body}, 'a GET /debug/pprof/heap?gc=1 ', 'first peer, query as it was');
is($r->{headers}{'x-debug-upstream'}, 'acs', 'X-Debug-Upstream');
is($r->{headers}{'x-debug-peer'}, $A, 'X-Debug-Peer');

is(http_get("$p/heap")->{body}, 'a GET /debug/pprof/heap ', 'same peer')
    for 1 .. 4;

is(http_get("$p/acs/$B/heap")->{headers}{'x-pprof-pid'}, 'b', 'peer by address');
is(http_get("$p/acs/0/heap")->{headers}{'x-pprof-pid'}, 'a', 'peer by number');
is(http_get("$p/acs/1/heap")->{headers}{'x-pprof-pid'}, 'b', 'second number');
is(http_get("$p/acs/2/heap")->{headers}{'x-debug-peer'}, '127.0.0.1:1',
   'an address that is listed twice is one peer');
is(http_get("$p/acs/3/heap")->{status}, 404, 'and there is no fourth');

my $unix = $u->addr();
is(http_get("$p/sl/ash/$unix/heap")->{headers}{'x-pprof-pid'}, 'u',
   'slashes in group and unix socket');
is(http_get("$p/sl%2fash/" . ($unix =~ s!/!%2F!gr) . '/heap')
   ->{headers}{'x-pprof-pid'}, 'u', 'the same escaped');
is(http_get("$p/sl/ash/0/heap")->{headers}{'x-pprof-pid'}, 'u', 'by number');

is(http_get("$p/heap/$A/allocs")->{headers}{'x-pprof-pid'}, 'a',
   'a group with a name of a kind');
is(http_get("$p/heap/1/allocs")->{headers}{'x-pprof-pid'}, 'b', 'backup comes last');
is(http_get("$p/" . $raw->addr() . '/0/heap')->{headers}{'x-pprof-pid'}, 'raw',
   'a group that proxy_pass made');

is(http_get('/down/pprof/heap')->{headers}{'x-pprof-pid'}, 'b',
   'default peer is not one that is down');
is(http_get('/own/pprof/heap')->{headers}{'x-pprof-pid'}, 'listener',
   'listeners of another group');
is(http_get('/own/pprof/heap')->{headers}{'x-debug-peer'}, $A,
   'under the name of the peer');
is(http_get("/own/pprof/acs/1/heap")->{headers}{'x-pprof-pid'}, 'b',
   'second debug_pprof_pass');
is(http_get('/own/pprof/heap/0/heap')->{status}, 404,
   'other groups are not there');

# where it is asked for

is(http_get('/pprof/heap')->{body}, 'a GET /pprof/heap ', 'legacy tree');
is(http_get('/pprof/acs/1/growth')->{body}, 'b GET /pprof/growth ',
   'legacy tree, chosen peer');
is(http_get('/app1/debug/pprof/heap')->{body}, 'a GET /debug/pprof/heap ',
   'below a prefix');
is(http_get('/bare/pprof/heap')->{status}, 200, 'location without a slash');
is(http_get("/kinds/pprof/fgprof")->{body}, 'a GET /debug/pprof/fgprof ',
   'a kind of its own');
is(http_get("/if/pprof/heap?x=1")->{status}, 200, 'in an "if"');
is(http_get("/limit/pprof/symbol", method => 'POST', body => '0x1')->{body},
   'a POST /debug/pprof/symbol 0x1', 'in a "limit_except"');

# what is passed on

$a->clear();
$r = http_get("$p/heap", headers => {
    'Cookie' => 's=1', 'Authorization' => 'Basic eDp5', 'Range' => 'bytes=0-3',
    'If-None-Match' => '"1"', 'Accept-Encoding' => 'gzip', 'X-Other' => 1,
    'User-Agent' => 'Go-http-client/1.1', 'Connection' => 'close',
});
is($r->{status}, 200, 'no ranges, always the whole');
is($r->{body}, 'a GET /debug/pprof/heap ', 'body of it');

my $h = ($a->received())[0]{headers};
is($h->{$_}, undef, "$_ is not passed on")
    for qw/ cookie authorization range if-none-match x-other /;
is($h->{'accept-encoding'}, 'gzip', 'Accept-Encoding');
is($h->{'user-agent'}, 'Go-http-client/1.1', 'User-Agent');
is($h->{'x-forwarded-for'}, '127.0.0.1', 'X-Forwarded-For');
is($h->{host}, $A, 'Host');
is($h->{connection}, 'close', 'Connection');

$h = $r->{headers};
is($h->{'content-disposition'}, 'attachment; filename="x"', 'own header');
is($h->{'content-type'}, 'application/octet-stream', 'type');
is($h->{'content-length'}, length $r->{body}, 'length');
is($h->{'cache-control'}, 'no-store', 'no-store');
is($h->{'x-content-type-options'}, 'nosniff', 'nosniff');
is($h->{$_}, undef, "no $_")
    for qw/ set-cookie etag last-modified accept-ranges /;
like($h->{server}, qr/nginx|Angie/, "nginx's own Server");
is((grep { lc $_->[0] eq 'date' } @{ $r->{header_list} }), 1, 'one Date');

# HEAD

$a->clear();
$r = http_get("$p/profile?seconds=20", method => 'HEAD');
is($r->{status}, 200, 'HEAD');
is($r->{headers}{'content-type'}, 'application/octet-stream', 'HEAD, type');
is($r->{headers}{'x-debug-peer'}, $A, 'HEAD, peer');
is(join(' ', map { "$_->{method} $_->{uri}" } $a->received()),
   'HEAD /debug/pprof/cmdline', 'HEAD starts nothing, and looks who is there');
is(http_get("$p/profile?seconds=900", method => 'HEAD')->{status}, 400,
   'HEAD of what GET would refuse');
$a->clear();

$r = http_get("$p/symbol", method => 'HEAD');
is($r->{status}, 200, 'HEAD of symbol');
is($r->{body}, '', 'HEAD of symbol, no body');
is(($a->received())[0]{method}, 'HEAD', 'HEAD of symbol is asked');

# POST

my $addr = join '+', map { sprintf '0x%016x', $_ * 4096 } 1 .. 4000;

$r = http_get("$p/symbol", method => 'POST', body => $addr,
              headers => { 'Content-Type' => 'application/x-www-form-urlencoded' });
is($r->{status}, 200, 'POST of 76 KB');
is($r->{body}, "a POST /debug/pprof/symbol $addr", 'all of it');
is(($a->received())[-1]{headers}{'content-type'},
   'application/x-www-form-urlencoded', 'its type');

my $s = http_open();
$r = http_request([
    "POST $p/symbol HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    . "Transfer-Encoding: chunked\r\n\r\n5\r\n0x123", \0.05,
    "\r\n4\r\n+0x4\r\n", \0.05, "0\r\n\r\n"], sock => $s);
is($r->{body}, 'a POST /debug/pprof/symbol 0x123+0x4', 'POST in chunks');
is(($a->received())[-1]{headers}{'content-length'}, 9, 'with a length');

$r = http_get("$p/symbol", method => 'POST', body => '0x1',
              headers => { Expect => '100-continue' });
is($r->{body}, 'a POST /debug/pprof/symbol 0x1', 'Expect: 100-continue');

$r = http_get("$p/symbol", method => 'POST', body => 'x' x (8 * 1024 * 1024 + 1),
              timeout => 20);
is($r->{status}, 413, 'POST of more than 8 MB');
like($r->{body}, qr/^too many addresses.*\n\z/, 'in a sentence');

my $tmp = $t->dir() . '/tmp/client_body';
is(scalar(grep { -f } glob("$tmp/*")), 0, 'no body in a file');
unlike($t->error_log(), qr/temporary file/, 'nor was there one');

# the log says who profiled what

$s = $t->read('debug.log');
like($s, qr/^acs\|\Q$A\E\|heap\|-\|\Q$A\E\|200\|200$/m, 'access log');
like($s, qr/^acs\|\Q$A\E\|profile\|20\|\Q$A\E\|200\|200$/m, 'access log, HEAD');

# requests here are in no statistics of the peer

my $json = decode_json(http_get('/debug/stats')->{body});
is($json->{total_count}, 0, 'no debug request counts')
    or diag(explain($json->{total_status_code_count}));

# pages

$r = http_get("$p/");
is($r->{status}, 200, 'index');
like($r->{headers}{'content-type'}, qr!^text/html!, 'index, type');
like($r->{body}, qr!href="\./acs/\Q$A\E/profile"!, 'index, relative link');
like($r->{body}, qr!href="\./sl/ash/\Q$unix\E/heap"!, 'index, unix');
unlike($r->{body}, qr!(?:href|src)="(?:/|http)!, 'index, nothing absolute');

$r = http_get("$p/acs/");
like($r->{body}, qr!href="\./\Q$B\E/heap"!, 'page of a group');

$r = http_get("$p/acs/1/");
like($r->{body}, qr!href="\./heap"!, 'page of a peer');
is(() = $r->{body} =~ /href="\.\/heap"/g, 1, 'of that one only');

$r = http_get("$p/acs/1?a=b");
is($r->{status}, 302, 'no slash');
is($r->{headers}{location}, './1/?a=b', 'relative redirect');

$r = http_get('/kinds/pprof/');
like($r->{body}, qr!/fgprof"!, 'index has the kinds of debug_pprof_kinds');
unlike($r->{body}, qr!/goroutine"!, 'and no other');

# two requests in a row, on one connection

$r = http_get("$p/heap", keepalive => 1);
ok($r->{sock}, 'connection is kept');
$r = http_get("$p/acs/1/heap", sock => $r->{sock});
is($r->{headers}{'x-pprof-pid'}, 'b', 'and serves another');

done_testing();
