
/*
 * The pages' own files (assets/), made into byte arrays by assets/embed.pl.
 */


#ifndef _NGX_HTTP_DEBUG_ASSETS_H_INCLUDED_
#define _NGX_HTTP_DEBUG_ASSETS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef struct {
    ngx_str_t  name;
    ngx_str_t  type;      /* media type */
    ngx_str_t  hash;      /* of the content, for links that never go stale */
    ngx_str_t  gzip;      /* the file as a gzip member */
    size_t     size;      /* bytes before gzip */
} ngx_http_debug_asset_t;


/* the last one has an empty name */
extern ngx_http_debug_asset_t  ngx_http_debug_assets[];


#endif /* _NGX_HTTP_DEBUG_ASSETS_H_INCLUDED_ */
