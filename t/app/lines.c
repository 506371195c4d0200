/*
 * A program with lines to be found, for t/lib_lines.t: it computes,
 * allocates, waits for a lock and creates threads, in functions that the
 * compiler takes apart and together.  Lines with a mark, as "AT burn", are
 * what the test looks for.
 *
 *   lines [-w] [-c]
 *
 * -w  waits for any child, all the time, counts SIGCHLD, and takes in orphans
 * -c  closes its standard descriptors
 *
 * SIGTERM ends it; with -w it says on stderr what it saw.
 */

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>


#define INLINE  static inline __attribute__((always_inline))
#define APART   __attribute__((noinline, noclone))


static _Atomic unsigned     signals, children, refused;
static pthread_mutex_t      lock = PTHREAD_MUTEX_INITIALIZER;
static volatile unsigned    sink;
static void *volatile       kept[4096];


INLINE unsigned
mix_once(unsigned x)
{
    return x * 1664525u + 1013904223u;      /* AT mix_once */
}


INLINE unsigned
mix_often(unsigned x)
{
    for (unsigned i = 0; i < 200000; i++) {
        x = mix_once(x) ^ i;                /* AT mix_often */
    }

    return x;
}


APART unsigned
burn(unsigned x)
{
    x = mix_often(x);                       /* AT burn */
    sink = x;

    return x + 1;
}


APART static void *
allocate(size_t size)
{
    void  *p = malloc(size);                /* AT allocate */

    memset(p, 1, size);

    return p;
}


INLINE void
hold(void)
{
    pthread_mutex_lock(&lock);              /* AT hold */
    usleep(2000);
    pthread_mutex_unlock(&lock);            /* AT unhold */
}


APART static void *
contend(void *arg)
{
    for ( ;; ) {
        hold();                             /* AT contend */
    }

    return arg;
}


static void *
nothing(void *arg)
{
    return arg;
}


APART static void
create(void)
{
    pthread_t  thread;

    if (pthread_create(&thread, NULL, nothing, NULL) == 0) {   /* AT create */
        pthread_join(thread, NULL);
    }
}


static void
on_child(int signo)
{
    (void) signo;
    signals++;
}


/* As supervisors do: whatever child ends, they see it. */
static void *
wait_for_any(void *arg)
{
    for ( ;; ) {
        if (waitpid(-1, NULL, 0) > 0) {
            children++;

        } else {
            refused++;
            usleep(1000);
        }
    }

    return arg;
}


static void
on_term(int signo)
{
    char       text[128];
    const int  len = snprintf(text, sizeof(text), "signals %u children %u "
                              "waited %d\n", signals, children, refused > 0);

    (void) signo;
    (void) !write(STDERR_FILENO, text, (size_t) len);
    _exit(0);
}


int
main(int argc, char **argv)
{
    struct sigaction  child = { .sa_handler = on_child };
    struct sigaction  term = { .sa_handler = on_term };
    pthread_t         thread;
    int               ch;

    while ((ch = getopt(argc, argv, "wc")) != -1) {
        if (ch == 'w') {
            prctl(PR_SET_CHILD_SUBREAPER, 1);
            sigaction(SIGCHLD, &child, NULL);
            sigaction(SIGTERM, &term, NULL);
            pthread_create(&thread, NULL, wait_for_any, NULL);

        } else if (ch == 'c') {
            close(0);
            close(1);
            close(2);

        } else {
            return 2;
        }
    }

    pthread_create(&thread, NULL, contend, NULL);
    pthread_create(&thread, NULL, contend, NULL);

    for (unsigned i = 0; ; i++) {
        sink += burn(i);
        free(kept[i % 4096]);
        kept[i % 4096] = allocate(65536);

        if (i % 16 == 0) {
            create();
        }
    }
}
