#!/usr/bin/perl

# The stacks of all threads; no system call of theirs returns EINTR for it.

use warnings;
use strict;

my $build = $ENV{DEBUG_BUILD} || 'build';

exec "$build/t/unit/guest/threads" or die "cannot run the unit test: $!";
