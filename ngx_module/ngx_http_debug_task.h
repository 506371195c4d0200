
/*
 * A big answer, made piece by piece: one piece an event-loop turn, so that
 * no other request waits for the whole of it.
 */


#ifndef _NGX_HTTP_DEBUG_TASK_H_INCLUDED_
#define _NGX_HTTP_DEBUG_TASK_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_out.h"


/*
 * Appends one piece.  NGX_AGAIN: there is more; NGX_OK: that was all.
 * A failure is remembered by the output.
 */
typedef ngx_int_t (*ngx_http_debug_task_pt)(void *data);


/*
 * Calls STEP with DATA until it is done, then sends OUT, which STEP fills,
 * as TYPE.  TYPE must last.  Returns what a content handler returns.
 * Context: worker, request.
 */
ngx_int_t ngx_http_debug_task_run(ngx_http_request_t *r, ngx_str_t *type,
    ngx_http_debug_out_t *out, ngx_http_debug_task_pt step, void *data);


#endif /* _NGX_HTTP_DEBUG_TASK_H_INCLUDED_ */
