#!/usr/bin/perl

# The CPU sampler: its sums against the kernel's account.

use warnings;
use strict;

my $build = $ENV{DEBUG_BUILD} || 'build';

exec "$build/t/unit/guest/sampler" or die "cannot run the unit test: $!";
