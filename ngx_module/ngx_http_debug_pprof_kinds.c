
/*
 * The kinds of profiles that are known.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_pprof.h"


/* a new kind is one line here */

ngx_http_debug_pprof_kind_t  ngx_http_debug_pprof_known[] = {

    { ngx_string("profile"), NGX_HTTP_DEBUG_PPROF_CPU,
      "CPU time, for ?seconds=30" },

    { ngx_string("heap"), 0, "memory in use, and by whom" },

    { ngx_string("allocs"), 0, "memory ever allocated" },

    { ngx_string("goroutine"), 0, "what every thread or goroutine does now" },

    { ngx_string("goroutineleak"), 0,
      "goroutines that nothing can ever wake (Go 1.27)" },

    { ngx_string("threadcreate"), 0, "what made threads" },

    { ngx_string("block"), 0, "waiting" },

    { ngx_string("mutex"), 0, "contended locks" },

    { ngx_string("growth"), 0, "where the heap grew" },

    { ngx_string("trace"), NGX_HTTP_DEBUG_PPROF_TRACE,
      "execution trace, for ?seconds=1 (Go)" },

    { ngx_string("cmdline"), NGX_HTTP_DEBUG_PPROF_TEXT, "command line" },

    { ngx_string("symbol"),
      NGX_HTTP_DEBUG_PPROF_SYMBOL|NGX_HTTP_DEBUG_PPROF_TEXT,
      "names of addresses" },

    { ngx_null_string, 0, NULL }
};


ngx_http_debug_pprof_kind_t *
ngx_http_debug_pprof_kind(ngx_str_t *name)
{
    ngx_http_debug_pprof_kind_t  *kind;

    for (kind = ngx_http_debug_pprof_known; kind->name.len; kind++) {
        if (kind->name.len == name->len
            && ngx_strncmp(kind->name.data, name->data, name->len) == 0)
        {
            return kind;
        }
    }

    return NULL;
}


ngx_uint_t
ngx_http_debug_pprof_kind_valid(ngx_str_t *name)
{
    u_char  ch;
    size_t  i;

    for (i = 0; i < name->len; i++) {
        ch = name->data[i];

        if (!((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')
              || (ch >= '0' && ch <= '9')
              || ch == '_' || ch == '-' || ch == '.'))
        {
            return 0;
        }
    }

    return name->len != 0 && name->data[0] != '.';
}
