package Debug::Bench;

# What the benchmarks share: tables as they stand in docs/benchmarks.md, the
# bars of the project, the CPU clock of another process.
#
#     heading('libpprof');
#     table(['ns', 'without', 'with'], ['mutex', '5.81', '+0.12']);
#     bar('mutex', 0.12, 0.5, 'ns');
#     exit finish();
#
# Environment: BENCH_SHORT, to see in some seconds whether they run at all;
# what they print then means nothing.

use strict;
use warnings;

use Exporter qw/ import /;
use POSIX ();
use Time::HiRes ();

use Debug::Nginx;

our @EXPORT = qw/
    heading table bar finish median spread commas short percent cpu_clock threads_clock note
/;

my $missed = 0;

$| = 1;


sub short { return $ENV{BENCH_SHORT} ? 1 : 0 }


# What goes on, beside the tables.

sub note { print STDERR "@_\n" if -t STDERR }


# The line above the tables of one part: when, what, where.  The load tells
# whether the machine had other work.

sub heading {
    my ($what) = @_;
    my $info = read_file('/proc/cpuinfo');
    my ($model) = $info =~ /^model name\s*:\s*(.*)$/m;

    printf "%s, %s, %s, %d CPUs, load %s\n\n",
           POSIX::strftime('%Y-%m-%d', gmtime), $what,
           $model // (POSIX::uname())[4], scalar(() = $info =~ /^processor/mg),
           (split ' ', read_file('/proc/loadavg'))[0];
}


# Rows of cells, the first of them the head; numbers stand to the right.

sub table {
    my (@rows) = @_;
    my @width;

    for my $row (@rows) {
        for my $i (0 .. $#$row) {
            my $n = length $row->[$i];
            $width[$i] = $n if $n > ($width[$i] // 0);
        }
    }

    splice @rows, 1, 0, [map { '-' x ($_ - 1) . ':' } @width];
    $rows[1][0] = '-' x $width[0];

    for my $row (@rows) {
        printf "| %-*s |%s\n", $width[0], $row->[0],
               join '', map { sprintf ' %*s |', $width[$_], $row->[$_] // '' }
                        1 .. $#width;
    }

    print "\n";
}


# Says whether VALUE keeps to the bar MOST.

sub bar {
    my ($name, $value, $most, $unit) = @_;
    my $text = sprintf '%.3g %s', $value, $unit;

    if ($value <= $most) {
        print "ok: $name: $text; the bar is $most\n";

    } else {
        printf "MISSED: %s: %s; the bar is %s, missed by %.3g\n", $name, $text,
               $most, $value - $most;
        $missed++;
    }
}


# The exit status: 1 when a bar was missed.

sub finish {
    # loaded with the library, but nothing is tested here
    Test::More->builder->no_ending(1);

    return $missed ? 1 : 0;
}


sub median {
    my @sorted = sort { $a <=> $b } @_;
    my $mid = @sorted >> 1;

    return @sorted % 2 ? $sorted[$mid] : ($sorted[$mid - 1] + $sorted[$mid]) / 2;
}


# How far the median of so many may be off: its standard error, from the
# median deviation, so that what disturbed a few of them does not count.

sub spread {
    my $mid = median(@_);

    return 1.2533 * 1.4826 * median(map { abs($_ - $mid) } @_) / sqrt(@_);
}


sub percent { return sprintf '%+.2f%%', 100 * $_[0] }


sub commas {
    my $text = sprintf '%.0f', $_[0];

    1 while $text =~ s/^(-?\d+)(\d{3})/$1,$2/;
    return $text;
}


# Seconds of CPU that the threads of process PID have used, those that are
# there now.

sub threads_clock {
    my ($pid) = @_;
    my $sum = 0;

    for my $file (glob "/proc/$pid/task/*/schedstat") {
        $sum += (split ' ', read_file($file))[0] // 0;
    }

    return $sum / 1e9;
}


# Seconds of CPU that process PID has used, with threads that ended.  The
# kernel makes a clock's number of a pid.  While a process has a timer on its
# CPU time (gperftools' profiler), this clock goes by the kernel's ticks.

sub cpu_clock {
    my ($pid) = @_;

    return Time::HiRes::clock_gettime((~(0 + $pid) << 3) | 2);
}


1;
