
/*
 * The body of a POST, which the peer gets when it is complete.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_answer.h"
#include "ngx_http_debug_body.h"
#include "ngx_http_debug_pprof_ctx.h"


#define NGX_HTTP_DEBUG_PPROF_BODY  (8 * 1024 * 1024)  /* of a POST */


static void ngx_http_debug_pprof_body_handler(ngx_http_request_t *r);
static void ngx_http_debug_pprof_body_read(ngx_http_request_t *r);
static ngx_int_t ngx_http_debug_pprof_body_keep(ngx_http_request_t *r,
    ngx_http_debug_pprof_ctx_t *ctx);


ngx_int_t
ngx_http_debug_pprof_body(ngx_http_request_t *r)
{
    ngx_int_t  rc;

    if (r->headers_in.content_length_n > NGX_HTTP_DEBUG_PPROF_BODY) {
        return ngx_http_debug_answer_literal(r,
                                         NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                         "too many addresses: at most 8 MB");
    }

    /* piece by piece, so that a long one is in no file on its way */

    r->request_body_no_buffering = 1;
    r->request_body_in_file_only = 0;

    rc = ngx_http_read_client_request_body(r,
                                   ngx_http_debug_pprof_body_handler);

    return (rc >= NGX_HTTP_SPECIAL_RESPONSE) ? rc : NGX_DONE;
}


static void
ngx_http_debug_pprof_body_handler(ngx_http_request_t *r)
{
    r->read_event_handler = ngx_http_debug_pprof_body_read;

    ngx_http_debug_pprof_body_read(r);
}


static void
ngx_http_debug_pprof_body_read(ngx_http_request_t *r)
{
    ngx_int_t                    rc;
    ngx_http_debug_pprof_ctx_t  *ctx;

    ctx = ngx_http_debug_pprof_ctx_get(r);

    for ( ;; ) {

        if (ngx_http_debug_pprof_body_keep(r, ctx) != NGX_OK) {
            ngx_http_finalize_request(r, NGX_ERROR);
            return;
        }

        if (ctx->body.size > NGX_HTTP_DEBUG_PPROF_BODY) {
            rc = NGX_HTTP_REQUEST_ENTITY_TOO_LARGE;
            break;
        }

        if (!r->reading_body) {
            rc = NGX_OK;
            break;
        }

        rc = ngx_http_read_unbuffered_request_body(r);

        if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
            break;
        }

        if (rc == NGX_AGAIN && r->request_body->bufs == NULL) {
            return;
        }
    }

    switch (rc) {

    case NGX_OK:
        rc = ngx_http_debug_pprof_carry(ctx);

        if (rc == NGX_DONE) {
            return;
        }

        break;

    case NGX_HTTP_REQUEST_ENTITY_TOO_LARGE:
        rc = ngx_http_debug_answer_literal(r, rc,
                                         "too many addresses: at most 8 MB");
        break;

    case NGX_HTTP_BAD_REQUEST:
        rc = ngx_http_debug_answer_literal(r, rc,
                                         "the body breaks off or is not HTTP");
        break;

    case NGX_HTTP_INTERNAL_SERVER_ERROR:
        rc = NGX_ERROR;
        break;

    default:
        /* NGX_HTTP_REQUEST_TIME_OUT, NGX_HTTP_CLIENT_CLOSED_REQUEST */
        break;
    }

    ngx_http_finalize_request(r, rc);
}


/*
 * Takes what was read of the body out of nginx's one buffer.  A body that was
 * there already stays: others want it, too.
 */

static ngx_int_t
ngx_http_debug_pprof_body_keep(ngx_http_request_t *r,
    ngx_http_debug_pprof_ctx_t *ctx)
{
    size_t        size;
    ngx_buf_t    *b;
    ngx_chain_t  *in, *cl;

    for (in = r->request_body->bufs; in; in = in->next) {

        size = ngx_buf_size(in->buf);

        ctx->body.size += size;

        if (size && ctx->body.size <= NGX_HTTP_DEBUG_PPROF_BODY) {

            cl = ngx_alloc_chain_link(r->pool);
            b = ngx_create_temp_buf(r->pool, size);

            if (cl == NULL
                || b == NULL
                || ngx_http_debug_body_copy(r, b->pos, in->buf) != NGX_OK)
            {
                return NGX_ERROR;
            }

            b->last += size;

            cl->buf = b;
            cl->next = NULL;

            *ctx->body.last = cl;
            ctx->body.last = &cl->next;
        }

        if (r->request_body_no_buffering) {
            in->buf->pos = in->buf->last;
        }
    }

    if (r->request_body_no_buffering) {
        r->request_body->bufs = NULL;
    }

    return NGX_OK;
}
