#!/usr/bin/perl

# The pages, in Debian's Chromium by playwright-core: what is in t/browser/,
# run by node's own test runner.

use warnings;
use strict;

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
# version to version.  Why a test failed stands in a block that prove neither
# shows nor always understands.

$ENV{DEBUG_BUILD} = $build;

for my $name (qw/ profile fixture pages /) {
	my ($run, $failed) = (0, 0);

	open(my $tap, '-|', 'node', '--test-reporter=tap',
	     "$dir/$name.test.mjs")
		or BAIL_OUT("node: $!");

	while (my $line = <$tap>) {

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

	close $tap;

	is($?, 0, "$name: exit status");
	ok($run, "$name: has tests");
}

done_testing();
