#include "encode/gzip.h"

#include <errno.h>

#include <zlib.h>


enum {
    WINDOW_GZIP = 15 + 16,      /* zlib's way to ask for a gzip header */
    MEMORY      = 8,            /* zlib's default: 256 KiB while it runs */
    LEVEL       = 4,            /* half the time of 6, for 2 % more bytes */
    PIECE       = 1 << 20       /* bytes given to zlib at a time */
};


int
pprof_gzip(const struct pprof_buf *in, struct pprof_buf *out)
{
    if (in->failed || out->failed) {
        out->failed = true;
        errno = ENOMEM;
        return -1;
    }

    z_stream  z = {0};

    if (deflateInit2(&z, LEVEL, Z_DEFLATED, WINDOW_GZIP, MEMORY,
                     Z_DEFAULT_STRATEGY)
        != Z_OK)
    {
        out->failed = true;
        errno = ENOMEM;
        return -1;
    }

    /* in pieces, since zlib counts in 32 bits and a buffer need not */
    size_t  fed = 0;
    int     rc = Z_OK;

    while (rc == Z_OK) {
        if (z.avail_in == 0 && fed < in->len) {
            const size_t  left = in->len - fed;

            z.next_in = (Bytef *) in->data + fed;
            z.avail_in = left > PIECE ? PIECE : (uInt) left;
            fed += z.avail_in;
        }

        const size_t  guess = (z.avail_in >> 2) + 512;
        char         *at = pprof_buf_reserve(out, guess);

        if (at == NULL) {
            break;
        }

        z.next_out = (Bytef *) at;
        z.avail_out = (uInt) guess;

        rc = deflate(&z, fed == in->len ? Z_FINISH : Z_NO_FLUSH);

        out->len += guess - z.avail_out;
    }

    deflateEnd(&z);

    if (rc != Z_STREAM_END) {
        out->failed = true;
        errno = ENOMEM;
        return -1;
    }

    return 0;
}
