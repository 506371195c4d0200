
/*
 * /debug/requests: what is under way now, in all processes, the oldest first.
 *
 * Context: worker, request.
 */


#ifndef _NGX_HTTP_DEBUG_REQUESTS_H_INCLUDED_
#define _NGX_HTTP_DEBUG_REQUESTS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_faces.h"
#include "ngx_http_debug_page.h"
#include "ngx_http_debug_record.h"


/* What is asked for; an empty name is no restriction. */

typedef struct {
    ngx_http_debug_filter_t    names;
    ngx_str_t                  route;
    ngx_str_t                  state;  /* see ngx_http_debug_requests.c */
    ngx_int_t                  most;   /* rows; 0: as many as there may be */
    ngx_http_debug_page_may_t  may;    /* of the page */
} ngx_http_debug_requests_t;


/*
 * The page; with JSON:
 *
 *     { "v": 1, "now": ms, "under_way": n, "left_out": n, "shown": n,
 *       "requests": [ { "id": "0123abcd", "age": seconds, "route": "/api/",
 *                       "method": "GET", "path": "/api/x", "cut": false,
 *                       "server": "a", "upstream": "acs",
 *                       "peer": "10.0.0.5:80", "tries": 1,
 *                       "state": "waiting", "looked": seconds,
 *                       "received": bytes, "sent": bytes,
 *                       "client": "10.1.2.3", "pid": 4711, "old": false } ] }
 *
 * "under_way" is what "requests" has or would have, "left_out" what found no
 * slot.  What is not known (yet) is null; "looked" says how long ago state and
 * bytes were looked at: until then they are what the beginning of a try tells.
 *
 * Returns what a content handler returns.
 */
ngx_int_t ngx_http_debug_requests(ngx_http_request_t *r,
    ngx_http_debug_record_main_conf_t *rmcf, ngx_http_debug_requests_t *asked,
    ngx_uint_t json);


#endif /* _NGX_HTTP_DEBUG_REQUESTS_H_INCLUDED_ */
