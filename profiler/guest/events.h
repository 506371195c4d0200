/*
 * What the interposed functions record: who waited, for whom, and who created
 * threads.
 *
 * GUEST ROOM.  This code runs inside the application's threads: inside
 * malloc, under its locks, in signal handlers.  Nothing here allocates, locks,
 * blocks or calls libc beyond memcpy, memcmp and clock_gettime; the functions
 * whose context is the serving thread are the exception.
 *
 * Sums are cumulative from the first start on, as Go's are; a delta is the
 * difference of two reads.  Sampled events are scaled up where they are
 * recorded, so that sums estimate all of them.
 *
 * Stacks are walked by the tables of cfi.h: whoever records for long calls
 * pprof_cfi_refresh() now and then, or stacks through libraries loaded since
 * end there.
 *
 * Bound: PPROF_EVENTS_STACKS different stacks a kind.
 */

#ifndef PPROF_GUEST_EVENTS_H
#define PPROF_GUEST_EVENTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "guest/stackmap.h"


enum { PPROF_EVENTS_STACKS = 8192 };

enum pprof_event {
    PPROF_EVENT_MUTEX,                  /* others waited for what it held */
    PPROF_EVENT_BLOCK,                  /* this one waited */
    PPROF_EVENT_CREATE,                 /* this one created a thread */
    PPROF_EVENTS
};

/* The tag of a row: what was waited for. */
enum pprof_event_object {
    PPROF_ON_MUTEX = 1,
    PPROF_ON_RWLOCK,
    PPROF_ON_COND,
    PPROF_ON_SEM,
    PPROF_ON_JOIN,
    PPROF_ON_BARRIER,
    PPROF_ON_THREAD                     /* created */
};


/*
 * Records EVENT from now on, or with another RATE.  Mutex: one of RATE; block:
 * one each RATE ns waited, 1 for all; create: all.  0 records no more and
 * keeps the sums.
 *
 * Returns 0, or -1 with errno when memory lacked.
 *
 * Context: serving thread.
 */
int pprof_events_rate(enum pprof_event event, uint64_t rate);


/*
 * Are the functions that EVENT needs interposed in this program?  Not when
 * the library was linked as an archive; not in a static program.
 *
 * Context: thread-safe.
 */
bool pprof_events_hooked(enum pprof_event event);


/*
 * Calls VISIT with ARG for each row: TAG is an enum pprof_event_object, COUNT
 * the number of events, VALUE the ns waited (0 for create).  The stacks are
 * return addresses.
 *
 * Context: serving thread.
 */
void pprof_events_read(enum pprof_event event, pprof_stackmap_visit *visit,
    void *arg);


/* What the table of EVENT had no room for.  Context: serving thread. */
struct pprof_stackmap_loss pprof_events_lost(enum pprof_event event);


/*
 * Records nothing any more and frees the tables.
 *
 * Context: serving thread.
 */
void pprof_events_clear(void);


/*
 * To be called in the child of a fork.  The sums go on from the parent's.
 *
 * Context: the child's only thread.
 */
void pprof_events_child(void);


/* For the interposers only. */

/* Bit n: event n is recorded.  Read without order; written by _rate(). */
extern _Atomic unsigned pprof_events_on;

/* Says that functions for EVENT are in place. */
void pprof_events_hook(enum pprof_event event);

/*
 * Is this thread's event to be recorded?  Not in threads of our own.
 *
 * Context: async-signal-safe.
 */
bool pprof_events_wanted(enum pprof_event event);

/* CLOCK_MONOTONIC in ns. */
uint64_t pprof_events_clock(void);

/*
 * The current thread has waited NSEC for the OBJECT at ADDR and now has it.
 * CALLER is where the interposed function returns to.
 *
 * Context: async-signal-safe.
 */
void pprof_events_waited(enum pprof_event_object object, const void *addr,
    uint64_t nsec, const void *caller);

/*
 * The current thread is about to release the object at ADDR, for which others
 * wait.  Returns true when pprof_events_released() is to follow the release.
 *
 * Context: async-signal-safe.
 */
bool pprof_events_releasing(const void *addr);

/*
 * It is released; ADDR may point to nothing any more.
 *
 * Context: async-signal-safe.
 */
void pprof_events_released(enum pprof_event_object object, const void *addr,
    const void *caller);

/* The current thread has created another.  Context: async-signal-safe. */
void pprof_events_created(const void *caller);

#endif
