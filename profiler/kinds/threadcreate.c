/*
 * threadcreate: stacks that created threads.
 */

#include "kinds/kind.h"


static void
end(struct pprof_job *job, bool gone)
{
    (void) gone;

    pprof_answer_error(&job->answer, 501, "threadcreate profiles are not there "
                       "in this version; profile and heap are");
}


const struct pprof_kind pprof_kind_threadcreate = {
    .name = "threadcreate",
    .about = "stacks that created threads",
    .flags = PPROF_KIND_DELTA,
    .end = end,
};
