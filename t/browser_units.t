#!/usr/bin/perl

# What of the pages needs no page, under node: profiles read and counted, names,
# series of charts.

use warnings;
use strict;

use Test::More;

use FindBin;
use lib "$FindBin::Bin/lib";

use Debug::Browser;
use Debug::Nginx;

need_bin(qw/ node go /);

run_files("$FindBin::Bin/browser", [qw/ units profile /]);

done_testing();
