/*
 * The HTTP server's loop: one thread that waits for everything, and a
 * short-lived one for each piece of work that may block.
 *
 * poll() and a table, not an event library: those that there are end the
 * process, crash or print when memory runs out, and the program may have its
 * own copy of one, to which the loader would bind our calls.  Nothing is
 * allocated for a connection.
 *
 * Bound: 64 connections, 16 of them with work under way.
 */

#ifndef PPROF_FRONT_LOOP_H
#define PPROF_FRONT_LOOP_H

#include <pthread.h>

#include "front/request.h"


struct pprof_loop;


/*
 * Makes a loop for clients that connect to LISTEN_FD, which stays the
 * caller's.  POLICY is to stay, too; its charts become the loop's.
 *
 * Returns NULL and errno: ENOMEM, EMFILE, ENFILE.
 *
 * Owner: the caller; pprof_loop_free().
 */
struct pprof_loop *pprof_loop_create(int listen_fd,
    struct pprof_policy *policy);

void pprof_loop_free(struct pprof_loop *loop);

/* Serves until pprof_loop_stop(); for pthread_create(). */
void *pprof_loop_run(void *loop);

/*
 * The program has ended: whoever waits for a window of time is answered now,
 * and whoever comes yet waits for none.  Context: thread-safe.
 */
void pprof_loop_ended(struct pprof_loop *loop);

/* Ends what is under way.  Context: thread-safe. */
void pprof_loop_stop(struct pprof_loop *loop);

/*
 * Creates a thread that gets none of the program's signals: a handler of the
 * program must never run on our stack.  Returns as pthread_create() does.
 */
int pprof_loop_thread(pthread_t *thread, void *(*function)(void *),
    void *arg);

/*
 * No descriptor comes or goes between these two, which surround a fork().
 * Context: thread-safe.
 */
void pprof_loop_lock(struct pprof_loop *loop);
void pprof_loop_unlock(struct pprof_loop *loop);

/*
 * The child of a fork() closes what it inherited.  The memory is left alone:
 * the serving thread may have been in the middle of it.
 */
void pprof_loop_child(struct pprof_loop *loop);

#endif
