#!/usr/bin/perl

# The agent's life: as long as what it serves and PPROF_LINGER more, unseen by
# the program, its parent and its terminal; and either's end is nothing to the
# other.

###############################################################################

use warnings;
use strict;

use Test::More;
use File::Copy qw/ copy /;
use Time::HiRes qw/ sleep /;

use lib 't/lib';
use Debug::Nginx;
use Debug::App;
use Debug::Kinds;

###############################################################################

my $build = $ENV{DEBUG_BUILD} // 'build';
my $run = Cwd::abs_path("$build/pprof-run");
my $dir = Debug::Nginx::temp_dir('agent');
my $n = 0;

sub ask { return Debug::Kinds::ask(@_) }

# Starts CMD under pprof-run; returns it, its socket and its agent's number.
sub begin {
	my ($cmd, %o) = @_;
	my $sock = $o{sock} // "$dir/" . ++$n . '.s';
	my $app = Debug::App->start(cmd => [@{ $o{before} // [] }, $run,
		'--no-tcmalloc', '-l', $o{listen} // "unix:$sock", '--', @$cmd],
		env => $o{env}, ready => $o{ready} // { unix => $sock },
		timeout => 60);

	return ($app, $sock, -S $sock ? Debug::App::agent($sock) : undef);
}

sub gone {
	my ($what, $seconds) = @_;
	return Debug::Nginx::wait_for($what =~ m!/! ? sub { !-e $what }
		: sub { !Debug::Nginx::pid_alive($what) }, $seconds // 10);
}

sub stat_of {
	my ($pid) = @_;
	my $text = Debug::Nginx::read_file("/proc/$pid/stat");
	# state ppid pgrp session tty
	return (split ' ', $text =~ s/.*\) //sr)[0 .. 4];
}

my ($app, $sock, $agent) = begin(['sleep', '60']);

# who it is

my (undef, $ppid, $pgrp, $session, $tty) = stat_of($agent);
isnt($ppid, $app->pid(), 'nobody\'s child');
is("$pgrp $session $tty", "$agent $agent 0", 'a session of its own');
like(Debug::Nginx::title($agent), qr/^pprof-agent unix:\Q$sock\E *$/, 'ps');
is(join(' ', map { readlink "/proc/$agent/fd/$_" } 0 .. 2),
	'/dev/null /dev/null /dev/null', 'stdio');
is(scalar(grep { (readlink($_) // '') =~ m!^\Q$dir\E! }
	glob "/proc/$agent/fd/*"), 0, 'nothing of its starter\'s is open');
is(scalar(() = glob '/proc/' . $app->pid() . '/task/*'), 2,
	'in the program: one thread');
unlike(join(' ', map { readlink($_) // '' } glob '/proc/' . $app->pid()
	. '/fd/*'), qr/pprof|event|socket/, 'in the program: no descriptor');

SKIP: {
	skip 'not root', 2 if $> != 0;
	my $status = Debug::Nginx::read_file("/proc/$agent/status");
	my ($caps) = $status =~ /^CapEff:\s+(\w+)$/m;
	# SYS_PTRACE, and those of files, but SYS_ADMIN, SETUID, SYS_MODULE
	is(hex($caps) & (1 << 19 | 1 << 7 | 1 << 21 | 1 << 16), 1 << 19,
		'what root could is dropped, but to look');
	like($status, qr/^NoNewPrivs:\s+1$/m, 'and never comes back');
}

# killed, it is gone, and that is all

kill 'KILL', $agent;
ok(gone($agent), 'the agent is killed');
sleep 0.3;
ok($app->alive(), 'the program goes on');
is($app->stop(), 128 + 15, 'and ends as it does');

# told to end, it takes its socket along

($app, $sock, $agent) = begin(['sleep', '60']);
kill 'TERM', $agent;
ok(gone($agent), 'the agent is told to end');
ok(!-e $sock, 'its socket is gone');
ok($app->alive(), 'the program goes on');

# signals of the group are not for it

$app->stop();
($app, $sock, $agent) = begin([$^X, '-e', '$SIG{INT} = sub { }; '
	. '$SIG{QUIT} = sub { }; $SIG{HUP} = sub { }; sleep 1 while 1']);
sleep 0.2;
kill $_, -$app->pid() for qw/ INT QUIT HUP /;
sleep 0.3;
is(ask($sock, 'symbol')->{status}, 200, 'signals of the group');
$app->stop();

# whoever waits for the end of what the program prints sees it

my $r = Debug::Nginx::run_cmd(['sh', '-c', "$run --no-tcmalloc -l "
	. "unix:$dir/pipe.s -- sh -c 'sleep 0.5; echo said' | cat"],
	env => { PPROF_LINGER => 30 }, timeout => 15);
is($r->{timeout} // '', '', 'a pipe has an end');
is($r->{out}, "said\n", 'and what was said');
ok(-S "$dir/pipe.s", 'while its agent lingers');

# the next start has the address at once

$agent = Debug::App::agent("$dir/pipe.s");
is(ask("$dir/pipe.s", 'goroutine?debug=2')->{status}, 503,
	'lingering: what needs the program');
like(ask("$dir/pipe.s", 'goroutine?debug=2')->{body}, qr/has ended/,
	'lingering: in words');
is(Debug::Nginx::http_get('/debug/charts/data', unix => "$dir/pipe.s")
	->{status}, 200, 'lingering: its last seconds');

($app, $sock) = begin(['sleep', '60'], sock => "$dir/pipe.s", ready => sub {
	-S "$dir/pipe.s" && (Debug::App::agent("$dir/pipe.s") // 0) != $agent });
is(ask($sock, 'goroutine?debug=2')->{status}, 200, 'the next start is asked');
kill 'TERM', $agent;
ok(gone($agent), 'the old agent leaves');
ok(-S $sock, 'but not with the new one\'s socket');
$app->stop();

($app, $sock, $agent) = begin(['sleep', '0.5'], env => { PPROF_LINGER => 1 });
is($app->wait(10), 0, 'PPROF_LINGER: the program ends');
ok(-S $sock, 'PPROF_LINGER: it can still be asked');
ok(gone($sock), 'PPROF_LINGER: not for ever');
ok(gone($agent), 'PPROF_LINGER: nor its agent');

# children are peers, and leave nothing however they end

($app) = begin([$^X, '-e', <<'END'], listen => "unix:$dir/f.%p.s",
use POSIX ();
my @end = (sub { exit }, sub { POSIX::_exit(3) }, sub { kill 'KILL', $$ },
	sub { kill 'SEGV', $$ }, sub { exec 'true' });
$| = 1; $SIG{CHLD} = 'IGNORE';
for my $end (@end) { next if fork; sleep 3; $end->(); }
sleep 60;
END
	ready => sub { my @s = glob "$dir/f.*.s"; @s == 6 });
my @socks = glob "$dir/f.*.s";
is(scalar(@socks), 6, 'six peers');
is(join(' ', map { ask($_, 'goroutine?debug=2')->{body} =~ /^thread (\d+) /m
	&& /\.$1\.s/ ? () : $_ } @socks), '', 'each answers for itself');
is(scalar(keys %{{ map { Debug::App::agent($_) => 1 } @socks }}), 1,
	'one agent');
ok(Debug::Nginx::wait_for(sub { my @s = glob "$dir/f.*.s"; @s == 1 }, 15),
	'their sockets go with them');
is(ask("$dir/f." . $app->pid() . '.s', 'symbol')->{status}, 200,
	'their parent\'s stays');
$app->stop();
ok(Debug::Nginx::wait_for(sub { my @s = glob "$dir/f.*.s"; !@s }),
	'until its end');

# pid 1, who has no init behind it

SKIP: {
	my @alone = ('unshare', '-pf', '--mount-proc');
	skip 'no process name space is to be had', 3 if $> != 0
		|| Debug::Nginx::run_cmd([@alone, 'true'])->{exit} != 0;

	($app, $sock) = begin([$^X, '-e', '$| = 1; sleep 2; '
		. 'print wait, " ", $! + 0, "\n"; sleep 60'], before => \@alone);
	is(ask($sock, 'cmdline')->{status}, 200, 'pid 1');
	like(ask($sock, 'goroutine?debug=2')->{body}, qr/^thread 1 /m,
		'pid 1: stacks');
	ok(Debug::Nginx::wait_for(sub { $app->out() ne '' }, 20), 'pid 1: waits');
	is($app->out(), "-1 10\n", 'pid 1: has no child');
	$app->kill('KILL');
	$app->stop();
}

# an agent that is slow: a child that gives up its rights at once, one that
# does so again and again, and a daemon whose parent has ended, are served
# when it comes

for (
	['gives up its rights', 'POSIX::setgid($( + 0); POSIX::setuid($<);'],
	['does so all the time', 'for (1 .. 50) { POSIX::setuid($<) }'],
	['wants no new privileges', 'syscall 157, 38, 1, 0, 0, 0;'],
	['is a daemon', 'fork and exit; POSIX::setsid(); fork and exit;'],
	['is one without rights', 'fork and exit; POSIX::setuid($<);'
		. 'fork and exit; POSIX::setuid($<);'],
) {
	my ($what, $code) = @$_;

	$code =~ s/syscall 157/syscall 167/ if `uname -m` =~ /aarch64/;
	my $at = "$dir/slow" . ++$n;

	mkdir $at;
	($app) = begin([$^X, '-e', 'use POSIX (); $| = 1;
		$SIG{USR1} = sub { };
		print "ready\n";
		sleep 60;
		if (fork == 0) {' . $code . ' print "$$\n"; sleep 60; exit }
		sleep 60 while 1'], listen => "unix:$at/%p.sock",
		ready => sub { my @s = glob "$at/*.sock"; scalar @s });

	# the file is there a moment before anybody listens
	Debug::Nginx::wait_for(sub {
		$agent = Debug::App::agent("$at/" . $app->pid() . '.sock');
		return defined $agent && $app->out() =~ /ready/;
	}, 20);
	kill 'STOP', $agent;
	$app->kill('USR1');
	ok(Debug::Nginx::wait_for(sub { $app->out() =~ /\d\n/ }, 20),
		"a slow agent: a child that $what");
	sleep 0.3;
	kill 'CONT', $agent;

	my ($pid) = $app->out() =~ /(\d+)/;

	ok(Debug::Nginx::wait_for(sub {
		ask("$at/$pid.sock", 'goroutine?debug=2')->{body}
			=~ /^thread $pid /m
	}, 20), "a slow agent: it is served");
	kill 'KILL', $pid;
	$app->stop();
}

# more children than there is room for: that is said, and all of them run

($app, $sock) = begin([$^X, '-e', '$| = 1; my @p;
	$SIG{TERM} = sub { kill 9, @p; exit };
	for (1 .. 300) {
		my $p = fork // die "fork: $!";
		if ($p == 0) { $SIG{TERM} = "DEFAULT"; sleep 300; exit }
		push @p, $p;
	}
	print scalar(@p), "\n"; sleep 300 while 1']);
ok(Debug::Nginx::wait_for(sub { $app->out() ne '' }, 60), '300 children');
my ($index, $left);
ok(Debug::Nginx::wait_for(sub { $index = ask($sock, '')->{body};
	$index =~ /not served/ }, 60), 'a crowd: the index says so');
# it is told of them one by one
Debug::Nginx::wait_for(sub {
	($left) = ask($sock, '')->{body}
		=~ /<p>(\d+) processes that this program forked are not served/;
	return ($left // 0) >= 300 + 1 - 256;
}, 20);
cmp_ok($left // 0, '>=', 300 + 1 - 256, 'a crowd: and how many');
cmp_ok($left // 0, '<=', 300, 'a crowd: no more than there are');
is($app->stop(), 0, 'a crowd: ends as it does');

# a directory that nothing may be made in: said once, and the program runs

SKIP: {
	skip 'not root', 2 unless $> == 0 && Debug::Nginx::have_bin('setpriv');

	# he may read what is here, and the build perhaps not
	chmod 0755, $dir;
	copy("$build/$_", $dir) && chmod 0755, "$dir/$_"
		for qw/ pprof-run libpprof.so /;
	$r = Debug::Nginx::run_cmd(['setpriv', '--reuid', 65534, '--regid', 65534,
		'--clear-groups', "$dir/pprof-run", '--no-tcmalloc', '-l', "unix:/run/acs.%p.s",
		'--', 'sh', '-c', 'sleep 0.3; (true); echo ran']);
	is($r->{out}, "ran\n", 'no socket: runs');
	like($r->{err}, qr/\Approf-run: warning: cannot listen at \S+: Permission denied; [^\n]+\n\z/,
		'no socket: said once');
}

done_testing();

###############################################################################
