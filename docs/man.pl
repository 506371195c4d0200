#!/usr/bin/perl
#
# Makes the man pages of what is written elsewhere, so that it is written once:
#
#     perl docs/man.pl <directory> [page…]
#
#   pprof-run(1), sampleize(1)     of their usage, and sections of docs/
#   pprof-agent(8)                 of docs/deploying.md
#   libpprof(3)                    of profiler/include/pprof.h
#   ngx_http_debug_module(5)       of docs/directives.md
#
# Markdown is read as docs/ has it: headings, paragraphs, lists, tables, code.

use strict;
use warnings;
use utf8;

use File::Basename qw/ dirname /;
use POSIX qw/ strftime /;

my $root = dirname(__FILE__) . '/..';

sub text {
    my ($file) = @_;
    open my $fh, '<:encoding(UTF-8)', "$root/$file" or die "$file: $!\n";
    local $/;
    return scalar <$fh>;
}

my ($version) = text('CHANGES') =~ /^Changes with (\S+)$/m
    or die "CHANGES names no version\n";
my $date = strftime('%Y-%m-%d', gmtime($ENV{SOURCE_DATE_EPOCH} // time));


# -- roff

# What roff would take for its own.
sub plain {
    my ($text) = @_;

    $text =~ s/\\/\\e/g;
    $text =~ s/-/\\-/g;
    $text =~ s/([^\x00-\x7f])/sprintf '\\[u%04X]', ord $1/ge;
    return $text;
}

# No line of text is a request.
sub lines {
    my ($text) = @_;

    $text =~ s/^(?=[.'])/\\&/mg;
    return $text;
}

# Where it leads within docs/, there is no need to say.
sub link_to {
    my ($text, $to) = @_;
    return inline($text) . ($to =~ /^https?:/ ? ' (' . plain($to) . ')' : '');
}

# A paragraph's code, bold, italic and links.
sub inline {
    my ($text) = @_;
    my $out = '';

    $text =~ s/<br>/\n/g;
    $text =~ s/\\\|/|/g;

    while ($text =~ /\G(?:`([^`]+)`|\*\*(.+?)\*\*|\*([^\s*][^*]*)\*
                       |\[([^\]]+)\]\(([^)]+)\)|(.))/xsg)
    {
        $out .= defined $1 ? '\fB' . plain($1) . '\fR'
              : defined $2 ? '\fB' . inline($2) . '\fR'
              : defined $3 ? '\fI' . plain($3) . '\fR'
              : defined $4 ? link_to($4, $5)
              : $6 eq '-' ? '-' : plain($6);
    }

    # bold within bold ends but once
    $out =~ s/\\fB((?:\\fB.*?\\fR|(?!\\f).)*)\\fR/'\fB' . ($1 =~ s!\\f[BR]!!gr) . '\fR'/gse;

    return lines($out);
}

sub code {
    my ($text) = @_;

    $text =~ s/\t/    /g;
    $text =~ s/\n+\z//;
    return ".PP\n.RS 4\n.EX\n" . lines(plain($text)) . "\n.EE\n.RE\n";
}

sub section { '.SH ' . plain(uc shift) . "\n" }
sub subsection { '.SS ' . plain(shift) . "\n" }

# A row is what it is about, and what is said of it: by the heads of the
# columns, where there are several.
sub table {
    my (@rows) = @_;
    my @head = @{shift @rows};
    my $out = '';

    for my $row (@rows) {
        my ($first, @rest) = @$row;
        my @said;

        for my $i (0 .. $#rest) {
            next if $rest[$i] eq '' || $rest[$i] eq '–' || $rest[$i] eq '-';
            push @said, @rest == 1 || ($head[$i + 1] // '') eq ''
                ? inline($rest[$i])
                : inline($head[$i + 1]) . ': ' . inline($rest[$i]);
        }

        # of the tables of directives the first column is bold already
        my $tag = $first =~ /[`*]/ ? inline($first) : '\fB' . plain($first) . '\fR';
        $tag =~ s/\n/ /g;
        @said = ('\&') unless @said;
        $out .= ".TP\n$tag\n" . join("\n.br\n", map { s/\n/\n.br\n/gr } @said)
              . "\n";
    }

    return $out;
}

# Markdown, whose headings of level TOP are sections.
sub markdown {
    my ($text, $top) = @_;
    my $out = '';
    my @para;
    my $flush = sub {
        $out .= ".PP\n" . inline(join "\n", @para) . "\n" if @para;
        @para = ();
    };
    my @in = split /\n/, $text;

    while (defined(my $line = shift @in)) {
        if ($line =~ /^```/) {
            my @code;
            $flush->();
            push @code, shift @in while @in && $in[0] !~ /^```/;
            shift @in;
            $out .= code(join "\n", @code);

        } elsif ($line =~ /^    \S/ && !@para) {
            my @code = substr $line, 4;
            push @code, (shift @in) =~ s/^    //r
                while @in && $in[0] =~ /^(?:    |$)/;
            $out .= code(join "\n", @code);

        } elsif ($line =~ /^(#+) (.*)/) {
            $flush->();
            $out .= length $1 <= $top ? section($2) : subsection($2);

        } elsif ($line =~ /^\|/) {
            my @rows;
            $flush->();
            unshift @in, $line;

            while (@in && $in[0] =~ /^\|/) {
                my $row = shift @in;
                next if $row =~ /^\|(?:-+\|)+$/;
                $row =~ s/^\|\s*|\s*\|$//g;
                push @rows, [map { s/^\s+|\s+$//gr } split /(?<!\\)\|/, $row, -1];
            }
            $out .= table(@rows);

        } elsif ($line =~ /^(?:\*|-|\d+\.) (.*)/) {
            my @item = $1;
            $flush->();
            push @item, (shift @in) =~ s/^ +//r while @in && $in[0] =~ /^ +\S/;
            $out .= ".IP \\(bu 2\n" . inline(join "\n", @item) . "\n";

        } elsif ($line =~ /^!\[/) {
            # a picture

        } elsif ($line eq '') {
            $flush->();

        } else {
            push @para, $line;
        }
    }

    $flush->();
    return $out;
}

# The sections of a document that are named, with their headings.
sub sections {
    my ($file, @names) = @_;
    my $text = text($file);

    return join '', map {
        my $name = $_;
        my ($section) = $text =~ /^(## \Q$name\E\n.*?)(?=^## |\z)/ms
            or die "$file: no section \"$name\"\n";
        $section;
    } @names;
}


# -- usages, as programs print them

sub usage {
    my ($text) = @_;
    my $out = '';
    my ($synopsis, @parts) = split /\n\n/, $text;

    $synopsis =~ s/^usage: (\S+) //;
    $out = section('synopsis') . ".B " . plain($1) . "\n" . plain($synopsis)
         . "\n" . section('description');

    for my $part (@parts) {
        if ($part =~ s/^options:\n//) {
            $out .= section('options');
            $part =~ s/^ {17}\s*/\x01/mg;

            for my $option (split /\n(?=    -)/, $part) {
                my ($tag, $said) = $option =~ /^    (-h, --help|\S+(?: [a-z]+)?)\s+(.*)/s;
                $out .= ".TP\n\\fB" . plain($tag) . "\\fR\n"
                      . lines(plain($said =~ s/\x01//gr)) . "\n";
            }
            $out .= section('environment and files') if $parts[-1] ne $part;

        } elsif ($part =~ /^    /) {
            $out .= code($part =~ s/^    //mgr);

        } else {
            $out .= ".PP\n" . lines(plain($part)) . "\n";
        }
    }

    return $out;
}

sub usage_of_run {
    my ($c) = text('profiler/run/pprof-run.c')
        =~ /^static const char usage\[\] =\n(.*?);\n/ms or die;
    return join '', map { s/\\n/\n/gr =~ s/\\(.)/$1/gr } $c =~ /"(.*)"$/mg;
}

sub usage_of_sampleize {
    my ($text) = text('profiler/sampleize') =~ /^ *cat << 'END'\n(.*?)^END$/ms
        or die;
    return $text;
}


# -- a header

sub header {
    my $out = '';
    my $h = text('profiler/include/pprof.h');

    $h =~ s/^#(?:ifndef|ifdef|endif|define PPROF_H).*\n(?:extern "C" \{\n|\}\n)?//mg;
    my ($about, $rest) = $h =~ m!^/\*\n(.*?) \*/\n(.*)!s or die;

    my $said = sub {
        my ($comment) = @_;
        my $roff = '';
        $comment =~ s/^ \* ?//mg;

        for my $part (split /\n\n/, $comment) {
            my ($first, $list) = $part =~ /^([^\n]*:)\n(  \S.*)/s;

            if (defined $list) {
                $roff .= ".PP\n" . lines(plain($first)) . "\n";

                for my $item (split /(?<!,)\n(?=  \S)/, $list) {
                    my ($tag, $what) = $item =~ /^  ([A-Z]+(?:,\s+[A-Z]+)*)\s+(.*)/s;
                    $roff .= ".TP\n\\fB" . plain($tag =~ s/\s+/ /gr) . "\\fR\n"
                           . lines(plain($what =~ s/\n +/\n/gr)) . "\n";
                }

            } elsif ($part =~ /^    /) {
                $roff .= code($part =~ s/^    //mgr);

            } else {
                $roff .= ".PP\n" . lines(plain($part)) . "\n";
            }
        }
        return $roff;
    };

    $out .= section('synopsis') . code("#include <pprof.h>\n\n"
        . join "\n", map { "$_;" } $rest =~ /^PPROF_API (.*?);/msg);
    $out .= ".PP\nLink with \\fI\\-lpprof\\fR (\\fBpkg\\-config libpprof\\fR).\n";
    $out .= section('description') . $said->($about =~ s/^ \* [^\n]*\n \*\n//r);

    # what is declared, below what is said of it
    while ($rest =~ m!^/\*(.*?)\*/\n(.*?)(?=^/\*|\z)!msg) {
        my ($comment, $code) = ($1, $2);
        my ($name) = $code =~ /^PPROF_API [^(]*?(\w+)\(|^(struct \w+)/m;

        $code =~ s/\n\s*\n\s*\n/\n\n/g;
        $code =~ s/^PPROF_API //mg;
        $code =~ s/\s+\z//;
        next if $code eq '' || !defined($name //= ($code =~ /^(struct \w+)/m)[0]);
        $comment =~ s/^ +(?=\S)/ * /mg if $comment !~ /^ \*/m;
        $out .= subsection($name) . code($code) . $said->($comment =~ s/^\n//r =~ s/ +\z//r);
    }

    return $out;
}


# -- the pages

sub page {
    my ($name, $section, $about, @body) = @_;
    my @see = @{pop @body};

    my $roff = '.\" Made by docs/man.pl' . "\n"
        . '.TH ' . uc(plain($name)) . " $section \"$date\" \"libpprof $version\"\n"
        . '.ad l' . "\n" . '.nh' . "\n"
        . section('name') . plain($name) . ' \- ' . plain($about) . "\n"
        . join('', @body)
        . section('see also')
        . join(",\n", map { /(.*)\((\d)\)/ ? ".BR" . ' ' . plain($1) . " ($2)" : $_ } @see)
            =~ s/\),\n/) ,\n/gr . "\n";

    # a heading begins a paragraph by itself
    $roff =~ s/^(\.S[HS] .*\n)\.PP\n/$1/mg;
    return $roff;
}

my %page = (
    'pprof-run.1' => sub { page('pprof-run', 1,
        'runs a program so that it answers profile requests',
        usage(usage_of_run()),
        markdown(sections('docs/deploying.md', 'Users and groups'), 2),
        ['sampleize(1)', 'libpprof(3)', 'pprof-agent(8)']) },

    'sampleize.1' => sub { page('sampleize', 1,
        'fetches profiles of a program, once or every so often',
        usage(usage_of_sampleize()),
        ['pprof-run(1)', 'curl(1)', 'pprof-agent(8)']) },

    'pprof-agent.8' => sub { page('pprof-agent', 8,
        'what answers profile requests, beside the program',
        section('description'),
        markdown(sections('docs/deploying.md', 'Who is there',
            'Users and groups', 'systemd', 'AppArmor, SELinux',
            'Without /proc', 'Logs') =~ s/^## Who is there\n//r, 2),
        ['pprof-run(1)', 'libpprof(3)', 'ngx_http_debug_module(5)']) },

    'libpprof.3' => sub { page('libpprof', 3,
        'profiles of C and C++ programs over HTTP', header(),
        ['pprof-run(1)', 'pprof-agent(8)']) },

    'ngx_http_debug_module.5' => sub { page('ngx_http_debug_module', 5,
        'statistics of upstream peers and profiles of what runs there',
        section('synopsis'),
        markdown(text('docs/directives.md') =~ s/^# .*\n//r
            =~ s/^(?=## debug\n)/# Directives\n\n/mr, 1),
        ['pprof-run(1)', 'pprof-agent(8)', 'nginx(8)']) },
);

my ($dir, @names) = @ARGV;
die "usage: man.pl directory [page...]\n" unless defined $dir;
@names = sort keys %page unless @names;
mkdir $dir;

for my $name (@names) {
    my $made = ($page{$name} // die "man.pl: no page \"$name\"\n")->();

    open my $fh, '>:encoding(UTF-8)', "$dir/$name" or die "$dir/$name: $!\n";
    print $fh $made;
    close $fh or die "$dir/$name: $!\n";
}
