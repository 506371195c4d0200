#!/usr/bin/perl

# sampleize: what it fetches, from libpprof itself and through nginx, what it
# writes, and what it tells nobody.

###############################################################################

use warnings;
use strict;

use Test::More;
use MIME::Base64 qw/ encode_base64 /;
use Time::HiRes qw/ sleep time /;

use lib 't/lib';
use Debug::Nginx;
use Debug::App;

###############################################################################

need_bin('curl');

my $build = $ENV{DEBUG_BUILD} // 'build';
my $dir = temp_dir('smp');
my $sock = "$dir/perl.pprof";

Debug::App->start(
	cmd => ["$build/pprof-run", '-l', "unix:$sock", $^X, '-e',
		'my @x = map { "x" x 1000 } 1 .. 20000; my $x;
		while (1) { $x .= "a" x 10; $x = "" if length $x > 1e5 }'],
	ready => { unix => $sock },
);

my $t = Debug::Nginx->new();

$t->write_conf(<<"EOC")->run();
%%TEST_GLOBALS%%
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    upstream acs { server unix:$sock; }
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { proxy_pass http://acs; }
        location /debug/ { debug; }
    }
}
EOC

my $port = port(0);
my $n = 0;

# Runs it in a directory of its own; returns that too.
sub sampleize {
	my @args = @_;
	my $out = "$dir/" . ++$n;

	my $r = run_cmd(["$build/sampleize", '-o', $out, @args], timeout => 60,
		env => { http_proxy => undef, HOME => $dir });

	return ($r, $out);
}

my ($r, $out, $log);

# libpprof itself

($r, $out) = sampleize("unix:$sock", 'heap', 'Heap of perl');
is($r->{exit}, 0, 'unix socket') or diag($r->{err});
is($r->{out}, "$out/heap.pb.gz\n", 'says what it wrote');

$log = read_file("$out/heap.log");
like($log, qr/\AHeap of perl\n\d{4}-\d\d-\d\d .*unix:\Q$sock\E heap\n/,
	'log: title, time, from where');
is((stat "$out/heap.pb.gz")[2] & 077, 0, 'for the owner alone');

SKIP: {
	skip 'no go', 2 unless have_bin('go');

	like($log, qr/^Type: inuse_space$/m, 'log: bytes in use');
	like($log, qr/flat%.*\n.*\d.*Perl_/, 'log: the top report');
}

if (-e "$out/heap.svg") {
	like(read_file("$out/heap.svg"), qr/<svg.*Perl_/s, 'a flame graph');

} else {
	like($log, qr/^no flame graph: /m, 'no flame graph: a sentence');
}

# nginx, N times

my $start = time();
($r, $out) = sampleize('-n', 2, '-i', 2, "http://127.0.0.1:$port/", 'heap');
is($r->{exit}, 0, 'through nginx') or diag($r->{err});
# the script counts whole seconds
cmp_ok(time() - $start, '>', 1, 'an interval between');
is(read_file("$out/heap-$_.pb.gz") =~ /\A\x1f\x8b/, 1, "number $_")
	for 1, 2;
like(read_file("$out/heap-2.log"),
	qr!http://127.0.0.1:$port/debug/pprof/heap!, 'log: number 2');

# seconds, and a URL of one peer

($r, $out) = sampleize('-s', 1, "127.0.0.1:$port/debug/pprof/acs/0/",
	'profile');
is($r->{exit}, 0, 'one peer') or diag($r->{err});
like(read_file("$out/profile.log"), qr/Duration: 1\.?\d*s/, 'one second')
	if have_bin('go');

# a password: not in the log, not on a screen, not in ps

# as the server sees it: what ps would show meanwhile
my $backend = backend(sub {
	my ($req, $c) = @_;
	my @args = grep { /\Acurl\0/ }
		map { read_file($_) } glob '/proc/[0-9]*/cmdline';

	write_file("$dir/asked", $req->{headers}{authorization} . "\n"
		. join "\n", @args);
	$c->reply(401, "who is there\n");
});

($r, $out) = sampleize('http://ann:s3cret%22@' . $backend->addr(), 'heap');
is($r->{exit}, 1, 'refused: status');
like($r->{err}, qr/answered 401: who is there$/, 'refused: why');
unlike($r->{err} . $r->{out}, qr/s3cret|ann/, 'password: not shown');
unlike(read_file("$out/heap.log"), qr/s3cret|ann/, 'password: not logged');
my $asked = read_file("$dir/asked");
like($asked, qr/^curl/m, 'ps: curl is seen');
unlike($asked, qr/s3cret|ann/, 'ps: the password is not');
ok(!-e "$out/heap.pb.gz", 'no file of an error');

like($asked, qr/\ABasic \Q@{[ encode_base64('ann:s3cret"', '') ]}\E$/m,
	'password: sent');

# what is no profile

sub answers {
	my ($status, $body, $re, $name) = @_;
	my $b = backend(sub { $_[1]->reply($status, $body) });

	($r, $out) = sampleize('http://' . $b->addr(), 'heap');
	is($r->{exit}, 1, "$name: status");
	like($r->{err}, $re, "$name: what it says");
	is(() = $r->{err} =~ /\n/g, 1, "$name: one line");
	is(join(' ', map { s!.*/!!r } glob "$out/*"), 'heap.log',
		"$name: nothing but the log");
}

my $profile = read_file("$dir/1/heap.pb.gz");

answers(200, '<html>hello</html>', qr/is no profile/, 'a page');
answers(200, '', qr/is empty/, 'nothing');
answers(200, substr($profile, 0, length($profile) / 2), qr/broke off/,
	'half a profile');
answers(502, "<html>Bad Gateway</html>\n", qr/answered 502$/, 'a bad gateway');
answers(503, "cpu profiling is running; retry in 12 s\n",
	qr/answered 503: cpu profiling is running; retry in 12 s$/, 'busy');

($r) = sampleize('http://127.0.0.1:1', 'heap');
is($r->{exit}, 1, 'nobody there');
like($r->{err}, qr/connect/i, 'nobody there: what it says');

# usage

for ([[], qr/^usage:/m], [['http://x'], qr/^usage:/m],
	[['-n', '0', 'http://x', 'heap'], qr/-n wants/],
	[['-x', 'http://x', 'heap'], qr/unknown option -x/],
	[['ftp://x', 'heap'], qr/not ftp:/],
	[['http://x', '../x'], qr/no kind/])
{
	($r) = sampleize(@{$_->[0]});
	is($r->{exit}, 2, "@{$_->[0]}: status");
	like($r->{err}, $_->[1], "@{$_->[0]}: what it says");
}

done_testing();

###############################################################################
