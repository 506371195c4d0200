/*
 * Files and lines of addresses, and what was inlined there: from DWARF, read
 * by pprof-lines in a process of its own.
 *
 * One struct serves one answer: pprof_lines_add() every address, then
 * pprof_lines_find() once, then pprof_lines_at() as often as wanted.
 *
 * Owner: whoever declared the struct; pprof_lines_free() when done.
 * Context: the serving thread.
 *
 * Bound: ANSWER_MAX bytes of answer; see symbols/child.h for the process.
 */

#ifndef PPROF_SYMBOLS_LINES_H
#define PPROF_SYMBOLS_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "symbols/maps.h"


/* One function at an address: what was inlined there, or what it is in. */
struct pprof_frame {
    const char  *name;      /* mangled, if it is; NULL for the outermost,
                               which the symbol table names */
    const char  *file;      /* the same pointers for the same texts */
    int          line;      /* 0: unknown */
    int          start;     /* the function's own line; 0: unknown */
};


struct pprof_lines {
    char    comment[160];   /* what came of it, one sentence; "" before */

    /* private to lines.c */
    struct pprof_lines_entry  *entries;     /* a hash table, or by address */
    size_t                     nentries;
    size_t                     nslots;      /* 0: by address */
    struct pprof_frame        *frames;
    size_t                     nframes;
    size_t                     frames_cap;
    const char               **texts;
    size_t                     ntexts;
    size_t                     texts_cap;
    char                      *answer;      /* what the texts point into */
    bool                       failed;      /* memory ran out */
    bool                       packed;      /* some could not be unpacked */
};


/* How to ask. */
struct pprof_lines_ask {
    const char  *program;       /* path of pprof-lines; NULL: look for it near
                                   where this code was loaded from */
    const char  *debug_root;    /* "/usr/lib/debug" */
    unsigned     msec;          /* how long it may take */
    bool       (*gone)(void *arg);  /* asked ten times a second: nobody waits
                                       any more; or NULL */
    void        *arg;
};


/* Makes an empty one.  Allocates nothing, so it cannot fail. */
void pprof_lines_init(struct pprof_lines *l);

/* Gives everything back and leaves an empty one. */
void pprof_lines_free(struct pprof_lines *l);

/*
 * Adds an address to ask about, an instruction's; twice does no harm.  Lack
 * of memory is remembered and said in the comment.
 */
void pprof_lines_add(struct pprof_lines *l, uintptr_t addr);

/*
 * Asks pprof-lines about all of them, at most ASK->msec long.  MAPS is where
 * they lie.
 *
 * Cannot fail: L->comment says what came of it, be it that there is no
 * pprof-lines.  What it answered before it was ended is kept.
 */
void pprof_lines_find(struct pprof_lines *l, const struct pprof_maps *maps,
    const struct pprof_lines_ask *ask);

/*
 * To be called in the child of a fork(): what its parent asks is not its
 * business, and it must not hold the socket.
 *
 * Context: async-signal-safe.
 */
void pprof_lines_child(void);

/*
 * Reads LEN bytes of what pprof-lines wrote; TEXT is changed, and belongs to
 * L from then on.  An answer that breaks off is used as far as it goes, a
 * line that makes no sense ends it.
 *
 * Returns 1 when it is complete, or 0.
 */
int pprof_lines_parse(struct pprof_lines *l, char *text, size_t len);

/*
 * Returns the frames of ADDR, the innermost first, and how many in *N; NULL
 * when nothing is known.  They belong to L.
 */
const struct pprof_frame *pprof_lines_at(const struct pprof_lines *l,
    uintptr_t addr, size_t *n);

/* Is anything known of an address from START to before LIMIT? */
bool pprof_lines_any(const struct pprof_lines *l, uintptr_t start,
    uintptr_t limit);

#endif
