#include "guest/heap.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <time.h>

#include "base/clock.h"
#include "guest/allocator.h"
#include "guest/growth.h"
#include "guest/malloc.h"
#include "guest/own.h"
#include "guest/stackmap.h"
#include "guest/unwind.h"


enum {
    PERIODS = 64,                       /* different ones ever; 0 is none */
    OFF_STEP = 1 << 20,                 /* bytes between two looks when off */
    BUSY_STEP = 1 << 16,                /* and when a handler allocates */
    ROOMS = 8,                          /* threads that sample at once */
    INNER = 12,                         /* frames of ours on a stack */
    LOG_BITS = 20,                      /* of a logarithm's fraction */
    CERTAIN = 22,                       /* periods: what is larger is taken */

    /* what is kept of a size: 20 bits, and how often it was halved */
    SIZE_BITS = 20,
    PERIOD_SHIFT = SIZE_BITS + 6
};

#define ONE  UINT64_C(0x100000000)      /* of what is below one */

/* What a sample needs and a small stack does not have. */
struct room {
    _Atomic bool              taken;
    uintptr_t                 pcs[PPROF_STACK_MAX + INNER];
    struct pprof_unwind_room  walk;
};


__thread uint64_t  pprof_heap_left;

struct pprof_heap_sums  pprof_heap_sums = {
    .in_use = PPROF_HEAP_UNKNOWN,
    .held = PPROF_HEAP_UNKNOWN,
    .returned = PPROF_HEAP_UNKNOWN
};

static __thread struct {
    uint64_t  random;
    uint8_t   period;                   /* that LEFT was drawn for; 0: none */
    bool      busy;
    bool      probing;                  /* is this to be noticed? */
} self __attribute__((tls_model("initial-exec")));

static struct room       rooms[ROOMS];
static _Atomic uint64_t  periods[PERIODS] = { 0, PPROF_HEAP_PERIOD };
static _Atomic unsigned  current = 1;   /* from the first malloc on */
static _Atomic bool      in_front;
static _Atomic bool      begun;
static _Atomic uint64_t  missed;
static _Atomic uint64_t  skipped;
static _Atomic uint64_t  unplaced;


static uint64_t
next_random(void)
{
    static _Atomic uint64_t threads;
    uint64_t                x = self.random;

    if (x == 0) {
        uint64_t           seed = 0;
        const void *const  given = (const void *) getauxval(AT_RANDOM);

        /* the kernel's, and another for each thread */
        if (given != NULL) {
            memcpy(&seed, given, sizeof(seed));
        }

        x = seed + (atomic_fetch_add(&threads, 1) + 1)
                   * UINT64_C(0x9e3779b97f4a7c15);
        x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
        x = (x ^ x >> 31) | 1;
    }

    /* xorshift64* */
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    self.random = x;

    return x * UINT64_C(0x2545f4914f6cdd1d);
}


/* -log2(X / 2^64), X not 0, in units of 1 / 2^LOG_BITS: digit by digit. */
static uint64_t
minus_log2(uint64_t x)
{
    const unsigned zeros = (unsigned) __builtin_clzll(x);
    uint64_t       log = 63 - zeros, m = x << zeros;    /* 2^63 … 2^64 */

    for (int i = 0; i < LOG_BITS; i++) {
        m = (uint64_t) ((unsigned __int128) m * m >> 64);
        log <<= 1;

        /* a square from 2^62 on: from 2^63 on it was 2 or more */
        if (m >> 63) {
            log |= 1;

        } else {
            m <<= 1;
        }
    }

    return (UINT64_C(64) << LOG_BITS) - log;
}


/* A distance with mean MEAN, exponentially distributed. */
static uint64_t
draw(uint64_t mean)
{
    const uint64_t log = minus_log2(next_random() | 1);

    /* times ln 2, 2^32 of which is 2977044472 */
    return (uint64_t) ((unsigned __int128) log * mean * 2977044472u
                       >> (LOG_BITS + 32));
}


/*
 * 1 / (1 - exp(-SIZE / MEAN)) in units of 1 / PPROF_SITE_ONE: how many objects
 * one that was taken stands for.
 */
static uint64_t
weigh(uint64_t size, uint64_t mean)
{
    unsigned halved = 0;

    if (size == 0 || mean <= 1 || size / mean >= CERTAIN) {
        return PPROF_SITE_ONE;
    }

    /* so that all fits; nothing is lost that could be seen */
    while (size >> 31 != 0) {
        size >>= 1;
        mean >>= 1;
    }

    /* x = size / mean, in units of 1 / ONE, until it is below 1 */
    uint64_t x = size * ONE / mean;

    while (x >= ONE) {
        x /= 2;
        halved++;
    }

    /* 1 / x + 1 / 2 + x / 12 - x^3 / 720 + x^5 / 30240 */
    const uint64_t x2 = x * x / ONE;
    const uint64_t x3 = x2 * x / ONE;
    uint64_t       weight = (mean * ONE / size << halved) + ONE / 2 + x / 12
                            - x3 / 720 + x3 * x2 / ONE / 30240;

    /* 1 - exp(-2 x) = 1 - (1 - 1 / weight)^2 */
    for ( ; halved > 0; halved--) {
        const uint64_t left = ONE - UINT64_MAX / weight;
        const uint64_t gone = ONE - left * left / ONE;

        weight = UINT64_MAX / gone;
    }

    return weight / (ONE / PPROF_SITE_ONE);
}


uint64_t
pprof_heap_draw(uint64_t mean)
{
    return draw(mean);
}


uint64_t
pprof_heap_weigh(uint64_t size, uint64_t mean)
{
    return weigh(size, mean);
}


/* SIZE and PERIOD, as the table of what lives keeps them. */
static uint32_t
pack(size_t size, unsigned period)
{
    unsigned halved = 0;

    while (size >> SIZE_BITS != 0) {
        size >>= 1;
        halved++;
    }

    return (uint32_t) size | halved << SIZE_BITS
           | (uint32_t) period << PERIOD_SHIFT;
}


static uint64_t
size_of(uint32_t what)
{
    return (uint64_t) (what & ((1u << SIZE_BITS) - 1))
           << (what >> SIZE_BITS & 63);
}


/* How many objects, and bytes, a sample stands for; always the same. */
static uint64_t
objects_of(uint32_t what)
{
    return weigh(size_of(what),
                 atomic_load_explicit(&periods[what >> PERIOD_SHIFT],
                                      memory_order_relaxed));
}


static uint64_t
bytes_of(uint32_t what, uint64_t objects)
{
    return (uint64_t) ((unsigned __int128) objects * size_of(what)
                       / PPROF_SITE_ONE);
}


unsigned
pprof_heap_due(size_t size)
{
    const unsigned now = atomic_load_explicit(&current, memory_order_relaxed);
    uint64_t       left = pprof_heap_left + size;
    unsigned       due = self.period;

    if (size > PTRDIFF_MAX || self.probing) {
        /* it will not be had, or is our own */
        self.probing = false;
        pprof_heap_left = left;
        return 0;
    }

    if (self.busy || pprof_own_here()) {
        if (now != 0 && self.busy) {
            atomic_fetch_add_explicit(&skipped, 1, memory_order_relaxed);
        }

        pprof_heap_left = BUSY_STEP;
        return 0;
    }

    if (now == 0) {
        self.period = 0;
        pprof_heap_left = OFF_STEP;
        return 0;
    }

    if (due == 0) {
        /* the thread's first, or the first since it is on */
        self.period = (uint8_t) now;
        left = draw(atomic_load_explicit(&periods[now],
                                         memory_order_relaxed));

        if (size <= left) {
            pprof_heap_left = left - size;
            return 0;
        }

        due = now;
    }

    self.period = (uint8_t) now;
    pprof_heap_left = draw(atomic_load_explicit(&periods[now],
                                                memory_order_relaxed));

    return due;
}


static struct room *
take_room(void)
{
    for (size_t i = 0; i < ROOMS; i++) {
        if (!atomic_load_explicit(&rooms[i].taken, memory_order_relaxed)
            && !atomic_exchange_explicit(&rooms[i].taken, true,
                                         memory_order_acquire))
        {
            return &rooms[i];
        }
    }

    return NULL;
}


static void
give_room(struct room *room)
{
    atomic_store_explicit(&room->taken, false, memory_order_release);
}


/*
 * The stack above the function that returns to CALLER: where in ROOM it
 * begins, *DEPTH frames.  HANDLED: it may be a signal handler's.
 */
static const uintptr_t *
find_stack(struct room *room, const void *caller, size_t *depth, bool *handled)
{
    const size_t n = pprof_unwind_thin(&room->walk, room->pcs,
                                       PPROF_STACK_MAX + INNER);

    *handled = pprof_unwind_handled(&room->walk)
               || n == PPROF_STACK_MAX + INNER
               || (n > 0 && room->pcs[n - 1] == PPROF_UNWIND_UNKNOWN);

    for (size_t i = 0; i < n && i < INNER; i++) {
        if (room->pcs[i] == (uintptr_t) caller) {
            *depth = n - i;
            return room->pcs + i;
        }
    }

    /* a stack that cannot be walked: the one frame that is certain */
    room->pcs[0] = (uintptr_t) caller;
    *depth = 1;
    *handled = true;

    return room->pcs;
}


uint32_t
pprof_heap_site(const void *caller)
{
    struct room *const room = take_room();
    size_t             depth;
    bool               handled;

    if (room == NULL) {
        return 0;
    }

    const uintptr_t *const pcs = find_stack(room, caller, &depth, &handled);
    const uint32_t         site = pprof_sites_add(PPROF_SITES_GROWTH, pcs,
                                                  depth);

    give_room(room);

    return site;
}


bool
pprof_heap_handled(void)
{
    struct room *const room = take_room();
    bool               handled = true;

    if (room != NULL) {
        const size_t n = pprof_unwind_thin(&room->walk, room->pcs,
                                           PPROF_STACK_MAX + INNER);

        handled = self.busy || pprof_unwind_handled(&room->walk)
                  || n == PPROF_STACK_MAX + INNER
                  || room->pcs[n - 1] == PPROF_UNWIND_UNKNOWN;
        give_room(room);
    }

    return handled;
}


/*
 * Counts SAMPLES at SITE, which stand for so many OBJECTS and BYTES.  What is
 * subtracted is added negated.
 */
static void
count_live(uint32_t site, uint64_t samples, uint64_t objects, uint64_t bytes)
{
    struct pprof_site *const s = pprof_sites_get(site);

    atomic_fetch_add_explicit(&s->live_objects, objects,
                              memory_order_relaxed);
    atomic_fetch_add_explicit(&s->live_bytes, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&pprof_heap_sums.samples, samples,
                              memory_order_relaxed);
    atomic_fetch_add_explicit(&pprof_heap_sums.bytes, bytes,
                              memory_order_relaxed);
}


/* LIVE stands for so many OBJECTS, which are so many BYTES. */
static void
add_live(const void *p, struct pprof_live live, uint64_t objects,
    uint64_t bytes)
{
    if (pprof_live_add(p, live)) {
        count_live(live.site, 1, objects, bytes);

    } else {
        atomic_fetch_add_explicit(&unplaced, 1, memory_order_relaxed);
    }
}


static void
subtract_live(struct pprof_live live)
{
    const uint64_t objects = objects_of(live.what);

    count_live(live.site, -UINT64_C(1), -objects,
               -bytes_of(live.what, objects));
}


__attribute__((noinline)) void
pprof_heap_add(const void *p, size_t size, unsigned due, const void *caller)
{
    struct pprof_live        live = { .what = pack(size, due) };
    struct pprof_live        old;
    struct room       *const room = take_room();

    if (room == NULL) {
        atomic_fetch_add_explicit(&skipped, 1, memory_order_relaxed);
        return;
    }

    self.busy = true;
    atomic_signal_fence(memory_order_seq_cst);

    size_t                 depth;
    bool                   handled;
    const uintptr_t *const pcs = find_stack(room, caller, &depth, &handled);

    live.site = pprof_sites_add(PPROF_SITES_HEAP, pcs, depth);
    pprof_growth_sampled(p, size, objects_of(live.what), pcs, depth);
    give_room(room);

    if (pprof_live_may(p) && pprof_live_take(p, &old)) {
        /* it was handed out before, and we saw no free() */
        subtract_live(old);
        atomic_fetch_add_explicit(&missed, 1, memory_order_relaxed);
    }

    if (live.site == 0) {
        atomic_fetch_add_explicit(&skipped, 1, memory_order_relaxed);

    } else {
        struct pprof_site *const site = pprof_sites_get(live.site);
        const uint64_t           objects = objects_of(live.what);
        const uint64_t           bytes = bytes_of(live.what, objects);

        atomic_fetch_add_explicit(&site->objects, objects,
                                  memory_order_relaxed);
        atomic_fetch_add_explicit(&site->bytes, bytes, memory_order_relaxed);
        add_live(p, live, objects, bytes);
    }

    if (!handled && pprof_allocator_look != NULL) {
        pprof_allocator_look();
    }

    atomic_signal_fence(memory_order_seq_cst);
    self.busy = false;
}


bool
pprof_heap_take(const void *p, struct pprof_live *live)
{
    if (!pprof_live_take(p, live)) {
        return false;
    }

    subtract_live(*live);
    pprof_growth_freed(p);

    return true;
}


void
pprof_heap_return(const void *p, struct pprof_live live)
{
    const uint64_t objects = objects_of(live.what);

    add_live(p, live, objects, bytes_of(live.what, objects));
}


void
pprof_heap_remove(const void *p)
{
    struct pprof_live live;

    (void) pprof_heap_take(p, &live);
}


uint64_t
pprof_heap_suspend(void)
{
    const uint64_t left = pprof_heap_left;

    pprof_heap_left = UINT64_MAX / 2;

    return left;
}


void
pprof_heap_resume(uint64_t left)
{
    pprof_heap_left = left;
}


static void
begin_now(void)
{
    atomic_store(&pprof_heap_sums.since,
                 pprof_clock(CLOCK_REALTIME) / PPROF_SECOND);
}


int
pprof_heap_period(uint64_t period)
{
    unsigned i = 1;

    if (period > PPROF_HEAP_PERIOD_MAX) {
        return EINVAL;
    }

    if (period == 0) {
        atomic_store(&current, 0);
        return 0;
    }

    if (!atomic_load(&in_front)) {
        return ENOSYS;
    }

    while (i < PERIODS) {
        uint64_t old = 0;

        if (atomic_load(&periods[i]) == period
            || atomic_compare_exchange_strong(&periods[i], &old, period)
            || old == period)
        {
            break;
        }

        i++;
    }

    if (i == PERIODS) {
        return ENOSPC;
    }

    /* this thread, which may be the only one, takes notice at once */
    self.period = 0;
    pprof_heap_left = 0;

    if (atomic_exchange(&current, i) == 0
        || atomic_load(&pprof_heap_sums.since) == 0)
    {
        begin_now();
    }

    return 0;
}


void
pprof_heap_renounce(void)
{
    atomic_store(&current, 0);
    atomic_store(&pprof_heap_sums.since, 0);
}


void
pprof_heap_begin(void)
{
    if (atomic_exchange(&begun, true)) {
        return;
    }

    (void) pprof_unwind_guess();

    /* volatile: compilers know what malloc() does, and does not */
    void *(*volatile allocate)(size_t) = malloc;
    const uint64_t left = pprof_heap_left;

    self.probing = true;
    pprof_heap_left = 0;
    free(allocate(1));
    pprof_heap_left = left;
    atomic_store(&in_front, !self.probing);

    if (self.probing) {
        self.probing = false;
        pprof_heap_renounce();

    } else {
        begin_now();
    }
}


struct pprof_heap_told
pprof_heap_tell(void)
{
    return (struct pprof_heap_told) {
        .period = atomic_load(&periods[atomic_load(&current)]),
        .in_front = atomic_load(&in_front),
        .since = atomic_load(&pprof_heap_sums.since),
        .allocator = pprof_malloc_next == NULL ? 0 : pprof_malloc_next(),
        .missed = atomic_load(&missed),
        .skipped = atomic_load(&skipped),
        .unplaced = atomic_load(&unplaced)
    };
}


void
pprof_heap_child(void)
{
    /* those inside were the parent's threads */
    for (size_t i = 0; i < ROOMS; i++) {
        atomic_store(&rooms[i].taken, false);
    }

    self.busy = false;

    if (pprof_allocator_child != NULL) {
        pprof_allocator_child();
    }
}
