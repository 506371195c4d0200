/*
 * pprof_start() and pprof_stop(): what they refuse, and that nothing is left.
 */

#include "front/server.c"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "tap.h"


static char dir[] = "/tmp/pprof-unit.XXXXXX";


static int
count(const char *path)
{
    DIR *d = opendir(path);
    int n = 0;

    while (d != NULL && readdir(d) != NULL) {
        n++;
    }

    closedir(d);

    return n;
}


static int
start_errno(const char *listen)
{
    errno = 0;

    return pprof_start(listen, NULL) == 0 ? 0 : errno;
}


/* Sends TEXT to the unix socket PATH.  Returns the connection. */
static int
send_text(const char *path, const char *text)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);

    if (connect(fd, (struct sockaddr *) &un, sizeof(un)) == -1
        || write(fd, text, strlen(text)) == -1)
    {
        close(fd);
        return -1;
    }

    return fd;
}


static const char *
header(const struct pprof_response *response, const char *name)
{
    for (size_t i = 0; i < response->nheaders; i++) {
        if (strcmp(response->headers[i].name, name) == 0) {
            return response->headers[i].value;
        }
    }

    return "none";
}


/* The pid in an answer made by hand, as a number. */
static int
handle_pid(void)
{
    struct pprof_request request = {
        .size = sizeof(request), .method = "GET",
        .path = "/debug/pprof/cmdline"
    };
    struct pprof_response response = { .size = sizeof(response) };

    if (pprof_handle(&request, &response) == -1) {
        return -1;
    }

    const int pid = atoi(header(&response, "X-Pprof-Pid"));

    pprof_response_free(&response);

    return pid;
}


static int
gone_at_once(void *arg)
{
    ++*(int *) arg;

    return 1;
}


int
main(void)
{
    char path[64], spec[80], address[80], text[160] = "";
    struct stat st;
    int status, calls = 0;

    plan(44);
    ok(mkdtemp(dir) != NULL, "directory");
    snprintf(path, sizeof(path), "%s/s", dir);
    snprintf(spec, sizeof(spec), "unix:%s", path);

    static const char *const bad[] = {
        "", "unix:", "unix:/tmp/%x", "unix:/tmp/%", ":6060", "6060",
        "localhost:6060", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536",
        "127.0.0.1:1x", "[::1]6060", "[::1", "::1:6060"
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        is_int(start_errno(bad[i]), EINVAL, "refused: '%s'", bad[i]);
    }

    char longest[300];
    memset(longest, 'a', sizeof(longest));
    memcpy(longest, "unix:/", 6);
    longest[299] = '\0';
    is_int(start_errno(longest), ENAMETOOLONG, "a path too long");
    is_int(start_errno("unix:/nosuchdir/s"), ENOENT, "no such directory");
    is_int(start_errno("127.0.0.1:0"), 0, "a free port");
    is_int(pprof_address(address, sizeof(address)), 0, "its address");
    ok(strncmp(address, "127.0.0.1:", 10) == 0 && atoi(address + 10) > 0,
       "is %s", address);
    is_int(pprof_address(address, 3), -1, "a buffer too small");
    pprof_stop();
    is_int(pprof_address(address, sizeof(address)), -1, "none when stopped");

    /*
     * A server of the program's own.  First, since libunwind, which comes
     * with gperftools' profiler, opens a pipe for itself and keeps it.
     */
    struct pprof_request request = {
        .size = sizeof(request), .method = "GET",
        .path = "/debug/pprof/profile", .query = "seconds=20",
        .gone = gone_at_once, .arg = &calls
    };
    struct pprof_response response = { .size = sizeof(response) };

    is_int(pprof_handle(&request, &response), -1, "its client left");
    is_int(errno, ECANCELED, "ECANCELED");
    is_int(calls, 1, "asked within a second");

    request.query = "seconds=1";
    request.gone = NULL;
    is_int(pprof_handle(&request, &response), 0, "a profile by hand");
    is_int(response.status, 200, "its status");
    ok(response.body_len > 20 && memcmp(response.body, "\x1f\x8b", 2) == 0,
       "gzip");
    is(header(&response, "X-Pprof-Build-Id"),
       pprof_kinds_build_id(pprof_target_self()),
       "says the build id");
    pprof_response_free(&response);
    is_int(handle_pid(), getpid(), "says the pid");

    const int fds = count("/proc/self/fd");
    const int threads = count("/proc/self/task");

    is_int(start_errno(spec), 0, "start");
    is_int(start_errno(spec), EALREADY, "start again");
    ok(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600, "mode 0600");

    /* a child holds no descriptor of ours and may listen itself */
    const pid_t pid = fork();

    if (pid == 0) {
        char own[96];

        snprintf(own, sizeof(own), "%s.%%p", spec);
        _exit(start_errno(own) != 0);
    }

    waitpid(pid, &status, 0);
    is_int(status, 0, "a child listens at an address of its own");
    snprintf(text, sizeof(text), "%s.%d", path, (int) pid);
    unlink(text);
    ok(stat(path, &st) == 0, "its end leaves the parent's file");

    const pid_t other = fork();

    if (other == 0) {
        _exit(handle_pid() != getpid());
    }

    waitpid(other, &status, 0);
    is_int(status, 0, "a child says its own pid");

    /* stopped with a profile under way */
    const int client = send_text(path, "GET /debug/pprof/profile?seconds=60 "
                                 "HTTP/1.1\r\nHost: l\r\n\r\n");
    const int second = send_text(path, "GET /debug/pprof/cmdline HTTP/1.1\r\n"
                                 "Host: l\r\n\r\n");

    ok(read(second, text, sizeof(text) - 1) > 12
       && strncmp(text, "HTTP/1.1 200", 12) == 0, "an answer beside it");
    usleep(100000);
    pprof_stop();
    close(client);
    close(second);

    is_int(count("/proc/self/fd"), fds, "no descriptor is left");
    is_int(count("/proc/self/task"), threads, "no thread is left");
    ok(stat(path, &st) == -1 && errno == ENOENT, "no file is left");

    pprof_stop();
    is_int(start_errno(spec), 0, "started once more");
    pprof_stop();
    ok(rmdir(dir) == 0, "nothing at all is left");

    request.path = "/debug/pprof/nosuch";
    ok(pprof_handle(&request, &response) == 0 && response.status == 404,
       "what there is not, by hand");
    pprof_response_free(&response);
    request.size = 0;
    is_int(pprof_handle(&request, &response), -1, "a size of 0");

    return done();
}
