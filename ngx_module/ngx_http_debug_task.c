
/*
 * A big answer, made piece by piece.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_answer.h"
#include "ngx_http_debug_task.h"


typedef struct {
    ngx_http_request_t      *request;
    ngx_str_t               *type;
    ngx_http_debug_out_t    *out;
    ngx_http_debug_task_pt   step;
    void                    *data;
    ngx_event_t              event;
    ngx_event_t              guard;    /* its timer keeps a worker that exits
                                          from leaving before the end */
} ngx_http_debug_task_t;


#define NGX_HTTP_DEBUG_TASK_GUARD  60000   /* ms */


static ngx_int_t ngx_http_debug_task_send(ngx_http_debug_task_t *task);
static void ngx_http_debug_task_handler(ngx_event_t *ev);
static void ngx_http_debug_task_guard(ngx_event_t *ev);
static void ngx_http_debug_task_cleanup(void *data);


ngx_int_t
ngx_http_debug_task_run(ngx_http_request_t *r, ngx_str_t *type,
    ngx_http_debug_out_t *out, ngx_http_debug_task_pt step, void *data)
{
    ngx_int_t               rc;
    ngx_http_cleanup_t     *cln;
    ngx_http_debug_task_t  *task;

    /* whatever the client sends besides is not for us */

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    task = ngx_pcalloc(r->pool, sizeof(ngx_http_debug_task_t));
    if (task == NULL) {
        return NGX_ERROR;
    }

    task->request = r;
    task->type = type;
    task->out = out;
    task->step = step;
    task->data = data;

    /* HEAD wants the length, which only the whole has */

    if (step(data) == NGX_OK) {
        return ngx_http_debug_task_send(task);
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_debug_task_cleanup;
    cln->data = task;

    task->event.handler = ngx_http_debug_task_handler;
    task->event.data = task;
    task->event.log = r->connection->log;

    task->guard.handler = ngx_http_debug_task_guard;
    task->guard.data = r->connection;
    task->guard.log = r->connection->log;

    ngx_add_timer(&task->guard, NGX_HTTP_DEBUG_TASK_GUARD);

    r->main->count++;

    ngx_post_event(&task->event, &ngx_posted_next_events);

    return NGX_DONE;
}


static void
ngx_http_debug_task_handler(ngx_event_t *ev)
{
    ngx_connection_t       *c;
    ngx_http_request_t     *r;
    ngx_http_debug_task_t  *task;

    task = ev->data;
    r = task->request;
    c = r->connection;

    if (task->step(task->data) == NGX_AGAIN) {
        ngx_post_event(ev, &ngx_posted_next_events);
        return;
    }

    ngx_del_timer(&task->guard);

    ngx_http_set_log_request(c->log, r);

    ngx_http_finalize_request(r, ngx_http_debug_task_send(task));

    ngx_http_run_posted_requests(c);
}


static ngx_int_t
ngx_http_debug_task_send(ngx_http_debug_task_t *task)
{
    if (task->out->failed) {
        return NGX_ERROR;
    }

    return ngx_http_debug_answer_chain(task->request, NGX_HTTP_OK, task->type,
                                       task->out->chain, task->out->size);
}


static void
ngx_http_debug_task_guard(ngx_event_t *ev)
{
    ngx_add_timer(ev, NGX_HTTP_DEBUG_TASK_GUARD);
}


/* The client left. */

static void
ngx_http_debug_task_cleanup(void *data)
{
    ngx_http_debug_task_t  *task = data;

    if (task->event.posted) {
        ngx_delete_posted_event(&task->event);
    }

    if (task->guard.timer_set) {
        ngx_del_timer(&task->guard);
    }
}
