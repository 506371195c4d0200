#!/usr/bin/perl

# "build.sh deb": what is in the packages, and that on a Debian with its own
# nginx and default site they are installed, upgraded and removed, with one
# location to be written.  The Debian is this machine's with a layer on top,
# in namespaces of its own: nothing of it is seen outside.

###############################################################################

use warnings;
use strict;

use Cwd ();
use File::Path ();
use Test::More;

use lib 't/lib';
use Debug::Nginx;

###############################################################################

plan(skip_all => 'no Debian') unless -e '/etc/debian_version';
plan(skip_all => 'only root installs packages') if $> != 0;
need_bin('nginx', 'dpkg-deb', 'npm', 'unshare', 'ip');

my $build = Cwd::abs_path($ENV{DEBUG_BUILD} // 'build');

plan(skip_all => 'a build under sanitizers') if $build =~ m!/[at]san$!;

# the system's nginx alone has packages
plan(skip_all => 'another nginx') if $ENV{TEST_NGINX_BINARY};

my $deb = "$build/deb";
my $r = run_cmd(['./build.sh', 'deb'], timeout => 1800, env => {
	BUILD => $build, LD_PRELOAD => undef, PERL5LIB => undef });
is($r->{exit}, 0, 'build.sh deb, without an error of lintian')
	or do { diag($r->{out} . $r->{err}); done_testing(); exit };

my ($version) = read_file('CHANGES') =~ /^Changes with (\S+)/m;
my %file = map { m!/([a-z0-9-]+)_[^/]*\.deb$! ? ($1 => $_) : () }
	grep { !/-dbgsym_/ } glob("$deb/*.deb");

is(join(' ', sort keys %file),
	'libnginx-mod-http-debug libpprof-dev libpprof1 pprof-tools', 'packages');
is(scalar(() = glob("$deb/*.dsc $deb/*.orig.tar.xz $deb/*.orig-uplot.tar.xz "
	. "$deb/*.debian.tar.xz")), 4, 'and the source');

# -- what is in them

my %has = (
	'libnginx-mod-http-debug' => [qw!
		/usr/lib/nginx/modules/ngx_http_debug_module.so
		/usr/share/nginx/modules-available/mod-http-debug.conf
		/usr/share/man/man5/ngx_http_debug_module.5.gz !],
	libpprof1 => [qw! /usr/lib/*/libpprof.so.1 !],
	'libpprof-dev' => [qw! /usr/include/pprof.h /usr/lib/*/libpprof.a
		/usr/lib/*/libpprof.so /usr/lib/*/pkgconfig/libpprof.pc
		/usr/share/man/man3/libpprof.3.gz !],
	'pprof-tools' => [qw! /usr/bin/pprof-run /usr/bin/sampleize
		/usr/libexec/pprof-lines /usr/share/man/man1/pprof-run.1.gz
		/usr/share/man/man1/sampleize.1.gz
		/usr/share/man/man8/pprof-agent.8.gz !],
);
my %depends = (
	'libnginx-mod-http-debug' => qr/\bnginx-abi-\S+/,
	libpprof1 => qr/\blibc6\b/,
	'libpprof-dev' => qr/\blibpprof1 \(= \Q$version\E-/,
	'pprof-tools' => qr/\bcurl\b.*\blibpprof1 \(= \Q$version\E-/,
);

for my $name (sort keys %has) {
	my $list = run_cmd(['dpkg-deb', '-c', $file{$name}])->{out};
	my @files = map { s/ -> .*//r } $list =~ m!^[-l]\S+ .* \.(/\S.*)$!mg;
	my @rest = grep {
		my $file = $_;
		!grep { my $re = quotemeta =~ s/\\\*/[^\/]+/gr; $file =~ /^$re$/ }
			@{$has{$name}}
	} grep { !m!^/usr/share/doc/|^/usr/share/lintian/! } @files;

	is(scalar(@files) - scalar(grep { m!^/usr/share/(?:doc|lintian)/! } @files),
		scalar(@{$has{$name}}), "$name: files");
	is(join(' ', @rest), '', "$name: no others");
	like($list, qr!/usr/share/doc/\Q$name\E/copyright!, "$name: copyright");

	my $info = run_cmd(['dpkg-deb', '-I', $file{$name}])->{out};
	like($info, qr/^ Version: \Q$version\E-1/m, "$name: version");
	like($info, qr/^ Depends: .*$depends{$name}/m, "$name: depends");
}

# a path of the machine that built it is in none of them

File::Path::make_path("$deb/x");
for my $name (sort keys %file) {
	run_cmd(['dpkg-deb', '-x', $file{$name}, "$deb/x/$name"]);
}
is(run_cmd(['grep', '-rlF', Cwd::getcwd() . '/', "$deb/x"])->{out}, '',
	'no path of this machine');
File::Path::remove_tree("$deb/x");

# -- a later version of the same, to be upgraded to

my $new = temp_dir('new');
my %new;

for my $name (sort keys %file) {
	run_cmd(['dpkg-deb', '-R', $file{$name}, "$new/$name"]);
	my $control = read_file("$new/$name/DEBIAN/control");
	$control =~ s/^(Version: \S+|Depends: .*)$/$1 =~ s!(\Q$version\E-1)!${1}0!gr/mge;
	write_file("$new/$name/DEBIAN/control", $control);
	$r = run_cmd(['dpkg-deb', '-b', "$new/$name", "$new/$name.deb"]);
	is($r->{exit}, 0, "$name: a later one") or diag($r->{err});
}

# -- on a Debian

my $root = temp_dir('root');
my $dir = temp_dir('debs');

run_cmd(['cp', $file{$_}, "$dir/$_.deb"]) for keys %file;
mkdir "$dir/new";
run_cmd(['cp', "$new/$_.deb", "$dir/new/$_.deb"]) for keys %file;

write_file("$dir/inside", <<'EOF');
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/up" "$1/work" "$1/root"
mount -t overlay overlay \
    -o "lowerdir=/,upperdir=$1/up,workdir=$1/work" "$1/root" \
    || { echo no-overlay; exit 0; }
mount -t proc proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
mount -t tmpfs tmpfs "$1/root/run"
mount --bind "$2" "$1/root/mnt"
ip link set lo up
exec chroot "$1/root" sh /mnt/there
EOF

write_file("$dir/there", <<'EOF');
exec 2>&1
export PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive
export LC_ALL=C
ask() { curl -s -m 20 "$@"; }
is() { echo "IS $1: $(shift; "$@" > /tmp/is 2>&1 && echo yes || { echo no; cat /tmp/is; })"; }
has() { ask "$1" | grep -q "$2"; }

# Debian's own configuration, as the package left it
rm -rf /etc/nginx/modules-enabled/*debug* /usr/sbin/policy-rc.d
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
rm -f /usr/lib/nginx/modules/ngx_http_debug_module.so
[ -e /etc/nginx/sites-enabled/default ] || echo "NO-SITE"
nginx -t

is install dpkg -i /mnt/libnginx-mod-http-debug.deb /mnt/libpprof1.deb \
    /mnt/libpprof-dev.deb /mnt/pprof-tools.deb
is enabled test -e /etc/nginx/modules-enabled/50-mod-http-debug.conf
is loads nginx -t

# one location is all
sed -i '0,/server_name _;/s//server_name _; location \/debug\/ { debug; }\
    location \/app\/ { proxy_pass http:\/\/127.0.0.1:8077\/; }/' \
    /etc/nginx/sites-available/default
is configured nginx -t
nginx
is default-site has http://127.0.0.1/ nginx
is overview has http://127.0.0.1/debug/ '<title>'
is stats has http://127.0.0.1/debug/stats total_count
is page-style has http://127.0.0.1/debug/assets/app.css '{'
is page-script has http://127.0.0.1/debug/assets/app.js function
is page-charts has http://127.0.0.1/debug/assets/uPlot.js uPlot

# a program that nobody rebuilt, as another user, and a socket for nginx
install -d -o games -g www-data -m 2750 /run/app
cat > /tmp/app.pl <<'EOP'
my $x; $SIG{TERM} = sub { exit }; while (1) { $x .= "a" x 10; $x = "" if length $x > 1e5 }
EOP
setpriv --reuid=games --regid=games --groups=www-data \
    pprof-run -g www-data -l unix:/run/app/pprof -- perl /tmp/app.pl &
app=$!
sed -i 's/location \/debug\/ {/location \/debug\/ { debug_pprof_pass app unix:\/run\/app\/ppro*;/' \
    /etc/nginx/sites-available/default
is configured-pprof nginx -t
nginx -s reload
sleep 2
is profile sh -c 'curl -sf "http://127.0.0.1/debug/pprof/profile?seconds=1&debug=1" > /tmp/p; test -s /tmp/p'
is folded sh -c 'curl -sf "http://127.0.0.1/debug/pprof/profile?seconds=2&format=folded" | grep -q perl'
is sampleize sh -c 'cd /tmp && sampleize -s 1 http://127.0.0.1 profile && test -s profile.pb.gz'

# a program that is linked
cat > /tmp/p.c <<'EOP'
#include <pprof.h>
#include <stdio.h>
#include <unistd.h>
int main(void) { if (pprof_start("unix:/tmp/p.pprof", NULL)) { perror("p"); return 1; }
    puts(pprof_version()); fflush(stdout); pause(); }
EOP
is linked sh -c 'cc -o /tmp/p /tmp/p.c $(pkg-config --cflags --libs libpprof)'
/tmp/p > /tmp/version & linked=$!
sleep 2
echo "VERSION $(cat /tmp/version) $(pkg-config --modversion libpprof)"
is linked-answers sh -c 'curl -sf --unix-socket /tmp/p.pprof http://x/debug/pprof/cmdline | grep -q /tmp/p'
kill $linked

is man sh -c 'for p in 1/pprof-run.1 1/sampleize.1 3/libpprof.3 5/ngx_http_debug_module.5 8/pprof-agent.8; do test -s /usr/share/man/man$p.gz || exit 1; done'

# the newer one, while all of it runs
is upgrade dpkg -i /mnt/new/*.deb
is upgraded sh -c 'dpkg-query -W -f "\${Version}" libpprof1 | grep -q -- -10'
is still-enabled test -e /etc/nginx/modules-enabled/50-mod-http-debug.conf
is still-loads nginx -t
nginx -s reload
sleep 1
is still-answers has http://127.0.0.1/debug/stats total_count
is still-runs kill -0 $app
is still-profiles has 'http://127.0.0.1/debug/pprof/profile?seconds=1&format=folded' .

# somebody disabled it: an upgrade leaves that so
sed -i 's/location \/debug\/ {[^}]*}//' /etc/nginx/sites-available/default
rm /etc/nginx/modules-enabled/50-mod-http-debug.conf
is again dpkg -i --force-downgrade /mnt/libnginx-mod-http-debug.deb
is stays-disabled test ! -e /etc/nginx/modules-enabled/50-mod-http-debug.conf
ln -s /usr/share/nginx/modules-available/mod-http-debug.conf \
    /etc/nginx/modules-enabled/50-mod-http-debug.conf

is remove dpkg -r libnginx-mod-http-debug pprof-tools libpprof-dev libpprof1
is disabled test ! -e /etc/nginx/modules-enabled/50-mod-http-debug.conf
is nginx-without nginx -t
nginx -s reload
sleep 1
is site-without has http://127.0.0.1/ nginx
is nginx-runs kill -0 "$(cat /run/nginx.pid)"
is program-goes-on kill -0 $app
is purge dpkg -P libnginx-mod-http-debug pprof-tools libpprof-dev libpprof1
is nothing-left sh -c '! ls /etc/nginx/modules-enabled/*debug* /usr/lib/nginx/modules/ngx_http_debug* /usr/bin/pprof-run /usr/lib/*/libpprof* 2> /dev/null'
kill $app
nginx -s quit
echo END
EOF

SKIP: {
	$r = run_cmd(['unshare', '--mount', '--net', '--pid', '--fork',
		'--kill-child', 'sh', "$dir/inside", $root, $dir], timeout => 900);

	skip 'no overlay of this machine is to be had', 1
		if $r->{out} =~ /^no-overlay/m || $r->{err} =~ /unshare: /;
	skip 'this nginx has no default site', 1 if $r->{out} =~ /^NO-SITE/m;

	my @is = $r->{out} =~ /^IS (\S+: (?:yes|no)$)/mg;
	like($_, qr/: yes/, $_ =~ s/:.*//r) for @is;

	cmp_ok(scalar(@is), '>', 30, 'all was done');
	like($r->{out}, qr/^END$/m, 'to the end')
		or diag($r->{out} . $r->{err});
	like($r->{out}, qr/^VERSION \Q$version $version\E$/m, 'versions agree');
	diag($r->{out}) if grep { /: no/ } @is;
}

done_testing();

###############################################################################
