/*
 * Feeds anything to the reader of .eh_frame_hdr and .eh_frame: the input is
 * both, the header at its start, in an object that is right otherwise.  The
 * first two bytes say what is looked for.
 *
 * Fuzzes: agent/symbols/elf.c agent/symbols/fde.c
 */

#include <stdlib.h>
#include <string.h>

#include "symbols/fde.h"


enum {
    VADDR = 0x1000
};


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pprof_elf  e;
    uint64_t          start, len;

    if (size < 2) {
        return 0;
    }

    const uint64_t  wanted = data[0] | data[1] << 8;

    data += 2;
    size -= 2;

    const ElfW(Phdr)  phdrs[2] = {
        {.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = VADDR,
         .p_filesz = size, .p_memsz = size},
        {.p_type = PT_GNU_EH_FRAME, .p_vaddr = VADDR, .p_filesz = size,
         .p_memsz = size}
    };

    pprof_elf_parse_memory(&e, data, size, VADDR, 0, phdrs, 2);

    for (uint64_t vaddr = wanted; vaddr < wanted + 8; vaddr++) {
        if (pprof_fde_find(&e, vaddr, &start, &len) && vaddr - start >= len) {
            abort();
        }
    }

    return 0;
}
