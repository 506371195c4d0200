/*
 * block: where threads waited, and how long.
 */

#include "kinds/kind.h"


static void
end(struct pprof_job *job, bool gone)
{
    (void) gone;

    pprof_answer_error(&job->answer, 501, "block profiles are not there in "
                       "this version; profile and heap are");
}


const struct pprof_kind pprof_kind_block = {
    .name = "block",
    .about = "where threads waited, and how long",
    .flags = PPROF_KIND_DELTA,
    .end = end,
};
