/*
 * Functions that read, write and wait for descriptors: each looks whether
 * somebody asks for routes, and goes on to the next definition.
 *
 * GUEST ROOM.  For libpprof.so only, as locks.c.  See routes.h.
 *
 * What the next definition does and returns is what the caller gets, errno
 * too; it is called once, and where a thread is canceled in it nothing is to
 * be undone.
 *
 * What does not come through here, a system call of the program's own (Go),
 * io_uring, splice(), libc's FILE, has no route.
 *
 * Concurrency: each pointer to a next definition is written once, with the
 * same value by whoever is first.
 */

#include <dlfcn.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "guest/routes.h"


#define EXPORT  __attribute__((visibility("default"), noinline))
#define SLOW    __attribute__((noinline, cold)) static

/* glibc has them for programs that were compiled with _FORTIFY_SOURCE. */
ssize_t __read_chk(int fd, void *buf, size_t n, size_t size);
ssize_t __recv_chk(int fd, void *buf, size_t n, size_t size, int flags);
ssize_t __recvfrom_chk(int fd, void *buf, size_t n, size_t size, int flags,
    struct sockaddr *restrict addr, socklen_t *restrict len);
int __poll_chk(struct pollfd *fds, nfds_t n, int msec, size_t size);
int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *until,
    const sigset_t *mask, size_t size);


/*
 * All of them: name, result, parameters, arguments.  Of reads, the flags too:
 * with MSG_TRUNC what came is thrown away, and the buffer may be nowhere.
 */
#define READS(X)                                                              \
    X(read, ssize_t, (int fd, void *buf, size_t n), (fd, buf, n), 0)          \
    X(__read_chk, ssize_t, (int fd, void *buf, size_t n, size_t size),        \
      (fd, buf, n, size), 0)                                                  \
    X(recv, ssize_t, (int fd, void *buf, size_t n, int flags),                \
      (fd, buf, n, flags), flags)                                             \
    X(__recv_chk, ssize_t,                                                    \
      (int fd, void *buf, size_t n, size_t size, int flags),                  \
      (fd, buf, n, size, flags), flags)                                       \
    X(recvfrom, ssize_t,                                                      \
      (int fd, void *restrict buf, size_t n, int flags,                       \
       struct sockaddr *restrict addr, socklen_t *restrict len),              \
      (fd, buf, n, flags, addr, len), flags)                                  \
    X(__recvfrom_chk, ssize_t,                                                \
      (int fd, void *restrict buf, size_t n, size_t size, int flags,          \
       struct sockaddr *restrict addr, socklen_t *restrict len),              \
      (fd, buf, n, size, flags, addr, len), flags)

#define VECTORS(X)                                                            \
    X(readv, ssize_t, (int fd, const struct iovec *iov, int count),           \
      (fd, iov, count), iov, (size_t) count, 0)                               \
    X(recvmsg, ssize_t, (int fd, struct msghdr *msg, int flags),              \
      (fd, msg, flags), msg->msg_iov, msg->msg_iovlen, flags)

#define WRITES(X)                                                             \
    X(write, ssize_t, (int fd, const void *buf, size_t n), (fd, buf, n))      \
    X(send, ssize_t, (int fd, const void *buf, size_t n, int flags),          \
      (fd, buf, n, flags))                                                    \
    X(sendto, ssize_t,                                                        \
      (int fd, const void *buf, size_t n, int flags,                          \
       const struct sockaddr *addr, socklen_t len),                           \
      (fd, buf, n, flags, addr, len))                                         \
    X(sendmsg, ssize_t, (int fd, const struct msghdr *msg, int flags),        \
      (fd, msg, flags))                                                       \
    X(sendmmsg, int,                                                          \
      (int fd, struct mmsghdr *msgs, unsigned n, int flags),                  \
      (fd, msgs, n, flags))                                                   \
    X(writev, ssize_t, (int fd, const struct iovec *iov, int count),          \
      (fd, iov, count))                                                       \
    X(sendfile, ssize_t, (int fd, int from, off_t *at, size_t n),             \
      (fd, from, at, n))                                                      \
    X(sendfile64, ssize_t, (int fd, int from, off64_t *at, size_t n),         \
      (fd, from, at, n))

/* What is closed is forgotten before, what is made after. */
#define CLOSES(X)                                                             \
    X(close, int, (int fd), (fd), fd)                                         \
    X(dup2, int, (int old, int fd), (old, fd), fd)                            \
    X(dup3, int, (int old, int fd, int flags), (old, fd, flags), fd)

#define MAKES(X)                                                              \
    X(accept, int,                                                            \
      (int fd, struct sockaddr *restrict addr, socklen_t *restrict len),      \
      (fd, addr, len))                                                        \
    X(accept4, int,                                                           \
      (int fd, struct sockaddr *restrict addr, socklen_t *restrict len,       \
       int flags),                                                            \
      (fd, addr, len, flags))

#define SOCKETS(X)                                                            \
    X(socket, int, (int domain, int type, int protocol),                      \
      (domain, type, protocol))

#define WAITS(X)                                                              \
    X(epoll_wait, int,                                                        \
      (int fd, struct epoll_event *events, int n, int msec),                  \
      (fd, events, n, msec))                                                  \
    X(epoll_pwait, int,                                                       \
      (int fd, struct epoll_event *events, int n, int msec,                   \
       const sigset_t *mask),                                                 \
      (fd, events, n, msec, mask))                                            \
    X(epoll_pwait2, int,                                                      \
      (int fd, struct epoll_event *events, int n,                             \
       const struct timespec *until, const sigset_t *mask),                   \
      (fd, events, n, until, mask))                                           \
    X(poll, int, (struct pollfd *fds, nfds_t n, int msec), (fds, n, msec))    \
    X(__poll_chk, int,                                                        \
      (struct pollfd *fds, nfds_t n, int msec, size_t size),                  \
      (fds, n, msec, size))                                                   \
    X(ppoll, int,                                                             \
      (struct pollfd *fds, nfds_t n, const struct timespec *until,            \
       const sigset_t *mask),                                                 \
      (fds, n, until, mask))                                                  \
    X(__ppoll_chk, int,                                                       \
      (struct pollfd *fds, nfds_t n, const struct timespec *until,            \
       const sigset_t *mask, size_t size),                                    \
      (fds, n, until, mask, size))                                            \
    X(select, int,                                                            \
      (int n, fd_set *restrict in, fd_set *restrict out,                      \
       fd_set *restrict other, struct timeval *restrict until),               \
      (n, in, out, other, until))                                             \
    X(pselect, int,                                                           \
      (int n, fd_set *restrict in, fd_set *restrict out,                      \
       fd_set *restrict other, const struct timespec *restrict until,         \
       const sigset_t *restrict mask),                                        \
      (n, in, out, other, until, mask))

#define ALL(X)                                                                \
    READS(X) VECTORS(X) WRITES(X) CLOSES(X) MAKES(X) SOCKETS(X) WAITS(X)


#define FIRST(name, type, params, ...)  static type first_##name params;
ALL(FIRST)

/* Never NULL where there is such a function: the first call finds all. */
#define NEXT(name, type, params, ...)  type (*name) params;
#define BEGIN(name, type, params, ...)  .name = first_##name,

static struct {
    ALL(NEXT)
} next = {
    ALL(BEGIN)
};


static void
find_all(void)
{
#define FIND(name, type, params, ...)                                         \
    {                                                                         \
        void *const p = dlsym(RTLD_NEXT, #name);                              \
                                                                              \
        if (p != NULL) {                                                      \
            *(void **) &next.name = p;                                        \
        }                                                                     \
    }
    ALL(FIND)
#undef FIND
}


__attribute__((constructor(101))) static void
prepare(void)
{
    find_all();
    pprof_routes_hook();
}


/* What is not there now was not there when the program was linked. */
#define CALL_FIRST(name, type, params, args, ...)                             \
    static type                                                               \
    first_##name params                                                       \
    {                                                                         \
        find_all();                                                           \
                                                                              \
        return next.name == first_##name ? (type) -1 : next.name args;        \
    }

ALL(CALL_FIRST)


/* The quick way is a load, a test and a jump. */
#define QUICK(name, type, params, args)                                       \
    EXPORT type                                                               \
    name params                                                               \
    {                                                                         \
        return pprof_routes_on() ? slow_##name args : next.name args;         \
    }


#define READ(name, type, params, args, flags)                                 \
    SLOW type                                                                 \
    slow_##name params                                                        \
    {                                                                         \
        pprof_routes_reading(fd);                                             \
                                                                              \
        const type got = next.name args;                                      \
                                                                              \
        if (got > 0 && ((flags) & MSG_TRUNC) == 0) {                          \
            const struct iovec iov = { buf, n };                              \
                                                                              \
            pprof_routes_came(fd, &iov, 1, (size_t) got);                     \
        }                                                                     \
                                                                              \
        return got;                                                           \
    }                                                                         \
                                                                              \
    QUICK(name, type, params, args)

READS(READ)


#define VECTOR(name, type, params, args, parts, number, flags)                \
    SLOW type                                                                 \
    slow_##name params                                                        \
    {                                                                         \
        pprof_routes_reading(fd);                                             \
                                                                              \
        const type got = next.name args;                                      \
                                                                              \
        if (got > 0 && ((flags) & MSG_TRUNC) == 0) {                          \
            pprof_routes_came(fd, parts, number, (size_t) got);               \
        }                                                                     \
                                                                              \
        return got;                                                           \
    }                                                                         \
                                                                              \
    QUICK(name, type, params, args)

VECTORS(VECTOR)


#define WRITE(name, type, params, args)                                       \
    SLOW type                                                                 \
    slow_##name params                                                        \
    {                                                                         \
        pprof_routes_writing(fd);                                             \
                                                                              \
        return next.name args;                                                \
    }                                                                         \
                                                                              \
    QUICK(name, type, params, args)

WRITES(WRITE)


#define CLOSE(name, type, params, args, gone)                                 \
    SLOW type                                                                 \
    slow_##name params                                                        \
    {                                                                         \
        pprof_routes_forget(gone);                                            \
                                                                              \
        return next.name args;                                                \
    }                                                                         \
                                                                              \
    QUICK(name, type, params, args)

CLOSES(CLOSE)


/* Who waits for a connection waits for work. */
#define MAKE(name, type, params, args)                                        \
    SLOW type                                                                 \
    slow_##name params                                                        \
    {                                                                         \
        pprof_routes_waiting();                                               \
                                                                              \
        const type made = next.name args;                                     \
                                                                              \
        pprof_routes_forget(made);                                            \
                                                                              \
        return made;                                                          \
    }                                                                         \
                                                                              \
    QUICK(name, type, params, args)

MAKES(MAKE)


#define SOCKET(name, type, params, args)                                      \
    SLOW type                                                                 \
    slow_##name params                                                        \
    {                                                                         \
        const type made = next.name args;                                     \
                                                                              \
        pprof_routes_forget(made);                                            \
                                                                              \
        return made;                                                          \
    }                                                                         \
                                                                              \
    QUICK(name, type, params, args)

SOCKETS(SOCKET)


#define WAIT(name, type, params, args)                                        \
    SLOW type                                                                 \
    slow_##name params                                                        \
    {                                                                         \
        pprof_routes_waiting();                                               \
                                                                              \
        const type n_ready = next.name args;                                  \
                                                                              \
        pprof_routes_waited();                                                \
                                                                              \
        return n_ready;                                                       \
    }                                                                         \
                                                                              \
    QUICK(name, type, params, args)

WAITS(WAIT)
