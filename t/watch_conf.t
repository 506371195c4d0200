#!/usr/bin/perl

# debug_watch: what nginx -t says of a wrong one, with its place and with what
# is allowed.

use strict;
use warnings;

use Test::More;

use FindBin;
use lib "$FindBin::Bin/lib";
use Debug::Nginx;

my $t = Debug::Nginx->new();
my $dir = $t->dir();

sub conf {
    my ($watch, $snapshots) = @_;

    return <<"EOC";
%%TEST_GLOBALS%%
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    @{[ $snapshots // "debug_snapshots path=$dir/kept every=1d;" ]}
    $watch
    upstream u { server 127.0.0.1:%%PORT_1%%; }
    server { listen 127.0.0.1:%%PORT_0%%; location /debug/ { debug; } }
}
EOC
}

sub refused {
    my ($args, $sentence) = @_;
    my $conf = conf("debug_watch $args; # here");
    my $said = $t->test_config($conf);
    my $line = 0;

    for (split /\n/, $t->expand($conf)) {
        $line++;
        last if /# here/;
    }

    like($said, $sentence, $args);
    like($said, qr/\.conf:$line$/m, "$args, with its place");
}

sub taken {
    my ($args, $name) = @_;

    like($t->test_config(conf("debug_watch $args;")), qr/test is successful/,
         $name // $args);
}

# rules

my $all = quotemeta 'there are rules such as p50>100ms, p90>200ms, p99>500ms,'
                    . ' errors>5%, underway>200, down, memory>2g,'
                    . ' growth>100m/10m and threads>500';
$all = qr/$all/;

refused('p98>1s', $all);
refused('P99>1s', $all);
refused('>1s', $all);
refused('p99<1s', $all);
refused('fro=10s p99>1s', $all);

refused("p99$_", qr/invalid rule "p99\Q$_\E", "p99" .*as in "p99>500ms"/)
    for '', '>', '>500', '>1x', '>-1s', '>0ms', '>61m', '>1.5s';
refused('p99>500', qr/takes a time with its unit, ms, s or m/);

refused("errors$_", qr/invalid rule .*"errors" .*as in "errors>5%"/)
    for '>', '>5', '>%', '>0%', '>100%', '>5%%', '>x%', '>0.001%';

refused("memory$_", qr/"memory" takes a size of at least 1m, as in "memory>2g"/)
    for '>', '>x', '>1000', '>0', '>1t', '>-1g', '>1.5g';

refused('growth>100m', qr/"growth" takes a size and a time, as in/);
refused("growth>100m/$_", qr/"growth" takes a time from 10s to 30m/)
    for '', 'x', '9s', '31m', '500ms';
refused('growth>1k/10m', qr/takes a size of at least 1m/);

refused("underway>$_", qr/"underway" takes a number, as in "underway>200"/)
    for '', '0', '1k', '-1', '5%';
refused('threads>many', qr/"threads" takes a number, as in "threads>500"/);
refused('down>1', qr/"down" takes no number, as in "down"/);
refused('for=10s', qr/"debug_watch" has no rule, such as p99>500ms or down/);

# options

refused("down for=$_", qr/invalid value "for=\Q$_\E", it must be a time from 1s to 1h/)
    for '', '0', '0s', 'x', '2h', '500ms';
refused("down cooldown=$_", qr/"cooldown=\Q$_\E", it must be a time from 1s to 1d/)
    for '', '0', 'x', '25h';
refused("down per_hour=$_", qr/"per_hour=\Q$_\E", it must be a number from 1 to 60/)
    for '', '0', 'x', '61';
refused("down factor=$_", qr/"factor=\Q$_\E", it must be a number from 1 to 100, or "off"/)
    for '', '0', '0.9', 'x', '101', '1.234', 'on';
refused("down ceiling=$_", qr/"ceiling=\Q$_\E", it must be a share from 1% to 100%, or "off"/)
    for '', '0', '0%', '90', '101%', '%';

# doubles, also in different words and lines

refused('down for=1s for=2s', qr/duplicate parameter "for=2s"/);
refused('down down', qr/duplicate rule "down"/);
refused('p99>1s p99>1000ms',
        qr/duplicate rule "p99>1000ms", it is "p99>1s" in \S+\.conf:\d+/);
like($t->test_config(conf("debug_watch memory>1g;\ndebug_watch memory>1024m;")),
     qr/duplicate rule "memory>1024m", it is "memory>1g" in/, 'of two lines');

# without a place to keep them

my $said = $t->test_config(conf('debug_watch down;', ''));
like($said, qr/"debug_watch" needs "debug_snapshots", below whose path .*\.conf:\d+/,
     'no path');
like($said, qr/test failed/, 'is refused');

# elsewhere than in http

like($t->test_config(<<'EOC'), qr/"debug_watch" directive is not allowed here/,
%%TEST_GLOBALS%%
events { }
http { server { listen 127.0.0.1:%%PORT_0%%; debug_watch down; } }
EOC
     'in a server');

# what is right

taken('p99>500ms errors>5% memory>2g growth>100m/10m underway>200'
      . ' threads>500 down', 'all of the documentation');
taken('down for=10s cooldown=10m per_hour=5 factor=1.5 ceiling=90%');
taken('p50>1ms p90>2m p99>1h errors>0.01% growth>1m/30m factor=off'
      . ' ceiling=off');
taken("p99>500ms;\ndebug_watch p99>2s for=2s", 'two lines of one number');

# nothing is kept unless it is asked for

$t->write_conf(conf('', ''))->run();
like(http_get('/debug/incidents/')->{body}, qr/keeps no incidents; see debug_watch/,
     'the page without');
unlike(http_get('/debug/', headers => { Accept => 'text/html' })->{body},
       qr/data-watch|incidents\//, 'and no page leads there');

done_testing();
