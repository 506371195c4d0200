#include <limits.h>
#include <linux/futex.h>

#include "guest/raw.h"
#include "guest/tick.h"
#include "guest/unwind.h"


struct pprof_tick_shared  pprof_tick_shared;


static void
take_sample(struct pprof_ticks *ticks, size_t index, uint64_t periods,
    const ucontext_t *context)
{
    struct pprof_tick_thread *thread = &ticks->threads[index];
    uintptr_t                 pcs[PPROF_STACK_MAX];

    periods += atomic_exchange_explicit(&thread->credit, 0,
                                        memory_order_relaxed);

    if (periods > 1
        && atomic_load_explicit(&thread->blocked, memory_order_relaxed))
    {
        /*
         * The signal waited for the thread to unblock it: this is where it
         * did so, not where the time went.
         */
        atomic_fetch_add_explicit(&thread->held, periods - 1,
                                  memory_order_relaxed);
        periods = 1;
    }

    size_t depth = pprof_unwind_context(context, pcs, PPROF_STACK_MAX);

    uint32_t row = pprof_stackmap_add(ticks->map, index, pcs, depth, periods,
                                      periods * ticks->period);

    atomic_store_explicit(&thread->row, row, memory_order_relaxed);
    atomic_fetch_add_explicit(&thread->signals, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&thread->ticks, periods, memory_order_relaxed);
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


void
pprof_tick_handle(int signo, siginfo_t *info, void *context)
{
    (void) signo;

    if (info->si_code != SI_TIMER) {
        return;
    }

    uintptr_t value = (uintptr_t) info->si_value.sival_ptr;
    uint32_t  generation = (uint32_t) (value >> 32);
    size_t    index = (uint32_t) value;

    /*
     * Sequentially consistent, as is the withdrawal: when it counts nobody
     * after having taken the pointers away, whoever comes later sees NULL.
     */
    atomic_fetch_add(&pprof_tick_shared.inside, 1);

    struct pprof_ticks     *ticks = atomic_load(&pprof_tick_shared.ticks);
    struct pprof_tick_dump *dump = atomic_load(&pprof_tick_shared.dump);

    if (ticks != NULL && ticks->generation == generation
        && index < ticks->cap)
    {
        int overrun = info->si_overrun;

        take_sample(ticks, index, overrun > 0 ? (uint64_t) overrun + 1 : 1,
                    context);

    } else if (dump != NULL && dump->generation == generation
               && index < dump->cap)
    {
        give_stack(dump, index, context);
    }

    atomic_fetch_sub_explicit(&pprof_tick_shared.inside, 1,
                              memory_order_release);
}
