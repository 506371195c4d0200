/*
 * One process that is looked at: the program's own page, its memory, its
 * /proc.  The same calls serve the agent, which looks at another process, and
 * libpprof.a or pprof_handle(), which look at the one they are in.
 *
 * Nothing of a target is trusted.  What comes from the page is copied and
 * checked; a hostile program can have its own profile wrong, and no more.
 *
 * Owner: whoever opened it; pprof_target_close().  The one of this process,
 * pprof_target_self(), is nobody's.  Context: thread-safe, but for open and
 * close.
 */

#ifndef PPROF_AGENT_TARGET_H
#define PPROF_AGENT_TARGET_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "guest/page.h"
#include "symbols/source.h"


struct pprof_kinds;                     /* kinds/state.h */
struct pprof_code;                      /* symbols/code.h */

struct pprof_target {
    struct pprof_source  source;        /* for the symbols room */
    pid_t                pid;
    bool                 self;          /* it is the process we are in */

    /* private */
    struct pprof_page   *page;          /* NULL: nobody has a thread there */
    int                  page_fd;       /* -1 */
    int                  mem_fd;        /* /proc/PID/mem, -1 */
    int                  proc_fd;       /* /proc/PID, -1 */
    pthread_mutex_t      lock;          /* of the page: one command at once */
    uint32_t             seccomp;       /* as /proc had it at the start */
    uint32_t             unlike;        /* pprof_target_guard(): the thread
                                           whose rights were others', or 0 */
    struct pprof_kinds  *kinds;
    struct pprof_code   *code;
};

/* What a command says.  Owner: whoever declared it; _free() when done. */
struct pprof_reply {
    uint64_t  results[PPROF_RESULTS];
    char     *rows;                     /* a copy, checked */
    size_t    rows_size;
    size_t    mapped;                   /* ROWS is a mapping; bytes */
};


/*
 * Makes a page: a sealed memfd, close-on-exec.  For pprof-run and for
 * pprof_start().
 *
 * Returns its descriptor, or -1 with errno.
 */
int pprof_page_create(void);


/*
 * Opens process PID, whose page is PAGE_FD (a copy of it is kept; -1: the
 * process has none, and /proc alone is looked at).  Opens what can be opened
 * of /proc at once: later the process may have given up rights.
 *
 * Returns NULL with errno: ENOMEM, EMFILE, EPROTO when the page is none of
 * this version, ESRCH when there is no such process.
 */
struct pprof_target *pprof_target_open(pid_t pid, int page_fd);

/* The process we are in. */
struct pprof_target *pprof_target_self(void);

void pprof_target_close(struct pprof_target *t);

/* For the symbols room: NULL for the process we are in. */
static inline const struct pprof_source *
pprof_target_source(const struct pprof_target *t)
{
    return t->self ? NULL : &t->source;
}


/*
 * Is there still the program that attached to the page?  False after exit,
 * death, and after it executed another program.  Asks the kernel only.
 */
bool pprof_target_alive(const struct pprof_target *t);


/*
 * Ends the thread in there for good where the program has given up rights
 * that it still has: who can write into the process would have them.  To be
 * called once a second; what is seen twice is believed, since it may be about
 * to stand aside.
 */
void pprof_target_guard(struct pprof_target *t);


/*
 * Reads LEN bytes at ADDR of the process's memory into BUF, as far as there
 * are.  Returns how many.
 */
size_t pprof_target_read(const struct pprof_target *t, uintptr_t addr,
    void *buf, size_t len);


/*
 * Opens /proc/PID/NAME ("maps", "task/71/stat", "fd").  Returns a descriptor,
 * or -1 with errno.
 */
int pprof_target_openat(const struct pprof_target *t, const char *name,
    int flags);

/*
 * Reads /proc/PID/NAME, at most SIZE - 1 bytes, and a zero behind.  Returns
 * how many bytes, or -1 with errno.
 */
ssize_t pprof_target_slurp(const struct pprof_target *t, const char *name,
    char *buf, size_t size);


/*
 * Has the program do OP with ARGS, PPROF_ARGS of them, NULL: zeroes.  Waits
 * for at most a second (PPROF_OP_ASK…: as long).  REPLY may be NULL.
 *
 * Returns 0, or -1 with errno:
 *     ESRCH      the program has ended
 *     EPERM      it sealed itself in, or gave up rights behind our back
 *     ETIMEDOUT  it is stopped, or its thread does not answer
 *     EPROTO     what it answered is nonsense
 *     other      as the command says
 */
int pprof_target_call(struct pprof_target *t, enum pprof_op op,
    const uint64_t *args, struct pprof_reply *reply);

void pprof_reply_free(struct pprof_reply *reply);

/*
 * The row after ROW, the first after NULL; NULL behind the last.  It belongs
 * to REPLY; its depth, name and reason are within bounds.
 */
const struct pprof_row *pprof_reply_next(const struct pprof_reply *reply,
    const struct pprof_row *row);

/*
 * Copies SIZE bytes of rows and checks them.  Returns 0, or -1 with errno:
 * EPROTO, ENOMEM.  For pprof_target_call() and the fuzz driver.
 */
int pprof_reply_take(struct pprof_reply *reply, const void *rows,
    size_t size);

#endif
