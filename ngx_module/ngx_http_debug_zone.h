
/*
 * Shared memory: a directory of names and, for each, its cells.
 *
 * nginx's own zone ("ngx_http_debug") is small and of constant size, so that
 * it is found again at every reload; it holds nothing but the address of a
 * mapping of ours, which is as large as debug_zone can ever be and of which
 * debug_zone is only the limit.  Memory that was never written to costs
 * nothing.  So a new debug_zone size is a new limit on the same memory, and
 * old workers that still drain go on counting into the same cells.
 *
 * Entities are appended and never removed or moved: an old and a new
 * generation of workers use the same ones.  A name is found by a hash table
 * of offsets without a lock, and inserted by one compare-and-swap, so that a
 * worker killed at any instruction leaves nothing locked.  Everything is
 * addressed by its offset.
 *
 * Concurrency: a field of a cell is written by relaxed atomic adds, by any
 * process at any time, and read by relaxed loads.  Names and offsets are
 * written before the compare-and-swap that publishes them.
 */


#ifndef _NGX_HTTP_DEBUG_ZONE_H_INCLUDED_
#define _NGX_HTTP_DEBUG_ZONE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_debug_metrics.h"


#define NGX_HTTP_DEBUG_ZONE_MAGIC    0x6775626564786e67   /* "gnxdebug" */
#define NGX_HTTP_DEBUG_ZONE_VERSION  3

#define NGX_HTTP_DEBUG_ZONE_MIN      (1024 * 1024)
#define NGX_HTTP_DEBUG_ZONE_DEFAULT  (8 * 1024 * 1024)

/*
 * Reserved, and so the most that debug_zone can be: address space alone, which
 * takes no memory before something is written to it.
 */

#if (NGX_PTR_SIZE == 8)
#define NGX_HTTP_DEBUG_ZONE_MAX      ((size_t) 1024 * 1024 * 1024)
#else
#define NGX_HTTP_DEBUG_ZONE_MAX      ((size_t) 128 * 1024 * 1024)
#endif

#define NGX_HTTP_DEBUG_LANES         64      /* worker processes that are told
                                                apart, old and new ones */
#define NGX_HTTP_DEBUG_CELLS_MAX     16      /* cells of one entity */
#define NGX_HTTP_DEBUG_ENTITIES      32768
#define NGX_HTTP_DEBUG_SLOTS         65536   /* of the hash table */
/* names that clients can choose; all of their peers; bytes of one */
#define NGX_HTTP_DEBUG_HOSTS         256
#define NGX_HTTP_DEBUG_HOST_PEERS    512
#define NGX_HTTP_DEBUG_HOST_LEN      255

#define NGX_HTTP_DEBUG_MARKS         64      /* reloads that are remembered */
#define NGX_HTTP_DEBUG_TAKEN         32      /* profiles that are */
#define NGX_HTTP_DEBUG_TAKEN_NAME    128

#define NGX_HTTP_DEBUG_CODES         24      /* exact status codes of a cell */
#define NGX_HTTP_DEBUG_CLASSES       6       /* the rest, by first digit */


/*
 * The histogram: 16 buckets an octave of seconds, from 2^-20 s, which is just
 * below 1 us, to 2^12, which is beyond one hour; the first takes what is
 * shorter, the last what is longer.  Bounds are 2^(i/16), so these are the
 * buckets of Prometheus' native histograms of schema 4, and the middle of one
 * is at most 2.2 % wrong.
 */

#define NGX_HTTP_DEBUG_BUCKETS       514


/*
 * What is counted of one name by the processes of some lanes.  The first line
 * and a bucket are what a usual answer touches.
 */

typedef struct {
    uint64_t  until;         /* ms: the end of the current second */
    uint64_t  max;           /* ns */
    uint64_t  floor;         /* ~ns of the shortest; 0: none yet */

    uint64_t  value[NGX_HTTP_DEBUG_METRICS];

    uint32_t  code[NGX_HTTP_DEBUG_CODES];    /* 0: free; in order of arrival */
    uint64_t  count[NGX_HTTP_DEBUG_CODES + NGX_HTTP_DEBUG_CLASSES];

    /*
     * The current second, moved on by its first request: the counts at its
     * beginning, and how many were in the one before.
     */

    uint64_t  second;
    uint64_t  last;
    uint64_t  base[NGX_HTTP_DEBUG_CODES + NGX_HTTP_DEBUG_CLASSES];

    uint64_t  bucket[NGX_HTTP_DEBUG_BUCKETS];

    /* under way, of each lane that counts here: LANES / cells of them */
    int64_t   active[1];
} ngx_http_debug_cell_t;


typedef struct {
    uint64_t  hash;
    uint32_t  kind;
    uint32_t  live;          /* 0: not in the hash table (yet): not there */
    uint32_t  id;            /* position in the directory */
    uint32_t  group;         /* of a peer: the id of its group */
    uint32_t  cells;         /* a power of 2 */
    uint32_t  stride;        /* bytes of a cell */
    uint32_t  len;           /* of the name */
    uint64_t  cell;          /* offset of the first */
    uint64_t  again;         /* of a peer: offset of the cell of the tries that
                                were not all of a round; 0: none yet */
    uint64_t  history;       /* offset of the rings; 0: none yet */
    uint64_t  created;       /* ms since the epoch */

    uint64_t  failed;        /* ms since the epoch; 0: never */
    uint64_t  failure;       /* NGX_HTTP_DEBUG_FAIL_... */

    u_char    name[1];
} ngx_http_debug_entity_t;


/* a profile that somebody fetched */

typedef struct {
    uint64_t  time;          /* ms since the epoch; 0: being written */
    uint32_t  group_len;
    uint32_t  peer_len;
    uint32_t  kind_len;
    u_char    group[NGX_HTTP_DEBUG_TAKEN_NAME];
    u_char    peer[NGX_HTTP_DEBUG_TAKEN_NAME];
    u_char    kind[NGX_HTTP_DEBUG_TAKEN_NAME];
} ngx_http_debug_taken_t;


/* where this process counts what happens at an entity */

typedef struct {
    ngx_http_debug_entity_t  *entity;
    ngx_http_debug_cell_t    *cell;
    int64_t                  *active;
} ngx_http_debug_place_t;


typedef struct {
    uint64_t  magic;
    uint64_t  version;
    uint64_t  layout;        /* sizes of the structs, folded */

    uint64_t  size;          /* bytes mapped */
    uint64_t  limit;         /* bytes that may be used: debug_zone */
    uint64_t  used;          /* bytes */

    uint64_t  start;         /* ns, CLOCK_MONOTONIC */
    uint64_t  started;       /* ns since the epoch */
    uint64_t  generation;    /* configurations loaded */
    uint64_t  reloaded;      /* ms since the epoch */

    uint64_t  tick;          /* the last second that history has */
    uint64_t  nmarks;        /* reloads so far; the last ones are in mark */
    uint64_t  mark[NGX_HTTP_DEBUG_MARKS];       /* ms since the epoch */

    uint64_t  ntaken;        /* as nmarks */
    ngx_http_debug_taken_t  taken[NGX_HTTP_DEBUG_TAKEN];

    uint64_t  dropped;       /* records that went to the overflow entity */
    uint64_t  warned;        /* generation that logged it */
    uint64_t  hosts;
    uint64_t  host_peers;
    uint64_t  entities;      /* ids given out */
    uint64_t  overflow;      /* offset */

    int64_t   lane[NGX_HTTP_DEBUG_LANES];       /* pid; 0: free */

    uint32_t  slot[NGX_HTTP_DEBUG_SLOTS];       /* id + 1 */
    uint64_t  entity[NGX_HTTP_DEBUG_ENTITIES];  /* offset by id */
} ngx_http_debug_zone_t;


#define ngx_http_debug_zone_at(zone, offset)                                  \
    ((void *) ((u_char *) (zone) + (offset)))

#define ngx_http_debug_load(p)    __atomic_load_n(p, __ATOMIC_RELAXED)
#define ngx_http_debug_add(p, n)                                              \
    ((void) __atomic_fetch_add(p, n, __ATOMIC_RELAXED))


/* what a usual request never enters stays out of the functions that it does */

#if (__GNUC__)
#define ngx_http_debug_seldom     __attribute__((noinline, cold))
#else
#define ngx_http_debug_seldom
#endif


/* the lane of this process; -1: it records nothing */
extern ngx_int_t  ngx_http_debug_lane;


/*
 * Finds the mapping of the running cycle, DATA if nginx gives it, or makes
 * one with room for LIMIT at least.  Returns the zone or NULL (no memory;
 * logged).  Context: configuration, a shared zone's init.
 */
ngx_http_debug_zone_t *ngx_http_debug_zone_open(ngx_cycle_t *cycle,
    ngx_shm_zone_t *shm_zone, void *data, size_t limit);

/* Sets LIMIT, or as much of it as the mapping has.  Context: configuration. */
void ngx_http_debug_zone_limit(ngx_http_debug_zone_t *zone, size_t limit,
    ngx_log_t *log);

/*
 * Finds or inserts NAME of KIND, for a peer in its GROUP (an id, else 0).
 * With CELLS cells if it is new.  Never NULL: where there is no room, or no
 * more of what clients can choose, the overflow entity, with "dropped"
 * counted; logged to LOG once a generation.
 * Context: configuration; worker, request.
 */
ngx_http_debug_entity_t *ngx_http_debug_zone_entity(
    ngx_http_debug_zone_t *zone, ngx_uint_t kind, uint32_t group,
    ngx_str_t *name, ngx_uint_t cells, ngx_log_t *log);

/* The same by ID; NULL: not there (yet). */
ngx_http_debug_entity_t *ngx_http_debug_zone_by_id(ngx_http_debug_zone_t *zone,
    ngx_uint_t id);

/* Bytes of an entity of a name of LEN bytes; of a peer with all it can need. */
size_t ngx_http_debug_zone_entity_size(ngx_uint_t kind, size_t len,
    ngx_uint_t cells);

/*
 * The cell of a peer's tries that were not all of a round; where there is no
 * room for one, the overflow entity's, as above.
 */
ngx_http_debug_cell_t *ngx_http_debug_zone_again(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e, ngx_log_t *log);

/*
 * Appends SIZE zeroed bytes.  Returns the offset, 0 where the limit less
 * RESERVE does not allow it.  Context: any process, at any time.
 */
uint64_t ngx_http_debug_zone_alloc(ngx_http_debug_zone_t *zone, size_t size,
    size_t reserve);

/* Cells for so many worker processes. */
ngx_uint_t ngx_http_debug_zone_cells(ngx_int_t workers);

/*
 * Takes and gives back this process's lane.  What a dead process had under
 * way in a lane is booked as lost.  Context: worker start and end.
 */
void ngx_http_debug_zone_enter(ngx_http_debug_zone_t *zone);
void ngx_http_debug_zone_leave(ngx_http_debug_zone_t *zone);

/* Books what dead processes had under way.  Context: worker, timer. */
void ngx_http_debug_zone_settle(ngx_http_debug_zone_t *zone);


static ngx_inline ngx_http_debug_cell_t *
ngx_http_debug_zone_cell(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e, ngx_uint_t lane)
{
    return ngx_http_debug_zone_at(zone, e->cell
                                        + (lane & (e->cells - 1)) * e->stride);
}


static ngx_inline void
ngx_http_debug_zone_place(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e, ngx_uint_t lane, ngx_http_debug_place_t *place)
{
    place->entity = e;
    place->cell = ngx_http_debug_zone_cell(zone, e, lane);
    place->active = &place->cell->active[lane / e->cells];
}


/* CLOCK_MONOTONIC, ns */

static ngx_inline uint64_t
ngx_http_debug_now(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000000 + ts.tv_nsec;
}


#endif /* _NGX_HTTP_DEBUG_ZONE_H_INCLUDED_ */
