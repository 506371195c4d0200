
/*
 * A look at peers: is there a profiler, and of which process?
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include "ngx_http_debug_answer.h"
#include "ngx_http_debug_fetch.h"
#include "ngx_http_debug_kinds.h"
#include "ngx_http_debug_pprof_look.h"
#include "ngx_http_debug_peers.h"
#include "ngx_http_debug_pprof_ctx.h"
#include "ngx_http_debug_runs.h"
#include "ngx_http_debug_via.h"


#define NGX_HTTP_DEBUG_PPROF_LOOK_TIME    1000     /* ms for all of them */
#define NGX_HTTP_DEBUG_PPROF_LOOK_ATONCE  32       /* connections at a time */
#define NGX_HTTP_DEBUG_PPROF_LOOK_HEX     128      /* of a build id */
#define NGX_HTTP_DEBUG_PPROF_LOOK_INDEX   32768    /* bytes of a peer's own */
#define NGX_HTTP_DEBUG_PPROF_LOOK_KINDS   32       /* of a peer's own */
#define NGX_HTTP_DEBUG_PPROF_LOOK_KIND    64       /* bytes of its name */


typedef struct {
    ngx_http_debug_peer_group_t  *group;
    ngx_http_debug_peer_t        *peer;
    ngx_http_debug_pprof_look_t  *look;
} ngx_http_debug_pprof_look_at_t;


typedef struct ngx_http_debug_pprof_looks_s  ngx_http_debug_pprof_looks_t;

/* one exchange, in a pool of its own */

typedef struct {
    ngx_http_debug_fetch_t         fetch;
    ngx_http_debug_pprof_looks_t  *ctx;
    ngx_http_debug_pprof_look_t   *look;
    ngx_queue_t                    queue;
    ngx_buf_t                     *index;    /* what came of it; NULL: it is
                                                not what is asked for */
} ngx_http_debug_pprof_look_ask_t;


/* all of them, in the pool of the request */

struct ngx_http_debug_pprof_looks_s {
    ngx_http_request_t              *request;
    ngx_http_debug_pprof_conf_t     *conf;
    ngx_uint_t                       legacy;

    ngx_http_debug_pprof_look_at_t  *at;
    ngx_uint_t                       n;
    ngx_uint_t                       next;      /* to be asked */

    ngx_queue_t                      asking;
    ngx_uint_t                       nasking;
    ngx_event_t                      timer;

    ngx_uint_t                       index;     /* it is wanted */
    ngx_http_debug_pprof_look_t     *looks;
    ngx_http_debug_pprof_look_pt     handler;
    void                            *data;
};


static void ngx_http_debug_pprof_look_more(ngx_http_debug_pprof_looks_t *ctx);
static ngx_int_t ngx_http_debug_pprof_look_ask(
    ngx_http_debug_pprof_looks_t *ctx, ngx_http_debug_pprof_look_at_t *at,
    ngx_uint_t index);
static ngx_int_t ngx_http_debug_pprof_look_request(
    ngx_http_debug_pprof_looks_t *ctx, ngx_http_debug_fetch_t *f,
    ngx_str_t *prefix, ngx_uint_t index);
static ngx_uint_t ngx_http_debug_pprof_look_all(
    ngx_http_debug_pprof_conf_t *conf);
static ngx_int_t ngx_http_debug_pprof_look_header(ngx_http_debug_fetch_t *f);
static ngx_int_t ngx_http_debug_pprof_look_body(ngx_http_debug_fetch_t *f,
    ngx_chain_t *in);
static void ngx_http_debug_pprof_look_end(ngx_http_debug_fetch_t *f);
static void ngx_http_debug_pprof_look_result(
    ngx_http_debug_pprof_look_ask_t *ask);
static void ngx_http_debug_pprof_look_told(
    ngx_http_debug_pprof_look_ask_t *ask, char *name, ngx_uint_t hex,
    ngx_str_t *value);
static void ngx_http_debug_pprof_look_kinds(
    ngx_http_debug_pprof_look_ask_t *ask);
static ngx_int_t ngx_http_debug_pprof_look_kind(
    ngx_http_debug_pprof_looks_t *ctx, ngx_array_t *kinds, ngx_str_t *name);
static void ngx_http_debug_pprof_look_close(
    ngx_http_debug_pprof_look_ask_t *ask);
static void ngx_http_debug_pprof_look_timer(ngx_event_t *ev);
static void ngx_http_debug_pprof_look_cleanup(void *data);
static void ngx_http_debug_pprof_look_finish(
    ngx_http_debug_pprof_looks_t *ctx);


static ngx_str_t  ngx_http_debug_pprof_look_words[] = {
    ngx_string("unknown"),
    ngx_string("ready"),
    ngx_string("foreign"),
    ngx_string("dead"),
    ngx_string("silent"),
    ngx_string("broken")
};


ngx_str_t *
ngx_http_debug_pprof_look_word(ngx_http_debug_pprof_look_state_e state)
{
    return &ngx_http_debug_pprof_look_words[state];
}


ngx_int_t
ngx_http_debug_pprof_look(ngx_http_request_t *r,
    ngx_http_debug_pprof_conf_t *conf, ngx_array_t *groups, ngx_uint_t legacy,
    ngx_uint_t ask, ngx_http_debug_pprof_look_pt handler, void *data)
{
    ngx_uint_t                       i, j, n;
    ngx_http_cleanup_t              *cln;
    ngx_http_debug_peer_t           *peer;
    ngx_http_debug_peer_group_t     *group;
    ngx_http_debug_pprof_looks_t    *ctx;
    ngx_http_debug_pprof_look_at_t  *at;

    group = groups->elts;
    n = 0;

    for (i = 0; i < groups->nelts; i++) {
        n += group[i].peers.nelts;
    }

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_debug_pprof_looks_t));
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    ctx->looks = ngx_pcalloc(r->pool,
                             (n + 1) * sizeof(ngx_http_debug_pprof_look_t));
    at = ngx_palloc(r->pool, (n + 1) * sizeof(ngx_http_debug_pprof_look_at_t));

    if (ctx->looks == NULL || at == NULL) {
        return NGX_ERROR;
    }

    ctx->request = r;
    ctx->conf = conf;
    ctx->legacy = legacy;
    ctx->at = at;
    ctx->n = n;
    ctx->handler = handler;
    ctx->data = data;
    ctx->index = (n == 1 && !legacy && ngx_http_debug_pprof_look_all(conf));

    ngx_queue_init(&ctx->asking);

    n = 0;

    for (i = 0; i < groups->nelts; i++) {
        peer = group[i].peers.elts;

        for (j = 0; j < group[i].peers.nelts; j++, n++) {
            at[n].group = &group[i];
            at[n].peer = &peer[j];
            at[n].look = &ctx->looks[n];

            ngx_str_set(&ctx->looks[n].text, "not asked");
        }
    }

    if (!ask) {
        return handler(r, ctx->looks, data);
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_debug_pprof_look_cleanup;
    cln->data = ctx;

    ngx_http_debug_pprof_look_more(ctx);

    if (ctx->nasking == 0) {
        return handler(r, ctx->looks, data);
    }

    ctx->timer.handler = ngx_http_debug_pprof_look_timer;
    ctx->timer.data = ctx;
    ctx->timer.log = r->connection->log;

    ngx_add_timer(&ctx->timer, NGX_HTTP_DEBUG_PPROF_LOOK_TIME);

    /* for no longer than that, so a client that leaves is not looked for */

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    r->main->count++;

    return NGX_DONE;
}


static void
ngx_http_debug_pprof_look_more(ngx_http_debug_pprof_looks_t *ctx)
{
    ngx_http_debug_pprof_look_at_t  *at;

    while (ctx->next < ctx->n
           && ctx->nasking < NGX_HTTP_DEBUG_PPROF_LOOK_ATONCE)
    {

        at = &ctx->at[ctx->next++];

        if (at->peer->sockaddr == NULL) {
            ngx_str_set(&at->look->text,
                        "has no listener in the second group");
            continue;
        }

        if (ngx_http_debug_pprof_look_ask(ctx, at, 0) != NGX_OK) {
            at->look->state = NGX_HTTP_DEBUG_PPROF_LOOK_BROKEN;
            ngx_str_set(&at->look->text,
                        "could not be asked: nginx lacks memory");
        }
    }
}


/* NGX_OK: the result is there, or will be. */

static ngx_int_t
ngx_http_debug_pprof_look_ask(ngx_http_debug_pprof_looks_t *ctx,
    ngx_http_debug_pprof_look_at_t *at, ngx_uint_t index)
{
    ngx_pool_t                       *pool;
    ngx_http_debug_fetch_t           *f;
    ngx_http_debug_pprof_look_ask_t  *ask;

    pool = ngx_create_pool(1024, ctx->request->connection->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    ask = ngx_pcalloc(pool, sizeof(ngx_http_debug_pprof_look_ask_t));
    if (ask == NULL) {
        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

    ask->ctx = ctx;
    ask->look = at->look;

    if (index) {
        ask->index = ngx_create_temp_buf(pool,
                                         NGX_HTTP_DEBUG_PPROF_LOOK_INDEX);
        if (ask->index == NULL) {
            ngx_destroy_pool(pool);
            return NGX_ERROR;
        }
    }

    f = &ask->fetch;

    ngx_http_debug_pprof_request_aim(f, ctx->conf->ssl, &at->group->name,
                                     at->peer);

    f->pool = pool;
    f->log = ctx->request->connection->log;
    f->level = NGX_LOG_INFO;
    f->client = ctx->request->connection;
    f->data = ask;
    f->head = !index;
    f->connect_timeout = NGX_HTTP_DEBUG_PPROF_LOOK_TIME;
    f->timeout = NGX_HTTP_DEBUG_PPROF_LOOK_TIME;
    f->header = ngx_http_debug_pprof_look_header;
    f->body = ngx_http_debug_pprof_look_body;
    f->end = ngx_http_debug_pprof_look_end;

    if (ngx_http_debug_pprof_look_request(ctx, f, &at->peer->prefix, index)
        != NGX_OK)
    {
        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

    ngx_queue_insert_tail(&ctx->asking, &ask->queue);
    ctx->nasking++;

    if (ngx_http_debug_fetch_start(f) != NGX_OK) {

        if (!index) {
            ngx_http_debug_pprof_look_result(ask);
        }

        ngx_http_debug_pprof_look_close(ask);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_debug_pprof_look_request(ngx_http_debug_pprof_looks_t *ctx,
    ngx_http_debug_fetch_t *f, ngx_str_t *prefix, ngx_uint_t index)
{
    ngx_str_t  path;

    static ngx_str_t  legacy = ngx_string("/pprof");

    if (ctx->legacy) {
        prefix = &legacy;
    }

    path.data = ngx_pnalloc(f->pool, prefix->len + sizeof("/cmdline") - 1);
    if (path.data == NULL) {
        return NGX_ERROR;
    }

    path.len = ngx_sprintf(path.data, "%V/%s", prefix, index ? "" : "cmdline")
               - path.data;

    return ngx_http_debug_pprof_request_small(f, index ? "GET" : "HEAD", &path,
                                              ctx->request);
}


/* Whatever a peer has is let through. */

static ngx_uint_t
ngx_http_debug_pprof_look_all(ngx_http_debug_pprof_conf_t *conf)
{
    ngx_str_t   *name;
    ngx_uint_t   i;

    name = conf->kinds->elts;

    for (i = 0; i < conf->kinds->nelts; i++) {
        if (ngx_http_debug_kinds_is_all(&name[i])) {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
ngx_http_debug_pprof_look_header(ngx_http_debug_fetch_t *f)
{
    return NGX_OK;
}


static ngx_int_t
ngx_http_debug_pprof_look_body(ngx_http_debug_fetch_t *f, ngx_chain_t *in)
{
    size_t                            len;
    ngx_buf_t                        *b;
    ngx_http_debug_pprof_look_ask_t  *ask;

    ask = f->data;
    b = ask->index;

    for ( /* void */ ; in; in = in->next) {

        /* of HEAD there is none */

        len = in->buf->last - in->buf->pos;

        if (b == NULL
            || f->status != NGX_HTTP_OK
            || len > (size_t) (b->end - b->last))
        {
            return NGX_DONE;
        }

        b->last = ngx_cpymem(b->last, in->buf->pos, len);
    }

    return NGX_OK;
}


static void
ngx_http_debug_pprof_look_end(ngx_http_debug_fetch_t *f)
{
    ngx_http_debug_pprof_look_ask_t  *ask;
    ngx_http_debug_pprof_looks_t     *ctx;

    ask = f->data;
    ctx = ask->ctx;

    if (ask->index) {
        ngx_http_debug_pprof_look_kinds(ask);

    } else {
        ngx_http_debug_pprof_look_result(ask);
    }

    ngx_http_debug_pprof_look_close(ask);

    if (ctx->index
        && ctx->at->look->state == NGX_HTTP_DEBUG_PPROF_LOOK_READY)
    {
        ctx->index = 0;

        /* without it, what is known is shown */

        (void) ngx_http_debug_pprof_look_ask(ctx, ctx->at, 1);
    }

    ngx_http_debug_pprof_look_more(ctx);

    if (ctx->nasking == 0) {
        ngx_http_debug_pprof_look_finish(ctx);
    }
}


/*
 * What the links of a peer's own index lead to, if it can be a kind: Go has
 * href='heap?debug=1', libpprof href="heap".  It is the peer's text: anything
 * may stand there.
 */

static void
ngx_http_debug_pprof_look_kinds(ngx_http_debug_pprof_look_ask_t *ask)
{
    u_char       *p, *last;
    ngx_str_t     name;
    ngx_array_t  *kinds;

    if (ask->fetch.status != NGX_HTTP_OK) {
        return;
    }

    kinds = ngx_array_create(ask->ctx->request->pool, 4, sizeof(ngx_str_t));
    if (kinds == NULL) {
        return;
    }

    p = ask->index->pos;
    last = ask->index->last;

    while (kinds->nelts < NGX_HTTP_DEBUG_PPROF_LOOK_KINDS) {

        p = ngx_strlcasestrn(p, last, (u_char *) "href=",
                             sizeof("href=") - 2);

        if (p == NULL || last - p <= (ssize_t) sizeof("href=")) {
            break;
        }

        p += sizeof("href=") - 1;

        if (*p == '\'' || *p == '"') {
            p++;
        }

        name.data = p;

        while (p < last && *p != '\'' && *p != '"' && *p != '?' && *p != '>'
               && *p != ' ')
        {
            p++;
        }

        name.len = p - name.data;

        if (p < last
            && ngx_http_debug_pprof_look_kind(ask->ctx, kinds, &name)
               == NGX_ERROR)
        {
            return;
        }
    }

    ask->look->kinds = kinds;
}


/* Adds NAME, if it is one that is not listed.  NGX_ERROR: no memory. */

static ngx_int_t
ngx_http_debug_pprof_look_kind(ngx_http_debug_pprof_looks_t *ctx,
    ngx_array_t *kinds, ngx_str_t *name)
{
    ngx_str_t    *kind;
    ngx_uint_t    i, j;
    ngx_array_t  *lists[2];

    if (name->len > NGX_HTTP_DEBUG_PPROF_LOOK_KIND
        || !ngx_http_debug_kinds_valid(name))
    {
        return NGX_DECLINED;
    }

    lists[0] = ctx->conf->kinds;
    lists[1] = kinds;

    for (i = 0; i < 2; i++) {
        kind = lists[i]->elts;

        for (j = 0; j < lists[i]->nelts; j++) {
            if (kind[j].len == name->len
                && ngx_strncmp(kind[j].data, name->data, name->len) == 0)
            {
                return NGX_DECLINED;
            }
        }
    }

    kind = ngx_array_push(kinds);
    if (kind == NULL) {
        return NGX_ERROR;
    }

    kind->len = name->len;
    kind->data = ngx_pstrdup(ctx->request->pool, name);

    return kind->data ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_debug_pprof_look_result(ngx_http_debug_pprof_look_ask_t *ask)
{
    u_char                       *p, text[256];
    ngx_str_t                     said;
    ngx_http_debug_pprof_look_t  *look;
    ngx_http_debug_fetch_t       *f;

    f = &ask->fetch;
    look = ask->look;

    p = ngx_http_debug_fetch_reason(f, text, text + sizeof(text));

    switch (f->result) {

    case NGX_HTTP_DEBUG_FETCH_OK:

        if (f->status == NGX_HTTP_OK
            && !ngx_http_debug_pprof_answer_is_foreign(f)
            && (ask->ctx->legacy
                || ngx_http_debug_pprof_answer_is_profiler(f)))
        {
            look->state = NGX_HTTP_DEBUG_PPROF_LOOK_READY;

        } else {
            look->state = NGX_HTTP_DEBUG_PPROF_LOOK_FOREIGN;
            p = ngx_slprintf(p, text + sizeof(text),
                             (f->status == NGX_HTTP_DEBUG_LOOP)
                             ? " %ui, it leads back to this nginx"
                             : " %ui, not as a profiler", f->status);
        }

        ngx_http_debug_pprof_look_told(ask, "X-Pprof-Pid", 0, &look->pid);
        ngx_http_debug_pprof_look_told(ask, "X-Pprof-Build-Id", 1,
                                       &look->build_id);

        ngx_http_debug_runs_refuse(&f->name, 0);
        break;

    case NGX_HTTP_DEBUG_FETCH_CONNECT:
        look->state = NGX_HTTP_DEBUG_PPROF_LOOK_DEAD;
        ngx_http_debug_runs_refuse(&f->name, 1);
        break;

    case NGX_HTTP_DEBUG_FETCH_TIMEOUT:
        look->state = NGX_HTTP_DEBUG_PPROF_LOOK_SILENT;
        break;

    default:
        look->state = NGX_HTTP_DEBUG_PPROF_LOOK_BROKEN;
    }

    said.len = p - text;
    said.data = text;

    look->text.data = ngx_pstrdup(ask->ctx->request->pool, &said);
    look->text.len = (look->text.data != NULL) ? said.len : 0;
}


/*
 * What the peer says of itself, if it is a number, or hex: it stands on a page
 * and in a terminal.
 */

static void
ngx_http_debug_pprof_look_told(ngx_http_debug_pprof_look_ask_t *ask,
    char *name, ngx_uint_t hex, ngx_str_t *value)
{
    u_char            ch;
    size_t            i, max;
    ngx_table_elt_t  *h;

    h = ngx_http_debug_header_get(&ask->fetch.headers, name);

    max = hex ? NGX_HTTP_DEBUG_PPROF_LOOK_HEX : NGX_INT64_LEN;

    if (h == NULL || h->value.len == 0 || h->value.len > max) {
        return;
    }

    for (i = 0; i < h->value.len; i++) {

        ch = h->value.data[i];

        if ((ch < '0' || ch > '9') && !(hex && ch >= 'a' && ch <= 'f')) {
            return;
        }
    }

    value->data = ngx_pstrdup(ask->ctx->request->pool, &h->value);
    value->len = (value->data != NULL) ? h->value.len : 0;
}


static void
ngx_http_debug_pprof_look_close(ngx_http_debug_pprof_look_ask_t *ask)
{
    ngx_queue_remove(&ask->queue);
    ask->ctx->nasking--;

    ngx_http_debug_fetch_close(&ask->fetch);
    ngx_destroy_pool(ask->fetch.pool);
}


/* A second is over: what is known now has to do. */

static void
ngx_http_debug_pprof_look_timer(ngx_event_t *ev)
{
    ngx_queue_t                      *q;
    ngx_connection_t                 *c;
    ngx_http_debug_pprof_look_ask_t  *ask;
    ngx_http_debug_pprof_looks_t     *ctx;

    ctx = ev->data;
    c = ctx->request->connection;

    ngx_http_set_log_request(c->log, ctx->request);

    while (!ngx_queue_empty(&ctx->asking)) {
        q = ngx_queue_head(&ctx->asking);
        ask = ngx_queue_data(q, ngx_http_debug_pprof_look_ask_t, queue);

        if (ask->index == NULL) {
            ask->look->state = NGX_HTTP_DEBUG_PPROF_LOOK_SILENT;
            ngx_str_set(&ask->look->text, "answered nothing within 1 s");
        }

        ngx_http_debug_pprof_look_close(ask);
    }

    ngx_http_debug_pprof_look_finish(ctx);
    ngx_http_run_posted_requests(c);
}


/* Stops all that may still happen.  Any number of times. */

static void
ngx_http_debug_pprof_look_cleanup(void *data)
{
    ngx_http_debug_pprof_looks_t *ctx = data;

    ngx_queue_t                      *q;
    ngx_http_debug_pprof_look_ask_t  *ask;

    while (!ngx_queue_empty(&ctx->asking)) {
        q = ngx_queue_head(&ctx->asking);
        ask = ngx_queue_data(q, ngx_http_debug_pprof_look_ask_t, queue);

        ngx_http_debug_pprof_look_close(ask);
    }

    if (ctx->timer.timer_set) {
        ngx_del_timer(&ctx->timer);
    }
}


/* Nothing of CTX may be looked at after it. */

static void
ngx_http_debug_pprof_look_finish(ngx_http_debug_pprof_looks_t *ctx)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    ngx_http_debug_pprof_look_cleanup(ctx);

    r->connection->log->action = "sending to client";

    ngx_http_finalize_request(r, ctx->handler(r, ctx->looks, ctx->data));
}
