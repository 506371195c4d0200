#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "guest/own.h"
#include "guest/raw.h"
#include "guest/timers.h"


struct start {
    void  *(*run)(void *);
    void    *arg;
    char     name[16];
};


static _Atomic pid_t  own[PPROF_OWN_MAX];

/* CPU time of those that have left, less what they had when they entered. */
static _Atomic int64_t  past;

/* The resting thread, where libc does not know it. */
static _Atomic pid_t  raw;

/* Never given back. */
static struct {
    _Atomic uintptr_t  start;           /* 0: free */
    _Atomic size_t     size;            /* bytes */
} mappings[PPROF_OWN_MAPPINGS];

static __thread int  depth __attribute__((tls_model("initial-exec")));


void
pprof_own_enter(void)
{
    pid_t tid = (pid_t) pprof_raw(SYS_gettid, 0, 0, 0, 0, 0, 0);

    if (depth++ > 0) {
        return;
    }

    atomic_fetch_sub(&past, (int64_t) pprof_thread_clock(tid));

    for (int i = 0; i < PPROF_OWN_MAX; i++) {
        pid_t nobody = 0;

        if (atomic_compare_exchange_strong(&own[i], &nobody, tid)) {
            return;
        }
    }
}


void
pprof_own_leave(void)
{
    pid_t tid = (pid_t) pprof_raw(SYS_gettid, 0, 0, 0, 0, 0, 0);

    if (--depth > 0) {
        return;
    }

    atomic_fetch_add(&past, (int64_t) pprof_thread_clock(tid));

    for (int i = 0; i < PPROF_OWN_MAX; i++) {
        pid_t self = tid;

        if (atomic_compare_exchange_strong(&own[i], &self, 0)) {
            return;
        }
    }
}


bool
pprof_own_has(pid_t tid)
{
    for (int i = 0; i < PPROF_OWN_MAX; i++) {
        if (atomic_load_explicit(&own[i], memory_order_relaxed) == tid) {
            return true;
        }
    }

    return false;
}


bool
pprof_own_here(void)
{
    return depth > 0;
}


void
pprof_own_raw_set(bool is_raw)
{
    atomic_store(&raw, is_raw ? (pid_t) pprof_raw(SYS_gettid, 0, 0, 0, 0, 0, 0)
                              : 0);
}


bool
pprof_own_raw(void)
{
    const pid_t tid = atomic_load(&raw);

    return tid != 0
           && tid == (pid_t) pprof_raw(SYS_gettid, 0, 0, 0, 0, 0, 0);
}


uint64_t
pprof_own_cpu(void)
{
    int64_t sum = atomic_load(&past);

    for (int i = 0; i < PPROF_OWN_MAX; i++) {
        pid_t tid = atomic_load(&own[i]);

        if (tid != 0) {
            sum += (int64_t) pprof_thread_clock(tid);
        }
    }

    return (uint64_t) sum;
}


void
pprof_own_mapped(const void *p, size_t size)
{
    for (size_t i = 0; i < PPROF_OWN_MAPPINGS; i++) {
        uintptr_t none = 0;

        if (atomic_compare_exchange_strong(&mappings[i].start, &none,
                                           (uintptr_t) p))
        {
            atomic_store(&mappings[i].size, size);
            return;
        }
    }
}


void
pprof_own_mappings(void (*visit)(void *arg, uintptr_t start, size_t size),
    void *arg)
{
    for (size_t i = 0; i < PPROF_OWN_MAPPINGS; i++) {
        const uintptr_t start = atomic_load(&mappings[i].start);

        if (start == 0) {
            return;
        }

        visit(arg, start, atomic_load(&mappings[i].size));
    }
}


void
pprof_own_child(void)
{
    atomic_store(&past, 0);

    for (int i = 0; i < PPROF_OWN_MAX; i++) {
        atomic_store(&own[i], 0);
    }

    atomic_store(&raw, 0);
    depth = 0;
}


static void *
run_own(void *arg)
{
    struct start start = *(struct start *) arg;

    free(arg);
    pthread_setname_np(pthread_self(), start.name);

    pprof_own_enter();
    void *result = start.run(start.arg);
    pprof_own_leave();

    return result;
}


int
pprof_own_create(pthread_t *thread, const char *name, void *(*run)(void *),
    void *arg)
{
    struct start *start = calloc(1, sizeof(*start));
    sigset_t      all, before;

    if (start == NULL) {
        return ENOMEM;
    }

    start->run = run;
    start->arg = arg;
    memcpy(start->name, name, strnlen(name, sizeof(start->name) - 1));

    /* the mask is inherited: no signal of the program ever arrives there */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);

    depth++;
    int error = pthread_create(thread, NULL, run_own, start);
    depth--;

    pthread_sigmask(SIG_SETMASK, &before, NULL);

    if (error != 0) {
        free(start);
    }

    return error;
}
