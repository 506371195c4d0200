/*
 * One gzip member.  Format: RFC 1952, by zlib.
 */

#ifndef PPROF_ENCODE_GZIP_H
#define PPROF_ENCODE_GZIP_H

#include "encode/buf.h"


/*
 * Appends IN, compressed, to OUT.  OUT must not be IN.
 *
 * Returns 0, or -1 with errno ENOMEM; OUT->failed is then set too.  An IN
 * that has failed is refused in the same way: half a profile that
 * decompresses would look whole.
 *
 * Context: the serving thread.
 */
int pprof_gzip(const struct pprof_buf *in, struct pprof_buf *out);

#endif
