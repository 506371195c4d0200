#!/usr/bin/perl

# The benchmarks run, in a mode that takes some seconds and measures nothing,
# and what they print has its place in docs/benchmarks.md: a table there is
# theirs, with the same columns and the same rows.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin;
use lib "$FindBin::Bin/lib";

use Debug::Bench;
use Debug::Nginx;

###############################################################################

my $build = $ENV{DEBUG_BUILD} // "$FindBin::Bin/../build";

plan(skip_all => 'the benchmarks are not built')
	unless -x "$build/t/bench/locks" && -x "$build/pprof-run";

need_bin(qw/ redis-server sqlite3 g++ go /);

my $docs = read_file("$FindBin::Bin/../docs/benchmarks.md");

# Tables of TEXT: of each its head and the first cells of its rows.
sub tables {
	my ($text) = @_;
	my @tables;

	for my $table ($text =~ /((?:^\|.*\n)+)/mg) {
		my ($head, undef, @rows) = split /\n/, $table;
		my @head = map { s/^\s+|\s+$//gr } split /\|/, $head;

		push @tables, { head => join('|', @head[1 .. $#head]),
			rows => [map { /^\| (.*?) *\|/ } @rows] };
	}

	return @tables;
}

my @known = tables($docs);

# Runs one script, and finds its tables in the docs.
sub bench {
	my ($script, @parts) = @_;
	my $name = join ' ', $script, @parts;
	my $r = run_cmd([$^X, "-I$FindBin::Bin/lib",
		"$FindBin::Bin/bench/$script.pl", @parts], timeout => 300,
		env => { BENCH_SHORT => 1, DEBUG_BUILD => $build });

	# 1: a bar is missed, which says nothing in this mode
	cmp_ok($r->{exit}, '<=', 1, "$name: runs") or diag($r->{err});
	is($r->{signal}, 0, "$name: ends by itself");
	is($r->{err}, '', "$name: nothing on stderr");
	like($r->{out}, qr/^\d{4}-\d\d-\d\d, .*, \d+ CPUs(?:, load [\d.]+)?$/m,
		"$name: when and where");

	my @got = tables($r->{out});
	cmp_ok(scalar(@got), '>', 0, "$name: tables");

	for my $table (@got) {
		my ($same) = grep { $_->{head} eq $table->{head} } @known;

		ok($same, "$name: docs/benchmarks.md has \"$table->{head}\"");

		# the numbers in their names say how much was done
		my %has = map { s/[\d.,]+/N/gr => 1 } @{ $same->{rows} // [] };

		is(join("\n", grep { !$has{s/[\d.,]+/N/gr} }
			@{ $table->{rows} }), '', "$name: its rows");
	}

	unlike($r->{out}, qr/\bnan\b|\binf\b/i, "$name: all are numbers");
}

bench('library', $_) for qw/ locks unwind malloc heap programs kinds guest /;

SKIP: {
	skip 'no valgrind, wrk or module', 1
		unless have_bin('valgrind') && have_bin('wrk')
		&& -e "$build/ngx_http_debug_module.so";

	bench('module');
}

is(run_cmd([$^X, "-I$FindBin::Bin/lib", "$FindBin::Bin/bench/library.pl",
	'nothing'])->{exit}, 2, 'a part that is not there');

SKIP: {
	skip 'no chromium', 1
		unless have_bin('/usr/bin/chromium') && have_bin('node')
		&& -e "$build/ngx_http_debug_module.so" && -e "$build/t/app/acs";

	bench('pages');
}

# what is put into the docs: a table takes the place of the one like it

my $dir = temp_dir('docs');

write_file("$dir/docs.md", <<'END');
Words.

2020-01-01, libpprof, here, 1 CPUs, load 0.1

| ns | libc's |
| -- | -----: |
| mutex |   1 |

MISSED: mutex: 9 ns

More words.

| ms | other |
| -- | ----: |
| it |     3 |
END

my $paste = run_cmd([$^X, "-I$FindBin::Bin/lib",
	"$FindBin::Bin/bench/paste.pl", "$dir/docs.md"], stdin => <<'END');
module: building
2021-02-03, libpprof, there, 2 CPUs, load 0.2

| ns     | libc's |
| ------ | -----: |
| mutex  |      2 |
| rwlock |      4 |

ok: mutex: 0.1 ns
ok: rwlock: 0.2 ns

END

is($paste->{exit}, 0, 'paste: exit status') or diag($paste->{err});
is(read_file("$dir/docs.md"), <<'END', 'paste: only what was measured');
Words.

2021-02-03, libpprof, there, 2 CPUs, load 0.2

| ns     | libc's |
| ------ | -----: |
| mutex  |      2 |
| rwlock |      4 |

ok: mutex: 0.1 ns
ok: rwlock: 0.2 ns

More words.

| ms | other |
| -- | ----: |
| it |     3 |
END

$paste = run_cmd([$^X, "-I$FindBin::Bin/lib",
	"$FindBin::Bin/bench/paste.pl", "$dir/docs.md"],
	stdin => "| new | x |\n| --- | -: |\n| y | 1 |\n");
isnt($paste->{exit}, 0, 'paste: a table that has no place');
like($paste->{err}, qr/no place.*new/, 'paste: says which');

done_testing();

###############################################################################
