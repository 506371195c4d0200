#include "encode/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>


/* What a reader lowers by one. */
static uintptr_t
address(const struct pprof_sample *s, size_t i)
{
    return s->pcs[i] + 1;
}


/* The K-th function at PC.  False: there is none. */
static bool
put_frame(uintptr_t pc, size_t k, const struct pprof_maps *maps,
    struct pprof_names *names, struct pprof_buf *out)
{
    const struct pprof_map *map = pprof_maps_find(maps, pc);
    struct pprof_place p;
    const int rc = pprof_names_place(names, maps, pc, k, &p);

    if (rc == 0) {
        return false;
    }

    pprof_buf_printf(out, "#\t0x%" PRIxPTR "\t%s", pc, p.name.name);

    if (p.name.start != 0 && p.name.start <= pc) {
        pprof_buf_printf(out, "+0x%" PRIxPTR, pc - p.name.start);
    }

    if (p.file != NULL && p.line != 0) {
        pprof_buf_printf(out, "\t%s:%d\n", p.file, p.line);
    } else {
        pprof_buf_printf(out, "\t%s\n", map == NULL ? "?" : map->file);
    }

    /* without memory the name is as good as there can be one, once */
    return rc == 1;
}


void
pprof_text_frames_write(const struct pprof_sample *s,
    const struct pprof_maps *maps, struct pprof_names *names,
    struct pprof_buf *out)
{
    if (s->lost != NULL) {
        pprof_buf_printf(out, "#\t%s\n", s->lost);
    }

    for (size_t i = 0; i < s->depth; i++) {
        for (size_t k = 0; put_frame(s->pcs[i], k, maps, names, out); k++) {
            /* what was inlined there, and where */
        }
    }
}


/* The value to sort by; qsort() has no argument for it. */
static _Thread_local size_t  column;


static int
compare(const void *a, const void *b)
{
    const struct pprof_sample *const *x = a, *const *y = b;
    const int64_t m = (*x)->values[column], n = (*y)->values[column];

    return m > n ? -1 : m < n ? 1 : *x < *y ? -1 : *x > *y;
}


/*
 * The samples of P with a positive value number N, the largest first.  The
 * caller frees them; NULL when memory ran out.
 */
static const struct pprof_sample **
sort(const struct pprof_profile *p, size_t by, size_t *n)
{
    const struct pprof_sample **rows = calloc(p->nsamples + 1, sizeof(*rows));

    *n = 0;

    for (size_t i = 0; rows != NULL && i < p->nsamples; i++) {
        if (p->samples[i].values[by] > 0) {
            rows[(*n)++] = &p->samples[i];
        }
    }

    if (rows != NULL) {
        column = by;
        qsort(rows, *n, sizeof(*rows), compare);
    }

    return rows;
}


static void
put_stack(const struct pprof_sample *s, const struct pprof_maps *maps,
    struct pprof_names *names, struct pprof_buf *out)
{
    pprof_buf_string(out, " @");

    for (size_t i = 0; i < s->depth; i++) {
        pprof_buf_printf(out, " 0x%" PRIxPTR, address(s, i));
    }

    pprof_buf_byte(out, '\n');
    pprof_text_frames_write(s, maps, names, out);
    pprof_buf_byte(out, '\n');
}


int
pprof_text_count_write(const struct pprof_profile *p, const char *name,
    const struct pprof_maps *maps, struct pprof_names *names,
    struct pprof_buf *out)
{
    int64_t total = 0;
    size_t n;

    if (p->nvalues == 0) {
        errno = EINVAL;
        return -1;
    }

    const struct pprof_sample **rows = sort(p, 0, &n);

    for (size_t i = 0; i < n; i++) {
        total += rows[i]->values[0];
    }

    pprof_buf_printf(out, "%s profile: total %" PRId64 "\n", name, total);

    for (size_t i = 0; i < n; i++) {
        pprof_buf_printf(out, "%" PRId64, rows[i]->values[0]);
        put_stack(rows[i], maps, names, out);
    }

    const bool failed = rows == NULL || p->failed || out->failed;

    free(rows);

    if (failed) {
        errno = ENOMEM;
        return -1;
    }

    return 0;
}


int
pprof_text_delay_write(const struct pprof_profile *p, const char *name,
    long long period, const struct pprof_maps *maps,
    struct pprof_names *names, struct pprof_buf *out)
{
    size_t n;

    if (p->nvalues < 2) {
        errno = EINVAL;
        return -1;
    }

    const struct pprof_sample **rows = sort(p, 1, &n);

    /* a cycle is a nanosecond */
    pprof_buf_printf(out, "--- %s:\ncycles/second=1000000000\n"
                     "sampling period=%lld\n", name, period);

    for (size_t i = 0; i < n; i++) {
        pprof_buf_printf(out, "%" PRId64 " %" PRId64, rows[i]->values[1],
                         rows[i]->values[0]);
        put_stack(rows[i], maps, names, out);
    }

    const bool failed = rows == NULL || p->failed || out->failed;

    free(rows);

    if (failed) {
        errno = ENOMEM;
        return -1;
    }

    return 0;
}
