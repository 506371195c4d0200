#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/clock.h"
#include "guest/cfi.h"
#include "guest/events.h"
#include "guest/own.h"
#include "guest/raw.h"
#include "guest/sampler.h"
#include "guest/tick.h"
#include "guest/timers.h"
#include "guest/unwind.h"


enum {
    SLOTS = 2 * PPROF_SAMPLER_THREADS,  /* of the table from tid to thread */
    FRAMES_PER_STACK = 24,              /* on average, when all are used */
    SCAN_SHARE = 200,                   /* a scan may take 1/200 of the time */
    SCAN_MIN = 4000000,                 /* ns between two scans */
    SCAN_MAX = 100000000,
    SCAN_IDLE = 100000000,              /* ns to the next, if no thread that
                                           we hear of is born */
    CHECK_EVERY = 100000000,            /* ns between two looks at modules */
    LAG_MIN = 50000000                  /* ns without a sample: why? */
};


/* A profile: all that it has. */
struct sampler {
    struct pprof_ticks        ticks;
    size_t                    mapped;   /* bytes of ticks.threads */
    size_t                    n;        /* threads seen */
    uint32_t                 *by_tid;   /* SLOTS of index + 1; 0 is free */
    uint32_t                 *live;     /* indices of those that are */
    size_t                    nlive;
    bool                      wall;
    bool                      first;    /* the first scan is under way */
    bool                      taken;
    int                       signo;
    uint64_t                  started;
    uint64_t                  cpu;      /* of the process when it started */
    uint64_t                  crowd;    /* ns of threads beyond the limit */
    uint32_t                  seed;

    /* the controller's, which is the resting thread or one of our own */
    uint64_t                  scanned;  /* when, CLOCK_MONOTONIC */
    uint64_t                  checked;
    uint64_t                  pause;    /* ns between two scans */
    uint32_t                  births;   /* as the last scan found them */
    bool                      told;     /* of every thread that is created */
    bool                      busy;     /* some were before the last scan */
    bool                      driven;   /* by pprof_sampler_step() */
    pthread_t                 controller;
    _Atomic bool              quit;
};


static _Atomic(struct sampler *)  running;
static uint32_t                   generation;

/* Threads that were created, and whether somebody waits for the next. */
static _Atomic uint32_t           births;
static atomic_bool                expecting;

/* What the controller sleeps on: a futex of its own, or the page's bell. */
static _Atomic uint32_t           own_bell;
static _Atomic uint32_t          *bell = &own_bell;


/* What a thread's timer counts, in ns; 0 when the thread is gone. */
static uint64_t
clock_of(const struct sampler *sampler, pid_t tid)
{
    return sampler->wall ? pprof_clock(CLOCK_MONOTONIC)
                         : pprof_thread_clock(tid);
}


static void
read_name(struct pprof_tick_thread *thread)
{
    char buf[32];

    ssize_t n = pprof_task_read(thread->tid, "comm", buf, sizeof(buf));

    if (n <= 0) {
        return;
    }

    size_t size = strcspn(buf, "\n");

    if (size >= sizeof(thread->name)) {
        size = sizeof(thread->name) - 1;
    }

    memcpy(thread->name, buf, size);
    thread->name[size] = '\0';
}


/* The place of TID in by_tid: its own, or a free one. */
static uint32_t *
find_tid(struct sampler *sampler, pid_t tid)
{
    size_t i = (uint32_t) tid * 2654435761u % SLOTS;

    while (sampler->by_tid[i] != 0
           && sampler->ticks.threads[sampler->by_tid[i] - 1].tid != tid)
    {
        i = (i + 1) % SLOTS;
    }

    return &sampler->by_tid[i];
}


/*
 * Gives a thread its timer.  The first period begins at a random phase:
 * threads that use less than one are then sampled as often as they should be.
 */
static void
add_thread(struct sampler *sampler, size_t index, pid_t tid)
{
    struct pprof_tick_thread *thread = &sampler->ticks.threads[index];
    uint64_t                  period = sampler->ticks.period;
    uint64_t                  now = clock_of(sampler, tid);
    uint64_t                  first = 1 + (uint64_t) rand_r(&sampler->seed)
                                          % period;

    /* a row is used once, so it is still all zeroes */
    thread->tid = tid;
    thread->seen = true;
    thread->from = now;
    thread->last = now;

    if (!sampler->first && !sampler->wall) {
        /*
         * It was born since the last scan, and all it used is the profile's.
         * Not by a timer that has run out: that would wake a thread which
         * may be asleep by now.
         */
        thread->from = 0;

        if (now >= first) {
            uint64_t missed = (now - first) / period + 1;

            atomic_store(&thread->credit, missed);
            first += missed * period;
        }

        first -= now;
    }

    thread->live = true;
    sampler->live[sampler->nlive++] = (uint32_t) index;

    thread->timer = pprof_timer_create(tid,
                        pprof_tick_value(sampler->ticks.generation, index),
                        first, period, sampler->wall);

    /* gone already, or one timer too many */
    thread->no_timer = thread->timer == -1;

    read_name(thread);
}


static void
visit_tid(void *arg, pid_t tid)
{
    struct sampler           *sampler = arg;
    uint32_t                 *place = find_tid(sampler, tid);
    struct pprof_tick_thread *thread;

    if (*place != 0) {
        thread = &sampler->ticks.threads[*place - 1];

        if (thread->live) {
            thread->seen = true;
            return;
        }
    }

    if (sampler->n == sampler->ticks.cap) {
        sampler->crowd++;
        return;
    }

    /* a number that is used again: the dead thread's row stays as it is */
    *place = (uint32_t) ++sampler->n;
    add_thread(sampler, sampler->n - 1, tid);
}


static void
stop_thread(struct pprof_tick_thread *thread)
{
    if (!thread->no_timer) {
        pprof_timer_delete(thread->timer);
    }
}


/* Finds the threads that came, and those that went. */
static void
scan(struct sampler *sampler)
{
    size_t kept = 0;

    for (size_t i = 0; i < sampler->nlive; i++) {
        sampler->ticks.threads[sampler->live[i]].seen = false;
    }

    if (pprof_task_list(visit_tid, sampler) == -1) {
        /* no descriptor free: all that were live are taken to be so still */
        return;
    }

    for (size_t i = 0; i < sampler->nlive; i++) {
        uint32_t                  index = sampler->live[i];
        struct pprof_tick_thread *thread = &sampler->ticks.threads[index];

        if (!thread->seen) {
            /* a thread of ours is one when it has begun to run */
            thread->ours = pprof_own_has(thread->tid);
            stop_thread(thread);
            thread->live = false;
            continue;
        }

        if (!thread->named && atomic_load(&thread->signals) > 0) {
            /* threads name themselves when they have begun to run */
            thread->named = true;
            read_name(thread);
        }

        uint64_t now = clock_of(sampler, thread->tid);

        if (now != 0) {
            thread->last = now;
        }

        sampler->live[kept++] = index;
    }

    sampler->nlive = kept;
}


/* Whole periods that THREAD computed and nothing stands for. */
static uint64_t
missing(const struct pprof_tick_thread *thread, uint64_t period)
{
    uint64_t due = (thread->last - thread->from) / period;
    uint64_t had = atomic_load(&thread->ticks) + atomic_load(&thread->credit)
                   + atomic_load(&thread->held);

    return due > had ? due - had : 0;
}


/*
 * Looks for live threads that compute and are not sampled.  At the LAST time
 * one that computed a little and was never sampled is suspect, too.
 */
static void
check(struct sampler *sampler, bool last)
{
    uint64_t period = sampler->ticks.period;

    for (size_t i = 0; i < sampler->nlive; i++) {
        struct pprof_tick_thread *thread;

        thread = &sampler->ticks.threads[sampler->live[i]];

        const bool never = last && atomic_load(&thread->signals) == 0;

        if (missing(thread, period) * period > (never ? 0 : LAG_MIN)) {
            atomic_store(&thread->blocked, pprof_task_blocks(thread->tid));

        } else if (atomic_load(&thread->blocked)
                   && !pprof_task_blocks(thread->tid))
        {
            atomic_store(&thread->blocked, false);
        }
    }

    pprof_cfi_refresh();
    sampler->taken = sampler->taken || !pprof_signal_ours();
}


static void
ring(void)
{
    atomic_fetch_add(bell, 1);
    pprof_raw(SYS_futex, (uintptr_t) bell, FUTEX_WAKE, 1, 0, 0, 0);
}


void
pprof_sampler_bell(_Atomic uint32_t *word)
{
    bell = word == NULL ? &own_bell : word;
}


void
pprof_sampler_born(void)
{
    atomic_fetch_add(&births, 1);

    if (atomic_load(&expecting)) {
        ring();
    }
}


/*
 * When the next scan is due, by the account of NOW.  Waking costs as much as a
 * scan, so a program whose threads stay is left alone until one is born.
 */
static uint64_t
next_scan(struct sampler *sampler, uint64_t now)
{
    uint64_t next = sampler->scanned + sampler->pause;

    if (!sampler->told || sampler->busy) {
        return next;
    }

    atomic_store(&expecting, true);

    /* looked at behind that: who is born from now on rings */
    if (atomic_load(&births) == sampler->births
        && now < sampler->scanned + SCAN_IDLE)
    {
        return sampler->scanned + SCAN_IDLE;
    }

    return next;
}


/* Scans when that is due.  Returns the ns until it is again. */
static uint64_t
step(struct sampler *sampler)
{
    uint64_t now = pprof_clock(CLOCK_MONOTONIC);
    uint64_t next = next_scan(sampler, now);

    if (now < next) {
        return next - now;
    }

    atomic_store(&expecting, false);

    uint64_t before = pprof_clock(CLOCK_THREAD_CPUTIME_ID);
    uint32_t born = atomic_load(&births);

    sampler->busy = born != sampler->births;
    sampler->births = born;
    scan(sampler);

    uint64_t pause = (pprof_clock(CLOCK_THREAD_CPUTIME_ID) - before)
                     * SCAN_SHARE;

    pause = pause < SCAN_MIN ? SCAN_MIN : pause;
    sampler->pause = pause > SCAN_MAX ? SCAN_MAX : pause;
    sampler->scanned = pprof_clock(CLOCK_MONOTONIC);

    if (sampler->scanned - sampler->checked >= CHECK_EVERY) {
        sampler->checked = sampler->scanned;
        check(sampler, false);
    }

    return sampler->pause;
}


uint64_t
pprof_sampler_step(void)
{
    struct sampler *sampler = atomic_load(&running);

    return sampler == NULL || !sampler->driven ? UINT64_MAX : step(sampler);
}


static void *
control(void *arg)
{
    struct sampler *sampler = arg;

    for ( ;; ) {
        const uint32_t rung = atomic_load(&own_bell);

        if (atomic_load(&sampler->quit)) {
            return NULL;
        }

        struct timespec ts = pprof_clock_spec(step(sampler));

        /* returns at once when the bell was rung meanwhile */
        pprof_raw(SYS_futex, (uintptr_t) &own_bell, FUTEX_WAIT, rung,
                  (uintptr_t) &ts, 0, 0);
    }
}


/* CPU time of the library's own threads, which are no part of the program. */
static uint64_t
program_cpu(void)
{
    return pprof_clock(CLOCK_PROCESS_CPUTIME_ID) - pprof_own_cpu();
}


static void
free_sampler(struct sampler *sampler)
{
    pprof_stackmap_free(sampler->ticks.map);

    if (sampler->ticks.threads != NULL) {
        munmap(sampler->ticks.threads, sampler->mapped);
    }

    munmap(sampler, sizeof(*sampler));
}


static void *
map_zeroes(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}


static struct sampler *
new_sampler(unsigned hz, bool wall)
{
    struct sampler *sampler = map_zeroes(sizeof(*sampler));

    if (sampler == NULL) {
        return NULL;
    }

    size_t threads = PPROF_SAMPLER_THREADS * sizeof(*sampler->ticks.threads);
    size_t live = PPROF_SAMPLER_THREADS * sizeof(*sampler->live);

    sampler->mapped = threads + live + SLOTS * sizeof(*sampler->by_tid);
    sampler->ticks.threads = map_zeroes(sampler->mapped);
    sampler->ticks.map = pprof_stackmap_create(PPROF_SAMPLER_STACKS,
                                               (size_t) PPROF_SAMPLER_STACKS
                                               * FRAMES_PER_STACK);

    if (sampler->ticks.threads == NULL || sampler->ticks.map == NULL) {
        free_sampler(sampler);
        errno = ENOMEM;
        return NULL;
    }

    char *rest = (char *) sampler->ticks.threads + threads;

    sampler->live = (uint32_t *) rest;
    sampler->by_tid = (uint32_t *) (rest + live);
    sampler->ticks.cap = PPROF_SAMPLER_THREADS;
    sampler->ticks.period = 1000000000 / hz;
    sampler->ticks.generation = generation += 2;
    sampler->wall = wall;
    sampler->first = true;
    sampler->seed = (uint32_t) pprof_clock(CLOCK_MONOTONIC);

    sampler->scanned = sampler->checked = pprof_clock(CLOCK_MONOTONIC);
    sampler->pause = SCAN_MIN;
    sampler->told = pprof_events_hooked(PPROF_EVENT_CREATE);
    sampler->births = atomic_load(&births);
    sampler->busy = true;
    sampler->driven = pprof_own_raw();

    return sampler;
}


/* Takes the profile away from the handlers; false when one is still inside. */
static bool
withdraw(struct sampler *sampler)
{
    for (size_t i = 0; i < sampler->nlive; i++) {
        stop_thread(&sampler->ticks.threads[sampler->live[i]]);
    }

    pprof_signal_release();
    atomic_store(&pprof_tick_shared.ticks, NULL);

    return pprof_signal_quiesce();
}


int
pprof_sampler_start(unsigned hz, bool wall)
{
    if (hz > PPROF_SAMPLER_HZ_MAX) {
        errno = EINVAL;
        return -1;
    }

    if (atomic_load(&running) != NULL) {
        errno = EALREADY;
        return -1;
    }

    pprof_unwind_init();

    if (pprof_cfi_refresh() == -1) {
        return -1;
    }

    struct sampler *sampler = new_sampler(hz == 0 ? PPROF_SAMPLER_HZ : hz,
                                          wall);
    if (sampler == NULL) {
        return -1;
    }

    sampler->signo = pprof_signal_acquire();

    if (sampler->signo == -1) {
        free_sampler(sampler);
        errno = EBUSY;
        return -1;
    }

    atomic_store(&pprof_tick_shared.ticks, &sampler->ticks);

    sampler->started = pprof_clock(CLOCK_MONOTONIC);
    sampler->cpu = program_cpu();

    int error = pprof_task_list(visit_tid, sampler) == -1 ? errno : 0;

    sampler->first = false;

    if (error == 0 && !sampler->driven) {
        error = pprof_own_create(&sampler->controller, "pprof-sampler",
                                 control, sampler);
    }

    if (error != 0) {
        if (withdraw(sampler)) {
            free_sampler(sampler);
        }

        errno = error;
        return -1;
    }

    atomic_store(&running, sampler);

    return 0;
}


bool
pprof_sampler_running(void)
{
    return atomic_load(&running) != NULL;
}


/* Where rows go, and what they sum up to. */
struct report {
    struct sampler       *sampler;
    pprof_sampler_visit  *visit;
    void                 *arg;
    uint64_t              samples;
    uint64_t              lost;
};


static void
report_stack(void *arg, const struct pprof_stack *row)
{
    struct report                  *report = arg;
    const struct pprof_tick_thread *thread;

    thread = &report->sampler->ticks.threads[row->tag];
    report->samples += row->count;

    if (report->visit != NULL) {
        struct pprof_sampler_row sample = {
            .pcs = row->pcs,
            .depth = row->depth,
            .count = row->count,
            .tid = thread->tid,
            .thread = thread->name,
        };

        report->visit(report->arg, &sample);
    }
}


static void
report_lost(struct report *report, const struct pprof_tick_thread *thread,
    uint64_t count, const char *reason)
{
    if (count == 0) {
        return;
    }

    report->lost += count;

    if (report->visit != NULL) {
        struct pprof_sampler_row sample = {
            .count = count,
            .tid = thread ? thread->tid : 0,
            .thread = thread ? thread->name : "",
            .lost = reason,
        };

        report->visit(report->arg, &sample);
    }
}


/*
 * The kernel looks at CPU timers when its tick finds the thread running: with
 * more threads than processors, every tens of milliseconds of its time.  What
 * a thread computes between the last such moment and its end has no signal.
 * It is charged to where the last sample was, as the time before each signal
 * is to where that one was.
 */
static void
charge(struct sampler *sampler, struct pprof_tick_thread *thread,
    uint64_t count)
{
    uint32_t row = atomic_load(&thread->row);

    if (row != 0 && count > 0) {
        pprof_stackmap_more(sampler->ticks.map, row, count,
                            count * sampler->ticks.period);
        atomic_fetch_add(&thread->ticks, count);
    }
}


/*
 * Settles each thread's account, as far as its clock was read.  Returns the
 * periods that all of them together now have, with or without a stack.
 */
static uint64_t
settle(struct report *report)
{
    struct sampler *sampler = report->sampler;
    uint64_t        period = sampler->ticks.period, told = 0;

    for (size_t i = 0; i < sampler->n; i++) {
        struct pprof_tick_thread *thread = &sampler->ticks.threads[i];
        uint64_t                  due = missing(thread, period);

        if (thread->ours) {
            continue;
        }

        if (thread->no_timer) {
            report_lost(report, thread, due, "no timer");

        } else if (atomic_load(&thread->blocked)) {
            atomic_fetch_add(&thread->held, due);

        } else if (due * period > LAG_MIN) {
            report_lost(report, thread, due, "no signal came");

        } else {
            charge(sampler, thread, due);
        }

        report_lost(report, thread, atomic_load(&thread->held),
                    "signal blocked");
        report_lost(report, thread, atomic_load(&thread->credit),
                    "thread ended unseen");

        told += atomic_load(&thread->ticks);
    }

    return told + report->lost;
}


/* How long THREAD, which ended, may have computed after its last signal. */
static uint64_t
likely_rest(const struct pprof_tick_thread *thread)
{
    uint32_t signals = atomic_load(&thread->signals);

    return signals == 0 || thread->live
           ? 0 : (thread->last - thread->from) / signals;
}


/*
 * Shares GAP periods, which only the process's clock knows of, among the
 * threads that ended: each gets at most what usually lay between two of its
 * signals.  Returns what is left.
 */
static uint64_t
share(struct sampler *sampler, uint64_t gap)
{
    uint64_t period = sampler->ticks.period, sum = 0, carry = 0, given = 0;

    for (size_t i = 0; i < sampler->n; i++) {
        sum += likely_rest(&sampler->ticks.threads[i]) / 1000;
    }

    uint64_t limit = gap * period / 1000;       /* all in microseconds */
    uint64_t scale = limit < sum ? limit : sum;

    for (size_t i = 0; i < sampler->n && sum > 0; i++) {
        struct pprof_tick_thread *thread = &sampler->ticks.threads[i];
        uint64_t                  rest = likely_rest(thread) / 1000;

        if (rest == 0 || atomic_load(&thread->row) == 0) {
            continue;
        }

        /* what does not make a period is passed on to the next */
        carry += (uint64_t) ((double) rest * (double) scale / (double) sum);

        uint64_t count = carry * 1000 / period;

        charge(sampler, thread, count);
        carry -= count * period / 1000;
        given += count;
    }

    return given < gap ? gap - given : 0;
}


/* The square root, rounded down: libm is not worth a dependency. */
static uint64_t
root(uint64_t n)
{
    uint64_t r = 0;

    while ((r + 1) * (r + 1) <= n) {
        r++;
    }

    return r;
}


static void
report_all(struct report *report, uint64_t cpu)
{
    struct sampler *sampler = report->sampler;
    uint64_t        period = sampler->ticks.period;
    uint64_t        full = pprof_stackmap_lost(sampler->ticks.map).count;

    report_lost(report, NULL, full, "stack table full");

    /* those are among the threads' ticks, too */
    uint64_t told = settle(report) - full;

    if (!sampler->wall && cpu / period > told) {
        uint64_t gap = share(sampler, cpu / period - told);

        /*
         * The rest is of threads that came and went between two scans, if it
         * is more than chance: each thread's unfinished period is worth half
         * of one, and the root of their number for many.
         */
        if (gap > 2 + root(sampler->n)) {
            report_lost(report, NULL, gap, "thread ended unseen");
        }
    }

    pprof_stackmap_read(sampler->ticks.map, report_stack, report);
}


int
pprof_sampler_stop(pprof_sampler_visit *visit, void *arg,
    struct pprof_sampler_result *result)
{
    struct sampler *sampler = atomic_load(&running);

    if (sampler == NULL) {
        errno = ESRCH;
        return -1;
    }

    if (!sampler->driven) {
        atomic_store(&sampler->quit, true);
        ring();
        pthread_join(sampler->controller, NULL);
    }

    atomic_store(&expecting, false);

    scan(sampler);
    check(sampler, true);

    uint64_t cpu = program_cpu() - sampler->cpu;
    uint64_t duration = pprof_clock(CLOCK_MONOTONIC) - sampler->started;

    for (size_t i = 0; i < sampler->nlive; i++) {
        read_name(&sampler->ticks.threads[sampler->live[i]]);
    }

    bool quiet = withdraw(sampler);

    struct report report = { .sampler = sampler, .visit = visit, .arg = arg };

    report_all(&report, cpu);

    if (result != NULL) {
        *result = (struct pprof_sampler_result) {
            .period = sampler->ticks.period,
            .duration = duration,
            .cpu = cpu,
            .samples = report.samples,
            .lost = report.lost,
            .threads = sampler->n,
            .signo = sampler->signo,
            .taken = sampler->taken,
        };
    }

    if (quiet) {
        free_sampler(sampler);
    }

    atomic_store(&running, NULL);

    return 0;
}


void
pprof_sampler_child(void)
{
    struct sampler *sampler = atomic_load(&running);

    atomic_store(&pprof_tick_shared.ticks, NULL);
    atomic_store(&pprof_tick_shared.inside, 0);
    atomic_store(&expecting, false);

    if (sampler != NULL) {
        /* timers are not inherited, so there is none to delete */
        pprof_signal_release();
        free_sampler(sampler);
        atomic_store(&running, NULL);
    }
}
