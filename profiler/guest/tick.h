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


/* One thread that has a timer.  Written by the controller, but for TICKS. */
struct pprof_tick_thread {
    _Atomic uint64_t  ticks;            /* periods that samples stand for */
    _Atomic uint64_t  credit;           /* for the next sample to add */
    _Atomic uint64_t  held;             /* while the signal was blocked */
    _Atomic uint32_t  signals;          /* that arrived */
    _Atomic uint32_t  row;              /* of the last sample's stack */
    _Atomic bool      blocked;          /* the thread blocks the signal */
    bool              live;
    bool              seen;             /* by the scan under way */
    bool              no_timer;         /* the kernel refused one */
    bool              named;            /* NAME was read a second time */
    bool              ours;             /* it had not said so when it came */
    int               timer;
    pid_t             tid;
    uint64_t          from;             /* its clock when ticks began, ns */
    uint64_t          last;             /* its clock when last looked at */
    char              name[16];
};

/* One profile. */
struct pprof_ticks {
    uint32_t                   generation;
    uint64_t                   period;  /* ns */
    struct pprof_stackmap     *map;     /* tag: index in THREADS */
    struct pprof_tick_thread  *threads;
    size_t                     cap;
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
 * The handler.
 *
 * Context: async-signal-safe; that is its only context.
 */
void pprof_tick_handle(int signo, siginfo_t *info, void *context);

#endif
