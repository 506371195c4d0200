/*
 * Which allocator a program has inside, where its malloc() is not one that a
 * shared library could stand in front of.
 *
 * Context: thread-safe.
 */

#ifndef PPROF_KINDS_BRINGS_H
#define PPROF_KINDS_BRINGS_H

#include "agent/target.h"


/*
 * Returns what to do for it, a sentence or more: static.  By the symbols of
 * the program's file.
 */
const char *pprof_brings(const struct pprof_target *target);

#endif
