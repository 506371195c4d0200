
/*
 * The profile kinds that are known: THE list.
 *
 * Who refuses, who keeps, who shows and who draws reads the rows; the pages'
 * scripts get them as JSON.  A new kind is one row here, and its entry in
 * docs/profiles.md, which t/lint.t asks for.
 */


#ifndef _NGX_HTTP_DEBUG_KINDS_H_INCLUDED_
#define _NGX_HTTP_DEBUG_KINDS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_debug_out.h"


#define NGX_HTTP_DEBUG_KIND_TEXT      0x01  /* no profile, and costs nothing */
#define NGX_HTTP_DEBUG_KIND_BODY      0x02  /* takes one, of a POST */
#define NGX_HTTP_DEBUG_KIND_ALONE     0x04  /* a process takes one at a time */
#define NGX_HTTP_DEBUG_KIND_FRACTION  0x08  /* of a second may be asked for */
#define NGX_HTTP_DEBUG_KIND_GO        0x10  /* only Go programs have it */
#define NGX_HTTP_DEBUG_KIND_RAW       0x20  /* is not profile.proto */
#define NGX_HTTP_DEBUG_KIND_KEPT      0x40  /* one answer, worth keeping */


typedef struct {
    ngx_str_t     name;      /* the last segment of its path */
    ngx_uint_t    flags;
    ngx_uint_t    seconds;   /* that it takes unless asked otherwise */
    char         *query;     /* what a snapshot of it is asked with */
    char         *title;     /* over its picture */
    char         *about;     /* what it shows */
} ngx_http_debug_kind_t;


/* in the order of the page; a nameless one ends */
extern ngx_http_debug_kind_t  ngx_http_debug_kinds[];

/* Finds a known kind; NULL when NAME is none. */
ngx_http_debug_kind_t *ngx_http_debug_kinds_find(ngx_str_t *name);

/* Can NAME be one, as a part of the URI that a peer is asked for? */
ngx_uint_t ngx_http_debug_kinds_valid(ngx_str_t *name);

/* "all": what debug_pprof_kinds calls all that a peer may have. */
#define ngx_http_debug_kinds_is_all(name)                                     \
    ((name)->len == 3 && ngx_strncmp((name)->data, "all", 3) == 0)

/*
 * Appends the list as JSON, an array of objects with "name", "title", "about"
 * and "seconds", and of "text", "go", "raw" and "kept" those that are true.
 * It can stand between single quotes in HTML as it is.
 */
void ngx_http_debug_kinds_json(ngx_http_debug_out_t *out);

/*
 * Writes the names of those with FLAG into BUF, of SIZE bytes, as a sentence
 * has them, and NAMES is that: "a, b or c".
 */
void ngx_http_debug_kinds_names(ngx_uint_t flag, ngx_str_t *names, u_char *buf,
    size_t size);


#endif /* _NGX_HTTP_DEBUG_KINDS_H_INCLUDED_ */
