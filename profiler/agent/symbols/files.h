/*
 * What names are read from: the file of a loaded object, indexed, and the
 * names that were found in it.  The index of a big program takes longer to
 * make than all the rest of an answer, so the agent keeps it for the next.
 *
 * A file is lent to one answer at a time: whoever asks for one that is out
 * gets another.  What is kept has no pages of the file in memory, is looked at
 * again on disk before it is lent, and is bounded: what nobody asked for
 * longest goes first.
 *
 * Context: pprof_files_take() and pprof_files_put() from any thread; a file
 * itself is its taker's.
 */

#ifndef PPROF_SYMBOLS_FILES_H
#define PPROF_SYMBOLS_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "symbols/functions.h"
#include "symbols/image.h"
#include "symbols/known.h"
#include "symbols/maps.h"


struct pprof_file {
    struct pprof_image      image;
    struct pprof_image      debug;
    struct pprof_functions  functions;
    struct pprof_known      known;      /* by vaddr; full or short names */
    bool                    full;

    /* private to files.c */
    char                   *name;       /* as the mapping has it */
    uint64_t                inode;
    uint8_t                 build_id[PPROF_BUILD_ID_MAX];
    size_t                  build_id_len;
    bool                    stripped;   /* the image has no .symtab */
    bool                    keep;
    struct pprof_file      *next;
};


/*
 * Returns the file that MAP, which has an object, was loaded from, for names
 * that are FULL or short.  DEBUG_ROOT is "/usr/lib/debug"; MAY_LOAD as for
 * pprof_image_debug().  NULL: memory ran out.
 *
 * Owner: the caller, until pprof_files_put().
 */
struct pprof_file *pprof_files_take(const struct pprof_maps *maps,
    const struct pprof_map *map, bool full, const char *debug_root,
    bool may_load);

/* Gives F back: it is kept for the next, if it is another process's. */
void pprof_files_put(struct pprof_file *f);

#endif
