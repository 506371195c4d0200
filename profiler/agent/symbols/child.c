#include "symbols/child.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guest/raw.h"


/*
 * What runs between clone() and the helper's first instruction shares the
 * program's memory and this thread's descriptor: no libc, whose functions
 * write errno there, and no sanitizer.
 */
#define BARE  __attribute__((no_sanitize("address", "thread", "undefined"), \
                             noinline, no_stack_protector))

enum {
    STACK_SIZE = 16 * 1024,     /* of each of the two; bytes */
    NICE       = 5,             /* the program goes first, but at 19 it would
                                   never end beside one that burns CPU */
    CLOSE_MAX  = 1 << 16,       /* descriptors, where close_range() is not */
    SIGNALS    = 64
};


/*
 * clone() by the name that nobody stands in front of: the thread sanitizer
 * takes what the other one makes for a fork().
 */
extern int __clone(int (*function)(void *), void *stack, int flags, void *arg,
    ...);


/* The kernel's own, which has no room for glibc's signals to come. */
struct kernel_sigaction {
    uintptr_t  handler;
    uintptr_t  flags;
    uintptr_t  restorer;
    uint64_t   mask;
};


#define call(nr, ...)  call_(nr, __VA_ARGS__, 0, 0, 0, 0, 0)
#define call_(nr, a, b, c, d, e, ...)                                         \
    pprof_raw(SYS_##nr, (uintptr_t) (a), (uintptr_t) (b), (uintptr_t) (c),    \
              (uintptr_t) (d), (uintptr_t) (e), 0)


BARE static void
close_from(unsigned first)
{
    if (call(close_range, first, UINT_MAX, 0) == 0) {
        return;
    }

    for (unsigned fd = first; fd < CLOSE_MAX; fd++) {
        (void) call(close, fd);
    }
}


BARE static void
limit(int resource, uint64_t value)
{
    const uint64_t  both[2] = { value, value };

    (void) call(prlimit64, 0, resource, both, 0);
}


/* The helper, before it is one. */
BARE static int
become_helper(void *arg)
{
    struct pprof_child             *c = arg;
    const struct kernel_sigaction   usual = { .handler = 0 };
    const uint64_t                  none = 0;
    char *const                     environment[] = { NULL };

    (void) call(prctl, PR_SET_PDEATHSIG, SIGKILL);
    (void) call(prctl, PR_SET_NO_NEW_PRIVS, 1);

    /* a handler would run in the program's memory: none, then let them come */
    for (int sig = 1; sig <= SIGNALS; sig++) {
        (void) call(rt_sigaction, sig, &usual, 0, sizeof(none));
    }

    (void) call(rt_sigprocmask, SIG_SETMASK, &none, 0, sizeof(none));

    /* a program that closed 0, 1 or 2 has the socket there */
    const long  fd = call(fcntl, c->fd_child, F_DUPFD, 3);

    if (fd < 0) {
        atomic_store(&c->error, -(int) fd);
        (void) call(exit_group, 127);
    }

    (void) call(dup3, fd, 0, 0);
    (void) call(dup3, fd, 1, 0);

    /* what it has to complain about is nobody's business */
    close_from(2);

    (void) call(chdir, "/");
    (void) call(setpriority, PRIO_PROCESS, 0, NICE);
    limit(RLIMIT_DATA, PPROF_CHILD_MEMORY);
    limit(RLIMIT_CPU, c->seconds);
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_NOFILE, 64);

    atomic_store(&c->error,
                 -(int) call(execve, c->path, c->argv, environment));
    (void) call(exit_group, 127);

    return 127;
}


/* The process between: waits for the helper, with nothing in its hands. */
BARE static int
stand_between(void *arg)
{
    static const struct timespec         tick = { .tv_nsec = 100000000 };
    static const struct kernel_sigaction usual = { .handler = 0 };
    struct pprof_child                  *c = arg;

    (void) call(prctl, PR_SET_PDEATHSIG, SIGKILL);

    if (call(getppid, 0) != c->parent) {
        (void) call(exit_group, 0);     /* it is dead already */
    }

    (void) call(prctl, PR_SET_NAME, "pprof-between");

    /* where a program ignores it, the kernel buries children by itself */
    (void) call(rt_sigaction, SIGCHLD, &usual, 0, sizeof(uint64_t));

    const int  pid = __clone(become_helper, c->stacks + STACK_SIZE,
                             CLONE_VM | CLONE_VFORK | SIGCHLD, c);

    close_from(0);

    /*
     * Who ends the helper has to be its parent.  Nobody else knows whether
     * the number is its own still, and an orphan is the program's child where
     * that is a container's first process.
     */
    while (pid > 0 && call(wait4, pid, 0, WNOHANG | __WALL, 0) == 0) {
        if (atomic_load(&c->stop)) {
            (void) call(kill, pid, SIGKILL);
            (void) call(wait4, pid, 0, __WALL, 0);
            break;
        }

        (void) call(futex, &c->stop, FUTEX_WAIT_PRIVATE, 0, &tick);
    }

    (void) call(exit_group, 0);

    return 0;
}


int
pprof_child_start(struct pprof_child *c, const char *path, char **argv,
    unsigned seconds)
{
    const uint64_t  all = UINT64_MAX;
    uint64_t        old;
    int             pair[2];

    *c = (struct pprof_child) {
        .fd = -1,
        .path = path,
        .argv = argv,
        .seconds = seconds,
        .parent = getpid()
    };

    c->stacks = mmap(NULL, 2 * STACK_SIZE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);

    if (c->stacks == MAP_FAILED) {
        return -1;
    }

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == -1) {
        munmap(c->stacks, 2 * STACK_SIZE);
        return -1;
    }

    c->fd = pair[0];
    c->fd_child = pair[1];

    /* the process between has our handlers, and must never run one */
    (void) call(rt_sigprocmask, SIG_SETMASK, &all, &old, sizeof(all));
    c->pid = __clone(stand_between, c->stacks + 2 * STACK_SIZE, CLONE_VM, c);

    const int  error = errno;

    (void) call(rt_sigprocmask, SIG_SETMASK, &old, 0, sizeof(old));
    close(pair[1]);

    if (c->pid == -1) {
        close(pair[0]);
        munmap(c->stacks, 2 * STACK_SIZE);
        errno = error;
        return -1;
    }

    return 0;
}


int
pprof_child_end(struct pprof_child *c)
{
    close(c->fd);
    atomic_store(&c->stop, 1);
    (void) call(futex, &c->stop, FUTEX_WAKE_PRIVATE, 1);

    /* when it is not to be found, somebody else has: it is gone as well */
    while (waitpid(c->pid, NULL, __WCLONE) == -1 && errno == EINTR) {
        /* the program's signals, where the thread is the program's */
    }

    munmap(c->stacks, 2 * STACK_SIZE);

    return atomic_load(&c->error);
}
