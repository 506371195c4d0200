
/*
 * The table of everything that is kept: one row for each number.
 *
 * A new metric is a value in the enumeration, its row in
 * ngx_http_debug_metrics.c, which also says how it is summed, and one
 * increment in ngx_http_debug_record.c; /debug/stats and /debug/metrics have
 * it from then on.
 */


#ifndef _NGX_HTTP_DEBUG_METRICS_H_INCLUDED_
#define _NGX_HTTP_DEBUG_METRICS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* whom a cell is kept for */

#define NGX_HTTP_DEBUG_SERVER    0x01   /* a server{}: whole requests */
#define NGX_HTTP_DEBUG_GROUP     0x02   /* an upstream{}: whole rounds */
#define NGX_HTTP_DEBUG_PEER      0x04   /* a peer of a group: single tries */
#define NGX_HTTP_DEBUG_HOST      0x08   /* proxy_pass with variables: a group
                                           that no upstream{} describes */
#define NGX_HTTP_DEBUG_OVERFLOW  0x10   /* what found no room */
#define NGX_HTTP_DEBUG_GONE      0x20   /* servers that were removed: nobody
                                           sees it but the sum of all */

#define NGX_HTTP_DEBUG_GROUPS    (NGX_HTTP_DEBUG_GROUP|NGX_HTTP_DEBUG_HOST    \
                                  |NGX_HTTP_DEBUG_OVERFLOW)
#define NGX_HTTP_DEBUG_UPSTREAM  (NGX_HTTP_DEBUG_GROUPS|NGX_HTTP_DEBUG_PEER)
#define NGX_HTTP_DEBUG_ANY       (NGX_HTTP_DEBUG_SERVER                       \
                                  |NGX_HTTP_DEBUG_UPSTREAM)


enum {
    NGX_HTTP_DEBUG_TIME = 0,       /* ns, of what was answered */
    NGX_HTTP_DEBUG_TIMEOUT_TIME,   /* ns, of what timed out instead */
    NGX_HTTP_DEBUG_CONNECTS,
    NGX_HTTP_DEBUG_CONNECT_TIME,   /* ns, but of nginx's 1 ms clock */
    NGX_HTTP_DEBUG_HEADERS,
    NGX_HTTP_DEBUG_HEADER_TIME,    /* ns, but of nginx's 1 ms clock */
    NGX_HTTP_DEBUG_RECEIVED,       /* bytes from the peer or the client */
    NGX_HTTP_DEBUG_SENT,           /* bytes to the peer or the client */
    NGX_HTTP_DEBUG_TRIES,
    NGX_HTTP_DEBUG_RETRIES,
    NGX_HTTP_DEBUG_UPGRADES,
    NGX_HTTP_DEBUG_TRUNCATED,
    NGX_HTTP_DEBUG_HANDSHAKES,     /* of TLS, with the peer */
    NGX_HTTP_DEBUG_UNSHAKEN,       /* of these, those that came to nothing */

    /* an answer never came */

    NGX_HTTP_DEBUG_FAIL_CONNECT,
    NGX_HTTP_DEBUG_FAIL_TIMEOUT,
    NGX_HTTP_DEBUG_FAIL_INVALID,
    NGX_HTTP_DEBUG_FAIL_STALE,
    NGX_HTTP_DEBUG_FAIL_ABORT,
    NGX_HTTP_DEBUG_FAIL_NO_LIVE,
    NGX_HTTP_DEBUG_FAIL_LOST,
    NGX_HTTP_DEBUG_FAIL_GRPC,      /* one came, and said that it is none */
    NGX_HTTP_DEBUG_FAIL_CALL,      /* the same, by the fault of who called */
    NGX_HTTP_DEBUG_FAIL_OTHER,

    NGX_HTTP_DEBUG_METRICS
};

#define NGX_HTTP_DEBUG_FAIL_FIRST  NGX_HTTP_DEBUG_FAIL_CONNECT
#define NGX_HTTP_DEBUG_FAIL_LAST   NGX_HTTP_DEBUG_FAIL_OTHER


typedef enum {
    NGX_HTTP_DEBUG_COUNT = 0,
    NGX_HTTP_DEBUG_BYTES,
    NGX_HTTP_DEBUG_SECONDS         /* kept in ns */
} ngx_http_debug_unit_e;


/*
 * How the cells of an entity make its number.  A try that was all of its round
 * is in its peer's cell alone, which its group's numbers are summed from; any
 * other is in the group's own cell and in another one of its peer.  What every
 * answer has, or every try, is not written beside each.
 */

typedef enum {
    NGX_HTTP_DEBUG_COUNTED = 0,    /* as it was counted */
    NGX_HTTP_DEBUG_ANSWERED,       /* counted, but for the answers in a peer's
                                      cell: each is one more */
    NGX_HTTP_DEBUG_TRIED           /* counted in the group's own cell; each
                                      record of its peers' is one more */
} ngx_http_debug_sum_e;


typedef struct {
    ngx_uint_t             metric;
    ngx_uint_t             kinds;  /* bits: whose cells have it */
    ngx_http_debug_unit_e  unit;
    ngx_http_debug_sum_e   sum;
    ngx_str_t              json;   /* key in /debug/stats */
    ngx_str_t              family; /* name in /debug/metrics, without the
                                      prefix that says the kind */
    ngx_str_t              label;  /* rows of one family differ in it */
    ngx_str_t              help;
} ngx_http_debug_metric_t;


/* in the order of the faces; the last one has an empty name */
extern ngx_http_debug_metric_t  ngx_http_debug_metrics[];


#endif /* _NGX_HTTP_DEBUG_METRICS_H_INCLUDED_ */
