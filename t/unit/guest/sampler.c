/*
 * guest/sampler.c: its sums against the kernel's, and what it leaves behind.
 */

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest/sampler.c"
#include "tap.h"


/* What the rows of a profile sum up to. */
struct seen {
    uint64_t  total;
    uint64_t  blocked;
    uint64_t  unseen;
    uint64_t  named;                    /* in threads named WANTED */
    uint64_t  burning;                  /* with burn() in the stack */
    uint64_t  strange;                  /* with one frame or none */
    char      wanted[16];
};

static _Thread_local volatile uint64_t sink;
static _Atomic bool finish;


/* Computes until the thread has used NSEC more of CPU time. */
__attribute__((noinline)) static void
burn(uint64_t nsec)
{
    uint64_t end = pprof_clock(CLOCK_THREAD_CPUTIME_ID) + nsec;

    while (pprof_clock(CLOCK_THREAD_CPUTIME_ID) < end) {
        for (int i = 0; i < 20000; i++) {
            sink = sink * 3 + 1;
        }
    }
}


static void
collect(void *arg, const struct pprof_sampler_row *sample)
{
    struct seen *seen = arg;

    seen->total += sample->count;

    if (strcmp(sample->thread, seen->wanted) == 0) {
        seen->named += sample->count;
    }

    if (sample->lost != NULL) {
        if (strcmp(sample->lost, "signal blocked") == 0) {
            seen->blocked += sample->count;

        } else {
            seen->unseen += sample->count;
        }

        return;
    }

    seen->strange += sample->depth < 2 ? sample->count : 0;

    for (size_t i = 0; i < sample->depth; i++) {
        if (sample->pcs[i] - (uintptr_t) burn < 256) {
            seen->burning += sample->count;
            break;
        }
    }
}


static void *
burn_long(void *arg)
{
    (void) arg;

    pthread_setname_np(pthread_self(), "long");
    burn(1200000000);

    return NULL;
}


static void *
burn_short(void *arg)
{
    burn((uint64_t) (uintptr_t) arg);

    return NULL;
}


static uint64_t
kernel_cpu(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);

    return (uint64_t) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
           * 1000000000
           + (uint64_t) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec)
             * 1000;
}


static void
accuracy(unsigned hz)
{
    struct seen                  seen = { .wanted = "long" };
    struct pprof_sampler_result  result;
    pthread_t                    threads[2], brief;

    uint64_t before = kernel_cpu() - pprof_own_cpu();

    if (!ok(pprof_sampler_start(hz, false) == 0, "%u Hz: start", hz)) {
        return;
    }

    for (int i = 0; i < 2; i++) {
        pthread_create(&threads[i], NULL, burn_long, NULL);
    }

    for (int i = 0; i < 20; i++) {
        pthread_create(&brief, NULL, burn_short,
                       (void *) (uintptr_t) (60000000 + i * 1000000));
        pthread_join(brief, NULL);
    }

    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }

    uint64_t cpu = kernel_cpu() - pprof_own_cpu() - before;

    pprof_sampler_stop(collect, &seen, &result);

    double told = (double) (result.samples * result.period);
    double off = 100 * (told / (double) cpu - 1);

    ok(off > -2 && off < 2,
       "%u Hz: %.3f s by samples, %.3f s by the kernel: %+.2f %%", hz,
       told / 1e9, (double) cpu / 1e9, off);
    ok(seen.total == result.samples + result.lost
       && (double) seen.unseen * (double) result.period < 0.02 * (double) cpu,
       "%u Hz: %lu of %lu periods without a stack", hz, result.lost,
       seen.total);
    ok(seen.burning * 100 > result.samples * 97 && seen.strange == 0,
       "%u Hz: all stacks lead to where the time went", hz);
    ok((double) seen.named * (double) result.period > 2.3e9
       && (double) seen.named * (double) result.period < 2.5e9,
       "%u Hz: 2.4 s in threads of that name: %.3f", hz,
       (double) seen.named * (double) result.period / 1e9);
    ok(result.threads >= 22, "%u Hz: %zu threads seen", hz, result.threads);
}


/* Threads of 3 ms each, less than a period, more than a scan. */
static void
brief_threads(void)
{
    struct seen                  seen = { 0 };
    struct pprof_sampler_result  result;
    pthread_t                    thread;

    uint64_t before = kernel_cpu() - pprof_own_cpu();

    pprof_sampler_start(100, false);

    for (int i = 0; i < 300; i++) {
        pthread_create(&thread, NULL, burn_short, (void *) 3000000);
        pthread_join(thread, NULL);
    }

    uint64_t cpu = kernel_cpu() - pprof_own_cpu() - before;

    pprof_sampler_stop(collect, &seen, &result);

    double told = (double) (seen.total * result.period);

    ok(told > 0.7 * (double) cpu && told < 1.3 * (double) cpu
       && seen.unseen > 0,
       "300 threads of 3 ms: %.2f s told, of these %.2f s as unseen; "
       "kernel %.2f s", told / 1e9,
       (double) (seen.unseen * result.period) / 1e9, (double) cpu / 1e9);
}


static void *
burn_blocked(void *arg)
{
    sigset_t all;

    (void) arg;

    pthread_setname_np(pthread_self(), "blocked");
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    burn(800000000);

    return NULL;
}


static void *
sleep_long(void *arg)
{
    struct timespec pause = { 0, 20000000 };
    bool           *failed = arg;

    while (!finish) {
        if (nanosleep(&pause, NULL) != 0) {
            *failed = true;
        }
    }

    return NULL;
}


static void
blocked(void)
{
    struct seen                  seen = { .wanted = "blocked" };
    struct pprof_sampler_result  result;
    pthread_t                    thread, sleeper;
    bool                         failed = false;

    finish = false;
    pthread_create(&sleeper, NULL, sleep_long, &failed);
    pprof_sampler_start(100, false);
    pthread_create(&thread, NULL, burn_blocked, NULL);
    pthread_join(thread, NULL);
    pprof_sampler_stop(collect, &seen, &result);
    finish = true;
    pthread_join(sleeper, NULL);

    ok(seen.blocked > 60 && seen.blocked < 90,
       "a thread that blocks all signals: %lu of 80 periods, as such",
       seen.blocked);
    ok(result.samples < 5, "and none is charged to others: %lu",
       result.samples);
    ok(!failed, "a thread that sleeps is not woken");
}


static void *
burn_until(void *arg)
{
    sigset_t all, none;

    (void) arg;

    sigfillset(&all);
    sigemptyset(&none);

    while (!finish) {
        pthread_sigmask(SIG_SETMASK, &all, NULL);
        burn(3000000);
        pthread_sigmask(SIG_SETMASK, &none, NULL);
    }

    return NULL;
}


/* Late signals must not find the default action, which ends the program. */
static void
start_and_stop(void)
{
    pthread_t threads[3];
    unsigned  good = 0;

    finish = false;
    for (int i = 0; i < 3; i++) {
        pthread_create(&threads[i], NULL, burn_until, NULL);
    }

    for (int i = 0; i < 150; i++) {
        struct timespec pause = { 0, 1000000 + i % 7 * 1000000 };

        good += pprof_sampler_start(1000, i % 10 == 0) == 0;
        nanosleep(&pause, NULL);
        good += pprof_sampler_stop(NULL, NULL, NULL) == 0;
    }

    finish = true;
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }

    ok(good == 300, "150 profiles start and stop while signals are pending");
}


static volatile sig_atomic_t theirs;

static void
on_their_signal(int signo)
{
    theirs = signo;
}


static void
taken(void)
{
    struct pprof_sampler_result  result;
    struct seen                  seen = { 0 };
    struct sigaction             action = { .sa_handler = on_their_signal };
    struct sigaction             now;

    sigaction(PPROF_SIGNAL, &action, NULL);
    pprof_sampler_start(1000, false);
    burn(200000000);
    raise(PPROF_SIGNAL);
    pprof_sampler_stop(collect, &seen, &result);

    ok(result.signo != PPROF_SIGNAL && result.signo > SIGRTMIN,
       "the signal is taken: signal %d instead", result.signo);
    ok(theirs == PPROF_SIGNAL, "the program's own still arrives");
    ok(result.samples > 150, "and so do samples: %lu", result.samples);
    sigaction(result.signo, NULL, &now);
    ok(now.sa_handler == SIG_DFL, "the signal is given back");

    signal(PPROF_SIGNAL, SIG_DFL);
    pprof_sampler_start(1000, false);
    sigaction(PPROF_SIGNAL, &action, NULL);
    burn(200000000);
    pprof_sampler_stop(NULL, NULL, &result);
    ok(result.taken, "the program takes it meanwhile: told");
    sigaction(PPROF_SIGNAL, NULL, &now);
    ok(now.sa_handler == on_their_signal, "and left to it");
    signal(PPROF_SIGNAL, SIG_DFL);
}


__attribute__((unused)) static void
forks(void)
{
    struct seen                  seen = { 0 };
    struct pprof_sampler_result  result;
    int                          status;

    pprof_sampler_start(250, false);
    burn(200000000);

    pid_t pid = fork();

    if (pid == 0) {
        alarm(10);
        pprof_own_child();
        pprof_cfi_child();
        pprof_sampler_child();

        struct sigaction now;
        sigaction(PPROF_SIGNAL, NULL, &now);

        bool good = !pprof_sampler_running() && now.sa_handler == SIG_DFL
                    && pprof_sampler_start(250, false) == 0;
        burn(200000000);
        good = good && pprof_sampler_stop(collect, &seen, &result) == 0
               && result.samples > 40 && result.samples < 60;
        _exit(good ? 0 : 1);
    }

    waitpid(pid, &status, 0);
    burn(200000000);
    pprof_sampler_stop(collect, &seen, &result);

    ok(WIFEXITED(status) && WEXITSTATUS(status) == 0,
       "a child of fork has its own profile: status %#x", status);
    ok(result.samples > 90 && result.samples < 112,
       "and the parent's goes on: %lu samples for 0.4 s", result.samples);
}


static void
wall(void)
{
    struct seen                  seen = { 0 };
    struct pprof_sampler_result  result;
    struct timespec              pause = { 0, 500000000 };

    pprof_sampler_start(100, true);
    while (nanosleep(&pause, &pause) == -1) { /* void */ }
    pprof_sampler_stop(collect, &seen, &result);

    ok(result.samples >= 45 && result.samples <= 60,
       "wall time: %lu samples of a thread that sleeps 0.5 s",
       result.samples);
}


/* Lines of FILE. */
static int
count_lines(const char *file)
{
    FILE *f = fopen(file, "r");
    int   n = 0;

    for (int c; (c = getc(f)) != EOF; /* void */ ) {
        n += c == '\n';
    }

    fclose(f);

    return n;
}


int
main(void)
{
    signal(PPROF_SIGNAL, SIG_DFL);

    ok(pprof_sampler_stop(NULL, NULL, NULL) == -1 && errno == ESRCH,
       "none to stop");
    ok(pprof_sampler_start(1001, false) == -1 && errno == EINVAL,
       "too many Hz");
    ok(pprof_sampler_start(0, false) == 0 && pprof_sampler_running(),
       "start");
    ok(pprof_sampler_start(0, false) == -1 && errno == EALREADY,
       "a second one is refused");
    pprof_sampler_stop(NULL, NULL, NULL);

    /* libc keeps stacks of threads that ended; have them first */
    accuracy(100);
    int maps = count_lines("/proc/self/maps");

    accuracy(250);
    accuracy(1000);
    brief_threads();
    blocked();
    start_and_stop();
    taken();
#if defined(__SANITIZE_THREAD__)
    skip("a child of fork", "the sanitizer forbids threads there");
#else
    forks();
#endif
    wall();

    int fd = dup(0);
    ok(fd == 3, "no descriptor is left: %d", fd);
    close(fd);

    pprof_cfi_clear();
    int left = count_lines("/proc/self/maps");
    ok(left <= maps + 6, "no mapping is left: %d before, %d after", maps,
       left);

    return done_testing();
}
