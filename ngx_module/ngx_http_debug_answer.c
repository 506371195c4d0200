
/*
 * Answers that the module makes itself.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_answer.h"
#include "ngx_http_debug_send.h"


ngx_int_t
ngx_http_debug_header_add(ngx_http_request_t *r, char *name, ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    h->key.len = ngx_strlen(name);
    h->key.data = (u_char *) name;
    h->value = *value;

    return NGX_OK;
}


ngx_table_elt_t *
ngx_http_debug_header_find(ngx_http_request_t *r, char *lowcase)
{
    return ngx_http_debug_header_get(&r->headers_in.headers, lowcase);
}


ngx_table_elt_t *
ngx_http_debug_header_get(ngx_list_t *headers, char *name)
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


ngx_int_t
ngx_http_debug_answer_guard(ngx_http_request_t *r)
{
    static ngx_str_t  no_store = ngx_string("no-store");
    static ngx_str_t  nosniff = ngx_string("nosniff");

    if (ngx_http_debug_header_add(r, "Cache-Control", &no_store) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_debug_header_add(r, "X-Content-Type-Options", &nosniff);
}


ngx_int_t
ngx_http_debug_answer_sandbox(ngx_http_request_t *r)
{
    static ngx_str_t  sandbox = ngx_string("sandbox");

    return ngx_http_debug_header_add(r, "Content-Security-Policy", &sandbox);
}


ngx_int_t
ngx_http_debug_answer_chain(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *type, ngx_chain_t *out, off_t length)
{
    ngx_int_t           rc;
    ngx_buf_t          *b;
    ngx_chain_t        *cl, last;

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    r->headers_out.status = status;
    r->headers_out.content_length_n = length;
    r->headers_out.content_type = *type;
    r->headers_out.content_type_len = type->len;
    r->headers_out.content_type_lowcase = NULL;

    if (ngx_http_debug_answer_guard(r) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = ngx_http_debug_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    if (out == NULL) {
        b = ngx_calloc_buf(r->pool);
        if (b == NULL) {
            return NGX_ERROR;
        }

        last.buf = b;
        last.next = NULL;
        out = &last;
    }

    for (cl = out; cl->next; cl = cl->next) { /* void */ }

    cl->buf->last_buf = (r == r->main) ? 1 : 0;
    cl->buf->last_in_chain = 1;

    return ngx_http_debug_send_body(r, out);
}


ngx_int_t
ngx_http_debug_answer_text(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *sentence)
{
    ngx_buf_t    *b;
    ngx_chain_t  *out;

    static ngx_str_t  one = ngx_string("1");
    static ngx_str_t  type = ngx_string("text/plain; charset=utf-8");

    b = ngx_create_temp_buf(r->pool, sentence->len + 1);
    out = ngx_alloc_chain_link(r->pool);

    if (b == NULL || out == NULL) {
        return NGX_ERROR;
    }

    b->last = ngx_cpymem(b->last, sentence->data, sentence->len);
    *b->last++ = LF;

    out->buf = b;
    out->next = NULL;

    if (ngx_http_debug_header_add(r, "X-Go-Pprof", &one) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_debug_answer_chain(r, status, &type, out,
                                       b->last - b->pos);
}


ngx_int_t ngx_cdecl
ngx_http_debug_answer_say(ngx_http_request_t *r, ngx_uint_t status,
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


ngx_int_t
ngx_http_debug_answer_only_get(ngx_http_request_t *r)
{
    static ngx_str_t  allow = ngx_string("GET, HEAD");

    if (r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD)) {
        return NGX_DECLINED;
    }

    if (ngx_http_debug_header_add(r, "Allow", &allow) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_debug_answer_literal(r, NGX_HTTP_NOT_ALLOWED,
                                         "only GET and HEAD are allowed");
}


ngx_int_t
ngx_http_debug_answer_redirect(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *location)
{
    static ngx_str_t  text = ngx_string("see the Location header");

    /*
     * Not r->headers_out.location: nginx would make it absolute with its own
     * idea of the scheme, host and port.
     */

    if (ngx_http_debug_header_add(r, "Location", location) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_debug_answer_text(r, status, &text);
}


ngx_uint_t
ngx_http_debug_answer_is_text(ngx_http_request_t *r)
{
    ngx_table_elt_t  *h;

    h = ngx_http_debug_header_find(r, "accept");

    if (h != NULL) {
        return ngx_strlcasestrn(h->value.data, h->value.data + h->value.len,
                                (u_char *) "text/html",
                                sizeof("text/html") - 2)
               == NULL;
    }

    h = r->headers_in.user_agent;

    return h != NULL
           && h->value.len >= sizeof("Go-http-client") - 1
           && ngx_strncmp(h->value.data, "Go-http-client",
                          sizeof("Go-http-client") - 1)
              == 0;
}
