#!/usr/bin/perl

# Whom snapshots are taken from: over TLS as the location says, from sockets
# that come and go, and from a process that does not tell its pid.

use strict;
use warnings;

use Test::More;

use FindBin;
use lib "$FindBin::Bin/lib";
use Debug::Nginx;

need_bin('openssl');

my $t = Debug::Nginx->new();
my $dir = $t->dir();
my $r = run_cmd(['openssl', qw/ req -x509 -newkey rsa:2048 -nodes -days 3
                 -keyout app.key -out app.crt -subj \/CN=app -addext
                 subjectAltName=DNS:app /], cwd => $dir);

die "openssl: $r->{err}" if $r->{exit};

mkdir "$dir/run";

sub named {
    my ($name) = @_;
    return backend(sub { $_[1]->reply(200, "\x1f\x8b$name") },
                   unix => "$dir/run/acs.$name.pprof");
}

my $one = named('1');

# over TLS only; what is asked without is refused

my $conf = <<"EOC";
%%TEST_GLOBALS%%
worker_processes 1;
events { }
http {
    %%TEST_GLOBALS_HTTP%%

    debug_snapshots path=$dir/kept every=1s keep=2;

    upstream app { server 127.0.0.1:%%PORT_1%%; }

    server {
        listen 127.0.0.1:%%PORT_0%%;
        location /debug/ {
            debug;
            debug_pprof_ssl trusted=$dir/app.crt;
            debug_pprof_pass app;
        }
        location /sockets/ {
            debug;
            debug_pprof_pass acs unix:$dir/run/acs.*.pprof;
        }
        location /strange/ {
            debug;
            debug_pprof_ssl trusted=$dir/app.crt name=somebody.else;
            debug_pprof_pass app;
        }
    }

    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        ssl_certificate $dir/app.crt;
        ssl_certificate_key $dir/app.key;
        default_type application/octet-stream;
        location / { root $dir/html; try_files /profile =404; }
    }
}
EOC

write_file("$dir/html/profile", "\x1f\x8bover tls");
$t->write_conf($conf)->run();

my $k = '/debug/pprof/kept/';

sub list { return decode_json(http_get("$_[0]/pprof/kept/?json")->{body}) }
sub of
{
    my ($group, $where) = @_;
    return grep { $_->{group} eq $group } @{ list($where)->{kept} };
}
sub take {
    return http_get("$_[0]/pprof/kept/", method => 'POST', body => $_[1],
                    headers => { 'Content-Type' =>
                                 'application/x-www-form-urlencoded' });
}

ok(wait_for(sub { of('app', '/debug') >= 1 }, 15),
   'the timer speaks TLS where the location does');

my ($app) = of('app', '/debug');
is(http_get($k . $app->{id})->{body}, "\x1f\x8bover tls", 'its bytes');
is(take('/debug', "group=app&peer=$app->{peer}")->{status}, 201,
   'by hand too');
$r = take('/strange', "group=app&peer=$app->{peer}");
is($r->{status}, 502, 'not from who has another name');
like($r->{body}, qr/certificate|somebody/, 'in words');

# sockets by a pattern are asked as they come and go

ok(wait_for(sub { of('acs', '/sockets') >= 1 }, 15), 'a socket is asked');

my $two = named('2');
ok(wait_for(sub { grep { /acs\.2\./ } map { $_->{peer} }
                  of('acs', '/sockets') }, 15), 'and one that came later');
is(scalar(of('acs', '/debug')), 0, 'seen only where they are let through');
like(http_get('/sockets/pprof/kept/')->{body}, qr/acs\.1\.pprof/, 'page');

# without a pid there is none in the name

my ($acs) = of('acs', '/sockets');
is($acs->{pid}, undef, 'no pid');
like($acs->{id}, qr!/heap/\d+\.pb\.gz$!, 'nor in its link');
like(http_get("/sockets/pprof/kept/$acs->{id}")->{body}, qr/^\x1f\x8b[12]$/,
     'which leads to it');

opendir(my $d, "$dir/kept") or die $!;
ok((grep { /^acs~.*~heap~\d+~t\.pb\.gz$/ } readdir $d), 'nor in its file');

done_testing();
