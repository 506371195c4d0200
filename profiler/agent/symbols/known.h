/*
 * Names that were made, by number: each is made once.
 *
 * Owner: whoever declared the struct, zeroed; pprof_known_free() when done.
 * Context: any thread, one at a time.
 */

#ifndef PPROF_SYMBOLS_KNOWN_H
#define PPROF_SYMBOLS_KNOWN_H

#include <stddef.h>
#include <stdint.h>


/* What a number is the number of. */
enum pprof_known_kind {
    PPROF_KNOWN_PLACE,      /* an address, for a name that stands elsewhere */
    PPROF_KNOWN_SYMBOL,     /* the start of what has the name */
    PPROF_KNOWN_PLT,
    PPROF_KNOWN_FDE,
    PPROF_KNOWN_MAP,
    PPROF_KNOWN_JIT,
    PPROF_KNOWN_TEXT        /* where the symbol's text is */
};


struct pprof_known_name {
    uint64_t               start;   /* the number that it was made for */
    enum pprof_known_kind  kind;
    const char            *name;
    char                   system_name[];   /* NAME follows when it is
                                               another */
};


struct pprof_known_slot {
    uint64_t                  number;
    enum pprof_known_kind     kind;
    struct pprof_known_name  *name;     /* NULL: an empty slot */
};


struct pprof_known {
    struct pprof_known_slot  *slots;
    size_t                    nslots;
    size_t                    nnames;   /* slots that are used */
};


/*
 * Returns where the name of NUMBER is, or is to be put by pprof_known_put();
 * NULL when memory ran out.
 */
struct pprof_known_slot *pprof_known_find(struct pprof_known *k,
    uint64_t number, enum pprof_known_kind kind);

/*
 * Puts NAME, from malloc(), into the empty SLOT that the last call of
 * pprof_known_find() returned.  K owns NAME, unless KIND is PPROF_KNOWN_PLACE.
 */
void pprof_known_put(struct pprof_known *k, struct pprof_known_slot *slot,
    struct pprof_known_name *name);

/* Gives everything back and leaves a zeroed struct. */
void pprof_known_free(struct pprof_known *k);

#endif
