
/*
 * What is known of a profile request, and the variables that tell it to the
 * access log.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_pprof.h"
#include "ngx_http_debug_pprof_ctx.h"


static void ngx_http_debug_pprof_ctx_cleanup(void *data);
static ngx_int_t ngx_http_debug_pprof_ctx_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_debug_pprof_ctx_seconds(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


static ngx_http_variable_t  ngx_http_debug_pprof_vars[] = {

    { ngx_string("debug_upstream"), NULL, ngx_http_debug_pprof_ctx_variable,
      offsetof(ngx_http_debug_pprof_ctx_t, upstream), 0, 0 },

    { ngx_string("debug_peer"), NULL, ngx_http_debug_pprof_ctx_variable,
      offsetof(ngx_http_debug_pprof_ctx_t, peer), 0, 0 },

    { ngx_string("debug_kind"), NULL, ngx_http_debug_pprof_ctx_variable,
      offsetof(ngx_http_debug_pprof_ctx_t, kind), 0, 0 },

    { ngx_string("debug_seconds"), NULL,
      ngx_http_debug_pprof_ctx_seconds, 0, 0, 0 },

      ngx_http_null_variable
};


ngx_http_debug_pprof_ctx_t *
ngx_http_debug_pprof_ctx_create(ngx_http_request_t *r,
    ngx_http_debug_pprof_conf_t *conf)
{
    ngx_pool_cleanup_t          *cln;
    ngx_http_debug_pprof_ctx_t  *ctx;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_debug_pprof_ctx_t));
    if (cln == NULL) {
        return NULL;
    }

    ctx = cln->data;
    ngx_memzero(ctx, sizeof(ngx_http_debug_pprof_ctx_t));
    cln->handler = ngx_http_debug_pprof_ctx_cleanup;

    ctx->request = r;
    ctx->conf = conf;
    ctx->seconds = -1;
    ctx->body.last = &ctx->body.chain;
    ctx->share.last = &ctx->share.copy;

    return ctx;
}


/*
 * The context is where its cleanup is, since r->ctx is the recorder's, and
 * variables want it after the request's own cleanups have run.
 */

ngx_http_debug_pprof_ctx_t *
ngx_http_debug_pprof_ctx_get(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_debug_pprof_ctx_cleanup) {
            return cln->data;
        }
    }

    return NULL;
}


/* Marks the context; what it has to end has ended before. */

static void
ngx_http_debug_pprof_ctx_cleanup(void *data)
{
}


static ngx_int_t
ngx_http_debug_pprof_ctx_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t                   *value;
    ngx_http_debug_pprof_ctx_t  *ctx;

    ctx = ngx_http_debug_pprof_ctx_get(r->main);

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
ngx_http_debug_pprof_ctx_seconds(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                      *p;
    ngx_http_debug_pprof_ctx_t  *ctx;

    ctx = ngx_http_debug_pprof_ctx_get(r->main);

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
