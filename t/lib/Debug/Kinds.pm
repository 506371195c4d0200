package Debug::Kinds;

# For tests of libpprof under programs as they are: everything asked for at
# once, while the program is under load.

use strict;
use warnings;

use POSIX ();

use Debug::Nginx;

our $BUILD = $ENV{DEBUG_BUILD} // 'build';

# What takes a second runs side by side, as far as it may.
our @WINDOWS = ('profile?seconds=1&hz=1000', 'heap?seconds=1',
    'allocs?seconds=1', 'goroutine?seconds=1', 'mutex?seconds=1',
    'block?seconds=1', 'threadcreate?seconds=1');

our @INSTANTS = ('heap', 'heap?debug=1', 'heap?gc=1', 'allocs',
    'allocs?debug=1', 'growth', 'growth?debug=1', 'goroutine',
    'goroutine?debug=1', 'goroutine?debug=2', 'thread', 'mutex',
    'mutex?debug=1', 'block', 'block?debug=1', 'threadcreate',
    'threadcreate?debug=1', 'symbol', 'cmdline', 'goroutine?format=folded',
    'profile?seconds=1&format=svg');


sub ask {
    my ($sock, $path, %o) = @_;

    return Debug::Nginx::http_get("/debug/pprof/$path", unix => $sock,
                                  timeout => 30, %o);
}


# Whether pprof-run leaves a program the allocator that it brings.

sub keeps_allocator {
    my ($name) = @_;

    return Debug::Nginx::read_file(Debug::Nginx::have_bin($name) // '')
           =~ /\0lib(?:jemalloc|mimalloc|tbbmalloc_proxy)\.so/;
}


# Asks for every kind.  Returns what went wrong, a line each.  Those of memory
# are refused in words where the program KEEPS its allocator.

sub all_kinds {
    my ($sock, $keeps) = @_;
    my (@bad, %open);

    my $check = sub {
        my ($kind, $r) = @_;

        # who has a malloc of his own inside keeps it
        return if $r->{status} == 501 && $keeps && $kind =~ /^(?:heap|allocs)/
            && $r->{body} =~ /no allocations/;

        push @bad, "$kind: $r->{status} $r->{error} "
                   . substr($r->{body}, 0, 200)
            if $r->{status} != 200 || $r->{body} eq '' || !$r->{complete};
    };

    for my $kind (@WINDOWS) {
        my $s = $open{$kind} = Debug::Nginx::http_open(unix => $sock)
            or return "$kind: cannot connect: $!";

        print $s "GET /debug/pprof/$kind HTTP/1.1\r\nHost: l\r\n"
                 . "Connection: close\r\n\r\n";
    }

    # beside them, and while signals and hooks are in place
    $check->($_, ask($sock, $_)) for 'goroutine', 'heap', 'symbol';
    $check->($_, Debug::Nginx::http_request('', sock => $open{$_},
                                            timeout => 30)) for @WINDOWS;
    $check->($_, ask($sock, $_)) for @INSTANTS;

    return join "\n", @bad;
}


# Runs CODE over and over in a child until the returned sub is called, which
# returns how often it was right, LEAST times however slow the machine is, or
# what was wrong.  CODE returns '' or dies or says what is wrong.

sub load {
    my ($code, $least) = @_;

    pipe my $out, my $in or die "pipe: $!\n";
    my $pid = fork() // die "fork: $!\n";

    if ($pid == 0) {
        my $stop = 0;
        my $n = 0;

        $SIG{TERM} = sub { $stop = 1 };
        close $out;

        until ($stop && $n >= ($least // 0)) {
            my $wrong = eval { $code->() } // $@;

            if ($wrong ne '') {
                syswrite $in, "wrong after $n: $wrong";
                POSIX::_exit(1);
            }

            $n++;
        }

        syswrite $in, $n;
        POSIX::_exit(0);
    }

    close $in;

    return sub {
        kill 'TERM', $pid;
        my $said = do { local $/; <$out> } // '';
        waitpid $pid, 0;
        return $said;
    };
}


# The environment that has t/preload/eintr.c write to FILE.

sub watch_eintr {
    my ($file) = @_;

    return (LD_PRELOAD => "$BUILD/t/preload/eintr.so", EINTR_LOG => $file);
}


# What was cut short since: names, or '' when the program was watched and
# nothing was.

sub eintr {
    my ($file) = @_;
    my $text = Debug::Nginx::read_file($file);

    return 'nobody watched' unless $text =~ s/^watched\n//mg;
    return $text;
}


1;
