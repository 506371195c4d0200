#include "kinds/routes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>


static const char  nobody[] = "-";

/* A line of the table. */
struct line {
    const char  *route;
    uint64_t     requests;
    int64_t      nsec;
};


int
pprof_routes_want(struct pprof_target *t, enum pprof_routes_user user,
    bool want)
{
    const uint64_t args[PPROF_ARGS] = { want, user };

    return pprof_target_call(t, PPROF_OP_ROUTES, args, NULL);
}


static void
take_row(struct pprof_route_list *list, const struct pprof_row *row)
{
    char text[PPROF_MARK_NAME + 1] = "";

    if (row->tag == 0 || row->tag >= PPROF_ROUTES
        || row->depth * sizeof(uint64_t) < PPROF_MARK_NAME)
    {
        return;
    }

    memcpy(text, row->pcs, PPROF_MARK_NAME);

    /* it is shown on terminals */
    for (char *c = text; *c != '\0'; c++) {
        *c = (unsigned char) *c < ' ' || *c == 0x7f || *c == ',' ? '?' : *c;
    }

    memcpy(list->routes[row->tag].name, text, sizeof(text));
    list->routes[row->tag].requests = row->count;
}


int
pprof_routes_list(struct pprof_target *t, struct pprof_route_list *list)
{
    const struct pprof_row *row = NULL;
    struct pprof_reply reply;

    memset(list, 0, sizeof(*list));

    if (pprof_target_call(t, PPROF_OP_ROUTES_READ, NULL, &reply) == -1) {
        return -1;
    }

    while ((row = pprof_reply_next(&reply, row)) != NULL) {
        take_row(list, row);
    }

    list->seen = reply.results[0] != 0;
    list->nsec = reply.results[1];
    pprof_reply_free(&reply);

    return 0;
}


const char *
pprof_routes_name(const struct pprof_route_list *list, uint64_t number)
{
    return number < PPROF_ROUTES && list->routes[number].name[0] != '\0'
           ? list->routes[number].name : nobody;
}


/* The line of ROUTE, which is made where there is none; NULL: no room. */
static struct line *
find_line(struct line *lines, size_t *n, size_t cap, const char *route)
{
    for (size_t i = 0; i < *n; i++) {
        if (strcmp(lines[i].route, route) == 0) {
            return &lines[i];
        }
    }

    if (*n == cap) {
        return NULL;
    }

    lines[*n] = (struct line) { .route = route };

    return &lines[(*n)++];
}


/* The most expensive first, and what is nobody's last. */
static int
compare(const void *a, const void *b)
{
    const struct line *const x = a, *const y = b;
    const int last = (strcmp(x->route, nobody) == 0)
                     - (strcmp(y->route, nobody) == 0);

    return last != 0 ? last
           : x->nsec != y->nsec ? (x->nsec < y->nsec ? 1 : -1)
           : strcmp(x->route, y->route);
}


void
pprof_routes_json(const char *s, struct pprof_buf *out)
{
    pprof_buf_byte(out, '"');

    for (/* void */; *s != '\0'; s++) {
        if (*s == '"' || *s == '\\') {
            pprof_buf_byte(out, '\\');
        }

        pprof_buf_byte(out, (uint8_t) *s);
    }

    pprof_buf_byte(out, '"');
}


static double
share_of(int64_t part, int64_t whole)
{
    return whole > 0 ? (double) part / (double) whole : 0;
}


static void
put_json(const struct line *lines, size_t n, int64_t whole, double seconds,
    const char *note, struct pprof_buf *out)
{
    pprof_buf_printf(out, "{\"seconds\": %.3f, \"cpu_ms\": %.1f, \"note\": ",
                     seconds, (double) whole / 1e6);
    pprof_routes_json(note, out);
    pprof_buf_string(out, ",\n \"routes\": [");

    for (size_t i = 0; i < n; i++) {
        const struct line *const line = &lines[i];

        pprof_buf_string(out, i == 0 ? "\n" : ",\n");
        pprof_buf_string(out, "  {\"route\": ");
        pprof_routes_json(line->route, out);
        pprof_buf_printf(out, ", \"cpu_ms\": %.1f, \"share\": %.4f, "
                         "\"requests\": %" PRIu64 ", \"cpu_ms_per_request\": ",
                         (double) line->nsec / 1e6,
                         share_of(line->nsec, whole), line->requests);

        if (line->requests > 0) {
            pprof_buf_printf(out, "%.3f}", (double) line->nsec / 1e6
                                           / (double) line->requests);

        } else {
            pprof_buf_string(out, "null}");
        }
    }

    pprof_buf_string(out, "\n]}\n");
}


static void
put_text(const struct line *lines, size_t n, int64_t whole, double seconds,
    const char *note, struct pprof_buf *out)
{
    pprof_buf_printf(out, "%-48s %10s %7s %10s %12s\n", "route", "CPU ms",
                     "share", "requests", "CPU ms each");

    for (size_t i = 0; i < n; i++) {
        const struct line *const line = &lines[i];
        const double msec = (double) line->nsec / 1e6;

        pprof_buf_printf(out, "%-48s %10.1f %6.1f%%", line->route, msec,
                         100 * share_of(line->nsec, whole));

        if (line->requests > 0) {
            pprof_buf_printf(out, " %10" PRIu64 " %12.3f\n", line->requests,
                             msec / (double) line->requests);

        } else {
            pprof_buf_printf(out, " %10s %12s\n", nobody, nobody);
        }
    }

    pprof_buf_printf(out, "\n# %.1f ms of CPU time in %.1f s; %s is what "
                     "belongs to no request, or to none that is known\n# %s\n",
                     (double) whole / 1e6, seconds, nobody, note);
}


/* How far the table can be trusted. */
static const char *
note_of(const struct pprof_route_list *now, const struct line *lines,
    size_t n)
{
    uint64_t requests = 0;

    for (size_t i = 0; i < n; i++) {
        requests += lines[i].requests;
    }

    return !now->seen
           ? "libpprof.a sees no reads: only pprof_label() tells routes; link "
             "the program with libpprof.so, or start it with pprof-run"
           : requests == 0
           ? "no request came with a route: is debug_route on in nginx, and "
             "does the program read by libc's functions?"
           : "requests that were under way when this began have no route";
}


int
pprof_routes_table(const struct pprof_profile *p,
    const struct pprof_route_span *span, bool json, struct pprof_buf *out)
{
    const struct pprof_route_list *const now = &span->now;
    const size_t column = p->nvalues - 1;
    const size_t cap = PPROF_ROUTES + 1;
    struct line *const lines = calloc(cap, sizeof(*lines));
    int64_t whole = 0;
    size_t n = 0;

    if (p->failed || lines == NULL) {
        free(lines);
        errno = ENOMEM;
        return -1;
    }

    for (size_t i = 1; i < PPROF_ROUTES; i++) {
        const uint64_t requests = now->routes[i].requests
                                  - span->before.routes[i].requests;

        if (now->routes[i].name[0] != '\0' && requests > 0) {
            find_line(lines, &n, cap, now->routes[i].name)->requests
                += requests;
        }
    }

    for (size_t i = 0; i < p->nsamples; i++) {
        const char *const route = pprof_sample_route(&p->samples[i]);
        struct line *const line = find_line(lines, &n, cap,
                                            route == NULL ? nobody : route);

        whole += p->samples[i].values[column];

        if (line != NULL) {
            line->nsec += p->samples[i].values[column];
        }
    }

    qsort(lines, n, sizeof(*lines), compare);
    (json ? put_json : put_text)(lines, n, whole,
                                 (double) p->duration_nanos / 1e9,
                                 note_of(now, lines, n), out);
    free(lines);

    return 0;
}
