/*
 * What is loaded where: the executable mappings of this process, and the ELF
 * object behind each.
 *
 * A snapshot.  An object may be closed by dlclose() at any time after, so
 * nothing here holds a pointer into an object's memory that is to be read;
 * addresses are numbers, to be read with pprof_maps_read() alone.
 *
 * Owner: whoever declared the struct; pprof_maps_free() when done.
 * Context: the serving thread.
 */

#ifndef PPROF_SYMBOLS_MAPS_H
#define PPROF_SYMBOLS_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "symbols/source.h"


enum {
    PPROF_BUILD_ID_MAX = 64     /* bytes; GNU's sha1 ids have 20 */
};


/* An ELF object in memory, as the dynamic loader knows it. */
struct pprof_object {
    uintptr_t   bias;           /* address = bias + the file's vaddr */
    const char *name;           /* the loader's path; "" for the program */
    uintptr_t   text;           /* its first executable segment: address, */
    uintptr_t   text_end;       /* first address after it, */
    uint64_t    text_offset;    /* place in the file */
    uintptr_t   phdr;           /* address of the program headers */
    size_t      phnum;
    uintptr_t   start;          /* address of its first segment */
    uintptr_t   end;            /* address after its last segment */
    uint8_t     build_id[PPROF_BUILD_ID_MAX];
    size_t      build_id_len;   /* 0: it has none */
};


/* One executable mapping. */
struct pprof_map {
    uintptr_t    start;
    uintptr_t    limit;         /* the first address after it */
    uint64_t     offset;        /* of START in the file */
    const char  *file;          /* path without " (deleted)"; "[vdso]";
                                   "[anon]" where the kernel names none */
    uint64_t     dev;
    uint64_t     inode;         /* 0: no file */
    bool         deleted;       /* the path is gone or is another file now */
    int          object;        /* index in objects, or -1 */
};


struct pprof_maps {
    struct pprof_map     *maps;     /* the main executable first, the others
                                       by address */
    size_t                nmaps;
    struct pprof_object  *objects;  /* the main executable first */
    size_t                nobjects;
    const struct pprof_source  *source;     /* whose; NULL: our own */

    /* private: what the paths point into */
    char                 *text;
    char                 *names;
};


/*
 * Fills M with this process's executable mappings, joined with build ids from
 * memory: the file on disk may already be the next release.
 *
 * Left out are mappings that cannot be executed, and [vsyscall].  Where
 * /proc/self/maps cannot be read, in a chroot or when no descriptor is left,
 * the loader's list of objects stands in for it: memory that it does not know
 * (a JIT's) is then missing.
 *
 * Returns 0, or -1 with errno ENOMEM.  M is then empty, and may be used and
 * freed as such.
 */
int pprof_maps_load(struct pprof_maps *m);

/*
 * The same for another process: objects by their headers in its memory.  Also
 * for our own, when SOURCE is NULL.
 *
 * Returns 0, or -1 with errno: ENOMEM, or as open() of its maps says.
 */
int pprof_maps_load_from(struct pprof_maps *m,
    const struct pprof_source *source);

/*
 * Fills M from LEN bytes of the text of a /proc/<pid>/maps, without objects;
 * lines that are none are skipped.  The first mapping of the text that is
 * executable counts as the main executable's.
 *
 * Returns 0, or -1 with errno ENOMEM.
 */
int pprof_maps_parse(struct pprof_maps *m, const char *text, size_t len);

/* Gives everything back and leaves an empty M. */
void pprof_maps_free(struct pprof_maps *m);

/* Returns the mapping that ADDR lies in, or NULL.  It belongs to M. */
const struct pprof_map *pprof_maps_find(const struct pprof_maps *m,
    uintptr_t addr);

/* Returns MAP's object, or NULL: anonymous memory, a file that was mmap()ed. */
const struct pprof_object *pprof_maps_object(const struct pprof_maps *m,
    const struct pprof_map *map);

/*
 * Writes MAP's build id into HEX, lower case, with a zero; "" when it has
 * none.  Returns HEX.
 */
char *pprof_maps_build_id(const struct pprof_maps *m,
    const struct pprof_map *map, char hex[2 * PPROF_BUILD_ID_MAX + 1]);

/*
 * Returns the build id of the program itself, lower case; "" when it has
 * none.  Looked up by the first call, which may wait for the loader's lock.
 * The string is static.
 *
 * Context: thread-safe.
 */
const char *pprof_maps_own_build_id(void);

/*
 * Copies LEN bytes from ADDR of this process to BUF, as far as they can be
 * read: memory that is gone is no fault.
 *
 * Returns the number of bytes copied, 0 when none.
 */
size_t pprof_maps_read(uintptr_t addr, void *buf, size_t len);

/* The same of the process that M is of. */
size_t pprof_maps_fetch(const struct pprof_maps *m, uintptr_t addr, void *buf,
    size_t len);

#endif
