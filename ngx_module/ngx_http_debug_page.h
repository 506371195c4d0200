
/*
 * The pages: complete without a script, in one frame, with relative links
 * alone, so that the whole tree may live under any prefix.
 *
 * Context: worker, request.
 */


#ifndef _NGX_HTTP_DEBUG_PAGE_H_INCLUDED_
#define _NGX_HTTP_DEBUG_PAGE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_out.h"
#include "ngx_http_debug_zone.h"
#include "ngx_http_debug_peers.h"


/* Snapshots are kept, which scripts want to know; set at worker start. */
extern ngx_uint_t  ngx_http_debug_page_kept;
extern ngx_uint_t  ngx_http_debug_page_watch;   /* incidents are */


/* Who has profiles in this location: what leads to no other is no link. */

typedef struct {
    ngx_uint_t    pprof;     /* it serves profiles */
    ngx_array_t  *pass;      /* ngx_http_debug_pass_t; NULL: of all groups */
} ngx_http_debug_page_may_t;


/*
 * Begins a page: PAGE is its name for the script, TITLE its title, ROOT the
 * relative way to the mount point ("" or "../" …).  What follows goes into
 * <main>, after an <h1> with the title.
 */
void ngx_http_debug_page_begin(ngx_http_debug_out_t *out, char *page,
    ngx_str_t *title, char *root, ngx_http_debug_page_may_t *may);
void ngx_http_debug_page_end(ngx_http_debug_out_t *out);

/* Appends S with the characters escaped that mean something in HTML. */
void ngx_http_debug_page_text(ngx_http_debug_out_t *out, ngx_str_t *s);

/* Appends S as one segment of a relative link. */
void ngx_http_debug_page_segment(ngx_http_debug_out_t *out, ngx_str_t *s);

/*
 * Sends the page: HTML with a policy that allows nothing from elsewhere and
 * no inline script.  Returns what a content handler returns.
 */
ngx_int_t ngx_http_debug_page_send(ngx_http_request_t *r,
    ngx_http_debug_out_t *out);

/* The pages themselves, and the files that they load. */
ngx_int_t ngx_http_debug_page_overview(ngx_http_request_t *r,
    ngx_http_debug_zone_t *zone, ngx_http_debug_page_may_t *may);
ngx_int_t ngx_http_debug_page_charts(ngx_http_request_t *r,
    ngx_http_debug_page_may_t *may);
ngx_int_t ngx_http_debug_page_viewer(ngx_http_request_t *r,
    ngx_http_debug_page_may_t *may);
ngx_int_t ngx_http_debug_page_asset(ngx_http_request_t *r, ngx_str_t *name);


#endif /* _NGX_HTTP_DEBUG_PAGE_H_INCLUDED_ */
