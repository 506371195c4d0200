#include "guest/growth.h"

#include <stdatomic.h>
#include <time.h>

#include "base/clock.h"
#include "guest/heap.h"
#include "guest/own.h"
#include "guest/raw.h"
#include "guest/sites.h"


enum {
    PLACES = 8,                         /* in a bucket */
    LEVELS = 2,
    WINDOW = 100 * 1000 * 1000,         /* ns in which bursts are counted */

    /* keys that no mapping has */
    FREE = 0,
    CLAIMED = 1,

    /* libc's: what it maps alone, from this size on; where that begins in a
       page; and the bit in front of it that says so */
    CHUNK_MIN = 128 * 1024,
    CHUNK_HEAD = 2 * sizeof(size_t),
    CHUNK_MAPPED = 2,
    PAGE_MASK = 4095
};

struct place {
    _Atomic uintptr_t  key;             /* where it begins */
    _Atomic uint64_t   size;
    _Atomic uint32_t   site;
    _Atomic uint32_t   age;
    _Atomic uint32_t   weight;
    uint32_t           unused;
};

struct bucket {
    struct place  places[PLACES];
};


static const size_t  sizes[LEVELS] = { 1 << 9, 1 << 12 };

static _Atomic(void *)       levels[LEVELS];        /* of buckets */
static _Atomic bool          on;
static _Atomic bool          has_chunks;
static _Atomic uint32_t      ages;
static _Atomic uint64_t      lost;
static const uintptr_t      *break_place;
static _Atomic uintptr_t     break_seen;

static __thread struct {
    uint64_t  window;                   /* when it began */
    uint64_t  left;                     /* bytes to the next, in a burst */
    uint32_t  count;                    /* in this window */
    bool      busy;
} self __attribute__((tls_model("initial-exec")));

/* The linker's: where this library lies. */
extern const char  __ehdr_start[] __attribute__((visibility("hidden")));
extern const char  etext[] __attribute__((visibility("hidden")));


static struct bucket *
find_bucket(size_t level, uintptr_t key)
{
    struct bucket *const buckets = atomic_load_explicit(&levels[level],
                                                        memory_order_acquire);

    return buckets == NULL
           ? NULL : &buckets[(key >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 40
                             & (sizes[level] - 1)];
}


static bool
put(struct bucket *bucket, const struct pprof_growth_region *region)
{
    for (size_t i = 0; i < PLACES; i++) {
        struct place *const place = &bucket->places[i];
        uintptr_t           free = FREE;

        if (atomic_load_explicit(&place->key, memory_order_relaxed) == FREE
            && atomic_compare_exchange_strong(&place->key, &free, CLAIMED))
        {
            atomic_store_explicit(&place->size, region->size,
                                  memory_order_relaxed);
            atomic_store_explicit(&place->site, region->site,
                                  memory_order_relaxed);
            atomic_store_explicit(&place->age, region->age,
                                  memory_order_relaxed);
            atomic_store_explicit(&place->weight, region->weight,
                                  memory_order_relaxed);
            atomic_store_explicit(&place->key, region->start,
                                  memory_order_release);
            return true;
        }
    }

    return false;
}


void
pprof_growth_return(const struct pprof_growth_region *region)
{
    for (size_t level = 0; level < LEVELS; level++) {
        if (pprof_raw_map_once(&levels[level],
                               sizes[level] * sizeof(struct bucket))
            != NULL
            && put(find_bucket(level, region->start), region))
        {
            return;
        }
    }

    atomic_fetch_add_explicit(&lost, 1, memory_order_relaxed);
}


static struct pprof_growth_region
read_place(const struct place *place, uintptr_t key)
{
    return (struct pprof_growth_region) {
        .start = key,
        .size = atomic_load_explicit(&place->size, memory_order_relaxed),
        .site = atomic_load_explicit(&place->site, memory_order_relaxed),
        .age = atomic_load_explicit(&place->age, memory_order_relaxed),
        .weight = atomic_load_explicit(&place->weight, memory_order_relaxed)
    };
}


/* Takes out what begins at KEY. */
static bool
take(uintptr_t key, struct pprof_growth_region *region)
{
    for (size_t level = 0; level < LEVELS; level++) {
        struct bucket *const bucket = find_bucket(level, key);

        for (size_t i = 0; bucket != NULL && i < PLACES; i++) {
            struct place *const place = &bucket->places[i];
            uintptr_t           there = key;

            if (atomic_load_explicit(&place->key, memory_order_acquire) != key)
            {
                continue;
            }

            *region = read_place(place, key);

            if (atomic_compare_exchange_strong(&place->key, &there, FREE)) {
                return true;
            }
        }
    }

    return false;
}


static void
keep(uintptr_t start, uint64_t size, uint32_t site, uint64_t weight)
{
    struct pprof_growth_region old;

    if (site == 0) {
        atomic_fetch_add_explicit(&lost, 1, memory_order_relaxed);
        return;
    }

    struct pprof_site *const s = pprof_sites_get(site);

    atomic_fetch_add_explicit(&s->objects, weight, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->bytes, size * weight / PPROF_SITE_ONE,
                              memory_order_relaxed);

    /* what was there before is gone, and nobody told us */
    (void) take(start, &old);

    pprof_growth_return(&(struct pprof_growth_region) {
        .start = start,
        .size = size,
        .site = site,
        .age = atomic_fetch_add_explicit(&ages, 1, memory_order_relaxed),
        .weight = weight < UINT32_MAX ? (uint32_t) weight : UINT32_MAX
    });
}


/*
 * How many a request of SIZE bytes stands for, in units of 1 / PPROF_SITE_ONE;
 * 0: it is left out.
 */
static uint64_t
choose(size_t size)
{
    const uint64_t now = pprof_clock(CLOCK_MONOTONIC);

    if (now - self.window >= WINDOW) {
        self.window = now;
        self.count = 0;
    }

    if (self.count < PPROF_GROWTH_BURST) {
        self.count++;
        self.left = pprof_heap_draw(PPROF_GROWTH_PERIOD);
        return PPROF_SITE_ONE;
    }

    if (size <= self.left) {
        self.left -= size;
        return 0;
    }

    self.left = pprof_heap_draw(PPROF_GROWTH_PERIOD);

    return pprof_heap_weigh(size, PPROF_GROWTH_PERIOD);
}


/* Does this concern us?  Then leave() is to follow. */
static bool
enter(void)
{
    if (!atomic_load_explicit(&on, memory_order_relaxed) || self.busy
        || pprof_own_here())
    {
        return false;
    }

    self.busy = true;
    atomic_signal_fence(memory_order_seq_cst);

    return true;
}


static void
leave(void)
{
    atomic_signal_fence(memory_order_seq_cst);
    self.busy = false;
}


void
pprof_growth_map(const void *p, size_t size, const void *caller)
{
    /* what we ask for ourselves is no growth of the program's */
    if (((uintptr_t) caller >= (uintptr_t) __ehdr_start
         && (uintptr_t) caller < (uintptr_t) etext)
        || !enter())
    {
        return;
    }

    const uint64_t weight = size == 0 ? PPROF_SITE_ONE : choose(size);

    if (weight != 0) {
        keep((uintptr_t) p, size, pprof_heap_site(caller), weight);
    }

    leave();
}


bool
pprof_growth_take(const void *p, size_t size,
    struct pprof_growth_region *region)
{
    const uintptr_t key = (uintptr_t) p;

    if (!atomic_load_explicit(&on, memory_order_relaxed)
        || key <= CLAIMED || !take(key, region))
    {
        return false;
    }

    if (region->size > size) {
        /* its beginning goes, the rest stays */
        struct pprof_growth_region rest = *region;

        rest.start += size;
        rest.size -= size;
        pprof_growth_return(&rest);
    }

    return true;
}


void
pprof_growth_break(uintptr_t before, const void *caller)
{
    if (break_place == NULL || !enter()) {
        return;
    }

    const uintptr_t now = *break_place;

    if (now > before && before != 0) {
        keep(before, now - before, pprof_heap_site(caller), PPROF_SITE_ONE);
    }

    atomic_store(&break_seen, now);
    leave();
}


void
pprof_growth_sampled(const void *p, size_t size, uint64_t weight,
    const uintptr_t *pcs, size_t depth)
{
    const uintptr_t at = (uintptr_t) p;

    if (!atomic_load_explicit(&has_chunks, memory_order_relaxed) || !enter()) {
        return;
    }

    if (size >= CHUNK_MIN && (at & PAGE_MASK) == CHUNK_HEAD
        && (((const size_t *) p)[-1] & CHUNK_MAPPED) != 0)
    {
        keep(at - CHUNK_HEAD, (size + CHUNK_HEAD + PAGE_MASK)
                              & ~(uint64_t) PAGE_MASK,
             pprof_sites_add(PPROF_SITES_GROWTH, pcs, depth), weight);
    }

    if (break_place != NULL) {
        const uintptr_t now = *(const volatile uintptr_t *) break_place;
        uintptr_t       seen = atomic_load_explicit(&break_seen,
                                                    memory_order_relaxed);

        if (now != seen
            && atomic_compare_exchange_strong(&break_seen, &seen, now)
            && now > seen && seen != 0)
        {
            keep(seen, now - seen,
                 pprof_sites_add(PPROF_SITES_GROWTH, pcs, depth),
                 PPROF_SITE_ONE);
        }
    }

    leave();
}


void
pprof_growth_freed(const void *p)
{
    struct pprof_growth_region old;
    const uintptr_t            at = (uintptr_t) p;

    if (atomic_load_explicit(&has_chunks, memory_order_relaxed)
        && (at & PAGE_MASK) == CHUNK_HEAD)
    {
        (void) take(at - CHUNK_HEAD, &old);
    }
}


void
pprof_growth_begin(const uintptr_t *break_at, bool chunks)
{
    break_place = break_at;

    if (break_at != NULL) {
        atomic_store(&break_seen, *break_at);
    }

    atomic_store(&has_chunks, chunks);
    atomic_store(&on, true);
}


void
pprof_growth_renounce(void)
{
    atomic_store(&on, false);
    atomic_store(&has_chunks, false);
}


bool
pprof_growth_on(void)
{
    return atomic_load_explicit(&on, memory_order_relaxed);
}


void
pprof_growth_read(pprof_growth_visit *visit, void *arg)
{
    for (size_t level = 0; level < LEVELS; level++) {
        const struct bucket *const buckets
            = atomic_load_explicit(&levels[level], memory_order_acquire);

        for (size_t i = 0; buckets != NULL && i < sizes[level] * PLACES; i++) {
            const struct place *const place
                = &buckets[i / PLACES].places[i % PLACES];
            const uintptr_t           key
                = atomic_load_explicit(&place->key, memory_order_acquire);

            if (key <= CLAIMED) {
                continue;
            }

            const struct pprof_growth_region region = read_place(place, key);

            if (atomic_load(&place->key) == key) {
                visit(arg, &region);
            }
        }
    }
}


uint64_t
pprof_growth_lost(void)
{
    return atomic_load(&lost);
}
