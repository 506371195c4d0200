
/*
 * The only writer: requests at their servers, rounds at their groups, tries
 * at their peers.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_answer.h"
#include "ngx_http_debug_record.h"
#include "ngx_http_debug_histogram.h"
#include "ngx_http_debug_slot.h"


typedef struct ngx_http_debug_round_s  ngx_http_debug_round_t;

struct ngx_http_debug_round_s {
    ngx_http_request_t         *request;
    ngx_http_debug_round_t     *next;      /* in its bucket, or of the free */
    ngx_http_upstream_t        *upstream;  /* it is found by */

    void                      (*finalize)(ngx_http_request_t *r,
                                    ngx_int_t rc);
    ngx_event_get_peer_pt       get;
    ngx_event_free_peer_pt      free;      /* of TLS; else NULL */
    ngx_http_debug_slot_t      *slot;      /* of ..._get_peer_slot() alone */

    ngx_http_debug_group_t     *group;     /* NULL: a variable host's round */
    ngx_http_debug_entity_t    *entity;    /* the group's */
    ngx_http_debug_place_t      peer;      /* of the try under way; its entity
                                              is NULL when there is none */

    uint64_t                    begun;     /* the round, ns */
    ngx_uint_t                  tries;
    uint64_t                    start;     /* the try, ns */
    ngx_uint_t                  left;      /* as the balancer counts them */
    ngx_uint_t                  whole;     /* the try under way is the first,
                                              and its peer found room */
    ngx_uint_t                  cause;     /* when no peer was had */
    ngx_uint_t                  first;     /* a variable host's first state */

    /* what is counted of the try under way, since it takes long */

    ngx_uint_t                  early;     /* any of it */
    ngx_uint_t                  connected;
    ngx_uint_t                  headed;
    ngx_uint_t                  upgraded;
    off_t                       received;
    off_t                       sent;
};


#define NGX_HTTP_DEBUG_ROUNDS  64          /* allocated at once */
#define NGX_HTTP_DEBUG_BITS    12          /* of the hash of those under way */
#define NGX_HTTP_DEBUG_LONG    1000000000  /* ns: counted before it ends */


/* What is counted of a request at its server, since it takes long. */

typedef struct {
    uint64_t                    start;     /* as others keep it, ns */
    off_t                       received;
    off_t                       sent;
    ngx_uint_t                  upgraded;
} ngx_http_debug_early_t;


static void ngx_http_debug_record_unseen(ngx_http_request_t *r);
static ngx_http_debug_entity_t *ngx_http_debug_record_group_entity(
    ngx_http_debug_record_main_conf_t *rmcf, ngx_http_debug_group_t *group,
    ngx_log_t *log);
static ngx_http_debug_round_t *ngx_http_debug_record_more(ngx_log_t *log);
static ngx_int_t ngx_http_debug_record_get_peer(ngx_peer_connection_t *pc,
    void *data);
static ngx_int_t ngx_http_debug_record_get_peer_slot(
    ngx_peer_connection_t *pc, void *data);
#if (NGX_HTTP_SSL)
static void ngx_http_debug_record_free_peer(ngx_peer_connection_t *pc,
    void *data, ngx_uint_t state);
static void ngx_http_debug_record_tls(ngx_http_debug_round_t *round);
#endif
static void ngx_http_debug_record_server_grpc(ngx_http_request_t *r,
    ngx_uint_t outcome);
static void ngx_http_debug_record_again(ngx_http_debug_round_t *round);
static void ngx_http_debug_record_find_peer(ngx_http_request_t *r,
    ngx_http_debug_round_t *round, ngx_str_t *name);
static void ngx_http_debug_record_finalize(ngx_http_request_t *r,
    ngx_int_t rc);
static void ngx_http_debug_record_round(ngx_http_request_t *r,
    ngx_http_debug_round_t *round, uint64_t now, ngx_int_t rc);
static void ngx_http_debug_record_earlier(ngx_http_request_t *r,
    ngx_http_debug_round_t *round, ngx_http_upstream_state_t *state,
    ngx_uint_t outcome, uint64_t elapsed);
static void ngx_http_debug_record_last(ngx_http_request_t *r,
    ngx_http_debug_round_t *round, ngx_http_upstream_state_t *state,
    ngx_uint_t outcome, uint64_t elapsed);
static void ngx_http_debug_record_sum(ngx_http_request_t *r,
    ngx_http_debug_round_t *round, ngx_uint_t outcome, uint64_t elapsed);
static void ngx_http_debug_record_part(ngx_http_request_t *r,
    ngx_http_debug_round_t *round, ngx_http_upstream_state_t *state,
    ngx_uint_t outcome, uint64_t elapsed);
static ngx_http_debug_cell_t *ngx_http_debug_record_part_cell(
    ngx_http_request_t *r, ngx_http_debug_round_t *round);
static void ngx_http_debug_record_count(ngx_http_request_t *r,
    ngx_http_debug_round_t *round, ngx_uint_t metric, uint64_t n);
static void ngx_http_debug_record_times(ngx_http_debug_cell_t *cell,
    ngx_http_upstream_state_t *state);
static void ngx_http_debug_record_reached(ngx_http_debug_cell_t *cell,
    ngx_http_upstream_state_t *state);
static void ngx_http_debug_record_rest(ngx_http_debug_round_t *round,
    ngx_http_upstream_state_t *state, ngx_http_upstream_state_t *rest);
static void ngx_http_debug_record_early(ngx_http_debug_round_t *round);
static void ngx_http_debug_record_early_request(ngx_http_request_t *r,
    ngx_uint_t upgraded);
static ngx_http_debug_active_t *ngx_http_debug_record_active(
    ngx_http_debug_round_t *round);
static void ngx_http_debug_record_truncated(ngx_http_request_t *r,
    ngx_http_debug_round_t *round, ngx_int_t rc);
static void ngx_http_debug_record_outcome(ngx_http_debug_round_t *round,
    ngx_http_debug_entity_t *e, ngx_http_debug_cell_t *cell,
    ngx_uint_t outcome, uint64_t elapsed);
static void ngx_http_debug_record_failed(ngx_http_debug_entity_t *e,
    ngx_uint_t cause);
static ngx_uint_t ngx_http_debug_record_classify(
    ngx_http_upstream_state_t *state, ngx_uint_t code, ngx_uint_t cached,
    ngx_int_t rc);
static ngx_uint_t ngx_http_debug_record_grpc(ngx_http_upstream_t *u,
    ngx_uint_t outcome);
static ngx_uint_t ngx_http_debug_record_grpc_cause(ngx_uint_t outcome);
#if (NGX_HTTP_CACHE)
static void ngx_http_debug_record_cache(ngx_http_request_t *r,
    ngx_http_debug_zone_t *zone);
#endif
static ngx_uint_t ngx_http_debug_record_code(ngx_http_debug_cell_t *cell,
    ngx_uint_t code);
static void ngx_http_debug_record_second(ngx_http_debug_cell_t *cell);

static void ngx_http_debug_record_host_finalize(ngx_http_request_t *r,
    ngx_int_t rc);
static void ngx_http_debug_record_host_end(ngx_http_debug_round_t **p);
static void ngx_http_debug_record_host_cleanup(void *data);
static void ngx_http_debug_record_host_name(
    ngx_http_upstream_resolved_t *resolved, u_char *text, ngx_str_t *name);
static ngx_uint_t ngx_http_debug_record_is_group(ngx_http_request_t *r,
    ngx_http_upstream_resolved_t *resolved);

static uint64_t ngx_http_debug_record_ms(ngx_http_request_t *r);


/* A function that is made twice: with slots, and without their price. */

#if (__GNUC__)
#define ngx_http_debug_both  __attribute__((always_inline)) inline
#else
#define ngx_http_debug_both  ngx_inline
#endif


/* Never freed: as many as there were rounds at once. */

static ngx_http_debug_round_t  *ngx_http_debug_rounds;


/*
 * The rounds under way, by their upstreams.  r->ctx is no place for them: a
 * filter that finalizes a request clears it while the upstream goes on.
 */

static ngx_http_debug_round_t  *
    ngx_http_debug_under_way[1 << NGX_HTTP_DEBUG_BITS];


/* The one that began last, whose first try comes next, nearly always. */

static ngx_http_debug_round_t  *ngx_http_debug_latest;


/*
 * Where the round of U is hung up.  Upstreams lie at much the same place of
 * their pools, so that the lowest bits tell little: hashed by multiplication.
 */

static ngx_inline ngx_http_debug_round_t **
ngx_http_debug_record_bucket(ngx_http_upstream_t *u)
{
    uint32_t  key;

    key = (uint32_t) ((uintptr_t) u >> 4) * 2654435769u;

    return &ngx_http_debug_under_way[key >> (32 - NGX_HTTP_DEBUG_BITS)];
}


static ngx_inline ngx_http_debug_round_t **
ngx_http_debug_record_find(ngx_http_upstream_t *u)
{
    ngx_http_debug_round_t  **p;

    p = ngx_http_debug_record_bucket(u);

    while (*p && (*p)->upstream != u) {
        p = &(*p)->next;
    }

    return p;
}


static ngx_inline ngx_http_debug_round_t *
ngx_http_debug_record_take(ngx_http_request_t *r)
{
    ngx_http_debug_round_t  *round, **p;

    round = ngx_http_debug_rounds;

    if (round == NULL) {
        round = ngx_http_debug_record_more(r->connection->log);

        if (round == NULL) {
            return NULL;
        }
    }

    ngx_http_debug_rounds = round->next;

    round->request = r;
    round->upstream = r->upstream;

    p = ngx_http_debug_record_bucket(round->upstream);

    round->next = *p;
    *p = round;

    ngx_http_debug_latest = round;

    return round;
}


/* P is where it is hung up. */

static ngx_inline void
ngx_http_debug_record_give(ngx_http_debug_round_t **p,
    ngx_http_debug_round_t *round)
{
    *p = round->next;

    round->next = ngx_http_debug_rounds;
    ngx_http_debug_rounds = round;
}


/*
 * Surely the same?  Only of 8 to 16 bytes, as most addresses have: two words,
 * which may overlap.
 */

static ngx_inline ngx_uint_t
ngx_http_debug_record_equal(u_char *one, u_char *two, size_t len)
{
    uint64_t  a, b, c, d;

    if (len - 8 > 8) {
        return 0;
    }

    ngx_memcpy(&a, one, 8);
    ngx_memcpy(&b, two, 8);
    ngx_memcpy(&c, one + len - 8, 8);
    ngx_memcpy(&d, two + len - 8, 8);

    return ((a ^ b) | (c ^ d)) == 0;
}


static ngx_inline ngx_http_debug_cell_t *
ngx_http_debug_record_cell(ngx_http_request_t *r, ngx_http_debug_entity_t *e)
{
    ngx_http_debug_record_main_conf_t  *rmcf;

    rmcf = ngx_http_get_module_main_conf(r, ngx_http_debug_module);

    return ngx_http_debug_zone_cell(rmcf->zone, e, ngx_http_debug_lane);
}


static ngx_inline void
ngx_http_debug_record_answer(ngx_http_debug_cell_t *cell, ngx_uint_t code,
    uint64_t elapsed)
{
    ngx_uint_t  i;

    if (ngx_current_msec >= ngx_http_debug_load(&cell->until)) {
        ngx_http_debug_record_second(cell);
    }

    if (ngx_http_debug_load(&cell->code[0]) == code) {
        ngx_http_debug_add(&cell->count[0], 1);

    } else {
        i = ngx_http_debug_record_code(cell, code);
        ngx_http_debug_add(&cell->count[i], 1);
    }

    ngx_http_debug_add(&cell->value[NGX_HTTP_DEBUG_TIME], elapsed);
    ngx_http_debug_histogram_add(cell, elapsed,
                                 ngx_http_debug_histogram_bucket(elapsed));
}


/*
 * Angie tells how long it took to connect before it looks whether it did; but
 * nothing was sent then.
 */

static ngx_inline ngx_uint_t
ngx_http_debug_record_is_connected(ngx_http_upstream_state_t *state)
{
    return state->connect_time != (ngx_msec_t) -1
           && (state->bytes_sent || state->header_time != (ngx_msec_t) -1);
}


/* Does it have a media type like "application/grpc+proto"?  Maybe. */

static ngx_inline ngx_uint_t
ngx_http_debug_record_may_be_grpc(ngx_http_upstream_t *u)
{
    ngx_table_elt_t  *type;

    type = u->headers_in.content_type;

    return type
           && type->value.len >= sizeof("application/grpc") - 1
           && type->value.data[sizeof("application/") - 1] == 'g';
}


/* What a try adds besides its outcome. */

static ngx_inline void
ngx_http_debug_record_state(ngx_http_debug_cell_t *cell,
    ngx_http_upstream_state_t *state)
{
    ngx_http_debug_add(&cell->value[NGX_HTTP_DEBUG_RECEIVED],
                       state->bytes_received);
    ngx_http_debug_add(&cell->value[NGX_HTTP_DEBUG_SENT], state->bytes_sent);

    if (state->connect_time | state->header_time) {
        ngx_http_debug_record_times(cell, state);
    }
}


static ngx_http_debug_both ngx_int_t
ngx_http_debug_record_begin(ngx_http_request_t *r, ngx_uint_t each)
{
    ngx_http_debug_active_t            *active;
    ngx_http_variable_value_t          *v;
    ngx_http_debug_record_srv_conf_t   *rscf;
    ngx_http_debug_record_main_conf_t  *rmcf;

    rscf = ngx_http_get_module_srv_conf(r, ngx_http_debug_module);

    if (!rscf->recorded) {
        return NGX_DECLINED;
    }

    /* r->ctx is cleared by redirects; a variable is not */

    rmcf = ngx_http_get_module_main_conf(r, ngx_http_debug_module);

    v = &r->variables[rmcf->start];
    active = rscf->place.active;

    v->data = (u_char *) (uintptr_t) ngx_http_debug_now();

    ngx_http_debug_add(&active->active, 1);

    if (each) {
        v->len = ngx_http_debug_slot_take(r, (uintptr_t) v->data,
                                          rscf->place.entity->id);
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_debug_record_post_read_handler(ngx_http_request_t *r)
{
    return ngx_http_debug_record_begin(r, 0);
}


ngx_int_t
ngx_http_debug_record_post_read_slot(ngx_http_request_t *r)
{
    return ngx_http_debug_record_begin(r, 1);
}


static ngx_http_debug_both ngx_int_t
ngx_http_debug_record_new_round(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us, ngx_uint_t each)
{
    uint64_t                            now;
    ngx_int_t                           rc;
    ngx_http_upstream_t                *u;
    ngx_http_debug_group_t             *group;
    ngx_http_debug_round_t             *round;
    ngx_http_debug_entity_t            *entity;
    ngx_http_debug_record_loc_conf_t   *rlcf;
    ngx_http_debug_record_main_conf_t  *rmcf;

    rmcf = ngx_http_get_module_main_conf(r, ngx_http_debug_module);
    group = ngx_http_debug_record_group(rmcf, us);

    rc = group->init(r, us);

    if (rc != NGX_OK) {
        return rc;
    }

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_debug_module);

    if (!rlcf->record) {

        if (each && r == r->main) {

            /* "debug_record off": nobody is to see it */

            ngx_http_debug_record_unseen(r);
        }

        return NGX_OK;
    }

    now = ngx_http_debug_now();

    round = ngx_http_debug_record_take(r);
    if (round == NULL) {
        return NGX_ERROR;
    }

    entity = group->entity;

    if (entity == NULL) {
        rmcf = ngx_http_get_module_main_conf(r, ngx_http_debug_module);
        entity = ngx_http_debug_record_group_entity(rmcf, group,
                                                    r->connection->log);
    }

    u = round->upstream;

    round->finalize = u->finalize_request;
    round->get = u->peer.get;
    round->group = group;
    round->entity = entity;
    round->peer.entity = NULL;
    round->begun = now;
    round->start = now;
    round->tries = 0;
    round->whole = 0;
    round->early = 0;
    round->cause = NGX_HTTP_DEBUG_FAIL_OTHER;

    u->finalize_request = ngx_http_debug_record_finalize;

    if (each) {
        rmcf = ngx_http_get_module_main_conf(r, ngx_http_debug_module);

        round->slot = ngx_http_debug_slot_of(r->variables[rmcf->start].len);
        u->peer.get = ngx_http_debug_record_get_peer_slot;

    } else {
        u->peer.get = ngx_http_debug_record_get_peer;
    }

#if (NGX_HTTP_SSL)

    if (u->ssl) {
        round->free = u->peer.free;
        u->peer.free = ngx_http_debug_record_free_peer;
    }

#endif

    return NGX_OK;
}


ngx_int_t
ngx_http_debug_record_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us)
{
    return ngx_http_debug_record_new_round(r, us, 0);
}


ngx_int_t
ngx_http_debug_record_init_peer_slot(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us)
{
    return ngx_http_debug_record_new_round(r, us, 1);
}


static ngx_http_debug_seldom void
ngx_http_debug_record_unseen(ngx_http_request_t *r)
{
    ngx_http_variable_value_t          *v;
    ngx_http_debug_record_main_conf_t  *rmcf;

    rmcf = ngx_http_get_module_main_conf(r, ngx_http_debug_module);

    v = &r->variables[rmcf->start];

    ngx_http_debug_slot_give(v->len);
    v->len = 0;
}


/*
 * Its own cell is seldom written to: one does for all processes.  The overflow
 * entity, where there is no room, is not kept in GROUP.
 */

static ngx_http_debug_entity_t *
ngx_http_debug_record_group_entity(ngx_http_debug_record_main_conf_t *rmcf,
    ngx_http_debug_group_t *group, ngx_log_t *log)
{
    ngx_http_debug_entity_t  *e;

    e = ngx_http_debug_zone_entity(rmcf->zone, NGX_HTTP_DEBUG_GROUP, 0,
                                   &group->name, 1, log);

    if (e->kind == NGX_HTTP_DEBUG_GROUP) {
        group->entity = e;
    }

    return e;
}


static ngx_http_debug_seldom ngx_http_debug_round_t *
ngx_http_debug_record_more(ngx_log_t *log)
{
    ngx_uint_t               i;
    ngx_http_debug_round_t  *round;

    round = ngx_alloc(NGX_HTTP_DEBUG_ROUNDS * sizeof(ngx_http_debug_round_t),
                      log);
    if (round == NULL) {
        return NULL;
    }

    for (i = 0; i < NGX_HTTP_DEBUG_ROUNDS - 1; i++) {
        round[i].next = &round[i + 1];
    }

    round[i].next = NULL;

    return round;
}


/* A try begins; the one before, if any, has just ended. */

static ngx_http_debug_both ngx_int_t
ngx_http_debug_record_next_peer(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t each)
{
    ngx_int_t                 rc;
    ngx_str_t                *name;
    ngx_http_upstream_t      *u;
    ngx_http_debug_place_t   *place;
    ngx_http_debug_round_t   *round;

    /* the balancer's data is not ours to wrap */

    u = (ngx_http_upstream_t *) ((u_char *) pc
                                 - offsetof(ngx_http_upstream_t, peer));

    round = ngx_http_debug_latest;

    if (round->upstream != u) {
        round = *ngx_http_debug_record_find(u);
    }

    if (round->tries) {
        ngx_http_debug_record_again(round);

    } else {
        round->whole = 1;
    }

    rc = round->get(pc, data);

    if (rc != NGX_OK && rc != NGX_DONE) {
        round->whole = 0;
        round->cause = (rc == NGX_BUSY) ? NGX_HTTP_DEBUG_FAIL_NO_LIVE
                                        : NGX_HTTP_DEBUG_FAIL_OTHER;
        return rc;
    }

    round->tries++;
    round->left = pc->tries;

    /* a peer met lately, maybe */

    name = pc->name;
    place = ngx_http_debug_record_met(round->group, name);

    if (place->entity
        && place->entity->key == name->len
        && ngx_http_debug_record_equal(place->entity->name, name->data,
                                       name->len))
    {
        round->peer = *place;

    } else {
        ngx_http_debug_record_find_peer(round->request, round, name);
    }

    ngx_http_debug_add(&round->peer.active->active, 1);

    if (each && round->slot) {
        ngx_http_debug_slot_try(round->slot, round->request,
                                round->peer.entity->id,
                                rc == NGX_DONE ? NGX_HTTP_DEBUG_WAY_WAITING
                                               : NGX_HTTP_DEBUG_WAY_CONNECTING);
    }

    return rc;
}


static ngx_int_t
ngx_http_debug_record_get_peer(ngx_peer_connection_t *pc, void *data)
{
    return ngx_http_debug_record_next_peer(pc, data, 0);
}


static ngx_int_t
ngx_http_debug_record_get_peer_slot(ngx_peer_connection_t *pc, void *data)
{
    return ngx_http_debug_record_next_peer(pc, data, 1);
}


#if (NGX_HTTP_SSL)

/* A try has ended, and its connection is still there. */

static ngx_http_debug_seldom void
ngx_http_debug_record_free_peer(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state)
{
    ngx_http_upstream_t     *u;
    ngx_http_debug_round_t  *round;

    u = (ngx_http_upstream_t *) ((u_char *) pc
                                 - offsetof(ngx_http_upstream_t, peer));

    round = *ngx_http_debug_record_find(u);

    ngx_http_debug_record_tls(round);

    round->free(pc, data, state);
}


/*
 * Of a connection that was kept, the handshake was counted before.  Where a
 * name or a certificate is not to be trusted, nginx sends nothing.
 */

static ngx_http_debug_seldom void
ngx_http_debug_record_tls(ngx_http_debug_round_t *round)
{
    ngx_connection_t     *c;
    ngx_http_request_t   *r;
    ngx_http_upstream_t  *u;

    r = round->request;
    u = round->upstream;
    c = u->peer.connection;

    if (round->peer.entity == NULL
        || u->peer.cached
        || c == NULL
        || c->ssl == NULL)
    {
        return;
    }

    ngx_http_debug_record_count(r, round, NGX_HTTP_DEBUG_HANDSHAKES, 1);

    if (!c->ssl->handshaked || !u->request_sent) {
        ngx_http_debug_record_count(r, round, NGX_HTTP_DEBUG_UNSHAKEN, 1);
    }
}

#endif


/* The try under way has ended, and is not all of its round. */

static ngx_http_debug_seldom void
ngx_http_debug_record_again(ngx_http_debug_round_t *round)
{
    uint64_t                    now;
    ngx_uint_t                  outcome;
    ngx_http_request_t         *r;
    ngx_http_upstream_state_t  *state;

    r = round->request;
    now = ngx_http_debug_now();

    if (round->peer.entity) {

        /*
         * The last state belongs to the try that begins.  One on a kept
         * connection that was closed costs none of those that are left.
         */

        state = r->upstream_states->elts;
        state += r->upstream_states->nelts - 2;

        outcome = ngx_http_debug_record_classify(state, 0,
                                       r->upstream->peer.tries == round->left,
                                       NGX_OK);

        ngx_http_debug_add(&round->peer.active->active, -1);
        ngx_http_debug_record_earlier(r, round, state, outcome,
                                      now - round->start);

        round->peer.entity = NULL;
        round->early = 0;
    }

    round->start = now;
    round->whole = 0;
}


/* The place of the peer NAME, for this try and for later ones. */

static ngx_http_debug_seldom void
ngx_http_debug_record_find_peer(ngx_http_request_t *r,
    ngx_http_debug_round_t *round, ngx_str_t *name)
{
    ngx_http_debug_place_t              group, *met;
    ngx_http_debug_entity_t            *e;
    ngx_http_debug_record_main_conf_t  *rmcf;

    if (round->group) {

        /* met lately, too, if its name is a long one */

        met = ngx_http_debug_record_met(round->group, name);

        if (met->entity
            && met->entity->key == name->len
            && ngx_memcmp(met->entity->name, name->data, name->len) == 0)
        {
            round->peer = *met;
            return;
        }
    }

    rmcf = ngx_http_get_module_main_conf(r, ngx_http_debug_module);

    e = round->entity;

    if (e->kind != NGX_HTTP_DEBUG_OVERFLOW) {
        e = ngx_http_debug_zone_entity(rmcf->zone, NGX_HTTP_DEBUG_PEER, e->id,
                                       name, round->group ? rmcf->cells : 1,
                                       r->connection->log);
    }

    ngx_http_debug_zone_place(rmcf->zone, e, ngx_http_debug_lane,
                              &round->peer);

    if (e->kind != NGX_HTTP_DEBUG_PEER) {

        /*
         * It is under way at its group alone.  Every record that finds no
         * room shall count as dropped: the place is not kept.
         */

        ngx_http_debug_zone_place(rmcf->zone, round->entity,
                                  ngx_http_debug_lane, &group);
        round->peer.active = group.active;
        round->whole = 0;
        return;
    }

    if (round->group) {
        *ngx_http_debug_record_met(round->group, name) = round->peer;

        /* balancers have peers that no line of the configuration names */

        if (ngx_http_debug_load(&e->generation) < rmcf->generation) {
            e->marks |= NGX_HTTP_DEBUG_NAMED;
            __atomic_store_n(&e->generation, rmcf->generation,
                             __ATOMIC_RELAXED);
        }
    }
}


static void
ngx_http_debug_record_finalize(ngx_http_request_t *r, ngx_int_t rc)
{
    uint64_t                    now;
    ngx_http_upstream_t        *u;
    ngx_http_debug_cell_t      *cell;
    ngx_http_debug_round_t     *round, **p;
    ngx_http_upstream_state_t  *state;

    now = ngx_http_debug_now();

    u = r->upstream;
    p = ngx_http_debug_record_find(u);
    round = *p;

    state = u->state;

    if (round->whole
        && state->header_time != (ngx_msec_t) -1
        && state->status >= NGX_HTTP_OK
        && !ngx_http_debug_record_may_be_grpc(u))
    {
        /* nearly always: one try, and it was answered */

        cell = round->peer.cell;

        ngx_http_debug_add(&round->peer.active->active, -1);

        ngx_http_debug_record_state(cell, state);
        ngx_http_debug_record_answer(cell, state->status, now - round->begun);

    } else {
        ngx_http_debug_record_round(r, round, now, rc);
    }

    if (rc != NGX_OK) {
        ngx_http_debug_record_truncated(r, round, rc);
    }

#if (NGX_HTTP_SSL)

    if (u->ssl) {

        if (u->peer.sockaddr) {
            ngx_http_debug_record_tls(round);
        }

        u->peer.free = round->free;
    }

#endif

    /* X-Accel-Redirect leads to another round: nothing of this one stays */

    u->finalize_request = round->finalize;

    ngx_http_debug_record_give(p, round);

    u->finalize_request(r, rc);
}


ngx_uint_t
ngx_http_debug_record_try(ngx_http_upstream_t *u, ngx_http_debug_try_t *try)
{
    ngx_http_debug_round_t  *round;

    round = *ngx_http_debug_record_find(u);

    if (round == NULL) {
        return 0;
    }

    try->request = round->request;
    try->entity = round->peer.entity ? round->peer.entity : round->entity;

    return 1;
}


/* The end of any other round than one that is answered at the first try. */

static ngx_http_debug_seldom void
ngx_http_debug_record_round(ngx_http_request_t *r,
    ngx_http_debug_round_t *round, uint64_t now, ngx_int_t rc)
{
    ngx_uint_t                  outcome;
    ngx_http_upstream_t        *u;
    ngx_http_upstream_state_t  *state;

    outcome = round->cause;

    if (round->peer.entity) {
        u = r->upstream;
        state = u->state;
        outcome = ngx_http_debug_record_classify(state,
                                                 u->headers_in.status_n,
                                                 u->peer.cached
                                                 || u->peer.tries
                                                    == round->left,
                                                 rc);
        outcome = ngx_http_debug_record_grpc(u, outcome);
        ngx_http_debug_record_server_grpc(r, outcome);

        ngx_http_debug_add(&round->peer.active->active, -1);
        ngx_http_debug_record_last(r, round, state, outcome,
                                   now - round->start);
    }

    if (!round->whole) {
        ngx_http_debug_record_sum(r, round, outcome, now - round->begun);
    }
}


/* A try that another one followed. */

static ngx_http_debug_seldom void
ngx_http_debug_record_earlier(ngx_http_request_t *r,
    ngx_http_debug_round_t *round, ngx_http_upstream_state_t *state,
    ngx_uint_t outcome, uint64_t elapsed)
{
    ngx_http_debug_cell_t      *cell;
    ngx_http_upstream_state_t   rest;

    ngx_http_debug_record_rest(round, state, &rest);
    ngx_http_debug_record_part(r, round, &rest, outcome, elapsed);

    cell = ngx_http_debug_record_cell(r, round->entity);

    ngx_http_debug_record_state(cell, &rest);
    ngx_http_debug_record_reached(cell, &rest);
}


/* The last try of a round, which may be all of it. */

static ngx_http_debug_seldom void
ngx_http_debug_record_last(ngx_http_request_t *r,
    ngx_http_debug_round_t *round, ngx_http_upstream_state_t *state,
    ngx_uint_t outcome, uint64_t elapsed)
{
    ngx_http_debug_cell_t      *cell;
    ngx_http_upstream_state_t   rest;

    ngx_http_debug_record_rest(round, state, &rest);

    if (round->whole) {
        cell = round->peer.cell;

        ngx_http_debug_record_outcome(round, round->peer.entity, cell, outcome,
                                      elapsed);

        if (outcome < NGX_HTTP_CONTINUE || outcome >= NGX_HTTP_DEBUG_GRPC) {
            ngx_http_debug_record_failed(round->entity, outcome);
            ngx_http_debug_record_reached(cell, &rest);
        }

    } else {
        ngx_http_debug_record_part(r, round, &rest, outcome, elapsed);

        cell = ngx_http_debug_record_cell(r, round->entity);
        ngx_http_debug_record_reached(cell, &rest);
    }

    ngx_http_debug_record_state(cell, &rest);
}


/* What of the try is not counted yet; it no longer waits, if it did. */

static void
ngx_http_debug_record_rest(ngx_http_debug_round_t *round,
    ngx_http_upstream_state_t *state, ngx_http_upstream_state_t *rest)
{
    ngx_http_debug_active_t  *active;

    *rest = *state;

    if (!round->early) {
        return;
    }

    rest->bytes_received -= ngx_min(round->received, state->bytes_received);
    rest->bytes_sent -= ngx_min(round->sent, state->bytes_sent);

    if (round->connected) {
        rest->connect_time = (ngx_msec_t) -1;
    }

    if (round->headed) {
        active = ngx_http_debug_record_active(round);
        ngx_http_debug_add(&active->headed, -1);

        round->headed = 0;
        rest->header_time = (ngx_msec_t) -1;
    }
}


/*
 * A round that is more than its one try at a peer: there was none, or several,
 * or no room for the peer.  It is counted in the group's own cell.
 */

static ngx_http_debug_seldom void
ngx_http_debug_record_sum(ngx_http_request_t *r,
    ngx_http_debug_round_t *round, ngx_uint_t outcome, uint64_t elapsed)
{
    ngx_http_debug_cell_t  *cell;

    cell = ngx_http_debug_record_cell(r, round->entity);

    if (round->tries > 1) {
        ngx_http_debug_add(&cell->value[NGX_HTTP_DEBUG_RETRIES],
                           round->tries - 1);
    }

    ngx_http_debug_record_outcome(round, round->entity, cell, outcome,
                                  elapsed);
}


/* Books a try that is not all of its round. */

static void
ngx_http_debug_record_part(ngx_http_request_t *r,
    ngx_http_debug_round_t *round, ngx_http_upstream_state_t *state,
    ngx_uint_t outcome, uint64_t elapsed)
{
    ngx_http_debug_cell_t  *cell;

    cell = ngx_http_debug_record_cell(r, round->entity);

    ngx_http_debug_add(&cell->value[NGX_HTTP_DEBUG_TRIES], 1);

    cell = ngx_http_debug_record_part_cell(r, round);

    if (cell == NULL) {
        return;
    }

    ngx_http_debug_record_outcome(round, round->peer.entity, cell, outcome,
                                  elapsed);
    ngx_http_debug_record_state(cell, state);
    ngx_http_debug_record_reached(cell, state);
}


/*
 * Where such a try is counted.  NULL: both found no room, and the overflow
 * entity counts the round alone.
 */

static ngx_http_debug_cell_t *
ngx_http_debug_record_part_cell(ngx_http_request_t *r,
    ngx_http_debug_round_t *round)
{
    ngx_http_debug_record_main_conf_t  *rmcf;

    if (round->peer.entity == round->entity) {
        return NULL;
    }

    if (round->peer.entity->kind != NGX_HTTP_DEBUG_PEER) {
        return round->peer.cell;
    }

    rmcf = ngx_http_get_module_main_conf(r, ngx_http_debug_module);

    return ngx_http_debug_zone_again(rmcf->zone, round->peer.entity,
                                     r->connection->log);
}


/*
 * Adds N to a METRIC of the peer of the try under way, and of its group: in
 * one cell or in two, as NGX_HTTP_DEBUG_COUNTED has it.
 */

static void
ngx_http_debug_record_count(ngx_http_request_t *r,
    ngx_http_debug_round_t *round, ngx_uint_t metric, uint64_t n)
{
    ngx_http_debug_cell_t  *cell;

    cell = round->peer.cell;

    if (!round->whole) {
        cell = ngx_http_debug_record_cell(r, round->entity);
        ngx_http_debug_add(&cell->value[metric], n);

        cell = ngx_http_debug_record_part_cell(r, round);
    }

    if (cell) {
        ngx_http_debug_add(&cell->value[metric], n);
    }
}


/*
 * RC says that the answer broke off only after it began to be passed on: a
 * 502 may also be the peer's own, on its way to error_page.  An upgraded
 * connection has no end that could be missed, and a client that left has
 * nothing to do with the peer.
 */

static ngx_http_debug_seldom void
ngx_http_debug_record_truncated(ngx_http_request_t *r,
    ngx_http_debug_round_t *round, ngx_int_t rc)
{
    ngx_http_upstream_t  *u;

    u = r->upstream;

    if (!u->header_sent || u->upgrade || round->peer.entity == NULL) {
        return;
    }

    if (rc != NGX_HTTP_BAD_GATEWAY
        && rc != NGX_HTTP_GATEWAY_TIME_OUT
        && (rc != NGX_ERROR || r->connection->error))
    {
        return;
    }

    ngx_http_debug_record_count(r, round, NGX_HTTP_DEBUG_TRUNCATED, 1);
}


static ngx_http_debug_seldom void
ngx_http_debug_record_times(ngx_http_debug_cell_t *cell,
    ngx_http_upstream_state_t *state)
{
    if (ngx_http_debug_record_is_connected(state)) {
        ngx_http_debug_add(&cell->value[NGX_HTTP_DEBUG_CONNECT_TIME],
                           (uint64_t) state->connect_time * 1000000);
    }

    if (state->header_time != (ngx_msec_t) -1) {
        ngx_http_debug_add(&cell->value[NGX_HTTP_DEBUG_HEADER_TIME],
                           (uint64_t) state->header_time * 1000000);
    }
}


/*
 * How far a try came that is not an answer in a peer's cell: of these the
 * reader knows that there was a connection and a header.
 */

static void
ngx_http_debug_record_reached(ngx_http_debug_cell_t *cell,
    ngx_http_upstream_state_t *state)
{
    if (ngx_http_debug_record_is_connected(state)) {
        ngx_http_debug_add(&cell->value[NGX_HTTP_DEBUG_CONNECTS], 1);
    }

    if (state->header_time != (ngx_msec_t) -1) {
        ngx_http_debug_add(&cell->value[NGX_HTTP_DEBUG_HEADERS], 1);
    }
}


/* OUTCOME is a status code, a grpc-status, or why no answer came. */

static ngx_http_debug_seldom void
ngx_http_debug_record_outcome(ngx_http_debug_round_t *round,
    ngx_http_debug_entity_t *e, ngx_http_debug_cell_t *cell,
    ngx_uint_t outcome, uint64_t elapsed)
{
    ngx_uint_t  i;

    if (outcome == NGX_HTTP_SWITCHING_PROTOCOLS) {

        /* one WebSocket of eight hours would ruin every average */

        if (round->early && round->upgraded) {
            return;
        }

        ngx_http_debug_add(&cell->value[NGX_HTTP_DEBUG_UPGRADES], 1);
        return;
    }

    if (outcome >= NGX_HTTP_DEBUG_GRPC) {
        i = ngx_http_debug_record_code(cell, outcome);

        if (i < NGX_HTTP_DEBUG_CODES) {
            ngx_http_debug_add(&cell->count[i], 1);
        }

        outcome = ngx_http_debug_record_grpc_cause(outcome);

    } else if (outcome >= NGX_HTTP_CONTINUE) {
        ngx_http_debug_record_answer(cell, outcome, elapsed);
        return;
    }

    ngx_http_debug_add(&cell->value[outcome], 1);

    if (outcome == NGX_HTTP_DEBUG_FAIL_TIMEOUT) {

        /* in the percentiles, or the slowest peer would look the fastest */

        ngx_http_debug_add(&cell->value[NGX_HTTP_DEBUG_TIMEOUT_TIME],
                           elapsed);
        ngx_http_debug_histogram_add(cell, elapsed,
                                     ngx_http_debug_histogram_bucket(elapsed));
    }

    ngx_http_debug_record_failed(e, outcome);
}


/*
 * The last failure, which neither a client that leaves is nor one that asks
 * for what is not there.
 */

static void
ngx_http_debug_record_failed(ngx_http_debug_entity_t *e, ngx_uint_t cause)
{
    ngx_time_t  *tp;

    cause = ngx_http_debug_record_grpc_cause(cause);

    if (cause == NGX_HTTP_DEBUG_FAIL_ABORT
        || cause == NGX_HTTP_DEBUG_FAIL_CALL)
    {
        return;
    }

    tp = ngx_timeofday();

    __atomic_store_n(&e->failure, cause, __ATOMIC_RELAXED);
    __atomic_store_n(&e->failed, (uint64_t) tp->sec * 1000 + tp->msec,
                     __ATOMIC_RELAXED);
}


/*
 * What became of a try: its status code, or the cause why no answer came,
 * which is less than 100.
 *
 * nginx invents a status where none came: 504 for a timeout, 502 for all
 * else.  A header that never came tells the real ones apart.  After "103 Early
 * Hints" it keeps that one; CODE is that of the last header.
 */

static ngx_http_debug_seldom ngx_uint_t
ngx_http_debug_record_classify(ngx_http_upstream_state_t *state,
    ngx_uint_t code, ngx_uint_t cached, ngx_int_t rc)
{
    ngx_uint_t  status;

    status = state->status;

    if (status > NGX_HTTP_SWITCHING_PROTOCOLS && status < NGX_HTTP_OK) {
        status = (state->header_time != (ngx_msec_t) -1) ? code : 0;
    }

    if (state->header_time != (ngx_msec_t) -1 && status >= NGX_HTTP_CONTINUE) {
        return status;
    }

    if (status == NGX_HTTP_GATEWAY_TIME_OUT) {
        return NGX_HTTP_DEBUG_FAIL_TIMEOUT;
    }

    if (status == NGX_HTTP_BAD_GATEWAY) {

        /* closed by the peer while it was kept: it had nothing to say */

        if (cached && state->bytes_received == 0) {
            return NGX_HTTP_DEBUG_FAIL_STALE;
        }

        return ngx_http_debug_record_is_connected(state)
               ? NGX_HTTP_DEBUG_FAIL_INVALID
               : NGX_HTTP_DEBUG_FAIL_CONNECT;
    }

    if (status == 0
        && (rc == NGX_HTTP_CLIENT_CLOSED_REQUEST || rc == NGX_DONE
            || rc == NGX_HTTP_BAD_REQUEST
            || rc == NGX_HTTP_REQUEST_TIME_OUT))
    {
        /* the last two: its body did not come, or not in time */

        return NGX_HTTP_DEBUG_FAIL_ABORT;
    }

    return NGX_HTTP_DEBUG_FAIL_OTHER;
}


/*
 * gRPC answers 200 whatever came of a call; grpc-status says it, behind the
 * body, or in the header where there is none.  Of an answer with 200 it makes
 * NGX_HTTP_DEBUG_GRPC and that status, unless it is 0.
 */

static ngx_http_debug_seldom ngx_uint_t
ngx_http_debug_record_grpc(ngx_http_upstream_t *u, ngx_uint_t outcome)
{
    ngx_int_t         n;
    ngx_str_t        *type;
    ngx_table_elt_t  *h;

    if (outcome != NGX_HTTP_OK || !ngx_http_debug_record_may_be_grpc(u)) {
        return outcome;
    }

    type = &u->headers_in.content_type->value;

    if (ngx_strncasecmp(type->data, (u_char *) "application/grpc",
                        sizeof("application/grpc") - 1)
        != 0)
    {
        return outcome;
    }

    h = NULL;

    if (u->headers_in.trailers.part.elts) {
        h = ngx_http_debug_header_get(&u->headers_in.trailers, "grpc-status");
    }

    if (h == NULL) {
        h = ngx_http_debug_header_get(&u->headers_in.headers, "grpc-status");
    }

    if (h == NULL) {
        return outcome;
    }

    n = ngx_atoi(h->value.data, h->value.len);

    if (n == 0) {
        return outcome;
    }

    /* what is none of the seventeen is unknown, which has a number, too */

    return NGX_HTTP_DEBUG_GRPC + ((n < 0 || n > 16) ? 2 : n);
}


/*
 * The client gets 200 and the status behind it: of a server the failure is
 * counted beside the answer.
 */

static ngx_http_debug_seldom void
ngx_http_debug_record_server_grpc(ngx_http_request_t *r, ngx_uint_t outcome)
{
    ngx_http_debug_record_srv_conf_t  *rscf;

    rscf = ngx_http_get_module_srv_conf(r, ngx_http_debug_module);

    if (outcome < NGX_HTTP_DEBUG_GRPC || r != r->main || !rscf->recorded) {
        return;
    }

    outcome = ngx_http_debug_record_grpc_cause(outcome);

    ngx_http_debug_add(&rscf->place.cell->value[outcome], 1);
}


/* What is no grpc-status, is a cause already. */

static ngx_uint_t
ngx_http_debug_record_grpc_cause(ngx_uint_t outcome)
{
    if (outcome < NGX_HTTP_DEBUG_GRPC) {
        return outcome;
    }

    switch (outcome - NGX_HTTP_DEBUG_GRPC) {

    case 1:  /* CANCELLED */
    case 3:  /* INVALID_ARGUMENT */
    case 5:  /* NOT_FOUND */
    case 6:  /* ALREADY_EXISTS */
    case 7:  /* PERMISSION_DENIED */
    case 9:  /* FAILED_PRECONDITION */
    case 10: /* ABORTED */
    case 11: /* OUT_OF_RANGE */
    case 16: /* UNAUTHENTICATED */
        return NGX_HTTP_DEBUG_FAIL_CALL;

    default:

        /*
         * UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNIMPLEMENTED,
         * INTERNAL, UNAVAILABLE, DATA_LOSS
         */

        return NGX_HTTP_DEBUG_FAIL_GRPC;
    }
}


/* Where CODE is counted; it takes a free place if it has none. */

static ngx_http_debug_seldom ngx_uint_t
ngx_http_debug_record_code(ngx_http_debug_cell_t *cell, ngx_uint_t code)
{
    uint32_t    c;
    ngx_uint_t  i;

    if (code < 100) {

        /* "return 42;" is no error, but nothing to keep a place for */

        return NGX_HTTP_DEBUG_CODES;
    }

    for (i = 0; i < NGX_HTTP_DEBUG_CODES; i++) {

        c = ngx_http_debug_load(&cell->code[i]);

        if (c == 0
            && __atomic_compare_exchange_n(&cell->code[i], &c, code, 0,
                                           __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        {
            return i;
        }

        if (c == code) {
            return i;
        }
    }

    c = code / 100;

    return i + ((c < NGX_HTTP_DEBUG_CLASSES) ? c : 0);
}


static ngx_http_debug_seldom void
ngx_http_debug_record_second(ngx_http_debug_cell_t *cell)
{
    uint64_t    now, second, last;
    ngx_uint_t  i;

    now = ngx_current_msec / 1000;
    second = ngx_http_debug_load(&cell->second);

    if (second == now) {
        return;
    }

    if (!__atomic_compare_exchange_n(&cell->second, &second, now, 0,
                                     __ATOMIC_RELAXED, __ATOMIC_RELAXED))
    {
        return;
    }

    __atomic_store_n(&cell->until, (now + 1) * 1000, __ATOMIC_RELAXED);

    last = 0;

    for (i = 0; i < NGX_HTTP_DEBUG_CODES + NGX_HTTP_DEBUG_CLASSES; i++) {

        if (i < NGX_HTTP_DEBUG_CODES
            && ngx_http_debug_load(&cell->code[i]) == 0)
        {
            /* they are taken in order */
            i = NGX_HTTP_DEBUG_CODES - 1;
            continue;
        }

        if (i < NGX_HTTP_DEBUG_CODES
            && ngx_http_debug_load(&cell->code[i]) >= NGX_HTTP_DEBUG_GRPC)
        {
            continue;
        }

        last -= ngx_http_debug_load(&cell->base[i]);

        __atomic_store_n(&cell->base[i], ngx_http_debug_load(&cell->count[i]),
                         __ATOMIC_RELAXED);

        last += ngx_http_debug_load(&cell->base[i]);
    }

    __atomic_store_n(&cell->last, (second + 1 == now) ? last : 0,
                     __ATOMIC_RELAXED);
}


/*
 * proxy_pass with variables to a name that no upstream{} has: no peer.init is
 * called.  What is evaluated instead where such a round begins, in the address
 * that it binds to, is this variable, which is empty.
 */

ngx_int_t
ngx_http_debug_record_host(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                              text[NGX_HTTP_DEBUG_HOST_LEN + 1];
    ngx_str_t                           name;
    ngx_pool_cleanup_t                 *cln;
    ngx_http_upstream_t                *u;
    ngx_http_debug_slot_t              *slot;
    ngx_http_debug_place_t              host;
    ngx_http_debug_round_t             *round;
    ngx_http_debug_record_loc_conf_t   *rlcf;
    ngx_http_debug_record_main_conf_t  *rmcf;

    v->len = 0;
    v->valid = 1;
    v->no_cacheable = 1;
    v->not_found = 0;

    u = r->upstream;
    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_debug_module);

    if (!rlcf->record
        || u->finalize_request == ngx_http_debug_record_host_finalize)
    {
        return NGX_OK;
    }

    /* what nginx has to do between here and the round may fail */

    cln = ngx_pool_cleanup_add(r->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    round = ngx_http_debug_record_take(r);
    if (round == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_debug_record_host_cleanup;
    cln->data = u;

    rmcf = ngx_http_get_module_main_conf(r, ngx_http_debug_module);

    round->finalize = u->finalize_request;
    round->group = NULL;
    round->peer.entity = NULL;

    ngx_http_debug_record_host_name(u->resolved, text, &name);

    round->entity = ngx_http_debug_zone_entity(rmcf->zone, NGX_HTTP_DEBUG_HOST,
                                               0, &name, 1,
                                               r->connection->log);
    round->begun = ngx_http_debug_now();
    round->start = round->begun;
    round->early = 0;

    /* a separator will stand before its states, unless they are the first */

    round->first = r->upstream_states ? r->upstream_states->nelts + 1 : 0;

    u->finalize_request = ngx_http_debug_record_host_finalize;

    /* no peer is known before the end: it is under way at the host */

    ngx_http_debug_zone_place(rmcf->zone, round->entity, ngx_http_debug_lane,
                              &host);
    ngx_http_debug_add(&host.active->active, 1);

    slot = ngx_http_debug_slot_of(r->variables[rmcf->start].len);

    if (slot) {
        ngx_http_debug_slot_try(slot, r, round->entity->id,
                                NGX_HTTP_DEBUG_WAY_CONNECTING);
    }

    return NGX_OK;
}


ngx_uint_t
ngx_http_debug_record_is_host(ngx_http_request_t *r)
{
    ngx_http_upstream_t  *u;

    /* anybody may write a variable anywhere: only here is it a beginning */

    u = r->upstream;

    return u != NULL
           && u->resolved != NULL
           && u->finalize_request != NULL
           && u->output.pool == NULL
           && !ngx_http_debug_record_is_group(r, u->resolved);
}


/*
 * "host:port", as that of a name that is no variable.  TEXT is of one byte
 * more than a name may have: what is longer is so, too.
 */

static void
ngx_http_debug_record_host_name(ngx_http_upstream_resolved_t *resolved,
    u_char *text, ngx_str_t *name)
{
    if (resolved->name.len) {

        /* an address, or the path of a socket */

        *name = resolved->name;
        return;
    }

    name->data = text;
    name->len = ngx_snprintf(text, NGX_HTTP_DEBUG_HOST_LEN + 1, "%V:%ui",
                             &resolved->host, (ngx_uint_t) resolved->port)
                - text;
}


/* As nginx finds out. */

static ngx_uint_t
ngx_http_debug_record_is_group(ngx_http_request_t *r,
    ngx_http_upstream_resolved_t *resolved)
{
    ngx_uint_t                       i;
    ngx_http_upstream_srv_conf_t   **uscfp;
    ngx_http_upstream_main_conf_t   *umcf;

    umcf = ngx_http_get_module_main_conf(r, ngx_http_upstream_module);

    uscfp = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        if (uscfp[i]->host.len == resolved->host.len
            && ((uscfp[i]->port == 0 && resolved->no_port)
                || uscfp[i]->port == resolved->port)
            && ngx_strncasecmp(uscfp[i]->host.data, resolved->host.data,
                               resolved->host.len)
               == 0)
        {
            return 1;
        }
    }

    return 0;
}


static void
ngx_http_debug_record_host_finalize(ngx_http_request_t *r, ngx_int_t rc)
{
    uint64_t                    now, elapsed;
    ngx_uint_t                  i, last, outcome;
    ngx_http_upstream_t        *u;
    ngx_http_debug_round_t     *round, **p;
    ngx_http_upstream_state_t  *state;

    u = r->upstream;
    p = ngx_http_debug_record_find(u);
    round = *p;

    now = ngx_http_debug_now();

    last = r->upstream_states ? r->upstream_states->nelts : 0;
    state = last ? r->upstream_states->elts : NULL;

    /* the name may lead nowhere, and a client may leave before that is known */

    round->cause = (rc == NGX_HTTP_CLIENT_CLOSED_REQUEST || rc == NGX_DONE)
                   ? NGX_HTTP_DEBUG_FAIL_ABORT : NGX_HTTP_DEBUG_FAIL_NO_LIVE;
    round->tries = 0;
    round->whole = (round->first + 1 == last && !round->early);
    round->peer.entity = NULL;

    outcome = round->cause;

    for (i = round->first; i < last; i++) {

        if (state[i].peer == NULL) {
            outcome = NGX_HTTP_DEBUG_FAIL_OTHER;
            round->whole = 0;
            continue;
        }

        ngx_http_debug_record_find_peer(r, round, state[i].peer);

        round->tries++;

        outcome = ngx_http_debug_record_classify(&state[i],
                                                 u->headers_in.status_n,
                                                 u->peer.cached,
                                                 i + 1 == last ? rc : NGX_OK);

        if (i + 1 == last) {
            outcome = ngx_http_debug_record_grpc(u, outcome);
            ngx_http_debug_record_server_grpc(r, outcome);
        }

        /* finer than nginx's, where no resolver and no retry lie between */

        elapsed = now - round->begun;

        if (round->first + 1 != last || u->resolved->sockaddr == NULL) {
            elapsed = (uint64_t) ngx_max((ngx_msec_int_t)
                                         state[i].response_time, 0) * 1000000;
        }

        if (i + 1 < last) {
            ngx_http_debug_record_earlier(r, round, &state[i], outcome,
                                          elapsed);
            round->early = 0;
            continue;
        }

        ngx_http_debug_record_last(r, round, &state[i], outcome, elapsed);
    }

    if (!round->whole) {
        ngx_http_debug_record_sum(r, round, outcome, now - round->begun);
    }

    ngx_http_debug_record_truncated(r, round, rc);

#if (NGX_HTTP_SSL)

    /* of earlier tries the connections are gone */

    if (u->ssl) {
        ngx_http_debug_record_tls(round);
    }

#endif

    u->finalize_request = round->finalize;

    ngx_http_debug_record_host_end(p);

    u->finalize_request(r, rc);
}


/* It is no longer under way. */

static void
ngx_http_debug_record_host_end(ngx_http_debug_round_t **p)
{
    ngx_http_debug_place_t              host;
    ngx_http_debug_round_t             *round;
    ngx_http_debug_record_main_conf_t  *rmcf;

    round = *p;

    rmcf = ngx_http_get_module_main_conf(round->request,
                                         ngx_http_debug_module);

    ngx_http_debug_zone_place(rmcf->zone, round->entity, ngx_http_debug_lane,
                              &host);
    ngx_http_debug_add(&host.active->active, -1);

    ngx_http_debug_record_give(p, round);
}


/* It was to begin, but nginx had no memory for more. */

static void
ngx_http_debug_record_host_cleanup(void *data)
{
    ngx_http_debug_round_t  **p;

    p = ngx_http_debug_record_find(data);

    if (*p) {
        ngx_http_debug_record_host_end(p);
    }
}


void
ngx_http_debug_record_forget(ngx_http_request_t *r)
{
    ngx_http_debug_record_srv_conf_t   *rscf;
    ngx_http_debug_record_main_conf_t  *rmcf;

    rmcf = ngx_http_get_module_main_conf(r, ngx_http_debug_module);
    rscf = ngx_http_get_module_srv_conf(r, ngx_http_debug_module);

    if (r == r->main && r->variables[rmcf->start].data) {
        ngx_http_debug_record_unseen(r);

        r->variables[rmcf->start].data = NULL;
        r->variables[rmcf->start].escape = 0;
        ngx_http_debug_add(&rscf->place.active->active, -1);
    }
}


/* What takes long is counted while it goes on. */

void
ngx_http_debug_record_sweep(void)
{
    uint64_t                 now;
    ngx_uint_t               i;
    ngx_http_debug_round_t  *round;

    now = ngx_http_debug_now();

    for (i = 0; i < (1 << NGX_HTTP_DEBUG_BITS); i++) {

        for (round = ngx_http_debug_under_way[i]; round; round = round->next) {

            if (now - round->start > NGX_HTTP_DEBUG_LONG) {
                ngx_http_debug_record_early(round);
            }
        }
    }
}


static void
ngx_http_debug_record_early(ngx_http_debug_round_t *round)
{
    off_t                       received, sent;
    ngx_event_pipe_t           *p;
    ngx_http_request_t         *r;
    ngx_http_upstream_t        *u;
    ngx_http_debug_active_t    *active;
    ngx_http_upstream_state_t  *state;

    r = round->request;
    u = round->upstream;
    state = u->state;

    if (state == NULL || u->peer.connection == NULL) {
        return;
    }

    if (round->group == NULL) {

        /* of a variable host, the first try */

        if (state->peer == NULL
            || r->upstream_states->nelts != round->first + 1)
        {
            return;
        }

        if (!round->early) {
            ngx_http_debug_record_find_peer(r, round, state->peer);
        }
    }

    if (round->peer.entity == NULL) {
        return;
    }

    if (!round->early) {
        round->early = 1;
        round->connected = 0;
        round->headed = 0;
        round->upgraded = 0;
        round->received = 0;
        round->sent = 0;
    }

    /* all of it goes where the reader adds nothing */

    round->whole = 0;

    sent = u->peer.connection->sent;
    received = state->bytes_received;
    p = u->pipe;

    if (p && p->read_length > (off_t) p->preread_size) {
        received += p->read_length - p->preread_size;
    }

    if (state->connect_time != (ngx_msec_t) -1 && sent && !round->connected) {
        round->connected = 1;
        ngx_http_debug_record_count(r, round, NGX_HTTP_DEBUG_CONNECTS, 1);
        ngx_http_debug_record_count(r, round, NGX_HTTP_DEBUG_CONNECT_TIME,
                                    (uint64_t) state->connect_time * 1000000);
    }

    if (state->header_time != (ngx_msec_t) -1 && !round->headed) {
        round->headed = 1;
        ngx_http_debug_record_count(r, round, NGX_HTTP_DEBUG_HEADERS, 1);
        ngx_http_debug_record_count(r, round, NGX_HTTP_DEBUG_HEADER_TIME,
                                    (uint64_t) state->header_time * 1000000);

        active = ngx_http_debug_record_active(round);
        ngx_http_debug_add(&active->headed, 1);
    }

    if (u->upgrade
        && state->status == NGX_HTTP_SWITCHING_PROTOCOLS
        && !round->upgraded)
    {
        round->upgraded = 1;
        ngx_http_debug_record_count(r, round, NGX_HTTP_DEBUG_UPGRADES, 1);
    }

    if (received > round->received) {
        ngx_http_debug_record_count(r, round, NGX_HTTP_DEBUG_RECEIVED,
                                    received - round->received);
        round->received = received;
    }

    if (sent > round->sent) {
        ngx_http_debug_record_count(r, round, NGX_HTTP_DEBUG_SENT,
                                    sent - round->sent);
        round->sent = sent;
    }

    ngx_http_debug_record_early_request(r->main,
                                        r == r->main && round->upgraded);
}


/* The same for the request, at its server. */

static void
ngx_http_debug_record_early_request(ngx_http_request_t *r,
    ngx_uint_t upgraded)
{
    ngx_http_debug_cell_t              *cell;
    ngx_http_debug_early_t             *early;
    ngx_http_variable_value_t          *v;
    ngx_http_debug_record_loc_conf_t   *rlcf;
    ngx_http_debug_record_srv_conf_t   *rscf;
    ngx_http_debug_record_main_conf_t  *rmcf;

    rmcf = ngx_http_get_module_main_conf(r, ngx_http_debug_module);
    rscf = ngx_http_get_module_srv_conf(r, ngx_http_debug_module);
    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_debug_module);

    v = &r->variables[rmcf->start];

    if (v->data == NULL || !rlcf->record) {
        return;
    }

    if (!v->escape) {
        early = ngx_pcalloc(r->pool, sizeof(ngx_http_debug_early_t));
        if (early == NULL) {
            return;
        }

        early->start = (uintptr_t) v->data;

        v->data = (u_char *) early;
        v->escape = 1;
    }

    early = (ngx_http_debug_early_t *) v->data;
    cell = rscf->place.cell;

    if (r->request_length > early->received) {
        ngx_http_debug_add(&cell->value[NGX_HTTP_DEBUG_RECEIVED],
                           r->request_length - early->received);
        early->received = r->request_length;
    }

    if (r->connection->sent > early->sent) {
        ngx_http_debug_add(&cell->value[NGX_HTTP_DEBUG_SENT],
                           r->connection->sent - early->sent);
        early->sent = r->connection->sent;
    }

    if (upgraded && !early->upgraded) {
        early->upgraded = 1;
        ngx_http_debug_add(&cell->value[NGX_HTTP_DEBUG_UPGRADES], 1);
    }
}


/* Where the round is under way: a variable host's has no peer before its end */

static ngx_http_debug_active_t *
ngx_http_debug_record_active(ngx_http_debug_round_t *round)
{
    ngx_http_debug_place_t              host;
    ngx_http_debug_record_main_conf_t  *rmcf;

    if (round->group) {
        return round->peer.active;
    }

    rmcf = ngx_http_get_module_main_conf(round->request,
                                         ngx_http_debug_module);

    ngx_http_debug_zone_place(rmcf->zone, round->entity, ngx_http_debug_lane,
                              &host);
    return host.active;
}


#if (NGX_HTTP_CACHE)

/*
 * Counts what the cache had for a request, by the cache's zone.  Two that
 * meet a new one at once may both take a place for it; the reader adds them.
 */

static ngx_http_debug_seldom void
ngx_http_debug_record_cache(ngx_http_request_t *r,
    ngx_http_debug_zone_t *zone)
{
    u_char                   ch, name[NGX_HTTP_DEBUG_CACHE_NAME];
    uint32_t                 len, none;
    ngx_str_t               *full;
    ngx_uint_t               i;
    ngx_http_debug_cache_t  *cache;

    full = &r->cache->file_cache->shm_zone->shm.name;
    len = ngx_min(full->len, NGX_HTTP_DEBUG_CACHE_NAME);

    for (i = 0; i < len; i++) {

        /* it becomes a label as it is */

        ch = full->data[i];
        name[i] = (ch < ' ' || ch > '~' || ch == '"' || ch == '\\') ? '_' : ch;
    }

    for (i = 0; i < NGX_HTTP_DEBUG_CACHES; i++) {

        cache = &zone->cache[i];
        none = 0;

        if (__atomic_compare_exchange_n(&cache->taken, &none, 1, 0,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        {
            ngx_memcpy(cache->name, name, len);
            __atomic_store_n(&cache->len, len, __ATOMIC_RELEASE);
        }

        if (__atomic_load_n(&cache->len, __ATOMIC_ACQUIRE) == len
            && ngx_memcmp(cache->name, name, len) == 0)
        {
            ngx_http_debug_add(&cache->count[r->upstream->cache_status
                                             % NGX_HTTP_DEBUG_CACHE_STATES],
                               1);
            return;
        }
    }

    ngx_http_debug_add(&zone->dropped, 1);
}

#endif


ngx_int_t
ngx_http_debug_record_log_handler(ngx_http_request_t *r)
{
    off_t                               received, sent;
    uint64_t                            now, elapsed;
    ngx_uint_t                          status, upgrades;
    ngx_http_debug_cell_t              *cell;
    ngx_http_debug_early_t             *early;
    ngx_http_variable_value_t          *v;
    ngx_http_debug_record_loc_conf_t   *rlcf;
    ngx_http_debug_record_srv_conf_t   *rscf;
    ngx_http_debug_record_main_conf_t  *rmcf;

    if (r != r->main) {
        return NGX_OK;
    }

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_debug_module);

    if (!rlcf->record) {
        ngx_http_debug_record_forget(r);
        return NGX_OK;
    }

    /* before all else, which then has not to be kept meanwhile */

    now = ngx_http_debug_now();

    rmcf = ngx_http_get_module_main_conf(r, ngx_http_debug_module);
    rscf = ngx_http_get_module_srv_conf(r, ngx_http_debug_module);

    cell = rscf->place.cell;

#if (NGX_HTTP_CACHE)
    if (r->cache && r->upstream && r->upstream->cache_status) {
        ngx_http_debug_record_cache(r, rmcf->zone);
    }
#endif

    received = r->request_length;
    sent = r->connection->sent;
    upgrades = 1;

    v = &r->variables[rmcf->start];

    if (v->data) {
        elapsed = now - (uintptr_t) v->data;
        ngx_http_debug_add(&rscf->place.active->active, -1);

    } else {
        elapsed = ngx_http_debug_record_ms(r);
    }

    if (v->escape) {

        /* some of it is counted */

        early = (ngx_http_debug_early_t *) v->data;
        elapsed = now - early->start;
        received -= early->received;
        sent -= early->sent;
        upgrades -= early->upgraded;
    }

    if (r->err_status) {
        status = r->err_status;

    } else if (r->headers_out.status) {
        status = r->headers_out.status;

    } else if (r->http_version == NGX_HTTP_VERSION_9) {
        status = NGX_HTTP_OK;

    } else {
        status = NGX_HTTP_CLIENT_CLOSED_REQUEST;
    }

    ngx_http_debug_add(&cell->value[NGX_HTTP_DEBUG_RECEIVED], received);
    ngx_http_debug_add(&cell->value[NGX_HTTP_DEBUG_SENT], sent);

    if (status == NGX_HTTP_SWITCHING_PROTOCOLS) {
        ngx_http_debug_add(&cell->value[NGX_HTTP_DEBUG_UPGRADES], upgrades);
        return NGX_OK;
    }

    ngx_http_debug_record_answer(cell, status, elapsed);

    return NGX_OK;
}


ngx_int_t
ngx_http_debug_record_log_slot(ngx_http_request_t *r)
{
    ngx_http_variable_value_t          *v;
    ngx_http_debug_record_main_conf_t  *rmcf;

    if (r == r->main) {
        rmcf = ngx_http_get_module_main_conf(r, ngx_http_debug_module);

        v = &r->variables[rmcf->start];

        if (v->len) {
            ngx_http_debug_slot_give(v->len);
            v->len = 0;
        }
    }

    return ngx_http_debug_record_log_handler(r);
}


/* Of what ended before there was a request, as many a 400 does. */

static ngx_http_debug_seldom uint64_t
ngx_http_debug_record_ms(ngx_http_request_t *r)
{
    ngx_msec_int_t   ms;

#if (freenginx && nginx_version >= 1029000)

    ms = ngx_current_msec - r->start_time;

#else

    ngx_time_t  *tp;

    tp = ngx_timeofday();

    ms = (tp->sec - r->start_sec) * 1000
         + ((ngx_msec_int_t) tp->msec - (ngx_msec_int_t) r->start_msec);

#endif

    return (uint64_t) ngx_max(ms, 0) * 1000000;
}
