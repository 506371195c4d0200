/*
 * What libpprof adds to locks that nobody else holds, and to what it records:
 * preloaded into this program, it is called in turns with libc's own
 * functions and with those of an empty library (through.c), on the same
 * object, thousands of times for a moment each.  The medians of the
 * differences count, so what else the machine does is not in them.
 *
 *   LD_PRELOAD=libpprof.so locks through.so [rounds]
 *
 * Prints a line for each: name, ns of libc's, ns more through the empty
 * library or "-", ns more through libpprof.
 */

#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>


enum { ROUNDS_MAX = 100000 };

typedef int (*function)(void *);

/* One thing to measure: libc's pair of functions, and what a caller gets. */
struct pair {
    const char  *name;
    void        *object;
    const char  *first;
    const char  *second;
    int          calls;         /* in a round */
};

/* Whose function is called. */
enum { LIBC, THROUGH, OURS, WAYS };

static double base[ROUNDS_MAX], more[WAYS][ROUNDS_MAX];
static pthread_mutex_t   plain = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t   recursive, checking, robust, inheriting;
static pthread_rwlock_t  rwlock = PTHREAD_RWLOCK_INITIALIZER;
static sem_t             sem;


static double
now(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);

    return (double) ts.tv_sec * 1e9 + (double) ts.tv_nsec;
}


/* The same code for both, so only what it calls makes a difference. */
__attribute__((noinline)) static double
time_pairs(function first, function second, void *object, int calls,
    clockid_t clock)
{
    double start = now(clock);

    for (int i = 0; i < calls; i++) {
        first(object);
        second(object);
    }

    return (now(clock) - start) / calls;
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


static void *
find(void *where, const char *name)
{
    void *found = dlsym(where, name);

    if (found == NULL) {
        fprintf(stderr, "no %s\n", name);
        exit(1);
    }

    return found;
}


/* New threads, by whosever functions these are; the thread's own CPU time. */
static int  (*create_function)(pthread_t *, const pthread_attr_t *,
                               void *(*)(void *), void *);
static int  (*join_function)(pthread_t, void **);
static pthread_t  created;


static void *
nothing(void *arg)
{
    return arg;
}


static int
create(void *arg)
{
    return create_function(&created, NULL, nothing, arg);
}


static int
join(void *arg)
{
    (void) arg;

    return join_function(created, NULL);
}


static void
make_mutex(pthread_mutex_t *mutex, int type, int robustness, int protocol)
{
    pthread_mutexattr_t attr;

    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, type);
    pthread_mutexattr_setrobust(&attr, robustness);
    pthread_mutexattr_setprotocol(&attr, protocol);
    pthread_mutex_init(mutex, &attr);
}


static double
measure(const struct pair *pair, void *where)
{
    if (pair->first != NULL) {
        return time_pairs((function) find(where, pair->first),
                          (function) find(where, pair->second),
                          pair->object, pair->calls, CLOCK_MONOTONIC);
    }

    *(void **) &create_function = find(where, "pthread_create");
    *(void **) &join_function = find(where, "pthread_join");

    return time_pairs(create, join, NULL, pair->calls,
                      CLOCK_THREAD_CPUTIME_ID);
}


int
main(int argc, char **argv)
{
    int       rounds = argc > 2 ? atoi(argv[2]) : 4000;
    void     *from[WAYS] = { dlopen("libc.so.6", RTLD_NOW),
                             argc > 1 ? dlopen(argv[1], RTLD_NOW) : NULL,
                             RTLD_DEFAULT };
    pthread_t thread;

    if (from[THROUGH] == NULL || rounds < 2 || rounds > ROUNDS_MAX) {
        fprintf(stderr, "usage: locks through.so [rounds]\n");
        return 2;
    }

    if (find(from[LIBC], "pthread_mutex_lock")
        == find(from[OURS], "pthread_mutex_lock"))
    {
        fprintf(stderr, "libpprof.so is not preloaded\n");
        return 2;
    }

    /* libc is quicker while there has never been a second thread */
    pthread_create(&thread, NULL, nothing, NULL);
    pthread_join(thread, NULL);

    make_mutex(&recursive, PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_STALLED,
               PTHREAD_PRIO_NONE);
    make_mutex(&checking, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_STALLED,
               PTHREAD_PRIO_NONE);
    make_mutex(&robust, PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_ROBUST,
               PTHREAD_PRIO_NONE);
    make_mutex(&inheriting, PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_STALLED,
               PTHREAD_PRIO_INHERIT);
    sem_init(&sem, 0, 1);

#define MUTEX   "pthread_mutex_lock", "pthread_mutex_unlock", 500
#define RWLOCK(what)  "pthread_rwlock_" what "lock", "pthread_rwlock_unlock", \
                      500

    const struct pair pairs[] = {
        { "mutex", &plain, MUTEX },
        { "mutex, recursive", &recursive, MUTEX },
        { "mutex, error-checking", &checking, MUTEX },
        { "mutex, robust", &robust, MUTEX },
        { "mutex, priority-inheriting", &inheriting, MUTEX },
        { "rwlock, to read", &rwlock, RWLOCK("rd") },
        { "rwlock, to write", &rwlock, RWLOCK("wr") },
        { "semaphore, wait and post", &sem, "sem_wait", "sem_post", 500 },
        { "thread, created and joined", NULL, NULL, NULL, 5 },
    };

    for (size_t k = 0; k < sizeof(pairs) / sizeof(pairs[0]); k++) {
        const struct pair *pair = &pairs[k];
        int                n = pair->calls < 100 ? rounds / 8 + 1 : rounds;
        bool               through = pair->first != NULL
                                     && dlsym(from[THROUGH], pair->first)
                                        != dlsym(from[LIBC], pair->first);

        for (int i = 0; i < n; i++) {
            double took[WAYS] = { 0 };

            /* each comes first in its turn */
            for (int j = 0; j < WAYS; j++) {
                int way = (i + j) % WAYS;

                if (way != THROUGH || through) {
                    took[way] = measure(pair, from[way]);
                }
            }

            base[i] = took[LIBC];
            more[THROUGH][i] = took[THROUGH] - took[LIBC];
            more[OURS][i] = took[OURS] - took[LIBC];
        }

        printf("%s\t%.3f\t", pair->name, median(base, n));

        if (through) {
            printf("%.3f\t", median(more[THROUGH], n));
        } else {
            printf("-\t");
        }

        printf("%.3f\n", median(more[OURS], n));
    }

    return 0;
}
