#!/usr/bin/perl

# Allocators that a program is linked with: as a shared library they are
# sampled like libc's, and where they are inside, in the program's own file,
# the answer says which one it is and what to do.

###############################################################################

use warnings;
use strict;

use Test::More;

use lib 't/lib';
use Debug::Nginx;
use Debug::App;
use Debug::Heap;

###############################################################################

my $dir = Debug::Nginx::temp_dir('brings');
my $build = $ENV{DEBUG_BUILD} // 'build';

plan(skip_all => 'no compiler')
	unless Debug::Nginx::have_bin('g++') && Debug::Nginx::have_bin('gcc');

sub compile {
	my ($name, @args) = @_;
	my $r = Debug::Nginx::run_cmd([@args, '-o', "$dir/$name"], timeout => 300);

	is($r->{exit}, 0, "$name: is compiled") or diag($r->{err});

	return "$dir/$name";
}

# linked, not preloaded: who lives is known as with libc's

my $each = 5000 * 1000;         # t/app/allocate.cc
my @by = qw/ by_malloc by_calloc by_reallocarray by_memalign by_new
	by_new_aligned by_posix_memalign by_realloc_less by_strdup by_vector /;

for my $name (qw/ libjemalloc.so.2 libmimalloc.so.2.0 /) {
	my $path = Debug::Heap::library($name);

	SKIP: {
	skip "no $name", 5 unless defined $path;

	my $linked = compile("with-$name", 'g++', '-O1', '-g',
		'-fno-optimize-sibling-calls', '-pthread', 't/app/allocate.cc',
		'-Wl,--no-as-needed', $path, '-Wl,--as-needed');
	my ($app, $sock) = Debug::Heap::start('entries', dir => $dir,
		options => ['-s', 2048], cmd => [$linked, 'entries']);
	my $heap = Debug::Heap::functions($sock, 'heap');

	is(join(' ', map { "$_: " . ($heap->{$_} // 0) }
		grep { abs(($heap->{$_} // 0) - $each) > 0.1 * $each } @by), '',
		"$name, linked: what lives, by function, within 10 %");
	is(join(' ', grep { /^gone_/ && $heap->{$_} > 0.02 * $each }
		sort keys %$heap), '', "$name, linked: what was freed does not");

	my $r = Debug::Heap::ask($sock, 'heap?debug=1&gc=1');
	is($r->{status}, 200, "$name, linked: gc=1");
	like(Debug::Heap::ask($sock, 'growth?format=folded')->{body},
		qr/by_\w+ \d{6,}$/m, "$name, linked: growth is by who allocated");
	$app->stop();
	}
}

# inside: a malloc() of the program's own, and one name by which it is known

my $own = <<'END';
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>
static char heap[1 << 24];
static size_t used;
void *malloc(size_t n)
{
    size_t at = __atomic_fetch_add(&used, (n + 31) & ~(size_t) 15,
                                   __ATOMIC_RELAXED);
    if (at + n + 16 > sizeof(heap)) return NULL;
    *(size_t *) (heap + at) = n;
    return heap + at + 16;
}
void free(void *p) { (void) p; }
void *calloc(size_t n, size_t m) { return malloc(n * m); }
void *realloc(void *p, size_t n)
{
    char *q = malloc(n);
    for (size_t i = 0; p && q && i < n && i < ((size_t *) p)[-2]; i++)
        q[i] = ((char *) p)[i];
    return q;
}
int MARK(void);
int MARK(void) { return 1; }
int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    puts("ready");
    for ( ;; ) { sleep(1); if (!malloc(10)) return 1; }
}
END

Debug::Nginx::write_file("$dir/own.c", $own);

for (['nobody', qr/has a malloc\(\) of its own/],
	['mallctl', qr/has jemalloc inside: link libjemalloc\.so/],
	['je_mallctl', qr/has jemalloc inside: /],
	['_rjem_malloc', qr/Rust's with jemalloc inside/],
	['mi_malloc', qr/has mimalloc inside: /],
	['MallocExtension_GetNumericProperty', qr/gperftools' tcmalloc inside/],
	['MallocExtension_Internal_SnapshotCurrent', qr/SnapshotCurrent\(kHeap\)/],
	['scudo_malloc', qr/Scudo/])
{
	my ($mark, $says) = @$_;
	my $path = compile("own-$mark", 'gcc', '-O1', "-DMARK=$mark",
		"$dir/own.c");
	my ($app, $sock) = Debug::Heap::start('own', dir => $dir, cmd => [$path]);

	for my $kind (qw/ heap allocs?seconds=1 /) {
		my $r = Debug::Heap::ask($sock, $kind);

		is($r->{status}, 501, "$mark: $kind is not there");
		like($r->{body}, $says, "$mark: $kind says why, and what to do");
	}

	is(Debug::Heap::ask($sock, 'growth')->{status}, 200, "$mark: growth is");
	$app->stop();
}

# and the real ones, in archives; whether the executable exports malloc() says
# whether libstdc++ calls it as well: in any case ours is not

for (['libjemalloc.a', qr/has jemalloc inside: /],
	['libtcmalloc_minimal.a', qr/tcmalloc/])
{
	my ($name, $says) = @$_;
	my $path = Debug::Heap::library($name);

	SKIP: {
	skip "no $name", 3 unless defined $path;

	my $static = compile("with-$name", 'g++', '-O1', '-g', '-pthread',
		't/app/allocate.cc', '-Wl,--whole-archive', $path,
		'-Wl,--no-whole-archive', '-ldl', '-lm');
	my ($app, $sock) = Debug::Heap::start('entries', dir => $dir,
		cmd => [$static, 'entries']);
	my $r = Debug::Heap::ask($sock, 'heap');

	is($r->{status}, 501, "$name: status");
	like($r->{body}, $says, "$name: says which");
	$app->stop();
	}
}

done_testing();

###############################################################################
