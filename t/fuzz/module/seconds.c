/*
 * Feeds anything to the reader of "seconds": what stands beside it in a query
 * changes nothing, and what comes out is within its bounds.
 */

#include "../../../ngx_module/ngx_http_debug_seconds.c"
#include "host.h"


static ngx_http_debug_seconds_result_e
ask(ngx_pool_t *pool, char *before, const u_char *data, size_t size,
    char *after, ngx_uint_t fraction, ngx_msec_t *msec)
{
    u_char                           *copy;
    size_t                            len;
    ngx_str_t                         args;
    ngx_http_debug_seconds_result_e   result;

    len = strlen(before) + size + strlen(after);
    args.len = len;
    args.data = ngx_pnalloc(pool, len + 1);

    (void) ngx_cpymem(ngx_cpymem(ngx_cpymem(args.data, before,
                                            strlen(before)),
                                 data, size),
                      after, strlen(after));

    /* it ends where its page does */
    copy = guard(args.data, len);
    args.data = copy;
    *msec = 0;

    result = ngx_http_debug_seconds(&args, fraction, msec);
    (void) ngx_http_debug_seconds_form(&args);

    guard_free(copy, len);

    return result;
}


static void
fuzz(ngx_pool_t *pool, const u_char *data, size_t size)
{
    ngx_uint_t                       fraction;
    ngx_msec_t                       msec, other;
    ngx_http_debug_seconds_result_e  result;

    for (fraction = 0; fraction < 2; fraction++) {
        result = ask(pool, "", data, size, "", fraction, &msec);

        if (result == NGX_HTTP_DEBUG_SECONDS_OK) {
            if (msec == 0
                || msec / 1000 > NGX_HTTP_DEBUG_SECONDS_MAX
                || (!fraction && msec % 1000))
            {
                abort();
            }

        } else if (msec != 0) {
            abort();
        }

        if (ask(pool, "a=b&", data, size, "&c=d", fraction, &other) != result
            || other != msec)
        {
            abort();
        }

        /* the first counts */
        if (ask(pool, "seconds=7&", data, size, "", fraction, &other)
            != NGX_HTTP_DEBUG_SECONDS_OK
            || other != 7000)
        {
            abort();
        }
    }
}
