/*
 * Listening from inside the program, as libpprof.a does it: for what an agent
 * cannot do, gperftools' CPU profiler (PPROF_CPU_ENGINE=gperftools), which
 * samples its own process alone.
 *
 * It listens a moment after the start, not at once: a daemon's first process
 * and most commands that inherit the environment are gone by then.  A child
 * of fork() tries as well.  With "%p" it gets a socket of its own; without,
 * its parent has the address, and the child takes over only when that is
 * gone soon, as daemon() does it.
 */

#include "inside.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kinds/env.h"
#include "kinds/life.h"
#include "pprof.h"


enum {
    STACK_SIZE = 1 << 18    /* bytes */
};

/* Before each attempt; milliseconds. */
static const int delays[] = { 100, 900, 2000 };


static void
say(bool listens)
{
    const int error = errno;
    char address[160], line[400];

    const char *verbose = pprof_env_get("PPROF_VERBOSE");

    if (verbose == NULL || strcmp(verbose, "1") != 0) {
        return;
    }

    if (listens && pprof_address(address, sizeof(address)) == 0) {
        snprintf(line, sizeof(line), "pprof: process %d listens at %s\n",
                 (int) getpid(), address);

    } else {
        snprintf(line, sizeof(line), "pprof: process %d cannot listen at %s: "
                 "%s\n", (int) getpid(), pprof_env_get("PPROF_LISTEN"),
                 strerrordesc_np(error));
    }

    (void) !write(STDERR_FILENO, line, strlen(line));
}


/* Goes on after a signal: setuid() sends one that cannot be blocked. */
static void
wait_msec(int msec)
{
    struct timespec left = { msec / 1000, msec % 1000 * 1000000L };

    while (nanosleep(&left, &left) == -1 && errno == EINTR) {
        /* void */
    }
}


static void *
start_later(void *arg)
{
    const size_t n = sizeof(delays) / sizeof(delays[0]);

    pthread_setname_np(pthread_self(), "pprof");
    pprof_kinds_enter();

    for (size_t i = 0; i < n; i++) {
        wait_msec(delays[i]);

        if (pprof_start(pprof_env_get("PPROF_LISTEN"), NULL) == 0) {
            say(true);
            pprof_kinds_leave();
            return arg;
        }

        if (errno != EADDRINUSE) {
            break;
        }
    }

    /* the program started it itself, or is about to end: as good */
    if (errno != EALREADY && errno != ECANCELED) {
        say(false);
    }

    pprof_kinds_leave();

    return arg;
}


static void
arm(void)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, old;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pprof_kinds_enter();
    (void) pthread_create(&thread, &attr, start_later, NULL);
    pprof_kinds_leave();
    pthread_sigmask(SIG_SETMASK, &old, NULL);

    pthread_attr_destroy(&attr);
}


bool
pprof_inside_wanted(void)
{
    const char *const engine = pprof_env_get("PPROF_CPU_ENGINE");

    return engine != NULL && strcmp(engine, "gperftools") == 0;
}


void
pprof_inside_start(void)
{
    /* before our own: the child's thread starts when all else is done */
    pprof_kinds_init();

    if (pprof_env_get("PPROF_THREADCREATE") != NULL) {
        /* the most interesting threads are created before we listen */
        pprof_kinds_prepare(pprof_target_self());
    }

    if (pthread_atfork(NULL, NULL, arm) == 0) {
        arm();
    }
}
