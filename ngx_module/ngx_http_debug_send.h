
/*
 * The short way out: an answer that no filter may touch.
 *
 * A profile is bytes for a program to read.  gzip, sub_filter, charset, ssi,
 * addition, add_header, expires, ranges and whatever else is configured for
 * the pages of a site would spoil it, and "…_types *" makes most of them
 * indifferent to the media type.  So headers and bodies of profile answers
 * enter the filter chain below all of these: at HTTP/2, HTTP/3 and chunks.
 *
 * That place is found by the order of modules (ngx_module_order in "config"):
 * what is on top of the chain when this module is initialized is what is
 * below it.  Where the order is another, as with --add-module, the answers
 * take the whole chain.
 */


#ifndef _NGX_HTTP_DEBUG_SEND_H_INCLUDED_
#define _NGX_HTTP_DEBUG_SEND_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* Context: configuration, the module's postconfiguration. */
ngx_int_t ngx_http_debug_send_init(ngx_conf_t *cf);

/*
 * Instead of ngx_http_send_header().  Returns the same.
 *
 * Context: worker, request.
 */
ngx_int_t ngx_http_debug_send_header(ngx_http_request_t *r);

/*
 * Instead of ngx_http_output_filter().  Returns the same.
 *
 * Context: worker, request.
 */
ngx_int_t ngx_http_debug_send_body(ngx_http_request_t *r, ngx_chain_t *in);

/*
 * Whether some of what was sent waits for the client.  When not, there is
 * nothing that a write event could be for, and nginx takes a body of nothing
 * for a fault ("the http output chain is empty").
 */
ngx_uint_t ngx_http_debug_send_waits(ngx_http_request_t *r);


#endif /* _NGX_HTTP_DEBUG_SEND_H_INCLUDED_ */
