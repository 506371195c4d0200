/*
 * The histogram, and what is read from it and from cells.
 */

#include "../../../ngx_module/ngx_http_debug_metrics.c"
#include "../../../ngx_module/ngx_http_debug_state.c"
#include "../../../ngx_module/ngx_http_debug_snapshot.c"
#include "../../../ngx_module/ngx_http_debug_zone.c"
#include "../../../ngx_module/ngx_http_debug_history.c"
#include "host.h"


static uint64_t  seed = 1;


static uint64_t
any(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;

    return seed;
}


static void
test_buckets(void)
{
    uint64_t     ns, last, below, wrong;
    ngx_uint_t   i, k;
    long double  bound, root;

    /* the 16th root of 2, by Newton's way */

    root = 1.04;

    for (i = 0; i < 20; i++) {
        bound = root;

        for (k = 0; k < 14; k++) {
            bound *= root;
        }

        root -= (root - 2 / bound) / 16;
    }

    wrong = 0;
    below = 0;
    bound = 1e9L / (1 << 20);

    for (i = 0; i < NGX_HTTP_DEBUG_BUCKETS; i++) {
        last = ngx_http_debug_histogram_bound(i);

        wrong += last <= below
                 || last != (uint64_t) bound
                 || ngx_http_debug_histogram_bucket(last) != i
                 || ngx_http_debug_histogram_bucket(below + 1) != i
                 || ngx_http_debug_histogram_middle(i) < below
                 || ngx_http_debug_histogram_middle(i) > last;

        if (i) {
            wrong += ngx_http_debug_histogram_middle(i) > below * 1.0222 + 1
                     || ngx_http_debug_histogram_middle(i) < last * 0.9780 - 1;
        }

        below = last;

        /* whole octaves are exact: no error gathers */

        bound = (i + 1) % 16 ? bound * root
                             : 1e9L / (1 << 20) * ((uint64_t) 2 << (i / 16));
    }

    is_int(wrong, 0, "each bucket ends at 2^(i/16) s, its middle 2.2 %% off");

    ok(ngx_http_debug_histogram_bound(NGX_HTTP_DEBUG_BUCKETS - 2)
       == 4096 * (uint64_t) 1000000000, "they reach beyond one hour");
    is_int(ngx_http_debug_histogram_bucket(UINT64_MAX),
           NGX_HTTP_DEBUG_BUCKETS - 1, "the last one takes what is longer");
    is_int(ngx_http_debug_histogram_bucket(0), 0, "the first one takes 0");
    is_int(ngx_http_debug_histogram_bucket(1), 0, "and 1");

    for (i = 0, wrong = 0; i < 1000000; i++) {
        ns = any() >> (22 + any() % 42);
        k = ngx_http_debug_histogram_bucket(ns);

        wrong += (k < NGX_HTTP_DEBUG_BUCKETS - 1
                  && ns > ngx_http_debug_histogram_bound(k))
                 || (k && ns <= ngx_http_debug_histogram_bound(k - 1));
    }

    is_int(wrong, 0, "a million of any size lie in theirs");

    /* the bounds that Prometheus is shown are bounds of these, and exact */

    for (i = 0, wrong = 0; i < NGX_HTTP_DEBUG_LE; i++) {
        wrong += ngx_http_debug_histogram_bound(NGX_HTTP_DEBUG_LE_FIRST - 1
                                                + 16 * i)
                 != ((uint64_t) 1000000000 << i) >> 13;
    }

    is_int(wrong, 0, "le bounds");
}


static int
compare(const void *a, const void *b)
{
    const uint64_t  x = *(const uint64_t *) a, y = *(const uint64_t *) b;

    return (x > y) - (x < y);
}


#define SAMPLES  100000

static uint64_t  sample[SAMPLES];


/* Each percentile of N samples, against the sorted list. */

static void
test_percentiles(const char *name, ngx_uint_t n)
{
    double      error, worst;
    uint64_t    truth, got;
    ngx_uint_t  i, rank;

    static uint64_t    bucket[NGX_HTTP_DEBUG_BUCKETS];
    static ngx_uint_t  parts[] = { 1, 10, 250, 500, 900, 990, 999, 1000 };

    ngx_memzero(bucket, sizeof(bucket));

    for (i = 0; i < n; i++) {
        bucket[ngx_http_debug_histogram_bucket(sample[i])]++;
    }

    qsort(sample, n, sizeof(uint64_t), compare);

    worst = 0;

    for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        rank = (n * parts[i] + 999) / 1000;
        truth = sample[rank - 1];
        got = ngx_http_debug_snapshot_percentile(bucket, n, parts[i]);

        error = got > truth ? (double) (got - truth) / truth
                            : (double) (truth - got) / truth;
        worst = ngx_max(worst, error);
    }

    ok(worst < 0.0222, "%s: worst percentile %.2f %% wrong", name, 100 * worst);
}


/* The process of LANE has N more under way. */

static void
active(ngx_http_debug_zone_t *zone, ngx_http_debug_entity_t *e,
    ngx_uint_t lane, int n)
{
    ngx_http_debug_place_t  place;

    if (zone->lanes <= lane) {
        zone->lanes = lane + 1;
    }

    ngx_http_debug_zone_place(zone, e, lane, &place);
    place.active->active += n;
}


static ngx_http_debug_entity_t *
entity(ngx_http_debug_zone_t *zone, ngx_uint_t kind, uint32_t group,
    const char *text, ngx_uint_t cells)
{
    ngx_str_t  name;

    name.data = (u_char *) text;
    name.len = strlen(text);

    return ngx_http_debug_zone_entity(zone, kind, group, &name, cells,
                                      ngx_cycle->log);
}


static void
test_row(ngx_log_t *log)
{
    uint64_t                   bucket[1], le[NGX_HTTP_DEBUG_LE];
    uint64_t                   buckets[NGX_HTTP_DEBUG_BUCKETS];
    ngx_uint_t                 i, wrong;
    ngx_http_debug_row_t       row, sum;
    ngx_http_debug_cell_t     *cell;
    ngx_http_debug_zone_t     *zone;
    ngx_http_debug_entity_t   *e;

    zone = ngx_http_debug_zone_create(log, NGX_HTTP_DEBUG_ZONE_DEFAULT);
    e = entity(zone, NGX_HTTP_DEBUG_SERVER, 0, "server", 4);

    ngx_http_debug_snapshot_row(zone, NULL, e, &row);
    is_int(row.count, 0, "nothing: no count");
    is_int(row.ncodes, 0, "nothing: no codes");
    is_int(row.min + row.max + row.measured + row.percentile[0], 0,
           "nothing: no times");
    is_int(ngx_http_debug_snapshot_percentile(bucket, 0, 500), 0,
           "nothing: no percentile");

    /* each cell meets the codes in another order */

    for (i = 0; i < 4; i++) {
        cell = ngx_http_debug_zone_cell(zone, e, i);
        cell->code[i] = 200;
        cell->count[i] = 10;
        cell->code[(i + 1) % 4] = 404;
        cell->count[(i + 1) % 4] = 1;
        cell->code[(i + 2) % 4] = 500;
        cell->code[(i + 3) % 4] = 301;
        cell->count[(i + 3) % 4] = 2;
        cell->second = ngx_current_msec / 1000;
        cell->base[i] = 7;
        cell->base[(i + 1) % 4] = 1;
        cell->base[(i + 3) % 4] = 2;
        cell->last = i;
        cell->value[NGX_HTTP_DEBUG_TIME] = 1000 * i;

        ngx_http_debug_histogram_add(cell, 950000 * (i + 1),
                         ngx_http_debug_histogram_bucket(950000 * (i + 1)));
    }

    /* what found no place among the exact ones */

    cell = ngx_http_debug_zone_cell(zone, e, 3);
    cell->count[NGX_HTTP_DEBUG_CODES + 4] = 5;

    /* of lanes 0 and 63 */

    active(zone, e, 0, 3);
    active(zone, e, 63, 2);

    ngx_http_debug_snapshot_row(zone, NULL, e, &row);

    is_int(row.count, 4 * 13 + 5, "count");
    is_int(row.second, 4 * 3 + 5, "of the current second");
    is_int(row.last, 6, "and of the one before");
    is_int(row.ncodes, 4, "codes");
    is_int(row.code[0].code, 4, "a class comes first");
    is_int(row.code[0].count, 5, "with its count");
    is_int(row.code[1].code, 200, "then 200");
    is_int(row.code[1].count, 40, "of all cells");
    is_int(row.code[1].second, 12, "in this second");
    is_int(row.code[2].code, 301, "then 301");
    is_int(row.code[2].count, 8, "though 500 stands before it without a"
           " count");
    is_int(row.code[3].code, 404, "then 404");
    is_int(row.code[3].count, 4, "of all cells, too");
    is_int(row.classes[2], 40, "2xx");
    is_int(row.classes[4], 9, "4xx, both ways");
    is_int(row.value[NGX_HTTP_DEBUG_TIME], 6000, "a metric is the sum");
    is_int(row.active, 5, "active is the sum");
    is_int(row.min, 950000, "min");
    is_int(row.max, 3800000, "max");
    is_int(row.measured, 4, "measured");
    is_int(row.percentile[NGX_HTTP_DEBUG_P999], 3800000,
           "no percentile beyond the longest");

    ngx_http_debug_snapshot_buckets(zone, NULL, e, &row, buckets);
    ngx_http_debug_snapshot_le(&row, buckets, le);

    for (i = 1, wrong = 0; i < NGX_HTTP_DEBUG_LE; i++) {
        wrong += le[i] < le[i - 1];
    }

    is_int(wrong, 0, "le rise");
    is_int(le[3], 1, "0.98 ms: one of four");
    is_int(le[4], 2, "1.95 ms: two");
    is_int(le[5], 4, "3.91 ms: all");
    is_int(le[NGX_HTTP_DEBUG_LE - 1], 4, "and so at the end");

    /* another second: what was is none of it */

    for (i = 0; i < 4; i++) {
        ngx_http_debug_zone_cell(zone, e, i)->second--;
    }

    ngx_http_debug_snapshot_row(zone, NULL, e, &row);
    is_int(row.second, 0, "the second is over");
    is_int(row.last, 4 * 3 + 5, "and is the one before");

    for (i = 0; i < 4; i++) {
        ngx_http_debug_zone_cell(zone, e, i)->second--;
    }

    ngx_http_debug_snapshot_row(zone, NULL, e, &row);
    is_int(row.last, 0, "which is over, too");

    /* less than nothing under way: a lane was given away in between */

    active(zone, e, 63, -11);
    ngx_http_debug_snapshot_row(zone, NULL, e, &row);
    is_int(row.active, 0, "active is never negative");

    /* the sum of two rows */

    ngx_memzero(&sum, sizeof(ngx_http_debug_row_t));
    ngx_http_debug_snapshot_add(&sum, &row);
    ngx_http_debug_snapshot_add(&sum, &row);
    is_int(sum.count, 2 * row.count, "two rows: count");
    is_int(sum.ncodes, row.ncodes, "two rows: codes");
    is_int(sum.code[1].count, 80, "two rows: of each");

    /* more codes than a row holds */

    ngx_memzero(&sum, sizeof(ngx_http_debug_row_t));

    for (i = 0; i < 500; i++) {
        ngx_http_debug_snapshot_code(&sum, 100 + (i * 7) % 500, 1, 1);
    }

    is_int(sum.ncodes, NGX_HTTP_DEBUG_ROW_CODES, "500 codes in a row");
    is_int(sum.count, 500, "all of them are counted");

    for (i = 0, wrong = 0; i < NGX_HTTP_DEBUG_CLASSES; i++) {
        wrong += sum.classes[i];
    }

    is_int(wrong, 500, "in their classes, too");

    munmap(zone, zone->size);
}


static void
book(ngx_http_debug_cell_t *cell, uint32_t code, uint64_t n, uint64_t ns)
{
    cell->code[0] = code;
    cell->count[0] += n;
    cell->value[NGX_HTTP_DEBUG_TIME] += n * ns;

    while (n--) {
        ngx_http_debug_histogram_add(cell, ns,
                                     ngx_http_debug_histogram_bucket(ns));
    }
}


/* A group is its peers and what its own cell has besides. */

static void
test_group(ngx_log_t *log)
{
    ngx_http_debug_row_t        row;
    ngx_http_debug_cell_t      *again;
    ngx_http_debug_zone_t      *zone;
    ngx_http_debug_entity_t    *group, *other, *a, *b, *c;
    ngx_http_debug_peers_of_t  *peers;

    zone = ngx_http_debug_zone_create(log, NGX_HTTP_DEBUG_ZONE_DEFAULT);

    group = entity(zone, NGX_HTTP_DEBUG_GROUP, 0, "group", 1);
    other = entity(zone, NGX_HTTP_DEBUG_GROUP, 0, "other", 1);
    a = entity(zone, NGX_HTTP_DEBUG_PEER, group->id, "a", 2);
    c = entity(zone, NGX_HTTP_DEBUG_PEER, other->id, "a", 2);
    b = entity(zone, NGX_HTTP_DEBUG_PEER, group->id, "b", 4);

    /* whole rounds at the peers, by different processes */

    book(ngx_http_debug_zone_cell(zone, a, 0), 200, 3, 1000000);
    book(ngx_http_debug_zone_cell(zone, a, 1), 404, 2, 2000000);
    book(ngx_http_debug_zone_cell(zone, b, 3), 200, 5, 3000000);
    book(ngx_http_debug_zone_cell(zone, c, 1), 500, 7, 9000000);
    ngx_http_debug_zone_cell(zone, b, 2)->value[NGX_HTTP_DEBUG_FAIL_TIMEOUT]
                                                                         = 4;
    ngx_http_debug_zone_cell(zone, b, 2)->value[NGX_HTTP_DEBUG_CONNECTS] = 4;
    ngx_http_debug_zone_cell(zone, a, 0)->value[NGX_HTTP_DEBUG_UPGRADES] = 1;
    active(zone, a, 7, 2);
    active(zone, b, 1, 1);

    /* one of two tries: a quick 503 of a, and then b's 200 */

    again = ngx_http_debug_zone_again(zone, a, log);
    book(again, 503, 1, 10000);
    ok(again == ngx_http_debug_zone_again(zone, a, log),
       "there is one cell for tries that were not all of a round");
    book(ngx_http_debug_zone_again(zone, b, log), 200, 1, 4000000);
    book(ngx_http_debug_zone_cell(zone, group, 0), 200, 1, 4010000);
    ngx_http_debug_zone_cell(zone, group, 0)->value[NGX_HTTP_DEBUG_TRIES] = 2;
    ngx_http_debug_zone_cell(zone, group, 0)->value[NGX_HTTP_DEBUG_CONNECTS]
                                                                         = 2;
    ngx_http_debug_zone_cell(zone, group, 0)->value[NGX_HTTP_DEBUG_HEADERS]
                                                                         = 1;
    again->value[NGX_HTTP_DEBUG_CONNECTS] = 1;

    peers = ngx_http_debug_snapshot_peers(ngx_cycle->pool, zone);

    ngx_http_debug_snapshot_row(zone, peers, group, &row);

    is_int(row.count, 11, "group: answers");
    is_int(row.ncodes, 2, "group: codes");
    is_int(row.code[0].count, 9, "group: 200");
    is_int(row.code[1].code, 404, "group: no 503, which was tried again");
    is_int(row.value[NGX_HTTP_DEBUG_TIME], 3 * 1000000 + 2 * 2000000
           + 5 * 3000000 + 4010000, "group: time");
    is_int(row.value[NGX_HTTP_DEBUG_FAIL_TIMEOUT], 4, "group: failures");
    is_int(row.value[NGX_HTTP_DEBUG_UPGRADES], 1, "group: upgrades");
    is_int(row.value[NGX_HTTP_DEBUG_TRIES], 10 + 4 + 1 + 2, "group: tries");
    is_int(row.value[NGX_HTTP_DEBUG_CONNECTS], 11 + 1 + 4 + 1,
           "group: connects");
    is_int(row.value[NGX_HTTP_DEBUG_HEADERS], 11 + 1, "group: headers");
    is_int(row.active, 3, "group: under way");
    is_int(row.min, 1000000, "group: min is of a round, not of a try");
    is_int(row.max, 4010000, "group: max");
    is_int(row.measured, 11, "group: measured");

    ngx_http_debug_snapshot_row(zone, peers, a, &row);

    is_int(row.count, 6, "peer: answers, with the one that was not enough");
    is_int(row.code[row.ncodes - 1].code, 503, "peer: its 503");
    is_int(row.min, 10000, "peer: min is of a try");
    is_int(row.value[NGX_HTTP_DEBUG_CONNECTS], 7, "peer: connects");
    is_int(row.active, 2, "peer: under way");

    ngx_http_debug_snapshot_row(zone, peers, other, &row);
    is_int(row.count, 7, "another group has its own");
    is_int(row.ncodes, 1, "and nothing else");

    /* who came after PEERS was made is not in it, and does no harm */

    b = entity(zone, NGX_HTTP_DEBUG_GROUP, 0, "late", 1);
    a = entity(zone, NGX_HTTP_DEBUG_PEER, b->id, "a", 2);
    book(ngx_http_debug_zone_cell(zone, a, 0), 200, 3, 1000000);
    ngx_http_debug_snapshot_row(zone, peers, b, &row);
    is_int(row.count, 0, "a newcomer is for the next snapshot");

    munmap(zone, zone->size);
}


/*
 * A peer that no configuration names any more: its counts stay in its group,
 * whoever reads it whenever, and its room is another's.
 */

static void
test_fold(ngx_log_t *log)
{
    uint32_t                    id;
    uint64_t                    used;
    ngx_uint_t                  i, wrong;
    ngx_http_debug_row_t        before, row;
    ngx_http_debug_zone_t      *zone;
    ngx_http_debug_entity_t    *group, *a, *b, *c, *server, *gone;
    ngx_http_debug_peers_of_t  *peers;

    zone = ngx_http_debug_zone_create(log, NGX_HTTP_DEBUG_ZONE_DEFAULT);
    zone->generation = 1;

    server = entity(zone, NGX_HTTP_DEBUG_SERVER, 0, "server", 2);
    group = entity(zone, NGX_HTTP_DEBUG_GROUP, 0, "group", 1);
    a = entity(zone, NGX_HTTP_DEBUG_PEER, group->id, "a", 2);
    b = entity(zone, NGX_HTTP_DEBUG_PEER, group->id, "b", 2);

    for (i = 0; i < 4; i++) {
        book(ngx_http_debug_zone_cell(zone, a, i), 200 + i, 3, 1000000 * i);
    }

    book(ngx_http_debug_zone_cell(zone, b, 0), 404, 2, 2000000);
    book(ngx_http_debug_zone_cell(zone, group, 0), 200, 1, 4010000);
    book(ngx_http_debug_zone_again(zone, a, log), 503, 1, 10000);
    book(ngx_http_debug_zone_cell(zone, server, 1), 200, 7, 10000);
    ngx_http_debug_zone_cell(zone, a, 0)->value[NGX_HTTP_DEBUG_FAIL_TIMEOUT]
                                                                         = 4;
    ngx_http_debug_zone_cell(zone, a, 1)->value[NGX_HTTP_DEBUG_UPGRADES] = 1;

    peers = ngx_http_debug_snapshot_peers(ngx_cycle->pool, zone);
    ngx_http_debug_snapshot_row(zone, peers, group, &before);

    /* they are named by the first configuration, b by the next one, too */

    a->generation = b->generation = server->generation = 1;
    a->marks = b->marks = server->marks = NGX_HTTP_DEBUG_NAMED;
    group->generation = b->generation = 2;
    zone->generation = 2;

    is_int(ngx_http_debug_zone_clean(zone, 1000), 0, "fold: not at once");
    ok(a->removed == 1000 && b->removed == 0, "fold: who is removed, is told");
    ok(!ngx_http_debug_zone_named(a) && ngx_http_debug_zone_named(b),
       "fold: and who is named");

    (void) ngx_http_debug_zone_clean(zone, 1000 + NGX_HTTP_DEBUG_SHOWN);
    is_int(a->live, NGX_HTTP_DEBUG_LIVE, "fold: nor for some minutes");

    active(zone, a, 3, 1);
    (void) ngx_http_debug_zone_clean(zone, 1001 + NGX_HTTP_DEBUG_SHOWN);
    is_int(a->live, NGX_HTTP_DEBUG_RETIRED, "fold: then no name leads there");
    ok(ngx_http_debug_zone_find(zone, NGX_HTTP_DEBUG_PEER, group->id,
                                &(ngx_str_t) ngx_string("a")) == NULL,
       "fold: it is not found");
    ok(!ngx_http_debug_zone_shown(a), "fold: nor shown");

    ngx_http_debug_snapshot_row(zone, peers, group, &row);
    is_int(row.count, before.count, "fold: the group has what it had");

    is_int(ngx_http_debug_zone_clean(zone, 9000 + NGX_HTTP_DEBUG_SHOWN), 1,
           "fold: the server is");
    is_int(a->live, NGX_HTTP_DEBUG_RETIRED,
           "fold: the peer not while something is under way");
    active(zone, a, 3, -1);

    zone->lane[3].pid = ngx_pid;
    zone->lane[3].generation = 1;
    is_int(ngx_http_debug_zone_clean(zone, 9000 + NGX_HTTP_DEBUG_SHOWN), 0,
           "fold: nor while an old worker is there");
    zone->lane[3].generation = 2;

    id = a->id;
    is_int(ngx_http_debug_zone_clean(zone, 9000 + NGX_HTTP_DEBUG_SHOWN), 1,
           "fold: and then it is");
    is_int(a->live, NGX_HTTP_DEBUG_NONE, "fold: it is not there");

    for (i = 0; i < 2; i++) {
        ngx_http_debug_snapshot_row(zone, peers, group, &row);

        wrong = row.count != before.count || row.ncodes != before.ncodes
                || row.measured != before.measured || row.min != before.min
                || row.max != before.max
                || ngx_memcmp(row.value, before.value, sizeof(row.value)) != 0
                || ngx_memcmp(row.percentile, before.percentile,
                              sizeof(row.percentile)) != 0;

        is_int(wrong, 0, i ? "fold: for who reads anew, too"
                           : "fold: all numbers of the group are what they"
                             " were");
        peers = ngx_http_debug_snapshot_peers(ngx_cycle->pool, zone);
    }

    gone = ngx_http_debug_zone_at(zone, zone->gone);
    ngx_http_debug_snapshot_row(zone, NULL, gone, &row);
    is_int(row.count, 7, "fold: a server's are in the sum of all");

    /* another one has its room, and none of its numbers */

    used = zone->used;
    c = entity(zone, NGX_HTTP_DEBUG_PEER, group->id, "c", 2);
    is_int(c->id, id, "fold: its room is used again");
    is_int(zone->used, used, "fold: which takes no more");
    ngx_http_debug_snapshot_row(zone, peers, c, &row);
    is_int(row.count + row.measured + row.value[NGX_HTTP_DEBUG_FAIL_TIMEOUT],
           0, "fold: with nothing in it");
    book(ngx_http_debug_zone_cell(zone, c, 0), 404, 2, 2000000);

    peers = ngx_http_debug_snapshot_peers(ngx_cycle->pool, zone);
    ngx_http_debug_snapshot_row(zone, peers, group, &row);
    is_int(row.count, before.count + 2, "fold: it counts in the group");

    /* and once more, for the other of the two sums */

    c->generation = 1;
    c->marks = NGX_HTTP_DEBUG_NAMED;

    for (i = 0; i < 3; i++) {
        (void) ngx_http_debug_zone_clean(zone, (i + 1) * 2
                                               * NGX_HTTP_DEBUG_SHOWN);
    }

    is_int(c->live, NGX_HTTP_DEBUG_NONE, "fold: and goes, too");
    peers = ngx_http_debug_snapshot_peers(ngx_cycle->pool, zone);
    ngx_http_debug_snapshot_row(zone, peers, group, &row);
    is_int(row.count, before.count + 2, "fold: its counts stay");

    /* more codes than a cell has: then it stays, since none may go down */

    c = entity(zone, NGX_HTTP_DEBUG_PEER, group->id, "d", 2);
    c->generation = 1;
    c->marks = NGX_HTTP_DEBUG_NAMED;

    for (i = 0; i < NGX_HTTP_DEBUG_CODES; i++) {
        ngx_http_debug_zone_cell(zone, c, 0)->code[i] = 410 + i;
        ngx_http_debug_zone_cell(zone, c, 0)->count[i] = 1;
    }

    for (i = 3; i < 6; i++) {
        (void) ngx_http_debug_zone_clean(zone, (i + 1) * 2
                                               * NGX_HTTP_DEBUG_SHOWN);
    }

    is_int(c->live, NGX_HTTP_DEBUG_RETIRED, "fold: too many codes");
    peers = ngx_http_debug_snapshot_peers(ngx_cycle->pool, zone);
    ngx_http_debug_snapshot_row(zone, peers, group, &row);
    is_int(row.count, before.count + 2 + NGX_HTTP_DEBUG_CODES,
           "fold: it still counts in its group");

    munmap(zone, zone->size);
}


#define SIZE(kind, cells)  ngx_http_debug_zone_entity_size(kind, 16, cells)


static int
test(ngx_cycle_t *cycle)
{
    ngx_uint_t  i;

    test_buckets();

    for (i = 0; i < SAMPLES; i++) {
        sample[i] = 50000 + any() % 2000000;
    }

    test_percentiles("uniform", SAMPLES);

    for (i = 0; i < SAMPLES; i++) {
        sample[i] = 1000 + (any() >> (34 + any() % 20));
    }

    test_percentiles("over all octaves", SAMPLES);

    for (i = 0; i < SAMPLES; i++) {
        sample[i] = (i % 10) ? 50000 + any() % 1000
                             : 2000000000 + any() % 1000;
    }

    test_percentiles("two humps", SAMPLES);

    for (i = 0; i < SAMPLES; i++) {
        sample[i] = 123456789;
    }

    test_percentiles("all the same", SAMPLES);
    test_percentiles("one alone", 1);

    for (i = 0; i < 1000; i++) {
        sample[i] = 1000 * (i + 1);
    }

    test_percentiles("1 us ... 1 ms", 1000);

    note("the cells of a server or peer take %zu bytes with 1 worker, %zu"
         " with 4; a group's, %zu", SIZE(NGX_HTTP_DEBUG_SERVER, 1),
         SIZE(NGX_HTTP_DEBUG_SERVER, 4), SIZE(NGX_HTTP_DEBUG_GROUP, 1));
    note("a peer that was tried again takes %zu more",
         SIZE(NGX_HTTP_DEBUG_PEER, 1) - SIZE(NGX_HTTP_DEBUG_SERVER, 1));
    note("the history of each takes %zu bytes", ngx_http_debug_history_size());

    test_row(cycle->log);
    test_group(cycle->log);
    test_fold(cycle->log);

    return done_testing();
}
