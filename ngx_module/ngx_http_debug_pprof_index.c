
/*
 * The page of groups, peers and profile kinds, for eyes and for terminals.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_access.h"
#include "ngx_http_debug_answer.h"
#include "ngx_http_debug_kinds.h"
#include "ngx_http_debug_pprof_look.h"
#include "ngx_http_debug_out.h"
#include "ngx_http_debug_page.h"
#include "ngx_http_debug_pprof.h"
#include "ngx_http_debug_pprof_ctx.h"
#include "ngx_http_debug_runs.h"


typedef struct {
    ngx_http_debug_pprof_conf_t  *conf;
    ngx_array_t                  *groups;
    ngx_http_debug_peer_t        *first;     /* the default peer, or NULL */
    ngx_uint_t                    depth;
    ngx_uint_t                    legacy;
} ngx_http_debug_pprof_index_t;


static ngx_int_t ngx_http_debug_pprof_index_send(ngx_http_request_t *r,
    ngx_http_debug_pprof_look_t *looks, void *data);
static ngx_int_t ngx_http_debug_pprof_index_html(ngx_http_request_t *r,
    ngx_http_debug_pprof_index_t *index, ngx_http_debug_pprof_look_t *looks);
static void ngx_http_debug_pprof_index_peer(ngx_http_request_t *r,
    ngx_http_debug_out_t *out, ngx_http_debug_pprof_index_t *index,
    ngx_http_debug_peer_group_t *group, ngx_http_debug_peer_t *peer,
    ngx_http_debug_pprof_look_t *look);
static void ngx_http_debug_pprof_index_links(ngx_http_debug_out_t *out,
    ngx_str_t *base, ngx_array_t *kinds);
static void ngx_http_debug_pprof_index_names(ngx_http_debug_out_t *out,
    ngx_array_t *kinds);
static ngx_int_t ngx_http_debug_pprof_index_text(ngx_http_request_t *r,
    ngx_http_debug_pprof_index_t *index, ngx_http_debug_pprof_look_t *looks);
static void ngx_http_debug_pprof_index_line(ngx_http_debug_out_t *out,
    ngx_http_debug_pprof_index_t *index, ngx_http_debug_peer_group_t *group,
    ngx_http_debug_peer_t *peer, ngx_http_debug_pprof_look_t *look);
static void ngx_http_debug_pprof_index_pad(ngx_http_debug_out_t *out,
    size_t len, size_t width);


ngx_int_t
ngx_http_debug_pprof_index(ngx_http_request_t *r,
    ngx_http_debug_pprof_conf_t *conf, ngx_array_t *groups, ngx_uint_t depth,
    ngx_uint_t legacy)
{
    ngx_int_t                      rc;
    ngx_uint_t                     ask;
    ngx_http_debug_pprof_index_t  *index;

    rc = ngx_http_debug_answer_only_get(r);
    if (rc != NGX_DECLINED) {
        return rc;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    index = ngx_pcalloc(r->pool, sizeof(ngx_http_debug_pprof_index_t));
    if (index == NULL) {
        return NGX_ERROR;
    }

    index->conf = conf;
    index->groups = groups;
    index->depth = depth;
    index->legacy = legacy;

    /*
     * Who follows a link from a chat gets the page; but a page of another
     * site does not make us ask the peers.
     */

    ask = (r->method == NGX_HTTP_GET
           && !ngx_http_debug_access_foreign(r));

    return ngx_http_debug_pprof_look(r, conf, groups, legacy, ask,
                                     ngx_http_debug_pprof_index_send, index);
}


static ngx_int_t
ngx_http_debug_pprof_index_send(ngx_http_request_t *r,
    ngx_http_debug_pprof_look_t *looks, void *data)
{
    ngx_http_debug_pprof_index_t *index = data;

    ngx_http_debug_peer_group_t  *group;

    /* now that it is known who lives */

    if (index->depth == 0) {
        index->first = ngx_http_debug_pprof_choice_default(index->groups,
                                                           &group);
    }

    if (ngx_http_debug_answer_is_text(r)) {
        return ngx_http_debug_pprof_index_text(r, index, looks);
    }

    return ngx_http_debug_pprof_index_html(r, index, looks);
}


static ngx_int_t
ngx_http_debug_pprof_index_html(ngx_http_request_t *r,
    ngx_http_debug_pprof_index_t *index, ngx_http_debug_pprof_look_t *looks)
{
    ngx_uint_t                    i, j;
    ngx_http_debug_out_t          out;
    ngx_http_debug_peer_t        *peer;
    ngx_http_debug_peer_group_t  *group;
    ngx_http_debug_page_may_t     may;

    static char      *roots[] = { "../", "../../", "../../../" };
    static ngx_str_t  title = ngx_string("Profiles");

    ngx_http_debug_out_init(&out, r->pool);

    /* a legacy tree stands alone: it has no other pages, nor their files */

    if (index->legacy) {
        ngx_http_debug_out_literal(&out,
            "<!doctype html>\n"
            "<html lang=\"en\"><head><meta charset=\"utf-8\">"
            "<title>Profiles</title></head><body>\n"
            "<h1>Profiles</h1>\n");

    } else {
        may.pprof = 1;
        may.pass = index->conf->pass;

        ngx_http_debug_page_begin(&out,
                                  index->depth == 2 ? "peer" : "profiles",
                                  &title, roots[index->depth], &may);
    }

    group = index->groups->elts;

    for (i = 0; i < index->groups->nelts; i++) {

        ngx_http_debug_out_literal(&out, "<h2>");
        ngx_http_debug_page_text(&out, &group[i].name);
        ngx_http_debug_out_literal(&out, "</h2>\n<ul>\n");

        peer = group[i].peers.elts;

        for (j = 0; j < group[i].peers.nelts; j++) {
            ngx_http_debug_pprof_index_peer(r, &out, index, &group[i],
                                            &peer[j], looks++);
        }

        if (group[i].peers.nelts == 0) {
            ngx_http_debug_out_literal(&out,
                "<li>no address yet: its name is not resolved</li>\n");
        }

        ngx_http_debug_out_literal(&out, "</ul>\n");
    }

    if (index->groups->nelts == 0) {
        ngx_http_debug_out_literal(&out,
            "<p>There is no upstream, so there is nobody to profile.</p>\n");
    }

    if (index->legacy) {
        ngx_http_debug_out_literal(&out, "</body></html>\n");

    } else {
        ngx_http_debug_page_end(&out);
    }

    return ngx_http_debug_page_send(r, &out);
}


/*
 * The script takes the item apart: the name, notes in parentheses, a colon,
 * and links.  What is behind them is for those who have no script.
 */

static void
ngx_http_debug_pprof_index_peer(ngx_http_request_t *r,
    ngx_http_debug_out_t *out, ngx_http_debug_pprof_index_t *index,
    ngx_http_debug_peer_group_t *group, ngx_http_debug_peer_t *peer,
    ngx_http_debug_pprof_look_t *look)
{
    size_t                        len;
    u_char                       *p;
    ngx_str_t                     base;
    ngx_http_debug_run_other_t    other;

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

    if (index->depth < 1) {
        p = (u_char *) ngx_escape_uri(p, group->name.data, group->name.len,
                                      NGX_ESCAPE_URI);
        *p++ = '/';
    }

    if (index->depth < 2) {
        p = (u_char *) ngx_escape_uri(p, peer->name.data, peer->name.len,
                                      NGX_ESCAPE_URI);
        *p++ = '/';
    }

    base.len = p - base.data;

    ngx_http_debug_out_print(out, "<li data-state=\"%V\" data-pid=\"%V\""
                                  " data-build-id=\"%V\">",
                             ngx_http_debug_pprof_look_word(look->state),
                             &look->pid, &look->build_id);
    ngx_http_debug_page_text(out, &peer->name);

    ngx_http_debug_out_print(out, "%s%s%s%s:",
                             peer == index->first ? " (default)" : "",
                             peer->backup ? " (backup)" : "",
                             peer->down ? " (down)" : "",
                             peer->failed ? " (failed)" : "");

    ngx_http_debug_pprof_index_links(out, &base, index->conf->kinds);
    ngx_http_debug_pprof_index_links(out, &base, look->kinds);

    ngx_http_debug_out_literal(out, "<br>");
    ngx_http_debug_page_text(out, &look->text);

    if (look->pid.len) {
        ngx_http_debug_out_print(out, ", pid %V", &look->pid);
    }

    if (look->build_id.len) {
        ngx_http_debug_out_print(out, ", build <code>%V</code>",
                                 &look->build_id);
    }

    if (ngx_http_debug_runs_busy(&peer->pass, &other) == NGX_OK) {
        ngx_http_debug_out_print(out,
                                 "; a CPU profile runs for another %ui s,"
                                 " started by ", other.seconds);
        ngx_http_debug_page_text(out, &other.who);
    }

    ngx_http_debug_out_literal(out, "</li>\n");
}


static void
ngx_http_debug_pprof_index_links(ngx_http_debug_out_t *out, ngx_str_t *base,
    ngx_array_t *kinds)
{
    ngx_str_t   *name;
    ngx_uint_t   i;

    if (kinds == NULL) {
        return;
    }

    name = kinds->elts;

    for (i = 0; i < kinds->nelts; i++) {

        if (ngx_http_debug_kinds_is_all(&name[i])) {
            continue;
        }

        ngx_http_debug_out_literal(out, " <a href=\"");
        ngx_http_debug_page_text(out, base);
        ngx_http_debug_page_text(out, &name[i]);
        ngx_http_debug_out_literal(out, "\">");
        ngx_http_debug_page_text(out, &name[i]);
        ngx_http_debug_out_literal(out, "</a>");
    }
}


static void
ngx_http_debug_pprof_index_names(ngx_http_debug_out_t *out,
    ngx_array_t *kinds)
{
    ngx_str_t   *name;
    ngx_uint_t   i;

    if (kinds == NULL) {
        return;
    }

    name = kinds->elts;

    for (i = 0; i < kinds->nelts; i++) {

        if (!ngx_http_debug_kinds_is_all(&name[i])) {
            ngx_http_debug_out_literal(out, " ");
            ngx_http_debug_out_str(out, &name[i]);
        }
    }
}


/*
 * A line for each peer, in columns: the path that asks it, address, state, pid
 * and build, and the rest in words.
 */

static ngx_int_t
ngx_http_debug_pprof_index_text(ngx_http_request_t *r,
    ngx_http_debug_pprof_index_t *index, ngx_http_debug_pprof_look_t *looks)
{
    ngx_uint_t                    i, j;
    ngx_http_debug_out_t          out;
    ngx_http_debug_peer_t        *peer;
    ngx_http_debug_peer_group_t  *group;

    static ngx_str_t  type = ngx_string("text/plain; charset=utf-8");

    ngx_http_debug_out_init(&out, r->pool);

    group = index->groups->elts;

    for (i = 0; i < index->groups->nelts; i++) {

        peer = group[i].peers.elts;

        for (j = 0; j < group[i].peers.nelts; j++) {
            ngx_http_debug_pprof_index_line(&out, index, &group[i], &peer[j],
                                            looks++);
        }

        if (group[i].peers.nelts == 0) {
            ngx_http_debug_out_str(&out, &group[i].name);
            ngx_http_debug_out_literal(&out,
                "  no address yet: its name is not resolved\n");
        }
    }

    if (index->groups->nelts == 0) {
        ngx_http_debug_out_literal(&out,
            "there is no upstream, so there is nobody to profile\n");
    }

    ngx_http_debug_out_literal(&out, "\nkinds:");

    ngx_http_debug_pprof_index_names(&out, index->conf->kinds);

    if (index->depth == 2 && group[0].peers.nelts) {
        ngx_http_debug_pprof_index_names(&out, looks[-1].kinds);
    }

    ngx_http_debug_out_literal(&out, "\n");

    if (out.failed) {
        return NGX_ERROR;
    }

    return ngx_http_debug_answer_chain(r, NGX_HTTP_OK, &type, out.chain,
                                       out.size);
}


static void
ngx_http_debug_pprof_index_line(ngx_http_debug_out_t *out,
    ngx_http_debug_pprof_index_t *index, ngx_http_debug_peer_group_t *group,
    ngx_http_debug_peer_t *peer, ngx_http_debug_pprof_look_t *look)
{
    u_char                      *p, number[NGX_INT_T_LEN];
    size_t                       len;
    ngx_str_t                   *word;
    ngx_http_debug_run_other_t   other;

    p = ngx_sprintf(number, "%ui", peer->number);
    len = group->name.len + 1 + (p - number);

    ngx_http_debug_out_str(out, &group->name);
    ngx_http_debug_out_literal(out, "/");
    ngx_http_debug_out_put(out, number, p - number);
    ngx_http_debug_pprof_index_pad(out, len, 16);

    ngx_http_debug_out_str(out, &peer->name);
    ngx_http_debug_pprof_index_pad(out, peer->name.len, 24);

    word = ngx_http_debug_pprof_look_word(look->state);
    ngx_http_debug_out_str(out, word);
    ngx_http_debug_pprof_index_pad(out, word->len, 8);

    ngx_http_debug_out_print(out, "pid %s%V", look->pid.len ? "" : "-",
                             &look->pid);
    ngx_http_debug_pprof_index_pad(out, look->pid.len ? look->pid.len : 1, 8);

    ngx_http_debug_out_print(out, "build %s%V  ",
                             look->build_id.len ? "" : "-", &look->build_id);

    ngx_http_debug_out_str(out, &look->text);

    ngx_http_debug_out_print(out, "%s%s%s%s",
                             peer == index->first ? "; default" : "",
                             peer->backup ? "; backup" : "",
                             peer->down ? "; down" : "",
                             peer->failed ? "; failed" : "");

    if (ngx_http_debug_runs_busy(&peer->pass, &other) == NGX_OK) {
        ngx_http_debug_out_print(out,
                                 "; a CPU profile runs for another %ui s,"
                                 " started by %V", other.seconds, &other.who);
    }

    ngx_http_debug_out_literal(out, "\n");
}


/* Spaces up to WIDTH, and two at least. */

static void
ngx_http_debug_pprof_index_pad(ngx_http_debug_out_t *out, size_t len,
    size_t width)
{
    ngx_http_debug_out_literal(out, "  ");

    for ( /* void */ ; len < width; len++) {
        ngx_http_debug_out_literal(out, " ");
    }
}
