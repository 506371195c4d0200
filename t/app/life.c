/*
 * A stranger's program: does to itself, with libpprof preloaded, what
 * programs do, and says whether all went as ever.
 *
 *     life forks N      forks N children while threads allocate, lock and
 *                       create threads; each does so too, and ends by exit()
 *     life execs N      executes itself N times while it computes
 *     life spawns N     posix_spawn(), vfork() and system(), N times each
 *     life daemon PID   daemon(), writes its number to PID
 *     life user UID     gives up root
 *     life root DIR     chroot()
 *     life exits MSEC   exit(7) in main() while threads compute
 *     life leaves MSEC  pthread_exit() in main(); exit(7) in another thread
 *     life deaf         every thread blocks every signal, and computes
 *     life full         no descriptor is free until SIGUSR1
 *     life embeds SO SPEC
 *                       loads the library itself; at each SIGUSR1 stops it,
 *                       unloads it, says what is left, and starts it again
 *
 * Those that are not told when to end do so at SIGTERM, with status 3.
 */

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pprof.h"


extern char **environ;

static pthread_mutex_t  lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool      finish;
static const char      *self;


static void
fail(const char *what)
{
    printf("%s: %s\n", what, strerror(errno));
    exit(1);
}


static void
spin(long msec)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    const long long end = ts.tv_sec * 1000LL + ts.tv_nsec / 1000000 + msec;

    do {
        clock_gettime(CLOCK_MONOTONIC, &ts);
    } while (ts.tv_sec * 1000LL + ts.tv_nsec / 1000000 < end);
}


static void *
burn(void *arg)
{
    while (!atomic_load(&finish)) {
        __asm__ volatile ("");
    }

    return arg;
}


static void *
end_at_once(void *arg)
{
    return arg;
}


/* Everything that the library looks at. */
static void *
work(void *arg)
{
    while (!atomic_load(&finish)) {
        pthread_t thread;

        free(malloc(3000));
        pthread_mutex_lock(&lock);
        spin(1);
        pthread_mutex_unlock(&lock);

        if (pthread_create(&thread, NULL, end_at_once, NULL) == 0) {
            pthread_join(thread, NULL);
        }
    }

    return arg;
}


static void
start_threads(void *(*run)(void *), int n)
{
    while (n-- > 0) {
        pthread_t thread;

        if (pthread_create(&thread, NULL, run, NULL) != 0) {
            fail("pthread_create");
        }

        pthread_detach(thread);
    }
}


static int
wait_for_end(void)
{
    sigset_t set;
    int signo;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigwait(&set, &signo);

    return 3;
}


static void
live_as_child(void)
{
    /* a hang is an end by SIGALRM */
    alarm(20);

    pthread_mutex_init(&lock, NULL);

    pthread_t thread;

    if (pthread_create(&thread, NULL, work, NULL) != 0) {
        fail("pthread_create in a child");
    }

    spin(3);
    atomic_store(&finish, true);
    pthread_join(thread, NULL);

    exit(5);
}


static int
forks(int n)
{
    start_threads(work, 3);

    for (int i = 0; i < n; i++) {
        int status;
        const pid_t pid = fork();

        if (pid == 0) {
            live_as_child();
        }

        if (pid == -1 || waitpid(pid, &status, 0) != pid) {
            fail("fork");
        }

        if (!WIFEXITED(status) || WEXITSTATUS(status) != 5) {
            printf("child %d of %d: status %#x\n", i, n, (unsigned) status);
            return 1;
        }
    }

    printf("%d children\n", n);

    return 3;
}


static int
execs(int n)
{
    char number[16];

    start_threads(burn, 1);
    spin(300);

    if (n == 0) {
        puts("executed");
        return 3;
    }

    snprintf(number, sizeof(number), "%d", n - 1);
    execl(self, self, "execs", number, (char *) NULL);
    fail("exec");

    return 1;
}


static void
expect(const char *what, pid_t pid, int wanted)
{
    int status;

    if (pid == -1 || waitpid(pid, &status, 0) != pid) {
        fail(what);
    }

    if (!WIFEXITED(status) || WEXITSTATUS(status) != wanted) {
        printf("%s: status %#x\n", what, (unsigned) status);
        exit(1);
    }
}


static int
spawns(int n)
{
    char *const args[] = { "sh", "-c", "exit 4", NULL };

    start_threads(work, 2);

    for (int i = 0; i < n; i++) {
        pid_t pid;

        if (posix_spawn(&pid, "/bin/sh", NULL, NULL, args, environ) != 0) {
            fail("posix_spawn");
        }

        expect("posix_spawn", pid, 4);
        pid = vfork();

        if (pid == 0) {
            execv("/bin/sh", args);
            _exit(1);
        }

        expect("vfork", pid, 4);

        if (system("exit 6") != 6 << 8) {
            fail("system");
        }
    }

    printf("%d of each\n", n);

    return 3;
}


static int
go_daemon(const char *file)
{
    if (daemon(1, 0) == -1) {
        fail("daemon");
    }

    FILE *f = fopen(file, "w");

    if (f == NULL || fprintf(f, "%d", (int) getpid()) < 0 || fclose(f) != 0) {
        fail(file);
    }

    start_threads(burn, 1);

    return wait_for_end();
}


/* When the library has begun to listen, or after DELAY ms: who knows. */
static int
change(long delay, const char *user, const char *root)
{
    usleep((useconds_t) delay * 1000);
    start_threads(work, 2);

    if (root != NULL && (chroot(root) == -1 || chdir("/") == -1)) {
        fail("chroot");
    }

    if (user != NULL
        && (setgroups(0, NULL) == -1 || setgid((gid_t) atoi(user)) == -1
            || setuid((uid_t) atoi(user)) == -1))
    {
        fail("setuid");
    }

    puts("changed");
    fflush(stdout);

    return wait_for_end();
}


static void *
exit_here(void *arg)
{
    spin((long) (intptr_t) arg);
    exit(7);
}


static int
deaf(void)
{
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    start_threads(burn, 2);

    return wait_for_end();
}


static int
full(void)
{
    struct rlimit limit = { 64, 64 };
    int fds[64], n = 0, signo;
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    setrlimit(RLIMIT_NOFILE, &limit);
    start_threads(burn, 1);

    /* the library first, then all that are left */
    usleep(500000);

    while (n < 64 && (fds[n] = open("/dev/null", O_RDONLY)) != -1) {
        n++;
    }

    printf("full: %s\n", strerror(errno));
    fflush(stdout);
    sigwait(&set, &signo);

    while (n-- > 0) {
        close(fds[n]);
    }

    return wait_for_end();
}


static int
count(const char *path)
{
    DIR *d = opendir(path);
    int n = 0;

    while (d != NULL && readdir(d) != NULL) {
        n++;
    }

    closedir(d);

    /* less ".", ".." and, among descriptors, this one */
    return n - 2 - (strstr(path, "fd") != NULL);
}


/* Every line of FILE behind NAME; of a mapping only where it is. */
static void
list(const char *name, const char *file, bool maps)
{
    FILE *f = fopen(file, "r");
    char line[512];

    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        /* malloc's own, which may grow */
        if (maps && strstr(line, "[heap]") != NULL) {
            continue;
        }

        printf("%s %s", name, line);
    }

    if (f != NULL) {
        fclose(f);
    }
}


/* Everything that a library could leave behind. */
static void
say_what_is_left(const char *end)
{
    printf("threads %d\ndescriptors %d\n", count("/proc/self/task"),
           count("/proc/self/fd"));
    list("timer", "/proc/self/timers", false);
    list("map", "/proc/self/maps", true);
    printf("signal %s\n%s\n",
           signal(SIGPROF, SIG_DFL) == SIG_DFL ? "free" : "taken", end);
    fflush(stdout);
}


static int
embeds(const char *library, const char *spec)
{
    sigset_t set;
    int signo;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    start_threads(burn, 1);

    for ( ;; ) {
        void *so = dlopen(library, RTLD_NOW | RTLD_LOCAL);
        int (*start)(const char *, const struct pprof_options *);
        void (*stop)(void);

        if (so == NULL) {
            printf("%s\n", dlerror());
            return 1;
        }

        say_what_is_left("loaded");
        *(void **) &start = dlsym(so, "pprof_start");
        *(void **) &stop = dlsym(so, "pprof_stop");

        if (start(spec, NULL) == -1) {
            fail("pprof_start");
        }

        puts("started");
        fflush(stdout);
        sigwait(&set, &signo);
        stop();

        if (dlclose(so) != 0) {
            printf("dlclose: %s\n", dlerror());
            return 1;
        }

        say_what_is_left("stopped");

        if (signo == SIGTERM) {
            return 3;
        }
    }
}


int
main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    const char *arg = argc > 2 ? argv[2] : "0";
    sigset_t set;

    /* not by its default action, which no exit handler sees */
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    self = argv[0];

    if (strcmp(mode, "forks") == 0) {
        return forks(atoi(arg));
    }

    if (strcmp(mode, "execs") == 0) {
        return execs(atoi(arg));
    }

    if (strcmp(mode, "spawns") == 0) {
        return spawns(atoi(arg));
    }

    if (strcmp(mode, "daemon") == 0) {
        return go_daemon(arg);
    }

    if (strcmp(mode, "user") == 0) {
        return change(argc > 3 ? atoi(argv[3]) : 500, arg, NULL);
    }

    if (strcmp(mode, "root") == 0) {
        return change(500, NULL, arg);
    }

    if (strcmp(mode, "exits") == 0) {
        start_threads(work, 2);
        spin(atoi(arg));
        exit(7);
    }

    if (strcmp(mode, "leaves") == 0) {
        pthread_t thread;

        start_threads(work, 2);
        pthread_create(&thread, NULL, exit_here, (void *) (intptr_t) atoi(arg));
        pthread_exit(NULL);
    }

    if (strcmp(mode, "deaf") == 0) {
        return deaf();
    }

    if (strcmp(mode, "full") == 0) {
        return full();
    }

    if (strcmp(mode, "embeds") == 0 && argc == 4) {
        return embeds(argv[2], argv[3]);
    }

    return 2;
}
