#!/usr/bin/perl

# What libpprof costs programs as Debian has them: the CPU time of a fixed
# piece of work, done over and over in turns by one process of each kind, so
# that whatever the machine does meanwhile meets all alike.  The ratio to the
# process without it is taken in each round, and its median over the rounds.
# Processes are started anew many times, since where their code and memory
# come to lie changes more than libpprof does: what counts is the median of
# all starts, with its standard error.
#
#     perl -It/lib t/bench/programs.pl        DEBUG_BUILD as for the tests
#
# A profile that runs is measured while it runs; what its start and its
# answer cost is in the tables of kinds.pl.

use strict;
use warnings;

use Cwd;
use FindBin;
use IO::Handle;
use IO::Select;
use IO::Socket::UNIX;
use IPC::Open2;
use Socket;
use Time::HiRes qw/ sleep time /;

use lib "$FindBin::Bin/../lib";
use Debug::Bench;
use Debug::Kinds;
use Debug::Nginx;

my $build = Cwd::abs_path($ENV{DEBUG_BUILD} // 'build');
my $dir = temp_dir('bench');
my $GENERATIONS = $ENV{BENCH_GENERATIONS} // (short() ? 1 : 24);
my $ROUNDS = $ENV{BENCH_ROUNDS} // (short() ? 2 : 30);
my @run = ("$build/pprof-run");
my @bare = (@run, '--no-tcmalloc');

my ($gcc) = grep { -e } glob '/{usr/,}lib/*/libgcc_s.so.1';
my ($tcmalloc) = grep { -e } glob '/usr/lib/*/libtcmalloc.so.4';
my %tcmalloc = (LD_PRELOAD => "$gcc $tcmalloc",
                TCMALLOC_STACKTRACE_METHOD => 'libgcc');

# Name, what is started before the program, its environment, the case that it
# is compared with, what is asked for meanwhile.

my %recorded = (PPROF_MUTEX_RATE => 1, PPROF_BLOCK_RATE => 10000);
my @CASES = (
    ['without', [], {}],
    ['a thread that sleeps, no libpprof', [],
        { LD_PRELOAD => "$build/t/bench/asleep.so" }, 0],
    ['libpprof, nobody asks', [@bare], {}, 0],
    ['profile at 100 Hz', [@bare], {}, 2, 'profile?seconds=600'],
    ['profile at 1000 Hz', [@bare], {}, 2, 'profile?seconds=600&hz=1000'],
    ['gperftools\' profile, 100 Hz', [@bare],
        { PPROF_CPU_ENGINE => 'gperftools' }, 2, 'profile?seconds=600'],
    ['mutex and block recorded', [@bare], \%recorded, 2],
    ['tcmalloc instead of its malloc', [], \%tcmalloc, 0],
    ['both, nobody asks, no heap sample', [@run, '-s', 0], {}, 7],
    ['heap sample, 512 KiB', [@run], {}, 8],
    ['heap sample, 64 KiB', [@run, '-s', 65536], {}, 8],
    ['allocs, too, 512 KiB', [@run], { PPROF_ALLOC_SAMPLE => 524288 }, 9],
    ['heap sample, profile at 100 Hz', [@run], {}, 9, 'profile?seconds=600'],
);
my $BAR = 3;
my $TCMALLOC = 7;           # from here on


# -- the programs: a sub that starts one, with what does one piece of work

my $serial = 0;
my %running;

sub launch {
    my ($case, @cmd) = @_;
    my ($name, $before, $env) = @$case;
    my $sock = "$dir/s" . $serial++;
    my @prefix = @$before;
    my %p = (cmd => $cmd[0], case => $case);

    if (@prefix) {
        push @prefix, '-l', "unix:$sock", '--';
        $p{sock} = $sock;
    }

    local @ENV{keys %$env} = values %$env;

    $p{pid} = open2($p{out}, $p{in}, @prefix, @cmd);
    $running{$p{pid}} = 1;

    return \%p;
}


# Waits until P listens, and asks for what is to run meanwhile.

sub ask {
    my ($p) = @_;
    my ($name, $ask) = @{ $p->{case} }[0, 4];

    return unless defined $p->{sock};

    wait_for(sub { http_open(unix => $p->{sock}) }, 10) or die "$name: does not listen\n";

    return unless defined $ask;

    $p->{ask} = http_open(unix => $p->{sock}) or die "$name: $!\n";
    print { $p->{ask} } "GET /debug/pprof/$ask HTTP/1.0\r\n\r\n";
}


sub finish_program {
    my ($p) = @_;

    close $p->{ask} if $p->{ask};
    kill 'KILL', $p->{pid};
    waitpid $p->{pid}, 0;
    delete $running{$p->{pid}};
}


# of a bench that gives up, nothing stays
END { local $?; kill 'KILL', keys %running }


# Reads from FH until END comes.

sub read_until {
    my ($p, $fh, $end) = @_;
    my $text = '';

    while (index($text, $end) < 0) {
        my $n = sysread $fh, $text, 65536, length $text;
        die "$p->{cmd} went away: $text\n" unless $n;
    }
}


# Sorting, printing and looking up: CPU and many small allocations.

my $ROWS = short() ? 500 : 3000;
my $sql = 'SELECT \'E\' || \'ND\', count(DISTINCT t) FROM (WITH RECURSIVE n(i)'
    . " AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $ROWS) SELECT"
    . ' printf(\'%d\', i * 7919) || substr(hex(i), 1, 4) AS t FROM n);';

sub sqlite {
    my ($case) = @_;

    return launch($case, 'sqlite3', '-interactive', '-init', '/dev/null',
                  ':memory:');
}


sub sqlite_work {
    my ($p) = @_;

    print { $p->{in} } "$sql\n";
    $p->{in}->flush();
    read_until($p, $p->{out}, 'END|');
}


# Commands of all sorts, a hundred at a time.

my $COMMANDS = short() ? 120 : 2400;
my $batch = '';

for my $i (1 .. $COMMANDS / 6) {
    my $k = $i * 7919 % 5000;

    $batch .= "SET k$k " . ('v' x ($i % 200)) . "\r\nGET k" . ($i % 5000)
        . "\r\nINCR n$k\r\nHSET h" . ($k % 50) . " f$k v$i\r\n"
        . "ZADD z" . ($k % 20) . " $i m$k\r\nZRANGE z" . ($i % 20)
        . " 0 9 WITHSCORES\r\n";
}

$batch .= "ECHO END\r\n";


sub redis {
    my ($case) = @_;
    my $sock = "$dir/redis" . $serial;
    my $p = launch($case, 'redis-server', '--port', 0, '--unixsocket', $sock,
                   '--save', '', '--dir', $dir, '--logfile', '/dev/null');

    $p->{redis} = $sock;

    return $p;
}


# Answers are read while commands are written: neither side waits for ever.

sub redis_work {
    my ($p) = @_;
    my ($at, $text) = (0, '');
    my $fh = $p->{fh} //= wait_for(sub {
        IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $p->{redis})
    }, 10) or die "redis-server does not listen\n";

    while (index($text, "END\r\n") < 0) {
        my ($r, $w) = ('', '');
        vec($r, fileno $fh, 1) = 1;
        vec($w, fileno $fh, 1) = 1 if $at < length $batch;
        select $r, $w, undef, 10 or die "redis-server hangs\n";

        if ($at < length $batch && vec($w, fileno $fh, 1)) {
            $at += syswrite $fh, $batch, length $batch, $at;
        }

        if (vec($r, fileno $fh, 1)) {
            $text = substr $text, -10;
            sysread $fh, $text, 65536, length $text
                or die "redis-server went away\n";
        }
    }
}


# One process of each case.  Returns for each the median of its CPU time over
# that of its base in the same round, and of the time itself, in ms.

sub generation {
    my ($n, $start, $work) = @_;
    my @p = map { $start->($_) } @CASES[0 .. $n - 1];
    my (@ratio, @ms);

    # caches are filled, and tcmalloc has seen its first 16 MiB
    for my $p (@p) {
        $work->($p) for 1 .. (short() ? 1 : 20);
    }

    ask($_) for @p;
    sleep 0.2;

    for my $round (1 .. $ROUNDS) {
        my @cpu;

        for my $i (0 .. $#p) {
            my $k = ($i + $round) % @p;
            my $before = threads_clock($p[$k]{pid});

            $work->($p[$k]);

            # it goes to sleep a moment after the answer
            sleep 0.0003;
            $cpu[$k] = threads_clock($p[$k]{pid}) - $before;
        }

        for my $k (0 .. $#p) {
            push @{ $ms[$k] }, 1000 * $cpu[$k];
            push @{ $ratio[$k] }, $cpu[$k] / $cpu[$CASES[$k][3] // 0] - 1;
        }
    }

    for my $p (@p) {
        die "$p->{case}[0]: was answered\n"
            if $p->{ask} && IO::Select->new($p->{ask})->can_read(0);
        finish_program($p);
    }

    return map { [median(@{ $ratio[$_] }), median(@{ $ms[$_] })] } 0 .. $#p;
}


my %PROGRAMS = (
    'redis-server' => [\&redis, \&redis_work],
    'sqlite3' => [\&sqlite, \&sqlite_work],
);
my (@names, %cases, %ratio, %ms);

for my $name (sort keys %PROGRAMS) {
    die "no $name\n" unless have_bin($name);
    push @names, $name;

    # one that brings an allocator keeps it
    $cases{$name} = Debug::Kinds::keeps_allocator($name) ? $TCMALLOC
                                                         : @CASES;
}

# a program that sleeps, and is left alone with libpprof

my $sleeper = launch(['asleep', [@run], {}], 'sleep', '600');
ask($sleeper);
sleep 1;
my ($slept, $since) = (cpu_clock($sleeper->{pid}), time);

for my $g (1 .. $GENERATIONS) {
    for my $name (@names) {
        note("programs: $name, $g of $GENERATIONS");
        my @got = generation($cases{$name}, @{ $PROGRAMS{$name} });

        for my $k (0 .. $#got) {
            push @{ $ratio{$name}[$k] }, $got[$k][0];
            push @{ $ms{$name}[$k] }, $got[$k][1];
        }
    }
}

$slept = cpu_clock($sleeper->{pid}) - $slept;
$since = time - $since;
finish_program($sleeper);

my @rows = (['CPU time of the same work', 'against',
             map { ($_, 'may be off') } @names]);

for my $k (0 .. $#CASES) {
    my ($case, $base) = @{ $CASES[$k] }[0, 3];

    push @rows, ["$k $case", $base // '', map {
        my $r = $ratio{$_}[$k];

        !defined $r ? ('-', '-')
        : defined $base ? (percent(median(@$r)),
                           sprintf '%.2f%%', 100 * spread(@$r))
                        : (sprintf('%.1f ms', median(@{ $ms{$_}[$k] })), '')
    } @names];
}

table(['a program that sleeps', 'ms of CPU a second'],
      ['libpprof, nobody asks', sprintf '%.3f', 1000 * $slept / $since]);

table(@rows);

bar("$_, profile at 100 Hz", 100 * median(@{ $ratio{$_}[$BAR] }), 1, '%')
    for @names;
print "\n";

exit finish();
