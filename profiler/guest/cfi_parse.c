#include "guest/cfi.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/dwarf.h"
#include "guest/cfi_rows.h"


struct fde {
    uint32_t  pc;                       /* from the start of the text */
    uint32_t  size;
    uint32_t  at;                       /* offset in the section */
};

struct build {
    const uint8_t         *data;        /* the section */
    size_t                 size;
    uintptr_t              addr;        /* where the program has it */
    uintptr_t              start;       /* the text */
    uintptr_t              end;
    size_t                 cie_at;      /* offset of the one read last */
    bool                   cie_good;
    struct pprof_cfi_cie   cie;
    struct pprof_cfi_rows  rows;
};


/* The section from offset AT on. */
static struct pprof_dwarf
open_at(const struct build *build, size_t at)
{
    return pprof_dwarf_open(build->data + at, build->size - at,
                            build->addr + at);
}


/* Reads the CIE at offset AT into build->cie, unless it is there already. */
static bool
read_cie(struct build *build, size_t at)
{
    struct pprof_dwarf     in = open_at(build, at), entry;
    struct pprof_cfi_rules remembered[PPROF_CFI_REMEMBERED];

    if (build->cie_at != at) {
        build->cie_at = at;
        build->cie_good = pprof_dwarf_entry(&in, &entry)
                          && pprof_dwarf_cie(entry, &build->cie.head)
                          && pprof_cfi_rows_begin(&build->cie, remembered);
    }

    return build->cie_good;
}


/*
 * Reads the head of the FDE whose content is ENTRY.  Leaves ENTRY at its
 * instructions.  Returns false when it is not one of this text's.
 */
static bool
read_fde(struct build *build, struct pprof_dwarf *entry, struct fde *fde)
{
    size_t    at = (size_t) (entry->p - build->data);
    uint64_t  delta = pprof_dwarf_fixed(entry, 4);
    uint64_t  pc, size;

    if (entry->failed || delta == 0 || delta > at
        || !read_cie(build, at - delta)
        || !pprof_dwarf_range(entry, &build->cie.head, &pc, &size)
        || pc < build->start || pc >= build->end || size > build->end - pc)
    {
        return false;
    }

    fde->pc = (uint32_t) (pc - build->start);
    fde->size = (uint32_t) size;
    fde->at = (uint32_t) at;

    return true;
}


static int
compare_fdes(const void *a, const void *b)
{
    const struct fde *x = a, *y = b;

    if (x->pc != y->pc) {
        return x->pc < y->pc ? -1 : 1;
    }

    return x->at < y->at ? -1 : x->at > y->at;
}


/*
 * Lists the functions in FDES, sorted by address; NULL only counts.  Returns
 * how many there are.
 */
static size_t
list_fdes(struct build *build, size_t max, struct fde *fdes)
{
    struct pprof_dwarf in = open_at(build, 0), entry;
    struct fde         fde;
    size_t             n = 0;
    bool               sorted = true;

    while (n < max && pprof_dwarf_entry(&in, &entry)) {
        if (!read_fde(build, &entry, &fde)) {
            continue;
        }

        if (fdes != NULL) {
            fdes[n] = fde;
            sorted = sorted && (n == 0
                                || compare_fdes(&fdes[n - 1], &fde) <= 0);
        }

        n++;
    }

    if (!sorted) {
        qsort(fdes, n, sizeof(*fdes), compare_fdes);
    }

    return n;
}


static void
add_fde(struct build *build, const struct fde *fde)
{
    struct pprof_dwarf in = open_at(build, fde->at - 4), entry;
    struct fde         again;

    if (pprof_dwarf_entry(&in, &entry) && read_fde(build, &entry, &again)) {
        pprof_cfi_rows_add(&build->rows, &build->cie, entry, build->start,
                           fde->pc, (uint64_t) fde->pc + fde->size);
    }
}


/* The index, and the mapping cut to size. */
static void
finish_table(struct build *build)
{
    struct pprof_cfi_rows *rows = &build->rows;

    size_t nindex = ((build->end - build->start) >> PPROF_CFI_INDEX_SHIFT) + 2;
    size_t words = (nindex * sizeof(uint32_t) + sizeof(struct pprof_cfi_row)
                    - 1) / sizeof(struct pprof_cfi_row);

    if (!pprof_cfi_rows_reserve(rows, rows->table->nrows + words)) {
        return;
    }

    struct pprof_cfi_table *table = rows->table;
    uint32_t               *index = (uint32_t *) (table->rows + table->nrows);
    size_t                  row = 0;

    for (size_t i = 0; i < nindex; i++) {
        while (row < table->nrows
               && table->rows[row].pc >> PPROF_CFI_INDEX_SHIFT < i)
        {
            row++;
        }

        index[i] = (uint32_t) row;
    }

    table->nindex = nindex;

    size_t size = sizeof(*table)
                  + (table->nrows + words) * sizeof(struct pprof_cfi_row);

    /* shrinking moves nothing */
    table = mremap(table, table->mapped, size, MREMAP_MAYMOVE);
    if (table != MAP_FAILED) {
        table->mapped = size;
        rows->table = table;
    }
}


struct pprof_cfi_table *
pprof_cfi_parse(const uint8_t *data, size_t size, uintptr_t addr, size_t nfdes,
    uintptr_t start, uintptr_t end)
{
    struct build build = {
        .data = data,
        .size = size,
        .addr = addr,
        .start = start,
        .end = end,
        .cie_at = SIZE_MAX,
    };

    errno = 0;

    if (end <= start || end - start >= UINT32_MAX || size >= UINT32_MAX) {
        return NULL;
    }

    size_t n = list_fdes(&build, nfdes, NULL);

    if (n == 0) {
        return NULL;
    }

    size_t      bytes = n * sizeof(struct fde);
    struct fde *fdes = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fdes == MAP_FAILED) {
        return NULL;
    }

    /* four rows a function: push, sub, add, ret */
    if (!pprof_cfi_rows_init(&build.rows, n * 4)) {
        munmap(fdes, bytes);
        return NULL;
    }

    n = list_fdes(&build, n, fdes);

    uint64_t covered = 0;

    for (size_t i = 0; i < n && !build.rows.failed; i++) {
        /* of functions that overlap, the first is believed */
        if (fdes[i].pc >= covered) {
            add_fde(&build, &fdes[i]);
            covered = (uint64_t) fdes[i].pc + fdes[i].size;
        }
    }

    munmap(fdes, bytes);
    finish_table(&build);

    if (build.rows.failed) {
        pprof_cfi_table_free(build.rows.table);
        errno = ENOMEM;
        return NULL;
    }

    return build.rows.table;
}


void
pprof_cfi_table_free(struct pprof_cfi_table *table)
{
    if (table != NULL) {
        munmap(table, table->mapped);
    }
}
