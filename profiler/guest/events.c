#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "guest/cfi.h"
#include "guest/events.h"
#include "guest/own.h"
#include "guest/raw.h"
#include "guest/unwind.h"


enum {
    FRAMES_PER_STACK = 24,              /* on average, when all are used */
    OBJECTS = 1024,                     /* remembered releases */
    INNER = 8                           /* frames of ours on top of a stack */
};


/*
 * Who released an object last: whoever gets it next charges its wait to that
 * stack.  While the releaser still looks at its stack, which it does after the
 * release so that nobody waits for it, ROW is PENDING and waits add up.
 *
 * Two objects may have the same slot, and two threads may meet there: then a
 * wait is charged to nobody.
 */
struct release {
    _Atomic uintptr_t  addr;
    _Atomic uint32_t   row;             /* in the table of mutexes; 0: none */
    _Atomic uint64_t   debt;            /* ns */
};

#define PENDING  UINT32_MAX


_Atomic unsigned  pprof_events_on;

static _Atomic(struct pprof_stackmap *)  tables[PPROF_EVENTS];
static _Atomic uint64_t                  rates[PPROF_EVENTS];
static _Atomic unsigned                  hooked;
static _Atomic unsigned                  inside;    /* recording right now */
static struct release                    releases[OBJECTS];

__thread pid_t  pprof_events_self;

static __thread struct {
    uint64_t  random;
    bool      busy;                     /* recording: our own locks are not */
} self __attribute__((tls_model("initial-exec")));


pid_t
pprof_events_tid(void)
{
    if (pprof_events_self == 0) {
        pprof_events_self = (pid_t) pprof_raw(SYS_gettid, 0, 0, 0, 0, 0, 0);
    }

    return pprof_events_self;
}


uint64_t
pprof_events_clock(void)
{
    return pprof_clock(CLOCK_MONOTONIC);
}


/* xorshift64*: the thread's own, so that nothing is shared. */
static uint64_t
next_random(void)
{
    uint64_t x = self.random;

    if (x == 0) {
        x = pprof_events_clock() ^ (uintptr_t) &self;
    }

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    self.random = x;

    return (x * 0x2545f4914f6cdd1d) >> 11;
}


static struct release *
find_release(uintptr_t addr)
{
    return &releases[(addr >> 4) * 0x9e3779b97f4a7c15 >> 54];
}


/*
 * The stack above the interposed function, which returns to CALLER.
 */
__attribute__((noinline)) static size_t
take_stack(uintptr_t *pcs, const void *caller)
{
    uintptr_t all[PPROF_STACK_MAX];
    size_t    n = pprof_unwind_here(all, PPROF_STACK_MAX, 0);

    for (size_t i = 0; i < n && i < INNER; i++) {
        if (all[i] == (uintptr_t) caller) {
            memcpy(pcs, all + i, (n - i) * sizeof(*pcs));
            return n - i;
        }
    }

    /* no tables yet: the one frame that is certain */
    pcs[0] = (uintptr_t) caller;

    return 1;
}


/*
 * Sequentially consistent, as pprof_events_clear() is: when that counts nobody
 * after having taken the tables away, whoever comes later sees NULL.
 */
static struct pprof_stackmap *
enter(enum pprof_event event)
{
    self.busy = true;
    atomic_fetch_add(&inside, 1);

    return atomic_load(&tables[event]);
}


static void
leave(void)
{
    atomic_fetch_sub_explicit(&inside, 1, memory_order_release);
    self.busy = false;
}


bool
pprof_events_wanted(enum pprof_event event)
{
    return (atomic_load_explicit(&pprof_events_on, memory_order_relaxed)
            >> event & 1)
           && !self.busy && !pprof_own_here();
}


/* One sampled wait; it stands for as many as the rate says. */
static void
charge_row(struct pprof_stackmap *map, uint32_t row, uint64_t nsec)
{
    uint64_t rate = atomic_load_explicit(&rates[PPROF_EVENT_MUTEX],
                                         memory_order_relaxed);

    pprof_stackmap_more(map, row, rate, nsec * rate);
}


/* The current thread has waited NSEC for the object at ADDR. */
static void
charge_release(uintptr_t addr, uint64_t nsec)
{
    struct release *release = find_release(addr);

    if (atomic_load_explicit(&release->addr, memory_order_acquire) != addr) {
        return;
    }

    if (atomic_load(&release->row) == PENDING) {
        atomic_fetch_add(&release->debt, nsec);
        return;
    }

    struct pprof_stackmap *map = enter(PPROF_EVENT_MUTEX);
    uint32_t               row = atomic_exchange(&release->row, 0);

    if (map != NULL && row != 0 && row != PENDING) {
        charge_row(map, row, nsec);
    }

    leave();
}


void
pprof_events_waited(enum pprof_event_object object, const void *addr,
    uint64_t nsec, const void *caller)
{
    uintptr_t pcs[PPROF_STACK_MAX];

    if (pprof_events_wanted(PPROF_EVENT_BLOCK)) {
        uint64_t rate = atomic_load_explicit(&rates[PPROF_EVENT_BLOCK],
                                             memory_order_relaxed);
        uint64_t count = 1, value = nsec;

        /*
         * An event shorter than the rate is kept with the probability of
         * their ratio, and stands for all of its kind; Go's formula
         * (runtime/mprof.go, saveblockevent).
         */
        if (nsec < rate) {
            if (next_random() % rate < nsec) {
                count = (rate + nsec / 2) / nsec;
                value = rate;

            } else {
                count = 0;
            }
        }

        if (count > 0) {
            struct pprof_stackmap *map = enter(PPROF_EVENT_BLOCK);

            if (map != NULL) {
                pprof_stackmap_add(map, object, pcs, take_stack(pcs, caller),
                                   count, value);
            }

            leave();
        }
    }

    if ((object == PPROF_ON_MUTEX || object == PPROF_ON_RWLOCK)
        && pprof_events_wanted(PPROF_EVENT_MUTEX))
    {
        charge_release((uintptr_t) addr, nsec);
    }
}


bool
pprof_events_releasing(const void *addr)
{
    if (!pprof_events_wanted(PPROF_EVENT_MUTEX)) {
        return false;
    }

    struct release *release = find_release((uintptr_t) addr);
    uint64_t        rate = atomic_load_explicit(&rates[PPROF_EVENT_MUTEX],
                                                memory_order_relaxed);

    if (rate > 1 && next_random() % rate != 0) {
        /*
         * Whoever gets it now does so by this release, which is not in the
         * sample, and not by an earlier one that was.
         */
        if (atomic_load_explicit(&release->addr, memory_order_relaxed)
            == (uintptr_t) addr)
        {
            atomic_store_explicit(&release->row, 0, memory_order_relaxed);
        }

        return false;
    }

    atomic_store_explicit(&release->debt, 0, memory_order_relaxed);
    atomic_store_explicit(&release->row, PENDING, memory_order_relaxed);
    atomic_store_explicit(&release->addr, (uintptr_t) addr,
                          memory_order_release);

    return true;
}


void
pprof_events_released(enum pprof_event_object object, const void *addr,
    const void *caller)
{
    uintptr_t              pcs[PPROF_STACK_MAX];
    struct pprof_stackmap *map = enter(PPROF_EVENT_MUTEX);

    if (map != NULL) {
        struct release *release = find_release((uintptr_t) addr);
        uint32_t        pending = PENDING;

        uint32_t row = pprof_stackmap_add(map, object, pcs,
                                          take_stack(pcs, caller), 0, 0);

        if (atomic_load_explicit(&release->addr, memory_order_relaxed)
            == (uintptr_t) addr)
        {
            uint64_t debt = atomic_exchange(&release->debt, 0);

            if (debt > 0 && row != 0) {
                charge_row(map, row, debt);
                row = 0;
            }

            atomic_compare_exchange_strong(&release->row, &pending, row);
        }
    }

    leave();
}


void
pprof_events_created(const void *caller)
{
    uintptr_t pcs[PPROF_STACK_MAX];

    if (!pprof_events_wanted(PPROF_EVENT_CREATE)) {
        return;
    }

    struct pprof_stackmap *map = enter(PPROF_EVENT_CREATE);

    if (map != NULL) {
        pprof_stackmap_add(map, PPROF_ON_THREAD, pcs, take_stack(pcs, caller),
                           1, 0);
    }

    leave();
}


void
pprof_events_hook(enum pprof_event event)
{
    atomic_fetch_or(&hooked, 1u << event);
}


bool
pprof_events_hooked(enum pprof_event event)
{
    return atomic_load(&hooked) >> event & 1;
}


int
pprof_events_rate(enum pprof_event event, uint64_t rate)
{
    if (rate > 0 && atomic_load(&tables[event]) == NULL) {
        struct pprof_stackmap *map;

        pprof_unwind_init();

        map = pprof_stackmap_create(PPROF_EVENTS_STACKS,
                                    (size_t) PPROF_EVENTS_STACKS
                                    * FRAMES_PER_STACK);

        if (map == NULL || pprof_cfi_refresh() == -1) {
            pprof_stackmap_free(map);
            return -1;
        }

        atomic_store(&tables[event], map);
    }

    if (rate > 0) {
        atomic_store(&rates[event], rate);
        atomic_fetch_or(&pprof_events_on, 1u << event);

    } else {
        atomic_fetch_and(&pprof_events_on, ~(1u << event));
    }

    return 0;
}


void
pprof_events_read(enum pprof_event event, pprof_stackmap_visit *visit,
    void *arg)
{
    struct pprof_stackmap *map = atomic_load(&tables[event]);

    if (map != NULL) {
        pprof_stackmap_read(map, visit, arg);
    }
}


struct pprof_stackmap_loss
pprof_events_lost(enum pprof_event event)
{
    struct pprof_stackmap *map = atomic_load(&tables[event]);

    return map ? pprof_stackmap_lost(map)
               : (struct pprof_stackmap_loss) { 0 };
}


void
pprof_events_clear(void)
{
    struct pprof_stackmap *old[PPROF_EVENTS];
    struct timespec        pause = { 0, 1000000 };

    atomic_store(&pprof_events_on, 0);

    for (int i = 0; i < PPROF_EVENTS; i++) {
        old[i] = atomic_exchange(&tables[i], NULL);
    }

    for (int i = 0; i < OBJECTS; i++) {
        /* rows of a table that is gone */
        atomic_store(&releases[i].addr, 0);
        atomic_store(&releases[i].row, 0);
    }

    for (int i = 0; i < 1000 && atomic_load(&inside) != 0; i++) {
        pprof_raw(SYS_nanosleep, (uintptr_t) &pause, 0, 0, 0, 0, 0);
    }

    if (atomic_load(&inside) != 0) {
        /* somebody was stopped in the middle: the memory is theirs */
        return;
    }

    for (int i = 0; i < PPROF_EVENTS; i++) {
        pprof_stackmap_free(old[i]);
    }
}


void
pprof_events_child(void)
{
    atomic_store(&inside, 0);
    self.busy = false;
    pprof_events_self = 0;
}
