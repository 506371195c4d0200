#include "encode/gzip.c"

#include <stdlib.h>
#include <string.h>

#include "tap.h"


/* zlib's own reader; the profiles are read by Go's in t/encode.t. */
static bool
gunzips_to(const struct pprof_buf *gz, size_t from, const char *data,
    size_t len)
{
    z_stream  z = {0};
    char     *out = malloc(len + 1);
    bool      same;

    inflateInit2(&z, WINDOW_GZIP);
    z.next_in = (Bytef *) gz->data + from;
    z.avail_in = gz->len - from;
    z.next_out = (Bytef *) out;
    z.avail_out = len + 1;

    same = inflate(&z, Z_FINISH) == Z_STREAM_END && z.total_out == len
           && z.avail_in == 0 && (len == 0 || memcmp(out, data, len) == 0);

    inflateEnd(&z);
    free(out);

    return same;
}


int
main(void)
{
    struct pprof_buf  in, out;

    plan(9);

    pprof_buf_init(&in);
    pprof_buf_init(&out);

    is_int(pprof_gzip(&in, &out), 0, "nothing is compressed");
    ok(gunzips_to(&out, 0, "", 0), "and is nothing again");

    const size_t  from = out.len;

    for (int i = 0; i < 3000000; i++) {
        pprof_buf_byte(&in, "profile"[i % 7] ^ (i >> 12));
    }

    is_int(pprof_gzip(&in, &out), 0, "3 MB are compressed");
    ok(out.len < 100000, "to little");
    ok(gunzips_to(&out, from, in.data, in.len), "and are the same again");

    /* what does not compress grows a little: more than one piece of output */
    pprof_buf_free(&out);
    in.len = 0;
    srandom(1);

    for (int i = 0; i < 2500000; i++) {
        pprof_buf_byte(&in, random() >> 7);
    }

    is_int(pprof_gzip(&in, &out), 0, "noise is compressed");
    ok(gunzips_to(&out, 0, in.data, in.len), "and is the same again");

    in.failed = true;
    ok(pprof_gzip(&in, &out) == -1 && errno == ENOMEM && out.failed,
       "a failed input fails the output");

    in.failed = false;
    ok(pprof_gzip(&in, &out) == -1, "a failed output takes nothing");

    pprof_buf_free(&in);
    pprof_buf_free(&out);

    return done();
}
