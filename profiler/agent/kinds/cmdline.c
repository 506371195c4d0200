/*
 * cmdline: the program's command line, or as much of it as may be shown.
 */

#include "kinds/kind.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>


/* Appends what /proc/PID/cmdline holds.  Returns 0, or -1 and errno. */
static int
read_cmdline(const struct pprof_target *t, struct pprof_buf *b)
{
    const int fd = pprof_target_openat(t, "cmdline", O_RDONLY);

    if (fd == -1) {
        return -1;
    }

    ssize_t n;

    do {
        char *p = pprof_buf_reserve(b, 4096);

        n = p == NULL ? 0 : read(fd, p, 4096);

        if (n > 0) {
            b->len += (size_t) n;
        }

    } while (n > 0 || (n == -1 && errno == EINTR));

    close(fd);

    return n == -1 ? -1 : 0;
}


static void
end(struct pprof_job *job, bool gone)
{
    struct pprof_answer *a = &job->answer;
    struct pprof_buf *b = &a->body;
    const char *policy = job->ask.cmdline;

    (void) gone;

    if (strcmp(policy, "off") == 0) {
        pprof_answer_error(a, 403, "the command line is not shown here; "
                           "PPROF_CMDLINE=argv0 or full would show it");
        return;
    }

    if (read_cmdline(job->target, b) == -1) {
        pprof_answer_error(a, 500, "/proc/%d/cmdline cannot be read: %s",
                           (int) job->target->pid,
                           strerrordesc_np(errno));
        return;
    }

    if (strcmp(policy, "full") != 0) {
        const char *zero = b->len == 0 ? NULL : memchr(b->data, 0, b->len);

        if (zero != NULL) {
            b->len = (size_t) (zero - b->data);
        }
    }

    /* google-pprof hands the text to a shell: "Unterminated quoted string" */
    while (b->len > 0 && b->data[b->len - 1] == '\0') {
        b->len--;
    }

    pprof_answer_ok(a, PPROF_TYPE_TEXT, NULL);
}


const struct pprof_kind pprof_kind_cmdline = {
    PPROF_KIND(cmdline),
    .about = "the program's command line",
    .end = end,
};
