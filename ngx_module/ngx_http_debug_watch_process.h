
/*
 * What a peer says of its own process, at "charts/data" beside its profiles,
 * as libpprof does: memory, threads, and how much of its CPUs it uses.
 *
 * Context: worker, timer.
 */


#ifndef _NGX_HTTP_DEBUG_WATCH_PROCESS_H_INCLUDED_
#define _NGX_HTTP_DEBUG_WATCH_PROCESS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include "ngx_http_debug_fetch.h"
#include "ngx_http_debug_pprof.h"


typedef struct ngx_http_debug_watch_ask_s  ngx_http_debug_watch_ask_t;

struct ngx_http_debug_watch_ask_s {

    /* set by the caller, who zeroes the rest */

    ngx_pool_t                  *pool;      /* its own: goes after "done" */
    void                       (*done)(ngx_http_debug_watch_ask_t *ask);
    void                        *data;

    /* the answer; "told" is 0: there is none */

    ngx_uint_t                   told;
    uint64_t                     rss;       /* bytes; 0: not known */
    uint64_t                     threads;
    uint32_t                     pid;
    ngx_int_t                    cpu;       /* percent of one CPU; -1 */
    ngx_int_t                    cpus;      /* that it may use; 0: not known */

    /* internal */

    ngx_http_debug_fetch_t       fetch;
    ngx_event_t                  deadline;
    u_char                      *body;
    size_t                       size;
};


/*
 * Asks who is at SOCKADDR, which messages call NAME, of the last seconds.
 * NGX_OK: "done" will be called, though not from here; NGX_ERROR: it will not,
 * and the pool is gone.
 */
ngx_int_t ngx_http_debug_watch_process_ask(ngx_http_debug_watch_ask_t *ask,
    struct sockaddr *sockaddr, socklen_t socklen, ngx_str_t *name,
    ngx_str_t *group, ngx_str_t *prefix, ngx_http_debug_pprof_ssl_t *ssl);

/*
 * Makes the URI of what a process whose paths begin with PREFIX says since so
 * many SECONDS ago.  NGX_OK, or NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_debug_watch_process_uri(ngx_pool_t *pool,
    ngx_str_t *prefix, ngx_uint_t seconds, ngx_str_t *uri);


#endif /* _NGX_HTTP_DEBUG_WATCH_PROCESS_H_INCLUDED_ */
