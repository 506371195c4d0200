#!/usr/bin/perl

# The table that the guest keeps its stacks in.

use warnings;
use strict;

my $build = $ENV{DEBUG_BUILD} || 'build';

exec "$build/t/unit/guest/stackmap" or die "cannot run the unit test: $!";
