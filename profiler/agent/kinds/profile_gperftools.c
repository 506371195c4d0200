/*
 * CPU profiles by gperftools' profiler, for those who ask for it:
 * PPROF_CPU_ENGINE=gperftools.
 *
 * ProfilerStart() wants a file and aborts the program when the disk is full,
 * so it gets a memfd.  It is found in the program, or opened when the first
 * profile is asked for: an idle program does not carry it.
 *
 * Two things of it cannot be helped entirely.  Its descriptor is open without
 * close-on-exec from its open() until we find it, some microseconds: a fork()
 * and exec() in between hands it to the new program.  And a fork() while it
 * runs copies it to the child, whose exit() writes the child's table to it;
 * the child therefore gets another file there, see drop_in_child().
 */

#include "kinds/engine.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "encode/legacy.h"
#include "kinds/life.h"


struct library {
    int   (*start)(const char *file);
    void  (*stop)(void);
};


/* The one profile that can run.  Under the capture lock. */
static struct {
    struct library  engine;         /* .start NULL: not looked for yet */
    bool            running;
    bool            inherited;      /* by fork(): the engine believes that it
                                       runs, in a process without its timer */
    int             fd;             /* the memfd; ours */
    int             engine_fd;      /* the memfd; the engine's, or -1 */
    int64_t         cpu_nanos;      /* the process's CPU time at the start */
} run = { .fd = -1, .engine_fd = -1 };


static int64_t
nanos(clockid_t clock)
{
    return (int64_t) pprof_clock(clock);
}


/*
 * The child of a fork() while a profile runs: what it writes at its exit must
 * not end up in its parent's profile.  A memfd again, since there may be no
 * /dev/null.
 */
static void
drop_in_child(void)
{
    if (!run.running) {
        return;
    }

    const int sink = memfd_create("pprof-child", MFD_CLOEXEC);

    if (run.engine_fd != -1) {
        if (sink == -1 || dup3(sink, run.engine_fd, O_CLOEXEC) == -1) {
            close(run.engine_fd);
        }
    }

    if (sink != -1) {
        close(sink);
    }

    close(run.fd);

    run.running = false;
    run.inherited = true;
    run.fd = -1;
    run.engine_fd = -1;
}


static void stop_at_exit(void);


/* Returns 0, or -1 when there is no such library. */
static int
find_engine(void)
{
    if (run.engine.start != NULL) {
        return 0;
    }

    void *handle = RTLD_DEFAULT;

    if (dlsym(handle, "ProfilerStart") == NULL) {
        handle = dlopen("libprofiler.so.0", RTLD_NOW | RTLD_LOCAL);
    }

    if (handle == NULL && (handle = dlopen("libprofiler.so",
                                           RTLD_NOW | RTLD_LOCAL)) == NULL)
    {
        return -1;
    }

    int (*const start)(const char *)
        = (int (*)(const char *)) dlsym(handle, "ProfilerStart");
    void (*const stop)(void) = (void (*)(void)) dlsym(handle, "ProfilerStop");

    if (start == NULL || stop == NULL || atexit(stop_at_exit) != 0) {
        return -1;
    }

    run.engine.start = start;
    run.engine.stop = stop;

    return 0;
}


/*
 * Finds the descriptor that the engine opened: the other one that leads to
 * FD's file.  Sets close-on-exec.  Returns -1 when it cannot be found.
 */
static int
find_engine_fd(int fd)
{
    DIR *const dir = opendir("/proc/self/fd");
    struct stat mine, st;
    struct dirent *e;
    int found = -1;

    if (dir == NULL) {
        return -1;
    }

    fstat(fd, &mine);

    while (found == -1 && (e = readdir(dir)) != NULL) {
        char *end;
        const long n = strtol(e->d_name, &end, 10);

        if (*end == '\0' && end != e->d_name && n != fd && n != dirfd(dir)
            && fstat((int) n, &st) == 0 && st.st_dev == mine.st_dev
            && st.st_ino == mine.st_ino)
        {
            found = (int) n;
            fcntl(found, F_SETFD, FD_CLOEXEC);
        }
    }

    closedir(dir);

    return found;
}


/* What the kernel holds for SIGPROF; libc's sigaction() hides the restorer. */
struct kernel_sigaction {
    void      *handler;
    uint64_t   flags;
    void      *restorer;
    uint64_t   mask;
};


static void
sigprof(struct kernel_sigaction *act)
{
    memset(act, 0, sizeof(struct kernel_sigaction));

#ifdef __x86_64__
    syscall(SYS_rt_sigaction, SIGPROF, NULL, act, sizeof(act->mask));
#else
    struct sigaction sa;

    if (sigaction(SIGPROF, NULL, &sa) == 0) {
        act->handler = (void *) sa.sa_handler;
    }
#endif
}


/*
 * Does SIGPROF lead to the engine?  When it was taken before the engine was
 * loaded, ProfilerStart() says yes and records nothing.
 */
static bool
engine_has_signal(void)
{
    struct kernel_sigaction act;
    Dl_info handler, engine;

    sigprof(&act);

    return dladdr(act.handler, &handler) != 0
           && dladdr((void *) run.engine.start, &engine) != 0
           && handler.dli_fbase == engine.dli_fbase;
}


/*
 * ProfilerStop() says "PROFILE: interrupts/evictions/bytes" on stderr, and
 * there is no switch.  While it runs, stderr is a stream that drops what its
 * thread writes and passes everything else on to the real one.  That stream
 * is made once and never closed: another thread may still hold the pointer.
 */
static FILE *real_stderr;
static _Thread_local bool is_stopping;


static ssize_t
pass_on(void *cookie, const char *data, size_t len)
{
    (void) cookie;

    return is_stopping ? (ssize_t) len
                       : (ssize_t) fwrite(data, 1, len, real_stderr);
}


static void
stop_silently(void)
{
    static FILE *filter;

    if (filter == NULL) {
        filter = fopencookie(NULL, "w", (cookie_io_functions_t) {
            .write = pass_on
        });

        if (filter != NULL) {
            setvbuf(filter, NULL, _IONBF, 0);
        }
    }

    if (filter == NULL) {
        run.engine.stop();
        return;
    }

    real_stderr = stderr;
    is_stopping = true;
    stderr = filter;

    run.engine.stop();

    stderr = real_stderr;
    is_stopping = false;
}


static void
close_run(void)
{
    close(run.fd);
    run.fd = -1;
    run.engine_fd = -1;
    run.running = false;
}


/*
 * The program, or a child that was forked meanwhile, exits while a profile
 * runs.  The engine would stop by itself a moment later, and say so on
 * stderr.
 */
static void
stop_at_exit(void)
{
    pprof_capture_lock(pprof_target_self());

    if (run.running) {
        stop_silently();
        close_run();

    } else if (run.inherited) {
        stop_silently();
        run.inherited = false;
    }

    pprof_capture_unlock(pprof_target_self());
}


static int
start(struct pprof_job *job)
{
    const struct pprof_ask *const ask = &job->ask;
    struct pprof_answer *const a = &job->answer;

    char path[32];

    if (ask->hz != 0 || ask->wall) {
        pprof_answer_error(a, 400, "gperftools' profiler knows neither hz nor "
                           "wall; its rate is CPUPROFILE_FREQUENCY");
        return -1;
    }

    if (find_engine() == -1) {
        pprof_answer_error(a, 501, "libprofiler.so.0 is not to be found; "
                           "install gperftools (Debian: libgoogle-perftools4)");
        return -1;
    }

    if (run.inherited) {
        stop_silently();
        run.inherited = false;
    }

    run.fd = memfd_create("pprof", MFD_CLOEXEC);

    if (run.fd == -1) {
        pprof_answer_error(a, 503, "no file for the profile: %s; retry when "
                           "the program has fewer open",
                           strerrordesc_np(errno));
        return -1;
    }

    snprintf(path, sizeof(path), "/proc/self/fd/%d", run.fd);

    run.cpu_nanos = nanos(CLOCK_PROCESS_CPUTIME_ID);

    if (run.engine.start(path) == 0) {
        close_run();
        pprof_answer_error(a, 503, "gperftools' profiler did not start: the "
                           "program profiles itself, cannot open %s, or has "
                           "no descriptor left", path);
        return -1;
    }

    run.engine_fd = find_engine_fd(run.fd);
    run.running = true;

    if (!engine_has_signal()) {
        stop_silently();
        close_run();
        pprof_answer_error(a, 501, "SIGPROF belongs to the program itself, so "
                           "its CPU time cannot be sampled by gperftools");
        return -1;
    }

    return 0;
}


/*
 * Returns the first caller of S that is the program's.  Above the interrupted
 * address stand the engine's handler, the signal's return to the kernel, and
 * the interrupted address once more.
 */
static size_t
first_caller(const struct pprof_sample *s, const struct pprof_map *engine,
    const struct pprof_maps *maps, uintptr_t restorer)
{
    size_t first = 1;

    for (size_t i = 1; engine != NULL && i < s->depth; i++) {
        if (pprof_maps_find(maps, s->pcs[i]) == engine) {
            first = i + 1;
        }
    }

    if (first < s->depth && restorer != 0 && s->pcs[first] + 1 == restorer) {
        first++;
    }

    if (first < s->depth
        && (s->pcs[first] == s->pcs[0] || s->pcs[first] + 1 == s->pcs[0]))
    {
        first++;
    }

    return first;
}


/* Copies FROM's samples to P, without the engine's own frames. */
static void
copy_samples(struct pprof_profile *p, const struct pprof_profile *from,
    const struct pprof_maps *maps, uintptr_t restorer)
{
    enum { DEPTH_MAX = 512 };
    const struct pprof_map *engine
        = pprof_maps_find(maps, (uintptr_t) run.engine.start);
    uintptr_t pcs[DEPTH_MAX];

    if (engine == &maps->maps[0]) {
        engine = NULL;  /* linked into the program: not to be told apart */
    }

    for (size_t i = 0; i < from->nsamples; i++) {
        const struct pprof_sample *s = &from->samples[i];
        size_t n = 0;

        if (s->depth == 0) {
            continue;
        }

        pcs[n++] = s->pcs[0];

        for (size_t k = first_caller(s, engine, maps, restorer);
             k < s->depth && n < DEPTH_MAX;
             k++)
        {
            pcs[n++] = s->pcs[k] + 1;   /* is lowered again */
        }

        pprof_profile_sample(p, pcs, n, true, s->values, NULL, 0);
    }
}


/* Fills P from the file the engine wrote.  Returns 0, or -1 and errno. */
static int
read_engine_file(struct pprof_profile *p, const struct pprof_maps *maps,
    uintptr_t restorer)
{
    struct stat st;
    struct pprof_profile raw;

    if (fstat(run.fd, &st) == -1) {
        return -1;
    }

    if (st.st_size == 0) {
        errno = EINVAL;
        return -1;
    }

    void *const data = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_PRIVATE,
                            run.fd, 0);

    if (data == MAP_FAILED) {
        return -1;
    }

    pprof_profile_init(&raw);
    int rc = pprof_legacy_cpu_parse(&raw, data, (size_t) st.st_size, NULL);

    if (rc == 0) {
        pprof_profile_value(p, "samples", "count");
        pprof_profile_value(p, "cpu", "nanoseconds");
        pprof_profile_period(p, "cpu", "nanoseconds", raw.period);
        copy_samples(p, &raw, maps, restorer);

        if (raw.failed) {
            errno = ENOMEM;
            rc = -1;
        }
    }

    pprof_profile_free(&raw);
    munmap(data, (size_t) st.st_size);

    return rc;
}


/* Why there may be less in P than expected. */
static void
add_comments(struct pprof_profile *p, bool had_signal, int64_t cpu)
{
    char text[160];

    if (!had_signal) {
        pprof_profile_comment(p, "the program took SIGPROF for itself while "
                              "the profile ran; what follows is not in here");
    }

    if (p->nsamples == 0) {
        snprintf(text, sizeof(text), "no samples: the program used %.3f s of "
                 "CPU time, and a sample is taken every 0.010 s of it",
                 (double) cpu / 1e9);
        pprof_profile_comment(p, text);
    }
}


static int
collect(struct pprof_profile *p, struct pprof_answer *a)
{
    struct pprof_maps maps;
    struct kernel_sigaction act;

    const bool had_signal = engine_has_signal();
    const int64_t cpu = nanos(CLOCK_PROCESS_CPUTIME_ID) - run.cpu_nanos;

    sigprof(&act);
    stop_silently();

    if (p == NULL) {
        return 0;
    }

    if (pprof_maps_load(&maps) == -1) {
        pprof_answer_error(a, 500, "the program's mappings cannot be read: %s",
                           strerrordesc_np(errno));
        return -1;
    }

    const int rc = read_engine_file(p, &maps, (uintptr_t) act.restorer);

    if (rc == 0) {
        add_comments(p, had_signal, cpu);

    } else {
        pprof_answer_error(a, 500, "failed to collect profile: %s",
                           strerrordesc_np(errno));
    }

    pprof_maps_free(&maps);

    return rc;
}


static int
stop(struct pprof_job *job, struct pprof_profile *p)
{
    struct pprof_answer *const a = &job->answer;

    if (!run.running) {
        pprof_answer_error(a, 503, "the profile ended early: the program "
                           "exits");
        return -1;
    }

    const int rc = collect(p, a);

    close_run();

    return rc;
}


const struct pprof_engine pprof_engine_gperftools = {
    .name = "gperftools",
    .start = start,
    .stop = stop,
    .child = drop_in_child,
};
