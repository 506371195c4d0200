
/*
 * Snapshots: profiles that nginx takes and keeps, so that a leak can be hunted
 * while nobody looks.
 *
 * Handled here: the directive
 *
 *     debug_snapshots path=directory [every=10m] [keep=144] [kinds=heap,...]
 *
 * and everything below pprof/kept/: the list as a page and as JSON, the
 * files, and the form by which one is taken by hand.
 *
 * What is to be taken next lies in shared memory; every worker has a timer,
 * and the one that holds the lease does what is due.  It goes on over a
 * reload and over the death of any worker.
 *
 * A snapshot is one file, and its name says all there is to know of it:
 *
 *     group~peer~kind~milliseconds~pid~by.pb.gz
 *
 * with every byte but letters, digits, "_", "-", ":" and inner dots escaped
 * as %XX, so that no name of a group or a peer can leave the directory.  The
 * directory is the only index: files may be copied in and taken away.
 */


#ifndef _NGX_HTTP_DEBUG_KEPT_H_INCLUDED_
#define _NGX_HTTP_DEBUG_KEPT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_pprof.h"


typedef struct {
    ngx_path_t   *path;      /* NULL: no debug_snapshots */
    ngx_msec_t    every;
    ngx_uint_t    keep;      /* of each peer and kind */
    ngx_array_t  *kinds;     /* of ngx_str_t */

    ngx_array_t  *allowed;   /* of ngx_array_t *: debug_pprof_pass of each
                                location that has one */
    ngx_uint_t    all;       /* a location lets every group be profiled;
                                unsigned  all:1; */
    ngx_array_t  *pass;      /* of ngx_http_debug_pass_t: who is asked */

    ngx_http_upstream_main_conf_t  *upstreams;
    ngx_shm_zone_t                 *zone;
} ngx_http_debug_kept_conf_t;


/* The directive.  Context: configuration. */
char *ngx_http_debug_kept_set(ngx_conf_t *cf, ngx_http_debug_kept_conf_t *kcf);

/*
 * A location serves profiles of the groups in PASS; NULL: of all.  Context:
 * configuration, merge.
 */
ngx_int_t ngx_http_debug_kept_allow(ngx_conf_t *cf,
    ngx_http_debug_kept_conf_t *kcf, ngx_array_t *pass);

/* After ngx_http_debug_pprof_init().  Context: postconfiguration. */
ngx_int_t ngx_http_debug_kept_init(ngx_conf_t *cf,
    ngx_http_debug_kept_conf_t *kcf);

/* Starts this process's timer.  Context: worker start. */
void ngx_http_debug_kept_start(ngx_http_debug_kept_conf_t *kcf,
    ngx_cycle_t *cycle);

/*
 * Answers the request whose URI after "pprof/kept/" is REST, in a location
 * with CONF.  Returns what a content handler returns.
 *
 * Context: worker, request.
 */
ngx_int_t ngx_http_debug_kept_handler(ngx_http_request_t *r,
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_pprof_conf_t *conf,
    ngx_str_t *rest);


#endif /* _NGX_HTTP_DEBUG_KEPT_H_INCLUDED_ */
