
/*
 * Whom a request is for: which group and peer, and which kind of a profile.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_answer.h"
#include "ngx_http_debug_kinds.h"
#include "ngx_http_debug_peers.h"
#include "ngx_http_debug_pprof_ctx.h"
#include "ngx_http_debug_runs.h"


static ngx_int_t ngx_http_debug_pprof_choice_slash(ngx_http_request_t *r);


ngx_int_t
ngx_http_debug_pprof_choice(ngx_http_debug_pprof_ctx_t *ctx, ngx_str_t *rest,
    ngx_array_t **groups, ngx_uint_t *depth)
{
    ngx_int_t                       rc;
    ngx_str_t                       tail, path;
    ngx_array_t                    *one;
    ngx_http_request_t             *r;
    ngx_http_debug_peer_t          *peer;
    ngx_http_debug_peer_group_t    *group, *alone;
    ngx_http_debug_kind_t          *kind;
    ngx_http_upstream_main_conf_t  *umcf;

    r = ctx->request;

    umcf = ngx_http_get_module_main_conf(r, ngx_http_upstream_module);

    *depth = 0;
    *groups = ngx_http_debug_peers_list(r->pool, umcf, ctx->conf->pass);
    if (*groups == NULL) {
        return NGX_ERROR;
    }

    if (rest->len == 0) {
        return NGX_DONE;
    }

    if (ngx_strlchr(rest->data, rest->data + rest->len, '/') == NULL) {
        tail = *rest;
        peer = ngx_http_debug_pprof_choice_default(*groups, &group);

        if (peer == NULL && ngx_http_debug_kinds_find(&tail)) {
            return ngx_http_debug_answer_literal(r, NGX_HTTP_NOT_FOUND,
                       "there is no peer to profile: no upstream has one");
        }

    } else {
        rc = ngx_http_debug_peers_find(*groups, rest, &group, &peer, &tail);

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

            if (!ctx->process
                && ngx_http_debug_peers_find(*groups, &path, &group, &peer,
                                             &tail)
                   == NGX_OK
                && tail.len == 0)
            {
                return ngx_http_debug_pprof_choice_slash(r);
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

            *groups = one;
            *depth = (peer != NULL) ? 2 : 1;

            return NGX_DONE;
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

        ngx_http_debug_pprof_request_aim(&ctx->fetch, ctx->conf->ssl,
                                         &group->name, peer);
    }

    return NGX_DECLINED;
}


ngx_http_debug_peer_t *
ngx_http_debug_pprof_choice_default(ngx_array_t *groups,
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
ngx_http_debug_pprof_choice_slash(ngx_http_request_t *r)
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
