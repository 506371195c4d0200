
/*
 * /debug/metrics as protobuf: a row of io.prometheus.client.MetricFamily,
 * each behind its length, with native histograms.
 *
 * By hand, since it is six kinds of messages that are only written: all of
 * them is less than what a library's glue would be.  Each length stands before
 * what it counts, so all is measured first and written then.
 *
 * Formats: https://github.com/prometheus/client_model, metrics.proto;
 * https://prometheus.io/docs/specs/native_histograms/
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_debug_prometheus.h"


/* a field's key: its number, and how it is written */

#define ngx_http_debug_proto_varint(n)  ((n) << 3)
#define ngx_http_debug_proto_double(n)  ((n) << 3 | 1)
#define ngx_http_debug_proto_bytes(n)   ((n) << 3 | 2)


enum {
    NGX_HTTP_DEBUG_FAMILY_NAME = ngx_http_debug_proto_bytes(1),
    NGX_HTTP_DEBUG_FAMILY_HELP = ngx_http_debug_proto_bytes(2),
    NGX_HTTP_DEBUG_FAMILY_TYPE = ngx_http_debug_proto_varint(3),
    NGX_HTTP_DEBUG_FAMILY_METRIC = ngx_http_debug_proto_bytes(4),

    NGX_HTTP_DEBUG_METRIC_LABEL = ngx_http_debug_proto_bytes(1),
    NGX_HTTP_DEBUG_METRIC_GAUGE = ngx_http_debug_proto_bytes(2),
    NGX_HTTP_DEBUG_METRIC_COUNTER = ngx_http_debug_proto_bytes(3),
    NGX_HTTP_DEBUG_METRIC_HISTOGRAM = ngx_http_debug_proto_bytes(7),

    NGX_HTTP_DEBUG_LABEL_NAME = ngx_http_debug_proto_bytes(1),
    NGX_HTTP_DEBUG_LABEL_VALUE = ngx_http_debug_proto_bytes(2),

    /* of a gauge and of a counter */
    NGX_HTTP_DEBUG_VALUE = ngx_http_debug_proto_double(1),
    NGX_HTTP_DEBUG_COUNTER_CREATED = ngx_http_debug_proto_bytes(3),

    NGX_HTTP_DEBUG_HISTOGRAM_COUNT = ngx_http_debug_proto_varint(1),
    NGX_HTTP_DEBUG_HISTOGRAM_SUM = ngx_http_debug_proto_double(2),
    NGX_HTTP_DEBUG_HISTOGRAM_SCHEMA = ngx_http_debug_proto_varint(5),
    NGX_HTTP_DEBUG_HISTOGRAM_ZERO = ngx_http_debug_proto_double(6),
    NGX_HTTP_DEBUG_HISTOGRAM_ZEROS = ngx_http_debug_proto_varint(7),
    NGX_HTTP_DEBUG_HISTOGRAM_SPAN = ngx_http_debug_proto_bytes(12),
    NGX_HTTP_DEBUG_HISTOGRAM_DELTAS = ngx_http_debug_proto_bytes(13),
    NGX_HTTP_DEBUG_HISTOGRAM_CREATED = ngx_http_debug_proto_bytes(15),

    NGX_HTTP_DEBUG_SPAN_OFFSET = ngx_http_debug_proto_varint(1),
    NGX_HTTP_DEBUG_SPAN_LENGTH = ngx_http_debug_proto_varint(2),

    NGX_HTTP_DEBUG_TIMESTAMP_SECONDS = ngx_http_debug_proto_varint(1)
};


#define NGX_HTTP_DEBUG_SCHEMA         4        /* 2^(i/2^4) */

/* of ours, the one that ends at 1 s: number 0 there */
#define NGX_HTTP_DEBUG_BUCKET_OF_1S   320

/* bytes of a number at most, of a double and of a time with their keys */
#define NGX_HTTP_DEBUG_PROTO_VARINT   10
#define NGX_HTTP_DEBUG_PROTO_DOUBLE   9
#define NGX_HTTP_DEBUG_PROTO_CREATED  8

/*
 * As many empty buckets within a span take less room, and are less to read,
 * than the beginning of another.
 */
#define NGX_HTTP_DEBUG_SPAN_GAP       2

/* all buckets, or all gaps that another span begins after */
#define NGX_HTTP_DEBUG_DELTAS_SIZE                                            \
    (NGX_HTTP_DEBUG_BUCKETS * NGX_HTTP_DEBUG_PROTO_VARINT)
#define NGX_HTTP_DEBUG_SPANS_SIZE                                             \
    ((NGX_HTTP_DEBUG_BUCKETS / (NGX_HTTP_DEBUG_SPAN_GAP + 2) + 1) * 8)


static ngx_int_t ngx_http_debug_proto_series(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_series_t *s, uint64_t *bucket);
static u_char *ngx_http_debug_proto_label(u_char *dst, char *name,
    u_char *value, size_t len);
static ngx_int_t ngx_http_debug_proto_histogram(
    ngx_http_debug_prometheus_t *p, ngx_http_debug_series_t *s,
    uint64_t *bucket);
static u_char *ngx_http_debug_proto_spans(ngx_http_debug_row_t *row,
    uint64_t *bucket, u_char *spans, u_char **deltas);
static u_char *ngx_http_debug_proto_span(u_char *dst, ngx_int_t offset,
    ngx_uint_t length);
static void ngx_http_debug_proto_family(ngx_http_debug_prometheus_t *p);
static void ngx_http_debug_proto_sample(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_series_t *s, uint64_t value, ngx_http_debug_unit_e unit);
static void ngx_http_debug_proto_times(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_series_t *s);
static u_char *ngx_http_debug_proto_metric(ngx_http_debug_prometheus_t *p,
    size_t size);
static void ngx_http_debug_proto_prepare(ngx_http_debug_prometheus_t *p,
    ngx_str_t *label);
static void ngx_http_debug_proto_created(ngx_http_debug_series_t *s,
    uint64_t seconds);


ngx_http_debug_format_t  ngx_http_debug_proto = {
    ngx_http_debug_proto_series,
    ngx_http_debug_proto_created,
    ngx_http_debug_proto_prepare,
    ngx_http_debug_proto_family,
    ngx_http_debug_proto_sample,
    ngx_http_debug_proto_times,
    NULL,
    1,
    1,
    0
};


static ngx_inline size_t
ngx_http_debug_proto_size(uint64_t n)
{
    /* seven bits a byte */

    return (63 - __builtin_clzll(n | 1)) / 7 + 1;
}


static ngx_inline u_char *
ngx_http_debug_proto_put(u_char *dst, uint64_t n)
{
    while (n > 127) {
        *dst++ = (u_char) (n | 128);
        n >>= 7;
    }

    *dst++ = (u_char) n;

    return dst;
}


/* small when its distance from 0 is */

static ngx_inline u_char *
ngx_http_debug_proto_put_signed(u_char *dst, int64_t n)
{
    return ngx_http_debug_proto_put(dst, (uint64_t) n << 1
                                         ^ (n < 0 ? UINT64_MAX : 0));
}


static ngx_inline u_char *
ngx_http_debug_proto_put_double(u_char *dst, ngx_uint_t key, double value)
{
#if !(NGX_HAVE_LITTLE_ENDIAN)
    uint64_t  bits;

    ngx_memcpy(&bits, &value, sizeof(bits));
    bits = __builtin_bswap64(bits);
    ngx_memcpy(&value, &bits, sizeof(bits));
#endif

    *dst++ = (u_char) key;
    ngx_memcpy(dst, &value, sizeof(value));

    return dst + sizeof(value);
}


static ngx_inline double
ngx_http_debug_proto_value(uint64_t value, ngx_http_debug_unit_e unit)
{
    return (unit == NGX_HTTP_DEBUG_SECONDS) ? (double) value / 1e9
                                            : (double) value;
}


static ngx_int_t
ngx_http_debug_proto_series(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_series_t *s, uint64_t *bucket)
{
    u_char  *dst;

    dst = ngx_pnalloc(p->out->pool,
                      ngx_http_debug_prometheus_labels_len(p, s->row.entity));
    if (dst == NULL) {
        return NGX_ERROR;
    }

    s->labels.data = dst;
    s->labels.len = ngx_http_debug_prometheus_labels(p, s->row.entity, dst,
                                                  ngx_http_debug_proto_label)
                    - dst;

    return ngx_http_debug_proto_histogram(p, s, bucket);
}


static u_char *
ngx_http_debug_proto_label(u_char *dst, char *name, u_char *value, size_t len)
{
    size_t   n, size, text;
    u_char  *to;

    n = ngx_strlen(name);

    /* as UTF-8 it may have become longer: it is moved behind its lengths */

    to = dst + 4 * NGX_HTTP_DEBUG_PROTO_VARINT + n;
    text = ngx_http_debug_prometheus_utf8(to, value, len, 0) - to;

    size = 1 + ngx_http_debug_proto_size(n) + n
           + 1 + ngx_http_debug_proto_size(text) + text;

    *dst++ = NGX_HTTP_DEBUG_METRIC_LABEL;
    dst = ngx_http_debug_proto_put(dst, size);
    *dst++ = NGX_HTTP_DEBUG_LABEL_NAME;
    dst = ngx_http_debug_proto_put(dst, n);
    dst = ngx_cpymem(dst, name, n);
    *dst++ = NGX_HTTP_DEBUG_LABEL_VALUE;
    dst = ngx_http_debug_proto_put(dst, text);

    ngx_memmove(dst, to, text);

    return dst + text;
}


/* The message is made at once: of a row there are no buckets afterwards. */

static ngx_int_t
ngx_http_debug_proto_histogram(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_series_t *s, uint64_t *bucket)
{
    u_char    *dst, *end, *last;
    size_t     nspans, ndeltas;
    uint64_t   zeros;
    u_char     spans[NGX_HTTP_DEBUG_SPANS_SIZE];
    u_char     deltas[NGX_HTTP_DEBUG_DELTAS_SIZE];

    zeros = (s->row.low == 0) ? bucket[0] : 0;

    end = deltas;
    last = ngx_http_debug_proto_spans(&s->row, bucket, spans, &end);

    nspans = last - spans;
    ndeltas = end - deltas;

    dst = ngx_pnalloc(p->out->pool, nspans + ndeltas + 64
                                    + 3 * NGX_HTTP_DEBUG_PROTO_VARINT);
    if (dst == NULL) {
        return NGX_ERROR;
    }

    s->histogram.data = dst;

    *dst++ = NGX_HTTP_DEBUG_HISTOGRAM_COUNT;
    dst = ngx_http_debug_proto_put(dst, s->row.measured);
    dst = ngx_http_debug_proto_put_double(dst, NGX_HTTP_DEBUG_HISTOGRAM_SUM,
              ngx_http_debug_proto_value(s->row.value[NGX_HTTP_DEBUG_TIME]
                                + s->row.value[NGX_HTTP_DEBUG_TIMEOUT_TIME],
                                         NGX_HTTP_DEBUG_SECONDS));
    *dst++ = NGX_HTTP_DEBUG_HISTOGRAM_SCHEMA;
    dst = ngx_http_debug_proto_put_signed(dst, NGX_HTTP_DEBUG_SCHEMA);

    /* the first bucket ends there */

    dst = ngx_http_debug_proto_put_double(dst, NGX_HTTP_DEBUG_HISTOGRAM_ZERO,
                                          1.0 / (1 << 20));
    *dst++ = NGX_HTTP_DEBUG_HISTOGRAM_ZEROS;
    dst = ngx_http_debug_proto_put(dst, zeros);

    dst = ngx_cpymem(dst, spans, nspans);

    if (ndeltas) {
        *dst++ = NGX_HTTP_DEBUG_HISTOGRAM_DELTAS;
        dst = ngx_http_debug_proto_put(dst, ndeltas);
        dst = ngx_cpymem(dst, deltas, ndeltas);
    }

    *dst++ = NGX_HTTP_DEBUG_HISTOGRAM_CREATED;
    dst = ngx_cpymem(dst, &s->created, NGX_HTTP_DEBUG_PROTO_CREATED - 1);

    s->histogram.len = dst - s->histogram.data;

    return NGX_OK;
}


/*
 * Where there are buckets, and each as the difference to the one before.
 * Returns the end of SPANS, and that of the differences in *DELTAS.
 */

static u_char *
ngx_http_debug_proto_spans(ngx_http_debug_row_t *row, uint64_t *bucket,
    u_char *spans, u_char **deltas)
{
    u_char      *dst;
    uint64_t     count;
    ngx_uint_t   i, begin, end, before;

    dst = *deltas;
    count = 0;

    begin = 0;
    end = 0;
    before = NGX_HTTP_DEBUG_BUCKET_OF_1S;

    /* the first bucket is that of 0 */

    for (i = ngx_max(row->low, 1); i <= row->high; i++) {

        if (bucket[i] == 0) {
            continue;
        }

        if (end == 0 || i - end > NGX_HTTP_DEBUG_SPAN_GAP) {

            if (end) {
                spans = ngx_http_debug_proto_span(spans, begin - before,
                                                  end - begin);
                before = end;
            }

            begin = i;
            end = i;
        }

        for ( /* void */ ; end <= i; end++) {
            dst = ngx_http_debug_proto_put_signed(dst, bucket[end] - count);
            count = bucket[end];
        }
    }

    *deltas = dst;

    /* one without length tells an empty histogram from one of another kind */

    return ngx_http_debug_proto_span(spans, end ? begin - before : 0,
                                     end - begin);
}


static u_char *
ngx_http_debug_proto_span(u_char *dst, ngx_int_t offset, ngx_uint_t length)
{
    u_char  *size;

    *dst++ = NGX_HTTP_DEBUG_HISTOGRAM_SPAN;
    size = dst++;

    *dst++ = NGX_HTTP_DEBUG_SPAN_OFFSET;
    dst = ngx_http_debug_proto_put_signed(dst, offset);
    *dst++ = NGX_HTTP_DEBUG_SPAN_LENGTH;
    dst = ngx_http_debug_proto_put(dst, length);

    *size = (u_char) (dst - size - 1);

    return dst;
}


static void
ngx_http_debug_proto_family(ngx_http_debug_prometheus_t *p)
{
    size_t      size;
    u_char     *dst;
    ngx_str_t  *help;

    /* without metrics it would say nothing */

    if (p->size == 0) {
        return;
    }

    help = &p->family->help;

    size = 1 + ngx_http_debug_proto_size(p->len) + p->len
           + 1 + ngx_http_debug_proto_size(help->len) + help->len
           + 2 + p->size;

    dst = ngx_http_debug_out_room(p->out, p->len + help->len
                                          + 4 * NGX_HTTP_DEBUG_PROTO_VARINT);
    if (dst == NULL) {
        return;
    }

    dst = ngx_http_debug_proto_put(dst, size);

    *dst++ = NGX_HTTP_DEBUG_FAMILY_NAME;
    dst = ngx_http_debug_proto_put(dst, p->len);
    dst = ngx_cpymem(dst, p->name, p->len);

    *dst++ = NGX_HTTP_DEBUG_FAMILY_HELP;
    dst = ngx_http_debug_proto_put(dst, help->len);
    dst = ngx_cpymem(dst, help->data, help->len);

    *dst++ = NGX_HTTP_DEBUG_FAMILY_TYPE;
    *dst++ = (u_char) p->family->type;

    ngx_http_debug_out_end(p->out, dst);
}


static void
ngx_http_debug_proto_sample(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_series_t *s, uint64_t value, ngx_http_debug_unit_e unit)
{
    size_t      size;
    u_char     *dst;
    ngx_uint_t  created;

    created = p->family->type == NGX_HTTP_DEBUG_COUNTER
              && !(p->family->kinds & NGX_HTTP_DEBUG_FOREIGN);

    /* a value of 0 is that of a field which is not there */

    size = (value ? NGX_HTTP_DEBUG_PROTO_DOUBLE : 0)
           + (created ? NGX_HTTP_DEBUG_PROTO_CREATED : 0);

    dst = ngx_http_debug_proto_metric(p, s->labels.len + p->label.len + 2
                                         + size);
    if (dst == NULL) {
        return;
    }

    dst = ngx_cpymem(dst, s->labels.data, s->labels.len);

    if (p->label.len) {
        dst = ngx_cpymem(dst, p->label.data, p->label.len);
    }

    *dst++ = (p->family->type == NGX_HTTP_DEBUG_COUNTER)
             ? NGX_HTTP_DEBUG_METRIC_COUNTER : NGX_HTTP_DEBUG_METRIC_GAUGE;
    *dst++ = (u_char) size;

    if (value) {
        dst = ngx_http_debug_proto_put_double(dst, NGX_HTTP_DEBUG_VALUE,
                                     ngx_http_debug_proto_value(value, unit));
    }

    if (created) {
        *dst = NGX_HTTP_DEBUG_COUNTER_CREATED;
        ngx_memcpy(dst + 1, &s->created, NGX_HTTP_DEBUG_PROTO_CREATED - 1);
        dst += NGX_HTTP_DEBUG_PROTO_CREATED;
    }

    ngx_http_debug_out_end(p->out, dst);
}


static void
ngx_http_debug_proto_times(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_series_t *s)
{
    u_char  *dst;

    dst = ngx_http_debug_proto_metric(p, s->labels.len + 1
                               + ngx_http_debug_proto_size(s->histogram.len)
                               + s->histogram.len);
    if (dst == NULL) {
        return;
    }

    dst = ngx_cpymem(dst, s->labels.data, s->labels.len);

    *dst++ = NGX_HTTP_DEBUG_METRIC_HISTOGRAM;
    dst = ngx_http_debug_proto_put(dst, s->histogram.len);
    dst = ngx_cpymem(dst, s->histogram.data, s->histogram.len);

    ngx_http_debug_out_end(p->out, dst);
}


/*
 * The beginning of a metric of SIZE bytes.  Returns where these go, or NULL:
 * it is but measured, or there is no memory.
 */

static u_char *
ngx_http_debug_proto_metric(ngx_http_debug_prometheus_t *p, size_t size)
{
    u_char  *dst;

    if (p->measure) {
        p->size += 1 + ngx_http_debug_proto_size(size) + size;
        return NULL;
    }

    dst = ngx_http_debug_out_room(p->out, 1 + NGX_HTTP_DEBUG_PROTO_VARINT
                                          + size);
    if (dst == NULL) {
        return NULL;
    }

    *dst++ = NGX_HTTP_DEBUG_FAMILY_METRIC;

    return ngx_http_debug_proto_put(dst, size);
}


/* LABEL is name="value", and maybe a comma and more of them, all short. */

static void
ngx_http_debug_proto_prepare(ngx_http_debug_prometheus_t *p, ngx_str_t *label)
{
    size_t   name, value;
    u_char  *dst, *from, *last, *quote;

    last = label->data + label->len;
    dst = p->prepared;

    for (from = label->data; from < last; from = quote + 2) {

        name = ngx_strlchr(from, last, '=') - from;
        quote = ngx_strlchr(from + name + 2, last, '"');
        value = quote - (from + name + 2);

        *dst++ = NGX_HTTP_DEBUG_METRIC_LABEL;
        *dst++ = (u_char) (4 + name + value);
        *dst++ = NGX_HTTP_DEBUG_LABEL_NAME;
        *dst++ = (u_char) name;
        dst = ngx_cpymem(dst, from, name);
        *dst++ = NGX_HTTP_DEBUG_LABEL_VALUE;
        *dst++ = (u_char) value;
        dst = ngx_cpymem(dst, from + name + 2, value);
    }

    p->label.data = p->prepared;
    p->label.len = dst - p->prepared;
}


/* The field without its key, in as many bytes whatever the time. */

static void
ngx_http_debug_proto_created(ngx_http_debug_series_t *s, uint64_t seconds)
{
    u_char  *dst;

    dst = (u_char *) &s->created;

    *dst++ = NGX_HTTP_DEBUG_PROTO_CREATED - 2;
    *dst++ = NGX_HTTP_DEBUG_TIMESTAMP_SECONDS;

    /* five, from 1978 to 3058 */

    (void) ngx_http_debug_proto_put(dst, ngx_max(seconds, 1 << 28));
}
