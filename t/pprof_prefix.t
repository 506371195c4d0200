#!/usr/bin/perl

# Below a prefix and behind a TLS terminator on another port: whatever the
# pages link to, load or redirect to stays where the browser is, and the
# clients find their way.
#
# The bug looked like this: nginx's own redirect for a missing slash goes to
# http://host:inner-port/…, where no browser gets.

use strict;
use warnings;

use Test::More;

use Debug::Nginx;

need_bin('curl', 'openssl', 'go');

my $t = Debug::Nginx->new();
my $dir = $t->dir();

my $r = run_cmd([qw/ openssl req -x509 -newkey rsa:2048 -nodes -days 3 -keyout
                     key.pem -out cert.pem -subj /, '/CN=localhost',
                 '-addext', 'subjectAltName=IP:127.0.0.1'], cwd => $dir);
die $r->{err} if $r->{exit};

# the smallest profile: one sample of one function
my $gz = do {
    require Compress::Zlib;
    my $f = sub { my ($n, $v) = @_; chr($n << 3 | 2) . chr(length $v) . $v };
    my $proto = $f->(1, "\x08\x01\x10\x02")         # cpu/nanoseconds
        . $f->(2, $f->(1, "\x01") . $f->(2, "\x2a"))
        . $f->(4, "\x08\x01" . $f->(4, "\x08\x01"))
        . $f->(5, "\x08\x01\x10\x03")
        . join('', map { $f->(6, $_) } '', 'cpu', 'nanoseconds', 'far_away');
    Compress::Zlib::memGzip($proto);
};

my $app = backend(sub {
    my ($req, $c) = @_;

    return $c->reply(200, $gz, 'Content-Type' => 'application/octet-stream')
        if $req->{uri} =~ m!/(?:profile|heap)!;
    return $c->reply(200, 'app', 'Content-Type' => 'text/plain',
                     'X-Go-Pprof' => 1);
});

$t->run(<<"EOC");
%%TEST_GLOBALS%%
worker_processes 2;
events { }
http {
    %%TEST_GLOBALS_HTTP%%

    upstream acs { server @{[ $app->addr() ]}; }
    upstream "a b/c?d" { server @{[ $app->addr() ]}; }

    debug_snapshots path=%%DIR%%/kept every=1h;

    # the inner one, on a port that nobody outside can reach
    server {
        listen 127.0.0.1:%%PORT_0%%;
        server_name inner;
        location / { proxy_pass http://acs; }
        location /debug/ { debug; debug_access all; }
        location /app1/debug/ { debug; debug_access all; }
        location /pprof/ { debug legacy; debug_access all; }
        location /bare { debug; debug_access all; }
    }

    # ends TLS: passes the prefix on, or takes it away
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        ssl_certificate %%DIR%%/cert.pem;
        ssl_certificate_key %%DIR%%/key.pem;
        proxy_set_header Host \$host;
        proxy_set_header X-Forwarded-Proto https;
        proxy_http_version 1.1;

        location /app1/ { proxy_pass http://127.0.0.1:%%PORT_0%%; }
        location /app2/ { proxy_pass http://127.0.0.1:%%PORT_0%%/; }
    }
}
EOC

my $out = 'https://127.0.0.1:' . $t->port(1);

sub curl {
    my ($url, @args) = @_;
    my $r = run_cmd(['curl', '-sk', '-i', '-H', 'Accept: text/html', @args,
                     $url]);
    my ($head, $body) = split /\r\n\r\n/, $r->{out}, 2;
    my ($status) = ($head // '') =~ m!^HTTP/\S+ (\d+)!;
    my ($location) = ($head // '') =~ /^location: (.*?)\r?$/mi;

    return { status => $status // 0, location => $location,
             body => $body // '', head => $head };
}

# RFC 3986, 5.2, as far as references of ours go

sub resolve {
    my ($base, $ref) = @_;

    return $ref if $ref =~ m!^\w+://!;

    my ($origin, $path) = $base =~ m!^(\w+://[^/]+)([^?#]*)!;
    $ref =~ s/#.*//;

    return "$origin$ref" if $ref =~ m!^/!;
    return "$origin$path$ref" if $ref =~ /^\?/;

    $path =~ s![^/]*\z!!;
    $path .= $ref;
    1 while $path =~ s!/\./!/! || $path =~ s!/[^/?]+/\.\./!/!;

    return $origin . $path;
}

# everything that can be reached from a page

sub crawl {
    my ($start) = @_;
    my (@todo, %seen, @bad) = ($start);

    while (@todo) {
        my ($url, $from) = split / from /, shift @todo;

        next if $seen{$url}++;

        if (index($url, $start) != 0) {
            push @bad, "$url, outside, from $from";
            next;
        }

        # profiles are for one question, not for each link to them
        my $kind = $url =~ m!/pprof/.*/(?:profile|trace|symbol)$!;
        my $r = curl($url, $kind ? '-I' : ());

        if ($r->{status} =~ /^30/) {
            push @bad, "$url redirects to $r->{location}"
                if $r->{location} =~ m!^(?:\w+:|/)!;
            push @todo, resolve($url, $r->{location}) . " from $url";
            next;
        }

        # the inner server is a peer, too, and would ask itself
        my $itself = '127\.0\.0\.1(?:%3A|:)' . $t->port(0);

        push @bad, "$url: $r->{status}, from " . ($from // '')
            unless $r->{status} == 200
                   || ($r->{status} == 508 && $url =~ m!/$itself/\w+(?:\?|$)!);

        next unless ($r->{head} // '') =~ m!^content-type: text/html!mi;

        while ($r->{body} =~ /\b(?:href|src|action)="([^"]*)"/g) {
            my $ref = $1 =~ s/&amp;/&/gr;
            push @bad, "$url has an absolute \"$ref\"" if $ref =~ m!^/|^\w+:!;
            push @todo, resolve($url, $ref) . " from $url" if $ref !~ /^#/;
        }
    }

    return (\%seen, \@bad);
}

for my $at ("$out/app1/debug/", "$out/app2/debug/", "$out/app2/bare/",
            "$out/app2/pprof/")
{
    my ($seen, $bad) = crawl($at);
    my $n = keys %$seen;

    is(join("\n", @$bad), '', "$at: everything is where it should be");
    cmp_ok($n, '>', $at =~ m!/pprof/$! ? 20 : 30, "$at: $n links followed");
}

# redirects, of browsers and of Go

for my $case (['debug', 'debug/', 'debug/pprof/profile'],
              ['debug/pprof', 'debug/pprof/', 'debug/pprof/profile'],
              ['debug/charts', 'debug/charts/', 'debug/charts/'],
              ['debug/pprof/acs/0', 'debug/pprof/acs/0/', undef],
              ['debug/pprof/kept', 'debug/pprof/kept/', undef],
              ['debug?a=b', 'debug/?a=b', undef],
              ['debug/pprof/acs/0?a=b', 'debug/pprof/acs/0/?a=b', undef])
{
    my ($from, $to, $go) = @$case;

    for my $prefix ('app1', 'app2') {
        my $url = "$out/$prefix/$from";
        my $r = curl($url);

        like($r->{status}, qr/^30[12]$/, "$prefix/$from");
        is(resolve($url, $r->{location}), "$out/$prefix/$to",
           "$prefix/$from: goes to $to");

        next unless defined $go;

        $r = curl($url, '-A', 'Go-http-client/1.1');
        is(resolve($url, $r->{location}), "$out/$prefix/$go",
           "$prefix/$from, Go: goes to $go");
    }
}

is(resolve("$out/app2/bare", curl("$out/app2/bare")->{location}),
   "$out/app2/bare/", 'a location without a slash');

# a form of the kept page goes back to where it was

$r = curl("$out/app2/debug/pprof/kept/", '-d',
          'group=acs&peer=' . $app->addr() . '&kind=heap');
is($r->{status}, 303, 'a snapshot by the form');
is(resolve("$out/app2/debug/pprof/kept/", $r->{location}),
   "$out/app2/debug/pprof/kept/", 'back to its page');

# the clients

for my $path ('app1/debug', 'app2/debug', 'app1/debug/pprof',
              'app2/debug/pprof', 'app2/debug/pprof/profile',
              'app1/debug/pprof/acs/0/profile')
{
    $r = go_pprof('-top', "https+insecure://127.0.0.1:" . $t->port(1)
                          . "/$path");
    like($r->{out}, qr/far_away/, "go tool pprof $path") or diag($r->{err});
}

# a browser, with the scripts' own links

SKIP: {
    my $chromium = have_bin('chromium')
        or skip('no chromium: the scripts are not run', 6);
    my $home = temp_dir('chromium');

    for my $page ('pprof/', 'pprof/acs/0/', '') {
        my $url = "$out/app2/debug/$page";

        $r = run_cmd([$chromium, qw/ --headless --no-sandbox --disable-gpu
                      --ignore-certificate-errors --disable-dev-shm-usage
                      --virtual-time-budget=5000 --dump-dom /,
                      "--user-data-dir=$home", $url], timeout => 60,
                     env => { HOME => $home });

        like($r->{out}, $page eq ''     ? qr/acs/
                      : $page =~ /acs/ ? qr/Profiler answers/
                      : qr/>answers</, "browser: $page ran its script")
            or diag(substr $r->{out} . $r->{err}, 0, 2000);

        my @outside = grep { $_ !~ /^#/
                             && index(resolve($url, $_), "$out/app2/debug/") }
                      map { s/&amp;/&/gr } $r->{out} =~ /\bhref="([^"]*)"/g;
        is("@outside", '', "browser: $page links to nowhere else");
    }
}

done_testing();
