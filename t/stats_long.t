#!/usr/bin/perl

# What takes long is counted while it goes on: connects, headers, upgrades and
# bytes of a WebSocket and of a slow answer, at the peer, the group and the
# server, and none of it twice when it ends.  And early hints, whose status is
# not that of the answer.

use strict;
use warnings;

use FindBin;
use Test::More;
use Time::HiRes qw/ sleep time /;

use lib "$FindBin::Bin/lib";
use Debug::Nginx;

my $t = Debug::Nginx->new(level => 'crit');

my $b = backend(sub {
    my ($req, $c) = @_;

    if ($req->{uri} =~ /socket/) {
        $c->send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                 . "Upgrade: websocket\r\n\r\n" . 'x' x 1000);

        # what comes is answered, until the other side leaves
        while (sysread $c->{sock}, my $in, 4096) {
            last if $in =~ /bye/;
            $c->send('y' x 500);
        }

        $c->close();

    } elsif ($req->{uri} =~ /slow/) {
        $c->send("HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n"
                 . 'x' x 1000);
        sleep 3.2;
        $c->send('x' x 1000);
        sleep 1.5;
        $c->send('x' x 1000);

    } elsif ($req->{uri} =~ /late/) {
        sleep 3;
        $c->reply(200, 'late');

    } elsif ($req->{uri} =~ /hints=(\d+)/) {
        $c->send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
        $c->hang() if $1 == 0;
        $c->close() if $1 == 1;
        $c->reply($1, 'hinted') if $1 > 1;
    }
});

my $dead = backend(sub { my ($req, $c) = @_; sleep 2.2; $c->close() });

$t->run(<<"EOC");
%%TEST_GLOBALS%%
worker_processes 2;
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    proxy_http_version 1.1;
    proxy_set_header Upgrade \$http_upgrade;
    proxy_set_header Connection upgrade;
    log_format start '\$debug_start';

    upstream socket { server @{[ $b->addr() ]}; }
    upstream slow { server @{[ $b->addr() ]}; }
    upstream plain { server @{[ $b->addr() ]}; }
    upstream late { server @{[ $b->addr() ]}; }
    upstream hints { server @{[ $b->addr() ]} max_fails=0; }
    upstream twice {
        server @{[ $dead->addr() ]};
        server @{[ $b->addr() ]} backup;
    }

    server {
        listen 127.0.0.1:%%PORT_0%%;
        server_name debug;
        location / { debug; }
    }

    server {
        listen 127.0.0.1:%%PORT_1%%;
        server_name main;
        access_log logs.txt start;
        location /socket { proxy_pass http://socket; }
        location /slow { proxy_pass http://slow; }
        location /plain {
            proxy_buffering off;
            proxy_pass http://plain/slow;
        }
        location /late { proxy_pass http://late; }
        location /twice { proxy_pass http://twice/slow; }
        location /var {
            set \$host_of @{[ $b->addr() ]};
            proxy_pass http://\$host_of/slow;
        }
        location /hints {
            proxy_read_timeout 300ms;
            proxy_pass http://hints;
        }
    }
}
EOC

my $port = port(1);
my @sums = qw/ connects headers upgrades received_bytes sent_bytes
               total_count /;

sub stats { return decode_json(http_get('/stats')->{body}) }

sub row {
    my ($r) = @_;
    return { map { $_ => $r->{$_} } @sums };
}

# The group, and its peer, which have the same: all but what TWICE has.

sub group {
    my ($name, $peer) = @_;
    my $g = stats()->{upstreams}{$name} // {};
    my ($p) = $peer ? $g->{peers}{$peer} : values %{ $g->{peers} };

    return (row($g), row($p // {}));
}


sub open_uri {
    my ($uri, %o) = @_;
    my $s = http_open(port => $port);

    print $s "GET /$uri HTTP/1.1\r\nHost: a\r\n"
             . ($o{upgrade} ? "Upgrade: websocket\r\n" : '') . "\r\n";
    return $s;
}


# -- a WebSocket

my $s = open_uri('socket', upgrade => 1);

ok(wait_for(sub { (group('socket'))[1]{upgrades} }, 6),
   'an upgrade is counted while it goes on');

my ($g, $p) = group('socket');

is_deeply($g, $p, 'at the peer and at the group');
is($p->{connects}, 1, 'its connection');
is($p->{headers}, 1, 'its header');
is($p->{upgrades}, 1, 'once');
is($p->{total_count}, 0, 'it is no answer');
cmp_ok($p->{received_bytes}, '>', 1000, 'what came');
cmp_ok($p->{sent_bytes}, '>', 50, 'what went');

my $server = stats()->{servers}{main};
is($server->{upgrades}, 1, 'at the server, too');
cmp_ok($server->{sent_bytes}, '>', 1000, 'with its bytes');

my $state = stats()->{upstreams}{socket}{peers}{$b->addr()};
is($state->{active}, 1, 'it is under way');
is($state->{state}, 'up', 'which is no hanging');

my $before = $p->{received_bytes};

print $s 'z' x 100;
ok(wait_for(sub { (group('socket'))[1]{received_bytes} == $before + 500 }, 4),
   'and what comes later');
($g, $p) = group('socket');
is($g->{received_bytes}, $before + 500, 'at the group');

shutdown $s, 2;
undef $s;

ok(wait_for(sub { stats()->{upstreams}{socket}{active} == 0 }, 5), 'its end');
my ($g2, $p2) = group('socket');
is_deeply($p2, { %$p }, 'brings nothing twice');
is_deeply($g2, $g, 'nor at the group');
is(stats()->{upstreams}{socket}{tries}, 1, 'it was one try');
ok(wait_for(sub { stats()->{servers}{main}{upgrades} == 1 }),
   'one at the server');

# -- slow answers

for my $name (qw/ slow plain /) {
    my $c = open_uri($name);

    ok(wait_for(sub { (group($name))[1]{headers} }, 4),
       "$name: its header is counted while it goes on");
    ($g, $p) = group($name);
    is_deeply($g, $p, "$name: at peer and group");
    is($p->{connects}, 1, "$name: its connection");
    cmp_ok($p->{received_bytes}, '>', 1000, "$name: its bytes");
    cmp_ok($p->{received_bytes}, '<', 1100, "$name: as far as they came");
    is($p->{total_count}, 0, "$name: it is not answered yet");

    my $whole = '';
    1 while sysread $c, $whole, 65536, length $whole and $whole !~ /x{3000}/;

    ok(wait_for(sub { (group($name))[1]{total_count} }), "$name: it is");
    ($g, $p) = group($name);
    is_deeply($g, $p, "$name: the end, at peer and group");
    is_deeply([@$p{qw/ connects headers total_count /}], [1, 1, 1],
              "$name: nothing twice");
    is($p->{received_bytes},
       length("HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n") + 3000,
       "$name: every byte once");
    is(stats()->{upstreams}{$name}{tries}, 1, "$name: one try");
}

# -- one that waits for its header

my $c = open_uri('late');

ok(wait_for(sub { (group('late'))[1]{connects} }, 4), 'late: its connection');
($g, $p) = group('late');
is($p->{headers}, 0, 'late: no header yet');
my $late = '';
1 while sysread $c, $late, 65536, length $late and $late !~ /late$/;
ok(wait_for(sub { (group('late'))[1]{total_count} }), 'late: its answer');
($g, $p) = group('late');
is_deeply([@$p{qw/ connects headers total_count /}], [1, 1, 1],
          'late: nothing twice');
is_deeply($g, $p, 'late: nor at the group');

# -- with a try before it, and by a variable's name

$c = open_uri('twice');
ok(wait_for(sub { (group('twice', $dead->addr()))[1]{connects} }, 4),
   'twice: the connection of the first');
ok(wait_for(sub { (group('twice', $b->addr()))[1]{headers} }, 6),
   'twice: the header of the second');
is((group('twice', $b->addr()))[0]{connects}, 2, 'twice: both at the group');
my $whole = '';
1 while sysread $c, $whole, 65536, length $whole and $whole !~ /x{3000}/;
ok(wait_for(sub { (group('twice', $b->addr()))[1]{total_count} }),
   'twice: the answer');
($g, $p) = group('twice', $b->addr());
is_deeply([@$g{qw/ connects headers total_count /}], [2, 1, 1],
          'twice: the group has both tries and one answer');
is_deeply([@$p{qw/ connects headers total_count /}], [1, 1, 1],
          'twice: the second');
is((group('twice', $dead->addr()))[1]{connects}, 1, 'twice: the first');
is(stats()->{upstreams}{twice}{retries}, 1, 'twice: one retry');

$c = open_uri('var');
my $host = $b->addr();
ok(wait_for(sub { (group($host))[0]{headers} }, 4),
   'a name of a variable: the header');
($g, $p) = group($host);
is_deeply($g, $p, 'at peer and group');
$whole = '';
1 while sysread $c, $whole, 65536, length $whole and $whole !~ /x{3000}/;
ok(wait_for(sub { (group($host))[0]{total_count} }), 'the answer');
($g, $p) = group($host);
is_deeply([@$g{qw/ connects headers total_count /}], [1, 1, 1],
          'nothing twice');
is_deeply($g, $p, 'at peer and group');

# -- early hints

SKIP: {
    my ($n, $m, $k) = map { $_ // 0 }
                      run_cmd([$t->binary(), '-v'])->{err}
                          =~ m!/(\d+)\.(\d+)\.(\d+)!;

    skip 'no early hints', 8 if $n == 1 && $m < 29
        && run_cmd([$t->binary(), '-v'])->{err} !~ /Angie/;

    for my $code (200, 500, 404, 200) {
        is(http_get("/hints=$code", port => $port)->{status}, $code,
           "hints, then $code");
    }

    http_get("/hints=0", port => $port);
    http_get("/hints=1", port => $port);

    my $u = stats()->{upstreams}{hints};
    my $p = $u->{peers}{$b->addr()};
    my $codes = { 200 => 2, 404 => 1, 500 => 1 };

    is_deeply($u->{total_status_code_count}, $codes, 'each by its own code');
    is_deeply($p->{total_status_code_count}, $codes, 'at the peer, too');
    is($p->{failures}{timeout}, 1, 'hints, then silence');
    is($p->{failures}{invalid}, 1, 'hints, then the end');
}

done_testing();
