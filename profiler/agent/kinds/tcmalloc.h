/*
 * What the program's tcmalloc can tell: live sampled objects, growth of the
 * heap, its properties.  Nothing of it is linked; all is found by name in
 * the program, since the allocator is the program's business.
 *
 * Context: thread-safe.
 */

#ifndef PPROF_KINDS_TCMALLOC_H
#define PPROF_KINDS_TCMALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kinds/kind.h"
#include "symbols/maps.h"


enum pprof_tcmalloc_rows {
    PPROF_TCMALLOC_LIVE,        /* sampled objects that were not freed */
    PPROF_TCMALLOC_GROWTH       /* what made the heap grow */
};


/*
 * Reads all rows of that sort.
 *
 * A row is {count, bytes, depth, return address…}, leaf first; a count of 0
 * ends them.  *PERIOD, for live objects, is the mean number of bytes between
 * two samples.
 *
 * Returns NULL when there are none to be had; ANSWER then says why.
 *
 * Owner: the caller; free().
 * Source: gperftools, src/stack_trace_table.cc.
 */
void **pprof_tcmalloc_read(enum pprof_tcmalloc_rows sort, int *period,
    struct pprof_answer *answer);

/*
 * Returns how many of PCS, DEPTH return addresses, the leaf first, are the
 * allocator's own.  At least one frame is left.
 */
size_t pprof_tcmalloc_skip(const struct pprof_maps *maps, void *const *pcs,
    size_t depth);

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
 * Returns how many bytes tcmalloc sets aside for SIZE: the number that
 * decides whether an object is sampled.  SIZE itself when it does not tell.
 */
size_t pprof_tcmalloc_size(size_t size);

/* Returns when pprof_tcmalloc_sample() switched it on, in seconds since the
   epoch; 0: it was on already, or still is off. */
int64_t pprof_tcmalloc_since(void);

/*
 * Has HOOK called after each allocation from now on, or no more.
 *
 * Returns 0, or -1: no tcmalloc, or all of its seven hooks are taken.
 */
int pprof_tcmalloc_hook(void (*hook)(const void *ptr, size_t size));
void pprof_tcmalloc_unhook(void (*hook)(const void *ptr, size_t size));

/*
 * May JOB's target be asked about its tcmalloc?  Answers, and returns false,
 * when it is another process: who has no allocator of ours has no rows.
 */
bool pprof_tcmalloc_here(struct pprof_job *job);

/* Gives free pages back to the kernel, if this is tcmalloc. */
void pprof_tcmalloc_release(void);

/*
 * Returns the function that tells a numeric property: nonzero and VALUE, or 0
 * when there is no such; NULL without tcmalloc.  It stays good: a program
 * does not change its allocator.
 */
int (*pprof_tcmalloc_property(void))(const char *name, size_t *value);

/* Appends "# name = value" lines: tcmalloc's numeric properties. */
void pprof_tcmalloc_properties(struct pprof_buf *b);

#endif
