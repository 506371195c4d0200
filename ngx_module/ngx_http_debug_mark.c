
/*
 * The mark of a request on its way to a peer.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_mark.h"


#define NGX_HTTP_DEBUG_MARK_HTTP     0
#define NGX_HTTP_DEBUG_MARK_FASTCGI  1
#define NGX_HTTP_DEBUG_MARK_UWSGI    2
#define NGX_HTTP_DEBUG_MARK_SCGI     3
#define NGX_HTTP_DEBUG_MARK_HTTP2    4

/* what is around "name;0123abcd" */
#define NGX_HTTP_DEBUG_MARK_AROUND   32

/* of HTTP/2: preface, head of a frame, the most that one holds by default */
#define NGX_HTTP_DEBUG_MARK_PREFACE  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define NGX_HTTP_DEBUG_MARK_HEAD     9
#define NGX_HTTP_DEBUG_MARK_FRAME    16384


static ngx_uint_t ngx_http_debug_mark_is_http2(ngx_buf_t *b);
static u_char *ngx_http_debug_mark_other(ngx_http_request_t *r,
    ngx_http_debug_mark_t *mark, uint32_t id, ngx_buf_t *b);
static ngx_int_t ngx_http_debug_mark_form(ngx_http_upstream_t *u);
static u_char *ngx_http_debug_mark_uwsgi(ngx_http_request_t *r, ngx_buf_t *b,
    ngx_str_t *text, uint32_t id);
static u_char *ngx_http_debug_mark_scgi(ngx_http_request_t *r, ngx_buf_t *b,
    ngx_str_t *text, uint32_t id);
static u_char *ngx_http_debug_mark_http2(ngx_http_request_t *r, ngx_buf_t *b,
    ngx_str_t *text, uint32_t id);


static ngx_str_t  ngx_http_debug_mark_header = ngx_string("X-Debug-Route");
static ngx_str_t  ngx_http_debug_mark_lowcase = ngx_string("x-debug-route");
static ngx_str_t  ngx_http_debug_mark_param = ngx_string("DEBUG_ROUTE");


ngx_http_debug_mark_t *
ngx_http_debug_mark_create(ngx_conf_t *cf, ngx_str_t *name)
{
    size_t                  len, size;
    u_char                 *p;
    ngx_str_t              *text, *header, *lowcase, *param;
    ngx_http_debug_mark_t  *mark;

    header = &ngx_http_debug_mark_header;
    lowcase = &ngx_http_debug_mark_lowcase;
    param = &ngx_http_debug_mark_param;

    /* all lengths below fit into seven bits, of which HPACK knows no others */

    len = name->len + 1 + NGX_HTTP_DEBUG_ID_LEN;
    size = NGX_HTTP_DEBUG_MARK_AROUND + len;

    mark = ngx_palloc(cf->pool, sizeof(ngx_http_debug_mark_t)
                                + NGX_HTTP_DEBUG_FORMS * size);
    if (mark == NULL) {
        return NULL;
    }

    text = mark->text;
    p = (u_char *) &mark[1];

    text[NGX_HTTP_DEBUG_MARK_HTTP].data = p;
    p = ngx_sprintf(p, "%V: %V;00000000" CRLF, header, name);
    text[NGX_HTTP_DEBUG_MARK_HTTP].len = p
                                      - text[NGX_HTTP_DEBUG_MARK_HTTP].data;

    /* version 1, PARAMS, request 1, length, no padding */

    text[NGX_HTTP_DEBUG_MARK_FASTCGI].data = p;
    p = ngx_sprintf(p, "%c%c%c%c%c%c%c%c%c%c%V%V;00000000",
                    1, 4, 0, 1, 0, (int) (2 + param->len + len), 0, 0,
                    (int) param->len, (int) len, param, name);
    text[NGX_HTTP_DEBUG_MARK_FASTCGI].len = p
                                   - text[NGX_HTTP_DEBUG_MARK_FASTCGI].data;

    text[NGX_HTTP_DEBUG_MARK_UWSGI].data = p;
    p = ngx_sprintf(p, "%c%c%V%c%c%V;00000000", (int) param->len, 0, param,
                    (int) len, 0, name);
    text[NGX_HTTP_DEBUG_MARK_UWSGI].len = p
                                     - text[NGX_HTTP_DEBUG_MARK_UWSGI].data;

    text[NGX_HTTP_DEBUG_MARK_SCGI].data = p;
    p = ngx_sprintf(p, "%V%Z%V;00000000%Z", param, name);
    text[NGX_HTTP_DEBUG_MARK_SCGI].len = p
                                      - text[NGX_HTTP_DEBUG_MARK_SCGI].data;

    text[NGX_HTTP_DEBUG_MARK_HTTP2].data = p;
    p = ngx_sprintf(p, "%c%c%V%c%V;00000000", 0, (int) lowcase->len, lowcase,
                    (int) len, name);
    text[NGX_HTTP_DEBUG_MARK_HTTP2].len = p
                                     - text[NGX_HTTP_DEBUG_MARK_HTTP2].data;

    return mark;
}


ngx_uint_t
ngx_http_debug_mark_claimed(ngx_http_request_t *r)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return 0;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len == ngx_http_debug_mark_header.len
            && ngx_strncasecmp(h[i].key.data, ngx_http_debug_mark_header.data,
                               h[i].key.len)
               == 0)
        {
            return 1;
        }
    }
}


/*
 * B gets memory of its own, with TEXT at AT; the ID ends TAIL bytes before
 * TEXT does.  Who tries again begins at b->start.  NULL: no memory.
 */

static ngx_inline u_char *
ngx_http_debug_mark_insert(ngx_http_request_t *r, ngx_buf_t *b, u_char *at,
    ngx_str_t *text, size_t tail, uint32_t id)
{
    size_t   before, after;
    u_char  *p, *start, *digits;

    before = at - b->pos;
    after = b->last - at;

    start = ngx_pnalloc(r->pool, before + text->len + after);
    if (start == NULL) {
        return NULL;
    }

    p = ngx_cpymem(start, b->pos, before);
    p = ngx_cpymem(p, text->data, text->len);

    digits = p - tail - NGX_HTTP_DEBUG_ID_LEN;
    (void) ngx_http_debug_mark_hex(digits, id);

    p = ngx_cpymem(p, at, after);

    b->start = start;
    b->pos = start;
    b->last = p;
    b->end = p;

    return digits;
}


u_char *
ngx_http_debug_mark_put(ngx_http_request_t *r, ngx_http_debug_mark_t *mark,
    uint32_t id)
{
    u_char               *p;
    uint32_t              schema;
    ngx_buf_t            *b;
    ngx_http_upstream_t  *u;

    u = r->upstream;

    /* before create_request the body stands there */

    if (u->request_bufs == NULL
        || (r->request_body && u->request_bufs == r->request_body->bufs))
    {
        return NULL;
    }

    b = u->request_bufs->buf;

    if (u->schema.len < sizeof("http:") - 1) {
        return NULL;
    }

    ngx_memcpy(&schema, u->schema.data, 4);

    if (schema != *(uint32_t *) "http"
        || (b->pos[0] == 'P' && ngx_http_debug_mark_is_http2(b)))
    {
        return ngx_http_debug_mark_other(r, mark, id, b);
    }

    p = memchr(b->pos, LF, b->last - b->pos);

    return p ? ngx_http_debug_mark_insert(r, b, p + 1,
                                    &mark->text[NGX_HTTP_DEBUG_MARK_HTTP], 2,
                                    id)
             : NULL;
}


/* proxy_http_version 2, which no method of HTTP/1 looks like */

static ngx_uint_t
ngx_http_debug_mark_is_http2(ngx_buf_t *b)
{
    return (size_t) (b->last - b->pos)
           >= sizeof(NGX_HTTP_DEBUG_MARK_PREFACE) - 1
           && ngx_memcmp(b->pos, NGX_HTTP_DEBUG_MARK_PREFACE,
                         sizeof(NGX_HTTP_DEBUG_MARK_PREFACE) - 1)
              == 0;
}


/* Any other protocol than HTTP/1. */

static u_char *
ngx_http_debug_mark_other(ngx_http_request_t *r, ngx_http_debug_mark_t *mark,
    uint32_t id, ngx_buf_t *b)
{
    ngx_int_t   form;
    ngx_str_t  *text;

    form = ngx_http_debug_mark_form(r->upstream);

    if (form == NGX_DECLINED) {
        return NULL;
    }

    text = &mark->text[form];

    switch (form) {

    case NGX_HTTP_DEBUG_MARK_FASTCGI:

        /* behind BEGIN_REQUEST: eight bytes of a head, eight of its body */

        if (b->last - b->pos < 16) {
            return NULL;
        }

        return ngx_http_debug_mark_insert(r, b, b->pos + 16, text, 0, id);

    case NGX_HTTP_DEBUG_MARK_UWSGI:

        return ngx_http_debug_mark_uwsgi(r, b, text, id);

    case NGX_HTTP_DEBUG_MARK_SCGI:

        return ngx_http_debug_mark_scgi(r, b, text, id);

    default: /* NGX_HTTP_DEBUG_MARK_HTTP2 */

        return ngx_http_debug_mark_http2(r, b, text, id);
    }
}


/* What is spoken there; NGX_DECLINED: nothing that has a place for a mark. */

static ngx_int_t
ngx_http_debug_mark_form(ngx_http_upstream_t *u)
{
    ngx_uint_t   n;
    ngx_str_t   *schema;

    static struct {
        ngx_str_t  name;
        ngx_int_t  form;
    } schemas[] = {
        { ngx_string("http:"), NGX_HTTP_DEBUG_MARK_HTTP2 },
        { ngx_string("https:"), NGX_HTTP_DEBUG_MARK_HTTP2 },
        { ngx_string("fastcgi:"), NGX_HTTP_DEBUG_MARK_FASTCGI },
        { ngx_string("uwsgi:"), NGX_HTTP_DEBUG_MARK_UWSGI },
        { ngx_string("suwsgi:"), NGX_HTTP_DEBUG_MARK_UWSGI },
        { ngx_string("scgi:"), NGX_HTTP_DEBUG_MARK_SCGI },
        { ngx_string("grpc:"), NGX_HTTP_DEBUG_MARK_HTTP2 },
        { ngx_string("grpcs:"), NGX_HTTP_DEBUG_MARK_HTTP2 },
        { ngx_null_string, 0 }
    };

    schema = &u->schema;

    for (n = 0; schemas[n].name.len; n++) {
        if (schema->len >= schemas[n].name.len
            && ngx_strncmp(schema->data, schemas[n].name.data,
                           schemas[n].name.len)
               == 0)
        {
            return schemas[n].form;
        }
    }

    return NGX_DECLINED;
}


static u_char *
ngx_http_debug_mark_uwsgi(ngx_http_request_t *r, ngx_buf_t *b, ngx_str_t *text,
    uint32_t id)
{
    size_t   size;
    u_char  *digits;

    /* modifier, size of the pairs, modifier */

    if (b->last - b->pos < 4) {
        return NULL;
    }

    size = (b->pos[1] | b->pos[2] << 8) + text->len;

    if (size > 65535) {
        return NULL;
    }

    digits = ngx_http_debug_mark_insert(r, b, b->pos + 4, text, 0, id);

    if (digits) {
        b->pos[1] = (u_char) size;
        b->pos[2] = (u_char) (size >> 8);
    }

    return digits;
}


/* A netstring, whose first pair must be CONTENT_LENGTH. */

static u_char *
ngx_http_debug_mark_scgi(ngx_http_request_t *r, ngx_buf_t *b, ngx_str_t *text,
    uint32_t id)
{
    size_t     before, after;
    u_char    *p, *at, *start, *digits, size[NGX_SIZE_T_LEN + 1];
    ngx_int_t  n;

    p = memchr(b->pos, ':', ngx_min((size_t) (b->last - b->pos),
                                    NGX_SIZE_T_LEN + 1));

    if (p == NULL) {
        return NULL;
    }

    n = ngx_atoi(b->pos, p - b->pos);
    p++;

    if (n == NGX_ERROR
        || b->last - p < (ssize_t) sizeof("CONTENT_LENGTH")
        || ngx_memcmp(p, "CONTENT_LENGTH", sizeof("CONTENT_LENGTH")) != 0)
    {
        return NULL;
    }

    at = p + sizeof("CONTENT_LENGTH");
    at = memchr(at, '\0', b->last - at);

    if (at == NULL) {
        return NULL;
    }

    at++;

    before = ngx_sprintf(size, "%uz:", n + text->len) - size;
    after = b->last - p;

    start = ngx_pnalloc(r->pool, before + text->len + after);
    if (start == NULL) {
        return NULL;
    }

    after = b->last - at;
    before = ngx_cpymem(start, size, before) - start;

    p = ngx_cpymem(start + before, p, at - p);
    p = ngx_cpymem(p, text->data, text->len);

    digits = p - 1 - NGX_HTTP_DEBUG_ID_LEN;
    (void) ngx_http_debug_mark_hex(digits, id);

    p = ngx_cpymem(p, at, after);

    b->start = start;
    b->pos = start;
    b->last = p;
    b->end = p;

    return digits;
}


/* The end of the frame that ends the header. */

static u_char *
ngx_http_debug_mark_http2(ngx_http_request_t *r, ngx_buf_t *b, ngx_str_t *text,
    uint32_t id)
{
    size_t   len, at;
    u_char  *p, *digits, type, flags;

    p = b->pos + sizeof(NGX_HTTP_DEBUG_MARK_PREFACE) - 1;

    while (b->last - p >= NGX_HTTP_DEBUG_MARK_HEAD) {

        len = (size_t) p[0] << 16 | p[1] << 8 | p[2];
        type = p[3];
        flags = p[4];

        if ((size_t) (b->last - p) < NGX_HTTP_DEBUG_MARK_HEAD + len) {
            return NULL;
        }

        if ((type != 1 && type != 9) || !(flags & 4)) {

            /* not HEADERS or CONTINUATION with END_HEADERS */

            p += NGX_HTTP_DEBUG_MARK_HEAD + len;
            continue;
        }

        /* behind padding, which nginx does not send, is no header */

        if (len + text->len > NGX_HTTP_DEBUG_MARK_FRAME || (flags & 8)) {
            return NULL;
        }

        at = p - b->pos;

        digits = ngx_http_debug_mark_insert(r, b,
                                            p + NGX_HTTP_DEBUG_MARK_HEAD + len,
                                            text, 0, id);
        if (digits) {
            p = b->pos + at;
            len += text->len;

            p[0] = (u_char) (len >> 16);
            p[1] = (u_char) (len >> 8);
            p[2] = (u_char) len;
        }

        return digits;
    }

    return NULL;
}
