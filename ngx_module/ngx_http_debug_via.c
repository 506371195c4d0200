
/*
 * The header by which an nginx knows its own requests again.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_answer.h"
#include "ngx_http_debug_via.h"


static ngx_uint_t ngx_http_debug_via_names(ngx_http_request_t *r,
    ngx_str_t *names);


/* The same for all workers, and after a reload: the master makes it once. */

static u_char  ngx_http_debug_via_name[NGX_HTTP_DEBUG_VIA_NAME + 1];


void
ngx_http_debug_via_init(ngx_cycle_t *cycle)
{
    u_char           *p, text[NGX_MAXHOSTNAMELEN + 3 * NGX_INT64_LEN + 3];
    struct timespec   ts;

    if (ngx_http_debug_via_name[0] != '\0') {
        return;
    }

    (void) clock_gettime(CLOCK_REALTIME, &ts);

    p = ngx_snprintf(text, sizeof(text), "%P %T %l %V", ngx_pid, ts.tv_sec,
                     ts.tv_nsec, &cycle->hostname);

    (void) ngx_sprintf(ngx_http_debug_via_name, "%08xD%08xD",
                       ngx_crc32_long(text, p - text),
                       ngx_murmur_hash2(text, p - text));
}


ngx_int_t
ngx_http_debug_via_check(ngx_http_request_t *r)
{
    ngx_str_t  names;

    if (!ngx_http_debug_via_names(r, &names)) {
        return NGX_DECLINED;
    }

    if (ngx_strlcasestrn(names.data, names.data + names.len,
                         ngx_http_debug_via_name, NGX_HTTP_DEBUG_VIA_NAME - 1)
        != NULL)
    {
        return ngx_http_debug_answer_literal(r, NGX_HTTP_DEBUG_LOOP,
                   "this nginx asked itself: a peer of one of its upstreams"
                   " leads back to this location; debug_pprof_pass says which"
                   " groups may be asked");
    }

    if (names.len / NGX_HTTP_DEBUG_VIA_NAME >= NGX_HTTP_DEBUG_VIA_HOPS) {
        return ngx_http_debug_answer_say(r, NGX_HTTP_DEBUG_LOOP,
                   "this request was passed on by %d debug locations, one to"
                   " the other; that is no way to a peer",
                   NGX_HTTP_DEBUG_VIA_HOPS);
    }

    return NGX_DECLINED;
}


u_char *
ngx_http_debug_via_line(u_char *p, ngx_http_request_t *r)
{
    ngx_str_t  names;

    p = ngx_cpymem(p, "X-Debug-Via: ", sizeof("X-Debug-Via: ") - 1);

    if (r != NULL && ngx_http_debug_via_names(r, &names)) {
        p = ngx_sprintf(p, "%V, ", &names);
    }

    return ngx_sprintf(p, "%s" CRLF, ngx_http_debug_via_name);
}


/* What R has passed, if it is as we write it. */

static ngx_uint_t
ngx_http_debug_via_names(ngx_http_request_t *r, ngx_str_t *names)
{
    u_char            ch;
    size_t            i, n;
    ngx_table_elt_t  *h;

    h = ngx_http_debug_header_find(r, "x-debug-via");

    if (h == NULL) {
        return 0;
    }

    n = NGX_HTTP_DEBUG_VIA_NAME + sizeof(", ") - 1;

    if ((h->value.len + sizeof(", ") - 1) % n
        || h->value.len > NGX_HTTP_DEBUG_VIA_HOPS * n)
    {
        return 0;
    }

    for (i = 0; i < h->value.len; i++) {

        ch = h->value.data[i];

        switch (i % n) {

        case NGX_HTTP_DEBUG_VIA_NAME:
            if (ch != ',') {
                return 0;
            }

            break;

        case NGX_HTTP_DEBUG_VIA_NAME + 1:
            if (ch != ' ') {
                return 0;
            }

            break;

        default:
            if ((ch < '0' || ch > '9') && (ch < 'a' || ch > 'f')) {
                return 0;
            }
        }
    }

    *names = h->value;

    return 1;
}
