
/*
 * Which groups and peers there are, and where each can be asked for a
 * profile.
 *
 * A group is an "upstream" block, or the one that "proxy_pass" with an
 * address makes.  A peer is one of its addresses; an address that stands in
 * a group twice is one peer.
 */


#ifndef _NGX_HTTP_DEBUG_PEERS_H_INCLUDED_
#define _NGX_HTTP_DEBUG_PEERS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


typedef struct {
    ngx_str_t                      name;      /* address text */
    ngx_str_t                      server;    /* as the configuration says */
    ngx_uint_t                     number;    /* from 0, within the group */

    /* where profiles are asked for: the same, or the listener's */
    ngx_str_t                      pass;
    ngx_str_t                      prefix;    /* what paths begin with there */
    struct sockaddr               *sockaddr;  /* NULL: no listener for it */
    socklen_t                      socklen;

    unsigned                       backup:1;
    unsigned                       down:1;    /* so the configuration says */
    unsigned                       failed:1;  /* the balancer avoids it now */
} ngx_http_debug_peer_t;


typedef struct {
    ngx_str_t                      name;
    ngx_http_upstream_srv_conf_t  *upstream;  /* NULL: sockets by pattern */
    ngx_array_t                    peers;     /* of ngx_http_debug_peer_t */
} ngx_http_debug_peer_group_t;


/*
 * One debug_pprof_pass.  Its listeners are the servers of another group, or
 * sockets by a pattern of file names; then these are the peers, as they come
 * and go, and the group is but a name.
 */

typedef struct {
    ngx_str_t                      group;
    ngx_str_t                      listeners; /* empty: the peers themselves */
    ngx_str_t                      pattern;   /* without "unix:" */
    ngx_str_t                      prefix;    /* empty: Go's */

    u_char                        *file;      /* of the directive */
    ngx_uint_t                     line;

    ngx_http_upstream_srv_conf_t  *upstream;  /* set after all are known */
    ngx_http_upstream_srv_conf_t  *listener;
} ngx_http_debug_pass_t;


/*
 * Finds the upstreams that PASS, an array of ngx_http_debug_pass_t, names.
 * Returns NGX_OK, or NGX_ERROR after an error with the directive's file and
 * line was logged.
 *
 * Context: configuration, postconfiguration.
 */
ngx_int_t ngx_http_debug_peers_init(ngx_conf_t *cf, ngx_array_t *pass);

/* Can its peers be told before requests come? */
ngx_uint_t ngx_http_debug_peers_any(ngx_http_upstream_srv_conf_t *uscf);

/*
 * Lists the groups of PASS with their peers as they are now, or all groups
 * when PASS is NULL.  Returns an array of ngx_http_debug_peer_group_t, or NULL
 * (no memory).  Nothing in it points into an upstream's zone.
 *
 * Owner: POOL.  Context: worker, request; worker, timer.
 */
ngx_array_t *ngx_http_debug_peers_list(ngx_pool_t *pool,
    ngx_http_upstream_main_conf_t *umcf, ngx_array_t *pass);

/*
 * Splits PATH, "group/peer/tail", by the names that GROUPS has: a name may
 * have slashes in it.  PATH must hold a slash.  A peer may be given by its
 * number.  What is found is stored in *GROUP, *PEER and *TAIL; "group/" alone
 * leaves *PEER NULL, and so does a peer that is not there.
 *
 * Returns NGX_OK, or NGX_DECLINED when there is no such group or peer.
 */
ngx_int_t ngx_http_debug_peers_find(ngx_array_t *groups, ngx_str_t *path,
    ngx_http_debug_peer_group_t **group, ngx_http_debug_peer_t **peer,
    ngx_str_t *tail);


#endif /* _NGX_HTTP_DEBUG_PEERS_H_INCLUDED_ */
