/*
 * A flame graph as a file: SVG that stands alone, with a title for each
 * frame and no script.
 *
 * Format: SVG 1.1.  The roots are at the bottom; a frame is as wide as its
 * share; neighbors are in the order of their names, not of time.
 *
 * Context: the serving thread.
 */

#ifndef PPROF_ENCODE_SVG_H
#define PPROF_ENCODE_SVG_H

#include "encode/buf.h"
#include "encode/paths.h"


/*
 * Appends the picture.  TITLE stands above it; UNIT is "nanoseconds",
 * "bytes" or "count", and decides how numbers are printed.  Frames narrower
 * than a tenth of a pixel are left out.
 *
 * Lack of memory is remembered in OUT.
 */
void pprof_svg_write(const struct pprof_paths *paths, const char *title,
    const char *unit, struct pprof_buf *out);

#endif
