/*
 * Feeds the agent a hostile page: the first PPROF_HEAD_SIZE bytes of the input
 * are its head, but for what makes it a page at all, and the rest are the rows
 * of an answer.  Whatever they say, what the agent has of it are rows within
 * bounds.
 *
 * Fuzzes: agent/target.c agent/symbols/maps.c agent/encode/buf.c
 * Fuzzes: agent/kinds/routes.c agent/kinds/requests.c
 */

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/target.h"
#include "guest/command.h"
#include "guest/stackmap.h"
#include "kinds/code.h"
#include "kinds/life.h"
#include "kinds/requests.h"
#include "kinds/write.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/* The program's part, and what hangs on a target, are not here. */
int
pprof_command_execute(enum pprof_op op, const uint64_t args[PPROF_ARGS],
    struct pprof_out *out)
{
    (void) op;
    (void) args;
    (void) out;

    return 0;
}


void
pprof_kinds_free(struct pprof_kinds *kinds)
{
    (void) kinds;
}


void
pprof_code_free(struct pprof_code *code)
{
    (void) code;
}


void
pprof_capture_lock(struct pprof_target *target)
{
    (void) target;
}


void
pprof_capture_unlock(struct pprof_target *target)
{
    (void) target;
}


const char *
pprof_sample_route(const struct pprof_sample *s)
{
    (void) s;

    return NULL;
}


void
pprof_answer_ok(struct pprof_answer *a, const char *type, const char *file)
{
    (void) a;
    (void) type;
    (void) file;
}


void
pprof_job_refuse(struct pprof_job *job, int error, const char *what)
{
    (void) job;
    (void) error;
    (void) what;
}


static _Atomic bool  ended;
static _Atomic uint64_t  sink;          /* what was read is used */


/* As if the program executed all that it is asked. */
static void *
obey(void *arg)
{
    struct pprof_page *const page = arg;

    while (!ended) {
        atomic_store(&page->done, atomic_load(&page->asked));
        sched_yield();
    }

    return NULL;
}


/* Reads all of it: what is out of bounds is a report. */
static uint64_t
read_rows(const struct pprof_reply *reply)
{
    const struct pprof_row *row = NULL;
    uint64_t sum = 0;

    while ((row = pprof_reply_next(reply, row)) != NULL) {
        if (row->depth > PPROF_STACK_MAX) {
            abort();
        }

        for (uint32_t i = 0; i < row->depth; i++) {
            sum += row->pcs[i];
        }

        sum += strlen(row->name) + strlen(row->lost) + row->tag + row->count
               + row->value + row->more[0] + row->more[1];
    }

    return sum;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pprof_reply reply = { .rows_size = 0 };
    const int fd = pprof_page_create();
    const size_t head = size < PPROF_HEAD_SIZE ? size : PPROF_HEAD_SIZE;
    const size_t from = offsetof(struct pprof_page, pid);

    if (fd == -1) {
        return 0;
    }

    if (head > from) {
        (void) !pwrite(fd, data + from, head - from, (off_t) from);
    }

    if (size > head) {
        (void) !pwrite(fd, data + head, size - head, PPROF_OUT_AT);
    }

    struct pprof_target *const t = pprof_target_open(getpid(), fd);

    close(fd);

    if (t == NULL) {
        return 0;
    }

    /* rows by their own, whatever the head says of them */
    if (size > head
        && pprof_reply_take(&reply, data + head, size - head) == 0)
    {
        sink += read_rows(&reply);
        pprof_reply_free(&reply);
    }

    pthread_t thread;

    ended = false;

    if (pthread_create(&thread, NULL, obey, t->page) == 0) {
        if (pprof_target_call(t, PPROF_OP_EVENTS_READ, NULL, &reply) == 0) {
            sink += read_rows(&reply) + reply.results[0];
            pprof_reply_free(&reply);
        }

        struct pprof_requests requests;

        if (pprof_requests_take(t, &requests) == 0) {
            for (size_t i = 0; i < requests.nrows; i++) {
                sink += strlen(pprof_routes_name(&requests.list,
                                                 requests.rows[i].route))
                        + (uint64_t) requests.rows[i].thread;
            }

            pprof_requests_free(&requests);
        }

        ended = true;
        pthread_join(thread, NULL);
    }

    sink += pprof_target_alive(t);
    pprof_target_close(t);

    return 0;
}
