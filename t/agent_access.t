#!/usr/bin/perl

# Who may ask an agent: at a port nobody whom another site's page sent; and
# whoever does not read his answer keeps nobody else out.

###############################################################################

use warnings;
use strict;
no warnings 'portable';   # 64 bits are taken for granted

use Test::More;

use lib 't/lib';
use Debug::Nginx;
use Debug::App;
use Debug::Kinds;

###############################################################################

my $build = $ENV{DEBUG_BUILD} // 'build';
my $run = "$build/pprof-run";
my $dir = Debug::Nginx::temp_dir('access');
my $port = Debug::Nginx::free_port();
my $sock = "$dir/s";

my $app = Debug::App->start(cmd => [$run, '--no-tcmalloc', '-l',
	"127.0.0.1:$port", 'sleep', '60'], ready => { port => $port });
my $local = Debug::App->start(cmd => [$run, '--no-tcmalloc', '-l',
	"unix:$sock", 'sleep', '60'], ready => { unix => $sock });

# Asks with HEADERS alone; a unix socket's path, or the port.
sub status {
	my ($where, @headers) = @_;

	return Debug::Nginx::http_request("GET /debug/pprof/cmdline HTTP/1.1\r\n"
		. join('', map { "$_\r\n" } @headers) . "\r\n",
		$where =~ m!/! ? (unix => $where) : (port => $where),
		timeout => 20);
}

for my $host ('localhost', "localhost:$port", '127.0.0.1', "127.0.0.1:$port",
	'[::1]:80', '10.0.0.5', 'acs', 'acs:6060')
{
	is(status($port, "Host: $host")->{status}, 200, "host $host");
}

for my $host ('evil.example', "evil.example:$port", '127.0.0.1.evil.example',
	'localhost.evil.example', '[::g]', '1.2.3.4.5', 'a.b')
{
	my $r = status($port, "Host: $host");
	is($r->{status}, 403, "host $host");
	like($r->{body}, qr/^this is asked by address, .*\n\z/, "$host: why");
	is(status($sock, "Host: $host")->{status}, 200,
		"host $host, of a unix socket, where no browser comes");
}

for (['Origin: http://evil.example', 403], ['Origin: null', 403],
	["Origin: http://127.0.0.1:$port", 200], ['Origin: http://localhost', 200],
	['Sec-Fetch-Site: cross-site', 403], ['Sec-Fetch-Site: same-site', 403],
	['Sec-Fetch-Site: same-origin', 200], ['Sec-Fetch-Site: none', 200])
{
	my ($header, $want) = @$_;
	is(status($port, 'Host: localhost', $header)->{status}, $want, $header);
}

is(status($port)->{status}, 200, 'no host');

# names: each address once, bounded

my ($from, $to) = Debug::Nginx::read_file('/proc/' . $local->pid() . '/maps')
	=~ m!^(\w+)-(\w+) r-xp \S+ \S+ \S+ +\S+libc\.so!m;

sub names {
	my ($body) = @_;
	return Debug::Nginx::http_get('/debug/pprof/symbol', unix => $sock,
		method => 'POST', body => $body, timeout => 60)->{body};
}

my @few = map { sprintf '0x%x', hex($from) + 0x20000 + 64 * $_ } 0 .. 9;
my $once = names(join '+', @few);
cmp_ok(scalar(() = $once =~ /^0x/mg), '>', 5, 'names');
is(names(join '+', (@few) x 1000), $once, 'each address once');

my @many = map { sprintf '0x%x', hex($from) + 8 * $_ } 1 .. 60000;
my $text = names(join '+', @many);
cmp_ok(scalar(() = $text =~ /^0x/mg), '<=', 50000, 'at most so many');
like($text, qr/^# 10000 more were not looked up; ask for at most 50000 at once\n\z/m,
	'and how many were not');

# 80 who do not read: each answer is more than the kernel keeps for them

my $body = join '+', @many[0 .. 19999];
my @deaf;

for (1 .. 80) {
	my $s = Debug::Nginx::http_open(unix => $sock) or last;
	print $s "POST /debug/pprof/symbol HTTP/1.1\r\nHost: l\r\nContent-Length: "
		. length($body) . "\r\n\r\n$body";
	$s->flush();

	# its answer has begun, and goes no further
	my $in = '';
	vec($in, fileno $s, 1) = 1;
	select $in, undef, undef, 10;
	push @deaf, $s;
}

my $r;
ok(Debug::Nginx::wait_for(sub {
	$r = Debug::Nginx::http_get('/debug/pprof/cmdline', unix => $sock,
		timeout => 12);
	return $r->{status} == 200;
}, 12), 'who reads is answered');
is(scalar(@deaf), 80, 'while 80 do not read');

$_->stop() for $app, $local;
done_testing();

###############################################################################
