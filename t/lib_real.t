#!/usr/bin/perl

# Programs from Debian's packages, as they are: under load, with every kind
# asked for while they run.  Their answers stay right, no call of theirs is
# cut short, they end as they always do, and nothing stands on stderr that is
# not theirs.

###############################################################################

use warnings;
use strict;

use IO::Socket::INET;
use IPC::Open2;
use Test::More;
use Time::HiRes qw/ sleep time /;

use lib 't/lib';
use Debug::Nginx;
use Debug::App;
use Debug::Kinds;

###############################################################################

my $build = $ENV{DEBUG_BUILD} // 'build';
my $run = "$build/pprof-run";
my $dir = Debug::Nginx::temp_dir('real');

sub ask { return Debug::Kinds::ask(@_) }

# All that is asked of every program, while LOAD runs.
sub fetch {
	my ($name, $sock, $load, $eintr, $keeps) = @_;
	my $stop = Debug::Kinds::load($load, 6);

	is(Debug::Kinds::all_kinds($sock, $keeps), '', "$name: every kind");

	my $n = $stop->();
	like($n, qr/^\d+$/, "$name: every answer was right");
	cmp_ok($n =~ /^\d+$/ ? $n : 0, '>=', 6, "$name: under load");
	is(Debug::Kinds::eintr($eintr), '', "$name: nothing was cut short")
		if defined $eintr;
}

# One connection that speaks lines.
sub talk {
	my ($port) = @_;
	my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
		PeerPort => $port, Timeout => 5) or die "connect: $!\n";
	$s->autoflush(1);
	return $s;
}

my @all = qw/ watcher redis memcached lighttpd sqlite nginx postgres /;

# or those named: prove t/lib_real.t :: redis
for my $name (@ARGV ? @ARGV : @all) {
	subtest $name => sub {
		no strict 'refs';
		&{"test_$name"}();
	};
}

done_testing();

###############################################################################

# The one who watches for EINTR sees one.

sub test_watcher {
	my $log = "$dir/watcher.eintr";
	my $app = Debug::App->start(cmd => [$^X, '-e',
		'$SIG{USR1} = sub { }; select undef, undef, undef, 60 while 1'],
		env => { Debug::Kinds::watch_eintr($log) },
		ready => sub { -s $log });

	is(Debug::Kinds::eintr($log), '', 'nothing yet');

	# perl sets its handler some time after it was loaded
	sleep 0.3;
	$app->kill('USR1');
	ok(Debug::Nginx::wait_for(sub { Debug::Kinds::eintr($log) =~ /^select$/m }),
		'select, by a signal');
	$app->kill('KILL');
	$app->wait();
}

###############################################################################

sub test_redis {
	plan(skip_all => 'no redis-server')
		unless Debug::Nginx::have_bin('redis-server');

	my $port = Debug::Nginx::free_port();
	my $sock = "$dir/redis";
	my $log = "$sock.eintr";
	my $app = Debug::App->start(cmd => [$run, '-l', "unix:$sock",
		'redis-server', '--port', $port, '--save', '', '--dir', $dir,
		'--bind', '127.0.0.1'], ready => { port => $port, unix => $sock },
		timeout => 60, env => { Debug::Kinds::watch_eintr($log) });
	my ($s, $i) = (talk($port), 0);

	fetch('redis', $sock, sub {
		$i++;
		print $s "SET k$i " . ('v' x 100) . "$i\r\nGET k$i\r\n";
		my $ok = <$s>;
		my $len = <$s>;
		my $value = <$s>;
		return $ok eq "+OK\r\n" && $value eq ('v' x 100) . "$i\r\n" ? ''
			: "$ok$len$value";
	}, $log, Debug::Kinds::keeps_allocator('redis-server'));

	is($app->stop(), 0, 'exit status');
	is($app->err(), '', 'nothing on stderr');
}

# threads

sub test_memcached {
	plan(skip_all => 'no memcached')
		unless Debug::Nginx::have_bin('memcached');

	my $port = Debug::Nginx::free_port();
	my $sock = "$dir/memcached";
	my $log = "$sock.eintr";
	my @root = $> == 0 ? ('-u', 'root') : ();
	my $app = Debug::App->start(cmd => [$run, '-l', "unix:$sock",
		'memcached', '-p', $port, '-U', 0, '-l', '127.0.0.1', @root],
		ready => { port => $port, unix => $sock },
		timeout => 60, env => { Debug::Kinds::watch_eintr($log) });
	my ($s, $i) = (talk($port), 0);

	fetch('memcached', $sock, sub {
		$i++;
		print $s "set k 0 0 " . length($i) . "\r\n$i\r\nget k\r\n";
		my @l = map { scalar <$s> } 1 .. 4;
		return $l[0] eq "STORED\r\n" && $l[2] eq "$i\r\n" ? '' : "@l";
	}, $log);

	is($app->stop(), 0, 'exit status');
	unlike($app->err(), qr/interrupted|pprof/i, 'stderr');
}

sub test_lighttpd {
	plan(skip_all => 'no lighttpd')
		unless Debug::Nginx::have_bin('lighttpd');

	my $port = Debug::Nginx::free_port();
	my $sock = "$dir/lighttpd";
	my $log = "$sock.eintr";
	Debug::Nginx::write_file("$dir/index.html", 'x' x 10_000);
	Debug::Nginx::write_file("$dir/l.conf", <<"CONF");
server.document-root = "$dir"
server.bind = "127.0.0.1"
server.port = $port
index-file.names = ("index.html")
CONF
	my $app = Debug::App->start(cmd => [$run, '-l', "unix:$sock",
		'lighttpd', '-D', '-f', "$dir/l.conf"],
		ready => { port => $port, unix => $sock },
		timeout => 60, env => { Debug::Kinds::watch_eintr($log) });

	fetch('lighttpd', $sock, sub {
		# a connection each: all of them leave a port waiting
		select undef, undef, undef, 0.002;

		my $r = Debug::Nginx::http_get('/', port => $port);
		return $r->{body} eq 'x' x 10_000 ? '' : "$r->{status} $r->{error}";
	}, $log);

	is($app->stop(), 0, 'exit status');
	unlike($app->err(), qr/interrupted|pprof/i, 'stderr');
}

# an answer that is known, worked out until all were asked

sub test_sqlite {
	plan(skip_all => 'no sqlite3') unless Debug::Nginx::have_bin('sqlite3');

	my $sock = "$dir/sqlite";
	my $log = "$sock.eintr";

	pipe my $out, my $in or die "pipe: $!\n";
	fcntl $out, 2, 0;		# F_SETFD: it is the program's stdin
	$in->autoflush(1);

	my $app = Debug::App->start(cmd => ['sh', '-c',
		'exec "$0" "$@" < /dev/fd/' . fileno($out), $run, '-l',
		"unix:$sock", 'sqlite3', ':memory:'], ready => { unix => $sock },
		timeout => 60, env => { Debug::Kinds::watch_eintr($log) });
	close $out;

	my $asked = 0;
	my $more = sub {
		print $in 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1'
			. " FROM n WHERE i < 300000) SELECT sum(i * 1.0) FROM n;\n";
		$asked++;
	};
	my $answered = sub { scalar(() = $app->out() =~ /\n/g) };

	# one in work, one to come
	fetch('sqlite', $sock, sub {
		my $n = $answered->();

		return 'ended' unless kill 0, $app->pid();
		return Debug::Nginx::wait_for(sub {
			$more->() while $asked < $n + 2;
			return $answered->() > $n;
		}, 60) ? '' : 'no answer';
	}, $log);

	close $in;
	is($app->wait(60), 0, 'exit status');
	cmp_ok($answered->(), '>=', 6, 'answers');
	is(join('', grep { $_ ne "45000150000.0\n" }
		$app->out() =~ /^.*\n/mg), '', 'all of them right');
	is($app->err(), '', 'nothing on stderr');
}

# master and two workers that gave up root, through HUP and QUIT

sub test_nginx {
	plan(skip_all => 'no nginx') unless Debug::Nginx::have_bin('nginx');

	my $port = Debug::Nginx::free_port();
	my $root = "$dir/n";
	my ($gid) = (getpwnam 'nobody')[3];
	my $user = $> != 0 ? '' : 'user nobody ' . getgrgid($gid) . ';';

	# workers make sockets here: as nobody, or as root where they were slow
	# to become it, so that nobody must be able to remove root's
	mkdir $root;
	chmod 0777, $root;
	chmod 0755, $dir;
	Debug::Nginx::write_file("$root/index.html", 'n' x 5000);
	Debug::Nginx::write_file("$root/nginx.conf", <<"CONF");
daemon off;
worker_processes 2;
$user
pid $root/pid;
error_log $root/error.log notice;
events { }
http {
    access_log off;
    client_body_temp_path $root/b;
    proxy_temp_path $root/p;
    fastcgi_temp_path $root/f;
    uwsgi_temp_path $root/u;
    scgi_temp_path $root/s;
    server {
        listen 127.0.0.1:$port;
        root $root;
    }
}
CONF
	my $app = Debug::App->start(cmd => [$run, '-l', "unix:$root/%p.sock",
		'nginx', '-p', $root, '-c', "$root/nginx.conf",
		'-e', "$root/error.log"],
		timeout => 60, ready => sub { sockets($root) >= 3 });

	my $load = sub {
		select undef, undef, undef, 0.005;
		my $r = Debug::Nginx::http_get('/', port => $port);
		return $r->{body} eq 'n' x 5000 ? '' : "$r->{status} $r->{error}";
	};

	my $master = "$root/" . $app->pid() . '.sock';
	my @workers = grep { $_ ne $master } sockets($root);
	is(scalar(@workers), 2, 'two workers');
	fetch('nginx worker', $workers[0], $load);
	is(Debug::Kinds::all_kinds($master), '', 'nginx master: every kind');

	# while profiles of both workers are under way
	my $stop = Debug::Kinds::load($load);
	my @open = map { Debug::Nginx::http_open(unix => $_) } @workers, $master;
	print $_ "GET /debug/pprof/profile?seconds=60 HTTP/1.1\r\n"
		. "Host: l\r\n\r\n" for @open;
	sleep 0.3;
	$app->kill('HUP');
	my @new;
	ok(Debug::Nginx::wait_for(sub {
		my %old = map { $_ => 1 } $master, @workers;
		@new = grep { !$old{$_} } sockets($root);
		return @new == 2;
	}, 20), 'HUP: new workers have sockets of their own');
	ok(Debug::Nginx::wait_for(sub { !grep { -e } @workers }, 20),
		'HUP: the old workers took theirs away');
	is(Debug::Kinds::all_kinds($new[0]), '', 'HUP: every kind');
	like($stop->(), qr/^\d+$/, 'HUP: every answer was right');

	@open = map { Debug::Nginx::http_open(unix => $_) } @new, $master;
	print $_ "GET /debug/pprof/profile?seconds=60 HTTP/1.1\r\n"
		. "Host: l\r\n\r\n" for @open;
	sleep 0.3;
	$app->kill('QUIT');
	is($app->wait(20), 0, 'QUIT: exit status');
	my $text = Debug::Nginx::read_file("$root/error.log");
	unlike($text, qr/exited on signal|unknown process|\[(?:alert|emerg|crit|error)\]/,
		'nothing in its log');
	ok(Debug::Nginx::wait_for(sub { my @left = glob "$root/*.sock"; !@left }, 10),
		'no socket is left');
}

# those that are listened at: the file is there a moment before
sub sockets {
	my ($root) = @_;

	return grep { Debug::Nginx::http_open(unix => $_) } glob "$root/*.sock";
}

# a process for each connection, and half a dozen others

sub test_postgres {
	my ($bin) = map { s!/initdb$!!r } reverse sort
		glob '/usr/lib/postgresql/*/bin/initdb';
	plan(skip_all => 'no PostgreSQL') unless defined $bin;

	# it refuses to be root's, and may not read the build
	my $own = "$dir/pg";
	my @as = ();
	mkdir $own;

	if ($> == 0) {
		my $user = getpwnam('postgres') ? 'postgres' : 'nobody';
		plan(skip_all => 'root, and no runuser')
			unless Debug::Nginx::have_bin('runuser');
		@as = ('runuser', '-u', $user, '--');
		chown +(getpwnam $user)[2, 3], $own;
	}

	for my $file (qw/ pprof-run libpprof.so /) {
		Debug::Nginx::write_file("$own/$file",
			Debug::Nginx::read_file("$build/$file"));
		chmod 0755, "$own/$file";
	}

	my $r = Debug::Nginx::run_cmd([@as, "$bin/initdb", '-D', "$own/data",
		'-N', '-A', 'trust', '-U', 'tester', '-E', 'UTF8', '--locale=C'],
		cwd => $own, timeout => 120);
	plan(skip_all => 'initdb: ' . substr $r->{err}, 0, 200) if $r->{exit};

	# nothing is in between: its end is the postmaster's
	my $app = eval { Debug::App->start(cmd => [@as,
		"$own/pprof-run", '-l', "unix:$own/%p.s", '--', "$bin/postgres",
		'-D', "$own/data", '-k', $own, '-h', '', '-c', 'fsync=off',
		'-c', 'logging_collector=off', '-c', 'max_parallel_workers=2'],
		cwd => $own, timeout => 60, ready => sub {
			$_[0]->err() =~ /ready to accept connections/ }) };
	plan(skip_all => "PostgreSQL does not start: $@") unless defined $app;

	my ($out, $in);
	my $psql = open2($out, $in, 'psql', '-h', $own, '-U', 'tester', '-AtqX',
		'postgres');
	$in->autoflush(1);

	my $query = sub {
		print $in "$_[0];\n";
		chomp(my $line = <$out> // 'nothing');
		return $line;
	};

	my $backend = $query->('SELECT pg_backend_pid()');
	like($backend, qr/^\d+$/, 'a connection');
	ok(Debug::Nginx::wait_for(sub {
		Debug::Nginx::http_open(unix => "$own/$backend.s") }, 20),
		'its process has a socket of its own');

	my $load = sub {
		my $sum = $query->('SELECT sum(g * 2) FROM generate_series(1, 50000) g');
		return $sum eq '2500050000' ? '' : $sum;
	};

	fetch('backend', "$own/$backend.s", $load);

	# the others, each its own
	my ($postmaster) = Debug::Nginx::read_file("$own/data/postmaster.pid")
		=~ /^(\d+)/;
	my @all = grep { Debug::Nginx::http_open(unix => $_) } glob "$own/*.s";
	ok((grep { $_ eq "$own/$postmaster.s" } @all), 'the postmaster has one');
	cmp_ok(scalar(@all), '>=', 5, 'and so have its helpers');

	# connections that come and go while all are profiled
	my $stop = Debug::Kinds::load(sub {
		my $r = Debug::Nginx::run_cmd(['psql', '-h', $own, '-U', 'tester',
			'-AtqX', '-c', 'SELECT 6 * 7', 'postgres']);
		return "$r->{exit} $r->{out}$r->{err}" eq "0 42\n" ? ''
			: "$r->{exit} $r->{out}$r->{err}";
	});

	is(Debug::Kinds::all_kinds("$own/$postmaster.s"), '',
		'postmaster: every kind');
	for my $sock (grep { !m!/(?:$postmaster|$backend)\.s$! } @all) {
		my $kind = 'goroutine?debug=2';
		is(ask($sock, $kind)->{status}, 200, "helper: $kind");
	}
	like($stop->(), qr/^\d+$/, 'connections: every answer was right');

	print $in "\\q\n";
	close $in;
	is(waitpid($psql, 0) == $psql ? $? : -1, 0, 'psql: exit status');

	# "smart": those that are about to end may; runuser waits for its child,
	# which is told by its own number
	kill 'TERM', $postmaster;
	is($app->wait(60), 0, 'exit status');
	my $err = $app->err();
	unlike($err, qr/interrupted|pprof|PANIC|FATAL|WARNING|ERROR|terminated by/i,
		'nothing wrong in its log');
	ok(Debug::Nginx::wait_for(sub { my @left = glob "$own/*.s"; !@left }, 10),
		'no socket is left');
}

###############################################################################
