#!/usr/bin/perl

# goroutine, threadcreate, mutex and block: what threads do, who made them and
# who waits for whom.

###############################################################################

use warnings;
use strict;

use Test::More;
use Time::HiRes qw/ sleep /;

use lib 't/lib';
use Debug::Nginx;
use Debug::App;
use Debug::Kinds;

###############################################################################

my $build = $ENV{DEBUG_BUILD} // 'build';
my $dir = Debug::Nginx::temp_dir('lib');
my $n = 0;

sub program {
	my ($args, %env) = @_;
	my $sock = "$dir/" . ++$n . '.pprof';

	my $app = Debug::App->start(
		cmd => ["$build/pprof-run", '--tcmalloc', '-l', "unix:$sock",
			"$build/t/app/contend", @$args],
		env => \%env, ready => { unix => $sock });

	return ($app, $sock);
}

sub ask {
	my ($sock, $path, %o) = @_;
	return Debug::Nginx::http_get("/debug/pprof/$path", unix => $sock,
		timeout => 20, %o);
}

sub go {
	my ($r, @args) = @_;
	Debug::Nginx::write_file("$dir/p", $r->{body});
	my $out = Debug::Nginx::go_pprof(@args, "$dir/p");
	return $out->{out} . $out->{err};
}

my $go = Debug::Nginx::have_bin('go');
my ($r, $text);

# the stacks of all threads, and nobody notices

my ($app, $sock) = program(['waits']);
my @names = qw/ w-poll w-epoll w-select w-nanosleep w-sem w-recv w-burn /;

ok(Debug::Nginx::wait_for(sub {
	$r = ask($sock, 'goroutine?debug=2');
	return !grep { $r->{body} !~ /"$_"/ } @names;
}, 10), 'debug=2: every thread by its name');

is($r->{headers}{'content-type'}, 'text/plain; charset=utf-8',
	'debug=2: type');
unlike($r->{body}, qr/"pprof/, 'debug=2: not our own threads');
like($r->{body}, qr/^thread \d+ "w-epoll" \[sleeping in epoll_wait, cpu \d+\.\d+ s\]:\n(?:#.*_syscall_cancel.*\n)*#\t0x[0-9a-f]+\tepoll_wait\+0x/m,
	'debug=2: state, call, CPU time, stack');
like($r->{body}, qr/^thread \d+ "w-burn" \[running.*\n(?:#.*\n)*?#\t\S+\tburn\+0x/m,
	'debug=2: one that runs');

$r = ask($sock, 'thread?debug=1');
like($r->{body}, qr/^goroutine profile: total 8$/m, 'debug=1: total');
like($r->{body}, qr/^1 \@(?: 0x[0-9a-f]+)+\n#\t0x[0-9a-f]+\t\S+\+0x\S+\t\S+$/m,
	'debug=1: Go\'s form');

SKIP: {
	skip 'no go', 6 unless $go;

	$r = ask($sock, 'goroutine');
	$text = go($r, '-top');
	like($text, qr/^Type: goroutine$/m, 'type');
	like($text, qr/accounting for 8, 100% of 8 total/, 'all of them');
	like(go($r, '-raw'), qr!^goroutine/count\s*$!m, 'column');
	like($text, qr/ wait_recv$/m, 'names');
	like(go(ask($sock, 'goroutine?debug=1'), '-top'), qr/of 8 total/,
		'debug=1: go tool pprof reads it');

	# a thread on its way from one wait to the next is elsewhere, once in a
	# while; the delta has it with -1 and +1 then
	ok(Debug::Nginx::wait_for(sub {
		$text = go(ask($sock, 'goroutine?seconds=1'), '-top');
		return $text =~ /Duration: \d.*, Total samples = 0/;
	}, 20), 'delta: nothing changed') or diag($text);
}

like(ask($sock, 'goroutine?seconds=1')->{headers}{'content-disposition'},
	qr/filename="goroutine-delta"/, 'delta: file name');

ask($sock, 'goroutine') for 1 .. 20;
ask($sock, 'goroutine?debug=2') for 1 .. 5;

# nor by samples, hooks and records, all of them at once
is(Debug::Kinds::all_kinds($sock), '', 'every kind');
$app->kill('USR1');
is($app->wait(5), 0, 'the program ends as ever');
is($app->out(), "0 interrupted\n", 'no system call returned EINTR');

# who waits for whom, and who creates threads

($app, $sock) = program([]);

for my $kind (qw/ mutex block threadcreate /) {
	is(ask($sock, $kind)->{status}, 501, "$kind: off");

	$r = ask($sock, "$kind?seconds=2");
	is($r->{status}, 200, "$kind: over two seconds");
	like($r->{headers}{'content-disposition'}, qr/filename="$kind-delta"/,
		"$kind: file name");

	SKIP: {
		skip 'no go', 2 unless $go;

		$text = go($r, '-raw');
		like($text, $kind eq 'threadcreate' ? qr!^threadcreate/count!m
			: qr!^contentions/count delay/nanoseconds!m,
			"$kind: columns");
		like(go($r, '-top'), $kind eq 'threadcreate'
			? qr/ spawn_thread$/m : qr/ hold_lock$/m, "$kind: who");
	}
}

# two of three threads wait at any time, so two seconds have four of delay,
# less the pauses; on a busy machine the lock is held longer, not less

SKIP: {
	skip 'no go', 3 unless $go;

	my %delay;

	for my $kind (qw/ mutex block /) {
		$text = go(ask($sock, "$kind?seconds=2"), '-raw');
		my ($samples) = $text =~ /^Samples:\n(.*?)^Locations/ms;
		$delay{$kind} = 0;
		/^\s+\d+\s+(\d+):/ and $delay{$kind} += $1 / 1e9
			for split /\n/, $samples;
	}

	cmp_ok($delay{mutex}, '>', 2.5, 'mutex: delay');
	cmp_ok($delay{mutex}, '<', 4.5, 'mutex: and no more');
	cmp_ok($delay{block}, '>', 2.5, 'block: delay');
}

# switched on for good, and off again

is(ask($sock, 'mutex?rate=1')->{status}, 200, 'rate=1');
sleep 0.5;
like(ask($sock, 'mutex?debug=1')->{body},
	qr/^--- mutex:\ncycles\/second=1000000000\nsampling period=1\n\d+ \d+ \@/,
	'sums since');
is(ask($sock, 'mutex?rate=0')->{status}, 200, 'rate=0');
my $sum = ask($sock, 'mutex?debug=1')->{body};
sleep 0.3;
is(ask($sock, 'mutex?debug=1')->{body}, $sum, 'rate=0: the sums stay');
like(ask($sock, 'block?debug=1')->{body}, qr/^--- contention:$/m,
	'block: what windows recorded stays');
is(ask($sock, 'mutex?seconds=1&debug=1')->{status}, 400, 'seconds and debug');

SKIP: {
	skip 'no google-pprof', 1
		unless Debug::Nginx::have_bin('google-pprof');

	Debug::Nginx::write_file("$dir/c", Debug::Nginx::http_get(
		'/pprof/mutex', unix => $sock)->{body});
	like(Debug::Nginx::run_cmd(['google-pprof', '--text',
		"$build/t/app/contend", "$dir/c"], timeout => 60)->{out},
		qr/hold_lock/, 'google-pprof reads it');
}

$app->stop();

# everything that one can wait for, by its name and by who let it wait

($app, $sock) = program(['objects']);

SKIP: {
	skip 'no go', 12 unless $go;

	$r = ask($sock, 'block?seconds=2&rate=1&labels=object');
	$text = go($r, '-traces');

	for (['rwlock', 'rwlock'], ['condition', 'condition'],
		['semaphore', 'semaphore'], ['thread\'s end', 'thread'])
	{
		my ($object, $name) = @$_;
		my ($trace) = grep { /^ +object:\s*\Q$object\E\s*$/m
			&& /\bawait_$name\b/ } split /^-+\+-+$/m, $text;
		ok(defined $trace, "block: $object, in await_$name()");
		like($trace // '', qr/^ +[\d.]+m?s +/m, "block: $object: how long");
		unlike($trace // '', qr/pprof/, "block: $object: nothing of ours");
	}

	$text = go(ask($sock, 'mutex?seconds=2&labels=object'), '-traces');
	like($text, qr/^ +object:\s*rwlock\s*\n(?:.*\n)*? .* pass_on$/m,
		'mutex: who held the rwlock');
}

$app->stop();

# texts, as Go has them: who says debug=1 or 2 gets something to read

($app, $sock) = program([], PPROF_MUTEX_RATE => 1, PPROF_BLOCK_RATE => 1,
	PPROF_THREADCREATE => 1, PPROF_ALLOC_SAMPLE => 4096);

for my $kind (qw/ heap allocs growth goroutine thread threadcreate mutex
	block /)
{
	for my $debug (1, 2) {
		ok(Debug::Nginx::wait_for(sub {
			$r = ask($sock, "$kind?debug=$debug");
			return $r->{status} == 200;
		}, 10), "$kind?debug=$debug");
		is($r->{headers}{'content-type'}, 'text/plain; charset=utf-8',
			"$kind?debug=$debug: type");
		is($r->{headers}{'content-disposition'}, undef,
			"$kind?debug=$debug: to be shown");
	}

	SKIP: {
		skip 'no go', 1 unless $go;
		unlike(go(ask($sock, "$kind?debug=1"), '-raw'),
			qr/unrecognized|malformed|parsing/,
			"$kind?debug=1: go tool pprof reads it");
	}
}

# the environment's rates are there from the start, and stay

for (['mutex', qr/^--- mutex:\ncycles\/second=1000000000\n.*\n[1-9]\d* \d+ \@/],
	['block', qr/^--- contention:\ncycles\/second=1000000000\n.*\n?[1-9]\d* \d+ \@/])
{
	my ($kind, $re) = @$_;
	ok(Debug::Nginx::wait_for(sub {
		ask($sock, "$kind?debug=1")->{body} =~ $re }, 10),
		"$kind: by the environment");
}

$app->stop();

# from the start on

($app, $sock) = program([], PPROF_THREADCREATE => 1);
sleep 0.3;
like(ask($sock, 'threadcreate?debug=1')->{body},
	qr/^threadcreate profile: total \d+\n(?:.*\n)*?3 \@.*\n#\t\S+\tmain\+/m,
	'PPROF_THREADCREATE: the first threads too');
is($app->err(), '', 'nothing on stderr');
$app->stop();

done_testing();

###############################################################################
