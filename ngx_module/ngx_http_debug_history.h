
/*
 * The per-second rings: what happened when, of each server, group and peer.
 *
 * They lie in the zone.  Every worker has a timer, and the first that comes
 * to a second fills it, some entities an event-loop turn, so the rings go on
 * over a reload and over the death of any worker: each entity knows its last
 * point, and a gap of some seconds is filled with what came meanwhile.  A point
 * carries its own time, so that what was not filled is known as missing.
 *
 * Rings leave some of debug_zone: counters come first.
 */


#ifndef _NGX_HTTP_DEBUG_HISTORY_H_INCLUDED_
#define _NGX_HTTP_DEBUG_HISTORY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_debug_zone.h"


enum {
    NGX_HTTP_DEBUG_H_2XX = 0,
    NGX_HTTP_DEBUG_H_3XX,
    NGX_HTTP_DEBUG_H_4XX,
    NGX_HTTP_DEBUG_H_5XX,
    NGX_HTTP_DEBUG_H_FAILED,
    NGX_HTTP_DEBUG_H_ACTIVE,
    NGX_HTTP_DEBUG_H_P50,          /* us, rounded up; 0: none */
    NGX_HTTP_DEBUG_H_P90,
    NGX_HTTP_DEBUG_H_P99,
    NGX_HTTP_DEBUG_H_FINE,

    /* of the coarse rings: of the single seconds in a point */

    NGX_HTTP_DEBUG_H_COUNT_MIN = NGX_HTTP_DEBUG_H_FINE,
    NGX_HTTP_DEBUG_H_COUNT_MAX,
    NGX_HTTP_DEBUG_H_P99_MIN,
    NGX_HTTP_DEBUG_H_P99_MAX,
    NGX_HTTP_DEBUG_H_COARSE
};


typedef struct {
    uint32_t   step;       /* seconds of a point */
    uint32_t   points;
    uint32_t   values;     /* of a point, besides its time */
    uint32_t   offset;     /* in an entity's history, uint32_t */
} ngx_http_debug_ring_t;


#define NGX_HTTP_DEBUG_RINGS  3

/* 1 s for 15 minutes, 10 s for 2 hours, 60 s for 24 hours */
extern ngx_http_debug_ring_t  ngx_http_debug_rings[NGX_HTTP_DEBUG_RINGS];

/* the names of the values, as /debug/charts/data has them */
extern ngx_str_t  ngx_http_debug_history_names[NGX_HTTP_DEBUG_H_COARSE];


/*
 * The point of ring RING for the step that ends with second SECOND, or NULL
 * if it was never filled.
 */
uint32_t *ngx_http_debug_history_point(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e, ngx_uint_t ring, uint64_t second);

/* Bytes of an entity's rings. */
size_t ngx_http_debug_history_size(void);

/*
 * Takes second SECOND for this process to fill.  Returns NGX_OK, NGX_DECLINED
 * (another process has it) or NGX_ERROR.  Context: timer.
 */
ngx_int_t ngx_http_debug_history_begin(ngx_http_debug_zone_t *zone,
    uint64_t second);

/*
 * Fills it for some entities.  Returns NGX_AGAIN while there are more, then
 * NGX_OK.  Context: timer, posted event.
 */
ngx_int_t ngx_http_debug_history_step(void);

/*
 * Starts this process's timer, which calls TICK with DATA, too, while the
 * process drains as well: one timer costs requests less than two.  Context:
 * worker start.
 */
void ngx_http_debug_history_start(ngx_http_debug_zone_t *zone,
    ngx_cycle_t *cycle, void (*tick)(void *data), void *data);

/*
 * A profile of KIND is taken now; charts mark it.  One whose names are longer
 * than 128 bytes is not remembered.  Context: worker, request.
 */
void ngx_http_debug_history_taken(ngx_str_t *group, ngx_str_t *peer,
    ngx_str_t *kind);

/*
 * Copies the profile that was taken as number N, of zone->ntaken so far.
 * NGX_OK, or NGX_DECLINED: it is forgotten, or being written.
 */
ngx_int_t ngx_http_debug_history_get_taken(ngx_http_debug_zone_t *zone,
    uint64_t n, ngx_http_debug_taken_t *taken);


#endif /* _NGX_HTTP_DEBUG_HISTORY_H_INCLUDED_ */
