/*
 * A text that grows: every length, over the borders of its buffers.
 */

#include "../../../ngx_module/ngx_http_debug_out.c"
#include "host.h"


static u_char  pattern[4 * NGX_HTTP_DEBUG_OUT_CHUNK];


/* The whole text in one piece; NULL when the chain is not in order. */

static u_char *
whole(ngx_http_debug_out_t *out, size_t *len)
{
    u_char       *text, *p;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    text = ngx_pnalloc(out->pool, out->size + 1);
    p = text;

    for (cl = out->chain; cl; cl = cl->next) {
        b = cl->buf;

        if (b->last > b->end || b->last < b->pos
            || p + (b->last - b->pos) > text + out->size)
        {
            return NULL;
        }

        p = ngx_cpymem(p, b->pos, b->last - b->pos);
    }

    *len = p - text;
    *p = '\0';

    return text;
}


static void
test_put(ngx_log_t *log, size_t before, size_t len)
{
    size_t                 size;
    u_char                *text;
    ngx_pool_t            *pool;
    ngx_http_debug_out_t   out;

    pool = ngx_create_pool(4096, log);

    ngx_http_debug_out_init(&out, pool);
    ngx_http_debug_out_put(&out, pattern, before);
    ngx_http_debug_out_put(&out, pattern + before, len);
    ngx_http_debug_out_put(&out, "!", 1);

    text = whole(&out, &size);

    ok(!out.failed && text && size == before + len + 1
       && (size_t) out.size == size
       && ngx_memcmp(text, pattern, before + len) == 0
       && text[size - 1] == '!',
       "put %zu and %zu bytes", before, len);

    ngx_destroy_pool(pool);
}


static int
test(ngx_cycle_t *cycle)
{
    size_t                 i, size;
    u_char                *p, *text;
    ngx_pool_t            *pool;
    ngx_http_debug_out_t   out;

    static const size_t  lengths[] = {
        0, 1, NGX_HTTP_DEBUG_OUT_CHUNK - 1, NGX_HTTP_DEBUG_OUT_CHUNK,
        NGX_HTTP_DEBUG_OUT_CHUNK + 1, 2 * NGX_HTTP_DEBUG_OUT_CHUNK,
        2 * NGX_HTTP_DEBUG_OUT_CHUNK + 7
    };

    static const uint64_t  numbers[] = {
        0, 9, 10, 4294967296, UINT64_MAX
    };

    static const char  *texts[] = {
        "0", "9", "10", "4294967296", "18446744073709551615"
    };

    for (i = 0; i < sizeof(pattern); i++) {
        pattern[i] = (u_char) (i * 7 + i / 251);
    }

    for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        test_put(cycle->log, 0, lengths[i]);
        test_put(cycle->log, 1, lengths[i]);
        test_put(cycle->log, NGX_HTTP_DEBUG_OUT_CHUNK - 1, lengths[i]);
    }

    for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        pool = ngx_create_pool(4096, cycle->log);
        ngx_http_debug_out_init(&out, pool);
        ngx_http_debug_out_uint(&out, numbers[i]);
        is((char *) whole(&out, &size), texts[i], "number %s", texts[i]);
        ngx_destroy_pool(pool);
    }

    pool = ngx_create_pool(4096, cycle->log);
    ngx_http_debug_out_init(&out, pool);

    ok(out.chain == NULL && out.size == 0, "nothing yet");

    /* room that does not fit goes to the next buffer, whole */

    ngx_http_debug_out_put(&out, pattern, NGX_HTTP_DEBUG_OUT_CHUNK - 10);
    p = ngx_http_debug_out_room(&out, 11);
    ok(p != NULL && p == out.chain->next->buf->last, "room in one piece");
    ngx_memcpy(p, "0123456789a", 11);
    ngx_http_debug_out_end(&out, p + 11);

    text = whole(&out, &size);
    is_int(size, NGX_HTTP_DEBUG_OUT_CHUNK + 1, "its size");
    is((char *) text + NGX_HTTP_DEBUG_OUT_CHUNK - 10, "0123456789a",
       "and its text");

    ngx_http_debug_out_print(&out, "%d %s %uL", -1, "x", UINT64_MAX);
    text = whole(&out, &size);
    is((char *) text + NGX_HTTP_DEBUG_OUT_CHUNK + 1,
       "-1 x 18446744073709551615", "print");

    /* a failure is remembered, and nothing comes after it */

    ok(ngx_http_debug_out_room(&out, NGX_HTTP_DEBUG_OUT_CHUNK + 1) == NULL,
       "more than a buffer holds");
    ok(out.failed, "is a failure");
    size = out.size;
    ngx_http_debug_out_put(&out, "x", 1);
    ngx_http_debug_out_print(&out, "x");
    ngx_http_debug_out_uint(&out, 1);
    is_int(out.size, size, "after which nothing is added");

    ngx_destroy_pool(pool);

    return done_testing();
}
