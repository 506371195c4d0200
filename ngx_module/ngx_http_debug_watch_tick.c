
/*
 * Once a second: the rules are read.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include "ngx_http_debug_history.h"
#include "ngx_http_debug_kept_take.h"
#include "ngx_http_debug_peers.h"
#include "ngx_http_debug_state.h"
#include "ngx_http_debug_watch_process.h"
#include "ngx_http_debug_watch_take.h"
#include "ngx_http_debug_watch_tick.h"


/* s that the list of peers is good for */
#define NGX_HTTP_DEBUG_WATCH_FRESH  10

/* processes that are asked in a second; and seconds that are made up for */
#define NGX_HTTP_DEBUG_WATCH_ASKS   64
#define NGX_HTTP_DEBUG_WATCH_LATE   5

/* ms after a second's end: history needs some to note it */
#define NGX_HTTP_DEBUG_WATCH_AFTER  150


typedef struct {
    ngx_str_t                        group;
    ngx_uint_t                       number;   /* of its group */
    uint32_t                         key;
    uint32_t                         budget;   /* of its group */
    ngx_uint_t                       asked;    /* it has not answered yet */
    uint64_t                         quiet;    /* the second until which it is
                                                  not asked again */
    ngx_http_debug_watch_side_t      side;
} ngx_http_debug_watch_peer_t;


/* what is asked of a process, by the number of the peer in the list */

typedef struct {
    ngx_http_debug_watch_ask_t       ask;
    uint64_t                         list;
    ngx_uint_t                       peer;
} ngx_http_debug_watch_poll_t;


static void ngx_http_debug_watch_timer(ngx_event_t *ev);
static ngx_int_t ngx_http_debug_watch_begin(
    ngx_http_debug_watch_conf_t *wcf, uint64_t tick, uint64_t *first);
static ngx_int_t ngx_http_debug_watch_list(ngx_http_debug_watch_conf_t *wcf,
    uint64_t second);
static ngx_int_t ngx_http_debug_watch_peer(ngx_http_debug_watch_conf_t *wcf,
    ngx_http_debug_peer_group_t *group, ngx_uint_t number,
    ngx_http_debug_peer_t *peer, ngx_http_debug_pprof_ssl_t *ssl,
    ngx_pool_t *pool);
static uint32_t ngx_http_debug_watch_key(ngx_str_t *group, ngx_str_t *peer);
static uint32_t ngx_http_debug_watch_with(uint32_t key,
    ngx_http_debug_watch_rule_t *rule);
static void ngx_http_debug_watch_poll(ngx_http_debug_watch_conf_t *wcf,
    uint64_t second);
static void ngx_http_debug_watch_polled(ngx_http_debug_watch_ask_t *ask);
static void ngx_http_debug_watch_second(ngx_http_debug_watch_conf_t *wcf,
    uint64_t second, ngx_uint_t late);
static void ngx_http_debug_watch_fire(ngx_http_debug_watch_conf_t *wcf,
    ngx_http_debug_watch_peer_t *peer, ngx_http_debug_watch_rule_t *rule,
    ngx_http_debug_watch_met_t *met, uint64_t second);
static ngx_http_debug_watch_peer_t *ngx_http_debug_watch_sister(
    ngx_http_debug_watch_conf_t *wcf, ngx_http_debug_watch_peer_t *sick,
    ngx_http_debug_watch_rule_t *rule, uint64_t second);
static ngx_int_t ngx_http_debug_watch_healthy(
    ngx_http_debug_watch_conf_t *wcf, ngx_http_debug_watch_peer_t *peer,
    ngx_http_debug_watch_rule_t *rule, uint64_t second, uint64_t *p99);
static int ngx_libc_cdecl ngx_http_debug_watch_faster(const void *one,
    const void *two);


/* of this process */

static ngx_event_t                   ngx_http_debug_watch_event;
static ngx_connection_t              ngx_http_debug_watch_dumb;
static ngx_http_debug_watch_conf_t  *ngx_http_debug_watch_conf;
static ngx_pool_t                   *ngx_http_debug_watch_pool;
static ngx_array_t                   ngx_http_debug_watch_peers;
static uint64_t                      ngx_http_debug_watch_listed;
static uint64_t                      ngx_http_debug_watch_lists;
static ngx_uint_t                    ngx_http_debug_watch_next;


void
ngx_http_debug_watch_schedule(ngx_http_debug_watch_conf_t *wcf,
    ngx_http_debug_zone_t *zone, ngx_cycle_t *cycle)
{
    ngx_event_t  *ev;

    if (wcf->rules == NULL) {
        return;
    }

    wcf->zone = zone;
    ngx_http_debug_watch_conf = wcf;

    ev = &ngx_http_debug_watch_event;

    /* the log of events wants a descriptor */

    ngx_http_debug_watch_dumb.fd = (ngx_socket_t) -1;

    if (ev->timer_set) {
        ngx_del_timer(ev);
    }

    ngx_memzero(ev, sizeof(ngx_event_t));

    ev->handler = ngx_http_debug_watch_timer;
    ev->data = &ngx_http_debug_watch_dumb;
    ev->log = cycle->log;
    ev->cancelable = 1;

    ngx_add_timer(ev, 1000);
}


static void
ngx_http_debug_watch_timer(ngx_event_t *ev)
{
    uint64_t                      now, tick, second;
    ngx_uint_t                    late;
    ngx_http_debug_watch_conf_t  *wcf;

    if (ngx_exiting || ngx_terminate || ngx_quit) {

        /* another process finds the lease run out */

        return;
    }

    wcf = ngx_http_debug_watch_conf;

    if (ngx_http_debug_take_lead(wcf->kept)) {

        tick = ngx_http_debug_load(&wcf->zone->tick);

        if (ngx_http_debug_watch_list(wcf, tick) == NGX_OK
            && ngx_http_debug_watch_begin(wcf, tick, &second) == NGX_OK)
        {
            late = (second < tick);

            for ( /* void */ ; second <= tick; second++) {
                ngx_http_debug_watch_second(wcf, second, late);
            }

            ngx_http_debug_watch_poll(wcf, tick);
        }
    }

    now = ngx_http_debug_now() / 1000000;

    ngx_add_timer(ev, 1000 + NGX_HTTP_DEBUG_WATCH_AFTER - now % 1000);
}


/*
 * Takes the seconds up to TICK for this process; FIRST is the first of them.
 * A lease can be two's for a moment, when one was stopped in the middle.
 */

static ngx_int_t
ngx_http_debug_watch_begin(ngx_http_debug_watch_conf_t *wcf, uint64_t tick,
    uint64_t *first)
{
    uint64_t                        last;
    ngx_http_debug_watch_shared_t  *sh;

    sh = wcf->shm->data;
    last = ngx_http_debug_load(&sh->second);

    if (last >= tick
        || !__atomic_compare_exchange_n(&sh->second, &last, tick, 0,
                                        __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
    {
        return NGX_DECLINED;
    }

    *first = ngx_max(last + 1,
                     tick - ngx_min(tick, NGX_HTTP_DEBUG_WATCH_LATE));

    return NGX_OK;
}


/* Who is watched: those that debug_snapshots asks. */

static ngx_int_t
ngx_http_debug_watch_list(ngx_http_debug_watch_conf_t *wcf, uint64_t second)
{
    ngx_uint_t                     i, j;
    ngx_pool_t                    *pool;
    ngx_array_t                   *groups;
    ngx_http_debug_peer_t         *peer;
    ngx_http_debug_pprof_ssl_t   **ssl;
    ngx_http_debug_peer_group_t   *group;

    if (ngx_http_debug_watch_pool != NULL
        && ngx_http_debug_watch_listed + NGX_HTTP_DEBUG_WATCH_FRESH > second)
    {
        return NGX_OK;
    }

    pool = ngx_create_pool(4096, ngx_cycle->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_debug_watch_pool != NULL) {
        ngx_destroy_pool(ngx_http_debug_watch_pool);
    }

    ngx_http_debug_watch_pool = pool;
    ngx_http_debug_watch_listed = second;
    ngx_http_debug_watch_lists++;

    groups = ngx_http_debug_peers_list(pool, wcf->kept->asked->upstreams,
                                       wcf->kept->asked->pass);

    if (groups == NULL
        || ngx_array_init(&ngx_http_debug_watch_peers, pool, 16,
                          sizeof(ngx_http_debug_watch_peer_t))
           != NGX_OK)
    {
        goto failed;
    }

    group = groups->elts;
    ssl = wcf->kept->asked->ssl->elts;

    for (i = 0; i < groups->nelts; i++) {
        peer = group[i].peers.elts;

        for (j = 0; j < group[i].peers.nelts; j++) {

            if (peer[j].down) {
                continue;
            }

            if (ngx_http_debug_watch_peer(wcf, &group[i], i, &peer[j], ssl[i],
                                          pool)
                != NGX_OK)
            {
                goto failed;
            }
        }
    }

    return NGX_OK;

failed:

    ngx_destroy_pool(pool);
    ngx_http_debug_watch_pool = NULL;

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_debug_watch_peer(ngx_http_debug_watch_conf_t *wcf,
    ngx_http_debug_peer_group_t *group, ngx_uint_t number,
    ngx_http_debug_peer_t *peer, ngx_http_debug_pprof_ssl_t *ssl,
    ngx_pool_t *pool)
{
    ngx_str_t                     none;
    ngx_http_debug_entity_t      *e;
    ngx_http_debug_watch_peer_t  *p;

    p = ngx_array_push(&ngx_http_debug_watch_peers);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(p, sizeof(ngx_http_debug_watch_peer_t));

    ngx_str_null(&none);

    p->group = group->name;
    p->number = number;
    p->key = ngx_http_debug_watch_key(&group->name, &peer->name);
    p->budget = ngx_http_debug_watch_key(&group->name, &none);

    p->side.name = peer->name;
    p->side.pass = peer->pass;
    p->side.prefix = peer->prefix;
    p->side.sockaddr = peer->sockaddr;
    p->side.socklen = peer->socklen;
    p->side.ssl = ssl;

    if (group->upstream != NULL) {
        e = ngx_http_debug_zone_find(wcf->zone, NGX_HTTP_DEBUG_GROUP, 0,
                                     &group->name);

        p->side.of.entity = e ? ngx_http_debug_zone_find(wcf->zone,
                                                     NGX_HTTP_DEBUG_PEER,
                                                     e->id, &peer->name)
                              : NULL;
    }

    if (wcf->process) {
        p->side.of.process = ngx_http_debug_watch_known(wcf, p->key);
    }

    return NGX_OK;
}


/* What stands for a peer, or a group; 0 is none. */

static uint32_t
ngx_http_debug_watch_key(ngx_str_t *group, ngx_str_t *peer)
{
    uint32_t  hash;

    ngx_crc32_init(hash);

    ngx_crc32_update(&hash, group->data, group->len);
    ngx_crc32_update(&hash, (u_char *) "\n", 1);
    ngx_crc32_update(&hash, peer->data, peer->len);

    ngx_crc32_final(hash);

    return hash ? hash : 1;
}


static uint32_t
ngx_http_debug_watch_with(uint32_t key, ngx_http_debug_watch_rule_t *rule)
{
    key = key * 31 + rule->hash;

    return key ? key : 1;
}


/* Asks some processes what they use; with few peers, all of them. */

static void
ngx_http_debug_watch_poll(ngx_http_debug_watch_conf_t *wcf, uint64_t second)
{
    ngx_uint_t                    i, n;
    ngx_pool_t                   *pool;
    ngx_http_debug_watch_peer_t  *peer;
    ngx_http_debug_watch_poll_t  *poll;

    if (!wcf->process) {
        return;
    }

    n = ngx_http_debug_watch_peers.nelts;

    for (i = 0; i < ngx_min(n, NGX_HTTP_DEBUG_WATCH_ASKS); i++) {

        peer = ngx_http_debug_watch_peers.elts;
        peer += ngx_http_debug_watch_next++ % n;

        if (peer->asked || peer->quiet > second
            || peer->side.sockaddr == NULL)
        {
            continue;
        }

        pool = ngx_create_pool(2048, ngx_cycle->log);
        if (pool == NULL) {
            return;
        }

        poll = ngx_pcalloc(pool, sizeof(ngx_http_debug_watch_poll_t));
        if (poll == NULL) {
            ngx_destroy_pool(pool);
            return;
        }

        poll->ask.pool = pool;
        poll->ask.done = ngx_http_debug_watch_polled;
        poll->ask.data = poll;
        poll->list = ngx_http_debug_watch_lists;
        poll->peer = peer - (ngx_http_debug_watch_peer_t *)
                            ngx_http_debug_watch_peers.elts;

        if (ngx_http_debug_watch_process_ask(&poll->ask, peer->side.sockaddr,
                                             peer->side.socklen,
                                             &peer->side.pass, &peer->group,
                                             &peer->side.prefix,
                                             peer->side.ssl)
            == NGX_OK)
        {
            peer->asked = 1;
        }
    }
}


static void
ngx_http_debug_watch_polled(ngx_http_debug_watch_ask_t *ask)
{
    uint64_t                      second;
    ngx_http_debug_watch_peer_t  *peer;
    ngx_http_debug_watch_poll_t  *poll;

    poll = ask->data;

    if (ngx_http_debug_watch_pool == NULL
        || poll->list != ngx_http_debug_watch_lists)
    {
        /* it is of a list before */
        return;
    }

    second = ngx_http_debug_now() / 1000000000;

    peer = ngx_http_debug_watch_peers.elts;
    peer += poll->peer;

    peer->asked = 0;

    if (!ask->told) {

        /* it says nothing, or is too busy to */

        peer->quiet = second + NGX_HTTP_DEBUG_WATCH_FRESH / 2;
        return;
    }

    ngx_http_debug_watch_note(peer->side.of.process, second, ask->pid,
                              ask->rss, ask->threads);
}


static void
ngx_http_debug_watch_second(ngx_http_debug_watch_conf_t *wcf, uint64_t second,
    ngx_uint_t late)
{
    uint32_t                      key;
    ngx_uint_t                    i, j;
    ngx_http_debug_watch_met_t    met;
    ngx_http_debug_watch_peer_t  *peer;
    ngx_http_debug_watch_rule_t  *rule;

    peer = ngx_http_debug_watch_peers.elts;
    rule = wcf->rules->elts;

    for (i = 0; i < ngx_http_debug_watch_peers.nelts; i++) {

        for (j = 0; j < wcf->rules->nelts; j++) {

            key = ngx_http_debug_watch_with(peer[i].key, &rule[j]);

            if (ngx_http_debug_watch_judge(wcf, &peer[i].side.of, &rule[j],
                                           key, second, late, &met)
                != NGX_OK)
            {
                continue;
            }

            key = ngx_http_debug_watch_with(peer[i].budget, &rule[j]);

            if (ngx_http_debug_watch_budget(wcf, &rule[j], key, second)) {
                ngx_http_debug_watch_fire(wcf, &peer[i], &rule[j], &met,
                                          second);
                continue;
            }

            ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                          "incident: %V of %V: \"%V\" is met again, but its"
                          " group had as many incidents in this hour as"
                          " per_hour=%ui allows", &peer[i].side.name,
                          &peer[i].group, &rule[j].text, rule[j].per_hour);
        }
    }
}


static void
ngx_http_debug_watch_fire(ngx_http_debug_watch_conf_t *wcf,
    ngx_http_debug_watch_peer_t *peer, ngx_http_debug_watch_rule_t *rule,
    ngx_http_debug_watch_met_t *met, uint64_t second)
{
    uint64_t                      now;
    ngx_time_t                   *tp;
    ngx_http_debug_incident_t    *in;
    ngx_http_debug_watch_peer_t  *sister;

    in = ngx_http_debug_watch_take_create(wcf, rule);
    if (in == NULL) {
        return;
    }

    tp = ngx_timeofday();
    now = ngx_http_debug_now() / 1000000;

    in->met = *met;
    in->second = second;
    in->fired = (uint64_t) tp->sec * 1000 + tp->msec;
    in->crossed = in->fired - (now - met->since * 1000);
    in->due = in->fired - (now - (second + 1) * 1000);

    in->group.len = peer->group.len;
    in->group.data = ngx_pstrdup(in->pool, &peer->group);

    sister = ngx_http_debug_watch_sister(wcf, peer, rule, second);

    if (in->group.data == NULL
        || ngx_http_debug_watch_take_side(in, NGX_HTTP_DEBUG_WATCH_SICK,
                                          &peer->side)
           != NGX_OK
        || (sister != NULL
            && ngx_http_debug_watch_take_side(in,
                                              NGX_HTTP_DEBUG_WATCH_SISTER,
                                              &sister->side)
               != NGX_OK))
    {
        ngx_destroy_pool(in->pool);
        return;
    }

    ngx_http_debug_watch_take(in);
}


/* The one of its group with the median p99, of those that are well; or NULL. */

static ngx_http_debug_watch_peer_t *
ngx_http_debug_watch_sister(ngx_http_debug_watch_conf_t *wcf,
    ngx_http_debug_watch_peer_t *sick, ngx_http_debug_watch_rule_t *rule,
    uint64_t second)
{
    uint64_t                      p99;
    ngx_uint_t                    i;
    ngx_array_t                   well;
    ngx_http_debug_watch_peer_t  *peer;

    struct sister {
        uint64_t                      p99;
        ngx_http_debug_watch_peer_t  *peer;
    } *s;

    if (ngx_array_init(&well, ngx_http_debug_watch_pool, 8,
                       sizeof(struct sister))
        != NGX_OK)
    {
        return NULL;
    }

    peer = ngx_http_debug_watch_peers.elts;

    for (i = 0; i < ngx_http_debug_watch_peers.nelts; i++) {

        if (&peer[i] == sick
            || peer[i].number != sick->number
            || ngx_http_debug_watch_healthy(wcf, &peer[i], rule, second, &p99)
               != NGX_OK)
        {
            continue;
        }

        s = ngx_array_push(&well);
        if (s == NULL) {
            return NULL;
        }

        s->p99 = p99;
        s->peer = &peer[i];
    }

    if (well.nelts == 0) {
        return NULL;
    }

    ngx_qsort(well.elts, well.nelts, sizeof(struct sister),
              ngx_http_debug_watch_faster);

    s = well.elts;

    return s[well.nelts / 2].peer;
}


/* Whether PEER answers, and RULE is not met by it in the last seconds. */

static ngx_int_t
ngx_http_debug_watch_healthy(ngx_http_debug_watch_conf_t *wcf,
    ngx_http_debug_watch_peer_t *peer, ngx_http_debug_watch_rule_t *rule,
    uint64_t second, uint64_t *p99)
{
    uint32_t                      *point;
    uint64_t                       s, n, waiting;
    ngx_uint_t                     i, bad, known;
    ngx_http_debug_outcomes_t      o;
    ngx_http_debug_watch_value_t   v;

    bad = 0;
    known = 0;
    n = 0;
    *p99 = 0;

    for (i = 0; i < 10; i++) {
        s = second - i;

        if (ngx_http_debug_watch_value(wcf->zone, &peer->side.of, rule, s, &v)
            == NGX_OK)
        {
            known++;
            bad += (v.value > rule->floor);
        }

        if (peer->side.of.entity == NULL) {
            continue;
        }

        if (ngx_http_debug_state_second(wcf->zone, peer->side.of.entity, s,
                                        &o, &waiting)
            == NGX_OK
            && o.answers == 0 && (o.refused || o.timeouts || waiting))
        {
            bad++;
        }

        point = ngx_http_debug_history_point(wcf->zone, peer->side.of.entity,
                                             0, s);

        if (point != NULL && point[NGX_HTTP_DEBUG_H_P99]) {
            *p99 += point[NGX_HTTP_DEBUG_H_P99];
            n++;
        }
    }

    if (bad * 2 > known + 1) {
        return NGX_DECLINED;
    }

    /* who was not asked is well, as far as is known */

    *p99 = n ? *p99 / n : 0;

    return NGX_OK;
}


static int ngx_libc_cdecl
ngx_http_debug_watch_faster(const void *one, const void *two)
{
    uint64_t  a = *(const uint64_t *) one;
    uint64_t  b = *(const uint64_t *) two;

    return a < b ? -1 : a > b;
}
