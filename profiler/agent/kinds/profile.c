/*
 * profile: where the program spends CPU time.
 *
 * This file runs one profile at a time and answers with it; who takes it is
 * an engine's business.
 */

#include "kinds/kind.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "encode/legacy.h"
#include "encode/profile.h"
#include "kinds/engine.h"
#include "kinds/env.h"
#include "kinds/life.h"
#include "kinds/routes.h"
#include "kinds/state.h"
#include "kinds/write.h"


static const struct pprof_engine *const engines[] = {
    &pprof_engine_sampler,      /* unless asked otherwise */
    &pprof_engine_gperftools,
    NULL
};

static int64_t
nanos(clockid_t clock)
{
    return (int64_t) pprof_clock(clock);
}


/* Returns the engine to use; NULL when the environment names none there is. */
static const struct pprof_engine *
find_engine(void)
{
    const char *const name = pprof_env_get("PPROF_CPU_ENGINE");

    if (name == NULL || *name == '\0') {
        return engines[0];
    }

    for (size_t i = 0; engines[i] != NULL; i++) {
        if (strcmp(engines[i]->name, name) == 0) {
            return engines[i];
        }
    }

    return NULL;
}


static int
begin_locked(struct pprof_job *job)
{
    const struct pprof_engine *const engine = find_engine();
    const int64_t now = nanos(CLOCK_MONOTONIC);
    struct pprof_kinds *const kinds = job->target->kinds;
    struct pprof_answer *a = &job->answer;

    if (kinds->profile.engine != NULL) {
        const int64_t left = kinds->profile.until_nanos - now;
        const int64_t sec = left <= 0 ? 1 : (left + 999999999) / 1000000000;

        a->retry_after = (unsigned) sec;
        pprof_answer_error(a, 503, "cpu profiling is running; retry in %lld s",
                           (long long) sec);
        return -1;
    }

    if (engine == &pprof_engine_gperftools && !job->target->self) {
        pprof_answer_error(a, 501, "gperftools' profiler works in its own "
                           "process alone, and this program is looked at from "
                           "outside; take PPROF_CPU_ENGINE away");
        return -1;
    }

    if (engine == NULL) {
        pprof_answer_error(a, 501, "PPROF_CPU_ENGINE names no engine; take "
                           "\"sampler\" or \"gperftools\"");
        return -1;
    }

    if (engine != &pprof_engine_sampler
        && (job->ask.labels & PPROF_LABEL_ROUTE))
    {
        pprof_answer_error(a, 501, "gperftools' profiler tells no routes; take "
                           "PPROF_CPU_ENGINE away");
        return -1;
    }

    kinds->profile.begun_nanos = now;
    kinds->profile.until_nanos = now + job->ask.seconds * INT64_C(1000000000);
    kinds->profile.wall_nanos = nanos(CLOCK_REALTIME);

    if (engine->start(job) == -1) {
        return -1;
    }

    job->state = (void *) engine;
    kinds->profile.engine = engine;

    return 0;
}


/*
 * Does the program run gperftools' profiler itself (ProfilerStart(),
 * CPUPROFILE)?  Not under the capture lock: dlsym() waits for the loader, and
 * a constructor may fork().
 */
static bool
is_profiling_itself(void)
{
    /* gperftools, src/gperftools/profiler.h */
    struct {
        int     enabled;
        time_t  start_time;
        char    profile_name[1024];
        int     samples_gathered;
    } now = { .enabled = 0 };
    void (*const get)(void *)
        = (void (*)(void *)) dlsym(RTLD_DEFAULT, "ProfilerGetCurrentState");

    if (get != NULL) {
        get(&now);
    }

    return now.enabled != 0;
}


static int
begin(struct pprof_job *job)
{
    if (job->target->self && find_engine() == &pprof_engine_sampler
        && is_profiling_itself())
    {
        pprof_answer_error(&job->answer, 503, PPROF_ENGINE_ITSELF);
        return -1;
    }

    pprof_capture_lock(job->target);
    const int rc = begin_locked(job);
    pprof_capture_unlock(job->target);

    return rc;
}


/* Under the capture lock; no names yet, they would take long. */
static int
stop_locked(struct pprof_job *job, struct pprof_profile *p)
{
    const struct pprof_engine *const engine = job->state;

    struct pprof_kinds *const kinds = job->target->kinds;

    kinds->profile.engine = NULL;

    if (p != NULL) {
        pprof_profile_time(p, kinds->profile.wall_nanos,
                           nanos(CLOCK_MONOTONIC)
                           - kinds->profile.begun_nanos);
    }

    return engine->stop(job, p);
}


static int
write_legacy(const struct pprof_form *unused, const struct pprof_job *job,
    const struct pprof_profile *p, const struct pprof_maps *maps,
    struct pprof_names *names, struct pprof_buf *out)
{
    (void) unused;
    (void) job;
    (void) names;

    return pprof_legacy_cpu_write(p, 0, maps, out);
}


static const struct pprof_form form = {
    .file = "profile",
    .binary = true,
    .text = write_legacy,
};


static void
write_table(struct pprof_job *job, const struct pprof_profile *p)
{
    struct pprof_answer *const a = &job->answer;

    if (pprof_routes_table(p, job->routes, job->ask.json, &a->body) == -1) {
        pprof_answer_error(a, 500, "the table cannot be written: %s",
                           strerrordesc_np(errno));
        return;
    }

    pprof_answer_ok(a, job->ask.json ? "application/json" : PPROF_TYPE_TEXT,
                    NULL);
}


static void
write_answer(struct pprof_job *job, const struct pprof_profile *p)
{
    struct pprof_maps maps;

    if (job->ask.by_route) {
        write_table(job, p);
        return;
    }

    if (pprof_job_maps(job, &maps) == 0) {
        pprof_job_answer(job, p, &maps, &form);
        pprof_maps_free(&maps);
    }
}


static void
end(struct pprof_job *job, bool gone)
{
    struct pprof_profile p;

    pprof_profile_init(&p);

    pprof_capture_lock(job->target);
    const int rc = stop_locked(job, gone ? NULL : &p);
    pprof_capture_unlock(job->target);

    if (rc == 0 && !gone) {
        write_answer(job, &p);
    }

    pprof_profile_free(&p);
    free(job->routes);
    job->routes = NULL;
}


/* Its parent's profile is not the child's. */
static void
child(const struct pprof_kind *kind, struct pprof_target *target)
{
    (void) kind;

    target->kinds->profile.engine = NULL;
    free(target->kinds->profile.routes);
    target->kinds->profile.routes = NULL;

    for (size_t i = 0; engines[i] != NULL; i++) {
        if (engines[i]->child != NULL) {
            engines[i]->child();
        }
    }
}


const struct pprof_kind pprof_kind_profile = {
    PPROF_KIND(profile),
    .about = "where CPU time is spent (?seconds=30, ?hz=, ?wall=1)",
    .begin = begin,
    .end = end,
    .child = child,
};
