
/*
 * Once a second the process that has the lease of debug_snapshots reads what
 * the rules are about.  Nothing of it is on a request's way.
 */


#ifndef _NGX_HTTP_DEBUG_WATCH_TICK_H_INCLUDED_
#define _NGX_HTTP_DEBUG_WATCH_TICK_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_debug_watch.h"


/* Starts this process's timer, if there is a rule.  Context: worker start. */
void ngx_http_debug_watch_schedule(ngx_http_debug_watch_conf_t *wcf,
    ngx_http_debug_zone_t *zone, ngx_cycle_t *cycle);


#endif /* _NGX_HTTP_DEBUG_WATCH_TICK_H_INCLUDED_ */
