#!/usr/bin/perl

# The sample of what is allocated: its numbers and its tables.

use warnings;
use strict;

my $build = $ENV{DEBUG_BUILD} || 'build';

exec "$build/t/unit/guest/heap" or die "cannot run the unit test: $!";
