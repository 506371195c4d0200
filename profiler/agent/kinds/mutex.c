/*
 * mutex: who held locks while others waited for them, and for how long they
 * did.
 */

#include "kinds/events.h"


static const struct pprof_events_kind held = {
    .event = PPROF_EVENT_MUTEX,
    .file = "mutex-delta",
    .text = "mutex",
    .env = "PPROF_MUTEX_RATE",
    .rate = 1,
};


const struct pprof_kind pprof_kind_mutex = {
    PPROF_KIND(mutex),
    .about = "who held locks that others waited for (?seconds=, ?rate=)",
    .detail = &held,
    PPROF_EVENTS_FUNCTIONS,
};
