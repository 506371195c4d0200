#!/usr/bin/perl

# pprof-run and the preload: an unmodified lighttpd, sockets and their files,
# what is refused in words.

###############################################################################

use warnings;
use strict;

use Test::More;

use lib 't/lib';
use Debug::Nginx;
use Debug::App;

###############################################################################

my $build = $ENV{DEBUG_BUILD} // 'build';
my $run = "$build/pprof-run";
my $dir = Debug::Nginx::temp_dir('lib');

sub ask {
	my ($sock, $path, %o) = @_;
	return Debug::Nginx::http_get($path, unix => $sock, timeout => 20, %o);
}

my ($app, $r);

# lighttpd, as Debian made it, under load

SKIP: {
	skip 'no lighttpd', 6 unless Debug::Nginx::have_bin('lighttpd');

	my $port = Debug::Nginx::free_port();

	Debug::Nginx::write_file("$dir/index.html", 'x' x 1000);
	Debug::Nginx::write_file("$dir/lighttpd.conf", <<"END");
server.document-root = "$dir"
server.bind = "127.0.0.1"
server.port = $port
index-file.names = ("index.html")
END

	$app = Debug::App->start(
		cmd => [$run, '-v', '-l', "unix:$dir/%p.l", '--', 'lighttpd', '-D',
			'-f', "$dir/lighttpd.conf"],
		ready => sub { -S "$dir/" . $_[0]->pid() . '.l'
			&& Debug::Nginx::http_get('/', port => $port)->{status} });

	my $sock = "$dir/" . $app->pid() . '.l';
	my $load = fork() // die "fork: $!\n";

	if ($load == 0) {
		Debug::Nginx::http_get('/', port => $port) while 1;
	}

	$r = ask($sock, '/debug/pprof/profile?seconds=3');
	kill 'KILL', $load;
	waitpid $load, 0;

	is($r->{status}, 200, 'lighttpd: profile');
	is(Debug::Nginx::http_get('/', port => $port)->{body}, 'x' x 1000,
		'lighttpd: still serves');
	is(ask($sock, '/debug/pprof/heap')->{status}, 200, 'lighttpd: heap');
	is(ask($sock, '/debug/pprof/cmdline')->{body}, 'lighttpd',
		'lighttpd: cmdline');

	SKIP: {
		skip 'no go', 1 unless Debug::Nginx::have_bin('go');
		Debug::Nginx::write_file("$dir/cpu.pb.gz", $r->{body});
		like(Debug::Nginx::go_pprof('-top', "$dir/cpu.pb.gz")->{out},
			qr/^File: lighttpd\nBuild ID: \w+\n(?:the kernel.*\n)?Type: cpu\nTime: .*\nDuration: 3/m,
			'lighttpd: what is profiled');
	}

	like($app->err(), qr/^pprof: process \d+ listens at unix:\S+$/m,
		'-v: one line');
	is(scalar(() = $app->err() =~ /pprof:/g), 1, '-v: only one');

	$app->stop();
	ok(Debug::Nginx::wait_for(sub { !-e $sock }),
		'lighttpd: its socket is gone when it ended');
}

# the socket's file

my $sock = "$dir/s";
$app = Debug::App->start(cmd => [$run, '-l', "unix:$sock", 'sleep', '60'],
	ready => { unix => $sock });
is(sprintf('%o', (stat $sock)[2] & 07777), '600', 'socket: 0600');

# a second program leaves a live socket alone, and says so when asked

my $second = Debug::App->start(
	cmd => [$run, '-v', '-l', "unix:$sock", 'sleep', '60'],
	ready => sub { $_[0]->err() =~ /pprof/ });
like($second->err(), qr/cannot listen at unix:\S+: Address already in use/,
	'live socket: not taken');
is(ask($sock, '/debug/pprof/symbol')->{status}, 200,
	'live socket: still answers');
$second->stop();
ok(-S $sock, 'live socket: still there');

# a program that was killed leaves none; one that nobody listens at is replaced

$app->kill('KILL');
$app->wait(5);
ok(Debug::Nginx::wait_for(sub { !-e $sock }), 'killed: no socket is left');

$app = Debug::App->start(cmd => [$run, '-l', "unix:$sock", 'sleep', '60'],
	ready => { unix => $sock });
kill 'KILL', Debug::App::agent($sock);
$app->stop();
ok(-S $sock, 'stale socket');
$app = Debug::App->start(cmd => [$run, '-l', "unix:$sock", 'sleep', '60'],
	ready => { unix => $sock });
is(ask($sock, '/debug/pprof/symbol')->{status}, 200, 'stale socket: replaced');
$app->stop();

# with %p, what others left that were killed

mkdir "$dir/p";
my %left;

for my $name (qw/ old young live /) {
	my $app = $left{$name} = Debug::App->start(
		cmd => [$run, '-l', "unix:$dir/p/a%%.%p.s", 'sleep', '60'],
		ready => sub { -S "$dir/p/a%." . $_[0]->pid() . '.s' });
	$left{$name} = "$dir/p/a%." . $app->pid() . '.s';
	next if $name eq 'live';
	kill 'KILL', Debug::App::agent($left{$name});
	$app->stop();
}

my ($gone) = $left{old} =~ /(\d+)\.s$/;
utime 1, 1, values %left;
# and still young when a busy machine comes to it
utime time() + 600, time() + 600, $left{young};
Debug::Nginx::write_file("$dir/p/a%.$gone.t", '');
system 'cp', '-a', $left{old}, $left{other} = "$dir/p/a%.x$gone.s";

$app = Debug::App->start(
	cmd => [$run, '-l', "unix:$dir/p/a%%.%p.s", 'sleep', '60'],
	ready => sub { -S "$dir/p/a%." . $_[0]->pid() . '.s' });

ok(Debug::Nginx::wait_for(sub { !-e $left{old} }), '%p: of a dead process');
ok(-e $left{young}, '%p: but not a young one');
ok(-e $left{live}, '%p: nor of one that lives');
ok(-e $left{other}, '%p: nor another name');
ok(-e "$dir/p/a%.$gone.t", '%p: nor a file');
is(ask($left{live}, '/debug/pprof/symbol')->{status}, 200,
	'%p: which still answers');
$app->stop();

# a file that is no socket is nobody's to remove

Debug::Nginx::write_file("$dir/file", 'precious');
$app = Debug::App->start(
	cmd => [$run, '-v', '-l', "unix:$dir/file", 'sleep', '60'],
	ready => sub { $_[0]->err() =~ /pprof/ });
is(Debug::Nginx::read_file("$dir/file"), 'precious', 'file: left alone');
$app->stop();

# daemon(): the first process is gone, its child answers

my $code = 'use POSIX; exit if fork; POSIX::setsid(); exit if fork;'
	. " open my \$f, '>', '$dir/pid'; print \$f \$\$; close \$f; sleep 60";

is(Debug::Nginx::run_cmd([$run, '-l', "unix:$dir/d", $^X, '-e', $code])->{exit},
	0, 'daemon');
ok(Debug::Nginx::wait_for(sub {
	ask("$dir/d", '/debug/pprof/symbol')->{status} == 200
}, 5), 'daemon: its child answers');
# its parent may have answered, before there was a child
Debug::Nginx::wait_for(sub { -s "$dir/pid" }, 5);
kill 'KILL', Debug::Nginx::read_file("$dir/pid");

# what the command line shows

for (['full', "$^X\0-e\0sleep 60"], ['argv0', $^X], ['nonsense', undef],
	['off', undef])
{
	my ($policy, $want) = @$_;

	$sock = "$dir/c$policy";
	$app = Debug::App->start(
		cmd => [$run, '-l', "unix:$sock", $^X, '-e', 'sleep 60'],
		env => { PPROF_CMDLINE => $policy }, ready => { unix => $sock });

	$r = ask($sock, '/debug/pprof/cmdline');

	if (defined $want) {
		is($r->{body}, $want, "cmdline: $policy");
	} else {
		is($r->{status}, 403, "cmdline: $policy");
	}

	$app->stop();
}

# programs' own ends are not changed

is(Debug::Nginx::run_cmd([$run, '-l', "unix:$dir/e", 'sh', '-c', 'exit 7'])
	->{exit}, 7, 'exit status');
is(Debug::Nginx::run_cmd([$run, '-l', "unix:$dir/e", 'true'])->{err}, '',
	'nothing on stderr');
is(Debug::Nginx::run_cmd([$run, '-l', "unix:$dir/e", 'echo', 'a b', '*'])
	->{out}, "a b *\n", 'arguments as they are');
is(Debug::Nginx::run_cmd(['true'], env => { LD_PRELOAD =>
	"$build/libpprof.so" })->{exit}, 0, 'preloaded, but not asked for');

# what cannot be

for ([['nosuchprogram'], 127, qr/nosuchprogram: no such program/],
	[[$dir], 126, qr/is a directory/],
	[["$dir/file"], 126, qr/not executable/],
	[['-l', 'here', 'true'], 2, qr/-l wants unix:/],
	[['-l', ':6060', 'true'], 2, qr/-l wants unix:/],
	[['-s', 'x', 'true'], 2, qr/-s wants a number of bytes/],
	[['-l'], 2, qr/-l needs a value/],
	[['-x', 'true'], 2, qr/unknown option -x/],
	[[], 2, qr/^usage: pprof-run/])
{
	my ($args, $exit, $re) = @$_;

	$r = Debug::Nginx::run_cmd([$run, @$args]);
	is($r->{exit}, $exit, "pprof-run @$args: status");
	like($r->{err}, $re, "pprof-run @$args: what it says");
}

is(Debug::Nginx::run_cmd([$run, '-h'])->{exit}, 0, '-h');

# what we take for ourselves is in no profile of the program's memory: it once
# stood there as growth

SKIP: {
	skip 'no go', 4 unless Debug::Nginx::have_bin('go');

	$app = Debug::App->start(
		cmd => [$run, '--tcmalloc', '-l', "unix:$dir/own", '--', $^X, '-e',
			'my @x; push @x, "a" x 100_000 for 1 .. 300; sleep 300'],
		ready => { unix => "$dir/own" });

	my $asked = sub { ask("$dir/own", "/debug/pprof/$_[0]", timeout => 60) };

	$asked->($_) for qw{ profile?seconds=1 mutex?seconds=1 allocs?seconds=1
		block?seconds=1 goroutine };

	for my $kind (qw/ growth heap /) {
		ok(Debug::Nginx::wait_for(sub {
			$r = $asked->($kind);
			Debug::Nginx::write_file("$dir/own.pb", $r->{body});
			$r->{status} == 200 && Debug::Nginx::go_pprof('-raw',
				"$dir/own.pb")->{out} =~ /^ +[1-9]\d* +\d+/m;
		}, 60), "$kind: there is some");
		unlike(Debug::Nginx::go_pprof('-raw', "$dir/own.pb")->{out},
			qr/^ +\d+: 0x.*pprof/m, "$kind: none of it is ours");
	}

	$app->stop();
}

# nothing can be loaded into a static program; it runs all the same

SKIP: {
	Debug::Nginx::write_file("$dir/s.c",
		"int main(void) { return 9; }\n");
	skip 'no static libc', 2 if system("cc -static -o $dir/static $dir/s.c "
		. "2> /dev/null");

	$r = Debug::Nginx::run_cmd([$run, "$dir/static"]);
	is($r->{exit}, 9, 'static: runs');
	like($r->{err}, qr/warning: .* is linked statically/, 'static: says so');
}

done_testing();

###############################################################################
