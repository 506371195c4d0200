
/*
 * What is taken of an incident: profiles of the sick peer and of a healthy
 * sister, all at once and each but once, and the numbers of the last quarter
 * of an hour, into a folder of its own.
 *
 * Each file is whole or not there, and incident.json is written first, so a
 * process that is killed leaves what it had.  A worker that drains goes on.
 *
 * Context: worker, timer.
 */


#ifndef _NGX_HTTP_DEBUG_WATCH_TAKE_H_INCLUDED_
#define _NGX_HTTP_DEBUG_WATCH_TAKE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_watch_story.h"


/* incidents that are being taken at once, by one process */
#define NGX_HTTP_DEBUG_WATCH_MAX  8


/*
 * An incident, zeroed, in a pool of its own.  NULL: no memory.
 */
ngx_http_debug_incident_t *ngx_http_debug_watch_take_create(
    ngx_http_debug_watch_conf_t *wcf, ngx_http_debug_watch_rule_t *rule);

/* Copies SIDE, as side N of IN.  NGX_OK, or NGX_ERROR: no memory. */
ngx_int_t ngx_http_debug_watch_take_side(ngx_http_debug_incident_t *in,
    ngx_uint_t n, ngx_http_debug_watch_side_t *side);

/* Takes it, and says so in the log; its pool goes by itself. */
void ngx_http_debug_watch_take(ngx_http_debug_incident_t *in);


#endif /* _NGX_HTTP_DEBUG_WATCH_TAKE_H_INCLUDED_ */
