/*
 * A connection becomes a visit.  Its life: READING, then, if there is work,
 * STARTING (a thread runs the kind's begin()), WAITING (for time to pass),
 * FINISHING (a thread runs end()), then WRITING and DRAINING.  A client that
 * leaves turns STARTING and WAITING into ABANDONING, so that what begin() took
 * is given back.
 *
 * Concurrency: a visit belongs to the serving thread, except while a thread
 * works on it (its JOB then is that thread's).  What others touch as well is
 * atomic, or under the lock that fork() waits for.
 */

#include "front/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "front/client.h"
#include "kinds/life.h"
#include "kinds/requests.h"


enum {
    VISITS_MAX     = 64,        /* connections */
    HEADS_SIZE     = VISITS_MAX * PPROF_CLIENT_HEAD_MAX,
    WORK_MAX       = 16,        /* with work under way; more is refused */
    IDLE_MSEC      = 30000,     /* a client that neither sends nor reads */
    STALL_MSEC     = 1000,      /* the same, while others have no place */
    DRAIN_MSEC     = 2000,      /* and one that got its answer */
    STACK_SIZE     = 1 << 20,   /* bytes; symbols/names.h needs half of it */
    ACCEPT_PAUSE_MSEC = 500,    /* after accept() failed */
    REFUSE_MSEC    = 100,       /* for a request that is refused to come */
};


enum phase {
    FREE,
    READING,
    STARTING,
    WAITING,
    FINISHING,
    ABANDONING,
    WRITING,
    DRAINING,
};


struct visit {
    struct pprof_job       job;
    struct pprof_loop     *loop;
    enum phase             phase;
    _Atomic int            fd;          /* -1: the client left; written under
                                           the loop's lock */
    _Atomic bool           gone;        /* the client left, or we stop; for
                                           the thread to see */
    _Atomic bool           done;        /* the thread is about to end */
    bool                   begun;       /* and end() is to be called */
    pthread_t              thread;      /* STARTING, FINISHING, ABANDONING */
    int64_t                until;       /* ms; of every other phase */
    struct pprof_client    client;
};


struct pprof_loop {
    struct pprof_policy    *policy;
    int                     listen_fd;
    int                     wake_fd;    /* an eventfd */
    int                     spare_fd;   /* given up to refuse in words when
                                           no other is to be had; -1: none */
    _Atomic bool            stopping;
    _Atomic bool            ended;      /* the program: no more to wait for */
    pthread_mutex_t         lock;       /* held while descriptors come or go:
                                           fork() waits for it */

    /* the serving thread's */
    struct visit           *visits;     /* VISITS_MAX */
    char                   *heads;      /* one for each; mapped, so that only
                                           those that are used take memory */
    struct pprof_charts    *charts;     /* NULL: no memory for them */
    int64_t                 measure_at; /* ms; time to measure the process */
    int64_t                 accept_at;  /* ms; not before */
};


static int64_t
now_msec(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec * INT64_C(1000) + ts.tv_nsec / 1000000;
}


int
pprof_loop_thread(pthread_t *thread, void *(*function)(void *), void *arg)
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
wake(struct pprof_loop *loop)
{
    const uint64_t one = 1;

    /* fails only when the counter is full, and then it wakes all the same */
    (void) !write(loop->wake_fd, &one, sizeof(one));
}


static void
close_client(struct visit *v)
{
    pthread_mutex_lock(&v->loop->lock);

    if (v->fd != -1) {
        close(v->fd);
        v->fd = -1;
    }

    pthread_mutex_unlock(&v->loop->lock);
}


static void
free_visit(struct visit *v)
{
    close_client(v);
    pprof_buf_free(&v->job.answer.body);
    pprof_client_free(&v->client);
    v->phase = FREE;
}


/* Sends what can be sent. */
static void
write_answer(struct visit *v)
{
    switch (pprof_client_write(&v->client, &v->job)) {

    case PPROF_CLIENT_MORE:
        v->until = now_msec() + IDLE_MSEC;
        break;

    case PPROF_CLIENT_DONE:
        pprof_client_end(&v->client);
        v->phase = DRAINING;
        v->until = now_msec() + DRAIN_MSEC;
        break;

    default:
        free_visit(v);
    }
}


/* The job has its answer. */
static void
finish(struct visit *v)
{
    if (v->fd == -1) {
        free_visit(v);
        return;
    }

    pprof_client_answer(&v->client, &v->job);
    v->phase = WRITING;
    write_answer(v);
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
    struct pprof_loop *loop = v->loop;
    struct pprof_job *job = &v->job;

    pthread_setname_np(pthread_self(), "pprof-work");
    pprof_kinds_enter();

    if (v->phase == STARTING) {
        v->begun = job->kind->begin(job) == 0;

    } else {
        job->kind->end(job, v->phase == ABANDONING);
    }

    pprof_kinds_leave();

    /* the loop stays until this thread was joined */
    atomic_store(&v->done, true);
    wake(loop);

    return NULL;
}


/* Runs a step in a thread; without one to be had, says so or does it here. */
static void
start_step(struct visit *v, enum phase phase)
{
    v->phase = phase;
    v->done = false;

    if (pprof_loop_thread(&v->thread, run_step, v) == 0) {
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


/* A step is done: what comes next? */
static void
next_step(struct visit *v)
{
    if (v->phase != STARTING || !v->begun) {
        finish(v);
        return;
    }

    v->begun = false;

    if (v->fd == -1) {
        start_step(v, ABANDONING);
        return;
    }

    v->phase = WAITING;
    v->until = now_msec() + v->job.ask.seconds * INT64_C(1000);
}


/* The client of a visit with work under way left. */
static void
leave(struct visit *v)
{
    v->gone = true;
    close_client(v);

    if (v->phase == WAITING) {
        start_step(v, ABANDONING);
    }
}


static unsigned
count_work(const struct pprof_loop *loop)
{
    unsigned n = 0;

    for (size_t i = 0; i < VISITS_MAX; i++) {
        n += loop->visits[i].phase >= STARTING
             && loop->visits[i].phase <= ABANDONING;
    }

    return n;
}


/* The request is there. */
static void
take_request(struct visit *v)
{
    struct pprof_loop *loop = v->loop;
    struct pprof_client *c = &v->client;
    struct pprof_job *job = &v->job;

    pprof_request_route(job, loop->policy, c->method, c->path, c->query,
                        c->body, c->body_len);
    job->gone = is_gone;
    job->gone_arg = v;

    if (job->kind != NULL && count_work(loop) >= WORK_MAX) {
        job->answer.retry_after = 1;
        pprof_answer_error(&job->answer, 503, "%d profile requests are under "
                           "way; retry when one has ended", WORK_MAX);
        job->kind = NULL;
    }

    if (job->kind == NULL) {
        finish(v);
        return;
    }

    start_step(v, job->kind->begin != NULL && job->ask.seconds != 0
                  ? STARTING : FINISHING);
}


static void
read_request(struct visit *v)
{
    switch (pprof_client_read(&v->client, &v->job.answer)) {

    case PPROF_CLIENT_MORE:
        v->until = now_msec() + IDLE_MSEC;
        break;

    case PPROF_CLIENT_DONE:
        take_request(v);
        break;

    case PPROF_CLIENT_REFUSED:
        finish(v);
        break;

    case PPROF_CLIENT_GONE:
        free_visit(v);
        break;
    }
}


/* Something happened at the client's end. */
static void
on_client(struct visit *v, short revents)
{
    switch (v->phase) {

    case READING:
        read_request(v);
        break;

    case STARTING:
    case WAITING:
    case FINISHING:
        if (revents & (POLLRDHUP | POLLHUP | POLLERR)) {
            leave(v);
        }

        break;

    case WRITING:
        if (revents & POLLOUT) {
            write_answer(v);

        } else if (revents & (POLLHUP | POLLERR)) {
            free_visit(v);
        }

        break;

    case DRAINING:
        if (pprof_client_drain(&v->client) == PPROF_CLIENT_GONE) {
            free_visit(v);
        }

        break;

    default:
        break;
    }
}


static void
on_time(struct visit *v)
{
    if (v->phase == WAITING) {
        start_step(v, FINISHING);

    } else {
        free_visit(v);
    }
}


/*
 * Answers the client at FD, whose request may be on its way, without what a
 * profile would need.
 */
static void
refuse_client(struct pprof_loop *loop, int fd, const char *sentence)
{
    struct pprof_job job = {
        .target = loop->policy->target,
        .answer = { .status = 503, .type = PPROF_TYPE_TEXT, .retry_after = 1 }
    };
    struct pprof_headers headers;
    struct pollfd ready = { .fd = fd, .events = POLLIN };
    char text[2048], request[4096];
    size_t n;

    pprof_answer_headers(&job, &headers);
    n = (size_t) snprintf(text, sizeof(text),
                          "HTTP/1.1 503 Service Unavailable\r\n"
                          "Connection: close\r\nContent-Length: %zu\r\n",
                          strlen(sentence));

    for (size_t i = 0; i < headers.n; i++) {
        n += (size_t) snprintf(text + n, sizeof(text) - n, "%s: %s\r\n",
                               headers.list[i].name, headers.list[i].value);
    }

    n += (size_t) snprintf(text + n, sizeof(text) - n, "\r\n%s", sentence);

    /* what stays unread makes the client see a reset */
    if (poll(&ready, 1, REFUSE_MSEC) == 1
        && recv(fd, request, sizeof(request), MSG_DONTWAIT) > 0)
    {
        (void) !send(fd, text, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
}


/*
 * Accepts one client; -1 when there is none.  *SPARE: by the descriptor that
 * was kept for when there is no other.
 */
static int
accept_client(struct pprof_loop *loop, bool *spare)
{
    const int flags = SOCK_CLOEXEC | SOCK_NONBLOCK;
    const int fd = accept4(loop->listen_fd, NULL, NULL, flags);

    *spare = false;

    if (fd != -1 || errno == EAGAIN || errno == EINTR
        || errno == ECONNABORTED)
    {
        return fd;
    }

    if ((errno != EMFILE && errno != ENFILE) || loop->spare_fd == -1) {
        /* the listener would be readable for ever */
        loop->accept_at = now_msec() + ACCEPT_PAUSE_MSEC;
        return -1;
    }

    close(loop->spare_fd);
    loop->spare_fd = -1;
    *spare = true;

    return accept4(loop->listen_fd, NULL, NULL, flags);
}


/*
 * Finds a free place.  When all are taken, who has been idle for longest
 * gives up his; NULL when all have work under way or are answered.
 */
static struct visit *
find_place(struct pprof_loop *loop)
{
    struct visit *idle = NULL;
    const int64_t now = now_msec();

    for (size_t i = 0; i < VISITS_MAX; i++) {
        struct visit *v = &loop->visits[i];

        if (v->phase == FREE) {
            return v;
        }

        /* who reads nothing of his answer is as good as gone */
        const bool stalled = v->phase == WRITING
                             && v->until < now + IDLE_MSEC - STALL_MSEC;

        if ((v->phase == READING || v->phase == DRAINING || stalled)
            && (idle == NULL || v->until < idle->until))
        {
            idle = v;
        }
    }

    if (idle != NULL) {
        free_visit(idle);
    }

    return idle;
}


static void
take_client(struct pprof_loop *loop)
{
    struct visit *v = find_place(loop);
    bool spare;

    if (v == NULL) {
        loop->accept_at = now_msec() + ACCEPT_PAUSE_MSEC;
        return;
    }

    /* no fork() in between: a child would keep it open */
    pthread_mutex_lock(&loop->lock);

    const int fd = accept_client(loop, &spare);

    if (fd != -1) {
        memset(&v->job, 0, sizeof(v->job));
        v->job.target = loop->policy->target;
        v->gone = false;
        v->done = false;
        v->begun = false;
        v->fd = fd;
        v->phase = READING;
        v->until = now_msec() + IDLE_MSEC;
        pprof_client_init(&v->client, fd,
                          loop->heads + (size_t) (v - loop->visits)
                                        * PPROF_CLIENT_HEAD_MAX);
    }

    pthread_mutex_unlock(&loop->lock);

    if (!spare) {
        return;
    }

    if (fd != -1) {
        refuse_client(loop, fd, "the program has no free descriptor; retry "
                      "later, or raise its limit (ulimit -n)\n");
        free_visit(v);
    }

    pthread_mutex_lock(&loop->lock);
    loop->spare_fd = fcntl(loop->wake_fd, F_DUPFD_CLOEXEC, 0);
    pthread_mutex_unlock(&loop->lock);
}


static void
measure(struct pprof_loop *loop)
{
    (void) pprof_tables_refresh(loop->policy->target);
    pprof_requests_second(loop->policy->target);
    loop->measure_at = now_msec() + pprof_charts_measure(loop->charts);
}


/* What to look for at a visit's client. */
static short
events_of(const struct visit *v)
{
    switch (v->phase) {

    case READING:
    case DRAINING:
        return POLLIN;

    case WRITING:
        return POLLOUT;

    default:
        return POLLRDHUP;
    }
}


/* What poll() is asked, and what it said. */
struct look {
    struct pollfd  fds[2 + VISITS_MAX];
    nfds_t         n;
    size_t         place[VISITS_MAX];   /* of a visit in FDS; 0: not there */
};


static size_t
add_look(struct look *look, int fd, short events)
{
    look->fds[look->n] = (struct pollfd) { .fd = fd, .events = events };

    return look->n++;
}


/*
 * Waits until something is to be done.  Only what is open is looked at: poll()
 * takes no more places than the limit of descriptors, which may be low.
 */
static void
wait_for_all(struct pprof_loop *loop, struct look *look)
{
    const int64_t now = now_msec();
    const bool paused = loop->accept_at > now;
    int64_t until = loop->charts == NULL ? now + IDLE_MSEC : loop->measure_at;

    look->n = 0;
    (void) add_look(look, loop->wake_fd, POLLIN);
    (void) add_look(look, paused ? -1 : loop->listen_fd, POLLIN);

    if (paused && loop->accept_at < until) {
        until = loop->accept_at;
    }

    for (size_t i = 0; i < VISITS_MAX; i++) {
        const struct visit *v = &loop->visits[i];
        const bool timed = v->phase == READING || v->phase == WAITING
                           || v->phase >= WRITING;

        look->place[i] = v->phase == FREE || v->fd == -1
                         ? 0 : add_look(look, v->fd, events_of(v));

        if (timed && v->until < until) {
            until = v->until;
        }
    }

    if (poll(look->fds, look->n, until <= now ? 0 : (int) (until - now))
        <= 0)
    {
        /* time has come, or a signal of libc's own, which nobody blocks */
        for (size_t i = 0; i < look->n; i++) {
            look->fds[i].revents = 0;
        }
    }
}


static void
look_after(struct visit *v, short revents, int64_t now)
{
    if (v->phase == STARTING || v->phase == FINISHING
        || v->phase == ABANDONING)
    {
        if (v->done) {
            pthread_join(v->thread, NULL);
            next_step(v);
            return;
        }

    } else if (v->phase != FREE
               && (v->until <= now || (v->phase == WAITING && v->loop->ended)))
    {
        on_time(v);
        return;
    }

    if (revents != 0) {
        on_client(v, revents);
    }
}


static void
run_loop(struct pprof_loop *loop)
{
    struct look look;
    uint64_t n;

    while (!loop->stopping) {
        wait_for_all(loop, &look);

        const int64_t now = now_msec();

        if (look.fds[0].revents != 0) {
            (void) !read(loop->wake_fd, &n, sizeof(n));
        }

        for (size_t i = 0; i < VISITS_MAX; i++) {
            look_after(&loop->visits[i],
                       look.place[i] == 0 ? 0
                       : look.fds[look.place[i]].revents, now);
        }

        if (look.fds[1].revents != 0) {
            take_client(loop);
        }

        if (loop->charts != NULL && loop->measure_at <= now) {
            measure(loop);
        }
    }
}


/* Ends what is under way, in the serving thread, without the loop. */
static void
abandon_all(struct pprof_loop *loop)
{
    for (size_t i = 0; i < VISITS_MAX; i++) {
        loop->visits[i].gone = true;
    }

    for (size_t i = 0; i < VISITS_MAX; i++) {
        struct visit *v = &loop->visits[i];

        if (v->phase == FREE) {
            continue;
        }

        if (v->phase == STARTING || v->phase == FINISHING
            || v->phase == ABANDONING)
        {
            pthread_join(v->thread, NULL);
        }

        if (v->phase == WAITING || (v->phase == STARTING && v->begun)) {
            v->job.kind->end(&v->job, true);
        }

        free_visit(v);
    }
}


void *
pprof_loop_run(void *arg)
{
    struct pprof_loop *loop = arg;

    pthread_setname_np(pthread_self(), "pprof");
    pprof_kinds_enter();

    if (loop->charts != NULL) {
        measure(loop);
    }

    run_loop(loop);
    abandon_all(loop);
    pprof_kinds_leave();

    return NULL;
}


void
pprof_loop_ended(struct pprof_loop *loop)
{
    loop->ended = true;
    wake(loop);
}


void
pprof_loop_stop(struct pprof_loop *loop)
{
    loop->stopping = true;
    wake(loop);
}


struct pprof_loop *
pprof_loop_create(int listen_fd, struct pprof_policy *policy)
{
    struct pprof_loop *loop = calloc(1, sizeof(struct pprof_loop));

    if (loop == NULL) {
        return NULL;
    }

    pthread_mutex_init(&loop->lock, NULL);
    loop->policy = policy;
    loop->listen_fd = listen_fd;
    loop->spare_fd = -1;
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    loop->visits = calloc(VISITS_MAX, sizeof(struct visit));
    loop->heads = mmap(NULL, HEADS_SIZE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (loop->wake_fd == -1 || loop->visits == NULL
        || loop->heads == MAP_FAILED)
    {
        const int error = errno;

        pprof_loop_free(loop);
        errno = error;

        return NULL;
    }

    for (size_t i = 0; i < VISITS_MAX; i++) {
        loop->visits[i].loop = loop;
        loop->visits[i].fd = -1;
    }

    loop->spare_fd = fcntl(loop->wake_fd, F_DUPFD_CLOEXEC, 0);

    /* a program that has no memory for charts may still be profiled */
    loop->charts = pprof_charts_create(policy->target);
    policy->charts = loop->charts;

    return loop;
}


void
pprof_loop_free(struct pprof_loop *loop)
{
    if (loop == NULL) {
        return;
    }

    if (loop->wake_fd != -1) {
        close(loop->wake_fd);
    }

    if (loop->spare_fd != -1) {
        close(loop->spare_fd);
    }

    if (loop->heads != MAP_FAILED) {
        munmap(loop->heads, HEADS_SIZE);
    }

    pprof_charts_free(loop->charts);
    pthread_mutex_destroy(&loop->lock);
    free(loop->visits);
    free(loop);
}


void
pprof_loop_lock(struct pprof_loop *loop)
{
    pthread_mutex_lock(&loop->lock);
}


void
pprof_loop_unlock(struct pprof_loop *loop)
{
    pthread_mutex_unlock(&loop->lock);
}


void
pprof_loop_child(struct pprof_loop *loop)
{
    for (size_t i = 0; i < VISITS_MAX; i++) {
        if (loop->visits[i].fd != -1) {
            close(loop->visits[i].fd);
        }
    }

    close(loop->listen_fd);
    close(loop->wake_fd);

    if (loop->spare_fd != -1) {
        close(loop->spare_fd);
    }
}
