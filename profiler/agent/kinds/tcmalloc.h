/*
 * What a target's tcmalloc tells, for the kinds that show it: guest/tcmalloc.h
 * asked by commands.
 *
 * Context: thread-safe.
 */

#ifndef PPROF_KINDS_TCMALLOC_H
#define PPROF_KINDS_TCMALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/target.h"
#include "guest/tcmalloc.h"
#include "kinds/kind.h"
#include "symbols/maps.h"


/* Rows of the target's.  Owner: whoever declared it; _free() when done. */
struct pprof_tcmalloc_read {
    struct pprof_reply  reply;      /* COUNT, VALUE bytes, TAG set aside */
    int                 period;     /* 0: no samples are taken */
    int64_t             since;      /* see guest/tcmalloc.h */
    uintptr_t           own;        /* an address within tcmalloc */
};


/*
 * Reads all rows of that SORT.  Returns 0, or -1 with the reason in ANSWER.
 */
int pprof_tcmalloc_read(struct pprof_target *target,
    enum pprof_tcmalloc_sort sort, struct pprof_tcmalloc_read *read,
    struct pprof_answer *answer);
void pprof_tcmalloc_read_free(struct pprof_tcmalloc_read *read);

/* Tells how many rows of live objects there are, or -1. */
int pprof_tcmalloc_count(struct pprof_target *target, size_t *n);

/*
 * Returns how many of PCS, DEPTH return addresses, the leaf first, are the
 * allocator's own, in which the address OWN lies.  At least one frame is left.
 */
size_t pprof_tcmalloc_skip(const struct pprof_maps *maps, uintptr_t own,
    const uintptr_t *pcs, size_t depth);

/* Why nothing is had of tcmalloc, by ERROR, an errno of guest/tcmalloc.h. */
void pprof_tcmalloc_refuse(struct pprof_answer *answer, int error);

/* Appends "# name = value" lines: tcmalloc's numeric properties. */
void pprof_tcmalloc_describe(struct pprof_target *target, struct pprof_buf *b);

#endif
