
/*
 * Is the peer free?  What becomes of a second profile of it: refused with a
 * word of the first one, or given the first one's bytes.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_answer.h"
#include "ngx_http_debug_kinds.h"
#include "ngx_http_debug_pprof.h"
#include "ngx_http_debug_pprof_ctx.h"
#include "ngx_http_debug_runs.h"
#include "ngx_http_debug_seconds.h"


#define NGX_HTTP_DEBUG_PPROF_POLL     50     /* ms between looks at a run */
#define NGX_HTTP_DEBUG_PPROF_ALIVE    1000   /* ms between signs of life */


static void ngx_http_debug_pprof_busy_tick(ngx_event_t *ev);
static void ngx_http_debug_pprof_busy_publish(ngx_http_debug_pprof_ctx_t *ctx);
static void ngx_http_debug_pprof_busy_send(ngx_http_debug_pprof_ctx_t *ctx,
    ngx_str_t *answer);


ngx_int_t
ngx_http_debug_pprof_busy_begin(ngx_http_debug_pprof_ctx_t *ctx)
{
    size_t                      i;
    uint32_t                    form;
    ngx_int_t                   rc;
    ngx_str_t                   who, after;
    ngx_msec_t                  msec;
    ngx_uint_t                  cpu;
    ngx_http_request_t         *r;
    ngx_http_debug_run_other_t  other;

    r = ctx->request;

    who = r->connection->addr_text;

    if (r->headers_in.user.len) {

        who.len += r->headers_in.user.len + sizeof(" at ") - 1;
        who.data = ngx_pnalloc(r->pool, who.len);
        if (who.data == NULL) {
            return NGX_ERROR;
        }

        (void) ngx_sprintf(who.data, "%V at %V", &r->headers_in.user,
                           &r->connection->addr_text);

        /* for a terminal to show */

        for (i = 0; i < r->headers_in.user.len; i++) {
            if (who.data[i] < 0x20 || who.data[i] == 0x7f) {
                who.data[i] = '?';
            }
        }
    }

    cpu = (ctx->flags & NGX_HTTP_DEBUG_KIND_ALONE) ? 1 : 0;
    msec = (ctx->seconds > 0) ? ctx->seconds * 1000 : 0;
    form = 0;

    if (cpu && ctx->conf->busy == NGX_HTTP_DEBUG_PPROF_SHARE) {
        form = ngx_http_debug_seconds_form(&r->args) ^ (ctx->legacy ? 2 : 0);
        form |= 1;
    }

    rc = ngx_http_debug_runs_begin(&ctx->share.run, &ctx->fetch.name, &who,
                                   msec, ctx->conf->write_timeout,
                                   ctx->conf->max, cpu, form, &other);

    switch (rc) {

    case NGX_OK:
        ctx->share.on = (form != 0);
        return NGX_DECLINED;

    case NGX_DONE:
        ctx->share.joined = ctx->share.run;
        ctx->share.run.serial = 0;
        return NGX_DONE;

    case NGX_BUSY:
        after.data = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
        if (after.data == NULL) {
            return NGX_ERROR;
        }

        after.len = ngx_sprintf(after.data, "%ui", other.seconds)
                    - after.data;

        if (ngx_http_debug_header_add(r, "Retry-After", &after) != NGX_OK) {
            return NGX_ERROR;
        }

        return ngx_http_debug_answer_say(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                   "a CPU profile of %V is under way for another %ui s,"
                   " started by %V; ask again then",
                   &ctx->peer, other.seconds, &other.who);

    default: /* NGX_AGAIN */
        ngx_str_set(&after, "5");

        if (ngx_http_debug_header_add(r, "Retry-After", &after) != NGX_OK) {
            return NGX_ERROR;
        }

        return ngx_http_debug_answer_say(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                   "%ui profile requests are under way, as many as"
                   " debug_pprof_max allows; ask again when one has ended",
                   other.count);
    }
}


void
ngx_http_debug_pprof_busy_wait(ngx_http_debug_pprof_ctx_t *ctx)
{
    if (ctx->share.joined.serial == 0 && !ctx->share.on) {
        return;
    }

    ctx->share.tick.handler = ngx_http_debug_pprof_busy_tick;
    ctx->share.tick.data = ctx;
    ctx->share.tick.log = ctx->request->connection->log;

    ngx_add_timer(&ctx->share.tick, ctx->share.on ? NGX_HTTP_DEBUG_PPROF_ALIVE
                                          : NGX_HTTP_DEBUG_PPROF_POLL);
}


/* The owner of a shared run lives; who joined one looks whether it ended. */

static void
ngx_http_debug_pprof_busy_tick(ngx_event_t *ev)
{
    ngx_int_t                    rc;
    ngx_str_t                    answer;
    ngx_connection_t            *c;
    ngx_http_request_t          *r;
    ngx_http_debug_pprof_ctx_t  *ctx;

    ctx = ev->data;
    r = ctx->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    if (ctx->share.on) {

        if (ngx_http_debug_runs_seen(&ctx->share.run) == 0 && ctx->gone) {
            ngx_http_debug_pprof_client_end(ctx,
                                           NGX_HTTP_CLIENT_CLOSED_REQUEST);
            goto done;
        }

        ngx_add_timer(ev, NGX_HTTP_DEBUG_PPROF_ALIVE);
        return;
    }

    rc = ngx_http_debug_runs_poll(&ctx->share.joined, &answer);

    if (rc == NGX_AGAIN) {
        ngx_add_timer(ev, NGX_HTTP_DEBUG_PPROF_POLL);
        return;
    }

    if (rc == NGX_OK) {
        ngx_http_debug_pprof_busy_send(ctx, &answer);

    } else if (ctx->phase != NGX_HTTP_DEBUG_PPROF_ASKED) {
        ngx_http_debug_pprof_client_cut(ctx);

    } else {
        rc = ngx_http_debug_answer_say(r, NGX_HTTP_BAD_GATEWAY,
                 "the profile of %V that this request joined came to nothing;"
                 " ask again", &ctx->peer);

        ngx_http_debug_pprof_client_end(ctx, rc);
    }

done:

    ngx_http_run_posted_requests(c);
}


void
ngx_http_debug_pprof_busy_end(ngx_http_debug_pprof_ctx_t *ctx, ngx_uint_t good)
{
    if (ctx->share.run.serial == 0) {
        return;
    }

    if (good && ctx->share.on) {
        ngx_http_debug_pprof_busy_publish(ctx);

    } else {
        ngx_http_debug_runs_end(&ctx->share.run, NULL, 0);
    }
}


void
ngx_http_debug_pprof_busy_leave(void *data)
{
    ngx_http_debug_pprof_ctx_t *ctx = data;

    ngx_http_debug_runs_leave(&ctx->share.joined);
}


ngx_int_t
ngx_http_debug_pprof_busy_keep(ngx_http_debug_pprof_ctx_t *ctx,
    ngx_chain_t **in)
{
    size_t        size;
    ngx_buf_t    *b;
    ngx_chain_t  *cl, *copy;

    size = 0;

    for (cl = *in; cl; cl = cl->next) {
        size += cl->buf->last - cl->buf->pos;
    }

    ctx->share.size += size;

    if (ctx->share.size > NGX_HTTP_DEBUG_RUNS_ANSWER) {

        /* who joined is told now, and its owner goes on alone */

        ngx_http_debug_runs_unshare(&ctx->share.run);

        ctx->share.on = 0;
        ctx->share.copy = NULL;

        if (ctx->share.tick.timer_set) {
            ngx_del_timer(&ctx->share.tick);
        }

        return NGX_OK;
    }

    /*
     * Two chains of the same bytes: what the output is done with is marked
     * so in its buffers.
     */

    b = ngx_create_temp_buf(ctx->request->pool, size);
    if (b == NULL) {
        return NGX_ERROR;
    }

    for (cl = *in; cl; cl = cl->next) {
        b->last = ngx_cpymem(b->last, cl->buf->pos,
                             cl->buf->last - cl->buf->pos);
    }

    copy = ngx_alloc_chain_link(ctx->request->pool);
    cl = ngx_alloc_chain_link(ctx->request->pool);

    if (copy == NULL || cl == NULL) {
        return NGX_ERROR;
    }

    cl->buf = b;
    cl->next = NULL;

    *ctx->share.last = cl;
    ctx->share.last = &cl->next;

    copy->buf = ngx_calloc_buf(ctx->request->pool);
    if (copy->buf == NULL) {
        return NGX_ERROR;
    }

    *copy->buf = *b;
    copy->next = NULL;

    *in = copy;

    return NGX_OK;
}


/*
 * The one copy, in the zone: status, a line for each header, its name and
 * value with a zero between them, an empty line, and the body.
 */

static void
ngx_http_debug_pprof_busy_publish(ngx_http_debug_pprof_ctx_t *ctx)
{
    size_t            len;
    ngx_buf_t        *b;
    ngx_uint_t        i;
    ngx_chain_t       cl;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    len = NGX_INT_T_LEN + 2;

    for (part = &ctx->fetch.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            len += h[i].key.len + h[i].value.len + 2;
        }
    }

    b = ngx_create_temp_buf(ctx->request->pool, len);
    if (b == NULL) {
        ngx_http_debug_runs_end(&ctx->share.run, NULL, 0);
        return;
    }

    b->last = ngx_sprintf(b->last, "%ui\n", ctx->fetch.status);

    for (part = &ctx->fetch.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (ngx_http_debug_pprof_answer_passes(&h[i].key)) {
                b->last = ngx_sprintf(b->last, "%V%Z%V\n", &h[i].key,
                                      &h[i].value);
            }
        }
    }

    *b->last++ = '\n';

    cl.buf = b;
    cl.next = ctx->share.copy;

    ngx_http_debug_runs_end(&ctx->share.run, &cl,
                            b->last - b->pos + ctx->share.size);
}


/* It is sent from where it lies. */

static void
ngx_http_debug_pprof_busy_send(ngx_http_debug_pprof_ctx_t *ctx,
    ngx_str_t *answer)
{
    u_char                  *p, *last, *eol, *zero;
    ngx_buf_t               *b;
    ngx_chain_t              out;
    ngx_table_elt_t         *h;
    ngx_http_request_t      *r;
    ngx_http_debug_fetch_t  *f;

    r = ctx->request;
    f = &ctx->fetch;

    p = answer->data;
    last = p + answer->len;

    eol = ngx_strlchr(p, last, '\n');

    if (eol == NULL
        || ngx_list_init(&f->headers, r->pool, 8, sizeof(ngx_table_elt_t))
           != NGX_OK)
    {
        goto failed;
    }

    f->status = ngx_atoi(p, eol - p);

    for (p = eol + 1; p < last && *p != '\n'; p = eol + 1) {

        eol = ngx_strlchr(p, last, '\n');
        zero = ngx_strlchr(p, last, '\0');

        h = ngx_list_push(&f->headers);

        if (eol == NULL || zero == NULL || h == NULL) {
            goto failed;
        }

        ngx_memzero(h, sizeof(ngx_table_elt_t));

        h->hash = 1;
        h->key.len = zero - p;
        h->key.data = p;
        h->value.len = eol - (zero + 1);
        h->value.data = zero + 1;
    }

    p++;

    f->length = last - p;

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        goto failed;
    }

    b->pos = p;
    b->last = last;
    b->memory = (p < last);
    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    if (ctx->keepalive.timer_set) {
        ngx_del_timer(&ctx->keepalive);
    }

    if (ctx->phase == NGX_HTTP_DEBUG_PPROF_ASKED) {

        if (ngx_http_debug_pprof_answer_header(ctx) != NGX_OK) {
            goto failed;
        }

    } else if (p == last || !ngx_http_debug_pprof_answer_promised(ctx, *p)) {
        ngx_http_debug_pprof_client_cut(ctx);
        return;
    }

    ngx_http_debug_pprof_client_last(ctx, &out);

    return;

failed:

    ngx_http_debug_pprof_client_end(ctx, NGX_ERROR);
}
