#include "kinds/tcmalloc.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>


/* int64 flag, gperftools' src/base/commandlineflags.h, DEFINE_int64; and its
   name since 2.16 */
#define SAMPLE_FLAG                                                           \
    "_ZN61FLAG__namespace_do_not_use_directly_use_DECLARE_int64_instead"      \
    "31FLAGS_tcmalloc_sample_parameterE"
#define SAMPLE_FLAG_T                                                         \
    "_ZN63FLAG__namespace_do_not_use_directly_use_DECLARE_int64_t_instead"    \
    "31FLAGS_tcmalloc_sample_parameterE"

#define NOT_TCMALLOC                                                          \
    "the program does not allocate with tcmalloc; start it with pprof-run, "  \
    "or link it with -ltcmalloc"


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
pprof_tcmalloc_here(struct pprof_job *job)
{
    if (job->target->self) {
        return true;
    }

    pprof_answer_error(&job->answer, 501, NOT_TCMALLOC);

    return false;
}


void **
pprof_tcmalloc_read(enum pprof_tcmalloc_rows sort, int *period,
    struct pprof_answer *answer)
{
    const char *const symbol = sort == PPROF_TCMALLOC_LIVE
                       ? "_ZN22TCMallocImplementation15ReadStackTracesEPi"
                       : "_ZN22TCMallocImplementation25"
                         "ReadHeapGrowthStackTracesEv";
    Dl_info where;
    void *const read_rows = find_in_malloc(symbol, &where);
    const instance_pt instance
        = (instance_pt) dlsym(RTLD_DEFAULT, "_ZN15MallocExtension8instanceEv");

    if (read_rows == NULL || instance == NULL) {
        pprof_answer_error(answer, 501, NOT_TCMALLOC);
        return NULL;
    }

    void **rows;

    *period = 0;

    if (sort == PPROF_TCMALLOC_GROWTH) {
        rows = ((growth_pt) read_rows)(instance());

    } else {
        /* it has the function, but never a sample, whatever the flag says */
        if (where.dli_fname != NULL
            && strstr(where.dli_fname, "tcmalloc_minimal") != NULL)
        {
            pprof_answer_error(answer, 501, "libtcmalloc_minimal takes no heap "
                               "samples; start the program with pprof-run, "
                               "or link it with -ltcmalloc");
            return NULL;
        }

        rows = ((live_pt) read_rows)(instance(), period);
    }

    if (rows == NULL) {
        pprof_answer_error(answer, 503, "tcmalloc gave no stacks; it may be "
                           "out of memory");
        return NULL;
    }

    return rows;
}


size_t
pprof_tcmalloc_skip(const struct pprof_maps *maps, void *const *pcs,
    size_t depth)
{
    const struct pprof_map *own
        = pprof_maps_find(maps,
                          (uintptr_t) dlsym(RTLD_DEFAULT,
                                            "MallocExtension_GetOwnership"));
    size_t n = 0;

    /* linked into the program itself, its frames cannot be told apart */
    if (own == NULL || own == &maps->maps[0]) {
        return 0;
    }

    while (n + 1 < depth
           && pprof_maps_find(maps, (uintptr_t) pcs[n] - 1) == own)
    {
        n++;
    }

    return n;
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


size_t
pprof_tcmalloc_size(size_t size)
{
    Dl_info where;
    const nallocx_pt nallocx = (nallocx_pt) find_in_malloc("nallocx", &where);

    return nallocx == NULL || size == 0 ? size : nallocx(size, 0);
}


int64_t
pprof_tcmalloc_since(void)
{
    return atomic_load(&sample_since);
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


int
(*pprof_tcmalloc_property(void))(const char *name, size_t *value)
{
    Dl_info where;

    return (get_pt) find_in_malloc("MallocExtension_GetNumericProperty",
                                   &where);
}


void
pprof_tcmalloc_properties(struct pprof_buf *b)
{
    static const char *const names[] = {
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
    const get_pt get = pprof_tcmalloc_property();

    for (size_t i = 0; get != NULL && i < sizeof(names) / sizeof(names[0]);
         i++)
    {
        size_t value;

        if (get(names[i], &value)) {
            pprof_buf_printf(b, "# %s = %zu\n", names[i], value);
        }
    }
}
