
/*
 * /debug/metrics as text 0.0.4, or OpenMetrics.
 *
 * Formats: https://prometheus.io/docs/instrumenting/exposition_formats/,
 * https://prometheus.io/docs/specs/om/open_metrics_spec/
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_debug_go.h"
#include "ngx_http_debug_prometheus.h"


static ngx_int_t ngx_http_debug_text_series(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_series_t *s, uint64_t *bucket);
static u_char *ngx_http_debug_text_label(u_char *dst, char *name,
    u_char *value, size_t len);
static void ngx_http_debug_text_family(ngx_http_debug_prometheus_t *p);
static void ngx_http_debug_text_prepare(ngx_http_debug_prometheus_t *p,
    ngx_str_t *label);
static void ngx_http_debug_text_sample(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_series_t *s, uint64_t value, ngx_http_debug_unit_e unit);
static void ngx_http_debug_text_times(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_series_t *s);
static u_char *ngx_http_debug_text_head(u_char *dst,
    ngx_http_debug_prometheus_t *p, char *suffix, ngx_http_debug_series_t *s,
    ngx_str_t *label);
static u_char *ngx_http_debug_text_uint(u_char *dst, uint64_t n);
static void ngx_http_debug_text_end(ngx_http_debug_prometheus_t *p);


ngx_http_debug_format_t  ngx_http_debug_text = {
    ngx_http_debug_text_series,
    NULL,
    ngx_http_debug_text_prepare,
    ngx_http_debug_text_family,
    ngx_http_debug_text_sample,
    ngx_http_debug_text_times,
    NULL,
    0,
    0,
    0
};


ngx_http_debug_format_t  ngx_http_debug_openmetrics = {
    ngx_http_debug_text_series,
    NULL,
    ngx_http_debug_text_prepare,
    ngx_http_debug_text_family,
    ngx_http_debug_text_sample,
    ngx_http_debug_text_times,
    ngx_http_debug_text_end,
    0,
    0,
    1
};


static ngx_int_t
ngx_http_debug_text_series(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_series_t *s, uint64_t *bucket)
{
    u_char  *dst;

    dst = ngx_pnalloc(p->out->pool,
                      ngx_http_debug_prometheus_labels_len(p, s->row.entity));
    if (dst == NULL) {
        return NGX_ERROR;
    }

    s->labels.data = dst;

    dst = ngx_http_debug_prometheus_labels(p, s->row.entity, dst,
                                           ngx_http_debug_text_label);

    /* each has a comma behind it */

    s->labels.len = dst - s->labels.data - 1;

    ngx_http_debug_snapshot_le(&s->row, bucket, s->le);

    return NGX_OK;
}


static u_char *
ngx_http_debug_text_label(u_char *dst, char *name, u_char *value, size_t len)
{
    dst = ngx_sprintf(dst, "%s=\"", name);
    dst = ngx_http_debug_prometheus_utf8(dst, value, len, 1);
    *dst++ = '"';
    *dst++ = ',';

    return dst;
}


static void
ngx_http_debug_text_family(ngx_http_debug_prometheus_t *p)
{
    size_t   len;
    char    *type;

    len = p->len;

    switch (p->family->type) {

    case NGX_HTTP_DEBUG_COUNTER:
        type = "counter";

        /* OpenMetrics names such a family without its "_total" */

        len -= p->format->openmetrics ? sizeof("_total") - 1 : 0;
        break;

    case NGX_HTTP_DEBUG_GAUGE:
        type = "gauge";
        break;

    default: /* NGX_HTTP_DEBUG_HISTOGRAM */
        type = "histogram";
    }

    ngx_http_debug_out_print(p->out, "# HELP %*s %V\n# TYPE %*s %s\n",
                             len, p->name, &p->family->help, len, p->name,
                             type);
}


static void
ngx_http_debug_text_prepare(ngx_http_debug_prometheus_t *p, ngx_str_t *label)
{
    p->label = *label;
}


static void
ngx_http_debug_text_sample(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_series_t *s, uint64_t value, ngx_http_debug_unit_e unit)
{
    u_char  *dst;

    dst = ngx_http_debug_out_room(p->out, p->len + s->labels.len
                                          + p->label.len
                                          + NGX_HTTP_DEBUG_GO_LEN + 8);
    if (dst == NULL) {
        return;
    }

    dst = ngx_http_debug_text_head(dst, p, "", s, &p->label);

    if (unit == NGX_HTTP_DEBUG_SECONDS) {
        dst = ngx_http_debug_go_seconds(dst, value);
        *dst++ = LF;

    } else {
        dst = ngx_http_debug_text_uint(dst, value);
    }

    ngx_http_debug_out_end(p->out, dst);
}


static void
ngx_http_debug_text_times(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_series_t *s)
{
    u_char      *dst, *first;
    size_t       len, head;
    ngx_uint_t   i;

    static ngx_str_t  none = ngx_null_string;
    static ngx_str_t  begin = ngx_string("le=\"");

    /* as OpenMetrics has them: numbers that look like floats */

    static ngx_str_t  le[NGX_HTTP_DEBUG_LE + 1] = {
        ngx_string("0.0001220703125\"} "),
        ngx_string("0.000244140625\"} "),
        ngx_string("0.00048828125\"} "),
        ngx_string("0.0009765625\"} "),
        ngx_string("0.001953125\"} "),
        ngx_string("0.00390625\"} "),
        ngx_string("0.0078125\"} "),
        ngx_string("0.015625\"} "),
        ngx_string("0.03125\"} "),
        ngx_string("0.0625\"} "),
        ngx_string("0.125\"} "),
        ngx_string("0.25\"} "),
        ngx_string("0.5\"} "),
        ngx_string("1.0\"} "),
        ngx_string("2.0\"} "),
        ngx_string("4.0\"} "),
        ngx_string("8.0\"} "),
        ngx_string("16.0\"} "),
        ngx_string("32.0\"} "),
        ngx_string("64.0\"} "),
        ngx_string("128.0\"} "),
        ngx_string("+Inf\"} ")
    };

    len = p->len + s->labels.len + NGX_HTTP_DEBUG_GO_LEN + 64;
    first = NULL;
    head = 0;

    /* what was never asked is not worth as many lines */

    for (i = s->row.measured ? 0 : NGX_HTTP_DEBUG_LE;
         i <= NGX_HTTP_DEBUG_LE;
         i++)
    {
        dst = ngx_http_debug_out_room(p->out, len);
        if (dst == NULL) {
            return;
        }

        /* what all of them begin with is made once */

        if (first == NULL) {
            first = dst;
            head = ngx_http_debug_text_head(dst, p, "_bucket", s, &begin)
                   - dst - (sizeof("} ") - 1);
            dst += head;

        } else {
            dst = ngx_cpymem(dst, first, head);
        }

        dst = ngx_cpymem(dst, le[i].data, le[i].len);
        dst = ngx_http_debug_text_uint(dst, i < NGX_HTTP_DEBUG_LE
                                            ? s->le[i] : s->row.measured);

        ngx_http_debug_out_end(p->out, dst);
    }

    dst = ngx_http_debug_out_room(p->out, len);
    if (dst == NULL) {
        return;
    }

    dst = ngx_http_debug_text_head(dst, p, "_sum", s, &none);
    dst = ngx_http_debug_go_seconds(dst, s->row.value[NGX_HTTP_DEBUG_TIME]
                               + s->row.value[NGX_HTTP_DEBUG_TIMEOUT_TIME]);
    *dst++ = LF;

    ngx_http_debug_out_end(p->out, dst);

    dst = ngx_http_debug_out_room(p->out, len);
    if (dst == NULL) {
        return;
    }

    dst = ngx_http_debug_text_head(dst, p, "_count", s, &none);
    dst = ngx_http_debug_text_uint(dst, s->row.measured);

    ngx_http_debug_out_end(p->out, dst);
}


/* A line up to its number. */

static u_char *
ngx_http_debug_text_head(u_char *dst, ngx_http_debug_prometheus_t *p,
    char *suffix, ngx_http_debug_series_t *s, ngx_str_t *label)
{
    dst = ngx_cpymem(dst, p->name, p->len);

    while (*suffix) {
        *dst++ = *suffix++;
    }

    if (s->labels.len + label->len) {
        *dst++ = '{';

        /* memcpy() takes no NULL, not even for nothing */

        if (s->labels.len) {
            dst = ngx_cpymem(dst, s->labels.data, s->labels.len);
        }

        if (label->len) {

            if (s->labels.len) {
                *dst++ = ',';
            }

            dst = ngx_cpymem(dst, label->data, label->len);
        }

        *dst++ = '}';
    }

    *dst++ = ' ';

    return dst;
}


/* A number, and the end of its line. */

static u_char *
ngx_http_debug_text_uint(u_char *dst, uint64_t n)
{
    u_char  *p, text[NGX_INT64_LEN];

    if (n < 10) {
        *dst++ = (u_char) (n + '0');
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


static void
ngx_http_debug_text_end(ngx_http_debug_prometheus_t *p)
{
    ngx_http_debug_out_literal(p->out, "# EOF\n");
}
