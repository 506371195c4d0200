#!/usr/bin/perl

# The whole path: programs that know nothing of us, behind nginx, profiled
# and counted through it.
#
# lighttpd and perl are Debian's own, started by pprof-run; acs is linked
# with libpprof.  What they show is compared with what others know of them:
# readelf, wrk, nginx's access log, the program's own count.

use strict;
use warnings;

use Cwd ();
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Debug::App;
use Debug::Nginx;

need_bin('nginx', 'go', 'wrk', 'lighttpd', 'readelf', 'nm');

my $build = $ENV{DEBUG_BUILD} // Cwd::abs_path("$FindBin::Bin/../build");
my $lighttpd = have_bin('lighttpd');

# -- the programs

my $dir = temp_dir('w');
my %port = map { $_ => free_port() } qw/ web acs perl /;
my %sock = map { $_ => "$dir/$_.pprof" } keys %port;

mkdir "$dir/html";
write_file("$dir/html/page$_.txt", 'page ' x 400) for 1, 2;
write_file("$dir/lighttpd.conf", <<"EOF2");
server.document-root = "$dir/html"
server.bind = "127.0.0.1"
server.port = $port{web}
mimetype.assign = (".txt" => "text/plain")
EOF2

my $web = Debug::App->start(
    cmd => ["$build/pprof-run", '-l', "unix:$sock{web}", '--',
            $lighttpd, '-D', '-f', "$dir/lighttpd.conf"],
    ready => { port => $port{web}, unix => $sock{web} });

my $acs = Debug::App->start(
    cmd => ["$build/t/app/acs", '-p', $port{acs}, '-d', "unix:$sock{acs}"],
    env => { TCMALLOC_SAMPLE_PARAMETER => 32768 },
    ready => { port => $port{acs}, unix => $sock{acs} });

my $perl = Debug::App->start(
    cmd => ["$build/pprof-run", '-s', '32768', '-l', "unix:$sock{perl}", '--',
            $^X, '-e', 'push @x, "$_" . "x" x 8000 for 1 .. 8000;'
                       . '$| = 1; print "live\n"; sleep 600'],
    ready => sub { $_[0]->out() =~ /live/ && -S $sock{perl} });

my $t = Debug::Nginx->new();

$t->run(<<"EOF2");
%%TEST_GLOBALS%%
worker_processes 2;
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    log_format t '\$status \$uri';
    access_log %%DIR%%/paths.log t;

    upstream web { server 127.0.0.1:$port{web}; keepalive 8; }
    upstream acs { server 127.0.0.1:$port{acs}; }
    upstream perl { server 127.0.0.1:$port{perl}; }
    upstream web_pprof { server unix:$sock{web}; }
    upstream acs_pprof { server unix:$sock{acs}; }
    upstream perl_pprof { server unix:$sock{perl}; }

    debug_pprof_pass web web_pprof;
    debug_pprof_pass acs acs_pprof;
    debug_pprof_pass perl perl_pprof;

    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / {
            proxy_pass http://web;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            # shorter than any profile: its own routes must not care
            proxy_read_timeout 2s;
        }
        location /acs/ { proxy_pass http://acs/; }
        location /debug/ { debug; proxy_read_timeout 2s; }
    }
}
EOF2

my $site = 'http://127.0.0.1:' . port(0);

# -- /debug/stats counts exactly what wrk sent

# Four threads of one connection each that stop after so many answers: no
# request is under way when wrk leaves.

my $each = 800;

write_file("$dir/count.lua", <<"EOF2");
local n = 0
function response()
    n = n + 1
    if n == $each then wrk.thread:stop() end
end
EOF2

my $r = run_cmd(['wrk', '-t4', '-c4', '-d5s', '-s', "$dir/count.lua",
                 "$site/page1.txt"]);
my ($sent) = $r->{out} =~ /^\s+(\d+) requests in/m;

is($sent, 4 * $each, 'wrk sent what it should') or diag($r->{out});
unlike($r->{out}, qr/Socket errors|Non-2xx/, 'and was answered');

sub stats {
    my $answer = http_get('/debug/stats');
    return decode_json($answer->{body});
}

# a worker counts when the connection has the answer: after wrk has it
wait_for(sub { stats()->{total_count} >= $sent });

my $stats = stats();
is($stats->{total_count}, $sent, 'stats: total');
is_deeply($stats->{total_status_code_count}, { 200 => $sent },
          'stats: by status');

my $group = $stats->{upstreams}{web};
ok($group, 'stats: the group') or diag(explain($stats));
is($group->{total_count}, $sent, 'stats: its total');

my $peers = $group->{peers};
my ($peer) = ref $peers eq 'HASH' ? values %$peers : @$peers;
is($peer->{total_count}, $sent, 'stats: its peer');

# -- the CPU profile of an unmodified program

my $load = Debug::App->start(
    cmd => ['wrk', '-t1', '-c4', '-d30s', '-H', 'If-None-Match: "none"',
            '-H', 'Accept-Language: en', '-H', 'Cookie: a=b',
            "$site/page2.txt"]);

$r = go_pprof('-top', "$site/debug/pprof/profile?seconds=5");

is($r->{exit}, 0, 'go tool pprof') or diag($r->{err});

my ($id) = run_cmd(['readelf', '-n', $lighttpd])->{out}
           =~ /Build ID: ([0-9a-f]+)/;

like($r->{out}, qr/^File: lighttpd$/m, 'File');
like($r->{out}, qr/^Build ID: $id$/m, 'Build ID');
like($r->{out}, qr/^Type: cpu$/m, 'Type');
like($r->{out}, qr/^Time: \S.*UTC/m, 'Time');
like($r->{out}, qr/^Duration: 5(?:\.\d+)?s, Total samples = \d/m,
     'Duration');

my %exported = map { /\s[TW] (\w+)/ ? ($1 => 1) : () }
               split /\n/, run_cmd(['nm', '-D', '--defined-only',
                                    $lighttpd])->{out};
my %cum;

while ($r->{out} =~ /\s([\d.]+)%  (\w+)$/mg) {
    $cum{$2} = $1;
}

my @own = grep { $exported{$_} } sort keys %cum;

cmp_ok($cum{connection_state_machine} // 0, '>', 30,
       'its hot function, by name') or diag($r->{out});
cmp_ok(scalar @own, '>=', 3, "functions of its own: @own");
unlike($r->{out}, qr/pprof_\w+$/m, 'and none of ours');

ok($load->alive(), 'under load all the time');
$load->stop('INT');
like($load->out(), qr/requests in/, 'wrk ends in peace');
unlike($load->out(), qr/Non-2xx|timeout/, 'no request noticed')
    or diag($load->out());

# what wrk had under way when it left is in nginx's log too
wait_for(sub {
    my @lines = grep { !m! /debug/! } split /\n/, $t->read('paths.log');
    return stats()->{total_count} == @lines;
});

my @lines = grep { !m! /debug/! } split /\n/, $t->read('paths.log');
is(stats()->{total_count}, scalar @lines, 'stats and access log agree');

# -- live bytes

sub bytes {
    my ($path, $re) = @_;

    my $r = go_pprof('-top', '-unit=B', '-nodefraction=0',
                     "$site/debug/pprof/$path");
    is($r->{exit}, 0, $path) or diag($r->{err});
    like($r->{out}, qr/^Type: inuse_space$/m, "$path: type");

    my ($n) = $r->{out} =~ $re;
    diag($r->{out}) unless defined $n;
    return $n // 0;
}


sub near {
    my ($got, $want, $name) = @_;

    ok($got > 0.9 * $want && $got < 1.1 * $want, "$name: $got of $want");
}


sub objects {
    my ($path) = @_;

    my $r = go_pprof('-top', '-sample_index=inuse_objects',
                     '-nodefraction=0', "$site/debug/pprof/$path");
    my ($n) = $r->{out} =~ /^\s*(\d+) .* session_put$/m;
    diag($r->{out} . $r->{err}) unless defined $n;
    return $n // 0;
}


http_get('/acs/leak/on');
http_get('/acs/order') for 1 .. 200;
http_get('/acs/order?bytes=40000') for 1 .. 800;
http_get('/acs/leak/off');
http_get('/acs/order?bytes=100000') for 1 .. 100;

my $truth = decode_json(http_get('/acs/status')->{body})->{session_bytes};
cmp_ok($truth, '>', 24_000_000, 'acs holds bytes');

near(bytes('acs/0/heap', qr/^\s*(\d+)B .* session_put$/m), $truth,
     'acs, linked with libpprof');

# objects were rounded one by one: those that stand for 1.3 counted 1
near(objects('acs/0/heap'), 1000, 'its sessions');

# perl keeps each string and some bytes of its own beside it
near(bytes("perl/127.0.0.1:$port{perl}/heap", qr/of (\d+)B total$/m),
     8000 * 8016, 'perl, by its address');

is($acs->stop(), 0, 'acs ends well');
$perl->stop();
$web->stop();

done_testing();
