#!/usr/bin/perl

# debug_watch: faults are injected into light, noisy load, each into a group of
# its own; whoever is sick has an incident within two seconds after its line
# was crossed for as long as "for" says, with all that was to be taken, and
# whoever is well has none.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw/ sleep time /;

use FindBin;
use lib "$FindBin::Bin/lib";
use Debug::App;
use Debug::Nginx;

# where everything stands still for a second now and then, everybody is sick

my $worst = 0;

for (1 .. 40) {
    my $begin = time();
    sleep 0.05;
    $worst = time() - $begin if time() - $begin > $worst;
}

my ($busy) = read_file('/proc/loadavg') =~ /^([\d.]+)/;
my $cores = () = read_file('/proc/cpuinfo') =~ /^processor/mg;

$busy = ($busy // 0) / ($cores || 1);

plan(skip_all => sprintf 'the machine is too busy: 0.05 s took %.2f, %.0f want'
                         . ' each core', $worst, $busy)
    if ($worst > 0.4 || $busy > 6) && !$ENV{TEST_LONG};

my $build = $ENV{DEBUG_BUILD} // 'build';
my $t = Debug::Nginx->new();
my $dir = $t->dir();
my $kept = "$dir/kept";
my $WAIT = 3;

# what a peer says of itself, and what becomes of its requests, is in a file

my %fault = (delay => 0, status => 200, rss => 100, threads => 10, cpu => 0.1);

sub set {
    my ($name, %h) = @_;
    write_file("$dir/.$name", encode_json({ %fault, %h }));
    rename "$dir/.$name", "$dir/$name.fault";
}

my $dump = join '', map { "goroutine $_ [sleep]:\nmain.serve(0x1)\n"
                          . "\t/src/main.go:12 +0x1\n\n" } 1 .. 5;

sub peer {
    my ($name, @more) = @_;

    set($name);

    return backend(sub {
        my ($req, $c) = @_;
        my $is = decode_json(read_file("$dir/$name.fault") || '{}');

        if ($req->{uri} =~ m!^/debug/charts/data!) {
            my $now = int time();
            return $c->reply(200, encode_json({
                CPUUsage => [{ Ts => $now * 1000, User => $is->{cpu},
                               Sys => 0 }],
                Process => [{ Ts => $now * 1000, Pid => 7, Cpus => 2,
                              Rss => $is->{rss} * 1048576,
                              Threads => $is->{threads} }] }),
                'Content-Type' => 'application/json');
        }

        if ($req->{uri} =~ m!^/debug/pprof/!) {
            return $c->reply(404, 'none') if $req->{uri} =~ m!/block!;
            $c->delay(2) if $req->{uri} =~ m!seconds=!;
            return $c->reply(200, $req->{uri} =~ /debug=2/ ? $dump
                                  : "\x1f\x8b$name $req->{uri}",
                             'Content-Type' => 'text/plain',
                             'X-Pprof-Pid' => 7);
        }

        # noise
        $c->delay($is->{delay} + rand 0.02);
        $c->reply(rand() < 0.01 ? 500 : $is->{status}, "$name\n");
    }, @more);
}

my %p = map { $_ => peer($_) } qw/ slow0 slow1 slow2 err dead0 dead1 hung0
                                   hung1 thr0 thr1 top steady0 steady1 /;
my %a = map { $_ => $p{$_}->addr() } keys %p;

# two real ones

my (%app, %port, %sock);

for my $n (qw/ acs0 acs1 /) {
    $port{$n} = free_port();
    $sock{$n} = temp_dir('s') . '/s';
    $app{$n} = Debug::App->start(
        cmd => ["$build/t/app/acs", '-p', $port{$n}, '-t', 16,
                '-d', "unix:$sock{$n}"],
        env => { PPROF_LISTEN => undef },
        ready => { port => $port{$n}, unix => $sock{$n} });
}

my @groups = qw/ slow err dead hung thr top steady /;

sub conf {
    my ($more) = @_;
    my $up = join "\n", map {
        my $g = $_;
        "upstream $g {" . join('', map { " server $a{$_} max_fails=0;" }
                               grep { /^$g\d?$/ } sort keys %a)
            . ' keepalive 8; }';
    } @groups;
    my $loc = join "\n", map { "location /$_ { proxy_pass http://$_/;"
                               . ' proxy_next_upstream off; }' } @groups;

    return <<"EOC";
%%TEST_GLOBALS%%
worker_processes 2;
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    debug_snapshots path=$kept every=1d keep=3;
    $more
    $up
    upstream acs { server 127.0.0.1:$port{acs0}; server 127.0.0.1:$port{acs1}; }
    upstream acs_pprof { server unix:$sock{acs0}; server unix:$sock{acs1}; }
    server {
        listen 127.0.0.1:%%PORT_0%%;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        $loc
        location /acs/ { proxy_pass http://acs/; }
        location /debug/ {
            debug;
            debug_pprof_pass acs acs_pprof;
            @{[ map { "debug_pprof_pass $_;" } @groups ]}
        }
        location /one/ { debug; debug_pprof_pass err;
                         debug_pprof_kinds heap; }
    }
}
EOC
}

my $rules = "debug_watch p99>1500ms errors>20% down for=${WAIT}s cooldown=6s;\n"
            . "debug_watch memory>150m factor=1.2 for=2s;\n"
            . "debug_watch threads>100 for=2s ceiling=60%;\n"
            . 'debug_watch underway>300 growth>20m/10s;';

$t->write_conf(conf($rules))->run();
my $port = port(0);

# load: light, and noisy

my (@load, $owner);

sub load {
    my ($path, $pause, $n) = @_;

    for (1 .. $n // 1) {
        my $pid = fork() // die "fork: $!";

        if ($pid == 0) {
            srand $$;
            my $s;
            while (1) {
                $s = http_get($path, port => $port, timeout => 8,
                              keepalive => 1, $s ? (sock => $s) : ())->{sock};
                sleep($pause * (0.5 + rand));
            }
        }

        push @load, $pid;
    }
}

sub unload {
    kill 'KILL', @load;
    waitpid $_, 0 for @load;
    @load = ();
}

$owner = $$;
END { unload() if $owner && $$ == $owner }

load("/$_", 0.15) for @groups;
load('/acs/', 0.1);
load('/slow', 0.1);

my $i = '/debug/incidents/';

sub list { return @{ decode_json(http_get("$i?json")->{body})->{incidents} } }
sub of { my ($g, $rule) = @_;
         return grep { $_->{group} eq $g
                       && (!$rule || index($_->{rule}, $rule) == 0) } list() }
sub story { my ($x) = @_;
            return wait_for(sub { my $b = http_get("$i$x->{id}/?json")->{body};
                                  return $b =~ /^\{/ ? decode_json($b) : 0 })
                   // {} }

is_deeply([list()], [], 'none yet');

# an hour of theirs, in short

sleep 13;
is_deeply([list()], [], 'steady and noisy: none') or diag(explain([list()]));

# all at once

set('slow1', delay => 2.5);
set('err', status => 503);
set('thr0', threads => 400);
set('top', threads => 400, cpu => 1.9);
$p{dead0}->stop();
kill 'STOP', -$p{hung0}{pid};
load('/acs/lock?us=900000', 0.01, 8);

my %want = (slow => 'p99', err => 'errors', thr => 'threads', top => 'threads',
            dead => 'down', hung => 'down', acs => 'p99');
my %sick = (slow => $a{slow1}, err => $a{err}, thr => $a{thr0}, top => $a{top},
            dead => $a{dead0}, hung => $a{hung0});
my %in;

for my $g (sort keys %want) {
    ok(wait_for(sub { ($in{$g}) = of($g, $want{$g}) }, 20),
       "$g: an incident, by $want{$g}") or next;
    is($in{$g}{peer}, $sick{$g}, "$g: of who is sick") if $sick{$g};

    my $s = story($in{$g});
    cmp_ok($s->{began} - $s->{met}, '<=', 2000, "$g: taken within 2 s");
    cmp_ok($s->{began} - $s->{crossed}, '>=', $s->{for} * 1000 - 50,
           "$g: not before");
}

kill 'CONT', -$p{hung0}{pid};
unload();
load("/$_", 0.15) for @groups;
load('/slow', 0.1);

# a leak, which is seen by what the process says of itself

http_get("/leak/on", port => $port{acs1});
http_get("/order?bytes=2000000", port => $port{acs1}) for 1 .. 120;
ok(wait_for(sub { ($in{leak}) = of('acs', 'memory') }, 20), 'memory');
is($in{leak}{peer}, "127.0.0.1:$port{acs1}", 'of who leaks');
is($in{leak} && story($in{leak})->{sister}, "127.0.0.1:$port{acs0}",
   'beside who does not');

# what was taken

sub ended { my ($g) = @_;
            return wait_for(sub { my ($x) = grep { $_->{id} eq $in{$g}{id} }
                                            list();
                                  return $x && $x->{ended} }, 30) }
sub names { my ($s, $of) = @_;
            return join ' ', map { "$_->{of}-$_->{kind}" }
                   sort { $a->{name} cmp $b->{name} }
                   grep { !$_->{error} && $_->{of} eq $of } @{ $s->{files} } }

ok(ended('slow'), 'slow: all is taken');
my $s = story($in{slow});
like($s->{sister}, qr/^(?:\Q$a{slow0}\E|\Q$a{slow2}\E)$/, 'a healthy sister');
is(names($s, 'sick'), 'sick-goroutine sick-heap sick-mutex sick-numbers'
                      . ' sick-process sick-profile', 'of the sick one');
is(names($s, 'sister'), 'sister-goroutine sister-heap sister-mutex'
   . ' sister-numbers sister-process sister-profile', 'of the sister');
is_deeply([ map { $_->{kind} } grep { $_->{error} } @{ $s->{files} } ],
          ['block', 'block'], 'and what there is not');
like((grep { $_->{error} } @{ $s->{files} })[0]{error}, qr/it answered 404/,
     'why not');
like($s->{words}[0], qr/^p99 [\d.]+ m?s for \d+ s, its line 1500 ms, its hour [\d.]+ ms; \S+ [\d.]+ ms$/,
     'in words') or diag(explain($s->{words}));
like(join("\n", @{ $s->{words} }), qr/^unchanged: .*memory/m,
     'and what did not change');
cmp_ok($s->{value}, '>', 2_400_000, 'its value, us');
cmp_ok($s->{hour}, '<', $s->{value} / 1.5, 'its hour');

my @asked = map { $_->{uri} } grep { $_->{uri} =~ /^.debug.pprof/ }
            $p{slow1}->received();
my $times = grep { $_->{peer} eq $a{slow1}
                   || (story($_)->{sister} // '') eq $a{slow1} } list();
# one that begins while another is taken takes what it can
for (['each', qr/profile\?seconds=10/], ['also what there is not', qr/block/]) {
    my ($what, $re) = @$_;
    my $n = grep { /$re/ } @asked;

    ok($n > 0 && $n <= $times, "$what is asked for once") or diag("$n, $times");
}

# on the disk

my ($folder) = glob "$kept/slow~*~incident~$in{slow}{id}~*.incident";
ok($folder, 'the name says all');
like($folder, qr!/slow~127\.0\.0\.1:\d+~incident~\d+~p99%3E1500ms\.incident$!,
     'escaped');
is((stat $folder)[2] & 07777, 0700, 'of one user');
is((stat "$folder/sick-heap.pb.gz")[2] & 07777, 0600, 'its files too');
opendir(my $d, $folder);
is(scalar(grep { /^\.tmp/ } readdir $d), 0, 'nothing half written');

# served

my $id = $in{slow}{id};
my $r = http_get("$i$id/sick-profile.pb.gz");
is($r->{body}, "\x1f\x8bslow1 /debug/pprof/profile?seconds=10", 'a profile');
is($r->{headers}{'content-type'}, 'application/octet-stream', 'its type');
like($r->{headers}{'content-security-policy'}, qr/sandbox/, 'sandboxed');
$r = http_get("$i$id/sick-goroutine.txt");
is($r->{body}, $dump, 'threads');
like($r->{headers}{'content-type'}, qr!^text/plain!, 'as text');
my $n = decode_json(http_get("$i$id/sick-numbers.json")->{body});
is($n->{series}[0]{peer}, $a{slow1}, 'numbers, of whom');
cmp_ok(scalar(@{ $n->{t} }), '>', 12, 'of so many seconds');
cmp_ok(scalar(grep { ($_ // 0) > 2_000_000 } @{ $n->{series}[0]{p99} }), '>', 1,
       'its p99');

$r = http_get($i, headers => { Accept => 'text/html' });
like($r->{body}, qr/data-page="incidents"/, 'the page of all');
like($r->{body}, qr!href="\./$id/".*\Q$a{slow1}\E!s, 'leads to each');
$r = http_get("$i$id/", headers => { Accept => 'text/html' });
like($r->{body}, qr/<li class="first">p99 /, 'the page of one');
like($r->{body}, qr!view\?src=incidents/$id/sick-profile\.pb\.gz&amp;base=incidents/$id/sister-profile\.pb\.gz!,
     'sick against sister');
like($r->{body}, qr!src=incidents/$id/sick-goroutine\.txt&amp;view=stacks!,
     'threads in the viewer');
like($r->{headers}{'content-security-policy'}, qr/default-src 'none'/, 'CSP');
my %curl = (headers => { Accept => '*/*' });
$r = http_get($i, %curl);
like($r->{body}, qr/^$id  \d{4}-.* UTC  slow  \Q$a{slow1}\E  p99 /m, 'as text');
$r = http_get("$i$id/", %curl);
like($r->{body}, qr/^sick-profile\.pb\.gz  \d+$/m, 'one as text');
like($r->{body}, qr/^Rule p99>1500ms in \S+nginx\.conf:\d+\. Sister: /m, 'by rule');
is(http_get("$i$id")->{status}, 302, 'without its slash');

for my $path ('1/', "$id/..%2f..%2fnginx.conf", "$id/nothing", "$id/.tmp-1-1",
              "$id/sick-heap")
{
    isnt(http_get($i . $path)->{status}, 200, "not $path");
}

# where less is let through

my @one = map { $_->{group} } @{ decode_json(
              http_get('/one/incidents/?json')->{body})->{incidents} };
ok(@one && !(grep { $_ ne 'err' } @one), 'only its groups');
my $e = "/one/incidents/$in{err}{id}";
ok(ended('err'), 'err: all is taken');
is(http_get("$e/sick-heap.pb.gz")->{status}, 200, 'kinds that are let through');
is(http_get("$e/sick-profile.pb.gz")->{status}, 404, 'and those that are not');
is(http_get("/one/incidents/$id/")->{status}, 404, 'another group');

# the ceiling

ok(ended('top'), 'top: all is taken');
$s = story($in{top});
is($s->{cpu}, 95, 'of its CPUs');
ok($s->{above_ceiling}, 'is above');
is(names($s, 'sick'), 'sick-numbers sick-process', 'only what costs nothing');
is(scalar(grep { $_->{uri} =~ m!^/debug/pprof/!
                 && $_->{time} * 1000 >= $s->{began}
                 && $_->{time} * 1000 <= $s->{ended} } $p{top}->received()),
   0, 'it was not asked for anything');

# who is dead, and hung, is told by who lives

ok(ended('dead'), 'dead: all is taken');
$s = story($in{dead});
is($s->{sister}, $a{dead1}, 'its sister lives');
like($s->{words}[0], qr/^down for \d+ s/, 'down');
like(names($s, 'sister'), qr/sister-goroutine sister-heap/, 'and is taken');
like(join("\n", map { $_->{error} // '' } grep { $_->{of} eq 'sick' }
          @{ $s->{files} }), qr/Connection refused/i, 'it is not');

# real ones: the lock that all wait for

SKIP: {
    skip 'no convoy', 3 unless $in{acs};
    ok(ended('acs'), 'convoy: all is taken');
    $s = story($in{acs});
    my $text = http_get("$i$in{acs}{id}/sick-goroutine.txt")->{body};
    my @threads = $text =~ /^thread \d+ "acs" \[/mg;
    cmp_ok(scalar(@threads), '>=', 16, 'its threads, each with a stack');
    like(names($s, 'sick'), qr/block .*goroutine .*heap .*mutex/, 'taken');
}

# the log

my @log = $t->error_lines('incident: ');
is(scalar(grep { index($_, "$i$id/") > 0 } @log), 1, 'one line');
like((grep { index($_, "$i$id/") > 0 } @log)[0],
     qr!\[error\] .* incident: \Q$a{slow1}\E of slow: p99 .*; see http://\S*:$port$i$id/$!,
     'with its URL');

# it goes on, and is no second incident before it is worse; then it is

sleep 4;
is(scalar(of('slow', 'p99')), 1, 'the same trouble is one incident');
set('slow1', delay => 4.5);
ok(wait_for(sub { of('slow', 'p99') == 2 }, 30), 'worse is another');
my @two = of('slow', 'p99');
cmp_ok($two[0]{id} - $two[1]{id}, '>=', 6000, 'after cooldown');

# in the middle of it: a reload

my $new = conf($rules . "\ndebug_watch p50>1500ms for=2s per_hour=1;");
$t->write_conf($new);
$t->reload();
set('steady1', delay => 2.5);
ok(wait_for(sub { ($in{steady}) = of('steady', 'p50') }, 25), 'after a reload');
$t->reload();
ok(ended('steady'), 'a reload in the middle: all is taken');
$s = story($in{steady});
like(names($s, 'sick'), qr/sick-profile/, 'by who drains');
is(scalar(grep { $_->{uri} =~ /profile\?/ } $p{steady1}->received()),
   scalar(grep { $_->{group} eq 'steady' } list()), 'and once');

# as many as per_hour

set('steady0', delay => 3);
ok(wait_for(sub { $t->error_lines('per_hour=1 allows') }, 20), 'per_hour');
is(scalar(of('steady', 'p50')), 1, 'is kept');

# a worker that is killed leaves what it had

set('slow0', delay => 3);
my $was = list();
ok(wait_for(sub { grep { $_->{peer} eq $a{slow0} && !$_->{ended} } list() }, 20),
   'another is being taken');
my ($last) = grep { $_->{peer} eq $a{slow0} } list();
$t->kill_worker(pid => $_) for $t->worker_pids();
$r = http_get("$i$last->{id}/", %curl);
is($r->{status}, 200, 'killed in the middle');
like($r->{body}, qr/(?:p99|down) .*\n.*taken from .*(?:it is not all yet|to \d)/s,
     'tells what is known');
is(http_get("$i?json")->{status}, 200, 'and so does the list');

# a disk that is full, or read-only

SKIP: {
    skip 'no right to mount a small disk', 4
        if $> != 0 || run_cmd(['mount', '-t', 'tmpfs', '-o',
                               'size=16k,mode=777', 'tmpfs', $kept])->{exit};

    set('err', status => 200);
    sleep 8;
    # as much of it as there is room for
    eval { write_file("$kept/full", 'x' x 16384) };
    set('slow2', delay => 3);
    ok(wait_for(sub { grep { /\Q$a{slow2}\E/ }
                      $t->error_lines('it is not kept') }, 20),
       'a full disk is told in the log');
    like(join('', $t->error_lines('it is not kept')),
         qr/not kept: .*\(28: No space left/, 'in words');
    # what began before it was full may be there, and whole
    is(join(' ', grep { -z || m!/\.tmp! } glob "$kept/*.incident/{*,.tmp*}"),
       '', 'and nothing half written');
    is(http_get('/steady')->{status}, 200, 'traffic goes on');
    run_cmd(['umount', $kept]);
}

unload();
http_get('/leak/off', port => $port{acs1});
$app{$_}->stop() for keys %app;

done_testing();
