
/*
 * The way to a peer's profiler, from its beginning.
 *
 * What happens to a request is in the files beside this one, in the order of
 * its life: _choice (whom is it for?), _check (may it?), _body (of a POST),
 * _carry (the exchange), and what that needs: _busy (is the peer free?),
 * _request (what the peer is asked), _answer (what the client gets of it),
 * _keepalive (meanwhile), _client (he reads, leaves; the end).
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_answer.h"
#include "ngx_http_debug_kinds.h"
#include "ngx_http_debug_pprof.h"
#include "ngx_http_debug_pprof_ctx.h"


#define NGX_HTTP_DEBUG_PPROF_PROCESS  5000   /* ms for what is no profile */


static ngx_int_t ngx_http_debug_pprof_go(ngx_http_debug_pprof_ctx_t *ctx,
    ngx_str_t *path);


ngx_int_t
ngx_http_debug_pprof_handler(ngx_http_request_t *r,
    ngx_http_debug_pprof_conf_t *conf, ngx_str_t *rest, ngx_uint_t legacy)
{
    ngx_int_t                    rc;
    ngx_str_t                    path, name;
    ngx_uint_t                   depth;
    ngx_array_t                 *groups;
    ngx_http_debug_pprof_ctx_t  *ctx;

    if (r != r->main) {

        /* an SSI page or auth_request must not profile anybody */

        return NGX_HTTP_FORBIDDEN;
    }

    ctx = ngx_http_debug_pprof_ctx_create(r, conf);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    ctx->legacy = legacy;

    rc = ngx_http_debug_pprof_choice(ctx, rest, &groups, &depth);

    if (rc == NGX_DONE) {
        return ngx_http_debug_pprof_index(r, conf, groups, depth, legacy);
    }

    if (rc != NGX_DECLINED) {
        return rc;
    }

    rc = ngx_http_debug_pprof_check(r, ctx);
    if (rc != NGX_DECLINED) {
        return rc;
    }

    name = ctx->kind;

    if (r->method == NGX_HTTP_HEAD
        && !(ctx->flags & NGX_HTTP_DEBUG_KIND_BODY))
    {
        /*
         * net/http/pprof would take the whole of a profile and throw it away:
         * it is asked for what costs nothing instead, and says that it is
         * there.
         */

        ctx->probe = 1;
        ctx->fetch.timeout = NGX_HTTP_DEBUG_PPROF_PROCESS;
        ngx_str_set(&name, "cmdline");
    }

    if (legacy) {
        ngx_str_set(&ctx->prefix, "/pprof");
    }

    path.len = ctx->prefix.len + 1 + name.len;
    path.data = ngx_pnalloc(r->pool, path.len);
    if (path.data == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_sprintf(path.data, "%V/%V", &ctx->prefix, &name);

    return ngx_http_debug_pprof_go(ctx, &path);
}


/*
 * The same way with another end: costs the peer next to nothing, so that it
 * is no run and is not counted as one.
 */

ngx_int_t
ngx_http_debug_pprof_process(ngx_http_request_t *r,
    ngx_http_debug_pprof_conf_t *conf, ngx_str_t *rest)
{
    ngx_int_t                    rc;
    ngx_str_t                    path;
    ngx_uint_t                   depth;
    ngx_array_t                 *groups;
    ngx_http_debug_pprof_ctx_t  *ctx;

    static ngx_str_t  data = ngx_string("charts/data");

    if (r != r->main) {
        return NGX_HTTP_FORBIDDEN;
    }

    ctx = ngx_http_debug_pprof_ctx_create(r, conf);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    ctx->process = 1;

    /* no peer is the default one */

    if (ngx_strlchr(rest->data, rest->data + rest->len, '/') == NULL) {
        rc = NGX_DONE;

    } else {
        rc = ngx_http_debug_pprof_choice(ctx, rest, &groups, &depth);
    }

    if (rc == NGX_DECLINED
        && (ctx->peer.len == 0
            || ctx->kind.len != sizeof("data") - 1
            || ngx_strncmp(ctx->kind.data, "data", sizeof("data") - 1) != 0))
    {
        rc = NGX_DONE;
    }

    if (rc == NGX_DONE) {
        return ngx_http_debug_answer_literal(r, NGX_HTTP_NOT_FOUND,
                   "there is no such group with such a peer");
    }

    if (rc != NGX_DECLINED) {
        return rc;
    }

    ctx->flags = NGX_HTTP_DEBUG_KIND_TEXT;

    rc = ngx_http_debug_pprof_check(r, ctx);
    if (rc != NGX_DECLINED) {
        return rc;
    }

    ctx->fetch.timeout = NGX_HTTP_DEBUG_PPROF_PROCESS;

    if (ngx_http_debug_pprof_request_beside(r->pool, &ctx->prefix, &data, &path)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_debug_pprof_go(ctx, &path);
}


/* Asks the peer for PATH, and what the client's query is. */

static ngx_int_t
ngx_http_debug_pprof_go(ngx_http_debug_pprof_ctx_t *ctx, ngx_str_t *path)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = ctx->request;

    if (ctx->probe || r->args.len == 0) {
        ctx->uri = *path;

    } else {
        ctx->uri.len = path->len + 1 + r->args.len;
        ctx->uri.data = ngx_pnalloc(r->pool, ctx->uri.len);
        if (ctx->uri.data == NULL) {
            return NGX_ERROR;
        }

        (void) ngx_sprintf(ctx->uri.data, "%V?%V", path, &r->args);
    }

    if (r->method == NGX_HTTP_POST) {
        return ngx_http_debug_pprof_body(r);
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_debug_pprof_carry(ctx);

    if (rc == NGX_DONE) {
        r->main->count++;
    }

    return rc;
}
