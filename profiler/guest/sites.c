#include "guest/sites.h"

#include <stdbool.h>
#include <string.h>

#include "guest/raw.h"
#include "guest/stackmap.h"


enum {
    CHAINS = 8192,
    PIECE = 512,                        /* sites mapped at once */
    PIECES = PPROF_SITES_MAX / PIECE,
    FRAMES = 8192,                      /* frames mapped at once: 64 KiB */
    BLOCKS = PPROF_SITES_FRAMES / FRAMES
};


static _Atomic uint32_t             chains[CHAINS];
static _Atomic(void *)              pieces[PIECES];     /* sites */
static _Atomic(void *)              blocks[BLOCKS];     /* frames */
static _Atomic uint32_t             used;           /* sites, may overshoot */
static _Atomic uint32_t             used_frames;    /* the same */


struct pprof_site *
pprof_sites_get(uint32_t number)
{
    struct pprof_site *const piece
        = atomic_load_explicit(&pieces[(number - 1) / PIECE],
                               memory_order_acquire);

    return &piece[(number - 1) % PIECE];
}


/* A copy of PCS, or NULL. */
static const uintptr_t *
keep_frames(const uintptr_t *pcs, size_t depth)
{
    uint32_t at = atomic_load_explicit(&used_frames, memory_order_relaxed);
    uint32_t from;

    do {
        /* in one block */
        from = at % FRAMES + depth > FRAMES ? (at / FRAMES + 1) * FRAMES : at;

        if (from + depth > PPROF_SITES_FRAMES) {
            return NULL;
        }
    } while (!atomic_compare_exchange_weak(&used_frames, &at,
                                           from + (uint32_t) depth));

    uintptr_t *const block = pprof_raw_map_once(&blocks[from / FRAMES],
                                                FRAMES * sizeof(*block));

    if (block == NULL) {
        return NULL;
    }

    memcpy(block + from % FRAMES, pcs, depth * sizeof(*pcs));

    return block + from % FRAMES;
}


/* A new site, which is in no chain yet; 0: no room. */
static uint32_t
make(enum pprof_sites_sort sort, const uintptr_t *pcs, size_t depth,
    uint64_t hash)
{
    if (atomic_load_explicit(&used, memory_order_relaxed) >= PPROF_SITES_MAX) {
        return 0;
    }

    const uint32_t index = atomic_fetch_add(&used, 1);

    if (index >= PPROF_SITES_MAX) {
        return 0;
    }

    if (pprof_raw_map_once(&pieces[index / PIECE],
                           PIECE * sizeof(struct pprof_site)) == NULL)
    {
        return 0;
    }

    struct pprof_site *const site = pprof_sites_get(index + 1);

    site->depth = (uint16_t) depth;
    site->sort = (uint16_t) sort;
    site->hash = hash;
    site->pcs = keep_frames(pcs, depth);

    return site->pcs != NULL ? index + 1 : 0;
}


uint32_t
pprof_sites_add(enum pprof_sites_sort sort, const uintptr_t *pcs, size_t depth)
{
    if (depth > PPROF_STACK_MAX) {
        depth = PPROF_STACK_MAX;
    }

    const uint64_t          hash = pprof_stackmap_hash(sort, pcs, depth);
    _Atomic uint32_t *const chain = &chains[hash % CHAINS];
    uint32_t                head = atomic_load_explicit(chain,
                                                        memory_order_acquire);

    for (uint32_t i = head; i != 0; ) {
        const struct pprof_site *const site = pprof_sites_get(i);

        if (site->hash == hash && site->depth == depth && site->sort == sort
            && memcmp(site->pcs, pcs, depth * sizeof(*pcs)) == 0)
        {
            return i;
        }

        i = site->next;
    }

    const uint32_t made = make(sort, pcs, depth, hash);

    if (made == 0) {
        return 0;
    }

    do {
        pprof_sites_get(made)->next = head;
    } while (!atomic_compare_exchange_weak(chain, &head, made));

    return made;
}


void
pprof_sites_read(pprof_sites_visit *visit, void *arg)
{
    for (size_t i = 0; i < CHAINS; i++) {
        for (uint32_t j = atomic_load_explicit(&chains[i],
                                               memory_order_acquire); j != 0; )
        {
            const struct pprof_site *const site = pprof_sites_get(j);

            visit(arg, site, j);
            j = site->next;
        }
    }
}
