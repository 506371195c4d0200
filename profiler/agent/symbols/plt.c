#include "symbols/plt.h"

#include <string.h>


#if defined(__x86_64__)

enum {
    STUB_MAX = 16       /* bytes of one stub */
};


/*
 * The vaddr of the GOT slot through which the stub at VADDR, LEN bytes CODE,
 * jumps: "jmp *offset(%rip)", after an optional endbr64 and bnd.  0: none.
 */
static uint64_t
stub_slot(const uint8_t *code, size_t len, uint64_t vaddr)
{
    static const uint8_t  endbr64[] = {0xf3, 0x0f, 0x1e, 0xfa};
    size_t                at = 0;
    int32_t               offset;

    if (len >= sizeof(endbr64) && memcmp(code, endbr64, sizeof(endbr64)) == 0)
    {
        at = sizeof(endbr64);
    }

    if (at < len && code[at] == 0xf2) {
        at++;
    }

    if (len - at < 6 || code[at] != 0xff || code[at + 1] != 0x25) {
        return 0;
    }

    memcpy(&offset, code + at + 2, sizeof(offset));

    return vaddr + at + 6 + (uint64_t) (int64_t) offset;
}


/* The name of the symbol whose address the loader writes to SLOT. */
static const char *
slot_symbol(const struct pprof_elf *e, uint64_t slot)
{
    struct pprof_elf_symbols  s;

    if (!pprof_elf_dynsym(e, &s)) {
        return NULL;
    }

    for (size_t i = 0; i < e->nshdrs; i++) {
        const ElfW(Shdr)  sh = pprof_elf_shdr(e, i);

        if (sh.sh_type != SHT_RELA || sh.sh_entsize != sizeof(ElfW(Rela))
            || sh.sh_offset > e->size || sh.sh_size > e->size - sh.sh_offset)
        {
            continue;
        }

        const uint8_t  *at = e->data + sh.sh_offset;

        for (size_t n = sh.sh_size / sizeof(ElfW(Rela)); n > 0; n--) {
            ElfW(Rela)  rela;

            memcpy(&rela, at, sizeof(rela));
            at += sizeof(rela);

            const uint32_t  type = ELF64_R_TYPE(rela.r_info);
            const uint32_t  number = ELF64_R_SYM(rela.r_info);

            if (rela.r_offset == slot && number < s.count
                && (type == R_X86_64_JUMP_SLOT || type == R_X86_64_GLOB_DAT))
            {
                const ElfW(Sym)  sym = pprof_elf_symbol(&s, number);
                const char      *name = pprof_elf_symbol_name(&s, &sym);

                return name[0] == '\0' ? NULL : name;
            }
        }
    }

    return NULL;
}


const char *
pprof_plt_find(const struct pprof_elf *e, uint64_t vaddr, uint64_t *start)
{
    ElfW(Ehdr)  eh;

    if (e->memory || e->nshdrs == 0) {
        return NULL;
    }

    memcpy(&eh, e->data, sizeof(eh));

    if (eh.e_shstrndx >= e->nshdrs) {
        return NULL;
    }

    const ElfW(Shdr)  names = pprof_elf_shdr(e, eh.e_shstrndx);

    if (names.sh_offset > e->size || names.sh_size > e->size - names.sh_offset)
    {
        return NULL;
    }

    for (size_t i = 0; i < e->nshdrs; i++) {
        const ElfW(Shdr)  sh = pprof_elf_shdr(e, i);

        if (sh.sh_type != SHT_PROGBITS || vaddr < sh.sh_addr
            || vaddr - sh.sh_addr >= sh.sh_size
            || (sh.sh_flags & SHF_EXECINSTR) == 0)
        {
            continue;
        }

        /* ".plt", ".plt.got", ".plt.sec" */
        if (sh.sh_name > names.sh_size || names.sh_size - sh.sh_name < 4
            || memcmp(e->data + names.sh_offset + sh.sh_name, ".plt", 4) != 0)
        {
            return NULL;
        }

        const uint64_t  size = sh.sh_entsize >= 8 && sh.sh_entsize <= STUB_MAX
                               ? sh.sh_entsize : STUB_MAX;
        size_t          len;

        *start = vaddr - (vaddr - sh.sh_addr) % size;

        const uint8_t  *code = pprof_elf_at(e, *start, &len);
        const uint64_t  slot = code == NULL
                               ? 0 : stub_slot(code, len < size ? len : size,
                                               *start);

        return slot == 0 ? NULL : slot_symbol(e, slot);
    }

    return NULL;
}

#else

const char *
pprof_plt_find(const struct pprof_elf *e, uint64_t vaddr, uint64_t *start)
{
    (void) e;
    (void) vaddr;
    (void) start;

    return NULL;
}

#endif
