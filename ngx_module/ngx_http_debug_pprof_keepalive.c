
/*
 * Signs of life for a proxy in front of us, while the peer profiles.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_answer.h"
#include "ngx_http_debug_kinds.h"
#include "ngx_http_debug_pprof.h"
#include "ngx_http_debug_pprof_ctx.h"
#include "ngx_http_debug_send.h"


static ngx_uint_t ngx_http_debug_pprof_keepalive_is_gzip(
    ngx_http_debug_pprof_ctx_t *ctx);
static void ngx_http_debug_pprof_keepalive_handler(ngx_event_t *ev);
static ngx_int_t ngx_http_debug_pprof_keepalive_header(
    ngx_http_debug_pprof_ctx_t *ctx);


void
ngx_http_debug_pprof_keepalive_start(ngx_http_debug_pprof_ctx_t *ctx)
{
    if (ctx->conf->keepalive == 0
        || !ngx_http_debug_pprof_keepalive_is_gzip(ctx))
    {
        return;
    }

    ctx->keepalive.handler = ngx_http_debug_pprof_keepalive_handler;
    ctx->keepalive.data = ctx;
    ctx->keepalive.log = ctx->request->connection->log;

    ngx_add_timer(&ctx->keepalive, ctx->conf->keepalive);
}


/*
 * Whether the answer will be gzip, as far as can be told now: an empty gzip
 * member in front of anything else would spoil it.  And only a kind that
 * takes its time is worth it.
 */

static ngx_uint_t
ngx_http_debug_pprof_keepalive_is_gzip(ngx_http_debug_pprof_ctx_t *ctx)
{
    ngx_str_t            value;
    ngx_http_request_t  *r;

    r = ctx->request;

    return ctx->seconds > 0
           && !ctx->probe
           && !ctx->legacy
           && !(ctx->flags & NGX_HTTP_DEBUG_KIND_RAW)
           && ngx_http_arg(r, (u_char *) "debug", 5, &value) != NGX_OK
           && ngx_http_arg(r, (u_char *) "format", 6, &value) != NGX_OK;
}


/*
 * The peer is silent, and a proxy in front of us might take that for death:
 * gives it something that amounts to nothing.
 *
 * Format: gzip, RFC 1952: a file is a series of members.
 */

static void
ngx_http_debug_pprof_keepalive_handler(ngx_event_t *ev)
{
    ngx_int_t                    rc;
    ngx_buf_t                   *b;
    ngx_chain_t                  out;
    ngx_connection_t            *c;
    ngx_http_request_t          *r;
    ngx_http_debug_pprof_ctx_t  *ctx;

    static u_char  member[] = {
        0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff,
        0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00
    };

    ctx = ev->data;
    r = ctx->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    if (ctx->gone) {
        return;
    }

    if (ctx->phase == NGX_HTTP_DEBUG_PPROF_ASKED
        && ngx_http_debug_pprof_keepalive_header(ctx) != NGX_OK)
    {
        goto failed;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        goto failed;
    }

    b->pos = member;
    b->last = member + sizeof(member);
    b->memory = 1;
    b->flush = 1;

    out.buf = b;
    out.next = NULL;

    rc = ngx_http_debug_send_body(r, &out);

    if (rc == NGX_ERROR
        || (rc == NGX_AGAIN && ngx_http_debug_pprof_client_arm(r) != NGX_OK))
    {
        goto failed;
    }

    ngx_add_timer(ev, ctx->conf->keepalive);

    return;

failed:

    ngx_http_debug_pprof_client_lost(ctx);
    ngx_http_run_posted_requests(c);
}


static ngx_int_t
ngx_http_debug_pprof_keepalive_header(ngx_http_debug_pprof_ctx_t *ctx)
{
    ngx_str_t            disposition;
    ngx_http_request_t  *r;

    static ngx_str_t  type = ngx_string("application/octet-stream");

    r = ctx->request;

    disposition.data = ngx_pnalloc(r->pool,
                                   sizeof("attachment; filename=\"\"")
                                   + ctx->kind.len);
    if (disposition.data == NULL) {
        return NGX_ERROR;
    }

    disposition.len = ngx_sprintf(disposition.data,
                                  "attachment; filename=\"%V\"", &ctx->kind)
                      - disposition.data;

    if (ngx_http_debug_header_add(r, "Content-Type", &type) != NGX_OK
        || ngx_http_debug_header_add(r, "Content-Disposition", &disposition)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_debug_pprof_answer_send(ctx, NGX_HTTP_OK, -1,
                                            NGX_HTTP_DEBUG_PPROF_EARLY);
}
