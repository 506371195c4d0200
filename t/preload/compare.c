/*
 * Holds our unwinder against libgcc's in a whole program, unmodified, while it
 * works: to be preloaded.  A timer interrupts it wherever it is, and both walk
 * the stack.  It is one of real time, since those of CPU time go off with the
 * kernel's tick only.
 *
 * COMPARE_OUT names the file that the sums go to, five times a second:
 * "same different shorter frames", then the first two stacks that differ.
 */

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "guest/compare.h"


enum {
    DELAY_MSEC  = 300,      /* the loader has done its work by then */
    TICK_MSEC   = 20        /* between two looks for libraries */
};


static void
pause_msec(long msec)
{
    const struct timespec  ts = { msec / 1000, msec % 1000 * 1000000 };

    nanosleep(&ts, NULL);
}


static void
print_stack(FILE *out, const char *who, const struct backtrace *trace)
{
    for (size_t i = 0; i < trace->n; i++) {
        Dl_info  info = { .dli_fname = "?" };

        dladdr((void *) (trace->pcs[i] - (i > 0)), &info);
        fprintf(out, "%s %2zu %#lx %s+%#lx %s\n", who, i, trace->pcs[i],
                info.dli_fname, trace->pcs[i] - (uintptr_t) info.dli_fbase,
                info.dli_sname == NULL ? "" : info.dli_sname);
    }
}


/* Replaces the file whole: the program may end at any moment. */
static void
print_result(const char *path)
{
    char   new[4096];
    FILE  *out;

    snprintf(new, sizeof(new), "%s.new", path);
    out = fopen(new, "we");

    if (out == NULL) {
        return;
    }

    fprintf(out, "%lu %lu %lu %lu\n", result.same, result.different,
            result.shorter, result.frames);

    if (result.different + result.shorter != 0) {
        print_stack(out, "ours", &result.ours);
        print_stack(out, "libgcc", &result.theirs);
    }

    fclose(out);
    rename(new, path);
}


static void *
watch(void *arg)
{
    const struct itimerval  timer = { { 0, 499 }, { 0, 499 } };
    struct sigaction        action = { .sa_sigaction = compare,
                                       .sa_flags = SA_SIGINFO | SA_RESTART };

    pause_msec(DELAY_MSEC);

    if (compare_init() == -1 || pprof_unwind_init() == -1
        || pprof_cfi_refresh() == -1)
    {
        return NULL;
    }

    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);

    for (unsigned i = 0; ; i++) {
        pause_msec(TICK_MSEC);
        pprof_cfi_refresh();

        if (i % 10 == 9) {
            print_result(arg);
        }
    }

    return NULL;
}


__attribute__((constructor)) static void
begin(void)
{
    char       *path = getenv("COMPARE_OUT");
    pthread_t   thread;
    sigset_t    all, old;

    if (path == NULL || (path = strdup(path)) == NULL) {
        return;
    }

    /* what the program starts is not to write there too */
    unsetenv("COMPARE_OUT");

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);

    if (pthread_create(&thread, NULL, watch, path) == 0) {
        pthread_detach(thread);
    }

    pthread_sigmask(SIG_SETMASK, &old, NULL);
}
