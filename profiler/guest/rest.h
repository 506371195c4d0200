/*
 * The resting thread: the one thing of ours that is always in the program.
 *
 * GUEST ROOM.  The thread is one that libc does not know: raw clone(), a TLS
 * block of its own, every signal blocked, a descriptor table of its own that
 * is empty.  It calls nothing of libc but memcpy and its like.  Where the
 * program brings gperftools' tcmalloc, or a sanitizer, it is an ordinary
 * thread, since those want libc's thread state.
 *
 * It waits on the page's bell, without a time limit unless a profile runs, and
 * executes what the agent asks for: command.h.
 */

#ifndef PPROF_GUEST_REST_H
#define PPROF_GUEST_REST_H

#include <stdbool.h>

#include "guest/page.h"


/*
 * Maps the page whose descriptor is FD, the caller's still, and starts the
 * resting thread; ORDINARY: as one of libc's.
 *
 * Returns 0, or -1 with errno: EALREADY, EPROTO when it is no page, EBUSY when
 * another process has it, or as mmap() and clone() say.
 *
 * Context: constructor or pprof_start().
 */
int pprof_rest_attach(int fd, bool ordinary);

/*
 * The same for the page that pprof-run left in the environment.  The
 * descriptor is closed in any case.  Returns -1 with errno ENOENT when there
 * is none.
 *
 * Context: constructor.
 */
int pprof_rest_attach_env(bool ordinary);

/*
 * Closes the descriptor of that page, and says in it that nobody will attach.
 *
 * Context: constructor.
 */
void pprof_rest_refuse_env(void);

/*
 * Ends the thread, what it has under way, and the mapping.  Context: an
 * ordinary thread.
 */
void pprof_rest_detach(void);

/* The page that is attached, or NULL.  It belongs to this room. */
struct pprof_page *pprof_rest_page(void);

/*
 * The child of a fork() gets a page of its own, which it announces in its
 * parent's.
 *
 * Context: the child's only thread.
 */
void pprof_rest_child(void);

/*
 * Between these two the resting thread is not there.  SEALED: it does not
 * come back.  Both do nothing in a vfork() child, or when nothing is attached.
 *
 * Context: thread-safe; not async-signal-safe unless nothing is attached.
 */
bool pprof_rest_aside(void);
void pprof_rest_back(bool was, bool sealed);

#endif
