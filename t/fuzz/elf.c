/*
 * Feeds anything to the readers of ELF files: headers, notes, symbol tables,
 * frame descriptions, stubs; as a file, and as an object in memory.
 *
 * Fuzzes: agent/symbols/elf.c agent/symbols/fde.c agent/symbols/plt.c
 */

#include <stdlib.h>
#include <string.h>

#include "symbols/elf.h"
#include "symbols/fde.h"
#include "symbols/plt.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static volatile size_t  sink;


static void
ask(const struct pprof_elf *e, bool dynamic)
{
    struct pprof_elf_symbols  s;
    uint64_t                  start, end;

    if (dynamic ? !pprof_elf_dynsym(e, &s) : !pprof_elf_symtab(e, &s)) {
        return;
    }

    for (size_t i = 0; i < s.count && i < 1000; i++) {
        const ElfW(Sym)  sym = pprof_elf_symbol(&s, i);

        sink += strlen(pprof_elf_symbol_name(&s, &sym));

        if (pprof_elf_code(e, &sym, &start, &end)
            && (sym.st_value < start || sym.st_value >= end))
        {
            abort();
        }

        if (pprof_fde_find(e, sym.st_value, &start, &end)
            && sym.st_value - start >= end)
        {
            abort();
        }
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pprof_elf  e, m;
    size_t            len;

    if (pprof_elf_parse(&e, data, size) != 0) {
        return 0;
    }

    const uint8_t  *id = pprof_elf_build_id(&e, &len);

    for (size_t i = 0; id != NULL && i < len; i++) {
        sink += id[i];
    }

    ask(&e, false);
    ask(&e, true);

    for (uint64_t vaddr = 0; vaddr < 0x400; vaddr += 8) {
        uint64_t     start;
        const char  *name = pprof_plt_find(&e, vaddr, &start);

        if (name != NULL && (name[0] == '\0' || start > vaddr)) {
            abort();
        }
    }

    pprof_elf_parse_memory(&m, data, size, size & 0x1000, size & 0x2000,
                           e.phdrs, e.nphdrs);
    ask(&m, true);

    return 0;
}
