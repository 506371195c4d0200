#include "kinds/alloc_sample.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "guest/allocs.h"
#include "guest/cfi.h"
#include "kinds/env.h"
#include "kinds/life.h"
#include "kinds/state.h"
#include "kinds/tcmalloc.h"


/* tcmalloc is asked in its own process: there is one kinds()->allocs. */
static struct pprof_kinds *
kinds(void)
{
    return pprof_kinds_of(pprof_target_self());
}


/* Under the capture lock.  Returns 0, or -1 with errno. */
static int
apply(uint64_t period)
{
    const bool on = kinds()->allocs.wanted != 0 || kinds()->allocs.windows > 0;

    if (on == kinds()->allocs.on) {
        return on ? pprof_allocs_period(period) : 0;
    }

    if (!on) {
        pprof_tcmalloc_unhook(pprof_allocs_hook);
        (void) pprof_allocs_period(0);
        pprof_tables_drop(pprof_target_self());
        kinds()->allocs.on = false;
        return 0;
    }

    if (pprof_allocs_period(period) == -1) {
        return -1;
    }

    if (pprof_tcmalloc_hook(pprof_allocs_hook) == -1) {
        (void) pprof_allocs_period(0);
        errno = ENOSYS;
        return -1;
    }

    pprof_tables_use(pprof_target_self());
    kinds()->allocs.period = period;
    kinds()->allocs.on = true;

    return 0;
}


static int
refuse(struct pprof_answer *a, int error)
{
    if (error == ENOSYS) {
        pprof_answer_error(a, 501, "the program does not allocate with "
                           "tcmalloc, or all its hooks are taken; start it "
                           "with pprof-run, or link it with -ltcmalloc");

    } else {
        pprof_answer_error(a, 503, "allocations cannot be recorded: %s; retry "
                           "when the program has more memory",
                           strerrordesc_np(error));
    }

    return -1;
}


int
pprof_alloc_sample_begin(uint64_t period, struct pprof_answer *answer)
{
    pprof_capture_lock(pprof_target_self());
    kinds()->allocs.windows++;

    /* sums of two periods could not be told apart */
    const int rc = apply(kinds()->allocs.period != 0
                         ? kinds()->allocs.period : period);
    const int error = errno;

    if (rc == -1) {
        kinds()->allocs.windows--;
    }

    pprof_capture_unlock(pprof_target_self());

    return rc == 0 ? 0 : refuse(answer, error);
}


void
pprof_alloc_sample_end(void)
{
    pprof_capture_lock(pprof_target_self());

    if (kinds()->allocs.windows > 0) {
        kinds()->allocs.windows--;
        (void) apply(kinds()->allocs.period);
    }

    pprof_capture_unlock(pprof_target_self());
}


int
pprof_alloc_sample_set(uint64_t period, struct pprof_answer *answer)
{
    pprof_capture_lock(pprof_target_self());

    const uint64_t before = kinds()->allocs.wanted;

    kinds()->allocs.wanted = period;

    const int rc = apply(kinds()->allocs.period != 0
                         ? kinds()->allocs.period : period);
    const int error = errno;

    if (rc == -1) {
        kinds()->allocs.wanted = before;
    }

    pprof_capture_unlock(pprof_target_self());

    return rc == 0 ? 0 : refuse(answer, error);
}


uint64_t
pprof_alloc_sample_period(void)
{
    return kinds()->allocs.period;
}


void
pprof_alloc_sample_prepare(const struct pprof_kind *kind,
    struct pprof_target *target)
{
    (void) kind;

    if (!target->self) {
        return;
    }

    const char *const text = pprof_env_get("PPROF_ALLOC_SAMPLE");
    const long long period = text == NULL ? 0 : strtoll(text, NULL, 10);
    struct pprof_answer nobody = { 0 };

    if (period > 0) {
        (void) pprof_alloc_sample_set((uint64_t) period, &nobody);
        pprof_buf_free(&nobody.body);
    }
}


void
pprof_alloc_sample_release(const struct pprof_kind *kind,
    struct pprof_target *target)
{
    (void) kind;

    if (!target->self) {
        return;
    }

    pprof_capture_lock(pprof_target_self());
    kinds()->allocs.wanted = 0;
    kinds()->allocs.windows = 0;
    (void) apply(0);
    pprof_allocs_clear();
    kinds()->allocs.period = 0;
    pprof_capture_unlock(pprof_target_self());
}


void
pprof_alloc_sample_child(const struct pprof_kind *kind,
    struct pprof_target *target)
{
    (void) kind;

    if (!target->self) {
        return;
    }

    pprof_allocs_child();
    kinds()->allocs.windows = 0;

    if (kinds()->allocs.on) {
        pprof_tables_use(pprof_target_self());
        (void) apply(kinds()->allocs.period);
    }
}


struct adding {
    struct pprof_profile     *p;
    const struct pprof_maps  *maps;
    int                       sign;
    size_t                    at;
    bool                      swap;
};


static void
visit(void *arg, const struct pprof_stack *row)
{
    struct adding *adding = arg;
    const double size = (double) row->tag;
    const double period = (double) kinds()->allocs.period;
    int64_t values[PPROF_VALUES_MAX] = { 0 };

    /* taken with probability 1 - exp(-size / period) */
    const double k = size == 0 ? 0 : 1 / -expm1(-size / period);
    const int64_t objects = llround((double) row->count * k);
    const int64_t bytes = llround((double) row->count * size * k);
    const size_t skip = pprof_tcmalloc_skip(adding->maps,
                                            (void *const *) row->pcs,
                                            row->depth);

    values[adding->at + adding->swap] = adding->sign * objects;
    values[adding->at + !adding->swap] = adding->sign * bytes;

    pprof_profile_sample(adding->p, row->pcs + skip, row->depth - skip, false,
                         values, NULL, 0);
}


void
pprof_alloc_sample_add(struct pprof_profile *p, const struct pprof_maps *maps,
    int sign, size_t at, bool swap)
{
    struct adding adding = {
        .p = p, .maps = maps, .sign = sign, .at = at, .swap = swap
    };

    /* not while pprof_stop() takes them away */
    pprof_capture_lock(pprof_target_self());

    if (kinds()->allocs.on) {
        (void) pprof_cfi_refresh();
    }

    pprof_allocs_read(visit, &adding);

    const struct pprof_stackmap_loss lost = pprof_allocs_lost();

    pprof_capture_unlock(pprof_target_self());

    int64_t values[PPROF_VALUES_MAX] = { 0 };

    values[at + swap] = sign * (int64_t) lost.count;
    values[at + !swap] = sign * (int64_t) lost.value;
    pprof_profile_lost(p, values, "[stack table full]");
}
