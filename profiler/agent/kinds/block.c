/*
 * block: who waited for locks, conditions, semaphores and threads, and for
 * how long.
 */

#include "kinds/events.h"


static const struct pprof_events_kind waited = {
    .event = PPROF_EVENT_BLOCK,
    .file = "block-delta",
    .text = "contention",
    .env = "PPROF_BLOCK_RATE",
    .rate = 10000,              /* ns: shorter ones are sampled */
};


const struct pprof_kind pprof_kind_block = {
    PPROF_KIND(block),
    .about = "who waited, for what and how long (?seconds=, ?rate=)",
    .detail = &waited,
    PPROF_EVENTS_FUNCTIONS,
};
