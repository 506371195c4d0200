/*
 * pprof_handle(): the same answers for a program that has an HTTP server of
 * its own.
 */

#include "pprof.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "front/request.h"
#include "kinds/life.h"


/* What a response points into. */
struct memory {
    struct pprof_job      job;
    struct pprof_headers  headers;
};


const char *
pprof_version(void)
{
    return PPROF_VERSION;
}


/* Waits SECONDS.  Returns 0, or -1 when REQUEST's gone() said so. */
static int
wait_window(const struct pprof_request *request, unsigned seconds)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);

    for (unsigned quarters = 4 * seconds; quarters > 0; quarters--) {
        until.tv_nsec += 250000000;

        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }

        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL)
               == EINTR)
        {
            /* the program's own signals are handled in this thread too */
        }

        if (request->gone != NULL && request->gone(request->arg)) {
            return -1;
        }
    }

    return 0;
}


static bool
is_gone(void *arg)
{
    const struct pprof_request *request = arg;

    return request->gone(request->arg) != 0;
}


/* Returns 0, or -1 with errno ECANCELED. */
static int
run_job(struct pprof_job *job, const struct pprof_request *request)
{
    const unsigned seconds = job->ask.seconds;

    job->gone = request->gone == NULL ? NULL : is_gone;
    job->gone_arg = (void *) request;

    if (seconds != 0 && job->kind->begin != NULL) {
        if (job->kind->begin(job) == -1) {
            return 0;
        }

        if (wait_window(request, seconds) == -1) {
            job->kind->end(job, true);
            errno = ECANCELED;
            return -1;
        }
    }

    job->kind->end(job, false);

    return 0;
}


int
pprof_handle(const struct pprof_request *request,
    struct pprof_response *response)
{
    struct pprof_policy policy;

    if (request->size < sizeof(struct pprof_request)
        || response->size < sizeof(struct pprof_response)
        || request->method == NULL || request->path == NULL)
    {
        errno = EINVAL;
        return -1;
    }

    struct memory *m = calloc(1, sizeof(struct memory));

    if (m == NULL) {
        return -1;
    }

    (void) pprof_policy_init(&policy, NULL);
    (void) pprof_kinds_of(policy.target);
    pprof_request_route(&m->job, &policy, request->method, request->path,
                        request->query, request->body, request->body_len);

    pprof_kinds_init();
    pprof_kinds_enter();
    const int rc = m->job.kind == NULL ? 0 : run_job(&m->job, request);
    pprof_kinds_leave();

    if (rc == -1) {
        pprof_buf_free(&m->job.answer.body);
        free(m);
        errno = ECANCELED;
        return -1;
    }

    response->status = m->job.answer.status;
    pprof_answer_headers(&m->job, &m->headers);
    response->headers = m->headers.list;
    response->nheaders = m->headers.n;
    response->memory = m;
    response->body = m->job.answer.body.data;
    response->body_len = strcmp(request->method, "HEAD") == 0
                         ? 0 : m->job.answer.body.len;

    return 0;
}


void
pprof_response_free(struct pprof_response *response)
{
    struct memory *m = response->memory;
    const size_t size = response->size;

    if (m != NULL) {
        pprof_buf_free(&m->job.answer.body);
        free(m);
    }

    memset(response, 0, sizeof(struct pprof_response));
    response->size = size;
}
