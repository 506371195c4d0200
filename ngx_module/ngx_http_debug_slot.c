
/*
 * The slots of the requests under way.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_slot.h"


ngx_http_debug_slots_t  ngx_http_debug_slots;


void
ngx_http_debug_slot_init(ngx_http_debug_zone_t *zone, ngx_uint_t n)
{
    uint32_t                 slots;
    ngx_uint_t               i, lane;
    ngx_http_debug_slots_t  *own;

    own = &ngx_http_debug_slots;

    lane = ngx_http_debug_lane;

    if (own->id == 0) {

        /* who had this lane before shall not be mistaken for this one */

        own->ids = (uint32_t) lane << 23;
        own->id = ngx_murmur_hash2((u_char *) &ngx_pid, sizeof(ngx_pid))
                  ^ (uint32_t) ngx_http_debug_now();
    }

    if (n == 0 || own->lane || lane > NGX_HTTP_DEBUG_LANES) {

        /* a single process that has loaded another configuration goes on */

        return;
    }

    ngx_http_debug_zone_slots(zone, lane, n);

    own->lane = &zone->lane[lane];

    if (own->lane->slot == 0) {
        return;
    }

    own->slot = ngx_http_debug_zone_at(zone, (uint64_t) own->lane->slot * 64);

    /* the first ones first: memory that was never used costs nothing */

    slots = own->lane->slots;

    for (i = 0; i < slots; i++) {
        own->free[i] = (uint16_t) (slots - 1 - i);
    }

    own->nfree = slots;
}


ngx_uint_t
ngx_http_debug_slot_read(ngx_http_debug_slot_t *slot,
    ngx_http_debug_slot_t *copy)
{
    uint32_t    seq;
    ngx_uint_t  i;

    for (i = 0; i < 100; i++) {

        seq = __atomic_load_n(&slot->seq, __ATOMIC_ACQUIRE);

        if (seq & 1) {
            ngx_cpu_pause();
            continue;
        }

        ngx_memcpy(copy, slot, sizeof(ngx_http_debug_slot_t));

        __atomic_thread_fence(__ATOMIC_ACQUIRE);

        if (ngx_http_debug_load(&slot->seq) != seq) {
            continue;
        }

        /* the rest of a request that had this slot before */

        if (copy->tries == 0) {
            copy->peer = 0;
        }

        if (copy->looked == 0) {
            copy->received = 0;
            copy->sent = 0;
            copy->client_len = 0;
            copy->route_len = 0;
        }

        return copy->begun != 0;
    }

    return 0;
}
