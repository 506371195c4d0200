/*
 * Preloaded behind libpprof: writes the name of each function that a signal
 * cut short to $EINTR_LOG, after one line "watched" for each process.  The
 * library's own threads do not count: setuid() sends them a signal that
 * nobody can block, and they go on waiting.
 */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>


static void
note(const char *line)
{
    const char *path = getenv("EINTR_LOG");
    int error = errno;
    char name[16] = "";

    prctl(PR_GET_NAME, name);

    if (path != NULL && strncmp(name, "pprof", 5) != 0) {
        int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);

        (void) !(write)(fd, line, strlen(line));
        close(fd);
    }

    errno = error;
}


__attribute__((constructor)) static void
begin(void)
{
    note("watched\n");
}


#define WATCH(type, name, params, args)                                       \
    type name params;                                                         \
                                                                              \
    type                                                                      \
    name params                                                               \
    {                                                                         \
        static type (*next) params;                                           \
                                                                              \
        if (next == NULL) {                                                   \
            *(void **) &next = dlsym(RTLD_NEXT, #name);                       \
        }                                                                     \
                                                                              \
        type rc = next args;                                                  \
                                                                              \
        if (rc == -1 && errno == EINTR) {                                     \
            note(#name "\n");                                                 \
        }                                                                     \
                                                                              \
        return rc;                                                            \
    }

WATCH(int, poll, (struct pollfd *f, nfds_t n, int t), (f, n, t))
WATCH(int, ppoll, (struct pollfd *f, nfds_t n, const struct timespec *t,
                   const sigset_t *s), (f, n, t, s))
WATCH(int, epoll_wait, (int e, struct epoll_event *v, int n, int t),
      (e, v, n, t))
WATCH(int, epoll_pwait, (int e, struct epoll_event *v, int n, int t,
                         const sigset_t *s), (e, v, n, t, s))
WATCH(int, select, (int n, fd_set *r, fd_set *w, fd_set *e,
                    struct timeval *t), (n, r, w, e, t))
WATCH(int, nanosleep, (const struct timespec *t, struct timespec *r), (t, r))
WATCH(int, usleep, (useconds_t t), (t))
WATCH(int, sem_wait, (sem_t *s), (s))
WATCH(int, sem_timedwait, (sem_t *s, const struct timespec *t), (s, t))
WATCH(int, accept, (int f, struct sockaddr *a, socklen_t *n), (f, a, n))
WATCH(int, accept4, (int f, struct sockaddr *a, socklen_t *n, int g),
      (f, a, n, g))
WATCH(int, connect, (int f, const struct sockaddr *a, socklen_t n), (f, a, n))
WATCH(ssize_t, recv, (int f, void *b, size_t n, int g), (f, b, n, g))
WATCH(ssize_t, recvmsg, (int f, struct msghdr *m, int g), (f, m, g))
WATCH(ssize_t, send, (int f, const void *b, size_t n, int g), (f, b, n, g))
WATCH(ssize_t, sendmsg, (int f, const struct msghdr *m, int g), (f, m, g))
WATCH(ssize_t, read, (int f, void *b, size_t n), (f, b, n))
WATCH(ssize_t, write, (int f, const void *b, size_t n), (f, b, n))
