/*
 * CPU profiles by guest/sampler: a timer on the CPU clock of each thread.
 */

#include "kinds/engine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "guest/sampler.h"
#include "kinds/life.h"


/* The profile that runs.  Under the capture lock. */
static struct {
    int64_t  period;            /* ns */
    bool     wall;
} run;


static int
start(const struct pprof_ask *ask, struct pprof_answer *a)
{
    const unsigned hz = ask->hz == 0 ? PPROF_SAMPLER_HZ : ask->hz;

    if (pprof_sampler_start(hz, ask->wall) == 0) {
        run.period = 1000000000 / hz;
        run.wall = ask->wall;
        pprof_tables_use();
        return 0;
    }

    if (errno == EBUSY) {
        pprof_answer_error(a, 501, "the program handles every signal that a "
                           "profile could use: SIGPROF and all real-time ones");

    } else {
        pprof_answer_error(a, 503, "the profile cannot start: %s; retry when "
                           "the program has more", strerrordesc_np(errno));
    }

    return -1;
}


static void
add_row(void *arg, const struct pprof_sampler_row *row)
{
    struct pprof_profile *p = arg;
    const int64_t values[] = {
        (int64_t) row->count, (int64_t) row->count * run.period
    };
    char tid[16], name[64];

    if (row->lost != NULL) {
        snprintf(name, sizeof(name), "[%s]", row->lost);
        pprof_profile_lost(p, values, name);
        return;
    }

    snprintf(tid, sizeof(tid), "%d", (int) row->tid);

    /* strings both: some tools know no others */
    const struct pprof_label labels[] = {
        { .key = "thread_id", .str = tid },
        { .key = "thread_name", .str = row->thread },
    };

    pprof_profile_sample(p, row->pcs, row->depth, true, values, labels, 2);
}


/* What there is to know about the numbers, and why they may be small. */
static void
add_comments(struct pprof_profile *p,
    const struct pprof_sampler_result *result)
{
    const double period = (double) result->period / 1e9;
    const double cpu = (double) result->cpu / 1e9;
    char text[200];

    snprintf(text, sizeof(text), "the kernel's account: %.3f s of CPU time in "
             "%.3f s, %zu threads", cpu, (double) result->duration / 1e9,
             result->threads);
    pprof_profile_comment(p, text);

    if (result->lost > 0) {
        snprintf(text, sizeof(text), "%.3f s have no stack: they are charged "
                 "to functions named for the reason",
                 (double) result->lost * period);
        pprof_profile_comment(p, text);
    }

    if (result->samples + result->lost == 0) {
        snprintf(text, sizeof(text), "no samples: the program used %.3f s of "
                 "CPU time, and a sample is taken every %.3f s of it", cpu,
                 period);
        pprof_profile_comment(p, text);
    }

    if (result->taken) {
        snprintf(text, sizeof(text), "the program took signal %d for itself "
                 "while the profile ran; what follows is not in here",
                 result->signo);
        pprof_profile_comment(p, text);
    }
}


static int
stop(struct pprof_profile *p, struct pprof_answer *a)
{
    const char *const type = run.wall ? "wall" : "cpu";
    struct pprof_sampler_result result;

    if (p != NULL) {
        pprof_profile_value(p, "samples", "count");
        pprof_profile_value(p, type, "nanoseconds");
        pprof_profile_period(p, type, "nanoseconds", run.period);
    }

    const int rc = pprof_sampler_stop(p == NULL ? NULL : add_row, p, &result);

    pprof_tables_drop();

    if (rc == -1) {
        pprof_answer_error(a, 500, "failed to collect profile: %s",
                           strerrordesc_np(errno));
        return -1;
    }

    if (p != NULL) {
        add_comments(p, &result);
    }

    return 0;
}


const struct pprof_engine pprof_engine_sampler = {
    .name = "sampler",
    .start = start,
    .stop = stop,
};
