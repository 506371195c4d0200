/*
 * growth: the stacks by which the program asked the kernel for memory, and what
 * of that it still has: from the guest's record, or from tcmalloc's own, which
 * only adds up.
 */

#include "kinds/kind.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "encode/legacy.h"
#include "encode/profile.h"
#include "guest/allocator.h"
#include "guest/sites.h"
#include "kinds/regions.h"
#include "kinds/tcmalloc.h"
#include "kinds/write.h"


enum { OBJECTS, SPACE, RESIDENT };


static void
add_rows(struct pprof_profile *p, const struct pprof_maps *maps,
    const struct pprof_tcmalloc_read *read)
{
    const struct pprof_row *row = NULL;

    while ((row = pprof_reply_next(&read->reply, row)) != NULL) {
        const uintptr_t *const pcs = (const uintptr_t *) row->pcs;
        const size_t skip = pprof_tcmalloc_skip(maps, read->own, pcs,
                                                row->depth);
        const int64_t values[] = {
            (int64_t) row->count, (int64_t) row->value
        };

        pprof_profile_sample(p, pcs + skip, row->depth - skip, false, values,
                             NULL, 0);
    }
}


static int
write_text(const struct pprof_form *form, const struct pprof_job *job,
    const struct pprof_profile *p, const struct pprof_maps *maps,
    struct pprof_names *names, struct pprof_buf *out)
{
    (void) job;
    (void) names;

    return pprof_legacy_heap_write(p, 0, -1, form->file, maps, out);
}


static const struct pprof_form form = {
    .file = "growth",
    .text = write_text,
};


static void
begin_profile(struct pprof_profile *p)
{
    pprof_profile_init(p);
    pprof_profile_value(p, "objects", "count");
    pprof_profile_value(p, "space", "bytes");
}


static void
answer_tcmalloc(struct pprof_job *job, const struct pprof_tcmalloc_read *read)
{
    struct pprof_profile p;
    struct pprof_maps maps;

    if (pprof_job_maps(job, &maps) == -1) {
        return;
    }

    begin_profile(&p);
    pprof_profile_period(&p, "space", "bytes", 1);
    pprof_profile_time(&p, time(NULL) * INT64_C(1000000000), 0);
    add_rows(&p, &maps, read);

    pprof_job_answer(job, &p, &maps, &form);
    pprof_profile_free(&p);
    pprof_maps_free(&maps);
}


/* What the guest's record comes to.  Owner: who declared it. */
struct record {
    const struct pprof_row  **stacks;   /* by site */
    struct pprof_region      *regions;
    size_t                    nregions;
    struct pprof_region_sum  *sums;     /* by site */
    struct pprof_region_sum   classes[PPROF_REGION_CLASSES];
    bool                      counted;  /* what is in memory is known */
};

enum { SITES = PPROF_SITES_MAX + 1 };


static void
record_free(struct record *record)
{
    free(record->stacks);
    free(record->regions);
    free(record->sums);
}


/* Returns 0, or -1 with errno. */
static int
read_record(struct pprof_target *target, const struct pprof_reply *reply,
    struct record *record)
{
    const struct pprof_row *row = NULL;
    size_t n = 0;

    while ((row = pprof_reply_next(reply, row)) != NULL) {
        n += row->depth == 0;
    }

    *record = (struct record) {
        .stacks = calloc(SITES, sizeof(*record->stacks)),
        .regions = calloc(n + 1, sizeof(*record->regions)),
        .sums = calloc(SITES, sizeof(*record->sums))
    };

    if (record->stacks == NULL || record->regions == NULL
        || record->sums == NULL)
    {
        errno = ENOMEM;
        return -1;
    }

    while ((row = pprof_reply_next(reply, row)) != NULL) {
        if (row->depth != 0) {
            if (row->tag < SITES) {
                record->stacks[row->tag] = row;
            }

            continue;
        }

        /* ours are older than all others */
        record->regions[record->nregions++] = (struct pprof_region) {
            .start = (uintptr_t) row->count,
            .size = row->value,
            .site = row->tag,
            .weight = (uint32_t) row->more[0],
            .age = row->tag == 0 ? 0 : (uint32_t) row->more[1] + 1
        };
    }

    return pprof_regions_add(target, record->regions, record->nregions,
                             record->sums, SITES, record->classes,
                             reply->results[4] == PPROF_ALLOCATOR_LIBC,
                             &record->counted);
}


static void
set_values(int64_t *values, const struct pprof_region_sum *sum)
{
    values[OBJECTS] = (int64_t) (sum->objects + 0.5);
    values[SPACE] = (int64_t) (sum->space + 0.5);
    values[RESIDENT] = (int64_t) (sum->resident + 0.5);
}


/* How many frames of PCS are the allocator's, or ours behind it. */
static size_t
skip_allocator(const struct pprof_maps *maps, uintptr_t allocator,
    const uintptr_t *pcs, size_t depth)
{
    size_t n = allocator == 0
               ? 0 : pprof_tcmalloc_skip(maps, allocator, pcs, depth);

    while (n > 0 && n + 1 < depth) {
        const struct pprof_map *const map = pprof_maps_find(maps, pcs[n] - 1);

        if (map == NULL || strstr(map->file, "/libpprof.so") == NULL) {
            break;
        }

        n++;
    }

    return n;
}


static void
add_record(struct pprof_profile *p, const struct pprof_maps *maps,
    const struct record *record, uintptr_t allocator)
{
    static const char *const names[PPROF_REGION_CLASSES] = {
        [PPROF_REGION_HEAP] = "[heap of malloc, stacks unknown]",
        [PPROF_REGION_ARENA] = "[arenas of malloc, stacks unknown]",
        [PPROF_REGION_STACK] = "[main thread's stack]",
        [PPROF_REGION_DATA] = "[variables of programs and libraries]",
        [PPROF_REGION_OTHER] = "[anonymous memory, stacks unknown]"
    };
    int64_t values[PPROF_VALUES_MAX] = { 0 };

    for (size_t i = 1; i < SITES; i++) {
        const struct pprof_row *const row = record->stacks[i];
        size_t skip = 0;

        set_values(values, &record->sums[i]);

        if (row == NULL) {
            pprof_profile_lost(p, values, names[PPROF_REGION_OTHER]);
            continue;
        }

        const uintptr_t *const pcs = (const uintptr_t *) row->pcs;

        skip = skip_allocator(maps, allocator, pcs, row->depth);
        pprof_profile_sample(p, pcs + skip, row->depth - skip, false, values,
                             NULL, 0);
    }

    for (size_t i = 0; i < PPROF_REGION_CLASSES; i++) {
        set_values(values, &record->classes[i]);
        pprof_profile_lost(p, values, names[i]);
    }
}


static void
add_comments(struct pprof_profile *p, const struct pprof_reply *reply,
    const struct record *record)
{
    char text[256];

    pprof_profile_comment(p, "who called mmap(), mremap(), brk() and "
                          "pthread_create(), as far as it is mapped and may "
                          "be used now; also what no call was seen for");

    if (reply->results[4] == PPROF_ALLOCATOR_LIBC && reply->results[3] == 0) {
        pprof_profile_comment(p, "libc's malloc() asks the kernel unseen, and "
                              "no allocations are sampled, which would tell "
                              "of it");

    } else if (reply->results[4] == PPROF_ALLOCATOR_LIBC) {
        snprintf(text, sizeof(text), "libc's malloc() asks the kernel unseen: "
                 "its heap's growth is the allocation's that was sampled "
                 "next, one in %llu bytes, and blocks of 128 KiB and more "
                 "are estimates", (unsigned long long) reply->results[3]);
        pprof_profile_comment(p, text);
    }

    if (!record->counted) {
        pprof_profile_comment(p, "what of it is in memory is not told: "
                              "/proc/PID/pagemap could not be read, or it is "
                              "more than 128 GiB");
    }

    if (reply->results[1] != 0) {
        snprintf(text, sizeof(text), "%llu requests are not in here: there "
                 "was no room", (unsigned long long) reply->results[1]);
        pprof_profile_comment(p, text);
    }
}


static void
answer_record(struct pprof_job *job, const struct pprof_reply *reply)
{
    struct pprof_profile p;
    struct pprof_maps maps;
    struct record record;

    if (read_record(job->target, reply, &record) == -1) {
        pprof_job_refuse(job, errno, "the program's memory cannot be read");
        record_free(&record);
        return;
    }

    if (pprof_job_maps(job, &maps) == -1) {
        record_free(&record);
        return;
    }

    begin_profile(&p);

    if (record.counted) {
        pprof_profile_value(&p, "resident", "bytes");
    }

    pprof_profile_default(&p, "space");
    pprof_profile_period(&p, "space", "bytes", 1);
    pprof_profile_time(&p, pprof_now_nanos(), 0);
    add_record(&p, &maps, &record, (uintptr_t) reply->results[2]);
    add_comments(&p, reply, &record);

    pprof_job_answer(job, &p, &maps, &form);
    pprof_profile_free(&p);
    pprof_maps_free(&maps);
    record_free(&record);
}


static void
end(struct pprof_job *job, bool gone)
{
    struct pprof_tcmalloc_read read;
    struct pprof_reply reply;

    if (gone) {
        return;
    }

    if (pprof_tcmalloc_read(job->target, PPROF_TCMALLOC_GROWTH, &read,
                            &job->answer)
        == 0)
    {
        answer_tcmalloc(job, &read);
        pprof_tcmalloc_read_free(&read);
        return;
    }

    if (job->answer.status != 501) {
        return;
    }

    pprof_buf_free(&job->answer.body);
    job->answer.status = 0;

    /* no tcmalloc that tells */
    if (pprof_target_call(job->target, PPROF_OP_GROWTH_READ, NULL, &reply)
        == -1)
    {
        pprof_job_refuse(job, errno, "growth cannot be read");
        return;
    }

    if (reply.results[0] != 0) {
        answer_record(job, &reply);

    } else {
        pprof_answer_error(&job->answer, 501, "libpprof.a sees no mmap(), and "
                           "the program does not allocate with tcmalloc; "
                           "link it with libpprof.so or with -ltcmalloc, or "
                           "start it with pprof-run");
    }

    pprof_reply_free(&reply);
}


const struct pprof_kind pprof_kind_growth = {
    PPROF_KIND(growth),
    .about = "who asked the kernel for memory, and what is left of it",
    .end = end,
};
