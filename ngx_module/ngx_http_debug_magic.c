
/*
 * Whether bytes can be the beginning of a profile.
 *
 * Formats: profile.proto,
 * https://github.com/google/pprof/tree/main/proto; RFC 1952;
 * https://gperftools.github.io/gperftools/cpuprofile-fileformat.html;
 * Go's runtime/trace.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <zlib.h>
#include "ngx_http_debug_magic.h"


#define NGX_HTTP_DEBUG_MAGIC_LEN   16     /* bytes that are looked at */
#define NGX_HTTP_DEBUG_MAGIC_TYPE  24     /* of a sample type, at most */


static ngx_uint_t ngx_http_debug_magic_plain(u_char *p, size_t len);
static ngx_uint_t ngx_http_debug_magic_proto(u_char *p, size_t len);
static ngx_uint_t ngx_http_debug_magic_key(u_char ch);
static ngx_uint_t ngx_http_debug_magic_cpu(u_char *p, size_t len);
static ngx_int_t ngx_http_debug_magic_inflate(u_char *p, size_t len,
    u_char *out);


ngx_uint_t
ngx_http_debug_magic(u_char *p, size_t len)
{
    u_char     out[NGX_HTTP_DEBUG_MAGIC_LEN];
    ngx_int_t  n;

    if (len == 0 || p[0] != 0x1f) {
        return ngx_http_debug_magic_plain(p, len);
    }

    if (len > 1 && p[1] != 0x8b) {
        return 0;
    }

    /* what only begins as gzip is for the client to judge */

    n = ngx_http_debug_magic_inflate(p, len, out);

    return n == NGX_ERROR || ngx_http_debug_magic_proto(out, n);
}


static ngx_uint_t
ngx_http_debug_magic_plain(u_char *p, size_t len)
{
    ngx_str_t  *text;

    static ngx_str_t  texts[] = {
        ngx_string("heap profile:"),
        ngx_string("--- "),
        ngx_string("go 1."),
        ngx_null_string
    };

    for (text = texts; text->len; text++) {
        if (ngx_memcmp(p, text->data, ngx_min(len, text->len)) == 0) {
            return 1;
        }
    }

    return ngx_http_debug_magic_proto(p, len)
           || ngx_http_debug_magic_cpu(p, len);
}


/*
 * Fields come in any order: Go begins with the time of a CPU profile and with
 * the period's type of all others, most writers with the sample types.
 */

static ngx_uint_t
ngx_http_debug_magic_proto(u_char *p, size_t len)
{
    size_t  i;

    if (len < 2) {
        return len == 0 || ngx_http_debug_magic_key(p[0]);
    }

    switch (p[0]) {

    case 0x0a:                   /* sample_type */
    case 0x5a:                   /* period_type: both a type and a unit */
        return p[1] == 0
               || (p[1] <= NGX_HTTP_DEBUG_MAGIC_TYPE
                   && (len == 2 || p[2] == 0x08 || p[2] == 0x10));

    case 0x32:                   /* string_table, the first of which is "" */
        return p[1] == 0;

    case 0x48:                   /* time_nanos: nine bytes, in our time */

        for (i = 1; i < ngx_min(len, 9); i++) {
            if (p[i] < 0x80) {
                return 0;
            }
        }

        return 1;

    case 0x12:                   /* sample, mapping, location, function */
    case 0x1a:
    case 0x22:
    case 0x2a:

        for (i = 1; i < len && p[i] >= 0x80; i++) { /* void */ }

        /* the first field of theirs: an id, a value, or some of these */

        return ++i >= len
               || p[i] == 0x08 || p[i] == 0x0a || p[i] == 0x10 || p[i] == 0x12;

    default:
        return 0;
    }
}


static ngx_uint_t
ngx_http_debug_magic_key(u_char ch)
{
    return ch == 0x0a || ch == 0x5a || ch == 0x32 || ch == 0x48
           || ch == 0x12 || ch == 0x1a || ch == 0x22 || ch == 0x2a;
}


/*
 * The words 0, 3 and 0, of 4 or 8 bytes and of either order; of those only the
 * first two are in all.
 */

static ngx_uint_t
ngx_http_debug_magic_cpu(u_char *p, size_t len)
{
    size_t      i, word, at;
    ngx_uint_t  big;

    len = ngx_min(len, NGX_HTTP_DEBUG_MAGIC_LEN);

    for (word = 4; word <= 8; word += 4) {
        for (big = 0; big < 2; big++) {

            at = big ? 2 * word - 1 : word;

            for (i = 0; i < ngx_min(len, 2 * word); i++) {
                if (p[i] != ((i == at) ? 3 : 0)) {
                    break;
                }
            }

            if (i == ngx_min(len, 2 * word)) {
                return 1;
            }
        }
    }

    return 0;
}


/*
 * Writes the first bytes of what was compressed.  Returns how many these are,
 * at most NGX_HTTP_DEBUG_MAGIC_LEN, or NGX_ERROR: it is broken.
 */

static ngx_int_t
ngx_http_debug_magic_inflate(u_char *p, size_t len, u_char *out)
{
    int       rc;
    z_stream  z;

    ngx_memzero(&z, sizeof(z_stream));

    z.next_in = p;
    z.avail_in = len;
    z.next_out = out;
    z.avail_out = NGX_HTTP_DEBUG_MAGIC_LEN;

    /* with gzip's header */

    if (inflateInit2(&z, MAX_WBITS + 16) != Z_OK) {

        /* no memory: the client will see */

        return 0;
    }

    rc = inflate(&z, Z_SYNC_FLUSH);

    (void) inflateEnd(&z);

    if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR) {
        return NGX_ERROR;
    }

    return NGX_HTTP_DEBUG_MAGIC_LEN - z.avail_out;
}
