
/*
 * The way to a peer's profiler: which peer and which kind a request is for.
 *
 * What happens to it then is in the files beside this one, in the order of
 * its life: _check (may it?), _request (what the peer is asked), _busy (is
 * the peer free?), _carry (the exchange and its end), _answer (what the
 * client gets of it), _keepalive (meanwhile).
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_access.h"
#include "ngx_http_debug_answer.h"
#include "ngx_http_debug_kinds.h"
#include "ngx_http_debug_peers.h"
#include "ngx_http_debug_pprof.h"
#include "ngx_http_debug_pprof_ctx.h"
#include "ngx_http_debug_runs.h"


#define NGX_HTTP_DEBUG_PPROF_PROCESS  5000   /* ms for charts/.../data */


static ngx_int_t ngx_http_debug_pprof_route(ngx_http_request_t *r,
    ngx_http_debug_pprof_ctx_t *ctx, ngx_str_t *rest);
static ngx_int_t ngx_http_debug_pprof_add_slash(ngx_http_request_t *r);


ngx_int_t
ngx_http_debug_pprof_handler(ngx_http_request_t *r,
    ngx_http_debug_pprof_conf_t *conf, ngx_str_t *rest, ngx_uint_t legacy)
{
    ngx_int_t                    rc;
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

    rc = ngx_http_debug_pprof_route(r, ctx, rest);
    if (rc != NGX_DECLINED) {
        return rc;
    }

    rc = ngx_http_debug_pprof_check(r, ctx);
    if (rc != NGX_DECLINED) {
        return rc;
    }

    if (r->method == NGX_HTTP_HEAD
        && !(ctx->flags & NGX_HTTP_DEBUG_KIND_BODY))
    {
        return ngx_http_debug_pprof_answer_head(r, ctx);
    }

    if (legacy) {
        ngx_str_set(&ctx->prefix, "/pprof");
    }

    ctx->uri.len = ctx->prefix.len + 1 + ctx->kind.len + 1 + r->args.len;

    ctx->uri.data = ngx_pnalloc(r->pool, ctx->uri.len);
    if (ctx->uri.data == NULL) {
        return NGX_ERROR;
    }

    ctx->uri.len = ngx_sprintf(ctx->uri.data, "%V/%V%s%V", &ctx->prefix,
                               &ctx->kind,
                               r->args.len ? "?" : "", &r->args)
                   - ctx->uri.data;

    if (r->method == NGX_HTTP_POST) {
        return ngx_http_debug_pprof_request_body(r);
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


/*
 * The same way with another end: costs the peer next to nothing, so that it
 * is no run and is not counted as one.
 */

ngx_int_t
ngx_http_debug_pprof_process(ngx_http_request_t *r,
    ngx_http_debug_pprof_conf_t *conf, ngx_str_t *rest)
{
    ngx_int_t                       rc;
    ngx_str_t                       tail, parent;
    ngx_array_t                    *groups;
    ngx_http_debug_peer_t          *peer;
    ngx_http_debug_pprof_ctx_t     *ctx;
    ngx_http_debug_peer_group_t    *group;
    ngx_http_upstream_main_conf_t  *umcf;

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

    rc = ngx_http_debug_answer_only_get(r);
    if (rc != NGX_DECLINED) {
        return rc;
    }

    rc = ngx_http_debug_access_site(r);
    if (rc != NGX_DECLINED) {
        return rc;
    }

    if (peer->sockaddr == NULL) {
        return ngx_http_debug_answer_say(r, NGX_HTTP_NOT_FOUND,
                   "%V has no listener in the second group of"
                   " debug_pprof_pass", &peer->name);
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    ctx = ngx_http_debug_pprof_ctx_create(r, conf);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    ctx->flags = NGX_HTTP_DEBUG_KIND_TEXT;
    ctx->process = 1;

    ctx->upstream = group->name;
    ctx->peer = peer->name;

    ngx_http_debug_pprof_request_aim(&ctx->fetch, conf, group, peer);

    ctx->fetch.timeout = NGX_HTTP_DEBUG_PPROF_PROCESS;

    /* beside the profiles */

    parent = peer->prefix;

    while (parent.len && parent.data[parent.len - 1] != '/') {
        parent.len--;
    }

    ctx->uri.data = ngx_pnalloc(r->pool, parent.len + sizeof("charts/data?")
                                         + r->args.len);
    if (ctx->uri.data == NULL) {
        return NGX_ERROR;
    }

    ctx->uri.len = ngx_sprintf(ctx->uri.data, "%Vcharts/data%s%V", &parent,
                               r->args.len ? "?" : "", &r->args)
                   - ctx->uri.data;

    if (ngx_http_debug_pprof_answer_peer(r, ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = ngx_http_debug_pprof_carry(ctx);

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
    ngx_array_t                    *groups, *one;
    ngx_http_debug_peer_t          *peer;
    ngx_http_debug_peer_group_t    *group, *alone;
    ngx_http_debug_kind_t    *kind;
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

        if (peer == NULL && ngx_http_debug_kinds_find(&tail)) {
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

            one = ngx_array_create(r->pool, 1,
                                   sizeof(ngx_http_debug_peer_group_t));
            if (one == NULL) {
                return NGX_ERROR;
            }

            alone = ngx_array_push(one);
            *alone = *group;

            if (peer != NULL) {
                alone->peers.elts = peer;
                alone->peers.nelts = 1;
            }

            return ngx_http_debug_pprof_index(r, ctx->conf, one,
                                              (peer != NULL) ? 2 : 1,
                                              ctx->legacy);
        }
    }

    /*
     * A group whose name is a kind's must be asked for with its slash; one
     * that is none is sent there.
     */

    kind = ngx_http_debug_kinds_find(&tail);

    ctx->kind = tail;
    ctx->flags = kind ? kind->flags : 0;

    if (peer != NULL) {
        ctx->upstream = group->name;
        ctx->peer = peer->name;
        ctx->prefix = peer->prefix;

        ngx_http_debug_pprof_request_aim(&ctx->fetch, ctx->conf, group, peer);
    }

    return NGX_DECLINED;
}


ngx_http_debug_peer_t *
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
