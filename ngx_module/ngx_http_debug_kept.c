
/*
 * Snapshots: profiles that nginx takes and keeps.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include "ngx_http_debug_answer.h"
#include "ngx_http_debug_faces.h"
#include "ngx_http_debug_fetch.h"
#include "ngx_http_debug_kept.h"
#include "ngx_http_debug_out.h"
#include "ngx_http_debug_page.h"
#include "ngx_http_debug_peers.h"
#include "ngx_http_debug_runs.h"


#define NGX_HTTP_DEBUG_KEPT_PLANS    32      /* series that were asked for */
#define NGX_HTTP_DEBUG_KEPT_NAME     128     /* bytes of a name in a plan */
#define NGX_HTTP_DEBUG_KEPT_ERROR    512
#define NGX_HTTP_DEBUG_KEPT_FORM     4096    /* bytes of a POST */
#define NGX_HTTP_DEBUG_KEPT_TIMES    1000
#define NGX_HTTP_DEBUG_KEPT_MAX      (16 * 1024 * 1024)  /* of a profile */

#define NGX_HTTP_DEBUG_KEPT_FIRST    5000    /* ms after the start */
#define NGX_HTTP_DEBUG_KEPT_LEASE    4000    /* ms without a sign of life */
#define NGX_HTTP_DEBUG_KEPT_LOG      600000  /* ms between two complaints */
#define NGX_HTTP_DEBUG_KEPT_CONNECT  5000    /* ms */
#define NGX_HTTP_DEBUG_KEPT_TIMEOUT  90000   /* ms of a whole snapshot */
#define NGX_HTTP_DEBUG_KEPT_SECONDS  30      /* of a CPU profile */
#define NGX_HTTP_DEBUG_KEPT_STALE    600     /* s until a ".tmp" is a ruin */


/* taken in turn from one peer: "and every 10 min, 6 times" */

typedef struct {
    ngx_uint_t                left;      /* 0: free */
    ngx_msec_t                every;
    ngx_msec_t                next;
    size_t                    group_len;
    size_t                    peer_len;
    size_t                    kind_len;
    u_char                    group[NGX_HTTP_DEBUG_KEPT_NAME];
    u_char                    peer[NGX_HTTP_DEBUG_KEPT_NAME];
    u_char                    kind[NGX_HTTP_DEBUG_KEPT_NAME];
} ngx_http_debug_kept_plan_t;


/* in the shared zone, under its mutex */

typedef struct {
    ngx_pid_t                 pid;       /* who does what is due; 0: nobody */
    ngx_msec_t                seen;      /* its last sign of life */

    ngx_uint_t                started;   /* "next" is set */
    ngx_msec_t                next;      /* round of debug_snapshots */

    ngx_http_debug_kept_plan_t  plan[NGX_HTTP_DEBUG_KEPT_PLANS];

    ngx_msec_t                logged;
    size_t                    error_len; /* 0: the last file was written */
    u_char                    error[NGX_HTTP_DEBUG_KEPT_ERROR];
} ngx_http_debug_kept_shared_t;


typedef struct {
    ngx_str_t                 group;
    ngx_str_t                 peer;
    ngx_str_t                 kind;
    uint64_t                  time;      /* ms since the epoch */
    ngx_uint_t                pid;       /* 0: the peer does not tell */
    u_char                    by;        /* 't'imer or 'h'and */
    off_t                     size;
    ngx_str_t                 name;      /* of the file */
} ngx_http_debug_kept_file_t;


/* one snapshot that is being taken */

typedef struct ngx_http_debug_kept_job_s  ngx_http_debug_kept_job_t;

struct ngx_http_debug_kept_job_s {
    ngx_http_debug_kept_conf_t  *conf;
    ngx_pool_t               *pool;      /* its own */

    ngx_http_debug_kept_file_t  file;    /* as it will be */
    ngx_http_debug_fetch_t    fetch;
    ngx_http_debug_run_ref_t  run;
    ngx_event_t               deadline;

    ngx_fd_t                  fd;
    u_char                   *temp;      /* its name; NULL: none is open */

    ngx_str_t                 error;     /* empty: kept */
    ngx_uint_t                status;    /* for who asked by hand */

    /* the job is over and goes when this returns */
    void                    (*done)(ngx_http_debug_kept_job_t *job);

    ngx_http_request_t       *request;   /* by hand; NULL: it left */
    ngx_http_cleanup_pt      *cleanup;   /* of the request, which tells so */
    ngx_uint_t                max;       /* debug_pprof_max; 0: no limit */
    ngx_uint_t                times;
    ngx_msec_t                every;
};


/* of a POST, in the pool of its request */

typedef struct {
    ngx_http_debug_kept_conf_t   *conf;
    ngx_http_debug_pprof_conf_t  *pprof;
} ngx_http_debug_kept_take_t;


/* what the timer has to do, of this process */

typedef struct {
    ngx_http_debug_kept_file_t  file;
    struct sockaddr          *sockaddr;
    socklen_t                 socklen;
    ngx_str_t                 pass;
} ngx_http_debug_kept_item_t;


static void ngx_http_debug_kept_timer(ngx_event_t *ev);
static ngx_uint_t ngx_http_debug_kept_lead(ngx_http_debug_kept_conf_t *kcf);
static ngx_int_t ngx_http_debug_kept_due(ngx_http_debug_kept_conf_t *kcf);
static ngx_int_t ngx_http_debug_kept_push(ngx_http_debug_peer_group_t *group,
    ngx_http_debug_peer_t *peer, ngx_str_t *kind);
static void ngx_http_debug_kept_next(ngx_http_debug_kept_conf_t *kcf);
static void ngx_http_debug_kept_timer_done(ngx_http_debug_kept_job_t *job);

static ngx_http_debug_kept_job_t *ngx_http_debug_kept_job(
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_kept_file_t *file);
static ngx_int_t ngx_http_debug_kept_job_start(ngx_http_debug_kept_job_t *job,
    struct sockaddr *sockaddr, socklen_t socklen, ngx_str_t *name,
    ngx_msec_t timeout);
static ngx_int_t ngx_http_debug_kept_header(ngx_http_debug_fetch_t *f);
static ngx_int_t ngx_http_debug_kept_body(ngx_http_debug_fetch_t *f,
    ngx_chain_t *in);
static void ngx_http_debug_kept_end(ngx_http_debug_fetch_t *f);
static void ngx_http_debug_kept_deadline(ngx_event_t *ev);
static void ngx_http_debug_kept_job_end(ngx_http_debug_kept_job_t *job);
static void ngx_cdecl ngx_http_debug_kept_fail(ngx_http_debug_kept_job_t *job,
    ngx_uint_t status, const char *fmt, ...);

static ngx_int_t ngx_http_debug_kept_open(ngx_http_debug_kept_job_t *job);
static ngx_int_t ngx_http_debug_kept_finish(ngx_http_debug_kept_job_t *job);
static void ngx_http_debug_kept_disk(ngx_http_debug_kept_job_t *job,
    ngx_err_t err, char *what, u_char *name);
static void ngx_http_debug_kept_rotate(ngx_http_debug_kept_job_t *job);

static ngx_array_t *ngx_http_debug_kept_list(ngx_pool_t *pool,
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_pprof_conf_t *conf,
    ngx_str_t *prefix);
static ngx_int_t ngx_http_debug_kept_parse(ngx_pool_t *pool, ngx_str_t *name,
    ngx_http_debug_kept_file_t *file);
static u_char *ngx_http_debug_kept_escape(u_char *p, ngx_str_t *s);
static ngx_int_t ngx_http_debug_kept_path(ngx_pool_t *pool,
    ngx_http_debug_kept_conf_t *kcf, ngx_str_t *name, u_char **path);
static int ngx_libc_cdecl ngx_http_debug_kept_newer(const void *one,
    const void *two);
static ngx_uint_t ngx_http_debug_kept_shown(ngx_http_debug_pprof_conf_t *conf,
    ngx_str_t *group, ngx_str_t *kind);
static ngx_uint_t ngx_http_debug_kept_is(ngx_str_t *a, u_char *data,
    size_t len);
static ngx_uint_t ngx_http_debug_kept_known(ngx_str_t *kind);

static ngx_int_t ngx_http_debug_kept_json(ngx_http_request_t *r,
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_pprof_conf_t *conf);
static void ngx_http_debug_kept_names(ngx_http_debug_out_t *out,
    ngx_str_t *group, ngx_str_t *peer, ngx_str_t *kind);
static void ngx_http_debug_kept_link(ngx_http_debug_out_t *out,
    ngx_http_debug_kept_file_t *file);
static ngx_int_t ngx_http_debug_kept_page(ngx_http_request_t *r,
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_pprof_conf_t *conf);
static ngx_int_t ngx_http_debug_kept_send(ngx_http_request_t *r,
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_pprof_conf_t *conf,
    ngx_str_t *rest);

static ngx_int_t ngx_http_debug_kept_post(ngx_http_request_t *r,
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_pprof_conf_t *conf);
static ngx_http_debug_kept_take_t *ngx_http_debug_kept_get_take(
    ngx_http_request_t *r);
static void ngx_http_debug_kept_pool_cleanup(void *data);
static ngx_uint_t ngx_http_debug_kept_foreign(ngx_http_request_t *r);
static void ngx_http_debug_kept_form(ngx_http_request_t *r);
static ngx_int_t ngx_http_debug_kept_take(ngx_http_request_t *r,
    ngx_str_t *form);
static ngx_int_t ngx_http_debug_kept_field(ngx_pool_t *pool, ngx_str_t *form,
    char *name, ngx_str_t *value);
static void ngx_http_debug_kept_hand_done(ngx_http_debug_kept_job_t *job);
static void ngx_http_debug_kept_left(void *data);
static ngx_int_t ngx_http_debug_kept_plan(ngx_http_debug_kept_job_t *job);

static ngx_int_t ngx_http_debug_kept_init_zone(ngx_shm_zone_t *zone,
    void *data);
static char *ngx_http_debug_kept_set_path(ngx_conf_t *cf,
    ngx_http_debug_kept_conf_t *kcf, ngx_str_t *value);


extern ngx_module_t  ngx_http_debug_module;

static ngx_str_t  ngx_http_debug_kept_zone_name =
    ngx_string("ngx_http_debug_kept");


/* kinds that are one answer and worth keeping */

static ngx_str_t  ngx_http_debug_kept_kinds[] = {
    ngx_string("heap"),
    ngx_string("allocs"),
    ngx_string("profile"),
    ngx_string("goroutine"),
    ngx_string("threadcreate"),
    ngx_string("block"),
    ngx_string("mutex"),
    ngx_string("growth"),
    ngx_null_string
};


/* of this process */

static ngx_event_t                   ngx_http_debug_kept_event;
static ngx_connection_t              ngx_http_debug_kept_dumb;
static ngx_http_debug_kept_conf_t   *ngx_http_debug_kept_conf;
static ngx_pool_t                   *ngx_http_debug_kept_pool;
static ngx_array_t                  *ngx_http_debug_kept_round;
static ngx_uint_t                    ngx_http_debug_kept_at;


#define ngx_http_debug_kept_lock(kcf)                                         \
    ngx_shmtx_lock(&((ngx_slab_pool_t *) (kcf)->zone->shm.addr)->mutex)
#define ngx_http_debug_kept_unlock(kcf)                                       \
    ngx_shmtx_unlock(&((ngx_slab_pool_t *) (kcf)->zone->shm.addr)->mutex)


void
ngx_http_debug_kept_start(ngx_http_debug_kept_conf_t *kcf, ngx_cycle_t *cycle)
{
    ngx_event_t  *ev;

    ngx_http_debug_page_kept = (kcf->path != NULL);

    if (kcf->path == NULL) {
        return;
    }

    ngx_http_debug_kept_conf = kcf;

    ev = &ngx_http_debug_kept_event;

    /* the log of events wants a descriptor */

    ngx_http_debug_kept_dumb.fd = (ngx_socket_t) -1;

    ngx_memzero(ev, sizeof(ngx_event_t));

    ev->handler = ngx_http_debug_kept_timer;
    ev->data = &ngx_http_debug_kept_dumb;
    ev->log = cycle->log;
    ev->cancelable = 1;

    ngx_add_timer(ev, 1000);
}


static void
ngx_http_debug_kept_timer(ngx_event_t *ev)
{
    ngx_http_debug_kept_conf_t  *kcf;

    if (ngx_exiting || ngx_terminate || ngx_quit) {

        /* another process finds the lease run out */

        return;
    }

    kcf = ngx_http_debug_kept_conf;

    if (ngx_http_debug_kept_lead(kcf) && ngx_http_debug_kept_pool == NULL) {

        if (ngx_http_debug_kept_due(kcf) == NGX_OK) {
            ngx_http_debug_kept_next(kcf);
        }
    }

    ngx_add_timer(ev, 1000);
}


/* Whether it is for this process to do what is due. */

static ngx_uint_t
ngx_http_debug_kept_lead(ngx_http_debug_kept_conf_t *kcf)
{
    ngx_uint_t                     lead;
    ngx_http_debug_kept_shared_t  *sh;

    sh = kcf->zone->data;

    ngx_http_debug_kept_lock(kcf);

    lead = sh->pid == ngx_pid
           || sh->pid == 0
           || (ngx_msec_int_t) (ngx_current_msec - sh->seen)
              > NGX_HTTP_DEBUG_KEPT_LEASE
           || (kill(sh->pid, 0) == -1 && ngx_errno == NGX_ESRCH);

    if (lead) {
        sh->pid = ngx_pid;
        sh->seen = ngx_current_msec;
    }

    ngx_http_debug_kept_unlock(kcf);

    return lead;
}


/* Lists what is due.  NGX_OK, NGX_DECLINED: nothing, NGX_ERROR: no memory. */

static ngx_int_t
ngx_http_debug_kept_due(ngx_http_debug_kept_conf_t *kcf)
{
    ngx_int_t                      rc;
    ngx_str_t                      kind, *kinds;
    ngx_uint_t                     i, j, k, n, all;
    ngx_array_t                   *groups;
    ngx_http_debug_peer_t         *p;
    ngx_http_debug_peer_group_t   *g;
    ngx_http_debug_kept_plan_t     plan[NGX_HTTP_DEBUG_KEPT_PLANS], *pl;
    ngx_http_debug_kept_shared_t  *sh;

    sh = kcf->zone->data;

    all = 0;
    n = 0;

    ngx_http_debug_kept_lock(kcf);

    if (!sh->started) {
        sh->started = 1;
        sh->next = ngx_current_msec
                   + ngx_min(kcf->every, NGX_HTTP_DEBUG_KEPT_FIRST);
    }

    if ((ngx_msec_int_t) (sh->next - ngx_current_msec)
        > (ngx_msec_int_t) kcf->every)
    {
        /* a reload made it shorter */
        sh->next = ngx_current_msec + kcf->every;
    }

    if ((ngx_msec_int_t) (sh->next - ngx_current_msec) <= 0) {
        sh->next = ngx_current_msec + kcf->every;
        all = 1;
    }

    for (i = 0; i < NGX_HTTP_DEBUG_KEPT_PLANS; i++) {
        pl = &sh->plan[i];

        if (pl->left
            && (ngx_msec_int_t) (pl->next - ngx_current_msec) <= 0)
        {
            pl->left--;
            pl->next = ngx_current_msec + pl->every;
            plan[n++] = *pl;
        }
    }

    ngx_http_debug_kept_unlock(kcf);

    if (!all && n == 0) {
        return NGX_DECLINED;
    }

    ngx_http_debug_kept_pool = ngx_create_pool(4096, ngx_cycle->log);
    if (ngx_http_debug_kept_pool == NULL) {
        return NGX_ERROR;
    }

    ngx_http_debug_kept_at = 0;
    ngx_http_debug_kept_round = ngx_array_create(ngx_http_debug_kept_pool, 16,
                                          sizeof(ngx_http_debug_kept_item_t));

    groups = ngx_http_debug_peers_list(ngx_http_debug_kept_pool,
                                       kcf->upstreams, kcf->pass);

    if (ngx_http_debug_kept_round == NULL || groups == NULL) {
        goto failed;
    }

    rc = NGX_OK;
    g = groups->elts;

    for (i = 0; i < groups->nelts; i++) {
        p = g[i].peers.elts;

        for (j = 0; j < g[i].peers.nelts; j++) {

            kinds = kcf->kinds->elts;

            for (k = 0; all && !p[j].down && k < kcf->kinds->nelts; k++) {
                rc |= ngx_http_debug_kept_push(&g[i], &p[j], &kinds[k]);
            }

            for (k = 0; k < n; k++) {
                pl = &plan[k];

                if (!ngx_http_debug_kept_is(&g[i].name, pl->group,
                                            pl->group_len)
                    || !ngx_http_debug_kept_is(&p[j].name, pl->peer,
                                               pl->peer_len))
                {
                    continue;
                }

                kind.len = pl->kind_len;
                kind.data = ngx_pnalloc(ngx_http_debug_kept_pool, kind.len);

                if (kind.data == NULL) {
                    goto failed;
                }

                ngx_memcpy(kind.data, pl->kind, kind.len);

                rc |= ngx_http_debug_kept_push(&g[i], &p[j], &kind);
            }
        }
    }

    if (rc == NGX_OK) {
        return NGX_OK;
    }

failed:

    ngx_destroy_pool(ngx_http_debug_kept_pool);
    ngx_http_debug_kept_pool = NULL;

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_debug_kept_push(ngx_http_debug_peer_group_t *group,
    ngx_http_debug_peer_t *peer, ngx_str_t *kind)
{
    ngx_http_debug_kept_item_t  *item;

    if (peer->sockaddr == NULL) {
        return NGX_OK;
    }

    item = ngx_array_push(ngx_http_debug_kept_round);
    if (item == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(item, sizeof(ngx_http_debug_kept_item_t));

    item->file.group = group->name;
    item->file.peer = peer->name;
    item->file.kind = *kind;
    item->file.by = 't';
    item->sockaddr = peer->sockaddr;
    item->socklen = peer->socklen;
    item->pass = peer->pass;

    return NGX_OK;
}


/* One after the other, so that a round costs no more than one client does. */

static void
ngx_http_debug_kept_next(ngx_http_debug_kept_conf_t *kcf)
{
    ngx_http_debug_kept_job_t   *job;
    ngx_http_debug_kept_item_t  *item;

    item = ngx_http_debug_kept_round->elts;

    while (ngx_http_debug_kept_at < ngx_http_debug_kept_round->nelts
           && !ngx_exiting)
    {
        item = ngx_http_debug_kept_round->elts;
        item += ngx_http_debug_kept_at++;

        job = ngx_http_debug_kept_job(kcf, &item->file);
        if (job == NULL) {
            break;
        }

        job->done = ngx_http_debug_kept_timer_done;

        if (ngx_http_debug_kept_job_start(job, item->sockaddr, item->socklen,
                                          &item->pass,
                                          NGX_HTTP_DEBUG_KEPT_TIMEOUT)
            == NGX_OK)
        {
            return;
        }

        ngx_destroy_pool(job->pool);
    }

    ngx_destroy_pool(ngx_http_debug_kept_pool);
    ngx_http_debug_kept_pool = NULL;
}


static void
ngx_http_debug_kept_timer_done(ngx_http_debug_kept_job_t *job)
{
    if (job->error.len) {
        ngx_log_error(NGX_LOG_INFO, ngx_cycle->log, 0,
                      "no snapshot was taken: %V", &job->error);
    }

    ngx_http_debug_kept_next(job->conf);
}


static ngx_http_debug_kept_job_t *
ngx_http_debug_kept_job(ngx_http_debug_kept_conf_t *kcf,
    ngx_http_debug_kept_file_t *file)
{
    ngx_pool_t                 *pool;
    ngx_http_debug_kept_job_t  *job;

    pool = ngx_create_pool(4096, ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    job = ngx_pcalloc(pool, sizeof(ngx_http_debug_kept_job_t));
    if (job == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    job->pool = pool;
    job->conf = kcf;
    job->fd = NGX_INVALID_FILE;
    job->file = *file;
    job->file.group.data = ngx_pstrdup(pool, &file->group);
    job->file.peer.data = ngx_pstrdup(pool, &file->peer);
    job->file.kind.data = ngx_pstrdup(pool, &file->kind);

    if (job->file.group.data == NULL
        || job->file.peer.data == NULL
        || job->file.kind.data == NULL)
    {
        ngx_destroy_pool(pool);
        return NULL;
    }

    return job;
}


/*
 * NGX_OK: DONE will be called, though not from here; otherwise it will not,
 * and "error" says why.
 */

static ngx_int_t
ngx_http_debug_kept_job_start(ngx_http_debug_kept_job_t *job,
    struct sockaddr *sockaddr, socklen_t socklen, ngx_str_t *name,
    ngx_msec_t timeout)
{
    char                        *args;
    u_char                      *p, text[256];
    ngx_buf_t                   *b;
    ngx_int_t                    rc;
    ngx_str_t                    host, reason, *kind;
    ngx_uint_t                   cpu;
    ngx_chain_t                 *cl;
    ngx_http_debug_fetch_t      *f;
    ngx_http_debug_run_other_t   other;

    static ngx_str_t  who = ngx_string("debug_snapshots");

    f = &job->fetch;
    kind = &job->file.kind;

    f->pool = job->pool;
    f->log = ngx_cycle->log;
    f->name.len = name->len;
    f->name.data = ngx_pstrdup(job->pool, name);
    f->sockaddr = ngx_palloc(job->pool, socklen);
    f->socklen = socklen;
    f->connect_timeout = NGX_HTTP_DEBUG_KEPT_CONNECT;
    f->timeout = timeout;
    f->data = job;
    f->header = ngx_http_debug_kept_header;
    f->body = ngx_http_debug_kept_body;
    f->end = ngx_http_debug_kept_end;

    b = ngx_create_temp_buf(job->pool, 256 + kind->len + name->len);
    cl = ngx_alloc_chain_link(job->pool);

    if (f->name.data == NULL || f->sockaddr == NULL || b == NULL || cl == NULL)
    {
        ngx_http_debug_kept_fail(job, NGX_HTTP_SERVICE_UNAVAILABLE,
                                 "nginx lacks memory");
        return NGX_ERROR;
    }

    ngx_memcpy(f->sockaddr, sockaddr, socklen);

    args = "";
    cpu = 0;

    if (ngx_http_debug_kept_is(kind, (u_char *) "heap", 4)) {

        /* else garbage would look like growth */
        args = "?gc=1";

    } else if (ngx_http_debug_kept_is(kind, (u_char *) "profile", 7)) {

        args = "?seconds=30";
        cpu = 1;
    }

    if (cpu || job->max) {
        rc = ngx_http_debug_runs_begin(&job->run, &f->name, &who,
                                       cpu ? NGX_HTTP_DEBUG_KEPT_SECONDS * 1000
                                           : 0,
                                       timeout,
                                       job->max ? job->max
                                                : NGX_HTTP_DEBUG_RUNS_MAX,
                                       cpu, 0, &other);

        if (rc == NGX_AGAIN) {
            ngx_http_debug_kept_fail(job, NGX_HTTP_SERVICE_UNAVAILABLE,
                       "%ui profile requests are under way, as many as"
                       " debug_pprof_max allows; ask again when one has"
                       " ended", other.count);
            return NGX_ERROR;
        }

        if (rc != NGX_OK) {
            ngx_http_debug_kept_fail(job, NGX_HTTP_SERVICE_UNAVAILABLE,
                       "a CPU profile of %V is under way; ask again when it"
                       " has ended", &job->file.peer);
            return NGX_ERROR;
        }
    }

    host = f->name;

    if (sockaddr->sa_family == AF_UNIX) {
        ngx_str_set(&host, "localhost");
    }

    b->last = ngx_sprintf(b->last, "GET /debug/pprof/%V%s HTTP/1.1" CRLF
                                   "Host: %V" CRLF
                                   "Connection: close" CRLF
                                   "User-Agent: ngx_http_debug_module" CRLF
                                   CRLF,
                          kind, args, &host);

    cl->buf = b;
    cl->next = NULL;
    f->request = cl;

    if (ngx_http_debug_fetch_start(f) != NGX_OK) {

        reason.data = text;
        p = ngx_http_debug_fetch_reason(f, text, text + sizeof(text));
        reason.len = p - text;

        ngx_http_debug_kept_fail(job, NGX_HTTP_BAD_GATEWAY, "%V %V", &f->name,
                                 &reason);
        ngx_http_debug_runs_end(&job->run, NULL, 0);
        return NGX_ERROR;
    }

    job->deadline.handler = ngx_http_debug_kept_deadline;
    job->deadline.data = job;
    job->deadline.log = ngx_cycle->log;

    ngx_add_timer(&job->deadline, timeout);

    return NGX_OK;
}


static ngx_int_t
ngx_http_debug_kept_header(ngx_http_debug_fetch_t *f)
{
    ngx_uint_t                  i;
    ngx_int_t                   pid;
    ngx_list_part_t            *part;
    ngx_table_elt_t            *h;
    ngx_http_debug_kept_job_t  *job;

    static ngx_str_t  name = ngx_string("X-Pprof-Pid");

    job = f->data;
    part = &f->headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len == name.len
            && ngx_strncasecmp(h[i].key.data, name.data, name.len) == 0)
        {
            pid = ngx_atoi(h[i].value.data, h[i].value.len);
            job->file.pid = (pid > 0) ? pid : 0;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_debug_kept_body(ngx_http_debug_fetch_t *f, ngx_chain_t *in)
{
    size_t                      size;
    ssize_t                     n;
    ngx_http_debug_kept_job_t  *job;

    job = f->data;

    if (f->status != NGX_HTTP_OK) {
        return NGX_OK;
    }

    if (job->temp == NULL) {

        if (*in->buf->pos != 0x1f) {
            ngx_http_debug_kept_fail(job, NGX_HTTP_BAD_GATEWAY,
                       "what %V answered is no profile", &f->name);
            goto failed;
        }

        if (ngx_http_debug_kept_open(job) != NGX_OK) {
            goto failed;
        }
    }

    for ( /* void */ ; in; in = in->next) {

        size = in->buf->last - in->buf->pos;
        job->file.size += size;

        if (job->file.size > NGX_HTTP_DEBUG_KEPT_MAX) {
            ngx_http_debug_kept_fail(job, NGX_HTTP_BAD_GATEWAY,
                       "the profile of %V is larger than %uz bytes, too large"
                       " to be kept",
                       &f->name, (size_t) NGX_HTTP_DEBUG_KEPT_MAX);
            goto failed;
        }

        n = ngx_write_fd(job->fd, in->buf->pos, size);

        if (n != (ssize_t) size) {

            /* a short write says no reason, and this is the one there is */

            ngx_http_debug_kept_disk(job, n == -1 ? ngx_errno : NGX_ENOSPC,
                                     "write to", job->temp);
            goto failed;
        }
    }

    return NGX_OK;

failed:

    /* not from within the fetch, which looks at itself once more */

    job->deadline.handler = ngx_http_debug_kept_deadline;
    ngx_add_timer(&job->deadline, 0);

    return NGX_ERROR;
}


static void
ngx_http_debug_kept_end(ngx_http_debug_fetch_t *f)
{
    u_char                     *p, text[256];
    ngx_str_t                   reason;
    ngx_http_debug_kept_job_t  *job;

    job = f->data;

    if (f->result != NGX_HTTP_DEBUG_FETCH_OK) {

        p = ngx_http_debug_fetch_reason(f, text, text + sizeof(text));

        reason.len = p - text;
        reason.data = text;

        ngx_http_debug_kept_fail(job, NGX_HTTP_BAD_GATEWAY, "%V %V", &f->name,
                                 &reason);

    } else if (f->status != NGX_HTTP_OK) {
        ngx_http_debug_kept_fail(job, NGX_HTTP_BAD_GATEWAY,
                   "%V has no %V profile for us: it answered %ui", &f->name,
                   &job->file.kind, f->status);

    } else if (job->temp == NULL) {
        ngx_http_debug_kept_fail(job, NGX_HTTP_BAD_GATEWAY,
                                 "%V answered with an empty profile",
                                 &f->name);

    } else if (ngx_http_debug_kept_finish(job) == NGX_OK) {
        ngx_http_debug_kept_rotate(job);
    }

    ngx_http_debug_kept_job_end(job);
}


/* It took too long; or it cannot be kept, and "error" says why. */

static void
ngx_http_debug_kept_deadline(ngx_event_t *ev)
{
    ngx_http_debug_kept_job_t  *job;

    job = ev->data;

    if (job->error.len == 0) {
        ngx_http_debug_kept_fail(job, NGX_HTTP_GATEWAY_TIME_OUT,
                                 "%V answered too slowly", &job->fetch.name);
    }

    ngx_http_debug_kept_job_end(job);
}


/* Nothing of JOB may be looked at after it. */

static void
ngx_http_debug_kept_job_end(ngx_http_debug_kept_job_t *job)
{
    ngx_pool_t  *pool;

    pool = job->pool;

    if (job->deadline.timer_set) {
        ngx_del_timer(&job->deadline);
    }

    ngx_http_debug_fetch_close(&job->fetch);
    ngx_http_debug_runs_end(&job->run, NULL, 0);

    if (job->fd != NGX_INVALID_FILE) {
        (void) ngx_close_file(job->fd);
    }

    if (job->temp != NULL) {
        (void) ngx_delete_file(job->temp);
    }

    job->done(job);

    ngx_destroy_pool(pool);
}


static void ngx_cdecl
ngx_http_debug_kept_fail(ngx_http_debug_kept_job_t *job, ngx_uint_t status,
    const char *fmt, ...)
{
    u_char   *p, text[NGX_HTTP_DEBUG_KEPT_ERROR];
    va_list   args;

    va_start(args, fmt);
    p = ngx_vslprintf(text, text + sizeof(text), fmt, args);
    va_end(args);

    job->status = status;
    job->error.data = ngx_pnalloc(job->pool, p - text);

    if (job->error.data == NULL) {
        ngx_str_set(&job->error, "nginx lacks memory");
        return;
    }

    job->error.len = p - text;
    ngx_memcpy(job->error.data, text, p - text);
}


static ngx_int_t
ngx_http_debug_kept_open(ngx_http_debug_kept_job_t *job)
{
    u_char     *path, text[64];
    ngx_str_t   name;

    static ngx_uint_t  serial;

    name.data = text;
    name.len = ngx_sprintf(text, ".tmp-%P-%ui", ngx_pid, serial++) - text;

    if (ngx_http_debug_kept_path(job->pool, job->conf, &name, &path) != NGX_OK)
    {
        ngx_http_debug_kept_fail(job, NGX_HTTP_SERVICE_UNAVAILABLE,
                                 "nginx lacks memory");
        return NGX_ERROR;
    }

    /* of another process with this pid, long ago */

    (void) ngx_delete_file(path);

    job->fd = ngx_open_tempfile(path, 1, 0600);

    if (job->fd == NGX_INVALID_FILE) {
        ngx_http_debug_kept_disk(job, ngx_errno, "open", path);
        return NGX_ERROR;
    }

    job->temp = path;

    return NGX_OK;
}


/* The temporary file gets its name. */

static ngx_int_t
ngx_http_debug_kept_finish(ngx_http_debug_kept_job_t *job)
{
    u_char                        *p, *path;
    ngx_fd_t                       fd;
    ngx_time_t                    *tp;
    ngx_http_debug_kept_file_t    *file;
    ngx_http_debug_kept_shared_t  *sh;

    fd = job->fd;
    job->fd = NGX_INVALID_FILE;

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_http_debug_kept_disk(job, ngx_errno, "close", job->temp);
        return NGX_ERROR;
    }

    file = &job->file;

    tp = ngx_timeofday();
    file->time = (uint64_t) tp->sec * 1000 + tp->msec;

    p = ngx_pnalloc(job->pool, 3 * (file->group.len + file->peer.len
                                    + file->kind.len)
                               + 2 * NGX_INT64_LEN + sizeof("~~~~~t.pb.gz"));
    path = NULL;

    if (p != NULL) {
        file->name.data = p;
        p = ngx_http_debug_kept_escape(p, &file->group);
        *p++ = '~';
        p = ngx_http_debug_kept_escape(p, &file->peer);
        *p++ = '~';
        p = ngx_http_debug_kept_escape(p, &file->kind);
        p = ngx_sprintf(p, "~%uL~%ui~%c.pb.gz", file->time, file->pid,
                        file->by);
        file->name.len = p - file->name.data;

        (void) ngx_http_debug_kept_path(job->pool, job->conf, &file->name,
                                        &path);
    }

    if (path == NULL) {
        ngx_http_debug_kept_fail(job, NGX_HTTP_SERVICE_UNAVAILABLE,
                                 "nginx lacks memory");
        return NGX_ERROR;
    }

    if (ngx_rename_file(job->temp, path) == NGX_FILE_ERROR) {
        ngx_http_debug_kept_disk(job, ngx_errno, "rename to", path);
        return NGX_ERROR;
    }

    job->temp = NULL;

    sh = job->conf->zone->data;

    ngx_http_debug_kept_lock(job->conf);

    if (sh->error_len) {
        sh->error_len = 0;
        sh->logged = 0;
    }

    ngx_http_debug_kept_unlock(job->conf);

    return NGX_OK;
}


/* A file cannot be written: for all to know, and once for the log. */

static void
ngx_http_debug_kept_disk(ngx_http_debug_kept_job_t *job, ngx_err_t err,
    char *what, u_char *name)
{
    u_char                        *p, text[128];
    ngx_str_t                      reason;
    ngx_uint_t                     say;
    ngx_http_debug_kept_shared_t  *sh;

    p = ngx_strerror(err, text, sizeof(text));

    reason.len = p - text;
    reason.data = text;

    ngx_http_debug_kept_fail(job, NGX_HTTP_INSUFFICIENT_STORAGE,
                             "%s \"%s\" failed (%d: %V)", what, name, err,
                             &reason);

    sh = job->conf->zone->data;

    ngx_http_debug_kept_lock(job->conf);

    say = sh->error_len == 0
          || (ngx_msec_int_t) (ngx_current_msec - sh->logged)
             >= NGX_HTTP_DEBUG_KEPT_LOG;

    if (say) {
        sh->logged = ngx_current_msec;
    }

    sh->error_len = ngx_min(job->error.len, NGX_HTTP_DEBUG_KEPT_ERROR);
    ngx_memcpy(sh->error, job->error.data, sh->error_len);

    ngx_http_debug_kept_unlock(job->conf);

    if (say) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "no snapshots can be kept: %V", &job->error);
    }
}


/* What is too much of this peer and kind goes, the oldest first. */

static void
ngx_http_debug_kept_rotate(ngx_http_debug_kept_job_t *job)
{
    u_char                      *path, *p;
    ngx_str_t                    prefix;
    ngx_uint_t                   i, n;
    ngx_array_t                 *list;
    ngx_http_debug_kept_file_t  *file;

    /* "group~peer~kind~" */

    prefix = job->file.name;

    for (n = 0, p = prefix.data; n < 3; p++) {
        if (*p == '~') {
            n++;
        }
    }

    prefix.len = p - prefix.data;

    list = ngx_http_debug_kept_list(job->pool, job->conf, NULL, &prefix);
    if (list == NULL) {
        return;
    }

    file = list->elts;

    for (i = job->conf->keep; i < list->nelts; i++) {

        if (ngx_http_debug_kept_path(job->pool, job->conf, &file[i].name,
                                     &path)
            != NGX_OK)
        {
            return;
        }

        if (ngx_delete_file(path) == NGX_FILE_ERROR && ngx_errno != NGX_ENOENT)
        {
            ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, ngx_errno,
                          ngx_delete_file_n " \"%s\" failed", path);
        }
    }
}


/*
 * The files in the directory, the newest first: those that CONF lets be seen,
 * or, if that is NULL, those whose names begin with PREFIX, without their
 * sizes; then what dead processes left half written is removed too.  NULL: no
 * memory.
 */

static ngx_array_t *
ngx_http_debug_kept_list(ngx_pool_t *pool, ngx_http_debug_kept_conf_t *kcf,
    ngx_http_debug_pprof_conf_t *conf, ngx_str_t *prefix)
{
    u_char                      *path;
    ngx_dir_t                    dir;
    ngx_str_t                    name, zero;
    ngx_array_t                 *list;
    ngx_file_info_t              fi;
    ngx_http_debug_kept_file_t  *file, f;

    list = ngx_array_create(pool, 64, sizeof(ngx_http_debug_kept_file_t));
    if (list == NULL) {
        return NULL;
    }

    zero.len = kcf->path->name.len;
    zero.data = kcf->path->name.data;

    if (ngx_open_dir(&zero, &dir) == NGX_ERROR) {

        /* the next snapshot will say it */

        return list;
    }

    while (ngx_read_dir(&dir) == NGX_OK) {

        name.len = ngx_de_namelen(&dir);
        name.data = ngx_de_name(&dir);

        if (name.len > 5 && ngx_strncmp(name.data, ".tmp-", 5) == 0) {

            if (conf == NULL
                && ngx_http_debug_kept_path(pool, kcf, &name, &path) == NGX_OK
                && ngx_file_info(path, &fi) != NGX_FILE_ERROR
                && ngx_file_mtime(&fi) + NGX_HTTP_DEBUG_KEPT_STALE
                   < ngx_time())
            {
                (void) ngx_delete_file(path);
            }

            continue;
        }

        if (conf == NULL
            && (name.len <= prefix->len
                || ngx_strncmp(name.data, prefix->data, prefix->len) != 0))
        {
            continue;
        }

        if (ngx_http_debug_kept_parse(pool, &name, &f) != NGX_OK
            || (conf != NULL
                && !ngx_http_debug_kept_shown(conf, &f.group, &f.kind)))
        {
            continue;
        }

        if (conf != NULL) {

            if (ngx_http_debug_kept_path(pool, kcf, &f.name, &path) != NGX_OK)
            {
                goto failed;
            }

            if (ngx_link_info(path, &fi) == NGX_FILE_ERROR
                || !ngx_is_file(&fi))
            {
                continue;
            }

            f.size = ngx_file_size(&fi);
        }

        file = ngx_array_push(list);
        if (file == NULL) {
            goto failed;
        }

        *file = f;
    }

    (void) ngx_close_dir(&dir);

    ngx_qsort(list->elts, list->nelts, sizeof(ngx_http_debug_kept_file_t),
              ngx_http_debug_kept_newer);

    return list;

failed:

    (void) ngx_close_dir(&dir);

    return NULL;
}


/* NGX_OK; NGX_DECLINED: it is none of ours; NGX_ERROR. */

static ngx_int_t
ngx_http_debug_kept_parse(ngx_pool_t *pool, ngx_str_t *name,
    ngx_http_debug_kept_file_t *file)
{
    off_t        time;
    u_char      *p, *last, *dst, *data;
    size_t       size;
    ngx_int_t    n, pid;
    ngx_str_t    part[6];
    ngx_uint_t   i;

    static ngx_str_t  tail = ngx_string(".pb.gz");

    if (name->len <= tail.len
        || ngx_strncmp(name->data + name->len - tail.len, tail.data, tail.len)
           != 0)
    {
        return NGX_DECLINED;
    }

    data = ngx_pnalloc(pool, 2 * name->len + 1);
    if (data == NULL) {
        return NGX_ERROR;
    }

    file->name.len = name->len;
    file->name.data = data;

    p = ngx_cpymem(data, name->data, name->len);
    *p++ = '\0';
    dst = p;

    p = data;
    last = data + name->len - tail.len;

    i = 0;
    part[0].data = dst;

    for ( /* void */ ; p < last; p++) {

        if (*p == '~') {
            part[i].len = dst - part[i].data;

            if (part[i].len == 0 || ++i == 6) {
                return NGX_DECLINED;
            }

            part[i].data = dst;
            continue;
        }

        if (*p == '%') {

            if (last - p < 3) {
                return NGX_DECLINED;
            }

            n = ngx_hextoi(p + 1, 2);

            if (n == NGX_ERROR) {
                return NGX_DECLINED;
            }

            *dst++ = (u_char) n;
            p += 2;
            continue;
        }

        *dst++ = *p;
    }

    part[i].len = dst - part[i].data;

    if (i != 5 || part[5].len != 1) {
        return NGX_DECLINED;
    }

    size = part[3].len;
    time = ngx_atoof(part[3].data, size);
    pid = ngx_atoi(part[4].data, part[4].len);

    if (time == NGX_ERROR || pid == NGX_ERROR) {
        return NGX_DECLINED;
    }

    file->group = part[0];
    file->peer = part[1];
    file->kind = part[2];
    file->time = time;
    file->pid = pid;
    file->by = part[5].data[0];

    return NGX_OK;
}


static u_char *
ngx_http_debug_kept_escape(u_char *p, ngx_str_t *s)
{
    u_char  ch;
    size_t  i;

    for (i = 0; i < s->len; i++) {
        ch = s->data[i];

        if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')
            || (ch >= '0' && ch <= '9')
            || ch == '_' || ch == '-' || ch == ':'
            || (ch == '.' && i != 0))
        {
            *p++ = ch;

        } else {
            p = ngx_sprintf(p, "%%%02Xi", (ngx_uint_t) ch);
        }
    }

    return p;
}


/* Makes the whole name of a file in the directory, with a zero after it. */

static ngx_int_t
ngx_http_debug_kept_path(ngx_pool_t *pool, ngx_http_debug_kept_conf_t *kcf,
    ngx_str_t *name, u_char **path)
{
    *path = ngx_pnalloc(pool, kcf->path->name.len + 1 + name->len + 1);
    if (*path == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_sprintf(*path, "%V/%V%Z", &kcf->path->name, name);

    return NGX_OK;
}


static int ngx_libc_cdecl
ngx_http_debug_kept_newer(const void *one, const void *two)
{
    const ngx_http_debug_kept_file_t  *a = one;
    const ngx_http_debug_kept_file_t  *b = two;

    if (a->time != b->time) {
        return a->time < b->time ? 1 : -1;
    }

    return ngx_memn2cmp(a->name.data, b->name.data, a->name.len, b->name.len);
}


/* Whether a location with CONF serves such profiles. */

static ngx_uint_t
ngx_http_debug_kept_shown(ngx_http_debug_pprof_conf_t *conf, ngx_str_t *group,
    ngx_str_t *kind)
{
    ngx_str_t              *name;
    ngx_uint_t              i;
    ngx_http_debug_pass_t  *pass;

    if (conf->pass != NULL) {
        pass = conf->pass->elts;

        for (i = 0; /* void */ ; i++) {

            if (i == conf->pass->nelts) {
                return 0;
            }

            if (ngx_http_debug_kept_is(group, pass[i].upstream->host.data,
                                       pass[i].upstream->host.len))
            {
                break;
            }
        }
    }

    if (conf->kinds == NULL) {
        return 1;
    }

    name = conf->kinds->elts;

    for (i = 0; i < conf->kinds->nelts; i++) {
        if (ngx_http_debug_kept_is(kind, name[i].data, name[i].len)) {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_http_debug_kept_is(ngx_str_t *a, u_char *data, size_t len)
{
    return a->len == len && ngx_memcmp(a->data, data, len) == 0;
}


static ngx_uint_t
ngx_http_debug_kept_known(ngx_str_t *kind)
{
    ngx_str_t  *known;

    for (known = ngx_http_debug_kept_kinds; known->len; known++) {
        if (ngx_http_debug_kept_is(kind, known->data, known->len)) {
            return 1;
        }
    }

    return 0;
}


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
    ngx_http_debug_kept_file_t    *file;
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
    list = ngx_http_debug_kept_list(r->pool, kcf, conf, NULL);

    if (sh == NULL || list == NULL) {
        return NGX_ERROR;
    }

    ngx_http_debug_kept_lock(kcf);
    *sh = *(ngx_http_debug_kept_shared_t *) kcf->zone->data;
    ngx_http_debug_kept_unlock(kcf);

    ngx_http_debug_out_print(&out,
                       ",\"enabled\":true,\"every\":%uL,\"keep\":%ui,"
                       "\"error\":",
                       (uint64_t) kcf->every / 1000, kcf->keep);

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
        ngx_http_debug_out_print(&out,
                          ",\"time\":%uL,\"pid\":%ui,\"size\":%O,"
                          "\"by\":\"%s\"}",
                          file[i].time / 1000, file[i].pid, file[i].size,
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
    ngx_http_debug_kept_file_t *file)
{
    ngx_http_debug_page_segment(out, &file->group);
    ngx_http_debug_out_literal(out, "/");
    ngx_http_debug_page_segment(out, &file->peer);
    ngx_http_debug_out_literal(out, "/");
    ngx_http_debug_page_segment(out, &file->kind);
    ngx_http_debug_out_print(out, "/%uL-%ui.pb.gz", file->time, file->pid);
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
    ngx_http_debug_kept_file_t    *file;
    ngx_http_debug_kept_shared_t  *sh;

    static ngx_str_t  title = ngx_string("Snapshots");

    ngx_http_debug_out_init(&out, r->pool);
    ngx_http_debug_page_begin(&out, "kept", &title, "../../");

    if (kcf->path == NULL) {
        ngx_http_debug_out_literal(&out,
            "<p class=\"empty\">nginx keeps no snapshots: the directive"
            " debug_snapshots says where.</p>\n");
        goto send;
    }

    list = ngx_http_debug_kept_list(r->pool, kcf, conf, NULL);
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
    u_char                      *path, *id, *p;
    ssize_t                      n;
    ngx_buf_t                   *b;
    ngx_fd_t                     fd;
    ngx_uint_t                   i;
    ngx_array_t                 *list;
    ngx_chain_t                  out;
    ngx_http_debug_kept_file_t  *file;

    static ngx_str_t  type = ngx_string("application/octet-stream");

    if (kcf->path == NULL) {
        return ngx_http_debug_answer_literal(r, NGX_HTTP_NOT_FOUND,
                   "nginx keeps no snapshots; see debug_snapshots");
    }

    list = ngx_http_debug_kept_list(r->pool, kcf, conf, NULL);
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

        p = ngx_sprintf(id, "%V/%V/%V/%uL-%ui.pb.gz", &file[i].group,
                        &file[i].peer, &file[i].kind, file[i].time,
                        file[i].pid);

        if (ngx_http_debug_kept_is(rest, id, p - id)) {
            break;
        }
    }

    if (i == list->nelts) {
        return ngx_http_debug_answer_literal(r, NGX_HTTP_NOT_FOUND,
                   "there is no such snapshot, or no more: the oldest are"
                   " removed when there are more than debug_snapshots keeps");
    }

    if (file[i].size == 0 || file[i].size > NGX_HTTP_DEBUG_KEPT_MAX) {
        return ngx_http_debug_answer_literal(r, NGX_HTTP_NOT_FOUND,
                                             "this file is no snapshot");
    }

    if (ngx_http_debug_kept_path(r->pool, kcf, &file[i].name, &path) != NGX_OK)
    {
        return NGX_ERROR;
    }

    b = ngx_create_temp_buf(r->pool, file[i].size);
    if (b == NULL) {
        return NGX_ERROR;
    }

    fd = ngx_open_file(path, NGX_FILE_RDONLY|NGX_FILE_NONBLOCK, NGX_FILE_OPEN,
                       0);
    n = NGX_ERROR;

    if (fd != NGX_INVALID_FILE) {
        n = ngx_read_fd(fd, b->pos, file[i].size);
        (void) ngx_close_file(fd);
    }

    if (n != file[i].size) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, ngx_errno,
                      "\"%s\" cannot be read", path);
        return ngx_http_debug_answer_literal(r,
                   NGX_HTTP_INTERNAL_SERVER_ERROR,
                   "this snapshot cannot be read; the error log says why");
    }

    b->last += n;

    out.buf = b;
    out.next = NULL;

    return ngx_http_debug_answer_chain(r, NGX_HTTP_OK, &type, &out, n);
}


/* Takes one now. */

static ngx_int_t
ngx_http_debug_kept_post(ngx_http_request_t *r,
    ngx_http_debug_kept_conf_t *kcf, ngx_http_debug_pprof_conf_t *conf)
{
    ngx_int_t                    rc;
    ngx_pool_cleanup_t          *cln;
    ngx_http_debug_kept_take_t  *take;

    if (ngx_http_debug_kept_foreign(r)) {
        return ngx_http_debug_answer_literal(r, NGX_HTTP_FORBIDDEN,
                   "another site's page asks for this; snapshots are refused"
                   " to it");
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

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_debug_kept_take_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    take = cln->data;
    take->conf = kcf;
    take->pprof = conf;
    cln->handler = ngx_http_debug_kept_pool_cleanup;

    r->request_body_in_single_buf = 1;
    r->request_body_in_file_only = 0;

    rc = ngx_http_read_client_request_body(r, ngx_http_debug_kept_form);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    return NGX_DONE;
}


static ngx_http_debug_kept_take_t *
ngx_http_debug_kept_get_take(ngx_http_request_t *r)
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


/*
 * Whether a page of somebody else's asks.  Browsers say it in Sec-Fetch-Site,
 * and on plain HTTP, or older ones, in Origin; curl says nothing.
 */

static ngx_uint_t
ngx_http_debug_kept_foreign(ngx_http_request_t *r)
{
    u_char           *p, *last;
    ngx_table_elt_t  *site, *origin, *host;

    site = ngx_http_debug_header_find(r, "sec-fetch-site");

    if (site != NULL) {
        return !ngx_http_debug_kept_is(&site->value, (u_char *) "same-origin",
                                       sizeof("same-origin") - 1)
               && !ngx_http_debug_kept_is(&site->value, (u_char *) "none",
                                          sizeof("none") - 1);
    }

    origin = ngx_http_debug_header_find(r, "origin");

    if (origin == NULL) {
        return 0;
    }

    host = ngx_http_debug_header_find(r, "host");

    last = origin->value.data + origin->value.len;
    p = ngx_strlchr(origin->value.data, last, ':');

    if (host == NULL || p == NULL || last - p < 3 || p[1] != '/'
        || p[2] != '/')
    {
        return 1;
    }

    p += 3;

    return (size_t) (last - p) != host->value.len
           || ngx_strncasecmp(p, host->value.data, host->value.len) != 0;
}


static void
ngx_http_debug_kept_form(ngx_http_request_t *r)
{
    ngx_int_t   rc;
    ngx_buf_t  *b;
    ngx_str_t   form;

    ngx_str_null(&form);

    if (r->request_body->bufs != NULL) {
        b = r->request_body->bufs->buf;

        if (b->in_file || r->request_body->bufs->next != NULL) {
            rc = ngx_http_debug_answer_literal(r,
                       NGX_HTTP_REQUEST_ENTITY_TOO_LARGE, "too large a form");
            ngx_http_finalize_request(r, rc);
            return;
        }

        form.len = b->last - b->pos;
        form.data = b->pos;
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
    ngx_int_t                     n, every;
    ngx_str_t                     group, peer, kind, times, gap, path, tail;
    ngx_array_t                  *groups;
    ngx_http_cleanup_t           *cln;
    ngx_http_debug_peer_t        *p;
    ngx_http_debug_kept_job_t    *job;
    ngx_http_debug_kept_file_t    file;
    ngx_http_debug_peer_group_t  *g;
    ngx_http_debug_kept_take_t   *take;

    take = ngx_http_debug_kept_get_take(r);

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
        return ngx_http_debug_answer_literal(r, NGX_HTTP_BAD_REQUEST,
                   "\"kind\" takes heap, allocs, profile, goroutine,"
                   " threadcreate, block, mutex or growth");
    }

    if (!ngx_http_debug_kept_shown(take->pprof, &group, &kind)) {
        return ngx_http_debug_answer_literal(r, NGX_HTTP_FORBIDDEN,
                   "such profiles are not let through; see debug_pprof_pass"
                   " and debug_pprof_kinds");
    }

    groups = ngx_http_debug_peers_list(r->pool, take->conf->upstreams,
                                       take->pprof->pass);
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

    ngx_memzero(&file, sizeof(ngx_http_debug_kept_file_t));

    file.group = g->name;
    file.peer = p->name;
    file.kind = kind;
    file.by = 'h';

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    job = ngx_http_debug_kept_job(take->conf, &file);
    if (job == NULL) {
        return NGX_ERROR;
    }

    job->done = ngx_http_debug_kept_hand_done;
    job->request = r;
    job->max = take->pprof->max;
    job->times = n;
    job->every = (ngx_msec_t) every * 1000;

    if (ngx_http_debug_kept_job_start(job, p->sockaddr, p->socklen, &p->pass,
                                      take->pprof->write_timeout)
        != NGX_OK)
    {
        n = ngx_http_debug_answer_text(r, job->status, &job->error);
        ngx_destroy_pool(job->pool);
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
ngx_http_debug_kept_hand_done(ngx_http_debug_kept_job_t *job)
{
    ngx_int_t              rc;
    ngx_str_t              location;
    ngx_table_elt_t       *accept;
    ngx_connection_t      *c;
    ngx_http_request_t    *r;
    ngx_http_debug_out_t   out;

    static ngx_str_t  here = ngx_string("./");

    if (job->error.len == 0
        && job->times > 1
        && ngx_http_debug_kept_plan(job) != NGX_OK)
    {
        ngx_http_debug_kept_fail(job, NGX_HTTP_SERVICE_UNAVAILABLE,
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

    if (job->error.len) {
        rc = ngx_http_debug_answer_text(r, job->status, &job->error);
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
    ngx_http_debug_kept_link(&out, &job->file);

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
    ngx_http_debug_kept_job_t *job = data;

    job->request = NULL;
}


/* Plans what follows; a second wish for the same replaces the first. */

static ngx_int_t
ngx_http_debug_kept_plan(ngx_http_debug_kept_job_t *job)
{
    ngx_uint_t                     i;
    ngx_http_debug_kept_file_t    *file;
    ngx_http_debug_kept_plan_t    *pl, *found;
    ngx_http_debug_kept_shared_t  *sh;

    sh = job->conf->zone->data;
    file = &job->file;
    found = NULL;

    ngx_http_debug_kept_lock(job->conf);

    for (i = 0; i < NGX_HTTP_DEBUG_KEPT_PLANS; i++) {
        pl = &sh->plan[i];

        if (pl->left == 0) {
            found = found ? found : pl;
            continue;
        }

        if (ngx_http_debug_kept_is(&file->group, pl->group, pl->group_len)
            && ngx_http_debug_kept_is(&file->peer, pl->peer, pl->peer_len)
            && ngx_http_debug_kept_is(&file->kind, pl->kind, pl->kind_len))
        {
            found = pl;
            break;
        }
    }

    if (found != NULL) {
        found->left = job->times - 1;
        found->every = job->every;
        found->next = ngx_current_msec + job->every;
        found->group_len = file->group.len;
        found->peer_len = file->peer.len;
        found->kind_len = file->kind.len;
        ngx_memcpy(found->group, file->group.data, file->group.len);
        ngx_memcpy(found->peer, file->peer.data, file->peer.len);
        ngx_memcpy(found->kind, file->kind.data, file->kind.len);
    }

    ngx_http_debug_kept_unlock(job->conf);

    return found ? NGX_OK : NGX_BUSY;
}


/*
 * Who may be profiled somewhere is asked where he is asked there: the
 * listeners of the first location that names some.
 */

ngx_int_t
ngx_http_debug_kept_init(ngx_conf_t *cf, ngx_http_debug_kept_conf_t *kcf)
{
    ngx_uint_t                      i, j, k;
    ngx_array_t                   **allowed;
    ngx_http_debug_pass_t          *p, *pass, *found;
    ngx_http_upstream_srv_conf_t  **uscfp;

    if (kcf->path == NULL) {
        return NGX_OK;
    }

    kcf->upstreams = ngx_http_conf_get_module_main_conf(cf,
                                                    ngx_http_upstream_module);

    kcf->pass = ngx_array_create(cf->pool, 4, sizeof(ngx_http_debug_pass_t));
    if (kcf->pass == NULL) {
        return NGX_ERROR;
    }

    uscfp = kcf->upstreams->upstreams.elts;

    for (i = 0; i < kcf->upstreams->upstreams.nelts; i++) {

        if (uscfp[i]->servers == NULL) {
            continue;
        }

        found = NULL;
        allowed = kcf->allowed ? kcf->allowed->elts : NULL;

        for (j = 0; kcf->allowed && j < kcf->allowed->nelts; j++) {
            p = allowed[j]->elts;

            for (k = 0; k < allowed[j]->nelts; k++) {
                if (p[k].upstream == uscfp[i]
                    && (found == NULL
                        || (found->listener == NULL && p[k].listener)))
                {
                    found = &p[k];
                }
            }
        }

        /* without a location to see them in, all the same */

        if (found == NULL && !kcf->all && kcf->allowed != NULL) {
            continue;
        }

        pass = ngx_array_push(kcf->pass);
        if (pass == NULL) {
            return NGX_ERROR;
        }

        ngx_memzero(pass, sizeof(ngx_http_debug_pass_t));

        pass->upstream = uscfp[i];
        pass->listener = found ? found->listener : NULL;
    }

    /* of constant size, so that a reload finds it again */

    kcf->zone = ngx_shared_memory_add(cf, &ngx_http_debug_kept_zone_name,
                          ngx_align(sizeof(ngx_http_debug_kept_shared_t),
                                    ngx_pagesize)
                          + 8 * ngx_pagesize,
                          &ngx_http_debug_module);
    if (kcf->zone == NULL) {
        return NGX_ERROR;
    }

    kcf->zone->init = ngx_http_debug_kept_init_zone;

    return NGX_OK;
}


static ngx_int_t
ngx_http_debug_kept_init_zone(ngx_shm_zone_t *zone, void *data)
{
    ngx_slab_pool_t  *shpool;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    if (data != NULL) {
        zone->data = data;
        return NGX_OK;
    }

    if (zone->shm.exists) {
        zone->data = shpool->data;
        return NGX_OK;
    }

    zone->data = ngx_slab_calloc(shpool, sizeof(ngx_http_debug_kept_shared_t));
    if (zone->data == NULL) {
        return NGX_ERROR;
    }

    shpool->data = zone->data;

    return NGX_OK;
}


ngx_int_t
ngx_http_debug_kept_allow(ngx_conf_t *cf, ngx_http_debug_kept_conf_t *kcf,
    ngx_array_t *pass)
{
    ngx_array_t  **p;

    if (pass == NULL) {
        kcf->all = 1;
        return NGX_OK;
    }

    if (kcf->allowed == NULL) {
        kcf->allowed = ngx_array_create(cf->pool, 4, sizeof(ngx_array_t *));
        if (kcf->allowed == NULL) {
            return NGX_ERROR;
        }
    }

    p = ngx_array_push(kcf->allowed);
    if (p == NULL) {
        return NGX_ERROR;
    }

    *p = pass;

    return NGX_OK;
}


char *
ngx_http_debug_kept_set(ngx_conf_t *cf, ngx_http_debug_kept_conf_t *kcf)
{
    char        *rv;
    u_char      *p, *last, *end;
    ngx_int_t    n;
    ngx_str_t   *value, s, *kind, path;
    ngx_uint_t   i, j;

    if (kcf->path != NULL) {
        return "is duplicate";
    }

    kcf->every = NGX_CONF_UNSET_MSEC;
    ngx_str_null(&path);

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "path=", 5) == 0
            && value[i].len > 5 && path.len == 0)
        {
            path.len = value[i].len - 5;
            path.data = value[i].data + 5;
            continue;
        }

        if (ngx_strncmp(value[i].data, "every=", 6) == 0
            && kcf->every == NGX_CONF_UNSET_MSEC)
        {
            s.len = value[i].len - 6;
            s.data = value[i].data + 6;

            n = ngx_parse_time(&s, 0);

            if (n == NGX_ERROR || n < 1000 || n > 24 * 3600 * 1000) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid value \"%V\","
                                   " it must be from 1s to 1d", &value[i]);
                return NGX_CONF_ERROR;
            }

            kcf->every = n;
            continue;
        }

        if (ngx_strncmp(value[i].data, "keep=", 5) == 0 && kcf->keep == 0) {

            n = ngx_atoi(value[i].data + 5, value[i].len - 5);

            if (n < 1 || n > 100000) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid value \"%V\","
                                   " it must be from 1 to 100000", &value[i]);
                return NGX_CONF_ERROR;
            }

            kcf->keep = n;
            continue;
        }

        if (ngx_strncmp(value[i].data, "kinds=", 6) == 0 && kcf->kinds == NULL)
        {
            kcf->kinds = ngx_array_create(cf->pool, 2, sizeof(ngx_str_t));
            if (kcf->kinds == NULL) {
                return NGX_CONF_ERROR;
            }

            last = value[i].data + value[i].len;

            for (p = value[i].data + 6; p <= last; p = end + 1) {

                end = ngx_strlchr(p, last, ',');
                if (end == NULL) {
                    end = last;
                }

                s.len = end - p;
                s.data = p;

                kind = kcf->kinds->elts;

                for (j = 0; j < kcf->kinds->nelts; j++) {
                    if (ngx_http_debug_kept_is(&s, kind[j].data, kind[j].len))
                    {
                        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                           "duplicate profile kind \"%V\"",
                                           &s);
                        return NGX_CONF_ERROR;
                    }
                }

                if (!ngx_http_debug_kept_known(&s)) {
                    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                       "invalid profile kind \"%V\"", &s);
                    return NGX_CONF_ERROR;
                }

                kind = ngx_array_push(kcf->kinds);
                if (kind == NULL) {
                    return NGX_CONF_ERROR;
                }

                *kind = s;
            }

            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\"", &value[i]);
        return NGX_CONF_ERROR;
    }

    if (path.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" must have \"path\" parameter", &value[0]);
        return NGX_CONF_ERROR;
    }

    ngx_conf_init_msec_value(kcf->every, 600000);

    if (kcf->keep == 0) {
        kcf->keep = 144;
    }

    if (kcf->kinds == NULL) {
        kcf->kinds = ngx_array_create(cf->pool, 1, sizeof(ngx_str_t));
        if (kcf->kinds == NULL) {
            return NGX_CONF_ERROR;
        }

        kind = ngx_array_push(kcf->kinds);
        if (kind == NULL) {
            return NGX_CONF_ERROR;
        }

        ngx_str_set(kind, "heap");
    }

    rv = ngx_http_debug_kept_set_path(cf, kcf, &path);

    return rv;
}


/*
 * nginx makes the directory, and gives it to the worker's user, with those of
 * its own temporary files; but there it cannot say where it was configured.
 */

static char *
ngx_http_debug_kept_set_path(ngx_conf_t *cf, ngx_http_debug_kept_conf_t *kcf,
    ngx_str_t *value)
{
    ngx_path_t       *path;
    ngx_file_info_t   fi;

    path = ngx_pcalloc(cf->pool, sizeof(ngx_path_t));
    if (path == NULL) {
        return NGX_CONF_ERROR;
    }

    path->name = *value;

    while (path->name.len > 1 && path->name.data[path->name.len - 1] == '/') {
        path->name.len--;
    }

    /* of a name without its slash a copy, with a zero at its end */

    path->name.data = ngx_pnalloc(cf->pool, path->name.len + 1);
    if (path->name.data == NULL) {
        return NGX_CONF_ERROR;
    }

    (void) ngx_cpystrn(path->name.data, value->data, path->name.len + 1);

    if (ngx_conf_full_name(cf->cycle, &path->name, 0) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    path->conf_file = cf->conf_file->file.name.data;
    path->line = cf->conf_file->line;

    if (ngx_create_dir(path->name.data, 0700) == NGX_FILE_ERROR
        && ngx_errno != NGX_EEXIST)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_create_dir_n " \"%V\" failed", &path->name);
        return NGX_CONF_ERROR;
    }

    if (ngx_file_info(path->name.data, &fi) == NGX_FILE_ERROR
        || !ngx_is_dir(&fi))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" is not a directory", &path->name);
        return NGX_CONF_ERROR;
    }

    kcf->path = path;

    if (ngx_add_path(cf, &kcf->path) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
