#include "guest/ask.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "guest/tick.h"
#include "guest/timers.h"


struct asked {
    int       timer;                    /* -1: none */
    bool      told;                     /* its stack was read */
};

static struct {
    struct pprof_tick_dump  dump;       /* stacks: one for each index */
    struct asked           *threads;
    size_t                  n;          /* the highest index, and one more */
    bool                    begun;
} ask;

static uint32_t  generation = 1;


static void *
map_zeroes(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}


static void
free_all(void)
{
    if (ask.threads != NULL) {
        munmap(ask.threads, PPROF_ASK_MAX * sizeof(*ask.threads));
    }

    if (ask.dump.stacks != NULL) {
        munmap(ask.dump.stacks, PPROF_ASK_MAX * sizeof(*ask.dump.stacks));
    }

    ask.threads = NULL;
    ask.dump.stacks = NULL;
}


int
pprof_ask_begin(int *signo)
{
    if (ask.begun) {
        return EALREADY;
    }

    /* touched only as far as it is used */
    ask.threads = map_zeroes(PPROF_ASK_MAX * sizeof(*ask.threads));
    ask.dump.stacks = map_zeroes(PPROF_ASK_MAX * sizeof(*ask.dump.stacks));
    ask.dump.cap = PPROF_ASK_MAX;
    ask.dump.generation = generation += 2;
    ask.n = 0;

    if (ask.threads == NULL || ask.dump.stacks == NULL) {
        free_all();
        return ENOMEM;
    }

    *signo = pprof_signal_acquire();

    if (*signo == -1) {
        free_all();
        return EBUSY;
    }

    atomic_store(&pprof_tick_shared.dump, &ask.dump);
    ask.begun = true;

    return 0;
}


int
pprof_ask_thread(size_t index, pid_t tid)
{
    if (!ask.begun || index >= PPROF_ASK_MAX || tid <= 0) {
        return EINVAL;
    }

    while (ask.n <= index) {
        ask.threads[ask.n++].timer = -1;
    }

    if (ask.threads[index].timer != -1) {
        return EALREADY;
    }

    const int timer = pprof_timer_create(tid,
                          pprof_tick_value(ask.dump.generation, index), 1, 0,
                          false);

    if (timer == -1) {
        return EAGAIN;
    }

    ask.threads[index].timer = timer;

    return 0;
}


void
pprof_ask_read(pprof_ask_visit *visit, void *arg)
{
    for (size_t i = 0; ask.begun && i < ask.n; i++) {
        const struct pprof_tick_stack *stack = &ask.dump.stacks[i];

        if (!ask.threads[i].told
            && atomic_load_explicit(&stack->done, memory_order_acquire) != 0)
        {
            ask.threads[i].told = true;
            visit(arg, i, stack->pcs, stack->depth);
        }
    }
}


void
pprof_ask_end(void)
{
    if (!ask.begun) {
        return;
    }

    for (size_t i = 0; i < ask.n; i++) {
        if (ask.threads[i].timer != -1) {
            pprof_timer_delete(ask.threads[i].timer);
        }
    }

    pprof_signal_release();
    atomic_store(&pprof_tick_shared.dump, NULL);
    ask.begun = false;

    if (pprof_signal_quiesce()) {
        free_all();

    } else {
        /* a handler may write there yet: the memory is its */
        ask.threads = NULL;
        ask.dump.stacks = NULL;
    }
}


void
pprof_ask_child(void)
{
    if (ask.begun) {
        /* timers are not inherited, so there is none to delete */
        atomic_store(&pprof_tick_shared.dump, NULL);
        pprof_signal_release();
        ask.begun = false;
        free_all();
    }
}
