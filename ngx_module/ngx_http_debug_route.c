
/*
 * debug_route: by which name a request is known behind nginx.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_route.h"


static char *ngx_http_debug_route_check(ngx_str_t *name);
static void ngx_http_debug_route_location(ngx_conf_t *cf,
    ngx_http_debug_route_conf_t *conf);


char *
ngx_http_debug_route_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *p = conf;

    char                         *why;
    ngx_str_t                    *value;
    ngx_http_debug_route_conf_t  *rcf;

    rcf = (ngx_http_debug_route_conf_t *) (p + cmd->offset);

    if (rcf->enable != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 3) {

        if (ngx_strcmp(value[2].data, "show") != 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" in \"debug_route\""
                               " directive, it must be \"show\"", &value[2]);
            return NGX_CONF_ERROR;
        }

        rcf->shown = 1;
    }

    if (ngx_strcmp(value[1].data, "off") == 0) {

        if (rcf->shown) {
            return "has no id to show where it is \"off\"";
        }

        rcf->enable = 0;
        return NGX_CONF_OK;
    }

    rcf->enable = 1;

    if (ngx_strcmp(value[1].data, "on") == 0) {
        return NGX_CONF_OK;
    }

    why = ngx_http_debug_route_check(&value[1]);

    if (why) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid route \"%V\" in \"debug_route\""
                           " directive: %s", &value[1], why);
        return NGX_CONF_ERROR;
    }

    rcf->given = value[1];

    return NGX_CONF_OK;
}


/* NULL, or what is wrong with a name. */

static char *
ngx_http_debug_route_check(ngx_str_t *name)
{
    size_t  i;

    if (name->len == 0) {
        return "it is empty";
    }

    if (name->len > NGX_HTTP_DEBUG_ROUTE_LEN) {
        return "it has more than 48 bytes";
    }

    for (i = 0; i < name->len; i++) {

        /* pprof separates what it looks for by commas, the mark ends by ";" */

        if (name->data[i] == ',' || name->data[i] == ';') {
            return "it has a \",\" or a \";\"";
        }

        if (name->data[i] < ' ' || name->data[i] == 0x7f) {
            return "it has a control character";
        }
    }

    if (name->data[0] == ' ' || name->data[name->len - 1] == ' ') {
        return "it begins or ends with a blank";
    }

    if (ngx_strcmp(name->data, "-") == 0
        || ngx_strcmp(name->data, "other") == 0)
    {
        return "profiles call by it what has no route of its own";
    }

    if (ngx_strcmp(name->data, "show") == 0) {
        return "\"show\" stands behind \"on\" or a name";
    }

    return NULL;
}


ngx_int_t
ngx_http_debug_route_merge(ngx_conf_t *cf, ngx_http_debug_route_conf_t *prev,
    ngx_http_debug_route_conf_t *conf)
{
    ngx_str_t                  name;
    ngx_http_core_loc_conf_t  *clcf;

    if (conf->enable == NGX_CONF_UNSET) {
        conf->enable = (prev->enable == NGX_CONF_UNSET) ? 0 : prev->enable;
        conf->given = prev->given;
        conf->shown = prev->shown;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (conf->given.len) {
        conf->len = conf->given.len;
        ngx_memcpy(conf->name, conf->given.data, conf->len);

    } else if (clcf->noname) {

        /* "if" and "limit_except" are parts of their location */

        conf->len = prev->len;
        ngx_memcpy(conf->name, prev->name, NGX_HTTP_DEBUG_ROUTE_LEN);

    } else {
        ngx_http_debug_route_location(cf, conf);
    }

    if (!conf->enable || conf->len == 0) {
        return NGX_OK;
    }

    name.len = conf->len;
    name.data = conf->name;

    conf->mark = ngx_http_debug_mark_create(cf, &name);

    return conf->mark ? NGX_OK : NGX_ERROR;
}


/* The location's name, with what a route cannot have made one that it can. */

static void
ngx_http_debug_route_location(ngx_conf_t *cf,
    ngx_http_debug_route_conf_t *conf)
{
    u_char                     ch, *p, *last;
    ngx_uint_t                 i;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    p = conf->name;
    last = p + NGX_HTTP_DEBUG_ROUTE_LEN;

    if (clcf->name.len == 0) {

        /* that of a server, where nothing is passed on */

        return;
    }

    if (clcf->exact_match) {
        *p++ = '=';
    }

#if (NGX_PCRE)

    if (clcf->regex) {
        *p++ = '~';
    }

#endif

    for (i = 0; i < clcf->name.len && p < last; i++) {
        ch = clcf->name.data[i];

        *p++ = (ch < ' ' || ch == 0x7f || ch == ',' || ch == ';') ? '_' : ch;
    }

    if (i < clcf->name.len) {

        /* no part of a character of UTF-8 */

        while (p > conf->name + 1 && (clcf->name.data[i] & 0xc0) == 0x80) {
            p--;
            i--;
        }
    }

    while (p > conf->name + 1 && p[-1] == ' ') {
        p--;
    }

    conf->len = p - conf->name;

    ngx_memzero(p, last - p);
}
