#!/usr/bin/perl

# What a program sees of libpprof while nobody asks, and what an answer costs
# it, and its agent.
#
#     perl -It/lib t/bench/guest.pl           DEBUG_BUILD as for tests

use strict;
use warnings;

use Cwd;
use IO::Socket::UNIX ();
use Socket ();
use Time::HiRes ();

use Debug::App;
use Debug::Bench;
use Debug::Nginx;

my $build = Cwd::abs_path($ENV{DEBUG_BUILD} // 'build');
my $dir = temp_dir('guest');
my @program = ('sleep', '1000');


sub tasks { return glob "/proc/$_[0]/task/*" }

sub descriptors { return scalar(() = glob "/proc/$_[0]/fd/*") }


# Private, dirty pages, or all that are there; KiB.

sub kib {
    my ($pid, $what) = @_;
    my $text = read_file("/proc/$pid/smaps_rollup");

    return $text =~ /^\Q$what\E:\s+(\d+)/m ? $1 : die "no $what of $pid\n";
}


sub switches {
    my ($pid) = @_;
    my $n = 0;

    for (tasks($pid)) {
        my $text = read_file("$_/status");
        $n += $1 while $text =~ /ctxt_switches:\s+(\d+)/g;
    }

    return $n;
}


# Who answers at the socket: struct ucred's first number.

sub agent {
    my ($path) = @_;
    my $s = IO::Socket::UNIX->new(Peer => $path) or die "$path: $!\n";

    return unpack 'i', getsockopt($s, Socket::SOL_SOCKET(),
                                  Socket::SO_PEERCRED());
}


my $sock = "$dir/s";
my $bare = Debug::App->start(cmd => [@program]);
my $app = Debug::App->start(cmd => ["$build/pprof-run", '--no-tcmalloc',
                                    '-l', "unix:$sock", '--', @program],
                            ready => { unix => $sock });
my $agent = agent($sock);
my $wait = short() ? 1 : 10;

# both have begun
select undef, undef, undef, 1;

my ($before, $cpu) = (switches($app->pid()), cpu_clock($agent));

select undef, undef, undef, $wait;

my ($n, $used) = (switches($app->pid()) - $before, cpu_clock($agent) - $cpu);
my $dirty = kib($app->pid(), 'Private_Dirty');

table(['while nobody asks', 'bare', 'under pprof-run', 'its agent'],
      ['threads', map { scalar(() = tasks($_)) } $bare->pid(), $app->pid(),
                                                 $agent],
      ['descriptors', map { descriptors($_) } $bare->pid(), $app->pid(),
                                              $agent],
      ['KiB of its own, written', kib($bare->pid(), 'Private_Dirty'), $dirty,
                                  kib($agent, 'Private_Dirty')],
      ['KiB in memory', map { kib($_, 'Rss') } $bare->pid(), $app->pid(),
                                               $agent],
      ["context switches in $wait s", 0, $n, '-'],
      ['ms of CPU a second', '0', '0', sprintf('%.3f', $used / $wait * 1e3)]);

bar('what is written while nobody asks, more',
    $dirty - kib($bare->pid(), 'Private_Dirty'), 256, 'KiB');
bar('descriptors, more', descriptors($app->pid()) - descriptors($bare->pid()),
    0, '');
bar('context switches while nobody asks', $n, 0, '');
bar('the agent, in memory', kib($agent, 'Rss'), 4096, 'KiB');
print "\n";

# an answer

my @rows = (['an answer, ms of CPU', 'in the program', 'in the agent']);
my $worst = 0;

for my $kind ('cmdline', 'goroutine', 'goroutine?debug=2',
              'profile?seconds=1', 'mutex?seconds=1', 'block?seconds=1',
              'threadcreate?seconds=1')
{
    my (@in, @out);

    for my $round (1 .. (short() ? 2 : 7)) {
        my @from = map { cpu_clock($_) } $app->pid(), $agent;
        my $r = http_get("/debug/pprof/$kind", unix => $sock, timeout => 30);

        die "$kind: $r->{status}\n" if $r->{status} != 200;
        push @in, cpu_clock($app->pid()) - $from[0];
        push @out, cpu_clock($agent) - $from[1];
    }

    my ($in, $out) = map { 1e3 * median(@$_) } \@in, \@out;

    # a profile is mostly the samples themselves
    $worst = $in if $in > $worst && $kind !~ /^profile/;
    push @rows, [$kind, sprintf('%.3f', $in), sprintf('%.2f', $out)];
}

table(@rows);
bar('an answer, in the program', $worst, 1, 'ms of CPU');

$_->stop() for $app, $bare;

exit finish();
