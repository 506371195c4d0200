
/*
 * /debug/metrics: the snapshot for Prometheus, as text 0.0.4 or OpenMetrics.
 *
 * One pass over the cells makes all rows; then each family is printed as one
 * block, as the format demands.  There are no total rows, which queries would
 * add up once more.
 *
 * Formats: https://prometheus.io/docs/instrumenting/exposition_formats/,
 * https://prometheus.io/docs/specs/om/open_metrics_spec/
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_debug_faces.h"
#include "ngx_http_debug_go.h"


typedef struct {
    ngx_uint_t             kinds;
    ngx_str_t              prefix;
} ngx_http_debug_scope_t;


typedef struct {
    ngx_http_debug_row_t   row;
    ngx_str_t              labels;
} ngx_http_debug_series_t;


typedef struct {
    ngx_http_debug_out_t     *out;
    ngx_http_debug_series_t  *series;
    ngx_uint_t                n;
    ngx_uint_t                openmetrics;  /* unsigned  openmetrics:1; */
    ngx_http_debug_scope_t   *scope;

    u_char                    name[128];    /* of the family */
    size_t                    len;
} ngx_http_debug_prometheus_t;


static void ngx_http_debug_prometheus_nginx(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_zone_t *zone);
static void ngx_http_debug_prometheus_scope(ngx_http_debug_prometheus_t *p);
static ngx_uint_t ngx_http_debug_prometheus_rows(
    ngx_http_debug_prometheus_t *p, ngx_http_debug_zone_t *zone);
static ngx_int_t ngx_http_debug_prometheus_labels(
    ngx_http_debug_prometheus_t *p, ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e, ngx_str_t *labels);
static u_char *ngx_http_debug_prometheus_label(u_char *dst, char *name,
    ngx_http_debug_entity_t *e);
static void ngx_http_debug_prometheus_family(ngx_http_debug_prometheus_t *p,
    ngx_str_t *family, char *type, ngx_str_t *help);
static u_char *ngx_http_debug_prometheus_line(ngx_http_debug_prometheus_t *p,
    char *suffix, ngx_http_debug_series_t *s);
static u_char *ngx_http_debug_prometheus_value(u_char *dst, uint64_t n,
    ngx_http_debug_unit_e unit);


static ngx_http_debug_scope_t  ngx_http_debug_scopes[] = {
    { NGX_HTTP_DEBUG_SERVER, ngx_string("nginx_debug_server_") },
    { NGX_HTTP_DEBUG_GROUPS, ngx_string("nginx_debug_upstream_") },
    { NGX_HTTP_DEBUG_PEER, ngx_string("nginx_debug_peer_") },
    { 0, ngx_null_string }
};


void
ngx_http_debug_prometheus(ngx_http_debug_out_t *out,
    ngx_http_debug_zone_t *zone, ngx_uint_t openmetrics)
{
    ngx_http_debug_prometheus_t  p;

    p.out = out;
    p.openmetrics = openmetrics;

    ngx_http_debug_prometheus_nginx(&p, zone);

    for (p.scope = ngx_http_debug_scopes; p.scope->kinds; p.scope++) {

        if (!ngx_http_debug_prometheus_rows(&p, zone)) {
            out->failed = 1;
            return;
        }

        ngx_http_debug_prometheus_scope(&p);
    }

    if (openmetrics) {
        ngx_http_debug_out_literal(out, "# EOF\n");
    }
}


static void
ngx_http_debug_prometheus_nginx(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_zone_t *zone)
{
    u_char      *dst;
    ngx_uint_t   i;

    static ngx_http_debug_scope_t  scope = {
        0, ngx_string("nginx_debug_")
    };

    struct {
        ngx_str_t              family;
        char                  *type;
        ngx_http_debug_unit_e  unit;
        uint64_t               value;
        ngx_str_t              help;
    } rows[] = {
        { ngx_string("start_time_seconds"), "gauge", NGX_HTTP_DEBUG_SECONDS,
          zone->started, ngx_string("When counting began.") },
        { ngx_string("reload_time_seconds"), "gauge", NGX_HTTP_DEBUG_SECONDS,
          ngx_http_debug_load(&zone->reloaded) * 1000000,
          ngx_string("When the configuration was loaded.") },
        { ngx_string("generation"), "gauge", NGX_HTTP_DEBUG_COUNT,
          ngx_http_debug_load(&zone->generation),
          ngx_string("Configurations loaded since counting began.") },
        { ngx_string("zone_size_bytes"), "gauge", NGX_HTTP_DEBUG_BYTES,
          ngx_http_debug_load(&zone->limit),
          ngx_string("The size that debug_zone allows.") },
        { ngx_string("zone_used_bytes"), "gauge", NGX_HTTP_DEBUG_BYTES,
          ngx_http_debug_load(&zone->used),
          ngx_string("How much of it is used.") },
        { ngx_string("dropped_total"), "counter", NGX_HTTP_DEBUG_COUNT,
          ngx_http_debug_load(&zone->dropped),
          ngx_string("Records that found no room under their own name.") }
    };

    p->scope = &scope;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {

        ngx_http_debug_prometheus_family(p, &rows[i].family, rows[i].type,
                                         &rows[i].help);

        dst = ngx_http_debug_prometheus_line(p, "", NULL);

        if (dst) {
            dst = ngx_http_debug_prometheus_value(dst, rows[i].value,
                                                  rows[i].unit);
            ngx_http_debug_out_end(p->out, dst);
        }
    }
}


static void
ngx_http_debug_prometheus_scope(ngx_http_debug_prometheus_t *p)
{
    u_char                   *dst;
    ngx_str_t                *last;
    ngx_uint_t                i, k;
    ngx_http_debug_row_t     *row;
    ngx_http_debug_metric_t  *m;
    ngx_http_debug_series_t  *s, *end;

    static ngx_str_t  responses = ngx_string("responses_total");
    static ngx_str_t  responses_help = ngx_string("Responses by status code.");
    static ngx_str_t  time = ngx_string("response_time_seconds");
    static ngx_str_t  time_help = ngx_string(
                          "Time to the end of the response or the timeout.");
    static ngx_str_t  active = ngx_string("active");
    static ngx_str_t  active_help = ngx_string("Under way.");
    static ngx_str_t  failed = ngx_string("last_failure_time_seconds");
    static ngx_str_t  failed_help = ngx_string(
                                        "When an answer last did not come.");

    s = p->series;
    end = s + p->n;

    ngx_http_debug_prometheus_family(p, &responses, "counter",
                                     &responses_help);

    for (s = p->series; s < end; s++) {
        for (i = 0; i < s->row.ncodes; i++) {

            dst = ngx_http_debug_prometheus_line(p, "", s);
            if (dst == NULL) {
                return;
            }

            /* "} " becomes one label more */

            dst = ngx_sprintf(dst - 2, s->row.code[i].code < 100
                                       ? ",code=\"%uDxx\"} "
                                       : ",code=\"%uD\"} ",
                              s->row.code[i].code);
            dst = ngx_http_debug_prometheus_value(dst, s->row.code[i].count,
                                                  NGX_HTTP_DEBUG_COUNT);
            ngx_http_debug_out_end(p->out, dst);
        }
    }

    ngx_http_debug_prometheus_family(p, &time, "histogram", &time_help);

    for (s = p->series; s < end; s++) {
        row = &s->row;

        /* a peer that was never asked is not worth sixteen lines */

        for (i = 0; row->measured && i < NGX_HTTP_DEBUG_LE; i++) {

            dst = ngx_http_debug_prometheus_line(p, "_bucket", s);
            if (dst == NULL) {
                return;
            }

            dst = ngx_cpymem(dst - 2, ",le=\"", 5);
            dst = ngx_http_debug_go_seconds(dst,
                                            ngx_http_debug_le_us(i) * 1000);
            dst = ngx_cpymem(dst, "\"} ", 3);
            dst = ngx_http_debug_prometheus_value(dst, row->le[i],
                                                  NGX_HTTP_DEBUG_COUNT);
            ngx_http_debug_out_end(p->out, dst);
        }

        dst = ngx_http_debug_prometheus_line(p, "_bucket", s);
        if (dst == NULL) {
            return;
        }

        dst = ngx_cpymem(dst - 2, ",le=\"+Inf\"} ", 12);
        dst = ngx_http_debug_prometheus_value(dst, row->measured,
                                              NGX_HTTP_DEBUG_COUNT);
        ngx_http_debug_out_end(p->out, dst);

        dst = ngx_http_debug_prometheus_line(p, "_sum", s);
        if (dst == NULL) {
            return;
        }

        dst = ngx_http_debug_prometheus_value(dst,
                                    row->value[NGX_HTTP_DEBUG_TIME]
                                    + row->value[NGX_HTTP_DEBUG_TIMEOUT_TIME],
                                    NGX_HTTP_DEBUG_SECONDS);
        ngx_http_debug_out_end(p->out, dst);

        dst = ngx_http_debug_prometheus_line(p, "_count", s);
        if (dst == NULL) {
            return;
        }

        dst = ngx_http_debug_prometheus_value(dst, row->measured,
                                              NGX_HTTP_DEBUG_COUNT);
        ngx_http_debug_out_end(p->out, dst);
    }

    ngx_http_debug_prometheus_family(p, &active, "gauge", &active_help);

    for (s = p->series; s < end; s++) {

        dst = ngx_http_debug_prometheus_line(p, "", s);
        if (dst == NULL) {
            return;
        }

        dst = ngx_http_debug_prometheus_value(dst, s->row.active,
                                              NGX_HTTP_DEBUG_COUNT);
        ngx_http_debug_out_end(p->out, dst);
    }

    last = NULL;

    for (m = ngx_http_debug_metrics; m->json.len; m++) {

        if (!(m->kinds & p->scope->kinds)) {
            continue;
        }

        if (last == NULL
            || last->len != m->family.len
            || ngx_strncmp(last->data, m->family.data, last->len) != 0)
        {
            ngx_http_debug_prometheus_family(p, &m->family, "counter",
                                             &m->help);
            last = &m->family;
        }

        for (k = 0; k < p->n; k++) {

            s = &p->series[k];

            dst = ngx_http_debug_prometheus_line(p, "", s);
            if (dst == NULL) {
                return;
            }

            if (m->label.len) {
                *(dst - 2) = ',';
                dst = ngx_cpymem(dst - 1, m->label.data, m->label.len);
                dst = ngx_cpymem(dst, "} ", 2);
            }

            dst = ngx_http_debug_prometheus_value(dst,
                                                  s->row.value[m->metric],
                                                  m->unit);
            ngx_http_debug_out_end(p->out, dst);
        }
    }

    ngx_http_debug_prometheus_family(p, &failed, "gauge", &failed_help);

    for (s = p->series; s < end; s++) {

        if (s->row.entity->failed == 0) {
            continue;
        }

        dst = ngx_http_debug_prometheus_line(p, "", s);
        if (dst == NULL) {
            return;
        }

        dst = ngx_http_debug_prometheus_value(dst,
                         ngx_http_debug_load(&s->row.entity->failed) * 1000000,
                         NGX_HTTP_DEBUG_SECONDS);
        ngx_http_debug_out_end(p->out, dst);
    }
}


/* 1: all rows of the scope are there */

static ngx_uint_t
ngx_http_debug_prometheus_rows(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_zone_t *zone)
{
    ngx_uint_t                i, n;
    ngx_http_debug_entity_t  *e;

    n = ngx_min(ngx_http_debug_load(&zone->entities),
                NGX_HTTP_DEBUG_ENTITIES);

    p->n = 0;

    for (i = 0; i < n; i++) {
        e = ngx_http_debug_zone_by_id(zone, i);
        if (e && (e->kind & p->scope->kinds)) {
            p->n++;
        }
    }

    p->series = ngx_palloc(p->out->pool,
                           (p->n + 1) * sizeof(ngx_http_debug_series_t));
    if (p->series == NULL) {
        return 0;
    }

    n = p->n;
    p->n = 0;

    for (i = 0; p->n < n; i++) {
        e = ngx_http_debug_zone_by_id(zone, i);

        if (e == NULL || !(e->kind & p->scope->kinds)) {

            if (i >= NGX_HTTP_DEBUG_ENTITIES) {
                break;
            }

            continue;
        }

        ngx_http_debug_snapshot_row(zone, e, &p->series[p->n].row);

        if (ngx_http_debug_prometheus_labels(p, zone, e,
                                             &p->series[p->n].labels)
            != NGX_OK)
        {
            return 0;
        }

        p->n++;
    }

    return 1;
}


static ngx_int_t
ngx_http_debug_prometheus_labels(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_zone_t *zone, ngx_http_debug_entity_t *e, ngx_str_t *labels)
{
    size_t                    len;
    u_char                   *dst;
    ngx_http_debug_entity_t  *group;

    group = NULL;
    len = e->len;

    if (e->kind == NGX_HTTP_DEBUG_PEER) {
        group = ngx_http_debug_zone_by_id(zone, e->group);
        len += group ? group->len : 0;
    }

    /* a byte becomes three at most */

    dst = ngx_pnalloc(p->out->pool, 3 * len + 64);
    if (dst == NULL) {
        return NGX_ERROR;
    }

    labels->data = dst;

    switch (e->kind) {

    case NGX_HTTP_DEBUG_SERVER:
        dst = ngx_http_debug_prometheus_label(dst, "server", e);
        break;

    case NGX_HTTP_DEBUG_PEER:
        if (group) {
            dst = ngx_http_debug_prometheus_label(dst, "upstream", group);

            if (group->kind == NGX_HTTP_DEBUG_HOST) {
                dst = ngx_cpymem(dst, ",variable=\"1\"", 13);
            }

            *dst++ = ',';
        }

        dst = ngx_http_debug_prometheus_label(dst, "peer", e);
        break;

    default:
        dst = ngx_http_debug_prometheus_label(dst, "upstream", e);

        /* an upstream{} of an earlier configuration may have its name */

        if (e->kind == NGX_HTTP_DEBUG_HOST) {
            dst = ngx_cpymem(dst, ",variable=\"1\"", 13);
        }
    }

    labels->len = dst - labels->data;

    return NGX_OK;
}


static u_char *
ngx_http_debug_prometheus_label(u_char *dst, char *name,
    ngx_http_debug_entity_t *e)
{
    u_char    *p, *from, *last;
    uint32_t   ch;

    dst = ngx_sprintf(dst, "%s=\"", name);

    last = e->name + e->len;

    for (p = e->name; p < last; /* void */ ) {

        switch (*p) {

        case '"':
        case '\\':
            *dst++ = '\\';
            *dst++ = *p++;
            continue;

        case LF:
            *dst++ = '\\';
            *dst++ = 'n';
            p++;
            continue;
        }

        from = p;

        if (*p < 0x80) {
            *dst++ = *p++;
            continue;
        }

        ch = ngx_utf8_decode(&p, last - p);

        if (ch > 0x10ffff || (ch >= 0xd800 && ch < 0xe000)) {

            /* one byte that is not UTF-8 would cost the whole scrape */

            p = from + 1;
            dst = ngx_cpymem(dst, "\xef\xbf\xbd", 3);
            continue;
        }

        dst = ngx_cpymem(dst, from, p - from);
    }

    *dst++ = '"';

    return dst;
}


static void
ngx_http_debug_prometheus_family(ngx_http_debug_prometheus_t *p,
    ngx_str_t *family, char *type, ngx_str_t *help)
{
    size_t   total;
    u_char  *dst;

    dst = ngx_cpymem(p->name, p->scope->prefix.data, p->scope->prefix.len);
    dst = ngx_cpymem(dst, family->data, family->len);
    p->len = dst - p->name;

    /* OpenMetrics names the family of a counter without its "_total" */

    total = (p->openmetrics && type[0] == 'c') ? sizeof("_total") - 1 : 0;

    ngx_http_debug_out_print(p->out, "# HELP %*s %V\n# TYPE %*s %s\n",
                             p->len - total, p->name, help,
                             p->len - total, p->name, type);
}


/*
 * Begins a line, up to where the value goes.  There is room for another
 * label and for the value.  NULL: no memory.
 */

static u_char *
ngx_http_debug_prometheus_line(ngx_http_debug_prometheus_t *p, char *suffix,
    ngx_http_debug_series_t *s)
{
    u_char  *dst;

    dst = ngx_http_debug_out_room(p->out, p->len + 256
                                          + (s ? s->labels.len : 0));
    if (dst == NULL) {
        return NULL;
    }

    dst = ngx_cpymem(dst, p->name, p->len);

    while (*suffix) {
        *dst++ = *suffix++;
    }

    if (s == NULL) {
        *dst++ = ' ';
        return dst;
    }

    *dst++ = '{';
    dst = ngx_cpymem(dst, s->labels.data, s->labels.len);
    *dst++ = '}';
    *dst++ = ' ';

    return dst;
}


static u_char *
ngx_http_debug_prometheus_value(u_char *dst, uint64_t n,
    ngx_http_debug_unit_e unit)
{
    u_char  *p, text[NGX_INT64_LEN];

    if (unit == NGX_HTTP_DEBUG_SECONDS) {
        dst = ngx_http_debug_go_seconds(dst, n);
        *dst++ = LF;
        return dst;
    }

    p = text + sizeof(text);

    do {
        *--p = (u_char) (n % 10 + '0');
        n /= 10;
    } while (n);

    dst = ngx_cpymem(dst, p, text + sizeof(text) - p);
    *dst++ = LF;

    return dst;
}
