/*
 * threadcreate: who created threads.
 */

#include "kinds/events.h"


static const struct pprof_events_kind created = {
    .event = PPROF_EVENT_CREATE,
    .name = "threadcreate",
    .file = "threadcreate-delta",
    .env = "PPROF_THREADCREATE",
    .rate = 1,
};

PPROF_EVENTS_KIND(created)


const struct pprof_kind pprof_kind_threadcreate = {
    .name = "threadcreate",
    .about = "who created threads (?seconds=, ?rate=1)",
    .flags = PPROF_KIND_DELTA,
    .prepare = prepare,
    .release = release,
    .child = child,
    .begin = begin,
    .end = end,
    .count = count,
};
