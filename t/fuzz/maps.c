/*
 * Feeds anything to the parser of /proc/self/maps.
 *
 * Fuzzes: agent/symbols/maps.c
 */

#include <stdlib.h>
#include <string.h>

#include "symbols/maps.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pprof_maps  m;
    char               hex[2 * PPROF_BUILD_ID_MAX + 1];

    if (pprof_maps_parse(&m, (const char *) data, size) != 0) {
        return 0;
    }

    for (size_t i = 0; i < m.nmaps; i++) {
        const struct pprof_map  *map = &m.maps[i];

        if (map->start > map->limit || strlen(map->file) > size + 6
            || strchr(map->file, '\n') != NULL
            || pprof_maps_object(&m, map) != NULL
            || pprof_maps_build_id(&m, map, hex)[0] != '\0'
            || (i > 1 && map->start < map[-1].start))
        {
            abort();
        }

        const struct pprof_map  *found = pprof_maps_find(&m, map->start);

        if (found != NULL && (map->start < found->start
                              || map->start >= found->limit))
        {
            abort();
        }
    }

    pprof_maps_free(&m);

    return 0;
}
