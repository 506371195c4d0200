/*
 * The signal handler: what runs when a thread's timer goes off.
 *
 * GUEST ROOM.  This code runs inside the application's threads: inside
 * malloc, under its locks, in signal handlers.  Nothing here allocates, locks,
 * blocks or calls libc beyond memcpy, memcmp and clock_gettime; so errno needs
 * no saving either.
 *
 * Concurrency: one pprof_ticks is published by an atomic pointer; handlers
 * inside are counted.  Who withdraws it waits for the count to fall to zero
 * before freeing what it points to.  A signal that comes later, from a timer
 * that is gone, carries another generation and does nothing.
 */

#ifndef PPROF_GUEST_TICK_H
#define PPROF_GUEST_TICK_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "guest/stackmap.h"


enum {
    PPROF_TICK_DENSE = 4,               /* of the kernel's ticks: see below */
    PPROF_TICK_SELF = UINT32_MAX        /* index: "my own", see newborn.h */
};

/* A thread's mark until the account of its profile begins. */
#define PPROF_TICK_CLOSED  UINT64_MAX

/*
 * One thread that has a timer.  What a sample stands for is what its thread
 * computed since the last one, by its own clock: MARK moves with each.
 *
 * The kernel looks at CPU timers when its tick finds the thread running, so
 * a sample's place is that of a tick.  Threads that compute little are hit
 * seldom: in its first PPROF_TICK_DENSE ticks of CPU time a thread is sampled
 * at each that hits it.  Then it is at the period's half to its one and a
 * half, by chance, so that work in step with the period is seen whole.
 *
 * Work in step with the tick is not: a cycle that is N ticks long, alone on
 * its CPU, is seen at N places and no other.  A timer on another clock would
 * come between ticks, but would also wake a thread that had fallen asleep.
 */
struct pprof_tick_thread {
    _Atomic uint64_t  mark;             /* its clock at the last sample, ns;
                                           PPROF_TICK_CLOSED: none counts */
    _Atomic uint64_t  last;             /* its clock when last looked at */
    _Atomic uint64_t  held;             /* ns while the signal was blocked */
    _Atomic uint32_t  signals;          /* that arrived */
    _Atomic uint32_t  first;            /* row of the first sample's stack */
    _Atomic uint32_t  row;              /* of the last sample's stack */
    _Atomic int       timer;            /* -1: none of the controller's */
    _Atomic bool      blocked;          /* the thread blocks the signal */
    _Atomic bool      ended;            /* it said so itself: LAST is exact */
    uint64_t          from;             /* its clock when ticks began */
    pid_t             tid;

    /* the controller's */
    bool              live;
    bool              seen;             /* by the scan under way */
    bool              no_timer;         /* the kernel refused one */
    bool              named;            /* NAME was read a second time */
    bool              ours;             /* it had not said so when it came */
    char              name[16];
};

struct pprof_newborns;
struct pprof_route_sums;

/* One profile. */
struct pprof_ticks {
    uint32_t                   generation;
    bool                       wall;    /* all time, not CPU time */
    uint64_t                   period;  /* ns */
    uint64_t                   tick;    /* the kernel's, ns */
    struct pprof_stackmap     *map;     /* tag: index in THREADS, or a class */
    struct pprof_tick_thread  *threads; /* rows are used once */
    size_t                     cap;
    _Atomic uint32_t           n;       /* rows taken; may exceed CAP */
    struct pprof_newborns     *newborns;
    struct pprof_route_sums   *routes;  /* NULL: nobody asks for them */
};

/* One thread that is asked for its stack once. */
struct pprof_tick_stack {
    _Atomic uint32_t  done;             /* 1 when PCS are there; a futex */
    uint32_t          depth;
    uintptr_t         pcs[PPROF_STACK_MAX];
};

/* A dump under way. */
struct pprof_tick_dump {
    uint32_t                  generation;
    struct pprof_tick_stack  *stacks;
    size_t                    cap;
};

/* What handlers read. */
extern struct pprof_tick_shared {
    _Atomic(struct pprof_ticks *)      ticks;
    _Atomic(struct pprof_tick_dump *)  dump;
    _Atomic unsigned                   inside;
    _Atomic uint32_t                   born;    /* generation that threads
                                                   created now belong to */
} pprof_tick_shared;


/*
 * What a timer's signal carries: a generation in the upper half, the index of
 * its thread in the lower.  Dumps have odd generations, profiles even ones.
 */
static inline uintptr_t
pprof_tick_value(uint32_t generation, size_t index)
{
    return (uintptr_t) generation << 32 | (uint32_t) index;
}


/*
 * The next row of TICKS, all zeroes; NULL when there is none.
 *
 * Context: async-signal-safe.
 */
static inline struct pprof_tick_thread *
pprof_tick_row(struct pprof_ticks *ticks)
{
    const uint32_t i = atomic_load_explicit(&ticks->n, memory_order_relaxed);

    if (i >= ticks->cap) {
        return NULL;
    }

    const uint32_t n = atomic_fetch_add(&ticks->n, 1);

    return n < ticks->cap ? &ticks->threads[n] : NULL;
}


/* How many rows are taken. */
static inline size_t
pprof_tick_rows(struct pprof_ticks *ticks)
{
    const size_t n = atomic_load(&ticks->n);

    return n < ticks->cap ? n : ticks->cap;
}


/*
 * Makes the stacks that the handler runs on.  Returns false when memory lacks.
 *
 * Context: serving thread.
 */
bool pprof_tick_prepare(void);


/*
 * To be called in the child of a fork, which has none of the threads that were
 * in the handler.
 *
 * Context: the child's only thread.
 */
void pprof_tick_child(void);


/*
 * The handler.  Of the stack that it interrupts it takes the kernel's frame
 * and some dozen bytes; the rest it does on a stack of its own.
 *
 * Context: async-signal-safe; that is its only context.
 */
void pprof_tick_handle(int signo, siginfo_t *info, void *context);

#endif
