/*
 * Listening from inside the program.  For the shared library alone: in the
 * archive there is nothing else.
 */

#ifndef PPROF_INSIDE_H
#define PPROF_INSIDE_H

#include <stdbool.h>


/*
 * Does the environment ask for what an agent cannot do?
 *
 * Context: thread-safe.
 */
bool pprof_inside_wanted(void) __attribute__((weak));

/* Listens a moment from now.  Context: constructor. */
void pprof_inside_start(void);

#endif
