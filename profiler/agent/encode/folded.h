/*
 * Folded stacks: "root;caller;leaf 42", a line for each stack.
 *
 * Format: what Brendan Gregg's flamegraph.pl reads; speedscope and inferno do
 * too.
 *
 * Context: the serving thread.
 */

#ifndef PPROF_ENCODE_FOLDED_H
#define PPROF_ENCODE_FOLDED_H

#include "encode/buf.h"
#include "encode/paths.h"


/*
 * Appends PATHS.  Names keep their spaces: readers take the last word of a
 * line for the number.  A semicolon or a control character in a name becomes
 * a colon.  Lack of memory is remembered in OUT.
 */
void pprof_folded_write(const struct pprof_paths *paths,
    struct pprof_buf *out);

#endif
