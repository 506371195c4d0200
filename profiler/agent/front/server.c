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

#include "front/listen.h"
#include "front/loop.h"
#include "front/request.h"
#include "kinds/life.h"


enum { EXIT_MSEC = 1000 };     /* at most, for a start under way */


struct pprof_server {
    struct pprof_listen   listen;
    struct pprof_policy   policy;
    struct pprof_loop    *loop;
    pid_t                 pid;
    pthread_t             thread;
};


static struct {
    pthread_mutex_t       lock;
    struct pprof_server  *server;   /* NULL: nothing was started */
    _Atomic bool          exiting;  /* and nothing is to be */
} running = { .lock = PTHREAD_MUTEX_INITIALIZER };


static void
free_server(struct pprof_server *s)
{
    pprof_listen_close(&s->listen);
    pprof_loop_free(s->loop);
    free(s);
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


static void *
serve(void *arg)
{
    struct pprof_server *s = arg;

    pprof_kinds_enter();
    pprof_listen_sweep(&s->listen);
    pprof_kinds_leave();

    return pprof_loop_run(s->loop);
}


/* Under running.lock.  Returns 0, or -1 and errno. */
static int
start_locked(const char *listen, const struct pprof_options *options)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const mode_t mode = options != NULL && options->socket_mode != 0
                        ? options->socket_mode : 0600;
    struct pprof_server *s = calloc(1, sizeof(struct pprof_server));
    int error;

    if (s == NULL) {
        return -1;
    }

    s->listen.fd = -1;
    s->pid = getpid();

    if (pprof_policy_init(&s->policy, options) == -1
        || pprof_listen_parse(&s->listen, listen, s->pid) == -1)
    {
        goto failed;
    }

    /* a fork() from here on waits for our lock, or sees no descriptor */
    pprof_kinds_init();
    pthread_once(&once, add_fork_handlers);

    if (pprof_listen_open(&s->listen, mode) == -1) {
        goto failed;
    }

    pprof_kinds_prepare();

    s->loop = pprof_loop_create(s->listen.fd, &s->policy);

    if (s->loop == NULL) {
        goto failed;
    }

    error = pprof_loop_thread(&s->thread, serve, s);

    if (error != 0) {
        errno = error;
        goto failed;
    }

    running.server = s;

    return 0;

failed:

    error = errno;
    free_server(s);
    errno = error;

    return -1;
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

    if (running.server != NULL) {
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

    struct pprof_server *s = running.server;

    if (s != NULL) {
        pprof_loop_stop(s->loop);
        pthread_join(s->thread, NULL);
        running.server = NULL;
        free_server(s);
        pprof_kinds_release();
    }

    pthread_mutex_unlock(&running.lock);
}


int
pprof_address(char *buf, size_t size)
{
    int rc = -1;

    pthread_mutex_lock(&running.lock);

    if (running.server == NULL) {
        errno = ENOTCONN;

    } else if (pprof_listen_print(&running.server->listen, buf, size) >= size)
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

    struct pprof_server *s = running.server;

    if (s != NULL && s->pid == getpid() && s->listen.addr.ss_family == AF_UNIX)
    {
        pprof_listen_unlink(&s->listen);
    }

    if (locked) {
        pthread_mutex_unlock(&running.lock);
    }
}
