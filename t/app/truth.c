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
 *     truth FILE holder N KIND           a lock that hold_long() holds for 5
 *                                        ms at a time, and N threads want,
 *                                        in take(); KIND 0: mutex, 1: rwlock,
 *                                        2: mtx_t, 3: recursive mutex
 *     truth FILE barrier N               N threads that meet in meet()
 *     truth FILE altstack SIZE           threads with an alternate stack of
 *                                        SIZE
 *     truth FILE blocked HOW             threads that block all signals, by
 *                                        themselves (0), all but two (1), or
 *                                        inherited from their creator (2)
 *     truth FILE assembly HOW            code without frame tables: a leaf with
 *                                        rubbish in rbp (0), with rbp at words
 *                                        that look like a frame of decoy()'s
 *                                        (1), one that calls called() (2)
 *     truth FILE coroutine SIZE          threads whose work is on stacks of
 *                                        their own, of SIZE
 *     truth FILE forks 0                 prints how children by fork(), _Fork()
 *                                        and a bare clone() take a recursive
 *                                        and an error-checking mutex twice
 *
 * All work is done by left() and right(), right() has a quarter of it.  FILE
 * is mapped and holds two numbers: what each has used so far, in nanoseconds
 * of its thread's own clock; and a third: bytes below a stack of its own that
 * are not as they were.
 */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <threads.h>
#include <time.h>
#include <ucontext.h>
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


static unsigned  kind;
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


static pthread_mutex_t   mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t   again = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static pthread_rwlock_t  rwlock = PTHREAD_RWLOCK_INITIALIZER;
static mtx_t             c11;
static pthread_barrier_t barrier;


static inline __attribute__((always_inline)) void
hold(unsigned usec)
{
    switch (kind) {
    case 0: pthread_mutex_lock(&mutex); break;
    case 1: pthread_rwlock_wrlock(&rwlock); break;
    case 2: mtx_lock(&c11); break;
    case 3: pthread_mutex_lock(&again); break;
    }

    if (usec > 0) {
        sleep_usec(usec);
    }

    switch (kind) {
    case 0: pthread_mutex_unlock(&mutex); break;
    case 1: pthread_rwlock_unlock(&rwlock); break;
    case 2: mtx_unlock(&c11); break;
    case 3: pthread_mutex_unlock(&again); break;
    }

    __asm__ volatile ("" ::: "memory");
}


FRAME static void
take(void)
{
    hold(0);
}


FRAME static void
hold_long(void)
{
    hold(5000);
}


static void *
waiter(void *arg)
{
    for ( ;; ) {
        take();
        sleep_usec(300);
    }

    return arg;
}


FRAME static void
meet(void)
{
    pthread_barrier_wait(&barrier);
    __asm__ volatile ("" ::: "memory");
}


static void *
member_of_meeting(void *arg)
{
    for ( ;; ) {
        meet();
        sleep_usec(rand() % 10000);
    }

    return arg;
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


/* What is read back is what was set, bit by bit: or the third number grows. */
static void
expect_mask(const sigset_t *set)
{
    sigset_t now;

    pthread_sigmask(SIG_SETMASK, NULL, &now);

    for (int i = 1; i < 65; i++) {
        /* nobody can block two, and libc keeps two for itself */
        if (i != SIGKILL && i != SIGSTOP && i != 32 && i != 33
            && sigismember(&now, i) != sigismember(set, i))
        {
            atomic_fetch_add(&used[2], 1);
        }
    }
}


static void *
blocked(void *arg)
{
    sigset_t set, none, few;

    sigfillset(&set);
    sigemptyset(&none);
    sigemptyset(&few);
    sigaddset(&few, SIGTERM);
    sigaddset(&few, SIGRTMAX - 3);

    if (kind == 1) {
        sigdelset(&set, SIGTERM);
        sigdelset(&set, SIGPROF);
    }

    if (kind != 2) {
        expect_mask(&none);
        pthread_sigmask(SIG_BLOCK, &few, NULL);
        expect_mask(&few);
        pthread_sigmask(SIG_UNBLOCK, &few, NULL);
        expect_mask(&none);
        pthread_sigmask(SIG_SETMASK, &set, NULL);
    }

    for ( ;; ) {
        expect_mask(&set);
        work(2000000);

        /* as who protects some lines from handlers does */
        sigset_t all, before;

        sigfillset(&all);
        sigprocmask(SIG_BLOCK, &all, &before);
        expect_mask(&all);
        sigprocmask(SIG_SETMASK, &before, NULL);
    }

    return arg;
}


#if defined(__x86_64__)

/*
 * No .cfi_… stands in here, as in the assembly of codecs.  The decoy's address
 * is where rbp says that a return address is.
 */
__asm__ (".text\n"
         ".type no_rows, @function\n"
         "no_rows:\n\t"
         "push %rbp\n\t"
         "push %rbx\n\t"
         "sub $40, %rsp\n\t"
         "movq $0x1234567, %rbp\n\t"
         "cmp $1, %rsi\n\t"
         "jne 1f\n\t"
         "lea decoy(%rip), %rbp\n\t"
         "mov %rbp, 24(%rsp)\n\t"
         "lea 64(%rsp), %rbp\n\t"
         "mov %rbp, 16(%rsp)\n\t"
         "lea 16(%rsp), %rbp\n"
         "1:\n\t"
         "cmp $2, %rsi\n\t"
         "jne 2f\n\t"
         "call called\n\t"
         "jmp 3f\n"
         "2:\n\t"
         "dec %rdi\n\t"
         "jnz 2b\n"
         "3:\n\t"
         "add $40, %rsp\n\t"
         "pop %rbx\n\t"
         "pop %rbp\n\t"
         "ret\n"
         ".size no_rows, . - no_rows\n");

void no_rows(uint64_t rounds, uint64_t how);
void decoy(void);
void called(uint64_t rounds);


FRAME void
decoy(void)
{
    __asm__ volatile ("nop");
}


FRAME void
called(uint64_t rounds)
{
    for (volatile uint64_t i = 0; i < rounds / 4; i++) { /* void */ }
}


/* What no_rows() will find in its frame: addresses that calls returned to. */
FRAME static int
leave_behind(int depth)
{
    const int below = depth > 0 ? leave_behind(depth - 1) : getppid();

    __asm__ volatile ("" ::: "memory");

    return below + 1;
}


FRAME static void
call_assembly(void)
{
    (void) leave_behind(8);
    no_rows(10000000, kind);
    __asm__ volatile ("" ::: "memory");
}

#endif


/* A stack of its own for one thread, and what lies below it. */
enum { BELOW = 4096 };

static unsigned  stack_size;


static char *
make_stack(void)
{
    char *p = aligned_alloc(4096, BELOW + 65536);

    memset(p, 0x5a, BELOW + 65536);

    return p;
}


static void
check_stack(const char *p)
{
    for (size_t i = 0; i < BELOW; i++) {
        if (p[i] != 0x5a) {
            atomic_fetch_add(&used[2], 1);
        }
    }
}


static void *
with_alternate(void *arg)
{
    char   *p = make_stack();
    stack_t ss = { .ss_sp = p + BELOW, .ss_size = stack_size };

    if (sigaltstack(&ss, NULL) == -1) {
        perror("sigaltstack");
        exit(1);
    }

    for ( ;; ) {
        work(2000000);
        check_stack(p);
    }

    return arg;
}


static _Thread_local ucontext_t  outside, inside;


static void
on_own_stack(void)
{
    for ( ;; ) {
        work(2000000);
        swapcontext(&inside, &outside);
    }
}


static void *
coroutine(void *arg)
{
    char *p = make_stack();

    getcontext(&inside);
    inside.uc_stack.ss_sp = p + BELOW;
    inside.uc_stack.ss_size = stack_size;
    makecontext(&inside, on_own_stack, 0);

    for ( ;; ) {
        swapcontext(&outside, &inside);
        check_stack(p);
    }

    return arg;
}


/* 0: every lock says what it has to. */
static int
lock_twice(void)
{
    pthread_mutex_t check = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
    int             bad = 0;

    alarm(10);

    for (int i = 0; i < 3; i++) {
        bad |= pthread_mutex_lock(&again) | pthread_mutex_lock(&again);
        bad |= pthread_mutex_unlock(&again) | pthread_mutex_unlock(&again);
        bad |= pthread_mutex_unlock(&again) != EPERM;
        bad |= pthread_mutex_lock(&check);
        bad |= pthread_mutex_lock(&check) != EDEADLK;
        bad |= pthread_mutex_unlock(&check);
    }

    return bad;
}


static void *
forget(void *arg)
{
    pause();

    return arg;
}


static void
fork_in_each_way(void)
{
    static const char *const ways[] = { "fork", "_Fork", "clone" };
    int                      status;

    /* with one thread libc takes locks in another way */
    start_all(1, forget);
    lock_twice();

    for (int i = 0; i < 3; i++) {
        pid_t pid = i == 0 ? fork() : i == 1 ? _Fork()
                    : (pid_t) syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

        if (pid == 0) {
            _exit(lock_twice());
        }

        waitpid(pid, &status, 0);
        printf("%s %d\n", ways[i], status);
    }
}


static int
brief_c11(void *arg)
{
    (void) arg;
    work(work_nsec);

    return 0;
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

    if (strcmp(how, "blocked") == 0) {
        sigset_t all, before;

        kind = a;
        sigfillset(&all);

        if (kind == 2) {
            pthread_sigmask(SIG_SETMASK, &all, &before);
        }

        start_all(2, blocked);

        if (kind == 2) {
            pthread_sigmask(SIG_SETMASK, &before, NULL);
        }

        pause();

#if defined(__x86_64__)
    } else if (strcmp(how, "assembly") == 0) {
        kind = a;

        for ( ;; ) {
            call_assembly();
        }
#endif

    } else if (strcmp(how, "sleepers") == 0) {
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

    } else if (strcmp(how, "holder") == 0) {
        kind = b;
        mtx_init(&c11, mtx_plain);
        start_all(a, waiter);

        for ( ;; ) {
            hold_long();
            sleep_usec(300);
        }

    } else if (strcmp(how, "altstack") == 0) {
        stack_size = a;
        start_all(2, with_alternate);
        pause();

    } else if (strcmp(how, "coroutine") == 0) {
        stack_size = a;
        start_all(2, coroutine);
        pause();

    } else if (strcmp(how, "forks") == 0) {
        fork_in_each_way();

    } else if (strcmp(how, "barrier") == 0) {
        pthread_barrier_init(&barrier, NULL, a);
        start_all(a, member_of_meeting);
        pause();

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
