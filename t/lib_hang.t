#!/usr/bin/perl

# What profilers have hung on: exceptions and libraries that come and go while
# profiles are taken, one after the other, of programs as they are.
#
# 20 profiles that end as soon as one may, since their client leaves; with
# TEST_LONG=1 200 that are whole.

###############################################################################

use warnings;
use strict;

use Test::More;
use Time::HiRes qw/ time /;

use lib 't/lib';
use Debug::Nginx;
use Debug::App;
use Debug::Kinds;

###############################################################################

my $build = $ENV{DEBUG_BUILD} // 'build';
my $run = "$build/pprof-run";
my $dir = Debug::Nginx::temp_dir('hang');

sub ask { return Debug::Kinds::ask(@_) }

# Takes the profiles; counts those after which the program still answered.
sub rounds {
	my ($name, $sock) = @_;
	my ($good, $whole, $wanted) = (0, 0, $ENV{TEST_LONG} ? 200 : 20);

	for (1 .. $wanted) {
		if ($ENV{TEST_LONG}) {
			my $r = ask($sock, 'profile?seconds=1&hz=1000');
			$whole += $r->{status} == 200 && length $r->{body} > 1000;
		} else {
			ask($sock, 'profile?seconds=1&hz=1000', abort => 0.1);
		}

		$good += ask($sock, 'goroutine')->{status} == 200;
	}

	is($good, $wanted, "$name: answers after each of $wanted profiles");
	is($whole, $wanted, "$name: all of them whole") if $ENV{TEST_LONG};

	# the last one's client has left just now
	ok(Debug::Nginx::wait_for(sub {
		ask($sock, 'profile?seconds=1')->{status} == 200
	}, 20), "$name: and one that is whole");
}

# C++ throws through 30 frames and destructors, a library that needs others is
# loaded and unloaded; nothing of that may fail, and nobody see EINTR

SKIP: {
	my ($library) = map { glob "$_/libsqlite3.so.0" }
		qw{ /usr/lib/*-linux-gnu /usr/lib64 /usr/lib };
	skip 'no libsqlite3', 7 unless defined $library;

	my $sock = "$dir/throws";
	my $app = Debug::App->start(cmd => [$run, '-l', "unix:$sock",
		"$build/t/app/throws", $library], ready => { unix => $sock });

	is(Debug::Kinds::all_kinds($sock), '', 'throws: every kind');
	rounds('throws', $sock);
	$app->kill('TERM');
	is($app->wait(20), 3, 'throws: its own exit status');
	like($app->out(), qr/^caught [1-9]\d* loaded [1-9]\d* interrupted 0$/,
		'throws: did all that, and was not interrupted');
	is($app->err(), '', 'throws: nothing on stderr');
}

# the same in python

SKIP: {
	my ($python) = grep { -x } '/usr/bin/python3';
	skip 'no python3', 5 unless defined $python;

	my $sock = "$dir/python";
	my $log = "$sock.eintr";

	Debug::Nginx::write_file("$dir/p.py", <<'END');
import ctypes, json, signal, sys, threading, time, _ctypes
stop = False
done = [0, 0]
def end(*a):
    global stop
    stop = True
signal.signal(signal.SIGTERM, end)
def raising(n):
    if n == 0:
        raise ValueError(n)
    raising(n - 1)
def catch():
    while not stop:
        try:
            raising(20)
        except ValueError as e:
            assert e.args == (0,)
        assert json.loads(json.dumps({"a": [1, 2, 3]})) == {"a": [1, 2, 3]}
        done[0] += 1
def load():
    while not stop:
        h = _ctypes.dlopen("libz.so.1", 2)
        _ctypes.dlclose(h)
        done[1] += 1
t = [threading.Thread(target=f) for f in (catch, load)]
[x.start() for x in t]
while not stop:
    time.sleep(0.05)
[x.join() for x in t]
sys.exit(3 if done[0] and done[1] else 1)
END
	my $app = Debug::App->start(cmd => [$run, '-l', "unix:$sock", $python,
		"$dir/p.py"], ready => { unix => $sock },
		env => { Debug::Kinds::watch_eintr($log) });

	is(Debug::Kinds::all_kinds($sock), '', 'python: every kind');
	rounds('python', $sock);
	is(Debug::Kinds::eintr($log), '', 'python: nothing was cut short');
	$app->kill('TERM');
	is($app->wait(20), 3, 'python: its own exit status');
	is($app->err(), '', 'python: nothing on stderr');
}

done_testing();

###############################################################################
