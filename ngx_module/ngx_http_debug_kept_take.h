
/*
 * Taking snapshots.  What is to be taken next lies in shared memory; every
 * worker has a timer, and the one that holds the lease does what is due.  It
 * goes on over a reload and over the death of any worker.
 */


#ifndef _NGX_HTTP_DEBUG_KEPT_TAKE_H_INCLUDED_
#define _NGX_HTTP_DEBUG_KEPT_TAKE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_fetch.h"
#include "ngx_http_debug_kept_disk.h"
#include "ngx_http_debug_runs.h"


/* one snapshot that is being taken */

typedef struct ngx_http_debug_take_s  ngx_http_debug_take_t;

struct ngx_http_debug_take_s {
    ngx_http_debug_disk_save_t   save;      /* "pool" is the job's own */

    ngx_http_debug_fetch_t       fetch;
    ngx_http_debug_run_ref_t     run;
    ngx_event_t                  deadline;

    /* the job is over and goes when this returns */
    void                       (*done)(ngx_http_debug_take_t *job);

    ngx_http_request_t          *request;   /* by hand; NULL: it left */
    ngx_http_cleanup_pt         *cleanup;   /* of the request, to tell so */
    ngx_uint_t                   max;       /* debug_pprof_max; 0: no limit */
    ngx_uint_t                   times;
    ngx_msec_t                   every;

    /* of what is no snapshot */

    char                        *who;       /* wants it; NULL: they do */
    ngx_str_t                    uri;       /* empty: what a snapshot is */
    ngx_uint_t                   seconds;   /* that it takes; 0: its kind's */
    ngx_uint_t                   form;      /* of what is to come */
#define NGX_HTTP_DEBUG_TAKE_PROFILE  0
#define NGX_HTTP_DEBUG_TAKE_TEXT     1      /* a profiler's */
#define NGX_HTTP_DEBUG_TAKE_ANY      2
    ngx_uint_t                   level;     /* of errors; 0: told once */
    void                        *data;      /* of who takes it */
    ngx_uint_t                   side;
};


/* Starts this process's timer, if there is what to do.  Context: worker
 * start. */
void ngx_http_debug_take_schedule(ngx_http_debug_kept_conf_t *kcf,
    ngx_cycle_t *cycle);

/*
 * A job that will keep what FILE names, in a pool of its own; the caller sets
 * what comes after "deadline".  NULL: no memory.
 */
ngx_http_debug_take_t *ngx_http_debug_take_create(
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_disk_file_t *file);

/* Whether it is for this process to do what is due, and none else. */
ngx_uint_t ngx_http_debug_take_lead(ngx_http_debug_kept_conf_t *kcf);

/*
 * Asks the process at SOCKADDR, which messages call NAME, where paths
 * begin with PREFIX; by TLS as SSL says,
 * unless that is NULL.
 *
 * NGX_OK: DONE will be called, though not from here; otherwise it will not,
 * "error" says why, and the pool is the caller's to destroy.
 */
ngx_int_t ngx_http_debug_take_begin(ngx_http_debug_take_t *job,
    struct sockaddr *sockaddr, socklen_t socklen, ngx_str_t *name,
    ngx_str_t *prefix, ngx_http_debug_pprof_ssl_t *ssl, ngx_msec_t timeout);

/*
 * Plans the others of "times"; a second wish for the same replaces the first.
 * NGX_BUSY: there are as many plans as there is room for.
 */
ngx_int_t ngx_http_debug_take_plan(ngx_http_debug_take_t *job);


#endif /* _NGX_HTTP_DEBUG_KEPT_TAKE_H_INCLUDED_ */
