#include "charts/process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "kinds/kind.h"
#include "kinds/heap_sample.h"
#include "kinds/tcmalloc.h"


enum {
    COST_FACTOR = 10000     /* a costly number: 0.01 % of one CPU at most */
};


static const char *const count_names[PPROF_COUNTS] = {
    [PPROF_COUNT_BLOCK] = "block",
    [PPROF_COUNT_HEAP] = "heap",
    [PPROF_COUNT_MUTEX] = "mutex",
    [PPROF_COUNT_THREADCREATE] = "threadcreate",
};


static uint64_t
nanos_of(const struct timeval *tv)
{
    return (uint64_t) tv->tv_sec * 1000000000 + (uint64_t) tv->tv_usec * 1000;
}


void
pprof_process_init(struct pprof_process *p, struct pprof_target *target)
{
    memset(p, 0, sizeof(struct pprof_process));
    p->target = target;
    p->has_heap = target->self ? pprof_tcmalloc_is()
                  : target->page != NULL
                    && atomic_load(&target->page->ordinary);
    p->page = (size_t) sysconf(_SC_PAGESIZE);
}


int
pprof_process_parse(const char *text, uint64_t *threads, uint64_t *pages,
    uint64_t times[2])
{
    enum { STATE = 3, UTIME = 14, STIME = 15, THREADS = 20, RSS = 24 };
    const char *p = strrchr(text, ')');

    if (p == NULL) {
        return -1;
    }

    p++;

    for (int field = STATE; field <= RSS; field++) {
        if (*p != ' ') {
            return -1;
        }

        p++;

        if (field == THREADS || field == RSS || field == UTIME
            || field == STIME)
        {
            char *end;

            if (*p < '0' || *p > '9') {
                return -1;
            }

            *(field == RSS ? pages : field == THREADS ? threads
              : &times[field - UTIME]) = strtoull(p, &end, 10);
            p = end;

        } else {
            p += strcspn(p, " ");
        }
    }

    /* else the text may be cut within the number */
    return *p == ' ' ? 0 : -1;
}


/*
 * Another process's CPU time: the kernel keeps it exactly, and how it divides
 * by ticks; getrusage() would multiply the two just so.
 */
static void
divide(const struct pprof_process *p, const uint64_t times[2],
    struct pprof_reading *r)
{
    /* the kernel's clock id of a process */
    const clockid_t clock = (clockid_t) (~(unsigned) p->target->pid << 3 | 2);
    const uint64_t all = pprof_clock(clock);
    const uint64_t ticks = times[0] + times[1];

    r->sys_nanos = ticks == 0 ? 0 : (uint64_t) ((double) all
                                                * (double) times[1]
                                                / (double) ticks);
    r->user_nanos = all - r->sys_nanos;
}


static void
read_stat(struct pprof_process *p, struct pprof_reading *r)
{
    char text[1024];
    uint64_t threads, pages, times[2];

    r->threads = r->rss = PPROF_UNKNOWN;

    if (pprof_target_slurp(p->target, "stat", text, sizeof(text)) <= 0
        || pprof_process_parse(text, &threads, &pages, times) == -1)
    {
        return;
    }

    r->threads = threads;
    r->rss = pages * p->page;

    if (!p->target->self) {
        divide(p, times, r);

        /* the guest's own, which the program does not know */
        r->threads -= p->target->page != NULL && threads > 1;
    }
}


/* The directory, without opendir(): that would allocate. */
static uint64_t
count_fds(const struct pprof_target *t)
{
    struct entry {
        uint64_t        ino;
        int64_t         off;
        unsigned short  len;
        unsigned char   type;
        char            name[];
    };
    _Alignas(struct entry) char buf[8192];
    uint64_t count = 0;
    long n;

    const int fd = pprof_target_openat(t, "fd", O_RDONLY | O_DIRECTORY);

    if (fd == -1) {
        return PPROF_UNKNOWN;
    }

    while ((n = syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0) {
        for (long at = 0; at < n; ) {
            const struct entry *e = (const struct entry *) (buf + at);

            count += e->name[0] != '.';
            at += e->len;
        }
    }

    close(fd);

    if (n == -1) {
        return PPROF_UNKNOWN;
    }

    /* less the one that was open to look */
    return t->self && count > 0 ? count - 1 : count;
}


static uint64_t
count_kind(struct pprof_target *t, const char *name)
{
    const struct pprof_kind *kind = pprof_kind_find(name, strlen(name));
    size_t n;

    return kind == NULL || kind->count == NULL || kind->count(kind, t, &n) == -1
           ? PPROF_UNKNOWN : n;
}


/* Is it C's turn again?  Then the answer is when the reading began. */
static uint64_t
is_due(const struct pprof_costly *c)
{
    const uint64_t now = pprof_clock(CLOCK_MONOTONIC);

    return now >= c->next_nanos ? now : 0;
}


static void
keep(struct pprof_costly *c, uint64_t began, uint64_t value)
{
    const uint64_t now = pprof_clock(CLOCK_MONOTONIC);

    c->value = value;
    c->next_nanos = now + (now - began) * COST_FACTOR;
}


enum {
    /* By how much a sample may be wrong before its allocator is doubted. */
    OUTDATED_MIB = 4
};


/*
 * What the allocator says of itself; a number that it does not tell stays.
 * Where it does not tell what is in use, the sample does.
 */
static void
read_heap(struct pprof_process *p, struct pprof_reading *r)
{
    uint64_t size = PPROF_UNKNOWN;
    const struct {
        const char  *name;
        uint64_t    *value;
    } wanted[] = {
        { "generic.heap_size", &size },
        { "generic.current_allocated_bytes", &r->heap_in_use },
        { "tcmalloc.pageheap_unmapped_bytes", &r->unmapped },
        { "tcmalloc.pageheap_scavenge_count", &r->scavenges },
    };
    const struct pprof_row *row = NULL;
    struct pprof_reply reply;

    r->heap_in_use = r->heap_held = PPROF_UNKNOWN;
    r->unmapped = r->scavenges = PPROF_UNKNOWN;

    uint64_t samples, bytes;

    if (!p->has_heap) {
        const struct pprof_heap_numbers numbers
            = pprof_heap_sample_numbers(p->target);

        r->heap_in_use = numbers.in_use;
        r->heap_held = numbers.held;
        r->unmapped = numbers.returned;

        if (pprof_heap_sample_sums(p->target, &samples, &bytes) != 0) {
            return;
        }

        /* the allocator was asked before much of what lives was allocated */
        if (r->heap_in_use != PPROF_UNKNOWN
            && bytes / 2 > r->heap_in_use + (OUTDATED_MIB << 20))
        {
            r->heap_in_use = r->heap_held = PPROF_UNKNOWN;
        }

        if (r->heap_in_use == PPROF_UNKNOWN) {
            r->heap_in_use = bytes;
        }

        return;
    }

    if (pprof_target_call(p->target, PPROF_OP_TCMALLOC_PROPERTIES, NULL,
                          &reply)
        == -1)
    {
        return;
    }

    while ((row = pprof_reply_next(&reply, row)) != NULL) {
        const char *const name = pprof_tcmalloc_name(row->tag);

        for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
            if (name != NULL && strcmp(name, wanted[i].name) == 0) {
                *wanted[i].value = row->value;
            }
        }
    }

    pprof_reply_free(&reply);

    /* two readings, between which pages may have been given back */
    r->heap_held = size == PPROF_UNKNOWN || r->unmapped == PPROF_UNKNOWN
                   ? size : size > r->unmapped ? size - r->unmapped : 0;
}


void
pprof_process_read(struct pprof_process *p, struct pprof_reading *r)
{
    struct rusage usage = { 0 };
    uint64_t began;

    if (p->target->self) {
        getrusage(RUSAGE_SELF, &usage);
    }

    r->mono_nanos = pprof_clock(CLOCK_MONOTONIC);
    r->user_nanos = nanos_of(&usage.ru_utime);
    r->sys_nanos = nanos_of(&usage.ru_stime);

    read_stat(p, r);
    read_heap(p, r);

    began = is_due(&p->fds);

    if (began != 0) {
        keep(&p->fds, began, count_fds(p->target));
    }

    r->fds = p->fds.value;

    /* which is what that kind shows */
    r->counts[PPROF_COUNT_GOROUTINE] = r->threads;

    for (size_t i = 0; i < PPROF_COUNTS; i++) {
        if (i == PPROF_COUNT_GOROUTINE) {
            continue;
        }

        began = is_due(&p->counts[i]);

        if (began != 0) {
            keep(&p->counts[i], began, count_kind(p->target, count_names[i]));
        }

        r->counts[i] = p->counts[i].value;
    }
}
