/*
 * Starts the agent, before the program is executed.
 *
 * Context: pprof-run, with one thread.
 */

#ifndef PPROF_RUN_START_H
#define PPROF_RUN_START_H

#include <stdbool.h>


/*
 * Says whether LISTEN can be listened at, as far as can be told before the
 * program has begun: 0, or an errno.
 */
int pprof_start_try(const char *listen);

/*
 * Starts an agent that serves this process, and whatever it executes next if
 * that attaches to the page.  ARGV is main()'s; ps shows the agent by what is
 * written over its copy.
 *
 * Returns the page's descriptor, close-on-exec, or -1 with errno.
 */
int pprof_start_agent(const char *listen, bool verbose, char **argv);

#endif
