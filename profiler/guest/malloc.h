/*
 * The functions in front of the program's malloc(); see malloc.c.  For
 * libpprof.so alone: elsewhere this is not there.
 *
 * GUEST ROOM.
 */

#ifndef PPROF_GUEST_MALLOC_H
#define PPROF_GUEST_MALLOC_H

#include <stdbool.h>
#include <stdint.h>


/*
 * An address in the malloc() that ours goes on to.
 *
 * Context: async-signal-safe.
 */
uintptr_t pprof_malloc_next(void) __attribute__((weak));

/*
 * ON: malloc(), calloc() and realloc() go by way of pprof_allocator_pass(),
 * until it is switched off again.  Costs nothing while it is off.
 *
 * Context: async-signal-safe.
 */
void pprof_malloc_detour(bool on) __attribute__((weak));

#endif
