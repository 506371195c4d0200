package Debug::App;

# One program under test: started with an environment, waited for, stopped,
# and looked at when it ended.
#
#     my $app = Debug::App->start(
#         cmd => ["$build/t/app/acs", '-p', $port],
#         env => { PPROF_LISTEN => "unix:$sock" },
#         ready => { port => $port, unix => $sock },
#     );
#     …
#     is($app->stop(), 0, 'exit status');
#
# A program that dies of a signal that the test did not send, leaves a
# sanitizer's report, or must be killed because it does not stop, fails the
# test at its end, as an nginx does.

use strict;
use warnings;

use IO::Socket::INET ();
use IO::Socket::UNIX ();
use POSIX ();
use Socket ();
use Time::HiRes qw/ time /;

use Debug::Nginx;

our $STOP_TIMEOUT = 10;

my %RUNNING;

Debug::Nginx::at_end(sub { $_->stop() for values %RUNNING });


# Options:
#   cmd       program and arguments, no shell
#   env       variables to set; undef takes one away
#   cwd       directory to start in
#   ready     what to wait for: { port => n, unix => path }, any of them, or
#             a sub that is true when the program is ready
#   timeout   seconds to wait for it (30)
#
# Dies when the program is not ready in time, with what it printed.

sub start {
    my ($class, %o) = @_;
    my $dir = temp_dir('a');
    my $self = bless {
        dir => $dir,
        out => "$dir/out",
        err => "$dir/err",
        cmd => $o{cmd},
        sent => {},
        unix => ref $o{ready} eq 'HASH' ? $o{ready}{unix} : undef,
        owner => $$,
    }, $class;

    $self->{pid} = Debug::Nginx::spawn($o{cmd}, env => $o{env},
                                       cwd => $o{cwd}, out => $self->{out},
                                       err => $self->{err});
    $RUNNING{$self->{pid}} = $self;

    if (defined $o{ready}) {
        my $timeout = $o{timeout} // 30;

        wait_for(sub { !$self->alive() || $self->_ready($o{ready}) },
                 $timeout);

        if (!$self->alive()) {
            die "$o{cmd}[0] ended at once, " . $self->ending() . ":\n"
                . $self->err();
        }

        if (!$self->_ready($o{ready})) {
            $self->stop();
            die "$o{cmd}[0] not ready within $timeout s:\n" . $self->err();
        }
    }

    return $self;
}


sub _ready {
    my ($self, $ready) = @_;

    return $ready->($self) if ref $ready eq 'CODE';

    if (defined $ready->{port}) {
        IO::Socket::INET->new(Proto => 'tcp', PeerAddr => '127.0.0.1',
                              PeerPort => $ready->{port}) or return 0;
    }

    if (defined $ready->{unix}) {
        IO::Socket::UNIX->new(Type => Socket::SOCK_STREAM(),
                              Peer => $ready->{unix}) or return 0;
    }

    return 1;
}


# The agent that listens at the unix socket PATH: a process's number.

sub agent {
    my ($path) = @_;
    my $s = IO::Socket::UNIX->new(Type => Socket::SOCK_STREAM(),
                                  Peer => $path) or return;

    # struct ucred
    return unpack 'i', getsockopt($s, Socket::SOL_SOCKET(),
                                  Socket::SO_PEERCRED()) // return;
}


sub pid { return $_[0]{pid} }
sub dir { return $_[0]{dir} }
sub out { return read_file($_[0]{out}) }
sub err { return read_file($_[0]{err}) }


# Whether it runs; notices its end.

sub alive {
    my ($self) = @_;

    return 0 if defined $self->{status};

    if (waitpid($self->{pid}, POSIX::WNOHANG()) == $self->{pid}) {
        $self->_ended($?);
        return 0;
    }

    return 1;
}


sub _ended {
    my ($self, $status) = @_;

    $self->{status} = $status;
    delete $RUNNING{$self->{pid}};

    my $sig = $status & 127;

    Debug::Nginx::problem($self, "$self->{cmd}[0] " . $self->ending() . ":\n"
                                 . substr($self->err(), -2000))
        if $sig && !$self->{sent}{$sig};

    Debug::Nginx::problem($self, "$self->{cmd}[0]: a sanitizer's report:\n$_")
        for Debug::Nginx::sanitizer_reports($self->out() . $self->err());
}


# The exit status and the signal it died of; undefined while it runs.

sub exit_status { my $s = $_[0]{status}; return defined $s ? $s >> 8 : undef }
sub signal { my $s = $_[0]{status}; return defined $s ? $s & 127 : undef }


sub ending {
    my ($self) = @_;

    return 'still running' unless defined $self->{status};
    return $self->signal() ? 'died of signal ' . $self->signal()
                           : 'exit status ' . $self->exit_status();
}


# Sends SIGNAL, by name; an end by it is no fault then.

sub kill {
    my ($self, $signal) = @_;

    return 0 unless $self->alive();

    my $n = eval { no strict 'refs'; &{"POSIX::SIG$signal"}() };
    $self->{sent}{$n} = 1 if defined $n;

    return CORE::kill($signal, $self->{pid});
}


# Waits for the end.  Returns the exit status, 128 and the signal added when
# a signal ended it, or nothing when it still runs after TIMEOUT seconds.

sub wait {
    my ($self, $timeout) = @_;

    wait_for(sub { !$self->alive() }, $timeout // $STOP_TIMEOUT) or return;

    return $self->signal() ? 128 + $self->signal() : $self->exit_status();
}


# Sends SIGNAL (TERM) and waits as wait() does; who is still there after
# TIMEOUT seconds (10) is killed, and that is a fault.

sub stop {
    my ($self, $signal, $timeout) = @_;

    return if $$ != $self->{owner};

    $timeout //= $STOP_TIMEOUT;

    $self->kill($signal // 'TERM');

    my $rv = $self->wait($timeout);

    # its agent is about to notice
    wait_for(sub { !-e $self->{unix} }, 2) if defined $self->{unix};

    if (defined $rv) {
        # children that it left behind are in its process group
        CORE::kill('KILL', -$self->{pid});
        return $rv;
    }

    Debug::Nginx::problem($self, "$self->{cmd}[0] did not stop within "
                                 . "$timeout s");
    $self->{sent}{POSIX::SIGKILL()} = 1;
    CORE::kill('KILL', -$self->{pid});

    return $self->wait(5);
}


1;
