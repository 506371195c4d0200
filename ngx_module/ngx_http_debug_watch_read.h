
/*
 * What a rule reads of a peer, second by second, and whether it is met: a
 * value above its line and above its own last hour, for so long, and not a
 * moment after the last time.
 *
 * All is read from what is there already: the seconds of history and of the
 * state, and what the process said last.  Context: worker, timer; of the one
 * process that has the lease.
 */


#ifndef _NGX_HTTP_DEBUG_WATCH_READ_H_INCLUDED_
#define _NGX_HTTP_DEBUG_WATCH_READ_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_debug_watch.h"


/* what of a peer is read; either may be NULL */

typedef struct {
    ngx_http_debug_entity_t         *entity;
    ngx_http_debug_watch_process_t  *process;
} ngx_http_debug_watch_of_t;


/* of one rule in one second */

typedef struct {
    uint64_t    value;
    uint64_t    tries;                /* of a share */
    uint64_t    bad;
    ngx_uint_t  silent;               /* nothing came, though it was asked */
} ngx_http_debug_watch_value_t;


/* a rule that was met */

typedef struct {
    uint64_t    value;                /* of the whole streak */
    uint64_t    usual;
    ngx_uint_t  known;                /* is there a usual value? */
    uint64_t    since;                /* the second that it began with */
} ngx_http_debug_watch_met_t;


/*
 * Reads what RULE is about in SECOND.  NGX_OK, or NGX_DECLINED: it cannot be
 * told.
 */
ngx_int_t ngx_http_debug_watch_value(ngx_http_debug_zone_t *zone,
    ngx_http_debug_watch_of_t *of, ngx_http_debug_watch_rule_t *rule,
    uint64_t second, ngx_http_debug_watch_value_t *value);

/*
 * The usual value of RULE in the hour before SECOND: the median of its tens of
 * seconds, or minutes.  NGX_OK, or NGX_DECLINED: it is not known.
 */
ngx_int_t ngx_http_debug_watch_usual(ngx_http_debug_zone_t *zone,
    ngx_http_debug_watch_of_t *of, ngx_http_debug_watch_rule_t *rule,
    uint64_t second, uint64_t *usual);

/*
 * Looks at SECOND of one peer, which KEY stands for together with RULE.  LATE:
 * nginx itself came too late to it, so that silence says nothing.
 * NGX_OK: an incident begins, and MET is filled; NGX_DECLINED: none does.
 */
ngx_int_t ngx_http_debug_watch_judge(ngx_http_debug_watch_conf_t *wcf,
    ngx_http_debug_watch_of_t *of, ngx_http_debug_watch_rule_t *rule,
    uint32_t key, uint64_t second, ngx_uint_t late,
    ngx_http_debug_watch_met_t *met);

/*
 * Whether the group that KEY stands for may have another incident by RULE in
 * SECOND; it is counted then.
 */
ngx_uint_t ngx_http_debug_watch_budget(ngx_http_debug_watch_conf_t *wcf,
    ngx_http_debug_watch_rule_t *rule, uint32_t key, uint64_t second);

/* What process KEY said.  Never NULL: the one seen longest ago makes room. */
ngx_http_debug_watch_process_t *ngx_http_debug_watch_known(
    ngx_http_debug_watch_conf_t *wcf, uint32_t key);

/* Notes what it says in SECOND. */
void ngx_http_debug_watch_note(ngx_http_debug_watch_process_t *process,
    uint64_t second, uint32_t pid, uint64_t rss, uint64_t threads);


#endif /* _NGX_HTTP_DEBUG_WATCH_READ_H_INCLUDED_ */
