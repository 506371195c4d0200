#include "kinds/tcmalloc.h"

#include <errno.h>
#include <string.h>

#include "kinds/write.h"


void
pprof_tcmalloc_refuse(struct pprof_answer *answer, int error)
{
    switch (error) {

    case ENOSYS:
        pprof_answer_error(answer, 501, "the program does not allocate with "
                           "tcmalloc; start it with pprof-run --tcmalloc, "
                           "or link it with -ltcmalloc");
        return;

    case ENOTSUP:
        pprof_answer_error(answer, 501, "libtcmalloc_minimal takes no heap "
                           "samples; start the program with pprof-run, or "
                           "link it with -ltcmalloc");
        return;

    case ENOMEM:
        pprof_answer_error(answer, 503, "tcmalloc gave no stacks; it may be "
                           "out of memory");
        return;

    default:
        pprof_answer_refuse(answer, error, "tcmalloc cannot be asked");
    }
}


int
pprof_tcmalloc_read(struct pprof_target *target,
    enum pprof_tcmalloc_sort sort, struct pprof_tcmalloc_read *read,
    struct pprof_answer *answer)
{
    const uint64_t args[PPROF_ARGS] = { sort };

    *read = (struct pprof_tcmalloc_read) { .period = 0 };

    if (pprof_target_call(target, PPROF_OP_TCMALLOC, args, &read->reply) == -1)
    {
        pprof_tcmalloc_refuse(answer, errno);
        return -1;
    }

    read->period = (int) read->reply.results[0];
    read->since = (int64_t) read->reply.results[1];
    read->own = (uintptr_t) read->reply.results[3];

    return 0;
}


void
pprof_tcmalloc_read_free(struct pprof_tcmalloc_read *read)
{
    pprof_reply_free(&read->reply);
}


int
pprof_tcmalloc_count(struct pprof_target *target, size_t *n)
{
    const uint64_t args[PPROF_ARGS] = { PPROF_TCMALLOC_LIVE, 1 };
    struct pprof_reply reply;

    if (pprof_target_call(target, PPROF_OP_TCMALLOC, args, &reply) == -1) {
        return -1;
    }

    *n = (size_t) reply.results[2];

    const int rc = reply.results[0] != 0 ? 0 : -1;

    pprof_reply_free(&reply);

    return rc;
}


size_t
pprof_tcmalloc_skip(const struct pprof_maps *maps, uintptr_t own,
    const uintptr_t *pcs, size_t depth)
{
    const struct pprof_map *const map = pprof_maps_find(maps, own);
    size_t n = 0;

    /* linked into the program itself, its frames cannot be told apart */
    if (map == NULL || map == &maps->maps[0]) {
        return 0;
    }

    while (n + 1 < depth && pprof_maps_find(maps, pcs[n] - 1) == map) {
        n++;
    }

    return n;
}


void
pprof_tcmalloc_describe(struct pprof_target *target, struct pprof_buf *b)
{
    const struct pprof_row *row = NULL;
    struct pprof_reply reply;

    if (pprof_target_call(target, PPROF_OP_TCMALLOC_PROPERTIES, NULL, &reply)
        == -1)
    {
        return;
    }

    while ((row = pprof_reply_next(&reply, row)) != NULL) {
        const char *const name = pprof_tcmalloc_name(row->tag);

        if (name != NULL) {
            pprof_buf_printf(b, "# %s = %llu\n", name,
                             (unsigned long long) row->value);
        }
    }

    pprof_reply_free(&reply);
}
