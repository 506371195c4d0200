#!/usr/bin/perl

# Programs from Debian's packages, as they are: under load, with every kind
# asked for while they run.  Their answers stay right, they end as they always
# do, and nothing stands on stderr that is not theirs.

###############################################################################

use warnings;
use strict;

use IO::Socket::INET;
use Test::More;
use Time::HiRes qw/ sleep time /;

use lib 't/lib';
use Debug::Nginx;
use Debug::App;

###############################################################################

my $build = $ENV{DEBUG_BUILD} // 'build';
my $run = "$build/pprof-run";
my $dir = Debug::Nginx::temp_dir('real');

my @kinds = ('profile?seconds=1', 'profile?seconds=1&hz=1000&format=svg',
	'heap', 'heap?debug=1', 'allocs?seconds=1', 'growth', 'goroutine',
	'goroutine?debug=2', 'mutex?seconds=1', 'block?seconds=1',
	'threadcreate?seconds=1', 'symbol', 'cmdline');

sub ask {
	my ($sock, $path) = @_;
	return Debug::Nginx::http_get("/debug/pprof/$path", unix => $sock,
		timeout => 30);
}

# Asks for everything; one test.
sub all_kinds {
	my ($sock, $name) = @_;
	my @bad;

	for my $kind (@kinds) {
		my $r = ask($sock, $kind);
		push @bad, "$kind: $r->{status} $r->{error}"
			if $r->{status} != 200 || $r->{body} eq '';
	}

	is(join("\n", @bad), '', "$name: every kind");
}

# Runs CODE over and over in a child until the returned sub is called, which
# returns how often it was right, or dies with what was wrong.
sub load {
	my ($code) = @_;
	pipe my $out, my $in or die "pipe: $!\n";
	my $pid = fork() // die "fork: $!\n";

	if ($pid == 0) {
		my $stop = 0;
		my $n = 0;
		$SIG{TERM} = sub { $stop = 1 };
		close $out;

		until ($stop) {
			my $wrong = eval { $code->() } // $@;
			if ($wrong ne '') {
				print $in "wrong after $n: $wrong";
				close $in;
				POSIX::_exit(1);
			}
			$n++;
		}

		print $in $n;
		close $in;
		POSIX::_exit(0);
	}

	close $in;

	return sub {
		kill 'TERM', $pid;
		my $said = do { local $/; <$out> } // '';
		waitpid $pid, 0;
		return $said;
	};
}

# One connection that speaks lines.
sub talk {
	my ($port) = @_;
	my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
		PeerPort => $port, Timeout => 5) or die "connect: $!\n";
	$s->autoflush(1);
	return $s;
}

# redis

SKIP: {
	skip 'no redis-server', 5 unless Debug::Nginx::have_bin('redis-server');

	my $port = Debug::Nginx::free_port();
	my $sock = "$dir/redis";
	my $app = Debug::App->start(cmd => [$run, '-l', "unix:$sock",
		'redis-server', '--port', $port, '--save', '', '--dir', $dir,
		'--bind', '127.0.0.1'], ready => { port => $port, unix => $sock });
	my ($s, $i) = (talk($port), 0);

	my $stop = load(sub {
		$i++;
		print $s "SET k$i " . ('v' x 100) . "$i\r\nGET k$i\r\n";
		my $ok = <$s>;
		my $len = <$s>;
		my $value = <$s>;
		return $ok eq "+OK\r\n" && $value eq ('v' x 100) . "$i\r\n" ? ''
			: "$ok$len$value";
	});

	all_kinds($sock, 'redis');
	my $n = $stop->();
	like($n, qr/^\d+$/, 'redis: every answer was right');
	cmp_ok($n, '>', 100, 'redis: under load') if $n =~ /^\d+$/;
	is($app->stop(), 0, 'redis: exit status');
	is($app->err(), '', 'redis: nothing on stderr');
}

# memcached: threads

SKIP: {
	skip 'no memcached', 4 unless Debug::Nginx::have_bin('memcached');

	my $port = Debug::Nginx::free_port();
	my $sock = "$dir/memcached";
	my $app = Debug::App->start(cmd => [$run, '-l', "unix:$sock",
		'memcached', '-p', $port, '-U', 0, '-l', '127.0.0.1', '-u', 'root'],
		ready => { port => $port, unix => $sock });
	my ($s, $i) = (talk($port), 0);

	my $stop = load(sub {
		$i++;
		print $s "set k 0 0 " . length($i) . "\r\n$i\r\nget k\r\n";
		my @l = map { scalar <$s> } 1 .. 4;
		return $l[0] eq "STORED\r\n" && $l[2] eq "$i\r\n" ? '' : "@l";
	});

	all_kinds($sock, 'memcached');
	my $n = $stop->();
	like($n, qr/^\d+$/, 'memcached: every answer was right');
	is($app->stop(), 0, 'memcached: exit status');
	unlike($app->err(), qr/interrupted|pprof/i, 'memcached: stderr');
}

# lighttpd

SKIP: {
	skip 'no lighttpd', 4 unless Debug::Nginx::have_bin('lighttpd');

	my $port = Debug::Nginx::free_port();
	my $sock = "$dir/lighttpd";
	Debug::Nginx::write_file("$dir/index.html", 'x' x 10_000);
	Debug::Nginx::write_file("$dir/l.conf", <<"END");
server.document-root = "$dir"
server.bind = "127.0.0.1"
server.port = $port
index-file.names = ("index.html")
END
	my $app = Debug::App->start(cmd => [$run, '-l', "unix:$sock",
		'lighttpd', '-D', '-f', "$dir/l.conf"],
		ready => { port => $port, unix => $sock });

	my $stop = load(sub {
		# a connection each: all of them leave a port waiting
		select undef, undef, undef, 0.002;

		my $r = Debug::Nginx::http_get('/', port => $port);
		return $r->{body} eq 'x' x 10_000 ? '' : "$r->{status}";
	});

	all_kinds($sock, 'lighttpd');
	like($stop->(), qr/^\d+$/, 'lighttpd: every answer was right');
	is($app->stop(), 0, 'lighttpd: exit status');
	unlike($app->err(), qr/interrupted|pprof/i, 'lighttpd: stderr');
}

# python: exceptions and dlopen() while CPU profiles come and go

SKIP: {
	my ($python) = grep { -x } '/usr/bin/python3';
	skip 'no python3', 5 unless defined $python;

	my $sock = "$dir/python";
	my $rounds = $ENV{TEST_LONG} ? 200 : 20;

	Debug::Nginx::write_file("$dir/p.py", <<'END');
import ctypes, json, signal, sys, threading, _ctypes
stop = False
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
        except ValueError:
            pass
        json.loads(json.dumps({"a": [1, 2, 3]}))
def load():
    while not stop:
        h = _ctypes.dlopen("libz.so.1", 2)
        _ctypes.dlclose(h)
t = [threading.Thread(target=f) for f in (catch, load)]
[x.start() for x in t]
while not stop:
    signal.pause()
[x.join() for x in t]
sys.exit(3)
END
	my $app = Debug::App->start(cmd => [$run, '-l', "unix:$sock", $python,
		"$dir/p.py"], ready => { unix => $sock });
	all_kinds($sock, 'python');

	my $good = 0;

	for (1 .. $rounds) {
		# as short as one may be: the client leaves
		Debug::Nginx::http_get('/debug/pprof/profile?seconds=1&hz=1000',
			unix => $sock, abort => 0.1);
		$good += ask($sock, 'goroutine')->{status} == 200;
	}

	is($good, $rounds, "python: alive over $rounds profiles");

	ok(Debug::Nginx::wait_for(sub {
		ask($sock, 'profile?seconds=1')->{status} == 200
	}, 5), 'python: and one that is whole');

	$app->kill('TERM');
	is($app->wait(20), 3, 'python: its own exit status');
	is($app->err(), '', 'python: nothing on stderr');
}

# sqlite: an answer that is known

SKIP: {
	skip 'no sqlite3', 3 unless Debug::Nginx::have_bin('sqlite3');

	my $sock = "$dir/sqlite";
	my $sql = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1'
		. ' FROM n WHERE i < 10000000) SELECT sum(i * 1.0) FROM n,'
		. ' (SELECT 1 UNION SELECT 2 UNION SELECT 3);';
	my $app = Debug::App->start(cmd => [$run, '-l', "unix:$sock",
		'sqlite3', ':memory:', $sql], ready => { unix => $sock });

	my $r = ask($sock, 'profile?seconds=1');
	is($r->{status}, 200, 'sqlite: profile');
	is($app->wait(60), 0, 'sqlite: exit status');
	is($app->out(), "150000015000000.0\n", 'sqlite: its answer');
}

# nginx: master and two workers, through HUP and QUIT

SKIP: {
	skip 'no nginx', 6 unless Debug::Nginx::have_bin('nginx');

	my $port = Debug::Nginx::free_port();
	mkdir "$dir/n";
	Debug::Nginx::write_file("$dir/n/index.html", 'n' x 5000);
	Debug::Nginx::write_file("$dir/n/nginx.conf", <<"END");
daemon off;
worker_processes 2;
user root;
pid $dir/n/pid;
error_log $dir/n/error.log notice;
events { }
http {
    access_log off;
    client_body_temp_path $dir/n/b;
    proxy_temp_path $dir/n/p;
    fastcgi_temp_path $dir/n/f;
    uwsgi_temp_path $dir/n/u;
    scgi_temp_path $dir/n/s;
    server {
        listen 127.0.0.1:$port;
        root $dir/n;
    }
}
END
	my $app = Debug::App->start(cmd => [$run, '-l', "unix:$dir/n/%p.sock",
		'nginx', '-p', "$dir/n", '-c', "$dir/n/nginx.conf",
		'-e', "$dir/n/error.log"],
		ready => sub { my @s = glob "$dir/n/*.sock"; @s >= 3 });

	my $stop = load(sub {
		select undef, undef, undef, 0.005;
		my $r = Debug::Nginx::http_get('/', port => $port);
		return $r->{body} eq 'n' x 5000 ? '' : "$r->{status} $r->{error}";
	});

	my $master = "$dir/n/" . $app->pid() . '.sock';
	my @workers = grep { $_ ne $master } glob "$dir/n/*.sock";
	sleep 0.3;
	all_kinds($workers[0], 'nginx worker');

	$app->kill('HUP');
	my @new;
	ok(Debug::Nginx::wait_for(sub {
		my %old = map { $_ => 1 } $master, @workers;
		@new = grep { !$old{$_} } glob "$dir/n/*.sock";
		return @new == 2;
	}, 10), 'nginx: new workers have sockets of their own');
	ok(Debug::Nginx::wait_for(sub {
		ask($new[0], 'profile?seconds=1')->{status} == 200
	}, 10), 'nginx: and answer');
	like($stop->(), qr/^\d+$/, 'nginx: every answer was right');

	$app->kill('QUIT');
	is($app->wait(20), 0, 'nginx: exit status');
	my $log = Debug::Nginx::read_file("$dir/n/error.log");
	unlike($log, qr/exited on signal|unknown process|\[(?:alert|emerg|crit|error)\]/,
		'nginx: nothing in its log');
}

done_testing();

###############################################################################
