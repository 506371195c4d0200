/*
 * threadcreate: who created threads.
 */

#include "kinds/events.h"


static const struct pprof_events_kind created = {
    .event = PPROF_EVENT_CREATE,
    .file = "threadcreate-delta",
    .env = "PPROF_THREADCREATE",
    .rate = 1,
};


const struct pprof_kind pprof_kind_threadcreate = {
    PPROF_KIND(threadcreate),
    .about = "who created threads (?seconds=, ?rate=1)",
    .detail = &created,
    PPROF_EVENTS_FUNCTIONS,
};
