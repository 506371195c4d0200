#!/usr/bin/perl

# Requests under way, and the stack of the thread that works on each, held
# against servers that tell which thread it is.

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
my $dir = Debug::Nginx::temp_dir('requests');
my %wanted = map { $_ => 1 } @ARGV;     # these shapes alone
my $n = 0;

sub ask {
	my ($sock, $path) = @_;
	return Debug::Nginx::http_get("/debug/pprof/$path", unix => $sock,
		timeout => 60);
}

# A request for ROUTE with number ID, which takes MSEC, on a connection of its
# own, which is returned.
sub send_request {
	my ($port, $route, $id, $msec) = @_;
	my $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port")
		or die "connect: $!";

	printf $s "GET /r%d?%d HTTP/1.1\r\nX-Debug-Route: /r%d;%08x\r\n"
		. "Host: a\r\n\r\n", $route, $msec, $route, $id;
	$s->flush();

	return $s;
}

# Which thread works on request ID, by the server's own account; 0: none.
sub who {
	my ($file, $id) = @_;
	return unpack 'L', substr Debug::Nginx::read_file($file),
		80 + 4 * ($id & 1023), 4;
}

sub shape {
	my ($shape, $works) = @_;
	return if %wanted && !$wanted{$shape};

	my $port = free_port();
	my $sock = "$dir/" . ++$n;
	my $used = "$dir/used$n";
	my $server = Debug::App->start(
		cmd => ["$build/pprof-run", '-l', "unix:$sock",
			"$build/t/app/routes", 'serve', $shape, $port, $used, 1000],
		ready => { unix => $sock, port => $port });

	# nobody looked before

	my $r = ask($sock, 'goroutine?debug=2&id=00000001');
	is($r->{status}, 200, "$shape: an unknown request");
	like($r->{body}, qr/^no such request was read in the last [\d.]+ s, or it/,
		"$shape: is told so");

	# a quick one for each thread that there is, then those that take long

	for my $i (1 .. 8) {
		my $s = send_request($port, 1, 900 + $i, 1);
		sysread $s, my $buf, 4096;
	}

	my @open;
	for my $i (1 .. 6) {
		push @open, send_request($port, 1 + $i % 5, 0xbe00 + $i, 6000);
		sleep 0.1;
	}

	wait_for(sub { (grep { who($used, 0xbe00 + $_) } 1 .. 6) >= $works }, 10);

	my $json = decode_json(ask($sock, 'requests?format=json')->{body});
	my %row = map { $_->{id} => $_ } @{ $json->{requests} };

	is(scalar(grep { $row{sprintf '%08x', 0xbe00 + $_} } 1 .. 6),
		$shape eq 'workers' ? 6 : $works, "$shape: all that were read are there");

	for my $i (1 .. 6) {
		my $id = sprintf '%08x', 0xbe00 + $i;
		my $tid = who($used, 0xbe00 + $i);
		my $row = $row{$id} or next;

		is($row->{route}, '/r' . (1 + $i % 5), "$shape: $id has its route");
		is($row->{thread} // 0, $tid, "$shape: $id is worked on by $tid");
		is($row->{state}, $tid ? 'works' : 'waits for a free thread',
			"$shape: $id: state");
		cmp_ok($row->{age_ms}, '>', 0, "$shape: $id: age");

		$r = ask($sock, "goroutine?debug=2&id=$id");
		is($r->{status}, 200, "$shape: $id: its stack");

		if ($tid) {
			my $handler = 'handle_' . (1 + $i % 5);
			like($r->{body}, qr/^request $id "\S+" \[read [\d.]+ ms ago\], likely by\nthread $tid /,
				"$shape: $id: of its thread");
			like($r->{body}, qr/\b$handler\b/, "$shape: $id: in its handler");
			is(() = $r->{body} =~ /^thread /mg, 1, "$shape: $id: no other");

		} else {
			like($r->{body}, qr/^request $id .*: waiting for a free thread$/m,
				"$shape: $id: nobody works on it");
		}
	}

	my ($some) = grep { $row{sprintf '%08x', 0xbe00 + $_} } 1 .. 6;
	my $route = 1 + $some % 5;

	like(ask($sock, "goroutine?debug=2&route=/r$route")->{body},
		qr!^request \w+ "/r$route"!m, "$shape: by route");
	unlike(ask($sock, "goroutine?debug=2&route=/r$route")->{body},
		qr{^request \w+ "/r(?!$route)}m, "$shape: by route, no other");

	like(ask($sock, 'requests')->{body}, qr!^0000be0\d +[\d.]+ .*/r\d$!m,
		"$shape: as text");

	is(ask($sock, "goroutine?$_")->{status}, 400, "$_: 400")
		for 'debug=2&id=xyz', 'debug=2&id=0000beef1', 'id=0000beef',
			'seconds=1&id=0000beef';

	$server->stop();
}

shape('thread', 6);
shape('pool', 4);
shape('workers', 4);
shape('epoll', 1);

done_testing();
