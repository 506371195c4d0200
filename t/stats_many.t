#!/usr/bin/perl

# 202 peers, of which two refuse and one hangs, with 15 groups beside them, four
# workers and a zone of no set size: what the load saw of each is what stats,
# metrics, the overview and the charts say of it.  From the 15th group on there
# was no history, and answering peers were "idle", refusing ones nothing.

use strict;
use warnings;

use FindBin;
use IO::Select;
use Test::More;
use Time::HiRes qw/ sleep time /;

use lib "$FindBin::Bin/lib";
use Debug::Nginx;

my $GOOD = 199;
my $ROUNDS = 4;

# an nginx at as many addresses as there are peers, which says which it is

my @addr = map { sprintf '127.2.%d.%d', $_ / 200, 1 + $_ % 200 }
           0 .. $GOOD - 1;
my $back = Debug::Nginx->new(module => 0, level => 'crit');
my $port = $back->port(0);

$back->run(<<"EOC");
%%TEST_GLOBALS%%
events { worker_connections 2048; }
http {
    %%TEST_GLOBALS_HTTP%%
    access_log off;
    server {
@{[ map { "        listen $_:$port;\n" } @addr ]}
        location / { return 200 "\$server_addr:\$server_port"; }
    }
}
EOC

my $hung = backend(Debug::Backend::hang(120));
my @refuse = ("127.2.9.1:$port", "127.2.9.2:$port");
my @peers = ((map { "$_:$port" } @addr), @refuse, $hung->addr());

my $t = Debug::Nginx->new(level => 'crit');

$t->run(<<"EOC");
%%TEST_GLOBALS%%
worker_processes 4;
events { worker_connections 1024; }
http {
    %%TEST_GLOBALS_HTTP%%
    access_log off;
    proxy_next_upstream off;

@{[ map { my $g = $_;
          "    upstream beside$g { server $addr[$g]:$port;"
          . " server $addr[$g + 20]:$port; }\n" } 1 .. 15 ]}
    upstream many {
@{[ map { "        server $_ max_fails=0;\n" } @peers ]}
    }

    server {
        listen 127.0.0.1:%%PORT_0%%;
        server_name main;
        location /debug/ { debug; }
        location /many {
            add_header X-Peer \$upstream_addr always;
            proxy_read_timeout 100s;
            proxy_pass http://many;
        }
@{[ map { "        location /beside$_/ { proxy_pass http://beside$_; }\n" }
    1 .. 15 ]}
    }
}
EOC

# -- the load: whose answers they were, its backends say themselves

my (%truth, @stuck);

for my $i (1 .. $ROUNDS * @peers) {
    my $s = http_open();

    print $s "GET /many HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

    # who waits stays, and others come after it
    if (!IO::Select->new($s)->can_read(1)) {
        $truth{$hung->addr()}{stuck}++;
        push @stuck, $s;
        next;
    }

    my $r = '';
    1 while sysread $s, $r, 65536, length $r;

    if ($r =~ m!^HTTP/1.1 200 .*\r\n\r\n(\S+)$!s) {
        $truth{$1}{answers}++;

    } elsif ($r =~ m!^HTTP/1.1 502 .*^X-Peer: (\S+)\r$!sm) {
        $truth{$1}{refused}++;
    }
}

for my $g (1 .. 15) {
    http_get("/beside$g/") for 1 .. $g;
}

my $answers = 0;
$answers += $_->{answers} // 0 for values %truth;

diag(sprintf '%d answers, %d refused, %d stuck', $answers,
     ($truth{$refuse[0]}{refused} // 0) + ($truth{$refuse[1]}{refused} // 0),
     scalar @stuck);

cmp_ok(scalar(keys %truth), '==', @peers, 'each peer was asked');
cmp_ok(scalar @stuck, '>', 0, 'some are stuck');

# -- a second later it is history; ten seconds later it hangs

sub stats { return decode_json(http_get('/debug/stats')->{body}) }

ok(wait_for(sub {
    stats()->{upstreams}{many}{peers}{$hung->addr()}{state} eq 'hanging'
}, 30), 'the one that hangs is known');

my %state = map { $_ => 'up' } @peers;
$state{$_} = 'down' for @refuse;
$state{$hung->addr()} = 'hanging';

# what is told of each, and what is true of each

sub is_true {
    my ($what, $get) = @_;
    my @wrong;

    for my $peer (sort @peers) {
        my $is = join ' ', map { $_ // '-' } $get->($peer);
        my $should = join ' ', $truth{$peer}{answers} // 0,
                               $truth{$peer}{refused} // 0,
                               $truth{$peer}{stuck} // 0, $state{$peer};

        push @wrong, "$peer: $is, not $should" if $is ne $should;
    }

    is(scalar @wrong, 0, "$what: each of " . @peers . ' peers')
        or diag(join "\n", @wrong[0 .. ($#wrong < 9 ? $#wrong : 9)]);
}

my $s = stats();
my $many = $s->{upstreams}{many};

is_true('stats', sub {
    my $p = $many->{peers}{$_[0]} or return;
    return ($p->{total_count}, $p->{failures}{connect}, $p->{active},
            $p->{state});
});

is($many->{total_count}, $answers, 'stats: the group');
is($s->{upstreams}{"beside$_"}{total_count}, $_, "stats: beside$_")
    for 1 .. 15;
is($s->{zone}{dropped} + $s->{zone}{missing} + $s->{zone}{without_history}, 0,
   'all have room, for history, too');

my %m;
my $text = http_get('/debug/metrics')->{body};

while ($text =~ /^nginx_debug_peer_(\w+)\{upstream="many",peer="([^"]+)"
                  (?:,\w+="([^"]+)")?\}\ (\d+)$/xmg)
{
    $m{$2}{join ' ', $1, $3 // ()} = $4;
}

is_true('metrics', sub {
    my $p = $m{$_[0]} or return;
    my ($state) = map { /^state (\w+)/ ? $1 : () } keys %$p;
    return ($p->{'responses_total 200'} // 0,
            $p->{'failures_total connect'}, $p->{active}, $state);
});

my (%page, @order);
my $html = http_get('/debug/')->{body};

while ($html =~ m!<tr><th[^>]*>([^<]+)</th><td[^>]*>many</td>
                  <td[^>]*><span[^>]*>(\w+)</span></td><td[^>]*>[^<]*</td>
                  <td>(\d+)</td>
                  (.*?)</tr>!xg)
{
    my ($peer, $state, $count, $rest) = ($1, $2, $3, $4);
    my @td = $rest =~ m!<td>([^<]*)</td>!g;

    $page{$peer} = [$count, $td[-2], $td[-1], $state];
    push @order, $peer;
}

is_true('overview', sub { return @{ $page{$_[0]} // [] } });
is_deeply([sort @order[0, 1]], [sort @refuse], 'overview: who refuses first');
is($order[2], $hung->addr(), 'overview: then who hangs');
unlike($html, qr/class="banner/, 'overview: nothing is left out');

my $d = decode_json(http_get('/debug/charts/data?n=900&kind=peer&series=9999')
                    ->{body});
my %c = map { $_->{peer} => $_ }
        grep { $_->{upstream} eq 'many' } @{ $d->{series} };

sub sum { my $n = 0; $n += $_ // 0 for @{ $_[0] }; return $n }

is_true('charts', sub {
    my $p = $c{$_[0]} or return;
    return (sum($p->{'2xx'}), sum($p->{failed}), $p->{active}[-1],
            $p->{state});
});
is($d->{left_out}, 0, 'charts: who asks for all has all');

$d = decode_json(http_get('/debug/charts/data?n=1')->{body});
is(scalar @{ $d->{series} }, 64, 'charts: 64 have points by themselves');
is($d->{left_out}, 1 + 16 + 30 + @peers - 64, 'charts: it says how many not');
is(scalar @{ $d->{others} }, $d->{left_out}, 'charts: and who');

is(scalar(grep { $_->{kind} ne 'peer' } @{ $d->{series} }), 1 + 16,
   'charts: servers and groups come first');

my %named = map { ($_->{upstream} // '') . ' ' . ($_->{peer} // '') => 1 }
            @{ $d->{series} }, @{ $d->{others} };
is(scalar(grep { !$named{"many $_"} } @peers), 0, 'charts: each is named');

shutdown $_, 2 for @stuck;

done_testing();
