
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
 * An octave of ns in 32 parts; within one lies one bound at most.  Of each,
 * the first bound at or above its beginning, and how many bounds lie below
 * that from the first bucket's on.
 *
 * A bound is 2^(i/16) s in ns, doubled until its highest bit is set, and so
 * floor(2^63 * 10^9 * 2^(i/16) / 2^n) for some n; that of whole octaves of
 * seconds, 0xee6b28..., is exact.
 */

typedef struct {
    uint64_t    bound;
    ngx_uint_t  below;
} ngx_http_debug_histogram_part_t;

static const ngx_http_debug_histogram_part_t
                                      ngx_http_debug_histogram_parts[32] = {
    { 0x81ffa7a9549ca6e3, (ngx_uint_t) -158 },
    { 0x87c11235836d16a3, (ngx_uint_t) -157 },
    { 0x8dc3b8960164a7d9, (ngx_uint_t) -156 },
    { 0x8dc3b8960164a7d9, (ngx_uint_t) -156 },
    { 0x940a7e28259fb382, (ngx_uint_t) -155 },
    { 0x940a7e28259fb382, (ngx_uint_t) -155 },
    { 0x9a9867054d512391, (ngx_uint_t) -154 },
    { 0xa1709975dfb06757, (ngx_uint_t) -153 },
    { 0xa1709975dfb06757, (ngx_uint_t) -153 },
    { 0xa8965f74bf065071, (ngx_uint_t) -152 },
    { 0xa8965f74bf065071, (ngx_uint_t) -152 },
    { 0xb00d2843e1060dc2, (ngx_uint_t) -151 },
    { 0xb00d2843e1060dc2, (ngx_uint_t) -151 },
    { 0xb7d88a12d0dd9ea0, (ngx_uint_t) -150 },
    { 0xbffc43b7e604a922, (ngx_uint_t) -149 },
    { 0xbffc43b7e604a922, (ngx_uint_t) -149 },
    { 0xc87c3e7d03cdbec3, (ngx_uint_t) -148 },
    { 0xc87c3e7d03cdbec3, (ngx_uint_t) -148 },
    { 0xc87c3e7d03cdbec3, (ngx_uint_t) -148 },
    { 0xd15c9000bf211c1f, (ngx_uint_t) -147 },
    { 0xd15c9000bf211c1f, (ngx_uint_t) -147 },
    { 0xdaa17c2cd19555db, (ngx_uint_t) -146 },
    { 0xdaa17c2cd19555db, (ngx_uint_t) -146 },
    { 0xe44f7742cb56e3dd, (ngx_uint_t) -145 },
    { 0xe44f7742cb56e3dd, (ngx_uint_t) -145 },
    { 0xe44f7742cb56e3dd, (ngx_uint_t) -145 },
    { 0xee6b280000000000, (ngx_uint_t) -144 },
    { 0xee6b280000000000, (ngx_uint_t) -144 },
    { 0xf8f969d9b5abf948, (ngx_uint_t) -143 },
    { 0xf8f969d9b5abf948, (ngx_uint_t) -143 },
    { 0xf8f969d9b5abf948, (ngx_uint_t) -143 },
    { 0xffffffffffffffff, (ngx_uint_t) -142 }
};

/* those whose bounds are the first of their own */

static const uint8_t  ngx_http_debug_histogram_own[16] = {
    0, 1, 2, 4, 6, 7, 9, 11,
    13, 14, 16, 19, 21, 23, 26, 28
};

/* of all bounds from 1 ns on, those below that of the first bucket */
#define NGX_HTTP_DEBUG_HISTOGRAM_FIRST  158    /* 9 octaves and 14 */


/* The one with NS at or below its bound, and above that of the one before. */

static ngx_inline ngx_uint_t
ngx_http_debug_histogram_bucket(uint64_t ns)
{
    uint64_t                                v;
    ngx_uint_t                              i, octave;
    const ngx_http_debug_histogram_part_t  *part;

    octave = 63 ^ (unsigned) __builtin_clzll(ns | 1);
    v = ns << (63 - octave);

    part = &ngx_http_debug_histogram_parts[v >> 58 & 31];

    i = part->below + octave * 16;
    i += v > part->bound;

    if (i >= NGX_HTTP_DEBUG_BUCKETS) {
        return (ngx_int_t) i < 0 ? 0 : NGX_HTTP_DEBUG_BUCKETS - 1;
    }

    return i;
}


/* The last ns of a bucket; the last bucket goes on beyond it. */

static ngx_inline uint64_t
ngx_http_debug_histogram_bound(ngx_uint_t bucket)
{
    ngx_uint_t  i, part;

    i = bucket + NGX_HTTP_DEBUG_HISTOGRAM_FIRST;
    part = ngx_http_debug_histogram_own[i % 16];

    return ngx_http_debug_histogram_parts[part].bound >> (63 - i / 16);
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
