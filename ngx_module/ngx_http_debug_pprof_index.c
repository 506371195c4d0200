
/*
 * The page of groups, peers and profile kinds.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_answer.h"
#include "ngx_http_debug_out.h"
#include "ngx_http_debug_page.h"
#include "ngx_http_debug_pprof.h"


static void ngx_http_debug_pprof_index_peer(ngx_http_request_t *r,
    ngx_http_debug_out_t *out, ngx_http_debug_pprof_conf_t *conf,
    ngx_http_debug_peer_group_t *group, ngx_http_debug_peer_t *peer,
    ngx_uint_t depth);
static void ngx_http_debug_pprof_link(ngx_http_debug_out_t *out,
    ngx_str_t *base, ngx_str_t *kind);


ngx_int_t
ngx_http_debug_pprof_index(ngx_http_request_t *r,
    ngx_http_debug_pprof_conf_t *conf, ngx_array_t *groups, ngx_uint_t depth,
    ngx_uint_t legacy)
{
    ngx_int_t                     rc;
    ngx_uint_t                    i, j;
    ngx_http_debug_out_t          out;
    ngx_http_debug_peer_t        *peer;
    ngx_http_debug_peer_group_t  *group;

    static char      *roots[] = { "../", "../../", "../../../" };
    static ngx_str_t  title = ngx_string("Profiles");

    rc = ngx_http_debug_answer_only_get(r);
    if (rc != NGX_DECLINED) {
        return rc;
    }

    ngx_http_debug_out_init(&out, r->pool);

    /* a legacy tree stands alone: it has no other pages, nor their files */

    if (legacy) {
        ngx_http_debug_out_literal(&out,
            "<!doctype html>\n"
            "<html lang=\"en\"><head><meta charset=\"utf-8\">"
            "<title>Profiles</title></head><body>\n"
            "<h1>Profiles</h1>\n");

    } else {
        ngx_http_debug_page_begin(&out, depth == 2 ? "peer" : "profiles",
                                  &title, roots[depth]);
    }

    group = groups->elts;

    for (i = 0; i < groups->nelts; i++) {

        ngx_http_debug_out_literal(&out, "<h2>");
        ngx_http_debug_page_text(&out, &group[i].name);
        ngx_http_debug_out_literal(&out, "</h2>\n<ul>\n");

        peer = group[i].peers.elts;

        for (j = 0; j < group[i].peers.nelts; j++) {
            ngx_http_debug_pprof_index_peer(r, &out, conf, &group[i],
                                            &peer[j], depth);
        }

        if (group[i].peers.nelts == 0) {
            ngx_http_debug_out_literal(&out,
                "<li>no address yet: its name is not resolved</li>\n");
        }

        ngx_http_debug_out_literal(&out, "</ul>\n");
    }

    if (groups->nelts == 0) {
        ngx_http_debug_out_literal(&out,
            "<p>There is no upstream, so there is nobody to profile.</p>\n");
    }

    if (legacy) {
        ngx_http_debug_out_literal(&out, "</body></html>\n");

    } else {
        ngx_http_debug_page_end(&out);
    }

    return ngx_http_debug_page_send(r, &out);
}


static void
ngx_http_debug_pprof_index_peer(ngx_http_request_t *r,
    ngx_http_debug_out_t *out, ngx_http_debug_pprof_conf_t *conf,
    ngx_http_debug_peer_group_t *group, ngx_http_debug_peer_t *peer,
    ngx_uint_t depth)
{
    size_t                        len;
    u_char                       *p;
    ngx_str_t                     base, *name;
    ngx_uint_t                    i;
    ngx_http_debug_pprof_kind_t  *kind;

    /* "./" keeps a colon in the name from looking like a scheme */

    len = sizeof(".///") - 1
          + group->name.len
          + 2 * ngx_escape_uri(NULL, group->name.data, group->name.len,
                               NGX_ESCAPE_URI)
          + peer->name.len
          + 2 * ngx_escape_uri(NULL, peer->name.data, peer->name.len,
                               NGX_ESCAPE_URI);

    base.data = ngx_pnalloc(r->pool, len);
    if (base.data == NULL) {
        out->failed = 1;
        return;
    }

    p = ngx_cpymem(base.data, "./", 2);

    if (depth < 1) {
        p = (u_char *) ngx_escape_uri(p, group->name.data, group->name.len,
                                      NGX_ESCAPE_URI);
        *p++ = '/';
    }

    if (depth < 2) {
        p = (u_char *) ngx_escape_uri(p, peer->name.data, peer->name.len,
                                      NGX_ESCAPE_URI);
        *p++ = '/';
    }

    base.len = p - base.data;

    ngx_http_debug_out_literal(out, "<li>");
    ngx_http_debug_page_text(out, &peer->name);

    ngx_http_debug_out_print(out, "%s%s%s:",
                             peer->backup ? " (backup)" : "",
                             peer->down ? " (down)" : "",
                             peer->failed ? " (failed)" : "");

    if (conf->kinds != NULL) {
        name = conf->kinds->elts;

        for (i = 0; i < conf->kinds->nelts; i++) {
            ngx_http_debug_pprof_link(out, &base, &name[i]);
        }

    } else {
        for (kind = ngx_http_debug_pprof_known; kind->name.len; kind++) {
            ngx_http_debug_pprof_link(out, &base, &kind->name);
        }
    }

    ngx_http_debug_out_literal(out, "</li>\n");
}


static void
ngx_http_debug_pprof_link(ngx_http_debug_out_t *out, ngx_str_t *base,
    ngx_str_t *kind)
{
    ngx_http_debug_out_literal(out, " <a href=\"");
    ngx_http_debug_page_text(out, base);
    ngx_http_debug_page_text(out, kind);
    ngx_http_debug_out_literal(out, "\">");
    ngx_http_debug_page_text(out, kind);
    ngx_http_debug_out_literal(out, "</a>");
}
