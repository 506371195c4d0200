
/*
 * Snapshots: profiles that nginx takes and keeps, so that a leak can be hunted
 * while nobody looks.
 *
 * The directive is
 *
 *     debug_snapshots path=directory [every=10m] [keep=144] [space=1g]
 *                     [kinds=heap,...]
 *
 *     ngx_http_debug_kept.c          the directive, and whom it concerns
 *     ngx_http_debug_kept_take.[ch]  what is due, and taking it
 *     ngx_http_debug_kept_disk.[ch]  the directory
 *     ngx_http_debug_kept_routes.c   everything below pprof/kept/
 */


#ifndef _NGX_HTTP_DEBUG_KEPT_H_INCLUDED_
#define _NGX_HTTP_DEBUG_KEPT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_asked.h"
#include "ngx_http_debug_pprof.h"


#define NGX_HTTP_DEBUG_KEPT_PLANS    32      /* series that were asked for */
#define NGX_HTTP_DEBUG_KEPT_NAME     128     /* bytes of a name in a plan */
#define NGX_HTTP_DEBUG_KEPT_ERROR    512
#define NGX_HTTP_DEBUG_KEPT_MAX      (16 * 1024 * 1024)  /* of a profile */
#define NGX_HTTP_DEBUG_KEPT_FAILED   1024    /* peers that are told once */


typedef struct {
    ngx_path_t   *path;      /* NULL: no debug_snapshots */
    ngx_msec_t    every;
    ngx_uint_t    keep;      /* of each peer and kind */
    off_t         space;     /* bytes of all */
    ngx_array_t  *kinds;     /* of ngx_str_t */

    ngx_http_debug_asked_t  *asked;     /* by locations that serve profiles */
    ngx_shm_zone_t          *zone;
} ngx_http_debug_kept_conf_t;


/* taken in turn from one peer: "and every 10 min, 6 times" */

typedef struct {
    ngx_uint_t    left;      /* 0: free */
    ngx_msec_t    every;
    ngx_msec_t    next;
    size_t        group_len;
    size_t        peer_len;
    size_t        kind_len;
    u_char        group[NGX_HTTP_DEBUG_KEPT_NAME];
    u_char        peer[NGX_HTTP_DEBUG_KEPT_NAME];
    u_char        kind[NGX_HTTP_DEBUG_KEPT_NAME];
} ngx_http_debug_kept_plan_t;


/* in the zone, under its mutex */

typedef struct {
    ngx_pid_t     pid;       /* who does what is due; 0: nobody */
    ngx_msec_t    seen;      /* its last sign of life */

    ngx_uint_t    started;   /* "next" is set */
    ngx_msec_t    next;      /* round of debug_snapshots */

    ngx_http_debug_kept_plan_t  plan[NGX_HTTP_DEBUG_KEPT_PLANS];

    uint32_t      path;      /* a hash of whose bytes these are; 0: unknown */
    off_t         used;      /* bytes of all files, as far as is known */
    ngx_msec_t    counted;

    /* by a hash of the name: who failed, and was told so in the log */
    uint32_t      failed[NGX_HTTP_DEBUG_KEPT_FAILED];

    ngx_msec_t    logged;
    size_t        error_len; /* 0: the last file was written */
    u_char        error[NGX_HTTP_DEBUG_KEPT_ERROR];
} ngx_http_debug_kept_shared_t;


#define ngx_http_debug_kept_lock(kcf)                                         \
    ngx_shmtx_lock(&((ngx_slab_pool_t *) (kcf)->zone->shm.addr)->mutex)
#define ngx_http_debug_kept_unlock(kcf)                                       \
    ngx_shmtx_unlock(&((ngx_slab_pool_t *) (kcf)->zone->shm.addr)->mutex)


/* The directive.  Context: configuration. */
char *ngx_http_debug_kept_set(ngx_conf_t *cf, ngx_http_debug_kept_conf_t *kcf);

/* Context: postconfiguration. */
ngx_int_t ngx_http_debug_kept_init(ngx_conf_t *cf,
    ngx_http_debug_kept_conf_t *kcf);

/*
 * Answers the request whose URI after "pprof/kept/" is REST, in a location
 * with CONF.  Returns what a content handler returns.
 *
 * Context: worker, request.
 */
ngx_int_t ngx_http_debug_kept_handler(ngx_http_request_t *r,
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_pprof_conf_t *conf,
    ngx_str_t *rest);

/* Whether a location with CONF serves such profiles: of GROUP; of KIND. */
ngx_uint_t ngx_http_debug_kept_shown(ngx_http_debug_pprof_conf_t *conf,
    ngx_str_t *group, ngx_str_t *kind);
ngx_uint_t ngx_http_debug_kept_sees(ngx_http_debug_pprof_conf_t *conf,
    ngx_str_t *group);
ngx_uint_t ngx_http_debug_kept_lets(ngx_http_debug_pprof_conf_t *conf,
    ngx_str_t *kind);

/* Whether KIND is one answer and worth keeping. */
ngx_uint_t ngx_http_debug_kept_known(ngx_str_t *kind);

ngx_uint_t ngx_http_debug_kept_is(ngx_str_t *a, u_char *data, size_t len);


#endif /* _NGX_HTTP_DEBUG_KEPT_H_INCLUDED_ */
