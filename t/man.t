#!/usr/bin/perl

# The man pages: made of what programs, header and docs say, all of it, and
# nothing in them that a reader of man pages warns of.

###############################################################################

use warnings;
use strict;

use Test::More;

use lib 't/lib';
use Debug::Nginx;

###############################################################################

need_bin('mandoc');

my $build = $ENV{DEBUG_BUILD} // 'build';
my $dir = temp_dir('man');

my $r = run_cmd([$^X, 'docs/man.pl', $dir],
	env => { SOURCE_DATE_EPOCH => 86400 });
is($r->{exit}, 0, 'made') or diag($r->{err});
is($r->{err}, '', 'without a warning');

my %page = map { m!([^/]+)$! => $_ } glob("$dir/*");
my %text;

is(join(' ', sort keys %page), 'libpprof.3 ngx_http_debug_module.5 '
	. 'pprof-agent.8 pprof-run.1 sampleize.1', 'pages');

my ($version) = read_file('CHANGES') =~ /^Changes with (\S+)/m;

for my $name (sort keys %page) {
	$r = run_cmd(['mandoc', '-T', 'lint', '-W', 'warning', $page{$name}]);
	is($r->{out} . $r->{err}, '', "$name: mandoc has nothing to warn of");

	SKIP: {
		skip 'no groff', 1 unless have_bin('groff');
		$r = run_cmd(['groff', '-ww', '-man', '-Tutf8', '-z',
			$page{$name}]);
		is($r->{err}, '', "$name: nor has groff");
	}

	$text{$name} = run_cmd(['mandoc', '-T', 'utf8', '-O', 'width=200',
		$page{$name}])->{out};
	$text{$name} =~ s/.\x08//g;

	like(read_file($page{$name}), qr/^\.TH \S+ \d "1970-01-02" "libpprof \Q$version\E"$/m,
		"$name: date and version");
	unlike($text{$name}, qr/\*\*\w|`|\]\(|^\|/m, "$name: no Markdown is left");
}

# all of it

for my $program (qw/ pprof-run sampleize /) {
	my $usage = run_cmd(["$build/$program", '--help']);
	my @options = ($usage->{out} . $usage->{err}) =~ /^    (-[\w-]+)/mg;

	cmp_ok(scalar(@options), '>', 4, "$program: options");
	is(join(' ', grep { $text{"$program.1"} !~ /^ +\Q$_\E\b/m } @options), '',
		"$program.1: each option");
}

my @functions = read_file('profiler/include/pprof.h')
	=~ /^PPROF_API [^;(]*?(\w+)\(/mg;
is(join(' ', grep { $text{'libpprof.3'} !~ /^   \Q$_\E$/m } @functions), '',
	'libpprof.3: each function');
is(join(' ', grep { $text{'libpprof.3'} !~ /^ +\Q$_\E\b/m }
	qw/ EALREADY EADDRINUSE ECANCELED EMFILE EACCES /), '',
	'libpprof.3: each error');

my @directives = read_file('docs/directives.md') =~ /^## (debug\w*)$/mg;
is(join(' ', grep { $text{'ngx_http_debug_module.5'} !~ /^   \Q$_\E$/m }
	@directives), '', 'ngx_http_debug_module.5: each directive');

is(run_cmd([$^X, 'docs/man.pl', $dir, 'no.1'])->{exit} ? 'refused' : '',
	'refused', 'another page');

done_testing();

###############################################################################
