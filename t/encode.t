#!/usr/bin/perl

# What libpprof encodes, as Go's pprof reads it.

###############################################################################

use warnings;
use strict;
no warnings 'portable';

use Test::More;

use File::Temp qw/ tempdir /;

###############################################################################

my $build = $ENV{DEBUG_BUILD} // 'build';
my $app = "$build/t/app/encode";

plan(skip_all => 'no go tool pprof')
	unless `go tool pprof -help 2>&1` =~ /usage/i;

my $dir = tempdir('encode-XXXXXX', TMPDIR => 1, CLEANUP => 1);

# Go's pprof keeps its downloads and settings in $HOME, and searches there
# for binaries by build id.

$ENV{HOME} = $dir;
$ENV{TZ} = 'UTC';

###############################################################################

# profile.proto

is(system("$app proto > $dir/p.pb.gz"), 0, 'written');

my $raw = pprof('-raw', "$dir/p.pb.gz");

like($raw, qr/^PeriodType: cpu nanoseconds\nPeriod: 10000000\n/m, 'period');
like($raw, qr/^Time: 2018-07-16 20:05:42 /m, 'time');
like($raw, qr/^Duration: 30\.0/m, 'duration');
like($raw, qr/^Comment: a comment$/m, 'comment');
like($raw, qr!^samples/count cpu/nanoseconds$!m, 'value types');

# samples

like($raw, qr/^\s+7 +70000000: 1 2 3 $/m, 'equal stacks are one sample');
like($raw, qr/^\s+1\ +10000000:\ \d+\ 3\ \n
	\s+thread:\[worker\ "1"\]\n\s+bytes:\[4096\ bytes\]/mx, 'labels');
is(() = $raw =~ /^\s+-?\d+ +-?\d+: /mg, 5, 'a sample of nothing is left out');

# locations

like($raw, qr/^\s+1: 0x[0-9a-f]+ M=1 encode_leaf /m, 'static function');
like($raw, qr/^\s+2: 0x[0-9a-f]+ M=1 encode_global /m, 'global function');
like($raw, qr/ 0x10 \[unknown\] /m, 'an address without a mapping');
like($raw, qr/ 0x0 lost_samples /m, 'lost samples');

is(scalar(grep { !/ \S+ :0 s=0$/ } $raw =~ /^(\s+\d+: 0x.*)$/mg), 0,
	'every location has a function');

my ($global) = $raw =~ /^\s+2: 0x([0-9a-f]+) /m;

my $before = sprintf('%x', hex($global) - 1);

unlike($raw, qr/^\s+\d+: 0x$before M=1 encode_global /m,
	'an address before a function is not in it');

# mappings

like($raw, qr!^1: 0x\S+ \S*/encode [0-9a-f]{40} \[FN\]!m,
	'the main executable is first, with its build id and functions');

# nothing is left to look up: no binary, no source

my $top = pprof('-top', "$dir/p.pb.gz");

like($top, qr/^File: encode$/m, 'File');
like($top, qr/^Build ID: [0-9a-f]{40}$/m, 'Build ID');
like($top, qr/^Type: cpu$/m, 'Type');
like($top, qr/^Duration: 30\.05s, Total samples = 120ms/m, 'Duration');
like($top, qr/^\s+80ms 66\.67% 66\.67% +80ms 66\.67% +encode_leaf$/m, 'leaf');

# the build id is the file's own

my ($id) = `readelf -n $app 2>/dev/null` =~ /Build ID: ([0-9a-f]+)/;

like($top, qr/^Build ID: $id$/m, 'Build ID of the file');

###############################################################################

# gperftools' CPU profile: read by us and by Go's own reader, the same stacks

my @samples = (
	[ 5, 0x401000, 0x402000, 0x403000 ],
	[ 1, 0x401010 ],
	[ 2, 0x401000, 0x402008, 0x403000, 0x402000, 0x403000 ],
	[ 7, 0x401000, 0x402000, 0x403000 ],
	[ 3, 0x401020, 0x401020, 0x403010 ],
);

open my $out, '>:raw', "$dir/legacy" or die "$dir/legacy: $!\n";

print $out pack('J*', 0, 3, 0, 4000, 0);
print $out pack('J*', $_->[0], $#$_, @$_[1 .. $#$_]) for @samples;
print $out pack('J*', 0, 1, 0);
print $out "00400000-00500000 r-xp 00000000 08:01 1234 /opt/acs-daemon\n";

close $out;

is(system("$app convert < $dir/legacy > $dir/c.pb.gz"), 0, 'converted');

# go drops what it takes for the leaf twice; we leave what gperftools gave us

my @ours = grep { !/^3 / } stacks(pprof('-raw', "$dir/c.pb.gz"));
my @gos = grep { !/^3 / }
	stacks(pprof('-raw', '-symbolize=none', "$dir/legacy"));

is_deeply(\@ours, \@gos, 'the same stacks as Go reads');
is(scalar(@ours), 3, 'all of them');
like(pprof('-raw', "$dir/c.pb.gz"), qr/^Period: 4000000$/m, 'period');

is(system("head -c 100 $dir/legacy | $app convert > /dev/null 2>&1") >> 8, 1,
	'a part is refused');

###############################################################################

# what we write for gperftools' Perl client, read by Go's and by that one

my %raw;

foreach my $kind (qw/ cpu heap heapprofile growth contention /) {
	is(system("$app $kind > $dir/$kind"), 0, "$kind: written");

	$raw{$kind} = pprof('-raw', "$dir/$kind");

	like($raw{$kind}, qr!^1: 0x\S+ \S*/encode $id !m, "$kind: build id");
	like($raw{$kind}, qr/^\s+\d+: 0x[0-9a-f]+ M=1 encode_root /m,
		"$kind: its mapping");
}

like($raw{cpu}, qr/^Period: 10000000$/m, 'cpu: period');

# addresses differ from run to run: by name

is_deeply([ named($raw{cpu}) ], [
	'1 10000000 <unknown> encode_root', '1 10000000 encode_global encode_root',
	'1 10000000 encode_leaf <unknown>', '2 20000000 pprof_legacy_lost',
	'7 70000000 encode_leaf encode_global encode_root'
], 'cpu: stacks');

is_deeply([ named($raw{heap}) ], [ '1 829411 encode_leaf encode_root' ],
	'heap: scaled by the reader');
is_deeply([ named($raw{growth}) ],
	[ '1 524288 encode_leaf encode_root', '3 3145728 encode_root' ], 'growth');
is_deeply([ named($raw{contention}) ], [ '1 1000000 pprof_legacy_lost',
	'2 3000000 <unknown> encode_root',
	'3 6000000 encode_leaf encode_root' ], 'contention');
like($raw{contention}, qr/^Duration: 2s$/m, 'contention: duration');

# go's pprof has no names for a stripped library, but knows which it is

like($raw{contention}, qr/^\s+\d+: 0x\S+ M=2 .*?^2: 0x\S+ \S+\/libc\.so\.6 /ms,
	'contention: a library');
like($raw{heapprofile}, qr!^alloc_objects/count alloc_space/bytes inuse_obj!m,
	'heapprofile: both pairs');
like($raw{heapprofile}, qr/^\s+3 +3145728 +0 +0: 2 $/m,
	'heapprofile: allocated, not live');

SKIP: {
	skip 'no google-pprof', 5 unless `google-pprof --version 2>&1` =~ /pprof/;

	like(perl('cpu'), qr/^Total: 12 samples\n\s+8 .* encode_leaf$/m,
		'cpu: in Perl');
	like(perl('heap'), qr/^Total: 0\.8 MB\n\s+0\.8 .* encode_leaf$/m,
		'heap: in Perl');
	like(perl('heapprofile'), qr/^Total: 0\.5 MB\n/m,
		'heapprofile: in Perl');
	like(perl('growth'), qr/^Total: 3\.5 MB\n/m, 'growth: in Perl');

	# a library's function: the Perl client found its line among the maps

	like(perl('contention'), qr/^\s+0\.003 .* _*gnu_get_libc_version(?:@@\S+)?$/m,
		'contention: in Perl');
}

done_testing();

###############################################################################

sub pprof {
	my ($what, @args) = @_;

	# newer ones tell a line's column, too
	return `go tool pprof $what @args 2>$dir/err`
		=~ s/(:\d+):\d+ s=/$1 s=/gr;
}

sub perl {
	my ($kind) = @_;

	return scalar `google-pprof --text $app $dir/$kind 2>$dir/err`;
}

# "7 70000000 encode_leaf encode_root"

sub named {
	my ($text) = @_;

	my %name = $text =~ /^\s+(\d+): 0x[0-9a-f]+ M=\d+ (\w*)/mg;
	my @found;

	# only where libc's debug symbols are installed

	s/.*gnu_get_libc_version// foreach values %name;

	while ($text =~ /^\s+(\d+) +(\d+): ([\d ]+)$/mg) {
		push @found, join ' ', $1, $2,
			map { $name{$_} || '<unknown>' } split ' ', $3;
	}

	return sort @found;
}

# "12 48000000 401000 401fff 402fff"

sub stacks {
	my ($text) = @_;

	my %at = $text =~ /^\s+(\d+): 0x([0-9a-f]+) /mg;
	my @found;

	while ($text =~ /^\s+(\d+) +(\d+): ([\d ]+)$/mg) {
		push @found, join ' ', $1, $2, map { $at{$_} } split ' ', $3;
	}

	# go leaves equal stacks for pprof to add up

	my %sum;

	foreach (@found) {
		my ($n, $ns, $pcs) = split / /, $_, 3;
		$sum{$pcs}[0] += $n;
		$sum{$pcs}[1] += $ns;
	}

	return sort map { "$sum{$_}[0] $sum{$_}[1] $_" } keys %sum;
}

###############################################################################
