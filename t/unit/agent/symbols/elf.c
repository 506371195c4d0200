#include "symbols/elf.c"
#include "symbols/fde.c"
#include "symbols/plt.c"

#include <fcntl.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guard.h"
#include "tap.h"


__attribute__((noinline)) static int
static_function(int x)
{
    __asm__ volatile ("");

    return x * 7;
}


/* Everything that can be asked, for what a broken file does to it. */
static size_t
ask(const void *data, size_t size)
{
    struct pprof_elf          e;
    struct pprof_elf_symbols  s;
    size_t                    len, sum = 0;
    uint64_t                  start, end;

    if (pprof_elf_parse(&e, data, size) != 0) {
        return 0;
    }

    const uint8_t  *id = pprof_elf_build_id(&e, &len);

    for (size_t i = 0; id != NULL && i < len; i++) {
        sum += id[i];
    }

    for (int which = 0; which < 3; which++) {
        if (which == 0 ? !pprof_elf_symtab(&e, &s)
            : which == 1 ? !pprof_elf_dynsym(&e, &s)
            : !table_by_dynamic(&e, &s))
        {
            continue;
        }

        for (size_t i = 0; i < s.count; i++) {
            const ElfW(Sym)  sym = pprof_elf_symbol(&s, i);

            sum += strlen(pprof_elf_symbol_name(&s, &sym));
            sum += pprof_elf_code(&e, &sym, &start, &end);
            sum += pprof_fde_find(&e, sym.st_value, &start, &end);
        }
    }

    for (uint64_t vaddr = 0; vaddr < 0x2000; vaddr += 64) {
        sum += pprof_fde_find(&e, vaddr, &start, &end);
        sum += pprof_plt_find(&e, vaddr, &start) != NULL;
    }

    return sum;
}


static void *
read_file(const char *path, size_t *size)
{
    struct stat  st;
    const int    fd = open(path, O_RDONLY);

    if (fd < 0 || fstat(fd, &st) != 0) {
        abort();
    }

    char  *data = malloc(st.st_size);

    *size = read(fd, data, st.st_size);
    close(fd);

    return data;
}


static uint64_t
own_bias(const struct pprof_elf *e)
{
    for (size_t i = 0; i < e->nphdrs; i++) {
        const ElfW(Phdr)  ph = pprof_elf_phdr(e, i);

        if (ph.p_type == PT_PHDR) {
            return getauxval(AT_PHDR) - ph.p_vaddr;
        }
    }

    return 0;
}


static void
test_own_file(void)
{
    size_t                    size, found = 0;
    char                     *data = read_file("/proc/self/exe", &size);
    struct pprof_elf          e;
    struct pprof_elf_symbols  s;
    uint64_t                  start, len;

    is_int(pprof_elf_parse(&e, data, size), 0, "own file: parsed");
    ok(pprof_elf_symtab(&e, &s), "own file: .symtab");

    const uint64_t  here = (uintptr_t) static_function - own_bias(&e);

    for (size_t i = 0; i < s.count; i++) {
        const ElfW(Sym)  sym = pprof_elf_symbol(&s, i);

        if (sym.st_value == here
            && strcmp(pprof_elf_symbol_name(&s, &sym), "static_function") == 0)
        {
            found++;
            ok(pprof_elf_code(&e, &sym, &start, &len)
               && start <= here && here < len, "own file: in a section");
            ok(pprof_fde_find(&e, here + sym.st_size - 1, &start, &len),
               "own file: a frame description");
            is_int(start, here, "own file: of the same start");
            is_int(len, sym.st_size, "own file: and the same size");
        }
    }

    is_int(found, 1, "own file: the function is there");
    ok(pprof_elf_dynsym(&e, &s), "own file: .dynsym");

    /* the same table by the dynamic section: sections may be stripped */
    struct pprof_elf_symbols  d;

    ok(table_by_dynamic(&e, &d), "own file: by the dynamic section");
    ok(d.syms == s.syms && d.strings == s.strings,
       "own file: the same symbols");

    /* DT_GNU_HASH does not count what is not exported, at the start */
    ok(d.count <= s.count, "own file: not more of them");

    ok(!pprof_fde_find(&e, 0, &start, &len), "own file: no code at 0");
    ok(!pprof_fde_find(&e, UINT64_MAX, &start, &len), "own file: nor at -1");
    is_int(pprof_elf_parse(&e, data, 63), -1, "no header, no file");

    free(data);
}


/* A shared object of 8 KB that everybody has, with symbols and frames. */
static void
test_vdso(void)
{
    const char *const         vdso = (char *) getauxval(AT_SYSINFO_EHDR);
    size_t                    size = 4096, len, named = 0, framed = 0;
    struct pprof_elf          e;
    struct pprof_elf_symbols  s, d;
    uint64_t                  start, end;

    if (vdso == NULL) {
        for (int i = 0; i < 10; i++) {
            skip("vdso", "valgrind has none");
        }

        return;
    }

    /* its size: its sections stand at its end */
    ElfW(Ehdr)  eh;

    memcpy(&eh, vdso, sizeof(eh));
    size = eh.e_shoff + eh.e_shnum * sizeof(ElfW(Shdr));

    is_int(pprof_elf_parse(&e, vdso, size), 0, "vdso: parsed");
    ok(pprof_elf_dynsym(&e, &s), "vdso: .dynsym");
    ok(pprof_elf_build_id(&e, &len) != NULL && len >= 16, "vdso: build id");

    for (size_t i = 0; i < s.count; i++) {
        const ElfW(Sym)  sym = pprof_elf_symbol(&s, i);

        if ((sym.st_info & 0xf) == STT_FUNC) {
            named += pprof_elf_code(&e, &sym, &start, &end);
            framed += pprof_fde_find(&e, sym.st_value, &start, &end)
                      && start == sym.st_value;
        }
    }

    ok(named >= 4, "vdso: functions (%zu)", named);
    is_int(framed, named, "vdso: each has its frame description");

    /* as an object whose file is gone */
    struct pprof_elf  m;
    const uint8_t    *phdrs = (const uint8_t *) vdso + eh.e_phoff;

    pprof_elf_parse_memory(&m, vdso, size, 0, (uintptr_t) vdso, phdrs,
                           eh.e_phnum);
    ok(pprof_elf_dynsym(&m, &d) && d.syms == s.syms && d.count == s.count,
       "vdso: the same symbols without sections");

    framed = 0;

    for (size_t i = 0; i < d.count; i++) {
        const ElfW(Sym)  sym = pprof_elf_symbol(&d, i);

        framed += pprof_fde_find(&m, sym.st_value, &start, &end)
                  && start == sym.st_value
                  && pprof_elf_code(&m, &sym, &start, &end);
    }

    is_int(framed, named, "vdso: and the same frame descriptions");

    /* cut off anywhere */
    size_t  answers = 0;

    for (size_t cut = 0; cut < size; cut += 1 + cut / 1024) {
        char  *copy = guard(vdso, cut);

        answers += ask(copy, cut) != 0;
        guard_free(copy, cut);
    }

    ok(answers > 0, "vdso: cut off anywhere (%zu had something)", answers);

    /* broken anywhere: headers and tables first of all */
    char  *copy = guard(vdso, size);

    srandom(20180716);
    answers = 0;

    for (int i = 0; i < 20000; i++) {
        static const uint8_t  values[] = {0, 1, 0x7f, 0x80, 0xff};
        size_t                at[3];

        for (int j = 0; j < 3; j++) {
            const size_t  area = random() % 3, r = random();

            at[j] = area == 0 ? r % 512
                  : area == 1 ? eh.e_shoff + r % (size - eh.e_shoff)
                  : r % size;

            copy[at[j]] = values[random() % sizeof(values)];
        }

        answers += ask(copy, size) != 0;

        for (int j = 0; j < 3; j++) {
            copy[at[j]] = vdso[at[j]];
        }
    }

    ok(answers > 0, "vdso: broken anywhere (%zu had something)", answers);
    is_int(ask(copy, size), ask(vdso, size), "vdso: mended, it is as it was");
    guard_free(copy, size);
}


int
main(void)
{
    plan(24);

    test_own_file();
    test_vdso();

    return done();
}
