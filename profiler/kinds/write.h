/*
 * Answers with a profile, in the format that was asked for.
 */

#ifndef PPROF_KINDS_WRITE_H
#define PPROF_KINDS_WRITE_H

#include "encode/profile.h"
#include "kinds/kind.h"


/*
 * Writes P into JOB's answer: profile.proto, or what ?format= named.  FILE is
 * the name to save it by, static.  A failure becomes a sentence.
 *
 * Context: serving thread; takes as long as the names take.
 */
void pprof_job_write(struct pprof_job *job, const struct pprof_profile *p,
    const struct pprof_maps *maps, const char *file);

#endif
