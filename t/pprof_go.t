#!/usr/bin/perl

# A Go program with net/http/pprof behind nginx: what nginx passes on is what
# the program says, byte for byte, and go tool pprof sees no difference.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw/ sleep time /;

use Debug::App;
use Debug::Nginx;

need_bin('go');

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
        location /debug/ { debug; }
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
same('profile?seconds=20', "its own 400 for its own WriteTimeout");
same('trace?seconds=20', 'trace, the same');

# an address of a function, for symbol

my ($pc) = http_get('/debug/pprof/goroutine?debug=1')->{body} =~ /(0x[0-9a-f]+)/;
ok($pc, 'an address');

my $many = join '+', ($pc) x 4000;
same('symbol', 'symbol, POST', method => 'POST', body => $pc);
same('symbol', 'symbol, POST of 40 KB', method => 'POST', body => $many);

my ($via, $direct) = both('symbol', method => 'POST', body => $many);
cmp_ok(() = $via->{body} =~ /^0x/gm, '==', 4000, 'no address is lost');

# answers that change from one to the next: their form

for my $kind (qw/ heap allocs goroutine threadcreate block mutex /) {
    ($via, $direct) = both($kind);
    is($via->{status}, 200, $kind);
    is($via->{headers}{$_}, $direct->{headers}{$_}, "$kind, $_")
        for qw/ content-type content-disposition x-content-type-options /;
    is(substr($via->{body}, 0, 2), "\x1f\x8b", "$kind, gzip");
    write_file("$dir/$kind.pb.gz", $via->{body});
    is(go_pprof('-raw', "$dir/$kind.pb.gz")->{exit}, 0, "$kind, readable");

    ($via, $direct) = both("$kind?debug=1");
    is($via->{headers}{'content-type'}, $direct->{headers}{'content-type'},
       "$kind?debug=1, type");
    is((split ' ', $via->{body})[0], (split ' ', $direct->{body})[0],
       "$kind?debug=1, first word");
}

# go tool pprof, without and with nginx

my $url = '127.0.0.1:' . $t->port(0);

$r = go_pprof('-top', '-seconds', 1, "http://$url/debug/pprof/profile");
is($r->{exit}, 0, 'profile');
like($r->{out}, qr/hotFunction/, 'its function');
like($r->{out}, qr/^Duration: 1\.\d+s/m, 'its duration');

$r = go_pprof('-top', '-inuse_space', "http://$url/debug/pprof/acs/0/heap?gc=1");
like($r->{out}, qr/[567]\d\S*MB .* main\.keeper/, 'heap');

$r = go_pprof('-top', '-seconds', 1, "http://$url/debug/pprof/heap");
is($r->{exit}, 0, 'heap, delta');

$r = go_pprof('-top', '-seconds', 90, "http://$url/debug/pprof/profile");
isnt($r->{exit}, 0, 'too long');
like($r->{err}, qr/profile duration exceeds server's WriteTimeout/,
     'pprof shows why');

$r = go_pprof('-top', "http://$url/debug/pprof/acs/7/heap");
like($r->{err}, qr/there is no such peer/, 'pprof shows our own sentence');

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

done_testing();
