
/*
 * What the writer does once a second: it counts what takes long while it goes
 * on, and looks after the names that come and go.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_record.h"
#include "ngx_http_debug_record_each.h"


static void ngx_http_debug_record_names(
    ngx_http_debug_record_main_conf_t *rmcf);


void
ngx_http_debug_record_tick(void *data)
{
    ngx_http_debug_record_main_conf_t *rmcf = data;

    /* a worker that drains still has what takes long */

    ngx_http_debug_record_sweep();
    ngx_http_debug_record_each_tick(rmcf);

    if (!ngx_exiting && !ngx_quit && !ngx_terminate) {
        ngx_http_debug_record_names(rmcf);
    }
}


/* One process does it, of the configuration in force. */

static void
ngx_http_debug_record_names(ngx_http_debug_record_main_conf_t *rmcf)
{
    uint64_t                now, last;
    ngx_time_t             *tp;
    ngx_http_debug_zone_t  *zone;

    zone = rmcf->zone;

    now = ngx_http_debug_now() / 1000000000;
    last = ngx_http_debug_load(&zone->cleaned);

    if (last >= now
        || rmcf->generation != ngx_http_debug_load(&zone->generation)
        || !__atomic_compare_exchange_n(&zone->cleaned, &last, now, 0,
                                        __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
    {
        return;
    }

    ngx_http_debug_record_name_live(rmcf);

    tp = ngx_timeofday();

    if (ngx_http_debug_zone_clean(zone,
                                  (uint64_t) tp->sec * 1000 + tp->msec)
        && ngx_http_debug_load(&zone->missing))
    {
        /* there is room for some that found none */

        ngx_http_debug_record_name(rmcf, (ngx_log_t *) ngx_cycle->log);
    }
}
