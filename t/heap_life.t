#!/usr/bin/perl

# The heap over a program's life: threads that free each other's memory and
# leave some at their end, before main() and after, in signal handlers, in a
# child of fork(), and so often that one in a million would be seen.

###############################################################################

use warnings;
use strict;

use Test::More;

use lib 't/lib';
use Debug::Nginx;
use Debug::Heap;

###############################################################################

my $dir = Debug::Nginx::temp_dir('heap');
my $each = 5000 * 1000;         # t/app/allocate.cc
my ($app, $sock, $heap, $r);

sub near {
	my ($value, $should, $name) = @_;

	$value //= 0;
	ok(abs($value - $should) <= 0.1 * $should,
		"$name: $value of $should, within 10 %");
}

# threads

for my $name ('', qw/ libjemalloc.so.2 libmimalloc.so.2.0 /) {
	my $path = $name eq '' ? '' : Debug::Heap::library($name);

	SKIP: {
	skip "no $name", 4 unless defined $path;

	($app, $sock) = Debug::Heap::start('threads', dir => $dir,
		options => ['-s', 2048], $path ? (preload => $path) : ());
	$heap = Debug::Heap::functions($sock, 'heap');
	near($heap->{by_thread}, $each, "$name thread");
	near($heap->{by_thread_exit}, $each, "$name at the end of a thread");
	# the queue's own memory stays
	cmp_ok($heap->{gone_in_another} // 0, '<', 0.02 * $each,
		"$name freed by another thread");
	cmp_ok(Debug::Heap::functions($sock, 'allocs')->{gone_in_another}, '>',
		0.95 * 3 * 8 * $each, "$name and there were so many");
	$app->stop();

	}
}

# before main(), after it, in a handler

($app, $sock) = Debug::Heap::start('handler', dir => $dir,
	options => ['-s', 2048], env => { ALLOCATE_FIRST => 1 });
$heap = Debug::Heap::functions($sock, 'heap');
near($heap->{by_constructor}, $each, 'before main()');
near($heap->{by_handler}, $each, 'in a signal handler');
$app->stop();

($app, $sock) = Debug::Heap::start('atexit', dir => $dir,
	options => ['-s', 2048]);
near(Debug::Heap::functions($sock, 'heap')->{by_atexit}, $each, 'atexit()');
$app->stop();

# a child frees what is its parent's, and its own copy is gone with that

($app) = Debug::Heap::start('fork', dir => $dir, options => ['-s', 2048],
	sock => "$dir/fork.%p", says => qr/child ready/);

my $parent = "$dir/fork." . $app->pid();
my @child;

ok(Debug::Nginx::wait_for(sub {
	@child = grep { $_ ne $parent } glob "$dir/fork.*";
	return @child == 1 && -S $parent;
}, 20), 'parent and child listen');

$heap = Debug::Heap::functions($child[0], 'heap');
is($heap->{by_parent} // 0, 0, 'child: freed what was its parent\'s');
near($heap->{by_child}, $each, 'child: its own');

$heap = Debug::Heap::functions($parent, 'heap');
near($heap->{by_parent}, $each, 'parent: has it still');
is($heap->{by_child} // 0, 0, 'parent: and not its child\'s');

my ($pid) = $child[0] =~ /(\d+)$/;
kill 'TERM', $pid;
$app->stop();

# ten million pairs, with TEST_LONG a hundred: none is lost, at a rate at which
# many are sampled

my $pairs = $ENV{TEST_LONG} ? 100_000_000 : 10_000_000;

($app, $sock) = Debug::Heap::start('', dir => $dir, options => ['-s', 65536],
	cmd => [($ENV{DEBUG_BUILD} // 'build') . '/t/app/allocate', 'pairs',
	$pairs]);
$heap = Debug::Heap::functions($sock, 'heap');
cmp_ok($heap->{all}, '<', 1e6, "of $pairs pairs none is lost");

my $allocs = Debug::Heap::functions($sock, 'allocs');
near($allocs->{all}, $pairs * (16 + 488), 'and all were there');
$app->stop();

# a difference, a rate, none at all

($app, $sock) = Debug::Heap::start('', dir => $dir);
$r = Debug::Heap::ask($sock, 'heap?rate=4096');
is($r->{status}, 200, 'rate=4096');
like($r->{headers}{'content-disposition'}, qr/filename="heap"/, 'heap: file');

SKIP: {
	skip 'no go', 5 unless Debug::Nginx::have_bin('go');

	for (['heap', 'inuse_space/bytes\[dflt\] inuse_objects/count'
		. ' alloc_space/bytes alloc_objects/count'],
		['allocs', 'alloc_objects/count alloc_space/bytes\[dflt\]'
		. ' inuse_objects/count inuse_space/bytes'])
	{
		my ($kind, $columns) = @$_;

		Debug::Nginx::write_file("$dir/p",
			Debug::Heap::ask($sock, $kind)->{body});
		my $raw = Debug::Nginx::go_pprof('-raw', "$dir/p")->{out};
		like($raw, qr/^$columns$/m, "$kind: four columns");
		like($raw, qr/^PeriodType: space bytes\nPeriod: 4096$/m,
			"$kind: period");
	}

	Debug::Nginx::write_file("$dir/p",
		Debug::Heap::ask($sock, 'heap?seconds=1')->{body});
	like(Debug::Nginx::go_pprof('-raw', "$dir/p")->{out},
		qr/libpprof's sample in front of malloc\(\) of libc\.so\.6, one in 4096/,
		'it says whose malloc, and how many');
}

$r = Debug::Heap::ask($sock, 'allocs?seconds=1');
is($r->{status}, 200, 'allocs?seconds=1');
like($r->{headers}{'content-disposition'}, qr/filename="allocs-delta"/,
	'allocs?seconds=1: file');
is(Debug::Heap::ask($sock, 'allocs?rate=0')->{status}, 200, 'rate=0');
like(Debug::Heap::ask($sock, 'heap?rate=2000000000')->{body},
	qr/^rate: at most 1073741824 bytes/, 'rate: too much');
$app->stop();

# switched off from the start: words, and a way on

($app, $sock) = Debug::Heap::start('', dir => $dir, options => ['-s', 0]);

for my $kind (qw/ heap allocs heap?seconds=1 allocs?seconds=1 /) {
	$r = Debug::Heap::ask($sock, $kind);
	is($r->{status}, 501, "$kind: off");
	like($r->{body}, qr/^heap sampling is off; .*PPROF_HEAP_SAMPLE=\d+ .*rate=/,
		"$kind: what to do");
}

is(Debug::Heap::ask($sock, 'heap?rate=4096')->{status}, 200, 'and it is on');
is(Debug::Heap::ask($sock, 'allocs')->{status}, 200, 'and stays');
$app->stop();

done_testing();

###############################################################################
