
/*
 * One profile request, as the files ngx_http_debug_pprof*.c hand it on; none
 * of this is for others.
 *
 * Owner: the pool of the request.  Context of all functions: worker, request;
 * of those that take an event, and of what they call, worker, timer too.
 */


#ifndef _NGX_HTTP_DEBUG_PPROF_CTX_H_INCLUDED_
#define _NGX_HTTP_DEBUG_PPROF_CTX_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_fetch.h"
#include "ngx_http_debug_pprof.h"
#include "ngx_http_debug_runs.h"


typedef struct {
    ngx_http_request_t           *request;
    ngx_http_debug_pprof_conf_t  *conf;

    ngx_str_t                     upstream;  /* for headers and variables */
    ngx_str_t                     peer;
    ngx_str_t                     kind;
    ngx_uint_t                    flags;
    ngx_int_t                     seconds;   /* -1: none */

    ngx_str_t                     uri;       /* as the peer gets it */
    ngx_chain_t                  *body;      /* of a POST */
    ngx_chain_t                 **last_body;
    off_t                         body_size;

    ngx_http_debug_fetch_t        fetch;
    ngx_event_t                   deadline;

    ngx_http_debug_run_ref_t      run;       /* that this request began */
    ngx_http_debug_run_ref_t      joined;    /* or joined */
    ngx_event_t                   tick;      /* while one of both is shared */

    ngx_chain_t                  *copy;      /* of the answer, to be shared */
    ngx_chain_t                 **last_copy;
    size_t                        copy_size;

    ngx_event_t                   keepalive;

    unsigned                      foreign:1; /* not a profiler's answer */
    unsigned                      header_sent:1;
    unsigned                      last:1;    /* all is in nginx's hands */
    unsigned                      logged:1;  /* in r->upstream_states */
    unsigned                      legacy:1;
    ngx_str_t                     prefix;    /* of the peer's paths */
    unsigned                      process:1; /* charts/.../data */
    unsigned                      shared:1;  /* others may want a copy */
    unsigned                      gone:1;    /* the client; others wait */
    unsigned                      early:1;   /* header before the answer */
    unsigned                      checked:1; /* that it is what was said */
} ngx_http_debug_pprof_ctx_t;


/* ngx_http_debug_pprof_ctx.c */

/* Returns NULL when there is no memory. */
ngx_http_debug_pprof_ctx_t *ngx_http_debug_pprof_ctx_create(
    ngx_http_request_t *r, ngx_http_debug_pprof_conf_t *conf);

/* Returns R's, or NULL: it is for no peer. */
ngx_http_debug_pprof_ctx_t *ngx_http_debug_pprof_ctx_get(
    ngx_http_request_t *r);


/* ngx_http_debug_pprof.c */

/*
 * The first live peer of the first group that has any, and then always that
 * one while it lives: what a client asks next is to reach the same process.
 * When none lives, the first one all the same, since to be asked costs it
 * nothing.  NULL: no group has a peer.
 */
ngx_http_debug_peer_t *ngx_http_debug_pprof_default(ngx_array_t *groups,
    ngx_http_debug_peer_group_t **group);


/* ngx_http_debug_pprof_check.c */

/*
 * Sets CTX's seconds and the peer's time.  Returns NGX_DECLINED when nothing
 * speaks against it, or what a content handler returns.
 */
ngx_int_t ngx_http_debug_pprof_check(ngx_http_request_t *r,
    ngx_http_debug_pprof_ctx_t *ctx);


/* ngx_http_debug_pprof_request.c */

/* Directs F to PEER. */
void ngx_http_debug_pprof_request_aim(ngx_http_debug_fetch_t *f,
    ngx_http_debug_pprof_conf_t *conf, ngx_http_debug_peer_group_t *group,
    ngx_http_debug_peer_t *peer);

/* Reads the body of a POST and goes on.  Returns what a content handler
 * returns. */
ngx_int_t ngx_http_debug_pprof_request_body(ngx_http_request_t *r);

/* Makes the fetch's request of the client's.  Returns NGX_OK or NGX_ERROR. */
ngx_int_t ngx_http_debug_pprof_request_create(ngx_http_debug_pprof_ctx_t *ctx);


/* ngx_http_debug_pprof_busy.c */

/*
 * NGX_DECLINED: it may begin; NGX_DONE: it has joined another; otherwise it is
 * answered, and this is what a content handler returns.
 */
ngx_int_t ngx_http_debug_pprof_busy_begin(ngx_http_debug_pprof_ctx_t *ctx);

/* Begins to look after a run that is shared. */
void ngx_http_debug_pprof_busy_wait(ngx_http_debug_pprof_ctx_t *ctx);

/*
 * Keeps what comes, for those who join; *IN becomes a chain that stays.  When
 * it is too much to be kept, CTX is shared no more, and *IN is as it was.
 * Returns NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_http_debug_pprof_busy_keep(ngx_http_debug_pprof_ctx_t *ctx,
    ngx_chain_t **in);

/*
 * The peer is free.  Before the client can know: who has the whole of an
 * answer may ask for the next one, and come to another worker.
 */
void ngx_http_debug_pprof_busy_end(ngx_http_debug_pprof_ctx_t *ctx,
    ngx_uint_t good);


/* Who joined has done with what is shared; a request's cleanup. */
void ngx_http_debug_pprof_busy_leave(void *data);


/* ngx_http_debug_pprof_carry.c */

/*
 * NGX_DONE: under way, and the request waits; otherwise it is answered, and
 * this is what a content handler returns.
 */
ngx_int_t ngx_http_debug_pprof_carry(ngx_http_debug_pprof_ctx_t *ctx);

/* The client's connection takes some more; a write_event_handler. */
void ngx_http_debug_pprof_carry_write(ngx_http_request_t *r);

/* Waits for that.  Returns NGX_OK or NGX_ERROR. */
ngx_int_t ngx_http_debug_pprof_carry_arm(ngx_http_request_t *r);

/*
 * The client takes no more.  NGX_OK: who joined its profile may go on
 * waiting; NGX_ERROR: this was the end, and nothing of CTX may be looked at.
 */
ngx_int_t ngx_http_debug_pprof_carry_lost(ngx_http_debug_pprof_ctx_t *ctx);

/*
 * The end of the request, from whatever event: nothing of CTX may be looked
 * at after it.
 */
void ngx_http_debug_pprof_carry_end(ngx_http_debug_pprof_ctx_t *ctx,
    ngx_int_t rc);

/* The end of an answer that cannot be completed. */
void ngx_http_debug_pprof_carry_cut(ngx_http_debug_pprof_ctx_t *ctx);


/* ngx_http_debug_pprof_answer.c */

/* Whose profile it is, on good answers and bad ones. */
ngx_int_t ngx_http_debug_pprof_answer_peer(ngx_http_request_t *r,
    ngx_http_debug_pprof_ctx_t *ctx);

/* Answers HEAD; returns what a content handler returns. */
ngx_int_t ngx_http_debug_pprof_answer_head(ngx_http_request_t *r,
    ngx_http_debug_pprof_ctx_t *ctx);

/* Sends the header of the fetch's answer.  Returns NGX_OK or NGX_ERROR. */
ngx_int_t ngx_http_debug_pprof_answer_header(ngx_http_debug_pprof_ctx_t *ctx);

/* Whether the client gets the header NAME of a peer. */
ngx_uint_t ngx_http_debug_pprof_answer_passes(ngx_str_t *name);

/* Whether the answer is of the application and not of a profiler in it. */
ngx_uint_t ngx_http_debug_pprof_answer_is_foreign(ngx_http_debug_fetch_t *f);

/*
 * There is no answer of the peer's to pass on: says why.  Returns what a
 * content handler returns.
 */
ngx_int_t ngx_http_debug_pprof_answer_failed(ngx_http_debug_pprof_ctx_t *ctx);


/* ngx_http_debug_pprof_keepalive.c */

/* Begins to give signs of life, where the answer can have them. */
void ngx_http_debug_pprof_keepalive_start(ngx_http_debug_pprof_ctx_t *ctx);


#endif /* _NGX_HTTP_DEBUG_PPROF_CTX_H_INCLUDED_ */
