
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
 * An old and a new generation of workers use the same entities.  A name is
 * found by a hash table without a lock; it is inserted under one that is a
 * process's id, so that a worker killed at any instruction leaves nothing
 * locked; who holds it needs a microsecond.
 * Everything is addressed by its offset.
 *
 * What the configuration no longer names is removed: first it is shown as
 * such, then no name leads to it any more, and when nothing can be under way
 * there, its counts are folded into its group (a server's into "gone") and its
 * memory is another name's.  A reader sees either the peer or the group with
 * its counts, never both and never neither: one word of the group, "fold",
 * says which of two sums is valid, and who is in it.
 *
 * Concurrency: a field of a cell is written by relaxed atomic adds, by any
 * process at any time, and read by relaxed loads.  Names and offsets are
 * written before what publishes them.
 */


#ifndef _NGX_HTTP_DEBUG_ZONE_H_INCLUDED_
#define _NGX_HTTP_DEBUG_ZONE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_debug_metrics.h"


#define NGX_HTTP_DEBUG_ZONE_MAGIC    0x6775626564786e67   /* "gnxdebug" */
#define NGX_HTTP_DEBUG_ZONE_VERSION  8

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

#define NGX_HTTP_DEBUG_LANES         512     /* worker processes that are told
                                                apart, old and new ones */
#define NGX_HTTP_DEBUG_PAGE          512     /* entities of a lane's page */
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

#define NGX_HTTP_DEBUG_NAME          64      /* bytes that every name has */
#define NGX_HTTP_DEBUG_WATCH         4096    /* of a peer; see _state.h */

#define NGX_HTTP_DEBUG_SHOWN         600000  /* ms that what was removed is */
#define NGX_HTTP_DEBUG_GRACE         5000    /* ms: see _clean() */
/* ns that a new name waits for the zone's lock, if its owner does not run */
#define NGX_HTTP_DEBUG_WAIT          500000000

#define NGX_HTTP_DEBUG_CODES         24      /* exact status codes of a cell */
#define NGX_HTTP_DEBUG_CLASSES       6       /* the rest, by first digit */

/*
 * Codes from here on are no answers but failures, of which grpc-status says
 * what they are; each is also in the count of its cause.
 */
#define NGX_HTTP_DEBUG_GRPC          1000


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
} ngx_http_debug_cell_t;


/* What a process has under way at an entity. */

typedef struct {
    int32_t   active;
    int32_t   headed;        /* of these, whose response header is there */
} ngx_http_debug_active_t;


/*
 * A request under way, as far as it is known without looking: the process
 * that has it writes here when it begins, goes to a peer, and ends; what takes
 * longer it looks at now and then, see "looked".
 *
 * "seq" is odd while it is written to: who reads it before and after, and
 * finds the same even number, has read one request.
 */

#define NGX_HTTP_DEBUG_LANE_SLOTS    1024    /* of a process; a power of 2 */
#define NGX_HTTP_DEBUG_SLOT_ROUTE    48
#define NGX_HTTP_DEBUG_SLOT_CLIENT   46
#define NGX_HTTP_DEBUG_SLOT_PATH     96

typedef struct {
    uint32_t  seq;
    uint32_t  id;
    uint64_t  begun;         /* ns, CLOCK_MONOTONIC; 0: free */
    uint64_t  looked;        /* ns: when it was looked at; 0: not yet */

    uint32_t  server;        /* id of the entity */
    uint32_t  method;        /* a bit of nginx's */
    uint16_t  tries;
    uint16_t  state;         /* NGX_HTTP_DEBUG_WAY_... */

    /* with no tries: nothing */
    uint32_t  peer;          /* id + 1 of it, or of a group; 0: none */

    /* not looked at: nothing */
    uint64_t  received;      /* bytes: from the peer */
    uint64_t  sent;          /* bytes: to the client */
    uint16_t  client_len;
    uint16_t  route_len;
    u_char    route[NGX_HTTP_DEBUG_SLOT_ROUTE];
    u_char    client[NGX_HTTP_DEBUG_SLOT_CLIENT];

    uint16_t  path_len;      /* of all of it */
    u_char    path[NGX_HTTP_DEBUG_SLOT_PATH];
} ngx_http_debug_slot_t;

enum {
    NGX_HTTP_DEBUG_WAY_REQUEST = 0,   /* it is read, or nginx works on it */
    NGX_HTTP_DEBUG_WAY_CONNECTING,
    NGX_HTTP_DEBUG_WAY_ASKING,        /* it is sent to the peer */
    NGX_HTTP_DEBUG_WAY_WAITING,
    NGX_HTTP_DEBUG_WAY_READING,       /* the peer's answer */
    NGX_HTTP_DEBUG_WAY_SENDING,       /* to the client, who is slower */
    NGX_HTTP_DEBUG_WAY_UPGRADED,

    NGX_HTTP_DEBUG_WAYS
};


/* A process: what it has under way, entity by entity. */

typedef struct {
    int64_t   pid;           /* 0: free */
    uint64_t  generation;    /* of its configuration */
    uint32_t  slot;          /* offset of the slots in units of 64; 0: none */
    uint32_t  slots;         /* how many there are */
    uint32_t  top;           /* how many were ever used, the first ones */
    int32_t   left;          /* under way without one */
    uint32_t  page[NGX_HTTP_DEBUG_ENTITIES / NGX_HTTP_DEBUG_PAGE];
                             /* offsets, in units of 64; 0: none yet */
} ngx_http_debug_lane_t;


/* What a peer's process says of itself. */

enum {
    NGX_HTTP_DEBUG_PROCESS_RSS = 0,          /* bytes */
    NGX_HTTP_DEBUG_PROCESS_HEAP,             /* bytes in use */
    NGX_HTTP_DEBUG_PROCESS_CPU,              /* ns since its start */
    NGX_HTTP_DEBUG_PROCESS_THREADS,
    NGX_HTTP_DEBUG_PROCESS_FDS,
    NGX_HTTP_DEBUG_PROCESS_VALUES
};

#define NGX_HTTP_DEBUG_PROCESS_UNKNOWN  0xffffffffffffffff

typedef struct {
    uint64_t  time;          /* ns, CLOCK_MONOTONIC, when it did; 0: never */
    uint64_t  next;          /* s: it is not asked before */
    uint64_t  failed;        /* questions in a row that it did not answer */
    uint64_t  generation;    /* of the configuration that asked it last */
    uint64_t  value[NGX_HTTP_DEBUG_PROCESS_VALUES];
} ngx_http_debug_process_t;


/* "live" */

#define NGX_HTTP_DEBUG_NONE          0       /* not in the hash table (yet) */
#define NGX_HTTP_DEBUG_LIVE          1
#define NGX_HTTP_DEBUG_RETIRED       2       /* no longer in it: no name leads
                                                here, but it still has its
                                                counts */

/* "marks" */

#define NGX_HTTP_DEBUG_NAMED         0x01    /* by a configuration, once */
#define NGX_HTTP_DEBUG_BACKUP        0x02
#define NGX_HTTP_DEBUG_DOWN          0x04    /* so the configuration says */
#define NGX_HTTP_DEBUG_DYNAMIC       0x08    /* of a group whose peers come and
                                                go without a reload */


typedef struct {
    uint64_t  hash;
    uint32_t  kind;
    uint32_t  live;
    uint32_t  key;           /* the length, while a name leads here */
    uint32_t  size;          /* bytes that a name may have */
    uint32_t  id;            /* position in the directory */
    uint32_t  group;         /* of a peer: the id of its group */
    uint32_t  cells;         /* a power of 2 */
    uint32_t  stride;        /* bytes of a cell */
    uint32_t  len;           /* of the name */
    uint64_t  cell;          /* offset of the first */
    uint64_t  again;         /* of a peer: offset of the cell of the tries that
                                were not all of a round; 0: none yet */
    uint64_t  history;       /* offset of the rings; 0: none yet */
    uint64_t  rings;         /* their bytes */
    uint64_t  watch;         /* of a peer: offset of what its state is judged
                                by */
    uint64_t  created;       /* ms since the epoch */

    uint64_t  generation;    /* the last configuration that named it */
    uint64_t  seen;          /* ms since the epoch, if it is dynamic */
    uint64_t  removed;       /* ms since the epoch: since when none does; 0 */
    uint64_t  retired;       /* ms since the epoch */
    uint32_t  weight;        /* of a peer, and what else its line says */
    uint32_t  marks;

    /*
     * The sums of those that were folded into this one: "fold" is the number
     * of the fold, which of the two is valid (one bit), and the id + 1 of who
     * is in it but may still be there (17 bits).
     */

    uint64_t  sum[2];        /* offsets; 0: none yet */
    uint64_t  fold;
#define NGX_HTTP_DEBUG_FOLD  18
#define ngx_http_debug_valid(fold)   ((fold) >> (NGX_HTTP_DEBUG_FOLD - 1) & 1)
#define ngx_http_debug_folded(fold)                                           \
    ((fold) & (((uint64_t) 1 << (NGX_HTTP_DEBUG_FOLD - 1)) - 1))

    uint64_t  free;          /* offset of the next of those to be used again */

    uint64_t  failed;        /* ms since the epoch; 0: never */
    uint64_t  failure;       /* NGX_HTTP_DEBUG_FAIL_... */

    ngx_http_debug_process_t  process;       /* of a peer */

    u_char    name[1];
} ngx_http_debug_entity_t;


/* what came of the requests that a zone of proxy_cache and its kin has seen */

#define NGX_HTTP_DEBUG_CACHES        32
#define NGX_HTTP_DEBUG_CACHE_NAME    48
#define NGX_HTTP_DEBUG_CACHE_STATES  8       /* NGX_HTTP_CACHE_MISS ... HIT */

typedef struct {
    uint32_t  taken;
    uint32_t  len;           /* 0: not there (yet) */
    u_char    name[NGX_HTTP_DEBUG_CACHE_NAME];
    uint64_t  count[NGX_HTTP_DEBUG_CACHE_STATES];
} ngx_http_debug_cache_t;


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
    ngx_http_debug_active_t  *active;
} ngx_http_debug_place_t;


typedef struct {
    uint64_t  magic;
    uint64_t  version;
    uint64_t  layout;        /* sizes of the structs, folded */

    uint64_t  size;          /* bytes mapped */
    uint64_t  limit;         /* bytes that may be used: debug_zone */
    uint64_t  reserve;       /* of these, what history leaves for counters */
    uint64_t  used;          /* bytes */
    int64_t   lock;          /* pid of who inserts or removes; 0: nobody */

    uint64_t  start;         /* ns, CLOCK_MONOTONIC */
    uint64_t  started;       /* ns since the epoch */
    uint64_t  generation;    /* configurations loaded */
    uint64_t  reloaded;      /* ms since the epoch */

    uint64_t  tick;          /* the last second that history has */
    uint64_t  cleaned;       /* the last second that names were looked after */
    uint64_t  asked;         /* the last second that processes were */
    uint64_t  scraped;       /* s: when somebody last wanted to know; 0 */
    uint64_t  nmarks;        /* reloads so far; the last ones are in mark */
    uint64_t  mark[NGX_HTTP_DEBUG_MARKS];       /* ms since the epoch */

    uint64_t  ntaken;        /* as nmarks */
    ngx_http_debug_taken_t  taken[NGX_HTTP_DEBUG_TAKEN];

    ngx_http_debug_cache_t  cache[NGX_HTTP_DEBUG_CACHES];

    uint64_t  dropped;       /* records that went to the overflow entity */
    uint64_t  warned;        /* generation that logged it */
    uint64_t  hosts;
    uint64_t  host_peers;
    uint64_t  entities;      /* ids given out */
    uint64_t  overflow;      /* offset */
    uint64_t  gone;          /* offset: of the servers that were removed */
    uint64_t  free;          /* offset of the first to be used again; 0 */
    uint64_t  missing;       /* names of the configuration without a row */

    uint64_t  watched;       /* ns: when somebody wanted to see what is under
                                way; 0: never */
    uint64_t  lanes;         /* that were ever used */

    /* the last one is of all processes that found no other */
    ngx_http_debug_lane_t  lane[NGX_HTTP_DEBUG_LANES + 1];
    ngx_http_debug_active_t  nowhere;           /* where there is no page */

    uint32_t  slot[NGX_HTTP_DEBUG_SLOTS];       /* id + 1; or: */
#define NGX_HTTP_DEBUG_LEFT  0xffffffff         /* once used */

    uint32_t  entity[NGX_HTTP_DEBUG_ENTITIES];  /* offset by id, in units of
                                                   64 */
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
 * Finds the mapping of the running cycle, DATA if nginx gives it.  Returns
 * NULL if there is none.  Context: configuration, a shared zone's init.
 */
ngx_http_debug_zone_t *ngx_http_debug_zone_open(ngx_cycle_t *cycle,
    ngx_shm_zone_t *shm_zone, void *data);

/* Makes one with room for LIMIT at least.  NULL: no memory; logged. */
ngx_http_debug_zone_t *ngx_http_debug_zone_create(ngx_log_t *log,
    size_t limit);

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

/* The entity that has the name, or NULL.  Context: any process, any time. */
ngx_http_debug_entity_t *ngx_http_debug_zone_find(ngx_http_debug_zone_t *zone,
    ngx_uint_t kind, uint32_t group, ngx_str_t *name);

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

/*
 * Marks what the configuration no longer names since NOW, ms since the epoch,
 * and finds another use for what was removed long ago, or now if there is no
 * room.  Returns how many may be used again since.  Context: worker, timer, of
 * one process at a time.
 */
ngx_uint_t ngx_http_debug_zone_clean(ngx_http_debug_zone_t *zone,
    uint64_t now);

/* Is it to be shown?  What was removed is, for some minutes. */
ngx_uint_t ngx_http_debug_zone_shown(ngx_http_debug_entity_t *e);

/* Does the configuration in force name it? */
ngx_uint_t ngx_http_debug_zone_named(ngx_http_debug_entity_t *e);

/* How many that are shown have no room for their history. */
ngx_uint_t ngx_http_debug_zone_without(ngx_http_debug_zone_t *zone);

/* What all processes have under way there; and those of which no header came */
int64_t ngx_http_debug_zone_active(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e, int64_t *waiting);

/* Cells for so many worker processes. */
ngx_uint_t ngx_http_debug_zone_cells(ngx_int_t workers);

/*
 * Takes and gives back the lane of this process, whose configuration is of
 * GENERATION.  What a dead process had under way in a lane is booked as lost.
 * Context: worker start and end.
 */
void ngx_http_debug_zone_enter(ngx_http_debug_zone_t *zone,
    uint64_t generation);
void ngx_http_debug_zone_leave(ngx_http_debug_zone_t *zone);

/*
 * Makes room for N slots of LANE, or for as many as there is room for besides
 * what is reserved for counters.  Those of a process before stay as they are.
 * Context: worker start.
 */
void ngx_http_debug_zone_slots(ngx_http_debug_zone_t *zone, ngx_uint_t lane,
    ngx_uint_t n);

/* Books what dead processes had under way.  Context: worker, timer. */
void ngx_http_debug_zone_settle(ngx_http_debug_zone_t *zone);


static ngx_inline ngx_http_debug_cell_t *
ngx_http_debug_zone_cell(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e, ngx_uint_t lane)
{
    return ngx_http_debug_zone_at(zone, e->cell
                                        + (lane & (e->cells - 1)) * e->stride);
}


/* Where the process of LANE counts what happens at E.  Never fails. */

void ngx_http_debug_zone_place(ngx_http_debug_zone_t *zone,
    ngx_http_debug_entity_t *e, ngx_uint_t lane,
    ngx_http_debug_place_t *place);


/* CLOCK_MONOTONIC, ns */

static ngx_inline uint64_t
ngx_http_debug_now(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000000 + ts.tv_nsec;
}


#endif /* _NGX_HTTP_DEBUG_ZONE_H_INCLUDED_ */
