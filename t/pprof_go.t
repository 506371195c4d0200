#!/usr/bin/perl

# A Go program with net/http/pprof behind nginx: what nginx passes on is what
# the program says, byte for byte, and go tool pprof sees no difference.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw/ sleep time /;

use Debug::App;
use Debug::Cells;
use Debug::Nginx;

need_bin('go', 'curl', 'dot');

my $dir = temp_dir('go');

write_file("$dir/main.go", <<'EOG');
package main

import (
	"fmt"
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime"
	"time"
)

var keep [][]byte

//go:noinline
func hotFunction(n int) (sum int) {
	for i := 0; i < n; i++ {
		sum += i * i % 7
	}
	return
}

//go:noinline
func keeper() {
	for i := 0; i < 64; i++ {
		keep = append(keep, make([]byte, 1<<20))
	}
}

func main() {
	runtime.SetBlockProfileRate(1)
	runtime.SetMutexProfileFraction(1)
	keeper()

	go func() {
		for {
			hotFunction(1000000)
			time.Sleep(time.Millisecond)
		}
	}()

	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "app")
	})

	server := http.Server{Addr: os.Args[1], WriteTimeout: 20 * time.Second}
	fmt.Println(server.ListenAndServe())
	os.Exit(1)
}
EOG

my $r = run_cmd(['go', 'build', '-o', "$dir/app", 'main.go'], cwd => $dir,
                timeout => 300,
                env => { HOME => $dir, GOFLAGS => '', GO111MODULE => 'off',
                         GOCACHE => $ENV{GOCACHE} // "$dir/cache",
                         CGO_ENABLED => 0 });
is($r->{exit}, 0, 'go build') or BAIL_OUT($r->{err});

my $port = free_port();
my $app = Debug::App->start(cmd => ["$dir/app", "127.0.0.1:$port"],
                            ready => { port => $port });

my $t = Debug::Nginx->new();

$t->write_conf(<<"EOC")->run();
%%TEST_GLOBALS%%
worker_processes 2;
events { }
http {
    %%TEST_GLOBALS_HTTP%%

    proxy_read_timeout 1s;

    upstream acs { server 127.0.0.1:$port; }

    server {
        listen 127.0.0.1:%%PORT_0%%;
        location / { proxy_pass http://acs; }
        location /debug/ { debug; debug_pprof_max 6; }
    }
}
EOC

# the same question to both

sub both {
    my ($path, %o) = @_;

    return (http_get("/debug/pprof/$path", %o),
            http_get("/debug/pprof/$path", %o, port => $port));
}

sub same {
    my ($path, $name, %o) = @_;
    my ($via, $direct) = both($path, %o);

    subtest $name => sub {
        is($via->{status}, $direct->{status}, 'status');
        ok($via->{body} eq $direct->{body}, 'body, byte for byte')
            or diag("via: $via->{body}\ndirect: $direct->{body}");
        is($via->{headers}{$_}, $direct->{headers}{$_}, $_)
            for qw/ content-type x-go-pprof content-disposition
                    x-content-type-options content-length /;
        ok($via->{complete} && $direct->{complete}, 'both complete');
    };
}

same('cmdline', 'cmdline');
same('symbol', 'symbol, GET');
same('symbol?0x1', 'symbol, query');
same('heap?seconds=abc', 'heap, bad seconds');
same('heap?seconds=-1', 'heap, negative seconds');
same('heap?seconds=1&debug=1', 'heap, seconds and debug');
same('cmdline?seconds=1', 'cmdline, seconds');

SKIP: {
    # since 1.24 it moves its own deadline instead
    skip 'this Go profiles for longer than its WriteTimeout', 2
        if http_get('/debug/pprof/trace?seconds=20', port => $port,
                    timeout => 2)->{status} != 400;

    same('profile?seconds=20', "its own 400 for its own WriteTimeout");
    same('trace?seconds=20', 'trace, the same');
}

# an address of a function, for symbol

my ($pc) = http_get('/debug/pprof/goroutine?debug=1')->{body} =~ /(0x[0-9a-f]+)/;
ok($pc, 'an address');

my $many = join '+', ($pc) x 4000;
same('symbol', 'symbol, POST', method => 'POST', body => $pc);
same('symbol', 'symbol, POST of 40 KB', method => 'POST', body => $many);

my ($via, $direct) = both('symbol', method => 'POST', body => $many);
cmp_ok(() = $via->{body} =~ /^0x/gm, '==', 4000, 'no address is lost');

# answers that change from one to the next: their form

my $GO = "Go's net/http/pprof";
my $url = '127.0.0.1:' . $t->port(0);
my %type = (heap => 'inuse_space', allocs => 'alloc_space',
            goroutine => 'goroutine', threadcreate => 'threadcreate',
            block => 'delay', mutex => 'delay');

for my $kind (sort keys %type) {
    ($via, $direct) = both($kind);
    is($via->{status}, 200, $kind);
    is($via->{headers}{$_}, $direct->{headers}{$_}, "$kind, $_")
        for qw/ content-type content-disposition x-content-type-options /;
    write_file("$dir/$kind.pb.gz", $via->{body});
    cell('go tool pprof -raw', $GO, $kind,
         substr($via->{body}, 0, 2) eq "\x1f\x8b"
         && ($r = go_pprof('-raw', "$dir/$kind.pb.gz"))->{exit} == 0);

    ($via, $direct) = both("$kind?debug=1");
    is($via->{headers}{'content-type'}, $direct->{headers}{'content-type'},
       "$kind?debug=1, type");
    is((split ' ', $via->{body})[0], (split ' ', $direct->{body})[0],
       "$kind?debug=1, first word");

    $r = go_pprof('-top', "http://$url/debug/pprof/$kind");
    cell('go tool pprof -top', $GO, $kind,
         $r->{exit} == 0 && $r->{out} =~ /^Type: $type{$kind}$/m)
        or diag($r->{out} . $r->{err});
}

# go tool pprof, without and with nginx

$r = go_pprof('-top', '-seconds', 1, "http://$url/debug/pprof/profile");
cell('go tool pprof -top', $GO, 'profile',
     $r->{exit} == 0 && $r->{out} =~ /hotFunction/
     && $r->{out} =~ /^Duration: 1\.\d+s/m) or diag($r->{out} . $r->{err});

$r = go_pprof('-raw', '-seconds', 1, "http://$url/debug/pprof/profile");
cell('go tool pprof -raw', $GO, 'profile',
     $r->{exit} == 0 && $r->{out} =~ /hotFunction/) or diag($r->{err});

for my $how ([$url, 'host:port'], ["http://$url/", 'http://host/'],
             ["http://$url/debug", 'http://host/debug'],
             ["$url/debug", 'host/debug'],
             ["$url/debug/pprof", 'host/debug/pprof'])
{
    $r = go_pprof('-top', '-seconds', 1, $how->[0]);
    cell("go tool pprof $how->[1]", $GO, 'profile',
         $r->{out} =~ /hotFunction/) or diag($r->{err});
}

$r = go_pprof('-top', '-inuse_space', "http://$url/debug/pprof/acs/0/heap?gc=1");
like($r->{out}, qr/[567]\d\S*MB .* main\.keeper/, 'heap');

$r = go_pprof('-top', '-seconds', 1, "http://$url/debug/pprof/heap");
cell('go tool pprof -seconds', $GO, 'heap', $r->{exit} == 0
     && $r->{out} =~ /^Duration: 1/m) or diag($r->{out} . $r->{err});

$r = go_pprof('-top', '-seconds', 90, "http://$url/debug/pprof/profile");
isnt($r->{exit}, 0, 'too long');
like($r->{err}, qr/profile duration exceeds server's WriteTimeout/,
     'pprof shows why');

$r = go_pprof('-top', "http://$url/debug/pprof/acs/7/heap");
like($r->{err}, qr/there is no such peer/, 'pprof shows our own sentence');

$r = go_pprof('-png', '-output', "$dir/x.png", "http://$url/debug/pprof/heap");
cell('go tool pprof -png', $GO, 'heap',
     substr(read_file("$dir/x.png"), 1, 3) eq 'PNG');

for my $diff ('-base', '-diff_base') {
    $r = go_pprof('-top', $diff, "$dir/heap.pb.gz",
                  "http://$url/debug/pprof/heap");
    cell("go tool pprof $diff", $GO, 'heap', $r->{exit} == 0
         && $r->{out} =~ /^Type: inuse_space$/m) or diag($r->{err});
}

$r = go_pprof('-top', '-symbolize=remote', "http://$url/debug/pprof/heap");
cell('go tool pprof -symbolize=remote', $GO, 'heap',
     $r->{exit} == 0 && $r->{out} =~ /main\.keeper/) or diag($r->{err});

$r = go_pprof({ stdin => "top\npeek keeper\nquit\n" },
              "http://$url/debug/pprof/heap");
cell('go tool pprof, interactive', $GO, 'heap', $r->{out} =~ /main\.keeper/)
    or diag($r->{out} . $r->{err});

{
    my $web = free_port();
    my $home = temp_dir('web');
    my $pprof = Debug::App->start(
        cmd => ['go', 'tool', 'pprof', '-no_browser', '-http',
                "127.0.0.1:$web", "http://$url/debug/pprof/heap"],
        env => { HOME => $home, GOCACHE => "$home/c", PPROF_TMPDIR => $home,
                 GOFLAGS => '', GO111MODULE => 'off' },
        ready => { port => $web }, timeout => 30);

    cell('go tool pprof -http', $GO, 'heap',
         http_get('/ui/top', port => $web)->{body} =~ /keeper/);
    $pprof->stop('KILL');
}

# curl, and scrapers

for my $kind (sort keys %type, 'profile', 'trace', 'cmdline', 'symbol') {
    my $q = $kind eq 'profile' || $kind eq 'trace' ? '?seconds=1' : '';
    my $c = run_cmd(['curl', '-sf', '--compressed',
                     "http://$url/debug/pprof/$kind$q"]);

    cell('curl --compressed', $GO, $kind, $c->{exit} == 0
         && $c->{out} =~ ($kind eq 'trace' ? qr/^go 1\.\d+ trace/
                        : $kind eq 'cmdline' ? qr!/app\0!
                        : $kind eq 'symbol' ? qr/^num_symbols: 1$/
                        : qr/^\x1f\x8b/));
}

my %answer;

for my $turn (1 .. 2) {
    my @scrape = map {
        my $kind = $_;
        my $pid = fork() // die;

        if ($pid == 0) {
            my $q = $kind eq 'profile' ? '?seconds=1' : '';
            my $r = http_get("/debug/pprof/acs/0/$kind$q", headers => {
                'Accept-Encoding' => 'gzip', 'User-Agent' => 'conprof/0.1' });

            POSIX::_exit($r->{status} == 200 && $r->{complete}
                         && substr($r->{body}, 0, 2) eq "\x1f\x8b" ? 0 : 1);
        }
        [$kind, $pid];
    } qw/ profile heap allocs goroutine mutex block /;

    for (@scrape) {
        waitpid $_->[1], 0;
        $answer{$_->[0]}++ if $? == 0;
    }
}

cell('scraper, six kinds at once', $GO, $_, ($answer{$_} // 0) == 2)
    for qw/ profile heap allocs goroutine mutex block /;

# a trace is Go's alone

$r = http_get('/debug/pprof/trace?seconds=1', timeout => 20);
is($r->{status}, 200, 'trace');
like($r->{body}, qr/^go 1\.\d+ trace/, 'trace, header');
ok($r->{complete}, 'trace, complete');

# a client that leaves ends the profile: the next one may begin

http_get('/debug/pprof/profile?seconds=15', abort => 0.3);
ok(wait_for(sub {
    http_get('/debug/pprof/profile?seconds=1')->{status} == 200
}, 5), 'profiler is free at once');

is(http_get('/')->{body}, "app\n", 'traffic goes on');

cells_are($GO);

done_testing();
