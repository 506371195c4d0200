
/*
 * Zones of shared memory that hold one struct.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_debug_shared.h"


extern ngx_module_t  ngx_http_debug_module;


ngx_shm_zone_t *
ngx_http_debug_shared_add(ngx_conf_t *cf, ngx_str_t *name, size_t size,
    size_t need)
{
    ngx_shm_zone_t  *zone;

    zone = ngx_shared_memory_add(cf, name, size, &ngx_http_debug_module);
    if (zone == NULL) {
        return NULL;
    }

    zone->init = ngx_http_debug_shared_init;

    /* until then */
    zone->data = (void *) (uintptr_t) need;

    return zone;
}


ngx_int_t
ngx_http_debug_shared_init(ngx_shm_zone_t *zone, void *data)
{
    size_t            need;
    ngx_slab_pool_t  *shpool;

    need = (size_t) (uintptr_t) zone->data;
    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    if (data != NULL) {
        zone->data = data;
        return NGX_OK;
    }

    if (zone->shm.exists) {
        zone->data = shpool->data;
        return NGX_OK;
    }

    zone->data = ngx_slab_calloc(shpool, need);
    if (zone->data == NULL) {
        return NGX_ERROR;
    }

    shpool->data = zone->data;

    return NGX_OK;
}
