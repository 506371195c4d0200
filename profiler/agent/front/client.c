#include "front/client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "front/request.h"


static const char no_memory[]
    = "the program is out of memory; retry when it has more\n";


void
pprof_client_init(struct pprof_client *c, int fd, char *head)
{
    int domain = AF_UNSPEC;
    socklen_t len = sizeof(domain);

    (void) getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len);
    *c = (struct pprof_client) {
        .fd = fd, .head = head, .port = domain != AF_UNIX
    };
}


void
pprof_client_free(struct pprof_client *c)
{
    free(c->body);
    c->body = NULL;
}


static enum pprof_client_step
refuse(struct pprof_answer *a, int status, const char *text)
{
    pprof_answer_error(a, status, "%s", text);

    return PPROF_CLIENT_REFUSED;
}


/*
 * Reads into BUF.  Returns how much came, 0 when nothing is there yet, -1
 * when the client left.
 */
static ssize_t
receive(struct pprof_client *c, char *buf, size_t size)
{
    const ssize_t n = recv(c->fd, buf, size, MSG_DONTWAIT);

    if (n > 0) {
        return n;
    }

    return n == -1 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}


/*
 * Finds the empty line that ends the head; returns its length with it, or 0.
 * A line may end in a line feed alone.
 */
static size_t
find_end(const char *head, size_t len)
{
    const char *p = head;

    while ((p = memchr(p, '\n', (size_t) (head + len - p))) != NULL) {
        p++;

        const size_t left = (size_t) (head + len - p);

        if (left >= 1 && *p == '\n') {
            return (size_t) (p - head) + 1;
        }

        if (left >= 2 && p[0] == '\r' && p[1] == '\n') {
            return (size_t) (p - head) + 2;
        }
    }

    return 0;
}


/* Cuts the line at *P off, ends it with a zero, and moves *P behind it. */
static char *
next_line(char **p)
{
    char *const line = *p;
    char *const end = strchr(line, '\n');

    *p = end + 1;
    *end = '\0';

    if (end > line && end[-1] == '\r') {
        end[-1] = '\0';
    }

    return line;
}


/*
 * Splits "GET http://host/path?query HTTP/1.1".  Returns 0, or -1 when it is
 * not such a line, -2 when the version is another.
 */
static int
parse_request_line(struct pprof_client *c, char *line)
{
    char *const uri = strchr(line, ' ');
    char *const version = uri == NULL ? NULL : strchr(uri + 1, ' ');

    if (version == NULL || uri == line || version == uri + 1) {
        return -1;
    }

    *uri = '\0';
    *version = '\0';

    if (line[strspn(line, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")] != '\0'
        || strncmp(version + 1, "HTTP/", 5) != 0)
    {
        return -1;
    }

    if (strncmp(version + 6, "1.", 2) != 0) {
        return -2;
    }

    char *path = uri + 1;
    char *const scheme_end = *path == '/' ? NULL : strstr(path, "://");

    if (scheme_end != NULL) {
        char *const slash = strchr(scheme_end + 3, '/');

        path = slash != NULL ? slash : scheme_end;

        if (slash == NULL) {
            memcpy(path, "/", 2);
        }
    }

    char *const mark = path + strcspn(path, "?#");

    c->query = *mark == '?' ? mark + 1 : "";
    *mark = '\0';
    c->path = path;
    c->method = line;

    return 0;
}


/* Returns 0; -1 when it is no number, -2 when it is too large. */
static int
parse_length(const char *text, size_t *len)
{
    size_t n = 0;

    if (*text == '\0') {
        return -1;
    }

    for ( /* void */ ; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') {
            return -1;
        }

        if (n <= PPROF_CLIENT_BODY_MAX) {
            n = n * 10 + (size_t) (*text - '0');
        }
    }

    *len = n;

    return n > PPROF_CLIENT_BODY_MAX ? -2 : 0;
}


/* Allocates the body; what came with the head is its beginning. */
static enum pprof_client_step
begin_body(struct pprof_client *c, size_t head, bool wait,
    struct pprof_answer *a)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";

    if (c->body_len == 0) {
        return PPROF_CLIENT_DONE;
    }

    c->body = malloc(c->body_len);

    if (c->body == NULL) {
        return refuse(a, 503, "the program is out of memory; retry later");
    }

    c->body_have = c->head_len - head;

    if (c->body_have > c->body_len) {
        c->body_have = c->body_len;
    }

    memcpy(c->body, c->head + head, c->body_have);

    if (wait && c->body_have == 0) {
        /* a client that gets no such line goes on after a second */
        (void) !send(c->fd, go_on, sizeof(go_on) - 1,
                     MSG_DONTWAIT | MSG_NOSIGNAL);
    }

    return c->body_have == c->body_len ? PPROF_CLIENT_DONE
                                       : PPROF_CLIENT_MORE;
}


/* Is HOST, LEN characters without a port, an address or a name that nobody
   else can make lead here? */
static bool
is_own_host(const char *host, size_t len)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr addr;
    const bool is_v6 = len > 2 && host[0] == '[' && host[len - 1] == ']';

    /* one word: localhost, a container's name */
    if (memchr(host, '.', len) == NULL && memchr(host, ':', len) == NULL) {
        return true;
    }

    if (is_v6) {
        host++;
        len -= 2;
    }

    if (len >= sizeof(text)) {
        return false;
    }

    memcpy(text, host, len);
    text[len] = '\0';

    return inet_pton(is_v6 ? AF_INET6 : AF_INET, text, &addr) == 1;
}


/*
 * Does the header NAME say that a page somewhere else made a browser ask?  A
 * page whose own name was made to lead here has that name for the host.
 */
static bool
is_foreign(const char *name, const char *value)
{
    if (strcasecmp(name, "sec-fetch-site") == 0) {
        return strcmp(value, "cross-site") == 0
               || strcmp(value, "same-site") == 0;
    }

    if (strcasecmp(name, "origin") == 0) {
        const char *const host = strstr(value, "://");

        if (host == NULL) {
            return true;    /* "null" */
        }

        value = host + 3;

    } else if (strcasecmp(name, "host") != 0) {
        return false;
    }

    size_t len = strlen(value);
    const char *const colon = strrchr(value, ':');

    if (colon != NULL && strchr(colon, ']') == NULL) {
        len = (size_t) (colon - value);
    }

    return len > 0 && !is_own_host(value, len);
}


/* Understands the head, END bytes of it, behind empty lines that end at P. */
static enum pprof_client_step
parse_head(struct pprof_client *c, char *p, size_t end,
    struct pprof_answer *a)
{
    char *const last = c->head + end;
    bool has_length = false, wait = false;

    if (memchr(p, '\0', (size_t) (last - p)) != NULL) {
        return refuse(a, 400, "malformed request: a zero byte");
    }

    switch (parse_request_line(c, next_line(&p))) {

    case 0:
        break;

    case -2:
        return refuse(a, 505, "unknown version of HTTP; use HTTP/1.1");

    default:
        return refuse(a, 400, "malformed request line");
    }

    while (p < last) {
        char *const line = next_line(&p);
        char *const colon = strchr(line, ':');

        if (*line == '\0') {
            break;
        }

        if (colon == NULL || colon == line) {
            return refuse(a, 400, "malformed header line");
        }

        char *value = colon + 1 + strspn(colon + 1, " \t");
        size_t len = strlen(value);

        while (len > 0 && (value[len - 1] == ' ' || value[len - 1] == '\t')) {
            value[--len] = '\0';
        }

        *colon = '\0';

        if (strcasecmp(line, "content-length") == 0) {
            size_t n;
            const int rc = parse_length(value, &n);

            if (rc == -2) {
                return refuse(a, 413, "the request's body is longer than "
                              "8 MiB");
            }

            if (rc == -1 || (has_length && n != c->body_len)) {
                return refuse(a, 400, "invalid Content-Length");
            }

            has_length = true;
            c->body_len = n;

        } else if (strcasecmp(line, "transfer-encoding") == 0) {
            return refuse(a, 411, "send the body with a Content-Length");

        } else if (strcasecmp(line, "expect") == 0) {
            wait = strcasecmp(value, "100-continue") == 0;

        } else if (c->port && is_foreign(line, value)) {
            return refuse(a, 403, "this is asked by address, as localhost, or "
                          "by a name without dots, and not from other sites' "
                          "pages");
        }
    }

    return begin_body(c, end, wait, a);
}


enum pprof_client_step
pprof_client_read(struct pprof_client *c, struct pprof_answer *a)
{
    ssize_t n;

    if (c->body != NULL) {
        n = receive(c, c->body + c->body_have, c->body_len - c->body_have);

        if (n == -1) {
            return PPROF_CLIENT_GONE;
        }

        c->body_have += (size_t) n;

        return c->body_have == c->body_len ? PPROF_CLIENT_DONE
                                           : PPROF_CLIENT_MORE;
    }

    n = receive(c, c->head + c->head_len, PPROF_CLIENT_HEAD_MAX - c->head_len);

    if (n <= 0) {
        return n == 0 ? PPROF_CLIENT_MORE : PPROF_CLIENT_GONE;
    }

    c->head_len += (size_t) n;

    /* empty lines before a request are nothing (RFC 9112 2.2) */
    size_t begin = 0;

    while (begin < c->head_len
           && (c->head[begin] == '\r' || c->head[begin] == '\n'))
    {
        begin++;
    }

    const size_t end = find_end(c->head + begin, c->head_len - begin);

    if (end != 0) {
        return parse_head(c, c->head + begin, begin + end, a);
    }

    if (c->head_len == PPROF_CLIENT_HEAD_MAX) {
        return refuse(a, 431, "the request's head is longer than 16 KiB");
    }

    return PPROF_CLIENT_MORE;
}


static const char *
status_text(int status)
{
    static const struct {
        int          status;
        const char  *text;
    } texts[] = {
        { 200, "OK" },
        { 301, "Moved Permanently" },
        { 400, "Bad Request" },
        { 403, "Forbidden" },
        { 404, "Not Found" },
        { 405, "Method Not Allowed" },
        { 411, "Length Required" },
        { 413, "Content Too Large" },
        { 431, "Request Header Fields Too Large" },
        { 500, "Internal Server Error" },
        { 501, "Not Implemented" },
        { 503, "Service Unavailable" },
        { 505, "HTTP Version Not Supported" },
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (texts[i].status == status) {
            return texts[i].text;
        }
    }

    return "Unknown";
}


/* What is sent as JOB's body: where not even a sentence could be made, one
   that needs no memory. */
static struct iovec
body_of(const struct pprof_job *job)
{
    const struct pprof_buf *b = &job->answer.body;

    if (job->answer.status >= 400 && b->len == 0) {
        return (struct iovec) { (void *) no_memory, sizeof(no_memory) - 1 };
    }

    return (struct iovec) { b->data, b->len };
}


void
pprof_client_answer(struct pprof_client *c, const struct pprof_job *job)
{
    /* the head's memory is used again */
    const bool is_head = c->method != NULL && strcmp(c->method, "HEAD") == 0;
    struct pprof_headers headers;
    size_t n;

    pprof_answer_headers(job, &headers);

    n = (size_t) snprintf(c->head, PPROF_CLIENT_HEAD_MAX, "HTTP/1.1 %d %s\r\n",
                          job->answer.status,
                          status_text(job->answer.status));

    for (size_t i = 0; i < headers.n; i++) {
        n += (size_t) snprintf(c->head + n, PPROF_CLIENT_HEAD_MAX - n,
                               "%s: %s\r\n", headers.list[i].name,
                               headers.list[i].value);
    }

    /* HTTP/1.0, which proxies speak, too: an answer that breaks off must not
       look complete */
    if (!is_head) {
        n += (size_t) snprintf(c->head + n, PPROF_CLIENT_HEAD_MAX - n,
                               "Content-Length: %zu\r\n",
                               body_of(job).iov_len);
    }

    n += (size_t) snprintf(c->head + n, PPROF_CLIENT_HEAD_MAX - n,
                           "Connection: close\r\n\r\n");

    c->method = is_head ? "HEAD" : "GET";
    c->head_len = n;
    c->sent = 0;
}


enum pprof_client_step
pprof_client_write(struct pprof_client *c, const struct pprof_job *job)
{
    const bool is_head = strcmp(c->method, "HEAD") == 0;
    struct iovec body = body_of(job);

    if (is_head) {
        body.iov_len = 0;
    }

    const size_t all = c->head_len + body.iov_len;

    while (c->sent < all) {
        struct iovec iov[2];
        struct msghdr msg = { .msg_iov = iov };

        if (c->sent < c->head_len) {
            iov[msg.msg_iovlen++] = (struct iovec) {
                c->head + c->sent, c->head_len - c->sent
            };
        }

        const size_t skip = c->sent < c->head_len ? 0
                                                  : c->sent - c->head_len;

        iov[msg.msg_iovlen++] = (struct iovec) {
            (char *) body.iov_base + skip, body.iov_len - skip
        };

        const ssize_t n = sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n == -1 && errno == EINTR) {
            continue;
        }

        if (n == -1) {
            return errno == EAGAIN ? PPROF_CLIENT_MORE : PPROF_CLIENT_GONE;
        }

        c->sent += (size_t) n;
    }

    return PPROF_CLIENT_DONE;
}


void
pprof_client_end(struct pprof_client *c)
{
    (void) shutdown(c->fd, SHUT_WR);
}


enum pprof_client_step
pprof_client_drain(struct pprof_client *c)
{
    ssize_t n;

    do {
        n = receive(c, c->head, PPROF_CLIENT_HEAD_MAX);
    } while (n > 0);

    return n == 0 ? PPROF_CLIENT_MORE : PPROF_CLIENT_GONE;
}
