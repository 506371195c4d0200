/*
 * Threads that are created while a profile runs: each gives itself its timer
 * before anything else, and says itself when it ends, so that one that lives
 * for a millisecond is seen as one that lives for an hour.
 *
 * GUEST ROOM.  This code runs inside the application's threads: at their
 * start, in signal handlers, and at their end.  It allocates nothing and locks
 * nothing.
 *
 * At first a newborn has no row of its own: its samples, one at each tick of
 * the kernel's that finds it running, are those of its class, the threads that
 * began with the same function, and are worth a tick each.  What a class has
 * computed is known, since each of its threads says so at its end.  Who has
 * computed for PPROF_TICK_DENSE ticks gets a row and is told like any other
 * thread.
 *
 * Concurrency: a place in the table is its thread's own, from a compare-and-
 * swap of its TID until it ends.  The controller reads, and deletes the timers
 * when nobody can be making one any more.
 *
 * Bound: PPROF_NEWBORNS at a time; more are found by the controller's scan.
 */

#ifndef PPROF_GUEST_NEWBORN_H
#define PPROF_GUEST_NEWBORN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "guest/tick.h"


enum {
    PPROF_NEWBORNS = 16384,
    PPROF_NEWBORN_CLASSES = 64,         /* the last one is of all others */

    PPROF_NEWBORN_TAG = 1u << 31        /* + class: instead of a row's index */
};

struct pprof_newborn {
    _Atomic pid_t     tid;              /* 0: free */
    _Atomic int       timer;            /* its number + 1; 0: none */
    _Atomic uint32_t  row;              /* index + 1; 0: too young */
    _Atomic uint32_t  class;
};

/* Threads that began with one function. */
struct pprof_newborn_class {
    _Atomic uintptr_t  run;             /* 0: free, or several */
    _Atomic uint64_t   nsec;            /* what they computed while young */
    uint64_t           living;          /* and those that are so yet */
};

/* Owner: the profile. */
struct pprof_newborns {
    _Atomic uint64_t            count;  /* that ever were */
    struct pprof_newborn_class  classes[PPROF_NEWBORN_CLASSES];
    struct pprof_newborn        places[PPROF_NEWBORNS];
};


/*
 * Prepares for the first profile: from now on threads can tell that they end.
 *
 * Context: serving thread.
 */
void pprof_newborn_init(void);


/*
 * The profile that a thread which is created now belongs to; 0: none.  While
 * one starts, those that are created are found by looking at them.
 *
 * Context: thread-safe.
 */
uint32_t pprof_newborn_wanted(void);


/*
 * The current thread begins, in profile GENERATION, and will run the function
 * RUN.
 *
 * Context: the program's thread, before its own code.
 */
void pprof_newborn_begin(uint32_t generation, const void *run);


/*
 * Reads the clocks of those that are young yet: LIVING of their classes.
 *
 * Context: serving thread, when the profile was taken from the handlers.
 */
void pprof_newborn_read(struct pprof_newborns *newborns);


/*
 * The row of the current thread, whose own timer went off when its clock was
 * NOW; its class's tag while it is too young; PPROF_TICK_SELF when the timer
 * was another profile's.
 *
 * Context: async-signal-safe.
 */
uint32_t pprof_newborn_row(struct pprof_ticks *ticks, uint64_t now);


/*
 * The place of thread TID; NULL when it did not begin by itself.
 *
 * Context: controller.
 */
struct pprof_newborn *pprof_newborn_find(struct pprof_newborns *newborns,
    pid_t tid);


/*
 * Deletes all their timers.  Nobody may be making one: the profile has been
 * taken from the handlers.
 *
 * Context: serving thread.
 */
void pprof_newborn_stop(struct pprof_newborns *newborns);


/*
 * The child of a fork has no timer of its parent's.
 *
 * Context: the child's only thread.
 */
void pprof_newborn_child(void);

#endif
