#!/usr/bin/perl

# Handlers and directives where one seldom sees them: nginx -t, the start and
# a reload live with each, and what is served there counts.
#
# A handler of a server that has no location ended nginx -t by signal 11.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Debug::Nginx;

my $t = Debug::Nginx->new();

my $b = backend(Debug::Backend::answer(200, 'b'));
my $addr = $b->addr();

sub http {
    my ($text) = @_;

    return <<"EOC";
%%TEST_GLOBALS%%
worker_processes 1;
events { }
http {
    %%TEST_GLOBALS_HTTP%%
$text
}
EOC
}


# -- handlers of a server

my $tunnel = $t->has(qr/nginx.1\.(3[1-9]|[4-9]\d)/)
             && !$t->has(qr/without-http_tunnel_module/);

my %handler;

$handler{stub_status} = 'stub_status;' if $t->has(qr/http_stub_status/);
$handler{tunnel_pass} = 'tunnel_pass $arg_to;' if $tunnel;

for my $name (sort keys %handler) {
    my ($exit, $out) = $t->test_config(http("server {
        listen 127.0.0.1:%%PORT_1%%;
        $handler{$name}
    }"));
    is($exit, 0, "$name of a server") or diag($out);

    ($exit, $out) = $t->test_config(http("server {
        listen 127.0.0.1:%%PORT_1%%;
        debug_record off;
        $handler{$name}
        location / { proxy_pass http://\$arg_to; }
    }"));
    is($exit, 0, "$name of a server that is not recorded") or diag($out);
}

SKIP: {
    skip 'no stub_status', 9 unless $handler{stub_status};

    my $conf = http(<<"EOC");
    server {
        listen 127.0.0.1:%%PORT_0%%;
        server_name main;
        location /debug/ { debug; }
    }
    server {
        listen 127.0.0.1:%%PORT_1%%;
        server_name whole;
        stub_status;
    }
    server {
        listen 127.0.0.1:%%PORT_2%%;
        server_name part;
        stub_status;
        location /to {
            set \$to $addr;
            proxy_pass http://\$to;
            limit_except GET { deny all; }
            if (\$arg_x) { proxy_pass http://\$to; }
        }
        if (\$arg_y) { return 204; }
    }
EOC

    $t->run($conf);

    for my $round ('started', 'reloaded', 'reloaded twice') {
        $t->reload() if $round ne 'started';

        http_get('/', port => $t->port(1));
        http_get('/', port => $t->port(2));
        http_get($_, port => $t->port(2)) for '/to', '/to?x=1', '/?y=1';

        my $n = {
            started => 1, reloaded => 2, 'reloaded twice' => 3
        }->{$round};

        my $s = wait_for(sub {
            my $s = decode_json(http_get('/debug/stats')->{body});
            return $s->{servers}{part}{total_count} == 4 * $n ? $s : 0;
        });

        ok($s, "$round: requests of the server count");
        is($s->{servers}{whole}{total_count}, $n,
           "$round: those of one without a location, too");
        is($s->{upstreams}{$addr}{total_count}, 2 * $n,
           "$round: the variable host below it");
    }

    $t->stop();
}


# -- where no route could ever be: nginx -t says so, and where

for my $where (
    ['an exact location', 'location = /x { debug; }', 'prefix'],
    ['an exact location of one route', 'location = /debug/stats { debug; }',
     'prefix'],
    ['an exact location with a slash', 'location = /debug/ { debug legacy; }',
     'prefix'],
    ['a regex', 'location ~ ^/debug/ { debug; }', 'prefix'],
    ['a regex without case', 'location ~* /debug { debug stats; }', 'prefix'],
    ['a named location', 'location @x { debug; }', 'prefix'],
    ['an exact one in a location',
     'location /a/ { location = /a/b { debug; } }', 'prefix'],
    ['a regex in a location', 'location /a/ { location ~ b { debug; } }',
     'prefix'],
    ['"if"', 'location /debug/ { if ($arg_x) { debug; } }', 'not allowed'],
    ['"if" of a server', 'if ($arg_x) { debug; }', 'not allowed'],
    ['limit_except', 'location /debug/ { limit_except GET { debug; } }',
     'not allowed'],
    ['a server', 'debug;', 'not allowed'],
)
{
    my ($name, $text, $words) = @$where;
    my ($exit, $out) = $t->test_config(http(
        "server {\nlisten 127.0.0.1:%%PORT_1%%;\n$text\n}"));

    is($exit, 1, "$name: refused");
    like($out, qr/\[emerg\] .*"debug" directive .*$words.* in \S+\.conf:\d+$/m,
         "$name: says why and where");
}

# -- paths that are rewritten, to inside and to outside

my $r = Debug::Nginx->new();

$r->run(http(<<"EOC"));
    upstream app { server $addr; }
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location /debug/ {
            debug;
            rewrite ^/debug/gone/(.*)\$ /\$1 break;
            rewrite ^/debug/empty\$ / break;
            rewrite ^/debug/short\$ /debug break;
            rewrite ^/debug/other/(.*)\$ /elsewhere/\$1 break;
            rewrite ^/debug/in/(.*)\$ /debug/\$1 break;
        }
        location /with/a/longer/prefix {
            debug;
            rewrite ^/with/a/longer/prefix/(.*)\$ /\$1 break;
        }
        location /legacy/pprof/ {
            debug legacy;
            rewrite ^/legacy/pprof/(.*)\$ /\$1 break;
        }
        location /limited/ {
            debug;
            rewrite ^/limited/gone/(.*)\$ /\$1 break;
            limit_except GET { deny all; }
            if (\$arg_x) { rewrite ^ /y break; }
        }
        location = /from { rewrite ^ /debug/stats last; }
        error_page 418 = /debug/stats;
        location = /teapot { return 418; }
    }
EOC

for my $path ((map { ("/debug/gone/$_", "/debug/other/$_",
                      "/with/a/longer/prefix/$_", "/legacy/pprof/$_",
                      "/limited/gone/$_") }
               '', 'stats', 'pprof/', 'pprof/cmdline', 'pprof/kept/',
               'pprof/view', 'charts/', 'charts/data', 'charts/app/0/data',
               'assets/page.css', 'metrics', 'heap', 'x' x 100),
              '/debug/empty', '/debug/short', '/limited/stats?x=1')
{
    my $got = http_get($path, port => $r->port(0));

    is($got->{status}, 404, "$path: not there") or diag($got->{raw});
    like($got->{body}, qr/^a rewrite in location "\S+" leads out of it/,
         "$path: in words");
}

for my $path ('/debug/in/stats', '/from', '/teapot', '/limited/stats') {
    my $got = http_get($path, port => $r->port(0));

    is($got->{status}, 200, "$path: served");
    like($got->{body}, qr/^\{"pid":/, "$path: with what it leads to");
}

my $got = http_get('/debug/in/pprof/cmdline', port => $r->port(0));
is($got->{body}, 'b', 'a profile, rewritten');

done_testing();
