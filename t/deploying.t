#!/usr/bin/perl

# docs/deploying.md, read by who does what it says: units that systemd takes,
# configurations that nginx takes, a socket that www-data may use and nobody
# else.

###############################################################################

use warnings;
use strict;

use Test::More;
use Time::HiRes qw/ sleep /;

use lib 't/lib';
use Debug::App;
use Debug::Nginx;

###############################################################################

need_bin('nginx');

my $build = Cwd::abs_path($ENV{DEBUG_BUILD} // 'build');
my $dir = temp_dir('dep');
my $docs = read_file('docs/deploying.md');

sub blocks { my ($lang) = @_; return $docs =~ /^```$lang\n(.*?)^```$/msg }

# -- units

SKIP: {
	skip 'no systemd-analyze', 1 unless have_bin('systemd-analyze');

	my @units = blocks('ini');
	cmp_ok(scalar(@units), '>', 0, 'units');

	for my $i (0 .. $#units) {
		# what is not on this machine is something else that is
		my $unit = $units[$i] =~ s!^ExecStart=\S+!ExecStart=$build/pprof-run!mr;

		write_file("$dir/acs$i.service", $unit);
		my $r = run_cmd(['systemd-analyze', 'verify', '--man=no',
			"$dir/acs$i.service"]);
		is($r->{exit}, 0, "unit $i: systemd takes it");
		is($r->{err} =~ s/^(?!.*acs$i\.service).*\n//mgr, '',
			"unit $i: without a warning");
	}
}

# -- configurations: each block that is a server or a location

my $t = Debug::Nginx->new();
my $n = 0;

$t->write('operators', "me:{PLAIN}x\n");
$t->write_conf("%%TEST_GLOBALS%%\nevents { }\nhttp { %%TEST_GLOBALS_HTTP%%\n"
	. join('', map {
		my $conf = s/^ *…\n//mgr;
		my $port = 1 + $n++;

		$conf =~ s/\blisten [^;]*;/listen 127.0.0.1:%%PORT_$port%%;/g;
		$conf =~ s!/etc/nginx/operators!%%DIR%%/operators!;
		$conf =~ /^server/m ? $conf
			: "server { listen 127.0.0.1:%%PORT_$port%%;\n$conf }\n"
	} blocks('nginx')) . "server { listen 127.0.0.1:%%PORT_0%%;\n"
	. "location /debug/ { debug;\ndebug_pprof_pass acs unix:$dir/run/*; } }\n}\n");
cmp_ok($n, '>', 2, 'configurations');
$t->run();

like(http_get('/debug/', port => $t->port($_))->{line}, qr/ (?:200|401) /,
	"configuration $_: answers") for 1 .. $n;

# -- a program of one user, nginx's workers of another

SKIP: {
	skip 'only root is two others', 5 if $> != 0;
	skip 'no setpriv', 5 unless have_bin('setpriv');

	my $user = getpwnam('games') && getpwnam('www-data') ? 'games' : '';
	skip 'no such users', 5 unless $user;

	chmod 0755, $dir;
	mkdir "$dir/run";
	chown((getpwnam 'games')[2], (getgrnam 'www-data')[2], "$dir/run");
	chmod 02750, "$dir/run";
	chmod 0755, $build;

	my $app = Debug::App->start(
		cmd => ['setpriv', '--reuid=games', '--regid=games',
			'--groups=www-data', "$build/pprof-run", '-g', 'www-data',
			'-l', "unix:$dir/run/acs.pprof", 'sleep', '60'],
		ready => sub { -S "$dir/run/acs.pprof" });

	my @stat = stat "$dir/run/acs.pprof";
	is(sprintf('%o', $stat[2] & 07777), '660', 'socket: its group may');
	is(getgrgid($stat[5]), 'www-data', 'socket: which is nginx\'s');

	# as nginx's workers would, and as anybody else
	for (['www-data', 0], ['nobody', 1]) {
		my ($who, $fails) = @$_;
		my $r = run_cmd(['setpriv', "--reuid=$who", '--clear-groups',
			'--regid=' . (getpwnam $who)[3], $^X, '-MIO::Socket::UNIX',
			'-e', 'exit !IO::Socket::UNIX->new(Peer => shift)',
			"$dir/run/acs.pprof"]);
		is($r->{exit} != 0 ? 1 : 0, $fails, "$who: "
			. ($fails ? 'is kept out' : 'is let in')) or diag($r->{err});
	}

	like(http_get('/debug/pprof/acs/0/cmdline')->{body}, qr/sleep/,
		'nginx asks it');
	$app->stop();
}

done_testing();

###############################################################################
