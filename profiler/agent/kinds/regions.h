/*
 * Anonymous memory of a target, by who asked the kernel for it: the guest's
 * record (guest/growth.h) laid over what /proc says is there now.
 *
 * Context: thread-safe.
 */

#ifndef PPROF_KINDS_REGIONS_H
#define PPROF_KINDS_REGIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/target.h"


/* What is there and nobody was seen to ask for. */
enum pprof_region_class {
    PPROF_REGION_HEAP,                  /* what brk() made */
    PPROF_REGION_ARENA,                 /* libc's malloc's, of other threads */
    PPROF_REGION_STACK,                 /* the main thread's */
    PPROF_REGION_DATA,                  /* of the program and its libraries */
    PPROF_REGION_OTHER,
    PPROF_REGION_CLASSES
};

/* One request, as the guest tells it; SIZE 0: what is mapped around START. */
struct pprof_region {
    uintptr_t  start;
    uint64_t   size;
    uint64_t   site;                    /* 0: our own */
    uint32_t   weight;
    uint32_t   age;                     /* more is younger */
};

struct pprof_region_sum {
    double  objects;
    double  space;                      /* bytes that are mapped and may be
                                           used */
    double  resident;                   /* bytes in memory */
};


/*
 * Lays N REGIONS, which are reordered, over the memory of TARGET: adds to
 * SITES[site], of which there are NSITES, and to CLASSES, of which there are
 * PPROF_REGION_CLASSES.  *COUNTED says whether what is in memory could be
 * told; ARENAS whether libc's malloc may have made some.
 *
 * Returns 0, or -1 with errno: ENOMEM, or as open() of its maps says.
 */
int pprof_regions_add(struct pprof_target *target,
    struct pprof_region *regions, size_t n, struct pprof_region_sum *sites,
    size_t nsites, struct pprof_region_sum *classes, bool arenas,
    bool *counted);

#endif
