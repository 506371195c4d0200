#include "guest/allocs.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#include "guest/cfi.h"
#include "guest/own.h"
#include "guest/raw.h"
#include "guest/unwind.h"


enum { FRAMES_PER_STACK = 24 };         /* on average, when all are used */


static _Atomic(struct pprof_stackmap *)  table;
static _Atomic uint64_t                  period;
static _Atomic unsigned                  inside;

static __thread struct {
    int64_t   left;                     /* bytes to the next sample */
    uint64_t  random;
    uint64_t  period;                   /* that LEFT was drawn for */
    bool      busy;
} self __attribute__((tls_model("initial-exec")));


/*
 * The logarithm to base 2 of X, 1 … 2^53, by its series: libm has no place
 * here.  Better than one in 10^5, and exact enough for a random distance.
 */
static double
log2_of(uint64_t x)
{
    const int    n = 63 - __builtin_clzll(x);
    const double m = (double) x / (double) (UINT64_C(1) << n);     /* 1 … 2 */
    const double t = (m - 1) / (m + 1), t2 = t * t;

    /* ln m = 2 (t + t^3/3 + t^5/5 + …), t <= 1/3 */
    return n + 2.8853900817779268
               * t * (1 + t2 * (1.0 / 3 + t2 * (1.0 / 5 + t2 * (1.0 / 7
                                + t2 / 9))));
}


/* A distance with mean MEAN, exponentially distributed. */
static int64_t
draw(uint64_t mean)
{
    uint64_t x = self.random;

    if (x == 0) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        x = (uint64_t) ts.tv_nsec * 0x9e3779b97f4a7c15 ^ (uintptr_t) &self;
        x |= 1;
    }

    /* xorshift64* */
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    self.random = x;

    const uint64_t bits = ((x * 0x2545f4914f6cdd1d) >> 38) + 1;    /* 2^26 */

    return (int64_t) ((26 - log2_of(bits)) * 0.69314718055994531
                      * (double) mean) + 1;
}


__attribute__((noinline)) static void
take(size_t size)
{
    uintptr_t pcs[PPROF_STACK_MAX];

    self.busy = true;
    atomic_fetch_add(&inside, 1);

    struct pprof_stackmap *map = atomic_load(&table);

    if (map != NULL) {
        const size_t depth = pprof_unwind_here(pcs, PPROF_STACK_MAX, 1);

        pprof_stackmap_add(map, size, pcs, depth, 1, size);
    }

    atomic_fetch_sub_explicit(&inside, 1, memory_order_release);
    self.busy = false;
}


void
pprof_allocs_hook(const void *ptr, size_t size)
{
    const uint64_t mean = atomic_load_explicit(&period, memory_order_relaxed);

    if (mean == 0 || ptr == NULL || self.busy) {
        return;
    }

    if (self.period != mean) {
        self.period = mean;
        self.left = draw(mean);
    }

    if (size < (uint64_t) self.left) {
        self.left -= (int64_t) size;
        return;
    }

    self.left = draw(mean);

    if (!pprof_own_here()) {
        take(size);
    }
}


int
pprof_allocs_period(uint64_t mean)
{
    if (mean > 0 && atomic_load(&table) == NULL) {
        struct pprof_stackmap *map;

        pprof_unwind_init();

        map = pprof_stackmap_create(PPROF_ALLOCS_STACKS,
                                    (size_t) PPROF_ALLOCS_STACKS
                                    * FRAMES_PER_STACK);

        if (map == NULL || pprof_cfi_refresh() == -1) {
            pprof_stackmap_free(map);
            return -1;
        }

        atomic_store(&table, map);
    }

    atomic_store(&period, mean);

    return mean > 0 && pprof_cfi_refresh() == -1 ? -1 : 0;
}


void
pprof_allocs_read(pprof_stackmap_visit *visit, void *arg)
{
    const struct pprof_stackmap *map = atomic_load(&table);

    if (map != NULL) {
        pprof_stackmap_read(map, visit, arg);
    }
}


struct pprof_stackmap_loss
pprof_allocs_lost(void)
{
    const struct pprof_stackmap *map = atomic_load(&table);

    return map != NULL ? pprof_stackmap_lost(map)
                       : (struct pprof_stackmap_loss) { 0 };
}


void
pprof_allocs_clear(void)
{
    struct timespec pause = { 0, 1000000 };

    atomic_store(&period, 0);

    struct pprof_stackmap *map = atomic_exchange(&table, NULL);

    for (int i = 0; map != NULL && i < 1000; i++) {
        if (atomic_load(&inside) == 0) {
            pprof_stackmap_free(map);
            return;
        }

        pprof_raw(SYS_nanosleep, (uintptr_t) &pause, 0, 0, 0, 0, 0);
    }
}


void
pprof_allocs_child(void)
{
    /* those inside were the parent's threads */
    atomic_store(&inside, 0);
    self.busy = false;
}
