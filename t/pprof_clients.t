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
use Debug::Nginx;

need_bin('go', 'curl', 'google-pprof', 'dot');

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
        location /debug/ { debug; }
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
}
EOC

my ($host, $old) = map { '127.0.0.1:' . $t->port($_) } 0, 1;

# sessions that stay, and load to see

for my $path ('', '/unix') {
    is(http_get("$path/leak/on")->{status}, 200, "a leak, $path");
    http_get("$path/order?bytes=8192") for 1 .. 400;
}

my $load = fork() // die;

if ($load == 0) {
    while (1) {
        http_get('/hot?n=200', port => $_) for @port{qw/ tcp unix /};
    }
}

END { if ($load) { local $?; kill 'KILL', $load; waitpid $load, 0 } }

my $hot = qr/acs_hot_digest/;
my $leak = qr/session_put|decode_order|handle_order/;
my $r;

# -- go tool pprof

for my $peer ('', 'tcp/0/', 'unix/0/') {
    my $url = "http://$host/debug/pprof/$peer";

    $r = go_pprof('-top', '-seconds', 1, "${url}profile");
    is($r->{exit}, 0, "$peer -top profile") or diag($r->{err});
    like($r->{out}, $hot, "$peer hot function");
    like($r->{out}, qr/^$_: /m, "$peer $_ line") for qw/ File Type Time Duration /;

    $r = go_pprof('-top', "${url}heap");
    like($r->{out}, qr/^Type: inuse_space$/m, "$peer heap");
    like($r->{out}, $leak, "$peer what leaks");

    $r = go_pprof('-raw', "${url}heap");
    like($r->{out}, qr/^Samples:/m, "$peer -raw");
}

my $url = "http://$host/debug/pprof";

for my $how (["$host"], ["http://$host/"], ["http://$host/debug"],
             ["$host/debug"])
{
    $r = go_pprof('-top', '-seconds', 1, @$how);
    like($r->{out}, $hot, "pprof @$how");
}

$r = go_pprof('-png', '-output', "$dir/x.png", "$url/heap");
is(substr(read_file("$dir/x.png"), 1, 3), 'PNG', '-png');

$r = go_pprof('-proto', '-output', "$dir/base.pb.gz", "$url/heap");
http_get('/order?bytes=8192') for 1 .. 800;

for my $diff ('-base', '-diff_base') {
    $r = go_pprof('-top', $diff, "$dir/base.pb.gz", "$url/heap");
    is($r->{exit}, 0, $diff) or diag($r->{err});
    like($r->{out}, $leak, "$diff: what grew");
}

$r = go_pprof('-top', '-symbolize=remote', "$url/heap");
like($r->{out}, $leak, '-symbolize=remote');

$r = go_pprof({ stdin => "top\npeek session_put\nquit\n" }, "$url/heap");
like($r->{out}, $leak, 'interactive');

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
    my $page = http_get('/ui/top', port => $port)->{body};
    like($page, $leak, '-http');
    $app->stop('KILL');
}

# -- google-pprof

# it leaves out what all samples have in common: of few, that can be much
my $some = qr/acs_hot_(?:digest|mix)/;

sub google {
    my ($name, $re, @args) = @_;
    my $home = temp_dir('g');
    my $r = run_cmd(['google-pprof', '--text', @args], timeout => 90,
                    env => { HOME => $home, PPROF_TMPDIR => $home });

    is($r->{exit}, 0, "google-pprof $name") or diag($r->{err});
    like($r->{out}, $re, "google-pprof $name: functions") or diag($r->{err});
}

write_file($t->dir() . '/debug.log', '');

google('host:port', $some, '--seconds=1', $host);
google('host:port/pprof/profile', $some, '--seconds=1',
       "http://$host/pprof/profile");
google('host:port/pprof/heap', $leak, "http://$host/pprof/heap");
google('host:port/pprof/growth', $leak,
       "http://$host/pprof/growth");
google('host/debug', $some, '--seconds=1', "http://$old/debug");
google('prefix, unix', $leak, "http://$old/unix/pprof/heap");

my $log = $t->read('debug.log');
like($log, qr!^GET /pprof/symbol 200 curl!m, 'google-pprof: GET of symbol');
like($log, qr!^HEAD /pprof/symbol 200 curl!m, 'google-pprof: HEAD of symbol');
like($log, qr!^POST /pprof/symbol 200 curl!m, 'google-pprof: POST of symbol');
like($log, qr!^GET /pprof/cmdline 200 curl!m, 'google-pprof: cmdline');
unlike(http_get('/pprof/cmdline')->{body}, qr/\0\z/, 'no NUL at the end');

# -- curl

$r = run_cmd(['curl', '-sf', '--compressed', "$url/heap"]);
is($r->{exit}, 0, 'curl');
is(substr($r->{out}, 0, 2), "\x1f\x8b", 'curl --compressed keeps the file');

write_file("$dir/curl.pb.gz", $r->{out});
like(go_pprof('-top', "$dir/curl.pb.gz")->{out}, $leak, 'curl, then pprof');

# -- scrapers, in the manner of Pyroscope and Parca: all at once, in turns

for my $turn (1 .. 2) {
    my @pid = map {
        my $path = $_;
        my $pid = fork() // die;

        if ($pid == 0) {
            $load = 0;
            my $r = http_get("/debug/pprof/tcp/0/$path", timeout => 15,
                             headers => { 'Accept-Encoding' => 'gzip',
                                          'User-Agent' => 'conprof/0.1' });

            # a kind that a library does not have is refused in words
            my $ok = $r->{status} == 200
                     || $r->{status} == 501 && $r->{headers}{'x-go-pprof'};
            POSIX::_exit($ok && $r->{complete} && length $r->{body} ? 0 : 1);
        }
        $pid;
    } 'profile?seconds=2', 'heap', 'allocs', 'cmdline';

    for (@pid) {
        waitpid $_, 0;
        is($?, 0, 'scraped');
    }
}

done_testing();
