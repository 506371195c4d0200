/*
 * Feeds the agent a hostile process: the text of its /proc/PID/maps up to the
 * first zero byte, then what its memory holds, from each mapping's beginning
 * on.  Objects found in there are to make sense, whatever it is.
 *
 * Fuzzes: agent/symbols/maps.c
 */

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "symbols/maps.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static const uint8_t  *input;
static size_t          input_size;
static size_t          text_size;


static size_t
read_memory(const struct pprof_source *s, uintptr_t addr, void *buf,
    size_t len)
{
    const size_t have = input_size - text_size;
    const size_t at = addr % 4096;

    (void) s;

    if (at >= have) {
        return 0;
    }

    if (len > have - at) {
        len = have - at;
    }

    memcpy(buf, input + text_size + at, len);

    return len;
}


static int
open_file(const struct pprof_source *s, const char *name)
{
    const int fd = memfd_create("input", MFD_CLOEXEC);
    const bool maps = strcmp(name, "maps") == 0;

    (void) s;

    if (fd != -1) {
        (void) !write(fd, maps ? input : input + text_size,
                      maps ? text_size : input_size - text_size);
        (void) lseek(fd, 0, SEEK_SET);
    }

    return fd;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct pprof_source  source = {
        .pid = 71, .read = read_memory, .open = open_file
    };
    const uint8_t *const zero = size == 0 ? NULL : memchr(data, 0, size);
    struct pprof_maps m;
    char hex[2 * PPROF_BUILD_ID_MAX + 1];

    input = data;
    input_size = size;
    text_size = zero == NULL ? size : (size_t) (zero - data);

    if (pprof_maps_load_from(&m, &source) == -1) {
        return 0;
    }

    for (size_t i = 0; i < m.nmaps; i++) {
        const struct pprof_object *const o = pprof_maps_object(&m, &m.maps[i]);

        (void) pprof_maps_find(&m, m.maps[i].start);
        (void) pprof_maps_build_id(&m, &m.maps[i], hex);

        if (o != NULL && (o->build_id_len > PPROF_BUILD_ID_MAX
                          || o->text >= o->end))
        {
            abort();
        }
    }

    pprof_maps_free(&m);

    return 0;
}
