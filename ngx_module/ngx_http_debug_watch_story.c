
/*
 * An incident, and the words that tell it.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_faces.h"
#include "ngx_http_debug_history.h"
#include "ngx_http_debug_watch_story.h"


/* seconds that make "now" */
#define NGX_HTTP_DEBUG_STORY_NOW    60

/* changed is so many hundredths of what it was, or that much less */
#define NGX_HTTP_DEBUG_STORY_TIMES  150


/* what is looked at of the sick one: now, in its hour, at its sister */

typedef struct {
    char                         *words;
    ngx_http_debug_watch_unit_e   unit;
    uint64_t                      now;
    uint64_t                      usual;
    uint64_t                      sister;
    ngx_uint_t                    known;    /* of the hour */
    ngx_uint_t                    has;      /* the sister */
} ngx_http_debug_story_t;


static ngx_int_t ngx_http_debug_story_first(ngx_http_debug_incident_t *in);
static ngx_int_t ngx_http_debug_story_look(ngx_http_debug_incident_t *in,
    ngx_http_debug_watch_kind_t *kind, ngx_http_debug_story_t *story);
static ngx_int_t ngx_http_debug_story_now(ngx_http_debug_incident_t *in,
    ngx_http_debug_watch_of_t *of, ngx_http_debug_watch_rule_t *rule,
    uint64_t *now);
static ngx_int_t ngx_http_debug_story_requests(ngx_http_debug_incident_t *in,
    ngx_http_debug_story_t *story);
static ngx_int_t ngx_http_debug_story_rate(ngx_http_debug_incident_t *in,
    ngx_http_debug_watch_of_t *of, ngx_uint_t ring, ngx_uint_t from,
    ngx_uint_t points, uint64_t *rate);
static ngx_uint_t ngx_http_debug_story_changed(ngx_http_debug_story_t *story);
static ngx_int_t ngx_http_debug_story_sentence(ngx_http_debug_incident_t *in,
    ngx_http_debug_story_t *story);
static u_char *ngx_http_debug_story_put(u_char *p, u_char *last,
    ngx_http_debug_story_t *story, uint64_t value);
static ngx_int_t ngx_http_debug_story_push(ngx_http_debug_incident_t *in,
    u_char *text, u_char *end);


/* less than this is no change */

static uint64_t  ngx_http_debug_story_least[] = {
    1000,                   /* us */
    100,                    /* 1 % */
    5,
    16 * 1024 * 1024
};


ngx_int_t
ngx_http_debug_watch_story_tell(ngx_http_debug_incident_t *in)
{
    u_char                       *p, *last, text[1024];
    ngx_uint_t                    n, same;
    ngx_http_debug_story_t        story;
    ngx_http_debug_watch_kind_t  *kind;

    if (ngx_array_init(&in->words, in->pool, 8, sizeof(ngx_str_t)) != NGX_OK
        || ngx_http_debug_story_first(in) != NGX_OK)
    {
        return NGX_ERROR;
    }

    p = text;
    last = text + sizeof(text);
    same = 0;

    for (kind = ngx_http_debug_watch_kinds; /* void */ ; kind++) {

        if (kind->name.len == 0) {
            n = (ngx_http_debug_story_requests(in, &story) == NGX_OK);

        } else if (kind == in->rule->kind
                   || kind->unit == NGX_HTTP_DEBUG_WATCH_STATE
                   || kind->metric == NGX_HTTP_DEBUG_WATCH_GROWTH)
        {
            continue;

        } else {
            n = (ngx_http_debug_story_look(in, kind, &story) == NGX_OK);
        }

        if (n && ngx_http_debug_story_changed(&story)) {

            if (ngx_http_debug_story_sentence(in, &story) != NGX_OK) {
                return NGX_ERROR;
            }

        } else if (n) {
            p = ngx_slprintf(p, last, "%s%s ", same++ ? ", " : "unchanged: ",
                             story.words);
            p = ngx_http_debug_story_put(p, last, &story, story.now);

            if (story.known) {
                p = ngx_slprintf(p, last, " (its hour ");
                p = ngx_http_debug_story_put(p, last, &story, story.usual);
                p = ngx_slprintf(p, last, ")");
            }
        }

        if (kind->name.len == 0) {
            break;
        }
    }

    return same ? ngx_http_debug_story_push(in, text, p) : NGX_OK;
}


/* What crossed which line. */

static ngx_int_t
ngx_http_debug_story_first(ngx_http_debug_incident_t *in)
{
    u_char                       *p, *last, text[1024];
    uint64_t                      seconds, sister;
    ngx_http_debug_story_t        story;
    ngx_http_debug_watch_kind_t  *kind;

    kind = in->rule->kind;

    p = text;
    last = text + sizeof(text);

    seconds = in->second - in->met.since + 1;

    if (kind->unit == NGX_HTTP_DEBUG_WATCH_STATE) {
        p = ngx_slprintf(p, last, "down for %uL s: it answered nothing",
                         seconds);
        return ngx_http_debug_story_push(in, text, p);
    }

    ngx_memzero(&story, sizeof(ngx_http_debug_story_t));

    story.unit = kind->unit;

    p = ngx_slprintf(p, last, "%s ", kind->words);
    p = ngx_http_debug_story_put(p, last, &story, in->met.value);

    if (kind->metric == NGX_HTTP_DEBUG_WATCH_GROWTH) {
        p = ngx_slprintf(p, last, " in %ui s", in->rule->window);

    } else {
        p = ngx_slprintf(p, last, " for %uL s", seconds);
    }

    p = ngx_slprintf(p, last, ", its line ");
    p = ngx_http_debug_story_put(p, last, &story, in->rule->floor);

    if (!in->met.known) {
        p = ngx_slprintf(p, last, ", its hour is not known");

    } else {
        p = ngx_slprintf(p, last, ", its hour ");
        p = ngx_http_debug_story_put(p, last, &story, in->met.usual);
    }

    if (in->side[NGX_HTTP_DEBUG_WATCH_SISTER].name.len
        && ngx_http_debug_story_now(in,
                            &in->side[NGX_HTTP_DEBUG_WATCH_SISTER].of,
                            in->rule, &sister)
           == NGX_OK)
    {
        p = ngx_slprintf(p, last, "; %V ",
                         &in->side[NGX_HTTP_DEBUG_WATCH_SISTER].name);
        p = ngx_http_debug_story_put(p, last, &story, sister);
    }

    return ngx_http_debug_story_push(in, text, p);
}


static ngx_int_t
ngx_http_debug_story_look(ngx_http_debug_incident_t *in,
    ngx_http_debug_watch_kind_t *kind, ngx_http_debug_story_t *story)
{
    ngx_http_debug_watch_of_t    *sick, *sister;
    ngx_http_debug_watch_rule_t   rule;

    ngx_memzero(story, sizeof(ngx_http_debug_story_t));

    sick = &in->side[NGX_HTTP_DEBUG_WATCH_SICK].of;
    sister = &in->side[NGX_HTTP_DEBUG_WATCH_SISTER].of;

    rule = *in->rule;
    rule.kind = kind;

    story->words = kind->words;
    story->unit = kind->unit;

    if (ngx_http_debug_story_now(in, sick, &rule, &story->now) != NGX_OK) {
        return NGX_DECLINED;
    }

    story->known = (ngx_http_debug_watch_usual(in->conf->zone, sick, &rule,
                                               in->met.since, &story->usual)
                    == NGX_OK);

    story->has = (in->side[NGX_HTTP_DEBUG_WATCH_SISTER].name.len
                  && ngx_http_debug_story_now(in, sister, &rule,
                                              &story->sister)
                     == NGX_OK);

    return NGX_OK;
}


/* The mean of the seconds since the line was crossed, a minute at most. */

static ngx_int_t
ngx_http_debug_story_now(ngx_http_debug_incident_t *in,
    ngx_http_debug_watch_of_t *of, ngx_http_debug_watch_rule_t *rule,
    uint64_t *now)
{
    uint64_t                      s, n, sum, tries, bad, first;
    ngx_http_debug_watch_value_t  v;

    first = in->met.since;

    if (in->second - first >= NGX_HTTP_DEBUG_STORY_NOW) {
        first = in->second - NGX_HTTP_DEBUG_STORY_NOW + 1;
    }

    n = 0;
    sum = 0;
    bad = 0;
    tries = 0;

    for (s = first; s <= in->second; s++) {

        if (ngx_http_debug_watch_value(in->conf->zone, of, rule, s, &v)
            == NGX_OK)
        {
            n++;
            sum += v.value;
            bad += v.bad;
            tries += v.tries;
        }
    }

    if (n == 0) {
        return NGX_DECLINED;
    }

    *now = tries ? bad * 10000 / tries : sum / n;

    return NGX_OK;
}


/* Requests of ten seconds, as tenths of one a second. */

static ngx_int_t
ngx_http_debug_story_requests(ngx_http_debug_incident_t *in,
    ngx_http_debug_story_t *story)
{
    uint64_t    seconds;
    ngx_uint_t  points;

    ngx_memzero(story, sizeof(ngx_http_debug_story_t));

    story->words = "requests a second";
    story->unit = NGX_HTTP_DEBUG_WATCH_NUMBER;

    seconds = in->second - in->met.since + 1;
    points = ngx_min(seconds, NGX_HTTP_DEBUG_STORY_NOW);

    if (ngx_http_debug_story_rate(in, &in->side[0].of, 0, 0, points,
                                  &story->now)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    story->known = (ngx_http_debug_story_rate(in, &in->side[0].of, 1, seconds,
                                              360, &story->usual)
                    == NGX_OK);

    story->has = (in->side[1].name.len
                  && ngx_http_debug_story_rate(in, &in->side[1].of, 0, 0,
                                               points, &story->sister)
                     == NGX_OK);

    return NGX_OK;
}


/* The mean of POINTS of RING that end FROM seconds before now. */

static ngx_int_t
ngx_http_debug_story_rate(ngx_http_debug_incident_t *in,
    ngx_http_debug_watch_of_t *of, ngx_uint_t ring, ngx_uint_t from,
    ngx_uint_t points, uint64_t *rate)
{
    uint32_t    *point;
    uint64_t     s, n, step;
    ngx_uint_t   i, j;

    n = 0;
    *rate = 0;

    step = ngx_http_debug_rings[ring].step;
    s = (in->second - from + 1) / step * step - 1;

    for (i = 0; i < points && of->entity && s > step; i++, s -= step) {

        point = ngx_http_debug_history_point(in->conf->zone, of->entity, ring,
                                             s);
        if (point == NULL) {
            continue;
        }

        for (j = NGX_HTTP_DEBUG_H_2XX; j <= NGX_HTTP_DEBUG_H_FAILED; j++) {
            *rate += point[j];
        }

        n += step;
    }

    if (n == 0) {
        return NGX_DECLINED;
    }

    *rate /= n;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_debug_story_changed(ngx_http_debug_story_t *story)
{
    uint64_t  more, less;

    more = ngx_max(story->now, story->usual);
    less = ngx_min(story->now, story->usual);

    return story->known
           && more * 100 >= less * NGX_HTTP_DEBUG_STORY_TIMES
           && more - less >= ngx_http_debug_story_least[story->unit];
}


static ngx_int_t
ngx_http_debug_story_sentence(ngx_http_debug_incident_t *in,
    ngx_http_debug_story_t *story)
{
    u_char  *p, *last, text[1024];

    p = text;
    last = text + sizeof(text);

    p = ngx_slprintf(p, last, "%s ", story->words);
    p = ngx_http_debug_story_put(p, last, story, story->now);
    p = ngx_slprintf(p, last, ", its hour ");
    p = ngx_http_debug_story_put(p, last, story, story->usual);

    if (story->has) {
        p = ngx_slprintf(p, last, "; %V ",
                         &in->side[NGX_HTTP_DEBUG_WATCH_SISTER].name);
        p = ngx_http_debug_story_put(p, last, story, story->sister);
    }

    return ngx_http_debug_story_push(in, text, p);
}


static u_char *
ngx_http_debug_story_put(u_char *p, u_char *last,
    ngx_http_debug_story_t *story, uint64_t value)
{
    u_char  text[64], *end;

    end = ngx_http_debug_watch_number(text, story->unit, value);

    return ngx_slprintf(p, last, "%*s", (size_t) (end - text), text);
}


static ngx_int_t
ngx_http_debug_story_push(ngx_http_debug_incident_t *in, u_char *text,
    u_char *end)
{
    ngx_str_t  *word;

    word = ngx_array_push(&in->words);
    if (word == NULL) {
        return NGX_ERROR;
    }

    word->len = end - text;
    word->data = ngx_pnalloc(in->pool, word->len);

    if (word->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(word->data, text, word->len);

    return NGX_OK;
}


void
ngx_http_debug_watch_story_json(ngx_http_debug_out_t *out,
    ngx_http_debug_incident_t *in)
{
    ngx_str_t                     s, *word;
    ngx_uint_t                    i;
    ngx_http_debug_watch_rule_t  *rule;
    ngx_http_debug_watch_file_t  *file;

    static char  *units[] = { "microseconds", "hundredths of a percent",
                              "", "bytes", "seconds" };

    rule = in->rule;

    ngx_http_debug_out_print(out, "{\"v\":1,\"id\":\"%uL\",\"group\":",
                             in->fired);
    ngx_http_debug_json_string(out, &in->group);
    ngx_http_debug_out_literal(out, ",\"peer\":");
    ngx_http_debug_json_string(out, &in->side[0].name);
    ngx_http_debug_out_literal(out, ",\"sister\":");

    if (in->side[1].name.len) {
        ngx_http_debug_json_string(out, &in->side[1].name);

    } else {
        ngx_http_debug_out_literal(out, "null");
    }

    ngx_http_debug_out_literal(out, ",\n\"rule\":");
    ngx_http_debug_json_string(out, &rule->text);
    ngx_http_debug_out_literal(out, ",\"file\":");

    s.data = rule->file;
    s.len = ngx_strlen(rule->file);

    ngx_http_debug_json_string(out, &s);

    ngx_http_debug_out_print(out,
        ",\"line\":%ui,\"for\":%ui,\"cooldown\":%ui,\"per_hour\":%ui,"
        "\"factor\":%ui.%02ui,\"ceiling\":%ui",
        rule->line, rule->wait, rule->cooldown, rule->per_hour,
        rule->factor / 100, rule->factor % 100, rule->ceiling);

    ngx_http_debug_out_print(out,
        ",\n\"crossed\":%uL,\"met\":%uL,\"fired\":%uL,\"began\":%uL,"
        "\"ended\":", in->crossed, in->due, in->fired, in->began);

    if (in->ended) {
        ngx_http_debug_out_print(out, "%uL", in->ended);

    } else {
        ngx_http_debug_out_literal(out, "null");
    }

    ngx_http_debug_out_print(out,
        ",\n\"metric\":\"%V\",\"unit\":\"%s\",\"value\":%uL,\"floor\":%uL,"
        "\"hour\":", &rule->kind->name, units[rule->kind->unit],
        in->met.value, rule->floor);

    if (in->met.known) {
        ngx_http_debug_out_print(out, "%uL", in->met.usual);

    } else {
        ngx_http_debug_out_literal(out, "null");
    }

    if (in->cpu < 0) {
        ngx_http_debug_out_literal(out, ",\"cpu\":null");

    } else {
        ngx_http_debug_out_print(out, ",\"cpu\":%i", in->cpu);
    }

    ngx_http_debug_out_print(out, ",\"above_ceiling\":%s,\n\"words\":[",
                             in->above ? "true" : "false");

    word = in->words.elts;

    for (i = 0; i < in->words.nelts; i++) {
        ngx_http_debug_out_print(out, "%s\n", i ? "," : "");
        ngx_http_debug_json_string(out, &word[i]);
    }

    ngx_http_debug_out_literal(out, "],\n\"files\":[");

    file = in->files.elts;

    for (i = 0; i < in->files.nelts; i++) {
        ngx_http_debug_out_print(out, "%s\n{\"of\":\"%s\",\"kind\":\"%V\","
                                 "\"name\":\"%V\",\"size\":%O,\"error\":",
                                 i ? "," : "",
                                 file[i].of ? "sister" : "sick",
                                 &file[i].kind, &file[i].name, file[i].size);

        if (file[i].error.len) {
            ngx_http_debug_json_string(out, &file[i].error);

        } else {
            ngx_http_debug_out_literal(out, "null");
        }

        ngx_http_debug_out_literal(out, "}");
    }

    ngx_http_debug_out_literal(out, "]}\n");
}
