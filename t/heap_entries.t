#!/usr/bin/perl

# The heap of programs as they are: what lives is known by function, and every
# way to allocate and to free is there, with each allocator.

###############################################################################

use warnings;
use strict;

use Test::More;

use lib 't/lib';
use Debug::Nginx;
use Debug::Heap;

###############################################################################

my $build = $ENV{DEBUG_BUILD} // 'build';
my $dir = Debug::Nginx::temp_dir('heap');

# of t/app/allocate.cc; one sample in 2048 bytes is about 1,900 of these
my $each = 5000 * 1000;
my @by = qw/ by_malloc by_calloc by_realloc_null by_reallocarray by_memalign
	by_aligned_alloc by_valloc by_new by_new_array by_new_nothrow
	by_new_aligned by_posix_memalign by_realloc_growth by_realloc_less
	by_strdup by_vector /;
my @gone = qw/ gone_free gone_calloc gone_delete gone_delete_sized
	gone_delete_array gone_delete_aligned gone_realloc gone_realloc_fails
	gone_getline /;

# those of FOUND that are further from what they should be than FRACTION of it
sub wrong {
	my ($found, $should, $fraction) = @_;

	return join ' ', map { "$_: " . ($found->{$_} // 0) }
		grep { abs(($found->{$_} // 0) - $should->{$_})
			> $fraction * $should->{$_} } sort keys %$should;
}

my %allocators = (
	"libc's" => '',
	map { $_ => Debug::Heap::library($_) } qw/ libjemalloc.so.2
		libmimalloc.so.2.0 libmimalloc.so.3 libtcmalloc.so.4
		libtcmalloc_minimal.so.4 /
);

for my $allocator (sort keys %allocators) {
	my $path = $allocators{$allocator};

	SKIP: {
	skip "no $allocator", 6 unless defined $path;

	my ($app, $sock) = Debug::Heap::start('entries', dir => $dir,
		options => ['-s', 2048], $path ? (preload => $path) : ());

	# mimalloc 3 has a strdup() of its own, which calls no malloc()
	my @seen = grep { $_ ne 'by_strdup' || $allocator !~ /mimalloc.so.3/ }
		@by;

	my $heap = Debug::Heap::functions($sock, 'heap');
	is(wrong($heap, { map { $_ => $each } @seen }, 0.1), '',
		"$allocator: what lives, by function, within 10 %");

	# mimalloc and jemalloc have smallest objects of no size
	is(join(' ', map { "$_: $heap->{$_}" } grep { $heap->{$_} }
		@gone), '', "$allocator: and nothing of what was freed");

	my $allocs = Debug::Heap::functions($sock, 'allocs');
	is(wrong($allocs, { (map { $_ => 4 * $each } grep { !/realloc|getline/ }
			@gone), (map { $_ => $each } grep { !/realloc_(?:growth|less)/ }
			@seen), by_realloc_growth => 5.51 * $each,
			by_realloc_less => 5 * $each }, 0.1), '',
		"$allocator: what was allocated, also what was freed");

	# the largest are three vectors of pointers
	cmp_ok($heap->{others} // 0, '<', 2e6, "$allocator: nothing else");

	my $r = Debug::Heap::ask($sock, 'heap?debug=1');
	like(substr($r->{body}, 0, 100), qr/^heap profile: +\d+: +\d+ \[ *\d+: +\d+\] \@ heapprofile\n/,
		"$allocator: debug=1");

	is($app->err(), '', "$allocator: nothing on stderr");
	$app->stop();

	}
}

done_testing();

###############################################################################
