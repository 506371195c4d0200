#!/usr/bin/perl

# What a profile says against what is so: the CPU profile of programs that
# know where their time goes, and the mutex profile of locks whose holder is
# known.

###############################################################################

use warnings;
use strict;

use POSIX qw/ floor ceil /;
use Test::More;
use Time::HiRes qw/ clock_getres /;

use lib 't/lib';
use Debug::Nginx;
use Debug::App;

###############################################################################

my $build = $ENV{DEBUG_BUILD} // 'build';
my $dir = Debug::Nginx::temp_dir('truth');
my $n = 0;

sub program {
	my ($name, @args) = @_;
	my $sock = "$dir/" . ++$n . '.pprof';

	my $app = Debug::App->start(
		cmd => ["$build/pprof-run", '-l', "unix:$sock",
			"$build/t/app/$name", @args],
		ready => { unix => $sock });

	return ($app, $sock);
}

sub ask {
	my ($sock, $path) = @_;
	return Debug::Nginx::http_get("/debug/pprof/$path", unix => $sock,
		timeout => 60);
}

# What go tool pprof -raw says: seconds altogether, of those that have no
# stack, by reason, and of those with each function of WANTED in their stack;
# and the kernel's account, which the profile tells.
sub read_profile {
	my ($r, @wanted) = @_;
	Debug::Nginx::write_file("$dir/p", $r->{body});
	my $text = Debug::Nginx::go_pprof('-raw', "$dir/p")->{out};

	my ($samples) = $text =~ /^Samples:\n(.*?)^Locations/ms;
	my ($locations) = $text =~ /^Locations\n(.*?)^Mappings/ms;
	my %name = ($locations // '') =~ /^ +(\d+): 0x[0-9a-f]+ (?:M=\d+ )?(\S+)/mg;
	my %sum = (total => 0, lost => 0, map { $_ => 0 } @wanted);

	for (split /\n/, $samples // '') {
		my ($value, $stack) = /^\s+\d+\s+(\d+): ([\d ]+)/ or next;
		my %in = map { $name{$_} => 1 } split ' ', $stack;

		$value /= 1e9;
		$sum{total} += $value;
		$sum{$_} += $value for grep { $in{$_} } @wanted;

		my ($lost) = grep { /^\[/ } keys %in or next;
		$sum{lost} += $value;
		$sum{why} .= " $lost";
	}

	($sum{account}) = $text =~ /account: ([\d.]+) s of CPU/;

	return %sum;
}

# The two numbers that the program keeps.
sub used {
	my ($file) = @_;
	return map { $_ / 1e9 } unpack 'Q2', Debug::Nginx::read_file($file);
}

# The kernel's tick in us: its coarse clocks move by it.
sub tick {
	my $coarse = 5;     # CLOCK_REALTIME_COARSE
	return int(clock_getres($coarse) * 1e6 + 0.5);
}

sub gcd {
	my ($x, $y) = @_;
	return $y ? gcd($y, $x % $y) : $x;
}

# What the share TRUE of work that repeats itself every CYCLE us may be told
# as, at least and at most: samples are taken at ticks, so a cycle is seen at so
# many places only.
sub by_places {
	my ($cycle, $true) = @_;
	my $places = $cycle / gcd($cycle, tick());

	return (floor($places * $true) / $places, ceil($places * $true) / $places);
}

# A profile of the program ARGS, NAME, at HZ for SECONDS.
sub profile {
	my ($name, $hz, $seconds, @args) = @_;
	my $file = "$dir/used";
	my ($app, $sock) = program('truth', $file, @args);

	# all of its threads are there when they all have worked
	select undef, undef, undef, 0.7;

	my @before = used($file);
	my $r = ask($sock, "profile?seconds=$seconds&hz=$hz");
	is($r->{status}, 200, "$name: a profile") or diag($r->{body});
	my @after = used($file);
	my ($left, $right) = map { $after[$_] - $before[$_] } 0, 1;
	my %sum = read_profile($r, qw/ left right /);
	my ($total, $cpu) = @sum{qw/ total account /};
	my $known = $sum{left} + $sum{right};

	# whole periods, of an account that is told in hundredths
	my $period = 1 / $hz;

	cmp_ok(abs($total - $cpu), '<', 0.02 * $cpu + $period + 0.005, sprintf
		'%s: total %.2f s, the kernel\'s account %.2f', $name, $total, $cpu);
	# where there is little, one thread that is met at a bad moment is much
	cmp_ok($sum{lost}, '<', 0.03 * $total + 3 * $period, sprintf
		'%s: %.3f s without a stack%s', $name, $sum{lost}, $sum{why} // '');

	# a sample is a tick, and in one thread that computes a period, and on a
	# busy machine there are few of them: three points, and three of their
	# standard deviations
	my $told = $known ? $sum{right} / $known : 0;
	my $true = $right / (($left + $right) || 1);
	my ($least, $most, $each) = ($true, $true, tick() / 1e6);

	if ($args[0] eq 'step') {
		($least, $most) = by_places($args[1], 0.25);
		$each = $period if $each < $period;

	} elsif ($args[0] eq 'brief' && $args[1] < tick()) {
		# few are hit, and stand for up to four times of that
		$each *= 4;
	}

	my $chance = 0.03
		+ 3 * sqrt($true * (1 - $true) / (1 + $known / $each));

	ok($told > $least - $chance && $told < $most + $chance, sprintf
		'%s: right() has %.1f %%, told %.1f', $name, 100 * $true,
		100 * $told) or diag(sprintf '%.3f .. %.3f, +- %.3f', $least, $most,
		$chance);

	$app->stop();

	return \%sum;
}

# A lock that one function holds and others want: all their delay is its.

sub holder {
	my ($name, @args) = @_;
	my ($app, $sock) = program('truth', "$dir/used", 'holder', @args);
	my $r = ask($sock, 'mutex?seconds=2');
	my %sum = read_profile($r, qw/ hold_long take /);

	cmp_ok($sum{total}, '>', 0.5, sprintf '%s: %.2f s of delay', $name,
		$sum{total});
	cmp_ok($sum{hold_long}, '>=', 0.9 * $sum{total}, sprintf
		'%s: %.2f s by who held it', $name, $sum{hold_long});

	$app->stop();
}

holder("mutex, $_ waiters", $_, 0) for 1, 2, 8;
holder("$_->[0], 5 waiters", 5, $_->[1])
	for ['rwlock', 1], ['mtx_t', 2], ['recursive mutex', 3];

{
	my ($app, $sock) = program('truth', "$dir/used", 'barrier', 3);
	my %sum = read_profile(ask($sock, 'block?seconds=1'), 'meet');
	cmp_ok($sum{meet}, '>', 0.2, "barrier: $sum{meet} s in who waits");
	$app->stop();
}

# Small stacks: the kernel's frame alone is up to 3,376 bytes, and took what
# lay below an alternate stack of 2,048 or 4,096; what follows on it is ours.

for (['altstack', 2048], ['altstack', 4096], ['altstack', 8192],
	['coroutine', 4096], ['coroutine', 6144])
{
	my ($how, $size) = @$_;
	my ($app, $sock) = program('truth', "$dir/used", $how, $size);
	my %sum = read_profile(ask($sock, 'profile?seconds=1&hz=1000'),
		qw/ left right /);

	ask($sock, 'goroutine') for 1 .. 5;

	is((unpack 'Q3', Debug::Nginx::read_file("$dir/used"))[2], 0,
		"$how of $size: nothing below it is overwritten");
	cmp_ok($sum{left} + $sum{right}, '>', 0.9 * $sum{account},
		"$how of $size: the stacks are there");
	ok($app->alive(), "$how of $size: the program lives");
	$app->stop();
	unlink "$dir/used";
}

# Threads that block all signals: they had no stack at all.  What they read of
# their mask is what they set.

for my $how (0 .. 2) {
	my ($app, $sock) = program('truth', "$dir/used", 'blocked', $how);
	my %sum = read_profile(ask($sock, 'profile?seconds=1'),
		qw/ left right /);

	cmp_ok($sum{left} + $sum{right}, '>', 0.9 * $sum{account},
		"blocked $how: the stacks are there");
	is((unpack 'Q3', Debug::Nginx::read_file("$dir/used"))[2], 0,
		"blocked $how: masks are read as they were set");
	$app->stop();
	unlink "$dir/used";
}

# Assembly without frame tables, that uses rbp for something else: its stacks
# ended there, or had callers that never called it.

SKIP: {
	skip 'no such assembly here', 12 unless `uname -m` =~ /x86_64/;

	for my $how (0 .. 2) {
		my ($app, $sock) = program('truth', "$dir/used", 'assembly', $how);
		my %sum = read_profile(ask($sock, 'profile?seconds=1'),
			qw/ no_rows call_assembly decoy main called /);

		cmp_ok($sum{no_rows}, '>', 0.8 * $sum{total}, "assembly $how: seen");
		cmp_ok($sum{call_assembly}, '>', 0.95 * $sum{no_rows},
			"assembly $how: its caller is found");
		cmp_ok($sum{main}, '>', 0.95 * $sum{no_rows},
			"assembly $how: and all further up");
		is($sum{decoy}, 0, "assembly $how: nobody who did not call it");
		$app->stop();
	}
}

# Children of each kind find themselves to be the owner of what they locked:
# one waited for itself for ever.

for my $env ({}, { LD_PRELOAD => "$build/libpprof.so" },
	{ LD_PRELOAD => "$build/libpprof.so",
		PPROF_LISTEN => "unix:$dir/f.%p" })
{
	local @ENV{keys %$env} = values %$env;
	my $r = Debug::Nginx::run_cmd(["$build/t/app/truth", "$dir/used",
		'forks', 0]);
	is($r->{out}, "fork 0\n_Fork 0\nclone 0\n", 'locks in forked children, '
		. (join(' ', map { s!.*/!!r } sort values %$env) || 'bare'));
}

# name, Hz, seconds, the program's arguments

profile("400 sleepers, $_ Hz", $_, 3, 'sleepers', 400, 100, 12)
	for 100, 250, 1000;
profile("threads of 2 ms, $_ Hz", $_, 3, 'brief', 2000, 1)
	for 100, 250, 1000;

profile('1,000 sleepers', 100, 2, 'sleepers', 1000, 20, 1);
profile('20 sleepers, 3 awake', 250, 2, 'sleepers', 20, 3, 30);
profile('threads of 0.5 ms, 8 together', 100, 2, 'brief', 500, 8);
profile('threads of 5 ms', 250, 2, 'brief', 5000, 3);
profile('threads of 30 ms', 100, 2, 'brief', 30000, 4);
profile('threads of C11, 3 ms', 100, 2, 'c11', 3000);
profile('threads that are canceled', 100, 2, 'cancel', 3000, 2);
profile('5,000 threads', 100, 3, 'crowd', 5000, 80);
profile('work in step with the period', 100, 3, 'step', 10000);
profile("work of 60 ms, $_ Hz", $_, 3, 'step', 60000) for 100, 250;
profile("work of 100 ms, $_ Hz", $_, 3, 'step', 100000) for 100, 250;

# two places only, and the quarter is at none, one or both of them: here the
# total is what can be right
profile('work in step with the tick', 250, 3, 'step', 2 * tick());

done_testing();
