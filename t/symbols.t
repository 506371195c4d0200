#!/usr/bin/perl

# Names for addresses in shared objects of every kind: with symbols, stripped,
# with a separate debug file, deleted, replaced.

###############################################################################

use warnings;
use strict;

use Test::More;

use Cwd qw/ abs_path /;
use File::Temp qw/ tempdir /;

###############################################################################

my $build = abs_path($ENV{DEBUG_BUILD} // 'build');
my $app = "$build/t/app/names";
my $dir = tempdir('symbols-XXXXXX', TMPDIR => 1, CLEANUP => 1);

chmod 0755, $dir;

###############################################################################

# An object with functions of all kinds; +1 is within, -1 before.

spew("$dir/c.c", <<'EOF_C');
#include <stddef.h>

#define HERE  __attribute__((noinline, noclone))

static int x;

HERE static int hidden(int a) { x += a; return x; }
HERE int exported(int a) { x -= a; return hidden(a) * 3; }
HERE int _under(int a) { x ^= a; return x; }
int under(int a) __attribute__((alias("_under")));
HERE __attribute__((section(".text.other"))) int other(int a) { return a + x; }

/* as handwritten assembly is: no size, no type */
__asm__(
".section .text.asm,\"ax\",@progbits\n"
"asm_label: nop\n nop\n nop\n ret\n"
".globl asm_func\n .type asm_func,@function\n"
"asm_func: nop\n nop\n nop\n ret\n"
".text\n");

/* where the linker's stub for strtol is */
#ifdef __x86_64__
__asm__(
".type stub,@function\nstub: lea strtol@PLT(%rip), %rax\n ret\n"
".size stub, .-stub\n");
const void *stub(void) __attribute__((visibility("hidden")));
#else
#define stub()  ((const void *) hidden)
#endif

extern const char asm_func[];
extern const char asm_label[] __attribute__((visibility("hidden")));

static int nowhere(void) { return x; }
static int (*chosen(void))(void) { return nowhere; }
int indirect(void) __attribute__((ifunc("chosen")));

size_t
addresses(const void **at)
{
	size_t n = 0;

	at[n++] = (const char *) hidden + 1;
	at[n++] = (const char *) exported + 1;
	at[n++] = (const char *) exported;
	at[n++] = (const char *) _under;
	at[n++] = (const char *) other;
	at[n++] = asm_label + 1;
	at[n++] = asm_func + 1;
	at[n++] = (const char *) stub() + 1;

	return n;
}
EOF_C

spew("$dir/cxx.cc", <<'EOF_CXX');
#include <cstddef>
#include <string>
#include <vector>

#define HERE  __attribute__((noinline, noclone))

namespace acs {

struct session {
	int n;
	HERE session(int a) : n(a) { asm volatile(""); }
	HERE int parse(const std::string &s) { asm volatile(""); return n + s.size(); }
	HERE bool operator<(const session &o) const
	{
		asm volatile("");
		return n < o.n;
	}
};

template <typename T> HERE T twice(T a) { asm volatile(""); return a + a; }

namespace { HERE int quiet(int a) { asm volatile(""); return a * 5; } }

}

static volatile int sink;
static const void *volatile in_lambda;

static inline __attribute__((always_inline)) void
mark()
{
#ifdef __x86_64__
	asm volatile("lea 1f(%%rip), %0\n1: nop" : "=r" (in_lambda)); /* AT mark */
#else
	asm volatile("adr %0, 1f\n1: nop" : "=r" (in_lambda));
#endif
}

/* the lambda's code is a function of its own, described within this one */
HERE static int
odd(int n)
{
	auto f = [](int a) __attribute__((noinline)) {
		mark(); /* AT lambda */
		return a * 3 + sink;
	};

	return f(n) + f(n + 1);
}

template <typename F>
static const void *
pointer(F f)
{
	const void *p = nullptr;
	__builtin_memcpy(&p, &f, sizeof(p));
	return p;
}

extern "C" size_t
addresses(const void **at)
{
	acs::session s(1);
	size_t n = 0;

	sink = s.parse("x") + (s < s) + acs::twice(3) + acs::quiet(2);

	at[n++] = pointer(&acs::session::parse);
	at[n++] = pointer(&acs::session::operator<);
	at[n++] = pointer(&acs::twice<int>);
	at[n++] = pointer(&acs::quiet);

	sink = odd(2);
	at[n++] = in_lambda;

	return n;
}
EOF_CXX

run("gcc -O1 -g -fPIC -shared -Wl,--build-id -o $dir/c.so $dir/c.c");
run("g++ -O1 -g -fPIC -shared -Wl,--build-id -Wl,--no-as-needed"
	. " -o $dir/cxx.so $dir/cxx.cc");
run("gcc -O1 -g -fPIC -shared -Wl,--build-id -o $dir/else.so $dir/c.c -DELSE"
	. " -Wl,--defsym=unlike=0");

###############################################################################

# with .symtab

my @n = names('', 'c.so');

is($n[0], '0 1 hidden | hidden', 'static function');
is($n[1], '0 1 exported | exported', 'global function');
is($n[2], '0 0 exported | exported', 'its first instruction');
is($n[3], '0 0 under | under', 'of two names the one without underscore');
is($n[4], '0 0 other | other', 'function in a section of its own');
is($n[5], '0 1 asm_label | asm_label', 'label without type and size');
is($n[6], '0 1 asm_func | asm_func', 'function without size');

my $x86 = `uname -m` =~ /x86_64/;

SKIP: {
	skip 'stubs are named on x86-64 only', 2 unless $x86;

	is($n[7], '0 1 strtol@plt | strtol@plt', "the linker's stub");

	run("gcc -O1 -fPIC -shared -Wl,-z,now -Wl,-z,ibtplt -fcf-protection"
		. " -o $dir/ibt.so $dir/c.c");

	is((names('', 'ibt.so'))[7], '0 1 strtol@plt | strtol@plt',
		"the linker's stub, for indirect branch tracking");
}

# stripped: .dynsym, then .eh_frame

run("strip --strip-all -o $dir/stripped.so $dir/c.so");

@n = names('', 'stripped.so');

like($n[0], qr/^1 1 stripped\.so\+0x[0-9a-f]+ \| stripped\.so\+0x/,
	'stripped: static function by its start');
is($n[1], '0 1 exported | exported', 'stripped: global function');
is($n[3], '0 0 under | under', 'stripped: alias');
like($n[5], qr/^1 \d+ \[stripped\.so\] \|/,
	'stripped: neither symbol nor frame');
is($n[6], '0 1 asm_func | asm_func', 'stripped: function without size');

SKIP: {
	skip 'stubs are named on x86-64 only', 1 unless $x86;

	is($n[7], '0 1 strtol@plt | strtol@plt', 'stripped: stub');
}

my ($start) = $n[0] =~ /\+0x(\w+)/;

like(`nm $dir/c.so`, qr/^0*$start t hidden$/m, 'the start is the right one');

# a separate debug file

my ($id, $rest) = `readelf -n $dir/c.so` =~ /Build ID: (..)(\S+)/;

run("mkdir -p $dir/root/.build-id/$id");
my $debug = "$dir/root/.build-id/$id/$rest.debug";
run("objcopy --only-keep-debug $dir/c.so $debug");

@n = names("-d $dir/root", 'stripped.so');

is($n[0], '0 1 hidden | hidden', 'debug file: static function');
is($n[4], '0 0 other | other', 'debug file: another section');
is($n[5], '0 1 asm_label | asm_label', 'debug file: label');

# one of another build under that name

run("objcopy --only-keep-debug $dir/else.so $debug");

like((names("-d $dir/root", 'stripped.so'))[0],
	qr/^1 1 stripped\.so\+0x$start /,
	'debug file of another build is not used');

run("head -c 1000 $dir/c.so > $debug");

like((names("-d $dir/root", 'stripped.so'))[0],
	qr/^1 1 stripped\.so\+0x$start /,
	'nor is a broken one');

# deleted, replaced: with and without the privilege to open the old file

foreach my $user ('', 'nobody') {
	my $as = $user || 'root';

	SKIP: {
		skip 'not root', 7 if $>;

		my @m = gone($user, 'rm FILE');

		like($m[1], qr/^0 1 exported \|/, "deleted: global function, $as");
		like($m[0], $user ? qr/^1 1 gone\.so\+0x$start / : qr/^0 1 hidden /,
			"deleted: static function, $as");
		like($m[6], qr/^0 1 asm_func \|/, "deleted: no size, $as");

		@m = gone($user, "cp $dir/else.so FILE.new; mv FILE.new FILE");

		like($m[1], qr/^0 1 exported \|/, "replaced: global function, $as");
		like($m[0], $user ? qr/^1 1 gone\.so\+0x$start / : qr/^0 1 hidden /,
			"replaced: static function, $as");

		# a fifo would block who opens it

		@m = gone($user, 'rm FILE; mkfifo FILE; chmod 666 FILE');

		like($m[1], qr/^0 1 exported \|/, "fifo in its place, $as");

		@m = gone($user, 'head -c 2000 FILE > FILE.new; mv FILE.new FILE');

		like($m[1], qr/^0 1 exported \|/, "broken file in its place, $as");
	}
}

# the program itself: /proc/self/exe leads to it for whoever it runs as

foreach my $user ('', 'nobody') {
	my $as = $user || 'root';

	SKIP: {
		skip 'not root', 3 if $>;

		is((gone($user, 'true'))[8], '0 1 main | main', "the program, $as");
		is((gone($user, 'rm EXE'))[8], '0 1 main | main',
			"the program, deleted, $as");
		is((gone($user, "cp $dir/else.so EXE.new; mv EXE.new EXE"))[8],
			'0 1 main | main', "the program, replaced, $as");
	}
}

# the build id is that of what runs, whatever the file is by now

my ($whole) = `readelf -n $dir/c.so` =~ /Build ID: (\S+)/;
my ($other) = `readelf -n $dir/else.so` =~ /Build ID: (\S+)/;

isnt($whole, $other, 'two builds');
is((gone('', 'true', '-b'))[0], "$whole $dir/gone/gone.so", 'build id');
is((gone('', 'rm FILE', '-b'))[0], "$whole $dir/gone/gone.so deleted",
	'build id: deleted');
is((gone('', "cp $dir/else.so FILE.new; mv FILE.new FILE", '-b'))[0],
	"$whole $dir/gone/gone.so deleted", 'build id: replaced');

# without build id: by the inode

run("gcc -O1 -g -fPIC -shared -Wl,--build-id=none -o $dir/noid.so $dir/c.c");

is((names('', 'noid.so'))[0], '0 1 hidden | hidden', 'no build id');

# by its debug link: beside the object, below .debug/, below the root; where
# nothing has a build id, the checksum decides

unlink $debug;
run("mkdir -p $dir/.debug $dir/root$dir");

for my $place ($dir, "$dir/.debug", "$dir/root$dir") {
	for my $built ('c', 'noid') {
		my $file = "$place/linked.debug";
		run("objcopy --only-keep-debug $dir/$built.so $file");
		run("cp $dir/$built.so $dir/linked.so && strip $dir/linked.so"
			. " && objcopy --add-gnu-debuglink=$file $dir/linked.so");

		my $where = ($place =~ s!^\Q$dir\E!DIR!r) . ", $built";
		is((names("-d $dir/root", 'linked.so'))[0], '0 1 hidden | hidden',
			"debug link: $where");

		like((names("-d $dir/root -l $build/pprof-lines", 'linked.so'))[0],
			qr/ \| - c\.c:\d+$/, "debug link: lines, $where");

		# what stands there now is another
		run("objcopy --only-keep-debug $dir/else.so $file");
		unlike((names("-d $dir/root", 'linked.so'))[0], qr/hidden/,
			"debug link: not another's, $where");
		unlike((names("-d $dir/root -l $build/pprof-lines", 'linked.so'))[0],
			qr/ \| - /, "debug link: nor its lines, $where");
		unlink $file;
	}
}

# a symbol table packed into the object, as Fedora has it

SKIP: {
	skip 'no xz', 2 if system('xz --version >/dev/null 2>&1') != 0;

	run("cp $dir/c.so $dir/mini && strip --strip-debug $dir/mini"
		. " && xz -kf $dir/mini && cp $dir/c.so $dir/packed.so"
		. " && strip $dir/packed.so"
		. " && objcopy --add-section .gnu_debugdata=$dir/mini.xz"
		. " $dir/packed.so");

	is((names("-x -d $dir/root", 'packed.so'))[0], '0 1 hidden | hidden',
		'packed symbols: in the agent');
	like((names("-d $dir/root", 'packed.so'))[0], qr/^1 1 packed\.so\+0x/,
		'packed symbols: nothing is loaded into a program for them');
}

# C++: the program is C, its object brings the runtime

@n = names('', 'cxx.so');

like($n[0], qr/^0 0 acs::session::parse \| _ZN3acs7session5parseE\S+$/,
	'C++: method');
like($n[1], qr/^0 0 acs::session::operator< \| _ZNK\S+$/,
	'C++: operator');
like($n[2], qr/^0 0 acs::twice<int> \| _Z\S+$/, 'C++: template');
like($n[3], qr/^0 0 acs::\(anonymous\)::quiet \| _ZN\S+$/,
	'C++: anonymous namespace');

# C++ without a runtime to ask: plain forms, the others mangled

run("g++ -O1 -fPIC -shared -static-libstdc++ -static-libgcc"
	. " -Wl,--exclude-libs,ALL -o $dir/cxxs.so $dir/cxx.cc");

@n = names('', 'cxxs.so');

SKIP: {
	skip 'a sanitizer brings a demangler', 3
		if `ldd $app` =~ /lib[at]san|libstdc\+\+/;

	like($n[0], qr/^0 0 acs::session::parse \| _ZN3acs7session5parseE\S+$/,
		'C++ without runtime: method');
	like($n[2], qr/^0 0 (_Z\S+) \| \1$/, 'C++ without runtime: template');
	like($n[3], qr/^0 0 acs::\(anonymous\)::quiet \| _ZN\S+$/,
		'C++ without runtime: anonymous namespace');
}

# lines: in the file, of what was inlined there, in a separate debug file, of
# a file that is gone

my %at;
for my $source (qw/ c.c cxx.cc /) {
	my $number;
	for (split /\n/, slurp("$dir/$source")) {
		$number++;
		$at{$1} = $number if m!/\* AT (\w+) \*/!;
		$at{$1} = $number if /^(?:HERE )?.*?\b(hidden|exported|quiet|parse)\(.*\{/;
	}
}

@n = names("-l $build/pprof-lines", 'c.so');

is($n[0], "0 1 hidden | hidden | - c.c:$at{hidden}", 'lines: static function');
is($n[2], "0 0 exported | exported | - c.c:$at{exported}",
	'lines: global function');
like($n[8], qr/^lines of 5 of 8 addresses/, 'lines: how many');

@n = names("-l $build/pprof-lines", 'cxx.so');

like($n[0], qr/ \| - cxx\.cc:$at{parse}$/, 'lines: C++');
like($n[4], qr/^0 \d+ odd::\{lambda#1\} \| \S+ \| mark cxx\.cc:\d+ \| - cxx\.cc:$at{lambda}$/,
	'lines: C++, inlined into a lambda');

is((names("-l $build/pprof-lines", 'stripped.so'))[1],
	'0 1 exported | exported', 'lines: stripped, so there are none');

run("objcopy --only-keep-debug $dir/c.so $debug");

@n = names("-d $dir/root -l $build/pprof-lines", 'stripped.so');
is($n[0], "0 1 hidden | hidden | - c.c:$at{hidden}",
	'lines: a separate debug file');

# compressed, as Debian's are

run("objcopy --only-keep-debug --compress-debug-sections $dir/c.so $debug");

@n = names("-d $dir/root -l $build/pprof-lines", 'stripped.so');
is($n[0], "0 1 hidden | hidden | - c.c:$at{hidden}",
	'lines: a separate debug file, compressed');

# by newer tools, and by older ones

for my $how ('zstd', 'zlib-gnu') {
	SKIP: {
		skip "objcopy does not know $how", 1
			if system("objcopy --only-keep-debug"
				. " --compress-debug-sections=$how $dir/c.so $debug"
				. " 2>/dev/null") != 0;

		@n = names("-d $dir/root -l $build/pprof-lines", 'stripped.so');

		# an older libelf cannot, and then it is said
		if ($how eq 'zstd' && $n[0] !~ / \| - /) {
			like($n[8], qr/packed in a way \(zstd\?\)/, 'lines: zstd');
			next;
		}

		is($n[0], "0 1 hidden | hidden | - c.c:$at{hidden}",
			"lines: a separate debug file, $how");
	}
}

run("objcopy --only-keep-debug $dir/else.so $debug");

@n = names("-d $dir/root -l $build/pprof-lines", 'stripped.so');
is($n[1], '0 1 exported | exported', 'lines: not those of another build');

SKIP: {
	skip 'not root', 2 if $>;

	my @m = gone('', 'rm FILE', "-l $build/pprof-lines");
	is($m[0], "0 1 hidden | hidden | - c.c:$at{hidden}", 'lines: deleted');

	@m = gone('', "cp $dir/else.so FILE.new; mv FILE.new FILE",
		"-l $build/pprof-lines");
	is($m[0], "0 1 hidden | hidden | - c.c:$at{hidden}", 'lines: replaced');
}

# by other compilers' ways: DWARF 4, and clang without .debug_aranges

for (['DWARF 4', 'gcc -gdwarf-4'], ['clang', 'clang -g'],
	['split DWARF', 'gcc -g -gsplit-dwarf'])
{
	my ($name, $cc) = @$_;

	SKIP: {
		skip "$name: no clang", 1
			if $cc =~ /^clang/ && system('clang --version > /dev/null 2>&1');

		run("cd $dir && $cc -O1 -fPIC -shared -Wl,--build-id"
			. " -o $dir/other.so $dir/c.c 2> /dev/null");
		like((names("-l $build/pprof-lines", 'other.so'))[2],
			qr/^0 0 exported \| exported \| - c\.c:$at{exported}$/,
			"lines: $name");
	}
}

# all of that as binutils has it, at addresses anywhere in real code

SKIP: {
	skip 'no addr2line', 1 if system('addr2line -v > /dev/null 2>&1');

	my $file = "$build/libpprof.so";
	my ($id) = `readelf -n $file` =~ /Build ID: (\S+)/;
	my ($start, $size) = `readelf -SW $file`
		=~ / \.text +PROGBITS +(\w+) \w+ (\w+)/;

	srand(1);
	my @asked = map { hex($start) + int rand hex $size } 1 .. 1000;

	spew("$dir/question", "o $id 0\np $file\n"
		. join '', map { sprintf "a %x\n", $_ } @asked);
	spew("$dir/addresses", join '', map { sprintf "%x\n", $_ } @asked);

	my (@texts, @ours, @theirs, $frames);

	for (`$build/pprof-lines < $dir/question`) {
		if (/^s (?:.*\/)?(.*)/) {
			push @texts, $1;

		} elsif (/^a (\d+)/) {
			$frames = $ours[$1] = [];

		} elsif (/^f (\d+) \d+ \S+ (\d+)/) {
			push @$frames, "$texts[$2]:$1";
		}
	}

	for (`addr2line -aie $file < $dir/addresses`) {
		if (/^0x/) {
			push @theirs, $frames = [];

		} elsif (/^(?:.*\/)?([^\/]*?):(\d+|\?)/) {
			push @$frames, "$1:$2" if $1 ne '??';
		}
	}

	# where that has a file and no line, there is nothing to agree on
	my @known = grep { @{ $theirs[$_] } && "@{ $theirs[$_] }" !~ /\?/ }
		0 .. $#asked;
	my @same = grep { "@{ $theirs[$_] }" eq "@{ $ours[$_] // [] }" } @known;
	my $n = grep { @{ $theirs[$_] } > 1 } @known;

	ok(@known > 950 && $n > 100 && @same >= 0.99 * @known,
		"lines: of " . @known . " addresses, $n with inlined functions, "
		. @same . ' as addr2line has them');
}

# several at once

@n = names('', 'c.so', 'cxx.so', 'stripped.so');

is(scalar(@n), 8 + 5 + 8, 'several objects');
is($n[0], '0 1 hidden | hidden', 'the first');
like($n[8], qr/acs::session::parse/, 'the second');
is($n[14], '0 1 exported | exported', 'the third');

done_testing();

###############################################################################

sub spew {
	my ($file, $text) = @_;

	open my $fh, '>', $file or die "$file: $!\n";
	print $fh $text;
	close $fh;
}

sub slurp {
	my ($file) = @_;

	open my $fh, '<', $file or die "$file: $!\n";
	local $/;
	return scalar <$fh>;
}

sub run {
	my ($command) = @_;

	system($command) == 0 or die "failed: $command\n";
}

sub names {
	my ($options, @objects) = @_;

	$options = "-d $dir/none $options" unless $options =~ /-d/;

	return map { chomp; $_ }
		`$app $options @{[ map { "$dir/$_" } @objects ]}`;
}

# The names in an object whose file is changed after it was loaded.

sub gone {
	my ($user, $command, $options) = @_;

	my $place = "$dir/gone";
	run("rm -rf $place; mkdir $place; chmod 777 $place");
	run("cp $dir/c.so $place/gone.so; cp $app $place/names");

	$command =~ s/FILE/$place\/gone.so/g;
	$command =~ s/EXE/$place\/names/g;

	my $line = "$place/names -d $dir/none @{[ $options // '' ]}"
		. " -c '$command' $place/gone.so self";
	$line = "setpriv --reuid $user --clear-groups $line" if $user;

	return map { chomp; $_ } `$line`;
}

###############################################################################
