
/*
 * The profile kinds that are known.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_debug_kinds.h"


/* name, flags, seconds, a snapshot's query; title, what it shows */

ngx_http_debug_kind_t  ngx_http_debug_kinds[] = {

    { ngx_string("profile"),
      NGX_HTTP_DEBUG_KIND_ALONE|NGX_HTTP_DEBUG_KIND_KEPT, 30, "?seconds=30",
      "CPU profile", "CPU time, and who spent it" },

    /* not collected, garbage would look like growth */

    { ngx_string("heap"), NGX_HTTP_DEBUG_KIND_KEPT, 0, "?gc=2",
      "Heap", "Memory in use, and who allocated it" },

    { ngx_string("allocs"), NGX_HTTP_DEBUG_KIND_KEPT, 0, "",
      "Allocations", "Everything allocated since the start" },

    { ngx_string("goroutine"), NGX_HTTP_DEBUG_KIND_KEPT, 0, "",
      "Goroutines", "What every thread or goroutine is doing now" },

    { ngx_string("goroutineleak"), NGX_HTTP_DEBUG_KIND_GO, 0, "",
      "Leaked goroutines", "Goroutines that nothing can ever wake" },

    { ngx_string("threadcreate"), NGX_HTTP_DEBUG_KIND_KEPT, 0, "",
      "Thread creation", "What led to new threads" },

    { ngx_string("block"), NGX_HTTP_DEBUG_KIND_KEPT, 0, "",
      "Blocking", "Where threads wait" },

    { ngx_string("mutex"), NGX_HTTP_DEBUG_KIND_KEPT, 0, "",
      "Mutex contention", "Who holds the locks that others wait for" },

    { ngx_string("growth"), NGX_HTTP_DEBUG_KIND_KEPT, 0, "",
      "Heap growth", "Where the heap had to grow" },

    { ngx_string("trace"),
      NGX_HTTP_DEBUG_KIND_FRACTION|NGX_HTTP_DEBUG_KIND_GO
      |NGX_HTTP_DEBUG_KIND_RAW, 1, "",
      "Trace", "What the scheduler did" },

    { ngx_string("cmdline"), NGX_HTTP_DEBUG_KIND_TEXT, 0, "",
      "Command line", "How the process was started" },

    { ngx_string("symbol"),
      NGX_HTTP_DEBUG_KIND_TEXT|NGX_HTTP_DEBUG_KIND_BODY, 0, "",
      "Symbols", "Names of addresses" },

    { ngx_null_string, 0, 0, NULL, NULL, NULL }
};


ngx_http_debug_kind_t *
ngx_http_debug_kinds_find(ngx_str_t *name)
{
    ngx_http_debug_kind_t  *kind;

    for (kind = ngx_http_debug_kinds; kind->name.len; kind++) {
        if (kind->name.len == name->len
            && ngx_strncmp(kind->name.data, name->data, name->len) == 0)
        {
            return kind;
        }
    }

    return NULL;
}


ngx_uint_t
ngx_http_debug_kinds_valid(ngx_str_t *name)
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


void
ngx_http_debug_kinds_json(ngx_http_debug_out_t *out)
{
    ngx_uint_t              i;
    ngx_http_debug_kind_t  *kind;

    static struct {
        ngx_uint_t   flag;
        char        *name;
    } marks[] = {
        { NGX_HTTP_DEBUG_KIND_TEXT, "text" },
        { NGX_HTTP_DEBUG_KIND_GO, "go" },
        { NGX_HTTP_DEBUG_KIND_RAW, "raw" },
        { NGX_HTTP_DEBUG_KIND_KEPT, "kept" },
        { 0, NULL }
    };

    ngx_http_debug_out_literal(out, "[");

    for (kind = ngx_http_debug_kinds; kind->name.len; kind++) {

        ngx_http_debug_out_print(out,
            "%s{\"name\":\"%V\",\"title\":\"%s\",\"about\":\"%s\","
            "\"seconds\":%ui", kind == ngx_http_debug_kinds ? "" : ",",
            &kind->name, kind->title, kind->about, kind->seconds);

        for (i = 0; marks[i].flag; i++) {
            if (kind->flags & marks[i].flag) {
                ngx_http_debug_out_print(out, ",\"%s\":true", marks[i].name);
            }
        }

        ngx_http_debug_out_literal(out, "}");
    }

    ngx_http_debug_out_literal(out, "]");
}


void
ngx_http_debug_kinds_names(ngx_uint_t flag, ngx_str_t *names, u_char *buf,
    size_t size)
{
    u_char                 *p, *last;
    ngx_uint_t              i, n;
    ngx_http_debug_kind_t  *kind;

    p = buf;
    last = buf + size;
    n = 0;

    for (kind = ngx_http_debug_kinds; kind->name.len; kind++) {
        n += (kind->flags & flag) != 0;
    }

    i = 0;

    for (kind = ngx_http_debug_kinds; kind->name.len; kind++) {

        if (kind->flags & flag) {
            p = ngx_slprintf(p, last, "%s%V", i == 0 ? ""
                                              : i < n - 1 ? ", " : " or ",
                             &kind->name);
            i++;
        }
    }

    names->len = p - buf;
    names->data = buf;
}
