/*
 * The process's last day: a point a second for 15 minutes, one every 10 s for
 * two hours, one a minute for a day.
 *
 * Concurrency: none; it belongs to the serving thread.
 *
 * Bound: struct pprof_history, below 200 KB, for as long as a listener runs.
 * Memory that was never written is not resident: an hour's is 75 KB.
 */

#ifndef PPROF_CHARTS_HISTORY_H
#define PPROF_CHARTS_HISTORY_H

#include <stdint.h>

#include "charts/process.h"


enum {
    PPROF_HISTORY_RINGS   = 3,
    PPROF_HISTORY_SECONDS = 900,    /* points, of 1 s */
    PPROF_HISTORY_TENS    = 720,    /* of 10 s */
    PPROF_HISTORY_MINUTES = 1440    /* of 60 s */
};


/* A number that cannot be had is UINT32_MAX; a larger one is 1 less. */
struct pprof_point {
    uint32_t  time;             /* unix seconds, when it was read */
    uint32_t  rss;              /* KiB, as are the next three */
    uint32_t  heap_in_use;
    uint32_t  heap_held;
    uint32_t  unmapped;
    uint32_t  scavenges;
    uint32_t  threads;
    uint32_t  fds;
    float     user;             /* CPU seconds a second since the point */
    float     sys;              /* before; below 0: there is none before */
    uint32_t  counts[PPROF_COUNTS];
};


struct pprof_ring {
    struct pprof_point  *points;
    uint32_t             cap;       /* points */
    uint32_t             step;      /* seconds */
    uint32_t             begin;     /* the oldest */
    uint32_t             len;       /* points in use */
    uint64_t             mono_nanos;    /* of the youngest, as are the next */
    uint64_t             user_nanos;
    uint64_t             sys_nanos;
};


/* Owner: whoever declared it; nothing is to be freed.  Points into itself. */
struct pprof_history {
    struct pprof_ring   rings[PPROF_HISTORY_RINGS];     /* finest first */
    struct pprof_point  seconds[PPROF_HISTORY_SECONDS];
    struct pprof_point  tens[PPROF_HISTORY_TENS];
    struct pprof_point  minutes[PPROF_HISTORY_MINUTES];
};

_Static_assert(sizeof(struct pprof_history) < 200000, "docs/profiles.md");


/* Empties H, all of whose bytes are zero. */
void pprof_history_init(struct pprof_history *h);

/*
 * Adds R, read at TIME, unix seconds.  A second that is there already is left
 * as it was.  When the clock was set back, what came after TIME is forgotten,
 * with all else: it would be the future.
 */
void pprof_history_add(struct pprof_history *h, uint32_t time,
    const struct pprof_reading *r);

/*
 * Calls EACH for the points after SINCE, unix seconds, the oldest first: for
 * every time those of the finest ring that reaches back so far.
 */
void pprof_history_walk(const struct pprof_history *h, uint32_t since,
    void (*each)(const struct pprof_point *point, void *arg), void *arg);

/* Returns the time of the youngest point; 0: there is none. */
uint32_t pprof_history_last(const struct pprof_history *h);

#endif
