
/*
 * The body of a client's request, wherever nginx has put it.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_body.h"


ngx_int_t
ngx_http_debug_body_copy(ngx_http_request_t *r, u_char *p, ngx_buf_t *b)
{
    off_t    size;
    ssize_t  n;

    size = ngx_buf_size(b);

    if (ngx_buf_in_memory(b) || size == 0) {
        ngx_memcpy(p, b->pos, size);
        return NGX_OK;
    }

    n = ngx_read_file(b->file, p, size, b->file_pos);

    if (n == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (n != size) {
        ngx_log_error(NGX_LOG_CRIT, r->connection->log, 0,
                      ngx_read_file_n " read only %z of %O from \"%s\"",
                      n, size, b->file->name.data);
        return NGX_ERROR;
    }

    return NGX_OK;
}
