#!/usr/bin/perl

# Every client of profiles, driven for real through nginx, at a program with
# libpprof over TCP and over a Unix socket.  docs/clients.md has the table.

use strict;
use warnings;

use Cwd ();
use FindBin;
use Test::More;
use Time::HiRes qw/ sleep time /;

use lib "$FindBin::Bin/lib";
use Debug::App;
use Debug::Cells;
use Debug::Nginx;
use Debug::Torch;

need_bin('go', 'curl', 'dot');

my $build = $ENV{DEBUG_BUILD} // Cwd::abs_path("$FindBin::Bin/../build");
my $dir = temp_dir('c');

# as its user would start it: an executable whose symbols are its own

my %port = map { $_ => free_port() } qw/ tcp tcp_pprof unix /;

my $tcp = Debug::App->start(
    cmd => ["$build/t/app/acs", '-p', $port{tcp}, '-d',
            "127.0.0.1:$port{tcp_pprof}"],
    env => { TCMALLOC_SAMPLE_PARAMETER => 32768 },
    ready => { port => $port{tcp} });

my $unix = Debug::App->start(
    cmd => ["$build/t/app/acs", '-p', $port{unix}, '-d', "unix:$dir/s"],
    env => { TCMALLOC_SAMPLE_PARAMETER => 32768 },
    ready => { port => $port{unix}, unix => "$dir/s" });

my $t = Debug::Nginx->new();

$t->run(<<"EOC");
%%TEST_GLOBALS%%
worker_processes 2;
events { }
http {
    %%TEST_GLOBALS_HTTP%%

    log_format debug '\$request_method \$uri \$status \$http_user_agent';
    access_log %%DIR%%/debug.log debug;

    upstream tcp { server 127.0.0.1:$port{tcp}; }
    upstream tcp_pprof { server 127.0.0.1:$port{tcp_pprof}; }
    upstream unix { server 127.0.0.1:$port{unix}; }

    debug_pprof_pass tcp tcp_pprof;
    debug_pprof_pass unix unix:$dir/s;

    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { proxy_pass http://tcp; }
        location /unix/ { proxy_pass http://127.0.0.1:$port{unix}/; }
        location /debug/ { debug; debug_pprof_max 6; }
        location /pprof/ { debug legacy; }
        location /acs/debug/ { debug; }
    }

    # where the users of "google-pprof host/debug" and of host:port point
    server {
        listen 127.0.0.1:%%PORT_1%%;
        location /debug/pprof/ { debug legacy; }
        location /unix/pprof/ {
            debug legacy;
            debug_pprof_pass unix unix:$dir/s;
        }
    }

    # the same two for the program at a socket
    server {
        listen 127.0.0.1:%%PORT_2%%;
        debug_pprof_pass unix unix:$dir/s;
        location /debug/ { debug; debug_pprof_max 6; }
        location /pprof/ { debug legacy; }
    }

    server {
        listen 127.0.0.1:%%PORT_3%%;
        location /debug/pprof/ {
            debug legacy;
            debug_pprof_pass unix unix:$dir/s;
        }
    }
}
EOC

my ($host, $old, $unix_host, $unix_old) = map { '127.0.0.1:' . $t->port($_) }
    0 .. 3;

# sessions that stay, and load to see

for my $path ('', '/unix') {
    is(http_get("$path/leak/on")->{status}, 200, "a leak, $path");
    http_get("$path/order?bytes=8192") for 1 .. 400;
}

my $load = fork() // die;

if ($load == 0) {
    setpgrp;
    # two at the lock at once, and new threads
    fork() // die;
    while (1) {
        for my $port (@port{qw/ tcp unix /}) {
            http_get('/hot?n=4000', port => $port);
            http_get('/lock?us=1000', port => $port);
        }
    }
}

END { if ($load) { local $?; kill 'KILL', -$load; waitpid $load, 0 } }

my $hot = qr/acs_hot_(?:digest|mix)/;
my $leak = qr/session_put|decode_order|handle_order/;
my $r;

# -- go tool pprof

my $TCP = 'libpprof, TCP';
my $UNIX = 'libpprof, Unix socket';

# what each kind looks like; those of events take a window
my %type = (profile => 'cpu', heap => 'inuse_space', allocs => 'alloc_space',
            goroutine => 'goroutine', threadcreate => 'threadcreate',
            block => 'delay', mutex => 'delay', growth => 'space');
my %window = map { $_ => 1 } qw/ profile allocs threadcreate block mutex /;
my %function = (profile => $hot, heap => $leak, growth => $leak);

for my $peer (['tcp/0', $TCP], ['unix/0', $UNIX]) {
    my ($at, $backend) = @$peer;

    for my $kind (sort keys %type) {
        my $url = "http://$host/debug/pprof/$at/$kind";

        $r = go_pprof('-top', $window{$kind} ? ('-seconds', 1) : (), $url);
        cell('go tool pprof -top', $backend, $kind,
             $r->{exit} == 0
             && $r->{out} =~ /^File: acs$/m
             && $r->{out} =~ /^Build ID: \w{40}$/m
             && $r->{out} =~ /^Type: $type{$kind}$/m
             && $r->{out} =~ ($function{$kind} // qr/flat/))
            or diag($r->{out} . $r->{err});
    }

    # labels are asked for where anybody wants them: go-torch stops at one
    for my $kind (sort keys %type) {
        my $url = "http://$host/debug/pprof/$at/$kind";

        $r = go_pprof('-raw', $window{$kind} ? ('-seconds', 1) : (), $url);
        cell('go tool pprof -raw', $backend, $kind, $r->{exit} == 0
             && $r->{out} =~ /^Samples:$/m
             && $r->{out} =~ ($function{$kind} // qr/Locations/));

        my ($stacks, $why) = torch($r->{out});
        cell('go-torch, its reading rules', $backend, $kind, $stacks
             && (!$function{$kind}
                 || grep { $_ =~ $function{$kind} } keys %$stacks))
            or diag($why // 'no such function');
    }

    $r = go_pprof('-raw', "http://$host/debug/pprof/$at/profile?seconds=1"
                  . '&labels=thread');
    my ($stacks, $why) = torch($r->{out});
    ok(!$stacks && $why, "go-torch, $backend: labels would end it");
}

my $url = "http://$host/debug/pprof";

for my $peer ([$TCP, $host], [$UNIX, $unix_host]) {

my ($backend, $host) = @$peer;
my $url = "http://$host/debug/pprof";
# where "leak" grows
my $order = $backend eq $TCP ? '/order' : '/unix/order';

for my $how ([$host, 'host:port'], ["http://$host/", 'http://host/'],
             ["http://$host/debug", 'http://host/debug'],
             ["$host/debug", 'host/debug'],
             ["$host/debug/pprof", 'host/debug/pprof'])
{
    $r = go_pprof('-top', '-seconds', 1, $how->[0]);
    cell("go tool pprof $how->[1]", $backend, 'profile',
         $r->{exit} == 0 && $r->{out} =~ $hot) or diag($r->{out} . $r->{err});
}

$r = go_pprof('-png', '-output', "$dir/x.png", "$url/heap");
cell('go tool pprof -png', $backend, 'heap',
     substr(read_file("$dir/x.png"), 1, 3) eq 'PNG');

$r = go_pprof('-proto', '-output', "$dir/base.pb.gz", "$url/heap");
http_get("$order?bytes=8192") for 1 .. 800;

for my $diff ('-base', '-diff_base') {
    $r = go_pprof('-top', $diff, "$dir/base.pb.gz", "$url/heap");
    cell("go tool pprof $diff", $backend, 'heap',
         $r->{exit} == 0 && $r->{out} =~ $leak) or diag($r->{err});
}

# a delta: what grew within the window
my $more = fork() // die;

if ($more == 0) {
    $load = 0;
    sleep 0.5;
    http_get("$order?bytes=8192") for 1 .. 800;
    POSIX::_exit(0);
}

$r = go_pprof('-top', '-seconds', 3, "$url/heap");
waitpid $more, 0;
cell('go tool pprof -seconds', $backend, 'heap',
     $r->{exit} == 0 && $r->{out} =~ /^Duration: 3/m && $r->{out} =~ $leak)
    or diag($r->{out} . $r->{err});

$r = go_pprof('-top', '-symbolize=remote', "$url/heap");
cell('go tool pprof -symbolize=remote', $backend, 'heap',
     $r->{exit} == 0 && $r->{out} =~ $leak);

$r = go_pprof({ stdin => "top\npeek session_put\nquit\n" }, "$url/heap");
cell('go tool pprof, interactive', $backend, 'heap', $r->{out} =~ $leak);

# its web interface, which serves what it fetched

{
    my $port = free_port();
    my $home = temp_dir('h');
    my $app = Debug::App->start(
        cmd => ['go', 'tool', 'pprof', '-no_browser', '-http',
                "127.0.0.1:$port", "$url/heap"],
        env => { HOME => $home, GOCACHE => "$home/c", PPROF_TMPDIR => $home,
                 GOFLAGS => '', GO111MODULE => 'off' },
        ready => { port => $port }, timeout => 30);
    # as a browser asks for it
    my @pages = map { http_get($_, port => $port, headers => {
        Accept => 'text/html,application/xhtml+xml,*/*;q=0.8',
        'Accept-Encoding' => 'identity', 'Accept-Language' => 'en',
        'User-Agent' => 'Mozilla/5.0 (X11; Linux x86_64)',
        'Sec-Fetch-Site' => 'none', 'Sec-Fetch-Mode' => 'navigate',
    }) } '/ui/', '/ui/top', '/ui/flamegraph', '/ui/source?f=session_put';

    cell('go tool pprof -http', $backend, 'heap',
         $pages[0]{status} == 200 && $pages[1]{body} =~ $leak
         && $pages[2]{body} =~ $leak && $pages[3]{status})
        or diag(map { "$_->{status} " } @pages);
    $app->stop('KILL');
}

}

# -- google-pprof

# it leaves out what all samples have in common: of few, that can be much
my $some = qr/acs_hot_(?:digest|mix)/;

sub google {
    my ($client, $backend, $kind, $re, @args) = @_;
    my $home = temp_dir('g');
    my $r = run_cmd(['google-pprof', '--text', @args], timeout => 90,
                    env => { HOME => $home, PPROF_TMPDIR => $home });

    cell($client, $backend, $kind, $r->{exit} == 0 && $r->{out} =~ $re)
        or diag($r->{out} . $r->{err});
}

SKIP: {

cells_without(qr/^google-pprof/), skip 'no google-pprof', 14
    unless have_bin('google-pprof');

write_file($t->dir() . '/debug.log', '');

my %google = (profile => $some, heap => $leak, growth => $leak);

for my $peer ([$TCP, $host, $old], [$UNIX, $unix_host, $unix_old]) {
    google('google-pprof host:port', $peer->[0], 'profile', $some,
           '--seconds=1', $peer->[1]);
    google('google-pprof host/debug', $peer->[0], 'profile', $some,
           '--seconds=1', "http://$peer->[2]/debug");
}

for my $kind (sort keys %google) {
    google('google-pprof host/pprof/kind', $TCP, $kind, $google{$kind},
           '--seconds=1', "http://$host/pprof/$kind");
    google('google-pprof host/pprof/kind', $UNIX, $kind, $google{$kind},
           '--seconds=1', "http://$old/unix/pprof/$kind");
}

my $log = $t->read('debug.log');
like($log, qr!^GET /pprof/symbol 200 curl!m, 'google-pprof: GET of symbol');
like($log, qr!^HEAD /pprof/symbol 200 curl!m, 'google-pprof: HEAD of symbol');
like($log, qr!^POST /pprof/symbol 200 curl!m, 'google-pprof: POST of symbol');
like($log, qr!^GET /pprof/cmdline 200 curl!m, 'google-pprof: cmdline');

}

unlike(http_get('/pprof/cmdline')->{body}, qr/\0\z/, 'no NUL at the end');

# -- curl

for my $peer (['tcp/0', $TCP], ['unix/0', $UNIX]) {
    my ($at, $backend) = @$peer;

    for my $kind (sort keys %type) {
        my $q = $window{$kind} ? '?seconds=1' : '';

        $r = run_cmd(['curl', '-sf', '--compressed', "$url/$at/$kind$q"]);
        write_file("$dir/curl.pb.gz", $r->{out});

        # once gzip and not twice, and a file that can be read
        my $raw = go_pprof('-raw', "$dir/curl.pb.gz");
        cell('curl --compressed', $backend, $kind,
             $r->{exit} == 0 && substr($r->{out}, 0, 2) eq "\x1f\x8b"
             && $raw->{exit} == 0
             && $raw->{out} =~ ($function{$kind} // qr/^Samples:$/m));
    }

    $r = run_cmd(['curl', '-sf', "$url/$at/cmdline"]);
    cell('curl --compressed', $backend, 'cmdline',
         $r->{exit} == 0 && $r->{out} =~ m!/acs\z!);

    $r = run_cmd(['curl', '-sf', "$url/$at/symbol"]);
    cell('curl --compressed', $backend, 'symbol',
         $r->{out} eq "num_symbols: 1\n");
}

# -- scrapers, in the manner of Pyroscope and Parca: every kind at once, every
# so many seconds, for that long; here every three instead of fifteen

for my $peer ([$TCP, 'tcp/0'], [$UNIX, 'unix/0']) {

my ($backend, $at) = @$peer;
my %answer;

for my $turn (1 .. 3) {
    my $start = time();
    my @scrape = map {
        my $kind = $_;
        my $pid = fork() // die;

        if ($pid == 0) {
            $load = 0;
            my $q = $kind eq 'profile' ? '?seconds=2'
                  : $window{$kind} ? '?seconds=2' : '';
            my $r = http_get("/debug/pprof/$at/$kind$q", timeout => 15,
                             headers => { 'Accept-Encoding' => 'gzip',
                                          'User-Agent' => 'conprof/0.1' });

            POSIX::_exit($r->{status} == 200 && $r->{complete}
                         && substr($r->{body}, 0, 2) eq "\x1f\x8b" ? 0 : 1);
        }
        [$kind, $pid];
    } qw/ profile heap allocs goroutine mutex block /;

    for (@scrape) {
        waitpid $_->[1], 0;
        $answer{$_->[0]}++ if $? == 0;
    }

    sleep 0.05 while time() < $start + 3;
}

cell('scraper, six kinds at once', $backend, $_, ($answer{$_} // 0) == 3)
    for qw/ profile heap allocs goroutine mutex block /;

}

cells_are($TCP, $UNIX);

done_testing();
