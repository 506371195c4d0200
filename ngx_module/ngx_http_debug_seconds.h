
/*
 * The "seconds" of a query, as Go's net/http/pprof reads it.
 */


#ifndef _NGX_HTTP_DEBUG_SECONDS_H_INCLUDED_
#define _NGX_HTTP_DEBUG_SECONDS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef enum {
    NGX_HTTP_DEBUG_SECONDS_OK = 0,
    NGX_HTTP_DEBUG_SECONDS_NONE,       /* not there, or empty */
    NGX_HTTP_DEBUG_SECONDS_INVALID,    /* not a number, or not above zero */
    NGX_HTTP_DEBUG_SECONDS_OVERFLOW    /* more than anybody could wait */
} ngx_http_debug_seconds_result_e;


/*
 * Looks for the first "seconds" in ARGS, the query as received, and stores
 * its milliseconds in *MSEC.  FRACTION: "1.5" is a number too.
 *
 * Source: Go's net/url, parseQuery(); strconv, ParseInt() and ParseFloat().
 */
ngx_http_debug_seconds_result_e ngx_http_debug_seconds(ngx_str_t *args,
    ngx_uint_t fraction, ngx_msec_t *msec);

/* A hash of what ARGS say beside "seconds". */
uint32_t ngx_http_debug_seconds_form(ngx_str_t *args);


#endif /* _NGX_HTTP_DEBUG_SECONDS_H_INCLUDED_ */
