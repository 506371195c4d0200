/*
 * growth: the stacks that made tcmalloc ask the kernel for memory, newest
 * first.  Needs no sampling.
 */

#include "kinds/kind.h"

#include <errno.h>
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


static void
end(struct pprof_job *job, bool gone)
{
    struct pprof_answer *a = &job->answer;
    const bool text = job->ask.legacy || job->ask.debug != 0;
    struct pprof_profile p;
    struct pprof_tcmalloc_read read;
    struct pprof_maps maps;

    if (gone || pprof_tcmalloc_read(job->target, PPROF_TCMALLOC_GROWTH, &read,
                                    a)
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

    if (!text) {
        pprof_job_write(job, &p, &maps, "growth");

    } else if (pprof_legacy_heap_write(&p, 0, -1, "growth", &maps, &a->body)
               == -1)
    {
        pprof_answer_error(a, 500, "the growth profile cannot be written: %s",
                           strerrordesc_np(errno));

    } else {
        pprof_answer_ok(a, PPROF_TYPE_TEXT, NULL);
    }

    pprof_profile_free(&p);
    pprof_maps_free(&maps);
}


const struct pprof_kind pprof_kind_growth = {
    .name = "growth",
    .about = "what made the heap grow",
    .end = end,
};
