#!/usr/bin/perl

# Peers over TLS, peers that come and go as sockets, and those whom nginx
# itself turns away.

use strict;
use warnings;

use Test::More;

use Debug::Nginx;

need_bin('openssl');

my $t = Debug::Nginx->new();
my $dir = $t->dir();

# an authority, a certificate of "app" by it, and one by nobody

sub openssl {
    my $r = run_cmd(['openssl', @_], cwd => $dir);
    die "openssl @_: $r->{err}" if $r->{exit};
}

for my $name (qw/ ca app other client /) {
    openssl(qw/ req -x509 -newkey rsa:2048 -nodes -days 3 -keyout /,
            "$name.key", '-out', "$name.crt", '-subj', "/CN=$name",
            '-addext', "subjectAltName=DNS:$name");
}

for my $name (qw/ app client /) {
    openssl(qw/ req -new -key /, "$name.key", '-out', "$name.csr", '-subj',
            "/CN=$name");
    write_file("$dir/ext", "subjectAltName=DNS:$name\n");
    openssl(qw/ x509 -req -days 3 -CA ca.crt -CAkey ca.key -CAcreateserial -in /,
            "$name.csr", '-out', "$name.crt", '-extfile', 'ext');
}

mkdir "$dir/run";

sub named {
    my ($name) = @_;
    return backend(sub { $_[1]->reply(200, "$name $_[0]{uri}", 'X-Pprof-Pid' => 7) },
                   unix => "$dir/run/acs.$name.pprof");
}

my $dead = free_port();

$t->write('users', "me:{PLAIN}secret\n");

my $conf = <<"EOC";
%%TEST_GLOBALS%%
worker_processes 2;
events { }
http {
    %%TEST_GLOBALS_HTTP%%

    error_page 400 401 403 404 503 = /error.html;
    gzip on;
    gzip_min_length 1;
    gzip_types *;

    upstream app { server 127.0.0.1:%%PORT_1%%; }
    upstream other { server 127.0.0.1:%%PORT_2%%; }
    upstream client { server 127.0.0.1:%%PORT_3%%; }
    upstream plain { server 127.0.0.1:%%PORT_4%%; }

    limit_req_zone \$arg_limit zone=l:1m rate=1r/m;

    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { }

        location /none/ { debug; debug_pprof_ssl on; }
        location /trusted/ { debug; debug_pprof_ssl trusted=$dir/ca.crt; }
        location /name/ {
            debug; debug_pprof_ssl on trusted=$dir/ca.crt name=app depth=2;
        }
        location /cert/ {
            debug;
            debug_pprof_ssl trusted=$dir/ca.crt name=app
                            certificate=$dir/client.crt key=$dir/client.key;
        }
        location /off/ { debug; }

        location /sockets/ {
            debug;
            debug_pprof_pass acs unix:$dir/run/acs.*.pprof;
            debug_pprof_pass app;
        }

        location /deny/ { debug; deny all; }
        location /basic/ {
            debug; auth_basic site; auth_basic_user_file %%DIR%%/users;
        }
        location /limited/ { debug; limit_req zone=l; }
        location /page/ { debug; deny all; error_page 403 \@page; }
        location \@page { return 200 "log in"; }
    }

    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        ssl_certificate $dir/app.crt;
        ssl_certificate_key $dir/app.key;
        location / {
            add_header X-Pprof-Pid 1;
            return 200 "app \$ssl_server_name \$uri";
        }
    }

    server {
        listen 127.0.0.1:%%PORT_2%% ssl;
        ssl_certificate $dir/other.crt;
        ssl_certificate_key $dir/other.key;
        location / {
            add_header X-Pprof-Pid 1;
            return 200 "other \$uri";
        }
    }

    server {
        listen 127.0.0.1:%%PORT_3%% ssl;
        ssl_certificate $dir/app.crt;
        ssl_certificate_key $dir/app.key;
        ssl_client_certificate $dir/ca.crt;
        ssl_verify_client on;
        location / {
            add_header X-Pprof-Pid 1;
            return 200 "client \$uri";
        }
    }

    server {
        listen 127.0.0.1:%%PORT_4%%;
        location / {
            add_header X-Pprof-Pid 1;
            return 200 "plain \$uri";
        }
    }
}
EOC

$t->write_conf($conf)->run();

my $r;
my $tls = qr/TLS handshake or certificate is not right/;

# TLS

is(http_get('/none/pprof/app/0/heap')->{body}, 'app app /debug/pprof/heap',
   'TLS, server name is the group');
is(http_get('/none/pprof/other/0/heap')->{body}, 'other /debug/pprof/heap',
   'not verified');
is(http_get('/trusted/pprof/app/0/heap')->{body}, 'app app /debug/pprof/heap',
   'verified');

$r = http_get('/trusted/pprof/other/0/heap');
is($r->{status}, 502, 'certificate of nobody');
like($r->{body}, $tls, 'in a sentence');

$r = http_get('/trusted/pprof/client/0/heap');
is($r->{status}, 502, 'certificate of another name');

is(http_get('/name/pprof/app/0/heap')->{body}, 'app app /debug/pprof/heap',
   'name');
isnt(http_get('/name/pprof/client/0/heap')->{body}, 'client /debug/pprof/heap',
     'no certificate of ours');
is(http_get('/cert/pprof/client/0/heap')->{body}, 'client /debug/pprof/heap',
   'certificate of ours');

$r = http_get('/none/pprof/plain/0/heap');
is($r->{status}, 502, 'no TLS there');
like($r->{body}, $tls, 'in a sentence');

isnt(http_get('/off/pprof/app/0/heap')->{body}, 'app app /debug/pprof/heap',
     'no TLS here');
is(http_get('/off/pprof/plain/0/heap')->{body}, 'plain /debug/pprof/heap',
   'plain to plain');

# the page looks by the same rules

sub look {
    my ($path, $group) = @_;
    my $text = http_get($path, headers => { Accept => 'text/plain' })->{body};
    return $text =~ /^\Q$group\E\/0 +\S+ +(\w+)/m ? $1 : $text;
}

is(look('/trusted/pprof/', 'app'), 'ready', 'page: verified');
is(look('/trusted/pprof/', 'other'), 'broken', 'page: certificate of nobody');
is(look('/none/pprof/', 'other'), 'ready', 'page: not verified');
is(look('/cert/pprof/', 'client'), 'ready', 'page: certificate of ours');
is(look('/none/pprof/', 'plain'), 'broken', 'page: no TLS there');

# sockets

$r = http_get('/sockets/pprof/');
like($r->{body}, qr!<h2>acs</h2>!, 'page, no socket yet');
is(http_get('/sockets/pprof/acs/0/heap')->{status}, 404, 'no peer yet');

my $b1 = named(1);
my $b2 = named(2);
write_file("$dir/run/acs.3.pprof", 'no socket');

is(http_get('/sockets/pprof/heap')->{body}, '1 /debug/pprof/heap', 'default');
is(http_get('/sockets/pprof/acs/0/heap')->{body}, '1 /debug/pprof/heap', 'first');
is(http_get('/sockets/pprof/acs/1/heap')->{body}, '2 /debug/pprof/heap',
   'second');
is(http_get("/sockets/pprof/acs/unix:$dir/run/acs.2.pprof/heap")->{body},
   '2 /debug/pprof/heap', 'by path');
is(http_get('/sockets/pprof/acs/2/heap')->{status}, 404, 'no third');
like(http_get('/sockets/pprof/')->{body}, qr!unix:$dir/run/acs\.2\.pprof!, 'page');

my $b4 = named(0);
is(http_get('/sockets/pprof/heap')->{body}, '1 /debug/pprof/heap',
   'a new one does not become the default');
is(http_get('/sockets/pprof/acs/2/heap')->{body}, '2 /debug/pprof/heap',
   'but is there');

# a process that died leaves its file
$b1->stop();
is(http_get('/sockets/pprof/heap')->{status}, 502, 'dead');
is(http_get('/sockets/pprof/heap')->{body}, '0 /debug/pprof/heap', 'the next one');
unlink "$dir/run/acs.1.pprof";
is(http_get('/sockets/pprof/acs/1/heap')->{body}, '2 /debug/pprof/heap', 'gone');

# turned away by nginx

sub plain {
    my ($path, $status, $re, %o) = @_;
    my $r = http_get($path, headers => { 'Accept-Encoding' => 'gzip', %o });

    subtest $path => sub {
        is($r->{status}, $status, 'status');
        like($r->{body}, $re, 'sentence');
        is($r->{headers}{'content-length'}, length $r->{body}, 'length');
        is($r->{headers}{'content-encoding'}, undef, 'not compressed');
        like($r->{headers}{'content-type'}, qr!^text/plain!, 'type');
        is($r->{headers}{'x-go-pprof'}, 1, 'X-Go-Pprof');
        is($r->{headers}{'cache-control'}, 'no-store', 'no-store');
        ok($r->{complete}, 'complete');
    };

    return $r;
}

plain('/deny/pprof/heap', 403, qr/^access denied\n\z/);
plain('/deny/', 403, qr/^access denied\n\z/);
$r = plain('/basic/pprof/heap', 401, qr/^a name and a password are needed/);
like($r->{headers}{'www-authenticate'}, qr/^Basic realm="site"/, 'WWW-Authenticate');
http_get('/limited/stats?limit=x');
plain('/limited/stats?limit=x', 503, qr/^too many requests/);

is(http_get('/deny/pprof/heap', method => 'HEAD')->{body}, '', 'HEAD');
is(http_get('/page/')->{body}, 'log in', "the location's own error page");
like(http_get('/nothere')->{body}, qr/<html>/, 'pages elsewhere');

# wrong configurations say where

sub conf_error {
    my ($line, $re) = @_;
    my $text = $conf =~ s/(location \/off\/ \{ debug; )/$1$line /r;
    my ($exit, $out) = $t->test_config($text);

    isnt($exit, 0, $line);
    like($out, qr/\[emerg\] .*$re.* in \S+\/test\d+\.conf:\d+/, 'with its place');
}

conf_error('debug_pprof_pass nothere;', qr/upstream "nothere" .* not found/);
conf_error('debug_pprof_pass app nothere;', qr/upstream "nothere" .* not found/);
conf_error('debug_pprof_pass app unix:run/x;', qr/no absolute path/);
conf_error('debug_pprof_pass app; debug_pprof_pass app;', qr/duplicate upstream/);
conf_error('debug_pprof_pass;', qr/invalid number of arguments/);
conf_error('debug_pprof_kinds heap heap;', qr/duplicate profile kind/);
conf_error('debug_pprof_kinds ../x;', qr/invalid profile kind/);
conf_error('debug_pprof_kinds heap; debug_pprof_kinds mutex;', qr/is duplicate/);
conf_error('debug_pprof_max 0;', qr/value must be between 1 and 256/);
conf_error('debug_pprof_max x;', qr/invalid number/);
conf_error('debug_pprof_busy wait;', qr/invalid value "wait"/);
conf_error('debug_pprof_keepalive x;', qr/invalid value/);
conf_error('debug_write_timeout x;', qr/invalid value/);
conf_error('debug_write_timeout 0;', qr/must not be zero/);
conf_error('debug_pprof_ssl maybe;', qr/invalid parameter "maybe"/);
conf_error('debug_pprof_ssl on name=;', qr/invalid parameter "name="/);
conf_error("debug_pprof_ssl certificate=$dir/app.crt;", qr/both "certificate"/);
conf_error('debug_pprof_ssl depth=x;', qr/invalid value "x"/);

my ($exit, $out) = $t->test_config($conf =~ s/(location \/off\/ \{ debug; )/$1 debug_write_timeout 30s; /r);
is($exit, 0, 'debug_write_timeout 30s');
like($out, qr/\[warn\] .*CPU profiles of the default 30 seconds are refused in \S+:\d+/,
     'warns');

done_testing();
