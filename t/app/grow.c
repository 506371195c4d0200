/*
 * Asks the kernel for memory in every way, by functions of known sums, and
 * then allocates a little all the time.
 *
 *     grow ways      by_NAME has what NAME says, gone_NAME has nothing
 *     grow holes     frees most of what it had, between objects that stay
 *     grow idle      the same, and then does nothing
 *     grow handler   the same, and then allocates in a signal handler alone
 *     grow fork      the same, and forks all the time
 */

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>


#define MIB  ((size_t) 1 << 20)
#define BY   __attribute__((noinline)) static void

enum { SMALL = 1000, NSMALL = 100000, STAYS = 100 };

/* so that compilers believe in what is done */
static void *volatile  kept;
static char           *objects[NSMALL];


static char *
map(size_t size, int prot)
{
    char *const p = mmap(NULL, size, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED) {
        exit(2);
    }

    kept = p;

    return p;
}


BY
by_mmap(void)
{
    memset(map(8 * MIB, PROT_READ | PROT_WRITE), 1, 4 * MIB);
}


BY
by_shared(void)
{
    char *const p = mmap(NULL, 8 * MIB, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    memset(p, 1, MIB);
    kept = p;
}


/* 16 MiB reserved, 4 of them used */
BY
by_commit(void)
{
    char *const p = map(16 * MIB, PROT_NONE);

    if (mprotect(p + MIB, 4 * MIB, PROT_READ | PROT_WRITE) == -1) {
        exit(2);
    }

    memset(p + MIB, 1, 2 * MIB);
}


/* 16 MiB, of which the first, the last and one in the middle go: 13 */
BY
by_trimmed(void)
{
    char *const p = map(16 * MIB, PROT_READ | PROT_WRITE);

    munmap(p, MIB);
    munmap(p + 15 * MIB, MIB);
    munmap(p + 7 * MIB, MIB);
    memset(p + MIB, 1, 6 * MIB);
}


BY
by_moved(void)
{
    char *const p = mremap(map(MIB, PROT_READ | PROT_WRITE), MIB, 16 * MIB,
                           MREMAP_MAYMOVE);

    memset(p, 1, 2 * MIB);
    kept = p;
}


/* another's, of which it takes 4 MiB */
BY
by_fixed(char *of)
{
    kept = mmap(of + 2 * MIB, 4 * MIB, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    memset(of + 2 * MIB, 1, 4 * MIB);
}


BY
by_under(void)
{
    by_fixed(map(12 * MIB, PROT_READ | PROT_WRITE));
    kept = NULL;
}


BY
by_many(void)
{
    for (size_t i = 0; i < 1000; i++) {
        memset(map(16 * 1024, PROT_READ | PROT_WRITE), 1, 16 * 1024);

        /* none is the next one's neighbor */
        map(4096, PROT_NONE);
    }
}


BY
by_sbrk(void)
{
    kept = sbrk(2 * (intptr_t) MIB);
    memset(kept, 1, 2 * MIB);
}


/* malloc's own heap, and what it maps alone */
BY
by_small(void)
{
    for (size_t i = 0; i < NSMALL; i++) {
        objects[i] = malloc(SMALL);
        memset(objects[i], 1, SMALL);
    }
}


BY
by_large(void)
{
    for (size_t i = 0; i < 200; i++) {
        kept = malloc(MIB / 2);
        memset(kept, 1, MIB / 2);
    }
}


BY
gone_large(void)
{
    for (size_t i = 0; i < 100; i++) {
        kept = malloc(2 * MIB);
        memset(kept, 1, 2 * MIB);
        free(kept);
    }
}


BY
gone_mmap(void)
{
    for (size_t i = 0; i < 100; i++) {
        munmap(map(4 * MIB, PROT_READ | PROT_WRITE), 4 * MIB);
    }
}


static void *
wait_for_ever(void *arg)
{
    for ( ;; ) {
        pause();
    }

    return arg;
}


BY
by_thread(void)
{
    for (size_t i = 0; i < 4; i++) {
        pthread_attr_t attr;
        pthread_t      thread;

        pthread_attr_init(&attr);
        pthread_attr_setstacksize(&attr, 4 * MIB);

        if (pthread_create(&thread, &attr, wait_for_ever, NULL) != 0) {
            exit(2);
        }
    }
}


static void
make_holes(void)
{
    for (size_t i = 0; i < NSMALL; i++) {
        if (i % STAYS != 0 && i != NSMALL - 1) {
            free(objects[i]);
        }
    }
}


static void
on_alarm(int signo)
{
    (void) signo;
    kept = malloc(10);
    free(kept);
}


int
main(int argc, char **argv)
{
    const char *const how = argc > 1 ? argv[1] : "";

    if (strcmp(how, "ways") == 0) {
        by_mmap();
        by_shared();
        by_commit();
        by_trimmed();
        by_moved();
        by_under();
        by_sbrk();
        by_large();
        gone_large();
        gone_mmap();
        by_thread();
        by_many();
        by_small();

    } else {
        by_small();
        make_holes();
    }

    printf("ready\n");
    fflush(stdout);

    if (strcmp(how, "handler") == 0) {
        struct sigaction   sa = { .sa_handler = on_alarm };
        struct itimerval   often = { { 0, 2000 }, { 0, 2000 } };

        sigaction(SIGALRM, &sa, NULL);
        setitimer(ITIMER_REAL, &often, NULL);
    }

    for (unsigned i = 0; ; i++) {
        if (strcmp(how, "idle") == 0 || strcmp(how, "handler") == 0) {
            pause();
            continue;
        }

        if (strcmp(how, "fork") == 0) {
            const pid_t pid = fork();

            if (pid == 0) {
                on_alarm(0);
                _exit(0);
            }

            waitpid(pid, NULL, 0);
        }

        usleep(2000);
        kept = malloc(100 + i % 100);
        free(kept);
    }
}
