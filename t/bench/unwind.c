/*
 * What a step of the walker costs, against libgcc's, and what the tables cost
 * to build.  Prints name and number, one a line.
 *
 *   unwind [library…]     with these loaded, too
 */

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unwind.h>

#include "capture/cfi.h"
#include "capture/unwind.h"


enum { DEPTH = 100, ROUNDS = 200, RUNS = 50 };

static double ours = 1e18, theirs = 1e18;
static uintptr_t pcs[PPROF_STACK_MAX];
static size_t frames, gcc_frames;
static _Unwind_Reason_Code (*backtrace)(_Unwind_Trace_Fn, void *);
static _Unwind_Ptr (*get_ip)(struct _Unwind_Context *);


static double
now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (double) ts.tv_sec * 1e9 + (double) ts.tv_nsec;
}


static _Unwind_Reason_Code
keep(struct _Unwind_Context *context, void *arg)
{
    size_t *n = arg;

    if (*n == PPROF_STACK_MAX) {
        return _URC_END_OF_STACK;
    }

    pcs[(*n)++] = get_ip(context);

    return _URC_NO_REASON;
}


static void
measure(void)
{
    double start = now();

    for (int i = 0; i < ROUNDS; i++) {
        frames = pprof_unwind_here(pcs, PPROF_STACK_MAX, 0);
    }

    double took = (now() - start) / ROUNDS / (double) frames;
    ours = took < ours ? took : ours;

    start = now();

    for (int i = 0; i < ROUNDS / 10; i++) {
        gcc_frames = 0;
        backtrace(keep, &gcc_frames);
    }

    took = (now() - start) / (ROUNDS / 10) / (double) gcc_frames;
    theirs = took < theirs ? took : theirs;
}


/* Through qsort, as real stacks go through more than one library. */
static int compare(const void *a, const void *b);
static int left;

__attribute__((noinline)) static void
go_down(void)
{
    int pair[2] = { 1, 2 };

    qsort(pair, 2, sizeof(int), compare);
    __asm__ volatile("");
}


static int
compare(const void *a, const void *b)
{
    if (left-- > 0) {
        go_down();

    } else {
        measure();
    }

    return *(const int *) a - *(const int *) b;
}


int
main(int argc, char **argv)
{
    void *gcc = dlopen("libgcc_s.so.1", RTLD_NOW);

    *(void **) &backtrace = dlsym(gcc, "_Unwind_Backtrace");
    *(void **) &get_ip = dlsym(gcc, "_Unwind_GetIP");

    for (int i = 1; i < argc; i++) {
        if (dlopen(argv[i], RTLD_NOW) == NULL) {
            fprintf(stderr, "%s\n", dlerror());
            return 1;
        }
    }

    pprof_unwind_init();

    double start = now();
    pprof_cfi_refresh();
    double built = now() - start;

    start = now();
    for (int i = 0; i < 1000; i++) {
        pprof_cfi_refresh();
    }
    double again = (now() - start) / 1000;

    for (int run = 0; run < RUNS; run++) {
        left = DEPTH / 4;
        go_down();
    }

    struct pprof_cfi_stats stats = pprof_cfi_stats();

    printf("frames %zu\n", frames);
    printf("ns/frame %.1f\n", ours);
    printf("ns/frame libgcc %.1f\n", theirs);
    printf("build ms %.2f\n", built / 1e6);
    printf("unchanged us %.2f\n", again / 1e3);
    printf("rows %zu\n", stats.rows);
    printf("table bytes %zu\n", stats.bytes);

    return 0;
}
