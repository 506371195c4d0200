#!/usr/bin/perl

# nginx's own tests, with the module on in every http{}, against the same
# without it.
#
#     t/nginx-tests.pl <checkout of nginx-tests> <module> <tests at once>
#
# With the module means: it is loaded, records everything, and each http{} has
# one server more, at a socket in the test's directory, with "debug".  A test
# that fails without the module too is none of ours.  What differs is run
# again, alone and both ways: only what differs each time is reported.
#
# Environment: TEST_NGINX_BINARY; NGINX_TESTS, names of some of them
# ("proxy*.t h2.t") instead of all.
#
# Exit status: 0 when there is no difference, 1 when there is, 2 for wrong use.

use strict;
use warnings;

use Cwd ();
use File::Temp ();
use TAP::Formatter::Console ();
use TAP::Harness ();

# some of them fail now and then: five times the other way round are no chance
use constant AGAIN => 5;

my ($dir, $module, $jobs) = @ARGV;

@ARGV == 3 or wrong('usage: nginx-tests.pl <checkout> <module> <jobs>');

$module = Cwd::abs_path($module) // wrong("no module \"$module\"");
chdir $dir or wrong("$dir: $!");

my @tests = sort map { glob } split ' ', $ENV{NGINX_TESTS} // '*.t';
@tests = grep { -e } @tests;
@tests or wrong("no tests in $dir");

my $nginx = $ENV{TEST_NGINX_BINARY} // 'nginx';
my ($version) = `$nginx -v 2>&1` =~ m!^nginx version: (\S+)!m;

defined $version or wrong("$nginx is no nginx");

$ENV{TMPDIR} = File::Temp::tempdir('nt-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $ENV{TMPDIR};

# A worker that ends by a signal is an [alert], which their own last test looks
# for.  What root makes is root's alone.
my %both = $> == 0 ? (TEST_NGINX_GLOBALS => "user root;\n") : ();
my %with = (
    TEST_NGINX_GLOBALS => "load_module $module;\n"
                          . ($both{TEST_NGINX_GLOBALS} // ''),
    TEST_NGINX_GLOBALS_HTTP => <<'END',
debug_write_timeout 90s;
server {
    listen unix:%%TESTDIR%%/debug.sock;
    server_name debug.invalid;
    location /debug/ { debug; }
}
END
);

$| = 1;

my %without = run(\@tests, $jobs, "$version alone", %both);
my %ours = run(\@tests, $jobs, "$version with the module", %with);
my @differ = grep { $without{$_} ne $ours{$_} } @tests;

for (1 .. AGAIN) {
    last unless @differ;

    my %a = run(\@differ, 1, 'again, alone', %both);
    my %b = run(\@differ, 1, 'again, with the module', %with);

    $without{$_} = $a{$_}, $ours{$_} = $b{$_} for @differ;
    @differ = grep { $a{$_} ne $b{$_} } @differ;
}

for my $test (@differ) {
    print "nginx-tests: $test: without the module: $without{$test};",
        " with it: $ours{$test}\n";
}

my $same = grep { $_ ne 'ok' && $_ !~ /^skipped/ } map { $without{$_} }
    grep { $without{$_} eq $ours{$_} } @tests;
my $skipped = grep { /^skipped/ } values %ours;

printf "nginx-tests: %s: %d files, %d skipped, %d fail with and without,"
    . " %d differ\n", $version, scalar @tests, $skipped, $same,
    scalar @differ;

# where hardly anything runs nothing was shown
if ($same > @tests / 2) {
    print "nginx-tests: most fail without the module, too: see one of them\n";
    exit 1;
}

exit(@differ ? 1 : 0);


sub wrong {
    print STDERR "@_\n";
    exit 2;
}


# Runs TESTS; what became of each: "ok", "skipped: why", or what failed.

sub run {
    my ($tests, $at_once, $what, %env) = @_;
    my $start = time();
    my %result;

    delete local @ENV{qw/ TEST_NGINX_GLOBALS TEST_NGINX_GLOBALS_HTTP /};
    local @ENV{keys %env} = values %env;

    my $harness = TAP::Harness->new({ lib => ['lib'], jobs => $at_once,
                                      verbosity => -3, merge => 1 });

    $harness->callback(after_test => sub {
        my ($job, $parser) = @_;
        $result{ref $job ? $job->[0] : $job} = told($parser);
    });

    $harness->runtests(@$tests);

    printf "nginx-tests: %s: %d files, %d ok, %d skipped, %d fail, %d s\n",
        $what, scalar @$tests, scalar(grep { $_ eq 'ok' } values %result),
        scalar(grep { /^skipped/ } values %result),
        scalar(grep { /^fail/ } values %result), time() - $start;

    return %result;
}


sub told {
    my ($parser) = @_;

    return 'skipped: ' . $parser->skip_all() if defined $parser->skip_all();
    return 'ok' if $parser->is_good_plan() && !$parser->failed()
        && !$parser->exit();

    return join ', ', 'fails',
        $parser->failed() ? join ' ', $parser->failed() : (),
        $parser->is_good_plan() ? () : 'ends early',
        $parser->exit() ? 'exit ' . $parser->exit() : ();
}
