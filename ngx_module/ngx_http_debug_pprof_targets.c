
/*
 * The peers as scrapers of profiles discover them.
 *
 * Format: https://prometheus.io/docs/prometheus/latest/http_sd/; the label
 * __profile_path_prefix__ is that of Grafana Alloy's pyroscope.scrape, and
 * Parca's relabel_configs can join it to __profile_path__.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_answer.h"
#include "ngx_http_debug_faces.h"
#include "ngx_http_debug_out.h"
#include "ngx_http_debug_peers.h"
#include "ngx_http_debug_pprof.h"


static ngx_int_t ngx_http_debug_pprof_targets_address(ngx_http_request_t *r,
    ngx_str_t *address);
static void ngx_http_debug_pprof_targets_peer(ngx_http_debug_out_t *out,
    ngx_str_t *address, const char *scheme, ngx_str_t *path,
    ngx_http_debug_peer_group_t *group, ngx_http_debug_peer_t *peer);


ngx_int_t
ngx_http_debug_pprof_targets(ngx_http_request_t *r,
    ngx_http_debug_pprof_conf_t *conf, ngx_str_t *mount)
{
    u_char                         *p;
    ngx_int_t                       rc;
    ngx_str_t                       format, address, path;
    ngx_uint_t                      i, j, n;
    const char                     *scheme;
    ngx_array_t                    *groups;
    ngx_http_debug_out_t            out;
    ngx_http_debug_peer_t          *peer;
    ngx_http_debug_peer_group_t    *group;
    ngx_http_upstream_main_conf_t  *umcf;

    static ngx_str_t  json = ngx_string("application/json");

    rc = ngx_http_debug_answer_only_get(r);
    if (rc != NGX_DECLINED) {
        return rc;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_arg(r, (u_char *) "format", 6, &format) == NGX_OK
        && (format.len != 7 || ngx_strncmp(format.data, "http_sd", 7) != 0))
    {
        return ngx_http_debug_answer_literal(r, NGX_HTTP_BAD_REQUEST,
                   "format must be http_sd: there is no other one of targets");
    }

    if (ngx_http_debug_pprof_targets_address(r, &address) != NGX_OK) {
        return NGX_ERROR;
    }

    scheme = "http";

#if (NGX_HTTP_SSL)
    if (r->connection->ssl) {
        scheme = "https";
    }
#endif

    umcf = ngx_http_get_module_main_conf(r, ngx_http_upstream_module);

    groups = ngx_http_debug_peers_list(r->pool, umcf, conf->pass);
    if (groups == NULL) {
        return NGX_ERROR;
    }

    ngx_http_debug_out_init(&out, r->pool);
    ngx_http_debug_out_literal(&out, "[");

    group = groups->elts;
    n = 0;

    for (i = 0; i < groups->nelts; i++) {

        peer = group[i].peers.elts;

        for (j = 0; j < group[i].peers.nelts; j++) {

            /* "down", or without a listener: nobody could ask it */

            if (peer[j].down || peer[j].sockaddr == NULL) {
                continue;
            }

            path.len = mount->len + sizeof("/pprof//") - 1
                       + group[i].name.len + peer[j].name.len;
            path.data = ngx_pnalloc(r->pool, path.len);
            if (path.data == NULL) {
                return NGX_ERROR;
            }

            p = ngx_cpymem(path.data, mount->data, mount->len);

            if (p[-1] != '/') {
                *p++ = '/';
            }

            p = ngx_cpymem(p, "pprof/", sizeof("pprof/") - 1);
            p = ngx_cpymem(p, group[i].name.data, group[i].name.len);
            *p++ = '/';
            p = ngx_cpymem(p, peer[j].name.data, peer[j].name.len);
            path.len = p - path.data;

            if (n++) {
                ngx_http_debug_out_literal(&out, ",");
            }

            ngx_http_debug_pprof_targets_peer(&out, &address, scheme, &path,
                                              &group[i], &peer[j]);
        }
    }

    ngx_http_debug_out_literal(&out, "]\n");

    if (out.failed) {
        return NGX_ERROR;
    }

    return ngx_http_debug_answer_chain(r, NGX_HTTP_OK, &json, out.chain,
                                       out.size);
}


/* Where this nginx was asked, since there the peers can be asked for, too. */

static ngx_int_t
ngx_http_debug_pprof_targets_address(ngx_http_request_t *r, ngx_str_t *address)
{
    if (r->headers_in.host != NULL && r->headers_in.host->value.len) {
        *address = r->headers_in.host->value;
        return NGX_OK;
    }

    address->len = NGX_SOCKADDR_STRLEN;
    address->data = ngx_pnalloc(r->pool, NGX_SOCKADDR_STRLEN);
    if (address->data == NULL) {
        return NGX_ERROR;
    }

    return ngx_connection_local_sockaddr(r->connection, address, 1);
}


static void
ngx_http_debug_pprof_targets_peer(ngx_http_debug_out_t *out,
    ngx_str_t *address, const char *scheme, ngx_str_t *path,
    ngx_http_debug_peer_group_t *group, ngx_http_debug_peer_t *peer)
{
    ngx_http_debug_out_literal(out, "{\"targets\":[");
    ngx_http_debug_json_string(out, address);
    ngx_http_debug_out_print(out, "],\"labels\":{\"__scheme__\":\"%s\","
                                  "\"__profile_path_prefix__\":", scheme);
    ngx_http_debug_json_string(out, path);
    ngx_http_debug_out_literal(out, ",\"service_name\":");
    ngx_http_debug_json_string(out, &group->name);
    ngx_http_debug_out_literal(out, ",\"upstream\":");
    ngx_http_debug_json_string(out, &group->name);
    ngx_http_debug_out_literal(out, ",\"peer\":");
    ngx_http_debug_json_string(out, &peer->name);
    ngx_http_debug_out_literal(out, ",\"instance\":");
    ngx_http_debug_json_string(out, &peer->name);
    ngx_http_debug_out_literal(out, "}}");
}
