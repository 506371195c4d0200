
/*
 * What the peer is asked: the body of the client's request, and the request
 * that is made of both.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_answer.h"
#include "ngx_http_debug_body.h"
#include "ngx_http_debug_pprof.h"
#include "ngx_http_debug_pprof_ctx.h"
#include "ngx_http_debug_via.h"


#define NGX_HTTP_DEBUG_PPROF_BODY     (8 * 1024 * 1024)  /* of a POST */


static void ngx_http_debug_pprof_request_body_handler(ngx_http_request_t *r);
static void ngx_http_debug_pprof_request_read_body(ngx_http_request_t *r);
static ngx_int_t ngx_http_debug_pprof_request_keep_body(ngx_http_request_t *r,
    ngx_http_debug_pprof_ctx_t *ctx);


void
ngx_http_debug_pprof_request_aim(ngx_http_debug_fetch_t *f,
    ngx_http_debug_pprof_conf_t *conf, ngx_http_debug_peer_group_t *group,
    ngx_http_debug_peer_t *peer)
{
    f->name = peer->pass;
    f->sockaddr = peer->sockaddr;
    f->socklen = peer->socklen;

#if (NGX_HTTP_SSL)

    if (conf->ssl != NULL) {
        f->ssl = conf->ssl->ssl;
        f->ssl_verify = conf->ssl->verify;
        f->ssl_server_name = 1;
        f->ssl_name = conf->ssl->name.len ? conf->ssl->name : group->name;
    }

#endif
}


ngx_int_t
ngx_http_debug_pprof_request_body(ngx_http_request_t *r)
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
                                   ngx_http_debug_pprof_request_body_handler);

    return (rc >= NGX_HTTP_SPECIAL_RESPONSE) ? rc : NGX_DONE;
}


static void
ngx_http_debug_pprof_request_body_handler(ngx_http_request_t *r)
{
    r->read_event_handler = ngx_http_debug_pprof_request_read_body;

    ngx_http_debug_pprof_request_read_body(r);
}


static void
ngx_http_debug_pprof_request_read_body(ngx_http_request_t *r)
{
    ngx_int_t                    rc;
    ngx_http_debug_pprof_ctx_t  *ctx;

    ctx = ngx_http_debug_pprof_ctx_get(r);

    for ( ;; ) {

        if (ngx_http_debug_pprof_request_keep_body(r, ctx) != NGX_OK) {
            ngx_http_finalize_request(r, NGX_ERROR);
            return;
        }

        if (ctx->body_size > NGX_HTTP_DEBUG_PPROF_BODY) {
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
ngx_http_debug_pprof_request_keep_body(ngx_http_request_t *r,
    ngx_http_debug_pprof_ctx_t *ctx)
{
    size_t        size;
    ngx_buf_t    *b;
    ngx_chain_t  *in, *cl;

    for (in = r->request_body->bufs; in; in = in->next) {

        size = ngx_buf_size(in->buf);

        ctx->body_size += size;

        if (size && ctx->body_size <= NGX_HTTP_DEBUG_PPROF_BODY) {

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

            *ctx->last_body = cl;
            ctx->last_body = &cl->next;
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


/*
 * The request as the peer gets it.  Of the client's headers only those that
 * say what it can read: cookies and credentials were for nginx, and a
 * profiler has no use for them.
 */

ngx_int_t
ngx_http_debug_pprof_request_create(ngx_http_debug_pprof_ctx_t *ctx)
{
    size_t               len;
    ngx_buf_t           *b;
    ngx_str_t            host;
    ngx_uint_t           i;
    ngx_chain_t         *cl;
    ngx_table_elt_t     *h[5], *forwarded;
    ngx_http_request_t  *r;

    static char  *pass[] = { "accept", "accept-encoding", "content-type",
                             "user-agent", NULL };
    static char  *names[] = { "Accept", "Accept-Encoding", "Content-Type",
                              "User-Agent", NULL };

    r = ctx->request;

    ngx_http_debug_fetch_host(&ctx->fetch, &host);

    forwarded = ngx_http_debug_header_find(r, "x-forwarded-for");

    len = r->method_name.len + 1 + ctx->uri.len + sizeof(" HTTP/1.1" CRLF)
          + sizeof("Host: " CRLF) + host.len
          + sizeof("Connection: close" CRLF)
          + sizeof("X-Forwarded-For: , " CRLF)
          + r->connection->addr_text.len
          + (forwarded ? forwarded->value.len : 0)
          + NGX_HTTP_DEBUG_VIA_LINE
          + sizeof("Content-Length: " CRLF) + NGX_OFF_T_LEN
          + sizeof(CRLF);

    for (i = 0; pass[i]; i++) {
        h[i] = ngx_http_debug_header_find(r, pass[i]);

        if (h[i] != NULL) {
            len += sizeof("Accept-Encoding: " CRLF) + h[i]->value.len;
        }
    }

    b = ngx_create_temp_buf(r->pool, len);
    cl = ngx_alloc_chain_link(r->pool);

    if (b == NULL || cl == NULL) {
        return NGX_ERROR;
    }

    b->last = ngx_sprintf(b->last, "%V %V HTTP/1.1" CRLF
                                   "Host: %V" CRLF
                                   "Connection: close" CRLF,
                          &r->method_name, &ctx->uri, &host);

    for (i = 0; pass[i]; i++) {
        if (h[i] != NULL) {
            b->last = ngx_sprintf(b->last, "%s: %V" CRLF, names[i],
                                  &h[i]->value);
        }
    }

    b->last = ngx_cpymem(b->last, "X-Forwarded-For: ",
                         sizeof("X-Forwarded-For: ") - 1);

    if (forwarded != NULL) {
        b->last = ngx_sprintf(b->last, "%V, ", &forwarded->value);
    }

    b->last = ngx_sprintf(b->last, "%V" CRLF, &r->connection->addr_text);

    b->last = ngx_http_debug_via_line(b->last, r);

    if (r->method == NGX_HTTP_POST) {
        b->last = ngx_sprintf(b->last, "Content-Length: %O" CRLF,
                              ctx->body_size);
    }

    b->last = ngx_cpymem(b->last, CRLF, sizeof(CRLF) - 1);

    cl->buf = b;
    cl->next = ctx->body;

    ctx->fetch.request = cl;

    return NGX_OK;
}
