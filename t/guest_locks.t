#!/usr/bin/perl

# The interposed locks: libc's behavior kept, and what is recorded of waits.

use warnings;
use strict;

my $build = $ENV{DEBUG_BUILD} || 'build';

exec "$build/t/unit/guest/locks" or die "cannot run the unit test: $!";
