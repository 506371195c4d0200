
/*
 * /debug/stats: the fields of Go's thoas/stats for the whole nginx, then the
 * same and more for each server, group and peer.
 *
 * The numbers are printed here and not by jansson, since that can neither
 * print a float as Go does ("0.000001", "1") nor take one that is a text
 * already; the strings, with all that can go wrong in them, are jansson's.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <jansson.h>
#include "ngx_http_debug_faces.h"
#include "ngx_http_debug_go.h"
#include "ngx_http_debug_history.h"


/* one answer's series: a page can show no more, a script can ask for each */
#define NGX_HTTP_DEBUG_SERIES  64


static void ngx_http_debug_json_head(ngx_http_debug_out_t *out,
    ngx_http_debug_zone_t *zone, ngx_http_debug_row_t *total);
static void ngx_http_debug_json_counts(ngx_http_debug_out_t *out,
    ngx_http_debug_row_t *row);
static void ngx_http_debug_json_codes(ngx_http_debug_out_t *out,
    ngx_http_debug_row_t *row, ngx_uint_t second);
static void ngx_http_debug_json_time(ngx_http_debug_out_t *out, char *key,
    ngx_str_t *name, uint64_t ns);
static void ngx_http_debug_json_row(ngx_http_debug_out_t *out,
    ngx_http_debug_row_t *row);
static ngx_uint_t ngx_http_debug_json_shown(ngx_http_debug_entity_t *e,
    ngx_uint_t kinds, ngx_str_t *name);
static ngx_uint_t ngx_http_debug_json_charted(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e, ngx_http_debug_filter_t *filter);
static void ngx_http_debug_json_series(ngx_http_debug_out_t *out,
    ngx_http_debug_zone_t *zone, ngx_http_debug_entity_t *e, ngx_uint_t ring,
    uint64_t first, uint64_t last);
static int ngx_http_debug_json_dump(const char *buffer, size_t size,
    void *data);


void
ngx_http_debug_json_stats(ngx_http_debug_out_t *out,
    ngx_http_debug_zone_t *zone, ngx_http_debug_filter_t *filter,
    ngx_log_t *log)
{
    ngx_str_t                  name;
    ngx_uint_t                 i, n, more, peers, servers;
    uint32_t                  *next, *first;
    ngx_http_debug_row_t       row, total;
    ngx_http_debug_entity_t   *e, *p;

    n = ngx_min(ngx_http_debug_load(&zone->entities),
                NGX_HTTP_DEBUG_ENTITIES);

    /* the peers of each group, as chains of ids + 1 in the order of arrival */

    first = ngx_pcalloc(out->pool, 2 * n * sizeof(uint32_t));
    if (first == NULL) {
        out->failed = 1;
        return;
    }

    next = first + n;

    ngx_memzero(&total, sizeof(ngx_http_debug_row_t));

    for (i = n; i-- > 0; /* void */) {
        e = ngx_http_debug_zone_by_id(zone, i);
        if (e == NULL) {
            continue;
        }

        if (e->kind == NGX_HTTP_DEBUG_PEER && e->group < n) {
            next[i] = first[e->group];
            first[e->group] = i + 1;
        }

        if (e->kind == NGX_HTTP_DEBUG_SERVER) {
            ngx_http_debug_snapshot_row(zone, e, &row);
            ngx_http_debug_snapshot_add(&total, &row);
        }
    }

    ngx_http_debug_out_literal(out, "{");
    ngx_http_debug_json_head(out, zone, &total);

    servers = (filter->upstream.len == 0 && filter->peer.len == 0);

    ngx_http_debug_out_literal(out, ",\"servers\":{");

    for (i = 0, more = 0; servers && i < n; i++) {
        e = ngx_http_debug_zone_by_id(zone, i);

        if (!ngx_http_debug_json_shown(e, NGX_HTTP_DEBUG_SERVER,
                                       &filter->server))
        {
            continue;
        }

        if (more++) {
            ngx_http_debug_out_literal(out, ",");
        }

        name.len = e->len;
        name.data = e->name;

        ngx_http_debug_json_string(out, &name);
        ngx_http_debug_out_literal(out, ":{");

        ngx_http_debug_snapshot_row(zone, e, &row);
        ngx_http_debug_json_counts(out, &row);
        ngx_http_debug_json_row(out, &row);

        ngx_http_debug_out_literal(out, "}");
    }

    ngx_http_debug_out_literal(out, "},\"upstreams\":{");

    for (i = 0, more = 0; filter->server.len == 0 && i < n; i++) {
        e = ngx_http_debug_zone_by_id(zone, i);

        if (!ngx_http_debug_json_shown(e, NGX_HTTP_DEBUG_GROUPS
                                          |NGX_HTTP_DEBUG_OVERFLOW,
                                       &filter->upstream))
        {
            continue;
        }

        if (e->kind == NGX_HTTP_DEBUG_OVERFLOW
            && ngx_http_debug_load(&zone->dropped) == 0)
        {
            continue;
        }

        if (more++) {
            ngx_http_debug_out_literal(out, ",");
        }

        name.len = e->len;
        name.data = e->name;

        ngx_http_debug_json_string(out, &name);
        ngx_http_debug_out_literal(out, ":{");

        ngx_http_debug_snapshot_row(zone, e, &row);
        ngx_http_debug_json_counts(out, &row);
        ngx_http_debug_json_row(out, &row);

        ngx_http_debug_out_literal(out, ",\"peers\":{");

        for (peers = 0; first[i]; first[i] = next[first[i] - 1]) {
            p = ngx_http_debug_zone_by_id(zone, first[i] - 1);

            if (!ngx_http_debug_json_shown(p, NGX_HTTP_DEBUG_PEER,
                                           &filter->peer))
            {
                continue;
            }

            if (peers++) {
                ngx_http_debug_out_literal(out, ",");
            }

            name.len = p->len;
            name.data = p->name;

            ngx_http_debug_json_string(out, &name);
            ngx_http_debug_out_literal(out, ":{");

            ngx_http_debug_snapshot_row(zone, p, &row);
            ngx_http_debug_json_counts(out, &row);
            ngx_http_debug_json_row(out, &row);

            ngx_http_debug_out_literal(out, "}");
        }

        ngx_http_debug_out_literal(out, "}}");
    }

    ngx_http_debug_out_literal(out, "}}\n");
}


static ngx_uint_t
ngx_http_debug_json_shown(ngx_http_debug_entity_t *e, ngx_uint_t kinds,
    ngx_str_t *name)
{
    return e != NULL
           && (e->kind & kinds)
           && (name->len == 0
               || (e->len == name->len
                   && ngx_memcmp(e->name, name->data, name->len) == 0));
}


static void
ngx_http_debug_json_head(ngx_http_debug_out_t *out,
    ngx_http_debug_zone_t *zone, ngx_http_debug_row_t *total)
{
    u_char           *p;
    uint64_t          uptime, wall;
    struct timespec   ts;

    uptime = ngx_http_debug_now() - zone->start;

    (void) clock_gettime(CLOCK_REALTIME, &ts);
    wall = (uint64_t) ts.tv_sec * 1000000000 + ts.tv_nsec;

    ngx_http_debug_out_print(out, "\"pid\":%P,",
                             ngx_process == NGX_PROCESS_SINGLE ? ngx_pid
                                                               : ngx_parent);
    ngx_http_debug_json_time(out, "uptime", NULL, uptime);

    p = ngx_http_debug_out_room(out, 16 + NGX_HTTP_DEBUG_GO_LEN);
    if (p == NULL) {
        return;
    }

    p = ngx_cpymem(p, ",\"time\":\"", 9);
    p = ngx_http_debug_go_time(p, wall, uptime);
    *p++ = '"';

    ngx_http_debug_out_end(out, p);

    ngx_http_debug_out_print(out, ",\"unixtime\":%T,", ts.tv_sec);

    ngx_http_debug_json_counts(out, total);

    ngx_http_debug_out_print(out,
        ",\"generation\":%uL,\"reloaded\":%uL"
        ",\"zone\":{\"size\":%uL,\"used\":%uL,\"names\":%uL,\"dropped\":%uL}",
        ngx_http_debug_load(&zone->generation),
        ngx_http_debug_load(&zone->reloaded),
        ngx_http_debug_load(&zone->limit), ngx_http_debug_load(&zone->used),
        ngx_http_debug_load(&zone->entities),
        ngx_http_debug_load(&zone->dropped));
}


/* the eight fields that thoas/stats has */

static void
ngx_http_debug_json_counts(ngx_http_debug_out_t *out,
    ngx_http_debug_row_t *row)
{
    uint64_t  time;

    time = row->value[NGX_HTTP_DEBUG_TIME];

    ngx_http_debug_out_literal(out, "\"status_code_count\":");
    ngx_http_debug_json_codes(out, row, 1);

    ngx_http_debug_out_literal(out, ",\"total_status_code_count\":");
    ngx_http_debug_json_codes(out, row, 0);

    ngx_http_debug_out_print(out, ",\"count\":%uL,\"total_count\":%uL,",
                             row->second, row->count);

    ngx_http_debug_json_time(out, "total_response_time", NULL, time);
    ngx_http_debug_out_literal(out, ",");
    ngx_http_debug_json_time(out, "average_response_time", NULL,
                             row->count ? time / row->count : 0);
}


static void
ngx_http_debug_json_codes(ngx_http_debug_out_t *out,
    ngx_http_debug_row_t *row, ngx_uint_t second)
{
    uint64_t                n;
    ngx_uint_t              i, more;
    ngx_http_debug_code_t  *code;

    ngx_http_debug_out_literal(out, "{");

    for (i = 0, more = 0; i < row->ncodes; i++) {
        code = &row->code[i];
        n = second ? code->second : code->count;

        if (n == 0) {
            continue;
        }

        ngx_http_debug_out_print(out, code->code < 100 ? "%s\"%uDxx\":%uL"
                                                       : "%s\"%uD\":%uL",
                                 more++ ? "," : "", code->code, n);
    }

    ngx_http_debug_out_literal(out, "}");
}


/* Two fields: a Duration, and the same in seconds. */

static void
ngx_http_debug_json_time(ngx_http_debug_out_t *out, char *key,
    ngx_str_t *name, uint64_t ns)
{
    u_char     *p;
    ngx_str_t   literal;

    if (name == NULL) {
        literal.data = (u_char *) key;
        literal.len = ngx_strlen(key);
        name = &literal;
    }

    p = ngx_http_debug_out_room(out, 16 + 2 * (name->len
                                               + NGX_HTTP_DEBUG_GO_LEN));
    if (p == NULL) {
        return;
    }

    p = ngx_sprintf(p, "\"%V\":\"", name);
    p = ngx_http_debug_go_duration(p, ns);
    p = ngx_sprintf(p, "\",\"%V_sec\":", name);
    p = ngx_http_debug_go_seconds(p, ns);

    ngx_http_debug_out_end(out, p);
}


/* what else is kept, as the table has it */

static void
ngx_http_debug_json_row(ngx_http_debug_out_t *out, ngx_http_debug_row_t *row)
{
    u_char                   *p;
    uint64_t                  ns[NGX_HTTP_DEBUG_PERCENTILES + 2];
    ngx_uint_t                i, more;
    ngx_http_debug_entity_t  *e;
    ngx_http_debug_metric_t  *m;

    static char  *times[] = { "min", "p50", "p90", "p99", "p99.9", "max" };

    e = row->entity;

    ns[0] = row->min;
    ngx_memcpy(&ns[1], row->percentile, sizeof(row->percentile));
    ns[NGX_HTTP_DEBUG_PERCENTILES + 1] = row->max;

    ngx_http_debug_out_literal(out, ",\"response_time_sec\":{");

    for (i = 0; i < NGX_HTTP_DEBUG_PERCENTILES + 2; i++) {

        p = ngx_http_debug_out_room(out, 16 + NGX_HTTP_DEBUG_GO_LEN);
        if (p == NULL) {
            return;
        }

        p = ngx_sprintf(p, "%s\"%s\":", i ? "," : "", times[i]);

        if (row->measured) {
            p = ngx_http_debug_go_seconds(p, ns[i]);

        } else {
            p = ngx_cpymem(p, "null", 4);
        }

        ngx_http_debug_out_end(out, p);
    }

    ngx_http_debug_out_print(out, "},\"active\":%L", row->active);

    for (m = ngx_http_debug_metrics; m->json.len; m++) {

        if (!(m->kinds & e->kind)
            || m->label.len
            || m->metric == NGX_HTTP_DEBUG_TIME)
        {
            continue;
        }

        ngx_http_debug_out_literal(out, ",");

        if (m->unit == NGX_HTTP_DEBUG_SECONDS) {
            ngx_http_debug_json_time(out, NULL, &m->json,
                                     row->value[m->metric]);
            continue;
        }

        ngx_http_debug_out_print(out, "\"%V\":%uL", &m->json,
                                 row->value[m->metric]);
    }

    ngx_http_debug_out_literal(out, ",\"failures\":{");

    for (m = ngx_http_debug_metrics, more = 0; m->json.len; m++) {

        if (m->label.len == 0 || !(m->kinds & e->kind)) {
            continue;
        }

        ngx_http_debug_out_print(out, "%s\"%V\":%uL", more++ ? "," : "",
                                 &m->json, row->value[m->metric]);
    }

    ngx_http_debug_out_literal(out, "},\"last_failure\":");

    if (e->failed == 0) {
        ngx_http_debug_out_literal(out, "null");
        return;
    }

    for (m = ngx_http_debug_metrics; m->json.len; m++) {
        if (m->metric == e->failure) {
            ngx_http_debug_out_print(out, "{\"time\":%uL,\"cause\":\"%V\"}",
                                     ngx_http_debug_load(&e->failed),
                                     &m->json);
            return;
        }
    }

    ngx_http_debug_out_literal(out, "null");
}


void
ngx_http_debug_json_history(ngx_http_debug_out_t *out,
    ngx_http_debug_zone_t *zone, ngx_http_debug_filter_t *filter,
    ngx_uint_t ring, uint64_t since, ngx_uint_t n)
{
    uint64_t                  s, step, first, last, wall, offset, mark;
    ngx_uint_t                i, ids, shown, left;
    struct timespec           ts;
    ngx_http_debug_entity_t  *e;

    step = ngx_http_debug_rings[ring].step;

    (void) clock_gettime(CLOCK_REALTIME, &ts);
    wall = (uint64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;

    /* rings count the seconds of the monotonic clock */

    offset = wall - ngx_http_debug_now() / 1000000;

    last = ngx_http_debug_load(&zone->tick);

    if (last >= step) {
        last = (last + 1) / step * step - 1;
    }

    n = ngx_min(n, ngx_http_debug_rings[ring].points);
    first = (last + 1 > n * step) ? last + step - n * step : step - 1;

    if (since > offset) {
        s = (since - offset) / 1000;

        while (first <= last && first + 1 <= s) {
            first += step;
        }
    }

    ngx_http_debug_out_print(out, "{\"v\":1,\"step\":%uL,\"now\":%uL,\"t\":[",
                             step, wall);

    for (s = first; s <= last; s += step) {
        if (s != first) {
            ngx_http_debug_out_literal(out, ",");
        }

        ngx_http_debug_out_uint(out, (offset + (s + 1) * 1000) / 1000);
    }

    ngx_http_debug_out_literal(out, "],\"series\":[");

    ids = ngx_min(ngx_http_debug_load(&zone->entities),
                  NGX_HTTP_DEBUG_ENTITIES);

    shown = 0;
    left = 0;

    for (i = 0; i < ids; i++) {
        e = ngx_http_debug_zone_by_id(zone, i);

        if (!ngx_http_debug_json_charted(zone, e, filter)) {
            continue;
        }

        if (shown == NGX_HTTP_DEBUG_SERIES) {
            left++;
            continue;
        }

        if (shown++) {
            ngx_http_debug_out_literal(out, ",");
        }

        ngx_http_debug_json_series(out, zone, e, ring, first, last);
    }

    ngx_http_debug_out_print(out, "],\"left_out\":%ui,\"marks\":[", left);

    n = ngx_min(zone->nmarks, NGX_HTTP_DEBUG_MARKS);
    shown = 0;

    for (i = zone->nmarks - n; i < zone->nmarks; i++) {
        mark = zone->mark[i % NGX_HTTP_DEBUG_MARKS];

        if (mark > since) {
            ngx_http_debug_out_print(out, "%s[%uL,\"%s\"]",
                                     shown++ ? "," : "", mark,
                                     i ? "reload" : "start");
        }
    }

    ngx_http_debug_out_literal(out, "]}\n");
}


static ngx_uint_t
ngx_http_debug_json_charted(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e, ngx_http_debug_filter_t *filter)
{
    ngx_http_debug_entity_t  *group;

    if (e == NULL) {
        return 0;
    }

    if (e->kind == NGX_HTTP_DEBUG_PEER) {
        group = ngx_http_debug_zone_by_id(zone, e->group);

        return filter->server.len == 0
               && ngx_http_debug_json_shown(group, NGX_HTTP_DEBUG_GROUPS,
                                            &filter->upstream)
               && ngx_http_debug_json_shown(e, NGX_HTTP_DEBUG_PEER,
                                            &filter->peer);
    }

    if (e->kind == NGX_HTTP_DEBUG_SERVER) {
        return filter->upstream.len == 0 && filter->peer.len == 0
               && ngx_http_debug_json_shown(e, NGX_HTTP_DEBUG_SERVER,
                                            &filter->server);
    }

    return filter->server.len == 0 && filter->peer.len == 0
           && ngx_http_debug_json_shown(e, NGX_HTTP_DEBUG_GROUPS,
                                        &filter->upstream);
}


static void
ngx_http_debug_json_series(ngx_http_debug_out_t *out,
    ngx_http_debug_zone_t *zone, ngx_http_debug_entity_t *e, ngx_uint_t ring,
    uint64_t first, uint64_t last)
{
    uint32_t                 *point;
    uint64_t                  s;
    ngx_str_t                 name;
    ngx_uint_t                i;
    ngx_http_debug_ring_t    *rg;
    ngx_http_debug_entity_t  *group;

    rg = &ngx_http_debug_rings[ring];

    switch (e->kind) {

    case NGX_HTTP_DEBUG_SERVER:
        ngx_http_debug_out_literal(out, "{\"kind\":\"server\",\"server\":");
        break;

    case NGX_HTTP_DEBUG_PEER:
        ngx_http_debug_out_literal(out, "{\"kind\":\"peer\",\"upstream\":");

        group = ngx_http_debug_zone_by_id(zone, e->group);
        name.len = group->len;
        name.data = group->name;

        ngx_http_debug_json_string(out, &name);
        ngx_http_debug_out_literal(out, ",\"peer\":");
        break;

    default:
        ngx_http_debug_out_literal(out,
                                   "{\"kind\":\"upstream\",\"upstream\":");
    }

    name.len = e->len;
    name.data = e->name;

    ngx_http_debug_json_string(out, &name);

    for (i = 0; i < rg->values; i++) {

        ngx_http_debug_out_print(out, ",\"%V\":[",
                                 &ngx_http_debug_history_names[i]);

        for (s = first; s <= last; s += rg->step) {

            if (s != first) {
                ngx_http_debug_out_literal(out, ",");
            }

            point = ngx_http_debug_history_point(zone, e, ring, s);

            /* a second without requests has counts, but no times */

            if (point == NULL
                || (point[i] == 0
                    && ((i >= NGX_HTTP_DEBUG_H_P50
                         && i <= NGX_HTTP_DEBUG_H_P99)
                        || i >= NGX_HTTP_DEBUG_H_P99_MIN)))
            {
                ngx_http_debug_out_literal(out, "null");
                continue;
            }

            ngx_http_debug_out_uint(out, point[i]);
        }

        ngx_http_debug_out_literal(out, "]");
    }

    ngx_http_debug_out_literal(out, "}");
}


void
ngx_http_debug_json_string(ngx_http_debug_out_t *out, ngx_str_t *s)
{
    u_char     *p, *last, *from, *dst, *text;
    json_t     *json;

    json = json_stringn((char *) s->data, s->len);

    if (json == NULL) {

        /* U+FFFD takes three bytes */

        text = ngx_pnalloc(out->pool, 3 * s->len);
        if (text == NULL) {
            out->failed = 1;
            return;
        }

        dst = text;
        last = s->data + s->len;

        for (p = s->data; p < last; /* void */ ) {
            from = p;

            if (ngx_utf8_decode(&p, last - p) > 0x10ffff
                || (json = json_stringn((char *) from, p - from)) == NULL)
            {
                p = from + 1;
                dst = ngx_cpymem(dst, "\xef\xbf\xbd", 3);
                continue;
            }

            json_decref(json);
            dst = ngx_cpymem(dst, from, p - from);
        }

        json = json_stringn((char *) text, dst - text);
    }

    if (json == NULL
        || json_dump_callback(json, ngx_http_debug_json_dump, out,
                              JSON_ENCODE_ANY|JSON_COMPACT)
           != 0)
    {
        out->failed = 1;
    }

    json_decref(json);
}


static int
ngx_http_debug_json_dump(const char *buffer, size_t size, void *data)
{
    ngx_http_debug_out_put(data, (void *) buffer, size);

    return 0;
}
