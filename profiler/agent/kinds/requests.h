/*
 * The requests that a program has read and not answered, and who works on
 * each.
 *
 * Context: serving thread.
 */

#ifndef PPROF_KINDS_REQUESTS_H
#define PPROF_KINDS_REQUESTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/target.h"
#include "kinds/routes.h"


enum { PPROF_REQUESTS_LOOK = 60 };      /* seconds after somebody asked */

struct pprof_request_row {
    uint32_t  id;
    uint32_t  fd;
    unsigned  route;                    /* of the list */
    pid_t     reader;                   /* 0: not known */
    uint64_t  read;                     /* ns ago */
    uint64_t  wrote;                    /* ns ago; 0: nothing yet */
    pid_t     thread;                   /* who works on it; 0: nobody does */
};

/* A thread that is not waiting for work. */
struct pprof_request_worker {
    pid_t     tid;
    uint64_t  begun;                    /* ns ago */
    uint32_t  id;                       /* of the request that it is at, if */
    uint32_t  fd;                       /* FD, + 1, is not 0 */
    bool      taken;
};

/* Owner: whoever declared it; pprof_requests_free() when done. */
struct pprof_requests {
    struct pprof_route_list       list;
    struct pprof_request_row     *rows;         /* the oldest first */
    size_t                        nrows;
    struct pprof_request_worker  *workers;
    size_t                        nworkers;
};

/*
 * Has T's requests looked at for the next PPROF_REQUESTS_LOOK seconds.  Returns
 * 0, or -1 with errno as pprof_target_call().
 */
int pprof_requests_want(struct pprof_target *t);

/* Once a second: ends that when nobody asks any more. */
void pprof_requests_second(struct pprof_target *t);

/*
 * Takes them, and pairs them with threads.  Returns 0, or -1 with errno as
 * pprof_target_call(); R is then empty.
 */
int pprof_requests_take(struct pprof_target *t, struct pprof_requests *r);

void pprof_requests_free(struct pprof_requests *r);

/*
 * Who works on which, of R's rows and workers.  The i-th oldest request is the
 * i-th oldest beginning of work's: what begins a thread's work is that it
 * returns from where it waited, reads a request, answers one.
 *
 *   - A thread that is at an answer is at that request.
 *   - One that has read requests and not waited since is at the oldest of
 *     those that it read.
 *   - Any other is at the oldest that was read before it began and nobody else
 *     is at.
 *
 * What is left waits for a free thread.
 */
void pprof_requests_pair(struct pprof_requests *r);

#endif
