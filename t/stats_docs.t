#!/usr/bin/perl

# docs/metrics.md says what /debug/metrics and /debug/stats have: all of it,
# and nothing else.

###############################################################################

use warnings;
use strict;

use Test::More;

use FindBin;
use lib "$FindBin::Bin/lib";

use Debug::Nginx;

###############################################################################

need_bin('nginx');

my $t = Debug::Nginx->new();
my $refused = free_port();

$t->write_conf(<<"EOC")->run();
%%TEST_GLOBALS%%
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    proxy_cache_path %%DIR%%/cache keys_zone=one:1m;
    upstream u { server 127.0.0.1:$refused; }
    server {
        listen 127.0.0.1:%%PORT_0%%;
        server_name s;
        location / { return 204; }
        location /u { proxy_pass http://u; proxy_cache one; }
        location /debug/ { debug; }
    }
}
EOC

# a failure, so that what is absent before is there
http_get('/u');

my $docs = read_file("$FindBin::Bin/../docs/metrics.md");
my $text = http_get('/debug/metrics')->{body};
my $stats = decode_json(http_get('/debug/stats')->{body});

my (%got, %type);

while ($text =~ /^# TYPE nginx_debug_(?:(server|upstream|peer)_)?(\w+) (\w+)$/mg)
{
    $got{$2}{$1 // 'nginx'} = 1;
    $type{$2} = $3;
}

my %of = (all => [qw/ server upstream peer /],
          'upstream, peer' => [qw/ upstream peer /],
          upstream => ['upstream'], peer => ['peer']);
my %said;

my $u = $stats->{upstreams}{u};
my $p = $u->{peers}{"127.0.0.1:$refused"};
my %thing = (server => $stats->{servers}{s}, upstream => $u, peer => $p);

while ($docs =~ /^\| `(\w+)` \| (counter|gauge|histogram) \| ([\w, ]+) \| `(\w+)` \|/mg)
{
    my ($family, $type, $of, $key) = ($1, $2, $3, $4);

    $said{$family} = 1;
    is($type{$family}, $type, "$family: type");

    my @kinds = @{ $of{$of} // [] };
    ok(@kinds, "$family: of whom");
    ok($got{$family}{$_}, "$family: a $_ has it") for @kinds;
    is(keys %{ $got{$family} // {} }, @kinds, "$family: nobody else does");
    ok(exists $thing{$_}{$key}, "$key: a $_ has it") for @kinds;
}

while ($docs =~ /^\| `nginx_debug_(\w+)` \| (counter|gauge) \|/mg) {
    $said{$1} = 1;
    is($type{$1}, $2, "$1: type");
    ok($got{$1}{nginx}, "$1: nginx has it");
}

is_deeply([sort keys %got], [sort keys %said], 'all families are described');

my ($causes) = $docs =~ /^\| cause .*?\n(.*?)\n\n/ms;
is_deeply([sort $causes =~ /^\| `(\w+)` \|/mg], [sort keys %{ $u->{failures} }],
          'all causes are described');

# keys beyond the eight of every thing

my @eight = map { ($_, "${_}_sec") } qw/ total_response_time
                                         average_response_time /;
my %known = map { $_ => 1 } @eight, qw/ status_code_count count total_count
                                        total_status_code_count peers /;

for my $kind (sort keys %thing) {
    for my $key (sort keys %{ $thing{$kind} }) {
        next if $known{$key};
        (my $base = $key) =~ s/_sec$// unless $key eq 'response_time_sec';
        $base //= $key;
        like($docs, qr/\| `\Q$base\E` \|/, "$kind: $key is described");
    }
}

done_testing();

###############################################################################
