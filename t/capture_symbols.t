#!/usr/bin/perl

# What runs in a signal handler must not reach for the C library: a call that
# allocates or locks there hangs the program that is profiled, some day.

use warnings;
use strict;

use Test::More;

my $objects = ($ENV{DEBUG_BUILD} || 'build') . '/profiler/capture';

plan(skip_all => 'the library is not built') unless -e "$objects/tick.o";

# the compiler itself emits calls of the mem* functions
my %common = map { $_ => 1 } qw/
	memcpy memcmp memset memmove clock_gettime
	_GLOBAL_OFFSET_TABLE_ __stack_chk_fail __tls_get_addr
/;

# and what each may use of this room
my %own = (
	'stackmap' => [qw/ mmap munmap /],	# _create and _free only
	'unwind' => [qw/ pprof_bounds pprof_cfi_shared /],
	'tick' => [qw/ pprof_unwind_context pprof_stackmap_add /],
);

foreach my $object (sort keys %own) {
	my %allowed = (%common, map { $_ => 1 } @{ $own{$object} });

	open my $nm, '-|', 'nm', '-u', "$objects/$object.o"
		or die "cannot run nm: $!";
	my @names = map { /\bU (\S+)/ ? $1 : () } <$nm>;
	close $nm or die "nm failed";

	is(join(' ', grep { !$allowed{$_} } @names), '',
		"$object.o: nothing but what a handler may call");
}

done_testing();
