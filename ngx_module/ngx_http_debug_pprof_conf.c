
/*
 * The directives of the way to a peer's profiler.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_kinds.h"
#include "ngx_http_debug_plain.h"
#include "ngx_http_debug_pprof.h"
#include "ngx_http_debug_runs.h"
#include "ngx_http_debug_send.h"


ngx_conf_enum_t  ngx_http_debug_pprof_busy[] = {
    { ngx_string("refuse"), NGX_HTTP_DEBUG_PPROF_REFUSE },
    { ngx_string("share"), NGX_HTTP_DEBUG_PPROF_SHARE },
    { ngx_null_string, 0 }
};


ngx_conf_num_bounds_t  ngx_http_debug_pprof_max_bounds = {
    ngx_conf_check_num_bounds, 1, NGX_HTTP_DEBUG_RUNS_MAX
};


static ngx_array_t *ngx_http_debug_pprof_known(ngx_conf_t *cf);
static ngx_int_t ngx_http_debug_pprof_prefix(ngx_str_t *prefix);
static ngx_int_t ngx_http_debug_pprof_add(ngx_array_t *kinds,
    ngx_str_t *name);


/*
 * Arrays of ngx_http_debug_pass_t, whose upstreams are to be found when the
 * whole configuration was read.  Of use while one is read, not after.
 */

static ngx_array_t  *ngx_http_debug_pprof_passes;

/* whether any location is ours, in that configuration */
static ngx_uint_t    ngx_http_debug_pprof_used;


void
ngx_http_debug_pprof_conf_reset(void)
{
    ngx_http_debug_pprof_passes = NULL;
    ngx_http_debug_pprof_used = 0;
}


void
ngx_http_debug_pprof_create_conf(ngx_conf_t *cf,
    ngx_http_debug_pprof_conf_t *conf)
{
    conf->write_timeout = NGX_CONF_UNSET_MSEC;
    conf->pass = NGX_CONF_UNSET_PTR;
    conf->kinds = NGX_CONF_UNSET_PTR;
    conf->max = NGX_CONF_UNSET;
    conf->busy = NGX_CONF_UNSET_UINT;
    conf->keepalive = NGX_CONF_UNSET_MSEC;
    conf->ssl = NGX_CONF_UNSET_PTR;
}


char *
ngx_http_debug_pprof_merge_conf(ngx_conf_t *cf,
    ngx_http_debug_pprof_conf_t *prev, ngx_http_debug_pprof_conf_t *conf)
{
    ngx_conf_merge_msec_value(conf->write_timeout, prev->write_timeout, 90000);
    ngx_conf_merge_ptr_value(conf->pass, prev->pass, NULL);
    ngx_conf_merge_ptr_value(conf->kinds, prev->kinds,
                             ngx_http_debug_pprof_known(cf));
    ngx_conf_merge_value(conf->max, prev->max, 4);
    ngx_conf_merge_uint_value(conf->busy, prev->busy,
                              NGX_HTTP_DEBUG_PPROF_REFUSE);
    ngx_conf_merge_msec_value(conf->keepalive, prev->keepalive, 0);
    ngx_conf_merge_ptr_value(conf->ssl, prev->ssl, NULL);

    return (conf->kinds != NULL) ? NGX_CONF_OK : NGX_CONF_ERROR;
}


/* The kinds of who says nothing of kinds. */

static ngx_array_t *
ngx_http_debug_pprof_known(ngx_conf_t *cf)
{
    ngx_array_t            *kinds;
    ngx_http_debug_kind_t  *known;

    kinds = ngx_array_create(cf->pool, 12, sizeof(ngx_str_t));
    if (kinds == NULL) {
        return NULL;
    }

    for (known = ngx_http_debug_kinds; known->name.len; known++) {
        if (ngx_http_debug_pprof_add(kinds, &known->name) == NGX_ERROR) {
            return NULL;
        }
    }

    return kinds;
}


void
ngx_http_debug_pprof_merge_location(ngx_conf_t *cf)
{
    ngx_http_core_loc_conf_t  *clcf, *server;
    ngx_http_core_srv_conf_t  *cscf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    cscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);
    server = cscf->ctx->loc_conf[ngx_http_core_module.ctx_index];

    /*
     * The site's error pages are not for profilers; those of this location
     * itself are meant for whom it lets in.
     */

    if (clcf->error_pages == server->error_pages) {
        clcf->error_pages = NULL;
    }

    /*
     * Only "symbol" takes a body, and has a bound of its own, which it tells
     * in a sentence; client_max_body_size would answer with a page.
     */

    clcf->client_max_body_size = 0;

    ngx_http_debug_pprof_used = 1;
}


ngx_int_t
ngx_http_debug_pprof_init(ngx_conf_t *cf, ngx_array_t *listeners)
{
    ngx_uint_t                       i, k;
    ngx_array_t                    **pass;
    ngx_http_debug_pass_t           *p;
    ngx_http_upstream_srv_conf_t   **uscfp;

    if (ngx_http_debug_send_init(cf) != NGX_OK
        || ngx_http_debug_runs_init(cf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_http_debug_pprof_used && ngx_http_debug_plain_init(cf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_debug_pprof_passes == NULL) {
        return NGX_OK;
    }

    pass = ngx_http_debug_pprof_passes->elts;

    for (i = 0; i < ngx_http_debug_pprof_passes->nelts; i++) {
        if (ngx_http_debug_peers_init(cf, pass[i]) != NGX_OK) {
            return NGX_ERROR;
        }

        p = pass[i]->elts;

        for (k = 0; k < pass[i]->nelts; k++) {

            if (p[k].listener == NULL || p[k].listener == p[k].upstream) {
                continue;
            }

            uscfp = ngx_array_push(listeners);
            if (uscfp == NULL) {
                return NGX_ERROR;
            }

            *uscfp = p[k].listener;
        }
    }

    ngx_http_debug_pprof_passes = NULL;

    return NGX_OK;
}


char *
ngx_http_debug_pprof_write_timeout(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    char        *rv;
    ngx_msec_t  *msec;

    rv = ngx_conf_set_msec_slot(cf, cmd, conf);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    msec = (ngx_msec_t *) ((char *) conf + cmd->offset);

    if (*msec == 0) {
        return "must not be zero: no answer could be sent";
    }

    if (*msec <= 30000) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "with \"debug_write_timeout\" of 30 seconds or"
                           " less, CPU profiles of the default 30 seconds"
                           " are refused");
    }

    return NGX_CONF_OK;
}


char *
ngx_http_debug_pprof_keepalive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t   *value;
    ngx_msec_t  *msec;

    value = cf->args->elts;
    msec = (ngx_msec_t *) ((char *) conf + cmd->offset);

    if (ngx_strcmp(value[1].data, "off") == 0) {

        if (*msec != NGX_CONF_UNSET_MSEC) {
            return "is duplicate";
        }

        *msec = 0;

        return NGX_CONF_OK;
    }

    return ngx_conf_set_msec_slot(cf, cmd, conf);
}


char *
ngx_http_debug_pprof_pass(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t              *value;
    ngx_uint_t              i, n;
    ngx_array_t           **all, **pass;
    ngx_http_debug_pass_t  *p;

    pass = (ngx_array_t **) ((char *) conf + cmd->offset);

    if (*pass == NGX_CONF_UNSET_PTR) {

        *pass = ngx_array_create(cf->pool, 2, sizeof(ngx_http_debug_pass_t));
        if (*pass == NULL) {
            return NGX_CONF_ERROR;
        }

        if (ngx_http_debug_pprof_passes == NULL) {
            ngx_http_debug_pprof_passes = ngx_array_create(cf->pool, 2,
                                                       sizeof(ngx_array_t *));
            if (ngx_http_debug_pprof_passes == NULL) {
                return NGX_CONF_ERROR;
            }
        }

        all = ngx_array_push(ngx_http_debug_pprof_passes);
        if (all == NULL) {
            return NGX_CONF_ERROR;
        }

        *all = *pass;
    }

    value = cf->args->elts;
    p = (*pass)->elts;

    for (i = 0; i < (*pass)->nelts; i++) {
        if (p[i].group.len == value[1].len
            && ngx_strncasecmp(p[i].group.data, value[1].data, value[1].len)
               == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate upstream \"%V\"", &value[1]);
            return NGX_CONF_ERROR;
        }
    }

    p = ngx_array_push(*pass);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(p, sizeof(ngx_http_debug_pass_t));

    p->group = value[1];
    p->file = cf->conf_file->file.name.data;
    p->line = cf->conf_file->line;

    n = cf->args->nelts;

    if (ngx_strncmp(value[n - 1].data, "prefix=", 7) == 0) {
        n--;

        p->prefix.len = value[n].len - 7;
        p->prefix.data = value[n].data + 7;

        if (ngx_http_debug_pprof_prefix(&p->prefix) != NGX_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid prefix \"%V\" in"
                               " \"debug_pprof_pass\" directive, it must be a"
                               " path as \"/app/debug/pprof\"", &p->prefix);
            return NGX_CONF_ERROR;
        }
    }

    if (n == 2) {
        return NGX_CONF_OK;
    }

    if (n != 3) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" in \"debug_pprof_pass\""
                           " directive, after group and listeners only"
                           " \"prefix=\" may come", &value[3]);
        return NGX_CONF_ERROR;
    }

    p->listeners = value[2];

    if (ngx_strncmp(value[2].data, "unix:", sizeof("unix:") - 1) != 0) {
        return NGX_CONF_OK;
    }

    p->pattern.len = value[2].len - (sizeof("unix:") - 1);
    p->pattern.data = value[2].data + sizeof("unix:") - 1;

    if (p->pattern.len == 0 || p->pattern.data[0] != '/') {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no absolute path in \"%V\"", &value[2]);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/*
 * An absolute path that can stand in a request line as it is, without its last
 * slash.
 */

static ngx_int_t
ngx_http_debug_pprof_prefix(ngx_str_t *prefix)
{
    u_char      ch;
    ngx_uint_t  i;

    if (prefix->len == 0 || prefix->data[0] != '/') {
        return NGX_ERROR;
    }

    while (prefix->len > 1 && prefix->data[prefix->len - 1] == '/') {
        prefix->len--;
    }

    if (prefix->len == 1) {
        return NGX_ERROR;
    }

    for (i = 0; i < prefix->len; i++) {
        ch = prefix->data[i];

        if (ch <= ' ' || ch >= 0x7f || ch == '?' || ch == '#') {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * "debug_pprof_ssl on | off" or its parameters; any of them but "off" means
 * "on".
 */

char *
ngx_http_debug_pprof_ssl(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
#if (NGX_HTTP_SSL)

    ngx_str_t                    *value, *p, trusted, cert, key, number;
    ngx_int_t                     depth;
    ngx_uint_t                    i, n;
    ngx_pool_cleanup_t           *cln;
    ngx_http_debug_pprof_ssl_t  **ssl;

    static ngx_str_t  names[] = {
        ngx_string("trusted="), ngx_string("name="),
        ngx_string("certificate="), ngx_string("key="),
        ngx_string("depth="), ngx_null_string
    };
    ngx_str_t        *values[5];

    ssl = (ngx_http_debug_pprof_ssl_t **) ((char *) conf + cmd->offset);

    if (*ssl != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        *ssl = NULL;
        return NGX_CONF_OK;
    }

    *ssl = ngx_pcalloc(cf->pool, sizeof(ngx_http_debug_pprof_ssl_t));
    if (*ssl == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_str_null(&trusted);
    ngx_str_null(&cert);
    ngx_str_null(&key);
    ngx_str_null(&number);

    values[0] = &trusted;
    values[1] = &(*ssl)->name;
    values[2] = &cert;
    values[3] = &key;
    values[4] = &number;

    for (i = 1; i < cf->args->nelts; i++) {

        if (i == 1 && ngx_strcmp(value[i].data, "on") == 0) {
            continue;
        }

        for (n = 0; names[n].len; n++) {
            if (ngx_strncmp(value[i].data, names[n].data, names[n].len) == 0) {
                break;
            }
        }

        if (names[n].len == 0 || value[i].len == names[n].len) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" in"
                               " \"debug_pprof_ssl\" directive, it must be"
                               " \"on\", \"off\", or one of \"trusted=\","
                               " \"depth=\", \"name=\", \"certificate=\" and"
                               " \"key=\" with a value", &value[i]);
            return NGX_CONF_ERROR;
        }

        p = values[n];

        if (p->len) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate parameter \"%V\" in"
                               " \"debug_pprof_ssl\" directive", &value[i]);
            return NGX_CONF_ERROR;
        }

        p->len = value[i].len - names[n].len;
        p->data = value[i].data + names[n].len;
    }

    depth = 1;

    if (number.len) {
        depth = ngx_atoi(number.data, number.len);

        if (depth == NGX_ERROR) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid value \"%V\" of \"depth\" in"
                               " \"debug_pprof_ssl\" directive, it must be a"
                               " number", &number);
            return NGX_CONF_ERROR;
        }
    }

    if ((cert.len == 0) != (key.len == 0)) {
        return "must have both \"certificate\" and \"key\" or neither";
    }

    (*ssl)->ssl = ngx_pcalloc(cf->pool, sizeof(ngx_ssl_t));
    if ((*ssl)->ssl == NULL) {
        return NGX_CONF_ERROR;
    }

    (*ssl)->ssl->log = cf->log;

    if (ngx_ssl_create((*ssl)->ssl, NGX_SSL_TLSv1_2|NGX_SSL_TLSv1_3, NULL)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        ngx_ssl_cleanup_ctx((*ssl)->ssl);
        return NGX_CONF_ERROR;
    }

    cln->handler = ngx_ssl_cleanup_ctx;
    cln->data = (*ssl)->ssl;

#ifdef SSL_OP_IGNORE_UNEXPECTED_EOF

    /* an end that the peer did not say is none: ngx_http_debug_fetch.c */

    SSL_CTX_clear_options((*ssl)->ssl->ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);

#endif

    if (cert.len
        && ngx_ssl_certificate(cf, (*ssl)->ssl, &cert, &key, NULL) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (trusted.len) {

        (*ssl)->verify = 1;

        if (ngx_ssl_trusted_certificate(cf, (*ssl)->ssl, &trusted, depth)
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;

#else

    return "requires an nginx that is built with SSL";

#endif
}


char *
ngx_http_debug_pprof_kinds(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t                    *value;
    ngx_uint_t                    i;
    ngx_array_t                 **kinds;
    ngx_http_debug_kind_t  *known;

    kinds = (ngx_array_t **) ((char *) conf + cmd->offset);

    if (*kinds != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    *kinds = ngx_array_create(cf->pool, cf->args->nelts - 1,
                              sizeof(ngx_str_t));
    if (*kinds == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (!ngx_http_debug_kinds_valid(&value[i])) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid profile kind \"%V\" in"
                               " \"debug_pprof_kinds\" directive, it must be a"
                               " name of letters, digits, \"_\", \"-\" and"
                               " \".\", or \"all\"", &value[i]);
            return NGX_CONF_ERROR;
        }

        if (ngx_http_debug_pprof_add(*kinds, &value[i]) != NGX_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate profile kind \"%V\"", &value[i]);
            return NGX_CONF_ERROR;
        }
    }

    for (i = 1; i < cf->args->nelts; i++) {

        if (!ngx_http_debug_kinds_is_all(&value[i])) {
            continue;
        }

        /* those that are known are shown, whether a peer has them or not */

        for (known = ngx_http_debug_kinds; known->name.len; known++) {
            if (ngx_http_debug_pprof_add(*kinds, &known->name) == NGX_ERROR) {
                return NGX_CONF_ERROR;
            }
        }
    }

    return NGX_CONF_OK;
}


/* NGX_OK; NGX_DECLINED, it is there; or NGX_ERROR, no memory. */

static ngx_int_t
ngx_http_debug_pprof_add(ngx_array_t *kinds, ngx_str_t *name)
{
    ngx_str_t   *kind;
    ngx_uint_t   i;

    kind = kinds->elts;

    for (i = 0; i < kinds->nelts; i++) {
        if (kind[i].len == name->len
            && ngx_strncmp(kind[i].data, name->data, name->len) == 0)
        {
            return NGX_DECLINED;
        }
    }

    kind = ngx_array_push(kinds);
    if (kind == NULL) {
        return NGX_ERROR;
    }

    *kind = *name;

    return NGX_OK;
}
