#include "outside.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/family.h"
#include "agent/target.h"
#include "guest/heap.h"
#include "guest/page.h"
#include "guest/raw.h"
#include "guest/rest.h"
#include "kinds/env.h"
#include "kinds/life.h"
#include "guest/tcmalloc.h"


/*
 * What runs between clone() and the agent's first instruction shares the
 * program's memory: no libc, whose functions write errno there, and no
 * sanitizer.
 */
#define BARE  __attribute__((no_sanitize("address", "thread", "undefined"), \
                             noinline, no_stack_protector))

enum {
    STACK_SIZE = 16 * 1024,     /* of each of the two; bytes */
    ARGS_MAX = 12,
    ENV_MAX = 32,
    SIGNALS = 64,
    START_SEC = 10,             /* for the agent to listen, or to say no */
    STOP_SEC = 2
};


/* clone() by the name that nobody stands in front of. */
extern int __clone(int (*function)(void *), void *stack, int flags, void *arg,
    ...);


/* The kernel's own, which has no room for glibc's signals to come. */
struct kernel_sigaction {
    uintptr_t  handler;
    uintptr_t  flags;
    uintptr_t  restorer;
    uint64_t   mask;
};


/* What is to be executed, made ready before there is anybody to do it. */
struct start {
    const char   *path;         /* the loader's */
    char         *args[ARGS_MAX];
    char         *env[ENV_MAX];
    char         *stacks;       /* two */
    int           page_fd;
    pid_t         program;
    bool          stays;        /* the one between does */
    _Atomic int   error;        /* an errno */
};


#define call(nr, ...)  call_(nr, __VA_ARGS__, 0, 0, 0, 0, 0)
#define call_(nr, a, b, c, d, e, ...)                                         \
    pprof_raw(SYS_##nr, (uintptr_t) (a), (uintptr_t) (b), (uintptr_t) (c),    \
              (uintptr_t) (d), (uintptr_t) (e), 0)


static struct {
    pid_t  owner;               /* who started it */
    bool   alone;               /* it serves nobody else */
} agent;


/* The agent, before it is one. */
BARE static int
become_agent(void *arg)
{
    struct start                  *s = arg;
    const struct kernel_sigaction  usual = { .handler = 0 };
    const uint64_t                 none = 0;

    /* a handler would run in the program's memory: none, then let them come */
    for (int sig = 1; sig <= SIGNALS; sig++) {
        (void) call(rt_sigaction, sig, &usual, 0, sizeof(none));
    }

    (void) call(rt_sigprocmask, SIG_SETMASK, &none, 0, sizeof(none));
    (void) call(setsid, 0);
    (void) call(fcntl, s->page_fd, F_SETFD, 0);

    atomic_store(&s->error, -(int) call(execve, s->path, s->args, s->env));
    (void) call(exit_group, 127);

    return 127;
}


/*
 * The process between.  No wait() of the program finds it, as it ends without
 * a signal; and the agent, which is its child, is then nobody's or init's.
 * Where the program adopts orphans, it stays as long as both are there.
 */
BARE static int
stand_between(void *arg)
{
    static const struct timespec          second = { .tv_sec = 1 };
    static const struct kernel_sigaction  usual = { .handler = 0 };
    struct start                         *s = arg;

    (void) call(rt_sigaction, SIGCHLD, &usual, 0, sizeof(uint64_t));

    const int  pid = __clone(become_agent, s->stacks + STACK_SIZE,
                             CLONE_VM | CLONE_VFORK | SIGCHLD, s);

    if (pid == -1) {
        atomic_store(&s->error, EAGAIN);
    }

    if (s->stays && pid > 0 && atomic_load(&s->error) == 0) {
        (void) call(prctl, PR_SET_NAME, "pprof-between");
        (void) call(setsid, 0);
        (void) call(close_range, 0, UINT_MAX, 0);
        (void) call(chdir, "/");

        while (call(getppid, 0) == s->program
               && call(wait4, pid, 0, WNOHANG | __WALL, 0) == 0)
        {
            (void) call(nanosleep, &second, 0);
        }
    }

    (void) call(exit_group, 0);

    return 0;
}


static bool
adopts_orphans(void)
{
    int is = 0;

    return getpid() == 1
           || (prctl(PR_GET_CHILD_SUBREAPER, &is) == 0 && is != 0);
}


/* Returns 0, or an errno. */
static int
run(struct start *s)
{
    const uint64_t  all = UINT64_MAX;
    uint64_t        old;

    s->program = getpid();
    s->stays = adopts_orphans();
    s->stacks = mmap(NULL, 2 * STACK_SIZE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);

    if (s->stacks == MAP_FAILED) {
        return ENOMEM;
    }

    /* the process between has our handlers, and must never run one */
    (void) call(rt_sigprocmask, SIG_SETMASK, &all, &old, sizeof(all));

    const int  pid = __clone(stand_between, s->stacks + 2 * STACK_SIZE,
                             CLONE_VM | (s->stays ? 0 : CLONE_VFORK), s);
    const int  error = errno;

    (void) call(rt_sigprocmask, SIG_SETMASK, &old, 0, sizeof(old));

    if (pid == -1) {
        munmap(s->stacks, 2 * STACK_SIZE);
        return error;
    }

    if (!s->stays) {
        while (waitpid(pid, NULL, __WCLONE) == -1 && errno == EINTR) {
            /* void */
        }

        munmap(s->stacks, 2 * STACK_SIZE);
    }

    return atomic_load(&s->error);
}


/* Where the loader, and this library, lie. */
static int
find_files(struct start *s, char *library)
{
    Dl_info loader, own;

    if (dladdr((void *) getauxval(AT_BASE), &loader) == 0
        || dladdr((void *) find_files, &own) == 0
        || realpath(own.dli_fname, library) == NULL)
    {
        return -1;
    }

    s->path = loader.dli_fname;

    return 0;
}


/* Waits until *WORD is not VALUE, for SECONDS.  Returns what it is. */
static uint32_t
await(_Atomic uint32_t *word, uint32_t value, int seconds)
{
    const struct timespec tick = { .tv_nsec = 50000000 };
    uint32_t now = value;

    for (int i = 0; i < seconds * 20 && (now = atomic_load(word)) == value;
         i++)
    {
        (void) syscall(SYS_futex, word, FUTEX_WAIT, value, &tick, NULL, 0);
    }

    return now;
}


/* The agent that was asked for listens, or says why it does not. */
static int
await_listening(void)
{
    struct pprof_page *const page = pprof_rest_page();

    switch (await(&page->listening, PPROF_LISTENING_NOT, START_SEC)) {

    case PPROF_LISTENING_YES:
        return 0;

    case PPROF_LISTENING_CANNOT:
        return (int) atomic_load(&page->listen_error);

    default:
        return EAGAIN;
    }
}


/* The agent's arguments, in entry.c's order. */
static int
prepare(struct start *s, const char *listen,
    const struct pprof_options *options, bool forks, char *text, size_t size)
{
    static const struct pprof_options  defaults;
    static char                        library[PATH_MAX];

    if (options == NULL) {
        options = &defaults;
    }

    if (find_files(s, library) == -1) {
        return ENOENT;
    }

    const int n = snprintf(text, size, "%d%c%d%c%d%c%u%c%u%c%u%c%s%c%s",
                           s->page_fd, 0, (int) getpid(), 0, forks, 0,
                           options->socket_mode, 0, options->max_seconds, 0,
                           pprof_family_linger(), 0,
                           options->cmdline == NULL ? "" : options->cmdline,
                           0, listen);

    if (n < 0 || (size_t) n >= size) {
        return ENAMETOOLONG;
    }

    s->args[0] = "pprof-agent";
    s->args[1] = library;

    for (size_t i = 2; i < 10; i++) {
        s->args[i] = text;
        text += strlen(text) + 1;
    }

    return pprof_env_copy(s->env, ENV_MAX) == 0 ? 0 : ENOMEM;
}


int
pprof_outside_start(const char *listen, const struct pprof_options *options,
    bool preload)
{
    static char text[PATH_MAX];

    /* a child of fork() that was nobody's becomes somebody */
    if (agent.alone && agent.owner != getpid()) {
        pprof_rest_detach();
    }

    struct start s = { .page_fd = pprof_page_create() };

    if (s.page_fd == -1) {
        return -1;
    }

    const bool tcmalloc = pprof_tcmalloc_is();
    const char *const engine = pprof_env_get("PPROF_HEAP_ENGINE");

    /* who is linked with gperftools and knows of us has tcmalloc's own */
    if (tcmalloc && !preload
        && (engine == NULL || strcmp(engine, "pprof") != 0))
    {
        pprof_heap_renounce();
    }

    int error = prepare(&s, listen, options, preload, text, sizeof(text));

    if (error == 0 && pprof_rest_attach(s.page_fd, tcmalloc) == -1)
    {
        error = errno;

    } else if (error == 0) {
        error = run(&s);

        /* a constructor has the loader's lock, which the thread that the
           agent commands may want */
        if (error == 0 && !preload) {
            error = await_listening();
        }

        if (error != 0) {
            pprof_rest_detach();
        }
    }

    pprof_env_free(s.env);
    close(s.page_fd);

    if (error != 0) {
        errno = error;
        return -1;
    }

    agent.owner = getpid();
    agent.alone = !preload;

    return 0;
}


bool
pprof_outside_is(void)
{
    return pprof_rest_page() != NULL
           && !(agent.alone && agent.owner != getpid());
}


void
pprof_outside_stop(void)
{
    struct pprof_page *const page = pprof_rest_page();
    /* a second mapping of the same: the first goes with the thread */
    struct pprof_page *const own = mremap(page, 0, PPROF_HEAD_SIZE,
                                          MREMAP_MAYMOVE);

    if (own != MAP_FAILED
        && atomic_load(&own->listening) == PPROF_LISTENING_YES)
    {
        atomic_store(&own->listening, PPROF_LISTENING_STOP);
        (void) syscall(SYS_futex, &own->nchildren, FUTEX_WAKE, INT_MAX, NULL,
                       NULL, 0);
        (void) await(&own->listening, PPROF_LISTENING_STOP, STOP_SEC);
    }

    pprof_rest_detach();

    if (own != MAP_FAILED) {
        munmap(own, PPROF_HEAD_SIZE);
    }
}


int
pprof_outside_address(char *buf, size_t size)
{
    const struct pprof_page *const page = pprof_rest_page();

    if (atomic_load(&page->listening) != PPROF_LISTENING_YES) {
        errno = ENOTCONN;
        return -1;
    }

    /* the agent wrote it, and nobody since */
    const size_t len = strnlen(page->address, sizeof(page->address) - 1);

    if (len >= size) {
        errno = ERANGE;
        return -1;
    }

    memcpy(buf, page->address, len);
    buf[len] = '\0';

    return 0;
}
