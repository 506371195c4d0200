
/*
 * One HTTP exchange with one address, outside nginx's upstreams.
 *
 * Why not ngx_http_upstream: whoever asks for a profile must get it from the
 * peer he named or a sentence that says why not.  An upstream finalizes a
 * failed request by its status, and error_page takes over; it cannot answer
 * its client before its peer has answered; and it needs a client, which a
 * snapshot taken by a timer has not.  Nothing here retries, counts failures
 * in a balancer, buffers on disk or caches.
 *
 * A fetch goes CONNECT -> SEND -> HEADER -> BODY -> END and calls its owner
 * by three handlers.  At most one buffer of the body is in memory: the next
 * is read when the owner has done with the last.
 *
 * Owner: the caller, in POOL.  ngx_http_debug_fetch_close() at any time; it
 * must be called before POOL goes, and after it no handler is called.
 */


#ifndef _NGX_HTTP_DEBUG_FETCH_H_INCLUDED_
#define _NGX_HTTP_DEBUG_FETCH_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_event_connect.h>
#include <ngx_http.h>


#define NGX_HTTP_DEBUG_FETCH_WORDS  160    /* bytes of OpenSSL's */


/* how it ended */

typedef enum {
    NGX_HTTP_DEBUG_FETCH_OK = 0,       /* whole, as its framing says */
    NGX_HTTP_DEBUG_FETCH_CONNECT,      /* no connection; "err" says why */
    NGX_HTTP_DEBUG_FETCH_TLS,          /* no handshake, or a false name */
    NGX_HTTP_DEBUG_FETCH_TIMEOUT,      /* silence for too long */
    NGX_HTTP_DEBUG_FETCH_CLOSED,       /* the connection ended too early */
    NGX_HTTP_DEBUG_FETCH_INVALID,      /* what came is not HTTP */
    NGX_HTTP_DEBUG_FETCH_TOO_BIG,      /* header larger than the buffer */
    NGX_HTTP_DEBUG_FETCH_INTERNAL      /* no memory, no descriptor */
} ngx_http_debug_fetch_result_e;


typedef struct ngx_http_debug_fetch_s  ngx_http_debug_fetch_t;

typedef ngx_int_t (*ngx_http_debug_fetch_header_pt)(ngx_http_debug_fetch_t *f);
typedef ngx_int_t (*ngx_http_debug_fetch_body_pt)(ngx_http_debug_fetch_t *f,
    ngx_chain_t *in);
typedef void (*ngx_http_debug_fetch_end_pt)(ngx_http_debug_fetch_t *f);


struct ngx_http_debug_fetch_s {

    /* set by the caller, who zeroes the rest */

    ngx_pool_t                      *pool;
    ngx_log_t                       *log;
    ngx_uint_t                       level;     /* of errors; 0: error */

    struct sockaddr                 *sockaddr;
    socklen_t                        socklen;
    ngx_str_t                        name;      /* the peer's, for messages */

#if (NGX_HTTP_SSL)
    ngx_ssl_t                       *ssl;       /* NULL: plain HTTP */
    ngx_str_t                        ssl_name;  /* sent, and verified */
    ngx_uint_t                       ssl_verify;
    ngx_uint_t                       ssl_server_name;
#endif

    ngx_chain_t                     *request;   /* as it goes on the wire */
    ngx_uint_t                       head;      /* no body can follow */

    ngx_msec_t                       connect_timeout;
    ngx_msec_t                       timeout;   /* longest silence */

    /* whose posted requests run after an event of the peer, or NULL */
    ngx_connection_t                *client;

    void                            *data;

    /*
     * The header is complete: "status", "headers" and "length" are set.
     * NGX_OK, or NGX_ERROR: the owner has no use for the rest; the fetch is
     * closed and END is not called.
     */
    ngx_http_debug_fetch_header_pt   header;

    /*
     * Some of the body, in buffers that belong to the fetch.  Returns as
     * HEADER does, or NGX_AGAIN: the buffers are in use until the owner
     * calls ngx_http_debug_fetch_resume(), or NGX_DONE: the owner has seen
     * enough, and END is called as if this were all, with "left" set.
     */
    ngx_http_debug_fetch_body_pt     body;

    /*
     * The end; "result" tells how.  The connection is closed, and the fetch
     * does not look at itself again: the owner may destroy the pool.
     */
    ngx_http_debug_fetch_end_pt      end;

    /* the answer */

    ngx_uint_t                       status;
    ngx_list_t                       headers;   /* of ngx_table_elt_t */
    off_t                            length;    /* of the body; -1: unknown */
    unsigned                         framed:1;  /* an early end shows */

    ngx_http_debug_fetch_result_e    result;
    ngx_err_t                        err;       /* errno, or 0 */
    unsigned                         left:1;    /* before its end */

    /* for logs, as in ngx_http_upstream_state_t */

    ngx_msec_t                       start_time;
    ngx_msec_t                       connect_time;
    ngx_msec_t                       header_time;
    off_t                            received;
    off_t                            body_size;
    off_t                            sent;

    /* internal */

    ngx_peer_connection_t            peer;
    ngx_log_t                        quiet;
#if (NGX_HTTP_SSL)
    u_char                           ssl_words[NGX_HTTP_DEBUG_FETCH_WORDS];
    size_t                           ssl_words_len;
#endif
    ngx_http_request_t              *parse;     /* state of nginx's parsers */
    ngx_http_status_t                line;
    ngx_http_chunked_t               chunks;
    ngx_buf_t                        buffer;
    ngx_chain_t                     *slices;    /* of the buffer, at owner's */
    ngx_chain_t                     *free;
    off_t                            rest;      /* -1: to the end */

    unsigned                         connected:1;
    unsigned                         request_sent:1;
    unsigned                         status_parsed:1;
    unsigned                         header_parsed:1;
    unsigned                         chunked:1;
    unsigned                         blocked:1;
    unsigned                         complete:1;
};


/*
 * Connects and sends the request.  Returns NGX_OK, after which END is called
 * some time, though never from here; or NGX_ERROR with "result" and "err"
 * set, after which nothing is called.
 */
ngx_int_t ngx_http_debug_fetch_start(ngx_http_debug_fetch_t *f);

/* The owner has done with what it was given. */
void ngx_http_debug_fetch_resume(ngx_http_debug_fetch_t *f);

/* Closes the connection, if any.  No handler is called any more. */
void ngx_http_debug_fetch_close(ngx_http_debug_fetch_t *f);

/* What stands in "Host:". */
void ngx_http_debug_fetch_host(ngx_http_debug_fetch_t *f, ngx_str_t *host);

/*
 * Writes what went wrong, to follow the peer's name in a sentence: "answered
 * nothing: connection refused".  Returns the end of the text, at most LAST.
 */
u_char *ngx_http_debug_fetch_reason(ngx_http_debug_fetch_t *f, u_char *buf,
    u_char *last);


#endif /* _NGX_HTTP_DEBUG_FETCH_H_INCLUDED_ */
