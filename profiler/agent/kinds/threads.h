/*
 * The stacks of all threads, as they are now.
 *
 * A thread that waits in the kernel is not touched: /proc tells its stack
 * pointer and where it is, and its stack is copied.  One that runs is asked by
 * a timer on its CPU clock, which goes off only while it computes.  So no
 * system call of the program ever returns EINTR because somebody looked.
 *
 * Bound: PPROF_THREADS_MAX threads; 64 KiB of each stack.
 */

#ifndef PPROF_KINDS_THREADS_H
#define PPROF_KINDS_THREADS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/target.h"


enum {
    PPROF_THREADS_MAX = 16384,
    PPROF_THREADS_WAIT = 500            /* ms, unless asked otherwise */
};

/* One thread. */
struct pprof_thread {
    pid_t             tid;
    const char       *name;
    char              state;            /* as in /proc: R, S, D, T, … */
    int               call;             /* system call it waits in, or -1 */
    uint64_t          cpu;              /* ns */
    const uintptr_t  *pcs;              /* the leaf first */
    size_t            depth;
    const char       *lost;             /* why there is no stack, or NULL */
};

typedef void pprof_threads_visit(void *arg, const struct pprof_thread *thread);


/*
 * Calls VISIT with ARG for each thread of TARGET but the library's own, in the
 * order of their numbers.  Waits at most WAIT ms (0: PPROF_THREADS_WAIT) for
 * those that run.
 *
 * The strings and PCS are valid during the call.
 *
 * Returns how many threads there were, or -1 with errno: memory, /proc, or
 * EBUSY when a dump is under way already.
 *
 * Context: serving thread.
 */
int pprof_threads_dump(struct pprof_target *target, unsigned wait,
    pprof_threads_visit *visit, void *arg);

#endif
