/*
 * gperftools' own formats: read what ProfilerStart() wrote, write what
 * google-pprof reads.
 *
 * Format: CPU profile,
 * https://gperftools.github.io/gperftools/cpuprofile-fileformat.html
 * and, for the heap text, src/heap-profile-table.cc and
 * src/malloc_extension.cc of gperftools.
 *
 * Context: the serving thread.
 */

#ifndef PPROF_ENCODE_LEGACY_H
#define PPROF_ENCODE_LEGACY_H

#include "encode/buf.h"
#include "encode/profile.h"
#include "symbols/maps.h"


/*
 * Reads a CPU profile as ProfilerStart() and ProfilerStop() leave it.
 *
 * DATA is SIZE bytes of the native word size and byte order; anything may
 * stand there.  P is an initialised profile without value types; it gets
 * samples/count and cpu/nanoseconds, the period, and the samples.
 * *MAPS_OFFSET, unless MAPS_OFFSET is NULL, is set to where in DATA the text
 * of /proc/self/maps begins.
 *
 * Returns 0; or -1 with errno EINVAL when DATA is no CPU profile or is cut
 * off before the end of its samples.  P then holds what could be read.  Lack
 * of memory is remembered in P.
 */
int pprof_legacy_cpu_parse(struct pprof_profile *p, const void *data,
    size_t size, size_t *maps_offset);

/*
 * Writes a CPU profile that google-pprof reads.
 *
 * P's value number COUNT (from 0) is the number of samples; its period is in
 * nanoseconds.  Values of 0 and less are left out.  Names are not written:
 * the client asks /symbol for them.  What was lost is charged to a function
 * of this library, pprof_legacy_lost(), since only addresses can be written.
 *
 * Returns 0, or -1 with errno ENOMEM (P or OUT failed) or EINVAL (no such
 * value).
 */
int pprof_legacy_cpu_write(const struct pprof_profile *p, size_t count,
    const struct pprof_maps *maps, struct pprof_buf *out);

/*
 * Writes a heap profile that google-pprof reads.
 *
 * IN_OBJECTS is the number of P's value that counts live objects; the one
 * after it is their bytes.  ALLOC_OBJECTS is the same for what was allocated
 * since the start, or -1: the live numbers are then written twice.  NAME says
 * what the client is to make of them: "heap_v2/524288" for a sample that it
 * scales itself (P then holds unscaled numbers), "heapprofile" for true
 * numbers, "growth".
 *
 * Returns as pprof_legacy_cpu_write() does.
 */
int pprof_legacy_heap_write(const struct pprof_profile *p, size_t in_objects,
    int alloc_objects, const char *name, const struct pprof_maps *maps,
    struct pprof_buf *out);

/*
 * Writes a "--- contention" text that google-pprof reads.
 *
 * DELAY is the number of P's value in nanoseconds, COUNT that of the number
 * of waits.
 *
 * Returns as pprof_legacy_cpu_write() does.
 */
int pprof_legacy_contention_write(const struct pprof_profile *p,
    size_t count, size_t delay, const struct pprof_maps *maps,
    struct pprof_buf *out);

/*
 * Appends the mappings twice.  First those with a build id, in the form in
 * which Go's pprof understands that ("start-limit r-xp file (@offset) id") and
 * which the Perl client skips; then all of them as lines of /proc/self/maps,
 * which it needs.  Lack of memory is remembered in OUT.
 */
void pprof_legacy_maps_write(const struct pprof_maps *maps,
    struct pprof_buf *out);

#endif
