
/*
 * The histogram of a cell: 16 buckets an octave, their bounds at 2^(i/16)
 * seconds.  Two are merged by adding.
 *
 * Format: https://prometheus.io/docs/specs/native_histograms/, schema 4
 */


#ifndef _NGX_HTTP_DEBUG_HISTOGRAM_H_INCLUDED_
#define _NGX_HTTP_DEBUG_HISTOGRAM_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_debug_zone.h"


/*
 * Of the bounds in ns that lie between two powers of 2: the larger of these is
 * 2^64 here, so they are floor(2^63 * 10^9 * 2^(i/16) / 2^n), for the n that
 * brings it there.  The 15th is that of whole octaves of seconds, and exact.
 * None is above the last.
 */

static const uint64_t  ngx_http_debug_histogram_bounds[17] = {
    0x81ffa7a9549ca6e3, 0x87c11235836d16a3, 0x8dc3b8960164a7d9,
    0x940a7e28259fb382, 0x9a9867054d512391, 0xa1709975dfb06757,
    0xa8965f74bf065071, 0xb00d2843e1060dc2, 0xb7d88a12d0dd9ea0,
    0xbffc43b7e604a922, 0xc87c3e7d03cdbec3, 0xd15c9000bf211c1f,
    0xdaa17c2cd19555db, 0xe44f7742cb56e3dd, 0xee6b280000000000,
    0xf8f969d9b5abf948, 0xffffffffffffffff
};

/* how many of them lie below each 32nd part; within one is at most one more */

static const uint8_t  ngx_http_debug_histogram_below[32] = {
    0, 1, 2, 2, 3, 3, 4, 5, 5, 6, 6, 7, 7, 8, 9, 9,
    10, 10, 10, 11, 11, 12, 12, 13, 13, 13, 14, 14, 15, 15, 15, 16
};

/* of all bounds from 1 ns on, those below that of the first bucket */
#define NGX_HTTP_DEBUG_HISTOGRAM_FIRST  (9 * 16 + 14)


/* The one with NS at or below its bound, and above that of the one before. */

static ngx_inline ngx_uint_t
ngx_http_debug_histogram_bucket(uint64_t ns)
{
    uint64_t    v;
    ngx_uint_t  i, shift;

    shift = __builtin_clzll(ns | 1);
    v = ns << shift;

    i = ngx_http_debug_histogram_below[v >> 58 & 31];
    i += (63 - shift) * 16 + (v > ngx_http_debug_histogram_bounds[i]);

    if (i <= NGX_HTTP_DEBUG_HISTOGRAM_FIRST) {
        return 0;
    }

    return ngx_min(i - NGX_HTTP_DEBUG_HISTOGRAM_FIRST,
                   NGX_HTTP_DEBUG_BUCKETS - 1);
}


/* The last ns of a bucket; the last bucket goes on beyond it. */

static ngx_inline uint64_t
ngx_http_debug_histogram_bound(ngx_uint_t bucket)
{
    ngx_uint_t  i;

    i = bucket + NGX_HTTP_DEBUG_HISTOGRAM_FIRST;

    return ngx_http_debug_histogram_bounds[i % 16] >> (63 - i / 16);
}


static ngx_inline uint64_t
ngx_http_debug_histogram_middle(ngx_uint_t bucket)
{
    uint64_t  below;

    below = bucket ? ngx_http_debug_histogram_bound(bucket - 1) : 0;

    return (below + ngx_http_debug_histogram_bound(bucket)) / 2;
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
