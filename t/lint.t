#!/usr/bin/perl

# The rules of style that a machine can check: what the sources look like,
# which room knows which, what the built files export.

###############################################################################

use warnings;
use strict;

use File::Find ();
use Test::More;

use lib 't/lib';
use Debug::Nginx;

###############################################################################

my $build = $ENV{DEBUG_BUILD} // 'build';
my %text;

File::Find::find({ no_chdir => 1, wanted => sub {
	$File::Find::prune = 1 if /node_modules$/;
	return unless -f && /\.(?:c|cc|h|js|mjs|css|sh|pl|pm|t|md|in)$|
		(?:Makefile|config|sampleize|README|CHANGES)$/x;
	return if m!/corpus/!;
	$text{$_} = read_file($_);
} }, qw/ build.sh config docs ngx_module profiler t README.md CHANGES /);

my @c = grep { /\.(?:c|cc|h)$/ } sort keys %text;
my @halves = grep { m!^(?:ngx_module|profiler)/|\.(?:c|h)$! && !/\.(md|t)$/ }
	sort keys %text;

cmp_ok(scalar(@c), '>', 100, 'the sources are found');

# Lines of FILES for which BAD says so, with $_ the line.
sub lines {
	my ($name, $files, $bad) = @_;
	my @found;

	for my $file (@$files) {
		my $n = 0;

		for (split /\n/, $text{$file}) {
			$n++;
			push @found, "$file:$n" if $bad->();
		}
	}

	is(join("\n", @found), '', $name);
}

# what it looks like

lines('no space at the end of a line', [sort keys %text], sub { /[ \t]+$/ });

lines('no tab', [grep { !/\.(?:t|md|pl)$|Makefile$/ } sort keys %text],
	sub { /\t/ });

# shell has messages that are one line on the screen too
lines('80 columns', [grep { !/\.(?:json)$/ } @halves], sub {
	my $line = $_;
	utf8::decode($line);
	length $line > 80 && $line !~ /^ *(?:\|\| |.*\) *)?(?:die|warn|say) ["']/
		&& $line !~ /&& die |^unix:.*\) ;;|^\*\) die/;
});

lines('no //', [grep { !/\.cc$/ } @c], sub { m!^\s*//|[;{})]\s*//\s! });

# the program's locale may write a comma
lines('no %f in what a machine reads', [grep { m!^profiler/agent/(?:encode|charts)/! }
	@c], sub { /"[^"]*%[-+ #0]*[\d*]*(?:\.[\d*]+)?[efg][^"]*"/ && !/\* / });

is(join(' ', grep { $text{$_} !~ m!\A\s*/\*! } grep { /\.h$/ }
	grep { !/^t/ } @c), '', 'each header begins with what it is for');

is(join(' ', grep { $text{$_} ne '' && $text{$_} !~ /\n\z/ }
	sort keys %text), '', 'the last line ends');

# the names of things

my %seen;
is(join(' ', grep { $seen{m!([^/]+)$! && $1}++ }
	grep { m{^profiler/(?!agent/kinds/).*\.c$} } @c), '',
	'a file of the library has a name of its own, but for kinds');

is(join(' ', grep { m!^ngx_module/[^/]*$! && !/ngx_http_debug_\w+\.[ch]$/ }
	@c), '', 'ngx_module/: the prefix is the folder');

lines('ngx_module/: each function has the prefix',
	[grep { m!^ngx_module/! } @c],
	sub { /^(?!ngx_http_debug(?:_|\(ngx_conf_t)|typedef\b|return\b)[a-z]\w*\(/ });

my @kinds = $text{'profiler/agent/kinds/kind.h'} =~ /^    X\((\w+), /mg;
cmp_ok(scalar(@kinds), '>', 9, 'kinds are found');

for my $kind (@kinds) {
	# thread is goroutine by its own name
	my $name = $kind eq 'thread' ? 'goroutine' : $kind;
	my ($row) = ($text{"profiler/agent/kinds/$name.c"} // '')
		=~ /^const struct pprof_kind pprof_kind_\Q$kind\E = (\{.*?^\};)/ms;
	like($row, qr/PPROF_KIND\(\Q$kind\E\).*\.about = "/s,
		"kind $kind: path, file and symbol have one name");
}

# what the module's tables have, and the docs

my @rows = $text{'ngx_module/ngx_http_debug_kinds.c'}
	=~ /^    \{ ngx_string\("(\w+)"\),\s*([A-Z_|\s0]+),/mg;
my %flags = @rows;
my @names = @rows[grep { !($_ % 2) } 0 .. $#rows];
cmp_ok(scalar(@names), '>', 9, 'the module has kinds');

my $profiles = join ' ', $text{'docs/profiles.md'} =~ /^## (.*)$/mg;
is(join(' ', grep { $profiles !~ /\b$_\b/ } @names), '',
	'each kind has a section in docs/profiles.md');

my ($default) = $text{'docs/directives.md'}
	=~ /^## debug_pprof_kinds\n.*?^\| \*\*Default:\*\* \| `(.*?)`/ms;
is($default, join(' ', @names), 'docs/directives.md: the kinds, in their order');

my ($kept) = $text{'docs/directives.md'} =~ /^\| `kinds=` \| .*? of (.*?),? separated/m;
is(join(' ', sort $kept =~ /\w+/g),
	join(' ', sort grep { $flags{$_} =~ /KIND_KEPT/ } @names),
	'docs/directives.md: the kinds that can be kept');

my @directives = $text{'ngx_module/ngx_http_debug_module.c'}
	=~ /^    \{ ngx_string\("(debug\w*)"\),/mg;
cmp_ok(scalar(@directives), '>', 11, 'the module has directives');
is(join(' ', sort $text{'docs/directives.md'} =~ /^## (debug\w*)$/mg),
	join(' ', sort @directives), 'docs/directives.md: every directive');

# who may know whom; the guest knows nobody

my %knows = (
	'agent/front' => [qw/ agent charts kinds encode /],
	'agent/charts' => [qw/ agent kinds encode /],
	'agent/kinds' => [qw/ agent encode symbols guest /],
	'agent/encode' => [qw/ symbols /],
	# a header that is all there is to it
	'agent/symbols' => [qw! guest/raw\.h !],
	guest => [],
	# headers without libc, for everybody
	base => [],
	run => [qw/ agent front guest symbols /],
);

for my $room (sort keys %knows) {
	my $allowed = join '|', $room =~ s!.*/!!r, 'base', @{$knows{$room}};
	$allowed .= '|pprof\.h|inside\.h|outside\.h' if $room eq 'agent/front';

	lines("$room knows only what it may",
		[grep { m!^profiler/$room/! } @c],
		sub { /^#include "/ && !/^#include "(?:$allowed)(?:\/|")/ });
}

# the module's files, as docs/architecture.md draws them from the roof down: a
# file calls what stands below it

my ($house) = $text{'docs/architecture.md'} =~ /^((?:    (?:\w+[ .]*)+\n){5,})/m;
my (%floor, %of, @up);
my $at = 0;

for my $line (split /\n/, $house // '') {
	$floor{$_} = $at for $line =~ /\w+/g;
	$at++;
}

for my $file (grep { m!^ngx_module/.*\.c$! } @c) {
	my ($name) = $file =~ /ngx_http_debug_(\w+)\.c$/;

	# what it has for others: functions and variables that are not static
	$of{$_} = $name for $text{$file} =~
		/^(?!static\b|extern\b)(?:\w[\w \t]*[ *\n])?(ngx_http_debug_\w+)(?=\(|\[|;| =)/mg;
}

delete $of{ngx_http_debug_module};      # its address is everybody's tag

for my $file (grep { m!^ngx_module/.*\.c$! } @c) {
	my ($name) = $file =~ /ngx_http_debug_(\w+)\.c$/;
	my $code = $text{$file};
	my %called;

	$code =~ s!/\*.*?\*/|"(?:[^"\\]|\\.)*"!!gs;
	$called{$of{$_} // $name} = 1 for $code =~ /\b(ngx_http_debug_\w+)/g;
	delete $called{$name};

	push @up, map { "$name calls $_" } grep {
		($floor{$_} // -1) <= ($floor{$name} // 99) } sort keys %called;
}

is(join(' ', grep { !defined $floor{$_} } map { m!ngx_module/ngx_http_debug_(\w+)\.c$! }
	@c), '', 'docs/architecture.md has every file of the module');
cmp_ok(scalar(grep { $_ ne 'module' } values %of), '>', 150,
	'what they have for each other is found');
is(join("\n", @up), '', 'no file of the module calls what is not below it');

# what the docs name

my %there = map { $_ => 1 } keys %text;
is(join(' ', grep { !$there{$_} } map { /\bt\/\w+\.t\b/g }
	map { $text{$_} } grep { /\.md$/ } sort keys %text), '',
	'every test that the docs name is there');

# versions: CHANGES says which it is; libpprof.pc, the man pages and Debian's
# changelog are made of that and of pprof.h

my ($version) = read_file('CHANGES') =~ /^Changes with (\S+)$/m;
my ($major) = ($version // '') =~ /^(\d+)\.\d+\.\d+$/;

is(($text{'profiler/include/pprof.h'} =~ /PPROF_VERSION\s+"(.*)"/)[0], $version,
	'pprof.h has the version of CHANGES');
is(($text{'ngx_module/ngx_http_debug_prometheus.h'}
	=~ /NGX_HTTP_DEBUG_VERSION\s+"(.*)"/)[0], $version, 'so has the module');
is(join(' ', sort map { /-soname,libpprof\.so\.(\d+)/ } $text{'profiler/Makefile'}),
	$major, 'the soname is its first number');
is(join(' ', grep { $_ ne "libpprof$major" }
	read_file('docs/debian/control') =~ /\b(libpprof\d+)\b/g), '',
	'and the package is named for it');
like($text{'profiler/run/pprof-run.c'}, qr/"libpprof\.so\.$major", "libpprof\.so"/,
	'pprof-run looks for that');

# what is said of a wrong word: of which directive, and what is right

is(join("\n", grep { !/\bdirective\b|it must be|as in|such as/ } map {
	map { join '', /"((?:[^"\\]|\\.)*)"/g }
		$text{$_} =~ /ngx_conf_log_error\(NGX_LOG_EMERG, cf, 0,\s*("invalid [^;]*)/g
	} grep { m!^ngx_module/! } @c), '', '"invalid …" names the directive, or what is right');

lines('no exclamation marks', [grep { m!^(?:ngx_module|profiler)/.*\.c$! } @c],
	sub { /[a-z]!(?:\\n)?"/ });

is(join("\n", grep { /\|\s*\|/ } $text{'docs/clients.md'} =~ /^(\|.*\|)$/mg), '',
	'docs/clients.md: no cell is empty');

# what is exported

SKIP: {
	skip 'no nm', 4 unless have_bin('nm') && -e "$build/libpprof.so";

	my $nm = sub {
		my $r = run_cmd(['nm', '--defined-only', @_]);
		return grep { !/^_(?:init|fini|edata|end|_bss_start)$|^__odr_asan/ }
			$r->{out} =~ /^[0-9a-f]+ [A-TV-Z] (\S+)$/mg;
	};

	my ($api) = $text{'profiler/include/pprof.h'};
	my @api = $api =~ /^PPROF_API [^;(]*?(\w+)\(/mg;

	my @hooks = map { /\bpthread_\w+|\bsem_\w+|\b(?:thrd|mtx|cnd)_\w+|\bsigprocmask/g }
		map { $text{"profiler/guest/$_.c"} } qw/ locks create mask /;
	push @hooks, $text{'profiler/guest/io.c'} =~ /^ {4}X\((\w+), /mg;
	push @hooks, $text{'profiler/guest/malloc.c'}
		=~ /^(?:EXPORT .*\n|(?:NEW|DELETE|ALIGNED|PAGES)\()(\w+)/mg;
	push @hooks, $text{'profiler/guest/mappings.c'} =~ /^EXPORT .*\n(\w+)/mg;
	push @hooks, qw/ prctl syscall /,
		$text{'profiler/guest/aside.c'} =~ /^ASIDE\((\w+)/mg;
	my %may = map { $_ => 1 } @api, @hooks;

	my @so = $nm->('-D', "$build/libpprof.so");
	is(join(' ', grep { !$may{$_} } @so), '',
		'libpprof.so: public functions and what it interposes');

	my %has = map { $_ => 1 } @so;
	is(join(' ', grep { !$has{$_} } @api), '',
		'libpprof.so: all of pprof.h');

	is(join(' ', grep { !/^pprof_/ } $nm->('-g', "$build/libpprof.a")), '',
		'libpprof.a: every global has the prefix');

	my $so = "$build/ngx_http_debug_module.so";
	skip 'no module', 1 unless -e $so;

	is(join(' ', grep { !/^ngx_http_debug_|^ngx_module(?:s|_names|_order)$/ }
		$nm->('-D', $so)), '', 'the module: every global has the prefix');
}

done_testing();

###############################################################################
