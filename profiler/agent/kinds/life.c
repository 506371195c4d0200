#include "kinds/life.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "guest/command.h"
#include "guest/own.h"
#include "kinds/code.h"
#include "kinds/kind.h"
#include "kinds/state.h"
#include "symbols/lines.h"
#include "symbols/maps.h"


/* Of the process that we are in. */
static struct pprof_kinds  own = { .lock = PTHREAD_MUTEX_INITIALIZER };


struct pprof_kinds *
pprof_kinds_of(struct pprof_target *target)
{
    if (target->kinds != NULL) {
        return target->kinds;
    }

    if (target->self) {
        target->kinds = &own;
        return &own;
    }

    target->kinds = calloc(1, sizeof(struct pprof_kinds));

    if (target->kinds != NULL) {
        pthread_mutex_init(&target->kinds->lock, NULL);
    }

    return target->kinds;
}


void
pprof_kinds_free(struct pprof_kinds *kinds)
{
    if (kinds != NULL && kinds != &own) {
        pthread_mutex_destroy(&kinds->lock);
        free(kinds);
    }
}


void
pprof_capture_lock(struct pprof_target *target)
{
    pthread_mutex_lock(&pprof_kinds_of(target)->lock);
}


void
pprof_capture_unlock(struct pprof_target *target)
{
    pthread_mutex_unlock(&target->kinds->lock);
}


void
pprof_tables_use(struct pprof_target *target)
{
    target->kinds->tables++;
}


void
pprof_tables_drop(struct pprof_target *target)
{
    if (--target->kinds->tables == 0) {
        pprof_code_drop(target);
    }
}


void
pprof_tables_update(struct pprof_target *target)
{
    (void) pprof_code_update(target, true);
}


bool
pprof_tables_refresh(struct pprof_target *target)
{
    pprof_capture_lock(target);

    const bool used = target->kinds->tables > 0;

    if (used) {
        pprof_tables_use(target);
    }

    pprof_capture_unlock(target);

    if (!used) {
        return false;
    }

    /* not under the lock: a fork() would wait for it */
    pprof_tables_update(target);

    pprof_capture_lock(target);
    pprof_tables_drop(target);
    pprof_capture_unlock(target);

    return true;
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


static void
before_fork(void)
{
    pthread_mutex_lock(&own.lock);
    pprof_command_fork();
}


static void
after_fork_in_parent(void)
{
    pprof_command_forked();
    pthread_mutex_unlock(&own.lock);
}


/*
 * The child has the thread that called fork() and no timer.  What recorded
 * goes on recording; what was under way belongs to the parent.
 */
static void
after_fork_in_child(void)
{
    struct pprof_target *const self = pprof_target_self();

    /* held by before_fork(), in a thread that is not this one any more */
    pthread_mutex_init(&own.lock, NULL);

    pprof_command_child();
    pprof_lines_child();

    /* who used the tables is not here, unless it goes on recording */
    pprof_kinds_of(self)->tables = 1;

    for (size_t i = 0; pprof_kinds[i] != NULL; i++) {
        if (pprof_kinds[i]->child != NULL) {
            pprof_kinds[i]->child(pprof_kinds[i], self);
        }
    }

    pprof_tables_drop(self);
}


static void
add_fork_handlers(void)
{
    (void) pthread_atfork(before_fork, after_fork_in_parent,
                          after_fork_in_child);
    atomic_store(&pprof_command_kinds, true);
}


void
pprof_kinds_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, add_fork_handlers);
}


void
pprof_kinds_prepare(struct pprof_target *target)
{
    pprof_kinds_init();

    if (pprof_kinds_of(target) == NULL) {
        return;
    }

    /* here, so that the serving thread need not wait for the loader's lock */
    (void) pprof_kinds_build_id(target);

    for (size_t i = 0; pprof_kinds[i] != NULL; i++) {
        if (pprof_kinds[i]->prepare != NULL) {
            pprof_kinds[i]->prepare(pprof_kinds[i], target);
        }
    }
}


const char *
pprof_kinds_build_id(struct pprof_target *target)
{
    struct pprof_kinds *const kinds = pprof_kinds_of(target);
    struct pprof_maps maps;

    if (target->self) {
        return pprof_maps_own_build_id();
    }

    if (kinds == NULL) {
        return "";
    }

    if (kinds->build_id[0] == '\0'
        && pprof_maps_load_from(&maps, pprof_target_source(target)) == 0)
    {
        if (maps.nmaps > 0) {
            (void) pprof_maps_build_id(&maps, &maps.maps[0], kinds->build_id);
        }

        pprof_maps_free(&maps);
    }

    return kinds->build_id;
}


void
pprof_kinds_release(struct pprof_target *target)
{
    for (size_t i = 0; pprof_kinds[i] != NULL; i++) {
        if (pprof_kinds[i]->release != NULL) {
            pprof_kinds[i]->release(pprof_kinds[i], target);
        }
    }
}
