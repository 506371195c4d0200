#!/usr/bin/perl

# Whose CPU time it was: samples told by the route that nginx put into the
# request, held against servers whose handlers know what they cost.

###############################################################################

use warnings;
use strict;

use Test::More;
use Time::HiRes qw/ sleep /;

use lib 't/lib';
use Debug::Nginx;
use Debug::App;

###############################################################################

my $build = $ENV{DEBUG_BUILD} // 'build';
my $dir = Debug::Nginx::temp_dir('labels');
my $app = "$build/t/app/routes";
my $n = 0;
my %wanted = map { $_ => 1 } @ARGV;    # these shapes alone

# A server of SHAPE under pprof-run, and the load that it gets: the program,
# its socket, the file of what its handlers used.
sub serve {
	my ($shape) = @_;
	my $port = free_port();
	my $sock = "$dir/" . ++$n . '.%p';
	my $used = "$dir/used$n";

	my $server = Debug::App->start(
		cmd => ["$build/pprof-run", '-l', "unix:$sock", $app, 'serve',
			$shape, $port, $used],
		ready => sub {
			return IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port");
		});

	# of prefork one child is asked, any
	my $children = $shape eq 'prefork';
	my $pid = $server->pid();

	wait_for(sub {
		my @there = grep { !$children || !/\.$pid$/ } glob "$dir/$n.*";
		return @there >= ($children ? 3 : 1);
	}, 20);

	my ($there) = grep { !$children || !/\.$pid$/ } glob "$dir/$n.*";

	return ($server, $there, $children && $there =~ /(\.\d+)$/
		? "$used$1" : $used, $port);
}

sub load {
	my ($port, $connections, $seconds, @how) = @_;

	return Debug::App->start(
		cmd => [$app, 'load', $port, $connections, $seconds, @how]);
}

sub ask {
	my ($sock, $path) = @_;
	return Debug::Nginx::http_get("/debug/pprof/$path", unix => $sock,
		timeout => 60);
}

# Nanoseconds that the handlers of each route used.
sub used {
	return (unpack 'Q10', Debug::Nginx::read_file($_[0]))[0 .. 4];
}

# Adds to SUM what a profile says of the handlers: ns of those under their own
# route, another's, and none; in all; what each label has; and all there is.
sub read_labels {
	my ($r, $sum) = @_;
	Debug::Nginx::write_file("$dir/p", $r->{body});
	my $text = Debug::Nginx::go_pprof('-raw', "$dir/p")->{out};

	my ($samples) = $text =~ /^Samples:\n(.*?)^Locations/ms;
	my ($locations) = $text =~ /^Locations\n(.*?)^Mappings/ms;
	my %name = ($locations // '')
		=~ /^ +(\d+): 0x[0-9a-f]+ (?:M=\d+ )?(\S+)/mg;

	while (($samples // '') =~ /^\s+\d+\s+(\d+): ([\d ]+)\n(\s+route:\[(.*?)\])?/mg)
	{
		my ($ns, $stack, $label) = ($1, $2, $4 // 'unlabeled');
		my ($handler) = map { ($name{$_} // '') =~ /^handle_(\d)/ ? $1 : () }
			split ' ', $stack;

		$sum->{all} += $ns;
		$sum->{label}{$label} += $ns;
		next unless defined $handler;

		$sum->{handlers} += $ns;
		$sum->{$label eq "/r$handler" ? 'right'
			: $label eq '-' ? 'none' : 'wrong'} += $ns;
	}
}

# A profile of SHAPE under load, and what it is to say.
sub shape {
	my ($shape, %o) = @_;
	return if %wanted && !$wanted{$shape};
	my ($server, $sock, $file, $port) = serve($shape);
	my $load = load($port, $o{connections} // 8, 120, @{ $o{how} // [] });
	my %sum = map { $_ => 0 } qw/ right wrong none handlers all /;

	sleep 1;

	# on a busy machine little is computed

	my @before = used($file);
	for (1 .. 6) {
		my $r = ask($sock, 'profile?seconds=4&hz=250&labels=route');

		is($r->{status}, 200, "$shape: a profile") or diag($r->{body});
		read_labels($r, \%sum);
		last if $sum{handlers} > 400e6;
	}
	my @after = used($file);

	my $handlers = $sum{handlers} || 1;

	cmp_ok($sum{handlers}, '>', 0, "$shape: there is something to tell");
	cmp_ok($sum{wrong} / $handlers, '<=', $o{wrong} // 0.005, sprintf
		'%s: %.2f %% under another route', $shape,
		100 * $sum{wrong} / $handlers);
	cmp_ok($sum{right} / $handlers, '>=', $o{right}, sprintf
		'%s: %.2f %% under the right route, %.2f %% under none', $shape,
		100 * $sum{right} / $handlers, 100 * $sum{none} / $handlers);
	is($sum{label}{unlabeled}, undef, "$shape: each sample says something");

	if ($o{right} > 0.5) {
		# shares of what has a route, by label and by the handlers' clock
		my @true = map { $after[$_] - $before[$_] } 0 .. 4;
		my ($of, $known) = (0, 0);
		$of += $_ for @true;
		$known += $sum{label}{"/r$_"} // 0 for 1 .. 5;

		for my $i (1 .. 5) {
			my $told = ($sum{label}{"/r$i"} // 0) / ($known || 1);
			my $true = $true[$i - 1] / ($of || 1);

			# the edges of the two windows differ; and on a busy machine
			# there are few samples: three of their standard deviations
			my $many = $known / 4e6 || 1;
			my $by = 0.03 + 3 * sqrt($true * (1 - $true) / $many);

			cmp_ok(abs($told - $true), '<', $by, sprintf
				'%s: /r%d: %.1f %%, by its clock %.1f', $shape, $i,
				100 * $told, 100 * $true);
		}
	}

	if ($o{then}) {
		$o{then}->($sock, $server);
	}

	$load->stop();
	is($server->stop(), 143, "$shape: it ran on");
}




# What else there is to ask, of SOCK, under load.
sub faces {
	my ($sock) = @_;
	my $r = ask($sock, 'profile?seconds=2&by=route');

	is($r->{status}, 200, 'by=route') or diag($r->{body});
	like($r->{body}, qr/^route +CPU ms +share +requests +CPU ms each$/m,
		'by=route: a table');
	like($r->{body}, qr!^/r5 +[\d.]+ +[\d.]+% +\d+ +[\d.]+$!m,
		'by=route: a route');
	like($r->{body}, qr/^# requests that were under way when this began/m,
		'by=route: what it cannot know');

	$r = ask($sock, 'profile?seconds=2&by=route&format=json');
	my $json = decode_json($r->{body});
	my ($r5) = grep { $_->{route} eq '/r5' } @{ $json->{routes} };

	cmp_ok($r5->{cpu_ms}, '>', 0, 'JSON: CPU time');
	cmp_ok(abs($r5->{cpu_ms_per_request}
		- $r5->{cpu_ms} / ($r5->{requests} || 1)), '<', 0.1,
		'JSON: CPU time of a request');

	my $sum = 0;
	$sum += $_->{cpu_ms} for @{ $json->{routes} };
	cmp_ok(abs($sum - $json->{cpu_ms}), '<', 0.1 * @{ $json->{routes} },
		'JSON: the routes are the whole');

	$r = ask($sock, 'profile?seconds=2&labels=route,thread&hz=250');
	Debug::Nginx::write_file("$dir/p", $r->{body});

	my $out = Debug::Nginx::go_pprof('-raw', "$dir/p")->{out};
	like($out, qr!route:\[/r5\].*\n?.*thread_name:\[routes\]!,
		'route and thread');
	$out = Debug::Nginx::go_pprof('-tags', "$dir/p")->{out};
	like($out, qr!^ *route:.*^ +\S+ \(.*%\): /r5$!ms, '-tags');
	$out = Debug::Nginx::go_pprof('-top', '-tagroot=route', "$dir/p")->{out};
	like($out, qr!%\s+/r5$!m, '-tagroot: a root for each route');
	$out = Debug::Nginx::go_pprof('-top', '-tagfocus=route=/r5',
		"$dir/p")->{out};
	like($out, qr/handle_5/, '-tagfocus: its handler');
	unlike($out, qr/handle_[1-4]/, '-tagfocus: no other');
	like(Debug::Nginx::go_pprof('-comments', "$dir/p")->{out},
		qr/^by route: [\d.]+ % of the time belongs to a known one/m,
		'how much is known');

	$r = ask($sock, 'profile?seconds=2&labels=route&format=folded');
	like($r->{body}, qr!^/r(\d);.*;handle_\1 \d+$!m,
		'folded: routes are roots');
	unlike($r->{body}, qr!^(?:/r[1-5]|-) ?\d*$!m, 'folded: and have stacks');
	is(scalar(grep { !m!^(?:/r[1-5]|-);! } split /\n/, $r->{body}), 0,
		'folded: all of them');

	$r = ask($sock, 'profile?seconds=1&format=folded');
	unlike($r->{body}, qr!^/r!m, 'no routes unless asked');

	for ('by=color', 'labels=color', 'format=json') {
		is(ask($sock, "profile?seconds=1&$_")->{status}, 400, "$_: 400");
	}

	is(ask($sock, "$_?seconds=1&labels=route")->{status}, 400,
		"$_ knows no routes") for qw/ goroutine growth /;
	is(ask($sock, 'heap?by=route')->{status}, 400, 'heap is not by route');
}

###############################################################################

# what is under way at the end is nobody's, and on a busy machine that is more

my $least = 0.97;

shape('thread', right => $least);
shape('pool', right => $least, then => \&faces);
shape('workers', right => $least);
shape('epoll', right => $least);
shape('prefork', right => $least, connections => 3);

# where a loop writes for workers it cannot be known, unless they say it

shape('loop', right => 0, wrong => 0);
shape('labeled', right => $least, wrong => 0);

# requests without a mark, and nobody's time

shape('pool', right => 0, wrong => 0, how => ['bare']);

done_testing();
