#!/usr/bin/perl

# ./build.sh demo: nginx with the module in front of two processes of acs,
# under a gentle load.  Prints what to look at, and waits.
#
#     perl t/app/demo.pl <build directory>
#
# Environment: DEMO_PORT, nginx's port (a free one); DEMO_SECONDS, ends by
# itself after so long (never); TEST_NGINX_BINARY.
#
# Exit status: 0 when it was ended by Ctrl-C, TERM or DEMO_SECONDS, 1 when
# something did not start or died, which it then names, 2 for wrong use.

use strict;
use warnings;

use Cwd ();
use File::Copy ();
use FindBin;
use POSIX ();
use Time::HiRes qw/ sleep time /;

use lib "$FindBin::Bin/../lib";
use Debug::Nginx;

my $OWNER = $$;
my @procs;                  # { name, pid, log }, in the order of their start
my $dir;
my $ending = 0;

$| = 1;

@ARGV == 1 or usage('usage: demo.pl <build directory>');

my $build = Cwd::abs_path($ARGV[0]) // '';
my $seconds = $ENV{DEMO_SECONDS};
my $port = $ENV{DEMO_PORT};

for (['DEMO_SECONDS', $seconds], ['DEMO_PORT', $port]) {
    usage("$_->[0] must be a number, not \"$_->[1]\"")
        if defined $_->[1] && $_->[1] !~ /^[1-9]\d{0,8}$/;
}

-e "$build/$_" or fail("$build/$_ is missing: run ./build.sh demo")
    for qw{ ngx_http_debug_module.so t/app/acs };

my $nginx = have_bin($ENV{TEST_NGINX_BINARY} // 'nginx')
    or fail('no nginx on this machine');

$SIG{$_} = sub { $ending = 1 } for qw/ INT TERM HUP /;

$port //= free_port();
$dir = temp_dir('demo');

# As root, nginx's workers and the application run as the same plain user,
# the way they would on a server: the profiler's sockets are 0600.  The copy
# is for him: the checkout may be in /root.

my ($user, @ids) = $> == 0 ? plain_user() : ();

mkdir "$dir/$_" or fail("mkdir $dir/$_: $!") for qw/ run tmp /;
File::Copy::copy("$build/t/app/acs", "$dir/acs") or fail("$dir/acs: $!");
File::Copy::copy("$build/libpprof.so", "$dir/libpprof.so.1")
    or fail("$dir/libpprof.so.1: $!");
chmod 0755, "$dir/acs";
chown @ids, "$dir/run" if @ids;

my @acs = map { { n => $_, port => free_port(),
                  sock => "$dir/run/acs$_.pprof" } } 0, 1;

for my $acs (@acs) {
    start("acs $acs->{n}",
          [as_user("$dir/acs", '-p', $acs->{port}, '-d',
                   "unix:$acs->{sock}")],
          env => { TCMALLOC_SAMPLE_PARAMETER => 65536 });
}

write_file("$dir/nginx.conf", conf());
# a module built with a sanitizer
my %preload = defined $ENV{TEST_NGINX_PRELOAD}
              ? (env => { LD_PRELOAD => $ENV{TEST_NGINX_PRELOAD} }) : ();

start('nginx', [$nginx, '-p', "$dir/", '-c', "$dir/nginx.conf", '-e',
                "$dir/nginx.log", '-g', 'daemon off;'], %preload);

# The first process leaks; enough of it to be seen at once.

ready("http://127.0.0.1:$_->{port}/status") for @acs;
http_get('/leak/on', port => $acs[0]{port});
http_get('/order', port => $acs[0]{port}) for 1 .. 500;

ready("http://127.0.0.1:$port$_")
    for qw{ / /debug/stats /debug/pprof/ /debug/pprof/cmdline };

start_load($_) for 1, 2;

my $url = "http://127.0.0.1:$port/debug";

print <<"END";

nginx with ngx_http_debug_module, two processes of acs behind it, some load:

  overview   $url/
  stats      $url/stats
  charts     $url/charts/
  profiles   $url/pprof/
  snapshots  $url/pprof/kept/

to try:

  curl -s $url/stats
  go tool pprof -top '$url/pprof/profile?seconds=5'
  go tool pprof -top $url/pprof/heap

Ctrl-C ends all of it.
END

my $end = defined $seconds ? time() + $seconds : undef;

while (!$ending) {
    look();
    last if defined $end && time() >= $end;
    sleep(0.1);
}

stop();
exit 0;


sub usage {
    print STDERR "demo: $_[0]\n";
    exit 2;
}


sub fail {
    print STDERR "demo: $_[0]\n";
    stop();
    exit 1;
}


# Whom Debian's nginx runs as, or else nobody.

sub plain_user {
    for my $name (qw/ www-data nobody /) {
        my @pw = getpwnam $name or next;
        return ($name, @pw[2, 3]);
    }

    return ('root');
}


sub as_user {
    return @_ unless @ids;

    my $setpriv = have_bin('setpriv') or fail('no setpriv on this machine');

    return ($setpriv, "--reuid=$ids[0]", "--regid=$ids[1]", '--clear-groups',
            '--', @_);
}


sub start {
    my ($name, $cmd, %o) = @_;
    my $log = "$dir/" . ($name =~ s/ //gr) . '.log';

    push @procs, { name => $name, log => $log,
                   pid => Debug::Nginx::spawn($cmd, %o, out => $log,
                                              err => $log) };
}


# Fails when something we started is no more.

sub look {
    for my $p (@procs) {
        next if waitpid($p->{pid}, POSIX::WNOHANG()) != $p->{pid};

        my $how = $? & 127 ? 'died of signal ' . ($? & 127)
                           : 'ended, exit status ' . ($? >> 8);
        my @tail = split /\n/, read_file($p->{log});

        splice @tail, 0, @tail - 20 if @tail > 20;
        $p->{pid} = 0;
        fail(join "\n", "$p->{name} $how; the end of its log:",
                        map { "  $_" } @tail);
    }
}


# Waits until URL, of this machine, answers 200.

sub ready {
    my ($text) = @_;
    my ($to, $path) = $text =~ m{^http://127\.0\.0\.1:(\d+)(/.*)$};
    my $r;

    wait_for(sub {
        look();
        if ($ending) {
            stop();
            exit 0;
        }
        $r = http_get($path, port => $to, timeout => 5);
        return $r->{status} == 200;
    }, 15) and return;

    my $log = join "\n", map { "$_->{log}:\n" . substr(read_file($_->{log}),
                                                       -1500) } @procs;
    fail("no answer from $text within 15 s: "
         . ($r->{status} ? "status $r->{status}, \"$r->{body}\""
                         : $r->{error} || 'no status') . "\n$log");
}


# About forty requests a second, over one connection.

sub start_load {
    my ($n) = @_;
    my @mix = (('/') x 22, ('/order') x 6, ('/hot?n=1000') x 6,
               ('/lock?us=8000') x 3, '/slow?ms=40', '/slow?ms=120',
               '/nothing');

    my $pid = fork() // fail("fork: $!");

    if ($pid) {
        push @procs, { name => "load $n", log => "$dir/load$n.log",
                       pid => $pid };
        return;
    }

    setpgrp 0, 0;
    $SIG{INT} = 'IGNORE';
    $SIG{TERM} = $SIG{HUP} = sub { POSIX::_exit(0) };
    srand $n;

    my ($sock, $next) = (undef, time());

    # an orphan ends too
    while (getppid() == $OWNER) {
        my $r = http_get($mix[rand @mix], port => $port, keepalive => 1,
                         defined $sock ? (sock => $sock) : ());
        $sock = $r->{sock};

        $next += 0.025 * (0.5 + rand);
        $next = time() if $next < time() - 1;
        sleep($next - time()) if $next > time();
    }

    POSIX::_exit(0);
}


# The load first, nginx before what it stands in front of.

sub stop {
    return if $$ != $OWNER;

    $SIG{$_} = 'IGNORE' for qw/ INT TERM HUP /;

    for my $p (reverse @procs) {
        next unless $p->{pid};

        kill $p->{name} eq 'nginx' ? 'QUIT' : 'TERM', $p->{pid};

        next if wait_for(sub {
            waitpid($p->{pid}, POSIX::WNOHANG()) == $p->{pid}
        }, 3);

        # a profile under way, or a browser that holds its connection
        kill $p->{name} eq 'nginx' ? 'TERM' : 'KILL', $p->{pid};

        next if wait_for(sub {
            waitpid($p->{pid}, POSIX::WNOHANG()) == $p->{pid}
        }, 2);

        kill 'KILL', -$p->{pid};
        waitpid $p->{pid}, 0;
    }

    @procs = ();
}


sub conf {
    my $owner = defined $user ? "user $user;\n" : '';

    return <<"END";
load_module $build/ngx_http_debug_module.so;

${owner}worker_processes 2;
pid $dir/nginx.pid;
error_log $dir/nginx.log notice;

events { }

http {
    access_log off;

    client_body_temp_path $dir/tmp/body;
    proxy_temp_path $dir/tmp/proxy;
    fastcgi_temp_path $dir/tmp/fastcgi;
    uwsgi_temp_path $dir/tmp/uwsgi;
    scgi_temp_path $dir/tmp/scgi;

    upstream acs {
        server 127.0.0.1:$acs[0]{port};
        server 127.0.0.1:$acs[1]{port};
    }

    # where the servers above answer profile requests, in the same order
    upstream acs_pprof {
        server unix:$acs[0]{sock};
        server unix:$acs[1]{sock};
    }

    debug_pprof_pass acs acs_pprof;
    debug_snapshots path=$dir/kept every=1m;

    server {
        listen 127.0.0.1:$port;

        location / { proxy_pass http://acs; }
        location /debug/ { debug; }
    }
}
END
}
