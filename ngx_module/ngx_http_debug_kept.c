
/*
 * Snapshots: profiles that nginx takes and keeps.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_kept.h"
#include "ngx_http_debug_kinds.h"
#include "ngx_http_debug_peers.h"
#include "ngx_http_debug_shared.h"


#define NGX_HTTP_DEBUG_KEPT_SPACE    (64 * 1024)  /* the least "space" */


static char *ngx_http_debug_kept_set_path(ngx_conf_t *cf,
    ngx_http_debug_kept_conf_t *kcf, ngx_str_t *value);


static ngx_str_t  ngx_http_debug_kept_zone_name =
    ngx_string("ngx_http_debug_kept");


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
                                   "invalid value \"%V\" in"
                                   " \"debug_snapshots\" directive,"
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
                                   "invalid value \"%V\" in"
                                   " \"debug_snapshots\" directive,"
                                   " it must be from 1 to 100000", &value[i]);
                return NGX_CONF_ERROR;
            }

            kcf->keep = n;
            continue;
        }

        if (ngx_strncmp(value[i].data, "space=", 6) == 0 && kcf->space == 0) {

            s.len = value[i].len - 6;
            s.data = value[i].data + 6;

            kcf->space = ngx_parse_offset(&s);

            if (kcf->space < NGX_HTTP_DEBUG_KEPT_SPACE) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid value \"%V\" in"
                                   " \"debug_snapshots\" directive,"
                                   " it must be a size of at least 64k",
                                   &value[i]);
                return NGX_CONF_ERROR;
            }

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
                                       "invalid profile kind \"%V\" in"
                                       " \"debug_snapshots\" directive,"
                                       " it is none that can be kept", &s);
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
                           "invalid parameter \"%V\" in \"debug_snapshots\""
                           " directive, it must be \"path=\", \"every=\","
                           " \"keep=\", \"space=\" or \"kinds=\", each once,"
                           " with a value", &value[i]);
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

    if (kcf->space == 0) {
        kcf->space = (off_t) 1024 * 1024 * 1024;
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


ngx_int_t
ngx_http_debug_kept_init(ngx_conf_t *cf, ngx_http_debug_kept_conf_t *kcf)
{
    if (kcf->path == NULL) {
        return NGX_OK;
    }

    kcf->zone = ngx_http_debug_shared_add(cf, &ngx_http_debug_kept_zone_name,
                          ngx_align(sizeof(ngx_http_debug_kept_shared_t),
                                    ngx_pagesize)
                          + 8 * ngx_pagesize,
                          sizeof(ngx_http_debug_kept_shared_t));

    return (kcf->zone != NULL) ? NGX_OK : NGX_ERROR;
}


ngx_uint_t
ngx_http_debug_kept_known(ngx_str_t *kind)
{
    ngx_http_debug_kind_t  *known;

    known = ngx_http_debug_kinds_find(kind);

    return known != NULL && (known->flags & NGX_HTTP_DEBUG_KIND_KEPT);
}


ngx_uint_t
ngx_http_debug_kept_is(ngx_str_t *a, u_char *data, size_t len)
{
    return a->len == len && ngx_memcmp(a->data, data, len) == 0;
}


ngx_uint_t
ngx_http_debug_kept_shown(ngx_http_debug_pprof_conf_t *conf, ngx_str_t *group,
    ngx_str_t *kind)
{
    return ngx_http_debug_kept_sees(conf, group)
           && ngx_http_debug_kept_lets(conf, kind);
}


ngx_uint_t
ngx_http_debug_kept_sees(ngx_http_debug_pprof_conf_t *conf, ngx_str_t *group)
{
    ngx_str_t              *name;
    ngx_uint_t              i;
    ngx_http_debug_pass_t  *pass;

    if (conf->pass == NULL) {
        return 1;
    }

    pass = conf->pass->elts;

    for (i = 0; i < conf->pass->nelts; i++) {

        /* what proxy_pass makes is called by its port too */

        name = &pass[i].group;

        if (ngx_http_debug_kept_is(group, name->data, name->len)) {
            return 1;
        }

        /* sockets by a pattern are no upstream */

        if (pass[i].upstream == NULL) {
            continue;
        }

        name = &pass[i].upstream->host;

        if (ngx_http_debug_kept_is(group, name->data, name->len)) {
            return 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_http_debug_kept_lets(ngx_http_debug_pprof_conf_t *conf, ngx_str_t *kind)
{
    ngx_str_t   *name;
    ngx_uint_t   i;

    name = conf->kinds->elts;

    for (i = 0; i < conf->kinds->nelts; i++) {
        if (ngx_http_debug_kept_is(kind, name[i].data, name[i].len)) {
            return 1;
        }
    }

    return 0;
}
