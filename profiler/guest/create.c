/*
 * Functions that create threads: who called them, and, where that is
 * needed, a start of the new thread's own in front of the program's: while a
 * profile runs, and for what the creator believes of its signal mask.
 *
 * GUEST ROOM.  For libpprof.so only, as locks.c.
 */

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include <threads.h>

#include "guest/events.h"
#include "guest/growth.h"
#include "guest/mask.h"
#include "guest/newborn.h"
#include "guest/own.h"
#include "guest/raw.h"
#include "guest/unwind.h"


#define EXPORT  __attribute__((visibility("default"), noinline))

enum { STARTS = 512 };

/*
 * What a thread is to run when it has begun.  It belongs to the creator until
 * the thread exists, and to the thread until it has read it: some microseconds
 * altogether.
 */
struct start {
    atomic_bool  used;
    bool         blocked;               /* see mask.h */
    uint32_t     generation;            /* see newborn.h */
    void        *run;
    void        *arg;
};


static int (*libc_create)(pthread_t *, const pthread_attr_t *,
                          void *(*)(void *), void *);
static int (*libc_thrd)(thrd_t *, thrd_start_t, void *);

static struct start      starts[STARTS];
static _Atomic unsigned  next_start;


__attribute__((constructor(101))) static void
prepare(void)
{
    *(void **) &libc_create = dlsym(RTLD_NEXT, "pthread_create");
    *(void **) &libc_thrd = dlsym(RTLD_NEXT, "thrd_create");
    pprof_events_hook(PPROF_EVENT_CREATE);
}


/* NULL: the thread is to begin as it would without us. */
static struct start *
take_start(void *run, void *arg)
{
    const bool blocked = pprof_mask_believes();

    const uint32_t generation = pprof_newborn_wanted();

    if ((generation == 0 && !blocked) || pprof_own_here()) {
        return NULL;
    }

    struct start *start = &starts[atomic_fetch_add(&next_start, 1) % STARTS];

    if (atomic_exchange_explicit(&start->used, true, memory_order_acquire)) {
        return NULL;
    }

    start->run = run;
    start->arg = arg;
    start->blocked = blocked;
    start->generation = generation;

    return start;
}


static void
give_start(struct start *start)
{
    atomic_store_explicit(&start->used, false, memory_order_release);
}


/*
 * The program's own function is not called but jumped to: what looks at the
 * thread's stack finds the same frames as ever.
 */
static void *
begin(void *arg)
{
    struct start *start = arg;

    void *(*const run)(void *) = (void *(*)(void *)) start->run;
    void *const    run_arg = start->arg;
    const uint32_t generation = start->generation;

    pprof_mask_inherit(start->blocked);
    give_start(start);
    pprof_newborn_begin(generation, (const void *) run);

    return run(run_arg);
}


static int
begin_thrd(void *arg)
{
    struct start *start = arg;

    const thrd_start_t run = (thrd_start_t) start->run;
    void *const        run_arg = start->arg;
    const uint32_t     generation = start->generation;

    pprof_mask_inherit(start->blocked);
    give_start(start);
    pprof_newborn_begin(generation, (const void *) run);

    return run(run_arg);
}


/*
 * The stack that libc has mapped for THREAD, whose number is an address at its
 * upper end.  The variable may be gone: the thread may have freed it.
 */
static void
note_stack(const pthread_t *thread, const pthread_attr_t *attr,
    const void *caller)
{
    uintptr_t          id = 0;
    size_t             size = 0;
    void              *stack = NULL;
    const struct iovec to = { .iov_base = &id, .iov_len = sizeof(id) };
    const struct iovec from = {
        .iov_base = (void *) (uintptr_t) thread, .iov_len = sizeof(id)
    };

    if (!pprof_growth_on() || atomic_load(&pprof_unwind_sealed)) {
        return;
    }

    /* one of the program's own: libc says "SIZE below nothing" of none */
    if (attr != NULL && (pthread_attr_getstack(attr, &stack, &size) != 0
                         || (uintptr_t) stack + size != 0))
    {
        return;
    }

    const long pid = pprof_raw(SYS_getpid, 0, 0, 0, 0, 0, 0);

    if (pprof_raw(SYS_process_vm_readv, (uintptr_t) pid, (uintptr_t) &to, 1,
                  (uintptr_t) &from, 1, 0) == sizeof(id))
    {
        pprof_growth_map((const void *) id, 0, caller);
    }
}


EXPORT int
pthread_create(pthread_t *thread, const pthread_attr_t *attr,
    void *(*run)(void *), void *arg)
{
    if (libc_create == NULL) {
        prepare();
    }

    struct start *start = take_start((void *) run, arg);
    const int     rc = start == NULL
                       ? libc_create(thread, attr, run, arg)
                       : libc_create(thread, attr, begin, start);

    if (rc == 0) {
        pprof_events_created(__builtin_return_address(0));
        note_stack(thread, attr, __builtin_return_address(0));

    } else if (start != NULL) {
        give_start(start);
    }

    return rc;
}


EXPORT int
thrd_create(thrd_t *thread, thrd_start_t run, void *arg)
{
    if (libc_thrd == NULL) {
        prepare();
    }

    struct start *start = take_start((void *) run, arg);
    const int     rc = start == NULL ? libc_thrd(thread, run, arg)
                                     : libc_thrd(thread, begin_thrd, start);

    if (rc == thrd_success) {
        pprof_events_created(__builtin_return_address(0));
        note_stack(thread, NULL, __builtin_return_address(0));

    } else if (start != NULL) {
        give_start(start);
    }

    return rc;
}
