#include "guest/cfi_look.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <string.h>

#include "base/dwarf.h"


/* Sections are read where they lie, whoever wrote them. */
#define RAW_READ  __attribute__((no_sanitize("address", "thread")))

enum {
    LOOKS = 2048,
    HEAD = 12,                          /* bytes before the sorted table */
    TABLE = PPROF_PE_DATAREL | PPROF_PE_SDATA4,
    PAIR = 8                            /* bytes: function, description */
};

/* One row that was found.  Written without a lock: WHOSE is the address and
   its object, and both together are right or nobody's. */
struct look {
    _Atomic uint64_t  whose;
    _Atomic uint64_t  row;
};

/* An object's header, and what the loader says of it. */
struct object {
    const uint8_t    *header;
    const uint8_t    *end;
    uintptr_t         start;
};


static struct look  looks[LOOKS];

extern int _dl_find_object(void *pc, struct dl_find_object *result)
    __attribute__((weak));


static uint64_t
mix(uint64_t x)
{
    x *= 0x9e3779b97f4a7c15;

    return x ^ x >> 29;
}


static uint64_t
pack(const struct pprof_cfi_row *row)
{
    return (uint64_t) (uint32_t) row->cfa << 32
           | (uint32_t) (uint16_t) row->fp << 16 | (uint16_t) row->ra;
}


static struct pprof_cfi_row
unpack(uint64_t word)
{
    return (struct pprof_cfi_row) {
        .cfa = (int32_t) (word >> 32),
        .fp = (int16_t) (word >> 16),
        .ra = (int16_t) word
    };
}


static int32_t
number_at(const uint8_t *p)
{
    int32_t value;

    memcpy(&value, p, sizeof(value));

    return value;
}


/* The description of the function that AT may be in, or NULL. */
RAW_READ static const uint8_t *
find_fde(const struct object *o, uintptr_t at)
{
    const uintptr_t base = (uintptr_t) o->header;

    if (o->end - o->header < HEAD || o->header[0] != 1
        || o->header[2] != PPROF_PE_UDATA4 || o->header[3] != TABLE
        || (o->header[1] & PPROF_PE_FORM) != PPROF_PE_SDATA4)
    {
        return NULL;
    }

    const uint8_t *const table = o->header + HEAD;
    const uint32_t       n = (uint32_t) number_at(o->header + 8);
    size_t               low = 0, high = n;

    if (n == 0 || n > (size_t) (o->end - table) / PAIR) {
        return NULL;
    }

    while (low < high) {
        const size_t middle = (low + high) / 2;

        if (base + (uintptr_t) (intptr_t) number_at(table + middle * PAIR)
            <= at)
        {
            low = middle + 1;

        } else {
            high = middle;
        }
    }

    if (low == 0) {
        return NULL;
    }

    const uint8_t *const fde = o->header
                               + number_at(table + (low - 1) * PAIR + 4);

    return (uintptr_t) fde >= o->start && fde < o->end ? fde : NULL;
}


/* Runs the instructions of the function at FDE. */
RAW_READ static struct pprof_cfi_row
read_row(const struct object *o, const uint8_t *fde, uintptr_t at,
    struct pprof_cfi_room *room)
{
    const struct pprof_cfi_row none = { .cfa = PPROF_CFI_NONE };
    const struct pprof_cfi_row stop = { .cfa = PPROF_CFI_STOP };

    struct pprof_dwarf in = pprof_dwarf_open(fde, (size_t) (o->end - fde),
                                             (uintptr_t) fde);
    struct pprof_dwarf entry, head;
    uint64_t           start, size;

    if (!pprof_dwarf_entry(&in, &entry)) {
        return none;
    }

    const uint8_t *const here = entry.p;
    const uint64_t       back = pprof_dwarf_fixed(&entry, 4);

    if (entry.failed || back == 0
        || back > (uintptr_t) here - o->start)
    {
        return none;
    }

    in = pprof_dwarf_open(here - back, (size_t) (o->end - (here - back)),
                          (uintptr_t) (here - back));

    if (!pprof_dwarf_entry(&in, &head)
        || !pprof_dwarf_cie(head, &room->cie.head)
        || !pprof_dwarf_range(&entry, &room->cie.head, &start, &size)
        || at < start || at - start >= size)
    {
        return none;
    }

    if (!pprof_cfi_rows_begin(&room->cie, room->remembered)) {
        return stop;
    }

    return pprof_cfi_rows_one(&room->cie, entry, start, 0, at - start,
                              room->remembered);
}


enum pprof_cfi_found
pprof_cfi_look(uintptr_t at, struct pprof_cfi_row *row,
    struct pprof_cfi_room *room)
{
    struct dl_find_object found;

    if (at < room->start || at >= room->end) {
        if (_dl_find_object == NULL
            || _dl_find_object((void *) at, &found) != 0)
        {
            return PPROF_CFI_NO_MODULE;
        }

        room->start = (uintptr_t) found.dlfo_map_start;
        room->end = (uintptr_t) found.dlfo_map_end;
        room->header = found.dlfo_eh_frame;
    }

    if (room->header == NULL) {
        return PPROF_CFI_NO_ROW;
    }

    const struct object o = {
        .header = room->header,
        .end = (const uint8_t *) room->end,
        .start = room->start
    };

    const uint64_t     whose = at ^ mix((uintptr_t) o.header);
    struct look *const look = &looks[mix(at) >> 53 & (LOOKS - 1)];
    uint64_t           word = atomic_load_explicit(&look->row,
                                                   memory_order_relaxed);

    if (atomic_load_explicit(&look->whose, memory_order_relaxed)
        != (whose ^ mix(word)))
    {
        const uint8_t *const fde = find_fde(&o, at);

        row->cfa = PPROF_CFI_NONE;

        if (fde != NULL) {
            *row = read_row(&o, fde, at, room);
        }

        word = pack(row);

        atomic_store_explicit(&look->row, word, memory_order_relaxed);
        atomic_store_explicit(&look->whose, whose ^ mix(word),
                              memory_order_relaxed);
    }

    *row = unpack(word);

    return pprof_cfi_row_kind(row) == PPROF_CFI_NONE ? PPROF_CFI_NO_ROW
                                                     : PPROF_CFI_ROW;
}
