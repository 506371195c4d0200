
/*
 * What the peers' processes say of themselves.
 *
 * Format: docs/profiles.md, "Process charts"; read by jansson, at most
 * NGX_HTTP_DEBUG_PROCESS_TEXT bytes.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include <jansson.h>
#include "ngx_http_debug_fetch.h"
#include "ngx_http_debug_peers.h"
#include "ngx_http_debug_pprof_request.h"
#include "ngx_http_debug_process.h"


#define NGX_HTTP_DEBUG_PROCESS_EVERY    10       /* s */
#define NGX_HTTP_DEBUG_PROCESS_SCRAPED  300      /* s: for so long somebody
                                                    is taken to scrape */
#define NGX_HTTP_DEBUG_PROCESS_SILENT   60       /* s between two tries of who
                                                    answers nothing, at most */
#define NGX_HTTP_DEBUG_PROCESS_FOREIGN  600      /* s, of who answers as one
                                                    that never will */
#define NGX_HTTP_DEBUG_PROCESS_TIMEOUT  1000     /* ms of silence */
#define NGX_HTTP_DEBUG_PROCESS_ROUND    3000     /* ms of a round */
#define NGX_HTTP_DEBUG_PROCESS_ATONCE   32       /* connections at a time */
#define NGX_HTTP_DEBUG_PROCESS_TEXT     4096     /* bytes of an answer */


/* the order in which peers are asked that are to be asked now */

enum {
    NGX_HTTP_DEBUG_PROCESS_TOLD = 0,
    NGX_HTTP_DEBUG_PROCESS_NEW,
    NGX_HTTP_DEBUG_PROCESS_FAILED,
    NGX_HTTP_DEBUG_PROCESS_ORDERS
};


typedef struct {
    ngx_http_debug_entity_t         *entity;
    ngx_http_debug_peer_group_t     *group;
    ngx_http_debug_peer_t           *peer;
    ngx_http_debug_pprof_ssl_t      *ssl;
} ngx_http_debug_process_item_t;


/* one exchange, in a pool of its own */

typedef struct {
    ngx_http_debug_fetch_t           fetch;
    ngx_http_debug_process_item_t   *item;
    ngx_queue_t                      queue;
    size_t                           len;
    u_char                           text[NGX_HTTP_DEBUG_PROCESS_TEXT];
} ngx_http_debug_process_ask_t;


/* those that are asked in one second */

typedef struct {
    ngx_pool_t                      *pool;
    ngx_http_debug_process_conf_t   *conf;
    ngx_array_t                      items[NGX_HTTP_DEBUG_PROCESS_ORDERS];
    ngx_uint_t                       order;
    ngx_uint_t                       next;
    ngx_uint_t                       left;      /* that may yet be asked */
    ngx_queue_t                      asking;
    ngx_uint_t                       nasking;
    ngx_event_t                      timer;
    ngx_connection_t                 dumb;
} ngx_http_debug_process_round_t;


static ngx_uint_t ngx_http_debug_process_turn(
    ngx_http_debug_process_conf_t *pcf, uint64_t now);
static ngx_int_t ngx_http_debug_process_due(
    ngx_http_debug_process_round_t *round, uint64_t now);
static ngx_int_t ngx_http_debug_process_due_group(
    ngx_http_debug_process_round_t *round, ngx_http_debug_peer_group_t *group,
    ngx_http_debug_pprof_ssl_t *ssl, uint64_t now);
static void ngx_http_debug_process_more(void);
static ngx_http_debug_process_item_t *ngx_http_debug_process_next(
    ngx_http_debug_process_round_t *round);
static ngx_int_t ngx_http_debug_process_ask(
    ngx_http_debug_process_item_t *item);
static ngx_int_t ngx_http_debug_process_header(ngx_http_debug_fetch_t *f);
static ngx_int_t ngx_http_debug_process_body(ngx_http_debug_fetch_t *f,
    ngx_chain_t *in);
static void ngx_http_debug_process_end(ngx_http_debug_fetch_t *f);
static void ngx_http_debug_process_result(ngx_http_debug_process_ask_t *ask);
static ngx_int_t ngx_http_debug_process_read(
    ngx_http_debug_process_ask_t *ask, uint64_t *value);
static uint64_t ngx_http_debug_process_number(json_t *object, char *name,
    ngx_uint_t seconds);
static void ngx_http_debug_process_close(ngx_http_debug_process_ask_t *ask);
static void ngx_http_debug_process_timer(ngx_event_t *ev);
static void ngx_http_debug_process_over(void);


/* of this process; NULL: nobody is being asked */

static ngx_http_debug_process_round_t  *ngx_http_debug_process_round;


void
ngx_http_debug_process_tick(ngx_http_debug_process_conf_t *pcf)
{
    uint64_t                         now;
    ngx_pool_t                      *pool;
    ngx_http_debug_process_round_t  *round;

    if (ngx_exiting || ngx_quit || ngx_terminate) {
        ngx_http_debug_process_over();
        return;
    }

    now = ngx_http_debug_now() / 1000000000;

    if (ngx_http_debug_process_round != NULL
        || !ngx_http_debug_process_turn(pcf, now))
    {
        return;
    }

    pool = ngx_create_pool(4096, ngx_cycle->log);
    if (pool == NULL) {
        return;
    }

    round = ngx_pcalloc(pool, sizeof(ngx_http_debug_process_round_t));

    if (round == NULL) {
        ngx_destroy_pool(pool);
        return;
    }

    round->pool = pool;
    round->conf = pcf;

    ngx_queue_init(&round->asking);

    if (ngx_http_debug_process_due(round, now) != NGX_OK) {
        ngx_destroy_pool(pool);
        return;
    }

    /* the log of events wants a descriptor */

    round->dumb.fd = (ngx_socket_t) -1;

    round->timer.handler = ngx_http_debug_process_timer;
    round->timer.data = &round->dumb;
    round->timer.log = ngx_cycle->log;
    round->timer.cancelable = 1;

    ngx_add_timer(&round->timer, NGX_HTTP_DEBUG_PROCESS_ROUND);

    ngx_http_debug_process_round = round;
    ngx_http_debug_process_more();
}


/* Is it for this process to ask, in this second? */

static ngx_uint_t
ngx_http_debug_process_turn(ngx_http_debug_process_conf_t *pcf, uint64_t now)
{
    uint64_t                last;
    ngx_http_debug_zone_t  *zone;

    zone = pcf->zone;

    if (!pcf->enable
        || zone == NULL
        || pcf->asked.locations == NULL
        || pcf->generation != ngx_http_debug_load(&zone->generation))
    {
        return 0;
    }

    last = ngx_http_debug_load(&zone->scraped);

    if (last == 0 || now > last + NGX_HTTP_DEBUG_PROCESS_SCRAPED) {
        return 0;
    }

    /* clients come first */

    if (ngx_cycle->free_connection_n < ngx_cycle->connection_n / 4) {
        return 0;
    }

    last = ngx_http_debug_load(&zone->asked);

    return last < now
           && __atomic_compare_exchange_n(&zone->asked, &last, now, 0,
                                          __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}


/* Lists who is to be asked.  NGX_OK, NGX_DECLINED: nobody, or NGX_ERROR. */

static ngx_int_t
ngx_http_debug_process_due(ngx_http_debug_process_round_t *round,
    uint64_t now)
{
    ngx_uint_t                     i, n;
    ngx_array_t                   *groups;
    ngx_http_debug_asked_t        *asked;
    ngx_http_debug_peer_group_t   *group;
    ngx_http_debug_pprof_ssl_t   **ssl;

    asked = &round->conf->asked;

    groups = ngx_http_debug_peers_list(round->pool, asked->upstreams,
                                       asked->pass);
    if (groups == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < NGX_HTTP_DEBUG_PROCESS_ORDERS; i++) {
        if (ngx_array_init(&round->items[i], round->pool, 16,
                           sizeof(ngx_http_debug_process_item_t))
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    n = 0;
    group = groups->elts;
    ssl = asked->ssl->elts;

    for (i = 0; i < groups->nelts; i++) {
        n += group[i].peers.nelts;

        if (ngx_http_debug_process_due_group(round, &group[i], ssl[i], now)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    /* all of them within six seconds, and not all at once */

    round->left = NGX_HTTP_DEBUG_PROCESS_ATONCE + n / 6;

    for (i = 0, n = 0; i < NGX_HTTP_DEBUG_PROCESS_ORDERS; i++) {
        n += round->items[i].nelts;
    }

    return n ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
ngx_http_debug_process_due_group(ngx_http_debug_process_round_t *round,
    ngx_http_debug_peer_group_t *group, ngx_http_debug_pprof_ssl_t *ssl,
    uint64_t now)
{
    ngx_uint_t                      i, order;
    ngx_http_debug_zone_t          *zone;
    ngx_http_debug_peer_t          *peer;
    ngx_http_debug_entity_t        *e, *parent;
    ngx_http_debug_process_item_t  *item;

    zone = round->conf->zone;
    parent = ngx_http_debug_zone_find(zone, NGX_HTTP_DEBUG_GROUP, 0,
                                      &group->name);
    if (parent == NULL) {
        return NGX_OK;
    }

    peer = group->peers.elts;

    for (i = 0; i < group->peers.nelts; i++) {

        if (peer[i].down || peer[i].sockaddr == NULL) {
            continue;
        }

        e = ngx_http_debug_zone_find(zone, NGX_HTTP_DEBUG_PEER, parent->id,
                                     &peer[i].name);
        if (e == NULL) {
            continue;
        }

        if (e->process.generation != round->conf->generation) {

            /* it may be asked in another way now */

            e->process.generation = round->conf->generation;
            e->process.failed = 0;

        } else if (now < ngx_http_debug_load(&e->process.next)) {
            continue;
        }

        order = e->process.failed ? NGX_HTTP_DEBUG_PROCESS_FAILED
                : e->process.time ? NGX_HTTP_DEBUG_PROCESS_TOLD
                                  : NGX_HTTP_DEBUG_PROCESS_NEW;

        item = ngx_array_push(&round->items[order]);
        if (item == NULL) {
            return NGX_ERROR;
        }

        item->entity = e;
        item->group = group;
        item->peer = &peer[i];
        item->ssl = ssl;
    }

    return NGX_OK;
}


/* Asks as many as may be asked at once; ends the round after the last. */

static void
ngx_http_debug_process_more(void)
{
    ngx_http_debug_process_item_t   *item;
    ngx_http_debug_process_round_t  *round;

    round = ngx_http_debug_process_round;

    while (round->nasking < NGX_HTTP_DEBUG_PROCESS_ATONCE) {

        item = ngx_http_debug_process_next(round);

        if (item == NULL || ngx_http_debug_process_ask(item) != NGX_OK) {
            break;
        }
    }

    if (round->nasking == 0) {
        ngx_http_debug_process_over();
    }
}


static ngx_http_debug_process_item_t *
ngx_http_debug_process_next(ngx_http_debug_process_round_t *round)
{
    ngx_array_t                    *items;
    ngx_http_debug_process_item_t  *item;

    if (round->left == 0) {
        return NULL;
    }

    for ( /* void */ ; round->order < NGX_HTTP_DEBUG_PROCESS_ORDERS;
         round->order++)
    {
        items = &round->items[round->order];

        if (round->next < items->nelts) {
            round->left--;
            item = items->elts;
            return &item[round->next++];
        }

        round->next = 0;
    }

    return NULL;
}


/* NGX_OK: the result is there, or will be; NGX_ERROR: no memory. */

static ngx_int_t
ngx_http_debug_process_ask(ngx_http_debug_process_item_t *item)
{
    ngx_str_t                        path;
    ngx_pool_t                      *pool;
    ngx_http_debug_fetch_t          *f;
    ngx_http_debug_process_ask_t    *ask;
    ngx_http_debug_process_round_t  *round;

    static ngx_str_t  rest = ngx_string("charts/data?last=1");

    round = ngx_http_debug_process_round;

    pool = ngx_create_pool(1024, ngx_cycle->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    ask = ngx_pcalloc(pool, sizeof(ngx_http_debug_process_ask_t));
    if (ask == NULL) {
        goto failed;
    }

    ask->item = item;

    f = &ask->fetch;

    ngx_http_debug_pprof_request_aim(f, item->ssl, &item->group->name,
                                     item->peer);

    f->pool = pool;
    f->log = ngx_cycle->log;
    f->level = NGX_LOG_INFO;
    f->data = ask;
    f->connect_timeout = NGX_HTTP_DEBUG_PROCESS_TIMEOUT;
    f->timeout = NGX_HTTP_DEBUG_PROCESS_TIMEOUT;
    f->header = ngx_http_debug_process_header;
    f->body = ngx_http_debug_process_body;
    f->end = ngx_http_debug_process_end;

    if (ngx_http_debug_pprof_request_beside(pool, &item->peer->prefix, &rest,
                                            &path)
        != NGX_OK
        || ngx_http_debug_pprof_request_small(f, "GET", &path, NULL) != NGX_OK)
    {
        goto failed;
    }

    __atomic_store_n(&item->entity->process.next,
                     ngx_http_debug_now() / 1000000000
                     + NGX_HTTP_DEBUG_PROCESS_EVERY,
                     __ATOMIC_RELAXED);

    ngx_queue_insert_tail(&round->asking, &ask->queue);
    round->nasking++;

    if (ngx_http_debug_fetch_start(f) != NGX_OK) {
        ngx_http_debug_process_result(ask);
        ngx_http_debug_process_close(ask);
    }

    return NGX_OK;

failed:

    ngx_destroy_pool(pool);

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_debug_process_header(ngx_http_debug_fetch_t *f)
{
    return NGX_OK;
}


static ngx_int_t
ngx_http_debug_process_body(ngx_http_debug_fetch_t *f, ngx_chain_t *in)
{
    size_t                         len;
    ngx_http_debug_process_ask_t  *ask;

    ask = f->data;

    for ( /* void */ ; in; in = in->next) {
        len = in->buf->last - in->buf->pos;

        if (f->status != NGX_HTTP_OK
            || len > NGX_HTTP_DEBUG_PROCESS_TEXT - ask->len)
        {
            return NGX_DONE;
        }

        ngx_memcpy(ask->text + ask->len, in->buf->pos, len);
        ask->len += len;
    }

    return NGX_OK;
}


static void
ngx_http_debug_process_end(ngx_http_debug_fetch_t *f)
{
    ngx_http_debug_process_ask_t  *ask;

    ask = f->data;

    ngx_http_debug_process_result(ask);
    ngx_http_debug_process_close(ask);
    ngx_http_debug_process_more();
}


/* Keeps what was told, and decides when it is to be asked again. */

static void
ngx_http_debug_process_result(ngx_http_debug_process_ask_t *ask)
{
    uint64_t                   now, wait, most;
    uint64_t                   value[NGX_HTTP_DEBUG_PROCESS_VALUES];
    ngx_uint_t                 i;
    ngx_str_t                 *name;
    ngx_http_debug_entity_t   *e;
    ngx_http_debug_process_t  *process;

    e = ask->item->entity;
    name = &ask->item->peer->name;

    if (e->len != name->len || ngx_memcmp(e->name, name->data, e->len) != 0) {

        /* another's room since */

        return;
    }

    process = &e->process;
    now = ngx_http_debug_now();

    if (ngx_http_debug_process_read(ask, value) == NGX_OK) {

        for (i = 0; i < NGX_HTTP_DEBUG_PROCESS_VALUES; i++) {
            __atomic_store_n(&process->value[i], value[i], __ATOMIC_RELAXED);
        }

        __atomic_store_n(&process->time, now, __ATOMIC_RELEASE);
        process->failed = 0;
        return;
    }

    wait = (uint64_t) NGX_HTTP_DEBUG_PROCESS_EVERY
           << ngx_min(process->failed, 6);

    process->failed++;

    most = (ask->fetch.result == NGX_HTTP_DEBUG_FETCH_OK)
           ? NGX_HTTP_DEBUG_PROCESS_FOREIGN : NGX_HTTP_DEBUG_PROCESS_SILENT;

    wait = ngx_min(wait, most);

    __atomic_store_n(&process->next, now / 1000000000 + wait,
                     __ATOMIC_RELAXED);
}


/* NGX_DECLINED: it says nothing of its process. */

static ngx_int_t
ngx_http_debug_process_read(ngx_http_debug_process_ask_t *ask,
    uint64_t *value)
{
    json_t      *root, *points, *point;
    ngx_uint_t   i, known;

    static struct {
        char        *name;
        ngx_uint_t   seconds;
    } names[NGX_HTTP_DEBUG_PROCESS_VALUES] = {
        { "Rss", 0 },
        { "HeapInUse", 0 },
        { "CpuSeconds", 1 },
        { "Threads", 0 },
        { "Fds", 0 }
    };

    if (ask->fetch.result != NGX_HTTP_DEBUG_FETCH_OK
        || ask->fetch.status != NGX_HTTP_OK
        || ask->fetch.left)
    {
        return NGX_DECLINED;
    }

    root = json_loadb((char *) ask->text, ask->len, 0, NULL);
    points = json_object_get(root, "Process");
    point = json_array_get(points, json_array_size(points) - 1);

    known = 0;

    for (i = 0; i < NGX_HTTP_DEBUG_PROCESS_VALUES; i++) {
        value[i] = ngx_http_debug_process_number(point, names[i].name,
                                                 names[i].seconds);
        known += (value[i] != NGX_HTTP_DEBUG_PROCESS_UNKNOWN);
    }

    json_decref(root);

    return known ? NGX_OK : NGX_DECLINED;
}


/* A number that is no number of its kind is none. */

static uint64_t
ngx_http_debug_process_number(json_t *object, char *name, ngx_uint_t seconds)
{
    double   n;
    json_t  *value;

    value = json_object_get(object, name);

    if (!seconds) {
        return (json_is_integer(value) && json_integer_value(value) >= 0)
               ? (uint64_t) json_integer_value(value)
               : NGX_HTTP_DEBUG_PROCESS_UNKNOWN;
    }

    n = json_number_value(value);

    /* below three centuries, which are what 63 bits of ns can say */

    return (json_is_number(value) && n >= 0 && n < 9e9)
           ? (uint64_t) (n * 1e9 + 0.5) : NGX_HTTP_DEBUG_PROCESS_UNKNOWN;
}


static void
ngx_http_debug_process_close(ngx_http_debug_process_ask_t *ask)
{
    ngx_queue_remove(&ask->queue);
    ngx_http_debug_process_round->nasking--;

    ngx_http_debug_fetch_close(&ask->fetch);
    ngx_destroy_pool(ask->fetch.pool);
}


/* Who drips is not waited for. */

static void
ngx_http_debug_process_timer(ngx_event_t *ev)
{
    ngx_http_debug_process_over();
}


/* Ends what is under way. */

static void
ngx_http_debug_process_over(void)
{
    ngx_queue_t                     *q;
    ngx_http_debug_process_ask_t    *ask;
    ngx_http_debug_process_round_t  *round;

    round = ngx_http_debug_process_round;

    if (round == NULL) {
        return;
    }

    while (!ngx_queue_empty(&round->asking)) {
        q = ngx_queue_head(&round->asking);
        ask = ngx_queue_data(q, ngx_http_debug_process_ask_t, queue);

        ask->fetch.result = NGX_HTTP_DEBUG_FETCH_TIMEOUT;

        ngx_http_debug_process_result(ask);
        ngx_http_debug_process_close(ask);
    }

    if (round->timer.timer_set) {
        ngx_del_timer(&round->timer);
    }

    ngx_http_debug_process_round = NULL;
    ngx_destroy_pool(round->pool);
}
