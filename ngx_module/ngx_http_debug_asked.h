
/*
 * Whom nginx asks by itself, without a client who does: for snapshots, and for
 * what processes say of themselves.
 *
 * Who may be asked in some location is asked where and how he is asked there:
 * at the listeners of the first location that names some.
 *
 * Owner: the configuration's pool.
 */


#ifndef _NGX_HTTP_DEBUG_ASKED_H_INCLUDED_
#define _NGX_HTTP_DEBUG_ASKED_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_pprof.h"


typedef struct {
    ngx_array_t                    *locations;  /* of
                                            ngx_http_debug_pprof_conf_t *;
                                            NULL: none yet */
    ngx_array_t                    *pass;       /* of ngx_http_debug_pass_t:
                                            who is asked */
    ngx_array_t                    *ssl;        /* of
                                            ngx_http_debug_pprof_ssl_t *: and
                                            how; as many, in the same order */
    ngx_http_upstream_main_conf_t  *upstreams;
} ngx_http_debug_asked_t;


/* In a location with CONF they are.  Context: configuration, merge. */
ngx_int_t ngx_http_debug_asked_allow(ngx_conf_t *cf,
    ngx_http_debug_asked_t *asked, ngx_http_debug_pprof_conf_t *conf);

/*
 * Sets what comes after "locations"; without any of these, all groups are
 * asked.  After ngx_http_debug_pprof_init().  Context: postconfiguration.
 */
ngx_int_t ngx_http_debug_asked_init(ngx_conf_t *cf,
    ngx_http_debug_asked_t *asked);


#endif /* _NGX_HTTP_DEBUG_ASKED_H_INCLUDED_ */
