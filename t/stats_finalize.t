#!/usr/bin/perl

# A filter that finalizes a request, for a 412, for what is no image, for a
# bad document, clears all that modules hang on it, while the upstream goes
# on; the round under way is booked all the same.
#
# It looked like this: "worker process 1234 exited on signal 11" at each
# request with "If-Match: x" for a proxied answer that may be cached.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ sleep /;

use lib "$FindBin::Bin/lib";
use Debug::Nginx;

my $t = Debug::Nginx->new();
my $plain = Debug::Nginx->new(module => 0);


# Where a filter is no part of nginx, it may be a module beside it.

my $modules = '';
my ($path) = run_cmd([$t->binary(), '-V'])->{err} =~ /--modules-path=(\S+)/;

sub filter {
    my ($name) = @_;

    return 1 if $t->has(qr/--with-http_${name}_module(?!=dynamic)/);

    $name =~ s/_filter//;

    my $file = ($path // '') . "/ngx_http_${name}_filter_module.so";
    return 0 unless -e $file;

    $modules .= "load_module $file;\n";
    return 1;
}

my $image = filter('image_filter');
my $xslt = filter('xslt');


# -- backends: an answer that may be cached, in each protocol

my @may = ('Content-Type' => 'text/xml', 'ETag' => '"x"',
           'Last-Modified' => 'Mon, 23 Nov 2026 10:00:00 GMT',
           'Cache-Control' => 'max-age=60');
my $head = join '', map { "$may[2 * $_]: $may[2 * $_ + 1]\r\n" } 0 .. 3;

sub take {
    my ($s, $n) = @_;
    my $buf = '';

    while (length $buf < $n) {
        sysread($s, $buf, $n - length $buf, length $buf) or return;
    }

    return $buf;
}

sub fastcgi {
    my $c = $_[1];

    while (defined(my $record = take($c->{sock}, 8))) {
        my (undef, $type, $id, $len, $pad) = unpack 'CCnnCx', $record;
        take($c->{sock}, $len + $pad) if $len + $pad;

        next unless $type == 5 && $len == 0;

        my $out = "Status: 200 OK\r\n$head\r\nf";
        $c->send(pack('CCnnCx', 1, 6, $id, length $out, 0) . $out
                 . pack('CCnnCx', 1, 6, $id, 0, 0)
                 . pack('CCnnCxNCx3', 1, 3, $id, 8, 0, 0, 0));
        last;
    }

    $c->close();
}

sub uwsgi {
    my $c = $_[1];
    my (undef, $len) = unpack 'CvC', take($c->{sock}, 4) // return;

    take($c->{sock}, $len);
    $c->send("HTTP/1.1 200 OK\r\n$head\r\nu");
    $c->close();
}

sub scgi {
    my $c = $_[1];
    my $len = '';

    while (defined(my $ch = take($c->{sock}, 1))) {
        last if $ch eq ':';
        $len .= $ch;
    }

    take($c->{sock}, $len + 1) if $len;
    $c->send("Status: 200 OK\r\n$head\r\ns");
    $c->close();
}

sub memcached {
    my $c = $_[1];
    my $line = '';

    while (defined(my $ch = take($c->{sock}, 1))) {
        $line .= $ch;
        last if $ch eq "\n";
    }

    $c->send("VALUE $1 0 5\r\nhello\r\nEND\r\n")
        if $line =~ /^get (\S+)/;
    $c->close();
}

my %b = (
    http => backend(sub { $_[1]->reply(200, 'not <xml>', @may) }),
    slow => backend(sub {
        my ($req, $c) = @_;
        $c->send("HTTP/1.1 200 OK\r\n${head}Content-Length: 100000\r\n\r\n");
        for (1 .. 10) {
            $c->send('x' x 10_000);
            $c->delay(0.05);
        }
    }),
    direct => backend(sub { $_[1]->reply(200, 'not <xml>', @may) }),
    var => backend(sub { $_[1]->reply(200, 'not <xml>', @may) }),
    hang => backend(Debug::Backend::hang()),
    ssi => backend(sub {
        my ($what) = $_[0]{uri} =~ m!^/ssi/(\w+)!;
        $_[1]->reply(200, "a<!--#include virtual=\"/$what/http\" -->b",
                     'Content-Type' => 'text/html');
    }),
    xaccel => backend(sub {
        $_[1]->reply(200, '', 'X-Accel-Redirect' => '/cached/http');
    }),
    range => backend(sub {
        my ($req, $c) = @_;
        my ($from, $to) = ($req->{headers}{range} // '')
                          =~ /bytes=(\d+)-(\d+)/;
        return $c->reply(200, 'x' x 2500, @may) unless defined $from;
        $to = 2499 if $to > 2499;
        $c->reply(206, 'x' x ($to - $from + 1), @may,
                  'Content-Range' => "bytes $from-$to/2500");
    }),
    other => backend(Debug::Backend::answer(200, 'other')),
    fcgi => backend(\&fastcgi, raw => 1),
    uwsgi => backend(\&uwsgi, raw => 1),
    scgi => backend(\&scgi, raw => 1),
    memd => backend(\&memcached, raw => 1),
);

my %at = map { $_ => $b{$_}->addr() } keys %b;
my $refused = '127.0.0.1:' . free_port();

my $upstreams = join '', map { "    upstream $_ { server $at{$_}; }\n" }
                             sort keys %at;

my $auth = $t->has(qr/http_auth_request_module/);
my $slice = $t->has(qr/http_slice_module/);
my $grpc = $t->has(qr/http_v2_module/);

my $more = '';

$more .= <<'EOC' if $auth;
        location /auth/ {
            auth_request /cached/other;
            proxy_cache one;
            proxy_cache_key $request_id;
            proxy_pass http://http;
        }
EOC

$more .= <<'EOC' if $slice;
        location /slice/ {
            slice 1000;
            proxy_set_header Range $slice_range;
            proxy_cache one;
            proxy_cache_key $request_id$slice_range;
            proxy_cache_valid 200 206 1h;
            proxy_pass http://range;
        }
EOC

$more .= <<"EOC" if $image;
        location /image/ {
            image_filter test;
            location /image/http { proxy_pass http://http; }
            location /image/slow { proxy_pass http://slow; }
            location /image/var {
                set \$to $at{var};
                proxy_pass http://\$to;
            }
            location /image/fcgi { fastcgi_pass fcgi; }
            location /image/uwsgi { uwsgi_pass uwsgi; }
            location /image/scgi { scgi_pass scgi; }
            location /image/memd {
                set \$memcached_key key;
                memcached_pass memd;
            }
            location /image/stored {
                proxy_store %%DIR%%/stored;
                proxy_pass http://slow;
            }
            location /image/ignored {
                proxy_ignore_client_abort on;
                proxy_buffering off;
                proxy_pass http://slow;
            }
            location /image/named {
                error_page 415 = \@other;
                proxy_pass http://http;
            }
        }
EOC

$more .= <<'EOC' if $image && $grpc;
        location /image_grpc {
            image_filter test;
            grpc_pass grpc://grpcs;
        }
EOC

$more .= <<"EOC" if $xslt;
        location /xslt/ {
            xslt_stylesheet %%DIR%%/x.xslt;
            location /xslt/http { proxy_pass http://http; }
            location /xslt/fcgi { fastcgi_pass fcgi; }
            location /xslt/named {
                error_page 500 = \@other;
                proxy_pass http://http;
            }
        }
EOC

my $grpc_server = $grpc ? <<'EOC' : '';
    upstream grpcs { server 127.0.0.1:%%PORT_1%%; }
    server {
        listen 127.0.0.1:%%PORT_1%% http2;
        server_name grpcs;
        return 200 "text";
    }
EOC

$grpc_server =~ s/ http2;/;\n        http2 on;/
    if $grpc && ($t->version() =~ /^1\.(\d+)/)[0] > 25;

my $conf = <<"EOC";
%%TEST_GLOBALS%%
$modules
worker_processes 1;
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    proxy_cache_path %%DIR%%/cache keys_zone=one:1m;
    fastcgi_cache_path %%DIR%%/fcache keys_zone=f:1m;
    uwsgi_cache_path %%DIR%%/ucache keys_zone=u:1m;
    scgi_cache_path %%DIR%%/scache keys_zone=s:1m;
$upstreams
$grpc_server
    server {
        listen 127.0.0.1:%%PORT_0%%;
        server_name main;
        location /debug/ { debug; }
        location /cached/ {
            proxy_cache one;
            proxy_cache_key \$request_id;
            location /cached/http { proxy_pass http://http; }
            location /cached/other { proxy_pass http://other; }
            location /cached/slow { proxy_pass http://slow; }
            location /cached/direct { proxy_pass http://$at{direct}; }
            location /cached/var {
                set \$to $at{var};
                proxy_pass http://\$to;
            }
            location /cached/var_group {
                set \$to http;
                proxy_pass http://\$to;
            }
            location /cached/named {
                error_page 412 = \@other;
                proxy_pass http://http;
            }
            location /cached/twice {
                error_page 412 = \@twice;
                proxy_pass http://http;
            }
            location /cached/page {
                error_page 412 /page;
                proxy_pass http://http;
            }
            location /cached/var_page {
                set \$to $at{var};
                error_page 412 /var_other;
                proxy_pass http://\$to;
            }
            location /cached/refused {
                error_page 412 /refused;
                proxy_pass http://http;
            }
            location /cached/debug {
                error_page 412 = /debug/\$arg_to;
                proxy_pass http://http;
            }
            location /cached/text {
                error_page 412 = \@text;
                proxy_pass http://http;
            }
            location /cached/mirrored {
                mirror /hang;
                proxy_pass http://http;
            }
        }
        location = /hang { proxy_pass http://hang; }
        location /cached_fcgi {
            fastcgi_cache f;
            fastcgi_cache_key \$request_id;
            fastcgi_pass fcgi;
        }
        location /cached_uwsgi {
            uwsgi_cache u;
            uwsgi_cache_key \$request_id;
            uwsgi_pass uwsgi;
        }
        location /cached_scgi {
            scgi_cache s;
            scgi_cache_key \$request_id;
            scgi_pass scgi;
        }
        location \@other { proxy_pass http://other; }
        location \@twice {
            proxy_cache one;
            proxy_cache_key \$request_id;
            proxy_pass http://http;
        }
        location \@text { return 200 "text"; }
        location /page { proxy_pass http://other; }
        location /refused { proxy_pass http://$refused; }
        location /var_other {
            set \$to $at{direct};
            proxy_pass http://\$to;
        }
        location /xaccel { proxy_pass http://xaccel; }
        location /ssi { ssi on; proxy_pass http://ssi; }
$more
    }
}
EOC

# a filter that gives a request up says so
$t->allow(qr/xmlParse|xsl/i, 'a bad document is what is asked for');

write_file($t->dir() . '/x.xslt', <<'EOF');
<xsl:stylesheet xmlns:xsl="http://www.w3.org/1999/XSL/Transform"
                version="1.0"><xsl:template match="/"/></xsl:stylesheet>
EOF

$t->run($conf);

$conf =~ s/^ *location .debug. \{ debug; \}\n//m;
write_file($plain->dir() . '/x.xslt', read_file($t->dir() . '/x.xslt'));

# what is asked of it is asked of the other one, too
$plain->allow(qr/./, 'an nginx without the module');
$plain->run($conf);


# -- what is new since the last look

sub stats {
    return decode_json(http_get('/debug/stats', port => $t->port(0))->{body});
}

sub rows {
    my $s = stats();
    my %row;

    for my $g (keys %{ $s->{upstreams} }) {
        my $u = $s->{upstreams}{$g};
        # a group that is given by an address
        my ($name) = map { "\@$_" } grep { $at{$_} eq $g } keys %at;
        $name //= $g;

        $row{$name} = {
            %{ $u->{total_status_code_count} },
            (map { ("fail.$_" => $u->{failures}{$_}) }
             keys %{ $u->{failures} }),
            map { $_ => $u->{$_} // 0 }
                qw/ tries retries truncated active /
        };
    }

    return \%row;
}

sub moved {
    my ($before) = @_;
    my $now = rows();
    my @line;

    for my $name (sort keys %$now) {
        my @diff = map { "$_=" . ($now->{$name}{$_}
                                  - ($before->{$name}{$_} // 0)) }
                   grep { $now->{$name}{$_}
                          != ($before->{$name}{$_} // 0) }
                   sort keys %{ $now->{$name} };

        push @line, "$name: @diff" if @diff;
    }

    return join '; ', @line;
}

# Asks for PATH: what is booked then is EXPECTED, and the client gets what
# it gets of an nginx without the module.

sub booked {
    my ($name, $expected, $path, %o) = @_;
    my $before = rows();
    my @ask = ($path, headers => { 'If-Match' => '"y"' }, %o);
    my $r = http_get(@ask, port => $t->port(0));
    my $same = http_get(@ask, port => $plain->port(0));
    my $got;

    wait_for(sub { ($got = moved($before)) eq $expected }, 3);

    is($got, $expected, "$name: booked");
    is("$r->{status} $r->{body}", "$same->{status} $same->{body}",
       "$name: the client's answer");

    return $r;
}


# -- 412, before the header

my @since = (headers =>
                { 'If-Unmodified-Since' => 'Mon, 23 Nov 2020 10:00:00 GMT' });

booked('If-Match', 'http: 200=1 tries=1', '/cached/http');
booked('If-Unmodified-Since', 'http: 200=1 tries=1', '/cached/http',
       @since);
booked('host and port', '@direct: 200=1 tries=1', '/cached/direct');
booked('a variable host', '@var: 200=1 tries=1', '/cached/var');
booked('a group by a variable', 'http: 200=1 tries=1',
       '/cached/var_group');
booked('an answer under way', 'slow: 200=1 tries=1', '/cached/slow');
booked('fastcgi', 'fcgi: 200=1 tries=1', '/cached_fcgi');
booked('uwsgi', 'uwsgi: 200=1 tries=1', '/cached_uwsgi');
booked('scgi', 'scgi: 200=1 tries=1', '/cached_scgi');

# -- and what is put in its place

booked('to a named location',
       'http: 200=1 tries=1; other: 200=1 tries=1', '/cached/named');
booked('to the same peer once more', 'http: 200=2 tries=2',
       '/cached/twice');
booked('to another upstream',
       'http: 200=1 tries=1; other: 200=1 tries=1', '/cached/page');
booked('from a variable host to another',
       '@direct: 200=1 tries=1; @var: 200=1 tries=1',
       '/cached/var_page');
booked('to a peer that is dead',
       "$refused: fail.connect=1 tries=1; http: 200=1 tries=1",
       '/cached/refused');
booked('to a text of nginx', 'http: 200=1 tries=1', '/cached/text');
booked('with a mirror', 'hang: fail.abort=1 tries=1; http: 200=1 tries=1',
       '/cached/mirrored');
booked('X-Accel-Redirect',
       'http: 200=1 tries=1; xaccel: 200=1 tries=1', '/xaccel');

SKIP: {
    skip 'no auth_request', 2 unless $auth;

    booked('auth_request', 'http: 200=1 tries=1; other: 200=1 tries=1',
           '/auth/');
}

SKIP: {
    skip 'no slice', 2 unless $slice;

    booked('slice', 'range: 206=1 tries=1', '/slice/');
}

booked('HEAD', 'http: 200=1 tries=1', '/cached/http', method => 'HEAD');

# to routes of ours, which the other one has not

for my $path (qw{ stats pprof/ pprof/view charts/data }) {
    my $before = rows();
    my $got;

    http_get("/cached/debug?to=$path", headers => { 'If-Match' => '"y"' },
             port => $t->port(0));
    wait_for(sub { ($got = moved($before)) eq 'http: 200=1 tries=1' }, 3);
    is($got, 'http: 200=1 tries=1', "to /debug/$path: booked");
}

# -- 415 and 500, in the middle of the body

SKIP: {
    skip 'no image_filter', 26 unless $image;

    for my $p (qw/ http fcgi uwsgi scgi memd /) {
        booked("no image, $p", "$p: 200=1 tries=1", "/image/$p",
               headers => {});
    }

    booked('no image, a variable host', '@var: 200=1 tries=1',
           '/image/var', headers => {});
    booked('no image, under way', 'slow: 200=1 tries=1', '/image/slow',
           headers => {});
    booked('no image, to be stored', 'slow: 200=1 tries=1',
           '/image/stored', headers => {});
    booked('no image, unbuffered', 'slow: 200=1 tries=1',
           '/image/ignored', headers => {});
    booked('no image, to a named location',
           'http: 200=1 tries=1; other: 200=1 tries=1', '/image/named',
           headers => {});

    SKIP: {
        skip 'no gRPC', 2 unless $grpc;
        booked('no image, gRPC', 'grpcs: 200=1 tries=1', '/image_grpc',
               headers => {});
    }

    SKIP: {
        skip 'no xslt', 4 unless $xslt;
        for my $filter (qw/ image xslt /) {
            booked("in a sub-request, $filter",
                   'http: 200=1 tries=1; ssi: 200=1 tries=1', "/ssi/$filter",
                   headers => {});
        }
    }
}

SKIP: {
    skip 'no xslt', 6 unless $xslt;

    booked('a bad document', 'http: 200=1 tries=1', '/xslt/http',
           headers => {});
    booked('a bad document, fastcgi', 'fcgi: 200=1 tries=1',
           '/xslt/fcgi', headers => {});
    booked('a bad document, to a named location',
           'http: 200=1 tries=1; other: 200=1 tries=1', '/xslt/named',
           headers => {});
}

# -- clients that leave meanwhile

my $before = rows();

for my $path ('/cached/slow', $image ? '/image/slow' : (),
              $image ? '/image/ignored' : ())
{
    http_get($path, headers => { 'If-Match' => '"y"' }, abort => $_ / 50,
             port => $t->port(0))
        for 1 .. 5;
}

wait_for(sub { !grep { $_->{active} } values %{ rows() } }, 5);
my $now = rows();

is($now->{slow}{active}, 0, 'nothing stays under way');
is($now->{slow}{'fail.lost'}, 0, 'nothing is lost');
my %new = map { $_ => $now->{slow}{$_} - ($before->{slow}{$_} // 0) }
              keys %{ $now->{slow} };
my $ends = 0;
$ends += $new{$_} for grep { /^\d|^fail/ } keys %new;

is($new{tries}, $ends, 'clients that leave: each try is booked once');
cmp_ok($new{tries}, '<=', $image ? 15 : 5, 'and none that was not');

# -- the worker is still the first one

unlike($t->error_log(), qr/exited on signal/, 'no worker died');

done_testing();
