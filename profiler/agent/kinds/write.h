/*
 * Answers with a profile, in the format that was asked for.
 */

#ifndef PPROF_KINDS_WRITE_H
#define PPROF_KINDS_WRITE_H

#include "encode/profile.h"
#include "kinds/kind.h"


/* How a kind's profile is written where it is not profile.proto. */
struct pprof_form {
    const char  *file;      /* name to save it by; static */
    bool         binary;    /* of gperftools' formats: with ?debug= there is no
                               text, and it is saved, too */
    bool         named;     /* TEXT wants names */
    const void  *arg;       /* TEXT's own */

    /* Returns 0, or -1 with errno. */
    int        (*text)(const struct pprof_form *form,
                       const struct pprof_job *job,
                       const struct pprof_profile *p,
                       const struct pprof_maps *maps,
                       struct pprof_names *names, struct pprof_buf *out);
};

/* Does JOB want text, if there is some?  Then nothing needs scaling. */
static inline bool
pprof_job_is_text(const struct pprof_job *job)
{
    return job->ask.legacy || job->ask.debug != 0;
}

/*
 * Writes P into JOB's answer: what FORM has, where that is asked for, else as
 * pprof_job_write().
 */
void pprof_job_answer(struct pprof_job *job, const struct pprof_profile *p,
    const struct pprof_maps *maps, const struct pprof_form *form);

/*
 * Writes P into JOB's answer: profile.proto, or what ?format= named.  FILE is
 * the name to save it by, static.  A failure becomes a sentence.
 *
 * Context: serving thread; takes as long as the names take.
 */
void pprof_job_write(struct pprof_job *job, const struct pprof_profile *p,
    const struct pprof_maps *maps, const char *file);

/* The names that JOB wants, of P's addresses, and their lines. */
struct pprof_job_names {
    struct pprof_names  names;
    struct pprof_lines  lines;      /* private: NAMES has them */
};

/*
 * Makes them, as ?names= and ?lines= say.  Cannot fail.
 *
 * Owner: whoever declared the struct; pprof_job_names_free() when done, while
 * P and MAPS are there.  Context: serving thread; takes as long as the lines
 * take.
 */
void pprof_job_names(struct pprof_job_names *n, const struct pprof_job *job,
    const struct pprof_profile *p, const struct pprof_maps *maps);

void pprof_job_names_free(struct pprof_job_names *n);

/*
 * Loads the program's mappings.  Returns 0, or -1 when JOB's answer says why
 * they cannot be read.
 *
 * Owner: the caller; pprof_maps_free().
 */
int pprof_job_maps(struct pprof_job *job, struct pprof_maps *maps);

/*
 * Answers that WHAT ("the profile cannot start"), because of ERROR: as
 * pprof_target_call() says it, in words.
 */
void pprof_job_refuse(struct pprof_job *job, int error, const char *what);
void pprof_answer_refuse(struct pprof_answer *a, int error,
    const char *what);

/* The time of day in ns since the epoch, for profiles. */
int64_t pprof_now_nanos(void);

#endif
