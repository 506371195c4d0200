/*
 * What takes CPU profiles.  There are two, PPROF_CPU_ENGINE names the one;
 * profile.c runs one profile of it at a time.
 *
 * All functions are called under the capture lock.
 */

#ifndef PPROF_KINDS_ENGINE_H
#define PPROF_KINDS_ENGINE_H

#include "encode/profile.h"
#include "kinds/kind.h"


/* What is said where the program runs gperftools' profiler. */
#define PPROF_ENGINE_ITSELF                                                   \
    "the program runs gperftools' CPU profiler (ProfilerStart() or "          \
    "CPUPROFILE); retry when it has stopped it"


struct pprof_engine {
    const char  *name;

    /* Starts.  Returns 0, or -1 when the answer has been given. */
    int        (*start)(struct pprof_job *job);

    /*
     * Stops.  Fills P, initialised and empty, with types, period, samples
     * and comments; NULL: nobody wants them.  Returns 0, or -1 when the
     * answer has been given.
     */
    int        (*stop)(struct pprof_job *job, struct pprof_profile *p);

    /* The child of a fork() while it ran, or later.  NULL: nothing to do. */
    void       (*child)(void);
};


extern const struct pprof_engine pprof_engine_sampler;
extern const struct pprof_engine pprof_engine_gperftools;

#endif
