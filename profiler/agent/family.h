/*
 * The agent's life: it looks after a program and the children that its forks
 * make, as long as there is one of them and a while longer.
 *
 * Each of them is a peer of its own, at a socket of its own where the address
 * has "%p".  Where it has not, the first has the address, and who lives when
 * that has ended takes it over, as after daemon().  A peer's socket goes with
 * it, however it ended; only the last one's stays for LINGER seconds, so that
 * the end can still be looked at.
 *
 * Nobody notices the agent: it is in a session of its own, holds no descriptor
 * of its starter and ends by SIGTERM.  Nothing restarts it.
 */

#ifndef PPROF_AGENT_FAMILY_H
#define PPROF_AGENT_FAMILY_H

#include <stdbool.h>
#include <sys/types.h>

#include "pprof.h"


/* The page's word "listening", which pprof_start() and pprof_stop() wait at. */
enum pprof_listening {
    PPROF_LISTENING_NOT,
    PPROF_LISTENING_YES,
    PPROF_LISTENING_CANNOT,             /* see listen_error */
    PPROF_LISTENING_STOP                /* by the program: it is to stop */
};

struct pprof_family_options {
    const char                  *listen;    /* as pprof_start() has it */
    const struct pprof_options  *options;   /* or NULL */
    unsigned                     linger;    /* seconds */
    bool                         alone;     /* children are nobody */
    bool                         hasty;     /* an address that somebody has
                                               is not waited for any longer
                                               than the agent of one who has
                                               just ended takes to leave */
    int                          says_fd;   /* a line for each peer that
                                               listens, or cannot; -1 */
};


/*
 * Makes this process nobody's: session, names, signals, descriptors, but for
 * KEEP and SAYS, either of which may be -1.  They have other numbers then,
 * which are written back.
 *
 * Context: a process with one thread.
 */
void pprof_family_leave(int *keep, int *says);

/*
 * Serves process PID, whose page is PAGE_FD and which may not be there yet.
 * Returns the exit status when all has ended.
 *
 * Context: a process of its own.
 */
int pprof_family_serve(pid_t pid, int page_fd,
    const struct pprof_family_options *options);

/* Reads PPROF_LINGER: seconds, 60 where it says nothing. */
unsigned pprof_family_linger(void);

#endif
