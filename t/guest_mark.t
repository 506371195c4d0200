#!/usr/bin/perl

# The mark that nginx puts into requests, as the guest finds it.

use warnings;
use strict;

my $build = $ENV{DEBUG_BUILD} || 'build';

exec "$build/t/unit/guest/mark" or die "cannot run the unit test: $!";
