
/*
 * What the peer is asked.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_answer.h"
#include "ngx_http_debug_pprof.h"
#include "ngx_http_debug_pprof_ctx.h"
#include "ngx_http_debug_via.h"


void
ngx_http_debug_pprof_request_aim(ngx_http_debug_fetch_t *f,
    ngx_http_debug_pprof_ssl_t *ssl, ngx_str_t *name,
    ngx_http_debug_peer_t *peer)
{
    f->name = peer->pass;
    f->sockaddr = peer->sockaddr;
    f->socklen = peer->socklen;

    ngx_http_debug_pprof_request_tls(f, ssl, name);
}


void
ngx_http_debug_pprof_request_tls(ngx_http_debug_fetch_t *f,
    ngx_http_debug_pprof_ssl_t *ssl, ngx_str_t *name)
{
#if (NGX_HTTP_SSL)

    if (ssl != NULL) {
        f->ssl = ssl->ssl;
        f->ssl_verify = ssl->verify;
        f->ssl_server_name = 1;
        f->ssl_name = ssl->name.len ? ssl->name : *name;
    }

#endif
}


ngx_int_t
ngx_http_debug_pprof_request_beside(ngx_pool_t *pool, ngx_str_t *prefix,
    ngx_str_t *rest, ngx_str_t *path)
{
    size_t  len;

    for (len = prefix->len; len && prefix->data[len - 1] != '/'; len--) {
        /* void */
    }

    path->len = len + rest->len;
    path->data = ngx_pnalloc(pool, path->len);
    if (path->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(ngx_cpymem(path->data, prefix->data, len), rest->data,
               rest->len);

    return NGX_OK;
}


ngx_int_t
ngx_http_debug_pprof_request_small(ngx_http_debug_fetch_t *f, char *method,
    ngx_str_t *path, ngx_http_request_t *r)
{
    ngx_buf_t    *b;
    ngx_str_t     host;
    ngx_chain_t  *cl;

    ngx_http_debug_fetch_host(f, &host);

    b = ngx_create_temp_buf(f->pool, 128 + path->len + host.len
                                     + NGX_HTTP_DEBUG_VIA_LINE);
    cl = ngx_alloc_chain_link(f->pool);

    if (b == NULL || cl == NULL) {
        return NGX_ERROR;
    }

    b->last = ngx_sprintf(b->last, "%s %V HTTP/1.1" CRLF
                                   "Host: %V" CRLF
                                   "Connection: close" CRLF
                                   "User-Agent: ngx_http_debug_module" CRLF,
                          method, path, &host);

    b->last = ngx_http_debug_via_line(b->last, r);
    b->last = ngx_cpymem(b->last, CRLF, sizeof(CRLF) - 1);

    cl->buf = b;
    cl->next = NULL;

    f->request = cl;

    return NGX_OK;
}


/*
 * The request as the peer gets it.  Of the client's headers only those that
 * say what it can read: cookies and credentials were for nginx, and a
 * profiler has no use for them.
 */

ngx_int_t
ngx_http_debug_pprof_request_create(ngx_http_debug_pprof_ctx_t *ctx)
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

    ngx_http_debug_fetch_host(&ctx->fetch, &host);

    forwarded = ngx_http_debug_header_find(r, "x-forwarded-for");

    len = r->method_name.len + 1 + ctx->uri.len + sizeof(" HTTP/1.1" CRLF)
          + sizeof("Host: " CRLF) + host.len
          + sizeof("Connection: close" CRLF)
          + sizeof("X-Forwarded-For: , " CRLF)
          + r->connection->addr_text.len
          + (forwarded ? forwarded->value.len : 0)
          + NGX_HTTP_DEBUG_VIA_LINE
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

    b->last = ngx_http_debug_via_line(b->last, r);

    if (r->method == NGX_HTTP_POST) {
        b->last = ngx_sprintf(b->last, "Content-Length: %O" CRLF,
                              ctx->body.size);
    }

    b->last = ngx_cpymem(b->last, CRLF, sizeof(CRLF) - 1);

    cl->buf = b;
    cl->next = ctx->body.chain;

    ctx->fetch.request = cl;

    return NGX_OK;
}
