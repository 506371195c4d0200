/*
 * Which allocator is behind our malloc(), and what only that can do or tell:
 * give memory back, its own numbers.  For libpprof.so alone: elsewhere the
 * functions are not there.
 *
 * GUEST ROOM.  These call the allocator, so they run in the program's own
 * threads, as they come through malloc(): not in a signal handler, which may
 * have interrupted the allocator, nor within fork(), when its locks are held.
 *
 * Numbers are asked for where an allocation is sampled, at most once a second
 * and for one part in ten thousand of the time; never again once that took
 * longer than PPROF_ALLOCATOR_LONG.  Where the last samples came too soon for
 * that, the agent sees it and has the next thread ask.
 *
 * Concurrency: any number of threads.
 */

#ifndef PPROF_GUEST_ALLOCATOR_H
#define PPROF_GUEST_ALLOCATOR_H

#include <stdbool.h>
#include <stdint.h>


enum pprof_allocator {
    PPROF_ALLOCATOR_UNKNOWN,
    PPROF_ALLOCATOR_LIBC,
    PPROF_ALLOCATOR_JEMALLOC,
    PPROF_ALLOCATOR_MIMALLOC,
    PPROF_ALLOCATOR_TCMALLOC
};

enum pprof_release {
    PPROF_RELEASE_NONE,
    PPROF_RELEASE_WANTED,               /* nobody has come by yet */
    PPROF_RELEASE_RUNNING,
    PPROF_RELEASE_DONE,
    PPROF_RELEASE_REFUSED               /* who came by could not */
};

#define PPROF_ALLOCATOR_LONG  (2 * 1000 * 1000)     /* ns */

#define WEAK  __attribute__((weak))

/*
 * Finds out what allocates where NEXT points, a malloc().
 *
 * Context: constructor.
 */
enum pprof_allocator pprof_allocator_begin(const void *next) WEAK;

/*
 * The next thread that comes by is to have the allocator give back what it
 * holds and nobody uses.  Returns 0, or an errno: ENOSYS when it cannot, EBUSY
 * when one is at it.
 *
 * Context: async-signal-safe.
 */
int pprof_allocator_want(void) WEAK;

/* Nobody is to any more. */
void pprof_allocator_forget(void) WEAK;

/*
 * What became of it, what it took, and how many came by who could not.
 *
 * Context: async-signal-safe.
 */
struct pprof_allocator_told {
    enum pprof_allocator  which;
    enum pprof_release    release;
    uint64_t              nsec;
    uint64_t              could_not;
};

struct pprof_allocator_told pprof_allocator_tell(void) WEAK;

/*
 * The next thread that comes by is to ask for the numbers.  Returns 0, or an
 * errno: ENOSYS, EAGAIN when that would be too soon.
 *
 * Context: async-signal-safe.
 */
int pprof_allocator_want_look(void) WEAK;

/*
 * A thread comes by, outside of the allocator.  Context: as above.
 */
void pprof_allocator_pass(void) WEAK;

/*
 * The same, and it is known to be in no handler: time for its numbers?
 */
void pprof_allocator_look(void) WEAK;

/* To be called in the child of a fork.  Context: its only thread. */
void pprof_allocator_child(void) WEAK;

#undef WEAK

#endif
