/*
 * The agent's life in three calls.  It is a process of its own; who starts it,
 * and what becomes of a family of forks, is decided outside (agent/family.c).
 *
 *     struct pprof_target *t = pprof_target_open(pid, page_fd);
 *     struct pprof_service *s = pprof_service_open(t, "unix:/run/a.%p", &o);
 *     …                            until !pprof_target_alive(t), and a minute
 *     pprof_service_close(s);
 *     pprof_target_close(t);
 *
 * A service is a listener, its thread and the kinds' state of one target.  Any
 * number of them may be in one agent.  pprof_start() in a program without an
 * agent is the same, with pprof_target_self().
 */

#ifndef PPROF_AGENT_AGENT_H
#define PPROF_AGENT_AGENT_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/target.h"
#include "pprof.h"


struct pprof_service;


/*
 * Listens at LISTEN, as pprof_start() describes it; "%p" is the target's
 * number.  Answers there until it is closed, also when the target has ended:
 * then with a sentence, and with what is kept of its last seconds.
 *
 * Returns NULL with errno as pprof_start() lists them.
 *
 * Owner: the caller.  TARGET must live as long.  Context: thread-safe.
 */
struct pprof_service *pprof_service_open(struct pprof_target *target,
    const char *listen, const struct pprof_options *options);

/* The program has ended: nobody waits any longer.  Context: thread-safe. */
void pprof_service_ended(struct pprof_service *s);

/* Ends what is under way, closes, removes the socket's file. */
void pprof_service_close(struct pprof_service *s);

/*
 * May it stay when the program has ended?  A port may not: who starts the
 * program again wants it.
 */
bool pprof_service_lingers(const struct pprof_service *s);

/* Writes the address, as pprof_address() does.  Returns its length. */
size_t pprof_service_address(const struct pprof_service *s, char *buf,
    size_t size);

#endif
