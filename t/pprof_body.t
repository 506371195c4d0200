#!/usr/bin/perl

# The body of a POST that others have read before: "mirror" does, and wants it
# once more.
#
# The mirror got "Content-Length: 0", or the peer did, when the body was in a
# file.

use strict;
use warnings;

use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use Debug::Nginx;

my $t = Debug::Nginx->new();

my $profile = "\x1f\x8b\x08\0" . "\0" x 16;
my $app = backend(sub {
    my ($req, $c) = @_;

    return $c->reply(200, $profile) if $req->{uri} =~ /heap/;
    $c->reply(200, "got $req->{body}");
});
my $copy = backend(sub { $_[1]->reply(200, 'copy') });

$t->run(<<"EOC");
%%TEST_GLOBALS%%
worker_processes 1;
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    debug_snapshots path=%%DIR%%/kept every=1h kinds=heap;
    upstream app { server @{[ $app->addr() ]}; }
    upstream copy { server @{[ $copy->addr() ]}; }
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location /debug/ { debug; debug_pprof_pass app; }
        location /mirror/ {
            mirror /copy;
            debug;
            debug_pprof_pass app;
        }
        location /small/ {
            mirror /copy;
            client_body_buffer_size 1k;
            debug;
            debug_pprof_pass app;
        }
        location /file/ {
            mirror /copy;
            client_body_in_file_only clean;
            debug;
            debug_pprof_pass app;
        }
        location /nobody/ {
            mirror /copy_of_nothing;
            mirror_request_body off;
            debug;
            debug_pprof_pass app;
        }
        location /only/ {
            client_body_in_file_only clean;
            client_body_in_single_buffer on;
            debug;
            debug_pprof_pass app;
        }
        location /legacy/ {
            mirror /copy;
            debug legacy;
            debug_pprof_pass app;
        }
        location = /copy { proxy_pass http://copy; }
        location = /copy_of_nothing {
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_pass http://copy;
        }
    }
}
EOC


# What both got of BODY.

sub both {
    my ($name, $path, $body, $mirrored, @request) = @_;

    $app->clear();
    $copy->clear();

    my $r = @request ? http_request(\@request)
                     : http_get($path, method => 'POST', body => $body);

    is($r->{status}, 200, "$name: answered");
    ok($r->{body} eq "got $body", "$name: the peer got all of it")
        or diag(length $r->{body});

    return unless defined $mirrored;

    my $m;
    wait_for(sub {
        ($m) = grep { ($_->{method} // '') eq 'POST' } $copy->received();
    });

    is($m->{body}, $mirrored, "$name: the mirror got it, too");
}


my $few = '0x1+0x2';
my $many = join '+', map { sprintf '0x%x', $_ } 1 .. 4_000;

for my $body ($few, $many) {
    my $n = length $body;

    both("$n bytes", '/debug/pprof/symbol', $body);
    both("$n bytes, in a file", '/only/pprof/symbol', $body);

    both("$n bytes, $_", "/$_/pprof/symbol", $body, $body)
        for qw/ mirror small file /;

    both("$n bytes, legacy", '/legacy/symbol', $body, $body);
    both("$n bytes, no body for the mirror", '/nobody/pprof/symbol', $body,
         '');

    # in pieces

    for my $where (qw/ mirror small file debug /) {
        my @part = unpack '(a' . int($n / 3 + 1) . ')*', $body;
        my $raw = "POST /$where/pprof/symbol HTTP/1.1\r\nHost: localhost\r\n"
                  . "Connection: close\r\n";

        both("$n bytes, $where, in pieces", undef, $body,
             $where eq 'debug' ? undef : $body,
             "${raw}Content-Length: $n\r\n\r\n", map { (\0.05, $_) } @part);

        my @chunks = map { sprintf("%x\r\n%s\r\n", length, $_) } @part;
        both("$n bytes, $where, in chunks", undef, $body,
             $where eq 'debug' ? undef : $body,
             "${raw}Transfer-Encoding: chunked\r\n\r\n",
             (map { (\0.05, $_) } @chunks), "0\r\n\r\n");
    }
}

# -- the form of a snapshot, which is decoded

my $form = 'group=app&peer=0&kind=h%65ap&x=' . '+' x 2_000;

for my $where (qw/ debug mirror small file only /) {
    for my $pieces (0, 1) {
        $copy->clear();

        my $head = "POST /$where/pprof/kept/ HTTP/1.1\r\nHost: localhost\r\n"
                   . "Connection: close\r\nContent-Length: "
                   . length($form) . "\r\n\r\n";
        my $r = http_request($pieces
            ? [$head, \0.05, substr($form, 0, 20), \0.05, substr $form, 20]
            : $head . $form);

        is($r->{status}, 201, "a form, $where, $pieces")
            or diag($r->{body});

        next if $where =~ /debug|only/;

        my $m;
        wait_for(sub {
            ($m) = grep { ($_->{method} // '') eq 'POST' } $copy->received();
        });

        is($m->{body}, $form, "a form, $where, $pieces: as it was");
    }
}

done_testing();
