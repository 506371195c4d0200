
/*
 * What is told of each request while it is under way: to its peer by a mark,
 * where debug_route is on, and to who asks how far it has come, by its slot.
 *
 * What marks stands around the handlers of ngx_http_debug_record.h, in their
 * place; where nothing is marked, those stand there alone.
 */


#ifndef _NGX_HTTP_DEBUG_RECORD_EACH_H_INCLUDED_
#define _NGX_HTTP_DEBUG_RECORD_EACH_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_record.h"


/* Adds $debug_route and $debug_id.  Context: configuration. */
ngx_int_t ngx_http_debug_record_each_variables(ngx_conf_t *cf,
    ngx_http_debug_record_main_conf_t *rmcf);

/* What marks need.  Context: configuration. */
ngx_int_t ngx_http_debug_record_each_init(ngx_conf_t *cf,
    ngx_http_debug_record_main_conf_t *rmcf);

ngx_int_t ngx_http_debug_record_each_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);
ngx_int_t ngx_http_debug_record_each_host(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);

/*
 * Writes to the slots of this process what only it can see: how far each
 * request has come.  Context: worker.
 */
void ngx_http_debug_record_each_look(ngx_http_debug_record_main_conf_t *rmcf);

/* The same once a second, and more often while somebody looks on. */
void ngx_http_debug_record_each_tick(ngx_http_debug_record_main_conf_t *rmcf);


#endif /* _NGX_HTTP_DEBUG_RECORD_EACH_H_INCLUDED_ */
