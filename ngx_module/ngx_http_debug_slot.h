
/*
 * What this process writes of its requests under way, for all processes to
 * see: a slot of its lane for each, see ngx_http_debug_zone.h.
 *
 * Which slots are free only their own process knows.  Where none is, the
 * request is counted as left out.  A handle is what a request keeps: the
 * number of its slot + 1, NGX_HTTP_DEBUG_NO_SLOT if it was left out, and 0 if
 * it is not to be seen at all.
 *
 * Context of all: worker, request, unless said otherwise.
 */


#ifndef _NGX_HTTP_DEBUG_SLOT_H_INCLUDED_
#define _NGX_HTTP_DEBUG_SLOT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_zone.h"


#define NGX_HTTP_DEBUG_NO_SLOT  (NGX_HTTP_DEBUG_LANE_SLOTS + 1)


typedef struct {
    ngx_http_debug_lane_t  *lane;      /* NULL: nothing is written */
    ngx_http_debug_slot_t  *slot;
    uint32_t                ids;       /* what all of this lane begin with */
    uint32_t                id;        /* the next one */
    ngx_uint_t              nfree;
    uint16_t                free[NGX_HTTP_DEBUG_LANE_SLOTS];

    /* whose they are, and, with tries, of it the one that was last at a peer */
    ngx_http_request_t     *request[NGX_HTTP_DEBUG_LANE_SLOTS];
    ngx_http_request_t     *round[NGX_HTTP_DEBUG_LANE_SLOTS];
} ngx_http_debug_slots_t;


extern ngx_http_debug_slots_t  ngx_http_debug_slots;


/*
 * Takes N slots of the lane that this process has; again: nothing.
 * Context: worker start.
 */
void ngx_http_debug_slot_init(ngx_http_debug_zone_t *zone, ngx_uint_t n);

/*
 * Reads a slot of any process into COPY.  Returns 0 if it is free, or has been
 * written to each time.
 */
ngx_uint_t ngx_http_debug_slot_read(ngx_http_debug_slot_t *slot,
    ngx_http_debug_slot_t *copy);


/* An id that no request had lately: 9 bits say whose lane, 23 are counted. */

static ngx_inline uint32_t
ngx_http_debug_slot_id(void)
{
    return ngx_http_debug_slots.ids | (ngx_http_debug_slots.id++ & 0x7fffff);
}


/* NULL: HANDLE leads to none. */

static ngx_inline ngx_http_debug_slot_t *
ngx_http_debug_slot_of(ngx_uint_t handle)
{
    handle--;

    return (handle < NGX_HTTP_DEBUG_LANE_SLOTS)
           ? &ngx_http_debug_slots.slot[handle] : NULL;
}


/* What lies between these two is read as a whole, or not at all. */

static ngx_inline void
ngx_http_debug_slot_open(ngx_http_debug_slot_t *slot)
{
    __atomic_store_n(&slot->seq, slot->seq + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
}


static ngx_inline void
ngx_http_debug_slot_close(ngx_http_debug_slot_t *slot)
{
    __atomic_store_n(&slot->seq, slot->seq + 1, __ATOMIC_RELEASE);
}


/* A request begins.  Returns its handle. */

static ngx_inline ngx_uint_t
ngx_http_debug_slot_take(ngx_http_request_t *r, uint64_t now, uint32_t server)
{
    size_t                   len;
    ngx_uint_t               n;
    ngx_http_debug_slot_t   *slot;
    ngx_http_debug_slots_t  *own;

    own = &ngx_http_debug_slots;

    if (own->nfree == 0) {

        if (own->lane) {
            ngx_http_debug_add(&own->lane->left, 1);
        }

        return NGX_HTTP_DEBUG_NO_SLOT;
    }

    n = own->free[--own->nfree];

    own->request[n] = r;

    if (n >= own->lane->top) {
        __atomic_store_n(&own->lane->top, n + 1, __ATOMIC_RELAXED);
    }

    slot = &own->slot[n];

    ngx_http_debug_slot_open(slot);

    slot->id = ngx_http_debug_slot_id();
    slot->begun = now;
    slot->looked = 0;
    slot->server = server;
    slot->method = r->method;
    slot->tries = 0;
    slot->state = NGX_HTTP_DEBUG_WAY_REQUEST;

    len = r->uri.len;
    slot->path_len = (uint16_t) ngx_min(len, 65535);

    ngx_memcpy(slot->path, r->uri.data,
               ngx_min(len, NGX_HTTP_DEBUG_SLOT_PATH));

    ngx_http_debug_slot_close(slot);

    return n + 1;
}


/* R, the request of SLOT or one of its sub-requests, goes to PEER. */

static ngx_inline void
ngx_http_debug_slot_try(ngx_http_debug_slot_t *slot, ngx_http_request_t *r,
    uint32_t peer, ngx_uint_t state)
{
    ngx_http_debug_slots.round[slot - ngx_http_debug_slots.slot] = r;

    ngx_http_debug_slot_open(slot);

    slot->peer = peer + 1;
    slot->tries++;
    slot->state = (uint16_t) state;

    ngx_http_debug_slot_close(slot);
}


/* It has ended. */

static ngx_inline void
ngx_http_debug_slot_give(ngx_uint_t handle)
{
    ngx_http_debug_slot_t   *slot;
    ngx_http_debug_slots_t  *own;

    own = &ngx_http_debug_slots;

    slot = ngx_http_debug_slot_of(handle);

    if (slot) {
        __atomic_store_n(&slot->begun, 0, __ATOMIC_RELEASE);

        handle--;
        own->request[handle] = NULL;
        own->free[own->nfree++] = (uint16_t) handle;

    } else if (handle && own->lane) {
        ngx_http_debug_add(&own->lane->left, -1);
    }
}


#endif /* _NGX_HTTP_DEBUG_SLOT_H_INCLUDED_ */
