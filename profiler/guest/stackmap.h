/*
 * A bounded table from call stack to two sums.
 *
 * GUEST ROOM.  This code runs inside the application's threads: inside
 * malloc, under its locks, in signal handlers.  Nothing here allocates, locks,
 * blocks or calls libc beyond memcpy, memcmp and clock_gettime.  The functions
 * whose context is the serving thread are the exception; they use mmap alone.
 *
 * Concurrency: any number of pprof_stackmap_add() and pprof_stackmap_read()
 * at once.  A slot goes FREE -> CLAIMED -> READY once and never back; sums
 * are relaxed atomics, so a reader may see a count one event ahead of its sum.
 * A writer never waits for another: it may have interrupted it.  So two slots
 * can hold the same stack for ever, and a reader has to add them up.
 *
 * Bound: what pprof_stackmap_create() was told.  When full, the event is
 * counted as lost and dropped.
 */

#ifndef PPROF_GUEST_STACKMAP_H
#define PPROF_GUEST_STACKMAP_H

#include <stddef.h>
#include <stdint.h>


enum { PPROF_STACK_MAX = 128 };         /* frames kept of one stack */


/* One row as a reader sees it.  Owner: the table; valid while it lives. */
struct pprof_stack {
    uint64_t          tag;              /* the caller's: a thread, a class */
    const uintptr_t  *pcs;              /* the leaf first */
    size_t            depth;
    uint64_t          count;            /* sum of COUNT */
    uint64_t          value;            /* sum of VALUE */
    uint32_t          row;              /* its number, from 1 */
};

struct pprof_stackmap_loss {
    uint64_t          count;
    uint64_t          value;
};

struct pprof_stackmap;                  /* Owner: whoever created it */

typedef void pprof_stackmap_visit(void *arg, const struct pprof_stack *row);


/*
 * Makes a table for at most STACKS different stacks, rounded up to a power of
 * two, and FRAMES frames of them all together.  Pages are touched only when
 * they are used.
 *
 * Returns NULL with errno as mmap left it.
 *
 * Context: serving thread.
 */
struct pprof_stackmap *pprof_stackmap_create(size_t stacks, size_t frames);


/*
 * Gives the table's memory back.  NULL is allowed.  Nobody may be adding or
 * reading.
 *
 * Context: serving thread.
 */
void pprof_stackmap_free(struct pprof_stackmap *map);


/*
 * A number for TAG and the DEPTH frames of PCS, the same for the same: FNV-1a
 * by words, then murmur3's finalizer to spread the high bits.
 *
 * Context: async-signal-safe.
 */
static inline uint64_t
pprof_stackmap_hash(uint64_t tag, const uintptr_t *pcs, size_t depth)
{
    uint64_t h = 0xcbf29ce484222325 ^ tag;

    for (size_t i = 0; i < depth; i++) {
        h = (h ^ pcs[i]) * 0x100000001b3;
        h ^= h >> 29;
    }

    h ^= h >> 33;
    h *= 0xff51afd7ed558ccd;
    h ^= h >> 33;

    return h;
}


/*
 * Adds COUNT and VALUE to the row of TAG and the DEPTH frames of PCS, the
 * leaf first.  Frames after the first PPROF_STACK_MAX are cut off.
 *
 * Returns the row's number, or 0 when the event was lost: the table is full.
 *
 * Context: async-signal-safe.
 */
uint32_t pprof_stackmap_add(struct pprof_stackmap *map, uint64_t tag,
    const uintptr_t *pcs, size_t depth, uint64_t count, uint64_t value);


/*
 * Adds to the row whose number pprof_stackmap_add() has returned.
 *
 * Context: async-signal-safe.
 */
void pprof_stackmap_more(struct pprof_stackmap *map, uint32_t row,
    uint64_t count, uint64_t value);


/*
 * Calls VISIT with ARG for each row.  The same tag and stack may come more
 * than once.
 *
 * Context: thread-safe.
 */
void pprof_stackmap_read(const struct pprof_stackmap *map,
    pprof_stackmap_visit *visit, void *arg);


/*
 * What was lost because the table was full.
 *
 * Context: async-signal-safe.
 */
struct pprof_stackmap_loss pprof_stackmap_lost(
    const struct pprof_stackmap *map);

#endif
