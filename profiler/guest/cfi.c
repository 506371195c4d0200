#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "guest/cfi.h"
#include "guest/raw.h"


/* DWARF's numbers for the registers that the walker follows. */
#if defined(__x86_64__)
enum { REG_FP = 6, REG_SP = 7, REG_RA = 16 };
#else
enum { REG_FP = 29, REG_SP = 31, REG_RA = 30 };
#endif

enum {
    REMEMBERED = 16,                    /* depth of remember_state */
    CIE_PROGRAM_MAX = 512               /* bytes of a CIE's instructions */
};

/* pointer encodings, DW_EH_PE_… */
enum {
    PE_ABSPTR = 0x00,
    PE_UDATA2 = 0x02,
    PE_UDATA4 = 0x03,
    PE_UDATA8 = 0x04,
    PE_SDATA2 = 0x0a,
    PE_SDATA4 = 0x0b,
    PE_SDATA8 = 0x0c,
    PE_FORMAT = 0x0f,
    PE_PCREL = 0x10,
    PE_BASE = 0x70,
    PE_INDIRECT = 0x80,
    PE_OMIT = 0xff
};


/* A range of bytes that is read from the front and never overrun. */
struct in {
    const uint8_t  *p;
    const uint8_t  *end;
    bool            failed;
};

/* The section, and where the program has it. */
struct section {
    const uint8_t  *data;
    size_t          size;
    uintptr_t       addr;
};

/* The rules in force at one address. */
struct rules {
    int64_t   offset;
    int64_t   extra;
    int64_t   fp_at;
    int64_t   ra_at;
    uint8_t   kind;                     /* enum pprof_cfi_kind */
    uint8_t   fp;                       /* enum pprof_cfi_fp */
    uint8_t   ra;                       /* enum pprof_cfi_ra */
    bool      ra_bad;                   /* a rule that no row can hold */
};

struct cie {
    size_t        at;                   /* offset in the section */
    bool          good;
    bool          signal;
    bool          has_size;             /* augmentation 'z' */
    uint8_t       pointers;             /* encoding of the FDEs' addresses */
    uint64_t      code_align;
    int64_t       data_align;
    struct rules  initial;
};

struct fde {
    uint32_t  pc;                       /* from the start of the text */
    uint32_t  size;
    uint32_t  at;                       /* offset in the section */
};

struct build {
    struct section           section;
    uintptr_t                start;
    uintptr_t                end;
    struct cie               cie;       /* the one read last */
    struct pprof_cfi_table  *table;
    size_t                   cap;       /* rows that fit */
    bool                     failed;
};

/* What the loader's list told about one module. */
struct found {
    struct pprof_cfi_module  module;
    size_t                   nfdes;
    uint8_t                 *copy;      /* of .eh_frame */
};

struct walk {
    struct found            *found;
    size_t                   n;
    size_t                   cap;
    const struct pprof_cfi  *old;
    unsigned long long       adds;
    unsigned long long       subs;
};


struct pprof_cfi_shared pprof_cfi_shared;

static pthread_mutex_t  builder = PTHREAD_MUTEX_INITIALIZER;
static struct pprof_cfi  *retired;      /* under BUILDER */


static uint64_t
get_fixed(struct in *in, unsigned bytes)
{
    uint64_t value = 0;

    if ((size_t) (in->end - in->p) < bytes) {
        in->failed = true;
        in->p = in->end;
        return 0;
    }

    /* both of our machines are little endian, as are their files */
    memcpy(&value, in->p, bytes);
    in->p += bytes;

    return value;
}


static uint64_t
get_uleb(struct in *in)
{
    uint64_t value = 0;

    for (unsigned shift = 0; in->p < in->end; shift += 7) {
        uint8_t byte = *in->p++;

        if (shift < 64) {
            value |= (uint64_t) (byte & 0x7f) << shift;
        }

        if (!(byte & 0x80)) {
            return value;
        }
    }

    in->failed = true;

    return 0;
}


static int64_t
get_sleb(struct in *in)
{
    uint64_t value = 0;

    for (unsigned shift = 0; in->p < in->end; /* void */ ) {
        uint8_t byte = *in->p++;

        if (shift < 64) {
            value |= (uint64_t) (byte & 0x7f) << shift;
            shift += 7;
        }

        if (!(byte & 0x80)) {
            if (shift < 64 && (byte & 0x40)) {
                value |= ~(uint64_t) 0 << shift;
            }

            return (int64_t) value;
        }
    }

    in->failed = true;

    return 0;
}


/* A sub-range of SIZE bytes; failed when there are not so many. */
static struct in
get_block(struct in *in, uint64_t size)
{
    struct in block = { in->p, in->p, false };

    if (size > (size_t) (in->end - in->p)) {
        in->failed = true;
        block.failed = true;
        return block;
    }

    in->p += size;
    block.end = in->p;

    return block;
}


/* Reads an encoded pointer; IN must be inside SECTION. */
static uintptr_t
get_pointer(struct in *in, const struct section *section, uint8_t encoding)
{
    uintptr_t at = section->addr + (uintptr_t) (in->p - section->data);
    uint64_t  value;

    switch (encoding & PE_FORMAT) {
    case PE_ABSPTR:
    case PE_UDATA8:
    case PE_SDATA8:
        value = get_fixed(in, 8);
        break;

    case PE_UDATA4:
        value = get_fixed(in, 4);
        break;

    case PE_SDATA4:
        value = (uint64_t) (int64_t) (int32_t) get_fixed(in, 4);
        break;

    case PE_UDATA2:
        value = get_fixed(in, 2);
        break;

    case PE_SDATA2:
        value = (uint64_t) (int64_t) (int16_t) get_fixed(in, 2);
        break;

    default:
        in->failed = true;
        return 0;
    }

    if ((encoding & PE_BASE) == PE_PCREL) {
        value += at;

    } else if ((encoding & PE_BASE) != 0) {
        in->failed = true;
    }

    return value;
}


static void
set_cfa(struct rules *rules, uint64_t reg, int64_t offset)
{
    rules->offset = offset;
    rules->extra = 0;

    if (reg == REG_SP) {
        rules->kind = PPROF_CFI_SP;

    } else if (reg == REG_FP) {
        rules->kind = PPROF_CFI_FP;

#if defined(__x86_64__)
    } else if (reg < REG_RA) {
        /* known in the interrupted function only */
        rules->kind = PPROF_CFI_REG;
        rules->extra = (int64_t) reg;
#endif

    } else {
        rules->kind = PPROF_CFI_STOP;
    }
}


/*
 * The linker's expression for lazy PLT entries; LIT10 where they begin with
 * endbr64:
 *
 *     rsp + 8 + ((((rip & 15) >= 11)) << 3)
 */
static bool
is_plt_expression(struct in in, int64_t *threshold)
{
    static const uint8_t plt[11] = {
        0x77, 8,                        /* breg7 8 */
        0x80, 0,                        /* breg16 0 */
        0x3f, 0x1a,                     /* lit15, and */
        0, 0x2a,                        /* lit<threshold>, ge */
        0x33, 0x24, 0x22                /* lit3, shl, plus */
    };

    if (in.end - in.p != sizeof(plt)
        || memcmp(in.p, plt, 6) != 0
        || memcmp(in.p + 7, plt + 7, 4) != 0
        || in.p[6] < 0x30 || in.p[6] > 0x3f)
    {
        return false;
    }

    *threshold = in.p[6] - 0x30;

    return true;
}


/*
 * Expressions that stand for a CFA in code that people run: the PLT, a
 * register and an offset, and one level of indirection (gcc's realigned
 * frames, OpenSSL's assembly).
 */
static void
set_cfa_expression(struct rules *rules, struct in in)
{
    enum { BREG0 = 0x70, DEREF = 0x06, PLUS = 0x22, PLUS_UCONST = 0x23 };

    int64_t threshold;

    rules->kind = PPROF_CFI_STOP;

#if defined(__x86_64__)
    if (is_plt_expression(in, &threshold)) {
        rules->kind = PPROF_CFI_PLT;
        rules->offset = threshold;
        rules->extra = 0;
        return;
    }
#else
    (void) threshold;
    (void) is_plt_expression;
#endif

    if (in.p == in.end || *in.p < BREG0 || *in.p > BREG0 + 31) {
        return;
    }

    unsigned reg = *in.p++ - BREG0;
    int64_t  offset = get_sleb(&in);
    int64_t  extra = 0;

    if (in.failed) {
        return;
    }

    if (in.p == in.end) {
        set_cfa(rules, reg, offset);
        return;
    }

    if (*in.p++ != DEREF || (reg != REG_FP && reg != REG_SP)) {
        return;
    }

    if (in.p < in.end) {
        uint8_t op = *in.p++;

        if (op == PLUS_UCONST) {
            extra = (int64_t) get_uleb(&in);

        } else if (op >= 0x30 && op <= 0x4f && in.p < in.end
                   && *in.p++ == PLUS)
        {
            extra = op - 0x30;

        } else {
            return;
        }
    }

    if (in.failed || in.p != in.end) {
        return;
    }

    rules->kind = reg == REG_FP ? PPROF_CFI_DEREF_FP : PPROF_CFI_DEREF_SP;
    rules->offset = offset;
    rules->extra = extra;
}


/* REG is saved at CFA + OFFSET. */
static void
set_saved(struct rules *rules, uint64_t reg, int64_t offset)
{
    if (reg == REG_FP) {
        rules->fp = PPROF_CFI_FP_CFA;
        rules->fp_at = offset;

    } else if (reg == REG_RA) {
        rules->ra = PPROF_CFI_RA_CFA;
        rules->ra_at = offset;
        rules->ra_bad = false;
    }
}


/* REG has a rule that rows do not know. */
static void
set_lost(struct rules *rules, uint64_t reg)
{
    if (reg == REG_FP) {
        rules->fp = PPROF_CFI_FP_LOST;

    } else if (reg == REG_RA) {
        rules->ra_bad = true;
    }
}


static void
set_initial(struct rules *rules, uint64_t reg, const struct rules *initial)
{
    if (reg == REG_FP) {
        rules->fp = initial->fp;
        rules->fp_at = initial->fp_at;

    } else if (reg == REG_RA) {
        rules->ra = initial->ra;
        rules->ra_at = initial->ra_at;
        rules->ra_bad = initial->ra_bad;
    }
}


static void
set_undefined(struct rules *rules, uint64_t reg)
{
    if (reg == REG_FP) {
        rules->fp = PPROF_CFI_FP_LOST;

    } else if (reg == REG_RA) {
        rules->ra = PPROF_CFI_RA_END;
        rules->ra_bad = false;
    }
}


static void
set_same(struct rules *rules, uint64_t reg)
{
    if (reg == REG_FP) {
        rules->fp = PPROF_CFI_FP_SAME;

    } else if (reg == REG_RA) {
        rules->ra = PPROF_CFI_RA_LINK;
        rules->ra_bad = false;
    }
}


/* REG is saved where the expression says; only "at fp + n" is known. */
static void
set_expression(struct rules *rules, uint64_t reg, struct in in)
{
    if (reg == REG_FP && in.p < in.end && *in.p == 0x70 + REG_FP) {
        in.p++;
        rules->fp_at = get_sleb(&in);

        if (!in.failed && in.p == in.end) {
            rules->fp = PPROF_CFI_FP_FP;
            return;
        }
    }

    set_lost(rules, reg);
}


static bool
fits(int64_t value, int64_t limit)
{
    return value >= -limit && value < limit;
}


static struct pprof_cfi_row
make_row(uint32_t pc, const struct rules *rules, bool signal)
{
    struct pprof_cfi_row row = { .pc = pc };
    unsigned             kind = rules->kind, fp = rules->fp, ra = rules->ra;
    int64_t              offset = rules->offset;

    if (kind == PPROF_CFI_NONE) {
        return row;
    }

    if (signal) {
        /* the walker takes the registers from the kernel's frame */
        row.cfa = PPROF_CFI_SP | 1 << 7;
        return row;
    }

    if (fp == PPROF_CFI_FP_SAME || fp == PPROF_CFI_FP_LOST) {
        /* nothing to fetch */

    } else if (rules->fp_at % 8 == 0 && fits(rules->fp_at / 8, 1 << 15)) {
        row.fp = (int16_t) (rules->fp_at / 8);

    } else {
        fp = PPROF_CFI_FP_LOST;
    }

    if (ra == PPROF_CFI_RA_CFA) {
#if defined(__x86_64__)
        if (rules->ra_at != -8) {
            kind = PPROF_CFI_STOP;
        }
#else
        if (rules->ra_at % 8 == 0 && fits(rules->ra_at / 8, 1 << 15)) {
            row.ra = (int16_t) (rules->ra_at / 8);

        } else {
            kind = PPROF_CFI_STOP;
        }
#endif

#if defined(__x86_64__)
    } else if (ra == PPROF_CFI_RA_LINK) {
        /* calls push the return address: there is no link register */
        kind = PPROF_CFI_STOP;
#endif
    }

    switch (kind) {
    case PPROF_CFI_DEREF_FP:
    case PPROF_CFI_DEREF_SP:
    case PPROF_CFI_REG:
#if defined(__x86_64__)
        if (fits(rules->extra, 1 << 15)) {
            row.ra = (int16_t) rules->extra;
            break;
        }
#endif
        kind = PPROF_CFI_STOP;
        break;
    }

    if (rules->ra_bad || !fits(offset, 1 << 23)) {
        kind = PPROF_CFI_STOP;
    }

    if (ra == PPROF_CFI_RA_END) {
        /* nothing above matters: the walk ends here */
        kind = PPROF_CFI_SP;
        offset = 0;
    }

    if (kind == PPROF_CFI_STOP) {
        row.cfa = PPROF_CFI_STOP;
        row.fp = 0;
        row.ra = 0;
        return row;
    }

    row.cfa = (int32_t) (kind | fp << 3 | ra << 5
                         | (uint32_t) (int32_t) offset << 8);

    return row;
}


/* Makes room for COUNT rows altogether. */
static bool
reserve(struct build *build, size_t count)
{
    if (count <= build->cap) {
        return true;
    }

    size_t cap = build->cap * 2 < count ? count : build->cap * 2;
    size_t size = sizeof(struct pprof_cfi_table)
                  + cap * sizeof(struct pprof_cfi_row);

    struct pprof_cfi_table *table = mremap(build->table, build->table->mapped,
                                           size, MREMAP_MAYMOVE);
    if (table == MAP_FAILED) {
        build->failed = true;
        return false;
    }

    table->mapped = size;
    build->table = table;
    build->cap = cap;

    return true;
}


/* Appends a row; PC is never below the last one's. */
static void
put_row(struct build *build, struct pprof_cfi_row row)
{
    struct pprof_cfi_table *table = build->table;

    if (table->nrows > 0) {
        struct pprof_cfi_row *last = &table->rows[table->nrows - 1];

        if (last->pc == row.pc) {
            *last = row;
            return;
        }

        if (last->cfa == row.cfa && last->fp == row.fp && last->ra == row.ra) {
            return;
        }
    }

    if (reserve(build, table->nrows + 1)) {
        table = build->table;
        table->rows[table->nrows++] = row;
    }
}


/* Where execute() is. */
struct machine {
    struct build        *build;         /* NULL: a CIE's own instructions */
    const struct cie    *cie;
    struct rules         rules;
    uint64_t             pc;            /* from the start of the text */
    uint64_t             limit;
    bool                 done;
};


/* Rows are made when the location moves on. */
static void
advance(struct machine *machine, uint64_t delta)
{
    if (machine->build == NULL) {
        /* a CIE has no location */
        machine->done = true;
        return;
    }

    if (delta == 0) {
        return;
    }

    put_row(machine->build, make_row((uint32_t) machine->pc, &machine->rules,
                                     machine->cie->signal));

    if (delta >= machine->limit - machine->pc) {
        machine->pc = machine->limit;
        machine->done = true;
        return;
    }

    machine->pc += delta;
}


/*
 * Runs call frame instructions.  Returns false when they cannot be understood;
 * the rules then are those before the instruction that was not.
 */
static bool
execute(struct machine *machine, struct in in, const struct section *section)
{
    const struct cie *cie = machine->cie;
    struct rules     *rules = &machine->rules;
    struct rules      remembered[REMEMBERED];
    unsigned          depth = 0;

    while (in.p < in.end && !machine->done) {
        uint8_t  op = *in.p++;
        uint64_t reg, delta;
        int64_t  offset;

        switch (op >> 6) {
        case 1:                                 /* advance_loc */
            advance(machine, (op & 0x3f) * cie->code_align);
            continue;

        case 2:                                 /* offset */
            offset = (int64_t) (get_uleb(&in) * (uint64_t) cie->data_align);
            set_saved(rules, op & 0x3f, offset);
            if (in.failed) {
                return false;
            }
            continue;

        case 3:                                 /* restore */
            set_initial(rules, op & 0x3f, &cie->initial);
            continue;
        }

        switch (op) {

        case 0x00:                              /* nop */
        case 0x2d:                              /* aarch64: negate_ra_state */
            break;

        case 0x01:                              /* set_loc */
            delta = get_pointer(&in, section, cie->pointers)
                    - (machine->build ? machine->build->start : 0);
            if (in.failed || delta < machine->pc) {
                return false;
            }
            advance(machine, delta - machine->pc);
            break;

        case 0x02:                              /* advance_loc1, 2, 4 */
        case 0x03:
        case 0x04:
            delta = get_fixed(&in, 1u << (op - 2)) * cie->code_align;
            if (in.failed) {
                return false;
            }
            advance(machine, delta);
            break;

        case 0x05:                              /* offset_extended */
            reg = get_uleb(&in);
            offset = (int64_t) (get_uleb(&in) * (uint64_t) cie->data_align);
            set_saved(rules, reg, offset);
            break;

        case 0x06:                              /* restore_extended */
            set_initial(rules, get_uleb(&in), &cie->initial);
            break;

        case 0x07:                              /* undefined */
            set_undefined(rules, get_uleb(&in));
            break;

        case 0x08:                              /* same_value */
            set_same(rules, get_uleb(&in));
            break;

        case 0x09:                              /* register */
            set_lost(rules, get_uleb(&in));
            (void) get_uleb(&in);
            break;

        case 0x0a:                              /* remember_state */
            if (depth == REMEMBERED) {
                return false;
            }
            remembered[depth++] = *rules;
            break;

        case 0x0b:                              /* restore_state */
            if (depth == 0) {
                return false;
            }
            *rules = remembered[--depth];
            break;

        case 0x0c:                              /* def_cfa */
            reg = get_uleb(&in);
            set_cfa(rules, reg, (int64_t) get_uleb(&in));
            break;

        case 0x0d:                              /* def_cfa_register */
            set_cfa(rules, get_uleb(&in), rules->offset);
            break;

        case 0x0e:                              /* def_cfa_offset */
            rules->offset = (int64_t) get_uleb(&in);
            break;

        case 0x0f:                              /* def_cfa_expression */
            set_cfa_expression(rules, get_block(&in, get_uleb(&in)));
            break;

        case 0x10:                              /* expression */
            reg = get_uleb(&in);
            set_expression(rules, reg, get_block(&in, get_uleb(&in)));
            break;

        case 0x11:                              /* offset_extended_sf */
            reg = get_uleb(&in);
            offset = (int64_t) ((uint64_t) get_sleb(&in)
                                * (uint64_t) cie->data_align);
            set_saved(rules, reg, offset);
            break;

        case 0x12:                              /* def_cfa_sf */
            reg = get_uleb(&in);
            set_cfa(rules, reg, (int64_t) ((uint64_t) get_sleb(&in)
                                           * (uint64_t) cie->data_align));
            break;

        case 0x13:                              /* def_cfa_offset_sf */
            rules->offset = (int64_t) ((uint64_t) get_sleb(&in)
                                       * (uint64_t) cie->data_align);
            break;

        case 0x14:                              /* val_offset */
        case 0x15:                              /* val_offset_sf */
            set_lost(rules, get_uleb(&in));
            (void) get_uleb(&in);
            break;

        case 0x16:                              /* val_expression */
            set_lost(rules, get_uleb(&in));
            (void) get_block(&in, get_uleb(&in));
            break;

        case 0x2e:                              /* GNU_args_size */
            (void) get_uleb(&in);
            break;

        case 0x2f:                              /* GNU_negative_offset_… */
            reg = get_uleb(&in);
            offset = (int64_t) (0 - get_uleb(&in)
                                    * (uint64_t) cie->data_align);
            set_saved(rules, reg, offset);
            break;

        default:
            return false;
        }

        if (in.failed) {
            return false;
        }
    }

    return true;
}


/*
 * Takes one entry from IN: its content, and where the id field is.  Returns
 * false at the end of the section, which is also where it cannot be read on.
 */
static bool
next_entry(struct in *in, struct in *entry, const uint8_t **id)
{
    uint64_t size = get_fixed(in, 4);

    /* 0 ends the section; the 64-bit form is not written by any linker */
    if (in->failed || size < 4 || size == 0xffffffff) {
        return false;
    }

    *entry = get_block(in, size);
    *id = entry->p;

    return !in->failed;
}


/* Reads the CIE at offset AT into build->cie, unless it is there already. */
static bool
read_cie(struct build *build, size_t at)
{
    const struct section *section = &build->section;
    struct cie           *cie = &build->cie;
    struct in             entry, in = { section->data + at,
                                        section->data + section->size, false };
    const uint8_t        *id;

    if (cie->at == at) {
        return cie->good;
    }

    *cie = (struct cie) { .at = at, .pointers = PE_ABSPTR };

    if (!next_entry(&in, &entry, &id) || get_fixed(&entry, 4) != 0) {
        return false;
    }

    uint8_t version = (uint8_t) get_fixed(&entry, 1);

    if (version != 1 && version != 3 && version != 4) {
        return false;
    }

    const char *augmentation = (const char *) entry.p;

    while (get_fixed(&entry, 1) != 0) { /* void */ }

    if (entry.failed || strncmp(augmentation, "eh", 2) == 0) {
        return false;
    }

    if (version == 4) {
        (void) get_fixed(&entry, 2);    /* sizes of address and segment */
    }

    cie->code_align = get_uleb(&entry);
    cie->data_align = get_sleb(&entry);

    uint64_t ra = version == 1 ? get_fixed(&entry, 1) : get_uleb(&entry);

    if (entry.failed || ra != REG_RA) {
        return false;
    }

    if (*augmentation == 'z') {
        struct in data = get_block(&entry, get_uleb(&entry));

        cie->has_size = true;

        for (const char *p = augmentation + 1; *p != '\0'; p++) {
            uint8_t encoding;

            switch (*p) {
            case 'R':
                cie->pointers = (uint8_t) get_fixed(&data, 1);
                break;

            case 'P':
                encoding = (uint8_t) get_fixed(&data, 1);
                (void) get_pointer(&data, section,
                                   encoding & PE_FORMAT);
                break;

            case 'L':
                (void) get_fixed(&data, 1);
                break;

            case 'S':
                cie->signal = true;
                break;

            case 'B':                   /* aarch64: signed with key B */
            case 'G':                   /* aarch64: tagged stack */
                break;

            default:
                /* its data cannot be skipped, nor what follows it */
                return false;
            }
        }

        if (data.failed) {
            return false;
        }

    } else if (*augmentation != '\0') {
        return false;
    }

    if (cie->pointers & PE_INDIRECT || entry.failed
        || entry.end - entry.p > CIE_PROGRAM_MAX)
    {
        return false;
    }

    struct machine machine = {
        .cie = cie,
        .rules = { .kind = PPROF_CFI_STOP, .fp = PPROF_CFI_FP_SAME,
                   .ra = PPROF_CFI_RA_LINK },
    };

    if (!execute(&machine, entry, section)) {
        return false;
    }

    cie->initial = machine.rules;
    cie->good = true;

    return true;
}


/*
 * Reads the head of the FDE whose content is ENTRY.  Leaves ENTRY at its
 * instructions.  Returns false when it is not one of this text's.
 */
static bool
read_fde(struct build *build, struct in *entry, struct fde *fde)
{
    const struct section *section = &build->section;
    size_t                at = (size_t) (entry->p - section->data);
    uint64_t              delta = get_fixed(entry, 4);

    if (entry->failed || delta == 0 || delta > at
        || !read_cie(build, at - delta))
    {
        return false;
    }

    const struct cie *cie = &build->cie;
    uintptr_t         pc = get_pointer(entry, section, cie->pointers);
    uintptr_t         size = get_pointer(entry, section,
                                         cie->pointers & PE_FORMAT);

    if (cie->has_size) {
        (void) get_block(entry, get_uleb(entry));
    }

    if (entry->failed || size == 0 || pc < build->start || pc >= build->end
        || size > build->end - pc)
    {
        return false;
    }

    fde->pc = (uint32_t) (pc - build->start);
    fde->size = (uint32_t) size;
    fde->at = (uint32_t) at;

    return true;
}


static int
compare_fdes(const void *a, const void *b)
{
    const struct fde *x = a, *y = b;

    if (x->pc != y->pc) {
        return x->pc < y->pc ? -1 : 1;
    }

    return x->at < y->at ? -1 : x->at > y->at;
}


/*
 * Lists the functions in FDES, sorted by address; NULL only counts.  Returns
 * how many there are.
 */
static size_t
list_fdes(struct build *build, size_t max, struct fde *fdes)
{
    const struct section *section = &build->section;
    struct in             in = { section->data,
                                 section->data + section->size, false };
    struct in             entry;
    const uint8_t        *id;
    struct fde            fde;
    size_t                n = 0;
    bool                  sorted = true;

    while (n < max && next_entry(&in, &entry, &id)) {
        if (!read_fde(build, &entry, &fde)) {
            continue;
        }

        if (fdes != NULL) {
            fdes[n] = fde;
            sorted = sorted && (n == 0
                                || compare_fdes(&fdes[n - 1], &fde) <= 0);
        }

        n++;
    }

    if (!sorted) {
        qsort(fdes, n, sizeof(*fdes), compare_fdes);
    }

    return n;
}


static void
run_fde(struct build *build, const struct fde *fde)
{
    static const struct rules none = { .kind = PPROF_CFI_NONE };
    static const struct rules stop = { .kind = PPROF_CFI_STOP };

    const struct section *section = &build->section;
    struct in             in = { section->data + fde->at - 4,
                                 section->data + section->size, false };
    struct in             entry;
    const uint8_t        *id;
    struct fde            again;

    if (!next_entry(&in, &entry, &id) || !read_fde(build, &entry, &again)) {
        return;
    }

    struct machine machine = {
        .build = build,
        .cie = &build->cie,
        .rules = build->cie.initial,
        .pc = fde->pc,
        .limit = (uint64_t) fde->pc + fde->size,
    };

    if (!execute(&machine, entry, section)) {
        machine.rules = stop;
    }

    if (!machine.done) {
        put_row(build, make_row((uint32_t) machine.pc, &machine.rules,
                                machine.cie->signal
                                && machine.rules.kind != PPROF_CFI_STOP));
    }

    put_row(build, make_row((uint32_t) machine.limit, &none, false));
}


/* The index, and the mapping cut to size. */
static void
finish_table(struct build *build)
{
    size_t nindex = ((build->end - build->start) >> PPROF_CFI_INDEX_SHIFT) + 2;
    size_t words = (nindex * sizeof(uint32_t) + sizeof(struct pprof_cfi_row)
                    - 1) / sizeof(struct pprof_cfi_row);

    if (!reserve(build, build->table->nrows + words)) {
        return;
    }

    struct pprof_cfi_table *table = build->table;
    uint32_t               *index = (uint32_t *) (table->rows + table->nrows);
    size_t                  row = 0;

    for (size_t i = 0; i < nindex; i++) {
        while (row < table->nrows
               && table->rows[row].pc >> PPROF_CFI_INDEX_SHIFT < i)
        {
            row++;
        }

        index[i] = (uint32_t) row;
    }

    table->nindex = nindex;

    size_t size = sizeof(*table)
                  + (table->nrows + words) * sizeof(struct pprof_cfi_row);

    /* shrinking moves nothing */
    table = mremap(table, table->mapped, size, MREMAP_MAYMOVE);
    if (table != MAP_FAILED) {
        table->mapped = size;
        build->table = table;
    }
}


struct pprof_cfi_table *
pprof_cfi_parse(const uint8_t *data, size_t size, uintptr_t addr, size_t nfdes,
    uintptr_t start, uintptr_t end)
{
    struct build build = {
        .section = { data, size, addr },
        .start = start,
        .end = end,
        .cie = { .at = SIZE_MAX },
    };

    errno = 0;

    if (end <= start || end - start >= UINT32_MAX || size >= UINT32_MAX) {
        return NULL;
    }

    size_t n = list_fdes(&build, nfdes, NULL);

    if (n == 0) {
        return NULL;
    }

    size_t      bytes = n * sizeof(struct fde);
    struct fde *fdes = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fdes == MAP_FAILED) {
        return NULL;
    }

    /* four rows a function: push, sub, add, ret */
    build.cap = n * 4;
    size_t mapped = sizeof(struct pprof_cfi_table)
                    + build.cap * sizeof(struct pprof_cfi_row);

    build.table = mmap(NULL, mapped, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (build.table == MAP_FAILED) {
        munmap(fdes, bytes);
        return NULL;
    }

    build.table->mapped = mapped;
    n = list_fdes(&build, n, fdes);

    uint64_t covered = 0;

    for (size_t i = 0; i < n && !build.failed; i++) {
        /* of functions that overlap, the first is believed */
        if (fdes[i].pc >= covered) {
            run_fde(&build, &fdes[i]);
            covered = (uint64_t) fdes[i].pc + fdes[i].size;
        }
    }

    munmap(fdes, bytes);
    finish_table(&build);

    if (build.failed) {
        pprof_cfi_table_free(build.table);
        errno = ENOMEM;
        return NULL;
    }

    return build.table;
}


void
pprof_cfi_table_free(struct pprof_cfi_table *table)
{
    if (table != NULL) {
        munmap(table, table->mapped);
    }
}


/*
 * Copies SIZE bytes at ADDR, as far as they can be read: a library whose file
 * was truncated has pages that raise SIGBUS when they are touched.
 */
static size_t
copy_memory(void *to, uintptr_t addr, size_t size)
{
    long   pid = pprof_raw(SYS_getpid, 0, 0, 0, 0, 0, 0);
    size_t done = 0;

    while (done < size) {
        struct iovec local = { (char *) to + done, size - done };
        struct iovec remote = { (void *) (addr + done), size - done };
        long         n = pprof_raw(SYS_process_vm_readv, (uintptr_t) pid,
                                   (uintptr_t) &local, 1, (uintptr_t) &remote,
                                   1, 0);

        if (n == -EPERM || n == -ENOSYS) {
            /* a sandbox forbids the call; the loader vouches for the range */
            memcpy((char *) to + done, (const void *) (addr + done),
                   size - done);
            return size;
        }

        if (n <= 0) {
            break;
        }

        done += (size_t) n;
    }

    return done;
}


static uint64_t
checksum(const uint8_t *data, size_t size)
{
    uint64_t h = size, word;

    for (size_t i = 0; i + 8 <= size; i += 8) {
        memcpy(&word, data + i, 8);
        h = (h ^ word) * 0x9e3779b97f4a7c15;
        h ^= h >> 32;
    }

    return h;
}


/* The table that OLD has for the same text and section, NULL if none. */
static struct pprof_cfi_table *
find_table(const struct pprof_cfi *old, const struct pprof_cfi_module *module)
{
    if (old == NULL) {
        return NULL;
    }

    const struct pprof_cfi_module *same = pprof_cfi_find(old, module->start);

    if (same == NULL || same->start != module->start
        || same->end != module->end || same->eh_frame != module->eh_frame
        || same->eh_size != module->eh_size)
    {
        return NULL;
    }

    return same->table;
}


/*
 * Finds .eh_frame from the segment that holds its header, and how many
 * functions the header counts.
 */
static void
find_eh_frame(const struct dl_phdr_info *info, const ElfW(Phdr) *header,
    struct found *found)
{
    uint8_t        bytes[12 + 8];
    uintptr_t      addr = info->dlpi_addr + header->p_vaddr;
    struct section section = { bytes, sizeof(bytes), addr };
    struct in      in = { bytes, bytes + sizeof(bytes), false };

    if (header->p_memsz < sizeof(bytes)
        || copy_memory(bytes, addr, sizeof(bytes)) != sizeof(bytes)
        || get_fixed(&in, 1) != 1)
    {
        return;
    }

    uint8_t frame_encoding = (uint8_t) get_fixed(&in, 1);
    uint8_t count_encoding = (uint8_t) get_fixed(&in, 1);

    (void) get_fixed(&in, 1);

    uintptr_t start = get_pointer(&in, &section, frame_encoding);

    if (in.failed) {
        return;
    }

    found->nfdes = SIZE_MAX;

    if (count_encoding != PE_OMIT) {
        size_t count = get_pointer(&in, &section, count_encoding);

        if (!in.failed && count > 0) {
            found->nfdes = count;
        }
    }

    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *load = &info->dlpi_phdr[i];
        uintptr_t         low = info->dlpi_addr + load->p_vaddr;

        if (load->p_type == PT_LOAD && start >= low
            && start < low + load->p_filesz)
        {
            found->module.eh_frame = start;
            found->module.eh_size = low + load->p_filesz - start;
        }
    }
}


/*
 * Called under the loader's lock, which the allocator's unwinder may want
 * while it holds its own: nothing here may allocate with malloc.
 */
static int
visit_module(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct walk       *walk = arg;
    const ElfW(Phdr)  *header = NULL;
    struct found       found = { .module.start = UINTPTR_MAX };

    if (size >= offsetof(struct dl_phdr_info, dlpi_subs)
                + sizeof(info->dlpi_subs))
    {
        walk->adds = info->dlpi_adds;
        walk->subs = info->dlpi_subs;
    }

    if (walk->found == NULL && walk->cap != 0) {
        /* only the two counters are asked for */
        return 1;
    }

    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *phdr = &info->dlpi_phdr[i];
        uintptr_t         low = info->dlpi_addr + phdr->p_vaddr;

        if (phdr->p_type == PT_LOAD && (phdr->p_flags & PF_X)) {
            if (low < found.module.start) {
                found.module.start = low;
            }

            if (low + phdr->p_memsz > found.module.end) {
                found.module.end = low + phdr->p_memsz;
            }

        } else if (phdr->p_type == PT_GNU_EH_FRAME) {
            header = phdr;
        }
    }

    if (found.module.end <= found.module.start
        || found.module.end - found.module.start >= UINT32_MAX)
    {
        return 0;
    }

    if (walk->n++ >= walk->cap) {
        return 0;
    }

    if (header != NULL) {
        find_eh_frame(info, header, &found);
    }

    if (found.module.eh_frame != 0) {
        if (walk->old != NULL && walk->old->subs == walk->subs) {
            /* nothing went away, so the same place is the same module */
            found.module.table = find_table(walk->old, &found.module);
        }

        if (found.module.table == NULL) {
            found.copy = mmap(NULL, found.module.eh_size,
                              PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (found.copy == MAP_FAILED) {
                found.copy = NULL;

            } else {
                (void) copy_memory(found.copy, found.module.eh_frame,
                                   found.module.eh_size);
            }
        }
    }

    walk->found[walk->n - 1] = found;

    return 0;
}


static int
compare_modules(const void *a, const void *b)
{
    const struct found *x = a, *y = b;

    return x->module.start < y->module.start ? -1
           : x->module.start > y->module.start;
}


/*
 * Lists what is loaded.  Returns false when memory lacks.
 */
static bool
list_modules(struct walk *walk)
{
    size_t cap = 0;

    for ( ;; ) {
        walk->n = 0;
        walk->cap = cap;
        dl_iterate_phdr(visit_module, walk);

        if (walk->n <= cap) {
            break;
        }

        /* more than there was room for: again, with some to spare */
        if (walk->found != NULL) {
            for (size_t i = 0; i < cap; i++) {
                if (walk->found[i].copy != NULL) {
                    munmap(walk->found[i].copy,
                           walk->found[i].module.eh_size);
                }
            }

            munmap(walk->found, cap * sizeof(struct found));
        }

        cap = walk->n + 16;
        walk->found = mmap(NULL, cap * sizeof(struct found),
                           PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (walk->found == MAP_FAILED) {
            walk->found = NULL;
            return false;
        }
    }

    qsort(walk->found, walk->n, sizeof(struct found), compare_modules);

    return true;
}


static void
free_snapshot(struct pprof_cfi *cfi)
{
    for (size_t i = 0; i < cfi->nmodules; i++) {
        struct pprof_cfi_table *table = cfi->modules[i].table;

        if (table != NULL && --table->refs == 0) {
            pprof_cfi_table_free(table);
        }
    }

    munmap(cfi, cfi->mapped);
}


/* Frees what was replaced, if nobody can be reading it.  Under BUILDER. */
static void
reclaim(void)
{
    if (atomic_load(&pprof_cfi_shared.readers) != 0) {
        return;
    }

    while (retired != NULL) {
        struct pprof_cfi *next = retired->next;

        free_snapshot(retired);
        retired = next;
    }
}


/* Under BUILDER. */
static void
publish(struct pprof_cfi *cfi)
{
    struct pprof_cfi *old = atomic_exchange(&pprof_cfi_shared.current, cfi);

    if (old != NULL) {
        old->next = retired;
        retired = old;
    }

    reclaim();
}


/* Makes the missing tables of WALK and a snapshot of all.  Under BUILDER. */
static struct pprof_cfi *
make_snapshot(struct walk *walk)
{
    size_t size = sizeof(struct pprof_cfi)
                  + walk->n * sizeof(struct pprof_cfi_module);

    struct pprof_cfi *cfi = mmap(NULL, size, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (cfi == MAP_FAILED) {
        return NULL;
    }

    cfi->mapped = size;
    cfi->adds = walk->adds;
    cfi->subs = walk->subs;

    for (size_t i = 0; i < walk->n; i++) {
        struct found            *found = &walk->found[i];
        struct pprof_cfi_module *module = &found->module;

        if (found->copy != NULL) {
            uint64_t sum = checksum(found->copy, module->eh_size);

            module->table = find_table(walk->old, module);

            if (module->table == NULL || module->table->sum != sum) {
                module->table = pprof_cfi_parse(found->copy, module->eh_size,
                                                module->eh_frame, found->nfdes,
                                                module->start, module->end);
                if (module->table != NULL) {
                    module->table->sum = sum;
                }
            }

            munmap(found->copy, module->eh_size);
        }

        if (module->table != NULL) {
            module->table->refs++;
        }

        /* where two overlap, the later one would hide the earlier's end */
        if (cfi->nmodules > 0
            && cfi->modules[cfi->nmodules - 1].end > module->start)
        {
            cfi->modules[cfi->nmodules - 1].end = module->start;
        }

        cfi->modules[cfi->nmodules++] = *module;
    }

    return cfi;
}


int
pprof_cfi_refresh(void)
{
    int result = 0;

    pthread_mutex_lock(&builder);

    struct pprof_cfi *old = atomic_load(&pprof_cfi_shared.current);
    struct walk       counters = { .cap = 1 };

    dl_iterate_phdr(visit_module, &counters);

    if (old != NULL && old->adds == counters.adds
        && old->subs == counters.subs)
    {
        reclaim();

    } else {
        struct walk       walk = { .old = old };
        struct pprof_cfi *cfi = NULL;

        if (list_modules(&walk)) {
            cfi = make_snapshot(&walk);
            munmap(walk.found, walk.cap * sizeof(struct found));
        }

        if (cfi != NULL) {
            publish(cfi);
            result = 1;

        } else {
            errno = ENOMEM;
            result = -1;
        }
    }

    pthread_mutex_unlock(&builder);

    return result;
}


void
pprof_cfi_clear(void)
{
    struct timespec pause = { 0, 1000000 };

    pthread_mutex_lock(&builder);
    publish(NULL);

    for (int i = 0; retired != NULL && i < 100; i++) {
        nanosleep(&pause, NULL);
        reclaim();
    }

    pthread_mutex_unlock(&builder);
}


void
pprof_cfi_child(void)
{
    /* whoever held the lock in the parent is not here to release it */
    builder = (pthread_mutex_t) PTHREAD_MUTEX_INITIALIZER;
    atomic_store(&pprof_cfi_shared.readers, 0);
}


struct pprof_cfi_stats
pprof_cfi_stats(void)
{
    struct pprof_cfi_stats stats = { 0 };

    pthread_mutex_lock(&builder);

    const struct pprof_cfi *cfi = atomic_load(&pprof_cfi_shared.current);

    for (size_t i = 0; cfi != NULL && i < cfi->nmodules; i++) {
        const struct pprof_cfi_table *table = cfi->modules[i].table;

        stats.modules++;

        if (table != NULL) {
            stats.rows += table->nrows;
            stats.bytes += table->mapped;
        }
    }

    pthread_mutex_unlock(&builder);

    return stats;
}
