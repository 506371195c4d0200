/*
 * /debug/charts/data: what the process used, second by second.
 *
 * Concurrency: none; all of it belongs to the serving thread.
 */

#ifndef PPROF_CHARTS_CHARTS_H
#define PPROF_CHARTS_CHARTS_H

#include <stdint.h>

#include "kinds/kind.h"


struct pprof_charts;


/*
 * Makes an empty history.  Returns NULL when memory ran out.
 *
 * Owner: the caller; pprof_charts_free().
 */
struct pprof_charts *pprof_charts_create(struct pprof_target *target);

/* NULL is fine. */
void pprof_charts_free(struct pprof_charts *c);

/*
 * Measures the process now.  Returns in how many milliseconds to do so again:
 * a point stands at each whole second.
 */
unsigned pprof_charts_measure(struct pprof_charts *c);

/*
 * Answers with the points after SINCE, unix milliseconds, as JSON.  Who asks
 * for what comes after the youngest by more than a second has another clock,
 * or knew this one before it was set back: that one gets all.
 *
 * Format: github.com/mkevac/debugcharts, without its callback; Process is
 * our own.  What cannot be had is left out.
 */
void pprof_charts_write(const struct pprof_charts *c, int64_t since_msec,
    struct pprof_answer *a);

/*
 * Answers with the youngest reading alone, as an array Process of one: who
 * wants nothing else needs no clock that is ours.  It has the CPU time since
 * the start, CpuSeconds, and HeapInUse, too.  Where that is older than 10 s,
 * the process has ended or hangs, and the array is empty.
 */
void pprof_charts_write_last(const struct pprof_charts *c,
    struct pprof_answer *a);

#endif
