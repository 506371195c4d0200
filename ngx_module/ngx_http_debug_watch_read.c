
/*
 * What a rule reads of a peer, and whether it is met.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_debug_history.h"
#include "ngx_http_debug_state.h"
#include "ngx_http_debug_watch_read.h"


/* one second of so many may be below the line, and the streak goes on */
#define NGX_HTTP_DEBUG_WATCH_DIPS   5

/* errors that are fewer are no incident, whatever their share */
#define NGX_HTTP_DEBUG_WATCH_FEW    5

/* nor are fewer seconds, however long it lasts */
#define NGX_HTTP_DEBUG_WATCH_LEAST  3

/* points of 10 s that make an hour */
#define NGX_HTTP_DEBUG_WATCH_TENS   360

/* seconds after which the usual value is read anew, and a word is too old */
#define NGX_HTTP_DEBUG_WATCH_STALE  20

/* s that the mark of the last incident stands */
#define NGX_HTTP_DEBUG_WATCH_MARK   3600


static ngx_http_debug_watch_streak_t *ngx_http_debug_watch_streak(
    ngx_http_debug_watch_conf_t *wcf, uint32_t key, ngx_uint_t add);
static ngx_uint_t ngx_http_debug_watch_ended(
    ngx_http_debug_watch_rule_t *rule, ngx_http_debug_watch_streak_t *s,
    uint64_t second);
static ngx_uint_t ngx_http_debug_watch_rises(
    ngx_http_debug_watch_rule_t *rule, uint64_t value, uint64_t usual,
    ngx_uint_t known);
static ngx_int_t ngx_http_debug_watch_grown(
    ngx_http_debug_watch_process_t *process, ngx_uint_t window,
    uint64_t second, uint64_t *grown);
static uint64_t ngx_http_debug_watch_median(uint64_t *value, ngx_uint_t n);
static int ngx_libc_cdecl ngx_http_debug_watch_less(const void *one,
    const void *two);


ngx_int_t
ngx_http_debug_watch_value(ngx_http_debug_zone_t *zone,
    ngx_http_debug_watch_of_t *of, ngx_http_debug_watch_rule_t *rule,
    uint64_t second, ngx_http_debug_watch_value_t *v)
{
    uint32_t                        *point;
    uint64_t                         waiting;
    ngx_uint_t                       at;
    ngx_http_debug_outcomes_t        o;
    ngx_http_debug_watch_process_t  *process;

    ngx_memzero(v, sizeof(ngx_http_debug_watch_value_t));

    process = of->process;

    if (rule->kind->process) {

        if (process == NULL
            || process->seen + NGX_HTTP_DEBUG_WATCH_STALE < second)
        {
            return NGX_DECLINED;
        }

    } else if (of->entity == NULL) {
        return NGX_DECLINED;
    }

    switch (rule->kind->metric) {

    case NGX_HTTP_DEBUG_WATCH_P50:
        at = NGX_HTTP_DEBUG_H_P50;
        break;

    case NGX_HTTP_DEBUG_WATCH_P90:
        at = NGX_HTTP_DEBUG_H_P90;
        break;

    case NGX_HTTP_DEBUG_WATCH_P99:
        at = NGX_HTTP_DEBUG_H_P99;
        break;

    case NGX_HTTP_DEBUG_WATCH_UNDERWAY:
        at = NGX_HTTP_DEBUG_H_ACTIVE;
        break;

    case NGX_HTTP_DEBUG_WATCH_MEMORY:
        v->value = process->rss;
        return v->value ? NGX_OK : NGX_DECLINED;

    case NGX_HTTP_DEBUG_WATCH_THREADS:
        v->value = process->threads;
        return v->value ? NGX_OK : NGX_DECLINED;

    case NGX_HTTP_DEBUG_WATCH_GROWTH:
        return ngx_http_debug_watch_grown(process, rule->window, second,
                                          &v->value);

    default:

        if (ngx_http_debug_state_second(zone, of->entity, second, &o,
                                        &waiting)
            != NGX_OK)
        {
            return NGX_DECLINED;
        }

        if (rule->kind->metric == NGX_HTTP_DEBUG_WATCH_ERRORS) {
            v->tries = o.answers + o.failed;
            v->bad = o.errors + o.failed;

            if (v->tries == 0) {
                return NGX_DECLINED;
            }

            v->value = v->bad * 10000 / v->tries;
            return NGX_OK;
        }

        /* down: it refused all, or had something to answer and did not */

        if (o.answers) {
            return NGX_OK;
        }

        v->silent = (o.refused == 0);
        v->bad = (o.refused != 0);
        v->value = (o.refused + waiting + o.timeouts + o.aborts) ? 1 : 0;

        return v->value ? NGX_OK : NGX_DECLINED;
    }

    point = ngx_http_debug_history_point(zone, of->entity, 0, second);

    if (point == NULL
        || (point[at] == 0 && at != NGX_HTTP_DEBUG_H_ACTIVE))
    {
        return NGX_DECLINED;
    }

    v->value = point[at];

    return NGX_OK;
}


ngx_int_t
ngx_http_debug_watch_usual(ngx_http_debug_zone_t *zone,
    ngx_http_debug_watch_of_t *of, ngx_http_debug_watch_rule_t *rule,
    uint64_t second, uint64_t *usual)
{
    uint32_t                        *point;
    uint64_t                         s, bad, tries, grown, old;
    uint64_t                         value[NGX_HTTP_DEBUG_WATCH_TENS];
    ngx_uint_t                       i, n, at;
    ngx_http_debug_watch_point_t    *p;
    ngx_http_debug_watch_process_t  *process;

    n = 0;
    process = of->process;

    switch (rule->kind->metric) {

    case NGX_HTTP_DEBUG_WATCH_DOWN:
        *usual = 0;
        return NGX_OK;

    case NGX_HTTP_DEBUG_WATCH_MEMORY:
    case NGX_HTTP_DEBUG_WATCH_THREADS:

        for (i = 0; process && i < 2 * NGX_HTTP_DEBUG_WATCH_HOUR; i++) {

            if (i < NGX_HTTP_DEBUG_WATCH_HOUR) {
                p = &process->minute[i];
                s = (uint64_t) p->minute * 60;

            } else {
                p = &process->ten[i - NGX_HTTP_DEBUG_WATCH_HOUR];
                s = (uint64_t) p->minute * 10;
            }

            if (p->minute == 0 || s >= second || s + 3600 < second) {
                continue;
            }

            /* a minute of which there are tens is not taken twice */

            if (i < NGX_HTTP_DEBUG_WATCH_HOUR && s + 600 > second) {
                continue;
            }

            value[n++] = (rule->kind->metric == NGX_HTTP_DEBUG_WATCH_MEMORY)
                         ? (uint64_t) p->rss * 1024 : p->threads;
        }

        break;

    case NGX_HTTP_DEBUG_WATCH_GROWTH:

        /* so much in as long a time, all of the hour before */

        old = 0;

        for (i = 0; process && i < NGX_HTTP_DEBUG_WATCH_HOUR; i++) {
            p = &process->minute[i];
            s = (uint64_t) p->minute * 60;

            if (p->minute && s + 3600 > second
                && s + 2 * rule->window < second && (old == 0 || s < old))
            {
                old = s;
                value[0] = (uint64_t) p->rss * 1024;
            }
        }

        if (old == 0
            || ngx_http_debug_watch_grown(process, rule->window, second,
                                          &grown)
               != NGX_OK)
        {
            return NGX_DECLINED;
        }

        s = process->rss - ngx_min(process->rss, grown);
        *usual = (s > value[0])
                 ? (s - value[0]) * rule->window
                   / (second - rule->window - old)
                 : 0;

        return NGX_OK;

    default:

        at = (rule->kind->metric == NGX_HTTP_DEBUG_WATCH_P50)
             ? NGX_HTTP_DEBUG_H_P50
             : (rule->kind->metric == NGX_HTTP_DEBUG_WATCH_P90)
               ? NGX_HTTP_DEBUG_H_P90
               : (rule->kind->metric == NGX_HTTP_DEBUG_WATCH_P99)
                 ? NGX_HTTP_DEBUG_H_P99 : NGX_HTTP_DEBUG_H_ACTIVE;

        bad = 0;
        tries = 0;

        /* a point is known by the last second of its step */

        s = second / 10 * 10 - 1;

        for (i = 0; i < NGX_HTTP_DEBUG_WATCH_TENS && of->entity && s > 10;
             i++, s -= 10)
        {
            point = ngx_http_debug_history_point(zone, of->entity, 1, s);
            if (point == NULL) {
                continue;
            }

            if (rule->kind->metric == NGX_HTTP_DEBUG_WATCH_ERRORS) {
                bad += point[NGX_HTTP_DEBUG_H_5XX]
                       + point[NGX_HTTP_DEBUG_H_FAILED];
                tries += point[NGX_HTTP_DEBUG_H_2XX]
                         + point[NGX_HTTP_DEBUG_H_3XX]
                         + point[NGX_HTTP_DEBUG_H_4XX]
                         + point[NGX_HTTP_DEBUG_H_5XX]
                         + point[NGX_HTTP_DEBUG_H_FAILED];

            } else if (point[at] || at == NGX_HTTP_DEBUG_H_ACTIVE) {
                value[n++] = point[at];
            }
        }

        if (rule->kind->metric == NGX_HTTP_DEBUG_WATCH_ERRORS) {

            if (tries == 0) {
                return NGX_DECLINED;
            }

            *usual = bad * 10000 / tries;
            return NGX_OK;
        }
    }

    if (n == 0) {
        return NGX_DECLINED;
    }

    *usual = ngx_http_debug_watch_median(value, n);

    return NGX_OK;
}


/* What the process has more than it had WINDOW seconds ago. */

static ngx_int_t
ngx_http_debug_watch_grown(ngx_http_debug_watch_process_t *process,
    ngx_uint_t window, uint64_t second, uint64_t *grown)
{
    uint64_t                       then, unit;
    ngx_http_debug_watch_point_t  *p;

    if (process == NULL || second <= window) {
        return NGX_DECLINED;
    }

    then = second - window;

    if (window < 10 * NGX_HTTP_DEBUG_WATCH_HOUR) {
        unit = then / 10;
        p = &process->ten[unit % NGX_HTTP_DEBUG_WATCH_HOUR];

    } else {
        unit = then / 60;
        p = &process->minute[unit % NGX_HTTP_DEBUG_WATCH_HOUR];
    }

    if (p->minute != (uint32_t) unit || p->rss == 0 || process->rss == 0) {
        return NGX_DECLINED;
    }

    *grown = process->rss - ngx_min(process->rss, (uint64_t) p->rss * 1024);

    return NGX_OK;
}


ngx_int_t
ngx_http_debug_watch_judge(ngx_http_debug_watch_conf_t *wcf,
    ngx_http_debug_watch_of_t *of, ngx_http_debug_watch_rule_t *rule,
    uint32_t key, uint64_t second, ngx_uint_t late,
    ngx_http_debug_watch_met_t *met)
{
    uint64_t                        usual;
    ngx_int_t                       rc;
    ngx_uint_t                      above;
    ngx_http_debug_watch_value_t    v;
    ngx_http_debug_watch_streak_t  *s;

    s = ngx_http_debug_watch_streak(wcf, key, 0);
    rc = ngx_http_debug_watch_value(wcf->zone, of, rule, second, &v);

    if (s != NULL && s->since && s->seen + ngx_max(rule->wait, 10) < second) {

        /* two that are so far apart are not one trouble */

        s->since = 0;
    }

    if (late && rc == NGX_OK && v.silent) {
        return NGX_DECLINED;
    }

    if (rc != NGX_OK) {

        if (s == NULL || s->since == 0
            || rule->kind->metric != NGX_HTTP_DEBUG_WATCH_DOWN)
        {
            return NGX_DECLINED;
        }

        /*
         * Nobody asked.  Who refuses is asked seldom, and is down until it
         * answers; of who was silent nothing is known now.
         */

        if (!s->bad) {
            s->since = 0;
            return NGX_DECLINED;
        }

        v.value = 1;
        v.bad = 1;
    }

    above = (v.value > rule->floor);

    if (!above && s == NULL) {
        return NGX_DECLINED;
    }

    if (s == NULL) {
        s = ngx_http_debug_watch_streak(wcf, key, 1);
    }

    s->seen = second;

    if (above
        && (s->hour == 0
            || s->hour + 3 * NGX_HTTP_DEBUG_WATCH_STALE < second))
    {
        usual = 0;
        s->known = (ngx_http_debug_watch_usual(wcf->zone, of, rule,
                                        s->since ? s->since : second, &usual)
                    == NGX_OK);
        s->usual = usual;
        s->hour = second;
    }

    if (above) {
        above = ngx_http_debug_watch_rises(rule, v.value, s->usual, s->known);
    }

    if (!above) {

        if (s->well == 0) {
            s->well = second;
        }

        if (s->since) {
            s->below++;
            s->tries += v.tries;
            s->bad += v.bad;

            if (rule->kind->metric == NGX_HTTP_DEBUG_WATCH_DOWN
                || s->below * (NGX_HTTP_DEBUG_WATCH_DIPS - 1) > s->above)
            {
                s->since = 0;
            }
        }

        return NGX_DECLINED;
    }

    if (s->since == 0) {
        s->since = second;
        s->above = 0;
        s->below = 0;
        s->sum = 0;
        s->max = 0;
        s->tries = 0;
        s->bad = 0;
    }

    if (s->fired && ngx_http_debug_watch_ended(rule, s, second)) {
        s->mark = 0;
    }

    s->well = 0;
    s->above++;
    s->sum += v.value;
    s->max = ngx_max(s->max, v.value);
    s->tries += v.tries;
    s->bad += v.bad;

    if (second - s->since + 1 < rule->wait
        || s->above < ngx_min(rule->wait, NGX_HTTP_DEBUG_WATCH_LEAST)
        || (s->fired && s->fired + rule->cooldown > second))
    {
        return NGX_DECLINED;
    }

    met->value = s->sum / s->above;
    met->usual = s->usual;
    met->known = s->known;
    met->since = s->since;

    if (rule->kind->metric == NGX_HTTP_DEBUG_WATCH_ERRORS) {

        if (s->bad < NGX_HTTP_DEBUG_WATCH_FEW) {
            return NGX_DECLINED;
        }

        met->value = s->bad * 10000 / s->tries;

        if (met->value <= rule->floor
            || !ngx_http_debug_watch_rises(rule, met->value, s->usual,
                                           s->known))
        {
            return NGX_DECLINED;
        }
    }

    if (rule->kind->metric == NGX_HTTP_DEBUG_WATCH_DOWN) {

        met->value = second - s->since + 1;

        /* who takes his time is not down while he does */

        if (v.silent
            && met->value * 1000000000
               < 3 * ngx_http_debug_state_usual(wcf->zone, of->entity))
        {
            return NGX_DECLINED;
        }

        if (s->mark) {
            return NGX_DECLINED;
        }

    } else if (rule->kind->process) {

        /* the line is crossed by what is now, not by what was */

        met->value = v.value;
    }

    /* the same trouble is told again when it has become worse */

    if (s->mark && met->value <= s->mark + s->mark / 10) {
        return NGX_DECLINED;
    }

    s->fired = second;
    s->mark = met->value;

    return NGX_OK;
}


/* The mark of the last incident: it is old, or all was well in between. */

static ngx_uint_t
ngx_http_debug_watch_ended(ngx_http_debug_watch_rule_t *rule,
    ngx_http_debug_watch_streak_t *s, uint64_t second)
{
    return s->fired + NGX_HTTP_DEBUG_WATCH_MARK < second
           || (s->well && s->since == second
               && s->well + rule->cooldown <= second);
}


static ngx_uint_t
ngx_http_debug_watch_rises(ngx_http_debug_watch_rule_t *rule, uint64_t value,
    uint64_t usual, ngx_uint_t known)
{
    /* whose hour is not known has its line alone */

    return rule->factor == 0 || !known || value * 100 > usual * rule->factor;
}


ngx_uint_t
ngx_http_debug_watch_budget(ngx_http_debug_watch_conf_t *wcf,
    ngx_http_debug_watch_rule_t *rule, uint32_t key, uint64_t second)
{
    ngx_http_debug_watch_streak_t  *s;

    s = ngx_http_debug_watch_streak(wcf, key, 1);

    if (s->hour == 0 || s->hour + 3600 <= second) {
        s->hour = second;
        s->count = 0;
    }

    s->seen = second;

    if (s->count >= rule->per_hour) {
        return 0;
    }

    s->count++;

    return 1;
}


/* NULL: there is none, and none is to be added. */

static ngx_http_debug_watch_streak_t *
ngx_http_debug_watch_streak(ngx_http_debug_watch_conf_t *wcf, uint32_t key,
    ngx_uint_t add)
{
    ngx_uint_t                      i;
    ngx_http_debug_watch_streak_t  *s, *old;
    ngx_http_debug_watch_shared_t  *sh;

    sh = wcf->shm->data;
    old = NULL;

    /* of a few places only, so that it costs the same when all are taken */

    for (i = 0; i < 16; i++) {
        s = &sh->streak[(key + i) % NGX_HTTP_DEBUG_WATCH_STREAKS];

        if (s->hash == key) {
            return s;
        }

        if (old == NULL || s->hash == 0
            || (old->hash && s->seen < old->seen))
        {
            old = (old && old->hash == 0) ? old : s;
        }
    }

    if (!add) {
        return NULL;
    }

    ngx_memzero(old, sizeof(ngx_http_debug_watch_streak_t));
    old->hash = key;

    return old;
}


ngx_http_debug_watch_process_t *
ngx_http_debug_watch_known(ngx_http_debug_watch_conf_t *wcf, uint32_t key)
{
    ngx_uint_t                       i;
    ngx_http_debug_watch_shared_t   *sh;
    ngx_http_debug_watch_process_t  *p, *old;

    sh = wcf->shm->data;
    old = NULL;

    for (i = 0; i < 16; i++) {
        p = &sh->process[(key + i) % NGX_HTTP_DEBUG_WATCH_PROCESSES];

        if (p->hash == key) {
            return p;
        }

        if (old == NULL || (old->hash && (p->hash == 0
                                          || p->seen < old->seen)))
        {
            old = p;
        }
    }

    ngx_memzero(old, sizeof(ngx_http_debug_watch_process_t));
    old->hash = key;

    return old;
}


void
ngx_http_debug_watch_note(ngx_http_debug_watch_process_t *process,
    uint64_t second, uint32_t pid, uint64_t rss, uint64_t threads)
{
    uint32_t                        hash;
    ngx_http_debug_watch_point_t   *p;

    if (process->pid != pid) {

        /* another process: what the one before had says nothing of it */

        hash = process->hash;
        ngx_memzero(process, sizeof(ngx_http_debug_watch_process_t));
        process->hash = hash;
        process->pid = pid;
    }

    process->seen = second;
    process->rss = rss;
    process->threads = threads;

    p = &process->ten[second / 10 % NGX_HTTP_DEBUG_WATCH_HOUR];

    p->minute = second / 10;
    p->rss = rss / 1024;
    p->threads = threads;

    p = &process->minute[second / 60 % NGX_HTTP_DEBUG_WATCH_HOUR];

    p->minute = second / 60;
    p->rss = rss / 1024;
    p->threads = threads;
}


/* Of N values, which are put in order. */

static uint64_t
ngx_http_debug_watch_median(uint64_t *value, ngx_uint_t n)
{
    ngx_qsort(value, n, sizeof(uint64_t), ngx_http_debug_watch_less);

    return (n % 2) ? value[n / 2] : (value[n / 2 - 1] + value[n / 2]) / 2;
}


static int ngx_libc_cdecl
ngx_http_debug_watch_less(const void *one, const void *two)
{
    uint64_t  a = *(const uint64_t *) one;
    uint64_t  b = *(const uint64_t *) two;

    return a < b ? -1 : a > b;
}
