
/*
 * The per-second rings: what happened when, of each server, group and peer.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include "ngx_http_debug_histogram.h"
#include "ngx_http_debug_history.h"
#include "ngx_http_debug_snapshot.h"


/* a gap of more seconds than this stays a gap */
#define NGX_HTTP_DEBUG_GAP  10


/* entities of one piece; some 100 us of work */
#define NGX_HTTP_DEBUG_HISTORY_PIECE  32


/* The sums at the end of the last point, then the rings. */

typedef struct {
    uint64_t   last;           /* second of that point; 0: none yet */
    uint64_t   classes[NGX_HTTP_DEBUG_CLASSES];
    uint64_t   failed;
    uint64_t   bucket[NGX_HTTP_DEBUG_RINGS][NGX_HTTP_DEBUG_BUCKETS];
    uint32_t   ring[1];
} ngx_http_debug_history_t;


typedef struct {
    uint64_t   classes[NGX_HTTP_DEBUG_CLASSES];
    uint64_t   value[NGX_HTTP_DEBUG_METRICS];
    uint64_t   failed;
    uint64_t   active;
    uint64_t   bucket[NGX_HTTP_DEBUG_BUCKETS];
} ngx_http_debug_sums_t;


/* The second that this process fills. */

typedef struct {
    ngx_http_debug_zone_t      *zone;
    ngx_pool_t                 *pool;    /* NULL: none */
    ngx_http_debug_peers_of_t  *peers;
    uint64_t                    second;
    ngx_uint_t                  id;      /* the next entity */
} ngx_http_debug_filling_t;


static void ngx_http_debug_history_timer(ngx_event_t *ev);
static void ngx_http_debug_history_posted(ngx_event_t *ev);
static void ngx_http_debug_history_entity(ngx_http_debug_zone_t *zone,
    ngx_http_debug_peers_of_t *peers, ngx_http_debug_entity_t *e,
    uint64_t second);
static void ngx_http_debug_history_coarse(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e, ngx_uint_t ring, uint64_t second,
    ngx_http_debug_sums_t *sums);
static void ngx_http_debug_history_sum(ngx_http_debug_zone_t *zone,
    ngx_http_debug_peers_of_t *peers, ngx_http_debug_entity_t *e,
    ngx_http_debug_sums_t *sums);
static void ngx_http_debug_history_cell(ngx_http_debug_cell_t *cell,
    ngx_http_debug_sums_t *sums);
static void ngx_http_debug_history_percentiles(uint64_t *before,
    uint64_t *now, uint32_t *value);
static uint32_t *ngx_http_debug_history_at(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e, ngx_uint_t ring, uint64_t second);


#define NGX_HTTP_DEBUG_RING0  0
#define NGX_HTTP_DEBUG_RING1                                                  \
    (NGX_HTTP_DEBUG_RING0 + 900 * (1 + NGX_HTTP_DEBUG_H_FINE))
#define NGX_HTTP_DEBUG_RING2                                                  \
    (NGX_HTTP_DEBUG_RING1 + 720 * (1 + NGX_HTTP_DEBUG_H_COARSE))
#define NGX_HTTP_DEBUG_RING3                                                  \
    (NGX_HTTP_DEBUG_RING2 + 1440 * (1 + NGX_HTTP_DEBUG_H_COARSE))


ngx_http_debug_ring_t  ngx_http_debug_rings[NGX_HTTP_DEBUG_RINGS] = {
    {  1,  900, NGX_HTTP_DEBUG_H_FINE, NGX_HTTP_DEBUG_RING0 },
    { 10,  720, NGX_HTTP_DEBUG_H_COARSE, NGX_HTTP_DEBUG_RING1 },
    { 60, 1440, NGX_HTTP_DEBUG_H_COARSE, NGX_HTTP_DEBUG_RING2 }
};


ngx_str_t  ngx_http_debug_history_names[NGX_HTTP_DEBUG_H_COARSE] = {
    ngx_string("2xx"),
    ngx_string("3xx"),
    ngx_string("4xx"),
    ngx_string("5xx"),
    ngx_string("failed"),
    ngx_string("active"),
    ngx_string("p50"),
    ngx_string("p90"),
    ngx_string("p99"),
    ngx_string("count_min"),
    ngx_string("count_max"),
    ngx_string("p99_min"),
    ngx_string("p99_max")
};


static ngx_event_t               ngx_http_debug_history_event;
static ngx_event_t               ngx_http_debug_history_next;
static void                    (*ngx_http_debug_history_tick)(void *data);
static void                     *ngx_http_debug_history_tick_data;
static ngx_connection_t          ngx_http_debug_history_dumb;
static ngx_http_debug_filling_t  ngx_http_debug_history_filling;


void
ngx_http_debug_history_start(ngx_http_debug_zone_t *zone, ngx_cycle_t *cycle,
    void (*tick)(void *data), void *data)
{
    ngx_event_t  *ev;

    ev = &ngx_http_debug_history_event;

    /* the log of events wants a descriptor */

    ngx_http_debug_history_dumb.fd = (ngx_socket_t) -1;
    ngx_http_debug_history_dumb.data = zone;

    ngx_http_debug_history_tick = tick;
    ngx_http_debug_history_tick_data = data;

    ngx_memzero(ev, sizeof(ngx_event_t));

    ev->handler = ngx_http_debug_history_timer;
    ev->data = &ngx_http_debug_history_dumb;
    ev->log = cycle->log;
    ev->cancelable = 1;

    ngx_add_timer(ev, 1000 - ngx_current_msec % 1000);

    ngx_http_debug_history_next.handler = ngx_http_debug_history_posted;
    ngx_http_debug_history_next.log = cycle->log;
}


static void
ngx_http_debug_history_timer(ngx_event_t *ev)
{
    uint64_t                now;
    ngx_connection_t       *c;
    ngx_http_debug_zone_t  *zone;

    c = ev->data;
    zone = c->data;

    ngx_http_debug_history_tick(ngx_http_debug_history_tick_data);

    /* the second that has just ended */

    now = ngx_http_debug_now() / 1000000;

    if (!ngx_exiting && !ngx_terminate && !ngx_quit
        && ngx_http_debug_history_begin(zone, now / 1000 - 1) == NGX_OK)
    {
        ngx_http_debug_history_posted(&ngx_http_debug_history_next);
    }

    /* 20 ms late, since nginx's own clock may lag and come a second early */

    ngx_add_timer(ev, 1020 - now % 1000);
}


static void
ngx_http_debug_history_posted(ngx_event_t *ev)
{
    if (ngx_http_debug_history_step() == NGX_AGAIN) {
        ngx_post_event(ev, &ngx_posted_next_events);
    }
}


ngx_int_t
ngx_http_debug_history_begin(ngx_http_debug_zone_t *zone, uint64_t second)
{
    uint64_t                   last;
    ngx_http_debug_filling_t  *f;

    f = &ngx_http_debug_history_filling;

    /* the one before is over long since */

    while (f->pool && ngx_http_debug_history_step() == NGX_AGAIN) {
        /* void */
    }

    last = ngx_http_debug_load(&zone->tick);

    if (last >= second
        || !__atomic_compare_exchange_n(&zone->tick, &last, second, 0,
                                        __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
    {
        return NGX_DECLINED;
    }

    ngx_http_debug_zone_settle(zone);

    f->pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, ngx_cycle->log);
    if (f->pool == NULL) {
        return NGX_ERROR;
    }

    f->zone = zone;
    f->second = second;
    f->id = 0;
    f->peers = ngx_http_debug_snapshot_peers(f->pool, zone);

    return NGX_OK;
}


ngx_int_t
ngx_http_debug_history_step(void)
{
    ngx_uint_t                 n;
    ngx_http_debug_entity_t   *e;
    ngx_http_debug_filling_t  *f;

    f = &ngx_http_debug_history_filling;

    if (f->pool == NULL) {
        return NGX_OK;
    }

    for (n = 0; f->peers && f->id < f->peers->ids; f->id++) {

        if (n++ == NGX_HTTP_DEBUG_HISTORY_PIECE) {
            return NGX_AGAIN;
        }

        e = ngx_http_debug_zone_by_id(f->zone, f->id);

        if (e && e->live == NGX_HTTP_DEBUG_LIVE
            && e->kind != NGX_HTTP_DEBUG_GONE)
        {
            ngx_http_debug_history_entity(f->zone, f->peers, e, f->second);
        }
    }

    ngx_destroy_pool(f->pool);
    f->pool = NULL;

    return NGX_OK;
}


void
ngx_http_debug_history_taken(ngx_str_t *group, ngx_str_t *peer,
    ngx_str_t *kind)
{
    uint64_t                 n;
    ngx_time_t              *tp;
    ngx_http_debug_zone_t   *zone;
    ngx_http_debug_taken_t  *t;

    zone = ngx_http_debug_history_dumb.data;

    if (zone == NULL
        || group->len > NGX_HTTP_DEBUG_TAKEN_NAME
        || peer->len > NGX_HTTP_DEBUG_TAKEN_NAME
        || kind->len > NGX_HTTP_DEBUG_TAKEN_NAME)
    {
        return;
    }

    n = __atomic_fetch_add(&zone->ntaken, 1, __ATOMIC_RELAXED);
    t = &zone->taken[n % NGX_HTTP_DEBUG_TAKEN];

    __atomic_store_n(&t->time, 0, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);

    t->group_len = group->len;
    t->peer_len = peer->len;
    t->kind_len = kind->len;
    ngx_memcpy(t->group, group->data, group->len);
    ngx_memcpy(t->peer, peer->data, peer->len);
    ngx_memcpy(t->kind, kind->data, kind->len);

    tp = ngx_timeofday();

    __atomic_store_n(&t->time, (uint64_t) tp->sec * 1000 + tp->msec,
                     __ATOMIC_RELEASE);
}


ngx_int_t
ngx_http_debug_history_get_taken(ngx_http_debug_zone_t *zone, uint64_t n,
    ngx_http_debug_taken_t *taken)
{
    uint64_t                 time;
    ngx_http_debug_taken_t  *t;

    t = &zone->taken[n % NGX_HTTP_DEBUG_TAKEN];

    time = __atomic_load_n(&t->time, __ATOMIC_ACQUIRE);

    *taken = *t;

    __atomic_thread_fence(__ATOMIC_ACQUIRE);

    /* two that write the same slot can mix their names, not break them */

    if (time == 0
        || time != ngx_http_debug_load(&t->time)
        || taken->group_len > NGX_HTTP_DEBUG_TAKEN_NAME
        || taken->peer_len > NGX_HTTP_DEBUG_TAKEN_NAME
        || taken->kind_len > NGX_HTTP_DEBUG_TAKEN_NAME)
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


size_t
ngx_http_debug_history_size(void)
{
    return offsetof(ngx_http_debug_history_t, ring)
           + NGX_HTTP_DEBUG_RING3 * sizeof(uint32_t);
}


static void
ngx_http_debug_history_entity(ngx_http_debug_zone_t *zone,
    ngx_http_debug_peers_of_t *peers, ngx_http_debug_entity_t *e,
    uint64_t second)
{
    uint32_t                  *point, value[NGX_HTTP_DEBUG_H_FINE];
    uint64_t                   offset, s, gap;
    ngx_time_t                *tp;
    ngx_uint_t                 i;
    ngx_http_debug_sums_t      sums;
    ngx_http_debug_history_t  *h;
    ngx_http_debug_outcomes_t  outcomes;

    ngx_http_debug_history_sum(zone, peers, e, &sums);

    if (e->kind == NGX_HTTP_DEBUG_PEER) {
        ngx_http_debug_state_outcomes(&outcomes, sums.classes, sums.value);
        ngx_http_debug_state_note(zone, e, second, &outcomes);
    }

    if (e->history == 0) {
        offset = ngx_http_debug_zone_alloc(zone, ngx_http_debug_history_size(),
                                         ngx_http_debug_load(&zone->reserve));
        if (offset == 0) {
            return;
        }

        e->rings = ngx_http_debug_history_size();
        e->history = offset;
    }

    h = ngx_http_debug_zone_at(zone, e->history);

    if (h->last == 0) {

        /* of a newcomer all is known, of others only what comes from now on */

        tp = ngx_timeofday();

        if (e->created + 2000 >= (uint64_t) tp->sec * 1000 + tp->msec) {
            h->last = second - 1;
        }
    }

    /* who filled the last one may have died before it came to this entity */

    gap = second - h->last;
    h->last = second;

    if (gap > NGX_HTTP_DEBUG_GAP) {

        /* what came before cannot be told to a second */

        ngx_memcpy(h->classes, sums.classes, sizeof(h->classes));
        h->failed = sums.failed;

        for (i = 0; i < NGX_HTTP_DEBUG_RINGS; i++) {
            ngx_memcpy(h->bucket[i], sums.bucket, sizeof(sums.bucket));
        }

        return;
    }

    /* the seconds of a short gap share what came meanwhile */

    for (i = 0; i < 4; i++) {
        value[i] = (sums.classes[i + 2] - h->classes[i + 2]) / gap;
        h->classes[i + 2] += value[i] * gap;
    }

    value[NGX_HTTP_DEBUG_H_FAILED] = (sums.failed - h->failed) / gap;
    h->failed += value[NGX_HTTP_DEBUG_H_FAILED] * gap;

    value[NGX_HTTP_DEBUG_H_ACTIVE] = sums.active;

    ngx_http_debug_history_percentiles(h->bucket[0], sums.bucket,
                                       &value[NGX_HTTP_DEBUG_H_P50]);

    for (s = second - gap + 1; s <= second; s++) {
        point = ngx_http_debug_history_at(zone, e, 0, s);

        ngx_memcpy(&point[1], value, sizeof(value));
        __atomic_store_n(&point[0], (uint32_t) s, __ATOMIC_RELEASE);
    }

    for (i = 1; i < NGX_HTTP_DEBUG_RINGS; i++) {

        /* the last whole step that ends with this second or in the gap */

        s = (second + 1) / ngx_http_debug_rings[i].step
            * ngx_http_debug_rings[i].step - 1;

        if (s + gap > second) {
            ngx_http_debug_history_coarse(zone, e, i, s, &sums);
        }
    }
}


static void
ngx_http_debug_history_coarse(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e, ngx_uint_t ring, uint64_t second,
    ngx_http_debug_sums_t *sums)
{
    uint32_t                  *point, *fine, value[NGX_HTTP_DEBUG_H_COARSE];
    uint32_t                   count;
    uint64_t                   s, step, seen;
    ngx_uint_t                 i;
    ngx_http_debug_history_t  *h;

    h = ngx_http_debug_zone_at(zone, e->history);
    step = ngx_http_debug_rings[ring].step;

    ngx_memzero(value, sizeof(value));
    value[NGX_HTTP_DEBUG_H_COUNT_MIN] = (uint32_t) -1;

    seen = 0;

    for (s = second - step + 1; s <= second; s++) {

        fine = ngx_http_debug_history_point(zone, e, 0, s);
        if (fine == NULL) {
            continue;
        }

        seen++;
        count = 0;

        for (i = NGX_HTTP_DEBUG_H_2XX; i <= NGX_HTTP_DEBUG_H_FAILED; i++) {
            value[i] += fine[i];
            count += fine[i];
        }

        value[NGX_HTTP_DEBUG_H_ACTIVE]
            = ngx_max(value[NGX_HTTP_DEBUG_H_ACTIVE],
                      fine[NGX_HTTP_DEBUG_H_ACTIVE]);

        value[NGX_HTTP_DEBUG_H_COUNT_MIN]
            = ngx_min(value[NGX_HTTP_DEBUG_H_COUNT_MIN], count);
        value[NGX_HTTP_DEBUG_H_COUNT_MAX]
            = ngx_max(value[NGX_HTTP_DEBUG_H_COUNT_MAX], count);

        if (fine[NGX_HTTP_DEBUG_H_P99] == 0) {
            continue;
        }

        if (value[NGX_HTTP_DEBUG_H_P99_MIN] == 0
            || value[NGX_HTTP_DEBUG_H_P99_MIN] > fine[NGX_HTTP_DEBUG_H_P99])
        {
            value[NGX_HTTP_DEBUG_H_P99_MIN] = fine[NGX_HTTP_DEBUG_H_P99];
        }

        value[NGX_HTTP_DEBUG_H_P99_MAX]
            = ngx_max(value[NGX_HTTP_DEBUG_H_P99_MAX],
                      fine[NGX_HTTP_DEBUG_H_P99]);
    }

    ngx_http_debug_history_percentiles(h->bucket[ring], sums->bucket,
                                       &value[NGX_HTTP_DEBUG_H_P50]);

    if (seen == 0) {
        return;
    }

    point = ngx_http_debug_history_at(zone, e, ring, second);

    ngx_memcpy(&point[1], value, sizeof(value));
    __atomic_store_n(&point[0], (uint32_t) second, __ATOMIC_RELEASE);
}


static void
ngx_http_debug_history_sum(ngx_http_debug_zone_t *zone,
    ngx_http_debug_peers_of_t *peers, ngx_http_debug_entity_t *e,
    ngx_http_debug_sums_t *sums)
{
    ngx_uint_t               i;
    ngx_http_debug_cell_t   *cell;
    ngx_http_debug_cells_t   cells;

    do {
        ngx_memzero(sums, sizeof(ngx_http_debug_sums_t));

        ngx_http_debug_snapshot_cells(&cells, zone, peers, e);

        for (cell = ngx_http_debug_snapshot_next(&cells);
             cell;
             cell = ngx_http_debug_snapshot_next(&cells))
        {
            if (cells.first) {
                sums->active += ngx_http_debug_zone_active(zone, cells.e,
                                                           NULL);
            }

            ngx_http_debug_history_cell(cell, sums);
        }

    } while (!ngx_http_debug_snapshot_whole(&cells));

    for (i = NGX_HTTP_DEBUG_FAIL_FIRST; i <= NGX_HTTP_DEBUG_FAIL_LAST; i++) {
        sums->failed += sums->value[i];
    }
}


static void
ngx_http_debug_history_cell(ngx_http_debug_cell_t *cell,
    ngx_http_debug_sums_t *sums)
{
    uint32_t    code;
    uint64_t    n;
    ngx_uint_t  i, last;

    for (i = 0; i < NGX_HTTP_DEBUG_CODES; i++) {

        code = ngx_http_debug_load(&cell->code[i]);
        if (code == 0) {
            break;
        }

        if (code >= NGX_HTTP_DEBUG_GRPC) {
            continue;
        }

        n = ngx_http_debug_load(&cell->count[i]);
        code /= 100;

        sums->classes[code < NGX_HTTP_DEBUG_CLASSES ? code : 0] += n;
    }

    for (i = 0; i < NGX_HTTP_DEBUG_CLASSES; i++) {
        sums->classes[i]
            += ngx_http_debug_load(&cell->count[NGX_HTTP_DEBUG_CODES + i]);
    }

    for (i = 0; i < NGX_HTTP_DEBUG_METRICS; i++) {
        sums->value[i] += ngx_http_debug_load(&cell->value[i]);
    }

    if (ngx_http_debug_load(&cell->floor) == 0) {
        return;
    }

    i = ngx_http_debug_histogram_bucket(~ngx_http_debug_load(&cell->floor));
    last = ngx_http_debug_histogram_bucket(ngx_http_debug_load(&cell->max));

    for ( /* void */ ; i <= last; i++) {
        sums->bucket[i] += ngx_http_debug_load(&cell->bucket[i]);
    }
}


/* P50, P90 and P99 of what came since BEFORE, which becomes NOW. */

static void
ngx_http_debug_history_percentiles(uint64_t *before, uint64_t *now,
    uint32_t *value)
{
    uint64_t    n, bucket[NGX_HTTP_DEBUG_BUCKETS];
    ngx_uint_t  i;

    static ngx_uint_t  parts[] = { 500, 900, 990 };

    n = 0;

    for (i = 0; i < NGX_HTTP_DEBUG_BUCKETS; i++) {
        bucket[i] = now[i] - before[i];
        n += bucket[i];
    }

    if (n == 0) {
        value[0] = value[1] = value[2] = 0;
        return;
    }

    ngx_memcpy(before, now, sizeof(bucket));

    for (i = 0; i < 3; i++) {
        value[i] = (ngx_http_debug_snapshot_percentile(bucket, n, parts[i])
                    + 999) / 1000;
    }
}


static uint32_t *
ngx_http_debug_history_at(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e, ngx_uint_t ring, uint64_t second)
{
    ngx_http_debug_ring_t     *rg;
    ngx_http_debug_history_t  *h;

    h = ngx_http_debug_zone_at(zone, e->history);
    rg = &ngx_http_debug_rings[ring];

    return h->ring + rg->offset
           + second / rg->step % rg->points * (1 + rg->values);
}


uint32_t *
ngx_http_debug_history_point(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e, ngx_uint_t ring, uint64_t second)
{
    uint32_t  *point;

    if (e->history == 0) {
        return NULL;
    }

    point = ngx_http_debug_history_at(zone, e, ring, second);

    if (__atomic_load_n(&point[0], __ATOMIC_ACQUIRE) != (uint32_t) second) {
        return NULL;
    }

    return point + 1;
}
