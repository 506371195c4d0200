/*
 * allocs: every allocation since the start, also of what was freed.
 */

#include "kinds/kind.h"


static void
end(struct pprof_job *job, bool gone)
{
    (void) gone;

    pprof_answer_error(&job->answer, 501, "allocs profiles are not there in "
                       "this version; profile and heap are");
}


const struct pprof_kind pprof_kind_allocs = {
    .name = "allocs",
    .about = "every allocation since the start, also of what was freed",
    .flags = PPROF_KIND_DELTA,
    .end = end,
};
