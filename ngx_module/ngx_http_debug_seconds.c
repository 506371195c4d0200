
/*
 * The "seconds" of a query, as Go's net/http/pprof reads it.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_debug_seconds.h"


/* a year; in milliseconds it fits what 32 bits would not */
#define NGX_HTTP_DEBUG_SECONDS_MAX   31536000

/* longer ones are no number that is within the bound */
#define NGX_HTTP_DEBUG_SECONDS_TEXT  64


static ngx_int_t ngx_http_debug_seconds_unescape(u_char *src, u_char *end,
    u_char *dst, size_t size);
static ngx_http_debug_seconds_result_e ngx_http_debug_seconds_number(
    u_char *p, u_char *last, ngx_uint_t fraction, ngx_msec_t *msec);


ngx_http_debug_seconds_result_e
ngx_http_debug_seconds(ngx_str_t *args, ngx_uint_t fraction, ngx_msec_t *msec)
{
    u_char    *p, *last, *end, *eq;
    u_char     text[NGX_HTTP_DEBUG_SECONDS_TEXT];
    ngx_int_t  n;

    last = args->data + args->len;

    for (p = args->data; p < last; p = end + 1) {

        end = ngx_strlchr(p, last, '&');
        if (end == NULL) {
            end = last;
        }

        /* Go drops a pair with a semicolon, or with a wrong escape */

        if (ngx_strlchr(p, end, ';') != NULL) {
            continue;
        }

        eq = ngx_strlchr(p, end, '=');
        if (eq == NULL) {
            eq = end;
        }

        n = ngx_http_debug_seconds_unescape(p, eq, text, sizeof(text));

        if (n != sizeof("seconds") - 1
            || ngx_strncmp(text, "seconds", sizeof("seconds") - 1) != 0)
        {
            continue;
        }

        if (eq == end) {
            return NGX_HTTP_DEBUG_SECONDS_NONE;
        }

        n = ngx_http_debug_seconds_unescape(eq + 1, end, text, sizeof(text));

        if (n == NGX_ERROR) {
            continue;
        }

        if (n == 0) {
            return NGX_HTTP_DEBUG_SECONDS_NONE;
        }

        return ngx_http_debug_seconds_number(text, text + n, fraction, msec);
    }

    return NGX_HTTP_DEBUG_SECONDS_NONE;
}


uint32_t
ngx_http_debug_seconds_form(ngx_str_t *args)
{
    u_char   *p, *last, *end;
    uint32_t  hash;

    ngx_crc32_init(hash);

    last = args->data + args->len;

    for (p = args->data; p < last; p = end + 1) {

        end = ngx_strlchr(p, last, '&');
        if (end == NULL) {
            end = last;
        }

        if (end - p < (ssize_t) sizeof("seconds=") - 1
            || ngx_strncmp(p, "seconds=", sizeof("seconds=") - 1) != 0)
        {
            ngx_crc32_update(&hash, p, end - p);
        }
    }

    ngx_crc32_final(hash);

    return hash;
}


/*
 * Returns the length, or NGX_ERROR for a wrong escape.  What does not fit is
 * cut: too long for a name, and as a number cut to one as far out of bounds.
 */

static ngx_int_t
ngx_http_debug_seconds_unescape(u_char *src, u_char *end, u_char *dst,
    size_t size)
{
    u_char     ch;
    size_t     n;
    ngx_int_t  hex;

    n = 0;

    while (src < end) {

        ch = *src++;

        if (ch == '+') {
            ch = ' ';

        } else if (ch == '%') {

            if (end - src < 2) {
                return NGX_ERROR;
            }

            hex = ngx_hextoi(src, 2);
            if (hex == NGX_ERROR) {
                return NGX_ERROR;
            }

            ch = (u_char) hex;
            src += 2;
        }

        if (n < size) {
            dst[n++] = ch;
        }
    }

    return n;
}


static ngx_http_debug_seconds_result_e
ngx_http_debug_seconds_number(u_char *p, u_char *last, ngx_uint_t fraction,
    ngx_msec_t *msec)
{
    uint64_t    n;
    ngx_uint_t  digits, minus, over, scale;

    minus = 0;

    if (*p == '+' || *p == '-') {
        minus = (*p++ == '-');
    }

    n = 0;
    over = 0;

    for (digits = 0; p < last && *p >= '0' && *p <= '9'; p++, digits++) {

        n = n * 10 + (*p - '0');

        if (n > NGX_HTTP_DEBUG_SECONDS_MAX) {
            n = NGX_HTTP_DEBUG_SECONDS_MAX;
            over = 1;
        }
    }

    n *= 1000;

    if (fraction && p < last && *p == '.') {

        scale = 100;

        for (p++; p < last && *p >= '0' && *p <= '9'; p++, digits++) {
            n += (*p - '0') * scale;
            scale /= 10;
        }
    }

    if (p != last || digits == 0 || n == 0 || minus) {
        return NGX_HTTP_DEBUG_SECONDS_INVALID;
    }

    if (over) {
        return NGX_HTTP_DEBUG_SECONDS_OVERFLOW;
    }

    *msec = (ngx_msec_t) n;

    return NGX_HTTP_DEBUG_SECONDS_OK;
}
