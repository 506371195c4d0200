#!/usr/bin/perl

# The unit tests of ngx_module/: each is a module that tests itself inside
# "nginx -t" (t/unit/module/host.h).

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Debug::Nginx;

my $build = $ENV{DEBUG_BUILD} // 'build';
my @tests = sort glob "$build/t/unit/module/*.so";

ok(@tests, "tests in $build/t/unit/module");

my $t = Debug::Nginx->new(module => 0);

for my $so (@tests) {
    my ($name) = $so =~ m!([^/]+)\.so$!;

    subtest $name => sub {
        my ($exit, $out) = $t->test_config("load_module " . Cwd::abs_path($so)
                                           . ";\n%%TEST_GLOBALS%%\n"
                                           . "events { }\n");
        my ($planned, $run) = (-1, 0);

        for (split /\n/, $out) {
            if (/^(not )?ok \d+(?: - (.*))?$/) {
                ok(!$1, $2);
                $run++;

            } elsif (/^1\.\.(\d+)$/) {
                $planned = $1;

            } elsif (!/configuration file \S+ syntax is ok$/) {
                note($_);
                diag($_) unless /^# (?!got)/;
            }
        }

        is($exit, 0, 'exit status');
        is($run, $planned, 'tests run');
    };
}

done_testing();
