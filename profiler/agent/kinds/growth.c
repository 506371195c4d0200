/*
 * growth: the stacks that made tcmalloc ask the kernel for memory, newest
 * first.  Needs no sampling.
 */

#include "kinds/kind.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "encode/legacy.h"
#include "encode/profile.h"
#include "kinds/tcmalloc.h"
#include "kinds/write.h"


static void
add_rows(struct pprof_profile *p, const struct pprof_maps *maps,
    const struct pprof_tcmalloc_read *read)
{
    const struct pprof_row *row = NULL;

    while ((row = pprof_reply_next(&read->reply, row)) != NULL) {
        const uintptr_t *const pcs = (const uintptr_t *) row->pcs;
        const size_t skip = pprof_tcmalloc_skip(maps, read->own, pcs,
                                                row->depth);
        const int64_t values[] = {
            (int64_t) row->count, (int64_t) row->value
        };

        pprof_profile_sample(p, pcs + skip, row->depth - skip, false, values,
                             NULL, 0);
    }
}


static int
write_text(const struct pprof_form *form, const struct pprof_job *job,
    const struct pprof_profile *p, const struct pprof_maps *maps,
    struct pprof_names *names, struct pprof_buf *out)
{
    (void) job;
    (void) names;

    return pprof_legacy_heap_write(p, 0, -1, form->file, maps, out);
}


static const struct pprof_form form = {
    .file = "growth",
    .text = write_text,
};


static void
end(struct pprof_job *job, bool gone)
{
    struct pprof_profile p;
    struct pprof_tcmalloc_read read;
    struct pprof_maps maps;

    if (gone || pprof_tcmalloc_read(job->target, PPROF_TCMALLOC_GROWTH, &read,
                                    &job->answer)
                == -1)
    {
        return;
    }

    if (pprof_job_maps(job, &maps) == -1) {
        pprof_tcmalloc_read_free(&read);
        return;
    }

    pprof_profile_init(&p);
    pprof_profile_value(&p, "objects", "count");
    pprof_profile_value(&p, "space", "bytes");
    pprof_profile_period(&p, "space", "bytes", 1);
    pprof_profile_time(&p, time(NULL) * INT64_C(1000000000), 0);
    add_rows(&p, &maps, &read);
    pprof_tcmalloc_read_free(&read);

    pprof_job_answer(job, &p, &maps, &form);
    pprof_profile_free(&p);
    pprof_maps_free(&maps);
}


const struct pprof_kind pprof_kind_growth = {
    PPROF_KIND(growth),
    .about = "what made the heap grow",
    .end = end,
};
