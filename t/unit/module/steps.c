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
#include "../../../ngx_module/ngx_http_debug_snapshot.c"
#include "../../../ngx_module/ngx_http_debug_zone.c"
#include "host.h"


#define PEERS    1000
#define WORKERS  4
#define LONGEST  5000000        /* ns of a step */


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


static void
steps(const char *what, ngx_int_t (*step)(void *data), void *data,
    ngx_http_debug_out_t *out)
{
    uint64_t         ns, longest, all;
    ngx_int_t        rc;
    ngx_uint_t       n;
    struct timespec  a, b;

    longest = 0;
    all = 0;
    n = 0;

    do {
        (void) clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
        rc = step(data);
        (void) clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);

        ns = (b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec;
        longest = ngx_max(longest, ns);
        all += ns;
        n++;

    } while (rc == NGX_AGAIN);

    is_int(rc, NGX_OK, "%s: it is made", what);
    ok(!out->failed && out->size > 500000, "%s: %lu bytes", what,
       (unsigned long) out->size);
    ok(n > 20, "%s: in %lu steps", what, (unsigned long) n);
    ok(longest < LONGEST, "%s: the longest takes %lu us", what,
       (unsigned long) (longest / 1000));
    note("%s: %lu us in all", what, (unsigned long) (all / 1000));
}


static int
test(ngx_cycle_t *cycle)
{
    uint64_t                  a, b;
    ngx_uint_t                i;
    struct timespec           ts;
    ngx_http_debug_out_t     *out;
    ngx_http_debug_zone_t    *zone;
    ngx_http_debug_json_t    *js;
    ngx_http_debug_filter_t   filter;

    zone = ngx_http_debug_zone_create(cycle->log, NGX_HTTP_DEBUG_ZONE_MAX);
    fill(zone);

    out = ngx_http_debug_out_create(cycle->pool);
    steps("Prometheus", ngx_http_debug_prometheus_step,
          ngx_http_debug_prometheus_create(out, zone, 0), out);

    ngx_memzero(&filter, sizeof(ngx_http_debug_filter_t));
    out = ngx_http_debug_out_create(cycle->pool);
    steps("JSON", ngx_http_debug_json_stats_step,
          ngx_http_debug_json_create(out, zone, &filter), out);

    /* some minutes of history, and a second's work for it */

    for (i = 1; i < 200; i++) {
        ngx_http_debug_history_tick(zone, i);
    }

    (void) clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    a = ts.tv_sec * 1000000000 + ts.tv_nsec;

    for (/* void */ ; i < 210; i++) {
        ngx_http_debug_history_tick(zone, i);
    }

    (void) clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    b = ts.tv_sec * 1000000000 + ts.tv_nsec;

    note("history: %lu us a second", (unsigned long) ((b - a) / 10000));

    out = ngx_http_debug_out_create(cycle->pool);
    js = ngx_http_debug_json_create(out, zone, &filter);
    ngx_http_debug_json_history(js, 0, 0, 900);
    steps("history", ngx_http_debug_json_history_step, js, out);

    return done_testing();
}
