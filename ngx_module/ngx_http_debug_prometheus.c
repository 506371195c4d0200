
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
    ngx_uint_t             state;        /* of a peer */
    ngx_int_t              up;
} ngx_http_debug_series_t;


/*
 * Where the answer stands: the rows of a scope are made first, then each of
 * its families is printed: the fixed ones, then those of the table.
 */

struct ngx_http_debug_prometheus_s {
    ngx_http_debug_out_t     *out;
    ngx_http_debug_zone_t    *zone;
    ngx_uint_t                openmetrics;  /* unsigned  openmetrics:1; */

    ngx_http_debug_scope_t   *scope;
    ngx_http_debug_series_t  *series;
    ngx_uint_t                n;            /* of them, made so far */
    ngx_uint_t                id;           /* the next entity */
    ngx_uint_t                ids;
    ngx_http_debug_peers_of_t  *peers;
    ngx_uint_t                family;       /* the next one */
    ngx_uint_t                next;         /* its next series */

    u_char                    name[128];    /* of the family */
    size_t                    len;
};


/* of one piece; some 100 us of work */
#define NGX_HTTP_DEBUG_PIECE_ROWS   32
#define NGX_HTTP_DEBUG_PIECE_LINES  512


enum {
    NGX_HTTP_DEBUG_FAMILY_RESPONSES = 0,
    NGX_HTTP_DEBUG_FAMILY_TIME,
    NGX_HTTP_DEBUG_FAMILY_ACTIVE,
    NGX_HTTP_DEBUG_FAMILY_LAST,
    NGX_HTTP_DEBUG_FAMILY_FAILED,
    NGX_HTTP_DEBUG_FAMILY_CONFIGURED,
    NGX_HTTP_DEBUG_FAMILY_UP,          /* from here on: of peers alone */
    NGX_HTTP_DEBUG_FAMILY_STATE,
    NGX_HTTP_DEBUG_FAMILY_WEIGHT,
    NGX_HTTP_DEBUG_FAMILY_TABLE
};


static void ngx_http_debug_prometheus_nginx(ngx_http_debug_prometheus_t *p);
static ngx_int_t ngx_http_debug_prometheus_rows(
    ngx_http_debug_prometheus_t *p);
static ngx_int_t ngx_http_debug_prometheus_print(
    ngx_http_debug_prometheus_t *p);
static ngx_uint_t ngx_http_debug_prometheus_first(
    ngx_http_debug_prometheus_t *p, ngx_http_debug_metric_t *m);
static void ngx_http_debug_prometheus_responses(
    ngx_http_debug_prometheus_t *p, ngx_http_debug_series_t *s);
static void ngx_http_debug_prometheus_time(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_series_t *s);
static void ngx_http_debug_prometheus_state(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_series_t *s);
static void ngx_http_debug_prometheus_sample(ngx_http_debug_prometheus_t *p,
    char *suffix, ngx_http_debug_series_t *s, ngx_str_t *label, uint64_t value,
    ngx_http_debug_unit_e unit);
static ngx_int_t ngx_http_debug_prometheus_labels(
    ngx_http_debug_prometheus_t *p, ngx_http_debug_entity_t *e,
    ngx_str_t *labels);
static u_char *ngx_http_debug_prometheus_label(u_char *dst, char *name,
    ngx_http_debug_entity_t *e);
static void ngx_http_debug_prometheus_family(ngx_http_debug_prometheus_t *p,
    ngx_str_t *family, char *type, ngx_str_t *help);
static u_char *ngx_http_debug_prometheus_value(u_char *dst, uint64_t n,
    ngx_http_debug_unit_e unit);


static ngx_http_debug_scope_t  ngx_http_debug_scopes[] = {
    { NGX_HTTP_DEBUG_SERVER, ngx_string("nginx_debug_server_") },
    { NGX_HTTP_DEBUG_GROUPS, ngx_string("nginx_debug_upstream_") },
    { NGX_HTTP_DEBUG_PEER, ngx_string("nginx_debug_peer_") },
    { 0, ngx_null_string }
};


ngx_http_debug_prometheus_t *
ngx_http_debug_prometheus_create(ngx_http_debug_out_t *out,
    ngx_http_debug_zone_t *zone, ngx_uint_t openmetrics)
{
    ngx_http_debug_prometheus_t  *p;

    p = ngx_pcalloc(out->pool, sizeof(ngx_http_debug_prometheus_t));
    if (p == NULL) {
        return NULL;
    }

    p->out = out;
    p->zone = zone;
    p->openmetrics = openmetrics;

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

    p->scope++;
    p->n = 0;
    p->id = 0;
    p->family = 0;

    if (p->scope->kinds) {
        return NGX_AGAIN;
    }

    if (p->openmetrics) {
        ngx_http_debug_out_literal(p->out, "# EOF\n");
    }

    return NGX_OK;
}


static void
ngx_http_debug_prometheus_nginx(ngx_http_debug_prometheus_t *p)
{
    ngx_uint_t  i;

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
          p->zone->started, ngx_string("When counting began.") },
        { ngx_string("reload_time_seconds"), "gauge", NGX_HTTP_DEBUG_SECONDS,
          ngx_http_debug_load(&p->zone->reloaded) * 1000000,
          ngx_string("When the configuration was loaded.") },
        { ngx_string("generation"), "gauge", NGX_HTTP_DEBUG_COUNT,
          ngx_http_debug_load(&p->zone->generation),
          ngx_string("Configurations loaded since counting began.") },
        { ngx_string("zone_size_bytes"), "gauge", NGX_HTTP_DEBUG_BYTES,
          ngx_http_debug_load(&p->zone->limit),
          ngx_string("The size that debug_zone allows.") },
        { ngx_string("zone_used_bytes"), "gauge", NGX_HTTP_DEBUG_BYTES,
          ngx_http_debug_load(&p->zone->used),
          ngx_string("How much of it is used.") },
        { ngx_string("dropped_total"), "counter", NGX_HTTP_DEBUG_COUNT,
          ngx_http_debug_load(&p->zone->dropped),
          ngx_string("Records that found no room under their own name.") }
    };

    p->scope = &scope;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {

        ngx_http_debug_prometheus_family(p, &rows[i].family, rows[i].type,
                                         &rows[i].help);
        ngx_http_debug_prometheus_sample(p, "", NULL, NULL, rows[i].value,
                                         rows[i].unit);
    }
}


/* The rows of a scope: NGX_OK when all are there. */

static ngx_int_t
ngx_http_debug_prometheus_rows(ngx_http_debug_prometheus_t *p)
{
    ngx_uint_t                made;
    ngx_http_debug_state_t    state;
    ngx_http_debug_entity_t  *e;
    ngx_http_debug_series_t  *s;

    for (made = 0; p->id < p->ids; p->id++) {

        e = ngx_http_debug_zone_by_id(p->zone, p->id);

        if (e == NULL
            || !(e->kind & p->scope->kinds)
            || !ngx_http_debug_zone_shown(e))
        {
            continue;
        }

        if (made++ == NGX_HTTP_DEBUG_PIECE_ROWS) {
            return NGX_AGAIN;
        }

        s = &p->series[p->n];

        ngx_http_debug_snapshot_row(p->zone, p->peers, e, &s->row);

        if (ngx_http_debug_prometheus_labels(p, e, &s->labels) != NGX_OK) {
            p->out->failed = 1;
            return NGX_OK;
        }

        if (e->kind == NGX_HTTP_DEBUG_PEER) {
            ngx_http_debug_snapshot_state(p->zone, p->peers, &s->row, &state);

            s->state = state.state;
            s->up = state.up;
        }

        p->n++;
    }

    return NGX_OK;
}


/* Its families, one after the other: NGX_OK when all are printed. */

static ngx_int_t
ngx_http_debug_prometheus_print(ngx_http_debug_prometheus_t *p)
{
    ngx_uint_t                lines;
    ngx_http_debug_metric_t  *m;
    ngx_http_debug_series_t  *s;

    static struct {
        ngx_str_t             name;
        char                 *type;
        ngx_str_t             help;
    } fixed[] = {
        { ngx_string("responses_total"), "counter",
          ngx_string("Responses by status code.") },
        { ngx_string("response_time_seconds"), "histogram",
          ngx_string("Time to the end of the response or the timeout.") },
        { ngx_string("active"), "gauge",
          ngx_string("Under way.") },
        { ngx_string("last_second"), "gauge",
          ngx_string("Responses in the last second.") },
        { ngx_string("last_failure_time_seconds"), "gauge",
          ngx_string("When an answer last did not come.") },
        { ngx_string("configured"), "gauge",
          ngx_string("1: the configuration in force names it.") },
        { ngx_string("up"), "gauge",
          ngx_string("0: it is down or hanging.") },
        { ngx_string("state"), "gauge",
          ngx_string("1, with the state as a label.") },
        { ngx_string("weight"), "gauge",
          ngx_string("Its weight in the configuration.") }
    };

    lines = 0;

    for ( ;; ) {

        m = NULL;

        if (p->family >= NGX_HTTP_DEBUG_FAMILY_TABLE) {
            m = &ngx_http_debug_metrics[p->family
                                        - NGX_HTTP_DEBUG_FAMILY_TABLE];

            if (m->json.len == 0) {
                return NGX_OK;
            }

            if (!(m->kinds & p->scope->kinds)) {
                p->family++;
                continue;
            }

        } else if (p->family >= NGX_HTTP_DEBUG_FAMILY_UP
                   && p->scope->kinds != NGX_HTTP_DEBUG_PEER)
        {
            p->family = NGX_HTTP_DEBUG_FAMILY_TABLE;
            continue;
        }

        if (p->next == 0) {

            if (m == NULL) {
                ngx_http_debug_prometheus_family(p, &fixed[p->family].name,
                                                 fixed[p->family].type,
                                                 &fixed[p->family].help);

            } else if (ngx_http_debug_prometheus_first(p, m)) {
                ngx_http_debug_prometheus_family(p, &m->family, "counter",
                                                 &m->help);
            }
        }

        while (p->next < p->n) {

            if (lines > NGX_HTTP_DEBUG_PIECE_LINES) {
                return NGX_AGAIN;
            }

            lines++;
            s = &p->series[p->next++];

            switch (p->family) {

            case NGX_HTTP_DEBUG_FAMILY_RESPONSES:
                ngx_http_debug_prometheus_responses(p, s);
                break;

            case NGX_HTTP_DEBUG_FAMILY_TIME:
                lines += NGX_HTTP_DEBUG_LE;
                ngx_http_debug_prometheus_time(p, s);
                break;

            case NGX_HTTP_DEBUG_FAMILY_ACTIVE:
                ngx_http_debug_prometheus_sample(p, "", s, NULL,
                                                 s->row.active,
                                                 NGX_HTTP_DEBUG_COUNT);
                break;

            case NGX_HTTP_DEBUG_FAMILY_LAST:
                ngx_http_debug_prometheus_sample(p, "", s, NULL,
                                         ngx_http_debug_snapshot_rate(&s->row),
                                                 NGX_HTTP_DEBUG_COUNT);
                break;

            case NGX_HTTP_DEBUG_FAMILY_FAILED:
                if (s->row.entity->failed) {
                    ngx_http_debug_prometheus_sample(p, "", s, NULL,
                         ngx_http_debug_load(&s->row.entity->failed) * 1000000,
                         NGX_HTTP_DEBUG_SECONDS);
                }

                break;

            case NGX_HTTP_DEBUG_FAMILY_CONFIGURED:
                ngx_http_debug_prometheus_sample(p, "", s, NULL,
                                 ngx_http_debug_zone_named(s->row.entity),
                                                 NGX_HTTP_DEBUG_COUNT);
                break;

            case NGX_HTTP_DEBUG_FAMILY_UP:
                if (s->up != -1) {
                    ngx_http_debug_prometheus_sample(p, "", s, NULL, s->up,
                                                     NGX_HTTP_DEBUG_COUNT);
                }

                break;

            case NGX_HTTP_DEBUG_FAMILY_STATE:
                ngx_http_debug_prometheus_state(p, s);
                break;

            case NGX_HTTP_DEBUG_FAMILY_WEIGHT:
                ngx_http_debug_prometheus_sample(p, "", s, NULL,
                                                 s->row.entity->weight,
                                                 NGX_HTTP_DEBUG_COUNT);
                break;

            default:
                ngx_http_debug_prometheus_sample(p, "", s, &m->label,
                                                 s->row.value[m->metric],
                                                 m->unit);
            }

            if (p->out->failed) {
                return NGX_OK;
            }
        }

        p->family++;
        p->next = 0;
    }
}


/* Is M the first row of its family?  They differ in their label alone. */

static ngx_uint_t
ngx_http_debug_prometheus_first(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_metric_t *m)
{
    ngx_str_t  *family;

    family = &m->family;

    while (m-- > ngx_http_debug_metrics) {

        if ((m->kinds & p->scope->kinds)
            && m->family.len == family->len
            && ngx_strncmp(m->family.data, family->data, family->len) == 0)
        {
            return 0;
        }
    }

    return 1;
}


static void
ngx_http_debug_prometheus_responses(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_series_t *s)
{
    u_char                  text[32];
    ngx_str_t               label;
    ngx_uint_t              i;
    ngx_http_debug_code_t  *code;

    label.data = text;

    for (i = 0; i < s->row.ncodes; i++) {
        code = &s->row.code[i];

        label.len = ngx_sprintf(text, code->code < 100 ? "code=\"%uDxx\""
                                                       : "code=\"%uD\"",
                                code->code)
                    - text;

        ngx_http_debug_prometheus_sample(p, "", s, &label, code->count,
                                         NGX_HTTP_DEBUG_COUNT);
    }
}


static void
ngx_http_debug_prometheus_time(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_series_t *s)
{
    ngx_uint_t  i;

    static ngx_str_t  inf = ngx_string("le=\"+Inf\"");

    /* as OpenMetrics has them: numbers that look like floats */

    static ngx_str_t  le[NGX_HTTP_DEBUG_LE] = {
        ngx_string("le=\"0.0001220703125\""),
        ngx_string("le=\"0.000244140625\""),
        ngx_string("le=\"0.00048828125\""),
        ngx_string("le=\"0.0009765625\""),
        ngx_string("le=\"0.001953125\""),
        ngx_string("le=\"0.00390625\""),
        ngx_string("le=\"0.0078125\""),
        ngx_string("le=\"0.015625\""),
        ngx_string("le=\"0.03125\""),
        ngx_string("le=\"0.0625\""),
        ngx_string("le=\"0.125\""),
        ngx_string("le=\"0.25\""),
        ngx_string("le=\"0.5\""),
        ngx_string("le=\"1.0\""),
        ngx_string("le=\"2.0\""),
        ngx_string("le=\"4.0\""),
        ngx_string("le=\"8.0\""),
        ngx_string("le=\"16.0\""),
        ngx_string("le=\"32.0\""),
        ngx_string("le=\"64.0\""),
        ngx_string("le=\"128.0\"")
    };

    /* what was never asked is not worth as many lines */

    for (i = 0; s->row.measured && i < NGX_HTTP_DEBUG_LE; i++) {
        ngx_http_debug_prometheus_sample(p, "_bucket", s, &le[i],
                                         s->row.le[i], NGX_HTTP_DEBUG_COUNT);
    }

    ngx_http_debug_prometheus_sample(p, "_bucket", s, &inf, s->row.measured,
                                     NGX_HTTP_DEBUG_COUNT);
    ngx_http_debug_prometheus_sample(p, "_sum", s, NULL,
                                s->row.value[NGX_HTTP_DEBUG_TIME]
                                + s->row.value[NGX_HTTP_DEBUG_TIMEOUT_TIME],
                                NGX_HTTP_DEBUG_SECONDS);
    ngx_http_debug_prometheus_sample(p, "_count", s, NULL, s->row.measured,
                                     NGX_HTTP_DEBUG_COUNT);
}


static void
ngx_http_debug_prometheus_state(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_series_t *s)
{
    u_char      text[32];
    ngx_str_t   label;

    label.data = text;
    label.len = ngx_sprintf(text, "state=\"%V\"",
                            &ngx_http_debug_state_names[s->state])
                - text;

    ngx_http_debug_prometheus_sample(p, "", s, &label, 1,
                                     NGX_HTTP_DEBUG_COUNT);
}


static ngx_int_t
ngx_http_debug_prometheus_labels(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_entity_t *e, ngx_str_t *labels)
{
    size_t                    len;
    u_char                   *dst;
    ngx_http_debug_entity_t  *group;

    group = NULL;
    len = e->len;

    if (e->kind == NGX_HTTP_DEBUG_PEER) {
        group = ngx_http_debug_zone_by_id(p->zone, e->group);
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

        if (e->kind == NGX_HTTP_DEBUG_OVERFLOW) {
            dst = ngx_cpymem(dst, ",overflow=\"1\"", 13);
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


/* One line.  S is NULL for what has no labels; so may be LABEL, one more. */

static void
ngx_http_debug_prometheus_sample(ngx_http_debug_prometheus_t *p, char *suffix,
    ngx_http_debug_series_t *s, ngx_str_t *label, uint64_t value,
    ngx_http_debug_unit_e unit)
{
    u_char  *dst;

    dst = ngx_http_debug_out_room(p->out, p->len + 2 * NGX_HTTP_DEBUG_GO_LEN
                                          + (s ? s->labels.len : 0)
                                          + (label ? label->len : 0));
    if (dst == NULL) {
        return;
    }

    dst = ngx_cpymem(dst, p->name, p->len);

    while (*suffix) {
        *dst++ = *suffix++;
    }

    if (s) {
        *dst++ = '{';
        dst = ngx_cpymem(dst, s->labels.data, s->labels.len);

        if (label && label->len) {
            *dst++ = ',';
            dst = ngx_cpymem(dst, label->data, label->len);
        }

        *dst++ = '}';
    }

    *dst++ = ' ';

    dst = ngx_http_debug_prometheus_value(dst, value, unit);

    ngx_http_debug_out_end(p->out, dst);
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
