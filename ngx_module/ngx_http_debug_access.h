
/*
 * Who may ask: the directive
 *
 *     debug_access loopback | all | CIDR...    ngx_http_debug_access_set()
 *
 * and what a browser is kept from doing for somebody else's page.
 *
 * "loopback" means somebody on this machine who means this nginx.  A
 * connection from a loopback address is not yet that: a proxy on this machine
 * has one for all the world, and so has a browser on it, for whatever page it
 * shows.  A proxy says so, in the PROXY protocol or in a header; a page that
 * made its own name point at this machine (DNS rebinding) still has that name
 * in "Host".
 */


#ifndef _NGX_HTTP_DEBUG_ACCESS_H_INCLUDED_
#define _NGX_HTTP_DEBUG_ACCESS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


typedef struct {
    ngx_array_t  *cidrs;     /* of ngx_cidr_t; NULL: none */
    ngx_flag_t    loopback;  /* with neither, all may */
    ngx_array_t   names;     /* of ngx_http_server_name_t: the server's */
} ngx_http_debug_access_conf_t;


/* Context of these: configuration. */

void ngx_http_debug_access_create_conf(ngx_http_debug_access_conf_t *conf);
void ngx_http_debug_access_merge_conf(ngx_http_debug_access_conf_t *prev,
    ngx_http_debug_access_conf_t *conf);

/*
 * CONF is of a location of ours, in the server that is being merged.  Returns
 * NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_http_debug_access_merge_location(ngx_conf_t *cf,
    ngx_http_debug_access_conf_t *conf);

/* The setter finds the member at the command's "offset". */
char *ngx_http_debug_access_set(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


/* Context of these: worker, request. */

/*
 * Returns NGX_DECLINED: the client may ask; or what a content handler
 * returns, after a sentence that says what to do.
 */
ngx_int_t ngx_http_debug_access(ngx_http_request_t *r,
    ngx_http_debug_access_conf_t *conf);

/*
 * Whether a page of another site asks.  Browsers say it in Sec-Fetch-Site,
 * and on plain HTTP, or older ones, in Origin; programs say nothing.
 */
ngx_uint_t ngx_http_debug_access_foreign(ngx_http_request_t *r);

/*
 * Refuses that, where the answer would cost a peer something.  Returns
 * NGX_DECLINED when none does, or what a content handler returns.
 */
ngx_int_t ngx_http_debug_access_site(ngx_http_request_t *r);


#endif /* _NGX_HTTP_DEBUG_ACCESS_H_INCLUDED_ */
