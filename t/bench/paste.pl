#!/usr/bin/perl

# Puts what the benchmarks printed into docs/benchmarks.md:
#
#     ./build.sh bench | tee /dev/stderr | perl -It/lib t/bench/paste.pl
#
# A table takes the place of the one with the same first column, and what it
# says of its bars that of what stood there; the line with date and machine,
# that of the same part.  All other words stay.

use strict;
use warnings;

use FindBin;

use lib "$FindBin::Bin/../lib";
use Debug::Nginx;

my $file = shift // "$FindBin::Bin/../../docs/benchmarks.md";
my $docs = read_file($file);
my $new = do { local $/; scalar <STDIN> } // '';

my $BARS = qr/(?:^(?:ok|MISSED): .*\n)+/m;
my $WHERE = qr/^(\d{4}-\d\d-\d\d), (\w+)(.*, \d+ CPUs.*\n)/m;
my @lost;

while ($new =~ /$WHERE/g) {
    my ($date, $part, $rest) = ($1, $2, $3);

    $docs =~ s/^\d{4}-\d\d-\d\d, $part\b.*\n/$date, $part$rest/m
        or push @lost, "$part: date and machine";
}

while ($new =~ /((?:^\|.*\n)+)(?:\n($BARS))?/mg) {
    my ($table, $bars) = ($1, $2);
    my ($first) = $table =~ /^\| (.*?) *\|/;
    my $old = qr/^\| \Q$first\E *\|.*\n(?:^\|.*\n)*(?:\n$BARS)?/m;

    $table .= "\n$bars" if defined $bars;
    $docs =~ s/$old/$table/ or push @lost, $first;
}

write_file($file, $docs);

print STDERR "no place in $file for: $_\n" for @lost;
exit(@lost ? 1 : 0);
