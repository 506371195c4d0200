
/*
 * A text that grows: a chain of buffers in a pool, which remembers its own
 * failure, so that many appends need one check.
 *
 * Owner: the pool.  Context: worker, request.
 */


#ifndef _NGX_HTTP_DEBUG_OUT_H_INCLUDED_
#define _NGX_HTTP_DEBUG_OUT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_HTTP_DEBUG_OUT_CHUNK  32768


typedef struct {
    ngx_pool_t    *pool;
    ngx_chain_t   *chain;     /* NULL: nothing yet */
    ngx_chain_t  **last;
    ngx_buf_t     *buf;       /* the one that is being filled */
    off_t          size;      /* bytes in all */
    ngx_uint_t     failed;    /* unsigned  failed:1; */
} ngx_http_debug_out_t;


void ngx_http_debug_out_init(ngx_http_debug_out_t *out, ngx_pool_t *pool);

/*
 * Makes room for SIZE bytes in one piece, at most NGX_HTTP_DEBUG_OUT_CHUNK.
 * Returns where they go, or NULL; ngx_http_debug_out_end() takes the end of
 * what was written there.
 */
u_char *ngx_http_debug_out_room(ngx_http_debug_out_t *out, size_t size);
void ngx_http_debug_out_end(ngx_http_debug_out_t *out, u_char *end);

/* Appends LEN bytes, any number. */
void ngx_http_debug_out_put(ngx_http_debug_out_t *out, void *data, size_t len);

/* Appends a number. */
void ngx_http_debug_out_uint(ngx_http_debug_out_t *out, uint64_t n);

/*
 * Appends what ngx_sprintf() makes of FMT.  The caller promises at most 1024
 * bytes: no names, which can be of any length.
 */
void ngx_cdecl ngx_http_debug_out_print(ngx_http_debug_out_t *out,
    const char *fmt, ...);

#define ngx_http_debug_out_str(out, s)                                        \
    ngx_http_debug_out_put(out, (s)->data, (s)->len)
#define ngx_http_debug_out_literal(out, text)                                 \
    ngx_http_debug_out_put(out, (void *) text, sizeof(text) - 1)


#endif /* _NGX_HTTP_DEBUG_OUT_H_INCLUDED_ */
