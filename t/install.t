#!/usr/bin/perl

# What "build.sh install" puts where, and that a program finds it with
# pkg-config alone.

###############################################################################

use warnings;
use strict;

use Test::More;

use lib 't/lib';
use Debug::Nginx;
use Debug::App;

###############################################################################

need_bin('pkg-config', 'cc', 'nginx');

my $build = Cwd::abs_path($ENV{DEBUG_BUILD} // 'build');
my $dest = temp_dir('dest');
my $prefix = "$dest/opt/debug";

# what "build.sh test" has built is not built again; a sanitizer's build is
# not to be installed
plan(skip_all => 'a build under sanitizers') if $build =~ m!/[at]san$!;

my $r = run_cmd(['./build.sh', 'install'], timeout => 300, env => {
	BUILD => $build, DESTDIR => $dest, PREFIX => '/opt/debug',
	NGINX_MODULES => '/usr/lib/nginx/modules', LD_PRELOAD => undef });
is($r->{exit}, 0, 'install') or diag($r->{out} . $r->{err});

my ($version) = read_file('profiler/include/pprof.h')
	=~ /PPROF_VERSION\s+"(.*)"/;

is(join(' ', map { s!^\./!!r } sort split /\n/,
	run_cmd(['find', '.', '-not', '-type', 'd'], cwd => $dest)->{out}),
	join(' ', sort qw{
		opt/debug/bin/pprof-run opt/debug/bin/sampleize
		opt/debug/include/pprof.h opt/debug/lib/libpprof.a
		opt/debug/lib/libpprof.so opt/debug/lib/libpprof.so.1
		opt/debug/lib/pkgconfig/libpprof.pc
		opt/debug/libexec/pprof-lines
		opt/debug/share/man/man1/pprof-run.1
		opt/debug/share/man/man1/sampleize.1
		opt/debug/share/man/man3/libpprof.3
		opt/debug/share/man/man5/ngx_http_debug_module.5
		opt/debug/share/man/man8/pprof-agent.8
		usr/lib/nginx/modules/ngx_http_debug_module.so }), 'files');

sub pkg_config {
	my $r = run_cmd(['pkg-config', "--define-variable=prefix=$prefix",
		"--define-variable=libdir=$prefix/lib",
		"--define-variable=includedir=$prefix/include",
		@_, 'libpprof'],
		env => { PKG_CONFIG_PATH => "$prefix/lib/pkgconfig" });
	is($r->{exit}, 0, "pkg-config @_") or diag($r->{err});
	return split ' ', $r->{out};
}

unlike(read_file("$prefix/lib/pkgconfig/libpprof.pc"), qr/@|\Q$dest\E/,
	'libpprof.pc: no DESTDIR, nothing left out');
is((pkg_config('--modversion'))[0], $version, 'version');

# a program, with the shared library and with the archive

write_file("$dest/p.c", <<'EOC');
#include <pprof.h>
#include <stdio.h>
#include <unistd.h>

int
main(int argc, char **argv)
{
    (void) argc;
    puts(pprof_version());
    fflush(stdout);

    if (pprof_start(argv[1], NULL) == -1) {
        perror(argv[1]);
        return 1;
    }

    pause();
}
EOC

for (['shared', '--libs'], ['archive', '--libs', '--static']) {
	my ($name, @libs) = @$_;
	my @ld = pkg_config(@libs);

	# -l alone would take the shared one
	@ld = map { $_ eq '-lpprof' ? "$prefix/lib/libpprof.a" : $_ } @ld
		if $name eq 'archive';

	$r = run_cmd(['cc', '-Wall', '-Werror', '-o', "$dest/p",
		pkg_config('--cflags'), "$dest/p.c", @ld]);
	is($r->{exit}, 0, "$name: compiled") or diag($r->{err});

	my $app = Debug::App->start(
		cmd => ["$dest/p", "unix:$dest/p.pprof"],
		env => { LD_LIBRARY_PATH => "$prefix/lib" },
		ready => { unix => "$dest/p.pprof" },
	);

	is($app->out(), "$version\n", "$name: version");
	is(http_get('/debug/pprof/cmdline', unix => "$dest/p.pprof")->{body},
		"$dest/p", "$name: answers");
	$app->stop();
}

# an unmodified program: pprof-run finds the library beside it

my $app = Debug::App->start(
	cmd => ["$prefix/bin/pprof-run", '-l', "unix:$dest/s.pprof", 'sleep',
		'60'],
	ready => { unix => "$dest/s.pprof" },
);

like(read_file('/proc/' . $app->pid() . '/maps'),
	qr!\Q$prefix\E/lib/libpprof\.so!, 'pprof-run: the installed library');
$app->stop();

# a module that this nginx takes

write_file("$dest/nginx.conf", "load_module $dest/usr/lib/nginx/modules/"
	. "ngx_http_debug_module.so;\npid $dest/pid; error_log stderr;\n"
	. "events { } http { server { listen 127.0.0.1:1;\n"
	. "location /debug/ { debug; } } }\n");
$r = run_cmd([$ENV{TEST_NGINX_BINARY} // 'nginx', '-t', '-p', $dest, '-c',
	"$dest/nginx.conf"]);
like($r->{err}, qr/test is successful/, 'nginx takes the module');

done_testing();

###############################################################################
