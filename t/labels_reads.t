#!/usr/bin/perl

# nginx's mark, in whichever way a program reads it: by every function, in
# pieces, after a look, in each protocol; and from programs as they are.

###############################################################################

use warnings;
use strict;

use IO::Socket::INET ();
use Test::More;
use Time::HiRes qw/ sleep /;

use lib 't/lib';
use Debug::Nginx;
use Debug::App;

###############################################################################

my $build = $ENV{DEBUG_BUILD} // 'build';
my $dir = Debug::Nginx::temp_dir('reads');
my $n = 0;

# The same request in each protocol, as nginx marks it.
sub http {
	my ($route, $id) = @_;
	return "GET /r1 HTTP/1.1\r\nX-Debug-Route: $route;$id\r\nHost: a\r\n\r\n";
}

sub fastcgi {
	my ($route, $id) = @_;
	my $pair = pack('CC', 11, length "$route;$id") . "DEBUG_ROUTE$route;$id";

	return pack('CCnnCx nCx5', 1, 1, 1, 8, 0, 1, 1)
		. pack('CCnnCx', 1, 4, 1, length $pair, 0) . $pair
		. "\1\4\0\1\0\0\0\0\1\5\0\1\0\4\0\0\r\n\r\n";
}

sub uwsgi {
	my ($route, $id) = @_;
	my $pair = pack('v/a* v/a*', 'DEBUG_ROUTE', "$route;$id");

	return pack('CvC', 0, length $pair, 0) . $pair . "\r\n\r\n";
}

sub scgi {
	my ($route, $id) = @_;
	my $head = join "\0", 'CONTENT_LENGTH', 4, 'DEBUG_ROUTE', "$route;$id",
		'SCGI', 1, '';

	return length($head) . ":$head,\r\n\r\n";
}

sub ask {
	my ($sock, $path) = @_;
	return Debug::Nginx::http_get("/debug/pprof/$path", unix => $sock,
		timeout => 60);
}

# Has the server at SOCK read what is sent meanwhile; how many requests of each
# route it saw.
sub seen {
	my ($sock, $send) = @_;
	my $pid = fork() // die "fork: $!";

	if ($pid == 0) {
		sleep 2;
		$send->();
		POSIX::_exit(0);
	}

	my $r = ask($sock, 'profile?seconds=6&by=route&format=json');
	waitpid($pid, 0);

	return $r->{status} == 200
		? map { $_->{route} => $_->{requests} }
			@{ decode_json($r->{body})->{routes} } : ();
}

# Sends each of REQUESTS on one connection and waits for its answer.
sub send_all {
	my ($port, @requests) = @_;
	my $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port")
		or die "connect: $!";

	for (@requests) {
		syswrite $s, $_;
		sysread $s, my $buf, 4096 or last;
	}
}

sub program {
	my ($name, $cmd, %o) = @_;
	my $sock = "$dir/" . ++$n;

	return (Debug::App->start(
		cmd => ["$build/pprof-run", '-l', "unix:$sock", @$cmd],
		env => $o{env},
		ready => { unix => $sock, port => $o{port} }), $sock);
}

###############################################################################

my @ways = (
	{ }, { READ => 'recv', WRITE => 'send' },
	{ READ => 'recvfrom', WRITE => 'sendto' },
	{ READ => 'recvmsg', WRITE => 'sendmsg' },
	{ READ => 'readv', WRITE => 'writev' },
	{ PEEK => 1 }, { CHUNK => 1 }, { CHUNK => 8 },
	{ CHUNK => 4, READ => 'recv' }, { CHUNK => 8, PEEK => 1 },
	{ CHUNK => 8, READ => 'readv' },
	map { { DROP => 4, READ => $_ } } qw/ recv recvfrom recvmsg /,
);

for my $way (@ways) {
	my $name = join(' ', map { "$_=$way->{$_}" } sort keys %$way) || 'read';
	my $port = free_port();
	my ($app, $sock) = program($name, ["$build/t/app/routes", 'serve', 'thread',
		$port, "$dir/used", 10], port => $port, env => $way);

	# uwsgi's head is never read by the byte
	my @forms = ([http => \&http], [fastcgi => \&fastcgi],
		[scgi => \&scgi],
		($way->{CHUNK} // 8) >= 4 ? [uwsgi => \&uwsgi] : ());

	my %seen = seen($sock, sub {
		for (@forms) {
			my ($form, $make) = @$_;
			my $junk = 'X' x ($way->{DROP} // 0);

			send_all($port, map {
				$junk . $make->("/$form", sprintf '%08x', $_)
			} 1 .. 10);
		}

		# none of these is a mark: not the first line, not a request's
		send_all($port, "GET /r1 HTTP/1.1\r\nHost: a\r\n"
			. "X-Debug-Route: /evil;0000beef\r\n\r\n",
			"POST /r1 HTTP/1.1\r\nX-Debug-Route: ;0000beef\r\n\r\n");
	});

	is($seen{"/$_->[0]"}, 10, "$name: $_->[0]") for @forms;
	is($seen{'/evil'}, undef, "$name: a client's own");
	$app->stop();
}

# a body is no request, however it looks, and a long first line is found

{
	my $port = free_port();
	my ($app, $sock) = program('body', ["$build/t/app/routes", 'serve',
		'thread', $port, "$dir/used", 10], port => $port,
		env => { CHUNK => 64 });

	my %seen = seen($sock, sub {
		my $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port");
		my $long = 'a' x 600;

		syswrite $s, "POST /r1?0&$long HTTP/1.1\r\n"
			. "X-Debug-Route: /post;00000001\r\n"
			. "X: GET / HTTP/1.1\nX-Debug-Route: /evil;0000beef\r\n\r\n";
		sysread $s, my $buf, 4096;
	});

	is($seen{'/post'}, 1, 'a long first line');
	is($seen{'/evil'}, undef, 'what follows begins no request');
	$app->stop();
}

# 300 routes: 256 have names

{
	my $port = free_port();
	my ($app, $sock) = program('many', ["$build/t/app/routes", 'serve',
		'thread', $port, "$dir/used", 10], port => $port);

	my %seen = seen($sock, sub {
		send_all($port, map { http("/many/$_", '00000001') } 1 .. 300);
	});

	is(scalar(grep { m!^/many/! } keys %seen), 256, '256 routes have names');
	is($seen{other}, 44, 'the others are one');
	$app->stop();
}

# programs as they are

SKIP: {
	skip 'no python3', 1 unless -x '/usr/bin/python3';

	my $port = free_port();
	my ($app, $sock) = program('python3', ['/usr/bin/python3', '-m', 'http.server',
		'--bind', '127.0.0.1', $port], port => $port);

	my %seen = seen($sock, sub {
		send_all($port, http('/python', sprintf '%08x', $_)) for 1 .. 10;
	});

	is($seen{'/python'}, 10, 'python3 -m http.server');
	$app->stop();
}

SKIP: {
	skip 'no lighttpd', 1 unless have_bin('lighttpd');

	my $port = free_port();
	Debug::Nginx::write_file("$dir/lighttpd.conf",
		"server.document-root = \"$dir\"\nserver.bind = \"127.0.0.1\"\n"
		. "server.port = $port\nserver.modules = ()\n");
	my ($app, $sock) = program('lighttpd', ['lighttpd', '-D', '-f',
		"$dir/lighttpd.conf"], port => $port);

	my %seen = seen($sock, sub {
		send_all($port, http('/lighttpd', sprintf '%08x', $_)) for 1 .. 10;
	});

	is($seen{'/lighttpd'}, 10, 'lighttpd');
	$app->stop();
}

done_testing();
