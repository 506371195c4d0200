/*
 * A program that knows where its CPU time goes, to hold profiles against.
 *
 *     truth FILE sleepers N AWAKE MSEC   N threads of which AWAKE at a time
 *                                        work for MSEC and sleep again
 *     truth FILE brief USEC TOGETHER     threads that end after USEC, so many
 *                                        at a time
 *     truth FILE crowd N USEC            N threads that work for USEC a second
 *     truth FILE step USEC               one thread whose work repeats itself
 *                                        every USEC
 *     truth FILE c11 USEC                as brief, by thrd_create()
 *     truth FILE cancel USEC             as brief; who has worked is canceled
 *
 * All work is done by left() and right(), right() has a quarter of it.  FILE
 * is mapped and holds two numbers: what each has used so far, in nanoseconds
 * of its thread's own clock.
 */

#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>


#define FRAME  __attribute__((noinline, noclone))

static _Atomic uint64_t *used;          /* left, right */
static atomic_uint       turn;


static uint64_t
now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);

    return (uint64_t) ts.tv_sec * 1000000000 + (uint64_t) ts.tv_nsec;
}


static inline __attribute__((always_inline)) void
burn(uint64_t nsec, int whose)
{
    const uint64_t start = now();
    uint64_t       at;

    do {
        for (volatile int i = 0; i < 500; i++) { /* void */ }
        at = now();
    } while (at - start < nsec);

    atomic_fetch_add(&used[whose], at - start);
}


FRAME static void
left(uint64_t nsec)
{
    burn(nsec, 0);
    __asm__ volatile ("");
}


FRAME static void
right(uint64_t nsec)
{
    burn(nsec, 1);
    __asm__ volatile ("" ::: "memory");
}


/* Half of the threads' work is one function's, the rest is both's. */
FRAME static void
work(uint64_t nsec)
{
    if (atomic_fetch_add(&turn, 1) % 2 == 0) {
        left(nsec);

    } else {
        left(nsec / 2);
        right(nsec / 2);
    }
}


static void
sleep_usec(unsigned usec)
{
    struct timespec ts = { usec / 1000000, usec % 1000000 * 1000L };

    while (nanosleep(&ts, &ts) == -1) { /* void */ }
}


static sem_t     awake;
static uint64_t  work_nsec;
static unsigned  pause_usec;


static void *
sleeper(void *arg)
{
    for ( ;; ) {
        sem_wait(&awake);
        work(work_nsec);
        sem_post(&awake);
        sleep_usec(pause_usec);
    }

    return arg;
}


static void *
member(void *arg)
{
    sleep_usec(rand() % 1000000);

    for ( ;; ) {
        work(work_nsec);
        sleep_usec(1000000);
    }

    return arg;
}


static void *
brief(void *arg)
{
    work(work_nsec);

    return arg;
}


static void *
canceled(void *arg)
{
    work(work_nsec);
    pthread_cancel(pthread_self());
    sleep_usec(1000000);

    return arg;
}


static int
brief_c11(void *arg)
{
    (void) arg;
    work(work_nsec);

    return 0;
}


static void
start_all(unsigned n, void *(*run)(void *))
{
    pthread_attr_t attr;
    pthread_t      thread;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 65536);

    for (unsigned i = 0; i < n; i++) {
        if (pthread_create(&thread, &attr, run, NULL) != 0) {
            perror("pthread_create");
            exit(1);
        }
    }
}


int
main(int argc, char **argv)
{
    if (argc < 4) {
        return 2;
    }

    const int   fd = open(argv[1], O_RDWR | O_CREAT, 0600);
    const char *how = argv[2];
    unsigned    a = (unsigned) atoi(argv[3]);
    unsigned    b = argc > 4 ? (unsigned) atoi(argv[4]) : 0;

    if (fd == -1 || ftruncate(fd, 4096) == -1) {
        perror(argv[1]);
        return 1;
    }

    used = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);

    if (strcmp(how, "sleepers") == 0) {
        work_nsec = (uint64_t) atoi(argv[5]) * 1000000;
        pause_usec = 1000;
        sem_init(&awake, 0, b);
        start_all(a, sleeper);
        pause();

    } else if (strcmp(how, "crowd") == 0) {
        work_nsec = (uint64_t) b * 1000;
        start_all(a, member);
        pause();

    } else if (strcmp(how, "step") == 0) {
        for ( ;; ) {
            left((uint64_t) a * 750);
            right((uint64_t) a * 250);
        }

    } else if (strcmp(how, "c11") == 0) {
        work_nsec = (uint64_t) a * 1000;

        for ( ;; ) {
            thrd_t thread;

            thrd_create(&thread, brief_c11, NULL);
            thrd_join(thread, NULL);
        }

    } else {
        pthread_t threads[64];

        work_nsec = (uint64_t) a * 1000;
        b = b == 0 ? 1 : b > 64 ? 64 : b;

        for ( ;; ) {
            for (unsigned i = 0; i < b; i++) {
                pthread_create(&threads[i], NULL,
                               strcmp(how, "cancel") == 0 ? canceled : brief,
                               NULL);
            }

            for (unsigned i = 0; i < b; i++) {
                pthread_join(threads[i], NULL);
            }
        }
    }

    return 0;
}
