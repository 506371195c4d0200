package Debug::Nginx;

# One nginx under test, and what its tests need beside it: free ports, HTTP
# by hand, backends that misbehave on demand, commands with a time limit.
#
#     my $t = Debug::Nginx->new();
#     my $b = backend(sub { my ($req, $c) = @_; $c->reply(200, "hi\n") });
#
#     $t->write_conf(<<"EOC")->run();
#     %%TEST_GLOBALS%%
#     events { }
#     http {
#         %%TEST_GLOBALS_HTTP%%
#         server {
#             listen 127.0.0.1:%%PORT_0%%;
#             location / { proxy_pass http://@{[ $b->addr() ]}; }
#         }
#     }
#     EOC
#
#     is(http_get('/')->{status}, 200, 'proxied');
#
# At the end every nginx is stopped and looked at: [emerg], [alert], [crit],
# a sanitizer's report, a worker that died of a signal, or an nginx that does
# not stop within 10 s fail the test by its exit status.  A message that a
# test means to provoke is named with its reason: $t->allow(qr/…/, 'why').
#
# Environment: DEBUG_BUILD (where ngx_http_debug_module.so is),
# TEST_NGINX_BINARY, TEST_NGINX_PRELOAD (LD_PRELOAD for nginx: a sanitizer's
# runtime), TEST_NGINX_LOG (error_log level, "info"), TEST_NGINX_LEAVE (keep
# the temporary directories).
#
# Ports are those that the kernel gives for port 0.  Each is held until the
# test ends by a socket that is bound and never listens: with SO_REUSEADDR
# on both sides a server may still bind and listen, but the kernel gives the
# port to nobody else.  So tests run side by side, and a server may restart.

use strict;
use warnings;

use Cwd ();
use Errno qw/ EAGAIN EINTR EWOULDBLOCK /;
use Exporter qw/ import /;
use Fcntl qw/ F_GETFL F_SETFL O_NONBLOCK /;
use File::Temp ();
use IO::Select ();
use IO::Socket::INET ();
use IO::Socket::UNIX ();
use JSON::PP ();
use POSIX ();
use Scalar::Util ();
use Socket ();
use Test::More ();
use Time::HiRes qw/ sleep time /;

our @EXPORT = qw/
    http_get http_request http_open wait_for port free_port backend
    decode_json encode_json run_cmd go_pprof have_bin need_bin temp_dir
    read_file write_file children_of pid_alive
/;

our $STOP_TIMEOUT = 10;

# Owner of everything here: the process that loaded the library.  Forked
# children must not clean up after it.
my $OWNER = $$;
my $DIR;
my $SEQ = 0;
my $LAST;                   # the nginx made last, for http_get()'s port
my @NGINX;
my @BACKENDS;
my @CLEANUP;                # Debug::App registers here
my @HELD;                   # sockets that hold ports
my @PROBLEMS;

# an agent stays for a minute to tell of a program that has ended
$ENV{PPROF_LINGER} //= 0;

$SIG{PIPE} = 'IGNORE';

for my $sig (qw/ INT TERM HUP /) {
    $SIG{$sig} = sub { exit 130 } unless $SIG{$sig};
}


# -- files, ports, waiting --------------------------------------------------


# A directory of this test's own; everything below it goes away at the end.

sub temp_dir {
    my ($name) = @_;

    if (!defined $DIR) {
        # sun_path holds 107 characters: stay short
        $DIR = File::Temp::tempdir('dbg-XXXXXX', TMPDIR => 1);
        chmod 0755, $DIR;
    }

    my $dir = sprintf '%s/%s%d', $DIR, $name // 'd', $SEQ++;
    mkdir $dir or die "mkdir $dir: $!\n";

    return $dir;
}


sub read_file {
    my ($path) = @_;

    open my $fh, '<:raw', $path or return '';
    local $/;
    return scalar(<$fh>) // '';
}


sub write_file {
    my ($path, $text) = @_;

    open my $fh, '>:raw', $path or die "$path: $!\n";
    print $fh $text;
    close $fh or die "$path: $!\n";
}


# A port nobody else gets while this test runs.

sub free_port {
    my $s = IO::Socket::INET->new(Proto => 'tcp', LocalAddr => '127.0.0.1',
                                  LocalPort => 0, ReuseAddr => 1)
        or die "no free port: $@\n";

    push @HELD, $s;

    return $s->sockport();
}


# Calls SUB until it returns something true, and returns that; after TIMEOUT
# seconds (20: a busy machine is slow) returns nothing.

sub wait_for {
    my ($sub, $timeout) = @_;
    my $end = time() + ($timeout // 20);
    my $pause = 0.005;

    while (1) {
        my $rv = $sub->();
        return $rv if $rv;
        return if time() > $end;
        sleep($pause);
        $pause *= 1.5 if $pause < 0.1;
    }
}


sub pid_alive {
    my ($pid) = @_;

    return 0 unless $pid && kill 0, $pid;

    # a zombie that nobody reaps is not alive
    my $stat = read_file("/proc/$pid/stat");
    return 1 if $stat eq '' && kill 0, $pid;
    return $stat =~ /\)\s+[ZX]/ ? 0 : 1;
}


sub children_of {
    my ($pid) = @_;

    return unless $pid;
    return split ' ', read_file("/proc/$pid/task/$pid/children");
}


sub title {
    my ($pid) = @_;
    my $text = read_file("/proc/$pid/cmdline");

    $text =~ s/\0+/ /g;
    return $text;
}


sub decode_json { return JSON::PP->new->utf8->decode($_[0]) }
sub encode_json { return JSON::PP->new->utf8->canonical->encode($_[0]) }


# -- programs ---------------------------------------------------------------


# The path of a program, or nothing.

sub have_bin {
    my ($name) = @_;

    return -x $name ? $name : undef if $name =~ m!/!;

    for my $dir (split(/:/, $ENV{PATH}), qw{ /usr/sbin /usr/local/sbin
                                             /sbin })
    {
        return "$dir/$name" if -x "$dir/$name" && ! -d _;
    }

    return;
}


# Skips the whole test file, in words, where a program is missing.

sub need_bin {
    for my $name (@_) {
        next if have_bin($name);
        Test::More::plan(skip_all => "no \"$name\" on this machine");
    }
}


# Runs a command without a shell and waits for it.
#
#     my $r = run_cmd(['curl', $url], timeout => 10, env => { TZ => 'UTC' });
#
# Options: timeout in seconds (30), env, stdin, cwd.  Returns a hash: exit,
# signal, out, err, timeout (true when it was killed for that), time in
# seconds.  A command that cannot be started has exit 127.

sub run_cmd {
    my ($cmd, %o) = @_;
    my $dir = temp_dir('cmd');
    my $start = time();

    write_file("$dir/in", $o{stdin} // '');

    my $pid = spawn($cmd, %o, in => "$dir/in", out => "$dir/out",
                    err => "$dir/err");

    my ($status, $timeout);

    wait_for(sub {
        return 0 if waitpid($pid, POSIX::WNOHANG()) != $pid;
        $status = $?;
        return 1;
    }, $o{timeout} // 30);

    if (!defined $status) {
        $timeout = 1;
        kill 'KILL', -$pid;
        waitpid $pid, 0;
        $status = $?;
    }

    return {
        exit => $status >> 8,
        signal => $status & 127,
        timeout => $timeout,
        time => time() - $start,
        out => read_file("$dir/out"),
        err => read_file("$dir/err"),
        cmd => "@$cmd",
    };
}


# Starts CMD in a process group of its own, so that ending it ends what it
# started.

sub spawn {
    my ($cmd, %o) = @_;

    my $pid = fork() // die "fork: $!\n";
    return $pid if $pid;

    setpgrp(0, 0);

    # "ignored" would be inherited
    $SIG{$_} = 'DEFAULT' for qw/ PIPE INT TERM HUP CHLD QUIT /;

    my $failed = sub {
        syswrite STDERR, "$_[0]: $!\n";
        POSIX::_exit(127);
    };

    open STDIN, '<', $o{in} // '/dev/null' or $failed->('stdin');
    open STDOUT, '>>', $o{out} // '/dev/null' or $failed->('stdout');
    open STDERR, '>>', $o{err} // '/dev/null' or $failed->('stderr');

    chdir $o{cwd} or $failed->($o{cwd}) if defined $o{cwd};

    for my $name (keys %{ $o{env} // {} }) {
        if (defined $o{env}{$name}) {
            $ENV{$name} = $o{env}{$name};
        } else {
            delete $ENV{$name};
        }
    }

    no warnings 'exec';
    exec { $cmd->[0] } @$cmd or $failed->($cmd->[0]);
}


# go tool pprof, away from the user's own files and zone.  A hash as the
# first argument holds run_cmd()'s options.  With -raw, newer ones tell a
# line's column, too: it goes.

sub go_pprof {
    my %o = ref $_[0] ? %{ shift() } : ();
    my $home = temp_dir('go');

    my $r = run_cmd(['go', 'tool', 'pprof', @_], timeout => 120, %o,
                    env => { HOME => $home, PPROF_TMPDIR => "$home/pprof",
                             GOCACHE => "$home/cache", GOFLAGS => '',
                             GO111MODULE => 'off', TZ => 'UTC',
                             PPROF_BINARY_PATH => $home, BROWSER => '',
                             http_proxy => undef, HTTP_PROXY => undef,
                             %{ $o{env} // {} } });

    $r->{out} =~ s/(:\d+):\d+ s=/$1 s=/g if grep { $_ eq '-raw' } @_;

    return $r;
}


# -- HTTP -------------------------------------------------------------------


# A connected socket, to be given as "sock" to several requests in a row.
# Options: port (the first of the nginx made last), host, unix.

sub http_open {
    my (%o) = @_;
    my $s;

    if (defined $o{unix}) {
        $s = IO::Socket::UNIX->new(Type => Socket::SOCK_STREAM(),
                                   Peer => $o{unix});

    } else {
        $s = IO::Socket::INET->new(Proto => 'tcp',
                                   PeerAddr => $o{host} // '127.0.0.1',
                                   PeerPort => $o{port} // port(0));
    }

    if ($s) {
        binmode $s;
        $s->autoflush(1);
    }

    return $s;
}


# Asks for PATH.  Options beside http_request()'s: method (GET), version
# (1.1), headers (hash; undef leaves out Host or Connection), body,
# keepalive.

sub http_get {
    my ($path, %o) = @_;
    my $method = $o{method} // 'GET';
    my $version = $o{version} // '1.1';
    my %h = (Host => 'localhost', %{ $o{headers} // {} });

    $h{Connection} = 'close'
        unless exists $h{Connection} || $o{keepalive} || $o{sock};

    $h{'Content-Length'} = length $o{body}
        if defined $o{body} && !exists $h{'Content-Length'};

    my $raw = "$method $path HTTP/$version\r\n"
              . join('', map { "$_: $h{$_}\r\n" }
                         grep { defined $h{$_} } sort keys %h)
              . "\r\n" . ($o{body} // '');

    return http_request($raw, %o);
}


# Sends RAW as it is and reads one answer.
#
# RAW is a string, or a list of strings to be sent one by one and references
# to numbers: pauses in seconds.  Options: those of http_open(), or sock;
# timeout in seconds (10); abort: leave after so many seconds; recv: a sub
# that gets each piece of the answer as it comes, to read slowly or look on.
#
# Returns a hash:
#   status, line     0 and '' when no answer came
#   headers          by lower-case name, those repeated joined by ", "
#   header_list      [name, value] in order, as sent
#   body             without chunk framing; raw has everything
#   complete         the answer ended where its framing says, or, with
#                    neither length nor chunks, where the peer closed cleanly
#   closed           the peer closed
#   error            "connect", "timeout", "reset", "abort", or ''
#   time, first      seconds from the first byte sent to the end and to the
#                    first byte received
#   sock             the socket, if it can take another request
#
# Interim answers (100 Continue) are skipped.

sub http_request {
    my ($raw, %o) = @_;
    my $method = (ref $raw ? $raw->[0] : $raw) =~ /^(\S+)/ ? $1 : '';
    my $res = { status => 0, line => '', headers => {}, header_list => [],
                body => '', raw => '', complete => 0, closed => 0,
                error => '', time => 0 };
    my @out = ref $raw ? @$raw : ($raw);
    my $start = time();
    my $s = $o{sock} // http_open(%o);

    if (!$s) {
        $res->{error} = 'connect';
        return $res;
    }

    my $end = $start + ($o{timeout} // 10);
    my $leave = defined $o{abort} ? $start + $o{abort} : undef;
    my $next = 0;               # when the next piece may be sent
    my $buf = '';
    my $failed = 0;             # nothing more can be sent
    my $flags = fcntl($s, F_GETFL, 0);

    fcntl($s, F_SETFL, $flags | O_NONBLOCK);

    while (1) {
        my $now = time();

        if (defined $leave && $now >= $leave) {
            $res->{error} = 'abort';
            last;
        }

        if ($now >= $end) {
            $res->{error} = 'timeout';
            last;
        }

        while (@out && ref $out[0]) {
            last if $next > $now;
            $next = $now + ${ shift @out };
        }

        my $sending = @out && !$failed && $next <= $now && !ref $out[0];

        my $wait = $end - $now;
        $wait = $leave - $now if defined $leave && $leave - $now < $wait;
        $wait = $next - $now if $next > $now && $next - $now < $wait;

        my ($rv, $wv) = ('', '');
        vec($rv, fileno $s, 1) = 1;
        vec($wv, fileno $s, 1) = 1 if $sending;

        select $rv, $wv, undef, $wait > 0.001 ? $wait : 0.001;

        if ($sending && vec($wv, fileno $s, 1)) {
            my $n = syswrite $s, $out[0];

            if (defined $n) {
                substr $out[0], 0, $n, '';
                shift @out if $out[0] eq '';

            } elsif ($! != EAGAIN && $! != EINTR) {
                # the answer may be there all the same
                $failed = 1;
            }
        }

        next unless vec($rv, fileno $s, 1);

        my $n = sysread $s, my $piece, 65536;

        if (!defined $n) {
            next if $! == EAGAIN || $! == EINTR;
            $res->{error} = 'reset';
            $res->{closed} = 1;
            last;
        }

        $res->{first} //= time() - $start;

        if ($n == 0) {
            $res->{closed} = 1;
            last;
        }

        $buf .= $piece;
        $o{recv}->($piece, $buf) if $o{recv};

        last if framed($buf, $method);
    }

    fcntl($s, F_SETFL, $flags);

    $res->{time} = time() - $start;
    parse_answer($res, $buf, $method);

    my $conn = lc($res->{headers}{connection} // '');

    if ($res->{complete} && !$res->{closed} && $conn ne 'close'
        && ($o{keepalive} || $o{sock}))
    {
        $res->{sock} = $s;

    } elsif (!$o{sock} || $res->{closed} || $res->{error}) {
        close $s;
    }

    return $res;
}


# Whether BUF holds the whole of an answer to METHOD that says how long it
# is.

sub framed {
    my ($buf, $method) = @_;
    my $res = { headers => {}, header_list => [], body => '', closed => 0 };

    # cheap before thorough: a body of megabytes comes in many pieces
    my $pos = index $buf, "\r\n\r\n";
    return 0 if $pos < 0;

    my $head = substr $buf, 0, $pos;

    if ($head =~ m!^HTTP/1\.\d 1\d\d!) {
        return 0 if $head =~ m!^HTTP/1\.\d 101!;
        return framed(substr($buf, $pos + 4), $method);
    }

    return 1 if $method eq 'HEAD' || $head =~ m!^HTTP/1\.\d (?:204|304)!;
    return length($buf) - $pos - 4 >= $1
        if $head =~ /\r\nContent-Length:\s*(\d+)/i;
    return 0 unless $head =~ /\r\nTransfer-Encoding:\s*chunked/i;
    return 0 unless $buf =~ /0\r\n(?:[^\r\n]+\r\n)*\r\n\z/;

    return (dechunk(substr $buf, $pos + 4))[1];
}


sub parse_answer {
    my ($res, $buf, $method) = @_;

    $res->{raw} = $buf;

    while ($buf =~ m{^HTTP/1\.\d 1(?!01)\d\d.*?\r\n\r\n}s) {
        substr $buf, 0, $+[0], '';
    }

    my $pos = index $buf, "\r\n\r\n";
    return if $pos < 0;

    my ($line, @lines) = split /\r\n/, substr $buf, 0, $pos;

    $res->{head} = substr $buf, 0, $pos;
    $res->{line} = $line // '';
    $res->{status} = $res->{line} =~ m!^HTTP/1\.\d (\d\d\d)! ? $1 + 0 : 0;

    for (@lines) {
        my ($name, $value) = /^([^:]+):\s*(.*?)\s*$/ or next;
        my $key = lc $name;

        push @{ $res->{header_list} }, [$name, $value];
        $res->{headers}{$key} = defined $res->{headers}{$key}
                                ? "$res->{headers}{$key}, $value" : $value;
    }

    my $body = substr $buf, $pos + 4;
    my $h = $res->{headers};

    if ($method eq 'HEAD' || $res->{status} == 204 || $res->{status} == 304)
    {
        $res->{complete} = $body eq '';
        $res->{body} = $body;

    } elsif (lc($h->{'transfer-encoding'} // '') eq 'chunked') {
        @$res{qw/ body complete /} = dechunk($body);

    } elsif (defined $h->{'content-length'}) {
        $res->{complete} = length($body) == $h->{'content-length'};
        $res->{body} = $body;

    } else {
        $res->{complete} = $res->{closed} && $res->{error} eq '';
        $res->{body} = $body;
    }

    $res->{complete} = $res->{complete} ? 1 : 0;
}


sub dechunk {
    my ($text) = @_;
    my $body = '';
    my $pos = 0;

    while (1) {
        pos($text) = $pos;
        $text =~ /\G([0-9a-fA-F]{1,8})[^\r\n]*\r\n/gc or return ($body, 0);

        my $size = hex $1;
        $pos = pos $text;

        if ($size == 0) {
            return ($body, $text =~ /\G(?:[^\r\n]+\r\n)*\r\n\z/gc ? 1 : 0);
        }

        $body .= substr $text, $pos, $size;
        return ($body, 0) if length($text) < $pos + $size + 2;
        return ($body, 0) if substr($text, $pos + $size, 2) ne "\r\n";
        $pos += $size + 2;
    }
}


# -- backends ---------------------------------------------------------------


# A server of SUB's making: see Debug::Backend below.

sub backend {
    my $sub = shift;
    my $b = Debug::Backend->start($sub, @_);

    push @BACKENDS, $b;
    return $b;
}


# -- nginx ------------------------------------------------------------------


# Options: module => 0 leaves load_module out; user => 'www-data' runs the
# workers as that user when root runs the test (root otherwise, so that they
# reach what the test made).

sub new {
    my ($class, %o) = @_;
    my $name = $ENV{TEST_NGINX_BINARY} // 'nginx';
    my $binary = have_bin($name);

    Test::More::plan(skip_all => "no nginx: \"$name\"") unless $binary;

    my $self = bless {
        binary => Cwd::abs_path($binary),
        dir => temp_dir('n'),
        ports => [],
        allowed => [],
        module => $o{module} // 1,
        user => $o{user} // 'root',
        pids => {},
        level => $o{level} // $ENV{TEST_NGINX_LOG} // 'info',
    }, $class;

    my $build = $ENV{DEBUG_BUILD} // Cwd::abs_path('build') // '';

    $self->{so} = "$build/ngx_http_debug_module.so";

    mkdir "$self->{dir}/$_" for qw/ logs html tmp /;
    write_file("$self->{dir}/html/index.html", "index\n");

    push @NGINX, $self;
    $LAST = $self;
    Scalar::Util::weaken($LAST);

    return $self;
}


sub dir { return $_[0]{dir} }
sub binary { return $_[0]{binary} }


# The N-th port of this nginx; as a function, port(N), of the nginx made
# last.

sub port {
    return ref $_[0] ? $_[0]->_port($_[1]) : _default_port($_[0]);
}


sub _default_port {
    die "no nginx yet\n" unless $LAST;
    return $LAST->_port($_[0]);
}


sub _port {
    my ($self, $n) = @_;

    return $self->{ports}[$n // 0] //= free_port();
}


# Whether the binary was built with what REGEX finds in nginx -V.

sub has {
    my ($self, $re) = @_;

    $self->{v} //= run_cmd([$self->{binary}, '-V'])->{err};
    return $self->{v} =~ $re;
}


sub version {
    my ($self) = @_;

    $self->has(qr/./);
    return $self->{v} =~ m!nginx/(\S+)! ? $1 : '';
}


# Fills in %%PORT_n%%, %%DIR%%, %%BUILD%%, %%TEST_GLOBALS%% and
# %%TEST_GLOBALS_HTTP%%.

sub expand {
    my ($self, $text) = @_;
    my $dir = $self->{dir};

    my $globals = '';
    $globals .= "load_module $self->{so};\n" if $self->{module};
    $globals .= "user $self->{user};\n" if $> == 0;
    $globals .= "pid $dir/nginx.pid;\n"
                . "error_log $dir/error.log $self->{level};\n";

    my $http = "access_log $dir/access.log;\nroot $dir/html;\n";

    for (['', 'client_body'], ['http_proxy_module', 'proxy'],
         ['http_fastcgi_module', 'fastcgi'], ['http_uwsgi_module', 'uwsgi'],
         ['http_scgi_module', 'scgi'])
    {
        my ($mod, $name) = @$_;
        next if $mod ne '' && $self->has(qr/--without-$mod\b/);
        $http .= "${name}_temp_path $dir/tmp/$name;\n";
    }

    $text =~ s/%%TEST_GLOBALS%%/$globals/g;
    $text =~ s/%%TEST_GLOBALS_HTTP%%/$http/g;
    $text =~ s/%%DIR%%/$dir/g;
    $text =~ s/%%BUILD%%/$self->{so} =~ s!\/[^\/]*$!!r/ge;
    $text =~ s/%%PORT_(\d+)%%/$self->_port($1)/ge;

    return $text;
}


# Writes nginx.conf; a running nginx wants reload() after it.

sub write_conf {
    my ($self, $text) = @_;

    $self->write('nginx.conf', $self->expand($text));
    return $self;
}


# A file below the prefix; "html/…" is what the default root serves.

sub write {
    my ($self, $name, $text) = @_;

    write_file("$self->{dir}/$name", $text);
    return $self;
}


sub read { return read_file("$_[0]{dir}/$_[1]") }


sub _env {
    my ($self) = @_;

    return {
        NGINX => undef,
        # reports go to the error log, where the end's check looks; nginx
        # keeps its pools until the process ends, on purpose
        ASAN_OPTIONS => 'detect_leaks=0:abort_on_error=0:'
                        . ($ENV{ASAN_OPTIONS} // ''),
        UBSAN_OPTIONS => 'print_stacktrace=1:' . ($ENV{UBSAN_OPTIONS} // ''),
        defined $ENV{TEST_NGINX_PRELOAD}
            ? (LD_PRELOAD => $ENV{TEST_NGINX_PRELOAD}) : (),
    };
}


sub _cmd {
    my ($self, $conf) = @_;

    return [$self->{binary}, '-p', "$self->{dir}/", '-c',
            "$self->{dir}/$conf", '-e', "$self->{dir}/error.log"];
}


# nginx -t of TEXT.  Returns the exit status and what was printed; in scalar
# context the latter.  Messages of such a run are not in error_log().

sub test_config {
    my ($self, $text) = @_;
    my $name = 'test' . $SEQ++ . '.conf';
    my $conf = $self->expand($text);

    # a log of its own: the errors are meant, and the files may be in use
    $conf =~ s!^error_log \Q$self->{dir}\E/error\.log !error_log stderr !m;
    $conf =~ s!^pid \Q$self->{dir}\E/nginx\.pid!pid $self->{dir}/$name.pid!m;
    $self->write($name, $conf);

    my $cmd = $self->_cmd($name);
    $cmd->[-1] = "$self->{dir}/$name.log";

    my $r = run_cmd([@$cmd, '-t'], env => $self->_env());

    problem($self, "nginx -t died of signal $r->{signal}") if $r->{signal};
    $self->_sanitizers('nginx -t', $r->{err});

    return wantarray ? ($r->{exit}, $r->{out} . $r->{err})
                     : $r->{out} . $r->{err};
}


# Starts nginx and waits until every worker is there.  TEXT as for
# write_conf().  Dies when nginx does not start.

sub run {
    my ($self, $text) = @_;

    $self->write_conf($text) if defined $text;

    # as a daemon: USR2 is ignored by a master whose parent is still there
    my $r = run_cmd($self->_cmd('nginx.conf'), env => $self->_env(),
                    timeout => 30);

    if ($r->{exit} || $r->{signal} || $r->{timeout}) {
        $self->{failed} = 1;
        die "nginx did not start (exit $r->{exit}, signal $r->{signal}):\n"
            . ($r->{err} || $self->error_log());
    }

    wait_for(sub { $self->_workers_ready($self->master_pid()) }, 10)
        or die "nginx: no workers within 10 s\n" . $self->error_log();

    $self->{running} = 1;
    $self->_remember();

    return $self;
}


sub master_pid {
    my ($self) = @_;

    return $self->read('nginx.pid') =~ /^(\d+)/ ? $1 + 0 : 0;
}


# How many workers nginx.conf asks for.

sub _workers_wanted {
    my ($self) = @_;

    my ($n) = $self->read('nginx.conf')
              =~ /^\s*worker_processes\s+(\w+)\s*;/m;
    $n //= 1;
    $n = POSIX::sysconf(POSIX::_SC_NPROCESSORS_ONLN()) if $n eq 'auto';

    return $n;
}


# Workers that take new connections, in the order of their pids; of the
# running master, or of MASTER.

sub worker_pids {
    my ($self, $master) = @_;

    return grep { title($_)
                  =~ /^(?:nginx|angie): worker process(?: #\d+)?\s*$/ }
           children_of($master // $self->master_pid());
}


sub _workers_ready {
    my ($self, $master) = @_;

    return $master && pid_alive($master)
           && $self->worker_pids($master) == $self->_workers_wanted();
}


# Everything that belongs to this nginx now, for the end.

sub _remember {
    my ($self) = @_;

    for my $master ($self->master_pid(), keys %{ $self->{pids} }) {
        next unless $master && pid_alive($master);
        $self->{pids}{$_} = 1 for $master, children_of($master);
    }
}


# Makes nginx read nginx.conf again.  Returns true when the new workers
# serve and the old ones are gone, false when nginx refused the new
# configuration: then error_log() says why, and the test must allow() it.
#
# wait_old => 0 returns when only new workers take connections, whatever the
# old ones still do.

sub reload {
    my ($self, %o) = @_;
    my $master = $self->master_pid();
    my @old = $self->worker_pids();
    my %old = map { $_ => 1 } @old;
    my $pos = length $self->error_log();
    my $refused;

    $self->_remember();
    kill 'HUP', $master;

    my $ok = wait_for(sub {
        my @now = $self->worker_pids();
        my $new = grep { !$old{$_} } @now;

        return 1 if $new == $self->_workers_wanted() && $new == @now;

        $refused = substr($self->error_log(), $pos) =~ /\[emerg\]/;
        return $refused;
    }, $o{timeout} // 15);

    return 0 if $refused;
    die "reload: no new workers\n" . substr($self->error_log(), $pos)
        unless $ok;

    $self->_remember();

    if ($o{wait_old} // 1) {
        wait_for(sub { !grep { pid_alive($_) } @old }, $o{timeout} // 15)
            or die "reload: old workers stay: @old\n";
    }

    return 1;
}


# USR2: a second nginx of the same binary takes the listening sockets over;
# then QUIT for the first, and its end is waited for.
#
# keep_old => 1 leaves both running and returns the old master's pid.

sub upgrade {
    my ($self, %o) = @_;
    my $old = $self->master_pid();
    my $pos = length $self->error_log();

    $self->_remember();
    kill 'USR2', $old;

    wait_for(sub {
        my $new = $self->master_pid();
        return $new && $new != $old && $self->_workers_ready($new);
    }, 15)
        or die "upgrade: no new master\n"
               . substr($self->error_log(), $pos);

    $self->_remember();

    return $old if $o{keep_old};

    kill 'QUIT', $old;
    wait_for(sub { !pid_alive($old) }, 15)
        or die "upgrade: the old master stays\n";

    return $old;
}


# Kills one worker (the first, or PID) with SIGNAL (KILL) and waits for its
# successor.  "exited on signal" is allowed from here on for that pid.

sub kill_worker {
    my ($self, %o) = @_;
    my $pid = $o{pid} // ($self->worker_pids())[0];
    my $master = $self->master_pid();

    $self->{killed}{$pid} = 1;
    kill $o{signal} // 'KILL', $pid;

    wait_for(sub {
        !pid_alive($pid) && $self->_workers_ready($master)
            && !grep { $_ == $pid } $self->worker_pids()
    }, 10)
        or die "no successor of worker $pid\n";

    $self->_remember();

    return $pid;
}


sub error_log { return $_[0]->read('error.log') }

# The lines of the error log with TEXT in them.  A pattern that begins with
# /^.*/m looks for what stands behind it from every line on, which of a debug
# log of 50 MB takes for ever.

sub error_lines {
    my ($self, $text) = @_;
    my $log = $self->error_log();
    my ($at, @lines) = (0);

    while (($at = index $log, $text, $at) >= 0) {
        my $from = rindex($log, "\n", $at) + 1;
        my $to = index $log, "\n", $at;

        $to = length $log if $to < 0;
        push @lines, substr $log, $from, $to - $from;
        $at = $to;
    }

    return @lines;
}

sub access_log { return $_[0]->read('access.log') }


# From now on lines that match RE are no fault.  REASON tells the reader why.

sub allow {
    my ($self, $re, $reason) = @_;

    die "allow() needs a reason\n" unless defined $reason && length $reason;

    push @{ $self->{allowed} }, [$re, $reason];
    return $self;
}


# QUIT, and a look at what nginx leaves behind.  Returns true when it was
# gone within 10 s; timeout changes that.

sub stop {
    my ($self, %o) = @_;
    my $timeout = $o{timeout} // $STOP_TIMEOUT;
    my $ok = 1;

    return 1 unless delete $self->{running};

    $self->_remember();

    my @masters = grep { title($_) =~ /^(?:nginx|angie): master/ }
                  keys %{ $self->{pids} };

    kill 'QUIT', @masters;

    my $left = sub { grep { $self->_ours($_) } keys %{ $self->{pids} } };

    if (!wait_for(sub { !$left->() }, $timeout)) {
        problem($self, "nginx did not stop within $timeout s: "
                       . join ', ', map { "$_ (" . title($_) . ')' }
                                    $left->());
        kill 'KILL', $left->();
        wait_for(sub { !$left->() }, 5);
        $ok = 0;
    }

    $self->{pids} = {};

    return $ok;
}


# A pid may be somebody else's by now.

sub _ours {
    my ($self, $pid) = @_;

    return pid_alive($pid) && title($pid) =~ /^(?:nginx|angie): /;
}


# What is wrong in the error log; a list of lines, the worst of them once.

sub faults {
    my ($self) = @_;
    my @bad;

    for my $line (split /\n/, $self->error_log() . $self->read('stderr.log'))
    {
        next unless $line =~ /\[(?:emerg|alert|crit)\]/
                    || $line =~ /exited on signal/;

        next if $line =~ /process (\d+) exited on signal/
                && $self->{killed}{$1};

        next if grep { $line =~ $_->[0] } @{ $self->{allowed} };

        push @bad, $line;
    }

    return @bad;
}


sub _sanitizers {
    my ($self, $what, $text) = @_;

    problem($self, "$what: a sanitizer's report:\n$_")
        for sanitizer_reports($text);
}


# The first three, each with the 40 lines that follow.  TEXT may be a debug
# log of 50 MB, in which a pattern would try each of its words at each byte.

sub sanitizer_reports {
    my ($text) = @_;
    my ($pos, @reports) = (0);

    while (@reports < 3) {
        my ($at) = sort { $a <=> $b } grep { $_ >= 0 }
                   map { index($text, $_, $pos) }
                       'Sanitizer', 'runtime error:';

        last unless defined $at;

        my $from = rindex($text, "\n", $at) + 1;

        $pos = $at;

        for (0 .. 40) {
            my $end = index($text, "\n", $pos);

            $pos = $end == -1 ? length $text : $end + 1;
            last if $end == -1;
        }

        my $report = substr($text, $from, $pos - $from);

        push @reports, $report =~ s/\n\z//r
            if $report =~ /(?:Address|Thread|Leak|UndefinedBehavior|Memory)
                           Sanitizer|runtime\ error:/x;
    }

    return @reports;
}


# The last look; each fault is told once.

sub _check {
    my ($self) = @_;

    return if $self->{checked}++;

    my @bad = $self->faults();
    problem($self, 'error.log: ' . join "\n", @bad[0 .. ($#bad < 19
                                                         ? $#bad : 19)])
        if @bad;

    $self->_sanitizers('error.log', $self->error_log());
}


# -- the end ----------------------------------------------------------------


# Something that fails the test, but not by an "ok" of its own: the plan may
# be over.

sub problem {
    my ($self, $text) = @_;

    push @PROBLEMS, $text;
    Test::More::diag($text);
}


sub problems { return splice @PROBLEMS }


# SUB is called at the end, before the temporary directory goes away.

sub at_end { push @CLEANUP, $_[0] }


END {
    if ($$ == $OWNER) {
        my $status = $?;
        local $SIG{INT} = 'IGNORE';
        local $SIG{TERM} = 'IGNORE';

        # in this order: a worker may wait for its backend, an application
        # for nothing
        for my $t (@NGINX) {
            eval { $t->stop(); $t->_check(); 1 } or problem($t, $@);
        }

        for my $sub (@CLEANUP) {
            eval { $sub->(); 1 } or problem(undef, $@);
        }

        $_->stop() for @BACKENDS;

        if (defined $DIR) {
            if ($ENV{TEST_NGINX_LEAVE}) {
                Test::More::diag("left: $DIR");
            } else {
                require File::Path;
                File::Path::remove_tree($DIR, { error => \my $err });
            }
        }

        $? = @PROBLEMS && !$status ? 1 : $status;
    }
}


###############################################################################

package Debug::Backend;

# A TCP or Unix server in a process of its own, and a process for each
# connection.  SUB is called for each request with the request and the
# connection:
#
#     $req->{method} {uri} {headers} {body} {raw} {n}     n counts from 1 on
#                                                         this connection
#     $c->reply(200, $body, Name => value…)   a whole answer
#     $c->send($bytes)                        anything
#     $c->delay(seconds)      false when the client left meanwhile
#     $c->hang(seconds)       waits for the client to leave (60)
#     $c->close()             ends the connection; reset => 1 with RST
#     $c->note(key => value)  adds to what is recorded
#
# Options: unix => 1 listens on a socket file; raw => 1 calls SUB once per
# connection, with nothing read, and an undefined request.
#
# Ready-made behaviours: answer(), hang(), slam(), garbage(), half_header(),
# half_body(), each of which returns a SUB.

use strict;
use warnings;

use Time::HiRes qw/ sleep time /;


sub start {
    my ($class, $sub, %o) = @_;
    my $dir = Debug::Nginx::temp_dir('b');
    my $self = bless { dir => $dir, owner => $$ }, $class;
    my $l;

    # what is told before an answer is told in memory: a disk that others keep
    # busy would hold the answer back for seconds
    my $log = (-w '/dev/shm' ? '/dev/shm/' : "$dir/") . "dbg-$$-" . $SEQ++;
    open $self->{fh}, '+>', $log or die "$log: $!\n";
    unlink $log;
    $self->{log} = "/proc/$$/fd/" . fileno $self->{fh};

    if ($o{unix}) {
        $self->{path} = ref $o{unix} || $o{unix} =~ m!/! ? "$o{unix}"
                                                         : "$dir/s";
        $l = IO::Socket::UNIX->new(Type => Socket::SOCK_STREAM(),
                                   Local => $self->{path}, Listen => 511);
        chmod 0777, $self->{path};

    } else {
        $l = IO::Socket::INET->new(Proto => 'tcp', Listen => 511,
                                   LocalAddr => '127.0.0.1', ReuseAddr => 1,
                                   LocalPort => $o{port} // 0);
        $self->{port} = $l->sockport() if $l;
    }

    die "backend: $! $@\n" unless $l;

    $self->{pid} = fork() // die "fork: $!\n";

    if ($self->{pid} == 0) {
        setpgrp(0, 0);
        $SIG{TERM} = 'DEFAULT';
        $SIG{INT} = 'IGNORE';
        $SIG{CHLD} = 'IGNORE';
        eval { $self->_accept($l, $sub, \%o) };
        warn $@ if $@;
        POSIX::_exit(1);
    }

    close $l;

    return $self;
}


sub _accept {
    my ($self, $l, $sub, $o) = @_;
    my $n = 0;

    while (1) {
        my $s = $l->accept() or next;
        my $id = $n++;
        my $pid = fork() // next;

        if ($pid == 0) {
            close $l;
            $SIG{CHLD} = 'DEFAULT';
            eval { $self->_serve($s, $id, $sub, $o) };
            $self->_record({ conn => $id, error => "$@" }) if $@;
            POSIX::_exit(0);
        }

        close $s;
    }
}


sub _serve {
    my ($self, $s, $id, $sub, $o) = @_;
    my $c = bless { sock => $s, buf => '' }, 'Debug::Backend::Connection';
    my $n = 0;

    binmode $s;
    $s->autoflush(1);

    while (1) {
        my $req;
        my $rec = { conn => $id, time => time() };

        if (!$o->{raw}) {
            $req = $c->_read_request();

            if (!$req) {
                $self->_record({ %$rec, partial => $c->{buf} })
                    if $c->{buf} ne '';
                return;
            }

            $req->{n} = ++$n;
            $rec = { %$rec, %$req };
        }

        # told before it is answered, so that who has the answer finds it
        $self->_record($rec);

        @$c{qw/ notes gone closed /} = ({}, 0, 0);
        $c->{req} = $req;
        $sub->($req, $c);

        if ($c->{gone} || %{ $c->{notes} }) {
            $self->_record({ of => $id, n => $n, gone => $c->{gone},
                             left => time(), %{ $c->{notes} } });
        }

        last if $o->{raw} || $c->{closed} || $c->{gone};
        last if lc($req->{headers}{connection} // '') eq 'close';
        last if $req->{version} eq '1.0'
                && lc($req->{headers}{connection} // '') ne 'keep-alive';
    }

    $c->close() unless $c->{closed};
}


sub _record {
    my ($self, $rec) = @_;

    # one write each, so lines of several processes do not mix
    open my $fh, '>>:raw', $self->{log} or return;
    syswrite $fh, JSON::PP->new->latin1->canonical->encode($rec) . "\n";
    close $fh;
}


# Where proxy_pass and upstream servers find it.

sub port { return $_[0]{port} }
sub path { return $_[0]{path} }
sub addr { return $_[0]{path} ? "unix:$_[0]{path}"
                              : "127.0.0.1:$_[0]{port}" }


# The requests so far, oldest first; those whose client left before the sub
# was done have "gone" and "left", the time of it.

sub received {
    my ($self) = @_;
    my (@list, %by);

    # a line that is being written is no line yet
    for my $line (Debug::Nginx::read_file($self->{log}) =~ /^(.*)\n/mg) {
        my $rec = JSON::PP->new->latin1->decode($line);

        if (defined(my $of = delete $rec->{of})) {
            my $n = delete $rec->{n};
            my $req = $by{"$of $n"} or next;
            @$req{keys %$rec} = values %$rec;
            next;
        }

        push @list, $rec;
        $by{"$rec->{conn} " . ($rec->{n} // 0)} = $rec;
    }

    return @list;
}


sub count { return scalar grep { defined $_->{method} } $_[0]->received() }


sub clear { Debug::Nginx::write_file($_[0]{log}, '') }


# Ends it: the port refuses connections, those that stand are cut.

sub stop {
    my ($self) = @_;
    my $pid = delete $self->{pid} or return;

    return if $$ != $self->{owner};

    kill 'KILL', -$pid;
    local $?;
    waitpid $pid, 0;
}


sub DESTROY { local ($?, $@); $_[0]->stop() if $_[0]{pid} }


sub answer {
    my ($status, $body, %h) = @_;
    return sub { $_[1]->reply($status, $body, %h) };
}


sub hang { my ($t) = @_; return sub { $_[1]->hang($t) } }
sub slam { return sub { $_[1]->close(reset => 1) } }


sub garbage {
    my ($bytes) = @_;
    $bytes //= join '', map { chr(($_ * 167 + 13) % 256) } 0 .. 511;
    return sub { $_[1]->send($bytes); $_[1]->close() };
}


sub half_header {
    my ($then) = @_;
    return sub {
        $_[1]->send("HTTP/1.1 200 OK\r\nContent-Type: text/pl");
        ($then // sub { $_[1]->close() })->(@_);
    };
}


sub half_body {
    my ($then) = @_;
    return sub {
        $_[1]->send("HTTP/1.1 200 OK\r\nX-Pprof-Pid: 7\r\n"
                    . "Content-Length: 1000\r\n\r\n"
                    . 'x' x 500);
        ($then // sub { $_[1]->close() })->(@_);
    };
}


###############################################################################

package Debug::Backend::Connection;

use strict;
use warnings;

use Time::HiRes qw/ sleep time /;


sub _more {
    my ($self) = @_;

    my $n = sysread $self->{sock}, my $piece, 65536;
    return 0 unless $n;

    $self->{buf} .= $piece;
    return 1;
}


sub _read_request {
    my ($self) = @_;
    my $end;

    while (($end = index $self->{buf}, "\r\n\r\n") < 0) {
        $self->_more() or return;
    }

    my $head = substr $self->{buf}, 0, $end + 4;
    my ($line, @lines) = split /\r\n/, $head;
    my %h;

    for (@lines) {
        my ($name, $value) = /^([^:]+):\s*(.*?)\s*$/ or next;
        my $key = lc $name;
        $h{$key} = defined $h{$key} ? "$h{$key}, $value" : $value;
    }

    my $req = { raw => $head, headers => \%h, body => '' };

    @$req{qw/ method uri version /} = $line =~ m!^(\S+) (\S+) HTTP/(\S+)$!
        or return;

    if (lc($h{expect} // '') eq '100-continue') {
        $self->send("HTTP/1.1 100 Continue\r\n\r\n");
    }

    my $size = $h{'content-length'} // 0;

    if (lc($h{'transfer-encoding'} // '') eq 'chunked') {
        while (1) {
            my ($body, $done) = Debug::Nginx::dechunk(
                                    substr $self->{buf}, $end + 4);
            if ($done) {
                $req->{body} = $body;
                $self->{buf} = '';
                return $req;
            }
            $self->_more() or return;
        }
    }

    while (length($self->{buf}) < $end + 4 + $size) {
        $self->_more() or return;
    }

    $req->{body} = substr $self->{buf}, $end + 4, $size;
    substr $self->{buf}, 0, $end + 4 + $size, '';

    return $req;
}


sub reply {
    my ($self, $status, $body, %h) = @_;

    $body //= '';
    $h{'Content-Length'} = length $body
        unless grep { /^(?:content-length|transfer-encoding)$/i } keys %h;

    my $head = "HTTP/1.1 $status Status\r\n"
               . join('', map { "$_: $h{$_}\r\n" }
                          grep { defined $h{$_} } sort keys %h)
               . "\r\n";

    $body = '' if $self->{req} && $self->{req}{method} eq 'HEAD';

    return $self->send($head . $body);
}


sub send {
    my ($self, $bytes) = @_;

    while (length $bytes) {
        my $n = syswrite $self->{sock}, $bytes;

        if (!defined $n) {
            next if $!{EINTR};
            $self->{gone} = 1;
            return 0;
        }

        substr $bytes, 0, $n, '';
    }

    return 1;
}


sub delay {
    my ($self, $seconds) = @_;
    my $end = time() + $seconds;

    while ((my $left = $end - time()) > 0) {
        my $rv = '';
        vec($rv, fileno $self->{sock}, 1) = 1;

        next unless (select $rv, undef, undef, $left) > 0;

        if (!$self->_more()) {
            $self->{gone} = 1;
            return 0;
        }
    }

    return 1;
}


sub hang {
    my ($self, $seconds) = @_;

    return !$self->delay($seconds // 60);
}


sub close {
    my ($self, %o) = @_;

    $self->{closed} = 1;

    if ($o{reset}) {
        setsockopt $self->{sock}, Socket::SOL_SOCKET(), Socket::SO_LINGER(),
                   pack('ii', 1, 0);
    }

    CORE::close $self->{sock};
}


sub note {
    my ($self, %h) = @_;

    @{ $self->{notes} }{keys %h} = values %h;
}


1;
