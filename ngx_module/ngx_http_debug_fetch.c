
/*
 * One HTTP exchange with one address, outside nginx's upstreams.
 *
 * Format: HTTP/1.1, RFC 9112.  The parsers of the status line, of header
 * lines and of chunks are nginx's own; they keep their state in a request
 * structure, so each fetch has one that serves for nothing else.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_event_connect.h>
#include <ngx_http.h>
#include "ngx_http_debug_fetch.h"


/* of one read, and the most that a header may have */
#define NGX_HTTP_DEBUG_FETCH_BUFFER  32768

/* of the answer to HEAD, which is no more than that */
#define NGX_HTTP_DEBUG_FETCH_HEAD    8192

/* reads in a row: a peer that never ends must not keep the worker for itself */
#define NGX_HTTP_DEBUG_FETCH_READS   16


static ngx_int_t ngx_http_debug_fetch_init(ngx_http_debug_fetch_t *f);
static void ngx_http_debug_fetch_event_handler(ngx_event_t *ev);
static void ngx_http_debug_fetch_write(ngx_http_debug_fetch_t *f);
static ngx_int_t ngx_http_debug_fetch_test_connect(ngx_http_debug_fetch_t *f);
#if (NGX_HTTP_SSL)
static void ngx_http_debug_fetch_ssl(ngx_http_debug_fetch_t *f);
static void ngx_http_debug_fetch_ssl_handshake(ngx_connection_t *c);
static void ngx_http_debug_fetch_ssl_done(ngx_http_debug_fetch_t *f);
static ngx_int_t ngx_http_debug_fetch_ssl_name(ngx_http_debug_fetch_t *f,
    ngx_connection_t *c);
static void ngx_http_debug_fetch_ssl_log(ngx_log_t *log, ngx_uint_t level,
    u_char *buf, size_t len);
#endif
static void ngx_http_debug_fetch_read(ngx_http_debug_fetch_t *f);
static ngx_uint_t ngx_http_debug_fetch_ended(ngx_connection_t *c);
static void ngx_http_debug_fetch_recycle(ngx_http_debug_fetch_t *f);
static ngx_int_t ngx_http_debug_fetch_header(ngx_http_debug_fetch_t *f);
static ngx_int_t ngx_http_debug_fetch_header_line(ngx_http_debug_fetch_t *f);
static ngx_int_t ngx_http_debug_fetch_framing(ngx_http_debug_fetch_t *f);
static ngx_int_t ngx_http_debug_fetch_body(ngx_http_debug_fetch_t *f);
static ngx_int_t ngx_http_debug_fetch_slice(ngx_http_debug_fetch_t *f,
    ngx_chain_t ***last, off_t *size);
static void ngx_http_debug_fetch_end(ngx_http_debug_fetch_t *f,
    ngx_http_debug_fetch_result_e result, ngx_err_t err);
static u_char *ngx_http_debug_fetch_denied(ngx_http_debug_fetch_t *f,
    u_char *buf, u_char *last);


ngx_int_t
ngx_http_debug_fetch_start(ngx_http_debug_fetch_t *f)
{
    ngx_int_t          rc;
    ngx_connection_t  *c;

    if (ngx_http_debug_fetch_init(f) != NGX_OK) {
        f->result = NGX_HTTP_DEBUG_FETCH_INTERNAL;
        return NGX_ERROR;
    }

    /*
     * A program that does not listen is an answer here and no event for
     * [crit], as a missing socket file is to ngx_event_connect_peer(): it
     * gets a log that keeps silent, and what happened is logged below.
     */

    f->quiet = *f->log;
    f->quiet.log_level = NGX_LOG_STDERR;

    f->peer.sockaddr = f->sockaddr;
    f->peer.socklen = f->socklen;
    f->peer.name = &f->name;
    f->peer.get = ngx_event_get_peer;
    f->peer.log = &f->quiet;
    f->peer.log_error = NGX_ERROR_ERR;

    ngx_set_socket_errno(0);

    rc = ngx_event_connect_peer(&f->peer);

    if (rc != NGX_OK && rc != NGX_AGAIN) {
        f->err = ngx_socket_errno;
        f->result = (rc == NGX_DECLINED) ? NGX_HTTP_DEBUG_FETCH_CONNECT
                                         : NGX_HTTP_DEBUG_FETCH_INTERNAL;
        f->peer.connection = NULL;

        ngx_log_error(f->level, f->log, f->err,
                      "connect() to %V for a profile failed", &f->name);
        return NGX_ERROR;
    }

    c = f->peer.connection;

    c->data = f;
    c->log = f->log;
    c->read->log = f->log;
    c->write->log = f->log;
    c->read->handler = ngx_http_debug_fetch_event_handler;
    c->write->handler = ngx_http_debug_fetch_event_handler;
    c->sendfile = 0;

    f->parse->connection = c;

    if (rc == NGX_OK) {
        ngx_post_event(c->write, &ngx_posted_events);
        return NGX_OK;
    }

    ngx_add_timer(c->write, f->connect_timeout);

    return NGX_OK;
}


static ngx_int_t
ngx_http_debug_fetch_init(ngx_http_debug_fetch_t *f)
{
    size_t  size;

    if (f->level == 0) {
        f->level = NGX_LOG_ERR;
    }

    size = f->head ? NGX_HTTP_DEBUG_FETCH_HEAD : NGX_HTTP_DEBUG_FETCH_BUFFER;

    f->start_time = ngx_current_msec;
    f->connect_time = (ngx_msec_t) -1;
    f->header_time = (ngx_msec_t) -1;
    f->length = -1;

    f->buffer.start = ngx_palloc(f->pool, size);
    f->parse = ngx_pcalloc(f->pool, sizeof(ngx_http_request_t));

    if (f->buffer.start == NULL || f->parse == NULL) {
        return NGX_ERROR;
    }

    f->buffer.pos = f->buffer.start;
    f->buffer.last = f->buffer.start;
    f->buffer.end = f->buffer.start + size;

    return ngx_list_init(&f->headers, f->pool, 8, sizeof(ngx_table_elt_t));
}


static void
ngx_http_debug_fetch_event_handler(ngx_event_t *ev)
{
    ngx_connection_t        *c, *client;
    ngx_http_debug_fetch_t  *f;

    c = ev->data;
    f = c->data;
    client = f->client;

    if (c->close) {
        /* worker_shutdown_timeout */
        ngx_http_debug_fetch_end(f, NGX_HTTP_DEBUG_FETCH_CLOSED, 0);

    } else if (ev->timedout) {
        ngx_http_debug_fetch_end(f, f->connected
                                    ? NGX_HTTP_DEBUG_FETCH_TIMEOUT
                                    : NGX_HTTP_DEBUG_FETCH_CONNECT,
                                 NGX_ETIMEDOUT);

    } else if (ev->write || !f->connected) {
        ngx_http_debug_fetch_write(f);

    } else {
        ngx_http_debug_fetch_read(f);
    }

    if (client != NULL) {
        ngx_http_run_posted_requests(client);
    }
}


static void
ngx_http_debug_fetch_write(ngx_http_debug_fetch_t *f)
{
    ngx_connection_t  *c;

    c = f->peer.connection;

    if (f->request_sent) {
        if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
            ngx_http_debug_fetch_end(f, NGX_HTTP_DEBUG_FETCH_INTERNAL, 0);
        }

        return;
    }

    if (!f->connected) {

        if (ngx_http_debug_fetch_test_connect(f) != NGX_OK) {
            return;
        }

        f->connected = 1;
        f->connect_time = ngx_current_msec - f->start_time;

#if (NGX_HTTP_SSL)
        if (f->ssl != NULL) {
            ngx_http_debug_fetch_ssl(f);
            return;
        }
#endif
    }

    f->request = c->send_chain(c, f->request, 0);

    if (f->request == NGX_CHAIN_ERROR) {
        ngx_http_debug_fetch_end(f, NGX_HTTP_DEBUG_FETCH_CLOSED,
                                 ngx_socket_errno);
        return;
    }

    f->sent = c->sent;

    if (f->request != NULL || c->buffered) {

        ngx_add_timer(c->write, f->timeout);

        if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
            ngx_http_debug_fetch_end(f, NGX_HTTP_DEBUG_FETCH_INTERNAL, 0);
        }

        return;
    }

    f->request_sent = 1;

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    ngx_http_debug_fetch_read(f);
}


static ngx_int_t
ngx_http_debug_fetch_test_connect(ngx_http_debug_fetch_t *f)
{
    int        err;
    socklen_t  len;

    err = 0;
    len = sizeof(int);

    /* Solaris returns -1 and sets errno */

    if (getsockopt(f->peer.connection->fd, SOL_SOCKET, SO_ERROR,
                   (void *) &err, &len)
        == -1)
    {
        err = ngx_socket_errno;
    }

    if (err) {
        ngx_http_debug_fetch_end(f, NGX_HTTP_DEBUG_FETCH_CONNECT, err);
        return NGX_ERROR;
    }

    return NGX_OK;
}


#if (NGX_HTTP_SSL)

static void
ngx_http_debug_fetch_ssl(ngx_http_debug_fetch_t *f)
{
    ngx_int_t          rc;
    ngx_connection_t  *c;

    c = f->peer.connection;

    c->pool = ngx_create_pool(128, f->log);

    /*
     * To nginx a peer that talks nonsense is an event for [crit].  Here it is
     * an answer: what nginx would say of it is told with our own sentence.
     */

    f->quiet.log_level = NGX_LOG_INFO;
    f->quiet.writer = ngx_http_debug_fetch_ssl_log;
    f->quiet.wdata = f;
    f->quiet.handler = NULL;
    f->quiet.next = NULL;

    c->log = &f->quiet;
    c->read->log = &f->quiet;
    c->write->log = &f->quiet;

    if (c->pool == NULL
        || ngx_ssl_create_connection(f->ssl, c,
                                     NGX_SSL_BUFFER|NGX_SSL_CLIENT)
           != NGX_OK
        || ngx_http_debug_fetch_ssl_name(f, c) != NGX_OK)
    {
        ngx_http_debug_fetch_end(f, NGX_HTTP_DEBUG_FETCH_INTERNAL, 0);
        return;
    }

    rc = ngx_ssl_handshake(c);

    if (rc == NGX_AGAIN) {

        if (!c->write->timer_set) {
            ngx_add_timer(c->write, f->connect_timeout);
        }

        c->ssl->handler = ngx_http_debug_fetch_ssl_handshake;
        return;
    }

    ngx_http_debug_fetch_ssl_done(f);
}


static void
ngx_http_debug_fetch_ssl_handshake(ngx_connection_t *c)
{
    ngx_connection_t        *client;
    ngx_http_debug_fetch_t  *f;

    f = c->data;
    client = f->client;

    ngx_http_debug_fetch_ssl_done(f);

    if (client != NULL) {
        ngx_http_run_posted_requests(client);
    }
}


static void
ngx_http_debug_fetch_ssl_done(ngx_http_debug_fetch_t *f)
{
    long               rc;
    ngx_connection_t  *c;

    c = f->peer.connection;

    if (!c->ssl->handshaked) {
        ngx_http_debug_fetch_end(f, c->write->timedout
                                    ? NGX_HTTP_DEBUG_FETCH_TIMEOUT
                                    : NGX_HTTP_DEBUG_FETCH_TLS,
                                 c->write->timedout ? NGX_ETIMEDOUT : 0);
        return;
    }

    if (f->ssl_verify) {
        rc = SSL_get_verify_result(c->ssl->connection);

        if (rc != X509_V_OK) {
            ngx_log_error(f->level, f->log, 0,
                          "certificate of %V verify error: (%l:%s)",
                          &f->name, rc, X509_verify_cert_error_string(rc));
            ngx_http_debug_fetch_end(f, NGX_HTTP_DEBUG_FETCH_TLS, 0);
            return;
        }

        if (ngx_ssl_check_host(c, &f->ssl_name) != NGX_OK) {
            ngx_log_error(f->level, f->log, 0,
                          "certificate of %V does not match \"%V\"",
                          &f->name, &f->ssl_name);
            ngx_http_debug_fetch_end(f, NGX_HTTP_DEBUG_FETCH_TLS, 0);
            return;
        }
    }

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    c->read->handler = ngx_http_debug_fetch_event_handler;
    c->write->handler = ngx_http_debug_fetch_event_handler;

    ngx_http_debug_fetch_write(f);
}


/* Server name indication takes no addresses, RFC 6066. */

static ngx_int_t
ngx_http_debug_fetch_ssl_name(ngx_http_debug_fetch_t *f, ngx_connection_t *c)
{
    u_char  *name;

    if (!f->ssl_server_name || f->ssl_name.len == 0) {
        return NGX_OK;
    }

#ifdef SSL_CTRL_SET_TLSEXT_HOSTNAME

    if (f->ssl_name.data[0] == '['
        || ngx_inet_addr(f->ssl_name.data, f->ssl_name.len) != INADDR_NONE)
    {
        return NGX_OK;
    }

    name = ngx_pnalloc(f->pool, f->ssl_name.len + 1);
    if (name == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_cpystrn(name, f->ssl_name.data, f->ssl_name.len + 1);

    if (SSL_set_tlsext_host_name(c->ssl->connection, (char *) name) == 0) {
        ngx_ssl_error(NGX_LOG_ERR, f->log, 0,
                      "SSL_set_tlsext_host_name(\"%s\") failed", name);
        return NGX_ERROR;
    }

#endif

    return NGX_OK;
}


/* Keeps the library's own words: "... (SSL: error:...)". */

static void
ngx_http_debug_fetch_ssl_log(ngx_log_t *log, ngx_uint_t level, u_char *buf,
    size_t len)
{
    u_char                  *p, *last;
    ngx_http_debug_fetch_t  *f;

    f = log->wdata;
    last = buf + len;

    p = ngx_strlcasestrn(buf, last, (u_char *) "(SSL:", 5 - 1);
    if (p == NULL) {
        return;
    }

    /* what nginx was about, and its line feed, come after it */

    while (last[-1] != ')' && last - p > 5) {
        last--;
    }

    f->ssl_words_len = ngx_min(last - p, NGX_HTTP_DEBUG_FETCH_WORDS);
    ngx_memcpy(f->ssl_words, p, f->ssl_words_len);
}

#endif


void
ngx_http_debug_fetch_resume(ngx_http_debug_fetch_t *f)
{
    if (f->blocked) {
        f->blocked = 0;
        ngx_http_debug_fetch_recycle(f);
        ngx_http_debug_fetch_read(f);
    }
}


static void
ngx_http_debug_fetch_recycle(ngx_http_debug_fetch_t *f)
{
    ngx_chain_t  *cl, *next;

    for (cl = f->slices; cl; cl = next) {
        next = cl->next;
        cl->next = f->free;
        f->free = cl;
    }

    f->slices = NULL;
}


static void
ngx_http_debug_fetch_read(ngx_http_debug_fetch_t *f)
{
    ssize_t            n;
    ngx_int_t          rc;
    ngx_buf_t         *b;
    ngx_uint_t         reads;
    ngx_connection_t  *c;

    if (f->blocked) {
        return;
    }

    b = &f->buffer;
    reads = 0;

    while (!f->complete) {

        c = f->peer.connection;

        if (reads++ == NGX_HTTP_DEBUG_FETCH_READS) {
            ngx_post_event(c->read, &ngx_posted_next_events);
            return;
        }

        if (f->header_parsed) {
            b->pos = b->start;
            b->last = b->start;
        }

        n = c->recv(c, b->last, b->end - b->last);

        if (n == NGX_AGAIN) {

            if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
                ngx_http_debug_fetch_end(f, NGX_HTTP_DEBUG_FETCH_INTERNAL, 0);
                return;
            }

            if (f->request_sent) {
                ngx_add_timer(c->read, f->timeout);
            }

            return;
        }

        if (n == 0
            && f->header_parsed
            && !f->framed
            && ngx_http_debug_fetch_ended(c))
        {
            break;
        }

        if (n == NGX_ERROR || n == 0) {
            ngx_http_debug_fetch_end(f, NGX_HTTP_DEBUG_FETCH_CLOSED,
                                     n ? ngx_socket_errno : 0);
            return;
        }

        f->received += n;
        b->last += n;

        rc = f->header_parsed ? NGX_OK : ngx_http_debug_fetch_header(f);

        if (rc == NGX_AGAIN) {

            if (b->last == b->end) {
                ngx_http_debug_fetch_end(f, NGX_HTTP_DEBUG_FETCH_TOO_BIG, 0);
                return;
            }

            continue;
        }

        if (rc == NGX_OK) {
            rc = ngx_http_debug_fetch_body(f);
        }

        if (rc != NGX_OK) {

            if (rc == NGX_ABORT) {
                ngx_http_debug_fetch_close(f);
                return;
            }

            ngx_http_debug_fetch_end(f, (rc == NGX_DECLINED)
                                        ? NGX_HTTP_DEBUG_FETCH_INVALID
                                        : NGX_HTTP_DEBUG_FETCH_INTERNAL,
                                     0);
            return;
        }

        if (f->complete) {
            /* the peer is free, however slow our client is */
            ngx_http_debug_fetch_close(f);

        } else if (c->read->timer_set) {
            ngx_del_timer(c->read);
        }

        if (f->slices == NULL) {
            continue;
        }

        rc = f->body(f, f->slices);

        if (rc == NGX_ERROR) {
            ngx_http_debug_fetch_close(f);
            return;
        }

        if (rc == NGX_AGAIN) {
            f->blocked = 1;
            return;
        }

        if (rc == NGX_DONE) {
            f->left = 1;
            break;
        }

        ngx_http_debug_fetch_recycle(f);
    }

    ngx_http_debug_fetch_end(f, NGX_HTTP_DEBUG_FETCH_OK, 0);
}


/*
 * Whether the end of the connection is the end of what was said: over TLS the
 * peer says so, and whoever cuts the wire cannot.
 */

static ngx_uint_t
ngx_http_debug_fetch_ended(ngx_connection_t *c)
{
#if (NGX_HTTP_SSL)

    if (c->ssl != NULL) {
        return (SSL_get_shutdown(c->ssl->connection) & SSL_RECEIVED_SHUTDOWN)
               != 0;
    }

#endif

    return 1;
}


/*
 * NGX_OK, NGX_AGAIN: it goes on; NGX_DECLINED: not HTTP; NGX_ABORT: the owner
 * has no use for it; NGX_ERROR.
 */

static ngx_int_t
ngx_http_debug_fetch_header(ngx_http_debug_fetch_t *f)
{
    ngx_int_t  rc;

    for ( ;; ) {

        if (!f->status_parsed) {

            rc = ngx_http_parse_status_line(f->parse, &f->buffer, &f->line);

            if (rc == NGX_AGAIN) {
                return NGX_AGAIN;
            }

            if (rc == NGX_ERROR || f->line.code < 100 || f->line.code > 599) {
                return NGX_DECLINED;
            }

            f->status_parsed = 1;
            f->parse->state = 0;
        }

        rc = ngx_http_parse_header_line(f->parse, &f->buffer, 1);

        if (rc == NGX_OK) {

            if (ngx_http_debug_fetch_header_line(f) != NGX_OK) {
                return NGX_ERROR;
            }

            continue;
        }

        if (rc == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        if (rc != NGX_HTTP_PARSE_HEADER_DONE) {
            return NGX_DECLINED;
        }

        if (f->line.code >= 200) {
            break;
        }

        if (f->line.code == NGX_HTTP_SWITCHING_PROTOCOLS) {
            return NGX_DECLINED;
        }

        /* an interim answer, as 100 and 103 are: the true one follows */

        f->status_parsed = 0;
        f->parse->state = 0;
        ngx_memzero(&f->line, sizeof(ngx_http_status_t));

        if (ngx_list_init(&f->headers, f->pool, 8, sizeof(ngx_table_elt_t))
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    f->status = f->line.code;
    f->parse->state = 0;

    rc = ngx_http_debug_fetch_framing(f);
    if (rc != NGX_OK) {
        return rc;
    }

    f->header_parsed = 1;
    f->header_time = ngx_current_msec - f->start_time;

    return (f->header(f) == NGX_OK) ? NGX_OK : NGX_ABORT;
}


static ngx_int_t
ngx_http_debug_fetch_header_line(ngx_http_debug_fetch_t *f)
{
    u_char              *p;
    size_t               name, value;
    ngx_table_elt_t     *h;
    ngx_http_request_t  *r;

    r = f->parse;

    name = r->header_name_end - r->header_name_start;
    value = r->header_end - r->header_start;

    h = ngx_list_push(&f->headers);
    p = ngx_pnalloc(f->pool, name + 1 + value + 1);

    if (h == NULL || p == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;

    h->key.len = name;
    h->key.data = p;
    p = ngx_cpymem(p, r->header_name_start, name);
    *p++ = '\0';

    h->value.len = value;
    h->value.data = p;
    p = ngx_cpymem(p, r->header_start, value);
    *p = '\0';

    return NGX_OK;
}


/*
 * Where the body ends.  Two answers to that, or one that is no answer, are
 * how bytes of one exchange come to be taken for another's: refused.
 */

static ngx_int_t
ngx_http_debug_fetch_framing(ngx_http_debug_fetch_t *f)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    part = &f->headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len == sizeof("Content-Length") - 1
            && ngx_strcasecmp(h[i].key.data, (u_char *) "Content-Length") == 0)
        {
            if (f->length != -1) {
                return NGX_DECLINED;
            }

            f->length = ngx_atoof(h[i].value.data, h[i].value.len);

            if (f->length == NGX_ERROR) {
                return NGX_DECLINED;
            }
        }

        if (h[i].key.len == sizeof("Transfer-Encoding") - 1
            && ngx_strcasecmp(h[i].key.data, (u_char *) "Transfer-Encoding")
               == 0)
        {
            if (f->chunked
                || h[i].value.len != sizeof("chunked") - 1
                || ngx_strcasecmp(h[i].value.data, (u_char *) "chunked") != 0)
            {
                return NGX_DECLINED;
            }

            f->chunked = 1;
        }
    }

    if (f->chunked && f->length != -1) {
        return NGX_DECLINED;
    }

    f->rest = f->length;
    f->framed = (f->chunked || f->length != -1);

    if (f->head
        || f->status == NGX_HTTP_NO_CONTENT
        || f->status == NGX_HTTP_NOT_MODIFIED)
    {
        f->chunked = 0;
        f->framed = 1;
        f->rest = 0;
    }

    return NGX_OK;
}


/* Cuts what is in the buffer into slices of body. */

static ngx_int_t
ngx_http_debug_fetch_body(ngx_http_debug_fetch_t *f)
{
    ngx_int_t      rc;
    ngx_buf_t     *b;
    ngx_chain_t  **last;

    b = &f->buffer;
    last = &f->slices;

    if (!f->chunked) {

        if (ngx_http_debug_fetch_slice(f, &last, &f->rest) != NGX_OK) {
            return NGX_ERROR;
        }

        f->complete = (f->rest == 0);

        return NGX_OK;
    }

    while (b->pos < b->last) {

#if (NGX_HTTP_DEBUG_KEEP_TRAILERS)
        rc = ngx_http_parse_chunked(f->parse, b, &f->chunks, 0);
#else
        rc = ngx_http_parse_chunked(f->parse, b, &f->chunks);
#endif

        if (rc == NGX_OK) {
            if (ngx_http_debug_fetch_slice(f, &last, &f->chunks.size)
                != NGX_OK)
            {
                return NGX_ERROR;
            }

            continue;
        }

        if (rc == NGX_DONE) {
            f->complete = 1;
            break;
        }

        if (rc != NGX_AGAIN) {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


/* At most *SIZE of the buffer's bytes, which it is lessened by; -1: all. */

static ngx_int_t
ngx_http_debug_fetch_slice(ngx_http_debug_fetch_t *f, ngx_chain_t ***last,
    off_t *size)
{
    off_t         n;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    n = f->buffer.last - f->buffer.pos;

    if (*size != -1) {
        n = ngx_min(n, *size);
        *size -= n;
    }

    if (n == 0) {
        return NGX_OK;
    }

    cl = ngx_chain_get_free_buf(f->pool, &f->free);
    if (cl == NULL) {
        return NGX_ERROR;
    }

    b = cl->buf;
    ngx_memzero(b, sizeof(ngx_buf_t));

    b->pos = f->buffer.pos;
    b->last = b->pos + n;
    b->start = b->pos;
    b->end = b->last;
    b->temporary = 1;
    b->tag = (ngx_buf_tag_t) &ngx_http_debug_fetch_start;

    f->buffer.pos = b->last;
    f->body_size += n;

    **last = cl;
    *last = &cl->next;

    return NGX_OK;
}


static void
ngx_http_debug_fetch_end(ngx_http_debug_fetch_t *f,
    ngx_http_debug_fetch_result_e result, ngx_err_t err)
{
    u_char    *p, text[NGX_MAX_ERROR_STR];
    ngx_str_t  reason, words;

    f->result = result;
    f->err = err;

    ngx_http_debug_fetch_close(f);

    if (result != NGX_HTTP_DEBUG_FETCH_OK) {
        p = ngx_http_debug_fetch_reason(f, text, text + sizeof(text));

        reason.len = p - text;
        reason.data = text;

        ngx_str_null(&words);

#if (NGX_HTTP_SSL)
        words.len = f->ssl_words_len;
        words.data = f->ssl_words;
#endif

        ngx_log_error(f->level, f->log, err, "%V %V%s%V", &f->name, &reason,
                      words.len ? " " : "", &words);
    }

    f->end(f);
}


void
ngx_http_debug_fetch_close(ngx_http_debug_fetch_t *f)
{
    ngx_pool_t        *pool;
    ngx_connection_t  *c;

    c = f->peer.connection;

    if (c == NULL) {
        return;
    }

    f->peer.connection = NULL;
    f->sent = c->sent;

#if (NGX_HTTP_SSL)

    if (c->ssl != NULL) {
        c->ssl->no_wait_shutdown = 1;
        c->ssl->no_send_shutdown = !f->complete;
        (void) ngx_ssl_shutdown(c);
    }

#endif

    pool = c->pool;

    ngx_close_connection(c);

    if (pool != NULL) {
        ngx_destroy_pool(pool);
    }
}


void
ngx_http_debug_fetch_host(ngx_http_debug_fetch_t *f, ngx_str_t *host)
{
    if (f->sockaddr->sa_family == AF_UNIX) {
        ngx_str_set(host, "localhost");
        return;
    }

    *host = f->name;
}


u_char *
ngx_http_debug_fetch_reason(ngx_http_debug_fetch_t *f, u_char *buf,
    u_char *last)
{
    char    *text;
    u_char  *p, *word;

    switch (f->result) {

    case NGX_HTTP_DEBUG_FETCH_CONNECT:
        text = "answered nothing";
        break;

    case NGX_HTTP_DEBUG_FETCH_TLS:
        text = "was refused: its TLS handshake or certificate is not right";
        break;

    case NGX_HTTP_DEBUG_FETCH_TIMEOUT:
        text = f->header_parsed ? "fell silent in the middle of its answer"
                                : "answered nothing in time";
        break;

    case NGX_HTTP_DEBUG_FETCH_CLOSED:
        text = f->header_parsed ? "broke off in the middle of its answer"
               : f->received    ? "broke off in the middle of its header"
                                : "closed the connection without an answer";
        break;

    case NGX_HTTP_DEBUG_FETCH_INVALID:
        text = "answered with something that is not HTTP";
        break;

    case NGX_HTTP_DEBUG_FETCH_TOO_BIG:
        text = "answered with too large a header";
        break;

    case NGX_HTTP_DEBUG_FETCH_INTERNAL:
        text = "could not be asked: nginx lacks memory or connections";
        break;

    default: /* NGX_HTTP_DEBUG_FETCH_OK */
        text = "answered";
    }

    p = ngx_slprintf(buf, last, "%s", text);

    if (f->err == NGX_EACCES && f->result == NGX_HTTP_DEBUG_FETCH_CONNECT
        && f->sockaddr->sa_family == AF_UNIX)
    {
        return ngx_http_debug_fetch_denied(f, buf, last);
    }

    if (f->err && f->result == NGX_HTTP_DEBUG_FETCH_CONNECT) {
        p = ngx_slprintf(p, last, ": ");
        word = p;
        p = ngx_strerror(f->err, p, last - p);

        if (word < p) {
            *word = ngx_tolower(*word);
        }
    }

    return p;
}


/* A unix socket that may be there, for others: whom they refuse, what helps. */

static u_char *
ngx_http_debug_fetch_denied(ngx_http_debug_fetch_t *f, u_char *buf,
    u_char *last)
{
    u_char              *p;
    ngx_file_info_t      fi;
    ngx_core_conf_t     *ccf;
    struct sockaddr_un  *saun;

    saun = (struct sockaddr_un *) f->sockaddr;

    if (ngx_file_info(saun->sun_path, &fi) == NGX_FILE_ERROR) {
        p = ngx_slprintf(buf, last, "lies in a directory that is closed to ");

    } else {
        p = ngx_slprintf(buf, last, "exists, but its permissions refuse ");
    }

    ccf = (ngx_core_conf_t *) ngx_get_conf(ngx_cycle->conf_ctx,
                                           ngx_core_module);

    if (ccf->username != NULL) {
        p = ngx_slprintf(p, last, "nginx's user \"%s\"", ccf->username);

    } else {
        p = ngx_slprintf(p, last, "the user of nginx");
    }

    return ngx_slprintf(p, last, "; give it a group of that user's, with "
                        "pprof-run -g or PPROF_SOCKET_GROUP");
}
