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
pprof_process_init(struct pprof_process *p)
{
    memset(p, 0, sizeof(struct pprof_process));
    p->property = pprof_tcmalloc_property();
    p->page = (size_t) sysconf(_SC_PAGESIZE);
}


int
pprof_process_parse(const char *text, uint64_t *threads, uint64_t *pages)
{
    enum { STATE = 3, THREADS = 20, RSS = 24 };
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

        if (field == THREADS || field == RSS) {
            char *end;

            if (*p < '0' || *p > '9') {
                return -1;
            }

            *(field == RSS ? pages : threads) = strtoull(p, &end, 10);
            p = end;

        } else {
            p += strcspn(p, " ");
        }
    }

    /* else the text may be cut within the number */
    return *p == ' ' ? 0 : -1;
}


static void
read_stat(struct pprof_process *p, struct pprof_reading *r)
{
    char text[1024];
    uint64_t threads, pages;
    ssize_t n = -1;

    r->threads = r->rss = PPROF_UNKNOWN;

    const int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);

    if (fd != -1) {
        n = read(fd, text, sizeof(text) - 1);
        close(fd);
    }

    if (n <= 0) {
        return;
    }

    text[n] = '\0';

    if (pprof_process_parse(text, &threads, &pages) == 0) {
        r->threads = threads;
        r->rss = pages * p->page;
    }
}


/* The directory, without opendir(): that would allocate. */
static uint64_t
count_fds(void)
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

    const int fd = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

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

    /* less the one that was open to look */
    return n == -1 || count == 0 ? PPROF_UNKNOWN : count - 1;
}


static uint64_t
count_kind(const char *name)
{
    const struct pprof_kind *kind = pprof_kind_find(name, strlen(name));
    size_t n;

    return kind == NULL || kind->count == NULL || kind->count(kind, &n) == -1
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


static uint64_t
property(const struct pprof_process *p, const char *name)
{
    size_t value;

    return p->property != NULL && p->property(name, &value)
           ? value : PPROF_UNKNOWN;
}


static void
read_heap(struct pprof_process *p, struct pprof_reading *r)
{
    const uint64_t size = property(p, "generic.heap_size");

    r->heap_in_use = property(p, "generic.current_allocated_bytes");
    r->unmapped = property(p, "tcmalloc.pageheap_unmapped_bytes");
    r->scavenges = property(p, "tcmalloc.pageheap_scavenge_count");

    /* two readings, between which pages may have been given back */
    r->heap_held = size == PPROF_UNKNOWN || r->unmapped == PPROF_UNKNOWN
                   ? size : size > r->unmapped ? size - r->unmapped : 0;
}


void
pprof_process_read(struct pprof_process *p, struct pprof_reading *r)
{
    struct rusage usage;
    uint64_t began;

    getrusage(RUSAGE_SELF, &usage);
    r->mono_nanos = pprof_clock(CLOCK_MONOTONIC);
    r->user_nanos = nanos_of(&usage.ru_utime);
    r->sys_nanos = nanos_of(&usage.ru_stime);

    read_stat(p, r);
    read_heap(p, r);

    began = is_due(&p->fds);

    if (began != 0) {
        keep(&p->fds, began, count_fds());
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
            keep(&p->counts[i], began, count_kind(count_names[i]));
        }

        r->counts[i] = p->counts[i].value;
    }
}
