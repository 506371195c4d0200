/*
 * What the guest can be told to do: page.h's list.
 *
 * GUEST ROOM.  Executed by the resting thread, or, where the agent's code is
 * in the program, by whoever serves; one at a time.
 */

#ifndef PPROF_GUEST_COMMAND_H
#define PPROF_GUEST_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest/page.h"


/*
 * Where rows go.  BASE is a mapping that grows by mremap(): anonymous, or of
 * the page's area.  Owner: whoever declared it; it unmaps BASE.
 */
struct pprof_out {
    char     *base;
    size_t    mapped;                   /* bytes; 0: not yet */
    size_t    size;                     /* bytes used */
    bool      failed;                   /* a row found no room */
    uint64_t  results[PPROF_RESULTS];
};


/*
 * Executes OP.  DRIVEN: the caller calls pprof_command_step() when it says so;
 * otherwise a profile makes a thread of its own for that.
 *
 * Returns 0, or an errno: EINVAL for what cannot be.
 */
int pprof_command_execute(enum pprof_op op, const uint64_t args[PPROF_ARGS],
    struct pprof_out *out, bool driven);

/*
 * Does what is due of what runs.  Returns how many ns until it wants to be
 * called again; UINT64_MAX: nothing runs.
 */
uint64_t pprof_command_step(void);

#endif
