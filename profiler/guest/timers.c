#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "guest/own.h"
#include "guest/raw.h"
#include "guest/tick.h"
#include "guest/timers.h"


/* What getdents64 writes; libc declares it under another name. */
struct entry {
    uint64_t        ino;
    int64_t         off;
    unsigned short  length;
    unsigned char   type;
    char            name[];
};


static struct {
    int               users;
    int               signo;
    struct sigaction  before;
} signal_state;


static bool
is_ours(const struct sigaction *action)
{
    return (action->sa_flags & SA_SIGINFO)
           && action->sa_sigaction == pprof_tick_handle;
}


/* A signal that nobody has an action for. */
static int
choose_signal(void)
{
    struct sigaction action;

    if (sigaction(SIGPROF, NULL, &action) == 0
        && !(action.sa_flags & SA_SIGINFO) && action.sa_handler == SIG_DFL)
    {
        return SIGPROF;
    }

    /* programs count from SIGRTMIN, some tools use SIGRTMAX */
    for (int signo = SIGRTMAX - 3; signo > SIGRTMIN + 2; signo--) {
        if (sigaction(signo, NULL, &action) == 0
            && !(action.sa_flags & SA_SIGINFO)
            && action.sa_handler == SIG_DFL)
        {
            return signo;
        }
    }

    return -1;
}


int
pprof_signal_acquire(void)
{
    if (signal_state.users > 0) {
        signal_state.users++;
        return signal_state.signo;
    }

    int              signo = choose_signal();
    struct sigaction action = {
        .sa_sigaction = pprof_tick_handle,
        /* a Go runtime in the process insists on SA_ONSTACK */
        .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK,
    };

    /* the program's handlers wait for the microseconds that ours takes */
    sigfillset(&action.sa_mask);

    if (signo == -1
        || sigaction(signo, &action, &signal_state.before) == -1)
    {
        errno = EBUSY;
        return -1;
    }

    signal_state.signo = signo;
    signal_state.users = 1;

    return signo;
}


void
pprof_signal_release(void)
{
    struct sigaction now, ignore = { .sa_handler = SIG_IGN };

    if (signal_state.users == 0 || --signal_state.users > 0) {
        return;
    }

    if (sigaction(signal_state.signo, NULL, &now) == -1 || !is_ours(&now)) {
        /* the program took it over: so be it */
        return;
    }

    /*
     * Ignoring a signal discards it wherever it is pending, blocked or not
     * (POSIX 2.4.3); no timer is left to send another.
     */
    sigaction(signal_state.signo, &ignore, NULL);
    sigaction(signal_state.signo, &signal_state.before, NULL);
}


bool
pprof_signal_ours(void)
{
    struct sigaction now;

    return sigaction(signal_state.signo, NULL, &now) == 0 && is_ours(&now);
}


bool
pprof_signal_quiesce(void)
{
    struct timespec pause = { 0, 1000000 };

    for (int i = 0; i < 1000; i++) {
        if (atomic_load(&pprof_tick_shared.inside) == 0) {
            return true;
        }

        nanosleep(&pause, NULL);
    }

    return false;
}


/* The kernel's clock id of a thread's CPU time; libc has a name for pthreads
 * only. */
static clockid_t
thread_clock(pid_t tid)
{
    return (clockid_t) (~(unsigned) tid << 3 | 6);
}


uint64_t
pprof_thread_clock(pid_t tid)
{
    struct timespec ts;

    if (pprof_raw(SYS_clock_gettime, (uintptr_t) (intptr_t) thread_clock(tid),
                  (uintptr_t) &ts, 0, 0, 0, 0) != 0)
    {
        return 0;
    }

    return pprof_clock_nsec(&ts);
}


int
pprof_timer_create(pid_t tid, uintptr_t value, uint64_t first, uint64_t period,
    bool wall)
{
    int             timer;
    struct sigevent event = {
        .sigev_notify = SIGEV_THREAD_ID,
        .sigev_signo = signal_state.signo,
        .sigev_value.sival_ptr = (void *) value,
    };

#ifdef sigev_notify_thread_id
    event.sigev_notify_thread_id = tid;
#else
    event._sigev_un._tid = tid;
#endif

    clockid_t clock = wall ? CLOCK_MONOTONIC : thread_clock(tid);
    long      rc;

    /* libc's own would allocate, and hide the kernel's number */
    rc = pprof_raw(SYS_timer_create, (uintptr_t) (intptr_t) clock,
                   (uintptr_t) &event, (uintptr_t) &timer, 0, 0, 0);
    if (rc < 0) {
        errno = (int) -rc;
        return -1;
    }

    struct itimerspec spec = {
        .it_value = pprof_clock_spec(first),
        .it_interval = pprof_clock_spec(period),
    };

    rc = pprof_raw(SYS_timer_settime, (uintptr_t) timer, 0, (uintptr_t) &spec,
                   0, 0, 0);
    if (rc < 0) {
        pprof_timer_delete(timer);
        errno = (int) -rc;
        return -1;
    }

    return timer;
}


void
pprof_timer_delete(int timer)
{
    pprof_raw(SYS_timer_delete, (uintptr_t) timer, 0, 0, 0, 0, 0);
}


ssize_t
pprof_task_read(pid_t tid, const char *file, char *buf, size_t size)
{
    char path[64];

    if (tid == 0) {
        snprintf(path, sizeof(path), "/proc/self/%s", file);

    } else {
        snprintf(path, sizeof(path), "/proc/self/task/%d/%s", (int) tid, file);
    }

    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd == -1) {
        return -1;
    }

    ssize_t n = read(fd, buf, size - 1);
    int     error = errno;

    close(fd);
    buf[n > 0 ? n : 0] = '\0';
    errno = error;

    return n;
}


bool
pprof_task_blocks(pid_t tid)
{
    char  buf[4096];
    char *line;

    if (pprof_task_read(tid, "status", buf, sizeof(buf)) <= 0
        || (line = strstr(buf, "\nSigBlk:")) == NULL)
    {
        return false;
    }

    uint64_t mask = strtoull(line + 8, NULL, 16);

    return mask >> (signal_state.signo - 1) & 1;
}


int
pprof_task_list(void (*visit)(void *arg, pid_t tid), void *arg)
{
    _Alignas(struct entry) char  buf[4096];
    long                         n;

    int fd = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd == -1) {
        return -1;
    }

    while ((n = pprof_raw(SYS_getdents64, (uintptr_t) fd, (uintptr_t) buf,
                          sizeof(buf), 0, 0, 0)) > 0)
    {
        for (long at = 0; at < n; /* void */ ) {
            struct entry *entry = (struct entry *) (buf + at);
            pid_t         tid = (pid_t) strtol(entry->name, NULL, 10);

            if (tid > 0 && !pprof_own_has(tid)) {
                visit(arg, tid);
            }

            at += entry->length;
        }
    }

    close(fd);

    if (n < 0) {
        errno = (int) -n;
        return -1;
    }

    return 0;
}
