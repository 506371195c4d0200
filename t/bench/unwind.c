/*
 * What a step of the walker costs, against libgcc's, libunwind's two ways and
 * gperftools', and what the tables cost to build.  Prints name and number, one
 * a line; a way that is not on this machine is left out.
 *
 * They go up the same stack in turns; the least of many short runs counts,
 * since anything else on the machine only adds.
 *
 *   unwind [library…]     with these loaded, too
 */

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unwind.h>

#include "guest/cfi.h"
#include "guest/unwind.h"


enum { DEPTH = 100, ROUNDS = 100, RUNS = 60 };

/* libunwind's cursor and context, whose sizes are for ever. */
struct cursor {
    uint64_t  words[127];
};

struct context {
    uint64_t  words[121] __attribute__((aligned(16)));
};

static uintptr_t            pcs[PPROF_STACK_MAX];
static _Unwind_Reason_Code  (*gcc_backtrace)(_Unwind_Trace_Fn, void *);
static _Unwind_Ptr          (*gcc_ip)(struct _Unwind_Context *);
static int                  (*unw_getcontext)(struct context *);
static int                  (*unw_init)(struct cursor *, struct context *);
static int                  (*unw_step)(struct cursor *);
static int                  (*unw_get_reg)(struct cursor *, int, uint64_t *);
static int                  (*unw_backtrace)(void **, int);
static int                  (*gperftools)(void **, int, int, const void *);


static double
read_clock(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);

    return (double) ts.tv_sec * 1e9 + (double) ts.tv_nsec;
}


static double
now(void)
{
    return read_clock(CLOCK_MONOTONIC);
}


/* What is done once: not by the clock on the wall. */
static double
cpu(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}


static _Unwind_Reason_Code
keep(struct _Unwind_Context *context, void *arg)
{
    size_t *n = arg;

    if (*n == PPROF_STACK_MAX) {
        return _URC_END_OF_STACK;
    }

    pcs[(*n)++] = gcc_ip(context);

    return _URC_NO_REASON;
}


static size_t
by_ours(void)
{
    return pprof_unwind_here(pcs, PPROF_STACK_MAX, 0);
}


static size_t
by_libgcc(void)
{
    size_t n = 0;

    gcc_backtrace(keep, &n);

    return n;
}


static size_t
by_backtrace(void)
{
    return (size_t) unw_backtrace((void **) pcs, PPROF_STACK_MAX);
}


static size_t
by_steps(void)
{
    struct context context;
    struct cursor  cursor;
    size_t         n = 0;

    unw_getcontext(&context);
    unw_init(&cursor, &context);

    do {
        uint64_t ip;

        /* UNW_REG_IP of x86-64 */
        unw_get_reg(&cursor, 16, &ip);
        pcs[n++] = ip;
    } while (n < PPROF_STACK_MAX && unw_step(&cursor) > 0);

    return n;
}


static size_t
by_gperftools(void)
{
    return (size_t) gperftools((void **) pcs, PPROF_STACK_MAX, 0, NULL);
}


static struct {
    const char  *name;
    size_t       (*walk)(void);
    int          rounds;
    double       least;
    size_t       frames;
} ways[] = {
    { "ours", by_ours, ROUNDS, 1e18, 0 },
    { "libgcc", by_libgcc, ROUNDS / 5, 1e18, 0 },
    { "libunwind, unw_backtrace", by_backtrace, ROUNDS, 1e18, 0 },
    { "libunwind, unw_step", by_steps, ROUNDS / 10, 1e18, 0 },
    { "gperftools", by_gperftools, ROUNDS / 10, 1e18, 0 },
};

enum { WAYS = sizeof(ways) / sizeof(ways[0]) };


static void
measure(void)
{
    for (size_t w = 0; w < WAYS; w++) {
        if (ways[w].walk == NULL) {
            continue;
        }

        double start = now();

        for (int i = 0; i < ways[w].rounds; i++) {
            ways[w].frames = ways[w].walk();
        }

        double took = (now() - start) / ways[w].rounds
                      / (double) ways[w].frames;

        ways[w].least = took < ways[w].least ? took : ways[w].least;
    }
}


/* Finds what the ways need; one that lacks something is not taken. */
static void
find_ways(void)
{
    void *gcc = dlopen("libgcc_s.so.1", RTLD_NOW);
    void *unwind = dlopen("libunwind.so.8", RTLD_NOW);
    void *profiler = dlopen("libprofiler.so.0", RTLD_NOW);

    const struct {
        int          way;
        void        *from;
        const char  *name;
        void        *slot;
    } needs[] = {
        { 1, gcc, "_Unwind_Backtrace", &gcc_backtrace },
        { 1, gcc, "_Unwind_GetIP", &gcc_ip },
        { 2, unwind, "unw_backtrace", &unw_backtrace },
        { 3, unwind, "_Ux86_64_getcontext", &unw_getcontext },
        { 3, unwind, "_ULx86_64_init_local", &unw_init },
        { 3, unwind, "_ULx86_64_step", &unw_step },
        { 3, unwind, "_ULx86_64_get_reg", &unw_get_reg },
        { 4, profiler, "ProfilerGetStackTrace", &gperftools },
    };

    for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++) {
        void *found = needs[i].from != NULL
                      ? dlsym(needs[i].from, needs[i].name) : NULL;

        memcpy(needs[i].slot, &found, sizeof(found));

        if (found == NULL) {
            ways[needs[i].way].walk = NULL;
        }
    }
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
    find_ways();

    for (int i = 1; i < argc; i++) {
        if (dlopen(argv[i], RTLD_NOW) == NULL) {
            fprintf(stderr, "%s\n", dlerror());
            return 1;
        }
    }

    pprof_unwind_init();

    double before = cpu();
    pprof_cfi_refresh();
    double built = cpu() - before;

    double start = now();
    for (int i = 0; i < 1000; i++) {
        pprof_cfi_refresh();
    }
    double again = (now() - start) / 1000;

    for (int run = 0; run < RUNS; run++) {
        left = DEPTH / 4;
        go_down();
    }

    struct pprof_cfi_stats stats = pprof_cfi_stats();

    for (size_t w = 0; w < WAYS; w++) {
        if (ways[w].walk != NULL) {
            printf("%s\t%.1f\t%zu\n", ways[w].name, ways[w].least,
                   ways[w].frames);
        }
    }

    printf("build ms\t%.2f\n", built / 1e6);
    printf("unchanged us\t%.2f\n", again / 1e3);
    printf("rows\t%zu\n", stats.rows);
    printf("table bytes\t%zu\n", stats.bytes);

    return 0;
}
