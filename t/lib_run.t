#!/usr/bin/perl

# pprof-run looks at the program first: what cannot be profiled runs as if
# nobody had asked, and a sentence says why.  What the program executes sees
# nothing of us, and a program with more rights than its caller takes no
# orders from him.

###############################################################################

use warnings;
use strict;

use Test::More;

use lib 't/lib';
use Debug::Nginx;
use Debug::App;

###############################################################################

my $build = $ENV{DEBUG_BUILD} // 'build';
my $run = "$build/pprof-run";
my $dir = Debug::Nginx::temp_dir('run');
my $nobody = (getpwnam 'nobody')[2];

# Others' programs are started with what is here: nobody may read it.
chmod 0755, $dir;
system('cp', $run, "$build/libpprof.so", $dir) == 0 or die "cp: $?\n";
symlink 'libpprof.so', "$dir/libpprof.so.1";
$run = "$dir/pprof-run";

sub launch {
	my ($args, %o) = @_;
	my @as = defined $o{user} ? ('setpriv', '--reuid', $o{user}, '--regid',
		$o{user}, '--clear-groups') : ();

	return Debug::Nginx::run_cmd([@as, $run, '-l', "unix:$dir/%p.s",
		@$args], env => $o{env});
}

# Compiles SOURCE; what it is linked with follows.
sub program {
	my ($name, $source, @flags) = @_;

	Debug::Nginx::write_file("$dir/$name.c", $source);
	return Debug::Nginx::run_cmd(['cc', '-o', "$dir/$name",
		"$dir/$name.c", @flags])->{exit} == 0 ? "$dir/$name" : undef;
}

sub script {
	my ($name, $text) = @_;

	Debug::Nginx::write_file("$dir/$name", $text);
	chmod 0755, "$dir/$name";
	return "$dir/$name";
}

my $nine = "int main(void) { return 9; }\n";
my ($r, $p);

# the environment

my $env = sub {
	return join "\n", grep { /PPROF|LD_PRELOAD|TCMALLOC/ }
		sort split /\n/, $_[0]{out};
};

$r = launch(['--no-tcmalloc', '-v', '-s', '1000', '--', 'env']);
is($env->($r), '', 'executed: nothing of ours');

for my $shell (qw/ sh bash perl /) {
	my @code = $shell eq 'perl' ? ('-e', 'system "env | cat"')
		: ('-c', 'env | cat; (env)');
	$r = launch(['--no-tcmalloc', '--', $shell, @code]);
	is($env->($r), '', "below $shell: nothing of ours");
}

my $z = (glob '/lib/*-linux-gnu/libz.so.1 /usr/lib*/libz.so.1')[0];
my %foreign = (LD_PRELOAD => $z, PPROF_TMPDIR => '/x', A => 'b');
$r = launch(['--no-tcmalloc', '--', 'env'], env => \%foreign);
is($env->($r), "LD_PRELOAD=$z\nPPROF_TMPDIR=/x",
	"others' preloads, and pprof's own variables, stay");
like($r->{out}, qr/^A=b$/m, 'and all else');

$r = Debug::Nginx::run_cmd(['env'], env => { %foreign,
	PPROF_LISTEN => "unix:$dir/by-hand",
	LD_PRELOAD => "$z:$dir/libpprof.so $z" });
is($env->($r), "LD_PRELOAD=$z $z\nPPROF_TMPDIR=/x", 'preloaded by hand');

$r = launch(['--children', '--no-tcmalloc', '--', 'env']);
like($env->($r), qr/^LD_PRELOAD=\S+libpprof.so.1\nPPROF_CHILDREN=1\n/,
	'--children');

# with many entries, each of them is there, in its order
my %many = map { sprintf('V%03d', $_) => $_ x 50 } 1 .. 300;
$r = launch(['--no-tcmalloc', '--', $^X, '-e',
	'print map { "$_=$ENV{$_}\n" } sort grep { /^V\d/ } keys %ENV'],
	env => \%many);
is($r->{out}, join('', map { "$_=$many{$_}\n" } sort keys %many),
	'300 variables');

# whose the socket is

SKIP: {
	skip 'not root', 18 if $> != 0;
	my $mask = umask 0;

	for (['', '600 root'], ['-m 0640', '640 root'], ['-g nogroup',
		'660 nogroup'], ['-g 65534 -m 620', '620 nogroup'],
		['-m 0', '0 root'], ['-m 666', '666 root'])
	{
		my ($options, $want) = @$_;

		for my $umask (0, 077, 0777) {
			umask $umask;
			$r = launch([split(/ /, $options), '--', 'sh', '-c',
				"n=0; while [ ! -S $dir/\$\$.s ] && [ \$n -lt 50 ]; do "
				. "sleep 0.1; n=\$((n + 1)); done; sleep 0.1; "
				. "stat -c '%a %G' $dir/\$\$.s"]);
			is($r->{out}, "$want\n", sprintf '"%s", umask %o', $options,
				$umask);
		}
	}

	umask $mask;
}

for (['-m 999', qr/-m wants a mode in octal/], ['-m u+w', qr/-m wants/],
	['-m 01777', qr/-m wants/], ['-g nosuch', qr/no group "nosuch"/],
	['-g 12x', qr/no group "12x"/], ['-m', qr/-m needs a value/])
{
	my ($options, $re) = @$_;
	$r = launch([split(/ /, $options), ($options eq '-m' ? () : 'true')]);
	is($r->{exit}, 2, "$options: status");
	like($r->{err}, $re, "$options: what it says");
}

# what cannot be, program and script

sub runs_without {
	my ($name, $program, $exit, $re, %o) = @_;

	$r = launch([@{ $o{args} // [] }, '--', $program], %o);
	is($r->{exit}, $exit, "$name: runs");
	like($r->{err}, qr/\Approf-run: warning: [^\n]*$re[^\n]*\n\z/,
		"$name: says so, once");
}

SKIP: {
	$p = program('static', $nine, '-static');
	skip 'no static libc', 4 unless defined $p;
	runs_without('static', $p, 9, qr/is linked statically/);
	runs_without('script of a static one', script('s', "#!$p\n"), 9,
		qr/static, the interpreter of \S+, is linked statically/);
}

SKIP: {
	skip 'no go', 2 unless Debug::Nginx::have_bin('go');
	Debug::Nginx::write_file("$dir/g.go",
		"package main\nimport \"os\"\nfunc main() { os.Exit(9) }\n");
	skip 'go builds nothing', 2 if Debug::Nginx::run_cmd(['go', 'build',
		'-o', "$dir/g", "$dir/g.go"], timeout => 120, env => {
		CGO_ENABLED => 0, GOCACHE => "$dir/go", GO111MODULE => 'off' })
		->{exit} != 0;
	runs_without('go', "$dir/g", 9, qr/is linked statically/);
}

for my $san (qw/ address thread /) {
	SKIP: {
		$p = program($san, $nine, "-fsanitize=$san");
		skip "no -fsanitize=$san", 2 unless defined $p;
		# some machines' addresses are too random for it, with us or not
		my $bare = Debug::Nginx::run_cmd([$p]);
		runs_without($san, $p, $bare->{exit}, qr/with a sanitizer/)
			if $bare->{err} eq '';
	}
}

SKIP: {
	skip 'no clang', 2 unless Debug::Nginx::have_bin('clang');
	$p = "$dir/clang";
	skip 'clang has no sanitizer', 2 if Debug::Nginx::run_cmd(['clang',
		'-fsanitize=address', '-o', $p, "$dir/static.c"])->{exit} != 0;
	runs_without('clang, its runtime inside', $p, 9,
		qr/with a sanitizer \(__asan_init\)/);
}

# another libc's loader, and another processor: neither is here to run it

$p = program('musl', $nine, '-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1');
$r = launch(['--', $p]);
is($r->{exit}, Debug::Nginx::run_cmd([$p])->{exit}, 'musl: status');
like($r->{err}, qr/is loaded by \/lib\/ld-musl\S+, which is not glibc's/,
	'musl: says so');

for my $at ([18, 0x08, 'processor'], [4, 1, 'word size']) {
	my ($offset, $byte, $what) = @$at;
	my $text = Debug::Nginx::read_file("$dir/musl");

	substr($text, $offset, 1) = chr $byte;
	Debug::Nginx::write_file("$dir/foreign", $text);
	chmod 0755, "$dir/foreign";
	like(launch(['--', "$dir/foreign"])->{err},
		qr/is for another processor or word size/, "another $what");
}

# a file that ends anywhere is nothing that the look falls over

for my $len (1, 4, 63, 64, 100, 800, 5000) {
	Debug::Nginx::write_file("$dir/cut", substr
		Debug::Nginx::read_file("$dir/musl"), 0, $len);
	chmod 0755, "$dir/cut";
	$r = launch(['--', "$dir/cut"]);
	is($r->{signal}, 0, "$len bytes of a program");
}

# scripts: without a first line, by env, of an interpreter that is not there

is(launch(['--', script('plain', "exit 9\n")])->{exit}, 9, 'no first line');
$r = launch(['--', script('env', "#!/usr/bin/env -S FOO=1 perl\nexit 9\n")]);
is("$r->{exit} $r->{err}", '9 ', 'by env');
is(launch(['--', script('lost', "#!/no/such\n")])->{exit}, 127,
	'no interpreter');

# allocators

SKIP: {
	my ($tcmalloc) = glob '/usr/lib/*/libtcmalloc.so.4';
	skip 'no tcmalloc', 5 unless defined $tcmalloc;

	my $other = "$dir/other.so";
	program('other.so', <<'END', '-shared', '-fPIC');
#include <stddef.h>
#include <string.h>
static char heap[64 << 20] __attribute__((aligned(16)));
static size_t used;
void *malloc(size_t n) {
    size_t *p = (size_t *) (heap + used);
    used += ((n + 15) & ~15ul) + 16; p[0] = n; return p + 2;
}
void free(void *p) { (void) p; }
void *calloc(size_t n, size_t m) { return malloc(n * m); }
void *realloc(void *p, size_t n) {
    void *q = malloc(n);
    if (p) memcpy(q, p, ((size_t *) p)[-2] < n ? ((size_t *) p)[-2] : n);
    return q;
}
END

	runs_without('LD_PRELOAD has an allocator', 'true', 0,
		qr/LD_PRELOAD has an allocator, \S+other\.so: .*does nothing/,
		args => ['--tcmalloc'], env => { LD_PRELOAD => "$z $other" });
	like(launch(['--tcmalloc', '--', 'cat', '/proc/self/maps'])->{out},
		qr/libtcmalloc/, '--tcmalloc');

	$p = program('own', 'void *malloc(unsigned long n) { static char '
		. 'h[1 << 24]; static unsigned long u; u += (n + 31) & ~15ul; '
		. "return h + u; }\nvoid free(void *p) { (void) p; }\n$nine",
		'-rdynamic', '-fno-builtin', '-w');
	runs_without('an allocator of its own', $p, 9,
		qr/brings an allocator, malloc\(\) in the program itself/,
		args => ['--tcmalloc']);
}

# more rights than its caller has

SKIP: {
	skip 'not root', 8 unless $> == 0 && Debug::Nginx::have_bin('setpriv');

	$p = program('secure', $nine);
	chown 0, 0, $p;
	chmod 04755, $p;
	runs_without('setuid', $p, 9, qr/is setuid/, user => $nobody);
	is(launch(['--', $p])->{err}, '', 'setuid: nothing for root');

	chmod 0755, $p;
	SKIP: {
		skip 'no setcap', 2 if Debug::Nginx::run_cmd(['setcap',
			'cap_net_raw+ep', $p])->{exit} != 0;
		runs_without('capabilities', $p, 9, qr/capabilities of its own/,
			user => $nobody);
	}

	# linked with the library: the caller's PPROF_LISTEN is nothing
	$p = program('linked', <<'END', "-L$dir", '-lpprof', "-Wl,-rpath,$dir");
#include <unistd.h>
const char *pprof_version(void);
int main(void) { pprof_version(); usleep(700000); return 9; }
END
	my $orders = { PPROF_LISTEN => "unix:$dir/orders.s",
		PPROF_VERBOSE => 1 };
	my @as = ('setpriv', '--reuid', $nobody, '--regid', $nobody,
		'--clear-groups', $p);

	chmod 0777, $dir;
	like(Debug::Nginx::run_cmd([@as], env => $orders)->{err},
		qr/^pprof: process \d+ listens/, 'linked: its environment counts');
	chown 0, 0, $p;
	chmod 04755, $p;
	$r = Debug::Nginx::run_cmd([@as], env => $orders);
	is($r->{err}, '', 'setuid and linked: it does not');
	is($r->{exit}, 9, 'setuid and linked: runs');
	chmod 0755, $dir;
}

done_testing();

###############################################################################
