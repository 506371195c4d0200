
/*
 * An incident, and the words that tell it: what crossed which line, what else
 * changed and what did not, each with its number and that of its hour.
 *
 * The rules of these words are in docs/incidents.md.
 */


#ifndef _NGX_HTTP_DEBUG_WATCH_STORY_H_INCLUDED_
#define _NGX_HTTP_DEBUG_WATCH_STORY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_kept_disk.h"
#include "ngx_http_debug_out.h"
#include "ngx_http_debug_watch.h"
#include "ngx_http_debug_watch_read.h"


/* the sick peer, or its healthy sister */

typedef struct {
    ngx_str_t                     name;     /* empty: there is none */
    ngx_str_t                     pass;
    ngx_str_t                     prefix;
    struct sockaddr              *sockaddr; /* NULL: it has no profiler */
    socklen_t                     socklen;
    ngx_http_debug_pprof_ssl_t   *ssl;
    ngx_http_debug_watch_of_t     of;
} ngx_http_debug_watch_side_t;

#define NGX_HTTP_DEBUG_WATCH_SICK    0
#define NGX_HTTP_DEBUG_WATCH_SISTER  1


/* what was taken, or why not */

typedef struct {
    ngx_uint_t                    of;       /* the side */
    ngx_str_t                     kind;
    ngx_str_t                     name;
    off_t                         size;
    ngx_str_t                     error;    /* empty: it is there */
} ngx_http_debug_watch_file_t;


/* Owner: its pool, which goes when all is taken. */

typedef struct {
    ngx_pool_t                   *pool;
    ngx_http_debug_watch_conf_t  *conf;
    ngx_http_debug_watch_rule_t  *rule;
    ngx_http_debug_watch_met_t    met;
    uint64_t                      second;   /* that it was met in */

    ngx_str_t                     group;
    ngx_http_debug_watch_side_t   side[2];

    uint64_t                      crossed;  /* ms since the epoch, as these */
    uint64_t                      due;      /* the rule was met: "for" was over
                                               too */
    uint64_t                      fired;    /* known by */
    uint64_t                      began;
    uint64_t                      ended;    /* 0: not yet */

    ngx_int_t                     cpu;      /* percent of what the sick one may
                                               use; -1: not known */
    ngx_uint_t                    above;    /* the ceiling */

    ngx_array_t                   files;    /* of ..._watch_file_t */
    ngx_uint_t                    left;     /* that are being taken */

    ngx_array_t                   words;    /* of ngx_str_t, the first is what
                                               happened */
    ngx_http_debug_disk_save_t    save;     /* of nginx's own files */
    ngx_str_t                     folder;
} ngx_http_debug_incident_t;


/* Finds the words.  NGX_OK, or NGX_ERROR: no memory. */
ngx_int_t ngx_http_debug_watch_story_tell(ngx_http_debug_incident_t *in);

/* Appends all of it as JSON: incident.json. */
void ngx_http_debug_watch_story_json(ngx_http_debug_out_t *out,
    ngx_http_debug_incident_t *in);


#endif /* _NGX_HTTP_DEBUG_WATCH_STORY_H_INCLUDED_ */
