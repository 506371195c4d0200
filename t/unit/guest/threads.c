/*
 * kinds/threads.c: all threads' stacks, and nobody notices.
 */

#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kinds/threads.c"
#include "tap.h"


enum { KINDS = 11, DUMPS = 40 };

/* The sanitizers make functions longer; TSan adds a thread and puts signals
 * off until the next system call. */
#if defined(__SANITIZE_THREAD__)
enum { FUNCTION = 4000, ALSO = 1, MUST_RUN = 0 };
#elif defined(__SANITIZE_ADDRESS__)
enum { FUNCTION = 4000, ALSO = 0, MUST_RUN = 1 };
#else
enum { FUNCTION = 400, ALSO = 0, MUST_RUN = 1 };
#endif

static _Atomic bool     finish;
static _Atomic int      interrupted[KINDS];
static _Atomic unsigned rounds[KINDS];
static _Atomic int      ready;
static int              pipe_fds[2], socket_fds[2];
static pthread_mutex_t  held = PTHREAD_MUTEX_INITIALIZER;


/* Each waits about 0.1 s and says whether it was interrupted. */
#define WAITER(name, call)                                                    \
    __attribute__((noinline)) static bool                                     \
    name(void)                                                                \
    {                                                                         \
        errno = 0;                                                            \
        long rc = (call);                                                     \
        return rc == -1 && errno == EINTR;                                    \
    }

static struct timespec *
in_100_msec(clockid_t clock)
{
    static __thread struct timespec ts;

    clock_gettime(clock, &ts);
    ts.tv_nsec += 100000000;
    if (ts.tv_nsec >= 1000000000) {
        ts.tv_sec++;
        ts.tv_nsec -= 1000000000;
    }

    return &ts;
}

static sem_t never;
static int   epoll_fd;

WAITER(wait_poll,
       poll(&(struct pollfd) { pipe_fds[0], POLLIN, 0 }, 1, 100))
WAITER(wait_epoll,
       epoll_wait(epoll_fd, &(struct epoll_event) { 0 }, 1, 100))
WAITER(wait_select,
       select(0, NULL, NULL, NULL, &(struct timeval) { 0, 100000 }))
WAITER(wait_nanosleep,
       nanosleep(&(struct timespec) { 0, 100000000 }, NULL))
WAITER(wait_usleep, usleep(100000))
WAITER(wait_sem, sem_timedwait(&never, in_100_msec(CLOCK_REALTIME)))
WAITER(wait_recv, recv(socket_fds[0], &(char) { 0 }, 1, 0))
WAITER(wait_read, read(pipe_fds[0], &(char) { 0 }, 1))

__attribute__((noinline)) static bool
wait_lock(void)
{
    pthread_mutex_lock(&held);
    pthread_mutex_unlock(&held);
    return false;
}

/* A frame that only its frame pointer knows, as code without -O has. */
__attribute__((noinline)) static bool
wait_frame_pointer(void)
{
    volatile char *room = __builtin_alloca((size_t) (200 + rounds[9] % 7));

    room[0] = 1;
    return wait_nanosleep() + room[0] - 1;
}

__attribute__((noinline)) static bool
wait_running(void)
{
    static _Thread_local volatile unsigned n;

    for (int i = 0; i < 1000000; i++) {
        n++;
    }

    (void) n;

    return false;
}

static const struct {
    const char  *name;
    bool       (*wait)(void);
} kinds[KINDS] = {
    { "poll", wait_poll },
    { "epoll_wait", wait_epoll },
    { "select", wait_select },
    { "nanosleep", wait_nanosleep },
    { "usleep", wait_usleep },
    { "sem_timedwait", wait_sem },
    { "recv, SO_RCVTIMEO", wait_recv },
    { "read", wait_read },
    { "mutex", wait_lock },
    { "frame pointer", wait_frame_pointer },
    { "running", wait_running },
};


static void *
wait_for_ever(void *arg)
{
    size_t kind = (size_t) (uintptr_t) arg;
    char   name[16];

    snprintf(name, sizeof(name), "kind %zu", kind);
    pthread_setname_np(pthread_self(), name);
    atomic_fetch_add(&ready, 1);

    while (!finish) {
        interrupted[kind] += kinds[kind].wait();
        rounds[kind]++;
    }

    return NULL;
}


static void *
spin_blocked(void *arg)
{
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    pthread_setname_np(pthread_self(), "deaf");
    atomic_fetch_add(&ready, 1);

    while (!finish) {
        wait_running();
    }

    return arg;
}


/* What the dumps told. */
static struct {
    unsigned  found[KINDS];             /* with the right function in it */
    unsigned  seen[KINDS];
    unsigned  whole[KINDS];             /* and all the way up */
    unsigned  deaf;
    unsigned  deaf_lost;
    unsigned  self;
    bool      sorted;
    pid_t     last;
} told;


static bool
has(const struct pprof_thread *thread, const void *function, size_t size)
{
    for (size_t i = 0; i < thread->depth; i++) {
        if (thread->pcs[i] - 1 - (uintptr_t) function < size) {
            return true;
        }
    }

    return false;
}


static void
visit(void *arg, const struct pprof_thread *thread)
{
    unsigned kind;

    (void) arg;

    told.sorted = told.sorted && thread->tid > told.last;
    told.last = thread->tid;
    told.self += thread->tid == getpid();

    if (strcmp(thread->name, "deaf") == 0) {
        told.deaf++;
        told.deaf_lost += thread->lost != NULL
                          && strcmp(thread->lost, "signal blocked") == 0
                          && thread->state == 'R' && thread->depth == 0;
        return;
    }

    if (sscanf(thread->name, "kind %u", &kind) == 1 && kind < KINDS) {
        void *function;

        memcpy(&function, &kinds[kind].wait, sizeof(function));
        told.seen[kind]++;
        told.found[kind] += has(thread, function, FUNCTION);
        told.whole[kind] += has(thread, wait_for_ever, FUNCTION);

        if (!has(thread, wait_for_ever, FUNCTION) && getenv("TELL")) {
            note("%s: state %c call %d depth %zu lost %s", thread->name,
                 thread->state, thread->call, thread->depth,
                 thread->lost ? thread->lost : "-");
        }
    }
}


static void
many(void)
{
    enum { N = 500 };
    static pthread_t threads[N];
    pthread_attr_t   attr;
    int              n = 0;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 65536);
    finish = false;
    for (int i = 0; i < N; i++) {
        n += pthread_create(&threads[n], &attr, wait_for_ever,
                            (void *) (uintptr_t) 8) == 0;
    }

    struct timespec pause = { 0, 50000000 };
    nanosleep(&pause, NULL);
    memset(&told, 0, sizeof(told));

    uint64_t start = pprof_clock(CLOCK_MONOTONIC);
    pprof_threads_dump(pprof_target_self(), 0, visit, NULL);
    uint64_t took = pprof_clock(CLOCK_MONOTONIC) - start;

    note("%d threads in %.1f ms", n, (double) took / 1e6);
    ok(told.found[8] > (unsigned) n * 99 / 100,
       "%u of %d waiting threads in one dump", told.found[8], n);

    finish = true;
    pthread_mutex_unlock(&held);
    for (int i = 0; i < n; i++) {
        pthread_join(threads[i], NULL);
    }
}


/*
 * A daemon that gave up root may not read its own threads' registers: what
 * sleeps has no stack, and is not woken for one.
 */
static void
not_dumpable(void)
{
    if (getuid() != 0) {
        skip("a program that gave up root", "not root");
        return;
    }

    pid_t pid = fork();

    if (pid == 0) {
        pthread_t       thread;
        struct timespec pause = { 0, 20000000 };

        alarm(10);
        if (setgid(65534) != 0 || setuid(65534) != 0) {
            _exit(2);
        }

        finish = false;
        memset(&told, 0, sizeof(told));
        interrupted[3] = 0;
        pthread_create(&thread, NULL, wait_for_ever, (void *) 3);
        for (int i = 0; i < 5; i++) {
            nanosleep(&pause, NULL);
            if (pprof_threads_dump(pprof_target_self(), 50, visit, NULL) < 1) {
                _exit(3);
            }
        }
        _exit(told.seen[3] == 5 && interrupted[3] == 0 ? 0 : 4);
    }

    int status;

    waitpid(pid, &status, 0);
    ok(status == 0, "a program that gave up root: nobody is woken: %#x",
       status);
}


int
main(void)
{
    pthread_t      threads[KINDS], deaf;
    struct timeval timeout = { 0, 100000 };

    ok(pipe(pipe_fds) == 0
       && socketpair(AF_UNIX, SOCK_STREAM, 0, socket_fds) == 0, "pipes");
    setsockopt(socket_fds[0], SOL_SOCKET, SO_RCVTIMEO, &timeout,
               sizeof(timeout));
    sem_init(&never, 0, 0);
    epoll_fd = epoll_create1(0);
    pthread_mutex_lock(&held);

    for (size_t i = 0; i < KINDS; i++) {
        pthread_create(&threads[i], NULL, wait_for_ever, (void *) i);
    }
    pthread_create(&deaf, NULL, spin_blocked, NULL);
    while (ready < KINDS + 1) {
        usleep(1000);
    }

    told.sorted = true;
    unsigned good = 0;
    for (int i = 0; i < DUMPS; i++) {
        told.last = 0;
        good += pprof_threads_dump(pprof_target_self(), 2000, visit, NULL)
                == KINDS + 2 + ALSO;
    }

    ok(good == DUMPS, "%d dumps, every thread in each", DUMPS);
    ok(told.sorted, "in the order of their numbers");
    ok(told.self == DUMPS, "the one that asks is there, too");

    for (size_t i = 0; i < KINDS; i++) {
        if (i != 7 && i != 8) {
            ok(rounds[i] > 10, "%s went on: %u rounds", kinds[i].name,
               rounds[i]);
        }
        ok(interrupted[i] == 0, "%s: never interrupted", kinds[i].name);
        /* between two waits it may be anywhere */
        ok(told.found[i] >= (i < 10 || MUST_RUN ? DUMPS * 8 / 10 : 0)
           && told.seen[i] == DUMPS,
           "%s: its function is in %u of %u stacks", kinds[i].name,
           told.found[i], told.seen[i]);
        ok(told.whole[i] >= (i < 10 || MUST_RUN ? DUMPS * 9 / 10 : 0),
           "%s: and the thread's first one in %u", kinds[i].name,
           told.whole[i]);
    }

    ok(told.deaf == DUMPS && told.deaf_lost == DUMPS,
       "a running thread that blocks signals is told to: %u",
       told.deaf_lost);

    finish = true;
    pthread_mutex_unlock(&held);
    if (write(pipe_fds[1], "x", 1) != 1) {
        return 1;
    }
    for (size_t i = 0; i < KINDS; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_join(deaf, NULL);

    pthread_mutex_lock(&held);
    many();
    not_dumpable();

    struct sigaction action;
    sigaction(PPROF_SIGNAL, NULL, &action);
    ok(action.sa_handler == SIG_DFL, "the signal is given back");

    pprof_code_drop(pprof_target_self());

    return done_testing();
}
