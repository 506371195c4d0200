#!/usr/bin/perl

# debug_snapshots: what nginx -t says of a wrong one, with its place.

use strict;
use warnings;

use Test::More;

use FindBin;
use lib "$FindBin::Bin/lib";
use Debug::Nginx;

my $t = Debug::Nginx->new();
my $dir = $t->dir();

sub refused {
    my ($args, $sentence, $http) = @_;

    my $conf = <<"EOC";
%%TEST_GLOBALS%%
events { }
http {
    %%TEST_GLOBALS_HTTP%%
debug_snapshots $args; # here
@{[ $http // '' ]}
    server { listen 127.0.0.1:%%PORT_0%%; location /debug/ { debug; } }
}
EOC

    my $said = $t->test_config($conf);
    my $line = 0;

    for (split /\n/, $t->expand($conf)) {
        $line++;
        last if /# here/;
    }

    $line++ if $http;

    like($said, $sentence, $args);
    like($said, qr/\.conf:$line$/m, 'with its place');
    like($said, qr/test failed/, 'refused');
}

write_file("$dir/file", '');

refused('every=1m', qr/"debug_snapshots" must have "path" parameter/);
refused("path=$dir/none/kept", qr/mkdir\(\) "\S+none\/kept" failed \(2:/);
refused("path=$dir/file", qr/"\S+\/file" is not a directory/);
refused('path=', qr/invalid parameter "path="/);
refused('path=kept every=x', qr/invalid value "every=x"/);
refused('path=kept every=0', qr/invalid value "every=0"/);
refused('path=kept every=2d', qr/invalid value "every=2d"/);
refused('path=kept keep=0', qr/invalid value "keep=0"/);
refused("path=kept $_",
        qr/invalid value "\Q$_\E" in "debug_snapshots" directive, it must be a size of at least 64k/)
    for qw/ space=0 space=x space= space=63k space=-1 space=65535 space=1t /;
refused('path=kept space=1g space=2g', qr/invalid parameter "space=2g"/);
refused('path=kept kinds=heap,dna', qr/invalid profile kind "dna"/);
refused('path=kept kinds=heap,', qr/invalid profile kind ""/);
refused('path=kept kinds=heap,heap', qr/duplicate profile kind "heap"/);
refused('path=kept path=more', qr/invalid parameter "path=more"/);
refused('path=kept on', qr/invalid parameter "on"/);
refused('path=kept', qr/"debug_snapshots" directive is duplicate/,
        'debug_snapshots path=other;');

# nothing is kept unless it is asked for

$t->write_conf(<<'EOC')->run();
%%TEST_GLOBALS%%
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    server { listen 127.0.0.1:%%PORT_0%%; location /debug/ { debug; } }
}
EOC

my $r = http_get('/debug/pprof/kept/?json');
my $list = decode_json($r->{body});

ok(!$list->{enabled}, 'not enabled');
is_deeply($list->{kept}, [], 'and empty');
like(http_get('/debug/pprof/kept/')->{body}, qr/keeps no snapshots/, 'page');
unlike(http_get('/debug/')->{body}, qr/data-kept/, 'and no page offers them');

$r = http_get('/debug/pprof/kept/', method => 'POST', body => 'group=a&peer=0');
is($r->{status}, 404, 'by hand');
is(http_get('/debug/pprof/kept/a/0/heap/1-1.pb.gz')->{status}, 404, 'a file');

done_testing();
