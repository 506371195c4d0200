#!/usr/bin/perl

# What libpprof costs, as the tables of docs/benchmarks.md.
#
#     perl -It/lib t/bench/library.pl [programs] [locks] [unwind]
#         [malloc] [reads] [heap] [kinds] [guest]             DEBUG_BUILD as for tests
#
# The small ones are measured by programs in C beside this one, and only
# printed here.

use strict;
use warnings;

use Cwd;
use FindBin;

use lib "$FindBin::Bin/../lib";
use Debug::Bench;
use Debug::Nginx;

my $build = Cwd::abs_path($ENV{DEBUG_BUILD} // 'build');
my $dir = temp_dir('bench');
my %parts = (
    programs => sub { script('programs') },
    locks => \&locks,
    unwind => \&unwind,
    malloc => \&pairs,
    reads => \&reads,
    heap => \&heap,
    kinds => sub { script('kinds') },
    guest => sub { script('guest') },
);
my @all = qw/ programs locks unwind malloc reads heap kinds guest /;
my $failed = 0;


# A part that is a script of its own.

sub script {
    my ($name) = @_;

    system($^X, "-I$FindBin::Bin/../lib", "$FindBin::Bin/$name.pl");
    $failed ||= $? >> 8 || $?;
}


# Runs one of the programs in C; its lines, as lists of fields.

sub measured {
    my ($cmd, %o) = @_;
    my $r = run_cmd($cmd, timeout => 300, %o);

    die "$r->{cmd}: $r->{err}\n" if $r->{exit} || $r->{signal};

    return map { [split /\t/] } split /\n/, $r->{out};
}


sub plus { return $_[0] eq '-' ? '' : sprintf '%+.2f', $_[0] }


sub locks {
    my @cmd = ("$build/t/bench/locks", "$build/t/bench/through.so",
               short() ? 40 : 8000);
    my %env = (LD_PRELOAD => "$build/libpprof.so",
               PPROF_LISTEN => "unix:$dir/l");
    my @off = measured(\@cmd, env => \%env);
    my @on = measured(\@cmd, env => { %env, PPROF_MUTEX_RATE => 1,
                                      PPROF_BLOCK_RATE => 1,
                                      PPROF_THREADCREATE => 1 });
    my @rows = (['ns, of locks that nobody else holds', 'libc\'s',
                 'an empty function', 'libpprof', 'and records']);

    for my $i (0 .. $#off) {
        my ($name, $libc, $through, $ours) = @{ $off[$i] };

        push @rows, [$name, sprintf('%.2f', $libc), plus($through),
                     plus($ours), plus($on[$i][3])];
    }

    table(@rows);
    bar('a mutex, locked and unlocked', $off[0][3], 0.5, 'ns more');
    bar('a mutex, while contention is recorded', $on[0][3], 0.5, 'ns more');
    print "\n";
}


sub unwind {
    my @more = short() ? () : grep { defined } map { (glob "/usr/lib/*/$_")[-1] }
               'libpython3*.so.1.0', 'libLLVM-*.so.1';
    my %plain = map { $_->[0] => $_ } measured(["$build/t/bench/unwind"]);
    my %large = map { $_->[0] => $_ } measured(["$build/t/bench/unwind",
                                                @more]);
    my @rows = (['going up a stack, ns a frame', 'ns', 'frames seen']);

    for my $way ('ours', 'libgcc', 'libunwind, unw_backtrace',
                 'libunwind, unw_step', 'gperftools')
    {
        push @rows, [$way, sprintf('%.1f', $plain{$way}[1]), $plain{$way}[2]]
            if $plain{$way};
    }

    table(@rows);

    my $names = join ', ', map { m!([^/]+?)\.so! } @more;
    my $column = sub {
        my ($of) = @_;
        return (commas($of->{rows}[1]),
                sprintf('%.1f', $of->{'table bytes'}[1] / 1048576),
                sprintf('%.1f', $of->{'build ms'}[1]),
                sprintf('%.2f', $of->{'unchanged us'}[1]));
    };

    table(['our tables', 'rows', 'MiB', 'ms of CPU to make', 'us to look again'],
          ['a program in C', $column->(\%plain)],
          @more ? ["with $names", $column->(\%large)] : ());
}


# Instructions of a malloc() of SIZE and its free(), with PRELOAD: those of two
# counts, less one another.

sub instructions {
    my ($size, $preload) = @_;
    my $n = short() ? 1000 : 200_000;
    my @took;

    for my $count ($n, 2 * $n) {
        my $r = run_cmd(['valgrind', '--tool=callgrind',
                         '--callgrind-out-file=/dev/null',
                         "$build/t/bench/pairs", $count, $size],
                        timeout => 300, env => { LD_PRELOAD => $preload });

        $r->{err} =~ /Collected : (\d+)/ or die "$r->{cmd}: $r->{err}\n";
        push @took, $1;
    }

    return ($took[1] - $took[0]) / $n;
}


# The least of many times.

sub least_ns {
    my ($size, $preload) = @_;
    my @took = sort { $a <=> $b } map { $_->[0] } map {
        measured(["$build/t/bench/pairs", short() ? 1000 : 5_000_000, $size],
                 env => { LD_PRELOAD => $preload })
    } 1 .. (short() ? 1 : 9);

    return $took[0];
}


# The program's own allocator, and what is in front of it.

sub pairs {
    my %of;
    my @ways = (['libc alone', undef],
                ['an empty function in front', "$build/t/bench/onward.so"],
                ['libpprof.so in front', "$build/libpprof.so"]);
    my @rows = (['a malloc and its free', 'instructions, 64 bytes',
                 '1024 bytes', 'ns, 64 bytes']);

    for (@ways) {
        my ($name, $preload) = @$_;

        $of{$name} = [instructions(64, $preload),
                      instructions(1024, $preload), least_ns(64, $preload)];
        push @rows, [$name, map { sprintf '%.1f', $_ } @{ $of{$name} }];
    }

    table(@rows);

    # of large objects more are sampled
    bar('libpprof.so in front, instructions more, 64 bytes',
        $of{'libpprof.so in front'}[0] - $of{'libc alone'}[0], 16, '');
}


# Instructions of a WHAT, with PRELOAD: those of two counts, less one another.

sub call_instructions {
    my ($what, $preload) = @_;
    my $n = short() ? 1000 : 100_000;
    my @took;

    for my $count ($n, 2 * $n) {
        my $r = run_cmd(['valgrind', '--tool=callgrind',
                         '--callgrind-out-file=/dev/null',
                         "$build/t/bench/reads", $count, $what],
                        timeout => 300, env => { LD_PRELOAD => $preload });

        $r->{err} =~ /Collected : (\d+)/ or die "$r->{cmd}: $r->{err}\n";
        push @took, $1;
    }

    return ($took[1] - $took[0]) / $n;
}


# What is in front of reads and writes while nobody asks for routes.

sub reads {
    my @rows = (['instructions', 'libc alone', 'libpprof.so in front']);
    my $most = 0;

    for my $what (qw/ read write /) {
        my $libc = call_instructions($what);
        my $ours = call_instructions($what, "$build/libpprof.so");

        push @rows, ["a $what\(), nobody asks for routes",
                     sprintf('%.1f', $libc), sprintf('%.1f', $ours)];
        $most = $ours - $libc if $ours - $libc > $most;
    }

    table(@rows);
    bar('libpprof.so in front of a read or write, instructions more', $most,
        8, '');
}


sub heap {
    my @rows = (['ns for a malloc and its free', 'tcmalloc',
                 'heap 512 KiB', 'heap 64 KiB', 'allocs 512 KiB', 'both']);

    for (measured(["$build/pprof-run", '--tcmalloc', '-s', 0, '-l',
                   "unix:$dir/h", '--', "$build/t/bench/heap", short() ? 1 : 200]))
    {
        my ($size, $off, @more) = @$_;

        push @rows, ["$size bytes", sprintf('%.2f', $off),
                     map { plus($_) } @more];
    }

    table(@rows);
}


for my $part (@ARGV) {
    next if $parts{$part};
    print STDERR "no part \"$part\"; there are: @all\n";
    exit 2;
}

heading('libpprof');

for my $part (@ARGV ? @ARGV : @all) {
    note("library: $part");
    $parts{$part}->();
}

exit(finish() || $failed);
