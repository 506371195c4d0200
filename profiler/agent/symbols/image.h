/*
 * The bytes of a loaded object: its file, or, where that was deleted or
 * replaced, what there is of it in memory; and its separate debug file.
 *
 * Owner: whoever declared the struct, zeroed; pprof_image_free() when done.
 * Context: the serving thread.
 */

#ifndef PPROF_SYMBOLS_IMAGE_H
#define PPROF_SYMBOLS_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "symbols/elf.h"
#include "symbols/maps.h"


struct pprof_image {
    void              *data;
    size_t             size;        /* bytes */
    void              *phdrs;       /* of a memory image: malloc()ed */
    struct pprof_elf   elf;
    bool               usable;      /* ELF is filled in */

    /* private to image.c */
    char              *path;        /* of the file that is mapped, or NULL */
    struct stat        st;          /* of it, when it was mapped */
};


/*
 * Opens what MAP, which has an object, was loaded from.  Returns whether
 * there is anything to be read.
 */
bool pprof_image_open(struct pprof_image *im, const struct pprof_maps *m,
    const struct pprof_map *map);

/*
 * Opens the separate debug file of OBJECT, the image of MAP: by its build id
 * below ROOT ("/usr/lib/debug"), by its .gnu_debuglink, or, with MAY_LOAD,
 * from its .gnu_debugdata, for which liblzma is loaded into this process.
 * Returns whether there is one.
 */
bool pprof_image_debug(struct pprof_image *im,
    const struct pprof_image *object, const char *root, bool may_load,
    const struct pprof_maps *m, const struct pprof_map *map);

/*
 * Returns whether IM is of a file, and that file is on disk as it was when it
 * was mapped: nothing wrote to it, none stands in its place.
 */
bool pprof_image_same(const struct pprof_image *im);

/* Lets go of the pages of IM's file: to look at them again costs a fault. */
void pprof_image_rest(const struct pprof_image *im);

/* Gives everything back and leaves a zeroed struct. */
void pprof_image_free(struct pprof_image *im);

#endif
