
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


/*
 * A mark has the wall clock's time, a row ends up to a second off it: so much
 * before SINCE, in ms, marks are told once more.
 */
#define NGX_HTTP_DEBUG_JSON_LATE  2000


struct ngx_http_debug_json_s {
    ngx_http_debug_out_t     *out;
    ngx_http_debug_zone_t    *zone;
    ngx_http_debug_filter_t   filter;
    ngx_uint_t                ids;

    ngx_uint_t                phase;
    ngx_uint_t                id;        /* the next one */
    ngx_uint_t                more;      /* printed before it */

    /* /debug/stats */

    ngx_http_debug_peers_of_t  *peers;
    ngx_uint_t                inside;    /* the group's brace is open */
    ngx_uint_t                peer;      /* the next one in it, id + 1 */
    ngx_uint_t                printed;   /* of them before it */
    ngx_http_debug_row_t      total;

    /* /debug/charts/data */

    ngx_uint_t                ring;
    uint64_t                  since;
    ngx_uint_t                n;
    uint64_t                  begin;     /* seconds of the first and the */
    uint64_t                  end;       /* last point */
    ngx_uint_t                kinds;
    ngx_uint_t                most;      /* series with points */
    ngx_uint_t                left;      /* and without */
};


/* rows of one piece; some 100 us of work */
#define NGX_HTTP_DEBUG_JSON_ROWS  16


static ngx_uint_t ngx_http_debug_json_has_peer(ngx_http_debug_json_t *js,
    ngx_uint_t group);
static void ngx_http_debug_json_entity(ngx_http_debug_json_t *js,
    ngx_http_debug_entity_t *e, ngx_uint_t *more);
static void ngx_http_debug_json_head(ngx_http_debug_out_t *out,
    ngx_http_debug_zone_t *zone, ngx_http_debug_row_t *total);
static void ngx_http_debug_json_counts(ngx_http_debug_out_t *out,
    ngx_http_debug_row_t *row);
static void ngx_http_debug_json_codes(ngx_http_debug_out_t *out,
    ngx_http_debug_row_t *row, ngx_uint_t second);
static void ngx_http_debug_json_time(ngx_http_debug_out_t *out, char *key,
    ngx_str_t *name, uint64_t ns);
static void ngx_http_debug_json_state(ngx_http_debug_json_t *js,
    ngx_http_debug_row_t *row, ngx_uint_t brief);
static void ngx_http_debug_json_process(ngx_http_debug_json_t *js,
    ngx_http_debug_entity_t *e);
static void ngx_http_debug_json_caches(ngx_http_debug_json_t *js);
static void ngx_http_debug_json_total(ngx_http_debug_json_t *js);
static void ngx_http_debug_json_row(ngx_http_debug_out_t *out,
    ngx_http_debug_row_t *row);
static ngx_uint_t ngx_http_debug_json_shown(ngx_http_debug_entity_t *e,
    ngx_uint_t kinds, ngx_str_t *name);
static void ngx_http_debug_json_taken(ngx_http_debug_json_t *js,
    ngx_uint_t shown);
static ngx_uint_t ngx_http_debug_json_same(ngx_str_t *filter,
    ngx_str_t *name);
static void ngx_http_debug_json_history_head(ngx_http_debug_json_t *js);
static ngx_uint_t ngx_http_debug_json_charted(ngx_http_debug_json_t *js,
    ngx_http_debug_entity_t *e);
static void ngx_http_debug_json_series(ngx_http_debug_json_t *js,
    ngx_http_debug_entity_t *e);
static void ngx_http_debug_json_name(ngx_http_debug_json_t *js,
    ngx_http_debug_entity_t *e);
static int ngx_http_debug_json_dump(const char *buffer, size_t size,
    void *data);


ngx_http_debug_json_t *
ngx_http_debug_json_create(ngx_http_debug_out_t *out,
    ngx_http_debug_zone_t *zone, ngx_http_debug_filter_t *filter)
{
    ngx_http_debug_json_t  *js;

    js = ngx_pcalloc(out->pool, sizeof(ngx_http_debug_json_t));
    if (js == NULL) {
        return NULL;
    }

    js->out = out;
    js->zone = zone;
    js->filter = *filter;

    js->peers = ngx_http_debug_snapshot_peers(out->pool, zone);
    if (js->peers == NULL) {
        return NULL;
    }

    js->ids = js->peers->ids;

    return js;
}


ngx_int_t
ngx_http_debug_json_stats_step(void *data)
{
    ngx_http_debug_json_t *js = data;

    ngx_uint_t                rows;
    ngx_http_debug_entity_t  *e;

    if (js->out->failed) {
        return NGX_OK;
    }

    switch (js->phase) {

    case 0:

        ngx_http_debug_json_total(js);

        ngx_http_debug_out_literal(js->out, "{");
        ngx_http_debug_json_head(js->out, js->zone, &js->total);
        ngx_http_debug_out_literal(js->out, ",\"servers\":{");

        js->phase = 1;

        /* fall through */

    case 1:

        for (rows = 0; js->id < js->ids; js->id++) {
            e = ngx_http_debug_zone_by_id(js->zone, js->id);

            if (js->filter.upstream.len || js->filter.peer.len
                || !ngx_http_debug_json_shown(e, NGX_HTTP_DEBUG_SERVER,
                                              &js->filter.server))
            {
                continue;
            }

            if (rows++ == NGX_HTTP_DEBUG_JSON_ROWS) {
                return NGX_AGAIN;
            }

            ngx_http_debug_json_entity(js, e, &js->more);
            ngx_http_debug_out_literal(js->out, "}");
        }

        ngx_http_debug_out_literal(js->out, "},\"upstreams\":{");

        js->phase = 2;
        js->id = 0;
        js->more = 0;

        /* fall through */

    default:

        for (rows = 0; js->id < js->ids; js->id++) {

            e = ngx_http_debug_zone_by_id(js->zone, js->id);

            if (js->filter.server.len
                || !ngx_http_debug_json_shown(e, NGX_HTTP_DEBUG_GROUPS,
                                              &js->filter.upstream)
                || (e->kind == NGX_HTTP_DEBUG_OVERFLOW
                    && ngx_http_debug_load(&js->zone->dropped) == 0))
            {
                continue;
            }

            if (!js->inside) {

                if (js->filter.peer.len
                    && !ngx_http_debug_json_has_peer(js, js->id))
                {
                    continue;
                }

                js->inside = 1;
                js->peer = js->peers->first[js->id];
                js->printed = 0;

                ngx_http_debug_json_entity(js, e, &js->more);
                ngx_http_debug_out_literal(js->out, ",\"peers\":{");
            }

            while (js->peer) {

                if (rows++ == NGX_HTTP_DEBUG_JSON_ROWS) {
                    return NGX_AGAIN;
                }

                e = ngx_http_debug_zone_by_id(js->zone, js->peer - 1);
                js->peer = js->peers->next[js->peer - 1];

                if (ngx_http_debug_json_shown(e, NGX_HTTP_DEBUG_PEER,
                                              &js->filter.peer)
                    && e->group == js->id)
                {
                    ngx_http_debug_json_entity(js, e, &js->printed);
                    ngx_http_debug_out_literal(js->out, "}");
                }
            }

            js->inside = 0;
            ngx_http_debug_out_literal(js->out, "}}");
        }
    }

    ngx_http_debug_out_literal(js->out, "}");

    if (js->filter.server.len == 0 && js->filter.upstream.len == 0
        && js->filter.peer.len == 0)
    {
        ngx_http_debug_json_caches(js);
    }

    ngx_http_debug_out_literal(js->out, "}\n");

    return NGX_OK;
}


/* What each zone of proxy_cache and its kin had. */

static void
ngx_http_debug_json_caches(ngx_http_debug_json_t *js)
{
    ngx_uint_t                   i, rows, status;
    ngx_http_debug_cache_row_t  *row;

    row = ngx_palloc(js->out->pool, NGX_HTTP_DEBUG_CACHES
                                    * sizeof(ngx_http_debug_cache_row_t));
    if (row == NULL) {
        js->out->failed = 1;
        return;
    }

    rows = ngx_http_debug_snapshot_caches(js->zone, row);

    ngx_http_debug_out_literal(js->out, ",\"caches\":{");

    for (i = 0; i < rows; i++) {
        ngx_http_debug_out_print(js->out, "%s", i ? "," : "");
        ngx_http_debug_json_string(js->out, &row[i].name);

        for (status = 1; status < NGX_HTTP_DEBUG_CACHE_STATES; status++) {
            ngx_http_debug_out_print(js->out, "%s\"%s\":%uL",
                                     status == 1 ? ":{" : ",",
                                     ngx_http_debug_cache_states[status],
                                     row[i].count[status]);
        }

        ngx_http_debug_out_literal(js->out, "}");
    }

    ngx_http_debug_out_literal(js->out, "}");
}


/* Of all servers, those that are no more included. */

static void
ngx_http_debug_json_total(ngx_http_debug_json_t *js)
{
    uint64_t                  fold;
    ngx_uint_t                i;
    ngx_http_debug_row_t      row;
    ngx_http_debug_entity_t  *e, *gone;

    gone = ngx_http_debug_zone_at(js->zone, js->zone->gone);

    do {
        ngx_memzero(&js->total, sizeof(ngx_http_debug_row_t));

        fold = __atomic_load_n(&gone->fold, __ATOMIC_ACQUIRE);

        for (i = 0; i < js->ids; i++) {
            e = ngx_http_debug_zone_by_id(js->zone, i);

            if (e && (e == gone
                      || (e->kind == NGX_HTTP_DEBUG_SERVER
                          && i + 1 != ngx_http_debug_folded(fold))))
            {
                ngx_http_debug_snapshot_row(js->zone, NULL, e, &row);
                ngx_http_debug_snapshot_add(&js->total, &row);
            }
        }

        __atomic_thread_fence(__ATOMIC_ACQUIRE);

    } while (ngx_http_debug_load(&gone->fold) != fold);
}


/* Does the group have the peer that is asked for? */

static ngx_uint_t
ngx_http_debug_json_has_peer(ngx_http_debug_json_t *js, ngx_uint_t group)
{
    uint32_t  k;

    for (k = js->peers->first[group]; k; k = js->peers->next[k - 1]) {
        if (ngx_http_debug_json_shown(ngx_http_debug_zone_by_id(js->zone,
                                                                k - 1),
                                      NGX_HTTP_DEBUG_PEER, &js->filter.peer))
        {
            return 1;
        }
    }

    return 0;
}


/* "name":{ and all of its fields; the brace stays open. */

static void
ngx_http_debug_json_entity(ngx_http_debug_json_t *js,
    ngx_http_debug_entity_t *e, ngx_uint_t *more)
{
    char                 *suffix;
    ngx_str_t             name;
    ngx_http_debug_row_t  row;

    if ((*more)++) {
        ngx_http_debug_out_literal(js->out, ",");
    }

    name.len = e->len;
    name.data = e->name;

    /* a key stands once: a group of the configuration has it as it is */

    suffix = (e->kind == NGX_HTTP_DEBUG_HOST) ? " (variable)"
             : (e->kind == NGX_HTTP_DEBUG_OVERFLOW) ? " (overflow)" : NULL;

    if (suffix
        && ngx_http_debug_zone_find(js->zone, NGX_HTTP_DEBUG_GROUP, 0, &name))
    {
        name.data = ngx_pnalloc(js->out->pool, e->len + ngx_strlen(suffix));
        if (name.data == NULL) {
            js->out->failed = 1;
            return;
        }

        name.len = ngx_sprintf(name.data, "%*s%s", (size_t) e->len, e->name,
                               suffix)
                   - name.data;
    }

    ngx_http_debug_json_string(js->out, &name);
    ngx_http_debug_out_literal(js->out, ":{");

    ngx_http_debug_snapshot_row(js->zone, js->peers, e, &row);
    ngx_http_debug_json_counts(js->out, &row);
    ngx_http_debug_json_row(js->out, &row);

    if (e->kind == NGX_HTTP_DEBUG_PEER) {
        ngx_http_debug_json_state(js, &row, 0);

    } else {
        ngx_http_debug_out_print(js->out, ",\"configured\":%s",
                                 ngx_http_debug_zone_named(e) ? "true"
                                                              : "false");
    }
}


/* A peer's, and what the configuration says of it. */

static void
ngx_http_debug_json_state(ngx_http_debug_json_t *js,
    ngx_http_debug_row_t *row, ngx_uint_t brief)
{
    ngx_str_t                 reason;
    ngx_http_debug_state_t    state;
    ngx_http_debug_entity_t  *e;

    e = row->entity;

    ngx_http_debug_snapshot_state(js->zone, js->peers, row, &state);

    reason.len = state.len;
    reason.data = state.reason;

    ngx_http_debug_out_print(js->out, ",\"state\":\"%V\",\"reason\":",
                             &ngx_http_debug_state_names[state.state]);
    ngx_http_debug_json_string(js->out, &reason);

    if (brief) {
        return;
    }

    ngx_http_debug_out_print(js->out,
        ",\"up\":%s,\"weight\":%uD,\"backup\":%s,\"configured\":%s",
        state.up == -1 ? "null" : state.up ? "true" : "false", e->weight,
        (e->marks & NGX_HTTP_DEBUG_BACKUP) ? "true" : "false",
        ngx_http_debug_zone_named(e) ? "true" : "false");

    ngx_http_debug_json_process(js, e);
}


/* What its process says of itself. */

static void
ngx_http_debug_json_process(ngx_http_debug_json_t *js,
    ngx_http_debug_entity_t *e)
{
    u_char      *p, text[NGX_HTTP_DEBUG_GO_LEN];
    int64_t      age;
    uint64_t     value[NGX_HTTP_DEBUG_PROCESS_VALUES];
    ngx_str_t    seconds;
    ngx_uint_t   i;

    static char  *names[NGX_HTTP_DEBUG_PROCESS_VALUES] = {
        "resident_memory_bytes", "heap_bytes", "cpu_seconds", "threads",
        "open_fds"
    };

    age = ngx_http_debug_snapshot_process(e, value);

    if (age < 0) {
        ngx_http_debug_out_literal(js->out, ",\"process\":null");
        return;
    }

    seconds.data = text;

    p = ngx_http_debug_go_seconds(text, age / 1000000 * 1000000);
    seconds.len = p - text;

    ngx_http_debug_out_print(js->out, ",\"process\":{\"age_seconds\":%V",
                             &seconds);

    for (i = 0; i < NGX_HTTP_DEBUG_PROCESS_VALUES; i++) {

        if (value[i] == NGX_HTTP_DEBUG_PROCESS_UNKNOWN) {
            continue;
        }

        p = (i == NGX_HTTP_DEBUG_PROCESS_CPU)
            ? ngx_http_debug_go_seconds(text, value[i])
            : ngx_sprintf(text, "%uL", value[i]);
        seconds.len = p - text;

        ngx_http_debug_out_print(js->out, ",\"%s\":%V", names[i], &seconds);
    }

    ngx_http_debug_out_literal(js->out, "}");
}


static ngx_uint_t
ngx_http_debug_json_shown(ngx_http_debug_entity_t *e, ngx_uint_t kinds,
    ngx_str_t *name)
{
    return ngx_http_debug_filter_has(name, e)
           && (e->kind & kinds)
           && ngx_http_debug_zone_shown(e);
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
        ",\"zone\":{\"size\":%uL,\"used\":%uL,\"names\":%uL,\"dropped\":%uL"
        ",\"missing\":%uL,\"without_history\":%ui}",
        ngx_http_debug_load(&zone->generation),
        ngx_http_debug_load(&zone->reloaded),
        ngx_http_debug_load(&zone->limit), ngx_http_debug_load(&zone->used),
        ngx_http_debug_load(&zone->entities),
        ngx_http_debug_load(&zone->dropped),
        ngx_http_debug_load(&zone->missing),
        ngx_http_debug_zone_without(zone));
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

        if (n == 0 || code->code >= NGX_HTTP_DEBUG_GRPC) {
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

    ngx_http_debug_out_print(out, "},\"active\":%L,\"last_second\":%uL",
                             row->active, ngx_http_debug_snapshot_rate(row));

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

    if (e->kind != NGX_HTTP_DEBUG_SERVER) {

        ngx_http_debug_out_literal(out, "},\"grpc_failures\":{");

        for (i = 0, more = 0; i < row->ncodes; i++) {

            if (row->code[i].code >= NGX_HTTP_DEBUG_GRPC) {
                ngx_http_debug_out_print(out, "%s\"%uD\":%uL",
                                   more++ ? "," : "",
                                   row->code[i].code - NGX_HTTP_DEBUG_GRPC,
                                   row->code[i].count);
            }
        }
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
ngx_http_debug_json_history(ngx_http_debug_json_t *js, ngx_uint_t ring,
    uint64_t since, ngx_uint_t n, ngx_uint_t kinds, ngx_uint_t most)
{
    js->kinds = kinds;
    js->most = most;
    js->ring = ring;
    js->since = since;
    js->n = ngx_min(n, ngx_http_debug_rings[ring].points);
}


ngx_int_t
ngx_http_debug_json_history_step(void *data)
{
    ngx_http_debug_json_t *js = data;

    uint64_t                  mark;
    ngx_uint_t                i, n, rows, shown;
    ngx_http_debug_entity_t  *e;

    if (js->out->failed) {
        return NGX_OK;
    }

    if (js->phase == 0) {
        ngx_http_debug_json_history_head(js);
        js->phase = 1;
    }

    /* servers and groups first: of what is left out they have the sums */

    for (rows = 0; js->id < 2 * js->ids; js->id++) {
        e = ngx_http_debug_zone_by_id(js->zone, js->id % js->ids);

        if (!ngx_http_debug_json_charted(js, e)
            || (e->kind == NGX_HTTP_DEBUG_PEER) != (js->id >= js->ids))
        {
            continue;
        }

        if (js->more == js->most) {

            if (rows++ == NGX_HTTP_DEBUG_JSON_ROWS) {
                return NGX_AGAIN;
            }

            ngx_http_debug_out_print(js->out, "%s",
                                     js->left++ ? "," : "],\"others\":[");
            ngx_http_debug_json_name(js, e);
            ngx_http_debug_out_literal(js->out, "}");
            continue;
        }

        if (js->more++) {
            ngx_http_debug_out_literal(js->out, ",");
        }

        ngx_http_debug_json_series(js, e);
        js->id++;

        return NGX_AGAIN;
    }

    ngx_http_debug_out_print(js->out, "]%s,\"left_out\":%ui,\"marks\":[",
                             js->left ? "" : ",\"others\":[]", js->left);

    n = ngx_min(js->zone->nmarks, NGX_HTTP_DEBUG_MARKS);
    shown = 0;

    for (i = js->zone->nmarks - n; i < js->zone->nmarks; i++) {
        mark = js->zone->mark[i % NGX_HTTP_DEBUG_MARKS];

        if (mark + NGX_HTTP_DEBUG_JSON_LATE > js->since) {
            ngx_http_debug_out_print(js->out, "%s[%uL,\"%s\"]",
                                     shown++ ? "," : "", mark,
                                     i ? "reload" : "start");
        }
    }

    ngx_http_debug_json_taken(js, shown);

    ngx_http_debug_out_literal(js->out, "]}\n");

    return NGX_OK;
}


/* Profiles that were taken are marks too: [ms, kind, group, peer]. */

static void
ngx_http_debug_json_taken(ngx_http_debug_json_t *js, ngx_uint_t shown)
{
    uint64_t                i, n;
    ngx_str_t               group, peer, kind;
    ngx_http_debug_taken_t  taken;

    n = ngx_http_debug_load(&js->zone->ntaken);

    for (i = n - ngx_min(n, NGX_HTTP_DEBUG_TAKEN); i < n; i++) {

        if (ngx_http_debug_history_get_taken(js->zone, i, &taken) != NGX_OK
            || taken.time + NGX_HTTP_DEBUG_JSON_LATE <= js->since)
        {
            continue;
        }

        group.len = taken.group_len;
        group.data = taken.group;
        peer.len = taken.peer_len;
        peer.data = taken.peer;
        kind.len = taken.kind_len;
        kind.data = taken.kind;

        if (js->filter.server.len
            || !ngx_http_debug_json_same(&js->filter.upstream, &group)
            || !ngx_http_debug_json_same(&js->filter.peer, &peer))
        {
            continue;
        }

        ngx_http_debug_out_print(js->out, "%s[%uL,", shown++ ? "," : "",
                                 taken.time);
        ngx_http_debug_json_string(js->out, &kind);
        ngx_http_debug_out_literal(js->out, ",");
        ngx_http_debug_json_string(js->out, &group);
        ngx_http_debug_out_literal(js->out, ",");
        ngx_http_debug_json_string(js->out, &peer);
        ngx_http_debug_out_literal(js->out, "]");
    }
}


/* Whether NAME is what the filter wants. */

static ngx_uint_t
ngx_http_debug_json_same(ngx_str_t *filter, ngx_str_t *name)
{
    return filter->len == 0
           || (filter->len == name->len
               && ngx_strncmp(filter->data, name->data, name->len) == 0);
}


static void
ngx_http_debug_json_history_head(ngx_http_debug_json_t *js)
{
    uint64_t         s, step, wall, offset;
    struct timespec  ts;

    step = ngx_http_debug_rings[js->ring].step;

    (void) clock_gettime(CLOCK_REALTIME, &ts);
    wall = (uint64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;

    /* rings count the seconds of the monotonic clock; T is at a point's end */

    offset = (wall - ngx_http_debug_now() / 1000000 + 500) / 1000 + 1;

    /* a point is known by the last second of its step */

    js->end = (ngx_http_debug_load(&js->zone->tick) + 1) / step * step;
    js->begin = js->end - ngx_min(js->end, js->n * step) + step - 1;
    js->end -= ngx_min(js->end, 1);

    while (js->begin <= js->end && offset + js->begin <= js->since / 1000) {
        js->begin += step;
    }

    ngx_http_debug_out_print(js->out,
                             "{\"v\":1,\"step\":%uL,\"now\":%uL,\"t\":[",
                             step, wall);

    for (s = js->begin; s <= js->end; s += step) {
        if (s != js->begin) {
            ngx_http_debug_out_literal(js->out, ",");
        }

        ngx_http_debug_out_uint(js->out, offset + s);
    }

    ngx_http_debug_out_literal(js->out, "],\"series\":[");
}


static ngx_uint_t
ngx_http_debug_json_charted(ngx_http_debug_json_t *js,
    ngx_http_debug_entity_t *e)
{
    ngx_http_debug_filter_t  *filter;
    ngx_http_debug_entity_t  *group;

    filter = &js->filter;

    if (e == NULL || !(e->kind & js->kinds)) {
        return 0;
    }

    if (e->kind == NGX_HTTP_DEBUG_PEER) {
        group = ngx_http_debug_zone_by_id(js->zone, e->group);

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
           && (e->kind != NGX_HTTP_DEBUG_OVERFLOW
               || ngx_http_debug_load(&js->zone->dropped))
           && ngx_http_debug_json_shown(e, NGX_HTTP_DEBUG_GROUPS,
                                        &filter->upstream);
}


static void
ngx_http_debug_json_series(ngx_http_debug_json_t *js,
    ngx_http_debug_entity_t *e)
{
    uint32_t               *point;
    uint64_t                s;
    ngx_uint_t              i;
    ngx_http_debug_row_t    row;
    ngx_http_debug_ring_t  *rg;

    rg = &ngx_http_debug_rings[js->ring];

    ngx_http_debug_json_name(js, e);

    if (e->kind == NGX_HTTP_DEBUG_PEER) {
        ngx_http_debug_snapshot_row(js->zone, js->peers, e, &row);
        ngx_http_debug_json_state(js, &row, 1);
    }

    for (i = 0; i < rg->values; i++) {

        ngx_http_debug_out_print(js->out, ",\"%V\":[",
                                 &ngx_http_debug_history_names[i]);

        for (s = js->begin; s <= js->end; s += rg->step) {

            if (s != js->begin) {
                ngx_http_debug_out_literal(js->out, ",");
            }

            point = ngx_http_debug_history_point(js->zone, e, js->ring, s);

            /* a second without requests has counts, but no times */

            if (point == NULL
                || (point[i] == 0
                    && ((i >= NGX_HTTP_DEBUG_H_P50
                         && i <= NGX_HTTP_DEBUG_H_P99)
                        || i >= NGX_HTTP_DEBUG_H_P99_MIN)))
            {
                ngx_http_debug_out_literal(js->out, "null");
                continue;
            }

            ngx_http_debug_out_uint(js->out, point[i]);
        }

        ngx_http_debug_out_literal(js->out, "]");
    }

    ngx_http_debug_out_literal(js->out, "}");
}


/* Whose series it is; the brace stays open. */

static void
ngx_http_debug_json_name(ngx_http_debug_json_t *js,
    ngx_http_debug_entity_t *e)
{
    ngx_str_t                 name;
    ngx_http_debug_entity_t  *group;

    switch (e->kind) {

    case NGX_HTTP_DEBUG_SERVER:
        ngx_http_debug_out_literal(js->out,
                                   "{\"kind\":\"server\",\"server\":");
        break;

    case NGX_HTTP_DEBUG_PEER:
        ngx_http_debug_out_literal(js->out,
                                   "{\"kind\":\"peer\",\"upstream\":");

        group = ngx_http_debug_zone_by_id(js->zone, e->group);

        if (group == NULL) {

            /* it has just gone, and so has the peer */

            ngx_http_debug_out_literal(js->out, "\"\",\"peer\":");
            break;
        }

        name.len = group->len;
        name.data = group->name;

        ngx_http_debug_json_string(js->out, &name);
        ngx_http_debug_out_literal(js->out, ",\"peer\":");
        break;

    default:
        ngx_http_debug_out_literal(js->out,
                                   "{\"kind\":\"upstream\",\"upstream\":");
    }

    name.len = e->len;
    name.data = e->name;

    ngx_http_debug_json_string(js->out, &name);
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

            if (*p < 0x80) {

                /* which ngx_utf8_decode() does not know */

                *dst++ = *p++;
                continue;
            }

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
