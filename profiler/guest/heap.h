/*
 * What the program allocates, by a sample of it, and what of that lives.
 *
 * GUEST ROOM.  This code runs inside the application's malloc and free.
 * Nothing here allocates with malloc, locks, blocks, or calls libc beyond
 * memcpy and memcmp; no floating point, whose flags are the program's; no
 * system call but mmap() for tables.
 *
 * Each thread counts down bytes to its next sample, a distance drawn anew each
 * time, exponential with the period for its mean.  So an object of S bytes is
 * taken with probability 1 - exp(-S / period), and stands for the inverse of
 * that, which is added up where it is taken: the sums estimate all objects,
 * whatever the period was at which time.
 *
 * Only pprof_heap_passes() and pprof_live_may() are on the way of a malloc()
 * and its free().  malloc.c has these; without it nothing is sampled.
 *
 * Concurrency: any number of threads, and signal handlers among them; what is
 * allocated by a handler that interrupted us is not sampled, and counted.
 */

#ifndef PPROF_GUEST_HEAP_H
#define PPROF_GUEST_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest/live.h"
#include "guest/sites.h"


/* Bytes. */
enum {
    PPROF_HEAP_PERIOD = 512 * 1024,     /* unless told otherwise */
    PPROF_HEAP_PERIOD_MAX = 1 << 30
};

/* A number that the allocator does not tell. */
#define PPROF_HEAP_UNKNOWN  UINT64_MAX

/* Bytes to the thread's next sample; less what is being asked for. */
extern __thread uint64_t  pprof_heap_left
    __attribute__((tls_model("initial-exec"), visibility("hidden")));


/*
 * Counts SIZE bytes down.  False: pprof_heap_due() must be asked.
 *
 * Context: async-signal-safe.
 */
#if defined(__x86_64__) && defined(__GNUC__)
static inline __attribute__((always_inline)) bool
pprof_heap_passes(size_t size)
{
    __asm__ goto("subq %0, %1\n\t"
                 "jb %l2"
                 : : "r" (size), "m" (pprof_heap_left) : "cc", "memory" : due);
    return true;
due:
    return false;
}
#else
static inline __attribute__((always_inline)) bool
pprof_heap_passes(size_t size)
{
    return !__builtin_sub_overflow(pprof_heap_left, (uint64_t) size,
                                   &pprof_heap_left);
}
#endif

/*
 * Counted down below zero: is the object of SIZE bytes one to be sampled?
 * Returns 0, or what pprof_heap_add() wants.
 *
 * Context: async-signal-safe.
 */
unsigned pprof_heap_due(size_t size);

/*
 * Samples the object of SIZE bytes at P, not NULL, which DUE says is one, for
 * who called the function that returns to CALLER.
 *
 * Context: async-signal-safe; before the program has P.
 */
void pprof_heap_add(const void *p, size_t size, unsigned due,
    const void *caller);

/* The object at P is about to be freed.  Context: async-signal-safe. */
void pprof_heap_remove(const void *p);

/*
 * The same, where it may turn out not to be: pprof_heap_return() puts back
 * what this took.  Returns whether there was anything.
 *
 * Context: async-signal-safe.
 */
bool pprof_heap_take(const void *p, struct pprof_live *live);
void pprof_heap_return(const void *p, struct pprof_live live);

/*
 * Between these two the current thread's allocations are not counted: who
 * calls a function that may call another of those.
 *
 * Context: async-signal-safe.
 */
uint64_t pprof_heap_suspend(void);
void pprof_heap_resume(uint64_t left);


/*
 * Samples one in PERIOD bytes from now on; 0: no more, and what was is kept.
 * A thread takes notice at its next sample, or after a megabyte.
 *
 * Returns 0, or an errno: ENOSYS when our malloc() is not the program's,
 * EINVAL, ENOSPC when there were too many different ones.
 *
 * Context: thread-safe.
 */
int pprof_heap_period(uint64_t period);

/*
 * Samples nothing, as if it never had: something else does.
 *
 * Context: thread-safe.
 */
void pprof_heap_renounce(void);

/*
 * Looks whether our malloc() is the program's, with one; where it is not, as
 * in a program that brings its own, nothing is ever sampled.
 *
 * Context: constructor.
 */
void pprof_heap_begin(void);

struct pprof_heap_told {
    uint64_t  period;                   /* bytes; 0: it is off */
    bool      in_front;                 /* our functions are the program's */
    uint64_t  since;                    /* when it began, seconds since the
                                           epoch; 0: it did not */
    uintptr_t allocator;                /* an address in whose malloc it is */
    uint64_t  missed;                   /* objects that were freed unseen, as
                                           it turned out */
    uint64_t  skipped;                  /* samples not taken */
    uint64_t  unplaced;                 /* not known whether they live */
};

/* Context: async-signal-safe. */
struct pprof_heap_told pprof_heap_tell(void);


/* For who else samples in here. */

/*
 * A distance with mean MEAN, exponentially distributed; and how many one of
 * SIZE stands for that such distances have chosen, in units of
 * 1 / PPROF_SITE_ONE.
 *
 * Context: async-signal-safe.
 */
uint64_t pprof_heap_draw(uint64_t mean);
uint64_t pprof_heap_weigh(uint64_t size, uint64_t mean);

/*
 * The number of the site, PPROF_SITES_GROWTH, of the stack above the function
 * that returns to CALLER; 0: there is no room.
 *
 * Context: async-signal-safe.
 */
uint32_t pprof_heap_site(const void *caller);

/*
 * Are we in a signal handler?  Also true when the stack does not tell.
 *
 * Context: async-signal-safe.
 */
bool pprof_heap_handled(void);

/*
 * What the agent reads once a second where it lies, so that nobody is woken.
 */
extern struct pprof_heap_sums {
    _Atomic uint64_t  since;            /* as above */
    _Atomic uint64_t  samples;          /* that live */
    _Atomic uint64_t  bytes;            /* that they stand for */

    /* the allocator's own, when it was last asked; PPROF_HEAP_UNKNOWN */
    _Atomic uint64_t  in_use;           /* bytes the program has of it */
    _Atomic uint64_t  held;             /* bytes it has of the kernel */
    _Atomic uint64_t  returned;         /* bytes it gave back */
    _Atomic uint64_t  behind;           /* 1: it has allocated since */
    _Atomic uint64_t  next;             /* when it may be asked again,
                                           CLOCK_MONOTONIC ns */
} pprof_heap_sums;

/* To be called in the child of a fork.  Context: its only thread. */
void pprof_heap_child(void);

#endif
