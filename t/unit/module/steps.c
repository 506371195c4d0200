/*
 * The big answers: no step of any of them takes long, with a thousand peers in
 * one group.  In CPU time, which what else the machine does is not in.
 */

#include "../../../ngx_module/ngx_http_debug_go.c"
#include "../../../ngx_module/ngx_http_debug_history.c"
#include "../../../ngx_module/ngx_http_debug_json.c"
#include "../../../ngx_module/ngx_http_debug_metrics.c"
#include "../../../ngx_module/ngx_http_debug_out.c"
#include "../../../ngx_module/ngx_http_debug_prometheus.c"
#include "../../../ngx_module/ngx_http_debug_prometheus_proto.c"
#include "../../../ngx_module/ngx_http_debug_prometheus_text.c"
#include "../../../ngx_module/ngx_http_debug_state.c"
#include "../../../ngx_module/ngx_http_debug_snapshot.c"
#include "../../../ngx_module/ngx_http_debug_zone.c"
#include "host.h"


#define PEERS    1000
#define WORKERS  4

/* ns of a step; a sanitizer makes all of it some times slower */

#if (__SANITIZE_ADDRESS__)
#define LONGEST  50000000
#else
#define LONGEST  5000000
#endif


static ngx_http_debug_entity_t *
entity(ngx_http_debug_zone_t *zone, ngx_uint_t kind, uint32_t group,
    ngx_uint_t n, ngx_uint_t cells)
{
    u_char     text[64];
    ngx_str_t  name;

    name.data = text;
    name.len = ngx_sprintf(text, "10.0.%ui.%ui:8080", n / 250, n % 250) - text;

    return ngx_http_debug_zone_entity(zone, kind, group, &name, cells,
                                      ngx_cycle->log);
}


/* Each worker has counted at each peer, some codes and over some octaves. */

static void
fill(ngx_http_debug_zone_t *zone)
{
    uint64_t                  ns;
    ngx_uint_t                i, k, n;
    ngx_http_debug_cell_t    *cell;
    ngx_http_debug_entity_t  *e, *group;

    group = entity(zone, NGX_HTTP_DEBUG_GROUP, 0, 0, 1);

    for (i = 0; i < PEERS; i++) {
        e = entity(zone, NGX_HTTP_DEBUG_PEER, group->id, i, WORKERS);

        for (k = 0; k < WORKERS; k++) {
            cell = ngx_http_debug_zone_cell(zone, e, k);
            cell->code[0] = 200;
            cell->code[1] = 404;
            cell->code[2] = 500;

            for (n = 0; n < 40; n++) {
                ns = 50000 << (n % 10);
                cell->count[n % 3]++;
                cell->value[NGX_HTTP_DEBUG_TIME] += ns;
                ngx_http_debug_histogram_add(cell, ns,
                                       ngx_http_debug_histogram_bucket(ns));
            }
        }
    }
}


static ngx_http_debug_zone_t  *zone;
static ngx_http_debug_out_t   *out;


static ngx_http_debug_filter_t  nothing;


static void *
prometheus(void)
{
    return ngx_http_debug_prometheus_create(out, zone, &ngx_http_debug_text,
                                            &nothing);
}


static void *
protobuf(void)
{
    return ngx_http_debug_prometheus_create(out, zone, &ngx_http_debug_proto,
                                            &nothing);
}


static void *
json(void)
{
    return ngx_http_debug_json_create(out, zone, &nothing);
}


static void *
history(void)
{
    ngx_http_debug_json_t  *js;

    js = json();
    ngx_http_debug_json_history(js, 0, 0, 900, NGX_HTTP_DEBUG_ANY, 64);

    return js;
}


static void *
begin(void)
{
    static uint64_t  now = 300;

    (void) ngx_http_debug_history_begin(zone, now++);

    return NULL;
}


/*
 * What else the machine does costs CPU time, too, by the caches that it takes:
 * the best of some runs.
 */

static void
steps(const char *what, void *(*make)(void), ngx_int_t (*step)(void *data),
    size_t size)
{
    void             *data;
    uint64_t          ns, longest, best;
    ngx_int_t         rc;
    ngx_uint_t        n, run;
    struct timespec   a, b;

    best = UINT64_MAX;

    for (run = 0; run < 5; run++) {
        out = ngx_http_debug_out_create(ngx_cycle->pool);
        data = make();
        longest = 0;
        n = 0;

        do {
            (void) clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
            rc = step(data);
            (void) clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);

            ns = (b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec;
            longest = ngx_max(longest, ns);
            n++;

        } while (rc == NGX_AGAIN);

        best = ngx_min(best, longest);
    }

    is_int(rc, NGX_OK, "%s: it is made", what);
    ok(!out->failed && (size_t) out->size >= size, "%s: %lu bytes", what,
       (unsigned long) out->size);
    ok(n > 20, "%s: in %lu steps", what, (unsigned long) n);
    ok(best < LONGEST, "%s: the longest takes %lu us", what,
       (unsigned long) (best / 1000));
}


static ngx_int_t
second(void *data)
{
    return ngx_http_debug_history_step();
}


static uint64_t
points(ngx_http_debug_zone_t *zone, ngx_http_debug_entity_t *e,
    uint64_t from, uint64_t to, ngx_uint_t *missing)
{
    uint32_t  *point;
    uint64_t   n;

    for (n = 0, *missing = 0; from <= to; from++) {
        point = ngx_http_debug_history_point(zone, e, 0, from);

        if (point == NULL) {
            (*missing)++;
            continue;
        }

        n += point[NGX_HTTP_DEBUG_H_2XX];
    }

    return n;
}


/* A process dies after some of the entities. */

static void
test_death(ngx_log_t *log)
{
    ngx_uint_t                i, missing;
    ngx_http_debug_entity_t  *e, *group;

    zone = ngx_http_debug_zone_create(log, NGX_HTTP_DEBUG_ZONE_MAX);
    group = entity(zone, NGX_HTTP_DEBUG_GROUP, 0, 0, 1);

    for (i = 0; i < 100; i++) {
        e = entity(zone, NGX_HTTP_DEBUG_PEER, group->id, i, 1);
        ngx_http_debug_zone_cell(zone, e, 0)->code[0] = 200;
    }

    for (i = 100; i < 110; i++) {
        ngx_http_debug_zone_cell(zone, e, 0)->count[0] += 6;
        (void) ngx_http_debug_history_begin(zone, i);

        if (i == 105) {

            /* as if this process had gone, and another came */

            is_int(ngx_http_debug_history_step(), NGX_AGAIN, "a piece");
            ngx_memzero(&ngx_http_debug_history_filling,
                        sizeof(ngx_http_debug_filling_t));
            continue;
        }

        while (ngx_http_debug_history_step() == NGX_AGAIN) { /* void */ }
    }

    is_int(points(zone, e, 100, 109, &missing), 60,
           "a filler dies: all is in the points of the peers it never saw");
    is_int(missing, 0, "and each second has one");
    is_int(points(zone, group, 100, 109, &missing), 60,
           "and in those of the group that it did see");
    is_int(missing, 0, "which has each second, too");

    munmap(zone, zone->size);
}


static int
test(ngx_cycle_t *cycle)
{
    ngx_uint_t  i;

    zone = ngx_http_debug_zone_create(cycle->log, NGX_HTTP_DEBUG_ZONE_MAX);
    fill(zone);

    steps("Prometheus", prometheus, ngx_http_debug_prometheus_step, 3000000);
    steps("protobuf", protobuf, ngx_http_debug_prometheus_step, 400000);
    steps("JSON", json, ngx_http_debug_json_stats_step, 500000);

    /* some minutes of history */

    for (i = 100; i < 300; i++) {
        (void) ngx_http_debug_history_begin(zone, i);

        while (ngx_http_debug_history_step() == NGX_AGAIN) { /* void */ }
    }

    steps("a second", begin, second, 0);
    is_int(ngx_http_debug_history_begin(zone, 299), NGX_DECLINED,
           "one process fills a second");
    steps("history", history, ngx_http_debug_json_history_step, 300000);

    munmap(zone, zone->size);

    test_death(cycle->log);

    return done_testing();
}
