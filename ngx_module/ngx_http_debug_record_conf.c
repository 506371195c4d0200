
/*
 * What the writer needs before there are requests: the zone, an entity for
 * everything that the configuration names, and the ways into the rounds.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_history.h"
#include "ngx_http_debug_name.h"
#include "ngx_http_debug_record.h"
#include "ngx_http_debug_record_each.h"
#include "ngx_http_debug_slot.h"


/* What the names of a configuration need. */

typedef struct {
    size_t      all;          /* bytes of the entities of all names */
    size_t      more;         /* and of those that have none yet */
    size_t      again;        /* of these, what peers take only later */
    ngx_uint_t  names;
    ngx_uint_t  rings;        /* of them, those without history yet */
} ngx_http_debug_need_t;


/* What goes over the names of a configuration: NEED or entities. */

typedef struct {
    ngx_http_debug_record_main_conf_t  *rmcf;
    ngx_http_debug_need_t              *need;
    ngx_log_t                          *log;
    ngx_uint_t                          missing;   /* names without room */
} ngx_http_debug_walk_t;


static ngx_int_t ngx_http_debug_record_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_debug_record_wrap(ngx_conf_t *cf,
    ngx_http_debug_record_main_conf_t *rmcf);
static ngx_int_t ngx_http_debug_record_hosts(ngx_conf_t *cf,
    ngx_http_debug_record_main_conf_t *rmcf);
static ngx_http_upstream_local_t *ngx_http_debug_record_local(ngx_conf_t *cf,
    ngx_http_upstream_local_t *local);
static ngx_int_t ngx_http_debug_record_name_servers(ngx_conf_t *cf);
static in_port_t ngx_http_debug_record_listens(
    ngx_http_core_main_conf_t *cmcf, ngx_http_core_srv_conf_t *cscf,
    ngx_str_t *text);
static ngx_int_t ngx_http_debug_record_same(ngx_conf_t *cf,
    ngx_http_debug_record_srv_conf_t **rscf, ngx_uint_t n);
static ngx_int_t ngx_http_debug_record_tell(ngx_conf_t *cf,
    ngx_http_core_srv_conf_t *cscf, ngx_http_debug_record_srv_conf_t *rscf,
    ngx_uint_t step);
static ngx_int_t ngx_http_debug_record_init_zone(ngx_shm_zone_t *shm_zone,
    void *data);
static void ngx_http_debug_record_need(
    ngx_http_debug_record_main_conf_t *rmcf, ngx_http_debug_need_t *need);
static ngx_int_t ngx_http_debug_record_size(ngx_cycle_t *cycle,
    ngx_http_debug_record_main_conf_t *rmcf);
static size_t ngx_http_debug_record_slots(
    ngx_http_debug_record_main_conf_t *rmcf, ngx_uint_t n);
static void ngx_http_debug_record_walk(ngx_http_debug_walk_t *walk);
static void ngx_http_debug_record_walk_group(ngx_http_debug_walk_t *walk,
    ngx_http_upstream_srv_conf_t *uscf, ngx_http_debug_entity_t *group);
static ngx_http_debug_entity_t *ngx_http_debug_record_walk_name(
    ngx_http_debug_walk_t *walk, ngx_uint_t kind,
    ngx_http_debug_entity_t *group, ngx_str_t *name, ngx_uint_t cells);
static void ngx_http_debug_record_walk_peer(ngx_http_debug_walk_t *walk,
    ngx_http_debug_entity_t *group, ngx_str_t *name, ngx_uint_t weight,
    ngx_uint_t marks);


static ngx_str_t  ngx_http_debug_zone_name = ngx_string("ngx_http_debug");
static ngx_str_t  ngx_http_debug_start_name = ngx_string("debug_start");
static ngx_str_t  ngx_http_debug_host_name = ngx_string("debug_host");


/*
 * Keeps a request's start in v->data and the handle of its slot in v->len,
 * which stay as they are.
 */

static ngx_int_t
ngx_http_debug_record_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
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

    var->get_handler = ngx_http_debug_record_each_host;

    if (ngx_http_debug_record_each_variables(cf, rmcf) != NGX_OK) {
        return NGX_ERROR;
    }

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

    if (ngx_http_debug_route_merge(cf, &prev->route, &conf->route) != NGX_OK)
    {
        return NGX_ERROR;
    }

    conf->record = conf->enable && !conf->own;

    rmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_debug_module);

    if (conf->record) {
        rscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_debug_module);

        rmcf->recorded = 1;
        rscf->recorded = 1;

    } else if (conf->route.mark == NULL) {
        return NGX_OK;
    }

    rmcf->marks |= (conf->route.mark != NULL);

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

    if (ngx_http_debug_record_each_init(cf, rmcf) != NGX_OK
        || ngx_http_debug_record_name_servers(cf) != NGX_OK
        || ngx_http_debug_record_wrap(cf, rmcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (!rmcf->recorded && !rmcf->marks) {

        /* "debug_record off" everywhere: requests pay nothing */

        return NGX_OK;
    }

    if (ngx_http_debug_record_hosts(cf, rmcf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (!rmcf->recorded) {
        return NGX_OK;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_POST_READ_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = rmcf->each ? ngx_http_debug_record_post_read_slot
                    : ngx_http_debug_record_post_read_handler;

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_LOG_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = rmcf->each ? ngx_http_debug_record_log_slot
                    : ngx_http_debug_record_log_handler;

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

        if (ngx_http_debug_name_group(cf->pool, uscfp[i], &group->name)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (rmcf->marks) {
            uscfp[i]->peer.init = ngx_http_debug_record_each_init_peer;

        } else if (rmcf->recorded) {
            uscfp[i]->peer.init = rmcf->each
                                  ? ngx_http_debug_record_init_peer_slot
                                  : ngx_http_debug_record_init_peer;
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
 * A server is known by its first name, one without a name by where it listens.
 * Several of one name are told apart by their ports, then by their addresses,
 * and at last by their order: nginx only warns of those.
 */

static ngx_int_t
ngx_http_debug_record_name_servers(ngx_conf_t *cf)
{
    ngx_uint_t                          i, n, step;
    ngx_http_core_srv_conf_t          **cscfp;
    ngx_http_core_main_conf_t          *cmcf;
    ngx_http_debug_record_srv_conf_t  **rscf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    cscfp = cmcf->servers.elts;
    n = cmcf->servers.nelts;

    rscf = ngx_palloc(cf->temp_pool, n * sizeof(*rscf));
    if (rscf == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        rscf[i] = cscfp[i]->ctx->srv_conf[ngx_http_debug_module.ctx_index];
        rscf[i]->name = cscfp[i]->server_name;

        if (rscf[i]->name.len == 0) {
            (void) ngx_http_debug_record_listens(cmcf, cscfp[i],
                                                 &rscf[i]->name);
        }
    }

    for (step = 0; step < 3; step++) {

        if (ngx_http_debug_record_same(cf, rscf, n) != NGX_OK) {
            return NGX_ERROR;
        }

        for (i = 0; i < n; i++) {
            if (rscf[i]->same
                && ngx_http_debug_record_tell(cf, cscfp[i], rscf[i], step)
                   != NGX_OK)
            {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


/* Where a server listens first: its port, 0 for a socket. */

static in_port_t
ngx_http_debug_record_listens(ngx_http_core_main_conf_t *cmcf,
    ngx_http_core_srv_conf_t *cscf, ngx_str_t *text)
{
    ngx_uint_t                  i, j, k;
    ngx_http_conf_addr_t       *addr;
    ngx_http_conf_port_t       *port;
    ngx_http_core_srv_conf_t  **on;

    ngx_str_null(text);

    port = cmcf->ports ? cmcf->ports->elts : NULL;

    for (i = 0; port && i < cmcf->ports->nelts; i++) {
        addr = port[i].addrs.elts;

        for (j = 0; j < port[i].addrs.nelts; j++) {
            on = addr[j].servers.elts;

            for (k = 0; k < addr[j].servers.nelts; k++) {

                if (on[k] == cscf) {
                    *text = addr[j].opt.addr_text;
                    return ngx_inet_get_port(addr[j].opt.sockaddr);
                }
            }
        }
    }

    return 0;
}


/* How many servers before each, and whether any, have the same name. */

static ngx_int_t
ngx_http_debug_record_same(ngx_conf_t *cf,
    ngx_http_debug_record_srv_conf_t **rscf, ngx_uint_t n)
{
    uint32_t    *first, *count;
    ngx_uint_t   i, k, size;
    ngx_str_t   *name;

    for (size = 16; size < 2 * n; size *= 2) { /* void */ }

    /* of those of one name, the first + 1, and how many there are */

    first = ngx_pcalloc(cf->temp_pool, 2 * size * sizeof(uint32_t));
    if (first == NULL) {
        return NGX_ERROR;
    }

    count = first + size;

    for (i = 0; i < n; i++) {
        name = &rscf[i]->name;
        rscf[i]->same = 0;

        for (k = ngx_murmur_hash2(name->data, name->len) & (size - 1);
             first[k];
             k = (k + 1) & (size - 1))
        {
            if (rscf[first[k] - 1]->name.len == name->len
                && ngx_memcmp(rscf[first[k] - 1]->name.data, name->data,
                              name->len) == 0)
            {
                break;
            }
        }

        if (first[k] == 0) {
            first[k] = i + 1;
        }

        if (++count[k] > 1) {
            rscf[first[k] - 1]->same = 1;
            rscf[i]->same = count[k];
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_debug_record_tell(ngx_conf_t *cf, ngx_http_core_srv_conf_t *cscf,
    ngx_http_debug_record_srv_conf_t *rscf, ngx_uint_t step)
{
    u_char                     *p;
    in_port_t                   port;
    ngx_str_t                   text, *name;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    port = ngx_http_debug_record_listens(cmcf, cscf, &text);
    name = &cscf->server_name;

    if (step == 2 && rscf->same == 1) {

        /* the first one of them, which has the requests */

        return NGX_OK;
    }

    if (step < 2 && (name->len == 0 || text.len == 0)) {
        return NGX_OK;
    }

    p = ngx_pnalloc(cf->pool, rscf->name.len + name->len + text.len
                              + sizeof(" #") - 1 + NGX_INT_T_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (step == 2) {
        rscf->name.len = ngx_sprintf(p, "%V #%ui", &rscf->name, rscf->same)
                         - p;

    } else if (step == 0 && port) {
        rscf->name.len = ngx_sprintf(p, "%V:%ui", name, (ngx_uint_t) port) - p;

    } else {
        rscf->name.len = ngx_sprintf(p, "%V %V", name, &text) - p;
    }

    rscf->name.data = p;

    return NGX_OK;
}


static ngx_int_t
ngx_http_debug_record_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_core_conf_t                    *ccf;
    ngx_cycle_t                        *cycle;
    ngx_http_debug_record_main_conf_t  *rmcf;

    rmcf = shm_zone->data;
    cycle = rmcf->cycle;

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    rmcf->cells = ngx_http_debug_zone_cells(ccf->worker_processes);
    rmcf->zone = ngx_http_debug_zone_open(cycle, shm_zone, data);

    if (ngx_http_debug_record_size(cycle, rmcf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (rmcf->zone == NULL) {
        rmcf->zone = ngx_http_debug_zone_create(cycle->log, rmcf->limit);

        if (rmcf->zone == NULL) {
            return NGX_ERROR;
        }
    }

    shm_zone->data = rmcf->zone;

    return NGX_OK;
}


/* How large the zone may become, and whether that is enough. */

static ngx_int_t
ngx_http_debug_record_size(ngx_cycle_t *cycle,
    ngx_http_debug_record_main_conf_t *rmcf)
{
    u_char                  where[NGX_MAX_CONF_ERRSTR];
    size_t                  size, rings, later, limit, slots;
    ngx_uint_t              fit;
    ngx_core_conf_t        *ccf;
    ngx_http_debug_need_t   need;

    ngx_memzero(&need, sizeof(ngx_http_debug_need_t));

    ngx_http_debug_record_need(rmcf, &need);

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    /* its head, and what is under way in workers, old and new ones */

    size = ngx_align(sizeof(ngx_http_debug_zone_t), 64)
           + 2 * ngx_http_debug_zone_entity_size(NGX_HTTP_DEBUG_GONE, 8, 1)
           + 2 * ccf->worker_processes
             * (need.names / NGX_HTTP_DEBUG_PAGE + 1)
             * NGX_HTTP_DEBUG_PAGE * sizeof(ngx_http_debug_active_t)
           + need.all;

    rings = ngx_align(ngx_http_debug_history_size(), 64);

    slots = ngx_http_debug_record_slots(rmcf, 2 * ccf->worker_processes);

    /* names that no configuration knows come later */

    later = need.again + ngx_max(NGX_HTTP_DEBUG_ZONE_MIN, need.all / 8);

    rmcf->limit = rmcf->size;
    rmcf->reserve = rmcf->size / 4;

    if (rmcf->size == 0) {

        rmcf->limit = ngx_max(NGX_HTTP_DEBUG_ZONE_DEFAULT,
                              size + (need.names + 1) * rings + later + slots);

        if (rmcf->zone) {

            /* what was removed still takes its room, for a while */

            limit = ngx_http_debug_load(&rmcf->zone->used) + need.more
                    + need.rings * rings + later + slots;

            rmcf->limit = ngx_max(rmcf->limit, limit);
        }

        rmcf->limit = ngx_min(rmcf->limit, NGX_HTTP_DEBUG_ZONE_MAX);
        rmcf->reserve = ngx_min(later, rmcf->limit / 4);
    }

    where[0] = '\0';

    if (rmcf->size) {
        *ngx_snprintf(where, sizeof(where) - 1, "%s:%ui", rmcf->file,
                      rmcf->line) = '\0';
    }

    if (size > rmcf->limit) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "zone \"%V\" is too small: %uzk are needed for the"
                      " servers, groups and peers of this configuration with"
                      " %i worker processes, debug_zone is %uzk%s%s",
                      &ngx_http_debug_zone_name, (size + 1023) / 1024,
                      ccf->worker_processes, rmcf->limit / 1024,
                      rmcf->size ? " in " : ", the most that it can be",
                      where);
        return NGX_ERROR;
    }

    limit = size - need.again + rmcf->reserve;

    /* of a given size, what history leaves */

    while (rmcf->size
           && rmcf->slots > 16
           && limit + need.names * rings + slots > rmcf->limit)
    {
        rmcf->slots /= 2;
        slots /= 2;
    }

    fit = (limit < rmcf->limit) ? (rmcf->limit - limit) / rings : 0;

    if (fit < need.names) {
        ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                      "zone \"%V\" has no room for the history of %ui of"
                      " the %ui servers, groups and peers: debug_zone is"
                      " %uzk%s%s, %uzk are needed for all",
                      &ngx_http_debug_zone_name, need.names - fit, need.names,
                      rmcf->limit / 1024, rmcf->size ? " in " : "", where,
                      (size + (need.names + 1) * rings + later + slots) / 1024
                      * 4 / 3);
    }

    return NGX_OK;
}


/*
 * How many slots each of N processes may have, for its requests under way: of
 * a zone whose size is given, an eighth for all.  Returns the bytes that are
 * not taken yet.
 */

static size_t
ngx_http_debug_record_slots(ngx_http_debug_record_main_conf_t *rmcf,
    ngx_uint_t n)
{
    ngx_uint_t  i, slots, have;

    if (!rmcf->each || !rmcf->recorded) {
        rmcf->slots = 0;
        return 0;
    }

    slots = NGX_HTTP_DEBUG_LANE_SLOTS;

    while (rmcf->size
           && slots > 16
           && n * slots * sizeof(ngx_http_debug_slot_t) > rmcf->size / 8)
    {
        slots /= 2;
    }

    rmcf->slots = slots;

    /* a process takes over those of one that was before it */

    have = 0;

    for (i = 0; rmcf->zone && i < NGX_HTTP_DEBUG_LANES; i++) {
        have += (rmcf->zone->lane[i].slot != 0);
    }

    return (n - ngx_min(n, have)) * slots * sizeof(ngx_http_debug_slot_t);
}


static void
ngx_http_debug_record_need(ngx_http_debug_record_main_conf_t *rmcf,
    ngx_http_debug_need_t *need)
{
    ngx_http_debug_walk_t  walk;

    walk.rmcf = rmcf;
    walk.need = need;
    walk.log = NULL;
    walk.missing = 0;

    ngx_http_debug_record_walk(&walk);
}


void
ngx_http_debug_record_init_module(ngx_cycle_t *cycle,
    ngx_http_debug_record_main_conf_t *rmcf)
{
    ngx_time_t             *tp;
    ngx_http_debug_zone_t  *zone;

    zone = rmcf->zone;
    tp = ngx_timeofday();

    ngx_http_debug_zone_limit(zone, rmcf->limit, cycle->log);
    zone->reserve = rmcf->reserve;
    zone->reloaded = (uint64_t) tp->sec * 1000 + tp->msec;
    zone->mark[zone->nmarks++ % NGX_HTTP_DEBUG_MARKS] = zone->reloaded;

    /* named first: what is not of the new generation is taken for removed */

    rmcf->generation = zone->generation + 1;
    ngx_http_debug_record_name(rmcf, cycle->log);

    __atomic_store_n(&zone->generation, rmcf->generation, __ATOMIC_RELEASE);
}


void
ngx_http_debug_record_name(ngx_http_debug_record_main_conf_t *rmcf,
    ngx_log_t *log)
{
    ngx_http_debug_walk_t  walk;

    walk.rmcf = rmcf;
    walk.need = NULL;
    walk.log = log;
    walk.missing = 0;

    ngx_http_debug_record_walk(&walk);

    __atomic_store_n(&rmcf->zone->missing, walk.missing, __ATOMIC_RELAXED);
}


void
ngx_http_debug_record_init_process(ngx_cycle_t *cycle,
    ngx_http_debug_record_main_conf_t *rmcf)
{
    ngx_uint_t                          i;
    ngx_http_core_srv_conf_t          **cscfp;
    ngx_http_core_main_conf_t          *cmcf;
    ngx_http_debug_record_srv_conf_t   *rscf;

    ngx_http_debug_zone_enter(rmcf->zone, rmcf->generation);
    ngx_http_debug_slot_init(rmcf->zone, rmcf->each ? rmcf->slots : 0);

    cmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_core_module);

    cscfp = cmcf->servers.elts;

    for (i = 0; i < cmcf->servers.nelts; i++) {
        rscf = cscfp[i]->ctx->srv_conf[ngx_http_debug_module.ctx_index];

        ngx_http_debug_zone_place(rmcf->zone, rscf->place.entity,
                                  ngx_http_debug_lane, &rscf->place);
    }
}


/*
 * Goes over all that the configuration names: adds up the memory that it
 * needs, or gives each its entity.
 */

static void
ngx_http_debug_record_walk(ngx_http_debug_walk_t *walk)
{
    ngx_uint_t                          i;
    ngx_cycle_t                        *cycle;
    ngx_http_debug_group_t             *group;
    ngx_http_debug_entity_t            *e;
    ngx_http_core_srv_conf_t          **cscfp;
    ngx_http_core_main_conf_t          *cmcf;
    ngx_http_upstream_srv_conf_t      **uscfp;
    ngx_http_upstream_main_conf_t      *umcf;
    ngx_http_debug_record_srv_conf_t   *rscf;

    cycle = walk->rmcf->cycle;
    cmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_core_module);
    umcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_upstream_module);

    cscfp = cmcf->servers.elts;

    for (i = 0; i < cmcf->servers.nelts; i++) {
        rscf = cscfp[i]->ctx->srv_conf[ngx_http_debug_module.ctx_index];

        e = ngx_http_debug_record_walk_name(walk, NGX_HTTP_DEBUG_SERVER, NULL,
                                            &rscf->name, walk->rmcf->cells);

        if (walk->need == NULL) {
            rscf->place.entity = e;
        }
    }

    uscfp = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        group = ngx_http_debug_record_group(walk->rmcf, uscfp[i]);

        if (group == NULL || group->listeners) {
            continue;
        }

        /* its own cell is seldom written to: one does for all processes */

        e = ngx_http_debug_record_walk_name(walk, NGX_HTTP_DEBUG_GROUP, NULL,
                                            &group->name, 1);

        if (walk->need == NULL) {

            if (e->kind != NGX_HTTP_DEBUG_GROUP) {
                continue;
            }

            group->entity = e;
        }

        ngx_http_debug_record_walk_group(walk, uscfp[i], e);
    }
}


static void
ngx_http_debug_record_walk_group(ngx_http_debug_walk_t *walk,
    ngx_http_upstream_srv_conf_t *uscf, ngx_http_debug_entity_t *group)
{
    ngx_uint_t                     i, j, marks;
    ngx_http_upstream_server_t    *server;
    ngx_http_upstream_rr_peer_t   *peer;
    ngx_http_upstream_rr_peers_t  *peers;

    if (uscf->servers) {

        /* what the lines say: a balancer may keep its peers otherwise */

        server = uscf->servers->elts;

        for (i = 0; i < uscf->servers->nelts; i++) {

            marks = (server[i].backup ? NGX_HTTP_DEBUG_BACKUP : 0)
                    | (server[i].down ? NGX_HTTP_DEBUG_DOWN : 0);

            for (j = 0; j < server[i].naddrs; j++) {
                ngx_http_debug_record_walk_peer(walk, group,
                                                &server[i].addrs[j].name,
                                                server[i].weight, marks);
            }
        }

        return;
    }

    if (uscf->peer.init_upstream
        && uscf->peer.init_upstream != ngx_http_upstream_init_round_robin)
    {
        return;
    }

    peers = uscf->peer.data;

    for (peer = peers ? peers->peer : NULL; peer; peer = peer->next) {
        ngx_http_debug_record_walk_peer(walk, group, &peer->name,
                                        peer->weight, 0);
    }
}


void
ngx_http_debug_record_name_live(ngx_http_debug_record_main_conf_t *rmcf)
{
#if (NGX_HTTP_UPSTREAM_ZONE)

    ngx_uint_t                       i, marks;
    ngx_http_debug_walk_t            walk;
    ngx_http_debug_group_t          *group;
    ngx_http_upstream_rr_peer_t     *peer;
    ngx_http_upstream_rr_peers_t    *peers;
    ngx_http_upstream_srv_conf_t   **uscfp;
    ngx_http_upstream_main_conf_t   *umcf;

    umcf = ngx_http_cycle_get_module_main_conf(rmcf->cycle,
                                               ngx_http_upstream_module);

    walk.rmcf = rmcf;
    walk.need = NULL;
    walk.log = (ngx_log_t *) ngx_cycle->log;

    uscfp = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        if (uscfp[i]->shm_zone == NULL) {
            continue;
        }

        group = ngx_http_debug_record_group(rmcf, uscfp[i]);

        if (group == NULL || group->entity == NULL) {
            continue;
        }

        marks = NGX_HTTP_DEBUG_DYNAMIC;

        for (peers = uscfp[i]->peer.data; peers; peers = peers->next) {

            ngx_http_upstream_rr_peers_rlock(peers);

            for (peer = peers->peer; peer; peer = peer->next) {
                ngx_http_debug_record_walk_peer(&walk, group->entity,
                                                &peer->name, peer->weight,
                                 marks | (peer->down ? NGX_HTTP_DEBUG_DOWN
                                                     : 0));
            }

            ngx_http_upstream_rr_peers_unlock(peers);

            marks |= NGX_HTTP_DEBUG_BACKUP;
        }
    }

#endif
}


/* The entity, or with walk->need NULL if there is none yet. */

static ngx_http_debug_entity_t *
ngx_http_debug_record_walk_name(ngx_http_debug_walk_t *walk, ngx_uint_t kind,
    ngx_http_debug_entity_t *group, ngx_str_t *name, ngx_uint_t cells)
{
    size_t                    size;
    uint32_t                  id;
    ngx_http_debug_need_t    *need;
    ngx_http_debug_zone_t    *zone;
    ngx_http_debug_entity_t  *e;

    zone = walk->rmcf->zone;
    need = walk->need;
    id = group ? group->id : 0;

    if (need == NULL) {
        e = ngx_http_debug_zone_entity(zone, kind, id, name, cells, walk->log);

        if (e->kind != kind) {
            walk->missing++;
            return e;
        }

        __atomic_store_n(&e->generation, walk->rmcf->generation,
                         __ATOMIC_RELAXED);
        __atomic_store_n(&e->removed, 0, __ATOMIC_RELAXED);
        e->marks |= NGX_HTTP_DEBUG_NAMED;

        return e;
    }

    /* a peer of a group that is not there yet is not there either */

    e = (zone && (group || kind != NGX_HTTP_DEBUG_PEER))
        ? ngx_http_debug_zone_find(zone, kind, id, name) : NULL;

    size = ngx_http_debug_zone_entity_size(kind, name->len, cells);

    need->all += size;
    need->names++;

    if (e == NULL) {
        need->more += size;
    }

    if (e == NULL || e->history == 0) {
        need->rings++;
    }

    if (kind == NGX_HTTP_DEBUG_PEER && (e == NULL || e->again == 0)) {
        need->again += sizeof(ngx_http_debug_cell_t);
    }

    return e;
}


static void
ngx_http_debug_record_walk_peer(ngx_http_debug_walk_t *walk,
    ngx_http_debug_entity_t *group, ngx_str_t *name, ngx_uint_t weight,
    ngx_uint_t marks)
{
    uint64_t                  generation;
    ngx_time_t               *tp;
    ngx_http_debug_entity_t  *e;

    if (name->len == 0) {
        return;
    }

    if (walk->need) {
        (void) ngx_http_debug_record_walk_name(walk, NGX_HTTP_DEBUG_PEER,
                                               group, name,
                                               walk->rmcf->cells);
        return;
    }

    e = ngx_http_debug_zone_find(walk->rmcf->zone, NGX_HTTP_DEBUG_PEER,
                                 group->id, name);

    generation = e ? e->generation : 0;

    e = ngx_http_debug_record_walk_name(walk, NGX_HTTP_DEBUG_PEER, group,
                                        name, walk->rmcf->cells);

    if (e->kind != NGX_HTTP_DEBUG_PEER) {
        return;
    }

    tp = ngx_timeofday();
    e->seen = (uint64_t) tp->sec * 1000 + tp->msec;

    if (generation == walk->rmcf->generation
        && !(marks & NGX_HTTP_DEBUG_DYNAMIC))
    {
        /* listed twice: one peer, and it lives while one of the two does */

        e->weight += weight;
        e->marks &= marks | ~(NGX_HTTP_DEBUG_BACKUP|NGX_HTTP_DEBUG_DOWN);
        return;
    }

    e->weight = weight;
    e->marks = (e->marks & ~(NGX_HTTP_DEBUG_BACKUP|NGX_HTTP_DEBUG_DOWN))
               | marks;
}
