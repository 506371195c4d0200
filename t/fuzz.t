#!/usr/bin/perl

# Replays the corpus of each fuzz driver.

###############################################################################

use warnings;
use strict;

use Cwd ();
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Debug::Nginx;

###############################################################################

my $build = $ENV{DEBUG_BUILD} // 'build';
my $t = Debug::Nginx->new(module => 0);
my @drivers = map { m!([^/]+)\.c$! } glob('t/fuzz/*.c');

ok(@drivers, 'fuzz drivers');

foreach my $driver (@drivers) {
	my @inputs = glob("t/fuzz/corpus/$driver/*");

	ok(@inputs, "$driver: corpus");

	my $out = `$build/t/replay/$driver t/fuzz/corpus/$driver 2>&1`;

	is($?, 0, "$driver: exit status") or diag($out);
	is(() = $out =~ /^t\/fuzz\/corpus/mg, @inputs, "$driver: replayed");
}

# those of ngx_module/ are modules, replayed inside nginx

foreach my $driver (map { m!([^/]+)\.c$! } glob('t/fuzz/module/*.c')) {
	my @inputs = glob("t/fuzz/corpus/$driver/*");

	ok(@inputs, "$driver: corpus");

	local $ENV{NGX_REPLAY} = Cwd::abs_path("t/fuzz/corpus/$driver");
	my ($exit, $out) = $t->test_config("load_module "
		. Cwd::abs_path("$build/t/replay/module/$driver.so")
		. ";\n%%TEST_GLOBALS%%\nevents { }\n");

	is($exit, 0, "$driver: exit status") or diag($out);
	is(() = $out =~ /^\/.*\/corpus\/$driver\//mg, @inputs,
		"$driver: replayed");
}

done_testing();

###############################################################################
