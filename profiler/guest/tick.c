#include <limits.h>
#include <linux/futex.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "guest/newborn.h"
#include "guest/raw.h"
#include "guest/routes.h"
#include "guest/tick.h"
#include "guest/unwind.h"


enum {
    STACKS = 64,                        /* handlers at one moment */
    STACK = 16384                       /* bytes of each; 5000 are used */
};

struct pprof_tick_shared  pprof_tick_shared;

/* Made once, and never freed. */
static struct {
    char              *memory;
    _Atomic uint64_t   used;            /* a bit for each */
} stacks;


/*
 * The time until the next sample: the period's half to its one and a half.
 * Where that is within a tick of the kernel's, each tick is one anyway.
 */
static void
set_next(const struct pprof_ticks *ticks, int timer, uint64_t now)
{
    const uint64_t period = ticks->period;

    if (period + period / 2 <= ticks->tick && !ticks->wall) {
        return;
    }

    /* the low digits of a clock, spread */
    const uint64_t chance = now * 0x9e3779b97f4a7c15 >> 33;

    const struct itimerspec spec = {
        .it_value = pprof_clock_spec(period / 2 + chance % period),
        .it_interval = pprof_clock_spec(period),
    };

    pprof_raw(SYS_timer_settime, (uintptr_t) timer, 0, (uintptr_t) &spec, 0, 0,
              0);
}


static uint32_t
add_stack(struct pprof_ticks *ticks, uint64_t tag, uint64_t nsec,
    const ucontext_t *context)
{
    uintptr_t pcs[PPROF_STACK_MAX];
    size_t    depth = pprof_unwind_context(context, pcs, PPROF_STACK_MAX);

    const uint32_t row = pprof_stackmap_add(ticks->map, tag, pcs, depth, 1,
                                            nsec);

    if (ticks->routes != NULL) {
        pprof_routes_sample(ticks, row, nsec);
    }

    return row;
}


static void
take_sample(struct pprof_ticks *ticks, uint32_t index, const siginfo_t *info,
    const ucontext_t *context)
{
    const uint64_t now = pprof_clock(ticks->wall ? CLOCK_MONOTONIC
                                                 : CLOCK_THREAD_CPUTIME_ID);

    if (index == PPROF_TICK_SELF) {
        index = pprof_newborn_row(ticks, now);

        if (index != PPROF_TICK_SELF && index >= PPROF_NEWBORN_TAG) {
            /* too young for a row: each tick that hits is worth a tick */
            add_stack(ticks, index, ticks->tick, context);
            return;
        }
    }

    if (index >= ticks->cap) {
        return;
    }

    struct pprof_tick_thread *thread = &ticks->threads[index];
    const uint64_t            mark = atomic_load(&thread->mark);
    uint64_t                  nsec = now > mark ? now - mark : 0;

    if (mark == PPROF_TICK_CLOSED) {
        return;
    }

    if (nsec > 2 * ticks->period
        && atomic_load_explicit(&thread->blocked, memory_order_relaxed))
    {
        /*
         * The signal waited for the thread to unblock it: this is where it
         * did so, not where the time went.
         */
        atomic_fetch_add_explicit(&thread->held, nsec - ticks->period,
                                  memory_order_relaxed);
        nsec = ticks->period;
    }

    const uint32_t row = add_stack(ticks, index, nsec, context);

    if (atomic_load_explicit(&thread->first, memory_order_relaxed) == 0) {
        atomic_store_explicit(&thread->first, row, memory_order_relaxed);
    }

    atomic_store_explicit(&thread->row, row, memory_order_relaxed);
    atomic_store_explicit(&thread->mark, now, memory_order_relaxed);
    atomic_fetch_add_explicit(&thread->signals, 1, memory_order_relaxed);

    if (ticks->wall || now - thread->from >= PPROF_TICK_DENSE * ticks->tick) {
        set_next(ticks, info->si_timerid, now);
    }
}


static void
give_stack(struct pprof_tick_dump *dump, size_t index,
    const ucontext_t *context)
{
    struct pprof_tick_stack *stack = &dump->stacks[index];

    if (atomic_load_explicit(&stack->done, memory_order_relaxed) != 0) {
        return;
    }

    stack->depth = (uint32_t) pprof_unwind_context(context, stack->pcs,
                                                   PPROF_STACK_MAX);
    atomic_store_explicit(&stack->done, 1, memory_order_release);

    pprof_raw(SYS_futex, (uintptr_t) &stack->done, FUTEX_WAKE_PRIVATE, INT_MAX,
              0, 0, 0);
}


static void
handle(siginfo_t *info, void *context)
{
    uintptr_t value = (uintptr_t) info->si_value.sival_ptr;
    uint32_t  generation = (uint32_t) (value >> 32);
    uint32_t  index = (uint32_t) value;

    /*
     * Sequentially consistent, as is the withdrawal: when it counts nobody
     * after having taken the pointers away, whoever comes later sees NULL.
     */
    atomic_fetch_add(&pprof_tick_shared.inside, 1);

    struct pprof_ticks     *ticks = atomic_load(&pprof_tick_shared.ticks);
    struct pprof_tick_dump *dump = atomic_load(&pprof_tick_shared.dump);

    if (ticks != NULL && ticks->generation == generation) {
        take_sample(ticks, index, info, context);

    } else if (dump != NULL && dump->generation == generation
               && index < dump->cap)
    {
        give_stack(dump, index, context);
    }

    atomic_fetch_sub_explicit(&pprof_tick_shared.inside, 1,
                              memory_order_release);
}


bool
pprof_tick_prepare(void)
{
    if (stacks.memory == NULL) {
        void *p = mmap(NULL, STACKS * STACK, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
                       | MAP_STACK, -1, 0);

        stacks.memory = p == MAP_FAILED ? NULL : p;
    }

    return stacks.memory != NULL;
}


void
pprof_tick_child(void)
{
    atomic_store(&pprof_tick_shared.inside, 0);
    atomic_store(&stacks.used, 0);
}


/* The lowest that is free, so that few of them are ever touched; or -1. */
static inline int
take_own_stack(void)
{
    uint64_t used = atomic_load_explicit(&stacks.used, memory_order_relaxed);

    while (~used != 0) {
        const uint64_t bit = ~used & (used + 1);

        if (atomic_compare_exchange_weak(&stacks.used, &used, used | bit)) {
            return __builtin_ctzll(bit);
        }
    }

    return -1;
}


/* Runs handle() with INFO and CONTEXT on the stack that ends at TOP. */
static inline void
call_on(char *top, siginfo_t *info, void *context)
{
#if defined(__x86_64__)

    __asm__ volatile("movq %%rsp, %%rbx\n\t"
                     "movq %[top], %%rsp\n\t"
                     "call *%[handle]\n\t"
                     "movq %%rbx, %%rsp"
                     : "+D" (info), "+S" (context)
                     : [top] "r" (top), [handle] "r" (handle)
                     : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11",
                       "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
                       "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
                       "xmm13", "xmm14", "xmm15", "memory", "cc");

#else

    register siginfo_t *x0 __asm__("x0") = info;
    register void      *x1 __asm__("x1") = context;

    __asm__ volatile("mov x19, sp\n\t"
                     "mov sp, %[top]\n\t"
                     "blr %[handle]\n\t"
                     "mov sp, x19"
                     : "+r" (x0), "+r" (x1)
                     : [top] "r" (top), [handle] "r" (handle)
                     : "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10",
                       "x11", "x12", "x13", "x14", "x15", "x16", "x17", "x18",
                       "x19", "x30", "v0", "v1", "v2", "v3", "v4", "v5", "v6",
                       "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14",
                       "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22",
                       "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30",
                       "v31", "memory", "cc");
#endif
}


void
pprof_tick_handle(int signo, siginfo_t *info, void *context)
{
    (void) signo;

    if (info->si_code != SI_TIMER) {
        return;
    }

    const int i = take_own_stack();

    /* so many at once: the next sample stands for this one, too */
    if (i != -1) {
        call_on(stacks.memory + (size_t) (i + 1) * STACK, info, context);
        atomic_fetch_and(&stacks.used, ~((uint64_t) 1 << i));
    }
}
