#include "run/start.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/family.h"
#include "agent/target.h"
#include "front/listen.h"


int
pprof_start_try(const char *listen)
{
    struct pprof_listen l;

    if (pprof_listen_parse(&l, listen, getpid()) == -1
        || pprof_listen_open(&l, 0) == -1)
    {
        return errno;
    }

    pprof_listen_close(&l);

    return 0;
}


/* Writes TITLE where ps looks, over ARGV's strings, as far as it fits. */
static void
set_title(char **argv, const char *title)
{
    char *end = argv[0];

    for (char **arg = argv; *arg != NULL && *arg == end; arg++) {
        end = *arg + strlen(*arg) + 1;
    }

    const size_t size = (size_t) (end - argv[0]);

    memset(argv[0], '\0', size);
    strncpy(argv[0], title, size - 1);
}


/* The agent's process, from here on. */
__attribute__((noreturn)) static void
become_agent(pid_t pid, int page_fd, const char *listen, bool verbose,
    char **argv)
{
    char *address = strdup(listen);
    char *title;
    int says_fd = verbose ? STDERR_FILENO : -1;

    if (address == NULL || asprintf(&title, "pprof-agent %s", listen) == -1) {
        _exit(1);
    }

    unsetenv("LD_PRELOAD");
    pprof_family_leave(&page_fd, &says_fd);
    set_title(argv, title);

    /* nobody's directory is kept from being unmounted, if it need not be */
    if (strncmp(address, "unix:", 5) != 0 || address[5] == '/') {
        (void) !chdir("/");
    }

    const struct pprof_family_options options = {
        .listen = address,
        .linger = pprof_family_linger(),
        .says_fd = says_fd
    };

    _exit(pprof_family_serve(pid, page_fd, &options));
}


/*
 * Would the program be the parent of orphans?  Then one that ends is found by
 * its wait(); a child that clone() makes without a signal is not.
 */
static bool
adopts_orphans(void)
{
    int is = 0;

    return getpid() == 1
           || (prctl(PR_GET_CHILD_SUBREAPER, &is) == 0 && is != 0);
}


int
pprof_start_agent(const char *listen, bool verbose, char **argv)
{
    const pid_t program = getpid();
    const int page_fd = pprof_page_create();
    int status;

    if (page_fd == -1) {
        return -1;
    }

    if (adopts_orphans()) {
        const long pid = syscall(SYS_clone, 0, NULL, NULL, NULL, 0);

        if (pid == 0) {
            become_agent(program, page_fd, listen, verbose, argv);
        }

        return pid == -1 ? -1 : page_fd;
    }

    const pid_t pid = fork();

    if (pid == 0) {
        const pid_t agent = fork();

        if (agent == 0) {
            become_agent(program, page_fd, listen, verbose, argv);
        }

        _exit(agent == -1 ? errno : 0);
    }

    if (pid == -1) {
        return -1;
    }

    while (waitpid(pid, &status, 0) == -1 && errno == EINTR) {
        /* void */
    }

    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return page_fd;
    }

    errno = WIFEXITED(status) ? WEXITSTATUS(status) : EAGAIN;
    close(page_fd);

    return -1;
}
