/*
 * pthread_create(), and who called it.
 *
 * GUEST ROOM.  For libpprof.so only, as locks.c.
 */

#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>

#include "guest/events.h"
#include "guest/sampler.h"


static int (*libc_create)(pthread_t *, const pthread_attr_t *,
                          void *(*)(void *), void *);


__attribute__((constructor(101))) static void
prepare(void)
{
    *(void **) &libc_create = dlsym(RTLD_NEXT, "pthread_create");
    pprof_events_hook(PPROF_EVENT_CREATE);
}


__attribute__((visibility("default"), noinline)) int
pthread_create(pthread_t *thread, const pthread_attr_t *attr,
    void *(*run)(void *), void *arg)
{
    if (libc_create == NULL) {
        prepare();
    }

    int rc = libc_create(thread, attr, run, arg);

    if (rc == 0) {
        pprof_sampler_born();
        pprof_events_created(__builtin_return_address(0));
    }

    return rc;
}
