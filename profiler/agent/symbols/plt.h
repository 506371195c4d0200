/*
 * What the linker's stubs in .plt lead to: calls between objects pass through
 * them, and no symbol names them.
 *
 * Nothing of the image is trusted; see symbols/elf.h.
 *
 * Format: System V ABI, AMD64 supplement, "Procedure Linkage Table"; the three
 * layouts of GNU ld (.plt, .plt.got, .plt.sec) and lld's.
 * Context: the serving thread.
 */

#ifndef PPROF_SYMBOLS_PLT_H
#define PPROF_SYMBOLS_PLT_H

#include "symbols/elf.h"


/*
 * Finds the function that the stub at VADDR jumps to.
 *
 * Returns its symbol's name, which lies in the image, and sets *START to the
 * stub's first vaddr; NULL when VADDR is not in a stub, or on a machine other
 * than x86-64.
 */
const char *pprof_plt_find(const struct pprof_elf *e, uint64_t vaddr,
    uint64_t *start);

#endif
