
/*
 * Who may ask.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_debug_access.h"
#include "ngx_http_debug_answer.h"


#define NGX_HTTP_DEBUG_ACCESS_SHOWN  80      /* bytes of a name in a sentence */


/* whom a header names that says that a proxy passed the request on */

#define NGX_HTTP_DEBUG_ACCESS_NOBODY     0
#define NGX_HTTP_DEBUG_ACCESS_ADDRESSES  1   /* "a, b" */
#define NGX_HTTP_DEBUG_ACCESS_FORWARDED  2   /* RFC 7239: "for=a;by=c, for=b" */


typedef struct {
    ngx_str_t    name;       /* in lower case; "*": anything, at one end */
    ngx_uint_t   names;
} ngx_http_debug_access_hop_t;


static struct sockaddr *ngx_http_debug_access_source(ngx_http_request_t *r);
static ngx_uint_t ngx_http_debug_access_resolved(ngx_http_request_t *r);
static ngx_table_elt_t *ngx_http_debug_access_passed_on(ngx_http_request_t *r,
    ngx_uint_t resolved);
static ngx_http_debug_access_hop_t *ngx_http_debug_access_hop(ngx_str_t *name);
static ngx_uint_t ngx_http_debug_access_all_local(ngx_http_request_t *r,
    ngx_str_t *value, ngx_uint_t names);
static ngx_uint_t ngx_http_debug_access_local(ngx_http_request_t *r,
    u_char *p, u_char *last, ngx_uint_t names);
static ngx_uint_t ngx_http_debug_access_is_loopback(struct sockaddr *sa);
static ngx_uint_t ngx_http_debug_access_own_name(ngx_http_request_t *r,
    ngx_http_debug_access_conf_t *conf);
static ngx_uint_t ngx_http_debug_access_server_name(ngx_http_server_name_t *sn,
    ngx_str_t *host);
static ngx_int_t ngx_http_debug_access_denied(ngx_http_request_t *r,
    ngx_str_t *reason);


/*
 * The first match wins.  What several proxies call alike is named by its
 * beginning or its end: *-Client-IP is said by Akamai (True-), Fastly, Fly,
 * WebLogic and others, CF-* by Cloudflare, and so on.  What clients send by
 * themselves, as traceparent, X-Amzn-Trace-Id or x-envoy-force-trace, is none
 * of these, though proxies send it as well: they say so otherwise, too.
 */

static ngx_http_debug_access_hop_t  ngx_http_debug_access_hops[] = {

    { ngx_string("x-forwarded-for"), NGX_HTTP_DEBUG_ACCESS_ADDRESSES },
    { ngx_string("forwarded"), NGX_HTTP_DEBUG_ACCESS_FORWARDED },
    { ngx_string("*-forwarded-for"), NGX_HTTP_DEBUG_ACCESS_ADDRESSES },
    { ngx_string("*-real-ip"), NGX_HTTP_DEBUG_ACCESS_ADDRESSES },
    { ngx_string("client-ip"), NGX_HTTP_DEBUG_ACCESS_ADDRESSES },
    { ngx_string("*-client-ip"), NGX_HTTP_DEBUG_ACCESS_ADDRESSES },
    { ngx_string("*-clientip"), NGX_HTTP_DEBUG_ACCESS_ADDRESSES },
    { ngx_string("*-connecting-ip"), NGX_HTTP_DEBUG_ACCESS_ADDRESSES },
    { ngx_string("*-connecting-ipv6"), NGX_HTTP_DEBUG_ACCESS_ADDRESSES },
    { ngx_string("*-client-connection-ip"), NGX_HTTP_DEBUG_ACCESS_ADDRESSES },
    { ngx_string("*-external-address"), NGX_HTTP_DEBUG_ACCESS_ADDRESSES },

    { ngx_string("via"), NGX_HTTP_DEBUG_ACCESS_NOBODY },
    { ngx_string("forwarded-*"), NGX_HTTP_DEBUG_ACCESS_NOBODY },
    { ngx_string("x-forwarded*"), NGX_HTTP_DEBUG_ACCESS_NOBODY },
    { ngx_string("x-original-*"), NGX_HTTP_DEBUG_ACCESS_NOBODY },
    { ngx_string("x-rewrite-url"), NGX_HTTP_DEBUG_ACCESS_NOBODY },
    { ngx_string("front-end-https"), NGX_HTTP_DEBUG_ACCESS_NOBODY },
    { ngx_string("surrogate-capability"), NGX_HTTP_DEBUG_ACCESS_NOBODY },

    { ngx_string("akamai-*"), NGX_HTTP_DEBUG_ACCESS_NOBODY },
    { ngx_string("cdn-*"), NGX_HTTP_DEBUG_ACCESS_NOBODY },
    { ngx_string("cf-*"), NGX_HTTP_DEBUG_ACCESS_NOBODY },
    { ngx_string("cloudfront-*"), NGX_HTTP_DEBUG_ACCESS_NOBODY },
    { ngx_string("fastly-*"), NGX_HTTP_DEBUG_ACCESS_NOBODY },
    { ngx_string("fly-*"), NGX_HTTP_DEBUG_ACCESS_NOBODY },
    { ngx_string("tailscale-*"), NGX_HTTP_DEBUG_ACCESS_NOBODY },
    { ngx_string("x-akamai-*"), NGX_HTTP_DEBUG_ACCESS_NOBODY },
    { ngx_string("x-amz-cf-*"), NGX_HTTP_DEBUG_ACCESS_NOBODY },
    { ngx_string("x-appengine-*"), NGX_HTTP_DEBUG_ACCESS_NOBODY },
    { ngx_string("x-arr-*"), NGX_HTTP_DEBUG_ACCESS_NOBODY },
    { ngx_string("x-azure-*"), NGX_HTTP_DEBUG_ACCESS_NOBODY },
    { ngx_string("x-envoy-attempt-count"), NGX_HTTP_DEBUG_ACCESS_NOBODY },
    { ngx_string("x-envoy-expected-*"), NGX_HTTP_DEBUG_ACCESS_NOBODY },
    { ngx_string("x-envoy-internal"), NGX_HTTP_DEBUG_ACCESS_NOBODY },
    { ngx_string("x-envoy-original-*"), NGX_HTTP_DEBUG_ACCESS_NOBODY },
    { ngx_string("x-envoy-peer-*"), NGX_HTTP_DEBUG_ACCESS_NOBODY },
    { ngx_string("x-varnish"), NGX_HTTP_DEBUG_ACCESS_NOBODY },

    { ngx_null_string, 0 }
};


ngx_int_t
ngx_http_debug_access(ngx_http_request_t *r,
    ngx_http_debug_access_conf_t *conf)
{
    u_char            *p, text[512];
    ngx_str_t          reason, name;
    ngx_uint_t         told, resolved;
    struct sockaddr   *sa, *source, *who;
    ngx_table_elt_t   *h;

    if (!conf->loopback && conf->cidrs == NULL) {
        return NGX_DECLINED;
    }

    sa = r->connection->sockaddr;

    /* which a sub-request has not */
    told = r->main->http_connection->addr_conf->proxy_protocol;
    resolved = ngx_http_debug_access_resolved(r);

    /* who stands behind the connection, as far as it is known; or NULL */

    source = told ? ngx_http_debug_access_source(r) : sa;
    who = resolved ? sa : source;

    if (who != NULL
        && conf->cidrs != NULL
        && ngx_cidr_match(who, conf->cidrs) == NGX_OK)
    {
        return NGX_DECLINED;
    }

    reason.data = text;

    if (source == NULL) {
        p = ngx_slprintf(text, text + sizeof(text),
                         "the PROXY protocol does not say who asks; ask nginx"
                         " directly");
        goto denied;
    }

    if (!conf->loopback
        || !ngx_http_debug_access_is_loopback(sa)
        || !ngx_http_debug_access_is_loopback(source))
    {
        name = r->connection->addr_text;

        if (told
            && (!resolved || !ngx_http_debug_access_is_loopback(source)))
        {
            name = r->connection->proxy_protocol->src_addr;
        }

        p = ngx_slprintf(text, text + sizeof(text),
                         "%V is not among whom it lets in%s", &name,
                         conf->cidrs ? "" : ", this machine alone;"
                         " ask there, by 127.0.0.1 or localhost, or name the"
                         " address in debug_access");
        goto denied;
    }

    h = ngx_http_debug_access_passed_on(r, resolved);

    if (h != NULL) {
        name.len = ngx_min(h->key.len, NGX_HTTP_DEBUG_ACCESS_SHOWN);
        name.data = h->key.data;

        p = ngx_slprintf(text, text + sizeof(text),
                         "\"%V\" says that this request was passed on by a"
                         " proxy, and \"loopback\" means this machine alone;"
                         " ask nginx directly, or name the addresses that may"
                         " ask, with real_ip_header for this proxy", &name);
        goto denied;
    }

    /* no page can make a browser open a unix domain socket */

    if (sa->sa_family != AF_UNIX
        && !ngx_http_debug_access_own_name(r, conf))
    {
        name.len = ngx_min(r->headers_in.server.len,
                           NGX_HTTP_DEBUG_ACCESS_SHOWN);
        name.data = r->headers_in.server.data;

        p = ngx_slprintf(text, text + sizeof(text),
                         "\"%V\" is neither an IP address nor localhost nor a"
                         " server_name here; ask by one of these, or add it"
                         " to server_name", &name);
        goto denied;
    }

    return NGX_DECLINED;

denied:

    reason.len = p - text;

    return ngx_http_debug_access_denied(r, &reason);
}


static ngx_int_t
ngx_http_debug_access_denied(ngx_http_request_t *r, ngx_str_t *reason)
{
    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "access forbidden by debug_access: %V", reason);

    return ngx_http_debug_answer_say(r, NGX_HTTP_FORBIDDEN,
                                     "access denied by debug_access: %V",
                                     reason);
}


/* Who is named by the PROXY protocol; NULL: nobody, or nobody knows. */

static struct sockaddr *
ngx_http_debug_access_source(ngx_http_request_t *r)
{
    ngx_addr_t             addr;
    ngx_proxy_protocol_t  *pp;

    pp = r->connection->proxy_protocol;

    if (pp == NULL
        || ngx_parse_addr(r->pool, &addr, pp->src_addr.data, pp->src_addr.len)
           != NGX_OK)
    {
        return NULL;
    }

    return addr.sockaddr;
}


/*
 * Whether ngx_http_realip_module put a client in the proxy's place.  It tells
 * by its variables alone; a client that it found has no port, or another one.
 */

static ngx_uint_t
ngx_http_debug_access_resolved(ngx_http_request_t *r)
{
    ngx_connection_t           *c;
    ngx_http_variable_value_t  *vv;

    static ngx_str_t  addr = ngx_string("realip_remote_addr");
    static ngx_str_t  port = ngx_string("realip_remote_port");

    c = r->connection;

    vv = ngx_http_get_variable(r, &addr, ngx_hash_key(addr.data, addr.len));

    if (vv == NULL || vv->not_found) {

        /* nginx was built without */

        return 0;
    }

    if (vv->len != c->addr_text.len
        || ngx_memcmp(vv->data, c->addr_text.data, vv->len) != 0)
    {
        return 1;
    }

    vv = ngx_http_get_variable(r, &port, ngx_hash_key(port.data, port.len));

    return vv != NULL
           && !vv->not_found
           && vv->len
           && ngx_atoi(vv->data, vv->len)
              != (ngx_int_t) ngx_inet_get_port(c->sockaddr);
}


/*
 * Finds a header that says that a proxy passed the request on for somebody
 * else.  NULL: there is none, or whoever is named in them is on this machine,
 * and real_ip_header says that this proxy is to be believed.
 */

static ngx_table_elt_t *
ngx_http_debug_access_passed_on(ngx_http_request_t *r, ngx_uint_t resolved)
{
    ngx_uint_t                    i;
    ngx_list_part_t              *part;
    ngx_table_elt_t              *h;
    ngx_http_debug_access_hop_t  *hop;

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return NULL;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        hop = ngx_http_debug_access_hop(&h[i].key);

        if (hop == NULL) {
            continue;
        }

        if (!resolved
            || (hop->names
                && !ngx_http_debug_access_all_local(r, &h[i].value,
                                                    hop->names)))
        {
            return &h[i];
        }
    }
}


static ngx_http_debug_access_hop_t *
ngx_http_debug_access_hop(ngx_str_t *name)
{
    u_char                        ch, *p, *s, *last;
    size_t                        len;
    ngx_http_debug_access_hop_t  *hop;

    for (hop = ngx_http_debug_access_hops; hop->name.len; hop++) {

        p = hop->name.data;
        len = hop->name.len;
        s = name->data;

        if (*p == '*') {
            p++;
            len--;

            if (name->len < len) {
                continue;
            }

            s += name->len - len;

        } else if (p[len - 1] == '*') {
            len--;

            if (name->len < len) {
                continue;
            }

        } else if (name->len != len) {
            continue;
        }

        /* "underscores_in_headers on" makes the two one to a program */

        for (last = p + len; p < last; p++, s++) {
            ch = (*s == '_') ? '-' : ngx_tolower(*s);

            if (ch != *p) {
                break;
            }
        }

        if (p == last) {
            return hop;
        }
    }

    return NULL;
}


/* Whether all whom VALUE names are on this machine, and it names somebody. */

static ngx_uint_t
ngx_http_debug_access_all_local(ngx_http_request_t *r, ngx_str_t *value,
    ngx_uint_t names)
{
    u_char  *p, *last, *end;

    last = value->data + value->len;

    for (p = value->data; /* void */ ; p = end + 1) {

        end = ngx_strlchr(p, last, ',');
        if (end == NULL) {
            end = last;
        }

        if (!ngx_http_debug_access_local(r, p, end, names)) {
            return 0;
        }

        if (end == last) {
            return 1;
        }
    }
}


/* One of them: an address, with or without a port. */

static ngx_uint_t
ngx_http_debug_access_local(ngx_http_request_t *r, u_char *p, u_char *last,
    ngx_uint_t names)
{
    u_char      *end;
    ngx_addr_t   addr;

    if (names == NGX_HTTP_DEBUG_ACCESS_FORWARDED) {

        p = ngx_strlcasestrn(p, last, (u_char *) "for=", 4 - 1);
        if (p == NULL) {
            return 0;
        }

        p += 4;

        end = ngx_strlchr(p, last, ';');
        if (end != NULL) {
            last = end;
        }
    }

    while (p < last && (*p == ' ' || *p == '\t' || *p == '"')) {
        p++;
    }

    while (p < last
           && (last[-1] == ' ' || last[-1] == '\t' || last[-1] == '"'))
    {
        last--;
    }

    return ngx_parse_addr_port(r->pool, &addr, p, last - p) == NGX_OK
           && ngx_http_debug_access_is_loopback(addr.sockaddr);
}


static ngx_uint_t
ngx_http_debug_access_is_loopback(struct sockaddr *sa)
{
    in_addr_t             addr;
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    u_char               *p;
    struct sockaddr_in6  *sin6;
#endif

    switch (sa->sa_family) {

    case AF_INET:
        sin = (struct sockaddr_in *) sa;
        addr = ntohl(sin->sin_addr.s_addr);
        return (addr >> 24) == 127;

#if (NGX_HAVE_INET6)
    case AF_INET6:
        sin6 = (struct sockaddr_in6 *) sa;

        if (IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr)) {
            p = sin6->sin6_addr.s6_addr;
            return p[12] == 127;
        }

        return IN6_IS_ADDR_LOOPBACK(&sin6->sin6_addr);
#endif

#if (NGX_HAVE_UNIX_DOMAIN)
    case AF_UNIX:
        return 1;
#endif

    default:
        return 0;
    }
}


/*
 * Whether nginx was asked by a name that is its own.  HTTP/1.0 may ask by
 * none, which no browser does.  nginx took port and final dot away, and made
 * it lower case.
 */

static ngx_uint_t
ngx_http_debug_access_own_name(ngx_http_request_t *r,
    ngx_http_debug_access_conf_t *conf)
{
    ngx_str_t               *host;
    ngx_uint_t               i;
    ngx_http_server_name_t  *sn;
#if (NGX_HAVE_INET6)
    struct in6_addr          in6;
#endif

    static ngx_str_t  localhost = ngx_string("localhost");

    host = &r->headers_in.server;

    if (host->len == 0
        || ngx_inet_addr(host->data, host->len) != INADDR_NONE)
    {
        return 1;
    }

#if (NGX_HAVE_INET6)

    if (host->len > 2
        && host->data[0] == '['
        && host->data[host->len - 1] == ']'
        && ngx_inet6_addr(host->data + 1, host->len - 2, in6.s6_addr)
           == NGX_OK)
    {
        return 1;
    }

#endif

    if (host->len == localhost.len
        && ngx_memcmp(host->data, localhost.data, localhost.len) == 0)
    {
        return 1;
    }

    sn = conf->names.elts;

    for (i = 0; i < conf->names.nelts; i++) {
        if (ngx_http_debug_access_server_name(&sn[i], host)) {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_http_debug_access_server_name(ngx_http_server_name_t *sn, ngx_str_t *host)
{
    size_t   len;
    u_char  *name;

#if (NGX_PCRE)

    /* of nobody, RFC 2606: who takes it for his own takes any name */

    static ngx_str_t  nobody = ngx_string("debug-access.nobody.invalid");

    if (sn->regex) {
        return ngx_regex_exec(sn->regex->regex, host, NULL, 0) >= 0
               && ngx_regex_exec(sn->regex->regex, &nobody, NULL, 0) < 0;
    }

#endif

    name = sn->name.data;
    len = sn->name.len;

    if (len == 0) {
        return 0;
    }

    if (name[len - 1] == '*') {

        /* "www.example.*" */

        len--;
        return host->len > len && ngx_memcmp(host->data, name, len) == 0;
    }

    if (name[0] == '*') {

        /* "*.example.com" */

        name++;
        len--;

    } else if (name[0] == '.' && host->len == len - 1) {

        /* ".example.com" is that and "example.com" */

        name++;
        len--;

    } else if (name[0] != '.') {
        return host->len == len && ngx_memcmp(host->data, name, len) == 0;
    }

    return host->len >= len
           && ngx_memcmp(host->data + host->len - len, name, len) == 0;
}


ngx_uint_t
ngx_http_debug_access_foreign(ngx_http_request_t *r)
{
    u_char           *p, *last;
    ngx_str_t         own;
    ngx_table_elt_t  *site, *origin, *host;

    static ngx_str_t  same = ngx_string("same-origin");
    static ngx_str_t  none = ngx_string("none");

    site = ngx_http_debug_header_find(r, "sec-fetch-site");

    if (site != NULL) {
        return !(site->value.len == same.len
                 && ngx_strncasecmp(site->value.data, same.data, same.len)
                    == 0)
               && !(site->value.len == none.len
                    && ngx_strncasecmp(site->value.data, none.data, none.len)
                       == 0);
    }

    origin = ngx_http_debug_header_find(r, "origin");

    if (origin == NULL) {
        return 0;
    }

    host = ngx_http_debug_header_find(r, "host");

    if (host != NULL) {
        own = host->value;

    } else if (r->main->host_start != NULL) {

        /* HTTP/3 has ":authority" alone */

        own.len = r->main->host_end - r->main->host_start;
        own.data = r->main->host_start;

    } else {
        return 1;
    }

    last = origin->value.data + origin->value.len;
    p = ngx_strlchr(origin->value.data, last, ':');

    if (p == NULL || last - p < 3 || p[1] != '/' || p[2] != '/') {
        return 1;
    }

    p += 3;

    return (size_t) (last - p) != own.len
           || ngx_strncasecmp(p, own.data, own.len) != 0;
}


ngx_int_t
ngx_http_debug_access_site(ngx_http_request_t *r)
{
    if (ngx_http_debug_access_foreign(r)) {
        return ngx_http_debug_answer_literal(r, NGX_HTTP_FORBIDDEN,
                   "another site's page asks for this; what costs a peer"
                   " something is refused to it: open it from the pages"
                   " here, or by its address");
    }

    return NGX_DECLINED;
}


void
ngx_http_debug_access_create_conf(ngx_http_debug_access_conf_t *conf)
{
    conf->cidrs = NGX_CONF_UNSET_PTR;
    conf->loopback = NGX_CONF_UNSET;
}


void
ngx_http_debug_access_merge_conf(ngx_http_debug_access_conf_t *prev,
    ngx_http_debug_access_conf_t *conf)
{
    /* the two are set by one directive */

    ngx_conf_merge_ptr_value(conf->cidrs, prev->cidrs, NULL);
    ngx_conf_merge_value(conf->loopback, prev->loopback, 1);
}


/* nginx's own array of names does not outlive the configuration's reading. */

ngx_int_t
ngx_http_debug_access_merge_location(ngx_conf_t *cf,
    ngx_http_debug_access_conf_t *conf)
{
    void                      *p;
    ngx_uint_t                 n;
    ngx_http_core_srv_conf_t  *cscf;

    cscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);
    n = cscf->server_names.nelts;

    if (ngx_array_init(&conf->names, cf->pool, n + 1,
                       sizeof(ngx_http_server_name_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    p = ngx_array_push_n(&conf->names, n);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(p, cscf->server_names.elts,
               n * sizeof(ngx_http_server_name_t));

    return NGX_OK;
}


char *
ngx_http_debug_access_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *p = conf;

    ngx_int_t                      rc;
    ngx_str_t                     *value;
    ngx_uint_t                     i;
    ngx_cidr_t                    *cidr;
    ngx_http_debug_access_conf_t  *access;

    access = (ngx_http_debug_access_conf_t *) (p + cmd->offset);

    if (access->loopback != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    access->loopback = 0;
    access->cidrs = NULL;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strcmp(value[i].data, "all") == 0) {

            if (cf->args->nelts != 2) {
                return "takes \"all\" alone";
            }

            return NGX_CONF_OK;
        }

        if (ngx_strcmp(value[i].data, "loopback") == 0) {
            access->loopback = 1;
            continue;
        }

        if (access->cidrs == NULL) {
            access->cidrs = ngx_array_create(cf->pool, 4, sizeof(ngx_cidr_t));
            if (access->cidrs == NULL) {
                return NGX_CONF_ERROR;
            }
        }

        cidr = ngx_array_push(access->cidrs);
        if (cidr == NULL) {
            return NGX_CONF_ERROR;
        }

        ngx_memzero(cidr, sizeof(ngx_cidr_t));

#if (NGX_HAVE_UNIX_DOMAIN)
        if (ngx_strcmp(value[i].data, "unix:") == 0) {
            cidr->family = AF_UNIX;
            continue;
        }
#endif

        rc = ngx_ptocidr(&value[i], cidr);

        if (rc == NGX_ERROR) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" in"
                               " \"debug_access\" directive, it must be"
                               " \"loopback\", \"all\", \"unix:\" or an"
                               " address, as 10.0.0.0/8", &value[i]);
            return NGX_CONF_ERROR;
        }

        if (rc == NGX_DONE) {
            ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                               "low address bits of %V are meaningless",
                               &value[i]);
        }
    }

    return NGX_CONF_OK;
}
