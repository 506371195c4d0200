/*
 * The page: what a program and its agent share.
 *
 * One memfd a process, sealed, of PPROF_PAGE_SIZE bytes, of which only what is
 * used exists.  The program has its head mapped and nothing else while it
 * rests; no descriptor of it.  It maps an area when a command needs it
 * (pprof_page_area()), and takes that mapping away again.
 *
 * The agent commands, the guest's resting thread obeys, one command at a time:
 * the agent writes OP and ARGS, then ASKED, and wakes the bell; the thread
 * executes, writes ERROR, RESULTS and rows, then DONE, and wakes that.  The
 * guest never waits for the agent, the agent never without a limit.
 *
 * Nobody trusts: offsets and sizes of the areas are constants, what the agent
 * reads is copied once and checked in its own memory (agent/target.c), and a
 * command is refused by the guest unless its numbers are within bounds.
 *
 * A change of anything in here is another PPROF_PAGE_VERSION.
 */

#ifndef PPROF_GUEST_PAGE_H
#define PPROF_GUEST_PAGE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>


#define PPROF_PAGE_MAGIC    UINT64_C(0x316567617066707f)    /* "\x7fpfpage1" */
#define PPROF_PAGE_VERSION  4

/* Handed from pprof-run to the program: "descriptor:inode". */
#define PPROF_PAGE_ENV      "PPROF_PAGE"


/* The areas, one after the other; bytes. */
enum pprof_area {
    PPROF_AREA_HEAD,                    /* struct pprof_page */
    PPROF_AREA_OUT,                     /* rows, of one command's answer */
    PPROF_AREA_CODE,                    /* tables of code, by the agent */
    PPROF_AREAS
};

#define PPROF_HEAD_SIZE  ((size_t) 4096)
#define PPROF_OUT_SIZE   ((size_t) 64 << 20)
#define PPROF_CODE_SIZE  ((size_t) 128 << 20)

#define PPROF_OUT_AT     PPROF_HEAD_SIZE
#define PPROF_CODE_AT    (PPROF_OUT_AT + PPROF_OUT_SIZE)
#define PPROF_PAGE_SIZE  (PPROF_CODE_AT + PPROF_CODE_SIZE)


/* What the resting thread is told.  ARGS and RESULTS in parentheses. */
enum pprof_op {
    PPROF_OP_NONE,
    PPROF_OP_SAMPLE,                    /* (hz, wall, owner): start the sampler;
                                           one of the same owner, not 0, is
                                           dropped: it gave up waiting;
                                           EINPROGRESS: the program profiles
                                           itself */
    PPROF_OP_SAMPLE_END,                /* (drop) → rows, tag: route, or 0;
                                           (period, duration, cpu, samples,
                                           lost, threads, signo, taken) */
    PPROF_OP_EVENTS,                    /* (event, rate); 0: no more */
    PPROF_OP_EVENTS_READ,               /* (event, count only) → rows; (lost
                                           count, lost value, hooked, rows) */
    PPROF_OP_EVENTS_CLEAR,
    PPROF_OP_ASK,                       /* begin to ask threads for stacks
                                           → (signal) */
    PPROF_OP_ASK_THREAD,                /* (index, tid) */
    PPROF_OP_ASK_READ,                  /* → rows, tag: index; (how many) */
    PPROF_OP_ASK_END,
    PPROF_OP_CODE,                      /* (offset in the area, enum
                                           pprof_code_use) → (address of the
                                           area; is the old unused) */
    PPROF_OP_HEAP,                      /* (period); 0: no more; ENOSYS: our
                                           malloc is not the program's, ENOSPC:
                                           too many periods */
    PPROF_OP_HEAP_READ,                 /* → rows with MORE; (period, is ours
                                           in front, since, an address in the
                                           malloc behind it, missed, skipped,
                                           unplaced) */
    PPROF_OP_GROWTH_READ,               /* → rows: stacks, tag: number, count
                                           and value ever; mappings without
                                           a stack, tag: of which, count:
                                           where, value: bytes, more: weight
                                           and age; tag 0: ours.  (is anything
                                           kept, lost, an address in the
                                           malloc behind ours, the heap's
                                           period, enum pprof_allocator) */
    PPROF_OP_RELEASE,                   /* the next thread in malloc() is to
                                           give memory back; ENOSYS, EBUSY */
    PPROF_OP_RELEASE_READ,              /* (enum pprof_release, enum
                                           pprof_allocator, ns it took, how
                                           many came by who could not) */
    PPROF_OP_RELEASE_END,               /* nobody is to any more */
    PPROF_OP_LOOK,                      /* the next thread in malloc() is to
                                           ask the allocator for its numbers;
                                           ENOSYS, EAGAIN */
    PPROF_OP_ALLOCS,                    /* (period); 0: no more */
    PPROF_OP_ALLOCS_READ,               /* → rows; (lost count, lost value,
                                           an address within tcmalloc) */
    PPROF_OP_ALLOCS_CLEAR,
    PPROF_OP_TCMALLOC,                  /* (sort, count only) → rows; (period,
                                           since, rows, an address) */
    PPROF_OP_TCMALLOC_SAMPLE,           /* (period) */
    PPROF_OP_TCMALLOC_RELEASE,
    PPROF_OP_TCMALLOC_PROPERTIES,       /* → rows, tag: number, value */
    PPROF_OP_ROUTES,                    /* (want, enum pprof_routes_user): 1:
                                           look at what is read and written,
                                           and profiles that begin tell routes;
                                           0: that one wants it no more */
    PPROF_OP_ROUTES_READ,               /* → rows, tag: route, count: requests
                                           of it that were read, frames: its
                                           name, eight bytes each; (are reads
                                           seen, ns since they are) */
    PPROF_OP_REQUESTS_READ,             /* → rows, more[0]: 0 or 1.  0: a
                                           request; tag: its number, tid: who
                                           read it, count: ns ago, value: ns
                                           since something was written, or 0,
                                           more[1]: descriptor << 32 | route.
                                           1: a thread at work; count: for ns,
                                           tag and value: the request that it
                                           is at, its number and descriptor
                                           + 1, or 0 */
    PPROF_OP_END,                       /* the resting thread is to end */
    PPROF_OPS
};

enum {
    PPROF_ARGS = 4,
    PPROF_RESULTS = 8,
    PPROF_CHILDREN = 64                 /* announcements that are kept */
};

enum pprof_code_use {
    PPROF_CODE_MAP,                     /* say where the area is mapped */
    PPROF_CODE_USE,                     /* the tables at the offset */
    PPROF_CODE_DROP                     /* none any more */
};

/* One row of an answer, in the area OUT.  The next follows at SIZE bytes. */
struct pprof_row {
    uint32_t  size;                     /* bytes, with the frames */
    uint32_t  depth;                    /* frames, at most PPROF_STACK_MAX */
    uint64_t  tag;
    uint64_t  count;
    uint64_t  value;
    uint64_t  more[2];                  /* HEAP_READ: of COUNT objects and
                                           VALUE bytes, those in use */
    uint32_t  tid;
    char      name[16];                 /* the thread's; ends with a zero */
    char      lost[36];                 /* why there is no stack; "": there
                                           is one */
    uint64_t  pcs[];                    /* the leaf first */
};

/* In place of a child's number: the agent has looked at it. */
#define PPROF_CHILD_SEEN  UINT32_MAX

/* A child of fork() has said where its own page is. */
struct pprof_child_page {
    _Atomic uint32_t  pid;              /* 0: not yet written, or taken back
                                           to be written anew */
    uint32_t          tid;              /* the thread that has it open as */
    uint32_t          fd;               /* /proc/PID/task/TID/fd/FD */
    uint32_t          unused;
};

/* The robust list's node has to lie beside its word. */
struct pprof_life {
    uint64_t          next;             /* the kernel's; an address in the
                                           program, never followed here */
    _Atomic uint32_t  word;             /* a futex: the resting thread's id;
                                           FUTEX_OWNER_DIED: no program is
                                           behind this page any more */
    uint32_t          unused;
};

enum pprof_rest {
    PPROF_REST_NONE,                    /* no thread yet */
    PPROF_REST_READY,                   /* it rests, or executes */
    PPROF_REST_ASIDE,                   /* ended for a moment, will be back */
    PPROF_REST_GONE                     /* ended for good: see WHY */
};

enum pprof_why {
    PPROF_WHY_NONE,
    PPROF_WHY_TOLD,                     /* PPROF_OP_END, pprof_stop() */
    PPROF_WHY_SEALED,                   /* the program sealed itself in */
    PPROF_WHY_REFUSED                   /* the kernel gave no thread */
};

/* Whether somebody looks after a page: each side changes NOT, once. */
enum pprof_taken {
    PPROF_TAKEN_NOT,
    PPROF_TAKEN_YES,                    /* the agent has mapped it */
    PPROF_TAKEN_LEFT                    /* the guest has made another */
};

struct pprof_page {
    uint64_t          magic;
    uint32_t          version;
    uint32_t          head_size;        /* sizeof(struct pprof_page) */
    uint64_t          size;             /* PPROF_PAGE_SIZE */

    /* by the guest */
    _Atomic uint32_t  pid;              /* a futex: 0 until somebody attached */
    _Atomic uint32_t  tid;              /* of the resting thread */
    _Atomic uint32_t  rest;             /* enum pprof_rest */
    _Atomic uint32_t  why;              /* enum pprof_why */
    _Atomic uint32_t  ordinary;         /* the thread is libc's: tcmalloc's
                                           own sample and such may be asked */
    _Atomic uint32_t  hooked;           /* bit n: enum pprof_event n is seen */
    _Atomic uint64_t  heap_sums;        /* address of struct pprof_heap_sums */
    _Atomic uint32_t  taken;            /* enum pprof_taken; by both */
    uint32_t          unused;
    struct pprof_life life;

    /* by the agent, but for DONE and what belongs to it */
    _Atomic uint32_t  bell;             /* a futex: the resting thread's */
    _Atomic uint32_t  asked;            /* number of the last command */
    _Atomic uint32_t  op;
    _Atomic uint32_t  done;             /* a futex: number of the last that
                                           was executed */
    _Atomic uint64_t  args[PPROF_ARGS];
    _Atomic int32_t   error;            /* 0, or an errno */
    _Atomic uint32_t  out_size;         /* bytes of rows */
    _Atomic uint64_t  results[PPROF_RESULTS];

    /* for pprof_start(), which waits for it */
    _Atomic uint32_t  listening;        /* a futex: 1 listens, 2 cannot */
    _Atomic uint32_t  listen_error;     /* an errno */
    char              address[256];     /* that pprof_address() tells */

    /* of this program's children; a child writes, its parent's agent reads */
    _Atomic uint32_t  nchildren;        /* a futex: ever announced */
    struct pprof_child_page  children[PPROF_CHILDREN];
};

_Static_assert(sizeof(struct pprof_page) <= PPROF_HEAD_SIZE,
               "the head is one page");
_Static_assert(sizeof(struct pprof_row) == 104, "rows are packed by hand");

#endif
