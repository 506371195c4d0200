#!/usr/bin/perl

# Marks in /debug/charts/data: the start, reloads, and profiles that somebody
# took, of whom and when.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw/ time /;

use FindBin;
use lib "$FindBin::Bin/lib";
use Debug::Nginx;

my $a = backend(sub { $_[1]->reply(200, "\x1f\x8bprofile") });
my $dead = free_port();
my $t = Debug::Nginx->new();

$t->write_conf(<<"EOC")->run();
%%TEST_GLOBALS%%
worker_processes 2;
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    upstream u { server @{[ $a->addr() ]}; }
    upstream "o\\"dd" { server @{[ $a->addr() ]}; }
    upstream dead { server 127.0.0.1:$dead; }
    server {
        listen 127.0.0.1:%%PORT_0%%;
        server_name s;
        location / { proxy_pass http://u; }
        location /debug/ { debug; }
    }
}
EOC

my $peer = $a->addr();

sub marks {
    my ($query) = @_;
    return @{ decode_json(http_get('/debug/charts/data?n=60'
                                   . ($query // ''))->{body})->{marks} };
}
sub taken { return grep { @$_ == 4 } marks(@_) }
sub get { is(http_get("/debug/pprof/$_[0]")->{status}, 200, $_[0]) }

is((marks())[0][1], 'start', 'the start');
is(scalar(taken()), 0, 'no profile yet');

my $before = time() * 1000;
get('u/0/heap');
my ($m, @more) = taken();
is_deeply([ @$m[1 .. 3], scalar @more ], [ 'heap', 'u', $peer, 0 ],
          'a profile: kind, group and peer');
ok($m->[0] >= $before - 1000 && $m->[0] <= time() * 1000 + 1000, 'and when');

get("u/0/$_") for qw/ cmdline symbol /;
is(scalar(taken()), 1, 'what costs nothing is none');
is(http_get('/debug/pprof/dead/0/heap')->{status}, 502, 'nobody there');
is(scalar(taken()), 1, 'nor what was not to be had')
    or diag(explain([ taken() ]));

get('u/0/profile?seconds=1');
get('o%22dd/0/goroutine');
is_deeply([ map { "$_->[1] $_->[2]" } taken() ],
          [ 'heap u', 'profile u', 'goroutine o"dd' ], 'in turn');

# only what the picture is of

is_deeply([ map { $_->[1] } taken('&upstream=u') ], [ 'heap', 'profile' ],
          'of one group');
is(scalar(taken("&upstream=u&peer=$peer")), 2, 'of one peer');
is(scalar(taken('&upstream=u&peer=127.0.0.1:1')), 0, 'of another');
is(scalar(taken('&server=s')), 0, 'a server has none');
is(scalar(taken('&since=' . int(time() * 1000 + 5000))), 0, 'since');
is((taken('&since=' . int((taken())[-1][0] + 900)))[-1][1], 'goroutine',
   'since a row that ends in the same second: not lost');

# over a reload and the death of a worker; the last ones stay

$t->reload();
$t->kill_worker();
is(scalar(taken()), 3, 'a reload forgets none');
ok((grep { $_->[1] eq 'reload' } marks()), 'and is one itself');

http_get('/debug/pprof/u/0/allocs') for 1 .. 40;
my @last = taken();
is(scalar(@last), 32, 'so many');
is(scalar(grep { $_->[1] ne 'allocs' } @last), 0, 'the last ones');

done_testing();
