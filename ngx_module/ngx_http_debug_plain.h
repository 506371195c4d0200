
/*
 * Errors that nginx itself answers in a location of ours, before any room
 * hears of the request: a denied address, a missing password, a limit.
 *
 * nginx answers them with a page.  Who asks for profiles is a program that
 * would save it as one, so the page is replaced by one plain sentence; the
 * status, and headers such as WWW-Authenticate, stay.
 */


#ifndef _NGX_HTTP_DEBUG_PLAIN_H_INCLUDED_
#define _NGX_HTTP_DEBUG_PLAIN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* Context: configuration, the module's postconfiguration. */
ngx_int_t ngx_http_debug_plain_init(ngx_conf_t *cf);


#endif /* _NGX_HTTP_DEBUG_PLAIN_H_INCLUDED_ */
