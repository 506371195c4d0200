
/*
 * A look at peers: is there a profiler, and of which process?
 *
 * Each is asked for what costs it nothing, HEAD of its command line, a few at
 * a time and all of them within a second, since somebody waits for a page.
 * A single one, where debug_pprof_kinds is "all", is asked for its own index,
 * too.
 *
 * Owner: the request's pool.  Context: worker, request.
 */


#ifndef _NGX_HTTP_DEBUG_PPROF_LOOK_H_INCLUDED_
#define _NGX_HTTP_DEBUG_PPROF_LOOK_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_pprof.h"


typedef enum {
    NGX_HTTP_DEBUG_PPROF_LOOK_UNKNOWN = 0,   /* was not asked */
    NGX_HTTP_DEBUG_PPROF_LOOK_READY,
    NGX_HTTP_DEBUG_PPROF_LOOK_FOREIGN,       /* answers, but no profiler */
    NGX_HTTP_DEBUG_PPROF_LOOK_DEAD,          /* no connection */
    NGX_HTTP_DEBUG_PPROF_LOOK_SILENT,        /* nothing within that second */
    NGX_HTTP_DEBUG_PPROF_LOOK_BROKEN         /* something else, see "text" */
} ngx_http_debug_pprof_look_state_e;


typedef struct {
    ngx_http_debug_pprof_look_state_e  state;
    ngx_str_t                          text;      /* the state in words */
    ngx_str_t                          pid;       /* empty: it is not told */
    ngx_str_t                          build_id;  /* hex, likewise */
    ngx_array_t                       *kinds;     /* ngx_str_t: what its own
                                                     index lists that is not
                                                     known here; or NULL */
} ngx_http_debug_pprof_look_t;


/* LOOKS has one for each peer, in the order of groups and peers. */
typedef ngx_int_t (*ngx_http_debug_pprof_look_pt)(ngx_http_request_t *r,
    ngx_http_debug_pprof_look_t *looks, void *data);


/* The word for a state: "ready", "dead" … */
ngx_str_t *ngx_http_debug_pprof_look_word(
    ngx_http_debug_pprof_look_state_e state);

/*
 * Looks at the peers of GROUPS, an array of ngx_http_debug_peer_group_t, and
 * then calls HANDLER, whose result, as a content handler's, ends the request.
 * Without ASK nobody is asked, and HANDLER is called at once.  Returns what a
 * content handler returns.
 */
ngx_int_t ngx_http_debug_pprof_look(ngx_http_request_t *r,
    ngx_http_debug_pprof_conf_t *conf, ngx_array_t *groups,
    ngx_uint_t legacy, ngx_uint_t ask, ngx_http_debug_pprof_look_pt handler,
    void *data);


#endif /* _NGX_HTTP_DEBUG_PPROF_LOOK_H_INCLUDED_ */
