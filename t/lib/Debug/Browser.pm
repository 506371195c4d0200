package Debug::Browser;

# Runs the tests of t/browser/ by node's own test runner, and hands on what it
# said.

use warnings;
use strict;

use Exporter 'import';
use POSIX ();
use Test::More;

use Debug::Nginx;

our @EXPORT = qw/ run_files /;


# Each file by itself, and not by "node --test", whose output differs from
# version to version; each lane, a list of names, beside the others: a test
# waits more than it works.

sub run_files {
    my ($dir, @lanes) = @_;

    my $out = temp_dir('browser');
    my @pids;

    for my $lane (@lanes) {
        my $pid = fork() // BAIL_OUT("fork: $!");

        if (!$pid) {
            for my $name (@$lane) {
                # a hook that gave up leaves what it had begun, and node waits
                system("timeout -k 10 3000 node --test-reporter=tap"
                       . " '$dir/$name.test.mjs' > '$out/$name';"
                       . " echo \$? > '$out/$name.exit'");
            }

            POSIX::_exit(0);
        }

        push @pids, $pid;
    }

    waitpid($_, 0) for @pids;
    told($out, $_) for map { @$_ } @lanes;
}


# Why a test failed stands in a block that prove neither shows nor always
# understands.

sub told {
    my ($out, $name) = @_;
    my ($run, $failed) = (0, 0);

    for my $line (split /^/, read_file("$out/$name")) {

        if ($line =~ /^(not )?ok \d+ - ([^#]*?)\s*(# SKIP.*)?$/) {
            $failed = $1;
            $run++;
            ok(!$failed, "$name: $2" . ($3 ? " ($3)" : ''));

        } elsif ($failed && $line =~ /^\s/
             && $line !~ /^\s+(?:---|\.\.\.)$/)
        {
            diag($line);
        }
    }

    is(read_file("$out/$name.exit"), "0\n", "$name: exit status");
    ok($run, "$name: has tests");
}


1;
