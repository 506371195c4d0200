/*
 * What a profile kind is.  A new kind is one file beside this one and one
 * line in PPROF_KINDS.
 *
 * A kind sees no HTTP.  It is asked in a struct pprof_ask and answers in a
 * struct pprof_answer; the front carries both.
 *
 * Concurrency: begin() and end() of one job are called one after the other,
 * in threads that may differ and that may block.  Jobs of one kind run beside
 * each other unless the kind's own lock says otherwise.
 */

#ifndef PPROF_KINDS_KIND_H
#define PPROF_KINDS_KIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/target.h"
#include "encode/buf.h"


enum pprof_format {
    PPROF_FORMAT_PROTO,             /* or text, with DEBUG */
    PPROF_FORMAT_FOLDED,
    PPROF_FORMAT_SVG
};


enum {
    PPROF_KIND_WINDOW = 1 << 0,     /* always takes time; 30 s by default */
    PPROF_KIND_DELTA  = 1 << 1,     /* of an instant, or the difference over
                                       `seconds` */
    PPROF_KIND_POST   = 1 << 2,     /* has a body */
    PPROF_KIND_PLAIN  = 1 << 3,     /* not a profile: `seconds` and `debug`
                                       mean nothing */
    PPROF_KIND_JSON   = 1 << 4,     /* a table, as JSON too */
};


/*
 * The kinds there are, in the order of the index: name and flags.  Each is a
 * file of that name, but for thread, which is goroutine by the name that it
 * has in C.
 */
#define PPROF_KINDS(X)                                                        \
    X(profile,      PPROF_KIND_WINDOW)                                        \
    X(heap,         PPROF_KIND_DELTA)                                         \
    X(allocs,       PPROF_KIND_DELTA)                                         \
    X(goroutine,    PPROF_KIND_DELTA)                                         \
    X(thread,       PPROF_KIND_DELTA)                                         \
    X(threadcreate, PPROF_KIND_DELTA)                                         \
    X(block,        PPROF_KIND_DELTA)                                         \
    X(mutex,        PPROF_KIND_DELTA)                                         \
    X(growth,       0)                                                        \
    X(symbol,       PPROF_KIND_PLAIN | PPROF_KIND_POST)                       \
    X(cmdline,      PPROF_KIND_PLAIN)                                         \
    X(requests,     PPROF_KIND_PLAIN | PPROF_KIND_JSON)

#define PPROF_KIND_FLAGS(what, flags)  PPROF_KIND_FLAGS_##what = flags,
enum { PPROF_KINDS(PPROF_KIND_FLAGS) };
#undef PPROF_KIND_FLAGS

/* How the struct of a kind begins. */
#define PPROF_KIND(what)  .name = #what, .flags = PPROF_KIND_FLAGS_##what


enum { PPROF_HZ_MAX = 1000 };

/* What samples are told apart by, when that is asked for. */
enum {
    PPROF_LABEL_THREAD = 1 << 0,    /* thread_id, thread_name */
    PPROF_LABEL_OBJECT = 1 << 1,    /* what was waited for */
    PPROF_LABEL_ROUTE  = 1 << 2,    /* of the request it was for */
};

struct pprof_ask {
    bool         legacy;        /* gperftools' formats */
    bool         gc;            /* give free memory back first */
    int          debug;         /* 0: profile.proto; 1, 2: text */
    unsigned     seconds;       /* how long; 0: of an instant */
    unsigned     hz;            /* samples a second; 0: as usual */
    long long    rate;          /* of what is sampled; -1: not said */
    enum pprof_format  format;
    bool         wall;          /* all time, not only the processor's */
    bool         lines;         /* files and lines too */
    bool         full_names;    /* with parameters and all arguments */
    unsigned     labels;        /* PPROF_LABEL_… */
    bool         by_route;      /* a table of routes, and no profile */
    bool         json;          /* that as JSON */
    bool         by_id;         /* the thread at request ID alone */
    uint32_t     id;
    char         route[49];     /* threads at requests of it; "": not asked */
    const char  *method;        /* belongs to the caller, as do the others */
    const char  *body;          /* BODY_LEN bytes, no zero at the end */
    size_t       body_len;
    const char  *cmdline;       /* "full", "argv0", "off" */
};


/* Owner: whoever declared it; pprof_buf_free() on the body when done. */
struct pprof_answer {
    int               status;       /* as HTTP's; 0: nothing was said yet */
    const char       *type;         /* MIME type; static */
    const char       *file;         /* name to save it by; NULL: show it */
    unsigned          retry_after;  /* seconds; 0: does not help */
    const char       *allow;        /* methods, when STATUS is 405; static */
    struct pprof_buf  body;
};


struct pprof_route_span;

struct pprof_job {
    const struct pprof_kind  *kind;
    struct pprof_ask          ask;
    struct pprof_target      *target;   /* who is asked about */
    struct pprof_answer       answer;
    void                     *state;    /* between begin() and end() */
    struct pprof_route_span  *routes;   /* what a profile by route was told,
                                           or NULL; end() frees it */

    /* Whether nobody waits for the answer any more; end() may ask, in its
       thread, what takes long.  NULL: cannot be told. */
    bool                    (*gone)(void *gone_arg);
    void                     *gone_arg;
};


struct pprof_kind {
    const char  *name;      /* last segment of the path */
    const char  *about;     /* one line for the index */
    unsigned     flags;     /* PPROF_KIND_… */
    const void  *detail;    /* of kinds that share their functions; static */

    /*
     * Called by each pprof_start(), before any request: what must be on
     * before it can be asked about.  NULL: nothing.
     */
    void       (*prepare)(const struct pprof_kind *kind,
                          struct pprof_target *target);

    /* Called by pprof_stop(): gives back what prepare() took.  Or NULL. */
    void       (*release)(const struct pprof_kind *kind,
                          struct pprof_target *target);

    /*
     * Called in the child of each fork(), its only thread, with TARGET that
     * process.  Or NULL.
     */
    void       (*child)(const struct pprof_kind *kind,
                        struct pprof_target *target);

    /*
     * Begins what takes ask.seconds.  Returns 0, or -1 when the answer has
     * been given; end() is then not called.  NULL: nothing is to begin.
     */
    int        (*begin)(struct pprof_job *job);

    /*
     * Ends what begin() began, and answers.  With GONE nobody waits for the
     * answer: what holds resources is to be ended, nothing else.
     */
    void       (*end)(struct pprof_job *job, bool gone);

    /*
     * Tells how many samples a profile of now would have, for the charts;
     * asked once a second and less often when that takes long.  Returns 0
     * and *N, or -1 when it cannot be told.  NULL: nor ever.
     */
    int        (*count)(const struct pprof_kind *kind,
                        struct pprof_target *target, size_t *n);
};


/* All kinds, in the order of the index; ends with NULL.  Static. */
extern const struct pprof_kind *const pprof_kinds[];

/* Returns the kind of that name, LEN bytes, or NULL. */
const struct pprof_kind *pprof_kind_find(const char *name, size_t len);


/*
 * Answers with STATUS and one sentence.  Go's client shows it to its user.
 * A newline is added.
 */
void pprof_answer_error(struct pprof_answer *a, int status, const char *fmt,
    ...) __attribute__((format(printf, 3, 4)));

/*
 * Answers 200: TYPE and FILE are static strings, FILE may be NULL.  What the
 * body holds stays.  A body that failed becomes an error.
 */
void pprof_answer_ok(struct pprof_answer *a, const char *type,
    const char *file);

#define PPROF_TYPE_BYTES  "application/octet-stream"
#define PPROF_TYPE_TEXT   "text/plain; charset=utf-8"

#endif
