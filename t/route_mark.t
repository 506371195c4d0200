#!/usr/bin/perl

# debug_route: each request that nginx sends to a peer carries its route and
# an id, in front of whatever a client calls by the same name; whatever the
# location does to the request, and in each protocol.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ sleep time /;

use lib "$FindBin::Bin/lib";
use Debug::Nginx;

my $t = Debug::Nginx->new();
my $h2 = $t->has(qr/http_v2_module/);
my $v2proxy = $t->has(qr/nginx.1\.(29\.[4-9]|[3-9]\d\.)/);

# what a peer was sent, as the answer
my $echo = sub {
    my ($req, $c) = @_;
    $c->reply(200, $req->{raw} . $req->{body}, 'Connection' => 'keep-alive');
};

my $b = backend($echo);
my $bad = backend(sub { $_[1]->close() });
my $accel = backend(sub {
    $_[1]->reply(200, $_[0]{raw}, 'X-Accel-Redirect' => '/inner/x');
});

# bytes as they come, until they stop; each connection one request
sub collect {
    my ($c, $enough) = @_;
    my $all = '';
    my $end = time() + 10;

    while (time() < $end) {
        my $rv = '';
        vec($rv, fileno $c->{sock}, 1) = 1;
        next unless select $rv, undef, undef, 0.1;
        sysread $c->{sock}, $all, 65536, length $all or last;
        last if $enough->($all);
    }

    return $all;
}

sub http_answer {
    my ($body) = @_;
    return "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n$body";
}

my $uwsgi = backend(sub {
    my ($req, $c) = @_;
    my $all = collect($c, sub {
        length $_[0] >= 4 && length $_[0] >= 4 + unpack 'x v', $_[0] });
    my $pairs = substr $all, 4, unpack 'x v', $all;
    my @got;

    while (length $pairs) {
        my ($k, $v) = unpack 'v/a v/a', $pairs;
        push @got, "$k=$v";
        substr $pairs, 0, 4 + length($k) + length($v), '';
    }

    $c->send(http_answer(join("\n", @got) . "\n"
                         . substr $all, 4 + unpack 'x v', $all));
    $c->close();
}, raw => 1);

my $scgi = backend(sub {
    my ($req, $c) = @_;
    my $all = collect($c, sub {
        $_[0] =~ /^(\d+):/ && length $_[0] > length($1) + 1 + $1 });
    my ($size) = $all =~ /^(\d+):/;
    my $head = substr $all, length($size) + 1, $size;
    my $rest = substr $all, length($size) + 1 + $size;

    $c->send(http_answer(join("\n", 'ends with ' . substr($rest, 0, 1),
                              map { "$_" } split /\0/, $head)
                         . "\n" . substr $rest, 1));
    $c->close();
}, raw => 1);

my $fcgi = backend(sub {
    my ($req, $c) = @_;
    my ($params, $body, $records) = ('', '', '');
    my $parse = sub {
        my ($all) = @_;
        my $at = 0;
        ($params, $body, $records) = ('', '', '');

        while ($at + 8 <= length $all) {
            my (undef, $type, undef, $len, $pad) = unpack 'C C n n C',
                substr $all, $at, 8;
            last if $at + 8 + $len + $pad > length $all;
            my $data = substr $all, $at + 8, $len;
            $records .= "$type:$len ";
            $params .= $data if $type == 4;
            $body .= $data if $type == 5;
            $at += 8 + $len + $pad;
            return 1 if $type == 5 && $len == 0;
        }

        return 0;
    };

    $parse->(collect($c, $parse));

    my @got;
    my $size = sub {
        my $n = unpack 'C', $params;
        substr $params, 0, 1, '' if $n < 128;
        $n = unpack('N', substr $params, 0, 4, '') & 0x7fffffff if $n >= 128;
        return $n;
    };

    while (length $params) {
        my ($k, $v) = ($size->(), $size->());
        push @got, substr($params, 0, $k, '') . '='
                   . substr $params, 0, $v, '';
    }

    my $out = "Content-Type: text/plain\r\n\r\n"
              . join("\n", @got) . "\nrecords $records\n$body";

    $c->send(pack('C C n n C C', 1, 6, 1, length, 0, 0) . $_)
        for unpack '(a60000)*', $out;
    $c->send(pack('C C n n C C', 1, 6, 1, 0, 0, 0)
             . pack('C C n n C C a8', 1, 3, 1, 8, 0, 0, "\0" x 8));
    $c->close();
}, raw => 1);

# what gRPC sent: the names and values of literals at the end of the header
my $grpc = backend(sub {
    my ($req, $c) = @_;
    my $all = collect($c, sub { $_[0] =~ /x-debug-route/ });

    $c->note(sent => unpack 'H*', $all);
    $c->close();
}, raw => 1);

my ($addr, $bad_addr) = ($b->addr(), $bad->addr());

my $grpc_conf = $h2 ? <<"EOC" : '';
        location /grpc/ { grpc_pass grpc://grpcs; grpc_set_header TE ""; }
        location /grpcraw/ { grpc_pass @{[ $grpc->addr() ]}; }
        location /grpcoff/ { debug_route off;
                             grpc_pass @{[ $grpc->addr() ]}; }
EOC

my $h2_listen = $t->has(qr/nginx.1\.(2[5-9]|[3-9]\d)\./)
                ? "listen 127.0.0.1:%%PORT_1%%; http2 on;"
                : "listen 127.0.0.1:%%PORT_1%% http2;";
my $h2_server = $h2 ? <<"EOC" : '';
    upstream grpcs { server 127.0.0.1:%%PORT_1%%; keepalive 4; }
    server {
        $h2_listen
        location / {
            return 200 "\$http_x_debug_route|\$connection_requests";
        }
    }
EOC

my $v2_conf = $v2proxy ? <<"EOC" : '';
        location /v2/ { proxy_http_version 2; proxy_pass http://grpcs; }
EOC

my $conf = <<"EOC";
%%TEST_GLOBALS%%
worker_processes 1;
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    log_format id '\$uri \$debug_route \$debug_id';
    access_log ids.log id;
    proxy_cache_path cache keys_zone=c:1m;
    debug_route on;

    upstream one { server $addr; }
    upstream kept { server $addr; keepalive 2; }
    upstream two { server $bad_addr max_fails=0; server $addr backup; }
$h2_server
    server {
        listen 127.0.0.1:%%PORT_0%%;
        large_client_header_buffers 4 64k;
        location / { proxy_pass http://one; }
        location = /exact { proxy_pass http://one; }
        location ~ "^/re(x|,|;)" { proxy_pass http://one; }
        location /named/ { try_files /nowhere \@name; }
        location \@name { proxy_pass http://one; }
        location /given/ {
            debug_route "a route";
            proxy_pass http://one;
            location /given/inner/ { proxy_pass http://one; }
            location /given/on/ { debug_route on; proxy_pass http://one; }
        }
        location /off/ { debug_route off; proxy_pass http://one; }
        location /offbare/ {
            debug_route off;
            proxy_set_header Host "";
            proxy_set_header Connection "";
            proxy_pass http://one;
        }
        location /show/ { debug_route on show; proxy_pass http://one; }
        location /if/ {
            if (\$arg_x) { proxy_pass http://one; }
            proxy_pass http://one;
        }
        location /limit/ {
            limit_except GET { proxy_pass http://one; }
            proxy_pass http://one;
        }
        location /very/long/name/of/a/location/that/has/more/than/48/bytes/ {
            proxy_pass http://one;
        }

        location /kept/ {
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_pass http://kept;
        }
        location /retry/ { proxy_pass http://two; }
        location /cache/ {
            proxy_cache c;
            proxy_cache_valid 1m;
            proxy_pass http://one;
        }
        location /unbuffered/ {
            proxy_request_buffering off;
            proxy_http_version 1.1;
            proxy_pass http://one;
        }
        location /set/ {
            proxy_set_header X-Debug-Route "an operator's";
            proxy_set_header Host "";
            proxy_set_header Connection "";
            proxy_pass http://one;
        }
        location /bare/ {
            proxy_set_header Host "";
            proxy_set_header Connection "";
            proxy_pass_request_headers off;
            proxy_pass http://one;
        }
        location /body/ { proxy_set_body "own \$uri"; proxy_pass http://one; }
        location /var/ { proxy_pass http://\$arg_to; }
        location /varbind/ {
            proxy_bind 127.0.0.1\$arg_none;
            proxy_pass http://\$arg_to;
        }
        location /varoff/ {
            debug_record off;
            proxy_set_header X-Host "<\$debug_host>";
            proxy_pass http://\$arg_to;
        }
        location /norecord/ { debug_record off; proxy_pass http://one; }
        location /early/ {
            proxy_set_header X-Early \$debug_id;
            proxy_pass http://one;
        }
        location /accel/ { proxy_pass @{[ 'http://' . $accel->addr() ]}; }
        location /inner/ { internal; proxy_pass http://one; }
        location /auth/ {
            auth_request /authsub;
            auth_request_set \$sub \$upstream_http_x_sub;
            proxy_set_header X-Sub \$sub;
            proxy_pass http://one;
        }
        location /authsub {
            internal;
            proxy_pass @{[ 'http://' . backend(sub {
                $_[1]->reply(200, '', 'X-Sub' =>
                    (split /\r\n/, $_[0]{raw})[1] =~ s/^.*: //r); })->addr()
            ]};
        }

        location /fcgi/ {
            fastcgi_pass @{[ $fcgi->addr() ]};
            fastcgi_param REQUEST_METHOD \$request_method;
            fastcgi_param CONTENT_LENGTH \$content_length;
        }
        location /uwsgi/ {
            uwsgi_pass @{[ $uwsgi->addr() ]};
            uwsgi_param REQUEST_METHOD \$request_method;
            uwsgi_param CONTENT_LENGTH \$content_length;
        }
        location /uwsgibig/ {
            uwsgi_pass @{[ $uwsgi->addr() ]};
            uwsgi_param X \$arg_big\$arg_big;
        }
        location /scgi/ {
            scgi_pass @{[ $scgi->addr() ]};
            scgi_param REQUEST_METHOD \$request_method;
        }
$grpc_conf
$v2_conf
        location /debug/ { debug; }
    }
}
EOC

$t->run($conf);

my $MARK = qr/^\S+ \S+ HTTP\/1\.[01]\r\nX-Debug-Route: ([^;\r\n]*);([0-9a-f]{8})\r\n/;

# What a peer of PATH was told: route, id, and all of it.
sub mark {
    my ($path, %o) = @_;
    my $r = http_get($path, %o);

    my ($route, $id) = $r->{body} =~ $MARK;
    my $n = () = $r->{body} =~ /^X-Debug-Route:/mgi;

    return { route => $route // "none: $r->{status} $r->{body}", id => $id,
             n => $n, body => $r->{body}, r => $r };
}

# -- names

for (['/x', '/'], ['/exact', '=/exact'], ['/rex', '~^/re(x|_|_)'],
     ['/named/x', '@name'], ['/given/x', 'a route'],
     ['/given/inner/x', 'a route'], ['/given/on/x', '/given/on/'],
     ['/if/', '/if/'], ['/if/?x=1', '/if/'], ['/limit/', '/limit/'],
     ['/very/long/name/of/a/location/that/has/more/than/48/bytes/',
      '/very/long/name/of/a/location/that/has/more/than'])
{
    my ($path, $route) = @$_;
    is(mark($path)->{route}, $route, "$path: $route");
}

is(mark('/limit/', method => 'POST', body => 'x')->{route}, '/limit/',
   'limit_except is part of its location');
isnt(mark('/')->{id}, mark('/')->{id}, 'each request has an id of its own');

# -- who marks nothing

is(mark('/off/x')->{n}, 0, 'off: no mark');

# a client's own

my $own = { 'X-Debug-Route' => 'forged;00000001' };

my $m = mark('/x', headers => $own);
is($m->{route}, '/', "a client's own: ours is first");
is($m->{n}, 2, '... and his stays');

$m = mark('/offbare/x', headers => { %$own, Host => 'a' });
is($m->{route}, '', 'where nothing is marked, the first one is empty');
is($m->{id}, '00000000', '... and has no id');

$m = mark('/offbare/x', headers => { 'x-debug-ROUTE' => 'f;00000001',
                                     map { ("H$_" => 1) } 1 .. 40 });
is($m->{route}, '', 'whatever its case, and however many there are');

# -- what locations do

$m = mark('/set/x', headers => $own);
is($m->{route}, '/set/', 'proxy_set_header');
like($m->{body}, qr/an operator's/, "... and the operator's is there");

$m = mark('/bare/x', headers => $own);
is($m->{route}, '/bare/', 'proxy_pass_request_headers off');
is($m->{n}, 1, "... and no client's");

$m = mark('/body/x', method => 'POST', body => 'what a client sent');
is($m->{route}, '/body/', 'proxy_set_body');
like($m->{body}, qr!\r\n\r\nown /body/x\z!, '... which comes whole');

my $big = join '', map { sprintf '%07d ', $_ } 1 .. 40000;

for my $where (qw! /x /unbuffered/ !) {
    $m = mark($where, method => 'POST', body => $big, version => '1.1');
    is($m->{route}, $where eq '/x' ? '/' : $where, "$where: 320 KB of body");
    ok($m->{body} =~ /\r\n\r\n\Q$big\E\z/ ? 1 : 0, '... which come whole');

    my $chunks = join '', map { sprintf "%x\r\n%s\r\n", length $_, $_ }
                          unpack '(a10000)*', $big;
    my $r = http_request("POST $where HTTP/1.1\r\nHost: x\r\nConnection: close"
                         . "\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}0"
                         . "\r\n\r\n");
    like($r->{body}, $MARK, "$where: chunked");
    ok($r->{body} =~ /\r\n\r\n\Q$big\E\z/ ? 1 : 0, '... whole');
}

# a client that is slow with it

my $r = http_request(["POST /unbuffered/ HTTP/1.1\r\nHost: x\r\n"
                      . "Connection: close\r\nContent-Length: 6\r\n\r\nabc",
                      \0.3, 'def']);
like($r->{body}, qr/\A[^\r]*\r\nX-Debug-Route: .*\r\n\r\nabcdef\z/s,
     'a body in pieces');

for my $n (1 .. 3) {
    is(mark('/kept/x')->{route}, '/kept/', "keepalive, $n");
}

is(mark('/x', version => '1.0')->{route}, '/', 'HTTP/1.0');

my @retried;
$m = mark('/retry/x', method => 'PUT', body => 'abc');
is($m->{route}, '/retry/', 'a retry');
is($m->{n}, 1, '... has one mark');
like($m->{body}, qr/\r\n\r\nabc\z/, '... and its body');
@retried = grep { defined $_->{method} } $bad->received();
like($retried[-1]{raw} // '', qr/^X-Debug-Route: \Q\/retry\/;$m->{id}\E\r$/m,
     '... and the id of the first try');

my $miss = mark('/cache/x');
is($miss->{route}, '/cache/', 'a cache that has nothing');
is(mark('/cache/x')->{id}, $miss->{id}, '... and one that has it: no other');

# a name that variables make

$m = mark("/var/x?to=$addr");
is($m->{route}, '/var/', 'a variable host');
is($m->{n}, 1, '... once');
is(mark('/var/x?to=one')->{n}, 1, 'a group that a variable names: once');
is(mark("/varbind/x?to=$addr")->{n}, 1, 'with proxy_bind');
$m = mark("/varoff/x?to=$addr", method => 'POST', body => "a\nb\n");
is($m->{route}, '/varoff/', 'not recorded');
is($m->{n}, 1, '... where our variable is written elsewhere, too');
like($m->{body}, qr/\r\n\r\na\nb\n\z/, '... the body is as it was');
is(mark('/norecord/x')->{route}, '/norecord/', 'debug_record off');

# -- several rounds

$m = mark('/accel/x');
is($m->{route}, '/inner/', 'X-Accel-Redirect: the last location');
my ($first) = map { $_->{raw} =~ $MARK ? "$1 $2" : () } $accel->received();
is($first, "/accel/ $m->{id}", '... and one id');

$m = mark('/auth/x');
is($m->{route}, '/auth/', 'auth_request');
like($m->{body}, qr!^X-Sub: /authsub;\Q$m->{id}\E\r!m,
     '... has its own route and the same id');

# -- variables and the answer

$m = mark('/early/x');
like($m->{body}, qr/^X-Early: \Q$m->{id}\E\r$/m,
     '$debug_id is known before the mark is made');

ok(!defined mark('/x')->{r}{headers}{'x-debug-id'}, 'clients are told nothing');
$m = mark('/show/x');
is($m->{route}, '/show/', 'show');
is($m->{r}{headers}{'x-debug-id'}, $m->{id}, '... tells the id');

$m = mark('/given/logged');
ok(wait_for(sub {
    $t->read('ids.log') =~ m!^/given/logged a route \Q$m->{id}\E$!m
}), '$debug_route and $debug_id in a log');
mark('/off/logged');
ok(wait_for(sub { $t->read('ids.log') =~ m!^/off/logged - !m }),
   '... where there is none');

# -- other protocols

$r = http_get('/fcgi/x', method => 'POST', body => 'abc', headers => $own);
like($r->{body}, qr!\ADEBUG_ROUTE=/fcgi/;[0-9a-f]{8}\nREQUEST_METHOD=POST\n!,
     'fastcgi: the first parameter');
like($r->{body}, qr/records 1:8 4:28 4:.*\nabc\z/,
     '... in a record of its own; the body is as it was');
like($r->{body}, qr/^HTTP_X_DEBUG_ROUTE=forged/m,
     "... and a client's has another name");
$r = http_get('/fcgi/x', method => 'POST', body => $big);
ok($r->{body} =~ /^DEBUG_ROUTE=.*\Q$big\E\z/s ? 1 : 0,
   'fastcgi: a big body');

$r = http_get('/uwsgi/x', method => 'POST', body => 'abc');
like($r->{body}, qr!\ADEBUG_ROUTE=/uwsgi/;[0-9a-f]{8}\nREQUEST_METHOD=POST\n!,
     'uwsgi: the first pair');
like($r->{body}, qr/\nabc\z/, '... and the body is as it was');
$r = http_get('/uwsgibig/?big=' . 'x' x 32735);
is($r->{status}, 200, 'uwsgi: no room for another pair');
unlike($r->{body}, qr/DEBUG_ROUTE/, '... then there is none');

$r = http_get('/scgi/x', method => 'POST', body => 'abc');
like($r->{body}, qr!\Aends\ with\ ,\nCONTENT_LENGTH\n3\nDEBUG_ROUTE\n/scgi/;
                    [0-9a-f]{8}\nREQUEST_METHOD\n!x, 'scgi: behind the length');
like($r->{body}, qr/\nabc\z/, '... and the body is as it was');

SKIP: {
    skip 'no HTTP/2', 9 unless $h2;

    for my $n (1 .. 3) {
        $r = http_get('/grpc/x', method => 'POST', body => 'abc');
        like($r->{body}, qr!^/grpc/;[0-9a-f]{8}\|!, "grpc, $n");
    }

    like($r->{body}, qr/\|3$/, 'grpc: on one connection');

    my $name = unpack 'H*', "x-debug-route";
    my $sent = sub {
        my ($path, %o) = @_;
        my $n = $grpc->count() + $grpc->received();
        http_get($path, %o, timeout => 5);
        return (map { $_->{sent} // () } $grpc->received())[-1] // '';
    };

    my $all = wait_for(sub { $sent->('/grpcraw/x', headers => $own) }) // '';
    my $value = unpack 'H*', '/grpcraw/;';
    like($all, qr/000d${name}12$value(?:3[0-9]|6[1-6]){8}/, 'grpc: a literal');

    # the frame ends with it
    my $bytes = pack 'H*', $all;
    my $at = 24;
    my $tail = '';
    while ($at + 9 <= length $bytes) {
        my ($hi, $lo, $type, $flags) = unpack 'C n C C', substr $bytes, $at, 9;
        my $len = $hi << 16 | $lo;
        $tail = substr $bytes, $at + 9, $len if $type == 1 || $type == 9;
        $at += 9 + $len;
    }
    like($tail, qr!/grpcraw/;[0-9a-f]{8}\z!, 'grpc: the last of the header');

    $all = wait_for(sub {
        my $x = $sent->('/grpcoff/x', headers => $own);
        $x =~ /2f67727063726177/ ? '' : $x;
    }) // '';
    like($all, qr/000d${name}09(?:3b)(?:30){8}/,
         "grpc: where nothing is marked, a client's is not the last");

    skip 'no HTTP/2 to peers', 2 unless $v2proxy;

    $r = http_get('/v2/x', method => 'POST', body => 'abc');
    like($r->{body}, qr!^/v2/;[0-9a-f]{8}\|!, 'proxy_http_version 2');
    $r = http_get('/v2/x');
    like($r->{body}, qr!^/v2/;[0-9a-f]{8}\|!, '... again');
}

# -- reload

$t->write_conf($conf =~ s/debug_route on;\n\n/debug_route all;\n\n/r);
$t->reload();
is(mark('/x')->{route}, 'all', 'a reload brings another name');
is(mark('/exact')->{route}, 'all', '... inherited');

$t->stop();

done_testing();
