/*
 * The stacks that allocate, with four sums each.
 *
 * GUEST ROOM.  See stackmap.h.  Like that, but for sums that go down as well,
 * and memory in proportion to what is in there: it is mapped piece by piece by
 * whoever needs the next, and never given back.
 *
 * Concurrency: any number of pprof_sites_add() and pprof_sites_read() at once.
 * A site is put at the head of its chain and stays.  Two that add the same
 * stack at the same moment may make two sites of it: a reader adds them up.
 *
 * Bound: PPROF_SITES_MAX stacks of PPROF_SITES_FRAMES frames altogether.
 */

#ifndef PPROF_GUEST_SITES_H
#define PPROF_GUEST_SITES_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>


enum {
    PPROF_SITES_MAX = 65536,
    PPROF_SITES_FRAMES = 1 << 20
};

/* Sums: objects in units of 1 / PPROF_SITE_ONE, bytes. */
enum { PPROF_SITE_ONE = 1 << 16 };

/* What the sums are of; a stack may have one site of each sort. */
enum pprof_sites_sort {
    PPROF_SITES_HEAP,                   /* objects that were allocated */
    PPROF_SITES_GROWTH                  /* requests to the kernel, ever; what
                                           is left of them is not summed */
};

struct pprof_site {
    const uintptr_t   *pcs;             /* return addresses, the leaf first */
    uint16_t           depth;
    uint16_t           sort;            /* enum pprof_sites_sort */
    uint32_t           next;            /* in its chain; 0: none */
    uint64_t           hash;
    _Atomic uint64_t   objects;         /* ever allocated */
    _Atomic uint64_t   bytes;
    _Atomic uint64_t   live_objects;    /* not freed since */
    _Atomic uint64_t   live_bytes;
};

typedef void pprof_sites_visit(void *arg, const struct pprof_site *site,
    uint32_t number);


/*
 * Returns the number of the site of that SORT with the stack PCS, DEPTH frames,
 * made when it is new; 0 when there is no room.
 *
 * Context: async-signal-safe.
 */
uint32_t pprof_sites_add(enum pprof_sites_sort sort, const uintptr_t *pcs,
    size_t depth);

/* The site of that number, not 0.  Context: async-signal-safe. */
struct pprof_site *pprof_sites_get(uint32_t number);

/* Calls VISIT with ARG for each, of all sorts.  Context: async-signal-safe. */
void pprof_sites_read(pprof_sites_visit *visit, void *arg);

#endif
