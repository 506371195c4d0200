#!/usr/bin/perl

# The CPU profile of an unmodified program, by both engines: what is in it,
# one at a time, clients that leave, fork() and exit() in the middle.

###############################################################################

use warnings;
use strict;

use Test::More;
use Time::HiRes qw/ sleep time /;

use lib 't/lib';
use Debug::Nginx;
use Debug::App;

###############################################################################

my $build = $ENV{DEBUG_BUILD} // 'build';
my $dir = Debug::Nginx::temp_dir('lib');
my $n = 0;
my $engine;

# Starts perl with CODE under pprof-run.
sub program {
	my ($code, %o) = @_;
	my $sock = "$dir/" . ++$n . '.pprof';

	my $app = Debug::App->start(
		cmd => ["$build/pprof-run", '-l', $o{listen} // "unix:$sock",
			@{ $o{options} // [] }, $^X, '-e', $code],
		env => { PPROF_CPU_ENGINE => $engine, %{ $o{env} // {} } },
		ready => $o{ready} // { unix => $sock },
	);

	return ($app, $sock);
}

sub ask {
	my ($sock, $path, %o) = @_;
	return Debug::Nginx::http_get($path, unix => $sock, timeout => 20, %o);
}

sub save {
	my ($r, $name) = @_;
	Debug::Nginx::write_file("$dir/$name", $r->{body});
	return "$dir/$name";
}

sub listing {
	my $r = Debug::Nginx::go_pprof(@_);
	return $r->{out} . $r->{err};
}

# Everything from here on is done by either engine.

for (qw/ sampler gperftools /) {
	$engine = $_;
	subtest $engine => \&engine;
}

accuracy();
quiet();
their_own();
odd_requests();
done_testing();

###############################################################################

sub engine {

my $burn = 'my $x; while (1) { $x .= "a" x 10; $x = "" if length $x > 1e5 }';
my ($app, $sock, $r, $text);

# go tool pprof itself asks, over TCP

SKIP: {
	skip 'no go', 10 unless Debug::Nginx::have_bin('go');

	my $port = Debug::Nginx::free_port();

	($app) = program($burn, listen => "127.0.0.1:$port",
		ready => { port => $port });

	my $before;

	# a machine that has more to do may give it nothing for two seconds
	for (1 .. 20) {
		$before = cpu($app->pid());
		# many: perl may hide the names of those that are hot
		$text = listing('-top', '-nodecount=200', '-seconds=2',
			"http://127.0.0.1:$port/debug/pprof/profile");
		last if total($text) > 0.05;
	}

	like($text, qr/^File: perl$/m, 'File');
	like($text, qr/^Build ID: [0-9a-f]{40}$/m, 'Build ID');
	like($text, qr/^Type: cpu$/m, 'Type');
	like($text, qr/^Time: /m, 'Time');
	like($text, qr/^Duration: 2/m, 'Duration');
	like($text, qr/ Perl_\w+/, 'names of functions');
	unlike($text, qr/Profile(Data|Handler)|CpuProfiler|__restore_rt|pprof_/,
		'not those of the profiler');

	# go spends a while after the profile, and the program goes on with
	# more or less of a processor that it shares: what it had in the window,
	# the profile tells, or it is one sample at least
	my $total = total($text);
	my $used = cpu($app->pid()) - $before;
	my ($window) = $text =~ /account: ([\d.]+) s of CPU/;
	cmp_ok($total, '>=', ($window // 0.1) / 2, 'CPU time of a busy program');
	cmp_ok($window // 0, '<', 1.2 * $used + 0.1, 'the window is part of it');
	cmp_ok($total, '<', 1.2 * $used + 0.1, 'and no more than there was');

	is($app->err(), '', 'nothing on stderr');
	$app->stop();
}

# one CPU profile at a time, everything else beside it

($app, $sock) = program($burn);

my $first = Debug::Nginx::http_open(unix => $sock);
print $first "GET /debug/pprof/profile?seconds=3 HTTP/1.1\r\nHost: l\r\n\r\n";
sleep 0.5;

$r = ask($sock, '/debug/pprof/profile?seconds=3');
is($r->{status}, 503, 'second profile');
cmp_ok($r->{time}, '<', 0.5, 'second profile: refused at once');
like($r->{body}, qr/^cpu profiling is running; retry in [23] s$/,
	'second profile: how long');
is($r->{headers}{'retry-after'}, $r->{body} =~ /(\d+)/ && $1,
	'second profile: Retry-After');
is($r->{headers}{'x-go-pprof'}, '1', 'second profile: X-Go-Pprof');

$r = ask($sock, '/debug/pprof/heap');
is($r->{status}, 200, 'heap meanwhile');
cmp_ok($r->{time}, '<', 1, 'heap meanwhile: does not wait');

my $delta = Debug::Nginx::http_open(unix => $sock);
print $delta "GET /debug/pprof/heap?seconds=1 HTTP/1.1\r\nHost: l\r\n\r\n";

is(ask($sock, '/debug/pprof/cmdline')->{body}, $^X, 'cmdline meanwhile');

is((split ' ', <$delta>)[1], 200, 'heap over a second meanwhile');
is((split ' ', <$first>)[1], 200, 'the first profile was not disturbed');
close $first;
close $delta;

# descriptors while a profile runs: none would survive an exec()

$r = Debug::Nginx::http_open(unix => $sock);
print $r "GET /debug/pprof/profile?seconds=30 HTTP/1.1\r\nHost: l\r\n\r\n";
sleep 0.5;

my @open = grep { $_ > 2 } map { m!(\d+)$! } glob '/proc/' . $app->pid()
	. '/fd/*';
my @leaky = grep { Debug::Nginx::read_file('/proc/' . $app->pid()
	. "/fdinfo/$_") !~ /^flags:\s+0?[2367]\d{6}$/m
	&& readlink('/proc/' . $app->pid() . "/fd/$_") =~ /pprof|eventpoll|socket/ }
	@open;

ok((grep { (readlink('/proc/' . $app->pid() . "/fd/$_") // '') =~ /memfd:pprof/ }
	@open), 'the profile is in memory') if $engine eq 'gperftools';
is("@leaky", '', 'close-on-exec');

# the client leaves, and the next profile can start

close $r;
my $left = time();

ok(Debug::Nginx::wait_for(sub {
	$r = ask($sock, '/debug/pprof/profile?seconds=1');
	return $r->{status} == 200;
}, 3), 'a profile after the client left');
cmp_ok(time() - $left, '<', 2.5, 'within a second');

# many clients that leave, all at once

my @many = map { Debug::Nginx::http_open(unix => $sock) } 1 .. 12;
print $_ "GET /debug/pprof/heap?seconds=60 HTTP/1.1\r\nHost: l\r\n\r\n"
	for @many;
sleep 0.3;
close $_ for @many;

# who is answered came after them: all were accepted, and none is left then
is(ask($sock, '/debug/pprof/symbol')->{status}, 200, 'many leave');
# gperftools' engine is served from inside the program, where the socket is then
my $inside = $engine eq 'gperftools';
ok(Debug::Nginx::wait_for(sub { threads($app->pid()) == 2
	&& sockets($app->pid()) == ($inside ? 1 : 0) }, 20),
	'no thread and no socket is left');

# and more than there may be: whichever comes last is refused.  (To ask until
# one is refused would now and then take the place of one of the 16.)

@many = map { Debug::Nginx::http_open(unix => $sock) } 1 .. 17;
print $_ "GET /debug/pprof/heap?seconds=60 HTTP/1.1\r\nHost: l\r\n\r\n"
	for @many;

my $set = '';
vec($set, fileno $_, 1) = 1 for @many;
is(select(my $ready = $set, undef, undef, 20), 1, 'one of 17 is answered');
my ($last) = grep { vec($ready, fileno $_, 1) } @many;
$r = Debug::Nginx::http_request('', sock => $last);

is($r->{status}, 503, 'the 17th request');
like($r->{body}, qr/^16 profile requests are under way/, 'the 17th: why');
close $_ for @many;

ok(Debug::Nginx::wait_for(sub {
	ask($sock, '/debug/pprof/heap')->{status} == 200
}, 2), 'when they have left');

is($app->err(), '', 'nothing on stderr');
$app->stop();

# a child of fork() that exits does not spoil its parent's profile

($app, $sock) = program('my $x; my $end = time + 30;'
	. 'while (time < $end) {'
	. ' if ((my $pid = fork()) == 0) { $x .= "a" for 1 .. 1e5; exit 0 }'
	. ' $x .= "a" for 1 .. 1e6; $x = ""; wait; }');

my $before = cpu($app->pid());
$r = ask($sock, '/debug/pprof/profile?seconds=2');
my $used = cpu($app->pid()) - $before;
is($r->{status}, 200, 'profile over forks');

SKIP: {
	skip 'no go', 2 unless Debug::Nginx::have_bin('go');

	$text = listing('-top', save($r, 'fork.pb.gz'));
	cmp_ok(total($text), '>', $used / 2 - 0.05, 'the parent\'s samples are all there');
	like($text, qr/ Perl_\w+/, 'with their names');
}

is(ask($sock, '/debug/pprof/profile?seconds=1')->{status}, 200, 'and again');
is($app->err(), '', 'nothing on stderr, the children\'s exits included');
$app->stop();

# a forked child profiles itself, on a socket of its own

unlink glob "$dir/f.*";     # SIGTERM left those of the other engine
($app) = program('fork(); ' . $burn, listen => "unix:$dir/f.%p",
	ready => sub { my @s = glob "$dir/f.*"; @s == 2 });

for my $s (glob "$dir/f.*") {
	# the file is there a moment before anybody listens
	ok(Debug::Nginx::wait_for(sub {
		ask($s, '/debug/pprof/profile?seconds=1')->{status} == 200
	}, 10), 'parent or child');
}

$app->stop();

# exit() while a profile runs

($app, $sock) = program('select undef, undef, undef, 1.5; exit 7');

$r = ask($sock, '/debug/pprof/profile?seconds=20');
isnt($r->{status}, 200, 'exit: no profile');
$app->wait(5);
is($app->exit_status(), 7, 'exit: the program\'s own status');
is($app->err(), '', 'exit: nothing on stderr');
ok(Debug::Nginx::wait_for(sub { !-e $sock }, 5),
	'exit: no socket file is left');

# no CPU time used

($app, $sock) = program('sleep 60');

$r = ask($sock, '/debug/pprof/profile?seconds=1');
is($r->{status}, 200, 'idle');

SKIP: {
	skip 'no go', 1 unless Debug::Nginx::have_bin('go');
	like(listing('-raw', save($r, 'idle.pb.gz')), qr/no samples: the program used 0\.0/,
		'idle: the profile says why it is empty');
}

$app->stop();

# SIGPROF is the program's

($app, $sock) = program('$SIG{PROF} = sub { die }; sleep 60 while 1');
sleep 0.3;

$r = ask($sock, '/debug/pprof/profile?seconds=1');

if ($engine eq 'gperftools') {
	is($r->{status}, 501, 'SIGPROF taken');
	like($r->{body}, qr/^SIGPROF belongs to the program/,
		'SIGPROF taken: why');

} else {
	is($r->{status}, 200, 'SIGPROF taken: another signal does');
}

ok($app->alive(), 'SIGPROF taken: the program lives');
$app->stop();

# gperftools' own client

SKIP: {
	skip 'no google-pprof', 2
		unless Debug::Nginx::have_bin('google-pprof');

	($app, $sock) = program($burn);
	my $file = save(ask($sock, '/pprof/profile?seconds=1'), 'legacy.prof');
	my $out = Debug::Nginx::run_cmd(['google-pprof', '--text',
		$^X, $file], timeout => 60);

	like($out->{out}, qr/^Total: \d+ samples/m, 'google-pprof reads it');
	like($out->{out}, qr/Perl_\w+/, 'google-pprof: names');
	$app->stop();
}

}

###############################################################################

# The sampler's total against the kernel's account of the same time, which the
# profile tells; and that account against /proc.

sub accuracy {
	$engine = 'sampler';

	my ($app, $sock) = program('use threads; my $end = time + 60;'
		. ' sub burn { my $x; my $n = shift; while ($n--) { $x = "a" x 10 } }'
		. ' threads->create(sub { burn(2e5) while time < $end });'
		. ' while (time < $end) { threads->create(\\&burn, 3e5)->join() }');

	SKIP: {
		skip 'no go', 12 unless Debug::Nginx::have_bin('go');

		for my $hz (100, 250, 1000) {
			my $before = cpu($app->pid());
			my $r = ask($sock, "/debug/pprof/profile?seconds=3&hz=$hz");
			my $text = listing('-raw', save($r, "hz$hz.pb.gz"));
			my $most = cpu($app->pid()) - $before;
			my ($total, $lost) = raw_total($text);
			my ($kernel) = $text =~ /account: ([\d.]+) s of CPU/;

			my $period = 1e9 / $hz;
			like($text, qr/^Period: $period$/m, "$hz Hz: period");
			# a thread's unfinished period is worth half of one
			my ($threads) = $text =~ /, (\d+) threads/;
			ok(abs($total - $kernel)
				< $kernel * 0.02 + (2 + sqrt $threads) / $hz,
				"$hz Hz: $total s of $kernel, $threads threads");
			cmp_ok($kernel, '<', $most + 0.05, "$hz Hz: $most at most");
			# threads that end within a period were never seen
			cmp_ok($lost, '<', $kernel * 0.4,
				"$hz Hz: most have a stack");
		}
	}

	$app->stop();
}

# The program profiles itself: two at once would sample each other.

sub their_own {
	my ($lib) = glob '/usr/lib/*/libprofiler.so.0';

	$engine = 'sampler';

	SKIP: {
		skip 'no libprofiler', 3 unless defined $lib;

		# not by pprof-run: its timer outlives an exec and kills who comes
		# then; and it wakes a program that sleeps
		my $sock = "$dir/" . ++$n . '.pprof';
		my $app = Debug::App->start(cmd => [$^X, '-e', 'sleep 60 while 1'],
			env => { LD_PRELOAD => "$lib $build/libpprof.so",
				PPROF_LISTEN => "unix:$sock",
				CPUPROFILE => "$dir/own.prof" },
			ready => { unix => $sock });
		my $r = ask($sock, '/debug/pprof/profile?seconds=1');

		is($r->{status}, 503, 'profiles itself');
		like($r->{body}, qr/^the program runs gperftools' CPU profiler/,
			'profiles itself: why not');
		is(ask($sock, '/debug/pprof/goroutine')->{status}, 200,
			'profiles itself: all else');
		$app->stop();
	}
}

# What only the sampler knows.

sub odd_requests {
	my ($app, $sock) = program('use threads; threads->create(sub {'
		. ' open my $f, ">", "/proc/thread-self/comm"; print $f "burner";'
		. ' close $f; my $x; $x = "a" x 10 while 1 });'
		. ' sleep 60 while 1');
	my $r;

	for my $hz ('0', '1001', '-1', 'x', '') {
		$r = ask($sock, "/debug/pprof/profile?seconds=1&hz=$hz");
		is($r->{status}, 400, "hz=$hz");
		like($r->{body}, qr/^invalid value for "hz" - must be from 1 to 1000$/,
			"hz=$hz: why");
	}

	SKIP: {
		skip 'no go', 5 unless Debug::Nginx::have_bin('go');

		my $text = listing('-raw',
			save(ask($sock, '/debug/pprof/profile?seconds=1&labels=thread'), 'l'));
		like($text, qr/thread_name:\[burner\]/, 'label: name');
		like($text, qr/thread_id:\[\d+\]/, 'label: id');

		# a thread that sleeps counts as well, about a second of each
		$text = listing('-raw',
			save(ask($sock, '/debug/pprof/profile?seconds=2&wall=1'), 'w'));
		like($text, qr!^samples/count wall/nanoseconds!m, 'wall: type');
		my ($total) = raw_total($text);
		cmp_ok($total, '>', 3.6, 'wall: both threads');
		cmp_ok($total, '<', 5.5, 'wall: and no more');
	}

	$app->stop();

	$engine = 'nonsense';
	($app, $sock) = program('sleep 60');
	$r = ask($sock, '/debug/pprof/profile?seconds=1');
	is($r->{status}, 501, 'no such engine');
	like($r->{body}, qr/^PPROF_CPU_ENGINE names no engine/, 'no such engine: why');
	$app->stop();

	$engine = 'gperftools';
	($app, $sock) = program('sleep 60');
	$r = ask($sock, '/debug/pprof/profile?seconds=1&hz=10');
	is($r->{status}, 400, 'gperftools: no hz');
	$app->stop();
}

# Seconds of the second column of go tool pprof -raw, and of those of them
# that have no stack.
sub raw_total {
	my ($text) = @_;
	my ($samples) = $text =~ /^Samples:\n(.*?)^Locations/ms;
	my %lost = map { $_ => 1 }
		$text =~ /^ +(\d+): 0x0 (?:M=\d+ )?\[[^\]]+\] /mg;
	my ($total, $lost) = (0, 0);

	for (split /\n/, $samples // '') {
		/^\s+\d+\s+(\d+): (\d+)/ or next;
		$total += $1;
		$lost += $1 if $lost{$2};
	}

	return ($total / 1e9, $lost / 1e9);
}

###############################################################################

# The profiler's own thread of a program whose threads stay: it once looked
# for new ones 250 times a second, which cost more than all samples.
sub quiet {
	$engine = 'sampler';

	my ($app, $sock) = program('sleep 60');
	my $s = Debug::Nginx::http_open(unix => $sock);
	my $wakes = sub {
		# beside tcmalloc it is a thread of its own
		my ($status) = grep { /^Name:\tpprof(?:-sampler)?$/m }
			map { Debug::Nginx::read_file($_) }
			glob '/proc/' . $app->pid() . '/task/*/status';
		return ($status // '') =~ /^voluntary_ctxt_switches:\s+(\d+)/m
			? $1 : undef;
	};

	print $s "GET /debug/pprof/profile?seconds=20 HTTP/1.0\r\n\r\n";
	ok(Debug::Nginx::wait_for(sub { defined $wakes->() }, 5),
		'quiet: a profile runs');
	sleep 0.2;

	my ($before, $start) = ($wakes->(), time);
	sleep 1.5;
	my $rate = ($wakes->() - $before) / (time - $start);

	# 10 looks, and the waits between two system calls of one
	cmp_ok($rate, '<', 40, 'quiet: the sampler sleeps');
	cmp_ok($rate, '>', 1, 'quiet: and looks');
	close $s;
	$app->stop();
}

# Seconds of all samples in the report of go tool pprof.
sub total {
	my ($report) = @_;
	return 0 unless $report =~ /Total samples = ([\d.]+)(m?)s/;
	return $2 ? $1 / 1000 : $1;
}

# Seconds of CPU time that the process used, its children's not counted.
sub cpu {
	my ($pid) = @_;
	my @f = split ' ', Debug::Nginx::read_file("/proc/$pid/stat")
		=~ s/^.*\) //sr;
	return ($f[11] + $f[12]) / 100;
}

# Its sockets; when nobody is connected, the one that listens.
sub sockets {
	my ($pid) = @_;
	return scalar grep { (readlink($_) // '') =~ /^socket:/ }
		glob "/proc/$pid/fd/*";
}

sub threads {
	my ($pid) = @_;
	my @t = glob "/proc/$pid/task/*";
	return scalar @t;
}

###############################################################################
