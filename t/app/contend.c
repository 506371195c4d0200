/*
 * A program whose threads wait for each other, for the kinds that show it.
 *
 *     contend         three threads take turns at a mutex that each holds for
 *                     2 ms in hold_lock(); main() creates and joins one in
 *                     spawn_thread() every 10 ms
 *     contend waits   threads that wait in each way there is, until SIGUSR1;
 *                     then prints which of them saw EINTR, and exits
 *     contend objects threads that wait for each thing there is in a function
 *                     of its name, and those that let them, in pass_on()
 *     contend allocs  at each SIGUSR1 allocates and frees 300,000 times 2,000
 *                     bytes in allocate(), then prints "done"
 */

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>


#define FRAME  __attribute__((noinline, noclone))

static pthread_mutex_t  lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool      finish;
static atomic_int       interrupted;


FRAME static void
hold_lock(void)
{
    pthread_mutex_lock(&lock);
    usleep(2000);
    pthread_mutex_unlock(&lock);
    usleep(100);
}


static void *
take_turns(void *arg)
{
    while (!atomic_load(&finish)) {
        hold_lock();
    }

    return arg;
}


static void *
end_at_once(void *arg)
{
    return arg;
}


FRAME static void
spawn_thread(void)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, end_at_once, NULL) == 0) {
        pthread_join(thread, NULL);
    }

    __asm__ volatile ("");      /* not a tail call */
}


static void
saw(const char *name, int rc)
{
    if (rc == -1 && errno == EINTR) {
        printf("EINTR: %s\n", name);
        atomic_fetch_add(&interrupted, 1);
    }
}


#define WAIT(name, call)                                                      \
    static void *                                                             \
    wait_##name(void *arg)                                                    \
    {                                                                         \
        pthread_setname_np(pthread_self(), "w-" #name);                       \
                                                                              \
        while (!atomic_load(&finish)) {                                       \
            saw(#name, (call));                                               \
        }                                                                     \
                                                                              \
        return arg;                                                           \
    }

static sem_t  sem;
static int    sock[2], epfd;


static int
wait_semaphore(void)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec++;

    return sem_timedwait(&sem, &until);
}


static int
receive(void)
{
    char c;

    return (int) recv(sock[0], &c, 1, 0);
}


WAIT(poll, poll(NULL, 0, 500))
WAIT(epoll, epoll_wait(epfd, &(struct epoll_event) { 0 }, 1, 500))
WAIT(select, select(0, NULL, NULL, NULL, &(struct timeval) { 0, 500000 }))
WAIT(nanosleep, nanosleep(&(struct timespec) { 0, 500000000 }, NULL))
WAIT(sem, wait_semaphore())
WAIT(recv, receive())


static void *
burn(void *arg)
{
    pthread_setname_np(pthread_self(), "w-burn");

    while (!atomic_load(&finish)) {
        __asm__ volatile ("");
    }

    return arg;
}


static int
waits(void)
{
    void *(*const all[])(void *) = {
        wait_poll, wait_epoll, wait_select, wait_nanosleep, wait_sem,
        wait_recv, burn
    };
    enum { N = sizeof(all) / sizeof(all[0]) };
    const struct timeval half = { 0, 500000 };
    pthread_t threads[N];
    sigset_t set;
    int signo;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);

    sem_init(&sem, 0, 0);
    epfd = epoll_create1(0);

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, sock) == -1
        || setsockopt(sock[0], SOL_SOCKET, SO_RCVTIMEO, &half, sizeof(half))
           == -1)
    {
        return 2;
    }

    for (int i = 0; i < N; i++) {
        pthread_create(&threads[i], NULL, all[i], NULL);
    }

    sigwait(&set, &signo);
    atomic_store(&finish, true);

    for (int i = 0; i < N; i++) {
        pthread_join(threads[i], NULL);
    }

    printf("%d interrupted\n", atomic_load(&interrupted));

    return 0;
}


static pthread_rwlock_t  rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_mutex_t   guard = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t    cond = PTHREAD_COND_INITIALIZER;


FRAME static void
await_rwlock(void)
{
    pthread_rwlock_rdlock(&rwlock);
    pthread_rwlock_unlock(&rwlock);
}


FRAME static void
await_condition(void)
{
    pthread_mutex_lock(&guard);
    pthread_cond_wait(&cond, &guard);
    pthread_mutex_unlock(&guard);
}


FRAME static void
await_semaphore(void)
{
    sem_wait(&sem);
    __asm__ volatile ("");
}


static void *
nap(void *arg)
{
    usleep(5000);

    return arg;
}


FRAME static void
await_thread(void)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, nap, NULL) == 0) {
        pthread_join(thread, NULL);
    }

    __asm__ volatile ("");
}


#define REPEAT(name)                                                          \
    static void *                                                             \
    repeat_##name(void *arg)                                                  \
    {                                                                         \
        for ( ;; ) {                                                          \
            await_##name();                                                   \
            usleep(100);                                                      \
        }                                                                     \
                                                                              \
        return arg;                                                           \
    }

REPEAT(rwlock)
REPEAT(condition)
REPEAT(semaphore)
REPEAT(thread)


FRAME static void
pass_on(void)
{
    pthread_rwlock_wrlock(&rwlock);
    usleep(5000);
    pthread_rwlock_unlock(&rwlock);

    pthread_mutex_lock(&guard);
    pthread_cond_signal(&cond);
    pthread_mutex_unlock(&guard);
    sem_post(&sem);
    usleep(2000);
}


static int
objects(void)
{
    void *(*const all[])(void *) = {
        repeat_rwlock, repeat_condition, repeat_semaphore, repeat_thread
    };

    sem_init(&sem, 0, 0);

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        pthread_t thread;

        pthread_create(&thread, NULL, all[i], NULL);
    }

    while (!atomic_load(&finish)) {
        pass_on();
    }

    return 0;
}


FRAME static void
allocate(size_t size)
{
    void *volatile p = malloc(size);

    free(p);
}


static int
allocs(void)
{
    sigset_t set;
    int signo;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    setvbuf(stdout, NULL, _IOLBF, 0);

    while (sigwait(&set, &signo) == 0) {
        for (int i = 0; i < 300000; i++) {
            allocate(2000);
        }

        puts("done");
    }

    return 2;
}


int
main(int argc, char **argv)
{
    pthread_t threads[3];

    if (argc > 1 && strcmp(argv[1], "waits") == 0) {
        return waits();
    }

    if (argc > 1 && strcmp(argv[1], "objects") == 0) {
        return objects();
    }

    if (argc > 1 && strcmp(argv[1], "allocs") == 0) {
        return allocs();
    }

    for (int i = 0; i < 3; i++) {
        pthread_create(&threads[i], NULL, take_turns, NULL);
    }

    for ( ;; ) {
        spawn_thread();
        usleep(10000);
    }
}
