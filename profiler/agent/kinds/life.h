/*
 * What the kinds share over a process's life: start and stop, fork(), the
 * capture lock, and the tables that stacks are walked by.
 *
 * Lock order: the server's own locks before the capture lock.  fork() takes
 * them in that order too, since its handlers run backwards: hence
 * pprof_kinds_prepare() comes before the server adds its own.
 */

#ifndef PPROF_KINDS_LIFE_H
#define PPROF_KINDS_LIFE_H


/*
 * Looks after fork() from now on.  pprof_kinds_prepare() does it too; who adds
 * fork handlers of its own that start threads calls this before.
 *
 * Context: thread-safe; constructor.
 */
void pprof_kinds_init(void);

/*
 * Called by each pprof_start() before any request, and by pprof_handle():
 * prepares every kind.  Twice does no harm.
 *
 * Context: thread-safe.
 */
void pprof_kinds_prepare(void);

/*
 * Returns the build id of the program, lower-case hex; "" when it has none.
 * The string is static.
 *
 * Context: thread-safe; the first call may wait for the loader's lock.
 */
const char *pprof_kinds_build_id(void);

/*
 * Called by pprof_stop(): the kinds give back what they keep between
 * requests.
 *
 * Context: thread-safe.
 */
void pprof_kinds_release(void);

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
void pprof_capture_lock(void);
void pprof_capture_unlock(void);

/*
 * Keeps the unwinder's tables, made by whoever walks, until the last user has
 * gone; then they are freed.  The child of a fork() has no users: a kind's
 * child() says so again.
 *
 * Context: thread-safe, under the capture lock.
 */
void pprof_tables_use(void);
void pprof_tables_drop(void);

/*
 * Called once a second while the library listens: where tables are in use,
 * makes those of what the program has loaded since.
 *
 * Context: the serving thread.
 */
void pprof_tables_refresh(void);

#endif
