/*
 * heap: what is allocated and not freed, by who allocated it: from the guest's
 * sample, whichever allocator the program has, or from tcmalloc's own.
 *
 * Columns: Go's, those in use first, since several tools take the first.
 */

#include "kinds/kind.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "encode/legacy.h"
#include "encode/profile.h"
#include "kinds/alloc_sample.h"
#include "kinds/env.h"
#include "kinds/heap_sample.h"
#include "kinds/release.h"
#include "kinds/tcmalloc.h"
#include "kinds/write.h"


enum { PERIOD = 524288 };   /* bytes, unless asked otherwise; Go's */

enum {
    SPACE,
    OBJECTS,
    ALLOC_SPACE,    /* from here on: only where allocations are recorded */
};


static const struct pprof_heap_shape shape = {
    .file = "heap",
    .delta = "heap-delta",
    .shown = "inuse_space",
    .columns = {
        .inuse_space = 0, .inuse_objects = 1, .alloc_space = 2,
        .alloc_objects = 3
    },
    .in_use = true
};


/*
 * How many bytes, or objects, one sampled byte or object stands for, of which
 * tcmalloc sets ASIDE so many bytes: it was taken with probability
 * 1 - exp(-aside / PERIOD).  For 8200 bytes that is 10240, and leaving it out
 * would show a fifth too much.
 *
 * Source: the same formula in Go's runtime/pprof, scaleHeapSample().
 */
static double
scale(uint64_t aside, int period)
{
    return period <= 1 || aside == 0 ? 1 : 1 / -expm1(-(double) aside
                                                      / period);
}


/*
 * Orders rows so that those of one stack and size are neighbours.  tcmalloc
 * gives a row for each object; rounding each one's share would make 2 of
 * 1.5 every time.
 */
static int
compare_rows(const void *a, const void *b)
{
    const struct pprof_row *const x = *(const struct pprof_row *const *) a;
    const struct pprof_row *const y = *(const struct pprof_row *const *) b;

    if (x->depth != y->depth) {
        return x->depth < y->depth ? -1 : 1;
    }

    const int order = memcmp(x->pcs, y->pcs, x->depth * sizeof(x->pcs[0]));

    if (order != 0) {
        return order;
    }

    /* bytes, then objects */
    if (x->value != y->value) {
        return x->value < y->value ? -1 : 1;
    }

    return (x->count > y->count) - (x->count < y->count);
}


/*
 * Switches tcmalloc's sampling on where it is off: PPROF_HEAP_SAMPLE, bytes
 * between two samples, or 0 for not at all.  Who told tcmalloc itself knows
 * better.  Returns 0, or -1 when it stays off.
 */
static int
switch_on(struct pprof_target *target)
{
    const char *const text = pprof_env_get("PPROF_HEAP_SAMPLE");
    const char *const own = pprof_env_get("TCMALLOC_SAMPLE_PARAMETER");
    const long long period = text != NULL ? strtoll(text, NULL, 10)
                             : own != NULL ? 0 : PERIOD;
    const uint64_t args[PPROF_ARGS] = { (uint64_t) period };

    return period > 0
           ? pprof_target_call(target, PPROF_OP_TCMALLOC_SAMPLE, args, NULL)
           : -1;
}


/* Adds what was read, SORTED, to P; see add_rows(). */
static void
add_sorted(struct pprof_profile *p, const struct pprof_maps *maps, int sign,
    bool scaled, const struct pprof_tcmalloc_read *read,
    const struct pprof_row **sorted, size_t n)
{
    for (size_t i = 0, next; i < n; i = next) {
        const struct pprof_row *const row = sorted[i];
        const uintptr_t *const pcs = (const uintptr_t *) row->pcs;
        double count = 0, bytes = 0;

        for (next = i; next < n && compare_rows(&sorted[i], &sorted[next]) == 0;
             next++)
        {
            count += (double) sorted[next]->count;
            bytes += (double) sorted[next]->value;
        }

        const double k = scaled ? scale(row->tag, read->period) : 1;
        const size_t skip = pprof_tcmalloc_skip(maps, read->own, pcs,
                                                row->depth);
        int64_t values[PPROF_VALUES_MAX] = { 0 };

        values[scaled ? SPACE : OBJECTS] = sign * llround(bytes * k);
        values[scaled ? OBJECTS : SPACE] = sign * llround(count * k);

        pprof_profile_sample(p, pcs + skip, row->depth - skip, false, values,
                             NULL, 0);
    }
}


/* Adds what was read to P.  Returns 0, or -1 with the answer given. */
static int
add_read(struct pprof_job *job, struct pprof_profile *p,
    const struct pprof_maps *maps, int sign, bool scaled,
    const struct pprof_tcmalloc_read *read)
{
    struct pprof_answer *const answer = &job->answer;

    if (read->period <= 0 && switch_on(job->target) == 0) {
        /* a program that calls pprof_handle() alone */
        pprof_answer_error(answer, 503, "heap sampling was off and is on from "
                           "now; ask again when the program has allocated "
                           "more");
        return -1;
    }

    if (read->period <= 0) {
        pprof_answer_error(answer, 501, "heap sampling is off; start the "
                           "program with PPROF_HEAP_SAMPLE=524288 or "
                           "TCMALLOC_SAMPLE_PARAMETER=524288 in its "
                           "environment, or with pprof-run");
        return -1;
    }

    const struct pprof_row *row = NULL;
    size_t n = 0;

    while ((row = pprof_reply_next(&read->reply, row)) != NULL) {
        n++;
    }

    const struct pprof_row **const sorted = malloc((n + 1) * sizeof(*sorted));

    if (sorted == NULL) {
        pprof_answer_error(answer, 503, "out of memory");
        return -1;
    }

    n = 0;

    while ((row = pprof_reply_next(&read->reply, row)) != NULL) {
        sorted[n++] = row;
    }

    qsort(sorted, n, sizeof(*sorted), compare_rows);
    add_sorted(p, maps, sign, scaled, read, sorted, n);
    free(sorted);

    return 0;
}


/*
 * Adds the sample as it is now, times SIGN, to P.  SCALED numbers are true
 * ones; gperftools' formats leave that to the client.  What is told of the
 * sample is left in TOLD, without rows.  Returns 0, or -1 when the answer has
 * been given.
 */
static int
add_rows(struct pprof_job *job, struct pprof_profile *p,
    const struct pprof_maps *maps, int sign, bool scaled,
    struct pprof_tcmalloc_read *told)
{
    if (pprof_tcmalloc_read(job->target, PPROF_TCMALLOC_LIVE, told,
                            &job->answer)
        == -1)
    {
        return -1;
    }

    const int rc = add_read(job, p, maps, sign, scaled, told);

    pprof_tcmalloc_read_free(told);

    if (rc == 0 && p->nvalues > ALLOC_SPACE) {
        pprof_alloc_sample_add(job->target, p, maps, sign, ALLOC_SPACE, true);
    }

    return rc;
}


/* gperftools' text wants the objects before their bytes. */
static void
add_types(struct pprof_target *target, struct pprof_profile *p,
    bool scaled)
{
    if (scaled) {
        pprof_profile_value(p, "inuse_space", "bytes");
        pprof_profile_value(p, "inuse_objects", "count");
        pprof_profile_default(p, "inuse_space");

        if (pprof_alloc_sample_period(target) != 0) {
            pprof_profile_value(p, "alloc_space", "bytes");
            pprof_profile_value(p, "alloc_objects", "count");
        }

    } else {
        pprof_profile_value(p, "inuse_objects", "count");
        pprof_profile_value(p, "inuse_space", "bytes");
    }
}


static void
add_comments(struct pprof_profile *p, const struct pprof_tcmalloc_read *told,
    const char *released)
{
    char text[128];

    snprintf(text, sizeof(text), "tcmalloc's sample, one in %d bytes; sums "
             "are estimates", told->period);
    pprof_profile_comment(p, text);

    if (told->since != 0) {
        pprof_heap_comment_since(p, (uint64_t) told->since);
    }

    if (*released != '\0') {
        pprof_profile_comment(p, released);
    }
}


static void
start_free(struct pprof_heap_start *s)
{
    if (s != NULL) {
        pprof_profile_free(&s->profile);
        free(s);
    }
}


static int
begin(struct pprof_job *job)
{
    struct pprof_answer *a = &job->answer;
    struct pprof_maps maps;
    struct pprof_tcmalloc_read told;
    const int sampled = pprof_heap_sample_begin(job, &shape);

    if (sampled != 0) {
        return sampled == 1 ? 0 : -1;
    }

    struct pprof_heap_start *s = calloc(1, sizeof(*s));

    if (s == NULL) {
        pprof_answer_error(a, 500, "the heap cannot be read: out of memory");
        return -1;
    }

    if (pprof_job_maps(job, &maps) == -1) {
        free(s);
        return -1;
    }

    pprof_profile_init(&s->profile);
    add_types(job->target, &s->profile, true);
    s->time_nanos = pprof_now_nanos();

    const int rc = add_rows(job, &s->profile, &maps, -1, true, &told);

    pprof_maps_free(&maps);

    if (rc == -1) {
        start_free(s);
        return -1;
    }

    job->state = s;

    return 0;
}


/* What the text tells beside the samples. */
struct shown {
    struct pprof_tcmalloc_read  told;
    char                        released[PPROF_RELEASE_TEXT];   /* or "" */
};


static int
write_text(const struct pprof_form *form, const struct pprof_job *job,
    const struct pprof_profile *p, const struct pprof_maps *maps,
    struct pprof_names *names, struct pprof_buf *out)
{
    const struct shown *const shown = form->arg;
    const struct pprof_tcmalloc_read *const told = &shown->told;
    char name[32];

    (void) names;

    snprintf(name, sizeof(name), "heap_v2/%d", told->period);

    if (pprof_legacy_heap_write(p, 0, -1, name, maps, out) == -1) {
        return -1;
    }

    if (job->ask.debug != 0) {
        pprof_buf_byte(out, '\n');
        pprof_tcmalloc_describe(job->target, out);

        if (shown->released[0] != '\0') {
            pprof_buf_printf(out, "# %s\n", shown->released);
        }
    }

    return 0;
}


static void
end(struct pprof_job *job, bool gone)
{
    struct pprof_heap_start *s = job->state;
    const bool scaled = !pprof_job_is_text(job);
    struct pprof_profile instant;
    struct pprof_profile *p = s != NULL ? &s->profile : &instant;
    struct shown shown = { .released = "" };
    struct pprof_maps maps;

    job->state = NULL;

    if (s != NULL && s->sample && gone) {
        pprof_heap_sample_drop(job, s);
        return;
    }

    if (gone) {
        start_free(s);
        return;
    }

    if (job->ask.gc) {
        pprof_release(job->target, shown.released);
    }

    if ((s == NULL || s->sample)
        && pprof_heap_sample_end(job, &shape, s, shown.released) == 1)
    {
        return;
    }

    if (pprof_job_maps(job, &maps) == -1) {
        start_free(s);
        return;
    }

    const int64_t now = pprof_now_nanos();

    if (s == NULL) {
        pprof_profile_init(p);
        add_types(job->target, p, scaled);
        pprof_profile_time(p, now, 0);

    } else {
        pprof_profile_time(p, s->time_nanos, now - s->time_nanos);
    }

    if (add_rows(job, p, &maps, 1, scaled, &shown.told) == 0) {
        const struct pprof_form form = {
            .file = s != NULL ? "heap-delta" : "heap",
            .text = write_text,
            .arg = &shown,
        };

        if (scaled) {
            pprof_profile_period(p, "space", "bytes", shown.told.period);
            add_comments(p, &shown.told, shown.released);
        }

        pprof_job_answer(job, p, &maps, &form);
    }

    pprof_maps_free(&maps);

    if (s != NULL) {
        start_free(s);

    } else {
        pprof_profile_free(p);
    }
}


/* tcmalloc has a row for each object. */
static int
count(const struct pprof_kind *kind, struct pprof_target *target, size_t *n)
{
    uint64_t samples, bytes;

    (void) kind;

    if (pprof_heap_sample_sums(target, &samples, &bytes) == 0) {
        *n = (size_t) samples;
        return 0;
    }

    return target->self || target->page == NULL
           || atomic_load(&target->page->ordinary)
           ? pprof_tcmalloc_count(target, n) : -1;
}


static void
prepare(const struct pprof_kind *kind, struct pprof_target *target)
{
    struct pprof_heap_sample sample;

    (void) kind;

    if (pprof_heap_sample_read(target, &sample) == 0) {
        pprof_heap_sample_free(&sample);
        return;
    }

    (void) switch_on(target);

    if (target->self) {
        pprof_tcmalloc_wake();
    }
}


const struct pprof_kind pprof_kind_heap = {
    PPROF_KIND(heap),
    .about = "what is allocated and not freed (?gc=1, ?seconds=, ?debug=1)",
    .prepare = prepare,
    .begin = begin,
    .end = end,
    .count = count,
};
