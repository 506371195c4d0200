/*
 * Feeds anything to the parser of .eh_frame.  The first byte chooses how big
 * the text is and where the section lies.
 *
 * libFuzzer's entry; a unit test replays the corpus through it.
 *
 * Fuzzes: guest/cfi_parse.c guest/cfi_rows.c
 */

#include <stdlib.h>
#include <string.h>

#include "guest/cfi.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uintptr_t text[4] = { 0, 0x1000, 0x400000, 0x7f0000000000 };

    if (size == 0) {
        return 0;
    }

    uintptr_t start = text[data[0] & 3];
    uintptr_t end = start + ((uintptr_t) 1 << (8 + (data[0] >> 2) % 16));
    uintptr_t addr = data[0] & 0x80 ? end : start;

    struct pprof_cfi_table *table = pprof_cfi_parse(data + 1, size - 1, addr,
                                                    SIZE_MAX, start, end);
    if (table == NULL) {
        return 0;
    }

    for (size_t i = 0; i < table->nrows; i++) {
        const struct pprof_cfi_row *row = &table->rows[i];

        if (i > 0 && row[-1].pc >= row->pc) {
            abort();                    /* not sorted */
        }

        if (row->pc > end - start) {
            abort();                    /* outside of the text */
        }

        /* the index agrees with the rows */
        if (row->pc < end - start
            && pprof_cfi_table_find(table, row->pc) != row)
        {
            abort();
        }
    }

    for (uint32_t pc = 0; pc < end - start; pc += 61) {
        const struct pprof_cfi_row *row = pprof_cfi_table_find(table, pc);

        if (row == NULL ? table->rows[0].pc <= pc
                        : row->pc > pc
                          || (row + 1 < table->rows + table->nrows
                              && row[1].pc <= pc))
        {
            abort();
        }
    }

    pprof_cfi_table_free(table);

    return 0;
}
