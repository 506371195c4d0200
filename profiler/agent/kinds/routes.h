/*
 * The routes that a program's requests came by: what the guest tells of them.
 *
 * Context: serving thread.
 */

#ifndef PPROF_KINDS_ROUTES_H
#define PPROF_KINDS_ROUTES_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/target.h"
#include "encode/buf.h"
#include "encode/profile.h"
#include "guest/routes.h"


/* A copy, checked.  Owner: whoever declared it. */
struct pprof_route_list {
    bool      seen;                     /* the program's reads are */
    uint64_t  nsec;                     /* since they are */

    struct {
        char      name[PPROF_MARK_NAME + 1];    /* "": there is none */
        uint64_t  requests;
    } routes[PPROF_ROUTES];             /* by number */
};

/* What was told when a profile began, and when it ended. */
struct pprof_route_span {
    struct pprof_route_list  before;
    struct pprof_route_list  now;
};

/*
 * Has T's guest look at what is read and written, or no longer, for USER.
 * Returns 0, or -1 with errno as pprof_target_call().
 */
int pprof_routes_want(struct pprof_target *t, enum pprof_routes_user user,
    bool want);

/* Appends S to OUT as a string of JSON's; it has no control characters. */
void pprof_routes_json(const char *s, struct pprof_buf *out);

/* Returns 0, or -1 with errno as pprof_target_call(). */
int pprof_routes_list(struct pprof_target *t, struct pprof_route_list *list);

/* The name of route NUMBER; "-" for what is none, or nobody's. */
const char *pprof_routes_name(const struct pprof_route_list *list,
    uint64_t number);

/*
 * Appends a table to OUT: what each route had of P's time, the last of its
 * values in ns, and what that is for each of the requests that were read in
 * SPAN.
 *
 * Returns 0, or -1 with errno ENOMEM.
 */
int pprof_routes_table(const struct pprof_profile *p,
    const struct pprof_route_span *span, bool json, struct pprof_buf *out);

#endif
