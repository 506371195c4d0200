#include "symbols/files.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>


enum {
    /* What is kept at most: files, and the bytes of their indexes. */
    FILES_MAX = 64,
    BYTES_MAX = 32 << 20,

    /* More names than that are made anew, of one file. */
    NAMES_MAX = 1 << 16
};


static struct {
    pthread_mutex_t     lock;
    struct pprof_file  *first;      /* the one that was asked for last */
} kept = {
    .lock = PTHREAD_MUTEX_INITIALIZER
};


static void
file_free(struct pprof_file *f)
{
    if (f == NULL) {
        return;
    }

    pprof_functions_free(&f->functions);
    pprof_known_free(&f->known);
    pprof_image_free(&f->image);
    pprof_image_free(&f->debug);
    free(f->name);
    free(f);
}


static size_t
file_bytes(const struct pprof_file *f)
{
    return pprof_functions_bytes(&f->functions)
           + f->known.nslots * sizeof(*f->known.slots)
           + f->known.nnames * 128;     /* about what a name takes */
}


/* Is F what MAP was loaded from? */
static bool
is_file_of(const struct pprof_file *f, const struct pprof_map *map,
    const struct pprof_object *o)
{
    return f->inode == map->inode && f->build_id_len == o->build_id_len
           && memcmp(f->build_id, o->build_id, o->build_id_len) == 0
           && strcmp(f->name, map->file) == 0;
}


/* Takes the one of MAP out of what is kept, or returns NULL. */
static struct pprof_file *
find_kept(const struct pprof_map *map, const struct pprof_object *o)
{
    struct pprof_file  *f;

    pthread_mutex_lock(&kept.lock);

    struct pprof_file  **at = &kept.first;

    while (*at != NULL && !is_file_of(*at, map, o)) {
        at = &(*at)->next;
    }

    f = *at;

    if (f != NULL) {
        *at = f->next;
        f->next = NULL;
    }

    pthread_mutex_unlock(&kept.lock);

    return f;
}


/* What came of a look for functions. */
enum found {
    NONE,
    FOUND,
    NO_MEMORY
};


/* Indexes the functions that FIND finds in ELF. */
static enum found
index_functions(struct pprof_file *f, const struct pprof_elf *elf,
    bool (*find)(const struct pprof_elf *, struct pprof_elf_symbols *))
{
    struct pprof_elf_symbols  symbols;

    if (!find(elf, &symbols)) {
        return NONE;
    }

    return pprof_functions_make(&f->functions, elf, &symbols) ? FOUND
                                                              : NO_MEMORY;
}


/* Opens what MAP was loaded from. */
static enum found
open_file(struct pprof_file *f, const char *debug_root, bool may_load,
    const struct pprof_maps *maps, const struct pprof_map *map)
{
    enum found  found = NONE;

    if (pprof_image_open(&f->image, maps, map)) {
        found = index_functions(f, &f->image.elf, pprof_elf_symtab);
    }

    f->stripped = found == NONE;

    if (found == NONE
        && pprof_image_debug(&f->debug, &f->image, debug_root, may_load, maps,
                             map))
    {
        found = index_functions(f, &f->debug.elf, pprof_elf_symtab);
    }

    if (found == NONE && f->image.usable) {
        found = index_functions(f, &f->image.elf, pprof_elf_dynsym);
    }

    return found;
}


/* Is F, which was kept, what would be opened now? */
static bool
is_current(const struct pprof_file *f, const char *debug_root,
    const struct pprof_maps *maps, const struct pprof_map *map)
{
    struct pprof_image  debug = {0};

    if (!pprof_image_same(&f->image)
        || (f->debug.usable && !pprof_image_same(&f->debug)))
    {
        return false;
    }

    /* its debug file may have been installed meanwhile */
    if (f->stripped && !f->debug.usable
        && pprof_image_debug(&debug, &f->image, debug_root, false, maps, map))
    {
        pprof_image_free(&debug);
        return false;
    }

    return true;
}


struct pprof_file *
pprof_files_take(const struct pprof_maps *maps, const struct pprof_map *map,
    bool full, const char *debug_root, bool may_load)
{
    const struct pprof_object  *o = pprof_maps_object(maps, map);
    struct pprof_file          *f = maps->source == NULL ? NULL
                                                         : find_kept(map, o);

    if (f != NULL && !is_current(f, debug_root, maps, map)) {
        file_free(f);
        f = NULL;
    }

    if (f != NULL) {
        if (f->full != full || f->known.nnames > NAMES_MAX) {
            pprof_known_free(&f->known);
            f->full = full;
        }

        return f;
    }

    f = calloc(1, sizeof(*f));

    if (f == NULL) {
        return NULL;
    }

    f->full = full;
    f->name = strdup(map->file);
    f->inode = map->inode;
    f->build_id_len = o->build_id_len;
    memcpy(f->build_id, o->build_id, o->build_id_len);

    if (f->name == NULL
        || open_file(f, debug_root, may_load, maps, map) == NO_MEMORY)
    {
        file_free(f);
        return NULL;
    }

    /* in a program's own process nothing stays behind */
    f->keep = maps->source != NULL && f->image.path != NULL
              && (!f->debug.usable || f->debug.path != NULL);

    return f;
}


void
pprof_files_put(struct pprof_file *f)
{
    size_t  files = 0, bytes = 0;

    if (f == NULL || !f->keep) {
        file_free(f);
        return;
    }

    pprof_image_rest(&f->image);
    pprof_image_rest(&f->debug);

    pthread_mutex_lock(&kept.lock);

    f->next = kept.first;
    kept.first = f;

    struct pprof_file  **at = &kept.first;

    while (*at != NULL) {
        files++;
        bytes += file_bytes(*at);

        if (files > FILES_MAX || bytes > BYTES_MAX) {
            break;
        }

        at = &(*at)->next;
    }

    struct pprof_file  *old = *at;

    *at = NULL;
    pthread_mutex_unlock(&kept.lock);

    while (old != NULL) {
        struct pprof_file  *const next = old->next;

        file_free(old);
        old = next;
    }
}
