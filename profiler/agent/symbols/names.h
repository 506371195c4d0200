/*
 * Names for addresses: from the ELF symbol tables of the loaded objects.
 *
 * One struct serves one answer: files are mapped and indexed when the first
 * address in them is asked for, and given back by pprof_names_free(); the
 * agent keeps them for the next answer (files.h).
 *
 * Owner: whoever declared the struct; pprof_names_free() when done.
 * Context: the serving thread; needs 512 KiB of stack (the C++ runtime's
 * demangler takes its memory there).
 */

#ifndef PPROF_SYMBOLS_NAMES_H
#define PPROF_SYMBOLS_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "symbols/files.h"
#include "symbols/lines.h"
#include "symbols/maps.h"
#include "symbols/perfmap.h"


/* What an address is called. */
struct pprof_name {
    const char  *name;          /* for people: demangled and short, or as
                                   long as it is where FULL is set */
    const char  *system_name;   /* as the symbol table spells it; for an
                                   address without symbol, NAME again */
    uintptr_t    start;         /* first address of the function; of the
                                   mapping, when that is all we know; or 0 */
};


struct pprof_names {
    const char                *debug_root;  /* "/usr/lib/debug"; tests set it */
    bool                       full;    /* names as a demangler writes them;
                                           before the first call */
    const struct pprof_lines  *lines;   /* for whoever encodes; NULL: nobody
                                           asked for them */

    bool                       may_load;    /* libraries may be loaded into
                                           this process, as into the agent */
    bool                       unnamed_jit; /* an address lay in code that is
                                           of no file, and had no name */

    /* private to names.c */
    struct pprof_perfmap       perfmap;     /* of what a JIT made */
    bool                       perfmap_known;
    struct pprof_file        **files;   /* one for each object, or NULL */
    size_t                     nfiles;
    struct pprof_known         known;   /* what is no file's */
    char                    *(*demangler)(const char *, char *, size_t *,
                                          int *);
    bool                       demangler_known;
};


/* Makes an empty cache.  Allocates nothing, so it cannot fail. */
void pprof_names_init(struct pprof_names *n);

/* Gives everything back, the names too, and leaves an empty cache. */
void pprof_names_free(struct pprof_names *n);

/*
 * Names the function that ADDR lies in.
 *
 * ADDR is an instruction's address; of a return address subtract 1 first.
 * MAPS is the snapshot that all calls with this N use.  What is tried, in
 * this order: the symbol that covers ADDR (.symtab, a separate debug file's,
 * .dynsym); the target of a stub of the linker's, as "memcpy@plt"; the
 * function's start in .eh_frame, as "libz.so.1+0x4a20", one name a function;
 * for code that is of no file, what the program's JIT wrote of it; the
 * mapping, as "[libz.so.1]"; "[unknown]".
 *
 * The answer is always filled in.  Returns 0 when a symbol gave it, 1 when
 * it was made up, and -1 with errno ENOMEM when memory ran out: the answer
 * is then "[unknown]".
 *
 * Owner: the strings belong to N and live until pprof_names_free().
 */
int pprof_names_find(struct pprof_names *n, const struct pprof_maps *maps,
    uintptr_t addr, struct pprof_name *out);

/*
 * Names a function by its symbol, as pprof-lines tells it of what was inlined:
 * demangled, if it is mangled.  SYMBOL is known by its address: the same
 * pointer is the same name.
 *
 * Returns 0, or -1 with errno ENOMEM, as above.
 */
int pprof_names_symbol(struct pprof_names *n, const struct pprof_maps *maps,
    const char *symbol, struct pprof_name *out);

/* A function at an address, with its place in the source. */
struct pprof_place {
    struct pprof_name  name;
    const char        *file;    /* NULL: unknown; belongs to N's lines */
    int                line;    /* 0: unknown */
    int                start;   /* the function's own line; 0: unknown */
};

/*
 * Tells the I-th function at ADDR, the innermost first: where N has lines, what
 * was inlined there, and always the function that ADDR lies in, the last one.
 *
 *     for (i = 0; (rc = pprof_names_place(n, maps, addr, i, &p)) == 1; i++)
 *
 * Returns 1, 0 when there is no I-th, or -1 with errno ENOMEM; P is then as
 * pprof_names_find() leaves it.
 *
 * Owner: as pprof_names_find().
 */
int pprof_names_place(struct pprof_names *n, const struct pprof_maps *maps,
    uintptr_t addr, size_t i, struct pprof_place *p);

#endif
