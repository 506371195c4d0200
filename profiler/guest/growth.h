/*
 * Who asked the kernel for memory: which stack made which mapping, and what
 * made malloc's own heap grow.
 *
 * GUEST ROOM.  This code runs where the program calls mmap() and its like,
 * also inside an allocator, and where a sample of the heap is taken.  See
 * stackmap.h.
 *
 * What is kept is what was asked for.  What of it is still mapped, and what is
 * in memory, the agent sees in /proc: a part that was unmapped unseen is none
 * there.  Of two records of one address the younger is right.
 *
 * libc's malloc calls the kernel where nobody can stand in between.  Its heap
 * is looked at when an allocation is sampled: how far it has grown since is
 * that allocation's.  Blocks that it maps alone are known from the sample.
 *
 * All requests are kept up to PPROF_GROWTH_BURST in a tenth of a second and
 * thread; beyond, one in PPROF_GROWTH_PERIOD bytes, which stands for more.
 *
 * Concurrency: any number of threads, and signal handlers among them.
 *
 * Bound: 36,864 mappings at once, 32 bytes each; more are counted as lost.
 */

#ifndef PPROF_GUEST_GROWTH_H
#define PPROF_GUEST_GROWTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>


enum {
    PPROF_GROWTH_PERIOD = 64 * 1024,    /* bytes */
    PPROF_GROWTH_BURST = 100
};

/* One mapping as a reader sees it. */
struct pprof_growth_region {
    uintptr_t  start;
    uint64_t   size;                    /* bytes; 0: what is mapped around
                                           START, a thread's stack */
    uint32_t   site;                    /* see sites.h */
    uint32_t   age;                     /* more is younger */
    uint32_t   weight;                  /* how many it stands for, in units of
                                           1 / PPROF_SITE_ONE */
};

typedef void pprof_growth_visit(void *arg,
    const struct pprof_growth_region *region);


/*
 * From now on requests are kept; BREAK_AT is where libc keeps the end of the
 * heap that brk() makes, NULL: that is not known.  CHUNKS: the program's
 * malloc is libc's.
 *
 * Context: constructor.
 */
void pprof_growth_begin(const uintptr_t *break_at, bool chunks);

/* No more, as if there never had been.  Context: thread-safe. */
void pprof_growth_renounce(void);

/* Is anything kept?  Context: async-signal-safe. */
bool pprof_growth_on(void);


/*
 * SIZE bytes at P were mapped, for who called the function that returns to
 * CALLER; SIZE 0: P lies at the upper end of a new thread's stack.
 *
 * Context: async-signal-safe.
 */
void pprof_growth_map(const void *p, size_t size, const void *caller);

/*
 * SIZE bytes at P are about to be unmapped, or moved.  Returns whether what
 * begins there was known; pprof_growth_return() puts it back.
 *
 * Context: async-signal-safe.
 */
bool pprof_growth_take(const void *p, size_t size,
    struct pprof_growth_region *region);
void pprof_growth_return(const struct pprof_growth_region *region);

/*
 * The program has moved the end of its heap itself, from BEFORE.
 *
 * Context: async-signal-safe.
 */
void pprof_growth_break(uintptr_t before, const void *caller);

/*
 * An object of SIZE bytes at P was sampled, which stands for WEIGHT, allocated
 * by the DEPTH return addresses PCS.
 *
 * Context: async-signal-safe.
 */
void pprof_growth_sampled(const void *p, size_t size, uint64_t weight,
    const uintptr_t *pcs, size_t depth);

/* It is about to be freed.  Context: async-signal-safe. */
void pprof_growth_freed(const void *p);


/* Calls VISIT with ARG for each mapping.  Context: async-signal-safe. */
void pprof_growth_read(pprof_growth_visit *visit, void *arg);

/* Requests that found no room.  Context: async-signal-safe. */
uint64_t pprof_growth_lost(void);

#endif
