#!/usr/bin/perl

# "build.sh fresh" leaves nothing behind: no process, no mount, no directory,
# whether debootstrap fails or somebody ends it in the middle.

###############################################################################

use warnings;
use strict;

use Test::More;

use lib 't/lib';
use Debug::Nginx;

###############################################################################

plan(skip_all => 'only root may mount') if $> != 0;
need_bin('unshare', 'flock');
plan(skip_all => 'no namespaces here')
	if run_cmd([qw/ unshare --mount --pid --fork --mount-proc true /])->{exit};

my $dir = temp_dir('fresh');
my $build = "$dir/build";
my $root = "$build/fresh-trixie";

mkdir $_ for "$dir/bin", $build;

sub fake {
	my ($name, $text) = @_;
	write_file("$dir/bin/$name", "#!/bin/sh\n$text\n");
	chmod 0755, "$dir/bin/$name";
}

# a Debian that is a mount and two processes
my $make = <<'EOF';
for root; do case $root in */fresh-*) break ;; esac; done
mkdir -p $root/mnt
mount -t tmpfs tmpfs $root/mnt
touch $root/mnt/file
EOF

fake('apt-get', 'echo Debian Debian http://localhost:1/debian');
fake('debootstrap', $make . 'echo "E: no such mirror" >&2; exit 7');

sub start {
	my ($out) = @_;
	return Debug::Nginx::spawn(['bash', 't/fresh.sh', $build, 'trixie'],
		out => $out, err => $out,
		env => { PATH => "$dir/bin:$ENV{PATH}", FRESH_CACHE => undef });
}

sub nothing_stays {
	my ($name) = @_;
	ok(! -e $root, "$name: no directory");
	unlike(read_file('/proc/mounts'), qr/\Q$build\E/, "$name: no mount");
	is(scalar(grep { read_file($_) =~ /\0\Q$dir\E/ && !m!/$$/! }
		glob('/proc/[0-9]*/cmdline')), 0, "$name: no process");
}

# a failure

my $pid = start("$dir/out");
waitpid $pid, 0;
is($? >> 8, 1, 'a failure: exit');
like(read_file("$dir/out"), qr/E:\ no\ such\ mirror.*debootstrap\ FAILED\ \(7\)
	.*removed.*failed:\ trixie/sx, 'a failure: why');
nothing_stays('a failure');

# somebody has enough of it

fake('debootstrap', $make . "sh -c 'sleep 600; : $dir' &\nsleep 600");

for my $signal (qw/ INT TERM HUP /) {
	$pid = start("$dir/out.$signal");
	ok(wait_for(sub { read_file("$root.log") =~ /debootstrap/ && -e "$root/mnt" },
		20), "$signal: in the middle");

	# and nobody else comes between
	if ($signal eq 'INT') {
		my $other = start("$dir/other");
		waitpid $other, 0;
		is($? >> 8, 1, 'a second one: exit');
		like(read_file("$dir/other"), qr/another one runs/,
			'a second one: why');
		ok(-e "$root/mnt", 'a second one: the first lives');
	}

	kill $signal, $pid;
	waitpid $pid, 0;
	is($? >> 8, $signal eq 'INT' ? 130 : 143, "$signal: exit")
		or diag(read_file("$dir/out.$signal"));
	nothing_stays($signal);
}

# what a killed one left is removed, but never what is mounted there

mkdir $_ for $root, "$root/old", "$root/own";
is(run_cmd([qw/ mount -t tmpfs tmpfs /, "$root/own"])->{exit}, 0, 'mounted');
write_file("$root/own/precious", 'x');
$pid = start("$dir/out.own");
waitpid $pid, 0;
is($? >> 8, 1, 'mounted: exit');
like(read_file("$dir/out.own"), qr/mounted below/, 'mounted: why');
ok(-e "$root/own/precious", 'mounted: stays');
run_cmd(['umount', "$root/own"]);

fake('debootstrap', $make . "[ ! -e \$root/old ] && exit 3; exit 7");
$pid = start("$dir/out.old");
waitpid $pid, 0;
like(read_file("$dir/out.old"), qr/FAILED \(3\)/, 'what was left is gone');
nothing_stays('what was left');

done_testing();

###############################################################################
