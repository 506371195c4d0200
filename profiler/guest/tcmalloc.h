/*
 * What the program's tcmalloc can tell: live sampled objects, growth of the
 * heap, its properties.  Nothing of it is linked; all is found by name in
 * the program, since the allocator is the program's business.
 *
 * GUEST ROOM, but for ordinary threads only: the functions call the loader and
 * tcmalloc.  On a resting thread that libc does not know there is no tcmalloc.
 *
 * Context: thread-safe.
 */

#ifndef PPROF_GUEST_TCMALLOC_H
#define PPROF_GUEST_TCMALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest/stackmap.h"


enum { PPROF_TCMALLOC_PROPERTIES = 21 };

enum pprof_tcmalloc_sort {
    PPROF_TCMALLOC_LIVE,        /* sampled objects that were not freed */
    PPROF_TCMALLOC_GROWTH       /* what made the heap grow */
};

struct pprof_tcmalloc_told {
    uint64_t  period;           /* mean bytes between two samples; 0: none are
                                   taken */
    uint64_t  since;            /* when pprof_tcmalloc_sample() switched them
                                   on, seconds since the epoch; 0: it did not */
    uint64_t  count;            /* rows */
};

typedef pprof_stackmap_visit  pprof_tcmalloc_visit;


/* Does the program allocate with tcmalloc? */
bool pprof_tcmalloc_is(void);

/*
 * Calls VISIT, unless it is NULL, with ARG for each row of that SORT: COUNT
 * objects of VALUE bytes together, return addresses, the leaf first; TAG is
 * how many bytes tcmalloc sets aside for one, which decides how often such are
 * sampled.
 *
 * Returns 0, or an errno: ENOSYS no tcmalloc, ENOTSUP libtcmalloc_minimal,
 * which takes no samples, ENOMEM.
 *
 * Source: gperftools, src/stack_trace_table.cc.
 */
int pprof_tcmalloc_rows(enum pprof_tcmalloc_sort sort,
    pprof_tcmalloc_visit *visit, void *arg, struct pprof_tcmalloc_told *told);

/* An address within tcmalloc, or 0. */
uintptr_t pprof_tcmalloc_address(void);

/*
 * Switches heap sampling on, one sample every PERIOD bytes, unless it is on.
 *
 * Returns 0, or -1: no tcmalloc, or one that cannot be told at run time.
 */
int pprof_tcmalloc_sample(size_t period);

/*
 * Makes the calling thread's allocations count from now on, where sampling
 * is on or $TCMALLOC_SAMPLE_PARAMETER says it will be.
 *
 * A thread that allocates before tcmalloc has read its environment, and the
 * main thread always does, is not looked at again before its first 16 MiB:
 * a program that never has more would seem to have nothing.
 *
 * Context: constructor; else thread-safe.
 * Source: gperftools, src/sampler.cc, Sampler::PickNextSamplingPoint().
 */
void pprof_tcmalloc_wake(void);

/*
 * Has HOOK called after each allocation from now on, or no more.
 *
 * Returns 0, or -1: no tcmalloc, or all of its seven hooks are taken.
 */
int pprof_tcmalloc_hook(void (*hook)(const void *ptr, size_t size));
void pprof_tcmalloc_unhook(void (*hook)(const void *ptr, size_t size));

/* Gives free pages back to the kernel, if this is tcmalloc. */
void pprof_tcmalloc_release(void);

/* The name of numeric property number PROPERTY, or NULL.  Static. */
const char *pprof_tcmalloc_name(size_t property);

/*
 * Calls VISIT with ARG for each property that there is: TAG its number, VALUE.
 * Returns 0, or ENOSYS.
 */
int pprof_tcmalloc_properties(pprof_tcmalloc_visit *visit, void *arg);

#endif
