
/*
 * The faces: what the snapshot's rows look like outside.  They know no
 * metric by name; the table drives them.
 *
 * Context: worker, request.
 */


#ifndef _NGX_HTTP_DEBUG_FACES_H_INCLUDED_
#define _NGX_HTTP_DEBUG_FACES_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_debug_out.h"
#include "ngx_http_debug_snapshot.h"
#include "ngx_http_debug_zone.h"


/*
 * What to show.  An empty name is no restriction: with a name, only what has
 * it, and none of the kinds that it does not name.
 */

typedef struct {
    ngx_str_t  server;
    ngx_str_t  upstream;
    ngx_str_t  peer;
} ngx_http_debug_filter_t;

/* Does E, which may be NULL, have the NAME that is asked for, if any is? */
static ngx_inline ngx_uint_t
ngx_http_debug_filter_has(ngx_str_t *name, ngx_http_debug_entity_t *e)
{
    return e != NULL
           && (name->len == 0
               || (e->len == name->len
                   && ngx_memcmp(e->name, name->data, name->len) == 0));
}


/*
 * Each face is made by steps, which ngx_http_debug_task_run() calls; what
 * _create() returns is their data, and belongs to the output's pool.  NULL:
 * no memory.
 */

typedef struct ngx_http_debug_json_s  ngx_http_debug_json_t;
typedef struct ngx_http_debug_prometheus_s  ngx_http_debug_prometheus_t;

/* what /debug/metrics looks like */
typedef struct ngx_http_debug_format_s  ngx_http_debug_format_t;

extern ngx_http_debug_format_t  ngx_http_debug_text;
extern ngx_http_debug_format_t  ngx_http_debug_openmetrics;
extern ngx_http_debug_format_t  ngx_http_debug_proto;


ngx_http_debug_json_t *ngx_http_debug_json_create(ngx_http_debug_out_t *out,
    ngx_http_debug_zone_t *zone, ngx_http_debug_filter_t *filter);

/* /debug/stats */
ngx_int_t ngx_http_debug_json_stats_step(void *data);

/*
 * /debug/charts/data: of each series that the filter shows, the points of
 * RING that ended after SINCE (ms since the epoch; 0: all), at most the last
 * N, which is not 0.  Of KINDS, the first MOST have points, the others names.
 *
 *     { "v": 1, "step": 1, "now": ms, "t": [seconds...],
 *       "series": [ { "kind": "peer", "upstream": "acs", "peer": "10.0.0.5:80",
 *                     "state": "up", "reason": "...",
 *                     "2xx": [...], "p99": [...], ... }, ... ],
 *       "left_out": 1, "others": [ { "kind": "server", "server": "x" } ],
 *       "marks": [[ms, "reload"],
 *                                [ms, "heap", "acs", "10.0.0.5:80"], ...] }
 *
 * Counts are per point, times in microseconds; what is missing is null.  A
 * mark is "start", "reload" or the kind of a profile that was taken.
 */
void ngx_http_debug_json_history(ngx_http_debug_json_t *js, ngx_uint_t ring,
    uint64_t since, ngx_uint_t n, ngx_uint_t kinds, ngx_uint_t most);
ngx_int_t ngx_http_debug_json_history_step(void *data);

/* /debug/metrics */
ngx_http_debug_prometheus_t *ngx_http_debug_prometheus_create(
    ngx_http_debug_out_t *out, ngx_http_debug_zone_t *zone,
    ngx_http_debug_format_t *format, ngx_http_debug_filter_t *filter);
ngx_int_t ngx_http_debug_prometheus_step(void *data);

/*
 * Appends S as a JSON string, with U+FFFD for each byte that is not UTF-8:
 * names may be anything.
 */
void ngx_http_debug_json_string(ngx_http_debug_out_t *out, ngx_str_t *s);


#endif /* _NGX_HTTP_DEBUG_FACES_H_INCLUDED_ */
