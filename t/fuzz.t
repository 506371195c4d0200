#!/usr/bin/perl

# Replays the corpus of each fuzz driver.

###############################################################################

use warnings;
use strict;

use Test::More;

###############################################################################

my $build = $ENV{DEBUG_BUILD} // 'build';
my @drivers = map { m!([^/]+)\.c$! } glob('t/fuzz/*.c');

ok(@drivers, 'fuzz drivers');

foreach my $driver (@drivers) {
	my @inputs = glob("t/fuzz/corpus/$driver/*");

	ok(@inputs, "$driver: corpus");

	my $out = `$build/t/replay/$driver t/fuzz/corpus/$driver 2>&1`;

	is($?, 0, "$driver: exit status") or diag($out);
	is(() = $out =~ /^t\/fuzz\/corpus/mg, @inputs, "$driver: replayed");
}

done_testing();

###############################################################################
