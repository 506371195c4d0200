/*
 * Functions that allocate and free: each counts, looks, and goes on to the
 * next definition, libc's or another allocator's.  What that returns is what
 * the program gets.
 *
 * GUEST ROOM.  For libpprof.so only, as locks.c.  See heap.h.
 *
 * C++'s operators mostly call malloc() and free(), and are jumped through.  An
 * allocator's own do not: whether the next operator calls our malloc() is seen
 * when it is first called.
 *
 * What does not come through here, an allocator's own functions (mallocx,
 * mi_malloc), a plugin's with RTLD_DEEPBIND, a second namespace's, is not
 * sampled; an object of ours that is freed there is seen as gone when its
 * address is handed out again, or freed here.
 *
 * Concurrency: each pointer to a next definition is written once, with the
 * same value by whoever is first.
 */

#include "guest/malloc.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "guest/allocator.h"
#include "guest/growth.h"
#include "guest/heap.h"
#include "guest/mappings.h"


#define EXPORT  __attribute__((visibility("default"), noinline))
#define SLOW    __attribute__((noinline, cold)) static
#define CALLER  __builtin_return_address(0)

typedef void *malloc_pt(size_t size);
typedef void free_pt(void *p);
typedef void *calloc_pt(size_t n, size_t size);
typedef void *realloc_pt(void *p, size_t size);
typedef void *reallocarray_pt(void *p, size_t n, size_t size);
typedef void *memalign_pt(size_t align, size_t size);
typedef int posix_memalign_pt(void **out, size_t align, size_t size);
typedef void *new_pt(size_t size, uintptr_t a, uintptr_t b);
typedef void delete_pt(void *p, uintptr_t a, uintptr_t b);

static malloc_pt   first_malloc;
static free_pt     first_free;
static calloc_pt   first_calloc;
static realloc_pt  first_realloc;

/* Never NULL: the first call of one finds all. */
static struct {
    malloc_pt          *malloc;
    free_pt            *free;
    calloc_pt          *calloc;
    realloc_pt         *realloc;

    /* NULL until then */
    reallocarray_pt    *reallocarray;
    memalign_pt        *memalign;
    memalign_pt        *aligned_alloc;
    posix_memalign_pt  *posix_memalign;
    malloc_pt          *valloc;
    malloc_pt          *pvalloc;
} next = {
    .malloc = first_malloc,
    .free = first_free,
    .calloc = first_calloc,
    .realloc = first_realloc
};


/* The same three, when there is a detour; NULL: not found yet. */
static struct {
    malloc_pt   *malloc;
    calloc_pt   *calloc;
    realloc_pt  *realloc;
} straight;


/* What the loader asks for while it looks for the next definitions. */
static struct {
    _Alignas(16) char  memory[4096];
    _Atomic size_t     used;
} arena;

static __thread bool  finding __attribute__((tls_model("initial-exec")));


static void *
arena_take(size_t size)
{
    const size_t want = (size + 16 + 15) & ~(size_t) 15;

    if (size > sizeof(arena.memory)) {
        return NULL;
    }

    const size_t at = atomic_fetch_add(&arena.used, want);

    if (at + want > sizeof(arena.memory)) {
        return NULL;
    }

    if (at == 0) {
        pprof_live_guard(arena.memory, sizeof(arena.memory));
    }

    memcpy(arena.memory + at, &size, sizeof(size));

    return arena.memory + at + 16;
}


static bool
arena_has(const void *p)
{
    return (uintptr_t) p - (uintptr_t) arena.memory < sizeof(arena.memory);
}


/* A realloc() of what the arena has, to Q, SIZE bytes elsewhere. */
static void
arena_copy(void *q, const void *p, size_t size)
{
    size_t old;

    memcpy(&old, (const char *) p - 16, sizeof(old));
    memcpy(q, p, old < size ? old : size);
}


/* Before the first of our functions goes on to the next. */
static void
find_all(void)
{
    finding = true;

    void *const free_next = dlsym(RTLD_NEXT, "free");
    void *const malloc_next = dlsym(RTLD_NEXT, "malloc");

#define FIND(name)  *(void **) &next.name = dlsym(RTLD_NEXT, #name)
    FIND(calloc);
    FIND(realloc);
    FIND(reallocarray);
    FIND(memalign);
    FIND(aligned_alloc);
    FIND(posix_memalign);
    FIND(valloc);
    FIND(pvalloc);
#undef FIND

    *(void **) &next.free = free_next;
    *(void **) &next.malloc = malloc_next;
    straight.calloc = next.calloc;
    straight.realloc = next.realloc;
    straight.malloc = next.malloc;
    finding = false;
}


__attribute__((constructor(101))) static void
prepare(void)
{
    if (next.malloc == first_malloc) {
        find_all();
    }

    const enum pprof_allocator which
        = pprof_allocator_begin((const void *) next.malloc);

    pprof_growth_begin(pprof_mappings_begin(), which == PPROF_ALLOCATOR_LIBC);
    pprof_heap_begin();
}


uintptr_t
pprof_malloc_next(void)
{
    return (uintptr_t) straight.malloc;
}


/* A detour. */


static void *
detour_malloc(size_t size)
{
    pprof_allocator_pass();

    return straight.malloc(size);
}


static void *
detour_calloc(size_t n, size_t size)
{
    pprof_allocator_pass();

    return straight.calloc(n, size);
}


static void *
detour_realloc(void *p, size_t size)
{
    pprof_allocator_pass();

    return straight.realloc(p, size);
}


void
pprof_malloc_detour(bool on)
{
    if (straight.malloc == NULL) {
        return;
    }

    __atomic_store_n(&next.malloc, on ? detour_malloc : straight.malloc,
                     __ATOMIC_RELAXED);
    __atomic_store_n(&next.calloc, on ? detour_calloc : straight.calloc,
                     __ATOMIC_RELAXED);
    __atomic_store_n(&next.realloc, on ? detour_realloc : straight.realloc,
                     __ATOMIC_RELAXED);
}


static void *
first_malloc(size_t size)
{
    if (finding) {
        return arena_take(size);
    }

    find_all();

    return next.malloc(size);
}


static void *
first_calloc(size_t n, size_t size)
{
    if (finding) {
        /* it is all zeroes, and used once */
        return size != 0 && n > SIZE_MAX / size ? NULL : arena_take(n * size);
    }

    find_all();

    return next.calloc(n, size);
}


static void *
first_realloc(void *p, size_t size)
{
    if (finding) {
        void *const q = arena_take(size);

        if (p != NULL && q != NULL) {
            arena_copy(q, p, size);
        }

        return q;
    }

    find_all();

    return next.realloc(p, size);
}


static void
first_free(void *p)
{
    if (!finding) {
        find_all();
        next.free(p);
    }
}


/* malloc() and free(): the ways that count. */


SLOW void *
malloc_slow(size_t size)
{
    const unsigned due = pprof_heap_due(size);
    void *const    p = next.malloc(size);

    if (due != 0 && p != NULL) {
        pprof_heap_add(p, size, due, CALLER);
    }

    return p;
}


EXPORT void *
malloc(size_t size)
{
    return __builtin_expect(pprof_heap_passes(size), 1) ? next.malloc(size)
                                                        : malloc_slow(size);
}


SLOW void
free_slow(void *p)
{
    if (arena_has(p)) {
        return;
    }

    pprof_heap_remove(p);
    next.free(p);
}


EXPORT void
free(void *p)
{
    if (__builtin_expect(pprof_live_may(p), 0)) {
        free_slow(p);
        return;
    }

    next.free(p);
}


/* Programs of long ago. */
void cfree(void *p);

EXPORT void
cfree(void *p)
{
    if (pprof_live_may(p)) {
        free_slow(p);
        return;
    }

    next.free(p);
}


SLOW void *
calloc_slow(size_t n, size_t size)
{
    const unsigned due = pprof_heap_due(n * size);
    void *const    p = next.calloc(n, size);

    if (due != 0 && p != NULL) {
        pprof_heap_add(p, n * size, due, CALLER);
    }

    return p;
}


EXPORT void *
calloc(size_t n, size_t size)
{
    size_t all;

    return __builtin_expect(__builtin_mul_overflow(n, size, &all)
                            || pprof_heap_passes(all), 1)
           ? next.calloc(n, size) : calloc_slow(n, size);
}


/* realloc(): one is freed, another is allocated, even at the same place. */


/* What was kept of P, before somebody else can get that address. */
static inline bool
let_go(void *p, struct pprof_live *live)
{
    return p != NULL && pprof_live_may(p) && pprof_heap_take(p, live);
}


SLOW void *
realloc_slow(void *p, size_t size, bool passes)
{
    struct pprof_live live;
    const unsigned    due = passes ? 0 : pprof_heap_due(size);

    if (arena_has(p)) {
        void *const q = next.malloc(size);

        if (q != NULL) {
            arena_copy(q, p, size);
        }

        return q;
    }

    const bool  had = let_go(p, &live);
    void *const q = next.realloc(p, size);

    if (q == NULL) {
        if (had && size != 0) {
            pprof_heap_return(p, live);
        }

    } else if (due != 0) {
        pprof_heap_add(q, size, due, CALLER);
    }

    return q;
}


EXPORT void *
realloc(void *p, size_t size)
{
    const bool passes = pprof_heap_passes(size);

    return __builtin_expect(passes && (p == NULL || !pprof_live_may(p)), 1)
           ? next.realloc(p, size) : realloc_slow(p, size, passes);
}


/* The rare ones may call the others, and are counted once. */


__attribute__((always_inline)) static inline void
count(const void *p, size_t size, const void *caller)
{
    if (p != NULL && !pprof_heap_passes(size)) {
        const unsigned due = pprof_heap_due(size);

        if (due != 0) {
            pprof_heap_add(p, size, due, caller);
        }
    }
}


static void
find_late(const void *function)
{
    if (function == NULL) {
        find_all();
    }
}


EXPORT void *
reallocarray(void *p, size_t n, size_t size)
{
    struct pprof_live live;
    size_t            all;

    find_late(next.reallocarray);

    const bool     fails = __builtin_mul_overflow(n, size, &all);
    const bool     had = !fails && let_go(p, &live);
    const uint64_t left = pprof_heap_suspend();
    void *const    q = next.reallocarray(p, n, size);

    pprof_heap_resume(left);

    if (q == NULL && had && all != 0) {
        pprof_heap_return(p, live);
    }

    if (!fails) {
        count(q, all, CALLER);
    }

    return q;
}


EXPORT int
posix_memalign(void **out, size_t align, size_t size)
{
    find_late(next.posix_memalign);

    const uint64_t left = pprof_heap_suspend();
    const int      rc = next.posix_memalign(out, align, size);

    pprof_heap_resume(left);

    if (rc == 0) {
        count(*out, size, CALLER);
    }

    return rc;
}


#define ALIGNED(name)                                                         \
    EXPORT void *                                                             \
    name(size_t align, size_t size)                                           \
    {                                                                         \
        find_late(next.name);                                                 \
                                                                              \
        const uint64_t left = pprof_heap_suspend();                           \
        void *const    p = next.name(align, size);                            \
                                                                              \
        pprof_heap_resume(left);                                              \
        count(p, size, CALLER);                                               \
                                                                              \
        return p;                                                             \
    }

ALIGNED(memalign)
ALIGNED(aligned_alloc)


#define PAGES(name)                                                           \
    EXPORT void *                                                             \
    name(size_t size)                                                         \
    {                                                                         \
        find_late(next.name);                                                 \
                                                                              \
        const uint64_t left = pprof_heap_suspend();                           \
        void *const    p = next.name(size);                                   \
                                                                              \
        pprof_heap_resume(left);                                              \
        count(p, size, CALLER);                                               \
                                                                              \
        return p;                                                             \
    }

PAGES(valloc)
PAGES(pvalloc)


/* C++'s operators, by the names that compilers give them. */


/* Does the next operator new call our malloc()?  Then it counts. */
static _Atomic bool  calls_malloc;

/* Who has no C++ of its own may load something that has. */
static void *
find_operator(const char *name)
{
    static const char *const libraries[] = {
        "libstdc++.so.6", "libc++.so.1", "libc++abi.so.1"
    };

    void *p = dlsym(RTLD_NEXT, name);

    for (size_t i = 0;
         p == NULL && i < sizeof(libraries) / sizeof(libraries[0]); i++)
    {
        void *const library = dlopen(libraries[i], RTLD_LAZY | RTLD_NOLOAD);

        if (library != NULL) {
            p = dlsym(library, name);
            dlclose(library);
        }
    }

    return p;
}


/* No operator anywhere: nobody could have compiled the call. */
static void *
no_new(size_t size, uintptr_t a, uintptr_t b)
{
    void *const p = malloc(size);

    (void) a;
    (void) b;

    if (p == NULL) {
        abort();
    }

    return p;
}


static void
no_delete(void *p, uintptr_t a, uintptr_t b)
{
    (void) a;
    (void) b;
    free(p);
}


/* Arguments that a form has not are passed on all the same. */
#define NEW(name)                                                             \
    static new_pt  name##_first;                                              \
    static new_pt *name##_next, *name##_go = name##_first;                    \
                                                                              \
    SLOW void *                                                               \
    name##_slow(size_t size, uintptr_t a, uintptr_t b)                        \
    {                                                                         \
        const unsigned due = pprof_heap_due(size);                            \
        void *const    p = name##_next(size, a, b);                           \
                                                                              \
        if (due != 0 && p != NULL) {                                          \
            pprof_heap_add(p, size, due, CALLER);                             \
        }                                                                     \
                                                                              \
        return p;                                                             \
    }                                                                         \
                                                                              \
    static void *                                                             \
    name##_count(size_t size, uintptr_t a, uintptr_t b)                       \
    {                                                                         \
        return __builtin_expect(pprof_heap_passes(size), 1)                   \
               ? name##_next(size, a, b) : name##_slow(size, a, b);           \
    }                                                                         \
                                                                              \
    static void *                                                             \
    name##_first(size_t size, uintptr_t a, uintptr_t b)                       \
    {                                                                         \
        new_pt *operator = (new_pt *) find_operator(#name);                   \
                                                                              \
        operator = operator == NULL ? no_new : operator;                      \
        name##_next = operator;                                               \
                                                                              \
        const uint64_t left = pprof_heap_left;                                \
        void *const    p = operator(size, a, b);                              \
                                                                              \
        if (pprof_heap_left != left) {                                        \
            atomic_store(&calls_malloc, true);                                \
            name##_go = operator;                                             \
                                                                              \
        } else {                                                              \
            name##_go = name##_count;                                         \
            count(p, size, CALLER);                                           \
        }                                                                     \
                                                                              \
        return p;                                                             \
    }                                                                         \
                                                                              \
    void *name(size_t size, uintptr_t a, uintptr_t b);                        \
                                                                              \
    EXPORT void *                                                             \
    name(size_t size, uintptr_t a, uintptr_t b)                               \
    {                                                                         \
        return name##_go(size, a, b);                                         \
    }

#define DELETE(name)                                                          \
    static delete_pt  name##_first;                                           \
    static delete_pt *name##_next, *name##_go = name##_first;                 \
                                                                              \
    static void                                                               \
    name##_look(void *p, uintptr_t a, uintptr_t b)                            \
    {                                                                         \
        if (__builtin_expect(pprof_live_may(p), 0)) {                         \
            pprof_heap_remove(p);                                             \
        }                                                                     \
                                                                              \
        name##_next(p, a, b);                                                 \
    }                                                                         \
                                                                              \
    static void                                                               \
    name##_first(void *p, uintptr_t a, uintptr_t b)                           \
    {                                                                         \
        delete_pt *operator = (delete_pt *) find_operator(#name);             \
                                                                              \
        operator = operator == NULL ? no_delete : operator;                   \
        name##_next = operator;                                               \
        name##_go = atomic_load(&calls_malloc) ? operator : name##_look;      \
        name##_go(p, a, b);                                                   \
    }                                                                         \
                                                                              \
    void name(void *p, uintptr_t a, uintptr_t b);                             \
                                                                              \
    EXPORT void                                                               \
    name(void *p, uintptr_t a, uintptr_t b)                                   \
    {                                                                         \
        name##_go(p, a, b);                                                   \
    }

NEW(_Znwm)
NEW(_Znam)
NEW(_ZnwmRKSt9nothrow_t)
NEW(_ZnamRKSt9nothrow_t)
NEW(_ZnwmSt11align_val_t)
NEW(_ZnamSt11align_val_t)
NEW(_ZnwmSt11align_val_tRKSt9nothrow_t)
NEW(_ZnamSt11align_val_tRKSt9nothrow_t)

DELETE(_ZdlPv)
DELETE(_ZdaPv)
DELETE(_ZdlPvm)
DELETE(_ZdaPvm)
DELETE(_ZdlPvRKSt9nothrow_t)
DELETE(_ZdaPvRKSt9nothrow_t)
DELETE(_ZdlPvSt11align_val_t)
DELETE(_ZdaPvSt11align_val_t)
DELETE(_ZdlPvmSt11align_val_t)
DELETE(_ZdaPvmSt11align_val_t)
DELETE(_ZdlPvSt11align_val_tRKSt9nothrow_t)
DELETE(_ZdaPvSt11align_val_tRKSt9nothrow_t)
