/*
 * Whose CPU time it was: samples are told by the route of the request that
 * they were spent on.
 *
 * GUEST ROOM.  This code runs inside the application's threads, in signal
 * handlers, around its reads and writes.  Nothing here allocates, locks,
 * blocks or calls libc beyond memcpy, memcmp and clock_gettime; the functions
 * whose context is the serving thread are the exception.  errno is untouched.
 *
 * The rule: what a thread does between two boundaries lies pending, and the
 * next boundary tells whose it was.
 *
 *   - A write to a descriptor with a request under way: that request's,
 *     whatever the thread has read since.  Who answers has worked for it.
 *   - A read that begins a marked request, and where the thread begins to wait
 *     (epoll_wait() and its kin, a condition, a semaphore): the request's that
 *     this thread has read or answered last, if it has not waited since.
 *   - The first lock of a mutex after a write, too: that is where a worker
 *     comes back to its queue.
 *   - Never those that are older than the request's read.
 *
 * What no boundary tells is nobody's.  So a loop that writes for workers makes
 * their time nobody's, and never another request's.
 *
 * Concurrency: what is pending is the thread's own; its handler adds to it
 * but while the thread is in here.  Descriptors and sums are atomics.  All of
 * it is one mapping, which pprof_routes_now points to while somebody asks;
 * who is inside counts himself (pprof_tick_shared.inside), and it goes when
 * there is nobody.
 *
 * Bound: PPROF_ROUTES_NAMES names, then "other"; descriptors below
 * PPROF_ROUTES_FDS; PPROF_ROUTES_ROOMS threads that have something pending;
 * PPROF_ROUTES_SUMS pairs of stack and route.
 */

#ifndef PPROF_GUEST_ROUTES_H
#define PPROF_GUEST_ROUTES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "guest/mark.h"


enum {
    PPROF_ROUTES_NAMES = 256,
    PPROF_ROUTES_FDS = 65536,
    PPROF_ROUTES_ROOMS = 1024,
    PPROF_ROUTES_SUMS = 131072,

    /* numbers of routes: 1 … PPROF_ROUTES_NAMES have names */
    PPROF_ROUTE_NONE = 0,
    PPROF_ROUTE_OTHER = PPROF_ROUTES_NAMES + 1,
    PPROF_ROUTES
};

/* Who wants them. */
enum pprof_routes_user {
    PPROF_ROUTES_PROFILE,
    PPROF_ROUTES_REQUESTS,
    PPROF_ROUTES_USERS
};

struct pprof_routes;
struct pprof_stackmap;
struct pprof_ticks;

/* What there is while somebody asks; NULL: nobody does.  Read without order. */
extern _Atomic(struct pprof_routes *)  pprof_routes_now;

static inline bool
pprof_routes_on(void)
{
    return __builtin_expect(atomic_load_explicit(&pprof_routes_now,
                                                 memory_order_relaxed)
                            != NULL, 0);
}


/* A route as a reader sees it. */
struct pprof_route_told {
    const char  *name;                  /* LEN bytes, no zero */
    size_t       len;
    unsigned     number;
    uint64_t     requests;              /* that were read */
};

typedef void pprof_routes_visit(void *arg,
    const struct pprof_route_told *route);


/*
 * Looks at what is read and written from now on, since USER wants it; and no
 * longer, if nobody else does.  To say it twice is to say it once: who gave up
 * waiting may say it again.
 *
 * Returns 0, or an errno when memory lacked.
 *
 * Context: serving thread.
 */
int pprof_routes_begin(enum pprof_routes_user user);
void pprof_routes_end(enum pprof_routes_user user);

/*
 * Calls VISIT with ARG for each route.  The same name may come twice.
 * Returns for how many ns it has been looked.
 *
 * Context: serving thread.
 */
uint64_t pprof_routes_read(pprof_routes_visit *visit, void *arg);

/* A request that was read, and not forgotten since. */
struct pprof_request_told {
    uint32_t  id;
    uint32_t  fd;
    uint32_t  route;
    uint32_t  tid;                      /* who read it; 0: not known */
    uint64_t  read;                     /* ns ago */
    uint64_t  wrote;                    /* ns ago; 0: nothing yet */
};

/* A thread that is not waiting for work. */
struct pprof_worker_told {
    uint32_t  tid;
    uint32_t  id;                       /* of the request that it is at, if */
    uint32_t  fd;                       /* FD, + 1, is not 0 */
    uint64_t  begun;                    /* ns ago */
};

/*
 * Calls REQUEST and WORKER with ARG for each.  Whatever goes on meanwhile may
 * be told as it was or as it is.
 *
 * Context: serving thread.
 */
void pprof_routes_requests(void (*request)(void *arg,
                                           const struct pprof_request_told *),
    void (*worker)(void *arg, const struct pprof_worker_told *), void *arg);

/* Are reads and writes seen in this program?  Context: thread-safe. */
bool pprof_routes_hooked(void);

/* The child of a fork() has nobody who asks.  Context: its only thread. */
void pprof_routes_child(void);


/* Sums of one profile: how much of each row of its stacks is whose. */
struct pprof_route_sums;

/* Returns NULL when memory lacked.  Context: serving thread. */
struct pprof_route_sums *pprof_route_sums_create(void);
void pprof_route_sums_free(struct pprof_route_sums *sums);

/*
 * No more is added: sorts what there is by the rows of MAP, which has not been
 * added to since either.
 */
void pprof_route_sums_close(struct pprof_route_sums *sums,
    const struct pprof_stackmap *map);

/*
 * Shares NSEC of ROW as its samples were shared: calls GIVE with each route
 * and its part, PPROF_ROUTE_NONE the last.
 */
void pprof_route_sums_share(const struct pprof_route_sums *sums, uint32_t row,
    uint64_t nsec, void (*give)(void *arg, unsigned route, uint64_t nsec),
    void *arg);

/* Pairs that found no room: nobody's. */
uint64_t pprof_route_sums_lost(const struct pprof_route_sums *sums);


/*
 * The current thread was met at ROW, which stands for NSEC more.
 *
 * Context: the handler.
 */
void pprof_routes_sample(struct pprof_ticks *ticks, uint32_t row,
    uint64_t nsec);


/*
 * Public: see pprof.h, which this room does not include.  The current thread
 * works for ROUTE until the next call; NULL ends it.
 */
void pprof_label(const char *route);


/* For the interposers; where pprof_routes_on() alone. */

/* The current thread is about to read from FD. */
void pprof_routes_reading(int fd);

/* N bytes came of it, more than 0, into COUNT parts at IOV. */
void pprof_routes_came(int fd, const struct iovec *iov, size_t count,
    size_t n);

/* The current thread is about to write to FD. */
void pprof_routes_writing(int fd);

/* The current thread is about to wait for whatever comes. */
void pprof_routes_waiting(void);

/* And now it has waited. */
void pprof_routes_waited(void);

/* The current thread is about to lock a mutex. */
void pprof_routes_locking(void);

/* FD is, from now on, nothing that is known. */
void pprof_routes_forget(int fd);

/* Says that functions that read and write are in place. */
void pprof_routes_hook(void);

/*
 * Where locks.c has whether it may leave out pprof_routes_locking(); made
 * false when that is wanted.
 */
extern bool *pprof_routes_quick;

#endif
