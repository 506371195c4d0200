/*
 * Feeds anything to the index of function symbols: whatever the tables say,
 * it is sorted, has each address once, and finds what it holds.
 *
 * Fuzzes: agent/symbols/elf.c agent/symbols/fde.c agent/symbols/plt.c
 * Fuzzes: agent/symbols/demangle.c
 * Fuzzes: agent/symbols/maps.c agent/symbols/short.c agent/symbols/lines.c
 * Fuzzes: agent/symbols/image.c agent/symbols/perfmap.c agent/symbols/child.c
 */

#include "symbols/names.c"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
check(const struct pprof_elf *e, const struct pprof_elf_symbols *s)
{
    struct table  t = {.elf = e, .symbols = *s};
    ElfW(Sym)     sym;

    if (!table_build(&t)) {
        return;
    }

    for (size_t i = 0; i < t.nrows; i++) {
        const uint64_t  vaddr = t.base + t.rows[i].start;

        if (i > 0 && t.rows[i - 1].start >= t.rows[i].start) {
            abort();
        }

        if (table_find(&t, vaddr, 0, &sym) && sym.st_value > vaddr) {
            abort();
        }

        (void) table_find(&t, vaddr + 100, vaddr, &sym);
    }

    free(t.rows);
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
