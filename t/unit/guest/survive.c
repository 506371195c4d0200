/*
 * The walker on stacks that lie: wrong call frame information, JIT pages,
 * alternate stacks, coroutines, recursion without end.  It must not crash,
 * not go on for ever, and tell as much of the truth as there is.
 */

#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "guest/cfi.h"
#include "guest/unwind.h"
#include "tap.h"


/* What the last walk told. */
static volatile size_t depth;
static uintptr_t pcs[PPROF_STACK_MAX];


static void
on_signal(int signo, siginfo_t *info, void *context)
{
    (void) signo;
    (void) info;

    depth = pprof_unwind_context(context, pcs, PPROF_STACK_MAX);
}


static void
handle(int signo, int flags)
{
    struct sigaction action = { .sa_sigaction = on_signal,
                                .sa_flags = SA_SIGINFO | flags };

    sigaction(signo, &action, NULL);
}


/* Is there a frame of the function from START, SIZE bytes long? */
static bool
saw(const void *start, size_t size)
{
    for (size_t i = 0; i < depth; i++) {
        if (pcs[i] - 1 - (uintptr_t) start < size) {
            return true;
        }
    }

    return false;
}


/* Called by code that lies about its frame. */
__attribute__((noinline, used)) void
probe(void)
{
    raise(SIGUSR1);
    __asm__ volatile("");
}

#if defined(__x86_64__)

/*
 * Functions NAME that call probe() with the stack aligned, under the given
 * directives.
 */
#define LIAR(name, cfi)                                                       \
    __asm__(".text\n.type " #name ", @function\n" #name ":\n"                 \
            ".cfi_startproc\n" cfi "\n"                                       \
            "pushq %rbp\n" "movq $0x1234567, %rbp\n"                          \
            "call probe\n" "popq %rbp\n" "ret\n" ".cfi_endproc\n"             \
            ".size " #name ", . - " #name "\n");                              \
    void name(void)

LIAR(liar_huge, ".cfi_def_cfa_offset 0x700000");
LIAR(liar_far, ".cfi_def_cfa_offset 0x20000000");
LIAR(liar_negative, ".cfi_def_cfa_offset -64");
LIAR(liar_same, ".cfi_def_cfa_offset 0");
LIAR(liar_odd, ".cfi_def_cfa_offset 13");
LIAR(liar_rbp, ".cfi_def_cfa rbp, 16");
LIAR(liar_rax, ".cfi_def_cfa rax, 8");
LIAR(liar_saved, ".cfi_def_cfa_offset 24\n.cfi_offset rbp, -0x400000");
LIAR(liar_address, ".cfi_def_cfa_offset 16");
LIAR(liar_signal, ".cfi_signal_frame");
LIAR(liar_expression, ".cfi_escape 0x0f, 3, 0x77, 0, 0x06");
LIAR(liar_deep, ".cfi_escape 0x0f, 5, 0x76, 0, 0x06, 0x23, 8");

static void
wrong_cfi(const char *where)
{
    static const struct {
        const char  *name;
        void       (*call)(void);
    } liars[] = {
        { "an offset beyond the stack", liar_far },
        { "an offset of 7 MiB", liar_huge },
        { "a negative offset", liar_negative },
        { "no offset", liar_same },
        { "an odd offset", liar_odd },
        { "a frame pointer that is none", liar_rbp },
        { "a register that is lost", liar_rax },
        { "a saved register far below", liar_saved },
        { "a return address that is data", liar_address },
        { "a signal frame that is none", liar_signal },
        { "an expression that reads code", liar_expression },
        { "an expression on nothing", liar_deep },
    };

    for (size_t i = 0; i < sizeof(liars) / sizeof(liars[0]); i++) {
        depth = 0;
        liars[i].call();
        ok(depth >= 3 && depth < PPROF_STACK_MAX && saw(probe, 64),
           "%s: %s: %zu frames", where, liars[i].name, depth);
    }
}


/*
 * push rbp; mov rbp, rsp; call *rdi; pop rbp; ret, on a page of its own; and
 * the same with a frame pointer of its own invention.
 */
static void
jit(const char *where)
{
    static const uint8_t good[] = {
        0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3
    };
    static const uint8_t bad[] = {
        0x55, 0x48, 0xc7, 0xc5, 0x39, 0x30, 0x00, 0x00, 0xff, 0xd7, 0x5d, 0xc3
    };

    uint8_t *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void (*call)(void (*)(void));

    *(void **) &call = page;

    memcpy(page, good, sizeof(good));
    depth = 0;
    call(probe);
    ok(saw(page, sizeof(good)) && saw(jit, 1024),
       "%s: through a JIT page by its frame pointer: %zu frames", where,
       depth);

    memcpy(page, bad, sizeof(bad));
    depth = 0;
    call(probe);
    ok(saw(page, sizeof(bad)) && depth < 10,
       "%s: up to a JIT page without one: %zu frames", where, depth);

    munmap(page, 4096);
}

#endif


__attribute__((noinline)) static int
recurse(int n)
{
    volatile char frame[64];

    if (n == 0) {
        probe();
        return 0;
    }

    frame[0] = 1;

    return recurse(n - 1) + frame[0];
}


static void
deep(const char *where)
{
    struct timespec start, end;

    depth = 0;
    clock_gettime(CLOCK_MONOTONIC, &start);
    int n = recurse(5000);
    clock_gettime(CLOCK_MONOTONIC, &end);

    ok(n == 5000 && depth == PPROF_STACK_MAX,
       "%s: 5000 frames are cut to %zu", where, depth);
}


static void
on_other_stack(int signo)
{
    (void) signo;

    probe();
    __asm__ volatile("");               /* no tail call */
}


/* A handler on an alternate stack, interrupted by the sampler's signal. */
static void
alternate(const char *where)
{
    static __thread char memory[65536];

    stack_t          stack = { .ss_sp = memory, .ss_size = sizeof(memory) };
    struct sigaction action = { .sa_handler = on_other_stack,
                                .sa_flags = SA_ONSTACK };

    sigaltstack(&stack, NULL);
    sigaction(SIGUSR2, &action, NULL);

    depth = 0;
    raise(SIGUSR2);
    ok(saw(on_other_stack, 256) && saw(alternate, 1024),
       "%s: from an alternate stack back to the thread's: %zu frames", where,
       depth);

    handle(SIGUSR1, SA_ONSTACK);
    depth = 0;
    probe();
    ok(saw(probe, 64) && saw(alternate, 1024),
       "%s: the handler itself on an alternate stack: %zu frames", where,
       depth);
    handle(SIGUSR1, 0);

    stack.ss_flags = SS_DISABLE;
    sigaltstack(&stack, NULL);
}


static ucontext_t back, coroutine;

static void
in_coroutine(void)
{
    probe();
    swapcontext(&coroutine, &back);
}


static void
coroutines(const char *where)
{
    size_t size = 65536;
    char  *memory = mmap(NULL, size + 8192, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    mprotect(memory + 4096, size, PROT_READ | PROT_WRITE);
    getcontext(&coroutine);
    coroutine.uc_stack.ss_sp = memory + 4096;
    coroutine.uc_stack.ss_size = size;
    coroutine.uc_link = &back;
    makecontext(&coroutine, in_coroutine, 0);

    depth = 0;
    swapcontext(&back, &coroutine);
    ok(saw(in_coroutine, 256) && depth < 20,
       "%s: a coroutine between guard pages: %zu frames", where, depth);

    munmap(memory, size + 8192);
}


#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)                      \
    && !defined(__SANITIZE_ADDRESS__)

enum { BELOW = 30 };                    /* frames */

/* Interrupted without a system call, at the bottom of some frames. */
__attribute__((noinline)) static unsigned
interrupt_below(unsigned n)
{
    if (n == 0) {
        __asm__ volatile("int3");
        return 1;
    }

    n = interrupt_below(n - 1);
    __asm__ volatile("");               /* no loop is made of it */

    return n + 1;
}


/*
 * After this any system call but read(), write(), exit() and a handler's
 * return kills the thread.
 */
static void *
walk_locked_up(void *arg)
{
    const bool  whole = prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) == 0
                        && interrupt_below(BELOW) != 0 && depth > BELOW;
    const char  answer = whole ? '1' : '0';

    (void) !write(*(int *) arg, &answer, 1);
    syscall(SYS_exit, 0);

    return NULL;
}


/* A walk in a process of its own, in its main thread or in another. */
static void
no_system_calls(bool in_thread)
{
    int        fds[2];
    char       answer = 'x';
    pthread_t  thread;

    if (pipe(fds) == -1) {
        return;
    }

    fflush(stdout);

    const pid_t  pid = fork();

    if (pid == 0) {
        pprof_cfi_child();
        handle(SIGTRAP, 0);
        alarm(20);      /* seccomp ends a thread, not those beside it */
        close(fds[0]);

        if (!in_thread) {
            walk_locked_up(&fds[1]);
        }

        pthread_create(&thread, NULL, walk_locked_up, &fds[1]);
        pthread_join(thread, NULL);
        _exit(0);
    }

    close(fds[1]);
    (void) !read(fds[0], &answer, 1);
    close(fds[0]);
    waitpid(pid, NULL, 0);

    ok(answer == '1', "%s: no system call on the thread's own stack (%c)",
       in_thread ? "thread" : "main", answer);
}

#endif


/* qemu-user knows neither the call nor a vdso. */
static bool
foreign_readable(void)
{
    char         byte;
    struct iovec local = { &byte, 1 }, remote = { &pcs, 1 };

    return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == 1;
}


static void *
all(void *where)
{
#if defined(__x86_64__)
    wrong_cfi(where);
    jit(where);
#endif
    deep(where);

    if (foreign_readable()) {
        alternate(where);
        coroutines(where);

    } else {
        skip("stacks other than the thread's", "no process_vm_readv");
    }

    return NULL;
}


int
main(void)
{
    pthread_t      thread;
    pthread_attr_t attr;
    size_t         size = 4 * 1024 * 1024;

    pprof_unwind_init();
    handle(SIGUSR1, 0);

    depth = 0;
    probe();
    ok(depth >= 2, "without tables: %zu frames", depth);

    pprof_cfi_refresh();
    all("main");

    pthread_create(&thread, NULL, all, "thread");
    pthread_join(thread, NULL);

#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)                      \
    && !defined(__SANITIZE_ADDRESS__)
    /* sanitizers make calls of their own before they run a handler */
    no_system_calls(false);
    no_system_calls(true);
#endif

    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pthread_attr_init(&attr);
    pthread_attr_setstack(&attr, memory, size);
    pthread_create(&thread, &attr, all, "thread on the program's own memory");
    pthread_join(thread, NULL);

    pprof_cfi_clear();

    return done_testing();
}
