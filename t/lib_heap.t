#!/usr/bin/perl

# The heap profile from gperftools' tcmalloc, its own sample: live bytes,
# deltas, growth, who allocates; and what is said when there is none.  What
# libpprof samples itself, whichever the allocator: heap_*.t.

###############################################################################

use warnings;
use strict;

use Test::More;

use lib 't/lib';
use Debug::Nginx;
use Debug::App;

###############################################################################

my $build = $ENV{DEBUG_BUILD} // 'build';
my $dir = Debug::Nginx::temp_dir('lib');
my $n = 0;

sub program {
	my ($code, @options) = @_;
	my $sock = "$dir/" . ++$n . '.pprof';

	my $app = Debug::App->start(
		cmd => ["$build/pprof-run", '-l', "unix:$sock", @options, $^X,
			'-e', $code],
		ready => { unix => $sock },
	);

	return ($app, $sock);
}

sub ask {
	my ($sock, $path, %o) = @_;
	return Debug::Nginx::http_get($path, unix => $sock, timeout => 20, %o);
}

# Bytes of the first column in go tool pprof's raw listing.
sub sum {
	my ($r, $column) = @_;
	my $sum = 0;

	Debug::Nginx::write_file("$dir/p", $r->{body});
	my $raw = Debug::Nginx::go_pprof('-raw', "$dir/p")->{out};
	my ($samples) = $raw =~ /^Samples:\n(.*?)^Locations/ms;

	$sum += (split ' ', $_)[$column] =~ s/:$//r
		for grep { /^\s+-?\d/ } split /\n/, $samples // '';

	return ($sum, $raw);
}

sub save_and_list {
	my ($r) = @_;

	Debug::Nginx::write_file("$dir/l", $r->{body});
	my $out = Debug::Nginx::go_pprof('-raw', "$dir/l");
	return $out->{out} . $out->{err};
}

my ($app, $sock, $r, $raw, $sum);

# 200 MB in pieces of 100 KB, and then, when told, 50 MB more in one.  Perl
# keeps two copies of such a constant expression at most, hence the loop.

($app, $sock) = program('my @x; push @x, "a" x 100_000 for 1 .. 2000;'
	. ' my $more; $SIG{USR1} = sub { push @x, "b" x 100_000 for 1 .. 500;'
	. ' $| = 1; print STDOUT "done\n" };'
	. ' $SIG{USR2} = sub { splice @x, 0, 1000; print STDOUT "freed\n" };'
	. ' print STDOUT "ready\n"; $| = 1; print ""; sleep 1 while 1',
	'--tcmalloc');

ok(Debug::Nginx::wait_for(sub { $app->out() =~ /ready/ }, 60), 'allocated');

SKIP: {
	skip 'no go', 8 unless Debug::Nginx::have_bin('go');

	$r = ask($sock, '/debug/pprof/heap');
	is($r->{status}, 200, 'heap');
	like($r->{headers}{'content-disposition'}, qr/filename="heap"/,
		'heap: file name');

	($sum, $raw) = sum($r, 0);
	cmp_ok($sum, '>', 155e6, 'live bytes');
	cmp_ok($sum, '<', 245e6, 'and not many more');
	like($raw, qr!^inuse_space/bytes\S* inuse_objects/count!m,
		'bytes in use first');
	like($raw, qr!^PeriodType: space bytes\nPeriod: 524288$!m, 'period');
	is(leaves($raw, qr/tcmalloc/), 0, 'allocator not at the leaf');
	cmp_ok(leaves($raw, qr/perl/), '>', 0, 'but the program');

	# only what changed within the window
	my $s = Debug::Nginx::http_open(unix => $sock);
	print $s "GET /debug/pprof/heap?seconds=2 HTTP/1.0\r\n\r\n";
	select undef, undef, undef, 0.5;
	kill 'USR1', $app->pid();
	my $answer = do { local $/; <$s> };

	($sum) = sum({ body => $answer =~ s/^.*?\r\n\r\n//sr }, 0);
	cmp_ok($sum, '>', 30e6, 'delta: what was allocated meanwhile');
	cmp_ok($sum, '<', 75e6, 'delta: and only that');
	like($answer, qr/filename="heap-delta"/, 'delta: file name');
}


$r = ask($sock, '/debug/pprof/heap?debug=1');
like($r->{body}, qr!^heap profile: .* \@ heap_v2/524288$!m, 'debug=1');
like($r->{body}, qr/^# generic.heap_size = \d{8,}$/m, 'debug=1: properties');

SKIP: {
	skip 'no google-pprof', 1
		unless Debug::Nginx::have_bin('google-pprof');

	Debug::Nginx::write_file("$dir/legacy",
		ask($sock, '/pprof/heap')->{body});
	like(Debug::Nginx::run_cmd(['google-pprof', '--text', $^X,
		"$dir/legacy"], timeout => 60)->{out},
		qr/^Total: (?:19|2\d|30)\d\.\d MB/m, 'google-pprof reads it');
}

# tcmalloc's pages that nobody uses go back to the kernel

my $free = sub {
	return ask($sock, '/debug/pprof/heap?debug=1')->{body}
		=~ /^# tcmalloc.pageheap_free_bytes = (\d+)$/m ? $1 : -1;
};

$app->kill('USR2');
ok(Debug::Nginx::wait_for(sub { $app->out() =~ /freed/ }, 20), 'freed');
cmp_ok($free->(), '>', 10e6, 'tcmalloc keeps what is free');
is(ask($sock, '/debug/pprof/heap?gc=1')->{status}, 200, 'gc=1');
cmp_ok($free->(), '<', 2e6, 'gc=1: given back');

# what made it grow, at least as much as there was at once

$r = ask($sock, '/debug/pprof/growth');
is($r->{status}, 200, 'growth');

SKIP: {
	skip 'no go', 4 unless Debug::Nginx::have_bin('go');

	($sum, $raw) = sum($r, 1);
	like($raw, qr!^objects/count space/bytes\s*$!m, 'growth: columns');
	cmp_ok($sum, '>', 180e6, 'growth: bytes');
	is(leaves($raw, qr/tcmalloc/), 0, 'growth: allocator not at the leaf');
	like(save_and_list(ask($sock, '/debug/pprof/growth?debug=1')),
		qr/^space\/bytes|objects\/count space\/bytes/m,
		'growth: debug=1, go tool pprof reads it');
}

$app->stop();

# who allocates: 300,000 times 2,000 bytes, freed at once

$sock = "$dir/allocs.pprof";
$app = Debug::App->start(cmd => ["$build/pprof-run", '-l', "unix:$sock",
	'--tcmalloc', "$build/t/app/contend", 'allocs'], ready => { unix => $sock });

$r = ask($sock, '/debug/pprof/allocs');
is($r->{status}, 501, 'allocs: off');
like($r->{body}, qr/^no allocations are recorded; ask with \?seconds=10/,
	'allocs: what to do');

SKIP: {
	skip 'no go', 12 unless Debug::Nginx::have_bin('go');

	my $s = Debug::Nginx::http_open(unix => $sock);
	print $s "GET /debug/pprof/allocs?seconds=4&rate=65536 HTTP/1.0\r\n\r\n";
	select undef, undef, undef, 0.5;
	kill 'USR1', $app->pid();
	my $answer = do { local $/; <$s> };
	like($app->out(), qr/done/, 'allocs: all of them within the window');
	like($answer, qr/filename="allocs-delta"/, 'allocs: file name');

	# 9,000 samples: within 10 %
	$r = { body => $answer =~ s/^.*?\r\n\r\n//sr };
	($sum, $raw) = sum($r, 1);
	cmp_ok($sum, '>', 540e6, 'allocs: bytes, also what was freed');
	cmp_ok($sum, '<', 700e6, 'allocs: and no more');
	like($raw, qr!^alloc_objects/count alloc_space/bytes!m, 'allocs: columns');
	is(leaves($raw, qr/tcmalloc|libpprof/), 0,
		'allocs: allocator not at the leaf');
	like($raw, qr/ M=1 allocate /, 'allocs: who');
	($sum) = sum($r, 0);
	cmp_ok($sum, '>', 270_000, 'allocs: objects');

	# the same sums are in the heap from now on
	($sum, $raw) = sum(ask($sock, '/debug/pprof/heap'), 2);
	like($raw, qr!^inuse_space/bytes\S* inuse_objects/count alloc_space/bytes alloc_objects/count!m,
		'heap: further columns');
	cmp_ok($sum, '>', 540e6, 'heap: bytes allocated');

	is(ask($sock, '/debug/pprof/allocs?rate=65536')->{status}, 200,
		'allocs: for good');
	kill 'USR1', $app->pid();
	ok(Debug::Nginx::wait_for(sub { $app->out() =~ /done\ndone/ }, 20),
		'allocs: once more');
	($sum) = sum(ask($sock, '/debug/pprof/allocs'), 1);
	cmp_ok($sum, '>', 1080e6, 'allocs: cumulative');
}

is($app->err(), '', 'nothing on stderr');
$app->stop();

# a program with a little memory: the first 16 MiB count as well

($app, $sock) = program('my @x; push @x, "a" x 100_000 for 1 .. 640;'
	. ' $| = 1; print "ready\n"; sleep 1 while 1', '--tcmalloc', '-s', '16384');
ok(Debug::Nginx::wait_for(sub { $app->out() =~ /ready/ }, 10), '64 MB');

SKIP: {
	skip 'no go', 1 unless Debug::Nginx::have_bin('go');

	# what tcmalloc says is in use, within 10 %
	my ($used) = ask($sock, '/debug/pprof/heap?debug=1')->{body}
		=~ /^# generic.current_allocated_bytes = (\d+)/m;
	($sum) = sum(ask($sock, '/debug/pprof/heap'), 0);
	ok(abs($sum - $used) < $used / 10, "live bytes: $sum of $used");
}

$app->stop();

# no sampling, no tcmalloc: words instead of an empty profile

($app, $sock) = program('sleep 60', '-s', '0');
$r = ask($sock, '/debug/pprof/heap');
is($r->{status}, 501, 'sampling is off');
like($r->{body}, qr/^heap sampling is off; .*PPROF_HEAP_SAMPLE/,
	'sampling is off: what to do');
is(ask($sock, '/debug/pprof/heap?seconds=1')->{status}, 501,
	'sampling is off: delta');
$app->stop();

($app, $sock) = program('sleep 60');

is(ask($sock, '/debug/pprof/growth')->{status}, 200,
	'growth without tcmalloc: see heap_growth.t');

is($app->err(), '', 'nothing on stderr');
$app->stop();

# libtcmalloc_minimal has the functions, and never a sample

SKIP: {
	my ($minimal) = glob '/usr/lib/*/libtcmalloc_minimal.so.4';
	skip 'no libtcmalloc_minimal', 2 unless defined $minimal;

	$sock = "$dir/minimal.pprof";
	$app = Debug::App->start(cmd => [$^X, '-e', 'sleep 60'],
		env => { LD_PRELOAD => "$minimal $build/libpprof.so",
			PPROF_LISTEN => "unix:$sock",
			TCMALLOC_SAMPLE_PARAMETER => 524288 },
		ready => { unix => $sock });

	$r = ask($sock, '/debug/pprof/heap');
	is($r->{status}, 501, 'libtcmalloc_minimal');
	like($r->{body}, qr/^libtcmalloc_minimal takes no heap samples/,
		'libtcmalloc_minimal: why');
	$app->stop();
}

# switched on at run time where it is off, unless somebody said no

SKIP: {
	my ($lib) = glob '/usr/lib/*/libtcmalloc.so.4';
	my ($gcc) = glob '/usr/lib/*/libgcc_s.so.1 /lib/*/libgcc_s.so.1';
	skip 'no libtcmalloc', 18 unless defined $lib;

	for (['as it is', {}, 524288], ['PPROF_HEAP_SAMPLE',
		{ PPROF_HEAP_SAMPLE => 16384 }, 16384],
		['PPROF_HEAP_SAMPLE=0', { PPROF_HEAP_SAMPLE => 0 }, 0],
		['tcmalloc was told not to', { TCMALLOC_SAMPLE_PARAMETER => 0 }, 0])
	{
		my ($name, $env, $period) = @$_;

		$sock = "$dir/late.pprof";
		$app = Debug::App->start(cmd => [$^X, '-e', 'sleep 1 until -e '
			. "'$sock.go';" . ' my @x; push @x, "a" x 100_000 for 1 .. 640;'
			. ' $| = 1; print "ready\n"; sleep 1 while 1'],
			env => { LD_PRELOAD => "$gcc $lib $build/libpprof.so",
				PPROF_LISTEN => "unix:$sock",
				TCMALLOC_STACKTRACE_METHOD => 'libgcc',
				TCMALLOC_SAMPLE_PARAMETER => undef, %$env },
			ready => { unix => $sock });

		Debug::Nginx::write_file("$sock.go", '');
		ok(Debug::Nginx::wait_for(sub { $app->out() =~ /ready/ }, 20),
			"$name: 64 MB");
		unlink "$sock.go";
		$r = ask($sock, '/debug/pprof/heap');

		if ($period == 0) {
			is($r->{status}, 501, "$name: off");
			like($r->{body}, qr/^heap sampling is off; .*PPROF_HEAP_SAMPLE/,
				"$name: what to do");
			$app->stop();
			next;
		}

		is($r->{status}, 200, "$name: on");

		SKIP: {
			skip 'no go', 4 unless Debug::Nginx::have_bin('go');
			($sum, $raw) = sum($r, 0);
			like($raw, qr!^PeriodType: space bytes\nPeriod: $period$!m,
				"$name: period");
			like($raw, qr/sampling was switched on at \d+/,
				"$name: what is not in there");
			# 120 samples, or 4,000; a thread's first 16 MiB are seen
			# or not, as it comes: docs/profiles.md
			my $off = 64e6 * ($period > 1e5 ? 0.35 : 0.1);
			cmp_ok($sum, '>', 64e6 - 16.8e6 - $off, "$name: live bytes");
			cmp_ok($sum, '<', 64e6 + $off, "$name: and no more");
		}

		$app->stop();
	}
}

done_testing();

###############################################################################

# How many stacks of go tool pprof's raw listing have a leaf in an object whose
# name matches.
sub leaves {
	my ($raw, $re) = @_;
	my ($samples, $locations, $mappings)
		= $raw =~ /^Samples:\n(.*?)^Locations\n(.*?)^Mappings\n(.*)/ms;
	my %file = $mappings =~ /^(\d+): \S+ (\S+)/mg;
	my %map = $locations =~ /^ +(\d+): 0x\w+ M=(\d+) /mg;

	return scalar grep { ($file{$map{$_} // 0} // '') =~ $re }
		$samples =~ /^(?:\s+-?\d+)+: (\d+)/mg;
}

###############################################################################
