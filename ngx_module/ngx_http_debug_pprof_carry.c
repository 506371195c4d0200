
/*
 * A profile on its way: from the peer to the client, to whatever end.
 *
 * What comes is passed on as it comes, and nothing is tried twice.  Until the
 * header of an answer was sent, whatever goes wrong is told in a sentence;
 * after it, the answer is cut so that it does not look complete.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_answer.h"
#include "ngx_http_debug_fetch.h"
#include "ngx_http_debug_history.h"
#include "ngx_http_debug_kinds.h"
#include "ngx_http_debug_pprof.h"
#include "ngx_http_debug_pprof_ctx.h"
#include "ngx_http_debug_runs.h"
#include "ngx_http_debug_send.h"


#define NGX_HTTP_DEBUG_PPROF_CONNECT  5000   /* ms to connect within */

/* what of a foreign answer is waited for, and how long, ms */
#define NGX_HTTP_DEBUG_PPROF_FOREIGN  16384
#define NGX_HTTP_DEBUG_PPROF_PATIENCE 2000


static ngx_int_t ngx_http_debug_pprof_carry_wait(
    ngx_http_debug_pprof_ctx_t *ctx);
static void ngx_http_debug_pprof_carry_read(ngx_http_request_t *r);
static ngx_uint_t ngx_http_debug_pprof_carry_client_closed(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_debug_pprof_carry_header(ngx_http_debug_fetch_t *f);
static ngx_int_t ngx_http_debug_pprof_carry_body(ngx_http_debug_fetch_t *f,
    ngx_chain_t *in);
static ngx_uint_t ngx_http_debug_pprof_carry_sent(ngx_chain_t *in);
static void ngx_http_debug_pprof_carry_fetched(ngx_http_debug_fetch_t *f);
static ngx_int_t ngx_http_debug_pprof_carry_send_last(ngx_http_request_t *r);
static void ngx_http_debug_pprof_carry_deadline(ngx_event_t *ev);
static void ngx_http_debug_pprof_carry_cleanup(void *data);
static void ngx_http_debug_pprof_carry_state(ngx_http_debug_pprof_ctx_t *ctx);


ngx_int_t
ngx_http_debug_pprof_carry(ngx_http_debug_pprof_ctx_t *ctx)
{
    ngx_int_t                rc;
    ngx_http_cleanup_t      *cln;
    ngx_http_request_t      *r;
    ngx_http_debug_fetch_t  *f;

    r = ctx->request;
    f = &ctx->fetch;

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_debug_pprof_carry_cleanup;
    cln->data = ctx;

    /* what is shared is on its way until the request itself is over */

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_debug_pprof_busy_leave;
    cln->data = ctx;

    if (!(ctx->flags & NGX_HTTP_DEBUG_KIND_TEXT)) {

        rc = ngx_http_debug_pprof_busy_begin(ctx);

        if (rc == NGX_DONE) {

            /* another one's profile will be this one's too */

            return ngx_http_debug_pprof_carry_wait(ctx);
        }

        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    f->pool = r->pool;
    f->log = r->connection->log;
    f->client = r->connection;
    f->data = ctx;
    f->head = (r->method == NGX_HTTP_HEAD);

    f->connect_timeout = ngx_min(NGX_HTTP_DEBUG_PPROF_CONNECT,
                                 ctx->conf->write_timeout);
    f->header = ngx_http_debug_pprof_carry_header;
    f->body = ngx_http_debug_pprof_carry_body;
    f->end = ngx_http_debug_pprof_carry_fetched;

    if (ngx_http_debug_pprof_request_create(ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    r->connection->log->action = "asking a peer for a profile";

    if (ngx_http_debug_fetch_start(f) != NGX_OK) {
        ngx_http_debug_pprof_carry_cleanup(ctx);
        return ngx_http_debug_pprof_answer_failed(ctx);
    }

    return ngx_http_debug_pprof_carry_wait(ctx);
}


/* From here on the request waits for events. */

static ngx_int_t
ngx_http_debug_pprof_carry_wait(ngx_http_debug_pprof_ctx_t *ctx)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ctx->request;
    c = r->connection;

    ctx->deadline.handler = ngx_http_debug_pprof_carry_deadline;
    ctx->deadline.data = ctx;
    ctx->deadline.log = c->log;

    ngx_add_timer(&ctx->deadline, ctx->conf->write_timeout);

    ngx_http_debug_pprof_busy_wait(ctx);
    ngx_http_debug_pprof_keepalive_start(ctx);

    /* a client that leaves ends the profile */

    r->read_event_handler = ngx_http_debug_pprof_carry_read;
    r->write_event_handler = ngx_http_request_empty_handler;

    if (r->stream) {
        return NGX_DONE;
    }

#if (NGX_HTTP_V3)
    if (c->quic) {
        return NGX_DONE;
    }
#endif

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    if (c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);

    } else if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    return NGX_DONE;
}


/* Something of the client's: its end, mostly. */

static void
ngx_http_debug_pprof_carry_read(ngx_http_request_t *r)
{
    ngx_http_debug_pprof_ctx_t  *ctx;

    ctx = ngx_http_debug_pprof_ctx_get(r);

    if (ctx->shared
        && ngx_http_debug_pprof_carry_client_closed(r)
        && ngx_http_debug_runs_seen(&ctx->run))
    {
        /* the profile goes on for those who joined */

        ctx->gone = 1;
        r->read_event_handler = ngx_http_block_reading;
        return;
    }

    ngx_http_test_reading(r);
}


/* What ngx_http_test_reading() would find. */

static ngx_uint_t
ngx_http_debug_pprof_carry_client_closed(ngx_http_request_t *r)
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


/*
 * The header waits for the first bytes of the body: while it waits, what goes
 * wrong can still be told.
 */

static ngx_int_t
ngx_http_debug_pprof_carry_header(ngx_http_debug_fetch_t *f)
{
    ngx_http_debug_pprof_ctx_t *ctx = f->data;

    /* told when it has ended, or soon, since it may have no end */

    ctx->foreign = ngx_http_debug_pprof_answer_is_foreign(f);

    if (ctx->foreign
        && (ngx_msec_int_t) (ctx->deadline.timer.key - ngx_current_msec)
           > NGX_HTTP_DEBUG_PPROF_PATIENCE)
    {
        ngx_add_timer(&ctx->deadline, NGX_HTTP_DEBUG_PPROF_PATIENCE);
    }

    if (f->status == NGX_HTTP_OK && !ctx->foreign
        && !(ctx->flags & NGX_HTTP_DEBUG_KIND_TEXT))
    {
        ngx_http_debug_history_taken(&ctx->upstream, &ctx->peer, &ctx->kind);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_debug_pprof_carry_body(ngx_http_debug_fetch_t *f, ngx_chain_t *in)
{
    ngx_int_t                    rc;
    ngx_chain_t                 *cl;
    ngx_http_request_t          *r;
    ngx_http_debug_pprof_ctx_t  *ctx;

    ctx = f->data;
    r = ctx->request;

    if (ctx->keepalive.timer_set) {
        ngx_del_timer(&ctx->keepalive);
    }

    if (ctx->early && !ctx->checked) {

        /* what was promised is a profile */

        ctx->checked = 1;
        ctx->foreign |= (f->status != NGX_HTTP_OK || *in->buf->pos != 0x1f);
    }

    if (ctx->foreign) {
        return (f->body_size < NGX_HTTP_DEBUG_PPROF_FOREIGN) ? NGX_OK
                                                             : NGX_DONE;
    }

    if (ctx->shared && ngx_http_debug_pprof_busy_keep(ctx, &in) != NGX_OK) {
        goto failed;
    }

    if (ctx->gone && !ctx->shared) {

        /* it is too large for those who joined, and there is nobody else */

        return NGX_DONE;
    }

    if (f->complete) {
        ngx_http_debug_pprof_busy_end(ctx, 1);
    }

    if (ctx->gone) {
        return NGX_OK;
    }

    if (!ctx->header_sent
        && ngx_http_debug_pprof_answer_header(ctx) != NGX_OK)
    {
        goto failed;
    }

    for (cl = in; cl->next; cl = cl->next) { /* void */ }

    cl->buf->flush = 1;

    rc = ngx_http_debug_send_body(r, in);

    if (rc == NGX_ERROR) {
        goto failed;
    }

    if (rc == NGX_OK && ngx_http_debug_pprof_carry_sent(in)) {
        return NGX_OK;
    }

    if (ngx_http_debug_pprof_carry_arm(r) != NGX_OK) {
        goto failed;
    }

    /* what is shared is a copy: nobody waits for who began it */

    return ctx->shared ? NGX_OK : NGX_AGAIN;

failed:

    /* the fetch closes itself; what called it runs posted requests */

    return ngx_http_debug_pprof_carry_lost(ctx);
}


/* Whether nothing of IN is waiting anywhere. */

static ngx_uint_t
ngx_http_debug_pprof_carry_sent(ngx_chain_t *in)
{
    for ( /* void */ ; in; in = in->next) {
        if (ngx_buf_size(in->buf) != 0) {
            return 0;
        }
    }

    return 1;
}


void
ngx_http_debug_pprof_carry_write(ngx_http_request_t *r)
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

    if (rc == NGX_ERROR || ngx_http_debug_pprof_carry_arm(r) != NGX_OK) {
        goto failed;
    }

    if (rc == NGX_AGAIN
        || !ngx_http_debug_pprof_carry_sent(ctx->fetch.slices))
    {
        return;
    }

    if (ctx->last) {
        ngx_http_debug_pprof_carry_end(ctx, rc);
        return;
    }

    ngx_http_debug_fetch_resume(&ctx->fetch);

    return;

failed:

    if (ngx_http_debug_pprof_carry_lost(ctx) == NGX_OK) {
        ngx_http_debug_fetch_resume(&ctx->fetch);
    }
}


ngx_int_t
ngx_http_debug_pprof_carry_arm(ngx_http_request_t *r)
{
    ngx_http_core_loc_conf_t  *clcf;

    /*
     * No send_timeout: it bounds the pause between two writes, and the
     * deadline bounds the whole answer.
     */

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    return ngx_handle_write_event(r->connection->write, clcf->send_lowat);
}


static void
ngx_http_debug_pprof_carry_fetched(ngx_http_debug_fetch_t *f)
{
    ngx_int_t                    rc;
    ngx_http_request_t          *r;
    ngx_http_debug_pprof_ctx_t  *ctx;

    ctx = f->data;
    r = ctx->request;

    ngx_http_set_log_request(r->connection->log, r);

    ngx_http_debug_pprof_busy_end(ctx, f->result == NGX_HTTP_DEBUG_FETCH_OK
                                      && !ctx->foreign);

    if (ctx->foreign || f->result != NGX_HTTP_DEBUG_FETCH_OK) {

        if (ctx->gone) {
            ngx_http_debug_pprof_carry_end(ctx,
                                           NGX_HTTP_CLIENT_CLOSED_REQUEST);

        } else if (ctx->header_sent) {
            ngx_http_debug_pprof_carry_cut(ctx);

        } else {
            rc = ngx_http_debug_pprof_answer_failed(ctx);
            ngx_http_debug_pprof_carry_end(ctx, rc);
        }

        return;
    }

    ngx_http_debug_runs_refuse(&f->name, 0);

    if (ctx->gone) {
        ngx_http_debug_pprof_carry_end(ctx, NGX_HTTP_CLIENT_CLOSED_REQUEST);
        return;
    }

    if (ctx->early && !ctx->checked) {

        /* an empty answer is no profile */

        ngx_http_debug_pprof_carry_cut(ctx);
        return;
    }

    if (!ctx->header_sent
        && ngx_http_debug_pprof_answer_header(ctx) != NGX_OK)
    {
        ngx_http_debug_pprof_carry_end(ctx, NGX_ERROR);
        return;
    }

    if (r->header_only) {
        ngx_http_debug_pprof_carry_end(ctx, NGX_OK);
        return;
    }

    ctx->last = 1;

    rc = ngx_http_debug_pprof_carry_send_last(r);

    if (rc == NGX_AGAIN && ngx_http_debug_pprof_carry_arm(r) == NGX_OK) {
        /* under the deadline, until the client has it all */
        return;
    }

    ngx_http_debug_pprof_carry_end(ctx, (rc == NGX_AGAIN) ? NGX_ERROR : rc);
}


static ngx_int_t
ngx_http_debug_pprof_carry_send_last(ngx_http_request_t *r)
{
    ngx_buf_t   *b;
    ngx_chain_t  out;

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->last_buf = 1;
    b->last_in_chain = 1;
    b->sync = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_debug_send_body(r, &out);
}


ngx_int_t
ngx_http_debug_pprof_carry_lost(ngx_http_debug_pprof_ctx_t *ctx)
{
    if (ctx->shared && ngx_http_debug_runs_seen(&ctx->run)) {
        ctx->gone = 1;
        ctx->request->read_event_handler = ngx_http_block_reading;
        ctx->request->write_event_handler = ngx_http_request_empty_handler;

        return NGX_OK;
    }

    ngx_http_debug_pprof_carry_end(ctx, NGX_ERROR);

    return NGX_ERROR;
}


void
ngx_http_debug_pprof_carry_end(ngx_http_debug_pprof_ctx_t *ctx, ngx_int_t rc)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    ngx_http_debug_pprof_carry_cleanup(ctx);

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
ngx_http_debug_pprof_carry_cut(ngx_http_debug_pprof_ctx_t *ctx)
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

    ngx_http_debug_pprof_carry_end(ctx, NGX_ERROR);
}


/* debug_write_timeout is over. */

static void
ngx_http_debug_pprof_carry_deadline(ngx_event_t *ev)
{
    ngx_int_t                    rc;
    ngx_connection_t            *c;
    ngx_http_request_t          *r;
    ngx_http_debug_pprof_ctx_t  *ctx;

    ctx = ev->data;
    r = ctx->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    ngx_http_debug_pprof_busy_end(ctx, 0);

    if (ctx->header_sent) {
        ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT,
                      "the answer of %V is cut by debug_write_timeout",
                      &ctx->fetch.name);

        c->timedout = 1;
        ngx_http_debug_pprof_carry_cut(ctx);

    } else if (ctx->gone) {
        ngx_http_debug_pprof_carry_end(ctx, NGX_HTTP_CLIENT_CLOSED_REQUEST);

    } else if (ctx->foreign) {
        ctx->fetch.left = 1;
        rc = ngx_http_debug_pprof_answer_failed(ctx);
        ngx_http_debug_pprof_carry_end(ctx, rc);

    } else {
        ngx_log_error(NGX_LOG_ERR, c->log, NGX_ETIMEDOUT,
                      "%V answered nothing within debug_write_timeout",
                      &ctx->fetch.name);

        rc = ngx_http_debug_answer_say(r, NGX_HTTP_GATEWAY_TIME_OUT,
                 "%V answered nothing within the %M ms of debug_write_timeout",
                 &ctx->fetch.name, ctx->conf->write_timeout);

        ngx_http_debug_pprof_carry_end(ctx, rc);
    }

    ngx_http_run_posted_requests(c);
}


/* Stops all that may still happen.  Any number of times. */

static void
ngx_http_debug_pprof_carry_cleanup(void *data)
{
    ngx_http_debug_pprof_ctx_t *ctx = data;

    if (ctx->deadline.timer_set) {
        ngx_del_timer(&ctx->deadline);
    }

    if (ctx->tick.timer_set) {
        ngx_del_timer(&ctx->tick);
    }

    if (ctx->keepalive.timer_set) {
        ngx_del_timer(&ctx->keepalive);
    }

    ngx_http_debug_runs_end(&ctx->run, NULL, 0);

    ngx_http_debug_fetch_close(&ctx->fetch);
    ngx_http_debug_pprof_carry_state(ctx);
}


/* For $upstream_addr and its like in the access log. */

static void
ngx_http_debug_pprof_carry_state(ngx_http_debug_pprof_ctx_t *ctx)
{
    ngx_http_request_t         *r;
    ngx_http_debug_fetch_t     *f;
    ngx_http_upstream_state_t  *state;

    r = ctx->request;
    f = &ctx->fetch;

    if (ctx->logged || f->parse == NULL) {

        /* or none was asked */

        return;
    }

    ctx->logged = 1;

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
