#include "kinds/regions.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest/sites.h"


enum {
    ENTRIES = 4096,                     /* of pagemap, read at once */
    MAPS_FIRST = 1 << 16,               /* bytes */
    ARENA_BITS = 26,                    /* libc's HEAP_MAX_SIZE, 64 MiB */
    DESCRIPTOR_MAX = 8192               /* libc's struct pthread, at most */
};

#define PAGES_MAX  (UINT64_C(1) << 25)  /* looked at for one answer: 128 GiB */
#define PRESENT    (UINT64_C(1) << 63)  /* pagemap's bit */

/* Anonymous memory that may be used. */
struct area {
    uintptr_t                start;
    uintptr_t                end;
    enum pprof_region_class  class;
};

struct look {
    struct area              *areas;    /* by address */
    size_t                    nareas;
    size_t                    at;       /* the first that is not yet past */
    struct pprof_region_sum  *sites;
    size_t                    nsites;
    struct pprof_region_sum  *classes;
    int                       pagemap;  /* -1 */
    size_t                    page;     /* bytes */
    uint64_t                  pages;    /* looked at */

    /* what some stand for beyond themselves: that is there as well, and
       nobody was seen to ask for it */
    struct pprof_region_sum   beyond;
};


/* All of /proc/PID/maps, with a zero behind; the caller frees it. */
static char *
read_maps(struct pprof_target *target)
{
    const int fd = pprof_target_openat(target, "maps", O_RDONLY);
    size_t    size = MAPS_FIRST, len = 0;
    char     *text = fd == -1 ? NULL : malloc(size);
    ssize_t   n = text == NULL ? -1 : 1;

    while (n > 0) {
        if (len + 4096 > size) {
            char *const more = realloc(text, size * 2);

            if (more == NULL) {
                n = -1;
                break;
            }

            text = more;
            size *= 2;
        }

        n = read(fd, text + len, size - len - 1);
        len += n > 0 ? (size_t) n : 0;
    }

    const int error = errno;

    if (fd != -1) {
        close(fd);
    }

    if (n < 0) {
        free(text);
        errno = error;
        return NULL;
    }

    text[len] = '\0';

    return text;
}


/*
 * What memory with that NAME in maps is.  DATA: it follows a file's own, as
 * what a program's variables need beyond its file.  Returns false when it is
 * not anonymous.
 */
static bool
classify(const char *name, bool data, uintptr_t start, bool arenas,
    enum pprof_region_class *class)
{
    if (strcmp(name, "[heap]") == 0) {
        *class = PPROF_REGION_HEAP;

    } else if (strncmp(name, "[stack", 6) == 0) {
        *class = PPROF_REGION_STACK;

    } else if (*name == '\0' || strncmp(name, "[anon", 5) == 0
               || strcmp(name, "/dev/zero (deleted)") == 0)
    {
        *class = data ? PPROF_REGION_DATA
                 : arenas && start % (UINT64_C(1) << ARENA_BITS) == 0
                 ? PPROF_REGION_ARENA : PPROF_REGION_OTHER;

    } else {
        return false;
    }

    return true;
}


/* Returns 0, or -1 with errno. */
static int
find_areas(struct look *look, char *text, bool arenas)
{
    uintptr_t data_end = 0;
    size_t    cap = 0;

    for (char *line = text, *next; *line != '\0'; line = next) {
        unsigned long long start, end, inode;
        char               perms[5];
        int                at = 0;

        next = strchr(line, '\n');
        next = next == NULL ? line + strlen(line) : next + 1;

        if (next > line && next[-1] == '\n') {
            next[-1] = '\0';
        }

        if (sscanf(line, "%llx-%llx %4s %*x %*s %llu %n", &start, &end, perms,
                   &inode, &at) < 4 || at == 0 || end < start)
        {
            continue;
        }

        enum pprof_region_class class;
        const char *const name = line + at;
        const bool data = start == data_end && data_end != 0;

        if (!classify(name, data, start, arenas, &class)) {
            data_end = *name == '/' ? end : 0;
            continue;
        }

        /* reserved only: nobody can use it */
        if (perms[0] != 'r' && perms[1] != 'w') {
            continue;
        }

        if (look->nareas == cap) {
            struct area *const more = realloc(look->areas,
                                              (cap * 2 + 64) * sizeof(*more));

            if (more == NULL) {
                return -1;
            }

            look->areas = more;
            cap = cap * 2 + 64;
        }

        look->areas[look->nareas++] = (struct area) {
            .start = start, .end = end, .class = class
        };
    }

    return 0;
}


/* Bytes from START to END that are in memory. */
static uint64_t
count_resident(struct look *look, uintptr_t start, uintptr_t end)
{
    uint64_t entries[ENTRIES];
    uint64_t count = 0;
    uint64_t at = start / look->page, left = (end - start) / look->page;

    while (look->pagemap != -1 && left > 0) {
        const size_t want = left < ENTRIES ? (size_t) left : ENTRIES;
        const ssize_t n = look->pages + want > PAGES_MAX
                          ? -1 : pread(look->pagemap, entries,
                                       want * sizeof(entries[0]),
                                       (off_t) (at * sizeof(entries[0])));

        if (n <= 0) {
            close(look->pagemap);
            look->pagemap = -1;
            break;
        }

        const size_t got = (size_t) n / sizeof(entries[0]);

        for (size_t i = 0; i < got; i++) {
            count += (entries[i] & PRESENT) != 0;
        }

        look->pages += got;
        at += got;
        left -= got < left ? got : left;
    }

    return count * look->page;
}


/* From START to END it is REGION's; NULL: nobody's. */
static void
add_part(struct look *look, uintptr_t start, uintptr_t end,
    const struct pprof_region *region, bool *used)
{
    for (size_t i = look->at; i < look->nareas; i++) {
        const struct area *const area = &look->areas[i];
        const uintptr_t low = area->start > start ? area->start : start;
        const uintptr_t high = area->end < end ? area->end : end;

        if (area->start >= end) {
            break;
        }

        if (area->end <= start) {
            look->at = i + 1;
            continue;
        }

        struct pprof_region_sum *const sum
            = region == NULL ? &look->classes[area->class]
              : region->site != 0 && region->site < look->nsites
              ? &look->sites[region->site] : NULL;

        if (sum == NULL) {
            continue;
        }

        const double weight = region == NULL
                              ? 1 : (double) region->weight / PPROF_SITE_ONE;

        const double space = (double) (high - low);
        const double resident = (double) count_resident(look, low, high);

        sum->space += weight * space;
        sum->resident += weight * resident;
        look->beyond.space += (weight - 1) * space;
        look->beyond.resident += (weight - 1) * resident;

        if (region == NULL) {
            sum->objects++;

        } else if (!*used) {
            *used = true;
            sum->objects += weight;
            look->beyond.objects += weight - 1;
        }
    }
}


static int
compare_starts(const void *a, const void *b)
{
    const struct pprof_region *const x = a, *const y = b;

    return (x->start > y->start) - (x->start < y->start);
}


/* A stack goes from where its area begins to libc's own data above it. */
static void
find_stack(const struct look *look, struct pprof_region *region)
{
    size_t low = 0, high = look->nareas;

    while (low < high) {
        const size_t middle = (low + high) / 2;

        if (look->areas[middle].end <= region->start) {
            low = middle + 1;

        } else {
            high = middle;
        }
    }

    if (low == look->nareas || look->areas[low].start > region->start) {
        /* it is no more */
        region->size = 0;
        return;
    }

    uintptr_t end = (region->start + DESCRIPTOR_MAX) & ~(look->page - 1);

    if (end > look->areas[low].end) {
        end = look->areas[low].end;
    }

    region->start = look->areas[low].start;
    region->size = end - region->start;
}


static uintptr_t
end_of(const struct pprof_region *region)
{
    return region->size > UINTPTR_MAX - region->start
           ? UINTPTR_MAX : region->start + region->size;
}


/* A heap of numbers of regions, the youngest first. */
struct queue {
    const struct pprof_region  *regions;
    uint32_t                   *at;
    size_t                      n;
};


static bool
is_younger(const struct queue *q, size_t i, size_t j)
{
    return q->regions[q->at[i]].age > q->regions[q->at[j]].age;
}


static void
swap(struct queue *q, size_t i, size_t j)
{
    const uint32_t kept = q->at[i];

    q->at[i] = q->at[j];
    q->at[j] = kept;
}


static void
push(struct queue *q, uint32_t region)
{
    size_t i = q->n++;

    q->at[i] = region;

    while (i > 0 && is_younger(q, i, (i - 1) / 2)) {
        swap(q, i, (i - 1) / 2);
        i = (i - 1) / 2;
    }
}


static void
pop(struct queue *q)
{
    size_t i = 0;

    q->at[0] = q->at[--q->n];

    for ( ;; ) {
        size_t first = i;

        for (size_t child = 2 * i + 1; child <= 2 * i + 2; child++) {
            if (child < q->n && is_younger(q, child, first)) {
                first = child;
            }
        }

        if (first == i) {
            return;
        }

        swap(q, i, first);
        i = first;
    }
}


static void
subtract(struct pprof_region_sum *sum, const struct pprof_region_sum *less)
{
    sum->objects -= sum->objects < less->objects ? sum->objects
                                                 : less->objects;
    sum->space -= sum->space < less->space ? sum->space : less->space;
    sum->resident -= sum->resident < less->resident ? sum->resident
                                                    : less->resident;
}


/* Goes through all memory, from low to high: the youngest has each part. */
static void
lay(struct look *look, const struct pprof_region *regions, size_t n,
    struct queue *queue, bool *used)
{
    uintptr_t at = 0;
    size_t    next = 0;

    while (next < n || queue->n > 0) {
        if (queue->n > 0 && end_of(&regions[queue->at[0]]) <= at) {
            pop(queue);
            continue;
        }

        if (next < n && regions[next].start <= at) {
            push(queue, (uint32_t) next++);
            continue;
        }

        const uint32_t has = queue->n > 0 ? queue->at[0] : UINT32_MAX;
        uintptr_t      end = has != UINT32_MAX ? end_of(&regions[has])
                                               : UINTPTR_MAX;

        if (next < n && regions[next].start < end) {
            end = regions[next].start;
        }

        if (has == UINT32_MAX) {
            add_part(look, at, end, NULL, NULL);

        } else {
            add_part(look, at, end, &regions[has], &used[has]);
        }

        at = end;
    }

    add_part(look, at, UINTPTR_MAX, NULL, NULL);

    subtract(&look->classes[PPROF_REGION_OTHER], &look->beyond);
}


int
pprof_regions_add(struct pprof_target *target, struct pprof_region *regions,
    size_t n, struct pprof_region_sum *sites, size_t nsites,
    struct pprof_region_sum *classes, bool arenas, bool *counted)
{
    struct look look = {
        .sites = sites, .nsites = nsites, .classes = classes,
        .pagemap = -1, .page = (size_t) sysconf(_SC_PAGESIZE)
    };
    struct queue queue = { .regions = regions };
    char *const text = read_maps(target);
    bool *used = NULL;
    int rc = -1;

    if (text != NULL) {
        queue.at = calloc(n + 1, sizeof(*queue.at));
        used = calloc(n + 1, sizeof(*used));

        if (queue.at != NULL && used != NULL) {
            rc = find_areas(&look, text, arenas);
        }
    }

    if (rc == 0) {
        look.pagemap = pprof_target_openat(target, "pagemap", O_RDONLY);

        for (size_t i = 0; i < n; i++) {
            if (regions[i].size == 0) {
                find_stack(&look, &regions[i]);
            }
        }

        qsort(regions, n, sizeof(*regions), compare_starts);
        lay(&look, regions, n, &queue, used);
    }

    *counted = look.pagemap != -1;

    const int error = errno;

    if (look.pagemap != -1) {
        close(look.pagemap);
    }

    free(look.areas);
    free(queue.at);
    free(used);
    free(text);
    errno = error;

    return rc;
}
