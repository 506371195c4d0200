
/*
 * The only reader: one pass over the cells of an entity makes a row, which
 * the faces print.
 *
 * A group's numbers are those of its peers' cells and of its own, which has
 * what its peers' cells cannot tell; see ngx_http_debug_record.h.
 *
 * Nothing is locked: a row is a sum of relaxed loads, so two of its numbers
 * may be one request apart.  Context: worker, request; worker, timer.
 */


#ifndef _NGX_HTTP_DEBUG_SNAPSHOT_H_INCLUDED_
#define _NGX_HTTP_DEBUG_SNAPSHOT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_debug_state.h"
#include "ngx_http_debug_zone.h"


/* ns: what a process said of itself before is not known any more */
#define NGX_HTTP_DEBUG_PROCESS_AGE  ((uint64_t) 15 * 1000000000)

/* different codes of one row; what is beyond counts in its class */
#define NGX_HTTP_DEBUG_ROW_CODES  64

/*
 * Upper bounds for Prometheus' text: 2^-13 s, which is 122 us, doubling to
 * 128 s.  They are bounds of the fine histogram too, and so exact.
 */
#define NGX_HTTP_DEBUG_LE         21
#define NGX_HTTP_DEBUG_LE_FIRST   113          /* the bucket above the first */


enum {
    NGX_HTTP_DEBUG_P50 = 0,
    NGX_HTTP_DEBUG_P90,
    NGX_HTTP_DEBUG_P99,
    NGX_HTTP_DEBUG_P999,
    NGX_HTTP_DEBUG_PERCENTILES
};


/* The peers of each group, as chains of id + 1; 0 ends one. */

typedef struct {
    ngx_uint_t                ids;
    uint32_t                 *first;     /* by the group's id */
    uint32_t                 *next;      /* by the peer's id */

    uint64_t                 *usual;     /* mean times, by the group's id */
    uint64_t                 *mean;      /* those of one group's peers */
} ngx_http_debug_peers_of_t;


/* All cells of what an entity's numbers are made of, one after the other. */

typedef struct {
    ngx_http_debug_zone_t      *zone;
    ngx_http_debug_peers_of_t  *peers;
    ngx_http_debug_entity_t    *of;      /* whose numbers these are */
    ngx_http_debug_entity_t    *e;       /* whose cells: its own, a peer's */
    ngx_uint_t                  n;       /* the next of them */
    uint32_t                    peer;    /* the next one, id + 1 */
    uint64_t                    fold;    /* as it was at the beginning */

    ngx_uint_t                  first;   /* the last one was E's first */
    ngx_uint_t                  plain;   /* or, of a peer: each record is a
                                            try, and all of a round */
} ngx_http_debug_cells_t;


typedef struct {
    uint32_t                  code;      /* below 10: a class, as 5 for 5xx */
    uint64_t                  count;
    uint64_t                  second;    /* in the current second */
} ngx_http_debug_code_t;


typedef struct {
    ngx_http_debug_entity_t  *entity;

    uint64_t                  value[NGX_HTTP_DEBUG_METRICS];
    int64_t                   active;

    uint64_t                  count;     /* of all codes */
    uint64_t                  second;    /* of those in the current second */
    uint64_t                  last;      /* and in the one before */
    ngx_uint_t                ncodes;
    uint64_t                  classes[NGX_HTTP_DEBUG_CLASSES];

    uint64_t                  max;       /* ns; 0: none */
    uint64_t                  min;
    ngx_uint_t                low;       /* the buckets of these; if there is */
    ngx_uint_t                high;      /* none, "low" is beyond "high" */
    uint64_t                  measured;  /* in the histogram */
    uint64_t                  percentile[NGX_HTTP_DEBUG_PERCENTILES]; /* ns */

    /* only the first ones are set */
    ngx_http_debug_code_t     code[NGX_HTTP_DEBUG_ROW_CODES];  /* sorted */
} ngx_http_debug_row_t;


/* of one zone of a cache, by what it had */

typedef struct {
    ngx_str_t                 name;
    uint64_t                  count[NGX_HTTP_DEBUG_CACHE_STATES];
} ngx_http_debug_cache_row_t;


/* the words for these; the first is none */
extern char  *ngx_http_debug_cache_states[];

/* Who belongs to whom.  Returns NULL for lack of memory in POOL. */
ngx_http_debug_peers_of_t *ngx_http_debug_snapshot_peers(ngx_pool_t *pool,
    ngx_http_debug_zone_t *zone);

/*
 * The cells of what E's numbers are made of; PEERS may be NULL if E is no
 * group.  _next() returns NULL after the last.  If they are not _whole(), a
 * peer was folded meanwhile, and all has to be read once more.
 */
void ngx_http_debug_snapshot_cells(ngx_http_debug_cells_t *cells,
    ngx_http_debug_zone_t *zone, ngx_http_debug_peers_of_t *peers,
    ngx_http_debug_entity_t *e);
ngx_http_debug_cell_t *ngx_http_debug_snapshot_next(
    ngx_http_debug_cells_t *cells);
ngx_uint_t ngx_http_debug_snapshot_whole(ngx_http_debug_cells_t *cells);

/* Makes the row of one entity; PEERS as above. */
void ngx_http_debug_snapshot_row(ngx_http_debug_zone_t *zone,
    ngx_http_debug_peers_of_t *peers, ngx_http_debug_entity_t *e,
    ngx_http_debug_row_t *row);

/* The state of the peer that ROW is of. */
void ngx_http_debug_snapshot_state(ngx_http_debug_zone_t *zone,
    ngx_http_debug_peers_of_t *peers, ngx_http_debug_row_t *row,
    ngx_http_debug_state_t *state);

/* The same, maybe without the reason, which is what takes long. */
void ngx_http_debug_snapshot_word(ngx_http_debug_zone_t *zone,
    ngx_http_debug_peers_of_t *peers, ngx_http_debug_row_t *row,
    ngx_http_debug_state_t *state);

/*
 * The same without percentiles, and what they are made of: BUCKET has room for
 * NGX_HTTP_DEBUG_BUCKETS, of which those from "low" to "high" are set.
 */
void ngx_http_debug_snapshot_buckets(ngx_http_debug_zone_t *zone,
    ngx_http_debug_peers_of_t *peers, ngx_http_debug_entity_t *e,
    ngx_http_debug_row_t *row, uint64_t *bucket);

/* How many of them did not exceed each of Prometheus' bounds. */
void ngx_http_debug_snapshot_le(ngx_http_debug_row_t *row, uint64_t *bucket,
    uint64_t le[NGX_HTTP_DEBUG_LE]);

/*
 * How many there were in the last second: those of the current one, and of
 * the one before the part that is less than a second ago.
 */
uint64_t ngx_http_debug_snapshot_rate(ngx_http_debug_row_t *row);

/*
 * Adds the counts, times and codes of ROW to SUM, which was zeroed before the
 * first.  Percentiles cannot be added and are left alone.
 */
void ngx_http_debug_snapshot_add(ngx_http_debug_row_t *sum,
    ngx_http_debug_row_t *row);

/*
 * The time, ns, that a PART of 1000 of the MEASURED ones in BUCKETS did not
 * exceed: the middle of its bucket; 0 if there are none.
 */
uint64_t ngx_http_debug_snapshot_percentile(uint64_t *buckets,
    uint64_t measured, ngx_uint_t part);

/*
 * Fills ROWS, which has room for NGX_HTTP_DEBUG_CACHES; returns how many there
 * are.  Their names belong to the zone.
 */
ngx_uint_t ngx_http_debug_snapshot_caches(ngx_http_debug_zone_t *zone,
    ngx_http_debug_cache_row_t *rows);

/*
 * What the process of peer E says of itself, by NGX_HTTP_DEBUG_PROCESS_...
 * Returns how old that is, ns, or NGX_DECLINED: nothing is known, or no more.
 */
int64_t ngx_http_debug_snapshot_process(ngx_http_debug_entity_t *e,
    uint64_t *value);

/* All failures: what got no answer. */
uint64_t ngx_http_debug_snapshot_failures(ngx_http_debug_row_t *row);


#endif /* _NGX_HTTP_DEBUG_SNAPSHOT_H_INCLUDED_ */
