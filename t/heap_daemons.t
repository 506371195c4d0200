#!/usr/bin/perl

# Daemons from packages, as they are, under load: heap is fetched twenty times
# from each, its answers stay right, it ends as without us, and what it holds
# by the sample is what it really allocates.

###############################################################################

use warnings;
use strict;

use Digest::SHA qw/ sha1_hex /;
use IO::Socket::INET;
use Test::More;

use lib 't/lib';
use Debug::Nginx;
use Debug::App;
use Debug::Heap;
use Debug::Kinds;

###############################################################################

my $build = $ENV{DEBUG_BUILD} // 'build';
my $dir = Debug::Nginx::temp_dir('daemons');
my $fetches = 20;

chmod 0755, $dir;

# a request of HTTP; the body is what says "right"
sub http {
	my ($port, $i) = @_;
	my $r = Debug::Nginx::http_get("/?$i", port => $port, timeout => 30);

	return "$r->{status} $r->{error}" if $r->{status} != 200;
	return $r->{body} eq sha1_hex($i) x 50 ? ''
		: 'wrong: ' . substr($r->{body}, 0, 100);
}

sub redis {
	my ($port, $i) = @_;
	our %open;
	my $s = $open{$$ . $port} //= IO::Socket::INET->new(
		PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => 10);
	my $text = sha1_hex($i) x 25;

	syswrite $s, "SET k" . $i % 5000 . " $text\r\nGET k" . $i % 5000 . "\r\n";
	my $said = join '', map { scalar <$s> // '' } 1 .. 3;

	return $said eq "+OK\r\n\$1000\r\n$text\r\n" ? '' : "wrong: $said";
}

# an A record of a name that the zone has for all
sub dns {
	my ($port, $i) = @_;
	my $s = IO::Socket::INET->new(Proto => 'udp', PeerAddr => '127.0.0.1',
		PeerPort => $port);
	my $name = join '', map { pack 'C/a*', $_ } "n$i", 'a', 'test', '';

	send $s, pack('n6', $i & 0xffff, 0x100, 1, 0, 0, 0) . $name
		. pack('n2', 1, 1), 0;
	vec(my $in = '', fileno $s, 1) = 1;
	return 'no answer' unless select $in, undef, undef, 10;
	recv $s, my $said, 1024, 0;

	return substr($said, -4) eq "\x0a\x00\x00\x07" ? ''
		: 'wrong: ' . unpack 'H*', $said;
}

my $python = Debug::Nginx::run_cmd(['python3', '-c',
	'import sys; print(sys.executable)'])->{out} // '';
chomp $python;

my %files = (
	'app.php' => '<?php $i = $_SERVER["QUERY_STRING"];'
		. ' $x = []; for ($n = 0; $n < 50; $n++) $x[] = sha1($i);'
		. ' echo implode("", $x);',
	'app.py' => <<'END',
import hashlib, http.server, socketserver, sys, re
zlib = __import__('zlib')
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        i = self.path.split('?')[1]
        b = b''.join(hashlib.sha1(i.encode()).hexdigest().encode()
                     for n in range(50))
        zlib.decompress(zlib.compress(b * 50))
        self.send_response(200)
        self.send_header('Content-Length', str(len(b)))
        self.end_headers()
        self.wfile.write(b)
    def log_message(self, *a):
        pass
class S(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
S(('127.0.0.1', int(sys.argv[1])), H).serve_forever()
END
	'app.js' => <<'END',
const { createHash } = require('crypto'), zlib = require('zlib');
require('http').createServer((q, s) => {
    const i = q.url.split('?')[1];
    let b = '';
    for (let n = 0; n < 50; n++)
        b += createHash('sha1').update(i).digest('hex');
    zlib.gzip(b.repeat(50), () => s.end(b));
}).listen(+process.argv[2], '127.0.0.1');
END
	'App.java' => <<'END',
import com.sun.net.httpserver.*;
import java.net.*;
import java.security.*;
import java.util.concurrent.*;
public class App {
    public static void main(String[] a) throws Exception {
        var s = HttpServer.create(new InetSocketAddress("127.0.0.1",
            Integer.parseInt(a[0])), 50);
        s.setExecutor(Executors.newFixedThreadPool(4));
        s.createContext("/", x -> {
            try {
                String i = x.getRequestURI().getQuery();
                var b = new StringBuilder();
                for (int n = 0; n < 50; n++)
                    for (byte c : MessageDigest.getInstance("SHA-1")
                        .digest(i.getBytes()))
                        b.append(String.format("%02x", c));
                byte[] o = b.toString().getBytes();
                x.sendResponseHeaders(200, o.length);
                x.getResponseBody().write(o);
                x.close();
            } catch (Exception e) { throw new RuntimeException(e); }
        });
        s.start();
    }
}
END
	'zone' => "\$TTL 60\n@ SOA a. b. 1 60 60 60 60\n@ NS a.\n* A 10.0.0.7\n",
);

Debug::Nginx::write_file("$dir/$_", $files{$_}) for keys %files;

my @daemons = (
	['redis-server', sub { ('redis-server', '--port', $_[0], '--save', '',
		'--dir', $dir, '--bind', '127.0.0.1') }, \&redis],
	['php', sub { ('php', '-S', "127.0.0.1:$_[0]", "$dir/app.php") }, \&http],
	['python3', sub { ($python, "$dir/app.py", $_[0]) }, \&http],
	['node', sub { ('node', "$dir/app.js", $_[0]) }, \&http],
	['java', sub { ('java', '-Xmx256m', "$dir/App.java", $_[0]) }, \&http],
	['named', sub {
		Debug::Nginx::write_file("$dir/n.conf", 'options { directory "' . $dir
			. "\"; listen-on port $_[0] { 127.0.0.1; }; listen-on-v6 { none; };"
			. ' recursion no; pid-file none; session-keyfile none; };'
			. " controls { }; zone \"a.test\" { type master; file \"$dir/zone\";"
			. ' };');
		return ('named', '-f', '-c', "$dir/n.conf",
			$> == 0 ? ('-u', 'root') : ());
	}, \&dns],
);

# or those named: prove t/heap_daemons.t :: redis-server
my %wanted = map { $_ => 1 } @ARGV;

for (grep { !%wanted || $wanted{$_->[0]} } @daemons) {
	my ($name, $cmd, $request) = @$_;

	SKIP: {
	skip "no $name", 6 unless Debug::Nginx::have_bin($name)
		&& ($name ne 'python3' || $python ne '');

	my $serve = sub {
		my (@run) = @_;
		my $port = Debug::Nginx::free_port();
		my $app = Debug::App->start(cmd => [@run, $cmd->($port)]);

		Debug::Nginx::wait_for(sub {
			$app->alive() && (eval { $request->($port, 1) } // $@) eq ''; }, 120)
			or die "$name does not answer: " . $app->err();

		return ($app, $port);
	};

	my ($bare) = $serve->();
	my $status = $bare->stop('TERM', 60);
	my $sock = "$dir/$name.pprof";
	my ($app, $port) = $serve->("$build/pprof-run", '-l', "unix:$sock", '--');
	Debug::Nginx::wait_for(sub { -S $sock }, 20) or die "$name: no agent";

	my $i = 0;
	my $end = Debug::Kinds::load(sub { $request->($port, ++$i) }, 50);
	my (@bad, $bytes);

	for my $n (1 .. $fetches) {
		my $kind = $n % 5 == 0 ? 'heap?gc=1' : $n % 5 == 1 ? 'growth' : 'heap';
		my $r = Debug::Heap::ask($sock, $kind);

		push @bad, "$n: $r->{status} $r->{body}"
			if $r->{status} != 200 || !$r->{complete};
		select undef, undef, undef, 0.1;
	}

	is(join("\n", @bad), '', "$name: heap, $fetches times");

	my $heap = Debug::Heap::functions($sock, 'allocs');
	cmp_ok($heap->{all}, '>', 0, "$name: who has allocated");

	my $answers = $end->();
	like($answers, qr/^\d+$/, "$name: every answer was right");
	cmp_ok($answers =~ /^\d+$/ ? $answers : 0, '>=', 50, "$name: under load");
	is($app->stop('TERM', 60), $status, "$name: ends as without us");
	unlike($app->err(), qr/pprof/, "$name: nothing of ours on stderr");
	}
}

done_testing();

###############################################################################
