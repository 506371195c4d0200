#!/usr/bin/perl

# Strangers: programs from Debian's packages and of ours, each as it is and
# under pprof-run while everything is asked for, and its memory is sampled a
# hundred times as often as usual.  Whatever a program prints,
# how it ends, which descriptors it has, what those see that it executes: the
# same.
#
#     prove -It/lib t/strangers.t                all
#     prove -It/lib t/strangers.t :: rights      those whose names have it

###############################################################################

use warnings;
use strict;

use IO::Socket::INET;
use POSIX ();
use Test::More;
use Time::HiRes qw/ sleep time /;

use lib 't/lib';
use Debug::Nginx;
use Debug::Heap;
use Debug::Kinds;

###############################################################################

my $build = $ENV{DEBUG_BUILD} // 'build';
my $run = "$build/pprof-run";
my $stranger = "$build/t/app/stranger";
my $dir = Debug::Nginx::temp_dir('str');
my $jobs = $ENV{STRANGERS_JOBS} // 8;

# the workers of many of them are somebody else, who may read what is here and
# the build perhaps not
chmod 0755, $dir;
system('cp', $run, "$build/libpprof.so", $stranger, $dir) == 0
	or die "cp: $?\n";
$_ = "$dir/" . s!.*/!!r for $run, $stranger;

my (@rows, %need);

# A program that ends by itself.  Options: need, programs that must be there;
# root, it takes root; env, stdin, fix (changes what was printed, in $_).
sub row {
	my ($name, $cmd, %o) = @_;
	push @rows, { name => $name, cmd => $cmd, %o };
}

# One that serves until it is told to end.  CMD is called with a directory and
# a port and returns the command; ready, or the port, says when it is;
# talk returns what it answered.
sub server {
	my ($name, $cmd, %o) = @_;
	push @rows, { name => $name, server => $cmd, %o };
}

###############################################################################

# descriptors

row("closes: $_ and listens", [$stranger, 'listener', $_])
	for qw/ closefrom range loop listed /;
row("closes: $_ in a daemon", [$stranger, 'daemon', $_])
	for qw/ closefrom range loop listed /;
row('descriptors by number', [$stranger, 'numbers']);
row('no descriptor is left', [$stranger, 'full']);
row('executes', [$stranger, 'executes']);

# rights

row("rights: $_", [$stranger, 'rights', $_], root => 1)
	for qw/ setuid setres setreuid seteuid capset keepcaps setgroups
		initgroups bound raw unseen /;
row("sealed: $_", [$stranger, 'sealed', $_])
	for qw/ nnp prctl seccomp tsync /;
row("spaces: $_", [$stranger, 'spaces', $_, $dir], root => 1)
	for qw/ user mount files pid root /;

# stacks and signals

row("coroutines of $_ bytes", [$stranger, 'coroutines', $_])
	for qw/ 8192 65536 /;
row("alternate stack of $_ bytes", [$stranger, 'altstack', $_])
	for qw/ 2048 4096 8192 /;
row('faults', [$stranger, 'faults']);
row('handles every signal', [$stranger, 'handles']);
row('hears no signal', [$stranger, 'deaf']);
row('waits in one piece', [$stranger, 'waits']);
row('a timer of its own', [$stranger, 'timer']);

# threads and children

row('threads by the hundred', [$stranger, 'threads']);
row('its main thread ends first', [$stranger, 'leaves']);
row('one thread', [$stranger, 'single']);
row('no child', [$stranger, 'childless']);
row('no child, and adopts', [$stranger, 'childless', 'reaper']);
row('children of every kind', [$stranger, 'children']);
row('recursive mutexes after a fork', [$stranger, 'recursive']);
row('pid 1', ['unshare', '-pf', '--mount-proc', $stranger, 'childless'],
	root => 1, need => ['unshare'], unasked => 1);

row('a plugin, deeply bound', [$stranger, 'plugin', "$dir/plugin.so"],
	make => sub {
		Debug::Nginx::write_file("$dir/plugin.c", <<'END');
#include <stdlib.h>
#include <string.h>
char *swap(char *p) { free(p); return strdup("its"); }
END
		return !system "cc -shared -fPIC -o $dir/plugin.so $dir/plugin.c";
	});

for (['deeply bound'], ['in a namespace of its own', 'apart']) {
	my ($how, @apart) = @$_;

	row("memory that crosses to a plugin $how", [$stranger, 'crossing',
		"$dir/crossing.so", @apart], make => sub {
			Debug::Nginx::write_file("$dir/crossing.c", <<'END');
#include <stdlib.h>
void *get(size_t size) { return malloc(size); }
void *more(void *p, size_t size) { return realloc(p, size); }
void give(void *p) { free(p); }
END
			return !system "cc -O0 -shared -fPIC -o $dir/crossing.so"
				. " $dir/crossing.c";
		});
}

# allocators that somebody has chosen

for my $name (qw/ libjemalloc.so.2 libmimalloc.so.2.0 libmimalloc.so.3
	libtcmalloc.so.4 /)
{
	my $path = Debug::Heap::library($name) // next;

	row("$name preloaded", ['/usr/bin/python3', '-c', <<'END'],
import json, threading
rows = [dict(n=i, s='x' * (i % 3000)) for i in range(20000)]
done = []
def work(k):
    done.append(sum(len(json.dumps(r)) for r in rows[k::4]))
threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
print(sum(done), len(json.loads(json.dumps(rows))))
END
		env => { LD_PRELOAD => $path, PYTHONMALLOC => 'malloc' },
		need => ['/usr/bin/python3']);

	row("$name: mallocx() and free()", [$stranger, 'mallocx'],
		env => { LD_PRELOAD => $path }) if $name =~ /jemalloc/;
}

# shells

my $shell = <<'END';
i=0
while [ $i -lt 60 ]; do
	echo "line $i" | cat | tr a-z A-Z
	exec 3> out.$$; (echo sub $i >&3); exec 3>&-; cat out.$$
	x=$(echo $i | sed 's/^/</;s/$/>/'); echo "$x"
	i=$((i + 1))
done
sleep 0.5 & wait $!; echo "waited $?"
( exit 3 ); echo "status $?"
trap 'echo trapped' USR1; kill -USR1 $$
cat <<- HERE
	here
HERE
exec 4< out.$$; read a <&4; echo "read $a"; exec 4<&-
ls -1 /proc/self/fd | wc -l
env | grep -c -e PPROF -e LD_PRELOAD
rm -f out.$$
exit 33
END

row("$_: pipes and redirections", [$_, '-c', $shell], need => [$_])
	for qw/ dash bash ksh zsh /;
row('busybox sh', ['busybox', 'sh', '-c', $shell], need => ['busybox'],
	unasked => 1);
# which of two jobs it notices first is not for us to say
my $unnoticed = sub { s/^\[\d\].*\n//mg };
row('bash: processes, jobs', ['bash', '-c', <<'END'], need => ['bash'], fix => $unnoticed);
set -m
for i in 1 2 3 4 5 6; do
	while read -r l; do echo "got $l"; done < <(seq 1 $i)
	coproc cat; echo "to $i" >&${COPROC[1]}; read -r b <&${COPROC[0]}
	echo "$b"; eval "exec ${COPROC[1]}>&-"; wait $COPROC_PID
	sleep 0.15 & sleep 0.1 & wait -n; echo "one: $?"; wait
done
echo "${PIPESTATUS[@]}"; true | false | true; echo "${PIPESTATUS[@]}"
timeout 0.2 sleep 5; echo "timeout $?"
END

# interpreters

row('perl', [$^X, '-e', <<'END']);
my ($n, %h) = (0);
$SIG{CHLD} = sub { $n++ };
for my $i (1 .. 30) {
	my $p = open(my $f, '-|') // die;
	if (!$p) { print "child $i\n"; exit $i }
	print while <$f>; close $f; print $? >> 8, "\n";
	$h{$_ * $i}++ for 1 .. 20000;
}
print scalar(keys %h), "\n"; system 'echo', 'system'; exit 34;
END
row('python', ['/usr/bin/python3', '-c', <<'END'], need => ['/usr/bin/python3']);
import subprocess, threading, multiprocessing, os, sys, time, signal
def f(n): return sum(i * i for i in range(n))
out = []
ts = [threading.Thread(target=lambda: out.append(f(60000))) for _ in range(20)]
[t.start() for t in ts]; [t.join() for t in ts]
print(len(out), set(out))
for i in range(5):
    print(subprocess.run(["sh", "-c", "ls /proc/self/fd | wc -l; exit 4"],
          capture_output=True, close_fds=(i % 2 == 0)))
with multiprocessing.get_context("fork").Pool(3) as p: print(p.map(f, range(9)))
signal.signal(signal.SIGALRM, lambda *a: print("alarm"))
signal.setitimer(signal.ITIMER_REAL, 0.3); time.sleep(0.6)
print([k for k in os.environ if "PPROF" in k or "PRELOAD" in k])
sys.exit(35)
END
row('ruby', ['ruby', '-e', <<'END'], need => ['ruby']);
r, w = IO.pipe
5.times { |i| fork { w.puts "c#{i}"; exit! 3 }; Process.wait; puts $?.exitstatus }
w.close; puts r.read
ts = 8.times.map { |i| Thread.new { (1..90000).reduce(:+) + i } }
puts ts.sum(&:value); puts `echo shell`
puts ENV.keys.grep(/PPROF|PRELOAD/).size; exit 36
END
row('php', ['php', '-r', <<'END'], need => ['php']);
for ($i = 0, $s = 0; $i < 3000000; $i++) $s += $i % 7;
echo $s, "\n", strlen(serialize(range(1, 100000))), "\n";
echo preg_replace_callback('/\d+/', fn($m) => $m[0] * 2, 'a1b22'), "\n";
system('echo shell; exit 3', $rc); echo $rc, "\n"; exit(37);
END
row('node', ['node', '-e', <<'END'], need => ['node']);
const { Worker } = require('worker_threads');
const cp = require('child_process');
let n = 0;
for (let i = 0; i < 4; i++) {
	new Worker('let s=0; for (let i=0;i<5e6;i++) s+=i%7;'
		+ 'require("worker_threads").parentPort.postMessage(s)',
		{ eval: true }).on('message', m => { n += m; if (i == 3) 0; });
}
process.on('exit', () => console.log(n, cp.execSync('echo sh; ls /proc/self/fd | wc -l').toString()));
process.exitCode = 38;
END
row('lua', ['lua5.4', '-e', 'local t={} for i=1,3000000 do t[i%1000]=i end '
	. 'print(#t, select(3, os.execute("exit 5"))) os.exit(39)'],
	need => ['lua5.4']);
row('luajit', ['luajit', '-e', 'local s=0 for i=1,90000000 do s=s+i%7 end '
	. 'print(s) os.exit(40)'], need => ['luajit']);
row('java', ['java', '-Xcheck:jni', '-Xshare:auto', "$dir/S.java"],
	need => ['java'], make => sub {
		Debug::Nginx::write_file("$dir/S.java", <<'END');
public class S { public static void main(String[] a) throws Exception {
	Thread[] t = new Thread[8]; long[] s = new long[8];
	for (int i = 0; i < 8; i++) { final int k = i; t[i] = new Thread(() -> {
		for (int j = 0; j < 9000000; j++) s[k] += j % 7; }); t[i].start(); }
	long n = 0; for (int i = 0; i < 8; i++) { t[i].join(); n += s[i]; }
	int npe = 0; for (int i = 0; i < 20000; i++)
		try { Object o = i < 0 ? "" : null; o.hashCode(); }
		catch (NullPointerException e) { npe++; }
	System.gc(); System.out.println(n + " " + npe); System.exit(41); } }
END
		# a runtime alone has no compiler
		return !system "java $dir/S.java > /dev/null 2>&1"
			|| $? >> 8 == 41;
	});
row('tclsh', ['tclsh', "$dir/t.tcl"], need => ['tclsh'], make => sub {
	Debug::Nginx::write_file("$dir/t.tcl", 'set s 0; for {set i 0} {$i < '
		. '2000000} {incr i} {incr s [expr {$i % 7}]}; puts $s; '
		. "puts [exec echo a | cat]; exit 42\n");
	return 1;
});
row('gawk', ['gawk', 'BEGIN { for (i = 0; i < 1e6; i++) s += i % 7; print s; '
	. '"echo a" | getline x; print x; print "to" | "cat"; exit 43 }'],
	need => ['gawk']);

# tools

row('make -j', ['make', '-s', '-j4', '-C', $dir, '-f', "$dir/mk"],
	need => ['make'], make => sub {
		Debug::Nginx::write_file("$dir/mk", "all: a b c d\n\t\@echo all\n"
			. "a b c d:\n\t\@sleep 0.4; echo \$\@ > /dev/null; "
			. "ls /proc/self/fd > /dev/null\n");
		return 1;
	});
row('git', ['sh', '-c', 'rm -rf $0 && git init -q $0 && cd $0 && '
	. 'seq 1 200000 > f && git add f && git -c user.name=a -c user.email=b '
	. 'commit -qm c && git gc -q && git fsck && git log --format=%s && '
	. 'git cat-file -s HEAD:f', 'repo'], need => ['git']);
row('tar and xz', ['sh', '-c', 'seq 1 150000 > s; tar cf - s | xz -T2 -1 | '
	. 'xz -d | tar xOf - | md5sum'], need => ['xz']);
row('sort', ['sh', '-c', 'seq 1 150000 | sort -R --random-source=/dev/zero '
	. '--parallel=4 | sort -n --parallel=4 | md5sum']);
row('sqlite3', ['sqlite3', ':memory:', 'with recursive t(i) as (select 1 union '
	. 'all select i + 1 from t where i < 300000) select count(*), sum(i % 7), '
	. "max(printf('%05d', i)) from t"], need => ['sqlite3']);
row('openssl', ['sh', '-c', 'openssl genrsa 2048 2> /dev/null | openssl rsa '
	. '-check -noout 2>&1; head -c 60000000 /dev/zero | openssl sha256'],
	need => ['openssl']);
row('find, xargs', ['sh', '-c', 'find /usr/share/doc -name "c*" | head -400 | '
	. 'xargs -P4 -n20 stat -L -c %F 2>&1 | sort | uniq -c'], need => ['xargs']);
row('rsync', ['sh', '-c', 'rm -rf a b; mkdir a; seq 1 90000 | split -l 500 - '
	. 'a/; rsync -a a/ b/ && diff -r a b && rsync -ai a/ b/; echo $?'],
	need => ['rsync']);
row('jq', ['jq', '-n', '[range(500000)] | map(. % 7) | add'], need => ['jq']);
row('gdb', ['gdb', '-q', '-batch', '-ex', 'run', '-ex', 'info inferiors',
	'--args', '/bin/echo', 'debugged'], need => ['gdb'],
	fix => sub { s/process \d+/process N/g; s/\(process N\)//g });
row('setpriv', ['setpriv', '--reuid', 65534, '--regid', 65534, '--clear-groups',
	'--no-new-privs', '--bounding-set=-all', 'sh', '-c', 'id; sleep 0.5'],
	need => ['setpriv'], root => 1, unasked => 1);
row('capsh', ['capsh', '--drop=cap_sys_admin', '--user=nobody', '--', '-c',
	'id; exit 3'], need => ['capsh'], root => 1, unasked => 1);
row('su', ['su', '-s', '/bin/sh', 'nobody', '-c', 'id; exit 4'],
	need => ['su'], root => 1, unasked => 1);
row('unshare -Ur', ['unshare', '-Ur', 'sh', '-c', 'id -u; exit 5'],
	need => ['unshare'], unasked => 1);
row('chroot', ['chroot', '--userspec=65534:65534', '/', 'id'], root => 1,
	unasked => 1);
row('a pipe that closes', ['sh', '-c', 'seq 1 9999999 | head -1; echo '
	. '${PIPESTATUS:-none}'], unasked => 1);
row('a limit of memory', ['sh', '-c', 'ulimit -v 400000; exec '
	. "$stranger single"], unasked => 1);

# servers

sub http {
	my ($port, $path) = @_;
	my $r = Debug::Nginx::http_get($path, port => $port);
	return "$r->{status} " . length($r->{body}) . "\n";
}

# What a command prints on stdout, and nothing else of it.
sub said {
	open my $f, '-|', 'sh', '-c', 'exec "$@" 2> /dev/null', 'sh', @_ or die;
	local $/;
	return scalar(<$f>) // '';
}

sub lines {
	my ($port, @say) = @_;
	my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port,
		Timeout => 5) or return "connect: $!\n";
	$s->autoflush(1);
	my $text = '';
	for (@say) {
		print $s $_;
		my $got = '';
		sysread $s, $got, 4096;
		$text .= $got;
	}
	return $text;
}

sub apache {
	my ($mpm) = @_;
	return sub {
		my ($d, $port) = @_;
		my ($m) = grep { -e "$_/mod_mpm_$mpm.so" }
			'/usr/lib/apache2/modules';
		return unless $m;
		mkdir "$d/html";
		Debug::Nginx::write_file("$d/html/index.html", 'x' x 5000);
		chmod 0755, $d, "$d/html";
		my $user = $> == 0 ? "User nobody\nGroup nogroup" : '';
		Debug::Nginx::write_file("$d/a.conf", <<"END");
ServerName localhost
ServerRoot $d
PidFile $d/a.pid
Listen 127.0.0.1:$port
LoadModule mpm_${mpm}_module $m/mod_mpm_$mpm.so
LoadModule authz_core_module $m/mod_authz_core.so
LoadModule dir_module $m/mod_dir.so
$user
DocumentRoot $d/html
ErrorLog $d/error.log
Mutex file:$d default
END
		return ('apache2', '-f', "$d/a.conf", '-DFOREGROUND');
	};
}

server("apache2, $_", apache($_), need => ['apache2'],
	right => qr/^200 5000$/m, talk => sub { http($_[0], '/') })
	for qw/ prefork event /;

server('nginx', sub {
	my ($d, $port) = @_;
	Debug::Nginx::write_file("$d/n.conf", <<"END");
pid $d/n.pid;
error_log $d/error.log;
daemon off;
worker_processes 2;
events { }
http { access_log off; client_body_temp_path $d; proxy_temp_path $d;
fastcgi_temp_path $d; uwsgi_temp_path $d; scgi_temp_path $d;
server { listen 127.0.0.1:$port; location / { return 200 hello; } } }
END
	return ('nginx', '-p', $d, '-c', "$d/n.conf", '-e', "$d/error.log");
}, need => ['nginx'], right => qr/^200 5$/m,
	talk => sub { http($_[0], '/') }, stop => 'QUIT');

server('lighttpd', sub {
	my ($d, $port) = @_;
	Debug::Nginx::write_file("$d/index.html", 'x' x 3000);
	Debug::Nginx::write_file("$d/l.conf", <<"END");
server.document-root = "$d"
server.bind = "127.0.0.1"
server.port = $port
server.max-worker = 2
index-file.names = ("index.html")
END
	return ('lighttpd', '-D', '-f', "$d/l.conf");
}, need => ['lighttpd'], right => qr/^200 3000$/m,
	talk => sub { http($_[0], '/') });

server('haproxy, master and workers', sub {
	my ($d, $port) = @_;
	Debug::Nginx::write_file("$d/h.cfg", <<"END");
global
    nbthread 3
defaults
    mode http
    timeout client 5s
    timeout server 5s
    timeout connect 5s
frontend f
    bind 127.0.0.1:$port
    http-request return status 200 content-type text/plain string "hello"
END
	return ('haproxy', '-W', '-db', '-f', "$d/h.cfg");
}, need => ['haproxy'], children => 1, right => qr/^200 5$/m,
	talk => sub { http($_[0], '/') });

server('redis', sub {
	my ($d, $port) = @_;
	return ('redis-server', '--port', $port, '--bind', '127.0.0.1', '--dir',
		$d, '--save', '', '--io-threads', 2);
}, need => ['redis-server'], right => qr/PONG/, talk => sub { lines($_[0], "SET a b\r\n",
	"GET a\r\n", "BGSAVE\r\n", "PING\r\n")
		=~ s/^.*Background.*$/saves/mr });

server('memcached', sub {
	my ($d, $port) = @_;
	return ('memcached', '-p', $port, '-U', 0, '-l', '127.0.0.1',
		$> == 0 ? ('-u', 'nobody') : ());
}, need => ['memcached'], right => qr/VALUE k/, talk => sub { lines($_[0],
	"set k 0 0 1\r\nx\r\n", "get k\r\n", "delete k\r\n") });

server('unbound', sub {
	my ($d, $port) = @_;
	Debug::Nginx::write_file("$d/u.conf", <<"END");
server:
    interface: 127.0.0.1
    port: $port
    do-daemonize: no
    chroot: ""
    directory: "$d"
    pidfile: "$d/u.pid"
    use-syslog: no
    username: "@{[$> == 0 ? 'nobody' : '']}"
    num-threads: 3
    local-data: "a.test. A 10.1.2.3"
END
	chmod 0777, $d;
	return ('unbound', '-d', '-c', "$d/u.conf");
}, need => ['unbound'], right => qr/^10/m, talk => sub { dns($_[0], 'a.test') });

server('named', sub {
	my ($d, $port) = @_;
	Debug::Nginx::write_file("$d/zone", "\$TTL 60\n\@ SOA ns a 1 60 60 60 60\n"
		. "\@ NS ns\nns A 10.1.2.4\na A 10.1.2.3\n");
	Debug::Nginx::write_file("$d/n.conf", <<"END");
options { directory "$d"; listen-on port $port { 127.0.0.1; };
    listen-on-v6 { none; }; pid-file "$d/n.pid"; recursion no;
    session-keyfile "$d/key"; };
controls { };
zone "test" { type primary; file "$d/zone"; };
END
	chmod 0777, $d;
	return ('named', '-f', '-c', "$d/n.conf", $> == 0 ? ('-u', 'nobody') : ());
}, need => ['named'], right => qr/^10/m, talk => sub { dns($_[0], 'a.test') });

sub dns {
	my ($port, $name) = @_;
	my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port,
		Proto => 'tcp', Timeout => 5) or return "connect: $!\n";
	my $q = pack('n6', 7, 0, 1, 0, 0, 0)
		. join('', map { pack 'C/a*', $_ } split /\./, $name) . "\0"
		. pack 'n2', 1, 1;
	print $s pack 'n/a*', $q;
	$s->flush();
	sysread $s, my $a, 4096;
	return $a =~ /\x0a\x01\x02\x03/ ? "10.1.2.3\n" : 'no answer';
}

my ($pg) = sort { $b cmp $a } glob '/usr/lib/postgresql/*/bin';

server('postgres', sub {
	my ($d, $port) = @_;
	my @as = $> == 0 ? ('runuser', '-u', 'postgres', '--') : ();
	chmod 0777, $d;
	return unless said(@as, "$pg/initdb", '-D', "$d/data", '-A', 'trust', '-U',
		'me', '-N') =~ /Success/;
	# runuser is who is executed, and what it executes is profiled as well
	return (@as, "$pg/postgres", '-D', "$d/data", '-p', $port, '-k', $d, '-h',
		'127.0.0.1', '-c', 'fsync=off');
}, need => [($pg // '/nowhere') . '/postgres'], children => 1,
	stop => 'INT', group => 1, right => qr/^\d{6}$/m,
	talk => sub { said("$pg/psql", '-h', '127.0.0.1', '-p', $_[0], '-U', 'me',
		'-Atc', 'select sum(i % 7) from generate_series(1, 100000) i',
		'postgres') });

server('mariadb', sub {
	my ($d, $port) = @_;
	my @user = $> == 0 ? ('--user=mysql') : ();
	chmod 0777, $d;
	said('mariadb-install-db', '--no-defaults', "--datadir=$d/data",
		'--skip-test-db', '--auth-root-authentication-method=normal', @user);
	return unless -d "$d/data/mysql";
	return ('mariadbd', '--no-defaults', "--datadir=$d/data", @user,
		"--socket=$d/my", "--port=$port", '--bind-address=127.0.0.1',
		"--pid-file=$d/pid", '--innodb-flush-log-at-trx-commit=0');
}, need => ['mariadbd', 'mariadb-install-db'],
	right => qr/^42$/m,
	talk => sub { said('mariadb', '--no-defaults', '-h', '127.0.0.1', '-P',
		$_[0], '-u', 'root', '-BNe', 'select 6 * 7; select count(*) from '
		. 'information_schema.engines') });

###############################################################################

# What goes on meanwhile: everything is asked for, of whoever listens.

# First what takes no time: some are gone soon.
my @ask = ('goroutine?debug=2', 'cmdline', 'heap', @Debug::Kinds::WINDOWS,
	'symbol', 'goroutine', 'mutex?debug=1', 'threadcreate');

sub pester {
	my ($pattern, $log, @kinds) = @_;
	my $pid = fork() // die "fork: $!\n";

	return $pid if $pid;

	my $n = 0;

	$SIG{TERM} = sub { POSIX::_exit(0) };

	while (1) {
		my @sockets = glob $pattern;

		for my $sock (@sockets) {
			my $r = Debug::Kinds::ask($sock, $kinds[$n++ % @kinds]);
			next if $r->{status} != 200;
			open my $f, '>>', $log or last;
			print $f "$kinds[($n - 1) % @kinds]\n";
			close $f;
		}

		sleep(@sockets ? 0.002 : 0.01);
	}
}

# The processes that PID started, and itself.
sub family {
	my ($pid) = @_;
	return ($pid, map { family($_) } Debug::Nginx::children_of($pid));
}

# What is open in them, without what differs from run to run.
sub descriptors {
	my ($pid, $d) = @_;
	my @list;

	for my $p (family($pid)) {
		my $comm = Debug::Nginx::read_file("/proc/$p/comm");
		my @fds;

		for my $fd (glob "/proc/$p/fd/*") {
			my $what = readlink $fd // next;
			$what =~ s/\[\d+\]|\Q$d\E//g;
			$what =~ s/\d{3,}/N/g;
			push @fds, $what;
		}

		chomp $comm;
		push @list, join ' ', $comm, sort @fds;
	}

	# how many there are of a kind depends on the load
	my %kinds = map { $_ => 1 } @list;
	return join "\n", sort keys %kinds;
}

# How many threads of ours one of them has, at most.
sub threads {
	my ($pid) = @_;
	my $most = 0;

	for my $p (family($pid)) {
		my $n = grep { Debug::Nginx::read_file($_) =~ /^pprof/ }
			glob "/proc/$p/task/*/comm";
		$most = $n if $n > $most;
	}

	return $most;
}

sub clean {
	my ($text, $d, $fix) = @_;
	local $_ = $text;

	s/\Q$d\E//g;
	$fix->() if $fix;
	return $_;
}

sub finish {
	my ($pid, $seconds) = @_;
	my $status;

	Debug::Nginx::wait_for(sub {
		return 0 if waitpid($pid, POSIX::WNOHANG()) != $pid;
		$status = $?;
		return 1;
	}, $seconds);

	return $status if defined $status;

	kill 'KILL', -$pid;
	waitpid $pid, 0;
	return 'never';
}

sub start_one {
	my ($row, $n, $how, $cmd) = @_;
	my $d = "$dir/$n-$how";
	my @run = $how eq 'under' ? ($run, '-l', "unix:$dir/$n.%p.s",
		$row->{children} ? '--children' : (), '-s', 4096, '--') : ();

	Debug::Nginx::write_file("$d.in", $row->{stdin} // '');
	return Debug::Nginx::spawn([@run, @$cmd], cwd => $d, in => "$d.in",
		out => "$d.out", err => "$d.err", env => { LC_ALL => 'C',
			PPROF_LINGER => $how eq 'under' ? 0 : undef,
			%{ $row->{env} // {} } });
}

# Runs ROW both ways.  Returns a list of [got, want, name].
sub try_row {
	my ($row, $n) = @_;
	my (%pid, %port, %cmd, %end, @checks);
	my @hows = qw/ bare under /;

	for (@hows) {
		mkdir "$dir/$n-$_" or die "mkdir: $!\n";
		chmod 0777, "$dir/$n-$_";
		$port{$_} = Debug::Nginx::free_port() if $row->{server};
		$cmd{$_} = [$row->{server} ? $row->{server}->("$dir/$n-$_", $port{$_})
			: @{ $row->{cmd} }];
		return "it cannot be set up here" unless @{$cmd{$_}};
	}

	my @pester = (pester("$dir/$n.*.s", "$dir/$n.log", 'profile?seconds=1&hz=1000'),
		pester("$dir/$n.*.s", "$dir/$n.log", @ask));

	$pid{$_} = start_one($row, $n, $_, $cmd{$_}) for @hows;

	if ($row->{server}) {
		my %said;

		for my $how (@hows) {
			Debug::Nginx::wait_for(sub {
				!Debug::Nginx::pid_alive($pid{$how})
					|| $row->{talk}->($port{$how}) =~ $row->{right}
				}, 30);
		}

		my $end = time() + 2.2;

		for (my $i = 0; $i < 3 || time() < $end; $i++) {
			$said{$_} .= $row->{talk}->($port{$_}) for @hows;
			sleep 0.05;
		}

		push @checks, [$said{under}, $said{bare}, 'answers'],
			[$said{bare} =~ $row->{right} ? 'yes' : $said{bare}, 'yes',
				'and right ones'];
		kill 'TERM', @pester;
		waitpid $_, 0 for splice @pester;

		# at rest: connections of ours that are just closing are not theirs
		my ($bare, $under);
		Debug::Nginx::wait_for(sub {
			$bare = descriptors($pid{bare}, "$dir/$n-bare");
			$under = descriptors($pid{under}, "$dir/$n-under");
			return $bare eq $under;
		}, 4);
		push @checks, [$under, $bare, 'descriptors'];

		push @checks, [threads($pid{under}), 1, 'threads of ours'];

		# runuser hands nothing on
		kill $row->{stop} // 'TERM', $row->{group} ? -$_ : $_
			for values %pid;
	}

	$end{$_} = finish($pid{$_}, 120) for @hows;

	kill 'TERM', @pester;
	waitpid $_, 0 for @pester;

	push @checks, [$end{under}, $end{bare}, 'its end'],
		[$end{bare} eq 'never' ? 'no' : 'yes', 'yes', 'and one there is'];

	my %text;
	for my $how (@hows) {
		for my $what (qw/ out err /) {
			$text{$how}{$what} = clean(Debug::Nginx::read_file(
				"$dir/$n-$how.$what"), "$dir/$n-$how", $row->{fix});
		}
	}

	if ($row->{server}) {
		push @checks, [$text{under}{err} =~ /pprof/ ? $text{under}{err} : '',
			'', 'stderr: nothing of ours'];
	} else {
		push @checks, [$text{under}{$_}, $text{bare}{$_}, "std$_"]
			for qw/ out err /;
	}

	# who ended by a signal took nothing away himself
	Debug::Nginx::wait_for(sub { my @s = glob "$dir/$n.*.s"; !@s }, 3);
	push @checks, [join(' ', glob "$dir/$n.*.s"), '', 'no socket is left'];

	return \@checks;
}

# Where two texts part, since some are long.
sub part {
	my ($got, $want) = map { [split /^/] } @_;
	my $i = 0;
	$i++ while defined $got->[$i] && defined $want->[$i]
		&& $got->[$i] eq $want->[$i];
	return map { join '', 'line ', $i + 1, ': ', grep { defined } @$_[$i .. $i + 3]
		} $got, $want;
}

###############################################################################

@rows = grep { my $name = $_->{name}; grep { $name =~ /$_/ } @ARGV } @rows
	if @ARGV;

# some at a time, each row in a process of its own
my (%running, %result);
my $next = 0;

while ($next < @rows || %running) {
	if ($next < @rows && keys %running < $jobs) {
		my $n = $next++;
		my $pid = fork() // die "fork: $!\n";

		if ($pid == 0) {
			my $row = $rows[$n];
			my ($lacks) = grep { !Debug::Nginx::have_bin($_) }
				@{ $row->{need} // [] };
			my $r = defined $lacks ? "no $lacks"
				: $row->{root} && $> != 0 ? 'not root'
				: $row->{make} && !$row->{make}->() ? 'it cannot be made here'
				: eval { try_row($row, $n) } // [[$@, '', 'runs']];

			Debug::Nginx::write_file("$dir/$n.json",
				Debug::Nginx::encode_json(ref $r ? $r : [$r]));
			POSIX::_exit(0);
		}

		$running{$pid} = $n;
		next;
	}

	my $pid = waitpid -1, 0;
	delete $running{$pid};
}

my ($asked, $could) = (0, 0);

for my $n (0 .. $#rows) {
	my $r = Debug::Nginx::decode_json(Debug::Nginx::read_file("$dir/$n.json"));

	subtest $rows[$n]{name} => sub {
		plan(skip_all => $r->[0]) unless ref $r->[0];
		$could += !$rows[$n]{unasked};
		$asked += !$rows[$n]{unasked} && -s "$dir/$n.log" ? 1 : 0;

		for (@$r) {
			my ($got, $want, $what) = @$_;
			($got, $want) = part($got, $want) if $got ne $want;
			is($got, $want, $what);
		}
	};
}

# who is there for a second can be asked, if the machine has one to give
cmp_ok($asked, '>=', 0.7 * $could, "$asked of $could were asked meanwhile");

done_testing();

###############################################################################
