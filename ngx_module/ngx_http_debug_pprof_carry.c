
/*
 * A profile on its way: from the peer to the client.
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
#include "ngx_http_debug_magic.h"
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
static ngx_int_t ngx_http_debug_pprof_carry_header(ngx_http_debug_fetch_t *f);
static ngx_int_t ngx_http_debug_pprof_carry_body(ngx_http_debug_fetch_t *f,
    ngx_chain_t *in);
static void ngx_http_debug_pprof_carry_fetched(ngx_http_debug_fetch_t *f);
static void ngx_http_debug_pprof_carry_deadline(ngx_event_t *ev);


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

    cln->handler = ngx_http_debug_pprof_client_cleanup;
    cln->data = ctx;

    /* what is shared is on its way until the request itself is over */

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_debug_pprof_busy_leave;
    cln->data = ctx;

    if (!ctx->probe && !(ctx->flags & NGX_HTTP_DEBUG_KIND_TEXT)) {

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
        ngx_http_debug_pprof_client_cleanup(ctx);
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

    r->read_event_handler = ngx_http_debug_pprof_client_read;
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

    if (ctx->probe) {
        ctx->foreign |= f->status != NGX_HTTP_OK
                        || !(ctx->legacy
                             || ngx_http_debug_pprof_answer_is_profiler(f));
        return NGX_OK;
    }

    if (ctx->foreign
        && (ngx_msec_int_t) (ctx->deadline.timer.key - ngx_current_msec)
           > NGX_HTTP_DEBUG_PPROF_PATIENCE)
    {
        ngx_add_timer(&ctx->deadline, NGX_HTTP_DEBUG_PPROF_PATIENCE);
    }

    if (f->status != NGX_HTTP_OK
        || ctx->foreign
        || (ctx->flags & NGX_HTTP_DEBUG_KIND_TEXT))
    {
        return NGX_OK;
    }

    /* an application may have an answer for every path, and of any type */

    ctx->unsure = !ctx->legacy
                  && !ngx_http_debug_pprof_answer_is_profiler(f);

    if (!ctx->unsure) {
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

    if (ctx->unsure) {
        ctx->unsure = 0;

        if (ngx_http_debug_magic(in->buf->pos, in->buf->last - in->buf->pos)) {
            ngx_http_debug_history_taken(&ctx->upstream, &ctx->peer,
                                         &ctx->kind);

        } else {
            ctx->foreign = 1;
        }
    }

    if (!ctx->foreign) {
        ctx->foreign = !ngx_http_debug_pprof_answer_promised(ctx,
                                                             *in->buf->pos);
    }

    if (ctx->foreign) {
        return (f->body_size < NGX_HTTP_DEBUG_PPROF_FOREIGN) ? NGX_OK
                                                             : NGX_DONE;
    }

    if (ctx->share.on && ngx_http_debug_pprof_busy_keep(ctx, &in) != NGX_OK) {
        goto failed;
    }

    if (ctx->gone && !ctx->share.on) {

        /* it is too large for those who joined, and there is nobody else */

        return NGX_DONE;
    }

    if (f->complete) {
        ngx_http_debug_pprof_busy_end(ctx, 1);
    }

    if (ctx->gone) {
        return NGX_OK;
    }

    if (ctx->phase == NGX_HTTP_DEBUG_PPROF_ASKED
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

    if (rc == NGX_OK && ngx_http_debug_pprof_client_sent(in)) {
        return NGX_OK;
    }

    if (ngx_http_debug_pprof_client_arm(r) != NGX_OK) {
        goto failed;
    }

    /* what is shared is a copy: nobody waits for who began it */

    return ctx->share.on ? NGX_OK : NGX_AGAIN;

failed:

    /* the fetch closes itself; what called it runs posted requests */

    return ngx_http_debug_pprof_client_lost(ctx);
}


static void
ngx_http_debug_pprof_carry_fetched(ngx_http_debug_fetch_t *f)
{
    ngx_buf_t                   *b;
    ngx_int_t                    rc;
    ngx_chain_t                  out;
    ngx_http_request_t          *r;
    ngx_http_debug_pprof_ctx_t  *ctx;

    ctx = f->data;
    r = ctx->request;

    ngx_http_set_log_request(r->connection->log, r);

    if (ctx->unsure) {

        /* nothing came */

        ctx->foreign = 1;
    }

    ngx_http_debug_pprof_busy_end(ctx, f->result == NGX_HTTP_DEBUG_FETCH_OK
                                      && !ctx->foreign);

    if (ctx->foreign || f->result != NGX_HTTP_DEBUG_FETCH_OK) {

        if (ctx->gone) {
            ngx_http_debug_pprof_client_end(ctx,
                                           NGX_HTTP_CLIENT_CLOSED_REQUEST);

        } else if (ctx->phase != NGX_HTTP_DEBUG_PPROF_ASKED) {
            ngx_http_debug_pprof_client_cut(ctx);

        } else {
            rc = ngx_http_debug_pprof_answer_failed(ctx);
            ngx_http_debug_pprof_client_end(ctx, rc);
        }

        return;
    }

    ngx_http_debug_runs_refuse(&f->name, 0);

    if (ctx->probe) {
        rc = ngx_http_debug_pprof_answer_head(r, ctx);
        ngx_http_debug_pprof_client_end(ctx, rc);
        return;
    }

    if (ctx->gone) {
        ngx_http_debug_pprof_client_end(ctx, NGX_HTTP_CLIENT_CLOSED_REQUEST);
        return;
    }

    if (ctx->phase == NGX_HTTP_DEBUG_PPROF_EARLY) {

        /* an empty answer is no profile */

        ngx_http_debug_pprof_client_cut(ctx);
        return;
    }

    if (ctx->phase == NGX_HTTP_DEBUG_PPROF_ASKED
        && ngx_http_debug_pprof_answer_header(ctx) != NGX_OK)
    {
        ngx_http_debug_pprof_client_end(ctx, NGX_ERROR);
        return;
    }

    if (r->header_only) {
        ngx_http_debug_pprof_client_end(ctx, NGX_OK);
        return;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        ngx_http_debug_pprof_client_end(ctx, NGX_ERROR);
        return;
    }

    b->last_buf = 1;
    b->last_in_chain = 1;
    b->sync = 1;

    out.buf = b;
    out.next = NULL;

    ngx_http_debug_pprof_client_last(ctx, &out);
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

    if (ctx->phase != NGX_HTTP_DEBUG_PPROF_ASKED) {
        ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT,
                      "the answer of %V is cut by debug_write_timeout",
                      &ctx->fetch.name);

        c->timedout = 1;
        ngx_http_debug_pprof_client_cut(ctx);

    } else if (ctx->gone) {
        ngx_http_debug_pprof_client_end(ctx, NGX_HTTP_CLIENT_CLOSED_REQUEST);

    } else if (ctx->foreign) {
        ctx->fetch.left = 1;
        rc = ngx_http_debug_pprof_answer_failed(ctx);
        ngx_http_debug_pprof_client_end(ctx, rc);

    } else {
        ngx_log_error(NGX_LOG_ERR, c->log, NGX_ETIMEDOUT,
                      "%V answered nothing within debug_write_timeout",
                      &ctx->fetch.name);

        rc = ngx_http_debug_answer_say(r, NGX_HTTP_GATEWAY_TIME_OUT,
                 "%V answered nothing within the %M ms of debug_write_timeout",
                 &ctx->fetch.name, ctx->conf->write_timeout);

        ngx_http_debug_pprof_client_end(ctx, rc);
    }

    ngx_http_run_posted_requests(c);
}


