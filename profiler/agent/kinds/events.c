#include "kinds/events.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "encode/legacy.h"
#include "encode/profile.h"
#include "encode/text.h"
#include "kinds/env.h"
#include "kinds/life.h"
#include "kinds/state.h"
#include "kinds/write.h"


/* What a delta remembers of its beginning. */
struct start {
    struct pprof_profile  profile;      /* the sums then, negative */
    int64_t               time_nanos;
};


/* Under the capture lock.  Returns 0, or -1 with errno. */
static int
apply(struct pprof_target *t, enum pprof_event event)
{
    struct pprof_kinds *const k = t->kinds;
    const uint64_t rate = k->events[event].rate != 0 ? k->events[event].rate
                          : k->events[event].windows > 0
                          ? k->events[event].window : 0;
    const uint64_t args[PPROF_ARGS] = { event, rate };

    if (rate == 0 && !k->events[event].on) {
        return 0;
    }

    if (rate != 0 && !t->self) {
        /* our own are made where recording begins */
        pprof_tables_update(t);
    }

    if (pprof_target_call(t, PPROF_OP_EVENTS, args, NULL) == -1) {
        return -1;
    }

    if ((rate != 0) != k->events[event].on) {
        k->events[event].on = rate != 0;

        if (rate != 0) {
            k->events[event].ever = true;
            pprof_tables_use(t);

        } else {
            pprof_tables_drop(t);
        }
    }

    return 0;
}


static int
set_rate(struct pprof_target *t, enum pprof_event event, uint64_t rate)
{
    pprof_capture_lock(t);

    struct pprof_kinds *const k = t->kinds;
    const uint64_t before = k->events[event].rate;

    k->events[event].rate = rate;

    const int rc = apply(t, event);
    const int error = errno;

    if (rc == -1) {
        k->events[event].rate = before;
    }

    pprof_capture_unlock(t);
    errno = error;

    return rc;
}


/* A window begins, or ends.  Returns 0, or -1 with errno. */
static int
count_window(struct pprof_target *t, enum pprof_event event, int n,
    uint64_t rate)
{
    pprof_capture_lock(t);

    struct pprof_kinds *const k = t->kinds;

    k->events[event].windows += (unsigned) n;

    if (n > 0) {
        k->events[event].window = rate;
    }

    const int rc = apply(t, event);
    const int error = errno;

    if (rc == -1) {
        k->events[event].windows -= (unsigned) n;
    }

    pprof_capture_unlock(t);
    errno = error;

    return rc;
}


static enum pprof_event
event_of(const struct pprof_kind *kind)
{
    return ((const struct pprof_events_kind *) kind->detail)->event;
}


/* Are the functions that EVENT needs interposed in the program? */
static bool
is_hooked(const struct pprof_target *t, enum pprof_event event)
{
    return t->self ? pprof_events_hooked(event)
                   : t->page != NULL
                     && (atomic_load(&t->page->hooked) >> event & 1);
}


void
pprof_events_prepare(const struct pprof_kind *kind,
    struct pprof_target *t)
{
    const struct pprof_events_kind *const own = kind->detail;
    const char *const text = pprof_env_get(own->env);
    const long long rate = text == NULL ? 0 : strtoll(text, NULL, 10);

    if (rate > 0 && is_hooked(t, own->event)) {
        (void) set_rate(t, own->event, (uint64_t) rate);
    }
}


void
pprof_events_release(const struct pprof_kind *kind, struct pprof_target *t)
{
    const enum pprof_event event = event_of(kind);
    bool any = false;

    (void) set_rate(t, event, 0);

    pprof_capture_lock(t);
    t->kinds->events[event].ever = false;

    for (int i = 0; i < PPROF_EVENTS; i++) {
        any = any || t->kinds->events[i].ever;
    }

    /* the tables of all three go together */
    if (!any) {
        (void) pprof_target_call(t, PPROF_OP_EVENTS_CLEAR, NULL, NULL);
    }

    pprof_capture_unlock(t);
}


/* The windows were the parent's; what is on for good stays on. */
void
pprof_events_forked(const struct pprof_kind *kind, struct pprof_target *t)
{
    const enum pprof_event event = event_of(kind);

    t->kinds->events[event].windows = 0;

    if (t->kinds->events[event].on) {
        pprof_tables_use(t);
        (void) apply(t, event);
    }
}


static void
add_row(struct pprof_profile *p, const struct pprof_row *row, int64_t sign,
    bool by_object)
{
    static const char *const objects[] = {
        [PPROF_ON_MUTEX] = "mutex",
        [PPROF_ON_RWLOCK] = "rwlock",
        [PPROF_ON_COND] = "condition",
        [PPROF_ON_SEM] = "semaphore",
        [PPROF_ON_JOIN] = "thread's end",
        [PPROF_ON_BARRIER] = "barrier",
    };
    const int64_t values[] = {
        sign * (int64_t) row->count, sign * (int64_t) row->value
    };
    const struct pprof_label label = {
        .key = "object",
        .str = row->tag < sizeof(objects) / sizeof(objects[0])
               ? objects[row->tag] : NULL
    };

    pprof_profile_sample(p, (const uintptr_t *) row->pcs, row->depth, false,
                         values, &label, by_object && label.str != NULL);
}


/* Adds what was recorded, SIGN times.  Returns 0, or -1 with errno. */
static int
add_sums(const struct pprof_job *job, struct pprof_profile *p,
    enum pprof_event event, int64_t sign)
{
    const bool by_object = (job->ask.labels & PPROF_LABEL_OBJECT) != 0;
    struct pprof_target *const t = job->target;
    const uint64_t args[PPROF_ARGS] = { event };
    const struct pprof_row *row = NULL;
    struct pprof_reply reply;

    /* not while pprof_stop() takes them away */
    pprof_capture_lock(t);
    const int rc = pprof_target_call(t, PPROF_OP_EVENTS_READ, args, &reply);
    const int error = errno;
    pprof_capture_unlock(t);

    if (rc == -1) {
        errno = error;
        return -1;
    }

    while ((row = pprof_reply_next(&reply, row)) != NULL) {
        add_row(p, row, sign, by_object);
    }

    const int64_t values[] = {
        sign * (int64_t) reply.results[0], sign * (int64_t) reply.results[1]
    };

    pprof_profile_lost(p, values, "[stack table full]");
    pprof_reply_free(&reply);

    return 0;
}


int
pprof_events_count(const struct pprof_kind *kind, struct pprof_target *t,
    size_t *n)
{
    const enum pprof_event event = event_of(kind);
    const uint64_t args[PPROF_ARGS] = { event, 1 };
    struct pprof_reply reply;
    int rc = -1;

    pprof_capture_lock(t);

    if (t->kinds->events[event].ever
        && pprof_target_call(t, PPROF_OP_EVENTS_READ, args, &reply) == 0)
    {
        *n = (size_t) reply.results[3];
        pprof_reply_free(&reply);
        rc = 0;
    }

    pprof_capture_unlock(t);

    return rc;
}


static void
add_types(struct pprof_profile *p, const struct pprof_kind *kind)
{
    const struct pprof_events_kind *const own = kind->detail;

    pprof_profile_init(p);

    if (own->text != NULL) {
        pprof_profile_value(p, "contentions", "count");
        pprof_profile_value(p, "delay", "nanoseconds");
        pprof_profile_period(p, "contentions", "count", 1);

    } else {
        pprof_profile_value(p, kind->name, "count");
        pprof_profile_period(p, kind->name, "count", 1);
    }
}


/* Returns 0, or -1 with the answer given. */
static int
check_hooks(struct pprof_job *job, enum pprof_event event)
{
    if (is_hooked(job->target, event)) {
        return 0;
    }

    pprof_answer_error(&job->answer, 501, "libpprof.a sees no locks and no "
                       "threads being created; link the program with "
                       "libpprof.so, or start it with pprof-run");

    return -1;
}


int
pprof_events_begin(struct pprof_job *job)
{
    const struct pprof_events_kind *const own = job->kind->detail;

    if (check_hooks(job, own->event) == -1) {
        return -1;
    }

    struct start *s = calloc(1, sizeof(struct start));
    const uint64_t rate = job->ask.rate > 0 ? (uint64_t) job->ask.rate
                                            : own->rate;

    if (s == NULL || count_window(job->target, own->event, 1, rate) == -1) {
        pprof_job_refuse(job, s == NULL ? ENOMEM : errno,
                         "nothing can be recorded");
        free(s);
        return -1;
    }

    /* what was loaded since recording began */
    pprof_tables_update(job->target);

    add_types(&s->profile, job->kind);
    (void) add_sums(job, &s->profile, own->event, -1);
    s->time_nanos = pprof_now_nanos();
    job->state = s;

    return 0;
}


static int
write_text(const struct pprof_form *form, const struct pprof_job *job,
    const struct pprof_profile *p, const struct pprof_maps *maps,
    struct pprof_names *names, struct pprof_buf *out)
{
    const struct pprof_events_kind *const own = job->kind->detail;

    (void) form;

    return own->text == NULL
           ? pprof_text_count_write(p, job->kind->name, maps, names, out)
           : job->ask.legacy
           ? pprof_legacy_contention_write(p, 0, 1, maps, out)
           : pprof_text_delay_write(p, own->text, 1, maps, names, out);
}


static void
write_answer(struct pprof_job *job, const struct pprof_profile *p, bool delta)
{
    const struct pprof_events_kind *const own = job->kind->detail;
    struct pprof_maps maps;

    const struct pprof_form form = {
        .file = delta ? own->file : job->kind->name,
        .named = true,
        .text = write_text,
    };

    if (pprof_job_maps(job, &maps) == 0) {
        pprof_job_answer(job, p, &maps, &form);
        pprof_maps_free(&maps);
    }
}


/* Of an instant: the sums so far.  Sets the rate that was asked for. */
static void
answer_now(struct pprof_job *job)
{
    const struct pprof_events_kind *const own = job->kind->detail;
    const enum pprof_event event = own->event;
    struct pprof_answer *a = &job->answer;
    struct pprof_profile p;

    if (check_hooks(job, event) == -1) {
        return;
    }

    if (job->ask.rate >= 0
        && set_rate(job->target, event, (uint64_t) job->ask.rate) == -1)
    {
        pprof_job_refuse(job, errno, "nothing can be recorded");
        return;
    }

    const struct pprof_kinds *const kinds = job->target->kinds;

    if (!kinds->events[event].ever && job->ask.rate < 0) {
        pprof_answer_error(a, 501, "nothing is recorded for %s; ask with "
                           "?seconds=10, or switch it on with ?rate=%llu or "
                           "%s=%llu in the program's environment",
                           job->kind->name,
                           (unsigned long long) own->rate, own->env,
                           (unsigned long long) own->rate);
        return;
    }

    if (kinds->events[event].on) {
        pprof_tables_update(job->target);
    }

    add_types(&p, job->kind);

    if (add_sums(job, &p, event, 1) == -1) {
        pprof_job_refuse(job, errno, "the sums cannot be read");

    } else {
        pprof_profile_time(&p, pprof_now_nanos(), 0);
        write_answer(job, &p, false);
    }

    pprof_profile_free(&p);
}


void
pprof_events_end(struct pprof_job *job, bool gone)
{
    const enum pprof_event event = event_of(job->kind);
    struct start *s = job->state;

    job->state = NULL;

    if (s == NULL) {
        if (!gone) {
            answer_now(job);
        }

        return;
    }

    if (!gone && add_sums(job, &s->profile, event, 1) == -1) {
        pprof_job_refuse(job, errno, "the sums cannot be read");
        gone = true;
    }

    if (!gone) {
        pprof_profile_time(&s->profile, s->time_nanos,
                           pprof_now_nanos() - s->time_nanos);
    }

    (void) count_window(job->target, event, -1, 0);

    if (!gone) {
        write_answer(job, &s->profile, true);
    }

    pprof_profile_free(&s->profile);
    free(s);
}
