
/*
 * What is under way now: the page and its data.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_answer.h"
#include "ngx_http_debug_faces.h"
#include "ngx_http_debug_mark.h"
#include "ngx_http_debug_out.h"
#include "ngx_http_debug_page.h"
#include "ngx_http_debug_record_each.h"
#include "ngx_http_debug_requests.h"
#include "ngx_http_debug_slot.h"
#include "ngx_http_debug_task.h"


#define NGX_HTTP_DEBUG_REQUESTS_MAX   10000   /* rows of an answer */
#define NGX_HTTP_DEBUG_REQUESTS_PAGE  200     /* of the page without a script */
#define NGX_HTTP_DEBUG_REQUESTS_STEP  256     /* of an event-loop turn */


/* Where one is, and since when. */

typedef struct {
    uint64_t                       begun;
    uint32_t                       lane;
    uint32_t                       slot;
} ngx_http_debug_requests_at_t;


typedef struct {
    ngx_http_debug_out_t          *out;
    ngx_http_debug_zone_t         *zone;
    uint64_t                       now;
    ngx_array_t                    list;    /* of ..._at_t, the oldest first */
    ngx_uint_t                     most;
    ngx_uint_t                     next;
    ngx_uint_t                     shown;
    uint64_t                       left;
    ngx_http_debug_page_may_t      may;
} ngx_http_debug_requests_ctx_t;


/* One, with its names. */

typedef struct {
    ngx_http_debug_slot_t          slot;
    ngx_http_debug_entity_t       *server;
    ngx_http_debug_entity_t       *group;
    ngx_http_debug_entity_t       *peer;
    ngx_str_t                      route;
    ngx_str_t                      path;
    ngx_str_t                      client;
    ngx_str_t                     *method;
    ngx_uint_t                     cut;
    uint64_t                       age;     /* ns */
    int64_t                        pid;
    ngx_uint_t                     old;
} ngx_http_debug_requests_row_t;


static ngx_http_debug_requests_ctx_t *ngx_http_debug_requests_create(
    ngx_http_request_t *r, ngx_http_debug_record_main_conf_t *rmcf,
    ngx_http_debug_requests_t *asked);
static ngx_uint_t ngx_http_debug_requests_match(ngx_http_debug_zone_t *zone,
    ngx_http_debug_slot_t *slot, ngx_http_debug_requests_t *asked);
static void ngx_http_debug_requests_where(ngx_http_debug_zone_t *zone,
    ngx_http_debug_slot_t *slot, ngx_http_debug_entity_t **group,
    ngx_http_debug_entity_t **peer);
static int ngx_libc_cdecl ngx_http_debug_requests_older(const void *one,
    const void *two);
static ngx_uint_t ngx_http_debug_requests_row(
    ngx_http_debug_requests_ctx_t *ctx, ngx_http_debug_requests_at_t *at,
    ngx_http_debug_requests_row_t *row);
static ngx_int_t ngx_http_debug_requests_step(void *data);
static void ngx_http_debug_requests_json(ngx_http_debug_requests_ctx_t *ctx,
    ngx_http_debug_requests_row_t *row);
static void ngx_http_debug_requests_string(ngx_http_debug_out_t *out,
    char *key, ngx_str_t *value);
static ngx_str_t ngx_http_debug_requests_of(ngx_http_debug_entity_t *e);
static void ngx_http_debug_requests_name(ngx_http_debug_out_t *out, char *key,
    ngx_http_debug_entity_t *e);
static void ngx_http_debug_requests_seconds(ngx_http_debug_out_t *out,
    uint64_t ns);
static ngx_int_t ngx_http_debug_requests_page(ngx_http_request_t *r,
    ngx_http_debug_requests_ctx_t *ctx);
static void ngx_http_debug_requests_html(ngx_http_debug_requests_ctx_t *ctx,
    ngx_http_debug_requests_row_t *row);
static void ngx_http_debug_requests_text(ngx_http_debug_out_t *out,
    ngx_str_t *text);
static void ngx_http_debug_requests_entity(ngx_http_debug_out_t *out,
    ngx_http_debug_entity_t *e);


/* in the order of NGX_HTTP_DEBUG_WAY_...: for scripts, for people */

static struct {
    ngx_str_t   name;
    char       *text;
} ngx_http_debug_ways[] = {
    { ngx_string("request"), "in nginx" },
    { ngx_string("connecting"), "connecting" },
    { ngx_string("asking"), "sending the request" },
    { ngx_string("waiting"), "waiting for the answer" },
    { ngx_string("reading"), "reading the answer" },
    { ngx_string("sending"), "sending to the client" },
    { ngx_string("upgraded"), "upgraded" }
};


ngx_int_t
ngx_http_debug_requests(ngx_http_request_t *r,
    ngx_http_debug_record_main_conf_t *rmcf, ngx_http_debug_requests_t *asked,
    ngx_uint_t json)
{
    ngx_uint_t                      i;
    ngx_time_t                     *tp;
    ngx_http_debug_requests_ctx_t  *ctx;

    static ngx_str_t  type = ngx_string("application/json");

    for (i = 0; asked->state.len && i < NGX_HTTP_DEBUG_WAYS; i++) {
        if (asked->state.len == ngx_http_debug_ways[i].name.len
            && ngx_memcmp(asked->state.data, ngx_http_debug_ways[i].name.data,
                          asked->state.len) == 0)
        {
            break;
        }
    }

    if (i == NGX_HTTP_DEBUG_WAYS
        || asked->most < 0 || asked->most > NGX_HTTP_DEBUG_REQUESTS_MAX)
    {
        return ngx_http_debug_answer_literal(r, NGX_HTTP_BAD_REQUEST,
                  "\"n\" takes a number of requests, at most 10000, \"state\""
                  " request, connecting, asking, waiting, reading, sending"
                  " or upgraded");
    }

    /* from now on other processes look oftener, too */

    __atomic_store_n(&rmcf->zone->watched, ngx_http_debug_now(),
                     __ATOMIC_RELAXED);

    ngx_http_debug_record_each_look(rmcf);

    ctx = ngx_http_debug_requests_create(r, rmcf, asked);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    ctx->may = asked->may;

    if (!json) {
        return ngx_http_debug_requests_page(r, ctx);
    }

    tp = ngx_timeofday();

    ngx_http_debug_out_print(ctx->out,
                             "{\"v\":1,\"now\":%uL,\"under_way\":%ui,"
                             "\"left_out\":%uL,\"requests\":[",
                             (uint64_t) tp->sec * 1000 + tp->msec,
                             ctx->list.nelts, ctx->left);

    return ngx_http_debug_task_run(r, &type, ctx->out,
                                   ngx_http_debug_requests_step, ctx);
}


/* Finds all that are under way. */

static ngx_http_debug_requests_ctx_t *
ngx_http_debug_requests_create(ngx_http_request_t *r,
    ngx_http_debug_record_main_conf_t *rmcf, ngx_http_debug_requests_t *asked)
{
    int32_t                         left;
    uint32_t                        offset;
    uint64_t                        begun;
    ngx_uint_t                      i, n, last, top, filter;
    ngx_http_debug_lane_t          *lane;
    ngx_http_debug_slot_t          *slot, copy;
    ngx_http_debug_zone_t          *zone;
    ngx_http_debug_requests_at_t   *at;
    ngx_http_debug_requests_ctx_t  *ctx;

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_debug_requests_ctx_t));
    if (ctx == NULL) {
        return NULL;
    }

    ctx->out = ngx_http_debug_out_create(r->pool);

    if (ctx->out == NULL
        || ngx_array_init(&ctx->list, r->pool, 64,
                          sizeof(ngx_http_debug_requests_at_t))
           != NGX_OK)
    {
        return NULL;
    }

    zone = rmcf->zone;

    ctx->zone = zone;
    ctx->now = ngx_http_debug_now();
    ctx->most = asked->most ? asked->most : NGX_HTTP_DEBUG_REQUESTS_MAX;

    filter = asked->names.server.len || asked->names.upstream.len
             || asked->names.peer.len || asked->route.len || asked->state.len;

    last = ngx_http_debug_load(&zone->lanes);

    for (i = 0; i <= NGX_HTTP_DEBUG_LANES; i++) {

        if (i == last) {

            /* that of those that found none of their own */

            i = NGX_HTTP_DEBUG_LANES;
        }

        lane = &zone->lane[i];
        left = ngx_http_debug_load(&lane->left);
        ctx->left += ngx_max(left, 0);

        offset = __atomic_load_n(&lane->slot, __ATOMIC_ACQUIRE);

        if (offset == 0 || ngx_http_debug_load(&lane->pid) == 0) {
            continue;
        }

        slot = ngx_http_debug_zone_at(zone, (uint64_t) offset * 64);
        top = ngx_min(ngx_http_debug_load(&lane->top),
                      ngx_http_debug_load(&lane->slots));

        for (n = 0; n < top; n++) {
            begun = ngx_http_debug_load(&slot[n].begun);

            if (begun == 0
                || (filter
                    && (!ngx_http_debug_slot_read(&slot[n], &copy)
                        || !ngx_http_debug_requests_match(zone, &copy,
                                                          asked))))
            {
                continue;
            }

            at = ngx_array_push(&ctx->list);
            if (at == NULL) {
                return NULL;
            }

            at->begun = begun;
            at->lane = i;
            at->slot = n;
        }
    }

    ngx_qsort(ctx->list.elts, ctx->list.nelts,
              sizeof(ngx_http_debug_requests_at_t),
              ngx_http_debug_requests_older);

    return ctx;
}


static int ngx_libc_cdecl
ngx_http_debug_requests_older(const void *one, const void *two)
{
    const ngx_http_debug_requests_at_t  *a = one;
    const ngx_http_debug_requests_at_t  *b = two;

    return (a->begun > b->begun) - (a->begun < b->begun);
}


static ngx_uint_t
ngx_http_debug_requests_match(ngx_http_debug_zone_t *zone,
    ngx_http_debug_slot_t *slot, ngx_http_debug_requests_t *asked)
{
    ngx_str_t                *state;
    ngx_http_debug_entity_t  *group, *peer, *server;

    state = &ngx_http_debug_ways[slot->state % NGX_HTTP_DEBUG_WAYS].name;

    if ((asked->state.len
         && (asked->state.len != state->len
             || ngx_memcmp(asked->state.data, state->data, state->len) != 0))
        || (asked->route.len
            && (asked->route.len != slot->route_len
                || slot->route_len > NGX_HTTP_DEBUG_SLOT_ROUTE
                || ngx_memcmp(asked->route.data, slot->route, slot->route_len)
                   != 0)))
    {
        return 0;
    }

    server = ngx_http_debug_zone_by_id(zone, slot->server);
    ngx_http_debug_requests_where(zone, slot, &group, &peer);

    return (asked->names.server.len == 0
            || ngx_http_debug_filter_has(&asked->names.server, server))
           && (asked->names.upstream.len == 0
               || ngx_http_debug_filter_has(&asked->names.upstream, group))
           && (asked->names.peer.len == 0
               || ngx_http_debug_filter_has(&asked->names.peer, peer));
}


/* The upstream and the peer, NULL where there is none. */

static void
ngx_http_debug_requests_where(ngx_http_debug_zone_t *zone,
    ngx_http_debug_slot_t *slot, ngx_http_debug_entity_t **group,
    ngx_http_debug_entity_t **peer)
{
    ngx_http_debug_entity_t  *e;

    *group = NULL;
    *peer = NULL;

    if (slot->peer == 0) {
        return;
    }

    e = ngx_http_debug_zone_by_id(zone, slot->peer - 1);

    if (e == NULL) {
        return;
    }

    if (e->kind == NGX_HTTP_DEBUG_PEER) {
        *peer = e;
        e = ngx_http_debug_zone_by_id(zone, e->group);
    }

    *group = e;
}


/* Returns 0 if it has ended. */

static ngx_uint_t
ngx_http_debug_requests_row(ngx_http_debug_requests_ctx_t *ctx,
    ngx_http_debug_requests_at_t *at, ngx_http_debug_requests_row_t *row)
{
    ngx_uint_t              i;
    ngx_http_debug_lane_t  *lane;
    ngx_http_debug_slot_t  *slot;

    static struct {
        uint32_t   bit;
        ngx_str_t  name;
    } methods[] = {
        { NGX_HTTP_GET, ngx_string("GET") },
        { NGX_HTTP_HEAD, ngx_string("HEAD") },
        { NGX_HTTP_POST, ngx_string("POST") },
        { NGX_HTTP_PUT, ngx_string("PUT") },
        { NGX_HTTP_DELETE, ngx_string("DELETE") },
        { NGX_HTTP_MKCOL, ngx_string("MKCOL") },
        { NGX_HTTP_COPY, ngx_string("COPY") },
        { NGX_HTTP_MOVE, ngx_string("MOVE") },
        { NGX_HTTP_OPTIONS, ngx_string("OPTIONS") },
        { NGX_HTTP_PROPFIND, ngx_string("PROPFIND") },
        { NGX_HTTP_PROPPATCH, ngx_string("PROPPATCH") },
        { NGX_HTTP_LOCK, ngx_string("LOCK") },
        { NGX_HTTP_UNLOCK, ngx_string("UNLOCK") },
        { NGX_HTTP_PATCH, ngx_string("PATCH") },
        { NGX_HTTP_TRACE, ngx_string("TRACE") },
        { 0, ngx_string("another") }
    };

    lane = &ctx->zone->lane[at->lane];
    slot = ngx_http_debug_zone_at(ctx->zone, (uint64_t) lane->slot * 64);
    slot += at->slot;

    if (!ngx_http_debug_slot_read(slot, &row->slot)
        || row->slot.begun != at->begun)
    {
        return 0;
    }

    slot = &row->slot;

    row->server = ngx_http_debug_zone_by_id(ctx->zone, slot->server);
    ngx_http_debug_requests_where(ctx->zone, slot, &row->group, &row->peer);

    row->route.data = slot->route;
    row->route.len = ngx_min(slot->route_len, NGX_HTTP_DEBUG_SLOT_ROUTE);
    row->client.data = slot->client;
    row->client.len = ngx_min(slot->client_len, NGX_HTTP_DEBUG_SLOT_CLIENT);
    row->path.data = slot->path;
    row->path.len = ngx_min(slot->path_len, NGX_HTTP_DEBUG_SLOT_PATH);
    row->cut = (slot->path_len > NGX_HTTP_DEBUG_SLOT_PATH);

    for (i = 0; methods[i].bit && methods[i].bit != slot->method; i++) {
        /* void */
    }

    row->method = &methods[i].name;
    row->age = (ctx->now > slot->begun) ? ctx->now - slot->begun : 0;
    row->pid = ngx_http_debug_load(&lane->pid);
    row->old = ngx_http_debug_load(&lane->generation)
               < ngx_http_debug_load(&ctx->zone->generation);

    return 1;
}


static ngx_int_t
ngx_http_debug_requests_step(void *data)
{
    ngx_http_debug_requests_ctx_t *ctx = data;

    ngx_uint_t                      n;
    ngx_http_debug_requests_at_t   *at;
    ngx_http_debug_requests_row_t   row;

    at = ctx->list.elts;

    for (n = 0; n < NGX_HTTP_DEBUG_REQUESTS_STEP; n++) {

        if (ctx->next == ctx->list.nelts || ctx->shown == ctx->most) {
            ngx_http_debug_out_print(ctx->out, "],\"shown\":%ui}\n",
                                     ctx->shown);
            return NGX_OK;
        }

        if (ngx_http_debug_requests_row(ctx, &at[ctx->next++], &row)) {
            ngx_http_debug_requests_json(ctx, &row);
            ctx->shown++;
        }
    }

    return NGX_AGAIN;
}


static void
ngx_http_debug_requests_json(ngx_http_debug_requests_ctx_t *ctx,
    ngx_http_debug_requests_row_t *row)
{
    u_char                  id[NGX_HTTP_DEBUG_ID_LEN];
    ngx_str_t               text;
    ngx_http_debug_out_t   *out;
    ngx_http_debug_slot_t  *slot;

    out = ctx->out;
    slot = &row->slot;

    text.data = id;
    text.len = ngx_http_debug_mark_hex(id, slot->id) - id;

    ngx_http_debug_out_print(out, "%s\n{\"id\":\"%V\",\"age\":",
                             ctx->shown ? "," : "", &text);
    ngx_http_debug_requests_seconds(out, row->age);

    ngx_http_debug_requests_string(out, "route", &row->route);
    ngx_http_debug_requests_string(out, "method", row->method);
    ngx_http_debug_requests_string(out, "path", &row->path);
    ngx_http_debug_out_print(out, ",\"cut\":%s", row->cut ? "true" : "false");

    ngx_http_debug_requests_name(out, "server", row->server);
    ngx_http_debug_requests_name(out, "upstream", row->group);
    ngx_http_debug_requests_name(out, "peer", row->peer);

    ngx_http_debug_out_print(out,
              ",\"tries\":%ui,\"state\":\"%V\",\"looked\":",
              (ngx_uint_t) slot->tries,
              &ngx_http_debug_ways[slot->state % NGX_HTTP_DEBUG_WAYS].name);

    if (slot->looked) {
        ngx_http_debug_requests_seconds(out, ctx->now > slot->looked
                                             ? ctx->now - slot->looked : 0);

    } else {
        ngx_http_debug_out_literal(out, "null");
    }

    ngx_http_debug_out_print(out, ",\"received\":%uL,\"sent\":%uL",
                             slot->received, slot->sent);
    ngx_http_debug_requests_string(out, "client", &row->client);
    ngx_http_debug_out_print(out, ",\"pid\":%L,\"old\":%s}", row->pid,
                             row->old ? "true" : "false");
}


static void
ngx_http_debug_requests_string(ngx_http_debug_out_t *out, char *key,
    ngx_str_t *value)
{
    ngx_http_debug_out_print(out, ",\"%s\":", key);

    if (value->len) {
        ngx_http_debug_json_string(out, value);

    } else {
        ngx_http_debug_out_literal(out, "null");
    }
}


/* The name of E, empty where there is none. */

static ngx_str_t
ngx_http_debug_requests_of(ngx_http_debug_entity_t *e)
{
    ngx_str_t  name;

    ngx_str_null(&name);

    if (e) {
        name.len = e->len;
        name.data = e->name;
    }

    return name;
}


static void
ngx_http_debug_requests_name(ngx_http_debug_out_t *out, char *key,
    ngx_http_debug_entity_t *e)
{
    ngx_str_t  name;

    name = ngx_http_debug_requests_of(e);

    ngx_http_debug_requests_string(out, key, &name);
}


static void
ngx_http_debug_requests_seconds(ngx_http_debug_out_t *out, uint64_t ns)
{
    ngx_http_debug_out_print(out, "%uL.%03uL", ns / 1000000000,
                             ns / 1000000 % 1000);
}


/* Complete without a script, which shows the same again and again. */

static ngx_int_t
ngx_http_debug_requests_page(ngx_http_request_t *r,
    ngx_http_debug_requests_ctx_t *ctx)
{
    ngx_uint_t                      i, most;
    ngx_http_debug_out_t           *out;
    ngx_http_debug_requests_at_t   *at;
    ngx_http_debug_requests_row_t   row;

    static ngx_str_t  title = ngx_string("Requests");

    out = ctx->out;
    at = ctx->list.elts;

    ngx_http_debug_page_begin(out, "requests", &title, "", &ctx->may);

    ngx_http_debug_out_literal(out,
        "<div id=\"requests\" class=\"card scroll\" tabindex=\"0\""
        " role=\"region\" aria-label=\"Requests\">\n<table class=\"t\">\n"
        "<caption class=\"sr\">Every request under way, the oldest first"
        "</caption>\n<thead><tr><th scope=\"col\">Age</th>"
        "<th class=\"l\" scope=\"col\">Route</th>"
        "<th class=\"l\" scope=\"col\">Request</th>"
        "<th class=\"l\" scope=\"col\">Server</th>"
        "<th class=\"l\" scope=\"col\">Peer</th>"
        "<th class=\"l\" scope=\"col\">State</th>"
        "<th scope=\"col\">Tries</th><th scope=\"col\">Received</th>"
        "<th scope=\"col\">Sent</th><th class=\"l\" scope=\"col\">Client</th>"
        "<th class=\"l\" scope=\"col\">Id</th></tr></thead>\n<tbody>\n");

    most = ngx_min(ctx->most, NGX_HTTP_DEBUG_REQUESTS_PAGE);

    for (i = 0; i < ctx->list.nelts && ctx->shown < most; i++) {
        if (ngx_http_debug_requests_row(ctx, &at[i], &row)) {
            ngx_http_debug_requests_html(ctx, &row);
            ctx->shown++;
        }
    }

    if (ctx->shown == 0) {
        ngx_http_debug_out_literal(out,
            "<tr><td class=\"l\" colspan=\"11\">Nothing is under way.</td>"
            "</tr>\n");
    }

    ngx_http_debug_out_literal(out, "</tbody>\n</table>\n</div>\n");

    if (ctx->left) {
        ngx_http_debug_out_print(out,
            "<p class=\"banner warn\">%uL more found no room here.</p>\n",
            ctx->left);
    }

    if (i < ctx->list.nelts) {
        ngx_http_debug_out_print(out,
            "<p class=\"muted\">%ui of %ui are shown; <a"
            " href=\"requests?json\">all</a> are JSON.</p>\n",
            ctx->shown, ctx->list.nelts);
    }

    ngx_http_debug_page_end(out);

    return ngx_http_debug_page_send(r, out);
}


static void
ngx_http_debug_requests_html(ngx_http_debug_requests_ctx_t *ctx,
    ngx_http_debug_requests_row_t *row)
{
    u_char                  id[NGX_HTTP_DEBUG_ID_LEN];
    ngx_str_t               text, group, peer;
    ngx_http_debug_out_t   *out;
    ngx_http_debug_slot_t  *slot;

    out = ctx->out;
    slot = &row->slot;

    text.data = id;
    text.len = ngx_http_debug_mark_hex(id, slot->id) - id;

    ngx_http_debug_out_literal(out, "<tr><td>");
    ngx_http_debug_requests_seconds(out, row->age);
    ngx_http_debug_out_literal(out, " s</td><td class=\"l\">");
    ngx_http_debug_requests_text(out, &row->route);
    ngx_http_debug_out_print(out, "</td><td class=\"l\">%V ", row->method);
    ngx_http_debug_requests_text(out, &row->path);
    ngx_http_debug_out_print(out, "%s</td><td class=\"l\">",
                             row->cut ? "\xe2\x80\xa6" : "");
    ngx_http_debug_requests_entity(out, row->server);
    ngx_http_debug_out_literal(out, "</td><td class=\"l\">");

    if (row->group && row->peer) {
        group = ngx_http_debug_requests_of(row->group);
        peer = ngx_http_debug_requests_of(row->peer);

        ngx_http_debug_out_literal(out, "<a href=\"pprof/");
        ngx_http_debug_page_segment(out, &group);
        ngx_http_debug_out_literal(out, "/");
        ngx_http_debug_page_segment(out, &peer);
        ngx_http_debug_out_print(out, "/goroutine?debug=2&amp;id=%V\">",
                                 &text);
        ngx_http_debug_requests_entity(out, row->group);
        ngx_http_debug_out_literal(out, "/");
        ngx_http_debug_requests_entity(out, row->peer);
        ngx_http_debug_out_literal(out, "</a>");

    } else {
        ngx_http_debug_requests_entity(out, row->group);
    }

    ngx_http_debug_out_print(out,
        "</td><td class=\"l\">%s</td><td>%ui</td><td>%uL</td><td>%uL</td>"
        "<td class=\"l\">",
        ngx_http_debug_ways[slot->state % NGX_HTTP_DEBUG_WAYS].text,
        (ngx_uint_t) slot->tries, slot->received, slot->sent);
    ngx_http_debug_requests_text(out, &row->client);
    ngx_http_debug_out_print(out, "</td><td class=\"l\">%V</td></tr>\n",
                             &text);
}


static void
ngx_http_debug_requests_entity(ngx_http_debug_out_t *out,
    ngx_http_debug_entity_t *e)
{
    ngx_str_t  name;

    name = ngx_http_debug_requests_of(e);

    ngx_http_debug_requests_text(out, &name);
}


/* What a client may have chosen: no control characters, no markup. */

static void
ngx_http_debug_requests_text(ngx_http_debug_out_t *out, ngx_str_t *text)
{
    u_char      copy[256];
    ngx_str_t   s;
    ngx_uint_t  i;

    if (text->len == 0) {
        ngx_http_debug_out_literal(out, "\xe2\x80\x93");
        return;
    }

    s.data = copy;
    s.len = ngx_min(text->len, sizeof(copy));

    for (i = 0; i < s.len; i++) {
        copy[i] = (text->data[i] < ' ' || text->data[i] == 0x7f)
                  ? '?' : text->data[i];
    }

    ngx_http_debug_page_text(out, &s);
}
