/*
 * requests: those that the program has read and not answered.
 */

#include "kinds/requests.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "kinds/kind.h"
#include "kinds/life.h"
#include "kinds/state.h"
#include "kinds/write.h"


enum { SLACK = 5000000 };       /* ns: who reads may be interrupted before he
                                   hands over what he read */


int
pprof_requests_want(struct pprof_target *t)
{
    pprof_capture_lock(t);

    t->kinds->requests_until = pprof_clock(CLOCK_MONOTONIC)
                               + (uint64_t) PPROF_REQUESTS_LOOK * PPROF_SECOND;

    const int rc = pprof_routes_want(t, PPROF_ROUTES_REQUESTS, true);
    const int error = errno;

    if (rc == -1) {
        t->kinds->requests_until = 0;
    }

    pprof_capture_unlock(t);
    errno = error;

    return rc;
}


void
pprof_requests_second(struct pprof_target *t)
{
    pprof_capture_lock(t);

    if (t->kinds->requests_until != 0
        && pprof_clock(CLOCK_MONOTONIC) > t->kinds->requests_until)
    {
        t->kinds->requests_until = 0;
        (void) pprof_routes_want(t, PPROF_ROUTES_REQUESTS, false);
    }

    pprof_capture_unlock(t);
}


static int
compare_rows(const void *a, const void *b)
{
    const struct pprof_request_row *const x = a, *const y = b;

    return (x->read < y->read) - (x->read > y->read);
}


static int
compare_workers(const void *a, const void *b)
{
    const struct pprof_request_worker *const x = a, *const y = b;

    return (x->begun < y->begun) - (x->begun > y->begun);
}


/* The one of R's rows that W is at, or NULL. */
static struct pprof_request_row *
own_row(struct pprof_requests *r, const struct pprof_request_worker *w)
{
    for (size_t i = 0; i < r->nrows && w->fd != 0; i++) {
        if (r->rows[i].fd == w->fd - 1 && r->rows[i].id == w->id) {
            return &r->rows[i];
        }
    }

    return NULL;
}


/* Whoever works on ROW, which nobody answers yet; NULL: nobody. */
static struct pprof_request_worker *
find_worker(struct pprof_requests *r, const struct pprof_request_row *row)
{
    struct pprof_request_worker *found = NULL;

    for (size_t i = 0; i < r->nworkers; i++) {
        struct pprof_request_worker *const w = &r->workers[i];

        if (w->taken || w->begun > row->read + SLACK) {
            continue;
        }

        if (w->fd == 0) {
            found = found == NULL ? w : found;

        } else if (w->tid == row->reader) {
            return w;
        }
    }

    return found;
}


void
pprof_requests_pair(struct pprof_requests *r)
{
    qsort(r->rows, r->nrows, sizeof(r->rows[0]), compare_rows);
    qsort(r->workers, r->nworkers, sizeof(r->workers[0]), compare_workers);

    for (size_t i = 0; i < r->nworkers; i++) {
        struct pprof_request_row *const row = own_row(r, &r->workers[i]);

        if (row != NULL && row->wrote != 0 && row->thread == 0) {
            row->thread = r->workers[i].tid;
            r->workers[i].taken = true;
        }
    }

    for (size_t i = 0; i < r->nrows; i++) {
        struct pprof_request_row *const row = &r->rows[i];
        struct pprof_request_worker *const w
            = row->wrote == 0 ? find_worker(r, row) : NULL;

        if (w != NULL) {
            row->thread = w->tid;
            w->taken = true;
        }
    }
}


int
pprof_requests_take(struct pprof_target *t, struct pprof_requests *r)
{
    const struct pprof_row *row = NULL;
    struct pprof_reply reply;
    size_t n = 0;

    memset(r, 0, sizeof(*r));

    pprof_capture_lock(t);

    int rc = pprof_routes_list(t, &r->list);

    rc = rc == 0 ? pprof_target_call(t, PPROF_OP_REQUESTS_READ, NULL, &reply)
                 : rc;

    const int error = errno;

    pprof_capture_unlock(t);

    if (rc == -1) {
        errno = error;
        return -1;
    }

    while ((row = pprof_reply_next(&reply, row)) != NULL) {
        n++;
    }

    r->rows = calloc(n + 1, sizeof(*r->rows));
    r->workers = calloc(n + 1, sizeof(*r->workers));

    if (r->rows == NULL || r->workers == NULL) {
        pprof_reply_free(&reply);
        pprof_requests_free(r);
        errno = ENOMEM;
        return -1;
    }

    /* more than there can be would take long to pair */
    while ((row = pprof_reply_next(&reply, row)) != NULL) {
        if (row->more[0] == 0 && r->nrows < PPROF_ROUTES_FDS) {
            r->rows[r->nrows++] = (struct pprof_request_row) {
                .id = (uint32_t) row->tag,
                .fd = (uint32_t) (row->more[1] >> 32),
                .route = (unsigned) (row->more[1] & 0xffff),
                .reader = (pid_t) row->tid,
                .read = row->count,
                .wrote = row->value
            };

        } else if (row->more[0] != 0 && r->nworkers < PPROF_ROUTES_ROOMS) {
            r->workers[r->nworkers++] = (struct pprof_request_worker) {
                .tid = (pid_t) row->tid,
                .begun = row->count,
                .id = (uint32_t) row->tag,
                .fd = (uint32_t) row->value
            };
        }
    }

    pprof_reply_free(&reply);
    pprof_requests_pair(r);

    return 0;
}


void
pprof_requests_free(struct pprof_requests *r)
{
    free(r->rows);
    free(r->workers);
    memset(r, 0, sizeof(*r));
}


/* The name of thread TID, "" when it is gone; it is shown on terminals. */
static void
read_name(struct pprof_target *t, pid_t tid, char *name, size_t size)
{
    char path[32];

    snprintf(path, sizeof(path), "task/%d/comm", (int) tid);

    if (pprof_target_slurp(t, path, name, size) <= 0) {
        name[0] = '\0';
    }

    for (char *c = name; *c != '\0'; c++) {
        if (*c == '\n') {
            *c = '\0';
            break;
        }

        *c = (unsigned char) *c < ' ' || *c == 0x7f || *c == '"' || *c == '\\'
             ? '?' : *c;
    }
}


static const char *
state_of(const struct pprof_request_row *row)
{
    return row->wrote != 0 ? "answered" : row->thread != 0 ? "works"
           : "waits for a free thread";
}


static void
put_json(struct pprof_job *job, const struct pprof_requests *r,
    struct pprof_buf *out)
{
    char name[32];

    pprof_buf_printf(out, "{\"looked_at_ms\": %.0f, \"reads_seen\": %s,\n"
                     " \"requests\": [", (double) r->list.nsec / 1e6,
                     r->list.seen ? "true" : "false");

    for (size_t i = 0; i < r->nrows; i++) {
        const struct pprof_request_row *const row = &r->rows[i];

        pprof_buf_printf(out, "%s\n  {\"id\": \"%08" PRIx32 "\", \"route\": ",
                         i == 0 ? "" : ",", row->id);
        pprof_routes_json(pprof_routes_name(&r->list, row->route), out);
        pprof_buf_printf(out, ", \"age_ms\": %.1f, \"written_ms\": ",
                         (double) row->read / 1e6);

        if (row->wrote == 0) {
            pprof_buf_string(out, "null");

        } else {
            pprof_buf_printf(out, "%.1f", (double) row->wrote / 1e6);
        }

        pprof_buf_printf(out, ", \"state\": \"%s\", \"thread\": ",
                         state_of(row));

        if (row->thread == 0) {
            pprof_buf_string(out, "null}");

        } else {
            read_name(job->target, row->thread, name, sizeof(name));
            pprof_buf_printf(out, "%d, \"name\": \"%s\"}", (int) row->thread,
                             name);
        }
    }

    pprof_buf_string(out, "\n]}\n");
}


static void
put_text(struct pprof_job *job, const struct pprof_requests *r,
    struct pprof_buf *out)
{
    char name[32];

    pprof_buf_printf(out, "%-8s %10s %12s  %-24s %8s %-16s %s\n", "id",
                     "age ms", "answered ms", "state", "thread", "name",
                     "route");

    for (size_t i = 0; i < r->nrows; i++) {
        const struct pprof_request_row *const row = &r->rows[i];

        pprof_buf_printf(out, "%08" PRIx32 " %10.1f ", row->id,
                         (double) row->read / 1e6);

        if (row->wrote == 0) {
            pprof_buf_printf(out, "%12s", "-");

        } else {
            pprof_buf_printf(out, "%12.1f", (double) row->wrote / 1e6);
        }

        name[0] = '\0';

        if (row->thread != 0) {
            read_name(job->target, row->thread, name, sizeof(name));
        }

        pprof_buf_printf(out, "  %-24s %8d %-16s %s\n", state_of(row),
                         (int) row->thread, name,
                         pprof_routes_name(&r->list, row->route));
    }

    pprof_buf_printf(out, "\n# of requests that were read in the last %.1f s; "
                     "they are looked at until nobody has asked for %d s\n"
                     "# threads are the likely ones: see goroutine?debug=2&"
                     "id=\n", (double) r->list.nsec / 1e9,
                     PPROF_REQUESTS_LOOK);

    if (!r->list.seen) {
        pprof_buf_string(out, "# libpprof.a sees no reads: link the program "
                         "with libpprof.so, or start it with pprof-run\n");
    }
}


static void
end(struct pprof_job *job, bool gone)
{
    struct pprof_requests r;

    if (gone) {
        return;
    }

    if (pprof_requests_want(job->target) == -1
        || pprof_requests_take(job->target, &r) == -1)
    {
        pprof_job_refuse(job, errno, "the requests cannot be read");
        return;
    }

    (job->ask.json ? put_json : put_text)(job, &r, &job->answer.body);
    pprof_answer_ok(&job->answer, job->ask.json ? "application/json"
                                                : PPROF_TYPE_TEXT, NULL);
    pprof_requests_free(&r);
}


/* Who asked asked its parent. */
static void
child(const struct pprof_kind *kind, struct pprof_target *t)
{
    (void) kind;

    t->kinds->requests_until = 0;
}


const struct pprof_kind pprof_kind_requests = {
    PPROF_KIND(requests),
    .about = "requests that were read and not answered (?format=json)",
    .end = end,
    .child = child,
};
