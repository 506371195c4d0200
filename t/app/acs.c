/*
 * The demo application: an order server that has every fault one profiles
 * for.  An HTTP server on libevent, several threads with an event loop each,
 * one listening socket.
 *
 *     acs -p port [-a address] [-t threads] [-d where libpprof listens]
 *
 *     /             a page: a little work
 *     /hot?n=       n rounds (20) of acs_hot_digest(): CPU
 *     /order?bytes= handle_order() -> decode_order() -> session_put(); a
 *                   session of 8192 bytes, forgotten while the leak is on
 *     /leak/on      from now on sessions stay
 *     /leak/off     from now on sessions are freed; those that stay, stay
 *     /lock?us=     holds the one ledger's mutex for so long (1000)
 *     /slow?ms=     answers after so long (100), without blocking others
 *     /status       counters, JSON
 *
 * SIGTERM and SIGINT end it, exit status 0.  Without -d the listener of
 * libpprof is $PPROF_LISTEN; without that there is none.
 */

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/util.h>

#include <pprof.h>


/* The call tree is what this program is for: every function of it stays. */
#define FRAME  __attribute__((noinline, noclone))

enum {
    THREADS_MAX   = 64,
    SESSION_BYTES = 8192,
    LEDGER_BYTES  = 4096
};


struct session {
    struct session  *next;
    size_t           len;       /* bytes of data */
    unsigned char    data[];
};


/* Owner: main(). */
struct worker {
    pthread_t           thread;
    struct event_base  *base;
    struct evhttp      *http;
    struct event       *stop;   /* the pipe's other end was closed */
};


/* Owner: its request; freed by whichever comes first, timer or close. */
struct slow {
    struct evhttp_request  *req;
    struct event           *timer;
};


static struct {
    pthread_mutex_t  mutex;
    struct session  *sessions;
    size_t           nsessions;
    size_t           bytes;     /* of the sessions, as malloc was asked */
} store = { .mutex = PTHREAD_MUTEX_INITIALIZER };

static struct {
    pthread_mutex_t  mutex;
    unsigned char    page[LEDGER_BYTES];
    uint64_t         entries;
} ledger = { .mutex = PTHREAD_MUTEX_INITIALIZER };

static atomic_bool   leak;
static atomic_ulong  requests;
static atomic_ulong  orders;


/* -- work ---------------------------------------------------------------- */


FRAME static uint64_t
acs_hot_mix(uint64_t h, const unsigned char *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        h ^= p[i];
        h *= 0x100000001b3;
        h ^= h >> 29;
    }

    return h;
}


FRAME static uint64_t
acs_hot_digest(const unsigned char *p, size_t len, unsigned rounds)
{
    uint64_t  h = 0xcbf29ce484222325;

    for (unsigned i = 0; i < rounds; i++) {
        h = acs_hot_mix(h + i, p, len);

        /* a little of its own, so that it is a leaf too */
        for (unsigned j = 0; j < 4000; j++) {
            h = (h << 7 | h >> 57) + j;
            __asm__ volatile ("" : "+r" (h));
        }
    }

    return h;
}


FRAME static void
page_fill(unsigned char *page, size_t len, uint64_t seed)
{
    for (size_t i = 0; i < len; i++) {
        seed = seed * 6364136223846793005 + 1442695040888963407;
        page[i] = (unsigned char) (seed >> 56);
    }
}


FRAME static uint64_t
page_render(uint64_t seed, unsigned rounds)
{
    unsigned char  page[4096];

    page_fill(page, sizeof(page), seed);

    uint64_t  digest = acs_hot_digest(page, sizeof(page), rounds);

    return digest ^ page[digest % sizeof(page)];
}


FRAME static void
spend(unsigned usec)
{
    struct timespec  start, now;

    clock_gettime(CLOCK_MONOTONIC, &start);

    do {
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - start.tv_sec) * 1000000
             + (now.tv_nsec - start.tv_nsec) / 1000 < (long) usec);
}


FRAME static uint64_t
acs_lock_ledger(unsigned usec)
{
    pthread_mutex_lock(&ledger.mutex);

    uint64_t  entry = ++ledger.entries;
    ledger.page[entry % LEDGER_BYTES]++;
    spend(usec);

    pthread_mutex_unlock(&ledger.mutex);

    return entry;
}


/* Returns a copy that belongs to the store until session_drop(). */
FRAME static struct session *
session_put(const unsigned char *data, size_t len)
{
    struct session  *s = malloc(sizeof(*s) + len);

    if (s == NULL) {
        return NULL;
    }

    s->len = len;
    memcpy(s->data, data, len);

    pthread_mutex_lock(&store.mutex);
    s->next = store.sessions;
    store.sessions = s;
    store.nsessions++;
    store.bytes += sizeof(*s) + len;
    pthread_mutex_unlock(&store.mutex);

    return s;
}


static void
session_drop(struct session *s)
{
    pthread_mutex_lock(&store.mutex);

    for (struct session **p = &store.sessions; *p != NULL; p = &(*p)->next) {
        if (*p == s) {
            *p = s->next;
            store.nsessions--;
            store.bytes -= sizeof(*s) + s->len;
            break;
        }
    }

    pthread_mutex_unlock(&store.mutex);

    free(s);
}


FRAME static struct session *
decode_order(size_t len)
{
    unsigned char   *scratch = malloc(len);
    struct session  *s = NULL;

    if (scratch != NULL) {
        page_fill(scratch, len, len);
        s = session_put(scratch, len);
    }

    free(scratch);

    return s;
}


/* -- requests ------------------------------------------------------------ */


/* The number NAME of the query, DEF when there is none, at most MAX. */
static unsigned
argument(struct evhttp_request *req, const char *name, unsigned def,
    unsigned max)
{
    const char       *query;
    struct evkeyvalq  args;
    unsigned          n = def;

    query = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(req));

    if (query == NULL || evhttp_parse_query_str(query, &args) != 0) {
        return def;
    }

    const char *text = evhttp_find_header(&args, name);

    if (text != NULL) {
        char           *end;
        unsigned long   value = strtoul(text, &end, 10);

        if (end != text && *end == '\0') {
            n = value < max ? (unsigned) value : max;
        }
    }

    evhttp_clear_headers(&args);

    return n;
}


__attribute__((format(printf, 3, 4)))
static void
reply(struct evhttp_request *req, const char *type, const char *fmt, ...)
{
    struct evbuffer  *body = evbuffer_new();
    va_list           ap;

    if (body == NULL) {
        evhttp_send_error(req, HTTP_INTERNAL, NULL);
        return;
    }

    va_start(ap, fmt);
    evbuffer_add_vprintf(body, fmt, ap);
    va_end(ap);

    evhttp_add_header(evhttp_request_get_output_headers(req),
                      "Content-Type", type);
    evhttp_send_reply(req, HTTP_OK, "OK", body);
    evbuffer_free(body);
}


FRAME static void
handle_page(struct evhttp_request *req, void *arg)
{
    unsigned long  n = atomic_fetch_add(&requests, 1);

    (void) arg;

    reply(req, "text/plain", "acs: page %016llx\n",
          (unsigned long long) page_render(n, 2));
}


FRAME static void
handle_hot(struct evhttp_request *req, void *arg)
{
    unsigned long  n = atomic_fetch_add(&requests, 1);
    unsigned       rounds = argument(req, "n", 20, 100000);

    (void) arg;

    reply(req, "text/plain", "acs: hot %016llx\n",
          (unsigned long long) page_render(n, rounds));
}


FRAME static void
handle_order(struct evhttp_request *req, void *arg)
{
    unsigned  len = argument(req, "bytes", SESSION_BYTES, 64 << 20);

    (void) arg;

    atomic_fetch_add(&requests, 1);
    atomic_fetch_add(&orders, 1);

    struct session  *s = decode_order(len);

    if (s == NULL) {
        evhttp_send_error(req, HTTP_INTERNAL, NULL);
        return;
    }

    reply(req, "text/plain", "acs: order of %u bytes\n", len);

    /* this is the bug */
    if (!atomic_load(&leak)) {
        session_drop(s);
    }
}


static void
handle_leak(struct evhttp_request *req, void *arg)
{
    bool  on = arg != NULL;

    atomic_fetch_add(&requests, 1);
    atomic_store(&leak, on);
    reply(req, "text/plain", "acs: leak %s\n", on ? "on" : "off");
}


FRAME static void
handle_lock(struct evhttp_request *req, void *arg)
{
    unsigned  usec = argument(req, "us", 1000, 1000000);

    (void) arg;

    atomic_fetch_add(&requests, 1);
    reply(req, "text/plain", "acs: ledger entry %llu\n",
          (unsigned long long) acs_lock_ledger(usec));
}


static void
slow_free(struct slow *slow)
{
    event_free(slow->timer);
    free(slow);
}


static void
slow_gone(struct evhttp_connection *conn, void *arg)
{
    (void) conn;
    slow_free(arg);
}


static void
slow_done(evutil_socket_t fd, short what, void *arg)
{
    struct slow            *slow = arg;
    struct evhttp_request  *req = slow->req;

    (void) fd;
    (void) what;

    evhttp_connection_set_closecb(evhttp_request_get_connection(req), NULL,
                                  NULL);
    slow_free(slow);
    reply(req, "text/plain", "acs: at last\n");
}


static void
handle_slow(struct evhttp_request *req, void *arg)
{
    struct worker   *worker = arg;
    unsigned         msec = argument(req, "ms", 100, 3600 * 1000);
    struct timeval   tv = { .tv_sec = msec / 1000,
                            .tv_usec = msec % 1000 * 1000 };
    struct slow     *slow = malloc(sizeof(*slow));

    atomic_fetch_add(&requests, 1);

    if (slow != NULL) {
        slow->req = req;
        slow->timer = evtimer_new(worker->base, slow_done, slow);

        if (slow->timer != NULL && evtimer_add(slow->timer, &tv) == 0) {
            evhttp_connection_set_closecb(
                evhttp_request_get_connection(req), slow_gone, slow);
            return;
        }

        if (slow->timer != NULL) {
            event_free(slow->timer);
        }

        free(slow);
    }

    evhttp_send_error(req, HTTP_INTERNAL, NULL);
}


static void
handle_status(struct evhttp_request *req, void *arg)
{
    (void) arg;

    pthread_mutex_lock(&store.mutex);
    size_t  nsessions = store.nsessions;
    size_t  bytes = store.bytes;
    pthread_mutex_unlock(&store.mutex);

    pthread_mutex_lock(&ledger.mutex);
    uint64_t  entries = ledger.entries;
    pthread_mutex_unlock(&ledger.mutex);

    reply(req, "application/json",
          "{\"pid\":%d,\"requests\":%lu,\"orders\":%lu,\"leak\":%s,"
          "\"sessions\":%zu,\"session_bytes\":%zu,\"ledger\":%llu}\n",
          (int) getpid(), atomic_load(&requests), atomic_load(&orders),
          atomic_load(&leak) ? "true" : "false", nsessions, bytes,
          (unsigned long long) entries);
}


/* -- threads ------------------------------------------------------------- */


static void *
worker_run(void *arg)
{
    struct worker  *worker = arg;

    event_base_dispatch(worker->base);

    return NULL;
}


static void
worker_stop(evutil_socket_t fd, short what, void *arg)
{
    (void) fd;
    (void) what;

    event_base_loopbreak(arg);
}


static int
worker_init(struct worker *worker, evutil_socket_t listener,
    evutil_socket_t stop)
{
    worker->base = event_base_new();
    if (worker->base == NULL) {
        return -1;
    }

    worker->http = evhttp_new(worker->base);
    worker->stop = event_new(worker->base, stop, EV_READ, worker_stop,
                             worker->base);

    /* a descriptor of its own: evhttp closes what it was given */
    if (worker->http == NULL || worker->stop == NULL
        || event_add(worker->stop, NULL) != 0
        || evhttp_accept_socket(worker->http, dup(listener)) != 0)
    {
        return -1;
    }

    evhttp_set_allowed_methods(worker->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD
                                             | EVHTTP_REQ_POST);

    evhttp_set_cb(worker->http, "/", handle_page, NULL);
    evhttp_set_cb(worker->http, "/hot", handle_hot, NULL);
    evhttp_set_cb(worker->http, "/order", handle_order, NULL);
    evhttp_set_cb(worker->http, "/leak/on", handle_leak, worker);
    evhttp_set_cb(worker->http, "/leak/off", handle_leak, NULL);
    evhttp_set_cb(worker->http, "/lock", handle_lock, NULL);
    evhttp_set_cb(worker->http, "/slow", handle_slow, worker);
    evhttp_set_cb(worker->http, "/status", handle_status, NULL);

    return pthread_create(&worker->thread, NULL, worker_run, worker);
}


static void
worker_free(struct worker *worker)
{
    /* connections first: their close callbacks free what waits */
    evhttp_free(worker->http);
    event_free(worker->stop);
    event_base_free(worker->base);
}


static int
listen_at(const char *address, unsigned port)
{
    struct evutil_addrinfo  hints = { .ai_family = AF_UNSPEC,
                                      .ai_socktype = SOCK_STREAM,
                                      .ai_flags = EVUTIL_AI_PASSIVE
                                                  | EVUTIL_AI_NUMERICHOST };
    struct evutil_addrinfo *ai;
    char                    text[16];

    snprintf(text, sizeof(text), "%u", port);

    if (evutil_getaddrinfo(address, text, &hints, &ai) != 0) {
        errno = EINVAL;
        return -1;
    }

    int  fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd != -1
        && (evutil_make_listen_socket_reuseable(fd) != 0
            || evutil_make_socket_nonblocking(fd) != 0
            || bind(fd, ai->ai_addr, ai->ai_addrlen) != 0
            || listen(fd, 511) != 0))
    {
        int  err = errno;
        close(fd);
        errno = err;
        fd = -1;
    }

    evutil_freeaddrinfo(ai);

    return fd;
}


int
main(int argc, char **argv)
{
    const char     *address = "127.0.0.1";
    const char     *debug = getenv("PPROF_LISTEN");
    unsigned        port = 0;
    unsigned        n = 4;
    int             c;
    static struct worker  workers[THREADS_MAX];

    while ((c = getopt(argc, argv, "a:d:p:t:")) != -1) {
        switch (c) {

        case 'a':
            address = optarg;
            break;

        case 'd':
            debug = optarg;
            break;

        case 'p':
            port = (unsigned) atoi(optarg);
            break;

        case 't':
            n = (unsigned) atoi(optarg);
            break;

        default:
            n = 0;
        }
    }

    if (port == 0 || port > 65535 || n == 0 || n > THREADS_MAX
        || optind != argc)
    {
        fprintf(stderr, "usage: acs -p port [-a address] [-t threads]"
                        " [-d unix:path|address:port]\n");
        return 2;
    }

    /* before any thread: only sigwait() below gets them */
    sigset_t  set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);

    int  fd = listen_at(address, port);
    int  stop[2];

    if (fd == -1 || pipe(stop) != 0) {
        fprintf(stderr, "acs: cannot listen at %s:%u: %s\n", address, port,
                strerror(errno));
        return 1;
    }

    if (debug != NULL && *debug != '\0' && pprof_start(debug, NULL) != 0) {
        fprintf(stderr, "acs: pprof_start(\"%s\"): %s\n", debug,
                strerror(errno));
        return 1;
    }

    for (unsigned i = 0; i < n; i++) {
        if (worker_init(&workers[i], fd, stop[0]) != 0) {
            fprintf(stderr, "acs: cannot start thread %u\n", i);
            return 1;
        }
    }

    int  sig;
    sigwait(&set, &sig);

    /* end of file wakes every loop, and is still there for the next */
    close(stop[1]);

    for (unsigned i = 0; i < n; i++) {
        pthread_join(workers[i].thread, NULL);
    }

    pprof_stop();

    for (unsigned i = 0; i < n; i++) {
        worker_free(&workers[i]);
    }

    close(fd);
    close(stop[0]);

    while (store.sessions != NULL) {
        session_drop(store.sessions);
    }

    return 0;
}
