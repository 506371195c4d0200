/*
 * Feeds anything to what makes a job of a request: method, path, query and
 * body, each up to the end of its line.  The kinds are there by name and
 * flags; none is run.
 *
 * Fuzzes: agent/front/request.c agent/encode/buf.c agent/kinds/env.c
 */

#include <stdlib.h>
#include <string.h>

#include "front/request.h"
#include "kinds/list.c"
#include "process.h"


#define KIND(what, flags)                                                     \
    const struct pprof_kind  pprof_kind_##what = {                           \
        PPROF_KIND(what), .about = ""                                        \
    };

PPROF_KINDS(KIND)


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/* The next line of *REST as a string of its own; the caller frees it. */
static char *
next_line(const uint8_t **rest, size_t *left)
{
    const uint8_t  *end = *left == 0 ? NULL : memchr(*rest, '\n', *left);
    const size_t    len = end == NULL ? *left : (size_t) (end - *rest);
    char           *line = malloc(len + 1);

    if (len != 0) {
        memcpy(line, *rest, len);
    }

    line[len] = '\0';
    *rest += len + (end != NULL);
    *left -= len + (end != NULL);

    return line;
}


static void
check(const struct pprof_job *job, const struct pprof_policy *policy)
{
    const struct pprof_answer  *a = &job->answer;
    struct pprof_headers       headers;

    if (job->kind == NULL) {
        /* answered: in words, when it is an error */
        if (a->status < 200 || a->status > 599 || a->type == NULL
            || (a->status >= 400 && a->body.len < 2))
        {
            abort();
        }

    } else if (a->status != 0 || job->ask.seconds > policy->max_seconds
               || job->ask.debug < 0 || job->ask.debug > 2
               || job->ask.hz > PPROF_HZ_MAX || job->ask.rate < -1
               || ((job->kind->flags & PPROF_KIND_WINDOW)
                   && job->ask.seconds == 0)
               || (!(job->kind->flags & (PPROF_KIND_WINDOW | PPROF_KIND_DELTA))
                   && job->ask.seconds != 0))
    {
        abort();
    }

    if (a->type == NULL) {
        return;
    }

    pprof_answer_headers(job, &headers);

    if (headers.n > PPROF_HEADERS_MAX) {
        abort();
    }

    for (size_t i = 0; i < headers.n; i++) {
        /* nothing of the request may end up as a header of its own */
        if (strpbrk(headers.list[i].name, "\r\n: ") != NULL
            || strpbrk(headers.list[i].value, "\r\n") != NULL)
        {
            abort();
        }
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct pprof_policy  policy = {
        .max_seconds = 100, .cmdline = "argv0",
        .charts = size % 2 == 0 ? NULL : (const void *) data
    };

    struct pprof_job  job;
    size_t            left = size;
    char             *method = next_line(&data, &left);
    char             *path = next_line(&data, &left);
    char             *query = next_line(&data, &left);
    char              clean[PPROF_PATH_MAX], again[PPROF_PATH_MAX];

    if (pprof_path_normalize(path, clean, sizeof(clean)) == 0) {
        if (clean[0] != '/' || strlen(clean) >= sizeof(clean)
            || strstr(clean, "//") != NULL || strstr(clean, "/../") != NULL)
        {
            abort();
        }

        /* what is clean stays so, unless an escape was escaped */
        if (strchr(clean, '%') == NULL
            && (pprof_path_normalize(clean, again, sizeof(again)) != 0
                || strcmp(clean, again) != 0))
        {
            abort();
        }
    }

    pprof_request_route(&job, &policy, method, path, query, data, left);
    check(&job, &policy);

    pprof_buf_free(&job.answer.body);
    free(method);
    free(path);
    free(query);

    return 0;
}
