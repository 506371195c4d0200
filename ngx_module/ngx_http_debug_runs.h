
/*
 * Profile requests under way, of all workers: how many there are, which peer
 * is profiled and by whom, and what others wait for.
 *
 * In a shared memory zone of their own, under its mutex: some profiles a
 * minute pass here, and no other request.  The master unlocks the mutex of
 * a worker that died, and a run whose worker is gone is forgotten.
 *
 * A run is begun by one request, its owner.  Others may join it, each with a
 * place of its own, since each is a request under way and may die with its
 * worker.  The owner publishes its answer in the zone, they send it from
 * there, and with the last of them it goes.
 *
 * Context of all functions: worker, request; worker, timer.
 */


#ifndef _NGX_HTTP_DEBUG_RUNS_H_INCLUDED_
#define _NGX_HTTP_DEBUG_RUNS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_HTTP_DEBUG_RUNS_MAX      256
#define NGX_HTTP_DEBUG_RUNS_ZONE     (32 * 1024 * 1024)  /* touched as used */
#define NGX_HTTP_DEBUG_RUNS_ANSWER   (24 * 1024 * 1024)  /* the largest one */
#define NGX_HTTP_DEBUG_RUNS_NAME     128
#define NGX_HTTP_DEBUG_RUNS_STALE    5000    /* ms without a sign of life */


typedef enum {
    NGX_HTTP_DEBUG_RUN_FREE = 0,
    NGX_HTTP_DEBUG_RUN_ACTIVE,
    NGX_HTTP_DEBUG_RUN_DONE,         /* its answer may be taken */
    NGX_HTTP_DEBUG_RUN_FAILED,       /* there will be none */
    NGX_HTTP_DEBUG_RUN_JOINED        /* waits for another's, or sends it */
} ngx_http_debug_run_state_e;


/* a place and who was in it */

typedef struct {
    ngx_uint_t       n;
    uint64_t         serial;         /* 0: none */
} ngx_http_debug_run_ref_t;


typedef struct {
    ngx_uint_t       state;
    uint64_t         serial;         /* of the run in this place */
    ngx_pid_t        pid;            /* of the owner, or of who joined */

    ngx_uint_t       exclusive;      /* no second one of this peer */
    uint32_t         form;           /* of an answer that is shared, or 0 */
    ngx_http_debug_run_ref_t  of;    /* whom it joined */

    ngx_msec_t       end;            /* when the peer is to be ready */
    ngx_msec_t       last;           /* when it is over, whatever happens */
    ngx_msec_t       seen;           /* the owner's last sign of life */

    u_char           peer[NGX_HTTP_DEBUG_RUNS_NAME];
    size_t           peer_len;
    u_char           who[NGX_HTTP_DEBUG_RUNS_NAME];
    size_t           who_len;

    u_char          *answer;         /* or NULL */
    size_t           answer_len;
} ngx_http_debug_run_t;


typedef struct {
    ngx_uint_t       seconds;        /* until the other one ends */
    ngx_uint_t       count;
    u_char           text[NGX_HTTP_DEBUG_RUNS_NAME];
    ngx_str_t        who;            /* in "text" */
} ngx_http_debug_run_other_t;


/* Context: configuration, postconfiguration. */
ngx_int_t ngx_http_debug_runs_init(ngx_conf_t *cf);

/*
 * Begins a run of PEER by WHO, that the peer will be ready with after MSEC
 * and that is over after LAST.  Returns
 *
 *   NGX_OK        begun; *REF is its
 *   NGX_AGAIN     there are MAX of them already, those who joined among them;
 *                 OTHER->count says how many
 *   NGX_BUSY      EXCLUSIVE, and such a run of PEER is under way: OTHER
 *   NGX_DONE      the same, and its FORM is this one's: *REF has joined it
 *
 * FORM stands for what the answer would be but for its time: a hash, or 0
 * when it is not to be shared.
 */
ngx_int_t ngx_http_debug_runs_begin(ngx_http_debug_run_ref_t *ref,
    ngx_str_t *peer, ngx_str_t *who, ngx_msec_t msec, ngx_msec_t last,
    ngx_uint_t max, ngx_uint_t exclusive, uint32_t form,
    ngx_http_debug_run_other_t *other);

/*
 * Looks for an exclusive run of PEER.  Returns NGX_OK and fills OTHER, or
 * NGX_DECLINED: the peer is free.
 */
ngx_int_t ngx_http_debug_runs_busy(ngx_str_t *peer,
    ngx_http_debug_run_other_t *other);

/* The owner lives.  Returns how many have joined. */
ngx_uint_t ngx_http_debug_runs_seen(ngx_http_debug_run_ref_t *ref);

/*
 * The owner ends its run with the SIZE bytes of ANSWER for those who joined,
 * or, if ANSWER is NULL, without.
 */
void ngx_http_debug_runs_end(ngx_http_debug_run_ref_t *ref,
    ngx_chain_t *answer, size_t size);

/* The answer is too much to be shared: who joined need not wait for it. */
void ngx_http_debug_runs_unshare(ngx_http_debug_run_ref_t *ref);

/*
 * Looks whether the run that was joined has ended.  Returns
 *
 *   NGX_AGAIN     not yet
 *   NGX_OK        *ANSWER is it; it belongs to the zone, until
 *                 ngx_http_debug_runs_leave()
 *   NGX_DECLINED  there is none
 */
ngx_int_t ngx_http_debug_runs_poll(ngx_http_debug_run_ref_t *ref,
    ngx_str_t *answer);

/* Who joined leaves.  Any number of times. */
void ngx_http_debug_runs_leave(ngx_http_debug_run_ref_t *ref);

/*
 * The default peer of GROUP that was chosen before, as a hash of its name; 0
 * when there was none.  It is to be asked as long as it lives, however the
 * list of peers changes.
 */
uint32_t ngx_http_debug_runs_default(ngx_str_t *group);
void ngx_http_debug_runs_set_default(ngx_str_t *group, uint32_t peer);

/* Whether PEER refused a connection a moment ago; and that it just did. */
ngx_uint_t ngx_http_debug_runs_refused(ngx_str_t *peer);
void ngx_http_debug_runs_refuse(ngx_str_t *peer, ngx_uint_t refused);

uint32_t ngx_http_debug_runs_hash(ngx_str_t *name);


#endif /* _NGX_HTTP_DEBUG_RUNS_H_INCLUDED_ */
