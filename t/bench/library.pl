#!/usr/bin/perl

# What libpprof costs: sqlite3 doing a fixed piece of work, by CPU time, in one
# run and in turns, so that a busy machine hits all alike.
#
#     perl t/bench/library.pl <build>

use warnings;
use strict;

use POSIX ();
use Time::HiRes qw/ sleep /;

use lib 't/lib';
use Debug::Nginx;

my $build = shift // 'build';
my $rounds = $ENV{BENCH_ROUNDS} // 5;
my $dir = Debug::Nginx::temp_dir('bench');

die "no sqlite3\n" unless Debug::Nginx::have_bin('sqlite3');

my $sql = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n'
    . ' WHERE i < 400000) SELECT count(DISTINCT printf("%d", i * 7919)) FROM n;';
my ($tcmalloc) = glob '/usr/lib/*/libtcmalloc.so.4';

# CPU seconds of one run; WHILE is asked meanwhile, over and over.
sub work {
    my ($cmd, $env, $sock, $while) = @_;
    my $pid = Debug::Nginx::spawn([@$cmd, 'sqlite3', ':memory:', $sql],
        env => $env, out => "$dir/out", err => "$dir/err");
    my $asker;

    if (defined $while) {
        $asker = fork() // die "fork: $!\n";

        if ($asker == 0) {
            sleep 0.02 until -S $sock;
            Debug::Nginx::http_get("/debug/pprof/$while",
                unix => $sock, timeout => 60) while -S $sock;
            POSIX::_exit(0);
        }
    }

    my ($cu, $cs) = (times)[2, 3];
    waitpid $pid, 0;
    my ($cu2, $cs2) = (times)[2, 3];

    if (defined $asker) {
        kill 'KILL', $asker;
        waitpid $asker, 0;
    }

    unlink $sock;

    return $cu2 + $cs2 - $cu - $cs;
}

my $sock = "$dir/s";
my @run = ("$build/pprof-run", '-l', "unix:$sock");
my @cases = (
    ['glibc alone', [], {}],
    ['tcmalloc alone', [], { LD_PRELOAD => $tcmalloc }],
    ['libpprof, idle, no heap sample', [@run, '-s', 0], {}],
    ['libpprof, idle, heap sample 512 KiB', [@run], {}],
    ['libpprof, profile at 100 Hz', [@run], {}, 'profile?seconds=60'],
    ['libpprof, profile at 1000 Hz', [@run], {}, 'profile?seconds=60&hz=1000'],
    ['gperftools\' engine, 100 Hz', [@run],
        { PPROF_CPU_ENGINE => 'gperftools' }, 'profile?seconds=60'],
    ['libpprof, allocs', [@run], {}, 'allocs?seconds=60'],
    ['libpprof, mutex and block', [@run],
        { PPROF_MUTEX_RATE => 1, PPROF_BLOCK_RATE => 10000 }],
);
my %cpu;

for my $round (1 .. $rounds) {
    for my $case (@cases) {
        my ($name, $cmd, $env, $while) = @$case;
        push @{ $cpu{$name} }, work($cmd, $env, $sock, $while);
    }
}

printf "%-40s %10s %10s\n", 'sqlite3, CPU seconds', 'least', 'median';

for my $case (@cases) {
    my @s = sort { $a <=> $b } @{ $cpu{$case->[0]} };
    printf "%-40s %10.3f %10.3f\n", $case->[0], $s[0], $s[@s / 2];
}
