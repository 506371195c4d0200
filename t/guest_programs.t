#!/usr/bin/perl

# Our unwinder against libgcc's in Debian's own programs, unmodified, while they
# work: 99.9 % of the stacks have to be the same.  Prints the ratio.

###############################################################################

use warnings;
use strict;

use Test::More;
use Time::HiRes qw/ sleep time /;

use lib 't/lib';
use Debug::Nginx;
use Debug::App;

###############################################################################

my $build = Cwd::abs_path($ENV{DEBUG_BUILD} // 'build');
my $preload = "$build/t/preload/compare.so";
my $dir = temp_dir('compare');

plan(skip_all => 'not built') unless -e $preload;
plan(skip_all => 'a sanitizer wants to be preloaded itself')
	if $build =~ m!/[at]san$!;

my $port = free_port();

write_file("$dir/work.py", <<'EOP');
import hashlib, json, re, sqlite3, time, zlib
class A:
    def __init__(self, n): self.n = n
    def __lt__(self, o): return self.n < o.n
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
db = sqlite3.connect(':memory:')
db.create_function('f', 1, lambda x: fib(x % 8))
db.execute('create table t (a, b)')
while time.process_time() < 4:
    sorted([A(n * 7 % 101) for n in range(300)])
    json.loads(json.dumps([{'k%d' % n: [n, str(n)]} for n in range(200)]))
    re.sub(r'(\w+)\s(\w+)', lambda m: m.group(2), 'some words here ' * 50)
    zlib.decompress(zlib.compress(b'some bytes' * 500))
    hashlib.sha256(b'x' * 10000).hexdigest()
    db.executemany('insert into t values (?, ?)', [(n, str(n)) for n in range(50)])
    db.execute('select sum(f(a)), max(b) from t group by a % 7').fetchall()
    db.execute('delete from t')
    try: fib('x')
    except TypeError: pass
EOP

write_file("$dir/work.sql", "create table t (a integer primary key, b text);\n"
	. "with recursive c(x) as (select 1 union all select x + 1 from c"
	. " where x < 300000) insert into t select x, 'row' || x from c;\n"
	. ("select count(*), max(length(b || a)), group_concat(substr(b, 1, 4))"
	. " from t where b like '%9%' group by a % 7 order by 2;\n") x 40);

write_file("$dir/lighttpd.conf", <<"EOC");
server.document-root = "$dir"
server.bind = "127.0.0.1"
server.port = $port
EOC

my @programs = (
	{ name => 'python3', cmd => ['/usr/bin/python3', "$dir/work.py"], least => 1000 },
	{ name => 'sqlite3',
		cmd => ['sqlite3', ':memory:', ".read $dir/work.sql"],
		least => 1000 },
	{ name => 'redis-server',
		cmd => ['redis-server', '--save', '', '--port', '0',
			'--unixsocket', "$dir/redis"],
		need => 'redis-benchmark', ready => { unix => "$dir/redis" },
		load => ['redis-benchmark', '-s', "$dir/redis", '-q', '-n', '60000',
			'-t', 'set,get,lpush,sadd,zadd,lrange_100'], least => 1000 },
	{ name => 'lighttpd', cmd => ['lighttpd', '-D', '-f', "$dir/lighttpd.conf"],
		need => 'wrk', ready => { port => $port },
		load => ['wrk', '-t1', '-c8', '-d4s',
			"http://127.0.0.1:$port/work.sql"], least => 1000 },
	{ name => 'perl', cmd => [$^X, '-MList::Util=first', '-e',
		'while ((times)[0] < 4) { my @x = sort { $a->{n} <=>'
		. ' $b->{n} } map { { n => $_ * 7 % 101, s => "x" x $_ } } 1 .. 200;'
		. ' my $s = join ",", map { sprintf "%d %s", $_->{n}, $_->{s} } @x;'
		. ' $s =~ s/(\d+) (x+)/length($2) . $1/ge; eval { die { s => $s } };'
		. ' first { $_->{n} == 50 } @x }'], least => 1000 },
);

my ($run, $same, $all) = (0, 0, 0);

for my $p (@programs) {
	SKIP: {
		skip "no $_", 2 for grep { !have_bin($_) }
			$p->{cmd}[0], $p->{need} // ();

		my $out = "$dir/$p->{name}.out";
		my $app = Debug::App->start(cmd => $p->{cmd},
			env => { LD_PRELOAD => $preload, COMPARE_OUT => $out },
			ready => $p->{ready});

		if ($p->{load}) {
			sleep 0.4;
			run_cmd($p->{load}, timeout => 120);
			sleep 0.4;
			is($app->stop(), 0, "$p->{name}: ends as it should");

		} else {
			is($app->wait(120), 0, "$p->{name}: ends as it should")
				or diag($app->err());
		}

		my ($first, @stacks) = split /\n/, read_file($out);
		my ($s, $different, $shorter, $frames) = split ' ', $first // '0 0 0 0';
		my $n = $s + $different + $shorter;

		note(sprintf "%s: %d stacks of %.1f frames, %d differ, %d are shorter:"
			. " %.3f %% are libgcc's", $p->{name}, $n, $frames / ($n || 1),
			$different, $shorter, 100 * $s / ($n || 1));
		ok($n >= $p->{least} && $s >= 0.999 * $n,
			"$p->{name}: $s of $n stacks are libgcc's")
			or diag(join "\n", @stacks);

		$run++;
		$same += $s;
		$all += $n;
	}
}

cmp_ok($run, '>=', 3, "three programs, $same of $all stacks are the same");

done_testing();

###############################################################################
