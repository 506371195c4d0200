
/*
 * The mark of a request on its way to a peer: the route it came by and an id,
 * in what nginx is about to send.
 *
 * A profiler in the peer reads it there.  It believes the first header only
 * (of gRPC the last), and that one is ours: whatever a client calls by the
 * same name stands behind it.
 *
 *     http      X-Debug-Route: name;0123abcd     right behind the request line
 *     fastcgi   DEBUG_ROUTE, in a PARAMS record of its own, the first
 *     uwsgi     DEBUG_ROUTE, the first pair
 *     scgi      DEBUG_ROUTE, the pair behind CONTENT_LENGTH
 *     grpc      x-debug-route, the last of the header block, not indexed
 *
 * HTTP/2 without gRPC is as gRPC; memcached has no place for it.
 *
 * Formats: FastCGI Specification 1.0, 3.3 and 3.4;
 * https://uwsgi-docs.readthedocs.io/en/latest/Protocol.html;
 * https://python.ca/scgi/protocol.txt; RFC 9113, 4.1 and 6.2; RFC 7541, 6.2.2.
 */


#ifndef _NGX_HTTP_DEBUG_MARK_H_INCLUDED_
#define _NGX_HTTP_DEBUG_MARK_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


#define NGX_HTTP_DEBUG_ROUTE_LEN  48      /* bytes of a route's name */
#define NGX_HTTP_DEBUG_ID_LEN     8       /* of an id, in hex */

#define NGX_HTTP_DEBUG_FORMS      5


typedef struct {
    ngx_str_t  text[NGX_HTTP_DEBUG_FORMS];
                             /* what is inserted, with room for the id */
} ngx_http_debug_mark_t;


/*
 * Makes the texts of a route of NAME, which may be empty: that one says that
 * there is none.  Returns NULL if there is no memory.  Context: configuration.
 */
ngx_http_debug_mark_t *ngx_http_debug_mark_create(ngx_conf_t *cf,
    ngx_str_t *name);

/*
 * Puts MARK with ID into the request that R's upstream is about to send, after
 * create_request and before anything is sent.  Not where the protocol has no
 * place for it, or nginx no memory: then it goes without.  It is in one buffer
 * with what surrounds it, since some filters of nginx frame all but the first.
 *
 * Returns the digits of the id, which belong to r->pool, or NULL where it goes
 * without.  Context: worker, request.
 */
u_char *ngx_http_debug_mark_put(ngx_http_request_t *r,
    ngx_http_debug_mark_t *mark, uint32_t id);

/* Does the client of R say something of the kind?  Context: worker, request */
ngx_uint_t ngx_http_debug_mark_claimed(ngx_http_request_t *r);


/* Writes the ID's eight digits to P. */

static ngx_inline u_char *
ngx_http_debug_mark_hex(u_char *p, uint32_t id)
{
#if (NGX_HAVE_LITTLE_ENDIAN)

    uint64_t  x;

    /* a digit a byte, the first one in the lowest; then to letters at once */

    x = id;
    x = ((x & 0xffff) << 32) | (x >> 16);
    x = ((x & 0x000000ff000000ff) << 16) | ((x & 0x0000ff000000ff00) >> 8);
    x = ((x & 0x000f000f000f000f) << 8) | ((x & 0x00f000f000f000f0) >> 4);
    x += 0x3030303030303030
         + ((x + 0x0606060606060606) >> 4 & 0x0101010101010101)
           * ('a' - '0' - 10);

    ngx_memcpy(p, &x, 8);

    return p + 8;

#else

    return ngx_sprintf(p, "%08xD", id);

#endif
}


#endif /* _NGX_HTTP_DEBUG_MARK_H_INCLUDED_ */
