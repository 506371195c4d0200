/*
 * Which sampled objects live: a table from address to two numbers.
 *
 * GUEST ROOM.  See stackmap.h.  The table is this process's own: what a child
 * of fork() frees stays in its parent's.
 *
 * Concurrency: whoever adds an address has just got it from the allocator, who
 * takes it is about to give it back, so nobody else has to do with it.  A place
 * goes FREE -> CLAIMED -> an address -> FREE.
 *
 * Bound: four levels, each larger than the one before and mapped when that has
 * no room, 1.2 million objects; 12 bytes each.
 */

#ifndef PPROF_GUEST_LIVE_H
#define PPROF_GUEST_LIVE_H

#include <stdbool.h>
#include <stdint.h>


/*
 * How many sampled objects, at most 255, have an address of that hash.  free()
 * looks at this alone, as long as it is none.
 */
enum {
    PPROF_LIVE_BITS = 18,
    PPROF_LIVE_HASHES = 1 << PPROF_LIVE_BITS    /* bytes */
};

extern uint8_t  pprof_live_hashes[PPROF_LIVE_HASHES];

/* What is kept of one. */
struct pprof_live {
    uint32_t  site;                     /* at most 2^20 - 1 */
    uint32_t  what;                     /* the caller's */
};


/* May the object at P be one of them? */
static inline bool
pprof_live_may(const void *p)
{
    return __atomic_load_n(&pprof_live_hashes[(uintptr_t) p >> 4
                                              & (PPROF_LIVE_HASHES - 1)],
                           __ATOMIC_RELAXED) != 0;
}


/*
 * Adds the object at P.  Returns false when there is no room.
 *
 * Context: async-signal-safe.
 */
bool pprof_live_add(const void *p, struct pprof_live live);

/*
 * Takes the object at P out, if it is there.
 *
 * Context: async-signal-safe.
 */
bool pprof_live_take(const void *p, struct pprof_live *live);

/*
 * Makes free() look again whenever an address from P on for SIZE bytes is
 * freed: for memory that is no allocator's.
 *
 * Context: async-signal-safe.
 */
void pprof_live_guard(const void *p, uintptr_t size);

#endif
