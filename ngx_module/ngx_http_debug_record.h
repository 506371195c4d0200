
/*
 * The only writer: requests at their servers, rounds at their groups, tries
 * at their peers.
 *
 * A round is recorded where it ends and not in the log phase, which sees
 * neither sub-requests nor what error_page or X-Accel-Redirect leave behind:
 * every upstream's peer.init is wrapped, and the wrapper swaps u->peer.get,
 * where each try begins, and u->finalize_request, where the last one ends.
 * proxy_pass with variables to a name that no upstream{} has calls no
 * peer.init; there a variable is evaluated, see ngx_http_debug_record_host().
 *
 * A round with one try, which nearly all are, is written once, to the cell of
 * the peer; the group's numbers are the sum of its peers' cells.  A round that
 * has no try, several, or one at a peer that found no room is written to the
 * group's own cell, which is added to that sum, and its tries to another cell
 * of the peer, which only the peer's numbers have.  So every number is exact,
 * and none of them ever decreases.
 */


#ifndef _NGX_HTTP_DEBUG_RECORD_H_INCLUDED_
#define _NGX_HTTP_DEBUG_RECORD_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_route.h"
#include "ngx_http_debug_zone.h"


#define NGX_HTTP_DEBUG_PEERS  32


extern ngx_module_t  ngx_http_debug_module;


typedef struct {
    ngx_http_upstream_srv_conf_t   *uscf;
    ngx_http_upstream_init_peer_pt  init;      /* the balancer's own */
    ngx_str_t                       name;
    ngx_http_debug_entity_t        *entity;

    /*
     * Peers met lately, by the address of their names, which is no identity:
     * the name is compared.
     */
    ngx_http_debug_place_t          peer[NGX_HTTP_DEBUG_PEERS];

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
    size_t                          size;      /* debug_zone; 0: as much as
                                                  is needed */
    size_t                          limit;     /* what that came to */
    size_t                          reserve;   /* of it, for counters alone */
    u_char                         *file;      /* where it stands */
    ngx_uint_t                      line;
    uint64_t                        generation;

    ngx_http_debug_group_t         *groups;    /* hashed by uscf */
    ngx_uint_t                      mask;
    ngx_uint_t                      cells;     /* of a new entity */
    ngx_int_t                       start;     /* index of the variable that
                                                  keeps a request's start */
    ngx_uint_t                      recorded;  /* something is */
    ngx_array_t                     locations; /* of void **: the recorded and
                                                  marked ones that have a
                                                  handler */

    /* see ngx_http_debug_record_each.c */

    ngx_uint_t                      each;      /* some route shows requests */
    ngx_uint_t                      slots;     /* of a process, for these */
    ngx_uint_t                      marks;     /* some location marks them */
    ngx_http_debug_mark_t          *none;      /* for those that do not */
    ngx_int_t                       id;        /* index of the variable that
                                                  keeps a mark's id */
} ngx_http_debug_record_main_conf_t;

typedef struct {
    ngx_str_t                       name;
    ngx_http_debug_place_t          place;
    ngx_uint_t                      recorded;  /* something of it is */
    ngx_uint_t                      same;      /* the how-many-th of its name;
                                                  0: it is the only one */

    ngx_http_debug_group_t         *group;     /* of an upstream{} */
} ngx_http_debug_record_srv_conf_t;

typedef struct {
    ngx_uint_t                      record;    /* what is asked for here */
    ngx_flag_t                      enable;    /* debug_record */
    ngx_uint_t                      own;       /* a location of our routes:
                                                  never recorded */
    ngx_http_debug_route_conf_t     route;
} ngx_http_debug_record_loc_conf_t;


/* What others may know of a round under way. */

typedef struct {
    ngx_http_request_t             *request;
    ngx_http_debug_entity_t        *entity;    /* the peer of the try under
                                                  way; else the group */
} ngx_http_debug_try_t;


/* Context of all: configuration. */

ngx_int_t ngx_http_debug_record_preconfiguration(ngx_conf_t *cf);

/* Returns NGX_OK or NGX_ERROR. */
ngx_int_t ngx_http_debug_record_merge(ngx_conf_t *cf,
    ngx_http_debug_record_loc_conf_t *prev,
    ngx_http_debug_record_loc_conf_t *conf);

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
 * Gives each name of the configuration its entity, says there that it does,
 * and in the zone how many found no room.
 */
void ngx_http_debug_record_name(ngx_http_debug_record_main_conf_t *rmcf,
    ngx_log_t *log);

/*
 * The same for what balancers of nginx have in shared memory, where peers come
 * and go without a reload.  Context: worker, timer.
 */
void ngx_http_debug_record_name_live(ngx_http_debug_record_main_conf_t *rmcf);

/* Once a second, with the main configuration.  Context: worker, timer. */
void ngx_http_debug_record_tick(void *data);

/* Takes a lane, and finds where it counts.  Context: worker start. */
void ngx_http_debug_record_init_process(ngx_cycle_t *cycle,
    ngx_http_debug_record_main_conf_t *rmcf);

/*
 * This request is one of our own and counts nowhere, not even among those
 * under way.  Context: worker, request.
 */
void ngx_http_debug_record_forget(ngx_http_request_t *r);


/* Between the files of this room. */

/* Returns 0 if U has no round under way.  Context: worker, request; timer. */
ngx_uint_t ngx_http_debug_record_try(ngx_http_upstream_t *u,
    ngx_http_debug_try_t *try);


/* Context: worker, timer. */
void ngx_http_debug_record_sweep(void);

ngx_int_t ngx_http_debug_record_post_read_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_debug_record_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);

/* The same where requests under way are written down, too. */
ngx_int_t ngx_http_debug_record_post_read_slot(ngx_http_request_t *r);
ngx_int_t ngx_http_debug_record_init_peer_slot(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);
ngx_int_t ngx_http_debug_record_log_slot(ngx_http_request_t *r);


/* Where a round begins to a name that variables make; and that it does. */
ngx_uint_t ngx_http_debug_record_is_host(ngx_http_request_t *r);
ngx_int_t ngx_http_debug_record_host(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);

ngx_int_t ngx_http_debug_record_log_handler(ngx_http_request_t *r);


static ngx_inline ngx_http_debug_group_t *
ngx_http_debug_record_group(ngx_http_debug_record_main_conf_t *rmcf,
    ngx_http_upstream_srv_conf_t *uscf)
{
    ngx_uint_t                         i;
    ngx_http_debug_group_t            *group;
    ngx_http_debug_record_srv_conf_t  *rscf;

    if (uscf->srv_conf) {
        rscf = ngx_http_conf_upstream_srv_conf(uscf, ngx_http_debug_module);

        return rscf->group;
    }

    /*
     * proxy_pass http://host:port makes a group without a configuration of its
     * own.  Groups are allocated at least 16 bytes apart.
     */

    for (i = (uintptr_t) uscf >> 4; /* void */ ; i++) {
        group = &rmcf->groups[i & rmcf->mask];

        if (group->uscf == uscf) {
            return group;
        }

        if (group->uscf == NULL) {
            return NULL;
        }
    }
}


/* where the peer NAME was kept, maybe */

static ngx_inline ngx_http_debug_place_t *
ngx_http_debug_record_met(ngx_http_debug_group_t *group, ngx_str_t *name)
{
    return &group->peer[((uintptr_t) name >> 6) % NGX_HTTP_DEBUG_PEERS];
}


#endif /* _NGX_HTTP_DEBUG_RECORD_H_INCLUDED_ */
