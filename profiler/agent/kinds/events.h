/*
 * What threadcreate, mutex and block have in common: guest/events counts
 * while it is told to, and they show its sums.  Each of them is a row.
 *
 * Nothing is recorded unless somebody wants it: the kind's environment
 * variable from the start on, ?rate= from then on, or ?seconds= for that
 * while.
 *
 * Context: as kind.h says.
 */

#ifndef PPROF_KINDS_EVENTS_H
#define PPROF_KINDS_EVENTS_H

#include "guest/events.h"
#include "kinds/kind.h"


/* The detail of a kind that is one of the three. */
struct pprof_events_kind {
    enum pprof_event  event;
    const char       *file;         /* "mutex-delta" */
    const char       *text;         /* Go's name in the text; NULL: events
                                       that take no time */
    const char       *env;          /* names the variable of the rate */
    uint64_t          rate;         /* of a window; nobody asked otherwise */
};


void pprof_events_prepare(const struct pprof_kind *kind,
    struct pprof_target *target);
void pprof_events_release(const struct pprof_kind *kind,
    struct pprof_target *target);
void pprof_events_forked(const struct pprof_kind *kind,
    struct pprof_target *target);
int pprof_events_begin(struct pprof_job *job);
void pprof_events_end(struct pprof_job *job, bool gone);

/* -1 when it never recorded. */
int pprof_events_count(const struct pprof_kind *kind,
    struct pprof_target *target, size_t *n);


/* What the three do, in their structs. */
#define PPROF_EVENTS_FUNCTIONS                                                \
    .prepare = pprof_events_prepare,                                          \
    .release = pprof_events_release,                                          \
    .child = pprof_events_forked,                                             \
    .begin = pprof_events_begin,                                              \
    .end = pprof_events_end,                                                  \
    .count = pprof_events_count

#endif
