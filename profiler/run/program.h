/*
 * What a program is, as far as its file tells: whether anything can be
 * preloaded into it, and which allocator it brings.
 *
 * The loader ignores LD_PRELOAD for some programs without a word, and others
 * do not start with it; who wanted a profile is to hear which.
 *
 * Context: pprof-run, before anything is started.
 */

#ifndef PPROF_RUN_PROGRAM_H
#define PPROF_RUN_PROGRAM_H

#include <limits.h>
#include <stdbool.h>


enum pprof_program_what {
    PPROF_PROGRAM_FINE,         /* or there is nothing to be said against it */
    PPROF_PROGRAM_MISSING,
    PPROF_PROGRAM_DIRECTORY,
    PPROF_PROGRAM_FORBIDDEN,    /* not executable */
    PPROF_PROGRAM_STATIC,
    PPROF_PROGRAM_FOREIGN,      /* another processor, or word size */
    PPROF_PROGRAM_LIBC,         /* another libc's loader */
    PPROF_PROGRAM_SECURE,       /* setuid, setgid, or with capabilities */
    PPROF_PROGRAM_SANITIZER     /* wants to be loaded first */
};


struct pprof_program {
    enum pprof_program_what  what;
    bool  script;           /* FILE is its interpreter */
    char  file[PATH_MAX];   /* what is executed; "" when there is none */
    char  detail[256];      /* the loader, the sanitizer, the allocator */
    bool  allocator;        /* it brings one, which DETAIL names */
};


/* Looks at what execvp() would execute for NAME. */
void pprof_program_look(struct pprof_program *p, const char *name);

/*
 * Says whether the shared object at PATH defines malloc().  One that is not
 * there, or no shared object of this machine, does not.
 */
bool pprof_program_is_allocator(const char *path);

#endif
