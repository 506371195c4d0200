/*
 * Memory that runs out, at each allocation of the library in turn: while it
 * starts, answers and stops, and in pprof_handle().  There is an answer or an
 * error, and nothing is left.
 *
 * The linker leads every malloc() of the library here (t/Makefile).  lib_life.t
 * has those of libc and zlib in the library's threads fail as well.
 */

#include <errno.h>
#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <zlib.h>

#include "pprof.h"
#include "tap.h"


static atomic_uint  failing_at, failing_calls;


static bool
failing_now(void)
{
    const unsigned  at = failing_at;

    return atomic_fetch_add(&failing_calls, 1) + 1 == at && at != 0;
}


#define WRAP(type, name, arguments, values)                                  \
    type __real_##name arguments;                                            \
    type __wrap_##name arguments;                                            \
                                                                             \
    type                                                                     \
    __wrap_##name arguments                                                  \
    {                                                                        \
        if (failing_now()) {                                                 \
            errno = ENOMEM;                                                  \
            return NULL;                                                     \
        }                                                                    \
                                                                             \
        return __real_##name values;                                         \
    }

WRAP(void *, malloc, (size_t size), (size))
WRAP(void *, calloc, (size_t n, size_t size), (n, size))
WRAP(void *, realloc, (void *p, size_t size), (p, size))
WRAP(void *, reallocarray, (void *p, size_t n, size_t size), (p, n, size))
WRAP(char *, strdup, (const char *s), (s))


int __real_deflateInit2_(z_stream *z, int level, int method, int bits,
    int memory, int strategy, const char *version, int size);
int __wrap_deflateInit2_(z_stream *z, int level, int method, int bits,
    int memory, int strategy, const char *version, int size);

int
__wrap_deflateInit2_(z_stream *z, int level, int method, int bits, int memory,
    int strategy, const char *version, int size)
{
    return failing_now() ? Z_MEM_ERROR
           : __real_deflateInit2_(z, level, method, bits, memory, strategy,
                                  version, size);
}


/* Begins to fail at call N; returns how many calls there have been. */
static unsigned
arm(unsigned n)
{
    failing_at = 0;

    const unsigned  calls = atomic_exchange(&failing_calls, 0);

    failing_at = n;

    return calls;
}


static int
entries(const char *path)
{
    DIR  *d = opendir(path);
    int   n = 0;

    while (d != NULL && readdir(d) != NULL) {
        n++;
    }

    closedir(d);

    return n;
}


/* One request by hand.  Returns its status, or a negated errno. */
static int
ask_by_hand(const char *path, const char *query)
{
    const struct pprof_request  request = {
        .size = sizeof(request), .method = "GET", .path = path,
        .query = query
    };
    struct pprof_response       response = { .size = sizeof(response) };

    if (pprof_handle(&request, &response) == -1) {
        return -errno;
    }

    const int  status = response.status;
    const bool said = response.body_len != 0;

    pprof_response_free(&response);

    return said ? status : -ENODATA;
}


static void
sweep_by_hand(const char *path, const char *query)
{
    unsigned  n, calls, refused = 0, wrong = 0;

    (void) ask_by_hand(path, query);    /* what is made once */

    for (n = 1; ; n++) {
        arm(n);

        const int  status = ask_by_hand(path, query);

        calls = arm(0);

        if (calls < n) {
            if (status != 200) {
                note("no allocation failed: %d", status);
                wrong++;
            }

            break;
        }

        refused += status != 200;

        /* a body that could not even hold its sentence is a status alone */
        if (status != 200 && status != -ENOMEM && status != -ENODATA
            && (status < 500 || status > 599))
        {
            note("allocation %u: %d", n, status);
            wrong++;
        }
    }

    ok(n > 2 && wrong == 0, "%s?%s: %u allocations, %u refused, %u wrong",
       path, query, n - 1, refused, wrong);
}


/*
 * Asks the server at PATH.  Returns the status, 0 when it hung up without a
 * word, -1 when it said nothing for ten seconds.
 */
static int
ask_server(const char *path, const char *target)
{
    struct sockaddr_un  un = { .sun_family = AF_UNIX };
    const int           fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char                text[512], all[64] = "";
    size_t              len = 0;
    ssize_t             n;

    snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
    snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: l\r\n\r\n", target);

    if (connect(fd, (struct sockaddr *) &un, sizeof(un)) == -1
        || send(fd, text, strlen(text), MSG_NOSIGNAL) == -1)
    {
        close(fd);
        return 0;
    }

    for ( ;; ) {
        struct pollfd  pfd = { .fd = fd, .events = POLLIN };

        if (poll(&pfd, 1, 10000) == 0) {
            close(fd);
            return -1;
        }

        n = recv(fd, text, sizeof(text), 0);

        if (n <= 0) {
            break;
        }

        for (ssize_t i = 0; i < n && len + 1 < sizeof(all); i++) {
            all[len++] = text[i];
        }
    }

    close(fd);

    return len < 12 ? 0 : atoi(all + 9);
}


static void
sweep_server(const char *target)
{
    char      dir[] = "/tmp/pprof-unit.XXXXXX", path[64], spec[80];
    unsigned  n, calls, refused = 0, silent = 0, answered = 0, wrong = 0;

    if (mkdtemp(dir) == NULL) {
        ok(false, "directory");
        return;
    }

    snprintf(path, sizeof(path), "%s/s", dir);
    snprintf(spec, sizeof(spec), "unix:%s", path);

    const int  fds = entries("/proc/self/fd");
    const int  threads = entries("/proc/self/task");

    for (n = 1; ; n++) {
        arm(n);

        if (pprof_start(spec, NULL) == -1) {
            refused++;
            wrong += errno != ENOMEM;
            calls = arm(0);

        } else {
            const int  status = ask_server(path, target);

            calls = arm(0);
            answered += status == 200;
            silent += status == 0;

            /* 404: there was no memory for charts, so there are none */
            wrong += status == -1
                     || (status != 200 && status != 0 && status / 100 != 5
                         && !(status == 404 && strstr(target, "charts")));
            pprof_stop();
        }

        if (entries("/proc/self/fd") != fds
            || entries("/proc/self/task") != threads
            || access(path, F_OK) == 0)
        {
            note("allocation %u: something is left", n);
            wrong++;
            break;
        }

        if (calls < n) {
            break;
        }
    }

    rmdir(dir);

    ok(n > 5 && wrong == 0 && answered > 0,
       "server, %s: %u allocations: %u not started, %u hung up, %u answered, "
       "%u wrong", target, n - 1, refused, silent, answered, wrong);
}


static void *
sleep_long(void *arg)
{
    for ( ;; ) {
        pause();
    }

    return arg;
}


int
main(void)
{
    pthread_t  thread;

    setvbuf(stdout, NULL, _IOLBF, 0);

    /* somebody to have a stack: who asks has none */
    pthread_create(&thread, NULL, sleep_long, NULL);

    sweep_by_hand("/debug/pprof/cmdline", "");
    sweep_by_hand("/debug/pprof/", "");
    sweep_by_hand("/debug/pprof/symbol", "");
    sweep_by_hand("/debug/pprof/goroutine", "");
    sweep_by_hand("/debug/pprof/goroutine", "debug=1");
    sweep_by_hand("/debug/pprof/goroutine", "debug=2");
    sweep_by_hand("/debug/pprof/goroutine", "format=folded");
    sweep_by_hand("/debug/pprof/goroutine", "format=svg");
    sweep_by_hand("/debug/pprof/goroutine", "lines=1");

    sweep_server("/debug/pprof/cmdline");
    sweep_server("/debug/pprof/goroutine");
    sweep_server("/debug/charts/data");

    return done_testing();
}
