/*
 * The environment as it was when the library was loaded.  Programs empty
 * theirs for their children, or write their titles over it.
 */

#ifndef PPROF_KINDS_ENV_H
#define PPROF_KINDS_ENV_H


/*
 * Remembers what the variables that the library knows say now.
 *
 * Context: constructor.
 */
void pprof_env_remember(void);

/*
 * Returns what NAME said when it was remembered, or says now when nothing
 * was; NULL when it is not set.  159 characters are kept.  NAME is one that
 * env.c lists.
 *
 * Context: thread-safe, as far as getenv() is.
 */
const char *pprof_env_get(const char *name);

#endif
