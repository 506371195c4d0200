
/*
 * Whom nginx asks by itself.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_asked.h"


static ngx_int_t ngx_http_debug_asked_group(ngx_http_debug_asked_t *asked,
    ngx_http_upstream_srv_conf_t *uscf);
static ngx_int_t ngx_http_debug_asked_add(ngx_http_debug_asked_t *asked,
    ngx_http_debug_pass_t *pass, ngx_http_debug_pprof_conf_t *location);


ngx_int_t
ngx_http_debug_asked_allow(ngx_conf_t *cf, ngx_http_debug_asked_t *asked,
    ngx_http_debug_pprof_conf_t *conf)
{
    ngx_http_debug_pprof_conf_t  **location;

    if (asked->locations == NULL) {
        asked->locations = ngx_array_create(cf->pool, 4,
                                      sizeof(ngx_http_debug_pprof_conf_t *));
        if (asked->locations == NULL) {
            return NGX_ERROR;
        }
    }

    location = ngx_array_push(asked->locations);
    if (location == NULL) {
        return NGX_ERROR;
    }

    *location = conf;

    return NGX_OK;
}


ngx_int_t
ngx_http_debug_asked_init(ngx_conf_t *cf, ngx_http_debug_asked_t *asked)
{
    ngx_uint_t                      i, j, n;
    ngx_http_debug_pass_t          *pass;
    ngx_http_debug_pprof_conf_t   **location;
    ngx_http_upstream_srv_conf_t  **uscfp;

    asked->upstreams = ngx_http_conf_get_module_main_conf(cf,
                                                     ngx_http_upstream_module);

    asked->pass = ngx_array_create(cf->pool, 4, sizeof(ngx_http_debug_pass_t));
    asked->ssl = ngx_array_create(cf->pool, 4,
                                  sizeof(ngx_http_debug_pprof_ssl_t *));

    if (asked->pass == NULL || asked->ssl == NULL) {
        return NGX_ERROR;
    }

    uscfp = asked->upstreams->upstreams.elts;

    for (i = 0; i < asked->upstreams->upstreams.nelts; i++) {
        if (ngx_http_debug_peers_any(uscfp[i])
            && ngx_http_debug_asked_group(asked, uscfp[i]) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    /* sockets by a pattern are no upstream */

    n = asked->locations ? asked->locations->nelts : 0;
    location = n ? asked->locations->elts : NULL;

    for (i = 0; i < n; i++) {

        if (location[i]->pass == NULL) {
            continue;
        }

        pass = location[i]->pass->elts;

        for (j = 0; j < location[i]->pass->nelts; j++) {
            if (pass[j].pattern.len
                && ngx_http_debug_asked_add(asked, &pass[j], location[i])
                   != NGX_OK)
            {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_debug_asked_group(ngx_http_debug_asked_t *asked,
    ngx_http_upstream_srv_conf_t *uscf)
{
    ngx_uint_t                     i, j, n;
    ngx_http_debug_pass_t         *p, pass, *found;
    ngx_http_debug_pprof_conf_t  **location, *where;

    n = asked->locations ? asked->locations->nelts : 0;
    location = n ? asked->locations->elts : NULL;

    found = NULL;
    where = NULL;

    for (i = 0; i < n; i++) {

        if (location[i]->pass == NULL) {

            /* every group, at the peers themselves */

            where = where ? where : location[i];
            continue;
        }

        p = location[i]->pass->elts;

        for (j = 0; j < location[i]->pass->nelts; j++) {
            if (p[j].upstream == uscf
                && (found == NULL
                    || (found->listener == NULL && p[j].listener)))
            {
                found = &p[j];
                where = location[i];
            }
        }
    }

    if (n && where == NULL) {
        return NGX_OK;
    }

    ngx_memzero(&pass, sizeof(ngx_http_debug_pass_t));

    pass.group = uscf->host;
    pass.upstream = uscf;

    if (found != NULL) {
        pass.listener = found->listener;
        pass.prefix = found->prefix;
    }

    return ngx_http_debug_asked_add(asked, &pass, where);
}


static ngx_int_t
ngx_http_debug_asked_add(ngx_http_debug_asked_t *asked,
    ngx_http_debug_pass_t *pass, ngx_http_debug_pprof_conf_t *location)
{
    ngx_uint_t                    i;
    ngx_http_debug_pass_t        *p;
    ngx_http_debug_pprof_ssl_t  **ssl;

    p = asked->pass->elts;

    for (i = 0; i < asked->pass->nelts; i++) {
        if (pass->pattern.len
            && pass->group.len == p[i].group.len
            && ngx_strncmp(pass->group.data, p[i].group.data, p[i].group.len)
               == 0)
        {
            return NGX_OK;
        }
    }

    p = ngx_array_push(asked->pass);
    ssl = ngx_array_push(asked->ssl);

    if (p == NULL || ssl == NULL) {
        return NGX_ERROR;
    }

    *p = *pass;
    *ssl = location ? location->ssl : NULL;

    return NGX_OK;
}
