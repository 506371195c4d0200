#include "encode/folded.h"

#include <inttypes.h>


static void
put_name(struct pprof_buf *out, const char *s)
{
    for (/* void */; *s != '\0'; s++) {
        pprof_buf_byte(out, *s == ';' || (uint8_t) *s < ' ' ? ':'
                                                            : (uint8_t) *s);
    }
}


void
pprof_folded_write(const struct pprof_paths *paths, struct pprof_buf *out)
{
    for (size_t i = 0; i < paths->npaths; i++) {
        const struct pprof_path *path = &paths->paths[i];

        for (size_t k = 0; k < path->depth; k++) {
            if (k > 0) {
                pprof_buf_byte(out, ';');
            }

            put_name(out, path->names[k]);
        }

        pprof_buf_printf(out, " %" PRId64 "\n", path->value);
    }
}
