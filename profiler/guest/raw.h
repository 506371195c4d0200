/*
 * System calls without libc: no errno, no cancellation point, nothing that
 * another library could interpose.
 *
 * GUEST ROOM.  See stackmap.h.
 */

#ifndef PPROF_GUEST_RAW_H
#define PPROF_GUEST_RAW_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "guest/own.h"


/*
 * Makes system call NR with six arguments.  Returns what the kernel does: a
 * negated errno on failure.
 *
 * Context: async-signal-safe.
 */
static inline long
pprof_raw(long nr, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d,
    uintptr_t e, uintptr_t f)
{
#if defined(__x86_64__)

    long              ret;
    register uintptr_t  r10 __asm__("r10") = d;
    register uintptr_t  r8 __asm__("r8") = e;
    register uintptr_t  r9 __asm__("r9") = f;

    __asm__ volatile("syscall"
                     : "=a" (ret)
                     : "a" (nr), "D" (a), "S" (b), "d" (c), "r" (r10),
                       "r" (r8), "r" (r9)
                     : "rcx", "r11", "memory");
    return ret;

#elif defined(__aarch64__)

    register long       x8 __asm__("x8") = nr;
    register uintptr_t  x0 __asm__("x0") = a;
    register uintptr_t  x1 __asm__("x1") = b;
    register uintptr_t  x2 __asm__("x2") = c;
    register uintptr_t  x3 __asm__("x3") = d;
    register uintptr_t  x4 __asm__("x4") = e;
    register uintptr_t  x5 __asm__("x5") = f;

    __asm__ volatile("svc 0"
                     : "+r" (x0)
                     : "r" (x8), "r" (x1), "r" (x2), "r" (x3), "r" (x4),
                       "r" (x5)
                     : "memory");
    return (long) x0;

#else
#error "libpprof knows x86-64 and aarch64"
#endif
}


/*
 * What is at AT: SIZE bytes, all zeroes, which whoever comes first maps.
 * Returns NULL when there are none to be had.
 *
 * Context: async-signal-safe; any thread.
 */
static inline void *
pprof_raw_map_once(_Atomic(void *) *at, size_t size)
{
    void *there = atomic_load(at);

    if (there != NULL) {
        return there;
    }

    const long p = pprof_raw(SYS_mmap, 0, size, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, (uintptr_t) -1, 0);

    if (p < 0 && p > -4096) {
        return NULL;
    }

    if (atomic_compare_exchange_strong(at, &there, (void *) p)) {
        pprof_own_mapped((void *) p, size);
        return (void *) p;
    }

    /* somebody was faster */
    pprof_raw(SYS_munmap, (uintptr_t) p, size, 0, 0, 0, 0);

    return there;
}

#endif
