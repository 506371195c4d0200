#!/usr/bin/perl

# The agent keeps its index of names from one answer to the next.  What
# changes on disk meanwhile, it notices: a debug file that is installed, is
# overwritten or goes away, a program that is replaced while it runs.

use warnings;
use strict;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Debug::App;
use Debug::Nginx;

my $build = $ENV{DEBUG_BUILD} || 'build';
my $dir = temp_dir('names');

write_file("$dir/prog.cc", <<'END');
#include <cstdio>
#include <string>
#include <unistd.h>

template <typename T> __attribute__((noinline)) static void
waits_here(const T &text)
{
	puts(text.c_str());
	fflush(stdout);

	for ( ;; ) {
		pause();
	}
}

int
main()
{
	waits_here(std::string("ready"));
}
END

sub made {
	my (@cmd) = @_;
	my $r = run_cmd(\@cmd);

	is($r->{exit}, 0, "@cmd[0, -1]") or diag($r->{err});
}

sub start {
	my ($name) = @_;
	my $app = Debug::App->start(
		cmd => ["$build/pprof-run", '-l', "unix:$dir/$name.sock", '--',
			"$dir/$name"],
		ready => { unix => "$dir/$name.sock" });

	wait_for(sub { $app->out() =~ /ready/ });

	return $app;
}

sub stacks {
	my ($name, $more) = @_;
	my $r = http_get('/debug/pprof/goroutine?debug=2' . ($more // ''),
		unix => "$dir/$name.sock");

	is($r->{status}, 200, "$name answers");

	return $r->{body};
}

made('g++', '-O1', '-g', '-Wl,--build-id', "$dir/prog.cc", '-o',
	"$dir/whole");
made('g++', '-O2', '-g', '-DELSE', '-Wl,--build-id=0xabcdef0123456789',
	"$dir/prog.cc", '-o', "$dir/else");
made('objcopy', '--only-keep-debug', "$dir/whole", "$dir/kept.debug");
made('objcopy', '--only-keep-debug', "$dir/else", "$dir/else.debug");
made('cp', "$dir/kept.debug", "$dir/stripped.debug");
made('strip', '-o', "$dir/stripped", "$dir/whole");
made('objcopy', "--add-gnu-debuglink=$dir/stripped.debug", "$dir/stripped");
unlink "$dir/stripped.debug";

# long names and short ones, in turns

my $app = start('whole');

for (1 .. 2) {
	like(stacks('whole'), qr/\twaits_here<std::string>\+/, 'short');
	like(stacks('whole', '&names=full'),
		qr/\tvoid waits_here<std::\S*basic_string<char.*> >\(/, 'full');
}

# the file is another program's now: names are those of what runs

made('cp', "$dir/else", "$dir/new");
rename "$dir/new", "$dir/whole" or die "rename: $!\n";
like(stacks('whole'), qr/waits_here/, 'replaced: still the right name');
$app->stop();

# a debug file comes, is written over, comes again, goes

$app = start('stripped');
unlike(stacks('stripped'), qr/waits_here/, 'stripped: no name');
unlike(stacks('stripped'), qr/waits_here/, 'stripped: nor the second time');

made('cp', "$dir/kept.debug", "$dir/stripped.debug");
like(stacks('stripped'), qr/waits_here/, 'a debug file was installed');
like(stacks('stripped'), qr/waits_here/, 'and is there');

# in place, as cp does it: what is mapped changes
made('cp', "$dir/else.debug", "$dir/stripped.debug");
unlike(stacks('stripped'), qr/waits_here/, "another build's is not used");

made('cp', "$dir/kept.debug", "$dir/stripped.debug");
like(stacks('stripped'), qr/waits_here/, 'the right one again');

truncate "$dir/stripped.debug", 100 or die "truncate: $!\n";
unlike(stacks('stripped'), qr/waits_here/, 'cut off: no name');

made('cp', "$dir/kept.debug", "$dir/stripped.debug");
like(stacks('stripped'), qr/waits_here/, 'whole again');
unlink "$dir/stripped.debug";
unlike(stacks('stripped'), qr/waits_here/, 'it is gone');

ok($app->alive(), 'the program runs');
$app->stop();

done_testing();
