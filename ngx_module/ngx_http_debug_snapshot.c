
/*
 * The only reader: one pass over the cells of an entity makes a row.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_debug_histogram.h"
#include "ngx_http_debug_snapshot.h"


static void ngx_http_debug_snapshot_codes(ngx_http_debug_row_t *row,
    ngx_http_debug_cell_t *cell);
static void ngx_http_debug_snapshot_times(ngx_http_debug_row_t *row,
    ngx_http_debug_cell_t *cell, uint64_t *bucket);
static void ngx_http_debug_snapshot_derive(ngx_http_debug_row_t *row,
    uint64_t answered, uint64_t tried);
static void ngx_http_debug_snapshot_percentiles(ngx_http_debug_row_t *row,
    uint64_t *bucket);
static void ngx_http_debug_snapshot_code(ngx_http_debug_row_t *row,
    uint32_t code, uint64_t count, uint64_t second);
static uint64_t ngx_http_debug_snapshot_unanswered(uint64_t *value);
static uint64_t ngx_http_debug_snapshot_usual(ngx_http_debug_zone_t *zone,
    ngx_http_debug_peers_of_t *peers, ngx_uint_t group);
static int ngx_libc_cdecl ngx_http_debug_snapshot_less(const void *one,
    const void *two);


/* as nginx numbers them */

char  *ngx_http_debug_cache_states[NGX_HTTP_DEBUG_CACHE_STATES] = {
    NULL, "miss", "bypass", "expired", "stale", "updating", "revalidated",
    "hit"
};


ngx_http_debug_peers_of_t *
ngx_http_debug_snapshot_peers(ngx_pool_t *pool, ngx_http_debug_zone_t *zone)
{
    ngx_uint_t                  i;
    ngx_http_debug_entity_t    *e;
    ngx_http_debug_peers_of_t  *peers;

    peers = ngx_palloc(pool, sizeof(ngx_http_debug_peers_of_t));
    if (peers == NULL) {
        return NULL;
    }

    peers->ids = ngx_min(ngx_http_debug_load(&zone->entities),
                         NGX_HTTP_DEBUG_ENTITIES);

    peers->first = ngx_pcalloc(pool, 2 * peers->ids * sizeof(uint32_t));
    if (peers->first == NULL) {
        return NULL;
    }

    peers->next = peers->first + peers->ids;

    peers->usual = ngx_palloc(pool, 2 * peers->ids * sizeof(uint64_t));
    if (peers->usual == NULL) {
        return NULL;
    }

    ngx_memset(peers->usual, 0xff, peers->ids * sizeof(uint64_t));
    peers->mean = peers->usual + peers->ids;

    for (i = peers->ids; i-- > 0; /* void */ ) {
        e = ngx_http_debug_zone_by_id(zone, i);

        if (e && e->kind == NGX_HTTP_DEBUG_PEER && e->group < peers->ids) {
            peers->next[i] = peers->first[e->group];
            peers->first[e->group] = i + 1;
        }
    }

    return peers;
}


void
ngx_http_debug_snapshot_cells(ngx_http_debug_cells_t *cells,
    ngx_http_debug_zone_t *zone, ngx_http_debug_peers_of_t *peers,
    ngx_http_debug_entity_t *e)
{
    cells->zone = zone;
    cells->of = e;
    cells->e = e;
    cells->n = 0;
    cells->peers = peers;
    cells->peer = 0;
    cells->fold = __atomic_load_n(&e->fold, __ATOMIC_ACQUIRE);

    if ((e->kind & (NGX_HTTP_DEBUG_GROUP|NGX_HTTP_DEBUG_HOST))
        && e->id < peers->ids)
    {
        cells->peer = peers->first[e->id];
    }
}


ngx_http_debug_cell_t *
ngx_http_debug_snapshot_next(ngx_http_debug_cells_t *cells)
{
    uint64_t                  offset;
    ngx_http_debug_entity_t  *e;

    e = cells->e;

    cells->first = (cells->n == 0);
    cells->plain = (e->kind == NGX_HTTP_DEBUG_PEER);

    if (cells->n < e->cells) {
        return ngx_http_debug_zone_cell(cells->zone, e, cells->n++);
    }

    if (e == cells->of && cells->n == e->cells) {

        /*
         * The last of a peer: tries that were not all of a round; of others,
         * what was folded into it.
         */

        cells->n++;
        cells->plain = 0;

        offset = (e->kind == NGX_HTTP_DEBUG_PEER)
                 ? __atomic_load_n(&e->again, __ATOMIC_ACQUIRE)
                 : ngx_http_debug_load(
                               &e->sum[ngx_http_debug_valid(cells->fold)]);

        if (offset) {
            return ngx_http_debug_zone_at(cells->zone, offset);
        }
    }

    while (cells->peer) {

        e = ngx_http_debug_zone_by_id(cells->zone, cells->peer - 1);
        cells->peer = cells->peers->next[cells->peer - 1];

        /* it may be another one's by now, or be folded */

        if (e
            && e->kind == NGX_HTTP_DEBUG_PEER
            && e->group == cells->of->id
            && e->id + 1 != ngx_http_debug_folded(cells->fold))
        {
            cells->e = e;
            cells->n = 1;
            cells->first = 1;
            cells->plain = 1;

            return ngx_http_debug_zone_cell(cells->zone, e, 0);
        }
    }

    return NULL;
}


ngx_uint_t
ngx_http_debug_snapshot_whole(ngx_http_debug_cells_t *cells)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);

    return ngx_http_debug_load(&cells->of->fold) == cells->fold;
}


void
ngx_http_debug_snapshot_row(ngx_http_debug_zone_t *zone,
    ngx_http_debug_peers_of_t *peers, ngx_http_debug_entity_t *e,
    ngx_http_debug_row_t *row)
{
    uint64_t  bucket[NGX_HTTP_DEBUG_BUCKETS];

    ngx_http_debug_snapshot_buckets(zone, peers, e, row, bucket);

    if (row->measured) {
        ngx_http_debug_snapshot_percentiles(row, bucket);
    }
}


void
ngx_http_debug_snapshot_buckets(ngx_http_debug_zone_t *zone,
    ngx_http_debug_peers_of_t *peers, ngx_http_debug_entity_t *e,
    ngx_http_debug_row_t *row, uint64_t *bucket)
{
    uint64_t                 before, n, answered, tried;
    ngx_uint_t               i;
    ngx_http_debug_cell_t   *cell;
    ngx_http_debug_cells_t   cells;

    do {
        ngx_memzero(row, offsetof(ngx_http_debug_row_t, code));

        row->entity = e;
        row->low = NGX_HTTP_DEBUG_BUCKETS;
        answered = 0;
        tried = 0;

        ngx_http_debug_snapshot_cells(&cells, zone, peers, e);

        for (cell = ngx_http_debug_snapshot_next(&cells);
             cell;
             cell = ngx_http_debug_snapshot_next(&cells))
        {
            before = row->count;

            for (i = 0; i < NGX_HTTP_DEBUG_METRICS; i++) {
                row->value[i] += ngx_http_debug_load(&cell->value[i]);
            }

            if (cells.first) {
                row->active += ngx_http_debug_zone_active(zone, cells.e, NULL);
            }

            ngx_http_debug_snapshot_codes(row, cell);
            ngx_http_debug_snapshot_times(row, cell, bucket);

            if (!cells.plain) {
                continue;
            }

            /* each record of such a cell was a try, and all of a round */

            n = row->count - before
                + ngx_http_debug_load(&cell->value[NGX_HTTP_DEBUG_UPGRADES]);

            answered += n;
            tried += n + ngx_http_debug_snapshot_unanswered(cell->value);
        }

    } while (!ngx_http_debug_snapshot_whole(&cells));

    ngx_http_debug_snapshot_derive(row, answered, tried);
}


/* The codes of a cell, and of these who were in the last two seconds. */

static void
ngx_http_debug_snapshot_codes(ngx_http_debug_row_t *row,
    ngx_http_debug_cell_t *cell)
{
    uint32_t    code;
    uint64_t    n, now, base, second;
    ngx_uint_t  i;

    now = ngx_current_msec / 1000;
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

        if (code >= NGX_HTTP_DEBUG_GRPC) {
            ngx_http_debug_snapshot_code(row, code, n, 0);
            continue;
        }

        base = (second == now) ? ngx_http_debug_load(&cell->base[i]) : n;

        if (second + 1 == now) {
            row->last += n - ngx_http_debug_load(&cell->base[i]);
        }

        ngx_http_debug_snapshot_code(row, code, n, n - ngx_min(base, n));
    }

    if (second == now) {
        row->last += ngx_http_debug_load(&cell->last);
    }
}


/*
 * The histogram of a cell.  Buckets beyond those of the row's bounds were not
 * set yet.
 */

static void
ngx_http_debug_snapshot_times(ngx_http_debug_row_t *row,
    ngx_http_debug_cell_t *cell, uint64_t *bucket)
{
    uint64_t    n, max, min, floor;
    ngx_uint_t  i, low, high;

    max = ngx_http_debug_load(&cell->max);
    floor = ngx_http_debug_load(&cell->floor);

    if (floor == 0) {
        return;
    }

    min = ~floor;
    max = ngx_max(max, min);

    /* the others are empty: both bounds are written before a bucket */

    low = ngx_http_debug_histogram_bucket(min);
    high = ngx_http_debug_histogram_bucket(max);

    if (row->low > row->high) {
        row->min = min;
        row->low = low;
        row->high = low;
        bucket[low] = 0;
    }

    while (row->low > low) {
        bucket[--row->low] = 0;
    }

    while (row->high < high) {
        bucket[++row->high] = 0;
    }

    row->min = ngx_min(row->min, min);
    row->max = ngx_max(row->max, max);

    for (i = low; i <= high; i++) {
        n = ngx_http_debug_load(&cell->bucket[i]);
        bucket[i] += n;
        row->measured += n;
    }
}


/* What is not written beside each record, as the table has it. */

static void
ngx_http_debug_snapshot_derive(ngx_http_debug_row_t *row, uint64_t answered,
    uint64_t tried)
{
    ngx_http_debug_metric_t  *m;

    for (m = ngx_http_debug_metrics; m->json.len; m++) {

        if (m->sum == NGX_HTTP_DEBUG_COUNTED
            || !(m->kinds & row->entity->kind))
        {
            continue;
        }

        row->value[m->metric] += (m->sum == NGX_HTTP_DEBUG_TRIED) ? tried
                                                                  : answered;
    }
}


static void
ngx_http_debug_snapshot_percentiles(ngx_http_debug_row_t *row,
    uint64_t *bucket)
{
    uint64_t    n, ns, rank;
    ngx_uint_t  i, k;

    static ngx_uint_t  parts[] = { 500, 900, 990, 999 };

    rank = (row->measured * parts[0] + 999) / 1000;

    for (i = row->low, n = 0, k = 0; i <= row->high; i++) {

        if (bucket[i] == 0) {
            continue;
        }

        n += bucket[i];

        while (n >= rank) {

            ns = ngx_http_debug_histogram_middle(i);

            /* no percentile lies outside of what was seen */

            row->percentile[k] = ngx_max(row->min, ngx_min(row->max, ns));

            if (++k == NGX_HTTP_DEBUG_PERCENTILES) {
                return;
            }

            rank = (row->measured * parts[k] + 999) / 1000;
        }
    }
}


void
ngx_http_debug_snapshot_le(ngx_http_debug_row_t *row, uint64_t *bucket,
    uint64_t le[NGX_HTTP_DEBUG_LE])
{
    uint64_t    n;
    ngx_uint_t  i, k, beyond;

    for (i = row->low, k = 0, n = 0; k < NGX_HTTP_DEBUG_LE; k++) {

        beyond = ngx_min(row->high + 1, NGX_HTTP_DEBUG_LE_FIRST + 16 * k);

        while (i < beyond) {
            n += bucket[i++];
        }

        le[k] = n;
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

    if (code < NGX_HTTP_DEBUG_GRPC) {
        row->count += count;
        row->second += second;
        row->classes[class] += count;
    }

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
    sum->last += row->last;

    for (i = 0; i < row->ncodes; i++) {
        ngx_http_debug_snapshot_code(sum, row->code[i].code,
                                     row->code[i].count, row->code[i].second);
    }
}


void
ngx_http_debug_snapshot_state(ngx_http_debug_zone_t *zone,
    ngx_http_debug_peers_of_t *peers, ngx_http_debug_row_t *row,
    ngx_http_debug_state_t *state)
{
    ngx_http_debug_entity_t    *e;
    ngx_http_debug_outcomes_t   outcomes;

    e = row->entity;

    ngx_http_debug_state_outcomes(&outcomes, row->classes, row->value);
    ngx_http_debug_state_judge(zone, e, &outcomes,
                               ngx_http_debug_snapshot_usual(zone, peers,
                                                             e->group),
                               state);
}


void
ngx_http_debug_snapshot_word(ngx_http_debug_zone_t *zone,
    ngx_http_debug_peers_of_t *peers, ngx_http_debug_row_t *row,
    ngx_http_debug_state_t *state)
{
    ngx_http_debug_outcomes_t  outcomes;

    ngx_http_debug_state_outcomes(&outcomes, row->classes, row->value);

    if (row->active
        || ngx_http_debug_state_well(zone, row->entity, &outcomes, state)
           != NGX_OK)
    {
        ngx_http_debug_snapshot_state(zone, peers, row, state);
    }
}


/*
 * The mean time that is usual in a group, looked for once: half of its busy
 * peers take as long or longer.
 */

static uint64_t
ngx_http_debug_snapshot_usual(ngx_http_debug_zone_t *zone,
    ngx_http_debug_peers_of_t *peers, ngx_uint_t group)
{
    uint32_t                  peer;
    ngx_uint_t                n;
    ngx_http_debug_entity_t  *e;

    if (group >= peers->ids) {
        return 0;
    }

    if (peers->usual[group] != (uint64_t) -1) {
        return peers->usual[group];
    }

    n = 0;

    for (peer = peers->first[group]; peer; peer = peers->next[peer - 1]) {
        e = ngx_http_debug_zone_by_id(zone, peer - 1);

        if (e && e->group == group) {
            peers->mean[n] = ngx_http_debug_state_mean(zone, e);
            n += (peers->mean[n] != 0);
        }
    }

    ngx_qsort(peers->mean, n, sizeof(uint64_t), ngx_http_debug_snapshot_less);

    peers->usual[group] = (n < 2) ? 0 : peers->mean[(n - 1) / 2];

    return peers->usual[group];
}


static int ngx_libc_cdecl
ngx_http_debug_snapshot_less(const void *one, const void *two)
{
    const uint64_t  *a = one, *b = two;

    return (*a > *b) - (*a < *b);
}


uint64_t
ngx_http_debug_snapshot_rate(ngx_http_debug_row_t *row)
{
    return row->second
           + row->last * (1000 - ngx_current_msec % 1000) / 1000;
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

    return ngx_http_debug_histogram_middle(i);
}


uint64_t
ngx_http_debug_snapshot_failures(ngx_http_debug_row_t *row)
{
    return ngx_http_debug_snapshot_unanswered(row->value);
}


static uint64_t
ngx_http_debug_snapshot_unanswered(uint64_t *value)
{
    uint64_t    n;
    ngx_uint_t  i;

    n = 0;

    for (i = NGX_HTTP_DEBUG_FAIL_FIRST; i <= NGX_HTTP_DEBUG_FAIL_LAST; i++) {
        n += ngx_http_debug_load(&value[i]);
    }

    return n;
}


/* Two workers that met a zone at once may both have made a place for it. */

ngx_uint_t
ngx_http_debug_snapshot_caches(ngx_http_debug_zone_t *zone,
    ngx_http_debug_cache_row_t *rows)
{
    uint32_t                 len;
    ngx_uint_t               i, k, n, status;
    ngx_http_debug_cache_t  *cache;

    n = 0;

    for (i = 0; i < NGX_HTTP_DEBUG_CACHES; i++) {

        cache = &zone->cache[i];
        len = __atomic_load_n(&cache->len, __ATOMIC_ACQUIRE);

        if (len == 0) {
            continue;
        }

        for (k = 0; k < n; k++) {
            if (rows[k].name.len == len
                && ngx_memcmp(rows[k].name.data, cache->name, len) == 0)
            {
                break;
            }
        }

        if (k == n) {
            ngx_memzero(&rows[n], sizeof(ngx_http_debug_cache_row_t));

            rows[n].name.len = len;
            rows[n].name.data = cache->name;
            n++;
        }

        for (status = 1; status < NGX_HTTP_DEBUG_CACHE_STATES; status++) {
            rows[k].count[status] += ngx_http_debug_load(
                                                      &cache->count[status]);
        }
    }

    return n;
}


int64_t
ngx_http_debug_snapshot_process(ngx_http_debug_entity_t *e, uint64_t *value)
{
    uint64_t    time, age;
    ngx_uint_t  i;

    time = __atomic_load_n(&e->process.time, __ATOMIC_ACQUIRE);

    if (time == 0) {
        return NGX_DECLINED;
    }

    age = ngx_http_debug_now() - time;

    if (age > NGX_HTTP_DEBUG_PROCESS_AGE) {
        return NGX_DECLINED;
    }

    for (i = 0; i < NGX_HTTP_DEBUG_PROCESS_VALUES; i++) {
        value[i] = ngx_http_debug_load(&e->process.value[i]);
    }

    return age;
}
