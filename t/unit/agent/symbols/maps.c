#include "failing.h"

#include "symbols/maps.c"

#include <gnu/libc-version.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "guard.h"
#include "tap.h"


static const char  text[] =
    "00400000-00401000 r--p 00000000 fe:01 1234                  /opt/acs\n"
    "00401000-00500000 r-xp 00001000 fe:01 1234                  /opt/acs\n"
    "7f0000000000-7f0000001000 rwxp 00000000 00:00 0 \n"
    "7e0000000000-7e0000001000 r-xp 00002000 00:10 99            "
        "/usr/lib/my lib.so (deleted)\n"
    "7fff00000000-7fff00002000 r-xp 00000000 00:00 0             [vdso]\n"
    "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0     "
        "[vsyscall]\n";


static int
parse_text(struct pprof_maps *m, const char *s, size_t len)
{
    char       *copy = guard(s, len);
    const int   rc = pprof_maps_parse(m, copy, len);

    guard_free(copy, len);

    return rc;
}


/* valgrind takes it away */
static int
has_vdso(void)
{
    return getauxval(AT_SYSINFO_EHDR) != 0;
}


static void
test_parse(void)
{
    struct pprof_maps  m;

    is_int(parse_text(&m, text, sizeof(text) - 1), 0, "parsed");
    is_int(m.nmaps, 4, "what is executable, but not [vsyscall]");
    is(m.maps[0].file, "/opt/acs", "the first of the text is the first");
    ok(m.maps[0].start == 0x401000 && m.maps[0].limit == 0x500000
       && m.maps[0].offset == 0x1000 && m.maps[0].inode == 1234, "its numbers");
    is(m.maps[1].file, "/usr/lib/my lib.so", "a name with a space, deleted");
    ok(m.maps[1].deleted && !m.maps[0].deleted, "which is remembered");
    is(m.maps[2].file, "[anon]", "anonymous memory");
    is(m.maps[3].file, "[vdso]", "the vdso");

    ok(pprof_maps_find(&m, 0x400fff) == NULL, "before the first");
    ok(pprof_maps_find(&m, 0x401000) == &m.maps[0], "its first byte");
    ok(pprof_maps_find(&m, 0x4fffff) == &m.maps[0], "its last byte");
    ok(pprof_maps_find(&m, 0x500000) == NULL, "after it");
    ok(pprof_maps_find(&m, 0x7e0000000fff) == &m.maps[1], "the second");
    ok(pprof_maps_find(&m, 0x7f0000000800) == &m.maps[2], "the third");
    ok(pprof_maps_find(&m, 0x7fff00001fff) == &m.maps[3], "the last");
    ok(pprof_maps_find(&m, UINTPTR_MAX) == NULL, "after the last");
    pprof_maps_free(&m);

    /* cut off anywhere, or garbage: no crash, no mapping made up */
    size_t  most = 0;

    for (size_t len = 0; len < sizeof(text); len++) {
        parse_text(&m, text, len);
        most = m.nmaps > most ? m.nmaps : most;
        pprof_maps_free(&m);
    }

    /* half of "[vsyscall]" is a name like any other */
    is_int(most, 5, "cut off anywhere");

    static const char *const  bad[] = {
        "", "-", "\n", "1-", "1-2", "1-2 r-xp", "1-2 r-xp ", "1-2 r-xp 0 0:0",
        "2-1 r-xp 0 0:0 0", "1-2 r-xp 0 0:0 0x", "g-h r-xp 0 0:0 0",
        "11111111111111111-2 r-xp 0 0:0 0", "1-2 r-xp 0 0:0 a",
        "1-2 r-xp 0 00 0", "1-2 r-x", " 1-2 r-xp 0 0:0 0"
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        parse_text(&m, bad[i], strlen(bad[i]));

        if (!ok(m.nmaps == (i == 9), "no mapping: text %zu", i)) {
            printf("# %zu\n", m.nmaps);
        }

        pprof_maps_free(&m);
    }

    ok(pprof_maps_find(&m, 1) == NULL, "nothing is found in nothing");
}


static void
test_load(void)
{
    struct pprof_maps  m;
    char               exe[4096] = "", hex[2 * PPROF_BUILD_ID_MAX + 1];

    /* executable memory of nobody's, as a JIT has it */
    char  *jit = mmap(NULL, 4096, PROT_READ | PROT_EXEC,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    is_int(pprof_maps_load(&m), 0, "loaded");
    ok(readlink("/proc/self/exe", exe, sizeof(exe) - 1) > 0, "the program");
    is(m.maps[0].file, exe, "the main executable is the first");
    is_int(m.maps[0].object, 0, "and the first object");
    ok(pprof_maps_find(&m, (uintptr_t) test_load) == &m.maps[0],
       "this function is in it");

    bool  sorted = true;

    for (size_t i = 2; i < m.nmaps; i++) {
        sorted = sorted && m.maps[i - 1].limit <= m.maps[i].start;
    }

    ok(sorted, "the others are sorted");

    /* a function that no sanitizer puts its own before */
    const uintptr_t          in_libc = (uintptr_t) gnu_get_libc_version;
    const struct pprof_map  *libc = pprof_maps_find(&m, in_libc);

    ok(libc != NULL && strstr(libc->file, "/libc.so.6") != NULL, "libc");
    is_int(strlen(pprof_maps_build_id(&m, libc, hex)), 40,
           "libc has a build id");
    is(pprof_maps_own_build_id(),
       pprof_maps_build_id(&m, &m.maps[0], hex), "and the program its own");

    const struct pprof_map  *anon = pprof_maps_find(&m, (uintptr_t) jit);

    ok(anon != NULL && strcmp(anon->file, "[anon]") == 0
       && pprof_maps_object(&m, anon) == NULL, "a JIT's page has no object");
    is(pprof_maps_build_id(&m, anon, hex), "", "and no build id");

    size_t  vdso = 0;

    for (size_t i = 0; i < m.nmaps; i++) {
        vdso += strcmp(m.maps[i].file, "[vdso]") == 0
                && m.maps[i].object >= 0;
    }

    is_int(vdso, has_vdso(), "the vdso is an object");

    pprof_maps_free(&m);
    is_int(m.nmaps, 0, "freed");
    munmap(jit, 4096);
}


/* In a chroot without /proc, or with no descriptor left. */
static void
test_no_proc(void)
{
    struct pprof_maps  m, proc;
    struct rlimit      old, none;
    char               hex[2][2 * PPROF_BUILD_ID_MAX + 1];
    size_t             wrong = 0, vdso = 0;

    pprof_maps_load(&proc);

    getrlimit(RLIMIT_NOFILE, &old);
    none = old;
    none.rlim_cur = 0;
    setrlimit(RLIMIT_NOFILE, &none);
    is_int(pprof_maps_load(&m), 0, "no /proc: loaded");
    setrlimit(RLIMIT_NOFILE, &old);

    ok(pprof_maps_find(&m, (uintptr_t) test_no_proc) == &m.maps[0]
       && m.maps[0].object == 0, "no /proc: the main executable is the first");
    is_int(m.nmaps, m.nobjects, "no /proc: each object has its mapping");

    for (size_t i = 0; i < m.nmaps; i++) {
        const struct pprof_map  *map = &m.maps[i];
        const struct pprof_map  *same = pprof_maps_find(&proc, map->start);

        vdso += strcmp(map->file, "[vdso]") == 0;

        /* a path may be a link to the kernel's */
        wrong += same == NULL || same->start != map->start
                 || same->offset != map->offset
                 || strcmp(pprof_maps_build_id(&m, map, hex[0]),
                           pprof_maps_build_id(&proc, same, hex[1])) != 0;
    }

    is_int(wrong, 0, "no /proc: they are those of /proc");
    is_int(vdso, has_vdso(), "no /proc: the vdso");

    pprof_maps_free(&m);
    pprof_maps_free(&proc);
}


static void
test_failing(void)
{
    struct pprof_maps  m;
    unsigned           n, refused = 0;

    for (n = 1; ; n++) {
        failing_calls = 0;
        failing_at = n;
        errno = 0;

        const int       rc = pprof_maps_load(&m);
        const unsigned  calls = failing_calls;

        failing_at = 0;
        refused += rc == -1 && errno == ENOMEM && m.nmaps == 0;
        pprof_maps_free(&m);

        if (calls < n) {
            ok(rc == 0, "every allocation failed once, then none (%u)", n - 1);
            break;
        }
    }

    is_int(refused, n - 1, "each was reported");
}


static void
test_read(void)
{
    char   buf[8192];
    char  *end = guard("0123456789", 10);
    char  *page = end + 10 - 4096;

    memset(page, 'x', 4086);

    is_int(pprof_maps_read((uintptr_t) end, buf, 10), 10, "memory is read");
    ok(memcmp(buf, "0123456789", 10) == 0, "as it is");
    is_int(pprof_maps_read((uintptr_t) end + 10, buf, 10), 0, "none is none");
    is_int(pprof_maps_read(16, buf, 10), 0, "nor is address 16");
    is_int(pprof_maps_read(UINTPTR_MAX - 5, buf, 10), 0, "nor the very end");
    is_int(pprof_maps_read((uintptr_t) page, buf, 8192), 4096,
           "as far as it can be read");

    /* where process_vm_readv() is forbidden */
    is_int(read_by_pipe((uintptr_t) end, buf + 100, 10), 10, "by pipe");
    ok(memcmp(buf + 100, "0123456789", 10) == 0, "by pipe: as it is");
    is_int(read_by_pipe((uintptr_t) end + 10, buf, 10), 0, "by pipe: none");
    is_int(read_by_pipe((uintptr_t) page, buf, 8192), 4096,
           "by pipe: as far as it can be read");

    guard_free(end, 10);
}


static void
test_build_id(void)
{
    /* as in a file: an ABI tag, then the id */
    static const uint32_t  notes[] = {
        4, 16, 1, 0x00554e47, 0, 3, 2, 0,
        4, 20, 3, 0x00554e47, 1, 2, 3, 4, 5
    };

    struct pprof_object  o = {0};
    size_t               found = 0;

    for (size_t len = 0; len <= sizeof(notes); len++) {
        void  *copy = guard(notes, len);

        o.build_id_len = 0;
        find_build_id(&o, copy, len);
        found += o.build_id_len != 0;
        guard_free(copy, len);
    }

    is_int(found, 1, "build id: only from whole notes");
    ok(o.build_id_len == 20 && o.build_id[0] == 1 && o.build_id[16] == 5,
       "build id: as it is");

    uint32_t  wrong[sizeof(notes) / 4];

    memcpy(wrong, notes, sizeof(notes));
    wrong[9] = UINT32_MAX;
    o.build_id_len = 0;
    find_build_id(&o, (const uint8_t *) wrong, sizeof(wrong));
    is_int(o.build_id_len, 0, "build id: longer than there is");

    wrong[9] = 20;
    wrong[0] = UINT32_MAX - 1;
    find_build_id(&o, (const uint8_t *) wrong, sizeof(wrong));
    is_int(o.build_id_len, 0, "build id: a name longer than there is");
}


int
main(void)
{
    plan(68);

    test_parse();
    test_load();
    test_no_proc();
    test_failing();
    test_read();
    test_build_id();

    return done();
}
