#include "kinds/threads.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "guest/own.h"
#include "guest/raw.h"
#include "guest/timers.h"
#include "guest/unwind.h"
#include "kinds/code.h"
#include "kinds/life.h"
#include "kinds/state.h"


enum {
    COPY = 64 * 1024,                   /* bytes of a stack */
    BELOW = 128,                        /* of these below the stack pointer */
    TRIES = 3,                          /* at a thread that moves meanwhile */
    POLL = 2000000,                     /* ns between two looks, at first */
    POLL_MAX = 20000000,                /* each wakes the program's thread */
    DEAF = 100000000                    /* ns; who blocks signals is left */
};

enum found { FOUND, RUNS, GONE, FORBIDDEN };

struct entry {
    pid_t        tid;
    char         name[16];
    char         state;
    int          call;
    uint64_t     cpu;
    bool         asked;                 /* it runs: the program asks it */
    bool         done;                  /* its stack is there */
    bool         ended;
    const char  *lost;
};

struct stack {
    uint32_t   depth;
    uintptr_t  pcs[PPROF_STACK_MAX];
};

struct dump {
    struct pprof_target  *target;
    struct entry         *entries;
    struct stack         *stacks;       /* one for each entry */
    size_t                n;
    size_t                cap;
    size_t                mapped;       /* bytes of the entries */
    char                 *copy;         /* COPY bytes */
    bool                  asking;       /* PPROF_OP_ASK was done */
    const char           *deaf;         /* why nobody can be asked, or NULL */
    int                   signo;        /* that those are asked by */
};


/* What getdents64 writes; libc declares it under another name. */
struct name {
    uint64_t        ino;
    int64_t         off;
    unsigned short  length;
    unsigned char   type;
    char            name[];
};


static ssize_t
read_task(const struct dump *dump, pid_t tid, const char *file, char *buf,
    size_t size)
{
    char name[48];

    snprintf(name, sizeof(name), "task/%d/%s", (int) tid, file);

    return pprof_target_slurp(dump->target, name, buf, size);
}


/* The CPU time of a thread, ns. */
static uint64_t
read_cpu(const struct dump *dump, pid_t tid)
{
    char text[96];

    if (dump->target->self) {
        return pprof_thread_clock(tid);
    }

    return read_task(dump, tid, "schedstat", text, sizeof(text)) > 0
           ? strtoull(text, NULL, 10) : 0;
}


static bool
blocks_signal(const struct dump *dump, pid_t tid)
{
    char text[4096];
    const char *line;

    if (dump->signo == 0
        || read_task(dump, tid, "status", text, sizeof(text)) <= 0
        || (line = strstr(text, "\nSigBlk:")) == NULL)
    {
        return false;
    }

    return strtoull(line + 8, NULL, 16) >> (dump->signo - 1) & 1;
}


/* Reads name and state; false when the thread has ended. */
static bool
read_state(const struct dump *dump, struct entry *entry)
{
    char  buf[512];
    char *open, *close;

    if (read_task(dump, entry->tid, "stat", buf, sizeof(buf)) <= 0) {
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
    entry->cpu = read_cpu(dump, entry->tid);

    return true;
}


/*
 * Where a thread stands that waits in the kernel.  TEXT gets the line itself.
 */
static enum found
read_registers(const struct dump *dump, struct entry *entry,
    struct pprof_regs *regs, char *text, size_t size)
{
    unsigned long sp, pc;
    long          call;

    if (read_task(dump, entry->tid, "syscall", text, size) <= 0) {
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
read_schedule(const struct dump *dump, pid_t tid, char *buf, size_t size)
{
    if (read_task(dump, tid, "schedstat", buf, size) <= 0) {
        buf[0] = '\0';
    }
}


static size_t
read_code(void *arg, uintptr_t addr, void *buf, size_t len)
{
    return pprof_target_read(arg, addr, buf, len);
}


/*
 * Takes the stack of a thread that waits, without its noticing.
 */
static enum found
take_waiting(struct dump *dump, size_t index)
{
    struct entry       *entry = &dump->entries[index];
    struct stack       *stack = &dump->stacks[index];
    char                before[256], after[256], ran[64], runs[64];
    struct pprof_regs   regs, again;
    enum found          found;

    for (int i = 0; i < TRIES; i++) {
        read_schedule(dump, entry->tid, ran, sizeof(ran));
        found = read_registers(dump, entry, &regs, before, sizeof(before));

        if (found != FOUND) {
            return found;
        }

        uintptr_t low = (regs.sp - BELOW) & ~(uintptr_t) 7;

        /* as far as there is memory: the thread may end at any moment */
        size_t n = pprof_target_read(dump->target, low, dump->copy, COPY);

        found = read_registers(dump, entry, &again, after, sizeof(after));
        read_schedule(dump, entry->tid, runs, sizeof(runs));

        if (found != FOUND || strcmp(before, after) != 0
            || strcmp(ran, runs) != 0)
        {
            continue;
        }

        struct pprof_memory memory = {
            .low = low,
            .high = low + (n & ~(size_t) 7),
            .copy = dump->copy,
            .code = read_code,
            .arg = dump->target
        };

        memory.cfi = pprof_code_enter(dump->target);
        stack->depth = (uint32_t) pprof_unwind_copy(&regs, &memory, stack->pcs,
                                                    PPROF_STACK_MAX);
        pprof_code_leave(dump->target);
        entry->done = true;

        return FOUND;
    }

    return RUNS;
}


static bool
is_own(const struct pprof_target *t, pid_t tid)
{
    return t->self ? pprof_own_has(tid)
                   : t->page != NULL
                     && atomic_load(&t->page->tid) == (uint32_t) tid;
}


/* Lists the threads.  Returns 0, or -1 with errno. */
static int
list_threads(struct dump *dump)
{
    _Alignas(struct name) char  buf[4096];
    long                        n;

    int fd = pprof_target_openat(dump->target, "task",
                                 O_RDONLY | O_DIRECTORY);

    if (fd == -1) {
        return -1;
    }

    while ((n = pprof_raw(SYS_getdents64, (uintptr_t) fd, (uintptr_t) buf,
                          sizeof(buf), 0, 0, 0)) > 0)
    {
        for (long at = 0; at < n; /* void */ ) {
            struct name *name = (struct name *) (buf + at);
            pid_t        tid = (pid_t) strtol(name->name, NULL, 10);

            if (tid > 0 && !is_own(dump->target, tid) && dump->n < dump->cap) {
                dump->entries[dump->n++] = (struct entry) { .tid = tid,
                                                            .call = -1 };
            }

            at += name->length;
        }
    }

    close(fd);

    if (n < 0) {
        errno = (int) -n;
        return -1;
    }

    return 0;
}


static int
compare_entries(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;

    return x->tid < y->tid ? -1 : x->tid > y->tid;
}


/* Has the program ask the thread, which runs. */
static void
ask(struct dump *dump, size_t index)
{
    const uint64_t     args[PPROF_ARGS] = {
        index, (uint64_t) dump->entries[index].tid
    };
    struct pprof_reply reply;

    if (!dump->asking && dump->deaf == NULL) {
        (void) pprof_code_update(dump->target, true);

        if (pprof_target_call(dump->target, PPROF_OP_ASK, NULL, &reply) == 0) {
            dump->asking = true;
            dump->signo = (int) reply.results[0];
            pprof_reply_free(&reply);

        } else {
            dump->deaf = errno == EBUSY
                         ? "running, and the program handles every signal"
                         : "running, and the program does not answer";
        }
    }

    if (dump->deaf != NULL) {
        dump->entries[index].lost = dump->deaf;
        return;
    }

    dump->entries[index].asked = true;
    (void) pprof_target_call(dump->target, PPROF_OP_ASK_THREAD, args, NULL);
}


/*
 * Tries to finish one thread: asks it, or takes its stack when it has gone to
 * wait.  Returns true when nothing is left to do.
 */
static bool
settle(struct dump *dump, size_t index)
{
    struct entry *entry = &dump->entries[index];

    if (entry->done || entry->ended || entry->lost != NULL) {
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
        if (read_state(dump, entry) && entry->state != 'R') {
            entry->lost = "registers not readable";
            return true;
        }

        break;

    case RUNS:
        break;
    }

    if (!entry->asked) {
        ask(dump, index);
    }

    return entry->lost != NULL;
}


/* Takes the stacks of those that were asked and have answered. */
static void
take_answers(struct dump *dump)
{
    const struct pprof_row *row = NULL;
    struct pprof_reply      reply;

    if (!dump->asking
        || pprof_target_call(dump->target, PPROF_OP_ASK_READ, NULL, &reply)
           == -1)
    {
        return;
    }

    while ((row = pprof_reply_next(&reply, row)) != NULL) {
        if (row->tag >= dump->n || dump->entries[row->tag].done) {
            continue;
        }

        struct stack *stack = &dump->stacks[row->tag];

        stack->depth = row->depth;

        for (uint32_t i = 0; i < row->depth; i++) {
            stack->pcs[i] = row->pcs[i];
        }

        dump->entries[row->tag].done = true;
    }

    pprof_reply_free(&reply);
}


/* Gets all stacks that can be had within WAIT ms. */
static void
take_all(struct dump *dump, unsigned wait)
{
    uint64_t start = pprof_clock(CLOCK_MONOTONIC);
    uint64_t end = start + (uint64_t) wait * 1000000, poll = POLL;

    for ( ;; ) {
        size_t left = 0;
        bool   late = pprof_clock(CLOCK_MONOTONIC) - start >= DEAF;

        take_answers(dump);

        for (size_t i = 0; i < dump->n; i++) {
            struct entry *entry = &dump->entries[i];

            if (settle(dump, i)) {
                continue;
            }

            if (late && blocks_signal(dump, entry->tid)) {
                entry->lost = "signal blocked";

            } else {
                left++;
            }
        }

        if (left == 0 || pprof_clock(CLOCK_MONOTONIC) >= end) {
            break;
        }

        struct timespec pause = pprof_clock_spec(poll);

        nanosleep(&pause, NULL);
        poll = poll * 2 < POLL_MAX ? poll * 2 : POLL_MAX;
    }

    for (size_t i = 0; i < dump->n; i++) {
        struct entry *entry = &dump->entries[i];

        if (!entry->done && !entry->ended && entry->lost == NULL) {
            entry->lost = blocks_signal(dump, entry->tid)
                          ? "signal blocked" : "no answer in time";
        }
    }

    if (dump->asking) {
        (void) pprof_target_call(dump->target, PPROF_OP_ASK_END, NULL, NULL);
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

    if (dump->stacks != NULL) {
        munmap(dump->stacks, dump->cap * sizeof(struct stack));
    }

    munmap(dump, sizeof(*dump));
}


/* The memory of a dump; all of it is touched only as far as it is used. */
static struct dump *
new_dump(struct pprof_target *target)
{
    struct dump *dump = map_zeroes(sizeof(*dump));

    if (dump == NULL) {
        return NULL;
    }

    dump->target = target;
    dump->cap = PPROF_THREADS_MAX;
    dump->mapped = dump->cap * sizeof(struct entry) + COPY;
    dump->entries = map_zeroes(dump->mapped);
    dump->stacks = map_zeroes(dump->cap * sizeof(struct stack));

    if (dump->entries == NULL || dump->stacks == NULL) {
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
        const struct entry *entry = &dump->entries[i];

        if (entry->ended) {
            continue;
        }

        struct pprof_thread thread = {
            .tid = entry->tid,
            .name = entry->name,
            .state = entry->state,
            .call = entry->call,
            .cpu = entry->cpu,
            .pcs = dump->stacks[i].pcs,
            .depth = entry->done ? dump->stacks[i].depth : 0,
            .lost = entry->done ? NULL : entry->lost,
        };

        visit(arg, &thread);
        count++;
    }

    return count;
}


int
pprof_threads_dump(struct pprof_target *target, unsigned wait,
    pprof_threads_visit *visit, void *arg)
{
    struct pprof_kinds *const kinds = pprof_kinds_of(target);

    if (kinds == NULL || atomic_exchange(&kinds->dumping, true)) {
        errno = kinds == NULL ? ENOMEM : EBUSY;
        return -1;
    }

    struct dump *dump = NULL;
    int          result = -1;

    if (pprof_code_update(target, false) == -1
        || (dump = new_dump(target)) == NULL)
    {
        errno = ENOMEM;
        goto done;
    }

    if (list_threads(dump) == -1) {
        goto done;
    }

    qsort(dump->entries, dump->n, sizeof(struct entry), compare_entries);

    for (size_t i = 0; i < dump->n; i++) {
        dump->entries[i].ended = !read_state(dump, &dump->entries[i]);
    }

    take_all(dump, wait == 0 ? PPROF_THREADS_WAIT : wait);
    result = report(dump, visit, arg);

done:

    if (dump != NULL) {
        int error = errno;

        free_dump(dump);
        errno = error;
    }

    atomic_store(&kinds->dumping, false);

    return result;
}
