/*
 * The functions in front of mmap() and its like; see mappings.c.  For
 * libpprof.so alone: elsewhere this is not there.
 *
 * GUEST ROOM.
 */

#ifndef PPROF_GUEST_MAPPINGS_H
#define PPROF_GUEST_MAPPINGS_H

#include <stdint.h>


/*
 * Finds the next definitions.  Returns where libc keeps the end of the heap
 * that brk() makes, or NULL.
 *
 * Context: constructor.
 */
const uintptr_t *pprof_mappings_begin(void);

#endif
