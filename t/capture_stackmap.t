#!/usr/bin/perl

# The table that capture keeps its stacks in.

use warnings;
use strict;

my $build = $ENV{DEBUG_BUILD} || 'build';

exec "$build/t/unit/capture/stackmap" or die "cannot run the unit test: $!";
