/*
 * pprof_start() of the shared library: the agent is a process of its own,
 * which executes libpprof.so itself.
 *
 * The archive has none of this: there the agent's code runs in the program.
 * server.c knows by the address of these functions.
 *
 * Context: under the server's lock.
 */

#ifndef PPROF_OUTSIDE_H
#define PPROF_OUTSIDE_H

#include <stdbool.h>
#include <stddef.h>

#include "pprof.h"


/*
 * Attaches this process to a page and starts an agent for it, which listens at
 * LISTEN when this returns.  PRELOAD: it will, later, and children of fork()
 * are peers as well.
 *
 * Returns 0, or -1 with errno as pprof_start() lists them.
 */
__attribute__((weak)) int pprof_outside_start(const char *listen,
    const struct pprof_options *options, bool preload);

/* Is there an agent of this process?  A child of fork() has none, if it is not
   a peer. */
__attribute__((weak)) bool pprof_outside_is(void);

/* Ends it.  When this returns, its socket is gone. */
__attribute__((weak)) void pprof_outside_stop(void);

/* As pprof_address(). */
__attribute__((weak)) int pprof_outside_address(char *buf, size_t size);

#endif
