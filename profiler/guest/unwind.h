/*
 * Who called whom: a walk up the stack by the tables of cfi.h.
 *
 * GUEST ROOM.  This code runs inside the application's threads: inside
 * malloc, under its locks, in signal handlers.  Nothing here allocates, locks,
 * blocks or calls libc beyond memcpy, memcmp and clock_gettime.
 *
 * No read can fault.  Directly read is only the thread's own stack, whose
 * bounds are exact: those that libc keeps in the thread's descriptor, or, for
 * the main thread, from the frame the kernel has just pushed up to where the
 * program began.  Any other stack (alternate, coroutine, another thread's) is
 * read through process_vm_readv, a window at a time, which fails where a load
 * would fault.
 *
 * Bound: PPROF_STACK_MAX frames; each step moves up the stack.
 */

#ifndef PPROF_GUEST_UNWIND_H
#define PPROF_GUEST_UNWIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>

#include "guest/stackmap.h"


/*
 * In place of a caller: there was one, in code without rows, and it was not
 * found.  Less one it is in no mapping.
 */
enum { PPROF_UNWIND_UNKNOWN = 2 };

/* What is known of the registers where a walk starts. */
struct pprof_regs {
    uintptr_t         pc;
    uintptr_t         sp;
    uintptr_t         fp;               /* rbp, x29 */
    uintptr_t         link;             /* x30 on aarch64 */
    bool              fp_known;
    bool              exact;            /* pc is not a return address */
    const ucontext_t *context;          /* all of them, or NULL */
};

struct pprof_cfi;

/*
 * A copy of memory from LOW to HIGH.  Owner: the caller.
 */
struct pprof_memory {
    uintptr_t    low;
    uintptr_t    high;
    const char  *copy;

    /* of another process: its tables of code, and how to read its code;
       NULL both: this process's */
    const struct pprof_cfi  *cfi;
    size_t                 (*code)(void *arg, uintptr_t addr, void *buf,
                                   size_t len);
    void                    *arg;
};


/*
 * Learns where libc keeps a thread's stack bounds, by looking for those of
 * two threads made for it.  Without it, or where it fails, stacks of other
 * threads than the main one are read the slow way.
 *
 * Returns 0, or -1 when the bounds were not found.
 *
 * Context: serving thread, or constructor.
 */
int pprof_unwind_init(void);


/*
 * The same without making threads, by the main thread's own record.  Returns
 * 0, or -1.
 *
 * Context: constructor.
 */
int pprof_unwind_guess(void);


/*
 * Walks from the registers in CONTEXT, as a signal handler gets it.  Writes at
 * most MAX addresses to PCS, the leaf first: its own address, then return
 * addresses.  Where a signal handler interrupted code further up, its address
 * plus one is written, so that subtracting one from each caller, as readers of
 * profiles do, is right everywhere.
 *
 * Returns how many: at least 1 when MAX is.  MAX of them: it may go on.
 *
 * Context: async-signal-safe; the handler that got CONTEXT.
 */
size_t pprof_unwind_context(const ucontext_t *context, uintptr_t *pcs,
    size_t max);


/*
 * Walks from where it is called, leaving out the SKIP innermost frames; 0
 * begins in the caller.  All that is written are return addresses.
 *
 * Context: async-signal-safe.
 */
size_t pprof_unwind_here(uintptr_t *pcs, size_t max, size_t skip);


/*
 * Walks from where it is called as well, and writes that first.  What needs
 * memory is in ROOM: some hundred bytes of the program's stack are used.  Code
 * that no table has is looked up where it lies (cfi_look.h), so it needs none.
 *
 * Returns how many.
 *
 * Context: async-signal-safe.
 */
struct pprof_unwind_room {
    _Alignas(16) unsigned char  bytes[2048];
};

size_t pprof_unwind_thin(struct pprof_unwind_room *room, uintptr_t *pcs,
    size_t max);

/* Did that walk come through a signal handler?  Context: async-signal-safe. */
bool pprof_unwind_handled(const struct pprof_unwind_room *room);


/*
 * The program has sealed itself in: no walk makes a system call any more, and
 * stacks that only the kernel could vouch for have one frame.
 */
extern _Atomic bool  pprof_unwind_sealed;


/*
 * Walks from REGS of a thread that stands still, reading MEMORY alone.  Where
 * the frame pointer is needed and not known, looks for the place that a frame
 * pointer and a return address were pushed to.
 *
 * Returns as pprof_unwind_context() does.
 *
 * Context: serving thread.
 */
size_t pprof_unwind_copy(const struct pprof_regs *regs,
    const struct pprof_memory *memory, uintptr_t *pcs, size_t max);

#endif
