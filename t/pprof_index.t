#!/usr/bin/perl

# /debug/pprof/, the page: each peer's state, process and build, as it is at
# this moment, however bad that is.

use strict;
use warnings;

use Cwd ();
use FindBin;
use Test::More;
use Time::HiRes qw/ sleep time /;

use lib "$FindBin::Bin/lib";
use Debug::App;
use Debug::Nginx;

my $build = $ENV{DEBUG_BUILD} // Cwd::abs_path("$FindBin::Bin/../build");

# a true libpprof, and peers of all sorts

my ($app_port, $pprof_port) = (free_port(), free_port());
my $acs = Debug::App->start(
    cmd => ["$build/t/app/acs", '-p', $app_port, '-d',
            "127.0.0.1:$pprof_port"],
    ready => { port => $pprof_port });

sub profiler {
    my (%headers) = @_;

    return backend(sub {
        my ($req, $c) = @_;

        if ($req->{uri} =~ /profile/) {
            $c->delay(20) or return;
        }

        $c->reply(200, "app", 'Content-Type' => 'text/plain', %headers);
    });
}

my %peer = (
    ready => profiler('X-Pprof-Pid' => 4711, 'X-Pprof-Build-Id' => 'ab12'),
    go => profiler('X-Content-Type-Options' => 'nosniff'),
    lies => profiler('X-Pprof-Pid' => '<b>1', 'X-Pprof-Build-Id' => 'a"b'),
    longs => profiler('X-Pprof-Pid' => '1' x 40,
                      'X-Pprof-Build-Id' => 'a' x 4000),
    no_pprof => backend(Debug::Backend::answer(404, "no\n")),
    html => backend(Debug::Backend::answer(200, '<p>', 'Content-Type' =>
                                           'text/html')),
    denies => backend(Debug::Backend::answer(403, "no\n")),
    hang => backend(Debug::Backend::hang()),
    garbage => backend(Debug::Backend::garbage()),
    slam => backend(Debug::Backend::slam()),
    big => backend(sub {
        $_[1]->send("HTTP/1.1 200 OK\r\nX-Big: " . 'x' x 65536 . "\r\n\r\n");
        $_[1]->close();
    }),
);

my $groups = join '', map {
    "upstream $_ { server @{[ $peer{$_}->addr() ]}; }\n"
} sort keys %peer;

my $dead = free_port();
my @many = map { free_port() } 1 .. 100;

# an address that takes no connection, and says nothing about it
my $full = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 0)
    or die $!;
my @fill = map {
    my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1', Blocking => 0,
                                  PeerPort => $full->sockport());
    $s;
} 1 .. 4;

# a program that forks, as it is, with a socket for each process; a child
# leaves when its file appears

my $run = temp_dir('run');
my $forks = Debug::App->start(
    cmd => ["$build/pprof-run", '-l', "unix:$run/acs.%p.pprof", $^X, '-e',
            'for my $n (1, 2) { next if fork();
             select undef, undef, undef, 0.05 until -e "$ARGV[0]/$n"; exit }
             sleep 1 while 1', $run],
    ready => sub { 3 == grep { -S } glob("$run/acs.*.pprof") });

my $t = Debug::Nginx->new();

$t->write('users', "me:{PLAIN}secret\n\e[1m:{PLAIN}secret\n");

$t->run(<<"EOC");
%%TEST_GLOBALS%%
worker_processes 2;
events { worker_connections 512; }
http {
    %%TEST_GLOBALS_HTTP%%

    upstream acs { server 127.0.0.1:$app_port; }
    upstream acs_pprof { server 127.0.0.1:$pprof_port; }
    upstream two {
        server 127.0.0.1:$dead;
        server @{[ $peer{ready}->addr() ]};
        server @{[ $peer{go}->addr() ]} backup;
        server 127.0.0.1:1 down;
    }
    upstream many { @{[ map { "server 127.0.0.1:$_;" } @many ]} }
    upstream full { server 127.0.0.1:@{[ $full->sockport() ]}; }
    upstream missing { server unix:%%DIR%%/missing.sock; }
    $groups

    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { proxy_pass http://two; }
        location /debug/ { debug; }
        location /own/ { debug; debug_pprof_pass acs acs_pprof; }
        location /two/ {
            debug;
            debug_pprof_pass two;
            auth_basic site;
            auth_basic_user_file %%DIR%%/users;
        }
        location /many/ { debug; debug_pprof_pass many; }
        location /pprof/ { debug legacy; debug_pprof_pass acs acs_pprof; }
        location /forks/ {
            debug;
            debug_pprof_pass forks unix:$run/acs.*.pprof;
        }
        location /denied/ { debug; debug_access 10.0.0.0/8; }
        location /stats/ { debug stats charts; }
    }
}
EOC

my %browser = (Accept => 'text/html,application/xhtml+xml,*/*;q=0.8');
my %me = (Authorization => 'Basic bWU6c2VjcmV0');
my %curl = (Accept => '*/*', 'User-Agent' => 'curl/7.88.1');

# lines of the text form, by their first word

sub lines {
    my ($path, %o) = @_;
    my $r = http_get($path, headers => { %curl, %o });

    like($r->{headers}{'content-type'}, qr!^text/plain!, "$path: text");
    return { map { /^(\S+)/ ? ($1 => $_) : () } split /\n/, $r->{body} };
}

my ($r, $l);

# a process with libpprof says who it is

my $pid = $acs->pid();
my ($id) = `readelf -n $build/t/app/acs` =~ /Build ID: (\w+)/;

$l = lines('/own/pprof/');
like($l->{'acs/0'},
     qr/^acs\/0 +127\.0\.0\.1:$app_port +ready +pid $pid +build $id  answer/,
     'pid and build');
like($l->{'acs/0'}, qr/; default$/, 'the default peer');
like($l->{'kinds:'}, qr/^kinds: profile heap /, 'kinds');

$r = http_get('/own/pprof/', headers => { %browser });
like($r->{headers}{'content-type'}, qr!^text/html!, 'browser: a page');

my ($list) = $r->{body} =~ /<main[^>]* data-kinds='(.*?)'>/;
my %known = map { $_->{name} => $_ } @{ decode_json($list) };
is_deeply([sort keys %known], [sort
	keys %{{ map { $_ => 1 } $r->{body} =~ m!/(\w+)">\g1</a>!g }}],
	'the scripts know the kinds that are listed');
is_deeply($known{profile}, { name => 'profile', title => 'CPU profile',
	about => 'CPU time, and who spent it', seconds => 30,
	kept => JSON::PP::true() }, 'and what they are');
like($r->{body}, qr!<li data-state="ready" data-pid="$pid" data-build-id="$id">!,
     'browser: for the script');
like($r->{body}, qr!answered, pid $pid, build <code>$id</code>!,
     'browser: for eyes');

like(lines('/own/pprof/acs/0/')->{'acs/0'}, qr/ready +pid $pid/, 'peer page');
like(lines('/pprof/')->{'acs/0'}, qr/ready +pid $pid/, 'legacy');

# another process at that address

$acs->stop();
like(lines('/own/pprof/')->{'acs/0'},
     qr/ dead +pid - +build -  answered nothing: connection refused/, 'ended');

$acs = Debug::App->start(
    cmd => ["$build/t/app/acs", '-p', $app_port, '-d',
            "127.0.0.1:$pprof_port"],
    ready => { port => $pprof_port });
$pid = $acs->pid();
like(lines('/own/pprof/')->{'acs/0'}, qr/ ready +pid $pid /, 'a new pid');

# the processes of a program that forks come and go as peers

sub forks {
    my $l = lines('/forks/pprof/');
    return join ' ', sort map { / ready +pid (\d+)/ ? $1 : 'dead' }
                          grep { /^forks/ } values %$l;
}

my @forks = sort($forks->pid(), children_of($forks->pid()));
is(@forks, 3, 'a program that forks');
is(forks(), "@forks", 'each process is a peer');
is(http_get("/forks/pprof/forks/unix:$run/acs.$forks[1].pprof/cmdline")
   ->{headers}{'x-pprof-pid'}, $forks[1], 'and can be asked');

write_file("$run/1", '');
ok(wait_for(sub { forks() =~ /^\d+ \d+$/ }), 'one less');
unlike(forks(), qr/dead/, 'which left no socket');

# all sorts, within a second

$l = lines('/debug/pprof/');

like($l->{'ready/0'}, qr/ ready +pid 4711 +build ab12 /, 'ready');
like($l->{'go/0'}, qr/ ready +pid - +build - /, 'one that does not tell');
like($l->{'lies/0'}, qr/ ready +pid - +build - /, 'what is no pid');
like($l->{'longs/0'}, qr/ ready +pid - +build - /, 'nor that');
like($l->{'no_pprof/0'}, qr/ foreign .*answered 404, not as a profiler/, 'nothing there');
like($l->{'html/0'}, qr/ foreign .*answered 200, not as a profiler/, 'a page');
like($l->{'denies/0'}, qr/ foreign .*answered 403, not as a profiler/, 'denied');
like($l->{'hang/0'}, qr/ silent .*nothing within 1 s/, 'silence');
like($l->{'full/0'}, qr/ silent .*nothing within 1 s/, 'no connection');
like($l->{'garbage/0'}, qr/ broken .*not HTTP/, 'garbage');
like($l->{'slam/0'}, qr/ broken .*closed the connection/, 'slam');
like($l->{'big/0'}, qr/ broken .*too large a header/, 'a large header');
like($l->{'two/0'}, qr/ dead .*connection refused/, 'refused');
like($l->{'missing/0'}, qr/ dead .*no such file/, 'no socket');
like($l->{'two/2'}, qr/; down$/, 'down');
like($l->{'two/3'}, qr/ ready .*; backup/, 'backup');

my $start = time();
http_get('/debug/pprof/', headers => { %browser });
cmp_ok(time() - $start, '<', 5, 'a page does not wait for the slowest');

$start = time();
$l = lines('/many/pprof/');
cmp_ok(time() - $start, '<', 5, 'nor for a hundred');
is(scalar(grep { / dead / } values %$l), 100, 'all of them were asked');

is(($peer{ready}->received())[0]{method}, 'HEAD', 'asked by HEAD');
is(($peer{ready}->received())[0]{uri}, '/debug/pprof/cmdline', 'what is cheap');
is(($peer{ready}->received())[0]{headers}{cookie}, undef, 'nothing of ours');

# those who did not listen a moment ago are not the default

like(lines('/two/pprof/', %me)->{'two/1'}, qr/; default/, 'the first live one');
is(http_get('/two/pprof/heap', headers => { %me })->{headers}{'x-debug-peer'},
   $peer{ready}->addr(), 'is the one that is asked');

# what runs there

my $child = fork() // die;

if ($child == 0) {
    # "\e[1m" with its password
    http_get('/two/pprof/two/1/profile?seconds=15', timeout => 20,
             headers => { Authorization => 'Basic G1sxbTpzZWNyZXQ=' });
    POSIX::_exit(0);
}

ok(wait_for(sub { grep { $_->{uri} =~ /profile/ } $peer{ready}->received() }),
   'a profile began');

$l = lines('/debug/pprof/');
like($l->{'two/1'}, qr/; a CPU profile runs for another 1\d s, started by/,
     'said on the page');
like($l->{'two/1'}, qr/by \?\[1m at 127\.0\.0\.1$/, 'and nothing for a terminal');
like(http_get('/two/pprof/', headers => { %browser, %me })->{body},
     qr/a CPU profile runs for another \d+ s, started by \?\[1m at 127/,
     'on the other too');
kill 'KILL', $child;
waitpid $child, 0;

# who is not asked

$_->clear() for $peer{ready}, $peer{go};

$r = http_get('/two/pprof/', headers => { %browser, %me,
                                          'Sec-Fetch-Site' => 'cross-site' });
is($r->{status}, 200, 'a link from a chat');
like($r->{body}, qr/data-state="unknown"/, 'shows who there is');
http_get('/two/pprof/', method => 'HEAD', headers => { %me });
http_get('/denied/pprof/');
is($peer{ready}->count() + $peer{go}->count(), 0, 'and asks nobody');

# which form

like(http_get('/two/pprof/', headers => { %me, %{ $_->[0] } })->{headers}
     {'content-type'}, qr!^\Q$_->[1]!, $_->[2])
    for [{}, 'text/html', 'nothing said: a page'],
        [{ Accept => 'TEXT/HTML' }, 'text/html', 'in capitals'],
        [{ 'User-Agent' => 'Go-http-client/1.1' }, 'text/plain', 'Go'],
        [{ Accept => 'text/plain' }, 'text/plain', 'text/plain'];

# a name that is not resolved, where nginx can wait for one

SKIP: {
    skip('this nginx has no "server … resolve"', 3)
        unless $t->has(qr!(?:nginx|Angie)/(?:1\.(?:27\.[3-9]|29|[3-9]\d))!);

    my $new = Debug::Nginx->new();
    my $nobody = free_port();

    $new->run(<<"EOC");
%%TEST_GLOBALS%%
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    resolver 127.0.0.1:$nobody;
    upstream later { zone later 64k; server nothere.test:80 resolve; }
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { proxy_pass http://later; }
        location /debug/ { debug; }
    }
}
EOC
    like(http_get('/debug/pprof/')->{body}, qr/no address yet/, 'unresolved');
    like(lines('/debug/pprof/')->{later}, qr/no address yet/, 'in text');
    like(http_get('/debug/pprof/heap')->{body}, qr/no upstream has one/,
         'nobody to ask');
}

# the overview leads to no profiles that are not there

{
    my %links;

    for my $mount (qw/ debug own two stats /) {
        my $r = http_get("/$mount/", headers => { Accept => 'text/html',
            Authorization => 'Basic bWU6c2VjcmV0' });

        is($r->{status}, 200, "$mount: the overview");
        $links{$mount} = { map { $_ => 1 } $r->{body} =~ m!href="pprof/(\w+)/!g };
        my ($main) = $r->{body} =~ /<main ([^>]*)>/;
        my $want = { own => 'acs', two => 'two' }->{$mount};

        is(($main =~ /data-groups="([^"]*)"/)[0], $want, "$mount: groups");
        is($main =~ /data-no-profiles/ ? 1 : 0, $mount eq 'stats' ? 1 : 0,
           "$mount: profiles");
    }

    ok($links{debug}{acs} && $links{debug}{two}, 'all groups have profiles');
    is(join(' ', sort keys %{ $links{own} }), 'acs', 'those that are passed');
    is(join(' ', sort keys %{ $links{two} }), 'two', 'whichever they are');
    is(join(' ', sort keys %{ $links{stats} }), '', 'without pprof there are none');
}

# a client that leaves meanwhile

http_get('/debug/pprof/', abort => 0.2) for 1 .. 3;
is(http_get('/debug/pprof/')->{status}, 200, 'clients that leave');

unlike($t->error_log(), qr/\[(?:error|crit|alert)\].*answered nothing/,
       'the log is for profiles');

done_testing();
