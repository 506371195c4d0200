#include "symbols/elf.h"

#include <string.h>


enum {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    OUR_DATA  = ELFDATA2LSB,
#else
    OUR_DATA  = ELFDATA2MSB,
#endif
    OUR_CLASS = sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32
};


/* OFFSET..OFFSET + LEN of the image, or NULL when it is not all there. */
static const uint8_t *
slice(const struct pprof_elf *e, uint64_t offset, uint64_t len)
{
    if (offset > e->size || len > e->size - offset) {
        return NULL;
    }

    return e->data + offset;
}


int
pprof_elf_parse(struct pprof_elf *e, const void *data, size_t size)
{
    *e = (struct pprof_elf) {.data = data, .size = size};

    ElfW(Ehdr)  eh;

    if (size < sizeof(eh)) {
        return -1;
    }

    memcpy(&eh, data, sizeof(eh));

    if (memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0
        || eh.e_ident[EI_CLASS] != OUR_CLASS
        || eh.e_ident[EI_DATA] != OUR_DATA
        || (eh.e_type != ET_EXEC && eh.e_type != ET_DYN))
    {
        return -1;
    }

    if (eh.e_phnum != 0) {
        if (eh.e_phentsize != sizeof(ElfW(Phdr))) {
            return -1;
        }

        e->phdrs = slice(e, eh.e_phoff, (uint64_t) eh.e_phnum
                                        * sizeof(ElfW(Phdr)));
        e->nphdrs = eh.e_phnum;

        if (e->phdrs == NULL) {
            return -1;
        }
    }

    if (eh.e_shoff == 0 || eh.e_shentsize != sizeof(ElfW(Shdr))) {
        return 0;
    }

    const uint8_t  *first = slice(e, eh.e_shoff, sizeof(ElfW(Shdr)));
    uint64_t        count = eh.e_shnum;

    if (first != NULL && count == 0) {
        ElfW(Shdr)  sh;

        /* more sections than fit into e_shnum: section 0 has their number */
        memcpy(&sh, first, sizeof(sh));
        count = sh.sh_size;
    }

    if (first == NULL
        || count > (e->size - eh.e_shoff) / sizeof(ElfW(Shdr)))
    {
        /* cut off: the segments may still be of use */
        return 0;
    }

    e->shdrs = first;
    e->nshdrs = count;

    return 0;
}


void
pprof_elf_parse_memory(struct pprof_elf *e, const void *data, size_t size,
    uint64_t base, uint64_t bias, const void *phdrs, size_t nphdrs)
{
    *e = (struct pprof_elf) {
        .data = data,
        .size = size,
        .memory = true,
        .base = base,
        .bias = bias,
        .phdrs = phdrs,
        .nphdrs = nphdrs
    };
}


ElfW(Phdr)
pprof_elf_phdr(const struct pprof_elf *e, size_t i)
{
    ElfW(Phdr)  ph;

    memcpy(&ph, e->phdrs + i * sizeof(ph), sizeof(ph));

    return ph;
}


ElfW(Shdr)
pprof_elf_shdr(const struct pprof_elf *e, size_t i)
{
    ElfW(Shdr)  sh;

    memcpy(&sh, e->shdrs + i * sizeof(sh), sizeof(sh));

    return sh;
}


const uint8_t *
pprof_elf_section(const struct pprof_elf *e, const char *name, size_t *len)
{
    ElfW(Ehdr)      eh;
    const size_t    size = strlen(name) + 1;

    if (e->shdrs == NULL || e->memory || e->size < sizeof(eh)) {
        return NULL;
    }

    memcpy(&eh, e->data, sizeof(eh));

    /* what does not fit is in the link of section 0 */
    const size_t  at = eh.e_shstrndx == SHN_XINDEX && e->nshdrs > 0
                       ? pprof_elf_shdr(e, 0).sh_link : eh.e_shstrndx;

    if (at >= e->nshdrs) {
        return NULL;
    }

    const ElfW(Shdr)  names = pprof_elf_shdr(e, at);
    const uint8_t    *text = slice(e, names.sh_offset, names.sh_size);

    for (size_t i = 1; text != NULL && i < e->nshdrs; i++) {
        const ElfW(Shdr)  sh = pprof_elf_shdr(e, i);

        if (sh.sh_type != SHT_NOBITS && sh.sh_name < names.sh_size
            && names.sh_size - sh.sh_name >= size
            && memcmp(text + sh.sh_name, name, size) == 0)
        {
            *len = sh.sh_size;
            return slice(e, sh.sh_offset, sh.sh_size);
        }
    }

    return NULL;
}


const uint8_t *
pprof_elf_at(const struct pprof_elf *e, uint64_t vaddr, size_t *len)
{
    for (size_t i = 0; i < e->nphdrs; i++) {
        const ElfW(Phdr)  ph = pprof_elf_phdr(e, i);

        if (ph.p_type != PT_LOAD || vaddr < ph.p_vaddr
            || vaddr - ph.p_vaddr >= ph.p_filesz)
        {
            continue;
        }

        const uint64_t  into = vaddr - ph.p_vaddr;
        uint64_t        offset;

        if (e->memory) {
            if (vaddr < e->base) {
                continue;
            }

            offset = vaddr - e->base;

        } else if (__builtin_add_overflow(ph.p_offset, into, &offset)) {
            continue;
        }

        if (offset >= e->size) {
            continue;
        }

        const uint64_t  left = e->size - offset;
        const uint64_t  in_segment = ph.p_filesz - into;

        *len = in_segment < left ? in_segment : left;

        return e->data + offset;
    }

    return NULL;
}


/* Walks LEN bytes of notes. */
static const uint8_t *
note_build_id(const uint8_t *notes, size_t len, size_t *id_len)
{
    while (len >= sizeof(ElfW(Nhdr))) {
        ElfW(Nhdr)  note;

        memcpy(&note, notes, sizeof(note));
        notes += sizeof(note);
        len -= sizeof(note);

        const uint64_t  name_size = ((uint64_t) note.n_namesz + 3) & ~3ull;
        const uint64_t  desc_size = ((uint64_t) note.n_descsz + 3) & ~3ull;

        if (name_size + desc_size > len) {
            return NULL;
        }

        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4
            && note.n_descsz != 0 && memcmp(notes, "GNU", 4) == 0)
        {
            *id_len = note.n_descsz;
            return notes + name_size;
        }

        notes += name_size + desc_size;
        len -= name_size + desc_size;
    }

    return NULL;
}


const uint8_t *
pprof_elf_build_id(const struct pprof_elf *e, size_t *len)
{
    for (size_t i = 0; i < e->nshdrs; i++) {
        const ElfW(Shdr)  sh = pprof_elf_shdr(e, i);

        if (sh.sh_type != SHT_NOTE) {
            continue;
        }

        const uint8_t  *notes = slice(e, sh.sh_offset, sh.sh_size);
        const uint8_t  *id = notes == NULL
                             ? NULL : note_build_id(notes, sh.sh_size, len);

        if (id != NULL) {
            return id;
        }
    }

    /* not from a debug file's segments: their offsets are the program's */

    for (size_t i = 0; i < e->nphdrs && e->shdrs == NULL; i++) {
        const ElfW(Phdr)  ph = pprof_elf_phdr(e, i);
        size_t            n;

        if (ph.p_type != PT_NOTE) {
            continue;
        }

        const uint8_t  *notes = pprof_elf_at(e, ph.p_vaddr, &n);

        if (notes == NULL) {
            continue;
        }

        const uint8_t  *id = note_build_id(notes,
                                           n < ph.p_filesz ? n : ph.p_filesz,
                                           len);

        if (id != NULL) {
            return id;
        }
    }

    return NULL;
}


/* The table of section type TYPE. */
static bool
table_by_section(const struct pprof_elf *e, uint32_t type,
    struct pprof_elf_symbols *s)
{
    for (size_t i = 0; i < e->nshdrs; i++) {
        const ElfW(Shdr)  sh = pprof_elf_shdr(e, i);

        if (sh.sh_type != type || sh.sh_entsize != sizeof(ElfW(Sym))
            || sh.sh_link >= e->nshdrs)
        {
            continue;
        }

        const ElfW(Shdr)  names = pprof_elf_shdr(e, sh.sh_link);

        if (names.sh_type != SHT_STRTAB) {
            continue;
        }

        s->syms = slice(e, sh.sh_offset, sh.sh_size);
        s->count = sh.sh_size / sizeof(ElfW(Sym));
        s->strings = (const char *) slice(e, names.sh_offset, names.sh_size);
        s->strings_size = names.sh_size;

        if (s->syms != NULL && s->strings != NULL && s->count != 0) {
            return true;
        }
    }

    return false;
}


/*
 * How many symbols a GNU hash table knows of: the highest number that a
 * bucket leads to, at the end of its chain.
 */
static uint64_t
count_by_gnu_hash(const struct pprof_elf *e, uint64_t vaddr)
{
    size_t          len;
    const uint8_t  *table = pprof_elf_at(e, vaddr, &len);
    uint32_t        head[4];    /* buckets, first symbol, bloom words, shift */

    if (table == NULL || len < sizeof(head)) {
        return 0;
    }

    memcpy(head, table, sizeof(head));

    const uint64_t  buckets = sizeof(head) + (uint64_t) head[2]
                                             * sizeof(ElfW(Addr));
    const uint64_t  chains = buckets + (uint64_t) head[0] * 4;
    uint32_t        last = 0;

    if (chains > len) {
        return 0;
    }

    for (uint32_t i = 0; i < head[0]; i++) {
        uint32_t  n;

        memcpy(&n, table + buckets + (uint64_t) i * 4, 4);
        last = n > last ? n : last;
    }

    if (last < head[1]) {
        return 0;
    }

    for (uint64_t n = last; /* void */; n++) {
        const uint64_t  at = chains + (n - head[1]) * 4;
        uint32_t        hash;

        if (at > len || len - at < 4) {
            return n;
        }

        memcpy(&hash, table + at, 4);

        if (hash & 1) {
            return n + 1;
        }
    }
}


static uint64_t
count_by_hash(const struct pprof_elf *e, uint64_t vaddr)
{
    size_t          len;
    const uint8_t  *table = pprof_elf_at(e, vaddr, &len);
    uint32_t        head[2];    /* buckets, chains: as many as symbols */

    if (table == NULL || len < sizeof(head)) {
        return 0;
    }

    memcpy(head, table, sizeof(head));

    return head[1];
}


/* The table that the dynamic section speaks of; there are no sections. */
static bool
table_by_dynamic(const struct pprof_elf *e, struct pprof_elf_symbols *s)
{
    uint64_t  symtab = 0, strtab = 0, strsz = 0, hash = 0, gnu_hash = 0;

    for (size_t i = 0; i < e->nphdrs; i++) {
        const ElfW(Phdr)  ph = pprof_elf_phdr(e, i);
        size_t            len;

        if (ph.p_type != PT_DYNAMIC) {
            continue;
        }

        const uint8_t  *at = pprof_elf_at(e, ph.p_vaddr, &len);

        if (at == NULL) {
            return false;
        }

        for (/* void */; len >= sizeof(ElfW(Dyn)); len -= sizeof(ElfW(Dyn))) {
            ElfW(Dyn)  d;

            memcpy(&d, at, sizeof(d));
            at += sizeof(d);

            if (d.d_tag == DT_NULL) {
                break;
            }

            /* glibc writes addresses where the file had vaddrs, mostly */
            const uint64_t  vaddr = d.d_un.d_ptr >= e->bias
                                    ? d.d_un.d_ptr - e->bias : d.d_un.d_ptr;

            switch (d.d_tag) {

            case DT_SYMTAB:
                symtab = vaddr;
                break;

            case DT_STRTAB:
                strtab = vaddr;
                break;

            case DT_STRSZ:
                strsz = d.d_un.d_val;
                break;

            case DT_HASH:
                hash = vaddr;
                break;

            case DT_GNU_HASH:
                gnu_hash = vaddr;
                break;
            }
        }
    }

    if (symtab == 0 || strtab == 0) {
        return false;
    }

    uint64_t  count = hash != 0 ? count_by_hash(e, hash) : 0;

    if (count == 0 && gnu_hash != 0) {
        count = count_by_gnu_hash(e, gnu_hash);
    }

    size_t  syms_len, strings_len;

    s->syms = pprof_elf_at(e, symtab, &syms_len);
    s->strings = (const char *) pprof_elf_at(e, strtab, &strings_len);

    if (s->syms == NULL || s->strings == NULL) {
        return false;
    }

    s->count = syms_len / sizeof(ElfW(Sym));
    s->count = count < s->count ? count : s->count;
    s->strings_size = strsz < strings_len ? strsz : strings_len;

    return s->count != 0;
}


bool
pprof_elf_symtab(const struct pprof_elf *e, struct pprof_elf_symbols *s)
{
    return table_by_section(e, SHT_SYMTAB, s);
}


bool
pprof_elf_dynsym(const struct pprof_elf *e, struct pprof_elf_symbols *s)
{
    return table_by_section(e, SHT_DYNSYM, s)
           || (e->shdrs == NULL && table_by_dynamic(e, s));
}


ElfW(Sym)
pprof_elf_symbol(const struct pprof_elf_symbols *s, size_t i)
{
    ElfW(Sym)  sym;

    memcpy(&sym, s->syms + i * sizeof(sym), sizeof(sym));

    return sym;
}


const char *
pprof_elf_symbol_name(const struct pprof_elf_symbols *s,
    const ElfW(Sym) *sym)
{
    if (sym->st_name >= s->strings_size
        || memchr(s->strings + sym->st_name, '\0',
                  s->strings_size - sym->st_name)
           == NULL)
    {
        return "";
    }

    return s->strings + sym->st_name;
}


bool
pprof_elf_code(const struct pprof_elf *e, const ElfW(Sym) *sym,
    uint64_t *start, uint64_t *end)
{
    const unsigned  type = sym->st_info & 0xf;

    if ((type != STT_FUNC && type != STT_GNU_IFUNC && type != STT_NOTYPE)
        || sym->st_shndx == SHN_UNDEF || sym->st_shndx == SHN_ABS
        || sym->st_shndx == SHN_COMMON)
    {
        return false;
    }

    if (sym->st_shndx < e->nshdrs) {
        const ElfW(Shdr)  sh = pprof_elf_shdr(e, sym->st_shndx);

        *start = sh.sh_addr;

        return (sh.sh_flags & SHF_EXECINSTR) != 0
               && !__builtin_add_overflow(sh.sh_addr, sh.sh_size, end)
               && sym->st_value >= *start && sym->st_value < *end;
    }

    for (size_t i = 0; i < e->nphdrs; i++) {
        const ElfW(Phdr)  ph = pprof_elf_phdr(e, i);

        if (ph.p_type == PT_LOAD && (ph.p_flags & PF_X)
            && sym->st_value >= ph.p_vaddr
            && sym->st_value - ph.p_vaddr < ph.p_memsz)
        {
            *start = ph.p_vaddr;

            return !__builtin_add_overflow(ph.p_vaddr, ph.p_memsz, end);
        }
    }

    return false;
}
