#!/usr/bin/perl

# libpprof preloaded under an unmodified program: what it answers, and what
# it says to those who ask wrongly.

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
my $sock = "$dir/perl.pprof";

my $app = Debug::App->start(
	cmd => ["$build/pprof-run", '-l', "unix:$sock", $^X, '-e',
		'my $x; while (1) { $x .= "a" x 10; $x = "" if length $x > 1e5 }',
		'secret=1'],
	ready => { unix => $sock },
);

sub ask {
	my ($path, %o) = @_;
	return Debug::Nginx::http_get($path, unix => $sock, %o);
}

sub error_is {
	my ($r, $status, $re, $name) = @_;

	is($r->{status}, $status, "$name: status");
	like($r->{body}, qr/\A[^\n<]+\n\z/, "$name: one sentence");
	like($r->{body}, $re, "$name: what it says");
	is($r->{headers}{'content-type'}, 'text/plain; charset=utf-8',
		"$name: type");
	is($r->{headers}{'x-go-pprof'}, '1', "$name: X-Go-Pprof");
	is($r->{headers}{'cache-control'}, 'no-store', "$name: no-store");
}

my ($r, $r2);

# a profile and its headers

$r = ask('/debug/pprof/profile?seconds=1');
is($r->{status}, 200, 'profile');
is(substr($r->{body}, 0, 2), "\x1f\x8b", 'profile: gzip');
is($r->{headers}{'content-type'}, 'application/octet-stream',
	'profile: type');
is($r->{headers}{'content-encoding'}, undef, 'profile: no encoding');
is($r->{headers}{'content-length'}, length $r->{body}, 'profile: length');
is($r->{headers}{'cache-control'}, 'no-store', 'profile: no-store');
is($r->{headers}{'x-content-type-options'}, 'nosniff', 'profile: nosniff');
like($r->{headers}{'content-disposition'}, qr/filename="profile"/,
	'profile: file name');

# which process it is, and which build: on whatever answer

(my $build_id) = `readelf -n $^X 2>/dev/null` =~ /Build ID: (\w+)/;

for my $path ('/debug/pprof/', '/debug/pprof', '/debug/pprof/heap',
	'/debug/pprof/cmdline', '/debug/pprof/symbol', '/debug/pprof/nosuch',
	'/debug/pprof/heap?seconds=x', '/debug/charts/data', '/pprof/heap')
{
	$r = ask($path);
	is($r->{headers}{'x-pprof-pid'}, $app->pid(), "$path: pid");
	is($r->{headers}{'x-pprof-build-id'}, $build_id, "$path: build id");
}

is(ask('/debug/pprof/heap', method => 'HEAD')->{headers}{'x-pprof-pid'},
	$app->pid(), 'HEAD: pid');
is(ask('/debug/pprof/heap', method => 'PUT')->{headers}{'x-pprof-pid'},
	$app->pid(), 'PUT: pid');
like($build_id, qr/^[0-9a-f]{32,}$/, 'perl has a build id');

# a proxy speaks HTTP/1.0, and must see when an answer breaks off

$r = ask('/debug/pprof/heap', version => '1.0');
is($r->{headers}{'content-length'}, length $r->{body}, 'length for HTTP/1.0');

# the index and its redirect

$r = ask('/debug/pprof/');
is($r->{status}, 200, 'index');
like($r->{headers}{'content-type'}, qr!text/html!, 'index: type');
like($r->{body}, qr!<a href="$_">!, "index: $_") for qw/
	profile heap allocs goroutine threadcreate block mutex growth symbol
	cmdline requests /;

$r = ask('/debug/pprof');
is($r->{status}, 301, 'no slash');
is($r->{headers}{location}, 'pprof/', 'no slash: relative');

# cmdline: nothing of the arguments unless it was asked for

$r = ask('/debug/pprof/cmdline');
is($r->{body}, $^X, 'cmdline: argv0');

# symbol

$r = ask('/debug/pprof/symbol');
is($r->{body}, "num_symbols: 1\n", 'symbol');
is(ask('/debug/pprof/symbol', method => 'HEAD')->{status}, 200,
	'symbol: HEAD');

my $names = `nm -D --defined-only /lib/x86_64-linux-gnu/libc.so.6 2>/dev/null`
	|| `nm -D --defined-only /lib/*/libc.so.6`;
my ($offset) = $names =~ /^(\w+) [TW] qsort(?:@|$)/m;
my ($base) = Debug::Nginx::read_file("/proc/" . $app->pid() . "/maps")
	=~ m!^(\w+)-\w+ \S+ 0+ \S+ \d+ +\S*libc\.so!m;
no warnings 'portable';
my $addr = sprintf '0x%016x', hex($base) + hex($offset) + 4;

# 0x and 16 digits, as google-pprof has them; 2,500 of them are 47 KB
$r = ask('/debug/pprof/symbol', method => 'POST',
	body => join('+', ($addr) x 2500));
is($r->{status}, 200, 'symbol: POST');
is(scalar(() = $r->{body} =~ /^$addr\s+qsort/mg), 1,
	'symbol: each address of 47 KB, as it was spelled');

$r = ask('/debug/pprof/symbol', method => 'POST',
	body => "zz++0x+0xfffffffffffffffff+$addr\n");
is($r->{status}, 200, 'symbol: garbage');
is(scalar(() = $r->{body} =~ /^0x/mg), 1, 'symbol: only what is an address');

# HEAD starts nothing

$r = ask('/debug/pprof/profile?seconds=5', method => 'HEAD');
is($r->{status}, 200, 'HEAD');
cmp_ok($r->{time}, '<', 1, 'HEAD: at once');
is(length $r->{body}, 0, 'HEAD: no body');

# methods

for my $method (qw/ PUT DELETE OPTIONS PATCH /) {
	$r = ask('/debug/pprof/heap', method => $method, body => '');
	is($r->{status}, 405, $method);
	is($r->{headers}{allow}, 'GET, HEAD', "$method: Allow");
}

error_is(ask('/debug/pprof/profile', method => 'POST', body => 'x'), 405,
	qr/use GET/, 'POST to profile');
is(ask('/debug/pprof/symbol', method => 'PUT', body => '')->{headers}{allow},
	'GET, HEAD, POST', 'PUT to symbol: Allow');

# what there is not

error_is(ask('/debug/pprof/nosuch'), 404, qr/^Unknown profile$/, 'unknown');
error_is(ask('/debug/pprof/heap/'), 404, qr/^Unknown profile$/, 'slash behind');
error_is(ask('/'), 404, qr!/debug/pprof/!, 'elsewhere');
error_is(ask('/debug/pprofile'), 404, qr!/debug/pprof/!, 'a longer word');
error_is(ask("/debug/pprof/$_"), 501, qr/^nothing is recorded for $_; ask with/,
	$_) for qw/ threadcreate block mutex /;
error_is(ask('/debug/pprof/mutex?rate=x'), 400, qr/^invalid value for "rate"/,
	'rate=x');
error_is(ask('/debug/pprof/heap?format=x'), 400,
	qr/^invalid value for "format" - must be proto, folded or svg$/, 'format=x');

# paths are matched as they are meant

for my $path ('//debug//pprof//cmdline', '/debug/./pprof/cmdline',
	'/debug%2fpprof%2Fcmdline', '/debug/pprof/%63mdline',
	'/x/../debug/pprof/y/../cmdline', 'http://h/debug/pprof/cmdline')
{
	is(ask($path)->{body}, $^X, $path);
}

for my $path ('/../debug/pprof/cmdline', '/debug/pprof/cmdline%00',
	'/debug/pprof/%zz', '/debug/pprof/cmdline%', '/' . 'a' x 5000)
{
	is(ask($path)->{status}, 404, substr $path, 0, 40);
}

# seconds, as Go reads it

for my $s ('abc', '', '0', '-5', '1.5', '1e1', '-9223372036854775809') {
	# it runs when it ends only because we leave; the one before ends within
	# a second since we left it
	ok(Debug::Nginx::wait_for(sub {
		$r = ask("/debug/pprof/profile?seconds=$s", abort => 0.3);
		return $r->{error} eq 'abort';
	}, 1), "profile, seconds=$s: the default");

	error_is(ask("/debug/pprof/heap?seconds=$s"), 400,
		qr/^invalid value for "seconds" - must be a positive integer$/,
		"heap, seconds=$s") if $s ne '';
}

for my $s ('9223372036854775807', '9223372036854775808', '9' x 60, '3601') {
	error_is(ask("/debug/pprof/profile?seconds=$s"), 400,
		qr/at most 3600 seconds/, "profile, seconds=$s");
	error_is(ask("/debug/pprof/heap?seconds=$s"), 400,
		qr/at most 3600 seconds/, "heap, seconds=$s");
}

Debug::Nginx::wait_for(sub {
	$r = ask('/debug/pprof/profile?seconds=1&seconds=20');
	return $r->{status} != 503;
}, 1);

is($r->{status}, 200, 'seconds twice');
cmp_ok($r->{time}, '<', 5, 'seconds twice: the first counts');

error_is(ask('/debug/pprof/heap?seconds=1&debug=1'), 400,
	qr/^seconds and debug params are incompatible$/, 'seconds and debug');
error_is(ask('/debug/pprof/growth?seconds=1'), 400,
	qr/^"seconds" parameter is not supported for this profile type$/,
	'seconds of growth');
is(ask('/debug/pprof/cmdline?seconds=7')->{body}, $^X, 'seconds of cmdline');

# more than a header should be

$r = ask('/debug/pprof/heap', headers => { 'X-Long' => 'a' x 65536 });
like($r->{status}, qr/^4/, '64 KB of header');

$r = ask('/debug/pprof/symbol', method => 'POST', body => 'a' x 9e6);
ok($r->{status} == 413 || $r->{error} ne '', '9 MB of body');

# more data than one request, while it waits

$r = Debug::Nginx::http_request(["GET /debug/pprof/profile?seconds=1 "
	. "HTTP/1.1\r\nHost: l\r\n\r\n", \0.2, "GET / HTTP/1.1\r\n" x 20],
	unix => $sock);
is($r->{status}, 200, 'pipelined garbage');

for my $raw ("\r\n\r\n", "GET\r\n\r\n", "\x00\x01\x02\x03\r\n\r\n",
	"GET /debug/pprof/heap HTTP/9.9\r\n\r\n", "G" x 70000,
	"GET /debug/pprof/heap HTTP/1.1\r\nHo",
	"POST /debug/pprof/symbol HTTP/1.1\r\nContent-Length: 99\r\n\r\n0x1",
	"POST /debug/pprof/symbol HTTP/1.1\r\nContent-Length: -1\r\n\r\n0x1",
	"POST /debug/pprof/symbol HTTP/1.1\r\n"
		. "Transfer-Encoding: chunked\r\n\r\nzz\r\n")
{
	Debug::Nginx::http_request($raw, unix => $sock, abort => 0.3);
	ok($app->alive(), 'alive after ' . substr($raw, 0, 40) =~ s/[^ -~]/./gr);
}

# gperftools' names for the same things

is(ask('/pprof/symbol')->{body}, "num_symbols: 1\n", '/pprof/symbol');
is(ask('/pprof/cmdline')->{body}, $^X, '/pprof/cmdline');

is(ask('/debug/pprof/cmdline')->{body}, $^X, 'still answers');
is($app->err(), '', 'nothing on stderr');
is($app->out(), '', 'nothing on stdout');

# a program that was linked without a build id says none

SKIP: {
	Debug::Nginx::write_file("$dir/bare.c",
		"#include <unistd.h>\nint main(void) { for (;;) pause(); }\n");
	skip('no compiler', 2) if system("\${CC:-cc} -Wl,--build-id=none "
		. "-o $dir/bare $dir/bare.c 2>/dev/null");

	my $bare = Debug::App->start(
		cmd => ["$build/pprof-run", '-l', "unix:$dir/bare.pprof",
			"$dir/bare"],
		ready => { unix => "$dir/bare.pprof" },
	);

	$r = Debug::Nginx::http_get('/debug/pprof/', unix => "$dir/bare.pprof");
	is($r->{headers}{'x-pprof-pid'}, $bare->pid(), 'no build id: pid');
	is($r->{headers}{'x-pprof-build-id'}, undef, 'no build id: none said');
}

done_testing();

###############################################################################
