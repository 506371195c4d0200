
/*
 * May this be asked?  What speaks against it is said before a peer hears of
 * it.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_access.h"
#include "ngx_http_debug_answer.h"
#include "ngx_http_debug_kinds.h"
#include "ngx_http_debug_pprof.h"
#include "ngx_http_debug_pprof_ctx.h"
#include "ngx_http_debug_seconds.h"


#define NGX_HTTP_DEBUG_PPROF_SILENCE  60000  /* ms that a peer may think */
#define NGX_HTTP_DEBUG_PPROF_MARGIN   10000  /* ms beyond seconds x 1.5 */


static ngx_int_t ngx_http_debug_pprof_check_seconds(ngx_http_request_t *r,
    ngx_http_debug_pprof_ctx_t *ctx);


/* NGX_DECLINED: nothing speaks against it. */

ngx_int_t
ngx_http_debug_pprof_check(ngx_http_request_t *r,
    ngx_http_debug_pprof_ctx_t *ctx)
{
    ngx_int_t    rc;
    ngx_str_t   *name, allow;
    ngx_uint_t   i, allowed;

    static ngx_str_t  get = ngx_string("GET, HEAD");
    static ngx_str_t  post = ngx_string("GET, HEAD, POST");

    /*
     * A kind that is not known here may be a program's own, if it is named, or
     * if "all" is, which then means what can be one.
     */

    allowed = ctx->process;
    name = ctx->conf->kinds->elts;

    for (i = 0; i < ctx->conf->kinds->nelts; i++) {
        if ((name[i].len == ctx->kind.len
             && ngx_strncmp(name[i].data, ctx->kind.data, name[i].len) == 0)
            || (ngx_http_debug_kinds_is_all(&name[i])
                && ngx_http_debug_kinds_valid(&ctx->kind)))
        {
            allowed = 1;
            break;
        }
    }

    if (!allowed && ngx_http_debug_kinds_find(&ctx->kind) != NULL) {
        return ngx_http_debug_answer_say(r, NGX_HTTP_FORBIDDEN,
                   "%V profiles are not let through;"
                   " see debug_pprof_kinds", &ctx->kind);
    }

    if (!allowed) {

        /* Go's words */

        return ngx_http_debug_answer_literal(r, NGX_HTTP_NOT_FOUND,
                                             "Unknown profile");
    }

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))
        && !(r->method == NGX_HTTP_POST
             && (ctx->flags & NGX_HTTP_DEBUG_KIND_BODY)))
    {
        allow = (ctx->flags & NGX_HTTP_DEBUG_KIND_BODY) ? post : get;

        if (ngx_http_debug_header_add(r, "Allow", &allow) != NGX_OK) {
            return NGX_ERROR;
        }

        return ngx_http_debug_answer_say(r, NGX_HTTP_NOT_ALLOWED,
                   "%V takes %V", &ctx->kind, &allow);
    }

    /* a page of somebody else's must not make a visitor profile us */

    rc = ngx_http_debug_access_site(r);
    if (rc != NGX_DECLINED) {
        return rc;
    }

    if (ngx_http_debug_pprof_answer_peer(r, ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ctx->fetch.sockaddr == NULL) {
        return ngx_http_debug_answer_say(r, NGX_HTTP_NOT_FOUND,
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
    ngx_msec_t                       msec;
    ngx_http_debug_kind_t           *kind;
    ngx_http_debug_seconds_result_e  result;

    ctx->fetch.timeout = NGX_HTTP_DEBUG_PPROF_SILENCE;

    result = ngx_http_debug_seconds(&r->args,
                               ctx->flags & NGX_HTTP_DEBUG_KIND_FRACTION,
                               &msec);

    if (result == NGX_HTTP_DEBUG_SECONDS_NONE
        || result == NGX_HTTP_DEBUG_SECONDS_INVALID)
    {
        kind = ngx_http_debug_kinds_find(&ctx->kind);
        msec = (kind != NULL) ? kind->seconds * 1000 : 0;

        if (msec == 0) {
            return NGX_DECLINED;
        }
    }

    if (ctx->flags & NGX_HTTP_DEBUG_KIND_TEXT) {
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

    return NGX_DECLINED;
}
