/*
 * mutex: who held the locks that others waited for.
 */

#include "kinds/kind.h"


static void
end(struct pprof_job *job, bool gone)
{
    (void) gone;

    pprof_answer_error(&job->answer, 501, "mutex profiles are not there in "
                       "this version; profile and heap are");
}


const struct pprof_kind pprof_kind_mutex = {
    .name = "mutex",
    .about = "who held the locks that others waited for",
    .flags = PPROF_KIND_DELTA,
    .end = end,
};
