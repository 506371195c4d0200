#!/usr/bin/perl

# The walker on aarch64, under qemu-user.

use warnings;
use strict;

use Test::More;

my $dir = ($ENV{DEBUG_BUILD} || 'build') . '/t/aarch64';
my $root = '/usr/aarch64-linux-gnu';

plan(skip_all => 'no compiler for aarch64') unless -x "$dir/unwind";
plan(skip_all => 'no qemu-aarch64') unless grep { -x "$_/qemu-aarch64" }
	split /:/, $ENV{PATH};

foreach my $test (qw/ stackmap cfi unwind survive /) {
	my @corpus = $test eq 'cfi' ? 't/fuzz/corpus/eh_frame' : ();
	my @out = do {
		open my $pipe, '-|', 'qemu-aarch64', '-L', $root, "$dir/$test",
			@corpus or die "cannot run qemu: $!";
		<$pipe>;
	};

	my @bad = grep { /^not ok/ } @out;
	my $good = grep { /^ok/ } @out;

	ok(!@bad && $good > 3 && $out[-1] =~ /^1\.\.\d+$/, "$test: $good")
		or diag(@out);
}

done_testing();
