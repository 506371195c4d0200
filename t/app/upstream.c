/*
 * An HTTP server that does what the request's arguments say, exactly:
 *
 *   ?us=N      answers N microseconds after the request came
 *   ?code=N    with this status (200)
 *   ?bytes=N   and a body of so many bytes (2)
 *   ?close     closes without an answer
 *
 * upstream [-a address] -p port: a thread for each connection, kept as long
 * as the client wants.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>


enum { SPIN_NS = 150000 };      /* what sleeping may overshoot by */


static int64_t
now_ns(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t) ts.tv_sec * 1000000000 + ts.tv_nsec;
}


static void
wait_until(int64_t ns)
{
    const int64_t          sleep = ns - SPIN_NS;
    const struct timespec  ts = {
        .tv_sec = sleep / 1000000000, .tv_nsec = sleep % 1000000000
    };

    if (sleep > now_ns()) {
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL)
               == EINTR)
        {
            /* again */
        }
    }

    while (now_ns() < ns) {
        /* spin */
    }
}


/* The number that ARG has in the request's line, or DEFAULT. */

static long
argument(const char *line, const char *arg, long otherwise)
{
    const char  *p = strstr(line, arg);

    return p ? strtol(p + strlen(arg), NULL, 10) : otherwise;
}


static bool
write_all(int fd, const char *text, size_t len)
{
    while (len) {
        const ssize_t  n = write(fd, text, len);

        if (n <= 0) {
            if (n < 0 && errno == EINTR) {
                continue;
            }
            return false;
        }

        text += n;
        len -= n;
    }

    return true;
}


static bool
answer(int fd, const char *request, int64_t came)
{
    const long  us = argument(request, "us=", 0);
    const long  code = argument(request, "code=", 200);
    long        bytes = argument(request, "bytes=", 2);
    char        text[4096];
    int         len;

    if (us) {
        wait_until(came + (int64_t) us * 1000);
    }

    if (strstr(request, "close ") || strstr(request, "close&")) {
        return false;
    }

    len = snprintf(text, sizeof(text),
                   "HTTP/1.1 %ld Status\r\nContent-Length: %ld\r\n\r\n", code,
                   bytes);
    memset(text + len, 'x', sizeof(text) - len);

    while (true) {
        long  n = sizeof(text) - len;

        if (n > bytes) {
            n = bytes;
        }

        if (!write_all(fd, text, len + n)) {
            return false;
        }

        bytes -= n;
        len = 0;

        if (bytes == 0) {
            return true;
        }

        memset(text, 'x', sizeof(text));
    }
}


static void *
serve(void *data)
{
    const int  fd = (int) (intptr_t) data;
    char       buf[16384];
    size_t     len = 0;

    while (len < sizeof(buf) - 1) {
        const ssize_t  n = read(fd, buf + len, sizeof(buf) - 1 - len);
        char          *end;

        if (n <= 0) {
            if (n < 0 && errno == EINTR) {
                continue;
            }
            break;
        }

        const int64_t  came = now_ns();

        len += n;
        buf[len] = '\0';

        end = strstr(buf, "\r\n\r\n");
        if (end == NULL) {
            continue;
        }

        *strstr(buf, "\r\n") = '\0';

        if (!answer(fd, buf, came)) {
            break;
        }

        end += 4;
        len -= end - buf;
        memmove(buf, end, len);
    }

    close(fd);

    return NULL;
}


int
main(int argc, char **argv)
{
    const int           on = 1;
    const char         *address = "127.0.0.1";
    struct sockaddr_in  sin = { .sin_family = AF_INET };
    pthread_attr_t      attr;
    int                 c;

    while ((c = getopt(argc, argv, "a:p:")) != -1) {
        switch (c) {
        case 'a':
            address = optarg;
            break;
        case 'p':
            sin.sin_port = htons(atoi(optarg));
            break;
        default:
            return 2;
        }
    }

    signal(SIGPIPE, SIG_IGN);

    const int  ls = socket(AF_INET, SOCK_STREAM, 0);

    if (inet_pton(AF_INET, address, &sin.sin_addr) != 1
        || setsockopt(ls, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == -1
        || bind(ls, (struct sockaddr *) &sin, sizeof(sin)) == -1
        || listen(ls, 4096) == -1)
    {
        perror("upstream: listen");
        return 1;
    }

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 64 * 1024);

    while (true) {
        const int  fd = accept(ls, NULL, NULL);
        pthread_t  thread;

        if (fd == -1) {
            continue;
        }

        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));

        if (pthread_create(&thread, &attr, serve, (void *) (intptr_t) fd)
            != 0)
        {
            close(fd);
        }
    }
}
