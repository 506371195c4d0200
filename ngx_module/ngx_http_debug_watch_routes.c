
/*
 * What is below incidents/: the list and each incident, as a page, as JSON and
 * as a text, and the files that were taken.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <jansson.h>
#include "ngx_http_debug_answer.h"
#include "ngx_http_debug_faces.h"
#include "ngx_http_debug_kept_disk.h"
#include "ngx_http_debug_kinds.h"
#include "ngx_http_debug_out.h"
#include "ngx_http_debug_page.h"
#include "ngx_http_debug_watch.h"
#include "ngx_http_debug_watch_routes.h"


#define NGX_HTTP_DEBUG_INCIDENTS_MOST   200     /* of the list */
#define NGX_HTTP_DEBUG_INCIDENTS_STORY  262144  /* bytes of incident.json */
#define NGX_HTTP_DEBUG_INCIDENTS_DEAD   120     /* s: nobody takes it still */


/* one, as its incident.json tells it; what is missing there is empty */

typedef struct {
    ngx_http_debug_disk_file_t  *file;
    json_t                      *root;        /* NULL: there is none */
    ngx_array_t                 *files;       /* of ..._disk_file_t, that the
                                                 location lets be seen */
} ngx_http_debug_story_of_t;


static ngx_int_t ngx_http_debug_incidents_list(ngx_http_request_t *r,
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_pprof_conf_t *conf,
    ngx_array_t *list);
static void ngx_http_debug_incidents_head(ngx_http_debug_out_t *out,
    ngx_http_debug_story_of_t *of);
static ngx_int_t ngx_http_debug_incidents_one(ngx_http_request_t *r,
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_pprof_conf_t *conf,
    ngx_http_debug_disk_file_t *file, ngx_str_t *rest);
static void ngx_http_debug_incidents_text(ngx_http_debug_out_t *out,
    ngx_http_debug_story_of_t *of);
static void ngx_http_debug_incidents_page(ngx_http_debug_out_t *out,
    ngx_http_debug_story_of_t *of);
static void ngx_http_debug_incidents_rows(ngx_http_debug_out_t *out,
    ngx_http_debug_story_of_t *of);
static void ngx_http_debug_incidents_link(ngx_http_debug_out_t *out,
    ngx_http_debug_story_of_t *of, ngx_str_t *kind, char *side);
static ngx_http_debug_disk_file_t *ngx_http_debug_incidents_find(
    ngx_http_debug_story_of_t *of, char *side, ngx_str_t *kind);
static void ngx_http_debug_incidents_state(ngx_http_debug_out_t *out,
    ngx_http_debug_story_of_t *of, ngx_uint_t page);
static json_t *ngx_http_debug_incidents_load(ngx_pool_t *pool,
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_disk_file_t *file);
static void ngx_http_debug_incidents_free(void *data);
static ngx_str_t ngx_http_debug_incidents_word(ngx_http_debug_story_of_t *of,
    ngx_uint_t n);
static ngx_str_t ngx_http_debug_incidents_string(json_t *json);
static uint64_t ngx_http_debug_incidents_number(json_t *root, char *name);
static void ngx_http_debug_incidents_time(ngx_http_debug_out_t *out,
    uint64_t ms);


ngx_int_t
ngx_http_debug_watch_handler(ngx_http_request_t *r,
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_pprof_conf_t *conf,
    ngx_str_t *rest)
{
    u_char                      *p, id[NGX_INT64_LEN], there[NGX_INT64_LEN + 4];
    ngx_int_t                    rc;
    ngx_str_t                    name, location;
    ngx_uint_t                   i;
    ngx_array_t                 *list;
    ngx_http_debug_disk_file_t  *file;

    if (r != r->main) {
        return NGX_HTTP_FORBIDDEN;
    }

    rc = ngx_http_debug_answer_only_get(r);
    if (rc != NGX_DECLINED) {
        return rc;
    }

    if (kcf->path == NULL) {
        return ngx_http_debug_answer_literal(r, NGX_HTTP_NOT_FOUND,
                   "nginx keeps no incidents; see debug_watch");
    }

    list = ngx_http_debug_disk_incidents(r->pool, kcf, conf);
    if (list == NULL) {
        return NGX_ERROR;
    }

    if (rest->len == 0) {
        return ngx_http_debug_incidents_list(r, kcf, conf, list);
    }

    p = ngx_strlchr(rest->data, rest->data + rest->len, '/');

    name.data = rest->data;
    name.len = p ? (size_t) (p - rest->data) : rest->len;

    file = list->elts;

    for (i = 0; i < list->nelts; i++) {
        if (ngx_http_debug_kept_is(&name, id,
                                   ngx_sprintf(id, "%uL", file[i].time) - id))
        {
            break;
        }
    }

    if (i == list->nelts) {
        return ngx_http_debug_answer_literal(r, NGX_HTTP_NOT_FOUND,
                   "there is no such incident, or no more: the oldest are"
                   " removed when there are more than debug_snapshots keeps");
    }

    if (p == NULL) {
        location.len = ngx_sprintf(there, "%V/", &name) - there;
        location.data = ngx_pnalloc(r->pool, location.len);

        if (location.data == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(location.data, there, location.len);

        return ngx_http_debug_answer_redirect(r, NGX_HTTP_MOVED_TEMPORARILY,
                                              &location);
    }

    name.data = p + 1;
    name.len = rest->data + rest->len - name.data;

    return ngx_http_debug_incidents_one(r, kcf, conf, &file[i], &name);
}


static ngx_int_t
ngx_http_debug_incidents_list(ngx_http_request_t *r,
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_pprof_conf_t *conf,
    ngx_array_t *list)
{
    ngx_str_t                  word;
    ngx_uint_t                 i, n, text, json;
    ngx_time_t                *tp;
    ngx_http_debug_out_t       out;
    ngx_http_debug_story_of_t  of;
    ngx_http_debug_page_may_t  may;

    static ngx_str_t  title = ngx_string("Incidents");
    static ngx_str_t  types[] = {
        ngx_string("application/json"),
        ngx_string("text/plain; charset=utf-8")
    };

    may.pprof = 1;
    may.pass = conf->pass;

    json = ngx_http_debug_kept_is(&r->args, (u_char *) "json", 4);
    text = !json && ngx_http_debug_answer_is_text(r);

    ngx_http_debug_out_init(&out, r->pool);

    tp = ngx_timeofday();
    n = ngx_min(list->nelts, NGX_HTTP_DEBUG_INCIDENTS_MOST);

    if (json) {
        ngx_http_debug_out_print(&out, "{\"v\":1,\"now\":%uL,\"left_out\":%ui,"
                                 "\"incidents\":[",
                                 (uint64_t) tp->sec * 1000 + tp->msec,
                                 list->nelts - n);

    } else if (!text) {
        ngx_http_debug_page_begin(&out, "incidents", &title, "../", &may);
        ngx_http_debug_out_literal(&out,
            "<div class=\"card scroll\" tabindex=\"0\" role=\"region\""
            " aria-label=\"Incidents\">\n<table class=\"t\">\n"
            "<caption class=\"sr\">Incidents, newest first</caption>\n"
            "<thead><tr><th class=\"l\" scope=\"col\">Known</th>"
            "<th class=\"l\" scope=\"col\">Upstream</th>"
            "<th class=\"l\" scope=\"col\">Peer</th>"
            "<th class=\"l\" scope=\"col\">What</th>"
            "<th class=\"l\" scope=\"col\">Rule</th>"
            "<th scope=\"col\">Bytes</th></tr></thead>\n<tbody>\n");
    }

    for (i = 0; i < n; i++) {

        of.file = (ngx_http_debug_disk_file_t *) list->elts + i;
        of.root = ngx_http_debug_incidents_load(r->pool, kcf, of.file);
        word = ngx_http_debug_incidents_word(&of, 0);

        if (json) {
            ngx_http_debug_out_print(&out, "%s\n{\"id\":\"%uL\",\"time\":%uL,"
                                     "\"size\":%O,\"ended\":%s,",
                                     i ? "," : "", of.file->time,
                                     of.file->time / 1000, of.file->size,
                                     ngx_http_debug_incidents_number(of.root,
                                         "ended") ? "true" : "false");
            ngx_http_debug_out_literal(&out, "\"group\":");
            ngx_http_debug_json_string(&out, &of.file->group);
            ngx_http_debug_out_literal(&out, ",\"peer\":");
            ngx_http_debug_json_string(&out, &of.file->peer);
            ngx_http_debug_out_literal(&out, ",\"rule\":");
            ngx_http_debug_json_string(&out, &of.file->rule);
            ngx_http_debug_out_literal(&out, ",\"text\":");
            ngx_http_debug_json_string(&out, &word);
            ngx_http_debug_out_literal(&out, "}");
            continue;
        }

        if (text) {
            ngx_http_debug_out_print(&out, "%uL  ", of.file->time);
            ngx_http_debug_incidents_head(&out, &of);
            ngx_http_debug_out_literal(&out, "\n");
            continue;
        }

        ngx_http_debug_out_print(&out, "<tr><th class=\"l\" scope=\"row\">"
                                       "<a href=\"./%uL/\">", of.file->time);
        ngx_http_debug_incidents_time(&out, of.file->time);
        ngx_http_debug_out_literal(&out, "</a></th><td class=\"l\">");
        ngx_http_debug_page_text(&out, &of.file->group);
        ngx_http_debug_out_literal(&out, "</td><td class=\"l\">");
        ngx_http_debug_page_text(&out, &of.file->peer);
        ngx_http_debug_out_literal(&out, "</td><td class=\"l why\">");
        ngx_http_debug_page_text(&out, &word);
        ngx_http_debug_out_literal(&out, "</td><td class=\"l mono\">");
        ngx_http_debug_page_text(&out, &of.file->rule);
        ngx_http_debug_out_print(&out, "</td><td>%O</td></tr>\n",
                                 of.file->size);
    }

    if (json) {
        ngx_http_debug_out_literal(&out, "]}\n");

    } else if (text) {

        if (n == 0) {
            ngx_http_debug_out_literal(&out, "no incident is kept\n");
        }

        if (n < list->nelts) {
            ngx_http_debug_out_print(&out, "%ui older ones are left out\n",
                                     list->nelts - n);
        }

    } else {

        if (n == 0) {
            ngx_http_debug_out_literal(&out,
                "<tr><td class=\"l\" colspan=\"6\">No incident yet.</td>"
                "</tr>\n");
        }

        ngx_http_debug_out_literal(&out, "</tbody>\n</table>\n</div>\n");

        if (n < list->nelts) {
            ngx_http_debug_out_print(&out, "<p class=\"muted\">%ui older ones"
                                     " are left out.</p>\n", list->nelts - n);
        }

        ngx_http_debug_page_end(&out);

        return ngx_http_debug_page_send(r, &out);
    }

    if (out.failed) {
        return NGX_ERROR;
    }

    return ngx_http_debug_answer_chain(r, NGX_HTTP_OK, &types[text],
                                       out.chain, out.size);
}


/* When, who and what, in one line without its end. */

static void
ngx_http_debug_incidents_head(ngx_http_debug_out_t *out,
    ngx_http_debug_story_of_t *of)
{
    ngx_str_t  word;

    ngx_http_debug_incidents_time(out, of->file->time);
    ngx_http_debug_out_literal(out, "  ");
    ngx_http_debug_out_str(out, &of->file->group);
    ngx_http_debug_out_literal(out, "  ");
    ngx_http_debug_out_str(out, &of->file->peer);
    ngx_http_debug_out_literal(out, "  ");

    word = ngx_http_debug_incidents_word(of, 0);
    ngx_http_debug_out_str(out, &word);
}


static ngx_int_t
ngx_http_debug_incidents_one(ngx_http_request_t *r,
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_pprof_conf_t *conf,
    ngx_http_debug_disk_file_t *file, ngx_str_t *rest)
{
    size_t                       len;
    u_char                      *p;
    ngx_str_t                    kind, *type;
    ngx_uint_t                   i, story;
    ngx_array_t                 *all;
    ngx_http_debug_out_t         out;
    ngx_http_debug_disk_file_t  *f, *seen;
    ngx_http_debug_story_of_t    of;
    ngx_http_debug_page_may_t    may;

    static ngx_str_t  title = ngx_string("Incident");
    static ngx_str_t  profile = ngx_string("application/octet-stream");
    static ngx_str_t  text = ngx_string("text/plain; charset=utf-8");
    static ngx_str_t  json = ngx_string("application/json");
    static ngx_str_t  root = ngx_string("incident.json");

    all = ngx_http_debug_disk_files(r->pool, kcf, file);
    of.files = ngx_array_create(r->pool, 16,
                                sizeof(ngx_http_debug_disk_file_t));

    if (all == NULL || of.files == NULL) {
        return NGX_ERROR;
    }

    f = all->elts;
    story = 0;

    if (rest->len == 0
        && ngx_http_debug_kept_is(&r->args, (u_char *) "json", 4))
    {
        rest = &root;
        story = 1;
    }

    for (i = 0; i < all->nelts; i++) {

        /* "sick-heap.pb.gz": a kind that is not let through is not here */

        kind = f[i].kind;

        p = ngx_strlchr(kind.data, kind.data + kind.len, '-');

        if (p != NULL) {
            kind.len -= p + 1 - kind.data;
            kind.data = p + 1;

            p = ngx_strlchr(kind.data, kind.data + kind.len, '.');
            kind.len = p ? (size_t) (p - kind.data) : kind.len;
        }

        if (ngx_http_debug_kinds_find(&kind) != NULL
            && !ngx_http_debug_kept_lets(conf, &kind))
        {
            continue;
        }

        if (rest->len == 0) {
            seen = ngx_array_push(of.files);
            if (seen == NULL) {
                return NGX_ERROR;
            }

            *seen = f[i];
            continue;
        }

        if (!ngx_http_debug_kept_is(rest, f[i].kind.data, f[i].kind.len)) {
            continue;
        }

        len = rest->len;

        type = (len > 5
                && ngx_strncmp(rest->data + len - 5, ".json", 5) == 0)
               ? &json
               : (len > 4 && ngx_strncmp(rest->data + len - 4, ".txt", 4) == 0)
                 ? &text : &profile;

        return ngx_http_debug_kept_file(r, kcf, &f[i], type);
    }

    if (rest->len && !story) {
        return ngx_http_debug_answer_literal(r, NGX_HTTP_NOT_FOUND,
                                   "this incident has no such file");
    }

    if (story) {
        return ngx_http_debug_answer_literal(r, NGX_HTTP_NOT_FOUND,
                   "nginx ended before it could write what happened");
    }

    of.file = file;
    of.root = ngx_http_debug_incidents_load(r->pool, kcf, file);

    ngx_http_debug_out_init(&out, r->pool);

    if (ngx_http_debug_answer_is_text(r)) {
        ngx_http_debug_incidents_text(&out, &of);

        if (out.failed) {
            return NGX_ERROR;
        }

        return ngx_http_debug_answer_chain(r, NGX_HTTP_OK, &text, out.chain,
                                           out.size);
    }

    may.pprof = 1;
    may.pass = conf->pass;

    ngx_http_debug_page_begin(&out, "incident", &title, "../../", &may);
    ngx_http_debug_incidents_page(&out, &of);
    ngx_http_debug_page_end(&out);

    return ngx_http_debug_page_send(r, &out);
}


static void
ngx_http_debug_incidents_text(ngx_http_debug_out_t *out,
    ngx_http_debug_story_of_t *of)
{
    size_t                       i;
    json_t                      *files, *one;
    ngx_str_t                    s, side, kind;
    ngx_uint_t                   n;
    ngx_http_debug_disk_file_t  *f;

    ngx_http_debug_incidents_head(out, of);
    ngx_http_debug_out_literal(out, "\n");

    for (n = 1; /* void */ ; n++) {
        s = ngx_http_debug_incidents_word(of, n);

        if (s.len == 0) {
            break;
        }

        ngx_http_debug_out_literal(out, "  ");
        ngx_http_debug_out_str(out, &s);
        ngx_http_debug_out_literal(out, "\n");
    }

    ngx_http_debug_out_literal(out, "\n");
    ngx_http_debug_incidents_state(out, of, 0);
    ngx_http_debug_out_literal(out, "\n\n");

    f = of->files->elts;

    for (n = 0; n < of->files->nelts; n++) {
        ngx_http_debug_out_str(out, &f[n].kind);
        ngx_http_debug_out_print(out, "  %O\n", f[n].size);
    }

    files = json_object_get(of->root, "files");

    for (i = 0; i < json_array_size(files); i++) {
        one = json_array_get(files, i);
        s = ngx_http_debug_incidents_string(json_object_get(one, "error"));

        if (s.len == 0) {
            continue;
        }

        side = ngx_http_debug_incidents_string(json_object_get(one, "of"));
        kind = ngx_http_debug_incidents_string(json_object_get(one, "kind"));

        ngx_http_debug_out_literal(out, "no ");
        ngx_http_debug_out_str(out, &side);
        ngx_http_debug_out_literal(out, "-");
        ngx_http_debug_out_str(out, &kind);
        ngx_http_debug_out_literal(out, ": ");
        ngx_http_debug_out_str(out, &s);
        ngx_http_debug_out_literal(out, "\n");
    }
}


static void
ngx_http_debug_incidents_page(ngx_http_debug_out_t *out,
    ngx_http_debug_story_of_t *of)
{
    ngx_str_t   s;
    ngx_uint_t  n;

    ngx_http_debug_out_print(out, "<p id=\"incident\" class=\"muted\""
                             " data-id=\"%uL\" data-group=\"", of->file->time);
    ngx_http_debug_page_text(out, &of->file->group);
    ngx_http_debug_out_literal(out, "\" data-peer=\"");
    ngx_http_debug_page_text(out, &of->file->peer);
    ngx_http_debug_out_literal(out, "\">");
    ngx_http_debug_page_text(out, &of->file->peer);
    ngx_http_debug_out_literal(out, " of ");
    ngx_http_debug_page_text(out, &of->file->group);
    ngx_http_debug_out_literal(out, ", ");
    ngx_http_debug_incidents_time(out, of->file->time);
    ngx_http_debug_out_literal(out, "</p>\n<section class=\"card story\">\n"
                                    "<h2>What changed</h2>\n<ol id=\"words\">"
                                    "\n");

    for (n = 0; /* void */ ; n++) {
        s = ngx_http_debug_incidents_word(of, n);

        if (s.len == 0) {
            break;
        }

        ngx_http_debug_out_print(out, "<li%s>", n == 0 ? " class=\"first\""
                                                       : "");
        ngx_http_debug_page_text(out, &s);
        ngx_http_debug_out_literal(out, "</li>\n");
    }

    ngx_http_debug_out_literal(out, "</ol>\n</section>\n");

    ngx_http_debug_incidents_rows(out, of);

    ngx_http_debug_out_literal(out, "<p class=\"muted hint\">");
    ngx_http_debug_incidents_state(out, of, 1);
    ngx_http_debug_out_literal(out, " <a href=\"?json\">JSON</a></p>\n");
}


/* What was taken, of both. */

static void
ngx_http_debug_incidents_rows(ngx_http_debug_out_t *out,
    ngx_http_debug_story_of_t *of)
{
    size_t                  i;
    json_t                 *files, *one;
    ngx_str_t               s, side;
    ngx_uint_t              j, n;
    ngx_http_debug_kind_t  *known;

    static struct {
        ngx_str_t   kind;
        char       *title;
    } rows[] = {
        { ngx_string("goroutine"), "Threads" },
        { ngx_string("profile"), "CPU, 10 s" },
        { ngx_string("mutex"), NULL },
        { ngx_string("block"), NULL },
        { ngx_string("heap"), NULL },
        { ngx_string("process"), "Process, 15 min" },
        { ngx_string("numbers"), "Requests, 15 min" },
        { ngx_null_string, NULL }
    };

    ngx_http_debug_out_literal(out,
        "<div class=\"card scroll\" tabindex=\"0\" role=\"region\""
        " aria-label=\"Taken\">\n<table class=\"t\">\n"
        "<caption class=\"sr\">What was taken</caption>\n<thead><tr>"
        "<th class=\"l\" scope=\"col\">Taken</th>"
        "<th class=\"l\" scope=\"col\">Of the sick peer</th>"
        "<th class=\"l\" scope=\"col\">Of its sister</th>"
        "<th class=\"l\" scope=\"col\">Compare</th></tr></thead>\n<tbody>\n");

    files = json_object_get(of->root, "files");

    for (n = 0; rows[n].kind.len; n++) {
        known = ngx_http_debug_kinds_find(&rows[n].kind);

        ngx_http_debug_out_print(out, "<tr data-kind=\"%V\"><th class=\"l\""
                                 " scope=\"row\">%s</th>", &rows[n].kind,
                                 rows[n].title ? rows[n].title
                                 : known ? known->title : "");

        for (j = 0; j < 2; j++) {
            ngx_http_debug_out_literal(out, "<td class=\"l\">");

            if (ngx_http_debug_incidents_find(of, j ? "sister" : "sick",
                                              &rows[n].kind))
            {
                ngx_http_debug_incidents_link(out, of, &rows[n].kind,
                                              j ? "sister" : "sick");
            }

            for (i = 0; i < json_array_size(files); i++) {
                one = json_array_get(files, i);

                side = ngx_http_debug_incidents_string(
                                                 json_object_get(one, "of"));
                s = ngx_http_debug_incidents_string(
                                                 json_object_get(one, "kind"));

                if ((side.len == 6) != (j == 1)
                    || !ngx_http_debug_kept_is(&s, rows[n].kind.data,
                                               rows[n].kind.len))
                {
                    continue;
                }

                s = ngx_http_debug_incidents_string(
                                             json_object_get(one, "error"));

                ngx_http_debug_out_literal(out, "<span class=\"muted\">");
                ngx_http_debug_page_text(out, &s);
                ngx_http_debug_out_literal(out, "</span>");
            }

            ngx_http_debug_out_literal(out, "</td>");
        }

        ngx_http_debug_out_literal(out, "<td class=\"l\">");

        if (known != NULL
            && rows[n].kind.data[0] != 'g'
            && ngx_http_debug_incidents_find(of, "sick", &rows[n].kind)
            && ngx_http_debug_incidents_find(of, "sister", &rows[n].kind))
        {
            ngx_http_debug_out_print(out,
                "<a href=\"../../pprof/view?src=incidents/%uL/sick-%V.pb.gz"
                "&amp;base=incidents/%uL/sister-%V.pb.gz\">sick against"
                " sister</a>", of->file->time, &rows[n].kind, of->file->time,
                &rows[n].kind);
        }

        ngx_http_debug_out_literal(out, "</td></tr>\n");
    }

    ngx_http_debug_out_literal(out, "</tbody>\n</table>\n</div>\n");
}


static void
ngx_http_debug_incidents_link(ngx_http_debug_out_t *out,
    ngx_http_debug_story_of_t *of, ngx_str_t *kind, char *side)
{
    ngx_http_debug_disk_file_t  *f;

    f = ngx_http_debug_incidents_find(of, side, kind);

    if (ngx_http_debug_kinds_find(kind) != NULL) {
        ngx_http_debug_out_print(out,
            "<a href=\"../../pprof/view?src=incidents/%uL/%V%s\">view</a> ",
            of->file->time, &f->kind,
            kind->data[0] == 'g' ? "&amp;view=stacks" : "");
    }

    ngx_http_debug_out_print(out, "<a href=\"./%V\">%O bytes</a>", &f->kind,
                             f->size);
}


/* The file of KIND of a side; NULL: there is none. */

static ngx_http_debug_disk_file_t *
ngx_http_debug_incidents_find(ngx_http_debug_story_of_t *of, char *side,
    ngx_str_t *kind)
{
    u_char                      *p, name[64];
    ngx_uint_t                   i;
    ngx_http_debug_disk_file_t  *f;

    p = ngx_slprintf(name, name + sizeof(name), "%s-%V.", side, kind);

    f = of->files->elts;

    for (i = 0; i < of->files->nelts; i++) {
        if (f[i].kind.len > (size_t) (p - name)
            && ngx_memcmp(f[i].kind.data, name, p - name) == 0)
        {
            return &f[i];
        }
    }

    return NULL;
}


/* By which rule, when, beside whom; and whether it is all. */

static void
ngx_http_debug_incidents_state(ngx_http_debug_out_t *out,
    ngx_http_debug_story_of_t *of, ngx_uint_t page)
{
    uint64_t    ended, began;
    ngx_str_t   s;
    ngx_uint_t  i;

    static char  *names[] = { "rule", "file", "sister" };
    static char  *before[] = { "Rule ", " in ", ". Sister: " };

    if (of->root == NULL) {
        ngx_http_debug_out_literal(out,
            "nginx ended before it could write what happened.");
        return;
    }

    for (i = 0; i < 3; i++) {
        s = ngx_http_debug_incidents_string(json_object_get(of->root,
                                                            names[i]));
        ngx_http_debug_out_put(out, before[i], ngx_strlen(before[i]));

        if (s.len == 0) {
            ngx_http_debug_out_literal(out, "none that is well");

        } else if (page) {
            ngx_http_debug_page_text(out, &s);

        } else {
            ngx_http_debug_out_str(out, &s);
        }

        if (i == 1) {
            ngx_http_debug_out_print(out, ":%uL",
                       ngx_http_debug_incidents_number(of->root, "line"));
        }
    }

    ngx_http_debug_out_literal(out, ". Crossed ");
    ngx_http_debug_incidents_time(out,
                  ngx_http_debug_incidents_number(of->root, "crossed"));

    began = ngx_http_debug_incidents_number(of->root, "began");
    ended = ngx_http_debug_incidents_number(of->root, "ended");

    ngx_http_debug_out_literal(out, ", taken from ");
    ngx_http_debug_incidents_time(out, began);

    if (ended) {
        ngx_http_debug_out_literal(out, " to ");
        ngx_http_debug_incidents_time(out, ended);

    } else if (began / 1000 + NGX_HTTP_DEBUG_INCIDENTS_DEAD
               < (uint64_t) ngx_time())
    {
        ngx_http_debug_out_literal(out, "; nginx ended before it had all");

    } else {
        ngx_http_debug_out_literal(out, " on: it is not all yet");
    }

    ngx_http_debug_out_literal(out, ".");
}


/* NULL: there is no incident.json, or it is none. */

static json_t *
ngx_http_debug_incidents_load(ngx_pool_t *pool,
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_disk_file_t *file)
{
    u_char                      *path, *data;
    json_t                      *root;
    ssize_t                      n;
    ngx_fd_t                     fd;
    ngx_str_t                    name;
    ngx_file_info_t              fi;
    ngx_pool_cleanup_t          *cln;
    ngx_http_debug_disk_file_t   f;

    name.len = file->name.len + sizeof("/incident.json") - 1;
    name.data = ngx_pnalloc(pool, name.len);
    cln = ngx_pool_cleanup_add(pool, 0);

    if (name.data == NULL || cln == NULL) {
        return NULL;
    }

    (void) ngx_sprintf(name.data, "%V/incident.json", &file->name);

    if (ngx_http_debug_disk_path(pool, kcf, &name, &path) != NGX_OK
        || ngx_link_info(path, &fi) == NGX_FILE_ERROR
        || ngx_file_size(&fi) > NGX_HTTP_DEBUG_INCIDENTS_STORY)
    {
        return NULL;
    }

    f = *file;
    f.size = ngx_file_size(&fi);

    data = ngx_pnalloc(pool, f.size + 1);
    fd = data ? ngx_http_debug_disk_read(&f, path) : NGX_INVALID_FILE;

    if (fd == NGX_INVALID_FILE) {
        return NULL;
    }

    n = ngx_read_fd(fd, data, f.size);
    (void) ngx_close_file(fd);

    root = (n > 0) ? json_loadb((char *) data, n, 0, NULL) : NULL;

    if (root != NULL) {
        cln->handler = ngx_http_debug_incidents_free;
        cln->data = root;
    }

    return root;
}


static void
ngx_http_debug_incidents_free(void *data)
{
    json_decref(data);
}


/* The N-th of its words; empty: there are no more. */

static ngx_str_t
ngx_http_debug_incidents_word(ngx_http_debug_story_of_t *of, ngx_uint_t n)
{
    return ngx_http_debug_incidents_string(
               json_array_get(json_object_get(of->root, "words"), n));
}


static ngx_str_t
ngx_http_debug_incidents_string(json_t *json)
{
    ngx_str_t  s;

    s.data = (u_char *) json_string_value(json);
    s.len = s.data ? json_string_length(json) : 0;

    return s;
}


static uint64_t
ngx_http_debug_incidents_number(json_t *root, char *name)
{
    json_int_t  n;

    n = json_integer_value(json_object_get(root, name));

    return n > 0 ? n : 0;
}


static void
ngx_http_debug_incidents_time(ngx_http_debug_out_t *out, uint64_t ms)
{
    ngx_tm_t  tm;

    ngx_gmtime(ms / 1000, &tm);

    ngx_http_debug_out_print(out, "%4d-%02d-%02d %02d:%02d:%02d UTC",
                             tm.ngx_tm_year, tm.ngx_tm_mon, tm.ngx_tm_mday,
                             tm.ngx_tm_hour, tm.ngx_tm_min, tm.ngx_tm_sec);
}
