#!/usr/bin/perl

# 66 deploys, each of which replaces a peer: every peer of the configuration
# has its row at once, the group's counts never go down, and old peers do not
# fill the zone: where it is small, their room is used again.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ sleep time /;

use lib "$FindBin::Bin/lib";
use Debug::Nginx;

my $DEPLOYS = 66;

my @addr = map { sprintf '127.3.0.%d', 1 + $_ } 0 .. $DEPLOYS + 2;
my $back = Debug::Nginx->new(module => 0, level => 'crit');
my $port = $back->port(0);

$back->run(<<"EOC");
%%TEST_GLOBALS%%
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    access_log off;
    server {
@{[ map { "        listen $_:$port;\n" } @addr ]}
        location / { return 200 "\$server_addr:\$server_port"; }
    }
}
EOC


# The N-th deploy: three peers of which the oldest is replaced, and a server
# whose name changes each time.

sub conf {
    my ($n, $zone, $workers) = @_;

    return <<"EOC";
%%TEST_GLOBALS%%
worker_processes $workers;
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    access_log off;
    $zone
    upstream app {
@{[ map { "        server $addr[$_]:$port;\n" } $n .. $n + 2 ]}
    }
    server {
        listen 127.0.0.1:%%PORT_0%%;
        server_name main;
        location /debug/ { debug; }
        location / { proxy_pass http://app; }
    }
    server {
        listen 127.0.0.1:%%PORT_1%%;
        server_name version$n;
        location / { return 204; }
    }
}
EOC
}


for (['', 4, 0], ['debug_zone 1m;', 1, 20]) {
    my ($zone, $workers, $wait) = @$_;
    my $name = $zone eq '' ? 'default' : 'debug_zone 1m';
    my $t = Debug::Nginx->new(level => 'crit');

    $t->run(conf(0, $zone, $workers));

    my (%truth, @missing, @less, %group);
    my ($sent, $own, $total, $s, $longest) = (0, 0, 0, undef, 0);

    for my $n (0 .. $DEPLOYS) {

        if ($n) {
            $t->write_conf(conf($n, $zone, $workers));
            $t->reload();
        }

        for (1 .. 6) {
            my $r = http_get('/', port => $t->port(0));
            $truth{$r->{body}}++;
            $sent++;
        }

        http_get('/', port => $t->port(1));
        $own++;

        # where there is room, at once; else when it is made
        my $row = sub {
            $s = decode_json(http_get('/debug/stats',
                                      port => $t->port(0))->{body});
            my $peers = $s->{upstreams}{app}{peers};

            push @less, "deploy $n: $s->{upstreams}{app}{total_count},"
                        . " was $group{total_count}"
                if grep { ($s->{upstreams}{app}{$_} // 0)
                          < ($group{$_} // 0) }
                        qw/ total_count tries connects headers
                            received_bytes sent_bytes total_response_time_sec /;
            push @less, "deploy $n: all: $s->{total_count}, was $total"
                if $s->{total_count} < $total;
            %group = %{ $s->{upstreams}{app} };
            $total = $s->{total_count};

            return !grep { my $p = $peers->{"$addr[$_]:$port"};
                           !$p || !$p->{configured} } $n .. $n + 2;
        };

        my $start = time();

        push @missing, "deploy $n" unless wait_for($row, $wait);
        $longest = time() - $start if time() - $start > $longest;
    }

    diag(sprintf '%s: %dk of %dk used, %d names, the longest wait %.1f s',
         $name, $s->{zone}{used} / 1024, $s->{zone}{size} / 1024,
         $s->{zone}{names}, $longest);

    is(scalar @missing, 0, "$name: no live peer without its row")
        or diag("@missing");
    is(scalar @less, 0, "$name: no count of the group or of all went down")
        or diag(join "\n", @less);
    cmp_ok($s->{zone}{used}, '<=', $s->{zone}{size}, "$name: within its size");

    is($s->{upstreams}{app}{total_count}, $sent, "$name: the group has all");
    is($s->{total_count}, $sent + $own, "$name: and so has the sum of all")
        if $zone eq '';

    my $peers = $s->{upstreams}{app}{peers};

    if ($zone eq '') {
        my @wrong = grep { $truth{$_} != $peers->{$_}{total_count} }
                    keys %truth;

        is(scalar @wrong, 0, "$name: each peer has its own") or diag("@wrong");
        # which takes a second

        ok(wait_for(sub {
            $s = decode_json(http_get('/debug/stats',
                                      port => $t->port(0))->{body});
            return $DEPLOYS == grep { $_->{state} eq 'removed' }
                               values %{ $s->{upstreams}{app}{peers} };
        }, 10), "$name: those of before are marked");
        is($s->{zone}{dropped}, 0, "$name: nothing was dropped");

    } else {
        cmp_ok(scalar(keys %$peers), '<', $DEPLOYS,
               "$name: those of before have gone");
    }
}

done_testing();
