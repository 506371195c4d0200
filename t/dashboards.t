#!/usr/bin/perl

# docs/dashboards/: what is asked for there is there, alerts fire, and who
# scrapes as Alloy and Parca do gets a profile of each peer.

###############################################################################

use warnings;
use strict;

use Cwd ();
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";

use Debug::App;
use Debug::Nginx;

###############################################################################

need_bin('nginx', 'promtool');

my $build = $ENV{DEBUG_BUILD} // Cwd::abs_path("$FindBin::Bin/../build");
my $docs = "$FindBin::Bin/../docs/dashboards";
my $dir = temp_dir('dash');

my ($port, $pprof, $refused) = map { free_port() } 1 .. 3;

Debug::App->start(
	cmd => ["$build/t/app/acs", '-p', $port, '-d', "127.0.0.1:$pprof"],
	ready => { port => $pprof });

my $t = Debug::Nginx->new();

$t->write_conf(<<"EOC")->run();
%%TEST_GLOBALS%%
worker_processes 2;
events { }
http {
    %%TEST_GLOBALS_HTTP%%

    upstream acs { server 127.0.0.1:$port; }
    upstream acs_pprof { server 127.0.0.1:$pprof; }
    upstream dead {
        server 127.0.0.1:$refused;
        server 127.0.0.1:1 down;
    }
    upstream "odd \\"one\\"" { server 127.0.0.1:$refused; }

    server {
        listen 127.0.0.1:%%PORT_0%%;
        server_name s;
        location / { proxy_pass http://acs; }
        location /dead { proxy_pass http://dead; }
        location /debug/ { debug; debug_pprof_max 32; }
        location /own { debug pprof; debug_pprof_pass acs acs_pprof;
                        debug_access all; }
        location /stats/ { debug stats; }
    }
}
EOC

http_get('/');
http_get('/dead');

# -- every name and label is one that nginx has

my %label;
my $text = http_get('/debug/metrics')->{body};

while ($text =~ /^(nginx_debug_\w+)(?:\{(.*?)\})? \S+$/mg) {
	my ($name, $labels) = ($1, $2 // '');
	$label{$name}{$_} = 1 for '', $labels =~ /(\w+)="/g;
}

cmp_ok(scalar(keys %label), '>', 40, 'metrics');

# what Prometheus adds itself, and what rules record
my %added = map { $_ => 1 } qw/ job instance /;

sub known {
	my ($what, @exprs) = @_;
	my @bad;

	for my $expr (@exprs) {
		my @by = map { /\w+/g } $expr =~ /\bby \((.*?)\)/g;
		my @names = $expr =~ /(?<![:\w])(nginx_debug_\w+)/g;

		push @bad, "no metric in $expr"
			unless @names || $expr =~ /upstream:nginx_debug_/;

		while ($expr =~ /(?<![:\w])(nginx_debug_\w+)(?:\{(.*?)\})?/sg) {
			my ($name, $labels) = ($1, $2 // '');

			push @bad, "no $name" unless $label{$name};
			push @bad, map { "no $_ of $name" }
				grep { !$label{$name}{$_} && !$added{$_} }
				$labels =~ /(\w+)(?:=|!)~?"/g, @by;
		}
	}

	is(join("\n", @bad), '', "$what: what it asks for is there");
}

my $grafana = decode_json(read_file("$docs/grafana.json"));
my @panels = grep { $_->{type} ne 'row' } @{$grafana->{panels}};
my @exprs = map { $_->{expr} } map { @{$_->{targets}} } @panels;

cmp_ok(scalar(@exprs), '>', 15, 'grafana.json: panels');
known('grafana.json', @exprs,
	map { $_->{expr} } @{$grafana->{annotations}{list}});
known('grafana.json, variables', map { s/label_values\((.*), \w+\)/$1/r }
	map { $_->{definition} // () } @{$grafana->{templating}{list}});

my %ids;
is(scalar(grep { $ids{$_->{id}}++ } @{$grafana->{panels}}), 0,
	'grafana.json: an id is one panel\'s');

# what Grafana puts in is put in; then Prometheus has to read it

write_file("$dir/grafana.yml", "groups:\n- name: g\n  rules:\n"
	. join '', map {
		my $e = s/\$__rate_interval/5m/gr =~ s/\$(?:job|upstream|peer)/.*/gr;
		"  - record: x\n    expr: '" . ($e =~ s/'/''/gr) . "'\n"
	} map { s/\n/ /gr } @exprs);
my $r = run_cmd(['promtool', 'check', 'rules', '--lint=none',
	"$dir/grafana.yml"]);
is($r->{exit}, 0, 'grafana.json: expressions') or diag($r->{err});

# -- rules

my $rules = read_file("$docs/rules.yml");
my @rules = $rules =~ /^    expr: (?:\|\n)?(.*?)\n(?=\n|    \w)/msg;
cmp_ok(scalar(@rules), '>', 9, 'rules.yml: rules');
known('rules.yml', @rules);

$r = run_cmd(['promtool', 'test', 'rules', 'rules_test.yml'], cwd => $docs);
is($r->{exit}, 0, 'rules.yml: each fires when it should')
	or diag($r->{out} . $r->{err});

my $tests = read_file("$docs/rules_test.yml");
is(join(' ', grep { $tests !~ /alertname: $_\n    eval_time: \w+\n    exp_alerts:\n    - / }
	$rules =~ /alert: (\w+)/g), '', 'rules.yml: each is seen to fire');

# -- what to scrape

for my $file ('prometheus.yml', 'otelcol.yaml') {
	my $conf = read_file("$docs/$file");

	# the receiver's configuration is Prometheus' own
	$conf =~ s/.*?^    config:\n((?:      [^\n]*\n)+).*/$1/ms
		and $conf =~ s/^      //mg;
	$conf =~ s!\brules\.yml\b!Cwd::abs_path("$docs/rules.yml")!e;
	write_file("$dir/$file", $conf);
	$r = run_cmd(['promtool', 'check', 'config', "$dir/$file"]);
	is($r->{exit}, 0, "$file: read by promtool") or diag($r->{err});

	my ($path) = $conf =~ /metrics_path: (\S+)/;
	is(http_get($path)->{status}, 200, "$file: path");
}

# -- peers as they are discovered

my $host = '127.0.0.1:' . $t->port(0);
my $sd = '/debug/pprof/targets?format=http_sd';

$r = http_get($sd, headers => { Host => $host });
is($r->{status}, 200, 'targets');
is($r->{headers}{'content-type'}, 'application/json', 'targets: type');

my $list = decode_json($r->{body});
is(join(' ', map { "$_->{labels}{upstream}/$_->{labels}{peer}" } @$list),
	"acs/127.0.0.1:$port acs_pprof/127.0.0.1:$pprof"
	. " dead/127.0.0.1:$refused odd \"one\"/127.0.0.1:$refused",
	'targets: those that can be asked');
is_deeply($list->[0], { targets => [$host], labels => {
	__scheme__ => 'http',
	__profile_path_prefix__ => "/debug/pprof/acs/127.0.0.1:$port",
	service_name => 'acs', upstream => 'acs', peer => "127.0.0.1:$port",
	instance => "127.0.0.1:$port" } }, 'targets: a peer');

# a location without its slash, and what it may profile; a Host as it came

$r = http_get('/own/pprof/targets', headers => { Host => 'a"b.example' });
$list = decode_json($r->{body});
is(scalar(@$list), 1, 'targets: of that location');
is($list->[0]{labels}{__profile_path_prefix__},
	"/own/pprof/acs/127.0.0.1:$port", 'targets: its prefix');
is($list->[0]{targets}[0], 'a"b.example', 'targets: the address that was asked');

is(http_get('/debug/pprof/targets?format=yaml')->{status}, 400,
	'targets: another format');
like(http_get('/debug/pprof/targets?format=yaml')->{body}, qr/http_sd/,
	'targets: which there is');
is(http_get('/debug/pprof/targets', method => 'POST')->{status}, 405,
	'targets: POST');
is(http_get('/stats/pprof/targets')->{status}, 404, 'targets: debug stats');
is(decode_json(http_get('/debug/pprof/targets', version => '1.0',
	headers => { Host => undef })->{body})->[0]{targets}[0], $host,
	'targets: HTTP/1.0 without a Host');

# Prometheus' own client of it

write_file("$dir/sd.yml", "scrape_configs:\n- job_name: j\n"
	. "  http_sd_configs:\n  - url: http://$host$sd\n");
$r = run_cmd(['promtool', 'check', 'service-discovery', '--timeout=20s',
	"$dir/sd.yml", 'j'], timeout => 40);
like($r->{out}, qr/"peer": "127\.0\.0\.1:$port"/, 'promtool discovers it')
	or diag($r->{out} . $r->{err});

# -- profiles, as Alloy and Parca ask for them

$list = decode_json(http_get($sd =~ s!^/debug!/own!r)->{body});

my %paths = (
	'config.alloy' => qr/profile\.(\w+) *\{ enabled = (true) path = "(.*?)"/,
	'parca.yaml' => qr/(\w+): \{ enabled: (true),(?: delta: true,)? path: (\S+) \}/,
);

for my $file (sort keys %paths) {
	my $conf = read_file("$docs/$file");
	my $n = 0;

	like($conf, qr!http://[\d.:]+\Q$sd\E!, "$file: where peers are found");

	while ($conf =~ /$paths{$file}/g) {
		my ($name, $path) = ($1, $3);
		my $q = $name eq 'process_cpu' ? '?seconds=1' : '';
		my $r = http_get("$list->[0]{labels}{__profile_path_prefix__}$path$q",
			timeout => 20, headers => { 'User-Agent' => 'Alloy/1.0',
			'Accept-Encoding' => 'gzip' });

		is($r->{status}, 200, "$file: $name") or diag($r->{body});
		is(substr($r->{body}, 0, 2), "\x1f\x8b", "$file: $name, a profile");
		$n++;
	}

	is($n, 3, "$file: kinds");
}

done_testing();

###############################################################################
