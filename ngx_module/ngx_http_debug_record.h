
/*
 * The only writer: requests at their servers, rounds at their groups, tries
 * at their peers.
 *
 * A round is recorded where it ends and not in the log phase, which sees
 * neither sub-requests nor what error_page or X-Accel-Redirect leave behind:
 * every upstream's peer.init is wrapped, and the wrapper swaps u->peer.get,
 * where each try begins, and u->finalize_request, where the last one ends.
 * Only proxy_pass with variables to a name that no upstream{} has passes by;
 * the log phase books it under that name.
 */


#ifndef _NGX_HTTP_DEBUG_RECORD_H_INCLUDED_
#define _NGX_HTTP_DEBUG_RECORD_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_zone.h"


typedef struct {
    ngx_http_upstream_srv_conf_t   *uscf;
    ngx_http_upstream_init_peer_pt  init;      /* the balancer's own */
    ngx_str_t                       name;
    ngx_http_debug_entity_t        *entity;
    ngx_uint_t                      listeners; /* no traffic is expected: it
                                                  has no entity before some */
} ngx_http_debug_group_t;


/*
 * These three are the first members of the door's main, server and location
 * configurations, and so are reached through ngx_http_debug_module.
 */

typedef struct {
    ngx_cycle_t                    *cycle;     /* of this configuration */
    ngx_shm_zone_t                 *shm_zone;
    ngx_http_debug_zone_t          *zone;
    size_t                          size;      /* debug_zone */
    u_char                         *file;      /* where it stands */
    ngx_uint_t                      line;

    ngx_http_debug_group_t         *groups;    /* hashed by uscf */
    ngx_uint_t                      mask;
    ngx_uint_t                      cells;     /* of a new entity */
    ngx_int_t                       start;     /* index of the variable that
                                                  keeps a request's start */
} ngx_http_debug_record_main_conf_t;

typedef struct {
    ngx_str_t                       name;
    ngx_http_debug_entity_t        *entity;
} ngx_http_debug_record_srv_conf_t;

typedef struct {
    ngx_flag_t                      enable;    /* debug_record */
    ngx_uint_t                      own;       /* a location of our routes:
                                                  never recorded */
} ngx_http_debug_record_loc_conf_t;


/* Context of all: configuration. */

ngx_int_t ngx_http_debug_record_preconfiguration(ngx_conf_t *cf);

/*
 * Adds the zone, wraps every upstream, installs the phase handlers.  Returns
 * NGX_OK or NGX_ERROR (logged).
 */
ngx_int_t ngx_http_debug_record_init(ngx_conf_t *cf);

/*
 * The groups LISTENERS, of ngx_http_upstream_srv_conf_t *, only say where
 * profilers listen: they shall not stand among the idle.
 */
void ngx_http_debug_record_listeners(ngx_http_debug_record_main_conf_t *rmcf,
    ngx_array_t *listeners);

/*
 * After the cycle is committed: sets the zone's limit and finds the entities
 * of everything that the configuration names.
 */
void ngx_http_debug_record_init_module(ngx_cycle_t *cycle,
    ngx_http_debug_record_main_conf_t *rmcf);

/*
 * This request is one of our own and counts nowhere, not even among those
 * under way.  Context: worker, request.
 */
void ngx_http_debug_record_forget(ngx_http_request_t *r);


#endif /* _NGX_HTTP_DEBUG_RECORD_H_INCLUDED_ */
