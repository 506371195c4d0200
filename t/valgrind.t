#!/usr/bin/perl

# Unit tests under valgrind: no byte is read that was not written, nothing is
# lost.  Those that read stacks, start processes or hold locks against libc's
# are left to the sanitizers: valgrind has its own ideas of all of that.

###############################################################################

use warnings;
use strict;

use Test::More;

use lib 't/lib';
use Debug::Nginx;

###############################################################################

my $build = $ENV{DEBUG_BUILD} // 'build';

plan(skip_all => 'no valgrind') unless have_bin('valgrind');
plan(skip_all => 'a sanitizer looks after it') if $build =~ m!/[at]san$!;

for my $unit (map { "agent/$_" } qw! charts/history encode/buf encode/gzip
	encode/legacy encode/paths encode/profile front/memory front/request
	symbols/demangle symbols/elf symbols/maps symbols/names !)
{
	my $r = run_cmd(['valgrind', '-q', '--leak-check=full',
		'--errors-for-leak-kinds=definite,indirect', '--error-exitcode=99',
		"$build/t/unit/$unit"], timeout => 300);

	is($r->{exit}, 0, $unit) or diag($r->{out} =~ s/^ok.*\n//gmr, $r->{err});
}

done_testing();

###############################################################################
