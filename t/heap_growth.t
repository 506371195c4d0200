#!/usr/bin/perl

# Who asked the kernel for memory, with any allocator: each way, what is left
# of it, what is in memory of it, and what is said of what nobody was seen to
# ask for.

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
my $dir = Debug::Nginx::temp_dir('growth');
my $go = Debug::Nginx::have_bin('go');
my $mib = 1 << 20;

# of t/app/grow.c: what is mapped and may be used, and what is in memory
my %space = (by_mmap => 8, by_shared => 8, by_commit => 4, by_trimmed => 13,
	by_moved => 16, by_fixed => 4, by_under => 8, by_thread => 16,
	by_many => 1000 / 64);
my %resident = (by_mmap => 4, by_shared => 1, by_commit => 2, by_trimmed => 6,
	by_moved => 2, by_fixed => 4, by_many => 1000 / 64);

# and by a sample, with libc's malloc
my %sampled = (by_small => 96, by_large => 100, by_sbrk => 2);

# 900 of by_many are too many at once: one in 64 KiB of them, so 3.5 % is one
# deviation.  Others may lie in the hole of by_trimmed, unseen.
my %less = (by_many => 0.2, by_trimmed => 0.3);

# those of FOUND that are further from what they should be than FRACTION of it
sub wrong {
	my ($found, $should, $fraction) = @_;

	return join ' ', map { "$_: " . ($found->{$_} // 0) / $mib }
		grep { abs(($found->{$_} // 0) / $mib - $should->{$_})
			> ($less{$_} // $fraction) * $should->{$_} } sort keys %$should;
}

# the column NAME by function, as Debug::Heap::functions
sub column {
	my ($sock, $name) = @_;
	my %sum;

	Debug::Nginx::write_file("$dir/p",
		Debug::Heap::ask($sock, 'growth')->{body});

	my $raw = Debug::Nginx::go_pprof('-traces', "-sample_index=$name",
		'-unit=B', "$dir/p")->{out};

	for (split /^-+\+-+$/m, $raw) {
		my ($value) = /^\s+(\d+)B? +\S/m or next;
		my ($by) = /\b((?:by|gone)_\w+)/;
		$sum{$by // (/(\[.*\])/)[0] // 'other'} += $value;
	}

	return \%sum;
}

for my $allocator ('', qw/ libjemalloc.so.2 libmimalloc.so.2.0 /) {
	my $path = $allocator eq '' ? '' : Debug::Heap::library($allocator);
	my $name = $allocator eq '' ? "libc's" : $allocator;

	SKIP: {
	skip "no $allocator", 6 unless defined $path;

	my ($app, $sock) = Debug::Heap::start('ways', dir => $dir,
		cmd => ["$build/t/app/grow", 'ways'],
		$path ? (preload => $path) : ());
	my $found = Debug::Heap::functions($sock, 'growth');

	is(wrong($found, \%space, 0.02), '', "$name: each way, by function");
	is(join(' ', grep { /^gone_/ } sort keys %$found), '',
		"$name: nothing of what is gone");

	# an allocator that calls mmap() is seen when it does, and keeps some
	is(wrong($found, $path ? { by_small => 96 } : \%sampled,
		$path ? 0.4 : 0.2), '', "$name: what malloc() asked for");

	my $rss = 0;
	$rss = $_ for map { /(\d+)/ } grep { /^VmRSS/ } split /\n/,
		Debug::Nginx::read_file('/proc/' . $app->pid() . '/status');

	SKIP: {
		skip 'no go', 3 unless $go;

		my $in = column($sock, 'resident');
		is(wrong($in, \%resident, 0.02), '', "$name: in memory");

		my $all = 0;
		$all += $_ for values %$in;
		cmp_ok($all / 1024, '<', $rss * 1.1, "$name: no more than there is");
		cmp_ok($all / 1024, '>', $rss * 0.8, "$name: and not much less");
	}

	$app->stop();
	}
}

# what is not known has a name, and what is ours is none of it

my ($app, $sock) = Debug::Heap::start('ways', dir => $dir,
	cmd => ["$build/t/app/grow", 'idle'], options => ['-s', 0]);
my $r = Debug::Heap::ask($sock, 'growth?format=folded');

is($r->{status}, 200, 'nothing is sampled: status');
like($r->{body}, qr/^\[heap of malloc, stacks unknown\] (\d{8,9})$/m,
	"nothing is sampled: libc's heap is known, its stacks are not");
like($r->{body}, qr/^\[main thread's stack\] \d+$/m, "the main thread's stack");
unlike($r->{body}, qr/pprof/, 'none of it is ours');
my ($other) = $r->{body} =~ /^\[anonymous memory, .*\] (\d+)$/m;
cmp_ok($other // 0, '<', 512 * 1024, 'and little is unknown');

$r = Debug::Heap::ask($sock, 'growth?debug=1');
is($r->{headers}{'content-type'}, 'text/plain; charset=utf-8', 'debug=1');
like($r->{body}, qr/^heap profile: .* \@ growth$/m, 'debug=1: as ever');
is(Debug::Heap::ask($sock, 'growth?seconds=1')->{status}, 400, 'no seconds');
$app->stop();

done_testing();

###############################################################################
