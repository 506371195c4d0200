
/*
 * The state of a peer, and the reason for it.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_debug_state.h"


#define NGX_HTTP_DEBUG_STATE_SECONDS  60
#define NGX_HTTP_DEBUG_STATE_MINUTES  60

/* nothing answered for so many seconds is no chance */
#define NGX_HTTP_DEBUG_STATE_HANGS    10

/* one of so many that fail is a fault */
#define NGX_HTTP_DEBUG_STATE_SHARE    100

/* slow is so many times the usual time, and so many ns more */
#define NGX_HTTP_DEBUG_STATE_TIMES    3
#define NGX_HTTP_DEBUG_STATE_MORE     20000000

/* a mean of fewer says nothing */
#define NGX_HTTP_DEBUG_STATE_FEW      5


typedef struct {
    uint32_t   second;               /* which it is of; 0: none */
    uint32_t   answers;
    uint32_t   errors;
    uint32_t   failed;
    uint32_t   refused;
    uint32_t   timeouts;
    uint32_t   aborts;
    uint32_t   waiting;              /* under way without a header, at its
                                        end */
    uint64_t   time;
} ngx_http_debug_point_t;


typedef struct {
    uint32_t   minute;
    uint32_t   count;
    uint64_t   time;
} ngx_http_debug_minute_t;


/* of a peer, at its "watch" */

typedef struct {
    ngx_http_debug_outcomes_t  sums; /* at the end of the last point */
    uint64_t                   last; /* the second of it; 0: none yet */
    uint64_t                   answered;     /* the last second with one */
    uint64_t                   refused;      /* and one with nothing else */
    uint64_t                   bad;          /* the last with what is failing */
    uint64_t                   mean;         /* ns, of the minute; 0: not
                                                known */
    ngx_http_debug_point_t     point[NGX_HTTP_DEBUG_STATE_SECONDS];
    ngx_http_debug_minute_t    minute[NGX_HTTP_DEBUG_STATE_MINUTES];
} ngx_http_debug_watch_t;


typedef char  ngx_http_debug_watch_fits
    [sizeof(ngx_http_debug_watch_t) <= NGX_HTTP_DEBUG_WATCH ? 1 : -1];


/* The last minute, the second that is not over included. */

typedef struct {
    ngx_http_debug_outcomes_t  all;
    int64_t                    active;
    int64_t                    waiting;
    uint64_t                   silent;       /* seconds that it had something
                                                to answer, and did not */
    ngx_uint_t                 longer;       /* so it was before the minute */
    ngx_uint_t                 refused;      /* that is all that came last */
    uint64_t                   since;        /* seconds since the last answer;
                                                0: there is none, or now */
    uint64_t                   hour;         /* mean time of the hour, ns; 0:
                                                not known */
} ngx_http_debug_recent_t;


static void ngx_http_debug_state_less(ngx_http_debug_outcomes_t *more,
    ngx_http_debug_outcomes_t *less, ngx_http_debug_point_t *point);
static void ngx_http_debug_state_recent(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e, ngx_http_debug_outcomes_t *sums,
    ngx_http_debug_recent_t *recent);
static void ngx_http_debug_state_point(ngx_http_debug_recent_t *recent,
    ngx_http_debug_point_t *point);
static uint64_t ngx_http_debug_state_hour(ngx_http_debug_watch_t *watch,
    uint64_t second);
static u_char *ngx_http_debug_state_failing(u_char *p, u_char *last,
    ngx_http_debug_outcomes_t *all);
static u_char *ngx_http_debug_state_ago(u_char *p, u_char *last,
    uint64_t seconds);


ngx_str_t  ngx_http_debug_state_names[NGX_HTTP_DEBUG_STATES] = {
    ngx_string("down"),
    ngx_string("hanging"),
    ngx_string("failing"),
    ngx_string("slow"),
    ngx_string("up"),
    ngx_string("idle"),
    ngx_string("removed")
};


void
ngx_http_debug_state_outcomes(ngx_http_debug_outcomes_t *outcomes,
    uint64_t *classes, uint64_t *value)
{
    ngx_uint_t  i;

    ngx_memzero(outcomes, sizeof(ngx_http_debug_outcomes_t));

    for (i = 0; i < NGX_HTTP_DEBUG_CLASSES; i++) {
        outcomes->answers += classes[i];
    }

    outcomes->answers += value[NGX_HTTP_DEBUG_UPGRADES]
                         + value[NGX_HTTP_DEBUG_FAIL_CALL];
    outcomes->errors = classes[5];

    /* that a kept connection was closed, or a worker died, is nobody's fault */

    outcomes->refused = value[NGX_HTTP_DEBUG_FAIL_CONNECT];
    outcomes->timeouts = value[NGX_HTTP_DEBUG_FAIL_TIMEOUT];
    outcomes->failed = outcomes->refused + outcomes->timeouts
                       + value[NGX_HTTP_DEBUG_FAIL_INVALID]
                       + value[NGX_HTTP_DEBUG_FAIL_GRPC]
                       + value[NGX_HTTP_DEBUG_FAIL_OTHER];
    outcomes->aborts = value[NGX_HTTP_DEBUG_FAIL_ABORT];

    outcomes->time = value[NGX_HTTP_DEBUG_TIME]
                     + value[NGX_HTTP_DEBUG_TIMEOUT_TIME];
}


void
ngx_http_debug_state_note(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e, uint64_t second,
    ngx_http_debug_outcomes_t *sums)
{
    int64_t                   waiting;
    uint64_t                  n, time;
    ngx_uint_t                i;
    ngx_http_debug_point_t    point, *p;
    ngx_http_debug_watch_t   *watch;
    ngx_http_debug_minute_t  *minute;

    if (e->watch == 0) {
        return;
    }

    watch = ngx_http_debug_zone_at(zone, e->watch);

    ngx_http_debug_state_less(sums, &watch->sums, &point);

    (void) ngx_http_debug_zone_active(zone, e, &waiting);
    point.waiting = waiting;

    p = &watch->point[second % NGX_HTTP_DEBUG_STATE_SECONDS];

    __atomic_store_n(&p->second, 0, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);

    *p = point;

    __atomic_store_n(&p->second, (uint32_t) second, __ATOMIC_RELEASE);

    if (point.answers) {
        watch->answered = second;

    } else if (point.refused) {
        watch->refused = second;
    }

    if (point.failed + point.errors) {
        watch->bad = second;
    }

    minute = &watch->minute[second / 60 % NGX_HTTP_DEBUG_STATE_MINUTES];

    if (minute->minute != second / 60) {
        minute->minute = second / 60;
        minute->count = 0;
        minute->time = 0;
    }

    minute->count += point.answers + point.timeouts;
    minute->time += point.time;

    watch->sums = *sums;
    watch->last = second;

    n = 0;
    time = 0;

    for (i = 0; i < NGX_HTTP_DEBUG_STATE_SECONDS; i++) {
        p = &watch->point[i];

        if (p->second && p->second + NGX_HTTP_DEBUG_STATE_SECONDS > second) {
            n += p->answers + p->timeouts;
            time += p->time;
        }
    }

    watch->mean = (n < NGX_HTTP_DEBUG_STATE_FEW) ? 0 : time / n;
}


/* What came between two sums, of which one may be being written. */

static void
ngx_http_debug_state_less(ngx_http_debug_outcomes_t *more,
    ngx_http_debug_outcomes_t *less, ngx_http_debug_point_t *point)
{
    ngx_memzero(point, sizeof(ngx_http_debug_point_t));

#define less(field)                                                           \
    if (more->field > less->field) {                                          \
        point->field = more->field - less->field;                             \
    }

    less(answers)
    less(errors)
    less(failed)
    less(refused)
    less(timeouts)
    less(aborts)
    less(time)

#undef less
}


ngx_int_t
ngx_http_debug_state_second(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e, uint64_t second,
    ngx_http_debug_outcomes_t *outcomes, uint64_t *waiting)
{
    ngx_http_debug_point_t  *p;
    ngx_http_debug_watch_t  *watch;

    if (e->watch == 0) {
        return NGX_DECLINED;
    }

    watch = ngx_http_debug_zone_at(zone, e->watch);
    p = &watch->point[second % NGX_HTTP_DEBUG_STATE_SECONDS];

    if (__atomic_load_n(&p->second, __ATOMIC_ACQUIRE) != (uint32_t) second) {
        return NGX_DECLINED;
    }

    outcomes->answers = p->answers;
    outcomes->errors = p->errors;
    outcomes->failed = p->failed;
    outcomes->refused = p->refused;
    outcomes->timeouts = p->timeouts;
    outcomes->aborts = p->aborts;
    outcomes->time = p->time;

    *waiting = p->waiting;

    return NGX_OK;
}


uint64_t
ngx_http_debug_state_usual(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e)
{
    return e->watch ? ngx_http_debug_state_hour(
                                    ngx_http_debug_zone_at(zone, e->watch),
                                    ngx_http_debug_now() / 1000000000)
                    : 0;
}


uint64_t
ngx_http_debug_state_mean(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e)
{
    ngx_http_debug_watch_t  *watch;

    if (e->watch == 0) {
        return 0;
    }

    watch = ngx_http_debug_zone_at(zone, e->watch);

    return ngx_http_debug_load(&watch->mean);
}


void
ngx_http_debug_state_judge(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e, ngx_http_debug_outcomes_t *sums,
    uint64_t usual, ngx_http_debug_state_t *state)
{
    u_char                     *p, *last;
    uint64_t                    mean, tries;
    ngx_http_debug_recent_t     r;
    ngx_http_debug_outcomes_t  *all;

    ngx_http_debug_state_recent(zone, e, sums, &r);

    all = &r.all;
    tries = all->answers + all->failed;
    mean = (all->answers + all->timeouts < NGX_HTTP_DEBUG_STATE_FEW)
           ? 0 : all->time / (all->answers + all->timeouts);

    p = state->reason;
    last = p + sizeof(state->reason);

    state->up = 1;

    if (ngx_http_debug_load(&e->removed)) {
        state->state = NGX_HTTP_DEBUG_STATE_REMOVED;
        state->up = -1;
        p = ngx_slprintf(p, last, "no longer in the configuration");

    } else if (r.refused) {
        state->state = NGX_HTTP_DEBUG_STATE_DOWN;
        state->up = 0;
        p = ngx_slprintf(p, last, "refused the last connection");

        if (all->refused > 1) {
            p = ngx_slprintf(p, last, ", %uL in the last minute",
                             all->refused);
        }

        p = ngx_http_debug_state_ago(p, last, r.since);

    } else if (r.silent >= NGX_HTTP_DEBUG_STATE_HANGS
               && r.silent * 1000000000 > NGX_HTTP_DEBUG_STATE_TIMES * r.hour)
    {
        state->state = NGX_HTTP_DEBUG_STATE_HANGING;
        state->up = 0;
        p = ngx_slprintf(p, last, "%L under way, none answered for %s%uL s",
                         r.waiting, r.longer ? "over " : "", r.silent);

    } else if (all->failed + all->errors
               && (all->failed + all->errors) * NGX_HTTP_DEBUG_STATE_SHARE
                  >= tries)
    {
        state->state = NGX_HTTP_DEBUG_STATE_FAILING;
        p = ngx_http_debug_state_failing(p, last, all);

    } else if (usual
               && mean > NGX_HTTP_DEBUG_STATE_TIMES * usual
               && mean > usual + NGX_HTTP_DEBUG_STATE_MORE)
    {
        state->state = NGX_HTTP_DEBUG_STATE_SLOW;
        p = ngx_slprintf(p, last, "%uL ms on average of the last minute,"
                         " its sisters %uL ms",
                         mean / 1000000, usual / 1000000);

    } else if (r.hour
               && mean > NGX_HTTP_DEBUG_STATE_TIMES * r.hour
               && mean > r.hour + NGX_HTTP_DEBUG_STATE_MORE)
    {
        state->state = NGX_HTTP_DEBUG_STATE_SLOW;
        p = ngx_slprintf(p, last, "%uL ms on average of the last minute,"
                         " %uL ms of the hour before",
                         mean / 1000000, r.hour / 1000000);

    } else if (tries || r.active) {
        state->state = NGX_HTTP_DEBUG_STATE_UP;
        p = ngx_slprintf(p, last, "%uL of %uL answered in the last minute",
                         all->answers, tries);

        if (r.active) {
            p = ngx_slprintf(p, last, ", %L under way", r.active);
        }

    } else if (e->marks & NGX_HTTP_DEBUG_DOWN) {
        state->state = NGX_HTTP_DEBUG_STATE_IDLE;
        state->up = -1;
        p = ngx_slprintf(p, last, "marked \"down\" in the configuration");

    } else {
        state->state = NGX_HTTP_DEBUG_STATE_IDLE;
        p = ngx_slprintf(p, last, "not asked in the last minute");
        p = ngx_http_debug_state_ago(p, last, r.since);
    }

    state->len = p - state->reason;
}


/*
 * Nearly always a peer is well, and that can be told without its minute: it
 * was not asked, or answered everything soon, and nothing is under way.
 */

ngx_int_t
ngx_http_debug_state_well(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e, ngx_http_debug_outcomes_t *sums,
    ngx_http_debug_state_t *state)
{
    uint64_t                 now;
    ngx_http_debug_point_t   point;
    ngx_http_debug_watch_t  *watch;

    if (e->watch == 0 || ngx_http_debug_load(&e->removed)) {
        return NGX_DECLINED;
    }

    watch = ngx_http_debug_zone_at(zone, e->watch);
    now = ngx_http_debug_now() / 1000000000;

    ngx_http_debug_state_less(sums, &watch->sums, &point);

    if (point.failed + point.errors
        || watch->bad + NGX_HTTP_DEBUG_STATE_SECONDS > now
        || watch->refused > watch->answered
        || watch->mean > NGX_HTTP_DEBUG_STATE_MORE
        || point.time > point.answers * NGX_HTTP_DEBUG_STATE_MORE)
    {
        return NGX_DECLINED;
    }

    state->up = 1;
    state->len = 0;

    if (point.answers
        || watch->answered + NGX_HTTP_DEBUG_STATE_SECONDS > now)
    {
        state->state = NGX_HTTP_DEBUG_STATE_UP;
        return NGX_OK;
    }

    state->state = NGX_HTTP_DEBUG_STATE_IDLE;

    if (e->marks & NGX_HTTP_DEBUG_DOWN) {
        state->up = -1;
    }

    return NGX_OK;
}


static u_char *
ngx_http_debug_state_failing(u_char *p, u_char *last,
    ngx_http_debug_outcomes_t *all)
{
    p = ngx_slprintf(p, last, "of %uL in the last minute ",
                     all->answers + all->failed);

    if (all->failed) {
        p = ngx_slprintf(p, last, "%uL got no answer", all->failed);

        if (all->timeouts || all->refused) {
            p = ngx_slprintf(p, last, " (%uL timed out, %uL refused)",
                             all->timeouts, all->refused);
        }
    }

    if (all->errors) {
        p = ngx_slprintf(p, last, "%s%uL were 5xx", all->failed ? ", " : "",
                         all->errors);
    }

    return p;
}


static u_char *
ngx_http_debug_state_ago(u_char *p, u_char *last, uint64_t seconds)
{
    if (seconds == 0) {
        return p;
    }

    if (seconds < 120) {
        return ngx_slprintf(p, last, "; its last answer was %uL s ago",
                            seconds);
    }

    return ngx_slprintf(p, last, "; its last answer was %uL min ago",
                        seconds / 60);
}


static void
ngx_http_debug_state_recent(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e, ngx_http_debug_outcomes_t *sums,
    ngx_http_debug_recent_t *r)
{
    uint64_t                 now, s, last;
    ngx_uint_t               silent;
    ngx_http_debug_point_t   point, *p;
    ngx_http_debug_watch_t  *watch;

    ngx_memzero(r, sizeof(ngx_http_debug_recent_t));

    r->active = ngx_http_debug_zone_active(zone, e, &r->waiting);

    if (e->watch == 0) {
        return;
    }

    watch = ngx_http_debug_zone_at(zone, e->watch);

    now = ngx_http_debug_now() / 1000000000;
    last = ngx_http_debug_load(&watch->last);

    /* what came since the last point */

    ngx_http_debug_state_less(sums, &watch->sums, &point);
    point.waiting = r->waiting;
    ngx_http_debug_state_point(r, &point);

    r->refused = (point.answers == 0
                  && (point.refused || watch->refused > watch->answered));

    silent = (r->waiting > 0 && point.answers + point.refused == 0);
    r->since = (point.answers == 0 && watch->answered)
               ? now - ngx_min(now, watch->answered) : 0;

    for (s = last;
         s && s + NGX_HTTP_DEBUG_STATE_SECONDS > last
         && s + NGX_HTTP_DEBUG_STATE_SECONDS > now;
         s--)
    {
        p = &watch->point[s % NGX_HTTP_DEBUG_STATE_SECONDS];

        if (__atomic_load_n(&p->second, __ATOMIC_ACQUIRE) != (uint32_t) s) {
            continue;
        }

        if (p->answers + p->failed + p->aborts) {
            ngx_http_debug_state_point(r, p);
        }

        if (!silent) {
            continue;
        }

        if (p->answers == 0 && p->refused == 0
            && p->waiting + p->timeouts + p->aborts)
        {
            r->silent++;

        } else {
            silent = 0;
        }
    }

    r->longer = (r->silent + 1 >= NGX_HTTP_DEBUG_STATE_SECONDS);

    r->hour = ngx_http_debug_state_hour(watch, now);
}


static void
ngx_http_debug_state_point(ngx_http_debug_recent_t *r,
    ngx_http_debug_point_t *point)
{
    r->all.answers += point->answers;
    r->all.errors += point->errors;
    r->all.failed += point->failed;
    r->all.refused += point->refused;
    r->all.timeouts += point->timeouts;
    r->all.aborts += point->aborts;
    r->all.time += point->time;
}


/* The mean time of the hour, but for the last two minutes. */

static uint64_t
ngx_http_debug_state_hour(ngx_http_debug_watch_t *watch, uint64_t second)
{
    uint64_t                  n, time, now;
    ngx_uint_t                i;
    ngx_http_debug_minute_t  *m;

    now = second / 60;
    n = 0;
    time = 0;

    for (i = 0; i < NGX_HTTP_DEBUG_STATE_MINUTES; i++) {
        m = &watch->minute[i];

        if (m->count && m->minute + 1 < now
            && m->minute + NGX_HTTP_DEBUG_STATE_MINUTES > now)
        {
            n += m->count;
            time += m->time;
        }
    }

    return (n < NGX_HTTP_DEBUG_STATE_FEW) ? 0 : time / n;
}
