/*
 * The functions of one symbol table, sorted by address, one each: what an
 * address is looked up in.  Once it is made, only the name of what is found is
 * read from the file.
 *
 * Owner: whoever declared the struct, zeroed; pprof_functions_free() when
 * done.  Context: any thread, one at a time.
 */

#ifndef PPROF_SYMBOLS_FUNCTIONS_H
#define PPROF_SYMBOLS_FUNCTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "symbols/elf.h"


struct pprof_functions {
    const struct pprof_elf         *elf;    /* whose sections the symbols
                                               mean */
    struct pprof_elf_symbols        symbols;
    uint64_t                        base;   /* vaddr of the first segment */
    struct pprof_functions_row     *rows;
    size_t                          nrows;
};


/*
 * Fills F from the symbols of ELF; both must outlive F.  Returns false when
 * memory ran out: F is then without functions.
 */
bool pprof_functions_make(struct pprof_functions *f,
    const struct pprof_elf *elf, const struct pprof_elf_symbols *symbols);

/*
 * Finds the function that covers VADDR; FDE_START is where the unwind
 * information says that it begins, or 0.  A symbol without size, as assembly
 * has them, reaches to the next symbol, but neither into another section nor
 * into another function.
 *
 * Returns its name and sets *START, or NULL.  The name lies in the file.
 */
const char *pprof_functions_find(const struct pprof_functions *f,
    uint64_t vaddr, uint64_t fde_start, uint64_t *start);

/* Bytes of memory that F has. */
size_t pprof_functions_bytes(const struct pprof_functions *f);

/* Gives everything back and leaves a zeroed struct. */
void pprof_functions_free(struct pprof_functions *f);

#endif
