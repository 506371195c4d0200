
/*
 * What the writer needs before there are requests: the zone, an entity for
 * everything that the configuration names, and the ways into the rounds.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_record.h"


static ngx_int_t ngx_http_debug_record_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_debug_record_wrap(ngx_conf_t *cf,
    ngx_http_debug_record_main_conf_t *rmcf);
static ngx_int_t ngx_http_debug_record_hosts(ngx_conf_t *cf,
    ngx_http_debug_record_main_conf_t *rmcf);
static ngx_http_upstream_local_t *ngx_http_debug_record_local(ngx_conf_t *cf,
    ngx_http_upstream_local_t *local);
static ngx_int_t ngx_http_debug_record_name_servers(ngx_conf_t *cf);
static ngx_int_t ngx_http_debug_record_init_zone(ngx_shm_zone_t *shm_zone,
    void *data);
static void ngx_http_debug_record_walk(ngx_cycle_t *cycle,
    ngx_http_debug_record_main_conf_t *rmcf, ngx_log_t *log, size_t *size);
static void ngx_http_debug_record_walk_peer(
    ngx_http_debug_record_main_conf_t *rmcf, ngx_http_debug_entity_t *group,
    ngx_str_t *name, ngx_log_t *log, size_t *size);



static ngx_str_t  ngx_http_debug_zone_name = ngx_string("ngx_http_debug");
static ngx_str_t  ngx_http_debug_start_name = ngx_string("debug_start");
static ngx_str_t  ngx_http_debug_host_name = ngx_string("debug_host");


/* Keeps a request's start in v->data, which stays as it is. */

static ngx_int_t
ngx_http_debug_record_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    v->len = 0;
    v->not_found = 1;

    return NGX_OK;
}


ngx_int_t
ngx_http_debug_record_preconfiguration(ngx_conf_t *cf)
{
    ngx_http_variable_t                *var;
    ngx_http_debug_record_main_conf_t  *rmcf;

    rmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_debug_module);

    var = ngx_http_add_variable(cf, &ngx_http_debug_start_name, 0);
    if (var == NULL) {
        return NGX_ERROR;
    }

    var->get_handler = ngx_http_debug_record_variable;

    rmcf->start = ngx_http_get_variable_index(cf, &ngx_http_debug_start_name);
    if (rmcf->start == NGX_ERROR) {
        return NGX_ERROR;
    }

    var = ngx_http_add_variable(cf, &ngx_http_debug_host_name,
                                NGX_HTTP_VAR_NOCACHEABLE);
    if (var == NULL) {
        return NGX_ERROR;
    }

    var->get_handler = ngx_http_debug_record_host;

    return ngx_array_init(&rmcf->locations, cf->temp_pool, 16,
                          sizeof(void **));
}


ngx_int_t
ngx_http_debug_record_merge(ngx_conf_t *cf,
    ngx_http_debug_record_loc_conf_t *prev,
    ngx_http_debug_record_loc_conf_t *conf)
{
    void                            ***location;
    ngx_http_core_loc_conf_t          *clcf;
    ngx_http_debug_record_srv_conf_t  *rscf;
    ngx_http_debug_record_main_conf_t *rmcf;

    ngx_conf_merge_value(conf->enable, prev->enable, 1);

    conf->record = conf->enable && !conf->own;

    if (!conf->record) {
        return NGX_OK;
    }

    rmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_debug_module);
    rscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_debug_module);

    rmcf->recorded = 1;
    rscf->recorded = 1;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler == NULL) {
        return NGX_OK;
    }

    location = ngx_array_push(&rmcf->locations);
    if (location == NULL) {
        return NGX_ERROR;
    }

    /* not clcf->loc_conf: that of a server has none */

    *location = ((ngx_http_conf_ctx_t *) cf->ctx)->loc_conf;

    return NGX_OK;
}


void
ngx_http_debug_record_listeners(ngx_http_debug_record_main_conf_t *rmcf,
    ngx_array_t *listeners)
{
    ngx_uint_t                       i;
    ngx_http_debug_group_t          *group;
    ngx_http_upstream_srv_conf_t   **uscfp;

    uscfp = listeners->elts;

    for (i = 0; i < listeners->nelts; i++) {
        group = ngx_http_debug_record_group(rmcf, uscfp[i]);

        if (group) {
            group->listeners = 1;
        }
    }
}


ngx_int_t
ngx_http_debug_record_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt                *h;
    ngx_http_core_main_conf_t          *cmcf;
    ngx_http_debug_record_main_conf_t  *rmcf;

    rmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_debug_module);

    /*
     * The size is constant, for nginx starts a zone anew when its size
     * changes; see ngx_http_debug_zone.h.
     */

    rmcf->shm_zone = ngx_shared_memory_add(cf, &ngx_http_debug_zone_name,
                                           8 * ngx_pagesize,
                                           &ngx_http_debug_module);
    if (rmcf->shm_zone == NULL) {
        return NGX_ERROR;
    }

    rmcf->cycle = cf->cycle;

    rmcf->shm_zone->init = ngx_http_debug_record_init_zone;
    rmcf->shm_zone->data = rmcf;

    if (ngx_http_debug_record_name_servers(cf) != NGX_OK
        || ngx_http_debug_record_wrap(cf, rmcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (!rmcf->recorded) {

        /* "debug_record off" everywhere: requests pay nothing */

        return NGX_OK;
    }

    if (ngx_http_debug_record_hosts(cf, rmcf) != NGX_OK) {
        return NGX_ERROR;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_POST_READ_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_debug_record_post_read_handler;

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_LOG_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_debug_record_log_handler;

    return NGX_OK;
}


static ngx_int_t
ngx_http_debug_record_wrap(ngx_conf_t *cf,
    ngx_http_debug_record_main_conf_t *rmcf)
{
    ngx_uint_t                          i, k, n;
    ngx_http_debug_group_t             *group;
    ngx_http_upstream_srv_conf_t      **uscfp;
    ngx_http_upstream_main_conf_t      *umcf;
    ngx_http_debug_record_srv_conf_t   *rscf;

    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module);

    uscfp = umcf->upstreams.elts;

    for (n = 4; n < 2 * umcf->upstreams.nelts; n *= 2) { /* void */ }

    rmcf->mask = n - 1;
    rmcf->groups = ngx_pcalloc(cf->pool, n * sizeof(ngx_http_debug_group_t));
    if (rmcf->groups == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        if (uscfp[i]->peer.init == NULL) {
            continue;
        }

        for (k = (uintptr_t) uscfp[i] >> 4; /* void */ ; k++) {
            group = &rmcf->groups[k & rmcf->mask];

            if (group->uscf == NULL) {
                break;
            }
        }

        if (uscfp[i]->srv_conf) {
            rscf = ngx_http_conf_upstream_srv_conf(uscfp[i],
                                                   ngx_http_debug_module);
            rscf->group = group;
        }

        group->uscf = uscfp[i];
        group->init = uscfp[i]->peer.init;
        group->name = uscfp[i]->host;

        if (uscfp[i]->port) {

            /* proxy_pass http://host:port makes a group of that name */

            group->name.data = ngx_pnalloc(cf->pool, uscfp[i]->host.len + 1
                                                     + NGX_INT_T_LEN);
            if (group->name.data == NULL) {
                return NGX_ERROR;
            }

            group->name.len = ngx_sprintf(group->name.data, "%V:%ui",
                                          &uscfp[i]->host,
                                          (ngx_uint_t) uscfp[i]->port)
                              - group->name.data;
        }

        if (rmcf->recorded) {
            uscfp[i]->peer.init = ngx_http_debug_record_init_peer;
        }
    }

    return NGX_OK;
}


/*
 * Where a location may pass to a name that variables make, the address to bind
 * to becomes one that begins with a variable of ours, which is empty: nginx
 * evaluates it just before such a round, whatever came before, and the address
 * is what it was.
 */

static ngx_int_t
ngx_http_debug_record_hosts(ngx_conf_t *cf,
    ngx_http_debug_record_main_conf_t *rmcf)
{
    void                      ***conf;
    ngx_uint_t                   i, m, n;
    ngx_http_upstream_conf_t    *ucf;
    ngx_http_upstream_local_t   *none;

    /* those whose configuration begins with ngx_http_upstream_conf_t */

    static char  *names[] = {
        "ngx_http_proxy_module",
        "ngx_http_fastcgi_module",
        "ngx_http_uwsgi_module",
        "ngx_http_scgi_module",
        "ngx_http_grpc_module",
        "ngx_http_memcached_module",
        "ngx_http_tunnel_module",
        NULL
    };

    none = ngx_http_debug_record_local(cf, NULL);
    if (none == NULL) {
        return NGX_ERROR;
    }

    conf = rmcf->locations.elts;

    for (m = 0; cf->cycle->modules[m]; m++) {

        for (n = 0; names[n]; n++) {
            if (ngx_strcmp(cf->cycle->modules[m]->name, names[n]) == 0) {
                break;
            }
        }

        if (names[n] == NULL) {
            continue;
        }

        for (i = 0; i < rmcf->locations.nelts; i++) {
            ucf = conf[i][cf->cycle->modules[m]->ctx_index];

            if (ucf->upstream || ucf->local == NGX_CONF_UNSET_PTR) {
                continue;
            }

            ucf->local = (ucf->local == NULL)
                         ? none : ngx_http_debug_record_local(cf, ucf->local);

            if (ucf->local == NULL) {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


/* LOCAL, with the variable before its address.  NULL: an error, logged. */

static ngx_http_upstream_local_t *
ngx_http_debug_record_local(ngx_conf_t *cf, ngx_http_upstream_local_t *local)
{
    u_char                            *p;
    ngx_str_t                          text, address;
    ngx_http_upstream_local_t         *own;
    ngx_http_compile_complex_value_t   ccv;

    own = ngx_pcalloc(cf->pool, sizeof(ngx_http_upstream_local_t));
    if (own == NULL) {
        return NULL;
    }

    ngx_str_null(&address);

    if (local) {
        *own = *local;
        address = local->value ? local->value->value : local->addr->name;
    }

    text.len = sizeof("${}") - 1 + ngx_http_debug_host_name.len + address.len;
    text.data = ngx_pnalloc(cf->pool, text.len + 1);
    if (text.data == NULL) {
        return NULL;
    }

    p = ngx_sprintf(text.data, "${%V}%V", &ngx_http_debug_host_name, &address);
    *p = '\0';

    own->value = ngx_pcalloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (own->value == NULL) {
        return NULL;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &text;
    ccv.complex_value = own->value;

    return (ngx_http_compile_complex_value(&ccv) == NGX_OK) ? own : NULL;
}


/*
 * A server is known by its first name; one without a name by where it
 * listens.
 */

static ngx_int_t
ngx_http_debug_record_name_servers(ngx_conf_t *cf)
{
    ngx_uint_t                          i, j, k, s;
    ngx_http_conf_addr_t               *addr;
    ngx_http_conf_port_t               *port;
    ngx_http_core_srv_conf_t          **cscfp, **on;
    ngx_http_core_main_conf_t          *cmcf;
    ngx_http_debug_record_srv_conf_t   *rscf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    cscfp = cmcf->servers.elts;

    for (s = 0; s < cmcf->servers.nelts; s++) {

        rscf = cscfp[s]->ctx->srv_conf[ngx_http_debug_module.ctx_index];
        rscf->name = cscfp[s]->server_name;

        if (rscf->name.len || cmcf->ports == NULL) {
            continue;
        }

        port = cmcf->ports->elts;

        for (i = 0; i < cmcf->ports->nelts && rscf->name.len == 0; i++) {
            addr = port[i].addrs.elts;

            for (j = 0; j < port[i].addrs.nelts; j++) {
                on = addr[j].servers.elts;

                for (k = 0; k < addr[j].servers.nelts; k++) {
                    if (on[k] == cscfp[s]) {
                        rscf->name = addr[j].opt.addr_text;
                    }
                }
            }
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_debug_record_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    size_t                              size;
    ngx_core_conf_t                    *ccf;
    ngx_cycle_t                        *cycle;
    ngx_http_debug_record_main_conf_t  *rmcf;

    rmcf = shm_zone->data;
    cycle = rmcf->cycle;

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    rmcf->cells = ngx_http_debug_zone_cells(ccf->worker_processes);

    size = ngx_align(sizeof(ngx_http_debug_zone_t), 64)
           + ngx_http_debug_zone_entity_size(NGX_HTTP_DEBUG_OVERFLOW, 8, 1);

    ngx_http_debug_record_walk(cycle, rmcf, cycle->log, &size);

    if (size > rmcf->size) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "zone \"%V\" is too small: %uzk are needed for the"
                      " servers, groups and peers of this configuration with"
                      " %i worker processes, debug_zone is %uzk in %s:%ui",
                      &shm_zone->shm.name, size / 1024 + 1,
                      ccf->worker_processes, rmcf->size / 1024,
                      rmcf->file, rmcf->line);
        return NGX_ERROR;
    }

    rmcf->zone = ngx_http_debug_zone_open(cycle, shm_zone, data, rmcf->size);
    if (rmcf->zone == NULL) {
        return NGX_ERROR;
    }

    shm_zone->data = rmcf->zone;

    return NGX_OK;
}


void
ngx_http_debug_record_init_module(ngx_cycle_t *cycle,
    ngx_http_debug_record_main_conf_t *rmcf)
{
    ngx_time_t             *tp;
    ngx_http_debug_zone_t  *zone;

    zone = rmcf->zone;
    tp = ngx_timeofday();

    ngx_http_debug_zone_limit(zone, rmcf->size, cycle->log);
    zone->generation++;
    zone->reloaded = (uint64_t) tp->sec * 1000 + tp->msec;
    zone->mark[zone->nmarks++ % NGX_HTTP_DEBUG_MARKS] = zone->reloaded;

    ngx_http_debug_record_walk(cycle, rmcf, cycle->log, NULL);
}


void
ngx_http_debug_record_init_process(ngx_cycle_t *cycle,
    ngx_http_debug_record_main_conf_t *rmcf)
{
    ngx_uint_t                          i;
    ngx_http_core_srv_conf_t          **cscfp;
    ngx_http_core_main_conf_t          *cmcf;
    ngx_http_debug_record_srv_conf_t   *rscf;

    ngx_http_debug_zone_enter(rmcf->zone);

    cmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_core_module);

    cscfp = cmcf->servers.elts;

    for (i = 0; i < cmcf->servers.nelts; i++) {
        rscf = cscfp[i]->ctx->srv_conf[ngx_http_debug_module.ctx_index];

        ngx_http_debug_zone_place(rmcf->zone, rscf->place.entity,
                                  ngx_http_debug_lane, &rscf->place);
    }
}


/*
 * Goes over all that the configuration names: with SIZE, adds up the memory
 * that it needs; without, gives each its entity.
 */

static void
ngx_http_debug_record_walk(ngx_cycle_t *cycle,
    ngx_http_debug_record_main_conf_t *rmcf, ngx_log_t *log, size_t *size)
{
    ngx_uint_t                          i, j, k;
    ngx_http_debug_group_t             *group;
    ngx_http_upstream_server_t         *server;
    ngx_http_core_srv_conf_t          **cscfp;
    ngx_http_core_main_conf_t          *cmcf;
    ngx_http_upstream_rr_peer_t        *peer;
    ngx_http_upstream_rr_peers_t       *peers;
    ngx_http_upstream_srv_conf_t      **uscfp, *uscf;
    ngx_http_upstream_main_conf_t      *umcf;
    ngx_http_debug_record_srv_conf_t   *rscf;

    cmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_core_module);
    umcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_upstream_module);

    cscfp = cmcf->servers.elts;

    for (i = 0; i < cmcf->servers.nelts; i++) {
        rscf = cscfp[i]->ctx->srv_conf[ngx_http_debug_module.ctx_index];

        if (size) {
            *size += ngx_http_debug_zone_entity_size(NGX_HTTP_DEBUG_SERVER,
                                                     rscf->name.len,
                                                     rmcf->cells);
            continue;
        }

        rscf->place.entity = ngx_http_debug_zone_entity(rmcf->zone,
                              NGX_HTTP_DEBUG_SERVER, 0, &rscf->name,
                              rmcf->cells, log);
    }

    uscfp = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        uscf = uscfp[i];

        group = ngx_http_debug_record_group(rmcf, uscf);

        if (group == NULL || group->listeners) {
            continue;
        }

        if (size) {
            *size += ngx_http_debug_zone_entity_size(NGX_HTTP_DEBUG_GROUP,
                                                     group->name.len, 1);

        } else if (ngx_http_debug_record_group_entity(rmcf, group, log)->kind
                   != NGX_HTTP_DEBUG_GROUP)
        {
            continue;
        }

        if (uscf->servers) {

            /* what the lines say: a balancer may keep its peers otherwise */

            server = uscf->servers->elts;

            for (j = 0; j < uscf->servers->nelts; j++) {
                for (k = 0; k < server[j].naddrs; k++) {
                    ngx_http_debug_record_walk_peer(rmcf, group->entity,
                                                    &server[j].addrs[k].name,
                                                    log, size);
                }
            }

        } else if (uscf->peer.init_upstream == NULL
                   || uscf->peer.init_upstream
                      == ngx_http_upstream_init_round_robin)
        {
            peers = uscf->peer.data;

            for (peer = peers ? peers->peer : NULL; peer; peer = peer->next) {
                ngx_http_debug_record_walk_peer(rmcf, group->entity,
                                                &peer->name, log, size);
            }
        }
    }
}


/* Its own cell is seldom written to: one does for all processes. */

ngx_http_debug_entity_t *
ngx_http_debug_record_group_entity(ngx_http_debug_record_main_conf_t *rmcf,
    ngx_http_debug_group_t *group, ngx_log_t *log)
{
    ngx_http_debug_entity_t  *e;

    e = ngx_http_debug_zone_entity(rmcf->zone, NGX_HTTP_DEBUG_GROUP, 0,
                                   &group->name, 1, log);

    if (e->kind == NGX_HTTP_DEBUG_GROUP) {
        group->entity = e;
    }

    return e;
}


static void
ngx_http_debug_record_walk_peer(ngx_http_debug_record_main_conf_t *rmcf,
    ngx_http_debug_entity_t *group, ngx_str_t *name, ngx_log_t *log,
    size_t *size)
{
    if (name->len == 0) {
        return;
    }

    if (size) {
        *size += ngx_http_debug_zone_entity_size(NGX_HTTP_DEBUG_PEER,
                                                 name->len, rmcf->cells);
        return;
    }

    (void) ngx_http_debug_zone_entity(rmcf->zone, NGX_HTTP_DEBUG_PEER,
                                      group->id, name, rmcf->cells, log);
}
