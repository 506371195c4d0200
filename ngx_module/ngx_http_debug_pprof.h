
/*
 * The way to a peer's profiler.
 *
 * Directives handled here, each with its member of the configuration below:
 *
 *     debug_write_timeout time          ngx_http_debug_pprof_write_timeout()
 *     debug_pprof_pass group [listeners | unix:pattern]
 *                                       ngx_http_debug_pprof_pass()
 *     debug_pprof_kinds name...         ngx_http_debug_pprof_kinds()
 *     debug_pprof_max number            ngx_conf_set_num_slot()
 *     debug_pprof_busy refuse | share   ngx_conf_set_enum_slot()
 *     debug_pprof_keepalive time | off  ngx_http_debug_pprof_keepalive()
 *     debug_pprof_ssl on | off | [trusted=file] [depth=number] [name=host]
 *         [certificate=file key=file]   ngx_http_debug_pprof_ssl()
 *
 * The setters find the member at the command's "offset".
 */


#ifndef _NGX_HTTP_DEBUG_PPROF_H_INCLUDED_
#define _NGX_HTTP_DEBUG_PPROF_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_peers.h"


#define NGX_HTTP_DEBUG_PPROF_REFUSE  0
#define NGX_HTTP_DEBUG_PPROF_SHARE   1


typedef struct {
#if (NGX_HTTP_SSL)
    ngx_ssl_t    *ssl;
#endif
    ngx_str_t     name;           /* to be in the certificate; empty: group */
    ngx_uint_t    verify;         /* unsigned  verify:1; */
} ngx_http_debug_pprof_ssl_t;


typedef struct {
    ngx_msec_t    write_timeout;  /* of a whole answer */
    ngx_array_t  *pass;           /* ngx_http_debug_pass_t; NULL: all groups */
    ngx_array_t  *kinds;          /* ngx_str_t: that are let through */
    ngx_int_t     max;            /* profile requests under way at once */
    ngx_uint_t    busy;           /* what becomes of a second CPU profile */
    ngx_msec_t    keepalive;      /* 0: off */
    ngx_http_debug_pprof_ssl_t  *ssl;    /* NULL: plain HTTP */
} ngx_http_debug_pprof_conf_t;


extern ngx_conf_enum_t       ngx_http_debug_pprof_busy[];
extern ngx_conf_num_bounds_t  ngx_http_debug_pprof_max_bounds;


/* Context of these: configuration. */

/* Adds the variables $debug_upstream, $debug_peer, $debug_kind and
 * $debug_seconds; before the http block is read. */
ngx_int_t ngx_http_debug_pprof_preconfiguration(ngx_conf_t *cf);

void ngx_http_debug_pprof_create_conf(ngx_conf_t *cf,
    ngx_http_debug_pprof_conf_t *conf);
char *ngx_http_debug_pprof_merge_conf(ngx_conf_t *cf,
    ngx_http_debug_pprof_conf_t *prev, ngx_http_debug_pprof_conf_t *conf);

/* Forgets what an earlier configuration left. */
void ngx_http_debug_pprof_conf_reset(void);

/* Prepares the location that is being merged to be one of ours. */
void ngx_http_debug_pprof_merge_location(ngx_conf_t *cf);

/*
 * What had to wait until all upstreams are known; in postconfiguration.
 * LISTENERS, an array of ngx_http_upstream_srv_conf_t *, gets the groups that
 * only say where profilers listen.
 */
ngx_int_t ngx_http_debug_pprof_init(ngx_conf_t *cf, ngx_array_t *listeners);

char *ngx_http_debug_pprof_write_timeout(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_debug_pprof_keepalive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_debug_pprof_pass(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_debug_pprof_ssl(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_debug_pprof_kinds(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * Answers with the page of GROUPS, an array of ngx_http_debug_peer_group_t in
 * the request's pool, after a look at their peers.  Its links are relative to
 * itself, DEPTH steps below the page that has all groups.  Returns what a
 * content handler returns.
 *
 * Context: worker, request.
 */
ngx_int_t ngx_http_debug_pprof_index(ngx_http_request_t *r,
    ngx_http_debug_pprof_conf_t *conf, ngx_array_t *groups, ngx_uint_t depth,
    ngx_uint_t legacy);

/*
 * Answers with the peers that can be asked, for scrapers that discover them:
 * JSON, Prometheus' HTTP SD.  MOUNT is the prefix that CONF's location serves.
 * Returns what a content handler returns.
 *
 * Context: worker, request.
 */
ngx_int_t ngx_http_debug_pprof_targets(ngx_http_request_t *r,
    ngx_http_debug_pprof_conf_t *conf, ngx_str_t *mount);

/*
 * Answers the request whose URI after the mount and "pprof/" is REST, decoded
 * and normalized.  LEGACY: asks the peers for gperftools' legacy formats.
 * Returns what a content handler returns.
 *
 * Context: worker, request.
 */
ngx_int_t ngx_http_debug_pprof_handler(ngx_http_request_t *r,
    ngx_http_debug_pprof_conf_t *conf, ngx_str_t *rest, ngx_uint_t legacy);

/*
 * Answers "charts/REST", which is to be "<group>/<peer>/data", with what that
 * peer says of its own process at /debug/charts/data.  Returns what a content
 * handler returns.
 *
 * Context: worker, request.
 */
ngx_int_t ngx_http_debug_pprof_process(ngx_http_request_t *r,
    ngx_http_debug_pprof_conf_t *conf, ngx_str_t *rest);


#endif /* _NGX_HTTP_DEBUG_PPROF_H_INCLUDED_ */
