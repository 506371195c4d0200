/*
 * A profile while it is being gathered, and its encoding as gzipped
 * profile.proto.
 *
 * A kind makes one, says what its numbers mean, adds samples and either
 * encodes it with pprof_profile_finish() or hands it to another encoder,
 * which reads the fields below.
 *
 * Format: profile.proto,
 * https://github.com/google/pprof/tree/main/proto
 *
 * Owner: whoever declared the struct; pprof_profile_free() when done.
 * Context: the serving thread.  Nothing here is shared.
 *
 * Bound: none of its own; memory grows with the number of different stacks.
 */

#ifndef PPROF_ENCODE_PROFILE_H
#define PPROF_ENCODE_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "encode/buf.h"
#include "symbols/maps.h"
#include "symbols/names.h"


enum {
    PPROF_VALUES_MAX = 8    /* sample types of one profile */
};


/* What one column of numbers means: "cpu", "nanoseconds". */
struct pprof_value {
    const char  *type;
    const char  *unit;
};


/* A label of a sample: a string, or a number with an optional unit. */
struct pprof_label {
    const char  *key;
    const char  *str;       /* NULL: the label is NUM */
    int64_t      num;
    const char  *unit;      /* of NUM: "bytes"; NULL when it has none */
};


/* One stack with its numbers.  Encoders read these; only profile.c writes. */
struct pprof_sample {
    const uintptr_t           *pcs;         /* leaf first; a caller's address
                                               is its call's, not the return
                                               address: already lowered by 1 */
    size_t                     depth;
    bool                       leaf_exact;  /* pcs[0] was not lowered */
    const char                *lost;        /* the name that stands in for a
                                               stack; NULL when there is one */
    int64_t                   *values;      /* one for each value type */
    const struct pprof_label  *labels;
    size_t                     nlabels;
    uint64_t                   hash;        /* of all of the above but values */
};


struct pprof_profile {
    struct pprof_value     values[PPROF_VALUES_MAX];
    size_t                 nvalues;
    const char            *default_type;    /* NULL: the last one */

    struct pprof_value     period_type;     /* .type NULL: none was set */
    int64_t                period;          /* in period_type's unit */
    int64_t                time_nanos;      /* since the epoch; 0: unknown */
    int64_t                duration_nanos;  /* 0: a profile of an instant */

    const char           **comments;
    size_t                 ncomments;

    struct pprof_sample   *samples;         /* in the order they first came */
    size_t                 nsamples;

    bool                   failed;          /* memory ran out */
    bool                   misused;         /* the value types are not right */

    /* private to profile.c */
    size_t                 comments_cap;
    size_t                 samples_cap;
    uint32_t              *slots;           /* hash table: sample number + 1 */
    size_t                 nslots;          /* 0 or a power of two */
    struct pprof_chunk    *chunks;          /* where strings and stacks live */
};


/* Makes an empty profile.  Allocates nothing, so it cannot fail. */
void pprof_profile_init(struct pprof_profile *p);

/* Gives everything back and leaves an empty profile, ready for use again. */
void pprof_profile_free(struct pprof_profile *p);

/*
 * Adds a sample type: what the next number of every sample means.
 *
 * TYPE and UNIT are Go's words: "cpu", "nanoseconds".  All are to be added
 * before the first sample.
 *
 * Cannot fail here: lack of memory, and more than PPROF_VALUES_MAX types or
 * a type after a sample, are remembered and reported by
 * pprof_profile_finish().
 *
 * Owner: copies its strings.
 */
void pprof_profile_value(struct pprof_profile *p, const char *type,
    const char *unit);

/*
 * Says what was counted to decide when to take a sample, and how much of it
 * lies between two: "cpu", "nanoseconds", 10000000.
 *
 * Owner: copies its strings.  Fails as pprof_profile_value() does.
 */
void pprof_profile_period(struct pprof_profile *p, const char *type,
    const char *unit, int64_t value);

/*
 * Says when the profile began, in nanoseconds since the epoch, and how long
 * it took; 0 for a profile of an instant.
 */
void pprof_profile_time(struct pprof_profile *p, int64_t time_nanos,
    int64_t duration_nanos);

/*
 * Names the sample type that a client shows when it is not told: one of those
 * given to pprof_profile_value().  Without this call clients take the last.
 *
 * Owner: copies TYPE.  Fails as pprof_profile_value() does.
 */
void pprof_profile_default(struct pprof_profile *p, const char *type);

/*
 * Adds a line of text that clients print with the profile.
 *
 * Owner: copies TEXT.  Fails as pprof_profile_value() does.
 */
void pprof_profile_comment(struct pprof_profile *p, const char *text);

/*
 * Adds one sample; a stack with labels that were seen before is added to.
 *
 * PCS are DEPTH addresses, the leaf first, as an unwinder gives them: return
 * addresses.  LEAF_EXACT says that the first one is not: it is where a signal
 * found the thread, or where the thread waits.  Return addresses are lowered
 * by 1 here, since the call may have been the last instruction of its
 * function.  A stack ends early at an address of 0.
 *
 * VALUES has one number for each pprof_profile_value() made before, in that
 * order and unit, already multiplied by the sampling period.  They may be
 * negative, which is how one profile is taken from another; a sample whose
 * numbers are all 0 in the end is not encoded.
 *
 * LABELS are NLABELS labels, in any order that the caller keeps: the same
 * labels in another order are another sample.
 *
 * Cannot fail here: lack of memory is remembered and reported by
 * pprof_profile_finish().
 *
 * Owner: copies what it keeps.  Context: the serving thread.
 * Source: profile.proto, message Sample.
 */
void pprof_profile_sample(struct pprof_profile *p, const uintptr_t *pcs,
    size_t depth, bool leaf_exact, const int64_t *values,
    const struct pprof_label *labels, size_t nlabels);

/*
 * Adds a sample that has no stack, charged to a function that exists for its
 * name alone ("lost_samples"), so that a loss is drawn in the graph.
 *
 * VALUES as in pprof_profile_sample(); when all are 0 nothing is added.
 *
 * Owner: copies NAME.  Fails as pprof_profile_sample() does.
 * Source: Go's runtime/pprof does it so (lostProfileEvent).
 */
void pprof_profile_lost(struct pprof_profile *p, const int64_t *values,
    const char *name);

/* The same, with LABELS as in pprof_profile_sample(). */
void pprof_profile_lost_labeled(struct pprof_profile *p,
    const int64_t *values, const char *name, const struct pprof_label *labels,
    size_t nlabels);

/* The label that tells whose request it was; folded stacks and flame graphs
   begin with it where there is one. */
#define PPROF_ROUTE_LABEL  "route"

/* S's route, or NULL. */
const char *pprof_sample_route(const struct pprof_sample *s);

/*
 * Encodes the profile and appends it, gzipped, to OUT.
 *
 * MAPS says what is loaded where; NAMES names the addresses.  Every mapping
 * of MAPS is written, the main executable first, with has_functions set, and
 * every address gets a function, be it one named for what is known about it,
 * so that a client has nothing left to ask.  Where NAMES has lines, a
 * location has those of what was inlined there as well, and the comments end
 * with theirs.  Ids are numbered from 1 without
 * gaps, string 0 is the empty one: Parca refuses a profile otherwise, and
 * speedscope drops frames that have no function.
 *
 * Returns 0, or -1 and errno: ENOMEM when memory ran out, here or in any call
 * before; EINVAL when P has no value type, too many, or one that came after a
 * sample.  OUT then holds nothing that could be taken for a profile.
 *
 * P stays as it was: it may be encoded again or added to.
 */
int pprof_profile_finish(const struct pprof_profile *p,
    const struct pprof_maps *maps, struct pprof_names *names,
    struct pprof_buf *out);

#endif
