#!/usr/bin/perl

# Stacks through libraries that were loaded after recording began, and after
# others were unloaded from their place.

###############################################################################

use warnings;
use strict;

use Test::More;
use Time::HiRes qw/ sleep time /;

use lib 't/lib';
use Debug::Nginx;
use Debug::App;

###############################################################################

need_bin('go', 'gcc');

my $build = Cwd::abs_path($ENV{DEBUG_BUILD} // 'build');
my $dir = temp_dir('dlopen');
my $sock = "$dir/s.pprof";

# its frame cannot be left without tables: neither frame pointer nor fixed size

for my $name (qw/ first second /) {
	my $pad = $name eq 'first' ? 100 : 900;
	write_file("$dir/$name.c", <<"EOC");
#include <string.h>

__attribute__((noinline)) int
${name}_call(void (*f)(void), int n)
{
    volatile char pad[$pad];

    memset((char *) pad, n, sizeof(pad));
    f();

    return pad[n];
}

int plugin(void (*f)(void)) { return ${name}_call(f, 7) + 1; }
EOC
	system("gcc -O2 -fomit-frame-pointer -fno-stack-protector -fPIC -shared"
		. " -Wall -o $dir/$name.so $dir/$name.c") == 0
		or die "gcc failed\n";
}

write_file("$dir/main.c", <<'EOC');
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t  lock = PTHREAD_MUTEX_INITIALIZER;

static void
contend(void)
{
    pthread_mutex_lock(&lock);
    usleep(500);
    pthread_mutex_unlock(&lock);
}

static void *
other(void *arg)
{
    for ( ;; ) {
        contend();
    }

    return arg;
}

__attribute__((noinline)) void
run_plugin(const char *path, double seconds)
{
    void  *handle = dlopen(path, RTLD_NOW);
    int  (*plugin)(void (*)(void)) = (int (*)(void (*)(void)))
                                     dlsym(handle, "plugin");

    for (time_t end = time(NULL) + seconds; time(NULL) < end; ) {
        plugin(contend);
    }

    dlclose(handle);
}

int
main(int argc, char **argv)
{
    pthread_t  thread;

    pthread_create(&thread, NULL, other, NULL);
    sleep(2);

    for (int i = 1; i < argc; i++) {
        run_plugin(argv[i], 5);
        printf("%d\n", i);
        fflush(stdout);
    }

    sleep(600);
}
EOC

system("gcc -O2 -Wall -o $dir/main $dir/main.c -ldl -pthread") == 0
	or die "gcc failed\n";

###############################################################################

my $app = Debug::App->start(
	cmd => ["$build/pprof-run", '--no-tcmalloc', '-l', "unix:$sock",
		"$dir/main", "$dir/first.so", "$dir/second.so"],
	env => { PPROF_BLOCK_RATE => 1 },
	ready => { unix => $sock },
);

ok(wait_for(sub { $app->out() =~ /^2$/m }, 30), 'both were loaded');

write_file("$dir/block.pb.gz",
	http_get('/debug/pprof/block', unix => $sock)->{body});

my $r = go_pprof('-traces', '-sample_index=contentions', "$dir/block.pb.gz");

# both are gone by now, and so are their names

my ($whole, $cut, $stacks) = (0, 0, 0);

for (split /^-+\+-+$/m, $r->{out}) {
	if (/^\s+(\d+)\s+contend\n\s+\[unknown\]\n\s+\[unknown\]\n\s+run_plugin\n\s+main\n/m) {
		$whole += $1;
		$stacks++;

	} elsif (/^\s+(\d+)\s+contend\n\s+\[unknown\]\n/m) {
		# the tables come a second after dlopen()
		$cut += $1;
	}
}

is($stacks, 2, 'whole stacks through each');
cmp_ok($whole, '>', 2 * $cut, "most are whole: $whole, cut: $cut")
	or diag($r->{out});

$app->stop();
done_testing();

###############################################################################
