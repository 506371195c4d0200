#include "front/listen.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "kinds/env.h"


enum {
    BACKLOG = 64,
    STALE_SEC = 10,         /* older files of dead processes are removed */
    SWEEP_MAX = 10000       /* entries of a directory that are looked at */
};


static int
fail(int error)
{
    errno = error;

    return -1;
}


/* Copies PATH to UN, with "%p" and "%%" replaced. */
static int
expand_path(struct sockaddr_un *un, const char *path, pid_t pid)
{
    size_t len = 0;

    for (const char *p = path; *p != '\0'; p++) {
        char text[16] = { *p, '\0' };

        if (*p == '%') {
            p++;

            if (*p == 'p') {
                snprintf(text, sizeof(text), "%d", (int) pid);

            } else if (*p != '%') {
                return fail(EINVAL);
            }
        }

        const size_t n = strlen(text);

        if (len + n >= sizeof(un->sun_path)) {
            return fail(ENAMETOOLONG);
        }

        memcpy(un->sun_path + len, text, n);
        len += n;
    }

    un->sun_path[len] = '\0';

    return len == 0 ? fail(EINVAL) : 0;
}


/* Returns the port, or -1. */
static int
parse_port(const char *text)
{
    char *end;

    if (*text < '0' || *text > '9') {
        return -1;
    }

    const unsigned long n = strtoul(text, &end, 10);

    return *end != '\0' || n > 65535 ? -1 : (int) n;
}


static int
parse_inet(struct pprof_listen *l, const char *spec)
{
    char host[INET6_ADDRSTRLEN];
    const bool is_v6 = spec[0] == '[';
    const char *begin = spec + is_v6;
    const char *end = strchr(begin, is_v6 ? ']' : ':');

    if (end == NULL || (size_t) (end - begin) >= sizeof(host)
        || (is_v6 && end[1] != ':'))
    {
        return fail(EINVAL);
    }

    memcpy(host, begin, (size_t) (end - begin));
    host[end - begin] = '\0';

    const int port = parse_port(end + 1 + is_v6);

    if (port == -1) {
        return fail(EINVAL);
    }

    if (is_v6) {
        struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *) &l->addr;

        sin6->sin6_family = AF_INET6;
        sin6->sin6_port = htons((uint16_t) port);
        l->addr_len = sizeof(struct sockaddr_in6);

        return inet_pton(AF_INET6, host, &sin6->sin6_addr) == 1
               ? 0 : fail(EINVAL);
    }

    struct sockaddr_in *sin = (struct sockaddr_in *) &l->addr;

    sin->sin_family = AF_INET;
    sin->sin_port = htons((uint16_t) port);
    l->addr_len = sizeof(struct sockaddr_in);

    return inet_pton(AF_INET, host, &sin->sin_addr) == 1 ? 0 : fail(EINVAL);
}


int
pprof_listen_parse(struct pprof_listen *l, const char *spec, pid_t pid)
{
    memset(l, 0, sizeof(struct pprof_listen));
    l->fd = -1;

    if (strncmp(spec, "unix:", 5) != 0) {
        return parse_inet(l, spec);
    }

    l->addr.ss_family = AF_UNIX;
    l->addr_len = sizeof(struct sockaddr_un);

    if (strlen(spec + 5) < sizeof(l->pattern)) {
        strcpy(l->pattern, spec + 5);
    }

    return expand_path((struct sockaddr_un *) &l->addr, spec + 5, pid);
}


/*
 * Is who listens at FD's other end an agent whose program has ended?  It has
 * told so by its name, and stays only to be asked until somebody comes.
 */
static bool
is_ended(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    char path[40], name[32] = "";

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == -1
        || (peer.uid != geteuid() && geteuid() != 0))
    {
        return false;
    }

    snprintf(path, sizeof(path), "/proc/%d/comm", (int) peer.pid);

    FILE *const f = fopen(path, "re");

    if (f == NULL) {
        return false;
    }

    const bool is = fgets(name, sizeof(name), f) != NULL
                    && strcmp(name, PPROF_LISTEN_ENDED "\n") == 0;

    fclose(f);

    return is;
}


/*
 * Is there nobody behind the unix socket at UN?  A file that is no socket, and
 * one that we may not connect to, count as somebody's.
 */
static bool
is_stale(const struct sockaddr_un *un)
{
    struct stat st;

    if (lstat(un->sun_path, &st) == -1 || !S_ISSOCK(st.st_mode)) {
        return false;
    }

    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
                          0);

    if (fd == -1) {
        return false;
    }

    const bool stale
        = connect(fd, (const struct sockaddr *) un, sizeof(*un)) == -1
          ? errno == ECONNREFUSED : is_ended(fd);

    close(fd);

    return stale;
}


/* Who asks libc's name service instead has its libraries, and perhaps a
   network, in an answer. */
int
pprof_listen_group(const char *name, gid_t *group)
{
    const struct group *entry;
    char *end;

    if (isdigit((unsigned char) *name)) {
        const unsigned long n = strtoul(name, &end, 10);

        if (*end == '\0' && n < (gid_t) -1) {
            *group = (gid_t) n;
            return 0;
        }
    }

    FILE *const f = fopen("/etc/group", "re");
    bool found = false;

    while (f != NULL && !found && (entry = fgetgrent(f)) != NULL) {
        found = strcmp(entry->gr_name, name) == 0;

        if (found) {
            *group = entry->gr_gid;
        }
    }

    if (f != NULL) {
        fclose(f);
    }

    return found ? 0 : fail(EINVAL);
}


/*
 * Reads what the environment says of a unix socket's mode and group, where
 * *MODE is not given.  Returns 0, or -1 and errno.
 */
static int
read_access(mode_t *mode, gid_t *group)
{
    const char *const text = pprof_env_get("PPROF_SOCKET_MODE");
    const char *const name = pprof_env_get("PPROF_SOCKET_GROUP");

    *group = (gid_t) -1;

    if (name != NULL && *name != '\0'
        && pprof_listen_group(name, group) == -1)
    {
        return -1;
    }

    if (*mode != 0) {
        return 0;
    }

    /* a group that may not ask would be no use */
    *mode = *group == (gid_t) -1 ? 0600 : 0660;

    if (text != NULL && *text != '\0') {
        char *end;
        const unsigned long n = strtoul(text, &end, 8);

        if (*end != '\0' || !isdigit((unsigned char) *text) || n > 0777) {
            return fail(EINVAL);
        }

        *mode = (mode_t) n;
    }

    return 0;
}


static int
bind_unix(struct pprof_listen *l, mode_t mode)
{
    const char *path = ((const struct sockaddr_un *) &l->addr)->sun_path;
    const struct sockaddr *sa = (const struct sockaddr *) &l->addr;
    struct stat st;
    gid_t group;

    if (read_access(&mode, &group) == -1) {
        return -1;
    }

    /*
     * The file gets the mode of the socket, less the umask, in bind() itself:
     * there is no instant in which others may connect.
     */
    if (fchmod(l->fd, group == (gid_t) -1 ? mode : mode & 0700) == -1) {
        return -1;
    }

    if (bind(l->fd, sa, l->addr_len) == -1) {
        if (errno != EADDRINUSE) {
            return -1;
        }

        if (!is_stale((const struct sockaddr_un *) &l->addr)) {
            return fail(EADDRINUSE);
        }

        if ((unlink(path) == -1 && errno != ENOENT)
            || bind(l->fd, sa, l->addr_len) == -1)
        {
            return -1;
        }
    }

    if (stat(path, &st) == -1) {
        return -1;
    }

    l->dev = st.st_dev;
    l->ino = st.st_ino;

    if ((group != (gid_t) -1 && st.st_gid != group
         && lchown(path, (uid_t) -1, group) == -1)
        || ((st.st_mode & 07777) != mode && chmod(path, mode) == -1))
    {
        const int error = errno;

        pprof_listen_unlink(l);
        return fail(error);
    }

    return 0;
}


int
pprof_listen_open(struct pprof_listen *l, mode_t mode)
{
    const int family = l->addr.ss_family;
    const int one = 1;

    l->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (l->fd == -1) {
        return -1;
    }

    int rc;

    if (family == AF_UNIX) {
        rc = bind_unix(l, mode);

    } else {
        setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));

        if (family == AF_INET6) {
            setsockopt(l->fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
        }

        rc = bind(l->fd, (const struct sockaddr *) &l->addr, l->addr_len);
    }

    if (rc == 0) {
        rc = listen(l->fd, BACKLOG);
    }

    if (rc == -1) {
        const int error = errno;

        pprof_listen_close(l);
        return fail(error);
    }

    if (family != AF_UNIX) {
        socklen_t len = sizeof(l->addr);

        getsockname(l->fd, (struct sockaddr *) &l->addr, &len);
    }

    return 0;
}


void
pprof_listen_unlink(struct pprof_listen *l)
{
    const char *path = ((const struct sockaddr_un *) &l->addr)->sun_path;
    struct stat st;

    if (l->ino != 0 && lstat(path, &st) == 0 && st.st_dev == l->dev
        && st.st_ino == l->ino)
    {
        unlink(path);
    }

    l->ino = 0;
}


/*
 * Reads NAME as the last part of PATTERN.  Returns the number that stands for
 * "%p", or -1.
 */
static pid_t
match_name(const char *pattern, const char *name)
{
    long pid = -1;

    for ( /* void */ ; *pattern != '\0'; pattern++) {
        if (*pattern != '%') {
            if (*name++ != *pattern) {
                return -1;
            }

            continue;
        }

        if (*++pattern == '%') {
            if (*name++ != '%') {
                return -1;
            }

            continue;
        }

        char *end;
        const long n = *name < '1' || *name > '9' ? -1
                                                  : strtol(name, &end, 10);

        /* twice the same, where it stands twice */
        if (n <= 0 || n > INT32_MAX || (pid != -1 && n != pid)) {
            return -1;
        }

        pid = n;
        name = end;
    }

    return *name == '\0' ? (pid_t) pid : -1;
}


static void
sweep_file(const struct sockaddr_un *un)
{
    struct stat st;

    /*
     * In another name space of processes a number says nothing, and one that
     * starts is refused between its bind() and its listen(): hence the age.
     */
    if (lstat(un->sun_path, &st) == 0 && S_ISSOCK(st.st_mode)
        && st.st_uid == geteuid() && st.st_mtime + STALE_SEC < time(NULL)
        && is_stale(un))
    {
        (void) unlink(un->sun_path);
    }
}


void
pprof_listen_sweep(const struct pprof_listen *l)
{
    const char *const slash = strrchr(l->pattern, '/');
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    struct dirent *entry;
    char dir[sizeof(l->pattern)];

    if (l->addr.ss_family != AF_UNIX || slash == NULL
        || strstr(slash, "%p") == NULL
        || memchr(l->pattern, '%', (size_t) (slash - l->pattern)) != NULL)
    {
        return;
    }

    /* with the slash */
    memcpy(dir, l->pattern, (size_t) (slash - l->pattern) + 1);
    dir[slash - l->pattern + 1] = '\0';

    DIR *const d = opendir(dir);

    for (int n = 0; d != NULL && n < SWEEP_MAX
                    && (entry = readdir(d)) != NULL; n++)
    {
        const pid_t pid = match_name(slash + 1, entry->d_name);

        if (pid > 0 && kill(pid, 0) == -1 && errno == ESRCH
            && (size_t) snprintf(un.sun_path, sizeof(un.sun_path), "%s%s",
                                 dir, entry->d_name) < sizeof(un.sun_path))
        {
            sweep_file(&un);
        }
    }

    if (d != NULL) {
        closedir(d);
    }
}


void
pprof_listen_close(struct pprof_listen *l)
{
    if (l->addr.ss_family == AF_UNIX) {
        pprof_listen_unlink(l);
    }

    if (l->fd != -1) {
        close(l->fd);
        l->fd = -1;
    }
}


size_t
pprof_listen_print(const struct pprof_listen *l, char *buf, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "";
    int n;

    if (l->addr.ss_family == AF_UNIX) {
        n = snprintf(buf, size, "unix:%s",
                     ((const struct sockaddr_un *) &l->addr)->sun_path);

    } else if (l->addr.ss_family == AF_INET6) {
        const struct sockaddr_in6 *sin6 = (const void *) &l->addr;

        inet_ntop(AF_INET6, &sin6->sin6_addr, host, sizeof(host));
        n = snprintf(buf, size, "[%s]:%d", host, ntohs(sin6->sin6_port));

    } else {
        const struct sockaddr_in *sin = (const void *) &l->addr;

        inet_ntop(AF_INET, &sin->sin_addr, host, sizeof(host));
        n = snprintf(buf, size, "%s:%d", host, ntohs(sin->sin_port));
    }

    return (size_t) n;
}
