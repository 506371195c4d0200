#!/usr/bin/perl

# Profiles that nginx takes and keeps: by its timer, by hand and in series;
# what is kept where, and what becomes of a disk that takes no more.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw/ sleep time /;

use FindBin;
use lib "$FindBin::Bin/lib";
use Debug::Nginx;

my $t = Debug::Nginx->new();
my $serial = 0;

sub peer {
    my ($name, @more) = @_;

    return backend(sub {
        my ($req, $c) = @_;

        return $c->reply(404, 'no such page')
            if $req->{uri} =~ m!/mutex!;
        return $c->reply(200, 'no gzip at all') if $req->{uri} =~ m!/block!;
        return $c->reply(200, "\x1f\x8b" . 'x' x (17 * 1024 * 1024))
            if $req->{uri} =~ m!/allocs!;
        return $c->reply(200, "\x1f\x8b" . 'x' x 100000)
            if $req->{uri} =~ m!/threadcreate!;
        return $c->reply(200, "{\"uri\":\"$req->{uri}\"}",
                         'Content-Type' => 'application/json')
            if $req->{uri} =~ m!^/debug/charts/data! && $name eq 'a';
        return $c->reply(404, 'what?')
            if $req->{uri} =~ m!^/debug/charts/data!;

        $c->reply(200, "\x1f\x8b$name $req->{uri}",
                  'X-Pprof-Pid' => 4242);
    }, @more);
}

my ($a, $u) = (peer('a'), peer('u', unix => 1));
my ($A, $U) = ($a->addr(), $u->addr());

sub conf {
    my ($every) = @_;

    return <<"EOC";
%%TEST_GLOBALS%%
worker_processes 2;
events { }
http {
    %%TEST_GLOBALS_HTTP%%

    debug_snapshots path=%%DIR%%/kept/ every=$every keep=3;

    upstream acs { server $A; server 127.0.0.1:1 down; }
    upstream "..sl/ash~%" { server $U; }
    upstream hidden { server $A; }

    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { proxy_pass http://acs; }
        location /debug/ { debug; debug_pprof_pass acs;
                           debug_pprof_pass "..sl/ash~%"; }
        location /one/ { debug; debug_pprof_pass acs;
                         debug_pprof_kinds heap; }
    }
}
EOC
}

$t->write_conf(conf('1s'))->run();

my $k = '/debug/pprof/kept/';
my $dir = $t->dir() . '/kept';

sub list { return decode_json(http_get($_[0] // "$k?json")->{body}) }
sub files
{
    opendir(my $d, $dir) or return;
    return grep { !/^\.\.?$/ } readdir($d);
}
sub take {
    my ($form, %h) = @_;

    return http_get($k, method => 'POST', body => $form, headers => {
        'Content-Type' => 'application/x-www-form-urlencoded', %h });
}

# the timer's

ok(wait_for(sub { @{ list()->{kept} } >= 6 }, 15), 'the timer takes them');
sleep 1.5;

my $l = list();
my @acs = grep { $_->{group} eq 'acs' } @{ $l->{kept} };
is(@acs, 3, 'as many as keep says of one peer');
is($l->{enabled}, 1, 'enabled');
is($l->{every}, 1, 'every');
is($l->{keep}, 3, 'keep');
is($l->{error}, undef, 'no error');
is_deeply([ map { $_->{kind} } @acs ], [ ('heap') x 3 ], 'kind');
is($acs[0]{peer}, $A, 'peer');
is($acs[0]{pid}, 4242, 'pid');
is($acs[0]{by}, 'timer', 'by the timer');
cmp_ok(abs($acs[0]{time} - time()), '<', 5, 'time');
cmp_ok($acs[0]{time}, '>=', $acs[2]{time}, 'newest first');
ok(!(grep { $_->{group} eq 'hidden' } @{ $l->{kept} }),
   'a group that no location lets be profiled is not asked');
ok(!(grep { $_->{peer} eq '127.0.0.1:1' } @{ $l->{kept} }), 'nor who is down');

my $n = scalar(grep { $_->{uri} eq '/debug/pprof/heap?gc=2' } $a->received());
my $before = time();
sleep 3;
$n = (grep { $_->{uri} eq '/debug/pprof/heap?gc=2' } $a->received()) - $n;
cmp_ok($n, '<=', int(time() - $before) + 1, 'one worker of two asks');

# what is on the disk

is((stat $dir)[2] & 07777, 0700, 'directory is of one user');
my @f = files();
is((stat "$dir/$f[0]")[2] & 07777, 0600, 'files too');
# one may just be written
ok(!(grep { !/^[\w:.%~-]+\.pb\.gz$/ || /^\./ }
      grep { !/^\.tmp-/ } @f), 'no odd name')
    or diag("@f");
ok(!-e $t->dir() . '/ash', 'nothing outside');

# each is served

$l = list();
@acs = grep { $_->{group} eq 'acs' } @{ $l->{kept} };

my $r = http_get($k . $acs[0]{id});
is($r->{status}, 200, 'one of them');
is($r->{body}, "\x1f\x8ba /debug/pprof/heap?gc=2", 'its bytes');
is($r->{headers}{'cache-control'}, 'no-store', 'no-store');
is($r->{headers}{'content-type'}, 'application/octet-stream', 'type');

my ($odd) = grep { $_->{group} eq '..sl/ash~%' } @{ $l->{kept} };
is($odd->{peer}, $U, 'a group and a peer with slashes');
is(http_get($k . $odd->{id})->{body}, "\x1f\x8bu /debug/pprof/heap?gc=2",
   'is served too');

write_file($t->dir() . '/secret.pb.gz', 'secret');
for my $path ('acs/..%2f..%2fsecret.pb.gz', '..%2fsecret.pb.gz', $f[0],
              "acs/$A/heap/1-1.pb.gz", 'acs/', "acs/$A/heap/%00.pb.gz")
{
    isnt(http_get($k . $path)->{status}, 200, "not $path");
}

symlink($t->dir() . '/secret.pb.gz', "$dir/acs~x~heap~1~1~t.pb.gz");
is(http_get("${k}acs/x/heap/1-1.pb.gz")->{status}, 404, 'no link is followed');

# where less is let through, less is seen

ok(!(grep { $_->{group} ne 'acs' } @{ list('/one/pprof/kept/?json')->{kept} }),
   'other groups are not seen');
is(http_get('/one/pprof/kept/' . $odd->{id})->{status}, 404, 'nor read');

# the page

$r = http_get($k);
like($r->{body}, qr/data-page="kept"[^>]* data-kept/, 'page');
like($r->{body}, qr/\Q$A\E.*Download/s, 'its table');
like($r->{headers}{'content-security-policy'}, qr/default-src 'none'/, 'CSP');
is(http_get('/debug/pprof/kept')->{status}, 302, 'without its slash');

# by hand: with longer pauses, so that what comes is ours

$t->write_conf(conf('1h'));
$t->reload();

my $form = "group=acs&peer=$A&kind=goroutine";
$r = take($form);
is($r->{status}, 201, 'by hand');
is(http_get($k . $r->{headers}{location})->{body},
   "\x1f\x8ba /debug/pprof/goroutine", 'Location is where it is');

my ($h) = grep { $_->{kind} eq 'goroutine' } @{ list()->{kept} };
is($h->{by}, 'hand', 'by hand, in the list');

is(take($form, 'Accept' => 'text/html,*/*')->{status}, 303,
   'a form goes back to the page');

is(take($form, 'Sec-Fetch-Site' => 'cross-site')->{status}, 403,
   'not from another site');
is(take($form, 'Sec-Fetch-Site' => 'same-site')->{status}, 403,
   'nor from a sister');
is(take($form, 'Origin' => 'http://evil.example')->{status}, 403, 'nor Origin');
is(take($form, 'Origin' => 'null')->{status}, 403, 'nor null');
is(take($form, 'Origin' => 'http://localhost')->{status}, 201, 'own Origin');
is(take($form, 'Sec-Fetch-Site' => 'same-origin')->{status}, 201, 'own site');

is(take('group=acs&peer=none')->{status}, 404, 'no such peer');
is(take('group=hidden&peer=0')->{status}, 403, 'no such group here');
is(take("group=acs&peer=$A&kind=..%2fx")->{status}, 400, 'no such kind');
is(take("group=acs&peer=$A&times=0")->{status}, 400, 'times');
is(take("group=acs&peer=$A&every=x")->{status}, 400, 'every');
is(take('x' x 5000)->{status}, 413, 'too long');
is(http_get($k, method => 'PUT')->{status}, 405, 'PUT');
is(http_get('/one/pprof/kept/', method => 'POST', body => $form)->{status},
   403, 'kinds that are not let through');

like(take("group=acs&peer=$A&kind=mutex")->{body}, qr/it answered 404/,
     'a peer that has none');
like(take("group=acs&peer=$A&kind=block")->{body}, qr/is no profile/,
     'what is no profile');
like(take("group=acs&peer=$A&kind=allocs")->{body}, qr/too large/,
     'what is too large');
like(take('group=acs&peer=127.0.0.1:1')->{body}, qr/refused/, 'who is down');
is(scalar(grep { /^\.tmp/ } files()), 0, 'nothing half written stays');

# in series, over a reload and the death of a worker

is(take("$form&times=3&every=2")->{status}, 201, 'a series');
my ($p) = @{ list()->{planned} };
is_deeply([ @$p{qw/ group peer kind every left /} ],
          [ 'acs', $A, 'goroutine', 2, 2 ], 'is planned');
cmp_ok($p->{next} - time(), '<', 4, 'next');

$a->clear();

$t->kill_worker();
$t->reload();

ok(wait_for(sub { !@{ list()->{planned} } }, 20), 'it comes to its end');
sleep 0.5;
is(scalar(grep { $_->{uri} eq '/debug/pprof/goroutine' } $a->received()), 2,
   'with as many as were planned');

# charts/<group>/<peer>/data

$r = http_get("/debug/charts/acs/$A/data?since=5");
is($r->{body}, '{"uri":"/debug/charts/data?since=5"}', 'data of a process');
like($r->{headers}{'content-type'}, qr/json/, 'JSON');
is($r->{headers}{'x-debug-peer'}, $A, 'X-Debug-Peer');

(my $e = "..sl%2fash%7e%25/$U") =~ s!$U!$U =~ s,/,%2f,gr!e;
$r = http_get("/debug/charts/$e/data");
is($r->{status}, 404, 'a process that says nothing');
like($r->{body}, qr/says nothing of its process/, 'in words');
is(http_get("/debug/charts/acs/9/data")->{status}, 404, 'no such peer');
is(http_get("/debug/charts/hidden/0/data")->{status}, 404, 'no such group');
is(http_get("/debug/charts/acs/0/date")->{status}, 404, 'no such thing');

# a disk that takes no more; a directory that went away fails for root too

rename $dir, "$dir.away";
$r = take($form);
is($r->{status}, 507, 'no disk');
like($r->{body}, qr/open .* failed \(2: No such file/, 'in a sentence');
like(list()->{error}, qr/No such file/, 'in the list');
like(http_get($k)->{body}, qr/Nothing can be kept: open/, 'on the page');
take($form) for 1 .. 3;
is(scalar(() = $t->error_log() =~ /no snapshots can be kept/g), 1, 'once in the log');
is(http_get('/')->{status}, 200, 'traffic goes on');

rename "$dir.away", $dir;
is(take($form)->{status}, 201, 'and when it is back');
is(list()->{error}, undef, 'the sentence goes');

# a disk that is full in the middle of a file, and one that is read-only

SKIP: {
    skip 'no right to mount a small disk', 7
        if $> != 0 || run_cmd(['mount', '-t', 'tmpfs', '-o',
                               'size=16k,mode=777', 'tmpfs', $dir])->{exit};

    my $size = "group=acs&peer=$A&kind=threadcreate";

    $r = take($size);
    is($r->{status}, 507, 'a full disk');
    like($r->{body}, qr/write to .* failed \(28: No space left/, 'in words');
    is(scalar(files()), 0, 'and nothing half written');
    is(http_get('/')->{status}, 200, 'traffic goes on');

    run_cmd(['mount', '-o', 'remount,ro', $dir]);
    $r = take($form);
    is($r->{status}, 507, 'a disk that is read-only');
    like($r->{body}, qr/open .* failed \(30: Read-only file/, 'in words');
    is(http_get('/')->{status}, 200, 'and traffic goes on');

    run_cmd(['umount', $dir]);
}

done_testing();
