#!/usr/bin/perl

# Call stacks that lie: wrong CFI, JIT, alternate stacks.

use warnings;
use strict;

my $build = $ENV{DEBUG_BUILD} || 'build';

exec "$build/t/unit/guest/survive" or die "cannot run the unit test: $!";
