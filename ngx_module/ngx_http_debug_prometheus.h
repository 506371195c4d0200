
/*
 * What the walk over the families and the formats that they are printed in
 * know of each other.
 *
 * The walk (_prometheus.c) says which families there are and what each series
 * of them has; a format says what it looks like: text (_text.c), or protobuf
 * (_proto.c).  A format that needs the size of a family before its beginning
 * gets each of its samples twice.
 *
 * Owner: the output's pool.  Context: worker, request.
 */


#ifndef _NGX_HTTP_DEBUG_PROMETHEUS_H_INCLUDED_
#define _NGX_HTTP_DEBUG_PROMETHEUS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_debug_faces.h"


/* as CHANGES has it */
#define NGX_HTTP_DEBUG_VERSION  "1.0.0"


/* as io.prometheus.client.MetricType has them */

typedef enum {
    NGX_HTTP_DEBUG_COUNTER = 0,
    NGX_HTTP_DEBUG_GAUGE = 1,
    NGX_HTTP_DEBUG_HISTOGRAM = 4
} ngx_http_debug_type_e;


typedef struct {
    ngx_uint_t             kinds;
    ngx_str_t              prefix;
    ngx_uint_t             many;         /* there can be thousands of them, of
                                            which most never counted most */
} ngx_http_debug_scope_t;


typedef struct {
    ngx_http_debug_row_t   row;
    ngx_str_t              labels;       /* as the format has them */
    ngx_str_t              histogram;    /* likewise, if it wants it made at
                                            once */
    uint64_t               last;         /* as they were when the row was */
    uint64_t               failed;       /* made: a size must not change */
    ngx_uint_t             named;
    uint32_t               weight;
    ngx_uint_t             state;        /* of a peer */
    ngx_int_t              up;
    int64_t                age;          /* of what its process said, ns; below
                                            0: nothing */
    uint64_t               process[NGX_HTTP_DEBUG_PROCESS_VALUES];
    uint64_t               created;      /* as the format has it */
    uint64_t               le[NGX_HTTP_DEBUG_LE];    /* of text */
} ngx_http_debug_series_t;


/* of a family's kinds: counted by somebody else, who knows since when */
#define NGX_HTTP_DEBUG_FOREIGN  0x8000

typedef struct {
    ngx_str_t              name;         /* without the scope's prefix */
    ngx_http_debug_type_e  type;
    ngx_uint_t             kinds;        /* bits: who has it */
    ngx_str_t              help;
} ngx_http_debug_family_t;


struct ngx_http_debug_format_s {

    /*
     * Makes what S needs for its entity, which BUCKET is the histogram of.
     * Returns NGX_OK or NGX_ERROR (no memory).
     */
    ngx_int_t            (*series)(ngx_http_debug_prometheus_t *p,
                               ngx_http_debug_series_t *s, uint64_t *bucket);

    /* Sets since when S is counted, seconds; or NULL. */
    void                 (*created)(ngx_http_debug_series_t *s,
                               uint64_t seconds);

    /*
     * Prepares p->label: LABEL, which the samples that follow have beside
     * those of their series; name="value" with nothing to be escaped, maybe a
     * comma and more of them, or empty.
     */
    void                 (*prepare)(ngx_http_debug_prometheus_t *p,
                               ngx_str_t *label);

    /* The beginning of p->family. */
    void                 (*family)(ngx_http_debug_prometheus_t *p);

    /* A number of it. */
    void                 (*sample)(ngx_http_debug_prometheus_t *p,
                               ngx_http_debug_series_t *s, uint64_t value,
                               ngx_http_debug_unit_e unit);

    /* The histogram of response times. */
    void                 (*times)(ngx_http_debug_prometheus_t *p,
                               ngx_http_debug_series_t *s);

    /* The end of all, or NULL. */
    void                 (*end)(ngx_http_debug_prometheus_t *p);

    ngx_uint_t             twice;        /* p->measure, then for good */
    ngx_uint_t             sparse;       /* of many, counters that are 0 are
                                            left out */
    ngx_uint_t             openmetrics;
};


struct ngx_http_debug_prometheus_s {
    ngx_http_debug_out_t     *out;
    ngx_http_debug_zone_t    *zone;
    ngx_http_debug_format_t  *format;
    ngx_http_debug_filter_t   filter;

    ngx_http_debug_scope_t   *scope;
    ngx_http_debug_family_t  *family;    /* NULL: the scope has no more */
    ngx_http_debug_family_t   table;     /* that one, if it is the table's */

    u_char                    name[128]; /* of the family, with its prefix */
    size_t                    len;

    ngx_str_t                 label;     /* prepared */
    u_char                    prepared[128];

    ngx_uint_t                measure;   /* a sample adds to "size" alone */
    size_t                    size;      /* of the family */

    /* the walk's */

    ngx_http_debug_series_t  *series;
    uint64_t                  any[NGX_HTTP_DEBUG_METRICS]; /* bits of them all:
                                            0 where nobody counted anything */
    ngx_uint_t                n;         /* of them, made so far */
    ngx_uint_t                id;        /* the next entity */
    ngx_uint_t                ids;
    ngx_http_debug_peers_of_t  *peers;
    ngx_uint_t                at;        /* the next family */
    ngx_uint_t                line;      /* of its rows in the table */
    ngx_uint_t                next;      /* its next series */
    ngx_str_t                 grouped;   /* the last peer's labels without
                                            its own, */
    uint32_t                  group;     /* and its group */
    uint32_t                  code;      /* that the label is of, or a state
                                            and 1, or 0 */
    u_char                    text[32];
};


/*
 * Writes the LEN bytes at NAME as UTF-8: one byte that is none would cost the
 * whole scrape.  With ESCAPE for text, where quotes, backslashes and line
 * feeds need one.  Returns the end of what was written to DST: at most three
 * bytes for each.
 */
u_char *ngx_http_debug_prometheus_utf8(u_char *dst, u_char *name, size_t len,
    ngx_uint_t escape);

/*
 * The labels of entity E: calls ADD with each name and value, and where it
 * goes; what ADD returns is where the next one does.
 */
typedef u_char *(*ngx_http_debug_label_pt)(u_char *dst, char *name,
    u_char *value, size_t len);

u_char *ngx_http_debug_prometheus_labels(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_entity_t *e, u_char *dst, ngx_http_debug_label_pt add);

/* Bytes that they need at most, each with some 20 beside name and value. */
size_t ngx_http_debug_prometheus_labels_len(ngx_http_debug_prometheus_t *p,
    ngx_http_debug_entity_t *e);


#endif /* _NGX_HTTP_DEBUG_PROMETHEUS_H_INCLUDED_ */
