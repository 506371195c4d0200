
/*
 * /debug/metrics: the snapshot for Prometheus, in any of its formats.
 *
 * One pass over the cells makes all rows; then each family is printed as one
 * block, as the formats demand.  There are no total rows, which queries would
 * add up once more.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <nginx.h>
#include "ngx_http_debug_prometheus.h"


/* of one piece; some 100 us of work */
#define NGX_HTTP_DEBUG_PIECE_ROWS   32
#define NGX_HTTP_DEBUG_PIECE_LINES  512


static void ngx_http_debug_prometheus_nginx(ngx_http_debug_prometheus_t *p);
static void ngx_http_debug_prometheus_some(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_family_t *family, ngx_uint_t n, ngx_str_t *label,
    uint64_t *value, ngx_http_debug_unit_e unit);
#if (NGX_STAT_STUB)
static void ngx_http_debug_prometheus_connections(
    ngx_http_debug_prometheus_t *p);
#endif
static void ngx_http_debug_prometheus_caches(ngx_http_debug_prometheus_t *p);
static ngx_int_t ngx_http_debug_prometheus_rows(
    ngx_http_debug_prometheus_t *p);
static ngx_uint_t ngx_http_debug_prometheus_shown(
    ngx_http_debug_prometheus_t *p, ngx_http_debug_entity_t *e);
static ngx_int_t ngx_http_debug_prometheus_print(
    ngx_http_debug_prometheus_t *p);
static ngx_http_debug_metric_t *ngx_http_debug_prometheus_family(
    ngx_http_debug_prometheus_t *p, ngx_uint_t sparse, ngx_uint_t *lines);
static void ngx_http_debug_prometheus_begin(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_family_t *family);
static void ngx_http_debug_prometheus_fixed(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_series_t *s, ngx_uint_t *done);
static void ngx_http_debug_prometheus_state(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_series_t *s);
static void ngx_http_debug_prometheus_process(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_series_t *s);
static void ngx_http_debug_prometheus_responses(
    ngx_http_debug_prometheus_t *p, ngx_http_debug_series_t *s);


static ngx_str_t  ngx_http_debug_prometheus_none = ngx_null_string;


static ngx_http_debug_scope_t  ngx_http_debug_scopes[] = {
    { NGX_HTTP_DEBUG_SERVER, ngx_string("nginx_debug_server_"), 0 },
    { NGX_HTTP_DEBUG_GROUPS, ngx_string("nginx_debug_upstream_"), 0 },
    { NGX_HTTP_DEBUG_PEER, ngx_string("nginx_debug_peer_"), 1 },
    { 0, ngx_null_string, 0 }
};


/* What is not in the table; its rows come after these. */

enum {
    NGX_HTTP_DEBUG_FAMILY_RESPONSES = 0,
    NGX_HTTP_DEBUG_FAMILY_TIME,
    NGX_HTTP_DEBUG_FAMILY_ACTIVE,
    NGX_HTTP_DEBUG_FAMILY_LAST,
    NGX_HTTP_DEBUG_FAMILY_FAILED,
    NGX_HTTP_DEBUG_FAMILY_CONFIGURED,
    NGX_HTTP_DEBUG_FAMILY_UP,
    NGX_HTTP_DEBUG_FAMILY_STATE,
    NGX_HTTP_DEBUG_FAMILY_WEIGHT,
    NGX_HTTP_DEBUG_FAMILY_GRPC,
    NGX_HTTP_DEBUG_FAMILY_PROCESS,       /* as many as there are values */
    NGX_HTTP_DEBUG_FAMILY_PROCESS_LAST = NGX_HTTP_DEBUG_FAMILY_PROCESS
                                         + NGX_HTTP_DEBUG_PROCESS_VALUES - 1,
    NGX_HTTP_DEBUG_FAMILY_PROCESS_AGE,
    NGX_HTTP_DEBUG_FAMILY_TABLE
};


static ngx_http_debug_family_t  ngx_http_debug_families[] = {

    { ngx_string("responses_total"),
      NGX_HTTP_DEBUG_COUNTER, NGX_HTTP_DEBUG_ANY,
      ngx_string("Responses by status code.") },

    { ngx_string("response_time_seconds"),
      NGX_HTTP_DEBUG_HISTOGRAM, NGX_HTTP_DEBUG_ANY,
      ngx_string("Time to the end of the response or the timeout.") },

    { ngx_string("active"),
      NGX_HTTP_DEBUG_GAUGE, NGX_HTTP_DEBUG_ANY,
      ngx_string("Under way.") },

    { ngx_string("last_second"),
      NGX_HTTP_DEBUG_GAUGE, NGX_HTTP_DEBUG_ANY,
      ngx_string("Responses in the last second.") },

    { ngx_string("last_failure_time_seconds"),
      NGX_HTTP_DEBUG_GAUGE, NGX_HTTP_DEBUG_ANY,
      ngx_string("When an answer last did not come.") },

    { ngx_string("configured"),
      NGX_HTTP_DEBUG_GAUGE, NGX_HTTP_DEBUG_ANY,
      ngx_string("1: the configuration in force names it.") },

    { ngx_string("up"),
      NGX_HTTP_DEBUG_GAUGE, NGX_HTTP_DEBUG_PEER,
      ngx_string("0: it is down or hanging.") },

    { ngx_string("state"),
      NGX_HTTP_DEBUG_GAUGE, NGX_HTTP_DEBUG_PEER,
      ngx_string("1, with the state as a label.") },

    { ngx_string("weight"),
      NGX_HTTP_DEBUG_GAUGE, NGX_HTTP_DEBUG_PEER,
      ngx_string("Its weight in the configuration.") },

    { ngx_string("grpc_failures_total"),
      NGX_HTTP_DEBUG_COUNTER, NGX_HTTP_DEBUG_UPSTREAM,
      ngx_string("Failures of causes grpc and grpc_call by grpc-status.") },

    /* in the order of their values */

    { ngx_string("process_resident_memory_bytes"),
      NGX_HTTP_DEBUG_GAUGE, NGX_HTTP_DEBUG_PEER,
      ngx_string("Memory of its process that is resident.") },

    { ngx_string("process_heap_bytes"),
      NGX_HTTP_DEBUG_GAUGE, NGX_HTTP_DEBUG_PEER,
      ngx_string("Memory that its process has allocated and not freed.") },

    { ngx_string("process_cpu_seconds_total"),
      NGX_HTTP_DEBUG_COUNTER, NGX_HTTP_DEBUG_PEER|NGX_HTTP_DEBUG_FOREIGN,
      ngx_string("CPU time of its process.") },

    { ngx_string("process_threads"),
      NGX_HTTP_DEBUG_GAUGE, NGX_HTTP_DEBUG_PEER,
      ngx_string("Threads of its process.") },

    { ngx_string("process_open_fds"),
      NGX_HTTP_DEBUG_GAUGE, NGX_HTTP_DEBUG_PEER,
      ngx_string("File descriptors of its process.") },

    { ngx_string("process_age_seconds"),
      NGX_HTTP_DEBUG_GAUGE, NGX_HTTP_DEBUG_PEER,
      ngx_string("How old these numbers of its process are.") }
};


ngx_http_debug_prometheus_t *
ngx_http_debug_prometheus_create(ngx_http_debug_out_t *out,
    ngx_http_debug_zone_t *zone, ngx_http_debug_format_t *format,
    ngx_http_debug_filter_t *filter)
{
    ngx_http_debug_prometheus_t  *p;

    p = ngx_pcalloc(out->pool, sizeof(ngx_http_debug_prometheus_t));
    if (p == NULL) {
        return NULL;
    }

    p->out = out;
    p->zone = zone;
    p->format = format;
    p->filter = *filter;

    p->peers = ngx_http_debug_snapshot_peers(out->pool, zone);
    if (p->peers == NULL) {
        return NULL;
    }

    p->ids = p->peers->ids;

    p->series = ngx_palloc(out->pool,
                           p->ids * sizeof(ngx_http_debug_series_t));

    return p->series ? p : NULL;
}


ngx_int_t
ngx_http_debug_prometheus_step(void *data)
{
    ngx_http_debug_prometheus_t *p = data;

    if (p->scope == NULL) {
        ngx_http_debug_prometheus_nginx(p);
        p->scope = ngx_http_debug_scopes;
    }

    if (p->out->failed) {
        return NGX_OK;
    }

    if (ngx_http_debug_prometheus_rows(p) == NGX_AGAIN
        || ngx_http_debug_prometheus_print(p) == NGX_AGAIN)
    {
        return NGX_AGAIN;
    }

    ngx_memzero(p->any, sizeof(p->any));

    p->scope++;
    p->n = 0;
    p->id = 0;
    p->at = 0;

    if (p->scope->kinds) {
        return NGX_AGAIN;
    }

    if (p->format->end) {
        p->format->end(p);
    }

    return NGX_OK;
}


/* What nginx itself has. */

static void
ngx_http_debug_prometheus_nginx(ngx_http_debug_prometheus_t *p)
{
    ngx_uint_t  i;

    static ngx_http_debug_scope_t  scope = {
        0, ngx_string("nginx_debug_"), 0
    };

    static ngx_str_t  build = ngx_string(
        "version=\"" NGX_HTTP_DEBUG_VERSION "\",nginx=\"" NGINX_VERSION "\"");

    struct {
        ngx_http_debug_family_t  family;
        ngx_http_debug_unit_e    unit;
        uint64_t                 value;
        ngx_str_t               *label;
    } rows[] = {
        { { ngx_string("build_info"), NGX_HTTP_DEBUG_GAUGE, 0,
            ngx_string("What the module was built for; always 1.") },
          NGX_HTTP_DEBUG_COUNT, 1, &build },
        { { ngx_string("start_time_seconds"), NGX_HTTP_DEBUG_GAUGE, 0,
            ngx_string("When counting began.") },
          NGX_HTTP_DEBUG_SECONDS, p->zone->started,
          &ngx_http_debug_prometheus_none },
        { { ngx_string("reload_time_seconds"), NGX_HTTP_DEBUG_GAUGE, 0,
            ngx_string("When the configuration was loaded.") },
          NGX_HTTP_DEBUG_SECONDS,
          ngx_http_debug_load(&p->zone->reloaded) * 1000000,
          &ngx_http_debug_prometheus_none },
        { { ngx_string("generation"), NGX_HTTP_DEBUG_GAUGE, 0,
            ngx_string("Configurations loaded since counting began.") },
          NGX_HTTP_DEBUG_COUNT, ngx_http_debug_load(&p->zone->generation),
          &ngx_http_debug_prometheus_none },
        { { ngx_string("zone_size_bytes"), NGX_HTTP_DEBUG_GAUGE, 0,
            ngx_string("The size that debug_zone allows.") },
          NGX_HTTP_DEBUG_BYTES, ngx_http_debug_load(&p->zone->limit),
          &ngx_http_debug_prometheus_none },
        { { ngx_string("zone_used_bytes"), NGX_HTTP_DEBUG_GAUGE, 0,
            ngx_string("How much of it is used.") },
          NGX_HTTP_DEBUG_BYTES, ngx_http_debug_load(&p->zone->used),
          &ngx_http_debug_prometheus_none },
        { { ngx_string("dropped_total"), NGX_HTTP_DEBUG_COUNTER, 0,
            ngx_string("Records that found no room under their own name.") },
          NGX_HTTP_DEBUG_COUNT, ngx_http_debug_load(&p->zone->dropped),
          &ngx_http_debug_prometheus_none }
    };

    p->scope = &scope;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ngx_http_debug_prometheus_some(p, &rows[i].family, 1, rows[i].label,
                                       &rows[i].value, rows[i].unit);
    }

#if (NGX_STAT_STUB)
    ngx_http_debug_prometheus_connections(p);
#endif

    ngx_http_debug_prometheus_caches(p);
}


/* A family of N series, each with a LABEL and a VALUE. */

static void
ngx_http_debug_prometheus_some(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_family_t *family, ngx_uint_t n, ngx_str_t *label,
    uint64_t *value, ngx_http_debug_unit_e unit)
{
    ngx_uint_t               i;
    ngx_http_debug_series_t  s;

    ngx_str_null(&s.labels);

    if (p->format->created) {
        p->format->created(&s, p->zone->started / 1000000000);
    }

    ngx_http_debug_prometheus_begin(p, family);

    p->measure = p->format->twice;
    p->size = 0;

    for ( ;; ) {

        if (!p->measure) {
            p->format->family(p);
        }

        for (i = 0; i < n; i++) {
            p->format->prepare(p, &label[i]);
            p->format->sample(p, &s, value[i], unit);
        }

        if (!p->measure) {
            return;
        }

        p->measure = 0;
    }
}


#if (NGX_STAT_STUB)

/* What stub_status says; all workers count it in one place. */

static void
ngx_http_debug_prometheus_connections(ngx_http_debug_prometheus_t *p)
{
    static ngx_str_t  states[] = {
        ngx_string("state=\"active\""),
        ngx_string("state=\"reading\""),
        ngx_string("state=\"writing\""),
        ngx_string("state=\"waiting\"")
    };

    static ngx_http_debug_family_t  connections = {
        ngx_string("connections"), NGX_HTTP_DEBUG_GAUGE, 0,
        ngx_string("Connections of clients by state; active are all.")
    };

    static ngx_http_debug_family_t  accepted = {
        ngx_string("connections_accepted_total"), NGX_HTTP_DEBUG_COUNTER, 0,
        ngx_string("Connections of clients accepted.")
    };

    static ngx_http_debug_family_t  handled = {
        ngx_string("connections_handled_total"), NGX_HTTP_DEBUG_COUNTER, 0,
        ngx_string("Of those accepted, not closed for lack of room.")
    };

    uint64_t  value[4];

    value[0] = *ngx_stat_active;
    value[1] = *ngx_stat_reading;
    value[2] = *ngx_stat_writing;
    value[3] = *ngx_stat_waiting;

    ngx_http_debug_prometheus_some(p, &connections, 4, states, value,
                                   NGX_HTTP_DEBUG_COUNT);

    value[0] = *ngx_stat_accepted;
    value[1] = *ngx_stat_handled;

    ngx_http_debug_prometheus_some(p, &accepted, 1,
                                   &ngx_http_debug_prometheus_none, &value[0],
                                   NGX_HTTP_DEBUG_COUNT);
    ngx_http_debug_prometheus_some(p, &handled, 1,
                                   &ngx_http_debug_prometheus_none, &value[1],
                                   NGX_HTTP_DEBUG_COUNT);
}

#endif


/* What each zone of proxy_cache and its kin had. */

static void
ngx_http_debug_prometheus_caches(ngx_http_debug_prometheus_t *p)
{
    u_char                      *text;
    uint64_t                    *value;
    ngx_str_t                   *label;
    ngx_uint_t                   i, n, rows, status;
    ngx_http_debug_cache_row_t  *row;

    static ngx_http_debug_family_t  family = {
        ngx_string("cache_responses_total"), NGX_HTTP_DEBUG_COUNTER, 0,
        ngx_string("Responses by zone and status of the cache.")
    };

    n = NGX_HTTP_DEBUG_CACHES * NGX_HTTP_DEBUG_CACHE_STATES;

    row = ngx_palloc(p->out->pool, NGX_HTTP_DEBUG_CACHES
                                   * sizeof(ngx_http_debug_cache_row_t));
    label = ngx_palloc(p->out->pool, n * sizeof(ngx_str_t));
    value = ngx_palloc(p->out->pool, n * sizeof(uint64_t));

    if (row == NULL || label == NULL || value == NULL) {
        p->out->failed = 1;
        return;
    }

    rows = ngx_http_debug_snapshot_caches(p->zone, row);

    for (i = 0, n = 0; i < rows; i++) {

        for (status = 1; status < NGX_HTTP_DEBUG_CACHE_STATES; status++) {

            text = ngx_pnalloc(p->out->pool, 64 + row[i].name.len);
            if (text == NULL) {
                p->out->failed = 1;
                return;
            }

            label[n].data = text;
            label[n].len = ngx_sprintf(text, "zone=\"%V\",status=\"%s\"",
                                       &row[i].name,
                                       ngx_http_debug_cache_states[status])
                           - text;
            value[n++] = row[i].count[status];
        }
    }

    if (n) {
        ngx_http_debug_prometheus_some(p, &family, n, label, value,
                                       NGX_HTTP_DEBUG_COUNT);
    }
}


/* The rows of a scope: NGX_OK when all are there. */

static ngx_int_t
ngx_http_debug_prometheus_rows(ngx_http_debug_prometheus_t *p)
{
    uint64_t                  bucket[NGX_HTTP_DEBUG_BUCKETS];
    ngx_uint_t                i, made;
    ngx_http_debug_state_t    state;
    ngx_http_debug_entity_t  *e;
    ngx_http_debug_series_t  *s;

    for (made = 0; p->id < p->ids; p->id++) {

        e = ngx_http_debug_zone_by_id(p->zone, p->id);

        if (e == NULL
            || !(e->kind & p->scope->kinds)
            || !ngx_http_debug_zone_shown(e)
            || !ngx_http_debug_prometheus_shown(p, e))
        {
            continue;
        }

        if (made++ == NGX_HTTP_DEBUG_PIECE_ROWS) {
            return NGX_AGAIN;
        }

        s = &p->series[p->n];

        ngx_http_debug_snapshot_buckets(p->zone, p->peers, e, &s->row, bucket);

        s->last = ngx_http_debug_snapshot_rate(&s->row);
        s->failed = ngx_http_debug_load(&e->failed);
        s->named = ngx_http_debug_zone_named(e);

        if (e->kind == NGX_HTTP_DEBUG_PEER) {
            ngx_http_debug_snapshot_word(p->zone, p->peers, &s->row, &state);

            s->age = ngx_http_debug_snapshot_process(e, s->process);
            s->weight = e->weight;
            s->state = state.state;
            s->up = state.up;
        }

        if (p->format->created) {
            p->format->created(s, e->created / 1000);
        }

        if (p->format->series(p, s, bucket) != NGX_OK) {
            p->out->failed = 1;
            return NGX_OK;
        }

        for (i = 0; i < NGX_HTTP_DEBUG_METRICS; i++) {
            p->any[i] |= s->row.value[i];
        }

        p->n++;
    }

    return NGX_OK;
}


/* Does the filter show E?  As in /debug/stats. */

static ngx_uint_t
ngx_http_debug_prometheus_shown(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_entity_t *e)
{
    uint32_t                  k;
    ngx_http_debug_entity_t  *group;

    if (e->kind == NGX_HTTP_DEBUG_SERVER) {
        return p->filter.upstream.len == 0
               && p->filter.peer.len == 0
               && ngx_http_debug_filter_has(&p->filter.server, e);
    }

    if (p->filter.server.len) {
        return 0;
    }

    if (e->kind == NGX_HTTP_DEBUG_PEER) {
        group = ngx_http_debug_zone_by_id(p->zone, e->group);

        return ngx_http_debug_filter_has(&p->filter.upstream, group)
               && ngx_http_debug_filter_has(&p->filter.peer, e);
    }

    if (!ngx_http_debug_filter_has(&p->filter.upstream, e)) {
        return 0;
    }

    if (p->filter.peer.len == 0) {
        return 1;
    }

    for (k = p->peers->first[e->id]; k; k = p->peers->next[k - 1]) {
        if (ngx_http_debug_filter_has(&p->filter.peer,
                                 ngx_http_debug_zone_by_id(p->zone, k - 1)))
        {
            return 1;
        }
    }

    return 0;
}


/* Its families, one after the other: NGX_OK when all are printed. */

static ngx_int_t
ngx_http_debug_prometheus_print(ngx_http_debug_prometheus_t *p)
{
    uint64_t                  value;
    ngx_uint_t                done, lines, sparse;
    ngx_http_debug_metric_t  *m, *line;
    ngx_http_debug_series_t  *s;

    sparse = p->format->sparse && p->scope->many;

    for (done = 0; done <= NGX_HTTP_DEBUG_PIECE_LINES; /* void */ ) {

        lines = 1;
        m = ngx_http_debug_prometheus_family(p, sparse, &lines);

        if (p->family == NULL) {
            return NGX_OK;
        }

        if (p->line == 0 && p->next == 0) {

            if (p->format->twice && !p->measure) {
                p->measure = 1;
                p->size = 0;

            } else {
                p->measure = 0;
                p->format->family(p);
            }
        }

        while (p->line < lines) {

            line = m ? &m[p->line] : NULL;

            if (p->next == p->n
                || (line
                    && (!(line->kinds & p->scope->kinds)
                        || (sparse && (p->any[line->metric] == 0
                                       || line->metric
                                          == NGX_HTTP_DEBUG_TIME)))))
            {
                p->next = 0;
                p->line++;
                continue;
            }

            if (p->next == 0) {
                p->code = 0;
                p->format->prepare(p, line ? &line->label
                                           : &ngx_http_debug_prometheus_none);
            }

            if (done > NGX_HTTP_DEBUG_PIECE_LINES) {
                return NGX_AGAIN;
            }

            done++;
            s = &p->series[p->next++];

            if (line == NULL) {
                ngx_http_debug_prometheus_fixed(p, s, &done);
                continue;
            }

            value = s->row.value[line->metric];

            if (value || !sparse) {
                p->format->sample(p, s, value, line->unit);
            }
        }

        if (p->out->failed) {
            return NGX_OK;
        }

        p->line = 0;

        if (!p->measure) {
            p->at += m ? lines : 1;
        }
    }

    return NGX_AGAIN;
}


/*
 * Makes p->family the next one that the scope has; NULL: there is none.
 * Returns its first row in the table, and how many it has there, or NULL: it
 * is none of the table's.
 */

static ngx_http_debug_metric_t *
ngx_http_debug_prometheus_family(ngx_http_debug_prometheus_t *p,
    ngx_uint_t sparse, ngx_uint_t *lines)
{
    ngx_uint_t                n, kinds;
    ngx_http_debug_metric_t  *m;

    for ( /* void */ ; p->at < NGX_HTTP_DEBUG_FAMILY_TABLE; p->at++) {

        if (sparse && (p->at == NGX_HTTP_DEBUG_FAMILY_LAST
                       || p->at == NGX_HTTP_DEBUG_FAMILY_CONFIGURED))
        {
            continue;
        }

        if (ngx_http_debug_families[p->at].kinds & p->scope->kinds) {
            ngx_http_debug_prometheus_begin(p,
                                            &ngx_http_debug_families[p->at]);
            return NULL;
        }
    }

    for ( ;; ) {
        m = &ngx_http_debug_metrics[p->at - NGX_HTTP_DEBUG_FAMILY_TABLE];

        if (m->json.len == 0) {
            p->family = NULL;
            return NULL;
        }

        /* rows of one family follow each other, and differ in their label */

        kinds = m->kinds;

        for (n = 1;
             m[n].family.len == m->family.len
             && ngx_strncmp(m[n].family.data, m->family.data, m->family.len)
                == 0;
             n++)
        {
            kinds |= m[n].kinds;
        }

        if (kinds & p->scope->kinds) {
            break;
        }

        p->at += n;
    }

    *lines = n;

    p->table.name = m->family;
    p->table.type = NGX_HTTP_DEBUG_COUNTER;
    p->table.kinds = kinds;
    p->table.help = m->help;

    ngx_http_debug_prometheus_begin(p, &p->table);

    return m;
}


static void
ngx_http_debug_prometheus_begin(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_family_t *family)
{
    u_char  *dst;

    p->family = family;

    dst = ngx_cpymem(p->name, p->scope->prefix.data, p->scope->prefix.len);
    dst = ngx_cpymem(dst, family->name.data, family->name.len);

    p->len = dst - p->name;
}


/* One series of a family that is none of the table's. */

static void
ngx_http_debug_prometheus_fixed(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_series_t *s, ngx_uint_t *done)
{
    if (p->at >= NGX_HTTP_DEBUG_FAMILY_PROCESS) {
        ngx_http_debug_prometheus_process(p, s);
        return;
    }

    switch (p->at) {

    case NGX_HTTP_DEBUG_FAMILY_RESPONSES:
    case NGX_HTTP_DEBUG_FAMILY_GRPC:
        ngx_http_debug_prometheus_responses(p, s);
        return;

    case NGX_HTTP_DEBUG_FAMILY_TIME:
        *done += NGX_HTTP_DEBUG_LE;
        p->format->times(p, s);
        return;

    case NGX_HTTP_DEBUG_FAMILY_ACTIVE:
        p->format->sample(p, s, s->row.active, NGX_HTTP_DEBUG_COUNT);
        return;

    case NGX_HTTP_DEBUG_FAMILY_LAST:
        p->format->sample(p, s, s->last, NGX_HTTP_DEBUG_COUNT);
        return;

    case NGX_HTTP_DEBUG_FAMILY_FAILED:

        if (s->failed) {
            p->format->sample(p, s, s->failed * 1000000,
                              NGX_HTTP_DEBUG_SECONDS);
        }

        return;

    case NGX_HTTP_DEBUG_FAMILY_CONFIGURED:
        p->format->sample(p, s, s->named, NGX_HTTP_DEBUG_COUNT);
        return;

    case NGX_HTTP_DEBUG_FAMILY_UP:

        if (s->up != -1) {
            p->format->sample(p, s, s->up, NGX_HTTP_DEBUG_COUNT);
        }

        return;

    case NGX_HTTP_DEBUG_FAMILY_STATE:
        ngx_http_debug_prometheus_state(p, s);
        return;

    default: /* NGX_HTTP_DEBUG_FAMILY_WEIGHT */
        p->format->sample(p, s, s->weight, NGX_HTTP_DEBUG_COUNT);
    }
}


static void
ngx_http_debug_prometheus_state(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_series_t *s)
{
    ngx_str_t  label;

    /* mostly the same as that of the series before */

    if (p->code != s->state + 1) {
        p->code = s->state + 1;

        label.data = p->text;
        label.len = ngx_sprintf(p->text, "state=\"%V\"",
                                &ngx_http_debug_state_names[s->state])
                    - p->text;

        p->format->prepare(p, &label);
    }

    p->format->sample(p, s, 1, NGX_HTTP_DEBUG_COUNT);
}


static void
ngx_http_debug_prometheus_process(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_series_t *s)
{
    ngx_uint_t  i;

    if (s->age < 0) {
        return;
    }

    if (p->at == NGX_HTTP_DEBUG_FAMILY_PROCESS_AGE) {
        p->format->sample(p, s, s->age / 1000000 * 1000000,
                          NGX_HTTP_DEBUG_SECONDS);
        return;
    }

    i = p->at - NGX_HTTP_DEBUG_FAMILY_PROCESS;

    if (s->process[i] != NGX_HTTP_DEBUG_PROCESS_UNKNOWN) {
        p->format->sample(p, s, s->process[i],
                          i == NGX_HTTP_DEBUG_PROCESS_CPU
                          ? NGX_HTTP_DEBUG_SECONDS : NGX_HTTP_DEBUG_COUNT);
    }
}


static void
ngx_http_debug_prometheus_responses(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_series_t *s)
{
    char                   *format;
    ngx_str_t               label;
    ngx_uint_t              i, grpc;
    ngx_http_debug_code_t  *code;

    grpc = (p->at == NGX_HTTP_DEBUG_FAMILY_GRPC);

    for (i = 0; i < s->row.ncodes; i++) {
        code = &s->row.code[i];

        if ((code->code >= NGX_HTTP_DEBUG_GRPC) != grpc) {
            continue;
        }

        /* mostly the same as that of the series before */

        if (code->code != p->code) {
            p->code = code->code;

            format = grpc ? "status=\"%uD\""
                          : (p->code < 100) ? "code=\"%uDxx\""
                                            : "code=\"%uD\"";

            label.data = p->text;
            label.len = ngx_sprintf(p->text, format,
                                    p->code % NGX_HTTP_DEBUG_GRPC)
                        - p->text;

            p->format->prepare(p, &label);
        }

        p->format->sample(p, s, code->count, NGX_HTTP_DEBUG_COUNT);
    }
}


u_char *
ngx_http_debug_prometheus_labels(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_entity_t *e, u_char *dst, ngx_http_debug_label_pt add)
{
    ngx_http_debug_entity_t  *group;

    static u_char  one[] = "1";

    group = e;

    if (e->kind == NGX_HTTP_DEBUG_PEER
        && e->group == p->group
        && p->grouped.len)
    {
        /* as most peers, of the same group as the one before */

        dst = ngx_cpymem(dst, p->grouped.data, p->grouped.len);

        return add(dst, "peer", e->name, e->len);
    }

    p->group = e->group;
    p->grouped.data = dst;

    switch (e->kind) {

    case NGX_HTTP_DEBUG_SERVER:
        return add(dst, "server", e->name, e->len);

    case NGX_HTTP_DEBUG_PEER:
        group = ngx_http_debug_zone_by_id(p->zone, e->group);

        /* fall through */

    default:

        if (group) {
            dst = add(dst, "upstream", group->name, group->len);
        }
    }

    /* an upstream{} of an earlier configuration may have its name */

    if (group && group->kind == NGX_HTTP_DEBUG_HOST) {
        dst = add(dst, "variable", one, 1);
    }

    if (e->kind == NGX_HTTP_DEBUG_OVERFLOW) {
        dst = add(dst, "overflow", one, 1);
    }

    p->grouped.len = 0;

    if (e->kind == NGX_HTTP_DEBUG_PEER) {
        p->grouped.len = dst - p->grouped.data;
        dst = add(dst, "peer", e->name, e->len);
    }

    return dst;
}


size_t
ngx_http_debug_prometheus_labels_len(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_entity_t *e)
{
    size_t                    len;
    ngx_http_debug_entity_t  *group;

    len = e->len;

    if (e->kind == NGX_HTTP_DEBUG_PEER) {
        group = ngx_http_debug_zone_by_id(p->zone, e->group);
        len += group ? group->len : 0;
    }

    /* a byte becomes three at most */

    return 3 * len + 128;
}


u_char *
ngx_http_debug_prometheus_utf8(u_char *dst, u_char *name, size_t len,
    ngx_uint_t escape)
{
    u_char    *p, *from, *last;
    uint32_t   ch;

    last = name + len;

    for (p = name; p < last; /* void */ ) {

        if (*p < 0x80) {

            if (escape && (*p == '"' || *p == '\\' || *p == LF)) {
                *dst++ = '\\';
                *dst++ = (*p == LF) ? 'n' : *p;
                p++;
                continue;
            }

            /* nearly always, and nearly all of it */

            do {
                *dst++ = *p++;
            } while (p < last && *p >= '-' && *p <= 'z' && *p != '\\');

            continue;
        }

        from = p;
        ch = ngx_utf8_decode(&p, last - p);

        if (ch > 0x10ffff || (ch >= 0xd800 && ch < 0xe000)) {
            p = from + 1;
            dst = ngx_cpymem(dst, "\xef\xbf\xbd", 3);
            continue;
        }

        dst = ngx_cpymem(dst, from, p - from);
    }

    return dst;
}
