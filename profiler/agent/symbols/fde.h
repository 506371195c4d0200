/*
 * Where a function begins, by .eh_frame_hdr's sorted table and the frame
 * description it leads to: true for static functions of stripped programs
 * too.
 *
 * Nothing of the image is trusted; see symbols/elf.h.
 *
 * Format: Linux Standard Base Core, "Exception Frames"; DWARF 5, 6.4.1.
 * Context: the serving thread.
 */

#ifndef PPROF_SYMBOLS_FDE_H
#define PPROF_SYMBOLS_FDE_H

#include "symbols/elf.h"


/*
 * Finds the function that the instruction at VADDR is part of.
 *
 * Returns whether there is one; *START is its first vaddr, *SIZE its length
 * in bytes.  The table must be in the form that GNU ld, gold and lld write
 * (sorted, 32 bits relative to the header); others are not searched.
 */
bool pprof_fde_find(const struct pprof_elf *e, uint64_t vaddr,
    uint64_t *start, uint64_t *size);

#endif
