#include "kinds/write.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "encode/folded.h"
#include "encode/paths.h"
#include "encode/svg.h"
#include "kinds/env.h"
#include "symbols/lines.h"


/*
 * How long lines may take.  go tool pprof waits half as long again as it
 * asked for, and five seconds more; a minute where it did not ask.
 */
enum {
    LINES_MSEC_MIN = 4000,
    LINES_MSEC_MAX = 20000
};


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


/* Looks up the lines of what P's samples have. */
static void
find_lines(struct pprof_lines *lines, const struct pprof_job *job,
    const struct pprof_profile *p, const struct pprof_maps *maps,
    const char *debug_root)
{
    const unsigned seconds = job->ask.seconds;
    const char *program = pprof_env_get("PPROF_LINES");

    if (program != NULL && strcmp(program, "off") == 0) {
        snprintf(lines->comment, sizeof(lines->comment), "no lines: "
                 "PPROF_LINES=off");
        return;
    }

    for (size_t i = 0; i < p->nsamples; i++) {
        for (size_t j = 0; j < p->samples[i].depth; j++) {
            pprof_lines_add(lines, p->samples[i].pcs[j]);
        }
    }

    const struct pprof_lines_ask ask = {
        .program = program != NULL && *program != '\0' ? program : NULL,
        .debug_root = debug_root,
        .msec = seconds == 0 || seconds > 2 * (LINES_MSEC_MAX - LINES_MSEC_MIN)
                                          / 1000
                ? LINES_MSEC_MAX : LINES_MSEC_MIN + seconds * 500,
        .gone = job->gone,
        .arg = job->gone_arg,
    };

    pprof_lines_find(lines, maps, &ask);
}


void
pprof_job_names(struct pprof_job_names *n, const struct pprof_job *job,
    const struct pprof_profile *p, const struct pprof_maps *maps)
{
    pprof_names_init(&n->names);
    pprof_lines_init(&n->lines);
    n->names.full = job->ask.full_names;

    if (job->ask.lines) {
        find_lines(&n->lines, job, p, maps, n->names.debug_root);
        n->names.lines = &n->lines;
    }
}


void
pprof_job_names_free(struct pprof_job_names *n)
{
    pprof_names_free(&n->names);
    pprof_lines_free(&n->lines);
}


void
pprof_job_write(struct pprof_job *job, const struct pprof_profile *p,
    const struct pprof_maps *maps, const char *file)
{
    struct pprof_answer *a = &job->answer;
    struct pprof_job_names n;
    int rc;

    pprof_job_names(&n, job, p, maps);

    switch (job->ask.format) {

    case PPROF_FORMAT_FOLDED:
        rc = write_paths(job, p, maps, &n.names);
        pprof_answer_ok(a, PPROF_TYPE_TEXT, NULL);
        break;

    case PPROF_FORMAT_SVG:
        rc = write_paths(job, p, maps, &n.names);
        pprof_answer_ok(a, "image/svg+xml", NULL);
        break;

    default:
        rc = pprof_profile_finish(p, maps, &n.names, &a->body);
        pprof_answer_ok(a, PPROF_TYPE_BYTES, file);
    }

    if (rc == -1) {
        pprof_answer_error(a, 500, "the profile cannot be written: %s",
                           strerrordesc_np(errno));
    }

    pprof_job_names_free(&n);
}


void
pprof_job_answer(struct pprof_job *job, const struct pprof_profile *p,
    const struct pprof_maps *maps, const struct pprof_form *form)
{
    struct pprof_answer *a = &job->answer;
    struct pprof_job_names n;
    int rc;

    if (!(form->binary ? job->ask.legacy : pprof_job_is_text(job))) {
        pprof_job_write(job, p, maps, form->file);
        return;
    }

    if (form->named) {
        pprof_job_names(&n, job, p, maps);
        rc = form->text(form, job, p, maps, &n.names, &a->body);

        if (n.lines.comment[0] != '\0') {
            pprof_buf_printf(&a->body, "\n# %s\n", n.lines.comment);
        }

    } else {
        rc = form->text(form, job, p, maps, NULL, &a->body);
    }

    if (rc == -1) {
        pprof_answer_error(a, 500, "the profile cannot be written: %s",
                           strerrordesc_np(errno));

    } else if (form->binary) {
        pprof_answer_ok(a, PPROF_TYPE_BYTES, form->file);

    } else {
        pprof_answer_ok(a, PPROF_TYPE_TEXT, NULL);
    }

    if (form->named) {
        pprof_job_names_free(&n);
    }
}


int
pprof_job_maps(struct pprof_job *job, struct pprof_maps *maps)
{
    if (pprof_maps_load_from(maps, pprof_target_source(job->target)) == 0) {
        return 0;
    }

    if (errno == ESRCH) {
        pprof_job_refuse(job, ESRCH, "the program's mappings cannot be read");
        return -1;
    }

    if (errno == EACCES || errno == EPERM) {
        pprof_answer_error(&job->answer, 500, "the program's mappings cannot "
                           "be read: it lets nobody look at it (it is not "
                           "dumpable, or Yama or hidepid= keep others out); "
                           "start it as root, or let CAP_SYS_PTRACE be had");
        return -1;
    }

    pprof_answer_error(&job->answer, 500, "the program's mappings cannot be "
                       "read: %s", strerrordesc_np(errno));

    return -1;
}


void
pprof_job_refuse(struct pprof_job *job, int error, const char *what)
{
    pprof_answer_refuse(&job->answer, error, what);
}


void
pprof_answer_refuse(struct pprof_answer *a, int error, const char *what)
{
    switch (error) {

    case ESRCH:
        pprof_answer_error(a, 503, "%s: the program has ended", what);
        return;

    case EPERM:
        pprof_answer_error(a, 501, "%s: the program has sealed itself in "
                           "(seccomp) or gave up its thread; nothing can be "
                           "asked of it any more", what);
        return;

    case ETIMEDOUT:
        a->retry_after = 1;
        pprof_answer_error(a, 503, "%s: the program does not answer, it is "
                           "stopped or has no time; retry later", what);
        return;

    case EPROTO:
        pprof_answer_error(a, 500, "%s: what the program answered makes no "
                           "sense", what);
        return;

    default:
        pprof_answer_error(a, 503, "%s: %s; retry when the program has more",
                           what, strerrordesc_np(error));
    }
}


int64_t
pprof_now_nanos(void)
{
    return (int64_t) pprof_clock(CLOCK_REALTIME);
}
