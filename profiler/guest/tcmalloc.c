#include "guest/tcmalloc.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "guest/own.h"
#include "guest/stackmap.h"


/* int64 flag, gperftools' src/base/commandlineflags.h, DEFINE_int64; and its
   name since 2.16 */
#define SAMPLE_FLAG                                                           \
    "_ZN61FLAG__namespace_do_not_use_directly_use_DECLARE_int64_instead"      \
    "31FLAGS_tcmalloc_sample_parameterE"
#define SAMPLE_FLAG_T                                                         \
    "_ZN63FLAG__namespace_do_not_use_directly_use_DECLARE_int64_t_instead"    \
    "31FLAGS_tcmalloc_sample_parameterE"


typedef void **(*live_pt)(void *self, int *period);
typedef void **(*growth_pt)(void *self);
typedef void *(*instance_pt)(void);
typedef int (*get_pt)(const char *name, size_t *value);
typedef int (*set_pt)(const char *name, size_t value);
typedef size_t (*nallocx_pt)(size_t size, int flags);


enum {
    UNSAMPLED = 16 << 20,   /* bytes; PickNextSamplingPoint() without flag */
    WAKE_STEP = 1 << 18     /* bytes; tcmalloc has room for that anyway */
};


static _Atomic int64_t sample_since;


/*
 * Returns the address of a function of the tcmalloc that the program allocates
 * with, or NULL.  A tcmalloc that came with dlopen() is there too, but sees no
 * allocation.
 *
 * Where dlsym() finds malloc says nothing: in a program that is not position
 * independent, as Debian's python3, that is its own procedure linkage table.
 * So tcmalloc is asked whose a piece of memory is.
 */
static void *
find_tcmalloc(void)
{
    enum { NOT_OWNED = 2 };     /* MallocExtension_kNotOwned; 0 is "unknown",
                                   before tcmalloc's own constructors ran */

    if (pprof_own_raw()) {
        /* neither dlsym() nor malloc() is for it; it is there only where the
           program has no tcmalloc */
        return NULL;
    }

    int (*const ownership)(const void *)
        = (int (*)(const void *)) dlsym(RTLD_DEFAULT,
                                        "MallocExtension_GetOwnership");

    if (ownership == NULL) {
        return NULL;
    }

    /* volatile: the pair must not be optimised away */
    void *volatile p = malloc(1);
    const bool owned = p != NULL && ownership(p) != NOT_OWNED;

    free(p);

    return owned ? (void *) ownership : NULL;
}


/* Finds SYMBOL in the object whose malloc the program uses. */
static void *
find_in_malloc(const char *symbol, Dl_info *where)
{
    void *const own = find_tcmalloc();
    void *const p = own == NULL ? NULL : dlsym(RTLD_DEFAULT, symbol);
    Dl_info a;

    if (p == NULL || dladdr(own, &a) == 0 || dladdr(p, where) == 0
        || a.dli_fbase != where->dli_fbase)
    {
        return NULL;
    }

    return p;
}


static int64_t *
find_sample_flag(void)
{
    Dl_info where;
    int64_t *const flag = find_in_malloc(SAMPLE_FLAG, &where);

    return flag != NULL ? flag : find_in_malloc(SAMPLE_FLAG_T, &where);
}


bool
pprof_tcmalloc_is(void)
{
    return find_tcmalloc() != NULL;
}


/* How many bytes tcmalloc sets aside for SIZE: SIZE when it does not tell. */
static uint64_t
size_aside(nallocx_pt nallocx, uint64_t size)
{
    return nallocx == NULL || size == 0 ? size : nallocx(size, 0);
}


int
pprof_tcmalloc_rows(enum pprof_tcmalloc_sort sort,
    pprof_tcmalloc_visit *visit, void *arg, struct pprof_tcmalloc_told *told)
{
    const char *const symbol = sort == PPROF_TCMALLOC_LIVE
                       ? "_ZN22TCMallocImplementation15ReadStackTracesEPi"
                       : "_ZN22TCMallocImplementation25"
                         "ReadHeapGrowthStackTracesEv";
    Dl_info where;
    void *const read_rows = find_in_malloc(symbol, &where);
    const instance_pt instance
        = read_rows == NULL ? NULL
          : (instance_pt) dlsym(RTLD_DEFAULT,
                                "_ZN15MallocExtension8instanceEv");
    int period = 0;
    void **rows;

    if (instance == NULL) {
        return ENOSYS;
    }

    if (sort == PPROF_TCMALLOC_GROWTH) {
        rows = ((growth_pt) read_rows)(instance());

    } else {
        /* it has the function, but never a sample, whatever the flag says */
        if (where.dli_fname != NULL
            && strstr(where.dli_fname, "tcmalloc_minimal") != NULL)
        {
            return ENOTSUP;
        }

        rows = ((live_pt) read_rows)(instance(), &period);
    }

    if (rows == NULL) {
        return ENOMEM;
    }

    const nallocx_pt nallocx = (nallocx_pt) find_in_malloc("nallocx", &where);

    told->period = period > 0 ? (uint64_t) period : 0;
    told->since = (uint64_t) atomic_load(&sample_since);
    told->count = 0;

    /* {count, bytes, depth, return address…}; a count of 0 ends them */
    for (void **row = rows; row[0] != NULL; row += 3 + (uintptr_t) row[2]) {
        const uint64_t count = (uintptr_t) row[0], bytes = (uintptr_t) row[1];
        const size_t depth = (uintptr_t) row[2];

        const struct pprof_stack stack = {
            .tag = size_aside(nallocx, bytes / count),
            .pcs = (const uintptr_t *) row + 3,
            .depth = depth < PPROF_STACK_MAX ? depth : PPROF_STACK_MAX,
            .count = count,
            .value = bytes
        };

        told->count++;

        if (visit != NULL) {
            visit(arg, &stack);
        }
    }

    free(rows);

    return 0;
}


uintptr_t
pprof_tcmalloc_address(void)
{
    return (uintptr_t) find_tcmalloc();
}


int
pprof_tcmalloc_sample(size_t period)
{
    Dl_info where;
    int64_t *const flag = find_sample_flag();

    if (flag != NULL && *flag > 0) {
        return 0;
    }

    /* 2.17 and later have the property, 2.10 has the variable alone */
    const set_pt set
        = (set_pt) find_in_malloc("MallocExtension_SetNumericProperty",
                                  &where);

    if (set == NULL || !set("tcmalloc.sample_parameter", period)) {
        if (flag == NULL) {
            return -1;
        }

        __atomic_store_n(flag, (int64_t) period, __ATOMIC_RELAXED);
    }

    atomic_store(&sample_since, (int64_t) time(NULL));

    return 0;
}


void
pprof_tcmalloc_wake(void)
{
    int64_t *const flag = find_sample_flag();

    if (flag == NULL) {
        return;
    }

    if (*flag <= 0) {
        /* our constructor may be earlier than tcmalloc's, which then stores
           the same */
        const char *text = getenv("TCMALLOC_SAMPLE_PARAMETER");
        const long long period = text == NULL ? 0 : strtoll(text, NULL, 10);

        if (period <= 0) {
            return;
        }

        __atomic_store_n(flag, (int64_t) period, __ATOMIC_RELAXED);
    }

    for (size_t n = 0; n <= UNSAMPLED; n += WAKE_STEP) {
        /* volatile: the pair must not be optimised away */
        void *volatile p = malloc(WAKE_STEP);
        free(p);
    }
}


typedef void (*new_hook_pt)(const void *ptr, size_t size);


int
pprof_tcmalloc_hook(new_hook_pt hook)
{
    Dl_info where;
    int (*const add)(new_hook_pt)
        = (int (*)(new_hook_pt)) find_in_malloc("MallocHook_AddNewHook",
                                                &where);

    return add != NULL && add(hook) ? 0 : -1;
}


void
pprof_tcmalloc_unhook(new_hook_pt hook)
{
    Dl_info where;
    int (*const rm)(new_hook_pt)
        = (int (*)(new_hook_pt)) find_in_malloc("MallocHook_RemoveNewHook",
                                                &where);

    if (rm != NULL) {
        (void) rm(hook);
    }
}


void
pprof_tcmalloc_release(void)
{
    Dl_info where;
    void (*const release)(void)
        = (void (*)(void)) find_in_malloc("MallocExtension_ReleaseFreeMemory",
                                          &where);

    if (release != NULL) {
        release();
    }
}


static const char *const names[PPROF_TCMALLOC_PROPERTIES] = {
    "generic.current_allocated_bytes",
    "generic.heap_size",
    "generic.total_physical_bytes",
    "tcmalloc.slack_bytes",
    "tcmalloc.central_cache_free_bytes",
    "tcmalloc.transfer_cache_free_bytes",
    "tcmalloc.thread_cache_free_bytes",
    "tcmalloc.pageheap_free_bytes",
    "tcmalloc.pageheap_unmapped_bytes",
    "tcmalloc.pageheap_committed_bytes",
    "tcmalloc.pageheap_scavenge_count",
    "tcmalloc.pageheap_commit_count",
    "tcmalloc.pageheap_total_commit_bytes",
    "tcmalloc.pageheap_decommit_count",
    "tcmalloc.pageheap_total_decommit_bytes",
    "tcmalloc.pageheap_reserve_count",
    "tcmalloc.pageheap_total_reserve_bytes",
    "tcmalloc.max_total_thread_cache_bytes",
    "tcmalloc.current_total_thread_cache_bytes",
    "tcmalloc.aggressive_memory_decommit",
    "tcmalloc.heap_limit_mb",
};


const char *
pprof_tcmalloc_name(size_t property)
{
    return property < PPROF_TCMALLOC_PROPERTIES ? names[property] : NULL;
}


int
pprof_tcmalloc_properties(pprof_tcmalloc_visit *visit, void *arg)
{
    Dl_info where;
    const get_pt get
        = (get_pt) find_in_malloc("MallocExtension_GetNumericProperty",
                                  &where);

    if (get == NULL) {
        return ENOSYS;
    }

    for (size_t i = 0; i < PPROF_TCMALLOC_PROPERTIES; i++) {
        size_t value;

        if (get(names[i], &value)) {
            const struct pprof_stack row = {
                .tag = i, .count = 1, .value = value
            };

            visit(arg, &row);
        }
    }

    return 0;
}
