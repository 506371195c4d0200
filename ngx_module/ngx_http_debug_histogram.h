
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

    v = ns * 2 / 125;

    if (v < 16) {
        return v;
    }

    e = 63 - __builtin_clzll(v);
    i = (e - 3) * 16 + ((v >> (e - 4)) & 15);

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


static ngx_inline void
ngx_http_debug_histogram_add(ngx_http_debug_cell_t *cell, uint64_t ns)
{
    uint64_t  old;

    old = ngx_http_debug_load(&cell->max);

    while (old < ns
           && !__atomic_compare_exchange_n(&cell->max, &old, ns, 1,
                                           __ATOMIC_RELAXED, __ATOMIC_RELAXED))
    {
        /* void */
    }

    old = ngx_http_debug_load(&cell->floor);

    while (old < ~ns
           && !__atomic_compare_exchange_n(&cell->floor, &old, ~ns, 1,
                                           __ATOMIC_RELAXED, __ATOMIC_RELAXED))
    {
        /* void */
    }

    /* the last: a reader looks for it between the two */

    ngx_http_debug_add(&cell->bucket[ngx_http_debug_histogram_bucket(ns)], 1);
}


#endif /* _NGX_HTTP_DEBUG_HISTOGRAM_H_INCLUDED_ */
