#!/usr/bin/perl

# Every way that a request can take through nginx, and where each of its
# tries is booked: at which peer and group, with which status or cause.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ sleep time /;

use lib "$FindBin::Bin/lib";
use Debug::Nginx;

my $t = Debug::Nginx->new();

# -- backends

my %b = (
    a => backend(Debug::Backend::answer(200, 'a' x 100)),
    b => backend(Debug::Backend::answer(200, 'b')),
    e500 => backend(Debug::Backend::answer(500, 'error')),
    e502 => backend(Debug::Backend::answer(502, 'mine')),
    e504 => backend(Debug::Backend::answer(504, 'mine')),
    e403 => backend(Debug::Backend::answer(403, 'no')),
    hang => backend(Debug::Backend::hang()),
    slam => backend(sub { $_[1]->close() }),
    garbage => backend(Debug::Backend::garbage("HTTP/1.1 xyz\r\n\r\n")),
    longhead => backend(sub {
        $_[1]->send("HTTP/1.1 200 OK\r\nX: " . 'x' x 20_000 . "\r\n\r\n");
        $_[1]->close();
    }),
    half_header => backend(Debug::Backend::half_header()),
    half_body => backend(Debug::Backend::half_body()),
    half_body_hang => backend(Debug::Backend::half_body(sub {
        $_[1]->hang(30);
    })),
    xaccel => backend(sub {
        $_[1]->reply(200, '', 'X-Accel-Redirect' => '/internal/b');
    }),
    ssi => backend(sub {
        $_[1]->reply(200, '<!--#include virtual="/inc/a" -->'
                          . '<!--#include virtual="/inc/b" -->',
                     'Content-Type' => 'text/html');
    }),
    from => backend(sub { $_[1]->reply(200, $_[1]{sock}->peerhost()) }),
    ssi_var => backend(sub {
        $_[1]->reply(200, '<!--#include virtual="/inc/a" -->'
                          . '<!--#include virtual="/var_b" -->',
                     'Content-Type' => 'text/html');
    }),
    range => backend(sub {
        my ($req, $c) = @_;
        my $body = 'x' x 2500;
        my ($from, $to) = ($req->{headers}{range} // '')
                          =~ /bytes=(\d+)-(\d+)/;
        return $c->reply(200, $body) unless defined $from;
        $to = 2499 if $to > 2499;
        $c->reply(206, substr($body, $from, $to - $from + 1),
                  'Content-Range' => "bytes $from-$to/2500",
                  ETag => '"x"', 'Last-Modified' =>
                                     'Mon, 23 Nov 2026 10:00:00 GMT');
    }),
    cached => backend(sub {
        my ($req, $c) = @_;
        $c->reply(200, 'cached', 'Cache-Control' => 'max-age=3, '
                                 . 'stale-while-revalidate=60');
    }),
    ws => backend(sub {
        my ($req, $c) = @_;
        $c->send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                 . "Connection: Upgrade\r\n\r\nhello");
        $c->delay(0.1);
        $c->close();
    }),
    ws_hang => backend(sub {
        my ($req, $c) = @_;
        $c->send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                 . "Connection: Upgrade\r\n\r\nhello");
        $c->hang(30);
    }),
    # answers one request a connection, though it promises to keep it
    stale => backend(sub {
        my ($req, $c) = @_;
        return $c->close() if $req->{n} > 1;
        $c->reply(200, 'first');
    }),
    # and this one's second has a header that is too long
    stale_long => backend(sub {
        my ($req, $c) = @_;
        return $c->reply(200, 'first') if $req->{n} == 1;
        $c->send("HTTP/1.1 200 OK\r\nX: " . 'x' x 20_000 . "\r\n\r\n");
        $c->close();
    }),
    big => backend(sub {
        my ($req, $c) = @_;
        $c->send("HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n");
        1 while $c->send('x' x 100_000);
    }),
    fcgi => backend(\&fastcgi, raw => 1),
    uwsgi => backend(\&uwsgi, raw => 1),
    scgi => backend(\&scgi, raw => 1),
);

my %at = map { $_ => $b{$_}->addr() } keys %b;
$at{refused} = '127.0.0.1:' . free_port();


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
    my $s = $c->{sock};

    while (defined(my $head = take($s, 8))) {
        my (undef, $type, $id, $len, $pad) = unpack 'CCnnCx', $head;
        take($s, $len + $pad) if $len + $pad;

        # the end of stdin
        next unless $type == 5 && $len == 0;

        my $out = "Status: 201 Created\r\nContent-Type: text/plain\r\n\r\nf";
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
    $c->send("HTTP/1.1 202 Accepted\r\nContent-Type: text/plain\r\n\r\nu");
    $c->close();
}


sub scgi {
    my $c = $_[1];
    my $len = '';
    while (defined(my $ch = take($c->{sock}, 1))) {
        last if $ch eq ':';
        $len .= $ch;
    }
    take($c->{sock}, $len + 1);
    $c->send("Status: 203 Yes\r\nContent-Type: text/plain\r\n\r\ns");
    $c->close();
}


# A name server: a name that has two addresses, one that gets another when a
# file is there.

my $dns_port = free_port();
my $moved = temp_dir('dns') . '/moved';
my $dns = fork() // die "fork: $!\n";

if ($dns == 0) {
    my $s = IO::Socket::INET->new(Proto => 'udp', LocalAddr => '127.0.0.1',
                                  LocalPort => $dns_port)
        or die "name server: $@\n";

    while (defined $s->recv(my $query, 512)) {
        my $n = unpack('n', $query) // next;
        my $question = substr $query, 12;
        my @ip = $question =~ /^\x04pair\x04test\0\0\x01/
                     ? ("\x7f\0\0\x01", "\x7f\0\0\x02")
               : $question =~ /^\x05moves\x04test\0\0\x01/
                     ? (-e $moved ? "\x7f\0\0\x05" : "\x7f\0\0\x01")
               : ();

        $s->send(pack('nnnnnn', $n, @ip ? 0x8180 : 0x8183, 1, scalar @ip,
                      0, 0)
                 . $question
                 . join '', map { pack('nnnNn', 0xc00c, 1, 1, 1, 4) . $_ }
                            @ip);
    }

    POSIX::_exit(0);
}

END { kill 'KILL', $dns if $dns; }


# -- nginx

# group => its servers; "!" begins a line of another directive
my %group = (
    (map { $_ => [$_] } keys %at),
    retry => ['refused max_fails=0', 'a backup'],
    retry500 => ['e500 max_fails=0', 'a backup'],
    retry502 => ['e502 max_fails=0', 'e504 backup max_fails=0'],
    both_refused => ['refused max_fails=0', '+127.0.0.2:1 max_fails=0'],
    down => ['a down', 'b down'],
    one_fail => ['refused', 'refused'],
    zoned => ['a', 'b', '!zone zoned 128k'],
    least => ['!least_conn', 'a', 'b'],
    hashed => ['!hash $arg_k consistent', 'a', 'b'],
    iphash => ['!ip_hash', 'a', 'b'],
    random => ['!random two', 'a', 'b'],
    kept => ['a', '!keepalive 4'],
    kept_stale => ['stale max_fails=0', '!keepalive 4'],
    kept_long => ['stale_long max_fails=0', '!keepalive 4'],
    weighted => ['a weight=3', 'b'],
    twice => ['a', 'a'],
);

# peers that nginx finds by name, and frees when the name has others

my ($b_port) = $at{b} =~ /:(\d+)$/;
my $resolve = ($t->version() =~ /^1\.(\d+)\.(\d+)/)
              && $1 * 1000 + $2 >= 27_003;

$group{moves} = ["!zone moves 128k",
                 "!resolver 127.0.0.1:$dns_port valid=1s ipv6=off",
                 "+moves.test:$b_port resolve"] if $resolve;

my $upstreams = '';

for my $name (sort keys %group) {
    $upstreams .= "    upstream $name {\n";

    # keepalive comes last, the others as they stand
    for (@{ $group{$name} }) {
        my ($who, $rest) = /^([!+]?\S+)(.*)$/;
        $upstreams .= $who =~ /^!(.*)/ ? "        $1$rest;\n"
                    : $who =~ /^\+(.*)/ ? "        server $1$rest;\n"
                    : "        server $at{$who}$rest;\n";
    }

    $upstreams .= "    }\n";
}

my $grpc = $t->has(qr/http_v2_module/);
my $slice = $t->has(qr/http_slice_module/);
my $auth = $t->has(qr/http_auth_request_module/);

my $passes = join '', map {
    "        location /p/$_ { proxy_pass http://$_; }\n"
} sort keys %group;

my $module_locations = '';

$module_locations .= <<'EOC' if $auth;
        location /auth {
            auth_request /authorize;
            proxy_pass http://b;
        }
        location /auth403 {
            auth_request /deny;
            proxy_pass http://b;
        }
        location /var_auth {
            auth_request /var_authorize;
            proxy_pass http://a;
        }
        location = /var_authorize {
            set $to 127.0.0.1:%%B_PORT%%;
            proxy_pass http://$to;
        }
        location = /authorize { proxy_pass http://a; }
        location = /deny { proxy_pass http://e403; }
EOC

$module_locations =~ s/127\.0\.0\.1:%%B_PORT%%/$at{b}/;

$module_locations .= <<'EOC' if $slice;
        location /slice {
            slice 1000;
            proxy_set_header Range $slice_range;
            proxy_cache one;
            proxy_cache_key $uri$slice_range;
            proxy_cache_valid 200 206 1h;
            proxy_pass http://range;
        }
EOC

$module_locations .= <<'EOC' if $grpc;
        location /grpc {
            rewrite ^/grpc(/.*) $1 break;
            grpc_pass grpc://grpcs;
        }
        location /grpc_var {
            set $to 127.0.0.1:%%PORT_1%%;
            rewrite ^/grpc_var(/.*) $1 break;
            grpc_pass grpc://$to;
        }
        location /grpc_dead {
            grpc_pass grpc://refused;
        }
EOC

my $grpc_server = $grpc ? <<'EOC' : '';
    upstream grpcs { server 127.0.0.1:%%PORT_1%%; }
    server {
        listen 127.0.0.1:%%PORT_1%% http2;
        server_name grpcs;
        default_type application/grpc+proto;
        location / { return 207; }
        location /ok { add_trailer grpc-status 0; return 200 'x'; }
        location /unavailable { add_trailer grpc-status 14; return 200 'x'; }
        location /mean { add_trailer Grpc-Status 99; return 200 'x'; }
        location /missing { add_header grpc-status 5; return 200; }
        location /none { return 200 'x'; }
        location /text {
            default_type text/plain;
            add_trailer grpc-status 14;
            return 200 'x';
        }
    }
EOC

$grpc_server =~ s/ http2;/;\n        http2 on;/
    if $grpc && ($t->version() =~ /^1\.(\d+)/)[0] > 25;

# peers by name that must be in the right place, whatever happens to memory
my $conf = <<"EOC";
%%TEST_GLOBALS%%
worker_processes 1;
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    debug_zone 16m;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_connect_timeout 2s;
    proxy_buffer_size 4k;
    proxy_cache_path %%DIR%%/cache keys_zone=one:1m;
    log_format var "\$debug_host\$debug_start";
$upstreams
$grpc_server
    server {
        listen 127.0.0.5:$b_port;
        debug_record off;
        return 203;
    }
    server {
        listen 127.0.0.1:%%PORT_0%%;
        server_name main;
        location /debug/ { debug; }
$passes
$module_locations
        location /timeout {
            proxy_read_timeout 200ms;
            proxy_pass http://hang;
        }
        location /timeout_body {
            proxy_read_timeout 200ms;
            proxy_pass http://half_body_hang;
        }
        location /retry500 {
            proxy_next_upstream http_500;
            proxy_pass http://retry500;
        }
        location /retry502 {
            proxy_next_upstream http_502 http_504;
            proxy_pass http://retry502;
        }
        location /intercept {
            proxy_intercept_errors on;
            error_page 500 502 504 = /fallback;
            location /intercept/500 { proxy_pass http://e500; }
            location /intercept/502 { proxy_pass http://e502; }
            location /intercept/504 { proxy_pass http://e504; }
        }
        location /fallback { proxy_pass http://a; }
        location /named {
            error_page 502 = \@other;
            proxy_pass http://refused;
        }
        location \@other { proxy_pass http://b; }
        location /xaccel { proxy_pass http://xaccel; }
        location /internal/ { internal; proxy_pass http://b; }
        location /mirror {
            mirror /copy;
            proxy_pass http://a;
        }
        location = /copy { internal; proxy_pass http://b; }
        location /ssi {
            ssi on;
            proxy_pass http://ssi;
        }
        location /inc/a { proxy_pass http://a; }
        location /inc/b { proxy_pass http://b; }
        location /cached {
            proxy_cache one;
            proxy_cache_key cached;
            proxy_cache_background_update on;
            proxy_cache_use_stale updating error timeout;
            proxy_pass http://cached;
        }
        location /cached_dead {
            proxy_cache one;
            proxy_cache_key cached;
            proxy_cache_use_stale error;
            proxy_pass http://refused;
        }
        location /ws {
            proxy_set_header Upgrade \$http_upgrade;
            proxy_set_header Connection upgrade;
            proxy_read_timeout 300ms;
            location /ws/a { proxy_pass http://ws; }
            location /ws/hang { proxy_pass http://ws_hang; }
        }
        location /nobuffer {
            proxy_buffering off;
            location /nobuffer/half { proxy_pass http://half_body; }
            location /nobuffer/big { proxy_pass http://big; }
        }
        location /fcgi { fastcgi_pass fcgi; }
        location /uwsgi { uwsgi_pass uwsgi; }
        location /scgi { scgi_pass scgi; }
        location /direct { proxy_pass http://$at{a}; }
        location /var {
            set \$to \$arg_to;
            proxy_pass http://\$to;
        }
        location /var_refused {
            set \$to $at{refused};
            error_page 502 = /fallback;
            proxy_pass http://\$to;
        }
        location /var_e500 {
            set \$to $at{e500};
            proxy_intercept_errors on;
            error_page 500 = /fallback;
            proxy_pass http://\$to;
        }
        location /to_var {
            proxy_intercept_errors on;
            error_page 500 = /var_b;
            proxy_pass http://e500;
        }
        location /var_b {
            set \$to $at{b};
            proxy_pass http://\$to;
        }
        location /var_xaccel {
            set \$to $at{xaccel};
            proxy_pass http://\$to;
        }
        location /var_unix {
            set \$to "unix:%%DIR%%/nobody:/";
            error_page 502 = /fallback;
            proxy_pass http://\$to;
        }
        location /var_half {
            set \$to $at{half_body};
            proxy_pass http://\$to;
        }
        location /var_bind {
            set \$to $at{from};
            proxy_pass http://\$to;
            location /var_bind/fixed {
                proxy_bind 127.0.0.3;
                set \$to $at{from};
                proxy_pass http://\$to;
            }
            location /var_bind/var {
                proxy_bind \$arg_from;
                set \$to $at{from};
                proxy_pass http://\$to;
            }
        }
        location /var_cached {
            set \$to $at{cached};
            proxy_cache one;
            proxy_cache_key var_cached;
            proxy_cache_background_update on;
            proxy_cache_use_stale updating;
            proxy_pass http://\$to;
        }
        location /var_fcgi {
            set \$to $at{fcgi};
            fastcgi_pass \$to;
        }
        location /var_if {
            set \$to $at{b};
            if (\$arg_a) {
                proxy_pass http://\$to;
            }
            proxy_pass http://a;
        }
        location /var_name {
            resolver 127.0.0.1:$dns_port ipv6=off;
            resolver_timeout 2s;
            proxy_pass http://\$arg_host:\$arg_port;
        }
        location /var_mirror {
            mirror /var_copy;
            proxy_pass http://a;
        }
        location = /var_copy {
            internal;
            set \$to $at{b};
            proxy_pass http://\$to;
        }
        location /var_ssi {
            ssi on;
            set \$to $at{ssi_var};
            proxy_pass http://\$to;
        }
        location /var_log {
            log_subrequest on;
            set \$to $at{b};
            proxy_set_header X-Host \$debug_host;
            proxy_pass http://\$to;
            access_log %%DIR%%/host.log var;
        }
        location /nonext {
            proxy_next_upstream off;
            proxy_pass http://kept_stale;
        }
        location /body {
            proxy_request_buffering off;
            proxy_pass http://hang;
        }
    }
}
EOC

$t->run($conf);


# -- what is new since the last look

my $before = {};

sub stats { return decode_json(http_get('/debug/stats')->{body}) }

# One line for each group and peer whose numbers moved:
#
#   group: 200=1 tries=2 retries=1
#   group/peer: fail.connect=1
#
# All that /debug/stats counts, so a new metric too, but for byte and time sums,
# and for what follows from each answer: connects and headers have a test of
# their own.

my $implied = qr/^(?:count|total_count|connects|headers|last_second|state
                  |reason|weight)$/x;

sub flatten {
    my ($s) = @_;
    my %f;

    my $row = sub {
        my ($name, $r) = @_;

        $f{$name}{$_} = $r->{total_status_code_count}{$_}
            for keys %{ $r->{total_status_code_count} };
        $f{$name}{"fail.$_"} = $r->{failures}{$_}
            for keys %{ $r->{failures} };
        $f{$name}{"grpc.$_"} = $r->{grpc_failures}{$_}
            for keys %{ $r->{grpc_failures} };
        $f{$name}{$_} = $r->{$_}
            for grep { defined $r->{$_} && !ref $r->{$_} && !/$implied/
                       && !/_(?:bytes|sec|time)$/ } keys %$r;
    };

    # "@name" is the group that has an address for a name

    my $who = sub {
        my ($addr, $at) = @_;
        my ($name) = grep { $at{$_} eq $addr } sort keys %at;
        return defined $name ? $at . $name : $addr;
    };

    for my $g (keys %{ $s->{upstreams} }) {
        my $group = $who->($g, '@');

        $row->($group, $s->{upstreams}{$g});

        for my $p (keys %{ $s->{upstreams}{$g}{peers} }) {
            $row->("$group/" . $who->($p, ''),
                   $s->{upstreams}{$g}{peers}{$p});
        }
    }

    return \%f;
}


sub moved {
    my $now = flatten(stats());
    my @lines;

    for my $name (sort keys %$now) {
        my $n = $now->{$name};
        my $o = $before->{$name} // {};
        my @diff = map { "$_=" . ($n->{$_} - ($o->{$_} // 0)) }
                   grep { $n->{$_} != ($o->{$_} // 0) } sort keys %$n;

        push @lines, "$name: @diff" if @diff;
    }

    return join "\n", sort @lines;
}


sub settled {
    my $now = flatten(stats());
    return !grep { $_->{active} } values %$now;
}


# Runs SUB and compares what moved.

sub books {
    my ($name, $expected, $sub) = @_;
    my ($got, $r);

    $expected = join "\n", sort map { s/^\s+|\s+$//gr }
                           grep { /\S/ } split /\n/, $expected;

    $before = flatten(stats());
    $r = $sub->();
    wait_for(sub { settled() && ($got = moved()) eq $expected }, 2)
        or $got = moved();

    is($got, $expected, $name);

    return $r;
}


sub get_books {
    my ($name, $path, $status, $expected, %o) = @_;

    my $r = books($name, $expected, sub { http_get($path, %o) });
    is($r->{status}, $status, "$name: the client's status");

    return $r;
}


get_books('plain', '/p/a', 200, <<'EOT');
    a: 200=1 tries=1
    a/a: 200=1
EOT

# -- retries

get_books('refused, then 200', '/p/retry', 200, <<'EOT');
    retry: 200=1 retries=1 tries=2
    retry/refused: fail.connect=1
    retry/a: 200=1
EOT

get_books('500, then 200', '/retry500', 200, <<'EOT');
    retry500: 200=1 retries=1 tries=2
    retry500/e500: 500=1
    retry500/a: 200=1
EOT

get_books('real 502, then real 504, though nginx calls both its own',
          '/retry502', 504, <<'EOT');
    retry502: 504=1 retries=1 tries=2
    retry502/e502: 502=1
    retry502/e504: 504=1
EOT

get_books('all refused', '/p/both_refused', 502, <<'EOT');
    both_refused: fail.connect=1 retries=1 tries=2
    both_refused/refused: fail.connect=1
    both_refused/127.0.0.2:1: fail.connect=1
EOT

# -- no answer

get_books('refused', '/p/refused', 502, <<'EOT');
    refused: fail.connect=1 tries=1
    refused/refused: fail.connect=1
EOT

get_books('timeout', '/timeout', 504, <<'EOT');
    hang: fail.timeout=1 tries=1
    hang/hang: fail.timeout=1
EOT

get_books('closed without a byte', '/p/slam', 502, <<'EOT');
    slam: fail.invalid=1 tries=1
    slam/slam: fail.invalid=1
EOT

get_books('a header that is too long', '/p/longhead', 502, <<'EOT');
    longhead: fail.invalid=1 tries=1
    longhead/longhead: fail.invalid=1
EOT

get_books('half a header', '/p/half_header', 502, <<'EOT');
    half_header: fail.invalid=1 tries=1
    half_header/half_header: fail.invalid=1
EOT

# nginx takes what is not HTTP for HTTP/0.9 and passes it on as 200

books('garbage', <<'EOT', sub { http_get('/p/garbage') });
    garbage: 200=1 tries=1
    garbage/garbage: 200=1
EOT

get_books('no live peers', '/p/down', 502, <<'EOT');
    down: fail.no_live=1
EOT

books('a client that leaves', <<'EOT', sub {
    hang: fail.abort=1 tries=1
    hang/hang: fail.abort=1
EOT
    http_get('/p/hang', abort => 0.2);
});

books('a client that leaves in the middle of its request', <<'EOT', sub {
    hang: fail.abort=1 tries=1
    hang/hang: fail.abort=1
EOT
    http_request(["POST /body HTTP/1.1\r\nHost: a\r\n"
                  . "Content-Length: 1000\r\n\r\nabc", \5, 'x'],
                 abort => 0.2);
});

# -- answers that break off

my $r = get_books('half a body', '/p/half_body', 200, <<'EOT');
    half_body: 200=1 tries=1 truncated=1
    half_body/half_body: 200=1 truncated=1
EOT
is($r->{complete}, 0, 'the client sees it too');

get_books('half a body, unbuffered', '/nobuffer/half', 200, <<'EOT');
    half_body: 200=1 tries=1 truncated=1
    half_body/half_body: 200=1 truncated=1
EOT

get_books('half a body, then nothing', '/timeout_body', 200, <<'EOT');
    half_body_hang: 200=1 tries=1 truncated=1
    half_body_hang/half_body_hang: 200=1 truncated=1
EOT

for my $path ('/p/big', '/nobuffer/big') {
    books("$path: a client that leaves is not the peer's fault", <<'EOT',
        big: 200=1 tries=1
        big/big: 200=1
EOT
        sub { http_get($path, abort => 0.7) });
}

# -- one request, several rounds

get_books('error_page to another group', '/intercept/500', 200, <<'EOT');
    e500: 500=1 tries=1
    e500/e500: 500=1
    a: 200=1 tries=1
    a/a: 200=1
EOT

get_books('error_page of a real 502', '/intercept/502', 200, <<'EOT');
    e502: 502=1 tries=1
    e502/e502: 502=1
    a: 200=1 tries=1
    a/a: 200=1
EOT

get_books('error_page of a real 504', '/intercept/504', 200, <<'EOT');
    e504: 504=1 tries=1
    e504/e504: 504=1
    a: 200=1 tries=1
    a/a: 200=1
EOT

get_books('error_page to a named location', '/named', 200, <<'EOT');
    refused: fail.connect=1 tries=1
    refused/refused: fail.connect=1
    b: 200=1 tries=1
    b/b: 200=1
EOT

get_books('X-Accel-Redirect', '/xaccel', 200, <<'EOT');
    xaccel: 200=1 tries=1
    xaccel/xaccel: 200=1
    b: 200=1 tries=1
    b/b: 200=1
EOT

get_books('mirror', '/mirror', 200, <<'EOT');
    a: 200=1 tries=1
    a/a: 200=1
    b: 200=1 tries=1
    b/b: 200=1
EOT

get_books('SSI', '/ssi', 200, <<'EOT');
    ssi: 200=1 tries=1
    ssi/ssi: 200=1
    a: 200=1 tries=1
    a/a: 200=1
    b: 200=1 tries=1
    b/b: 200=1
EOT

SKIP: {
    skip 'no auth_request', 4 unless $auth;

    get_books('auth_request', '/auth', 200, <<'EOT');
        a: 200=1 tries=1
        a/a: 200=1
        b: 200=1 tries=1
        b/b: 200=1
EOT

    get_books('auth_request that says no', '/auth403', 403, <<'EOT');
        e403: 403=1 tries=1
        e403/e403: 403=1
EOT
}

SKIP: {
    skip 'no slice', 3 unless $slice;

    $r = get_books('slice', '/slice', 200, <<'EOT');
        range: 206=3 tries=3
        range/range: 206=3
EOT
    is(length $r->{body}, 2500, 'slice: the body');
}

# -- cache

get_books('cache MISS', '/cached', 200, <<'EOT');
    cached: 200=1 tries=1
    cached/cached: 200=1
EOT

get_books('cache HIT records nothing', '/cached', 200, '');

sleep 4.1;

get_books('STALE, and a background update', '/cached', 200, <<'EOT');
    cached: 200=1 tries=1
    cached/cached: 200=1
EOT

sleep 4.1;

get_books('STALE since the peer is dead', '/cached_dead', 200, <<'EOT');
    refused: fail.connect=1 tries=1
    refused/refused: fail.connect=1
EOT

# -- WebSocket

for (['/ws/a', 'ws'], ['/ws/hang', 'ws_hang']) {
    my ($path, $group) = @$_;

    books("$path: an upgraded connection", <<"EOT", sub {
        $group: tries=1 upgrades=1
        $group/$group: upgrades=1
EOT
        http_request("GET $path HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
                     . "Connection: Upgrade\r\n\r\n");
    });
}

# -- other protocols

get_books('FastCGI', '/fcgi', 201, <<'EOT');
    fcgi: 201=1 tries=1
    fcgi/fcgi: 201=1
EOT

get_books('uWSGI', '/uwsgi', 202, <<'EOT');
    uwsgi: 202=1 tries=1
    uwsgi/uwsgi: 202=1
EOT

get_books('SCGI', '/scgi', 203, <<'EOT');
    scgi: 203=1 tries=1
    scgi/scgi: 203=1
EOT

SKIP: {
    skip 'no gRPC', 33 unless $grpc;

    $at{grpc_nginx} = '127.0.0.1:' . port(1);

    get_books('gRPC', '/grpc', 207, <<'EOT');
        grpcs: 207=1 tries=1
        grpcs/grpc_nginx: 207=1
EOT

    # what HTTP calls 200 is none unless grpc-status says so, too

    for (['ok', '200=1'], ['none', '200=1'], ['text', '200=1'],
         ['unavailable', 'fail.grpc=1 grpc.14=1'],
         ['mean', 'fail.grpc=1 grpc.2=1'],
         ['missing', 'fail.grpc_call=1 grpc.5=1'])
    {
        my ($what, $want) = @$_;

        get_books("gRPC, $what", "/grpc/$what", 200, <<"EOT");
            grpcs: $want tries=1
            grpcs/grpc_nginx: $want
EOT

        get_books("gRPC, $what, by a variable", "/grpc_var/$what", 200,
                  <<"EOT");
            \@grpc_nginx: $want tries=1
            \@grpc_nginx/grpc_nginx: $want
EOT
    }

    # each of the failures above twice

    my ($front) = sort { $b->{failures}{grpc} <=> $a->{failures}{grpc} }
        values %{ stats()->{servers} };
    is("$front->{failures}{grpc} $front->{failures}{grpc_call}", '4 2',
       'of a server, too');

    my $g = stats()->{upstreams}{grpcs};
    is($g->{last_failure}{cause}, 'grpc', 'the last failure is the peer\'s');
    is($g->{connects}, $g->{tries}, 'each had a connection');
    is($g->{headers}, $g->{tries}, 'and a header');

    like(http_get('/debug/metrics')->{body},
         qr/^nginx_debug_peer_grpc_failures_total\{upstream="grpcs",
            peer="127\.0\.0\.1:\d+",status="14"\}\ 1$/mx,
         'and in /debug/metrics');

    get_books('gRPC, refused', '/grpc_dead', 502, <<'EOT');
        refused: fail.connect=1 tries=1
        refused/refused: fail.connect=1
EOT
}

# -- proxy_pass with an address, and with variables

get_books('proxy_pass to an address is a group of its name', '/direct', 200,
          <<"EOT");
    \@a: 200=1 tries=1
    \@a/a: 200=1
EOT

get_books('a variable that names a group', '/var?to=b', 200, <<'EOT');
    b: 200=1 tries=1
    b/b: 200=1
EOT

get_books('a variable with an address of the configuration',
          "/var?to=$at{a}", 200, <<"EOT");
    \@a: 200=1 tries=1
    \@a/a: 200=1
EOT

get_books('a variable with an address', "/var?to=$at{b}", 200, <<'EOT');
    @b: 200=1 tries=1
    @b/b: 200=1
EOT

get_books('a variable with an address, refused', "/var?to=$at{refused}", 502,
          <<'EOT');
    @refused: fail.connect=1 tries=1
    @refused/refused: fail.connect=1
EOT

books('a variable with an address, and a client that leaves', <<'EOT', sub {
    @hang: fail.abort=1 tries=1
    @hang/hang: fail.abort=1
EOT
    http_get("/var?to=$at{hang}", abort => 0.2);
});

# -- the same where the log phase sees nothing of it

for (['error_page of a variable host, which is refused', '/var_refused', 200,
      'refused', 'fail.connect=1', 'a'],
     ['error_page of a variable host, which answers', '/var_e500', 200,
      'e500', '500=1', 'a'],
     ['X-Accel-Redirect of a variable host', '/var_xaccel', 200, 'xaccel',
      '200=1', 'b'])
{
    my ($name, $path, $status, $who, $what, $then) = @$_;

    get_books($name, $path, $status, <<"EOT");
        \@$who: $what tries=1
        \@$who/$who: $what
        $then: 200=1 tries=1
        $then/$then: 200=1
EOT
}

get_books('error_page to a variable host', '/to_var', 200, <<'EOT');
    e500: 500=1 tries=1
    e500/e500: 500=1
    @b: 200=1 tries=1
    @b/b: 200=1
EOT

{
    my $sock = $t->dir() . '/nobody';

    $t->allow(qr/connect\(\) to unix:\S+ failed/, 'nobody listens there');
    $at{nobody} = "unix:$sock";

    get_books('a variable host that fails before its handler returns',
              '/var_unix', 200, <<"EOT");
        \@nobody: fail.connect=1 tries=1
        \@nobody/nobody: fail.connect=1
        a: 200=1 tries=1
        a/a: 200=1
EOT
}

get_books('mirror to a variable host', '/var_mirror', 200, <<'EOT');
    a: 200=1 tries=1
    a/a: 200=1
    @b: 200=1 tries=1
    @b/b: 200=1
EOT

get_books('SSI of and to variable hosts', '/var_ssi', 200, <<'EOT');
    @ssi_var: 200=1 tries=1
    @ssi_var/ssi_var: 200=1
    a: 200=1 tries=1
    a/a: 200=1
    @b: 200=1 tries=1
    @b/b: 200=1
EOT

SKIP: {
    skip 'no auth_request', 2 unless $auth;

    get_books('auth_request to a variable host', '/var_auth', 200, <<'EOT');
        @b: 200=1 tries=1
        @b/b: 200=1
        a: 200=1 tries=1
        a/a: 200=1
EOT
}

get_books('a variable host, cache MISS', '/var_cached', 200, <<'EOT');
    @cached: 200=1 tries=1
    @cached/cached: 200=1
EOT

get_books('and HIT', '/var_cached', 200, '');

sleep 4.1;

get_books('and a background update', '/var_cached', 200, <<'EOT');
    @cached: 200=1 tries=1
    @cached/cached: 200=1
EOT

get_books('FastCGI to a variable host', '/var_fcgi', 201, <<'EOT');
    @fcgi: 201=1 tries=1
    @fcgi/fcgi: 201=1
EOT

books('a variable host in the middle of its answer', <<'EOT', sub {
    @half_body: 200=1 tries=1 truncated=1
    @half_body/half_body: 200=1 truncated=1
EOT
    http_get('/var_half');
});

books('a variable host, after a body that comes late', <<'EOT', sub {
    @b: 200=1 tries=1
    @b/b: 200=1
EOT
    http_request(["POST /var_b HTTP/1.0\r\nContent-Length: 6\r\n\r\nabc",
                  \0.2, 'def']);
});

get_books('a location with an if', '/var_if', 200, <<'EOT');
    a: 200=1 tries=1
    a/a: 200=1
EOT

get_books('and in it', '/var_if?a=1', 200, <<'EOT');
    @b: 200=1 tries=1
    @b/b: 200=1
EOT

for (['', '127.0.0.1'], ['/fixed', '127.0.0.3'],
     ['/var?from=127.0.0.4', '127.0.0.4'], ['/var', '127.0.0.1'])
{
    my ($path, $from) = @$_;

    $r = get_books("a variable host, bound: $path", "/var_bind$path", 200,
                   <<'EOT');
        @from: 200=1 tries=1
        @from/from: 200=1
EOT
    is($r->{body}, $from, "from $from");
}

get_books('who evaluates the variable himself', '/var_log', 200, <<'EOT');
    @b: 200=1 tries=1
    @b/b: 200=1
EOT

is(read_file($t->dir() . '/host.log'), "-\n", 'sees nothing')
    or diag(read_file($t->dir() . '/host.log'));

books('a name that leads nowhere', <<'EOT', sub {
    nobody.test:1: fail.no_live=1
EOT
    http_get("/var_name?host=nobody.test&port=1");
});

{
    # both are tried until one answers; which is first, nginx chooses

    http_get("/var_name?host=pair.test&port=$b_port") for 1 .. 20;

    my $s = wait_for(sub {
        my $row = stats()->{upstreams}{"pair.test:$b_port"};
        return $row && $row->{total_count} == 20 ? $row : 0;
    });

    ok($s, 'a name with two addresses, of which one answers')
        or diag(explain(stats()->{upstreams}{"pair.test:$b_port"}));
    my $other = $s->{peers}{"127.0.0.2:$b_port"};

    cmp_ok($s->{retries}, '>', 0, 'is tried again');
    is($s->{tries}, 20 + $s->{retries}, 'each try is counted');
    is($s->{peers}{$at{b}}{total_count}, 20, 'at the one that answers');
    is($other->{failures}{connect}, $s->{retries}, 'and at the other');
    is($s->{failures}{connect}, 0, 'which is no failure of the round');
}

# -- kept connections

books('keepalive', <<'EOT', sub { http_get('/p/kept') for 1 .. 3 });
    kept: 200=3 tries=3
    kept/a: 200=3
EOT

get_books('the first on a connection that goes stale', '/nonext', 200,
          <<'EOT');
    kept_stale: 200=1 tries=1
    kept_stale/stale: 200=1
EOT

get_books('the second', '/nonext', 502, <<'EOT');
    kept_stale: fail.stale=1 tries=1
    kept_stale/stale: fail.stale=1
EOT

get_books('again the first', '/p/kept_stale', 200, <<'EOT');
    kept_stale: 200=1 tries=1
    kept_stale/stale: 200=1
EOT

get_books('a stale connection, then a new one', '/p/kept_stale', 200,
          <<'EOT');
    kept_stale: 200=1 retries=1 tries=2
    kept_stale/stale: 200=1 fail.stale=1
EOT

get_books('the first, of one that fails otherwise', '/p/kept_long', 200,
          <<'EOT');
    kept_long: 200=1 tries=1
    kept_long/stale_long: 200=1
EOT

get_books('a bad answer on a kept connection is not stale', '/p/kept_long',
          502, <<'EOT');
    kept_long: fail.invalid=1 tries=1
    kept_long/stale_long: fail.invalid=1
EOT

# -- balancers

for my $group (qw/ zoned least hashed iphash random weighted twice /) {
    my $s = stats()->{upstreams}{$group};
    http_get("/p/$group?k=$_") for 1 .. 8;
    ok(wait_for(sub {
           $s = stats()->{upstreams}{$group};
           $s->{total_count} == 8 && !$s->{active}
       }), "$group: eight");

    my $sum = 0;
    $sum += $_->{total_count} for values %{ $s->{peers} };
    is($sum, 8, "$group: at its peers");

    my @n = map { $_->{total_count} }
            grep { defined } map { $s->{peers}{$_} // undef } @at{qw/ a b /};
    is("@n", '4 4', "$group: in turns") if $group eq 'zoned';
    is("@n", '6 2', 'weighted: three to one') if $group eq 'weighted';

    next unless $group eq 'twice';
    is_deeply([keys %{ $s->{peers} }], [$at{a}], 'a peer listed twice is one');
}

SKIP: {
    skip 'no "resolve"', 3 unless $resolve;

    ok(wait_for(sub { http_get('/p/moves')->{status} == 200 }, 10),
       'a peer that is found by name');
    write_file($moved, '');
    ok(wait_for(sub { http_get('/p/moves')->{status} == 203 }, 10),
       'is another one');
    http_get('/p/moves') for 1 .. 3;

    my $row = wait_for(sub {
        my $now = stats()->{upstreams}{moves};
        return ($now->{total_status_code_count}{203} // 0) == 4 ? $now : 0;
    });

    is_deeply([map { $_->{total_status_code_count} }
               @{ $row->{peers} }{$at{b}, "127.0.0.5:$b_port"}],
              [{ 200 => $row->{total_status_code_count}{200} },
               { 203 => 4 }], 'and each has its own count')
        or diag(explain($row));
}

# a peer that nginx gives up on

http_get('/p/one_fail');
books('nobody left', <<'EOT', sub { http_get('/p/one_fail') });
    one_fail: fail.no_live=1
EOT

my $s = stats()->{upstreams}{one_fail};
is($s->{last_failure}{cause}, 'no_live', 'the last failure is told');
cmp_ok(abs($s->{last_failure}{time} / 1000 - time()), '<', 5, 'with its time');

# -- the sums

$s = stats();
my $timeouts = $s->{upstreams}{hang};
cmp_ok($timeouts->{total_timeout_time_sec}, '>=', 0.19, 'time of timeouts');
cmp_ok($timeouts->{total_timeout_time_sec}, '<', 1, 'and of them only');
is($timeouts->{total_count}, 0, 'which is no answer');
cmp_ok($timeouts->{response_time_sec}{max}, '>=', 0.19,
       'but the percentiles know it');

for my $g (sort keys %{ $s->{upstreams} }) {
    my $row = $s->{upstreams}{$g};
    my %sum = (total_count => 0, upgrades => 0, received_bytes => 0,
               sent_bytes => 0, connects => 0, headers => 0);
    my $failures = 0;

    for my $p (values %{ $row->{peers} }) {
        $sum{$_} += $p->{$_} for keys %sum;
        $failures += $_ for values %{ $p->{failures} };
    }

    is($row->{tries}, $sum{total_count} + $failures + $sum{upgrades},
       "$g: each try is booked at one peer");
    is($row->{$_}, $sum{$_}, "$g: $_ of its peers")
        for qw/ received_bytes sent_bytes connects headers /;
}

# bytes are the peer's, not the client's

books('HEAD', <<'EOT', sub { http_get('/p/a', method => 'HEAD') });
    a: 200=1 tries=1
    a/a: 200=1
EOT

my $bytes = stats()->{upstreams}{a}{received_bytes};
http_get('/p/a');
wait_for(sub { stats()->{upstreams}{a}{received_bytes} > $bytes });
my $answer = "HTTP/1.1 200 Status\r\nContent-Length: 100\r\n\r\n";
is(stats()->{upstreams}{a}{received_bytes} - $bytes, length($answer) + 100,
   'received bytes, header and body');

# -- variable hosts are bounded

$before = {};
$s = stats();
my $named = qr/nginx_debug_upstream_active\{upstream="([^"]+)",variable="1"\}/;
my $hosts = () = http_get('/debug/metrics')->{body} =~ /$named/g;

for my $n (1 .. 300) {
    my $ip = sprintf '127.%d.%d.%d', 1 + $n % 4, $n / 250, 1 + $n % 250;
    http_get("/var?to=$ip:1");
}

$s = wait_for(sub {
    my $now = stats();
    return $now->{zone}{dropped} ? $now : 0;
});

ok($s, 'too many names are dropped');
is(scalar(() = http_get('/debug/metrics')->{body} =~ /$named/g), 256,
   '256 are told apart');
is($s->{upstreams}{overflow}{failures}{connect}, $s->{zone}{dropped},
   'the others are counted as overflow');
is($s->{upstreams}{overflow}{tries}, 300 - (256 - $hosts), 'all of them');

my @warned = $t->error_lines('no room for "');
is(scalar @warned, 1, 'one warning');
like($warned[0], qr/\[warn\].*no room for "127\.[\d.]+:1" .*variable hosts/,
     'that says what');

$t->reload();
http_get('/var?to=127.9.9.9:1');
wait_for(sub { @warned = $t->error_lines('no room for "');
               @warned == 2 });
is(scalar @warned, 2, 'one more after a reload');

done_testing();
