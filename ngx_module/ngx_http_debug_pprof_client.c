
/*
 * The client of a profile request: he reads, stalls or leaves, and his request
 * ends.  Whatever else goes on for it is stopped here.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_fetch.h"
#include "ngx_http_debug_pprof_ctx.h"
#include "ngx_http_debug_runs.h"
#include "ngx_http_debug_send.h"


static ngx_uint_t ngx_http_debug_pprof_client_closed(ngx_http_request_t *r);
static ngx_int_t ngx_http_debug_pprof_client_leaves(
    ngx_http_debug_pprof_ctx_t *ctx);
static void ngx_http_debug_pprof_client_state(
    ngx_http_debug_pprof_ctx_t *ctx);


void
ngx_http_debug_pprof_client_read(ngx_http_request_t *r)
{
    ngx_http_debug_pprof_ctx_t  *ctx;

    ctx = ngx_http_debug_pprof_ctx_get(r);

    if (ctx->share.on
        && ngx_http_debug_pprof_client_closed(r)
        && ngx_http_debug_pprof_client_leaves(ctx) == NGX_OK)
    {
        return;
    }

    ngx_http_test_reading(r);
}


/* What ngx_http_test_reading() would find. */

static ngx_uint_t
ngx_http_debug_pprof_client_closed(ngx_http_request_t *r)
{
    ssize_t            n;
    u_char             buf[1];
    ngx_connection_t  *c;

    c = r->connection;

    if (r->stream) {
        return c->error;
    }

#if (NGX_HTTP_V3)
    if (c->quic) {
        return c->read->error;
    }
#endif

#if (NGX_HAVE_EPOLLRDHUP)

    /* of TLS, recv() would find the goodbye and take it for a word */

    if ((ngx_event_flags & NGX_USE_EPOLL_EVENT) && ngx_use_epoll_rdhup) {
        return c->read->pending_eof;
    }

#endif

    n = recv(c->fd, buf, 1, MSG_PEEK);

    return n == 0 || (n == -1 && ngx_socket_errno != NGX_EAGAIN);
}


void
ngx_http_debug_pprof_client_write(ngx_http_request_t *r)
{
    ngx_int_t                    rc;
    ngx_http_debug_pprof_ctx_t  *ctx;

    ctx = ngx_http_debug_pprof_ctx_get(r);

    /*
     * The event may be for nothing: with an edge-triggered method, whatever
     * comes from the client brings it.
     */

    rc = ngx_http_debug_send_waits(r) ? ngx_http_debug_send_body(r, NULL)
                                      : NGX_OK;

    if (rc == NGX_ERROR || ngx_http_debug_pprof_client_arm(r) != NGX_OK) {
        goto failed;
    }

    if (rc == NGX_AGAIN
        || !ngx_http_debug_pprof_client_sent(ctx->fetch.slices))
    {
        return;
    }

    if (ctx->phase == NGX_HTTP_DEBUG_PPROF_LAST) {
        ngx_http_debug_pprof_client_end(ctx, rc);
        return;
    }

    ngx_http_debug_fetch_resume(&ctx->fetch);

    return;

failed:

    if (ngx_http_debug_pprof_client_lost(ctx) == NGX_OK) {
        ngx_http_debug_fetch_resume(&ctx->fetch);
    }
}


ngx_int_t
ngx_http_debug_pprof_client_arm(ngx_http_request_t *r)
{
    ngx_http_core_loc_conf_t  *clcf;

    /*
     * No send_timeout: it bounds the pause between two writes, and the
     * deadline bounds the whole answer.
     */

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    return ngx_handle_write_event(r->connection->write, clcf->send_lowat);
}


ngx_uint_t
ngx_http_debug_pprof_client_sent(ngx_chain_t *in)
{
    for ( /* void */ ; in; in = in->next) {
        if (ngx_buf_size(in->buf) != 0) {
            return 0;
        }
    }

    return 1;
}


ngx_int_t
ngx_http_debug_pprof_client_lost(ngx_http_debug_pprof_ctx_t *ctx)
{
    if (ngx_http_debug_pprof_client_leaves(ctx) == NGX_OK) {
        return NGX_OK;
    }

    ngx_http_debug_pprof_client_end(ctx, NGX_ERROR);

    return NGX_ERROR;
}


/* NGX_OK: the profile goes on for those who joined. */

static ngx_int_t
ngx_http_debug_pprof_client_leaves(ngx_http_debug_pprof_ctx_t *ctx)
{
    if (!ctx->share.on || ngx_http_debug_runs_seen(&ctx->share.run) == 0) {
        return NGX_DECLINED;
    }

    ctx->gone = 1;
    ctx->request->read_event_handler = ngx_http_block_reading;
    ctx->request->write_event_handler = ngx_http_request_empty_handler;

    return NGX_OK;
}


void
ngx_http_debug_pprof_client_last(ngx_http_debug_pprof_ctx_t *ctx,
    ngx_chain_t *out)
{
    ngx_int_t  rc;

    ctx->phase = NGX_HTTP_DEBUG_PPROF_LAST;

    rc = ngx_http_debug_send_body(ctx->request, out);

    if (rc == NGX_AGAIN) {

        if (ngx_http_debug_pprof_client_arm(ctx->request) == NGX_OK) {

            /* under the deadline, until the client has it all */

            return;
        }

        rc = NGX_ERROR;
    }

    ngx_http_debug_pprof_client_end(ctx, rc);
}


void
ngx_http_debug_pprof_client_end(ngx_http_debug_pprof_ctx_t *ctx, ngx_int_t rc)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    ngx_http_debug_pprof_client_cleanup(ctx);

    r->read_event_handler = ngx_http_block_reading;

    r->connection->log->action = "sending to client";

    ngx_http_finalize_request(r, rc);
}


/*
 * Ends an answer that cannot be completed.  Chunks lack the last, a length
 * is not reached, an HTTP/2 stream is reset: the client sees it.  With
 * HTTP/1.0 and no length only a reset connection tells.
 */

void
ngx_http_debug_pprof_client_cut(ngx_http_debug_pprof_ctx_t *ctx)
{
    struct linger        linger;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ctx->request;
    c = r->connection;

    if (!r->stream
        && !r->chunked
        && r->headers_out.content_length_n == -1)
    {
        linger.l_onoff = 1;
        linger.l_linger = 0;

        if (setsockopt(c->fd, SOL_SOCKET, SO_LINGER,
                       (const void *) &linger, sizeof(struct linger))
            == -1)
        {
            ngx_log_error(NGX_LOG_ALERT, c->log, ngx_socket_errno,
                          "setsockopt(SO_LINGER) failed");
        }

#if (NGX_HTTP_SSL)
        if (c->ssl) {
            c->ssl->no_wait_shutdown = 1;
            c->ssl->no_send_shutdown = 1;
        }
#endif
    }

    ngx_http_debug_pprof_client_end(ctx, NGX_ERROR);
}


void
ngx_http_debug_pprof_client_cleanup(void *data)
{
    ngx_http_debug_pprof_ctx_t *ctx = data;

    if (ctx->phase == NGX_HTTP_DEBUG_PPROF_ENDED) {
        return;
    }

    ctx->phase = NGX_HTTP_DEBUG_PPROF_ENDED;

    if (ctx->deadline.timer_set) {
        ngx_del_timer(&ctx->deadline);
    }

    if (ctx->share.tick.timer_set) {
        ngx_del_timer(&ctx->share.tick);
    }

    if (ctx->keepalive.timer_set) {
        ngx_del_timer(&ctx->keepalive);
    }

    ngx_http_debug_runs_end(&ctx->share.run, NULL, 0);

    ngx_http_debug_fetch_close(&ctx->fetch);
    ngx_http_debug_pprof_client_state(ctx);
}


/* For $upstream_addr and its like in the access log. */

static void
ngx_http_debug_pprof_client_state(ngx_http_debug_pprof_ctx_t *ctx)
{
    ngx_http_request_t         *r;
    ngx_http_debug_fetch_t     *f;
    ngx_http_upstream_state_t  *state;

    r = ctx->request;
    f = &ctx->fetch;

    if (f->parse == NULL) {

        /* none was asked */

        return;
    }

    if (r->upstream_states == NULL) {
        r->upstream_states = ngx_array_create(r->pool, 1,
                                            sizeof(ngx_http_upstream_state_t));
        if (r->upstream_states == NULL) {
            return;
        }
    }

    state = ngx_array_push(r->upstream_states);
    if (state == NULL) {
        return;
    }

    ngx_memzero(state, sizeof(ngx_http_upstream_state_t));

    state->peer = &f->name;
    state->status = f->status ? f->status
                    : (f->result == NGX_HTTP_DEBUG_FETCH_TIMEOUT)
                      ? NGX_HTTP_GATEWAY_TIME_OUT
                    : (f->result != NGX_HTTP_DEBUG_FETCH_OK)
                      ? NGX_HTTP_BAD_GATEWAY : 0;
    state->response_time = ngx_current_msec - f->start_time;
    state->connect_time = f->connect_time;
    state->header_time = f->header_time;
    state->bytes_received = f->received;
    state->bytes_sent = f->sent;
    state->response_length = f->body_size;
}
