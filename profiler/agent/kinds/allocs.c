/*
 * allocs: who allocates, also what was freed since: from the guest's sample,
 * as heap.
 *
 * Where tcmalloc's own sample is the program's, by a hook in tcmalloc that is
 * there only while somebody wants it: over ?seconds=, from ?rate= on, or from
 * the start by PPROF_ALLOC_SAMPLE.
 */

#include "kinds/kind.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "encode/legacy.h"
#include "encode/profile.h"
#include "kinds/alloc_sample.h"
#include "kinds/heap_sample.h"
#include "kinds/tcmalloc.h"
#include "kinds/write.h"


static const struct pprof_heap_shape shape = {
    .file = "allocs",
    .delta = "allocs-delta",
    .shown = "alloc_space",
    .columns = {
        .alloc_objects = 0, .alloc_space = 1, .inuse_objects = 2,
        .inuse_space = 3
    }
};


/* Returns 0, or -1 with the answer given. */
static int
add_sums(struct pprof_profile *p, int sign, struct pprof_maps *maps,
    struct pprof_job *job)
{
    if (pprof_job_maps(job, maps) == -1) {
        return -1;
    }

    pprof_alloc_sample_add(job->target, p, maps, sign, 0, false);

    return 0;
}


static void
add_types(struct pprof_profile *p)
{
    pprof_profile_init(p);
    pprof_profile_value(p, "alloc_objects", "count");
    pprof_profile_value(p, "alloc_space", "bytes");
    pprof_profile_default(p, "alloc_space");
}


static uint64_t
period(const struct pprof_job *job)
{
    return job->ask.rate > 0 ? (uint64_t) job->ask.rate : PPROF_ALLOC_PERIOD;
}


static int
begin(struct pprof_job *job)
{
    struct pprof_answer *a = &job->answer;
    struct pprof_maps maps;
    const int sampled = pprof_heap_sample_begin(job, &shape);

    if (sampled != 0) {
        return sampled == 1 ? 0 : -1;
    }

    struct pprof_heap_start *s = calloc(1, sizeof(*s));

    if (s == NULL) {
        pprof_answer_error(a, 503, "the program is out of memory");
        return -1;
    }

    if (pprof_alloc_sample_begin(job->target, period(job), a) == -1) {
        free(s);
        return -1;
    }

    add_types(&s->profile);
    s->time_nanos = pprof_now_nanos();

    if (add_sums(&s->profile, -1, &maps, job) == -1) {
        pprof_alloc_sample_end(job->target);
        pprof_profile_free(&s->profile);
        free(s);
        return -1;
    }

    pprof_maps_free(&maps);
    job->state = s;

    return 0;
}


static int
write_text(const struct pprof_form *form, const struct pprof_job *job,
    const struct pprof_profile *p, const struct pprof_maps *maps,
    struct pprof_names *names, struct pprof_buf *out)
{
    (void) form;
    (void) job;
    (void) names;

    return pprof_legacy_heap_write(p, 0, 0, "heapprofile", maps, out);
}


static void
write_answer(struct pprof_job *job, struct pprof_profile *p,
    const struct pprof_maps *maps, bool delta)
{
    const struct pprof_form form = {
        .file = delta ? "allocs-delta" : "allocs",
        .text = write_text,
    };

    pprof_profile_period(p, "space", "bytes",
                         (int64_t) pprof_alloc_sample_period(job->target));
    pprof_job_answer(job, p, maps, &form);
}


static void
answer_now(struct pprof_job *job)
{
    struct pprof_answer *a = &job->answer;
    struct pprof_profile p;
    struct pprof_maps maps;

    if (job->ask.rate >= 0
        && pprof_alloc_sample_set(job->target, (uint64_t) job->ask.rate, a)
           == -1)
    {
        return;
    }

    if (pprof_alloc_sample_period(job->target) == 0) {
        pprof_answer_error(a, 501, "no allocations are recorded; ask with "
                           "?seconds=10, or switch it on with ?rate=%d or "
                           "PPROF_ALLOC_SAMPLE=%d in the program's "
                           "environment", PPROF_ALLOC_PERIOD,
                           PPROF_ALLOC_PERIOD);
        return;
    }

    add_types(&p);
    pprof_profile_time(&p, pprof_now_nanos(), 0);

    if (add_sums(&p, 1, &maps, job) == 0) {
        write_answer(job, &p, &maps, false);
        pprof_maps_free(&maps);
    }

    pprof_profile_free(&p);
}


static void
end(struct pprof_job *job, bool gone)
{
    struct pprof_heap_start *s = job->state;
    struct pprof_maps maps;

    job->state = NULL;

    if (s == NULL) {
        if (!gone && pprof_heap_sample_end(job, &shape, NULL, "") == 0) {
            answer_now(job);
        }

        return;
    }

    if (s->sample) {
        if (gone) {
            pprof_heap_sample_drop(job, s);

        } else {
            (void) pprof_heap_sample_end(job, &shape, s, "");
        }

        return;
    }

    /* the sums first: with the last window the hook goes */
    if (!gone && add_sums(&s->profile, 1, &maps, job) == 0) {
        pprof_profile_time(&s->profile, s->time_nanos,
                           pprof_now_nanos() - s->time_nanos);
        pprof_alloc_sample_end(job->target);
        write_answer(job, &s->profile, &maps, true);
        pprof_maps_free(&maps);

    } else {
        pprof_alloc_sample_end(job->target);
    }

    pprof_profile_free(&s->profile);
    free(s);
}


const struct pprof_kind pprof_kind_allocs = {
    PPROF_KIND(allocs),
    .about = "who allocates, also what was freed (?seconds=, ?rate=)",
    .prepare = pprof_alloc_sample_prepare,
    .release = pprof_alloc_sample_release,
    .child = pprof_alloc_sample_child,
    .begin = begin,
    .end = end,
};
