#!/usr/bin/perl

# The parser of .eh_frame, its corpus, and tables that change.

use warnings;
use strict;

my $build = $ENV{DEBUG_BUILD} || 'build';

exec "$build/t/unit/guest/cfi", 't/fuzz/corpus/eh_frame' or die "cannot run the unit test: $!";
