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
    OBJECTS = 1024,                     /* that are remembered */
    RELEASES = 16,                      /* of each: more share the oldest's */
    INNER = 8                           /* frames of ours on top of a stack */
};


/*
 * Who released an object, and when: the latest times.  Whoever waited for it
 * charges each part of its wait to the one that held the object in that part,
 * since with several who wait the one that released it last is mostly another
 * one that waited.  While a releaser still looks at its stack, which it does
 * after the release so that nobody waits for it, ROW is PENDING and waits add
 * up.
 *
 * Two objects may have the same slot, and two threads may meet there: then a
 * wait is charged to nobody.
 */
struct release {
    _Atomic uint64_t   when;            /* CLOCK_MONOTONIC, ns; 0: never */
    _Atomic uint64_t   debt;            /* ns */
    _Atomic uint32_t   row;             /* in the table of mutexes; 0: none */
};

struct object {
    _Atomic uintptr_t  addr;
    _Atomic uint32_t   next;            /* number of the next release */
    struct release     releases[RELEASES];
};

#define PENDING  UINT32_MAX


_Atomic unsigned  pprof_events_on;

static _Atomic(struct pprof_stackmap *)  tables[PPROF_EVENTS];
static _Atomic uint64_t                  rates[PPROF_EVENTS];
static _Atomic unsigned                  hooked;
static _Atomic unsigned                  inside;    /* recording right now */
static struct object                     objects[OBJECTS];

static __thread struct {
    uint64_t  random;
    uint32_t  release;                  /* number of the one under way */
    bool      busy;                     /* recording: our own locks are not */
} self __attribute__((tls_model("initial-exec")));


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


static struct object *
find_object(uintptr_t addr)
{
    return &objects[(addr >> 4) * 0x9e3779b97f4a7c15 >> 54];
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


/* A part of a wait: it is RELEASE's, as soon as that has a row. */
static void
charge_release(struct pprof_stackmap *map, struct release *release,
    uint64_t nsec)
{
    const uint32_t row = atomic_load(&release->row);

    if (row == PENDING) {
        atomic_fetch_add(&release->debt, nsec);

        /* its releaser may have looked for debts a moment ago */
        const uint32_t now = atomic_load(&release->row);

        if (now != PENDING && now != 0 && map != NULL) {
            charge_row(map, now, atomic_exchange(&release->debt, 0));
        }

    } else if (row != 0 && map != NULL) {
        charge_row(map, row, nsec);
    }
}


/*
 * The current thread has waited for the object at ADDR from START to END.
 * Who released it at the end of each part held it in that part, and also pays
 * for the time that the hand-over took.
 */
static void
charge_wait(uintptr_t addr, uint64_t start, uint64_t end)
{
    struct object *object = find_object(addr);

    if (atomic_load_explicit(&object->addr, memory_order_acquire) != addr) {
        return;
    }

    struct pprof_stackmap *map = enter(PPROF_EVENT_MUTEX);
    uint32_t               number = atomic_load(&object->next);

    for (int i = 1; i <= RELEASES && end > start; i++) {
        struct release *release = &object->releases[(number - (uint32_t) i)
                                                    % RELEASES];
        struct release *before = &object->releases[(number - (uint32_t) i - 1)
                                                   % RELEASES];

        uint64_t from = i < RELEASES ? atomic_load(&before->when) : 0;

        if (atomic_load(&release->when) < start) {
            break;
        }

        from = from < start ? start : from;

        if (from < end) {
            charge_release(map, release, end - from);
            end = from;
        }
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
        const uint64_t now = pprof_events_clock();

        charge_wait((uintptr_t) addr, now - nsec, now);
    }
}


bool
pprof_events_releasing(const void *addr)
{
    if (!pprof_events_wanted(PPROF_EVENT_MUTEX)) {
        return false;
    }

    struct object *object = find_object((uintptr_t) addr);
    uint64_t       rate = atomic_load_explicit(&rates[PPROF_EVENT_MUTEX],
                                               memory_order_relaxed);

    if (atomic_load_explicit(&object->addr, memory_order_relaxed)
        != (uintptr_t) addr)
    {
        for (int i = 0; i < RELEASES; i++) {
            atomic_store_explicit(&object->releases[i].when, 0,
                                  memory_order_relaxed);
            atomic_store_explicit(&object->releases[i].row, 0,
                                  memory_order_relaxed);
        }

        atomic_store_explicit(&object->addr, (uintptr_t) addr,
                              memory_order_release);
    }

    self.release = atomic_load(&object->next);

    struct release *release = &object->releases[self.release % RELEASES];
    const bool      sampled = rate <= 1 || next_random() % rate == 0;

    /* one that is not in the sample ends the part of the one before, too */
    atomic_store(&release->debt, 0);
    atomic_store(&release->row, sampled ? PENDING : 0);
    atomic_store(&release->when, pprof_events_clock());
    atomic_fetch_add(&object->next, 1);

    return sampled;
}


void
pprof_events_released(enum pprof_event_object object_kind, const void *addr,
    const void *caller)
{
    uintptr_t              pcs[PPROF_STACK_MAX];
    struct pprof_stackmap *map = enter(PPROF_EVENT_MUTEX);

    if (map != NULL) {
        struct object  *object = find_object((uintptr_t) addr);
        struct release *release = &object->releases[self.release % RELEASES];
        uint32_t        pending = PENDING;

        uint32_t row = pprof_stackmap_add(map, object_kind, pcs,
                                          take_stack(pcs, caller), 0, 0);

        if (atomic_load_explicit(&object->addr, memory_order_relaxed)
            == (uintptr_t) addr
            && atomic_compare_exchange_strong(&release->row, &pending, row))
        {
            uint64_t debt = atomic_exchange(&release->debt, 0);

            if (debt > 0 && row != 0) {
                charge_row(map, row, debt);
            }
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
        atomic_store(&objects[i].addr, 0);

        for (int k = 0; k < RELEASES; k++) {
            atomic_store(&objects[i].releases[k].row, 0);
        }
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
}
