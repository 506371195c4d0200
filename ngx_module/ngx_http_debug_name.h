
/*
 * What a group is called: the same in stats, metrics, charts, profiles and
 * debug_pprof_pass.
 */


#ifndef _NGX_HTTP_DEBUG_NAME_H_INCLUDED_
#define _NGX_HTTP_DEBUG_NAME_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * Stores in *NAME that of an "upstream" block; or "host:port" or "unix:path"
 * where proxy_pass and its kin made the group.  Returns NGX_OK or NGX_ERROR (no
 * memory in POOL, which may be its owner).
 */
ngx_int_t ngx_http_debug_name_group(ngx_pool_t *pool,
    ngx_http_upstream_srv_conf_t *uscf, ngx_str_t *name);


#endif /* _NGX_HTTP_DEBUG_NAME_H_INCLUDED_ */
