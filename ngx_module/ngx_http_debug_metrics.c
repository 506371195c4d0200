
/*
 * The table of everything that is kept.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_debug_metrics.h"


#define counter(metric, kinds, unit, sum, json, family, help)                 \
    { NGX_HTTP_DEBUG_##metric, NGX_HTTP_DEBUG_##kinds, NGX_HTTP_DEBUG_##unit, \
      NGX_HTTP_DEBUG_##sum, ngx_string(json), ngx_string(family),             \
      ngx_null_string, ngx_string(help) }

#define failure(metric, kinds, cause)                                         \
    { NGX_HTTP_DEBUG_FAIL_##metric, NGX_HTTP_DEBUG_##kinds,                   \
      NGX_HTTP_DEBUG_COUNT, NGX_HTTP_DEBUG_COUNTED, ngx_string(cause),        \
      ngx_string("failures_total"),                                           \
      ngx_string("cause=\"" cause "\""),                                      \
      ngx_string("Requests that got no answer, by cause.") }


ngx_http_debug_metric_t  ngx_http_debug_metrics[] = {

    counter(TIME, ANY, SECONDS, COUNTED, "total_response_time",
            "answer_time_seconds_total",
            "Time taken by what was answered."),

    counter(TIMEOUT_TIME, UPSTREAM, SECONDS, COUNTED, "total_timeout_time",
            "timeout_time_seconds_total",
            "Time taken by what timed out before an answer came."),

    counter(CONNECTS, UPSTREAM, COUNT, ANSWERED, "connects",
            "connects_total",
            "Connections taken, new ones and kept ones."),

    counter(CONNECT_TIME, UPSTREAM, SECONDS, COUNTED, "total_connect_time",
            "connect_time_seconds_total",
            "Time until a connection was there; 1 ms resolution."),

    counter(HEADERS, UPSTREAM, COUNT, ANSWERED, "headers",
            "headers_total",
            "Response headers received."),

    counter(HEADER_TIME, UPSTREAM, SECONDS, COUNTED, "total_header_time",
            "header_time_seconds_total",
            "Time until the response header; 1 ms resolution."),

    counter(RECEIVED, ANY, BYTES, COUNTED, "received_bytes",
            "received_bytes_total",
            "Bytes received from the peer, for a server from its clients."),

    counter(SENT, ANY, BYTES, COUNTED, "sent_bytes",
            "sent_bytes_total",
            "Bytes sent to the peer, for a server to its clients."),

    counter(TRIES, GROUPS, COUNT, TRIED, "tries",
            "tries_total",
            "Tries on any peer of the group."),

    counter(RETRIES, GROUPS, COUNT, COUNTED, "retries",
            "retries_total",
            "Tries after the first of a request."),

    counter(UPGRADES, ANY, COUNT, COUNTED, "upgrades",
            "upgrades_total",
            "Upgraded connections, as of WebSocket; in no other count."),

    counter(TRUNCATED, UPSTREAM, COUNT, COUNTED, "truncated",
            "truncated_total",
            "Answers that began and broke off."),

    counter(HANDSHAKES, UPSTREAM, COUNT, COUNTED, "tls_handshakes",
            "tls_handshakes_total",
            "TLS handshakes begun with the peer."),

    counter(UNSHAKEN, UPSTREAM, COUNT, COUNTED, "tls_handshake_failures",
            "tls_handshake_failures_total",
            "TLS handshakes that did not come to a trusted connection."),

    failure(CONNECT, UPSTREAM, "connect"),
    failure(TIMEOUT, UPSTREAM, "timeout"),
    failure(INVALID, UPSTREAM, "invalid"),
    failure(STALE, UPSTREAM, "stale"),
    failure(ABORT, UPSTREAM, "abort"),
    failure(NO_LIVE, GROUPS, "no_live"),
    failure(LOST, ANY, "lost"),
    failure(GRPC, ANY, "grpc"),
    failure(CALL, ANY, "grpc_call"),
    failure(OTHER, UPSTREAM, "other"),

    { 0, 0, 0, 0, ngx_null_string, ngx_null_string, ngx_null_string,
      ngx_null_string }
};


/* every metric has its row */

typedef char  ngx_http_debug_metrics_complete
    [sizeof(ngx_http_debug_metrics) / sizeof(ngx_http_debug_metrics[0])
     == NGX_HTTP_DEBUG_METRICS + 1 ? 1 : -1];
