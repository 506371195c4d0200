#!/usr/bin/perl

# The doors of build.sh: a word that one does not know is an error before
# anything is installed or built, and whoever holds apt's lock is waited for.

###############################################################################

use warnings;
use strict;

use Test::More;

use lib 't/lib';
use Debug::Nginx;

###############################################################################

my $dir = temp_dir('doors');
my $build = "$dir/build";

# what it would call is not the real one, and tells
mkdir "$dir/bin";
fake($_, "echo $_ \"\$@\" >> $dir/called; exit 1")
	for qw/ make npm apt-get dpkg-query debootstrap prove /;

sub fake {
	my ($name, $text) = @_;
	write_file("$dir/bin/$name", "#!/bin/sh\n$text\n");
	chmod 0755, "$dir/bin/$name";
}

sub door {
	my ($env, @words) = @_;
	return run_cmd(['./build.sh', @words], timeout => 60, env => {
		PATH => "$dir/bin:$ENV{PATH}", BUILD => $build,
		DESTDIR => undef, PREFIX => undef, NGINX_SRC => undef, %$env });
}

sub refused {
	my ($env, $words, $why) = @_;
	my $r = door($env, split ' ', $words);
	my $name = join ' ', (map { "$_=$env->{$_}" } sort keys %$env), $words;

	is($r->{exit}, 2, "$name: refused") or diag($r->{out});
	like($r->{err}, $why, "$name: why");
	ok(! -e "$dir/called", "$name: nothing was done")
		or diag(read_file("$dir/called"));
}

my ($usage) = read_file('build.sh') =~ /^(#   .*?)^$/ms;
my %doors = map { $_ => 1 } map { split /\|/ }
	$usage =~ /^#   \.\/build\.sh ([a-z|-]+)/mg;

ok($doors{$_}, "$_: in the usage") for qw/ demo test module lib bench asan
	tsan fuzz lint install deb fresh nginx-tests /;

# each door, as it is in the usage, and a word that none knows

refused({}, "$_ NO=/such", qr!NO=/such!) for 'all', sort keys %doors;
refused({}, 'install DESTDIR=/x', qr/DESTDIR/);
refused({}, 'fuzz 20 30', qr/"30"/);
refused({}, 'fuzz 0', qr/seconds/);
refused({}, 'bench module locks', qr/"locks"/);
refused({}, 'fresh trixie buster', qr/"buster"/);
refused({}, 'test t/doors.t t/no-such.t', qr/no-such/);
refused({}, 'nginx-tests', qr/where/);
refused({}, 'nginx-tests t t', qr/"t"/);
refused({}, 'deploy', qr/deploy/);
refused({ PREFIX => 'usr' }, 'install', qr/PREFIX/);
refused({ NGINX_SRC => '/nowhere' }, 'module', qr!source tree.*/nowhere!);
refused({ NGINX_SRC => 't' }, 'install', qr!source tree.*/t$!m);

is(door({}, 'help')->{exit}, 0, 'help');

# somebody else installs: of apt's two locks first the one, then the other

SKIP: {
	skip 'only root installs', 8 if $> != 0;

	my $packages = "case \$* in *cppcheck*) exit 1 ;; esac; echo installed";

	fake('dpkg-query', $packages);
	fake('apt-get', <<"EOF");
echo "\$*" >> $dir/apt
[ "\$(wc -l < $dir/apt)" -gt 2 ] || { echo "E: Could not get lock /x." >&2
                                     exit 100; }
[ "\$(wc -l < $dir/apt)" -ne 4 ] || {
    echo "E: Unable to acquire the dpkg frontend lock (/y)" >&2; exit 100; }
EOF

	my $r = door({}, 'lint');
	my @apt = split /\n/, read_file("$dir/apt");

	# npm, or make, which is a fake, too
	isnt($r->{exit}, 0, 'no real build');
	is(scalar(grep { /update$/ } @apt), 3, 'update waits');
	is(scalar(grep { /install .*cppcheck/ } @apt), 2, 'install waits');
	is(scalar(() = $r->{out} =~ /waiting for another/g), 2, 'and says so');

	# another error is one, at once

	unlink "$dir/apt";
	fake('apt-get', "echo \"\$*\" >> $dir/apt; echo 'E: No space' >&2; exit 100");
	$r = door({}, 'lint');
	is($r->{exit}, 1, 'no space: exit');
	like($r->{err}, qr/No space.*failed: apt-get update/s, 'no space: why');
	is(read_file("$dir/apt") =~ tr/\n//, 1, 'no space: not again');

	# and nobody is waited for for ever

	fake('apt-get', "echo 'E: Could not get lock /x.' >&2; exit 100");
	$r = door({ APT_WAIT => 1 }, 'lint');
	like($r->{err}, qr/Could not get lock/, 'not for ever');
}

done_testing();

###############################################################################
