
/*
 * Incidents: the directive.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_shared.h"
#include "ngx_http_debug_watch.h"


#define NGX_HTTP_DEBUG_WATCH_LONGEST  3600   /* s, of what a rule names */


typedef struct {
    ngx_str_t    name;                       /* with its "=" */
    ngx_int_t  (*parse)(ngx_str_t *s, ngx_uint_t *value);
    ngx_uint_t   offset;                     /* in the rule */
    ngx_uint_t   value;                      /* the default */
    char        *allowed;
} ngx_http_debug_watch_option_t;


static ngx_int_t ngx_http_debug_watch_rule(ngx_conf_t *cf, ngx_str_t *text,
    ngx_http_debug_watch_rule_t *rule);
static char *ngx_http_debug_watch_floor(ngx_str_t *s,
    ngx_http_debug_watch_rule_t *rule);
static ngx_int_t ngx_http_debug_watch_wrong(ngx_conf_t *cf, ngx_str_t *text,
    ngx_http_debug_watch_kind_t *kind, char *why);
static ngx_int_t ngx_http_debug_watch_seconds(ngx_str_t *s, ngx_uint_t least,
    ngx_uint_t most, ngx_uint_t *seconds);
static ngx_int_t ngx_http_debug_watch_wait(ngx_str_t *s, ngx_uint_t *value);
static ngx_int_t ngx_http_debug_watch_cooldown(ngx_str_t *s,
    ngx_uint_t *value);
static ngx_int_t ngx_http_debug_watch_per_hour(ngx_str_t *s,
    ngx_uint_t *value);
static ngx_int_t ngx_http_debug_watch_factor(ngx_str_t *s, ngx_uint_t *value);
static ngx_int_t ngx_http_debug_watch_ceiling(ngx_str_t *s,
    ngx_uint_t *value);
static ngx_uint_t ngx_http_debug_watch_off(ngx_str_t *s, ngx_uint_t *value);
static ngx_int_t ngx_http_debug_watch_url(ngx_conf_t *cf,
    ngx_http_debug_watch_conf_t *wcf);


static ngx_str_t  ngx_http_debug_watch_zone_name =
    ngx_string("ngx_http_debug_watch");


ngx_http_debug_watch_kind_t  ngx_http_debug_watch_kinds[] = {

    { NGX_HTTP_DEBUG_WATCH_P50, NGX_HTTP_DEBUG_WATCH_TIME, 0,
      ngx_string("p50"), "p50>100ms", "p50" },

    { NGX_HTTP_DEBUG_WATCH_P90, NGX_HTTP_DEBUG_WATCH_TIME, 0,
      ngx_string("p90"), "p90>200ms", "p90" },

    { NGX_HTTP_DEBUG_WATCH_P99, NGX_HTTP_DEBUG_WATCH_TIME, 0,
      ngx_string("p99"), "p99>500ms", "p99" },

    { NGX_HTTP_DEBUG_WATCH_ERRORS, NGX_HTTP_DEBUG_WATCH_SHARE, 0,
      ngx_string("errors"), "errors>5%", "errors" },

    { NGX_HTTP_DEBUG_WATCH_UNDERWAY, NGX_HTTP_DEBUG_WATCH_NUMBER, 0,
      ngx_string("underway"), "underway>200", "requests under way" },

    { NGX_HTTP_DEBUG_WATCH_DOWN, NGX_HTTP_DEBUG_WATCH_STATE, 0,
      ngx_string("down"), "down", "down" },

    { NGX_HTTP_DEBUG_WATCH_MEMORY, NGX_HTTP_DEBUG_WATCH_BYTES, 1,
      ngx_string("memory"), "memory>2g", "memory" },

    { NGX_HTTP_DEBUG_WATCH_GROWTH, NGX_HTTP_DEBUG_WATCH_BYTES, 1,
      ngx_string("growth"), "growth>100m/10m", "memory grown by" },

    { NGX_HTTP_DEBUG_WATCH_THREADS, NGX_HTTP_DEBUG_WATCH_NUMBER, 1,
      ngx_string("threads"), "threads>500", "threads" },

    { 0, 0, 0, ngx_null_string, NULL, NULL }
};


static ngx_http_debug_watch_option_t  ngx_http_debug_watch_options[] = {

    { ngx_string("for="), ngx_http_debug_watch_wait,
      offsetof(ngx_http_debug_watch_rule_t, wait), 10,
      "a time from 1s to 1h" },

    { ngx_string("cooldown="), ngx_http_debug_watch_cooldown,
      offsetof(ngx_http_debug_watch_rule_t, cooldown), 600,
      "a time from 1s to 1d" },

    { ngx_string("per_hour="), ngx_http_debug_watch_per_hour,
      offsetof(ngx_http_debug_watch_rule_t, per_hour), 5,
      "a number from 1 to 60" },

    { ngx_string("factor="), ngx_http_debug_watch_factor,
      offsetof(ngx_http_debug_watch_rule_t, factor), 150,
      "a number from 1 to 100, or \"off\"" },

    { ngx_string("ceiling="), ngx_http_debug_watch_ceiling,
      offsetof(ngx_http_debug_watch_rule_t, ceiling), 90,
      "a share from 1% to 100%, or \"off\"" },

    { ngx_null_string, NULL, 0, 0, NULL }
};

#define NGX_HTTP_DEBUG_WATCH_OPTIONS  5


char *
ngx_http_debug_watch_set(ngx_conf_t *cf, ngx_http_debug_watch_conf_t *wcf)
{
    ngx_str_t                      *value, s;
    ngx_uint_t                      i, j, k, first, *slot;
    ngx_uint_t                      option[NGX_HTTP_DEBUG_WATCH_OPTIONS];
    ngx_uint_t                      given[NGX_HTTP_DEBUG_WATCH_OPTIONS];
    ngx_http_debug_watch_rule_t    *rule, *other;
    ngx_http_debug_watch_option_t  *opt;

    if (wcf->rules == NULL) {
        wcf->rules = ngx_array_create(cf->pool, 4,
                                      sizeof(ngx_http_debug_watch_rule_t));
        if (wcf->rules == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    opt = ngx_http_debug_watch_options;

    for (j = 0; j < NGX_HTTP_DEBUG_WATCH_OPTIONS; j++) {
        option[j] = opt[j].value;
        given[j] = 0;
    }

    first = wcf->rules->nelts;
    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        for (j = 0; j < NGX_HTTP_DEBUG_WATCH_OPTIONS; j++) {
            if (value[i].len >= opt[j].name.len
                && ngx_strncmp(value[i].data, opt[j].name.data,
                               opt[j].name.len)
                   == 0)
            {
                break;
            }
        }

        if (j < NGX_HTTP_DEBUG_WATCH_OPTIONS) {

            if (given[j]++) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "duplicate parameter \"%V\"", &value[i]);
                return NGX_CONF_ERROR;
            }

            s.len = value[i].len - opt[j].name.len;
            s.data = value[i].data + opt[j].name.len;

            if (opt[j].parse(&s, &option[j]) != NGX_OK) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid value \"%V\", it must be %s",
                                   &value[i], opt[j].allowed);
                return NGX_CONF_ERROR;
            }

            continue;
        }

        rule = ngx_array_push(wcf->rules);
        if (rule == NULL) {
            return NGX_CONF_ERROR;
        }

        ngx_memzero(rule, sizeof(ngx_http_debug_watch_rule_t));

        if (ngx_http_debug_watch_rule(cf, &value[i], rule) != NGX_OK) {
            return NGX_CONF_ERROR;
        }

        other = wcf->rules->elts;

        for (k = 0; k < wcf->rules->nelts - 1; k++) {
            if (other[k].kind == rule->kind
                && other[k].floor == rule->floor
                && other[k].window == rule->window)
            {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "duplicate rule \"%V\", it is \"%V\" in"
                                   " %s:%ui", &value[i], &other[k].text,
                                   other[k].file, other[k].line);
                return NGX_CONF_ERROR;
            }
        }

        wcf->process |= rule->kind->process;
    }

    if (wcf->rules->nelts == first) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" has no rule, such as p99>500ms or down",
                           &value[0]);
        return NGX_CONF_ERROR;
    }

    rule = wcf->rules->elts;

    for (i = first; i < wcf->rules->nelts; i++) {
        for (j = 0; j < NGX_HTTP_DEBUG_WATCH_OPTIONS; j++) {
            slot = (ngx_uint_t *) ((u_char *) &rule[i] + opt[j].offset);
            *slot = option[j];
        }
    }

    return NGX_CONF_OK;
}


/* Reads one rule, "name>floor" or a word alone. */

static ngx_int_t
ngx_http_debug_watch_rule(ngx_conf_t *cf, ngx_str_t *text,
    ngx_http_debug_watch_rule_t *rule)
{
    char                         *why;
    u_char                       *p;
    ngx_str_t                     name, floor;
    ngx_http_debug_watch_kind_t  *kind;

    p = ngx_strlchr(text->data, text->data + text->len, '>');

    name.data = text->data;
    name.len = p ? (size_t) (p - text->data) : text->len;

    for (kind = ngx_http_debug_watch_kinds; kind->name.len; kind++) {
        if (kind->name.len == name.len
            && ngx_strncmp(kind->name.data, name.data, name.len) == 0)
        {
            break;
        }
    }

    if (kind->name.len == 0) {
        return ngx_http_debug_watch_wrong(cf, text, NULL, NULL);
    }

    rule->kind = kind;
    rule->text = *text;
    rule->hash = ngx_crc32_long(text->data, text->len);
    rule->file = cf->conf_file->file.name.data;
    rule->line = cf->conf_file->line;

    if (kind->unit == NGX_HTTP_DEBUG_WATCH_STATE) {
        return p ? ngx_http_debug_watch_wrong(cf, text, kind,
                                              "takes no number")
                 : NGX_OK;
    }

    if (p == NULL) {
        return ngx_http_debug_watch_wrong(cf, text, kind, "wants a line");
    }

    floor.data = p + 1;
    floor.len = text->data + text->len - floor.data;

    why = ngx_http_debug_watch_floor(&floor, rule);

    return why ? ngx_http_debug_watch_wrong(cf, text, kind, why) : NGX_OK;
}


/* Reads the line that RULE draws.  Returns what is wrong with it, or NULL. */

static char *
ngx_http_debug_watch_floor(ngx_str_t *s, ngx_http_debug_watch_rule_t *rule)
{
    off_t       bytes;
    u_char     *p, *last;
    ngx_int_t   n;
    ngx_str_t   size, window;

    last = s->data + s->len;

    switch (rule->kind->unit) {

    case NGX_HTTP_DEBUG_WATCH_TIME:

        /* a number alone would be seconds to nginx, and something else to us */

        if (s->len == 0 || (last[-1] >= '0' && last[-1] <= '9')) {
            return "takes a time with its unit, ms, s or m";
        }

        n = ngx_parse_time(s, 0);

        if (n == NGX_ERROR || n < 1
            || n > NGX_HTTP_DEBUG_WATCH_LONGEST * 1000)
        {
            return "takes a time from 1ms to 1h";
        }

        rule->floor = (uint64_t) n * 1000;
        return NULL;

    case NGX_HTTP_DEBUG_WATCH_SHARE:

        if (s->len < 2 || last[-1] != '%') {
            return "takes a share in %";
        }

        n = ngx_atofp(s->data, s->len - 1, 2);

        if (n == NGX_ERROR || n < 1 || n >= 10000) {
            return "takes a share from 0.01% to 99.99%";
        }

        rule->floor = n;
        return NULL;

    case NGX_HTTP_DEBUG_WATCH_BYTES:

        size = *s;

        if (rule->kind->metric == NGX_HTTP_DEBUG_WATCH_GROWTH) {

            p = ngx_strlchr(s->data, last, '/');
            if (p == NULL) {
                return "takes a size and a time";
            }

            size.len = p - s->data;

            window.data = p + 1;
            window.len = last - window.data;

            if (ngx_http_debug_watch_seconds(&window, 10,
                                             NGX_HTTP_DEBUG_WATCH_LONGEST / 2,
                                             &rule->window)
                != NGX_OK)
            {
                return "takes a time from 10s to 30m";
            }
        }

        bytes = ngx_parse_offset(&size);

        if (bytes < 1024 * 1024) {
            return "takes a size of at least 1m";
        }

        rule->floor = bytes;
        return NULL;

    default: /* NGX_HTTP_DEBUG_WATCH_NUMBER */

        n = ngx_atoi(s->data, s->len);

        if (n < 1 || n > 10000000) {
            return "takes a number";
        }

        rule->floor = n;
        return NULL;
    }
}


static ngx_int_t
ngx_http_debug_watch_wrong(ngx_conf_t *cf, ngx_str_t *text,
    ngx_http_debug_watch_kind_t *kind, char *why)
{
    u_char                       *p, *last, buf[512];
    ngx_http_debug_watch_kind_t  *k;

    if (kind != NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid rule \"%V\", \"%V\" %s, as in \"%s\"",
                           text, &kind->name, why, kind->example);
        return NGX_ERROR;
    }

    p = buf;
    last = buf + sizeof(buf);

    for (k = ngx_http_debug_watch_kinds; k->name.len; k++) {
        p = ngx_slprintf(p, last, "%s%s", k == ngx_http_debug_watch_kinds
                                          ? "" : k[1].name.len ? ", "
                                                               : " and ",
                         k->example);
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid rule \"%V\", there are rules such as %*s",
                       text, (size_t) (p - buf), buf);

    return NGX_ERROR;
}


/* A time of whole seconds. */

static ngx_int_t
ngx_http_debug_watch_seconds(ngx_str_t *s, ngx_uint_t least, ngx_uint_t most,
    ngx_uint_t *seconds)
{
    ngx_int_t  n;

    n = s->len ? ngx_parse_time(s, 1) : NGX_ERROR;

    if (n == NGX_ERROR
        || n < (ngx_int_t) least || n > (ngx_int_t) most)
    {
        return NGX_ERROR;
    }

    *seconds = n;

    return NGX_OK;
}


static ngx_int_t
ngx_http_debug_watch_wait(ngx_str_t *s, ngx_uint_t *value)
{
    return ngx_http_debug_watch_seconds(s, 1, NGX_HTTP_DEBUG_WATCH_LONGEST,
                                        value);
}


static ngx_int_t
ngx_http_debug_watch_cooldown(ngx_str_t *s, ngx_uint_t *value)
{
    return ngx_http_debug_watch_seconds(s, 1, 24 * 3600, value);
}


static ngx_int_t
ngx_http_debug_watch_per_hour(ngx_str_t *s, ngx_uint_t *value)
{
    ngx_int_t  n;

    n = ngx_atoi(s->data, s->len);

    if (n < 1 || n > NGX_HTTP_DEBUG_WATCH_PER_HOUR) {
        return NGX_ERROR;
    }

    *value = n;

    return NGX_OK;
}


static ngx_int_t
ngx_http_debug_watch_factor(ngx_str_t *s, ngx_uint_t *value)
{
    ngx_int_t  n;

    if (ngx_http_debug_watch_off(s, value)) {
        return NGX_OK;
    }

    n = ngx_atofp(s->data, s->len, 2);

    if (n < 100 || n > 10000) {
        return NGX_ERROR;
    }

    *value = n;

    return NGX_OK;
}


static ngx_int_t
ngx_http_debug_watch_ceiling(ngx_str_t *s, ngx_uint_t *value)
{
    ngx_int_t  n;

    if (ngx_http_debug_watch_off(s, value)) {
        return NGX_OK;
    }

    if (s->len < 2 || s->data[s->len - 1] != '%') {
        return NGX_ERROR;
    }

    n = ngx_atoi(s->data, s->len - 1);

    if (n < 1 || n > 100) {
        return NGX_ERROR;
    }

    *value = n;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_debug_watch_off(ngx_str_t *s, ngx_uint_t *value)
{
    if (s->len != 3 || ngx_strncmp(s->data, "off", 3) != 0) {
        return 0;
    }

    *value = 0;

    return 1;
}


ngx_int_t
ngx_http_debug_watch_init(ngx_conf_t *cf, ngx_http_debug_watch_conf_t *wcf,
    ngx_http_debug_kept_conf_t *kcf)
{
    ngx_http_debug_watch_rule_t  *rule;

    if (wcf->rules == NULL) {
        return NGX_OK;
    }

    rule = wcf->rules->elts;

    if (kcf->path == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"debug_watch\" needs \"debug_snapshots\", below whose"
                      " path its incidents are kept, in %s:%ui",
                      rule->file, rule->line);
        return NGX_ERROR;
    }

    wcf->kept = kcf;

    if (ngx_http_debug_watch_url(cf, wcf) != NGX_OK) {
        return NGX_ERROR;
    }

    wcf->shm = ngx_http_debug_shared_add(cf, &ngx_http_debug_watch_zone_name,
                          ngx_align(sizeof(ngx_http_debug_watch_shared_t),
                                    ngx_pagesize)
                          + 32 * ngx_pagesize,
                          sizeof(ngx_http_debug_watch_shared_t));

    return (wcf->shm != NULL) ? NGX_OK : NGX_ERROR;
}


/*
 * Where incidents are to be seen, for the log: by the first address that the
 * server listens on, and its name where that says none.
 */

static ngx_int_t
ngx_http_debug_watch_url(ngx_conf_t *cf, ngx_http_debug_watch_conf_t *wcf)
{
    u_char                       *p;
    ngx_str_t                     host, name, number;
    ngx_uint_t                    i, j, k, n, ssl;
    ngx_http_conf_addr_t         *addr;
    ngx_http_conf_port_t         *port;
    ngx_http_core_srv_conf_t    **server;
    ngx_http_core_main_conf_t    *cmcf;

    if (wcf->mount.len == 0) {
        ngx_str_set(&wcf->url, "debug_snapshots' path, ");
        return NGX_OK;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    port = cmcf->ports ? cmcf->ports->elts : NULL;
    n = cmcf->ports ? cmcf->ports->nelts : 0;

    ngx_str_null(&host);
    ssl = 0;

    for (i = 0; i < n && host.len == 0; i++) {
        addr = port[i].addrs.elts;

        for (j = 0; j < port[i].addrs.nelts && host.len == 0; j++) {
            server = addr[j].servers.elts;

            for (k = 0; k < addr[j].servers.nelts; k++) {

                if (server[k] != wcf->server) {
                    continue;
                }

                host = addr[j].opt.addr_text;
#if (NGX_HTTP_SSL)
                ssl = addr[j].opt.ssl;
#endif
                if (addr[j].opt.wildcard) {

                    /* "0.0.0.0:80", "[::]:80" */

                    name = wcf->server->server_name;

                    if (name.len == 0) {
                        name = cf->cycle->hostname;
                    }

                    for (p = host.data + host.len;
                         p > host.data && p[-1] != ':';
                         p--)
                    { /* void */ }

                    number.len = host.data + host.len - p;
                    number.data = p;

                    host.data = ngx_pnalloc(cf->pool,
                                            name.len + 1 + number.len);
                    if (host.data == NULL) {
                        return NGX_ERROR;
                    }

                    host.len = ngx_sprintf(host.data, "%V:%V", &name, &number)
                               - host.data;
                }

                break;
            }
        }
    }

    wcf->url.data = ngx_pnalloc(cf->pool, sizeof("https:///incidents/")
                                          + host.len + wcf->mount.len);
    if (wcf->url.data == NULL) {
        return NGX_ERROR;
    }

    /* a socket has no URL */

    if (host.len == 0 || ngx_strncmp(host.data, "unix:", 5) == 0) {
        p = wcf->url.data;

    } else {
        p = ngx_sprintf(wcf->url.data, "http%s://%V", ssl ? "s" : "", &host);
    }

    p = ngx_sprintf(p, "%V%sincidents/", &wcf->mount,
                    wcf->mount.data[wcf->mount.len - 1] == '/' ? "" : "/");

    wcf->url.len = p - wcf->url.data;

    return NGX_OK;
}


u_char *
ngx_http_debug_watch_number(u_char *p, ngx_http_debug_watch_unit_e unit,
    uint64_t value)
{
    uint64_t    one;
    ngx_uint_t  i;

    static char  *bytes[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };

    switch (unit) {

    case NGX_HTTP_DEBUG_WATCH_TIME:

        if (value < 10000) {
            return ngx_sprintf(p, "%uL.%02uL ms", value / 1000,
                               value % 1000 / 10);
        }

        if (value < 10000000) {
            return ngx_sprintf(p, "%uL ms", (value + 500) / 1000);
        }

        return ngx_sprintf(p, "%uL.%uL s", value / 1000000,
                           value % 1000000 / 100000);

    case NGX_HTTP_DEBUG_WATCH_SHARE:
        return ngx_sprintf(p, "%uL.%uL %%", value / 100, value % 100 / 10);

    case NGX_HTTP_DEBUG_WATCH_BYTES:

        for (i = 0, one = 1; i < 4 && value / one >= 1024; i++) {
            one *= 1024;
        }

        if (i == 0) {
            return ngx_sprintf(p, "%uL bytes", value);
        }

        return ngx_sprintf(p, "%uL.%uL %s", value / one,
                           value % one * 10 / one, bytes[i]);

    default:
        return ngx_sprintf(p, "%uL", value);
    }
}
