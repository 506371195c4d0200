#!/usr/bin/perl

# A profiler's socket that is there, but not for nginx's user: said in words,
# with what helps.

use strict;
use warnings;

use Test::More;

use Debug::Nginx;

plan(skip_all => 'not root: everybody is the same user') if $> != 0;

my $t = Debug::Nginx->new(user => 'nobody nogroup');
my $dir = $t->dir();

# as their makers leave them: one is root's, one lies behind a closed door, one
# is for a group of nginx's user's
mkdir "$dir/$_" or die "mkdir: $!\n" for qw/ open closed /;
backend(sub { $_[1]->reply(200, $_[0]{uri}, 'X-Pprof-Pid' => 7) }, unix => "$dir/$_")
    for qw! open/own closed/any open/group !;

chmod 0600, "$dir/open/own";
chmod 0666, "$dir/closed/any";
chmod 0700, "$dir/closed";
chown 0, scalar(getgrnam 'nogroup'), "$dir/open/group";
chmod 0660, "$dir/open/group";
chmod 0755, $dir, "$dir/open";

$t->write_conf(<<"EOC")->run();
%%TEST_GLOBALS%%
events { }
http {
    %%TEST_GLOBALS_HTTP%%

    upstream own { server unix:$dir/open/own; }
    upstream closed { server unix:$dir/closed/any; }
    upstream group { server unix:$dir/open/group; }

    server {
        listen 127.0.0.1:%%PORT_0%%;
        location /debug/ { debug; }
    }
}
EOC

my $help = qr/nginx's user "nobody"; give it a group of that user's, with pprof-run -g or PPROF_SOCKET_GROUP/;

for my $kind (qw/ heap profile?seconds=1 goroutine?debug=1 /) {
    like(http_get("/debug/pprof/own/0/$kind")->{body},
         qr!open/own exists, but its permissions refuse $help!,
         "$kind: a socket of root's");
}

like(http_get('/debug/pprof/closed/0/heap')->{body},
     qr!closed/any lies in a directory that is closed to $help!,
     'a directory of root\'s');
is(http_get('/debug/pprof/group/0/heap')->{status}, 200,
   'a group of its own');
like(http_get('/debug/pprof/')->{body}, qr!its permissions refuse!,
     'the page says so as well');

done_testing();
