/*
 * The mark that nginx puts into each request for a peer: which route it came
 * by, and a number of its own.
 *
 * GUEST ROOM.  Pure: looks at the bytes that it is given, and calls nothing.
 *
 * It is looked for at one place only, the first that nothing of the client's
 * can come before: an HTTP request's first header line, the PARAMS record
 * behind a FastCGI request's beginning, the first pair of uwsgi's, and SCGI's
 * second, which has to begin with another.  Its value is "name;8hex"; an empty
 * name is a request that no route is known of.
 *
 * Format: docs/directives.md, debug_route.
 */

#ifndef PPROF_GUEST_MARK_H
#define PPROF_GUEST_MARK_H

#include <stddef.h>
#include <stdint.h>


enum {
    PPROF_MARK_NAME = 48,               /* bytes of a route's name */
    PPROF_MARK_HEAD = 128               /* bytes that hold any mark, and what
                                           is before it but HTTP's first line */
};

enum pprof_mark_found {
    PPROF_MARK_NOTHING,                 /* no request begins here */
    PPROF_MARK_MORE,                    /* one may: too few bytes to tell */
    PPROF_MARK_BARE,                    /* one does, without a mark */
    PPROF_MARK_SEEN
};

struct pprof_mark {
    uint32_t  id;
    uint32_t  len;                      /* of NAME; 0: no route */
    char      name[PPROF_MARK_NAME];
};


/*
 * Looks at the N bytes at P, with which a request may begin.  MARK is filled
 * when it was SEEN.
 *
 * Context: async-signal-safe.
 */
enum pprof_mark_found pprof_mark_look(const uint8_t *p, size_t n,
    struct pprof_mark *mark);

/*
 * Where pprof_mark_look() wants more: writes to HEAD, PPROF_MARK_HEAD bytes,
 * what it has to see before those that follow; of an HTTP request's first
 * line that is only its kind.  Returns how many.
 *
 * Context: async-signal-safe.
 */
size_t pprof_mark_keep(const uint8_t *p, size_t n, uint8_t *head);

#endif
