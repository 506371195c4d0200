/*
 * The environment as it was when the library was loaded.  Programs empty
 * theirs for their children, or write their titles over it.
 */

#ifndef PPROF_KINDS_ENV_H
#define PPROF_KINDS_ENV_H

#include <stddef.h>


/*
 * Remembers what the variables that the library knows say now; nothing, where
 * the program has more rights than who started it (AT_SECURE).
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

/*
 * Writes what says how to profile, "NAME=value" each and NULL at the end, into
 * LIST, which has room for MAX: the agent's environment.  Returns 0, or -1 and
 * ENOMEM; what is in LIST is to be freed in any case.
 */
int pprof_env_copy(char **list, size_t max);

/* Frees what pprof_env_copy() wrote, not LIST. */
void pprof_env_free(char **list);

/*
 * Takes the library's own variables, and itself out of LD_PRELOAD, from ENVP,
 * so that what the program executes is left alone.  OWN is the library as
 * LD_PRELOAD names it.
 *
 * In place: ENVP is the array that main() gets, and `environ`; setenv() would
 * part the two.
 *
 * Context: constructor.
 */
void pprof_env_close(char **envp, const char *own);

#endif
