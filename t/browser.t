#!/usr/bin/perl

# The pages, in Debian's Chromium by playwright-core: what is in t/browser/,
# run by node's own test runner.

use warnings;
use strict;

use POSIX ();
use Test::More;

use FindBin;
use lib "$FindBin::Bin/lib";

use Debug::Nginx;

plan(skip_all => 'no chromium on this machine: the pages are not looked at')
	unless -x '/usr/bin/chromium';

need_bin(qw/ node npm go nginx /);

my $dir = "$FindBin::Bin/browser";
my $build = $ENV{DEBUG_BUILD} || "$FindBin::Bin/../build";

plan(skip_all => 'the module is not built')
	unless -e "$build/ngx_http_debug_module.so" && -e "$build/t/app/acs";

# the tools at their locked versions, once

if (!-e "$dir/node_modules/playwright-core"
    || !-e "$dir/node_modules/axe-core")
{
	my $r = run_cmd(['npm', 'ci', '--no-audit', '--no-fund',
			 '--ignore-scripts'], cwd => $dir, timeout => 120);

	if ($r->{exit} != 0) {
		diag($r->{err});
		plan(tests => 1);
		fail('npm ci in t/browser');
		exit;
	}
}

# Each file by itself, and not by "node --test", whose output differs from
# version to version.  Two at a time: a test waits more than it works.

$ENV{DEBUG_BUILD} = $build;

my $out = temp_dir('browser');
my @lanes = ([qw/ pages profile /], [qw/ viewer fixture /]);
my @pids;

for my $lane (@lanes) {
	my $pid = fork() // BAIL_OUT("fork: $!");

	if (!$pid) {
		for my $name (@$lane) {
			# a hook that gave up leaves what it had begun, and node waits
			system("timeout -k 10 1200 node --test-reporter=tap"
			       . " '$dir/$name.test.mjs' > '$out/$name';"
			       . " echo \$? > '$out/$name.exit'");
		}

		POSIX::_exit(0);
	}

	push @pids, $pid;
}

waitpid($_, 0) for @pids;

# Why a test failed stands in a block that prove neither shows nor always
# understands.

for my $name (map { @$_ } @lanes) {
	my ($run, $failed) = (0, 0);

	for my $line (split /^/, read_file("$out/$name")) {

		if ($line =~ /^(not )?ok \d+ - ([^#]*?)\s*(# SKIP.*)?$/) {
			$failed = $1;
			$run++;
			ok(!$failed, "$name: $2" . ($3 ? " ($3)" : ''));

		} elsif ($failed && $line =~ /^\s/
			 && $line !~ /^\s+(?:---|\.\.\.)$/)
		{
			diag($line);
		}
	}

	is(read_file("$out/$name.exit"), "0\n", "$name: exit status");
	ok($run, "$name: has tests");
}

done_testing();
