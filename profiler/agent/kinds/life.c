#include "kinds/life.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "guest/capture.h"
#include "guest/cfi.h"
#include "guest/own.h"
#include "kinds/kind.h"
#include "symbols/lines.h"
#include "symbols/maps.h"


static struct {
    pthread_mutex_t  lock;
    unsigned         users;     /* of the unwinder's tables */
} capture = { .lock = PTHREAD_MUTEX_INITIALIZER };


void
pprof_capture_lock(void)
{
    pthread_mutex_lock(&capture.lock);
}


void
pprof_capture_unlock(void)
{
    pthread_mutex_unlock(&capture.lock);
}


void
pprof_tables_use(void)
{
    capture.users++;
}


void
pprof_tables_drop(void)
{
    if (--capture.users == 0) {
        pprof_cfi_clear();
    }
}


void
pprof_tables_refresh(void)
{
    pprof_capture_lock();

    const bool used = capture.users > 0;

    if (used) {
        pprof_tables_use();
    }

    pprof_capture_unlock();

    if (!used) {
        return;
    }

    /* not under the lock: a fork() would wait for it */
    (void) pprof_cfi_refresh();

    pprof_capture_lock();
    pprof_tables_drop();
    pprof_capture_unlock();
}


void
pprof_kinds_enter(void)
{
    pprof_own_enter();
}


void
pprof_kinds_leave(void)
{
    pprof_own_leave();
}


/*
 * The child has the thread that called fork() and no timer.  What recorded
 * goes on recording; what was under way belongs to the parent.
 */
static void
after_fork_in_child(void)
{
    /* held by before_fork(), in a thread that is not this one any more */
    pthread_mutex_init(&capture.lock, NULL);

    pprof_capture_child();
    pprof_lines_child();

    /* who used the tables is not here, unless it goes on recording */
    capture.users = 1;

    for (size_t i = 0; pprof_kinds[i] != NULL; i++) {
        if (pprof_kinds[i]->child != NULL) {
            pprof_kinds[i]->child(pprof_kinds[i]);
        }
    }

    pprof_tables_drop();
}


static void
add_fork_handlers(void)
{
    (void) pthread_atfork(pprof_capture_lock, pprof_capture_unlock,
                          after_fork_in_child);
}


void
pprof_kinds_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, add_fork_handlers);
}


void
pprof_kinds_prepare(void)
{
    pprof_kinds_init();

    /* here, so that the serving thread need not wait for the loader's lock */
    (void) pprof_kinds_build_id();

    for (size_t i = 0; pprof_kinds[i] != NULL; i++) {
        if (pprof_kinds[i]->prepare != NULL) {
            pprof_kinds[i]->prepare(pprof_kinds[i]);
        }
    }
}


const char *
pprof_kinds_build_id(void)
{
    return pprof_maps_own_build_id();
}


void
pprof_kinds_release(void)
{
    for (size_t i = 0; pprof_kinds[i] != NULL; i++) {
        if (pprof_kinds[i]->release != NULL) {
            pprof_kinds[i]->release(pprof_kinds[i]);
        }
    }
}
