/*
 * Feeds anything to what looks for nginx's mark in what a program reads, in
 * two pieces that part where the first byte says.
 *
 * Fuzzes: guest/mark.c
 */

#include <stdlib.h>
#include <string.h>

#include "guest/mark.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }

    const size_t all = size - 1, first = 1 + data[0] % all;
    uint8_t *const piece = malloc(first);
    struct pprof_mark mark = { .len = 0 };

    if (piece == NULL) {
        return 0;
    }

    memcpy(piece, data + 1, first);

    enum pprof_mark_found found = pprof_mark_look(piece, first, &mark);

    if (found == PPROF_MARK_MORE) {
        uint8_t *const both = malloc(PPROF_MARK_HEAD + all);

        if (both != NULL) {
            const size_t kept = pprof_mark_keep(piece, first, both);

            if (kept > PPROF_MARK_HEAD) {
                abort();
            }

            memcpy(both + kept, data + 1 + first, all - first);
            found = pprof_mark_look(both, kept + all - first, &mark);
            free(both);
        }
    }

    if (found == PPROF_MARK_SEEN && mark.len > PPROF_MARK_NAME) {
        abort();
    }

    free(piece);

    return 0;
}
