
/*
 * The short way out: an answer that no filter may touch.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_send.h"


static ngx_http_output_header_filter_pt  ngx_http_debug_send_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_debug_send_body_filter;


ngx_int_t
ngx_http_debug_send_init(ngx_conf_t *cf)
{
    char       *name;
    ngx_uint_t  i, below;

    extern ngx_module_t  ngx_http_debug_module;

    ngx_http_debug_send_header_filter = NULL;
    ngx_http_debug_send_body_filter = NULL;

    /*
     * The tops of the chains are ours to take only between the module that
     * sends headers and the first of those that change answers.  Before the
     * former they still are those of the previous configuration.
     */

    below = 0;

    for (i = 0; cf->cycle->modules[i]; i++) {

        if (cf->cycle->modules[i] == &ngx_http_debug_module) {
            break;
        }

        name = cf->cycle->modules[i]->name;

        if (ngx_strcmp(name, "ngx_http_header_filter_module") == 0) {
            below = 1;
        }

        if (ngx_strcmp(name, "ngx_http_range_header_filter_module") == 0) {
            return NGX_OK;
        }
    }

    if (below) {
        ngx_http_debug_send_header_filter = ngx_http_top_header_filter;
        ngx_http_debug_send_body_filter = ngx_http_top_body_filter;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_debug_send_header(ngx_http_request_t *r)
{
    /* for the whole chain, and for third-party filters in the short one */

    r->gzip_tested = 1;
    r->gzip_ok = 0;
    r->allow_ranges = 0;
    r->disable_not_modified = 1;

    if (ngx_http_debug_send_header_filter == NULL
        || r != r->main
        || r->post_action
        || r->header_sent)
    {
        return ngx_http_send_header(r);
    }

    return ngx_http_debug_send_header_filter(r);
}


ngx_int_t
ngx_http_debug_send_body(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_int_t  rc;

    if (ngx_http_debug_send_body_filter == NULL || r != r->main) {
        return ngx_http_output_filter(r, in);
    }

    rc = ngx_http_debug_send_body_filter(r, in);

    if (rc == NGX_ERROR) {
        /* as ngx_http_output_filter(): NGX_ERROR may be of any filter */
        r->connection->error = 1;
    }

    return rc;
}


ngx_uint_t
ngx_http_debug_send_waits(ngx_http_request_t *r)
{
    return r->out || r->buffered || r->postponed || r->connection->buffered;
}
