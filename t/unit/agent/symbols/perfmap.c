/* symbols/perfmap.c: names of a JIT's code, and any text at all. */

#include "symbols/perfmap.c"

#include "tap.h"


static struct pprof_perfmap  pm;


static void
load(const char *text)
{
    const size_t  len = strlen(text);
    char         *copy = malloc(len == 0 ? 1 : len);

    memcpy(copy, text, len);
    pprof_perfmap_free(&pm);
    ok(pprof_perfmap_parse(&pm, copy, len) == 0, "%zu bytes", len);
}


static void
find(uintptr_t addr, const char *name, uintptr_t start)
{
    uintptr_t  got = 0;

    is(pprof_perfmap_find(&pm, addr, &got), name, "0x%jx", (uintmax_t) addr);
    is_int(got, start, "0x%jx: start", (uintmax_t) addr);
}


/* What the process that runs this would have written. */
static void
own_file(void)
{
    char  path[64];

    snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int) getpid());
    unlink(path);

    FILE  *f = fopen(path, "wx");

    if (f == NULL) {
        skip("own file", "cannot write to /tmp");
        return;
    }

    fputs("1000 10 mine\n", f);
    fclose(f);

    pprof_perfmap_free(&pm);
    ok(pprof_perfmap_load(&pm, NULL) == 0, "own file");
    find(0x1001, "mine", 0x1000);

    /* somebody else's, which whoever may write to /tmp could have left */
    if (getuid() == 0 && chown(path, 12345, 12345) == 0
        && setegid(12346) == 0 && seteuid(12346) == 0)
    {
        (void) chmod(path, 0644);
        pprof_perfmap_free(&pm);
        ok(pprof_perfmap_load(&pm, NULL) == 0, "another's file");
        find(0x1001, NULL, 0);
        (void) !seteuid(0);
    }

    unlink(path);

    if (symlink("/etc/passwd", path) == 0) {
        pprof_perfmap_free(&pm);
        ok(pprof_perfmap_load(&pm, NULL) == 0 && pm.nrows == 0, "a link");
        unlink(path);
    }
}


int
main(void)
{
    load("2000 100 LazyCompile:*handle /srv/app.js:12:3\n"
         "1000 80 Interpreter\n"
         "3000 1000 outer\n"
         "3100 10 inner\n");
    find(0x1000, "Interpreter", 0x1000);
    find(0x107f, "Interpreter", 0x1000);
    find(0x1080, NULL, 0);
    find(0xfff, NULL, 0);
    find(0x20ff, "LazyCompile:*handle /srv/app.js:12:3", 0x2000);
    find(0x3105, "inner", 0x3100);
    find(0x3110, "outer", 0x3000);

    /* compiled again at the same place */
    load("1000 100 first\n1000 100 second\n1000 80 third\n");
    find(0x1010, "third", 0x1000);

    load("");
    find(0x1000, NULL, 0);

    /* no line, no end, nonsense, and what overflows */
    load("\n\n x\n1000\n1000 10\n1000 10 \nzz 10 a\n1000 zz a\n"
         "fffffffffffffffff 10 a\nfffffffffffffff0 ffffffffffffffff top\n"
         "5000 10 good\n6000 10 being written");
    is_int(pm.nrows, 2, "two are lines");
    find(0x5005, "good", 0x5000);
    find(0x6005, NULL, 0);
    find(UINTPTR_MAX, "top", 0xfffffffffffffff0);
    find(0, NULL, 0);

    own_file();
    pprof_perfmap_free(&pm);

    return done_testing();
}
