
/*
 * The log-linear histogram of a cell: base 2, 16 buckets an octave, in units
 * of 1/16 us, to beyond one hour.  Two are merged by adding.
 */


#ifndef _NGX_HTTP_DEBUG_HISTOGRAM_H_INCLUDED_
#define _NGX_HTTP_DEBUG_HISTOGRAM_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_debug_zone.h"


static ngx_inline ngx_uint_t
ngx_http_debug_histogram_bucket(uint64_t ns)
{
    uint64_t    v;
    ngx_uint_t  e, i;

    /* in units: ns * 2 / 125, exact below 2^57 */

#if (NGX_PTR_SIZE == 8)
    v = ((unsigned __int128) ns * (UINT64_MAX / 125 * 2 + 2)) >> 64;
#else
    v = ns * 2 / 125;
#endif

    if (v < 16) {
        return v;
    }

    /* the octave, and the four bits below its highest */

    e = (63 ^ __builtin_clzll(v)) - 4;
    i = e * 16 + (v >> e);

    return (i < NGX_HTTP_DEBUG_BUCKETS) ? i : NGX_HTTP_DEBUG_BUCKETS - 1;
}


/* the first ns of a bucket, and of the one after the last */

static ngx_inline uint64_t
ngx_http_debug_histogram_bound(ngx_uint_t bucket)
{
    uint64_t  v;

    v = bucket;

    if (bucket >= 16) {
        v = (uint64_t) (16 + (bucket & 15)) << (bucket / 16 - 1);
    }

    /* v * 62.5, rounded up */

    return (v * 125 + 1) / 2;
}


/* Raises *P to VALUE, if it is less. */

static ngx_inline void
ngx_http_debug_histogram_raise(uint64_t *p, uint64_t value)
{
    uint64_t  old;

    old = ngx_http_debug_load(p);

    while (old < value
           && !__atomic_compare_exchange_n(p, &old, value, 1,
                                           __ATOMIC_RELAXED, __ATOMIC_RELAXED))
    {
        /* void */
    }
}


/* BUCKET is that of NS: who books it twice looks for it once. */

static ngx_inline void
ngx_http_debug_histogram_add(ngx_http_debug_cell_t *cell, uint64_t ns,
    ngx_uint_t bucket)
{
    ngx_http_debug_histogram_raise(&cell->max, ns);
    ngx_http_debug_histogram_raise(&cell->floor, ~ns);

    /* the last: a reader looks for it between the two */

    ngx_http_debug_add(&cell->bucket[bucket], 1);
}


#endif /* _NGX_HTTP_DEBUG_HISTOGRAM_H_INCLUDED_ */
