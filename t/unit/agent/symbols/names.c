#include "failing.h"

#include "symbols/demangle.c"
#include "symbols/files.c"
#include "symbols/functions.c"
#include "symbols/image.c"
#include "symbols/known.c"
#include "symbols/names.c"

#include <gnu/libc-version.h>
#include <sys/auxv.h>
#include <sys/resource.h>

#include "tap.h"


/* Other objects, stripped, replaced and deleted, are t/symbols.t's. */


__attribute__((noinline)) static int
static_function(int x)
{
    __asm__ volatile ("");

    return x * 7;
}


static void
test_find(const struct pprof_maps *maps)
{
    struct pprof_names  n;
    struct pprof_name   name, again;

    pprof_names_init(&n);

    const uintptr_t  here = (uintptr_t) static_function;

    is_int(pprof_names_find(&n, maps, here + 1, &name), 0, "a function");
    is(name.name, "static_function", "its name");
    ok(name.start == here && name.system_name == name.name,
       "its start, its only name");

    pprof_names_find(&n, maps, here + 2, &again);
    ok(again.name == name.name, "the name is made once");

    pprof_names_find(&n, maps, (uintptr_t) gnu_get_libc_version, &name);
    is(name.name, "gnu_get_libc_version", "a function of libc");

    is_int(pprof_names_find(&n, maps, 16, &name), 1, "nothing is there");
    is(name.name, "[unknown]", "which is said");

    /* the vdso: a function that every kernel has there */
    bool  seen = false;

    for (size_t i = 0; i < maps->nmaps; i++) {
        const struct pprof_map  *map = &maps->maps[i];
        size_t                   found = 0;

        if (strcmp(map->file, "[vdso]") != 0) {
            continue;
        }

        seen = true;

        for (uintptr_t at = map->start; at < map->limit; at += 16) {
            found += pprof_names_find(&n, maps, at, &name) == 0
                     && strstr(name.name, "clock_gettime") != NULL;
        }

        ok(found > 0, "vdso: clock_gettime");

        pprof_names_find(&n, maps, map->start, &name);
        is(name.name, "[vdso]", "vdso: its header is no function");
    }

    if (!seen) {
        skip("vdso: clock_gettime", "valgrind takes it away");
        skip("vdso: its header is no function", "valgrind takes it away");
    }

    char  *jit = mmap(NULL, 4096, PROT_READ | PROT_EXEC,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    struct pprof_maps  later;

    pprof_maps_load(&later);
    pprof_names_free(&n);
    is_int(pprof_names_find(&n, &later, (uintptr_t) jit, &name), 1, "JIT");
    is(name.name, "[anon]", "has no name");
    ok(name.start != 0 && name.start <= (uintptr_t) jit, "but a start");
    pprof_names_free(&n);
    pprof_maps_free(&later);
    munmap(jit, 4096);
}


/* A program that has used up its descriptors is profiled nevertheless. */
static void
test_no_descriptors(const struct pprof_maps *maps)
{
    struct pprof_names  n;
    struct pprof_name   name;
    struct rlimit       old, none;

    getrlimit(RLIMIT_NOFILE, &old);
    none = old;
    none.rlim_cur = 0;
    setrlimit(RLIMIT_NOFILE, &none);

    pprof_names_init(&n);

    is_int(pprof_names_find(&n, maps, (uintptr_t) gnu_get_libc_version, &name),
           0, "no descriptors: libc's functions from memory");
    is(name.name, "gnu_get_libc_version", "no descriptors: the name");

    const int  rc = pprof_names_find(&n, maps, (uintptr_t) static_function,
                                     &name);

    ok(rc == 1 && strncmp(name.name, "names+0x", 8) == 0
       && name.start == (uintptr_t) static_function,
       "no descriptors: static functions by their start");

    setrlimit(RLIMIT_NOFILE, &old);
    pprof_names_free(&n);
}


static void
test_failing(const struct pprof_maps *maps)
{
    unsigned  n, refused = 0, wrong = 0;

    for (n = 1; ; n++) {
        struct pprof_names  names;
        struct pprof_name   name;
        int                 failures = 0, unnamed = 0;

        pprof_names_init(&names);
        failing_calls = 0;
        failing_at = n;

        for (uintptr_t i = 0; i < 1000; i++) {
            const uintptr_t  at = (uintptr_t) gnu_get_libc_version + 64 * i;

            failures += pprof_names_find(&names, maps, at, &name) == -1;
            unnamed += name.name == NULL || name.system_name == NULL;
        }

        const unsigned  calls = failing_calls;

        failing_at = 0;
        pprof_names_free(&names);

        wrong += unnamed != 0;
        refused += failures != 0;

        if (calls < n) {
            break;
        }
    }

    ok(n > 20, "every allocation failed once (%u)", n - 1);
    is_int(wrong, 0, "there is an answer always");
    is_int(refused, n - 1, "each was reported");
}


int
main(void)
{
    struct pprof_maps  maps;

    plan(18);

    pprof_maps_load(&maps);

    test_find(&maps);
    test_no_descriptors(&maps);
    test_failing(&maps);

    pprof_maps_free(&maps);

    return done();
}
