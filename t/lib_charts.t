#!/usr/bin/perl

# /debug/charts/data of libpprof: the process, second by second, held against
# what the kernel says of it; and the rings that hold it (t/unit/charts).

###############################################################################

use warnings;
use strict;

use POSIX ();
use Test::More;
use Time::HiRes qw/ sleep time /;

use lib 't/lib';
use Debug::Nginx;
use Debug::App;

###############################################################################

my $build = $ENV{DEBUG_BUILD} // 'build';
my $dir = Debug::Nginx::temp_dir('lib');
my $sock = "$dir/perl.pprof";
my $path = '/debug/charts/data';

subtest 'rings' => sub {
	my $r = Debug::Nginx::run_cmd(["$build/t/unit/agent/charts/history"]);
	is($r->{exit}, 0, 'unit test') or diag($r->{out} . $r->{err});
};

# 60 MB, three descriptors and a busy half of a CPU, when a file appears

my $app = Debug::App->start(
	cmd => ["$build/pprof-run", '--tcmalloc', '-l', "unix:$sock", $^X,
		'-MTime::HiRes=time,sleep', '-e',
		'sleep 0.05 until -e $ARGV[0]; my $x = "a" x 60e6; my @f;
		open $f[$_], "<", "/dev/null" for 0 .. 2;
		while (1) { my $t = time() + 0.05; 1 while time() < $t;
		sleep 0.05 }', "$dir/go"],
	ready => { unix => $sock },
);

sub ask {
	my ($since, %o) = @_;
	return Debug::Nginx::http_get($path
		. (defined $since ? "?since=$since" : ''), unix => $sock, %o);
}

sub data {
	my $r = ask(@_);
	return Debug::Nginx::decode_json($r->{body});
}

# User and system time of a process, in seconds.
sub cpu_time {
	my @stat = split ' ', Debug::Nginx::read_file("/proc/$_[0]/stat")
		=~ s/.*\) //sr;
	return ($stat[11] + $stat[12]) / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}

my ($r, $d);

# at once, and then every second

$r = ask();
is($r->{status}, 200, 'status');
is($r->{headers}{'content-type'}, 'application/json', 'type');
is($r->{headers}{'cache-control'}, 'no-store', 'no-store');
is($r->{headers}{'x-content-type-options'}, 'nosniff', 'nosniff');
is($r->{headers}{'content-length'}, length $r->{body}, 'length');

$d = Debug::Nginx::decode_json($r->{body});
is(join(' ', sort keys %$d),
	'BytesAllocated CPUUsage GcPauses Pprof Process', 'arrays');
is(scalar(@{$d->{Process}}), 1, 'a point before anybody asked');
is_deeply($d->{GcPauses}, [], 'nothing collects garbage');

my $first = $d->{Process}[0];
is($first->{Pid}, $app->pid(), 'Pid');
is($first->{Ts} % 1000, 0, 'whole seconds');
cmp_ok(abs($first->{Ts} / 1000 - time()), '<', 5, 'of now');
is($first->{Threads}, 1, 'Threads: perl\'s, without ours');
is($d->{Pprof}[0]{Goroutine}, 1, 'Goroutine: the same');

Debug::Nginx::write_file("$dir/go", '');
sleep 4;

$d = data($first->{Ts});

my @ts = map { $_->{Ts} } @{$d->{Process}};
cmp_ok($ts[0], '>', $first->{Ts}, 'since: only what is new');
cmp_ok(scalar(@ts), '>=', 3, 'a point a second');
is(scalar(@ts), scalar(@{$d->{$_}}), "$_: as many")
	for qw/ BytesAllocated CPUUsage Pprof /;

my $last = $d->{Process}[-1];
my ($rss) = Debug::Nginx::read_file('/proc/' . $app->pid() . '/status')
	=~ /^VmRSS:\s+(\d+) kB/m;
my @fds = glob '/proc/' . $app->pid() . '/fd/*';

cmp_ok($last->{Rss} - $first->{Rss}, '>', 55e6, 'Rss grew');
cmp_ok(abs($last->{Rss} - $rss * 1024), '<', 5e6, 'Rss: what the kernel says');

# the connection of this question is not there any more
cmp_ok(abs($last->{Fds} - @fds), '<=', 1, 'Fds: what the kernel says');

# however little of it a busy machine gives in one second
my ($cpu, $kernel);
ok(Debug::Nginx::wait_for(sub {
	$cpu = 0;
	$cpu += $_->{User} + $_->{Sys} for @{data($first->{Ts})->{CPUUsage}};
	return $cpu > 0.3;
}, 60), 'CPU is used');

$kernel = cpu_time($app->pid());
cmp_ok($cpu, '<', 1.1 * $kernel + 0.1, 'no more than the kernel says');
cmp_ok($d->{CPUUsage}[-1]{User} + $d->{CPUUsage}[-1]{Sys}, '<', 1.2,
	'of one at most');

SKIP: {
	skip 'no tcmalloc', 3 unless @{$d->{BytesAllocated}};

	cmp_ok($d->{BytesAllocated}[-1]{Value}, '>', 60e6, 'BytesAllocated');
	cmp_ok($last->{HeapHeld}, '>=', $d->{BytesAllocated}[-1]{Value},
		'HeapHeld');
	cmp_ok($last->{HeapHeld}, '<=', $last->{Rss} + 64e6, 'not more than is');
}

# who comes from the future has another clock

is(scalar(@{data(int(time() + 3600) . '000')->{Process}}) > 3, 1,
	'a clock that was set back');
is(scalar(@{data($last->{Ts} + 1000)->{Process}}) <= 1, 1,
	'a second ahead: nothing');
is(scalar(@{data(-1)->{Process}}) > 3, 1, 'below zero: all');

# the callback of the original was a hole

unlike(Debug::Nginx::http_get("$path?callback=alert(1)",
	unix => $sock)->{body}, qr/alert/, 'no callback');

$r = ask('now');
is($r->{status}, 400, 'since: status');
like($r->{body}, qr/\A[^\n]+unix milliseconds\n\z/, 'since: a sentence');

is(ask(0, method => 'HEAD')->{body}, '', 'HEAD');
$r = ask(0, method => 'POST', body => '');
is($r->{status}, 405, 'POST');
is($r->{headers}{allow}, 'GET, HEAD', 'POST: Allow');

is($app->stop(), 128 + 15, 'stopped');

# another allocator: what is in use is estimated, what it holds is not told

$sock = "$dir/libc.pprof";
$app = Debug::App->start(cmd => ["$build/pprof-run", '-l', "unix:$sock", $^X,
	'-e', 'my $x = "a" x 60e6; sleep 60'], ready => { unix => $sock });

ok(Debug::Nginx::wait_for(sub {
	$d = data(0);
	return @{$d->{BytesAllocated}}
		&& $d->{BytesAllocated}[-1]{Value} > 55e6;
}, 20), 'libc: BytesAllocated');
cmp_ok($d->{BytesAllocated}[-1]{Value}, '<', 150e6, 'libc: and no more');
cmp_ok($d->{Pprof}[-1]{Heap}, '>', 0, 'libc: samples');
# see heap_release.t
cmp_ok($d->{Process}[-1]{HeapHeld} // 1e12, '>', 55e6, 'libc: HeapHeld');
$app->stop();

done_testing();

###############################################################################
