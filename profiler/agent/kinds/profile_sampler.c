/*
 * CPU profiles by guest/sampler: a timer on the CPU clock of each thread.
 */

#include "kinds/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/sampler.h"
#include "kinds/life.h"
#include "kinds/routes.h"
#include "kinds/state.h"
#include "kinds/write.h"


/*
 * Has what is read and written looked at while the profile runs.  Returns 0,
 * or an errno.
 */
static int
begin_routes(struct pprof_job *job)
{
    struct pprof_route_span *const span = calloc(1, sizeof(*span));

    job->target->kinds->profile.routes = span;

    return span == NULL ? ENOMEM
           : pprof_routes_want(job->target, PPROF_ROUTES_PROFILE, true) == -1
             || pprof_routes_list(job->target, &span->before) == -1
           ? errno : 0;
}


/* Returns what was told, which is the caller's; NULL: nobody asked. */
static struct pprof_route_span *
end_routes(struct pprof_target *target, bool read)
{
    struct pprof_route_span *const span = target->kinds->profile.routes;

    if (span != NULL) {
        /* while the guest still knows their names */
        if (read && pprof_routes_list(target, &span->now) == -1) {
            memset(&span->now, 0, sizeof(span->now));
        }

        (void) pprof_routes_want(target, PPROF_ROUTES_PROFILE, false);
        target->kinds->profile.routes = NULL;
    }

    return span;
}


static int
start(struct pprof_job *job)
{
    struct pprof_kinds *const kinds = job->target->kinds;
    const unsigned hz = job->ask.hz == 0 ? PPROF_SAMPLER_HZ : job->ask.hz;
    const uint64_t args[PPROF_ARGS] = {
        hz, job->ask.wall, !job->target->self
    };
    struct pprof_answer *a = &job->answer;

    pprof_tables_use(job->target);

    if (!job->target->self) {
        /* our own are made by the sampler's start */
        pprof_tables_update(job->target);
    }

    int error = job->ask.labels & PPROF_LABEL_ROUTE ? begin_routes(job) : 0;

    if (error == 0) {
        error = pprof_target_call(job->target, PPROF_OP_SAMPLE, args, NULL)
                == -1 ? errno : 0;
    }

    if (error == 0) {
        kinds->profile.period = 1000000000 / hz;
        kinds->profile.wall = job->ask.wall;
        return 0;
    }

    free(end_routes(job->target, false));
    pprof_tables_drop(job->target);

    if (error == EBUSY) {
        pprof_answer_error(a, 501, "the program handles every signal that a "
                           "profile could use: SIGPROF and all real-time ones");

    } else if (error == EINPROGRESS) {
        pprof_answer_error(a, 503, PPROF_ENGINE_ITSELF);

    } else {
        pprof_job_refuse(job, error, "the profile cannot start");
    }

    return -1;
}


/* A row, with its route's name if there is one to tell. */
static void
add_row(struct pprof_profile *p, const struct pprof_row *row, int64_t period,
    bool threads, const char *route)
{
    const int64_t values[] = {
        (int64_t) row->count, (int64_t) row->count * period
    };
    char tid[16], name[64];
    const struct pprof_label by_route = {
        .key = PPROF_ROUTE_LABEL, .str = route
    };

    if (row->lost[0] != '\0') {
        snprintf(name, sizeof(name), "[%s]", row->lost);
        pprof_profile_lost_labeled(p, values, name, &by_route, route != NULL);
        return;
    }

    snprintf(tid, sizeof(tid), "%d", (int) row->tid);

    /* strings both: some tools know no others */
    const struct pprof_label labels[] = {
        by_route,
        { .key = "thread_id", .str = tid },
        { .key = "thread_name", .str = row->name },
    };
    const size_t first = route == NULL;

    pprof_profile_sample(p, (const uintptr_t *) row->pcs, row->depth, true,
                         values, labels + first, (threads ? 3 : 1) - first);
}


/* What the guest says of the profile: PPROF_OP_SAMPLE_END's results. */
static struct pprof_sampler_result
read_result(const struct pprof_reply *reply)
{
    return (struct pprof_sampler_result) {
        .period = reply->results[0],
        .duration = reply->results[1],
        .cpu = reply->results[2],
        .samples = reply->results[3],
        .lost = reply->results[4],
        .threads = (size_t) reply->results[5],
        .signo = (int) reply->results[6],
        .taken = reply->results[7] != 0,
    };
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


/* How much is whose, and what stands in the way of knowing more. */
static void
add_route_comments(struct pprof_profile *p, const struct pprof_route_list *now)
{
    const size_t column = p->nvalues - 1;
    int64_t whole = 0, known = 0;
    char text[240];

    for (size_t i = 0; i < p->nsamples; i++) {
        const char *const route = pprof_sample_route(&p->samples[i]);

        whole += p->samples[i].values[column];

        if (route != NULL && strcmp(route, "-") != 0) {
            known += p->samples[i].values[column];
        }
    }

    snprintf(text, sizeof(text), "by route: %.1f %% of the time belongs to a "
             "known one; what does not is \"-\", requests that were under way "
             "when the profile began among it",
             whole == 0 ? 0 : 100 * (double) known / (double) whole);
    pprof_profile_comment(p, text);

    if (!now->seen) {
        pprof_profile_comment(p, "libpprof.a sees no reads and writes: only "
                              "pprof_label() tells routes");
    }
}


static int
stop(struct pprof_job *job, struct pprof_profile *p)
{
    const struct pprof_kinds *const kinds = job->target->kinds;
    const char *const type = kinds->profile.wall ? "wall" : "cpu";
    const int64_t period = kinds->profile.period;
    const uint64_t args[PPROF_ARGS] = { p == NULL };
    struct pprof_reply reply;

    if (p != NULL) {
        pprof_profile_value(p, "samples", "count");
        pprof_profile_value(p, type, "nanoseconds");
        pprof_profile_period(p, type, "nanoseconds", period);
    }

    const int rc = pprof_target_call(job->target, PPROF_OP_SAMPLE_END, args,
                                     &reply);
    const int error = errno;

    struct pprof_route_span *const span = end_routes(job->target,
                                                     rc == 0 && p != NULL);

    job->routes = span;
    pprof_tables_drop(job->target);

    if (rc == -1) {
        pprof_job_refuse(job, error, "failed to collect profile");
        return -1;
    }

    if (p != NULL) {
        const struct pprof_sampler_result result = read_result(&reply);
        const struct pprof_row *row = NULL;

        while ((row = pprof_reply_next(&reply, row)) != NULL) {
            add_row(p, row, period,
                    (job->ask.labels & PPROF_LABEL_THREAD) != 0,
                    span == NULL ? NULL
                    : pprof_routes_name(&span->now, row->tag));
        }

        add_comments(p, &result);

        if (span != NULL) {
            add_route_comments(p, &span->now);
        }
    }

    pprof_reply_free(&reply);

    return 0;
}


const struct pprof_engine pprof_engine_sampler = {
    .name = "sampler",
    .start = start,
    .stop = stop,
};
