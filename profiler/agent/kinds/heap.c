/*
 * heap: what is allocated and not freed, by who allocated it, from tcmalloc's
 * sample.
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
#include "kinds/tcmalloc.h"
#include "kinds/write.h"


enum { PERIOD = 524288 };   /* bytes, unless asked otherwise; Go's */

enum {
    SPACE,
    OBJECTS,
    ALLOC_SPACE,    /* from here on: only where allocations are recorded */
};


/*
 * How many bytes, or objects, one sampled byte or object of SIZE bytes stands
 * for: it was taken with probability 1 - exp(-size / PERIOD), where the size
 * is what tcmalloc set aside.  For 8200 bytes that is 10240, and leaving it
 * out would show a fifth too much.
 *
 * Source: the same formula in Go's runtime/pprof, scaleHeapSample().
 */
static double
scale(double size, int period)
{
    const size_t aside = pprof_tcmalloc_size((size_t) llround(size));

    return period <= 1 ? 1 : 1 / -expm1(-(double) aside / period);
}


/*
 * Orders rows so that those of one stack and size are neighbours.  tcmalloc
 * gives a row for each object; rounding each one's share would make 2 of
 * 1.5 every time.
 */
static int
compare_rows(const void *a, const void *b)
{
    void **const x = *(void **const *) a;
    void **const y = *(void **const *) b;

    if (x[2] != y[2]) {
        return (uintptr_t) x[2] < (uintptr_t) y[2] ? -1 : 1;
    }

    const int order = memcmp(x + 3, y + 3, (uintptr_t) x[2] * sizeof(void *));

    if (order != 0) {
        return order;
    }

    /* bytes, then objects */
    if (x[1] != y[1]) {
        return (uintptr_t) x[1] < (uintptr_t) y[1] ? -1 : 1;
    }

    return ((uintptr_t) x[0] > (uintptr_t) y[0])
           - ((uintptr_t) x[0] < (uintptr_t) y[0]);
}


/*
 * Switches tcmalloc's sampling on where it is off: PPROF_HEAP_SAMPLE, bytes
 * between two samples, or 0 for not at all.  Who told tcmalloc itself knows
 * better.  Returns 0, or -1 when it stays off.
 */
static int
switch_on(void)
{
    const char *const text = pprof_env_get("PPROF_HEAP_SAMPLE");
    const char *const own = pprof_env_get("TCMALLOC_SAMPLE_PARAMETER");
    const long long period = text != NULL ? strtoll(text, NULL, 10)
                             : own != NULL ? 0 : PERIOD;

    return period > 0 ? pprof_tcmalloc_sample((size_t) period) : -1;
}


/*
 * Adds the sample as it is now, times SIGN, to P.  SCALED numbers are true
 * ones; gperftools' formats leave that to the client.  Returns 0, or -1 when
 * the answer has been given.
 */
static int
add_rows(struct pprof_profile *p, const struct pprof_maps *maps, int sign,
    bool scaled, int *period, struct pprof_answer *answer)
{
    void **const rows = pprof_tcmalloc_read(PPROF_TCMALLOC_LIVE, period,
                                            answer);

    if (rows == NULL) {
        return -1;
    }

    if (*period <= 0 && switch_on() == 0) {
        /* a program that calls pprof_handle() alone */
        free(rows);
        pprof_answer_error(answer, 503, "heap sampling was off and is on from "
                           "now; ask again when the program has allocated "
                           "more");
        return -1;
    }

    if (*period <= 0) {
        free(rows);
        pprof_answer_error(answer, 501, "heap sampling is off; start the "
                           "program with PPROF_HEAP_SAMPLE=524288 or "
                           "TCMALLOC_SAMPLE_PARAMETER=524288 in its "
                           "environment, or with pprof-run");
        return -1;
    }

    size_t n = 0;

    for (void **row = rows; row[0] != NULL; row += 3 + (uintptr_t) row[2]) {
        n++;
    }

    void ***const sorted = malloc((n + 1) * sizeof(void **));

    if (sorted == NULL) {
        free(rows);
        pprof_answer_error(answer, 503, "out of memory");
        return -1;
    }

    n = 0;

    for (void **row = rows; row[0] != NULL; row += 3 + (uintptr_t) row[2]) {
        sorted[n++] = row;
    }

    qsort(sorted, n, sizeof(void **), compare_rows);

    for (size_t i = 0, next; i < n; i = next) {
        void **const row = sorted[i];
        const size_t depth = (uintptr_t) row[2];
        double count = 0, bytes = 0;

        for (next = i; next < n && compare_rows(&sorted[i], &sorted[next]) == 0;
             next++)
        {
            count += (double) (uintptr_t) sorted[next][0];
            bytes += (double) (uintptr_t) sorted[next][1];
        }

        const double k = scaled ? scale(bytes / count, *period) : 1;
        const size_t skip = pprof_tcmalloc_skip(maps, row + 3, depth);
        int64_t values[PPROF_VALUES_MAX] = { 0 };

        values[scaled ? SPACE : OBJECTS] = sign * llround(bytes * k);
        values[scaled ? OBJECTS : SPACE] = sign * llround(count * k);

        pprof_profile_sample(p, (const uintptr_t *) row + 3 + skip,
                             depth - skip, false, values, NULL, 0);
    }

    free(sorted);
    free(rows);

    if (p->nvalues > ALLOC_SPACE) {
        pprof_alloc_sample_add(p, maps, sign, ALLOC_SPACE, true);
    }

    return 0;
}


/* gperftools' text wants the objects before their bytes. */
static void
add_types(struct pprof_profile *p, bool scaled)
{
    if (scaled) {
        pprof_profile_value(p, "inuse_space", "bytes");
        pprof_profile_value(p, "inuse_objects", "count");
        pprof_profile_default(p, "inuse_space");

        if (pprof_alloc_sample_period() != 0) {
            pprof_profile_value(p, "alloc_space", "bytes");
            pprof_profile_value(p, "alloc_objects", "count");
        }

    } else {
        pprof_profile_value(p, "inuse_objects", "count");
        pprof_profile_value(p, "inuse_space", "bytes");
    }
}


static void
add_comments(struct pprof_profile *p, int period)
{
    const int64_t since = pprof_tcmalloc_since();
    char text[128];

    snprintf(text, sizeof(text), "tcmalloc's sample, one in %d bytes; sums "
             "are estimates", period);
    pprof_profile_comment(p, text);

    if (since != 0) {
        snprintf(text, sizeof(text), "sampling was switched on at %lld; what "
                 "was allocated before is not in here", (long long) since);
        pprof_profile_comment(p, text);
    }
}


/* What a delta remembers of its beginning. */
struct start {
    struct pprof_profile  profile;      /* the sample then, negative */
    int64_t               time_nanos;
};


static void
start_free(struct start *s)
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
    int period;

    if (!pprof_tcmalloc_here(job)) {
        return -1;
    }

    struct start *s = calloc(1, sizeof(struct start));

    if (s == NULL || pprof_maps_load(&maps) == -1) {
        pprof_answer_error(a, 500, "the heap cannot be read: %s",
                           strerrordesc_np(errno));
        free(s);
        return -1;
    }

    pprof_profile_init(&s->profile);
    add_types(&s->profile, true);
    s->time_nanos = pprof_now_nanos();

    const int rc = add_rows(&s->profile, &maps, -1, true, &period, a);

    pprof_maps_free(&maps);

    if (rc == -1) {
        start_free(s);
        return -1;
    }

    job->state = s;

    return 0;
}


static void
write_text(struct pprof_job *job, const struct pprof_profile *p, int period,
    const struct pprof_maps *maps)
{
    struct pprof_answer *a = &job->answer;
    char name[32];

    snprintf(name, sizeof(name), "heap_v2/%d", period);

    if (pprof_legacy_heap_write(p, 0, -1, name, maps, &a->body) == -1) {
        pprof_answer_error(a, 500, "the heap profile cannot be written: %s",
                           strerrordesc_np(errno));
        return;
    }

    if (job->ask.debug != 0) {
        pprof_buf_byte(&a->body, '\n');
        pprof_tcmalloc_properties(&a->body);
    }

    pprof_answer_ok(a, PPROF_TYPE_TEXT, NULL);
}


static void
end(struct pprof_job *job, bool gone)
{
    struct pprof_answer *a = &job->answer;
    struct start *s = job->state;
    const bool scaled = !job->ask.legacy && job->ask.debug == 0;
    struct pprof_profile instant;
    struct pprof_profile *p = s != NULL ? &s->profile : &instant;
    struct pprof_maps maps;
    int period;

    job->state = NULL;

    if (gone) {
        start_free(s);
        return;
    }

    if (!pprof_tcmalloc_here(job)) {
        start_free(s);
        return;
    }

    if (job->ask.gc) {
        pprof_tcmalloc_release();
    }

    if (pprof_job_maps(job, &maps) == -1) {
        start_free(s);
        return;
    }

    const int64_t now = pprof_now_nanos();

    if (s == NULL) {
        pprof_profile_init(p);
        add_types(p, scaled);
        pprof_profile_time(p, now, 0);

    } else {
        pprof_profile_time(p, s->time_nanos, now - s->time_nanos);
    }

    if (add_rows(p, &maps, 1, scaled, &period, a) == 0) {
        if (!scaled) {
            write_text(job, p, period, &maps);

        } else {
            pprof_profile_period(p, "space", "bytes", period);
            add_comments(p, period);
            pprof_job_write(job, p, &maps, s != NULL ? "heap-delta" : "heap");
        }
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
    struct pprof_answer answer = { .status = 0 };
    int period;

    (void) kind;

    if (!target->self) {
        return -1;
    }

    void **const rows = pprof_tcmalloc_read(PPROF_TCMALLOC_LIVE, &period,
                                            &answer);

    pprof_buf_free(&answer.body);

    if (rows == NULL) {
        return -1;
    }

    *n = 0;

    for (void **row = rows; row[0] != NULL; row += 3 + (uintptr_t) row[2]) {
        (*n)++;
    }

    free(rows);

    return period > 0 ? 0 : -1;
}


static void
prepare(const struct pprof_kind *kind, struct pprof_target *target)
{
    (void) kind;

    if (target->self) {
        (void) switch_on();
        pprof_tcmalloc_wake();
    }
}


const struct pprof_kind pprof_kind_heap = {
    .name = "heap",
    .about = "what is allocated and not freed (?gc=1, ?seconds=, ?debug=1)",
    .flags = PPROF_KIND_DELTA,
    .prepare = prepare,
    .begin = begin,
    .end = end,
    .count = count,
};
