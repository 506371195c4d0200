#include "kinds/heap_sample.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "encode/legacy.h"
#include "guest/heap.h"
#include "kinds/brings.h"
#include "kinds/tcmalloc.h"
#include "kinds/write.h"
#include "symbols/names.h"


enum {
    OPERATORS = 3,                      /* of C++'s, one calls another */

    /* ns that the allocator's own numbers may be behind: then it is asked,
       then they are not shown */
    LATE = 200 * 1000 * 1000,
    STALE = 2000 * 1000 * 1000
};


int
pprof_heap_sample_read(struct pprof_target *target,
    struct pprof_heap_sample *sample)
{
    *sample = (struct pprof_heap_sample) { .period = 0 };

    if (pprof_target_call(target, PPROF_OP_HEAP_READ, NULL, &sample->reply)
        == -1)
    {
        return -1;
    }

    const uint64_t *const results = sample->reply.results;

    if (results[1] == 0 || results[2] == 0) {
        const bool in_front = results[1] != 0;

        pprof_reply_free(&sample->reply);
        errno = in_front ? ENODATA : ENOSYS;
        return -1;
    }

    sample->period = results[0];
    sample->since = results[2];
    sample->allocator = (uintptr_t) results[3];
    sample->missed = results[4];
    sample->skipped = results[5];
    sample->unplaced = results[6];

    return 0;
}


void
pprof_heap_sample_free(struct pprof_heap_sample *sample)
{
    pprof_reply_free(&sample->reply);
}


/* Is ADDR in C++'s operator new, or operator new[]? */
static bool
is_operator(struct pprof_names *names, const struct pprof_maps *maps,
    uintptr_t addr)
{
    struct pprof_name name;

    return pprof_names_find(names, maps, addr, &name) == 0
           && (strncmp(name.system_name, "_Znw", 4) == 0
               || strncmp(name.system_name, "_Zna", 4) == 0);
}


static void
set_value(int64_t *values, int column, int sign, double value)
{
    /* what a race has left below zero is nothing */
    if (value > 0) {
        values[column] = sign * (int64_t) (value + 0.5);
    }
}


/*
 * Adds SAMPLE, SIGN times, to P.  What stands for operator new is left out:
 * who called that allocates.
 */
static void
add_sample(const struct pprof_heap_sample *sample,
    struct pprof_profile *p, const struct pprof_maps *maps, int sign,
    struct pprof_heap_columns columns)
{
    const struct pprof_row *row = NULL;
    struct pprof_names names;

    pprof_names_init(&names);

    while ((row = pprof_reply_next(&sample->reply, row)) != NULL) {
        const uintptr_t *const pcs = (const uintptr_t *) row->pcs;
        int64_t values[PPROF_VALUES_MAX] = { 0 };
        size_t skip = 0;

        while (skip < OPERATORS && skip + 1 < row->depth
               && is_operator(&names, maps, pcs[skip] - 1))
        {
            skip++;
        }

        set_value(values, columns.alloc_objects, sign,
                  (double) row->count / PPROF_SITE_ONE);
        set_value(values, columns.alloc_space, sign, (double) row->value);
        set_value(values, columns.inuse_objects, sign,
                  (double) (int64_t) row->more[0] / PPROF_SITE_ONE);
        set_value(values, columns.inuse_space, sign,
                  (double) (int64_t) row->more[1]);

        pprof_profile_sample(p, pcs + skip, row->depth - skip, false, values,
                             NULL, 0);
    }

    pprof_names_free(&names);
}


void
pprof_heap_comment_since(struct pprof_profile *p, uint64_t since)
{
    char text[128];

    snprintf(text, sizeof(text), "sampling was switched on at %llu; what was "
             "allocated before is not in here", (unsigned long long) since);
    pprof_profile_comment(p, text);
}


/* Says in P how it came about. */
static void
add_comments(const struct pprof_heap_sample *sample,
    struct pprof_profile *p, const struct pprof_maps *maps)
{
    const struct pprof_map *const map = pprof_maps_find(maps,
                                                        sample->allocator);
    const char *file = map == NULL ? "?" : map->file;
    char text[256];

    file = strrchr(file, '/') == NULL ? file : strrchr(file, '/') + 1;

    if (sample->period != 0) {
        snprintf(text, sizeof(text), "libpprof's sample in front of malloc() "
                 "of %.80s, one in %llu bytes; sums are estimates", file,
                 (unsigned long long) sample->period);

    } else {
        snprintf(text, sizeof(text), "libpprof's sample in front of malloc() "
                 "of %.80s, switched off meanwhile; sums are estimates", file);
    }

    pprof_profile_comment(p, text);

    pprof_heap_comment_since(p, sample->since);

    if (sample->missed != 0) {
        snprintf(text, sizeof(text), "%llu sampled objects were freed where "
                 "libpprof did not see it (RTLD_DEEPBIND, dlmopen(), an "
                 "allocator's own functions), as their addresses tell that "
                 "were used again; others may still stand here as in use",
                 (unsigned long long) sample->missed);
        pprof_profile_comment(p, text);
    }

    if (sample->skipped != 0) {
        snprintf(text, sizeof(text), "%llu samples were not taken: in signal "
                 "handlers, or there was no room",
                 (unsigned long long) sample->skipped);
        pprof_profile_comment(p, text);
    }

    if (sample->unplaced != 0) {
        snprintf(text, sizeof(text), "%llu sampled objects are not counted as "
                 "in use: there was no room",
                 (unsigned long long) sample->unplaced);
        pprof_profile_comment(p, text);
    }
}


/*
 * Samples one in PERIOD bytes from now on; 0: no more.  Returns 0, or -1 with
 * ANSWER given.
 */
static int
set_rate(struct pprof_target *target, uint64_t period,
    struct pprof_answer *answer)
{
    const uint64_t args[PPROF_ARGS] = { period };

    if (pprof_target_call(target, PPROF_OP_HEAP, args, NULL) == 0) {
        return 0;
    }

    if (errno == EINVAL) {
        pprof_answer_error(answer, 400, "rate: at most %d bytes between two "
                           "samples", PPROF_HEAP_PERIOD_MAX);

    } else if (errno == ENOSPC) {
        pprof_answer_error(answer, 503, "rate: more different ones than the "
                           "program can tell apart; use one of before");

    } else {
        pprof_answer_refuse(answer, errno, "the rate cannot be changed");
    }

    return -1;
}


/*
 * Does the program allocate with gperftools' tcmalloc, which has a sample of
 * its own?
 */
static bool
has_tcmalloc(struct pprof_target *target)
{
    size_t n;

    return pprof_tcmalloc_count(target, &n) == 0 || errno != ENOSYS;
}


/*
 * Reads the sample, after having switched it on where that is asked for.
 * Returns 1; 0 when it is not for us to answer; -1 with ANSWER given.
 */
static int
read_sample(struct pprof_job *job, struct pprof_heap_sample *sample,
    uint64_t period)
{
    if (pprof_heap_sample_read(job->target, sample) == 0) {
        return 1;
    }

    switch (errno) {

    case ENOSYS:
        if (job->target->self || has_tcmalloc(job->target)) {
            return 0;
        }

        pprof_answer_error(&job->answer, 501, "%s",
                           pprof_brings(job->target));
        return -1;

    case ENODATA:
        break;

    default:
        pprof_job_refuse(job, errno, "the heap cannot be read");
        return -1;
    }

    if (has_tcmalloc(job->target)) {
        return 0;
    }

    if (period == 0) {
        pprof_answer_error(&job->answer, 501, "heap sampling is off; start "
                           "the program with PPROF_HEAP_SAMPLE=%d in its "
                           "environment, or ask with ?rate=%d",
                           PPROF_HEAP_PERIOD, PPROF_HEAP_PERIOD);
        return -1;
    }

    if (set_rate(job->target, period, &job->answer) == -1) {
        return -1;
    }

    if (pprof_heap_sample_read(job->target, sample) == -1) {
        pprof_job_refuse(job, errno, "the heap cannot be read");
        return -1;
    }

    return 1;
}


/* Text has objects before their bytes. */
static const struct pprof_heap_columns text_columns = {
    .inuse_objects = 0, .inuse_space = 1, .alloc_objects = 2, .alloc_space = 3
};


static struct pprof_heap_columns
columns_of(const struct pprof_job *job, const struct pprof_heap_shape *shape)
{
    return pprof_job_is_text(job) ? text_columns : shape->columns;
}


static void
begin_profile(struct pprof_profile *p, const struct pprof_heap_shape *shape,
    struct pprof_heap_columns columns)
{
    pprof_profile_init(p);

    for (int i = 0; i < 4; i++) {
        if (i == columns.inuse_objects) {
            pprof_profile_value(p, "inuse_objects", "count");

        } else if (i == columns.inuse_space) {
            pprof_profile_value(p, "inuse_space", "bytes");

        } else if (i == columns.alloc_objects) {
            pprof_profile_value(p, "alloc_objects", "count");

        } else {
            pprof_profile_value(p, "alloc_space", "bytes");
        }
    }

    pprof_profile_default(p, shape->shown);
}


int
pprof_heap_sample_begin(struct pprof_job *job,
    const struct pprof_heap_shape *shape)
{
    const long long rate = job->ask.rate;
    const struct pprof_heap_columns columns = columns_of(job, shape);
    struct pprof_heap_start *const start = calloc(1, sizeof(*start));
    struct pprof_heap_sample sample;
    struct pprof_maps maps;

    if (start == NULL) {
        pprof_answer_error(&job->answer, 503, "out of memory");
        return -1;
    }

    const bool off = pprof_heap_sample_read(job->target, &sample) == -1;

    if (!off) {
        start->before = sample.period;
        pprof_heap_sample_free(&sample);
    }

    /* who wants a window has one, whether it was on or not */
    start->during = rate > 0 ? (uint64_t) rate
                    : !off && start->before == 0 ? PPROF_HEAP_PERIOD : 0;

    int rc = 0;

    if (start->during != 0 && !off) {
        rc = set_rate(job->target, start->during, &job->answer);
    }

    if (rc == 0) {
        rc = read_sample(job, &sample, rate > 0 ? (uint64_t) rate : 0);
    }

    if (rc != 1) {
        free(start);
        return rc;
    }

    if (off) {
        start->during = sample.period;
    }

    if (pprof_job_maps(job, &maps) == -1) {
        pprof_heap_sample_free(&sample);
        pprof_heap_sample_drop(job, start);
        return -1;
    }

    start->sample = true;
    start->time_nanos = pprof_now_nanos();
    begin_profile(&start->profile, shape, columns);
    add_sample(&sample, &start->profile, &maps, -1, columns);
    pprof_maps_free(&maps);
    pprof_heap_sample_free(&sample);
    job->state = start;

    return 1;
}


void
pprof_heap_sample_drop(struct pprof_job *job, struct pprof_heap_start *start)
{
    struct pprof_heap_sample now;
    struct pprof_answer nobody = { 0 };

    /* unless somebody else has changed it since */
    if (start->during != 0 && start->during != start->before
        && pprof_heap_sample_read(job->target, &now) == 0)
    {
        if (now.period == start->during) {
            (void) set_rate(job->target, start->before, &nobody);
            pprof_buf_free(&nobody.body);
        }

        pprof_heap_sample_free(&now);
    }

    pprof_profile_free(&start->profile);
    free(start);
}


/* What the text tells of. */
struct shown {
    const struct pprof_heap_shape  *shape;
    const char                     *released;
};


static int
write_text(const struct pprof_form *form, const struct pprof_job *job,
    const struct pprof_profile *p, const struct pprof_maps *maps,
    struct pprof_names *names, struct pprof_buf *out)
{
    const struct shown *const shown = form->arg;
    const struct pprof_heap_shape *const shape = shown->shape;
    const int first = shape->in_use ? text_columns.inuse_objects
                                    : text_columns.alloc_objects;

    (void) names;

    if (pprof_legacy_heap_write(p, (size_t) first, text_columns.alloc_objects,
                                "heapprofile", maps, out)
        == -1)
    {
        return -1;
    }

    if (job->ask.debug != 0) {
        pprof_buf_byte(out, '\n');
        pprof_tcmalloc_describe(job->target, out);

        if (*shown->released != '\0') {
            pprof_buf_printf(out, "# %s\n", shown->released);
        }
    }

    return 0;
}


int
pprof_heap_sample_end(struct pprof_job *job,
    const struct pprof_heap_shape *shape, struct pprof_heap_start *start,
    const char *released)
{
    const struct pprof_heap_columns columns = columns_of(job, shape);
    const long long rate = job->ask.rate;
    const int64_t now = pprof_now_nanos();
    struct pprof_heap_sample sample;
    struct pprof_profile instant;
    struct pprof_profile *const p = start != NULL ? &start->profile : &instant;
    struct pprof_maps maps;

    int rc = read_sample(job, &sample, rate > 0 ? (uint64_t) rate : 0);

    if (rc == 1 && start == NULL && rate >= 0
        && (uint64_t) rate != sample.period)
    {
        if (set_rate(job->target, (uint64_t) rate, &job->answer) == -1) {
            pprof_heap_sample_free(&sample);
            return 1;
        }

        sample.period = (uint64_t) rate;
    }

    if (rc == 1 && pprof_job_maps(job, &maps) == -1) {
        pprof_heap_sample_free(&sample);
        rc = -1;
    }

    if (rc != 1) {
        if (start == NULL) {
            return rc == 0 ? 0 : 1;
        }

        pprof_heap_sample_drop(job, start);

        if (rc == 0) {
            pprof_answer_error(&job->answer, 503, "the sample was switched "
                               "off meanwhile");
        }

        return 1;
    }

    if (start == NULL) {
        begin_profile(p, shape, columns);
        pprof_profile_time(p, now, 0);

    } else {
        pprof_profile_time(p, start->time_nanos, now - start->time_nanos);
    }

    add_sample(&sample, p, &maps, 1, columns);
    pprof_profile_period(p, "space", "bytes", (int64_t) sample.period);
    add_comments(&sample, p, &maps);

    if (*released != '\0') {
        pprof_profile_comment(p, released);
    }

    const struct shown shown = { .shape = shape, .released = released };
    const struct pprof_form form = {
        .file = start != NULL ? shape->delta : shape->file,
        .text = write_text,
        .arg = &shown,
    };

    pprof_job_answer(job, p, &maps, &form);
    pprof_maps_free(&maps);
    pprof_heap_sample_free(&sample);

    if (start != NULL) {
        pprof_heap_sample_drop(job, start);

    } else {
        pprof_profile_free(p);
    }

    return 1;
}


/* Reads the guest's sums.  Returns 0, or -1 when there are none. */
static int
read_sums(struct pprof_target *target, struct pprof_heap_sums *sums)
{
    const uintptr_t at = target->self ? (uintptr_t) &pprof_heap_sums
                         : target->page == NULL
                           ? 0 : atomic_load(&target->page->heap_sums);

    return at != 0
           && pprof_target_read(target, at, sums, sizeof(*sums))
              == sizeof(*sums) ? 0 : -1;
}


int
pprof_heap_sample_sums(struct pprof_target *target, uint64_t *samples,
    uint64_t *bytes)
{
    struct pprof_heap_sums sums;

    if (read_sums(target, &sums) == -1 || sums.since == 0) {
        return -1;
    }

    /* what a race has left below zero is nothing */
    *samples = (int64_t) sums.samples > 0 ? sums.samples : 0;
    *bytes = (int64_t) sums.bytes > 0 ? sums.bytes : 0;

    return 0;
}


struct pprof_heap_numbers
pprof_heap_sample_numbers(struct pprof_target *target)
{
    const struct pprof_heap_numbers unknown = {
        PPROF_HEAP_UNKNOWN, PPROF_HEAP_UNKNOWN, PPROF_HEAP_UNKNOWN
    };
    const uint64_t now = pprof_clock(CLOCK_MONOTONIC);
    struct pprof_heap_sums sums;

    if (read_sums(target, &sums) == -1 || sums.since == 0) {
        return unknown;
    }

    if (sums.behind != 0 && now > sums.next && now - sums.next > LATE) {
        (void) pprof_target_call(target, PPROF_OP_LOOK, NULL, NULL);

        if (now - sums.next > STALE) {
            return unknown;
        }
    }

    return (struct pprof_heap_numbers) {
        .in_use = sums.in_use, .held = sums.held, .returned = sums.returned
    };
}
