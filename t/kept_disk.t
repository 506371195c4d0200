#!/usr/bin/perl

# The snapshots' directory: what goes when there is too much, in which order
# things come to the disk, and what is not followed.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw/ time /;

use FindBin;
use lib "$FindBin::Bin/lib";
use Debug::Nginx;

need_bin('gcc');

# the order of system calls is seen by one who stands before libc

my $see = temp_dir('see');

write_file("$see/see.c", <<'EOC');
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void
say(const char *what, const char *name)
{
    char line[600];
    int fd, n;

    if (strstr(name, "/kept") == NULL) {
        return;
    }

    n = snprintf(line, sizeof(line), "%s %s\n", what, name);
    fd = open(getenv("SEE") ? getenv("SEE") : SEE,
              O_WRONLY | O_APPEND | O_CREAT, 0666);
    (void) !write(fd, line, n);
    close(fd);
}

int
fsync(int fd)
{
    char link[64], name[500];
    int n;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, name, sizeof(name) - 1);
    name[n > 0 ? n : 0] = '\0';
    say("fsync", name);
    return ((int (*)(int)) dlsym(RTLD_NEXT, "fsync"))(fd);
}

int
rename(const char *from, const char *to)
{
    say("rename", to);
    return ((int (*)(const char *, const char *))
            dlsym(RTLD_NEXT, "rename"))(from, to);
}
EOC

my $made = run_cmd(['gcc', '-shared', '-fPIC', "-DSEE=\"$see/log\"", '-o',
                    "$see/see.so", "$see/see.c", '-ldl']);
die $made->{err} if $made->{exit};

$ENV{TEST_NGINX_PRELOAD} = join ' ', grep { defined }
                           $ENV{TEST_NGINX_PRELOAD}, "$see/see.so";

my $t = Debug::Nginx->new();
my $size = 20000;

my $app = sub {
    my ($req, $c) = @_;
    my $n = $req->{uri} =~ /goroutine/ ? 70000 : $size;

    # the timer's: it must not come between
    return $c->reply(404, 'none') if $req->{uri} =~ /mutex/;

    $c->reply(200, "\x1f\x8b" . 'x' x ($n - 2));
};

my $a = backend($app);
my $A = $a->addr();

sub conf {
    my ($more) = @_;

    return <<"EOC";
%%TEST_GLOBALS%%
events { }
http {
    %%TEST_GLOBALS_HTTP%%

    debug_snapshots path=%%DIR%%/kept every=1h kinds=mutex $more;

    upstream acs { server $A; }

    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { proxy_pass http://acs; }
        location /debug/ {
            debug;
            debug_pprof_pass acs;
            debug_pprof_pass forks unix:%%DIR%%/app.*.pprof;
        }
    }
}
EOC
}

my $dir = $t->dir() . '/kept';
mkdir $dir;

$t->write_conf(conf('keep=3'))->run();

my $k = '/debug/pprof/kept/';

sub take {
    my ($group, $peer, $kind) = @_;

    return http_get($k, method => 'POST', headers => {
        'Content-Type' => 'application/x-www-form-urlencoded' },
        body => "group=$group&peer=$peer&kind=" . ($kind // 'heap'));
}

sub files {
    opendir(my $d, $dir) or return;
    my @f = sort grep { !/^\./ } readdir($d);
    return @f;
}

sub put {
    my ($peer, $time, $bytes) = @_;
    my $name = sprintf '%s~%s~heap~%.0f~1~t.pb.gz', 'acs', $peer,
                       $time * 1000;

    write_file("$dir/$name", "\x1f\x8b" . 'x' x (($bytes // 10) - 2));
    return $name;
}

sub used {
    my $n = 0;
    $n += int(((-s "$dir/$_") + 4095) / 4096) * 4096 for files();
    return $n;
}

my $now = time();

# dated in the future: the clock was wrong, or is

my @future = map { put($A, $now + $_) } 3600, 7200, 86400;
my $r = take('acs', $A, 'heap');
is($r->{status}, 201, 'one more than "keep", which are of the future');
is(http_get($k . $r->{headers}{location})->{status}, 200, 'is there');
is(scalar(files()), 3, 'as many as "keep" says');
ok(!-e "$dir/$future[2]", 'the farthest of them went');

take('acs', $A) for 1 .. 3;
is(scalar(grep { my $f = $_; grep { $_ eq $f } @future } files()), 0,
   'and soon all of them');
is(scalar(files()), 3, 'in favor of true ones');

# of the same moment, and of long ago

unlink "$dir/$_" for files();
my @old = map { put($A, $now - $_) } 10, 20, 30, 40;
take('acs', $A);
is_deeply([grep { my $f = $_; grep { $_ eq $f } @old } files()],
          [sort @old[0, 1]], 'the oldest go');

# its bytes are on the disk before it has its name, and so is that

write_file("$see/log", '');
take('acs', $A);
my @log = map { s!\Q$dir\E!!r } split /\n/, read_file("$see/log");
like($log[0] // '', qr!^fsync /\.tmp-!, 'fsync of the file')
    or diag("@log");
like($log[1] // '', qr!^rename /acs~!, 'then its name');
is($log[2] // '', 'fsync ', 'then fsync of the directory');
is(scalar(@log), 3, 'and no more');

# names that change: "keep" bounds nothing, "space" does

$t->write_conf(conf('keep=3 space=64k'));
$t->reload();
unlink "$dir/$_" for files();

for my $n (1 .. 8) {
    my $b = backend($app, unix => $t->dir() . "/app.$n.pprof");

    is(take('forks', 'unix:' . $t->dir() . "/app.$n.pprof")->{status}, 201,
       "process $n");
    cmp_ok(used(), '<=', 65536, "process $n, within its space");
    is(scalar(grep { /app\.$n\.pprof/ } files()), 1, "process $n, kept");

    $b->stop();
    unlink $t->dir() . "/app.$n.pprof";
}

is(scalar(files()), 3, 'as much is kept as there is room for');

# files that somebody copied in, of peers that are no more

unlink "$dir/$_" for files();
put("10.0.0.$_:80", $now - 1000 + $_, 9000) for 1 .. 30;
write_file("$dir/not-ours", 'x' x 200000);
$t->write_conf(conf('keep=3 space=65536'));
$t->reload();

# the count is of all, at least every ten minutes or when it seems too much
take('acs', $A) for 1 .. 4;
cmp_ok(used() - 200704, '<=', 65536, 'within its space, with files of others');
ok(-e "$dir/not-ours", 'what is no snapshot stays');
is(scalar(grep { /10\.0\.0\.1:80/ } files()), 0, 'the oldest went');
unlink "$dir/not-ours";

# one that is larger than all of it

$r = take('acs', $A, 'goroutine');
is($r->{status}, 502, 'larger than the space');
like($r->{body}, qr/larger than 65536 bytes, too large to be kept/,
     'in a sentence');
cmp_ok(used(), '<=', 65536, 'nothing of it stays');
is(decode_json(http_get("${k}?json")->{body})->{space}, 65536,
   'the list says how much it may be');

# a link is not followed, whoever made it

my $secret = $t->dir() . '/secret';
write_file($secret, 'x' x $size);
symlink $secret, "$dir/acs~link~heap~1~1~t.pb.gz";
is(http_get("${k}acs/link/heap/1-1.pb.gz")->{status}, 404, 'read');

symlink $secret, "$dir/.tmp-" . ($t->worker_pids())[0] . "-$_" for 0 .. 20;
is(take('acs', $A)->{status}, 201, 'written');
is(read_file($secret), 'x' x $size, 'not through a link');

# a directory with a snapshot's name is left alone, and not complained of

# nor does it take the place of one

mkdir "$dir/acs~$A~heap~$_~1~t.pb.gz" for 1, 2, $now + 7200;
take('acs', $A) for 1 .. 4;
ok(-d "$dir/acs~$A~heap~1~1~t.pb.gz", 'a directory stays');
is(scalar(grep { -f "$dir/$_" && /~heap~/ && /\Q~$A~/ } files()), 3,
	'and "keep" counts snapshots');
unlike($t->error_log(), qr/unlink\(\)/, 'without a word');

done_testing();
