/*
 * pprof_start() and pprof_stop(): the one server of a process, and what
 * becomes of it at fork() and exit().
 */

#include "pprof.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/agent.h"
#include "front/listen.h"
#include "front/loop.h"
#include "front/service.h"
#include "inside.h"
#include "kinds/life.h"
#include "outside.h"


enum { EXIT_MSEC = 1000 };     /* at most, for a start under way */


static struct {
    pthread_mutex_t        lock;
    struct pprof_service  *server;  /* NULL: nothing was started */
    pid_t                  pid;     /* whose it is */
    _Atomic bool           exiting;  /* and nothing is to be */
} running = { .lock = PTHREAD_MUTEX_INITIALIZER };


/* In the shared library, an agent of its own. */
static bool
is_outside(void)
{
    return pprof_outside_is != NULL && pprof_outside_is();
}


static void
before_fork(void)
{
    pthread_mutex_lock(&running.lock);

    if (running.server != NULL) {
        pprof_loop_lock(running.server->loop);
    }
}


static void
after_fork_in_parent(void)
{
    if (running.server != NULL) {
        pprof_loop_unlock(running.server->loop);
    }

    pthread_mutex_unlock(&running.lock);
}


/*
 * The child has no serving thread.  The descriptors are closed: a listener
 * that stays open looks alive when the parent is gone, and a client would
 * wait for the child's end.
 */
static void
after_fork_in_child(void)
{
    if (running.server != NULL) {
        pprof_loop_child(running.server->loop);
        running.server = NULL;
    }

    pthread_mutex_init(&running.lock, NULL);
}


static void
add_fork_handlers(void)
{
    (void) pthread_atfork(before_fork, after_fork_in_parent,
                          after_fork_in_child);
}


/* Under running.lock.  Returns 0, or -1 and errno. */
static int
start_locked(const char *listen, const struct pprof_options *options)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    if (options != NULL && options->size < sizeof(struct pprof_options)) {
        errno = EINVAL;
        return -1;
    }

    /* a fork() from here on waits for our lock, or sees no descriptor */
    pprof_kinds_init();
    pthread_once(&once, add_fork_handlers);

    if (pprof_outside_start != NULL && !pprof_inside_wanted()) {
        return pprof_outside_start(listen, options, false);
    }

    running.server = pprof_service_open(pprof_target_self(), listen, options);
    running.pid = getpid();

    return running.server == NULL ? -1 : 0;
}


int
pprof_start(const char *listen, const struct pprof_options *options)
{
    int rc = -1;

    if (listen == NULL) {
        errno = EINVAL;
        return -1;
    }

    pprof_kinds_enter();
    pthread_mutex_lock(&running.lock);

    if (running.server != NULL || is_outside()) {
        errno = EALREADY;

    } else if (running.exiting) {
        errno = ECANCELED;

    } else {
        rc = start_locked(listen, options);
    }

    pthread_mutex_unlock(&running.lock);
    pprof_kinds_leave();

    return rc;
}


void
pprof_stop(void)
{
    pthread_mutex_lock(&running.lock);

    if (is_outside()) {
        pprof_outside_stop();

    } else if (running.server != NULL) {
        pprof_service_close(running.server);
        running.server = NULL;
    }

    pthread_mutex_unlock(&running.lock);
}


int
pprof_address(char *buf, size_t size)
{
    int rc = -1;

    pthread_mutex_lock(&running.lock);

    if (is_outside()) {
        rc = pprof_outside_address(buf, size);

    } else if (running.server == NULL) {
        errno = ENOTCONN;

    } else if (pprof_service_address(running.server, buf, size) >= size)
    {
        errno = ERANGE;

    } else {
        rc = 0;
    }

    pthread_mutex_unlock(&running.lock);

    return rc;
}


/*
 * A program that exits leaves no socket file behind.  Its other threads still
 * run, ours among them, so nothing else is taken down; and one that is about
 * to listen does not any more.
 */
__attribute__((destructor)) static void
unlink_at_exit(void)
{
    const struct timespec pause = { 0, 1000000 };
    bool locked = false;

    running.exiting = true;

    /* exit() in a handler that interrupted who has the lock: not for ever */
    for (int i = 0; i < EXIT_MSEC && !locked; i++) {
        locked = pthread_mutex_trylock(&running.lock) == 0;

        if (!locked) {
            nanosleep(&pause, NULL);
        }
    }

    struct pprof_service *s = running.server;

    if (s != NULL && running.pid == getpid()
        && s->listen.addr.ss_family == AF_UNIX)
    {
        pprof_listen_unlink(&s->listen);
    }

    if (locked) {
        pthread_mutex_unlock(&running.lock);
    }
}
