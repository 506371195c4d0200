#include "symbols/known.h"

#include <stdlib.h>


static size_t
hash(uint64_t number, enum pprof_known_kind kind)
{
    return ((number * 8 + kind) * 0x9e3779b97f4a7c15u) >> 32;
}


/* The slot of that number among the NSLOTS, or the empty one for it. */
static struct pprof_known_slot *
look(struct pprof_known_slot *slots, size_t nslots, uint64_t number,
    enum pprof_known_kind kind)
{
    size_t  at = hash(number, kind) & (nslots - 1);

    while (slots[at].name != NULL
           && (slots[at].number != number || slots[at].kind != kind))
    {
        at = (at + 1) & (nslots - 1);
    }

    return &slots[at];
}


struct pprof_known_slot *
pprof_known_find(struct pprof_known *k, uint64_t number,
    enum pprof_known_kind kind)
{
    if (k->nnames * 2 >= k->nslots) {
        const size_t              nslots = k->nslots == 0 ? 256
                                                          : k->nslots * 2;
        struct pprof_known_slot  *slots = calloc(nslots, sizeof(*slots));

        if (slots == NULL) {
            return NULL;
        }

        for (size_t i = 0; i < k->nslots; i++) {
            const struct pprof_known_slot  *old = &k->slots[i];

            if (old->name != NULL) {
                *look(slots, nslots, old->number, old->kind) = *old;
            }
        }

        free(k->slots);
        k->slots = slots;
        k->nslots = nslots;
    }

    struct pprof_known_slot  *slot = look(k->slots, k->nslots, number, kind);

    if (slot->name == NULL) {
        slot->number = number;
        slot->kind = kind;
    }

    return slot;
}


void
pprof_known_put(struct pprof_known *k, struct pprof_known_slot *slot,
    struct pprof_known_name *name)
{
    slot->name = name;
    k->nnames++;
}


void
pprof_known_free(struct pprof_known *k)
{
    for (size_t i = 0; i < k->nslots; i++) {
        if (k->slots[i].kind != PPROF_KNOWN_PLACE) {
            free(k->slots[i].name);
        }
    }

    free(k->slots);
    *k = (struct pprof_known) {0};
}
