/*
 * The row of one address, read from .eh_frame as it is in memory: for stacks
 * that are walked now and then, before there are tables or without any.
 *
 * GUEST ROOM.  See stackmap.h.  The loader is asked by _dl_find_object(), which
 * takes no lock and is made for signal handlers; without one (glibc before
 * 2.35), nothing is found.
 *
 * What is read belongs to objects that are on the stack of the thread that
 * reads, so nobody unloads them.
 *
 * Bound: LOOKS rows are remembered; the last of those that share a place.
 */

#ifndef PPROF_GUEST_CFI_LOOK_H
#define PPROF_GUEST_CFI_LOOK_H

#include <stdint.h>

#include "guest/cfi.h"
#include "guest/cfi_rows.h"


enum pprof_cfi_found {
    PPROF_CFI_NO_MODULE,                /* the address is in no object */
    PPROF_CFI_NO_ROW,                   /* it is, and in no function */
    PPROF_CFI_ROW
};

/* What a look needs and a small stack does not have.  Owner: the caller. */
struct pprof_cfi_room {
    struct pprof_cfi_rules  remembered[PPROF_CFI_REMEMBERED];
    struct pprof_cfi_cie    cie;

    /* the object of the last look; END 0 before the first of a walk */
    uintptr_t               start;
    uintptr_t               end;
    const uint8_t          *header;     /* NULL: it has none */
};


/*
 * Finds the row of the code at AT; its pc means nothing.
 *
 * Context: async-signal-safe.
 */
enum pprof_cfi_found pprof_cfi_look(uintptr_t at, struct pprof_cfi_row *row,
    struct pprof_cfi_room *room);

#endif
