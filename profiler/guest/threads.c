#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>

#include "base/clock.h"
#include "guest/cfi.h"
#include "guest/own.h"
#include "guest/raw.h"
#include "guest/threads.h"
#include "guest/tick.h"
#include "guest/timers.h"
#include "guest/unwind.h"


enum {
    COPY = 64 * 1024,                   /* bytes of a stack */
    BELOW = 128,                        /* of these below the stack pointer */
    TRIES = 3,                          /* at a thread that moves meanwhile */
    POLL = 2000000,                     /* ns between two looks */
    DEAF = 100000000                    /* ns; who blocks signals is left */
};

enum found { FOUND, RUNS, GONE, FORBIDDEN };

struct entry {
    pid_t        tid;
    char         name[16];
    char         state;
    int          call;
    uint64_t     cpu;
    int          timer;                 /* -1: none */
    bool         ended;
    const char  *lost;
};

struct dump {
    struct pprof_tick_dump  asked;      /* stacks: one for each entry */
    struct entry           *entries;
    size_t                  n;
    size_t                  cap;
    size_t                  mapped;     /* bytes of the entries */
    char                   *copy;       /* COPY bytes */
};


static _Atomic bool  busy;
static uint32_t      generation = 1;


/* Reads name and state; false when the thread has ended. */
static bool
read_state(struct entry *entry)
{
    char  buf[512];
    char *open, *close;

    if (pprof_task_read(entry->tid, "stat", buf, sizeof(buf)) <= 0) {
        return false;
    }

    /* "tid (name) S …"; the name may hold anything, parentheses too */
    open = strchr(buf, '(');
    close = strrchr(buf, ')');

    if (open == NULL || close == NULL || close < open || close[1] == '\0') {
        return false;
    }

    size_t size = (size_t) (close - open) - 1;

    if (size >= sizeof(entry->name)) {
        size = sizeof(entry->name) - 1;
    }

    memcpy(entry->name, open + 1, size);
    entry->name[size] = '\0';
    entry->state = close[2];
    entry->cpu = pprof_thread_clock(entry->tid);

    return true;
}


/*
 * Where a thread stands that waits in the kernel.  TEXT gets the line itself.
 */
static enum found
read_registers(struct entry *entry, struct pprof_regs *regs, char *text,
    size_t size)
{
    unsigned long sp, pc;
    long          call;

    if (pprof_task_read(entry->tid, "syscall", text, size) <= 0) {
        return errno == EACCES || errno == EPERM ? FORBIDDEN : GONE;
    }

    /* "running", or a number, six arguments, sp and pc; -1: sp and pc alone */
    if (sscanf(text, "%ld %*s %*s %*s %*s %*s %*s %lx %lx", &call, &sp, &pc)
        != 3)
    {
        if (sscanf(text, "%ld %lx %lx", &call, &sp, &pc) != 3) {
            return RUNS;
        }
    }

    entry->call = (int) call;
    *regs = (struct pprof_regs) { .pc = pc, .sp = sp, .exact = true };

    return FOUND;
}


/* Has the thread run?  Says so by another text. */
static void
read_schedule(pid_t tid, char *buf, size_t size)
{
    if (pprof_task_read(tid, "schedstat", buf, size) <= 0) {
        buf[0] = '\0';
    }
}


/*
 * Takes the stack of a thread that waits, without its noticing.
 */
static enum found
take_waiting(struct dump *dump, size_t index)
{
    struct entry            *entry = &dump->entries[index];
    struct pprof_tick_stack *stack = &dump->asked.stacks[index];
    char                     before[256], after[256], ran[64], runs[64];
    struct pprof_regs        regs, again;
    enum found               found;

    for (int i = 0; i < TRIES; i++) {
        read_schedule(entry->tid, ran, sizeof(ran));
        found = read_registers(entry, &regs, before, sizeof(before));

        if (found != FOUND) {
            return found;
        }

        uintptr_t    low = (regs.sp - BELOW) & ~(uintptr_t) 7;
        struct iovec local = { dump->copy, COPY };
        struct iovec remote = { (void *) low, COPY };
        long         pid = pprof_raw(SYS_getpid, 0, 0, 0, 0, 0, 0);

        /* as far as there is memory: the thread may end at any moment */
        long n = pprof_raw(SYS_process_vm_readv, (uintptr_t) pid,
                           (uintptr_t) &local, 1, (uintptr_t) &remote, 1, 0);

        if (n < 0) {
            n = 0;
        }

        found = read_registers(entry, &again, after, sizeof(after));
        read_schedule(entry->tid, runs, sizeof(runs));

        if (found != FOUND || strcmp(before, after) != 0
            || strcmp(ran, runs) != 0)
        {
            continue;
        }

        struct pprof_memory memory = { low, low + ((uintptr_t) n & ~7ul),
                                       dump->copy };

        stack->depth = (uint32_t) pprof_unwind_copy(&regs, &memory, stack->pcs,
                                                    PPROF_STACK_MAX);
        atomic_store(&stack->done, 1);

        return FOUND;
    }

    return RUNS;
}


static void
visit_tid(void *arg, pid_t tid)
{
    struct dump *dump = arg;

    if (dump->n < dump->cap) {
        dump->entries[dump->n++] = (struct entry) { .tid = tid, .timer = -1,
                                                    .call = -1 };
    }
}


static int
compare_entries(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;

    return x->tid < y->tid ? -1 : x->tid > y->tid;
}


static bool
is_done(const struct dump *dump, size_t index)
{
    return atomic_load_explicit(&dump->asked.stacks[index].done,
                                memory_order_acquire) != 0;
}


/*
 * Tries to finish one thread: asks it, or takes its stack when it has gone to
 * wait.  Returns true when nothing is left to do.
 */
static bool
settle(struct dump *dump, size_t index)
{
    struct entry *entry = &dump->entries[index];

    if (is_done(dump, index) || entry->ended || entry->lost != NULL) {
        return true;
    }

    switch (take_waiting(dump, index)) {

    case FOUND:
        return true;

    case GONE:
        entry->ended = true;
        return true;

    case FORBIDDEN:
        /* not dumpable: only who computes can be asked without harm */
        if (read_state(entry) && entry->state != 'R') {
            entry->lost = "registers not readable";
            return true;
        }

        break;

    case RUNS:
        break;
    }

    if (entry->timer == -1) {
        entry->timer = pprof_timer_create(entry->tid,
                           pprof_tick_value(dump->asked.generation, index),
                           1, 0, false);
    }

    return false;
}


/* Gets all stacks that can be had within WAIT ms. */
static void
take_all(struct dump *dump, unsigned wait)
{
    struct timespec pause = { 0, POLL };
    uint64_t        start = pprof_clock(CLOCK_MONOTONIC);
    uint64_t        end = start + (uint64_t) wait * 1000000;

    for ( ;; ) {
        size_t left = 0;
        bool   late = pprof_clock(CLOCK_MONOTONIC) - start >= DEAF;

        for (size_t i = 0; i < dump->n; i++) {
            struct entry *entry = &dump->entries[i];

            if (settle(dump, i)) {
                continue;
            }

            if (late && pprof_task_blocks(entry->tid)) {
                entry->lost = "signal blocked";

            } else {
                left++;
            }
        }

        if (left == 0 || pprof_clock(CLOCK_MONOTONIC) >= end) {
            break;
        }

        nanosleep(&pause, NULL);
    }

    for (size_t i = 0; i < dump->n; i++) {
        struct entry *entry = &dump->entries[i];

        if (entry->timer != -1) {
            pprof_timer_delete(entry->timer);
        }

        if (!is_done(dump, i) && !entry->ended && entry->lost == NULL) {
            entry->lost = pprof_task_blocks(entry->tid) ? "signal blocked"
                                                        : "no answer in time";
        }
    }
}


static void *
map_zeroes(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}


static void
free_dump(struct dump *dump)
{
    if (dump->entries != NULL) {
        munmap(dump->entries, dump->mapped);
    }

    if (dump->asked.stacks != NULL) {
        munmap(dump->asked.stacks,
               dump->cap * sizeof(struct pprof_tick_stack));
    }

    munmap(dump, sizeof(*dump));
}


/* The memory of a dump; all of it is touched only as far as it is used. */
static struct dump *
new_dump(void)
{
    struct dump *dump = map_zeroes(sizeof(*dump));

    if (dump == NULL) {
        return NULL;
    }

    dump->cap = PPROF_THREADS_MAX;
    dump->mapped = dump->cap * sizeof(struct entry) + COPY;
    dump->entries = map_zeroes(dump->mapped);
    dump->asked.cap = dump->cap;
    dump->asked.stacks = map_zeroes(dump->cap
                                    * sizeof(struct pprof_tick_stack));
    dump->asked.generation = generation += 2;

    if (dump->entries == NULL || dump->asked.stacks == NULL) {
        free_dump(dump);
        return NULL;
    }

    dump->copy = (char *) (dump->entries + dump->cap);

    return dump;
}


static int
report(struct dump *dump, pprof_threads_visit *visit, void *arg)
{
    int count = 0;

    for (size_t i = 0; i < dump->n; i++) {
        const struct entry            *entry = &dump->entries[i];
        const struct pprof_tick_stack *stack = &dump->asked.stacks[i];

        if (entry->ended) {
            continue;
        }

        struct pprof_thread thread = {
            .tid = entry->tid,
            .name = entry->name,
            .state = entry->state,
            .call = entry->call,
            .cpu = entry->cpu,
            .pcs = stack->pcs,
            .depth = is_done(dump, i) ? stack->depth : 0,
            .lost = is_done(dump, i) ? NULL : entry->lost,
        };

        visit(arg, &thread);
        count++;
    }

    return count;
}


int
pprof_threads_dump(unsigned wait, pprof_threads_visit *visit, void *arg)
{
    if (atomic_exchange(&busy, true)) {
        errno = EBUSY;
        return -1;
    }

    struct dump *dump = NULL;
    int          result = -1;

    pprof_unwind_init();

    if (pprof_cfi_refresh() == -1 || (dump = new_dump()) == NULL) {
        errno = ENOMEM;
        goto done;
    }

    if (pprof_task_list(visit_tid, dump) == -1) {
        goto done;
    }

    qsort(dump->entries, dump->n, sizeof(struct entry), compare_entries);

    for (size_t i = 0; i < dump->n; i++) {
        dump->entries[i].ended = !read_state(&dump->entries[i]);
    }

    if (pprof_signal_acquire() == -1) {
        goto done;
    }

    atomic_store(&pprof_tick_shared.dump, &dump->asked);
    take_all(dump, wait == 0 ? PPROF_THREADS_WAIT : wait);
    pprof_signal_release();
    atomic_store(&pprof_tick_shared.dump, NULL);

    bool quiet = pprof_signal_quiesce();

    result = report(dump, visit, arg);

    if (!quiet) {
        /* a handler may write there yet */
        dump = NULL;
    }

done:

    if (dump != NULL) {
        int error = errno;

        free_dump(dump);
        errno = error;
    }

    atomic_store(&busy, false);

    return result;
}


void
pprof_threads_child(void)
{
    if (atomic_load(&pprof_tick_shared.dump) != NULL) {
        /* the dump's memory stays: who would have freed it is not here */
        atomic_store(&pprof_tick_shared.dump, NULL);
        pprof_signal_release();
    }

    atomic_store(&busy, false);
}
