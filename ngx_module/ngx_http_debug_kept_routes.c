
/*
 * What is below pprof/kept/: the list as a page and as JSON, the files, and
 * the form by which one is taken by hand.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_access.h"
#include "ngx_http_debug_answer.h"
#include "ngx_http_debug_body.h"
#include "ngx_http_debug_faces.h"
#include "ngx_http_debug_kept_disk.h"
#include "ngx_http_debug_kept_take.h"
#include "ngx_http_debug_kinds.h"
#include "ngx_http_debug_out.h"
#include "ngx_http_debug_page.h"
#include "ngx_http_debug_peers.h"


#define NGX_HTTP_DEBUG_KEPT_FORM     4096    /* bytes of a POST */
#define NGX_HTTP_DEBUG_KEPT_TIMES    1000


/* of a POST, in the pool of its request */

typedef struct {
    ngx_http_debug_kept_conf_t   *conf;
    ngx_http_debug_pprof_conf_t  *pprof;
} ngx_http_debug_kept_wish_t;


static ngx_int_t ngx_http_debug_kept_json(ngx_http_request_t *r,
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_pprof_conf_t *conf);
static void ngx_http_debug_kept_names(ngx_http_debug_out_t *out,
    ngx_str_t *group, ngx_str_t *peer, ngx_str_t *kind);
static void ngx_http_debug_kept_link(ngx_http_debug_out_t *out,
    ngx_http_debug_disk_file_t *file);
static ngx_int_t ngx_http_debug_kept_page(ngx_http_request_t *r,
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_pprof_conf_t *conf);
static ngx_int_t ngx_http_debug_kept_send(ngx_http_request_t *r,
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_pprof_conf_t *conf,
    ngx_str_t *rest);

static ngx_int_t ngx_http_debug_kept_post(ngx_http_request_t *r,
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_pprof_conf_t *conf);
static ngx_http_debug_kept_wish_t *ngx_http_debug_kept_get_wish(
    ngx_http_request_t *r);
static void ngx_http_debug_kept_pool_cleanup(void *data);
static void ngx_http_debug_kept_form(ngx_http_request_t *r);
static ngx_int_t ngx_http_debug_kept_take(ngx_http_request_t *r,
    ngx_str_t *form);
static ngx_int_t ngx_http_debug_kept_field(ngx_pool_t *pool, ngx_str_t *form,
    char *name, ngx_str_t *value);
static void ngx_http_debug_kept_hand_done(ngx_http_debug_take_t *job);
static void ngx_http_debug_kept_left(void *data);


ngx_int_t
ngx_http_debug_kept_handler(ngx_http_request_t *r,
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_pprof_conf_t *conf,
    ngx_str_t *rest)
{
    static ngx_str_t  get = ngx_string("GET, HEAD");
    static ngx_str_t  post = ngx_string("GET, HEAD, POST");

    if (r != r->main) {
        return NGX_HTTP_FORBIDDEN;
    }

    if (r->method == NGX_HTTP_POST && rest->len == 0) {

        if (kcf->path == NULL) {
            return ngx_http_debug_answer_literal(r, NGX_HTTP_NOT_FOUND,
                       "nginx keeps no snapshots; see debug_snapshots");
        }

        return ngx_http_debug_kept_post(r, kcf, conf);
    }

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {

        if (ngx_http_debug_header_add(r, "Allow", rest->len ? &get : &post)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        return ngx_http_debug_answer_literal(r, NGX_HTTP_NOT_ALLOWED,
                                   "snapshots are read with GET and HEAD");
    }

    if (rest->len) {
        return ngx_http_debug_kept_send(r, kcf, conf, rest);
    }

    if (ngx_http_debug_kept_is(&r->args, (u_char *) "json", 4)) {
        return ngx_http_debug_kept_json(r, kcf, conf);
    }

    return ngx_http_debug_kept_page(r, kcf, conf);
}


static ngx_int_t
ngx_http_debug_kept_json(ngx_http_request_t *r,
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_pprof_conf_t *conf)
{
    ngx_str_t                      group, peer, kind, error;
    ngx_uint_t                     i, more;
    ngx_time_t                    *tp;
    ngx_array_t                   *list;
    ngx_http_debug_out_t           out;
    ngx_http_debug_kept_plan_t    *pl;
    ngx_http_debug_disk_file_t    *file;
    ngx_http_debug_kept_shared_t  *sh;

    static ngx_str_t  json = ngx_string("application/json");

    ngx_http_debug_out_init(&out, r->pool);

    tp = ngx_timeofday();

    ngx_http_debug_out_print(&out, "{\"v\":1,\"now\":%uL",
                             (uint64_t) tp->sec * 1000 + tp->msec);

    if (kcf->path == NULL) {
        ngx_http_debug_out_literal(&out, ",\"enabled\":false,\"error\":null,"
                                         "\"planned\":[],\"kept\":[]}");
        goto send;
    }

    /* a copy, so that the mutex is not held while memory is asked for */

    sh = ngx_palloc(r->pool, sizeof(ngx_http_debug_kept_shared_t));
    list = ngx_http_debug_disk_list(r->pool, kcf, conf, NULL);

    if (sh == NULL || list == NULL) {
        return NGX_ERROR;
    }

    ngx_http_debug_kept_lock(kcf);
    *sh = *(ngx_http_debug_kept_shared_t *) kcf->zone->data;
    ngx_http_debug_kept_unlock(kcf);

    ngx_http_debug_out_print(&out,
                       ",\"enabled\":true,\"every\":%uL,\"keep\":%ui,"
                       "\"space\":%O,\"error\":",
                       (uint64_t) kcf->every / 1000, kcf->keep, kcf->space);

    if (sh->error_len) {
        error.len = sh->error_len;
        error.data = sh->error;
        ngx_http_debug_json_string(&out, &error);

    } else {
        ngx_http_debug_out_literal(&out, "null");
    }

    ngx_http_debug_out_literal(&out, ",\"planned\":[");
    more = 0;

    for (i = 0; i < NGX_HTTP_DEBUG_KEPT_PLANS; i++) {
        pl = &sh->plan[i];

        group.len = pl->group_len;
        group.data = pl->group;
        peer.len = pl->peer_len;
        peer.data = pl->peer;
        kind.len = pl->kind_len;
        kind.data = pl->kind;

        if (pl->left == 0 || !ngx_http_debug_kept_shown(conf, &group, &kind)) {
            continue;
        }

        ngx_http_debug_out_print(&out, "%s{", more++ ? "," : "");
        ngx_http_debug_kept_names(&out, &group, &peer, &kind);
        ngx_http_debug_out_print(&out,
                     ",\"every\":%uL,\"left\":%ui,\"next\":%T}",
                     (uint64_t) pl->every / 1000, pl->left,
                     tp->sec + ((ngx_msec_int_t) (pl->next - ngx_current_msec)
                                + 999) / 1000);
    }

    ngx_http_debug_out_literal(&out, "],\"kept\":[");

    file = list->elts;

    for (i = 0; i < list->nelts; i++) {

        ngx_http_debug_out_print(&out, "%s\n{\"id\":\"", i ? "," : "");
        ngx_http_debug_kept_link(&out, &file[i]);
        ngx_http_debug_out_literal(&out, "\",");
        ngx_http_debug_kept_names(&out, &file[i].group, &file[i].peer,
                                  &file[i].kind);
        ngx_http_debug_out_print(&out, ",\"time\":%uL,\"pid\":",
                                 file[i].time / 1000);

        if (file[i].pid) {
            ngx_http_debug_out_print(&out, "%ui", file[i].pid);

        } else {
            ngx_http_debug_out_literal(&out, "null");
        }

        ngx_http_debug_out_print(&out, ",\"size\":%O,\"by\":\"%s\"}",
                                 file[i].size,
                                 file[i].by == 'h' ? "hand" : "timer");
    }

    ngx_http_debug_out_literal(&out, "]}");

send:

    ngx_http_debug_out_literal(&out, "\n");

    if (out.failed) {
        return NGX_ERROR;
    }

    return ngx_http_debug_answer_chain(r, NGX_HTTP_OK, &json, out.chain,
                                       out.size);
}


static void
ngx_http_debug_kept_names(ngx_http_debug_out_t *out, ngx_str_t *group,
    ngx_str_t *peer, ngx_str_t *kind)
{
    ngx_http_debug_out_literal(out, "\"group\":");
    ngx_http_debug_json_string(out, group);
    ngx_http_debug_out_literal(out, ",\"peer\":");
    ngx_http_debug_json_string(out, peer);
    ngx_http_debug_out_literal(out, ",\"kind\":");
    ngx_http_debug_json_string(out, kind);
}


/* The way to a file from pprof/kept/; nothing in it needs quotes. */

static void
ngx_http_debug_kept_link(ngx_http_debug_out_t *out,
    ngx_http_debug_disk_file_t *file)
{
    ngx_http_debug_page_segment(out, &file->group);
    ngx_http_debug_out_literal(out, "/");
    ngx_http_debug_page_segment(out, &file->peer);
    ngx_http_debug_out_literal(out, "/");
    ngx_http_debug_page_segment(out, &file->kind);
    ngx_http_debug_out_print(out, "/%uL", file->time);

    if (file->pid) {
        ngx_http_debug_out_print(out, "-%ui", file->pid);
    }

    ngx_http_debug_out_literal(out, ".pb.gz");
}


static ngx_int_t
ngx_http_debug_kept_page(ngx_http_request_t *r,
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_pprof_conf_t *conf)
{
    ngx_tm_t                       tm;
    ngx_str_t                      error;
    ngx_uint_t                     i;
    ngx_array_t                   *list;
    ngx_http_debug_out_t           out;
    ngx_http_debug_disk_file_t    *file;
    ngx_http_debug_kept_shared_t  *sh;
    ngx_http_debug_page_may_t      may;

    static ngx_str_t  title = ngx_string("Snapshots");

    may.pprof = 1;
    may.pass = conf->pass;

    ngx_http_debug_out_init(&out, r->pool);
    ngx_http_debug_page_begin(&out, "kept", &title, "../../", &may);

    if (kcf->path == NULL) {
        ngx_http_debug_out_literal(&out,
            "<p class=\"empty\">nginx keeps no snapshots: the directive"
            " debug_snapshots says where.</p>\n");
        goto send;
    }

    list = ngx_http_debug_disk_list(r->pool, kcf, conf, NULL);
    error.data = ngx_pnalloc(r->pool, NGX_HTTP_DEBUG_KEPT_ERROR);

    if (list == NULL || error.data == NULL) {
        return NGX_ERROR;
    }

    sh = kcf->zone->data;

    ngx_http_debug_kept_lock(kcf);
    error.len = sh->error_len;
    ngx_memcpy(error.data, sh->error, error.len);
    ngx_http_debug_kept_unlock(kcf);

    if (error.len) {
        ngx_http_debug_out_literal(&out,
            "<p class=\"banner bad\">Nothing can be kept: ");
        ngx_http_debug_page_text(&out, &error);
        ngx_http_debug_out_literal(&out, "</p>\n");
    }

    ngx_http_debug_out_literal(&out,
        "<div id=\"kept\" class=\"card scroll\" tabindex=\"0\""
        " role=\"region\" aria-label=\"Snapshots\">\n"
        "<table class=\"t\">\n<caption class=\"sr\">Snapshots, newest"
        " first</caption>\n<thead><tr>"
        "<th class=\"l\" scope=\"col\">Taken</th>"
        "<th class=\"l\" scope=\"col\">Upstream</th>"
        "<th class=\"l\" scope=\"col\">Peer</th>"
        "<th class=\"l\" scope=\"col\">Profile</th>"
        "<th scope=\"col\">Bytes</th>"
        "<th class=\"l\" scope=\"col\">Open</th>"
        "</tr></thead>\n<tbody>\n");

    file = list->elts;

    for (i = 0; i < list->nelts; i++) {

        ngx_gmtime(file[i].time / 1000, &tm);

        ngx_http_debug_out_print(&out,
            "<tr><th class=\"l\" scope=\"row\">"
            "%4d-%02d-%02d %02d:%02d:%02d UTC</th><td class=\"l\">",
            tm.ngx_tm_year, tm.ngx_tm_mon, tm.ngx_tm_mday, tm.ngx_tm_hour,
            tm.ngx_tm_min, tm.ngx_tm_sec);
        ngx_http_debug_page_text(&out, &file[i].group);
        ngx_http_debug_out_literal(&out, "</td><td class=\"l\">");
        ngx_http_debug_page_text(&out, &file[i].peer);
        ngx_http_debug_out_literal(&out, "</td><td class=\"l\">");
        ngx_http_debug_page_text(&out, &file[i].kind);
        ngx_http_debug_out_print(&out,
            "</td><td>%O</td><td class=\"l\"><a href=\"./", file[i].size);
        ngx_http_debug_kept_link(&out, &file[i]);
        ngx_http_debug_out_literal(&out, "\">Download</a></td></tr>\n");
    }

    if (list->nelts == 0) {
        ngx_http_debug_out_literal(&out,
            "<tr><td class=\"l\" colspan=\"6\">No snapshot yet.</td></tr>\n");
    }

    ngx_http_debug_out_literal(&out, "</tbody>\n</table>\n</div>\n");

send:

    ngx_http_debug_page_end(&out);

    return ngx_http_debug_page_send(r, &out);
}


/* A file that the list has; no part of the URI becomes a part of a path. */

static ngx_int_t
ngx_http_debug_kept_send(ngx_http_request_t *r,
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_pprof_conf_t *conf,
    ngx_str_t *rest)
{
    size_t                       len;
    u_char                      *id, *p;
    ngx_uint_t                   i;
    ngx_array_t                 *list;
    ngx_http_debug_disk_file_t  *file;

    static ngx_str_t  type = ngx_string("application/octet-stream");

    if (kcf->path == NULL) {
        return ngx_http_debug_answer_literal(r, NGX_HTTP_NOT_FOUND,
                   "nginx keeps no snapshots; see debug_snapshots");
    }

    list = ngx_http_debug_disk_list(r->pool, kcf, conf, NULL);
    if (list == NULL) {
        return NGX_ERROR;
    }

    file = list->elts;

    for (i = 0; i < list->nelts; i++) {

        len = file[i].group.len + file[i].peer.len + file[i].kind.len
              + 2 * NGX_INT64_LEN + sizeof("///-.pb.gz");

        if (rest->len > len) {
            continue;
        }

        id = ngx_pnalloc(r->pool, len);
        if (id == NULL) {
            return NGX_ERROR;
        }

        p = ngx_sprintf(id, "%V/%V/%V/%uL", &file[i].group, &file[i].peer,
                        &file[i].kind, file[i].time);

        if (file[i].pid) {
            p = ngx_sprintf(p, "-%ui", file[i].pid);
        }

        p = ngx_cpymem(p, ".pb.gz", sizeof(".pb.gz") - 1);

        if (ngx_http_debug_kept_is(rest, id, p - id)) {
            break;
        }
    }

    if (i == list->nelts) {
        return ngx_http_debug_answer_literal(r, NGX_HTTP_NOT_FOUND,
                   "there is no such snapshot, or no more: the oldest are"
                   " removed when there are more than debug_snapshots keeps");
    }

    return ngx_http_debug_kept_file(r, kcf, &file[i], &type);
}


ngx_int_t
ngx_http_debug_kept_file(ngx_http_request_t *r,
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_disk_file_t *file,
    ngx_str_t *type)
{
    u_char       *path;
    ssize_t       n;
    ngx_fd_t      fd;
    ngx_buf_t    *b;
    ngx_chain_t   out;

    if (file->size == 0 || file->size > NGX_HTTP_DEBUG_KEPT_MAX) {
        return ngx_http_debug_answer_literal(r, NGX_HTTP_NOT_FOUND,
                                             "this file is no snapshot");
    }

    if (ngx_http_debug_disk_path(r->pool, kcf, &file->name, &path) != NGX_OK) {
        return NGX_ERROR;
    }

    b = ngx_create_temp_buf(r->pool, file->size);
    if (b == NULL) {
        return NGX_ERROR;
    }

    fd = ngx_http_debug_disk_read(file, path);
    n = NGX_ERROR;

    if (fd != NGX_INVALID_FILE) {
        n = ngx_read_fd(fd, b->pos, file->size);
        (void) ngx_close_file(fd);
    }

    if (n != file->size) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, ngx_errno,
                      "\"%s\" cannot be read", path);
        return ngx_http_debug_answer_literal(r,
                   NGX_HTTP_INTERNAL_SERVER_ERROR,
                   "this snapshot cannot be read; the error log says why");
    }

    b->last += n;

    if (ngx_http_debug_answer_sandbox(r) != NGX_OK) {
        return NGX_ERROR;
    }

    out.buf = b;
    out.next = NULL;

    return ngx_http_debug_answer_chain(r, NGX_HTTP_OK, type, &out, n);
}


/* Takes one now. */

static ngx_int_t
ngx_http_debug_kept_post(ngx_http_request_t *r,
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_pprof_conf_t *conf)
{
    ngx_int_t                    rc;
    ngx_pool_cleanup_t          *cln;
    ngx_http_debug_kept_wish_t   *wish;

    rc = ngx_http_debug_access_site(r);
    if (rc != NGX_DECLINED) {
        return rc;
    }

    if (r->headers_in.content_length_n < 0) {
        return ngx_http_debug_answer_literal(r, NGX_HTTP_LENGTH_REQUIRED,
                   "a snapshot is asked for with group, peer and kind in a"
                   " form, with its Content-Length");
    }

    if (r->headers_in.content_length_n > NGX_HTTP_DEBUG_KEPT_FORM) {
        return ngx_http_debug_answer_literal(r,
                   NGX_HTTP_REQUEST_ENTITY_TOO_LARGE, "too large a form");
    }

    /* where its cleanup is, since r->ctx is the recorder's */

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_debug_kept_wish_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    wish = cln->data;
    wish->conf = kcf;
    wish->pprof = conf;
    cln->handler = ngx_http_debug_kept_pool_cleanup;

    r->request_body_in_file_only = 0;

    rc = ngx_http_read_client_request_body(r, ngx_http_debug_kept_form);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    return NGX_DONE;
}


static ngx_http_debug_kept_wish_t *
ngx_http_debug_kept_get_wish(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_debug_kept_pool_cleanup) {
            return cln->data;
        }
    }

    return NULL;
}


/* Marks what get_take() looks for. */

static void
ngx_http_debug_kept_pool_cleanup(void *data)
{
}


static void
ngx_http_debug_kept_form(ngx_http_request_t *r)
{
    u_char       *p;
    ngx_int_t     rc;
    ngx_str_t     form;
    ngx_chain_t  *cl;

    /* a copy: what others want as well is not to be decoded in place */

    form.len = 0;

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        form.len += ngx_buf_size(cl->buf);
    }

    form.data = ngx_pnalloc(r->pool, form.len + 1);

    if (form.data == NULL) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    p = form.data;

    for (cl = r->request_body->bufs; cl; cl = cl->next) {

        if (ngx_http_debug_body_copy(r, p, cl->buf) != NGX_OK) {
            ngx_http_finalize_request(r, NGX_ERROR);
            return;
        }

        p += ngx_buf_size(cl->buf);
    }

    rc = ngx_http_debug_kept_take(r, &form);

    if (rc != NGX_DONE) {
        ngx_http_finalize_request(r, rc);
    }
}


/* NGX_DONE: under way; otherwise it is answered. */

static ngx_int_t
ngx_http_debug_kept_take(ngx_http_request_t *r, ngx_str_t *form)
{
    u_char                        text[256];
    ngx_int_t                     n, every;
    ngx_str_t                     group, peer, kind, times, gap, path, tail,
                                  names;
    ngx_array_t                  *groups;
    ngx_http_cleanup_t           *cln;
    ngx_http_debug_peer_t        *p;
    ngx_http_debug_take_t    *job;
    ngx_http_debug_disk_file_t    file;
    ngx_http_debug_peer_group_t  *g;
    ngx_http_debug_kept_wish_t   *wish;

    wish = ngx_http_debug_kept_get_wish(r);

    if (ngx_http_debug_kept_field(r->pool, form, "group", &group) != NGX_OK
        || ngx_http_debug_kept_field(r->pool, form, "peer", &peer) != NGX_OK
        || ngx_http_debug_kept_field(r->pool, form, "kind", &kind) != NGX_OK
        || ngx_http_debug_kept_field(r->pool, form, "times", &times) != NGX_OK
        || ngx_http_debug_kept_field(r->pool, form, "every", &gap) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (kind.len == 0) {
        ngx_str_set(&kind, "heap");
    }

    n = times.len ? ngx_atoi(times.data, times.len) : 1;
    every = gap.len ? ngx_atoi(gap.data, gap.len) : 600;

    if (n < 1 || n > NGX_HTTP_DEBUG_KEPT_TIMES || every < 1 || every > 86400) {
        return ngx_http_debug_answer_literal(r, NGX_HTTP_BAD_REQUEST,
                   "\"times\" takes 1 to 1000, \"every\" 1 to 86400 seconds");
    }

    if (!ngx_http_debug_kept_known(&kind)) {
        ngx_http_debug_kinds_names(NGX_HTTP_DEBUG_KIND_KEPT, &names, text,
                                   sizeof(text));

        return ngx_http_debug_answer_say(r, NGX_HTTP_BAD_REQUEST,
                                         "\"kind\" takes %V", &names);
    }

    if (!ngx_http_debug_kept_shown(wish->pprof, &group, &kind)) {
        return ngx_http_debug_answer_literal(r, NGX_HTTP_FORBIDDEN,
                   "such profiles are not let through; see debug_pprof_pass"
                   " and debug_pprof_kinds");
    }

    groups = ngx_http_debug_peers_list(r->pool, wish->conf->asked->upstreams,
                                       wish->pprof->pass);
    if (groups == NULL) {
        return NGX_ERROR;
    }

    path.data = ngx_pnalloc(r->pool, group.len + peer.len + 2);
    if (path.data == NULL) {
        return NGX_ERROR;
    }

    path.len = ngx_sprintf(path.data, "%V/%V/", &group, &peer) - path.data;

    if (ngx_http_debug_peers_find(groups, &path, &g, &p, &tail) != NGX_OK
        || p == NULL || tail.len)
    {
        return ngx_http_debug_answer_literal(r, NGX_HTTP_NOT_FOUND,
                   "there is no such group with such a peer");
    }

    if (n > 1
        && (g->name.len > NGX_HTTP_DEBUG_KEPT_NAME
            || p->name.len > NGX_HTTP_DEBUG_KEPT_NAME))
    {
        return ngx_http_debug_answer_literal(r, NGX_HTTP_BAD_REQUEST,
                   "a name of more than 128 bytes cannot be planned for;"
                   " take them one by one");
    }

    if (p->sockaddr == NULL) {
        return ngx_http_debug_answer_literal(r, NGX_HTTP_NOT_FOUND,
                   "this peer has no listener in the second group of"
                   " debug_pprof_pass");
    }

    ngx_memzero(&file, sizeof(ngx_http_debug_disk_file_t));

    file.group = g->name;
    file.peer = p->name;
    file.kind = kind;
    file.by = 'h';

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    job = ngx_http_debug_take_create(wish->conf, &file);
    if (job == NULL) {
        return NGX_ERROR;
    }

    job->done = ngx_http_debug_kept_hand_done;
    job->request = r;
    job->max = wish->pprof->max;
    job->times = n;
    job->every = (ngx_msec_t) every * 1000;

    if (ngx_http_debug_take_begin(job, p->sockaddr, p->socklen, &p->pass,
                                  &p->prefix, wish->pprof->ssl,
                                  wish->pprof->write_timeout)
        != NGX_OK)
    {
        n = ngx_http_debug_answer_text(r, job->save.status, &job->save.error);
        ngx_destroy_pool(job->save.pool);
        return n;
    }

    /* who leaves finds the snapshot later */

    cln->handler = ngx_http_debug_kept_left;
    cln->data = job;
    job->cleanup = &cln->handler;

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    return NGX_DONE;
}


/* A field of a form, decoded; empty if it is not there. */

static ngx_int_t
ngx_http_debug_kept_field(ngx_pool_t *pool, ngx_str_t *form, char *name,
    ngx_str_t *value)
{
    u_char  *p, *last, *end, *dst, *src;
    size_t   len, i;

    len = ngx_strlen(name);
    last = form->data + form->len;

    ngx_str_null(value);

    for (p = form->data; p < last; p = end + 1) {

        end = ngx_strlchr(p, last, '&');
        if (end == NULL) {
            end = last;
        }

        if ((size_t) (end - p) <= len
            || p[len] != '='
            || ngx_strncmp(p, name, len) != 0)
        {
            continue;
        }

        p += len + 1;

        value->data = ngx_pnalloc(pool, end - p + 1);
        if (value->data == NULL) {
            return NGX_ERROR;
        }

        for (i = 0; p + i < end; i++) {
            if (p[i] == '+') {
                p[i] = ' ';
            }
        }

        dst = value->data;
        src = p;

        ngx_unescape_uri(&dst, &src, end - p, 0);

        value->len = dst - value->data;

        return NGX_OK;
    }

    return NGX_OK;
}


static void
ngx_http_debug_kept_hand_done(ngx_http_debug_take_t *job)
{
    ngx_int_t              rc;
    ngx_str_t              location;
    ngx_table_elt_t       *accept;
    ngx_connection_t      *c;
    ngx_http_request_t    *r;
    ngx_http_debug_out_t   out;

    static ngx_str_t  here = ngx_string("./");

    if (job->save.error.len == 0
        && job->times > 1
        && ngx_http_debug_take_plan(job) != NGX_OK)
    {
        ngx_http_debug_disk_fail(&job->save, NGX_HTTP_SERVICE_UNAVAILABLE,
                   "one snapshot was taken, but the others are not planned:"
                   " %d series are under way already",
                   NGX_HTTP_DEBUG_KEPT_PLANS);
    }

    r = job->request;

    if (r == NULL) {
        return;
    }

    /* the request may live on, while its answer is sent */

    *job->cleanup = NULL;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    if (job->save.error.len) {
        rc = ngx_http_debug_answer_text(r, job->save.status, &job->save.error);
        goto done;
    }

    /* a form without a script goes back to the page */

    accept = ngx_http_debug_header_find(r, "accept");

    if (accept != NULL
        && ngx_strnstr(accept->value.data, "text/html", accept->value.len))
    {
        rc = ngx_http_debug_answer_redirect(r, NGX_HTTP_SEE_OTHER, &here);
        goto done;
    }

    ngx_http_debug_out_init(&out, r->pool);
    ngx_http_debug_out_literal(&out, "./");
    ngx_http_debug_kept_link(&out, &job->save.file);

    if (out.failed || out.chain->next != NULL) {
        rc = NGX_ERROR;
        goto done;
    }

    location.data = out.chain->buf->pos;
    location.len = out.size;

    if (ngx_http_debug_header_add(r, "Location", &location) != NGX_OK) {
        rc = NGX_ERROR;
        goto done;
    }

    rc = ngx_http_debug_answer_literal(r, NGX_HTTP_CREATED, "kept");

done:

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}


/* The client has gone: the job goes on without. */

static void
ngx_http_debug_kept_left(void *data)
{
    ngx_http_debug_take_t *job = data;

    job->request = NULL;
}
