
/*
 * What is written of each request while it is under way: slot and mark.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_answer.h"
#include "ngx_http_debug_mark.h"
#include "ngx_http_debug_record.h"
#include "ngx_http_debug_record_each.h"
#include "ngx_http_debug_slot.h"


/* while somebody looks on, and for how long after he asked */

#define NGX_HTTP_DEBUG_EACH_MS     100
#define NGX_HTTP_DEBUG_EACH_ASKED  10000000000ULL


static uint32_t ngx_http_debug_record_each_text(u_char *text);
static void ngx_http_debug_record_each_one(
    ngx_http_debug_record_main_conf_t *rmcf, ngx_uint_t n, uint64_t now);
static ngx_uint_t ngx_http_debug_record_each_state(ngx_http_request_t *r,
    ngx_http_request_t *mr);
static void ngx_http_debug_record_each_show(ngx_http_request_t *r,
    u_char *text);
static void ngx_http_debug_record_each_timer(ngx_event_t *ev);
static ngx_int_t ngx_http_debug_record_each_route_variable(
    ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_debug_record_each_id_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


static ngx_str_t  ngx_http_debug_route_name = ngx_string("debug_route");
static ngx_str_t  ngx_http_debug_id_name = ngx_string("debug_id");


/* since the last second began */

static ngx_uint_t  ngx_http_debug_each_looks;


ngx_int_t
ngx_http_debug_record_each_variables(ngx_conf_t *cf,
    ngx_http_debug_record_main_conf_t *rmcf)
{
    ngx_http_variable_t  *var;

    var = ngx_http_add_variable(cf, &ngx_http_debug_route_name,
                                NGX_HTTP_VAR_NOCACHEABLE);
    if (var == NULL) {
        return NGX_ERROR;
    }

    var->get_handler = ngx_http_debug_record_each_route_variable;

    var = ngx_http_add_variable(cf, &ngx_http_debug_id_name, 0);
    if (var == NULL) {
        return NGX_ERROR;
    }

    var->get_handler = ngx_http_debug_record_each_id_variable;

    return NGX_OK;
}


ngx_int_t
ngx_http_debug_record_each_init(ngx_conf_t *cf,
    ngx_http_debug_record_main_conf_t *rmcf)
{
    ngx_str_t  none;

    if (!rmcf->marks) {
        return NGX_OK;
    }

    ngx_str_null(&none);

    rmcf->none = ngx_http_debug_mark_create(cf, &none);
    if (rmcf->none == NULL) {
        return NGX_ERROR;
    }

    rmcf->id = ngx_http_get_variable_index(cf, &ngx_http_debug_id_name);

    return (rmcf->id == NGX_ERROR) ? NGX_ERROR : NGX_OK;
}


/*
 * A round begins: what is sent is ready.  All rounds of a request, those of
 * its sub-requests too, have one id.
 */

static ngx_inline void
ngx_http_debug_record_each_mark(ngx_http_request_t *r,
    ngx_http_debug_record_main_conf_t *rmcf)
{
    u_char                            *text;
    uint32_t                           id;
    ngx_http_debug_slot_t             *slot;
    ngx_http_variable_value_t         *v;
    ngx_http_debug_route_conf_t       *route;
    ngx_http_debug_record_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_debug_module);

    route = &rlcf->route;

    if (route->mark == NULL) {

        if (ngx_http_debug_mark_claimed(r)) {
            (void) ngx_http_debug_mark_put(r, rmcf->none, 0);
        }

        return;
    }

    v = &r->variables[rmcf->id];

    slot = ngx_http_debug_slot_of(r->variables[rmcf->start].len);

    if (slot) {
        id = slot->id;

    } else if (v->valid) {
        id = ngx_http_debug_record_each_text(v->data);

    } else {
        id = ngx_http_debug_slot_id();
    }

    text = ngx_http_debug_mark_put(r, route->mark, id);

    if (text == NULL) {
        return;
    }

    v->len = NGX_HTTP_DEBUG_ID_LEN;
    v->data = text;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    if (route->shown) {
        ngx_http_debug_record_each_show(r, text);
    }
}


ngx_int_t
ngx_http_debug_record_each_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us)
{
    ngx_int_t                           rc;
    ngx_http_debug_record_main_conf_t  *rmcf;

    rmcf = ngx_http_get_module_main_conf(r, ngx_http_debug_module);

    rc = rmcf->each ? ngx_http_debug_record_init_peer_slot(r, us)
                    : ngx_http_debug_record_init_peer(r, us);

    if (rc == NGX_OK) {
        ngx_http_debug_record_each_mark(r, rmcf);
    }

    return rc;
}


/* The round of a name that variables make; see ngx_http_debug_record_host(). */

ngx_int_t
ngx_http_debug_record_each_host(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_debug_record_main_conf_t  *rmcf;

    if (!ngx_http_debug_record_is_host(r)) {
        v->len = 0;
        v->valid = 1;
        v->no_cacheable = 1;
        v->not_found = 0;

        return NGX_OK;
    }

    rmcf = ngx_http_get_module_main_conf(r, ngx_http_debug_module);

    if (rmcf->marks) {
        ngx_http_debug_record_each_mark(r, rmcf);
    }

    return ngx_http_debug_record_host(r, v, data);
}


static ngx_http_debug_seldom void
ngx_http_debug_record_each_show(ngx_http_request_t *r, u_char *text)
{
    ngx_str_t  value;

    if (r == r->main
        && ngx_http_debug_header_get(&r->headers_out.headers, "X-Debug-Id")
           == NULL)
    {
        value.len = NGX_HTTP_DEBUG_ID_LEN;
        value.data = text;

        (void) ngx_http_debug_header_add(r, "X-Debug-Id", &value);
    }
}


static ngx_http_debug_seldom uint32_t
ngx_http_debug_record_each_text(u_char *text)
{
    ngx_int_t  n;

    n = ngx_hextoi(text, NGX_HTTP_DEBUG_ID_LEN);

    return (n == NGX_ERROR) ? 0 : (uint32_t) n;
}


void
ngx_http_debug_record_each_tick(ngx_http_debug_record_main_conf_t *rmcf)
{
    uint64_t                 asked;

    static ngx_event_t       ev;
    static ngx_connection_t  dummy;

    if (!rmcf->each || ngx_http_debug_slots.lane == NULL) {
        return;
    }

    ngx_http_debug_record_each_look(rmcf);

    asked = ngx_http_debug_load(&rmcf->zone->watched);

    if (asked == 0
        || ngx_http_debug_now() - asked > NGX_HTTP_DEBUG_EACH_ASKED
        || ev.timer_set)
    {
        return;
    }

    ev.handler = ngx_http_debug_record_each_timer;
    ev.data = &dummy;
    ev.log = (ngx_log_t *) ngx_cycle->log;
    ev.cancelable = 1;

    dummy.fd = (ngx_socket_t) -1;

    ngx_http_debug_each_looks = 0;

    ngx_add_timer(&ev, NGX_HTTP_DEBUG_EACH_MS);
}


/* Goes on for a second: whether somebody still looks on is asked then. */

static void
ngx_http_debug_record_each_timer(ngx_event_t *ev)
{
    ngx_http_debug_record_main_conf_t  *rmcf;

    rmcf = ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                               ngx_http_debug_module);

    if (rmcf == NULL || !rmcf->each) {
        return;
    }

    ngx_http_debug_record_each_look(rmcf);

    ngx_http_debug_each_looks++;

    if (ngx_http_debug_each_looks < 1000 / NGX_HTTP_DEBUG_EACH_MS - 1) {
        ngx_add_timer(ev, NGX_HTTP_DEBUG_EACH_MS);
    }
}


void
ngx_http_debug_record_each_look(ngx_http_debug_record_main_conf_t *rmcf)
{
    uint64_t    now;
    ngx_uint_t  n, last;

    if (ngx_http_debug_slots.slot == NULL) {
        return;
    }

    now = ngx_http_debug_now();
    last = ngx_http_debug_slots.lane->top;

    for (n = 0; n < last; n++) {
        if (ngx_http_debug_slots.request[n]) {
            ngx_http_debug_record_each_one(rmcf, n, now);
        }
    }
}


static void
ngx_http_debug_record_each_one(ngx_http_debug_record_main_conf_t *rmcf,
    ngx_uint_t n, uint64_t now)
{
    off_t                              received;
    ngx_str_t                         *text;
    ngx_event_pipe_t                  *p;
    ngx_http_request_t                *r, *mr;
    ngx_http_upstream_t               *u;
    ngx_http_debug_try_t               try;
    ngx_http_debug_slot_t             *slot;
    ngx_http_debug_record_loc_conf_t  *rlcf;

    slot = &ngx_http_debug_slots.slot[n];
    mr = ngx_http_debug_slots.request[n];
    r = slot->tries ? ngx_http_debug_slots.round[n] : mr;
    u = r->upstream;

    rlcf = ngx_http_get_module_loc_conf(mr, ngx_http_debug_module);

    if (!rlcf->record) {

        /* "debug_record off": nobody is to see it */

        mr->variables[rmcf->start].len = 0;
        ngx_http_debug_slot_give(n + 1);
        return;
    }

    received = 0;

    if (u && u->state) {
        received = u->state->bytes_received;
        p = u->pipe;

        if (p && p->read_length > (off_t) p->preread_size) {
            received = ngx_max(received, p->read_length);
        }
    }

    ngx_http_debug_slot_open(slot);

    slot->looked = now;
    slot->received = received;
    slot->sent = mr->connection->sent;
    slot->state = (uint16_t) ngx_http_debug_record_each_state(r, mr);

    slot->route_len = (uint16_t) rlcf->route.len;
    ngx_memcpy(slot->route, rlcf->route.name, NGX_HTTP_DEBUG_SLOT_ROUTE);

    text = &mr->connection->addr_text;

    slot->client_len = (uint16_t) ngx_min(text->len,
                                          NGX_HTTP_DEBUG_SLOT_CLIENT);
    ngx_memcpy(slot->client, text->data, slot->client_len);

    if (slot->tries && u && ngx_http_debug_record_try(u, &try)) {

        /* a variable host's peer is known only now */

        slot->peer = try.entity->id + 1;
    }

    ngx_http_debug_slot_close(slot);
}


/* How far MR has come, of which R was last at a peer, if any was. */

static ngx_uint_t
ngx_http_debug_record_each_state(ngx_http_request_t *r,
    ngx_http_request_t *mr)
{
    ngx_connection_t     *c;
    ngx_http_upstream_t  *u;

    c = mr->connection;
    u = r->upstream;

    if (u == NULL || u->peer.connection == NULL) {

        if (u && u->resolved && u->resolved->ctx) {
            return NGX_HTTP_DEBUG_WAY_CONNECTING;
        }

        return mr->header_sent ? NGX_HTTP_DEBUG_WAY_SENDING
                                 : NGX_HTTP_DEBUG_WAY_REQUEST;
    }

    if (u->upgrade) {
        return NGX_HTTP_DEBUG_WAY_UPGRADED;
    }

    if (!u->request_sent) {
        return NGX_HTTP_DEBUG_WAY_CONNECTING;
    }

    if (u->state == NULL || u->state->header_time == (ngx_msec_t) -1) {
        return u->request_body_sent ? NGX_HTTP_DEBUG_WAY_WAITING
                                    : NGX_HTTP_DEBUG_WAY_ASKING;
    }

    /* with a client that does not take what there is, more need not come */

    if (r == mr && (!c->write->ready || c->buffered)) {
        return NGX_HTTP_DEBUG_WAY_SENDING;
    }

    return NGX_HTTP_DEBUG_WAY_READING;
}


static ngx_int_t
ngx_http_debug_record_each_route_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_debug_record_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_debug_module);

    if (rlcf->route.mark == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->len = rlcf->route.len;
    v->data = rlcf->route.name;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


/* Before anything is marked: the id that it will have. */

static ngx_int_t
ngx_http_debug_record_each_id_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    uint32_t                            id;
    ngx_http_debug_slot_t              *slot;
    ngx_http_debug_record_loc_conf_t   *rlcf;
    ngx_http_debug_record_main_conf_t  *rmcf;

    rmcf = ngx_http_get_module_main_conf(r, ngx_http_debug_module);
    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_debug_module);

    slot = ngx_http_debug_slot_of(r->variables[rmcf->start].len);

    if (slot) {
        id = slot->id;

    } else if (rlcf->route.mark) {
        id = ngx_http_debug_slot_id();

    } else {
        v->not_found = 1;
        return NGX_OK;
    }

    v->data = ngx_pnalloc(r->pool, NGX_HTTP_DEBUG_ID_LEN);
    if (v->data == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_http_debug_mark_hex(v->data, id);

    v->len = NGX_HTTP_DEBUG_ID_LEN;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}
