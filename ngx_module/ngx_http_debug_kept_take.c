
/*
 * Taking snapshots: what is due, and one of them from its peer to the disk.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include "ngx_http_debug_answer.h"
#include "ngx_http_debug_kept_take.h"
#include "ngx_http_debug_kinds.h"
#include "ngx_http_debug_magic.h"
#include "ngx_http_debug_peers.h"
#include "ngx_http_debug_pprof_ctx.h"
#include "ngx_http_debug_pprof_request.h"
#include "ngx_http_debug_via.h"


#define NGX_HTTP_DEBUG_TAKE_FIRST    5000    /* ms after the start */
#define NGX_HTTP_DEBUG_TAKE_LEASE    4000    /* ms without a sign of life */
#define NGX_HTTP_DEBUG_TAKE_CONNECT  5000    /* ms */
#define NGX_HTTP_DEBUG_TAKE_TIMEOUT  90000   /* ms of a whole snapshot */
#define NGX_HTTP_DEBUG_TAKE_FOREIGN  16384   /* bytes of what is no profile */


/* what the timer has to do, of this process */

typedef struct {
    ngx_http_debug_disk_file_t   file;
    struct sockaddr             *sockaddr;
    socklen_t                    socklen;
    ngx_str_t                    pass;
    ngx_str_t                    prefix;
    ngx_http_debug_pprof_ssl_t  *ssl;
} ngx_http_debug_take_item_t;


static void ngx_http_debug_take_timer(ngx_event_t *ev);
static ngx_int_t ngx_http_debug_take_due(ngx_http_debug_kept_conf_t *kcf);
static ngx_int_t ngx_http_debug_take_push(ngx_http_debug_peer_group_t *group,
    ngx_http_debug_peer_t *peer, ngx_str_t *kind,
    ngx_http_debug_pprof_ssl_t *ssl);
static void ngx_http_debug_take_next(ngx_http_debug_kept_conf_t *kcf);
static void ngx_http_debug_take_timer_done(ngx_http_debug_take_t *job);

static ngx_uint_t ngx_http_debug_take_level(ngx_http_debug_kept_conf_t *kcf,
    ngx_str_t *name);
static ngx_int_t ngx_http_debug_take_header(ngx_http_debug_fetch_t *f);
static ngx_int_t ngx_http_debug_take_body(ngx_http_debug_fetch_t *f,
    ngx_chain_t *in);
static void ngx_http_debug_take_end(ngx_http_debug_fetch_t *f);
static void ngx_http_debug_take_told(ngx_http_debug_take_t *job,
    ngx_uint_t failed);
static void ngx_http_debug_take_deadline(ngx_event_t *ev);
static void ngx_http_debug_take_over(ngx_http_debug_take_t *job);


/* of this process */

static ngx_event_t                   ngx_http_debug_take_event;
static ngx_connection_t              ngx_http_debug_take_dumb;
static ngx_http_debug_kept_conf_t   *ngx_http_debug_take_conf;
static ngx_pool_t                   *ngx_http_debug_take_pool;
static ngx_array_t                  *ngx_http_debug_take_round;
static ngx_uint_t                    ngx_http_debug_take_at;


void
ngx_http_debug_take_schedule(ngx_http_debug_kept_conf_t *kcf,
    ngx_cycle_t *cycle)
{
    ngx_event_t  *ev;

    if (kcf->path == NULL) {
        return;
    }

    ngx_http_debug_take_conf = kcf;

    ev = &ngx_http_debug_take_event;

    /* the log of events wants a descriptor */

    ngx_http_debug_take_dumb.fd = (ngx_socket_t) -1;

    ngx_memzero(ev, sizeof(ngx_event_t));

    ev->handler = ngx_http_debug_take_timer;
    ev->data = &ngx_http_debug_take_dumb;
    ev->log = cycle->log;
    ev->cancelable = 1;

    ngx_add_timer(ev, 1000);
}


static void
ngx_http_debug_take_timer(ngx_event_t *ev)
{
    ngx_http_debug_kept_conf_t  *kcf;

    if (ngx_exiting || ngx_terminate || ngx_quit) {

        /* another process finds the lease run out */

        return;
    }

    kcf = ngx_http_debug_take_conf;

    if (ngx_http_debug_take_lead(kcf) && ngx_http_debug_take_pool == NULL) {

        if (ngx_http_debug_take_due(kcf) == NGX_OK) {
            ngx_http_debug_take_next(kcf);
        }
    }

    ngx_add_timer(ev, 1000);
}


/* Whether it is for this process to do what is due. */

ngx_uint_t
ngx_http_debug_take_lead(ngx_http_debug_kept_conf_t *kcf)
{
    ngx_uint_t                     lead;
    ngx_http_debug_kept_shared_t  *sh;

    sh = kcf->zone->data;

    ngx_http_debug_kept_lock(kcf);

    lead = sh->pid == ngx_pid
           || sh->pid == 0
           || (ngx_msec_int_t) (ngx_current_msec - sh->seen)
              > NGX_HTTP_DEBUG_TAKE_LEASE
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
ngx_http_debug_take_due(ngx_http_debug_kept_conf_t *kcf)
{
    ngx_int_t                      rc;
    ngx_str_t                      kind, *kinds;
    ngx_uint_t                     i, j, k, n, all;
    ngx_array_t                   *groups;
    ngx_http_debug_peer_t         *p;
    ngx_http_debug_peer_group_t   *g;
    ngx_http_debug_kept_plan_t     plan[NGX_HTTP_DEBUG_KEPT_PLANS], *pl;
    ngx_http_debug_pprof_ssl_t   **ssl;
    ngx_http_debug_kept_shared_t  *sh;

    sh = kcf->zone->data;

    all = 0;
    n = 0;

    ngx_http_debug_kept_lock(kcf);

    if (!sh->started) {
        sh->started = 1;
        sh->next = ngx_current_msec
                   + ngx_min(kcf->every, NGX_HTTP_DEBUG_TAKE_FIRST);
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

    ngx_http_debug_take_pool = ngx_create_pool(4096, ngx_cycle->log);
    if (ngx_http_debug_take_pool == NULL) {
        return NGX_ERROR;
    }

    ngx_http_debug_take_at = 0;
    ngx_http_debug_take_round = ngx_array_create(ngx_http_debug_take_pool, 16,
                                          sizeof(ngx_http_debug_take_item_t));

    groups = ngx_http_debug_peers_list(ngx_http_debug_take_pool,
                                       kcf->asked->upstreams,
                                       kcf->asked->pass);

    if (ngx_http_debug_take_round == NULL || groups == NULL) {
        goto failed;
    }

    rc = NGX_OK;
    g = groups->elts;
    ssl = kcf->asked->ssl->elts;

    for (i = 0; i < groups->nelts; i++) {
        p = g[i].peers.elts;

        for (j = 0; j < g[i].peers.nelts; j++) {

            kinds = kcf->kinds->elts;

            for (k = 0; all && !p[j].down && k < kcf->kinds->nelts; k++) {
                rc |= ngx_http_debug_take_push(&g[i], &p[j], &kinds[k],
                                               ssl[i]);
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
                kind.data = ngx_pnalloc(ngx_http_debug_take_pool, kind.len);

                if (kind.data == NULL) {
                    goto failed;
                }

                ngx_memcpy(kind.data, pl->kind, kind.len);

                rc |= ngx_http_debug_take_push(&g[i], &p[j], &kind, ssl[i]);
            }
        }
    }

    if (rc == NGX_OK) {
        return NGX_OK;
    }

failed:

    ngx_destroy_pool(ngx_http_debug_take_pool);
    ngx_http_debug_take_pool = NULL;

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_debug_take_push(ngx_http_debug_peer_group_t *group,
    ngx_http_debug_peer_t *peer, ngx_str_t *kind,
    ngx_http_debug_pprof_ssl_t *ssl)
{
    ngx_http_debug_take_item_t  *item;

    if (peer->sockaddr == NULL) {
        return NGX_OK;
    }

    item = ngx_array_push(ngx_http_debug_take_round);
    if (item == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(item, sizeof(ngx_http_debug_take_item_t));

    item->file.group = group->name;
    item->file.peer = peer->name;
    item->file.kind = *kind;
    item->file.by = 't';
    item->sockaddr = peer->sockaddr;
    item->socklen = peer->socklen;
    item->pass = peer->pass;
    item->prefix = peer->prefix;
    item->ssl = ssl;

    return NGX_OK;
}


/* One after the other, so that a round costs no more than one client does. */

static void
ngx_http_debug_take_next(ngx_http_debug_kept_conf_t *kcf)
{
    ngx_http_debug_take_t   *job;
    ngx_http_debug_take_item_t  *item;

    item = ngx_http_debug_take_round->elts;

    while (ngx_http_debug_take_at < ngx_http_debug_take_round->nelts
           && !ngx_exiting)
    {
        item = ngx_http_debug_take_round->elts;
        item += ngx_http_debug_take_at++;

        job = ngx_http_debug_take_create(kcf, &item->file);
        if (job == NULL) {
            break;
        }

        job->done = ngx_http_debug_take_timer_done;

        if (ngx_http_debug_take_begin(job, item->sockaddr, item->socklen,
                                      &item->pass, &item->prefix, item->ssl,
                                      NGX_HTTP_DEBUG_TAKE_TIMEOUT)
            == NGX_OK)
        {
            return;
        }

        ngx_destroy_pool(job->save.pool);
    }

    ngx_destroy_pool(ngx_http_debug_take_pool);
    ngx_http_debug_take_pool = NULL;
}


static void
ngx_http_debug_take_timer_done(ngx_http_debug_take_t *job)
{
    if (job->save.error.len) {
        ngx_log_error(NGX_LOG_INFO, ngx_cycle->log, 0,
                      "no snapshot was taken: %V", &job->save.error);
    }

    ngx_http_debug_take_next(job->save.conf);
}


ngx_http_debug_take_t *
ngx_http_debug_take_create(ngx_http_debug_kept_conf_t *kcf,
    ngx_http_debug_disk_file_t *file)
{
    ngx_pool_t                 *pool;
    ngx_http_debug_take_t  *job;

    pool = ngx_create_pool(4096, ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    job = ngx_pcalloc(pool, sizeof(ngx_http_debug_take_t));
    if (job == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    job->save.pool = pool;
    job->save.conf = kcf;
    job->save.fd = NGX_INVALID_FILE;
    job->save.file = *file;
    job->save.file.group.data = ngx_pstrdup(pool, &file->group);
    job->save.file.peer.data = ngx_pstrdup(pool, &file->peer);
    job->save.file.kind.data = ngx_pstrdup(pool, &file->kind);

    if (job->save.file.group.data == NULL
        || job->save.file.peer.data == NULL
        || job->save.file.kind.data == NULL)
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

ngx_int_t
ngx_http_debug_take_begin(ngx_http_debug_take_t *job,
    struct sockaddr *sockaddr, socklen_t socklen, ngx_str_t *name,
    ngx_str_t *prefix, ngx_http_debug_pprof_ssl_t *ssl, ngx_msec_t timeout)
{
    char                        *args;
    u_char                      *p, text[256];
    ngx_int_t                    rc;
    ngx_str_t                    path, reason, who, *kind;
    ngx_uint_t                   cpu;
    ngx_http_debug_kind_t       *known;
    ngx_http_debug_fetch_t      *f;
    ngx_http_debug_run_other_t   other;

    f = &job->fetch;
    kind = &job->save.file.kind;

    f->pool = job->save.pool;
    f->log = ngx_cycle->log;
    f->name.len = name->len;
    f->name.data = ngx_pstrdup(job->save.pool, name);
    f->sockaddr = ngx_palloc(job->save.pool, socklen);
    f->socklen = socklen;
    f->connect_timeout = NGX_HTTP_DEBUG_TAKE_CONNECT;
    f->timeout = timeout;
    f->level = job->level ? job->level
                          : ngx_http_debug_take_level(job->save.conf, name);
    f->data = job;
    f->header = ngx_http_debug_take_header;
    f->body = ngx_http_debug_take_body;
    f->end = ngx_http_debug_take_end;

    ngx_http_debug_pprof_request_tls(f, ssl, &job->save.file.group);

    known = ngx_http_debug_kinds_find(kind);
    args = (known != NULL) ? known->query : "";

    path = job->uri;

    if (path.len == 0) {
        path.len = prefix->len + 1 + kind->len + ngx_strlen(args);
        path.data = ngx_pnalloc(job->save.pool, path.len);
    }

    if (f->name.data == NULL || f->sockaddr == NULL || path.data == NULL) {
        ngx_http_debug_disk_fail(&job->save, NGX_HTTP_SERVICE_UNAVAILABLE,
                                 "nginx lacks memory");
        return NGX_ERROR;
    }

    ngx_memcpy(f->sockaddr, sockaddr, socklen);

    if (job->uri.len == 0) {
        (void) ngx_sprintf(path.data, "%V/%V%s", prefix, kind, args);
    }

    if (ngx_http_debug_pprof_request_small(f, "GET", &path, job->request)
        != NGX_OK)
    {
        ngx_http_debug_disk_fail(&job->save, NGX_HTTP_SERVICE_UNAVAILABLE,
                                 "nginx lacks memory");
        return NGX_ERROR;
    }

    cpu = (known != NULL && (known->flags & NGX_HTTP_DEBUG_KIND_ALONE));

    if (job->seconds == 0 && known != NULL) {
        job->seconds = known->seconds;
    }

    if (cpu || job->max) {
        who.data = (u_char *) (job->who ? job->who : "debug_snapshots");
        who.len = ngx_strlen(who.data);

        rc = ngx_http_debug_runs_begin(&job->run, &f->name, &who,
                                       job->seconds * 1000,
                                       timeout,
                                       job->max ? job->max
                                                : NGX_HTTP_DEBUG_RUNS_MAX,
                                       cpu, 0, &other);

        if (rc == NGX_AGAIN) {
            ngx_http_debug_disk_fail(&job->save, NGX_HTTP_SERVICE_UNAVAILABLE,
                       "%ui profile requests are under way, as many as"
                       " debug_pprof_max allows; ask again when one has"
                       " ended", other.count);
            return NGX_ERROR;
        }

        if (rc != NGX_OK) {
            ngx_http_debug_disk_fail(&job->save, NGX_HTTP_SERVICE_UNAVAILABLE,
                       "a CPU profile of %V is under way; ask again when it"
                       " has ended", &job->save.file.peer);
            return NGX_ERROR;
        }
    }

    if (ngx_http_debug_fetch_start(f) != NGX_OK) {

        reason.data = text;
        p = ngx_http_debug_fetch_reason(f, text, text + sizeof(text));
        reason.len = p - text;

        ngx_http_debug_disk_fail(&job->save, NGX_HTTP_BAD_GATEWAY, "%V %V",
                                 &f->name, &reason);

        if (job->level == 0) {
            ngx_http_debug_take_told(job, 1);
        }

        ngx_http_debug_runs_end(&job->run, NULL, 0);
        return NGX_ERROR;
    }

    job->deadline.handler = ngx_http_debug_take_deadline;
    job->deadline.data = job;
    job->deadline.log = ngx_cycle->log;

    ngx_add_timer(&job->deadline, timeout);

    return NGX_OK;
}


/*
 * A peer that fails is asked again and again, for weeks perhaps; the log is
 * to say it once.
 */

static ngx_uint_t
ngx_http_debug_take_level(ngx_http_debug_kept_conf_t *kcf, ngx_str_t *name)
{
    uint32_t                       hash;
    ngx_uint_t                     told;
    ngx_http_debug_kept_shared_t  *sh;

    sh = kcf->zone->data;
    hash = ngx_http_debug_runs_hash(name);

    ngx_http_debug_kept_lock(kcf);
    told = sh->failed[(hash >> 1) % NGX_HTTP_DEBUG_KEPT_FAILED] == hash;
    ngx_http_debug_kept_unlock(kcf);

    return told ? NGX_LOG_INFO : NGX_LOG_ERR;
}


static void
ngx_http_debug_take_told(ngx_http_debug_take_t *job, ngx_uint_t failed)
{
    uint32_t                       hash, *place;
    ngx_http_debug_kept_shared_t  *sh;

    sh = job->save.conf->zone->data;
    hash = ngx_http_debug_runs_hash(&job->fetch.name);

    place = &sh->failed[(hash >> 1) % NGX_HTTP_DEBUG_KEPT_FAILED];

    ngx_http_debug_kept_lock(job->save.conf);

    if (failed) {
        *place = hash;

    } else if (*place == hash) {
        *place = 0;
    }

    ngx_http_debug_kept_unlock(job->save.conf);
}


static ngx_int_t
ngx_http_debug_take_header(ngx_http_debug_fetch_t *f)
{
    ngx_int_t               pid;
    ngx_table_elt_t        *h;
    ngx_http_debug_take_t  *job;

    job = f->data;
    h = ngx_http_debug_header_get(&f->headers, "X-Pprof-Pid");

    if (h != NULL) {
        pid = ngx_atoi(h->value.data, h->value.len);
        job->save.file.pid = (pid > 0) ? pid : 0;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_debug_take_body(ngx_http_debug_fetch_t *f, ngx_chain_t *in)
{
    off_t                   max;
    size_t                  size;
    ssize_t                 n;
    ngx_http_debug_take_t  *job;

    job = f->data;

    if (f->status != NGX_HTTP_OK) {

        /* which is told, and may have no end */

        return (f->body_size < NGX_HTTP_DEBUG_TAKE_FOREIGN) ? NGX_OK
                                                            : NGX_DONE;
    }

    if (job->save.temp == NULL) {

        if ((job->form == NGX_HTTP_DEBUG_TAKE_PROFILE
             && (*in->buf->pos != 0x1f
                 || !ngx_http_debug_magic(in->buf->pos,
                                          in->buf->last - in->buf->pos)))
            || (job->form == NGX_HTTP_DEBUG_TAKE_TEXT
                && !ngx_http_debug_pprof_answer_is_profiler(f)))
        {
            ngx_http_debug_disk_fail(&job->save, NGX_HTTP_BAD_GATEWAY,
                       "what %V answered is no profile", &f->name);
            goto failed;
        }

        if (ngx_http_debug_disk_open(&job->save) != NGX_OK) {
            goto failed;
        }
    }

    for ( /* void */ ; in; in = in->next) {

        size = in->buf->last - in->buf->pos;
        job->save.file.size += size;

        max = ngx_min(NGX_HTTP_DEBUG_KEPT_MAX, job->save.conf->space);

        if (job->save.file.size > max) {
            ngx_http_debug_disk_fail(&job->save, NGX_HTTP_BAD_GATEWAY,
                       "the profile of %V is larger than %O bytes, too large"
                       " to be kept", &f->name, max);
            goto failed;
        }

        n = ngx_write_fd(job->save.fd, in->buf->pos, size);

        if (n != (ssize_t) size) {

            /* a short write says no reason, and this is the one there is */

            ngx_http_debug_disk_error(&job->save,
                                      n == -1 ? ngx_errno : NGX_ENOSPC,
                                     "write to", job->save.temp);
            goto failed;
        }
    }

    return NGX_OK;

failed:

    /* not from within the fetch, which looks at itself once more */

    job->deadline.handler = ngx_http_debug_take_deadline;
    ngx_add_timer(&job->deadline, 0);

    return NGX_ERROR;
}


static void
ngx_http_debug_take_end(ngx_http_debug_fetch_t *f)
{
    u_char                     *p, text[256];
    ngx_str_t                   reason;
    ngx_http_debug_take_t  *job;

    job = f->data;

    if (job->level == 0) {
        ngx_http_debug_take_told(job, f->result != NGX_HTTP_DEBUG_FETCH_OK);
    }

    if (f->result != NGX_HTTP_DEBUG_FETCH_OK) {

        p = ngx_http_debug_fetch_reason(f, text, text + sizeof(text));

        reason.len = p - text;
        reason.data = text;

        ngx_http_debug_disk_fail(&job->save, NGX_HTTP_BAD_GATEWAY, "%V %V",
                                 &f->name, &reason);

    } else if (f->status == NGX_HTTP_DEBUG_LOOP) {
        ngx_http_debug_disk_fail(&job->save, NGX_HTTP_BAD_GATEWAY,
                   "%V leads back to this nginx: it answered %ui", &f->name,
                   f->status);

    } else if (f->status != NGX_HTTP_OK) {
        ngx_http_debug_disk_fail(&job->save, NGX_HTTP_BAD_GATEWAY,
                   "%V has no %V profile for us: it answered %ui", &f->name,
                   &job->save.file.kind, f->status);

    } else if (job->save.temp == NULL) {
        ngx_http_debug_disk_fail(&job->save, NGX_HTTP_BAD_GATEWAY,
                                 "%V answered with an empty profile",
                                 &f->name);

    } else if (ngx_http_debug_disk_finish(&job->save) == NGX_OK
               && job->save.folder.len == 0)
    {
        ngx_http_debug_disk_rotate(&job->save);
    }

    ngx_http_debug_take_over(job);
}


/* It took too long; or it cannot be kept, and "error" says why. */

static void
ngx_http_debug_take_deadline(ngx_event_t *ev)
{
    ngx_http_debug_take_t  *job;

    job = ev->data;

    if (job->save.error.len == 0) {
        ngx_http_debug_disk_fail(&job->save, NGX_HTTP_GATEWAY_TIME_OUT,
                                 "%V answered too slowly", &job->fetch.name);
    }

    ngx_http_debug_take_over(job);
}


/* Nothing of JOB may be looked at after it. */

static void
ngx_http_debug_take_over(ngx_http_debug_take_t *job)
{
    ngx_pool_t  *pool;

    pool = job->save.pool;

    if (job->deadline.timer_set) {
        ngx_del_timer(&job->deadline);
    }

    ngx_http_debug_fetch_close(&job->fetch);
    ngx_http_debug_runs_end(&job->run, NULL, 0);

    ngx_http_debug_disk_drop(&job->save);

    job->done(job);

    ngx_destroy_pool(pool);
}


/* Plans what follows; a second wish for the same replaces the first. */

ngx_int_t
ngx_http_debug_take_plan(ngx_http_debug_take_t *job)
{
    ngx_uint_t                     i;
    ngx_http_debug_disk_file_t    *file;
    ngx_http_debug_kept_plan_t    *pl, *found;
    ngx_http_debug_kept_shared_t  *sh;

    sh = job->save.conf->zone->data;
    file = &job->save.file;
    found = NULL;

    ngx_http_debug_kept_lock(job->save.conf);

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

    ngx_http_debug_kept_unlock(job->save.conf);

    return found ? NGX_OK : NGX_BUSY;
}
