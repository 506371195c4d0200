/*
 * The sample of what is allocated: how far to the next, what one stands for,
 * and the tables of what lives and of who allocated it.
 */

#include "guest/heap.c"
#include "guest/live.c"

#include <math.h>
#include <pthread.h>
#include <stdio.h>

#include "tap.h"


enum {
    DRAWS = 400000,
    THREADS = 4,
    OBJECTS = 20000,                    /* of each thread, at once */
    ROUNDS = 20
};


static void
test_weights(void)
{
    double worst = 0;

    for (uint64_t mean = 2; mean <= PPROF_HEAP_PERIOD_MAX;
         mean = mean * 3 / 2 + 1)
    {
        for (uint64_t size = 1; size < UINT64_C(1) << 40;
             size = size * 5 / 4 + 1)
        {
            const double right = 1 / -expm1(-(double) size / (double) mean);
            const double wrong = fabs((double) weigh(size, mean)
                                      / PPROF_SITE_ONE - right) / right;

            worst = wrong > worst ? wrong : worst;
        }
    }

    ok(worst < 2e-5, "what a sample stands for, for every size and period");
    ok(weigh(0, 524288) == PPROF_SITE_ONE && weigh(1, 1) == PPROF_SITE_ONE,
       "nothing is divided by nothing");
}


static void
test_distances(void)
{
    const double mean = 524288;
    double       sum = 0, squares = 0;
    size_t       beyond = 0;

    for (int i = 0; i < DRAWS; i++) {
        const double d = (double) draw(524288);

        sum += d;
        squares += d * d;
        beyond += d > mean;
    }

    sum /= DRAWS;
    ok(fabs(sum - mean) < mean / 100, "distances: their mean");
    ok(fabs(sqrt(squares / DRAWS - sum * sum) - mean) < mean / 50,
       "distances: their deviation");
    ok(fabs((double) beyond / DRAWS - exp(-1)) < 0.005,
       "distances: as many beyond the mean");
}


static void
test_sizes(void)
{
    bool right = true;

    for (size_t size = 1; size < (size_t) 1 << 46; size = size * 9 / 7 + 1) {
        const uint32_t what = pack(size, 63);

        right = right && what >> PERIOD_SHIFT == 63
                && size_of(what) <= size
                && (double) size_of(what) > (double) size * (1 - 1e-5);
    }

    ok(right, "sizes are kept as they are, or nearly");
}


/* Each thread has addresses of its own, as allocators give them. */
static void *
live_and_die(void *arg)
{
    static __thread bool  there[OBJECTS];

    const uintptr_t base = ((uintptr_t) arg + 1) << 40;
    size_t          bad = 0;
    uint64_t        x = base;

    for (size_t i = 0; i < (size_t) OBJECTS * ROUNDS; i++) {
        x = x * 6364136223846793005 + 1442695040888963407;

        const size_t             n = (x >> 33) % OBJECTS;
        const void *const        p = (const void *) (base + n * 48);
        const struct pprof_live  live = { (uint32_t) n + 1, (uint32_t) ~n };
        struct pprof_live        found = { 0, 0 };

        if (!there[n]) {
            bad += pprof_live_take(p, &found);
            bad += !pprof_live_add(p, live);
            bad += !pprof_live_may(p);

        } else {
            bad += !pprof_live_take(p, &found) || found.site != live.site
                   || found.what != live.what;
        }

        there[n] = !there[n];
    }

    for (size_t n = 0; n < OBJECTS; n++) {
        struct pprof_live found;

        bad += pprof_live_take((const void *) (base + n * 48), &found)
               != there[n];
    }

    return (void *) bad;
}


static void
test_live(void)
{
    pthread_t         threads[THREADS];
    size_t            bad = 0, hashes = 0;
    struct pprof_live live;

    for (uintptr_t i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, live_and_die, (void *) i);
    }

    for (int i = 0; i < THREADS; i++) {
        void *found;

        pthread_join(threads[i], &found);
        bad += (size_t) found;
    }

    ok(bad == 0, "what lives is there, what was freed is not");

    for (size_t i = 0; i < PPROF_LIVE_HASHES; i++) {
        hashes += pprof_live_hashes[i] != 0;
    }

    ok(hashes == 0, "and free() looks at nothing any more");
    ok(!pprof_live_take(NULL, &live), "nothing is no object");
}


static void
sum_sites(void *arg, const struct pprof_site *site, uint32_t number)
{
    uint64_t *const sums = arg;

    (void) number;

    sums[0]++;
    sums[1] += atomic_load(&site->objects);
}


static void *
add_sites(void *arg)
{
    uintptr_t pcs[128];

    for (size_t i = 0; i < 50000; i++) {
        const size_t depth = i % 7 * 20 + 1;

        for (size_t j = 0; j < depth; j++) {
            pcs[j] = (i % 997 + 1) * (j + 1);
        }

        const uint32_t site = pprof_sites_add(PPROF_SITES_HEAP, pcs, depth);

        if (site == 0) {
            return arg;
        }

        atomic_fetch_add(&pprof_sites_get(site)->objects, 1);
    }

    return NULL;
}


static void
test_sites(void)
{
    pthread_t threads[THREADS];
    uint64_t  sums[2] = { 0, 0 };
    bool      full = false;

    for (int i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, add_sites, sums);
    }

    for (int i = 0; i < THREADS; i++) {
        void *failed;

        pthread_join(threads[i], &failed);
        full = full || failed != NULL;
    }

    pprof_sites_read(sum_sites, sums);
    ok(sums[1] == THREADS * 50000 && !full, "every sample has its stack");
    /* two may make the same at once: all threads the first time, at worst */
    ok(sums[0] >= 7 * 997 && sums[0] < 2 * 7 * 997,
       "and few have two");
}


int
main(void)
{
    test_weights();
    test_distances();
    test_sizes();
    test_live();
    test_sites();

    return done_testing();
}
