
/*
 * debug_route: by which name a request is known behind nginx.
 *
 * A name comes from the configuration, never from a client.  Where none is
 * given it is the location's: "/api/", "=/login", "~\.php$", "@app".
 */


#ifndef _NGX_HTTP_DEBUG_ROUTE_H_INCLUDED_
#define _NGX_HTTP_DEBUG_ROUTE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_mark.h"


typedef struct {
    ngx_int_t               enable;    /* NGX_CONF_UNSET, 0, 1 */
    ngx_str_t               given;     /* else the location's */
    ngx_uint_t              shown;     /* clients are told the id */

    ngx_uint_t              len;
    u_char                  name[NGX_HTTP_DEBUG_ROUTE_LEN];
                                       /* also where nothing is marked */
    ngx_http_debug_mark_t  *mark;      /* NULL: nothing is marked here */
} ngx_http_debug_route_conf_t;


/* Context of all: configuration. */

/* The directive's handler; CONF + cmd->offset is an ..._route_conf_t. */
char *ngx_http_debug_route_set(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* Returns NGX_OK or NGX_ERROR (no memory). */
ngx_int_t ngx_http_debug_route_merge(ngx_conf_t *cf,
    ngx_http_debug_route_conf_t *prev, ngx_http_debug_route_conf_t *conf);


#endif /* _NGX_HTTP_DEBUG_ROUTE_H_INCLUDED_ */
