/*
 * What strangers' programs do: one kind a word.  Each prints what it saw and
 * ends with a status that says so; t/strangers.t runs it bare and under
 * pprof-run, and compares.
 *
 *     stranger <kind>…
 *
 * What depends on nothing but the program is printed: no numbers of processes,
 * no addresses, no times.
 */

#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/single_threaded.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>


enum {
    NOBODY = 65534,
    WORK_MSEC = 900         /* long enough to be looked at */
};

extern char **environ;


static int64_t
now_msec(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec * INT64_C(1000) + ts.tv_nsec / 1000000;
}


static void
nap(int msec)
{
    struct timespec left = { msec / 1000, msec % 1000 * 1000000L };

    while (nanosleep(&left, &left) == -1 && errno == EINTR) {
        /* void */
    }
}


/* Burns CPU; what comes out is always the same. */
static __attribute__((noinline)) unsigned
burn(int msec)
{
    const int64_t until = now_msec() + msec;
    volatile unsigned x = 1;

    do {
        for (int i = 0; i < 10000; i++) {
            x = x * 1664525u + 1013904223u;
        }

    } while (now_msec() < until);

    return 42;
}


/* Prints which descriptors are open, and what they are. */
static void
print_fds(const char *when)
{
    printf("%s:", when);

    for (int fd = 0; fd < 1024; fd++) {
        struct stat st;

        if (fstat(fd, &st) == 0) {
            printf(" %d/%o", fd, (unsigned) st.st_mode & S_IFMT);
        }
    }

    printf("\n");
}


/* Descriptors. */


static void
close_loop(void)
{
    for (int fd = 3; fd < 1024; fd++) {
        close(fd);
    }
}


static void
close_listed(void)
{
    DIR *const d = opendir("/proc/self/fd");
    struct dirent *e;

    while (d != NULL && (e = readdir(d)) != NULL) {
        const int fd = atoi(e->d_name);

        if (fd > 2 && fd != dirfd(d)) {
            close(fd);
        }
    }

    if (d != NULL) {
        closedir(d);
    }
}


static void
close_all(const char *how)
{
    if (strcmp(how, "closefrom") == 0) {
        closefrom(3);

    } else if (strcmp(how, "range") == 0) {
        close_range(3, UINT_MAX, 0);

    } else if (strcmp(how, "listed") == 0) {
        close_listed();

    } else {
        close_loop();
    }
}


/* Who closed everything opens a listener, and gets all that connects. */
static int
listener(char **args)
{
    struct sockaddr_in sin = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)
    };
    socklen_t len = sizeof(sin);
    int mine = 0;

    nap(400);
    print_fds("before");
    close_all(args[0]);
    print_fds("after");

    const int s = socket(AF_INET, SOCK_STREAM, 0);

    if (bind(s, (struct sockaddr *) &sin, sizeof(sin)) == -1
        || listen(s, 64) == -1
        || getsockname(s, (struct sockaddr *) &sin, &len) == -1)
    {
        perror("listen");
        return 2;
    }

    for (int i = 0; i < 20; i++) {
        char c = 0;
        const int out = socket(AF_INET, SOCK_STREAM, 0);

        (void) !connect(out, (struct sockaddr *) &sin, sizeof(sin));
        nap(20);

        struct pollfd ready = { .fd = s, .events = POLLIN };

        if (poll(&ready, 1, 1000) == 1) {
            const int in = accept(s, NULL, NULL);

            (void) !write(in, "x", 1);
            close(in);
        }

        mine += read(out, &c, 1) == 1 && c == 'x';
        close(out);
    }

    print_fds("end");
    printf("listener %d, %d of 20 are mine\n", s, mine);

    return 11;
}


/* A daemon: forks twice, closes all, goes on. */
static int
daemon_twice(char **args)
{
    int pipes[2];
    char text[200] = "";

    if (pipe(pipes) == -1) {
        return 2;
    }

    pid_t pid = fork();

    if (pid == 0) {
        setsid();

        if (fork() != 0) {
            _exit(0);
        }

        (void) !dup2(pipes[1], 1);
        close_all(args[0]);
        burn(WORK_MSEC);
        print_fds("daemon");
        fflush(stdout);
        _exit(0);
    }

    close(pipes[1]);
    waitpid(pid, NULL, 0);

    size_t n = 0;
    ssize_t r;

    while ((r = read(pipes[0], text + n, sizeof(text) - 1 - n)) > 0) {
        n += (size_t) r;
    }

    printf("%s", text);

    return wait(NULL) == -1 && errno == ECHILD ? 12 : 1;
}


/* Shells' ways with numbers. */
static int
numbers(char **args)
{
    (void) args;
    print_fds("first");

    for (int i = 0; i < 40; i++) {
        const int fd = open("/dev/null", O_WRONLY);

        dup2(fd, 10 + i % 7);
        close(fd);
        errno = 0;

        if (close(fd) == 0 || errno != EBADF) {
            printf("a second close of %d succeeded\n", fd);
        }

        nap(20);
    }

    print_fds("last");

    pid_t pid = fork();

    if (pid == 0) {
        (void) !write(10, "x", 1);
        print_fds("child");
        fflush(stdout);
        execlp("ls", "ls", "/proc/self/fd", NULL);
        _exit(127);
    }

    int status;

    waitpid(pid, &status, 0);

    return status;
}


/* No descriptor is to be had, for nobody, and all that there may be are. */
static int
full(char **args)
{
    const struct rlimit limit = { 24, 24 };
    int n = 0;

    (void) args;
    setrlimit(RLIMIT_NOFILE, &limit);

    while (dup(0) != -1) {
        n++;
    }

    printf("%d, then %s\n", n, strerror(errno));
    burn(WORK_MSEC);
    close(23);
    nap(200);
    printf("and the one that is given back is %d\n", dup(0));

    return 13;
}


/* Rights. */


/* How many different sets of rights this process's threads have. */
static int
count_rights(void)
{
    static const char *const lines[] = {
        "Uid:", "Gid:", "Groups:", "CapPrm:", "CapEff:", "NoNewPrivs:",
        "Seccomp:"
    };
    static char seen[32][1024];
    int n = 0;
    DIR *const d = opendir("/proc/self/task");
    struct dirent *e;

    while (d != NULL && (e = readdir(d)) != NULL) {
        char path[300], line[600], rights[1024] = "";
        FILE *f;

        snprintf(path, sizeof(path), "/proc/self/task/%s/status", e->d_name);

        if (e->d_name[0] == '.' || (f = fopen(path, "r")) == NULL) {
            continue;
        }

        while (fgets(line, sizeof(line), f) != NULL) {
            for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
                if (strncmp(line, lines[i], strlen(lines[i])) == 0
                    && strlen(rights) + strlen(line) < sizeof(rights))
                {
                    strcat(rights, line);
                }
            }
        }

        fclose(f);

        int i = 0;

        while (i < n && strcmp(seen[i], rights) != 0) {
            i++;
        }

        if (i == n && n < 32) {
            strcpy(seen[n++], rights);
        }
    }

    if (d != NULL) {
        closedir(d);
    }

    return n;
}


static int
drop_caps(uint64_t keep)
{
    struct __user_cap_header_struct header = {
        .version = _LINUX_CAPABILITY_VERSION_3
    };
    struct __user_cap_data_struct data[2];

    syscall(SYS_capget, &header, data);

    for (int i = 0; i < 2; i++) {
        data[i].permitted &= (uint32_t) (keep >> (32 * i));
        data[i].effective = data[i].permitted;
        data[i].inheritable = 0;
    }

    return (int) syscall(SYS_capset, &header, data);
}


static int
drop_caps_unseen(uint64_t keep)
{
    struct __user_cap_header_struct header = {
        .version = _LINUX_CAPABILITY_VERSION_3
    };
    struct __user_cap_data_struct data[2];
    long rc;

    syscall(SYS_capget, &header, data);

    for (int i = 0; i < 2; i++) {
        data[i].permitted &= (uint32_t) (keep >> (32 * i));
        data[i].effective = data[i].permitted;
        data[i].inheritable = 0;
    }

#if defined(__x86_64__)
    __asm__ volatile ("syscall" : "=a" (rc)
                      : "a" (SYS_capset), "D" (&header), "S" (data)
                      : "rcx", "r11", "memory");
#else
    rc = syscall(SYS_capset, &header, data);
#endif

    return (int) rc;
}


#define CAP(x)  (UINT64_C(1) << CAP_##x)


/* Gives up rights in the way that ARGS name, and looks who still has them. */
static int
rights(char **args)
{
    const char *const how = args[0];
    int rc = -1;

    nap(300);

    if (strcmp(how, "setuid") == 0) {
        rc = setgid(NOBODY) | setuid(NOBODY);

    } else if (strcmp(how, "setres") == 0) {
        rc = setresgid(NOBODY, NOBODY, NOBODY)
             | setresuid(NOBODY, NOBODY, NOBODY);

    } else if (strcmp(how, "setreuid") == 0) {
        rc = setregid(NOBODY, NOBODY) | setreuid(NOBODY, NOBODY);

    } else if (strcmp(how, "seteuid") == 0) {
        rc = setegid(NOBODY) | seteuid(NOBODY);

    } else if (strcmp(how, "capset") == 0) {
        rc = drop_caps(CAP(SETUID) | CAP(SETGID))
             | setresgid(NOBODY, NOBODY, NOBODY)
             | setresuid(NOBODY, NOBODY, NOBODY);

    } else if (strcmp(how, "keepcaps") == 0) {
        rc = prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
             | setresuid(NOBODY, NOBODY, NOBODY)
             | drop_caps(CAP(NET_BIND_SERVICE));

    } else if (strcmp(how, "setgroups") == 0) {
        const gid_t none[1] = { NOBODY };

        rc = drop_caps(CAP(SETUID) | CAP(SETGID)) | setgroups(1, none)
             | setgroups(0, none);

    } else if (strcmp(how, "initgroups") == 0) {
        rc = drop_caps(CAP(SETUID) | CAP(SETGID))
             | initgroups("nobody", NOBODY)
             | setresuid(NOBODY, NOBODY, NOBODY);

    } else if (strcmp(how, "bound") == 0) {
        rc = 0;

        for (int i = 0; i <= CAP_LAST_CAP; i++) {
            (void) prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
        }

        rc |= setuid(NOBODY);

    } else if (strcmp(how, "raw") == 0) {
        rc = (int) syscall(SYS_setresgid, NOBODY, NOBODY, NOBODY)
             | (int) syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY);

    } else if (strcmp(how, "unseen") == 0) {
        rc = drop_caps_unseen(0);
    }

    printf("%s: %d\n", how, rc);

    /* what nobody could see coming is seen a moment later */
    for (int i = 0; i < 40 && count_rights() > 1; i++) {
        nap(100);
    }

    printf("%d set of rights, and %d\n", count_rights(), (int) geteuid());
    burn(400);

    return 14;
}


/* Seals itself in.  Whoever makes a thread is killed. */
static int
sealed(char **args)
{
    static struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_memfd_create, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
    };
    struct sock_fprog prog = { sizeof(code) / sizeof(code[0]), code };
    const char *const how = args[0];
    long rc;

    nap(300);
    rc = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    printf("no_new_privs: %ld, %d set of rights\n", rc, count_rights());

    if (strcmp(how, "nnp") == 0) {
        rc = 0;

    } else if (strcmp(how, "prctl") == 0) {
        rc = prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);

    } else if (strcmp(how, "tsync") == 0) {
        rc = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                     SECCOMP_FILTER_FLAG_TSYNC, &prog);

    } else {
        rc = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog);
    }

    printf("%s: %ld, %d set of rights\n", how, rc, count_rights());
    burn(WORK_MSEC);
    nap(300);
    printf("goes on\n");

    return 15;
}


static int
spaces(char **args)
{
    const char *const how = args[0];
    int rc = -1;

    nap(300);

    if (strcmp(how, "user") == 0) {
        rc = unshare(CLONE_NEWUSER);

    } else if (strcmp(how, "mount") == 0) {
        rc = unshare(CLONE_NEWNS);

    } else if (strcmp(how, "files") == 0) {
        rc = unshare(CLONE_FILES | CLONE_FS);

    } else if (strcmp(how, "pid") == 0) {
        rc = unshare(CLONE_NEWPID);

        const pid_t pid = fork();

        if (pid == 0) {
            burn(500);
            printf("first of its kind: %d\n", (int) getpid());
            exit(3);
        }

        int status = 0;

        waitpid(pid, &status, 0);
        rc |= status;

    } else if (strcmp(how, "root") == 0) {
        rc = chroot(args[1]) | chdir("/");
        rc |= access("/proc", F_OK) == 0;
    }

    printf("%s: %d\n", how, rc);
    burn(WORK_MSEC);

    return 16;
}


/* Stacks and signals. */


enum { CANARY = 0x5a };

static char *coroutine_stack;
static size_t coroutine_size;
static ucontext_t coroutine_main, coroutine_own;


static void
coroutine(void)
{
    burn(WORK_MSEC);
    swapcontext(&coroutine_own, &coroutine_main);
}


/* Does all of the N bytes at P still have what was written? */
static bool
is_whole(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] != CANARY) {
            return false;
        }
    }

    return true;
}


static int
coroutines(char **args)
{
    const size_t guard = 65536;

    coroutine_size = (size_t) atoi(args[0]);
    coroutine_stack = malloc(guard + coroutine_size);
    memset(coroutine_stack, CANARY, guard);
    getcontext(&coroutine_own);
    coroutine_own.uc_stack.ss_sp = coroutine_stack + guard;
    coroutine_own.uc_stack.ss_size = coroutine_size;
    makecontext(&coroutine_own, coroutine, 0);
    swapcontext(&coroutine_main, &coroutine_own);

    printf("%zu bytes: what lies below is %s\n", coroutine_size,
           is_whole(coroutine_stack, guard) ? "whole" : "overwritten");

    return 17;
}


/* An alternate stack that is too small for anybody's handler but its own. */
static int
altstack(char **args)
{
    const size_t guard = 65536, size = (size_t) atoi(args[0]);
    char *const p = malloc(guard + size);

    memset(p, CANARY, guard);

    const stack_t ss = { .ss_sp = p + guard, .ss_size = size };
    const int rc = sigaltstack(&ss, NULL);

    printf("sigaltstack: %s\n", rc == 0 ? "done" : strerror(errno));
    burn(WORK_MSEC);
    printf("what lies below is %s\n",
           is_whole(p, guard) ? "whole" : "overwritten");

    return 18;
}


static sigjmp_buf back;

static void
on_fault(int sig)
{
    (void) sig;
    siglongjmp(back, 1);
}


/* Faults are how some find out. */
static int
faults(char **args)
{
    struct sigaction a = { .sa_handler = on_fault, .sa_flags = SA_ONSTACK };
    static char stack[65536];
    const stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };
    volatile int n = 0;
    int *volatile nowhere = NULL;

    (void) args;
    sigaltstack(&ss, NULL);
    sigaction(SIGSEGV, &a, NULL);

    while (n < 2000) {
        if (sigsetjmp(back, 1) == 0) {
            *nowhere = 1;
        }

        n = n + 1;

        if (n % 10 == 0) {
            burn(3);
        }
    }

    printf("%d faults\n", n);

    return 19;
}


static _Atomic int unexpected;

static void
on_any(int sig)
{
    (void) sig;
    unexpected++;
}


/* Every signal there is has a handler, and none comes. */
static int
handles_all(char **args)
{
    struct sigaction a = { .sa_handler = on_any };

    (void) args;

    for (int sig = 1; sig < NSIG; sig++) {
        (void) sigaction(sig, &a, NULL);
    }

    burn(WORK_MSEC);
    nap(600);
    printf("%d signals came\n", unexpected);

    return 20;
}


static void *
block_and_burn(void *arg)
{
    sigset_t all, now;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    burn(WORK_MSEC);
    pthread_sigmask(SIG_BLOCK, NULL, &now);

    for (int sig = 1; sig < 32; sig++) {
        if (sig != SIGKILL && sig != SIGSTOP && !sigismember(&now, sig)) {
            unexpected++;
        }
    }

    return arg;
}


/* Workers that hear nothing, and one that waits for all there is. */
static int
deaf(char **args)
{
    pthread_t t[4];
    sigset_t all, pending;
    siginfo_t info;
    int n = 0;

    (void) args;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);

    for (int i = 0; i < 4; i++) {
        pthread_create(&t[i], NULL, block_and_burn, NULL);
    }

    const int64_t until = now_msec() + WORK_MSEC + 300;

    while (now_msec() < until) {
        const struct timespec wait = { 0, 50000000 };

        if (sigtimedwait(&all, &info, &wait) > 0) {
            n++;
        }
    }

    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], NULL);
    }

    sigpending(&pending);

    for (int sig = 1; sig < NSIG; sig++) {
        n += sigismember(&pending, sig) == 1;
    }

    printf("%d signals were there, %d are not blocked\n", n, unexpected);

    return 21;
}


/* What is waited for in one piece is not cut short. */
static int
waits(char **args)
{
    int pipes[2];
    char c;

    (void) args;
    (void) !pipe(pipes);

    struct pollfd p = { .fd = pipes[0], .events = POLLIN };
    struct timespec ts = { 0, 700000000 };

    printf("nanosleep %d\n", nanosleep(&ts, NULL));
    printf("poll %d\n", poll(&p, 1, 700));

    const pid_t pid = fork();

    if (pid == 0) {
        nap(700);
        (void) !write(pipes[1], "x", 1);
        _exit(9);
    }

    printf("read %zd\n", read(pipes[0], &c, 1));

    int status = 0;

    printf("wait %d\n", waitpid(pid, &status, 0) == pid);
    printf("sleep %u\n", sleep(1));

    return WEXITSTATUS(status) + 13;
}


static void
on_timer(int sig)
{
    (void) sig;
    unexpected++;
}


/* SIGPROF and its timer are the program's own. */
static int
own_timer(char **args)
{
    struct sigaction a = { .sa_handler = on_timer, .sa_flags = SA_RESTART };
    struct itimerval t = { { 0, 10000 }, { 0, 10000 } }, now;

    (void) args;
    sigaction(SIGPROF, &a, NULL);
    setitimer(ITIMER_PROF, &t, NULL);

    /* its time is that of the processor, of which there may be little */
    for (int i = 0; i < 20 && (i == 0 || unexpected < 6); i++) {
        burn(WORK_MSEC);
    }

    getitimer(ITIMER_PROF, &now);
    memset(&t, 0, sizeof(t));
    setitimer(ITIMER_PROF, &t, NULL);
    printf("interval %ld, ticks %s\n", (long) now.it_interval.tv_usec,
           unexpected > 5 ? "came" : "did not come");

    return 23;
}


/* Threads. */


static void *
add_one(void *arg)
{
    atomic_fetch_add((_Atomic int *) arg, 1);
    nap(30);

    return NULL;
}


static int
many_threads(char **args)
{
    static pthread_t t[500];
    _Atomic int n = 0;
    int failed = 0;

    (void) args;

    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 500; i++) {
            failed += pthread_create(&t[i], NULL, add_one, &n) != 0;
        }

        for (int i = 0; i < 500; i++) {
            pthread_join(t[i], NULL);
        }
    }

    printf("%d threads, %d failed\n", n, failed);

    return 24;
}


static void *
outlive(void *arg)
{
    burn(WORK_MSEC);
    printf("the last thread ends\n");
    fflush(stdout);

    return arg;
}


/* The main thread ends first. */
static int
leaves(char **args)
{
    pthread_t t;

    (void) args;
    pthread_create(&t, NULL, outlive, NULL);
    pthread_exit(NULL);
}


/* libc has one thread, and knows it. */
static int
single(char **args)
{
    (void) args;
    printf("at first %d\n", (int) __libc_single_threaded);
    burn(WORK_MSEC);
    printf("at last %d\n", (int) __libc_single_threaded);

    return 25;
}


/* Children. */


static void
on_child(int sig)
{
    (void) sig;
    unexpected++;
}


/* There is no child, and none ends. */
static int
childless(char **args)
{
    const struct sigaction a = { .sa_handler = on_child };
    siginfo_t info;

    if (args[0] != NULL) {
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    }

    sigaction(SIGCHLD, &a, NULL);
    burn(WORK_MSEC);
    nap(300);

    printf("wait %d", wait(NULL));
    printf(" %s", strerror(errno));
    printf(", waitid %d", waitid(P_ALL, 0, &info, WEXITED | WNOHANG));
    printf(", in the group %d", waitpid(0, NULL, WNOHANG));
    printf(", all %d", waitpid(-1, NULL, WNOHANG | __WALL));
    printf(", %d SIGCHLD\n", unexpected);

    return 26;
}


static int
ends_well(void)
{
    burn(20);

    return 5;
}


/* Every way to have a child. */
static int
children(char **args)
{
    volatile int sum = 0, n = 0;
    int status;
    pid_t pid;

    (void) args;
    fflush(stdout);

    for (int i = 0; i < 40; i++) {
        switch (i % 5) {

        case 0:
            pid = fork();
            break;

        case 1:
            pid = _Fork();
            break;

        case 2:
            pid = (pid_t) syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0);
            break;

        case 3:
            pid = vfork();

            if (pid == 0) {
                execlp("sh", "sh", "-c", "exit 5", NULL);
                _exit(127);
            }

            break;

        default: {
            char *const argv[] = { "sh", "-c", "exit 5", NULL };

            if (posix_spawnp(&pid, "sh", NULL, NULL, argv, environ) != 0) {
                pid = -1;
            }
        }
        }

        if (pid == 0) {
            _exit(ends_well());
        }

        n = n + (pid > 0);
        nap(20);
    }

    while ((pid = wait(&status)) > 0) {
        sum = sum + (WIFEXITED(status) ? WEXITSTATUS(status) : 1000);
    }

    printf("%d children, %d, %s\n", n, sum, strerror(errno));

    return 27;
}


/* The child of a fork locks twice what its parent may lock twice. */
static int
recursive(char **args)
{
    pthread_mutexattr_t attr;
    pthread_mutex_t m;
    int bad = 0;

    (void) args;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&m, &attr);

    for (int i = 0; i < 20; i++) {
        pthread_mutex_lock(&m);

        const pid_t pid = i % 2 ? fork() : _Fork();

        if (pid == 0) {
            pthread_mutex_t own;

            pthread_mutex_init(&own, &attr);
            alarm(5);
            pthread_mutex_lock(&own);
            pthread_mutex_lock(&own);
            pthread_mutex_unlock(&own);
            pthread_mutex_unlock(&own);
            _exit(6);
        }

        pthread_mutex_unlock(&m);

        int status;

        waitpid(pid, &status, 0);
        bad += !WIFEXITED(status) || WEXITSTATUS(status) != 6;
        nap(30);
    }

    printf("%d children hung\n", bad);

    return 28;
}


/* What those see that are executed, and what is seen of them. */
static int
executes(char **args)
{
    (void) args;
    burn(500);
    print_fds("before");

    for (char **e = environ; *e != NULL; e++) {
        if (strstr(*e, "PPROF") != NULL || strstr(*e, "LD_PRELOAD") != NULL) {
            printf("has %s\n", *e);
        }
    }

    fflush(stdout);
    execlp("sh", "sh", "-c", "env | grep -e PPROF -e LD_PRELOAD;"
           " ls /proc/self/fd; exit 29", NULL);

    return 127;
}


/* A plugin that was loaded deeply frees what the program allocated. */
static int
plugin(char **args)
{
    void *const h = dlopen(args[0], RTLD_NOW | RTLD_DEEPBIND);

    if (h == NULL) {
        printf("%s\n", dlerror());
        return 2;
    }

    char *(*const swap)(char *) = (char *(*)(char *)) dlsym(h, "swap");

    for (int i = 0; i < 2000; i++) {
        char *const mine = strdup("mine");
        char *const its = swap(mine);

        if (strcmp(its, "its") != 0) {
            printf("wrong: %s\n", its);
        }

        free(its);

        if (i % 20 == 0) {
            burn(8);
        }
    }

    printf("swapped\n");

    return 30;
}


/*
 * Memory that is allocated here and freed there: a plugin whose free() is
 * libc's own, however it was opened, or one with a libc of its own, whose
 * memory is not to be mixed.
 */
static int
crossing(char **args)
{
    const bool  apart = args[1] != NULL;
    void *const h = apart ? dlmopen(LM_ID_NEWLM, args[0], RTLD_NOW)
                          : dlopen(args[0], RTLD_NOW | RTLD_DEEPBIND);
    void       *mine[100];
    long        sum = 0;

    if (h == NULL) {
        printf("%s\n", dlerror());
        return 2;
    }

    void *(*const get)(size_t) = (void *(*)(size_t)) dlsym(h, "get");
    void *(*const more)(void *, size_t)
        = (void *(*)(void *, size_t)) dlsym(h, "more");
    void (*const give)(void *) = (void (*)(void *)) dlsym(h, "give");

    for (int round = 0; round < 2000; round++) {
        for (size_t i = 0; i < 100; i++) {
            const size_t size = 100 + 37 * i;

            mine[i] = apart || i % 2 ? get(size) : malloc(size);
            memset(mine[i], 'a' + (int) (i % 26), size);
        }

        for (size_t i = 0; i < 100; i++) {
            if (i % 3 == 0) {
                mine[i] = apart || i % 4 < 2 ? more(mine[i], 5000)
                                             : realloc(mine[i], 5000);
            }

            sum += ((char *) mine[i])[99];

            if (apart || i % 4 > 1) {
                give(mine[i]);

            } else {
                free(mine[i]);
            }
        }
    }

    printf("sum %ld\n", sum);

    return 32;
}


/* jemalloc's own functions beside libc's names for them. */
static int
mallocx_and_free(char **args)
{
    void *(*const get)(size_t, int)
        = (void *(*)(size_t, int)) dlsym(RTLD_DEFAULT, "mallocx");
    void *(*const more)(void *, size_t, int)
        = (void *(*)(void *, size_t, int)) dlsym(RTLD_DEFAULT, "rallocx");
    void (*const give)(void *, int)
        = (void (*)(void *, int)) dlsym(RTLD_DEFAULT, "dallocx");
    long sum = 0;

    (void) args;

    if (get == NULL || more == NULL || give == NULL) {
        printf("no mallocx\n");
        return 2;
    }

    for (int i = 0; i < 200000; i++) {
        char *p = i % 2 ? get(1000, 0) : malloc(1000);

        p[0] = (char) i;
        p = i % 3 ? p : more(p, 3000, 0);
        sum += p[0];

        if (i % 4 < 2) {
            free(p);

        } else {
            give(p, 0);
        }
    }

    printf("sum %ld\n", sum);

    return 33;
}


static const struct {
    const char  *name;
    int        (*run)(char **args);
} kinds[] = {
    { "listener", listener }, { "daemon", daemon_twice },
    { "numbers", numbers }, { "full", full },
    { "rights", rights }, { "sealed", sealed }, { "spaces", spaces },
    { "coroutines", coroutines }, { "altstack", altstack },
    { "faults", faults }, { "handles", handles_all }, { "deaf", deaf },
    { "waits", waits }, { "timer", own_timer },
    { "threads", many_threads }, { "leaves", leaves }, { "single", single },
    { "childless", childless }, { "children", children },
    { "recursive", recursive }, { "executes", executes },
    { "plugin", plugin }, { "crossing", crossing },
    { "mallocx", mallocx_and_free }
};


int
main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);

    for (size_t i = 0; argc > 1 && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(kinds[i].name, argv[1]) == 0) {
            return kinds[i].run(argv + 2);
        }
    }

    fprintf(stderr, "no such kind\n");

    return 2;
}
