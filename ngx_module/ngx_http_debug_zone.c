
/*
 * Shared memory: a directory of names and, for each, its cells.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_debug_zone.h"


static ngx_http_debug_zone_t *ngx_http_debug_zone_create(ngx_log_t *log,
    size_t limit);
static ngx_http_debug_zone_t *ngx_http_debug_zone_find(ngx_cycle_t *cycle,
    ngx_str_t *name);
static uint64_t ngx_http_debug_zone_layout(void);
static ngx_http_debug_entity_t *ngx_http_debug_zone_append(
    ngx_http_debug_zone_t *zone, ngx_uint_t kind, uint32_t group,
    ngx_str_t *name, uint64_t hash, ngx_uint_t cells);
static uint64_t *ngx_http_debug_zone_bound(ngx_http_debug_zone_t *zone,
    ngx_uint_t kind, uint32_t group, uint64_t *most);
static ngx_http_debug_entity_t *ngx_http_debug_zone_overflow(
    ngx_http_debug_zone_t *zone, ngx_str_t *name, ngx_log_t *log);
static size_t ngx_http_debug_zone_cell_size(ngx_uint_t cells);
static void ngx_http_debug_zone_lost(ngx_http_debug_zone_t *zone,
    ngx_uint_t lane);


ngx_int_t  ngx_http_debug_lane = -1;


ngx_http_debug_zone_t *
ngx_http_debug_zone_open(ngx_cycle_t *cycle, ngx_shm_zone_t *shm_zone,
    void *data, size_t limit)
{
    ngx_http_debug_zone_t  *old;

    old = data;

    if (old == NULL) {
        old = ngx_http_debug_zone_find(cycle, &shm_zone->shm.name);
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

    return old ? old : ngx_http_debug_zone_create(cycle->log, limit);
}


static ngx_http_debug_zone_t *
ngx_http_debug_zone_create(ngx_log_t *log, size_t limit)
{
    void                     *p;
    size_t                    size;
    ngx_time_t               *tp;
    struct timespec           ts;
    ngx_http_debug_zone_t    *zone;
    ngx_http_debug_entity_t  *e;

    static ngx_str_t  overflow = ngx_string("overflow");

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

    e->live = 1;
    zone->overflow = (u_char *) e - (u_char *) zone;

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
ngx_http_debug_zone_find(ngx_cycle_t *cycle, ngx_str_t *name)
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
    size_t  size;

    size = ngx_align(sizeof(ngx_http_debug_entity_t) + len, 64)
           + cells * ngx_http_debug_zone_cell_size(cells);

    if (kind == NGX_HTTP_DEBUG_PEER) {
        size += ngx_align(sizeof(ngx_http_debug_cell_t), 64);
    }

    return size;
}


/* of an entity that has CELLS of them */

static size_t
ngx_http_debug_zone_cell_size(ngx_uint_t cells)
{
    return ngx_align(offsetof(ngx_http_debug_cell_t, active)
                     + NGX_HTTP_DEBUG_LANES / cells * sizeof(int64_t), 64);
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
    size_t                    head, stride;
    uint64_t                  id, offset;
    ngx_time_t               *tp;
    ngx_http_debug_entity_t  *e;

    if (ngx_http_debug_load(&zone->entities) >= NGX_HTTP_DEBUG_ENTITIES) {
        return NULL;
    }

    head = ngx_align(sizeof(ngx_http_debug_entity_t) + name->len, 64);
    stride = ngx_http_debug_zone_cell_size(cells);

    offset = ngx_http_debug_zone_alloc(zone, head + cells * stride, 0);
    if (offset == 0) {
        return NULL;
    }

    id = __atomic_fetch_add(&zone->entities, 1, __ATOMIC_RELAXED);

    if (id >= NGX_HTTP_DEBUG_ENTITIES) {
        return NULL;
    }

    e = ngx_http_debug_zone_at(zone, offset);

    tp = ngx_timeofday();

    e->hash = hash;
    e->kind = kind;
    e->id = id;
    e->group = group;
    e->cells = cells;
    e->stride = stride;
    e->cell = offset + head;
    e->created = (uint64_t) tp->sec * 1000 + tp->msec;
    e->len = name->len;
    ngx_memcpy(e->name, name->data, name->len);

    __atomic_store_n(&zone->entity[id], offset, __ATOMIC_RELEASE);

    return e;
}


ngx_http_debug_entity_t *
ngx_http_debug_zone_by_id(ngx_http_debug_zone_t *zone, ngx_uint_t id)
{
    uint64_t                  offset;
    ngx_http_debug_entity_t  *e;

    if (id >= NGX_HTTP_DEBUG_ENTITIES) {
        return NULL;
    }

    offset = __atomic_load_n(&zone->entity[id], __ATOMIC_ACQUIRE);
    if (offset == 0) {
        return NULL;
    }

    e = ngx_http_debug_zone_at(zone, offset);

    /*
     * Of a name that two processes appended at once one is in the hash table;
     * of one whose process was killed meanwhile, maybe none.
     */

    return ngx_http_debug_load(&e->live) ? e : NULL;
}


ngx_http_debug_entity_t *
ngx_http_debug_zone_entity(ngx_http_debug_zone_t *zone, ngx_uint_t kind,
    uint32_t group, ngx_str_t *name, ngx_uint_t cells, ngx_log_t *log)
{
    uint32_t                  id, none;
    uint64_t                  hash, most, *bound;
    ngx_uint_t                i, n;
    ngx_http_debug_entity_t  *e, *mine;

    bound = ngx_http_debug_zone_bound(zone, kind, group, &most);

    if (bound && name->len > NGX_HTTP_DEBUG_HOST_LEN) {
        return ngx_http_debug_zone_overflow(zone, name, log);
    }

    hash = ngx_murmur_hash2(name->data, name->len)
           ^ ((uint64_t) kind << 48) ^ ((uint64_t) group * 0x9e3779b1);

    mine = NULL;

    for (i = hash, n = 0; n < NGX_HTTP_DEBUG_SLOTS; n++) {

        id = __atomic_load_n(&zone->slot[(i + n) % NGX_HTTP_DEBUG_SLOTS],
                             __ATOMIC_ACQUIRE);

        if (id == 0) {

            if (mine == NULL) {

                if (bound && __atomic_fetch_add(bound, 1, __ATOMIC_RELAXED)
                             >= most)
                {
                    (void) __atomic_fetch_sub(bound, 1, __ATOMIC_RELAXED);
                    break;
                }

                mine = ngx_http_debug_zone_append(zone, kind, group, name,
                                                  hash, cells);
                if (mine == NULL) {
                    break;
                }
            }

            none = 0;

            if (__atomic_compare_exchange_n(
                    &zone->slot[(i + n) % NGX_HTTP_DEBUG_SLOTS], &none,
                    mine->id + 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            {
                __atomic_store_n(&mine->live, 1, __ATOMIC_RELEASE);
                return mine;
            }

            id = none;
        }

        e = ngx_http_debug_zone_at(zone, zone->entity[id - 1]);

        if (e->hash == hash
            && e->kind == kind
            && e->group == group
            && e->len == name->len
            && ngx_memcmp(e->name, name->data, name->len) == 0)
        {
            if (mine && bound) {
                (void) __atomic_fetch_sub(bound, 1, __ATOMIC_RELAXED);
            }

            /* its process may have been killed before it could say so */

            __atomic_store_n(&e->live, 1, __ATOMIC_RELEASE);

            return e;
        }
    }

    return ngx_http_debug_zone_overflow(zone, name, log);
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
ngx_http_debug_zone_enter(ngx_http_debug_zone_t *zone)
{
    int64_t     pid;
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_DEBUG_LANES; i++) {
        pid = ngx_http_debug_load(&zone->lane[i]);

        if (pid == ngx_pid && ngx_http_debug_lane == (ngx_int_t) i) {

            /* a single process has loaded another configuration */

            return;
        }

        /* a dead process may have had this one's id */

        if (pid != 0 && pid != ngx_pid
            && (kill(pid, 0) == 0 || ngx_errno != ESRCH))
        {
            continue;
        }

        if (__atomic_compare_exchange_n(&zone->lane[i], &pid, ngx_pid, 0,
                                        __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        {
            if (pid != 0) {
                ngx_http_debug_zone_lost(zone, i);
            }

            ngx_http_debug_lane = i;
            return;
        }
    }

    /* more processes than lanes: what they have under way adds up */

    ngx_http_debug_lane = NGX_HTTP_DEBUG_LANES - 1;
}


void
ngx_http_debug_zone_leave(ngx_http_debug_zone_t *zone)
{
    ngx_uint_t  lane;

    if (ngx_http_debug_lane == -1) {
        return;
    }

    lane = ngx_http_debug_lane;

    if (ngx_http_debug_load(&zone->lane[lane]) != ngx_pid) {
        return;
    }

    ngx_http_debug_zone_lost(zone, lane);
    ngx_http_debug_lane = -1;

    __atomic_store_n(&zone->lane[lane], 0, __ATOMIC_RELEASE);
}


void
ngx_http_debug_zone_settle(ngx_http_debug_zone_t *zone)
{
    int64_t     pid;
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_DEBUG_LANES; i++) {
        pid = ngx_http_debug_load(&zone->lane[i]);

        if (pid == 0 || pid == ngx_pid
            || kill(pid, 0) == 0 || ngx_errno != ESRCH)
        {
            continue;
        }

        if (__atomic_compare_exchange_n(&zone->lane[i], &pid, ngx_pid, 0,
                                        __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        {
            ngx_http_debug_zone_lost(zone, i);
            __atomic_store_n(&zone->lane[i], 0, __ATOMIC_RELEASE);
        }
    }
}


/* The lane's process is gone, or is going: nobody else writes here. */

static void
ngx_http_debug_zone_lost(ngx_http_debug_zone_t *zone, ngx_uint_t lane)
{
    int64_t                   n;
    ngx_uint_t                id, last;
    ngx_http_debug_place_t    place;
    ngx_http_debug_entity_t  *e;

    last = ngx_http_debug_load(&zone->entities);

    for (id = 0; id < last; id++) {

        e = ngx_http_debug_zone_by_id(zone, id);
        if (e == NULL) {
            continue;
        }

        ngx_http_debug_zone_place(zone, e, lane, &place);

        n = __atomic_exchange_n(place.active, 0, __ATOMIC_RELAXED);

        if (n > 0) {
            ngx_http_debug_add(&place.cell->value[NGX_HTTP_DEBUG_FAIL_LOST],
                               n);
        }
    }
}
