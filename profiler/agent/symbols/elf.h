/*
 * An ELF file's bytes, of this machine's class and byte order, read without
 * trusting any of them: every offset, size and count is checked against the
 * image before it is used, and nothing needs to be aligned.
 *
 * Two layouts: a file as it lies on disk, and an object as it lies in memory,
 * where everything stands at its vaddr and there are no sections.
 *
 * Owner: the bytes are the caller's and must outlive the struct, which holds
 * nothing to free.  Context: the serving thread.
 *
 * Format: System V ABI, chapters 4 and 5; elf(5).
 */

#ifndef PPROF_SYMBOLS_ELF_H
#define PPROF_SYMBOLS_ELF_H

#include <elf.h>
#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>


struct pprof_elf {
    const uint8_t  *data;
    size_t          size;       /* bytes */
    bool            memory;     /* laid out by vaddr, from BASE */
    uint64_t        base;       /* vaddr of data[0] in a memory image */
    uint64_t        bias;       /* what the loader added to a memory image's
                                   dynamic section; 0 when it added nothing */
    const uint8_t  *phdrs;
    size_t          nphdrs;
    const uint8_t  *shdrs;      /* NULL: no sections */
    size_t          nshdrs;
};


/* A symbol table, .symtab or .dynsym. */
struct pprof_elf_symbols {
    const uint8_t  *syms;       /* COUNT times sizeof(ElfW(Sym)) */
    size_t          count;
    const char     *strings;
    size_t          strings_size;
};


/*
 * Looks at SIZE bytes of DATA.
 *
 * Returns 0, or -1 when they are not an ELF executable or shared object of
 * this machine's kind, or when its tables do not lie within it.
 */
int pprof_elf_parse(struct pprof_elf *e, const void *data, size_t size);

/*
 * Looks at SIZE bytes of DATA, copied from memory at vaddr BASE, with NPHDRS
 * program headers PHDRS; BIAS is what the loader added to every address.
 */
void pprof_elf_parse_memory(struct pprof_elf *e, const void *data,
    size_t size, uint64_t base, uint64_t bias, const void *phdrs,
    size_t nphdrs);

/* Program header number I < nphdrs. */
ElfW(Phdr) pprof_elf_phdr(const struct pprof_elf *e, size_t i);

/* Section header number I < nshdrs. */
ElfW(Shdr) pprof_elf_shdr(const struct pprof_elf *e, size_t i);

/*
 * Returns the bytes that lie at VADDR when the object is loaded, and sets
 * *LEN to how many follow without a gap; NULL when there are none.
 */
const uint8_t *pprof_elf_at(const struct pprof_elf *e, uint64_t vaddr,
    size_t *len);

/*
 * Finds GNU's build id.  Returns it and sets *LEN, or NULL.
 */
const uint8_t *pprof_elf_build_id(const struct pprof_elf *e, size_t *len);

/*
 * Finds the section called NAME.  Returns its bytes in the file and sets
 * *LEN, or NULL: there is none, or it has none.
 */
const uint8_t *pprof_elf_section(const struct pprof_elf *e, const char *name,
    size_t *len);

/* Finds .symtab.  Returns whether it is there and not empty. */
bool pprof_elf_symtab(const struct pprof_elf *e, struct pprof_elf_symbols *s);

/* Finds .dynsym.  Returns whether it is there and not empty. */
bool pprof_elf_dynsym(const struct pprof_elf *e, struct pprof_elf_symbols *s);

/* Symbol number I < count. */
ElfW(Sym) pprof_elf_symbol(const struct pprof_elf_symbols *s, size_t i);

/* Symbol SYM's name, which ends within the table; "" when it does not. */
const char *pprof_elf_symbol_name(const struct pprof_elf_symbols *s,
    const ElfW(Sym) *sym);

/*
 * Says where code that SYM names may lie: the executable section of it, or,
 * without sections, the executable segment.
 *
 * Returns false when SYM does not name code.
 */
bool pprof_elf_code(const struct pprof_elf *e, const ElfW(Sym) *sym,
    uint64_t *start, uint64_t *end);

#endif
