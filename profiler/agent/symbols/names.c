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
#include "symbols/image.h"
#include "symbols/plt.h"
#include "symbols/short.h"


#define DEBUG_ROOT   "/usr/lib/debug"


enum {
    /* How many symbols before an address may be too short to cover it. */
    NESTING_MAX = 16
};


/* A function symbol: 8 bytes, since a big program has 100,000 of them. */
struct row {
    uint32_t  start;    /* vaddr - the table's base */
    uint32_t  symbol;   /* its number in the symbol table */
};


/* The functions of one symbol table, sorted by address, one each. */
struct table {
    const struct pprof_elf    *elf;     /* whose sections the symbols mean */
    struct pprof_elf_symbols   symbols;
    uint64_t                   base;
    struct row                *rows;
    size_t                     nrows;
};


struct pprof_names_file {
    bool                opened;
    struct pprof_image  image;
    struct pprof_image  debug;
    struct table        table;
};


enum kind {
    BY_SYMBOL,
    BY_PLT,
    BY_FDE,
    BY_MAP,
    BY_JIT,
    BY_TEXT     /* "start" is where the text is */
};


struct pprof_names_entry {
    uintptr_t     start;
    enum kind     kind;
    const char   *name;
    char          system_name[];    /* NAME follows when it is another */
};


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


static void
file_close(struct pprof_names_file *f)
{
    pprof_image_free(&f->image);
    pprof_image_free(&f->debug);
    free(f->table.rows);
    *f = (struct pprof_names_file) {0};
}


void
pprof_names_free(struct pprof_names *n)
{
    for (size_t i = 0; i < n->nfiles; i++) {
        file_close(&n->files[i]);
    }

    for (size_t i = 0; i < n->nslots; i++) {
        free(n->slots[i]);
    }

    free(n->files);
    free(n->slots);
    pprof_perfmap_free(&n->perfmap);

    const char  *debug_root = n->debug_root;

    pprof_names_init(n);
    n->debug_root = debug_root;
}


/* The sorted functions of a symbol table. */


static unsigned
underscores(const char *name)
{
    return strspn(name, "_");
}


/*
 * Of several symbols for one address, the one that people know: a function
 * rather than a label, sized, global, without underscores.  A < B: A first.
 */
static int
by_preference(const struct table *t, uint32_t a, uint32_t b)
{
    static const int  binding[16] = {
        [STB_GLOBAL] = 3, [STB_GNU_UNIQUE] = 3, [STB_WEAK] = 2, [STB_LOCAL] = 1
    };

    const ElfW(Sym)   x = pprof_elf_symbol(&t->symbols, a);
    const ElfW(Sym)   y = pprof_elf_symbol(&t->symbols, b);
    const int         x_code = (x.st_info & 0xf) != STT_NOTYPE;
    const int         y_code = (y.st_info & 0xf) != STT_NOTYPE;

    if (x_code != y_code) {
        return y_code - x_code;
    }

    if ((x.st_size != 0) != (y.st_size != 0)) {
        return (y.st_size != 0) - (x.st_size != 0);
    }

    if (binding[x.st_info >> 4] != binding[y.st_info >> 4]) {
        return binding[y.st_info >> 4] - binding[x.st_info >> 4];
    }

    const int  diff = underscores(pprof_elf_symbol_name(&t->symbols, &x))
                      - underscores(pprof_elf_symbol_name(&t->symbols, &y));

    return diff != 0 ? diff : (a > b) - (a < b);
}


/*
 * Sorts T's rows by their start, those of one start as they were.  A radix
 * sort: with 100,000 functions a tenth of what comparing them takes.  False:
 * out of memory.
 */
static bool
sort_by_start(struct table *t)
{
    enum { BITS = 11, BUCKETS = 1 << BITS, PASSES = 3 };

    uint32_t    *from = malloc(BUCKETS * sizeof(*from));
    struct row  *other = malloc((t->nrows + 1) * sizeof(*other));

    if (from == NULL || other == NULL) {
        free(from);
        free(other);
        return false;
    }

    for (unsigned pass = 0; pass < PASSES; pass++) {
        const unsigned  shift = pass * BITS;
        uint32_t        before = 0;

        memset(from, 0, BUCKETS * sizeof(*from));

        for (size_t i = 0; i < t->nrows; i++) {
            from[t->rows[i].start >> shift & (BUCKETS - 1)]++;
        }

        for (size_t i = 0; i < BUCKETS; i++) {
            const uint32_t  n = from[i];

            from[i] = before;
            before += n;
        }

        for (size_t i = 0; i < t->nrows; i++) {
            const struct row  *row = &t->rows[i];

            other[from[row->start >> shift & (BUCKETS - 1)]++] = *row;
        }

        struct row  *const rows = t->rows;

        t->rows = other;
        other = rows;
    }

    free(from);
    free(other);

    return true;
}


/*
 * Is symbol number I a function's?  *ROW is filled then.  Names are not looked
 * at where that can be avoided: they are most of a symbol table, and to read
 * one is to bring its page into the program.
 */
static bool
function_row(const struct table *t, size_t i, struct row *row)
{
    const ElfW(Sym)  sym = pprof_elf_symbol(&t->symbols, i);
    uint64_t         start, end;

    if (sym.st_name == 0 || !pprof_elf_code(t->elf, &sym, &start, &end)
        || sym.st_value < t->base || sym.st_value - t->base > UINT32_MAX)
    {
        return false;
    }

#if defined(__aarch64__)
    /* "$x", "$d": the assembler's marks */
    if (pprof_elf_symbol_name(&t->symbols, &sym)[0] == '$') {
        return false;
    }
#endif

    row->start = sym.st_value - t->base;
    row->symbol = i;

    return true;
}


/* Fills T's rows from the symbols that are set.  False: out of memory. */
static bool
table_build(struct table *t)
{
    struct row  row;
    size_t      n = 0;

    t->base = UINT64_MAX;

    for (size_t i = 0; i < t->elf->nphdrs; i++) {
        const ElfW(Phdr)  ph = pprof_elf_phdr(t->elf, i);

        if (ph.p_type == PT_LOAD && ph.p_vaddr < t->base) {
            t->base = ph.p_vaddr;
        }
    }

    for (size_t i = 0; i < t->symbols.count; i++) {
        n += function_row(t, i, &row);
    }

    t->rows = malloc((n + 1) * sizeof(*t->rows));

    if (t->rows == NULL) {
        return false;
    }

    for (size_t i = 0; i < t->symbols.count && t->nrows < n; i++) {
        t->nrows += function_row(t, i, &t->rows[t->nrows]);
    }

    if (!sort_by_start(t)) {
        t->nrows = 0;
        return false;
    }

    n = 0;

    for (size_t i = 0; i < t->nrows; i++) {
        if (i == 0 || t->rows[i].start != t->rows[n - 1].start) {
            t->rows[n++] = t->rows[i];

        } else if (by_preference(t, t->rows[i].symbol,
                                 t->rows[n - 1].symbol) < 0)
        {
            t->rows[n - 1] = t->rows[i];
        }
    }

    t->nrows = n;

    return true;
}


/*
 * Finds the symbol that covers VADDR; FDE_START is where its function begins,
 * or 0.  A symbol without size, as assembly has them, reaches to the next
 * symbol, but neither into another section nor into another function.
 */
static bool
table_find(const struct table *t, uint64_t vaddr, uint64_t fde_start,
    ElfW(Sym) *sym)
{
    size_t  low = 0, high = t->nrows;

    if (vaddr < t->base) {
        return false;
    }

    while (low < high) {
        const size_t  mid = low + (high - low) / 2;

        if (t->rows[mid].start <= vaddr - t->base) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }

    for (size_t i = low; i > 0 && low - i < NESTING_MAX; i--) {
        *sym = pprof_elf_symbol(&t->symbols, t->rows[i - 1].symbol);

        if (vaddr - sym->st_value < sym->st_size) {
            return true;
        }
    }

    if (low == 0) {
        return false;
    }

    uint64_t  start, end;

    *sym = pprof_elf_symbol(&t->symbols, t->rows[low - 1].symbol);

    return sym->st_size == 0 && pprof_elf_code(t->elf, sym, &start, &end)
           && vaddr < end && fde_start <= sym->st_value;
}


/* Opens what MAP was loaded from.  False: out of memory. */
static bool
open_file(struct pprof_names *n, struct pprof_names_file *f,
    const struct pprof_maps *maps, const struct pprof_map *map)
{
    struct table  *t = &f->table;

    f->opened = true;

    (void) pprof_image_open(&f->image, maps, map);

    if (f->image.usable) {
        t->elf = &f->image.elf;

        if (pprof_elf_symtab(t->elf, &t->symbols)) {
            return table_build(t);
        }
    }

    if (pprof_image_debug(&f->debug, &f->image, n->debug_root,
                          maps->source != NULL || n->may_load, maps, map))
    {
        t->elf = &f->debug.elf;

        if (pprof_elf_symtab(t->elf, &t->symbols)) {
            return table_build(t);
        }
    }

    if (f->image.usable) {
        t->elf = &f->image.elf;

        if (pprof_elf_dynsym(t->elf, &t->symbols)) {
            return table_build(t);
        }
    }

    return true;
}


/* MAP's file, opened, or NULL: it has none, or memory ran out (ENOMEM). */
static struct pprof_names_file *
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

    struct pprof_names_file  *f = &n->files[map->object];

    if (!f->opened && !open_file(n, f, maps, map)) {
        file_close(f);
        errno = ENOMEM;
        return NULL;
    }

    return f;
}


/* The names that were made. */


static size_t
entry_hash(uintptr_t start, enum kind kind)
{
    const uint64_t  x = ((uint64_t) start * 8 + kind) * 0x9e3779b97f4a7c15u;

    return x >> 32;
}


/* Where the entry is, or is to be put; NULL when memory ran out. */
static struct pprof_names_entry **
find_entry(struct pprof_names *n, uintptr_t start, enum kind kind)
{
    if (n->nentries * 2 >= n->nslots) {
        const size_t                nslots = n->nslots == 0 ? 256
                                                            : n->nslots * 2;
        struct pprof_names_entry  **slots = calloc(nslots, sizeof(*slots));

        if (slots == NULL) {
            return NULL;
        }

        for (size_t i = 0; i < n->nslots; i++) {
            struct pprof_names_entry  *e = n->slots[i];

            if (e == NULL) {
                continue;
            }

            size_t  at = entry_hash(e->start, e->kind) & (nslots - 1);

            while (slots[at] != NULL) {
                at = (at + 1) & (nslots - 1);
            }

            slots[at] = e;
        }

        free(n->slots);
        n->slots = slots;
        n->nslots = nslots;
    }

    size_t  at = entry_hash(start, kind) & (n->nslots - 1);

    while (n->slots[at] != NULL
           && (n->slots[at]->start != start || n->slots[at]->kind != kind))
    {
        at = (at + 1) & (n->nslots - 1);
    }

    return &n->slots[at];
}


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

        const struct pprof_names_file  *f = find_file(n, maps, map);

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
static struct pprof_names_entry *
make_entry(const char *system_name, size_t len, const char *name,
    const char *suffix)
{
    const size_t  suffix_size = strlen(suffix) + 1;
    const size_t  name_len = name == NULL ? 0 : strlen(name);

    struct pprof_names_entry  *e = malloc(sizeof(*e) + len + name_len
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


static struct pprof_names_entry *
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

    struct pprof_names_entry  *e = make_entry(symbol, len, NULL, "");

    if (e == NULL) {
        return NULL;
    }

    char                      *name = make_name(n, e->system_name);
    struct pprof_names_entry  *both = make_entry(symbol, len, name, suffix);

    free(name);
    free(e);

    return both;
}


/* A name that is none of a linker's: any text. */
static struct pprof_names_entry *
jit_entry(const struct pprof_names *n, const char *text)
{
    char  *name = n->full ? NULL : strdup(text);

    for (char *p = name; p != NULL && *p != '\0'; p++) {
        *p = *p == ' ' ? '_' : *p;
    }

    struct pprof_names_entry  *e = make_entry(text, strlen(text), name, "");

    free(name);

    return e;
}


/*
 * Fills OUT from the entry of that start and kind, which is made of NAME when
 * it is not there yet.
 */
static int
answer(struct pprof_names *n, const struct pprof_maps *maps,
    const char *name, uintptr_t start, enum kind kind, struct pprof_name *out)
{
    struct pprof_names_entry  **slot = find_entry(n, start, kind);

    if (slot != NULL && *slot == NULL) {
        struct pprof_names_entry  *e;

        switch (kind) {

        case BY_SYMBOL:
        case BY_TEXT:
            e = symbol_entry(n, maps, name, "");
            break;

        case BY_JIT:
            e = jit_entry(n, name);
            break;

        case BY_PLT:
            e = symbol_entry(n, maps, name, "@plt");
            break;

        default:
            e = make_entry(name, strlen(name), NULL, "");
        }

        if (e != NULL) {
            e->start = start;
            e->kind = kind;
            *slot = e;
            n->nentries++;
        }
    }

    if (slot == NULL || *slot == NULL) {
        errno = ENOMEM;
        return -1;
    }

    out->name = (*slot)->name;
    out->system_name = (*slot)->system_name;
    out->start = start;

    return kind == BY_SYMBOL || kind == BY_PLT || kind == BY_JIT ? 0 : 1;
}


/* A name for the function at FDE_START of MAP's object, or 0: for MAP. */
static int
make_up(struct pprof_names *n, const struct pprof_maps *maps,
    const struct pprof_map *map, uintptr_t bias, uint64_t fde_start,
    struct pprof_name *out)
{
    const char  *slash = strrchr(map->file, '/');
    const char  *base = slash == NULL ? map->file : slash + 1;
    char         name[512];

    if (fde_start != 0) {
        snprintf(name, sizeof(name), "%.400s+0x%llx", base,
                 (unsigned long long) fde_start);

        return answer(n, maps, name, bias + fde_start, BY_FDE, out);
    }

    /* "[vdso]" has its brackets */
    snprintf(name, sizeof(name), base[0] == '[' ? "%.400s" : "[%.400s]", base);

    return answer(n, maps, name, map->start, BY_MAP, out);
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
        return answer(n, maps, name, start, BY_JIT, out);
    }

    n->unnamed_jit = true;

    return make_up(n, maps, map, 0, 0, out);
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

    const struct pprof_names_file  *f = find_file(n, maps, map);

    if (f == NULL) {
        return errno == ENOMEM ? -1 : find_jit(n, maps, map, addr, out);
    }

    const uintptr_t          bias = maps->objects[map->object].bias;
    const uint64_t           vaddr = addr - bias;
    const struct pprof_elf  *elf = &f->image.elf;
    uint64_t                 fde_start = 0, fde_size, stub;
    ElfW(Sym)                sym;

    if (f->image.usable
        && !pprof_fde_find(elf, vaddr, &fde_start, &fde_size))
    {
        fde_start = 0;
    }

    if (table_find(&f->table, vaddr, fde_start, &sym)) {
        const char  *name = pprof_elf_symbol_name(&f->table.symbols, &sym);

        if (name[0] != '\0') {
            return answer(n, maps, name, bias + sym.st_value, BY_SYMBOL, out);
        }
    }

    if (f->image.usable) {
        const char  *target = pprof_plt_find(elf, vaddr, &stub);

        if (target != NULL) {
            return answer(n, maps, target, bias + stub, BY_PLT, out);
        }
    }

    return make_up(n, maps, map, bias, fde_start, out);
}


int
pprof_names_symbol(struct pprof_names *n, const struct pprof_maps *maps,
    const char *symbol, struct pprof_name *out)
{
    *out = (struct pprof_name) {
        .name = "[unknown]",
        .system_name = "[unknown]"
    };

    if (answer(n, maps, symbol, (uintptr_t) symbol, BY_TEXT, out) == -1) {
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
