/*
 * Servers of several shapes whose handlers know what they cost.
 *
 *     routes serve SHAPE PORT FILE [US]
 *     routes load PORT CONNECTIONS SECONDS [mark|bare]
 *
 * Five routes, /r1 … /r5, each a function of its own that computes for 1, 2,
 * 4, 8, 16 times US (100) microseconds by its thread's clock.  FILE has what
 * they computed, ns each, then how often: ten numbers of 64 bits; of a child
 * its number is added to the name.
 *
 * Shapes: thread    a thread for each connection
 *         pool      threads that wait for connections and read themselves
 *         workers   one reads, others work behind a queue and write
 *         epoll     one thread, which reads all that is there and works then
 *         prefork   processes that accept and serve one connection at a time
 *         loop      one reads and writes, others work behind a queue
 *         labeled   the same, and workers say whose work they do
 *
 * How it reads and writes is in the environment: CHUNK, bytes at once; PEEK=1
 * looks first; READ is read, recv, recvfrom, recvmsg or readv; WRITE is write,
 * send, sendto, sendmsg or writev.
 *
 * The load sends requests as nginx does, with its mark; "bare": without.
 */

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>


enum { ROUTES = 5, WORKERS = 4, CHILDREN = 3, EVENTS = 64, QUEUE = 1024 };

struct used {
    _Atomic uint64_t  nsec[ROUTES];
    _Atomic uint64_t  times[ROUTES];
    _Atomic uint32_t  who[1024];        /* works on the request of that
                                           number, by its last digits */
};

struct work {
    int       fd, route;
    unsigned  id, msec;
};

static struct used  *used;
static const char   *file;
static uint64_t      unit = 100000;     /* ns */
static int           listener;

extern void pprof_label(const char *) __attribute__((weak));


static void
die(const char *what)
{
    perror(what);
    exit(1);
}


static uint64_t
clock_nsec(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);

    return (uint64_t) ts.tv_sec * 1000000000u + (uint64_t) ts.tv_nsec;
}


static void
map_used(const char *name)
{
    const int fd = open(name, O_RDWR | O_CREAT, 0600);

    if (fd == -1 || ftruncate(fd, sizeof(*used)) == -1) {
        die(name);
    }

    used = mmap(NULL, sizeof(*used), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                0);

    if (used == MAP_FAILED) {
        die("mmap");
    }

    close(fd);
}


/* Computes until its thread has computed for NSEC. */
static inline __attribute__((always_inline)) void
compute(int route, uint64_t nsec)
{
    const uint64_t start = clock_nsec(CLOCK_THREAD_CPUTIME_ID);
    volatile unsigned sink = 0;
    uint64_t now;

    do {
        for (unsigned i = 0; i < 20000; i++) {
            sink += i;
        }

        now = clock_nsec(CLOCK_THREAD_CPUTIME_ID);
    } while (now - start < nsec);

    used->nsec[route] += now - start;
    used->times[route]++;
}


#define ROUTE(n)                                                              \
    __attribute__((noinline)) static void                                     \
    handle_##n(const struct work *work)                                       \
    {                                                                         \
        if (work->msec != 0) {                                                \
            usleep(work->msec * 1000);                                        \
        }                                                                     \
                                                                              \
        compute(n - 1, unit << (n - 1));                                      \
        __asm__ volatile("");                                                 \
    }

ROUTE(1)
ROUTE(2)
ROUTE(3)
ROUTE(4)
ROUTE(5)

static void (*const handlers[ROUTES])(const struct work *) = {
    handle_1, handle_2, handle_3, handle_4, handle_5
};


static void
handle(const struct work *work)
{
    _Atomic uint32_t *const who = &used->who[work->id & 1023];

    *who = (uint32_t) gettid();
    handlers[work->route](work);
    *who = 0;
}


static const char *read_by = "read", *write_by = "write";
static size_t      chunk = 4095;
static bool        peek;
static size_t      drop;

static ssize_t
get(int fd, void *buf, size_t n)
{
    struct iovec iov[2] = {
        { buf, n / 2 }, { (char *) buf + n / 2, n - n / 2 }
    };
    struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

    if (peek) {
        (void) !recv(fd, buf, n, MSG_PEEK);
    }

    return strcmp(read_by, "recv") == 0 ? recv(fd, buf, n, 0)
           : strcmp(read_by, "recvfrom") == 0
           ? recvfrom(fd, buf, n, 0, NULL, NULL)
           : strcmp(read_by, "recvmsg") == 0 ? recvmsg(fd, &msg, 0)
           : strcmp(read_by, "readv") == 0 ? readv(fd, iov, 2)
           : read(fd, buf, n);
}


static ssize_t
put(int fd, const void *buf, size_t n)
{
    struct iovec iov = { (void *) buf, n };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

    return strcmp(write_by, "send") == 0 ? send(fd, buf, n, 0)
           : strcmp(write_by, "sendto") == 0 ? sendto(fd, buf, n, 0, NULL, 0)
           : strcmp(write_by, "sendmsg") == 0 ? sendmsg(fd, &msg, 0)
           : strcmp(write_by, "writev") == 0 ? writev(fd, &iov, 1)
           : write(fd, buf, n);
}


/* What comes first is thrown away, which needs no buffer. */
static void
throw_away(int fd)
{
    struct iovec iov = { NULL, drop };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

    (void) !(strcmp(read_by, "recvmsg") == 0 ? recvmsg(fd, &msg, MSG_TRUNC)
             : strcmp(read_by, "recvfrom") == 0
             ? recvfrom(fd, NULL, drop, MSG_TRUNC, NULL, NULL)
             : recv(fd, NULL, drop, MSG_TRUNC));
}


/* Reads a request; its route is -1 where there is none. */
static struct work
read_request(int fd)
{
    struct work work = { .fd = fd, .route = -1 };
    char buf[4096];
    size_t n = 0;

    if (drop != 0) {
        throw_away(fd);
    }

    do {
        const size_t left = sizeof(buf) - 1 - n;
        const ssize_t got = get(fd, buf + n, chunk < left ? chunk : left);

        if (got <= 0) {
            return work;
        }

        n += (size_t) got;
    } while (n < sizeof(buf) - 1 && memmem(buf, n, "\r\n\r\n", 4) == NULL);

    buf[n] = '\0';

    const char *const r = strstr(buf, "/r");
    const char *const id = strchr(buf, ';');

    work.route = 0;

    if (r != NULL && r[2] >= '1' && r[2] <= '0' + ROUTES) {
        work.route = r[2] - '1';
        work.msec = r[3] == '?' ? (unsigned) atoi(r + 4) : 0;
    }

    if (id != NULL) {
        work.id = (unsigned) strtoul(id + 1, NULL, 16);
    }

    return work;
}


static void
answer(int fd)
{
    static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

    /* the client has gone; a loop has closed what a worker was at */
    if (put(fd, text, sizeof(text) - 1) == -1 && errno != EPIPE
        && errno != ECONNRESET && errno != EBADF)
    {
        die("write");
    }
}


static int
accept_one(void)
{
    const int one = 1, fd = accept(listener, NULL, NULL);

    if (fd != -1) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    }

    return fd;
}


static void
spawn(void *(*run)(void *), void *arg)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, run, arg) != 0) {
        die("pthread_create");
    }

    pthread_detach(thread);
}


static void
serve(int fd)
{
    struct work work;

    while ((work = read_request(fd)).route != -1) {
        handle(&work);
        answer(fd);
    }

    close(fd);
}


static void *
serve_thread(void *arg)
{
    serve((int) (intptr_t) arg);

    return NULL;
}


static void
run_thread(void)
{
    for ( ;; ) {
        const int fd = accept_one();

        if (fd != -1) {
            spawn(serve_thread, (void *) (intptr_t) fd);
        }
    }
}


/* A set of descriptors, each for one at a time where ONESHOT. */
static int  events;
static bool oneshot;

static void
watch(int op, int fd)
{
    struct epoll_event event = {
        .events = EPOLLIN | (oneshot && fd != listener ? EPOLLONESHOT : 0),
        .data.fd = fd
    };

    epoll_ctl(events, op, fd, &event);
}


static void *
pool_thread(void *arg)
{
    struct epoll_event event;

    (void) arg;

    for ( ;; ) {
        if (epoll_wait(events, &event, 1, -1) != 1) {
            continue;
        }

        const int fd = event.data.fd;
        const struct work work = read_request(fd);

        if (work.route == -1) {
            close(fd);
            continue;
        }

        handle(&work);
        answer(fd);
        watch(EPOLL_CTL_MOD, fd);
    }

    return NULL;
}


static void
run_pool(void)
{
    oneshot = true;

    for (int i = 0; i < WORKERS; i++) {
        spawn(pool_thread, NULL);
    }

    for ( ;; ) {
        const int fd = accept_one();

        if (fd != -1) {
            watch(EPOLL_CTL_ADD, fd);
        }
    }
}


/* A queue and who waits for it. */
struct queue {
    pthread_mutex_t  lock;
    pthread_cond_t   there;
    struct work      work[QUEUE];
    unsigned         in, out;
};

static struct queue  todo = { .lock = PTHREAD_MUTEX_INITIALIZER,
                              .there = PTHREAD_COND_INITIALIZER };
static struct queue  done = { .lock = PTHREAD_MUTEX_INITIALIZER };
static int           bell = -1;
static bool          labels;

static void
push(struct queue *q, struct work work)
{
    pthread_mutex_lock(&q->lock);
    q->work[q->in++ % QUEUE] = work;
    pthread_cond_signal(&q->there);
    pthread_mutex_unlock(&q->lock);
}


static void *
worker_thread(void *arg)
{
    static const char *const names[] = { "/r1", "/r2", "/r3", "/r4", "/r5" };
    const uint64_t one = 1;

    (void) arg;

    for ( ;; ) {
        pthread_mutex_lock(&todo.lock);

        while (todo.in == todo.out) {
            pthread_cond_wait(&todo.there, &todo.lock);
        }

        const struct work work = todo.work[todo.out++ % QUEUE];

        pthread_mutex_unlock(&todo.lock);

        if (labels && pprof_label) {
            pprof_label(names[work.route]);
        }

        handle(&work);

        if (labels && pprof_label) {
            pprof_label(NULL);
        }

        if (bell == -1) {
            answer(work.fd);

        } else {
            push(&done, work);
            (void) !write(bell, &one, sizeof(one));
        }
    }

    return NULL;
}


static void
take_done(void)
{
    uint64_t n;

    (void) !read(bell, &n, sizeof(n));
    pthread_mutex_lock(&done.lock);

    while (done.in != done.out) {
        answer(done.work[done.out++ % QUEUE].fd);
    }

    pthread_mutex_unlock(&done.lock);
}


/* One loop: what to do with a request is said by WORK. */
static void
run_loop(void (*work)(const struct work *, int))
{
    struct epoll_event ready[EVENTS];
    struct work batch[EVENTS];

    watch(EPOLL_CTL_ADD, listener);

    if (bell != -1) {
        watch(EPOLL_CTL_ADD, bell);
    }

    for ( ;; ) {
        const int n = epoll_wait(events, ready, EVENTS, -1);
        int count = 0;

        for (int i = 0; i < n; i++) {
            const int fd = ready[i].data.fd;

            if (fd == listener) {
                watch(EPOLL_CTL_ADD, accept_one());
                continue;
            }

            if (fd == bell) {
                take_done();
                continue;
            }

            batch[count] = read_request(fd);

            if (batch[count].route == -1) {
                close(fd);

            } else {
                count++;
            }
        }

        work(batch, count);
    }
}


static void
work_here(const struct work *batch, int n)
{
    for (int i = 0; i < n; i++) {
        handle(&batch[i]);
        answer(batch[i].fd);
    }
}


static void
work_there(const struct work *batch, int n)
{
    for (int i = 0; i < n; i++) {
        push(&todo, batch[i]);
    }
}


static void
run_workers(void)
{
    for (int i = 0; i < WORKERS; i++) {
        spawn(worker_thread, NULL);
    }

    run_loop(work_there);
}


static void
run_prefork(void)
{
    for (int i = 0; i < CHILDREN; i++) {
        if (fork() == 0) {
            char name[4096];

            snprintf(name, sizeof(name), "%s.%d", file, (int) getpid());
            map_used(name);

            for ( ;; ) {
                const int fd = accept_one();

                if (fd != -1) {
                    serve(fd);
                }
            }
        }
    }

    while (wait(NULL) != -1) { /* void */ }
}


static void
run(const char *shape)
{
    events = epoll_create1(0);

    if (strcmp(shape, "thread") == 0) {
        run_thread();

    } else if (strcmp(shape, "pool") == 0) {
        run_pool();

    } else if (strcmp(shape, "workers") == 0) {
        run_workers();

    } else if (strcmp(shape, "epoll") == 0) {
        run_loop(work_here);

    } else if (strcmp(shape, "prefork") == 0) {
        run_prefork();

    } else if (strcmp(shape, "loop") == 0 || strcmp(shape, "labeled") == 0) {
        labels = strcmp(shape, "labeled") == 0;
        bell = eventfd(0, 0);
        run_workers();
    }

    fprintf(stderr, "no such shape: %s\n", shape);
    exit(2);
}


/* The load. */

static struct sockaddr_in  address = { .sin_family = AF_INET };
static uint64_t            until;
static bool                mark = true;

static void *
ask(void *arg)
{
    unsigned random = (unsigned) (uintptr_t) arg * 2654435761u + 1;
    const int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    char buf[4096], header[64] = "";

    if (connect(fd, (struct sockaddr *) &address, sizeof(address)) == -1) {
        die("connect");
    }

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));

    while (clock_nsec(CLOCK_MONOTONIC) < until) {
        const int route = (int) ((random = random * 1664525u + 1013904223u)
                                 >> 16) % ROUTES + 1;

        if (mark) {
            snprintf(header, sizeof(header), "X-Debug-Route: /r%d;%08x\r\n",
                     route, random);
        }

        const int n = snprintf(buf, sizeof(buf), "GET /r%d HTTP/1.1\r\n%s"
                               "Host: a\r\n\r\n", route, header);

        if (write(fd, buf, (size_t) n) != n || read(fd, buf, sizeof(buf)) <= 0)
        {
            break;
        }
    }

    close(fd);

    return NULL;
}


static int
load(int connections, double seconds)
{
    pthread_t *threads = calloc((size_t) connections, sizeof(*threads));

    until = clock_nsec(CLOCK_MONOTONIC) + (uint64_t) (seconds * 1e9);

    for (int i = 0; i < connections; i++) {
        if (pthread_create(&threads[i], NULL, ask, (void *) (intptr_t) i)
            != 0)
        {
            die("pthread_create");
        }
    }

    for (int i = 0; i < connections; i++) {
        pthread_join(threads[i], NULL);
    }

    free(threads);

    return 0;
}


int
main(int argc, char **argv)
{
    const int one = 1;

    drop = getenv("DROP") != NULL ? (size_t) atoi(getenv("DROP")) : 0;
    signal(SIGPIPE, SIG_IGN);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    if (argc >= 5 && strcmp(argv[1], "load") == 0) {
        address.sin_port = htons((uint16_t) atoi(argv[2]));
        mark = argc < 6 || strcmp(argv[5], "bare") != 0;

        return load(atoi(argv[3]), atof(argv[4]));
    }

    if (argc < 5 || strcmp(argv[1], "serve") != 0) {
        fprintf(stderr, "see the head of routes.c\n");
        return 2;
    }

    read_by = getenv("READ") != NULL ? getenv("READ") : read_by;
    write_by = getenv("WRITE") != NULL ? getenv("WRITE") : write_by;
    chunk = getenv("CHUNK") != NULL ? (size_t) atoi(getenv("CHUNK")) : chunk;
    peek = getenv("PEEK") != NULL;
    address.sin_port = htons((uint16_t) atoi(argv[3]));
    file = argv[4];
    unit = argc > 5 ? (uint64_t) atoll(argv[5]) * 1000 : unit;
    map_used(file);

    listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));

    if (bind(listener, (struct sockaddr *) &address, sizeof(address)) == -1
        || listen(listener, 128) == -1)
    {
        die("bind");
    }

    run(argv[2]);

    return 0;
}
