#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/clock.h"
#include "guest/account.h"
#include "guest/cfi.h"
#include "guest/events.h"
#include "guest/newborn.h"
#include "guest/own.h"
#include "guest/raw.h"
#include "guest/routes.h"
#include "guest/sampler.h"
#include "guest/tick.h"
#include "guest/timers.h"
#include "guest/unwind.h"


enum {
    SLOTS = 2 * PPROF_SAMPLER_THREADS,  /* of the table from tid to thread */
    FRAMES_PER_STACK = 24,              /* on average, when all are used */
    SCAN_SHARE = 200,                   /* a scan may take 1/200 of the time */
    SCAN_MIN = 4000000,                 /* ns between two scans */
    SCAN_MAX = 100000000,               /* and where threads begin themselves */
    CHECK_EVERY = 100000000,            /* ns between two looks at modules */
    LIST_TRIES = 5,
    CLOCK_TRIES = 8,
    CLOCK_GAP = 1000000,                /* ns that may be computed while clocks
                                           are read that are meant to be one */
    CLOCK_EACH = 1000                   /* and for each clock */
};


/* A profile: all that it has. */
struct sampler {
    struct pprof_ticks        ticks;
    size_t                    mapped;   /* bytes of ticks.threads */
    uint32_t                 *by_tid;   /* SLOTS of index + 1; 0 is free */
    uint32_t                 *live;     /* indices of those that are */
    size_t                    nlive;
    bool                      first;    /* the first scan is under way */
    bool                      told;     /* new threads begin by themselves */
    bool                      taken;
    int                       signo;
    uint64_t                  started;
    uint64_t                  cpu;      /* of the process when it started */
    uint64_t                  crowd;    /* times that there was no row left */
    uint32_t                  seed;

    /* the controller's, which is the resting thread or one of our own */
    uint64_t                  scanned;  /* when, CLOCK_MONOTONIC */
    uint64_t                  checked;
    uint64_t                  pause;    /* ns between two scans */
    bool                      driven;   /* by pprof_sampler_step() */
    pthread_t                 controller;
    _Atomic bool              quit;
};


static _Atomic(struct sampler *)  running;
static uint32_t                   generation;

/* What the controller sleeps on: a futex of its own, or the page's bell. */
static _Atomic uint32_t           own_bell;
static _Atomic uint32_t          *bell = &own_bell;


/* What a thread's timer counts, in ns; 0 when the thread is gone. */
static uint64_t
clock_of(const struct sampler *sampler, pid_t tid)
{
    return sampler->ticks.wall ? pprof_clock(CLOCK_MONOTONIC)
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


/* CPU time of the library's own threads, which are no part of the program. */
static uint64_t
program_cpu(void)
{
    return pprof_clock(CLOCK_PROCESS_CPUTIME_ID) - pprof_own_cpu();
}


/* Gives a thread its timer. */
static void
start_thread(struct sampler *sampler, struct pprof_tick_thread *thread)
{
    struct pprof_ticks *ticks = &sampler->ticks;
    const size_t        index = (size_t) (thread - ticks->threads);

    /* never at once: that would wake a thread which is asleep by now */
    uint64_t first = 1, period = ticks->tick / 2;

    if (ticks->wall) {
        first += (uint64_t) rand_r(&sampler->seed) % ticks->period;
        period = ticks->period;
    }

    const int timer = pprof_timer_create(thread->tid,
                          pprof_tick_value(ticks->generation, index), first,
                          period, ticks->wall);

    /* gone already, or one timer too many */
    thread->no_timer = timer == -1;
    atomic_store(&thread->timer, timer);
}


static void
add_thread(struct sampler *sampler, struct pprof_tick_thread *thread,
    pid_t tid)
{
    const size_t   index = (size_t) (thread - sampler->ticks.threads);
    const uint64_t now = clock_of(sampler, tid);

    thread->tid = tid;
    thread->seen = true;
    atomic_store(&thread->timer, -1);
    atomic_store(&thread->last, now);

    thread->live = true;
    sampler->live[sampler->nlive++] = (uint32_t) index;

    if (sampler->first) {
        atomic_store(&thread->mark, PPROF_TICK_CLOSED);

    } else {
        /* it was born since, and all it used is the profile's */
        thread->from = sampler->ticks.wall ? now : 0;
        atomic_store(&thread->mark, thread->from);
    }

    start_thread(sampler, thread);
    read_name(thread);
}


/* Reads the clocks of all live threads. */
static void
read_threads(struct sampler *sampler)
{
    for (size_t i = 0; i < sampler->nlive; i++) {
        struct pprof_tick_thread *thread;

        thread = &sampler->ticks.threads[sampler->live[i]];

        const uint64_t now = clock_of(sampler, thread->tid);

        if (now != 0 && !atomic_load(&thread->ended)) {
            atomic_store(&thread->last, now);
        }
    }
}


/*
 * Reads all clocks, and the program's, as of one moment.  They differ by what
 * the program computed meanwhile, which is much when we were interrupted: with
 * a hundred threads that want the CPU, a tenth of a second.  Who has slept is
 * let run for a while, so then it is tried again.
 *
 * Returns the program's.
 */
static uint64_t
read_clocks(struct sampler *sampler)
{
    struct timespec pause = { 0, CLOCK_GAP };
    uint64_t        limit = CLOCK_GAP + sampler->nlive * CLOCK_EACH;

    for (int i = 1; ; i++) {
        const uint64_t before = program_cpu();

        read_threads(sampler);

        if (!sampler->first) {
            pprof_newborn_read(sampler->ticks.newborns);
        }

        /* our own time is taken off when it is over, which is a step back */
        const uint64_t after = program_cpu();
        const uint64_t gap = after > before ? after - before : 0;

        if (gap < limit || i == CLOCK_TRIES) {
            return before + gap / 2;
        }

        if (i % 2 == 0) {
            limit *= 2;
        }

        pprof_raw(SYS_nanosleep, (uintptr_t) &pause, 0, 0, 0, 0, 0);
    }
}


/*
 * A thread that began by itself.  Returns false when TID did not.
 */
static bool
visit_newborn(struct sampler *sampler, pid_t tid)
{
    struct pprof_newborn *place = pprof_newborn_find(sampler->ticks.newborns,
                                                     tid);
    if (place == NULL) {
        return false;
    }

    const uint32_t row = atomic_load_explicit(&place->row,
                                              memory_order_acquire);

    if (row != 0) {
        struct pprof_tick_thread *thread = &sampler->ticks.threads[row - 1];

        thread->seen = true;

        if (!thread->live) {
            thread->live = true;
            sampler->live[sampler->nlive++] = row - 1;
            read_name(thread);
        }
    }

    return true;
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

    if (sampler->told && !sampler->first
        && (visit_newborn(sampler, tid)
            || pprof_thread_clock(tid) < sampler->ticks.tick))
    {
        /* or will do so any moment */
        return;
    }

    thread = pprof_tick_row(&sampler->ticks);

    if (thread == NULL) {
        sampler->crowd++;
        return;
    }

    /* a number that is used again: the dead thread's row stays as it is */
    *place = (uint32_t) (thread - sampler->ticks.threads) + 1;
    add_thread(sampler, thread, tid);
}


/*
 * The threads that are there at the start.  All have their timers when the
 * account begins, for all of them at once; threads that are created from then
 * on begin by themselves, those that came before are looked for again.
 *
 * Returns 0 or an errno.
 */
static int
start_threads(struct sampler *sampler)
{
    for (int i = 0; i < LIST_TRIES; i++) {
        const size_t before = sampler->nlive;

        if (pprof_task_list(visit_tid, sampler) == -1) {
            return errno;
        }

        if (i > 0 && sampler->nlive == before) {
            break;
        }

        sampler->cpu = read_clocks(sampler);
    }

    for (size_t i = 0; i < sampler->nlive; i++) {
        struct pprof_tick_thread *thread;

        thread = &sampler->ticks.threads[sampler->live[i]];
        thread->from = atomic_load(&thread->last);
        atomic_store(&thread->mark, thread->from);
    }

    sampler->first = false;
    atomic_store(&pprof_tick_shared.born, sampler->ticks.generation);

    /* who was created after the last look and before this is due at once */
    sampler->scanned = 0;

    return 0;
}


static void
stop_thread(struct pprof_tick_thread *thread)
{
    const int timer = atomic_exchange(&thread->timer, -1);

    if (timer != -1) {
        pprof_timer_delete(timer);
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

        sampler->live[kept++] = index;
    }

    sampler->nlive = kept;
}


/*
 * Looks for live threads that compute and are not sampled.  At the LAST time
 * one that computed a little and was never sampled is suspect, too.
 */
static void
check(struct sampler *sampler, bool last)
{
    for (size_t i = 0; i < sampler->nlive; i++) {
        struct pprof_tick_thread *thread;

        thread = &sampler->ticks.threads[sampler->live[i]];

        const bool     never = last && atomic_load(&thread->signals) == 0;
        const uint64_t now = atomic_load(&thread->last);
        const uint64_t mark = atomic_load(&thread->mark);

        if (now > mark && now - mark > (never ? 0 : PPROF_ACCOUNT_LAG)) {
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


/* Scans when that is due.  Returns the ns until it is again. */
static uint64_t
step(struct sampler *sampler)
{
    const uint64_t now = pprof_clock(CLOCK_MONOTONIC);
    const uint64_t next = sampler->scanned + sampler->pause;

    if (now < next) {
        return next - now;
    }

    const uint64_t before = pprof_clock(CLOCK_THREAD_CPUTIME_ID);

    scan(sampler);
    read_threads(sampler);

    if (!sampler->told) {
        uint64_t pause = (pprof_clock(CLOCK_THREAD_CPUTIME_ID) - before)
                         * SCAN_SHARE;

        pause = pause < SCAN_MIN ? SCAN_MIN : pause;
        sampler->pause = pause > SCAN_MAX ? SCAN_MAX : pause;
    }

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


static void
free_sampler(struct sampler *sampler)
{
    pprof_stackmap_free(sampler->ticks.map);
    pprof_route_sums_free(sampler->ticks.routes);

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


/* How long the kernel's tick is, which looks at CPU timers. */
static uint64_t
kernel_tick(void)
{
    struct timespec ts;

    /* its coarse clocks move by it */
    if (clock_getres(CLOCK_MONOTONIC_COARSE, &ts) == -1) {
        return PPROF_SECOND / 250;
    }

    return pprof_clock_nsec(&ts);
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

    size_t newborns = sizeof(struct pprof_newborns);

    sampler->mapped = threads + live + newborns
                      + SLOTS * sizeof(*sampler->by_tid);
    sampler->ticks.threads = map_zeroes(sampler->mapped);
    sampler->ticks.map = pprof_stackmap_create(PPROF_SAMPLER_STACKS,
                                               (size_t) PPROF_SAMPLER_STACKS
                                               * FRAMES_PER_STACK);

    if (pprof_routes_on()) {
        sampler->ticks.routes = pprof_route_sums_create();
    }

    if (sampler->ticks.threads == NULL || sampler->ticks.map == NULL
        || (pprof_routes_on() && sampler->ticks.routes == NULL))
    {
        free_sampler(sampler);
        errno = ENOMEM;
        return NULL;
    }

    char *rest = (char *) sampler->ticks.threads + threads;

    sampler->ticks.newborns = (struct pprof_newborns *) rest;
    sampler->live = (uint32_t *) (rest + newborns);
    sampler->by_tid = (uint32_t *) (rest + newborns + live);
    sampler->ticks.cap = PPROF_SAMPLER_THREADS;
    sampler->ticks.wall = wall;
    sampler->ticks.period = PPROF_SECOND / hz;
    sampler->ticks.tick = kernel_tick();
    sampler->ticks.generation = generation += 2;
    sampler->told = pprof_events_hooked(PPROF_EVENT_CREATE);
    sampler->first = true;
    sampler->seed = (uint32_t) pprof_clock(CLOCK_MONOTONIC);

    sampler->scanned = sampler->checked = pprof_clock(CLOCK_MONOTONIC);
    sampler->pause = sampler->told ? SCAN_MAX : SCAN_MIN;
    sampler->driven = pprof_own_raw();

    return sampler;
}


/*
 * Takes the profile away from the handlers; false when one is still inside.
 */
static bool
silence(void)
{
    atomic_store(&pprof_tick_shared.born, 0);
    atomic_store(&pprof_tick_shared.ticks, NULL);

    return pprof_signal_quiesce();
}


/*
 * When it is QUIET: nobody can be making a timer any more, so all that there
 * are can be deleted.  Else the signal stays ours: it may come yet.
 */
static void
withdraw(struct sampler *sampler, bool quiet)
{
    for (size_t i = 0; i < sampler->nlive; i++) {
        stop_thread(&sampler->ticks.threads[sampler->live[i]]);
    }

    pprof_newborn_stop(sampler->ticks.newborns);

    if (quiet) {
        pprof_signal_release();
    }
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

    if (pprof_events_hooked(PPROF_EVENT_CREATE)) {
        pprof_newborn_init();
    }

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

    int error = start_threads(sampler);

    if (error == 0 && !sampler->driven) {
        error = pprof_own_create(&sampler->controller, "pprof-sampler",
                                 control, sampler);
    }

    if (error != 0) {
        const bool quiet = silence();

        withdraw(sampler, quiet);

        if (quiet) {
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

    scan(sampler);
    read_threads(sampler);
    check(sampler, true);

    bool     quiet = silence();
    uint64_t cpu = read_clocks(sampler);
    uint64_t duration = pprof_clock(CLOCK_MONOTONIC) - sampler->started;

    cpu = cpu > sampler->cpu ? cpu - sampler->cpu : 0;

    for (size_t i = 0; i < sampler->nlive; i++) {
        read_name(&sampler->ticks.threads[sampler->live[i]]);
    }

    withdraw(sampler, quiet);

    struct pprof_account account = {
        .ticks = &sampler->ticks,
        .cpu = cpu,
        .taken = sampler->taken,
        .visit = visit,
        .arg = arg,
    };

    pprof_account_settle(&account);

    if (result != NULL) {
        *result = (struct pprof_sampler_result) {
            .period = sampler->ticks.period,
            .duration = duration,
            .cpu = cpu,
            .samples = account.samples,
            .lost = account.lost,
            .threads = pprof_tick_rows(&sampler->ticks) + account.young,
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

    atomic_store(&pprof_tick_shared.born, 0);
    atomic_store(&pprof_tick_shared.ticks, NULL);
    atomic_store(&pprof_tick_shared.inside, 0);
    pprof_newborn_child();

    if (sampler != NULL) {
        /* timers are not inherited, so there is none to delete */
        pprof_signal_release();
        free_sampler(sampler);
        atomic_store(&running, NULL);
    }
}
