#!/usr/bin/perl

# Handlers and directives where one seldom sees them: nginx -t, the start and
# a reload live with each, and what is served there counts.
#
# A handler of a server that has no location ended nginx -t by signal 11.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Debug::Nginx;

my $t = Debug::Nginx->new();

my $b = backend(Debug::Backend::answer(200, 'b'));
my $addr = $b->addr();

sub http {
    my ($text) = @_;

    return <<"EOC";
%%TEST_GLOBALS%%
worker_processes 1;
events { }
http {
    %%TEST_GLOBALS_HTTP%%
$text
}
EOC
}


# -- handlers of a server

my $tunnel = $t->has(qr/nginx.1\.(3[1-9]|[4-9]\d)/)
             && !$t->has(qr/without-http_tunnel_module/);

my %handler;

$handler{stub_status} = 'stub_status;' if $t->has(qr/http_stub_status/);
$handler{tunnel_pass} = 'tunnel_pass $arg_to;' if $tunnel;

for my $name (sort keys %handler) {
    my ($exit, $out) = $t->test_config(http("server {
        listen 127.0.0.1:%%PORT_1%%;
        $handler{$name}
    }"));
    is($exit, 0, "$name of a server") or diag($out);

    ($exit, $out) = $t->test_config(http("server {
        listen 127.0.0.1:%%PORT_1%%;
        debug_record off;
        $handler{$name}
        location / { proxy_pass http://\$arg_to; }
    }"));
    is($exit, 0, "$name of a server that is not recorded") or diag($out);
}

SKIP: {
    skip 'no stub_status', 9 unless $handler{stub_status};

    my $conf = http(<<"EOC");
    server {
        listen 127.0.0.1:%%PORT_0%%;
        server_name main;
        location /debug/ { debug; }
    }
    server {
        listen 127.0.0.1:%%PORT_1%%;
        server_name whole;
        stub_status;
    }
    server {
        listen 127.0.0.1:%%PORT_2%%;
        server_name part;
        stub_status;
        location /to {
            set \$to $addr;
            proxy_pass http://\$to;
            limit_except GET { deny all; }
            if (\$arg_x) { proxy_pass http://\$to; }
        }
        if (\$arg_y) { return 204; }
    }
EOC

    $t->run($conf);

    for my $round ('started', 'reloaded', 'reloaded twice') {
        $t->reload() if $round ne 'started';

        http_get('/', port => $t->port(1));
        http_get('/', port => $t->port(2));
        http_get($_, port => $t->port(2)) for '/to', '/to?x=1', '/?y=1';

        my $n = {
            started => 1, reloaded => 2, 'reloaded twice' => 3
        }->{$round};

        my $s = wait_for(sub {
            my $s = decode_json(http_get('/debug/stats')->{body});
            return $s->{servers}{part}{total_count} == 4 * $n ? $s : 0;
        });

        ok($s, "$round: requests of the server count");
        is($s->{servers}{whole}{total_count}, $n,
           "$round: those of one without a location, too");
        is($s->{upstreams}{'127.0.0.1'}{total_count}, 2 * $n,
           "$round: the variable host below it");
    }

    $t->stop();
}

done_testing();
