/*
 * From a request's words to a job, and from its answer to headers.  No
 * sockets, no threads: the server and pprof_handle() share this.
 *
 * Context: thread-safe; nothing is shared.
 */

#ifndef PPROF_FRONT_REQUEST_H
#define PPROF_FRONT_REQUEST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "agent/target.h"
#include "charts/charts.h"
#include "kinds/kind.h"
#include "pprof.h"


enum {
    PPROF_SECONDS_DEFAULT = 30,     /* Go's */
    PPROF_SECONDS_MAX     = 3600,   /* unless the options say otherwise */
    PPROF_HEADERS_MAX     = 7,
    PPROF_PATH_MAX        = 256     /* bytes, normalised, with a zero */
};


/*
 * Processes of a family that nobody serves, as there is no room for them; the
 * index tells.
 */
extern _Atomic unsigned  pprof_request_unserved;


/* Limits and policies; the strings are static or belong to the server. */
struct pprof_policy {
    unsigned     max_seconds;
    const char  *cmdline;       /* "full", "argv0", "off" */
    const struct pprof_charts  *charts;     /* NULL: none are kept */
    struct pprof_target  *target;   /* who is asked about */
};


/* Fills P from what the program and its environment say; OPTIONS may be NULL.
   Returns 0, or -1 with errno EINVAL. */
int pprof_policy_init(struct pprof_policy *p,
    const struct pprof_options *options);

/*
 * Writes PATH to OUT, SIZE bytes, with escapes decoded, "//" and "/./" made
 * one slash and "/../" taken back, as nginx does.
 *
 * Returns 0, or -1 when it is no path: no slash in front, a broken escape, an
 * escaped zero, more ".." than segments, or too long.
 */
int pprof_path_normalize(const char *path, char *out, size_t size);

/*
 * Reads the first "KEY=value" of QUERY, decoded, into OUT, SIZE bytes with a
 * zero; a longer value is cut off.
 *
 * Returns 1, or 0 when QUERY is NULL or has no such key.
 */
int pprof_query_get(const char *query, const char *key, char *out,
    size_t size);

/*
 * Reads TEXT as Go's strconv.ParseInt(TEXT, 10, 64) does.
 *
 * Returns 0 and *N; -1 when it is no number; -2 when it is one that does not
 * fit.  *N then is the largest or smallest there is.
 */
int pprof_int_parse(const char *text, long long *n);

/*
 * Makes JOB of a request.  When JOB->kind is NULL, nothing is to be done: the
 * answer is there already.  The strings and the body must live as long as
 * JOB; free JOB->answer.body when done.
 */
void pprof_request_route(struct pprof_job *job,
    const struct pprof_policy *policy, const char *method, const char *path,
    const char *query, const void *body, size_t body_len);

/* An answer's headers, and the text of those that are not static. */
struct pprof_headers {
    struct pprof_header  list[PPROF_HEADERS_MAX];
    size_t               n;
    char                 special[64];   /* of the one that depends on the
                                           answer */
    char                 pid[24];
};

/* Fills H, which is not to be moved then, for JOB's answer. */
void pprof_answer_headers(const struct pprof_job *job,
    struct pprof_headers *h);

#endif
