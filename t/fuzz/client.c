/*
 * Feeds anything to what reads requests from a connection, in pieces as long
 * as the first byte says, and writes the answer.
 *
 * Fuzzes: agent/front/client.c agent/front/request.c agent/encode/buf.c
 * Fuzzes: agent/kinds/env.c
 */

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "front/client.h"
#include "front/request.h"
#include "process.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/* No request gets as far as a kind here. */
const struct pprof_kind *const  pprof_kinds[] = { NULL };


const struct pprof_kind *
pprof_kind_find(const char *name, size_t len)
{
    (void) name;
    (void) len;

    return NULL;
}


void
pprof_answer_error(struct pprof_answer *a, int status, const char *fmt, ...)
{
    pprof_buf_free(&a->body);
    pprof_buf_string(&a->body, fmt);
    a->status = status;
    a->type = PPROF_TYPE_TEXT;
}


void
pprof_answer_ok(struct pprof_answer *a, const char *type, const char *file)
{
    a->status = 200;
    a->type = type;
    a->file = file;
}


/* What was read is strings, all of them within the head. */
static void
check_request(const struct pprof_client *c)
{
    if (c->method < c->head || c->path < c->method || c->query == NULL
        || strlen(c->method) + strlen(c->path) + strlen(c->query)
           >= PPROF_CLIENT_HEAD_MAX
        || c->body_len > PPROF_CLIENT_BODY_MAX
        || (c->body_len != 0 && c->body == NULL))
    {
        abort();
    }

    for (size_t i = 0; i < c->body_len; i++) {
        if (c->body[i] == '\0') {
            break;
        }
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct pprof_policy  policy = { .max_seconds = 60,
                                          .cmdline = "argv0" };
    struct pprof_client        client;
    struct pprof_job           job = { 0 };
    char                      *head = malloc(PPROF_CLIENT_HEAD_MAX);
    enum pprof_client_step     step = PPROF_CLIENT_MORE;
    char                       answer[1 << 16];
    int                        fds[2];

    if (head == NULL || size < 1
        || socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == -1)
    {
        free(head);
        return 0;
    }

    const size_t  piece = data[0] == 0 ? size : data[0];

    pprof_client_init(&client, fds[0], head);

    for (size_t at = 1; at < size && step == PPROF_CLIENT_MORE; at += piece) {
        const size_t  n = size - at < piece ? size - at : piece;

        if (send(fds[1], data + at, n, MSG_DONTWAIT) != (ssize_t) n) {
            break;
        }

        step = pprof_client_read(&client, &job.answer);
    }

    if (step == PPROF_CLIENT_DONE) {
        check_request(&client);
        pprof_request_route(&job, &policy, client.method, client.path,
                            client.query, client.body, client.body_len);
    }

    if (step == PPROF_CLIENT_DONE || step == PPROF_CLIENT_REFUSED) {
        if (job.answer.status < 200) {
            abort();
        }

        pprof_client_answer(&client, &job);

        if (pprof_client_write(&client, &job) != PPROF_CLIENT_DONE
            || recv(fds[1], answer, sizeof(answer), MSG_DONTWAIT) < 20
            || memcmp(answer, "HTTP/1.1 ", 9) != 0)
        {
            abort();
        }
    }

    pprof_client_end(&client);
    close(fds[1]);

    if (pprof_client_drain(&client) != PPROF_CLIENT_GONE) {
        abort();
    }

    close(fds[0]);
    pprof_client_free(&client);
    pprof_buf_free(&job.answer.body);
    free(head);

    return 0;
}
