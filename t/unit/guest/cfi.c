/*
 * guest/cfi.c: real sections cut short and spoiled in front of an unreadable
 * page, the corpus of the fuzz driver, and tables that change under readers.
 */

#include <dirent.h>
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>

#include "guest/cfi.c"
#include "tap.h"
#include "../fuzz/eh_frame.c"


struct own {
    uintptr_t  eh_frame;
    size_t     size;
    uintptr_t  start;
    uintptr_t  end;
};

static struct own own;

/* Ends at an unreadable page. */
static uint8_t *fence;
static size_t   fence_size;


static uint8_t *
before_fence(const void *data, size_t size)
{
    uint8_t *at = fence + fence_size - size;

    memcpy(at, data, size);

    return at;
}


static void
find_own(void)
{
    const struct pprof_cfi        *cfi = pprof_cfi_enter();
    const struct pprof_cfi_module *module;

    module = pprof_cfi_find(cfi, (uintptr_t) find_own);
    own = (struct own) { module->eh_frame, module->eh_size, module->start,
                         module->end };
    pprof_cfi_leave();
}


static void
spoil(void)
{
    static uint8_t copy[1 << 20];
    size_t         size = own.size < sizeof(copy) ? own.size : sizeof(copy);
    unsigned       seed = 1, tables = 0;

    memcpy(copy, (const void *) own.eh_frame, size);

    for (size_t cut = 0; cut < size; cut += 1 + cut / 50) {
        struct pprof_cfi_table *table;

        table = pprof_cfi_parse(before_fence(copy, cut), cut, own.eh_frame,
                                SIZE_MAX, own.start, own.end);
        tables += table != NULL;
        pprof_cfi_table_free(table);
    }

    ok(tables > 20, "cut anywhere, never read past the end: %u tables",
       tables);

    tables = 0;

    for (int round = 0; round < 3000; round++) {
        struct pprof_cfi_table *table;
        size_t                  part = size < 4000 ? size : 4000;
        uint8_t                *data = before_fence(copy, part);

        for (int i = 0; i < 8; i++) {
            data[(unsigned) rand_r(&seed) % part] = (uint8_t) rand_r(&seed);
        }

        table = pprof_cfi_parse(data, part, own.eh_frame, SIZE_MAX, own.start,
                                own.end);

        for (size_t i = 1; table != NULL && i < table->nrows; i++) {
            if (table->rows[i - 1].pc >= table->rows[i].pc) {
                ok(false, "rows are sorted");
                return;
            }
        }

        tables += table != NULL;
        pprof_cfi_table_free(table);
    }

    ok(tables > 100, "spoiled bytes: %u of 3000 still make a table", tables);
}


static void
replay(const char *directory)
{
    DIR           *dir = opendir(directory);
    struct dirent *entry;
    unsigned       n = 0;
    char           path[4096];
    static uint8_t data[65536];

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);

        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(path, "rb");

        if (file != NULL) {
            size_t size = fread(data, 1, sizeof(data), file);

            LLVMFuzzerTestOneInput(before_fence(data, size), size);
            fclose(file);
            n++;
        }
    }

    if (dir != NULL) {
        closedir(dir);
    }

    ok(n > 10, "corpus: %u inputs", n);
}


/* What DWARF says of one address, written by hand. */
static void
by_hand(void)
{
    static const uint8_t section[] = {
        /* CIE: version 1, "zR", 1, -8, 16; pcrel sdata4 */
        20, 0, 0, 0, 0, 0, 0, 0, 1, 'z', 'R', 0, 1, 0x78, 16, 1, 0x1b,
        0x0c, 7, 8, 0x90, 1, 0, 0,
        /* FDE: 32 bytes of text from 0x1000; push rbp, mov, realign, end */
        36, 0, 0, 0, 28, 0, 0, 0, 0xe0, 0xef, 0xff, 0xff, 32, 0, 0, 0, 0,
        0x41, 0x0e, 16, 0x86, 2,
        0x43, 0x0d, 6,
        0x44, 0x0f, 3, 0x76, 0x78, 0x06,
        0x44, 0x0f, 1, 0x97,
        0x44, 0x07, 16, 0, 0, 0,
        /* the end */
        0, 0, 0, 0
    };
    static const struct {
        uint32_t  pc;
        int       kind;
        int       offset;
        int       fp;
        int       ra;
    } expect[] = {
        { 0, PPROF_CFI_SP, 8, PPROF_CFI_FP_SAME, PPROF_CFI_RA_CFA },
        { 1, PPROF_CFI_SP, 16, PPROF_CFI_FP_CFA, PPROF_CFI_RA_CFA },
        { 3, PPROF_CFI_SP, 16, PPROF_CFI_FP_CFA, PPROF_CFI_RA_CFA },
        { 4, PPROF_CFI_FP, 16, PPROF_CFI_FP_CFA, PPROF_CFI_RA_CFA },
        { 8, PPROF_CFI_DEREF_FP, -8, PPROF_CFI_FP_CFA, PPROF_CFI_RA_CFA },
        { 12, PPROF_CFI_STOP, 0, PPROF_CFI_FP_SAME, PPROF_CFI_RA_CFA },
        { 16, PPROF_CFI_SP, 0, PPROF_CFI_FP_CFA, PPROF_CFI_RA_END },
        { 31, PPROF_CFI_SP, 0, PPROF_CFI_FP_CFA, PPROF_CFI_RA_END },
        { 32, PPROF_CFI_NONE, 0, PPROF_CFI_FP_SAME, PPROF_CFI_RA_CFA },
    };

#if defined(__x86_64__)
    struct pprof_cfi_table *table;
    bool                    good = true;

    table = pprof_cfi_parse(section, sizeof(section), 0x2000, SIZE_MAX,
                            0x1000, 0x1100);

    if (!ok(table != NULL, "a section written by hand")) {
        return;
    }

    for (size_t i = 0; i < sizeof(expect) / sizeof(expect[0]); i++) {
        const struct pprof_cfi_row *row;

        row = pprof_cfi_table_find(table, expect[i].pc);

        if (row == NULL || pprof_cfi_row_kind(row) != expect[i].kind
            || pprof_cfi_row_offset(row) != expect[i].offset
            || (int) pprof_cfi_row_fp(row) != expect[i].fp
            || (int) pprof_cfi_row_ra(row) != expect[i].ra)
        {
            note("at %u: kind %d, offset %d, fp %d, ra %d", expect[i].pc,
                 row ? pprof_cfi_row_kind(row) : -1,
                 row ? pprof_cfi_row_offset(row) : -1,
                 row ? (int) pprof_cfi_row_fp(row) : -1,
                 row ? (int) pprof_cfi_row_ra(row) : -1);
            good = false;
        }
    }

    ok(good, "each address has its rule");
    ok(pprof_cfi_table_find(table, 0xff) != NULL
       && pprof_cfi_table_find(table, 0x5000) == NULL,
       "no row outside of the text");
    pprof_cfi_table_free(table);
#else
    (void) section;
    (void) expect;
    skip("a section written by hand", "it has x86-64's numbers");
#endif
}


/*
 * Heads of CIEs.  Both readers of them, this room's and agent/symbols/fde.c,
 * are this one; they were two, and each refused what the other knew.
 */
static void
heads(void)
{
#define BODY  1, 0x78, 16               /* 1, -8, the return address */

    static const struct {
        const char  *name;
        bool         good;
        bool         signal;
        uint8_t      pointers;
        uint8_t      size;
        uint8_t      bytes[28];
    } cies[] = {
        { "version 1", true, false, 0x1b, 14,
          { 0, 0, 0, 0, 1, 'z', 'R', 0, BODY, 1, 0x1b } },
        { "version 3", true, false, 0x1b, 14,
          { 0, 0, 0, 0, 3, 'z', 'R', 0, BODY, 1, 0x1b } },
        { "version 4: two sizes more", true, false, 0x1b, 16,
          { 0, 0, 0, 0, 4, 'z', 'R', 0, 8, 0, BODY, 1, 0x1b } },
        { "version 4 with segments", false, false, 0, 16,
          { 0, 0, 0, 0, 4, 'z', 'R', 0, 8, 2, BODY, 1, 0x1b } },
        { "version 2", false, false, 0, 14,
          { 0, 0, 0, 0, 2, 'z', 'R', 0, BODY, 1, 0x1b } },
        { "no augmentation", true, false, 0, 9,
          { 0, 0, 0, 0, 1, 0, BODY } },
        { "gcc 2's \"eh\"", true, false, 0, 19,
          { 0, 0, 0, 0, 1, 'e', 'h', 0, 1, 2, 3, 4, 5, 6, 7, 8, BODY } },
        { "tagged and signed: \"zRGB\"", true, false, 0x1b, 16,
          { 0, 0, 0, 0, 1, 'z', 'R', 'G', 'B', 0, BODY, 1, 0x1b } },
        { "a personality before it: \"zPLRS\"", true, true, 0x1b, 23,
          { 0, 0, 0, 0, 1, 'z', 'P', 'L', 'R', 'S', 0, BODY,
            7, 0x9b, 1, 2, 3, 4, 0x1b, 0x1b } },
        { "an unknown letter", false, false, 0, 15,
          { 0, 0, 0, 0, 1, 'z', 'R', '?', 0, BODY, 1, 0x1b } },
        { "addresses of addresses", false, false, 0, 14,
          { 0, 0, 0, 0, 1, 'z', 'R', 0, BODY, 1, 0x9b } },
        { "its data is cut", false, false, 0, 12,
          { 0, 0, 0, 0, 1, 'z', 'R', 0, BODY, 2 } },
        { "no end of the letters", false, false, 0, 8,
          { 0, 0, 0, 0, 1, 'z', 'R', 'L' } },
        { "an FDE", false, false, 0, 9,
          { 4, 0, 0, 0, 1, 0, BODY } },
    };

    for (size_t i = 0; i < sizeof(cies) / sizeof(cies[0]); i++) {
        struct pprof_dwarf_cie cie;

        const bool good = pprof_dwarf_cie(
                              pprof_dwarf_open(
                                  before_fence(cies[i].bytes, cies[i].size),
                                  cies[i].size, 0),
                              &cie);

        ok(good == cies[i].good
           && (!good || (cie.signal == cies[i].signal
                         && cie.pointers == cies[i].pointers
                         && cie.code_align == 1 && cie.data_align == -8
                         && cie.return_reg == 16)),
           "CIE: %s", cies[i].name);
    }

#undef BODY
}


static _Atomic bool quit;
static _Atomic unsigned long lookups;


static void *
reader(void *arg)
{
    (void) arg;

    while (!quit) {
        const struct pprof_cfi *cfi = pprof_cfi_enter();

        for (size_t i = 0; cfi != NULL && i < cfi->nmodules; i++) {
            const struct pprof_cfi_table *table = cfi->modules[i].table;

            if (table != NULL && table->nrows > 0
                && pprof_cfi_table_find(table, table->rows[0].pc)
                   != &table->rows[0])
            {
                ok(false, "a reader sees a whole table");
            }

            atomic_fetch_add(&lookups, 1);
        }

        pprof_cfi_leave();
    }

    return NULL;
}


static void
change(void)
{
    pthread_t   threads[3];
    unsigned    changed = 0;
    void       *library = dlopen("libsqlite3.so.0", RTLD_NOW);
    const char *name = library ? "libsqlite3.so.0" : "libjansson.so.4";

    if (library != NULL || (library = dlopen(name, RTLD_NOW)) != NULL) {
        dlclose(library);

    } else {
        skip("libraries come and go", "there is none to load");
        return;
    }

    pprof_cfi_refresh();

    for (int i = 0; i < 3; i++) {
        pthread_create(&threads[i], NULL, reader, NULL);
    }

    size_t modules = pprof_cfi_stats().modules;
    bool   grew = true, shrank = true;

    for (int i = 0; i < 50; i++) {
        library = dlopen(name, RTLD_NOW);
        changed += pprof_cfi_refresh() == 1;
        grew = grew && pprof_cfi_stats().modules > modules;
        dlclose(library);
        changed += pprof_cfi_refresh() == 1;
        shrank = shrank && pprof_cfi_stats().modules == modules;
    }

    quit = true;
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }

    ok(changed == 100 && grew && shrank,
       "50 libraries come and go under three readers");
    ok(lookups > 1000, "who looked up %lu times", lookups);

    pprof_cfi_refresh();
    ok(retired == NULL, "and nothing replaced is kept");
}


int
main(int argc, char **argv)
{
    fence_size = 1 << 20;
    fence = mmap(NULL, fence_size + 4096, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(fence + fence_size, 4096, PROT_NONE);

    ok(pprof_cfi_refresh() == 1, "tables of what is loaded");
    find_own();
    by_hand();
    heads();
    spoil();
    replay(argc > 1 ? argv[1] : "t/fuzz/corpus/eh_frame");
    change();

    pprof_cfi_clear();
    ok(pprof_cfi_stats().modules == 0 && retired == NULL, "all freed");

    return done_testing();
}
