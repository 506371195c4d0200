/*
 * Feeds anything to the reader of a peer's answer, as a whole and in pieces:
 * how it arrives must not change what is read.
 *
 * Input: a byte of flags, a byte for the size of the pieces, and the answer.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>

/* there is no socket to be closed */
#define ngx_close_connection(c)

#include "../../../ngx_module/ngx_http_debug_fetch.c"

#undef ngx_close_connection

#include "host.h"


enum {
    HEAD   = 0x01,      /* the answer is HEAD's */
    RESET  = 0x02,      /* it ends by an error and not by a close */
    LEAVE  = 0x04,      /* the owner has enough after some of the body */
    BLOCK  = 0x08       /* the owner is slow */
};


struct outcome {
    const u_char                  *data;
    size_t                         len;
    size_t                         at;
    size_t                         piece;
    unsigned                       flags;

    unsigned                       headers;     /* times that it was told */
    unsigned                       ended;
    size_t                         bodies;
    off_t                          size;
    uint32_t                       hash;
    ngx_uint_t                     status;
    off_t                          length;
    ngx_http_debug_fetch_result_e  result;
};


static void
must(int condition)
{
    if (!condition) {
        abort();
    }
}


static ssize_t
receive(ngx_connection_t *c, u_char *buf, size_t size)
{
    ngx_http_debug_fetch_t  *f = c->data;
    struct outcome          *o = f->data;
    size_t                   n = o->len - o->at;

    must(size > 0);

    if (n == 0) {
        return o->flags & RESET ? NGX_ERROR : 0;
    }

    n = ngx_min(n, ngx_min(size, o->piece));
    ngx_memcpy(buf, o->data + o->at, n);
    o->at += n;

    return n;
}


static ngx_int_t
on_header(ngx_http_debug_fetch_t *f)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;
    struct outcome   *o = f->data;

    must(o->headers++ == 0 && !o->ended);
    must(f->status >= 200 && f->status <= 599);
    must(f->length >= -1);

    for (part = &f->headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            must(h[i].key.len > 0);
            must(h[i].key.data[h[i].key.len] == '\0');
            must(h[i].value.data[h[i].value.len] == '\0');

            /* what could split an answer */
            must(ngx_strlchr(h[i].value.data,
                             h[i].value.data + h[i].value.len, '\n') == NULL);
            must(ngx_strlchr(h[i].value.data,
                             h[i].value.data + h[i].value.len, '\0') == NULL);
        }
    }

    o->status = f->status;
    o->length = f->length;

    return NGX_OK;
}


static ngx_int_t
on_body(ngx_http_debug_fetch_t *f, ngx_chain_t *in)
{
    struct outcome  *o = f->data;

    must(o->headers == 1 && !o->ended && in != NULL);

    for ( /* void */ ; in; in = in->next) {
        must(in->buf->last > in->buf->pos);
        o->size += in->buf->last - in->buf->pos;
        ngx_crc32_update(&o->hash, in->buf->pos,
                         in->buf->last - in->buf->pos);
    }

    o->bodies++;

    if ((o->flags & LEAVE) && o->bodies == 3) {
        o->ended++;
        return NGX_ERROR;
    }

    return o->flags & BLOCK ? NGX_AGAIN : NGX_OK;
}


static void
on_end(ngx_http_debug_fetch_t *f)
{
    u_char           text[64];
    struct outcome  *o = f->data;

    must(o->ended++ == 0);

    o->result = f->result;

    must(ngx_http_debug_fetch_reason(f, text, text + sizeof(text))
         <= text + sizeof(text));
}


static void
run(ngx_log_t *log, struct outcome *o)
{
    ngx_event_t              read, write;
    ngx_connection_t         c;
    ngx_http_debug_fetch_t   f;

    ngx_memzero(&f, sizeof(f));
    ngx_memzero(&c, sizeof(c));
    ngx_memzero(&read, sizeof(read));
    ngx_memzero(&write, sizeof(write));

    ngx_crc32_init(o->hash);

    f.pool = ngx_create_pool(1024, log);
    f.log = log;
    f.head = o->flags & HEAD;
    f.timeout = 1000;
    f.data = o;
    f.header = on_header;
    f.body = on_body;
    f.end = on_end;

    must(ngx_http_debug_fetch_init(&f) == NGX_OK);

    ngx_str_set(&f.name, "peer");

    c.fd = (ngx_socket_t) -1;
    c.data = &f;
    c.log = log;
    c.read = &read;
    c.write = &write;
    c.recv = receive;
    read.data = &c;
    write.data = &c;
    read.log = log;
    write.log = log;

    f.peer.connection = &c;
    f.parse->connection = &c;
    f.connected = 1;
    f.request_sent = 1;

    ngx_queue_init(&ngx_posted_next_events);

    ngx_http_debug_fetch_read(&f);

    while (!o->ended) {

        /* it read enough for one turn of the event loop */
        if (read.posted) {
            ngx_delete_posted_event(&read);
            ngx_http_debug_fetch_read(&f);
            continue;
        }

        must(f.blocked);
        ngx_http_debug_fetch_resume(&f);
    }

    must(o->ended == 1 && f.peer.connection == NULL);
    must(f.body_size >= o->size);

    if (o->result == NGX_HTTP_DEBUG_FETCH_OK && !(o->flags & LEAVE)) {
        must(o->headers == 1 && o->size == f.body_size);

        /* a length that was promised and not kept is no good end */
        must(o->length == -1 || o->size == o->length
             || (o->flags & HEAD) || o->status == 204 || o->status == 304);
        must(f.complete || !f.framed);
    }

    ngx_destroy_pool(f.pool);
}


static void
fuzz(ngx_pool_t *pool, const u_char *data, size_t size)
{
    struct outcome  whole, pieces;

    if (size < 2) {
        return;
    }

    ngx_memzero(&whole, sizeof(whole));

    whole.data = data + 2;
    whole.len = size - 2;
    whole.flags = data[0];
    whole.piece = whole.len + 1;
    pieces = whole;
    pieces.piece = 1 + data[1] % 64;

    run(pool->log, &whole);
    run(pool->log, &pieces);

    if (whole.flags & LEAVE) {
        return;
    }

    must(whole.result == pieces.result && whole.headers == pieces.headers
         && whole.status == pieces.status && whole.length == pieces.length);

    if (whole.result == NGX_HTTP_DEBUG_FETCH_OK) {
        must(whole.size == pieces.size && whole.hash == pieces.hash);
    }
}
