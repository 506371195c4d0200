/*
 * The directory of names under concurrency: processes that insert the same
 * names at once, and processes that are killed while they do.
 */

#include "../../../ngx_module/ngx_http_debug_zone.c"
#include "host.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>


#define NAMES      1000
#define PROCESSES  8


static ngx_str_t
name_of(ngx_uint_t n)
{
    ngx_str_t  name;

    static u_char  text[64];

    name.data = text;
    name.len = ngx_sprintf(text, "10.%ui.%ui.%ui:8080", n / 65536,
                           n / 256 % 256, n % 256)
               - text;

    return name;
}


static ngx_http_debug_entity_t *
insert(ngx_http_debug_zone_t *zone, ngx_uint_t kind, uint32_t group,
    ngx_uint_t n, ngx_log_t *log)
{
    ngx_str_t  name;

    name = name_of(n);

    return ngx_http_debug_zone_entity(zone, kind, group, &name, 2, log);
}


/* What holds whatever happened: each name has exactly one live entity. */

static void
check(const char *what, ngx_http_debug_zone_t *zone, ngx_uint_t names)
{
    ngx_str_t                 name;
    ngx_uint_t                i, n, live, wrong, again;
    ngx_http_debug_entity_t  *e;

    live = 0;
    wrong = 0;

    n = ngx_http_debug_load(&zone->entities);

    for (i = 0; i < n; i++) {
        e = ngx_http_debug_zone_by_id(zone, i);

        if (e && e->kind == NGX_HTTP_DEBUG_PEER) {
            wrong += e->id != i || e->cells != 2 || e->group != 1
                     || e->stride < sizeof(ngx_http_debug_cell_t)
                     || e->key != e->len
                     || e->cell + 2 * e->stride > zone->used;
            live++;
        }
    }

    is_int(wrong, 0, "%s: each entity is complete", what);

    /* the same name again is the same entity, and it is that name's */

    for (i = 0, wrong = 0; i < names; i++) {
        name = name_of(i);
        e = insert(zone, NGX_HTTP_DEBUG_PEER, 1, i, ngx_cycle->log);

        wrong += e->kind != NGX_HTTP_DEBUG_PEER
                 || e->len != name.len
                 || ngx_memcmp(e->name, name.data, name.len) != 0
                 || ngx_http_debug_zone_by_id(zone, e->id) != e;
    }

    is_int(wrong, 0, "%s: each name is found", what);

    for (i = 0, again = 0; i < zone->entities; i++) {
        e = ngx_http_debug_zone_by_id(zone, i);
        again += e && e->kind == NGX_HTTP_DEBUG_PEER;
    }

    is_int(again, names, "%s: each has one entity", what);
    note("%s: %lu live of %lu ids", what, (unsigned long) live,
         (unsigned long) n);
}


static pid_t
start(void (*work)(ngx_http_debug_zone_t *zone, ngx_uint_t n, ngx_log_t *log),
    ngx_http_debug_zone_t *zone, ngx_uint_t n, ngx_log_t *log)
{
    const pid_t  pid = fork();

    if (pid == 0) {
        ngx_pid = getpid();
        work(zone, n, log);
        _exit(0);
    }

    return pid;
}


/* All names, each process from another one on, and each counted once. */

static void
work_insert(ngx_http_debug_zone_t *zone, ngx_uint_t n, ngx_log_t *log)
{
    ngx_uint_t                i;
    ngx_http_debug_cell_t    *cell;
    ngx_http_debug_entity_t  *e;

    for (i = 0; i < NAMES; i++) {
        e = insert(zone, NGX_HTTP_DEBUG_PEER, 1,
                   (i * 7 + n * (NAMES / PROCESSES)) % NAMES, log);
        cell = ngx_http_debug_zone_cell(zone, e, n);
        ngx_http_debug_add(&cell->value[NGX_HTTP_DEBUG_TIME], 1);
    }
}


static void
work_for_ever(ngx_http_debug_zone_t *zone, ngx_uint_t n, ngx_log_t *log)
{
    ngx_uint_t  i;

    ngx_http_debug_zone_enter(zone, 1);

    for (i = n; /* void */ ; i++) {
        (void) insert(zone, NGX_HTTP_DEBUG_PEER, 1, i % NAMES, log);
    }
}


static int32_t *
active(ngx_http_debug_zone_t *zone, ngx_http_debug_entity_t *e,
    ngx_uint_t lane)
{
    ngx_http_debug_place_t  place;

    ngx_http_debug_zone_place(zone, e, lane, &place);

    return &place.active->active;
}


static void
work_active(ngx_http_debug_zone_t *zone, ngx_uint_t n, ngx_log_t *log)
{
    ngx_http_debug_entity_t  *e;

    ngx_http_debug_zone_enter(zone, 1);

    e = insert(zone, NGX_HTTP_DEBUG_PEER, 1, n, log);
    ngx_http_debug_add(active(zone, e, ngx_http_debug_lane), 3);

    pause();
}


static uint64_t
sum(ngx_http_debug_zone_t *zone, ngx_http_debug_entity_t *e,
    ngx_uint_t metric)
{
    uint64_t    n;
    ngx_uint_t  i;

    for (i = 0, n = 0; i < e->cells; i++) {
        n += ngx_http_debug_zone_cell(zone, e, i)->value[metric];
    }

    return n;
}


static void
test_insert(ngx_log_t *log)
{
    int                       status;
    pid_t                     pid[PROCESSES];
    ngx_uint_t                i, wrong, run;
    ngx_http_debug_zone_t    *zone;
    ngx_http_debug_entity_t  *e;

    for (run = 0; run < 5; run++) {
        zone = ngx_http_debug_zone_create(log, 64 * 1024 * 1024);

        for (i = 0; i < PROCESSES; i++) {
            pid[i] = start(work_insert, zone, i, log);
        }

        for (i = 0, wrong = 0; i < PROCESSES; i++) {
            (void) waitpid(pid[i], &status, 0);
            wrong += status != 0;
        }

        is_int(wrong, 0, "%d processes insert the same names", PROCESSES);
        check("all at once", zone, NAMES);

        for (i = 0, wrong = 0; i < NAMES; i++) {
            e = insert(zone, NGX_HTTP_DEBUG_PEER, 1, i, log);
            wrong += sum(zone, e, NGX_HTTP_DEBUG_TIME) != PROCESSES;
        }

        is_int(wrong, 0, "what each counted is there");
        is_int(zone->dropped, 0, "nothing was dropped");

        munmap(zone, zone->size);
    }
}


static void
test_killed(ngx_log_t *log)
{
    pid_t                   pid[PROCESSES];
    ngx_uint_t              i, run;
    ngx_http_debug_zone_t  *zone;

    zone = ngx_http_debug_zone_create(log, 64 * 1024 * 1024);

    for (run = 0; run < 20; run++) {

        for (i = 0; i < PROCESSES; i++) {
            pid[i] = start(work_for_ever, zone, run * NAMES / 20, log);
        }

        usleep(1000 + run * 500);

        for (i = 0; i < PROCESSES; i++) {
            (void) kill(pid[i], SIGKILL);
            (void) waitpid(pid[i], NULL, 0);
        }
    }

    check("killed while inserting", zone, NAMES);
    is_int(zone->dropped, 0, "killed while inserting: nothing was dropped");

    munmap(zone, zone->size);
}


static void
test_lanes(ngx_log_t *log)
{
    pid_t                     pid[3];
    ngx_uint_t                i, lanes;
    ngx_http_debug_zone_t    *zone;
    ngx_http_debug_entity_t  *e[3];

    zone = ngx_http_debug_zone_create(log, 8 * 1024 * 1024);

    for (i = 0; i < 3; i++) {
        e[i] = insert(zone, NGX_HTTP_DEBUG_PEER, 1, i, log);
        pid[i] = start(work_active, zone, i, log);

        while (__atomic_load_n(active(zone, e[i], i), __ATOMIC_ACQUIRE) != 3) {
            usleep(1000);
        }
    }

    ok(zone->lane[0].pid == pid[0] && zone->lane[1].pid == pid[1]
       && zone->lane[2].pid == pid[2], "each process has a lane of its own");

    ngx_http_debug_zone_settle(zone);
    is_int(sum(zone, e[1], NGX_HTTP_DEBUG_FAIL_LOST), 0,
           "nothing is lost while they live");

    (void) kill(pid[1], SIGKILL);
    (void) waitpid(pid[1], NULL, 0);

    ngx_http_debug_zone_settle(zone);
    is_int(sum(zone, e[1], NGX_HTTP_DEBUG_FAIL_LOST), 3,
           "what the dead one had under way is lost");
    is_int(*active(zone, e[1], 1), 0, "and no longer under way");
    is_int(zone->lane[1].pid, 0, "its lane is free");
    is_int(*active(zone, e[0], 0) + *active(zone, e[2], 2), 6,
           "the others go on");

    ngx_http_debug_zone_settle(zone);
    is_int(sum(zone, e[1], NGX_HTTP_DEBUG_FAIL_LOST), 3, "it is booked once");

    /* a successor finds the lane of one that nobody settled */

    (void) kill(pid[0], SIGKILL);
    (void) waitpid(pid[0], NULL, 0);

    ngx_http_debug_zone_enter(zone, 1);
    is_int(ngx_http_debug_lane, 0, "a successor takes the lane");
    is_int(sum(zone, e[0], NGX_HTTP_DEBUG_FAIL_LOST), 3, "and books for it");

    ngx_http_debug_zone_enter(zone, 1);
    is_int(ngx_http_debug_lane, 0, "and keeps it when it is asked again");
    is_int(sum(zone, e[0], NGX_HTTP_DEBUG_FAIL_LOST), 3, "with all in it");

    ngx_http_debug_add(active(zone, e[0], 0), 1);
    ngx_http_debug_zone_leave(zone);
    is_int(ngx_http_debug_lane, -1, "who leaves has no lane");
    is_int(sum(zone, e[0], NGX_HTTP_DEBUG_FAIL_LOST), 4,
           "and books what it breaks off");

    /* more processes than lanes */

    for (i = 0; i < NGX_HTTP_DEBUG_LANES; i++) {
        zone->lane[i].pid = getppid();
    }

    zone->lanes = NGX_HTTP_DEBUG_LANES;

    ngx_http_debug_zone_enter(zone, 1);
    is_int(ngx_http_debug_lane, NGX_HTTP_DEBUG_LANES,
           "one more than there are lanes shares one with all others");
    ngx_http_debug_add(active(zone, e[1], ngx_http_debug_lane), 2);
    is_int(ngx_http_debug_zone_active(zone, e[1], NULL), 2,
           "where it is under way, too");
    ngx_http_debug_zone_leave(zone);
    is_int(ngx_http_debug_zone_active(zone, e[1], NULL), 2,
           "and what others have there stays when it goes");

    for (i = 0, lanes = 0; i < NGX_HTTP_DEBUG_LANES; i++) {
        lanes += zone->lane[i].pid != 0;
    }

    is_int(lanes, NGX_HTTP_DEBUG_LANES, "nobody else's lane is given away");

    (void) kill(pid[2], SIGKILL);
    (void) waitpid(pid[2], NULL, 0);

    munmap(zone, zone->size);
}


static void
test_full(ngx_log_t *log)
{
    u_char                    long_name[NGX_HTTP_DEBUG_HOST_LEN + 1];
    ngx_str_t                 name;
    ngx_uint_t                i, hosts, before;
    ngx_http_debug_zone_t    *zone;
    ngx_http_debug_entity_t  *e, *overflow;

    zone = ngx_http_debug_zone_create(log, NGX_HTTP_DEBUG_ZONE_MIN);
    zone->warned = zone->generation;        /* in silence */

    overflow = ngx_http_debug_zone_at(zone, zone->overflow);

    for (i = 0; i < NAMES; i++) {
        e = insert(zone, NGX_HTTP_DEBUG_PEER, 1, i, log);

        if (e == overflow) {
            break;
        }
    }

    ok(i > 10 && i < NAMES, "a zone of 1m holds %lu names",
       (unsigned long) i);
    ok(zone->used <= zone->limit, "and not more than it may");
    is_int(zone->dropped, 1, "the next one is counted as dropped");

    before = i;
    e = insert(zone, NGX_HTTP_DEBUG_PEER, 1, 0, log);
    ok(e != overflow && zone->dropped == 1, "those before it are found");

    /* a larger limit on the same memory */

    zone->limit = 64 * 1024 * 1024;
    e = insert(zone, NGX_HTTP_DEBUG_PEER, 1, before, log);
    ok(e != overflow, "there is room again when debug_zone grows");

    zone->limit = NGX_HTTP_DEBUG_ZONE_MIN;
    e = insert(zone, NGX_HTTP_DEBUG_PEER, 1, before + 1, log);
    ok(e == overflow, "and none when it shrinks");
    e = insert(zone, NGX_HTTP_DEBUG_PEER, 1, before, log);
    ok(e != overflow, "but nothing goes away");

    is_int(ngx_http_debug_zone_alloc(zone, SIZE_MAX / 2, 0), 0,
           "a size that is no size");

    zone->limit = 64 * 1024 * 1024;

    for (i = 0, hosts = 0; i < 2 * NGX_HTTP_DEBUG_HOSTS; i++) {
        hosts += insert(zone, NGX_HTTP_DEBUG_HOST, 0, i, log) != overflow;
    }

    is_int(hosts, NGX_HTTP_DEBUG_HOSTS, "hosts that clients name are bounded");
    is_int(zone->hosts, NGX_HTTP_DEBUG_HOSTS, "and counted");

    /* and so are all of their peers, and the length of a name */

    e = insert(zone, NGX_HTTP_DEBUG_HOST, 0, 0, log);

    for (i = 0, hosts = 0; i < 2 * NGX_HTTP_DEBUG_HOST_PEERS; i++) {
        hosts += insert(zone, NGX_HTTP_DEBUG_PEER, e->id, i, log) != overflow;
    }

    is_int(hosts, NGX_HTTP_DEBUG_HOST_PEERS, "their peers are bounded");

    name.len = NGX_HTTP_DEBUG_HOST_LEN + 1;
    name.data = long_name;
    ngx_memset(long_name, 'x', sizeof(long_name));
    zone->hosts = 0;

    ok(ngx_http_debug_zone_entity(zone, NGX_HTTP_DEBUG_HOST, 0, &name, 1, log)
       == overflow, "no host has so long a name");
    ok(ngx_http_debug_zone_entity(zone, NGX_HTTP_DEBUG_GROUP, 0, &name, 1,
                                  log)
       != overflow, "but a group of the configuration may");

    /* kinds and groups keep the same name apart */

    e = insert(zone, NGX_HTTP_DEBUG_PEER, 2, 0, log);
    ok(e != insert(zone, NGX_HTTP_DEBUG_PEER, 1, 0, log)
       && e != insert(zone, NGX_HTTP_DEBUG_GROUP, 0, 0, log)
       && e != insert(zone, NGX_HTTP_DEBUG_HOST, 0, 0, log)
       && e == insert(zone, NGX_HTTP_DEBUG_PEER, 2, 0, log),
       "a name is told apart by kind and group");

    munmap(zone, zone->size);
}


/* The reserve is address space, which may be rationed. */

static void
test_reserve(ngx_log_t *log)
{
    int                     status;
    pid_t                   pid;
    ngx_uint_t              i, level;
    ngx_cycle_t             cycle;
    ngx_shm_zone_t          shm_zone;
    struct rlimit           rl;
    ngx_http_debug_zone_t  *zone;

    zone = ngx_http_debug_zone_create(log, NGX_HTTP_DEBUG_ZONE_DEFAULT);
    is_int(zone->size, NGX_HTTP_DEBUG_ZONE_MAX, "all is reserved");
    is_int(zone->limit, NGX_HTTP_DEBUG_ZONE_DEFAULT, "and not to be used yet");

    ngx_http_debug_zone_limit(zone, NGX_HTTP_DEBUG_ZONE_MAX, log);
    is_int(zone->limit, NGX_HTTP_DEBUG_ZONE_MAX, "before it is asked for");
    munmap(zone, zone->size);

    /* what another version laid out is left alone */

    zone = ngx_http_debug_zone_create(log, NGX_HTTP_DEBUG_ZONE_DEFAULT);
    ngx_memzero(&shm_zone, sizeof(ngx_shm_zone_t));
    ngx_str_set(&shm_zone.shm.name, "ngx_http_debug");
    ngx_memzero(&cycle, sizeof(ngx_cycle_t));
    cycle.log = log;
    level = log->log_level;

    ok(ngx_http_debug_zone_open(&cycle, &shm_zone, zone) == zone,
       "the zone is found again");

    log->log_level = 0;

    for (i = 0; i < 3; i++) {
        (&zone->magic)[i]++;
        ok(ngx_http_debug_zone_open(&cycle, &shm_zone, zone) == NULL,
           "but not if its %s is another",
           i == 0 ? "magic number" : i == 1 ? "version" : "layout");
        (&zone->magic)[i]--;
    }

    log->log_level = level;
    munmap(zone, zone->size);

#if (__SANITIZE_ADDRESS__)
    skip("no reserve", "a sanitizer wants all addresses for itself");
    return;
#endif

    pid = fork();

    if (pid == 0) {
        rl.rlim_cur = rl.rlim_max = NGX_HTTP_DEBUG_ZONE_MAX / 2;

        if (setrlimit(RLIMIT_AS, &rl) != 0) {
            _exit(9);
        }

        zone = ngx_http_debug_zone_create(log, NGX_HTTP_DEBUG_ZONE_DEFAULT);

        if (zone == NULL || zone->size != NGX_HTTP_DEBUG_ZONE_DEFAULT) {
            _exit(1);
        }

        log->log_level = 0;
        ngx_http_debug_zone_limit(zone, 2 * NGX_HTTP_DEBUG_ZONE_DEFAULT, log);

        _exit(zone->limit == NGX_HTTP_DEBUG_ZONE_DEFAULT ? 0 : 2);
    }

    (void) waitpid(pid, &status, 0);
    is_int(status, 0, "where there is no reserve, what there is, is not"
           " exceeded");
}


static void
test_ids(ngx_log_t *log)
{
    ngx_str_t                 name;
    ngx_uint_t                i, n, wrong;
    ngx_http_debug_zone_t    *zone;
    ngx_http_debug_entity_t  *overflow;

    /* more names than there are ids, with memory for all */

    zone = ngx_http_debug_zone_create(log, (size_t) 512 * 1024 * 1024);

    if (zone == NULL) {
        skip("all ids", "no memory");
        return;
    }

    zone->warned = zone->generation;
    overflow = ngx_http_debug_zone_at(zone, zone->overflow);

    for (i = 0, n = 0; i < NGX_HTTP_DEBUG_ENTITIES + 100; i++) {
        name = name_of(i);
        n += ngx_http_debug_zone_entity(zone, NGX_HTTP_DEBUG_PEER, 1, &name,
                                        1, log)
             != overflow;
    }

    is_int(n, NGX_HTTP_DEBUG_ENTITIES - 2, "as many names as ids");
    is_int(zone->entities, NGX_HTTP_DEBUG_ENTITIES, "no id is given twice");

    for (i = 0, wrong = 0; i < n; i++) {
        name = name_of(i);
        wrong += ngx_http_debug_zone_entity(zone, NGX_HTTP_DEBUG_PEER, 1,
                                            &name, 1, log)
                 == overflow;
    }

    is_int(wrong, 0, "all of them are found in a full directory");

    munmap(zone, zone->size);
}


static int
test(ngx_cycle_t *cycle)
{
    const size_t  cells = sizeof(ngx_http_debug_cell_t);

    ok(sizeof(ngx_http_debug_zone_t) < NGX_HTTP_DEBUG_ZONE_MIN,
       "the smallest zone holds its own head");
    note("a cell takes %zu bytes", cells);

    is_int(ngx_http_debug_zone_cells(1), 1, "cells for 1 worker");
    is_int(ngx_http_debug_zone_cells(3), 4, "for 3");
    is_int(ngx_http_debug_zone_cells(16), 16, "for 16");
    is_int(ngx_http_debug_zone_cells(128), NGX_HTTP_DEBUG_CELLS_MAX,
           "for 128");

    test_insert(cycle->log);
    test_killed(cycle->log);
    test_lanes(cycle->log);
    test_full(cycle->log);
    test_reserve(cycle->log);
    test_ids(cycle->log);

    return done_testing();
}
