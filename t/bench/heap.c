/*
 * What the heap sample and the recording of allocations cost, in ns for one
 * malloc and its free.  One thread does the same many times, 14 calls deep, as
 * a program would be; the ways of sampling take turns, and the medians of the
 * differences to tcmalloc alone count.
 *
 *   pprof-run -s 0 -- heap [rounds]
 *
 * Prints a line for each size: bytes, ns without any sampling, and how much
 * more each way takes, in the order of the enum.
 */

#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <pprof.h>


enum { OFF, HEAP_512, HEAP_64, ALLOCS_512, BOTH_512, WAYS };

enum {
    ROUNDS_MAX = 10000,
    SAMPLE = 524288,
    WARM = 18 * 1024 * 1024,    /* bytes after which tcmalloc's thread has
                                   seen a change of the parameter */
    WORK = 16 * 1024 * 1024,    /* bytes in a round: 32 samples */
    DEPTH = 14
};

static double   took[WAYS][ROUNDS_MAX];
static int64_t  *parameter;     /* tcmalloc's own */
static int       (*handle)(const struct pprof_request *,
                           struct pprof_response *);
static void      (*response_free)(struct pprof_response *);


static double
now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);

    return (double) ts.tv_sec * 1e9 + (double) ts.tv_nsec;
}


static void
ask(const char *query)
{
    struct pprof_request  request = {
        .size = sizeof(request),
        .method = "GET",
        .path = "/debug/pprof/allocs",
        .query = query,
    };
    struct pprof_response response = { .size = sizeof(response) };

    if (handle(&request, &response) != 0 || response.status != 200) {
        fprintf(stderr, "allocs?%s: %.*s", query, (int) response.body_len,
                (const char *) response.body);
        exit(1);
    }

    response_free(&response);
}


__attribute__((noinline)) static void
allocate(int depth, size_t size, long n)
{
    if (depth > 0) {
        allocate(depth - 1, size, n);
        __asm__ volatile("");
        return;
    }

    for (long i = 0; i < n; i++) {
        void *p = malloc(size);

        __asm__ volatile("" : : "r" (p) : "memory");
        free(p);
    }
}


static void
switch_to(int way)
{
    static int before = OFF;
    bool       allocs = way == ALLOCS_512 || way == BOTH_512;
    bool       were = before == ALLOCS_512 || before == BOTH_512;

    *parameter = way == HEAP_64 ? 65536
                 : way == HEAP_512 || way == BOTH_512 ? SAMPLE : 0;

    if (allocs != were) {
        ask(allocs ? "rate=524288" : "rate=0");
    }

    before = way;
}


static int
by_value(const void *a, const void *b)
{
    double x = *(const double *) a, y = *(const double *) b;

    return (x > y) - (x < y);
}


static double
median(double *values, int n)
{
    qsort(values, (size_t) n, sizeof(double), by_value);

    return values[n / 2];
}


static void
measure(size_t size, int rounds)
{
    static double more[ROUNDS_MAX];
    long          n = WORK / (long) size;

    for (int i = 0; i < rounds; i++) {
        for (int j = 0; j < WAYS; j++) {
            int way = (i + j) % WAYS;

            switch_to(way);
            allocate(DEPTH, size, WARM / (long) size);

            double start = now();

            allocate(DEPTH, size, n);
            took[way][i] = (now() - start) / (double) n;
        }
    }

    printf("%zu", size);

    for (int way = OFF + 1; way < WAYS; way++) {
        for (int i = 0; i < rounds; i++) {
            more[i] = took[way][i] - took[OFF][i];
        }

        if (way == OFF + 1) {
            double base[ROUNDS_MAX];

            memcpy(base, took[OFF], sizeof(base));
            printf("\t%.2f", median(base, rounds));
        }

        printf("\t%.2f", median(more, rounds));
    }

    printf("\n");
}


int
main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 25;

    *(void **) &handle = dlsym(RTLD_DEFAULT, "pprof_handle");
    *(void **) &response_free = dlsym(RTLD_DEFAULT, "pprof_response_free");
    parameter = dlsym(RTLD_DEFAULT, "_ZN61FLAG__namespace_do_not_use_directly_"
                                    "use_DECLARE_int64_instead"
                                    "31FLAGS_tcmalloc_sample_parameterE");

    if (parameter == NULL) {    /* gperftools 2.16 */
        parameter = dlsym(RTLD_DEFAULT,
                          "_ZN63FLAG__namespace_do_not_use_directly_"
                          "use_DECLARE_int64_t_instead"
                          "31FLAGS_tcmalloc_sample_parameterE");
    }

    if (handle == NULL || parameter == NULL) {
        fprintf(stderr, "neither libpprof nor tcmalloc: use pprof-run\n");
        return 2;
    }

    if (rounds < 1 || rounds > ROUNDS_MAX) {
        return 2;
    }

    measure(64, rounds);
    measure(1024, rounds);

    return 0;
}
