
/*
 * Answers that the module makes itself.
 *
 * They are sent here and not by returning a status, so that error_page and
 * the default error pages never replace them: the clients of these routes
 * are profilers and scripts, and a page of HTML would be saved as a profile.
 *
 * Context of all functions: worker, request.
 */


#ifndef _NGX_HTTP_DEBUG_ANSWER_H_INCLUDED_
#define _NGX_HTTP_DEBUG_ANSWER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * Adds a response header.  NAME and VALUE are not copied.  Returns NGX_OK or
 * NGX_ERROR (no memory).
 */
ngx_int_t ngx_http_debug_header_add(ngx_http_request_t *r, char *name,
    ngx_str_t *value);

/*
 * Finds a request header by its lowercased name.  Returns the first one or
 * NULL; it belongs to the request.
 */
ngx_table_elt_t *ngx_http_debug_header_find(ngx_http_request_t *r,
    char *lowcase);

/* The same in any list of ngx_table_elt_t; case does not matter. */
ngx_table_elt_t *ngx_http_debug_header_get(ngx_list_t *headers, char *name);

/*
 * Says that an answer is not to be stored by anybody, nor taken for what it
 * does not say.  Returns NGX_OK or NGX_ERROR (no memory).
 */
ngx_int_t ngx_http_debug_answer_guard(ngx_http_request_t *r);

/*
 * The body is a peer's: a browser that shows it runs no script of it, and
 * takes it for no part of nginx's site.  Returns NGX_OK or NGX_ERROR (no
 * memory).
 */
ngx_int_t ngx_http_debug_answer_sandbox(ngx_http_request_t *r);

/*
 * Sends STATUS, the media TYPE and the LENGTH bytes of OUT, never to be
 * stored by anybody.  OUT may be NULL if LENGTH is 0; its last buffer gets
 * last_buf set.  Returns what a content handler returns.
 */
ngx_int_t ngx_http_debug_answer_chain(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *type, ngx_chain_t *out, off_t length);

/*
 * Sends one plain sentence, which must not end with a line feed.  With
 * "X-Go-Pprof: 1", since "go tool pprof" shows the body of an error only
 * then.  Returns what a content handler returns.
 *
 * Source: Go's net/http/pprof, serveError().
 */
ngx_int_t ngx_http_debug_answer_text(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *sentence);

/* The same with a format, as ngx_sprintf() has it; at most 1 KB. */
ngx_int_t ngx_cdecl ngx_http_debug_answer_say(ngx_http_request_t *r,
    ngx_uint_t status, const char *fmt, ...);

/* The same for a literal. */
#define ngx_http_debug_answer_literal(r, status, text)                        \
    ngx_http_debug_answer_text(r, status, &(ngx_str_t) ngx_string(text))

/*
 * Refuses what is neither GET nor HEAD.  Returns NGX_DECLINED when it is, or
 * what a content handler returns.
 */
ngx_int_t ngx_http_debug_answer_only_get(ngx_http_request_t *r);

/*
 * Is a text wanted, and no page?  A browser says that it can read HTML.  curl
 * and wget say that they read anything, and Go's client says nothing: they
 * have a terminal.
 */
ngx_uint_t ngx_http_debug_answer_is_text(ngx_http_request_t *r);

/*
 * Redirects to LOCATION, which is relative to the request's own URI: the
 * only form that is right behind a proxy that strips a prefix or ends TLS.
 * LOCATION is not copied.
 */
ngx_int_t ngx_http_debug_answer_redirect(ngx_http_request_t *r,
    ngx_uint_t status, ngx_str_t *location);


#endif /* _NGX_HTTP_DEBUG_ANSWER_H_INCLUDED_ */
