#!/usr/bin/perl

# What the pages weigh and how long they take to draw: the tables of what
# pages.mjs measures.
#
#     perl -It/lib t/bench/pages.pl           DEBUG_BUILD as for the tests

use strict;
use warnings;

use FindBin;

use lib "$FindBin::Bin/../lib";
use Debug::Bench;
use Debug::Nginx;

my $browser = "$FindBin::Bin/../browser";

for my $bin (qw/ node npm go \/usr\/bin\/chromium /) {
    die "no $bin\n" unless have_bin($bin);
}

# the browser's driver at its locked version, once

if (!-e "$browser/node_modules/playwright-core") {
    my $r = run_cmd(['npm', 'ci', '--no-audit', '--no-fund',
                     '--ignore-scripts'], cwd => $browser, timeout => 120);

    die "npm ci: $r->{err}\n" if $r->{exit};
}

my $r = run_cmd(['node', "$FindBin::Bin/pages.mjs"], timeout => 400);

die "pages.mjs: $r->{out}$r->{err}\n" if $r->{exit} || $r->{signal};

my %lines;

push @{ $lines{$_->[0]} }, $_ for map { [split /\t/] } split /\n/, $r->{out};

my $version = run_cmd(['/usr/bin/chromium', '--version'])->{out};

heading('pages in Chromium ' . ($version =~ /([\d.]+)/)[0]);

my ($gzipped, $plain) = (0, 0);
my @rows = (['asset, bytes', 'gzipped', 'as it is']);

for (@{ $lines{asset} }) {
    my (undef, $name, $small, $large) = @$_;

    push @rows, [$name, commas($small), commas($large)];
    $gzipped += $small;
    $plain += $large;
}

table(@rows, ['all', commas($gzipped), commas($plain)]);

table(['page, bytes on the wire', 'HTML', 'with its assets', 'files'],
      map { [$_->[1], commas($_->[2]), commas($_->[3]), $_->[4]] }
      @{ $lines{page} });

my (undef, $frames, $whole, @of_it) = @{ $lines{flame}[0] };

table(['flame graph, ms', 'file to picture', 'tree and drawing',
       'CPU of the page', 'a frame of an empty page'],
      [commas($frames) . ' frames', $whole, @of_it]);

table(['charts, ms', 'points a line', 'page to picture', 'all drawn again',
       'CPU of that'],
      map { [$_->[1] == 1 ? "1 peer" : "$_->[1] peers", @$_[2 .. 5]] }
      @{ $lines{charts} });

bar('all assets gzipped', $gzipped / 1000, 80, 'KB');
bar('the first flame graph, file to picture', $whole, 150, 'ms');
print "\n";

exit finish();
