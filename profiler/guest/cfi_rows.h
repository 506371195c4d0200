/*
 * From call frame instructions to rows: what DWARF says of one function, as
 * the table of cfi.h keeps it.
 *
 * GUEST ROOM, but where it says serving thread or controller.
 *
 * Nothing that is read is trusted: what cannot be understood, or is more than
 * a row can say, becomes rows of kind STOP.
 *
 * Format: DWARF 5, 6.4.2.
 */

#ifndef PPROF_GUEST_CFI_ROWS_H
#define PPROF_GUEST_CFI_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dwarf.h"
#include "guest/cfi.h"


enum { PPROF_CFI_REMEMBERED = 16 };     /* depth of remember_state */

/* The rules in force at one address. */
struct pprof_cfi_rules {
    int64_t   offset;
    int64_t   extra;
    int64_t   fp_at;
    int64_t   ra_at;
    uint8_t   kind;                     /* enum pprof_cfi_kind */
    uint8_t   fp;                       /* enum pprof_cfi_fp */
    uint8_t   ra;                       /* enum pprof_cfi_ra */
    bool      ra_bad;                   /* a rule that no row can hold */
};

/* A CIE, and what its functions begin with. */
struct pprof_cfi_cie {
    struct pprof_dwarf_cie  head;
    struct pprof_cfi_rules  initial;
};

/* A table that grows.  Owner: whoever declared it. */
struct pprof_cfi_rows {
    struct pprof_cfi_table *table;
    size_t                  cap;        /* rows that fit */
    bool                    failed;     /* memory lacked */
};


/*
 * Makes ROWS with room for CAP; false when memory lacks.
 *
 * Context: serving thread or controller.
 */
bool pprof_cfi_rows_init(struct pprof_cfi_rows *rows, size_t cap);


/*
 * Makes room for COUNT rows altogether; false when memory lacks.
 *
 * Context: serving thread or controller.
 */
bool pprof_cfi_rows_reserve(struct pprof_cfi_rows *rows, size_t count);


/*
 * Runs the instructions of CIE's head, which give its initial rules.  Returns
 * false when they cannot be understood: nor can those of its functions.
 * REMEMBERED is room for PPROF_CFI_REMEMBERED.
 *
 * Context: async-signal-safe.
 */
bool pprof_cfi_rows_begin(struct pprof_cfi_cie *cie,
    struct pprof_cfi_rules *remembered);


/*
 * Appends the rows of a function of CIE, whose instructions are PROGRAM, from
 * PC to LIMIT; both, as the rows' own, are offsets from the text's START.  PC
 * is never below the last row's.
 *
 * Context: serving thread or controller.
 */
void pprof_cfi_rows_add(struct pprof_cfi_rows *rows,
    const struct pprof_cfi_cie *cie, struct pprof_dwarf program,
    uintptr_t start, uint64_t pc, uint64_t limit);


/*
 * Returns the one row of such a function that is valid at AT, which is in it.
 * REMEMBERED as above.
 *
 * Context: async-signal-safe.
 */
struct pprof_cfi_row pprof_cfi_rows_one(const struct pprof_cfi_cie *cie,
    struct pprof_dwarf program, uintptr_t start, uint64_t pc, uint64_t at,
    struct pprof_cfi_rules *remembered);

#endif
