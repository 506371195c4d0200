package Debug::Cells;

# The table of docs/clients.md, client x backend, each cell a list of kinds:
# a test says which cell it shows, and at its end that the table claims
# those, all of them and no other.
#
#     cell('curl', 'libpprof, TCP', 'heap', $r->{status} == 200);
#     …
#     cells_are('libpprof, TCP');

use strict;
use warnings;

use FindBin;
use Test::More ();

use Debug::Nginx;

use base 'Exporter';

our @EXPORT = qw/ cell cells_without cells_are /;

my %SHOWN;
my @WITHOUT;


# A test of its own.  Returns whether it passed.

sub cell {
    my ($client, $backend, $kind, $passed) = @_;

    $SHOWN{$backend}{$client}{$kind} = 1;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return Test::More::ok($passed, "$client, $backend: $kind");
}


# A client that this machine has not: what is claimed of those whose name
# matches RE is neither shown nor missed.

sub cells_without { push @WITHOUT, @_ }


# What the table says of BACKEND: "client: kind kind".

sub _claimed {
    my ($backend) = @_;
    my ($column, %claimed);

    for (split /\n/, read_file("$FindBin::Bin/../docs/clients.md")) {
        my (undef, @cells) = map { s/^\s+|\s+$//gr } split /\|/;

        if (!defined $column) {
            next unless ($cells[0] // '') eq 'client';
            ($column) = grep { ($cells[$_] // '') eq $backend } 1 .. $#cells;
            return {} unless defined $column;
            next;
        }

        last unless /^\|/;
        next if $cells[0] =~ /^-+$/ || $cells[0] eq 'shown by';

        my $client = $cells[0] =~ s/`//gr;
        next if grep { $client =~ $_ } @WITHOUT;
        $claimed{$client} = join ' ', sort split ' ', $cells[$column]
            if ($cells[$column] // '') =~ /^\w/;
    }

    return \%claimed;
}


sub cells_are {
    my (@backends) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    for my $backend (@backends) {
        my $shown = $SHOWN{$backend};

        Test::More::is_deeply(
            { map { $_ => join ' ', sort keys %{ $shown->{$_} } }
              keys %$shown },
            _claimed($backend),
            "docs/clients.md claims of $backend what was shown");
    }
}


1;
