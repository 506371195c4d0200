#include "symbols/names.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include "symbols/demangle.h"
#include "symbols/elf.h"
#include "symbols/fde.h"
#include "symbols/files.h"
#include "symbols/plt.h"
#include "symbols/short.h"


#define DEBUG_ROOT   "/usr/lib/debug"


/* The program's own, when it is linked with a C++ runtime. */
extern char *__cxa_demangle(const char *name, char *buf, size_t *len,
    int *status) __attribute__((weak));


/* Where libpprof.so begins when it is executed; nothing else has it. */
extern void pprof_entry(void)
    __attribute__((weak, visibility("hidden")));


void
pprof_names_init(struct pprof_names *n)
{
    *n = (struct pprof_names) {.debug_root = DEBUG_ROOT};
}


void
pprof_names_free(struct pprof_names *n)
{
    for (size_t i = 0; i < n->nfiles; i++) {
        pprof_files_put(n->files[i]);
    }

    free(n->files);
    pprof_known_free(&n->known);
    pprof_perfmap_free(&n->perfmap);

    const char  *debug_root = n->debug_root;

    pprof_names_init(n);
    n->debug_root = debug_root;
}


/* MAP's file, opened, or NULL: it has none, or memory ran out (ENOMEM). */
static struct pprof_file *
find_file(struct pprof_names *n, const struct pprof_maps *maps,
    const struct pprof_map *map)
{
    errno = 0;

    if (map->object < 0) {
        return NULL;
    }

    if (n->files == NULL) {
        n->files = calloc(maps->nobjects, sizeof(*n->files));

        if (n->files == NULL) {
            errno = ENOMEM;
            return NULL;
        }

        n->nfiles = maps->nobjects;
    }

    struct pprof_file  **f = &n->files[map->object];

    if (*f == NULL) {
        *f = pprof_files_take(maps, map, n->full, n->debug_root,
                              maps->source != NULL || n->may_load);
        errno = ENOMEM;
    }

    return *f;
}


/* Names that are made. */


static char *(*loaded_demangler)(const char *, char *, size_t *, int *);


static void
load_runtime(void)
{
    /*
     * In a static program dlopen() is a way to crash.  There is no loader
     * either, seen from here, where the loader was executed with libpprof.so
     * to load: as the agent of pprof_start().
     */
    if (getauxval(AT_BASE) == 0 && pprof_entry == NULL) {
        return;
    }

    void *const  runtime = dlopen("libstdc++.so.6", RTLD_NOW | RTLD_LOCAL);

    if (runtime != NULL) {
        *(void **) &loaded_demangler = dlsym(runtime, "__cxa_demangle");
    }
}


/* The C++ runtime's, loaded into the agent, which is no stranger's process. */
static char *
(*load_demangler(void))(const char *, char *, size_t *, int *)
{
    static pthread_once_t  once = PTHREAD_ONCE_INIT;

    pthread_once(&once, load_runtime);

    return loaded_demangler;
}


/*
 * Sets the __cxa_demangle() of a C++ runtime that is loaded somewhere in the
 * program, perhaps by dlopen() and for one plugin's eyes only.  Looked up
 * here and not by dlsym(), which would wait for a dlopen() under way.
 * False: out of memory.
 */
static bool
find_demangler(struct pprof_names *n, const struct pprof_maps *maps)
{
    n->demangler = __cxa_demangle;

    if (maps->source != NULL) {
        /* another's code cannot be called; the agent may load its own */
        if (n->demangler == NULL) {
            n->demangler = load_demangler();
        }

        n->demangler_known = true;

        return true;
    }

    for (size_t i = 0; i < maps->nmaps && n->demangler == NULL; i++) {
        const struct pprof_map    *map = &maps->maps[i];
        const char                *base = strrchr(map->file, '/');
        struct pprof_elf_symbols   s;

        if (base == NULL
            || (strncmp(base, "/libstdc++.so", 13) != 0
                && strncmp(base, "/libc++abi.so", 13) != 0))
        {
            continue;
        }

        const struct pprof_file  *f = find_file(n, maps, map);

        if (f == NULL && errno == ENOMEM) {
            return false;
        }

        if (f == NULL || !f->image.usable
            || !pprof_elf_dynsym(&f->image.elf, &s))
        {
            continue;
        }

        for (size_t j = 0; j < s.count; j++) {
            const ElfW(Sym)  sym = pprof_elf_symbol(&s, j);

            if ((sym.st_info & 0xf) == STT_FUNC && sym.st_shndx != SHN_UNDEF
                && strcmp(pprof_elf_symbol_name(&s, &sym), "__cxa_demangle")
                   == 0)
            {
                const uintptr_t  addr = maps->objects[map->object].bias
                                        + sym.st_value;

                memcpy(&n->demangler, &addr, sizeof(addr));
                break;
            }
        }
    }

    n->demangler_known = true;

    return true;
}


/*
 * A new entry: LEN bytes of SYSTEM_NAME, and NAME unless it is NULL, both with
 * SUFFIX.
 */
static struct pprof_known_name *
make_entry(const char *system_name, size_t len, const char *name,
    const char *suffix)
{
    const size_t  suffix_size = strlen(suffix) + 1;
    const size_t  name_len = name == NULL ? 0 : strlen(name);

    struct pprof_known_name  *e = malloc(sizeof(*e) + len + name_len
                                          + 2 * suffix_size);

    if (e == NULL) {
        return NULL;
    }

    memcpy(e->system_name, system_name, len);
    memcpy(e->system_name + len, suffix, suffix_size);
    e->name = e->system_name;

    if (name != NULL) {
        char  *at = e->system_name + len + suffix_size;

        memcpy(at, name, name_len);
        memcpy(at + name_len, suffix, suffix_size);
        e->name = at;
    }

    return e;
}


/*
 * What people call SYMBOL: demangled, and short unless N says otherwise.
 * Returns a string to free(), or NULL when that is SYMBOL, or memory ran out.
 */
static char *
make_name(const struct pprof_names *n, const char *symbol)
{
    if (strncmp(symbol, "_Z", 2) != 0) {
        const size_t  len = strlen(symbol);
        const size_t  name_len = n->full ? len
                                         : pprof_short_symbol(symbol, len);

        return name_len == len ? NULL : strndup(symbol, name_len);
    }

    char  *name = pprof_demangle(n->demangler, symbol);

    if (name == NULL || n->full) {
        return name;
    }

    char  *shorter = pprof_short_cxx(name);

    free(name);

    return shorter;
}


static struct pprof_known_name *
symbol_entry(struct pprof_names *n, const struct pprof_maps *maps,
    const char *symbol, const char *suffix)
{
    /* "memcpy@@GLIBC_2.14" */
    const size_t  len = strcspn(symbol, "@");

    if (strncmp(symbol, "_Z", 2) == 0 && !n->demangler_known
        && !find_demangler(n, maps))
    {
        return NULL;
    }

    struct pprof_known_name  *e = make_entry(symbol, len, NULL, "");

    if (e == NULL) {
        return NULL;
    }

    char                      *name = make_name(n, e->system_name);
    struct pprof_known_name  *both = make_entry(symbol, len, name, suffix);

    free(name);
    free(e);

    return both;
}


/* A name that is none of a linker's: any text. */
static struct pprof_known_name *
jit_entry(const struct pprof_names *n, const char *text)
{
    char  *name = n->full ? NULL : strdup(text);

    for (char *p = name; p != NULL && *p != '\0'; p++) {
        *p = *p == ' ' ? '_' : *p;
    }

    struct pprof_known_name  *e = make_entry(text, strlen(text), name, "");

    free(name);

    return e;
}


/*
 * Returns what is known by START and KIND, made of NAME when it is not yet; K
 * is a file's, or N's own.  NULL: memory ran out (errno).
 */
static struct pprof_known_name *
known_name(struct pprof_names *n, struct pprof_known *k,
    const struct pprof_maps *maps, const char *name, uint64_t start,
    enum pprof_known_kind kind)
{
    struct pprof_known_slot  *slot = pprof_known_find(k, start, kind);

    if (slot != NULL && slot->name == NULL) {
        struct pprof_known_name  *e;

        switch (kind) {

        case PPROF_KNOWN_SYMBOL:
        case PPROF_KNOWN_TEXT:
            e = symbol_entry(n, maps, name, "");
            break;

        case PPROF_KNOWN_JIT:
            e = jit_entry(n, name);
            break;

        case PPROF_KNOWN_PLT:
            e = symbol_entry(n, maps, name, "@plt");
            break;

        default:
            e = make_entry(name, strlen(name), NULL, "");
        }

        if (e != NULL) {
            e->start = start;
            e->kind = kind;
            pprof_known_put(k, slot, e);
        }
    }

    if (slot == NULL || slot->name == NULL) {
        errno = ENOMEM;
        return NULL;
    }

    return slot->name;
}


/* Fills OUT from E, whose start is BIAS less than an address. */
static int
answer(const struct pprof_known_name *e, uintptr_t bias,
    struct pprof_name *out)
{
    if (e == NULL) {
        return -1;
    }

    out->name = e->name;
    out->system_name = e->system_name;
    out->start = bias + e->start;

    return e->kind == PPROF_KNOWN_SYMBOL || e->kind == PPROF_KNOWN_PLT
           || e->kind == PPROF_KNOWN_JIT ? 0 : 1;
}


/* What MAP's file is called. */
static const char *
base_name(const struct pprof_map *map)
{
    const char  *slash = strrchr(map->file, '/');

    return slash == NULL ? map->file : slash + 1;
}


/* A name for MAP, when that is all that is known. */
static int
name_map(struct pprof_names *n, const struct pprof_maps *maps,
    const struct pprof_map *map, struct pprof_name *out)
{
    const char  *base = base_name(map);
    char         name[512];

    /* "[vdso]" has its brackets */
    snprintf(name, sizeof(name), base[0] == '[' ? "%.400s" : "[%.400s]", base);

    return answer(known_name(n, &n->known, maps, name, map->start,
                             PPROF_KNOWN_MAP), 0, out);
}


/* A name for ADDR in MAP, which is of no file that was loaded. */
static int
find_jit(struct pprof_names *n, const struct pprof_maps *maps,
    const struct pprof_map *map, uintptr_t addr, struct pprof_name *out)
{
    uintptr_t  start;

    if (!n->perfmap_known) {
        if (pprof_perfmap_load(&n->perfmap, maps->source) == -1) {
            return -1;
        }

        n->perfmap_known = true;
    }

    const char  *name = pprof_perfmap_find(&n->perfmap, addr, &start);

    if (name != NULL) {
        return answer(known_name(n, &n->known, maps, name, start,
                                 PPROF_KNOWN_JIT), 0, out);
    }

    n->unnamed_jit = true;

    return name_map(n, maps, map, out);
}


/*
 * Names the function at VADDR of F, MAP's file: *E, or NULL where only the
 * mapping is known.  False: out of memory.
 */
static bool
name_in_file(struct pprof_names *n, const struct pprof_maps *maps,
    const struct pprof_map *map, struct pprof_file *f, uint64_t vaddr,
    struct pprof_known_name **e)
{
    const struct pprof_elf  *elf = &f->image.elf;
    uint64_t                 start = 0, size;
    uint64_t                 fde_start = 0;
    const char              *name;
    char                     made[512];
    enum pprof_known_kind    kind = PPROF_KNOWN_SYMBOL;

    if (f->image.usable && !pprof_fde_find(elf, vaddr, &fde_start, &size)) {
        fde_start = 0;
    }

    name = pprof_functions_find(&f->functions, vaddr, fde_start, &start);

    if (name == NULL && f->image.usable) {
        name = pprof_plt_find(elf, vaddr, &start);
        kind = PPROF_KNOWN_PLT;
    }

    if (name == NULL && fde_start != 0) {
        snprintf(made, sizeof(made), "%.400s+0x%llx", base_name(map),
                 (unsigned long long) fde_start);
        name = made;
        start = fde_start;
        kind = PPROF_KNOWN_FDE;
    }

    *e = name == NULL ? NULL
                      : known_name(n, &f->known, maps, name, start, kind);

    return name == NULL || *e != NULL;
}


int
pprof_names_find(struct pprof_names *n, const struct pprof_maps *maps,
    uintptr_t addr, struct pprof_name *out)
{
    /* guest/unwind.h: the walker's word for a caller it did not find */
    const char  *const nowhere = addr < 16 ? "[unknown caller]" : "[unknown]";

    *out = (struct pprof_name) {
        .name = nowhere,
        .system_name = nowhere
    };

    const struct pprof_map  *map = pprof_maps_find(maps, addr);

    if (map == NULL) {
        return 1;
    }

    struct pprof_file  *f = find_file(n, maps, map);

    if (f == NULL) {
        return errno == ENOMEM ? -1 : find_jit(n, maps, map, addr, out);
    }

    const uintptr_t           bias = maps->objects[map->object].bias;
    const uint64_t            vaddr = addr - bias;
    struct pprof_known_slot  *slot = pprof_known_find(&f->known, vaddr,
                                                      PPROF_KNOWN_PLACE);
    struct pprof_known_name  *e = slot == NULL ? NULL : slot->name;

    if (slot == NULL
        || (e == NULL && !name_in_file(n, maps, map, f, vaddr, &e)))
    {
        errno = ENOMEM;
        return -1;
    }

    if (e == NULL) {
        return name_map(n, maps, map, out);
    }

    /* the name may have moved the slots */
    slot = pprof_known_find(&f->known, vaddr, PPROF_KNOWN_PLACE);

    if (slot == NULL) {
        errno = ENOMEM;
        return -1;
    }

    if (slot->name == NULL) {
        pprof_known_put(&f->known, slot, e);
    }

    return answer(e, bias, out);
}


int
pprof_names_symbol(struct pprof_names *n, const struct pprof_maps *maps,
    const char *symbol, struct pprof_name *out)
{
    *out = (struct pprof_name) {
        .name = "[unknown]",
        .system_name = "[unknown]"
    };

    if (answer(known_name(n, &n->known, maps, symbol, (uintptr_t) symbol,
                          PPROF_KNOWN_TEXT), 0, out) == -1)
    {
        return -1;
    }

    out->start = 0;

    return 0;
}


int
pprof_names_place(struct pprof_names *n, const struct pprof_maps *maps,
    uintptr_t addr, size_t i, struct pprof_place *p)
{
    size_t                     nframes = 0;
    const struct pprof_frame  *frames
        = n->lines == NULL ? NULL : pprof_lines_at(n->lines, addr, &nframes);

    if (i >= (frames == NULL ? 1 : nframes)) {
        return 0;
    }

    *p = (struct pprof_place) {.file = NULL};

    const int  rc = frames != NULL && frames[i].name != NULL
                    ? pprof_names_symbol(n, maps, frames[i].name, &p->name)
                    : pprof_names_find(n, maps, addr, &p->name);

    if (frames != NULL) {
        p->file = frames[i].file;
        p->line = frames[i].line;
        p->start = frames[i].start;
    }

    return rc == -1 ? -1 : 1;
}
