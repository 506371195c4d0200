/*
 * A program that requests are read for: it is called something, and what its
 * charts and kinds answer is not the request's business.
 */

#ifndef FUZZ_PROCESS_H
#define FUZZ_PROCESS_H

#include "charts/charts.h"


const char *
pprof_kinds_build_id(struct pprof_target *target)
{
    (void) target;

    return "0123456789abcdef";
}


struct pprof_target *
pprof_target_self(void)
{
    static struct pprof_target  self = { .pid = 71, .self = true };

    return &self;
}


void
pprof_charts_write(const struct pprof_charts *charts, int64_t since,
    struct pprof_answer *a)
{
    (void) charts;
    (void) since;

    pprof_answer_ok(a, PPROF_TYPE_TEXT, NULL);
}


void
pprof_charts_write_last(const struct pprof_charts *charts,
    struct pprof_answer *a)
{
    (void) charts;

    pprof_answer_ok(a, PPROF_TYPE_TEXT, NULL);
}

#endif
