
/*
 * The route /debug/metrics: which format, and which part.
 *
 * Formats: RFC 9110, 12.5.1, Accept;
 * https://prometheus.io/docs/instrumenting/content_negotiation/
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_answer.h"
#include "ngx_http_debug_scrape.h"
#include "ngx_http_debug_task.h"


/* One of what an Accept lists: a media range, and what stands behind it. */

typedef struct {
    ngx_str_t                 type;
    ngx_str_t                 version;
    ngx_str_t                 proto;
    ngx_str_t                 encoding;
    ngx_uint_t                quality;   /* of 1000 */
} ngx_http_debug_scrape_range_t;


typedef struct {
    ngx_http_debug_format_t  *format;
    ngx_str_t                 type;
} ngx_http_debug_scrape_t;


static ngx_http_debug_scrape_t *ngx_http_debug_scrape_negotiate(
    ngx_http_request_t *r);
static u_char *ngx_http_debug_scrape_range(u_char *p, u_char *last,
    ngx_http_debug_scrape_range_t *range);
static u_char *ngx_http_debug_scrape_word(u_char *p, u_char *last,
    ngx_str_t *word);
static ngx_uint_t ngx_http_debug_scrape_quality(ngx_str_t *value);
static ngx_http_debug_scrape_t *ngx_http_debug_scrape_find(
    ngx_http_debug_scrape_range_t *range);
static ngx_uint_t ngx_http_debug_scrape_is(ngx_str_t *word, char *text);


static ngx_http_debug_scrape_t  ngx_http_debug_scrape_text = {
    &ngx_http_debug_text,
    ngx_string("text/plain; version=0.0.4; charset=utf-8")
};

static ngx_http_debug_scrape_t  ngx_http_debug_scrape_openmetrics = {
    &ngx_http_debug_openmetrics,
    ngx_string("application/openmetrics-text; version=1.0.0; charset=utf-8")
};

static ngx_http_debug_scrape_t  ngx_http_debug_scrape_proto = {
    &ngx_http_debug_proto,
    ngx_string("application/vnd.google.protobuf;"
               " proto=io.prometheus.client.MetricFamily; encoding=delimited")
};


ngx_int_t
ngx_http_debug_scrape(ngx_http_request_t *r, ngx_http_debug_zone_t *zone,
    ngx_http_debug_filter_t *filter)
{
    ngx_http_debug_out_t         *out;
    ngx_http_debug_scrape_t      *scrape;
    ngx_http_debug_prometheus_t  *p;

    scrape = ngx_http_debug_scrape_negotiate(r);

    /* what processes say of themselves is asked for while this goes on */

    __atomic_store_n(&zone->scraped, ngx_http_debug_now() / 1000000000,
                     __ATOMIC_RELAXED);

    out = ngx_http_debug_out_create(r->pool);
    if (out == NULL) {
        return NGX_ERROR;
    }

    p = ngx_http_debug_prometheus_create(out, zone, scrape->format, filter);
    if (p == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_debug_task_run(r, &scrape->type, out,
                                   ngx_http_debug_prometheus_step, p);
}


/*
 * What the client likes best, of equals what it names first; text, if it
 * accepts nothing that there is, since a sentence would help it less.
 */

static ngx_http_debug_scrape_t *
ngx_http_debug_scrape_negotiate(ngx_http_request_t *r)
{
    u_char                         *p, *last;
    ngx_uint_t                      i, quality;
    ngx_list_part_t                *part;
    ngx_table_elt_t                *h;
    ngx_http_debug_scrape_t        *best, *one;
    ngx_http_debug_scrape_range_t   range;

    best = &ngx_http_debug_scrape_text;
    quality = 0;

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return best;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len != sizeof("Accept") - 1
            || ngx_strncasecmp(h[i].key.data, (u_char *) "Accept",
                               sizeof("Accept") - 1)
               != 0)
        {
            continue;
        }

        p = h[i].value.data;
        last = p + h[i].value.len;

        while (p < last) {
            p = ngx_http_debug_scrape_range(p, last, &range);
            one = ngx_http_debug_scrape_find(&range);

            if (one && range.quality > quality) {
                best = one;
                quality = range.quality;
            }
        }
    }
}


/* Reads one; returns where the next one begins. */

static u_char *
ngx_http_debug_scrape_range(u_char *p, u_char *last,
    ngx_http_debug_scrape_range_t *range)
{
    ngx_str_t  name, value;

    ngx_memzero(range, sizeof(ngx_http_debug_scrape_range_t));

    range->quality = 1000;

    p = ngx_http_debug_scrape_word(p, last, &range->type);

    while (p < last && *p != ',') {

        if (*p != ';') {
            p++;
            continue;
        }

        p = ngx_http_debug_scrape_word(p + 1, last, &name);
        ngx_str_null(&value);

        if (p < last && *p == '=') {
            p = ngx_http_debug_scrape_word(p + 1, last, &value);
        }

        if (ngx_http_debug_scrape_is(&name, "q")) {
            range->quality = ngx_http_debug_scrape_quality(&value);

        } else if (ngx_http_debug_scrape_is(&name, "version")) {
            range->version = value;

        } else if (ngx_http_debug_scrape_is(&name, "proto")) {
            range->proto = value;

        } else if (ngx_http_debug_scrape_is(&name, "encoding")) {
            range->encoding = value;
        }
    }

    return p + 1;
}


/* A word, or what stands in quotes; returns where the next delimiter is. */

static u_char *
ngx_http_debug_scrape_word(u_char *p, u_char *last, ngx_str_t *word)
{
    while (p < last && (*p == ' ' || *p == '\t')) {
        p++;
    }

    if (p < last && *p == '"') {
        word->data = ++p;

        while (p < last && *p != '"') {
            p += (*p == '\\') ? 2 : 1;
        }

        p = ngx_min(p, last);
        word->len = p - word->data;

        return (p < last) ? p + 1 : p;
    }

    word->data = p;

    while (p < last
           && *p != ',' && *p != ';' && *p != '=' && *p != ' ' && *p != '\t')
    {
        p++;
    }

    word->len = p - word->data;

    while (p < last && (*p == ' ' || *p == '\t')) {
        p++;
    }

    return p;
}


/* "1", "0.8" or "0.125"; what is no such number is not wanted. */

static ngx_uint_t
ngx_http_debug_scrape_quality(ngx_str_t *value)
{
    ngx_int_t  n;

    if (value->len == 0 || value->data[0] < '0' || value->data[0] > '1') {
        return 0;
    }

    if (value->data[0] == '1') {
        return 1000;
    }

    if (value->len < 3) {
        return 0;
    }

    /* as nginx reads fractions: three digits, what is missing is 0 */

    n = ngx_atofp(value->data, ngx_min(value->len, 5), 3);

    return (n == NGX_ERROR) ? 0 : n;
}


/* What answers a range, or NULL.  A range of many types means text. */

static ngx_http_debug_scrape_t *
ngx_http_debug_scrape_find(ngx_http_debug_scrape_range_t *range)
{
    if (ngx_http_debug_scrape_is(&range->type,
                                 "application/vnd.google.protobuf"))
    {
        return (ngx_http_debug_scrape_is(&range->proto,
                                         "io.prometheus.client.MetricFamily")
                && ngx_http_debug_scrape_is(&range->encoding, "delimited"))
               ? &ngx_http_debug_scrape_proto : NULL;
    }

    if (ngx_http_debug_scrape_is(&range->type,
                                 "application/openmetrics-text"))
    {
        return (range->version.len == 0
                || ngx_http_debug_scrape_is(&range->version, "1.0.0")
                || ngx_http_debug_scrape_is(&range->version, "0.0.1"))
               ? &ngx_http_debug_scrape_openmetrics : NULL;
    }

    return (ngx_http_debug_scrape_is(&range->type, "text/plain")
            || ngx_http_debug_scrape_is(&range->type, "text/*")
            || ngx_http_debug_scrape_is(&range->type, "*/*"))
           ? &ngx_http_debug_scrape_text : NULL;
}


static ngx_uint_t
ngx_http_debug_scrape_is(ngx_str_t *word, char *text)
{
    return word->len == ngx_strlen(text)
           && ngx_strncasecmp(word->data, (u_char *) text, word->len) == 0;
}
