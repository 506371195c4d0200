#include "kinds/write.h"

#include <errno.h>
#include <string.h>


void
pprof_job_write(struct pprof_job *job, const struct pprof_profile *p,
    const struct pprof_maps *maps, const char *file)
{
    struct pprof_answer *a = &job->answer;
    struct pprof_names names;

    pprof_names_init(&names);

    if (pprof_profile_finish(p, maps, &names, &a->body) == -1) {
        pprof_answer_error(a, 500, "the profile cannot be written: %s",
                           strerrordesc_np(errno));

    } else {
        pprof_answer_ok(a, PPROF_TYPE_BYTES, file);
    }

    pprof_names_free(&names);
}
