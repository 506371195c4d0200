
/*
 * The pages: complete without a script, in one frame.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_answer.h"
#include "ngx_http_debug_assets.h"
#include "ngx_http_debug_go.h"
#include "ngx_http_debug_history.h"
#include "ngx_http_debug_kinds.h"
#include "ngx_http_debug_page.h"
#include "ngx_http_debug_snapshot.h"


typedef struct {
    ngx_http_debug_entity_t  *entity;
    ngx_http_debug_entity_t  *group;
    ngx_http_debug_row_t      row;
    ngx_http_debug_state_t    state;
} ngx_http_debug_page_peer_t;


static void ngx_http_debug_page_link(ngx_http_debug_out_t *out, char *before,
    char *root, char *name, char *after);
static void ngx_http_debug_page_peers(ngx_http_debug_out_t *out,
    ngx_http_debug_zone_t *zone, ngx_http_debug_page_may_t *may);
static void ngx_http_debug_page_groups(ngx_http_debug_out_t *out,
    ngx_http_debug_page_may_t *may);
static ngx_str_t *ngx_http_debug_page_name(ngx_http_debug_pass_t *pass);
static ngx_uint_t ngx_http_debug_page_profiled(
    ngx_http_debug_page_may_t *may, ngx_str_t *group);
static void ngx_http_debug_page_room(ngx_http_debug_out_t *out,
    ngx_http_debug_zone_t *zone);
static void ngx_http_debug_page_row(ngx_http_debug_out_t *out,
    ngx_http_debug_page_peer_t *peer, ngx_http_debug_page_may_t *may);
static void ngx_http_debug_page_time(ngx_http_debug_out_t *out,
    ngx_http_debug_page_peer_t *peer, ngx_uint_t percentile);
static int ngx_libc_cdecl ngx_http_debug_page_worse(const void *one,
    const void *two);


ngx_uint_t  ngx_http_debug_page_kept;
ngx_uint_t  ngx_http_debug_page_watch;


void
ngx_http_debug_page_begin(ngx_http_debug_out_t *out, char *page,
    ngx_str_t *title, char *root, ngx_http_debug_page_may_t *may)
{
    ngx_str_t   host;
    ngx_uint_t  i;

    static struct {
        char  *page;
        char  *href;
        char  *text;
    } nav[] = {
        { "overview", "./", "Overview" },
        { "requests", "requests", "Requests" },
        { "charts", "charts/", "Charts" },
        { "profiles", "pprof/", "Profiles" },
        { "incidents", "incidents/", "Incidents" },
        { "stats", "stats", "Stats" },
        { "metrics", "metrics", "Metrics" }
    };

    host = ngx_cycle->hostname;

    ngx_http_debug_out_literal(out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n"
        "<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\""
        " content=\"width=device-width, initial-scale=1\">\n<title>");
    ngx_http_debug_page_text(out, title);
    ngx_http_debug_out_literal(out, " \xc2\xb7 ");
    ngx_http_debug_page_text(out, &host);
    ngx_http_debug_out_literal(out, "</title>\n");

    ngx_http_debug_page_link(out, "<link rel=\"icon\" href=\"", root,
                             "icon.svg", "\">\n");
    ngx_http_debug_page_link(out, "<link rel=\"stylesheet\" href=\"", root,
                             "app.css", "\">\n");
    ngx_http_debug_page_link(out, "<script src=\"", root, "theme.js",
                             "\"></script>\n");
    ngx_http_debug_page_link(out, "<script type=\"module\" src=\"", root,
                             "app.js", "\"></script>\n");

    ngx_http_debug_out_print(out,
        "</head>\n<body>\n"
        "<a class=\"skip\" href=\"#main\">Skip to content</a>\n"
        "<header class=\"bar\">\n<a class=\"brand\" href=\"%s\">debug"
        " \xc2\xb7 ", root[0] ? root : "./");
    ngx_http_debug_page_text(out, &host);
    ngx_http_debug_out_literal(out, "</a>\n<nav aria-label=\"Pages\">");

    for (i = 0; i < sizeof(nav) / sizeof(nav[0]); i++) {

        if (nav[i].page[0] == 'i' && !ngx_http_debug_page_watch) {
            continue;
        }

        /* a page of one of them begins with its name, as "incident" */

        ngx_http_debug_out_print(out, "<a href=\"%s%s\"%s>%s</a>", root,
             root[0] && nav[i].href[0] == '.' ? "" : nav[i].href,
             ngx_strncmp(nav[i].page, page, ngx_strlen(page)) == 0
             ? " aria-current=\"page\"" : "",
             nav[i].text);
    }

    ngx_http_debug_out_print(out,
        "</nav>\n<button id=\"theme\" type=\"button\" hidden>Auto</button>\n"
        "</header>\n<main id=\"main\" data-page=\"%s\" data-root=\"%s\""
        "%s%s%s", page, root,
        ngx_http_debug_page_kept ? " data-kept" : "",
        ngx_http_debug_page_watch ? " data-watch" : "",
        may->pprof ? "" : " data-no-profiles");

    ngx_http_debug_page_groups(out, may);

    ngx_http_debug_out_literal(out, " data-kinds='");
    ngx_http_debug_kinds_json(out);
    ngx_http_debug_out_literal(out, "'>\n<h1>");
    ngx_http_debug_page_text(out, title);
    ngx_http_debug_out_literal(out, "</h1>\n");
}


/* The groups that may be asked, if not all may; as segments of links. */

static void
ngx_http_debug_page_groups(ngx_http_debug_out_t *out,
    ngx_http_debug_page_may_t *may)
{
    ngx_uint_t              i;
    ngx_http_debug_pass_t  *pass;

    if (may->pass == NULL) {
        return;
    }

    pass = may->pass->elts;

    ngx_http_debug_out_literal(out, " data-groups=\"");

    for (i = 0; i < may->pass->nelts; i++) {

        if (i) {
            ngx_http_debug_out_literal(out, " ");
        }

        ngx_http_debug_page_segment(out, ngx_http_debug_page_name(&pass[i]));
    }

    ngx_http_debug_out_literal(out, "\"");
}


/* As the group is called everywhere. */

static ngx_str_t *
ngx_http_debug_page_name(ngx_http_debug_pass_t *pass)
{
    return pass->upstream ? &pass->upstream->host : &pass->group;
}


static ngx_uint_t
ngx_http_debug_page_profiled(ngx_http_debug_page_may_t *may, ngx_str_t *group)
{
    ngx_str_t              *name;
    ngx_uint_t              i;
    ngx_http_debug_pass_t  *pass;

    if (!may->pprof || may->pass == NULL) {
        return may->pprof;
    }

    pass = may->pass->elts;

    for (i = 0; i < may->pass->nelts; i++) {
        name = ngx_http_debug_page_name(&pass[i]);

        if (name->len == group->len
            && ngx_strncmp(name->data, group->data, name->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


void
ngx_http_debug_page_end(ngx_http_debug_out_t *out)
{
    ngx_http_debug_out_literal(out,
        "</main>\n<footer>ngx_http_debug_module</footer>\n</body>\n</html>\n");
}


/* A link to an asset, with its hash: it is kept for ever, and never stale. */

static void
ngx_http_debug_page_link(ngx_http_debug_out_t *out, char *before, char *root,
    char *name, char *after)
{
    ngx_http_debug_asset_t  *asset;

    for (asset = ngx_http_debug_assets; asset->name.len; asset++) {
        if (ngx_strcmp(asset->name.data, name) == 0) {
            ngx_http_debug_out_print(out, "%s%sassets/%V?%V%s", before, root,
                                     &asset->name, &asset->hash, after);
            return;
        }
    }
}


void
ngx_http_debug_page_text(ngx_http_debug_out_t *out, ngx_str_t *s)
{
    size_t   len;
    u_char  *p;

    len = s->len + ngx_escape_html(NULL, s->data, s->len);

    p = ngx_pnalloc(out->pool, len);
    if (p == NULL) {
        out->failed = 1;
        return;
    }

    (void) ngx_escape_html(p, s->data, s->len);
    ngx_http_debug_out_put(out, p, len);
}


void
ngx_http_debug_page_segment(ngx_http_debug_out_t *out, ngx_str_t *s)
{
    size_t      len;
    ngx_str_t   text;

    len = s->len + 2 * ngx_escape_uri(NULL, s->data, s->len,
                                      NGX_ESCAPE_URI_COMPONENT);

    text.data = ngx_pnalloc(out->pool, len);
    if (text.data == NULL) {
        out->failed = 1;
        return;
    }

    (void) ngx_escape_uri(text.data, s->data, s->len,
                          NGX_ESCAPE_URI_COMPONENT);
    text.len = len;

    ngx_http_debug_page_text(out, &text);
}


ngx_int_t
ngx_http_debug_page_send(ngx_http_request_t *r, ngx_http_debug_out_t *out)
{
    static ngx_str_t  type = ngx_string("text/html; charset=utf-8");
    static ngx_str_t  referrer = ngx_string("no-referrer");
    static ngx_str_t  same = ngx_string("same-origin");
    static ngx_str_t  policy = ngx_string(
        "default-src 'none'; script-src 'self'; style-src 'self';"
        " img-src 'self' data:; connect-src 'self'; base-uri 'none';"
        " form-action 'self'; frame-ancestors 'none';"
        " require-trusted-types-for 'script'; trusted-types 'none'");

    if (out->failed
        || ngx_http_debug_header_add(r, "Content-Security-Policy", &policy)
           != NGX_OK
        || ngx_http_debug_header_add(r, "Referrer-Policy", &referrer)
           != NGX_OK
        || ngx_http_debug_header_add(r, "Cross-Origin-Resource-Policy", &same)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_debug_answer_chain(r, NGX_HTTP_OK, &type, out->chain,
                                       out->size);
}


ngx_int_t
ngx_http_debug_page_overview(ngx_http_request_t *r,
    ngx_http_debug_zone_t *zone, ngx_http_debug_page_may_t *may)
{
    ngx_http_debug_out_t  out;

    static ngx_str_t  title = ngx_string("Overview");

    ngx_http_debug_out_init(&out, r->pool);

    ngx_http_debug_page_begin(&out, "overview", &title, "", may);
    ngx_http_debug_page_peers(&out, zone, may);
    ngx_http_debug_page_end(&out);

    return ngx_http_debug_page_send(r, &out);
}


static void
ngx_http_debug_page_peers(ngx_http_debug_out_t *out,
    ngx_http_debug_zone_t *zone, ngx_http_debug_page_may_t *may)
{
    ngx_uint_t                   i, n;
    ngx_array_t                  peers;
    ngx_http_debug_entity_t     *e;
    ngx_http_debug_peers_of_t   *of;
    ngx_http_debug_page_peer_t  *peer;

    if (ngx_array_init(&peers, out->pool, 16,
                       sizeof(ngx_http_debug_page_peer_t))
        != NGX_OK)
    {
        out->failed = 1;
        return;
    }

    of = ngx_http_debug_snapshot_peers(out->pool, zone);
    if (of == NULL) {
        out->failed = 1;
        return;
    }

    n = of->ids;

    for (i = 0; i < n; i++) {
        e = ngx_http_debug_zone_by_id(zone, i);

        if (e == NULL
            || e->kind != NGX_HTTP_DEBUG_PEER
            || !ngx_http_debug_zone_shown(e))
        {
            continue;
        }

        peer = ngx_array_push(&peers);
        if (peer == NULL) {
            out->failed = 1;
            return;
        }

        peer->entity = e;
        peer->group = ngx_http_debug_zone_by_id(zone, e->group);

        ngx_http_debug_snapshot_row(zone, NULL, e, &peer->row);
        ngx_http_debug_snapshot_state(zone, of, &peer->row, &peer->state);
    }

    ngx_qsort(peers.elts, peers.nelts, sizeof(ngx_http_debug_page_peer_t),
              ngx_http_debug_page_worse);

    ngx_http_debug_out_literal(out,
        "<div id=\"peers\" class=\"card scroll\" tabindex=\"0\""
        " role=\"region\" aria-label=\"Peers\">\n"
        "<table class=\"t\">\n<caption class=\"sr\">Every peer, the worst"
        " first</caption>\n<thead><tr>"
        "<th class=\"l\" scope=\"col\">Peer</th>"
        "<th class=\"l\" scope=\"col\">Upstream</th>"
        "<th class=\"l\" scope=\"col\">State</th>"
        "<th class=\"l\" scope=\"col\">Why</th>"
        "<th scope=\"col\">Answers</th><th scope=\"col\">p50</th>"
        "<th scope=\"col\">p99</th><th scope=\"col\">4xx</th>"
        "<th scope=\"col\">5xx</th><th scope=\"col\">No answer</th>"
        "<th scope=\"col\">Under way</th>"
        "<th class=\"l\" scope=\"col\">Profiles</th>"
        "</tr></thead>\n<tbody>\n");

    peer = peers.elts;

    for (i = 0; i < peers.nelts; i++) {
        ngx_http_debug_page_row(out, &peer[i], may);
    }

    if (peers.nelts == 0) {
        ngx_http_debug_out_literal(out,
            "<tr><td class=\"l\" colspan=\"12\">No upstream is configured:"
            " proxy_pass names none.</td></tr>\n");
    }

    ngx_http_debug_out_literal(out, "</tbody>\n</table>\n</div>\n");

    ngx_http_debug_page_room(out, zone);
}


/* What found none. */

static void
ngx_http_debug_page_room(ngx_http_debug_out_t *out,
    ngx_http_debug_zone_t *zone)
{
    uint64_t    missing, dropped;
    ngx_uint_t  without;

    missing = ngx_http_debug_load(&zone->missing);
    dropped = ngx_http_debug_load(&zone->dropped);
    without = ngx_http_debug_zone_without(zone);

    if (missing) {
        ngx_http_debug_out_print(out,
            "<p class=\"banner warn\">%uL servers, groups and peers of the"
            " configuration are not shown: debug_zone has no room for"
            " them.</p>\n", missing);
    }

    if (dropped) {
        ngx_http_debug_out_print(out,
            "<p class=\"banner warn\">%uL records found no room under their"
            " own name; debug_zone is too small.</p>\n", dropped);
    }

    if (without) {
        ngx_http_debug_out_print(out,
            "<p class=\"banner warn\">%ui servers, groups and peers have no"
            " charts: debug_zone has no room for their history.</p>\n",
            without);
    }
}


static int ngx_libc_cdecl
ngx_http_debug_page_worse(const void *one, const void *two)
{
    uint64_t                           a, b;
    const ngx_http_debug_page_peer_t  *first = one;
    const ngx_http_debug_page_peer_t  *second = two;

    if (first->state.state != second->state.state) {
        return first->state.state < second->state.state ? -1 : 1;
    }

    a = first->row.percentile[NGX_HTTP_DEBUG_P99];
    b = second->row.percentile[NGX_HTTP_DEBUG_P99];

    if (a != b) {
        return a > b ? -1 : 1;
    }

    return first->entity->id < second->entity->id ? -1 : 1;
}


static void
ngx_http_debug_page_row(ngx_http_debug_out_t *out,
    ngx_http_debug_page_peer_t *peer, ngx_http_debug_page_may_t *may)
{
    ngx_str_t  name, group, reason, *state;

    name.len = peer->entity->len;
    name.data = peer->entity->name;

    ngx_str_null(&group);

    if (peer->group) {
        group.len = peer->group->len;
        group.data = peer->group->name;
    }

    ngx_http_debug_out_literal(out, "<tr><th class=\"l\" scope=\"row\">");
    ngx_http_debug_page_text(out, &name);
    ngx_http_debug_out_literal(out, "</th><td class=\"l\">");
    ngx_http_debug_page_text(out, &group);

    state = &ngx_http_debug_state_names[peer->state.state];

    reason.len = peer->state.len;
    reason.data = peer->state.reason;

    ngx_http_debug_out_print(out,
        "</td><td class=\"l\"><span class=\"state %V\">%V</span></td>"
        "<td class=\"l why\">", state, state);
    ngx_http_debug_page_text(out, &reason);
    ngx_http_debug_out_print(out, "</td><td>%uL</td><td>", peer->row.count);

    ngx_http_debug_page_time(out, peer, NGX_HTTP_DEBUG_P50);
    ngx_http_debug_out_literal(out, "</td><td>");
    ngx_http_debug_page_time(out, peer, NGX_HTTP_DEBUG_P99);

    ngx_http_debug_out_print(out,
        "</td><td>%uL</td><td>%uL</td><td>%uL</td><td>%L</td>"
        "<td class=\"l\">",
        peer->row.classes[4], peer->row.classes[5],
        ngx_http_debug_snapshot_failures(&peer->row), peer->row.active);

    if (ngx_http_debug_page_profiled(may, &group)) {
        ngx_http_debug_out_literal(out, "<a href=\"pprof/");
        ngx_http_debug_page_segment(out, &group);
        ngx_http_debug_out_literal(out, "/");
        ngx_http_debug_page_segment(out, &name);
        ngx_http_debug_out_literal(out, "/\">profiles</a>");
    }

    ngx_http_debug_out_literal(out, "</td></tr>\n");
}


static void
ngx_http_debug_page_time(ngx_http_debug_out_t *out,
    ngx_http_debug_page_peer_t *peer, ngx_uint_t percentile)
{
    u_char    *p;
    uint64_t   ns, unit;

    if (peer->row.measured == 0) {
        ngx_http_debug_out_literal(out, "\xe2\x80\x93");
        return;
    }

    /* three figures are as many as the histogram has */

    ns = peer->row.percentile[percentile];

    for (unit = 1; ns / unit >= 1000; unit *= 10) { /* void */ }

    p = ngx_http_debug_out_room(out, NGX_HTTP_DEBUG_GO_LEN);
    if (p) {
        ngx_http_debug_out_end(out,
                           ngx_http_debug_go_duration(p, ns / unit * unit));
    }
}


ngx_int_t
ngx_http_debug_page_charts(ngx_http_request_t *r,
    ngx_http_debug_page_may_t *may)
{
    ngx_http_debug_out_t  out;

    static ngx_str_t  title = ngx_string("Charts");

    ngx_http_debug_out_init(&out, r->pool);

    ngx_http_debug_page_begin(&out, "charts", &title, "../", may);
    ngx_http_debug_out_literal(&out,
        "<noscript><p>The charts are drawn by a script."
        " <a href=\"data\">Their data</a> is JSON.</p></noscript>\n");
    ngx_http_debug_page_end(&out);

    return ngx_http_debug_page_send(r, &out);
}


ngx_int_t
ngx_http_debug_page_viewer(ngx_http_request_t *r,
    ngx_http_debug_page_may_t *may)
{
    ngx_http_debug_out_t  out;

    static ngx_str_t  title = ngx_string("Profile");

    ngx_http_debug_out_init(&out, r->pool);

    ngx_http_debug_page_begin(&out, "viewer", &title, "../", may);
    ngx_http_debug_out_literal(&out,
        "<noscript><p>The viewer is a script; \"go tool pprof\" reads the same"
        " profiles.</p></noscript>\n");
    ngx_http_debug_page_end(&out);

    return ngx_http_debug_page_send(r, &out);
}


ngx_int_t
ngx_http_debug_page_asset(ngx_http_request_t *r, ngx_str_t *name)
{
    ngx_int_t                rc;
    ngx_buf_t               *b;
    ngx_str_t               *body;
    ngx_uint_t               gzip;
    ngx_chain_t              out;
    ngx_table_elt_t         *accept, *h;
    ngx_http_debug_asset_t  *asset;

    static ngx_str_t  forever = ngx_string(
                                     "public, max-age=31536000, immutable");
    static ngx_str_t  brief = ngx_string("no-cache");
    static ngx_str_t  nosniff = ngx_string("nosniff");
    static ngx_str_t  vary = ngx_string("Accept-Encoding");

    for (asset = ngx_http_debug_assets; /* void */ ; asset++) {

        if (asset->name.len == 0) {
            return ngx_http_debug_answer_literal(r, NGX_HTTP_NOT_FOUND,
                                                 "not found");
        }

        if (asset->name.len == name->len
            && ngx_strncmp(asset->name.data, name->data, name->len) == 0)
        {
            break;
        }
    }

    accept = ngx_http_debug_header_find(r, "accept-encoding");

    gzip = accept
           && ngx_strlcasestrn(accept->value.data,
                               accept->value.data + accept->value.len,
                               (u_char *) "gzip", 4 - 1)
              != NULL;

    body = gzip ? &asset->gzip : &asset->raw;

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = body->len;
    r->headers_out.content_type = asset->type;
    r->headers_out.content_type_len = asset->type.len;
    r->headers_out.content_type_lowcase = NULL;

    /* with a hash in the link, that is what is meant for ever */

    if (ngx_http_debug_header_add(r, "Cache-Control",
                                  r->args.len == asset->hash.len
                                  && ngx_strncmp(r->args.data,
                                                 asset->hash.data,
                                                 r->args.len)
                                     == 0
                                  ? &forever : &brief)
           != NGX_OK
        || ngx_http_debug_header_add(r, "X-Content-Type-Options", &nosniff)
           != NGX_OK
        || ngx_http_debug_header_add(r, "Vary", &vary) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (gzip) {
        h = ngx_list_push(&r->headers_out.headers);
        if (h == NULL) {
            return NGX_ERROR;
        }

        ngx_memzero(h, sizeof(ngx_table_elt_t));

        h->hash = 1;
        ngx_str_set(&h->key, "Content-Encoding");
        ngx_str_set(&h->value, "gzip");
        r->headers_out.content_encoding = h;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->pos = body->data;
    b->last = body->data + body->len;
    b->memory = b->pos != b->last;
    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, &out);
}
