#include "guest/account.h"

#include "guest/newborn.h"
#include "guest/routes.h"


enum {
    FEW = 4,                            /* samples of a thread hit by chance */
    STRETCH = 4                         /* times that a sample may stand for
                                           what none was taken of */
};


/* What the samples of each class say, in ns. */
struct young {
    uint64_t  nsec[PPROF_NEWBORN_CLASSES];
};


static void
add_young(void *arg, const struct pprof_stack *row)
{
    struct young *young = arg;

    if (row->tag >= PPROF_NEWBORN_TAG) {
        young->nsec[row->tag - PPROF_NEWBORN_TAG] += row->value;
    }
}


/* Periods, of NSEC and what was left over before. */
static uint64_t
take_periods(struct pprof_account *account, uint64_t nsec)
{
    account->carry += nsec;

    const uint64_t count = account->carry / account->ticks->period;

    account->carry -= count * account->ticks->period;

    return count;
}


/* A stack while it is told, route by route. */
struct told {
    struct pprof_account      *account;
    struct pprof_sampler_row   sample;
};


static void
report_route(void *arg, unsigned route, uint64_t nsec)
{
    struct told *const          told = arg;
    struct pprof_account *const account = told->account;

    told->sample.route = route;
    told->sample.count = take_periods(account, nsec);
    account->samples += told->sample.count;

    if (told->sample.count > 0 && account->visit != NULL) {
        account->visit(account->arg, &told->sample);
    }
}


static void
report_stack(void *arg, const struct pprof_stack *row)
{
    struct pprof_account *account = arg;
    struct told           told = {
        .account = account,
        .sample = { .pcs = row->pcs, .depth = row->depth, .thread = "" },
    };
    uint64_t nsec = row->value;

    if (row->tag >= PPROF_NEWBORN_TAG) {
        nsec = (uint64_t) ((double) nsec
                           * account->scale[row->tag - PPROF_NEWBORN_TAG]);

    } else {
        told.sample.tid = account->ticks->threads[row->tag].tid;
        told.sample.thread = account->ticks->threads[row->tag].name;
    }

    if (account->ticks->routes != NULL) {
        pprof_route_sums_share(account->ticks->routes, row->row, nsec,
                               report_route, &told);

    } else {
        report_route(&told, PPROF_ROUTE_NONE, nsec);
    }
}


static void
report_lost(struct pprof_account *account,
    const struct pprof_tick_thread *thread, uint64_t nsec, const char *reason)
{
    const struct pprof_sampler_row sample = {
        .count = nsec > 0 ? take_periods(account, nsec) : 0,
        .tid = thread ? thread->tid : 0,
        .thread = thread ? thread->name : "",
        .lost = reason,
    };

    account->lost += sample.count;

    if (sample.count > 0 && account->visit != NULL) {
        account->visit(account->arg, &sample);
    }
}


/* Charges NSEC to the stacks that THREAD was first and last seen with. */
static void
charge(struct pprof_account *account, const struct pprof_tick_thread *thread,
    uint64_t first, uint64_t last)
{
    struct pprof_stackmap *map = account->ticks->map;

    pprof_stackmap_more(map, atomic_load(&thread->first), 0, first);
    pprof_stackmap_more(map, atomic_load(&thread->row), 0, last);
}


/* What THREAD computed, as far as its clock was read. */
static uint64_t
computed(const struct pprof_tick_thread *thread)
{
    return atomic_load(&thread->last) - thread->from;
}


/* The most that lies between two samples, where every one arrives. */
static uint64_t
longest_gap(const struct pprof_ticks *ticks)
{
    return ticks->period + ticks->period / 2 + ticks->tick;
}


/*
 * One thread's account.  What it computed after its last sample belongs to the
 * first: a thread is met in the midst of what it does, so that what lies before
 * its first sample is short of a gap between two by what lies after the last.
 * It matters for those that have but a few.
 *
 * Returns the ns that none of its samples can stand
 * for, since it has none.
 */
static uint64_t
settle_thread(struct pprof_account *account, struct pprof_tick_thread *thread)
{
    const uint64_t mark = atomic_load(&thread->mark);
    const bool     sampled = atomic_load(&thread->row) != 0;
    uint64_t       held = atomic_load(&thread->held), unsampled = 0;

    if (atomic_load(&thread->last) < mark) {
        atomic_store(&thread->last, mark);
    }

    const uint64_t rest = atomic_load(&thread->last) - mark;

    if (thread->no_timer) {
        report_lost(account, thread, rest, "no timer");

    } else if (atomic_load(&thread->blocked)) {
        held += rest;

    } else if (rest > PPROF_ACCOUNT_LAG
               && (account->taken || !sampled
                   || rest > computed(thread) / 2))
    {
        report_lost(account, thread, rest, "no signal came");

    } else if (sampled) {
        const uint64_t first = rest < longest_gap(account->ticks)
                               ? rest : longest_gap(account->ticks);

        charge(account, thread, first, rest - first);

    } else if (atomic_load(&thread->signals) == 0) {
        unsampled = rest;
    }

    report_lost(account, thread, held, "signal blocked");

    return unsampled;
}


/*
 * How much more than it computed itself THREAD may stand for.  A tick hits a
 * thread that computes a tenth of one with the chance of one in ten, and
 * then stands for all ten.  Who computes for longer than a tick is hit anyway,
 * and stands for nobody else.
 */
static uint64_t
stands_for(const struct pprof_account *account,
    const struct pprof_tick_thread *thread)
{
    const uint64_t signals = atomic_load(&thread->signals);
    const uint64_t ticks = signals * account->ticks->tick;

    return signals > 0 && signals <= FEW && !thread->ours
           && atomic_load(&thread->row) != 0
           && computed(thread) < account->ticks->tick
           ? ticks - computed(thread) : 0;
}


/* Where that is not enough: what THREAD's few samples are worth. */
static uint64_t
seldom_hit(const struct pprof_account *account,
    const struct pprof_tick_thread *thread)
{
    const uint64_t signals = atomic_load(&thread->signals);

    return signals <= FEW && !thread->ours && atomic_load(&thread->row) != 0
           ? signals * account->ticks->tick : 0;
}


/*
 * How long THREAD may have computed after it was last looked at.  Who said
 * that it ended has told.
 */
static uint64_t
likely_rest(const struct pprof_account *account,
    const struct pprof_tick_thread *thread)
{
    const uint64_t signals = atomic_load(&thread->signals);

    (void) account;

    return signals == 0 || thread->live || thread->ours
           || atomic_load(&thread->row) == 0 || atomic_load(&thread->ended)
           ? 0 : computed(thread) / signals;
}


/*
 * Shares NSEC among the threads by WEIGHT, which is in ns; each gets at most
 * TIMES its own.  Returns what is left.
 */
static uint64_t
share(struct pprof_account *account, uint64_t nsec, unsigned times,
    uint64_t (*weight)(const struct pprof_account *,
                       const struct pprof_tick_thread *))
{
    const size_t n = pprof_tick_rows(account->ticks);
    uint64_t     sum = 0, given = 0;

    for (size_t i = 0; i < n; i++) {
        sum += weight(account, &account->ticks->threads[i]);
    }

    if (sum == 0) {
        return nsec;
    }

    const double scale = nsec < times * sum ? (double) nsec / (double) sum
                                            : times;

    for (size_t i = 0; i < n; i++) {
        const struct pprof_tick_thread *thread = &account->ticks->threads[i];

        const uint64_t part = (uint64_t) (scale
                                          * (double) weight(account, thread));

        if (part > 0) {
            charge(account, thread, part / 2, part - part / 2);
            given += part;
        }
    }

    return given < nsec ? nsec - given : 0;
}


/* NSEC of threads that began with RUN, and more is not known of them. */
static void
report_run(struct pprof_account *account, uintptr_t run, uint64_t nsec)
{
    /* as a return address: see pprof_unwind_context() */
    const uintptr_t pc = run + 1;

    struct pprof_sampler_row sample = {
        .pcs = &pc,
        .depth = 1,
        .thread = "",
    };

    if (run == 0) {
        report_lost(account, NULL, nsec, "thread ended unseen");
        return;
    }

    sample.count = take_periods(account, nsec);
    account->samples += sample.count;

    if (sample.count > 0 && account->visit != NULL) {
        account->visit(account->arg, &sample);
    }
}


static uint64_t
computed_young(const struct pprof_newborn_class *class)
{
    return atomic_load(&class->nsec) + class->living;
}


/*
 * What the process computed, and no row's clock told: GAP.  It is of those
 * that came and went, who have told it, of those that are young yet, and of
 * those that were there and ended since they were last looked at.
 */
static void
settle_young(struct pprof_account *account, uint64_t gap)
{
    const struct pprof_newborn_class *classes;

    struct young young = { 0 };
    uint64_t     told = 0;

    classes = account->ticks->newborns->classes;
    pprof_stackmap_read(account->ticks->map, add_young, &young);

    for (size_t i = 0; i < PPROF_NEWBORN_CLASSES; i++) {
        told += computed_young(&classes[i]);
    }

    uint64_t rest = gap > told ? share(account, gap - told, 1, likely_rest)
                               : 0;

    /* who ended unseen is as those are; and no more than there was */
    const double more = told == 0 ? 0
                        : gap < told ? (double) gap / (double) told
                        : 1 + (double) rest / (double) told;

    for (size_t i = 0; i < PPROF_NEWBORN_CLASSES; i++) {
        const double nsec = (double) computed_young(&classes[i]) * more;
        const double known = nsec < STRETCH * (double) young.nsec[i]
                             ? nsec : STRETCH * (double) young.nsec[i];

        if (known > 0) {
            account->scale[i] = known / (double) young.nsec[i];
        }

        report_run(account, atomic_load(&classes[i].run),
                   (uint64_t) (nsec - known));
    }

    if (told == 0) {
        report_lost(account, NULL, rest, "thread ended unseen");
    }
}


void
pprof_account_settle(struct pprof_account *account)
{
    struct pprof_ticks *ticks = account->ticks;
    uint64_t            told = 0, unsampled = 0;

    account->carry = ticks->period / 2;
    account->young = atomic_load(&ticks->newborns->count);

    if (ticks->routes != NULL) {
        /* before rows are charged with what no sample was taken of */
        pprof_route_sums_close(ticks->routes, ticks->map);
    }

    for (size_t i = 0; i < pprof_tick_rows(ticks); i++) {
        struct pprof_tick_thread *thread = &ticks->threads[i];

        if (!thread->ours) {
            unsampled += settle_thread(account, thread);
            told += computed(thread);
        }
    }

    unsampled = share(account, unsampled, 1, stands_for);
    unsampled = share(account, unsampled, STRETCH, seldom_hit);
    report_lost(account, NULL, unsampled, "too little to be sampled");

    if (!ticks->wall) {
        settle_young(account, account->cpu > told ? account->cpu - told : 0);
    }

    report_lost(account, NULL, pprof_stackmap_lost(ticks->map).value,
                "stack table full");
    pprof_stackmap_read(ticks->map, report_stack, account);
}
