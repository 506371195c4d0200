
/*
 * The way to a peer's profiler: which peer, for how long, and what becomes
 * of its answer.
 *
 * A request is looked at as a whole before a peer hears of it: route, kind,
 * method, origin, seconds.  Then it is fetched from that one peer, and what
 * comes is passed on as it comes.  Nothing is tried twice.
 *
 * Until the header of an answer was sent, whatever goes wrong is told in a
 * sentence; after it, the answer is cut so that it does not look complete.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_answer.h"
#include "ngx_http_debug_fetch.h"
#include "ngx_http_debug_peers.h"
#include "ngx_http_debug_pprof.h"
#include "ngx_http_debug_runs.h"
#include "ngx_http_debug_seconds.h"
#include "ngx_http_debug_send.h"


#define NGX_HTTP_DEBUG_PPROF_CONNECT  5000   /* ms to connect within */
#define NGX_HTTP_DEBUG_PPROF_SILENCE  60000  /* ms that a peer may think */
#define NGX_HTTP_DEBUG_PPROF_PROCESS  5000   /* ms for charts/.../data */
#define NGX_HTTP_DEBUG_PPROF_MARGIN   10000  /* ms beyond seconds x 1.5 */
#define NGX_HTTP_DEBUG_PPROF_BODY     (8 * 1024 * 1024)  /* of a POST */
#define NGX_HTTP_DEBUG_PPROF_POLL     50     /* ms between looks at a run */
#define NGX_HTTP_DEBUG_PPROF_ALIVE    1000   /* ms between signs of life */


/* of one request that goes to a peer; in the pool of the request */

typedef struct {
    ngx_http_request_t           *request;
    ngx_http_debug_pprof_conf_t  *conf;

    ngx_str_t                     upstream;  /* for headers and variables */
    ngx_str_t                     peer;
    ngx_str_t                     kind;
    ngx_uint_t                    flags;
    ngx_int_t                     seconds;   /* -1: none */

    ngx_str_t                     uri;       /* as the peer gets it */
    ngx_chain_t                  *body;      /* of a POST */
    ngx_chain_t                 **last_body;
    off_t                         body_size;

    ngx_http_debug_fetch_t        fetch;
    ngx_event_t                   deadline;

    ngx_http_debug_run_ref_t      run;       /* that this request began */
    ngx_http_debug_run_ref_t      joined;    /* or joined */
    ngx_event_t                   tick;      /* while one of both is shared */

    ngx_chain_t                  *copy;      /* of the answer, to be shared */
    ngx_chain_t                 **last_copy;
    size_t                        copy_size;

    ngx_event_t                   keepalive;

    unsigned                      foreign:1; /* not a profiler's answer */
    unsigned                      header_sent:1;
    unsigned                      last:1;    /* all is in nginx's hands */
    unsigned                      logged:1;  /* in r->upstream_states */
    unsigned                      legacy:1;
    unsigned                      process:1; /* charts/.../data */
    unsigned                      shared:1;  /* others may want a copy */
    unsigned                      gone:1;    /* the client; others wait */
    unsigned                      early:1;   /* header before the answer */
    unsigned                      checked:1; /* that it is what was said */
} ngx_http_debug_pprof_ctx_t;


static ngx_int_t ngx_http_debug_pprof_route(ngx_http_request_t *r,
    ngx_http_debug_pprof_ctx_t *ctx, ngx_str_t *rest);
static ngx_http_debug_peer_t *ngx_http_debug_pprof_default(
    ngx_array_t *groups, ngx_http_debug_peer_group_t **group);
static ngx_http_debug_pprof_kind_t *ngx_http_debug_pprof_kind(ngx_str_t *name);
static ngx_int_t ngx_http_debug_pprof_check(ngx_http_request_t *r,
    ngx_http_debug_pprof_ctx_t *ctx);
static ngx_int_t ngx_http_debug_pprof_check_seconds(ngx_http_request_t *r,
    ngx_http_debug_pprof_ctx_t *ctx);
static ngx_int_t ngx_http_debug_pprof_head(ngx_http_request_t *r,
    ngx_http_debug_pprof_ctx_t *ctx);

static ngx_int_t ngx_http_debug_pprof_add_slash(ngx_http_request_t *r);

static void ngx_http_debug_pprof_body_handler(ngx_http_request_t *r);
static void ngx_http_debug_pprof_read_body(ngx_http_request_t *r);
static ngx_int_t ngx_http_debug_pprof_keep_body(ngx_http_request_t *r,
    ngx_http_debug_pprof_ctx_t *ctx);

static ngx_int_t ngx_http_debug_pprof_start(ngx_http_debug_pprof_ctx_t *ctx);
static ngx_int_t ngx_http_debug_pprof_begin(ngx_http_debug_pprof_ctx_t *ctx);
static ngx_int_t ngx_http_debug_pprof_wait(ngx_http_debug_pprof_ctx_t *ctx);
static void ngx_http_debug_pprof_read(ngx_http_request_t *r);
static ngx_uint_t ngx_http_debug_pprof_client_closed(ngx_http_request_t *r);
static void ngx_http_debug_pprof_tick(ngx_event_t *ev);
static void ngx_http_debug_pprof_end_run(ngx_http_debug_pprof_ctx_t *ctx,
    ngx_uint_t good);
static void ngx_http_debug_pprof_publish(ngx_http_debug_pprof_ctx_t *ctx);
static void ngx_http_debug_pprof_send_shared(ngx_http_debug_pprof_ctx_t *ctx,
    ngx_str_t *answer);
static ngx_uint_t ngx_http_debug_pprof_is_gzip(
    ngx_http_debug_pprof_ctx_t *ctx);
static void ngx_http_debug_pprof_keepalive_handler(ngx_event_t *ev);
static ngx_int_t ngx_http_debug_pprof_send_early(
    ngx_http_debug_pprof_ctx_t *ctx);
static ngx_int_t ngx_http_debug_pprof_lost(ngx_http_debug_pprof_ctx_t *ctx);
static ngx_int_t ngx_http_debug_pprof_request(ngx_http_debug_pprof_ctx_t *ctx);
static ngx_int_t ngx_http_debug_pprof_fetch_header(ngx_http_debug_fetch_t *f);
static ngx_int_t ngx_http_debug_pprof_send_header(
    ngx_http_debug_pprof_ctx_t *ctx);
static ngx_uint_t ngx_http_debug_pprof_is_foreign(ngx_http_debug_fetch_t *f);
static ngx_table_elt_t *ngx_http_debug_pprof_find(ngx_list_t *headers,
    char *name);
static ngx_uint_t ngx_http_debug_pprof_hidden(ngx_str_t *name);
static ngx_int_t ngx_http_debug_pprof_fetch_body(ngx_http_debug_fetch_t *f,
    ngx_chain_t *in);
static ngx_int_t ngx_http_debug_pprof_keep_copy(
    ngx_http_debug_pprof_ctx_t *ctx, ngx_chain_t *in);
static ngx_uint_t ngx_http_debug_pprof_sent(ngx_chain_t *in);
static void ngx_http_debug_pprof_write(ngx_http_request_t *r);
static ngx_int_t ngx_http_debug_pprof_arm(ngx_http_request_t *r);
static void ngx_http_debug_pprof_fetch_end(ngx_http_debug_fetch_t *f);
static ngx_int_t ngx_http_debug_pprof_send_last(ngx_http_request_t *r);
static ngx_int_t ngx_http_debug_pprof_failed(ngx_http_debug_pprof_ctx_t *ctx);
static void ngx_http_debug_pprof_finalize(ngx_http_debug_pprof_ctx_t *ctx,
    ngx_int_t rc);
static void ngx_http_debug_pprof_cut(ngx_http_debug_pprof_ctx_t *ctx);
static void ngx_http_debug_pprof_deadline(ngx_event_t *ev);
static void ngx_http_debug_pprof_cleanup(void *data);
static void ngx_http_debug_pprof_state(ngx_http_debug_pprof_ctx_t *ctx);

static ngx_int_t ngx_cdecl ngx_http_debug_pprof_say(ngx_http_request_t *r,
    ngx_uint_t status, const char *fmt, ...);
static ngx_int_t ngx_http_debug_pprof_headers(ngx_http_request_t *r,
    ngx_http_debug_pprof_ctx_t *ctx);

static ngx_http_debug_pprof_ctx_t *ngx_http_debug_pprof_get_ctx(
    ngx_http_request_t *r);
static void ngx_http_debug_pprof_pool_cleanup(void *data);
static ngx_int_t ngx_http_debug_pprof_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_debug_pprof_seconds_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


/* a new kind is one line here */

ngx_http_debug_pprof_kind_t  ngx_http_debug_pprof_known[] = {

    { ngx_string("profile"), NGX_HTTP_DEBUG_PPROF_CPU,
      "CPU time, for ?seconds=30" },

    { ngx_string("heap"), 0, "memory in use, and by whom" },

    { ngx_string("allocs"), 0, "memory ever allocated" },

    { ngx_string("goroutine"), 0, "what every thread or goroutine does now" },

    { ngx_string("threadcreate"), 0, "what made threads" },

    { ngx_string("block"), 0, "waiting" },

    { ngx_string("mutex"), 0, "contended locks" },

    { ngx_string("growth"), 0, "where the heap grew" },

    { ngx_string("trace"), NGX_HTTP_DEBUG_PPROF_TRACE,
      "execution trace, for ?seconds=1 (Go)" },

    { ngx_string("cmdline"), NGX_HTTP_DEBUG_PPROF_TEXT, "command line" },

    { ngx_string("symbol"),
      NGX_HTTP_DEBUG_PPROF_SYMBOL|NGX_HTTP_DEBUG_PPROF_TEXT,
      "names of addresses" },

    { ngx_null_string, 0, NULL }
};


static ngx_http_variable_t  ngx_http_debug_pprof_vars[] = {

    { ngx_string("debug_upstream"), NULL, ngx_http_debug_pprof_variable,
      offsetof(ngx_http_debug_pprof_ctx_t, upstream), 0, 0 },

    { ngx_string("debug_peer"), NULL, ngx_http_debug_pprof_variable,
      offsetof(ngx_http_debug_pprof_ctx_t, peer), 0, 0 },

    { ngx_string("debug_kind"), NULL, ngx_http_debug_pprof_variable,
      offsetof(ngx_http_debug_pprof_ctx_t, kind), 0, 0 },

    { ngx_string("debug_seconds"), NULL,
      ngx_http_debug_pprof_seconds_variable, 0, 0, 0 },

      ngx_http_null_variable
};


ngx_int_t
ngx_http_debug_pprof_handler(ngx_http_request_t *r,
    ngx_http_debug_pprof_conf_t *conf, ngx_str_t *rest, ngx_uint_t legacy)
{
    ngx_int_t                    rc;
    ngx_pool_cleanup_t          *cln;
    ngx_http_debug_pprof_ctx_t  *ctx;

    if (r != r->main) {

        /* an SSI page or auth_request must not profile anybody */

        return NGX_HTTP_FORBIDDEN;
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_debug_pprof_ctx_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    ctx = cln->data;
    ngx_memzero(ctx, sizeof(ngx_http_debug_pprof_ctx_t));
    cln->handler = ngx_http_debug_pprof_pool_cleanup;

    ctx->request = r;
    ctx->conf = conf;
    ctx->seconds = -1;
    ctx->last_body = &ctx->body;
    ctx->last_copy = &ctx->copy;
    ctx->legacy = legacy;

    rc = ngx_http_debug_pprof_route(r, ctx, rest);
    if (rc != NGX_DECLINED) {
        return rc;
    }

    rc = ngx_http_debug_pprof_check(r, ctx);
    if (rc != NGX_DECLINED) {
        return rc;
    }

    if (r->method == NGX_HTTP_HEAD
        && !(ctx->flags & NGX_HTTP_DEBUG_PPROF_SYMBOL))
    {
        return ngx_http_debug_pprof_head(r, ctx);
    }

    ctx->uri.len = (legacy ? sizeof("/pprof/") : sizeof("/debug/pprof/")) - 1
                   + ctx->kind.len + 1 + r->args.len;

    ctx->uri.data = ngx_pnalloc(r->pool, ctx->uri.len);
    if (ctx->uri.data == NULL) {
        return NGX_ERROR;
    }

    ctx->uri.len = ngx_sprintf(ctx->uri.data, "%s/pprof/%V%s%V",
                               legacy ? "" : "/debug", &ctx->kind,
                               r->args.len ? "?" : "", &r->args)
                   - ctx->uri.data;

    if (r->method == NGX_HTTP_POST) {

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

        if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
            return rc;
        }

        return NGX_DONE;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_debug_pprof_start(ctx);

    if (rc == NGX_DONE) {
        r->main->count++;
    }

    return rc;
}


/*
 * The same way with another end: costs the peer next to nothing, so that it
 * is no run and is not counted as one.
 */

ngx_int_t
ngx_http_debug_pprof_process(ngx_http_request_t *r,
    ngx_http_debug_pprof_conf_t *conf, ngx_str_t *rest)
{
    ngx_int_t                       rc;
    ngx_str_t                       tail;
    ngx_array_t                    *groups;
    ngx_pool_cleanup_t             *cln;
    ngx_http_debug_peer_t          *peer;
    ngx_http_debug_pprof_ctx_t     *ctx;
    ngx_http_debug_peer_group_t    *group;
    ngx_http_upstream_main_conf_t  *umcf;

    static ngx_str_t  allow = ngx_string("GET, HEAD");

    if (r != r->main) {
        return NGX_HTTP_FORBIDDEN;
    }

    umcf = ngx_http_get_module_main_conf(r, ngx_http_upstream_module);

    groups = ngx_http_debug_peers_list(r->pool, umcf, conf->pass);
    if (groups == NULL) {
        return NGX_ERROR;
    }

    if (ngx_strlchr(rest->data, rest->data + rest->len, '/') == NULL
        || ngx_http_debug_peers_find(groups, rest, &group, &peer, &tail)
           != NGX_OK
        || peer == NULL
        || tail.len != sizeof("data") - 1
        || ngx_strncmp(tail.data, "data", sizeof("data") - 1) != 0)
    {
        return ngx_http_debug_answer_literal(r, NGX_HTTP_NOT_FOUND,
                   "there is no such group with such a peer");
    }

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {

        if (ngx_http_debug_header_add(r, "Allow", &allow) != NGX_OK) {
            return NGX_ERROR;
        }

        return ngx_http_debug_answer_literal(r, NGX_HTTP_NOT_ALLOWED,
                                             "only GET and HEAD are allowed");
    }

    if (peer->sockaddr == NULL) {
        return ngx_http_debug_pprof_say(r, NGX_HTTP_NOT_FOUND,
                   "%V has no listener in the second group of"
                   " debug_pprof_pass", &peer->name);
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_debug_pprof_ctx_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    ctx = cln->data;
    ngx_memzero(ctx, sizeof(ngx_http_debug_pprof_ctx_t));
    cln->handler = ngx_http_debug_pprof_pool_cleanup;

    ctx->request = r;
    ctx->conf = conf;
    ctx->seconds = -1;
    ctx->last_body = &ctx->body;
    ctx->last_copy = &ctx->copy;
    ctx->flags = NGX_HTTP_DEBUG_PPROF_TEXT;
    ctx->process = 1;

    ctx->upstream = group->name;
    ctx->peer = peer->name;
    ctx->fetch.name = peer->pass;
    ctx->fetch.sockaddr = peer->sockaddr;
    ctx->fetch.socklen = peer->socklen;
    ctx->fetch.timeout = NGX_HTTP_DEBUG_PPROF_PROCESS;

    ctx->uri.data = ngx_pnalloc(r->pool, sizeof("/debug/charts/data?")
                                         + r->args.len);
    if (ctx->uri.data == NULL) {
        return NGX_ERROR;
    }

    ctx->uri.len = ngx_sprintf(ctx->uri.data, "/debug/charts/data%s%V",
                               r->args.len ? "?" : "", &r->args)
                   - ctx->uri.data;

    if (ngx_http_debug_pprof_headers(r, ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = ngx_http_debug_pprof_start(ctx);

    if (rc == NGX_DONE) {
        r->main->count++;
    }

    return rc;
}


/*
 * Finds group, peer and kind.  Returns NGX_DECLINED, or what a content
 * handler returns when the request is answered.
 */

static ngx_int_t
ngx_http_debug_pprof_route(ngx_http_request_t *r,
    ngx_http_debug_pprof_ctx_t *ctx, ngx_str_t *rest)
{
    ngx_int_t                       rc;
    ngx_str_t                       tail, path;
    ngx_array_t                    *groups, one;
    ngx_http_debug_peer_t          *peer;
    ngx_http_debug_peer_group_t    *group, alone;
    ngx_http_debug_pprof_kind_t    *kind;
    ngx_http_upstream_main_conf_t  *umcf;

    umcf = ngx_http_get_module_main_conf(r, ngx_http_upstream_module);

    groups = ngx_http_debug_peers_list(r->pool, umcf, ctx->conf->pass);
    if (groups == NULL) {
        return NGX_ERROR;
    }

    if (rest->len == 0) {
        return ngx_http_debug_pprof_index(r, ctx->conf, groups, 0,
                                          ctx->legacy);
    }

    if (ngx_strlchr(rest->data, rest->data + rest->len, '/') == NULL) {
        tail = *rest;
        peer = ngx_http_debug_pprof_default(groups, &group);

        if (peer == NULL && ngx_http_debug_pprof_kind(&tail)) {
            return ngx_http_debug_answer_literal(r, NGX_HTTP_NOT_FOUND,
                       "there is no peer to profile: no upstream has one");
        }

    } else {
        rc = ngx_http_debug_peers_find(groups, rest, &group, &peer, &tail);

        if (rc != NGX_OK && group == NULL) {
            return ngx_http_debug_answer_literal(r, NGX_HTTP_NOT_FOUND,
                       "there is no such upstream group here;"
                       " the page above lists them");
        }

        if (rc != NGX_OK) {

            /* "group/peer" is short for "group/peer/" */

            path.len = rest->len + 1;
            path.data = ngx_pnalloc(r->pool, path.len);
            if (path.data == NULL) {
                return NGX_ERROR;
            }

            ngx_memcpy(path.data, rest->data, rest->len);
            path.data[rest->len] = '/';

            if (ngx_http_debug_peers_find(groups, &path, &group, &peer, &tail)
                == NGX_OK
                && tail.len == 0)
            {
                return ngx_http_debug_pprof_add_slash(r);
            }

            return ngx_http_debug_answer_literal(r, NGX_HTTP_NOT_FOUND,
                       "there is no such peer in this group;"
                       " the page above lists them");
        }

        if (tail.len == 0) {

            alone = *group;

            if (peer != NULL) {
                alone.peers.elts = peer;
                alone.peers.nelts = 1;
            }

            ngx_memzero(&one, sizeof(ngx_array_t));
            one.elts = &alone;
            one.nelts = 1;

            return ngx_http_debug_pprof_index(r, ctx->conf, &one,
                                              (peer != NULL) ? 2 : 1,
                                              ctx->legacy);
        }
    }

    /*
     * A group whose name is a kind's must be asked for with its slash; one
     * that is none is sent there.
     */

    kind = ngx_http_debug_pprof_kind(&tail);

    if (peer != NULL) {
        ctx->upstream = group->name;
        ctx->peer = peer->name;
    }

    ctx->kind = tail;
    ctx->flags = kind ? kind->flags : 0;

    if (peer == NULL) {
        return NGX_DECLINED;
    }

    ctx->fetch.name = peer->pass;
    ctx->fetch.sockaddr = peer->sockaddr;
    ctx->fetch.socklen = peer->socklen;

    return NGX_DECLINED;
}


/*
 * The first live peer of the first group that has any, and then always that
 * one while it lives: what a client asks next is to reach the same process.
 * When none lives, the first one all the same, since to be asked costs it
 * nothing.
 */

static ngx_http_debug_peer_t *
ngx_http_debug_pprof_default(ngx_array_t *groups,
    ngx_http_debug_peer_group_t **group)
{
    uint32_t                      hash;
    ngx_uint_t                    i, j;
    ngx_http_debug_peer_t        *peer, *first;
    ngx_http_debug_peer_group_t  *g;

    g = groups->elts;
    *group = NULL;

    for (i = 0; i < groups->nelts; i++) {
        if (g[i].peers.nelts) {
            *group = &g[i];
            break;
        }
    }

    if (*group == NULL) {
        return NULL;
    }

    peer = (*group)->peers.elts;
    first = NULL;

    hash = ngx_http_debug_runs_default(&(*group)->name);

    for (j = 0; j < (*group)->peers.nelts; j++) {

        if (peer[j].down
            || peer[j].failed
            || ngx_http_debug_runs_refused(&peer[j].pass))
        {
            continue;
        }

        if (hash && ngx_http_debug_runs_hash(&peer[j].name) == hash) {
            return &peer[j];
        }

        if (first == NULL) {
            first = &peer[j];
        }
    }

    if (first == NULL) {
        return peer;
    }

    ngx_http_debug_runs_set_default(&(*group)->name,
                                    ngx_http_debug_runs_hash(&first->name));

    return first;
}


static ngx_http_debug_pprof_kind_t *
ngx_http_debug_pprof_kind(ngx_str_t *name)
{
    ngx_http_debug_pprof_kind_t  *kind;

    for (kind = ngx_http_debug_pprof_known; kind->name.len; kind++) {
        if (kind->name.len == name->len
            && ngx_strncmp(kind->name.data, name->data, name->len) == 0)
        {
            return kind;
        }
    }

    return NULL;
}


/* NGX_DECLINED: nothing speaks against it. */

static ngx_int_t
ngx_http_debug_pprof_check(ngx_http_request_t *r,
    ngx_http_debug_pprof_ctx_t *ctx)
{
    ngx_str_t        *name, allow;
    ngx_uint_t        i;
    ngx_table_elt_t  *site;

    static ngx_str_t  get = ngx_string("GET, HEAD");
    static ngx_str_t  post = ngx_string("GET, HEAD, POST");

    /* a kind that is not known here may be a program's own, if it is named */

    if (ctx->conf->kinds != NULL) {
        name = ctx->conf->kinds->elts;

        for (i = 0; i < ctx->conf->kinds->nelts; i++) {
            if (name[i].len == ctx->kind.len
                && ngx_strncmp(name[i].data, ctx->kind.data, name[i].len) == 0)
            {
                break;
            }
        }

        if (i == ctx->conf->kinds->nelts
            && ngx_http_debug_pprof_kind(&ctx->kind) != NULL)
        {
            return ngx_http_debug_pprof_say(r, NGX_HTTP_FORBIDDEN,
                       "%V profiles are not let through;"
                       " see debug_pprof_kinds", &ctx->kind);
        }

    } else {
        i = 0;
    }

    if ((ctx->conf->kinds != NULL && i == ctx->conf->kinds->nelts)
        || (ctx->conf->kinds == NULL
            && ngx_http_debug_pprof_kind(&ctx->kind) == NULL))
    {
        /* Go's words */

        return ngx_http_debug_answer_literal(r, NGX_HTTP_NOT_FOUND,
                                             "Unknown profile");
    }

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))
        && !(r->method == NGX_HTTP_POST
             && (ctx->flags & NGX_HTTP_DEBUG_PPROF_SYMBOL)))
    {
        allow = (ctx->flags & NGX_HTTP_DEBUG_PPROF_SYMBOL) ? post : get;

        if (ngx_http_debug_header_add(r, "Allow", &allow) != NGX_OK) {
            return NGX_ERROR;
        }

        return ngx_http_debug_pprof_say(r, NGX_HTTP_NOT_ALLOWED,
                   "%V takes %V", &ctx->kind, &allow);
    }

    /* a page of somebody else's must not make a visitor profile us */

    site = ngx_http_debug_header_find(r, "sec-fetch-site");

    if (site != NULL
        && site->value.len == sizeof("cross-site") - 1
        && ngx_strncasecmp(site->value.data, (u_char *) "cross-site",
                           sizeof("cross-site") - 1)
           == 0)
    {
        return ngx_http_debug_answer_literal(r, NGX_HTTP_FORBIDDEN,
                   "another site's page asks for this;"
                   " profiles are refused to it");
    }

    if (ngx_http_debug_pprof_headers(r, ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ctx->fetch.sockaddr == NULL) {
        return ngx_http_debug_pprof_say(r, NGX_HTTP_NOT_FOUND,
                   "%V has no listener in the second group of"
                   " debug_pprof_pass", &ctx->peer);
    }

    return ngx_http_debug_pprof_check_seconds(r, ctx);
}


/*
 * Go's rules.  A CPU profile of no sensible length takes 30 seconds, a trace
 * one; other kinds have no length unless asked for, and what is not a
 * number is for the peer to refuse in its own words.
 *
 * Source: Go's net/http/pprof, Profile(), Trace(), serveDeltaProfile().
 */

static ngx_int_t
ngx_http_debug_pprof_check_seconds(ngx_http_request_t *r,
    ngx_http_debug_pprof_ctx_t *ctx)
{
    ngx_int_t                        rc;
    ngx_msec_t                       msec;
    ngx_http_debug_seconds_result_e  result;

    result = ngx_http_debug_seconds(&r->args,
                             (ctx->flags & NGX_HTTP_DEBUG_PPROF_TRACE) ? 1 : 0,
                             &msec);
    rc = NGX_DECLINED;

    if (result == NGX_HTTP_DEBUG_SECONDS_NONE
        || result == NGX_HTTP_DEBUG_SECONDS_INVALID)
    {
        if (ctx->flags & NGX_HTTP_DEBUG_PPROF_CPU) {
            msec = 30000;

        } else if (ctx->flags & NGX_HTTP_DEBUG_PPROF_TRACE) {
            msec = 1000;

        } else {
            ctx->fetch.timeout = NGX_HTTP_DEBUG_PPROF_SILENCE;
            return NGX_DECLINED;
        }
    }

    if (ctx->flags & NGX_HTTP_DEBUG_PPROF_TEXT) {
        ctx->fetch.timeout = NGX_HTTP_DEBUG_PPROF_SILENCE;
        return NGX_DECLINED;
    }

    if (result == NGX_HTTP_DEBUG_SECONDS_OVERFLOW
        || msec >= ctx->conf->write_timeout)
    {
        return ngx_http_debug_answer_literal(r, NGX_HTTP_BAD_REQUEST,
                           "profile duration exceeds server's WriteTimeout");
    }

    ctx->seconds = msec / 1000;
    ctx->fetch.timeout = msec + msec / 2 + NGX_HTTP_DEBUG_PPROF_MARGIN;

    return rc;
}


/*
 * What GET would begin with, without the profile: net/http/pprof would take
 * the whole of it and throw it away.
 */

static ngx_int_t
ngx_http_debug_pprof_head(ngx_http_request_t *r,
    ngx_http_debug_pprof_ctx_t *ctx)
{
    static ngx_str_t  binary = ngx_string("application/octet-stream");
    static ngx_str_t  text = ngx_string("text/plain; charset=utf-8");

    return ngx_http_debug_answer_chain(r, NGX_HTTP_OK,
                        (ctx->flags & NGX_HTTP_DEBUG_PPROF_TEXT) ? &text
                                                                 : &binary,
                        NULL, -1);
}


/* "…/acs/0": go on at "…/acs/0/", so that the page's links are right. */

static ngx_int_t
ngx_http_debug_pprof_add_slash(ngx_http_request_t *r)
{
    u_char    *p, *last;
    ngx_str_t  location;

    last = r->uri.data + r->uri.len;

    for (p = last; p > r->uri.data && p[-1] != '/'; p--) { /* void */ }

    location.data = ngx_pnalloc(r->pool, sizeof(".//?") - 1
                                         + 3 * (last - p) + r->args.len);
    if (location.data == NULL) {
        return NGX_ERROR;
    }

    location.len = ngx_cpymem(location.data, "./", 2) - location.data;
    location.len = (u_char *) ngx_escape_uri(location.data + location.len, p,
                                             last - p, NGX_ESCAPE_URI)
                   - location.data;
    location.data[location.len++] = '/';

    if (r->args.len) {
        location.data[location.len++] = '?';
        location.len = ngx_cpymem(location.data + location.len, r->args.data,
                                  r->args.len)
                       - location.data;
    }

    return ngx_http_debug_answer_redirect(r, NGX_HTTP_MOVED_TEMPORARILY,
                                          &location);
}


static void
ngx_http_debug_pprof_body_handler(ngx_http_request_t *r)
{
    r->read_event_handler = ngx_http_debug_pprof_read_body;

    ngx_http_debug_pprof_read_body(r);
}


static void
ngx_http_debug_pprof_read_body(ngx_http_request_t *r)
{
    ngx_int_t                    rc;
    ngx_http_debug_pprof_ctx_t  *ctx;

    ctx = ngx_http_debug_pprof_get_ctx(r);

    for ( ;; ) {

        if (ngx_http_debug_pprof_keep_body(r, ctx) != NGX_OK) {
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
        rc = ngx_http_debug_pprof_start(ctx);

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


/* Takes what was read of the body out of nginx's one buffer. */

static ngx_int_t
ngx_http_debug_pprof_keep_body(ngx_http_request_t *r,
    ngx_http_debug_pprof_ctx_t *ctx)
{
    size_t        size;
    ngx_buf_t    *b;
    ngx_chain_t  *in, *cl;

    for (in = r->request_body->bufs; in; in = in->next) {

        size = ngx_buf_in_memory(in->buf) ? in->buf->last - in->buf->pos : 0;

        ctx->body_size += size;

        if (size && ctx->body_size <= NGX_HTTP_DEBUG_PPROF_BODY) {

            cl = ngx_alloc_chain_link(r->pool);
            b = ngx_create_temp_buf(r->pool, size);

            if (cl == NULL || b == NULL) {
                return NGX_ERROR;
            }

            b->last = ngx_cpymem(b->last, in->buf->pos, size);

            cl->buf = b;
            cl->next = NULL;

            *ctx->last_body = cl;
            ctx->last_body = &cl->next;
        }

        in->buf->pos = in->buf->last;
    }

    r->request_body->bufs = NULL;

    return NGX_OK;
}


/*
 * NGX_DONE: under way, and the request waits; otherwise it is answered, and
 * this is what a content handler returns.
 */

static ngx_int_t
ngx_http_debug_pprof_start(ngx_http_debug_pprof_ctx_t *ctx)
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

    cln->handler = ngx_http_debug_pprof_cleanup;
    cln->data = ctx;

    if (!(ctx->flags & NGX_HTTP_DEBUG_PPROF_TEXT)) {

        rc = ngx_http_debug_pprof_begin(ctx);

        if (rc == NGX_DONE) {

            /* another one's profile will be this one's too */

            return ngx_http_debug_pprof_wait(ctx);
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

#if (NGX_HTTP_SSL)

    if (ctx->conf->ssl != NULL) {
        f->ssl = ctx->conf->ssl->ssl;
        f->ssl_verify = ctx->conf->ssl->verify;
        f->ssl_server_name = 1;
        f->ssl_name = ctx->conf->ssl->name.len ? ctx->conf->ssl->name
                                               : ctx->upstream;
    }

#endif

    f->connect_timeout = ngx_min(NGX_HTTP_DEBUG_PPROF_CONNECT,
                                 ctx->conf->write_timeout);
    f->header = ngx_http_debug_pprof_fetch_header;
    f->body = ngx_http_debug_pprof_fetch_body;
    f->end = ngx_http_debug_pprof_fetch_end;

    if (ngx_http_debug_pprof_request(ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    r->connection->log->action = "asking a peer for a profile";

    if (ngx_http_debug_fetch_start(f) != NGX_OK) {
        ngx_http_debug_pprof_cleanup(ctx);
        return ngx_http_debug_pprof_failed(ctx);
    }

    return ngx_http_debug_pprof_wait(ctx);
}


/* NGX_DECLINED: it may begin; NGX_DONE: it has joined another. */

static ngx_int_t
ngx_http_debug_pprof_begin(ngx_http_debug_pprof_ctx_t *ctx)
{
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
    }

    cpu = (ctx->flags & NGX_HTTP_DEBUG_PPROF_CPU) ? 1 : 0;
    msec = (ctx->seconds > 0) ? ctx->seconds * 1000 : 0;
    form = 0;

    if (cpu && ctx->conf->busy == NGX_HTTP_DEBUG_PPROF_SHARE) {
        form = ngx_http_debug_seconds_form(&r->args) ^ (ctx->legacy ? 2 : 0);
        form |= 1;
    }

    rc = ngx_http_debug_runs_begin(&ctx->run, &ctx->fetch.name, &who, msec,
                                   ctx->conf->write_timeout, ctx->conf->max,
                                   cpu, form, &other);

    switch (rc) {

    case NGX_OK:
        ctx->shared = (form != 0);
        return NGX_DECLINED;

    case NGX_DONE:
        ctx->joined = ctx->run;
        ctx->run.serial = 0;
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

        return ngx_http_debug_pprof_say(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                   "a CPU profile of %V is under way for another %ui s,"
                   " started by %V; ask again then",
                   &ctx->peer, other.seconds, &other.who);

    default: /* NGX_AGAIN */
        ngx_str_set(&after, "5");

        if (ngx_http_debug_header_add(r, "Retry-After", &after) != NGX_OK) {
            return NGX_ERROR;
        }

        return ngx_http_debug_pprof_say(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                   "%ui profile requests are under way, as many as"
                   " debug_pprof_max allows; ask again when one has ended",
                   other.count);
    }
}


/* From here on the request waits for events. */

static ngx_int_t
ngx_http_debug_pprof_wait(ngx_http_debug_pprof_ctx_t *ctx)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ctx->request;
    c = r->connection;

    ctx->deadline.handler = ngx_http_debug_pprof_deadline;
    ctx->deadline.data = ctx;
    ctx->deadline.log = c->log;

    ngx_add_timer(&ctx->deadline, ctx->conf->write_timeout);

    if (ctx->joined.serial || ctx->shared) {
        ctx->tick.handler = ngx_http_debug_pprof_tick;
        ctx->tick.data = ctx;
        ctx->tick.log = c->log;

        ngx_add_timer(&ctx->tick, ctx->shared ? NGX_HTTP_DEBUG_PPROF_ALIVE
                                              : NGX_HTTP_DEBUG_PPROF_POLL);
    }

    if (ctx->conf->keepalive && ngx_http_debug_pprof_is_gzip(ctx)) {
        ctx->keepalive.handler = ngx_http_debug_pprof_keepalive_handler;
        ctx->keepalive.data = ctx;
        ctx->keepalive.log = c->log;

        ngx_add_timer(&ctx->keepalive, ctx->conf->keepalive);
    }

    /* a client that leaves ends the profile */

    r->read_event_handler = ngx_http_debug_pprof_read;
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
ngx_http_debug_pprof_read(ngx_http_request_t *r)
{
    ngx_http_debug_pprof_ctx_t  *ctx;

    ctx = ngx_http_debug_pprof_get_ctx(r);

    if (ctx->shared
        && ngx_http_debug_pprof_client_closed(r)
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

    n = recv(c->fd, buf, 1, MSG_PEEK);

    return n == 0 || (n == -1 && ngx_socket_errno != NGX_EAGAIN);
}


/* The owner of a shared run lives; who joined one looks whether it ended. */

static void
ngx_http_debug_pprof_tick(ngx_event_t *ev)
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

    if (ctx->shared) {

        if (ngx_http_debug_runs_seen(&ctx->run) == 0 && ctx->gone) {
            ngx_http_debug_pprof_finalize(ctx,
                                          NGX_HTTP_CLIENT_CLOSED_REQUEST);
            goto done;
        }

        ngx_add_timer(ev, NGX_HTTP_DEBUG_PPROF_ALIVE);
        return;
    }

    rc = ngx_http_debug_runs_poll(&ctx->joined, r->pool, &answer);

    if (rc == NGX_AGAIN) {
        ngx_add_timer(ev, NGX_HTTP_DEBUG_PPROF_POLL);
        return;
    }

    ngx_http_debug_runs_leave(&ctx->joined);

    if (rc == NGX_OK) {
        ngx_http_debug_pprof_send_shared(ctx, &answer);

    } else if (rc == NGX_ERROR) {
        ngx_http_debug_pprof_finalize(ctx, NGX_ERROR);

    } else if (ctx->header_sent) {
        ngx_http_debug_pprof_cut(ctx);

    } else {
        rc = ngx_http_debug_pprof_say(r, NGX_HTTP_BAD_GATEWAY,
                 "the profile of %V that this request joined came to nothing;"
                 " ask again", &ctx->peer);

        ngx_http_debug_pprof_finalize(ctx, rc);
    }

done:

    ngx_http_run_posted_requests(c);
}


/*
 * The peer is free.  Before the client can know: who has the whole of an
 * answer may ask for the next one, and come to another worker.
 */

static void
ngx_http_debug_pprof_end_run(ngx_http_debug_pprof_ctx_t *ctx, ngx_uint_t good)
{
    if (ctx->run.serial == 0) {
        return;
    }

    if (good && ctx->shared) {
        ngx_http_debug_pprof_publish(ctx);

    } else {
        ngx_http_debug_runs_end(&ctx->run, NULL, 0);
    }
}


/*
 * A copy in the zone: status, a line for each header, an empty line, and the
 * body.
 */

static void
ngx_http_debug_pprof_publish(ngx_http_debug_pprof_ctx_t *ctx)
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
        ngx_http_debug_runs_end(&ctx->run, NULL, 0);
        return;
    }

    b->last = ngx_sprintf(b->last, "%ui\n", ctx->fetch.status);

    for (part = &ctx->fetch.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (!ngx_http_debug_pprof_hidden(&h[i].key)) {
                b->last = ngx_sprintf(b->last, "%V:%V\n", &h[i].key,
                                      &h[i].value);
            }
        }
    }

    *b->last++ = '\n';

    cl.buf = b;
    cl.next = ctx->copy;

    ngx_http_debug_runs_end(&ctx->run, &cl,
                            b->last - b->pos + ctx->copy_size);
}


static void
ngx_http_debug_pprof_send_shared(ngx_http_debug_pprof_ctx_t *ctx,
    ngx_str_t *answer)
{
    u_char                  *p, *last, *eol, *colon;
    ngx_int_t                rc;
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
        colon = ngx_strlchr(p, last, ':');

        h = ngx_list_push(&f->headers);

        if (eol == NULL || colon == NULL || h == NULL) {
            goto failed;
        }

        ngx_memzero(h, sizeof(ngx_table_elt_t));

        h->hash = 1;
        h->key.len = colon - p;
        h->key.data = p;
        h->value.len = eol - (colon + 1);
        h->value.data = colon + 1;
    }

    p++;

    f->length = last - p;

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        goto failed;
    }

    b->pos = p;
    b->last = last;
    b->temporary = (p < last);
    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    if (ctx->keepalive.timer_set) {
        ngx_del_timer(&ctx->keepalive);
    }

    if (ctx->early) {

        if (f->status != NGX_HTTP_OK || p == last || *p != 0x1f) {
            ngx_http_debug_pprof_cut(ctx);
            return;
        }

    } else if (ngx_http_debug_pprof_send_header(ctx) != NGX_OK) {
        goto failed;
    }

    ctx->last = 1;

    rc = ngx_http_debug_send_body(r, &out);

    if (rc == NGX_AGAIN && ngx_http_debug_pprof_arm(r) == NGX_OK) {
        return;
    }

    ngx_http_debug_pprof_finalize(ctx, (rc == NGX_AGAIN) ? NGX_ERROR : rc);

    return;

failed:

    ngx_http_debug_pprof_finalize(ctx, NGX_ERROR);
}


/*
 * Whether the answer will be gzip, as far as can be told now: an empty gzip
 * member in front of anything else would spoil it.  And only a kind that
 * takes its time is worth it.
 */

static ngx_uint_t
ngx_http_debug_pprof_is_gzip(ngx_http_debug_pprof_ctx_t *ctx)
{
    ngx_str_t            value;
    ngx_http_request_t  *r;

    r = ctx->request;

    return ctx->seconds > 0
           && !ctx->legacy
           && !(ctx->flags & NGX_HTTP_DEBUG_PPROF_TRACE)
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

    if (!ctx->header_sent && ngx_http_debug_pprof_send_early(ctx) != NGX_OK) {
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
        || (rc == NGX_AGAIN && ngx_http_debug_pprof_arm(r) != NGX_OK))
    {
        goto failed;
    }

    ngx_add_timer(ev, ctx->conf->keepalive);

    return;

failed:

    ngx_http_debug_pprof_lost(ctx);
    ngx_http_run_posted_requests(c);
}


static ngx_int_t
ngx_http_debug_pprof_send_early(ngx_http_debug_pprof_ctx_t *ctx)
{
    ngx_int_t            rc;
    ngx_str_t            disposition;
    ngx_http_request_t  *r;

    static ngx_str_t  type = ngx_string("application/octet-stream");
    static ngx_str_t  no_store = ngx_string("no-store");
    static ngx_str_t  nosniff = ngx_string("nosniff");

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
           != NGX_OK
        || ngx_http_debug_header_add(r, "Cache-Control", &no_store) != NGX_OK
        || ngx_http_debug_header_add(r, "X-Content-Type-Options", &nosniff)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = -1;

    ctx->header_sent = 1;
    ctx->early = 1;

    rc = ngx_http_debug_send_header(r);

    r->write_event_handler = ngx_http_debug_pprof_write;

    return (rc == NGX_ERROR || rc > NGX_OK) ? NGX_ERROR : NGX_OK;
}


/*
 * The client takes no more.  Who joined its profile may go on waiting;
 * otherwise this is the end, and nothing of CTX may be looked at after it.
 */

static ngx_int_t
ngx_http_debug_pprof_lost(ngx_http_debug_pprof_ctx_t *ctx)
{
    if (ctx->shared && ngx_http_debug_runs_seen(&ctx->run)) {
        ctx->gone = 1;
        ctx->request->read_event_handler = ngx_http_block_reading;
        ctx->request->write_event_handler = ngx_http_request_empty_handler;

        return NGX_OK;
    }

    ngx_http_debug_pprof_finalize(ctx, NGX_ERROR);

    return NGX_ERROR;
}


/*
 * The request as the peer gets it.  Of the client's headers only those that
 * say what it can read: cookies and credentials were for nginx, and a
 * profiler has no use for them.
 */

static ngx_int_t
ngx_http_debug_pprof_request(ngx_http_debug_pprof_ctx_t *ctx)
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

    host = ctx->fetch.name;

    if (ctx->fetch.sockaddr->sa_family == AF_UNIX) {
        ngx_str_set(&host, "localhost");
    }

    forwarded = ngx_http_debug_header_find(r, "x-forwarded-for");

    len = r->method_name.len + 1 + ctx->uri.len + sizeof(" HTTP/1.1" CRLF)
          + sizeof("Host: " CRLF) + host.len
          + sizeof("Connection: close" CRLF)
          + sizeof("X-Forwarded-For: , " CRLF)
          + r->connection->addr_text.len
          + (forwarded ? forwarded->value.len : 0)
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


/*
 * The header waits for the first bytes of the body: while it waits, what goes
 * wrong can still be told.
 */

static ngx_int_t
ngx_http_debug_pprof_fetch_header(ngx_http_debug_fetch_t *f)
{
    ngx_http_debug_pprof_ctx_t *ctx = f->data;

    /* told when it has ended */

    ctx->foreign = ngx_http_debug_pprof_is_foreign(f);

    return NGX_OK;
}


static ngx_int_t
ngx_http_debug_pprof_send_header(ngx_http_debug_pprof_ctx_t *ctx)
{
    ngx_int_t                  rc;
    ngx_uint_t                 i;
    ngx_list_part_t           *part;
    ngx_table_elt_t           *h, *ho;
    ngx_http_request_t        *r;
    ngx_http_core_loc_conf_t  *clcf;

    static ngx_str_t  no_store = ngx_string("no-store");
    static ngx_str_t  nosniff = ngx_string("nosniff");

    r = ctx->request;

    part = &ctx->fetch.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (ngx_http_debug_pprof_hidden(&h[i].key)) {
            continue;
        }

        /*
         * Content-Type too goes into the list and not to its own place:
         * filters that look for a type find none.
         */

        ho = ngx_list_push(&r->headers_out.headers);
        if (ho == NULL) {
            return NGX_ERROR;
        }

        *ho = h[i];
    }

    if (ngx_http_debug_header_add(r, "Cache-Control", &no_store) != NGX_OK
        || ngx_http_debug_header_add(r, "X-Content-Type-Options", &nosniff)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    r->headers_out.status = ctx->fetch.status;
    r->headers_out.content_length_n = ctx->fetch.length;

    r->limit_rate = 0;
    r->limit_rate_set = 1;

    ctx->header_sent = 1;

    rc = ngx_http_debug_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK) {
        return NGX_ERROR;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (clcf->tcp_nodelay && ngx_tcp_nodelay(r->connection) != NGX_OK) {
        return NGX_ERROR;
    }

    r->write_event_handler = ngx_http_debug_pprof_write;

    return NGX_OK;
}


/*
 * Whether the answer is of the application and not of a profiler in it: a
 * page of HTML, or its word for a path that it does not know.
 */

static ngx_uint_t
ngx_http_debug_pprof_is_foreign(ngx_http_debug_fetch_t *f)
{
    ngx_table_elt_t  *type;

    if (ngx_http_debug_pprof_find(&f->headers, "X-Go-Pprof") != NULL) {
        return 0;
    }

    if (f->status == NGX_HTTP_NOT_FOUND) {
        return 1;
    }

    type = ngx_http_debug_pprof_find(&f->headers, "Content-Type");

    return type != NULL
           && type->value.len >= sizeof("text/html") - 1
           && ngx_strncasecmp(type->value.data, (u_char *) "text/html",
                              sizeof("text/html") - 1)
              == 0;
}


static ngx_table_elt_t *
ngx_http_debug_pprof_find(ngx_list_t *headers, char *name)
{
    size_t            len;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    len = ngx_strlen(name);
    part = &headers->part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return NULL;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len == len
            && ngx_strncasecmp(h[i].key.data, (u_char *) name, len) == 0)
        {
            return &h[i];
        }
    }
}


/*
 * Headers of the peer that the client does not get: of this connection only,
 * said by nginx itself, or about caching and ranges, which do not happen.
 * Cookies, so that a profile does not log anybody out.
 */

static ngx_uint_t
ngx_http_debug_pprof_hidden(ngx_str_t *name)
{
    ngx_str_t  *hidden;

    static ngx_str_t  list[] = {
        ngx_string("Accept-Ranges"),
        ngx_string("Cache-Control"),
        ngx_string("Connection"),
        ngx_string("Content-Length"),
        ngx_string("Date"),
        ngx_string("ETag"),
        ngx_string("Expires"),
        ngx_string("Keep-Alive"),
        ngx_string("Last-Modified"),
        ngx_string("Pragma"),
        ngx_string("Proxy-Authenticate"),
        ngx_string("Server"),
        ngx_string("Set-Cookie"),
        ngx_string("Trailer"),
        ngx_string("Transfer-Encoding"),
        ngx_string("Upgrade"),
        ngx_string("X-Accel-Buffering"),
        ngx_string("X-Accel-Charset"),
        ngx_string("X-Accel-Expires"),
        ngx_string("X-Accel-Limit-Rate"),
        ngx_string("X-Accel-Redirect"),
        ngx_string("X-Content-Type-Options"),
        ngx_string("X-Debug-Peer"),
        ngx_string("X-Debug-Upstream"),
        ngx_null_string
    };

    for (hidden = list; hidden->len; hidden++) {
        if (hidden->len == name->len
            && ngx_strncasecmp(hidden->data, name->data, name->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
ngx_http_debug_pprof_fetch_body(ngx_http_debug_fetch_t *f, ngx_chain_t *in)
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
        return NGX_OK;
    }

    if (ctx->shared && ngx_http_debug_pprof_keep_copy(ctx, in) != NGX_OK) {
        goto failed;
    }

    if (f->complete) {
        ngx_http_debug_pprof_end_run(ctx, 1);
    }

    if (ctx->gone) {
        return NGX_OK;
    }

    if (!ctx->header_sent && ngx_http_debug_pprof_send_header(ctx) != NGX_OK) {
        goto failed;
    }

    for (cl = in; cl->next; cl = cl->next) { /* void */ }

    cl->buf->flush = 1;

    rc = ngx_http_debug_send_body(r, in);

    if (rc == NGX_ERROR) {
        goto failed;
    }

    if (rc == NGX_OK && ngx_http_debug_pprof_sent(in)) {
        return NGX_OK;
    }

    if (ngx_http_debug_pprof_arm(r) != NGX_OK) {
        goto failed;
    }

    return NGX_AGAIN;

failed:

    /* the fetch closes itself; what called it runs posted requests */

    return ngx_http_debug_pprof_lost(ctx);
}


static ngx_int_t
ngx_http_debug_pprof_keep_copy(ngx_http_debug_pprof_ctx_t *ctx,
    ngx_chain_t *in)
{
    size_t        size;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    for ( /* void */ ; in; in = in->next) {

        size = in->buf->last - in->buf->pos;
        ctx->copy_size += size;

        if (ctx->copy_size > NGX_HTTP_DEBUG_RUNS_ANSWER) {

            /* told to who joined when it ends */

            ctx->copy = NULL;
            ctx->last_copy = &ctx->copy;
            continue;
        }

        b = ngx_create_temp_buf(ctx->request->pool, size);
        cl = ngx_alloc_chain_link(ctx->request->pool);

        if (b == NULL || cl == NULL) {
            return NGX_ERROR;
        }

        b->last = ngx_cpymem(b->last, in->buf->pos, size);

        cl->buf = b;
        cl->next = NULL;

        *ctx->last_copy = cl;
        ctx->last_copy = &cl->next;
    }

    return NGX_OK;
}


/* Whether nothing of IN is waiting anywhere. */

static ngx_uint_t
ngx_http_debug_pprof_sent(ngx_chain_t *in)
{
    for ( /* void */ ; in; in = in->next) {
        if (ngx_buf_size(in->buf) != 0) {
            return 0;
        }
    }

    return 1;
}


/* The client's connection takes some more. */

static void
ngx_http_debug_pprof_write(ngx_http_request_t *r)
{
    ngx_int_t                    rc;
    ngx_http_debug_pprof_ctx_t  *ctx;

    ctx = ngx_http_debug_pprof_get_ctx(r);

    rc = ngx_http_debug_send_body(r, NULL);

    if (rc == NGX_ERROR) {
        goto failed;
    }

    if (rc == NGX_AGAIN || !ngx_http_debug_pprof_sent(ctx->fetch.slices)) {

        if (ngx_http_debug_pprof_arm(r) != NGX_OK) {
            goto failed;
        }

        return;
    }

    if (ctx->last) {
        ngx_http_debug_pprof_finalize(ctx, rc);
        return;
    }

    ngx_http_debug_fetch_resume(&ctx->fetch);

    return;

failed:

    if (ngx_http_debug_pprof_lost(ctx) == NGX_OK) {
        ngx_http_debug_fetch_resume(&ctx->fetch);
    }
}


static ngx_int_t
ngx_http_debug_pprof_arm(ngx_http_request_t *r)
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
ngx_http_debug_pprof_fetch_end(ngx_http_debug_fetch_t *f)
{
    ngx_int_t                    rc;
    ngx_http_request_t          *r;
    ngx_http_debug_pprof_ctx_t  *ctx;

    ctx = f->data;
    r = ctx->request;

    ngx_http_set_log_request(r->connection->log, r);

    ngx_http_debug_pprof_end_run(ctx, f->result == NGX_HTTP_DEBUG_FETCH_OK
                                      && !ctx->foreign);

    if (ctx->foreign || f->result != NGX_HTTP_DEBUG_FETCH_OK) {

        if (ctx->gone) {
            ngx_http_debug_pprof_finalize(ctx,
                                          NGX_HTTP_CLIENT_CLOSED_REQUEST);

        } else if (ctx->header_sent) {
            ngx_http_debug_pprof_cut(ctx);

        } else {
            ngx_http_debug_pprof_finalize(ctx,
                                          ngx_http_debug_pprof_failed(ctx));
        }

        return;
    }

    ngx_http_debug_runs_refuse(&f->name, 0);

    if (ctx->gone) {
        ngx_http_debug_pprof_finalize(ctx, NGX_HTTP_CLIENT_CLOSED_REQUEST);
        return;
    }

    if (ctx->early && !ctx->checked) {

        /* an empty answer is no profile */

        ngx_http_debug_pprof_cut(ctx);
        return;
    }

    if (!ctx->header_sent && ngx_http_debug_pprof_send_header(ctx) != NGX_OK) {
        ngx_http_debug_pprof_finalize(ctx, NGX_ERROR);
        return;
    }

    if (r->header_only) {
        ngx_http_debug_pprof_finalize(ctx, NGX_OK);
        return;
    }

    ctx->last = 1;

    rc = ngx_http_debug_pprof_send_last(r);

    if (rc == NGX_AGAIN && ngx_http_debug_pprof_arm(r) == NGX_OK) {
        /* under the deadline, until the client has it all */
        return;
    }

    ngx_http_debug_pprof_finalize(ctx, (rc == NGX_AGAIN) ? NGX_ERROR : rc);
}


static ngx_int_t
ngx_http_debug_pprof_send_last(ngx_http_request_t *r)
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


/*
 * There is no answer of the peer's to pass on: says why.  Returns what a
 * content handler returns.
 */

static ngx_int_t
ngx_http_debug_pprof_failed(ngx_http_debug_pprof_ctx_t *ctx)
{
    u_char                  *p, text[256];
    ngx_str_t                reason;
    ngx_uint_t               status;
    ngx_http_debug_fetch_t  *f;

    f = &ctx->fetch;

    p = ngx_http_debug_fetch_reason(f, text, text + sizeof(text));

    reason.len = p - text;
    reason.data = text;

    switch (f->result) {

    case NGX_HTTP_DEBUG_FETCH_OK:

        /* a page, or an unknown path */

        status = (f->status < 300) ? NGX_HTTP_BAD_GATEWAY : f->status;

        if (status < 400) {
            status = NGX_HTTP_BAD_GATEWAY;
        }

        if (ctx->process) {
            return ngx_http_debug_pprof_say(ctx->request, status,
                       "%V says nothing of its process (it answered %ui at"
                       " /debug/charts/data); libpprof and debugcharts do",
                       &f->name, f->status);
        }

        return ngx_http_debug_pprof_say(ctx->request, status,
                   "%V has no profile at %V (it answered %ui); start it with"
                   " libpprof or net/http/pprof, or name the group that"
                   " listens for profiles in debug_pprof_pass",
                   &f->name, &ctx->uri, f->status);

    case NGX_HTTP_DEBUG_FETCH_CONNECT:

        /* the next default peer is another one */

        ngx_http_debug_runs_refuse(&f->name, 1);

        return ngx_http_debug_pprof_say(ctx->request, NGX_HTTP_BAD_GATEWAY,
                   "%V %V; does libpprof or net/http/pprof listen there?"
                   " see debug_pprof_pass",
                   &f->name, &reason);

    case NGX_HTTP_DEBUG_FETCH_TIMEOUT:
        status = NGX_HTTP_GATEWAY_TIME_OUT;
        break;

    case NGX_HTTP_DEBUG_FETCH_INTERNAL:
        status = NGX_HTTP_SERVICE_UNAVAILABLE;
        break;

    default:
        status = NGX_HTTP_BAD_GATEWAY;
    }

    return ngx_http_debug_pprof_say(ctx->request, status, "%V %V", &f->name,
                                    &reason);
}


/*
 * The end of the request, from whatever event: nothing of CTX may be looked
 * at after it.
 */

static void
ngx_http_debug_pprof_finalize(ngx_http_debug_pprof_ctx_t *ctx, ngx_int_t rc)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    ngx_http_debug_pprof_cleanup(ctx);

    r->read_event_handler = ngx_http_block_reading;

    r->connection->log->action = "sending to client";

    ngx_http_finalize_request(r, rc);
}


/*
 * Ends an answer that cannot be completed.  Chunks lack the last, a length
 * is not reached, an HTTP/2 stream is reset: the client sees it.  With
 * HTTP/1.0 and no length only a reset connection tells.
 */

static void
ngx_http_debug_pprof_cut(ngx_http_debug_pprof_ctx_t *ctx)
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

    ngx_http_debug_pprof_finalize(ctx, NGX_ERROR);
}


/* debug_write_timeout is over. */

static void
ngx_http_debug_pprof_deadline(ngx_event_t *ev)
{
    ngx_int_t                    rc;
    ngx_connection_t            *c;
    ngx_http_request_t          *r;
    ngx_http_debug_pprof_ctx_t  *ctx;

    ctx = ev->data;
    r = ctx->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    ngx_http_debug_pprof_end_run(ctx, 0);

    if (ctx->header_sent) {
        ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT,
                      "the answer of %V is cut by debug_write_timeout",
                      &ctx->fetch.name);

        c->timedout = 1;
        ngx_http_debug_pprof_cut(ctx);

    } else if (ctx->gone) {
        ngx_http_debug_pprof_finalize(ctx, NGX_HTTP_CLIENT_CLOSED_REQUEST);

    } else {
        ngx_log_error(NGX_LOG_ERR, c->log, NGX_ETIMEDOUT,
                      "%V answered nothing within debug_write_timeout",
                      &ctx->fetch.name);

        rc = ngx_http_debug_pprof_say(r, NGX_HTTP_GATEWAY_TIME_OUT,
                 "%V answered nothing within the %M ms of debug_write_timeout",
                 &ctx->fetch.name, ctx->conf->write_timeout);

        ngx_http_debug_pprof_finalize(ctx, rc);
    }

    ngx_http_run_posted_requests(c);
}


/* Stops all that may still happen.  Any number of times. */

static void
ngx_http_debug_pprof_cleanup(void *data)
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
    ngx_http_debug_runs_leave(&ctx->joined);

    ngx_http_debug_fetch_close(&ctx->fetch);
    ngx_http_debug_pprof_state(ctx);
}


/* For $upstream_addr and its like in the access log. */

static void
ngx_http_debug_pprof_state(ngx_http_debug_pprof_ctx_t *ctx)
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


/* Answers with one sentence; of names it takes what fits in 1 KB. */

static ngx_int_t ngx_cdecl
ngx_http_debug_pprof_say(ngx_http_request_t *r, ngx_uint_t status,
    const char *fmt, ...)
{
    u_char    *p, text[1024];
    va_list    args;
    ngx_str_t  sentence;

    va_start(args, fmt);
    p = ngx_vslprintf(text, text + sizeof(text), fmt, args);
    va_end(args);

    sentence.len = p - text;
    sentence.data = text;

    return ngx_http_debug_answer_text(r, status, &sentence);
}


/* Whose profile it is, on good answers and bad ones. */

static ngx_int_t
ngx_http_debug_pprof_headers(ngx_http_request_t *r,
    ngx_http_debug_pprof_ctx_t *ctx)
{
    if (ngx_http_debug_header_add(r, "X-Debug-Upstream", &ctx->upstream)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_debug_header_add(r, "X-Debug-Peer", &ctx->peer);
}


/*
 * The context is where its cleanup is, since r->ctx is the recorder's, and
 * variables want it after the request's own cleanups have run.
 */

static ngx_http_debug_pprof_ctx_t *
ngx_http_debug_pprof_get_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_debug_pprof_pool_cleanup) {
            return cln->data;
        }
    }

    return NULL;
}


/* Marks the context; what it has to end has ended before. */

static void
ngx_http_debug_pprof_pool_cleanup(void *data)
{
}


static ngx_int_t
ngx_http_debug_pprof_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t                   *value;
    ngx_http_debug_pprof_ctx_t  *ctx;

    ctx = ngx_http_debug_pprof_get_ctx(r->main);

    value = (ctx != NULL) ? (ngx_str_t *) ((char *) ctx + data) : NULL;

    if (value == NULL || value->len == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->len = value->len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
    v->data = value->data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_debug_pprof_seconds_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                      *p;
    ngx_http_debug_pprof_ctx_t  *ctx;

    ctx = ngx_http_debug_pprof_get_ctx(r->main);

    if (ctx == NULL || ctx->seconds == -1) {
        v->not_found = 1;
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    v->len = ngx_sprintf(p, "%i", ctx->seconds) - p;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
    v->data = p;

    return NGX_OK;
}


ngx_int_t
ngx_http_debug_pprof_preconfiguration(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    ngx_http_debug_pprof_conf_reset();

    for (v = ngx_http_debug_pprof_vars; v->name.len; v++) {

        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}
