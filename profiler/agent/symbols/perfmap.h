/*
 * Names of what a JIT compiler made: /tmp/perf-PID.map.
 *
 * java -XX:+DumpPerfMapAtExit (or jcmd PID Compiler.perfmap), node
 * --perf-basic-prof, luajit -jp, .NET and others write it for Linux' perf.
 *
 * Format: lines of "START SIZE name", both hexadecimal; what comes later is
 * newer.  Source: tools/perf/Documentation/jit-interface.txt of Linux.
 *
 * Anybody can write to /tmp, so the file counts only when it belongs to the
 * process's user, or to root; nothing in it is trusted.
 *
 * Owner: whoever declared the struct; pprof_perfmap_free() when done.
 * Context: the serving thread.
 *
 * Bound: FILE_MAX bytes of it are read.
 */

#ifndef PPROF_SYMBOLS_PERFMAP_H
#define PPROF_SYMBOLS_PERFMAP_H

#include <stddef.h>
#include <stdint.h>

#include "symbols/source.h"


struct pprof_perfmap {
    struct pprof_perfmap_row  *rows;    /* by start, of one start the newest
                                           last */
    size_t                     nrows;
    char                      *text;    /* what the names point into */
};


/*
 * Reads the file of SOURCE, NULL: of the process we are in.  Without a file
 * there are no names.
 *
 * Returns 0, or -1 with errno ENOMEM; PM is then empty.
 */
int pprof_perfmap_load(struct pprof_perfmap *pm,
    const struct pprof_source *source);

/* The same from LEN bytes of TEXT, which is changed and belongs to PM. */
int pprof_perfmap_parse(struct pprof_perfmap *pm, char *text, size_t len);

void pprof_perfmap_free(struct pprof_perfmap *pm);

/*
 * Returns the name of what covers ADDR, and sets *START to where it begins;
 * NULL, when nothing does.  It belongs to PM.
 */
const char *pprof_perfmap_find(const struct pprof_perfmap *pm, uintptr_t addr,
    uintptr_t *start);

#endif
