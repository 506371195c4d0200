#!/usr/bin/perl

# A profile without names: pprof asks the symbol route beside it, once for
# each mapping, and every one of these must reach the process that was
# profiled.  Another replica's answer would be no name, or a wrong one.

use strict;
use warnings;

use Test::More;

use Compress::Zlib ();

use Debug::Nginx;

need_bin('go');

# profile.proto by hand: two mappings, a location in each, no function

sub field { my ($n, $v) = @_; chr($n << 3 | 2) . varint(length $v) . $v }

sub varint {
    my ($n) = @_;
    my $v = '';

    while ($n > 127) {
        $v .= chr($n % 128 | 128);
        $n >>= 7;
    }

    return $v . chr $n;
}

sub number { my ($n, $v) = @_; chr($n << 3) . varint($v) }

my @strings = ('', 'cpu', 'nanoseconds', '/no/such/app', '/no/such/lib.so');
my $proto = field(1, number(1, 1) . number(2, 2))
    . field(2, field(1, varint(1) . varint(2)) . field(2, varint(42)))
    . field(3, number(1, 1) . number(2, 0x1000) . number(3, 0x2000)
               . number(5, 3))
    . field(3, number(1, 2) . number(2, 0x5000) . number(3, 0x6000)
               . number(5, 4))
    . field(4, number(1, 1) . number(2, 1) . number(3, 0x1234))
    . field(4, number(1, 2) . number(2, 2) . number(3, 0x5678))
    . join '', map { field(6, $_) } @strings;
my $gz = Compress::Zlib::memGzip($proto);

sub replica {
    my ($name) = @_;

    return backend(sub {
        my ($req, $c) = @_;

        return $c->reply(200, $gz, 'Content-Type' =>
                         'application/octet-stream')
            if $req->{uri} =~ /profile|heap/;

        return $c->reply(200, "num_symbols: 1\n", 'Content-Type' =>
                         'text/plain; charset=utf-8')
            if $req->{uri} =~ /symbol/ && $req->{method} ne 'POST';

        return $c->reply(404, "no\n") unless $req->{uri} =~ /symbol/;

        $c->reply(200, join('', map { "$_\t${name}_" . ($_ =~ s/^0x//r) . "\n" }
                                split /\+/, $req->{body}),
                  'Content-Type' => 'text/plain; charset=utf-8');
    });
}

my ($one, $two) = (replica('one'), replica('two'));

my $t = Debug::Nginx->new();

$t->run(<<"EOC");
%%TEST_GLOBALS%%
worker_processes 2;
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    upstream acs { server @{[ $one->addr() ]}; server @{[ $two->addr() ]}; }
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { proxy_pass http://acs; }
        location /debug/ { debug; }
        location /pprof/ { debug legacy; }
    }
}
EOC

my $url = 'http://127.0.0.1:' . $t->port(0) . '/debug/pprof';

for my $case (['profile', $one, $two, 'one'],
              ['acs/0/profile', $one, $two, 'one'],
              ['acs/1/profile', $two, $one, 'two'],
              ['acs/' . $two->addr() . '/heap', $two, $one, 'two'])
{
    my ($path, $asked, $other, $name) = @$case;

    for my $how ('', '-symbolize=remote') {
        $_->clear() for $one, $two;

        # a window, so that "-seconds" is not taken for a guess
        my $r = go_pprof('-raw', '-seconds', 1, $how || (), "$url/$path");
        my @posts = grep { $_->{method} eq 'POST' } $asked->received();

        is($r->{exit}, 0, "$path $how") or diag($r->{err});
        like($r->{out}, qr/${name}_1234/, "$path $how: the program's name")
            or diag($r->{out} . $r->{err});
        like($r->{out}, qr/${name}_5678/, "$path $how: the library's");
        cmp_ok(scalar(@posts), '>=', 2, "$path $how: one POST a mapping");
        is($other->count(), 0, "$path $how: the other heard nothing");
    }
}

done_testing();
