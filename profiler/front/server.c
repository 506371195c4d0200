/*
 * The HTTP server: one thread that waits for everything, and a short-lived
 * one for each piece of work that may block.
 *
 * A request becomes a visit.  Its life: route, then, if there is work,
 * STARTING (a thread runs the kind's begin()), WAITING (a timer), FINISHING
 * (a thread runs end()), and the reply.  A client that leaves turns STARTING
 * and WAITING into ABANDONING, so that what begin() took is given back.
 *
 * Concurrency: a visit belongs to the serving thread, except while a thread
 * works on it (its JOB then is that thread's).  What both touch is boxed in
 * struct shared.
 *
 * On libevent: evhttp does not notice a client that leaves while its request
 * waits.  To enable reading for that would be wrong: more data of the client
 * then meets evhttp in a state it calls illegal, and it ends the process.  So
 * each visit has an event of its own, edge-triggered, that only looks.
 */

#include "pprof.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "front/listen.h"
#include "front/request.h"
#include "kinds/life.h"


enum {
    VISITS_MAX     = 16,        /* with work under way; more is refused */
    HEADERS_MAX    = 16 << 10,  /* bytes */
    BODY_MAX       = 8 << 20,   /* bytes; 400,000 addresses for symbol */
    IDLE_SEC       = 30,        /* a client that neither sends nor reads */
    STACK_SIZE     = 1 << 20,   /* bytes; symbols/names.h needs half of it */
    ACCEPT_PAUSE_MSEC = 500,    /* after accept() failed */
    REFUSE_MSEC    = 100,       /* for a request that is refused to come */
};


enum phase {
    STARTING,
    WAITING,
    FINISHING,
    ABANDONING,
};


struct visit {
    struct pprof_job       job;
    struct pprof_server   *server;
    struct evhttp_request *req;         /* NULL when the client left */
    struct event          *watch;       /* does the client leave? */
    struct event          *timer;       /* in phase WAITING */
    enum phase             phase;
    _Atomic bool           gone;        /* the client left, or we stop; for
                                           the thread to see */
    pthread_t              thread;      /* in every phase but WAITING */
    char                  *body;        /* a copy: a thread may read it when
                                           the client has left */
    TAILQ_ENTRY(visit)     link;
    TAILQ_ENTRY(visit)     done_link;   /* in shared.done */
    int                    fd;          /* the client's; under shared.lock */
};


TAILQ_HEAD(visits, visit);


struct shared {
    pthread_mutex_t  lock;
    struct visits    done;      /* their threads have ended, or are about to */
    struct visits    all;       /* written by the serving thread alone */
    bool             stopping;
    int              wake_fd;   /* an eventfd */
};


struct pprof_server {
    struct pprof_listen     listen;
    struct pprof_policy     policy;
    pid_t                   pid;
    pthread_t               thread;
    struct shared           shared;

    /* the serving thread's */
    struct event_base      *base;
    struct evhttp          *http;
    struct event           *wake;
    struct event           *accept_again;
    struct event           *second;     /* time to measure the process */
    struct pprof_charts    *charts;     /* NULL: no memory for them */
    struct evconnlistener  *listener;   /* belongs to HTTP */
    unsigned                nvisits;
    int                     spare_fd;   /* given up to refuse in words when
                                           no other is to be had; -1: none */
};


static struct {
    pthread_mutex_t       lock;
    struct pprof_server  *server;   /* NULL: nothing was started */
} running = { .lock = PTHREAD_MUTEX_INITIALIZER };


/* The serving thread's own. */
static _Thread_local struct pprof_server *serving;


/*
 * Creates a thread that gets none of the program's signals: a handler of the
 * program must never run on our stack.  Returns as pthread_create() does.
 */
static int
create_thread(pthread_t *thread, void *(*function)(void *), void *arg)
{
    pthread_attr_t attr;
    sigset_t all, old;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_SIZE);

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    const int error = pthread_create(thread, &attr, function, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);

    pthread_attr_destroy(&attr);

    return error;
}


static void
wake(struct shared *shared)
{
    const uint64_t one = 1;

    /* fails only when the counter is full, and then it wakes all the same */
    (void) !write(shared->wake_fd, &one, sizeof(one));
}


static void
free_visit(struct visit *v)
{
    struct pprof_server *s = v->server;

    if (v->watch != NULL) {
        event_free(v->watch);
    }

    if (v->timer != NULL) {
        event_free(v->timer);
    }

    pthread_mutex_lock(&s->shared.lock);
    TAILQ_REMOVE(&s->shared.all, v, link);
    pthread_mutex_unlock(&s->shared.lock);

    s->nvisits--;
    pprof_buf_free(&v->job.answer.body);
    free(v->body);
    free(v);
}


static void
send_answer(struct evhttp_request *req, const struct pprof_job *job)
{
    const struct pprof_answer *a = &job->answer;
    struct evkeyvalq *out = evhttp_request_get_output_headers(req);
    struct pprof_headers headers;
    char length[24];

    pprof_answer_headers(job, &headers);

    for (size_t i = 0; i < headers.n; i++) {
        evhttp_add_header(out, headers.list[i].name, headers.list[i].value);
    }

    /* a connection lives for one request: a fork() may copy it */
    evhttp_add_header(out, "Connection", "close");

    if (evhttp_request_get_command(req) != EVHTTP_REQ_HEAD) {
        /* evhttp leaves it out for HTTP/1.0, which proxies speak: an answer
           that breaks off would look complete */
        snprintf(length, sizeof(length), "%zu", a->body.len);
        evhttp_add_header(out, "Content-Length", length);

        if (evbuffer_add(evhttp_request_get_output_buffer(req), a->body.data,
                         a->body.len) == -1)
        {
            evhttp_send_error(req, 500, NULL);
            return;
        }
    }

    evhttp_send_reply(req, a->status, NULL, NULL);
}


static void
finish(struct visit *v)
{
    if (v->req != NULL) {
        event_free(v->watch);
        v->watch = NULL;
        send_answer(v->req, &v->job);
    }

    free_visit(v);
}


static bool
is_gone(void *arg)
{
    struct visit *v = arg;

    return v->gone;
}


/* A thread's work: one step of a visit. */
static void *
run_step(void *arg)
{
    struct visit *v = arg;
    struct pprof_job *job = &v->job;
    struct shared *shared = &v->server->shared;

    pthread_setname_np(pthread_self(), "pprof-work");
    pprof_kinds_enter();

    if (v->phase == STARTING) {
        if (job->kind->begin(job) == -1) {
            v->phase = FINISHING;
        }

    } else {
        job->kind->end(job, v->phase == ABANDONING);
    }

    pprof_kinds_leave();

    pthread_mutex_lock(&shared->lock);
    TAILQ_INSERT_TAIL(&shared->done, v, done_link);
    wake(shared);
    pthread_mutex_unlock(&shared->lock);

    return NULL;
}


/* Runs a step in a thread; without one to be had, says so or does it here. */
static void
start_step(struct visit *v, enum phase phase)
{
    v->phase = phase;

    if (create_thread(&v->thread, run_step, v) == 0) {
        return;
    }

    if (phase == STARTING) {
        pprof_answer_error(&v->job.answer, 503, "the program can start no "
                           "more threads; retry later");

    } else {
        v->job.kind->end(&v->job, phase == ABANDONING);
    }

    finish(v);
}


static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void) fd;
    (void) what;

    start_step(arg, FINISHING);
}


/* A step is done: what comes next? */
static void
next_step(struct visit *v)
{
    const struct timeval window = { .tv_sec = v->job.ask.seconds };

    if (v->phase != STARTING) {
        finish(v);
        return;
    }

    if (v->req == NULL) {
        start_step(v, ABANDONING);
        return;
    }

    v->phase = WAITING;
    v->timer = evtimer_new(v->server->base, on_timer, v);

    if (v->timer == NULL || evtimer_add(v->timer, &window) == -1) {
        start_step(v, FINISHING);
    }
}


static void
on_wake(evutil_socket_t fd, short what, void *arg)
{
    struct pprof_server *s = arg;
    struct shared *shared = &s->shared;
    uint64_t n;

    (void) what;
    (void) !read(fd, &n, sizeof(n));

    for ( ;; ) {
        pthread_mutex_lock(&shared->lock);

        struct visit *v = TAILQ_FIRST(&shared->done);
        const bool stopping = shared->stopping;

        if (v != NULL && !stopping) {
            TAILQ_REMOVE(&shared->done, v, done_link);
        }

        pthread_mutex_unlock(&shared->lock);

        if (stopping) {
            event_base_loopbreak(s->base);
            return;
        }

        if (v == NULL) {
            return;
        }

        pthread_join(v->thread, NULL);
        next_step(v);
    }
}


/* Something happened at a client that should be waiting. */
static void
on_watch(evutil_socket_t fd, short what, void *arg)
{
    struct visit *v = arg;
    char c;

    if (!(what & EV_CLOSED)) {
        const ssize_t n = recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT);

        if (n > 0 || (n == -1 && (errno == EAGAIN || errno == EINTR))) {
            return;
        }
    }

    struct evhttp_connection *conn = evhttp_request_get_connection(v->req);

    event_free(v->watch);
    v->watch = NULL;
    v->req = NULL;
    v->gone = true;

    pthread_mutex_lock(&v->server->shared.lock);
    v->fd = -1;
    pthread_mutex_unlock(&v->server->shared.lock);

    evhttp_connection_free(conn);   /* and the request with it */

    if (v->phase == WAITING) {
        event_free(v->timer);
        v->timer = NULL;
        start_step(v, ABANDONING);
    }
}


static const char *
method_name(const struct evhttp_request *req)
{
    switch (evhttp_request_get_command(req)) {

    case EVHTTP_REQ_GET:
        return "GET";

    case EVHTTP_REQ_HEAD:
        return "HEAD";

    case EVHTTP_REQ_POST:
        return "POST";

    default:
        return "";
    }
}


/*
 * Splits the request's URI into PATH and QUERY, in a copy that the caller
 * frees; NULL when memory ran out.  evhttp's own parser takes "//debug/pprof/"
 * for a host named debug.
 */
static char *
split_uri(const struct evhttp_request *req, const char **path,
    const char **query)
{
    const char *uri = evhttp_request_get_uri(req);
    const char *scheme_end = *uri == '/' ? NULL : strstr(uri, "://");

    if (scheme_end != NULL) {
        uri = strchr(scheme_end + 3, '/');
    }

    char *copy = strdup(uri == NULL ? "/" : uri);

    if (copy != NULL) {
        char *mark = copy + strcspn(copy, "?#");

        *query = *mark == '?' ? mark + 1 : "";
        *path = copy;
        *mark = '\0';
    }

    return copy;
}


/*
 * Copies the request's body.  Returns 0, or -1 when memory ran out; *BODY is
 * NULL when there is none.
 */
static int
copy_body(struct evhttp_request *req, char **body, size_t *len)
{
    struct evbuffer *in = evhttp_request_get_input_buffer(req);

    *len = evbuffer_get_length(in);
    *body = NULL;

    if (*len == 0) {
        return 0;
    }

    *body = malloc(*len);

    if (*body == NULL) {
        return -1;
    }

    evbuffer_remove(in, *body, *len);

    return 0;
}


/* Takes a request whose job is work.  Returns 0, or -1: out of memory. */
static int
admit(struct visit *v, struct evhttp_request *req)
{
    struct pprof_server *s = v->server;
    struct evhttp_connection *conn = evhttp_request_get_connection(req);
    const int fd
        = bufferevent_getfd(evhttp_connection_get_bufferevent(conn));

    v->watch = event_new(s->base, fd,
                         EV_READ | EV_CLOSED | EV_ET | EV_PERSIST, on_watch,
                         v);

    if (v->watch == NULL || event_add(v->watch, NULL) == -1) {
        return -1;
    }

    v->req = req;
    v->fd = fd;

    pthread_mutex_lock(&s->shared.lock);
    TAILQ_INSERT_TAIL(&s->shared.all, v, link);
    pthread_mutex_unlock(&s->shared.lock);

    s->nvisits++;

    return 0;
}


static void
on_request(struct evhttp_request *req, void *arg)
{
    struct pprof_server *s = arg;
    struct visit *v = calloc(1, sizeof(struct visit));
    const char *path, *query;
    char *uri = split_uri(req, &path, &query);
    size_t len;

    if (v == NULL || uri == NULL || copy_body(req, &v->body, &len) == -1) {
        evhttp_send_error(req, 503, NULL);
        free(uri);
        free(v);
        return;
    }

    struct pprof_job *job = &v->job;

    v->server = s;
    pprof_request_route(job, &s->policy, method_name(req), path, query,
                        v->body, len);
    job->gone = is_gone;
    job->gone_arg = v;
    free(uri);

    if (job->kind != NULL && s->nvisits >= VISITS_MAX) {
        job->answer.retry_after = 1;
        pprof_answer_error(&job->answer, 503, "%d profile requests are under "
                           "way; retry when one has ended", VISITS_MAX);
        job->kind = NULL;
    }

    if (job->kind != NULL && admit(v, req) == 0) {
        start_step(v, job->kind->begin != NULL && job->ask.seconds != 0
                      ? STARTING : FINISHING);
        return;
    }

    if (job->kind != NULL) {
        pprof_answer_error(&job->answer, 503, "the program is out of memory; "
                           "retry later");

        if (v->watch != NULL) {
            event_free(v->watch);
        }
    }

    send_answer(req, job);
    pprof_buf_free(&job->answer.body);
    free(v->body);
    free(v);
}


static void
on_second(evutil_socket_t fd, short what, void *arg)
{
    struct pprof_server *s = arg;

    (void) fd;
    (void) what;

    pprof_tables_refresh();

    const unsigned msec = pprof_charts_measure(s->charts);
    const struct timeval next = { .tv_sec = msec / 1000,
                                  .tv_usec = msec % 1000 * 1000 };

    (void) evtimer_add(s->second, &next);
}


static void
on_accept_again(evutil_socket_t fd, short what, void *arg)
{
    struct pprof_server *s = arg;

    (void) fd;
    (void) what;

    evconnlistener_enable(s->listener);
}


/*
 * Answers the client at FD, whose request may be on its way, without evhttp
 * and the descriptors that a profile would need.
 */
static void
refuse_client(int fd)
{
    struct pprof_job job = { .ask.method = "GET" };
    struct pprof_header headers[PPROF_HEADERS_MAX];
    struct pprof_buf text = { 0 };
    struct pollfd ready = { .fd = fd, .events = POLLIN };
    char scratch[64], request[4096];

    job.answer.retry_after = 1;
    pprof_answer_error(&job.answer, 503, "the program has no free descriptor; "
                       "retry later, or raise its limit (ulimit -n)");

    const size_t n = pprof_answer_headers(&job, headers, scratch);

    pprof_buf_string(&text, "HTTP/1.1 503 Service Unavailable\r\n");

    for (size_t i = 0; i < n; i++) {
        pprof_buf_printf(&text, "%s: %s\r\n", headers[i].name,
                         headers[i].value);
    }

    pprof_buf_printf(&text, "Connection: close\r\nContent-Length: %zu\r\n"
                     "\r\n", job.answer.body.len);
    pprof_buf_append(&text, job.answer.body.data, job.answer.body.len);

    /* what stays unread makes the client see a reset */
    if (!text.failed && poll(&ready, 1, REFUSE_MSEC) == 1
        && recv(fd, request, sizeof(request), 0) > 0)
    {
        (void) !send(fd, text.data, text.len, MSG_NOSIGNAL);
    }

    pprof_buf_free(&text);
    pprof_buf_free(&job.answer.body);
}


/* Takes one client by the spare descriptor.  Returns false when it cannot. */
static bool
refuse_next(struct pprof_server *s)
{
    if (s->spare_fd == -1) {
        return false;
    }

    close(s->spare_fd);

    const int fd = accept4(s->listen.fd, NULL, NULL,
                           SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd != -1) {
        refuse_client(fd);
        close(fd);
    }

    s->spare_fd = fcntl(s->shared.wake_fd, F_DUPFD_CLOEXEC, 0);

    return fd != -1;
}


/*
 * Out of descriptors, say.  The listener would be readable for ever.
 */
static void
on_accept_error(struct evconnlistener *listener, void *arg)
{
    const struct timeval pause = { .tv_usec = ACCEPT_PAUSE_MSEC * 1000 };

    (void) arg;     /* evhttp's */

    if ((errno == EMFILE || errno == ENFILE) && refuse_next(serving)) {
        return;
    }

    if (evtimer_add(serving->accept_again, &pause) == 0) {
        evconnlistener_disable(listener);
    }
}


/* Ends what is under way, in the serving thread, without the event loop. */
static void
abandon_all(struct pprof_server *s)
{
    struct visit *v;

    TAILQ_FOREACH(v, &s->shared.all, link) {
        v->gone = true;
    }

    while ((v = TAILQ_FIRST(&s->shared.all)) != NULL) {
        const enum phase phase = v->phase;
        bool begun = phase == WAITING;

        if (phase != WAITING) {
            pthread_join(v->thread, NULL);
            begun = phase == STARTING && v->phase == STARTING;
        }

        if (begun) {
            v->job.kind->end(&v->job, true);
        }

        free_visit(v);
    }
}


static void
close_base(struct pprof_server *s)
{
    if (s->http != NULL) {
        evhttp_free(s->http);   /* and the listener with it */
    }

    if (s->listener != NULL) {
        s->listen.fd = -1;
    }

    if (s->wake != NULL) {
        event_free(s->wake);
    }

    if (s->accept_again != NULL) {
        event_free(s->accept_again);
    }

    if (s->second != NULL) {
        event_free(s->second);
    }

    if (s->base != NULL) {
        event_base_free(s->base);
    }

    pprof_charts_free(s->charts);
}


/* Builds what the loop needs around the open listener.  Returns 0 or -1. */
static int
open_base(struct pprof_server *s)
{
    struct event_config *config = event_config_new();

    if (config == NULL) {
        return -1;
    }

    /* epoll alone can tell that a client left without reading from it */
    event_config_require_features(config, EV_FEATURE_ET
                                          | EV_FEATURE_EARLY_CLOSE);
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK
                                  | EVENT_BASE_FLAG_IGNORE_ENV);
    s->base = event_base_new_with_config(config);
    event_config_free(config);

    if (s->base == NULL) {
        return -1;
    }

    s->http = evhttp_new(s->base);
    s->wake = event_new(s->base, s->shared.wake_fd, EV_READ | EV_PERSIST,
                        on_wake, s);
    s->accept_again = evtimer_new(s->base, on_accept_again, s);
    s->second = evtimer_new(s->base, on_second, s);

    if (s->http == NULL || s->wake == NULL || s->accept_again == NULL
        || s->second == NULL || event_add(s->wake, NULL) == -1)
    {
        return -1;
    }

    /* a program that has no memory for charts may still be profiled */
    s->charts = pprof_charts_create();
    s->policy.charts = s->charts;

    evhttp_set_gencb(s->http, on_request, s);
    evhttp_set_max_headers_size(s->http, HEADERS_MAX);
    evhttp_set_max_body_size(s->http, BODY_MAX);
    evhttp_set_timeout(s->http, IDLE_SEC);
    evhttp_set_allowed_methods(s->http, 0xffff);    /* to refuse in words */

    s->listener = evconnlistener_new(s->base, NULL, NULL,
                                     LEV_OPT_CLOSE_ON_FREE
                                     | LEV_OPT_CLOSE_ON_EXEC, 0, s->listen.fd);

    if (s->listener == NULL) {
        return -1;
    }

    if (evhttp_bind_listener(s->http, s->listener) == NULL) {
        evconnlistener_free(s->listener);
        s->listen.fd = -1;
        s->listener = NULL;
        return -1;
    }

    evconnlistener_set_error_cb(s->listener, on_accept_error);

    return 0;
}


static void *
serve(void *arg)
{
    struct pprof_server *s = arg;

    serving = s;
    pthread_setname_np(pthread_self(), "pprof");
    pprof_kinds_enter();

    if (s->charts != NULL) {
        on_second(-1, 0, s);
    }

    event_base_dispatch(s->base);
    abandon_all(s);
    close_base(s);
    pprof_kinds_leave();

    return NULL;
}


static void
free_server(struct pprof_server *s)
{
    pprof_listen_close(&s->listen);

    if (s->shared.wake_fd != -1) {
        close(s->shared.wake_fd);
    }

    if (s->spare_fd != -1) {
        close(s->spare_fd);
    }

    pthread_mutex_destroy(&s->shared.lock);
    free(s);
}


static void
before_fork(void)
{
    pthread_mutex_lock(&running.lock);

    if (running.server != NULL) {
        pthread_mutex_lock(&running.server->shared.lock);
    }
}


static void
after_fork_in_parent(void)
{
    if (running.server != NULL) {
        pthread_mutex_unlock(&running.server->shared.lock);
    }

    pthread_mutex_unlock(&running.lock);
}


/*
 * The child has no serving thread.  The descriptors are closed: a listener
 * that stays open looks alive when the parent is gone, and a client would
 * wait for the child's end.  The memory is left alone, the serving thread may
 * have been in the middle of it.
 */
static void
after_fork_in_child(void)
{
    struct pprof_server *s = running.server;

    if (s != NULL) {
        struct visit *v;

        TAILQ_FOREACH(v, &s->shared.all, link) {
            if (v->fd != -1) {
                close(v->fd);
            }
        }

        close(s->listen.fd);
        close(s->shared.wake_fd);

        if (s->spare_fd != -1) {
            close(s->spare_fd);
        }

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
    const mode_t mode = options != NULL && options->socket_mode != 0
                        ? options->socket_mode : 0600;
    struct pprof_server *s = calloc(1, sizeof(struct pprof_server));
    int error;

    if (s == NULL) {
        return -1;
    }

    pthread_mutex_init(&s->shared.lock, NULL);
    TAILQ_INIT(&s->shared.done);
    TAILQ_INIT(&s->shared.all);
    s->shared.wake_fd = -1;
    s->spare_fd = -1;
    s->listen.fd = -1;
    s->pid = getpid();

    if (pprof_policy_init(&s->policy, options) == -1
        || pprof_listen_parse(&s->listen, listen, s->pid) == -1)
    {
        goto failed;
    }

    s->shared.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (s->shared.wake_fd == -1
        || pprof_listen_open(&s->listen, mode) == -1)
    {
        goto failed;
    }

    s->spare_fd = fcntl(s->shared.wake_fd, F_DUPFD_CLOEXEC, 0);
    pprof_kinds_prepare();
    pthread_once(&once, add_fork_handlers);

    errno = ENOMEM;

    if (open_base(s) == -1) {
        error = errno;
        close_base(s);
        errno = error;
        goto failed;
    }

    error = create_thread(&s->thread, serve, s);

    if (error != 0) {
        close_base(s);
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
        pthread_mutex_lock(&s->shared.lock);
        s->shared.stopping = true;
        wake(&s->shared);
        pthread_mutex_unlock(&s->shared.lock);

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
 * run, ours among them, so nothing else is taken down.
 */
__attribute__((destructor)) static void
unlink_at_exit(void)
{
    struct pprof_server *s = running.server;

    if (s != NULL && s->pid == getpid() && s->listen.addr.ss_family == AF_UNIX)
    {
        pprof_listen_unlink(&s->listen);
    }
}
