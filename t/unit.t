#!/usr/bin/perl

# Runs every unit test that was built, each as a subtest.

###############################################################################

use warnings;
use strict;

use Test::More;

use File::Find qw/ find /;

###############################################################################

my $build = $ENV{DEBUG_BUILD} // 'build';
my $dir = "$build/t/unit";
my @tests;

# those of guest/ have files of their own: t/guest_*.t

find({ no_chdir => 1, wanted => sub {
	push @tests, $_ if -f && -x _ && !/\.so$/ && !m!/guest/!;
} }, $dir)
	if -d $dir;

ok(@tests, "unit tests built in $dir");

foreach my $test (sort @tests) {
	subtest substr($test, length("$dir/")) => sub { run($test) };
}

done_testing();

###############################################################################

# Passes a program's TAP on; its plan and its exit code are tests as well.

sub run {
	my ($program) = @_;
	my ($planned, $run) = (-1, 0);

	open my $out, '-|', $program or die "$program: $!\n";

	while (<$out>) {
		chomp;

		if (/^(not )?ok \d+(?: - (.*))?$/) {
			ok(!$1, $2);
			$run++;

		} elsif (/^1\.\.(\d+)(?: # SKIP (.*))?$/) {
			$planned = $1;
			note($2) if defined $2;

		} else {
			diag($_);
		}
	}

	close $out;

	is($?, 0, 'exit status');
	is($run, $planned, 'tests run');
}

###############################################################################
