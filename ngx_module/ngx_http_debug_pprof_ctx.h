
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
#include "ngx_http_debug_pprof_request.h"
#include "ngx_http_debug_runs.h"


/* how far the answer is; what was done is never undone */

typedef enum {
    NGX_HTTP_DEBUG_PPROF_ASKED = 0,  /* what goes wrong can be told */
    NGX_HTTP_DEBUG_PPROF_EARLY,      /* a header has promised a profile */
    NGX_HTTP_DEBUG_PPROF_SENDING,    /* the peer's answer, as it comes */
    NGX_HTTP_DEBUG_PPROF_LAST,       /* all of it is in nginx's hands */
    NGX_HTTP_DEBUG_PPROF_ENDED       /* nothing happens any more */
} ngx_http_debug_pprof_phase_e;


/* each part with the file that writes it; others read */

typedef struct {
    ngx_http_request_t           *request;
    ngx_http_debug_pprof_conf_t  *conf;

    /* .c: the way in */

    unsigned                      legacy:1;
    unsigned                      process:1; /* charts/.../data */
    unsigned                      probe:1;   /* HEAD: is there a profiler? */
    ngx_str_t                     uri;       /* as the peer gets it */

    /* _choice.c: whom it is for; headers and variables have it, too */

    ngx_str_t                     upstream;
    ngx_str_t                     peer;
    ngx_str_t                     prefix;    /* of the peer's paths */
    ngx_str_t                     kind;
    ngx_uint_t                    flags;     /* of that, if it is known */

    /* _check.c */

    ngx_int_t                     seconds;   /* -1: none */

    /* _body.c */

    struct {
        ngx_chain_t              *chain;
        ngx_chain_t             **last;
        off_t                     size;
    } body;

    /* _carry.c: the exchange */

    ngx_http_debug_fetch_t        fetch;
    ngx_event_t                   deadline;
    unsigned                      foreign:1; /* not a profiler's answer */
    unsigned                      unsure:1;  /* its first byte will tell */

    /* _busy.c: what is shared with others */

    struct {
        ngx_http_debug_run_ref_t  run;       /* that this request began */
        ngx_http_debug_run_ref_t  joined;    /* or joined */
        ngx_event_t               tick;      /* while one of both is shared */
        ngx_chain_t              *copy;      /* of the answer, for others */
        ngx_chain_t             **last;
        size_t                    size;
        unsigned                  on:1;      /* others may want it */
    } share;

    /* _keepalive.c */

    ngx_event_t                   keepalive;

    /* _client.c; "phase" up to "sending" is _answer.c's, who sends headers */

    ngx_http_debug_pprof_phase_e  phase;
    unsigned                      gone:1;    /* the client; others wait */
} ngx_http_debug_pprof_ctx_t;


/* ngx_http_debug_pprof_ctx.c */

/* Returns NULL when there is no memory. */
ngx_http_debug_pprof_ctx_t *ngx_http_debug_pprof_ctx_create(
    ngx_http_request_t *r, ngx_http_debug_pprof_conf_t *conf);

/* Returns R's, or NULL: it is for no peer. */
ngx_http_debug_pprof_ctx_t *ngx_http_debug_pprof_ctx_get(
    ngx_http_request_t *r);


/* ngx_http_debug_pprof_choice.c */

/*
 * Finds what REST is for, the URI behind the mount and "pprof/".  Returns
 *
 *   NGX_DECLINED  a kind of a profile, of a peer if any was found
 *   NGX_DONE      the page of *GROUPS, *DEPTH steps below the one of all
 *
 * or, when it is answered, what a content handler returns.
 */
ngx_int_t ngx_http_debug_pprof_choice(ngx_http_debug_pprof_ctx_t *ctx,
    ngx_str_t *rest, ngx_array_t **groups, ngx_uint_t *depth);

/*
 * The first live peer of the first group that has any, and then always that
 * one while it lives: what a client asks next is to reach the same process.
 * When none lives, the first one all the same, since to be asked costs it
 * nothing.  NULL: no group has a peer.
 */
ngx_http_debug_peer_t *ngx_http_debug_pprof_choice_default(
    ngx_array_t *groups, ngx_http_debug_peer_group_t **group);


/* ngx_http_debug_pprof_check.c */

/*
 * Sets CTX's seconds and the peer's time.  Returns NGX_DECLINED when nothing
 * speaks against it, or what a content handler returns.
 */
ngx_int_t ngx_http_debug_pprof_check(ngx_http_request_t *r,
    ngx_http_debug_pprof_ctx_t *ctx);


/* ngx_http_debug_pprof_request.c */

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


/* ngx_http_debug_pprof_body.c */

/* Reads the body of a POST and goes on.  Returns what a content handler
 * returns. */
ngx_int_t ngx_http_debug_pprof_body(ngx_http_request_t *r);


/* ngx_http_debug_pprof_carry.c */

/*
 * NGX_DONE: under way, and the request waits; otherwise it is answered, and
 * this is what a content handler returns.
 */
ngx_int_t ngx_http_debug_pprof_carry(ngx_http_debug_pprof_ctx_t *ctx);


/* ngx_http_debug_pprof_answer.c */

/* Whose profile it is, on good answers and bad ones. */
ngx_int_t ngx_http_debug_pprof_answer_peer(ngx_http_request_t *r,
    ngx_http_debug_pprof_ctx_t *ctx);

/* Answers HEAD; returns what a content handler returns. */
ngx_int_t ngx_http_debug_pprof_answer_head(ngx_http_request_t *r,
    ngx_http_debug_pprof_ctx_t *ctx);

/* Sends the header of the fetch's answer.  Returns NGX_OK or NGX_ERROR. */
ngx_int_t ngx_http_debug_pprof_answer_header(ngx_http_debug_pprof_ctx_t *ctx);

/* Sends the headers that are there; the answer has come to PHASE then. */
ngx_int_t ngx_http_debug_pprof_answer_send(ngx_http_debug_pprof_ctx_t *ctx,
    ngx_uint_t status, off_t length, ngx_http_debug_pprof_phase_e phase);

/* Whether an answer that begins with FIRST is what a header has promised. */
ngx_uint_t ngx_http_debug_pprof_answer_promised(
    ngx_http_debug_pprof_ctx_t *ctx, u_char first);

/* Whether the client gets the header NAME of a peer. */
ngx_uint_t ngx_http_debug_pprof_answer_passes(ngx_str_t *name);

/* Whether the answer is of the application and not of a profiler in it. */
ngx_uint_t ngx_http_debug_pprof_answer_is_foreign(ngx_http_debug_fetch_t *f);

/* Whether it surely is a profiler's. */
ngx_uint_t ngx_http_debug_pprof_answer_is_profiler(ngx_http_debug_fetch_t *f);

/* Whether its media type begins with TYPE. */
ngx_uint_t ngx_http_debug_pprof_answer_is(ngx_http_debug_fetch_t *f,
    char *type);

/*
 * There is no answer of the peer's to pass on: says why.  Returns what a
 * content handler returns.
 */
ngx_int_t ngx_http_debug_pprof_answer_failed(ngx_http_debug_pprof_ctx_t *ctx);


/* ngx_http_debug_pprof_client.c */

/* Something of the client's: its end, mostly.  A read_event_handler. */
void ngx_http_debug_pprof_client_read(ngx_http_request_t *r);

/* The client's connection takes some more; a write_event_handler. */
void ngx_http_debug_pprof_client_write(ngx_http_request_t *r);

/* Waits for that.  Returns NGX_OK or NGX_ERROR. */
ngx_int_t ngx_http_debug_pprof_client_arm(ngx_http_request_t *r);

/* Whether nothing of IN is waiting anywhere. */
ngx_uint_t ngx_http_debug_pprof_client_sent(ngx_chain_t *in);

/*
 * The client takes no more.  NGX_OK: who joined its profile may go on
 * waiting; NGX_ERROR: this was the end, and nothing of CTX may be looked at.
 */
ngx_int_t ngx_http_debug_pprof_client_lost(ngx_http_debug_pprof_ctx_t *ctx);

/*
 * These end the request, from whatever event: nothing of CTX may be looked at
 * after them, but that the last may go on sending OUT, the end of the answer.
 */
void ngx_http_debug_pprof_client_end(ngx_http_debug_pprof_ctx_t *ctx,
    ngx_int_t rc);
void ngx_http_debug_pprof_client_last(ngx_http_debug_pprof_ctx_t *ctx,
    ngx_chain_t *out);

/* The same for an answer that cannot be completed. */
void ngx_http_debug_pprof_client_cut(ngx_http_debug_pprof_ctx_t *ctx);

/* Stops all that may still happen.  Any number of times; a cleanup. */
void ngx_http_debug_pprof_client_cleanup(void *data);


/* ngx_http_debug_pprof_keepalive.c */

/* Begins to give signs of life, where the answer can have them. */
void ngx_http_debug_pprof_keepalive_start(ngx_http_debug_pprof_ctx_t *ctx);


#endif /* _NGX_HTTP_DEBUG_PPROF_CTX_H_INCLUDED_ */
