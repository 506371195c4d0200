
/*
 * What a group is called.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_name.h"


ngx_int_t
ngx_http_debug_name_group(ngx_pool_t *pool,
    ngx_http_upstream_srv_conf_t *uscf, ngx_str_t *name)
{
    *name = uscf->host;

    if (uscf->flags & NGX_HTTP_UPSTREAM_CREATE) {
        return NGX_OK;
    }

    /* the longer of "unix:" and ":65535" */

    name->data = ngx_pnalloc(pool, uscf->host.len + sizeof(":65535") - 1);
    if (name->data == NULL) {
        return NGX_ERROR;
    }

    if (uscf->port) {
        name->len = ngx_sprintf(name->data, "%V:%ui", &uscf->host,
                                (ngx_uint_t) uscf->port)
                    - name->data;
        return NGX_OK;
    }

    /* of a socket nginx keeps the path alone */

    name->len = ngx_sprintf(name->data, "unix:%V", &uscf->host) - name->data;

    return NGX_OK;
}
