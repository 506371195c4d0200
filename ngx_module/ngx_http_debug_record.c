
/*
 * The only writer: requests at their servers, rounds at their groups, tries
 * at their peers.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_record.h"
#include "ngx_http_debug_histogram.h"


typedef struct {
    void                      (*finalize)(ngx_http_request_t *r,
                                    ngx_int_t rc);
    ngx_event_get_peer_pt       get;

    ngx_http_debug_group_t     *group;
    ngx_http_debug_entity_t    *peer;      /* of the try under way, or NULL */

    uint64_t                    begun;     /* the round, ns */
    uint64_t                    start;     /* the try, ns */
    ngx_uint_t                  tries;
    ngx_uint_t                  cause;     /* when no peer was had */
} ngx_http_debug_round_t;


static ngx_int_t ngx_http_debug_record_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);
static ngx_int_t ngx_http_debug_record_get_peer(ngx_peer_connection_t *pc,
    void *data);
static void ngx_http_debug_record_finalize(ngx_http_request_t *r,
    ngx_int_t rc);
static ngx_uint_t ngx_http_debug_record_try(
    ngx_http_debug_record_main_conf_t *rmcf, ngx_http_debug_entity_t *group,
    ngx_http_debug_entity_t *peer, ngx_http_upstream_state_t *state,
    uint64_t elapsed, ngx_uint_t cached, ngx_int_t rc);
static void ngx_http_debug_record_state(ngx_http_debug_cell_t *cell,
    ngx_http_upstream_state_t *state);
static ngx_uint_t ngx_http_debug_record_truncated(ngx_http_request_t *r,
    ngx_int_t rc);
static void ngx_http_debug_record_round(
    ngx_http_debug_record_main_conf_t *rmcf, ngx_http_debug_round_t *round,
    ngx_uint_t outcome, uint64_t elapsed);
static void ngx_http_debug_record_outcome(ngx_http_debug_entity_t *e,
    ngx_http_debug_cell_t *cell, ngx_uint_t outcome, uint64_t elapsed);
static ngx_uint_t ngx_http_debug_record_classify(
    ngx_http_upstream_state_t *state, ngx_uint_t cached, ngx_int_t rc);
static void ngx_http_debug_record_code(ngx_http_debug_cell_t *cell,
    ngx_uint_t code);
static void ngx_http_debug_record_second(ngx_http_debug_cell_t *cell);

static ngx_int_t ngx_http_debug_record_post_read_handler(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_debug_record_log_handler(ngx_http_request_t *r);
static void ngx_http_debug_record_host(ngx_http_request_t *r,
    ngx_http_debug_record_main_conf_t *rmcf);
static ngx_int_t ngx_http_debug_record_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);

static ngx_int_t ngx_http_debug_record_wrap(ngx_conf_t *cf,
    ngx_http_debug_record_main_conf_t *rmcf);
static ngx_int_t ngx_http_debug_record_name_servers(ngx_conf_t *cf);
static ngx_int_t ngx_http_debug_record_init_zone(ngx_shm_zone_t *shm_zone,
    void *data);
static void ngx_http_debug_record_walk(ngx_cycle_t *cycle,
    ngx_http_debug_record_main_conf_t *rmcf, ngx_log_t *log, size_t *size);
static void ngx_http_debug_record_group_entity(
    ngx_http_debug_record_main_conf_t *rmcf, ngx_http_debug_group_t *group,
    ngx_log_t *log);
static void ngx_http_debug_record_walk_peer(
    ngx_http_debug_record_main_conf_t *rmcf, ngx_http_debug_entity_t *group,
    ngx_str_t *name, ngx_log_t *log, size_t *size);


extern ngx_module_t  ngx_http_debug_module;


static ngx_str_t  ngx_http_debug_zone_name = ngx_string("ngx_http_debug");
static ngx_str_t  ngx_http_debug_start_name = ngx_string("debug_start");


static ngx_inline ngx_http_debug_group_t *
ngx_http_debug_record_group(ngx_http_debug_record_main_conf_t *rmcf,
    ngx_http_upstream_srv_conf_t *uscf)
{
    ngx_uint_t  i;

    /* configurations are allocated at least 16 bytes apart */

    for (i = (uintptr_t) uscf >> 4; /* void */ ; i++) {
        if (rmcf->groups[i & rmcf->mask].uscf == uscf) {
            return &rmcf->groups[i & rmcf->mask];
        }
    }
}


static ngx_int_t
ngx_http_debug_record_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us)
{
    ngx_int_t                           rc;
    ngx_http_upstream_t                *u;
    ngx_http_debug_group_t             *group;
    ngx_http_debug_round_t             *round;
    ngx_http_debug_record_loc_conf_t   *rlcf;
    ngx_http_debug_record_main_conf_t  *rmcf;

    rmcf = ngx_http_get_module_main_conf(r, ngx_http_debug_module);
    group = ngx_http_debug_record_group(rmcf, us);

    rc = group->init(r, us);

    if (rc != NGX_OK || ngx_http_debug_lane == -1) {
        return rc;
    }

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_debug_module);

    if (!rlcf->enable) {
        return NGX_OK;
    }

    if (group->entity == NULL) {
        ngx_http_debug_record_group_entity(rmcf, group, r->connection->log);
    }

    round = ngx_palloc(r->pool, sizeof(ngx_http_debug_round_t));
    if (round == NULL) {
        return NGX_ERROR;
    }

    u = r->upstream;

    round->finalize = u->finalize_request;
    round->get = u->peer.get;
    round->group = group;
    round->peer = NULL;
    round->begun = ngx_http_debug_now();
    round->start = round->begun;
    round->tries = 0;
    round->cause = NGX_HTTP_DEBUG_FAIL_OTHER;

    ngx_http_set_ctx(r, round, ngx_http_debug_module);

    u->finalize_request = ngx_http_debug_record_finalize;
    u->peer.get = ngx_http_debug_record_get_peer;

    ngx_http_debug_add(&group->entity->active[ngx_http_debug_lane], 1);

    return NGX_OK;
}


/* A try begins; the one before, if any, has just ended. */

static ngx_int_t
ngx_http_debug_record_get_peer(ngx_peer_connection_t *pc, void *data)
{
    uint64_t                            now;
    ngx_int_t                           rc;
    ngx_http_cleanup_t                 *cln;
    ngx_http_request_t                 *r;
    ngx_http_upstream_t                *u;
    ngx_http_debug_round_t             *round;
    ngx_http_upstream_state_t          *state;
    ngx_http_debug_record_main_conf_t  *rmcf;

    /*
     * The balancer's data is not ours to wrap; the request is found by the
     * cleanup that nginx adds before peer.init.
     */

    u = (ngx_http_upstream_t *) ((u_char *) pc
                                 - offsetof(ngx_http_upstream_t, peer));
    cln = (ngx_http_cleanup_t *) u->cleanup;
    r = cln->data;

    round = ngx_http_get_module_ctx(r, ngx_http_debug_module);
    rmcf = ngx_http_get_module_main_conf(r, ngx_http_debug_module);

    if (round->tries) {

        now = ngx_http_debug_now();

        if (round->peer) {

            /* the last state belongs to the try that begins */

            state = r->upstream_states->elts;
            state += r->upstream_states->nelts - 2;

            (void) ngx_http_debug_record_try(rmcf, round->group->entity,
                                             round->peer, state,
                                             now - round->start, pc->cached,
                                             NGX_OK);
            round->peer = NULL;
        }

        round->start = now;
    }

    rc = round->get(pc, data);

    if (rc == NGX_OK || rc == NGX_DONE) {

        round->peer = ngx_http_debug_zone_entity(rmcf->zone,
                              NGX_HTTP_DEBUG_PEER, round->group->entity->id,
                              pc->name, rmcf->cells, pc->log);

        ngx_http_debug_add(&round->peer->active[ngx_http_debug_lane], 1);

        round->tries++;

    } else {
        round->cause = (rc == NGX_BUSY) ? NGX_HTTP_DEBUG_FAIL_NO_LIVE
                                        : NGX_HTTP_DEBUG_FAIL_OTHER;
    }

    return rc;
}


static void
ngx_http_debug_record_finalize(ngx_http_request_t *r, ngx_int_t rc)
{
    uint64_t                            now;
    ngx_uint_t                          outcome;
    ngx_http_upstream_t                *u;
    ngx_http_debug_cell_t              *cell;
    ngx_http_debug_round_t             *round;
    ngx_http_upstream_state_t          *state;
    ngx_http_debug_record_main_conf_t  *rmcf;

    u = r->upstream;

    round = ngx_http_get_module_ctx(r, ngx_http_debug_module);
    rmcf = ngx_http_get_module_main_conf(r, ngx_http_debug_module);

    now = ngx_http_debug_now();
    state = u->state;

    if (round->peer) {
        outcome = ngx_http_debug_record_try(rmcf, round->group->entity,
                                            round->peer, state,
                                            now - round->start,
                                            u->peer.cached, rc);

        if (ngx_http_debug_record_truncated(r, rc)) {
            cell = ngx_http_debug_zone_cell(rmcf->zone, round->group->entity,
                                            ngx_http_debug_lane);
            ngx_http_debug_add(&cell->value[NGX_HTTP_DEBUG_TRUNCATED], 1);

            if (round->peer != round->group->entity) {
                cell = ngx_http_debug_zone_cell(rmcf->zone, round->peer,
                                                ngx_http_debug_lane);
                ngx_http_debug_add(&cell->value[NGX_HTTP_DEBUG_TRUNCATED], 1);
            }
        }

    } else {
        outcome = round->cause;
    }

    ngx_http_debug_record_round(rmcf, round, outcome, now - round->begun);

    /* X-Accel-Redirect leads to another round: nothing of this one stays */

    ngx_http_set_ctx(r, NULL, ngx_http_debug_module);

    u->finalize_request = round->finalize;
    u->finalize_request(r, rc);
}


/*
 * Books one try at its peer.  Returns what became of it: a status code, or
 * the cause why no answer came (these are less than 100).
 */

static ngx_uint_t
ngx_http_debug_record_try(ngx_http_debug_record_main_conf_t *rmcf,
    ngx_http_debug_entity_t *group, ngx_http_debug_entity_t *peer,
    ngx_http_upstream_state_t *state, uint64_t elapsed, ngx_uint_t cached,
    ngx_int_t rc)
{
    ngx_uint_t              outcome;
    ngx_http_debug_cell_t  *cell;

    cell = ngx_http_debug_zone_cell(rmcf->zone, peer, ngx_http_debug_lane);
    outcome = ngx_http_debug_record_classify(state, cached, rc);

    ngx_http_debug_add(&peer->active[ngx_http_debug_lane], -1);

    ngx_http_debug_record_state(ngx_http_debug_zone_cell(rmcf->zone, group,
                                                         ngx_http_debug_lane),
                                state);

    if (peer == group) {

        /* both found no room: the overflow entity counts them once */

        return outcome;
    }

    ngx_http_debug_record_state(cell, state);
    ngx_http_debug_record_outcome(peer, cell, outcome, elapsed);

    return outcome;
}


/*
 * RC says that the answer broke off only after it began to be passed on: a
 * 502 may also be the peer's own, on its way to error_page.  An upgraded
 * connection has no end that could be missed, and a client that left has
 * nothing to do with the peer.
 */

static ngx_uint_t
ngx_http_debug_record_truncated(ngx_http_request_t *r, ngx_int_t rc)
{
    ngx_http_upstream_t  *u;

    u = r->upstream;

    if (!u->header_sent || u->upgrade) {
        return 0;
    }

    return rc == NGX_HTTP_BAD_GATEWAY
           || rc == NGX_HTTP_GATEWAY_TIME_OUT
           || (rc == NGX_ERROR && !r->connection->error);
}


/* what a try adds at its peer and at its group alike */

static void
ngx_http_debug_record_state(ngx_http_debug_cell_t *cell,
    ngx_http_upstream_state_t *state)
{
    if (state->connect_time != (ngx_msec_t) -1) {
        ngx_http_debug_add(&cell->value[NGX_HTTP_DEBUG_CONNECTS], 1);

        if (state->connect_time) {
            ngx_http_debug_add(&cell->value[NGX_HTTP_DEBUG_CONNECT_TIME],
                               (uint64_t) state->connect_time * 1000000);
        }
    }

    if (state->header_time != (ngx_msec_t) -1) {
        ngx_http_debug_add(&cell->value[NGX_HTTP_DEBUG_HEADERS], 1);

        if (state->header_time) {
            ngx_http_debug_add(&cell->value[NGX_HTTP_DEBUG_HEADER_TIME],
                               (uint64_t) state->header_time * 1000000);
        }
    }

    ngx_http_debug_add(&cell->value[NGX_HTTP_DEBUG_RECEIVED],
                       state->bytes_received);
    ngx_http_debug_add(&cell->value[NGX_HTTP_DEBUG_SENT], state->bytes_sent);
}


static void
ngx_http_debug_record_round(ngx_http_debug_record_main_conf_t *rmcf,
    ngx_http_debug_round_t *round, ngx_uint_t outcome, uint64_t elapsed)
{
    ngx_http_debug_cell_t    *cell;
    ngx_http_debug_entity_t  *group;

    group = round->group->entity;
    cell = ngx_http_debug_zone_cell(rmcf->zone, group, ngx_http_debug_lane);

    ngx_http_debug_add(&group->active[ngx_http_debug_lane], -1);

    ngx_http_debug_add(&cell->value[NGX_HTTP_DEBUG_TRIES], round->tries);

    if (round->tries > 1) {
        ngx_http_debug_add(&cell->value[NGX_HTTP_DEBUG_RETRIES],
                           round->tries - 1);
    }

    ngx_http_debug_record_outcome(group, cell, outcome, elapsed);
}


static void
ngx_http_debug_record_outcome(ngx_http_debug_entity_t *e,
    ngx_http_debug_cell_t *cell, ngx_uint_t outcome, uint64_t elapsed)
{
    ngx_time_t  *tp;

    if (outcome >= 100) {

        if (outcome == NGX_HTTP_SWITCHING_PROTOCOLS) {

            /* one WebSocket of eight hours would ruin every average */

            ngx_http_debug_add(&cell->value[NGX_HTTP_DEBUG_UPGRADES], 1);
            return;
        }

        ngx_http_debug_record_code(cell, outcome);
        ngx_http_debug_add(&cell->value[NGX_HTTP_DEBUG_TIME], elapsed);
        ngx_http_debug_histogram_add(cell, elapsed);

        return;
    }

    ngx_http_debug_add(&cell->value[outcome], 1);

    if (outcome == NGX_HTTP_DEBUG_FAIL_TIMEOUT) {

        /* in the percentiles, or the slowest peer would look the fastest */

        ngx_http_debug_add(&cell->value[NGX_HTTP_DEBUG_TIMEOUT_TIME],
                           elapsed);
        ngx_http_debug_histogram_add(cell, elapsed);
    }

    if (outcome == NGX_HTTP_DEBUG_FAIL_ABORT) {
        return;
    }

    tp = ngx_timeofday();

    __atomic_store_n(&e->failure, outcome, __ATOMIC_RELAXED);
    __atomic_store_n(&e->failed, (uint64_t) tp->sec * 1000 + tp->msec,
                     __ATOMIC_RELAXED);
}


/*
 * nginx invents a status where none came: 504 for a timeout, 502 for all
 * else.  A header that never came tells the real ones apart.
 */

static ngx_uint_t
ngx_http_debug_record_classify(ngx_http_upstream_state_t *state,
    ngx_uint_t cached, ngx_int_t rc)
{
    if (state->header_time != (ngx_msec_t) -1 && state->status >= 100) {
        return state->status;
    }

    if (state->status == NGX_HTTP_GATEWAY_TIME_OUT) {
        return NGX_HTTP_DEBUG_FAIL_TIMEOUT;
    }

    if (state->status == NGX_HTTP_BAD_GATEWAY) {

        /* closed by the peer while it was kept: it had nothing to say */

        if (cached && state->bytes_received == 0) {
            return NGX_HTTP_DEBUG_FAIL_STALE;
        }

        return (state->connect_time == (ngx_msec_t) -1)
               ? NGX_HTTP_DEBUG_FAIL_CONNECT
               : NGX_HTTP_DEBUG_FAIL_INVALID;
    }

    if (state->status == 0
        && (rc == NGX_HTTP_CLIENT_CLOSED_REQUEST || rc == NGX_DONE
            || rc == NGX_HTTP_BAD_REQUEST
            || rc == NGX_HTTP_REQUEST_TIME_OUT))
    {
        /* the last two: its body did not come, or not in time */

        return NGX_HTTP_DEBUG_FAIL_ABORT;
    }

    return NGX_HTTP_DEBUG_FAIL_OTHER;
}


static void
ngx_http_debug_record_code(ngx_http_debug_cell_t *cell, ngx_uint_t code)
{
    uint32_t    c;
    ngx_uint_t  i;

    ngx_http_debug_record_second(cell);

    for (i = 0; i < NGX_HTTP_DEBUG_CODES; i++) {

        c = ngx_http_debug_load(&cell->code[i]);

        if (c == 0
            && __atomic_compare_exchange_n(&cell->code[i], &c, code, 0,
                                           __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        {
            break;
        }

        if (c == code) {
            break;
        }
    }

    if (i == NGX_HTTP_DEBUG_CODES) {
        c = code / 100;
        i += (c < NGX_HTTP_DEBUG_CLASSES) ? c : 0;
    }

    ngx_http_debug_add(&cell->count[i], 1);
}


static void
ngx_http_debug_record_second(ngx_http_debug_cell_t *cell)
{
    uint64_t    now, second;
    ngx_uint_t  i, gap;

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

    gap = (second + 1 != now);

    for (i = 0; i < NGX_HTTP_DEBUG_CODES + NGX_HTTP_DEBUG_CLASSES; i++) {

        now = ngx_http_debug_load(&cell->count[i]);

        __atomic_store_n(&cell->before[i],
                         gap ? now : ngx_http_debug_load(&cell->base[i]),
                         __ATOMIC_RELAXED);
        __atomic_store_n(&cell->base[i], now, __ATOMIC_RELAXED);
    }
}


/* A request's start outlives r->ctx, which redirects clear, in a variable. */

static ngx_int_t
ngx_http_debug_record_post_read_handler(ngx_http_request_t *r)
{
    ngx_http_debug_record_srv_conf_t   *rscf;
    ngx_http_debug_record_main_conf_t  *rmcf;

    if (r != r->main || ngx_http_debug_lane == -1) {
        return NGX_DECLINED;
    }

    rmcf = ngx_http_get_module_main_conf(r, ngx_http_debug_module);
    rscf = ngx_http_get_module_srv_conf(r, ngx_http_debug_module);

    r->variables[rmcf->start].data
                              = (u_char *) (uintptr_t) ngx_http_debug_now();

    ngx_http_debug_add(&rscf->entity->active[ngx_http_debug_lane], 1);

    return NGX_DECLINED;
}


void
ngx_http_debug_record_forget(ngx_http_request_t *r)
{
    ngx_http_debug_record_srv_conf_t   *rscf;
    ngx_http_debug_record_main_conf_t  *rmcf;

    rmcf = ngx_http_get_module_main_conf(r, ngx_http_debug_module);
    rscf = ngx_http_get_module_srv_conf(r, ngx_http_debug_module);

    if (r == r->main && r->variables[rmcf->start].data) {
        r->variables[rmcf->start].data = NULL;
        ngx_http_debug_add(&rscf->entity->active[ngx_http_debug_lane], -1);
    }
}


static ngx_int_t
ngx_http_debug_record_log_handler(ngx_http_request_t *r)
{
    uint64_t                            start, elapsed;
    ngx_int_t                           ms;
    ngx_uint_t                          status;
    ngx_time_t                         *tp;
    ngx_http_debug_cell_t              *cell;
    ngx_http_debug_record_loc_conf_t   *rlcf;
    ngx_http_debug_record_srv_conf_t   *rscf;
    ngx_http_debug_record_main_conf_t  *rmcf;

    if (ngx_http_debug_lane == -1) {
        return NGX_OK;
    }

    rmcf = ngx_http_get_module_main_conf(r, ngx_http_debug_module);
    rscf = ngx_http_get_module_srv_conf(r, ngx_http_debug_module);
    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_debug_module);

    if (r == r->main) {
        start = (uintptr_t) r->variables[rmcf->start].data;

        if (start) {
            ngx_http_debug_add(&rscf->entity->active[ngx_http_debug_lane],
                               -1);
        }

    } else {
        start = 0;
    }

    if (!rlcf->enable || rlcf->own) {
        return NGX_OK;
    }

    if (r->upstream && r->upstream->upstream == NULL && r->upstream_states
        && r->upstream->resolved)
    {
        ngx_http_debug_record_host(r, rmcf);
    }

    if (r != r->main) {
        return NGX_OK;
    }

    if (start) {
        elapsed = ngx_http_debug_now() - start;

    } else {

        /* it ended before there was a request, as many a 400 does */

        tp = ngx_timeofday();
#if (freenginx && nginx_version >= 1029000)
        ms = ngx_current_msec - r->start_time;
        (void) tp;
#else
        ms = (tp->sec - r->start_sec) * 1000
             + ((ngx_int_t) tp->msec - (ngx_int_t) r->start_msec);
#endif
        elapsed = (uint64_t) ngx_max(ms, 0) * 1000000;
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

    cell = ngx_http_debug_zone_cell(rmcf->zone, rscf->entity,
                                    ngx_http_debug_lane);

    ngx_http_debug_add(&cell->value[NGX_HTTP_DEBUG_RECEIVED],
                       r->request_length);
    ngx_http_debug_add(&cell->value[NGX_HTTP_DEBUG_SENT],
                       r->connection->sent);

    ngx_http_debug_record_outcome(rscf->entity, cell, status, elapsed);

    return NGX_OK;
}


/* A round that no wrapped upstream has seen, in nginx's own times. */

static void
ngx_http_debug_record_host(ngx_http_request_t *r,
    ngx_http_debug_record_main_conf_t *rmcf)
{
    uint64_t                    elapsed;
    ngx_uint_t                  i, first, outcome, last;
    ngx_http_debug_group_t      group;
    ngx_http_debug_round_t      round;
    ngx_http_debug_entity_t    *peer;
    ngx_http_upstream_state_t  *state;

    state = r->upstream_states->elts;
    last = r->upstream_states->nelts;

    /* an element without a peer stands between two rounds */

    for (first = last; first > 0 && state[first - 1].peer; first--) {
        /* void */
    }

    if (first == last) {
        return;
    }

    group.entity = ngx_http_debug_zone_entity(rmcf->zone, NGX_HTTP_DEBUG_HOST,
                                              0, &r->upstream->resolved->host,
                                              rmcf->cells,
                                              r->connection->log);
    round.group = &group;
    round.tries = last - first;

    ngx_http_debug_add(&group.entity->active[ngx_http_debug_lane], 1);

    outcome = NGX_HTTP_DEBUG_FAIL_OTHER;
    elapsed = 0;

    for (i = first; i < last; i++) {

        peer = group.entity;

        if (peer->kind != NGX_HTTP_DEBUG_OVERFLOW) {
            peer = ngx_http_debug_zone_entity(rmcf->zone, NGX_HTTP_DEBUG_PEER,
                                              group.entity->id, state[i].peer,
                                              rmcf->cells,
                                              r->connection->log);
        }

        ngx_http_debug_add(&peer->active[ngx_http_debug_lane], 1);

        outcome = ngx_http_debug_record_try(rmcf, group.entity, peer,
                         &state[i],
                         (uint64_t) ngx_max((ngx_msec_int_t)
                                            state[i].response_time, 0)
                         * 1000000,
                         0, state[i].status ? NGX_OK : NGX_DONE);

        elapsed += (uint64_t) ngx_max((ngx_msec_int_t)
                                      state[i].response_time, 0) * 1000000;
    }

    ngx_http_debug_record_round(rmcf, &round, outcome, elapsed);
}


static ngx_int_t
ngx_http_debug_record_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    /* v->data is not a string and stays as it is */

    v->len = 0;
    v->not_found = 1;

    return NGX_OK;
}


ngx_int_t
ngx_http_debug_record_preconfiguration(ngx_conf_t *cf)
{
    ngx_http_variable_t                *var;
    ngx_http_debug_record_main_conf_t  *rmcf;

    rmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_debug_module);

    var = ngx_http_add_variable(cf, &ngx_http_debug_start_name, 0);
    if (var == NULL) {
        return NGX_ERROR;
    }

    var->get_handler = ngx_http_debug_record_variable;

    rmcf->start = ngx_http_get_variable_index(cf, &ngx_http_debug_start_name);

    return (rmcf->start == NGX_ERROR) ? NGX_ERROR : NGX_OK;
}


void
ngx_http_debug_record_listeners(ngx_http_debug_record_main_conf_t *rmcf,
    ngx_array_t *listeners)
{
    ngx_uint_t                       i;
    ngx_http_upstream_srv_conf_t   **uscfp;

    uscfp = listeners->elts;

    for (i = 0; i < listeners->nelts; i++) {
        if (uscfp[i]->peer.init == ngx_http_debug_record_init_peer) {
            ngx_http_debug_record_group(rmcf, uscfp[i])->listeners = 1;
        }
    }
}


ngx_int_t
ngx_http_debug_record_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt                *h;
    ngx_http_core_main_conf_t          *cmcf;
    ngx_http_debug_record_main_conf_t  *rmcf;

    rmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_debug_module);

    /*
     * The size is constant, for nginx starts a zone anew when its size
     * changes; see ngx_http_debug_zone.h.
     */

    rmcf->shm_zone = ngx_shared_memory_add(cf, &ngx_http_debug_zone_name,
                                           8 * ngx_pagesize,
                                           &ngx_http_debug_module);
    if (rmcf->shm_zone == NULL) {
        return NGX_ERROR;
    }

    rmcf->cycle = cf->cycle;

    rmcf->shm_zone->init = ngx_http_debug_record_init_zone;
    rmcf->shm_zone->data = rmcf;

    if (ngx_http_debug_record_name_servers(cf) != NGX_OK
        || ngx_http_debug_record_wrap(cf, rmcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_POST_READ_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_debug_record_post_read_handler;

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_LOG_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_debug_record_log_handler;

    return NGX_OK;
}


static ngx_int_t
ngx_http_debug_record_wrap(ngx_conf_t *cf,
    ngx_http_debug_record_main_conf_t *rmcf)
{
    ngx_uint_t                       i, k, n;
    ngx_http_debug_group_t          *group;
    ngx_http_upstream_srv_conf_t   **uscfp;
    ngx_http_upstream_main_conf_t   *umcf;

    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module);

    uscfp = umcf->upstreams.elts;

    for (n = 4; n < 2 * umcf->upstreams.nelts; n *= 2) { /* void */ }

    rmcf->mask = n - 1;
    rmcf->groups = ngx_pcalloc(cf->pool, n * sizeof(ngx_http_debug_group_t));
    if (rmcf->groups == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        if (uscfp[i]->peer.init == NULL) {
            continue;
        }

        for (k = (uintptr_t) uscfp[i] >> 4; /* void */ ; k++) {
            group = &rmcf->groups[k & rmcf->mask];

            if (group->uscf == NULL) {
                break;
            }
        }

        group->uscf = uscfp[i];
        group->init = uscfp[i]->peer.init;
        group->name = uscfp[i]->host;

        if (uscfp[i]->port) {

            /* proxy_pass http://host:port makes a group of that name */

            group->name.data = ngx_pnalloc(cf->pool, uscfp[i]->host.len + 1
                                                     + NGX_INT_T_LEN);
            if (group->name.data == NULL) {
                return NGX_ERROR;
            }

            group->name.len = ngx_sprintf(group->name.data, "%V:%ui",
                                          &uscfp[i]->host,
                                          (ngx_uint_t) uscfp[i]->port)
                              - group->name.data;
        }

        uscfp[i]->peer.init = ngx_http_debug_record_init_peer;
    }

    return NGX_OK;
}


/*
 * A server is known by its first name; one without a name by where it
 * listens.
 */

static ngx_int_t
ngx_http_debug_record_name_servers(ngx_conf_t *cf)
{
    ngx_uint_t                          i, j, k, s;
    ngx_http_conf_addr_t               *addr;
    ngx_http_conf_port_t               *port;
    ngx_http_core_srv_conf_t          **cscfp, **on;
    ngx_http_core_main_conf_t          *cmcf;
    ngx_http_debug_record_srv_conf_t   *rscf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    cscfp = cmcf->servers.elts;

    for (s = 0; s < cmcf->servers.nelts; s++) {

        rscf = cscfp[s]->ctx->srv_conf[ngx_http_debug_module.ctx_index];
        rscf->name = cscfp[s]->server_name;

        if (rscf->name.len || cmcf->ports == NULL) {
            continue;
        }

        port = cmcf->ports->elts;

        for (i = 0; i < cmcf->ports->nelts && rscf->name.len == 0; i++) {
            addr = port[i].addrs.elts;

            for (j = 0; j < port[i].addrs.nelts; j++) {
                on = addr[j].servers.elts;

                for (k = 0; k < addr[j].servers.nelts; k++) {
                    if (on[k] == cscfp[s]) {
                        rscf->name = addr[j].opt.addr_text;
                    }
                }
            }
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_debug_record_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    size_t                              size;
    ngx_core_conf_t                    *ccf;
    ngx_cycle_t                        *cycle;
    ngx_http_debug_record_main_conf_t  *rmcf;

    rmcf = shm_zone->data;
    cycle = rmcf->cycle;

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    rmcf->cells = ngx_http_debug_zone_cells(ccf->worker_processes);

    size = ngx_align(sizeof(ngx_http_debug_zone_t), 64)
           + ngx_http_debug_zone_entity_size(8, 1);

    ngx_http_debug_record_walk(cycle, rmcf, cycle->log, &size);

    if (size > rmcf->size) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "zone \"%V\" is too small: %uzk are needed for the"
                      " servers, groups and peers of this configuration with"
                      " %i worker processes, debug_zone is %uzk in %s:%ui",
                      &shm_zone->shm.name, size / 1024 + 1,
                      ccf->worker_processes, rmcf->size / 1024,
                      rmcf->file, rmcf->line);
        return NGX_ERROR;
    }

    rmcf->zone = ngx_http_debug_zone_open(cycle, shm_zone, data, rmcf->size);
    if (rmcf->zone == NULL) {
        return NGX_ERROR;
    }

    shm_zone->data = rmcf->zone;

    return NGX_OK;
}


void
ngx_http_debug_record_init_module(ngx_cycle_t *cycle,
    ngx_http_debug_record_main_conf_t *rmcf)
{
    ngx_time_t             *tp;
    ngx_http_debug_zone_t  *zone;

    zone = rmcf->zone;
    tp = ngx_timeofday();

    zone->limit = rmcf->size;
    zone->generation++;
    zone->reloaded = (uint64_t) tp->sec * 1000 + tp->msec;
    zone->mark[zone->nmarks++ % NGX_HTTP_DEBUG_MARKS] = zone->reloaded;

    ngx_http_debug_record_walk(cycle, rmcf, cycle->log, NULL);
}


/*
 * Goes over all that the configuration names: with SIZE, adds up the memory
 * that it needs; without, gives each its entity.
 */

static void
ngx_http_debug_record_walk(ngx_cycle_t *cycle,
    ngx_http_debug_record_main_conf_t *rmcf, ngx_log_t *log, size_t *size)
{
    ngx_uint_t                          i, j, k;
    ngx_http_debug_group_t             *group;
    ngx_http_upstream_server_t         *server;
    ngx_http_core_srv_conf_t          **cscfp;
    ngx_http_core_main_conf_t          *cmcf;
    ngx_http_upstream_rr_peer_t        *peer;
    ngx_http_upstream_rr_peers_t       *peers;
    ngx_http_upstream_srv_conf_t      **uscfp, *uscf;
    ngx_http_upstream_main_conf_t      *umcf;
    ngx_http_debug_record_srv_conf_t   *rscf;

    cmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_core_module);
    umcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_upstream_module);

    cscfp = cmcf->servers.elts;

    for (i = 0; i < cmcf->servers.nelts; i++) {
        rscf = cscfp[i]->ctx->srv_conf[ngx_http_debug_module.ctx_index];

        if (size) {
            *size += ngx_http_debug_zone_entity_size(rscf->name.len,
                                                     rmcf->cells);
            continue;
        }

        rscf->entity = ngx_http_debug_zone_entity(rmcf->zone,
                              NGX_HTTP_DEBUG_SERVER, 0, &rscf->name,
                              rmcf->cells, log);
    }

    uscfp = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        uscf = uscfp[i];

        if (uscf->peer.init != ngx_http_debug_record_init_peer) {
            continue;
        }

        group = ngx_http_debug_record_group(rmcf, uscf);

        if (group->listeners) {
            continue;
        }

        if (size) {
            *size += ngx_http_debug_zone_entity_size(group->name.len,
                                                     rmcf->cells);

        } else {
            ngx_http_debug_record_group_entity(rmcf, group, log);
        }

        if (uscf->servers) {

            /* what the lines say: a balancer may keep its peers otherwise */

            server = uscf->servers->elts;

            for (j = 0; j < uscf->servers->nelts; j++) {
                for (k = 0; k < server[j].naddrs; k++) {
                    ngx_http_debug_record_walk_peer(rmcf, group->entity,
                                                    &server[j].addrs[k].name,
                                                    log, size);
                }
            }

        } else if (uscf->peer.init_upstream == NULL
                   || uscf->peer.init_upstream
                      == ngx_http_upstream_init_round_robin)
        {
            peers = uscf->peer.data;

            for (peer = peers ? peers->peer : NULL; peer; peer = peer->next) {
                ngx_http_debug_record_walk_peer(rmcf, group->entity,
                                                &peer->name, log, size);
            }
        }
    }
}


static void
ngx_http_debug_record_group_entity(ngx_http_debug_record_main_conf_t *rmcf,
    ngx_http_debug_group_t *group, ngx_log_t *log)
{
    group->entity = ngx_http_debug_zone_entity(rmcf->zone,
                                               NGX_HTTP_DEBUG_GROUP, 0,
                                               &group->name, rmcf->cells, log);
}


static void
ngx_http_debug_record_walk_peer(ngx_http_debug_record_main_conf_t *rmcf,
    ngx_http_debug_entity_t *group, ngx_str_t *name, ngx_log_t *log,
    size_t *size)
{
    if (name->len == 0) {
        return;
    }

    if (size) {
        *size += ngx_http_debug_zone_entity_size(name->len, rmcf->cells);
        return;
    }

    (void) ngx_http_debug_zone_entity(rmcf->zone, NGX_HTTP_DEBUG_PEER,
                                      group->id, name, rmcf->cells, log);
}
