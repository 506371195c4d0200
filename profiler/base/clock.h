/*
 * A clock, in nanoseconds.
 *
 * Context: async-signal-safe.
 */

#ifndef PPROF_BASE_CLOCK_H
#define PPROF_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>


enum { PPROF_SECOND = 1000000000 };     /* ns */


static inline uint64_t
pprof_clock_nsec(const struct timespec *ts)
{
    return (uint64_t) ts->tv_sec * PPROF_SECOND + (uint64_t) ts->tv_nsec;
}


static inline struct timespec
pprof_clock_spec(uint64_t nsec)
{
    return (struct timespec) { (time_t) (nsec / PPROF_SECOND),
                               (long) (nsec % PPROF_SECOND) };
}


/* What CLOCK says; 0 when there is no such clock. */
static inline uint64_t
pprof_clock(clockid_t clock)
{
    struct timespec ts;

    return clock_gettime(clock, &ts) == 0 ? pprof_clock_nsec(&ts) : 0;
}

#endif
