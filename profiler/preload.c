/*
 * What makes libpprof.so a preload: an agent is beside the program without the
 * program's help, pprof-run's or, where PPROF_LISTEN is set, one of its own.
 *
 * PPROF_LISTEN       as pprof_start()'s argument; nothing happens without it
 * PPROF_THREADCREATE=1   records from now on who creates threads
 * PPROF_VERBOSE=1    one line on stderr when it listens, or cannot
 * PPROF_CHILDREN=1   programs that the program executes listen as well;
 *                    otherwise their environment has nothing of ours
 *
 * A child of fork() is a peer as well.  With "%p" it gets a socket of its own;
 * without, its parent has the address, and the child takes over when that has
 * ended, as after daemon().
 */

#include "pprof.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "guest/command.h"
#include "guest/events.h"
#include "guest/heap.h"
#include "guest/rest.h"
#include "guest/tcmalloc.h"
#include "inside.h"
#include "kinds/env.h"
#include "outside.h"


/* What the program executes sees nothing of us, unless it is to be profiled
   as well. */
static void
close_environment(char **envp)
{
    const char *const children = pprof_env_get("PPROF_CHILDREN");
    Dl_info own;

    if ((children == NULL || strcmp(children, "1") != 0)
        && dladdr((void *) close_environment, &own) != 0)
    {
        pprof_env_close(envp, own.dli_fname);
    }
}


/*
 * Who allocates with tcmalloc and told it to sample has that sample, and not
 * two.
 */
static void
begin_heap(void)
{
    const char *const period = pprof_env_get("PPROF_HEAP_SAMPLE");
    const char *const engine = pprof_env_get("PPROF_HEAP_ENGINE");
    const char *const own = pprof_env_get("TCMALLOC_SAMPLE_PARAMETER");

    const bool tcmalloc = engine != NULL ? strcmp(engine, "tcmalloc") == 0
                          : own != NULL && strtoull(own, NULL, 10) > 0;

    if ((period != NULL && strtoull(period, NULL, 10) == 0)
        || (tcmalloc && pprof_tcmalloc_is()))
    {
        pprof_heap_renounce();

    } else if (period != NULL) {
        (void) pprof_heap_period(strtoull(period, NULL, 10));
    }
}


/* glibc's constructors are called with what main() gets. */
__attribute__((constructor)) static void
preload(int argc, char **argv, char **envp)
{
    (void) argc;
    (void) argv;

    pprof_env_remember();

    begin_heap();

    const char *const listen = pprof_env_get("PPROF_LISTEN");

    if (listen == NULL || *listen == '\0') {
        return;
    }

    if (pprof_inside_wanted()) {
        pprof_rest_refuse_env();
        close_environment(envp);
        pprof_tcmalloc_wake();
        pprof_inside_start();
        return;
    }

    const bool ours = pprof_rest_attach_env(pprof_tcmalloc_is()) == 0;

    close_environment(envp);

    /* here, in the main thread: tcmalloc takes no samples of what the thread
       allocates that has not read the environment yet */
    pprof_tcmalloc_wake();

    if (pprof_env_get("PPROF_THREADCREATE") != NULL) {
        /* the most interesting threads are created before the agent asks */
        const uint64_t args[PPROF_ARGS] = { PPROF_EVENT_CREATE, 1 };

        (void) pprof_command_execute(PPROF_OP_EVENTS, args, NULL);
    }

    if (!ours) {
        (void) pprof_outside_start(listen, NULL, true);
    }
}
