#!/usr/bin/perl

# What a scraper sees of a binary upgrade (USR2), as docs/metrics.md says: two
# sets of counts, the new one from 0, each with its own start time and pid; of
# the old one nothing more once its workers were told to go, and the new one
# goes on by itself.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Debug::Nginx;

my $t = Debug::Nginx->new(level => 'crit');
my $b = backend(Debug::Backend::answer(200, "ok\n"));

$t->run(<<"EOC");
%%TEST_GLOBALS%%
worker_processes 2;
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    upstream u { server @{[ $b->addr() ]}; }
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location /debug/ { debug; }
        location / { proxy_pass http://u; }
    }
}
EOC

# [pid of the master, start time, answers of the group]

sub scrape {
    my $s = decode_json(http_get('/debug/stats')->{body});
    my ($start) = http_get('/debug/metrics')->{body}
                      =~ /^nginx_debug_start_time_seconds ([\d.e+]+)$/m;

    return [$s->{pid}, $start, $s->{upstreams}{u}{total_count}];
}

http_get('/') for 1 .. 7;

my $before = scrape();
is($before->[2], 7, 'before');

my $old = $t->upgrade(keep_old => 1);
my $new = $t->master_pid();

# both accept: the kernel chooses who answers

my %seen;

ok(wait_for(sub {
    my $s = decode_json(http_get('/debug/stats')->{body});
    $seen{$s->{pid}} = $s->{upstreams}{u}{total_count};
    return keys %seen == 2;
}, 20), 'both answer');

is($seen{$old}, 7, 'the old one has its counts');
is($seen{$new}, 0, 'the new one begins at 0');

# no more of the old one's: WINCH, as nginx's own instructions have it

kill 'WINCH', $old;
ok(wait_for(sub { !grep { $_ != $new } children_of($old) }, 15),
   'the old workers are gone');

http_get('/') for 1 .. 3;

my %one;
my $after;

for (1 .. 20) {
    $after = scrape();
    $one{$after->[0]}++;
}

is_deeply([keys %one], [$new], 'one answers');
is($after->[2], 3, 'with what came since');
isnt($after->[1], $before->[1], 'whose start time is another');

kill 'QUIT', $old;
ok(wait_for(sub { !pid_alive($old) }, 15), 'the old master goes');
is(scrape()->[2], 3, 'which changes nothing');

done_testing();
