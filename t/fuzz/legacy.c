/*
 * Feeds anything to the reader of gperftools' CPU profiles.
 *
 * Fuzzes: agent/encode/legacy.c agent/encode/profile.c agent/encode/buf.c
 * Fuzzes: agent/encode/gzip.c
 * Fuzzes: agent/symbols/maps.c agent/symbols/names.c agent/symbols/elf.c
 * Fuzzes: agent/symbols/fde.c
 * Fuzzes: agent/symbols/plt.c agent/symbols/demangle.c agent/symbols/lines.c
 * Fuzzes: agent/symbols/child.c agent/symbols/short.c agent/symbols/image.c
 * Fuzzes: agent/symbols/perfmap.c
 * Fuzzes: agent/symbols/files.c agent/symbols/functions.c agent/symbols/known.c
 */

#include <stdlib.h>
#include <string.h>

#include "encode/legacy.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pprof_profile  p;
    size_t                offset = 0;

    pprof_profile_init(&p);

    if (pprof_legacy_cpu_parse(&p, data, size, &offset) == 0) {
        if (offset > size) {
            abort();
        }

        for (size_t i = 0; i < p.nsamples; i++) {
            const struct pprof_sample  *s = &p.samples[i];

            /* nothing is counted twice, nor lost */
            if (s->values[0] <= 0 || s->values[1] < s->values[0]
                || (s->depth == 0) != (s->lost != NULL))
            {
                abort();
            }
        }
    }

    pprof_profile_free(&p);

    return 0;
}
