/*
 * ?gc=1: the program's allocator gives back what it holds and nobody uses.
 *
 * Context: thread-safe; waits for a second at most, until a thread of the
 * program has done it.
 */

#ifndef PPROF_KINDS_RELEASE_H
#define PPROF_KINDS_RELEASE_H

#include <stddef.h>

#include "agent/target.h"


enum { PPROF_RELEASE_TEXT = 192 };

/* Does it, and says in TEXT what came of it. */
void pprof_release(struct pprof_target *target, char text[PPROF_RELEASE_TEXT]);

#endif
