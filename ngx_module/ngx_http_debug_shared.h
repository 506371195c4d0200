
/*
 * Zones of shared memory that hold one struct, of constant size, so that a
 * reload finds it again.
 */


#ifndef _NGX_HTTP_DEBUG_SHARED_H_INCLUDED_
#define _NGX_HTTP_DEBUG_SHARED_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * Adds the zone NAME of SIZE bytes.  Its "data" is a struct of NEED bytes in
 * the processes that come, zeroed, and so read: but for that it would take no
 * memory yet.  Returns NULL when there is no memory.  Context: configuration.
 */
ngx_shm_zone_t *ngx_http_debug_shared_add(ngx_conf_t *cf, ngx_str_t *name,
    size_t size, size_t need);

/* The zone's init; for who has more to do there. */
ngx_int_t ngx_http_debug_shared_init(ngx_shm_zone_t *zone, void *data);


#endif /* _NGX_HTTP_DEBUG_SHARED_H_INCLUDED_ */
