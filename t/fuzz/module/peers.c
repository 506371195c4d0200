/*
 * Feeds anything to the reader of "group/peer/tail".
 *
 * Input: lines, each a group's name; with a tab in front, a peer of the group
 * above; the last line is the path.
 */

#include "../../../ngx_module/ngx_http_debug_name.c"
#include "../../../ngx_module/ngx_http_debug_peers.c"
#include "host.h"


static void
must(int condition)
{
    if (!condition) {
        abort();
    }
}


/* Whether PATH begins with S and a slash; goes behind them. */

static int
past(ngx_str_t *path, ngx_str_t *s)
{
    if (path->len <= s->len || path->data[s->len] != '/'
        || ngx_memcmp(path->data, s->data, s->len) != 0)
    {
        return 0;
    }

    path->data += s->len + 1;
    path->len -= s->len + 1;

    return 1;
}


static void
fuzz(ngx_pool_t *pool, const u_char *data, size_t size)
{
    u_char                       *p, *last, *eol, *copy;
    size_t                        len;
    ngx_int_t                     rc;
    ngx_str_t                     path, rest, tail, number;
    ngx_array_t                  *groups;
    ngx_http_debug_peer_t        *peer, *peers;
    ngx_http_debug_peer_group_t  *group, *g;

    groups = ngx_array_create(pool, 4, sizeof(ngx_http_debug_peer_group_t));
    g = NULL;

    p = (u_char *) data;
    last = p + size;

    for ( ;; ) {
        eol = ngx_strlchr(p, last, '\n');

        if (eol == NULL) {
            break;
        }

        if (*p == '\t' && g != NULL) {
            peer = ngx_array_push(&g->peers);
            ngx_memzero(peer, sizeof(ngx_http_debug_peer_t));
            peer->name.data = p + 1;
            peer->name.len = eol - p - 1;

        } else {
            g = ngx_array_push(groups);
            ngx_memzero(g, sizeof(ngx_http_debug_peer_group_t));
            g->name.data = p;
            g->name.len = eol - p;
            ngx_array_init(&g->peers, pool, 2, sizeof(ngx_http_debug_peer_t));
        }

        p = eol + 1;
    }

    if (ngx_strlchr(p, last, '/') == NULL) {
        /* the caller's promise */
        return;
    }

    len = last - p;
    copy = guard(p, len);
    path.data = copy;
    path.len = len;

    rc = ngx_http_debug_peers_find(groups, &path, &group, &peer, &tail);

    rest = path;

    if (group != NULL) {
        g = groups->elts;
        must(group >= g && group < g + groups->nelts);
        must(past(&rest, &group->name));
    }

    if (rc == NGX_OK) {
        must(group != NULL);
        must(tail.data + tail.len == path.data + path.len);

        if (peer == NULL) {
            must(rest.len == 0 && tail.len == 0);

        } else {
            peers = group->peers.elts;
            must(peer >= peers && peer < peers + group->peers.nelts);

            /* by its name, or by its number */

            if (!past(&rest, &peer->name)) {
                number.data = rest.data;
                number.len = tail.data - rest.data - 1;
                must(number.data[number.len] == '/');
                must(ngx_atoi(number.data, number.len) == peer - peers);
                rest = tail;
            }

            must(rest.data == tail.data && rest.len == tail.len);
        }

    } else {
        must(rc == NGX_DECLINED && peer == NULL);
    }

    guard_free(copy, len);
}
