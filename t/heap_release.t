#!/usr/bin/perl

# ?gc=1 and the allocator's own numbers, whichever allocator it is: done by a
# thread of the program that comes through malloc(), never in a signal handler,
# never within fork(), and said when nobody came by.

###############################################################################

use warnings;
use strict;

use Test::More;

use lib 't/lib';
use Debug::Nginx;
use Debug::App;
use Debug::Heap;

###############################################################################

my $build = $ENV{DEBUG_BUILD} // 'build';
my $dir = Debug::Nginx::temp_dir('release');

sub start {
	my ($mode, $path) = @_;

	return Debug::Heap::start($mode, dir => $dir,
		cmd => ["$build/t/app/grow", $mode], $path ? (preload => $path) : ());
}

# what heap?gc=1 says it did
sub release {
	my ($sock) = @_;
	my $r = Debug::Heap::ask($sock, 'heap?gc=1&debug=1');

	die "$r->{status} $r->{body}" if $r->{status} != 200;
	my ($said) = $r->{body} =~ /^# (gc=1: .*)$/m;

	return $said // 'nothing';
}

sub process {
	my ($sock) = @_;
	my $r = Debug::Nginx::http_get('/debug/charts/data', unix => $sock);

	return Debug::Nginx::decode_json($r->{body})->{Process}[-1] // {};
}

# allocator, what it calls itself, MiB that are given back at least, MiB that
# it tells to hold at least, or undef
for (['', 'malloc_trim()', 40, 50],
	['libjemalloc.so.2', "jemalloc's purge", 40, 5],
	['libmimalloc.so.2.0', 'mi_collect()', undef, 20],
	['libtcmalloc_minimal.so.4', "tcmalloc's ReleaseFreeMemory()", undef,
		undef])
{
	my ($allocator, $by, $released, $held) = @$_;
	my $path = $allocator eq '' ? '' : Debug::Heap::library($allocator);
	my $name = $allocator eq '' ? "libc's" : $allocator;

	SKIP: {
	skip "no $allocator", 4 unless defined $path;

	my ($app, $sock) = start('holes', $path);
	my $p;

	SKIP: {
		skip "$name: tells nothing to a thread that libc does not know", 1
			unless defined $held;
		ok(Debug::Nginx::wait_for(sub { $p = process($sock);
			($p->{HeapHeld} // 0) > $held * 2 ** 20; }, 10),
			"$name: HeapHeld") or diag(explain($p));
	}

	my $said = release($sock);
	my ($less) = $said =~ /^gc=1: \Q$by\E: (\d+) KiB less in memory, /;
	ok(defined $less, "$name: it was done, and what came of it is said")
		or diag($said);

	SKIP: {
		skip "$name: what it keeps is its business", 1
			unless defined $released;
		cmp_ok($less // 0, '>', $released * 1024, "$name: given back");
	}

	like(release($sock), qr/^gc=1: \Q$by\E: /, "$name: and once more");

	$app->stop();
	}
}

# a snapshot asks with another number, and pauses nobody

my ($app, $sock) = start('holes');
unlike(Debug::Heap::ask($sock, 'heap?gc=2&debug=1')->{body}, qr/^# gc=/m,
	'gc=2: nothing is done');
$app->stop();

# nobody comes by

($app, $sock) = start('idle');
is(release($sock), 'gc=1: nothing was given back: no thread of the program '
	. 'called malloc() within a second', 'idle: it is said');
$app->stop();

# only a handler comes by: it may have interrupted malloc() itself

($app, $sock) = start('handler');
like(release($sock), qr/^gc=1: nothing was given back: the threads that called /,
	'handler: it is not done there');
$app->stop();

# while the program forks all the time, and its children allocate

($app, $sock) = start('fork');
my $done = 0;
$done += release($sock) =~ /malloc_trim/ for 1 .. 10;
cmp_ok($done, '>=', 8, 'fork: done, and nothing hangs');
ok(kill(0, $app->pid()), 'fork: it lives');
$app->stop();

done_testing();

###############################################################################
