/*
 * The sample of allocations: who wants it, and its sums.  allocs shows them,
 * heap has them as further columns while there are any.
 *
 * Context: as kind.h says.
 */

#ifndef PPROF_KINDS_ALLOC_SAMPLE_H
#define PPROF_KINDS_ALLOC_SAMPLE_H

#include "encode/profile.h"
#include "kinds/kind.h"
#include "symbols/maps.h"


enum { PPROF_ALLOC_PERIOD = 524288 };   /* bytes, unless asked otherwise */


/* For good from the environment's PPROF_ALLOC_SAMPLE on. */
void pprof_alloc_sample_prepare(const struct pprof_kind *kind,
    struct pprof_target *target);
void pprof_alloc_sample_release(const struct pprof_kind *kind,
    struct pprof_target *target);
void pprof_alloc_sample_child(const struct pprof_kind *kind,
    struct pprof_target *target);

/*
 * Samples for a window, or no more: every first call is followed by a second.
 * PERIOD in bytes; one that is in force already stays.
 *
 * Returns 0, or -1 when ANSWER has been given.
 */
int pprof_alloc_sample_begin(struct pprof_target *target, uint64_t period,
    struct pprof_answer *answer);
void pprof_alloc_sample_end(struct pprof_target *target);

/* Samples for good from now on, one in PERIOD bytes; 0: no more.  Returns as
   _begin() does. */
int pprof_alloc_sample_set(struct pprof_target *target, uint64_t period,
    struct pprof_answer *answer);

/* Returns the period of what was recorded, 0 when nothing ever was. */
uint64_t pprof_alloc_sample_period(struct pprof_target *target);

/*
 * Adds the sums, SIGN times, scaled, to P: its values number AT (objects) and
 * AT + 1 (bytes); SWAP: the other way round.  The others get 0.
 */
void pprof_alloc_sample_add(struct pprof_target *target,
    struct pprof_profile *p, const struct pprof_maps *maps, int sign,
    size_t at, bool swap);

#endif
