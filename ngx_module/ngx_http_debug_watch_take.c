
/*
 * What is taken of an incident.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include "ngx_http_debug_faces.h"
#include "ngx_http_debug_kept_take.h"
#include "ngx_http_debug_watch_process.h"
#include "ngx_http_debug_watch_take.h"


#define NGX_HTTP_DEBUG_WATCH_TIMEOUT  15000  /* ms, of what takes its time */
#define NGX_HTTP_DEBUG_WATCH_SECONDS  10
#define NGX_HTTP_DEBUG_WATCH_BACK     900    /* s, of the numbers */
#define NGX_HTTP_DEBUG_WATCH_TRIES    1000   /* ids that may be taken */


/* what is taken of a process; libpprof records waits while it is asked to */

typedef struct {
    ngx_str_t    kind;
    char        *query;
    ngx_uint_t   seconds;
    ngx_uint_t   form;
    char        *tail;
} ngx_http_debug_watch_part_t;


static ngx_int_t ngx_http_debug_watch_take_folder(
    ngx_http_debug_incident_t *in);
static ngx_int_t ngx_http_debug_watch_take_story(
    ngx_http_debug_incident_t *in);
static void ngx_http_debug_watch_take_numbers(ngx_http_debug_incident_t *in,
    ngx_uint_t side);
static ngx_int_t ngx_http_debug_watch_take_put(ngx_http_debug_incident_t *in,
    ngx_str_t *name, ngx_http_debug_out_t *out, ngx_uint_t side, char *kind);
static void ngx_http_debug_watch_take_log(ngx_http_debug_incident_t *in);
static void ngx_http_debug_watch_take_look(ngx_http_debug_watch_ask_t *ask);
static void ngx_http_debug_watch_take_parts(ngx_http_debug_incident_t *in,
    ngx_uint_t side);
static ngx_int_t ngx_http_debug_watch_take_part(ngx_http_debug_incident_t *in,
    ngx_uint_t side, ngx_http_debug_watch_part_t *part);
static void ngx_http_debug_watch_take_done(ngx_http_debug_take_t *job);
static void ngx_http_debug_watch_take_said(ngx_http_debug_incident_t *in,
    ngx_uint_t side, ngx_str_t *kind, ngx_str_t *name, off_t size,
    ngx_str_t *error);
static void ngx_http_debug_watch_take_less(ngx_http_debug_incident_t *in);


static ngx_str_t  ngx_http_debug_watch_sides[] = {
    ngx_string("sick"),
    ngx_string("sister")
};


static ngx_http_debug_watch_part_t  ngx_http_debug_watch_parts[] = {
    { ngx_string("goroutine"), "?debug=2", 0, NGX_HTTP_DEBUG_TAKE_TEXT,
      ".txt" },
    { ngx_string("profile"), "?seconds=10", NGX_HTTP_DEBUG_WATCH_SECONDS,
      NGX_HTTP_DEBUG_TAKE_PROFILE, ".pb.gz" },
    { ngx_string("mutex"), "?seconds=10", NGX_HTTP_DEBUG_WATCH_SECONDS,
      NGX_HTTP_DEBUG_TAKE_PROFILE, ".pb.gz" },
    { ngx_string("block"), "?seconds=10", NGX_HTTP_DEBUG_WATCH_SECONDS,
      NGX_HTTP_DEBUG_TAKE_PROFILE, ".pb.gz" },
    { ngx_string("heap"), "", 0, NGX_HTTP_DEBUG_TAKE_PROFILE, ".pb.gz" },
    { ngx_string("process"), NULL, 0, NGX_HTTP_DEBUG_TAKE_ANY, ".json" },
    { ngx_null_string, NULL, 0, 0, NULL }
};


/* of this process */

static ngx_uint_t  ngx_http_debug_watch_taking;


ngx_http_debug_incident_t *
ngx_http_debug_watch_take_create(ngx_http_debug_watch_conf_t *wcf,
    ngx_http_debug_watch_rule_t *rule)
{
    ngx_pool_t                 *pool;
    ngx_http_debug_incident_t  *in;

    pool = ngx_create_pool(4096, ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    in = ngx_pcalloc(pool, sizeof(ngx_http_debug_incident_t));

    if (in == NULL
        || ngx_array_init(&in->files, pool, 16,
                          sizeof(ngx_http_debug_watch_file_t))
           != NGX_OK)
    {
        ngx_destroy_pool(pool);
        return NULL;
    }

    in->pool = pool;
    in->conf = wcf;
    in->rule = rule;
    in->cpu = -1;

    in->save.conf = wcf->kept;
    in->save.pool = pool;
    in->save.fd = NGX_INVALID_FILE;

    return in;
}


ngx_int_t
ngx_http_debug_watch_take_side(ngx_http_debug_incident_t *in, ngx_uint_t n,
    ngx_http_debug_watch_side_t *side)
{
    ngx_http_debug_watch_side_t  *s;

    s = &in->side[n];
    *s = *side;

    s->name.data = ngx_pstrdup(in->pool, &side->name);
    s->pass.data = ngx_pstrdup(in->pool, &side->pass);
    s->prefix.data = ngx_pstrdup(in->pool, &side->prefix);

    if (s->name.data == NULL
        || (s->pass.len && s->pass.data == NULL)
        || (s->prefix.len && s->prefix.data == NULL))
    {
        return NGX_ERROR;
    }

    if (side->sockaddr != NULL) {
        s->sockaddr = ngx_palloc(in->pool, side->socklen);
        if (s->sockaddr == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(s->sockaddr, side->sockaddr, side->socklen);
    }

    return NGX_OK;
}


void
ngx_http_debug_watch_take(ngx_http_debug_incident_t *in)
{
    ngx_time_t                   *tp;
    ngx_http_debug_watch_ask_t   *ask;
    ngx_http_debug_watch_side_t  *sick;

    ngx_http_debug_watch_taking++;

    /* until all that is begun here is begun */

    in->left = 1;

    tp = ngx_timeofday();
    in->began = (uint64_t) tp->sec * 1000 + tp->msec;

    if (ngx_http_debug_watch_story_tell(in) != NGX_OK) {
        ngx_http_debug_disk_fail(&in->save, 0, "nginx lacks memory");

    } else if (ngx_http_debug_watch_take_folder(in) == NGX_OK) {
        (void) ngx_http_debug_watch_take_story(in);
    }

    ngx_http_debug_watch_take_log(in);

    if (in->save.error.len) {

        /* nothing can be kept: nobody is asked for what would be lost */

        if (in->folder.len) {
            ngx_http_debug_disk_remove(&in->save, &in->folder);
            in->folder.len = 0;
        }

        ngx_http_debug_watch_take_less(in);
        return;
    }

    ngx_http_debug_watch_take_parts(in, NGX_HTTP_DEBUG_WATCH_SISTER);

    /* whose CPUs are all taken is not to be asked for more */

    sick = &in->side[NGX_HTTP_DEBUG_WATCH_SICK];
    ask = NULL;

    if (in->rule->ceiling && sick->sockaddr != NULL) {

        ask = ngx_pcalloc(in->pool, sizeof(ngx_http_debug_watch_ask_t));

        if (ask != NULL) {
            ask->done = ngx_http_debug_watch_take_look;
            ask->data = in;
            ask->pool = ngx_create_pool(1024, ngx_cycle->log);

            if (ask->pool == NULL
                || ngx_http_debug_watch_process_ask(ask, sick->sockaddr,
                                            sick->socklen, &sick->pass,
                                            &in->group, &sick->prefix,
                                            sick->ssl)
                   != NGX_OK)
            {
                ask = NULL;

            } else {
                in->left++;
            }
        }
    }

    if (ask == NULL) {
        ngx_http_debug_watch_take_parts(in, NGX_HTTP_DEBUG_WATCH_SICK);
    }

    ngx_http_debug_watch_take_numbers(in, NGX_HTTP_DEBUG_WATCH_SICK);
    ngx_http_debug_watch_take_numbers(in, NGX_HTTP_DEBUG_WATCH_SISTER);

    ngx_http_debug_watch_take_less(in);
}


/* Its time is its name: no other incident has it. */

static ngx_int_t
ngx_http_debug_watch_take_folder(ngx_http_debug_incident_t *in)
{
    uint64_t                        last;
    ngx_int_t                       rc;
    ngx_uint_t                      i;
    ngx_http_debug_disk_file_t     *file;
    ngx_http_debug_watch_shared_t  *sh;

    sh = in->conf->shm->data;
    file = &in->save.file;

    file->group = in->group;
    file->peer = in->side[NGX_HTTP_DEBUG_WATCH_SICK].name;
    file->rule = in->rule->text;

    rc = NGX_DECLINED;

    for (i = 0; rc == NGX_DECLINED && i < NGX_HTTP_DEBUG_WATCH_TRIES; i++) {

        last = ngx_http_debug_load(&sh->last);

        do {
            /* or the clock was set back since the last one */

            if (in->fired <= last && last - in->fired < 1000) {
                in->fired = last + 1;
            }

        } while (!__atomic_compare_exchange_n(&sh->last, &last, in->fired, 0,
                                              __ATOMIC_RELAXED,
                                              __ATOMIC_RELAXED));

        file->time = in->fired;

        rc = ngx_http_debug_disk_folder(&in->save);
    }

    if (rc == NGX_OK) {
        in->folder = in->save.folder;
    }

    return rc;
}


static ngx_int_t
ngx_http_debug_watch_take_story(ngx_http_debug_incident_t *in)
{
    ngx_http_debug_out_t  out;

    static ngx_str_t  name = ngx_string("incident.json");

    ngx_http_debug_out_init(&out, in->pool);
    ngx_http_debug_watch_story_json(&out, in);

    return ngx_http_debug_watch_take_put(in, &name, &out, 0, NULL);
}


/* What nginx itself knows, as charts/data has it. */

static void
ngx_http_debug_watch_take_numbers(ngx_http_debug_incident_t *in,
    ngx_uint_t side)
{
    u_char                    text[32];
    ngx_str_t                 name;
    ngx_http_debug_out_t      out;
    ngx_http_debug_json_t    *js;
    ngx_http_debug_filter_t   filter;

    if (in->side[side].name.len == 0 || in->save.error.len) {
        return;
    }

    ngx_memzero(&filter, sizeof(ngx_http_debug_filter_t));

    filter.upstream = in->group;
    filter.peer = in->side[side].name;

    ngx_http_debug_out_init(&out, in->pool);

    js = ngx_http_debug_json_create(&out, in->conf->zone, &filter);
    if (js == NULL) {
        return;
    }

    ngx_http_debug_json_history(js, 0, 0, NGX_HTTP_DEBUG_WATCH_BACK,
                                NGX_HTTP_DEBUG_PEER, 1);

    while (ngx_http_debug_json_history_step(js) == NGX_AGAIN) { /* void */ }

    name.data = text;
    name.len = ngx_sprintf(text, "%V-numbers.json",
                           &ngx_http_debug_watch_sides[side])
               - text;

    (void) ngx_http_debug_watch_take_put(in, &name, &out, side, "numbers");
}


static ngx_int_t
ngx_http_debug_watch_take_put(ngx_http_debug_incident_t *in, ngx_str_t *name,
    ngx_http_debug_out_t *out, ngx_uint_t side, char *kind)
{
    ngx_int_t  rc;
    ngx_str_t  s;

    if (out->failed) {
        ngx_http_debug_disk_fail(&in->save, 0, "nginx lacks memory");
        return NGX_ERROR;
    }

    rc = ngx_http_debug_disk_write(&in->save, name, out->chain);

    if (kind != NULL) {
        s.data = (u_char *) kind;
        s.len = ngx_strlen(kind);

        ngx_http_debug_watch_take_said(in, side, &s, name, out->size,
                                       &in->save.error);
    }

    return rc;
}


static void
ngx_http_debug_watch_take_log(ngx_http_debug_incident_t *in)
{
    ngx_str_t   none, *what;
    ngx_uint_t  kept;

    ngx_str_set(&none, "no memory for its words");

    what = in->words.nelts ? in->words.elts : &none;
    kept = (in->save.error.len == 0);

    if (kept) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "incident: %V of %V: %V; see %V%uL/",
                      &in->side[0].name, &in->group, what, &in->conf->url,
                      in->fired);
        return;
    }

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "incident: %V of %V: %V; it is not kept: %V",
                  &in->side[0].name, &in->group, what, &in->save.error);
}


/* The sick one has said what it uses, or has not. */

static void
ngx_http_debug_watch_take_look(ngx_http_debug_watch_ask_t *ask)
{
    ngx_int_t                     cpus;
    ngx_http_debug_incident_t    *in;
    ngx_http_debug_watch_side_t  *sick;

    in = ask->data;
    sick = &in->side[NGX_HTTP_DEBUG_WATCH_SICK];

    cpus = ask->cpus;

    if (cpus == 0 && sick->sockaddr->sa_family == AF_UNIX) {

        /* it is here */

        cpus = ngx_ncpu;
    }

    if (ask->told && ask->cpu >= 0 && cpus > 0) {
        in->cpu = ask->cpu / cpus;
        in->above = (in->cpu >= (ngx_int_t) in->rule->ceiling);
    }

    ngx_http_debug_watch_take_parts(in, NGX_HTTP_DEBUG_WATCH_SICK);
    ngx_http_debug_watch_take_less(in);
}


static void
ngx_http_debug_watch_take_parts(ngx_http_debug_incident_t *in, ngx_uint_t n)
{
    ngx_str_t                     none, error;
    ngx_http_debug_watch_part_t  *part;
    ngx_http_debug_watch_side_t  *side;

    side = &in->side[n];

    if (side->name.len == 0) {
        return;
    }

    ngx_str_null(&none);
    ngx_str_null(&error);

    if (side->sockaddr == NULL) {
        ngx_str_set(&error, "it has no listener for profiles");
    }

    if (ngx_http_debug_watch_taking > NGX_HTTP_DEBUG_WATCH_MAX) {
        ngx_str_set(&error, "as many incidents as nginx takes at once were"
                            " being taken");
    }

    for (part = ngx_http_debug_watch_parts; part->kind.len; part++) {

        /* what it knows of itself costs it nothing */

        if (error.len == 0 && part->query != NULL
            && n == NGX_HTTP_DEBUG_WATCH_SICK && in->above)
        {
            ngx_str_set(&error, "it used more of its CPUs than the ceiling"
                                " allows");
        }

        if (part->query == NULL && !in->above && error.len) {
            continue;
        }

        if (error.len && part->query != NULL) {
            ngx_http_debug_watch_take_said(in, n, &part->kind, &none, 0,
                                           &error);
            continue;
        }

        if (side->sockaddr != NULL
            && ngx_http_debug_watch_take_part(in, n, part) == NGX_OK)
        {
            in->left++;
        }
    }
}


static ngx_int_t
ngx_http_debug_watch_take_part(ngx_http_debug_incident_t *in, ngx_uint_t n,
    ngx_http_debug_watch_part_t *part)
{
    u_char                       *p;
    ngx_str_t                     error;
    ngx_http_debug_take_t        *job;
    ngx_http_debug_disk_file_t    file;
    ngx_http_debug_watch_side_t  *side;

    side = &in->side[n];

    ngx_memzero(&file, sizeof(ngx_http_debug_disk_file_t));

    file.group = in->group;
    file.peer = side->name;
    file.kind = part->kind;

    job = ngx_http_debug_take_create(in->conf->kept, &file);

    if (job == NULL) {
        ngx_str_set(&error, "nginx lacks memory");
        ngx_http_debug_watch_take_said(in, n, &part->kind, &error, 0, &error);
        return NGX_ERROR;
    }

    job->done = ngx_http_debug_watch_take_done;
    job->who = "debug_watch";
    job->level = NGX_LOG_INFO;
    job->form = part->form;
    job->seconds = part->seconds;
    job->data = in;
    job->side = n;
    job->save.folder = in->folder;

    p = ngx_pnalloc(job->save.pool, 64);

    if (p == NULL) {
        goto failed;
    }

    job->save.file.name.data = p;
    job->save.file.name.len = ngx_sprintf(p, "%V-%V%s",
                                          &ngx_http_debug_watch_sides[n],
                                          &part->kind, part->tail)
                              - p;

    if (part->query == NULL) {

        if (ngx_http_debug_watch_process_uri(job->save.pool, &side->prefix,
                                             NGX_HTTP_DEBUG_WATCH_BACK,
                                             &job->uri)
            != NGX_OK)
        {
            goto failed;
        }

    } else {
        job->uri.data = ngx_pnalloc(job->save.pool, side->prefix.len
                                                    + part->kind.len + 32);
        if (job->uri.data == NULL) {
            goto failed;
        }

        job->uri.len = ngx_sprintf(job->uri.data, "%V/%V%s", &side->prefix,
                                   &part->kind, part->query)
                       - job->uri.data;
    }

    if (ngx_http_debug_take_begin(job, side->sockaddr, side->socklen,
                                  &side->pass, &side->prefix, side->ssl,
                                  NGX_HTTP_DEBUG_WATCH_TIMEOUT)
        == NGX_OK)
    {
        return NGX_OK;
    }

failed:

    if (job->save.error.len == 0) {
        ngx_str_set(&job->save.error, "nginx lacks memory");
    }

    ngx_http_debug_watch_take_said(in, n, &part->kind, &job->save.file.name,
                                   0, &job->save.error);
    ngx_destroy_pool(job->save.pool);

    return NGX_ERROR;
}


static void
ngx_http_debug_watch_take_done(ngx_http_debug_take_t *job)
{
    ngx_http_debug_incident_t  *in;

    in = job->data;

    ngx_http_debug_watch_take_said(in, job->side, &job->save.file.kind,
                                   &job->save.file.name, job->save.file.size,
                                   &job->save.error);

    ngx_http_debug_watch_take_less(in);
}


/* NAME may be of a pool that goes. */

static void
ngx_http_debug_watch_take_said(ngx_http_debug_incident_t *in, ngx_uint_t side,
    ngx_str_t *kind, ngx_str_t *name, off_t size, ngx_str_t *error)
{
    ngx_http_debug_watch_file_t  *file;

    file = ngx_array_push(&in->files);
    if (file == NULL) {
        return;
    }

    ngx_memzero(file, sizeof(ngx_http_debug_watch_file_t));

    file->of = side;
    file->kind.data = ngx_pstrdup(in->pool, kind);
    file->kind.len = file->kind.data ? kind->len : 0;

    if (error->len) {
        file->error.data = ngx_pstrdup(in->pool, error);
        file->error.len = file->error.data ? error->len : 0;
        return;
    }

    file->size = size;
    file->name.data = ngx_pstrdup(in->pool, name);
    file->name.len = file->name.data ? name->len : 0;
}


/* One thing less to wait for; with the last all is over. */

static void
ngx_http_debug_watch_take_less(ngx_http_debug_incident_t *in)
{
    ngx_uint_t                    i;
    ngx_time_t                   *tp;
    ngx_http_debug_disk_save_t    save;
    ngx_http_debug_watch_file_t  *file;

    if (--in->left) {
        return;
    }

    ngx_http_debug_watch_taking--;

    if (in->folder.len) {
        tp = ngx_timeofday();
        in->ended = (uint64_t) tp->sec * 1000 + tp->msec;

        (void) ngx_http_debug_watch_take_story(in);

        save = in->save;

        ngx_str_null(&save.folder);

        /* what came since it began is not of the future */

        save.file.name = in->folder;
        save.file.time = in->ended;
        save.file.size = 0;

        file = in->files.elts;

        for (i = 0; i < in->files.nelts; i++) {
            save.file.size += file[i].size;
        }

        ngx_http_debug_disk_rotate(&save);
    }

    ngx_destroy_pool(in->pool);
}
