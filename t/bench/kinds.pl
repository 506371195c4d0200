#!/usr/bin/perl

# What it takes to answer each kind of profile of a big program, of more than
# 100 MB with its debug information: CPU and memory, in the program and in its
# agent; time, bytes.  Beside libpprof: gperftools' own functions, called by
# the program itself, and a program of the same shape in Go with net/http/pprof.
#
#     perl -It/lib t/bench/kinds.pl           DEBUG_BUILD as for the tests
#
# BENCH_KINDS=profile asks for those kinds only.
#
# The programs are made once, in DEBUG_BUILD/bench; that takes a minute.  g++
# compiles some thousand template functions; the object is copied with other
# names in place of its own until there are enough.

use strict;
use warnings;

use Cwd;
use FindBin;
use IO::Handle;
use IPC::Open2;
use POSIX ();
use Time::HiRes qw/ sleep time /;

use lib "$FindBin::Bin/../lib";
use Debug::App;
use Debug::Bench;
use Debug::Nginx;

my $build = Cwd::abs_path($ENV{DEBUG_BUILD} // 'build');
my $src = "$FindBin::Bin/big";
my $dir = temp_dir('big');
my $AGAIN = short() ? 0 : 5;            # times after the first
my $THREADS = short() ? 5 : 100;
my $BLOCKS = short() ? 2000 : 65536;    # of 16 KiB
my $WORK = short() ? 2000 : 40000;      # rounds: a second of CPU
my $SECONDS = short() ? 1 : 3;          # of a CPU profile
my ($DESKS, $COPIES) = short() ? (2, 2) : (25, 13);
my $METHODS = short() ? 2 : 40;         # of each type, in Go
my $out = "$build/bench/" . (short() ? 'short' : 'full');

my ($gcc) = grep { -e } glob '/{usr/,}lib/*/libgcc_s.so.1';
my ($tcmalloc) = grep { -e } glob '/usr/lib/*/libtcmalloc.so.4';


# -- the programs

sub build_step {
    my (@cmd) = @_;
    my $r = run_cmd(\@cmd, timeout => 600,
                    env => { GOFLAGS => '', GO111MODULE => 'off',
                             GOCACHE => "$build/bench/gocache" });

    die "$r->{cmd}: $r->{err}\n" if $r->{exit} || $r->{signal};
}


# Whether TARGET is older than what it is made of.

sub stale {
    my ($target, @from) = @_;
    my $made = (stat $target)[9] // return 1;

    return grep { (stat $_)[9] > $made } @from, __FILE__;
}


sub build_cpp {
    my $big = "$out/big";
    my @flags = ('-g', '-std=c++17', "-I$src");

    return $big unless stale($big, glob "$src/*.{cc,h}");

    note('kinds: compiling the big program');
    build_step('g++', '-O0', @flags, "-DDESKS=$DESKS", '-c',
               "$src/desks.cc", '-o', "$out/desks.o");
    build_step('g++', '-O1', @flags, '-c', "$src/main.cc", '-o',
               "$out/main.o");

    my $object = read_file("$out/desks.o");
    my @copies;

    for my $i (1 .. $COPIES) {
        my $name = sprintf 'app_%03d', $i;
        (my $copy = $object) =~ s/app_000/$name/g;

        push @copies, "$out/$name.o";
        write_file($copies[-1], $copy);
    }

    build_step('g++', '-o', $big, "$out/main.o", @copies, '-pthread', '-ldl',
               '-Wl,--no-as-needed', '-ltcmalloc');
    unlink @copies, "$out/desks.o", "$out/main.o";

    return $big;
}


sub build_go {
    my $big = "$out/big-go";
    my $desks = '';
    my @names = map { "desk$_" } 1 .. $DESKS * $COPIES;

    return $big unless stale($big, "$src/main.go");

    note('kinds: compiling the big program in Go');

    for my $i (0 .. $#names) {
        my $name = $names[$i];

        $desks .= <<"END";
type $name struct {
	orders map[int]string
	names map[string][]int
}

var the_$name $name

//go:noinline
func (d *$name) step(depth int, seed uint32, last func() int) int {
	next := func(left int) int {
		return walk(left, seed*1103515245+$i, last)
	}

	return next(depth) + 1
}

END
        $desks .= <<"END" for 1 .. $METHODS;
//go:noinline
func (d *$name) add$_(id int) int {
	if d.orders == nil {
		d.orders = map[int]string{}
		d.names = map[string][]int{}
	}

	d.orders[id] = fmt.Sprint(id, $_)
	d.names[d.orders[id]] = append(d.names[d.orders[id]], id)

	return len(d.names)
}

END
    }

    my $list = join '', map { "\tsteps = append(steps, the_$_.step)\n" }
                        @names;
    my $keep = join '', map { my $n = $_;
                              map { "\tthe_$n.add$_,\n" } 1 .. $METHODS }
                        @names;

    mkdir "$out/go";
    write_file("$out/go/main.go", read_file("$src/main.go"));
    write_file("$out/go/desks.go", "package main\n\nimport \"fmt\"\n\n$desks"
               . "func init() {\n$list}\n\nvar keep = []func(int) int{\n$keep"
               . "}\n");
    build_step('go', 'build', '-o', $big, "$out/go/main.go",
               "$out/go/desks.go");

    return $big;
}


# -- a program that runs

sub start {
    my ($name, $env, @cmd) = @_;
    my %p = (name => $name);

    local @ENV{keys %$env} = values %$env;
    # gperftools' profiler says how many samples it had
    $p{pid} = open2($p{out}, $p{in}, 'sh', '-c', 'exec "$@" 2> /dev/null',
                    'sh', @cmd);
    $p{in}->autoflush(1);

    my $said = readline $p{out};

    die "$name did not start\n" unless defined $said && $said eq "ready\n";

    return \%p;
}


sub end {
    my ($p) = @_;

    kill 'KILL', $p->{pid};
    waitpid $p->{pid}, 0;
}


# Has the program do LINE; what it says.

sub order {
    my ($p, $line) = @_;

    print { $p->{in} } "$line\n";

    my $said = readline $p->{out};

    die "$p->{name}: $line\n" unless defined $said;

    return $said =~ /^done (\S+)/ ? $1 : 0;
}


sub memory {
    my ($pid, $field) = @_;

    return read_file("/proc/$pid/status") =~ /^$field:\s+(\d+) kB/m
           ? $1 / 1024 : 0;
}


# What it takes to do SUB, which returns the CPU that was the program's own,
# the wall time that it had to take, and the answer's bytes.  Of the program,
# and of its agent if it has one.

sub measure {
    my ($p, $sub) = @_;
    my %pid = (program => $p->{pid}, agent => $p->{agent});
    my (%cpu, %rss, %m);

    delete $pid{agent} unless $pid{agent};

    for my $who (keys %pid) {
        # forget the peak until now
        write_file("/proc/$pid{$who}/clear_refs", 5);
        $cpu{$who} = cpu_clock($pid{$who});
        $rss{$who} = memory($pid{$who}, 'VmRSS');
    }

    my $start = time;
    my ($own, $wall, $bytes) = $sub->();

    $m{wall} = 1000 * (time - $start - $wall);
    $m{bytes} = $bytes / 1024;

    # its threads may end a moment after the answer
    sleep 0.05;

    for my $who (keys %pid) {
        $m{"$who cpu"} = 1000 * (cpu_clock($pid{$who}) - $cpu{$who});
        $m{"$who memory"} = memory($pid{$who}, 'VmHWM') - $rss{$who};
    }

    $m{'program cpu'} -= 1000 * $own;

    return \%m;
}


sub http {
    my ($p, $kind, @more) = @_;
    my $r = http_get("/debug/pprof/$kind", unix => $p->{sock},
                     timeout => 120, @more);

    die "$p->{name}: $kind: $r->{status} $r->{error} $r->{body}\n"
        if $r->{status} != 200 || !$r->{complete} || $r->{body} eq '';

    return (0, 0, length $r->{body});
}


# A CPU profile while there is work.  On a machine that is busy the work may
# last longer than the profile, and is no part of its time.

sub http_profile {
    my ($p, $kind) = @_;
    my $sock = http_open(unix => $p->{sock}) or die "$p->{name}: $!\n";
    my $answer = '';

    print $sock "GET /debug/pprof/$kind HTTP/1.0\r\n\r\n";
    sleep 0.3;
    print { $p->{in} } "work $WORK\n";
    1 while sysread $sock, $answer, 65536, length $answer;

    my $answered = time;

    die "$p->{name}: $kind: $answer\n" unless $answer =~ m!^HTTP/1\.\d 200!;

    my ($own) = readline($p->{out}) =~ /^done (\S+)/
        or die "$p->{name}: no work was done\n";

    return ($own, $SECONDS + time - $answered,
            length($answer) - index $answer, "\r\n\r\n");
}


# The same by gperftools' functions; what they write goes nowhere.

sub own_profile {
    my ($p) = @_;

    order($p, 'start');

    my $start = time;
    my $own = order($p, "work $WORK");
    my $wall = time - $start;

    order($p, 'stop');

    return ($own, $wall, 0);
}


# Places in the code, for the kind that only names them: of functions.

sub places {
    my ($p) = @_;
    no warnings 'portable';
    my ($low, $high) = map { hex }
        read_file("/proc/$p->{pid}/maps") =~ /^(\w+)-(\w+) r-xp .*big/m;

    return join '+', map { sprintf '0x%x', $low + ($high - $low) * $_ / 1000 }
                     1 .. 999;
}


my @kinds = (
    ["profile, $SECONDS s", sub { http_profile($_[0],
                                               "profile?seconds=$SECONDS") },
     \&own_profile],
    ['heap', sub { http($_[0], 'heap') },
     sub { return (0, 0, order($_[0], 'heap')) }],
    ['allocs', sub { http($_[0], 'allocs') }],
    ['growth', sub { http($_[0], 'growth') },
     sub { return (0, 0, order($_[0], 'growth')) }],
    ['goroutine', sub { http($_[0], 'goroutine') }],
    ['goroutine, debug=2', sub { http($_[0], 'goroutine?debug=2') }],
    ['threadcreate', sub { http($_[0], 'threadcreate') }],
    ['mutex', sub { http($_[0], 'mutex') }],
    ['block', sub { http($_[0], 'block') }],
    ['symbol, 999 places', sub { http($_[0], 'symbol', method => 'POST',
                                      body => $_[0]{places}) }],
    ['heap, format=svg', sub { http($_[0], 'heap?format=svg') }],
);


# a pattern: only these
@kinds = grep { $_->[0] =~ /$ENV{BENCH_KINDS}/ } @kinds
    if defined $ENV{BENCH_KINDS};

mkdir "$build/bench";
mkdir $out;

my $cpp = build_cpp();
my $go = build_go();
my $serial = 0;

my %engines = (
    libpprof => sub {
        my $sock = "$dir/l" . $serial++;
        my $p = start('libpprof', { PPROF_MUTEX_RATE => 1,
                                    PPROF_BLOCK_RATE => 1,
                                    PPROF_THREADCREATE => 1 },
                      "$build/pprof-run", '-l', "unix:$sock", '--', $cpp,
                      $THREADS, $BLOCKS);

        $p->{sock} = $sock;
        $p->{places} = places($p);
        wait_for(sub { $p->{agent} = Debug::App::agent($sock) }, 5)
            or die "libpprof does not listen\n";

        return $p;
    },
    gperftools => sub {
        return start('gperftools', {
            LD_PRELOAD => "$gcc $tcmalloc",
            TCMALLOC_SAMPLE_PARAMETER => 524288,
            TCMALLOC_STACKTRACE_METHOD => 'libgcc',
        }, $cpp, $THREADS, $BLOCKS);
    },
    Go => sub {
        my $sock = "$dir/g" . $serial++;
        my $p = start('Go', {}, $go, $THREADS, $BLOCKS, $sock);

        $p->{sock} = $sock;
        $p->{places} = places($p);

        return $p;
    },
);

my %got;

for my $kind (@kinds) {
    my ($name, $http, $direct) = @$kind;

    for my $engine (sort keys %engines) {
        my $do = $engine eq 'gperftools' ? $direct : $http;

        # what Go has not
        next if !$do || $engine eq 'Go' && $name =~ /growth|svg/;

        note("kinds: $name, $engine");

        my $p = $engines{$engine}->();
        my @m = map { measure($p, sub { $do->($p) }) } 0 .. $AGAIN;

        end($p);

        my $first = shift @m;

        @m = $first unless @m;

        for my $what (keys %$first) {
            $got{$engine}{$name}{$what} = [$first->{$what},
                                           median(map { $_->{$what} } @m)];
        }
    }
}


table(['the big programs', 'MB', 'functions', 'threads that wait',
       'blocks of 16 KiB'],
      map { my ($name, $file) = @$_;
            my $symbols = run_cmd(['nm', $file], timeout => 120)->{out};

            [$name, sprintf('%.1f', (-s $file) / 1e6),
             commas(scalar(() = $symbols =~ / [tTwW] /g)), $THREADS,
             commas($BLOCKS)] } ['C++', $cpp], ['Go', $go]);


# Columns: an engine, whether the first time or later, of what, and its name.

sub columns {
    my ($title, $format, @columns) = @_;
    my @rows = ([$title, map { $_->[3] // $_->[0] } @columns]);

    for my $kind (@kinds) {
        push @rows, [$kind->[0], map {
            my $v = $got{$_->[0]}{$kind->[0]}{$_->[2]};
            defined $v ? sprintf($format, $v->[$_->[1]]) : ''
        } @columns];
    }

    table(@rows);
}


# In the program and in the agent; the others are in the program alone.

sub halves {
    my ($what) = @_;

    return (['libpprof', 0, "program $what", 'program, first'],
            ['libpprof', 1, "program $what", 'program'],
            ['libpprof', 0, "agent $what", 'agent, first'],
            ['libpprof', 1, "agent $what", 'agent'],
            ['gperftools', 1, "program $what"],
            ['Go', 0, "program $what", 'Go, first'],
            ['Go', 1, "program $what"]);
}

columns('a big program: CPU, ms', '%.2f', halves('cpu'));
columns('a big program: peak memory, MiB', '%.2f', halves('memory'));
columns('a big program: time, ms', '%.1f',
        ['libpprof', 0, 'wall', 'libpprof, first'], ['libpprof', 1, 'wall'],
        ['gperftools', 1, 'wall'], ['Go', 0, 'wall', 'Go, first'],
        ['Go', 1, 'wall']);
columns('a big program: answer, KiB', '%.1f', ['libpprof', 1, 'bytes'],
        ['gperftools', 1, 'bytes'], ['Go', 1, 'bytes']);


# The worst kind of all: a profile's samples are the program's, and no part of
# what an answer may take; a picture is no profile.

sub worst {
    my ($what) = @_;
    my @kinds = grep { $_->[0] !~ /svg/
                       && ($what !~ /^program/ || $_->[0] !~ /^profile/) }
                     @kinds;
    my ($max) = sort { $b->[0] <=> $a->[0] }
                map { [$got{libpprof}{$_->[0]}{$what}[1], $_->[0]] } @kinds;

    return @{ $max // [0, 'nothing'] };
}

for (['program cpu', 1, 'ms of CPU in the program'],
     ['program memory', 0.25, 'MiB in the program'],
     ['agent cpu', 15, 'ms of CPU in the agent'],
     ['agent memory', 8, 'MiB in the agent'])
{
    my ($what, $most, $unit) = @$_;
    my ($value, $kind) = worst($what);

    bar("the dearest answer ($kind)", $value, $most, $unit);
}

print "\n";


# Lines are looked up by another process, beside the program: what that takes.

sub lines {
    my ($p, $kind) = @_;
    my ($cpu, $peak) = (0, 0);

    pipe my $out, my $in or die "pipe: $!\n";

    my $asker = fork() // die "fork: $!\n";

    if ($asker == 0) {
        my $start = time;
        my (undef, undef, $bytes) = http($p, $kind);

        syswrite $in, join ' ', 1000 * (time - $start), $bytes / 1024;
        POSIX::_exit(0);
    }

    close $in;

    while (waitpid($asker, POSIX::WNOHANG()) == 0) {
        for my $file (glob '/proc/[0-9]*/status') {
            my $status = read_file($file);

            next unless $status =~ /^Name:\s+pprof-lines$/m;

            my ($pid) = $file =~ /(\d+)/;
            my $used = cpu_clock($pid);

            $cpu = $used if $used > $cpu;
            $peak = $1 / 1024 if $status =~ /^VmHWM:\s+(\d+) kB/m
                                 && $1 / 1024 > $peak;
        }

        sleep 0.002;
    }

    my ($wall, $bytes) = split ' ', readline($out) // '0 0';

    # a short run may be over before anybody looks
    die "no pprof-lines was seen\n" unless $cpu || $ENV{BENCH_SHORT};

    return [1000 * $cpu, $wall, $peak, $bytes];
}

my @lines = (['names with lines', 'CPU of the helper, ms', 'time, ms',
              'its peak memory, MiB', 'answer, KiB']);
my $lined = $engines{libpprof}->();

for my $kind ('heap', 'goroutine') {
    my @m = map { lines($lined, "$kind?lines=1") } 0 .. (short() ? 0 : 2);

    push @lines, ["$kind, lines=1", map {
        my $i = $_;
        sprintf '%.0f', median(map { $_->[$i] } @m)
    } 0 .. 3];
}

end($lined);
table(@lines);


# How long the program's own malloc waits for one who reads the heap: the
# least of several longest, since what else the machine does only adds.

my @stalls = (['longest malloc, ms', 'undisturbed', 'while heap is read',
               'of this, the lock']);
my $worst = 0;

for my $sample (short() ? 524288 : (524288, 65536)) {
    local $ENV{TCMALLOC_SAMPLE_PARAMETER} = $sample;
    local $ENV{PPROF_HEAP_SAMPLE} = $sample;
    my $p = $engines{libpprof}->();
    my $lock = 1000 * order($p, 'lock');
    my (@calm, @read);

    for (1 .. (short() ? 1 : 15)) {
        order($p, 'stall');
        sleep 0.05;
        push @calm, 1000 * order($p, 'calm');
        order($p, 'stall');
        http($p, 'heap');
        push @read, 1000 * order($p, 'calm');
    }

    end($p);

    my ($calm, $read) = map { (sort { $a <=> $b } @$_)[0] } \@calm, \@read;

    $worst = $read if $read > $worst;
    push @stalls, [sprintf('heap sample of %d KiB', $sample / 1024),
                   map { sprintf '%.2f', $_ } $calm, $read, $lock];
}

table(@stalls);

bar('longest malloc while heap is read', $worst, 5, 'ms');
print "\n";

exit finish();
