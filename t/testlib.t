#!/usr/bin/perl

# The test library itself, against a plain nginx: what the other tests build
# on must be able to fail.

use strict;
use warnings;

use FindBin;
use POSIX ();
use Test::More;
use Time::HiRes qw/ sleep time /;

use lib "$FindBin::Bin/lib";
use Debug::App;
use Debug::Nginx;

my $t = Debug::Nginx->new(module => 0);

my %b = (
    ok => backend(sub {
        my ($req, $c) = @_;
        $c->reply(200, "$req->{method} $req->{uri} $req->{body}",
                  'X-N' => $req->{n});
    }),
    unix => backend(Debug::Backend::answer(201, 'unix'), unix => 1),
    slow => backend(sub { $_[1]->delay(0.4) and $_[1]->reply(200, 'slow') }),
    hang => backend(Debug::Backend::hang()),
    slam => backend(Debug::Backend::slam(), raw => 1),
    garbage => backend(Debug::Backend::garbage()),
    half_header => backend(Debug::Backend::half_header()),
    half_body => backend(Debug::Backend::half_body()),
);

sub conf {
    my ($workers, $extra) = @_;
    my $locations = join "\n", map {
        "location /$_/ { proxy_pass http://" . $b{$_}->addr()
        . ($b{$_}->path() ? ':/;' : '/;') . " }"
    } sort keys %b;

    return <<"EOF2";
%%TEST_GLOBALS%%
worker_processes $workers;
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    server {
        listen 127.0.0.1:%%PORT_0%%;
        listen 127.0.0.1:%%PORT_1%%;
        location /pid { return 200 "\$pid"; }
        $extra
        $locations
    }
}
EOF2
}

$t->run(conf(2, ''));

# -- HTTP

my $r = http_get('/');
is($r->{status}, 200, 'get');
is($r->{body}, "index\n", 'body');
is($r->{headers}{'content-length'}, 6, 'header');
ok($r->{complete} && !$r->{error}, 'complete');

is(http_get('/', port => port(1))->{status}, 200, 'second port');
is(http_get('/nothing')->{status}, 404, 'not found');

$r = http_get('/', method => 'HEAD');
is("$r->{status} '$r->{body}' $r->{complete}", "200 '' 1", 'head');


my $s = http_open();
$r = http_get('/ok/one', sock => $s, keepalive => 1);
is($r->{body}, 'GET /one ', 'keepalive, first');
$r = http_get('/ok/two', sock => $r->{sock}, method => 'POST',
              body => 'x' x 100_000);
is(length $r->{body}, length('POST /two ') + 100_000, 'keepalive, second');
is($r->{sock}, $s, 'the same socket');
close $s;

$r = http_request("GET / HTTP/1.0\r\n\r\n");
is("$r->{status} $r->{complete}", '200 1', 'http/1.0');

$r = http_request(["GET / HT", \0.3, "TP/1.0\r\n\r\n"]);
is($r->{status}, 200, 'in pieces');
cmp_ok($r->{time}, '>=', 0.3, 'with the pause between');

is(http_request("oops\r\n\r\n")->{status}, 400, 'raw nonsense');
is(http_get('/', port => free_port())->{error}, 'connect', 'refused');

# an answer without framing of its own, and one cut in the middle of a chunk

my @cut = (
    ["HTTP/1.1 200 OK\r\n\r\nabc", 1, 'abc'],
    ["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", 0, 'abc'],
    ["HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", 1, 'abc'],
    ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
     . "3\r\nabc\r\n0\r\n\r\n", 1, 'abc'],
    ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
     . "3;x=y\r\nabc\r\nA\r\n0123456\r\n\r\r\n0\r\nT: v\r\n\r\n", 1,
     "abc0123456\r\n\r"],
    ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
     . "3\r\nabc\r\n", 0, 'abc'],
    ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
     . "5\r\nabc", 0, 'abc'],
    ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
     . "3\r\nabc\r\n0\r\n", 0, 'abc'],
    ["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"
     . "Content-Length: 1\r\n\r\nx", 1, 'x'],
);

for my $cut (@cut) {
    my ($text, $complete, $body) = @$cut;
    my $b = backend(sub { $_[1]->send($text); $_[1]->close() });
    $r = http_get('/', port => $b->port());
    is("$r->{status} $r->{complete} $r->{body}", "200 $complete $body",
       'framing: ' . ($text =~ s/\r\n/~/gr));
    $b->stop();
}

# -- backends

is(http_get('/unix/')->{status}, 201, 'unix backend');

$r = http_get('/slow/');
is($r->{body}, 'slow', 'delayed');
cmp_ok($r->{first}, '>=', 0.4, 'delay is seen');


# nginx takes it for HTTP/0.9, and passes it on as it came
$r = http_get('/garbage/');
is($r->{status}, 0, 'garbage: no status');
is(length $r->{raw}, 512, 'garbage: what came');

is(http_get('/slam/')->{status}, 502, 'closed at once');
is(http_get('/half_header/')->{status}, 502, 'half a header');

$r = http_get('/half_body/');
is($r->{status}, 200, 'half a body');
is(length $r->{body}, 500, 'as much as there was');
is($r->{complete}, 0, 'not complete');

$r = http_get('/hang/', timeout => 0.3);
is($r->{error}, 'timeout', 'no answer');
ok(wait_for(sub { ($b{hang}->received())[0]{gone} }), 'backend sees it go');

$r = http_get('/hang/', abort => 0.2);
is($r->{error}, 'abort', 'aborted');

my @seen = $b{ok}->received();
is(@seen, 2, 'records each request');
is("$seen[1]{method} $seen[1]{uri}", 'POST /two', 'with its line');
is($seen[0]{headers}{host}, $b{ok}->addr(), 'with its headers');
is(length $seen[1]{body}, 100_000, 'with its body');
$b{ok}->clear();
is($b{ok}->count(), 0, 'cleared');

http_request("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
             port => $b{ok}->port());
is($b{ok}->count(), 1, 'a backend without nginx');

# -- nginx's life

my @w = $t->worker_pids();
is(@w, 2, 'two workers');

$t->write_conf(conf(3, 'location /new { return 204; }'));
ok($t->reload(), 'reload');
is($t->worker_pids(), 3, 'three workers');
is(grep({ pid_alive($_) } @w), 0, 'the old ones are gone');
is(http_get('/new')->{status}, 204, 'the new configuration serves');

# a request under way keeps its worker

my $pid = fork();
if ($pid == 0) {
    my $rv = http_get('/slow/?long', timeout => 5);
    POSIX::_exit($rv->{status} == 200 ? 0 : 1);
}
ok(wait_for(sub { $b{slow}->count() == 2 }), 'request under way');
my $start = time();
@w = $t->worker_pids();
ok($t->reload(wait_old => 0), 'reload that does not wait');
cmp_ok(grep({ pid_alive($_) } @w), '>=', time() - $start < 0.3 ? 1 : 0,
       'an old worker stays with its request');
waitpid $pid, 0;
is($?, 0, 'its request is answered');

$t->write('nginx.conf', 'nonsense;');
is($t->reload(), 0, 'reload refused');
like($t->error_log(), qr/\[emerg\].*unknown directive "nonsense"/, 'said so');
is(scalar $t->faults(), 1, '[emerg] is a fault');
$t->allow(qr/unknown directive "nonsense"/, 'the test wrote it');
is(scalar $t->faults(), 0, 'unless the test allows it');
is(http_get('/new')->{status}, 204, 'the old configuration still serves');

$t->write_conf(conf(2, ''));
ok($t->reload(), 'reload again');

my $old = $t->master_pid();
is($t->upgrade(), $old, 'upgrade');
isnt($t->master_pid(), $old, 'a new master');
is(http_get('/')->{status}, 200, 'serves');

$old = $t->upgrade(keep_old => 1);
ok(pid_alive($old) && pid_alive($t->master_pid()), 'two masters');
kill 'QUIT', $old;
ok(wait_for(sub { !pid_alive($old) }), 'the old one goes');

my $dead = $t->kill_worker(signal => 'SEGV');
like($t->error_log(), qr/$dead exited on signal 11/, 'a worker dies');
is(scalar $t->faults(), 0, 'which is no fault when the test does it');
is(http_get('/')->{status}, 200, 'a successor serves');

($dead) = $t->worker_pids();
kill 'SEGV', $dead;
ok(wait_for(sub { scalar $t->faults() }), 'but is one otherwise');
$t->allow(qr/process $dead exited on signal 11/, 'this test killed it');

my ($exit, $out) = $t->test_config(conf(1, 'proxy_pass;'));
is($exit, 1, 'nginx -t of nonsense');
like($out, qr/\[emerg\] .* in \S+:\d+/, 'names file and line');
($exit, $out) = $t->test_config(conf(1, ''));
is($exit, 0, 'nginx -t');
like($out, qr/test is successful/, 'in words');
unlike($t->error_log(), qr/proxy_pass.*directive/, 'away from the log');

ok($t->stop(), 'stop');
is(http_get('/')->{error}, 'connect', 'nobody listens');
$t->run();
is(http_get('/')->{status}, 200, 'run again on the same port');

my $u = Debug::Nginx->new(module => 0);
isnt($u->port(0), $t->port(0), 'ports of its own');
is(port(0), $u->port(0), 'port() is that of the nginx made last');
eval { $u->run("%%TEST_GLOBALS%%\nnonsense;") };
like($@, qr/did not start.*unknown directive/s, 'start of nonsense');
$u->allow(qr/unknown directive "nonsense"/, 'the test wrote it');

# -- commands and programs

$r = run_cmd(['sh', '-c', 'cat; echo err >&2; echo $X; exit 3'],
             stdin => "in\n", env => { X => 'y' });
is("$r->{exit} $r->{out}$r->{err}", "3 in\ny\nerr\n", 'run_cmd');
$r = run_cmd(['sh', '-c', 'sleep 30 & sleep 30'], timeout => 0.3);
ok($r->{timeout} && $r->{time} < 5, 'time limit');
is(run_cmd(['/nonexistent'])->{exit}, 127, 'no such program');
is(have_bin('no-such-program'), undef, 'have_bin');
like(have_bin('sh'), qr!/sh$!, 'have_bin finds');

my $port = free_port();
my $perl = q{
    use IO::Socket::INET;
    $SIG{TERM} = sub { print "bye\n"; exit $ENV{CODE} };
    my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.1', ReuseAddr => 1,
                                  LocalPort => $ARGV[0], Listen => 5) or die;
    $l->accept() while 1;
};
my $app = Debug::App->start(cmd => [$^X, '-e', $perl, $port],
                            env => { CODE => 7 }, ready => { port => $port });
ok($app->alive(), 'a program runs');
is($app->stop(), 7, 'its exit status');
is($app->out(), "bye\n", 'its output');
is($app->alive(), 0, 'it is gone');

eval { Debug::App->start(cmd => [$^X, '-e', 'die "sorry\n"'],
                         ready => { port => $port }) };
like($@, qr/ended at once, exit status 255.*sorry/s, 'a program that fails');

# -- the end: each of these files must fail, and say why

sub child {
    my ($code) = @_;
    my $dir = temp_dir('t');

    write_file("$dir/c.t", <<"EOF2" . $code);
use lib '$FindBin::Bin/lib';
use Test::More;
use Debug::App;
use Debug::Nginx;
my \$conf = "%%TEST_GLOBALS%%\\nevents { }\\n";
my \$t = Debug::Nginx->new(module => 0);
EOF2

    # under prove the child would think that prove reads it
    return run_cmd([$^X, "$dir/c.t"], env => { HARNESS_ACTIVE => undef },
                   timeout => 40);
}

my $done = 'ok(1); done_testing();';

$r = child("\$t->run(\$conf); $done");
is($r->{exit}, 0, 'a good test passes') or diag($r->{err});

$r = child("\$t->run(\$conf); print STDOUT '# ', \$t->master_pid(), qq{\\n};"
           . "die 'oops'");
isnt($r->{exit}, 0, 'a test that dies fails');
ok(!pid_alive($r->{out} =~ /^# (\d+)/m), 'and leaves no nginx');

$r = child("\$t->run(\$conf); kill 'SEGV', \$t->worker_pids(); sleep 1;"
           . $done);
isnt($r->{exit}, 0, 'dead worker fails the test');
like($r->{err}, qr/exited on signal 11/, 'and is named');

for my $line ('[alert] 1#1: x', '[crit] 1#1: x', '[emerg] 1#1: x',
              '==1==ERROR: AddressSanitizer: heap-use-after-free',
              'a.c:1:2: runtime error: shift')
{
    $r = child("\$t->run(\$conf); open my \$f, '>>', \$t->dir() . "
               . "'/error.log'; print \$f '$line'; close \$f; $done");
    isnt($r->{exit}, 0, "\"$line\" fails the test");
    like($r->{err}, qr/\Q$line\E/, 'and is shown');
}

# a debug log: what is looked for in each line took a minute

{
    my $line = '2026/12/01 03:57:00 [debug] 1#1: *1 http upstream process'
               . " header: \"Content-Length: 100\"\n";
    my $text = $line x 400_000;
    my @t = POSIX::times();

    is(scalar Debug::Nginx::sanitizer_reports($text), 0, '36 MB of a log');
    is(scalar Debug::Nginx::sanitizer_reports($text
           . "x\n1: runtime error: y\nz"), 1, 'and a report at its end');

    my @e = POSIX::times();

    cmp_ok(($e[1] - $t[1]) / POSIX::sysconf(POSIX::_SC_CLK_TCK()), '<', 5,
           'are looked through at once');
}

$r = child("\$t->run(\$conf); kill 'STOP', \$t->worker_pids();"
           . '$Debug::Nginx::STOP_TIMEOUT = 1;' . $done);
isnt($r->{exit}, 0, 'an nginx that does not stop fails the test');
like($r->{err}, qr/did not stop within 1 s/, 'in words');

$r = child("my \$a = Debug::App->start(cmd => ['sleep', '60']);"
           . "kill 'SEGV', \$a->pid(); $done");
isnt($r->{exit}, 0, 'a program that dies of a signal fails the test');
like($r->{err}, qr/sleep died of signal 11/, 'in words');

$r = child("my \$a = Debug::App->start(cmd => ['sh', '-c', "
           . "'trap \"\" TERM; sleep 60 & wait; wait']);"
           . 'sleep 1; $Debug::App::STOP_TIMEOUT = 1;' . $done);
isnt($r->{exit}, 0, 'so does one that does not stop');
like($r->{err}, qr/did not stop within 1 s/, 'in words');

done_testing();
