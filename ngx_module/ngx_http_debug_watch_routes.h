
/*
 * What is below incidents/.
 */


#ifndef _NGX_HTTP_DEBUG_WATCH_ROUTES_H_INCLUDED_
#define _NGX_HTTP_DEBUG_WATCH_ROUTES_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_kept.h"


/*
 * Answers the request whose URI after "incidents/" is REST, in a location with
 * CONF.  Returns what a content handler returns.
 *
 * Context: worker, request.
 */
ngx_int_t ngx_http_debug_watch_handler(ngx_http_request_t *r,
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_pprof_conf_t *conf,
    ngx_str_t *rest);


#endif /* _NGX_HTTP_DEBUG_WATCH_ROUTES_H_INCLUDED_ */
