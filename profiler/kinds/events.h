/*
 * What threadcreate, mutex and block have in common: capture/events counts
 * while it is told to, and they show its sums.
 *
 * Nothing is recorded unless somebody wants it: the kind's environment
 * variable from the start on, ?rate= from then on, or ?seconds= for that
 * while.
 *
 * Context: as kind.h says.
 */

#ifndef PPROF_KINDS_EVENTS_H
#define PPROF_KINDS_EVENTS_H

#include "capture/events.h"
#include "kinds/kind.h"


/* One of the three.  Static. */
struct pprof_events_kind {
    enum pprof_event  event;
    const char       *name;
    const char       *file;         /* "mutex-delta" */
    const char       *text;         /* Go's name in the text */
    const char       *env;          /* names the variable of the rate */
    uint64_t          rate;         /* of a window; nobody asked otherwise */
    bool              has_delay;
};


void pprof_events_prepare(const struct pprof_events_kind *kind);
void pprof_events_release(const struct pprof_events_kind *kind);
void pprof_events_forked(const struct pprof_events_kind *kind);
int pprof_events_begin(const struct pprof_events_kind *kind,
    struct pprof_job *job);
void pprof_events_end(const struct pprof_events_kind *kind,
    struct pprof_job *job, bool gone);


/* As struct pprof_kind's count(): -1 when it never recorded. */
int pprof_events_count(const struct pprof_events_kind *kind, size_t *n);


/* The functions of a kind, bound to its struct. */
#define PPROF_EVENTS_KIND(kind)                                               \
                                                                              \
    static void                                                               \
    prepare(void)                                                             \
    {                                                                         \
        pprof_events_prepare(&kind);                                          \
    }                                                                         \
                                                                              \
    static void                                                               \
    release(void)                                                             \
    {                                                                         \
        pprof_events_release(&kind);                                          \
    }                                                                         \
                                                                              \
    static void                                                               \
    child(void)                                                               \
    {                                                                         \
        pprof_events_forked(&kind);                                           \
    }                                                                         \
                                                                              \
    static int                                                                \
    begin(struct pprof_job *job)                                              \
    {                                                                         \
        return pprof_events_begin(&kind, job);                                \
    }                                                                         \
                                                                              \
    static void                                                               \
    end(struct pprof_job *job, bool gone)                                     \
    {                                                                         \
        pprof_events_end(&kind, job, gone);                                   \
    }                                                                         \
                                                                              \
    static int                                                                \
    count(size_t *n)                                                          \
    {                                                                         \
        return pprof_events_count(&kind, n);                                  \
    }

#endif
