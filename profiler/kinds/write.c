#include "kinds/write.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "encode/folded.h"
#include "encode/paths.h"
#include "encode/svg.h"


/* Returns 0, or -1 with errno. */
static int
write_paths(struct pprof_job *job, const struct pprof_profile *p,
    const struct pprof_maps *maps, struct pprof_names *names)
{
    struct pprof_answer *a = &job->answer;
    const size_t column = pprof_paths_column(p);
    struct pprof_paths paths;
    char title[256];

    if (pprof_paths_make(&paths, p, column, maps, names) == -1) {
        return -1;
    }

    if (job->ask.format == PPROF_FORMAT_FOLDED) {
        pprof_folded_write(&paths, &a->body);

    } else {
        const char *file = maps->nmaps == 0 ? "?" : maps->maps[0].file;
        const char *slash = strrchr(file, '/');

        snprintf(title, sizeof(title), "%s: %s",
                 slash == NULL ? file : slash + 1, p->values[column].type);
        pprof_svg_write(&paths, title, p->values[column].unit, &a->body);
    }

    pprof_paths_free(&paths);

    return 0;
}


void
pprof_job_write(struct pprof_job *job, const struct pprof_profile *p,
    const struct pprof_maps *maps, const char *file)
{
    struct pprof_answer *a = &job->answer;
    struct pprof_names names;
    int rc;

    pprof_names_init(&names);

    switch (job->ask.format) {

    case PPROF_FORMAT_FOLDED:
        rc = write_paths(job, p, maps, &names);
        pprof_answer_ok(a, PPROF_TYPE_TEXT, NULL);
        break;

    case PPROF_FORMAT_SVG:
        rc = write_paths(job, p, maps, &names);
        pprof_answer_ok(a, "image/svg+xml", NULL);
        break;

    default:
        rc = pprof_profile_finish(p, maps, &names, &a->body);
        pprof_answer_ok(a, PPROF_TYPE_BYTES, file);
    }

    if (rc == -1) {
        pprof_answer_error(a, 500, "the profile cannot be written: %s",
                           strerrordesc_np(errno));
    }

    pprof_names_free(&names);
}
