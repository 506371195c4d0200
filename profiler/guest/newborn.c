#include "guest/newborn.h"

#include <pthread.h>

#include "base/clock.h"
#include "guest/raw.h"
#include "guest/timers.h"


enum { PROBES = 64 };                   /* places looked at for one thread */


/* Its destructor is how a thread tells that it ends. */
static pthread_key_t  key;
static atomic_bool    have_key;

/* The current thread's timer. */
static __thread struct {
    uint32_t  generation;               /* of the profile; 0: none */
    uint32_t  place;
    uint32_t  row;                      /* PPROF_TICK_SELF: too young */
    uint32_t  class;
    uint64_t  hit;                      /* its clock at the last sample, ns */
} self __attribute__((tls_model("initial-exec")));


static uint32_t
first_place(pid_t tid)
{
    return (uint32_t) tid * 2654435761u % PPROF_NEWBORNS;
}


/*
 * Between these two the profile stays.  Sequentially consistent, as is its
 * withdrawal: see tick.h.
 */
static struct pprof_ticks *
enter(void)
{
    atomic_fetch_add(&pprof_tick_shared.inside, 1);

    return atomic_load(&pprof_tick_shared.ticks);
}


static void
leave(void)
{
    atomic_fetch_sub_explicit(&pprof_tick_shared.inside, 1,
                              memory_order_release);
}


/* The current thread has computed NSEC while it was young. */
static void
grow(struct pprof_newborns *newborns, uint64_t nsec)
{
    atomic_fetch_add_explicit(&newborns->classes[self.class].nsec, nsec,
                              memory_order_relaxed);
}


/* The current thread ends; VALUE is not used, but not NULL. */
static void
end(void *value)
{
    struct pprof_ticks *ticks = enter();

    (void) value;

    if (ticks != NULL && self.generation == ticks->generation) {
        struct pprof_newborn *place = &ticks->newborns->places[self.place];
        const int             timer = atomic_exchange(&place->timer, 0);

        if (timer > 0) {
            pprof_timer_delete(timer - 1);
        }

        const uint64_t now = pprof_clock(CLOCK_THREAD_CPUTIME_ID);

        if (self.row != PPROF_TICK_SELF) {
            struct pprof_tick_thread *thread = &ticks->threads[self.row];

            atomic_store(&thread->last, now);
            atomic_store(&thread->ended, true);

        } else {
            grow(ticks->newborns, now);
        }

        atomic_store(&place->row, 0);
        atomic_store(&place->tid, 0);
    }

    self.generation = 0;
    leave();
}


void
pprof_newborn_init(void)
{
    if (!atomic_load(&have_key) && pthread_key_create(&key, end) == 0) {
        atomic_store(&have_key, true);
    }
}


uint32_t
pprof_newborn_wanted(void)
{
    return atomic_load(&have_key)
           ? atomic_load_explicit(&pprof_tick_shared.born,
                                  memory_order_relaxed) : 0;
}


/* A place for TID; PPROF_NEWBORNS when there is none. */
static uint32_t
claim(struct pprof_newborns *newborns, pid_t tid)
{
    uint32_t at = first_place(tid);

    for (int i = 0; i < PROBES; i++, at = (at + 1) % PPROF_NEWBORNS) {
        struct pprof_newborn *place = &newborns->places[at];
        pid_t                 nobody = 0;

        /* its number may be one that was used before and did not say so */
        if (atomic_load(&place->tid) == tid
            || atomic_compare_exchange_strong(&place->tid, &nobody, tid))
        {
            return at;
        }
    }

    return PPROF_NEWBORNS;
}


/* The class of those that begin with RUN. */
static uint32_t
find_class(struct pprof_newborns *newborns, uintptr_t run)
{
    for (uint32_t i = 0; i < PPROF_NEWBORN_CLASSES - 1; i++) {
        uintptr_t nobody = 0;

        if (atomic_load(&newborns->classes[i].run) == run
            || atomic_compare_exchange_strong(&newborns->classes[i].run,
                                              &nobody, run)
            || nobody == run)
        {
            return i;
        }
    }

    return PPROF_NEWBORN_CLASSES - 1;
}


void
pprof_newborn_begin(uint32_t generation, const void *run)
{
    struct pprof_ticks *ticks = enter();
    bool                begun = false;

    if (ticks != NULL && ticks->generation == generation && !ticks->wall) {
        const pid_t    tid = (pid_t) pprof_raw(SYS_gettid, 0, 0, 0, 0, 0, 0);
        const uint32_t at = claim(ticks->newborns, tid);

        atomic_fetch_add_explicit(&ticks->newborns->count, 1,
                                  memory_order_relaxed);

        if (at != PPROF_NEWBORNS) {
            struct pprof_newborn *place = &ticks->newborns->places[at];

            self.place = at;
            self.row = PPROF_TICK_SELF;
            self.hit = 0;
            self.class = find_class(ticks->newborns, (uintptr_t) run);
            self.generation = ticks->generation;
            atomic_store(&place->row, 0);
            atomic_store(&place->class, self.class);

            const int timer = pprof_timer_create(tid,
                                  pprof_tick_value(ticks->generation,
                                                   PPROF_TICK_SELF),
                                  1, ticks->tick / 2, false);

            const int old = atomic_exchange(&place->timer, timer + 1);

            if (old > 0) {
                /* of a thread with this number that never said it ended */
                pprof_timer_delete(old - 1);
            }

            begun = true;
        }
    }

    leave();

    if (begun) {
        (void) pthread_setspecific(key, &key);
    }
}


uint32_t
pprof_newborn_row(struct pprof_ticks *ticks, uint64_t now)
{
    if (self.generation != ticks->generation) {
        return PPROF_TICK_SELF;
    }

    if (self.row != PPROF_TICK_SELF) {
        return self.row;
    }

    struct pprof_tick_thread *thread = NULL;

    if (now >= PPROF_TICK_DENSE * ticks->tick) {
        thread = pprof_tick_row(ticks);
    }

    if (thread == NULL) {
        self.hit = now;
        return PPROF_NEWBORN_TAG + self.class;
    }

    struct pprof_newborn *place = &ticks->newborns->places[self.place];

    /* a sample stands for what is around it: the last one's half is its own */
    thread->tid = atomic_load(&place->tid);
    thread->from = self.hit == 0 ? 0 : self.hit + ticks->tick / 2;

    if (thread->from > now) {
        thread->from = now;
    }

    grow(ticks->newborns, thread->from);
    atomic_store(&thread->timer, -1);
    atomic_store(&thread->last, now);
    atomic_store(&thread->mark, thread->from);
    self.row = (uint32_t) (thread - ticks->threads);
    atomic_store_explicit(&place->row, self.row + 1, memory_order_release);

    return self.row;
}


struct pprof_newborn *
pprof_newborn_find(struct pprof_newborns *newborns, pid_t tid)
{
    uint32_t at = first_place(tid);

    for (int i = 0; i < PROBES; i++, at = (at + 1) % PPROF_NEWBORNS) {
        if (atomic_load(&newborns->places[at].tid) == tid) {
            return &newborns->places[at];
        }
    }

    return NULL;
}


void
pprof_newborn_read(struct pprof_newborns *newborns)
{
    for (size_t i = 0; i < PPROF_NEWBORN_CLASSES; i++) {
        newborns->classes[i].living = 0;
    }

    for (size_t i = 0; i < PPROF_NEWBORNS; i++) {
        const struct pprof_newborn *place = &newborns->places[i];
        const pid_t                 tid = atomic_load(&place->tid);

        if (tid != 0 && atomic_load(&place->row) == 0) {
            newborns->classes[atomic_load(&place->class)].living
                += pprof_thread_clock(tid);
        }
    }
}


void
pprof_newborn_stop(struct pprof_newborns *newborns)
{
    for (size_t i = 0; i < PPROF_NEWBORNS; i++) {
        const int timer = atomic_exchange(&newborns->places[i].timer, 0);

        if (timer > 0) {
            pprof_timer_delete(timer - 1);
        }
    }
}


void
pprof_newborn_child(void)
{
    self.generation = 0;
}
