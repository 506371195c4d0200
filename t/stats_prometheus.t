#!/usr/bin/perl

# A real Prometheus scrapes /debug/metrics in both formats and answers a p99
# query with the right number; promtool finds nothing to complain about.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin;
use lib "$FindBin::Bin/lib";

use Debug::App;
use Debug::Nginx;

###############################################################################

need_bin(qw/ nginx prometheus promtool /);

my $dir = temp_dir('prometheus');

# 49 of 50 answers at once, one after 300 ms: p99 is that one, whose bucket
# ends at 500 ms and begins at 250 ms

my $backend = backend(sub {
    my ($req, $c) = @_;
    $c->delay(0.3) if $req->{uri} =~ /slow/;
    $c->reply(200, "ok\n");
});

my $t = Debug::Nginx->new();

$t->write_conf(<<"EOC")->run();
%%TEST_GLOBALS%%
worker_processes 2;
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    upstream "quote\\"back\\\\slash" {
        server @{[ $backend->addr() ]};
        server "unix:$dir/q\\"b\\\\n\\nx\xff\xc3(" backup;
    }
    upstream "new\\nline\xf0\x9f" { server @{[ $backend->addr() ]}; }
    upstream dead { server 127.0.0.1:@{[ free_port() ]}; }
    server {
        listen 127.0.0.1:%%PORT_0%%;
        server_name "utf\xc3\xa9" "x";
        location / { proxy_pass 'http://quote"back\\slash'; }
        location /dead { proxy_pass http://dead; }
        location /debug/ { debug; }
    }
    server {
        listen 127.0.0.1:%%PORT_0%%;
        server_name "broken\xff";
        location / { return 204; }
    }
}
EOC

# -- names

{
    my $body = http_get('/debug/metrics')->{body};
    my $bad = "\xef\xbf\xbd";

    for (['upstream', 'upstream="quote\"back\\\\slash"'],
         ['upstream', "upstream=\"new\\nline$bad$bad\""],
         ['server', "server=\"utf\xc3\xa9\""],
         ['server', "server=\"broken$bad\""],
         ['peer', 'upstream="quote\"back\\\\slash",'
                  . "peer=\"unix:$dir/q\\\"b\\\\n\\nx$bad$bad(\""])
    {
        my ($kind, $labels) = @$_;
        ok(index($body, "\nnginx_debug_${kind}_active{$labels} ") >= 0,
           "$kind: $labels")
            or diag($body =~ /^(nginx_debug_${kind}_active.*)$/mg);
    }

    ok(utf8::decode(my $copy = $body), 'all of it is UTF-8');
}

# -- promtool

http_get('/') for 1 .. 3;
http_get('/dead');

for my $accept ('', 'application/openmetrics-text') {
    my $r = http_get('/debug/metrics', headers => { Accept => $accept });

    if ($accept) {
        like($r->{headers}{'content-type'}, qr!^application/openmetrics-text!,
             'OpenMetrics when it is asked for');
        like($r->{body}, qr/\n# EOF\n\z/, 'EOF');
        like($r->{body}, qr/^# TYPE nginx_debug_server_responses counter$/m,
             'a counter family without _total');

    } else {
        like($r->{headers}{'content-type'}, qr!^text/plain; version=0\.0\.4!,
             'text otherwise');

        my $check = run_cmd(['promtool', 'check', 'metrics'],
                            stdin => $r->{body});
        is($check->{exit}, 0, 'promtool') or diag($check->{err});
        is($check->{out} . $check->{err}, '', 'promtool: no lint');
    }

    # families are contiguous, no series comes twice

    my (%seen, %series);
    for (split /\n/, $r->{body}) {
        if (/^# TYPE (\S+)/) {
            fail("$1: two blocks") if $seen{$1}++;
        } elsif (/^([^#]\S*(?:\{.*\})?) \S+$/) {
            fail("$1 comes twice") if $series{$1}++;
        }
    }
    cmp_ok(scalar keys %series, '>', 50, 'series');
}

# -- Prometheus itself

my $port = free_port();

write_file("$dir/prometheus.yml", <<"EOC");
global: { scrape_interval: 1s, scrape_timeout: 1s }
scrape_configs:
  - job_name: nginx
    metrics_path: /debug/metrics
    static_configs: [ { targets: [ "127.0.0.1:@{[ port(0) ]}" ] } ]
EOC

my $app = Debug::App->start(cmd => ['prometheus',
    "--config.file=$dir/prometheus.yml", "--storage.tsdb.path=$dir/data",
    "--web.listen-address=127.0.0.1:$port"], ready => { port => $port },
    timeout => 30);

sub query {
    my ($q) = @_;
    $q =~ s/([^\w.-])/sprintf '%%%02X', ord $1/ge;
    my $r = http_get("/api/v1/query?query=$q", port => $port);
    return unless $r->{status} == 200;
    my $result = decode_json($r->{body})->{data}{result};
    return unless $result && @$result == 1;
    return $result->[0];
}

my $up = wait_for(sub {
    my $r = query('up{job="nginx"}');
    return $r && $r->{value}[1] eq '1';
}, 20);
ok($up, 'Prometheus scrapes') or diag($app->err());

# two scrapes at least before and after

sleep 2;

for my $i (1 .. 100) {
    http_get($i % 50 == 0 ? '/slow' : '/fast');
}

my $want = 103;
my $r;

ok(wait_for(sub {
    $r = query('sum(nginx_debug_peer_responses_total{code="200"})');
    return $r && $r->{value}[1] == $want;
}, 10), 'all answers are counted') or diag($r && $r->{value}[1]);

$r = query('histogram_quantile(0.99, sum by (le) '
    . '(increase(nginx_debug_peer_response_time_seconds_bucket[30s])))');
ok($r, 'p99: an answer')
    and cmp_ok($r->{value}[1], '>', 0.25)
    and cmp_ok($r->{value}[1], '<', 0.501);

$r = query('histogram_quantile(0.5, sum by (le) '
    . '(increase(nginx_debug_peer_response_time_seconds_bucket[30s])))');
ok($r && $r->{value}[1] < 0.25, 'the median is one of the fast ones');

$r = query('nginx_debug_upstream_failures_total{upstream="dead",'
    . 'cause="connect"}');
is($r && $r->{value}[1], 1, 'failures by cause');

$r = query('nginx_debug_upstream_responses_total'
    . '{upstream="quote\"back\\\\slash"}');
is($r && $r->{value}[1], $want, 'a name with a quote and a backslash');

$app->stop();

done_testing();

###############################################################################
