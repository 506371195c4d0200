
/*
 * The door: directives, access, and which room answers which route.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_access.h"
#include "ngx_http_debug_answer.h"
#include "ngx_http_debug_faces.h"
#include "ngx_http_debug_history.h"
#include "ngx_http_debug_kept.h"
#include "ngx_http_debug_kept_take.h"
#include "ngx_http_debug_out.h"
#include "ngx_http_debug_page.h"
#include "ngx_http_debug_pprof.h"
#include "ngx_http_debug_process.h"
#include "ngx_http_debug_record.h"
#include "ngx_http_debug_requests.h"
#include "ngx_http_debug_scrape.h"
#include "ngx_http_debug_task.h"
#include "ngx_http_debug_via.h"
#include "ngx_http_debug_watch.h"
#include "ngx_http_debug_watch_routes.h"
#include "ngx_http_debug_watch_tick.h"
#include "ngx_http_debug_zone.h"


#define NGX_HTTP_DEBUG_STATS     0x01
#define NGX_HTTP_DEBUG_PPROF     0x02
#define NGX_HTTP_DEBUG_CHARTS    0x04
#define NGX_HTTP_DEBUG_LEGACY    0x08
#define NGX_HTTP_DEBUG_REQUESTS  0x10
#define NGX_HTTP_DEBUG_ALL       (NGX_HTTP_DEBUG_STATS                        \
                                  |NGX_HTTP_DEBUG_PPROF                       \
                                  |NGX_HTTP_DEBUG_CHARTS                      \
                                  |NGX_HTTP_DEBUG_REQUESTS)


/* of charts/data: a page can draw no more; who wants more, asks for it */
#define NGX_HTTP_DEBUG_SERIES    64


typedef struct {
    ngx_http_debug_record_main_conf_t  record;     /* the first member */
    ngx_uint_t                         redirects;  /* unsigned  redirects:1; */
    ngx_http_debug_asked_t             asked;      /* for what is kept */
    ngx_http_debug_kept_conf_t         kept;
    ngx_http_debug_watch_conf_t        watch;
    ngx_http_debug_process_conf_t      process;
} ngx_http_debug_main_conf_t;


typedef struct {
    ngx_http_debug_record_srv_conf_t   record;     /* the first member */
} ngx_http_debug_srv_conf_t;


typedef struct {
    ngx_http_debug_record_loc_conf_t   record;     /* the first member */

    ngx_uint_t                    routes;  /* bits; 0: an ordinary location */
    ngx_str_t                     mount;   /* the location's prefix */

    ngx_http_debug_access_conf_t  access;
    ngx_http_debug_pprof_conf_t   pprof;
} ngx_http_debug_loc_conf_t;


typedef struct {
    ngx_str_t                    name;
    ngx_uint_t                   routes;
    ngx_int_t                  (*handler)(ngx_http_request_t *r,
                                     ngx_http_debug_loc_conf_t *dlcf,
                                     ngx_str_t *rest);
} ngx_http_debug_route_t;


static ngx_int_t ngx_http_debug_handler(ngx_http_request_t *r);
static ngx_http_debug_zone_t *ngx_http_debug_zone_of(ngx_http_request_t *r);
static ngx_int_t ngx_http_debug_stats(ngx_http_request_t *r,
    ngx_http_debug_loc_conf_t *dlcf, ngx_str_t *rest);
static ngx_int_t ngx_http_debug_metrics_get(ngx_http_request_t *r,
    ngx_http_debug_loc_conf_t *dlcf, ngx_str_t *rest);
static ngx_int_t ngx_http_debug_charts_data(ngx_http_request_t *r,
    ngx_http_debug_loc_conf_t *dlcf, ngx_str_t *rest);
static ngx_int_t ngx_http_debug_requests_get(ngx_http_request_t *r,
    ngx_http_debug_loc_conf_t *dlcf, ngx_str_t *rest);
static ngx_uint_t ngx_http_debug_kind_of(ngx_str_t *name);
static void ngx_http_debug_may(ngx_http_debug_loc_conf_t *dlcf,
    ngx_http_debug_page_may_t *may);
static ngx_int_t ngx_http_debug_overview(ngx_http_request_t *r,
    ngx_http_debug_loc_conf_t *dlcf);
static ngx_int_t ngx_http_debug_charts(ngx_http_request_t *r,
    ngx_http_debug_loc_conf_t *dlcf, ngx_str_t *rest);
static ngx_int_t ngx_http_debug_viewer(ngx_http_request_t *r,
    ngx_http_debug_loc_conf_t *dlcf, ngx_str_t *rest);
static ngx_int_t ngx_http_debug_asset(ngx_http_request_t *r,
    ngx_http_debug_loc_conf_t *dlcf, ngx_str_t *rest);
static ngx_int_t ngx_http_debug_slash(ngx_http_request_t *r,
    ngx_http_debug_loc_conf_t *dlcf, ngx_str_t *rest);
static ngx_int_t ngx_http_debug_filter(ngx_http_request_t *r,
    ngx_http_debug_filter_t *filter);
static ngx_int_t ngx_http_debug_argument(ngx_http_request_t *r, char *name,
    ngx_str_t *value);
static ngx_int_t ngx_http_debug_pprof_route(ngx_http_request_t *r,
    ngx_http_debug_loc_conf_t *dlcf, ngx_str_t *rest);
static ngx_int_t ngx_http_debug_kept(ngx_http_request_t *r,
    ngx_http_debug_loc_conf_t *dlcf, ngx_str_t *rest);
static ngx_int_t ngx_http_debug_incidents(ngx_http_request_t *r,
    ngx_http_debug_loc_conf_t *dlcf, ngx_str_t *rest);
static ngx_int_t ngx_http_debug_process(ngx_http_request_t *r,
    ngx_http_debug_loc_conf_t *dlcf, ngx_str_t *rest);
static ngx_int_t ngx_http_debug_not_found(ngx_http_request_t *r);
static ngx_int_t ngx_http_debug_add_slash(ngx_http_request_t *r);
static ngx_int_t ngx_http_debug_slash_location(ngx_http_request_t *r,
    ngx_str_t *location);

static ngx_int_t ngx_http_debug_header_filter(ngx_http_request_t *r);

static void *ngx_http_debug_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_debug_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_debug_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_http_debug_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_http_debug_create_srv_conf(ngx_conf_t *cf);
static ngx_int_t ngx_http_debug_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_debug_init(ngx_conf_t *cf);
static ngx_int_t ngx_http_debug_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_debug_init_process(ngx_cycle_t *cycle);
static void ngx_http_debug_tick(void *data);
static void ngx_http_debug_exit_process(ngx_cycle_t *cycle);

static char *ngx_http_debug(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_http_debug_snapshots_set(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_debug_watch_directive(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_debug_zone_set(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


static ngx_command_t  ngx_http_debug_commands[] = {

    { ngx_string("debug"),
      NGX_HTTP_LOC_CONF|NGX_CONF_ANY,
      ngx_http_debug,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("debug_access"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_debug_access_set,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_debug_loc_conf_t, access),
      NULL },

    { ngx_string("debug_write_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_debug_pprof_write_timeout,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_debug_loc_conf_t, pprof.write_timeout),
      NULL },

    { ngx_string("debug_pprof_pass"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE123,
      ngx_http_debug_pprof_pass,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_debug_loc_conf_t, pprof.pass),
      NULL },

    { ngx_string("debug_pprof_kinds"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_debug_pprof_kinds,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_debug_loc_conf_t, pprof.kinds),
      NULL },

    { ngx_string("debug_pprof_max"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_debug_loc_conf_t, pprof.max),
      &ngx_http_debug_pprof_max_bounds },

    { ngx_string("debug_pprof_busy"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_debug_loc_conf_t, pprof.busy),
      &ngx_http_debug_pprof_busy },

    { ngx_string("debug_pprof_keepalive"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_debug_pprof_keepalive,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_debug_loc_conf_t, pprof.keepalive),
      NULL },

    { ngx_string("debug_pprof_ssl"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_debug_pprof_ssl,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_debug_loc_conf_t, pprof.ssl),
      NULL },

    { ngx_string("debug_process"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_debug_main_conf_t, process.enable),
      NULL },

    { ngx_string("debug_record"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_debug_loc_conf_t, record.enable),
      NULL },

    { ngx_string("debug_route"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      ngx_http_debug_route_set,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_debug_loc_conf_t, record.route),
      NULL },

    { ngx_string("debug_snapshots"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_debug_snapshots_set,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("debug_watch"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_debug_watch_directive,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("debug_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_debug_zone_set,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_debug_module_ctx = {
    ngx_http_debug_preconfiguration,       /* preconfiguration */
    ngx_http_debug_init,                   /* postconfiguration */

    ngx_http_debug_create_main_conf,       /* create main configuration */
    ngx_http_debug_init_main_conf,         /* init main configuration */

    ngx_http_debug_create_srv_conf,        /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_debug_create_loc_conf,        /* create location configuration */
    ngx_http_debug_merge_loc_conf          /* merge location configuration */
};


ngx_module_t  ngx_http_debug_module = {
    NGX_MODULE_V1,
    &ngx_http_debug_module_ctx,            /* module context */
    ngx_http_debug_commands,               /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_http_debug_init_module,            /* init module */
    ngx_http_debug_init_process,           /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_debug_exit_process,           /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


/*
 * The first match wins, so a longer name stands before its prefix; the rest
 * of the path goes to the handler.
 */

static ngx_http_debug_route_t  ngx_http_debug_routes[] = {
    { ngx_string("stats"), NGX_HTTP_DEBUG_STATS, ngx_http_debug_stats },
    { ngx_string("metrics"), NGX_HTTP_DEBUG_STATS, ngx_http_debug_metrics_get },
    { ngx_string("requests"), NGX_HTTP_DEBUG_REQUESTS,
      ngx_http_debug_requests_get },
    { ngx_string("charts/data"), NGX_HTTP_DEBUG_CHARTS,
      ngx_http_debug_charts_data },
    { ngx_string("charts/"), NGX_HTTP_DEBUG_CHARTS, ngx_http_debug_charts },
    { ngx_string("charts"), NGX_HTTP_DEBUG_CHARTS, ngx_http_debug_slash },
    { ngx_string("assets/"), NGX_HTTP_DEBUG_ALL, ngx_http_debug_asset },
    { ngx_string("incidents/"), NGX_HTTP_DEBUG_PPROF,
      ngx_http_debug_incidents },
    { ngx_string("incidents"), NGX_HTTP_DEBUG_PPROF, ngx_http_debug_slash },
    { ngx_string("pprof/kept/"), NGX_HTTP_DEBUG_PPROF, ngx_http_debug_kept },
    { ngx_string("pprof/view"), NGX_HTTP_DEBUG_PPROF, ngx_http_debug_viewer },
    { ngx_string("pprof/"), NGX_HTTP_DEBUG_PPROF, ngx_http_debug_pprof_route },
    { ngx_string("pprof"), NGX_HTTP_DEBUG_PPROF, ngx_http_debug_slash },
    { ngx_null_string, 0, NULL }
};


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;


static ngx_int_t
ngx_http_debug_handler(ngx_http_request_t *r)
{
    ngx_int_t                   rc;
    ngx_str_t                   rest;
    ngx_http_debug_route_t     *route;
    ngx_http_debug_loc_conf_t  *dlcf;

    dlcf = ngx_http_get_module_loc_conf(r, ngx_http_debug_module);

    ngx_http_debug_record_forget(r);

    rc = ngx_http_debug_via_check(r);
    if (rc != NGX_DECLINED) {
        return rc;
    }

    rc = ngx_http_debug_access(r, &dlcf->access);
    if (rc != NGX_DECLINED) {
        return rc;
    }

    if (r->uri.len < dlcf->mount.len
        || ngx_filename_cmp(r->uri.data, dlcf->mount.data, dlcf->mount.len)
           != 0)
    {
        /* "rewrite ... break" */

        return ngx_http_debug_answer_say(r, NGX_HTTP_NOT_FOUND,
                   "a rewrite in location \"%V\" leads out of it; its routes"
                   " lie below that prefix", &dlcf->mount);
    }

    /* r->uri is decoded and normalized, as the location's match was */

    rest.len = r->uri.len - dlcf->mount.len;
    rest.data = r->uri.data + dlcf->mount.len;

    if (dlcf->mount.data[dlcf->mount.len - 1] != '/') {

        /* "location /debug" takes "/debugger" too */

        if (rest.len == 0) {
            return ngx_http_debug_add_slash(r);
        }

        if (rest.data[0] != '/') {
            return ngx_http_debug_not_found(r);
        }

        rest.len--;
        rest.data++;
    }

    if (dlcf->routes & NGX_HTTP_DEBUG_LEGACY) {
        return ngx_http_debug_pprof_handler(r, &dlcf->pprof, &rest, 1);
    }

    if (rest.len == 0) {
        return ngx_http_debug_overview(r, dlcf);
    }

    for (route = ngx_http_debug_routes; route->name.len; route++) {

        if ((dlcf->routes & route->routes)
            && rest.len >= route->name.len
            && ngx_strncmp(rest.data, route->name.data, route->name.len) == 0)
        {
            rest.len -= route->name.len;
            rest.data += route->name.len;

            return route->handler(r, dlcf, &rest);
        }
    }

    return ngx_http_debug_not_found(r);
}


static ngx_http_debug_zone_t *
ngx_http_debug_zone_of(ngx_http_request_t *r)
{
    ngx_http_debug_main_conf_t  *dmcf;

    dmcf = ngx_http_get_module_main_conf(r, ngx_http_debug_module);

    return dmcf->record.zone;
}


static ngx_int_t
ngx_http_debug_stats(ngx_http_request_t *r, ngx_http_debug_loc_conf_t *dlcf,
    ngx_str_t *rest)
{
    ngx_int_t                 rc;
    ngx_http_debug_json_t    *js;
    ngx_http_debug_out_t     *out;
    ngx_http_debug_filter_t   filter;

    static ngx_str_t  json = ngx_string("application/json");

    if (rest->len) {
        return ngx_http_debug_not_found(r);
    }

    rc = ngx_http_debug_answer_only_get(r);
    if (rc != NGX_DECLINED) {
        return rc;
    }

    if (ngx_http_debug_filter(r, &filter) != NGX_OK) {
        return NGX_ERROR;
    }

    out = ngx_http_debug_out_create(r->pool);
    if (out == NULL) {
        return NGX_ERROR;
    }

    js = ngx_http_debug_json_create(out, ngx_http_debug_zone_of(r), &filter);
    if (js == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_debug_task_run(r, &json, out,
                                   ngx_http_debug_json_stats_step, js);
}


static ngx_int_t
ngx_http_debug_metrics_get(ngx_http_request_t *r,
    ngx_http_debug_loc_conf_t *dlcf, ngx_str_t *rest)
{
    ngx_int_t                rc;
    ngx_http_debug_filter_t  filter;

    if (rest->len) {
        return ngx_http_debug_not_found(r);
    }

    rc = ngx_http_debug_answer_only_get(r);
    if (rc != NGX_DECLINED) {
        return rc;
    }

    if (ngx_http_debug_filter(r, &filter) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_debug_scrape(r, ngx_http_debug_zone_of(r), &filter);
}


static ngx_int_t
ngx_http_debug_charts_data(ngx_http_request_t *r,
    ngx_http_debug_loc_conf_t *dlcf, ngx_str_t *rest)
{
    off_t                     since;
    ngx_int_t                 rc, n, step, most;
    ngx_str_t                 arg;
    ngx_uint_t                ring, kinds;
    ngx_http_debug_json_t    *js;
    ngx_http_debug_out_t     *out;
    ngx_http_debug_filter_t   filter;

    static ngx_str_t  json = ngx_string("application/json");

    if (rest->len) {
        return ngx_http_debug_not_found(r);
    }

    rc = ngx_http_debug_answer_only_get(r);
    if (rc != NGX_DECLINED) {
        return rc;
    }

    if (ngx_http_debug_filter(r, &filter) != NGX_OK) {
        return NGX_ERROR;
    }

    since = 0;
    n = 300;
    ring = 0;
    most = NGX_HTTP_DEBUG_SERIES;
    kinds = NGX_HTTP_DEBUG_ANY;

    if (ngx_http_arg(r, (u_char *) "since", 5, &arg) == NGX_OK) {
        since = ngx_atoof(arg.data, arg.len);
    }

    if (ngx_http_arg(r, (u_char *) "n", 1, &arg) == NGX_OK) {
        n = ngx_atoi(arg.data, arg.len);
    }

    if (ngx_http_arg(r, (u_char *) "step", 4, &arg) == NGX_OK) {

        step = ngx_atoi(arg.data, arg.len);

        for (ring = 0; ring < NGX_HTTP_DEBUG_RINGS; ring++) {
            if (ngx_http_debug_rings[ring].step == (ngx_uint_t) step) {
                break;
            }
        }
    }

    if (ngx_http_arg(r, (u_char *) "series", 6, &arg) == NGX_OK) {
        most = ngx_atoi(arg.data, arg.len);
    }

    if (ngx_http_arg(r, (u_char *) "kind", 4, &arg) == NGX_OK) {
        kinds = ngx_http_debug_kind_of(&arg);
    }

    if (since == NGX_ERROR || n <= 0 || ring == NGX_HTTP_DEBUG_RINGS
        || most < 0 || kinds == 0)
    {
        return ngx_http_debug_answer_literal(r, NGX_HTTP_BAD_REQUEST,
                  "\"since\" takes milliseconds since the epoch, \"n\" a"
                  " number of points, \"step\" 1, 10 or 60 seconds,"
                  " \"series\" how many have points, \"kind\" server,"
                  " upstream or peer");
    }

    out = ngx_http_debug_out_create(r->pool);
    if (out == NULL) {
        return NGX_ERROR;
    }

    js = ngx_http_debug_json_create(out, ngx_http_debug_zone_of(r), &filter);
    if (js == NULL) {
        return NGX_ERROR;
    }

    ngx_http_debug_json_history(js, ring, since, n, kinds, most);

    return ngx_http_debug_task_run(r, &json, out,
                                   ngx_http_debug_json_history_step, js);
}


/* A page for who reads pages; "?json", or who accepts that alone, gets it. */

static ngx_int_t
ngx_http_debug_requests_get(ngx_http_request_t *r,
    ngx_http_debug_loc_conf_t *dlcf, ngx_str_t *rest)
{
    ngx_int_t                    rc;
    ngx_str_t                    arg;
    ngx_uint_t                   json;
    ngx_table_elt_t             *accept;
    ngx_http_debug_requests_t    asked;
    ngx_http_debug_main_conf_t  *dmcf;

    if (rest->len) {
        return ngx_http_debug_not_found(r);
    }

    rc = ngx_http_debug_answer_only_get(r);
    if (rc != NGX_DECLINED) {
        return rc;
    }

    if (ngx_http_debug_filter(r, &asked.names) != NGX_OK
        || ngx_http_debug_argument(r, "route", &asked.route) != NGX_OK
        || ngx_http_debug_argument(r, "state", &asked.state) != NGX_OK)
    {
        return NGX_ERROR;
    }

    asked.most = 0;
    ngx_http_debug_may(dlcf, &asked.may);

    if (ngx_http_arg(r, (u_char *) "n", 1, &arg) == NGX_OK) {
        asked.most = ngx_atoi(arg.data, arg.len);

        if (asked.most == 0) {
            asked.most = -1;
        }
    }

    accept = ngx_http_debug_header_find(r, "accept");

    json = (r->args.len >= 4
            && ngx_strncmp(r->args.data, "json", 4) == 0
            && (r->args.len == 4 || r->args.data[4] == '&'))
           || ngx_http_arg(r, (u_char *) "json", 4, &arg) == NGX_OK
           || (accept != NULL
               && ngx_strlcasestrn(accept->value.data,
                                   accept->value.data + accept->value.len,
                                   (u_char *) "application/json",
                                   sizeof("application/json") - 2)
                  != NULL
               && ngx_strlcasestrn(accept->value.data,
                                   accept->value.data + accept->value.len,
                                   (u_char *) "text/html",
                                   sizeof("text/html") - 2)
                  == NULL);

    dmcf = ngx_http_get_module_main_conf(r, ngx_http_debug_module);

    return ngx_http_debug_requests(r, &dmcf->record, &asked, json);
}


/* 0: no kind is called so */

static ngx_uint_t
ngx_http_debug_kind_of(ngx_str_t *name)
{
    ngx_uint_t  i;

    static struct {
        ngx_str_t   name;
        ngx_uint_t  kinds;
    } kinds[] = {
        { ngx_string("server"), NGX_HTTP_DEBUG_SERVER },
        { ngx_string("upstream"), NGX_HTTP_DEBUG_GROUPS },
        { ngx_string("peer"), NGX_HTTP_DEBUG_PEER }
    };

    for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (name->len == kinds[i].name.len
            && ngx_strncmp(name->data, kinds[i].name.data, name->len) == 0)
        {
            return kinds[i].kinds;
        }
    }

    return 0;
}


/* Who has profiles here, as pages need to know. */

static void
ngx_http_debug_may(ngx_http_debug_loc_conf_t *dlcf,
    ngx_http_debug_page_may_t *may)
{
    may->pprof = (dlcf->routes & NGX_HTTP_DEBUG_PPROF) != 0;
    may->pass = dlcf->pprof.pass;
}


static ngx_int_t
ngx_http_debug_overview(ngx_http_request_t *r, ngx_http_debug_loc_conf_t *dlcf)
{
    ngx_int_t                  rc;
    ngx_http_debug_page_may_t  may;

    rc = ngx_http_debug_answer_only_get(r);
    if (rc != NGX_DECLINED) {
        return rc;
    }

    ngx_http_debug_may(dlcf, &may);

    return ngx_http_debug_page_overview(r, ngx_http_debug_zone_of(r), &may);
}


static ngx_int_t
ngx_http_debug_charts(ngx_http_request_t *r, ngx_http_debug_loc_conf_t *dlcf,
    ngx_str_t *rest)
{
    ngx_int_t                  rc;
    ngx_http_debug_page_may_t  may;

    if (rest->len) {
        return ngx_http_debug_process(r, dlcf, rest);
    }

    rc = ngx_http_debug_answer_only_get(r);

    ngx_http_debug_may(dlcf, &may);

    return rc == NGX_DECLINED ? ngx_http_debug_page_charts(r, &may) : rc;
}


static ngx_int_t
ngx_http_debug_viewer(ngx_http_request_t *r, ngx_http_debug_loc_conf_t *dlcf,
    ngx_str_t *rest)
{
    ngx_int_t                  rc;
    ngx_http_debug_page_may_t  may;

    if (rest->len) {
        return ngx_http_debug_not_found(r);
    }

    rc = ngx_http_debug_answer_only_get(r);

    ngx_http_debug_may(dlcf, &may);

    return rc == NGX_DECLINED ? ngx_http_debug_page_viewer(r, &may) : rc;
}


static ngx_int_t
ngx_http_debug_asset(ngx_http_request_t *r, ngx_http_debug_loc_conf_t *dlcf,
    ngx_str_t *rest)
{
    ngx_int_t  rc;

    rc = ngx_http_debug_answer_only_get(r);

    return rc == NGX_DECLINED ? ngx_http_debug_page_asset(r, rest) : rc;
}


static ngx_int_t
ngx_http_debug_slash(ngx_http_request_t *r, ngx_http_debug_loc_conf_t *dlcf,
    ngx_str_t *rest)
{
    return rest->len ? ngx_http_debug_not_found(r)
                     : ngx_http_debug_add_slash(r);
}


static ngx_int_t
ngx_http_debug_filter(ngx_http_request_t *r, ngx_http_debug_filter_t *filter)
{
    if (ngx_http_debug_argument(r, "server", &filter->server) != NGX_OK
        || ngx_http_debug_argument(r, "upstream", &filter->upstream) != NGX_OK
        || ngx_http_debug_argument(r, "peer", &filter->peer) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* A query argument, decoded; empty if it is not there. */

static ngx_int_t
ngx_http_debug_argument(ngx_http_request_t *r, char *name, ngx_str_t *value)
{
    u_char     *dst, *src;
    ngx_str_t   arg;

    if (ngx_http_arg(r, (u_char *) name, ngx_strlen(name), &arg) != NGX_OK) {
        ngx_str_null(value);
        return NGX_OK;
    }

    value->data = ngx_pnalloc(r->pool, arg.len + 1);
    if (value->data == NULL) {
        return NGX_ERROR;
    }

    dst = value->data;
    src = arg.data;

    ngx_unescape_uri(&dst, &src, arg.len, 0);

    value->len = dst - value->data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_debug_pprof_route(ngx_http_request_t *r,
    ngx_http_debug_loc_conf_t *dlcf, ngx_str_t *rest)
{
    if (rest->len == 4 && ngx_strncmp(rest->data, "kept", 4) == 0) {
        return ngx_http_debug_add_slash(r);
    }

    if (rest->len == 7 && ngx_strncmp(rest->data, "targets", 7) == 0) {
        return ngx_http_debug_pprof_targets(r, &dlcf->pprof, &dlcf->mount);
    }

    return ngx_http_debug_pprof_handler(r, &dlcf->pprof, rest, 0);
}


static ngx_int_t
ngx_http_debug_kept(ngx_http_request_t *r, ngx_http_debug_loc_conf_t *dlcf,
    ngx_str_t *rest)
{
    ngx_http_debug_main_conf_t  *dmcf;

    dmcf = ngx_http_get_module_main_conf(r, ngx_http_debug_module);

    return ngx_http_debug_kept_handler(r, &dmcf->kept, &dlcf->pprof, rest);
}


static ngx_int_t
ngx_http_debug_incidents(ngx_http_request_t *r,
    ngx_http_debug_loc_conf_t *dlcf, ngx_str_t *rest)
{
    ngx_http_debug_main_conf_t  *dmcf;

    dmcf = ngx_http_get_module_main_conf(r, ngx_http_debug_module);

    return ngx_http_debug_watch_handler(r, &dmcf->kept, &dlcf->pprof, rest);
}


/* "charts/<group>/<peer>/data": what a process says of itself. */

static ngx_int_t
ngx_http_debug_process(ngx_http_request_t *r, ngx_http_debug_loc_conf_t *dlcf,
    ngx_str_t *rest)
{
    return ngx_http_debug_pprof_process(r, &dlcf->pprof, rest);
}


static ngx_int_t
ngx_http_debug_not_found(ngx_http_request_t *r)
{
    return ngx_http_debug_answer_literal(r, NGX_HTTP_NOT_FOUND, "not found");
}


/* "/debug": go on at "debug/", as nginx does for a proxied prefix. */

static ngx_int_t
ngx_http_debug_add_slash(ngx_http_request_t *r)
{
    ngx_str_t  location;

    if (ngx_http_debug_slash_location(r, &location) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_debug_answer_redirect(r, NGX_HTTP_MOVED_TEMPORARILY,
                                          &location);
}


/*
 * Makes the relative redirect to this URI with a slash.  A user of pprof
 * types "go tool pprof host/debug", or ".../debug/pprof", and means the CPU
 * profile: send the Go client there.
 */

static ngx_int_t
ngx_http_debug_slash_location(ngx_http_request_t *r, ngx_str_t *location)
{
    u_char                     *p, *last;
    ngx_str_t                   profile;
    ngx_table_elt_t            *ua;
    ngx_http_debug_loc_conf_t  *dlcf;

    static ngx_str_t  go = ngx_string("Go-http-client/");
    static ngx_str_t  below = ngx_string("pprof/profile");
    static ngx_str_t  beside = ngx_string("profile");

    dlcf = ngx_http_get_module_loc_conf(r, ngx_http_debug_module);

    last = r->uri.data + r->uri.len;

    for (p = last; p > r->uri.data && p[-1] != '/'; p--) { /* void */ }

    if (r->uri.len <= dlcf->mount.len) {
        profile = below;

    } else if (last - p == 5 && ngx_strncmp(p, "pprof", 5) == 0) {
        profile = beside;

    } else {
        ngx_str_null(&profile);
    }

    location->data = ngx_pnalloc(r->pool, 3 * (last - p) + sizeof("./")
                                          + profile.len + 1 + r->args.len);
    if (location->data == NULL) {
        return NGX_ERROR;
    }

    /* "./" keeps a colon in the name from looking like a scheme */

    location->len = ngx_cpymem(location->data, "./", 2) - location->data;
    location->len += (u_char *) ngx_escape_uri(location->data + 2, p, last - p,
                                               NGX_ESCAPE_URI_COMPONENT)
                     - (location->data + 2);
    location->data[location->len++] = '/';

    ua = r->headers_in.user_agent;

    if (profile.len
        && ua != NULL
        && (dlcf->routes & NGX_HTTP_DEBUG_PPROF)
        && ua->value.len >= go.len
        && ngx_strncmp(ua->value.data, go.data, go.len) == 0)
    {
        ngx_memcpy(location->data + location->len, profile.data, profile.len);
        location->len += profile.len;
    }

    if (r->args.len) {
        location->data[location->len++] = '?';
        ngx_memcpy(location->data + location->len, r->args.data, r->args.len);
        location->len += r->args.len;
    }

    return NGX_OK;
}


/*
 * nginx answers "/debug" itself, for "location /debug/", by a redirect to an
 * absolute path; make it relative.
 */

static ngx_int_t
ngx_http_debug_header_filter(ngx_http_request_t *r)
{
    ngx_str_t                   location;
    ngx_http_debug_loc_conf_t  *dlcf;

    if (r->headers_out.status != NGX_HTTP_MOVED_PERMANENTLY
        || r->headers_out.location == NULL)
    {
        return ngx_http_next_header_filter(r);
    }

    dlcf = ngx_http_get_module_loc_conf(r, ngx_http_debug_module);

    if (dlcf->routes
        && r->uri.len + 1 == dlcf->mount.len
        && ngx_strncmp(r->uri.data, dlcf->mount.data, r->uri.len) == 0)
    {
        if (ngx_http_debug_slash_location(r, &location) != NGX_OK) {
            return NGX_ERROR;
        }

        /* without the pointer, the header goes out as it is */

        r->headers_out.location->value = location;
        r->headers_out.location = NULL;
    }

    return ngx_http_next_header_filter(r);
}


static void *
ngx_http_debug_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_debug_main_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_debug_main_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->record.size = NGX_CONF_UNSET_SIZE;
    conf->kept.asked = &conf->asked;
    conf->process.enable = NGX_CONF_UNSET;

    return conf;
}


static char *
ngx_http_debug_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_debug_main_conf_t *dmcf = conf;

    /* 0: as much as the configuration needs, once that is known */

    ngx_conf_init_size_value(dmcf->record.size, 0);
    ngx_conf_init_value(dmcf->process.enable, NGX_HTTP_DEBUG_PROCESS_NAMED);

    return NGX_CONF_OK;
}


static void *
ngx_http_debug_create_srv_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_debug_srv_conf_t));
}


static void *
ngx_http_debug_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_debug_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_debug_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->routes = 0;
     *     conf->mount = { 0, NULL };
     */

    conf->record.enable = NGX_CONF_UNSET;
    conf->record.route.enable = NGX_CONF_UNSET;

    ngx_http_debug_access_create_conf(&conf->access);
    ngx_http_debug_pprof_create_conf(cf, &conf->pprof);

    return conf;
}


static char *
ngx_http_debug_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_debug_loc_conf_t  *prev = parent;
    ngx_http_debug_loc_conf_t  *conf = child;

    ngx_http_core_loc_conf_t    *clcf;
    ngx_http_debug_main_conf_t  *dmcf;

    ngx_http_debug_access_merge_conf(&prev->access, &conf->access);

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->noname) {

        /* "if" and "limit_except" take the location's handler with them */

        conf->routes = prev->routes;
        conf->mount = prev->mount;
        conf->record.own = prev->record.own;

        if (clcf->lmt_excpt && clcf->handler == NULL && conf->routes) {
            clcf->handler = ngx_http_debug_handler;
        }
    }

    if (ngx_http_debug_record_merge(cf, &prev->record, &conf->record)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (conf->routes) {
        ngx_http_debug_pprof_merge_location(cf);

        if (ngx_http_debug_access_merge_location(cf, &conf->access) != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    if (ngx_http_debug_pprof_merge_conf(cf, &prev->pprof, &conf->pprof)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    dmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_debug_module);

    if ((conf->routes & (NGX_HTTP_DEBUG_PPROF|NGX_HTTP_DEBUG_LEGACY))
        && ngx_http_debug_asked_allow(cf, &dmcf->asked, &conf->pprof)
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (dmcf->watch.mount.len == 0 && (conf->routes & NGX_HTTP_DEBUG_PPROF)) {
        dmcf->watch.mount = conf->mount;
        dmcf->watch.server = ngx_http_conf_get_module_srv_conf(cf,
                                                      ngx_http_core_module);
    }

    /* an application that nobody called a profiler gets no such requests */

    if ((conf->routes & (NGX_HTTP_DEBUG_PPROF|NGX_HTTP_DEBUG_CHARTS))
        && (dmcf->process.enable != NGX_HTTP_DEBUG_PROCESS_NAMED
            || conf->pprof.pass != NULL)
        && ngx_http_debug_asked_allow(cf, &dmcf->process.asked, &conf->pprof)
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_debug_preconfiguration(ngx_conf_t *cf)
{
    ngx_http_debug_pprof_conf_reset();

    if (ngx_http_debug_pprof_preconfiguration(cf) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_debug_record_preconfiguration(cf);
}


static ngx_int_t
ngx_http_debug_init(ngx_conf_t *cf)
{
    ngx_array_t                  listeners;
    ngx_http_debug_main_conf_t  *dmcf;

    dmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_debug_module);

    if (dmcf->redirects) {
        ngx_http_next_header_filter = ngx_http_top_header_filter;
        ngx_http_top_header_filter = ngx_http_debug_header_filter;
    }

    if (ngx_http_debug_record_init(cf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_array_init(&listeners, cf->temp_pool, 4,
                       sizeof(ngx_http_upstream_srv_conf_t *))
        != NGX_OK
        || ngx_http_debug_pprof_init(cf, &listeners) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_debug_record_listeners(&dmcf->record, &listeners);

    if (ngx_http_debug_asked_init(cf, &dmcf->asked) != NGX_OK
        || ngx_http_debug_asked_init(cf, &dmcf->process.asked) != NGX_OK
        || ngx_http_debug_kept_init(cf, &dmcf->kept) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_debug_watch_init(cf, &dmcf->watch, &dmcf->kept);
}


static ngx_int_t
ngx_http_debug_init_module(ngx_cycle_t *cycle)
{
    ngx_http_debug_main_conf_t  *dmcf;

    dmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_debug_module);

    if (dmcf) {
        ngx_http_debug_via_init(cycle);
        ngx_http_debug_record_init_module(cycle, &dmcf->record);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_debug_init_process(ngx_cycle_t *cycle)
{
    ngx_http_debug_main_conf_t  *dmcf;

    /* the cache manager and loader handle no requests */

    if (ngx_process != NGX_PROCESS_WORKER
        && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    dmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_debug_module);

    if (dmcf) {
        ngx_http_debug_record_init_process(cycle, &dmcf->record);

        dmcf->process.zone = dmcf->record.zone;
        dmcf->process.generation = dmcf->record.generation;

        ngx_http_debug_history_start(dmcf->record.zone, cycle,
                                     ngx_http_debug_tick, dmcf);
        ngx_http_debug_page_kept = (dmcf->kept.path != NULL);
        ngx_http_debug_page_watch = (dmcf->watch.rules != NULL);
        ngx_http_debug_take_schedule(&dmcf->kept, cycle);
        ngx_http_debug_watch_schedule(&dmcf->watch, dmcf->record.zone, cycle);
    }

    return NGX_OK;
}


/* Once a second. */

static void
ngx_http_debug_tick(void *data)
{
    ngx_http_debug_main_conf_t *dmcf = data;

    ngx_http_debug_record_tick(&dmcf->record);
    ngx_http_debug_process_tick(&dmcf->process);
}


static void
ngx_http_debug_exit_process(ngx_cycle_t *cycle)
{
    ngx_http_debug_main_conf_t  *dmcf;

    dmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_debug_module);

    if (dmcf) {
        ngx_http_debug_zone_leave(dmcf->record.zone);
    }
}


static char *
ngx_http_debug(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_debug_loc_conf_t *dlcf = conf;

    ngx_str_t                   *value;
    ngx_uint_t                   i, n;
    ngx_http_core_loc_conf_t    *clcf;
    ngx_http_debug_main_conf_t  *dmcf;

    static ngx_conf_enum_t  routes[] = {
        { ngx_string("stats"), NGX_HTTP_DEBUG_STATS },
        { ngx_string("pprof"), NGX_HTTP_DEBUG_PPROF },
        { ngx_string("charts"), NGX_HTTP_DEBUG_CHARTS },
        { ngx_string("requests"), NGX_HTTP_DEBUG_REQUESTS },
        { ngx_string("legacy"), NGX_HTTP_DEBUG_LEGACY },
        { ngx_null_string, 0 }
    };

    if (dlcf->routes) {
        return "is duplicate";
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->named
#if (NGX_PCRE)
        || clcf->regex
#endif
        || clcf->exact_match
        || clcf->name.len == 0)
    {
        return "needs a location that is given by a prefix,"
               " since its routes lie below that prefix";
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        for (n = 0; routes[n].name.len; n++) {
            if (value[i].len == routes[n].name.len
                && ngx_strcmp(value[i].data, routes[n].name.data) == 0)
            {
                break;
            }
        }

        if (routes[n].name.len == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" in \"debug\""
                               " directive, it must be \"stats\", \"pprof\","
                               " \"requests\", \"charts\" or \"legacy\"",
                               &value[i]);
            return NGX_CONF_ERROR;
        }

        if (dlcf->routes & routes[n].value) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate parameter \"%V\" in \"debug\""
                               " directive", &value[i]);
            return NGX_CONF_ERROR;
        }

        dlcf->routes |= routes[n].value;
    }

    if ((dlcf->routes & NGX_HTTP_DEBUG_LEGACY)
        && dlcf->routes != NGX_HTTP_DEBUG_LEGACY)
    {
        return "takes \"legacy\" alone: a legacy tree holds nothing else";
    }

    if (dlcf->routes == 0) {
        dlcf->routes = NGX_HTTP_DEBUG_ALL;
    }

    dlcf->record.own = 1;
    dlcf->mount = clcf->name;
    clcf->handler = ngx_http_debug_handler;

    dmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_debug_module);

    if (dlcf->routes & NGX_HTTP_DEBUG_REQUESTS) {

        /* requests are written down only where somebody could see them */

        dmcf->record.each = 1;
    }

    if (clcf->name.data[clcf->name.len - 1] == '/' && clcf->name.len > 1) {
        clcf->auto_redirect = 1;
        dmcf->redirects = 1;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_debug_snapshots_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_debug_main_conf_t *dmcf = conf;

    return ngx_http_debug_kept_set(cf, &dmcf->kept);
}


static char *
ngx_http_debug_watch_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_debug_main_conf_t *dmcf = conf;

    return ngx_http_debug_watch_set(cf, &dmcf->watch);
}


static char *
ngx_http_debug_zone_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_debug_main_conf_t *dmcf = conf;

    ssize_t     size;
    ngx_str_t  *value;

    if (dmcf->record.size != NGX_CONF_UNSET_SIZE) {
        return "is duplicate";
    }

    value = cf->args->elts;

    size = ngx_parse_size(&value[1]);

    if (size == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid zone size \"%V\" in \"debug_zone\""
                           " directive, it must be from 1m to 1024m",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    if ((size_t) size > NGX_HTTP_DEBUG_ZONE_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone size \"%V\" is too large, at most %uzm"
                           " are reserved", &value[1],
                           NGX_HTTP_DEBUG_ZONE_MAX / 1024 / 1024);
        return NGX_CONF_ERROR;
    }

    if (size < NGX_HTTP_DEBUG_ZONE_MIN) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone size \"%V\" is too small, at least %uzk"
                           " are needed", &value[1],
                           (size_t) NGX_HTTP_DEBUG_ZONE_MIN / 1024);
        return NGX_CONF_ERROR;
    }

    dmcf->record.size = size;
    dmcf->record.file = cf->conf_file->file.name.data;
    dmcf->record.line = cf->conf_file->line;

    return NGX_CONF_OK;
}
