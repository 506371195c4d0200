#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#include "guest/stackmap.h"


enum {
    /* the low bits of a slot's state; the others are its stack's hash */
    FREE = 0,
    CLAIMED = 1,
    READY = 2,
    STATE_MASK = 3,

    PROBES = 64                         /* slots looked at before giving up */
};


struct slot {
    _Atomic uint64_t   state;
    uint64_t           tag;
    uint32_t           first;           /* index of the leaf in frames */
    uint32_t           depth;
    _Atomic uint64_t   count;
    _Atomic uint64_t   value;
};

struct pprof_stackmap {
    size_t             mapped;          /* bytes of the whole table */
    size_t             mask;            /* slots - 1 */
    size_t             nframes;
    uintptr_t         *frames;
    _Atomic size_t     used;            /* frames handed out, may overshoot */
    _Atomic uint64_t   lost_count;
    _Atomic uint64_t   lost_value;
    struct slot        slots[];
};


/* Takes DEPTH frames; false when there are not so many left. */
static bool
take_frames(struct pprof_stackmap *map, size_t depth, uint32_t *first)
{
    /* looked at first so that a full table does not overflow the counter */
    if (atomic_load_explicit(&map->used, memory_order_relaxed) + depth
        > map->nframes)
    {
        return false;
    }

    size_t at = atomic_fetch_add_explicit(&map->used, depth,
                                          memory_order_relaxed);
    if (at + depth > map->nframes) {
        return false;
    }

    *first = (uint32_t) at;

    return true;
}


static bool
same_stack(const struct pprof_stackmap *map, const struct slot *slot,
    uint64_t tag, const uintptr_t *pcs, size_t depth)
{
    return slot->tag == tag && slot->depth == depth
           && memcmp(map->frames + slot->first, pcs, depth * sizeof(*pcs))
              == 0;
}


struct pprof_stackmap *
pprof_stackmap_create(size_t stacks, size_t frames)
{
    size_t n = 2;

    while (n < stacks) {
        n *= 2;
    }

    if (frames > UINT32_MAX) {
        frames = UINT32_MAX;
    }

    size_t head = sizeof(struct pprof_stackmap) + n * sizeof(struct slot);
    size_t size = head + frames * sizeof(uintptr_t);

    struct pprof_stackmap *map = mmap(NULL, size, PROT_READ | PROT_WRITE,
                                      MAP_PRIVATE | MAP_ANONYMOUS
                                      | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) {
        return NULL;
    }

    map->mapped = size;
    map->mask = n - 1;
    map->nframes = frames;
    map->frames = (uintptr_t *) ((char *) map + head);

    return map;
}


void
pprof_stackmap_free(struct pprof_stackmap *map)
{
    if (map != NULL) {
        munmap(map, map->mapped);
    }
}


uint32_t
pprof_stackmap_add(struct pprof_stackmap *map, uint64_t tag,
    const uintptr_t *pcs, size_t depth, uint64_t count, uint64_t value)
{
    if (depth > PPROF_STACK_MAX) {
        depth = PPROF_STACK_MAX;
    }

    uint64_t hash = pprof_stackmap_hash(tag, pcs, depth);
    uint64_t claimed = (hash & ~(uint64_t) STATE_MASK) | CLAIMED;
    uint64_t ready = (hash & ~(uint64_t) STATE_MASK) | READY;
    size_t   i = hash >> 7;

    for (int probe = 0; probe < PROBES; probe++, i++) {
        struct slot *slot = &map->slots[i & map->mask];
        uint64_t     state = atomic_load_explicit(&slot->state,
                                                  memory_order_acquire);

        if (state == FREE) {
            uint32_t first;

            if (!atomic_compare_exchange_strong_explicit(&slot->state, &state,
                    claimed, memory_order_relaxed, memory_order_relaxed))
            {
                continue;
            }

            if (!take_frames(map, depth, &first)) {
                /*
                 * The slot stays claimed: freeing it could hide a stack that
                 * was put behind it meanwhile.
                 */
                break;
            }

            memcpy(map->frames + first, pcs, depth * sizeof(*pcs));
            slot->tag = tag;
            slot->first = first;
            slot->depth = (uint32_t) depth;
            atomic_store_explicit(&slot->count, count, memory_order_relaxed);
            atomic_store_explicit(&slot->value, value, memory_order_relaxed);
            atomic_store_explicit(&slot->state, ready, memory_order_release);

            return (uint32_t) (i & map->mask) + 1;
        }

        if (state == ready && same_stack(map, slot, tag, pcs, depth)) {
            atomic_fetch_add_explicit(&slot->count, count,
                                      memory_order_relaxed);
            atomic_fetch_add_explicit(&slot->value, value,
                                      memory_order_relaxed);
            return (uint32_t) (i & map->mask) + 1;
        }
    }

    atomic_fetch_add_explicit(&map->lost_count, count, memory_order_relaxed);
    atomic_fetch_add_explicit(&map->lost_value, value, memory_order_relaxed);

    return 0;
}


void
pprof_stackmap_more(struct pprof_stackmap *map, uint32_t row, uint64_t count,
    uint64_t value)
{
    struct slot *slot = &map->slots[row - 1];

    atomic_fetch_add_explicit(&slot->count, count, memory_order_relaxed);
    atomic_fetch_add_explicit(&slot->value, value, memory_order_relaxed);
}


void
pprof_stackmap_read(const struct pprof_stackmap *map,
    pprof_stackmap_visit *visit, void *arg)
{
    for (size_t i = 0; i <= map->mask; i++) {
        const struct slot *slot = &map->slots[i];
        uint64_t           state = atomic_load_explicit(&slot->state,
                                                        memory_order_acquire);

        if ((state & STATE_MASK) != READY) {
            continue;
        }

        struct pprof_stack row = {
            .tag = slot->tag,
            .pcs = map->frames + slot->first,
            .depth = slot->depth,
            .count = atomic_load_explicit(&slot->count, memory_order_relaxed),
            .value = atomic_load_explicit(&slot->value, memory_order_relaxed),
            .row = (uint32_t) i + 1,
        };

        visit(arg, &row);
    }
}


struct pprof_stackmap_loss
pprof_stackmap_lost(const struct pprof_stackmap *map)
{
    return (struct pprof_stackmap_loss) {
        .count = atomic_load_explicit(&map->lost_count, memory_order_relaxed),
        .value = atomic_load_explicit(&map->lost_value, memory_order_relaxed),
    };
}
