/*
 * Feeds anything to the reader of what pprof-lines answers: a program that
 * was mistaken for it may say what it likes.
 *
 * Fuzzes: agent/symbols/lines.c agent/symbols/child.c agent/symbols/maps.c
 */

#include <stdlib.h>
#include <string.h>

#include "symbols/lines.h"


enum {
    ADDRESSES = 8
};


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pprof_lines  l;
    char               *text = malloc(size + 1);

    if (size != 0) {
        memcpy(text, data, size);
    }

    pprof_lines_init(&l);

    for (uintptr_t i = 1; i <= ADDRESSES; i++) {
        pprof_lines_add(&l, 0x1000 * i);
    }

    const int  complete = pprof_lines_parse(&l, text, size);

    if (complete != 0 && complete != 1) {
        abort();
    }

    for (uintptr_t i = 1; i <= ADDRESSES; i++) {
        size_t                     n = 0;
        const struct pprof_frame  *frames = pprof_lines_at(&l, 0x1000 * i, &n);

        if ((frames != NULL)
            != pprof_lines_any(&l, 0x1000 * i, 0x1000 * i + 1)
            || (frames != NULL && n == 0))
        {
            abort();
        }

        for (size_t j = 0; frames != NULL && j < n; j++) {
            /* all of them are strings within the text */
            if (frames[j].file < text || frames[j].file >= text + size
                || strlen(frames[j].file) >= size || frames[j].line < 0
                || frames[j].start < 0
                || (frames[j].name != NULL
                    && (frames[j].name < text
                        || strlen(frames[j].name) >= size)))
            {
                abort();
            }
        }
    }

    pprof_lines_free(&l);

    return 0;
}
