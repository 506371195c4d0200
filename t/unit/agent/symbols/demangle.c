#include "symbols/demangle.c"

#include "guard.h"
#include "tap.h"


static void
check(const char *name, const char *expected)
{
    char  *copy = guard(name, strlen(name) + 1);
    char  *got = pprof_demangle(NULL, copy);

    is(got, expected, "%.60s", name);

    free(got);
    guard_free(copy, strlen(name) + 1);
}


static char *
shout(const char *name, char *buf, size_t *len, int *status)
{
    (void) buf;
    (void) len;
    *status = 0;

    return strdup(name + 1);
}


int
main(void)
{
    static char  deep[10000];

    plan(31);

    check("_Z3foov", "foo");
    check("_Z3foo", "foo");
    check("_ZN3acs7session5parseERKNSt7__cxx1112basic_stringIcEE",
          "acs::session::parse");
    check("_ZNK3acs7session4sizeEv", "acs::session::size");
    check("_ZN3acs7sessionC1Ei", "acs::session::session");
    check("_ZN3acs7sessionD0Ev", "acs::session::~session");
    check("_ZN12_GLOBAL__N_13fooEv", "(anonymous namespace)::foo");
    check("_ZN1aL3fooEv", "a::foo");
    check("_ZL3foov", "foo");
    check("_ZSt9terminatev", "std::terminate");
    check("_ZNSt6thread4joinEv", "std::thread::join");

    /* no half names */
    check("_ZN3acs5twiceIiEET_S1_", NULL);
    check("_Z5twiceIiET_S0_", NULL);
    check("_ZNK3acs7sessionltERKS0_", NULL);
    check("_ZTV3foo", NULL);
    check("_ZNSsC1Ev", NULL);

    /* not names at all */
    check("", NULL);
    check("_", NULL);
    check("_Z", NULL);
    check("foo", NULL);
    check("_ZN", NULL);
    check("_ZNE", NULL);
    check("_ZNC1Ev", NULL);
    check("_ZN3fo", NULL);
    check("_ZN3foo", NULL);
    check("_ZN99999999999999999999foo", NULL);
    check("_Z0", NULL);
    check("_ZNSt", NULL);

    char  *got = pprof_demangle(shout, "_Z3foov");

    is(got, "Z3foov", "the runtime is asked");
    free(got);

    memset(deep, 'P', sizeof(deep) - 1);
    memcpy(deep, "_Z3foo", 6);
    got = pprof_demangle(shout, deep);
    is(got, "foo", "but not about a name that would eat the stack");
    free(got);

    is(pprof_demangle(shout, "main"), NULL, "nor about C's names");

    return done();
}
