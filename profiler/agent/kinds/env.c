#include "kinds/env.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>


static struct {
    const char  *name;
    bool         set;
    char         value[160];    /* a longer one means nothing to us */
} known[] = {
    { .name = "PPROF_LISTEN" },
    { .name = "PPROF_VERBOSE" },
    { .name = "PPROF_CMDLINE" },
    { .name = "PPROF_CPU_ENGINE" },
    { .name = "PPROF_HEAP_SAMPLE" },
    { .name = "TCMALLOC_SAMPLE_PARAMETER" },
    { .name = "PPROF_ALLOC_SAMPLE" },
    { .name = "PPROF_THREADCREATE" },
    { .name = "PPROF_MUTEX_RATE" },
    { .name = "PPROF_BLOCK_RATE" },
    { .name = "PPROF_LINES" },
};

enum { KNOWN = sizeof(known) / sizeof(known[0]) };

static bool  remembered;


void
pprof_env_remember(void)
{
    for (size_t i = 0; i < KNOWN; i++) {
        const char *const value = getenv(known[i].name);

        if (value != NULL) {
            strncpy(known[i].value, value, sizeof(known[i].value) - 1);
            known[i].set = true;
        }
    }

    remembered = true;
}


const char *
pprof_env_get(const char *name)
{
    if (!remembered) {
        return getenv(name);
    }

    for (size_t i = 0; i < KNOWN; i++) {
        if (strcmp(known[i].name, name) == 0) {
            return known[i].set ? known[i].value : NULL;
        }
    }

    return NULL;
}
