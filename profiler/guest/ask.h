/*
 * Threads that run, asked for their stacks: each by a timer on its CPU clock,
 * which goes off only while it computes.
 *
 * GUEST ROOM, but for the serving thread and the resting thread only; tick.c
 * is the part that runs in the program's threads.
 */

#ifndef PPROF_GUEST_ASK_H
#define PPROF_GUEST_ASK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>


enum { PPROF_ASK_MAX = 16384 };         /* threads */

typedef void pprof_ask_visit(void *arg, size_t index, const uintptr_t *pcs,
    size_t depth);


/*
 * Begins; *SIGNO is what they are asked by.  Returns 0, or an errno: EALREADY,
 * EBUSY when the program uses every signal itself, ENOMEM.
 */
int pprof_ask_begin(int *signo);

/* Asks thread TID, number INDEX.  Returns 0, or an errno. */
int pprof_ask_thread(size_t index, pid_t tid);

/* Calls VISIT with ARG for each that has answered since it was last called. */
void pprof_ask_read(pprof_ask_visit *visit, void *arg);

/* Ends. */
void pprof_ask_end(void);

/*
 * To be called in the child of a fork.  Context: the child's only thread.
 */
void pprof_ask_child(void);

#endif
