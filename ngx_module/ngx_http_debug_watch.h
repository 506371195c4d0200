
/*
 * Incidents: what is to be seen of a peer's trouble is on the disk before
 * anybody looks.
 *
 * The directive is
 *
 *     debug_watch rule... [for=10s] [cooldown=10m] [per_hour=5]
 *                 [factor=1.5|off] [ceiling=90%|off]
 *
 *     ngx_http_debug_watch.c               the directive
 *     ngx_http_debug_watch_read.[ch]       what a rule reads of a peer, and
 *                                          whether it is met
 *     ngx_http_debug_watch_process.[ch]    what peers say of their processes
 *     ngx_http_debug_watch_tick.[ch]       once a second, by one worker
 *     ngx_http_debug_watch_take.[ch]       what is taken of an incident
 *     ngx_http_debug_watch_story.[ch]      and its words
 *     ngx_http_debug_watch_routes.c        everything below incidents/
 */


#ifndef _NGX_HTTP_DEBUG_WATCH_H_INCLUDED_
#define _NGX_HTTP_DEBUG_WATCH_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_kept.h"
#include "ngx_http_debug_zone.h"


#define NGX_HTTP_DEBUG_WATCH_STREAKS    1024  /* peers and rules in trouble */
#define NGX_HTTP_DEBUG_WATCH_PROCESSES  2048  /* peers whose memory is known */
#define NGX_HTTP_DEBUG_WATCH_HOUR       60    /* points of 1 min; and of 10 s */
#define NGX_HTTP_DEBUG_WATCH_PER_HOUR   60    /* the most that can be said */


typedef enum {
    NGX_HTTP_DEBUG_WATCH_P50 = 0,
    NGX_HTTP_DEBUG_WATCH_P90,
    NGX_HTTP_DEBUG_WATCH_P99,
    NGX_HTTP_DEBUG_WATCH_ERRORS,
    NGX_HTTP_DEBUG_WATCH_UNDERWAY,
    NGX_HTTP_DEBUG_WATCH_DOWN,
    NGX_HTTP_DEBUG_WATCH_MEMORY,
    NGX_HTTP_DEBUG_WATCH_GROWTH,
    NGX_HTTP_DEBUG_WATCH_THREADS
} ngx_http_debug_watch_metric_e;


typedef enum {
    NGX_HTTP_DEBUG_WATCH_TIME = 0,   /* us */
    NGX_HTTP_DEBUG_WATCH_SHARE,      /* of 10,000 */
    NGX_HTTP_DEBUG_WATCH_NUMBER,
    NGX_HTTP_DEBUG_WATCH_BYTES,
    NGX_HTTP_DEBUG_WATCH_STATE       /* it is so, or not */
} ngx_http_debug_watch_unit_e;


/* one row of the table of what a rule can be about */

typedef struct {
    ngx_http_debug_watch_metric_e  metric;
    ngx_http_debug_watch_unit_e    unit;
    ngx_uint_t                     process;  /* only the peer can tell it */
    ngx_str_t                      name;
    char                          *example;
    char                          *words;    /* before its number */
} ngx_http_debug_watch_kind_t;


typedef struct {
    ngx_http_debug_watch_kind_t   *kind;
    ngx_str_t                      text;     /* as it was written */
    uint32_t                       hash;     /* of that */
    uint64_t                       floor;
    ngx_uint_t                     window;   /* s, of growth */

    ngx_uint_t                     wait;     /* s: "for" */
    ngx_uint_t                     cooldown; /* s */
    ngx_uint_t                     per_hour; /* of each group */
    ngx_uint_t                     factor;   /* of 100; 0: off */
    ngx_uint_t                     ceiling;  /* percent of CPU; 0: off */

    u_char                        *file;
    ngx_uint_t                     line;
} ngx_http_debug_watch_rule_t;


typedef struct {
    ngx_array_t                   *rules;    /* NULL: no debug_watch */
    ngx_uint_t                     process;  /* one is about processes */

    ngx_http_debug_kept_conf_t    *kept;
    ngx_http_debug_zone_t         *zone;     /* set at worker start */
    ngx_shm_zone_t                *shm;
    ngx_str_t                      url;      /* of incidents/ */

    ngx_str_t                      mount;    /* of the first location that
                                                shows them, and its server */
    ngx_http_core_srv_conf_t      *server;
} ngx_http_debug_watch_conf_t;


/*
 * Of a peer and a rule whose line was crossed.  A group has one of its own,
 * with how many incidents it had.
 */

typedef struct {
    uint32_t    hash;                /* 0: free */
    uint32_t    above;               /* seconds of it that were */
    uint32_t    below;
    uint32_t    count;               /* of a group: incidents since "hour" */
    uint64_t    seen;                /* the last second it was looked at */
    uint64_t    since;               /* its first second; 0: there is none */
    uint64_t    sum;                 /* of the values that were above */
    uint64_t    max;
    uint64_t    tries;
    uint64_t    bad;
    uint64_t    usual;               /* of its hour before; with "known" */
    uint64_t    fired;               /* the second; 0: not yet */
    uint64_t    mark;                /* the value then */
    uint64_t    well;                /* first second without; 0: it is above */
    uint64_t    hour;
    uint32_t    known;
} ngx_http_debug_watch_streak_t;


/* what a peer says of its process; 0 is not known */

typedef struct {
    uint32_t    minute;              /* or the ten seconds, it is of */
    uint32_t    rss;                 /* KiB */
    uint32_t    threads;
} ngx_http_debug_watch_point_t;

typedef struct {
    uint32_t    hash;                /* 0: free */
    uint32_t    pid;
    uint64_t    seen;                /* second of the last answer */
    uint64_t    rss;                 /* bytes */
    uint64_t    threads;
    ngx_http_debug_watch_point_t  ten[NGX_HTTP_DEBUG_WATCH_HOUR];
    ngx_http_debug_watch_point_t  minute[NGX_HTTP_DEBUG_WATCH_HOUR];
} ngx_http_debug_watch_process_t;


/*
 * In a zone of its own, of constant size.  Who holds the lease of
 * debug_snapshots, and has taken the second, writes it; nobody else reads it.
 */

typedef struct {
    ngx_http_debug_watch_streak_t   streak[NGX_HTTP_DEBUG_WATCH_STREAKS];
    ngx_http_debug_watch_process_t  process[NGX_HTTP_DEBUG_WATCH_PROCESSES];
    uint64_t                        second;  /* the last that was read */
    uint64_t                        last;    /* ms of the youngest incident */
} ngx_http_debug_watch_shared_t;


/* the last one has an empty name */
extern ngx_http_debug_watch_kind_t  ngx_http_debug_watch_kinds[];


/* The directive.  Context: configuration. */
char *ngx_http_debug_watch_set(ngx_conf_t *cf,
    ngx_http_debug_watch_conf_t *wcf);

/* After ngx_http_debug_kept_init().  Context: postconfiguration. */
ngx_int_t ngx_http_debug_watch_init(ngx_conf_t *cf,
    ngx_http_debug_watch_conf_t *wcf, ngx_http_debug_kept_conf_t *kcf);

/*
 * Appends VALUE of UNIT as people read it: "812 ms", "7.1 %", "2.1 GiB", "41".
 * Returns the end; 32 bytes are enough.
 */
u_char *ngx_http_debug_watch_number(u_char *p,
    ngx_http_debug_watch_unit_e unit, uint64_t value);


#endif /* _NGX_HTTP_DEBUG_WATCH_H_INCLUDED_ */
