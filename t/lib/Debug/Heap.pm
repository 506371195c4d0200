package Debug::Heap;

# What a heap profile says of the functions of t/app/allocate.cc.
#
#     my ($app, $sock) = Debug::Heap::start('entries', options => ['-s', 4096],
#         preload => $allocator);
#     my $bytes = Debug::Heap::functions($sock, 'heap');
#     is($bytes->{by_malloc}, 5e6);

use strict;
use warnings;

use Debug::Nginx;
use Debug::App;

my $n = 0;


# Starts it under pprof-run in DIR, or CMD instead, and waits until it is
# ready.  Options: dir, options (pprof-run's), preload, env, cmd, says, and
# sock, which may have a %p: then who listens is not waited for.

sub start {
    my ($mode, %o) = @_;
    my $build = $ENV{DEBUG_BUILD} // 'build';
    my $sock = $o{sock} // "$o{dir}/" . ++$n . '.pprof';
    my $says = $o{says} // qr/^ready$/m;
    my %env = %{ $o{env} // {} };

    $env{LD_PRELOAD} = $o{preload} if defined $o{preload};

    my $app = Debug::App->start(
        cmd => ["$build/pprof-run", '-l', "unix:$sock",
                @{ $o{options} // [] },
                @{ $o{cmd} // ["$build/t/app/allocate", $mode] }],
        env => \%env,
        ready => $sock =~ /%p/ ? undef : { unix => $sock },
        timeout => 60,
    );

    Debug::Nginx::wait_for(sub { $app->out() =~ $says }, 60)
        or die "not ready: " . $app->out() . $app->err();

    return ($app, $sock);
}


sub ask {
    my ($sock, $path, %o) = @_;

    return Debug::Nginx::http_get("/debug/pprof/$path", unix => $sock,
                                  timeout => 30, %o);
}


# Bytes by the innermost function whose name begins with by_ or gone_.

sub functions {
    my ($sock, $kind) = @_;
    my $r = ask($sock, $kind . ($kind =~ /\?/ ? '&' : '?') . 'format=folded');
    my %bytes = (all => 0);

    die "$kind: $r->{status} $r->{body}" if $r->{status} != 200;

    for (split /\n/, $r->{body}) {
        my ($stack, $value) = /^(.*) (-?\d+)$/ or die "not folded: $_";
        my ($name) = grep { /^(?:by|gone)_/ }
            map { s/^.*:://r =~ s/\(.*//r } reverse split /;/, $stack;

        $bytes{$name // 'others'} += $value;
        $bytes{all} += $value;
    }

    return \%bytes;
}


# The path of a shared library that the loader knows, or undef.

sub library {
    my ($name) = @_;

    for (qw! /usr/lib /usr/local/lib /lib !) {
        my ($path) = (glob("$_/*-linux-gnu/$name"), glob("$_/$name"));

        return $path if defined $path && -e $path;
    }

    return undef;
}


1;
