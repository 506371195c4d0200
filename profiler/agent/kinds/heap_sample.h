/*
 * The guest's sample of what the program allocates: heap and allocs show it.
 * It is there where libpprof.so is in front of the program's malloc(),
 * whichever that is.
 *
 * Context: thread-safe.
 */

#ifndef PPROF_KINDS_HEAP_SAMPLE_H
#define PPROF_KINDS_HEAP_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/target.h"
#include "encode/profile.h"
#include "kinds/kind.h"
#include "symbols/maps.h"


/* What it was at one moment.  Owner: whoever declared it; _free() when done. */
struct pprof_heap_sample {
    struct pprof_reply  reply;
    uint64_t            period;     /* bytes; 0: it is switched off */
    uint64_t            since;      /* seconds since the epoch */
    uintptr_t           allocator;  /* an address in the malloc() behind ours */
    uint64_t            missed;     /* see guest/heap.h */
    uint64_t            skipped;
    uint64_t            unplaced;
};

/* Which of a profile's values are what. */
struct pprof_heap_columns {
    int  inuse_objects;
    int  inuse_space;
    int  alloc_objects;
    int  alloc_space;
};

/* How a kind shows it.  Static. */
struct pprof_heap_shape {
    const char                *file;        /* name to save it by */
    const char                *delta;       /* the same, of a difference */
    const char                *shown;       /* the value that is meant */
    struct pprof_heap_columns  columns;
    bool                       in_use;      /* text begins with these */
};

/* What a difference remembers of its beginning. */
struct pprof_heap_start {
    bool                  sample;       /* it is one of this sample */
    struct pprof_profile  profile;      /* the sums then, negative */
    int64_t               time_nanos;
    uint64_t              before;       /* the period then */
    uint64_t              during;       /* the one that was asked for; 0 */
};


/*
 * Reads it.  Returns 0; or -1 with errno: ENOSYS when libpprof is not in front
 * of the program's malloc(), ENODATA when it is and samples nothing, others as
 * pprof_target_call() says.
 */
int pprof_heap_sample_read(struct pprof_target *target,
    struct pprof_heap_sample *sample);
void pprof_heap_sample_free(struct pprof_heap_sample *sample);

/*
 * Begin and end of a job of a kind of that SHAPE, as kind.h says; START is
 * what _begin() left in JOB's state, NULL for an instant; RELEASED what
 * pprof_release() said, "" when it was not asked.  Nothing is done,
 * and 0 returned, where the sample of the program's own tcmalloc is the one to
 * show, or nothing is sampled.
 *
 * _begin() returns 1 when it has begun, -1 when ANSWER has been given; _end()
 * 1 when it has been given, as always to what has begun.
 */
int pprof_heap_sample_begin(struct pprof_job *job,
    const struct pprof_heap_shape *shape);
int pprof_heap_sample_end(struct pprof_job *job,
    const struct pprof_heap_shape *shape, struct pprof_heap_start *start,
    const char *released);

/* Ends the job without an answer. */
void pprof_heap_sample_drop(struct pprof_job *job,
    struct pprof_heap_start *start);

/* Says in P that sampling began at SINCE, seconds since the epoch. */
void pprof_heap_comment_since(struct pprof_profile *p, uint64_t since);

/* What the program's allocator says of itself; bytes, UINT64_MAX: unknown. */
struct pprof_heap_numbers {
    uint64_t  in_use;
    uint64_t  held;                 /* of the kernel */
    uint64_t  returned;             /* given back to it */
};

/*
 * Tells that, as it was when an allocation was last sampled.  The program is
 * not woken.
 */
struct pprof_heap_numbers pprof_heap_sample_numbers(
    struct pprof_target *target);

/*
 * Tells how many samples live, and how many bytes they stand for.  Returns 0,
 * or -1 when nothing is sampled.  The program is not woken.
 */
int pprof_heap_sample_sums(struct pprof_target *target, uint64_t *samples,
    uint64_t *bytes);

#endif
