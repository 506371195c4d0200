#!/usr/bin/perl

# What cannot be had of a program is said in a sentence, within a second or two
# on a quiet machine, and the rest of the answer is there: programs that handle
# every signal there is, Go's among them, and programs that let nobody look.

###############################################################################

use warnings;
use strict;

use Cwd ();
use File::Copy qw/ copy /;
use Test::More;
use Time::HiRes qw/ time /;

use lib 't/lib';
use Debug::Nginx;
use Debug::App;

###############################################################################

my $build = $ENV{DEBUG_BUILD} // 'build';
my $dir = Debug::Nginx::temp_dir('refused');
my $n = 0;

# he may read what is here, and the build perhaps not
chmod 0755, $dir;
copy("$build/$_", $dir) && chmod 0755, "$dir/$_"
	for qw/ pprof-run libpprof.so /;
mkdir "$dir/open";
chmod 0777, "$dir/open";

sub program {
	my ($before, @cmd) = @_;
	my $sock = "$dir/open/" . ++$n;

	my $app = Debug::App->start(
		cmd => [@$before, "$dir/pprof-run", '--no-tcmalloc', '-l',
			"unix:$sock", '--', @cmd],
		ready => sub { -S $sock }, timeout => 60);

	return ($app, $sock);
}

sub ask {
	my ($sock, $path) = @_;
	return Debug::Nginx::http_get("/debug/pprof/$path", unix => $sock,
		timeout => 60);
}

# NAME has taken every signal: no profile, and the stack of who waits.
sub takes_signals {
	my ($name, $app, $sock, $waits) = @_;

	# how long an answer takes that needs no signal
	my $start = time();
	is(ask($sock, 'threadcreate?seconds=1')->{status}, 200, "$name: answers");
	my $usual = time() - $start;

	$start = time();
	my $r = ask($sock, 'profile?seconds=30');
	is($r->{status}, 501, "$name: no profile");
	like($r->{body}, qr/^the program handles every signal .*\n\z/,
		"$name: and why");

	$r = ask($sock, 'goroutine?debug=2');
	like($r->{body}, qr/^thread \d+ .*\[sleeping in.*\n#\t0x/m,
		"$name: who waits has a stack") if $waits;

	# who runs was met at another moment
	Debug::Nginx::wait_for(sub {
		$r = ask($sock, 'goroutine?debug=2');
		$r->{body} =~ /\[running, /
			&& $r->{body} =~ /running, and the program handles/;
	}, 20);
	like($r->{body}, qr/^#\t\[running, and the program handles every signal\]/m,
		"$name: who runs has none, and why");
	cmp_ok(time() - $start, '<', 2 + 10 * $usual, "$name: at once");

	ok($app->alive(), "$name: lives");
	$app->kill('KILL');
	$app->wait();
}

{
	my ($app, $sock) = program([], $^X, '-e',
		'$SIG{$_} = sub { } for grep { !/^(?:KILL|STOP)$/ } keys %SIG;'
		. ' 1 while 1');
	takes_signals('every signal', $app, $sock, 0);
}

SKIP: {
	skip 'no go', 14 unless Debug::Nginx::have_bin('go');

	mkdir "$dir/go";
	Debug::Nginx::write_file("$dir/go/go.mod", "module x\n\ngo 1.16\n");
	Debug::Nginx::write_file("$dir/go/main.go", <<'GO');
package main

// int add(int a, int b) { return a + b; }
import "C"

import "time"

func main() {
	n := C.add(1, 2)

	go func() {
		for {
			n = n*3 + 1
		}
	}()

	for {
		time.Sleep(50 * time.Millisecond)
	}
}
GO

	for (['Go with cgo'], ['Go without a build id', '-ldflags=-buildid='])
	{
		my ($name, @flags) = @$_;
		local $ENV{CGO_ENABLED} = 1;
		local $ENV{GOCACHE} = "$dir/cache";
		local $ENV{GOFLAGS} = '-mod=mod';
		my $r = Debug::Nginx::run_cmd(['go', 'build', @flags, '-o', "$dir/x",
			'.'], cwd => "$dir/go", timeout => 300);

		if ($r->{exit} != 0) {
			diag($r->{err});
			skip "$name cannot be built", 7;
		}

		my ($app, $sock) = program([], "$dir/x");
		takes_signals($name, $app, $sock, 1);
	}
}

# a user's program that is not dumpable: as under Yama, or hidepid=

SKIP: {
	skip 'not root, or another machine', 5
		unless $> == 0 && Debug::Nginx::have_bin('setpriv')
			&& `uname -m` =~ /x86_64/;

	my ($app, $sock) = program(['setpriv', '--reuid', 65534, '--regid', 65534,
		'--clear-groups'], $^X, '-e',
		'select undef, undef, undef, 0.5; syscall(157, 4, 0, 0, 0, 0);'
		. ' print "closed\n"; $| = 1; print ""; sleep 300');

	ok(Debug::Nginx::wait_for(sub { $app->out() =~ /closed/ }, 60), 'closed');

	my $r = ask($sock, 'goroutine?debug=2');
	is($r->{status}, 500, 'closed: no stacks');
	like($r->{body}, qr/lets nobody look at it \(/, 'closed: and why');
	is(ask($sock, 'nothing')->{status}, 404, 'closed: answers');
	ok($app->alive(), 'closed: lives');
	$app->kill('KILL');
	$app->wait();
}

done_testing();

###############################################################################
