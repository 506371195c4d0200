/*
 * Functions that ask the kernel for memory, or give it back: each goes on to
 * the next definition, and what was asked for is kept.
 *
 * GUEST ROOM.  For libpprof.so only, as locks.c.  See growth.h.
 *
 * An allocator calls these while it makes itself ready, inside the first
 * malloc(), before anything could be looked up: until our constructor has run
 * they are system calls.
 */

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest/growth.h"
#include "guest/mappings.h"
#include "guest/raw.h"


#define EXPORT  __attribute__((visibility("default"), noinline))
#define CALLER  __builtin_return_address(0)

/* The next definitions; NULL until they are found. */
static struct {
    void  *(*mmap)(void *, size_t, int, int, int, off_t);
    int    (*munmap)(void *, size_t);
    void  *(*mremap)(void *, size_t, size_t, int, void *);
    int    (*brk)(void *);
    void  *(*sbrk)(intptr_t);
} next;

/* libc's: where it keeps the end of the heap that brk() makes. */
static const uintptr_t  *break_place;


const uintptr_t *
pprof_mappings_begin(void)
{
#define FIND(name)  *(void **) &next.name = dlsym(RTLD_NEXT, #name)
    FIND(mmap);
    FIND(munmap);
    FIND(mremap);
    FIND(brk);
    FIND(sbrk);
#undef FIND

    break_place = dlsym(RTLD_NEXT, "__curbrk");

    return break_place;
}


/* What the kernel says, as libc says it. */
static void *
result(long rc)
{
    if (rc < 0 && rc > -4096) {
        errno = (int) -rc;
        return MAP_FAILED;
    }

    return (void *) rc;
}


__attribute__((always_inline)) static inline void *
map(void *addr, size_t size, int prot, int flags, int fd, off_t offset,
    const void *caller)
{
    void *const p = next.mmap != NULL
                    ? next.mmap(addr, size, prot, flags, fd, offset)
                    : result(pprof_raw(SYS_mmap, (uintptr_t) addr, size,
                                       (uintptr_t) prot, (uintptr_t) flags,
                                       (uintptr_t) fd, (uintptr_t) offset));

    if (p != MAP_FAILED && (flags & MAP_ANONYMOUS) != 0) {
        pprof_growth_map(p, size, caller);
    }

    return p;
}


EXPORT void *
mmap(void *addr, size_t size, int prot, int flags, int fd, off_t offset)
{
    return map(addr, size, prot, flags, fd, offset, CALLER);
}


/* The same, where off_t is one; stdio and others have this name. */
EXPORT void *
mmap64(void *addr, size_t size, int prot, int flags, int fd, off64_t offset)
{
    return map(addr, size, prot, flags, fd, (off_t) offset, CALLER);
}


EXPORT int
munmap(void *p, size_t size)
{
    struct pprof_growth_region region;

    /* before: after it, another thread may get the address */
    const bool had = pprof_growth_take(p, size, &region);
    const int  rc = next.munmap != NULL
                    ? next.munmap(p, size)
                    : result(pprof_raw(SYS_munmap, (uintptr_t) p, size, 0, 0,
                                       0, 0)) == MAP_FAILED ? -1 : 0;

    if (rc != 0 && had) {
        pprof_growth_return(&region);
    }

    return rc;
}


EXPORT void *
mremap(void *old, size_t old_size, size_t size, int flags, ...)
{
    struct pprof_growth_region region;
    void                      *to = NULL;

    if ((flags & ~MREMAP_MAYMOVE) != 0) {
        va_list args;

        va_start(args, flags);
        to = va_arg(args, void *);
        va_end(args);
    }

    /* of nothing: the mapping is a file's, and stays where it is */
    const bool  had = old_size != 0
                      && pprof_growth_take(old, old_size, &region);
    void *const p = next.mremap != NULL
                    ? next.mremap(old, old_size, size, flags, to)
                    : result(pprof_raw(SYS_mremap, (uintptr_t) old, old_size,
                                       size, (uintptr_t) flags,
                                       (uintptr_t) to, 0));

    if (p == MAP_FAILED && had) {
        pprof_growth_return(&region);

    } else if (p != MAP_FAILED && had) {
        pprof_growth_map(p, size, CALLER);
    }

    return p;
}


static uintptr_t
break_now(void)
{
    return break_place == NULL ? 0 : *break_place;
}


EXPORT int
brk(void *end)
{
    const uintptr_t before = break_now();

    if (next.brk == NULL) {
        (void) pprof_mappings_begin();
    }

    const int rc = next.brk(end);

    if (rc == 0) {
        pprof_growth_break(before, CALLER);
    }

    return rc;
}


EXPORT void *
sbrk(intptr_t by)
{
    const uintptr_t before = break_now();

    if (next.sbrk == NULL) {
        (void) pprof_mappings_begin();
    }

    void *const p = next.sbrk(by);

    if (by != 0 && p != (void *) -1) {
        pprof_growth_break(before, CALLER);
    }

    return p;
}
