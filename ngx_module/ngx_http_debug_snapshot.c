
/*
 * The only reader: one pass over the cells of an entity makes a row.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_debug_histogram.h"
#include "ngx_http_debug_snapshot.h"


static void ngx_http_debug_snapshot_code(ngx_http_debug_row_t *row,
    uint32_t code, uint64_t count, uint64_t second);


void
ngx_http_debug_snapshot_row(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e, ngx_http_debug_row_t *row)
{
    uint32_t                code;
    uint64_t                n, ns, now, rank, second, base, floor;
    uint64_t                bucket[NGX_HTTP_DEBUG_BUCKETS];
    ngx_uint_t              i, c, k, le, last;
    ngx_http_debug_cell_t  *cell;

    static ngx_uint_t  parts[] = { 500, 900, 990, 999 };

    ngx_memzero(row, sizeof(ngx_http_debug_row_t));
    ngx_memzero(bucket, sizeof(bucket));

    row->entity = e;

    now = ngx_current_msec / 1000;
    floor = 0;

    for (c = 0; c < e->cells; c++) {
        cell = ngx_http_debug_zone_cell(zone, e, c);

        for (i = 0; i < NGX_HTTP_DEBUG_METRICS; i++) {
            row->value[i] += ngx_http_debug_load(&cell->value[i]);
        }

        second = ngx_http_debug_load(&cell->second);

        for (i = 0; i < NGX_HTTP_DEBUG_CODES + NGX_HTTP_DEBUG_CLASSES; i++) {

            if (i < NGX_HTTP_DEBUG_CODES) {
                code = ngx_http_debug_load(&cell->code[i]);

                if (code == 0) {
                    /* they are taken in order */
                    i = NGX_HTTP_DEBUG_CODES - 1;
                    continue;
                }

            } else {
                code = i - NGX_HTTP_DEBUG_CODES;
            }

            n = ngx_http_debug_load(&cell->count[i]);

            if (n == 0) {
                continue;
            }

            base = (second == now) ? ngx_http_debug_load(&cell->base[i]) : n;

            ngx_http_debug_snapshot_code(row, code, n, n - ngx_min(base, n));
        }

        if (ngx_http_debug_load(&cell->max) == 0
            && ngx_http_debug_load(&cell->floor) == 0)
        {
            continue;
        }

        row->max = ngx_max(row->max, ngx_http_debug_load(&cell->max));
        floor = ngx_max(floor, ngx_http_debug_load(&cell->floor));

        /* the others are empty: both bounds are written before a bucket */

        i = ngx_http_debug_histogram_bucket(
                                     ~ngx_http_debug_load(&cell->floor));
        last = ngx_http_debug_histogram_bucket(
                                     ngx_http_debug_load(&cell->max));

        for ( /* void */ ; i <= last; i++) {
            n = ngx_http_debug_load(&cell->bucket[i]);
            bucket[i] += n;
            row->measured += n;
        }
    }

    row->min = floor ? ~floor : 0;

    for (i = 0; i < NGX_HTTP_DEBUG_LANES; i++) {
        row->active += ngx_http_debug_load(&e->active[i]);
    }

    row->active = ngx_max(row->active, 0);

    if (floor == 0) {
        return;
    }

    /*
     * One pass for the percentiles and for the bounds of Prometheus, which
     * lie an octave apart.
     */

    i = ngx_http_debug_histogram_bucket(row->min);
    last = ngx_http_debug_histogram_bucket(row->max);

    le = (i <= NGX_HTTP_DEBUG_LE_FIRST)
         ? 0 : (i - NGX_HTTP_DEBUG_LE_FIRST + 15) / 16;

    rank = (row->measured * parts[0] + 999) / 1000;

    for (n = 0, k = 0; i <= last; i++) {

        if (i == NGX_HTTP_DEBUG_LE_FIRST + 16 * le && le < NGX_HTTP_DEBUG_LE) {
            row->le[le++] = n;
        }

        if (bucket[i] == 0) {
            continue;
        }

        n += bucket[i];

        while (k < NGX_HTTP_DEBUG_PERCENTILES && n >= rank) {

            ns = (ngx_http_debug_histogram_bound(i)
                  + ngx_http_debug_histogram_bound(i + 1)) / 2;

            /* no percentile lies outside of what was seen */

            row->percentile[k] = ngx_max(row->min, ngx_min(row->max, ns));

            if (++k < NGX_HTTP_DEBUG_PERCENTILES) {
                rank = (row->measured * parts[k] + 999) / 1000;
            }
        }
    }

    while (le < NGX_HTTP_DEBUG_LE) {
        row->le[le++] = n;
    }
}


/* A handful of codes: kept sorted by insertion. */

static void
ngx_http_debug_snapshot_code(ngx_http_debug_row_t *row, uint32_t code,
    uint64_t count, uint64_t second)
{
    ngx_uint_t  i, class;

    class = (code < 100) ? code : code / 100;

    if (class >= NGX_HTTP_DEBUG_CLASSES) {
        class = 0;
    }

    row->count += count;
    row->second += second;
    row->classes[class] += count;

    for (i = row->ncodes; i > 0 && row->code[i - 1].code > code; i--) {
        /* void */
    }

    if (i > 0 && row->code[i - 1].code == code) {
        row->code[i - 1].count += count;
        row->code[i - 1].second += second;
        return;
    }

    if (row->ncodes == NGX_HTTP_DEBUG_ROW_CODES) {
        /* as many cells can differ: the last one takes the rest */
        row->code[row->ncodes - 1].count += count;
        row->code[row->ncodes - 1].second += second;
        return;
    }

    ngx_memmove(&row->code[i + 1], &row->code[i],
                (row->ncodes - i) * sizeof(ngx_http_debug_code_t));

    row->code[i].code = code;
    row->code[i].count = count;
    row->code[i].second = second;
    row->ncodes++;
}


void
ngx_http_debug_snapshot_add(ngx_http_debug_row_t *sum,
    ngx_http_debug_row_t *row)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_DEBUG_METRICS; i++) {
        sum->value[i] += row->value[i];
    }

    sum->active += row->active;

    for (i = 0; i < row->ncodes; i++) {
        ngx_http_debug_snapshot_code(sum, row->code[i].code,
                                     row->code[i].count, row->code[i].second);
    }
}


uint64_t
ngx_http_debug_snapshot_percentile(uint64_t *buckets, uint64_t measured,
    ngx_uint_t part)
{
    uint64_t    n, rank;
    ngx_uint_t  i;

    if (measured == 0) {
        return 0;
    }

    rank = (measured * part + 999) / 1000;

    n = 0;

    for (i = 0; i < NGX_HTTP_DEBUG_BUCKETS - 1; i++) {
        n += buckets[i];

        if (n >= rank) {
            break;
        }
    }

    return (ngx_http_debug_histogram_bound(i)
            + ngx_http_debug_histogram_bound(i + 1)) / 2;
}


uint64_t
ngx_http_debug_snapshot_failures(ngx_http_debug_row_t *row)
{
    uint64_t    n;
    ngx_uint_t  i;

    n = 0;

    for (i = NGX_HTTP_DEBUG_FAIL_FIRST; i <= NGX_HTTP_DEBUG_FAIL_LAST; i++) {
        n += row->value[i];
    }

    return n;
}
