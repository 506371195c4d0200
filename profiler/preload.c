/*
 * What makes libpprof.so a preload: when PPROF_LISTEN is set, it listens
 * there without the program's help.
 *
 * PPROF_LISTEN       as pprof_start()'s argument; nothing happens without it
 * PPROF_VERBOSE=1    one line on stderr when it listens, or cannot
 *
 * It listens a moment after the start, not at once: a daemon's first process
 * and most commands that inherit the environment are gone by then.  A child
 * of fork() tries as well.  With "%p" it gets a socket of its own; without,
 * its parent has the address, and the child takes over only when that is
 * gone soon, as daemon() does it.
 */

#include "pprof.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kinds/tcmalloc.h"


enum {
    STACK_SIZE = 1 << 18    /* bytes */
};

/* Before each attempt; milliseconds. */
static const int delays[] = { 100, 900, 2000 };


/*
 * What the environment said at the start.  Programs empty it for their
 * children, or write their titles over it.
 */
static struct {
    char  listen[160];
    char  cmdline[8];
    bool  verbose;
} conf;


static void
say(bool listens)
{
    const int error = errno;
    char address[160], line[400];

    if (!conf.verbose) {
        return;
    }

    if (listens && pprof_address(address, sizeof(address)) == 0) {
        snprintf(line, sizeof(line), "pprof: process %d listens at %s\n",
                 (int) getpid(), address);

    } else {
        snprintf(line, sizeof(line), "pprof: process %d cannot listen at %s: "
                 "%s\n", (int) getpid(), conf.listen, strerrordesc_np(error));
    }

    (void) !write(STDERR_FILENO, line, strlen(line));
}


static void *
start_later(void *arg)
{
    const struct pprof_options options = {
        .size = sizeof(struct pprof_options),
        .cmdline = conf.cmdline
    };
    const size_t n = sizeof(delays) / sizeof(delays[0]);

    pthread_setname_np(pthread_self(), "pprof");

    for (size_t i = 0; i < n; i++) {
        (void) poll(NULL, 0, delays[i]);

        if (pprof_start(conf.listen, &options) == 0) {
            say(true);
            return arg;
        }

        if (errno != EADDRINUSE) {
            break;
        }
    }

    /* the program started it itself: as good */
    if (errno != EALREADY) {
        say(false);
    }

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
    (void) pthread_create(&thread, &attr, start_later, NULL);
    pthread_sigmask(SIG_SETMASK, &old, NULL);

    pthread_attr_destroy(&attr);
}


/* Copies the variable, empty when there is none.  Returns 0, or -1 when it
   does not fit. */
static int
copy_env(const char *name, char *buf, size_t size)
{
    const char *value = getenv(name);
    const int n = snprintf(buf, size, "%s", value == NULL ? "" : value);

    return n < 0 || (size_t) n >= size ? -1 : 0;
}


__attribute__((constructor)) static void
preload(void)
{
    char verbose[2];

    if (copy_env("PPROF_LISTEN", conf.listen, sizeof(conf.listen)) == -1
        || conf.listen[0] == '\0')
    {
        return;
    }

    conf.verbose = copy_env("PPROF_VERBOSE", verbose, sizeof(verbose)) == 0
                   && verbose[0] == '1';

    /* a word that is not understood shows nothing */
    if (copy_env("PPROF_CMDLINE", conf.cmdline, sizeof(conf.cmdline)) == -1
        || (conf.cmdline[0] != '\0' && strcmp(conf.cmdline, "argv0") != 0
            && strcmp(conf.cmdline, "full") != 0))
    {
        snprintf(conf.cmdline, sizeof(conf.cmdline), "off");
    }

    /* here, in the main thread: pprof_start() is called from another */
    pprof_tcmalloc_wake();

    if (pthread_atfork(NULL, NULL, arm) == 0) {
        arm();
    }
}
