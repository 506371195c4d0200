/*
 * What the kinds remember of one target between requests.
 *
 * Owner: the target; pprof_kinds_open() makes it.  All of it is under LOCK,
 * the capture lock.
 */

#ifndef PPROF_KINDS_STATE_H
#define PPROF_KINDS_STATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "guest/events.h"


struct pprof_engine;
struct pprof_route_span;

struct pprof_kinds {
    pthread_mutex_t  lock;
    unsigned         tables;            /* users of the tables of code */

    _Atomic bool     dumping;           /* threads.c: one dump at a time; not
                                           under LOCK */

    /* profile.c: the one profile that can run */
    struct {
        const struct pprof_engine  *engine;     /* NULL: none */
        int64_t  begun_nanos;           /* CLOCK_MONOTONIC */
        int64_t  until_nanos;           /* the same */
        int64_t  wall_nanos;            /* when it began, since the epoch */
        int64_t  period;                /* ns; of profile_sampler.c */
        bool     wall;
        struct pprof_route_span  *routes;   /* told by route; NULL: not */
    } profile;

    uint64_t  requests_until;           /* requests.c: CLOCK_MONOTONIC, ns;
                                           0: they are not looked at */

    /* events.c: who wants an event recorded */
    struct {
        uint64_t  rate;                 /* for good; 0: nobody */
        uint64_t  window;               /* the rate of those who wait */
        unsigned  windows;
        bool      on;
        bool      ever;                 /* there are sums */
    } events[PPROF_EVENTS];

    /* alloc_sample.c */
    struct {
        uint64_t  period;               /* in force, or the last that was */
        uint64_t  wanted;               /* for good; 0: nobody */
        unsigned  windows;
        bool      on;
    } allocs;

    char  build_id[160];                /* of the program; "" when none */
};

#endif
