#include "encode/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


void
pprof_buf_init(struct pprof_buf *b)
{
    *b = (struct pprof_buf) {0};
}


void
pprof_buf_free(struct pprof_buf *b)
{
    free(b->data);
    pprof_buf_init(b);
}


char *
pprof_buf_reserve(struct pprof_buf *b, size_t len)
{
    if (b->failed) {
        return NULL;
    }

    if (b->data != NULL && b->cap - b->len >= len) {
        return b->data + b->len;
    }

    size_t  need;

    if (__builtin_add_overflow(b->len, len, &need)) {
        b->failed = true;
        return NULL;
    }

    /* doubled, so that a profile of n bytes is copied n times, not n * n */
    size_t  cap = b->cap > SIZE_MAX / 2 ? need : b->cap * 2;

    if (cap < need) {
        cap = need;
    }

    if (cap < 256) {
        cap = 256;
    }

    char  *data = realloc(b->data, cap);

    if (data == NULL) {
        b->failed = true;
        return NULL;
    }

    b->data = data;
    b->cap = cap;

    return data + b->len;
}


void
pprof_buf_append(struct pprof_buf *b, const void *data, size_t len)
{
    if (len == 0) {
        return;
    }

    char  *at = pprof_buf_reserve(b, len);

    if (at != NULL) {
        memcpy(at, data, len);
        b->len += len;
    }
}


void
pprof_buf_string(struct pprof_buf *b, const char *s)
{
    pprof_buf_append(b, s, strlen(s));
}


void
pprof_buf_byte(struct pprof_buf *b, uint8_t byte)
{
    pprof_buf_append(b, &byte, 1);
}


void
pprof_buf_printf(struct pprof_buf *b, const char *fmt, ...)
{
    char     small[256];
    va_list  args;

    va_start(args, fmt);
    const int  n = vsnprintf(small, sizeof(small), fmt, args);
    va_end(args);

    if (n < 0) {
        b->failed = true;
        return;
    }

    if ((size_t) n < sizeof(small)) {
        pprof_buf_append(b, small, n);
        return;
    }

    /* one byte more for vsnprintf's zero, which is not counted */
    char  *at = pprof_buf_reserve(b, (size_t) n + 1);

    if (at == NULL) {
        return;
    }

    va_start(args, fmt);
    vsnprintf(at, (size_t) n + 1, fmt, args);
    va_end(args);

    b->len += n;
}
