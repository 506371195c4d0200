/*
 * How to get from a code address to its caller: .eh_frame boiled down to
 * sorted rows.
 *
 * GUEST ROOM.  Tables are built by pprof_cfi_refresh() on the serving or the
 * controller thread; the reading half (_enter, _find, _leave) runs in signal
 * handlers and touches nothing but the tables.
 *
 * Concurrency: one snapshot is published by an atomic pointer.  Readers are
 * counted; a snapshot that was replaced is freed when a builder next finds
 * nobody reading.  A module that is in both keeps its rows.
 *
 * Bound: a module has at most one row a byte of .eh_frame; text of 4 GiB or
 * more is left out.  12 bytes a row: 0.4 MB for a C program with its libc,
 * 18 MB for libLLVM.
 *
 * Format: Linux Standard Base, Core, "Exception Frames"; DWARF 5, §6.4.
 */

#ifndef PPROF_GUEST_CFI_H
#define PPROF_GUEST_CFI_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>


/* How the caller's stack pointer (the CFA) is found. */
enum pprof_cfi_kind {
    PPROF_CFI_NONE,                     /* no function here */
    PPROF_CFI_STOP,                     /* rules that this table cannot say */
    PPROF_CFI_SP,                       /* sp + offset */
    PPROF_CFI_FP,                       /* fp + offset */
    PPROF_CFI_PLT,                      /* sp + 8, + 8 when pc & 15 >= offset */
    PPROF_CFI_DEREF_FP,                 /* *(fp + offset) + extra */
    PPROF_CFI_DEREF_SP,                 /* *(sp + offset) + extra */
    PPROF_CFI_REG                       /* register number extra, + offset */
};

/* Where the caller's frame pointer is. */
enum pprof_cfi_fp {
    PPROF_CFI_FP_SAME,                  /* nobody touched it */
    PPROF_CFI_FP_CFA,                   /* saved at CFA + fp * 8 */
    PPROF_CFI_FP_FP,                    /* saved at fp + fp * 8 */
    PPROF_CFI_FP_LOST
};

/* Where the return address is. */
enum pprof_cfi_ra {
    PPROF_CFI_RA_CFA,                   /* x86-64: CFA - 8; aarch64: ra * 8 */
    PPROF_CFI_RA_LINK,                  /* aarch64: still in x30 */
    PPROF_CFI_RA_END                    /* the outermost function */
};

/*
 * One row: valid from its pc to the next one's.  CFA holds, from the low bit:
 * kind (3), fp rule (2), ra rule (2), "the frame is a signal's" (1), offset
 * (24, signed).
 */
struct pprof_cfi_row {
    uint32_t  pc;                       /* from the module's start */
    int32_t   cfa;
    int16_t   fp;                       /* in units of 8 bytes */
    int16_t   ra;                       /* the same; EXTRA where kind has one */
};

#define pprof_cfi_row_kind(row)    ((row)->cfa & 7)
#define pprof_cfi_row_fp(row)      (((row)->cfa >> 3) & 3)
#define pprof_cfi_row_ra(row)      (((row)->cfa >> 5) & 3)
#define pprof_cfi_row_signal(row)  (((row)->cfa >> 7) & 1)
#define pprof_cfi_row_offset(row)  ((row)->cfa >> 8)

enum { PPROF_CFI_INDEX_SHIFT = 10 };    /* one index entry a KiB of text */

/*
 * The rows of one module.  Owner: the builder; shared by the snapshots that
 * hold the module.
 */
struct pprof_cfi_table {
    size_t                mapped;       /* bytes */
    size_t                nrows;
    size_t                nindex;
    uint64_t              sum;          /* checksum of what it was made from */
    unsigned              refs;         /* snapshots */
    struct pprof_cfi_row  rows[];       /* then NINDEX uint32_t */
};

struct pprof_cfi_module {
    uintptr_t                start;     /* of its executable segments */
    uintptr_t                end;
    uintptr_t                eh_frame;
    size_t                   eh_size;
    struct pprof_cfi_table  *table;     /* NULL: text, but no rows */
};

/* One snapshot: all modules, sorted. */
struct pprof_cfi {
    struct pprof_cfi        *next;      /* retired before this one */
    size_t                   mapped;
    unsigned long long       adds;      /* dlpi_adds and dlpi_subs */
    unsigned long long       subs;
    bool                     foreign;   /* the agent's: not ours to free */
    size_t                   nmodules;
    struct pprof_cfi_module  modules[];
};

struct pprof_cfi_stats {
    size_t  modules;
    size_t  rows;
    size_t  bytes;                      /* of all tables */
};

/* Read by the functions below only. */
extern struct pprof_cfi_shared {
    _Atomic(struct pprof_cfi *)  current;
    _Atomic unsigned             readers;
    _Atomic bool                 go;    /* a Go runtime was seen */
} pprof_cfi_shared;


/*
 * Makes the published tables match what is loaded now.  Does next to nothing
 * when nothing was loaded or unloaded since.  Never allocates with malloc and
 * never while the loader's lock is held.
 *
 * Returns 1 when new tables were published, 0 when there was nothing to do,
 * -1 with errno when memory lacked; what was published before stays.
 *
 * Context: serving thread or controller; thread-safe among those.
 */
int pprof_cfi_refresh(void);


/*
 * Withdraws and frees the tables.  Where a handler still reads, waits for it
 * for a tenth of a second and then leaves the rest to the next call.
 *
 * Context: serving thread.
 */
void pprof_cfi_clear(void);


/*
 * Publishes CFI, tables that the agent made, or NULL, in place of what is
 * published.  Returns whether nobody reads what was there before: its memory
 * may then be used again.
 *
 * Context: the resting thread.
 */
bool pprof_cfi_adopt(struct pprof_cfi *cfi);


/*
 * To be called in the child of a fork: forgets the readers that only the
 * parent has.
 *
 * Context: async-signal-safe.
 */
void pprof_cfi_child(void);


/*
 * What is published now.
 *
 * Context: serving thread or controller.
 */
struct pprof_cfi_stats pprof_cfi_stats(void);


/*
 * Makes a table from the SIZE bytes of an .eh_frame section in DATA, which the
 * program has at ADDR, for text from START to END.  Stops after NFDES
 * functions.  DATA may hold anything: what cannot be understood becomes rows
 * of kind NONE or STOP.
 *
 * Returns NULL with errno when memory lacks, or with 0 when there is not one
 * function.  The caller frees it by pprof_cfi_table_free().
 *
 * Context: serving thread or controller.
 */
struct pprof_cfi_table *pprof_cfi_parse(const uint8_t *data, size_t size,
    uintptr_t addr, size_t nfdes, uintptr_t start, uintptr_t end);


/*
 * Frees what pprof_cfi_parse() made.
 *
 * Context: serving thread or controller.
 */
void pprof_cfi_table_free(struct pprof_cfi_table *table);


/*
 * Begins to read.  Returns the tables, NULL when there are none;
 * pprof_cfi_leave() must follow in either case.
 *
 * Context: async-signal-safe.
 */
static inline const struct pprof_cfi *
pprof_cfi_enter(void)
{
    /*
     * Sequentially consistent, as is the builder's swap: when it counts no
     * readers after the swap, whoever comes later sees the new pointer.
     */
    atomic_fetch_add(&pprof_cfi_shared.readers, 1);

    return atomic_load(&pprof_cfi_shared.current);
}


static inline void
pprof_cfi_leave(void)
{
    atomic_fetch_sub_explicit(&pprof_cfi_shared.readers, 1,
                              memory_order_release);
}


/*
 * Finds the row of text offset PC in TABLE.  Returns NULL before the first.
 *
 * Context: async-signal-safe.
 */
static inline const struct pprof_cfi_row *
pprof_cfi_table_find(const struct pprof_cfi_table *table, uint32_t pc)
{
    const uint32_t *index = (const uint32_t *) (table->rows + table->nrows);
    size_t          i = pc >> PPROF_CFI_INDEX_SHIFT;

    if (i + 1 >= table->nindex) {
        return NULL;
    }

    /* the answer is before HIGH, and not before LOW - 1 */
    size_t low = index[i], high = index[i + 1];

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (table->rows[middle].pc <= pc) {
            low = middle + 1;

        } else {
            high = middle;
        }
    }

    return low == 0 ? NULL : &table->rows[low - 1];
}


/*
 * Finds the module whose text holds PC.  Returns NULL when there is none.
 *
 * Context: async-signal-safe, between _enter and _leave.
 */
static inline const struct pprof_cfi_module *
pprof_cfi_find(const struct pprof_cfi *cfi, uintptr_t pc)
{
    size_t low = 0, high = cfi->nmodules;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (cfi->modules[middle].start <= pc) {
            low = middle + 1;

        } else {
            high = middle;
        }
    }

    if (low == 0 || pc >= cfi->modules[low - 1].end) {
        return NULL;
    }

    return &cfi->modules[low - 1];
}

#endif
