/*
 * What an uncontended lock and unlock cost, in ns a pair: the least of many
 * short runs, since anything else on the machine only adds.
 *
 *   locks                          libc alone
 *   LD_PRELOAD=libpprof.so locks   with the library
 */

#include <pthread.h>
#include <stdio.h>
#include <time.h>


enum { PAIRS = 100000, RUNS = 400 };

static pthread_mutex_t   mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t  rwlock = PTHREAD_RWLOCK_INITIALIZER;


static double
now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (double) ts.tv_sec * 1e9 + (double) ts.tv_nsec;
}


#define BEST(lock, unlock)  __extension__ ({                                  \
    double best = 1e18;                                                       \
                                                                              \
    for (int run = 0; run < RUNS; run++) {                                    \
        double start = now();                                                 \
                                                                              \
        for (int i = 0; i < PAIRS; i++) {                                     \
            lock;                                                             \
            unlock;                                                           \
        }                                                                     \
                                                                              \
        double took = (now() - start) / PAIRS;                                \
        best = took < best ? took : best;                                     \
    }                                                                         \
                                                                              \
    best;                                                                     \
})


static void *
nothing(void *arg)
{
    return arg;
}


int
main(void)
{
    pthread_t thread;

    /* libc is quicker while there has never been a second thread */
    pthread_create(&thread, NULL, nothing, NULL);
    pthread_join(thread, NULL);

    printf("mutex %.2f\n", BEST(pthread_mutex_lock(&mutex),
                                pthread_mutex_unlock(&mutex)));
    printf("rwlock read %.2f\n", BEST(pthread_rwlock_rdlock(&rwlock),
                                      pthread_rwlock_unlock(&rwlock)));
    printf("rwlock write %.2f\n", BEST(pthread_rwlock_wrlock(&rwlock),
                                       pthread_rwlock_unlock(&rwlock)));

    return 0;
}
