/*
 * encode/paths.c, folded.c, svg.c: stacks as paths, and what is made of them.
 */

#include <stdlib.h>

#include "encode/folded.c"
#include "encode/paths.c"
#include "encode/svg.c"
#include "tap.h"


static const char  *a_b[] = { "a", "b;<x>" }, *a[] = { "a" }, *c[] = { "c" };


static bool
contains(const struct pprof_buf *b, const char *text)
{
    return memmem(b->data, b->len, text, strlen(text)) != NULL;
}


int
main(void)
{
    struct pprof_path rows[] = {
        { .names = c, .depth = 1, .value = 5 },
        { .names = a_b, .depth = 2, .value = 1 },
        { .names = a, .depth = 1, .value = 3 },
        { .names = a_b, .depth = 2, .value = 2 },
        { .names = (const char *[]) { "gone" }, .depth = 1, .value = -7 },
    };
    struct pprof_paths paths = { .paths = rows, .npaths = 5 };
    struct pprof_buf b;

    qsort(rows, 5, sizeof(rows[0]), compare);
    merge(&paths);

    ok(paths.npaths == 3, "equal paths are one, negative ones none");

    pprof_buf_init(&b);
    pprof_folded_write(&paths, &b);
    pprof_buf_byte(&b, '\0');
    is(b.data, "a 3\na;b:<x> 3\nc 5\n", "folded");
    pprof_buf_free(&b);

    /* 1180 pixels for 11: 107.3 each */
    pprof_svg_write(&paths, "t & u", "count", &b);
    ok(contains(&b, "<title>t &amp; u</title>"), "svg: title, escaped");
    ok(contains(&b, "<title>all (11, 100.00 %)</title>"), "svg: the whole");
    ok(contains(&b, "<title>a (6, 54.55 %)</title><rect x=\"10.0\" "
                    "y=\"51\" width=\"643.6\""),
       "svg: a caller is its own and its callees'");
    ok(contains(&b, "<title>b;&lt;x&gt; (3, 27.27 %)</title><rect x=\"331.8\""
                    " y=\"34\" width=\"321.8\""),
       "svg: a callee stands on its caller");
    ok(contains(&b, "<title>c (5, 45.45 %)</title><rect x=\"653.6\" y=\"51\""),
       "svg: the next begins where the last ends");
    ok(!contains(&b, "<script"), "svg: no script");
    ok(contains(&b, "</svg>\n"), "svg: an end");
    pprof_buf_free(&b);

    paths.npaths = 0;
    pprof_svg_write(&paths, "t", "count", &b);
    ok(contains(&b, "no samples"), "svg: of nothing");
    pprof_buf_free(&b);

    return done_testing();
}
