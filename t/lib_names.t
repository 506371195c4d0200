#!/usr/bin/perl

# C++ names: short, without blanks and the same in every format; all of them
# with names=full.  Labels only when somebody asks.  Readers that go by lines
# read what comes out.

###############################################################################

use warnings;
use strict;

use Test::More;
use Time::HiRes qw/ sleep /;

use lib 't/lib';
use Debug::Nginx;
use Debug::App;

###############################################################################

need_bin('go');

my $build = Cwd::abs_path($ENV{DEBUG_BUILD} // 'build');
my $dir = temp_dir('names');
my $sock = "$dir/shop.pprof";
my $n = 0;

my $app = Debug::App->start(
	cmd => ["$build/pprof-run", '-l', "unix:$sock", "$build/t/app/shop"],
	ready => { unix => $sock });

###############################################################################

# a C++ program's CPU, waiting, and who lets others wait

my %raw;
$raw{profile} = raw('profile?seconds=2&hz=250');
$raw{block} = raw('block?seconds=4&rate=1');
$raw{mutex} = raw('mutex?seconds=4&rate=1');
$raw{goroutine} = raw('goroutine');

my @names = names($raw{profile});

for my $name ('shop::Ledger::book', 'shop::Order::operator<',
	'shop::Ledger::balance')
{
	ok((grep { $_ eq $name } @names), $name)
		or diag(join "\n", @names);
}

ok((grep { /^shop::Ledger::arrange<shop::Ledger::book::\{lambda.*\}>$/ }
	@names), 'a template with a lambda of a function')
	or diag(join "\n", @names);

for my $kind (sort keys %raw) {
	my @bad = grep { /\s|std::allocator<|__cxx11|\[clone|basic_string</ }
		names($raw{$kind});
	is("@bad", '', "$kind: nothing that nobody writes");

	unlike($raw{$kind}, qr/^\s+\w+:\[/m, "$kind: no labels unless asked");

	my ($stacks, $error) = go_torch($raw{$kind});
	is($error, '', "$kind: go-torch's rules");
	cmp_ok(scalar(keys %$stacks), '>', 0, "$kind: stacks");
	is(join(' ', grep { !/^[^ ]*$/ } map { split /;/ } keys %$stacks), '',
		"$kind: each name whole");
}

my ($stacks) = go_torch($raw{mutex});
ok((grep { /shop::Ledger::(?:book|balance)/ } keys %$stacks),
	'mutex: who holds the lock');

# the same as a C++ programmer would see it in a debugger

my $full = join "\n", names(raw('profile?seconds=1&names=full'));
like($full, qr/^shop::Ledger::book\(std::__cxx11::basic_string<char/m,
	'names=full: parameters');
like($full, qr/::\{lambda\(shop::Order const&, shop::Order const&\)#1\}/,
	'names=full: a lambda');

my $r = ask('profile?seconds=1&names=long');
is($r->{status}, 400, 'names=long');
is($r->{body}, "invalid value for \"names\" - must be short or full\n",
	'names=long: why');

# what was inlined belongs to a class, though nothing mangled says so

SKIP: {
	my $text = ask('profile?seconds=2&hz=250&lines=1&format=folded')->{body};

	skip 'no libdw', 1 unless -x "$build/pprof-lines";
	like($text, qr/;shop::\(anonymous\)::Till::close \(shop\.cc:\d+\)/,
		'inlined: its class');
}

# folded text, svg and dumps of the threads have the same names

like(ask('profile?seconds=1&format=folded')->{body},
	qr/;shop::Ledger::book(?:;|\s)/, 'folded');
like(ask('profile?seconds=1&format=svg')->{body}, qr/shop::Ledger::book/,
	'svg');
like(ask('goroutine?debug=2')->{body}, qr/\tshop::Ledger::\w+\+0x/, 'debug=2');
like(ask('goroutine?debug=2&names=full')->{body},
	qr/\tshop::Ledger::\w+\(/, 'debug=2, names=full');

# labels, for those who ask

like(raw('profile?seconds=1&labels=thread'), qr/thread_id:\[\d+\]/,
	'labels=thread');
like(raw('block?seconds=1&rate=1&labels=object'), qr/object:\[mutex\]/,
	'labels=object');
like(raw('profile?seconds=1&labels=thread,object'), qr/thread_name:\[shop\]/,
	'labels: two');

for my $labels ('color', 'thread,color', 'thread;object', ',') {
	$r = ask("profile?seconds=1&labels=$labels");
	is($r->{status}, 400, "labels=$labels");
	like($r->{body}, qr/^invalid value for "labels" - must be /,
		"labels=$labels: why");
}

$app->kill('KILL');
$app->wait();

# whoever the agent is, it finds the C++ runtime's demangler: that of a program
# which loads the library, and that of one that was started by it

for my $env ({ LD_PRELOAD => "$build/libpprof.so" }, {}) {
	my $how = %$env ? 'preloaded' : 'pprof-run';

	$sock = "$dir/$how.pprof";
	my @run = %$env ? () : ("$build/pprof-run", '-l', "unix:$sock");
	$app = Debug::App->start(cmd => [@run, "$build/t/app/shop"],
		env => { %$env, PPROF_LISTEN => "unix:$sock" },
		ready => { unix => $sock });

	my $text = ask('profile?seconds=2&hz=250&format=folded')->{body};
	like($text, qr/;shop::Ledger::arrange</, "$how: names");
	unlike($text, qr/_Z/, "$how: none of them mangled");
	$app->kill('KILL');
	$app->wait();
}

# what a JIT made has the names that it wrote; without them the profile says
# where they would come from

write_file("$dir/burn.js", <<'EOF');
function inner(n) { let s = 0; for (let i = 0; i < n; i++) s += Math.sqrt(i); return s; }
function outer() { return inner(1e6); }
for (;;) outer();
EOF

SKIP: {
	skip 'no node', 3 unless have_bin('node');

	for my $args ([], ['--perf-basic-prof']) {
		$sock = "$dir/node" . @$args . '.pprof';
		my $node = Debug::App->start(
			cmd => ["$build/pprof-run", '-l', "unix:$sock", 'node', @$args,
				"$dir/burn.js"],
			cwd => $dir, ready => { unix => $sock });

		# compiled by now
		sleep 1;
		my $text = raw('profile?seconds=1');

		if (@$args) {
			my ($name) = grep { /inner|outer/ } names($text);
			like($name // '', qr/^\S*\*?(?:inner|outer)_\S*burn\.js:\d/, 'node');

		} else {
			like($text, qr!names come from /tmp/perf-PID\.map!,
				'node: where names would come from');
		}

		unlink '/tmp/perf-' . $node->pid() . '.map';
		$node->kill('KILL');
		$node->wait();
	}
}

done_testing();

###############################################################################

sub ask { return http_get("/debug/pprof/$_[0]", unix => $sock, timeout => 30) }

sub raw {
	my $r = ask($_[0]);
	is($r->{status}, 200, $_[0]) or diag($r->{body});
	write_file("$dir/" . ++$n, $r->{body});
	return go_pprof('-raw', "$dir/$n")->{out};
}

# The names of a raw listing's locations, whole.

sub names {
	my ($locations) = $_[0] =~ /^Locations\n(.*)^Mappings/ms or return;
	my %seen;
	return grep { !$seen{$_}++ } map { s/ \S*:\d+(?::\d+)? s=\d+.*//r }
		map { /^ *\d+: 0x[0-9a-f]+ (?:M=\d+ )?(.*)/ ? $1
			: /^ +(\S.* s=\d+.*)/ ? $1 : () } split /\n/, $locations;
}

# What go-torch makes of a raw listing: its stacks with their first number, and
# what it says when it stops.
# Source: https://github.com/uber-archive/go-torch, pprof/parser.go.

sub go_torch {
	my ($state, $columns, %name, @records) = ('ignore', 0);

	for (map { s/^\s+|\s+$//gr } split /\n/, $_[0]) {
		if ($state eq 'ignore') {
			$state = 'header' if /^Samples/;

		} elsif ($state eq 'header') {
			$columns = split / /;
			$state = 'samples';

		} elsif ($state eq 'samples') {
			if (/^Locations/) {
				$state = 'locations';
				next;
			}

			next if /bytes:\[/;
			my @parts = split /:/, $_, -1;
			return ({}, "malformed sample line: $_") if @parts != 2;
			my ($values, $ids) = map { [split] } @parts;
			return ({}, "not a number: $_")
				if grep { !/^-?\d+$/ } @$values, @$ids;
			return ({}, "different sample count: $_") if @$values != $columns;
			push @records, [$values, $ids];

		} elsif ($state eq 'locations') {
			last if /^Mappings/;
			my @parts = split;

			if (@parts < 4) {
				next if @parts == 2 || (@parts == 3
					&& $parts[2] =~ /^(?:M|s)=/);
				return ({}, "malformed location line: $_");
			}

			my $id = $parts[0] =~ s/:$//r;
			$name{$id} = $parts[2] =~ /^M=/ ? $parts[3] : $parts[2];
		}
	}

	return ({}, 'ended before the locations') if $state ne 'locations';

	my %stacks;
	for (@records) {
		my ($values, $ids) = @$_;
		$stacks{join ';', map { $name{$_} // "missing-function-$_" }
			reverse @$ids} += $values->[0];
	}

	return (\%stacks, '');
}

###############################################################################
