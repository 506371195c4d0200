package Debug::Torch;

# Reads what "go tool pprof -raw" prints by the rules of go-torch, which goes by
# lines and gives up at the first one that it does not expect.
#
#     my ($stacks, $why) = torch($raw);
#
# STACKS is a hash from "caller;callee" to a list of values; it is undef, with
# the reason, where go-torch would end with an error.
#
# Rules: https://github.com/uber-archive/go-torch, pprof/parser.go: what
# follows "Samples" is the names of the values, by single spaces; a sample is
# as many numbers, one colon, and numbers of locations, and only lines with
# "bytes:[" may be something else; a location is a number and an address, or
# has at least four words, of which the third, or the one after "M=", is the
# function.

use strict;
use warnings;

use base 'Exporter';

our @EXPORT = qw/ torch /;


sub torch {
    my ($raw) = @_;
    my ($state, @names, %function, @samples, %stacks) = ('');

    for (split /\n/, $raw) {
        my $line = s/^\s+|\s+$//gr;

        if ($state eq '') {
            $state = 'names' if $line =~ /^Samples/;

        } elsif ($state eq 'names') {
            @names = split / /, $line, -1;
            $state = 'samples';

        } elsif ($state eq 'samples') {
            if ($line =~ /^Locations/) {
                $state = 'locations';
                next;
            }

            next if $line =~ /bytes:\[/;

            my @halves = split /:/, $line, -1;
            return (undef, "a sample: $line") if @halves != 2;

            my ($values, $places) = map { [split ' '] } @halves;
            return (undef, "a number: $line")
                if grep { !/^-?\d+$/ } @$values, @$places or !@$places;
            return (undef, @names . " names: $line") if @$values != @names;

            push @samples, [$values, $places];

        } elsif ($state eq 'locations') {
            if ($line =~ /^Mappings/) {
                $state = 'mappings';
                next;
            }

            my @words = split ' ', $line;
            next if @words == 2;
            return (undef, "a location: $line")
                if @words < 4 || $words[0] !~ /^\d+:$/;

            $function{$words[0] =~ s/://r} = $words[2] =~ /^M=/
                                             ? $words[3] : $words[2];
        }
    }

    return (undef, "it ends before the locations")
        if $state ne 'locations' && $state ne 'mappings';

    for (@samples) {
        my ($values, $places) = @$_;
        my $sum = $stacks{join ';', map { $function{$_} // "missing-function-$_" }
                                    reverse @$places} //= [(0) x @names];

        $sum->[$_] += $values->[$_] for 0 .. $#$values;
    }

    return (\%stacks, undef);
}


1;
