/*
 * What a thread believes of its signal mask; see mask.c.
 *
 * GUEST ROOM.
 */

#ifndef PPROF_GUEST_MASK_H
#define PPROF_GUEST_MASK_H

#include <stdbool.h>


/*
 * Has the current thread blocked the sampler's signal, as far as it knows?
 *
 * Context: async-signal-safe.
 */
bool pprof_mask_believes(void);


/*
 * The current thread begins with what its creator believed.
 *
 * Context: thread-safe.
 */
void pprof_mask_inherit(bool blocked);

#endif
