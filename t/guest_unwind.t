#!/usr/bin/perl

# Call stacks by our tables and by libgcc's unwinder.

use warnings;
use strict;

my $build = $ENV{DEBUG_BUILD} || 'build';

exec "$build/t/unit/guest/unwind" or die "cannot run the unit test: $!";
