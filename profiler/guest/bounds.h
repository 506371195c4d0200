/*
 * Where the current thread's stack ends.
 *
 * GUEST ROOM.  Written once by pprof_unwind_init(), read by the walker.
 */

#ifndef PPROF_GUEST_BOUNDS_H
#define PPROF_GUEST_BOUNDS_H

#include <stdbool.h>
#include <stdint.h>


extern struct pprof_bounds {
    uintptr_t  main_top;                /* above the main thread's frames */
    intptr_t   offset;                  /* of block, size, guard from the tp */
    bool       known;                   /* OFFSET is */
} pprof_bounds;

#endif
