
/*
 * The header by which an nginx knows its own requests again.
 *
 * A debug location may be its own peer: an upstream names the port of this
 * very server, or a proxy leads back to it, or two nginx ask each other.  Each
 * request would then make the next one until there are no connections left.
 * So whatever is sent to a peer says whom it passed, as "Via" does for
 * proxies, and who finds itself there refuses:
 *
 *     X-Debug-Via: 5b1e33f1a0c2d497, 0c7a9d3e55f10b26
 *
 * A client may write one as well; that gets it refused, or is left out.
 */


#ifndef _NGX_HTTP_DEBUG_VIA_H_INCLUDED_
#define _NGX_HTTP_DEBUG_VIA_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


#define NGX_HTTP_DEBUG_VIA_NAME   16    /* bytes of a name */
#define NGX_HTTP_DEBUG_VIA_HOPS   8     /* names at most */

#define NGX_HTTP_DEBUG_VIA_LINE                                               \
    (sizeof("X-Debug-Via: " CRLF) - 1                                         \
     + NGX_HTTP_DEBUG_VIA_HOPS * (NGX_HTTP_DEBUG_VIA_NAME + sizeof(", ") - 1))

#define NGX_HTTP_DEBUG_LOOP       508   /* Loop Detected, RFC 5842 */


/* Context: configuration. */
void ngx_http_debug_via_init(ngx_cycle_t *cycle);

/*
 * Returns NGX_DECLINED, or what a content handler returns when the request is
 * one of our own.  Context: worker, request.
 */
ngx_int_t ngx_http_debug_via_check(ngx_http_request_t *r);

/*
 * Writes the header's line, NGX_HTTP_DEBUG_VIA_LINE bytes at most, of what is
 * asked for R, or for nobody when that is NULL.  Returns the end of it.
 */
u_char *ngx_http_debug_via_line(u_char *p, ngx_http_request_t *r);


#endif /* _NGX_HTTP_DEBUG_VIA_H_INCLUDED_ */
