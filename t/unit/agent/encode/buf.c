#include <stdbool.h>
#include <stdlib.h>

static bool  memory_out;

static void *
test_realloc(void *old, size_t size)
{
    return memory_out ? NULL : realloc(old, size);
}

#define realloc  test_realloc
#include "encode/buf.c"
#undef realloc

#include "tap.h"


int
main(void)
{
    struct pprof_buf  b;
    char              long_text[1000];

    plan(16);

    pprof_buf_init(&b);
    ok(b.data == NULL && b.len == 0 && !b.failed, "a new buffer is empty");

    pprof_buf_append(&b, "", 0);
    ok(b.data == NULL && !b.failed, "nothing appended, nothing allocated");

    pprof_buf_string(&b, "one");
    pprof_buf_byte(&b, ' ');
    pprof_buf_printf(&b, "%s %d", "two", 3);
    ok(b.len == 9 && memcmp(b.data, "one two 3", 9) == 0, "appended in order");

    memset(long_text, 'x', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    pprof_buf_printf(&b, "<%s>", long_text);
    is_int(b.len, 9 + 999 + 2, "a long text is printed whole");
    ok(b.data[9] == '<' && b.data[b.len - 1] == '>' && b.data[500] == 'x',
       "with both its ends");

    for (int i = 0; i < 100000; i++) {
        pprof_buf_append(&b, &i, sizeof(i));
    }

    is_int(b.len, 1010 + 400000, "grows");
    ok(b.cap < 2 * b.len, "but not to more than twice its content");

    int  last;

    memcpy(&last, b.data + b.len - sizeof(last), sizeof(last));
    is_int(last, 99999, "and keeps its content");

    const size_t  len = b.len;

    memory_out = true;
    ok(pprof_buf_reserve(&b, b.cap) == NULL, "no memory: nothing reserved");
    ok(b.failed, "the buffer has failed");
    is_int(b.len, len, "its length is as it was");

    memory_out = false;
    pprof_buf_byte(&b, 'x');
    is_int(b.len, len, "a failed buffer takes nothing more");

    pprof_buf_free(&b);
    ok(b.data == NULL && !b.failed, "a freed buffer is a new one");

    pprof_buf_byte(&b, 'x');
    is_int(b.len, 1, "and can be used");

    ok(pprof_buf_reserve(&b, SIZE_MAX) == NULL && b.failed,
       "more than there can be");
    pprof_buf_free(&b);

    memory_out = true;
    pprof_buf_printf(&b, "%s", long_text);
    ok(b.failed && b.len == 0, "no memory for the first byte");
    pprof_buf_free(&b);

    return done();
}
