
/*
 * A text that grows.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_debug_out.h"


void
ngx_http_debug_out_init(ngx_http_debug_out_t *out, ngx_pool_t *pool)
{
    ngx_memzero(out, sizeof(ngx_http_debug_out_t));

    out->pool = pool;
    out->last = &out->chain;
}


u_char *
ngx_http_debug_out_room(ngx_http_debug_out_t *out, size_t size)
{
    ngx_chain_t  *cl;

    if (out->buf && (size_t) (out->buf->end - out->buf->last) >= size) {
        return out->buf->last;
    }

    if (out->failed) {
        return NULL;
    }

    cl = ngx_alloc_chain_link(out->pool);
    out->buf = ngx_create_temp_buf(out->pool, NGX_HTTP_DEBUG_OUT_CHUNK);

    if (cl == NULL || out->buf == NULL || size > NGX_HTTP_DEBUG_OUT_CHUNK) {
        out->failed = 1;
        out->buf = NULL;
        return NULL;
    }

    cl->buf = out->buf;
    cl->next = NULL;

    *out->last = cl;
    out->last = &cl->next;

    return out->buf->last;
}


void
ngx_http_debug_out_end(ngx_http_debug_out_t *out, u_char *end)
{
    out->size += end - out->buf->last;
    out->buf->last = end;
}


void
ngx_http_debug_out_put(ngx_http_debug_out_t *out, void *data, size_t len)
{
    size_t   n;
    u_char  *p, *src;

    src = data;

    while (len) {
        n = out->buf ? (size_t) (out->buf->end - out->buf->last) : 0;

        if (n == 0) {
            n = NGX_HTTP_DEBUG_OUT_CHUNK;
        }

        n = ngx_min(n, len);

        p = ngx_http_debug_out_room(out, n);
        if (p == NULL) {
            return;
        }

        ngx_http_debug_out_end(out, ngx_cpymem(p, src, n));

        src += n;
        len -= n;
    }
}


void
ngx_http_debug_out_uint(ngx_http_debug_out_t *out, uint64_t n)
{
    u_char  *p, *end, text[NGX_INT64_LEN];

    /* ngx_sprintf() of one number costs ten times as much */

    end = text + sizeof(text);
    p = end;

    do {
        *--p = (u_char) (n % 10 + '0');
        n /= 10;
    } while (n);

    ngx_http_debug_out_put(out, p, end - p);
}


void ngx_cdecl
ngx_http_debug_out_print(ngx_http_debug_out_t *out, const char *fmt, ...)
{
    u_char   *p;
    va_list   args;

    p = ngx_http_debug_out_room(out, 1024);
    if (p == NULL) {
        return;
    }

    va_start(args, fmt);
    p = ngx_vslprintf(p, p + 1024, fmt, args);
    va_end(args);

    ngx_http_debug_out_end(out, p);
}
