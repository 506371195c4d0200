
/*
 * What the client gets of a peer's answer, or instead of one.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_answer.h"
#include "ngx_http_debug_fetch.h"
#include "ngx_http_debug_kinds.h"
#include "ngx_http_debug_pprof.h"
#include "ngx_http_debug_pprof_ctx.h"
#include "ngx_http_debug_runs.h"
#include "ngx_http_debug_send.h"


static u_char *ngx_http_debug_pprof_answer_told(ngx_http_debug_fetch_t *f,
    u_char *p, u_char *last);


ngx_int_t
ngx_http_debug_pprof_answer_peer(ngx_http_request_t *r,
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
 * What GET would begin with, now that there is a profiler.
 */

ngx_int_t
ngx_http_debug_pprof_answer_head(ngx_http_request_t *r,
    ngx_http_debug_pprof_ctx_t *ctx)
{
    static ngx_str_t  binary = ngx_string("application/octet-stream");
    static ngx_str_t  text = ngx_string("text/plain; charset=utf-8");

    return ngx_http_debug_answer_chain(r, NGX_HTTP_OK,
                        (ctx->flags & NGX_HTTP_DEBUG_KIND_TEXT) ? &text
                                                                 : &binary,
                        NULL, -1);
}


ngx_int_t
ngx_http_debug_pprof_answer_header(ngx_http_debug_pprof_ctx_t *ctx)
{
    ngx_uint_t           i;
    ngx_list_part_t     *part;
    ngx_table_elt_t     *h, *ho;
    ngx_http_request_t  *r;

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

        /* of two alike, a client may believe the other one */

        if (!ngx_http_debug_pprof_answer_passes(&h[i].key)
            || ngx_http_debug_header_get(&ctx->fetch.headers,
                                         (char *) h[i].key.data)
               != &h[i])
        {
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

    return ngx_http_debug_pprof_answer_send(ctx, ctx->fetch.status,
                                            ctx->fetch.length,
                                            NGX_HTTP_DEBUG_PPROF_SENDING);
}


ngx_int_t
ngx_http_debug_pprof_answer_send(ngx_http_debug_pprof_ctx_t *ctx,
    ngx_uint_t status, off_t length, ngx_http_debug_pprof_phase_e phase)
{
    ngx_int_t                  rc;
    ngx_http_request_t        *r;
    ngx_http_core_loc_conf_t  *clcf;

    r = ctx->request;

    if (ngx_http_debug_answer_guard(r) != NGX_OK
        || ngx_http_debug_answer_sandbox(r) != NGX_OK)
    {
        return NGX_ERROR;
    }

    r->headers_out.status = status;
    r->headers_out.content_length_n = length;

    r->limit_rate = 0;
    r->limit_rate_set = 1;

    ctx->phase = phase;

    rc = ngx_http_debug_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK) {
        return NGX_ERROR;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (clcf->tcp_nodelay && ngx_tcp_nodelay(r->connection) != NGX_OK) {
        return NGX_ERROR;
    }

    r->write_event_handler = ngx_http_debug_pprof_client_write;

    return NGX_OK;
}


ngx_uint_t
ngx_http_debug_pprof_answer_promised(ngx_http_debug_pprof_ctx_t *ctx,
    u_char first)
{
    if (ctx->phase != NGX_HTTP_DEBUG_PPROF_EARLY) {
        return 1;
    }

    if (ctx->fetch.status != NGX_HTTP_OK || first != 0x1f) {
        return 0;
    }

    ctx->phase = NGX_HTTP_DEBUG_PPROF_SENDING;

    return 1;
}


/*
 * Headers of the peer that the client gets: what the answer is, and what is
 * known of it.  All others are of this connection only, or would act on
 * nginx's own site: Set-Cookie, Clear-Site-Data, Refresh, Location, Link,
 * WWW-Authenticate, Strict-Transport-Security, Access-Control-*, and what is
 * invented next.
 */

ngx_uint_t
ngx_http_debug_pprof_answer_passes(ngx_str_t *name)
{
    ngx_str_t  *pass;

    static ngx_str_t  list[] = {
        ngx_string("Allow"),
        ngx_string("Content-Disposition"),
        ngx_string("Content-Encoding"),
        ngx_string("Content-Type"),
        ngx_string("Retry-After"),
        ngx_string("X-Go-Pprof"),
        ngx_string("X-Pprof-Build-Id"),
        ngx_string("X-Pprof-Pid"),
        ngx_null_string
    };

    for (pass = list; pass->len; pass++) {
        if (pass->len == name->len
            && ngx_strncasecmp(pass->data, name->data, name->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/*
 * Whether the answer is of the application and not of a profiler in it: a
 * page of HTML, its word for a path that it does not know, or that the answer
 * is elsewhere.
 */

ngx_uint_t
ngx_http_debug_pprof_answer_is_foreign(ngx_http_debug_fetch_t *f)
{
    if (f->status >= NGX_HTTP_SPECIAL_RESPONSE
        && f->status < NGX_HTTP_BAD_REQUEST)
    {
        return 1;
    }

    if (ngx_http_debug_header_get(&f->headers, "X-Go-Pprof") != NULL) {
        return 0;
    }

    if (f->status == NGX_HTTP_NOT_FOUND) {
        return 1;
    }

    return ngx_http_debug_pprof_answer_is(f, "text/html");
}


/*
 * An application may answer 200 to whatever it is asked.  libpprof says its
 * process; Go's handlers say that their text is not to be taken for a page.
 * Who says nothing, as gperftools' legacy servers and others, is known by the
 * first bytes of a profile; see ngx_http_debug_magic.h.
 */

ngx_uint_t
ngx_http_debug_pprof_answer_is_profiler(ngx_http_debug_fetch_t *f)
{
    return ngx_http_debug_header_get(&f->headers, "X-Go-Pprof")
           || ngx_http_debug_header_get(&f->headers, "X-Pprof-Pid")
           || (ngx_http_debug_header_get(&f->headers, "X-Content-Type-Options")
               && ngx_http_debug_pprof_answer_is(f, "text/plain"));
}


ngx_uint_t
ngx_http_debug_pprof_answer_is(ngx_http_debug_fetch_t *f, char *type)
{
    size_t            len;
    ngx_table_elt_t  *h;

    len = ngx_strlen(type);
    h = ngx_http_debug_header_get(&f->headers, "Content-Type");

    return h != NULL
           && h->value.len >= len
           && ngx_strncasecmp(h->value.data, (u_char *) type, len) == 0;
}


/*
 * What a foreign answer was: "200", or of one that was left before its end
 * "200 and text/html without end, left after 16384 bytes".  Of the peer's own
 * words only what is good for a terminal.
 */

static u_char *
ngx_http_debug_pprof_answer_told(ngx_http_debug_fetch_t *f, u_char *p,
    u_char *last)
{
    size_t            i, len;
    ngx_table_elt_t  *type;

    p = ngx_slprintf(p, last, "%ui", f->status);

    if (!f->left) {
        return p;
    }

    p = ngx_slprintf(p, last, " and ");

    type = ngx_http_debug_header_get(&f->headers, "Content-Type");
    len = (type != NULL) ? ngx_min(type->value.len, 64) : 0;

    for (i = 0; i < len; i++) {
        *p++ = (type->value.data[i] >= 0x20 && type->value.data[i] < 0x7f)
               ? type->value.data[i] : '?';
    }

    return ngx_slprintf(p, last, "%s without end, left after %O bytes",
                        len ? "" : "something", f->body_size);
}


ngx_int_t
ngx_http_debug_pprof_answer_failed(ngx_http_debug_pprof_ctx_t *ctx)
{
    u_char                  *p, text[256];
    ngx_str_t                reason, what;
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

        what.len = ngx_http_debug_pprof_answer_told(f, text,
                                                    text + sizeof(text))
                   - text;
        what.data = text;

        if (ctx->process) {
            return ngx_http_debug_answer_say(ctx->request, status,
                       "%V says nothing of its process (it answered %V at"
                       " /debug/charts/data); libpprof and debugcharts do",
                       &f->name, &what);
        }

        return ngx_http_debug_answer_say(ctx->request, status,
                   "%V has no profile at %V (it answered %V); start it with"
                   " libpprof or net/http/pprof, or name the group that"
                   " listens for profiles in debug_pprof_pass",
                   &f->name, &ctx->uri, &what);

    case NGX_HTTP_DEBUG_FETCH_CONNECT:

        /* the next default peer is another one */

        ngx_http_debug_runs_refuse(&f->name, 1);

        return ngx_http_debug_answer_say(ctx->request, NGX_HTTP_BAD_GATEWAY,
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

    return ngx_http_debug_answer_say(ctx->request, status, "%V %V", &f->name,
                                     &reason);
}
