#!/usr/bin/perl

# Peers whose profilers stand elsewhere (prefix=), have kinds that are not
# known here (debug_pprof_kinds all), or are none, whatever they answer.

use strict;
use warnings;

use FindBin;
use Compress::Zlib ();
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

# as profile.proto without gzip: a sample type, two strings
sub profile { return "\x0a\x04\x08\x01\x10\x02\x32\x00\x32" . chr(length $_[0]) . $_[0] }

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

        $c->reply(200, profile("$kind of $prefix"),
                  'Content-Type' => $go{$kind},
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
    empty => [''],
    zip => ["PK\3\4" . "\0" x 50, 'Content-Type' => 'application/octet-stream'],
    png => ["\x89PNG\r\n\x1a\n" . "\0" x 50, 'Content-Type' => 'image/png'],
    zeros => ["\0" x 64, 'Content-Type' => 'application/octet-stream'],
    page => [Compress::Zlib::memGzip('<!doctype html>' x 20),
             'Content-Encoding' => 'gzip'],
    tar => [Compress::Zlib::memGzip("config/x\0" . "\0" x 500),
            'Content-Type' => 'application/gzip'],
);

# profilers that say nothing of themselves, each by its first bytes

my $proto = profile('x');
my %silent = (
    plain_proto => $proto,
    gz_proto => Compress::Zlib::memGzip($proto x 50),
    go_cpu => Compress::Zlib::memGzip("\x48" . "\x80" x 8 . "\x01" . $proto),
    go_heap => Compress::Zlib::memGzip("\x5a\x04\x08\x01\x10\x02" . $proto),
    members => Compress::Zlib::memGzip('') . Compress::Zlib::memGzip($proto),
    cpu64 => pack('Q<*', 0, 3, 0, 10000, 0, 1, 1, 0x401000),
    cpu32 => pack('L<*', 0, 3, 0, 10000, 0, 1, 1, 0x401000),
    cpu64be => pack('Q>*', 0, 3, 0, 10000, 0),
    tcmalloc => "heap profile:      1:  2 [ 1: 2] @ heap_v2/524288\n",
    contention => "--- contention\ncycles/second = 1\n",
    trace => "go 1.22 trace\0\0\0" . "\x01" x 20,
);
my %says = map {
    my $answer = $silent{$_};
    $_ => backend(sub { $_[1]->reply(200, $answer) });
} keys %silent;
my $drops = backend(sub {
    my ($req, $c) = @_;
    my $gz = $silent{gz_proto};
    $c->send("HTTP/1.1 200 OK\r\nContent-Length: " . length($gz) . "\r\n\r\n");
    for (split //, $gz) { $c->send($_) or return; $c->delay(0.01) or return }
});
my %none = map {
    my @answer = @{ $plain{$_} };
    $_ => backend(sub { $_[1]->reply(200, @answer) });
} keys %plain;
my $lib = backend(sub {
    $_[1]->reply(200, 'x', 'Content-Type' => 'text/plain',
                 'X-Pprof-Pid' => 17);
});

# a Go peer's own index: two kinds of its own, and what a hostile one lists

my $hostile = join '', map { "<a href='$_'>x</a>\n" }
    '../../etc/passwd', 'http://evil.example/', '//evil.example/x', '.hidden',
    'javascript:alert(1)', 'a b', 'a&quot;onclick=x', '%2e%2e', "<script>",
    'x' x 65, '', '?debug=1', 'heap', "sp\xc3\xa4t", 'all';
my $own = backend(sub {
    my ($req, $c) = @_;
    my %h = ('Content-Type' => 'text/plain; charset=utf-8',
             'X-Content-Type-Options' => 'nosniff');

    return $c->reply(200, "own", %h) if $req->{uri} =~ /cmdline/;
    return $c->reply(200, profile("$1")) if $req->{uri} =~ m!/(leases|queue_2)$!;
    return $c->reply(404, "no\n", %h) unless $req->{uri} eq '/debug/pprof/';

    $c->reply(200, "<html><body><table>$hostile"
        . "<tr><td>3</td><td><a href='leases?debug=1'>leases</a></td></tr>"
        . "<tr><td>0</td><td><a href=\"queue_2\">queue_2</a></td></tr>"
        . "<tr><td>9</td><td><a href='heap?debug=1'>heap</a></td></tr>"
        . "<tr><td>9</td><td><a href='leases?debug=2'>full</a></td></tr>"
        . '</table>', 'Content-Type' => 'text/html; charset=utf-8');
});
my $long = backend(sub {
    my ($req, $c) = @_;
    return $c->reply(200, 'long', 'X-Pprof-Pid' => 9)
        if $req->{uri} =~ /cmdline/;
    $c->reply(200, join '', map { "<a href='k$_'>" } 1 .. 20000);
});
my $late = backend(sub {
    my ($req, $c) = @_;
    return $c->reply(200, 'late', 'X-Pprof-Pid' => 9)
        if $req->{uri} =~ /cmdline/;
    $c->hang();
});

my %all = (%none, %says, own => $own, long => $long, late => $late,
           drops => $drops);
my $upstreams = join '', map {
    "    upstream $_ { server @{[ $all{$_}->addr() ]}; }\n"
} sort keys %all;

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
            debug_pprof_pass own;
            debug_pprof_pass long;
            debug_pprof_pass late;
        }
    }
}
EOC

# -- prefix

my $r = http_get('/pass/pprof/app/0/heap');
is($r->{body}, profile('heap of /app/debug/pprof'), 'a prefix');
is(http_get('/pass/pprof/heap')->{body}, profile('heap of /app/debug/pprof'),
   'of the default peer');
is(http_get('/pass/pprof/usual/0/heap?gc=1')->{body}, profile('heap of /debug/pprof'),
   'another group has its own');
is(http_get('/pass/pprof/lib/0/heap')->{body}, profile('heap of /x'),
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
    my $got = { map { %{ states("/debug/pprof/$_/") } }
                sort(keys %none), qw/ app usual lib / };

    is($got->{$_}, 'foreign', "$_: an application that answers 200 to all")
        for sort keys %none;
    for (sort keys %none) {
        my $r = http_get("/debug/pprof/$_/0/heap", method => 'HEAD');

        is($r->{status}, 502, "$_: HEAD does not say that it has a profile");
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

# -- a profiler that says nothing of itself

for my $who (sort keys %silent) {
    my $r = http_get("/debug/pprof/$who/0/heap");

    is($r->{status}, 200, "$who is passed on");
    is($r->{body}, $silent{$who}, "$who: as it is");
}

is(http_get('/debug/pprof/drops/0/heap')->{body}, $silent{gz_proto},
   'byte by byte');

# -- kinds

{
    my $html = { Accept => 'text/html' };
    my $body;

    # both answers within a second, which a busy machine may not have
    wait_for(sub {
        $body = http_get('/all/pprof/own/0/', headers => $html)->{body};
        return $body =~ /leases/;
    });

    my @known = $body =~ /<a href="\.\/([^"]*)">/g;

    is(scalar(grep { $_ eq 'leases' } @known), 1, 'own: leases is shown');
    is(scalar(grep { $_ eq 'queue_2' } @known), 1, 'own: queue_2 is shown');
    is(scalar(grep { $_ eq 'heap' } @known), 1, 'own: heap once');
    is(join(' ', grep { !/^[a-z]+(?:_2)?$/ } @known), '', 'and nothing hostile');
    is(join(' ', grep { /evil|script|etc|^all$|xxx/ } @known), '', 'of any sort');
    ok(wait_for(sub {
        return http_get('/all/pprof/own/0/', headers => {
            Accept => 'text/plain' })->{body} =~ /^kinds: .* leases queue_2$/m;
    }), 'in words');
    is(http_get('/all/pprof/own/0/queue_2')->{body}, profile('queue_2'),
       'and let through');

    $body = http_get('/debug/pprof/own/0/', headers => $html)->{body};
    unlike($body, qr/leases/, 'without all it is not');
    unlike(http_get('/all/pprof/', headers => $html)->{body}, qr/leases/,
           'nor where there are several');

    for ('long', 'late') {
        $body = http_get("/all/pprof/$_/0/", headers => $html)->{body};
        like($body, qr/data-state="ready"/, "$_: the page comes");
        like($body, qr!href="\./heap"!, "$_: with what is known");
        cmp_ok(length $body, '<', 20000, "$_: and is not long");
    }
}

is(http_get('/debug/pprof/usual/0/leases')->{status}, 404,
   'a kind of a program\'s own is none');
is(http_get('/all/pprof/usual/0/leases')->{body}, profile('leases of /debug/pprof'),
   'but of all');
is(http_get('/all/pprof/usual/0/heap')->{status}, 200, 'among which is heap');
is(http_get('/all/pprof/usual/0/..%2fx')->{status}, 404,
   'and is not what cannot be one');
is(http_get('/debug/pprof/usual/0/goroutineleak')->{body},
   profile('goroutineleak of /debug/pprof'), 'goroutineleak is known');

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
