/*
 * A profile's stacks as paths of names, the root first, sorted and with equal
 * ones added up: what folded text and flame graphs are made of.
 *
 * Owner: whoever declared the struct; pprof_paths_free() when done.
 * Context: the serving thread.
 */

#ifndef PPROF_ENCODE_PATHS_H
#define PPROF_ENCODE_PATHS_H

#include "encode/profile.h"
#include "symbols/maps.h"
#include "symbols/names.h"


struct pprof_path {
    const char  **names;    /* the root first; they belong to the struct
                               pprof_names, to the profile, or to TEXTS */
    size_t        depth;
    int64_t       value;    /* greater than 0 */
};


struct pprof_paths {
    struct pprof_path  *paths;      /* in order: those that begin alike stand
                                       together */
    size_t              npaths;
    const char        **names;      /* private: what the paths point into */
    char              **texts;      /* private: names with their lines */
    size_t              ntexts;
};


/* Returns the number of the value type that P shows first. */
size_t pprof_paths_column(const struct pprof_profile *p);

/*
 * Makes the paths of P's value number COLUMN.  Sums of 0 and less are left
 * out.  Where NAMES has lines, what was inlined has frames of its own, and a
 * name has its line behind it: "book (ledger.cc:17)".
 *
 * Returns 0, or -1 with errno ENOMEM or EINVAL (no such value); PATHS is then
 * empty.
 */
int pprof_paths_make(struct pprof_paths *paths, const struct pprof_profile *p,
    size_t column, const struct pprof_maps *maps, struct pprof_names *names);

/* Gives everything back. */
void pprof_paths_free(struct pprof_paths *paths);

#endif
