/*
 * The tables of code that stacks are walked by, of one target.
 *
 * Of the process we are in they are made by guest/cfi.c.  For another process
 * the agent makes them, in its own memory for its own walks, and a copy in the
 * page's area for the program's handler: what is in the page is the program's
 * to spoil, and is never read here.
 *
 * Context: thread-safe.
 */

#ifndef PPROF_KINDS_CODE_H
#define PPROF_KINDS_CODE_H

#include "agent/target.h"


struct pprof_cfi;


/*
 * Makes the tables match what the program has loaded now; does next to nothing
 * when that is as before.  SHARED: for the program's handler as well, from now
 * on until pprof_code_drop().
 *
 * Returns 0, or -1 with errno when memory lacked.
 */
int pprof_code_update(struct pprof_target *target, bool shared);

/* Forgets them, here and in the program. */
void pprof_code_drop(struct pprof_target *target);

/*
 * The tables, to walk a copied stack with; NULL: those of this process.  They
 * stay until pprof_code_leave(), which must follow in either case.
 */
const struct pprof_cfi *pprof_code_enter(struct pprof_target *target);
void pprof_code_leave(struct pprof_target *target);

/* Called by pprof_target_close(). */
void pprof_code_free(struct pprof_code *code);

#endif
