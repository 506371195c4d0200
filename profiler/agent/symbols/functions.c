#include "symbols/functions.h"

#include <stdlib.h>
#include <string.h>


enum {
    /* How many symbols before an address may be too short to cover it. */
    NESTING_MAX = 16
};


/* A function: 12 bytes, since a big program has 100,000 of them. */
struct pprof_functions_row {
    uint32_t  start;    /* vaddr - the table's base */
    uint32_t  size;     /* bytes; 0: the symbol has none */
    uint32_t  symbol;   /* its number in the symbol table */
};


void
pprof_functions_free(struct pprof_functions *f)
{
    free(f->rows);
    *f = (struct pprof_functions) {0};
}


size_t
pprof_functions_bytes(const struct pprof_functions *f)
{
    return f->nrows * sizeof(*f->rows);
}


/*
 * How many underscores the name of SYM begins with.  A name is read no further
 * than that: to look for its end costs more than all the rest.
 */
static size_t
underscores(const struct pprof_functions *f, const ElfW(Sym) *sym)
{
    const struct pprof_elf_symbols  *s = &f->symbols;
    size_t                           n = 0;

    while (sym->st_name + n < s->strings_size
           && s->strings[sym->st_name + n] == '_')
    {
        n++;
    }

    return n;
}


/*
 * Of several symbols for one address, the one that people know: a function
 * rather than a label, sized, global, without underscores.  A < B: A first.
 */
static int
by_preference(const struct pprof_functions *f, uint32_t a, uint32_t b)
{
    static const int  binding[16] = {
        [STB_GLOBAL] = 3, [STB_GNU_UNIQUE] = 3, [STB_WEAK] = 2, [STB_LOCAL] = 1
    };

    const ElfW(Sym)   x = pprof_elf_symbol(&f->symbols, a);
    const ElfW(Sym)   y = pprof_elf_symbol(&f->symbols, b);
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

    const size_t  x_low = underscores(f, &x);
    const size_t  y_low = underscores(f, &y);

    return x_low != y_low ? (x_low > y_low) - (x_low < y_low)
                          : (a > b) - (a < b);
}


/*
 * Sorts F's rows by their start, those of one start as they were.  A radix
 * sort: with 100,000 functions a tenth of what comparing them takes.  False:
 * out of memory.
 */
static bool
sort_by_start(struct pprof_functions *f)
{
    enum { BITS = 11, BUCKETS = 1 << BITS, PASSES = 3 };

    uint32_t                    *from = malloc(BUCKETS * sizeof(*from));
    struct pprof_functions_row  *other = malloc((f->nrows + 1)
                                                * sizeof(*other));

    if (from == NULL || other == NULL) {
        free(from);
        free(other);
        return false;
    }

    for (unsigned pass = 0; pass < PASSES; pass++) {
        const unsigned  shift = pass * BITS;
        uint32_t        before = 0;

        memset(from, 0, BUCKETS * sizeof(*from));

        for (size_t i = 0; i < f->nrows; i++) {
            from[f->rows[i].start >> shift & (BUCKETS - 1)]++;
        }

        for (size_t i = 0; i < BUCKETS; i++) {
            const uint32_t  n = from[i];

            from[i] = before;
            before += n;
        }

        for (size_t i = 0; i < f->nrows; i++) {
            const struct pprof_functions_row  *row = &f->rows[i];

            other[from[row->start >> shift & (BUCKETS - 1)]++] = *row;
        }

        struct pprof_functions_row  *const rows = f->rows;

        f->rows = other;
        other = rows;
    }

    free(from);
    free(other);

    return true;
}


/*
 * Is symbol number I a function's?  *ROW is filled then.  Names are not looked
 * at where that can be avoided: they are most of a symbol table, and to read
 * one is to bring its page into memory.
 */
static bool
function_row(const struct pprof_functions *f, size_t i,
    struct pprof_functions_row *row)
{
    const ElfW(Sym)  sym = pprof_elf_symbol(&f->symbols, i);
    uint64_t         start, end;

    if (sym.st_name == 0 || !pprof_elf_code(f->elf, &sym, &start, &end)
        || sym.st_value < f->base || sym.st_value - f->base > UINT32_MAX)
    {
        return false;
    }

#if defined(__aarch64__)
    /* "$x", "$d": the assembler's marks */
    if (pprof_elf_symbol_name(&f->symbols, &sym)[0] == '$') {
        return false;
    }
#endif

    row->start = sym.st_value - f->base;
    row->size = sym.st_size < UINT32_MAX ? sym.st_size : UINT32_MAX;
    row->symbol = i;

    return true;
}


bool
pprof_functions_make(struct pprof_functions *f, const struct pprof_elf *elf,
    const struct pprof_elf_symbols *symbols)
{
    struct pprof_functions_row  row;
    size_t                      n = 0;

    *f = (struct pprof_functions) {
        .elf = elf,
        .symbols = *symbols,
        .base = UINT64_MAX
    };

    for (size_t i = 0; i < elf->nphdrs; i++) {
        const ElfW(Phdr)  ph = pprof_elf_phdr(elf, i);

        if (ph.p_type == PT_LOAD && ph.p_vaddr < f->base) {
            f->base = ph.p_vaddr;
        }
    }

    for (size_t i = 0; i < symbols->count; i++) {
        n += function_row(f, i, &row);
    }

    f->rows = malloc((n + 1) * sizeof(*f->rows));

    if (f->rows == NULL) {
        return false;
    }

    for (size_t i = 0; i < symbols->count && f->nrows < n; i++) {
        f->nrows += function_row(f, i, &f->rows[f->nrows]);
    }

    if (!sort_by_start(f)) {
        f->nrows = 0;
        return false;
    }

    n = 0;

    for (size_t i = 0; i < f->nrows; i++) {
        if (i == 0 || f->rows[i].start != f->rows[n - 1].start) {
            f->rows[n++] = f->rows[i];

        } else if (by_preference(f, f->rows[i].symbol, f->rows[n - 1].symbol)
                   < 0)
        {
            f->rows[n - 1] = f->rows[i];
        }
    }

    f->nrows = n;

    return true;
}


/* The row of the function that covers VADDR, or NULL. */
static const struct pprof_functions_row *
find_row(const struct pprof_functions *f, uint64_t vaddr, uint64_t fde_start)
{
    size_t  low = 0, high = f->nrows;

    if (vaddr < f->base) {
        return NULL;
    }

    while (low < high) {
        const size_t  mid = low + (high - low) / 2;

        if (f->rows[mid].start <= vaddr - f->base) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }

    for (size_t i = low; i > 0 && low - i < NESTING_MAX; i--) {
        const struct pprof_functions_row  *row = &f->rows[i - 1];

        if (vaddr - f->base - row->start < row->size) {
            return row;
        }
    }

    if (low == 0 || f->rows[low - 1].size != 0) {
        return NULL;
    }

    const struct pprof_functions_row  *row = &f->rows[low - 1];
    const ElfW(Sym)                    sym = pprof_elf_symbol(&f->symbols,
                                                              row->symbol);
    uint64_t                           start, end;

    return pprof_elf_code(f->elf, &sym, &start, &end) && vaddr < end
           && fde_start <= sym.st_value ? row : NULL;
}


const char *
pprof_functions_find(const struct pprof_functions *f, uint64_t vaddr,
    uint64_t fde_start, uint64_t *start)
{
    const struct pprof_functions_row  *row = find_row(f, vaddr, fde_start);

    if (row == NULL) {
        return NULL;
    }

    const ElfW(Sym)   sym = pprof_elf_symbol(&f->symbols, row->symbol);
    const char       *name = pprof_elf_symbol_name(&f->symbols, &sym);

    *start = sym.st_value;

    return name[0] == '\0' ? NULL : name;
}
