
/*
 * Errors that nginx itself answers in a location of ours.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_answer.h"
#include "ngx_http_debug_plain.h"
#include "ngx_http_debug_record.h"
#include "ngx_http_debug_send.h"


typedef struct {
    ngx_str_t   sentence;
    ngx_uint_t  sent;         /* unsigned  sent:1; */
} ngx_http_debug_plain_ctx_t;


typedef struct {
    ngx_uint_t  status;
    ngx_str_t   sentence;     /* with its line feed */
} ngx_http_debug_plain_error_t;


static ngx_int_t ngx_http_debug_plain_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_debug_plain_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);
static ngx_http_debug_seldom ngx_int_t ngx_http_debug_plain_body(
    ngx_http_request_t *r, ngx_chain_t *in);
static ngx_http_debug_plain_ctx_t *ngx_http_debug_plain_get_ctx(
    ngx_http_request_t *r);
static void ngx_http_debug_plain_cleanup(void *data);


extern ngx_module_t  ngx_http_debug_module;


static ngx_http_debug_plain_error_t  ngx_http_debug_plain_errors[] = {

    { 400, ngx_string("nginx does not understand this request\n") },
    { 401, ngx_string("a name and a password are needed here\n") },
    { 403, ngx_string("access denied\n") },
    { 404, ngx_string("not found\n") },
    { 405, ngx_string("this method is not for here\n") },
    { 429, ngx_string("too many requests; ask again later\n") },
    { 500, ngx_string("nginx failed; its error log says why\n") },
    { 503, ngx_string("too many requests; ask again later\n") },

    { 0,   ngx_string("nginx refused this request; its error log may say"
                      " why\n") }
};


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_next_body_filter;


static ngx_int_t
ngx_http_debug_plain_header_filter(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t                *cln;
    ngx_http_debug_plain_ctx_t        *ctx;
    ngx_http_debug_plain_error_t      *error;
    ngx_http_debug_record_loc_conf_t  *rlcf;

    static ngx_str_t  type = ngx_string("text/plain; charset=utf-8");
    static ngx_str_t  no_store = ngx_string("no-store");
    static ngx_str_t  nosniff = ngx_string("nosniff");
    static ngx_str_t  one = ngx_string("1");

    if (r->err_status < NGX_HTTP_BAD_REQUEST || r != r->main) {
        return ngx_http_next_header_filter(r);
    }

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_debug_module);

    if (!rlcf->own) {
        return ngx_http_next_header_filter(r);
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_debug_plain_ctx_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_debug_plain_cleanup;

    for (error = ngx_http_debug_plain_errors; error->status; error++) {
        if (error->status == r->err_status) {
            break;
        }
    }

    ctx = cln->data;
    ctx->sentence = error->sentence;
    ctx->sent = 0;

    /* whatever the filters above us promised of the page */

    ngx_http_clear_content_length(r);
    ngx_http_clear_accept_ranges(r);
    ngx_http_clear_last_modified(r);
    ngx_http_clear_etag(r);

    if (r->headers_out.content_encoding) {
        r->headers_out.content_encoding->hash = 0;
        r->headers_out.content_encoding = NULL;
    }

    r->headers_out.content_length_n = ctx->sentence.len;
    r->headers_out.content_type = type;
    r->headers_out.content_type_len = type.len;
    r->headers_out.content_type_lowcase = NULL;
    ngx_str_null(&r->headers_out.charset);

    if (ngx_http_debug_header_add(r, "Cache-Control", &no_store) != NGX_OK
        || ngx_http_debug_header_add(r, "X-Content-Type-Options", &nosniff)
           != NGX_OK
        || ngx_http_debug_header_add(r, "X-Go-Pprof", &one) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_next_header_filter(r);
}


static ngx_int_t
ngx_http_debug_plain_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    if (r->main->err_status < NGX_HTTP_BAD_REQUEST || in == NULL) {
        return ngx_http_next_body_filter(r, in);
    }

    return ngx_http_debug_plain_body(r, in);
}


static ngx_int_t
ngx_http_debug_plain_body(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_buf_t                   *b;
    ngx_chain_t                  out;
    ngx_http_debug_plain_ctx_t  *ctx;

    ctx = ngx_http_debug_plain_get_ctx(r->main);

    if (ctx == NULL) {
        return ngx_http_next_body_filter(r, in);
    }

    /* the page, and whatever was put around it */

    for ( /* void */ ; in; in = in->next) {
        in->buf->pos = in->buf->last;
        in->buf->file_pos = in->buf->file_last;
    }

    if (ctx->sent) {
        return ngx_http_debug_send_waits(r)
               ? ngx_http_next_body_filter(r, NULL) : NGX_OK;
    }

    ctx->sent = 1;

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->pos = ctx->sentence.data;
    b->last = ctx->sentence.data + ctx->sentence.len;
    b->memory = 1;
    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_next_body_filter(r->main, &out);
}


/* r->ctx is the recorder's: a cleanup marks the request. */

static ngx_http_debug_plain_ctx_t *
ngx_http_debug_plain_get_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_debug_plain_cleanup) {
            return cln->data;
        }
    }

    return NULL;
}


static void
ngx_http_debug_plain_cleanup(void *data)
{
}


ngx_int_t
ngx_http_debug_plain_init(ngx_conf_t *cf)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_debug_plain_header_filter;

    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_debug_plain_body_filter;

    return NGX_OK;
}
