/*
 * Feeds anything to the index of function symbols: whatever the tables say,
 * it is sorted, has each address once, and finds what it holds.
 *
 * Fuzzes: agent/symbols/elf.c agent/symbols/fde.c agent/symbols/plt.c
 * Fuzzes: agent/symbols/demangle.c
 * Fuzzes: agent/symbols/maps.c agent/symbols/short.c agent/symbols/lines.c
 * Fuzzes: agent/symbols/image.c agent/symbols/perfmap.c agent/symbols/child.c
 * Fuzzes: agent/symbols/files.c agent/symbols/known.c
 */

#include "symbols/functions.c"
#include "symbols/names.c"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
check(const struct pprof_elf *e, const struct pprof_elf_symbols *s)
{
    struct pprof_functions  f;
    uint64_t                start;

    if (!pprof_functions_make(&f, e, s)) {
        pprof_functions_free(&f);
        return;
    }

    for (size_t i = 0; i < f.nrows; i++) {
        const uint64_t  vaddr = f.base + f.rows[i].start;

        if (i > 0 && f.rows[i - 1].start >= f.rows[i].start) {
            abort();
        }

        if (pprof_functions_find(&f, vaddr, 0, &start) != NULL
            && start > vaddr)
        {
            abort();
        }

        (void) pprof_functions_find(&f, vaddr + 100, vaddr, &start);
    }

    pprof_functions_free(&f);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pprof_elf          e;
    struct pprof_elf_symbols  s;

    if (pprof_elf_parse(&e, data, size) != 0) {
        return 0;
    }

    if (pprof_elf_symtab(&e, &s)) {
        check(&e, &s);
    }

    if (pprof_elf_dynsym(&e, &s)) {
        check(&e, &s);
    }

    return 0;
}
