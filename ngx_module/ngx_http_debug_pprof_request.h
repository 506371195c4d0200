
/*
 * What a peer is asked: for a client, and what nginx asks of its own.
 */


#ifndef _NGX_HTTP_DEBUG_PPROF_REQUEST_H_INCLUDED_
#define _NGX_HTTP_DEBUG_PPROF_REQUEST_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_fetch.h"
#include "ngx_http_debug_pprof.h"


/* Directs F to PEER of the group that NAME is; by TLS, unless SSL is NULL. */
void ngx_http_debug_pprof_request_aim(ngx_http_debug_fetch_t *f,
    ngx_http_debug_pprof_ssl_t *ssl, ngx_str_t *name,
    ngx_http_debug_peer_t *peer);

/* The TLS of it alone. */
void ngx_http_debug_pprof_request_tls(ngx_http_debug_fetch_t *f,
    ngx_http_debug_pprof_ssl_t *ssl, ngx_str_t *name);

/*
 * Sets PATH, in POOL, to what stands at REST beside the profiles, whose paths
 * begin with PREFIX.  Returns NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_http_debug_pprof_request_beside(ngx_pool_t *pool,
    ngx_str_t *prefix, ngx_str_t *rest, ngx_str_t *path);

/*
 * Makes F's request, in its pool: METHOD and PATH, with what nginx says of
 * itself.  For R, or for nobody when that is NULL.  Returns NGX_OK or
 * NGX_ERROR.
 */
ngx_int_t ngx_http_debug_pprof_request_small(ngx_http_debug_fetch_t *f,
    char *method, ngx_str_t *path, ngx_http_request_t *r);


#endif /* _NGX_HTTP_DEBUG_PPROF_REQUEST_H_INCLUDED_ */
