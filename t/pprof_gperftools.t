#!/usr/bin/perl

# A program that knows nothing of libpprof: gperftools' own profiler, and
# handlers at /pprof/ as its documentation describes them (pprof_remote_
# servers.html), behind "debug legacy".

use strict;
use warnings;

use Test::More;

use Debug::App;
use Debug::Cells;
use Debug::Nginx;

need_bin('cc', 'google-pprof', 'go', 'curl');

my $dir = temp_dir('g');

write_file("$dir/app.c", <<'EOP');
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <gperftools/profiler.h>

static char  *profile;

__attribute__((noinline)) unsigned long
raw_hot_function(unsigned long n)
{
    volatile unsigned long  sum = 0;

    while (n--) {
        sum += n * n % 7;
    }

    return sum;
}

static void *
burn(void *arg)
{
    ProfilerRegisterThread();

    for ( ;; ) {
        raw_hot_function(1000000);
        usleep(1000);
    }

    return arg;
}

static void
answer(FILE *out, const char *body, size_t len)
{
    fprintf(out, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                 "Content-Length: %zu\r\n\r\n", len);
    fwrite(body, 1, len, out);
}

static void *
serve(void *arg)
{
    static char  body[1 << 22], text[1 << 22];

    int           fd = (int) (long) arg;
    FILE         *in = fdopen(fd, "r"), *out = fdopen(dup(fd), "w"), *f;
    char          line[4096], method[16], uri[1024], *p, *end;
    size_t        len = 0, n;
    unsigned long addr;
    Dl_info       info;

    if (!fgets(line, sizeof(line), in)
        || sscanf(line, "%15s %1023s", method, uri) != 2)
    {
        goto done;
    }

    while (fgets(line, sizeof(line), in) && line[0] != '\r') {
        if (strncasecmp(line, "Content-Length:", 15) == 0) {
            len = strtoul(line + 15, NULL, 10);
        }
    }

    n = fread(body, 1, len < sizeof(body) - 1 ? len : sizeof(body) - 1, in);
    body[n] = '\0';

    if (strncmp(uri, "/pprof/profile", 14) == 0) {
        p = strstr(uri, "seconds=");

        ProfilerStart(profile);
        sleep(p ? atoi(p + 8) : 30);
        ProfilerStop();

        f = fopen(profile, "r");
        n = fread(text, 1, sizeof(text), f);
        fclose(f);

        answer(out, text, n);

    } else if (strcmp(uri, "/pprof/cmdline") == 0) {
        n = readlink("/proc/self/exe", text, sizeof(text) - 1);
        answer(out, text, n);

    } else if (strcmp(uri, "/pprof/symbol") == 0) {

        if (strcmp(method, "POST") != 0) {
            p = "num_symbols: 1\n";
            answer(out, p, strcmp(method, "HEAD") ? strlen(p) : 0);
            goto done;
        }

        for (p = body, end = text; *p; p += (*p == '+')) {
            addr = strtoul(p, &p, 16);

            if (dladdr((void *) addr, &info) && info.dli_sname) {
                end += sprintf(end, "0x%lx\t%s\n", addr, info.dli_sname);
            }

            if (*p != '+') {
                break;
            }
        }

        answer(out, text, end - text);

    } else {
        fprintf(out, "HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n");
    }

done:

    fclose(out);
    fclose(in);
    return NULL;
}

int
main(int argc, char **argv)
{
    int                 one = 1, s = socket(AF_INET, SOCK_STREAM, 0), fd;
    pthread_t           t;
    struct sockaddr_in  sin = { .sin_family = AF_INET,
                                .sin_port = htons(atoi(argv[1])),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

    profile = argv[2];
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));

    if (argc != 3 || bind(s, (void *) &sin, sizeof(sin)) || listen(s, 16)) {
        perror("listen");
        return 1;
    }

    pthread_create(&t, NULL, burn, NULL);

    while ((fd = accept(s, NULL, NULL)) >= 0) {
        pthread_create(&t, NULL, serve, (void *) (long) fd);
        pthread_detach(t);
    }

    return 0;
}
EOP

my $cc = run_cmd(['cc', '-O1', '-g', '-rdynamic', '-o', "$dir/raw_app",
                  "$dir/app.c", '-lprofiler', '-pthread', '-ldl']);
is($cc->{exit}, 0, 'cc') or BAIL_OUT($cc->{err});

my $port = free_port();
my $app = Debug::App->start(cmd => ["$dir/raw_app", $port, "$dir/profile"],
                            ready => { port => $port });

my $t = Debug::Nginx->new();

$t->run(<<"EOC");
%%TEST_GLOBALS%%
events { }
http {
    %%TEST_GLOBALS_HTTP%%
    upstream raw { server 127.0.0.1:$port; }
    server {
        listen 127.0.0.1:%%PORT_0%%;
        location /pprof/ { debug legacy; }
        location /debug/ { debug; }
    }
}
EOC

my $host = '127.0.0.1:' . $t->port(0);
my $home = temp_dir('h');

my $RAW = "gperftools' own handlers";
my ($r, $hot) = (undef, qr/\braw_hot_function$/m);

for my $how ([$host, 'host:port'], ["http://$host/pprof/profile",
                                    'host/pprof/kind'])
{
    $r = run_cmd(['google-pprof', '--text', '--seconds=1', $how->[0]],
                 timeout => 60, env => { HOME => $home,
                                         PPROF_TMPDIR => $home });
    cell("google-pprof $how->[1]", $RAW, 'profile',
         $r->{exit} == 0 && $r->{out} =~ $hot) or diag($r->{err});
}

# names from /pprof/symbol

for my $how ([], ['-symbolize=remote']) {
    $r = go_pprof('-top', '-seconds', 1, @$how,
                  "http://$host/pprof/profile");
    cell('go tool pprof ' . (@$how ? $how->[0] : '-top'), $RAW, 'profile',
         $r->{exit} == 0 && $r->{out} =~ $hot) or diag($r->{err});
}

$r = go_pprof('-raw', '-seconds', 1, "http://$host/pprof/profile");
cell('go tool pprof -raw', $RAW, 'profile',
     $r->{exit} == 0 && $r->{out} =~ /raw_hot_function/) or diag($r->{err});

for my $kind (qw/ cmdline symbol /) {
    $r = run_cmd(['curl', '-sf', '--compressed', "http://$host/pprof/$kind"]);
    cell('curl --compressed', $RAW, $kind, $r->{exit} == 0
         && $r->{out} =~ ($kind eq 'symbol' ? qr/^num_symbols: 1$/
                                            : qr!/raw_app\z!));
}

$r = http_get('/debug/pprof/profile?seconds=1');
is($r->{status}, 404, 'it has nothing at /debug/pprof/');
like($r->{body}, qr!has no profile at /debug/pprof/profile!, 'a sentence');

$r = http_get('/pprof/growth');
is($r->{status}, 404, 'nor a kind that it does not know');
is($r->{headers}{'x-go-pprof'}, 1, 'a sentence too');

$app->stop();

cells_are($RAW);

done_testing();
