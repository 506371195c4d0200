#include <pthread.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest/bounds.h"
#include "guest/own.h"
#include "guest/unwind.h"


enum { DESCRIPTOR_WORDS = 2048 / sizeof(uintptr_t) };   /* surely there */

/* One thread's look at its own descriptor. */
struct probe {
    bool      found;
    intptr_t  offset;
};


/*
 * glibc keeps "stackblock, stackblock_size, guardsize" side by side in the
 * thread's descriptor, above the thread pointer on x86-64 and below it on
 * aarch64.  pthread_getattr_np() tells the values, so look for them.
 */
__attribute__((no_sanitize("address", "thread"))) static void *
look(void *arg)
{
    struct probe   *probe = arg;
    pthread_attr_t  attr;
    void           *addr;
    size_t          size, guard;
    uintptr_t       tp;

    if (pthread_getattr_np(pthread_self(), &attr) != 0) {
        return NULL;
    }

    int bad = pthread_attr_getstack(&attr, &addr, &size)
              | pthread_attr_getguardsize(&attr, &guard);

    pthread_attr_destroy(&attr);

#if defined(__x86_64__)
    __asm__("movq %%fs:0, %0" : "=r" (tp));
    uintptr_t from = tp, to = tp + 2304;
#else
    __asm__("mrs %0, tpidr_el0" : "=r" (tp));
    uintptr_t from = tp - 2304, to = tp;
#endif

    /* the descriptor lies at the top of the stack's own block */
    uintptr_t low = (uintptr_t) addr, high = low + size;

    if (bad || from < low || from >= high) {
        return NULL;
    }

    if (to > high) {
        to = high;
    }

    for (uintptr_t at = from; at + 3 * sizeof(uintptr_t) <= to;
         at += sizeof(uintptr_t))
    {
        const uintptr_t *words = (const uintptr_t *) at;

        /* aarch64 makes its guards larger than it tells */
        if (words[0] + words[1] == high && words[0] + words[2] == low
            && words[2] >= guard)
        {
            probe->found = true;
            probe->offset = (intptr_t) (at - tp);
            break;
        }
    }

    return NULL;
}


/* Runs look() in a thread with a stack and a guard of its own sizes. */
static struct probe
look_in_thread(size_t size, size_t guard)
{
    struct probe    probe = { 0 };
    pthread_attr_t  attr;
    pthread_t       thread;

    if (pthread_attr_init(&attr) != 0) {
        return probe;
    }

    if (pthread_attr_setstacksize(&attr, size) == 0
        && pthread_attr_setguardsize(&attr, guard) == 0
        && pthread_create(&thread, &attr, look, &probe) == 0)
    {
        pthread_join(thread, NULL);
    }

    pthread_attr_destroy(&attr);

    return probe;
}


static void
find_main_top(void)
{
    if (pprof_bounds.main_top == 0) {
        /* 16 random bytes that the kernel puts above the first frame */
        pprof_bounds.main_top = getauxval(AT_RANDOM) & ~(uintptr_t) 15;
    }
}


/*
 * glibc gives the main thread's descriptor no block, the end of the stack for
 * its size, and no guard.  One such place and no other is believed; where it
 * is used, what stands there is held against the stack pointer.
 */
__attribute__((no_sanitize("address", "thread"))) int
pprof_unwind_guess(void)
{
#if defined(__x86_64__)
    extern void *__libc_stack_end __attribute__((weak));

    const uintptr_t *words;
    size_t           found = 0;

    find_main_top();

    if (pprof_bounds.known) {
        return 0;
    }

    if (&__libc_stack_end == NULL
        || syscall(SYS_gettid) != (long) getpid())
    {
        return -1;
    }

    __asm__("movq %%fs:0, %0" : "=r" (words));

    for (size_t i = 1; i + 1 < DESCRIPTOR_WORDS; i++) {
        if (words[i] == (uintptr_t) __libc_stack_end && words[i - 1] == 0
            && words[i + 1] == 0)
        {
            pprof_bounds.offset = (intptr_t) ((i - 1) * sizeof(*words));
            found++;
        }
    }

    pprof_bounds.known = found == 1;

    return found == 1 ? 0 : -1;
#else
    find_main_top();

    return pprof_bounds.known ? 0 : -1;
#endif
}


int
pprof_unwind_init(void)
{
    find_main_top();

    if (pprof_bounds.known) {
        return 0;
    }

    if (pprof_own_raw()) {
        /* it can make no thread of libc's to look at */
        return -1;
    }

    struct probe a = look_in_thread(256 * 1024, 4096);
    struct probe b = look_in_thread(384 * 1024, 16384);

    if (!a.found || !b.found || a.offset != b.offset) {
        return -1;
    }

    pprof_bounds.offset = a.offset;
    pprof_bounds.known = true;

    return 0;
}
