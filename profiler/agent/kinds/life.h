/*
 * What the kinds share over a target's life: start and stop, fork(), the
 * capture lock, and the tables that stacks are walked by.
 *
 * Lock order: the server's own locks before the capture lock.  fork() takes
 * them in that order too, since its handlers run backwards: hence
 * pprof_kinds_prepare() comes before the server adds its own.
 */

#ifndef PPROF_KINDS_LIFE_H
#define PPROF_KINDS_LIFE_H

#include "agent/target.h"


/*
 * Looks after fork() from now on: of what is known of this process itself.
 * Who adds fork handlers of its own that start threads calls this before.
 *
 * Context: thread-safe; constructor.
 */
void pprof_kinds_init(void);

/*
 * What is remembered of TARGET, made when it is asked for first.  It belongs
 * to TARGET.  NULL: out of memory.
 *
 * Context: thread-safe for this process; else before others know TARGET.
 */
struct pprof_kinds *pprof_kinds_of(struct pprof_target *target);

/* Called by pprof_target_close(). */
void pprof_kinds_free(struct pprof_kinds *kinds);

/*
 * Called before any request: prepares every kind.  Twice does no harm.
 *
 * Context: thread-safe.
 */
void pprof_kinds_prepare(struct pprof_target *target);

/*
 * Returns the build id of the program, lower-case hex; "" when it has none.
 * The string belongs to TARGET.
 *
 * Context: thread-safe; the first call may wait for the loader's lock.
 */
const char *pprof_kinds_build_id(struct pprof_target *target);

/*
 * Called when nobody asks any more: the kinds give back what they keep between
 * requests.
 *
 * Context: thread-safe.
 */
void pprof_kinds_release(struct pprof_target *target);

/*
 * Between these two the current thread is the library's own: it is in no
 * profile and its locks are not recorded.  They nest.
 *
 * Context: thread-safe.
 */
void pprof_kinds_enter(void);
void pprof_kinds_leave(void);


/*
 * Held while capturing starts or stops, so that no fork() happens in the
 * middle of that.  For moments only: the program's fork() waits for it.
 *
 * Context: thread-safe.
 */
void pprof_capture_lock(struct pprof_target *target);
void pprof_capture_unlock(struct pprof_target *target);

/*
 * Keeps the unwinder's tables, made by pprof_tables_update(), until the last
 * user has gone; then they are freed.  The child of a fork() has no users: a
 * kind's child() says so again.
 *
 * Context: thread-safe, under the capture lock.
 */
void pprof_tables_use(struct pprof_target *target);
void pprof_tables_drop(struct pprof_target *target);

/*
 * Makes the tables match what the program has loaded now.  Somebody uses
 * them.  Not under the capture lock: a fork() would wait for it.
 *
 * Context: thread-safe.
 */
void pprof_tables_update(struct pprof_target *target);

/*
 * Called often while the library listens: where tables are in use, makes those
 * of what the program has loaded since.  Returns whether they are in use.
 *
 * Context: the serving thread.
 */
bool pprof_tables_refresh(struct pprof_target *target);

#endif
