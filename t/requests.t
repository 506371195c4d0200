#!/usr/bin/perl

# /debug/requests: every request under way, in every worker, old ones too;
# what is known of each, who is not shown, and what becomes of those of a
# worker that is killed.

use strict;
use warnings;

use FindBin;
use Socket qw/ SOL_SOCKET SO_RCVBUF /;
use Test::More;
use Time::HiRes qw/ sleep time /;

use lib "$FindBin::Bin/lib";
use Debug::Nginx;

my $t = Debug::Nginx->new();

# one that answers when it is told to
my $go = temp_dir('go') . '/go';
my $app = backend(sub {
    my ($req, $c) = @_;

    if ($req->{uri} =~ m!/reading!) {
        $c->send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
        return $c->hang(60);
    }

    if ($req->{uri} =~ m!/big!) {
        $c->send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
        1 while $c->send('x' x 100_000);
        return;
    }

    if ($req->{uri} =~ m!/up!) {
        $c->send("HTTP/1.1 101 Up\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n");
        return $c->hang(60);
    }

    return $c->hang(60) if $req->{uri} =~ m!/hang!;
    $c->reply(200, $req->{raw});
});
my $bad = backend(sub { $_[1]->close() });

# one that takes connections, and nothing else
my $deaf = IO::Socket::INET->new(Listen => 4096, LocalAddr => '127.0.0.1')
    or die "listen: $@\n";
my $deaf_addr = '127.0.0.1:' . $deaf->sockport();

# one whose queue is full: it does not even take those
my $full = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1')
    or die "listen: $@\n";
my @fill = map {
    IO::Socket::INET->new(PeerAddr => '127.0.0.1', Blocking => 0,
                          PeerPort => $full->sockport())
} 1 .. 8;
my $full_addr = '127.0.0.1:' . $full->sockport();

my ($addr, $bad_addr) = ($app->addr(), $bad->addr());

write_file($t->dir() . '/big', 'x' x 20_000_000);

my $conf = <<"EOC";
%%TEST_GLOBALS%%
worker_processes 2;
worker_rlimit_nofile 8192;
worker_shutdown_timeout 60s;
events { worker_connections 4096; }
http {
    %%TEST_GLOBALS_HTTP%%
    proxy_connect_timeout 60s;
    # here
    upstream app { server $addr; }
    upstream two { server $bad_addr max_fails=0; server $addr backup; }
    upstream deaf { server $deaf_addr; }
    upstream full { server $full_addr; }
    server {
        listen 127.0.0.1:%%PORT_0%%;
        server_name shop;
        root %%TESTDIR%%;
        location /debug/ { debug; debug_access all; }
        location / { proxy_pass http://app; }
        location /marked/ { debug_route app; proxy_pass http://app; }
        location /two/ { proxy_pass http://two; }
        location /deaf/ { proxy_pass http://deaf; }
        location /full/ { proxy_pass http://full; }
        location /var/ { proxy_pass http://\$arg_to; }
        location /asking/ {
            proxy_request_buffering off;
            proxy_pass http://app;
        }
        location /big/ {
            proxy_buffering off;
            proxy_pass http://app;
        }
        location = /big { }
        location /up/ {
            proxy_http_version 1.1;
            proxy_set_header Upgrade \$http_upgrade;
            proxy_set_header Connection upgrade;
            proxy_pass http://app;
        }
        location /unseen/ { debug_record off; proxy_pass http://app; }
    }
    server {
        listen 127.0.0.1:%%PORT_1%%;
        server_name closed;
        location /debug/ { debug; debug_access 192.0.2.1; }
        location /none/ { debug stats pprof charts; }
        location /only/ { debug requests; }
    }
}
EOC

$conf =~ s/%%TESTDIR%%/$t->dir()/ge;
$t->run($conf);

sub requests {
    my ($args) = @_;
    my $r = http_get('/debug/requests?json' . ($args // ''));
    return decode_json($r->{body});
}

my @held;

# A request that stays under way.
sub hold {
    my ($path, %o) = @_;
    my $s = http_open();
    setsockopt $s, SOL_SOCKET, SO_RCVBUF, 4096 if $o{slow};
    my $h = join '', map { "$_: $o{headers}{$_}\r\n" }
                     sort keys %{ $o{headers} // {} };
    my $method = $o{method} // 'GET';
    print $s "$method $path HTTP/1.1\r\nHost: shop\r\n$h\r\n" . ($o{body} // '');
    push @held, $s;
    return $s;
}

# The row of PATH, once it is in STATE.
sub row {
    my ($path, $state) = @_;
    my $last;

    my $row = wait_for(sub {
        ($last) = grep { $_->{path} eq $path } @{ requests()->{requests} };
        return $last && $last->{state} eq $state ? $last : 0;
    }, 10);

    is($last ? $last->{state} : 'not there', $state, "$path: $state");
    return $row || {};
}

my $r = requests();
is_deeply($r->{requests}, [], 'nothing is under way, not even this request');
is($r->{under_way}, 0, '... and so it says');
is($r->{left_out}, 0, '... nobody is left out');

# -- states

hold('/late', method => 'POST', headers => { 'Content-Length' => 10 },
     body => 'abc');
my $row = row('/late', 'request');
is($row->{peer}, undef, 'its body is to come: no peer yet');
is($row->{server}, 'shop', '... a server');
is($row->{method}, 'POST', '... a method');
ok(wait_for(sub {
    my ($x) = grep { $_->{path} eq '/late' } @{ requests()->{requests} };
    return ($x->{route} // '') eq '/' && $x->{looked};
}), '... when it is looked at, the route that it takes');

hold('/hang?secret=1', headers => { Cookie => 'secret=2' });
$row = row('/hang', 'waiting');
is($row->{peer}, $addr, 'the peer');
is($row->{upstream}, 'app', '... its upstream');
is($row->{route}, '/', '... the route');
is($row->{tries}, 1, '... tries');
is($row->{client}, '127.0.0.1', '... the client');
like($row->{id}, qr/^[0-9a-f]{8}$/, '... an id');
ok((grep { $_ == $row->{pid} } $t->worker_pids()), '... the worker');
ok(!$row->{old}, '... of this configuration');
ok($row->{age} >= 0 && $row->{age} < 60, '... its age');
unlike(http_get('/debug/requests?json')->{body}, qr/secret/,
       '... and neither its query nor its headers');

hold('/full/x');
$row = row('/full/x', 'connecting');
is($row->{peer}, $full_addr, 'connecting: where to');

hold('/asking/x', method => 'PUT', headers => { 'Content-Length' => 10 },
     body => 'abc');
$row = row('/asking/x', 'asking');
is($row->{method}, 'PUT', 'asking: a body that is passed on as it comes');

hold('/reading');
$row = row('/reading', 'reading');
cmp_ok($row->{received}, '>=', 3, 'reading: bytes from the peer');

hold('/big/x', slow => 1);
$row = row('/big/x', 'sending');
cmp_ok($row->{sent}, '>', 1000, 'sending: bytes to the client');
is($row->{peer}, $addr, '... while the peer is still there');

hold('/big', slow => 1);
$row = row('/big', 'sending');
is($row->{peer}, undef, 'a file: no peer');
is($row->{tries}, 0, '... no tries');

hold('/up/x', headers => { Upgrade => 'x', Connection => 'upgrade' });
row('/up/x', 'upgraded');

hold('/two/hang');
ok(wait_for(sub {
    ($row) = grep { $_->{path} eq '/two/hang' } @{ requests()->{requests} };
    return $row && $row->{tries} > 1;
}), 'a second try');
$row = row('/two/hang', 'waiting');
is($row->{tries}, 2, 'a second try is counted');
is($row->{peer}, $addr, '... and at its peer');

hold("/var/hang?to=$addr");
$row = row('/var/hang', 'waiting');
$row = wait_for(sub {
    my ($x) = grep { $_->{path} eq '/var/hang' } @{ requests()->{requests} };
    return ($x->{peer} // '') eq $addr ? $x : 0;
});
ok($row, 'a variable host gets its peer');
is($row && $row->{upstream}, $addr, '... and its name');

hold('/marked/hang');
$row = row('/marked/hang', 'waiting');
is($row->{route}, 'app', 'a route with a name');
my $told = wait_for(sub {
    my ($x) = map { ($_->{headers} // {})->{'x-debug-route'} // () }
              grep { ($_->{uri} // '') eq '/marked/hang' } $app->received();
    return $x;
});
is($told, "app;$row->{id}", '... and the id that its peer was told');

hold('/unseen/hang');
ok(wait_for(sub {
    grep { ($_->{uri} // '') eq '/unseen/hang' } $app->received()
}), 'one that is not recorded is under way');
sleep 0.3;
is(scalar(grep { $_->{path} =~ /unseen/ } @{ requests()->{requests} }), 0,
   '... and is not shown');

# -- order, filters, form

$r = requests();
my @age = map { $_->{age} } @{ $r->{requests} };
is_deeply(\@age, [sort { $b <=> $a } @age], 'the oldest first');
is($r->{under_way}, 11, 'all are there');
is($r->{shown}, 11, '... and shown');
is($r->{requests}[0]{path}, '/late', '... from the first');

is_deeply([map { $_->{path} } @{ requests('&state=connecting')->{requests} }],
          ['/full/x'], 'by state');
is_deeply([map { $_->{path} } @{ requests('&route=app')->{requests} }],
          ['/marked/hang'], 'by route');
is_deeply([map { $_->{path} } @{ requests("&upstream=full&peer=$full_addr")
                                 ->{requests} }],
          ['/full/x'], 'by upstream and peer');
is(requests('&server=closed')->{under_way}, 0, 'by server');
$r = requests('&n=2');
is($r->{shown}, 2, 'n: so many');
is($r->{under_way}, 11, '... of so many');

for my $wrong ('state=x', 'n=0', 'n=-1', 'n=x', 'n=10001') {
    is(http_get("/debug/requests?json&$wrong")->{status}, 400, $wrong);
}

is(http_get('/debug/requests', headers => { Accept => 'application/json' })
   ->{headers}{'content-type'}, 'application/json', 'by Accept');
my $page = http_get('/debug/requests', headers => {
    Accept => 'text/html,application/json' });
like($page->{headers}{'content-type'}, qr!^text/html!, 'a page');
like($page->{body}, qr!<td class="l">GET /hang</td>!, '... with rows');
like($page->{body}, qr!waiting for the answer!, '... and states');
like($page->{body},
     qr!href="pprof/app/127\.0\.0\.1%3A\d+/goroutine\?debug=2&amp;id=[0-9a-f]{8}"!,
     '... and links to the stack');
is(http_get('/debug/requests/x')->{status}, 404, 'nothing below it');
is(http_get('/debug/requests', method => 'POST', body => '')->{status}, 405,
   'only GET');

# -- what a client chose

hold("/hang/%3Cscript%3E%22'&%0a%1b%ff");
hold('/hang/' . 'y' x 300, method => 'FOO');
ok(wait_for(sub {
    grep { $_->{path} eq "/hang/<script>\"'&\n\e\x{fffd}" }
         @{ requests()->{requests} }
}), 'any bytes of a path are JSON');
$row = row('/hang/' . 'y' x 90, 'waiting');
ok($row->{cut}, 'a long path is cut, and said to be');
is($row->{method}, 'another', 'a method of nobody');
$page = http_get('/debug/requests')->{body};
unlike($page, qr/<script>"/, 'the page: no markup of a client');
like($page, qr/&lt;script&gt;/, '... it is text');
unlike($page, qr/\e/, '... without control characters');

# -- who may see it

my $port = $t->port(1);
is(http_get('/debug/requests?json', port => $port)->{status}, 403,
   'debug_access holds');
is(http_get('/none/requests?json', port => $port)->{status}, 404,
   'only where it is served');
is(http_get('/only/requests?json', port => $port)->{status}, 200,
   'served alone');
is(http_get('/only/stats', port => $port)->{status}, 404, '... alone');

# -- reload: those of old workers are there, and said to be old

$t->reload(wait_old => 0);
my $deadline = time() + 10;
do {
    ($row) = grep { $_->{path} eq '/marked/hang' } @{ requests()->{requests} };
    sleep 0.1;
} until ($row && $row->{old}) || time() > $deadline;
ok($row && $row->{old}, 'after a reload: still there, of an old configuration');

hold('/hang/new');
ok(!row('/hang/new', 'waiting')->{old}, '... and a new one');

# -- what ends, goes

@held = ();
ok(wait_for(sub { requests()->{under_way} == 0 }),
   'when the clients left, nothing is left');

# -- a killed worker

hold('/deaf/kill');
$row = row('/deaf/kill', 'waiting');
$t->kill_worker(pid => $row->{pid});
ok(wait_for(sub { requests()->{under_way} == 0 }),
   'those of a killed worker go');
@held = ();

# -- a thousand

hold("/deaf/$_") for 1 .. 1000;
ok(wait_for(sub { requests()->{under_way} == 1000 }, 60), 'a thousand');

my @took;
for (1 .. 9) {
    my $x = http_get('/debug/requests?json');
    push @took, $x->{time};
}
@took = sort { $a <=> $b } @took;
diag(sprintf '1,000 under way: %.1f ms at best, %.1f in the middle',
     1000 * $took[0], 1000 * $took[4]);
cmp_ok($took[0], '<', 0.05, '... are told in less than 50 ms');
$r = requests();
is($r->{left_out}, 0, '... all of them');
is(scalar(grep { $_->{peer} eq $deaf_addr && $_->{route} eq '/deaf/' }
          @{ $r->{requests} }), 1000, '... each with its peer');
@held = ();
ok(wait_for(sub { requests()->{under_way} == 0 }, 60), '... and gone');

$t->stop();

# -- no room for all

$conf =~ s/# here/debug_zone 1m;/;
$conf =~ s/worker_processes 2/worker_processes 1/;
$t->run($conf);

hold("/deaf/$_") for 1 .. 300;
ok(wait_for(sub {
    my $x = requests();
    return $x->{under_way} + $x->{left_out} == 300;
}, 30), 'slots are full') or diag(requests()->{left_out});
$r = requests();
cmp_ok($r->{under_way}, '>=', 16, '... of which a small zone has some');
cmp_ok($r->{left_out}, '>', 0, '... and so many are left out');
like(http_get('/debug/requests')->{body},
     qr/\b$r->{left_out} more found no room here/,
     '... which the page says, too');

@held = ();
ok(wait_for(sub {
    my $x = requests();
    return $x->{under_way} == 0 && $x->{left_out} == 0;
}, 30), '... until they end');

$t->stop();

done_testing();
