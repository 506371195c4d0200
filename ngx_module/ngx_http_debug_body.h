
/*
 * The body of a client's request, wherever nginx has put it.
 *
 * Who reads it first has the say: "mirror" reads it for its sub-requests, in
 * as many pieces as it comes in, and "client_body_in_file_only" puts it in a
 * file.  So what was read is copied, and never changed.
 */


#ifndef _NGX_HTTP_DEBUG_BODY_H_INCLUDED_
#define _NGX_HTTP_DEBUG_BODY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * Copies the ngx_buf_size() bytes of B.  Returns NGX_OK, or NGX_ERROR when a
 * file cannot be read (logged).  Context: worker, request.
 */
ngx_int_t ngx_http_debug_body_copy(ngx_http_request_t *r, u_char *p,
    ngx_buf_t *b);


#endif /* _NGX_HTTP_DEBUG_BODY_H_INCLUDED_ */
