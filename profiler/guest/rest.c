#include "guest/rest.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "guest/command.h"
#include "guest/events.h"
#include "guest/heap.h"
#include "guest/own.h"
#include "guest/raw.h"
#include "guest/sampler.h"


/*
 * What runs on the resting thread has no libc behind it: no sanitizer, and no
 * canary of libc's either.
 */
#define BARE  __attribute__((no_sanitize("address", "thread", "undefined"), \
                             noinline, no_stack_protector))

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED  true
#else
#define SANITIZED  false
#endif

enum {
    STACK = 128 * 1024,     /* bytes; touched as far as it is used */
    GUARD = 4096,
    DESCRIPTOR = 4096,      /* bytes that code of libc may look at from the
                               thread pointer on */
    SPARE = 4096,           /* of the library's own thread-local variables */
    ASIDE_MSEC = 2000,      /* at most, for the thread to end */
    SETTLE_NSEC = 200000    /* between two looks whether it has */
};

#define call(nr, ...)  call_(nr, __VA_ARGS__, 0, 0, 0, 0, 0)
#define call_(nr, a, b, c, d, e, ...)                                         \
    pprof_raw(SYS_##nr, (uintptr_t) (a), (uintptr_t) (b), (uintptr_t) (c),    \
              (uintptr_t) (d), (uintptr_t) (e), 0)

/* clone() by the name that nobody stands in front of. */
extern int __clone(int (*function)(void *), void *stack, int flags, void *arg,
    ...);


/* The kernel's, <linux/futex.h>, with a pointer into the page. */
struct robust_head {
    void  *next;
    long   offset;
    void  *pending;
};

static struct {
    struct pprof_page  *page;           /* NULL: nothing is attached */
    pid_t               pid;            /* whose this is */
    bool                ordinary;
    _Atomic bool        forked;         /* a page of its own is to be made */

    struct pprof_page  *above;          /* an ancestor's that the agent has, to
                                           announce in; NULL: PAGE itself */
    struct pprof_page  *left;           /* one that nobody took, to unmap */
    unsigned            slot;           /* of the announcement */

    char               *memory;         /* of the raw thread */
    size_t              mapped;         /* bytes */
    char               *stack;          /* its top */
    char               *tp;             /* its thread pointer */

    _Atomic uint32_t    tid;            /* a futex; 0: no thread */
    _Atomic bool        leave;          /* it is to end */
    pthread_t           thread;         /* where it is libc's */

    _Atomic uint32_t    lock;           /* of ASIDE */
    unsigned            aside;          /* who wants it away */
    struct robust_head  robust;
} rest;


static uintptr_t
thread_pointer(void)
{
    uintptr_t tp;

#if defined(__x86_64__)
    __asm__("movq %%fs:0, %0" : "=r" (tp));
#else
    __asm__("mrs %0, tpidr_el0" : "=r" (tp));
#endif

    return tp;
}


/* Where the library's thread-local variables are. */
static __thread char  one_of_ours __attribute__((tls_model("initial-exec")));


/* How far VAR, a thread-local variable, is from the thread pointer. */
static size_t
distance(const void *var)
{
    const uintptr_t tp = thread_pointer(), at = (uintptr_t) var;

    return at > tp ? at - tp : tp - at;
}


/*
 * The raw thread's memory: a guard, its stack, and a block that its thread
 * pointer leads to, with room for the library's own variables and for errno.
 */
static bool
make_memory(void)
{
    size_t own = distance(&one_of_ours) + SPARE;
    const size_t libc = distance(&errno) + SPARE;

    if (rest.memory != NULL) {
        return true;
    }

    own = ((own > libc ? own : libc) + 63) & ~(size_t) 63;

    const size_t below = own > DESCRIPTOR ? own : DESCRIPTOR;

    rest.mapped = GUARD + STACK + 2 * below;

    char *const p = mmap(NULL, rest.mapped, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
                         | MAP_STACK, -1, 0);

    if (p == MAP_FAILED) {
        return false;
    }

    (void) mprotect(p, GUARD, PROT_NONE);

    pprof_own_mapped(p, rest.mapped);

    rest.memory = p;
    rest.stack = p + GUARD + STACK;
    rest.tp = rest.stack + below;

#if defined(__x86_64__)
    /* tcbhead_t: itself, twice, and the two secrets of its creator */
    const uintptr_t *const from = (const uintptr_t *) thread_pointer();
    uintptr_t *const to = (uintptr_t *) rest.tp;

    to[0] = (uintptr_t) rest.tp;
    to[2] = (uintptr_t) rest.tp;
    to[5] = from[5];
    to[6] = from[6];
#endif

    return true;
}


BARE static void
wake(_Atomic uint32_t *word)
{
    (void) call(futex, word, FUTEX_WAKE, INT_MAX);
}


/* Executes what was asked for. */
BARE static void
obey(struct pprof_page *page, uint32_t asked)
{
    struct pprof_out out = { .page = page };
    uint64_t args[PPROF_ARGS];
    const uint32_t op = atomic_load(&page->op);
    int error;

    for (int i = 0; i < PPROF_ARGS; i++) {
        args[i] = atomic_load_explicit(&page->args[i], memory_order_relaxed);
    }

    if (op == PPROF_OP_END) {
        atomic_store(&rest.leave, true);
        atomic_store(&page->why, PPROF_WHY_TOLD);
        atomic_store(&page->rest, PPROF_REST_GONE);
        error = 0;

    } else {
        error = pprof_command_execute((enum pprof_op) op, args, &out);
    }

    if (out.failed) {
        error = ENOMEM;
    }

    for (int i = 0; i < PPROF_RESULTS; i++) {
        atomic_store_explicit(&page->results[i], out.results[i],
                              memory_order_relaxed);
    }

    atomic_store(&page->error, error);
    atomic_store(&page->out_size, (uint32_t) out.size);

    if (out.mapped != 0) {
        (void) call(munmap, out.base, out.mapped);
    }

    atomic_store(&page->done, asked);
    wake(&page->done);
}


/* A fork() in between must not find what is unmapped. */
BARE static void
unmap(struct pprof_page **page)
{
    struct pprof_page *const old = *page;

    if (old != NULL) {
        *page = NULL;
        atomic_signal_fence(memory_order_seq_cst);
        (void) call(munmap, old, PPROF_HEAD_SIZE);
    }
}


/* Until it is told to leave. */
BARE static void
wait_and_obey(struct pprof_page *page)
{
    while (!atomic_load(&rest.leave)) {
        const uint32_t bell = atomic_load(&page->bell);
        const uint32_t asked = atomic_load(&page->asked);

        if (asked != atomic_load(&page->done)) {
            /* who asks has the page: it needs to be announced no more */
            unmap(&rest.above);
            unmap(&rest.left);
            obey(page, asked);
            continue;
        }

        const uint64_t nsec = pprof_sampler_step();
        struct timespec ts;

        if (nsec != UINT64_MAX) {
            ts = pprof_clock_spec(nsec);
        }

        /* returns at once when it was rung since; every wait has an end */
        (void) call(futex, &page->bell, FUTEX_WAIT, bell,
                    nsec == UINT64_MAX ? NULL : &ts);
    }
}


/*
 * A page of a child's own, which the agent opens by this thread's table of
 * descriptors: as FD_OUT.
 */
BARE static struct pprof_page *
make_page(uint32_t *fd_out)
{
    const unsigned seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    uint64_t limit[2] = { 0, 0 };

    /* who may write no file of that size gets a signal for trying */
    if (call(prlimit64, 0, RLIMIT_FSIZE, NULL, limit) < 0
        || limit[0] < PPROF_PAGE_SIZE)
    {
        return NULL;
    }

    const long fd = call(memfd_create, "pprof",
                         MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0) {
        return NULL;
    }

    long at = call(ftruncate, fd, PPROF_PAGE_SIZE);

    if (at >= 0) {
        at = call(fcntl, fd, F_ADD_SEALS, seals);
    }

    if (at >= 0) {
        at = pprof_raw(SYS_mmap, 0, PPROF_HEAD_SIZE, PROT_READ | PROT_WRITE,
                       MAP_SHARED, (uintptr_t) fd, 0);
    }

    if (at <= 0) {
        (void) call(close, fd);
        return NULL;
    }

    struct pprof_page *const page = (struct pprof_page *) at;

    page->magic = PPROF_PAGE_MAGIC;
    page->version = PPROF_PAGE_VERSION;
    page->head_size = sizeof(*page);
    page->size = PPROF_PAGE_SIZE;

    *fd_out = (uint32_t) fd;

    return page;
}


/*
 * Says in PARENT that our page can be opened by thread TID's descriptor FD: in
 * place of what was announced before, if the agent has not looked at it yet.
 * The child's number comes last: then all the rest is there.
 */
BARE static void
announce(struct pprof_page *parent, bool again, uint32_t tid, uint32_t fd)
{
    uint32_t own = (uint32_t) rest.pid;

    if (!again
        || !atomic_compare_exchange_strong(&parent->children[rest.slot].pid,
                                           &own, 0))
    {
        rest.slot = atomic_fetch_add(&parent->nchildren, 1) % PPROF_CHILDREN;
        atomic_store(&parent->children[rest.slot].pid, 0);
    }

    struct pprof_child_page *const child = &parent->children[rest.slot];

    child->tid = tid;
    child->fd = fd;
    atomic_store(&child->pid, (uint32_t) rest.pid);
    wake(&parent->nchildren);
}


/* Publishes that there is a thread, in PAGE. */
BARE static void
be_there(struct pprof_page *page, uint32_t tid)
{
    struct pprof_life *const life = &page->life;

    rest.robust.next = life;
    rest.robust.offset = offsetof(struct pprof_life, word);
    life->next = (uintptr_t) &rest.robust;

    if (!rest.ordinary) {
        (void) call(set_robust_list, &rest.robust, sizeof(rest.robust));
        atomic_store(&life->word, tid | FUTEX_WAITERS);
    }

    unsigned hooked = 0;

    for (unsigned i = 0; i < PPROF_EVENTS; i++) {
        hooked |= (unsigned) pprof_events_hooked((enum pprof_event) i) << i;
    }

    atomic_store(&page->hooked, hooked);
    atomic_store(&page->heap_sums, (uintptr_t) &pprof_heap_sums);
    atomic_store(&page->ordinary, rest.ordinary);
    atomic_store(&page->tid, tid);
    atomic_store(&page->rest, PPROF_REST_READY);
    atomic_store(&page->pid, (uint32_t) rest.pid);
    wake(&page->pid);
}


/*
 * Makes this process's own page and announces it, in its parent's or in that
 * of the nearest ancestor that the agent has: a parent that forks and ends at
 * once, as daemons do, may never be seen.
 *
 * A page that was announced can be opened for as long as this thread lives.
 * Who stands aside before the agent came makes another.  The old one is kept
 * until then, as somebody may be looking at it.  False: there is none.
 */
BARE static bool
make_own_page(uint32_t tid)
{
    struct pprof_page *const old = rest.page;
    const bool again = atomic_load(&old->pid) == (uint32_t) rest.pid;

    if (!again
        && (rest.above == NULL
            || atomic_load(&old->taken) == PPROF_TAKEN_YES))
    {
        unmap(&rest.above);
        rest.above = old;
    }

    uint32_t fd;
    struct pprof_page *const page = make_page(&fd);

    if (page == NULL) {
        return false;
    }

    unmap(&rest.left);
    rest.left = old == rest.above ? NULL : old;
    rest.page = page;

    if (!again) {
        unmap(&rest.left);
    }

    be_there(page, tid);
    announce(rest.above, again, tid, fd);
    pprof_sampler_bell(&page->bell);

    return true;
}


/*
 * Does nobody look after PAGE, which this process announced, and nobody ever
 * will?
 */
static bool
leaves_page(struct pprof_page *page)
{
    uint32_t nobody = PPROF_TAKEN_NOT;

    return rest.above != NULL
           && atomic_compare_exchange_strong(&page->taken, &nobody,
                                             PPROF_TAKEN_LEFT);
}


/* Our own descriptors: none, and none of the program's. */
BARE static void
leave_descriptors(void)
{
    if (call(close_range, 0, UINT_MAX, 2 /* CLOSE_RANGE_UNSHARE */) >= 0) {
        return;
    }

    /* an old kernel: a copy, which is left as it is but for being no more the
       program's own */
    (void) call(unshare, CLONE_FILES);
}


BARE static int
run(void *arg)
{
    const uint32_t tid = (uint32_t) call(gettid, 0);
    struct pprof_page *page = rest.page;

    (void) arg;
    (void) call(prctl, PR_SET_NAME, "pprof");

    leave_descriptors();

    if (!rest.ordinary) {
        pprof_own_raw_set(true);
    }

    pprof_own_enter();

    if (!atomic_load(&rest.forked)) {
        be_there(page, tid);

    } else if (make_own_page(tid)) {
        page = rest.page;
        atomic_store(&rest.forked, false);

    } else {
        /* what was announced, if anything was, is the parent's */
        unmap(&rest.page);
        unmap(&rest.above);
        page = NULL;
        atomic_store(&rest.forked, false);
    }

    if (page != NULL) {
        wait_and_obey(page);
        /* an end that was asked for is none of the program */
        atomic_store(&page->life.word, 0);
    }

    pprof_own_leave();
    pprof_own_raw_set(false);

    return 0;
}


static void *
run_ordinary(void *arg)
{
    atomic_store(&rest.tid, (uint32_t) call(gettid, 0));
    (void) run(arg);
    atomic_store(&rest.tid, 0);

    return NULL;
}


/* Starts the thread.  Returns 0, or an errno. */
static int
start(void)
{
    enum { FLAGS = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND
                   | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS
                   | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID };

    const uint64_t all = UINT64_MAX;
    uint64_t old;
    int error = 0;

    atomic_store(&rest.leave, false);

    if (rest.ordinary) {
        return pprof_own_create(&rest.thread, "pprof", run_ordinary, NULL);
    }

    if (!make_memory()) {
        return ENOMEM;
    }

    /* the mask is inherited: no signal of the program ever arrives there */
    (void) call(rt_sigprocmask, SIG_SETMASK, &all, &old, sizeof(all));

    const int before = errno;

    if (__clone(run, rest.stack, FLAGS, NULL, &rest.tid, rest.tp, &rest.tid)
        == -1)
    {
        error = errno;
        errno = before;
        atomic_store(&rest.tid, 0);
    }

    (void) call(rt_sigprocmask, SIG_SETMASK, &old, 0, sizeof(old));

    return error;
}


/* Ends the thread.  Returns whether it has. */
static bool
stop(void)
{
    const uint32_t tid = atomic_load(&rest.tid);
    const uint64_t until = pprof_clock(CLOCK_MONOTONIC)
                           + ASIDE_MSEC * UINT64_C(1000000);
    struct timespec look = { .tv_nsec = SETTLE_NSEC };

    atomic_store(&rest.leave, true);
    atomic_fetch_add(&rest.page->bell, 1);
    wake(&rest.page->bell);

    if (rest.ordinary) {
        (void) pthread_join(rest.thread, NULL);
        return true;
    }

    while (atomic_load(&rest.tid) != 0) {
        if (pprof_clock(CLOCK_MONOTONIC) >= until) {
            return false;
        }

        (void) call(futex, &rest.tid, FUTEX_WAIT, tid, &look);
    }

    /* the kernel clears the word before the thread is gone altogether */
    while (tid != 0 && call(tgkill, rest.pid, tid, 0) != -ESRCH) {
        if (pprof_clock(CLOCK_MONOTONIC) >= until) {
            return false;
        }

        (void) call(nanosleep, &look);
    }

    return true;
}


/* fork(). */


static void
before_fork(void)
{
    if (!atomic_load(&pprof_command_kinds)) {
        pprof_command_fork();
    }
}


static void
after_fork_in_parent(void)
{
    if (!atomic_load(&pprof_command_kinds)) {
        pprof_command_forked();
    }
}


static void
after_fork_in_child(void)
{
    pprof_command_child();
    pprof_rest_child();
}


static void
add_fork_handlers(void)
{
    (void) pthread_atfork(before_fork, after_fork_in_parent,
                          after_fork_in_child);
}


void
pprof_rest_child(void)
{
    if (rest.page == NULL) {
        return;
    }

    pprof_sampler_bell(NULL);
    atomic_store(&rest.tid, 0);
    atomic_store(&rest.lock, 0);
    rest.aside = 0;
    rest.pid = (pid_t) call(getpid, 0);
    rest.forked = true;

    unmap(&rest.left);

    if (start() != 0) {
        unmap(&rest.page);
        unmap(&rest.above);
    }
}


/* Attaching. */


/* Is FD a page that cannot shrink? */
static bool
is_page(int fd)
{
    struct stat st;
    const int seals = fcntl(fd, F_GET_SEALS);

    return seals != -1 && (seals & F_SEAL_SHRINK) && fstat(fd, &st) == 0
           && st.st_size == (off_t) PPROF_PAGE_SIZE;
}


int
pprof_rest_attach(int fd, bool ordinary)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    uint32_t nobody = 0;

    if (rest.page != NULL) {
        errno = EALREADY;
        return -1;
    }

    if (!is_page(fd)) {
        errno = EPROTO;
        return -1;
    }

    struct pprof_page *const page = mmap(NULL, PPROF_HEAD_SIZE,
                                         PROT_READ | PROT_WRITE, MAP_SHARED,
                                         fd, 0);

    if (page == MAP_FAILED) {
        return -1;
    }

    const pid_t pid = (pid_t) call(getpid, 0);

    if (page->magic != PPROF_PAGE_MAGIC
        || page->version != PPROF_PAGE_VERSION
        || page->head_size != sizeof(*page)
        || !atomic_compare_exchange_strong(&page->pid, &nobody,
                                           (uint32_t) pid))
    {
        munmap(page, PPROF_HEAD_SIZE);
        errno = nobody != 0 ? EBUSY : EPROTO;
        return -1;
    }

    pthread_once(&once, add_fork_handlers);
    pprof_command_prepare();

    rest.page = page;
    rest.pid = pid;
    rest.forked = false;
    rest.ordinary = ordinary || SANITIZED;
    rest.aside = 0;
    pprof_sampler_bell(&page->bell);

    const int error = start();

    if (error != 0) {
        atomic_store(&page->why, PPROF_WHY_REFUSED);
        atomic_store(&page->rest, PPROF_REST_GONE);
        pprof_sampler_bell(NULL);
        rest.page = NULL;
        munmap(page, PPROF_HEAD_SIZE);
        errno = error;
        return -1;
    }

    return 0;
}


/* The descriptor of the page that pprof-run left us, or -1. */
static int
find_env(void)
{
    const char *const text = getenv(PPROF_PAGE_ENV);
    struct stat st;
    char *end;

    if (text == NULL) {
        return -1;
    }

    const long fd = strtol(text, &end, 10);

    /* a number that was left over from another start is somebody else's */
    return *end != ':' || fd < 0 || fd > INT_MAX || fstat((int) fd, &st) == -1
           || strtoull(end + 1, NULL, 10) != st.st_ino || !is_page((int) fd)
           ? -1 : (int) fd;
}


int
pprof_rest_attach_env(bool ordinary)
{
    const int fd = find_env();

    if (fd == -1) {
        errno = ENOENT;
        return -1;
    }

    const int rc = pprof_rest_attach(fd, ordinary);
    const int error = errno;

    (void) call(close, fd);
    errno = error;

    return rc;
}


void
pprof_rest_refuse_env(void)
{
    const uint32_t gone = PPROF_REST_GONE, told = PPROF_WHY_TOLD;
    const int fd = find_env();

    if (fd == -1) {
        return;
    }

    (void) !pwrite(fd, &told, sizeof(told), offsetof(struct pprof_page, why));
    (void) !pwrite(fd, &gone, sizeof(gone), offsetof(struct pprof_page, rest));
    (void) call(close, fd);
}


void
pprof_rest_detach(void)
{
    struct pprof_page *const page = rest.page;

    if (page == NULL) {
        return;
    }

    const bool ended = stop();

    atomic_store(&page->why, PPROF_WHY_TOLD);
    atomic_store(&page->rest, PPROF_REST_GONE);
    pprof_sampler_bell(NULL);

    if (ended) {
        rest.page = NULL;
        munmap(page, PPROF_HEAD_SIZE);
    }

    if (ended && rest.memory != NULL) {
        munmap(rest.memory, rest.mapped);
        rest.memory = NULL;
    }
}


struct pprof_page *
pprof_rest_page(void)
{
    return rest.page;
}


/* Standing aside. */


/* Not for ever: a handler may have interrupted who has it. */
static bool
take_lock(void)
{
    struct timespec look = { .tv_nsec = SETTLE_NSEC };

    for (int i = 0; i < 5000; i++) {
        uint32_t free = 0;

        if (atomic_compare_exchange_strong(&rest.lock, &free, 1)) {
            return true;
        }

        (void) call(nanosleep, &look);
    }

    return false;
}


/* A child's thread is on its way: who gives up its rights waits for it. */
static void
await_page(void)
{
    struct timespec look = { .tv_nsec = SETTLE_NSEC };

    for (int i = 0; i < 5000 && atomic_load(&rest.forked); i++) {
        (void) call(nanosleep, &look);
    }
}


bool
pprof_rest_aside(void)
{
    /* a vfork() child has our memory, and is not us */
    if (rest.page == NULL || rest.pid != (pid_t) call(getpid, 0)) {
        return false;
    }

    if (!take_lock()) {
        return false;
    }

    await_page();

    if (rest.page == NULL || atomic_load(&rest.forked)
        || atomic_load(&rest.page->rest) == PPROF_REST_GONE)
    {
        atomic_store(&rest.lock, 0);
        return false;
    }

    if (rest.aside++ == 0) {
        atomic_store(&rest.page->rest, PPROF_REST_ASIDE);
        (void) stop();
    }

    atomic_store(&rest.lock, 0);

    return true;
}


void
pprof_rest_back(bool was, bool sealed)
{
    if (!was || !take_lock()) {
        return;
    }

    if (sealed) {
        atomic_store(&rest.page->why, PPROF_WHY_SEALED);
        atomic_store(&rest.page->rest, PPROF_REST_GONE);
    }

    struct pprof_page *const page = rest.page;

    if (--rest.aside == 0 && atomic_load(&page->rest) != PPROF_REST_GONE) {
        rest.forked = leaves_page(page);

        if (start() != 0) {
            rest.forked = false;
            atomic_store(&page->why, PPROF_WHY_REFUSED);
            atomic_store(&page->rest, PPROF_REST_GONE);
        }
    }

    atomic_store(&rest.lock, 0);
}
