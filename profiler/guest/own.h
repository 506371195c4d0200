/*
 * Which threads are the library's own.  They are left out of every profile and
 * dump, and their locks are not recorded.
 *
 * GUEST ROOM.  See stackmap.h.
 *
 * Bound: PPROF_OWN_MAX threads; more are treated as the program's.
 */

#ifndef PPROF_GUEST_OWN_H
#define PPROF_GUEST_OWN_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>


enum { PPROF_OWN_MAX = 64, PPROF_OWN_MAPPINGS = 512 };


/*
 * Declares the current thread the library's own, until pprof_own_leave().
 *
 * Context: thread-safe.
 */
void pprof_own_enter(void);


/* Context: thread-safe; the thread that entered. */
void pprof_own_leave(void);


/* Context: async-signal-safe. */
bool pprof_own_has(pid_t tid);


/* Is the current thread one of them?  Context: async-signal-safe. */
bool pprof_own_here(void);


/*
 * The CPU time of all of them together, in ns: of those that have left, too.
 *
 * Context: thread-safe.
 */
uint64_t pprof_own_cpu(void);


/*
 * Declares the current thread one that libc does not know, and no other: it
 * must call nothing that needs libc's thread state.
 *
 * Context: the resting thread.
 */
void pprof_own_raw_set(bool raw);


/* Is the current thread that one?  Context: async-signal-safe. */
bool pprof_own_raw(void);


/*
 * SIZE bytes at P are mapped for the library: no growth of the program's.
 * PPROF_OWN_MAPPINGS of them are remembered.
 *
 * Context: async-signal-safe.
 */
void pprof_own_mapped(const void *p, size_t size);

/* Calls VISIT with ARG for each.  Context: async-signal-safe. */
void pprof_own_mappings(void (*visit)(void *arg, uintptr_t start, size_t size),
    void *arg);


/*
 * The child of a fork has none of them.
 *
 * Context: async-signal-safe.
 */
void pprof_own_child(void);


/*
 * Starts RUN with ARG in a thread of the library's own: all signals blocked,
 * NAME (15 characters) for those who look.  The creator is not recorded.
 *
 * Returns 0 or an error number, as pthread_create() does.
 *
 * Context: thread-safe.
 */
int pprof_own_create(pthread_t *thread, const char *name,
    void *(*run)(void *), void *arg);

#endif
