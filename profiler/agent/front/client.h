/*
 * One connection: a request comes in, an answer goes out, and it ends.  It
 * waits for nothing and allocates nothing but a request's body, so that a
 * program without memory still gives an answer.
 *
 * HTTP/1.0 and 1.1, one request a connection: a fork() may copy it at any
 * moment.  No chunked requests, which nobody sends here.
 *
 * Context: the serving thread.
 * Format: RFC 9112.
 */

#ifndef PPROF_FRONT_CLIENT_H
#define PPROF_FRONT_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "kinds/kind.h"


enum {
    PPROF_CLIENT_HEAD_MAX = 16 << 10,   /* bytes */
    PPROF_CLIENT_BODY_MAX = 8 << 20     /* bytes; 400,000 addresses */
};

enum pprof_client_step {
    PPROF_CLIENT_MORE,      /* when it is readable, or writable, again */
    PPROF_CLIENT_DONE,      /* the request is there; the answer is sent */
    PPROF_CLIENT_REFUSED,   /* the request is none: an answer was given */
    PPROF_CLIENT_GONE       /* it left */
};


/* Owner: whoever declared it; pprof_client_free() when done. */
struct pprof_client {
    int          fd;        /* non-blocking; belongs to the caller */
    bool         port;      /* it came to one, where browsers may come, too */

    /* the request: valid until pprof_client_answer() */
    const char  *method;
    const char  *path;
    const char  *query;     /* "": none */
    char        *body;      /* NULL: none */
    size_t       body_len;

    /* private */
    size_t       body_have;
    size_t       head_len;
    size_t       sent;      /* of head and body of the answer together */
    char        *head;      /* first of the request, then of the answer */
};


/*
 * Begins with the connection FD.  HEAD, PPROF_CLIENT_HEAD_MAX bytes, belongs to
 * the caller as well.
 */
void pprof_client_init(struct pprof_client *c, int fd, char *head);

/* Gives the body back.  Does not close. */
void pprof_client_free(struct pprof_client *c);

/*
 * Reads what has come.  REFUSED answers in A: what was sent is no request, or
 * one too long.
 */
enum pprof_client_step pprof_client_read(struct pprof_client *c,
    struct pprof_answer *a);

/*
 * Makes JOB's answer the one that is sent.  JOB is to stay until then.
 */
void pprof_client_answer(struct pprof_client *c, const struct pprof_job *job);

/* Sends as much as goes. */
enum pprof_client_step pprof_client_write(struct pprof_client *c,
    const struct pprof_job *job);

/*
 * Says that nothing more will be sent; then, called again whenever it is
 * readable, throws away what comes, until the client closes: GONE.  Closed
 * with something unread, a connection takes the answer back.
 */
void pprof_client_end(struct pprof_client *c);
enum pprof_client_step pprof_client_drain(struct pprof_client *c);

#endif
