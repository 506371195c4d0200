#!/usr/bin/perl

# ./build.sh demo, what it prints, and that nothing of it stays.

use strict;
use warnings;

use Cwd ();
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Debug::App;
use Debug::Nginx;

need_bin('nginx', 'go', 'curl');

my $build = $ENV{DEBUG_BUILD} // Cwd::abs_path("$FindBin::Bin/../build");
my $tmp = temp_dir('tmp');
my $home = temp_dir('home');

chmod 0755, $tmp;

# the process and everything below it

sub family {
    my ($pid) = @_;
    return ($pid, map { family($_) } children_of($pid));
}


sub demo {
    my (%env) = @_;

    return Debug::App->start(
        cmd => [$^X, "$FindBin::Bin/app/demo.pl", $build],
        env => { TMPDIR => $tmp, DEMO_SECONDS => undef, DEMO_PORT => undef,
                 TEST_NGINX_LEAVE => undef, %env },
        ready => sub { $_[0]->out() =~ /^Ctrl-C/m },
        timeout => 30,
    );
}


sub left {
    my @files = glob "$tmp/*";
    return scalar @files;
}


# -- what it prints works

my $demo = demo();
my $out = $demo->out();
my @pids = family($demo->pid());
my %url = $out =~ m{^  (overview|stats|charts|profiles)\s+(http://\S+)$}mg;
my @try = $out =~ /^  ((?:curl|go) .*)$/mg;

is(keys %url, 4, 'four addresses');
is(@try, 3, 'three commands');
# itself, two acs, master and two workers, two of load
is(@pids, 8, 'as many processes as it should be') or diag("@pids");

for my $name (sort keys %url) {
    my ($port, $path) = $url{$name} =~ m{^http://127\.0\.0\.1:(\d+)(/.*)$};
    is(http_get($path, port => $port)->{status}, 200, "$name: $url{$name}");
}

my @r = map {
    run_cmd(['sh', '-c', $_], timeout => 60,
            env => { HOME => $home, PPROF_TMPDIR => $home, TZ => 'UTC' })
} @try;

for my $i (0 .. $#r) {
    is($r[$i]{exit}, 0, $try[$i]) or diag($r[$i]{err});
}

my $stats = eval { decode_json($r[0]{out}) };
cmp_ok($stats->{total_count}, '>', 0, 'stats count the load');

like($r[1]{out}, qr/^File: acs$/m, 'profile: file');
like($r[1]{out}, qr/^Type: cpu$/m, 'profile: type');
like($r[1]{out}, qr/ acs_hot_digest$/m, 'profile: the hot function');
like($r[2]{out}, qr/^Type: inuse_space$/m, 'heap: type');
like($r[2]{out}, qr/^ *[\d.]+[kM]B .* session_put$/m, 'heap: the leak')
    or diag($r[2]{out});

my $more = decode_json(run_cmd(['sh', '-c', $try[0]])->{out});
cmp_ok($more->{total_count}, '>', $stats->{total_count} + 100,
       'the load goes on');

# -- and ends

is($demo->stop('INT'), 0, 'Ctrl-C') or diag($demo->err());
is($demo->err(), '', 'nothing on stderr');
is(grep({ pid_alive($_) } @pids), 0, 'no process stays');
is(left(), 0, 'no file stays');

my $port = free_port();
$demo = demo(DEMO_SECONDS => 1, DEMO_PORT => $port);
like($demo->out(), qr{http://127\.0\.0\.1:$port/debug/stats$}m, 'DEMO_PORT');
is($demo->wait(15), 0, 'DEMO_SECONDS ends it');
is(left(), 0, 'no file stays');

# -- what goes wrong is said

$demo = demo();
@pids = family($demo->pid());
my ($acs) = grep { read_file("/proc/$_/cmdline") =~ m!/acs\0! } @pids;
kill 'KILL', $acs;
is($demo->wait(15), 1, 'an application dies');
like($demo->err(), qr/acs 0 died of signal 9/, 'which is said');
is(grep({ pid_alive($_) } @pids), 0, 'the others are ended');
is(left(), 0, 'no file stays');

my $taken = backend(sub { });
eval { demo(DEMO_PORT => $taken->port()) };
like($@, qr/exit status 1:.*nginx ended, exit status 1.*in use/s,
     'a port that is taken');
is(left(), 0, 'no file stays');

eval { demo(DEMO_SECONDS => 'abc') };
like($@, qr/exit status 2:.*DEMO_SECONDS must be a number, not "abc"/s,
     'DEMO_SECONDS=abc');

done_testing();
