/*
 * Feeds anything to our own demangler of plain C++ names, and to what makes
 * names short.
 *
 * Fuzzes: agent/symbols/demangle.c agent/symbols/short.c
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "symbols/demangle.h"
#include "symbols/short.h"


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

    /* what any demangler may have made of it */
    got = pprof_short_cxx(name + 2);

    if (got == NULL || strlen(got) > size || strchr(got, ' ') != NULL) {
        abort();
    }

    free(got);
    (void) pprof_short_symbol(name, strlen(name));
    free(name);

    return 0;
}
