
/*
 * What the peers' processes say of themselves, for /debug/metrics and
 * /debug/stats: memory, CPU, threads, descriptors.
 *
 * While somebody scrapes, each peer is asked every ten seconds, at
 * "charts/data?last=1" beside its profiles, by one worker a second, some peers
 * a second and a few at a time.  What it says is kept beside its name in the
 * zone, so that who reads waits for nobody.  Who tells nothing is asked less
 * and less often.
 *
 * Owner: the process.  Context: worker, timer.
 */


#ifndef _NGX_HTTP_DEBUG_PROCESS_H_INCLUDED_
#define _NGX_HTTP_DEBUG_PROCESS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_asked.h"
#include "ngx_http_debug_zone.h"


/* without debug_process: who is in a debug_pprof_pass */
#define NGX_HTTP_DEBUG_PROCESS_NAMED  2


typedef struct {
    ngx_flag_t               enable;     /* or NGX_HTTP_DEBUG_PROCESS_NAMED */
    ngx_http_debug_asked_t   asked;      /* by locations that serve profiles or
                                            charts; without any: nobody is */
    ngx_http_debug_zone_t   *zone;
    uint64_t                 generation; /* of this configuration */
} ngx_http_debug_process_conf_t;


/* Once a second, in each worker. */
void ngx_http_debug_process_tick(ngx_http_debug_process_conf_t *pcf);


#endif /* _NGX_HTTP_DEBUG_PROCESS_H_INCLUDED_ */
