#include "guest/sites.h"

#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

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


static uint64_t
hash_stack(const uintptr_t *pcs, size_t depth)
{
    uint64_t h = 0xcbf29ce484222325;

    for (size_t i = 0; i < depth; i++) {
        h = (h ^ pcs[i]) * 0x100000001b3;
        h ^= h >> 29;
    }

    h ^= h >> 33;
    h *= 0xff51afd7ed558ccd;

    return h ^ h >> 33;
}


/* SIZE bytes for AT, unless somebody was faster.  NULL: there are none. */
static void *
map(_Atomic(void *) *at, size_t size)
{
    void *old = NULL;

    const long p = pprof_raw(SYS_mmap, 0, size, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, (uintptr_t) -1, 0);

    if (p < 0 && p > -4096) {
        return NULL;
    }

    if (atomic_compare_exchange_strong(at, &old, (void *) p)) {
        return (void *) p;
    }

    pprof_raw(SYS_munmap, (uintptr_t) p, size, 0, 0, 0, 0);

    return old;
}


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

    uintptr_t *block = atomic_load(&blocks[from / FRAMES]);

    if (block == NULL) {
        block = map(&blocks[from / FRAMES], FRAMES * sizeof(*block));
    }

    if (block == NULL) {
        return NULL;
    }

    memcpy(block + from % FRAMES, pcs, depth * sizeof(*pcs));

    return block + from % FRAMES;
}


/* A new site, which is in no chain yet; 0: no room. */
static uint32_t
make(const uintptr_t *pcs, size_t depth, uint64_t hash)
{
    if (atomic_load_explicit(&used, memory_order_relaxed) >= PPROF_SITES_MAX) {
        return 0;
    }

    const uint32_t index = atomic_fetch_add(&used, 1);

    if (index >= PPROF_SITES_MAX) {
        return 0;
    }

    if (atomic_load(&pieces[index / PIECE]) == NULL
        && map(&pieces[index / PIECE], PIECE * sizeof(struct pprof_site))
           == NULL)
    {
        return 0;
    }

    struct pprof_site *const site = pprof_sites_get(index + 1);

    site->depth = (uint32_t) depth;
    site->hash = hash;
    site->pcs = keep_frames(pcs, depth);

    return site->pcs != NULL ? index + 1 : 0;
}


uint32_t
pprof_sites_add(const uintptr_t *pcs, size_t depth)
{
    if (depth > PPROF_STACK_MAX) {
        depth = PPROF_STACK_MAX;
    }

    const uint64_t          hash = hash_stack(pcs, depth);
    _Atomic uint32_t *const chain = &chains[hash % CHAINS];
    uint32_t                head = atomic_load_explicit(chain,
                                                        memory_order_acquire);

    for (uint32_t i = head; i != 0; ) {
        const struct pprof_site *const site = pprof_sites_get(i);

        if (site->hash == hash && site->depth == depth
            && memcmp(site->pcs, pcs, depth * sizeof(*pcs)) == 0)
        {
            return i;
        }

        i = site->next;
    }

    const uint32_t made = make(pcs, depth, hash);

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

            visit(arg, site);
            j = site->next;
        }
    }
}
