#!/usr/bin/perl

# The pages, in Debian's Chromium by playwright-core: what is in t/browser/
# that needs a page.  t/browser_units.t has the rest.

use warnings;
use strict;

use Test::More;

use FindBin;
use lib "$FindBin::Bin/lib";

use Debug::Browser;
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

$ENV{DEBUG_BUILD} = $build;

run_files($dir, [qw/ pages /], [qw/ viewer fixture /]);

done_testing();
