
/*
 * The state of a peer: one of seven words, and the reason for it in a
 * sentence.
 *
 * It is judged by what came of the last minute's tries, which is kept beside
 * the peer's cells, second by second, whether there is room for its history or
 * not.
 */


#ifndef _NGX_HTTP_DEBUG_STATE_H_INCLUDED_
#define _NGX_HTTP_DEBUG_STATE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_debug_zone.h"


/* the worst first */

enum {
    NGX_HTTP_DEBUG_STATE_DOWN = 0,   /* it refuses connections */
    NGX_HTTP_DEBUG_STATE_HANGING,    /* under way, and nothing is answered */
    NGX_HTTP_DEBUG_STATE_FAILING,    /* no answers, or 5xx, among others */
    NGX_HTTP_DEBUG_STATE_SLOW,       /* against its own hour or its sisters */
    NGX_HTTP_DEBUG_STATE_UP,
    NGX_HTTP_DEBUG_STATE_IDLE,
    NGX_HTTP_DEBUG_STATE_REMOVED,
    NGX_HTTP_DEBUG_STATES
};


/* What came of tries: since the start, or in one second. */

typedef struct {
    uint64_t    answers;
    uint64_t    errors;              /* of these, 5xx */
    uint64_t    failed;              /* no answer, by the peer's fault */
    uint64_t    refused;             /* of these, no connection was had */
    uint64_t    timeouts;            /* of those, nothing came in time */
    uint64_t    aborts;              /* the client did not wait */
    uint64_t    time;                /* ns, of answers and timeouts */
} ngx_http_debug_outcomes_t;


typedef struct {
    ngx_uint_t  state;
    ngx_int_t   up;                  /* 1, 0; -1: nobody is to ask it */
    size_t      len;
    u_char      reason[192];
} ngx_http_debug_state_t;


extern ngx_str_t  ngx_http_debug_state_names[NGX_HTTP_DEBUG_STATES];


/*
 * What the counts of a peer are: of CLASSES, the answers by the first digit of
 * their codes, and of VALUE, by metric.
 */
void ngx_http_debug_state_outcomes(ngx_http_debug_outcomes_t *outcomes,
    uint64_t *classes, uint64_t *value);

/*
 * Notes the sums of peer E at the end of SECOND, of the monotonic clock.
 * Context: the timer that fills history, one process at a time.
 */
void ngx_http_debug_state_note(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e, uint64_t second,
    ngx_http_debug_outcomes_t *sums);

/*
 * What came of E in SECOND of the last minute, and what was WAITING for a
 * header at its end.  NGX_OK, or NGX_DECLINED: it is not known.
 */
ngx_int_t ngx_http_debug_state_second(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e, uint64_t second,
    ngx_http_debug_outcomes_t *outcomes, uint64_t *waiting);

/* The mean time of E in the last hour but for two minutes, ns; 0: not known. */
uint64_t ngx_http_debug_state_usual(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e);

/* The mean time of E in the last minute, ns; 0: not known. */
uint64_t ngx_http_debug_state_mean(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e);

/*
 * Judges the peer E by its SUMS as they are now; USUAL is the mean time of its
 * sisters, 0 if it is not known.
 */
void ngx_http_debug_state_judge(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e, ngx_http_debug_outcomes_t *sums,
    uint64_t usual, ngx_http_debug_state_t *state);

/*
 * The same for who has nothing under way, without its reason: NGX_OK, or
 * NGX_DECLINED, it has to be judged.
 */
ngx_int_t ngx_http_debug_state_well(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e, ngx_http_debug_outcomes_t *sums,
    ngx_http_debug_state_t *state);


#endif /* _NGX_HTTP_DEBUG_STATE_H_INCLUDED_ */
