#include "guest/live.h"

#include <stdatomic.h>
#include <stddef.h>

#include "guest/raw.h"


enum {
    PLACES = 8,                         /* in a bucket */
    LEVELS = 4,
    STICKY = 255,                       /* a count that cannot be known */

    /* of a key; the site above them */
    ADDRESS_BITS = 44,
    ADDRESS_SHIFT = 3,

    /* keys that no address has */
    FREE = 0,
    CLAIMED = 1
};

#define ADDRESS_MASK  ((UINT64_C(1) << ADDRESS_BITS) - 1)

/* An object may be in two of a level's buckets. */
struct bucket {
    _Atomic uint64_t  key[PLACES];
    _Atomic uint32_t  what[PLACES];
};

static const size_t  sizes[LEVELS] = { 1 << 10, 1 << 12, 1 << 14, 1 << 17 };

static _Atomic(void *)  levels[LEVELS];     /* of buckets */

uint8_t  pprof_live_hashes[PPROF_LIVE_HASHES];


static uint64_t
address_of(const void *p)
{
    return (uintptr_t) p >> ADDRESS_SHIFT & ADDRESS_MASK;
}


/* The buckets of LEVEL that ADDRESS may be in. */
static void
find_buckets(size_t level, uint64_t address, struct bucket *two[2])
{
    const uint64_t       a = address * 0x9e3779b97f4a7c15;
    const uint64_t       b = address * 0xc2b2ae3d27d4eb4f;
    struct bucket *const first = atomic_load_explicit(&levels[level],
                                                      memory_order_acquire);

    two[0] = &first[a >> 40 & (sizes[level] - 1)];
    two[1] = &first[b >> 40 & (sizes[level] - 1)];
}


static bool
make_level(size_t level)
{
    return pprof_raw_map_once(&levels[level],
                              sizes[level] * sizeof(struct bucket)) != NULL;
}


static void
count_hash(const void *p, int by)
{
    uint8_t *const place = &pprof_live_hashes[(uintptr_t) p >> 4
                                              & (PPROF_LIVE_HASHES - 1)];
    uint8_t        n = __atomic_load_n(place, __ATOMIC_RELAXED);

    while (n != STICKY
           && !__atomic_compare_exchange_n(place, &n, (uint8_t) (n + by), true,
                                           __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
    {
        /* void */
    }
}


static size_t
count_used(const struct bucket *bucket)
{
    size_t n = 0;

    for (size_t i = 0; i < PLACES; i++) {
        n += atomic_load_explicit(&bucket->key[i], memory_order_relaxed)
             != FREE;
    }

    return n;
}


static bool
put(struct bucket *bucket, uint64_t key, uint32_t what)
{
    for (size_t i = 0; i < PLACES; i++) {
        uint64_t free = FREE;

        if (atomic_load_explicit(&bucket->key[i], memory_order_relaxed) == FREE
            && atomic_compare_exchange_strong(&bucket->key[i], &free, CLAIMED))
        {
            atomic_store_explicit(&bucket->what[i], what,
                                  memory_order_relaxed);
            atomic_store_explicit(&bucket->key[i], key, memory_order_release);
            return true;
        }
    }

    return false;
}


bool
pprof_live_add(const void *p, struct pprof_live live)
{
    const uint64_t address = address_of(p);
    const uint64_t key = address | (uint64_t) live.site << ADDRESS_BITS;

    for (size_t level = 0; level < LEVELS && make_level(level); level++) {
        struct bucket *two[2];

        find_buckets(level, address, two);

        const bool second = count_used(two[1]) < count_used(two[0]);

        if (put(two[second], key, live.what)
            || put(two[!second], key, live.what))
        {
            count_hash(p, 1);
            return true;
        }
    }

    return false;
}


static bool
take(struct bucket *bucket, uint64_t address, struct pprof_live *live)
{
    for (size_t i = 0; i < PLACES; i++) {
        uint64_t key = atomic_load_explicit(&bucket->key[i],
                                            memory_order_acquire);

        if ((key & ADDRESS_MASK) != address) {
            continue;
        }

        live->site = (uint32_t) (key >> ADDRESS_BITS);
        live->what = atomic_load_explicit(&bucket->what[i],
                                          memory_order_relaxed);

        /* not if the program frees it twice at once */
        return atomic_compare_exchange_strong(&bucket->key[i], &key, FREE);
    }

    return false;
}


bool
pprof_live_take(const void *p, struct pprof_live *live)
{
    const uint64_t address = address_of(p);

    if (address == FREE) {
        return false;
    }

    for (size_t level = 0; level < LEVELS; level++) {
        struct bucket *two[2];

        if (atomic_load_explicit(&levels[level], memory_order_relaxed) == NULL)
        {
            return false;
        }

        find_buckets(level, address, two);

        if (take(two[0], address, live) || take(two[1], address, live)) {
            count_hash(p, -1);
            return true;
        }
    }

    return false;
}


void
pprof_live_guard(const void *p, uintptr_t size)
{
    for (uintptr_t i = 0; i < size; i += 16) {
        __atomic_store_n(&pprof_live_hashes[((uintptr_t) p + i) >> 4
                                            & (PPROF_LIVE_HASHES - 1)],
                         STICKY, __ATOMIC_RELAXED);
    }
}
