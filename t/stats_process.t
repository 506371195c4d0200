#!/usr/bin/perl

# What a peer's process says of itself, in /debug/metrics and /debug/stats:
# fetched in the background, of each peer by itself, absent where it is not
# known, and not for ever.

###############################################################################

use warnings;
use strict;

use POSIX ();
use Test::More;
use Time::HiRes qw/ sleep time /;

use FindBin;
use lib "$FindBin::Bin/lib";

use Debug::App;
use Debug::Nginx;
use Debug::Proto;

###############################################################################

need_bin('nginx');

my $build = $ENV{DEBUG_BUILD} // 'build';
my $dir = temp_dir('process');
my $sock = "$dir/app.pprof";
my $last = '/debug/charts/data?last=1';

# a program with 60 MB and three descriptors more

my $app = Debug::App->start(
    cmd => ["$build/pprof-run", '-l', "unix:$sock", $^X, '-e',
            'my $x = "a" x 60e6; my @f; open $f[$_], "<", "/dev/null" for 0 .. 2;'
            . '1 while times() < 0.3; sleep 300'],
    ready => { unix => $sock },
);

# peers of all sorts; an agent of another program, which hangs when it is told

sub tells {
    my ($point) = @_;
    return sub { $_[1]->reply(200, "{\"Process\":[$point]}") };
}

my $own = backend(sub { $_[1]->reply(200, "ok\n") });
my $told = backend(sub {
    my ($req, $c) = @_;
    return $c->hang() if -e "$dir/hang";
    tells('{"Rss":1048576,"HeapInUse":0,"CpuSeconds":1.5,"Threads":3}')
        ->($req, $c);
});
my $hangs = backend(Debug::Backend::hang());
my $drips = backend(sub {
    my ($req, $c) = @_;
    $c->send("HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n");
    for (1 .. 100) { $c->send(' ') && $c->delay(0.2) or last }
});
my $plain = backend(sub { $_[1]->reply(404, "what?\n") });
my $no_json = backend(sub { $_[1]->reply(200, "ok\n") });
my $hostile = backend(tells('{"Rss":-1,"HeapInUse":"9","CpuSeconds":1e300,'
    . '"Threads":1.5,"Fds":99999999999999999999}'));
my $half = backend(tells('{"Rss":-1,"Fds":7}'));
my $day = backend(sub {
    $_[1]->reply(200, '{"Process":[' . ('{"Rss":1},' x 1000) . '{"Rss":1}]}');
});
my $prefixed = backend(tells('{"Rss":5}'));
my $refused = '127.0.0.1:' . free_port();
my %name = (told => $told->addr(), hangs => $hangs->addr(),
    drips => $drips->addr(), plain => $plain->addr(),
    no_json => $no_json->addr(), hostile => $hostile->addr(),
    half => $half->addr(), day => $day->addr(), refused => $refused);

my $t = Debug::Nginx->new();
my $conf = <<"EOC";
%%TEST_GLOBALS%%
worker_processes 2;
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    debug_pprof_pass app listeners;
    debug_pprof_pass many;
    debug_pprof_pass far prefix=/app/debug/pprof;
    upstream app { server @{[ $own->addr() ]}; }
    upstream listeners { server unix:$sock; }
    upstream far { server @{[ $prefixed->addr() ]}; }
    upstream not { server @{[ $prefixed->addr() ]}; }
    upstream many {
@{[ map { "        server $_;\n" } sort values %name ]}
        server @{[ $half->addr() =~ s/:.*/:1/r ]} down;
    }
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { proxy_pass http://app; }
        location /not { proxy_pass http://not; }
        location /debug/ { debug; }
    }
}
EOC

$t->write_conf($conf)->run();

my $scrapes = 0;
my $slowest = 0;

# { family => { peer => value } } of the processes
sub scrape {
    my (%o) = @_;
    my $began = time();
    my $body = http_get('/debug/metrics', %o)->{body};
    my $took = time() - $began;
    my %got;

    $slowest = $took if $took > $slowest;
    $scrapes++;

    $got{$1}{$2} = $3 while $body =~
        /^nginx_debug_peer_process_(\w+)\{upstream="(?:app|many|far|not)",peer="([^"]+)"\} (\S+)$/mg;
    return \%got;
}

sub asked {
    my ($b) = @_;
    return grep { ($_->{uri} // '') =~ /charts/ } $b->received();
}

# -- nobody is asked while nobody wants to know

sleep 2.5;
is(scalar(asked($told)), 0, 'no scrape: nobody is asked');

# -- what is told

my ($got, $first);

$got = scrape();
is_deeply($got, {}, 'the first scrape has none');
$first = time();

my $peer = $own->addr();

ok(wait_for(sub {
    $got = scrape();
    return $got->{resident_memory_bytes}{$peer}
           && $got->{resident_memory_bytes}{$name{told}};
}, 20), 'then there are some');

is((asked($told))[0]{uri}, $last, 'what is asked');
is(scalar(asked($own)), 0, 'not the application, where another listens');

my $pid = $app->pid();
my ($rss) = read_file("/proc/$pid/status") =~ /^VmRSS:\s+(\d+) kB/m;
my @fds = glob "/proc/$pid/fd/*";

cmp_ok(abs($got->{resident_memory_bytes}{$peer} - $rss * 1024), '<', 5e6,
    'resident memory: what the kernel says');
cmp_ok($got->{heap_bytes}{$peer}, '>', 50e6, 'heap');
is($got->{threads}{$peer}, 1, 'threads');
cmp_ok(abs($got->{open_fds}{$peer} - @fds), '<=', 1, 'descriptors');
cmp_ok($got->{cpu_seconds_total}{$peer}, '>', 0.2, 'CPU');
cmp_ok($got->{age_seconds}{$peer}, '<', 15, 'age');

is($got->{resident_memory_bytes}{$name{told}}, 1048576, 'told: rss');
is($got->{heap_bytes}{$name{told}}, 0, 'told: 0 is a number');
is($got->{cpu_seconds_total}{$name{told}}, 1.5, 'told: CPU');
is($got->{threads}{$name{told}}, 3, 'told: threads');
ok(!exists $got->{open_fds}{$name{told}}, 'not told: absent');

# prefix= of debug_pprof_pass; a group that is in none

ok(wait_for(sub {
    $got = scrape();
    return ($got->{resident_memory_bytes}{$name{half}}
            // $got->{open_fds}{$name{half}})
           && $got->{resident_memory_bytes}{$prefixed->addr()};
}, 20), 'another prefix');
is((asked($prefixed))[0]{uri}, '/app/debug/charts/data?last=1',
    'prefix: beside the profiles');
is($got->{open_fds}{$name{half}}, 7, 'half: what can be read is told');
ok(!exists $got->{resident_memory_bytes}{$name{half}}, 'half: the rest is not');

for my $who (qw/ hangs drips plain no_json hostile day refused /) {
    is(join(' ', grep { exists $got->{$_}{$name{$who}} } sort keys %$got), '',
        "$who: nothing is known");
}

# -- in JSON and protobuf

my $peers = decode_json(http_get('/debug/stats')->{body})->{upstreams};
my $p = $peers->{many}{peers}{$name{told}}{process};

is($p->{resident_memory_bytes}, 1048576, 'stats: rss');
is($p->{cpu_seconds}, 1.5, 'stats: CPU');
cmp_ok($p->{age_seconds}, '<', 15, 'stats: age');
ok(!exists $p->{open_fds}, 'stats: not told');
is($peers->{many}{peers}{$name{hangs}}{process}, undef, 'stats: null');

my $proto = http_get('/debug/metrics', headers => {
    Accept => 'application/vnd.google.protobuf;'
        . 'proto=io.prometheus.client.MetricFamily;encoding=delimited' })->{body};
my ($cpu) = grep { $_->{name} eq 'nginx_debug_peer_process_cpu_seconds_total' }
    proto_families($proto);
ok($cpu, 'protobuf: CPU');
ok(index($proto, 'nginx_debug_peer_process_age_seconds') > 0, 'protobuf: age');

# -- who hangs delays nobody; who tells nothing is left alone

my $oldest = 0;

while (time() < $first + 25) {
    $got = scrape();
    $oldest = $_ > $oldest ? $_ : $oldest
        for grep { defined } $got->{age_seconds}{$name{told}} // 99;
    sleep 0.5;
}

cmp_ok($oldest, '<', 15, 'beside peers that hang, numbers are not old');
cmp_ok($slowest, '<', 1, 'no scrape waits for a peer');
cmp_ok(scalar(asked($told)), '>=', 3, 'told: asked every ten seconds');
cmp_ok(scalar(asked($told)), '<=', 5, 'and no more, by two workers');

for ([plain => $plain], [no_json => $no_json], [day => $day],
    [hangs => $hangs], [drips => $drips])
{
    my ($who, $b) = @$_;
    cmp_ok(scalar(asked($b)), '<=', 2, "$who: is asked less");
}

# -- what was told is forgotten, when it does not tell any more

write_file("$dir/hang", '');
my $since = time();
$oldest = 0;

ok(wait_for(sub {
    $got = scrape();
    my $age = $got->{age_seconds}{$name{told}} // return 1;
    $oldest = $age if $age > $oldest;
    return 0;
}, 30), 'hangs since: absent');
cmp_ok($oldest, '<=', 15, 'not older than 15 s');
cmp_ok(time() - $since, '>', 3, 'but not at once');

# -- a reload asks anew, "off" asks nobody

unlink "$dir/hang";
$plain->clear();
$t->write_conf($conf =~ s/debug_pprof_pass many;/$& debug_process off;/r);
$t->reload();
$told->clear();
scrape() and sleep 0.5 for 1 .. 6;
is(scalar(asked($told)), 0, 'off: nobody is asked');

# who is in no debug_pprof_pass is an application that nobody called a profiler

(my $unnamed = $conf) =~ s/^\s+debug_pprof_pass [^;]+;\n//mg;
$t->write_conf($unnamed);
$t->reload();
$told->clear();
scrape() and sleep 0.5 for 1 .. 6;
is(scalar(asked($told)), 0, 'in no debug_pprof_pass: is not asked');

$t->write_conf($unnamed =~ s/upstream app/debug_process on;\n    $&/r);
$t->reload();
ok(wait_for(sub { scrape()->{threads}{$name{told}} }, 20), 'on: but then');

$t->write_conf($conf);
$t->reload();
ok(wait_for(sub { scrape()->{threads}{$name{told}} }, 20), 'on again');
ok(wait_for(sub { scrape(); asked($plain) }, 20), 'reload: all are asked again');

done_testing();

###############################################################################
