/*
 * Feeds anything to the reader of /tmp/perf-PID.map.
 *
 * Fuzzes: agent/symbols/perfmap.c
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "symbols/perfmap.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pprof_perfmap  pm;
    char                 *text = malloc(size + (size == 0));
    uintptr_t             start;

    memcpy(text, data, size);

    if (pprof_perfmap_parse(&pm, text, size) == 0) {
        for (uintptr_t addr = 1; addr != 0; addr <<= 1) {
            const char  *name = pprof_perfmap_find(&pm, addr, &start);

            if (name != NULL && (name[0] == '\0' || start > addr)) {
                abort();
            }
        }
    }

    pprof_perfmap_free(&pm);

    return 0;
}
