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
#include "guest/cfi.h"
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


bool
pprof_signal_is_ours(const struct sigaction *action)
{
    return (action->sa_flags & SA_SIGINFO)
           && action->sa_sigaction == pprof_tick_handle;
}


/* Has nobody an action for SIGNO? */
static bool
is_free(int signo)
{
    struct sigaction action;

    return sigaction(signo, NULL, &action) == 0
           && !(action.sa_flags & SA_SIGINFO) && action.sa_handler == SIG_DFL;
}


static int
choose_signal(void)
{
    /* programs count from SIGRTMIN, some tools use SIGRTMAX */
    for (int signo = PPROF_SIGNAL; signo > SIGRTMIN + 2; signo--) {
        if (is_free(signo)) {
            return signo;
        }
    }

    return is_free(SIGPROF) ? SIGPROF : -1;
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
        .sa_flags = SA_SIGINFO | SA_RESTART,
    };

    /*
     * A Go runtime insists on an alternate stack, since its own stacks are
     * small.  Elsewhere the program's alternate stacks are what is small: the
     * kernel's frame alone is 3 KiB where there is AVX-512, and takes no notice
     * of where a stack of 2 KiB ends.
     */
    if (atomic_load(&pprof_cfi_shared.go)) {
        action.sa_flags |= SA_ONSTACK;
    }

    /* the program's handlers wait for the microseconds that ours takes */
    sigfillset(&action.sa_mask);

    if (signo == -1 || !pprof_tick_prepare()
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

    if (sigaction(signal_state.signo, NULL, &now) == -1
        || !pprof_signal_is_ours(&now))
    {
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

    return sigaction(signal_state.signo, NULL, &now) == 0
           && pprof_signal_is_ours(&now);
}


bool
pprof_signal_quiesce(void)
{
    struct timespec pause = { 0, 1000000 };

    for (int i = 0; i < 1000; i++) {
        if (atomic_load(&pprof_tick_shared.inside) == 0) {
            return true;
        }

        pprof_raw(SYS_nanosleep, (uintptr_t) &pause, 0, 0, 0, 0, 0);
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
        return -1;
    }

    return timer;
}


void
pprof_timer_delete(int timer)
{
    pprof_raw(SYS_timer_delete, (uintptr_t) timer, 0, 0, 0, 0, 0);
}


/* Writes TEXT at AT, with a zero.  Returns where that is. */
static char *
put_text(char *at, const char *text)
{
    size_t size = strlen(text);

    memcpy(at, text, size + 1);

    return at + size;
}


/* printf() wants libc's thread state; the resting thread has none. */
static char *
put_number(char *at, unsigned n)
{
    char   digits[10];
    size_t size = 0;

    do {
        digits[size++] = (char) ('0' + n % 10);
        n /= 10;
    } while (n > 0);

    while (size > 0) {
        *at++ = digits[--size];
    }

    return at;
}


ssize_t
pprof_task_read(pid_t tid, const char *file, char *buf, size_t size)
{
    char  path[64];
    char *end = put_text(path, "/proc/self/");

    if (tid != 0) {
        end = put_number(put_text(end, "task/"), (unsigned) tid);
        *end++ = '/';
    }

    put_text(end, file);

    long fd = pprof_raw(SYS_openat, (uintptr_t) AT_FDCWD, (uintptr_t) path,
                        O_RDONLY | O_CLOEXEC, 0, 0, 0);

    if (fd < 0) {
        errno = (int) -fd;
        return -1;
    }

    long n = pprof_raw(SYS_read, (uintptr_t) fd, (uintptr_t) buf, size - 1, 0,
                       0, 0);

    pprof_raw(SYS_close, (uintptr_t) fd, 0, 0, 0, 0, 0);
    buf[n > 0 ? n : 0] = '\0';

    if (n < 0) {
        errno = (int) -n;
        return -1;
    }

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

    uint64_t mask = 0;

    for (line += 8 + strspn(line + 8, " \t"); ; line++) {
        if (*line >= '0' && *line <= '9') {
            mask = mask << 4 | (unsigned) (*line - '0');

        } else if (*line >= 'a' && *line <= 'f') {
            mask = mask << 4 | (unsigned) (*line - 'a' + 10);

        } else {
            break;
        }
    }

    return mask >> (signal_state.signo - 1) & 1;
}


int
pprof_task_list(void (*visit)(void *arg, pid_t tid), void *arg)
{
    _Alignas(struct entry) char  buf[4096];
    long                         n;

    long fd = pprof_raw(SYS_openat, (uintptr_t) AT_FDCWD,
                        (uintptr_t) "/proc/self/task",
                        O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, 0, 0);

    if (fd < 0) {
        errno = (int) -fd;
        return -1;
    }

    while ((n = pprof_raw(SYS_getdents64, (uintptr_t) fd, (uintptr_t) buf,
                          sizeof(buf), 0, 0, 0)) > 0)
    {
        for (long at = 0; at < n; /* void */ ) {
            struct entry *entry = (struct entry *) (buf + at);
            pid_t         tid = 0;

            for (const char *p = entry->name; *p >= '0' && *p <= '9'; p++) {
                tid = tid * 10 + (*p - '0');
            }

            if (tid > 0 && !pprof_own_has(tid)) {
                visit(arg, tid);
            }

            at += entry->length;
        }
    }

    pprof_raw(SYS_close, (uintptr_t) fd, 0, 0, 0, 0, 0);

    if (n < 0) {
        errno = (int) -n;
        return -1;
    }

    return 0;
}
