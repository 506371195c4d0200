/*
 * Go's texts for people: ?debug=1 of goroutine, threadcreate, mutex and
 * block.  go tool pprof reads them as well.
 *
 * Format: Go's runtime/pprof, printCountProfile() and printStackRecord().
 *
 * Context: the serving thread.
 */

#ifndef PPROF_ENCODE_TEXT_H
#define PPROF_ENCODE_TEXT_H

#include "encode/buf.h"
#include "encode/profile.h"
#include "symbols/maps.h"
#include "symbols/names.h"


/*
 * Writes "NAME profile: total N", then each stack, the most frequent first:
 * its count, its addresses, and a comment line for each frame.
 *
 * P's first value is the count.  Labels are not written; stacks that differ
 * in them alone are written one after the other.
 *
 * Returns 0, or -1 with errno ENOMEM (P or OUT failed) or EINVAL (no value).
 */
int pprof_text_count_write(const struct pprof_profile *p, const char *name,
    const struct pprof_maps *maps, struct pprof_names *names,
    struct pprof_buf *out);

/*
 * Writes "--- NAME:" ("mutex", "contention"), then each stack, the longest
 * delay first: nanoseconds, count, addresses, frames.  PERIOD is the sampling
 * period that the text tells, of numbers that are scaled already.
 *
 * P's values are contentions/count and delay/nanoseconds.
 *
 * Returns as pprof_text_count_write() does.
 */
int pprof_text_delay_write(const struct pprof_profile *p, const char *name,
    long long period, const struct pprof_maps *maps,
    struct pprof_names *names, struct pprof_buf *out);

/*
 * Appends a line for each frame of S: "#\t0x…\tname+0x…\tfile"; where NAMES
 * has lines, what was inlined has lines of its own, and the file is the
 * source's: "ledger.cc:17".
 */
void pprof_text_frames_write(const struct pprof_sample *s,
    const struct pprof_maps *maps, struct pprof_names *names,
    struct pprof_buf *out);

#endif
