/*
 * What this process uses at an instant: one reading.
 *
 * Context: the serving thread.  Allocates nothing itself.
 */

#ifndef PPROF_CHARTS_PROCESS_H
#define PPROF_CHARTS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/target.h"


/* debugcharts' order */
enum pprof_count {
    PPROF_COUNT_BLOCK,
    PPROF_COUNT_GOROUTINE,
    PPROF_COUNT_HEAP,
    PPROF_COUNT_MUTEX,
    PPROF_COUNT_THREADCREATE,
    PPROF_COUNTS
};

/* a number that cannot be had */
#define PPROF_UNKNOWN  UINT64_MAX


struct pprof_reading {
    uint64_t  mono_nanos;       /* when, CLOCK_MONOTONIC */
    uint64_t  user_nanos;       /* CPU of all threads since the start */
    uint64_t  sys_nanos;
    uint64_t  rss;              /* bytes */
    uint64_t  threads;
    uint64_t  fds;
    uint64_t  heap_in_use;      /* bytes that the program allocated */
    uint64_t  heap_held;        /* bytes that tcmalloc has of the kernel */
    uint64_t  unmapped;         /* bytes that it gave back */
    uint64_t  scavenges;        /* how often it did, since the start */
    uint64_t  counts[PPROF_COUNTS];
};


/*
 * A number that takes long where there is much of it: descriptors, sampled
 * objects.  It is read again only after ten thousand times what that took,
 * and stands still between.
 */
struct pprof_costly {
    uint64_t  value;
    uint64_t  next_nanos;       /* CLOCK_MONOTONIC; 0: now */
};


/* Owner: whoever declared it; nothing is to be freed. */
struct pprof_process {
    struct pprof_target *target;
    bool                has_heap;   /* there is a tcmalloc to be asked */
    size_t              page;       /* bytes */
    struct pprof_costly fds;
    struct pprof_costly counts[PPROF_COUNTS];
};


/* Looks once for what later readings need. */
void pprof_process_init(struct pprof_process *p, struct pprof_target *target);

/* Fills R.  Cannot fail: what cannot be had is PPROF_UNKNOWN. */
void pprof_process_read(struct pprof_process *p, struct pprof_reading *r);

/*
 * Reads the threads and the pages in memory out of TEXT, what a
 * /proc/<pid>/stat holds, and how its CPU time divides: TIMES, ticks of user
 * and system.  Returns 0, or -1 when it is no such text.
 *
 * Format: proc_pid_stat(5); a name may hold spaces and parentheses.
 */
int pprof_process_parse(const char *text, uint64_t *threads, uint64_t *pages,
    uint64_t times[2]);

#endif
