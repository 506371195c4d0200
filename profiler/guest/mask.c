/*
 * Signal masks of threads that block everything: the sampler's one signal is
 * kept out of them, or such threads would have no stacks; and what the program
 * reads back is what it has set.
 *
 * GUEST ROOM.  For libpprof.so only, as locks.c.  Nothing here allocates,
 * locks or blocks.
 *
 * It is a real-time signal that nobody has an action for and nobody sends: the
 * first that the sampler would take (timers.h).  Where the program blocks few
 * signals, or sets an action for that one, it is meant, and is blocked.
 *
 * Concurrency: what a thread believes is its own.  A new thread inherits it
 * with its mask (create.c).
 */

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

#include "guest/mask.h"
#include "guest/timers.h"


#define EXPORT  __attribute__((visibility("default"), noinline))

enum { MANY = 16 };     /* signals at once: not this one in particular */

typedef int mask_function(int, const sigset_t *, sigset_t *);

static mask_function *libc_thread, *libc_process;

/* The current thread has blocked it, and is to read so. */
static __thread bool  believes __attribute__((tls_model("initial-exec")));


__attribute__((constructor(101))) static void
prepare(void)
{
    *(void **) &libc_thread = dlsym(RTLD_NEXT, "pthread_sigmask");
    *(void **) &libc_process = dlsym(RTLD_NEXT, "sigprocmask");
}


bool
pprof_mask_believes(void)
{
    return believes;
}


void
pprof_mask_inherit(bool blocked)
{
    believes = blocked;
}


/* Is SIGNO in SET only because everything is? */
static bool
is_meant(const sigset_t *set, int signo)
{
    struct sigaction action;
    int              n = 0;

    for (int i = 1; i < 65 && n < MANY; i++) {
        n += sigismember(set, i) == 1;
    }

    /* somebody handles it, or ours is there */
    return n < MANY
           || sigaction(signo, NULL, &action) == -1
           || (!pprof_signal_is_ours(&action)
               && ((action.sa_flags & SA_SIGINFO)
                   || action.sa_handler != SIG_DFL));
}


static int
change(mask_function *libc, int how, const sigset_t *set, sigset_t *old)
{
    const int  signo = PPROF_SIGNAL;
    const bool before = believes;
    sigset_t   without;
    bool       after = before;

    if (set != NULL) {
        const bool in = sigismember(set, signo) == 1;

        if (how == SIG_SETMASK) {
            after = in;

        } else if (in) {
            after = how == SIG_BLOCK;
        }

        /* SIG_UNBLOCK undoes both: what was believed, and what was so */
        if (in && how != SIG_UNBLOCK) {
            if (is_meant(set, signo)) {
                after = false;

            } else {
                without = *set;
                sigdelset(&without, signo);
                set = &without;
            }
        }
    }

    const int rc = libc(how, set, old);

    if (rc == 0) {
        believes = after;

        if (old != NULL && before) {
            sigaddset(old, signo);
        }
    }

    return rc;
}


EXPORT int
pthread_sigmask(int how, const sigset_t *restrict set, sigset_t *restrict old)
{
    if (libc_thread == NULL) {
        prepare();
    }

    return change(libc_thread, how, set, old);
}


EXPORT int
sigprocmask(int how, const sigset_t *restrict set, sigset_t *restrict old)
{
    if (libc_process == NULL) {
        prepare();
    }

    return change(libc_process, how, set, old);
}
