/*
 * Feeds anything to our own demangler of plain C++ names.
 *
 * Fuzzes: agent/symbols/demangle.c
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "symbols/demangle.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char  *name = malloc(size + 3);

    memcpy(name, "_Z", 2);
    memcpy(name + 2, data, size);
    name[size + 2] = '\0';

    char  *got = pprof_demangle(NULL, name);

    if (got != NULL && got[0] == '\0') {
        abort();
    }

    free(got);
    free(name);

    return 0;
}
