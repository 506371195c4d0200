
/*
 * Which groups and peers there are, and where each can be asked for a
 * profile.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_name.h"
#include "ngx_http_debug_peers.h"


/* sockets that one pattern may find */
#define NGX_HTTP_DEBUG_PEERS_SOCKETS  1024


static ngx_int_t ngx_http_debug_peers_upstream(ngx_conf_t *cf,
    ngx_str_t *name, ngx_http_upstream_srv_conf_t **found);
static void ngx_http_debug_peers_at(ngx_array_t *groups, ngx_uint_t first,
    ngx_str_t *prefix);
static ngx_http_upstream_rr_peers_t *ngx_http_debug_peers_rr(
    ngx_http_upstream_srv_conf_t *uscf);
static ngx_uint_t ngx_http_debug_peers_count(
    ngx_http_upstream_srv_conf_t *uscf);
static ngx_int_t ngx_http_debug_peers_group(ngx_pool_t *pool,
    ngx_array_t *groups, ngx_http_upstream_srv_conf_t *uscf,
    ngx_http_upstream_srv_conf_t *listener);
static ngx_int_t ngx_http_debug_peers_sockets(ngx_pool_t *pool,
    ngx_array_t *groups, ngx_http_debug_pass_t *pass);
static ngx_uint_t ngx_http_debug_peers_is_socket(ngx_str_t *path);
static ngx_int_t ngx_http_debug_peers_copy(ngx_pool_t *pool,
    ngx_http_upstream_srv_conf_t *uscf, ngx_array_t *all);
static ngx_int_t ngx_http_debug_peers_copy_peer(ngx_pool_t *pool,
    ngx_array_t *all, ngx_str_t *name, ngx_str_t *server,
    struct sockaddr *sockaddr, socklen_t socklen,
    ngx_http_debug_peer_t **peer);
static ngx_uint_t ngx_http_debug_peers_prefix(ngx_str_t *path,
    ngx_str_t *name);


ngx_int_t
ngx_http_debug_peers_init(ngx_conf_t *cf, ngx_array_t *pass)
{
    ngx_uint_t                      i, n, m;
    ngx_str_t                      *name;
    ngx_http_debug_pass_t          *p;
    ngx_http_upstream_srv_conf_t   *uscf;

    p = pass->elts;

    for (i = 0; i < pass->nelts; i++) {

        if (p[i].pattern.len) {
            continue;
        }

        name = &p[i].group;

        if (ngx_http_debug_peers_upstream(cf, name, &p[i].upstream) != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (p[i].upstream != NULL && p[i].listeners.len) {
            name = &p[i].listeners;

            if (ngx_http_debug_peers_upstream(cf, name, &p[i].listener)
                != NGX_OK)
            {
                return NGX_ERROR;
            }

            uscf = p[i].listener;

        } else {
            uscf = p[i].upstream;
        }

        if (uscf == NULL) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "upstream \"%V\" of \"debug_pprof_pass\" not found"
                          " in %s:%ui", name, p[i].file, p[i].line);
            return NGX_ERROR;
        }

        if (p[i].listener == NULL) {
            continue;
        }

        n = ngx_http_debug_peers_count(p[i].upstream);
        m = ngx_http_debug_peers_count(p[i].listener);

        if (n && m && n != m) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "upstream \"%V\" has %ui servers and its listeners"
                          " \"%V\" of \"debug_pprof_pass\" %ui in %s:%ui",
                          &p[i].group, n, &p[i].listeners, m,
                          p[i].file, p[i].line);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* Says of the peers of GROUPS from the group FIRST on what PREFIX they have. */

static void
ngx_http_debug_peers_at(ngx_array_t *groups, ngx_uint_t first,
    ngx_str_t *prefix)
{
    ngx_uint_t                    i;
    ngx_http_debug_peer_t        *peer;
    ngx_http_debug_peer_group_t  *group;

    static ngx_str_t  usual = ngx_string("/debug/pprof");

    group = groups->elts;

    for ( /* void */ ; first < groups->nelts; first++) {
        peer = group[first].peers.elts;

        for (i = 0; i < group[first].peers.nelts; i++) {
            peer[i].prefix = prefix->len ? *prefix : usual;
        }
    }
}


ngx_array_t *
ngx_http_debug_peers_list(ngx_pool_t *pool,
    ngx_http_upstream_main_conf_t *umcf, ngx_array_t *pass)
{
    ngx_uint_t                      i, n;
    ngx_array_t                    *groups;
    ngx_http_debug_pass_t          *p;
    ngx_http_upstream_srv_conf_t  **uscfp;

    static ngx_str_t  none = ngx_null_string;

    groups = ngx_array_create(pool, 4, sizeof(ngx_http_debug_peer_group_t));
    if (groups == NULL) {
        return NULL;
    }

    if (pass != NULL) {
        p = pass->elts;

        for (i = 0; i < pass->nelts; i++) {

            n = groups->nelts;

            if ((p[i].pattern.len
                 ? ngx_http_debug_peers_sockets(pool, groups, &p[i])
                 : ngx_http_debug_peers_group(pool, groups, p[i].upstream,
                                              p[i].listener))
                != NGX_OK)
            {
                return NULL;
            }

            ngx_http_debug_peers_at(groups, n, &p[i].prefix);
        }

        return groups;
    }

    uscfp = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        if (!ngx_http_debug_peers_any(uscfp[i])) {
            continue;
        }

        if (ngx_http_debug_peers_group(pool, groups, uscfp[i], NULL)
            != NGX_OK)
        {
            return NULL;
        }
    }

    ngx_http_debug_peers_at(groups, 0, &none);

    return groups;
}


ngx_int_t
ngx_http_debug_peers_find(ngx_array_t *groups, ngx_str_t *path,
    ngx_http_debug_peer_group_t **group, ngx_http_debug_peer_t **peer,
    ngx_str_t *tail)
{
    u_char                       *p, *last;
    size_t                        len;
    ngx_int_t                     number;
    ngx_uint_t                    i;
    ngx_str_t                     rest;
    ngx_http_debug_peer_t        *peers;
    ngx_http_debug_peer_group_t  *g;

    *group = NULL;
    *peer = NULL;

    g = groups->elts;
    len = 0;

    for (i = 0; i < groups->nelts; i++) {
        if (g[i].name.len >= len
            && ngx_http_debug_peers_prefix(path, &g[i].name))
        {
            *group = &g[i];
            len = g[i].name.len;
        }
    }

    if (*group == NULL) {
        return NGX_DECLINED;
    }

    rest.len = path->len - len - 1;
    rest.data = path->data + len + 1;
    *tail = rest;

    if (rest.len == 0) {
        return NGX_OK;
    }

    peers = (*group)->peers.elts;
    len = 0;

    for (i = 0; i < (*group)->peers.nelts; i++) {
        if (peers[i].name.len >= len
            && ngx_http_debug_peers_prefix(&rest, &peers[i].name))
        {
            *peer = &peers[i];
            len = peers[i].name.len;
        }
    }

    if (*peer == NULL) {
        last = rest.data + rest.len;

        for (p = rest.data; p < last && *p != '/'; p++) { /* void */ }

        if (p == last) {
            return NGX_DECLINED;
        }

        len = p - rest.data;
        number = ngx_atoi(rest.data, len);

        if (number == NGX_ERROR
            || (ngx_uint_t) number >= (*group)->peers.nelts)
        {
            return NGX_DECLINED;
        }

        *peer = &peers[number];
    }

    tail->len = rest.len - len - 1;
    tail->data = rest.data + len + 1;

    return NGX_OK;
}


/* whether PATH is NAME, a slash and perhaps more */

static ngx_uint_t
ngx_http_debug_peers_prefix(ngx_str_t *path, ngx_str_t *name)
{
    return path->len > name->len
           && path->data[name->len] == '/'
           && ngx_memcmp(path->data, name->data, name->len) == 0;
}


static ngx_int_t
ngx_http_debug_peers_upstream(ngx_conf_t *cf, ngx_str_t *name,
    ngx_http_upstream_srv_conf_t **found)
{
    ngx_str_t                       group;
    ngx_uint_t                      i;
    ngx_http_upstream_srv_conf_t  **uscfp;
    ngx_http_upstream_main_conf_t  *umcf;

    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module);

    *found = NULL;
    uscfp = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        if (!ngx_http_debug_peers_any(uscfp[i])) {
            continue;
        }

        if (ngx_http_debug_name_group(cf->temp_pool, uscfp[i], &group)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (group.len == name->len
            && ngx_strncasecmp(group.data, name->data, name->len) == 0)
        {
            *found = uscfp[i];
            return NGX_OK;
        }
    }

    return NGX_OK;
}


/*
 * "proxy_pass" to a name that has several addresses, or is one of a variable,
 * makes a group without servers; the former's peers are the balancer's.
 */

ngx_uint_t
ngx_http_debug_peers_any(ngx_http_upstream_srv_conf_t *uscf)
{
    return uscf->servers != NULL || ngx_http_debug_peers_rr(uscf) != NULL;
}


/*
 * The round robin's list, which all balancers of nginx itself share, or NULL
 * when another balancer may have put something else there.
 */

static ngx_http_upstream_rr_peers_t *
ngx_http_debug_peers_rr(ngx_http_upstream_srv_conf_t *uscf)
{
    ngx_http_upstream_rr_peers_t  *peers;

    peers = uscf->peer.data;

    if (peers == NULL) {
        return NULL;
    }

#if (NGX_HTTP_UPSTREAM_ZONE)

    /* nginx copies it to the zone as what it is */

    if (uscf->shm_zone != NULL) {
        return peers;
    }

#endif

    return (peers->name == &uscf->host) ? peers : NULL;
}


/* 0: not known before requests come */

static ngx_uint_t
ngx_http_debug_peers_count(ngx_http_upstream_srv_conf_t *uscf)
{
    ngx_uint_t                   i, n;
    ngx_http_upstream_server_t  *server;

    if (uscf->servers == NULL) {
        return 0;
    }

    server = uscf->servers->elts;
    n = 0;

    for (i = 0; i < uscf->servers->nelts; i++) {

        if (server[i].naddrs == 0) {
            return 0;
        }

        n += server[i].naddrs;
    }

    return n;
}


static ngx_int_t
ngx_http_debug_peers_group(ngx_pool_t *pool, ngx_array_t *groups,
    ngx_http_upstream_srv_conf_t *uscf, ngx_http_upstream_srv_conf_t *listener)
{
    ngx_uint_t                    i, j;
    ngx_array_t                   all, listeners;
    ngx_http_debug_peer_t        *p, *peer, *l;
    ngx_http_debug_peer_group_t  *group;

    group = ngx_array_push(groups);
    if (group == NULL) {
        return NGX_ERROR;
    }

    group->upstream = uscf;

    if (ngx_http_debug_name_group(pool, uscf, &group->name) != NGX_OK
        || ngx_array_init(&group->peers, pool, 4,
                          sizeof(ngx_http_debug_peer_t)) != NGX_OK
        || ngx_array_init(&all, pool, 4,
                          sizeof(ngx_http_debug_peer_t)) != NGX_OK
        || ngx_array_init(&listeners, pool, 4,
                          sizeof(ngx_http_debug_peer_t)) != NGX_OK
        || ngx_http_debug_peers_copy(pool, uscf, &all) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (listener != NULL
        && ngx_http_debug_peers_copy(pool, listener, &listeners) != NGX_OK)
    {
        return NGX_ERROR;
    }

    p = all.elts;
    l = listeners.elts;

    for (i = 0; i < all.nelts; i++) {

        peer = group->peers.elts;

        for (j = 0; j < group->peers.nelts; j++) {
            if (peer[j].name.len == p[i].name.len
                && ngx_strncmp(peer[j].name.data, p[i].name.data,
                               p[i].name.len) == 0)
            {
                break;
            }
        }

        if (j < group->peers.nelts) {

            /* listed twice: it lives while one of the two does */

            peer[j].backup &= p[i].backup;
            peer[j].down &= p[i].down;
            peer[j].failed &= p[i].failed;

            continue;
        }

        peer = ngx_array_push(&group->peers);
        if (peer == NULL) {
            return NGX_ERROR;
        }

        *peer = p[i];
        peer->number = group->peers.nelts - 1;

        if (listener == NULL) {
            continue;
        }

        if (i < listeners.nelts) {
            peer->pass = l[i].name;
            peer->sockaddr = l[i].sockaddr;
            peer->socklen = l[i].socklen;

        } else {
            ngx_str_null(&peer->pass);
            peer->sockaddr = NULL;
            peer->socklen = 0;
        }
    }

    return NGX_OK;
}


/* The sockets that are there now, in the order of their names. */

static ngx_int_t
ngx_http_debug_peers_sockets(ngx_pool_t *pool, ngx_array_t *groups,
    ngx_http_debug_pass_t *pass)
{
    ngx_int_t                     rc;
    ngx_str_t                     path, name;
    ngx_glob_t                    gl;
    struct sockaddr_un            sun;
    ngx_http_debug_peer_t        *peer;
    ngx_http_debug_peer_group_t  *group;

    group = ngx_array_push(groups);
    if (group == NULL) {
        return NGX_ERROR;
    }

    group->name = pass->group;
    group->upstream = NULL;

    if (ngx_array_init(&group->peers, pool, 4, sizeof(ngx_http_debug_peer_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_memzero(&gl, sizeof(ngx_glob_t));

    gl.pattern = pass->pattern.data;
    gl.log = ngx_cycle->log;
    gl.test = 1;

    if (ngx_open_glob(&gl) != NGX_OK) {

        /* a folder that cannot be read has no sockets for us */

        return NGX_OK;
    }

    rc = NGX_OK;

    while (ngx_read_glob(&gl, &path) == NGX_OK
           && group->peers.nelts < NGX_HTTP_DEBUG_PEERS_SOCKETS)
    {
        if (path.len >= sizeof(sun.sun_path)
            || !ngx_http_debug_peers_is_socket(&path))
        {
            continue;
        }

        ngx_memzero(&sun, sizeof(struct sockaddr_un));
        sun.sun_family = AF_UNIX;
        ngx_memcpy(sun.sun_path, path.data, path.len);

        name.len = sizeof("unix:") - 1 + path.len;
        name.data = ngx_pnalloc(pool, name.len);

        if (name.data == NULL) {
            rc = NGX_ERROR;
            break;
        }

        (void) ngx_sprintf(name.data, "unix:%V", &path);

        rc = ngx_http_debug_peers_copy_peer(pool, &group->peers, &name, &name,
                                            (struct sockaddr *) &sun,
                                            sizeof(struct sockaddr_un), &peer);
        if (rc != NGX_OK) {
            break;
        }

        peer->number = group->peers.nelts - 1;
    }

    ngx_close_glob(&gl);

    return rc;
}


/* A socket, and by a name that can stand in a header. */

static ngx_uint_t
ngx_http_debug_peers_is_socket(ngx_str_t *path)
{
    size_t           i;
    ngx_file_info_t  fi;

    for (i = 0; i < path->len; i++) {
        if (path->data[i] < 0x20 || path->data[i] == 0x7f) {
            return 0;
        }
    }

    return ngx_file_info(path->data, &fi) != NGX_FILE_ERROR
           && S_ISSOCK(fi.st_mode);
}


/*
 * All addresses of an upstream in the order of its balancer, and twice what
 * is there twice.
 */

static ngx_int_t
ngx_http_debug_peers_copy(ngx_pool_t *pool,
    ngx_http_upstream_srv_conf_t *uscf, ngx_array_t *all)
{
    time_t                         now;
    ngx_int_t                      rc;
    ngx_uint_t                     i, j, backup;
    ngx_http_debug_peer_t         *peer;
    ngx_http_upstream_server_t    *server;
    ngx_http_upstream_rr_peer_t   *rp;
    ngx_http_upstream_rr_peers_t  *first, *peers;

    first = ngx_http_debug_peers_rr(uscf);

    if (first == NULL && uscf->servers) {

        for (backup = 0; backup < 2; backup++) {
            server = uscf->servers->elts;

            for (i = 0; i < uscf->servers->nelts; i++) {

                if (server[i].backup != backup) {
                    continue;
                }

                for (j = 0; j < server[i].naddrs; j++) {

                    if (ngx_http_debug_peers_copy_peer(pool, all,
                                               &server[i].addrs[j].name,
                                               &server[i].name,
                                               server[i].addrs[j].sockaddr,
                                               server[i].addrs[j].socklen,
                                               &peer)
                        != NGX_OK)
                    {
                        return NGX_ERROR;
                    }

                    peer->backup = backup;
                    peer->down = server[i].down ? 1 : 0;
                }
            }
        }

        return NGX_OK;
    }

    now = ngx_time();
    rc = NGX_OK;

    for (peers = first; peers && rc == NGX_OK; peers = peers->next) {

        ngx_http_upstream_rr_peers_rlock(peers);

        for (rp = peers->peer; rp; rp = rp->next) {

            rc = ngx_http_debug_peers_copy_peer(pool, all, &rp->name,
                                                &rp->server, rp->sockaddr,
                                                rp->socklen, &peer);
            if (rc != NGX_OK) {
                break;
            }

            peer->backup = (peers != first);
            peer->down = rp->down ? 1 : 0;
            peer->failed = (rp->max_fails
                            && rp->fails >= rp->max_fails
                            && now - rp->checked <= rp->fail_timeout);
        }

        ngx_http_upstream_rr_peers_unlock(peers);
    }

    return rc;
}


static ngx_int_t
ngx_http_debug_peers_copy_peer(ngx_pool_t *pool, ngx_array_t *all,
    ngx_str_t *name, ngx_str_t *server, struct sockaddr *sockaddr,
    socklen_t socklen, ngx_http_debug_peer_t **peer)
{
    ngx_http_debug_peer_t  *p;

    p = ngx_array_push(all);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(p, sizeof(ngx_http_debug_peer_t));

    p->name.data = ngx_pstrdup(pool, name);
    p->name.len = name->len;

    p->server.data = ngx_pstrdup(pool, server);
    p->server.len = server->len;

    p->sockaddr = ngx_palloc(pool, socklen);
    p->socklen = socklen;

    if (p->name.data == NULL || p->server.data == NULL || p->sockaddr == NULL)
    {
        return NGX_ERROR;
    }

    ngx_memcpy(p->sockaddr, sockaddr, socklen);
    p->pass = p->name;

    *peer = p;

    return NGX_OK;
}
