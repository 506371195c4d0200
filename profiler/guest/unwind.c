#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/uio.h>

#include "guest/bounds.h"
#include "guest/cfi.h"
#include "guest/cfi_look.h"
#include "guest/raw.h"
#include "guest/unwind.h"


/*
 * Stacks are read whole, redzones, canaries and other threads' words with
 * them; the sanitizers must not mind.
 */
#define RAW_READ  __attribute__((no_sanitize("address", "thread")))

enum {
    WINDOW = 64,                        /* words fetched by one system call */
    MAIN_STACK = 128 * 1024 * 1024,     /* what the kernel keeps free for it */
    RED_ZONE = 128,                     /* bytes below sp that are in use */
    OWN_FRAMES = 64 * 1024,             /* the signal's frame and ours */
    SEARCH_MAX = 512,                   /* words looked at for a caller */
    UNKNOWN_MAX = 16,                   /* frames in a row without a module */
    SCAN_MAX = 4096                     /* words looked at for a lost fp */
};

/* User addresses have 47 or 48 bits; pointers are signed above. */
#define PAC_MASK  0x0000ffffffffffff

struct walker {
    const struct pprof_cfi   *cfi;
    const ucontext_t         *context;  /* the registers of the first frame */
    uintptr_t                 pc;
    uintptr_t                 sp;
    uintptr_t                 fp;
    uintptr_t                 link;
    bool                      fp_known;
    bool                      exact;    /* pc was interrupted, not called */
    bool                      copied;   /* memory is a copy: no other stack */
    bool                      handled;  /* a signal handler was in it */
    bool                      searched; /* for a return address, once */
    const struct pprof_memory *memory;  /* that copy */

    /* room for looking at what no table has; NULL: it is not looked at */
    struct pprof_cfi_room    *room;
    bool                      quiet;    /* no system calls */

    /* words from low to high are at address + bias */
    uintptr_t                 low;
    uintptr_t                 high;
    uintptr_t                 bias;
    bool                      windowed;
    uintptr_t                 window[WINDOW];
};


struct pprof_bounds pprof_bounds;

_Atomic bool  pprof_unwind_sealed;


static inline uintptr_t
thread_pointer(void)
{
    uintptr_t tp;

#if defined(__x86_64__)
    __asm__("movq %%fs:0, %0" : "=r" (tp));
#else
    __asm__("mrs %0, tpidr_el0" : "=r" (tp));
#endif

    return tp;
}


/*
 * Chooses how the stack that SP points into is read.  OWN says that SP is the
 * current thread's and right above our own frame, so that all from there to
 * the stack's end is surely mapped.
 */
RAW_READ static void
set_stack(struct walker *walker, bool own)
{
    uintptr_t sp = walker->sp;
    uintptr_t tp = thread_pointer();

    walker->bias = 0;
    walker->windowed = false;

    if (pprof_bounds.known && tp != 0) {
        /*
         * libc's own record of this thread: block, size, guard.  It is the
         * current thread that asks, so its stack is there.
         */
        const uintptr_t *words = (const uintptr_t *)
                                 (tp + (uintptr_t) pprof_bounds.offset);
        uintptr_t        low = words[0] + words[2];
        uintptr_t        high = words[0] + words[1];

        if (words[0] != 0 && low <= sp && sp < high) {
            walker->low = low;
            walker->high = high;
            return;
        }
    }

    uintptr_t top = pprof_bounds.main_top;

    if (own && sp < top && top - sp < MAIN_STACK) {
        /*
         * The main stack grows down and nothing else is put into its way; the
         * kernel has written right below SP's red zone a moment ago.
         */
        walker->low = sp - RED_ZONE;
        walker->high = top;
        return;
    }

    walker->low = 0;
    walker->high = 0;
    walker->windowed = !walker->quiet;
}


/* Fetches the words from ADDR on; false when there are none. */
static bool
move_window(struct walker *walker, uintptr_t addr)
{
    struct iovec local = { walker->window, sizeof(walker->window) };
    struct iovec remote = { (void *) addr, sizeof(walker->window) };
    long         pid = pprof_raw(SYS_getpid, 0, 0, 0, 0, 0, 0);
    long         n;

    n = pprof_raw(SYS_process_vm_readv, (uintptr_t) pid, (uintptr_t) &local, 1,
                  (uintptr_t) &remote, 1, 0);

    if (n == -EFAULT) {
        /* one piece is read or not: try what is left of the page */
        remote.iov_len = 4096 - (addr & 4095);

        if (remote.iov_len < sizeof(walker->window)) {
            n = pprof_raw(SYS_process_vm_readv, (uintptr_t) pid,
                          (uintptr_t) &local, 1, (uintptr_t) &remote, 1, 0);
        }
    }

    if (n < 8) {
        return false;
    }

    walker->low = addr;
    walker->high = addr + (uintptr_t) n;
    walker->bias = (uintptr_t) walker->window - addr;

    return true;
}


/* Reads the word at ADDR, if it is on the stack being walked. */
RAW_READ static bool
read_word(struct walker *walker, uintptr_t addr, uintptr_t *word)
{
    if (addr % sizeof(uintptr_t) != 0) {
        return false;
    }

    if (addr < walker->low || walker->high < sizeof(uintptr_t)
        || addr > walker->high - sizeof(uintptr_t))
    {
        if (!walker->windowed || !move_window(walker, addr)) {
            return false;
        }
    }

    *word = *(const uintptr_t *) (addr + walker->bias);

    return true;
}


/* Could PC be code at all? */
static bool
is_plausible(const struct walker *walker, uintptr_t pc)
{
    return pc >= 4096 && pc >> 47 == 0
           && (walker->windowed || pc < walker->low || pc >= walker->high);
}


static uintptr_t
strip_signature(uintptr_t pc)
{
#if defined(__aarch64__)
    return pc & PAC_MASK;
#else
    return pc;
#endif
}


/* A register of the interrupted code by its DWARF number. */
static bool
read_register(const struct walker *walker, unsigned reg, uintptr_t *value)
{
#if defined(__x86_64__)
    static const uint8_t map[16] = {
        REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI, REG_RBP, REG_RSP,
        REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15
    };

    if (walker->context == NULL || reg >= sizeof(map)) {
        return false;
    }

    *value = (uintptr_t) walker->context->uc_mcontext.gregs[map[reg]];

    return true;
#else
    (void) walker;
    (void) reg;
    (void) value;

    return false;
#endif
}


/*
 * The kernel's signal frame: all registers of the code that was interrupted.
 */
static bool
step_signal(struct walker *walker)
{
#if defined(__x86_64__)
    /* the handler's return popped its address: sp is at the ucontext */
    uintptr_t context = walker->sp;
    uintptr_t gregs = context + offsetof(ucontext_t, uc_mcontext.gregs);

    if (!read_word(walker, gregs + REG_RIP * 8, &walker->pc)
        || !read_word(walker, gregs + REG_RBP * 8, &walker->fp)
        || !read_word(walker, gregs + REG_RSP * 8, &walker->sp))
    {
        return false;
    }

#else
    /* struct rt_sigframe: siginfo, then the ucontext */
    uintptr_t context = walker->sp + sizeof(siginfo_t);
    uintptr_t regs = context + offsetof(ucontext_t, uc_mcontext.regs);

    if (!read_word(walker, regs + 29 * 8, &walker->fp)
        || !read_word(walker, regs + 30 * 8, &walker->link)
        || !read_word(walker,
                      context + offsetof(ucontext_t, uc_mcontext.pc),
                      &walker->pc)
        || !read_word(walker,
                      context + offsetof(ucontext_t, uc_mcontext.sp),
                      &walker->sp))
    {
        return false;
    }

    walker->link = strip_signature(walker->link);
#endif

    walker->fp_known = true;
    walker->exact = true;

    if (walker->sp < walker->low || walker->sp >= walker->high) {
        if (walker->copied) {
            return false;
        }

        set_stack(walker, false);
    }

    return true;
}


/* Reads LEN bytes of code, or of what it calls by, at ADDR. */
static bool
read_code(const struct walker *walker, uintptr_t addr, void *buf, size_t len)
{
    struct iovec local = { buf, len };
    struct iovec remote = { (void *) addr, len };

    if (walker->copied && walker->memory->code != NULL) {
        return walker->memory->code(walker->memory->arg, addr, buf, len)
               == len;
    }

    if (walker->quiet) {
        return false;
    }

    /* the module may be unloaded at this moment */
    long pid = pprof_raw(SYS_getpid, 0, 0, 0, 0, 0, 0);

    return pprof_raw(SYS_process_vm_readv, (uintptr_t) pid, (uintptr_t) &local,
                     1, (uintptr_t) &remote, 1, 0) == (long) len;
}


/* The row at PC, NULL where there is none: between functions, in assembly. */
static const struct pprof_cfi_row *
find_row(const struct pprof_cfi_module *module, uintptr_t pc)
{
    const struct pprof_cfi_row *row = NULL;

    if (module != NULL && module->table != NULL) {
        row = pprof_cfi_table_find(module->table,
                                   (uint32_t) (pc - module->start));
    }

    return row != NULL && pprof_cfi_row_kind(row) == PPROF_CFI_NONE ? NULL
                                                                    : row;
}


/*
 * Does a call of TARGET lead to where the walker is?  To code without rows it
 * does where no function with rows begins between the two; where there are
 * rows they say where the return address is, and the question is not asked.
 */
static bool
leads_here(const struct walker *walker, uintptr_t target)
{
    const uintptr_t                at = walker->pc - !walker->exact;
    const struct pprof_cfi_module *module = pprof_cfi_find(walker->cfi, at);

    /* the first: code that was made while the program runs */
    if (module == NULL || module->table == NULL
        || find_row(module, at) != NULL)
    {
        return true;
    }

    return target >= module->start && target <= at
           && pprof_cfi_table_find(module->table,
                                   (uint32_t) (target - module->start))
              == pprof_cfi_table_find(module->table,
                                      (uint32_t) (at - module->start));
}


#if defined(__x86_64__)

/* The same of a call by the address that is OFFSET from PC: one of the GOT. */
static bool
slot_leads_here(const struct walker *walker, uintptr_t pc,
    const uint8_t *offset)
{
    uintptr_t target;
    int32_t   rel;

    memcpy(&rel, offset, 4);

    /* another process's data is not what its file has */
    return walker->copied
           || !read_code(walker, pc + (uintptr_t) (intptr_t) rel, &target,
                         sizeof(target))
           || leads_here(walker, target);
}


/* Does CODE, the 8 bytes before PC, end in a call that may lead here? */
static bool
may_call(const struct walker *walker, uintptr_t pc, const uint8_t *code)
{
    static const uint8_t endbr[4] = { 0xf3, 0x0f, 0x1e, 0xfa };

    uint8_t stub[11];
    int32_t rel;

    /* call rel32 */
    if (code[3] == 0xe8) {
        memcpy(&rel, code + 4, 4);

        const uintptr_t target = pc + (uintptr_t) (intptr_t) rel;
        size_t          at = 0;

        if (leads_here(walker, target)) {
            return true;
        }

        if (!read_code(walker, target, stub, sizeof(stub))) {
            return false;
        }

        /* the linker's stub: jmp *rel32(%rip), and what may stand before */
        at += memcmp(stub, endbr, sizeof(endbr)) == 0 ? sizeof(endbr) : 0;
        at += stub[at] == 0xf2;

        return stub[at] == 0xff && stub[at + 1] == 0x25
               && slot_leads_here(walker, target + at + 6, stub + at + 2);
    }

    /* call *rel32(%rip) */
    if (code[2] == 0xff && code[3] == 0x15) {
        return slot_leads_here(walker, pc, code + 4);
    }

    /* ff /2 with every length of its address: by a register */
    return (code[6] == 0xff && (code[7] & 0xf8) == 0xd0)
           || (code[6] == 0xff && (code[7] & 0xf8) == 0x10)
           || (code[5] == 0xff && (code[6] & 0xf8) == 0x50)
           || (code[4] == 0xff && (code[5] & 0xf8) == 0x50)
           || (code[2] == 0xff && (code[3] & 0x38) == 0x10)
           || (code[1] == 0xff && (code[2] & 0x38) == 0x10);
}

#else

static bool
may_call(const struct walker *walker, uintptr_t pc, const uint8_t *code)
{
    uint32_t word;

    memcpy(&word, code + 4, 4);

    /* bl: straight, or by a linker's stub, which has no rows either */
    if ((word & 0xfc000000) == 0x94000000) {
        const int32_t          rel = (int32_t) (word << 6) >> 4;
        const uintptr_t        target = pc - 4 + (uintptr_t) (intptr_t) rel;
        const struct pprof_cfi_module *const module
            = pprof_cfi_find(walker->cfi, target);

        return leads_here(walker, target) || find_row(module, target) == NULL;
    }

    /* blr and its signed forms */
    return (word & 0xfefff000) == 0xd63f0000;
}

#endif


/*
 * Is PC, found on a stack, an address that a call of the code without rows
 * where the walker is returns to?  Below what a function has written lies what
 * others left there, and much of that are addresses that calls returned to.
 */
static bool
is_return_address(const struct walker *walker, uintptr_t pc)
{
    const struct pprof_cfi_module *module = pprof_cfi_find(walker->cfi, pc);
    uint8_t                        code[8];

    return module != NULL && pc - module->start >= sizeof(code)
           && find_row(module, pc - 1) != NULL
           && read_code(walker, pc - sizeof(code), code, sizeof(code))
           && may_call(walker, pc, code);
}


/*
 * The chain of frame pointers, for code without rows: JIT, assembly.
 */
static bool
step_chain(struct walker *walker)
{
    uintptr_t fp = walker->fp, next, pc;

    if (!walker->fp_known || fp < walker->sp
        || !read_word(walker, fp, &next)
        || !read_word(walker, fp + sizeof(uintptr_t), &pc))
    {
        return false;
    }

    pc = strip_signature(pc);

    if (!is_plausible(walker, pc)) {
        return false;
    }

    /* code without rows may use the register for anything */
    if (walker->cfi != NULL && pprof_cfi_find(walker->cfi, pc) != NULL
        && !is_return_address(walker, pc))
    {
        return false;
    }

    struct pprof_cfi_row row;

    /* a caller is in a function, or in code of no object */
    if (walker->room != NULL
        && pprof_cfi_look(pc - 1, &row, walker->room) == PPROF_CFI_NO_ROW)
    {
        return false;
    }

    walker->pc = pc;
    walker->sp = fp + 2 * sizeof(uintptr_t);
    walker->fp = next;
    walker->exact = false;
    walker->context = NULL;

    return true;
}


/*
 * Assembly without rows that has changed the frame pointer: the first word on
 * the stack that a call returns to is, nearly always, where it returns to.
 */
static bool
step_search(struct walker *walker)
{
    uintptr_t addr = walker->sp, pc;

    for (size_t i = 0; i < SEARCH_MAX; i++, addr += sizeof(uintptr_t)) {
        if (!read_word(walker, addr, &pc)) {
            return false;
        }

        pc = strip_signature(pc);

        if (is_plausible(walker, pc) && is_return_address(walker, pc)) {
            walker->pc = pc;
            walker->sp = addr + sizeof(uintptr_t);
            walker->fp_known = false;
            walker->searched = true;
            walker->exact = false;
            walker->context = NULL;
            return true;
        }
    }

    return false;
}


/*
 * A step out of code without rows, which is in a MODULE or, as JIT code, in
 * none.
 */
static bool
step_unknown(struct walker *walker, const struct pprof_cfi_module *module)
{
#if defined(__aarch64__)
    /*
     * Where code was interrupted, the link register leads out of what calls
     * nobody: the linker's stubs, most assembly.
     */
    if (walker->exact && walker->cfi != NULL
        && pprof_cfi_find(walker->cfi, walker->link) != NULL)
    {
        walker->pc = walker->link;
        walker->exact = false;
        walker->context = NULL;
        return true;
    }
#endif

    return step_chain(walker) || (module != NULL && step_search(walker));
}


/*
 * The frame pointer of a thread that sleeps in the kernel cannot be read.  By
 * the time it is needed, the function that needs it has pushed the caller's
 * below its own return address: take the first such pair.
 */
static bool
find_fp(struct walker *walker)
{
    uintptr_t addr = walker->sp;

    for (size_t i = 0; i < SCAN_MAX; i++, addr += sizeof(uintptr_t)) {
        uintptr_t saved, pc;

        if (!read_word(walker, addr, &saved)
            || !read_word(walker, addr + sizeof(uintptr_t), &pc))
        {
            return false;
        }

#if defined(__x86_64__)
        /* a frame begins where the stack is aligned */
        if (addr % 16 != 0) {
            continue;
        }
#endif

        /* either a frame further up, or what main's caller left there */
        if (saved > 1 && (saved <= addr || saved >= walker->high
                          || saved % sizeof(uintptr_t) != 0))
        {
            continue;
        }

        if (is_return_address(walker, strip_signature(pc))) {
            walker->fp = addr;
            walker->fp_known = true;
            return true;
        }
    }

    return false;
}


/* The CFA of ROW; false when it cannot be told. */
static bool
find_cfa(struct walker *walker, const struct pprof_cfi_row *row,
    uintptr_t *cfa)
{
    intptr_t offset = pprof_cfi_row_offset(row);

    switch (pprof_cfi_row_kind(row)) {

    case PPROF_CFI_SP:
        *cfa = walker->sp + (uintptr_t) offset;
        return true;

    case PPROF_CFI_PLT:
        *cfa = walker->sp + 8
               + ((walker->pc & 15) >= (uintptr_t) offset ? 8 : 0);
        return true;

    case PPROF_CFI_DEREF_SP:
        if (!read_word(walker, walker->sp + (uintptr_t) offset, cfa)) {
            return false;
        }

        *cfa += (uintptr_t) (intptr_t) row->ra;
        return true;

    case PPROF_CFI_REG:
        if (!read_register(walker, (unsigned) row->ra, cfa)) {
            return false;
        }

        *cfa += (uintptr_t) offset;
        return true;

    case PPROF_CFI_FP:
    case PPROF_CFI_DEREF_FP:
        if (!walker->fp_known
            && !((walker->copied || walker->searched) && find_fp(walker)))
        {
            return false;
        }

        if (pprof_cfi_row_kind(row) == PPROF_CFI_FP) {
            *cfa = walker->fp + (uintptr_t) offset;
            return true;
        }

        if (!read_word(walker, walker->fp + (uintptr_t) offset, cfa)) {
            return false;
        }

        *cfa += (uintptr_t) (intptr_t) row->ra;
        return true;
    }

    return false;
}


/* The caller's frame pointer; SP is still the callee's. */
static void
step_fp(struct walker *walker, const struct pprof_cfi_row *row, uintptr_t cfa)
{
    uintptr_t at;

    switch (pprof_cfi_row_fp(row)) {

    case PPROF_CFI_FP_SAME:
        return;

    case PPROF_CFI_FP_CFA:
        at = cfa + (uintptr_t) ((intptr_t) row->fp * 8);
        break;

    case PPROF_CFI_FP_FP:
        if (!walker->fp_known) {
            return;
        }

        at = walker->fp + (uintptr_t) ((intptr_t) row->fp * 8);
        break;

    default:
        walker->fp_known = false;
        return;
    }

    if (at < walker->sp) {
        /*
         * An epilogue has popped it already, and compilers do not say so:
         * the register holds what the rule looks for in the red zone.
         */
        return;
    }

    walker->fp_known = read_word(walker, at, &walker->fp);
}


/* One step by a row.  Returns false at the end, whatever the reason. */
static bool
step_row(struct walker *walker, const struct pprof_cfi_row *row)
{
    uintptr_t cfa, pc;

    if (pprof_cfi_row_signal(row)) {
        walker->context = NULL;
        walker->handled = true;
        return step_signal(walker);
    }

    if (pprof_cfi_row_ra(row) == PPROF_CFI_RA_END
        || !find_cfa(walker, row, &cfa) || cfa % sizeof(uintptr_t) != 0)
    {
        return false;
    }

#if defined(__x86_64__)

    if (cfa <= walker->sp || !read_word(walker, cfa - 8, &pc)) {
        return false;
    }

#else

    if (pprof_cfi_row_ra(row) == PPROF_CFI_RA_LINK) {
        /* only what was interrupted still has it in the register */
        if (!walker->exact || cfa < walker->sp) {
            return false;
        }

        pc = walker->link;

    } else if (cfa <= walker->sp
               || !read_word(walker, cfa + (uintptr_t) ((intptr_t) row->ra * 8),
                             &pc))
    {
        return false;
    }

    pc = strip_signature(pc);

#endif

    step_fp(walker, row, cfa);

    if (!is_plausible(walker, pc)) {
        return false;
    }

    walker->pc = pc;
    walker->sp = cfa;
    walker->exact = false;
    walker->context = NULL;

    return true;
}


static size_t
walk(struct walker *walker, uintptr_t *pcs, size_t max)
{
    size_t n = 0, unknown = 0;

    walker->handled = false;

    while (n < max) {
        /* the address within the call, where this is a return address */
        uintptr_t at = walker->exact ? walker->pc : walker->pc - 1;

        pcs[n] = walker->pc + (walker->exact && n > 0);
        n++;

        const struct pprof_cfi_module *module = NULL;
        const struct pprof_cfi_row    *row = NULL;

        if (walker->cfi != NULL) {
            module = pprof_cfi_find(walker->cfi, at);
        }

        struct pprof_cfi_row looked;
        bool                 known = module != NULL;

        if (known) {
            row = find_row(module, at);

        } else if (walker->room != NULL) {
            const enum pprof_cfi_found found
                = pprof_cfi_look(at, &looked, walker->room);

            known = found != PPROF_CFI_NO_MODULE;
            row = found == PPROF_CFI_ROW ? &looked : NULL;
        }

        if (known) {
            unknown = 0;

        } else if (++unknown > UNKNOWN_MAX) {
            break;
        }

        if (row == NULL) {
            if (!step_unknown(walker, module)) {
                if (known && n < max) {
                    pcs[n++] = PPROF_UNWIND_UNKNOWN;
                }

                break;
            }

        } else if (!step_row(walker, row)) {
            break;
        }
    }

    return n;
}


size_t
pprof_unwind_context(const ucontext_t *context, uintptr_t *pcs, size_t max)
{
    struct walker walker;

    walker.context = context;
    walker.fp_known = true;
    walker.exact = true;
    walker.copied = false;
    walker.searched = false;
    walker.room = NULL;
    walker.quiet = false;

#if defined(__x86_64__)
    walker.pc = (uintptr_t) context->uc_mcontext.gregs[REG_RIP];
    walker.sp = (uintptr_t) context->uc_mcontext.gregs[REG_RSP];
    walker.fp = (uintptr_t) context->uc_mcontext.gregs[REG_RBP];
    walker.link = 0;
#else
    walker.pc = (uintptr_t) context->uc_mcontext.pc;
    walker.sp = (uintptr_t) context->uc_mcontext.sp;
    walker.fp = (uintptr_t) context->uc_mcontext.regs[29];
    walker.link = strip_signature((uintptr_t) context->uc_mcontext.regs[30]);
#endif

    /* not so on an alternate stack */
    uintptr_t here = (uintptr_t) context;

    set_stack(&walker, here < walker.sp && walker.sp - here < OWN_FRAMES);

    walker.cfi = pprof_cfi_enter();
    size_t n = walk(&walker, pcs, max);
    pprof_cfi_leave();

    return n;
}


/* What is known right here. */
#if defined(__x86_64__)
#define HERE(walker)                                                          \
    __asm__ volatile("leaq 0(%%rip), %0\n\t"                                  \
                     "movq %%rsp, %1\n\t"                                     \
                     "movq %%rbp, %2"                                         \
                     : "=&r" ((walker)->pc), "=&r" ((walker)->sp),            \
                       "=&r" ((walker)->fp))
#else
#define HERE(walker)                                                          \
    __asm__ volatile("adr %0, .\n\t"                                         \
                     "mov %1, sp\n\t"                                        \
                     "mov %2, x29"                                            \
                     : "=&r" ((walker)->pc), "=&r" ((walker)->sp),            \
                       "=&r" ((walker)->fp))
#endif


static size_t
walk_here(struct walker *walker, uintptr_t *pcs, size_t max)
{
    walker->context = NULL;
    walker->link = 0;
    walker->fp_known = true;
    walker->exact = true;
    walker->copied = false;
    walker->searched = false;
    walker->quiet = atomic_load_explicit(&pprof_unwind_sealed,
                                         memory_order_relaxed);

    set_stack(walker, true);

    walker->cfi = pprof_cfi_enter();
    const size_t n = walk(walker, pcs, max);
    pprof_cfi_leave();

    return n;
}


__attribute__((noinline)) size_t
pprof_unwind_here(uintptr_t *pcs, size_t max, size_t skip)
{
    struct walker walker;
    uintptr_t     frames[PPROF_STACK_MAX + 8];

    HERE(&walker);
    walker.room = NULL;

    /* our own frame is one to leave out */
    skip++;

    if (max > PPROF_STACK_MAX) {
        max = PPROF_STACK_MAX;
    }

    if (skip > 8) {
        skip = 8;
    }

    const size_t n = walk_here(&walker, frames, max + skip);

    if (n <= skip) {
        return 0;
    }

    memcpy(pcs, frames + skip, (n - skip) * sizeof(*pcs));

    return n - skip;
}


struct room {
    struct walker         walker;
    struct pprof_cfi_room cfi;
};

_Static_assert(sizeof(struct room) <= sizeof(struct pprof_unwind_room),
               "what a walk needs has room");


__attribute__((noinline)) size_t
pprof_unwind_thin(struct pprof_unwind_room *memory, uintptr_t *pcs, size_t max)
{
    struct room *const room = (struct room *) memory;

    HERE(&room->walker);
    room->walker.room = &room->cfi;
    room->cfi.end = 0;

    return walk_here(&room->walker, pcs, max);
}


bool
pprof_unwind_handled(const struct pprof_unwind_room *memory)
{
    return ((const struct room *) memory)->walker.handled;
}


size_t
pprof_unwind_copy(const struct pprof_regs *regs,
    const struct pprof_memory *memory, uintptr_t *pcs, size_t max)
{
    struct walker walker;

    walker.context = regs->context;
    walker.pc = regs->pc;
    walker.sp = regs->sp;
    walker.fp = regs->fp;
    walker.link = regs->link;
    walker.fp_known = regs->fp_known;
    walker.exact = regs->exact;
    walker.copied = true;
    walker.searched = false;
    walker.room = NULL;
    walker.quiet = false;
    walker.windowed = false;
    walker.low = memory->low;
    walker.high = memory->high;
    walker.bias = (uintptr_t) memory->copy - memory->low;
    walker.memory = memory;

    const struct pprof_cfi *own = pprof_cfi_enter();

    walker.cfi = memory->cfi != NULL ? memory->cfi : own;
    size_t n = walk(&walker, pcs, max);
    pprof_cfi_leave();

    return n;
}
