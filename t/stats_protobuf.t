#!/usr/bin/perl

# /debug/metrics as protobuf with native histograms, read by a decoder of our
# own and by a real Prometheus, against the same as text: what the two say is
# the same; who is given which; and which part of it, by a filter.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin;
use lib "$FindBin::Bin/lib";

use Debug::App;
use Debug::Nginx;
use Debug::Proto;

###############################################################################

need_bin(qw/ nginx prometheus /);

my $PROTO = 'application/vnd.google.protobuf;'
            . 'proto=io.prometheus.client.MetricFamily;encoding=delimited';

my $backend = backend(sub {
    my ($req, $c) = @_;
    $c->delay($1) if $req->{uri} =~ /delay=([\d.]+)/;
    $c->reply($req->{uri} =~ /code=(\d+)/ ? $1 : 200, "ok\n");
});

my $t = Debug::Nginx->new();
my $refused = '127.0.0.1:' . free_port();

$t->write_conf(<<"EOC")->run();
%%TEST_GLOBALS%%
worker_processes 2;
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    upstream "quote\\"back\\\\slash" { server @{[ $backend->addr() ]}; }
    upstream "new\\nline\xf0\x9f" { server @{[ $backend->addr() ]}; }
    upstream dead { server $refused; }
    upstream idle { server $refused; server @{[ $backend->addr() ]}; }
    server {
        listen 127.0.0.1:%%PORT_0%%;
        server_name a;
        location / { proxy_pass 'http://quote"back\\slash'; }
        location /dead { proxy_pass http://dead; }
        location /var { set \$to @{[ $backend->addr() ]};
                        proxy_pass http://\$to; }
        location /debug/ { debug; }
    }
    server {
        listen 127.0.0.1:%%PORT_0%%;
        server_name "broken\xff";
        location / { return 204; }
    }
}
EOC

# some of everything: spread over the buckets, and many in one

http_get("/?delay=$_") for qw/ 0.002 0.01 0.05 0.3 1.1 /;
http_get("/?code=$_") for qw/ 200 404 404 500 503 301 /;
http_get('/') for 1 .. 300;
http_get('/dead') for 1 .. 3;
http_get('/var');


sub scrape {
    my ($accept, $args) = @_;
    my $r = http_get('/debug/metrics' . ($args // ''),
                     headers => { Accept => $accept });

    is($r->{status}, 200, "200: $accept" . ($args // ''));
    return $r;
}


# Text as Debug::Proto has it: each name{labels} and its value.

sub text_series {
    my ($text) = @_;
    my %series;

    for (split /\n/, $text) {
        next if /^#/;
        /^(\S+?(?:\{.*\})?) (\S+)$/ or die "$_\n";
        $series{$1} = $2;
    }

    return \%series;
}


# -- the same numbers

{
    # what depends on when it was asked for stands still after two seconds

    my ($text, $proto);

    wait_for(sub {
        $text = text_series(scrape('text/plain')->{body});
        my $r = scrape($PROTO);
        like($r->{headers}{'content-type'},
             qr!^application/vnd\.google\.protobuf; proto=\S+; enc!, 'its type');
        $proto = proto_series($r->{body});

        return !grep { /last_second/ && $proto->{$_}{value} } keys %$proto;
    }, 5);

    my (@other, @absent, %histogram);

    for my $name (sort keys %$text) {

        if ($name =~ /^(\w+_seconds)_(bucket|sum|count)\{(.*)\}$/) {
            my ($family, $what, $labels) = ($1, $2, $3);
            my $le = $labels =~ s/,le="([^"]*)"$// ? $1 : $what;
            $histogram{"$family\{$labels}"}{$le} = $text->{$name};
            next;
        }

        my $p = delete $proto->{$name};

        if (!defined $p) {
            push @absent, $name;

        } elsif ($name =~ /^nginx_debug_connections/) {

            # the second scrape is a connection more

            push @other, $name if abs($p->{value} - $text->{$name}) > 2;

        } elsif (abs($p->{value} - $text->{$name}) > 1e-9 * $text->{$name}) {
            push @other, "$name: $p->{value}, not $text->{$name}";
        }
    }

    is("@other", '', 'each number is the same');

    # what a peer never counted is not there, and nothing else is missing

    my @wrong = grep { !/^nginx_debug_peer_(?:last_second|configured
                                              |answer_time_\w+)\{/x
                       && !(/^nginx_debug_peer_\w+_total\{/
                            && $text->{$_} == 0) } @absent;

    is("@wrong", '', 'and all are there');
    cmp_ok(scalar @absent, '>', 20, 'but for what peers never counted');

    for my $name (sort keys %histogram) {
        my $h = $histogram{$name};
        my $p = delete $proto->{$name};

        ok($p && $p->{type} eq 'histogram', $name) or next;
        $p = $p->{histogram};

        is($p->{schema}, 4, 'schema');
        cmp_ok($p->{spans}, '>', 0, 'spans: it is a native one');
        is($p->{zero}, 2 ** -20, 'below which is 0');
        is($p->{count}, $h->{count}, 'count');
        cmp_ok(abs($p->{sum} - $h->{sum}), '<=', 1e-9 * $h->{sum}, 'sum');
        cmp_ok(abs($p->{created} - time()), '<', 600, 'created');

        my $all = $p->{zeros};
        $all += $_ for values %{ $p->{bucket} };
        is($all, $p->{count}, 'all buckets together');

        # each bound of the text is a bound of those

        my @le = grep { /^[\d.]+$/ } keys %$h;
        is(scalar @le, $p->{count} ? 21 : 0, 'bounds');

        for my $le (sort { $a <=> $b } @le) {
            my $n = $p->{zeros};
            my $last = 16 * log($le) / log(2);

            $n += $p->{bucket}{$_}
                for grep { $_ <= $last + 0.01 } keys %{ $p->{bucket} };
            is($n, $h->{$le}, "up to $le");
        }
    }

    is(join(' ', sort keys %$proto), '', 'and nothing more');

    my ($slash) = grep { /peer_response_time.*quote/ } keys %histogram;
    is($histogram{$slash}{count}, 311, 'as many as there were');
    cmp_ok($histogram{$slash}{'0.25'}, '<=', 309, 'of which two took longer');
    cmp_ok($histogram{$slash}{'1.0'}, '<=', 310, 'and one much longer');
    is($histogram{$slash}{'128.0'}, 311, 'which is below the last');
}

# -- who is given what

for ([undef, 'text'],
     ['', 'text'],
     ['*/*', 'text'],
     ['text/html,application/xhtml+xml,*/*;q=0.8', 'text'],
     ['application/json', 'text'],
     ['application/openmetrics-text', 'openmetrics'],
     ['application/openmetrics-text;version=1.0.0', 'openmetrics'],
     ['application/openmetrics-text; version="0.0.1"', 'openmetrics'],
     ['application/openmetrics-text;version=2.0.0,text/plain;q=0.1', 'text'],
     ['application/openmetrics-text;q=0.5,text/plain;q=0.6', 'text'],
     ['application/openmetrics-text;q=0.75,text/plain;q=0.5', 'openmetrics'],
     ['application/openmetrics-text;q=0', 'text'],
     [$PROTO, 'protobuf'],
     ['APPLICATION/VND.GOOGLE.PROTOBUF; Encoding=delimited;'
      . ' Proto="io.prometheus.client.MetricFamily"', 'protobuf'],
     ["$PROTO;q=0,text/plain", 'text'],
     ["$PROTO;q=0.0,*/*;q=0.001", 'text'],
     ["text/plain;q=0.3,$PROTO;q=0.301", 'protobuf'],
     ["$PROTO;q=bad,application/openmetrics-text;q=0.1", 'openmetrics'],
     ['application/vnd.google.protobuf', 'text'],
     ['application/vnd.google.protobuf;proto=other.Message;'
      . 'encoding=delimited,application/openmetrics-text;q=0.2',
      'openmetrics'],
     ['application/vnd.google.protobuf;proto=io.prometheus.client.'
      . 'MetricFamily;encoding=text', 'text'],

     # Prometheus 2.42 and 3
     ["$PROTO,application/openmetrics-text;version=1.0.0;q=0.8,"
      . 'application/openmetrics-text;version=0.0.1;q=0.75,'
      . 'text/plain;version=0.0.4;q=0.5,*/*;q=0.1', 'protobuf'],
     ['application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,'
      . "$PROTO;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
      . 'text/plain;version=0.0.4;q=0.3,*/*;q=0.2', 'openmetrics'],

     # not to be read beyond its end
     ['"', 'text'], [';', 'text'], ['text/plain;q', 'text'],
     ['text/plain;q=', 'text'], ['a;b="\\', 'text'], [',,,', 'text'])
{
    my ($accept, $want) = @$_;
    my $r = http_get('/debug/metrics', defined $accept
                     ? (headers => { Accept => $accept }) : ());
    my ($got) = $r->{headers}{'content-type'}
                =~ /(protobuf|openmetrics|text(?=\/plain))/;

    is($got, $want, ($accept // 'no Accept') . ": $want");
}

{
    my $r = http_request("GET /debug/metrics HTTP/1.1\r\nHost: localhost\r\n"
                         . "Accept: text/plain;q=0.1\r\n"
                         . "Accept: $PROTO;q=0.2\r\n"
                         . "Connection: close\r\n\r\n");
    like($r->{headers}{'content-type'}, qr/protobuf/, 'two headers');
}

{
    my $r = http_get('/debug/metrics', method => 'HEAD',
                     headers => { Accept => $PROTO });
    like($r->{headers}{'content-type'}, qr/protobuf/, 'HEAD: the type');
    is($r->{body}, '', 'and no body');
}

# -- filters, as /debug/stats has them

for my $accept ('text/plain', $PROTO) {
    my $names = sub {
        my $body = scrape($accept, $_[0])->{body};
        my $s = $accept eq $PROTO ? proto_series($body) : text_series($body);
        my %seen = map { /^nginx_debug_(\w+?)_active\{(.*)\}/ ? ("$1 $2" => 1)
                                                              : () } keys %$s;
        ok($s->{'nginx_debug_generation'}, 'nginx itself is there');
        return join ' ', sort keys %seen;
    };
    my $addr = $backend->addr();

    is($names->('?upstream=dead'),
       qq{peer upstream="dead",peer="$refused" upstream upstream="dead"},
       'an upstream');
    is($names->("?upstream=idle&peer=$addr"),
       qq{peer upstream="idle",peer="$addr" upstream upstream="idle"},
       'a peer of it');
    is($names->("?peer=$refused"),
       qq{peer upstream="dead",peer="$refused"}
       . qq{ peer upstream="idle",peer="$refused"}
       . ' upstream upstream="dead" upstream upstream="idle"',
       'a peer of two');
    is($names->('?server=a'), 'server server="a"', 'a server');
    is($names->('?server=a&upstream=dead'), '', 'both: nothing has');
    is($names->('?upstream=none'), '', 'no such thing');
}

# -- build_info

{
    my $nginx = $t->version();
    my ($version) = read_file("$FindBin::Bin/../CHANGES")
                    =~ /^Changes with (\S+)/m;
    like(scrape('text/plain')->{body},
         qr/^nginx_debug_build_info\{version="\Q$version\E",nginx="\Q$nginx\E"\} 1$/m,
         'build_info');
}

# -- Prometheus itself

my $dir = temp_dir('prometheus');
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
    '--enable-feature=native-histograms',
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

ok(wait_for(sub {
    my $r = query('up{job="nginx"}');
    return $r && $r->{value}[1] eq '1';
}, 20), 'Prometheus scrapes') or diag($app->err());

my $peer = 'nginx_debug_peer_response_time_seconds'
           . '{upstream="quote\"back\\\\slash"}';

# two scrapes at least before

ok(wait_for(sub { my $r = query("count_over_time($peer\[1m])");
                  return $r && $r->{value}[1] >= 2 }, 10),
   'and has native histograms');

http_get($_ % 50 == 0 ? '/?delay=0.3' : '/') for 1 .. 100;

my $r;

ok(wait_for(sub {
    $r = query("histogram_count($peer)");
    return $r && $r->{value}[1] == 411;
}, 10), 'all answers are in it') or diag($r && $r->{value}[1]);

# what both say of all that there was

my $truth = decode_json(http_get('/debug/stats')->{body})
            ->{upstreams}{'quote"back\\slash'}{response_time_sec};

for (50, 90, 99) {
    $r = query("histogram_quantile(0.$_, $peer)");
    ok($r, "p$_")
        and cmp_ok(abs($r->{value}[1] / $truth->{"p$_"} - 1), '<', 0.045,
                   'is that of /debug/stats');
}

# over more than this test takes: a minute may hold one scrape only
$r = query("histogram_fraction(0.25, 0.5, increase($peer\[10m]))");
ok($r && $r->{value}[1] > 0.015 && $r->{value}[1] < 0.5,
   'two of a hundred took 300 ms, and maybe what met a busy machine')
    or diag($r && $r->{value}[1]);

$r = query('nginx_debug_peer_failures_total{cause="connect"}');
is($r && $r->{value}[1], 3, 'failures by cause');

$app->stop();

# -- what a cache had

{
    my $cached = Debug::Nginx->new();

    $cached->write_conf(<<"EOC")->run();
%%TEST_GLOBALS%%
worker_processes 2;
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    proxy_cache_path %%DIR%%/one keys_zone=one:1m;
    proxy_cache_path %%DIR%%/two "keys_zone=t\\"wo:1m";
    proxy_cache_valid 1h;
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { proxy_pass http://@{[ $backend->addr() ]}; }
        location /one/ {
            proxy_cache one;
            proxy_cache_bypass \$arg_no;
            proxy_pass http://@{[ $backend->addr() ]};
        }
        location /two/ {
            proxy_cache "t\\"wo";
            proxy_pass http://@{[ $backend->addr() ]};
        }
        location /debug/ { debug; }
    }
}
EOC

    my $port = $cached->port(0);
    my $look = sub {
        my $s = text_series(http_get('/debug/metrics', port => $port)->{body});
        return { map { /^nginx_debug_cache_responses_total\{(.*)\}/ && $s->{$_}
                       ? ($1 => $s->{$_}) : () } keys %$s };
    };
    my $want = { 'zone="one",status="miss"' => 2,
                 'zone="one",status="hit"' => 4,
                 'zone="one",status="bypass"' => 1,
                 'zone="t_wo",status="miss"' => 1 };

    is_deeply($look->(), {}, 'cache: nothing yet');

    http_get($_, port => $port)
        for '/', '/one/a', ('/one/a') x 3, '/one/b', '/one/b', '/one/a?no=1',
            '/two/a';

    ok(wait_for(sub { keys %{ $look->() } == 4 }, 5), 'cache: counted');
    is_deeply($look->(), $want, 'by zone and status');

    my $json = decode_json(http_get('/debug/stats', port => $port)->{body});
    is_deeply({ map { my $z = $_; map {
                $json->{caches}{$z}{$_} ? (qq{zone="$z",status="$_"}
                                           => $json->{caches}{$z}{$_}) : ()
              } keys %{ $json->{caches}{$z} } } keys %{ $json->{caches} } },
              $want, 'and in /debug/stats');

    my $proto = proto_series(http_get('/debug/metrics', port => $port,
                                      headers => { Accept => $PROTO })
                             ->{body});
    is($proto->{qq{nginx_debug_cache_responses_total{$_}}}{value}, $want->{$_},
       "protobuf: $_") for sort keys %$want;

    $cached->reload();
    is_deeply($look->(), $want, 'and after a reload');
    $cached->stop();
}

# -- what stub_status has

SKIP: {
    skip 'no stub_status', 5 unless $t->has(qr/stub_status/);

    my $idle = http_open(port => $t->port(0));
    my $get = sub {
        return text_series(http_get('/debug/metrics',
                                    port => $t->port(0))->{body});
    };
    my $s = $get->();
    my %c = map { $_ => $s->{qq{nginx_debug_connections{state="$_"}}} }
            qw/ active reading writing waiting /;

    cmp_ok($c{active}, '>=', 2, 'connections: this one, and an idle one');
    cmp_ok($c{writing}, '>=', 1, 'this one is answered');
    cmp_ok($c{active}, '>=', $c{reading} + $c{writing}, 'and active are all');

    my $before = $s->{nginx_debug_connections_accepted_total};
    $get->() for 1 .. 3;
    my $now = $get->();

    cmp_ok($now->{nginx_debug_connections_accepted_total}, '>=', $before + 4,
           'each is counted');
    is($now->{nginx_debug_connections_handled_total},
       $now->{nginx_debug_connections_accepted_total}, 'and handled');
}

# -- more series than a piece has: no family is begun twice

my $many = Debug::Nginx->new();
my @peers = map { sprintf 'server 127.2.%d.%d:9;', $_ / 250, 1 + $_ % 250 }
            0 .. 599;

$many->write_conf(<<"EOC")->run();
%%TEST_GLOBALS%%
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    debug_zone 32m;
    upstream many { @peers }
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { proxy_pass http://many; }
        location /debug/ { debug; }
    }
}
EOC

for my $accept ('text/plain', 'application/openmetrics-text', $PROTO) {
    my $r = http_get('/debug/metrics', port => $many->port(0),
                     headers => { Accept => $accept });
    my (%n, $series);

    if ($accept eq $PROTO) {
        $n{$_->{name}}++ for proto_families($r->{body});
        $series = proto_series($r->{body});

    } else {
        $n{$1}++ while $r->{body} =~ /^# TYPE (\S+)/mg;
        $series = text_series($r->{body});
    }

    is(join(' ', grep { $n{$_} > 1 } sort keys %n), '',
       "600 peers, $accept: each family once");
    is(scalar(grep { /^nginx_debug_peer_active/ } keys %$series), 600,
       'each peer');
}

$many->stop();

done_testing();

###############################################################################
