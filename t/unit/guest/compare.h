/*
 * A walk by our tables beside one by libgcc's unwinder, of the same stack: from
 * a signal handler, which is what compare() is.
 *
 * Source: t/unit/guest/unwind.c on libraries, t/preload/compare.c on whole
 * programs.
 */

#ifndef COMPARE_H
#define COMPARE_H

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unwind.h>

#include "guest/cfi.h"
#include "guest/stackmap.h"
#include "guest/unwind.h"


enum { COMPARE_MAX = 60 };      /* frames; what is beyond is not looked at */

struct backtrace {
    uintptr_t  pcs[PPROF_STACK_MAX];
    bool       exact[PPROF_STACK_MAX];
    size_t     n;
};

static _Unwind_Reason_Code (*gcc_backtrace)(_Unwind_Trace_Fn, void *);
static _Unwind_Ptr (*gcc_ip)(struct _Unwind_Context *, int *);

static struct {
    _Atomic unsigned long  same;
    _Atomic unsigned long  different;
    _Atomic unsigned long  shorter;
    _Atomic unsigned long  frames;
    atomic_flag            kept;
    struct backtrace       ours, theirs;    /* of the first that differ */
} result;


static _Unwind_Reason_Code
keep_frame(struct _Unwind_Context *context, void *arg)
{
    struct backtrace *trace = arg;
    int               before = 0;

    if (trace->n < PPROF_STACK_MAX) {
        trace->pcs[trace->n] = gcc_ip(context, &before);
        trace->exact[trace->n++] = before;
    }

    return _URC_NO_REASON;
}


static void
compare_here(const ucontext_t *context)
{
    struct backtrace ours = { .n = 0 }, theirs = { .n = 0 };
    size_t           skip = 0;

    ours.n = pprof_unwind_context(context, ours.pcs, COMPARE_MAX);
    gcc_backtrace(keep_frame, &theirs);

    /* libgcc begins in this handler */
    while (skip < theirs.n && theirs.pcs[skip] != ours.pcs[0]) {
        skip++;
    }

    theirs.n -= skip;
    memmove(theirs.pcs, theirs.pcs + skip, theirs.n * sizeof(uintptr_t));
    memmove(theirs.exact, theirs.exact + skip, theirs.n);

    /*
     * It ends with a 0, or, in the last instructions of __builtin_eh_return,
     * with an address of data.
     */
    const struct pprof_cfi *cfi = pprof_cfi_enter();

    for (size_t i = 0; i < theirs.n; i++) {
        if (pprof_cfi_find(cfi, theirs.pcs[i]) == NULL) {
            theirs.n = i;
        }
    }

    pprof_cfi_leave();

    if (theirs.n > COMPARE_MAX) {
        theirs.n = COMPARE_MAX;
    }

    size_t n = ours.n < theirs.n ? ours.n : theirs.n, i;

    for (i = 0; i < n; i++) {
        if (ours.pcs[i] != theirs.pcs[i] + (i > 0 && theirs.exact[i])) {
            break;
        }
    }

    result.frames += ours.n;

#if defined(__aarch64__)
    /* libgcc stops in the linker's stubs, which have no rows */
    if (theirs.n == 1 && ours.n > 1) {
        result.same++;
        return;
    }
#endif

    if (i == ours.n && i == theirs.n) {
        result.same++;
        return;
    }

    if (!atomic_flag_test_and_set(&result.kept)) {
        result.ours = ours;
        result.theirs = theirs;
    }

    if (i == ours.n) {
        result.shorter++;
    } else {
        result.different++;
    }
}


static void
compare(int signo, siginfo_t *info, void *context)
{
    const int saved = errno;

    (void) signo;
    (void) info;

    compare_here(context);
    errno = saved;
}


/* Finds libgcc's functions, not those that libunwind has by the same names. */
static inline int
compare_init(void)
{
    void *gcc = dlopen("libgcc_s.so.1", RTLD_NOW);

    if (gcc == NULL) {
        return -1;
    }

    *(void **) &gcc_backtrace = dlsym(gcc, "_Unwind_Backtrace");
    *(void **) &gcc_ip = dlsym(gcc, "_Unwind_GetIPInfo");

    return gcc_backtrace != NULL && gcc_ip != NULL ? 0 : -1;
}

#endif
