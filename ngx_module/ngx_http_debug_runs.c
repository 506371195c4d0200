
/*
 * Profile requests under way, of all workers.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_runs.h"
#include "ngx_http_debug_shared.h"


#define NGX_HTTP_DEBUG_RUNS_NAMES    64      /* groups and peers remembered */
#define NGX_HTTP_DEBUG_RUNS_REFUSED  10000   /* ms that a peer is avoided */


typedef struct {
    uint32_t              key;               /* 0: free */
    uint32_t              value;
    ngx_msec_t            time;
} ngx_http_debug_runs_name_t;


typedef struct {
    uint64_t                    serial;
    ngx_http_debug_run_t        run[NGX_HTTP_DEBUG_RUNS_MAX];
    ngx_http_debug_runs_name_t  defaults[NGX_HTTP_DEBUG_RUNS_NAMES];
    ngx_http_debug_runs_name_t  refused[NGX_HTTP_DEBUG_RUNS_NAMES];
} ngx_http_debug_runs_t;


static ngx_int_t ngx_http_debug_runs_init_zone(ngx_shm_zone_t *zone,
    void *data);
static ngx_uint_t ngx_http_debug_runs_holds(ngx_http_debug_run_t *run,
    ngx_str_t *peer);
static void ngx_http_debug_runs_tell(ngx_http_debug_run_t *run,
    ngx_http_debug_run_other_t *other);
static ngx_uint_t ngx_http_debug_runs_gone(ngx_http_debug_run_t *run);
static ngx_uint_t ngx_http_debug_runs_joined(ngx_http_debug_runs_t *runs,
    ngx_http_debug_run_t *run);
static void ngx_http_debug_runs_free(ngx_slab_pool_t *shpool,
    ngx_http_debug_runs_t *runs, ngx_http_debug_run_t *run);
static ngx_http_debug_run_t *ngx_http_debug_runs_get(
    ngx_http_debug_runs_t *runs, ngx_http_debug_run_ref_t *ref);
static ngx_http_debug_runs_name_t *ngx_http_debug_runs_name(
    ngx_http_debug_runs_name_t *names, uint32_t key, ngx_uint_t add);


static ngx_str_t  ngx_http_debug_runs_zone_name =
    ngx_string("ngx_http_debug_pprof");

/* the cycle's; a worker has one */
static ngx_shm_zone_t  *ngx_http_debug_runs_zone;


ngx_int_t
ngx_http_debug_runs_init(ngx_conf_t *cf)
{
    ngx_shm_zone_t  *zone;

    zone = ngx_http_debug_shared_add(cf, &ngx_http_debug_runs_zone_name,
                                     NGX_HTTP_DEBUG_RUNS_ZONE,
                                     sizeof(ngx_http_debug_runs_t));
    if (zone == NULL) {
        return NGX_ERROR;
    }

    zone->init = ngx_http_debug_runs_init_zone;

    ngx_http_debug_runs_zone = zone;

    return NGX_OK;
}


static ngx_int_t
ngx_http_debug_runs_init_zone(ngx_shm_zone_t *zone, void *data)
{
    ngx_slab_pool_t  *shpool;

    if (ngx_http_debug_shared_init(zone, data) != NGX_OK) {
        return NGX_ERROR;
    }

    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    /* an answer too large to share is told to who waits for it */
    shpool->log_nomem = 0;

    return NGX_OK;
}


ngx_int_t
ngx_http_debug_runs_begin(ngx_http_debug_run_ref_t *ref, ngx_str_t *peer,
    ngx_str_t *who, ngx_msec_t msec, ngx_msec_t last, ngx_uint_t max,
    ngx_uint_t exclusive, uint32_t form, ngx_http_debug_run_other_t *other)
{
    ngx_int_t               rc;
    ngx_uint_t              i, n, count;
    ngx_slab_pool_t        *shpool;
    ngx_http_debug_run_t   *run, *holder;
    ngx_http_debug_runs_t  *runs;

    runs = ngx_http_debug_runs_zone->data;
    shpool = (ngx_slab_pool_t *) ngx_http_debug_runs_zone->shm.addr;

    n = NGX_HTTP_DEBUG_RUNS_MAX;
    count = 0;
    holder = NULL;

    ngx_shmtx_lock(&shpool->mutex);

    /* with who is gone, what only he held goes, wherever it stands */

    for (i = 0; i < NGX_HTTP_DEBUG_RUNS_MAX; i++) {
        run = &runs->run[i];

        if (run->state != NGX_HTTP_DEBUG_RUN_FREE
            && ngx_http_debug_runs_gone(run))
        {
            ngx_http_debug_runs_free(shpool, runs, run);
        }
    }

    for (i = 0; i < NGX_HTTP_DEBUG_RUNS_MAX; i++) {
        run = &runs->run[i];

        switch (run->state) {

        case NGX_HTTP_DEBUG_RUN_FREE:
            n = ngx_min(n, i);
            break;

        case NGX_HTTP_DEBUG_RUN_ACTIVE:
            count++;

            if (exclusive && ngx_http_debug_runs_holds(run, peer)) {
                holder = run;
            }

            break;

        case NGX_HTTP_DEBUG_RUN_JOINED:
            count++;
            break;
        }
    }

    if (holder != NULL && (form == 0 || holder->form != form)) {
        ngx_http_debug_runs_tell(holder, other);
        rc = NGX_BUSY;

    } else if (count >= max || n == NGX_HTTP_DEBUG_RUNS_MAX) {
        other->count = count;
        rc = NGX_AGAIN;

    } else {
        run = &runs->run[n];

        ngx_memzero(run, sizeof(ngx_http_debug_run_t));

        run->state = NGX_HTTP_DEBUG_RUN_ACTIVE;
        run->serial = ++runs->serial;
        run->pid = ngx_pid;
        run->exclusive = exclusive;
        run->form = form;
        run->end = ngx_current_msec + msec;
        run->last = ngx_current_msec + last + NGX_HTTP_DEBUG_RUNS_STALE;
        run->seen = ngx_current_msec;

        run->peer_len = ngx_min(peer->len, NGX_HTTP_DEBUG_RUNS_NAME);
        ngx_memcpy(run->peer, peer->data, run->peer_len);

        run->who_len = ngx_min(who->len, NGX_HTTP_DEBUG_RUNS_NAME);
        ngx_memcpy(run->who, who->data, run->who_len);

        ref->n = n;
        ref->serial = run->serial;
        rc = NGX_OK;

        if (holder != NULL) {
            run->state = NGX_HTTP_DEBUG_RUN_JOINED;
            run->exclusive = 0;
            run->of.n = holder - runs->run;
            run->of.serial = holder->serial;
            rc = NGX_DONE;
        }
    }

    ngx_shmtx_unlock(&shpool->mutex);

    return rc;
}


ngx_int_t
ngx_http_debug_runs_busy(ngx_str_t *peer, ngx_http_debug_run_other_t *other)
{
    ngx_int_t               rc;
    ngx_uint_t              i;
    ngx_slab_pool_t        *shpool;
    ngx_http_debug_run_t   *run;
    ngx_http_debug_runs_t  *runs;

    runs = ngx_http_debug_runs_zone->data;
    shpool = (ngx_slab_pool_t *) ngx_http_debug_runs_zone->shm.addr;

    rc = NGX_DECLINED;

    ngx_shmtx_lock(&shpool->mutex);

    for (i = 0; i < NGX_HTTP_DEBUG_RUNS_MAX; i++) {

        run = &runs->run[i];

        if (run->state == NGX_HTTP_DEBUG_RUN_ACTIVE
            && ngx_http_debug_runs_holds(run, peer)
            && !ngx_http_debug_runs_gone(run))
        {
            ngx_http_debug_runs_tell(run, other);
            rc = NGX_OK;
            break;
        }
    }

    ngx_shmtx_unlock(&shpool->mutex);

    return rc;
}


/* Whether this run, which is under way, has the peer for itself. */

static ngx_uint_t
ngx_http_debug_runs_holds(ngx_http_debug_run_t *run, ngx_str_t *peer)
{
    size_t  len;

    len = ngx_min(peer->len, NGX_HTTP_DEBUG_RUNS_NAME);

    return run->exclusive
           && run->peer_len == len
           && ngx_memcmp(run->peer, peer->data, len) == 0;
}


static void
ngx_http_debug_runs_tell(ngx_http_debug_run_t *run,
    ngx_http_debug_run_other_t *other)
{
    ngx_msec_int_t  left;

    left = (ngx_msec_int_t) (run->end - ngx_current_msec);

    other->seconds = (left > 0) ? (left + 999) / 1000 : 1;
    other->who.len = run->who_len;
    other->who.data = other->text;
    ngx_memcpy(other->text, run->who, run->who_len);
}


/*
 * Whether nobody will end this run: its worker died, or its time is over by
 * far, as when its worker's pid became somebody else's.  A run that ended
 * stays for those who joined it.
 */

static ngx_uint_t
ngx_http_debug_runs_gone(ngx_http_debug_run_t *run)
{
    if (run->state != NGX_HTTP_DEBUG_RUN_ACTIVE
        && run->state != NGX_HTTP_DEBUG_RUN_JOINED)
    {
        return 0;
    }

    if ((ngx_msec_int_t) (ngx_current_msec - run->last) > 0) {
        return 1;
    }

    return kill(run->pid, 0) == -1 && ngx_errno == NGX_ESRCH;
}


static ngx_uint_t
ngx_http_debug_runs_joined(ngx_http_debug_runs_t *runs,
    ngx_http_debug_run_t *run)
{
    ngx_uint_t  i, n;

    n = 0;

    for (i = 0; i < NGX_HTTP_DEBUG_RUNS_MAX; i++) {
        if (runs->run[i].state == NGX_HTTP_DEBUG_RUN_JOINED
            && runs->run[i].of.serial == run->serial)
        {
            n++;
        }
    }

    return n;
}


/* With the last who joined it, a run that ended goes too. */

static void
ngx_http_debug_runs_free(ngx_slab_pool_t *shpool, ngx_http_debug_runs_t *runs,
    ngx_http_debug_run_t *run)
{
    ngx_http_debug_run_t  *of;

    of = NULL;

    if (run->state == NGX_HTTP_DEBUG_RUN_JOINED) {
        of = ngx_http_debug_runs_get(runs, &run->of);
    }

    if (run->answer != NULL) {
        ngx_slab_free_locked(shpool, run->answer);
        run->answer = NULL;
    }

    run->state = NGX_HTTP_DEBUG_RUN_FREE;
    run->serial = 0;

    if (of != NULL
        && of->state != NGX_HTTP_DEBUG_RUN_ACTIVE
        && ngx_http_debug_runs_joined(runs, of) == 0)
    {
        ngx_http_debug_runs_free(shpool, runs, of);
    }
}


/* NULL: the run that REF was of is no more. */

static ngx_http_debug_run_t *
ngx_http_debug_runs_get(ngx_http_debug_runs_t *runs,
    ngx_http_debug_run_ref_t *ref)
{
    ngx_http_debug_run_t  *run;

    run = &runs->run[ref->n];

    return (ref->serial && run->serial == ref->serial) ? run : NULL;
}


ngx_uint_t
ngx_http_debug_runs_seen(ngx_http_debug_run_ref_t *ref)
{
    ngx_uint_t              joined;
    ngx_slab_pool_t        *shpool;
    ngx_http_debug_run_t   *run;
    ngx_http_debug_runs_t  *runs;

    if (ref->serial == 0) {
        return 0;
    }

    runs = ngx_http_debug_runs_zone->data;
    shpool = (ngx_slab_pool_t *) ngx_http_debug_runs_zone->shm.addr;
    joined = 0;

    ngx_shmtx_lock(&shpool->mutex);

    run = ngx_http_debug_runs_get(runs, ref);

    if (run != NULL) {
        run->seen = ngx_current_msec;
        joined = ngx_http_debug_runs_joined(runs, run);
    }

    ngx_shmtx_unlock(&shpool->mutex);

    return joined;
}


void
ngx_http_debug_runs_end(ngx_http_debug_run_ref_t *ref, ngx_chain_t *answer,
    size_t size)
{
    u_char                 *p;
    ngx_slab_pool_t        *shpool;
    ngx_http_debug_run_t   *run;
    ngx_http_debug_runs_t  *runs;

    if (ref->serial == 0) {
        return;
    }

    runs = ngx_http_debug_runs_zone->data;
    shpool = (ngx_slab_pool_t *) ngx_http_debug_runs_zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    run = ngx_http_debug_runs_get(runs, ref);

    if (run != NULL && ngx_http_debug_runs_joined(runs, run) == 0) {
        ngx_http_debug_runs_free(shpool, runs, run);

    } else if (run != NULL) {

        run->state = NGX_HTTP_DEBUG_RUN_FAILED;

        if (answer != NULL && size <= NGX_HTTP_DEBUG_RUNS_ANSWER) {
            run->answer = ngx_slab_alloc_locked(shpool, size);
        }

        if (run->answer != NULL) {

            for (p = run->answer; answer; answer = answer->next) {
                p = ngx_cpymem(p, answer->buf->pos,
                               answer->buf->last - answer->buf->pos);
            }

            run->answer_len = size;
            run->state = NGX_HTTP_DEBUG_RUN_DONE;
        }
    }

    ngx_shmtx_unlock(&shpool->mutex);

    ref->serial = 0;
}


void
ngx_http_debug_runs_unshare(ngx_http_debug_run_ref_t *ref)
{
    ngx_slab_pool_t        *shpool;
    ngx_http_debug_run_t   *run;
    ngx_http_debug_runs_t  *runs;

    runs = ngx_http_debug_runs_zone->data;
    shpool = (ngx_slab_pool_t *) ngx_http_debug_runs_zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    run = ngx_http_debug_runs_get(runs, ref);

    if (run != NULL) {
        run->form = 0;
    }

    ngx_shmtx_unlock(&shpool->mutex);
}


ngx_int_t
ngx_http_debug_runs_poll(ngx_http_debug_run_ref_t *ref, ngx_str_t *answer)
{
    ngx_int_t               rc;
    ngx_slab_pool_t        *shpool;
    ngx_http_debug_run_t   *run, *of;
    ngx_http_debug_runs_t  *runs;

    runs = ngx_http_debug_runs_zone->data;
    shpool = (ngx_slab_pool_t *) ngx_http_debug_runs_zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    run = ngx_http_debug_runs_get(runs, ref);
    of = (run != NULL) ? ngx_http_debug_runs_get(runs, &run->of) : NULL;

    if (of == NULL) {
        rc = NGX_DECLINED;

    } else if (of->state == NGX_HTTP_DEBUG_RUN_DONE) {
        rc = NGX_OK;

        answer->len = of->answer_len;
        answer->data = of->answer;

    } else if (of->state == NGX_HTTP_DEBUG_RUN_ACTIVE
               && of->form
               && ngx_current_msec - of->seen < NGX_HTTP_DEBUG_RUNS_STALE
               && !ngx_http_debug_runs_gone(of))
    {
        rc = NGX_AGAIN;

    } else {
        rc = NGX_DECLINED;
    }

    ngx_shmtx_unlock(&shpool->mutex);

    return rc;
}


void
ngx_http_debug_runs_leave(ngx_http_debug_run_ref_t *ref)
{
    ngx_slab_pool_t        *shpool;
    ngx_http_debug_run_t   *run;
    ngx_http_debug_runs_t  *runs;

    if (ref->serial == 0) {
        return;
    }

    runs = ngx_http_debug_runs_zone->data;
    shpool = (ngx_slab_pool_t *) ngx_http_debug_runs_zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    run = ngx_http_debug_runs_get(runs, ref);

    if (run != NULL) {
        ngx_http_debug_runs_free(shpool, runs, run);
    }

    ngx_shmtx_unlock(&shpool->mutex);

    ref->serial = 0;
}


uint32_t
ngx_http_debug_runs_default(ngx_str_t *group)
{
    uint32_t                     peer;
    ngx_slab_pool_t             *shpool;
    ngx_http_debug_runs_t       *runs;
    ngx_http_debug_runs_name_t  *name;

    runs = ngx_http_debug_runs_zone->data;
    shpool = (ngx_slab_pool_t *) ngx_http_debug_runs_zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    name = ngx_http_debug_runs_name(runs->defaults,
                                    ngx_http_debug_runs_hash(group), 0);
    peer = name ? name->value : 0;

    ngx_shmtx_unlock(&shpool->mutex);

    return peer;
}


void
ngx_http_debug_runs_set_default(ngx_str_t *group, uint32_t peer)
{
    ngx_slab_pool_t             *shpool;
    ngx_http_debug_runs_t       *runs;
    ngx_http_debug_runs_name_t  *name;

    runs = ngx_http_debug_runs_zone->data;
    shpool = (ngx_slab_pool_t *) ngx_http_debug_runs_zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    name = ngx_http_debug_runs_name(runs->defaults,
                                    ngx_http_debug_runs_hash(group), 1);
    name->value = peer;
    name->time = ngx_current_msec;

    ngx_shmtx_unlock(&shpool->mutex);
}


ngx_uint_t
ngx_http_debug_runs_refused(ngx_str_t *peer)
{
    ngx_uint_t                   refused;
    ngx_slab_pool_t             *shpool;
    ngx_http_debug_runs_t       *runs;
    ngx_http_debug_runs_name_t  *name;

    runs = ngx_http_debug_runs_zone->data;
    shpool = (ngx_slab_pool_t *) ngx_http_debug_runs_zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    name = ngx_http_debug_runs_name(runs->refused,
                                    ngx_http_debug_runs_hash(peer), 0);

    refused = name != NULL
              && name->value
              && ngx_current_msec - name->time < NGX_HTTP_DEBUG_RUNS_REFUSED;

    ngx_shmtx_unlock(&shpool->mutex);

    return refused;
}


void
ngx_http_debug_runs_refuse(ngx_str_t *peer, ngx_uint_t refused)
{
    ngx_slab_pool_t             *shpool;
    ngx_http_debug_runs_t       *runs;
    ngx_http_debug_runs_name_t  *name;

    runs = ngx_http_debug_runs_zone->data;
    shpool = (ngx_slab_pool_t *) ngx_http_debug_runs_zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    name = ngx_http_debug_runs_name(runs->refused,
                                    ngx_http_debug_runs_hash(peer), refused);
    if (name != NULL) {
        name->value = (uint32_t) refused;
        name->time = ngx_current_msec;
    }

    ngx_shmtx_unlock(&shpool->mutex);
}


/* With ADD the oldest makes room; under the mutex. */

static ngx_http_debug_runs_name_t *
ngx_http_debug_runs_name(ngx_http_debug_runs_name_t *names, uint32_t key,
    ngx_uint_t add)
{
    ngx_uint_t                   i;
    ngx_http_debug_runs_name_t  *oldest;

    oldest = names;

    for (i = 0; i < NGX_HTTP_DEBUG_RUNS_NAMES; i++) {

        if (names[i].key == key) {
            return &names[i];
        }

        if (oldest->key
            && (names[i].key == 0
                || (ngx_msec_int_t) (names[i].time - oldest->time) < 0))
        {
            oldest = &names[i];
        }
    }

    if (!add) {
        return NULL;
    }

    oldest->key = key;
    oldest->value = 0;
    oldest->time = ngx_current_msec;

    return oldest;
}


uint32_t
ngx_http_debug_runs_hash(ngx_str_t *name)
{
    /* 0 means none */

    return ngx_crc32_long(name->data, name->len) | 1;
}
