/*
 * So many pairs of malloc() and free(), for callgrind and for the clock.
 *
 *   pairs COUNT SIZE
 *
 * Prints the ns of CPU that one took.
 */

#include <stdio.h>
#include <stdlib.h>
#include <time.h>


static double
now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);

    return (double) ts.tv_sec * 1e9 + (double) ts.tv_nsec;
}


int
main(int argc, char **argv)
{
    const long   n = argc > 1 ? atol(argv[1]) : 1;
    const size_t size = argc > 2 ? (size_t) atol(argv[2]) : 64;
    const double start = now();

    for (long i = 0; i < n; i++) {
        void *p = malloc(size);

        __asm__ volatile("" : : "r" (p) : "memory");
        free(p);
    }

    printf("%.2f\n", (now() - start) / (double) n);

    return 0;
}
