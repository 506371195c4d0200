
/*
 * What a peer says of its own process.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include <jansson.h>
#include "ngx_http_debug_pprof_request.h"
#include "ngx_http_debug_watch_process.h"


#define NGX_HTTP_DEBUG_PROCESS_TIMEOUT  1000    /* ms */
#define NGX_HTTP_DEBUG_PROCESS_SINCE    6       /* s that are asked for */

/* debugcharts tells a day each time: that is too much to be asked often */
#define NGX_HTTP_DEBUG_PROCESS_MAX      65536


static ngx_int_t ngx_http_debug_watch_process_header(
    ngx_http_debug_fetch_t *f);
static ngx_int_t ngx_http_debug_watch_process_body(ngx_http_debug_fetch_t *f,
    ngx_chain_t *in);
static void ngx_http_debug_watch_process_end(ngx_http_debug_fetch_t *f);
static void ngx_http_debug_watch_process_deadline(ngx_event_t *ev);
static void ngx_http_debug_watch_process_over(
    ngx_http_debug_watch_ask_t *ask);
static void ngx_http_debug_watch_process_parse(
    ngx_http_debug_watch_ask_t *ask);
static double ngx_http_debug_watch_process_number(json_t *object,
    const char *name);


ngx_int_t
ngx_http_debug_watch_process_uri(ngx_pool_t *pool, ngx_str_t *prefix,
    ngx_uint_t seconds, ngx_str_t *uri)
{
    u_char       text[sizeof("charts/data?since=") + NGX_INT64_LEN];
    ngx_str_t    rest;
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    rest.data = text;
    rest.len = ngx_sprintf(text, "charts/data?since=%uL",
                           ((uint64_t) tp->sec - seconds) * 1000)
               - text;

    return ngx_http_debug_pprof_request_beside(pool, prefix, &rest, uri);
}


ngx_int_t
ngx_http_debug_watch_process_ask(ngx_http_debug_watch_ask_t *ask,
    struct sockaddr *sockaddr, socklen_t socklen, ngx_str_t *name,
    ngx_str_t *group, ngx_str_t *prefix, ngx_http_debug_pprof_ssl_t *ssl)
{
    ngx_str_t                uri, name_of;
    ngx_pool_t              *pool;
    ngx_http_debug_fetch_t  *f;

    pool = ask->pool;
    f = &ask->fetch;

    f->pool = pool;
    f->log = ngx_cycle->log;
    f->level = NGX_LOG_INFO;
    f->name.len = name->len;
    f->name.data = ngx_pstrdup(pool, name);
    f->sockaddr = ngx_palloc(pool, socklen);
    f->socklen = socklen;
    f->connect_timeout = NGX_HTTP_DEBUG_PROCESS_TIMEOUT;
    f->timeout = NGX_HTTP_DEBUG_PROCESS_TIMEOUT;
    f->data = ask;
    f->header = ngx_http_debug_watch_process_header;
    f->body = ngx_http_debug_watch_process_body;
    f->end = ngx_http_debug_watch_process_end;

    ask->cpu = -1;

    /* the list of peers may be made anew meanwhile */

    name_of.len = group->len;
    name_of.data = ngx_pstrdup(pool, group);

    if (f->name.data == NULL || f->sockaddr == NULL || name_of.data == NULL) {
        goto failed;
    }

    ngx_memcpy(f->sockaddr, sockaddr, socklen);

    ngx_http_debug_pprof_request_tls(f, ssl, &name_of);

    if (ngx_http_debug_watch_process_uri(pool, prefix,
                                         NGX_HTTP_DEBUG_PROCESS_SINCE, &uri)
        != NGX_OK
        || ngx_http_debug_pprof_request_small(f, "GET", &uri, NULL) != NGX_OK)
    {
        goto failed;
    }

    if (ngx_http_debug_fetch_start(f) != NGX_OK) {
        goto failed;
    }

    ask->deadline.handler = ngx_http_debug_watch_process_deadline;
    ask->deadline.data = ask;
    ask->deadline.log = ngx_cycle->log;

    ngx_add_timer(&ask->deadline, NGX_HTTP_DEBUG_PROCESS_TIMEOUT);

    return NGX_OK;

failed:

    ngx_destroy_pool(pool);

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_debug_watch_process_header(ngx_http_debug_fetch_t *f)
{
    return NGX_OK;
}


static ngx_int_t
ngx_http_debug_watch_process_body(ngx_http_debug_fetch_t *f, ngx_chain_t *in)
{
    size_t                       size;
    ngx_http_debug_watch_ask_t  *ask;

    ask = f->data;

    if (f->status != NGX_HTTP_OK) {
        return NGX_DONE;
    }

    if (ask->body == NULL) {
        ask->body = ngx_pnalloc(ask->pool, NGX_HTTP_DEBUG_PROCESS_MAX);
        if (ask->body == NULL) {
            return NGX_DONE;
        }
    }

    for ( /* void */ ; in; in = in->next) {

        size = in->buf->last - in->buf->pos;

        if (size > NGX_HTTP_DEBUG_PROCESS_MAX - ask->size) {
            ask->body = NULL;
            return NGX_DONE;
        }

        ngx_memcpy(ask->body + ask->size, in->buf->pos, size);
        ask->size += size;
    }

    return NGX_OK;
}


static void
ngx_http_debug_watch_process_end(ngx_http_debug_fetch_t *f)
{
    ngx_http_debug_watch_ask_t  *ask;

    ask = f->data;

    if (f->result == NGX_HTTP_DEBUG_FETCH_OK
        && !f->left
        && f->status == NGX_HTTP_OK
        && ask->size)
    {
        ngx_http_debug_watch_process_parse(ask);
    }

    ngx_http_debug_watch_process_over(ask);
}


static void
ngx_http_debug_watch_process_deadline(ngx_event_t *ev)
{
    ngx_http_debug_watch_process_over(ev->data);
}


/* Nothing of ASK may be looked at after it. */

static void
ngx_http_debug_watch_process_over(ngx_http_debug_watch_ask_t *ask)
{
    ngx_pool_t  *pool;

    pool = ask->pool;

    if (ask->deadline.timer_set) {
        ngx_del_timer(&ask->deadline);
    }

    ngx_http_debug_fetch_close(&ask->fetch);

    ask->done(ask);

    ngx_destroy_pool(pool);
}


/*
 * { "CPUUsage": [{ "User", "Sys" }, ...],
 *   "Process": [{ "Rss", "Threads", "Pid", "Cpus" }, ...] }: the last of each,
 * and of CPU the mean.  What else there is belongs to others.
 */

static void
ngx_http_debug_watch_process_parse(ngx_http_debug_watch_ask_t *ask)
{
    double       n, used;
    size_t       i;
    json_t      *root, *array, *one;

    root = json_loadb((char *) ask->body, ask->size, 0, NULL);
    if (root == NULL) {
        return;
    }

    array = json_object_get(root, "Process");
    one = json_array_get(array, json_array_size(array) - 1);

    if (one != NULL) {
        n = ngx_http_debug_watch_process_number(one, "Rss");
        ask->rss = (n > 0 && n < 1e15) ? n : 0;

        n = ngx_http_debug_watch_process_number(one, "Threads");
        ask->threads = (n > 0 && n < 1e9) ? n : 0;

        n = ngx_http_debug_watch_process_number(one, "Pid");
        ask->pid = (n > 0 && n < 4e9) ? n : 0;

        n = ngx_http_debug_watch_process_number(one, "Cpus");
        ask->cpus = (n > 0 && n < 1e5) ? n : 0;

        ask->told = 1;
    }

    array = json_object_get(root, "CPUUsage");
    used = 0;

    for (i = 0; i < json_array_size(array); i++) {
        one = json_array_get(array, i);
        used += ngx_http_debug_watch_process_number(one, "User")
                + ngx_http_debug_watch_process_number(one, "Sys");
    }

    if (i && used >= 0 && used / i < 1e5) {
        ask->cpu = used / i * 100;
    }

    json_decref(root);
}


static double
ngx_http_debug_watch_process_number(json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}
