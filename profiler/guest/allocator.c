#include "guest/allocator.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "base/clock.h"
#include "guest/command.h"
#include "guest/heap.h"
#include "guest/malloc.h"
#include "guest/own.h"


enum {
    ALL_ARENAS = 4096,                  /* jemalloc's MALLCTL_ARENAS_ALL */
    TRIES = 1000,                       /* who may come by and cannot */
    COST_FACTOR = 10000
};

/* C++'s and libc's forms of the functions below. */
typedef int mallctl_pt(const char *name, void *old, size_t *old_size,
    void *new, size_t new_size);
typedef void collect_pt(bool force);
typedef void process_pt(size_t *elapsed_msec, size_t *user_msec,
    size_t *system_msec, size_t *rss, size_t *peak_rss, size_t *commit,
    size_t *peak_commit, size_t *faults);
typedef int property_pt(const char *name, size_t *value);

static struct {
    enum pprof_allocator   which;
    int                  (*trim)(size_t pad);
    struct mallinfo2     (*info)(void);
    mallctl_pt            *mallctl;
    collect_pt            *collect;
    process_pt            *process;
    void                 (*release)(void);
    property_pt           *property;
} known;

static _Atomic uint32_t  state;         /* enum pprof_release */
static _Atomic uint32_t  tries;
static _Atomic uint64_t  took;          /* ns */
static _Atomic bool      look_wanted;


/* The function called NAME of the object that lies at BASE, or NULL. */
static void *
find(const void *base, const char *name)
{
    void *const p = dlsym(RTLD_DEFAULT, name);
    Dl_info     where;

    return p != NULL && dladdr(p, &where) != 0 && where.dli_fbase == base
           ? p : NULL;
}


enum pprof_allocator
pprof_allocator_begin(const void *next)
{
    Dl_info where;

    if (next == NULL || dladdr(next, &where) == 0) {
        return PPROF_ALLOCATOR_UNKNOWN;
    }

#define FIND(member, name)                                                    \
    ((*(void **) &known.member = find(where.dli_fbase, name)) != NULL)

    if (FIND(mallctl, "mallctl")) {
        known.which = PPROF_ALLOCATOR_JEMALLOC;

    } else if (FIND(collect, "mi_collect")) {
        known.which = PPROF_ALLOCATOR_MIMALLOC;
        (void) FIND(process, "mi_process_info");

    } else if (FIND(release, "MallocExtension_ReleaseFreeMemory")) {
        known.which = PPROF_ALLOCATOR_TCMALLOC;
        (void) FIND(property, "MallocExtension_GetNumericProperty");

    } else if (find(where.dli_fbase, "gnu_get_libc_version") != NULL
               && FIND(trim, "malloc_trim"))
    {
        known.which = PPROF_ALLOCATOR_LIBC;
        (void) FIND(info, "mallinfo2");
    }
#undef FIND

    return known.which;
}


static void
release(void)
{
    switch (known.which) {

    case PPROF_ALLOCATOR_LIBC:
        (void) known.trim(0);
        return;

    case PPROF_ALLOCATOR_JEMALLOC:
        {
            /* "arena.4096.purge": of all */
            static const char name[] = "arena.4096.purge";

            _Static_assert(ALL_ARENAS == 4096, "as in the name");
            (void) known.mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
            (void) known.mallctl(name, NULL, NULL, NULL, 0);
        }

        return;

    case PPROF_ALLOCATOR_MIMALLOC:
        known.collect(true);
        return;

    case PPROF_ALLOCATOR_TCMALLOC:
        known.release();
        return;

    case PPROF_ALLOCATOR_UNKNOWN:
        return;
    }
}


int
pprof_allocator_want(void)
{
    uint32_t now = atomic_load(&state);

    if (known.which == PPROF_ALLOCATOR_UNKNOWN) {
        return ENOSYS;
    }

    if (now == PPROF_RELEASE_RUNNING
        || !atomic_compare_exchange_strong(&state, &now,
                                           PPROF_RELEASE_WANTED))
    {
        return EBUSY;
    }

    atomic_store(&tries, 0);
    pprof_malloc_detour(true);

    return 0;
}


void
pprof_allocator_forget(void)
{
    uint32_t wanted = PPROF_RELEASE_WANTED;

    if (atomic_compare_exchange_strong(&state, &wanted, PPROF_RELEASE_NONE)) {
        pprof_malloc_detour(false);
    }
}


struct pprof_allocator_told
pprof_allocator_tell(void)
{
    return (struct pprof_allocator_told) {
        .which = known.which,
        .release = (enum pprof_release) atomic_load(&state),
        .nsec = atomic_load(&took),
        .could_not = atomic_load(&tries)
    };
}


/* jemalloc's number NAME, or unknown. */
static uint64_t
read_mallctl(const char *name)
{
    size_t value = 0, size = sizeof(value);

    return known.mallctl(name, &value, &size, NULL, 0) == 0
           ? value : PPROF_HEAP_UNKNOWN;
}


static uint64_t
read_property(const char *name)
{
    size_t value = 0;

    return known.property != NULL && known.property(name, &value)
           ? value : PPROF_HEAP_UNKNOWN;
}


static void
read_numbers(uint64_t *in_use, uint64_t *held, uint64_t *returned)
{
    *in_use = *held = *returned = PPROF_HEAP_UNKNOWN;

    if (known.info != NULL) {
        const struct mallinfo2 info = known.info();

        *in_use = info.uordblks + info.hblkhd;
        *held = info.arena + info.hblkhd;

    } else if (known.mallctl != NULL) {
        uint64_t epoch = 1;

        /* else they stand still */
        (void) known.mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch));
        *in_use = read_mallctl("stats.allocated");
        *held = read_mallctl("stats.resident");
        *returned = read_mallctl("stats.retained");

    } else if (known.process != NULL) {
        size_t commit = 0, unused;

        known.process(&unused, &unused, &unused, &unused, &unused, &commit,
                      &unused, &unused);
        *held = commit;

    } else if (known.property != NULL) {
        *in_use = read_property("generic.current_allocated_bytes");
        *returned = read_property("tcmalloc.pageheap_unmapped_bytes");
        *held = read_property("generic.heap_size");

        if (*held != PPROF_HEAP_UNKNOWN && *returned != PPROF_HEAP_UNKNOWN) {
            *held = *held > *returned ? *held - *returned : 0;
        }
    }
}


void
pprof_allocator_look(void)
{
    struct pprof_heap_sums *const sums = &pprof_heap_sums;
    const uint64_t                began = pprof_clock(CLOCK_MONOTONIC);
    uint64_t                      at = atomic_load_explicit(&sums->next,
                                                        memory_order_relaxed);
    uint64_t                      in_use, held, returned;

    if (began < at) {
        if (at != UINT64_MAX
            && atomic_load_explicit(&sums->behind, memory_order_relaxed) == 0)
        {
            atomic_store(&sums->behind, 1);
        }

        return;
    }

    if (known.which == PPROF_ALLOCATOR_UNKNOWN || pprof_command_forking()
        || !atomic_compare_exchange_strong(&sums->next, &at, UINT64_MAX))
    {
        return;
    }

    const int error = errno;

    atomic_store(&sums->behind, 0);
    read_numbers(&in_use, &held, &returned);
    errno = error;

    const uint64_t now = pprof_clock(CLOCK_MONOTONIC);
    const bool     was_long = now - began > PPROF_ALLOCATOR_LONG;

    /* if so, the program is not to wait for that again */
    atomic_store(&sums->in_use, was_long ? PPROF_HEAP_UNKNOWN : in_use);
    atomic_store(&sums->held, was_long ? PPROF_HEAP_UNKNOWN : held);
    atomic_store(&sums->returned, was_long ? PPROF_HEAP_UNKNOWN : returned);

    if (!was_long) {
        atomic_store(&sums->next, now + PPROF_SECOND
                                  + (now - began) * COST_FACTOR);
    }
}


int
pprof_allocator_want_look(void)
{
    if (known.which == PPROF_ALLOCATOR_UNKNOWN) {
        return ENOSYS;
    }

    if (pprof_clock(CLOCK_MONOTONIC) < atomic_load(&pprof_heap_sums.next)) {
        return EAGAIN;
    }

    atomic_store(&tries, 0);
    atomic_store(&look_wanted, true);
    pprof_malloc_detour(true);

    return 0;
}


/* Nobody who came by could do it. */
static void
refuse(void)
{
    uint32_t wanted = PPROF_RELEASE_WANTED;

    (void) atomic_compare_exchange_strong(&state, &wanted,
                                          PPROF_RELEASE_REFUSED);
    atomic_store(&look_wanted, false);
    pprof_malloc_detour(false);
}


void
pprof_allocator_pass(void)
{
    uint32_t wanted = PPROF_RELEASE_WANTED;

    if (atomic_load(&state) != PPROF_RELEASE_WANTED
        && !atomic_load(&look_wanted))
    {
        pprof_malloc_detour(false);
        return;
    }

    if (pprof_own_here() || pprof_command_forking() || pprof_heap_handled()) {
        if (atomic_fetch_add(&tries, 1) >= TRIES) {
            refuse();
        }

        return;
    }

    const int      error = errno;
    const uint64_t left = pprof_heap_suspend();

    if (atomic_compare_exchange_strong(&state, &wanted, PPROF_RELEASE_RUNNING))
    {
        const uint64_t began = pprof_clock(CLOCK_MONOTONIC);

        pprof_malloc_detour(false);
        release();
        atomic_store(&took, pprof_clock(CLOCK_MONOTONIC) - began);
        atomic_store(&state, PPROF_RELEASE_DONE);
    }

    if (atomic_exchange(&look_wanted, false)) {
        pprof_malloc_detour(false);
        pprof_allocator_look();
    }

    pprof_heap_resume(left);
    errno = error;
}


void
pprof_allocator_child(void)
{
    /* whoever was at it is not in here */
    atomic_store(&state, PPROF_RELEASE_NONE);
    atomic_store(&look_wanted, false);
    atomic_store(&pprof_heap_sums.next, 0);
    pprof_malloc_detour(false);
}
