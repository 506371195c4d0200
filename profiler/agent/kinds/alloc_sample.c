#include "kinds/alloc_sample.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kinds/env.h"
#include "kinds/life.h"
#include "kinds/state.h"
#include "kinds/tcmalloc.h"


/* Under the capture lock.  Returns 0, or -1 with errno. */
static int
apply(struct pprof_target *t, uint64_t period)
{
    struct pprof_kinds *const k = t->kinds;
    const bool on = k->allocs.wanted != 0 || k->allocs.windows > 0;
    const uint64_t args[PPROF_ARGS] = { on ? period : 0 };

    if (!on && !k->allocs.on) {
        return 0;
    }

    if (on && !t->self) {
        /* our own are made where recording begins */
        pprof_tables_update(t);
    }

    if (pprof_target_call(t, PPROF_OP_ALLOCS, args, NULL) == -1 && on) {
        return -1;
    }

    if (on == k->allocs.on) {
        return 0;
    }

    k->allocs.on = on;

    if (!on) {
        pprof_tables_drop(t);
        return 0;
    }

    k->allocs.period = period;
    pprof_tables_use(t);

    return 0;
}


static int
refuse(struct pprof_answer *a, int error)
{
    if (error == ENOSYS) {
        pprof_answer_error(a, 501, "the program does not allocate with "
                           "tcmalloc, or all its hooks are taken; start it "
                           "with pprof-run --tcmalloc, or link it with "
                           "-ltcmalloc");

    } else {
        pprof_answer_error(a, 503, "allocations cannot be recorded: %s; retry "
                           "when the program has more memory",
                           strerrordesc_np(error));
    }

    return -1;
}


int
pprof_alloc_sample_begin(struct pprof_target *t, uint64_t period,
    struct pprof_answer *answer)
{
    pprof_capture_lock(t);
    t->kinds->allocs.windows++;

    /* sums of two periods could not be told apart */
    const int rc = apply(t, t->kinds->allocs.period != 0
                         ? t->kinds->allocs.period : period);
    const int error = errno;

    if (rc == -1) {
        t->kinds->allocs.windows--;
    }

    pprof_capture_unlock(t);

    return rc == 0 ? 0 : refuse(answer, error);
}


void
pprof_alloc_sample_end(struct pprof_target *t)
{
    pprof_capture_lock(t);

    if (t->kinds->allocs.windows > 0) {
        t->kinds->allocs.windows--;
        (void) apply(t, t->kinds->allocs.period);
    }

    pprof_capture_unlock(t);
}


int
pprof_alloc_sample_set(struct pprof_target *t, uint64_t period,
    struct pprof_answer *answer)
{
    pprof_capture_lock(t);

    const uint64_t before = t->kinds->allocs.wanted;

    t->kinds->allocs.wanted = period;

    const int rc = apply(t, t->kinds->allocs.period != 0
                         ? t->kinds->allocs.period : period);
    const int error = errno;

    if (rc == -1) {
        t->kinds->allocs.wanted = before;
    }

    pprof_capture_unlock(t);

    return rc == 0 ? 0 : refuse(answer, error);
}


uint64_t
pprof_alloc_sample_period(struct pprof_target *t)
{
    return t->kinds->allocs.period;
}


void
pprof_alloc_sample_prepare(const struct pprof_kind *kind,
    struct pprof_target *t)
{
    (void) kind;

    const char *const text = pprof_env_get("PPROF_ALLOC_SAMPLE");
    const long long period = text == NULL ? 0 : strtoll(text, NULL, 10);
    struct pprof_answer nobody = { 0 };

    if (period > 0) {
        (void) pprof_alloc_sample_set(t, (uint64_t) period, &nobody);
        pprof_buf_free(&nobody.body);
    }
}


void
pprof_alloc_sample_release(const struct pprof_kind *kind,
    struct pprof_target *t)
{
    (void) kind;

    pprof_capture_lock(t);
    t->kinds->allocs.wanted = 0;
    t->kinds->allocs.windows = 0;
    (void) apply(t, 0);
    (void) pprof_target_call(t, PPROF_OP_ALLOCS_CLEAR, NULL, NULL);
    t->kinds->allocs.period = 0;
    pprof_capture_unlock(t);
}


void
pprof_alloc_sample_child(const struct pprof_kind *kind,
    struct pprof_target *t)
{
    (void) kind;

    t->kinds->allocs.windows = 0;

    if (t->kinds->allocs.on) {
        pprof_tables_use(t);
        (void) apply(t, t->kinds->allocs.period);
    }
}


void
pprof_alloc_sample_add(struct pprof_target *t, struct pprof_profile *p,
    const struct pprof_maps *maps, int sign, size_t at, bool swap)
{
    const struct pprof_row *row = NULL;
    struct pprof_reply reply;

    if (t->kinds->allocs.on) {
        pprof_tables_update(t);
    }

    /* not while pprof_stop() takes them away */
    pprof_capture_lock(t);

    const double period = (double) t->kinds->allocs.period;
    const int rc = pprof_target_call(t, PPROF_OP_ALLOCS_READ, NULL, &reply);

    pprof_capture_unlock(t);

    if (rc == -1) {
        return;
    }

    while ((row = pprof_reply_next(&reply, row)) != NULL) {
        const uintptr_t *const pcs = (const uintptr_t *) row->pcs;
        const double size = (double) row->tag;
        int64_t values[PPROF_VALUES_MAX] = { 0 };

        /* taken with probability 1 - exp(-size / period) */
        const double k = size == 0 ? 0 : 1 / -expm1(-size / period);
        const size_t skip = pprof_tcmalloc_skip(maps,
                                                (uintptr_t) reply.results[2],
                                                pcs, row->depth);

        values[at + swap] = sign * llround((double) row->count * k);
        values[at + !swap] = sign * llround((double) row->count * size * k);

        pprof_profile_sample(p, pcs + skip, row->depth - skip, false, values,
                             NULL, 0);
    }

    int64_t values[PPROF_VALUES_MAX] = { 0 };

    values[at + swap] = sign * (int64_t) reply.results[0];
    values[at + !swap] = sign * (int64_t) reply.results[1];
    pprof_profile_lost(p, values, "[stack table full]");
    pprof_reply_free(&reply);
}
