#include "kinds/events.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "guest/cfi.h"
#include "encode/legacy.h"
#include "encode/profile.h"
#include "encode/text.h"
#include "kinds/env.h"
#include "kinds/life.h"
#include "kinds/write.h"


/* Who wants an event recorded.  Under the capture lock. */
static struct {
    uint64_t  rate;         /* for good; 0: nobody */
    uint64_t  window;       /* the rate of those who wait */
    unsigned  windows;
    bool      on;
    bool      ever;         /* there are sums */
} state[PPROF_EVENTS];


/* What a delta remembers of its beginning. */
struct start {
    struct pprof_profile  profile;      /* the sums then, negative */
    int64_t               time_nanos;
};


/* Under the capture lock.  Returns 0, or -1 with errno. */
static int
apply(enum pprof_event event)
{
    const uint64_t rate = state[event].rate != 0 ? state[event].rate
                          : state[event].windows > 0 ? state[event].window : 0;

    if (pprof_events_rate(event, rate) == -1) {
        return -1;
    }

    if ((rate != 0) != state[event].on) {
        state[event].on = rate != 0;

        if (rate != 0) {
            state[event].ever = true;
            pprof_tables_use();

        } else {
            pprof_tables_drop();
        }
    }

    return 0;
}


static int
set_rate(enum pprof_event event, uint64_t rate)
{
    pprof_capture_lock();

    const uint64_t before = state[event].rate;

    state[event].rate = rate;

    const int rc = apply(event);
    const int error = errno;

    if (rc == -1) {
        state[event].rate = before;
    }

    pprof_capture_unlock();
    errno = error;

    return rc;
}


/* A window begins, or ends.  Returns 0, or -1 with errno. */
static int
count_window(enum pprof_event event, int n, uint64_t rate)
{
    pprof_capture_lock();

    state[event].windows += (unsigned) n;

    if (n > 0) {
        state[event].window = rate;
    }

    const int rc = apply(event);
    const int error = errno;

    if (rc == -1) {
        state[event].windows -= (unsigned) n;
    }

    pprof_capture_unlock();
    errno = error;

    return rc;
}


static enum pprof_event
event_of(const struct pprof_kind *kind)
{
    return ((const struct pprof_events_kind *) kind->detail)->event;
}


void
pprof_events_prepare(const struct pprof_kind *kind)
{
    const struct pprof_events_kind *const own = kind->detail;
    const char *const text = pprof_env_get(own->env);
    const long long rate = text == NULL ? 0 : strtoll(text, NULL, 10);

    if (rate > 0 && pprof_events_hooked(own->event)) {
        (void) set_rate(own->event, (uint64_t) rate);
    }
}


void
pprof_events_release(const struct pprof_kind *kind)
{
    const enum pprof_event event = event_of(kind);
    bool any = false;

    (void) set_rate(event, 0);

    pprof_capture_lock();
    state[event].ever = false;

    for (int i = 0; i < PPROF_EVENTS; i++) {
        any = any || state[i].ever;
    }

    /* the tables of all three go together */
    if (!any) {
        pprof_events_clear();
    }

    pprof_capture_unlock();
}


/* The windows were the parent's; what is on for good stays on. */
void
pprof_events_forked(const struct pprof_kind *kind)
{
    const enum pprof_event event = event_of(kind);

    state[event].windows = 0;

    if (state[event].on) {
        pprof_tables_use();
        (void) apply(event);
    }
}


struct adding {
    struct pprof_profile  *p;
    int64_t                sign;
};


static void
visit(void *arg, const struct pprof_stack *row)
{
    static const char *const objects[] = {
        [PPROF_ON_MUTEX] = "mutex",
        [PPROF_ON_RWLOCK] = "rwlock",
        [PPROF_ON_COND] = "condition",
        [PPROF_ON_SEM] = "semaphore",
        [PPROF_ON_JOIN] = "thread's end",
    };
    struct adding *adding = arg;
    const int64_t values[] = {
        adding->sign * (int64_t) row->count,
        adding->sign * (int64_t) row->value
    };
    const struct pprof_label label = {
        .key = "object",
        .str = row->tag < sizeof(objects) / sizeof(objects[0])
               ? objects[row->tag] : NULL
    };

    if (row->count != 0) {
        pprof_profile_sample(adding->p, row->pcs, row->depth, false, values,
                             &label, label.str != NULL);
    }
}


static void
add_sums(struct pprof_profile *p, enum pprof_event event, int64_t sign)
{
    struct adding adding = { .p = p, .sign = sign };

    /* not while pprof_stop() takes them away */
    pprof_capture_lock();
    pprof_events_read(event, visit, &adding);

    const struct pprof_stackmap_loss lost = pprof_events_lost(event);

    pprof_capture_unlock();

    const int64_t values[] = {
        sign * (int64_t) lost.count, sign * (int64_t) lost.value
    };

    pprof_profile_lost(p, values, "[stack table full]");
}


static void
count_row(void *arg, const struct pprof_stack *row)
{
    *(size_t *) arg += row->count != 0;
}


int
pprof_events_count(const struct pprof_kind *kind, size_t *n)
{
    const enum pprof_event event = event_of(kind);

    pprof_capture_lock();

    const bool ever = state[event].ever;

    *n = 0;

    if (ever) {
        pprof_events_read(event, count_row, n);
    }

    pprof_capture_unlock();

    return ever ? 0 : -1;
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
check_hooks(enum pprof_event event, struct pprof_answer *a)
{
    if (pprof_events_hooked(event)) {
        return 0;
    }

    pprof_answer_error(a, 501, "libpprof.a sees no locks and no threads being "
                       "created; link the program with libpprof.so, or start "
                       "it with pprof-run");

    return -1;
}


int
pprof_events_begin(struct pprof_job *job)
{
    const struct pprof_events_kind *const own = job->kind->detail;
    struct pprof_answer *a = &job->answer;

    if (check_hooks(own->event, a) == -1) {
        return -1;
    }

    struct start *s = calloc(1, sizeof(struct start));
    const uint64_t rate = job->ask.rate > 0 ? (uint64_t) job->ask.rate
                                            : own->rate;

    if (s == NULL || count_window(own->event, 1, rate) == -1) {
        free(s);
        pprof_answer_error(a, 503, "nothing can be recorded: %s; retry when "
                           "the program has more memory",
                           strerrordesc_np(errno));
        return -1;
    }

    /* what was loaded since recording began */
    (void) pprof_cfi_refresh();

    add_types(&s->profile, job->kind);
    add_sums(&s->profile, own->event, -1);
    s->time_nanos = pprof_now_nanos();
    job->state = s;

    return 0;
}


static void
write_answer(struct pprof_job *job, const struct pprof_profile *p, bool delta)
{
    const struct pprof_events_kind *const own = job->kind->detail;
    const char *const name = job->kind->name;
    struct pprof_answer *a = &job->answer;
    struct pprof_maps maps;
    struct pprof_names names;
    int rc;

    if (pprof_job_maps(job, &maps) == -1) {
        return;
    }

    if (job->ask.debug == 0 && !job->ask.legacy) {
        pprof_job_write(job, p, &maps, delta ? own->file : name);
        pprof_maps_free(&maps);
        return;
    }

    pprof_names_init(&names);

    if (own->text == NULL) {
        rc = pprof_text_count_write(p, name, &maps, &names, &a->body);

    } else if (job->ask.legacy) {
        rc = pprof_legacy_contention_write(p, 0, 1, &maps, &a->body);

    } else {
        rc = pprof_text_delay_write(p, own->text, 1, &maps, &names, &a->body);
    }

    if (rc == -1) {
        pprof_answer_error(a, 500, "the profile cannot be written: %s",
                           strerrordesc_np(errno));

    } else {
        pprof_answer_ok(a, PPROF_TYPE_TEXT, NULL);
    }

    pprof_names_free(&names);
    pprof_maps_free(&maps);
}


/* Of an instant: the sums so far.  Sets the rate that was asked for. */
static void
answer_now(struct pprof_job *job)
{
    const struct pprof_events_kind *const own = job->kind->detail;
    const enum pprof_event event = own->event;
    struct pprof_answer *a = &job->answer;
    struct pprof_profile p;

    if (check_hooks(event, a) == -1) {
        return;
    }

    if (job->ask.rate >= 0
        && set_rate(event, (uint64_t) job->ask.rate) == -1)
    {
        pprof_answer_error(a, 503, "nothing can be recorded: %s; retry when "
                           "the program has more memory",
                           strerrordesc_np(errno));
        return;
    }

    if (!state[event].ever && job->ask.rate < 0) {
        pprof_answer_error(a, 501, "nothing is recorded for %s; ask with "
                           "?seconds=10, or switch it on with ?rate=%llu or "
                           "%s=%llu in the program's environment",
                           job->kind->name,
                           (unsigned long long) own->rate, own->env,
                           (unsigned long long) own->rate);
        return;
    }

    if (state[event].on) {
        (void) pprof_cfi_refresh();
    }

    add_types(&p, job->kind);
    add_sums(&p, event, 1);
    pprof_profile_time(&p, pprof_now_nanos(), 0);
    write_answer(job, &p, false);
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

    if (!gone) {
        add_sums(&s->profile, event, 1);
        pprof_profile_time(&s->profile, s->time_nanos,
                           pprof_now_nanos() - s->time_nanos);
    }

    (void) count_window(event, -1, 0);

    if (!gone) {
        write_answer(job, &s->profile, true);
    }

    pprof_profile_free(&s->profile);
    free(s);
}
