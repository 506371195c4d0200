#include "guest/cfi_rows.h"

#include <sys/mman.h>


/* DWARF's numbers for the registers that the walker follows. */
#if defined(__x86_64__)
enum { REG_FP = 6, REG_SP = 7, REG_RA = 16 };
#else
enum { REG_FP = 29, REG_SP = 31, REG_RA = 30 };
#endif

enum {
    CIE_PROGRAM_MAX = 512               /* bytes of a CIE's instructions */
};


static void
set_cfa(struct pprof_cfi_rules *rules, uint64_t reg, int64_t offset)
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
is_plt_expression(struct pprof_dwarf in, int64_t *threshold)
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
set_cfa_expression(struct pprof_cfi_rules *rules, struct pprof_dwarf in)
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
    int64_t  offset = pprof_dwarf_sleb(&in);
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
            extra = (int64_t) pprof_dwarf_uleb(&in);

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
set_saved(struct pprof_cfi_rules *rules, uint64_t reg, int64_t offset)
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
set_lost(struct pprof_cfi_rules *rules, uint64_t reg)
{
    if (reg == REG_FP) {
        rules->fp = PPROF_CFI_FP_LOST;

    } else if (reg == REG_RA) {
        rules->ra_bad = true;
    }
}


static void
set_initial(struct pprof_cfi_rules *rules, uint64_t reg,
    const struct pprof_cfi_rules *initial)
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
set_undefined(struct pprof_cfi_rules *rules, uint64_t reg)
{
    if (reg == REG_FP) {
        rules->fp = PPROF_CFI_FP_LOST;

    } else if (reg == REG_RA) {
        rules->ra = PPROF_CFI_RA_END;
        rules->ra_bad = false;
    }
}


static void
set_same(struct pprof_cfi_rules *rules, uint64_t reg)
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
set_expression(struct pprof_cfi_rules *rules, uint64_t reg,
    struct pprof_dwarf in)
{
    if (reg == REG_FP && in.p < in.end && *in.p == 0x70 + REG_FP) {
        in.p++;
        rules->fp_at = pprof_dwarf_sleb(&in);

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
make_row(uint32_t pc, const struct pprof_cfi_rules *rules, bool signal)
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




bool
pprof_cfi_rows_init(struct pprof_cfi_rows *rows, size_t cap)
{
    const size_t size = sizeof(struct pprof_cfi_table)
                        + cap * sizeof(struct pprof_cfi_row);

    *rows = (struct pprof_cfi_rows) { .cap = cap };
    rows->table = mmap(NULL, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (rows->table == MAP_FAILED) {
        rows->table = NULL;
        return false;
    }

    rows->table->mapped = size;

    return true;
}


bool
pprof_cfi_rows_reserve(struct pprof_cfi_rows *rows, size_t count)
{
    if (count <= rows->cap) {
        return true;
    }

    size_t cap = rows->cap * 2 < count ? count : rows->cap * 2;
    size_t size = sizeof(struct pprof_cfi_table)
                  + cap * sizeof(struct pprof_cfi_row);

    struct pprof_cfi_table *table = mremap(rows->table, rows->table->mapped,
                                           size, MREMAP_MAYMOVE);
    if (table == MAP_FAILED) {
        rows->failed = true;
        return false;
    }

    table->mapped = size;
    rows->table = table;
    rows->cap = cap;

    return true;
}


/* Appends a row; PC is never below the last one's. */
static void
put_row(struct pprof_cfi_rows *rows, struct pprof_cfi_row row)
{
    struct pprof_cfi_table *table = rows->table;

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

    if (pprof_cfi_rows_reserve(rows, table->nrows + 1)) {
        table = rows->table;
        table->rows[table->nrows++] = row;
    }
}

/* Where execute() is. */
struct machine {
    struct pprof_cfi_rows       *rows;  /* where they go */
    struct pprof_cfi_row        *row;   /* or the last of them; neither: a
                                           CIE's own instructions */
    const struct pprof_cfi_cie  *cie;
    struct pprof_cfi_rules       rules;
    uintptr_t                    start; /* of the text */
    uint64_t                     pc;    /* from there */
    uint64_t                     limit;
    struct pprof_cfi_rules      *remembered;    /* PPROF_CFI_REMEMBERED */
    bool                         done;
};


static void
put(struct machine *machine, const struct pprof_cfi_rules *rules, bool signal)
{
    const struct pprof_cfi_row row = make_row((uint32_t) machine->pc, rules,
                                              signal);

    if (machine->row != NULL) {
        *machine->row = row;

    } else {
        put_row(machine->rows, row);
    }
}


/* Rows are made when the location moves on. */
static void
advance(struct machine *machine, uint64_t delta)
{
    if (machine->rows == NULL && machine->row == NULL) {
        /* a CIE has no location */
        machine->done = true;
        return;
    }

    if (delta == 0) {
        return;
    }

    put(machine, &machine->rules, machine->cie->head.signal);

    if (delta >= machine->limit - machine->pc) {
        machine->pc = machine->limit;
        machine->done = true;
        return;
    }

    machine->pc += delta;
}


/* Its length, and as many bytes. */
static struct pprof_dwarf
take_expression(struct pprof_dwarf *in)
{
    return pprof_dwarf_block(in, pprof_dwarf_uleb(in));
}


/*
 * Runs call frame instructions.  Returns false when they cannot be understood;
 * the rules then are those before the instruction that was not.
 */
static bool
execute(struct machine *machine, struct pprof_dwarf in)
{
    const struct pprof_cfi_cie   *cie = machine->cie;
    const struct pprof_dwarf_cie *head = &cie->head;
    struct pprof_cfi_rules       *rules = &machine->rules;
    struct pprof_cfi_rules       *remembered = machine->remembered;
    unsigned                      depth = 0;

    while (in.p < in.end && !machine->done) {
        uint8_t  op = *in.p++;
        uint64_t reg, delta;
        int64_t  offset;

        switch (op >> 6) {
        case 1:                                 /* advance_loc */
            advance(machine, (op & 0x3f) * head->code_align);
            continue;

        case 2:                                 /* offset */
            offset = (int64_t) (pprof_dwarf_uleb(&in)
                                * (uint64_t) head->data_align);
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
            delta = pprof_dwarf_pointer(&in, head->pointers) - machine->start;
            if (in.failed || delta < machine->pc) {
                return false;
            }
            advance(machine, delta - machine->pc);
            break;

        case 0x02:                              /* advance_loc1, 2, 4 */
        case 0x03:
        case 0x04:
            delta = pprof_dwarf_fixed(&in, 1u << (op - 2)) * head->code_align;
            if (in.failed) {
                return false;
            }
            advance(machine, delta);
            break;

        case 0x05:                              /* offset_extended */
            reg = pprof_dwarf_uleb(&in);
            offset = (int64_t) (pprof_dwarf_uleb(&in)
                                * (uint64_t) head->data_align);
            set_saved(rules, reg, offset);
            break;

        case 0x06:                              /* restore_extended */
            set_initial(rules, pprof_dwarf_uleb(&in), &cie->initial);
            break;

        case 0x07:                              /* undefined */
            set_undefined(rules, pprof_dwarf_uleb(&in));
            break;

        case 0x08:                              /* same_value */
            set_same(rules, pprof_dwarf_uleb(&in));
            break;

        case 0x09:                              /* register */
            set_lost(rules, pprof_dwarf_uleb(&in));
            (void) pprof_dwarf_uleb(&in);
            break;

        case 0x0a:                              /* remember_state */
            if (depth == PPROF_CFI_REMEMBERED) {
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
            reg = pprof_dwarf_uleb(&in);
            set_cfa(rules, reg, (int64_t) pprof_dwarf_uleb(&in));
            break;

        case 0x0d:                              /* def_cfa_register */
            set_cfa(rules, pprof_dwarf_uleb(&in), rules->offset);
            break;

        case 0x0e:                              /* def_cfa_offset */
            rules->offset = (int64_t) pprof_dwarf_uleb(&in);
            break;

        case 0x0f:                              /* def_cfa_expression */
            set_cfa_expression(rules, take_expression(&in));
            break;

        case 0x10:                              /* expression */
            reg = pprof_dwarf_uleb(&in);
            set_expression(rules, reg, take_expression(&in));
            break;

        case 0x11:                              /* offset_extended_sf */
            reg = pprof_dwarf_uleb(&in);
            offset = (int64_t) ((uint64_t) pprof_dwarf_sleb(&in)
                                * (uint64_t) head->data_align);
            set_saved(rules, reg, offset);
            break;

        case 0x12:                              /* def_cfa_sf */
            reg = pprof_dwarf_uleb(&in);
            set_cfa(rules, reg, (int64_t) ((uint64_t) pprof_dwarf_sleb(&in)
                                           * (uint64_t) head->data_align));
            break;

        case 0x13:                              /* def_cfa_offset_sf */
            rules->offset = (int64_t) ((uint64_t) pprof_dwarf_sleb(&in)
                                       * (uint64_t) head->data_align);
            break;

        case 0x14:                              /* val_offset */
        case 0x15:                              /* val_offset_sf */
            set_lost(rules, pprof_dwarf_uleb(&in));
            (void) pprof_dwarf_uleb(&in);
            break;

        case 0x16:                              /* val_expression */
            set_lost(rules, pprof_dwarf_uleb(&in));
            (void) take_expression(&in);
            break;

        case 0x2e:                              /* GNU_args_size */
            (void) pprof_dwarf_uleb(&in);
            break;

        case 0x2f:                              /* GNU_negative_offset_… */
            reg = pprof_dwarf_uleb(&in);
            offset = (int64_t) (0 - pprof_dwarf_uleb(&in)
                                    * (uint64_t) head->data_align);
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


bool
pprof_cfi_rows_begin(struct pprof_cfi_cie *cie,
    struct pprof_cfi_rules *remembered)
{
    const struct pprof_dwarf program = cie->head.program;

    if (cie->head.return_reg != REG_RA
        || program.end - program.p > CIE_PROGRAM_MAX)
    {
        return false;
    }

    struct machine machine = {
        .cie = cie,
        .remembered = remembered,
        .rules = { .kind = PPROF_CFI_STOP, .fp = PPROF_CFI_FP_SAME,
                   .ra = PPROF_CFI_RA_LINK },
    };

    if (!execute(&machine, program)) {
        return false;
    }

    cie->initial = machine.rules;

    return true;
}


/* The last row, where the instructions did not say where that ends. */
static void
run(struct machine *machine, struct pprof_dwarf program)
{
    static const struct pprof_cfi_rules stop = { .kind = PPROF_CFI_STOP };

    if (!execute(machine, program)) {
        machine->rules = stop;
    }

    if (!machine->done) {
        put(machine, &machine->rules,
            machine->cie->head.signal
            && machine->rules.kind != PPROF_CFI_STOP);
    }
}


void
pprof_cfi_rows_add(struct pprof_cfi_rows *rows,
    const struct pprof_cfi_cie *cie, struct pprof_dwarf program,
    uintptr_t start, uint64_t pc, uint64_t limit)
{
    static const struct pprof_cfi_rules none = { .kind = PPROF_CFI_NONE };

    struct pprof_cfi_rules remembered[PPROF_CFI_REMEMBERED];
    struct machine machine = {
        .rows = rows,
        .cie = cie,
        .remembered = remembered,
        .rules = cie->initial,
        .start = start,
        .pc = pc,
        .limit = limit,
    };

    run(&machine, program);
    put_row(rows, make_row((uint32_t) machine.limit, &none, false));
}


struct pprof_cfi_row
pprof_cfi_rows_one(const struct pprof_cfi_cie *cie,
    struct pprof_dwarf program, uintptr_t start, uint64_t pc, uint64_t at,
    struct pprof_cfi_rules *remembered)
{
    struct pprof_cfi_row row = { .cfa = PPROF_CFI_STOP };
    struct machine machine = {
        .row = &row,
        .cie = cie,
        .remembered = remembered,
        .rules = cie->initial,
        .start = start,
        .pc = pc,
        .limit = at + 1,
    };

    run(&machine, program);

    return row;
}
