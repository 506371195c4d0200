/*
 * Who allocates: a sample of all allocations, by a hook in tcmalloc.
 *
 * GUEST ROOM.  This code runs inside the application's malloc.  Nothing
 * here allocates, locks, blocks or calls libc beyond memcpy, memcmp and
 * clock_gettime; the functions whose context is the serving thread are the
 * exception.
 *
 * Each thread counts down bytes to its next sample, a distance drawn anew
 * each time so that no rhythm of the program is favored.  Sums are of sampled
 * allocations as they are; the reader scales them up.
 *
 * Bound: PPROF_ALLOCS_STACKS different pairs of stack and size.
 */

#ifndef PPROF_GUEST_ALLOCS_H
#define PPROF_GUEST_ALLOCS_H

#include <stddef.h>
#include <stdint.h>

#include "guest/stackmap.h"


enum { PPROF_ALLOCS_STACKS = 32768 };


/*
 * Samples one in PERIOD bytes from now on; 0 samples no more and keeps the
 * sums.  The hook must be installed by the caller.
 *
 * Returns 0, or -1 with errno when memory lacked.
 *
 * Context: serving thread.
 */
int pprof_allocs_period(uint64_t period);


/*
 * The hook: SIZE bytes at PTR were allocated.
 *
 * Context: inside malloc; async-signal-safe.
 */
void pprof_allocs_hook(const void *ptr, size_t size);


/*
 * Calls VISIT with ARG for each row: TAG is the size asked for, COUNT how
 * many were sampled.  The stacks are return addresses, the allocator's own
 * among them.
 *
 * Context: serving thread.
 */
void pprof_allocs_read(pprof_stackmap_visit *visit, void *arg);


/* What there was no room for.  Context: serving thread. */
struct pprof_stackmap_loss pprof_allocs_lost(void);


/*
 * Samples nothing any more and frees the sums.  The hook must be gone.
 *
 * Context: serving thread.
 */
void pprof_allocs_clear(void);


/* To be called in the child of a fork.  Context: its only thread. */
void pprof_allocs_child(void);

#endif
