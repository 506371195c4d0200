#!/usr/bin/perl

# ?lines=1: files, lines and inlined functions, from a process beside the
# program that the program does not notice.

###############################################################################

use warnings;
use strict;

use Test::More;
use Time::HiRes qw/ sleep time /;

use lib 't/lib';
use Debug::Nginx;
use Debug::App;

###############################################################################

need_bin('go');

my $build = Cwd::abs_path($ENV{DEBUG_BUILD} // 'build');
my $program = "$build/t/app/lines";
my $dir = temp_dir('lines');
my $n = 0;

# the line of each mark in the source, as the program was compiled from it
my (%at, $number);
for (split /\n/, read_file('t/app/lines.c')) {
	$number++;
	$at{$1} = $number if m!/\* AT (\w+) \*/!;
}

###############################################################################

my ($app, $sock) = start([], env => { PPROF_THREADCREATE => 1,
	PPROF_MUTEX_RATE => 1, PPROF_BLOCK_RATE => 1 });

# the CPU profile, as its readers see it

my $file = save(ask('/debug/pprof/profile?seconds=2&lines=1'), 'cpu');
my $raw = pprof('-raw', $file);

like($raw, qr/^Comment: lines of \d+ of \d+ addresses/m, 'comment');
like($raw, qr!^\d+: .*/lines [0-9a-f]+ \[FN\]\[FL\]\[LN\]\[IN\]$!m,
	'mapping: functions, files, lines, inlined');
like($raw, qr! mix_often \S*/lines\.c:\d+ s=\d+\n +burn \S*/lines\.c:$at{burn} s=!,
	'one location has both functions');
like($raw, qr! burn \S*/lines\.c:\d+ s=@{[line_of('^burn')]}\b!,
	'where the function begins');

my $top = pprof('-top', '-lines', $file);

like($top, qr!mix_(?:once|often) \S*/lines\.c:(?:$at{mix_once}|\d+) \(inline\)!,
	'-lines: inlined');
like($top, qr! burn \S*/lines\.c:$at{burn}$!m, '-lines: where it was called');

like(pprof('-traces', '-lines', $file),
	qr!mix_often \S+/lines\.c:\d+ \(inline\)\n\s+burn \S+:$at{burn}\n!,
	'-traces: inlined, then who called it');

my $list = pprof('-list', '^burn$', '-source_path', 't/app', $file);

like($list, qr!ROUTINE =+ burn in \S*/lines\.c$!m, '-list: the file');
like($list, qr!^\s+\S+\s+\S+m?s\s+$at{burn}:\s+x = mix_often\(x\);!m,
	'-list: time beside the line');

# without lines nothing of all that, and nothing is said of it

$raw = pprof('-raw', save(ask('/debug/pprof/profile?seconds=1'), 'none'));

unlike($raw, qr/lines\.c|\[LN\]|Comment: .*lines/, 'not asked, not told');
like($raw, qr/ M=1 (?:burn|mix)/, 'names all the same');

# every kind that has stacks

my %expect = (
	'heap' => "allocate \\S*/lines\\.c:$at{allocate}",
	'heap?seconds=1' => "allocate \\S*/lines\\.c:$at{allocate}",
	'allocs?seconds=1' => "allocate \\S*/lines\\.c:$at{allocate}",
	'goroutine' => "hold \\S*/lines\\.c:\\d+ .*\n"
		. " +contend \\S*/lines\\.c:$at{contend}",
	'thread' => "contend \\S*/lines\\.c:$at{contend}",
	'threadcreate' => "create \\S*/lines\\.c:$at{create}",
	'block' => "hold \\S*/lines\\.c:$at{hold} .*\n"
		. " +contend \\S*/lines\\.c:$at{contend}",
	'mutex' => "hold \\S*/lines\\.c:$at{unhold} .*\n"
		. " +contend \\S*/lines\\.c:$at{contend}",
);

for my $kind (sort keys %expect) {
	my $r = ask("/debug/pprof/$kind" . ($kind =~ /\?/ ? '&' : '?')
		. 'lines=1');
	is($r->{status}, 200, "$kind: status") or diag($r->{body});
	my $text = pprof('-raw', save($r, 'kind'));
	like($text, qr!$expect{$kind}!, $kind);
}

# the other formats have them too

like(ask('/debug/pprof/threadcreate?format=folded&lines=1')->{body},
	qr/;main \(lines\.c:\d+\);create \(lines\.c:\d+\) \d+$/m, 'folded: lines');
like(ask('/debug/pprof/threadcreate?format=svg&lines=1')->{body},
	qr/create \(lines\.c:\d+\)/, 'svg: lines');
like(ask('/debug/pprof/goroutine?debug=2&lines=1')->{body},
	qr!^#\t0x[0-9a-f]+\tmain\+0x[0-9a-f]+\t\S*/lines\.c:\d+$!m,
	'debug=2: lines');
like(ask('/debug/pprof/goroutine?debug=2&lines=1')->{body},
	qr/^# lines of \d+ of \d+ addresses/m, 'debug=2: of how many');
like(ask('/debug/pprof/goroutine?debug=1&lines=1')->{body},
	qr!^#\t0x[0-9a-f]+\tmain\+0x[0-9a-f]+\t\S*/lines\.c:\d+$!m,
	'debug=1: lines');
unlike(ask('/debug/pprof/goroutine?debug=2')->{body}, qr/lines\.c/,
	'debug=2: none unless asked');

# through nginx

SKIP: {
	skip 'no nginx', 2 unless have_bin('nginx');

	my $t = Debug::Nginx->new();
	$t->run(conf($sock));
	my $r = http_get('/debug/pprof/profile?seconds=1&lines=1', timeout => 20);
	is($r->{status}, 200, 'through nginx: status');
	like(pprof('-raw', save($r, 'nginx')),
		qr! burn \S*/lines\.c:$at{burn} !, 'through nginx');
	$t->stop();
}

is($app->err(), '', 'nothing on stderr');
$app->stop();

###############################################################################

# what the program sees of it: no signal, no child, no orphan

($app, $sock) = start(['-w']);

for my $lines (1 .. 3) {
	like(pprof('-raw', save(ask('/debug/pprof/goroutine?lines=1'), 'w')),
		qr! contend \S*/lines\.c:$at{contend} !, "-w: lines, $lines");
}

$app->stop();
is($app->err(), "signals 0 children 0 waited 1\n",
	'no SIGCHLD, and wait(-1) finds nobody');

# nor when the client leaves, and the helper has to go

($app, $sock) = start(['-w'], helper => helper('hang'));
my $client = hold_request('/debug/pprof/goroutine?lines=1');
ok(wait_for(sub { helpers($app) == 2 }, 5), 'the helper runs');
close $client;
ok(wait_for(sub { helpers($app) == 0 }, 2),
	'the client leaves, and so does the helper');
$app->stop();
is($app->err(), "signals 0 children 0 waited 1\n",
	'no SIGCHLD, and nobody to wait for');

# descriptors 0, 1 and 2 belong to somebody else

($app, $sock) = start(['-c']);
like(pprof('-raw', save(ask('/debug/pprof/goroutine?lines=1'), 'c')),
	qr! contend \S*/lines\.c:$at{contend} !, 'without standard descriptors');
$app->stop();

# what the helper gets

my $log = "$dir/seen";
write_file("$dir/look.pl", <<"EOP");
open my \$log, '>', '$log';
print \$log "fd \$_ ", readlink("/proc/self/fd/\$_"), "\n"
	for grep { -l "/proc/self/fd/\$_" } 0 .. 255;
open my \$in, '<', '/proc/self/status';
print \$log grep { /^Sig|^NoNew/ } <\$in>;
open \$in, '<', '/proc/self/limits';
print \$log grep { /^Max (?:data|cpu|core)/ } <\$in>;
print \$log 'nice ', getpriority(0, 0), "\n";
print \$log map { "env \$_\n" } keys %ENV;
EOP
($app, $sock) = start([], helper => helper('look', "exec perl $dir/look.pl"),
	ignore => 1);
is(ask('/debug/pprof/goroutine?lines=1')->{status}, 200, 'helper: answered');
my $seen = read_file($log);

# perl has its script and the log
is(join(' ', map { m{^fd (\d+) (?!\Q$dir\E|/proc)} ? $1 : () }
	split /\n/, $seen), '0 1', 'helper: no descriptors but two')
	or diag($seen);
like($seen, qr/^fd 0 socket.*\nfd 1 socket/, 'helper: which are a socket');
# perl ignores SIGFPE by itself
like($seen, qr/^SigIgn:\t0+(?:80)?$/m, 'helper: no signal is ignored');
like($seen, qr/^SigBlk:\t0+$/m, 'helper: none is blocked');
like($seen, qr/^NoNewPrivs:\t1$/m, 'helper: no new privileges');
like($seen, qr/^Max data size +536870912 /m, 'helper: bounded memory');
like($seen, qr/^Max cpu time +21 /m, 'helper: bounded time');
like($seen, qr/^nice 5$/m, 'helper: lower priority');
unlike($seen, qr/^env (?!PATH|PWD|SHLVL|_$|OLDPWD)/m,
	'helper: no environment, but what the shell sets');
$app->stop();

###############################################################################

# helpers that do not do: a profile without lines, which says why

for (
	['not there', '/nonexistent/pprof-lines',
		qr/^no lines: pprof-lines cannot be run: No such file/],
	['not a program', '/etc/passwd',
		qr/^no lines: pprof-lines cannot be run: Permission denied/],
	['off', 'off', qr/^no lines: PPROF_LINES=off$/],
	['ends at once', helper('end', 'exit 0'),
		qr/^lines of 0 of \d+ addresses: pprof-lines did not finish$/],
	['crashes', helper('crash', 'kill -SEGV $$'),
		qr/^lines of 0 of \d+ addresses: pprof-lines did not finish$/],
	['talks nonsense', helper('nonsense', 'cat > /dev/null; head -c 100000 '
		. '/dev/urandom'),
		qr/^lines of 0 of \d+ addresses: pprof-lines did not finish$/],
	['breaks off', helper('part', 'cat > /dev/null; printf "s a.c\\na 0\\n'
		. 'f 7 1 - 0\\na 1\\nf 7"'),
		qr/^lines of 1 of \d+ addresses: pprof-lines did not finish$/],
	['never ends', helper('hang'),
		qr/^lines of 0 of \d+ addresses: pprof-lines was ended after 4500 ms$/],
	['never reads', helper('deaf', 'exec < /dev/null; ' . "exec sleep 61.$$"),
		qr/^lines of 0 of \d+ addresses: pprof-lines was ended after 4500 ms$/],
	['talks without end', helper('flood', 'exec yes "s more of it"'),
		qr/^lines of 0 of \d+ addresses: pprof-lines (?:did not finish|was ended)/],
) {
	my ($name, $helper, $comment) = @$_;

	($app, $sock) = start([], helper => $helper);
	my $r = ask('/debug/pprof/profile?seconds=1&lines=1');
	is($r->{status}, 200, "$name: status");
	my $text = pprof('-raw', save($r, 'bad'));
	my ($said) = $text =~ /^Comment: ((?:no )?lines.*)$/m;
	like($said // '', $comment, "$name: why");
	like($text, qr/ M=1 (?:burn|mix)/, "$name: names all the same");
	is(helpers($app), 0, "$name: nobody is left");
	is($app->err(), '', "$name: nothing on stderr");
	$app->stop();
}

# the program ends, by its own will or not, and so does the helper

for my $signal (qw/ TERM KILL /) {
	($app, $sock) = start([], helper => helper('hang'));
	my $s = hold_request('/debug/pprof/goroutine?lines=1');
	ok(wait_for(sub { helpers($app) == 2 }, 5), "$signal: the helper runs");
	$app->stop($signal);
	ok(wait_for(sub { helpers($app) == 0 }, 5), "$signal: not any more");
}

# a child that is made meanwhile holds nothing of it, and has its own turn

$sock = "$dir/fork.%p";
$app = Debug::App->start(
	cmd => ["$build/pprof-run", '-l', "unix:$sock", $^X, '-e',
		'use POSIX (); $SIG{USR1} = sub { return if fork();'
		. ' my @s = grep { (readlink($_) // "") =~ /^socket/ }'
		. ' map { "/proc/self/fd/$_" } 0 .. 255;'
		. ' print "child $$: ", scalar(@s), " sockets\n"; };'
		. ' $| = 1; sleep 1 while 1'],
	env => { PPROF_LINES => helper('hang') },
	ready => sub { -S "$dir/fork." . $_[0]->pid() });
$sock = "$dir/fork." . $app->pid();
$client = hold_request('/debug/pprof/goroutine?lines=1');
ok(wait_for(sub { helpers($app) == 2 }, 5), 'fork: the helper runs');
$app->kill('USR1');
ok(wait_for(sub { $app->out() =~ /^child \d+: \d+ sockets$/m }, 5),
	'fork: a child');
like($app->out(), qr/: 0 sockets$/m, 'fork: which has no socket of ours');
my ($child) = $app->out() =~ /^child (\d+)/m;
wait_for(sub { -S "$dir/fork.$child" }, 5);
$sock = "$dir/fork.$child";
# the client's first attempt may come before anybody listens
my $r;
ok(wait_for(sub { $r = ask('/debug/pprof/profile?seconds=1&wall=1&lines=1');
	$r->{status} == 200 }, 20), 'fork: the child answers as well');
# one agent has both, and one helper at a time
like(pprof('-raw', save($r, 'child')), qr/those of another profile are being/,
	'fork: or says who is served first') if $r;
close $client;
$app->stop();

# growth, which only tcmalloc knows

SKIP: {
	skip 'no tcmalloc', 2 unless glob '/usr/lib/*-linux-gnu/libtcmalloc.so.4';

	($app, $sock) = start([], run => ['--tcmalloc']);
	$r = ask('/debug/pprof/growth?lines=1');
	is($r->{status}, 200, 'growth: status') or diag($r->{body});
	like(pprof('-raw', save($r, 'growth')),
		qr!allocate \S*/lines\.c:$at{allocate}!, 'growth');
	$app->stop();
}

# two at once: one after the other, and both get theirs

($app, $sock) = start([]);
my @both = map { hold_request("/debug/pprof/$_?lines=1") } qw/ heap allocs /;
my @answers = map { local $/; my $s = $_; scalar <$s> } @both;
is(scalar(grep { /^HTTP\/1.1 200 / } @answers), 2, 'two at once')
	or diag(map { substr($_ // '', 0, 500) } @answers);

$app->stop();

done_testing();

###############################################################################

sub start {
	my ($args, %o) = @_;

	$sock = "$dir/" . ++$n . '.pprof';

	my @cmd = ("$build/pprof-run", @{ $o{run} // [] }, '-s', '65536',
		'-l', "unix:$sock", $program, @$args);
	# as nohup does, and many a supervisor
	@cmd = ('sh', '-c', 'trap "" INT HUP QUIT CHLD; exec "$@"', 'sh', @cmd)
		if $o{ignore};

	my $app = Debug::App->start(
		cmd => \@cmd,
		env => { PPROF_LINES => $o{helper}, %{ $o{env} // {} } },
		ready => { unix => $sock },
	);

	return ($app, $sock);
}

# A program that is taken for pprof-lines; BODY is shell.
sub helper {
	my ($name, $body) = @_;

	$body //= "exec sleep 61.$$";
	write_file("$dir/$name", "#!/bin/sh\nPATH=/usr/bin:/bin\n$body\n");
	chmod 0755, "$dir/$name";

	return "$dir/$name";
}

# How many processes there are on behalf of APP's lines: the one between, and
# the helper that sleeps.
sub helpers {
	my ($app) = @_;
	my $of = qr/^pprof-agent unix:\Q$dir\E/;

	# the agent's, whose own name says where it listens
	return scalar grep {
		read_file("$_/comm") eq "pprof-between\n"
			&& read_file("$_/status") =~ /^PPid:\t(\d+)$/m
			&& read_file("/proc/$1/cmdline") =~ $of
		|| read_file("$_/cmdline") eq "sleep\0" . "61.$$\0"
	} glob '/proc/[0-9]*';
}

sub ask {
	my ($path) = @_;
	return http_get($path, unix => $sock, timeout => 30);
}

sub hold_request {
	my ($path) = @_;
	my $s = http_open(unix => $sock);
	print $s "GET $path HTTP/1.1\r\nHost: l\r\n\r\n";
	return $s;
}

sub save {
	my ($r, $name) = @_;
	write_file("$dir/$name.pb.gz", $r->{body});
	return "$dir/$name.pb.gz";
}

sub pprof {
	my $r = go_pprof(@_);
	return $r->{out} . $r->{err};
}

# The line on which a definition stands.
sub line_of {
	my ($re) = @_;
	my $i = 0;

	for (split /\n/, read_file('t/app/lines.c')) {
		$i++;
		return $i if /$re\(/;
	}

	return 0;
}

sub conf {
	my ($sock) = @_;
	return <<EOC;
%%TEST_GLOBALS%%
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    upstream acs { server unix:$sock; }
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { proxy_pass http://acs; }
        location /debug/ { debug; }
    }
}
EOC
}

###############################################################################
