
/*
 * The route /debug/metrics: which format, and which part.
 */


#ifndef _NGX_HTTP_DEBUG_SCRAPE_H_INCLUDED_
#define _NGX_HTTP_DEBUG_SCRAPE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_faces.h"


/*
 * Answers with what FILTER shows of ZONE, in the format that the client likes
 * best.  Returns what a content handler returns.  Context: worker, request.
 */
ngx_int_t ngx_http_debug_scrape(ngx_http_request_t *r,
    ngx_http_debug_zone_t *zone, ngx_http_debug_filter_t *filter);


#endif /* _NGX_HTTP_DEBUG_SCRAPE_H_INCLUDED_ */
