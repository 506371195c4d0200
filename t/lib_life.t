#!/usr/bin/perl

# Life in a stranger's program: fork, exec, daemon, setuid, chroot, threads that
# hear no signal, exits at any moment, descriptors and memory that run out.
# The program notices nothing, and whoever asks gets a profile or a sentence.

###############################################################################

use warnings;
use strict;
no warnings 'portable';   # 64 bits are taken for granted

use Test::More;
use Time::HiRes qw/ sleep time /;

use lib 't/lib';
use Debug::Nginx;
use Debug::App;
use Debug::Kinds;

###############################################################################

my $build = $ENV{DEBUG_BUILD} // 'build';
my $run = "$build/pprof-run";
my $life = "$build/t/app/life";
my $dir = Debug::Nginx::temp_dir('life');
my $long = $ENV{TEST_LONG} ? 10 : 1;
my $n = 0;

sub ask { return Debug::Kinds::ask(@_) }

# Starts life with ARGS; returns it and where it listens.
sub live {
	my ($args, %o) = @_;
	my $sock = $o{sock} // "$dir/" . ++$n . '.s';

	my $app = Debug::App->start(cmd => [@{ $o{before} // [] }, $run,
		@{ $o{options} // [] }, '-l', $o{listen} // "unix:$sock", $life,
		@$args], env => $o{env},
		ready => $o{ready} // { unix => $sock }, timeout => 60);

	return ($app, $sock);
}

# Everything recorded and sampled at once, over and over, as long as there is
# somebody to ask.
sub pester {
	my ($sock) = @_;

	return map {
		my $kind = $_;
		Debug::Kinds::load(sub {
			select undef, undef, undef, 0.01;
			my $r = ask($sock, $kind);
			return $r->{status} == 0 || $r->{status} == 200
				|| $r->{status} == 503 && $r->{body} =~ /^\w.*\n\z/
				? '' : "$kind: $r->{status} $r->{body}";
		});
	} 'profile?seconds=1&hz=1000', 'allocs?seconds=1&rate=4096',
		'mutex?seconds=1', 'block?seconds=1&rate=1',
		'threadcreate?seconds=1', 'goroutine?debug=2', 'heap?gc=1';
}

# A profile, or one sentence that says why there is none.
sub is_answer {
	my ($r) = @_;

	return $r->{status} == 200 && $r->{body} ne '' && $r->{complete}
		|| $r->{status} >= 400 && $r->{body} =~ /\A[^\n<]{10,}\n\z/;
}

sub answers {
	my ($sock, $name) = @_;
	my @bad;

	for my $kind (@Debug::Kinds::WINDOWS, @Debug::Kinds::INSTANTS) {
		my $r = ask($sock, $kind);
		push @bad, "$kind: $r->{status} $r->{error} $r->{body}"
			unless is_answer($r);
	}

	is(join("\n", @bad), '', "$name: a profile or a sentence");
}

sub quiet {
	my ($app, $name, $out) = @_;

	is($app->err(), '', "$name: nothing on stderr");
	like($app->out(), $out, "$name: stdout is its own");
}

my @all = qw/ threads descriptors forks execs spawns daemon user root
	exits deaf memory full embeds readonly /;

# or those named: prove t/lib_life.t :: descriptors
for my $name (@ARGV ? @ARGV : @all) {
	subtest $name => sub {
		no strict 'refs';
		&{"test_$name"}();
	};
}

done_testing();

###############################################################################

# Our threads block every signal there is, whatever they do.

sub test_threads {
	my ($app, $sock) = live(['deaf'], options => ['--tcmalloc']);
	my %seen;

	# the one that rests stays; another comes with a profile, where there is
	# tcmalloc, which needs what libc keeps for its threads
	my @stop = pester($sock);

	Debug::Nginx::wait_for(sub {
		for my $task (glob '/proc/' . $app->pid() . '/task/*') {
			my $text = Debug::Nginx::read_file("$task/status");
			my ($name) = $text =~ /^Name:\t(pprof.*)$/m or next;
			my ($mask) = $text =~ /^SigBlk:\t([0-9a-f]+)$/m or next;
			my @open = grep { !vec(pack('Q', hex $mask), $_ - 1, 1) }
				1 .. 31, 34 .. 64;

			# KILL and STOP; and the sampler's, which nobody sends to us
			$seen{$name}{join ' ', grep { $_ != 9 && $_ != 19
				&& $_ != 61 } @open}++;
		}
		return keys %seen == 2;
	}, 20);

	# with tcmalloc these are libc's
	is(join(', ', sort keys %seen), 'pprof, pprof-sampler', 'they were seen');
	is(join(', ', map { keys %$_ } values %seen), ', ',
		'and no signal reaches them');
	like($_->(), qr/^\d+$/, 'answers') for @stop;
	is($app->stop(), 3, 'exit status');
	quiet($app, 'threads', qr/^\z/);
}

# Whatever is open, a program that is executed does not get it.

sub test_descriptors {
	my $own = Debug::App->start(cmd => [$life, 'deaf'], ready => sub {
		Debug::Nginx::read_file('/proc/' . $_[0]->pid() . '/cmdline')
			=~ /deaf/ });
	my %own = map { m!(\d+)$! => 1 } glob '/proc/' . $own->pid() . '/fd/*';
	$own->stop();

	for my $engine (qw/ sampler gperftools /) {
		my ($app, $sock) = live(['deaf'],
			env => { PPROF_CPU_ENGINE => $engine });
		my @stop = pester($sock);
		my (%leaky, %seen);
		my $end = time() + 2;

		while (time() < $end) {
			for my $fd (glob '/proc/' . $app->pid() . '/fd/*') {
				my $what = readlink $fd // next;
				next if $own{$fd =~ m!(\d+)$! && $1};
				my $text = Debug::Nginx::read_file($fd =~ s!/fd/!/fdinfo/!r);
				my ($flags) = $text =~ /^flags:\s+(\d+)$/m or next;

				$seen{$what}++;
				$leaky{$what}++ unless oct($flags) & 02000000;
			}
		}

		# gperftools' own: its file, and libunwind's pipe
		if ($engine eq 'gperftools') {
			delete $leaky{$_} for grep { /memfd|profiles?|^pipe:/ }
				keys %leaky;
			delete $seen{$_} for grep { /memfd|profiles?|^pipe:/ }
				keys %seen;
		}

		# gperftools' engine is served from inside the program
		is(join(', ', sort keys %seen), '', "$engine: none is ours")
			if $engine eq 'sampler';
		is(join(', ', sort keys %leaky), '', "$engine: close-on-exec");
		$_->() for @stop;
		is($app->stop(), 3, "$engine: exit status");
	}
}

# Children that use all there is, while it is all recorded.

sub test_forks {
	my ($app, $sock) = live(['forks', 150 * $long]);
	my @stop = pester($sock);

	is($app->wait(120 * $long), 3, 'exit status, and of all children');
	like($_->(), qr/^\d+$/, 'answers') for @stop;
	quiet($app, 'forks', qr/^\d+ children\n\z/);
	ok(Debug::Nginx::wait_for(sub { !-e $sock }), 'no socket is left');
}

# The same process, another program, in the middle of a profile; the signal
# of a sample must not end it.

sub test_execs {
	my ($app, $sock) = live(['execs', 15 * $long]);
	my @stop = pester($sock);

	is($app->wait(60 * $long), 3, 'exit status');
	like($_->(), qr/^\d+$/, 'answers') for @stop;
	quiet($app, 'execs', qr/^executed\n\z/);
}

sub test_spawns {
	my ($app, $sock) = live(['spawns', 100 * $long]);
	my @stop = pester($sock);

	is($app->wait(120 * $long), 3, 'exit status, and of all children');
	like($_->(), qr/^\d+$/, 'answers') for @stop;
	quiet($app, 'spawns', qr/^\d+ of each\n\z/);
}

# daemon(): its first process has listened already, or not yet

sub test_daemon {
	my $sock = "$dir/daemon.s";
	my $pid = "$dir/daemon.pid";
	my $r = Debug::Nginx::run_cmd([$run, '-l', "unix:$sock", $life,
		'daemon', $pid]);

	is($r->{exit}, 0, 'first process');
	ok(Debug::Nginx::wait_for(sub { -s $pid
		&& ask($sock, 'symbol')->{status} == 200 }, 20), 'it listens');

	my $daemon = Debug::Nginx::read_file($pid);
	like(ask($sock, 'goroutine?debug=2')->{body}, qr/^thread $daemon /m,
		'and is the daemon');
	is(Debug::Kinds::all_kinds($sock), '', 'every kind');
	kill 'TERM', $daemon;
	ok(Debug::Nginx::wait_for(sub { !-e $sock }, 10), 'no socket is left');
	is("$r->{out}$r->{err}", '', 'nothing printed');
}

# Root that becomes nobody: not dumpable, and /proc/self is root's.

sub test_user {
	plan(skip_all => 'not root') if $> != 0;

	my ($uid) = (getpwnam 'nobody')[2];
	my ($app, $sock) = live(['user', $uid]);

	$app->kill('USR1');
	ok(Debug::Nginx::wait_for(sub { $app->out() =~ /changed/ }, 20),
		'is nobody');
	is(Debug::Kinds::all_kinds($sock), '', 'every kind');

	my $text = ask($sock, 'goroutine?debug=2')->{body};
	like($text, qr/^thread \d+ "life" \[/m, 'stacks');
	is($app->stop(), 3, 'exit status');
	quiet($app, 'user', qr/^changed\n\z/);

	# before the agent has begun to listen, which still may
	mkdir "$dir/mine", 0700;
	($app, $sock) = live(['user', $uid, 'now'], sock => "$dir/mine/s");
	is(ask($sock, 'symbol')->{status}, 200, 'nobody at once');
	is($app->stop(), 3, 'nobody at once: exit status');
}

# No /proc, no files.

sub test_root {
	plan(skip_all => 'not root') if $> != 0;

	my $root = "$dir/root";
	mkdir $root;
	my ($app, $sock) = live(['root', $root]);

	$app->kill('USR1');
	ok(Debug::Nginx::wait_for(sub { $app->out() =~ /changed/ }, 20),
		'is in there');
	answers($sock, 'chroot');
	is(ask($sock, 'heap')->{status} == 200
		|| ask($sock, 'heap')->{body} =~ m!/proc/!, 1, 'says what lacks');
	is($app->stop(), 3, 'exit status');
	quiet($app, 'root', qr/^changed\n\z/);
}

# The end comes at any moment.

sub test_exits {
	my (%status, @err);

	for my $mode (qw/ exits leaves /) {
		for my $i (1 .. 12 * $long) {
			# nobody lingers at the path of the next
			my ($app, $sock) = live([$mode, 17 * $i],
				sock => "$dir/exits.s", env => { PPROF_LINGER => 0 });
			my @open = map { Debug::Nginx::http_open(unix => $sock) } 1 .. 4;

			for my $kind (qw/ profile?seconds=60&hz=1000 mutex?seconds=60
				allocs?seconds=60 block?seconds=60 /)
			{
				my $s = shift @open or last;
				print $s "GET /debug/pprof/$kind HTTP/1.1\r\n"
					. "Host: l\r\n\r\n";
				push @err, $s;
			}

			# some have begun by then, and some not
			$app->kill('USR1');

			$status{$app->wait(20) // 'hangs'}++;
			is($app->err() . $app->out(), '', "$mode: prints") if
				$app->err() . $app->out() ne '';
			splice @err;

			# the next is ready when its own socket is there
			Debug::Nginx::wait_for(sub { !-e "$dir/exits.s" });
		}
	}

	is(join(' ', keys %status), '7', 'exit status');
	ok(Debug::Nginx::wait_for(sub { !-e "$dir/exits.s" }),
		'no socket is left');
}

# Every thread blocks every signal but, unknown to it, one: their stacks are
# there all the same.

sub test_deaf {
	my ($app, $sock) = live(['deaf']);
	my $text = ask($sock, 'profile?seconds=2&format=folded')->{body};
	my ($blocked) = $text =~ /^\[signal blocked\] (\d+)$/m;
	my $all = 0;
	$all += $_ for $text =~ / (\d+)$/mg;

	cmp_ok($all, '>', 0, 'they burn');
	cmp_ok($blocked // 0, '<=', 0.03 * $all, "of $all nearly all have stacks");
	is(scalar(() = ask($sock, 'goroutine?debug=2')->{body}
		=~ /^#.*\[signal blocked\]/mg), 0, 'each thread has one');
	is($app->stop(), 3, 'exit status');
	quiet($app, 'deaf', qr/^\z/);
}

# RLIMIT_NOFILE is reached.

sub test_full {
	# with tcmalloc the thread in there is libc's, and has its descriptors
	my ($app, $sock) = live(['full'], options => ['--tcmalloc']);

	$app->kill('USR1');
	ok(Debug::Nginx::wait_for(sub { $app->out() =~ /^full: Too many/ }, 20),
		'no descriptor is free');

	for my $kind (qw/ heap goroutine symbol profile?seconds=1 /) {
		my $r = ask($sock, $kind, timeout => 20);
		is($r->{status}, 200, "$kind: no descriptor of the program's is wanted")
			or diag($r->{body});
	}

	ok($app->alive(), 'the program goes on');

	$app->kill('USR1');
	ok(Debug::Nginx::wait_for(sub { ask($sock, 'symbol')->{status} == 200 },
		10), 'some are free again');
	is(Debug::Kinds::all_kinds($sock), '', 'every kind');
	is($app->stop(), 3, 'exit status');
	quiet($app, 'full', qr/^full: Too many open files\n\z/);
}

# Each allocation of a request fails, one after the other; then all from there
# on.  Whoever asks gets a profile or a sentence all the same; the program, and
# the next who asks, notice nothing.

sub test_memory {
	my ($tcmalloc) = map { glob "$_/libtcmalloc.so.4" }
		qw{ /usr/lib/*-linux-gnu /usr/lib64 /usr/lib };
	plan(skip_all => 'no tcmalloc') unless defined $tcmalloc;

	my $sock = "$dir/memory.s";
	my $file = "$dir/memory.control";
	Debug::Nginx::write_file($file, pack 'Q3');

	my $app = Debug::App->start(cmd => [$life, 'deaf'],
		env => { PPROF_LISTEN => "unix:$sock", FAILING_FILE => $file,
			LD_PRELOAD => "$build/t/preload/failing.so $tcmalloc "
				. "$build/libpprof.so",
			TCMALLOC_SAMPLE_PARAMETER => 4096,
			TCMALLOC_STACKTRACE_METHOD => 'libgcc' },
		ready => { unix => $sock }, timeout => 60);

	# all at once: a file that is written in two steps would lie between
	my $set = sub {
		open my $fh, '+<:raw', $file or die "$file: $!\n";
		syswrite $fh, pack 'Q3', 0, @_;
		close $fh;
	};

	# records there are
	ask($sock, "$_?rate=1") for qw/ mutex block threadcreate /;
	ask($sock, 'allocs?rate=4096');

	for my $kind ('heap', 'heap?debug=1', 'heap?gc=1', 'growth', 'allocs',
		'goroutine', 'goroutine?debug=1', 'goroutine?debug=2',
		'goroutine?format=svg', 'mutex', 'mutex?debug=1', 'block',
		'threadcreate?debug=1', 'symbol', 'cmdline', '', 'nosuch',
		'profile?seconds=1', 'heap?seconds=1', 'goroutine?seconds=1')
	{
		$set->(0, 0);
		my $whole = ask($sock, $kind);
		my ($calls) = unpack 'Q', Debug::Nginx::read_file($file);
		ok(is_answer($whole), "$kind: $calls allocations");

		# the agent makes the answer, in its own memory
		next if $calls == 0;

		my $most = $kind =~ /seconds/ ? 4 : 60;
		$most = 1e9 if $ENV{TEST_LONG};
		my $step = $calls / $most;
		my @at = $step <= 1 ? (1 .. $calls)
			: map { 1 + int($_ * $step) } 0 .. $most - 1;
		my @bad;

		for my $count (1, 1e9) {
			for my $at (@at) {
				$set->($at, $count);
				my $r = ask($sock, $kind, timeout => 20);
				$set->(0, 0);

				push @bad, "$at, $count: $r->{status} $r->{error} "
					. substr $r->{body}, 0, 100 unless is_answer($r);

				last if !$app->alive();
			}
		}

		is(join("\n", @bad), '', "$kind: a profile or a sentence");
		ok($app->alive(), "$kind: the program lives") or last;
	}

	is($app->stop(), 3, 'exit status');
	quiet($app, 'memory', qr/^\z/);
}

# What pprof_stop() leaves, and dlclose() after it.

sub test_embeds {
	my $sock = "$dir/embeds.s";
	# no thread's stack is kept by libc, nor a heap for each
	my $app = Debug::App->start(cmd => [$life, 'embeds',
		"$build/libpprof.so", "unix:$sock"], ready => { unix => $sock },
		timeout => 60,
		env => { MALLOC_ARENA_MAX => 1,
			GLIBC_TUNABLES => 'glibc.pthread.stack_cache_size=0' });

	for my $i (1 .. 3) {
		ok(Debug::Nginx::wait_for(sub {
			scalar(() = $app->out() =~ /^started$/mg) == $i }, 20),
			"start $i");
		my @bad = grep { !is_answer(ask($sock, $_)) }
			@Debug::Kinds::WINDOWS, @Debug::Kinds::INSTANTS;
		is("@bad", '', 'a profile or a sentence');

		# in the middle of one, and with records for good
		ask($sock, 'mutex?rate=1');
		my $s = Debug::Nginx::http_open(unix => $sock);
		print $s "GET /debug/pprof/profile?seconds=60 HTTP/1.1\r\n"
			. "Host: l\r\n\r\n";
		sleep 0.3;
		$app->kill($i < 3 ? 'USR1' : 'TERM');
		ok(Debug::Nginx::wait_for(sub {
			scalar(() = $app->out() =~ /^stopped$/mg) == $i }, 20),
			"stop $i");
	}

	is($app->wait(10), 3, 'exit status');
	ok(!-e $sock, 'no file is left');

	my (@before, @after);
	my $out = $app->out();
	push @{$2 eq 'loaded' ? \@before : \@after}, $1
		while $out =~ /^(threads .*?)^(loaded|stopped)$/msg;

	is(scalar(@after), 3, 'what is left, three times');
	like($before[0], qr/^threads 2\n(?:(?!timer).*\n)*signal free\n/,
		'one thread of its own and no timer before');
	is(without_maps($after[$_]), without_maps($before[0]),
		"stop $_: no thread, descriptor, timer or signal more") for 0 .. 2;

	# the stacks of handlers stay: one might be leaving its own
	is(maps($after[$_]), maps($after[0]), "stop $_: no mapping more")
		for 1 .. 2;
	cmp_ok(scalar(split /\n/, maps($after[0])), '<=',
		1 + scalar(split /\n/, maps($before[0])), 'but for one');
	is($app->err(), '', 'nothing on stderr');
}

sub without_maps {
	my ($text) = @_;
	return $text =~ s/^map .*\n//mgr;
}

sub maps {
	my ($text) = @_;
	return join "\n", sort $text =~ /^map (.*)$/mg;
}

# Nothing can be written anywhere.

sub test_readonly {
	plan(skip_all => 'not root') if $> != 0;

	my @alone = ('unshare', '-m', 'sh', '-c',
		'mount -o remount,bind,ro / && exec "$@"', 'sh');
	plan(skip_all => 'no mount namespace of its own is to be had')
		if Debug::Nginx::run_cmd([@alone, 'true'])->{exit} != 0;
	plan(skip_all => 'the root is still writable')
		if Debug::Nginx::run_cmd([@alone, 'touch', "$dir/x"])->{exit} == 0;

	# a port needs no file
	my $port = Debug::Nginx::free_port();
	my ($app) = live(['deaf'], before => \@alone, listen => "127.0.0.1:$port",
		ready => { port => $port });
	my @bad;

	for my $kind (@Debug::Kinds::WINDOWS, @Debug::Kinds::INSTANTS) {
		my $r = Debug::Nginx::http_get("/debug/pprof/$kind", port => $port);
		push @bad, "$kind: $r->{status} $r->{body}" if $r->{status} != 200;
	}

	is(join("\n", @bad), '', 'every kind');
	is($app->stop(), 3, 'exit status');

	# a socket does: told when asked
	($app) = live(['deaf'], before => \@alone, listen => "unix:$dir/ro.s",
		ready => sub { $_[0]->err() ne '' });
	like($app->err(), qr/\Approf-run: warning: cannot listen at \S+: Read-only file system; \S+ runs without profiles, unless .*\n\z/,
		'a socket cannot be made');
	is($app->stop(), 3, 'exit status');
}

###############################################################################
