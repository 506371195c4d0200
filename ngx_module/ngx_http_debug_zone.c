
/*
 * Shared memory: a directory of names and, for each, its cells.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_debug_zone.h"


static ngx_http_debug_zone_t *ngx_http_debug_zone_running(ngx_cycle_t *cycle,
    ngx_str_t *name);
static uint64_t ngx_http_debug_zone_layout(void);
static uint64_t ngx_http_debug_zone_hash(ngx_uint_t kind, uint32_t group,
    ngx_str_t *name);
static ngx_http_debug_entity_t *ngx_http_debug_zone_lookup(
    ngx_http_debug_zone_t *zone, ngx_uint_t kind, uint32_t group,
    ngx_str_t *name, uint64_t hash, ngx_uint_t *slot);
static ngx_uint_t ngx_http_debug_zone_lock(ngx_http_debug_zone_t *zone);
static void ngx_http_debug_zone_unlock(ngx_http_debug_zone_t *zone);
static ngx_http_debug_entity_t *ngx_http_debug_zone_insert(
    ngx_http_debug_zone_t *zone, ngx_uint_t kind, uint32_t group,
    ngx_str_t *name, uint64_t hash, ngx_uint_t cells);
static ngx_http_debug_entity_t *ngx_http_debug_zone_append(
    ngx_http_debug_zone_t *zone, ngx_uint_t kind, uint32_t group,
    ngx_str_t *name, uint64_t hash, ngx_uint_t cells);
static ngx_http_debug_entity_t *ngx_http_debug_zone_reuse(
    ngx_http_debug_zone_t *zone, ngx_uint_t kind, uint32_t group,
    ngx_str_t *name, uint64_t hash);
static uint64_t *ngx_http_debug_zone_bound(ngx_http_debug_zone_t *zone,
    ngx_uint_t kind, uint32_t group, uint64_t *most);
static ngx_http_debug_entity_t *ngx_http_debug_zone_overflow(
    ngx_http_debug_zone_t *zone, ngx_str_t *name, ngx_log_t *log);
static ngx_http_debug_active_t *ngx_http_debug_zone_lane(
    ngx_http_debug_zone_t *zone, ngx_uint_t lane, ngx_uint_t id);
static void ngx_http_debug_zone_lost(ngx_http_debug_zone_t *zone,
    ngx_uint_t lane);
static ngx_uint_t ngx_http_debug_zone_tight(ngx_http_debug_zone_t *zone);
static void ngx_http_debug_zone_retire(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e, uint64_t now);
static ngx_uint_t ngx_http_debug_zone_still(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e);
static ngx_int_t ngx_http_debug_zone_fold(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *parent, ngx_http_debug_entity_t *e);
static ngx_int_t ngx_http_debug_zone_fold_cell(ngx_http_debug_cell_t *sum,
    ngx_http_debug_cell_t *cell, ngx_uint_t tries);
static void ngx_http_debug_zone_release(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e);


ngx_int_t  ngx_http_debug_lane = -1;


ngx_http_debug_zone_t *
ngx_http_debug_zone_open(ngx_cycle_t *cycle, ngx_shm_zone_t *shm_zone,
    void *data)
{
    ngx_http_debug_zone_t  *old;

    old = data;

    if (old == NULL) {
        old = ngx_http_debug_zone_running(cycle, &shm_zone->shm.name);
    }

    if (old
        && (old->magic != NGX_HTTP_DEBUG_ZONE_MAGIC
            || old->version != NGX_HTTP_DEBUG_ZONE_VERSION
            || old->layout != ngx_http_debug_zone_layout()))
    {
        ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                      "zone \"%V\" was laid out by another version of"
                      " ngx_http_debug_module: its counters start anew",
                      &shm_zone->shm.name);
        old = NULL;
    }

    return old;
}


ngx_http_debug_zone_t *
ngx_http_debug_zone_create(ngx_log_t *log, size_t limit)
{
    void                     *p;
    size_t                    size;
    ngx_time_t               *tp;
    struct timespec           ts;
    ngx_http_debug_zone_t    *zone;
    ngx_http_debug_entity_t  *e;

    static ngx_str_t  overflow = ngx_string("overflow");
    static ngx_str_t  gone = ngx_string("gone");

    size = NGX_HTTP_DEBUG_ZONE_MAX;

    p = mmap(NULL, size, PROT_READ|PROT_WRITE,
             MAP_SHARED|MAP_ANON|MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED) {

        /* address space may be rationed: do without the reserve */

        size = limit;

        p = mmap(NULL, size, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANON, -1, 0);

        if (p == MAP_FAILED) {
            ngx_log_error(NGX_LOG_EMERG, log, ngx_errno,
                          "mmap() of %uz bytes for debug_zone failed", size);
            return NULL;
        }
    }

    /* anonymous memory is zeroed */

    zone = p;

    zone->magic = NGX_HTTP_DEBUG_ZONE_MAGIC;
    zone->version = NGX_HTTP_DEBUG_ZONE_VERSION;
    zone->layout = ngx_http_debug_zone_layout();
    zone->size = size;
    zone->limit = limit;
    zone->used = ngx_align(sizeof(ngx_http_debug_zone_t), 64);
    zone->start = ngx_http_debug_now();

    tp = ngx_timeofday();

    (void) clock_gettime(CLOCK_REALTIME, &ts);
    zone->started = (uint64_t) ts.tv_sec * 1000000000 + ts.tv_nsec;
    zone->reloaded = (uint64_t) tp->sec * 1000 + tp->msec;

    e = ngx_http_debug_zone_append(zone, NGX_HTTP_DEBUG_OVERFLOW, 0, &overflow,
                                   0, 1);
    if (e == NULL) {
        return NULL;
    }

    e->live = NGX_HTTP_DEBUG_LIVE;
    zone->overflow = (u_char *) e - (u_char *) zone;

    e = ngx_http_debug_zone_append(zone, NGX_HTTP_DEBUG_GONE, 0, &gone, 0, 1);
    if (e == NULL) {
        return NULL;
    }

    e->live = NGX_HTTP_DEBUG_LIVE;
    zone->gone = (u_char *) e - (u_char *) zone;

    return zone;
}


void
ngx_http_debug_zone_limit(ngx_http_debug_zone_t *zone, size_t limit,
    ngx_log_t *log)
{
    if (limit > zone->size) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "debug_zone stays at %uLk until nginx is started anew:"
                      " when it was, the system granted no more",
                      zone->size / 1024);
        limit = zone->size;
    }

    zone->limit = limit;
}


/*
 * After the .so was replaced and nginx reloaded, nginx takes our zone for
 * another module's and gives no data; it still is in the running cycle.
 */

static ngx_http_debug_zone_t *
ngx_http_debug_zone_running(ngx_cycle_t *cycle, ngx_str_t *name)
{
    ngx_uint_t        i;
    ngx_shm_zone_t   *shm_zone;
    ngx_list_part_t  *part;

    /* the global is the cycle that still runs */

    if (ngx_cycle == NULL || ngx_cycle == cycle) {
        return NULL;
    }

    part = (ngx_list_part_t *) &ngx_cycle->shared_memory.part;
    shm_zone = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return NULL;
            }

            part = part->next;
            shm_zone = part->elts;
            i = 0;
        }

        if (shm_zone[i].shm.name.len == name->len
            && ngx_strncmp(shm_zone[i].shm.name.data, name->data, name->len)
               == 0)
        {
            return shm_zone[i].data;
        }
    }
}


static uint64_t
ngx_http_debug_zone_layout(void)
{
    return ((uint64_t) sizeof(ngx_http_debug_zone_t) << 32)
           ^ (sizeof(ngx_http_debug_cell_t) << 16)
           ^ sizeof(ngx_http_debug_entity_t)
           ^ ((uint64_t) NGX_HTTP_DEBUG_METRICS << 56);
}


uint64_t
ngx_http_debug_zone_alloc(ngx_http_debug_zone_t *zone, size_t size,
    size_t reserve)
{
    uint64_t  used, next;

    size = ngx_align(size, 64);
    used = ngx_http_debug_load(&zone->used);

    do {
        next = used + size;

        if (next + reserve > ngx_http_debug_load(&zone->limit)) {
            return 0;
        }

    } while (!__atomic_compare_exchange_n(&zone->used, &used, next, 1,
                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED));

    return used;
}


size_t
ngx_http_debug_zone_entity_size(ngx_uint_t kind, size_t len, ngx_uint_t cells)
{
    size_t  size, cell;

    cell = ngx_align(sizeof(ngx_http_debug_cell_t), 64);

    size = ngx_align(sizeof(ngx_http_debug_entity_t)
                     + ngx_max(len, NGX_HTTP_DEBUG_NAME), 64)
           + cells * cell;

    if (kind == NGX_HTTP_DEBUG_PEER) {
        size += cell + NGX_HTTP_DEBUG_WATCH;
    }

    if (kind & (NGX_HTTP_DEBUG_GROUP|NGX_HTTP_DEBUG_GONE)) {
        size += 2 * cell;
    }

    return size;
}


ngx_uint_t
ngx_http_debug_zone_cells(ngx_int_t workers)
{
    ngx_uint_t  n;

    for (n = 1; (ngx_int_t) n < workers && n < NGX_HTTP_DEBUG_CELLS_MAX; n *= 2)
    {
        /* void */
    }

    return n;
}


static ngx_http_debug_entity_t *
ngx_http_debug_zone_append(ngx_http_debug_zone_t *zone, ngx_uint_t kind,
    uint32_t group, ngx_str_t *name, uint64_t hash, ngx_uint_t cells)
{
    size_t                    head, stride, watch, sums;
    uint64_t                  id, offset;
    ngx_time_t               *tp;
    ngx_http_debug_entity_t  *e;

    if (ngx_http_debug_load(&zone->entities) >= NGX_HTTP_DEBUG_ENTITIES) {
        return NULL;
    }

    head = ngx_align(sizeof(ngx_http_debug_entity_t)
                     + ngx_max(name->len, NGX_HTTP_DEBUG_NAME), 64);
    stride = ngx_align(sizeof(ngx_http_debug_cell_t), 64);
    watch = (kind == NGX_HTTP_DEBUG_PEER) ? NGX_HTTP_DEBUG_WATCH : 0;
    sums = (kind & (NGX_HTTP_DEBUG_GROUP|NGX_HTTP_DEBUG_GONE)) ? 2 * stride
                                                              : 0;

    offset = ngx_http_debug_zone_alloc(zone, head + cells * stride + watch
                                             + sums,
                                       0);
    if (offset == 0) {
        return NULL;
    }

    id = __atomic_fetch_add(&zone->entities, 1, __ATOMIC_RELAXED);

    if (id >= NGX_HTTP_DEBUG_ENTITIES) {
        return NULL;
    }

    e = ngx_http_debug_zone_at(zone, offset);

    tp = ngx_timeofday();

    e->kind = kind;
    e->id = id;
    e->group = group;
    e->cells = cells;
    e->stride = stride;
    e->cell = offset + head;
    e->watch = watch ? offset + head + cells * stride : 0;
    e->sum[0] = sums ? offset + head + cells * stride : 0;
    e->sum[1] = sums ? e->sum[0] + stride : 0;
    e->created = (uint64_t) tp->sec * 1000 + tp->msec;
    e->size = head - offsetof(ngx_http_debug_entity_t, name);
    e->len = name->len;
    e->key = name->len;
    ngx_memcpy(e->name, name->data, name->len);

    __atomic_store_n(&e->hash, hash, __ATOMIC_RELEASE);
    __atomic_store_n(&zone->entity[id], offset / 64, __ATOMIC_RELEASE);

    return e;
}


/*
 * Memory that was another name's, for as many cells as that had.  It is as it
 * was when it was new, but for what is written here; see _release().
 */

static ngx_http_debug_entity_t *
ngx_http_debug_zone_reuse(ngx_http_debug_zone_t *zone, ngx_uint_t kind,
    uint32_t group, ngx_str_t *name, uint64_t hash)
{
    uint64_t                 *prev;
    ngx_time_t               *tp;
    ngx_http_debug_entity_t  *e;

    for (prev = &zone->free; *prev; prev = &e->free) {
        e = ngx_http_debug_zone_at(zone, *prev);

        if (e->size >= name->len
            && (kind == NGX_HTTP_DEBUG_PEER) == (e->watch != 0)
            && (kind == NGX_HTTP_DEBUG_GROUP) == (e->sum[0] != 0))
        {
            break;
        }
    }

    if (*prev == 0) {
        return NULL;
    }

    *prev = e->free;

    tp = ngx_timeofday();

    e->free = 0;
    e->kind = kind;
    e->group = group;
    e->created = (uint64_t) tp->sec * 1000 + tp->msec;
    e->len = name->len;
    e->key = name->len;
    ngx_memcpy(e->name, name->data, name->len);

    __atomic_store_n(&e->hash, hash, __ATOMIC_RELEASE);

    return e;
}


ngx_http_debug_entity_t *
ngx_http_debug_zone_by_id(ngx_http_debug_zone_t *zone, ngx_uint_t id)
{
    uint32_t                  offset;
    ngx_http_debug_entity_t  *e;

    if (id >= NGX_HTTP_DEBUG_ENTITIES) {
        return NULL;
    }

    offset = __atomic_load_n(&zone->entity[id], __ATOMIC_ACQUIRE);
    if (offset == 0) {
        return NULL;
    }

    e = ngx_http_debug_zone_at(zone, (uint64_t) offset * 64);

    /* a process may have been killed before it published it */

    return ngx_http_debug_load(&e->live) ? e : NULL;
}


ngx_http_debug_entity_t *
ngx_http_debug_zone_find(ngx_http_debug_zone_t *zone, ngx_uint_t kind,
    uint32_t group, ngx_str_t *name)
{
    return ngx_http_debug_zone_lookup(zone, kind, group, name,
                               ngx_http_debug_zone_hash(kind, group, name),
                               NULL);
}


ngx_http_debug_entity_t *
ngx_http_debug_zone_entity(ngx_http_debug_zone_t *zone, ngx_uint_t kind,
    uint32_t group, ngx_str_t *name, ngx_uint_t cells, ngx_log_t *log)
{
    uint64_t                  hash;
    ngx_http_debug_entity_t  *e;

    hash = ngx_http_debug_zone_hash(kind, group, name);

    e = ngx_http_debug_zone_lookup(zone, kind, group, name, hash, NULL);

    if (e == NULL && ngx_http_debug_zone_lock(zone)) {
        e = ngx_http_debug_zone_insert(zone, kind, group, name, hash, cells);
        ngx_http_debug_zone_unlock(zone);
    }

    return e ? e : ngx_http_debug_zone_overflow(zone, name, log);
}


static uint64_t
ngx_http_debug_zone_hash(ngx_uint_t kind, uint32_t group, ngx_str_t *name)
{
    /* never 0, which is nobody's */

    return (ngx_murmur_hash2(name->data, name->len)
            ^ ((uint64_t) kind << 48) ^ ((uint64_t) group * 0x9e3779b1))
           | ((uint64_t) 1 << 63);
}


/*
 * SLOT, if not NULL, becomes where the name may be inserted, or
 * NGX_HTTP_DEBUG_SLOTS.
 */

static ngx_http_debug_entity_t *
ngx_http_debug_zone_lookup(ngx_http_debug_zone_t *zone, ngx_uint_t kind,
    uint32_t group, ngx_str_t *name, uint64_t hash, ngx_uint_t *slot)
{
    uint32_t                  id;
    ngx_uint_t                i, n, free;
    ngx_http_debug_entity_t  *e;

    free = NGX_HTTP_DEBUG_SLOTS;
    e = NULL;

    for (n = 0; n < NGX_HTTP_DEBUG_SLOTS; n++) {

        i = (hash + n) % NGX_HTTP_DEBUG_SLOTS;
        id = __atomic_load_n(&zone->slot[i], __ATOMIC_ACQUIRE);

        if (id == 0 || id == NGX_HTTP_DEBUG_LEFT) {

            if (free == NGX_HTTP_DEBUG_SLOTS) {
                free = i;
            }

            if (id == 0) {
                break;
            }

            continue;
        }

        e = ngx_http_debug_zone_at(zone, (uint64_t) zone->entity[id - 1] * 64);

        if (__atomic_load_n(&e->hash, __ATOMIC_ACQUIRE) == hash
            && e->kind == kind
            && e->group == group
            && e->key == name->len
            && ngx_memcmp(e->name, name->data, name->len) == 0)
        {
            /* its process may have been killed before it could say so */

            if (ngx_http_debug_load(&e->live) == NGX_HTTP_DEBUG_NONE) {
                __atomic_store_n(&e->live, NGX_HTTP_DEBUG_LIVE,
                                 __ATOMIC_RELEASE);
            }

            return e;
        }
    }

    if (slot) {
        *slot = free;
    }

    return NULL;
}


/*
 * A dead owner's is taken over: whatever it had written is not published, or
 * complete.  Returns 0 if that took too long for a request.
 */

static ngx_uint_t
ngx_http_debug_zone_lock(ngx_http_debug_zone_t *zone)
{
    int64_t     pid;
    uint64_t    begun;
    ngx_uint_t  n;

    begun = 0;

    for (n = 0; /* void */ ; n++) {

        pid = 0;

        if (__atomic_compare_exchange_n(&zone->lock, &pid, ngx_pid, 0,
                                        __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        {
            return 1;
        }

        if (n % 64 != 63) {
            ngx_cpu_pause();
            continue;
        }

        if (pid == ngx_pid
            || (kill(pid, 0) == -1 && ngx_errno == ESRCH))
        {
            if (__atomic_compare_exchange_n(&zone->lock, &pid, ngx_pid, 0,
                                            __ATOMIC_ACQUIRE,
                                            __ATOMIC_RELAXED))
            {
                return 1;
            }
        }

        if (begun == 0) {
            begun = ngx_http_debug_now();

        } else if (ngx_http_debug_now() - begun > NGX_HTTP_DEBUG_WAIT) {
            return 0;
        }

        ngx_sched_yield();
    }
}


static void
ngx_http_debug_zone_unlock(ngx_http_debug_zone_t *zone)
{
    __atomic_store_n(&zone->lock, 0, __ATOMIC_RELEASE);
}


/* Under the lock. */

static ngx_http_debug_entity_t *
ngx_http_debug_zone_insert(ngx_http_debug_zone_t *zone, ngx_uint_t kind,
    uint32_t group, ngx_str_t *name, uint64_t hash, ngx_uint_t cells)
{
    uint64_t                  most, *bound;
    ngx_uint_t                slot;
    ngx_http_debug_entity_t  *e;

    e = ngx_http_debug_zone_lookup(zone, kind, group, name, hash, &slot);

    if (e) {

        /* another process was first */

        return e;
    }

    bound = ngx_http_debug_zone_bound(zone, kind, group, &most);

    if (slot == NGX_HTTP_DEBUG_SLOTS
        || (bound && (*bound >= most || name->len > NGX_HTTP_DEBUG_HOST_LEN)))
    {
        return NULL;
    }

    e = ngx_http_debug_zone_reuse(zone, kind, group, name, hash);

    if (e == NULL) {
        e = ngx_http_debug_zone_append(zone, kind, group, name, hash, cells);
    }

    if (e == NULL) {
        return NULL;
    }

    if (bound) {
        ngx_http_debug_add(bound, 1);
    }

    __atomic_store_n(&zone->slot[slot], e->id + 1, __ATOMIC_RELEASE);
    __atomic_store_n(&e->live, NGX_HTTP_DEBUG_LIVE, __ATOMIC_RELEASE);

    return e;
}


/* What counts those that clients can choose, who may be MOST; else NULL. */

static uint64_t *
ngx_http_debug_zone_bound(ngx_http_debug_zone_t *zone, ngx_uint_t kind,
    uint32_t group, uint64_t *most)
{
    ngx_http_debug_entity_t  *e;

    if (kind == NGX_HTTP_DEBUG_HOST) {
        *most = NGX_HTTP_DEBUG_HOSTS;
        return &zone->hosts;
    }

    if (kind != NGX_HTTP_DEBUG_PEER) {
        return NULL;
    }

    e = ngx_http_debug_zone_by_id(zone, group);

    if (e == NULL || e->kind != NGX_HTTP_DEBUG_HOST) {
        return NULL;
    }

    *most = NGX_HTTP_DEBUG_HOST_PEERS;
    return &zone->host_peers;
}


static ngx_http_debug_entity_t *
ngx_http_debug_zone_overflow(ngx_http_debug_zone_t *zone, ngx_str_t *name,
    ngx_log_t *log)
{
    size_t    len;
    uint64_t  warned, generation;

    ngx_http_debug_add(&zone->dropped, 1);

    generation = ngx_http_debug_load(&zone->generation);
    warned = ngx_http_debug_load(&zone->warned);

    if (warned != generation
        && __atomic_compare_exchange_n(&zone->warned, &warned, generation, 0,
                                       __ATOMIC_RELAXED, __ATOMIC_RELAXED))
    {
        len = ngx_min(name->len, 128);

        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "no room for \"%*s\" in zone \"ngx_http_debug\":"
                      " %uLk of %uLk used, %uL names, %uL of %d variable"
                      " hosts with %uL of %d peers; it is counted as"
                      " \"overflow\"",
                      len, name->data,
                      ngx_http_debug_load(&zone->used) / 1024,
                      ngx_http_debug_load(&zone->limit) / 1024,
                      ngx_http_debug_load(&zone->entities),
                      ngx_http_debug_load(&zone->hosts),
                      NGX_HTTP_DEBUG_HOSTS,
                      ngx_http_debug_load(&zone->host_peers),
                      NGX_HTTP_DEBUG_HOST_PEERS);
    }

    return ngx_http_debug_zone_at(zone, zone->overflow);
}


ngx_http_debug_cell_t *
ngx_http_debug_zone_again(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e, ngx_log_t *log)
{
    uint64_t   offset, none;
    ngx_str_t  name;

    offset = __atomic_load_n(&e->again, __ATOMIC_ACQUIRE);

    if (offset == 0) {
        offset = ngx_http_debug_zone_alloc(zone, sizeof(ngx_http_debug_cell_t),
                                           0);
        if (offset == 0) {
            name.len = e->len;
            name.data = e->name;

            e = ngx_http_debug_zone_overflow(zone, &name, log);

            return ngx_http_debug_zone_at(zone, e->cell);
        }

        none = 0;

        if (!__atomic_compare_exchange_n(&e->again, &none, offset, 0,
                                         __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        {
            /* another process was first; its is the one */
            offset = none;
        }
    }

    return ngx_http_debug_zone_at(zone, offset);
}


void
ngx_http_debug_zone_place(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e, ngx_uint_t lane, ngx_http_debug_place_t *place)
{
    place->entity = e;
    place->cell = ngx_http_debug_zone_cell(zone, e, lane);
    place->active = ngx_http_debug_zone_lane(zone, lane, e->id);
}


static ngx_http_debug_active_t *
ngx_http_debug_zone_lane(ngx_http_debug_zone_t *zone, ngx_uint_t lane,
    ngx_uint_t id)
{
    uint32_t                 *page, none, new;
    ngx_http_debug_active_t  *active;

    if (lane > NGX_HTTP_DEBUG_LANES) {

        /* a process that records nothing */

        return &zone->nowhere;
    }

    page = &zone->lane[lane].page[id / NGX_HTTP_DEBUG_PAGE];
    none = __atomic_load_n(page, __ATOMIC_ACQUIRE);

    if (none == 0) {
        new = ngx_http_debug_zone_alloc(zone, NGX_HTTP_DEBUG_PAGE
                                           * sizeof(ngx_http_debug_active_t),
                                        0)
              / 64;

        if (new == 0) {
            return &zone->nowhere;
        }

        /* the last lane is of many processes */

        if (__atomic_compare_exchange_n(page, &none, new, 0,
                                        __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        {
            none = new;
        }
    }

    active = ngx_http_debug_zone_at(zone, (uint64_t) none * 64);

    return &active[id % NGX_HTTP_DEBUG_PAGE];
}


int64_t
ngx_http_debug_zone_active(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e, int64_t *waiting)
{
    int64_t                   n, headed;
    uint32_t                  page;
    ngx_uint_t                i, last;
    ngx_http_debug_active_t  *active;

    n = 0;
    headed = 0;
    last = ngx_http_debug_load(&zone->lanes);

    for (i = 0; i <= NGX_HTTP_DEBUG_LANES; i++) {

        if (i == last) {

            /* the one of those that found none is always there */

            i = NGX_HTTP_DEBUG_LANES;
        }

        page = __atomic_load_n(&zone->lane[i].page[e->id
                                                   / NGX_HTTP_DEBUG_PAGE],
                               __ATOMIC_ACQUIRE);
        if (page) {
            active = ngx_http_debug_zone_at(zone, (uint64_t) page * 64);
            active += e->id % NGX_HTTP_DEBUG_PAGE;

            n += ngx_http_debug_load(&active->active);
            headed += ngx_http_debug_load(&active->headed);
        }
    }

    if (waiting) {
        *waiting = ngx_max(n - headed, 0);
    }

    return ngx_max(n, 0);
}


void
ngx_http_debug_zone_enter(ngx_http_debug_zone_t *zone, uint64_t generation)
{
    int64_t     pid, *lane;
    uint64_t    last;
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_DEBUG_LANES; i++) {
        lane = &zone->lane[i].pid;
        pid = ngx_http_debug_load(lane);

        if (pid == ngx_pid && ngx_http_debug_lane == (ngx_int_t) i) {

            /* a single process has loaded another configuration */

            zone->lane[i].generation = generation;
            return;
        }

        /* a dead process may have had this one's id */

        if (pid != 0 && pid != ngx_pid
            && (kill(pid, 0) == 0 || ngx_errno != ESRCH))
        {
            continue;
        }

        if (__atomic_compare_exchange_n(lane, &pid, ngx_pid, 0,
                                        __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        {
            if (pid != 0) {
                ngx_http_debug_zone_lost(zone, i);
            }

            zone->lane[i].generation = generation;
            ngx_http_debug_lane = i;

            last = ngx_http_debug_load(&zone->lanes);

            while (last <= i
                   && !__atomic_compare_exchange_n(&zone->lanes, &last, i + 1,
                                                   1, __ATOMIC_RELAXED,
                                                   __ATOMIC_RELAXED))
            {
                /* void */
            }

            return;
        }
    }

    /* what such a one has under way when it is killed, stays under way */

    ngx_http_debug_lane = NGX_HTTP_DEBUG_LANES;
}


void
ngx_http_debug_zone_leave(ngx_http_debug_zone_t *zone)
{
    ngx_uint_t  lane;

    if (ngx_http_debug_lane == -1) {
        return;
    }

    lane = ngx_http_debug_lane;
    ngx_http_debug_lane = -1;

    if (ngx_http_debug_load(&zone->lane[lane].pid) != ngx_pid) {
        return;
    }

    ngx_http_debug_zone_lost(zone, lane);

    __atomic_store_n(&zone->lane[lane].pid, 0, __ATOMIC_RELEASE);
}


void
ngx_http_debug_zone_settle(ngx_http_debug_zone_t *zone)
{
    int64_t     pid, *lane;
    ngx_uint_t  i, last;

    last = ngx_http_debug_load(&zone->lanes);

    for (i = 0; i < last; i++) {
        lane = &zone->lane[i].pid;
        pid = ngx_http_debug_load(lane);

        if (pid == 0 || pid == ngx_pid
            || kill(pid, 0) == 0 || ngx_errno != ESRCH)
        {
            continue;
        }

        if (__atomic_compare_exchange_n(lane, &pid, ngx_pid, 0,
                                        __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        {
            ngx_http_debug_zone_lost(zone, i);
            __atomic_store_n(lane, 0, __ATOMIC_RELEASE);
        }
    }
}


void
ngx_http_debug_zone_slots(ngx_http_debug_zone_t *zone, ngx_uint_t lane,
    ngx_uint_t n)
{
    uint64_t                offset;
    ngx_http_debug_lane_t  *l;

    l = &zone->lane[lane];

    if (l->slot || lane >= NGX_HTTP_DEBUG_LANES) {

        /* of a process before this one; the last lane is of many processes */

        return;
    }

    for ( /* void */ ; n >= 16; n /= 2) {
        offset = ngx_http_debug_zone_alloc(zone,
                                           n * sizeof(ngx_http_debug_slot_t),
                                           zone->reserve);
        if (offset) {
            __atomic_store_n(&l->slots, n, __ATOMIC_RELAXED);
            __atomic_store_n(&l->slot, offset / 64, __ATOMIC_RELEASE);
            return;
        }
    }
}


/* The lane's process is gone, or is going: nobody else writes here. */

static void
ngx_http_debug_zone_lost(ngx_http_debug_zone_t *zone, ngx_uint_t lane)
{
    int32_t                   n;
    uint32_t                  page;
    ngx_uint_t                i, p;
    ngx_http_debug_cell_t    *cell;
    ngx_http_debug_slot_t    *slot;
    ngx_http_debug_lane_t    *l;
    ngx_http_debug_active_t  *active;
    ngx_http_debug_entity_t  *e;

    l = &zone->lane[lane];

    if (l->slot) {
        slot = ngx_http_debug_zone_at(zone, (uint64_t) l->slot * 64);

        for (i = 0; i < ngx_http_debug_load(&l->top); i++) {

            /* it may have been killed while it wrote */

            __atomic_store_n(&slot[i].begun, 0, __ATOMIC_RELEASE);
            __atomic_store_n(&slot[i].seq, (slot[i].seq + 2) & ~(uint32_t) 1,
                             __ATOMIC_RELEASE);
        }
    }

    __atomic_store_n(&l->left, 0, __ATOMIC_RELAXED);

    for (p = 0; p < NGX_HTTP_DEBUG_ENTITIES / NGX_HTTP_DEBUG_PAGE; p++) {

        page = ngx_http_debug_load(&zone->lane[lane].page[p]);
        if (page == 0) {
            continue;
        }

        active = ngx_http_debug_zone_at(zone, (uint64_t) page * 64);

        for (i = 0; i < NGX_HTTP_DEBUG_PAGE; i++) {

            __atomic_store_n(&active[i].headed, 0, __ATOMIC_RELAXED);
            n = __atomic_exchange_n(&active[i].active, 0, __ATOMIC_RELAXED);

            e = ngx_http_debug_zone_by_id(zone, p * NGX_HTTP_DEBUG_PAGE + i);

            if (n > 0 && e) {
                cell = ngx_http_debug_zone_cell(zone, e, lane);
                ngx_http_debug_add(&cell->value[NGX_HTTP_DEBUG_FAIL_LOST], n);
            }
        }
    }
}


ngx_uint_t
ngx_http_debug_zone_shown(ngx_http_debug_entity_t *e)
{
    ngx_time_t  *tp;

    if (ngx_http_debug_load(&e->live) != NGX_HTTP_DEBUG_LIVE) {
        return 0;
    }

    if (ngx_http_debug_load(&e->removed) == 0) {
        return 1;
    }

    tp = ngx_timeofday();

    return ngx_http_debug_load(&e->removed) + NGX_HTTP_DEBUG_SHOWN
           > (uint64_t) tp->sec * 1000 + tp->msec;
}


ngx_uint_t
ngx_http_debug_zone_named(ngx_http_debug_entity_t *e)
{
    return (e->marks & NGX_HTTP_DEBUG_NAMED)
           && ngx_http_debug_load(&e->removed) == 0;
}


ngx_uint_t
ngx_http_debug_zone_without(ngx_http_debug_zone_t *zone)
{
    ngx_time_t               *tp;
    ngx_uint_t                i, n, last;
    ngx_http_debug_entity_t  *e;

    n = 0;
    tp = ngx_timeofday();
    last = ngx_min(ngx_http_debug_load(&zone->entities),
                   NGX_HTTP_DEBUG_ENTITIES);

    for (i = 0; i < last; i++) {
        e = ngx_http_debug_zone_by_id(zone, i);

        /* it is made at the end of the first second */

        n += (e && e->history == 0 && ngx_http_debug_zone_named(e)
              && e->created + 3000 < (uint64_t) tp->sec * 1000 + tp->msec);
    }

    return n;
}


ngx_uint_t
ngx_http_debug_zone_clean(ngx_http_debug_zone_t *zone, uint64_t now)
{
    uint64_t                  generation;
    ngx_uint_t                i, last, n, tight;
    ngx_http_debug_entity_t  *e, *parent;

    n = 0;
    generation = ngx_http_debug_load(&zone->generation);
    tight = ngx_http_debug_zone_tight(zone);
    last = ngx_min(ngx_http_debug_load(&zone->entities),
                   NGX_HTTP_DEBUG_ENTITIES);

    for (i = 0; i < last; i++) {
        e = ngx_http_debug_zone_by_id(zone, i);

        if (e == NULL || !(e->marks & NGX_HTTP_DEBUG_NAMED)) {
            continue;
        }

        if (e->live == NGX_HTTP_DEBUG_LIVE) {

            if (ngx_http_debug_load(&e->generation) >= generation
                && (!(e->marks & NGX_HTTP_DEBUG_DYNAMIC)
                    || now < e->seen + NGX_HTTP_DEBUG_GRACE))
            {
                __atomic_store_n(&e->removed, 0, __ATOMIC_RELAXED);
                continue;
            }

            if (e->removed == 0) {
                __atomic_store_n(&e->removed, now, __ATOMIC_RELAXED);
            }

            if (now > e->removed + (tight ? 0 : NGX_HTTP_DEBUG_SHOWN)) {
                ngx_http_debug_zone_retire(zone, e, now);
            }

            continue;
        }

        /* who had just found the name has begun to count by now */

        if (now < e->retired + NGX_HTTP_DEBUG_GRACE
            || !ngx_http_debug_zone_still(zone, e))
        {
            continue;
        }

        parent = NULL;

        if (e->kind == NGX_HTTP_DEBUG_PEER) {
            parent = ngx_http_debug_zone_by_id(zone, e->group);

        } else if (e->kind == NGX_HTTP_DEBUG_SERVER) {
            parent = ngx_http_debug_zone_at(zone, zone->gone);
        }

        if (parent && ngx_http_debug_zone_fold(zone, parent, e) != NGX_OK) {
            continue;
        }

        ngx_http_debug_zone_release(zone, e);
        n++;
    }

    return n;
}


/* Is there so little room that what is removed must go? */

static ngx_uint_t
ngx_http_debug_zone_tight(ngx_http_debug_zone_t *zone)
{
    return ngx_http_debug_load(&zone->missing)
           || ngx_http_debug_load(&zone->used) + zone->reserve / 2
              > ngx_http_debug_load(&zone->limit);
}


/* No name leads here from now on. */

static void
ngx_http_debug_zone_retire(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e, uint64_t now)
{
    uint32_t    id;
    ngx_uint_t  i, n;

    if (!ngx_http_debug_zone_lock(zone)) {
        return;
    }

    if (ngx_http_debug_load(&e->removed)) {

        __atomic_store_n(&e->key, (uint32_t) -1, __ATOMIC_RELEASE);

        for (n = 0; n < NGX_HTTP_DEBUG_SLOTS; n++) {
            i = (e->hash + n) % NGX_HTTP_DEBUG_SLOTS;
            id = ngx_http_debug_load(&zone->slot[i]);

            if (id == e->id + 1) {
                __atomic_store_n(&zone->slot[i], NGX_HTTP_DEBUG_LEFT,
                                 __ATOMIC_RELEASE);
                break;
            }

            if (id == 0) {
                break;
            }
        }

        e->retired = now;
        __atomic_store_n(&e->live, NGX_HTTP_DEBUG_RETIRED, __ATOMIC_RELEASE);
    }

    ngx_http_debug_zone_unlock(zone);
}


/* Nothing is under way there, nor can anything begin. */

static ngx_uint_t
ngx_http_debug_zone_still(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e)
{
    ngx_uint_t                i, last;
    ngx_http_debug_lane_t    *lane;
    ngx_http_debug_entity_t  *peer;

    last = ngx_http_debug_load(&zone->lanes);

    for (i = 0; i < last; i++) {
        lane = &zone->lane[i];

        if (ngx_http_debug_load(&lane->pid)
            && ngx_http_debug_load(&lane->generation) <= e->generation
            && !(e->marks & NGX_HTTP_DEBUG_DYNAMIC))
        {
            return 0;
        }
    }

    if (ngx_http_debug_zone_active(zone, e, NULL)) {
        return 0;
    }

    if (e->kind != NGX_HTTP_DEBUG_GROUP) {
        return 1;
    }

    /* a group goes after its peers */

    last = ngx_min(ngx_http_debug_load(&zone->entities),
                   NGX_HTTP_DEBUG_ENTITIES);

    for (i = 0; i < last; i++) {
        peer = ngx_http_debug_zone_by_id(zone, i);

        if (peer && peer->kind == NGX_HTTP_DEBUG_PEER && peer->group == e->id)
        {
            return 0;
        }
    }

    return 1;
}


/*
 * Adds the counts of E to the sum of PARENT that is not valid now, makes that
 * the valid one, and excludes E in the same moment.
 */

static ngx_int_t
ngx_http_debug_zone_fold(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *parent, ngx_http_debug_entity_t *e)
{
    uint64_t                fold;
    ngx_uint_t              i, id, other;
    ngx_http_debug_cell_t  *sum, *was;

    fold = ngx_http_debug_load(&parent->fold);

    id = ngx_http_debug_folded(fold);

    if (id == e->id + 1) {

        /* who did it could not release E, or was killed */

        return NGX_OK;
    }

    if (id && ngx_http_debug_zone_by_id(zone, id - 1)) {

        /* one at a time */

        return NGX_DECLINED;
    }

    other = !ngx_http_debug_valid(fold);

    sum = ngx_http_debug_zone_at(zone, parent->sum[other]);
    was = ngx_http_debug_zone_at(zone, parent->sum[!other]);

    ngx_memcpy(sum, was, sizeof(ngx_http_debug_cell_t));

    for (i = 0; i < e->cells; i++) {
        if (ngx_http_debug_zone_fold_cell(sum,
                                      ngx_http_debug_zone_cell(zone, e, i),
                                      e->kind == NGX_HTTP_DEBUG_PEER)
            != NGX_OK)
        {
            return NGX_DECLINED;
        }
    }

    fold = (((fold >> NGX_HTTP_DEBUG_FOLD) + 1) << NGX_HTTP_DEBUG_FOLD)
           | (other << (NGX_HTTP_DEBUG_FOLD - 1)) | (e->id + 1);

    __atomic_store_n(&parent->fold, fold, __ATOMIC_RELEASE);

    return NGX_OK;
}


/* With TRIES: what a reader derives for a peer's cell is written out. */

static ngx_int_t
ngx_http_debug_zone_fold_cell(ngx_http_debug_cell_t *sum,
    ngx_http_debug_cell_t *cell, ngx_uint_t tries)
{
    uint64_t    n, answers, failures;
    ngx_uint_t  i, k;

    answers = cell->value[NGX_HTTP_DEBUG_UPGRADES];
    failures = 0;

    for (i = 0; i < NGX_HTTP_DEBUG_CODES && cell->code[i]; i++) {

        n = cell->count[i];
        answers += (cell->code[i] < NGX_HTTP_DEBUG_GRPC) ? n : 0;

        for (k = 0; k < NGX_HTTP_DEBUG_CODES; k++) {
            if (sum->code[k] == 0 || sum->code[k] == cell->code[i]) {
                break;
            }
        }

        if (k == NGX_HTTP_DEBUG_CODES) {

            /* a count of its own would become one of a class */

            return NGX_DECLINED;
        }

        sum->code[k] = cell->code[i];
        sum->count[k] += n;
    }

    for (i = NGX_HTTP_DEBUG_CODES;
         i < NGX_HTTP_DEBUG_CODES + NGX_HTTP_DEBUG_CLASSES;
         i++)
    {
        answers += cell->count[i];
        sum->count[i] += cell->count[i];
    }

    for (i = 0; i < NGX_HTTP_DEBUG_METRICS; i++) {
        sum->value[i] += cell->value[i];

        if (i >= NGX_HTTP_DEBUG_FAIL_FIRST && i <= NGX_HTTP_DEBUG_FAIL_LAST) {
            failures += cell->value[i];
        }
    }

    if (tries) {
        sum->value[NGX_HTTP_DEBUG_CONNECTS] += answers;
        sum->value[NGX_HTTP_DEBUG_HEADERS] += answers;
        sum->value[NGX_HTTP_DEBUG_TRIES] += answers + failures;
    }

    sum->max = ngx_max(sum->max, cell->max);
    sum->floor = ngx_max(sum->floor, cell->floor);

    for (i = 0; i < NGX_HTTP_DEBUG_BUCKETS; i++) {
        sum->bucket[i] += cell->bucket[i];
    }

    return NGX_OK;
}


/* E, which nobody knows any more, becomes as new, and free. */

static void
ngx_http_debug_zone_release(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e)
{
    uint64_t                  fold;
    ngx_uint_t                i;
    ngx_http_debug_entity_t  *parent;

    if (!ngx_http_debug_zone_lock(zone)) {
        return;
    }

    __atomic_store_n(&e->live, NGX_HTTP_DEBUG_NONE, __ATOMIC_RELEASE);

    parent = (e->kind == NGX_HTTP_DEBUG_SERVER)
             ? ngx_http_debug_zone_at(zone, zone->gone)
             : ngx_http_debug_zone_by_id(zone, e->group);

    e->hash = 0;

    ngx_memzero(ngx_http_debug_zone_at(zone, e->cell), e->cells * e->stride);

    if (e->again) {
        ngx_memzero(ngx_http_debug_zone_at(zone, e->again),
                    sizeof(ngx_http_debug_cell_t));
    }

    if (e->watch) {
        ngx_memzero(ngx_http_debug_zone_at(zone, e->watch),
                    NGX_HTTP_DEBUG_WATCH);
    }

    for (i = 0; i < 2; i++) {
        if (e->sum[i]) {
            ngx_memzero(ngx_http_debug_zone_at(zone, e->sum[i]),
                        sizeof(ngx_http_debug_cell_t));
        }
    }

    if (e->history) {
        ngx_memzero(ngx_http_debug_zone_at(zone, e->history), e->rings);
    }

    e->generation = 0;
    e->seen = 0;
    e->removed = 0;
    e->retired = 0;
    e->failed = 0;
    e->failure = 0;
    ngx_memzero(&e->process, sizeof(ngx_http_debug_process_t));
    e->weight = 0;
    e->marks = 0;
    e->fold = 0;

    /* readers need not exclude it any longer: it is nowhere */

    if (parent) {
        fold = ngx_http_debug_load(&parent->fold);

        if (ngx_http_debug_folded(fold) == e->id + 1) {
            __atomic_store_n(&parent->fold,
                             fold + ((uint64_t) 1 << NGX_HTTP_DEBUG_FOLD)
                             - (e->id + 1),
                             __ATOMIC_RELEASE);
        }
    }

    e->free = zone->free;
    zone->free = (u_char *) e - (u_char *) zone;

    ngx_http_debug_zone_unlock(zone);
}
