/*
 * What the guest can be told to do: page.h's list.
 *
 * GUEST ROOM.  Executed by the resting thread, or, where the agent's code is
 * in the program, by whoever serves; one at a time.
 */

#ifndef PPROF_GUEST_COMMAND_H
#define PPROF_GUEST_COMMAND_H

#include <stdatomic.h>
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
    void     *page;                     /* whose area it is to be a mapping
                                           of; NULL: anonymous */
    bool      failed;                   /* a row found no room */
    uint64_t  results[PPROF_RESULTS];
};


/*
 * Executes OP.  Returns 0, or an errno: EINVAL for what cannot be.
 */
int pprof_command_execute(enum pprof_op op, const uint64_t args[PPROF_ARGS],
    struct pprof_out *out);

/*
 * Looks for what commands need of the program's, and the resting thread could
 * not look for.
 *
 * Context: constructor or pprof_start().
 */
void pprof_command_prepare(void);

/*
 * No command is executed between the first and one of the others, which are
 * called around a fork(), in its child the last: that has none under way, and
 * nothing of what its parent's handlers and threads were doing.
 *
 * Both the resting thread's handlers and those of the kinds call them; so they
 * nest.
 *
 * Context: the thread that forks.
 */
void pprof_command_fork(void);
void pprof_command_forked(void);
void pprof_command_child(void);

/* Is this thread between them?  Context: async-signal-safe. */
bool pprof_command_forking(void);

/*
 * The kinds have handlers, which call those three under a lock of their own;
 * whoever calls them without it need not, and must not.
 */
extern _Atomic bool  pprof_command_kinds;

/*
 * Maps SIZE bytes of the page's file from byte AT on; HEAD is the mapping of
 * its beginning.  Without a descriptor: mremap() of nothing makes another
 * mapping of the same file, which may be as long as that.
 *
 * Returns NULL when there is no room.
 */
void *pprof_command_map(void *head, size_t at, size_t size);

#endif
