/*
 * The CPU profiler: a timer on the CPU clock of each thread.
 *
 * GUEST ROOM.  The handler is tick.c; what is here runs on the serving
 * thread and on the controller, a thread that lives as long as a profile and
 * gives new threads their timers; where there is a resting thread (rest.h), it
 * is both.
 *
 * A sample stands for the periods since the last, so the sum is the kernel's
 * account even where its tick is coarser than the period.  What could not be
 * sampled is told by its reason and never shown as something else.
 *
 * Bound: PPROF_SAMPLER_THREADS threads and PPROF_SAMPLER_STACKS different
 * stacks in one profile, about 8 MB when full.
 */

#ifndef PPROF_GUEST_SAMPLER_H
#define PPROF_GUEST_SAMPLER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>


enum {
    PPROF_SAMPLER_HZ = 100,             /* unless asked otherwise */
    PPROF_SAMPLER_HZ_MAX = 1000,
    PPROF_SAMPLER_THREADS = 65536,
    PPROF_SAMPLER_STACKS = 32768
};

/* One row of a profile. */
struct pprof_sampler_row {
    const uintptr_t  *pcs;              /* the leaf, then return addresses */
    size_t            depth;            /* 0 where LOST is set */
    uint64_t          count;            /* periods */
    pid_t             tid;              /* 0: of no thread that is known */
    const char       *thread;           /* its name, "" when not known */
    const char       *lost;             /* why there is no stack, or NULL */
    unsigned          route;            /* routes.h; 0: nobody's, or unasked */
};

/* What a profile amounts to. */
struct pprof_sampler_result {
    uint64_t  period;                   /* ns for each COUNT */
    uint64_t  duration;                 /* ns from start to stop */
    uint64_t  cpu;                      /* ns the program computed meanwhile */
    uint64_t  samples;                  /* periods with a stack */
    uint64_t  lost;                     /* periods without */
    size_t    threads;                  /* that were seen */
    int       signo;
    bool      taken;                    /* the program took the signal away */
};

typedef void pprof_sampler_visit(void *arg,
    const struct pprof_sampler_row *row);


/*
 * Starts a profile at HZ samples for each second of CPU time, 0 meaning
 * PPROF_SAMPLER_HZ; it is told by route if pprof_routes_on().  WALL counts all
 * time of each thread instead; it interrupts system calls, so some of the
 * program's return EINTR.
 *
 * Returns 0, or -1 with errno:
 *     EINVAL   HZ is not within 0 … PPROF_SAMPLER_HZ_MAX
 *     EALREADY a profile is running
 *     EBUSY    the program uses every signal itself
 *     other    memory, a thread or /proc could not be had
 *
 * Context: serving thread.
 */
int pprof_sampler_start(unsigned hz, bool wall);


/*
 * Ends the profile, calls VISIT (if not NULL) with ARG for each row, and frees
 * all that the profile took.  A stack may come in more than one row.  The
 * thread and the pcs belong to the profile: copy what is kept.
 *
 * Returns 0, or -1 with ESRCH when none is running.  RESULT may be NULL.
 *
 * Context: serving thread.
 */
int pprof_sampler_stop(pprof_sampler_visit *visit, void *arg,
    struct pprof_sampler_result *result);


/*
 * Where the resting thread took the place of the controller: does what is due.
 * Returns how many ns until it wants to be called again, UINT64_MAX when
 * nothing runs.
 *
 * Context: the thread that called pprof_sampler_start().
 */
uint64_t pprof_sampler_step(void);

/* The futex that is rung when pprof_sampler_step() is to be called before
   that; NULL: nobody waits.  Context: constructor. */
void pprof_sampler_bell(_Atomic uint32_t *word);


/*
 * Is a profile running?
 *
 * Context: thread-safe.
 */
bool pprof_sampler_running(void);


/*
 * To be called in the child of a fork, which has inherited a profile without
 * its timers: forgets it and gives the signal back.  The parent's goes on.
 *
 * Context: the child's only thread.
 */
void pprof_sampler_child(void);

#endif
