/* Paths, queries and numbers: what is understood, and what is not. */

#include "front/request.c"

#include "tap.h"


static void
path(const char *in, const char *expected)
{
    char out[PPROF_PATH_MAX];
    const int rc = pprof_path_normalize(in, out, sizeof(out));

    is(rc == 0 ? out : NULL, expected, "path %s", in);
}


static void
query(const char *in, const char *expected)
{
    char out[8];

    is(pprof_query_get(in, "seconds", out, sizeof(out)) ? out : NULL,
       expected, "query %s", in == NULL ? "NULL" : in);
}


static void
number(const char *in, int expected, long long value)
{
    long long n = 0;
    const int rc = pprof_int_parse(in, &n);

    ok(rc == expected && (rc == -1 || n == value), "number '%s'", in);
}


int
main(void)
{
    plan(44);

    path("/", "/");
    path("/a/b", "/a/b");
    path("//a///b//", "/a/b/");
    path("/./a/././b/.", "/a/b/");
    path("/a/../b", "/b");
    path("/a/b/..", "/a/");
    path("/a/b/../../c", "/c");
    path("/a/..", "/");
    path("/..", NULL);
    path("/../a", NULL);
    path("/a/../../b", NULL);
    path("/.a/..b/...", "/.a/..b/...");
    path("/%61%2Fb%2f%2e%2e/c", "/a/c");
    path("/a%00", NULL);
    path("/a%", NULL);
    path("/a%4", NULL);
    path("/a%4g", NULL);
    path("a", NULL);
    path("", NULL);

    query("seconds=5", "5");
    query("a=1&seconds=5&seconds=6", "5");
    query("seconds", "");
    query("seconds=", "");
    query("xseconds=5", NULL);
    query("secondsx=5", NULL);
    query("seconds=%35%", "5%");
    query("seconds=+5", " 5");
    query("seconds=1234567890", "1234567");
    query("&&&", NULL);
    query("", NULL);
    query(NULL, NULL);

    number("5", 0, 5);
    number("+5", 0, 5);
    number("-5", 0, -5);
    number("007", 0, 7);
    number("", -1, 0);
    number("-", -1, 0);
    number(" 5", -1, 0);
    number("5 ", -1, 0);
    number("1.5", -1, 0);
    number("1e1", -1, 0);
    number("9223372036854775807", 0, LLONG_MAX);
    number("9223372036854775808", -2, LLONG_MAX);
    number("-9223372036854775809", -2, LLONG_MIN);

    return done();
}
