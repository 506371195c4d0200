#include "encode/paths.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


size_t
pprof_paths_column(const struct pprof_profile *p)
{
    for (size_t i = 0; p->default_type != NULL && i < p->nvalues; i++) {
        if (strcmp(p->values[i].type, p->default_type) == 0) {
            return i;
        }
    }

    return p->nvalues == 0 ? 0 : p->nvalues - 1;
}


static int
compare(const void *a, const void *b)
{
    const struct pprof_path *x = a, *y = b;

    for (size_t i = 0; i < x->depth && i < y->depth; i++) {
        /* a function's name is one string, mostly */
        if (x->names[i] != y->names[i]) {
            const int order = strcmp(x->names[i], y->names[i]);

            if (order != 0) {
                return order;
            }
        }
    }

    return x->depth < y->depth ? -1 : x->depth > y->depth;
}


/* How many frames S has.  Returns -1 when memory ran out. */
static int
count_frames(const struct pprof_sample *s, const struct pprof_maps *maps,
    struct pprof_names *names, size_t *n)
{
    const size_t route = pprof_sample_route(s) != NULL;
    struct pprof_place place;
    int rc = 0;

    if (names->lines == NULL || s->depth == 0) {
        *n = route + (s->depth == 0 ? 1 : s->depth);
        return 0;
    }

    *n = route;

    for (size_t i = 0; i < s->depth && rc != -1; i++) {
        for (size_t k = 0; (rc = pprof_names_place(names, maps, s->pcs[i], k,
                                                   &place)) == 1; k++)
        {
            (*n)++;
        }
    }

    return rc;
}


/* The name of what is at PLACE, with its line where that is known, or NULL. */
static const char *
name_place(struct pprof_paths *paths, const struct pprof_place *place)
{
    char **text = &paths->texts[paths->ntexts];

    if (place->file == NULL || place->line == 0) {
        return place->name.name;
    }

    const char *slash = strrchr(place->file, '/');

    if (asprintf(text, "%s (%s:%d)", place->name.name,
                 slash == NULL ? place->file : slash + 1, place->line) == -1)
    {
        *text = NULL;
        return NULL;
    }

    paths->ntexts++;

    return *text;
}


/* Names S's N frames into TO, the root first.  Returns 0, or -1: memory. */
static int
name_frames(struct pprof_paths *paths, const struct pprof_sample *s,
    const char **to, size_t n, const struct pprof_maps *maps,
    struct pprof_names *names)
{
    const char *const route = pprof_sample_route(s);
    struct pprof_place place;
    int rc = 0;

    if (route != NULL) {
        *to++ = route;
        n--;
    }

    if (s->depth == 0) {
        to[0] = s->lost == NULL ? "[no stack]" : s->lost;
        return 0;
    }

    for (size_t i = 0; i < s->depth && rc != -1; i++) {
        for (size_t k = 0; (rc = pprof_names_place(names, maps, s->pcs[i], k,
                                                   &place)) == 1; k++)
        {
            to[--n] = name_place(paths, &place);

            if (to[n] == NULL) {
                return -1;
            }
        }
    }

    return rc;
}


/* Adds up neighbors that are equal, and drops what is nothing. */
static void
merge(struct pprof_paths *paths)
{
    size_t n = 0;

    for (size_t i = 0; i < paths->npaths; /* void */ ) {
        struct pprof_path sum = paths->paths[i++];

        while (i < paths->npaths && compare(&sum, &paths->paths[i]) == 0) {
            if (__builtin_add_overflow(sum.value, paths->paths[i].value,
                                       &sum.value))
            {
                sum.value = INT64_MAX;
            }

            i++;
        }

        if (sum.value > 0) {
            paths->paths[n++] = sum;
        }
    }

    paths->npaths = n;
}


int
pprof_paths_make(struct pprof_paths *paths, const struct pprof_profile *p,
    size_t column, const struct pprof_maps *maps, struct pprof_names *names)
{
    size_t frames = 0, at = 0, n;

    memset(paths, 0, sizeof(struct pprof_paths));

    if (column >= p->nvalues) {
        errno = EINVAL;
        return -1;
    }

    for (size_t i = 0; i < p->nsamples; i++) {
        if (count_frames(&p->samples[i], maps, names, &n) == -1) {
            goto failed;
        }

        frames += n;
    }

    paths->paths = calloc(p->nsamples + 1, sizeof(struct pprof_path));
    paths->names = calloc(frames + 1, sizeof(char *));
    paths->texts = calloc(names->lines == NULL ? 1 : frames + 1,
                          sizeof(char *));

    if (p->failed || paths->paths == NULL || paths->names == NULL
        || paths->texts == NULL)
    {
        goto failed;
    }

    for (size_t i = 0; i < p->nsamples; i++) {
        const struct pprof_sample *s = &p->samples[i];
        struct pprof_path *path = &paths->paths[paths->npaths++];

        if (count_frames(s, maps, names, &path->depth) == -1) {
            goto failed;
        }

        path->names = paths->names + at;
        path->value = s->values[column];
        at += path->depth;

        if (name_frames(paths, s, path->names, path->depth, maps, names)
            == -1)
        {
            goto failed;
        }
    }

    qsort(paths->paths, paths->npaths, sizeof(struct pprof_path), compare);
    merge(paths);

    return 0;

failed:

    pprof_paths_free(paths);
    errno = ENOMEM;

    return -1;
}


void
pprof_paths_free(struct pprof_paths *paths)
{
    for (size_t i = 0; i < paths->ntexts; i++) {
        free(paths->texts[i]);
    }

    free(paths->texts);
    free(paths->paths);
    free(paths->names);
    memset(paths, 0, sizeof(struct pprof_paths));
}
