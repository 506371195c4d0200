/*
 * Whose memory and whose /proc: a process, as the symbols room sees it.  NULL
 * stands for the process that we are in.
 */

#ifndef PPROF_SYMBOLS_SOURCE_H
#define PPROF_SYMBOLS_SOURCE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>


struct pprof_source {
    pid_t     pid;

    /* Copies what there is of LEN bytes at ADDR; returns how many. */
    size_t  (*read)(const struct pprof_source *s, uintptr_t addr, void *buf,
                    size_t len);

    /* Opens /proc/PID/NAME to be read; -1 with errno. */
    int     (*open)(const struct pprof_source *s, const char *name);
};

#endif
