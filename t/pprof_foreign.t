#!/usr/bin/perl

# Peers whose profilers stand elsewhere (prefix=), have kinds that are not
# known here (debug_pprof_kinds all), or are none, whatever they answer.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Debug::Nginx;

need_bin('nginx');

my $t = Debug::Nginx->new();

# Go's handlers below a prefix of the application's, and 404 beside it

my %go = (cmdline => 'text/plain; charset=utf-8',
          heap => 'application/octet-stream',
          leases => 'application/octet-stream',
          goroutineleak => 'application/octet-stream');

sub go {
    my ($prefix, %o) = @_;

    return backend(sub {
        my ($req, $c) = @_;
        my ($kind) = $req->{uri} =~ m!^\Q$prefix\E/(\w+)(?:\?|$)!;

        return $c->reply(200, '{"Pprof":[]}',
                         'Content-Type' => 'application/json')
            if $req->{uri} =~ m!^/app/debug/charts/data!;

        return $c->reply(404, "404 page not found\n",
                         'Content-Type' => 'text/plain; charset=utf-8',
                         'X-Content-Type-Options' => 'nosniff')
            unless $kind && $go{$kind};

        $c->reply(200, "$kind of $prefix", 'Content-Type' => $go{$kind},
                  'X-Content-Type-Options' => 'nosniff');
    }, %o);
}

my $app = go('/app/debug/pprof');
my $usual = go('/debug/pprof');
my $unix = go('/x', unix => 1);

# servers that are none: they answer anything, or with what is no text

my %plain = (
    ok => ['OK', 'Content-Type' => 'text/plain'],
    charset => ['OK', 'Content-Type' => 'text/plain; charset=utf-8'],
    json => ['{}', 'Content-Type' => 'application/json',
             'X-Content-Type-Options' => 'nosniff'],
    bytes => ['OK', 'Content-Type' => 'application/octet-stream'],
    untyped => ['OK'],
);
my %none = map {
    my @answer = @{ $plain{$_} };
    $_ => backend(sub { $_[1]->reply(200, @answer) });
} keys %plain;
my $lib = backend(sub {
    $_[1]->reply(200, 'x', 'Content-Type' => 'text/plain',
                 'X-Pprof-Pid' => 17);
});

my $upstreams = join '', map {
    "    upstream $_ { server @{[ $none{$_}->addr() ]}; }\n"
} sort keys %none;

$t->write_conf(<<"EOC")->run();
%%TEST_GLOBALS%%
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    upstream app { server @{[ $app->addr() ]}; }
    upstream usual { server @{[ $usual->addr() ]}; }
    upstream unix { server @{[ $unix->addr() ]}; }
    upstream lib { server @{[ $lib->addr() ]}; }
$upstreams
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location /debug/ { debug; }
        location /pass/ {
            debug;
            debug_pprof_pass app prefix=/app/debug/pprof;
            debug_pprof_pass usual;
            debug_pprof_pass lib unix prefix=/x/;
        }
        location /all/ {
            debug pprof;
            debug_pprof_kinds all;
            debug_pprof_pass usual;
        }
    }
}
EOC

# -- prefix

my $r = http_get('/pass/pprof/app/0/heap');
is($r->{body}, 'heap of /app/debug/pprof', 'a prefix');
is(http_get('/pass/pprof/heap')->{body}, 'heap of /app/debug/pprof',
   'of the default peer');
is(http_get('/pass/pprof/usual/0/heap?gc=1')->{body}, 'heap of /debug/pprof',
   'another group has its own');
is(http_get('/pass/pprof/lib/0/heap')->{body}, 'heap of /x',
   'with listeners, and a slash behind it');
is(http_get('/pass/charts/app/0/data')->{body}, '{"Pprof":[]}',
   'and what it says of its process stands beside it');
like(http_get('/pass/pprof/app/0/mutex')->{body}, qr/404/,
     'what is not there is the peer\'s 404');

sub states {
    my ($path) = @_;
    my $body = http_get($path, headers => { Accept => 'text/plain' })
               ->{body};

    return { $body =~ /^(\w+)\/0 +\S+ +(\w+)/mg };
}

is_deeply(states('/pass/pprof/'),
          { app => 'ready', usual => 'ready', lib => 'ready' },
          'each is looked for where it is');

# -- what is no profiler

{
    my $got = states('/debug/pprof/');

    is($got->{$_}, 'foreign', "$_: an application that answers 200 to all")
        for sort keys %none;
    for (sort keys %none) {
        my $r = http_get("/debug/pprof/$_/0/heap", method => 'HEAD');

        is($r->{status}, 502, "$_: HEAD does not say that it has a profile");
        next if /bytes|untyped/;      # whose bytes the client will judge

        $r = http_get("/debug/pprof/$_/0/heap");
        is($r->{status}, 502, "$_: nor does GET pass it on");
        like($r->{body}, qr/has no profile at .*it answered 200/, "$_: why");
    }

    is(http_get('/debug/pprof/usual/0/heap', method => 'HEAD')->{status}, 200,
       'HEAD of Go');
    is(http_get('/debug/pprof/lib/0/profile', method => 'HEAD')->{status}, 200,
       'HEAD of libpprof');
    is($got->{app}, 'foreign', 'one elsewhere is not at the usual place');
    is($got->{usual}, 'ready', 'Go is known');
    is($got->{lib}, 'ready', 'and libpprof');
}

# -- kinds

is(http_get('/debug/pprof/usual/0/leases')->{status}, 404,
   'a kind of a program\'s own is none');
is(http_get('/all/pprof/usual/0/leases')->{body}, 'leases of /debug/pprof',
   'but of all');
is(http_get('/all/pprof/usual/0/heap')->{status}, 200, 'among which is heap');
is(http_get('/all/pprof/usual/0/..%2fx')->{status}, 404,
   'and is not what cannot be one');
is(http_get('/debug/pprof/usual/0/goroutineleak')->{body},
   'goroutineleak of /debug/pprof', 'goroutineleak is known');

like(http_get('/all/pprof/', headers => { Accept => 'text/plain' })->{body},
     qr/^kinds:(?=.* heap)(?=.* goroutineleak)(?!.* all\b)/m,
     'those that are known are shown');

# -- wrong ones

for (['debug_pprof_pass app prefix=;', qr/invalid prefix ""/],
     ['debug_pprof_pass app prefix=app;', qr/invalid prefix "app"/],
     ['debug_pprof_pass app prefix=/;', qr/invalid prefix "\/"/],
     ['debug_pprof_pass app "prefix=/a b";', qr/invalid prefix "\/a b"/],
     ['debug_pprof_pass app prefix=/a?b;', qr/invalid prefix/],
     ['debug_pprof_pass app prefix=/a usual;', qr/invalid parameter "usual"/],
     ['debug_pprof_pass app usual unix;', qr/invalid parameter "unix"/],
     ['debug_pprof_kinds all all;', qr/duplicate profile kind "all"/])
{
    my ($directive, $said) = @$_;
    my ($exit, $out) = $t->test_config(<<"EOC");
%%TEST_GLOBALS%%
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    upstream app { server 127.0.0.1:1; }
    upstream usual { server 127.0.0.1:1; }
    server { location /debug/ { debug; $directive } }
}
EOC

    isnt($exit, 0, $directive);
    like($out, qr/$said.* in \S+:\d+/, 'says what and where');
}

done_testing();
